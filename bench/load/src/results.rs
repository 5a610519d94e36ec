//! What was measured.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::client::Flight;

/// Longest latency that is told apart: ten minutes, in nanoseconds.
const LATENCY_NS_MAX: u64 = 600_000_000_000;
/// Digits that latencies keep.
const DIGITS: u8 = 3;

/// Of one kind of operation.
#[derive(Debug, Clone)]
pub(crate) struct Count {
    /// Latencies in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// Operations with an error among their replies.
    pub(crate) errors: u64,
    /// Operations that found nothing.
    pub(crate) nothing: u64,
}

/// Of all kinds, by their indexes.
#[derive(Debug, Clone)]
pub(crate) struct Results {
    pub(crate) kinds: Vec<Count>,
    /// The last error reply.
    pub(crate) error: Option<String>,
    /// Operations of an open loop that were due and could not start before the end.
    pub(crate) not_started: u64,
    /// Bytes received.
    pub(crate) rx_bytes: u64,
    /// Bytes sent.
    pub(crate) tx_bytes: u64,
}

/// An empty histogram.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS).expect("the bounds are constants")
}

impl Results {
    pub(crate) fn new(kinds: usize) -> Self {
        let empty = Count { latency: histogram(), errors: 0, nothing: 0 };
        let kinds = vec![empty; kinds];
        Self { kinds, error: None, not_started: 0, rx_bytes: 0, tx_bytes: 0 }
    }

    /// Notes a finished operation.
    pub(crate) fn note(&mut self, flight: &Flight, latency: Duration) {
        let Some(count) = self.kinds.get_mut(flight.kind) else { return };
        count.latency.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        count.errors += u64::from(flight.is_error);
        count.nothing += u64::from(flight.is_nothing);
    }

    /// Adds what another thread measured.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.kinds.iter_mut().zip(&other.kinds) {
            mine.latency += &theirs.latency;
            mine.errors += theirs.errors;
            mine.nothing += theirs.nothing;
        }
        self.not_started += other.not_started;
        self.rx_bytes += other.rx_bytes;
        self.tx_bytes += other.tx_bytes;
        if self.error.is_none() {
            self.error.clone_from(&other.error);
        }
    }

    /// Latencies of all kinds together.
    pub(crate) fn total(&self) -> Histogram<u64> {
        let mut total = histogram();
        for count in &self.kinds {
            total += &count.latency;
        }
        total
    }
}

/// One interval of a run.
#[derive(Debug, Clone)]
pub(crate) struct Interval {
    /// Its end, from the start of the measurement.
    pub(crate) until: Duration,
    /// Its length.
    pub(crate) length: Duration,
    /// Operations finished.
    pub(crate) latency: Histogram<u64>,
}

impl Interval {
    /// Operations a second.
    #[expect(clippy::cast_precision_loss, reason = "operations of one interval")]
    pub(crate) fn rate(&self) -> f64 {
        self.latency.len() as f64 / self.length.as_secs_f64().max(1e-9)
    }
}
