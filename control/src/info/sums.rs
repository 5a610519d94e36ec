//! What the workers report, summed.

use std::collections::BTreeMap;

use super::{Calls, Snapshot, Times, WorkerRow};

impl Snapshot {
    pub(crate) fn sum(&self, field: impl Fn(&WorkerRow) -> u64) -> u64 {
        self.workers.iter().map(field).sum()
    }

    pub(super) fn sum_usize(&self, field: impl Fn(&WorkerRow) -> usize) -> usize {
        self.workers.iter().map(field).sum()
    }

    pub(super) fn max(&self, field: impl Fn(&WorkerRow) -> usize) -> usize {
        self.workers.iter().map(field).max().unwrap_or(0)
    }

    /// Counters of the transports, summed over names and workers.
    pub(super) fn transport(&self, names: &[&str]) -> u64 {
        let counters = self.workers.iter().flat_map(|worker| &worker.transports);
        counters.filter(|(name, _)| names.contains(name)).map(|(_, value)| value).sum()
    }

    /// All counters of the transports, in the order in which they report them.
    pub(crate) fn transport_counters(&self) -> Vec<(&'static str, u64)> {
        let mut sums: Vec<(&'static str, u64)> = Vec::new();
        for (name, value) in self.workers.iter().flat_map(|worker| &worker.transports) {
            match sums.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += value,
                None => sums.push((name, *value)),
            }
        }
        sums
    }

    /// How often the command at this place of the table was called.
    pub(crate) fn calls(&self, at: usize) -> Calls {
        let mut sum = Calls::default();
        for calls in self.workers.iter().filter_map(|worker| worker.calls.get(at)) {
            sum.calls += calls.calls;
            sum.failed += calls.failed;
            sum.rejected += calls.rejected;
        }
        sum
    }

    /// How long it took.
    pub(crate) fn times(&self, at: usize) -> Times {
        let mut sum = Times::default();
        let times = self.workers.iter().flat_map(|worker| &worker.times);
        times.filter(|(other, _)| *other == at).for_each(|(_, times)| sum.merge(times));
        sum
    }

    /// Error replies by their code, sorted.
    pub(crate) fn error_counts(&self) -> BTreeMap<&str, u64> {
        let mut sums = BTreeMap::new();
        for (code, count) in self.workers.iter().flat_map(|worker| &worker.errors) {
            *sums.entry(code.as_str()).or_default() += count;
        }
        sums
    }
}
