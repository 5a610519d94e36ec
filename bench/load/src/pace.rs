//! When operations start.

use std::time::Duration;

use coney_base::Instant;
use rand::{Rng, RngExt};

/// How the moments of an open loop lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Arrivals {
    /// The same time between any two.
    Constant,
    /// As if from very many users who know nothing of each other.
    Poisson,
}

/// See the module page.
#[derive(Debug)]
pub(crate) enum Pace {
    /// As soon as there is room.
    Closed,
    /// At these moments, whatever the server does.
    Open { next: Instant, interval_ns: f64, arrivals: Arrivals },
}

impl Pace {
    /// `rate_per_sec`: operations a second from `start` on; `None`: a closed loop.
    pub(crate) fn new(rate_per_sec: Option<f64>, arrivals: Arrivals, start: Instant) -> Self {
        match rate_per_sec {
            None => Self::Closed,
            Some(rate) => Self::Open { next: start, interval_ns: 1e9 / rate, arrivals },
        }
    }

    /// The moment that the next operation counts from, if it is to start by now.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::Closed => Some(now),
            Self::Open { next, .. } => (*next <= now).then_some(*next),
        }
    }

    /// The operation that was due has started.
    pub(crate) fn advance(&mut self, rng: &mut impl Rng) {
        let Self::Open { next, interval_ns, arrivals } = self else { return };
        let factor = match arrivals {
            Arrivals::Constant => 1.0,
            // The inverse of the exponential distribution; 1 - x is never 0.
            Arrivals::Poisson => -(1.0 - rng.random::<f64>()).ln(),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "intervals are positive and far below 2^63 ns"
        )]
        let step = (*interval_ns * factor).round() as u64;
        *next = *next + Duration::from_nanos(step);
    }

    /// When the next operation is due; `None`: there is no such moment.
    pub(crate) fn next(&self) -> Option<Instant> {
        match self {
            Self::Closed => None,
            Self::Open { next, .. } => Some(*next),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn an_open_loop_counts_from_when_operations_were_due() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut pace = Pace::new(Some(1000.0), Arrivals::Constant, at(10));
        assert_eq!(pace.due(at(9)), None);
        // The server stood still for 3 ms: four operations are due, each from its own moment.
        let mut started = Vec::new();
        while let Some(moment) = pace.due(at(13)) {
            started.push(moment);
            pace.advance(&mut rng);
        }
        assert_eq!(started, [at(10), at(11), at(12), at(13)]);
    }

    #[test]
    fn poisson_arrivals_keep_the_rate() {
        let mut rng = SmallRng::seed_from_u64(2);
        let mut pace = Pace::new(Some(1000.0), Arrivals::Poisson, at(0));
        let mut count = 0;
        while pace.due(at(20_000)).is_some() {
            pace.advance(&mut rng);
            count += 1;
        }
        assert!((19_000..21_000).contains(&count), "{count}");
    }
}
