//! From received bytes to replies: sessions, and the commands they execute.
//!
//! One iteration of the worker calls, in this order: [`Core::on_data`] and its siblings for what
//! the transports received, [`Core::retry_parked`], [`Core::commit`], [`Core::deliver_mail`],
//! [`Core::send_dirty`].
//! Replies leave only in the last step, after the writes of the iteration are in the log. Those that
//! depend on no write may lie in the transport's frames before.
//!
//! A command that cannot be executed at once (a cold key, a latch, an answer of the control plane)
//! is parked with its own copy of the arguments; its session executes nothing else meanwhile, so
//! replies keep their order.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use coney_base::{Clock, Instant, UnixMillis};
use coney_control::config::Sync;
use coney_datapath::transport::{CloseReason, ConnId, ReplyFrames, Transport};
use coney_engine::{Client, CommitOutcome, DueKey, Executor, JobDone, Park, StoreError};
use coney_resp::{Limits, Reply, Scratch, Step};
use coney_xdp_prog::Rules;

use super::inbox::WorkerHandle;
use super::lookahead::Lookahead;
use super::report::Report;
use super::session::{Parked, Session, SessionKey, State, Wait};
use super::sessions::Sessions;
use super::stats::Stats;
use super::timing::{EXACT_BELOW, Timing};
use crate::admin::{AdminClient, AdminRequest};
use crate::pool::{PoolClient, Request};
use crate::runtime::Runtime;
use crate::sync::SyncHandle;

mod execute;

use execute::{count_error, end_burst, execute};

/// A session with more unsent output than this executes nothing until some was sent.
pub(crate) const OUTPUT_PAUSE_BYTES: usize = 32 * 1024 * 1024;
/// Once all sessions of a worker hold more unsent output than this, each is allowed only
/// [`OUTPUT_SHARE_BYTES`].
pub(crate) const OUTPUT_TOTAL_BYTES_MAX: usize = 256 * 1024 * 1024;
/// See [`OUTPUT_TOTAL_BYTES_MAX`].
pub(crate) const OUTPUT_SHARE_BYTES: usize = 64 * 1024;
/// Output buffers kept for reuse, and how large one may be to be kept.
const SPARE_BUFFERS_MAX: usize = 1024;
const SPARE_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// The transports of a worker, in the order that [`SessionKey::transport`] counts.
pub(crate) type Transports = [Box<dyn Transport>];

/// See the module page.
pub(crate) struct Core {
    pub(crate) executor: Executor,
    pub(crate) sessions: Sessions,
    pub(crate) stats: Stats,
    /// The moment of this iteration, on both clocks.
    pub(crate) now: Instant,
    pub(crate) unix_now: UnixMillis,
    pub(super) runtime: Arc<Runtime>,
    handle: Arc<WorkerHandle>,
    /// All workers, this one included, by their numbers.
    pub(super) peers: Vec<Arc<WorkerHandle>>,
    /// Sessions by their clients' ids, for published messages.
    pub(super) by_client: BTreeMap<u64, SessionKey>,
    /// Until when clients wait in blocking commands, with their ids.
    pub(super) waits_until: BTreeSet<(Instant, u64)>,
    /// Sessions whose WAITAOF waits for the disk.
    pub(super) awaiting_sync: Vec<SessionKey>,
    /// Sessions whose commands wait for the end of CLIENT PAUSE.
    pub(super) paused: Vec<SessionKey>,
    pool: PoolClient,
    pub(super) admin: AdminClient,
    pub(super) sync: Arc<SyncHandle>,
    rules: Arc<Rules>,
    scratch: Scratch,
    lookahead: Lookahead,
    due: Due,
    /// Since when the open batch has been put off.
    stalled_since: Option<Instant>,
    /// Unsent output of all sessions after the last iteration, in bytes.
    output_bytes: usize,
    /// How long commands take.
    pub(super) timing: Timing,
    /// What was durable when [`Core::on_durable`] looked last.
    pub(super) durable_ticket: u64,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}

/// Sessions with something to do at the end of this iteration or in a later one.
#[derive(Default)]
struct Due {
    /// Output to send.
    dirty: Vec<SessionKey>,
    /// Replies that depend on the open batch.
    uncommitted: Vec<SessionKey>,
    /// A parked command to be tried again.
    retry: Vec<SessionKey>,
    /// Replies that wait for the disk.
    awaiting_disk: Vec<SessionKey>,
    /// Output buffers that no session uses now.
    spare_buffers: Vec<Vec<u8>>,
    /// Sessions above the soft limit of unsent output, and some that were.
    slow_readers: Vec<SessionKey>,
}

impl Due {
    /// Keeps a buffer for reuse.
    fn keep_buffer(&mut self, buf: Vec<u8>) {
        if buf.capacity() <= SPARE_BUFFER_BYTES_MAX && self.spare_buffers.len() < SPARE_BUFFERS_MAX
        {
            self.spare_buffers.push(buf);
        }
    }

    fn mark_dirty(&mut self, session: &mut Session) {
        if !session.is_dirty {
            session.is_dirty = true;
            self.dirty.push(session.key);
        }
    }
}

/// What a core is made of.
pub(crate) struct CoreParts {
    pub(crate) executor: Executor,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) handle: Arc<WorkerHandle>,
    pub(crate) peers: Vec<Arc<WorkerHandle>>,
    pub(crate) pool: PoolClient,
    pub(crate) admin: AdminClient,
    pub(crate) sync: Arc<SyncHandle>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) transports: usize,
    pub(crate) clock: Clock,
}

impl Core {
    pub(crate) fn new(parts: CoreParts) -> Self {
        let (mut executor, clock) = (parts.executor, parts.clock);
        executor.time_with(Arc::new(move || clock.now()));
        Self {
            executor,
            sessions: Sessions::new(parts.transports),
            stats: Stats::default(),
            now: Instant::ZERO,
            unix_now: UnixMillis::default(),
            runtime: parts.runtime,
            handle: parts.handle,
            peers: parts.peers,
            by_client: BTreeMap::new(),
            waits_until: BTreeSet::new(),
            awaiting_sync: Vec::new(),
            paused: Vec::new(),
            pool: parts.pool,
            admin: parts.admin,
            sync: parts.sync,
            rules: parts.rules,
            scratch: Scratch::default(),
            lookahead: Lookahead::default(),
            due: Due::default(),
            stalled_since: None,
            output_bytes: 0,
            timing: Timing::new(parts.clock),
            durable_ticket: 0,
        }
    }

    /// Sets who may connect.
    pub(crate) fn set_rules(&mut self, rules: Arc<Rules>, transports: &mut Transports) {
        for transport in transports {
            transport.set_rules(&rules);
        }
        self.rules = rules;
    }

    /// A client connected; `false`: the access list refuses it, without a word.
    pub(crate) fn on_accept(
        &mut self,
        key: SessionKey,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> bool {
        if !self.rules.access.admits(peer.ip()) && !is_local(peer, local) {
            self.stats.connections_received += 1;
            self.stats.rejected_connections += 1;
            return false;
        }
        let id = self.runtime.next_client_id.fetch_add(1, Ordering::Relaxed);
        let mut client = Client::new(id);
        client.addr = Some(peer);
        self.executor.admit(&client);
        let is_open = self.executor.acl().is_open();
        client.authenticated = is_open;
        let mut session = Session::new(key, client, (peer, local), (self.now, self.unix_now));
        let refusal = if is_open
            && self.runtime.protected_mode.load(Ordering::Relaxed)
            && !is_local(peer, local)
        {
            Some(PROTECTED_MODE_ERROR)
        } else if !self.runtime.admit_client() {
            Some(&b"-ERR max number of clients reached\r\n"[..])
        } else {
            None
        };
        // Those that are refused take nobody's place while they say good-bye.
        session.is_counted = refusal.is_none();
        self.sessions.insert(session);
        self.by_client.insert(id, key);
        self.stats.connections_received += 1;
        if let Some(error) = refusal {
            self.stats.rejected_connections += 1;
            self.end_with(key, error);
        }
        true
    }

    /// Bytes are likely to arrive soon.
    pub(crate) fn expect_data(&self, key: SessionKey) {
        self.sessions.prefetch(key);
    }

    /// Bytes arrived. Returns how many of the session's bytes are held unprocessed. Replies that need
    /// not wait go into `frames`.
    pub(crate) fn on_data(
        &mut self,
        key: SessionKey,
        bytes: &[u8],
        frames: Option<&mut (dyn ReplyFrames + '_)>,
    ) -> usize {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else { return 0 };
        if matches!(session.state, State::Closing | State::Closed) {
            return 0;
        }
        session.last_active = now;
        session.rx_bytes += bytes.len() as u64;
        self.stats.rx_bytes += bytes.len() as u64;
        if session.input.is_empty() {
            let consumed = self.process(key, bytes, frames);
            if let Some(session) = self.sessions.get_mut(key) {
                session.keep_input(bytes.get(consumed..).unwrap_or_default());
            }
        } else {
            session.keep_input(bytes);
            self.process_input_with(key, frames);
        }
        self.report_held(key)
    }

    /// The peer sends nothing more: what it sent is still executed and answered.
    pub(crate) fn on_eof(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key)
            && session.state == State::Open
        {
            session.state = State::PeerClosed;
            // Whoever has gone waits for nothing, and what it sent after it is not executed.
            if session.is_waiting() {
                self.end_waiting(key);
            }
        }
        self.mark_dirty(key);
    }

    /// The transport has room again.
    pub(crate) fn on_writable(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.is_blocked = false;
        }
        self.mark_dirty(key);
    }

    /// The connection is gone.
    pub(crate) fn on_close(&mut self, key: SessionKey, reason: CloseReason) {
        if let Some(mut session) = self.sessions.remove(key) {
            if let Some(Wait { until: Some(until) }) =
                session.parked.as_ref().and_then(|parked| parked.wait)
            {
                self.waits_until.remove(&(until, session.client.id));
            }
            self.executor.release(&mut session.client);
            self.by_client.remove(&session.client.id);
            if session.is_counted {
                self.runtime.clients.fetch_sub(1, Ordering::Relaxed);
            }
            self.stats.count_close(reason);
            self.output_bytes = self.output_bytes.saturating_sub(session.counted_output);
        }
    }

    /// The I/O pool has done a job for the session's parked command.
    pub(crate) fn on_job_done(&mut self, key: SessionKey, done: JobDone) {
        match done {
            JobDone::Fetched => {
                let Some(session) = self.sessions.get_mut(key) else { return };
                let Some(parked) = &mut session.parked else { return };
                parked.answers = parked.answers.saturating_sub(1);
                if parked.answers == 0 {
                    self.run_parked(key);
                }
            }
            JobDone::Replied(reply) => self.on_answer(key, &reply, false),
            JobDone::Built(built) => {
                self.executor.deliver(*built);
                self.run_parked(key);
            }
        }
    }

    /// A parked command was answered elsewhere with `reply`.
    pub(crate) fn on_answer(&mut self, key: SessionKey, reply: &[u8], close: bool) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(parked) = session.parked.take() else { return };
        self.executor.stop_waiting(&mut session.client);
        if session.client.take_reply_permission() {
            let start = session.outbox.end();
            session.outbox.buf_mut().extend_from_slice(reply);
            count_error(&mut self.stats, session, start);
            if session.outbox.is_uncommitted() {
                session.outbox.mark_uncommitted(start);
            }
        }
        self.note_parked(key, &parked);
        let Some(session) = self.sessions.get_mut(key) else { return };
        if close {
            session.state = State::Closing;
        }
        self.mark_dirty(key);
        self.process_input(key);
    }

    /// The control plane answered what EXEC asked it: goes on with EXEC.
    pub(crate) fn on_queue_answers(&mut self, key: SessionKey, replies: Vec<Vec<u8>>, close: bool) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.client.take_answers(replies);
        if let Some(parked) = &mut session.parked {
            parked.closes |= close;
        }
        self.run_parked(key);
    }

    /// Tries the parked commands again that wait for a latch, a stall or room in a queue.
    pub(crate) fn retry_parked(&mut self) -> usize {
        if self.due.retry.is_empty() {
            return 0;
        }
        let retry = std::mem::take(&mut self.due.retry);
        for &key in &retry {
            self.run_parked(key);
        }
        // Those that must be tried yet again are no progress: the worker may rest between tries.
        retry.len().saturating_sub(self.due.retry.len())
    }

    /// Whether a parked command waits for its next try.
    pub(crate) fn wants_retry(&self) -> bool {
        !self.due.retry.is_empty() || self.executor.has_writes()
    }

    /// Commits what the iteration wrote.
    pub(crate) fn commit(&mut self) {
        if !self.executor.has_writes() {
            // Replies may wait for a batch that turned out to be empty.
            self.finish_uncommitted(|session, _| session.outbox.committed(None));
            return;
        }
        match self.executor.commit() {
            CommitOutcome::Nothing => {
                self.finish_uncommitted(|session, _| session.outbox.committed(None));
            }
            CommitOutcome::Committed { ticket } => {
                self.stats.commits += 1;
                let always = self.runtime.sync() == Sync::Always;
                self.finish_uncommitted(|session, awaiting_disk| {
                    let waits = always && session.wrote;
                    if waits && !session.outbox.awaits_disk() {
                        awaiting_disk.push(session.key);
                    }
                    session.outbox.committed(waits.then_some(ticket));
                });
                if self.awaits_disk() {
                    self.sync.request();
                }
            }
            CommitOutcome::Stalled => {
                self.stats.commit_stalls += 1;
                let since = *self.stalled_since.get_or_insert(self.now);
                let timeout = self.runtime.write_stall_timeout();
                if timeout.is_none_or(|timeout| self.now.since(since) < timeout) {
                    return;
                }
                self.executor.give_up_batch();
                self.fail_uncommitted(&StoreError::Behind);
            }
            CommitOutcome::Failed(error) => self.fail_uncommitted(&error),
        }
        self.stalled_since = None;
    }

    /// Replies the error in place of all replies that depend on the batch.
    fn fail_uncommitted(&mut self, error: &StoreError) {
        self.stats.commit_failures += 1;
        let mut text = Vec::new();
        Reply::new(&mut text, coney_resp::Protocol::Resp2).error(&error.write_reply());
        self.finish_uncommitted(|session, _| session.outbox.failed(&text));
    }

    /// Hands mail on to other workers, and appends what is for this worker's clients to their
    /// replies. Comes after the commit: while that is stalled, mail waits too, because what follows a
    /// reply that may still become an error would be taken for another reply.
    pub(crate) fn deliver_mail(&mut self) -> usize {
        if self.executor.has_writes() {
            return 0;
        }
        for worker in self.executor.hand_on_mail() {
            if let Some(peer) = self.peers.get(worker).filter(|peer| peer.id != self.handle.id) {
                peer.wake();
            }
        }
        let mail = self.executor.take_mail();
        for piece in &mail {
            self.executor.each_reader(piece, &mut |client, letter| {
                let Some(&key) = self.by_client.get(&client) else { return };
                let Some(session) = self.sessions.get_mut(key) else { return };
                if matches!(session.state, State::Closing | State::Closed) {
                    return;
                }
                letter.write(&mut session.client, session.outbox.buf_mut());
                self.due.mark_dirty(session);
            });
        }
        // What was redirected may be for clients of others.
        self.wake_called();
        mail.len()
    }

    /// Whether mail waits to be delivered.
    pub(crate) fn has_mail(&self) -> bool {
        self.executor.has_mail()
    }

    fn finish_uncommitted(&mut self, finish: impl Fn(&mut Session, &mut Vec<SessionKey>)) {
        let mut uncommitted = std::mem::take(&mut self.due.uncommitted);
        for key in uncommitted.drain(..) {
            if let Some(session) = self.sessions.get_mut(key) {
                finish(session, &mut self.due.awaiting_disk);
                session.wrote = false;
                self.due.mark_dirty(session);
            }
        }
        self.due.uncommitted = uncommitted;
    }

    /// Everything up to `ticket` is on the disk: replies that waited for it may leave.
    pub(crate) fn on_durable(&mut self, ticket: u64) {
        self.durable_ticket = ticket;
        let mut awaiting_disk = std::mem::take(&mut self.due.awaiting_disk);
        awaiting_disk.retain(|&key| {
            let Some(session) = self.sessions.get_mut(key) else { return false };
            session.outbox.durable(ticket);
            self.due.mark_dirty(session);
            session.outbox.awaits_disk()
        });
        self.due.awaiting_disk = awaiting_disk;
        self.resume_synced(ticket);
    }

    /// Whether replies or commands wait for the disk.
    pub(crate) fn awaits_disk(&self) -> bool {
        !self.due.awaiting_disk.is_empty() || !self.awaiting_sync.is_empty()
    }

    /// Whether more is on the disk than [`Core::on_durable`] was told.
    pub(crate) fn has_durable_news(&self, ticket: u64) -> bool {
        ticket > self.durable_ticket
    }

    /// The log could not be brought to the disk. Whether the writes that wait for it survive is
    /// unknown, so their clients get no reply at all: their connections end.
    pub(crate) fn on_sync_failed(&mut self, transports: &mut Transports) {
        for key in std::mem::take(&mut self.due.awaiting_disk) {
            self.stats.sync_failure_disconnections += 1;
            self.abort(key, transports);
        }
    }

    /// Removes keys whose deadline passed.
    pub(crate) fn expire(&mut self, due: &[DueKey]) {
        self.executor.expire(self.unix_now, due);
    }

    /// Lets every session end: what it sent is still executed and answered.
    pub(crate) fn end_all(&mut self) {
        for key in self.sessions.keys_where(|session| session.state == State::Open) {
            self.on_eof(key);
        }
    }

    /// Sends what may leave, and closes what is finished.
    pub(crate) fn send_dirty(&mut self, transports: &mut Transports) {
        let mut dirty = std::mem::take(&mut self.due.dirty);
        for &key in &dirty {
            self.send(key, transports);
        }
        dirty.clear();
        // Sessions that resumed may have produced output again: it leaves in the next iteration.
        dirty.append(&mut self.due.dirty);
        self.due.dirty = dirty;
    }

    /// Whether output is due at once.
    pub(crate) fn has_dirty(&self) -> bool {
        !self.due.dirty.is_empty()
    }

    fn send(&mut self, key: SessionKey, transports: &mut Transports) {
        let Some(transport) = transports.get_mut(key.transport) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.is_dirty = false;
        if session.state == State::Closed {
            return;
        }
        let was_paused = is_paused(session, self.output_bytes);
        let sendable = session.outbox.sendable();
        if !sendable.is_empty() && !session.is_blocked {
            let offered = sendable.len();
            let taken = transport.send(self.now, key.conn, sendable);
            session.outbox.advance(taken);
            session.tx_bytes += taken as u64;
            self.stats.tx_bytes += taken as u64;
            session.is_blocked = taken < offered;
        }
        let pending = session.outbox.pending_len();
        self.output_bytes = self.output_bytes + pending - session.counted_output;
        session.counted_output = pending;
        let was_slow = session.above_soft_limit_since.is_some();
        if exceeds_output_limit(session, &self.runtime, self.now) {
            self.stats.output_limit_disconnections += 1;
            session.state = State::Closed;
            self.executor.release(&mut session.client);
            transport.abort(self.now, key.conn);
            return;
        }
        if !was_slow && session.above_soft_limit_since.is_some() {
            self.due.slow_readers.push(key);
        }
        if pending == 0
            && let Some(buf) = session.outbox.surrender()
        {
            self.due.keep_buffer(buf);
        }
        if was_paused {
            self.process_input(key);
        }
        let output_bytes = self.output_bytes;
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.is_finished() {
            session.state = State::Closed;
            // Now, and not when the peer has closed too: that is its own business.
            self.executor.release(&mut session.client);
            transport.close(self.now, key.conn);
            return;
        }
        let held = held(session, output_bytes);
        if session.told_held != held {
            session.told_held = held;
            transport.set_held(self.now, key.conn, held);
        }
    }

    /// Executes the commands in `bytes` and returns how many bytes they were.
    fn process(
        &mut self,
        key: SessionKey,
        bytes: &[u8],
        frames: Option<&mut (dyn ReplyFrames + '_)>,
    ) -> usize {
        let Some(session) = self.sessions.get_mut(key) else { return bytes.len() };
        // Earlier replies wait in the outbox, and these behind them.
        let mut frames = frames.filter(|_| session.outbox.is_empty());
        let bulk_len_max = self.runtime.bulk_len_max.load(Ordering::Relaxed);
        let is_exact = self.runtime.slower_than().is_some_and(|least| least < EXACT_BELOW);
        self.timing.begin(is_exact, self.stats.idle_iterations);
        self.executor.time_all(is_exact);
        let consumed = self.process_burst(key, bytes, bulk_len_max, frames.as_deref_mut());
        if let Some(frames) = frames
            && let Some(session) = self.sessions.get_mut(key)
        {
            end_burst((&mut self.due, &mut self.stats), session, frames);
        }
        self.timing.end();
        consumed
    }

    fn process_burst(
        &mut self,
        key: SessionKey,
        bytes: &[u8],
        bulk_len_max: u32,
        mut frames: Option<&mut (dyn ReplyFrames + '_)>,
    ) -> usize {
        let mut at = 0;
        let mut warm_until = 0;
        loop {
            let Some(session) = self.sessions.get_mut(key) else { return bytes.len() };
            if !session.may_execute() || is_paused(session, self.output_bytes) {
                return at;
            }
            let limits = Limits { bulk_len_max, authenticated: session.client.authenticated };
            let rest = bytes.get(at..).unwrap_or_default();
            if at >= warm_until && !session.parser.is_partial() {
                let table = session.client.table;
                warm_until = at + self.lookahead.warm(&self.executor, table, rest, limits);
            }
            match session.parser.next(rest, limits, &mut self.scratch) {
                Ok(Step::Command { consumed }) => {
                    at += consumed;
                    let args = self.scratch.args(rest);
                    let mut parts = (&mut self.executor, &mut self.due, &mut self.stats);
                    let frames = frames.as_deref_mut();
                    let parked = execute(&mut parts, session, self.unix_now, args, 0, frames);
                    if let Some(mut park) = parked {
                        let args = args.to_owned();
                        let since = self.now;
                        self.stats.parked += 1;
                        if let Park::Job(job) = &mut park {
                            let table = session.client.table;
                            let behind = bytes.get(at..).unwrap_or_default();
                            self.lookahead.fetch_too(job, table, behind, limits);
                        }
                        let parked = Parked {
                            args,
                            attempt: 0,
                            answers: 0,
                            since,
                            wait: None,
                            closes: false,
                            has_waited: false,
                        };
                        self.executor.take_last_call();
                        self.park(key, Box::new(parked), park);
                    } else if let Some((index, may_be_long)) = self.executor.take_last_call()
                        && let Some(took) = self.timing.note(index, may_be_long)
                    {
                        let to = (&*self.runtime, &self.admin);
                        let timed = self.executor.take_timed();
                        let report = Report { took, index, unix_now: self.unix_now };
                        report.send(session, args, timed.as_ref(), &mut self.timing, to);
                    }
                    if self.executor.wants_commit() {
                        self.commit();
                    }
                }
                Ok(Step::Nothing { consumed }) => at += consumed,
                Ok(Step::Incomplete) => return at,
                Err(error) => {
                    self.stats.protocol_errors += 1;
                    self.end_with(key, format!("-ERR Protocol error: {error}\r\n").as_bytes());
                    return bytes.len();
                }
            }
        }
    }

    /// Executes what the session received earlier.
    fn process_input(&mut self, key: SessionKey) {
        self.process_input_with(key, None);
    }

    fn process_input_with(&mut self, key: SessionKey, frames: Option<&mut (dyn ReplyFrames + '_)>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.input.is_empty() {
            return;
        }
        let mut input = std::mem::take(&mut session.input);
        let consumed = self.process(key, &input, frames);
        let Some(session) = self.sessions.get_mut(key) else { return };
        // An input buffer lives only as long as there is something in it.
        if consumed < input.len() {
            input.drain(..consumed);
            session.input = input;
        }
        let limit = self.runtime.query_buffer_len_max.load(Ordering::Relaxed);
        if session.input.len() > limit {
            self.stats.query_limit_disconnections += 1;
            session.input = Vec::new();
            session.state = State::Closing;
            self.mark_dirty(key);
        }
    }

    /// Lets the session wait for what its command needs.
    fn park(&mut self, key: SessionKey, mut parked: Box<Parked>, park: Park) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let answer_will_come = match park {
            Park::Wait { timeout_ms } => {
                self.wait(key, parked, timeout_ms);
                return;
            }
            Park::Paused => {
                self.paused.push(key);
                parked.has_waited = true;
                session.parked = Some(parked);
                return;
            }
            Park::Latch | Park::Stall => false,
            Park::Job(job) => {
                let requests = job.split(self.pool.threads()).into_iter().map(|job| {
                    let worker = Arc::clone(&self.handle);
                    Request { worker, session: key, job }
                });
                // Keys for which there was no room are fetched when the command misses them again.
                parked.answers = requests.filter_map(|part| self.pool.submit(part).ok()).count();
                parked.answers > 0
            }
            Park::Admin => {
                let args = parked.args.clone();
                self.admin.submit(AdminRequest::new(&self.handle, session, args, self.now))
            }
            Park::AdminQueue(commands) => {
                let args = parked.args.clone();
                let request = AdminRequest::new(&self.handle, session, args, self.now);
                self.admin.submit_queue(request, commands)
            }
        };
        if answer_will_come {
            parked.attempt += 1;
        } else {
            self.due.retry.push(key);
        }
        session.parked = Some(parked);
    }

    /// Executes the session's parked command again, and what follows it if that worked.
    pub(super) fn run_parked(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(mut parked) = session.parked.take() else { return };
        if let Some(Wait { until: Some(until) }) = parked.wait.take() {
            self.waits_until.remove(&(until, session.client.id));
        }
        let args = parked.args.as_args();
        let mut parts = (&mut self.executor, &mut self.due, &mut self.stats);
        let attempt = parked.attempt;
        if let Some(park) = execute(&mut parts, session, self.unix_now, args, attempt, None) {
            self.executor.take_last_call();
            self.park(key, parked, park);
            return;
        }
        self.executor.take_last_call();
        if parked.closes {
            session.state = State::Closing;
        }
        self.note_parked(key, &parked);
        if self.executor.wants_commit() {
            self.commit();
        }
        self.process_input(key);
    }

    /// Lets the session end after `last_words`, whatever else it sent.
    pub(crate) fn end_with(&mut self, key: SessionKey, last_words: &[u8]) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let start = session.outbox.end();
        session.outbox.buf_mut().extend_from_slice(last_words);
        if session.outbox.is_uncommitted() {
            session.outbox.mark_uncommitted(start);
        }
        session.input = Vec::new();
        session.state = State::Closing;
        self.mark_dirty(key);
    }

    pub(super) fn mark_dirty(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key) {
            self.due.mark_dirty(session);
        }
    }

    /// Tells the caller, a transport, what the session holds.
    fn report_held(&mut self, key: SessionKey) -> usize {
        let output_bytes = self.output_bytes;
        let Some(session) = self.sessions.get_mut(key) else { return 0 };
        session.told_held = held(session, output_bytes);
        session.told_held
    }

    /// Ends the sessions of these clients and returns how many they were.
    pub(crate) fn kill(&mut self, ids: &[u64], transports: &mut Transports) -> usize {
        let is_meant =
            |session: &Session| session.state != State::Closed && ids.contains(&session.client.id);
        let keys = self.sessions.keys_where(is_meant);
        for &key in &keys {
            self.abort(key, transports);
        }
        keys.len()
    }

    /// Ends sessions that executed nothing for `timeout`; subscribers only listen, and stay.
    pub(crate) fn close_idle(&mut self, timeout: std::time::Duration, transports: &mut Transports) {
        let now = self.now;
        let is_idle = |session: &Session| {
            session.parked.is_none()
                && session.client.subscriptions.is_empty()
                && !session.client.is_monitor
                && now.since(session.last_active) > timeout
        };
        for key in self.sessions.keys_where(is_idle) {
            self.stats.idle_disconnections += 1;
            self.abort(key, transports);
        }
    }

    /// Ends sessions that have been above a soft limit of unsent output for too long. Those that get
    /// more output are looked at when it is sent.
    pub(crate) fn close_slow_readers(&mut self, transports: &mut Transports) {
        let mut slow_readers = std::mem::take(&mut self.due.slow_readers);
        slow_readers.retain(|&key| {
            let Some(session) = self.sessions.get_mut(key) else { return false };
            if session.state == State::Closed {
                return false;
            }
            if exceeds_output_limit(session, &self.runtime, self.now) {
                self.stats.output_limit_disconnections += 1;
                session.state = State::Closed;
                if let Some(transport) = transports.get_mut(key.transport) {
                    transport.abort(self.now, key.conn);
                }
                return false;
            }
            session.above_soft_limit_since.is_some()
        });
        self.due.slow_readers = slow_readers;
    }

    fn abort(&mut self, key: SessionKey, transports: &mut Transports) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.state = State::Closed;
        if let Some(transport) = transports.get_mut(key.transport) {
            transport.close(self.now, key.conn);
        }
    }

    /// The number of this worker.
    pub(crate) fn worker_id(&self) -> usize {
        self.handle.id
    }

    /// Names a connection of the transport at `transport`.
    pub(crate) fn key(transport: usize, conn: ConnId) -> SessionKey {
        SessionKey { transport, conn }
    }
}

/// Bytes that the transport must count against the peer. An incomplete command does not count: it
/// needs more bytes to become complete, not fewer.
fn held(session: &Session, output_bytes: usize) -> usize {
    let waits = session.parked.is_some() || is_paused(session, output_bytes);
    if waits { session.input.len() } else { 0 }
}

/// Whether the session has more unsent output than its class may have.
fn exceeds_output_limit(session: &mut Session, runtime: &Runtime, now: Instant) -> bool {
    let client = &session.client;
    let is_listening = !client.subscriptions.is_empty() || client.is_monitor;
    let limit = if is_listening { &runtime.pubsub_output_limit } else { &runtime.output_limit };
    limit.is_exceeded(session.outbox.pending_len(), &mut session.above_soft_limit_since, now)
}

/// Whether the session has so much unsent output that it must not produce more.
fn is_paused(session: &Session, output_bytes: usize) -> bool {
    let pending = session.outbox.pending_len();
    pending > OUTPUT_PAUSE_BYTES
        || (output_bytes > OUTPUT_TOTAL_BYTES_MAX && pending > OUTPUT_SHARE_BYTES)
}

fn is_local(peer: SocketAddr, local: SocketAddr) -> bool {
    peer.ip().is_loopback() || peer.ip() == local.ip()
}

/// What a client from another host reads in protected mode.
const PROTECTED_MODE_ERROR: &[u8] = b"-DENIED Coney runs in protected mode: it has no password \
and refuses clients from other hosts. To let them in, set a password (requirepass), or turn the \
protection off (protected-mode no), in the configuration file, with --set, or with CONFIG SET \
from this host.\r\n";

#[cfg(test)]
mod tests;
