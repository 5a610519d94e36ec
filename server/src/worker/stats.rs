//! What a worker counts. Plain numbers: only the worker touches them, and reports copies.

use std::time::Duration;

use coney_datapath::transport::CloseReason;

/// Codes of errors that are counted one by one, as many as Redis counts. Clients cannot make up
/// codes, so there are few.
const ERROR_CODES_MAX: usize = 128;

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
    pub(crate) sync_failure_disconnections: u64,
    pub(crate) protocol_errors: u64,
    pub(crate) error_replies: u64,
    /// Error replies by their code; at most [`ERROR_CODES_MAX`] of them.
    pub(crate) errors: Vec<(String, u64)>,
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

    /// Counts an error reply; `text` starts with its code.
    pub(crate) fn count_error(&mut self, text: &[u8]) {
        self.error_replies += 1;
        let code = text.split(|byte| matches!(byte, b' ' | b'\r')).next().unwrap_or_default();
        if let Some((_, count)) = self.errors.iter_mut().find(|(known, _)| known.as_bytes() == code)
        {
            *count += 1;
        } else if self.errors.len() < ERROR_CODES_MAX {
            self.errors.push((String::from_utf8_lossy(code).into_owned(), 1));
        }
    }

    pub(crate) fn count_close(&mut self, reason: CloseReason) {
        match reason {
            CloseReason::Reset => self.closed_by_reset += 1,
            CloseReason::TimedOut => self.closed_by_timeout += 1,
            CloseReason::Finished | CloseReason::Aborted | CloseReason::Failed => {}
        }
    }
}
