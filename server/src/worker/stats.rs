//! What a worker counts. Plain numbers: only the worker touches them, and reports copies.

use std::time::Duration;

use coney_datapath::transport::CloseReason;

/// Counters since the start or since CONFIG RESETSTAT.
#[derive(Debug, Default, Clone)]
pub(crate) struct Stats {
    pub(crate) connections_received: u64,
    pub(crate) rejected_connections: u64,
    pub(crate) closed_by_reset: u64,
    pub(crate) closed_by_timeout: u64,
    pub(crate) idle_disconnections: u64,
    pub(crate) query_limit_disconnections: u64,
    pub(crate) output_limit_disconnections: u64,
    pub(crate) protocol_errors: u64,
    pub(crate) rx_bytes: u64,
    pub(crate) tx_bytes: u64,
    pub(crate) parked: u64,
    pub(crate) commits: u64,
    pub(crate) commit_stalls: u64,
    pub(crate) commit_failures: u64,
    pub(crate) busy_iterations: u64,
    pub(crate) idle_iterations: u64,
    pub(crate) sleeps: u64,
    /// Time spent in iterations that had something to do.
    pub(crate) busy: Duration,
    /// The longest of them.
    pub(crate) busy_longest: Duration,
}

impl Stats {
    pub(crate) fn count_busy(&mut self, took: Duration) {
        self.busy_iterations += 1;
        self.busy += took;
        self.busy_longest = self.busy_longest.max(took);
    }

    pub(crate) fn count_close(&mut self, reason: CloseReason) {
        match reason {
            CloseReason::Reset => self.closed_by_reset += 1,
            CloseReason::TimedOut => self.closed_by_timeout += 1,
            CloseReason::Finished | CloseReason::Aborted | CloseReason::Failed => {}
        }
    }
}
