//! What an executor counts.

use super::Executor;

/// What an executor counts.
#[derive(Debug, Default, Clone)]
pub struct ExecutorStats {
    /// Commands executed.
    pub commands: u64,
    /// Commands that replied an error.
    pub errors: u64,
    /// Commands refused before they ran: unknown, wrong number of arguments, not authenticated.
    pub rejected: u64,
    /// Reads that found their key.
    pub keyspace_hits: u64,
    /// Reads that did not.
    pub keyspace_misses: u64,
    /// Keys removed because their deadline passed.
    pub expired_keys: u64,
    /// Fields of hashes removed because their deadline passed.
    pub expired_fields: u64,
    /// Commands that had to fetch keys from the device.
    pub fetches: u64,
    /// Reads of the device on the worker, after [`super::FETCH_ROUNDS_MAX`] fetches.
    pub blocking_reads: u64,
    /// Commands that only read and were executed on the pool, because they read too much or
    /// ranges that were not in memory.
    pub pool_reads: u64,
    /// Commands that write and were executed on the pool for the same reasons.
    pub holds: u64,
    /// Keyspace events that found the mailbox of their receivers full.
    pub events_dropped: u64,
    /// Commands parked for a latch.
    pub latch_waits: u64,
    /// Calls, by the command's index in the table.
    pub calls: Vec<u64>,
    /// Calls that replied an error.
    pub failed_calls: Vec<u64>,
    /// Calls refused before they ran.
    pub rejected_calls: Vec<u64>,
}

impl ExecutorStats {
    /// Nothing yet, for a table of so many commands.
    pub(super) fn of(commands: usize) -> Self {
        Self {
            calls: vec![0; commands],
            failed_calls: vec![0; commands],
            rejected_calls: vec![0; commands],
            ..Self::default()
        }
    }
}

impl Executor {
    /// The command that has ended since the last look, by its place in the table, and whether it may
    /// have taken long. One that is only queued, or refused, is none.
    pub fn take_last_call(&mut self) -> Option<(usize, bool)> {
        self.last_call.take()
    }

    /// Bytes and entries in the cache, hits and misses.
    pub fn cache_usage(&self) -> CacheUsage {
        let (bytes, entries) = self.cache.usage();
        CacheUsage { bytes, entries, hits: self.cache.hits, misses: self.cache.misses }
    }

    /// Sets the counters back to zero.
    pub fn reset_stats(&mut self) {
        let commands = self.stats.calls.len();
        self.stats = ExecutorStats::of(commands);
        (self.cache.hits, self.cache.misses) = (0, 0);
    }
}

/// See [`Executor::cache_usage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheUsage {
    /// Bytes in use.
    pub bytes: u64,
    /// Entries.
    pub entries: usize,
    /// Lookups that found a valid entry.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
}
