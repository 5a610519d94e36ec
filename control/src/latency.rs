//! LATENCY LATEST, HISTORY, RESET and DOCTOR: what took longer than `latency-monitor-threshold`.
//!
//! Source: <https://redis.io/docs/latest/operate/oss_and_stack/management/optimization/latency-monitor/>

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

/// Samples kept of one event.
pub const SAMPLES_MAX: usize = 160;

/// One sample: when, in seconds since 1970, and how long it took, in milliseconds. Of all in one second,
/// the longest.
pub type Sample = (u64, u64);

/// What is kept of one event.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Event {
    samples: VecDeque<Sample>,
    max_ms: u64,
}

/// See the module page.
#[derive(Debug, Default)]
pub struct LatencyMonitor {
    events: BTreeMap<&'static str, Event>,
}

impl LatencyMonitor {
    /// Something took long.
    pub fn add(&mut self, event: &'static str, unix_secs: u64, millis: u64) {
        let event = self.events.entry(event).or_default();
        event.max_ms = event.max_ms.max(millis);
        match event.samples.back_mut() {
            Some((secs, longest)) if *secs == unix_secs => *longest = millis.max(*longest),
            _ => {
                if event.samples.len() == SAMPLES_MAX {
                    event.samples.pop_front();
                }
                event.samples.push_back((unix_secs, millis));
            }
        }
    }

    /// Of each event its name, the latest sample, and the longest time since it was reset.
    pub fn latest(&self) -> Vec<(&'static str, Sample, u64)> {
        let latest = |(name, event): (&&'static str, &Event)| {
            Some((*name, *event.samples.back()?, event.max_ms))
        };
        self.events.iter().filter_map(latest).collect()
    }

    /// The samples of an event, the oldest first.
    pub fn history(&self, name: &[u8]) -> Vec<Sample> {
        let is_it = |(known, _): &(&&'static str, &Event)| known.as_bytes() == name;
        let event = self.events.iter().find(is_it).map(|(_, event)| event);
        event.map(|event| event.samples.iter().copied().collect()).unwrap_or_default()
    }

    /// Forgets these events, or all if none is named; returns how many they were.
    pub fn reset(&mut self, names: &[&[u8]]) -> usize {
        let before = self.events.len();
        self.events.retain(|name, _| {
            !names.is_empty()
                && !names.iter().any(|reset| reset.eq_ignore_ascii_case(name.as_bytes()))
        });
        before - self.events.len()
    }

    /// A report for people.
    pub fn report(&self, threshold_ms: i64) -> String {
        if threshold_ms <= 0 {
            return "Latency is not monitored. CONFIG SET latency-monitor-threshold <milliseconds> \
                    turns it on."
                .to_owned();
        }
        if self.events.is_empty() {
            return format!("Nothing took {threshold_ms} ms or longer.");
        }
        let mut text = format!("What took {threshold_ms} ms or longer:\n");
        for (name, event) in &self.events {
            let count = event.samples.len() as u64;
            let sum: u64 = event.samples.iter().map(|(_, millis)| millis).sum();
            let average = sum / count.max(1);
            writeln!(
                text,
                "- {name}: {count} samples, {average} ms on average, {} ms at most",
                event.max_ms
            )
            .expect("writing to a string cannot fail");
        }
        text.push_str(
            "SLOWLOG GET shows the commands. busy_longest_usec in INFO coney is the longest that a \
             worker kept its clients waiting.",
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_of_each_second_is_kept() {
        let mut monitor = LatencyMonitor::default();
        for (secs, millis) in [(1, 5), (1, 9), (1, 7), (2, 3)] {
            monitor.add("command", secs, millis);
        }
        assert_eq!(monitor.history(b"command"), [(1, 9), (2, 3)]);
        assert_eq!(monitor.latest(), [("command", (2, 3), 9)]);
        for secs in 3..1000 {
            monitor.add("command", secs, 1);
        }
        assert_eq!(monitor.history(b"command").len(), SAMPLES_MAX);
        assert!(monitor.report(1).contains("160 samples"));
        assert_eq!(monitor.reset(&[b"nothing"]), 0);
        assert_eq!(monitor.reset(&[]), 1);
        assert!(monitor.history(b"command").is_empty());
    }
}
