//! CUBIC (RFC 9438), in integers: bytes and milliseconds.
//!
//! After a congestion the window grows as a cubic function of time around the size at which it
//! happened: fast at first, flat near it, then fast again. Where Reno would be faster (short round
//! trips, small windows) CUBIC is as fast as Reno (§4.3), which is the common case inside a data
//! centre.

use std::time::Duration;

use coney_base::Instant;

use super::{Ack, CWND_MAX, CongestionControl, bounded, initial_window, slow_start_growth};

/// Multiplicative decrease factor 0.7 (§4.6).
const BETA: (u64, u64) = (7, 10);
/// What follows from it for the Reno-friendly region: 3 * (1 - 0.7) / (1 + 0.7) (§4.3).
const ALPHA: (u64, u64) = (9, 17);
/// Time from the plateau beyond which the function is not followed: the window would be beyond
/// every limit, and the arithmetic beyond 64 bits.
const DISTANCE_MS_MAX: u64 = 100_000;

/// RFC 9438 without HyStart++.
#[derive(Clone, Copy, Debug)]
pub struct Cubic {
    cwnd: u32,
    ssthresh: u32,
    /// Window at the last congestion, less if it had not recovered from the one before (§4.7).
    w_max: u32,
    /// Window at which the last congestion really happened (§4.3, `cwnd_prior`).
    prior: u32,
    /// What Reno would have by now (§4.3).
    w_est: u32,
    /// Time from the epoch to the plateau (§4.2), in milliseconds.
    k_ms: u32,
    /// Fractions of a byte that growth left over, in units of 1 / cwnd.
    cubic_rest: u32,
    est_rest: u32,
    /// Begin of the present congestion avoidance.
    epoch: Option<Instant>,
}

impl Cubic {
    /// The state of a new connection.
    pub fn new(mss: u32) -> Self {
        Self {
            cwnd: initial_window(mss),
            ssthresh: CWND_MAX,
            w_max: 0,
            prior: 0,
            w_est: 0,
            k_ms: 0,
            cubic_rest: 0,
            est_rest: 0,
            epoch: None,
        }
    }

    /// §4.6 and §4.7.
    fn reduce(&mut self, flight: u32, mss: u32) {
        self.prior = self.cwnd;
        self.w_max = if self.cwnd < self.w_max {
            // Fast convergence: (1 + beta) / 2.
            scaled(self.cwnd, 17, 20)
        } else {
            self.cwnd
        };
        self.ssthresh = scaled(flight, BETA.0, BETA.1).clamp(2 * mss, CWND_MAX);
        self.epoch = None;
    }

    fn begin_epoch(&mut self, now: Instant, mss: u32) {
        self.epoch = Some(now);
        self.w_est = self.cwnd;
        self.cubic_rest = 0;
        self.est_rest = 0;
        if self.cwnd < self.w_max {
            // K = cbrt((W_max - cwnd) / C) in seconds, with windows in segments and C = 0.4.
            let gap = u64::from(self.w_max - self.cwnd) * 2_500_000_000 / u64::from(mss.max(1));
            self.k_ms = cube_root(gap);
        } else {
            self.w_max = self.cwnd;
            self.k_ms = 0;
        }
    }

    /// §4.2: the window `at` after the begin of the epoch.
    fn w_cubic(&self, at: Duration, mss: u32) -> u32 {
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let distance = at.abs_diff(u64::from(self.k_ms)).min(DISTANCE_MS_MAX);
        // 0.4 * mss * (distance / 1000)^3: below 2^63 for any mss of 16 bits.
        let cube = distance * distance * distance / 1_000_000;
        let step = u32::try_from(cube * 2 * u64::from(mss) / 5000).unwrap_or(CWND_MAX);
        if at < u64::from(self.k_ms) {
            self.w_max.saturating_sub(step)
        } else {
            self.w_max.saturating_add(step).min(CWND_MAX)
        }
    }

    /// §4.3: what Reno with this multiplicative decrease would have.
    fn grow_estimate(&mut self, acked: u32, mss: u32) {
        // Once it is back where the congestion was, it grows as fast as Reno itself.
        let alpha = if self.w_est < self.prior { ALPHA } else { (1, 1) };
        let grown = u64::from(acked) * u64::from(mss) * alpha.0 / alpha.1;
        let (whole, rest) = shared(grown + u64::from(self.est_rest), self.cwnd);
        self.w_est = self.w_est.saturating_add(whole).min(CWND_MAX);
        self.est_rest = rest;
    }
}

impl CongestionControl for Cubic {
    fn cwnd(&self) -> u32 {
        self.cwnd
    }

    fn ssthresh(&self) -> u32 {
        self.ssthresh
    }

    fn on_ack(&mut self, ack: &Ack) {
        let mss = ack.mss;
        if self.cwnd < self.ssthresh {
            self.cwnd = bounded(self.cwnd.saturating_add(slow_start_growth(ack)), mss);
            return;
        }
        if self.epoch.is_none() {
            self.begin_epoch(ack.now, mss);
        }
        let at = self.epoch.map_or(Duration::ZERO, |epoch| ack.now.since(epoch));
        let acked = ack.acked.min(self.cwnd);
        self.grow_estimate(acked, mss);
        if self.w_cubic(at, mss) < self.w_est {
            self.cwnd = bounded(self.cwnd.max(self.w_est), mss);
            return;
        }
        // §4.4 and §4.5: towards where the function is one round trip later, by half at most.
        let target = self.w_cubic(at + ack.srtt, mss).min(self.cwnd.saturating_add(self.cwnd / 2));
        let gap = u64::from(target.saturating_sub(self.cwnd));
        let (whole, rest) = shared(gap * u64::from(acked) + u64::from(self.cubic_rest), self.cwnd);
        self.cubic_rest = rest;
        self.cwnd = bounded(self.cwnd.saturating_add(whole), mss);
    }

    fn on_congestion(&mut self, flight: u32, mss: u32) {
        self.reduce(flight, mss);
        self.cwnd = self.ssthresh;
    }

    fn on_recovery_end(&mut self, flight: u32, mss: u32) {
        // As in RFC 6582 §3.2 step 3, option 1: avoids a burst.
        self.cwnd = bounded(self.ssthresh.min(flight.max(mss).saturating_add(mss)), mss);
        self.epoch = None;
    }

    fn on_rto(&mut self, flight: u32, mss: u32, first: bool) {
        if first {
            self.reduce(flight, mss);
        }
        // §4.8.
        self.cwnd = mss;
        self.epoch = None;
    }

    fn on_idle(&mut self, mss: u32) {
        self.cwnd = bounded(self.cwnd.min(initial_window(mss)), mss);
        // §4.2: time in which nothing was sent does not count.
        self.epoch = None;
    }
}

fn scaled(bytes: u32, numerator: u64, denominator: u64) -> u32 {
    u32::try_from(u64::from(bytes) * numerator / denominator).unwrap_or(u32::MAX)
}

/// `amount` divided by the window, and what is left.
fn shared(amount: u64, cwnd: u32) -> (u32, u32) {
    let cwnd = u64::from(cwnd.max(1));
    let whole = u32::try_from(amount / cwnd).unwrap_or(u32::MAX);
    (whole, u32::try_from(amount % cwnd).unwrap_or(0))
}

/// The largest number whose cube is at most `cube`.
fn cube_root(cube: u64) -> u32 {
    let (mut low, mut high) = (0_u64, 2_642_245_u64);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if middle * middle * middle <= cube {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    u32::try_from(low).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MSS: u32 = 1000;

    /// Acknowledges a whole window each round trip.
    fn round_trips(cubic: &mut Cubic, now: &mut Instant, rtt: Duration, count: u32) {
        for _ in 0..count {
            *now = *now + rtt;
            for _ in 0..cubic.cwnd() / MSS {
                cubic.on_ack(&Ack { now: *now, acked: MSS, mss: MSS, srtt: rtt });
            }
        }
    }

    fn after_congestion_at(cwnd: u32) -> Cubic {
        let mut cubic = Cubic { cwnd, ..Cubic::new(MSS) };
        cubic.on_congestion(cwnd, MSS);
        cubic
    }

    proptest! {
        #[test]
        fn the_cube_root_is_the_largest_that_fits(root in 0_u64..2_642_245, above: u64) {
            let cube = root * root * root;
            let next = (root + 1) * (root + 1) * (root + 1);
            prop_assert_eq!(u64::from(cube_root(cube + above % (next - cube))), root);
        }
    }

    #[test]
    fn a_congestion_leaves_seven_tenths() {
        let cubic = after_congestion_at(100_000);
        assert_eq!((cubic.cwnd(), cubic.ssthresh(), cubic.w_max), (70_000, 70_000, 100_000));
        let mut cubic = after_congestion_at(100_000);
        cubic.on_congestion(70_000, MSS);
        assert_eq!((cubic.cwnd(), cubic.w_max), (49_000, 59_500), "fast convergence");
    }

    #[test]
    fn the_window_is_back_after_k_and_flat_there() {
        // K = cbrt(300 / 0.4) s = 9.085 s for 1000 segments.
        let mut cubic = after_congestion_at(1_000_000);
        let mut now = Instant::from_millis(1000);
        let rtt = Duration::from_millis(100);
        round_trips(&mut cubic, &mut now, rtt, 1);
        assert_eq!(cubic.k_ms, 9085);
        round_trips(&mut cubic, &mut now, rtt, 45);
        // Half of the time, seven eighths of the way.
        assert!((955_000..970_000).contains(&cubic.cwnd()), "{}", cubic.cwnd());
        round_trips(&mut cubic, &mut now, rtt, 45);
        assert!((995_000..1_005_000).contains(&cubic.cwnd()), "{}", cubic.cwnd());
        round_trips(&mut cubic, &mut now, rtt, 90);
        // As far behind the plateau as before it.
        assert!((1_250_000..1_350_000).contains(&cubic.cwnd()), "{}", cubic.cwnd());
    }

    #[test]
    fn with_short_round_trips_it_grows_like_reno() {
        // §4.3: with round trips of 1 ms the cubic function has hardly begun to rise.
        let mut cubic = after_congestion_at(20_000);
        let mut now = Instant::from_millis(1000);
        round_trips(&mut cubic, &mut now, Duration::from_millis(1), 10);
        // 10 round trips at 9/17 of a segment each.
        assert!((18_500..20_000).contains(&cubic.cwnd()), "{}", cubic.cwnd());
        round_trips(&mut cubic, &mut now, Duration::from_millis(1), 20);
        // Back at the old window it grows by a segment each.
        assert!((33_000..40_000).contains(&cubic.cwnd()), "{}", cubic.cwnd());
    }
}
