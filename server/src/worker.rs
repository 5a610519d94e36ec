//! A worker: one pinned thread that owns its transports, connections and buffers, and polls them.
//!
//! ```text
//! loop
//!     inbox          answers of the I/O pool and the control plane
//!     transports     receive a burst: TCP, RESP, commands (Core)
//!     retry          parked commands, blocking ones that were called, and after a pause
//!     commit         one WriteBatch for all connections
//!     mail           what clients here are told
//!     send           replies of all connections, one transmit kick
//!     idle           spin for a while, then sleep until something arrives
//! ```
//!
//! Nothing in the loop waits but the last step, and that only when there is nothing to do.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use coney_base::{Clock, Instant};
use coney_datapath::transport::{App, CloseReason, ConnId, ReplyFrames, Transport};
use coney_engine::Engine;
use crossbeam_channel::Receiver;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

mod blocked;
pub(crate) mod core;
#[cfg(test)]
mod fake;
pub(crate) mod inbox;
mod lookahead;
mod outbox;
pub(crate) mod output_limit;
pub(crate) mod report;
pub(crate) mod session;
mod sessions;
mod stats;
#[cfg(test)]
mod tests;
mod timing;

use self::core::{Core, CoreParts};
use self::inbox::{Message, WorkerHandle};
use crate::runtime::Runtime;

/// Messages handled in one iteration; the rest is handled in the next.
const MESSAGES_PER_ITERATION_MAX: usize = 256;
/// Blocking commands may call others (BLMOVE). So many times in a row that happens within an iteration;
/// what is called then waits for the next one.
const CALLED_ROUNDS_MAX: usize = 16;
/// How often a worker looks for idle clients.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// A parked command that waits for a latch or a stalled write is tried again at least this often.
const RETRY_INTERVAL: Duration = Duration::from_millis(1);
/// Kernel sockets beside a transport of our own are asked for news at least this often while that one has
/// work. Asking is a system call, and they carry few clients: those on the same host.
const KERNEL_POLL_INTERVAL: Duration = Duration::from_micros(50);
/// How long a stopping worker waits for clients to take their last replies.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// What a worker needs beyond its core.
pub(crate) struct WorkerParts {
    pub(crate) core: CoreParts,
    pub(crate) engine: Arc<Engine>,
    pub(crate) transports: Vec<Box<dyn Transport>>,
    pub(crate) messages: Receiver<Message>,
    /// Never sleep.
    pub(crate) busy_poll: bool,
    pub(crate) clock: Clock,
}

/// See the module page.
pub(crate) struct Worker {
    core: Core,
    transports: Vec<Box<dyn Transport>>,
    messages: Receiver<Message>,
    handle: Arc<WorkerHandle>,
    runtime: Arc<Runtime>,
    engine: Arc<Engine>,
    busy_poll: bool,
    clock: Clock,
    /// Since when there has been nothing to do.
    idle_since: Option<Instant>,
    next_idle_check: Instant,
    /// When kernel sockets that had no news are asked again, however busy other transports are.
    next_kernel_poll: Instant,
    /// When a stopping worker ends, whether or not its clients took their replies.
    stop_at: Option<Instant>,
}

impl Worker {
    pub(crate) fn new(parts: WorkerParts) -> Self {
        let handle = Arc::clone(&parts.core.handle);
        let runtime = Arc::clone(&parts.core.runtime);
        Self {
            core: Core::new(parts.core),
            transports: parts.transports,
            messages: parts.messages,
            handle,
            runtime,
            engine: parts.engine,
            busy_poll: parts.busy_poll,
            clock: parts.clock,
            idle_since: None,
            next_idle_check: Instant::ZERO,
            next_kernel_poll: Instant::ZERO,
            stop_at: None,
        }
    }

    /// Runs until [`Message::Stop`].
    pub(crate) fn run(mut self) {
        self.core.now = self.clock.now();
        while !self.has_stopped() {
            let start = self.core.now;
            let work = self.iterate();
            self.core.now = self.clock.now();
            if work > 0 {
                self.core.stats.count_busy(self.core.now.since(start));
                self.idle_since = None;
            } else {
                self.core.stats.idle_iterations += 1;
                self.rest();
            }
        }
    }

    /// One iteration at `now`, for whoever runs the worker without its thread.
    pub(crate) fn step(&mut self, now: Instant) -> usize {
        self.core.now = now;
        self.iterate()
    }

    /// One iteration; returns how much there was to do.
    fn iterate(&mut self) -> usize {
        self.core.unix_now = self.clock.unix_now();
        let mut work = self.read_inbox();
        work += self.poll_transports();
        work += self.core.retry_parked();
        work += self.core.resume_called();
        work += self.core.resume_paused();
        self.core.executor.expire_found(self.core.unix_now);
        self.core.commit();
        // Who was called gets its elements before the replies of this iteration leave: a client that
        // has read the reply to its push finds them taken.
        for _ in 0..CALLED_ROUNDS_MAX {
            if !self.core.has_called() {
                break;
            }
            work += self.core.resume_called();
            self.core.commit();
        }
        self.core.wake_called();
        work += self.core.deliver_mail();
        if self.core.awaits_disk() {
            self.core.on_durable(self.engine.durable_ticket());
        }
        self.core.send_dirty(&mut self.transports);
        for transport in &mut self.transports {
            transport.flush(self.core.now);
        }
        work += usize::from(self.core.executor.free_some());
        if self.core.now >= self.next_idle_check {
            self.next_idle_check = self.core.now + IDLE_CHECK_INTERVAL;
            self.core.close_slow_readers(&mut self.transports);
            if let Some(timeout) = self.runtime.idle_timeout() {
                self.core.close_idle(timeout, &mut self.transports);
            }
        }
        work
    }

    /// The last transport is that of kernel sockets.
    fn poll_transports(&mut self) -> usize {
        let now = self.core.now;
        let mut work = 0;
        let last = self.transports.len().saturating_sub(1);
        for (at, transport) in self.transports.iter_mut().enumerate() {
            let is_beside = at > 0 && at == last;
            if is_beside && work > 0 && now < self.next_kernel_poll {
                break;
            }
            let mut ingress = Ingress { core: &mut self.core, transport: at };
            let news = transport.poll(now, &mut ingress);
            if is_beside && news == 0 {
                self.next_kernel_poll = now + KERNEL_POLL_INTERVAL;
            }
            work += news;
        }
        work
    }

    fn read_inbox(&mut self) -> usize {
        let mut count = 0;
        while count < MESSAGES_PER_ITERATION_MAX
            && let Ok(message) = self.messages.try_recv()
        {
            count += 1;
            self.on_message(message);
        }
        count
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::JobDone { session, done } => self.core.on_job_done(session, *done),
            Message::AdminQueueDone { session, replies, close } => {
                self.core.on_queue_answers(session, replies, close);
            }
            Message::AdminDone { session, reply, close } => {
                self.core.on_answer(session, &reply, close);
            }
            Message::Expire(due) => self.core.expire(&due),
            // Whoever asked may have stopped waiting.
            Message::Kill(ids, reply) => {
                reply.send(self.core.kill(&ids, &mut self.transports)).ok();
            }
            Message::Unblock { client, with_error, answer } => {
                answer.send(usize::from(self.core.unblock(client, with_error))).ok();
            }
            Message::ListClients(reply) => {
                reply.send(self.core.client_rows()).ok();
            }
            Message::Report(reply) => {
                let report = self.core.report(&self.transports);
                reply.send(Box::new(report)).ok();
            }
            Message::SetRules(rules) => self.core.set_rules(rules, &mut self.transports),
            Message::SyncFailed => self.core.on_sync_failed(&mut self.transports),
            Message::ResetStats => self.core.reset_stats(),
            Message::Stop => {
                for transport in &mut self.transports {
                    transport.stop_accepting();
                }
                self.core.end_all();
                self.stop_at = Some(self.core.now + STOP_GRACE);
            }
        }
    }

    fn has_stopped(&self) -> bool {
        self.stop_at.is_some_and(|at| {
            let settled = self.core.sessions.len() == 0 && !self.core.wants_retry();
            settled || self.core.now >= at
        })
    }

    /// There was nothing to do: go on polling for a while, then sleep.
    fn rest(&mut self) {
        let now = self.core.now;
        let idle_since = *self.idle_since.get_or_insert(now);
        let spin = Duration::from_micros(self.runtime.spin_us.load(Ordering::Relaxed));
        if self.busy_poll || now.since(idle_since) < spin || self.core.has_dirty() {
            std::hint::spin_loop();
            return;
        }
        self.handle.waker().announce_sleep();
        // The last look, after the announcement: see `Waker`.
        if self.messages.is_empty()
            && !self.is_durable_news()
            && !self.core.has_mail()
            && !self.core.has_called()
            && !self.core.has_resumable()
        {
            self.sleep();
        }
        self.handle.waker().awake();
        self.core.now = self.clock.now();
    }

    fn is_durable_news(&self) -> bool {
        self.core.awaits_disk() && self.core.has_durable_news(self.engine.durable_ticket())
    }

    fn sleep(&mut self) {
        let mut deadline = Some(self.next_wake_up());
        let mut fds = vec![PollFd::from_borrowed_fd(self.handle.waker().fd(), PollFlags::IN)];
        for transport in &self.transports {
            match transport.wait_fd() {
                Some(fd) => fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN)),
                // It can only be polled.
                None => return,
            }
            deadline = deadline.into_iter().chain(transport.next_deadline()).min();
        }
        let timeout = deadline.map(|at| timespec(at.since(self.core.now)));
        self.core.stats.sleeps += 1;
        // A signal or a kernel short of memory ends the sleep early, which is harmless.
        poll(&mut fds, timeout.as_ref()).ok();
    }

    fn next_wake_up(&self) -> Instant {
        if self.core.wants_retry() {
            return self.core.now + RETRY_INTERVAL;
        }
        let mut at = self.core.now + Duration::from_secs(3600);
        if self.runtime.idle_timeout().is_some() {
            at = at.min(self.next_idle_check);
        }
        at = self.core.next_time_out().map_or(at, |time_out| at.min(time_out));
        at = self.core.next_resumption().map_or(at, |resumption| at.min(resumption));
        self.stop_at.map_or(at, |stop| at.min(stop))
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("core", &self.core).finish_non_exhaustive()
    }
}

fn timespec(duration: Duration) -> Timespec {
    let tv_sec = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: duration.subsec_nanos().into() }
}

/// Gives a transport's connections their transport's number.
struct Ingress<'a> {
    core: &'a mut Core,
    transport: usize,
}

impl App for Ingress<'_> {
    fn on_accept(
        &mut self,
        conn: ConnId,
        peer: std::net::SocketAddr,
        local: std::net::SocketAddr,
    ) -> bool {
        self.core.on_accept(Core::key(self.transport, conn), peer, local)
    }

    fn expect_data(&mut self, conn: ConnId) {
        self.core.expect_data(Core::key(self.transport, conn));
    }

    fn on_data(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        self.core.on_data(Core::key(self.transport, conn), bytes, None)
    }

    fn on_data_with(&mut self, conn: ConnId, bytes: &[u8], frames: &mut dyn ReplyFrames) -> usize {
        self.core.on_data(Core::key(self.transport, conn), bytes, Some(frames))
    }

    fn on_eof(&mut self, conn: ConnId) {
        self.core.on_eof(Core::key(self.transport, conn));
    }

    fn on_writable(&mut self, conn: ConnId) {
        self.core.on_writable(Core::key(self.transport, conn));
    }

    fn on_close(&mut self, conn: ConnId, reason: CloseReason) {
        self.core.on_close(Core::key(self.transport, conn), reason);
    }
}
