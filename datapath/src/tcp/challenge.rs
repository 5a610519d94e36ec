//! Limits on what a stranger can make us send: challenge acknowledgements (RFC 5961 §7) and resets.

use std::time::Duration;

use coney_base::Instant;

use super::flow::FlowHasher;

/// One connection answers suspicious segments at most once in this time, as Linux does.
pub const PER_CONNECTION_INTERVAL: Duration = Duration::from_millis(500);

/// At most so many events per second, of which an outsider cannot learn by counting: each second
/// has its own limit between half and one and a half of the set one. A fixed shared limit is the
/// side channel of CVE-2016-5696.
#[derive(Debug)]
pub struct RateLimit {
    per_second_max: u32,
    second: u64,
    left: u32,
}

impl RateLimit {
    /// A limit.
    pub fn new(per_second_max: u32) -> Self {
        Self { per_second_max, second: u64::MAX, left: 0 }
    }

    /// Whether one more may happen now.
    pub fn allow(&mut self, now: Instant, hasher: &FlowHasher) -> bool {
        let second = now.as_millis() / 1000;
        if second != self.second {
            self.second = second;
            let half = self.per_second_max / 2;
            let noise = hasher.noise(second) % self.per_second_max.max(1);
            self.left = half.saturating_add(noise);
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_a_limit_of_its_own_around_the_set_one() {
        let hasher = FlowHasher::new([1; 16]);
        let mut limit = RateLimit::new(100);
        let counts: Vec<usize> = (0..20)
            .map(|second| {
                let now = Instant::from_millis(second * 1000 + 7);
                (0..1000).filter(|_| limit.allow(now, &hasher)).count()
            })
            .collect();
        assert!(counts.iter().all(|count| (50..150).contains(count)), "{counts:?}");
        assert!(counts.iter().any(|count| *count != counts[0]), "{counts:?}");
    }
}
