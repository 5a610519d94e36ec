//! The retransmission timeout (RFC 6298).

use std::time::Duration;

/// RFC 6298 §2.4 says 1 s. We use 200 ms like Linux: see docs/tcp.md, "RTO floor".
pub const RTO_MIN: Duration = Duration::from_millis(200);
/// RFC 6298 §2.5 allows a maximum of at least 60 s; this is Linux's.
pub const RTO_MAX: Duration = Duration::from_secs(120);
/// RFC 6298 §2.1: before the first measurement.
pub const RTO_INITIAL: Duration = Duration::from_secs(1);
/// Granularity of our clock: the timer wheel's.
const GRANULARITY_US: u32 = 1000;

/// Round-trip time of one connection, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct RttEstimator {
    /// Smoothed round-trip time; 0: never measured.
    srtt_us: u32,
    rttvar_us: u32,
    /// The shortest measured.
    min_us: u32,
}

impl RttEstimator {
    /// Takes a measurement. Karn's rule (§3) is the caller's: none from retransmitted data, unless
    /// timestamps tell which transmission was acknowledged.
    pub fn sample(&mut self, rtt: Duration) {
        let rtt = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX).clamp(1, 1 << 27);
        self.min_us = if self.min_us == 0 { rtt } else { self.min_us.min(rtt) };
        if self.srtt_us == 0 {
            self.srtt_us = rtt;
            self.rttvar_us = rtt / 2;
            return;
        }
        // §2.3 with alpha = 1/8 and beta = 1/4.
        let difference = self.srtt_us.abs_diff(rtt);
        self.rttvar_us = (self.rttvar_us - self.rttvar_us / 4) + difference / 4;
        self.srtt_us = ((self.srtt_us - self.srtt_us / 8) + rtt / 8).max(1);
    }

    /// Smoothed round-trip time; `None` before the first measurement.
    pub fn srtt(&self) -> Option<Duration> {
        (self.srtt_us > 0).then(|| Duration::from_micros(u64::from(self.srtt_us)))
    }

    /// The shortest round-trip time; `None` before the first measurement.
    pub fn min(&self) -> Option<Duration> {
        (self.min_us > 0).then(|| Duration::from_micros(u64::from(self.min_us)))
    }

    /// Forgets the shortest: the path may have changed.
    pub fn forget_min(&mut self) {
        self.min_us = self.srtt_us;
    }

    /// The timeout after `backoff` doublings (§5.5), between [`RTO_MIN`] and [`RTO_MAX`].
    pub fn rto(&self, backoff: u8) -> Duration {
        let base = match self.srtt() {
            None => RTO_INITIAL,
            Some(srtt) => {
                let spread = self.rttvar_us.saturating_mul(4).max(GRANULARITY_US);
                (srtt + Duration::from_micros(u64::from(spread))).max(RTO_MIN)
            }
        };
        base.saturating_mul(1 << backoff.min(16)).min(RTO_MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_sample_sets_both_and_later_ones_are_smoothed() {
        let mut rtt = RttEstimator::default();
        assert_eq!(rtt.rto(0), RTO_INITIAL);
        rtt.sample(Duration::from_millis(400));
        assert_eq!(rtt.rto(0), Duration::from_millis(400 + 4 * 200));
        rtt.sample(Duration::from_millis(800));
        // rttvar = 3/4 * 200 + 1/4 * 400 = 250, srtt = 7/8 * 400 + 1/8 * 800 = 450.
        assert_eq!(rtt.srtt(), Some(Duration::from_millis(450)));
        assert_eq!(rtt.rto(0), Duration::from_millis(450 + 4 * 250));
    }

    #[test]
    fn backoff_doubles_up_to_the_maximum() {
        let mut rtt = RttEstimator::default();
        rtt.sample(Duration::from_micros(50));
        let timeouts: Vec<u128> = (0..12).map(|backoff| rtt.rto(backoff).as_millis()).collect();
        assert_eq!(
            timeouts,
            [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 102_400, 120_000, 120_000]
        );
        assert_eq!(rtt.rto(u8::MAX), RTO_MAX);
    }

    proptest! {
        #[test]
        fn the_smoothed_time_stays_within_the_samples(
            samples in proptest::collection::vec(1_u64..10_000_000, 1..50),
        ) {
            let mut rtt = RttEstimator::default();
            samples.iter().for_each(|us| rtt.sample(Duration::from_micros(*us)));
            let srtt = u64::try_from(rtt.srtt().unwrap().as_micros()).unwrap();
            // Integer division by 8 loses up to 8 us.
            prop_assert!(srtt + 8 >= *samples.iter().min().unwrap());
            prop_assert!(srtt <= *samples.iter().max().unwrap() + 8);
            prop_assert!(rtt.rto(0) >= RTO_MIN && rtt.rto(255) <= RTO_MAX);
        }
    }
}
