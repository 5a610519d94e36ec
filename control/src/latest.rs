//! How fast a counter grew lately: `instantaneous_ops_per_sec` and its siblings.

use std::time::Duration;

use coney_base::Instant;

/// Two samples further apart than this say nothing about now.
const SPAN_MAX: Duration = Duration::from_secs(10);

/// The growth of one counter between its last two samples.
#[derive(Debug, Default, Clone, Copy)]
pub struct Latest {
    last: Option<(Instant, u64)>,
    per_second: u64,
}

impl Latest {
    /// Takes a sample.
    pub fn sample(&mut self, now: Instant, value: u64) {
        if let Some((then, before)) = self.last {
            let millis = u64::try_from(now.since(then).as_millis()).unwrap_or(u64::MAX);
            if millis == 0 {
                return;
            }
            let grown = value.saturating_sub(before);
            let stale = now.since(then) > SPAN_MAX;
            self.per_second = if stale { 0 } else { grown.saturating_mul(1000) / millis };
        }
        self.last = Some((now, value));
    }

    /// Growth per second as of the last sample.
    pub fn per_second(&self) -> u64 {
        self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_per_second_and_a_reset_counter_is_no_growth() {
        let mut latest = Latest::default();
        latest.sample(Instant::from_millis(1000), 100);
        assert_eq!(latest.per_second(), 0);
        latest.sample(Instant::from_millis(1500), 600);
        assert_eq!(latest.per_second(), 1000);
        latest.sample(Instant::from_millis(2500), 0);
        assert_eq!(latest.per_second(), 0);
        latest.sample(Instant::from_millis(60_000), 1_000_000);
        assert_eq!(latest.per_second(), 0, "too long ago");
    }
}
