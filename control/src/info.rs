//! INFO: what the server tells of itself, from rows that its parts filled in.
//!
//! Section and field names are those of Redis 7.2 as far as this server has what they mean, so
//! that clients and monitoring find what they look for; the sections `Coney`, `Datapath` and
//! `Storage` are our own.
//!
//! Source: <https://redis.io/docs/latest/commands/info/>

use std::time::Duration;

mod sums;
mod write;

pub use write::write;

pub use crate::clients::ClientRow;

pub use coney_resp::REDIS_VERSION;

/// What one worker reports.
#[derive(Debug, Default, Clone)]
#[expect(missing_docs, reason = "the names are those of the fields that INFO shows")]
pub struct WorkerRow {
    pub id: usize,
    pub clients: usize,
    /// Clients whose command waits for something.
    pub waiting_clients: usize,
    /// Clients in blocking commands that wait for elements.
    pub blocked_clients: usize,
    pub query_buffer_max: usize,
    pub query_buffer_bytes: usize,
    pub output_buffer_max: usize,
    pub output_buffer_bytes: usize,
    pub connections_received: u64,
    pub rejected_connections: u64,
    pub closed_by_reset: u64,
    pub closed_by_timeout: u64,
    pub idle_disconnections: u64,
    pub query_limit_disconnections: u64,
    pub output_limit_disconnections: u64,
    pub sync_failure_disconnections: u64,
    pub protocol_errors: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub commands: u64,
    pub error_replies: u64,
    pub keyspace_hits: u64,
    pub keyspace_misses: u64,
    pub expired_keys: u64,
    pub expired_fields: u64,
    /// Commands that had to wait, for whatever reason.
    pub parked: u64,
    /// Commands that fetched keys from the device.
    pub fetches: u64,
    /// Reads of the device on the worker itself.
    pub blocking_reads: u64,
    /// Commands that only read and ran on the I/O pool.
    pub pool_reads: u64,
    /// Commands that write and ran on the I/O pool.
    pub pool_writes: u64,
    /// Commands that waited for another writer.
    pub latch_waits: u64,
    /// Clients that track keys, keys that are tracked, clients of keys, prefixes.
    pub tracking: [usize; 4],
    /// Keyspace events that were dropped because the mailbox of their receivers was full.
    pub events_dropped: u64,
    pub commits: u64,
    pub commit_stalls: u64,
    pub commit_failures: u64,
    pub busy_iterations: u64,
    pub idle_iterations: u64,
    pub sleeps: u64,
    /// Time in iterations with something to do.
    pub busy: Duration,
    /// The longest of them.
    pub busy_longest: Duration,
    /// CPU time of the worker's thread.
    pub cpu: Duration,
    pub cache_bytes: u64,
    pub cache_entries: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
    /// By the command's index in the table.
    pub calls: Vec<Calls>,
    /// How long commands took, by their places in the table.
    pub times: Vec<(usize, Times)>,
    /// Error replies by their code, such as `WRONGTYPE`.
    pub errors: Vec<(String, u64)>,
    /// Counters of the transports.
    pub transports: Vec<(&'static str, u64)>,
}

/// Powers of two that times are sorted into.
const BUCKETS: usize = 32;

/// How long a command took, as far as it was timed (see docs/compatibility.md).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Times {
    count: u64,
    total: Duration,
    /// How often at most 1024 ns times a power of two.
    buckets: [u64; BUCKETS],
}

impl Times {
    /// It took so long so many times.
    pub fn add(&mut self, took: Duration, weight: u64) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - (ns.saturating_sub(1) >> 10).leading_zeros()) as usize;
        self.count += weight;
        self.total += Duration::from_nanos(ns.saturating_mul(weight));
        self.buckets[bucket.min(BUCKETS - 1)] += weight;
    }

    /// Adds what another worker has recorded.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.total += other.total;
        for (sum, count) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += count;
        }
    }

    /// How often it was timed.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// In all.
    pub fn total(&self) -> Duration {
        self.total
    }

    /// Bounds in seconds, and how often it took longer than the bound before and at most this long.
    pub fn buckets_seconds(&self) -> Vec<(f64, u64)> {
        let bound = |power: usize| Duration::from_nanos(1024_u64 << power).as_secs_f64();
        self.buckets.iter().enumerate().map(|(power, count)| (bound(power), *count)).collect()
    }

    /// In microseconds.
    pub fn total_micros(&self) -> u64 {
        u64::try_from(self.total.as_micros()).unwrap_or(u64::MAX)
    }

    /// Bounds in microseconds, and how often it took at most that long, where that is more than for
    /// the bound before: the form of LATENCY HISTOGRAM.
    pub fn cumulative(&self) -> Vec<(u64, u64)> {
        let mut sum = 0;
        let mut rows = Vec::new();
        for (power, count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            sum += count;
            // Redis's histograms have two digits, so their bounds lie a little higher.
            let bound_ns = 1024_u64 << power;
            rows.push(((bound_ns + bound_ns / 128) / 1000, sum));
        }
        rows
    }
}

/// How often a command was called.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// Executed.
    pub calls: u64,
    /// Executed, and replied an error.
    pub failed: u64,
    /// Refused before it was executed.
    pub rejected: u64,
}

/// What does not change while the server runs, and the time.
#[derive(Debug, Default, Clone)]
#[expect(missing_docs, reason = "the names are those of the fields that INFO shows")]
pub struct ServerRow {
    pub coney_version: &'static str,
    pub os: String,
    pub process_id: u32,
    pub run_id: String,
    pub tcp_port: u16,
    pub unix_micros: u64,
    pub uptime: Duration,
    pub executable: String,
    pub config_file: String,
    pub workers: usize,
    pub io_threads: usize,
    pub maxclients: usize,
    pub datapath: &'static str,
    /// How kernel sockets are used: `epoll` or `io_uring`.
    pub kernel_transport: &'static str,
    pub listeners: Vec<String>,
    /// Where the page of metrics is, if it is served.
    pub metrics: Option<String>,
}

/// Memory, in bytes.
#[derive(Debug, Default, Clone, Copy)]
#[expect(missing_docs, reason = "the names are those of the fields that INFO shows")]
pub struct MemoryRow {
    pub allocated: u64,
    pub active: u64,
    pub resident: u64,
    pub rss: u64,
    /// The most that was allocated at a moment when somebody looked.
    pub peak: u64,
    pub system: u64,
}

/// Processor time.
#[derive(Debug, Default, Clone, Copy)]
#[expect(missing_docs, reason = "the names are those of the fields that INFO shows")]
pub struct CpuRow {
    pub system: Duration,
    pub user: Duration,
    pub children_system: Duration,
    pub children_user: Duration,
}

/// What became of the writes.
#[derive(Debug, Default, Clone)]
#[expect(missing_docs, reason = "the names are those of the fields that INFO shows")]
pub struct PersistenceRow {
    pub sync: String,
    /// Batches written, and how many of them survive a power failure.
    pub written: u64,
    pub durable: u64,
    /// Why writes fail, if they do.
    pub failure: Option<String>,
    /// Whether the last sync of the log failed.
    pub sync_failed: bool,
    pub syncs: u64,
    /// SAVE, BGSAVE, or the start.
    pub last_save_unix_secs: u64,
    pub save_failed: bool,
    pub saving: bool,
}

/// Rates of the last seconds.
#[derive(Debug, Default, Clone, Copy)]
#[expect(missing_docs, reason = "the names are those of the fields that INFO shows")]
pub struct RateRow {
    pub commands: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

/// Keys of one database.
#[derive(Debug, Default, Clone, Copy)]
#[expect(missing_docs, reason = "the names are those of the fields that INFO shows")]
pub struct TableRow {
    pub table: u16,
    pub keys: i64,
    pub expires: i64,
}

/// A named table.
#[derive(Debug, Default, Clone)]
#[expect(missing_docs, reason = "the names are those of the fields that INFO shows")]
pub struct NamedRow {
    pub name: String,
    pub fields: Vec<(&'static str, i64)>,
}

/// Everything that INFO may show.
#[derive(Debug, Default, Clone)]
#[expect(missing_docs, reason = "each field is described at its type")]
pub struct Snapshot {
    pub server: ServerRow,
    pub workers: Vec<WorkerRow>,
    pub memory: MemoryRow,
    pub cpu: CpuRow,
    pub persistence: PersistenceRow,
    pub rates: RateRow,
    pub tables: Vec<TableRow>,
    pub named: Vec<NamedRow>,
    /// What the XDP program did with frames.
    pub steering: Vec<(&'static str, u64)>,
    /// Figures of RocksDB.
    pub storage: Vec<(&'static str, u64)>,
    /// Names of the commands, in the order of [`WorkerRow::calls`].
    pub commands: Vec<&'static str>,
    /// Channels, patterns and shard channels with subscribers.
    pub subscribed: [usize; 3],
    /// Slow log entries that were lost because too many came at once.
    pub slowlog_dropped: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_sorted_into_the_bounds_of_redis() {
        let mut times = Times::default();
        for (nanos, weight) in [(0, 1), (1024, 1), (1025, 2), (32_000, 3), (60_000_000_000, 1)] {
            times.add(Duration::from_nanos(nanos), weight);
        }
        assert_eq!(times.cumulative(), [(1, 2), (2, 4), (33, 7), (69_256_347, 8)]);
        assert_eq!(times.count(), 8);
        assert_eq!(times.total_micros(), 60_000_099);
        let mut sum = times.clone();
        sum.merge(&times);
        assert_eq!(sum.cumulative()[0], (1, 4));
    }
}
