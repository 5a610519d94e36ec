//! Congestion control: how much may be on its way.
//!
//! The state machine tells a [`CongestionControl`] what happened and asks for the window. Which
//! segments are lost, and whether a recovery is on, is the state machine's knowledge; what it
//! takes for lost, or knows to have arrived, does not count as in flight. The window therefore
//! never has to be inflated during a recovery (RFC 6675 §5, and RFC 6937 §1 on why).

use std::time::Duration;

use coney_base::Instant;

pub mod cubic;
pub mod hystart;
pub mod new_reno;

use super::seq::Seq;
use cubic::Cubic;
use new_reno::NewReno;

/// New data was acknowledged outside of a recovery, while the window was in use.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    /// When the acknowledgement arrived.
    pub now: Instant,
    /// Bytes newly acknowledged.
    pub acked: u32,
    /// Largest payload of a segment in bytes.
    pub mss: u32,
    /// Smoothed round-trip time; zero if it was never measured.
    pub srtt: Duration,
    /// The round-trip time that this acknowledgement measured.
    pub rtt: Option<Duration>,
    /// Everything before it is acknowledged.
    pub una: Seq,
    /// Everything before it was sent.
    pub nxt: Seq,
}

/// A congestion control algorithm. All sizes are bytes.
pub trait CongestionControl {
    /// How much may be in flight.
    fn cwnd(&self) -> u32;

    /// Above this window growth is careful.
    fn ssthresh(&self) -> u32;

    /// New data was acknowledged.
    fn on_ack(&mut self, ack: &Ack);

    /// The network lost a segment, or marked one (RFC 3168), while `flight` was on its way. At most
    /// once for each window of data.
    fn on_congestion(&mut self, flight: u32, mss: u32);

    /// All that was in flight when the recovery began was acknowledged; `flight` is now.
    fn on_recovery_end(&mut self, flight: u32, mss: u32);

    /// The retransmission timer expired; `first`: not again for the same data.
    fn on_rto(&mut self, flight: u32, mss: u32, first: bool);

    /// Nothing was sent for longer than a retransmission timeout.
    fn on_idle(&mut self, mss: u32);
}

/// Which algorithm connections use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Algorithm {
    /// RFC 5681 with the initial window of RFC 6928.
    NewReno,
    /// RFC 9438.
    #[default]
    Cubic,
}

/// The state of the chosen algorithm.
#[derive(Clone, Copy, Debug)]
pub enum Congestion {
    /// [`Algorithm::NewReno`].
    NewReno(NewReno),
    /// [`Algorithm::Cubic`].
    Cubic(Cubic),
}

impl Congestion {
    /// The state of a new connection.
    pub fn new(algorithm: Algorithm, mss: u32) -> Self {
        match algorithm {
            Algorithm::NewReno => Self::NewReno(NewReno::new(mss)),
            Algorithm::Cubic => Self::Cubic(Cubic::new(mss)),
        }
    }

    fn chosen(&mut self) -> &mut dyn CongestionControl {
        match self {
            Self::NewReno(reno) => reno,
            Self::Cubic(cubic) => cubic,
        }
    }
}

impl CongestionControl for Congestion {
    fn cwnd(&self) -> u32 {
        match self {
            Self::NewReno(reno) => reno.cwnd(),
            Self::Cubic(cubic) => cubic.cwnd(),
        }
    }

    fn ssthresh(&self) -> u32 {
        match self {
            Self::NewReno(reno) => reno.ssthresh(),
            Self::Cubic(cubic) => cubic.ssthresh(),
        }
    }

    fn on_ack(&mut self, ack: &Ack) {
        self.chosen().on_ack(ack);
    }

    fn on_congestion(&mut self, flight: u32, mss: u32) {
        self.chosen().on_congestion(flight, mss);
    }

    fn on_recovery_end(&mut self, flight: u32, mss: u32) {
        self.chosen().on_recovery_end(flight, mss);
    }

    fn on_rto(&mut self, flight: u32, mss: u32, first: bool) {
        self.chosen().on_rto(flight, mss, first);
    }

    fn on_idle(&mut self, mss: u32) {
        self.chosen().on_idle(mss);
    }
}

/// A window is never larger: what one connection may have unacknowledged is bounded by frames long
/// before.
pub const CWND_MAX: u32 = 1 << 30;

/// RFC 6928 §2.
pub fn initial_window(mss: u32) -> u32 {
    (10 * mss).min((2 * mss).max(14_600))
}

/// Segments by which one acknowledgement may open the window in slow start: `L` of RFC 9406 §4.3 for
/// senders that do not pace.
const SLOW_START_SEGMENTS_MAX: u32 = 8;

/// What slow start grows by: bytes acknowledged (RFC 3465 §2.2), within a limit. Peers acknowledge
/// bursts as one, so that counting acknowledgements would starve.
fn slow_start_growth(ack: &Ack) -> u32 {
    ack.acked.min(SLOW_START_SEGMENTS_MAX * ack.mss)
}

fn bounded(cwnd: u32, mss: u32) -> u32 {
    cwnd.clamp(mss, CWND_MAX)
}

#[cfg(test)]
mod tests;
