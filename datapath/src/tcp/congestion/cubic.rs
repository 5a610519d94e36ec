//! CUBIC (RFC 9438), in integers: bytes and milliseconds.
//!
//! After a congestion the window grows as a cubic function of time around the size at which it
//! happened: fast at first, flat near it, then fast again. Where Reno would be faster (short round
//! trips, small windows) CUBIC is as fast as Reno (§4.3), which is the common case inside a data
//! centre.

use std::time::Duration;

use coney_base::Instant;

use super::hystart::{Growth, HyStart};
use super::{Ack, CWND_MAX, CongestionControl, bounded, initial_window, slow_start_growth};

/// Multiplicative decrease factor 0.7 (§4.6).
const BETA: (u64, u64) = (7, 10);
/// What follows from it for the Reno-friendly region: 3 * (1 - 0.7) / (1 + 0.7) (§4.3).
const ALPHA: (u64, u64) = (9, 17);
/// Time from the plateau beyond which the function is not followed: the window would be beyond
/// every limit, and the arithmetic beyond 64 bits.
const DISTANCE_MS_MAX: u64 = 100_000;

/// RFC 9438, with HyStart++ (RFC 9406) in the first slow start.
#[derive(Clone, Copy, Debug)]
pub struct Cubic {
    cwnd: u32,
    ssthresh: u32,
    stage: Stage,
}

/// What is remembered; the two are never needed together.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Until the first congestion. HyStart++ is for this slow start only (RFC 9406 §4.3).
    First(HyStart),
    /// Congestion avoidance and later slow starts.
    Later(Curve),
}

impl Stage {
    fn curve(self) -> Curve {
        match self {
            Self::First(_) => Curve::default(),
            Self::Later(curve) => curve,
        }
    }
}

/// The cubic function and its Reno-friendly companion.
#[derive(Clone, Copy, Debug, Default)]
struct Curve {
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
        let stage = Stage::First(HyStart::new());
        Self { cwnd: initial_window(mss), ssthresh: CWND_MAX, stage }
    }

    fn slow_start(&mut self, ack: &Ack) {
        let growth = match &mut self.stage {
            Stage::First(hystart) => hystart.on_ack(ack),
            Stage::Later(_) => Growth::Bytes(slow_start_growth(ack)),
        };
        match growth {
            Growth::Bytes(bytes) => self.cwnd = bounded(self.cwnd.saturating_add(bytes), ack.mss),
            Growth::Over => {
                self.ssthresh = self.cwnd;
                self.stage = Stage::Later(Curve::default());
            }
        }
    }

    /// §4.6 and §4.7.
    fn reduce(&mut self, flight: u32, mss: u32) {
        let mut curve = self.stage.curve();
        curve.prior = self.cwnd;
        curve.w_max = if self.cwnd < curve.w_max {
            // Fast convergence: (1 + beta) / 2.
            scaled(self.cwnd, 17, 20)
        } else {
            self.cwnd
        };
        curve.epoch = None;
        self.stage = Stage::Later(curve);
        self.ssthresh = scaled(flight, BETA.0, BETA.1).clamp(2 * mss, CWND_MAX);
    }

    /// The next growth begins a new epoch.
    fn end_epoch(&mut self) {
        if let Stage::Later(curve) = &mut self.stage {
            curve.epoch = None;
        }
    }
}

impl Curve {
    fn begin_epoch(&mut self, cwnd: u32, now: Instant, mss: u32) {
        self.epoch = Some(now);
        self.w_est = cwnd;
        self.cubic_rest = 0;
        self.est_rest = 0;
        if cwnd < self.w_max {
            // K = cbrt((W_max - cwnd) / C) in seconds, with windows in segments and C = 0.4.
            let gap = u64::from(self.w_max - cwnd) * 2_500_000_000 / u64::from(mss.max(1));
            self.k_ms = cube_root(gap);
        } else {
            self.w_max = cwnd;
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
    fn grow_estimate(&mut self, cwnd: u32, acked: u32, mss: u32) {
        // Once it is back where the congestion was, it grows as fast as Reno itself.
        let alpha = if self.w_est < self.prior { ALPHA } else { (1, 1) };
        let grown = u64::from(acked) * u64::from(mss) * alpha.0 / alpha.1;
        let (whole, rest) = shared(grown + u64::from(self.est_rest), cwnd);
        self.w_est = self.w_est.saturating_add(whole).min(CWND_MAX);
        self.est_rest = rest;
    }

    /// Congestion avoidance: the window after an acknowledgement.
    fn grow(&mut self, cwnd: u32, ack: &Ack) -> u32 {
        let mss = ack.mss;
        if self.epoch.is_none() {
            self.begin_epoch(cwnd, ack.now, mss);
        }
        let at = self.epoch.map_or(Duration::ZERO, |epoch| ack.now.since(epoch));
        let acked = ack.acked.min(cwnd);
        self.grow_estimate(cwnd, acked, mss);
        if self.w_cubic(at, mss) < self.w_est {
            return bounded(cwnd.max(self.w_est), mss);
        }
        // §4.4 and §4.5: towards where the function is one round trip later, by half at most.
        let target = self.w_cubic(at + ack.srtt, mss).min(cwnd.saturating_add(cwnd / 2));
        let gap = u64::from(target.saturating_sub(cwnd));
        let (whole, rest) = shared(gap * u64::from(acked) + u64::from(self.cubic_rest), cwnd);
        self.cubic_rest = rest;
        bounded(cwnd.saturating_add(whole), mss)
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
        if self.cwnd < self.ssthresh {
            self.slow_start(ack);
            return;
        }
        let mut curve = self.stage.curve();
        self.cwnd = curve.grow(self.cwnd, ack);
        self.stage = Stage::Later(curve);
    }

    fn on_congestion(&mut self, flight: u32, mss: u32) {
        self.reduce(flight, mss);
        self.cwnd = self.ssthresh;
    }

    fn on_recovery_end(&mut self, flight: u32, mss: u32) {
        // As in RFC 6582 §3.2 step 3, option 1: avoids a burst.
        self.cwnd = bounded(self.ssthresh.min(flight.max(mss).saturating_add(mss)), mss);
        self.end_epoch();
    }

    fn on_rto(&mut self, flight: u32, mss: u32, first: bool) {
        if first {
            self.reduce(flight, mss);
        }
        // §4.8.
        self.cwnd = mss;
        self.end_epoch();
    }

    fn on_idle(&mut self, mss: u32) {
        self.cwnd = bounded(self.cwnd.min(initial_window(mss)), mss);
        // §4.2: time in which nothing was sent does not count.
        self.end_epoch();
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
    use crate::tcp::seq::Seq;

    const MSS: u32 = 1000;

    fn ack(now: Instant, rtt: Duration) -> Ack {
        let (una, nxt) = (Seq(0), Seq(MSS));
        Ack { now, acked: MSS, mss: MSS, srtt: rtt, rtt: Some(rtt), una, nxt }
    }

    /// Acknowledges a whole window each round trip.
    fn round_trips(cubic: &mut Cubic, now: &mut Instant, rtt: Duration, count: u32) {
        for _ in 0..count {
            *now = *now + rtt;
            for _ in 0..cubic.cwnd() / MSS {
                cubic.on_ack(&ack(*now, rtt));
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
        assert_eq!(
            (cubic.cwnd(), cubic.ssthresh(), cubic.stage.curve().w_max),
            (70_000, 70_000, 100_000)
        );
        let mut cubic = after_congestion_at(100_000);
        cubic.on_congestion(70_000, MSS);
        assert_eq!((cubic.cwnd(), cubic.stage.curve().w_max), (49_000, 59_500), "fast convergence");
    }

    #[test]
    fn the_window_is_back_after_k_and_flat_there() {
        // K = cbrt(300 / 0.4) s = 9.085 s for 1000 segments.
        let mut cubic = after_congestion_at(1_000_000);
        let mut now = Instant::from_millis(1000);
        let rtt = Duration::from_millis(100);
        round_trips(&mut cubic, &mut now, rtt, 1);
        assert_eq!(cubic.stage.curve().k_ms, 9085);
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

    /// The first slow start over a bottleneck whose queue adds a millisecond for each `queue_segments`
    /// segments beyond 100 that are on their way; returns the window with which it ended.
    fn first_slow_start(queue_segments: u32) -> u32 {
        let mut cubic = Cubic::new(MSS);
        let (mut now, mut una) = (Instant::from_millis(1000), Seq(0));
        for _ in 0..40 {
            let window = cubic.cwnd() / MSS;
            let queued = window.saturating_sub(100) / queue_segments;
            let rtt = Duration::from_millis(20 + u64::from(queued));
            now = now + rtt;
            let end = una.plus(window * MSS);
            for _ in 0..window {
                una = una.plus(MSS);
                // For each segment that left two may follow.
                let nxt =
                    end.plus(una.since(end.minus(window * MSS)) * 2).min(end.plus(cubic.cwnd()));
                cubic.on_ack(&Ack { rtt: Some(rtt), una, nxt, ..ack(now, rtt) });
            }
            if cubic.cwnd() >= cubic.ssthresh() {
                return cubic.cwnd() / MSS;
            }
            if window > 100_000 {
                return window;
            }
            una = end;
        }
        cubic.cwnd() / MSS
    }

    #[test]
    fn the_first_slow_start_ends_when_the_queue_grows_and_not_without() {
        let with_queue = first_slow_start(10);
        assert!((130..1000).contains(&with_queue), "{with_queue}");
        assert!(first_slow_start(1_000_000) > 100_000, "nothing queued");
    }

    #[test]
    fn a_later_slow_start_does_not_look_at_round_trips() {
        let mut cubic = Cubic::new(MSS);
        cubic.on_rto(100_000, MSS, true);
        let (now, mut una) = (Instant::from_millis(1), Seq(0));
        for round in 0..5 {
            let rtt = Duration::from_millis(20 + 20 * round);
            for _ in 0..10 {
                una = una.plus(MSS);
                cubic.on_ack(&Ack { una, nxt: una.plus(MSS), ..ack(now, rtt) });
            }
        }
        assert_eq!(cubic.cwnd(), 51_000);
    }
}
