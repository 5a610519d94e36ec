//! How long operations took, over all times that they were done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Parts into which each power of two of nanoseconds is divided: a quantile is at most an eighth high.
const PARTS: usize = 8;
const PARTS_BITS: u32 = PARTS.ilog2();
const BUCKETS: usize = 64 * PARTS;

/// A histogram that any number of threads add to.
pub(crate) struct Latency {
    buckets: Box<[AtomicU64]>,
    count: AtomicU64,
    total_ns: AtomicU64,
    ns_max: AtomicU64,
}

/// What a histogram says, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) usec_mean: u64,
    pub(crate) usec_p50: u64,
    pub(crate) usec_p99: u64,
    pub(crate) usec_max: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            buckets: std::iter::repeat_with(AtomicU64::default).take(BUCKETS).collect(),
            count: AtomicU64::new(0),
            total_ns: AtomicU64::new(0),
            ns_max: AtomicU64::new(0),
        }
    }
}

impl std::fmt::Debug for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.summary().fmt(f)
    }
}

impl Latency {
    pub(crate) fn add(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(bucket_of(ns)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total_ns.fetch_add(ns, Ordering::Relaxed);
        self.ns_max.fetch_max(ns, Ordering::Relaxed);
    }

    pub(crate) fn summary(&self) -> Summary {
        let count = self.count.load(Ordering::Relaxed);
        let total_ns = self.total_ns.load(Ordering::Relaxed);
        let ns_max = self.ns_max.load(Ordering::Relaxed);
        let quantile = |percent: u64| {
            let rank = (count.saturating_mul(percent)).div_ceil(100);
            let mut seen = 0;
            let at = self.buckets.iter().position(|bucket| {
                seen += bucket.load(Ordering::Relaxed);
                seen >= rank
            });
            // The longest is known better than its bucket.
            at.map_or(0, end_of).min(ns_max) / 1000
        };
        Summary {
            count,
            usec_mean: total_ns.checked_div(count).unwrap_or(0) / 1000,
            usec_p50: quantile(50),
            usec_p99: quantile(99),
            usec_max: ns_max / 1000,
        }
    }
}

/// Below [`PARTS`] each number has a bucket of its own; above, each eighth of a power of two.
fn bucket_of(ns: u64) -> usize {
    let power = ns.max(1).ilog2();
    if power < PARTS_BITS {
        return usize::try_from(ns).unwrap_or(0);
    }
    let part = (ns >> (power - PARTS_BITS)) & (PARTS as u64 - 1);
    let power = usize::try_from(power - PARTS_BITS + 1).unwrap_or(0);
    power * PARTS + usize::try_from(part).unwrap_or(0)
}

/// The largest number in a bucket.
fn end_of(bucket: usize) -> u64 {
    let (power, part) = (bucket / PARTS, (bucket % PARTS) as u64);
    match u32::try_from(power).unwrap_or(0).checked_sub(1) {
        None => part,
        Some(shift) => ((PARTS as u64 + part + 1) << shift).wrapping_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_where_the_next_begins() {
        for ns in (0..10_000).chain([1 << 40, u64::MAX - 1, u64::MAX]) {
            let end = end_of(bucket_of(ns));
            assert!(end >= ns && end - ns <= ns / PARTS as u64, "{ns}: {end}");
            assert_eq!(bucket_of(end), bucket_of(ns));
            if end < u64::MAX {
                assert_eq!(bucket_of(end + 1), bucket_of(ns) + 1, "{ns}");
            }
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_added() {
        let latency = Latency::default();
        assert_eq!(latency.summary().usec_p99, 0);
        for usec in 1..=1000 {
            latency.add(Duration::from_micros(usec));
        }
        let found = latency.summary();
        assert_eq!((found.count, found.usec_mean, found.usec_max), (1000, 500, 1000));
        assert!((500..=563).contains(&found.usec_p50), "{found:?}");
        assert!((990..=1000).contains(&found.usec_p99), "{found:?}");
    }
}
