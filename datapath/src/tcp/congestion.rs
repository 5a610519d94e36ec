//! Congestion control: how much may be on its way.
//!
//! The state machine tells a [`CongestionControl`] what happened and asks for the window. Which
//! segments are lost, and whether a recovery is on, is the state machine's knowledge.

/// A congestion control algorithm. All sizes are bytes.
pub trait CongestionControl {
    /// How much may be in flight.
    fn cwnd(&self) -> u32;

    /// New data was acknowledged outside of a recovery.
    fn on_ack(&mut self, acked: u32, mss: u32);

    /// A loss was noticed by duplicate acknowledgements and a recovery begins.
    fn on_recovery_start(&mut self, flight: u32, mss: u32);

    /// Another duplicate acknowledgement came during a recovery: a segment left the network.
    fn on_recovery_dup_ack(&mut self, mss: u32);

    /// Part of what was in flight when the recovery began was acknowledged.
    fn on_recovery_partial_ack(&mut self, acked: u32, mss: u32);

    /// All that was in flight when the recovery began was acknowledged.
    fn on_recovery_end(&mut self, flight: u32, mss: u32);

    /// The retransmission timer expired; `first`: not again for the same data.
    fn on_rto(&mut self, flight: u32, mss: u32, first: bool);

    /// Nothing was sent for longer than a retransmission timeout.
    fn on_idle(&mut self, mss: u32);
}

/// A window is never larger: what one connection may have unacknowledged is bounded by frames long
/// before.
const CWND_MAX: u32 = 1 << 30;

/// NewReno: RFC 5681 with RFC 6582, initial window of RFC 6928.
#[derive(Clone, Copy, Debug)]
pub struct NewReno {
    cwnd: u32,
    ssthresh: u32,
    /// Bytes acknowledged since the window last grew, in congestion avoidance (RFC 3465 §2.1).
    acked: u32,
}

impl NewReno {
    /// The state of a new connection.
    pub fn new(mss: u32) -> Self {
        Self { cwnd: initial_window(mss), ssthresh: CWND_MAX, acked: 0 }
    }

    /// RFC 5681 equation 4.
    fn half(flight: u32, mss: u32) -> u32 {
        (flight / 2).max(2 * mss)
    }

    fn set(&mut self, cwnd: u32, mss: u32) {
        self.cwnd = cwnd.clamp(mss, CWND_MAX);
    }
}

/// RFC 6928 §2.
fn initial_window(mss: u32) -> u32 {
    (10 * mss).min((2 * mss).max(14_600))
}

impl CongestionControl for NewReno {
    fn cwnd(&self) -> u32 {
        self.cwnd
    }

    fn on_ack(&mut self, acked: u32, mss: u32) {
        if self.cwnd < self.ssthresh {
            // Slow start with byte counting, at most 2 segments per acknowledgement (RFC 3465
            // §2.2). Our peers acknowledge bursts as one, so that counting segments would starve.
            self.set(self.cwnd.saturating_add(acked.min(2 * mss)), mss);
            return;
        }
        self.acked = self.acked.saturating_add(acked);
        if self.acked >= self.cwnd {
            self.acked -= self.cwnd;
            self.set(self.cwnd.saturating_add(mss), mss);
        }
    }

    fn on_recovery_start(&mut self, flight: u32, mss: u32) {
        self.ssthresh = Self::half(flight, mss);
        // RFC 5681 §3.2 step 3: three segments have left the network.
        self.set(self.ssthresh.saturating_add(3 * mss), mss);
    }

    fn on_recovery_dup_ack(&mut self, mss: u32) {
        self.set(self.cwnd.saturating_add(mss), mss);
    }

    fn on_recovery_partial_ack(&mut self, acked: u32, mss: u32) {
        // RFC 6582 §3.2 step 3: deflate by what was acknowledged, add back one segment.
        let inflate = if acked >= mss { mss } else { 0 };
        self.set(self.cwnd.saturating_sub(acked).saturating_add(inflate), mss);
    }

    fn on_recovery_end(&mut self, flight: u32, mss: u32) {
        // RFC 6582 §3.2 step 3, option 1: avoids a burst.
        self.set(self.ssthresh.min(flight.max(mss).saturating_add(mss)), mss);
        self.acked = 0;
    }

    fn on_rto(&mut self, flight: u32, mss: u32, first: bool) {
        if first {
            self.ssthresh = Self::half(flight, mss);
        }
        self.cwnd = mss;
        self.acked = 0;
    }

    fn on_idle(&mut self, mss: u32) {
        // RFC 5681 §4.1.
        self.cwnd = self.cwnd.min(initial_window(mss));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MSS: u32 = 1000;

    #[test]
    fn the_initial_window_is_ten_segments_or_what_rfc_6928_says_for_large_ones() {
        assert_eq!(initial_window(1000), 10_000);
        assert_eq!(initial_window(1460), 14_600);
        assert_eq!(initial_window(3000), 14_600);
        assert_eq!(initial_window(9000), 18_000);
    }

    #[test]
    fn slow_start_doubles_per_round_trip_and_avoidance_adds_one_segment() {
        let mut reno = NewReno::new(MSS);
        (0..10).for_each(|_| reno.on_ack(MSS, MSS));
        assert_eq!(reno.cwnd(), 20_000);
        reno.on_rto(20_000, MSS, true);
        assert_eq!((reno.cwnd(), reno.ssthresh), (MSS, 10_000));
        reno.on_rto(MSS, MSS, false);
        assert_eq!(reno.ssthresh, 10_000, "the same loss halves once");
        (0..9).for_each(|_| reno.on_ack(MSS, MSS));
        assert_eq!(reno.cwnd(), 10_000);
        (0..10).for_each(|_| reno.on_ack(MSS, MSS));
        assert_eq!(reno.cwnd(), 11_000);
    }

    #[test]
    fn a_recovery_inflates_deflates_and_leaves_half() {
        let mut reno = NewReno::new(MSS);
        reno.on_recovery_start(10_000, MSS);
        assert_eq!(reno.cwnd(), 8000);
        reno.on_recovery_dup_ack(MSS);
        assert_eq!(reno.cwnd(), 9000);
        reno.on_recovery_partial_ack(3000, MSS);
        assert_eq!(reno.cwnd(), 7000);
        reno.on_recovery_end(9000, MSS);
        assert_eq!(reno.cwnd(), 5000);
    }

    proptest! {
        #[test]
        fn the_window_is_at_least_one_segment_and_at_most_the_limit(
            mss in 36_u32..9000,
            events in proptest::collection::vec((0_u8..7, any::<u32>()), 0..200),
        ) {
            let mut reno = NewReno::new(mss);
            for (event, bytes) in events {
                let before = reno.cwnd();
                match event {
                    0 => reno.on_ack(bytes, mss),
                    1 => reno.on_recovery_start(bytes, mss),
                    2 => reno.on_recovery_dup_ack(mss),
                    3 => reno.on_recovery_partial_ack(bytes, mss),
                    4 => reno.on_recovery_end(bytes, mss),
                    5 => reno.on_rto(bytes, mss, bytes % 2 == 0),
                    _ => reno.on_idle(mss),
                }
                prop_assert!((mss..=CWND_MAX).contains(&reno.cwnd()));
                if event == 0 {
                    prop_assert!(reno.cwnd() >= before && reno.cwnd() - before <= 2 * mss);
                }
            }
        }
    }
}
