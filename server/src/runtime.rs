//! Settings that CONFIG SET may change while workers read them: plain atomics, no lock.

use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::time::Duration;

use coney_control::config::{Config, Sync};

use crate::worker::output_limit::OutputLimit;

const SYNC_OFF: u8 = 0;
const SYNC_EVERYSEC: u8 = 1;
const SYNC_ALWAYS: u8 = 2;

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
    /// `client-output-buffer-limit normal`.
    pub(crate) output_limit: OutputLimit,
    /// `protected-mode`: without a password, clients from other hosts are refused.
    pub(crate) protected_mode: AtomicBool,
    /// `client-output-buffer-limit pubsub`.
    pub(crate) pubsub_output_limit: OutputLimit,
    /// `write-stall-timeout` in seconds; 0: for ever.
    write_stall_timeout_secs: AtomicU64,
    /// Active expiry is on.
    pub(crate) active_expire: AtomicBool,
    /// How long a worker polls without work before it sleeps, in microseconds.
    pub(crate) spin_us: AtomicU64,
    /// `slowlog-log-slower-than` in microseconds; negative: never.
    slower_than_us: AtomicI64,
    /// `latency-monitor-threshold` in milliseconds; 0: none.
    latency_threshold_ms: AtomicI64,
}

impl Runtime {
    /// The settings of `config`.
    pub(crate) fn new(config: &Config) -> Self {
        let runtime = Self {
            sync: AtomicU8::new(0),
            clients_max: AtomicUsize::new(0),
            clients: AtomicUsize::new(0),
            next_client_id: AtomicU64::new(1),
            idle_timeout_secs: AtomicU64::new(0),
            bulk_len_max: AtomicU32::new(0),
            query_buffer_len_max: AtomicUsize::new(0),
            output_limit: OutputLimit::default(),
            protected_mode: AtomicBool::new(true),
            pubsub_output_limit: OutputLimit::default(),
            write_stall_timeout_secs: AtomicU64::new(0),
            active_expire: AtomicBool::new(true),
            spin_us: AtomicU64::new(0),
            slower_than_us: AtomicI64::new(-1),
            latency_threshold_ms: AtomicI64::new(0),
        };
        runtime.apply(config);
        runtime
    }

    /// Takes over what may change while the server runs.
    pub(crate) fn apply(&self, config: &Config) {
        let to_usize = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        self.sync.store(
            match config.sync {
                Sync::Off => SYNC_OFF,
                Sync::EverySec => SYNC_EVERYSEC,
                Sync::Always => SYNC_ALWAYS,
            },
            Ordering::Relaxed,
        );
        self.clients_max.store(config.maxclients, Ordering::Relaxed);
        self.idle_timeout_secs.store(config.timeout_secs, Ordering::Relaxed);
        self.write_stall_timeout_secs.store(config.write_stall_timeout_secs, Ordering::Relaxed);
        self.bulk_len_max.store(config.proto_max_bulk_len, Ordering::Relaxed);
        let query_limit = to_usize(config.client_query_buffer_limit);
        self.query_buffer_len_max.store(query_limit, Ordering::Relaxed);
        self.output_limit.set(config.client_output_buffer_limit.normal);
        self.protected_mode.store(config.protected_mode, Ordering::Relaxed);
        self.pubsub_output_limit.set(config.client_output_buffer_limit.pubsub);
        self.spin_us.store(config.spin_us, Ordering::Relaxed);
        self.slower_than_us.store(config.slowlog_log_slower_than, Ordering::Relaxed);
        self.latency_threshold_ms.store(config.latency_monitor_threshold, Ordering::Relaxed);
    }

    /// The durability that clients get now.
    pub(crate) fn sync(&self) -> Sync {
        match self.sync.load(Ordering::Relaxed) {
            SYNC_OFF => Sync::Off,
            SYNC_EVERYSEC => Sync::EverySec,
            _ => Sync::Always,
        }
    }

    /// How long a batch may wait for RocksDB's compactions; `None`: for ever.
    pub(crate) fn write_stall_timeout(&self) -> Option<Duration> {
        let secs = self.write_stall_timeout_secs.load(Ordering::Relaxed);
        (secs > 0).then(|| Duration::from_secs(secs))
    }

    /// From how long on a command is noted for LATENCY; `None`: none is.
    pub(crate) fn latency_threshold(&self) -> Option<Duration> {
        let millis = u64::try_from(self.latency_threshold_ms.load(Ordering::Relaxed)).ok()?;
        (millis > 0).then(|| Duration::from_millis(millis))
    }

    /// From how long on a command is slow; `None`: none is.
    pub(crate) fn slower_than(&self) -> Option<Duration> {
        let micros = u64::try_from(self.slower_than_us.load(Ordering::Relaxed)).ok()?;
        Some(Duration::from_micros(micros))
    }

    /// Counts a client, if `maxclients` allows one more.
    pub(crate) fn admit_client(&self) -> bool {
        let clients_max = self.clients_max.load(Ordering::Relaxed);
        let one_more = |clients: usize| (clients < clients_max).then_some(clients + 1);
        self.clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// After how long without a command a client is disconnected.
    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        match self.idle_timeout_secs.load(Ordering::Relaxed) {
            0 => None,
            secs => Some(Duration::from_secs(secs)),
        }
    }
}
