//! Settings that CONFIG SET may change while workers read them: plain atomics, no lock.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// When a write is acknowledged, and who brings it to the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum SyncPolicy {
    /// Written to the log; the operating system decides when it reaches the disk.
    Off = 0,
    /// Written to the log, and the log is synced each second.
    EverySec = 1,
    /// Acknowledged after the log was synced.
    Always = 2,
}

/// See the module page. One for all workers.
#[derive(Debug)]
pub(crate) struct Runtime {
    sync: AtomicU8,
    /// `maxclients`.
    pub(crate) clients_max: AtomicUsize,
    /// Clients connected now, over all workers.
    pub(crate) clients: AtomicUsize,
    /// The id of the next client.
    pub(crate) next_client_id: AtomicU64,
    /// `timeout` in seconds; 0 means never.
    pub(crate) idle_timeout_secs: AtomicU64,
    /// `proto-max-bulk-len` in bytes.
    pub(crate) bulk_len_max: AtomicU32,
    /// `client-query-buffer-limit` in bytes.
    pub(crate) query_buffer_len_max: AtomicUsize,
    /// Hard limit of `client-output-buffer-limit normal` in bytes; 0 means none.
    pub(crate) output_buffer_len_max: AtomicUsize,
    /// A password is required.
    pub(crate) requires_auth: AtomicBool,
    /// `protected-mode` refuses clients from other hosts.
    pub(crate) refuses_remote: AtomicBool,
    /// Active expiry is on.
    pub(crate) active_expire: AtomicBool,
    /// How long a worker polls without work before it sleeps, in microseconds.
    pub(crate) spin_us: AtomicU64,
}

impl Runtime {
    /// Settings with every limit at its default.
    pub(crate) fn new(sync: SyncPolicy) -> Self {
        Self {
            sync: AtomicU8::new(sync as u8),
            clients_max: AtomicUsize::new(10_000),
            clients: AtomicUsize::new(0),
            next_client_id: AtomicU64::new(1),
            idle_timeout_secs: AtomicU64::new(0),
            bulk_len_max: AtomicU32::new(512 * 1024 * 1024),
            query_buffer_len_max: AtomicUsize::new(1024 * 1024 * 1024),
            output_buffer_len_max: AtomicUsize::new(0),
            requires_auth: AtomicBool::new(false),
            refuses_remote: AtomicBool::new(false),
            active_expire: AtomicBool::new(true),
            spin_us: AtomicU64::new(0),
        }
    }

    /// The durability that clients get now.
    pub(crate) fn sync_policy(&self) -> SyncPolicy {
        match self.sync.load(Ordering::Relaxed) {
            0 => SyncPolicy::Off,
            1 => SyncPolicy::EverySec,
            _ => SyncPolicy::Always,
        }
    }

    /// Changes the durability for what is written from now on.
    pub(crate) fn set_sync_policy(&self, policy: SyncPolicy) {
        self.sync.store(policy as u8, Ordering::Relaxed);
    }

    /// After how long without a command a client is disconnected.
    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        match self.idle_timeout_secs.load(Ordering::Relaxed) {
            0 => None,
            secs => Some(Duration::from_secs(secs)),
        }
    }
}
