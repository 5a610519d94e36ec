//! RocksDB on [`FileSystem`]: an [`Env`] whose files are there and whose threads and clocks are those
//! of RocksDB's default one.
//!
//! RocksDB calls in from many threads at once. Paths are absolute, `/` is the root. What differs from
//! an ordinary file system: appended bytes that were not synced do not survive the *process* either.

mod error;
mod ffi;
mod latency;
mod observed;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coney_base::Clock;
use coney_spdk_env::BlockDevice;
use coney_spdk_env::fs::{FileSystem, MountError};
use rocksdb::Env;

use latency::Latency;
pub use observed::Observed;
use observed::Seen;

/// The names of a kind's figures, in INFO.
macro_rules! figures {
    ($kind:literal) => {
        [
            concat!("device_", $kind, "_count"),
            concat!("device_", $kind, "_usec_p50"),
            concat!("device_", $kind, "_usec_p99"),
            concat!("device_", $kind, "_usec_max"),
            concat!("device_", $kind, "_errors"),
        ]
    };
}

const READ_FIGURES: [&str; 5] = figures!("read");
const WRITE_FIGURES: [&str; 5] = figures!("write");
const DURABLE_WRITE_FIGURES: [&str; 5] = figures!("durable_write");
const FLUSH_FIGURES: [&str; 5] = figures!("flush");
const TRIM_FIGURES: [&str; 5] = figures!("trim");

/// A mounted file system as RocksDB uses it.
#[derive(Debug)]
pub struct Mounted<D: BlockDevice> {
    fs: FileSystem<D>,
    clock: Clock,
    syncs: Latency,
    /// Nothing, unless the device is observed.
    seen: Arc<Seen>,
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
        Self { fs, clock: Clock::new(), syncs: Latency::default(), seen: Arc::default() }
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

impl<D: BlockDevice> Mounted<Observed<D>> {
    /// Mounts a device, and counts and times its operations from then on.
    ///
    /// # Errors
    /// [`MountError`].
    pub fn observed(device: D) -> Result<Self, MountError> {
        let seen: Arc<Seen> = Arc::default();
        let fs = FileSystem::mount(Observed::new(device, Arc::clone(&seen)))?;
        let mut mounted = Self::new(fs);
        mounted.seen = seen;
        Ok(mounted)
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
        let syncs = self.syncs.summary();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut figures = vec![
            ("device_total_bytes", space.total * block_bytes),
            ("device_used_bytes", space.used * block_bytes),
            ("device_free_bytes", (space.free + space.held) * block_bytes),
            ("device_commits", counters.commits),
            ("device_journal_compactions", counters.compactions),
            ("device_flushes", counters.flushes),
            ("device_syncs", syncs.count),
            ("device_sync_usec_mean", syncs.usec_mean),
            ("device_sync_usec_p50", syncs.usec_p50),
            ("device_sync_usec_p99", syncs.usec_p99),
            ("device_sync_usec_max", syncs.usec_max),
            ("device_read_only", u64::from(self.fs.broken().is_some())),
            ("device_errors", counters.device_errors),
            ("device_queues_in_use", counters.queues_in_use),
            ("device_queues_in_use_max", counters.queues_in_use_max),
            ("device_queue_depth", load(&self.seen.depth)),
            ("device_queue_depth_max", load(&self.seen.depth_max)),
        ];
        for (names, kind) in [
            (READ_FIGURES, &self.seen.reads),
            (WRITE_FIGURES, &self.seen.writes),
            (DURABLE_WRITE_FIGURES, &self.seen.durable_writes),
            (FLUSH_FIGURES, &self.seen.flushes),
            (TRIM_FIGURES, &self.seen.trims),
        ] {
            let found = kind.latency.summary();
            let times = [found.usec_p50, found.usec_p99, found.usec_max];
            let [count, p50, p99, max, errors] = names;
            figures.push((count, found.count));
            figures.extend([p50, p99, max].into_iter().zip(times));
            figures.push((errors, load(&kind.errors)));
        }
        figures
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
