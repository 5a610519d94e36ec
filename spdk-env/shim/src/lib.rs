//! RocksDB on [`FileSystem`]: an [`Env`] whose files are there and whose threads and clocks are those
//! of RocksDB's default one.
//!
//! RocksDB calls in from many threads at once. Paths are absolute, `/` is the root. What differs from
//! an ordinary file system: appended bytes that were not synced do not survive the *process* either.

mod error;
mod ffi;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coney_base::Clock;
use coney_spdk_env::BlockDevice;
use coney_spdk_env::fs::FileSystem;
use rocksdb::Env;

/// A mounted file system as RocksDB uses it.
#[derive(Debug)]
pub struct Mounted<D: BlockDevice> {
    fs: FileSystem<D>,
    clock: Clock,
    syncs: Latency,
}

/// How long something took, over all times that it was done.
#[derive(Debug, Default)]
struct Latency {
    count: AtomicU64,
    total_ns: AtomicU64,
    ns_max: AtomicU64,
}

/// The RocksDB that is linked is not that of the headers that this crate was compiled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the RocksDB that is linked is not the one that the file system was compiled for")]
pub struct VersionMismatch;

/// What a mounted file system tells of itself.
pub trait Figures: Send + Sync + std::fmt::Debug {
    /// Names and values for INFO.
    fn figures(&self) -> Vec<(&'static str, u64)>;

    /// Why nothing is written any more, if so.
    fn broken(&self) -> Option<String>;
}

impl<D: BlockDevice> Mounted<D> {
    /// Takes over a file system.
    pub fn new(fs: FileSystem<D>) -> Self {
        Self { fs, clock: Clock::new(), syncs: Latency::default() }
    }

    /// The file system.
    pub const fn fs(&self) -> &FileSystem<D> {
        &self.fs
    }

    /// Does a sync and measures it.
    fn timed<T>(&self, act: impl FnOnce() -> T) -> T {
        let start = self.clock.now();
        let result = act();
        self.syncs.add(self.clock.now().since(start));
        result
    }
}

/// RocksDB's view of a file system. It stays mounted until the last user of the `Env`, and of
/// `mounted`, is gone.
///
/// # Errors
/// [`VersionMismatch`].
pub fn env<D: BlockDevice + Send + 'static>(
    mounted: &Arc<Mounted<D>>,
) -> Result<Env, VersionMismatch> {
    ffi::env(Arc::clone(mounted)).ok_or(VersionMismatch)
}

impl<D: BlockDevice + Send + std::fmt::Debug> Figures for Mounted<D> {
    fn figures(&self) -> Vec<(&'static str, u64)> {
        let (space, counters) = (self.fs.space(), self.fs.counters());
        let block_bytes = u64::try_from(coney_spdk_env::fs::limits::BLOCK_LEN).unwrap_or(0);
        let count = self.syncs.count.load(Ordering::Relaxed);
        let total_ns = self.syncs.total_ns.load(Ordering::Relaxed);
        vec![
            ("device_total_bytes", space.total * block_bytes),
            ("device_used_bytes", space.used * block_bytes),
            ("device_free_bytes", (space.free + space.held) * block_bytes),
            ("device_commits", counters.commits),
            ("device_journal_compactions", counters.compactions),
            ("device_flushes", counters.flushes),
            ("device_syncs", count),
            ("device_sync_usec_mean", total_ns.checked_div(count).unwrap_or(0) / 1000),
            ("device_sync_usec_max", self.syncs.ns_max.load(Ordering::Relaxed) / 1000),
            ("device_errors", counters.device_errors),
            ("device_trim_errors", counters.trim_errors),
            ("device_queues_in_use", counters.queues_in_use),
            ("device_queues_in_use_max", counters.queues_in_use_max),
        ]
    }

    fn broken(&self) -> Option<String> {
        self.fs.broken().map(|error| error.to_string())
    }
}

impl<D: BlockDevice> Drop for Mounted<D> {
    /// What RocksDB closed last, its info log above all, is durable without a sync of its own.
    fn drop(&mut self) {
        // Whoever could hear of a failure has heard of it at his sync.
        self.fs.commit().ok();
    }
}

impl Latency {
    fn add(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total_ns.fetch_add(ns, Ordering::Relaxed);
        self.ns_max.fetch_max(ns, Ordering::Relaxed);
    }
}
