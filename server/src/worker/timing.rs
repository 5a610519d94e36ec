//! How long commands take: for commandstats, SLOWLOG and LATENCY.
//!
//! To read the clock costs about a tenth of a GET that finds its key in the cache. So it is read at the
//! beginning of each burst (the commands that one read of a socket has brought), after each command
//! that may take long, and at the end of some bursts: of those after the worker had nothing to do, and
//! of every [`SAMPLED`]th other one. There, the commands that cannot take long share the time equally,
//! and stand for those of the bursts that were left out. Where the settings ask for times as short as
//! these (`slowlog-log-slower-than` below [`EXACT_BELOW`]), every command is timed by itself.

use std::time::Duration;

use coney_base::{Clock, Instant};
use coney_control::info::Times;
use coney_engine::command::table;

/// Of so many bursts of a busy worker, one is timed to its end.
const SAMPLED: u64 = 16;
/// `slowlog-log-slower-than` below this makes all commands timed by themselves.
pub(crate) const EXACT_BELOW: Duration = Duration::from_millis(1);
/// Commands that share the time of one burst; of more, the first ones stand for the others.
const SHARING_MAX: usize = 1024;

/// What is timed of the present burst.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// Every command by itself.
    Exact,
    /// Commands that may take long by themselves, the others together; each counts so many times.
    Shared { weight: u64 },
    /// Only commands that may take long.
    LongOnly,
}

/// See the module page.
#[derive(Debug)]
pub(crate) struct Timing {
    clock: Clock,
    bursts: u64,
    /// Idle iterations of the worker when the last burst began.
    idle_seen: u64,
    mode: Mode,
    /// The clock's last reading.
    mark: Instant,
    /// Commands since then, by their places in the table, as far as they share.
    sharing: Vec<usize>,
    /// How many there were, whether they share or not.
    quick: u32,
    /// What such a command took in the last burst where that was measured.
    quick_took: Duration,
    /// By the command's place in the table.
    times: Vec<Times>,
}

impl Timing {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            bursts: 0,
            idle_seen: 0,
            mode: Mode::LongOnly,
            mark: Instant::ZERO,
            sharing: Vec::new(),
            quick: 0,
            quick_took: Duration::ZERO,
            times: vec![Times::default(); table::ALL.len()],
        }
    }

    /// A burst begins; the worker has had so many idle iterations.
    pub(crate) fn begin(&mut self, is_exact: bool, idle_iterations: u64) {
        self.bursts += 1;
        let was_idle = self.idle_seen != idle_iterations;
        self.idle_seen = idle_iterations;
        self.mode = match (is_exact, was_idle) {
            (true, _) => Mode::Exact,
            (false, true) => Mode::Shared { weight: 1 },
            (false, false) if self.bursts.is_multiple_of(SAMPLED) => {
                Mode::Shared { weight: SAMPLED }
            }
            (false, false) => Mode::LongOnly,
        };
        self.sharing.clear();
        self.quick = 0;
        self.mark = self.clock.now();
    }

    /// A command of the burst was executed. Returns how long it took, if it was timed by itself.
    pub(crate) fn note(&mut self, index: usize, may_be_long: bool) -> Option<Duration> {
        if !may_be_long && self.mode != Mode::Exact {
            self.quick = self.quick.saturating_add(1);
            if matches!(self.mode, Mode::Shared { .. }) && self.sharing.len() < SHARING_MAX {
                self.sharing.push(index);
            }
            return None;
        }
        let now = self.clock.now();
        // Those before it have taken what such commands usually take.
        let before = self.quick_took.saturating_mul(self.quick);
        let took = now.since(self.mark).saturating_sub(before);
        self.share(self.quick_took);
        self.mark = now;
        self.record(index, took, 1);
        Some(took)
    }

    /// The burst ends.
    pub(crate) fn end(&mut self) {
        if self.sharing.is_empty() {
            return;
        }
        self.quick_took = self.clock.now().since(self.mark) / self.quick.max(1);
        self.share(self.quick_took);
    }

    fn share(&mut self, took: Duration) {
        if let Mode::Shared { weight } = self.mode {
            for at in 0..self.sharing.len() {
                self.record(self.sharing[at], took, weight);
            }
        }
        self.sharing.clear();
        self.quick = 0;
    }

    /// A command took so long, as did others like it: so many together.
    pub(crate) fn record(&mut self, index: usize, took: Duration, weight: u64) {
        if let Some(times) = self.times.get_mut(index) {
            times.add(took, weight);
        }
    }

    /// What was recorded, of the commands of which anything was.
    pub(crate) fn report(&self) -> Vec<(usize, Times)> {
        let used = |(_, times): &(usize, &Times)| times.count() > 0;
        self.times.iter().enumerate().filter(used).map(|(at, times)| (at, times.clone())).collect()
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        self.times.fill(Times::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What could break: commands that are counted twice or not at all.
    #[test]
    fn commands_count_once_and_sampled_ones_for_those_left_out() {
        let mut timing = Timing::new(Clock::new());
        for _ in 0..SAMPLED * 4 {
            // The first one comes after a rest.
            timing.begin(false, 1);
            assert_eq!(timing.note(1, false), None);
            assert_eq!(timing.note(1, false), None);
            assert!(timing.note(2, true).is_some());
            assert_eq!(timing.note(1, false), None);
            timing.end();
        }
        timing.begin(true, 1);
        assert!(timing.note(1, false).is_some());
        timing.end();
        let counts: Vec<(usize, u64)> =
            timing.report().iter().map(|(at, times)| (*at, times.count())).collect();
        assert_eq!(counts, [(1, 3 + 4 * SAMPLED * 3 + 1), (2, SAMPLED * 4)]);
        timing.reset();
        assert!(timing.report().is_empty());
    }
}
