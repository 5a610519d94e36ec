//! One thread: its connections, when to write and when to read.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use coney_base::{Clock, Instant};
use hdrhistogram::Histogram;
use rand::rngs::SmallRng;

use crate::client::{BadReply, Client, Flight};
use crate::keys::KeySpace;
use crate::pace::Pace;
use crate::results::{Results, histogram};
use crate::wire::{Receive, Wire, WireError};
use crate::workload::{Kind, Mix, Writer};

/// How often progress is told.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// How long operations may take to finish after the end.
const GRACE: Duration = Duration::from_secs(10);
/// An open loop that is due sooner than this polls instead of sleeping: a sleep is rounded up to whole
/// milliseconds.
const SPIN: Duration = Duration::from_millis(2);

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriverError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Reply(#[from] BadReply),
}

/// What all threads of a run share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) space: KeySpace,
    pub(crate) mix: Mix,
    /// A thread failed: the others stop.
    pub(crate) stop: AtomicBool,
    /// Keys that are still to be written before the measurement.
    pub(crate) to_load: AtomicU64,
}

/// What a thread does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task {
    /// Writes keys until all are there.
    Load(usize),
    /// Measures from one moment to the other, and starts before.
    Measure { from: Instant, until: Instant, pipeline: usize },
}

/// What a thread did since it told last.
pub(crate) type Tick = Histogram<u64>;

#[derive(Default)]
struct Connection {
    client: Client,
    /// It takes nothing more: the wire tells when it does.
    is_blocked: bool,
    is_dirty: bool,
}

impl Connection {
    /// Notes an operation whose requests are to be sent.
    fn start(&mut self, flight: Flight, at: usize, dirty: &mut Vec<usize>) {
        self.client.started(flight);
        self.mark_dirty(at, dirty);
    }

    fn mark_dirty(&mut self, at: usize, dirty: &mut Vec<usize>) {
        if !self.is_dirty {
            self.is_dirty = true;
            dirty.push(at);
        }
    }
}

/// See the module page.
pub(crate) struct Driver<'s> {
    shared: &'s Shared,
    task: Task,
    pace: Pace,
    writer: Writer,
    rng: SmallRng,
    connections: Vec<Connection>,
    /// Connections that may start an operation, once for each.
    free: VecDeque<usize>,
    /// Connections with something to send.
    dirty: Vec<usize>,
    results: Results,
    interval: Histogram<u64>,
    loader: Kind,
    /// Operations whose replies were just read, with the elements of the last one.
    answered: Vec<(Flight, Vec<Vec<u8>>)>,
    /// What a server sent that is no reply.
    bad_reply: Option<BadReply>,
}

impl<'s> Driver<'s> {
    /// For so many connections.
    pub(crate) fn new(
        shared: &'s Shared,
        task: Task,
        pace: Pace,
        (writer, rng): (Writer, SmallRng),
        connections: usize,
    ) -> Self {
        let (Task::Load(pipeline) | Task::Measure { pipeline, .. }) = task;
        let mut free = VecDeque::with_capacity(connections * pipeline);
        // In turns, so that a slow rate does not use the first connection alone.
        for _ in 0..pipeline {
            free.extend(0..connections);
        }
        Self {
            results: Results::new(shared.mix.kinds().len()),
            loader: shared.mix.loader(),
            shared,
            task,
            pace,
            writer,
            rng,
            connections: (0..connections).map(|_| Connection::default()).collect(),
            free,
            dirty: Vec::new(),
            interval: histogram(),
            answered: Vec::new(),
            bad_reply: None,
        }
    }

    /// Runs to the end of the task.
    ///
    /// # Errors
    /// [`DriverError`].
    pub(crate) fn run(
        mut self,
        wire: &mut dyn Wire,
        ticks: &Sender<Tick>,
    ) -> Result<Results, DriverError> {
        let mut now = self.shared.clock.now();
        let mut next_tick = now + TICK;
        let mut ended_at = None;
        loop {
            if ended_at.is_none() && !self.start_operations(now) {
                ended_at = Some(now);
            }
            self.send(now, wire)?;
            let is_over = ended_at.is_some_and(|at| {
                let is_idle = |it: &Connection| it.client.in_flight() == 0;
                self.connections.iter().all(is_idle) || now.since(at) > GRACE
            });
            if is_over || self.shared.stop.load(Ordering::Relaxed) {
                break;
            }
            wire.wait(self.timeout(now, next_tick, ended_at.is_some()), &mut self)?;
            if let Some(bad) = self.bad_reply.take() {
                return Err(bad.into());
            }
            now = self.shared.clock.now();
            if now >= next_tick {
                while next_tick <= now {
                    next_tick = next_tick + TICK;
                }
                // Whoever listened may have gone.
                ticks.send(std::mem::replace(&mut self.interval, histogram())).ok();
            }
        }
        ticks.send(self.interval).ok();
        Ok(self.results)
    }

    /// Starts what is due and has room; `false`: the task has nothing more to start.
    fn start_operations(&mut self, now: Instant) -> bool {
        if let Task::Measure { until, .. } = self.task
            && now >= until
        {
            while self.pace.next().is_some_and(|next| next < until) {
                self.results.not_started += 1;
                self.pace.advance(&mut self.rng);
            }
            return false;
        }
        while let Some(started) = self.pace.due(now)
            && let Some(at) = self.free.pop_front()
        {
            if !self.start(at, started) {
                return false;
            }
            self.pace.advance(&mut self.rng);
        }
        true
    }

    fn start(&mut self, at: usize, started: Instant) -> bool {
        let Some(connection) = self.connections.get_mut(at) else { return true };
        let out = &mut connection.client.out;
        let (kind, is_first_of_two, (replies_left, id)) = match self.task {
            Task::Load(_) => {
                let take = |left: u64| left.checked_sub(1);
                let left =
                    self.shared.to_load.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
                let Ok(left) = left else { return false };
                let id = left - 1;
                let count = self.writer.load(&self.loader, id, &mut self.rng, out);
                (0, false, (count, id))
            }
            Task::Measure { .. } => {
                let index = self.shared.mix.choose(&mut self.rng);
                let kind = self.shared.mix.kind(index);
                let sent = self.writer.start(kind, &self.shared.space, &mut self.rng, out);
                (index, kind.has_second_stage(), sent)
            }
        };
        let (is_error, is_nothing) = (false, false);
        let flight =
            Flight { kind, id, started, replies_left, is_first_of_two, is_error, is_nothing };
        connection.start(flight, at, &mut self.dirty);
        true
    }

    fn send(&mut self, now: Instant, wire: &mut dyn Wire) -> Result<(), DriverError> {
        for at in self.dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(at) else { continue };
            connection.is_dirty = false;
            if connection.is_blocked {
                continue;
            }
            let out = &mut connection.client.out;
            let taken = wire.send(now, at, out)?;
            self.results.tx_bytes += taken as u64;
            out.drain(..taken);
            connection.is_blocked = !out.is_empty();
        }
        wire.flush(now);
        Ok(())
    }

    fn timeout(&self, now: Instant, next_tick: Instant, has_ended: bool) -> Duration {
        let mut wait = next_tick.since(now);
        if !has_ended && let Some(next) = self.pace.next() {
            // Whoever waits for a free connection is woken by a reply.
            if !self.free.is_empty() {
                let until_next = next.since(now);
                wait = if until_next < SPIN { Duration::ZERO } else { wait.min(until_next - SPIN) };
            }
        }
        wait
    }

    /// The second requests of an operation; it counts from its first.
    fn follow(&mut self, at: usize, mut flight: Flight, elements: &[Vec<u8>], now: Instant) {
        let Some(connection) = self.connections.get_mut(at) else { return };
        let kind = self.shared.mix.kind(flight.kind);
        let out = &mut connection.client.out;
        flight.is_first_of_two = false;
        flight.replies_left = self.writer.follow(kind, flight.id, elements, &mut self.rng, out);
        if flight.replies_left == 0 {
            self.finish(at, &flight, now);
        } else {
            connection.start(flight, at, &mut self.dirty);
        }
    }

    /// An operation has had its last reply.
    fn finish(&mut self, at: usize, flight: &Flight, now: Instant) {
        self.free.push_back(at);
        let latency = now.since(flight.started);
        self.interval.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        if let Task::Measure { from, .. } = self.task
            && flight.started >= from
        {
            self.results.note(flight, latency);
        }
    }
}

impl Receive for Driver<'_> {
    fn on_data(&mut self, at: usize, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(at) else { return };
        self.results.rx_bytes += bytes.len() as u64;
        let now = self.shared.clock.now();
        let mut answered = std::mem::take(&mut self.answered);
        let outcome = connection.client.on_bytes(bytes, &mut |flight, elements| {
            answered.push((flight, elements));
        });
        if answered.iter().any(|(flight, _)| flight.is_error) {
            self.results.error = Some(connection.client.error_text());
        }
        for (flight, elements) in answered.drain(..) {
            if flight.is_first_of_two && !flight.is_error {
                self.follow(at, flight, &elements, now);
            } else {
                self.finish(at, &flight, now);
            }
        }
        self.answered = answered;
        self.bad_reply = outcome.err().or_else(|| self.bad_reply.take());
    }

    fn on_writable(&mut self, at: usize) {
        let Some(connection) = self.connections.get_mut(at) else { return };
        connection.is_blocked = false;
        connection.mark_dirty(at, &mut self.dirty);
    }
}
