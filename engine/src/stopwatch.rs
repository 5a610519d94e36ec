//! How long the commands of a transaction take, each by itself, for commandstats and SLOWLOG.
//!
//! EXEC runs them within one call, and this crate reads no clock: whoever owns one hands a look at it
//! in ([`Executor::time_with`]), and takes what it has shown ([`Executor::take_timed`]). As outside of
//! transactions, commands that cannot take long are not worth a look each: those between two looks
//! share the time equally. An EXEC that the pool executes is timed there, with the worker's clock.

use std::sync::Arc;
use std::time::Duration;

use coney_base::Instant;
use coney_resp::Args;

use crate::command::CommandSpec;
use crate::executor::Executor;
use crate::transaction::Queued;

/// A look at a clock.
pub type Now = Arc<dyn Fn() -> Instant + Send + Sync>;

/// What commands of transactions are measured with.
#[derive(Default)]
pub(crate) struct Stopwatch {
    now: Option<Now>,
    /// Every command is timed by itself.
    is_exact: bool,
    pub(crate) timed: Option<Timed>,
}

impl std::fmt::Debug for Stopwatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopwatch").field("timed", &self.timed).finish_non_exhaustive()
    }
}

/// The commands of a transaction that was executed, and how long each took.
#[derive(Debug)]
pub struct Timed {
    queue: Arc<Vec<Queued>>,
    took: Vec<Duration>,
}

impl Timed {
    /// Each command's place in the table, its arguments, and how long it took.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Args<'_>, Duration)> {
        let queue = self.queue.iter().zip(&self.took);
        queue.map(|(queued, took)| (queued.spec.index(), queued.args.as_args(), *took))
    }
}

/// A transaction that is being timed.
#[derive(Debug)]
pub(crate) struct Lap {
    mark: Instant,
    took: Vec<Duration>,
    /// Commands since the mark.
    sharing: u32,
}

impl Stopwatch {
    /// One with the same clock, which has shown nothing yet.
    pub(crate) fn another(&self) -> Self {
        Self { now: self.now.clone(), is_exact: self.is_exact, timed: None }
    }

    /// A transaction begins.
    pub(crate) fn begin(&mut self) -> Option<Lap> {
        self.timed = None;
        let now = self.now.as_ref()?;
        Some(Lap { mark: now(), took: Vec::new(), sharing: 0 })
    }

    /// One of its commands has ended.
    pub(crate) fn note(&self, lap: &mut Option<Lap>, spec: &CommandSpec, args: Args<'_>) {
        let (Some(lap), Some(now)) = (lap, &self.now) else { return };
        lap.sharing += 1;
        if self.is_exact || spec.may_be_long(args) {
            lap.look(now());
        }
    }

    /// All have ended.
    pub(crate) fn end(&mut self, lap: Option<Lap>, queue: &Arc<Vec<Queued>>) {
        let (Some(mut lap), Some(now)) = (lap, &self.now) else { return };
        if lap.sharing > 0 {
            lap.look(now());
        }
        self.timed = Some(Timed { queue: Arc::clone(queue), took: lap.took });
    }
}

impl Lap {
    fn look(&mut self, now: Instant) {
        let each = now.since(self.mark) / self.sharing.max(1);
        self.took.extend(std::iter::repeat_n(each, self.sharing as usize));
        (self.mark, self.sharing) = (now, 0);
    }
}

impl Executor {
    /// Times the commands of transactions with this clock.
    pub fn time_with(&mut self, now: Now) {
        self.stopwatch.now = Some(now);
    }

    /// Whether even commands that cannot take long are timed by themselves.
    pub fn time_all(&mut self, is_exact: bool) {
        self.stopwatch.is_exact = is_exact;
    }

    /// How long the commands of the transaction took that has ended since the last look.
    pub fn take_timed(&mut self) -> Option<Timed> {
        self.stopwatch.timed.take()
    }
}
