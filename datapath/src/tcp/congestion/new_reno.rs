//! The window of RFC 5681: additive increase, multiplicative decrease.

use super::{Ack, CWND_MAX, CongestionControl, bounded, initial_window, slow_start_growth};

/// RFC 5681, initial window of RFC 6928.
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
        (flight / 2).clamp(2 * mss, CWND_MAX)
    }
}

impl CongestionControl for NewReno {
    fn cwnd(&self) -> u32 {
        self.cwnd
    }

    fn ssthresh(&self) -> u32 {
        self.ssthresh
    }

    fn on_ack(&mut self, ack: &Ack) {
        if self.cwnd < self.ssthresh {
            self.cwnd = bounded(self.cwnd.saturating_add(slow_start_growth(ack)), ack.mss);
            return;
        }
        self.acked = self.acked.saturating_add(ack.acked);
        if self.acked >= self.cwnd {
            self.acked -= self.cwnd;
            self.cwnd = bounded(self.cwnd.saturating_add(ack.mss), ack.mss);
        }
    }

    fn on_congestion(&mut self, flight: u32, mss: u32) {
        self.ssthresh = Self::half(flight, mss);
        self.cwnd = self.ssthresh;
        self.acked = 0;
    }

    fn on_recovery_end(&mut self, flight: u32, mss: u32) {
        // RFC 6582 §3.2 step 3, option 1: avoids a burst.
        self.cwnd = bounded(self.ssthresh.min(flight.max(mss).saturating_add(mss)), mss);
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
        self.cwnd = bounded(self.cwnd.min(initial_window(mss)), mss);
    }
}
