//! What one executor counts.

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
    /// Commands parked for a latch.
    pub latch_waits: u64,
    /// Calls, by the command's index in the table.
    pub calls: Vec<u64>,
    /// Calls that replied an error.
    pub failed_calls: Vec<u64>,
    /// Calls refused before they ran.
    pub rejected_calls: Vec<u64>,
}
