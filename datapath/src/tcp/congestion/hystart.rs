//! HyStart++ (RFC 9406): leaving the first slow start before it overflows the bottleneck's queue.
//!
//! A queue that fills makes round trips longer. Once those of a round are longer than those of the
//! round before, growth slows to a quarter for some rounds (conservative slow start, CSS); if they
//! become shorter again it was noise, else slow start is over without a loss.
//!
//! ```text
//! slow start --rtt grew--> CSS --CSS_ROUNDS rounds--> over
//!     ^                     |
//!     +----rtt shrank-------+
//! ```

use super::{Ack, slow_start_growth};
use crate::tcp::seq::Seq;

/// §4.3, in microseconds.
const MIN_RTT_THRESH_US: u32 = 4_000;
const MAX_RTT_THRESH_US: u32 = 16_000;
const MIN_RTT_DIVISOR: u32 = 8;
const N_RTT_SAMPLE: u8 = 8;
const CSS_GROWTH_DIVISOR: u32 = 4;
const CSS_ROUNDS: u8 = 5;
/// No round-trip time was measured.
const UNKNOWN_US: u32 = u32::MAX;

/// The state of one connection in its first slow start.
#[derive(Clone, Copy, Debug)]
pub struct HyStart {
    /// Shortest round-trip times of the last and of this round.
    last_min_us: u32,
    current_min_us: u32,
    /// The round ends when this is acknowledged (`windowEnd`); `None` before the first acknowledgement.
    window_end: Option<Seq>,
    /// Measurements of this round, up to [`N_RTT_SAMPLE`].
    samples: u8,
    css: Option<Css>,
}

/// Conservative slow start.
#[derive(Clone, Copy, Debug)]
struct Css {
    /// Shortest round-trip time of the round in which it began.
    baseline_us: u32,
    /// Rounds that ended since, the one in which it began included.
    rounds: u8,
}

/// What slow start does with an acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Growth {
    /// The window grows by so many bytes.
    Bytes(u32),
    /// Slow start is over: the present window is the threshold.
    Over,
}

impl HyStart {
    /// The state of a new connection.
    pub(super) const fn new() -> Self {
        Self {
            last_min_us: UNKNOWN_US,
            current_min_us: UNKNOWN_US,
            window_end: None,
            samples: 0,
            css: None,
        }
    }

    /// §4.2: new data was acknowledged in slow start.
    pub(super) fn on_ack(&mut self, ack: &Ack) -> Growth {
        let window_end = *self.window_end.get_or_insert(ack.nxt);
        if let Some(rtt) = ack.rtt {
            let rtt = u32::try_from(rtt.as_micros()).unwrap_or(UNKNOWN_US);
            self.current_min_us = self.current_min_us.min(rtt);
            self.samples = self.samples.saturating_add(1).min(N_RTT_SAMPLE);
        }
        if self.samples >= N_RTT_SAMPLE {
            self.compare();
        }
        let growth = slow_start_growth(ack);
        let growth = if self.css.is_some() { growth / CSS_GROWTH_DIVISOR } else { growth };
        if ack.una.at_or_after(window_end) && self.end_round(ack.nxt) {
            return Growth::Over;
        }
        Growth::Bytes(growth)
    }

    /// Begins conservative slow start, or ends it because it began by mistake.
    fn compare(&mut self) {
        match self.css {
            None if self.last_min_us != UNKNOWN_US => {
                let threshold = (self.last_min_us / MIN_RTT_DIVISOR)
                    .clamp(MIN_RTT_THRESH_US, MAX_RTT_THRESH_US);
                if self.current_min_us >= self.last_min_us.saturating_add(threshold) {
                    self.css = Some(Css { baseline_us: self.current_min_us, rounds: 0 });
                }
            }
            Some(Css { baseline_us, .. }) if self.current_min_us < baseline_us => self.css = None,
            None | Some(_) => {}
        }
    }

    /// Returns whether slow start is over.
    fn end_round(&mut self, nxt: Seq) -> bool {
        self.window_end = Some(nxt);
        self.last_min_us = self.current_min_us;
        self.current_min_us = UNKNOWN_US;
        self.samples = 0;
        self.css.as_mut().is_some_and(|css| {
            css.rounds += 1;
            css.rounds >= CSS_ROUNDS
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use coney_base::Instant;

    use super::*;

    const MSS: u32 = 1000;

    /// A round of `acks` acknowledgements of one segment each; returns what they let the window grow by,
    /// or `None` if slow start is over after it.
    fn round(hystart: &mut HyStart, una: &mut Seq, acks: u32, rtt_ms: u64) -> Option<u32> {
        let rtt = Duration::from_millis(rtt_ms);
        let end = una.plus(acks * MSS);
        let mut grown = 0;
        for _ in 0..acks {
            *una = una.plus(MSS);
            // Before the first acknowledgement nothing of the next round was sent.
            let nxt = if hystart.window_end.is_none() { end } else { end.plus(acks * MSS) };
            let now = Instant::from_millis(1);
            let ack = Ack { now, acked: MSS, mss: MSS, srtt: rtt, rtt: Some(rtt), una: *una, nxt };
            match hystart.on_ack(&ack) {
                Growth::Bytes(bytes) => grown += bytes,
                Growth::Over => return None,
            }
        }
        Some(grown)
    }

    #[test]
    fn equal_round_trips_never_end_slow_start() {
        let (mut hystart, mut una) = (HyStart::new(), Seq(u32::MAX - 5000));
        for _ in 0..50 {
            assert_eq!(round(&mut hystart, &mut una, 10, 20), Some(10 * MSS));
        }
        // A little more than the threshold below, in every round: no queue.
        for rtt in [21, 23, 25, 27] {
            assert_eq!(round(&mut hystart, &mut una, 10, rtt), Some(10 * MSS), "{rtt}");
        }
    }

    #[test]
    fn longer_round_trips_slow_growth_and_end_it_after_five_rounds() {
        let (mut hystart, mut una) = (HyStart::new(), Seq(7));
        round(&mut hystart, &mut una, 16, 20);
        // The eighth measurement proves it: seven segments, then a quarter of nine.
        assert_eq!(round(&mut hystart, &mut una, 16, 24), Some(7 * MSS + 9 * MSS / 4));
        for _ in 0..3 {
            assert_eq!(round(&mut hystart, &mut una, 16, 24), Some(4 * MSS));
        }
        assert_eq!(round(&mut hystart, &mut una, 16, 24), None, "the round it began in counts");
    }

    #[test]
    fn shorter_round_trips_prove_that_it_was_noise() {
        let (mut hystart, mut una) = (HyStart::new(), Seq(7));
        round(&mut hystart, &mut una, 16, 20);
        round(&mut hystart, &mut una, 16, 30);
        assert!(hystart.css.is_some());
        assert_eq!(round(&mut hystart, &mut una, 16, 29), Some(7 * MSS / 4 + 9 * MSS));
        assert!(hystart.css.is_none());
    }

    #[test]
    fn few_measurements_prove_nothing() {
        let (mut hystart, mut una) = (HyStart::new(), Seq(7));
        round(&mut hystart, &mut una, 7, 20);
        for _ in 0..20 {
            assert_eq!(round(&mut hystart, &mut una, 7, 200), Some(7 * MSS));
        }
    }

    #[test]
    fn the_threshold_is_an_eighth_of_the_round_trip_within_limits() {
        for (rtt, longer, proves) in [
            (1, 4, false),
            (1, 5, true),
            (80, 89, false),
            (80, 90, true),
            (800, 815, false),
            (800, 816, true),
        ] {
            let (mut hystart, mut una) = (HyStart::new(), Seq(7));
            round(&mut hystart, &mut una, 10, rtt);
            round(&mut hystart, &mut una, 10, longer);
            assert_eq!(hystart.css.is_some(), proves, "{rtt} {longer}");
        }
    }
}
