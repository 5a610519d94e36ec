//! The admin thread answers commands that are about the server rather than about data: INFO,
//! CONFIG, CLIENT LIST and KILL, DEBUG, SAVE, SHUTDOWN, SLOWLOG.
//!
//! Such a command is parked by its worker, comes here through a bounded queue, and its reply goes
//! back as a message. This thread may ask workers and wait for their answers; workers never wait
//! for it. What takes long (writing memtables to disk) runs on a thread of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use coney_base::{Clock, Instant};
use coney_control::clients::ClientRow;
use coney_control::config::Config;
use coney_control::info::{ServerRow, Snapshot, WorkerRow};
use coney_control::latency::LatencyMonitor;
use coney_control::latest::Latest;
use coney_control::slowlog::{Entry, SlowLog};
use coney_engine::{Engine, StoreError};
use coney_resp::{OwnedArgs, Protocol, Reply};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::runtime::Runtime;
use crate::steering::Steering;
use crate::stop::Stopper;
use crate::sync::SyncHandle;
use crate::worker::inbox::{Message, WorkerHandle};
use crate::worker::session::{Session, SessionKey};

mod acl;
mod client;
mod config;
mod debug;
mod info;
mod observe;
mod save;

/// Commands that may wait for the admin thread; a worker tries again when there is no room.
const MESSAGES_MAX: usize = 1024;
const NOT_IN_TRANSACTION: &str = "ERR Command not allowed inside a transaction";
/// How long a worker may take to answer before it is left out.
const WORKER_PATIENCE: Duration = Duration::from_secs(2);
/// How long the page of metrics waits for the figures: there may be a queue, and workers that do not answer.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(5);
/// How often rates and the memory peak are sampled.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// A parked command for the admin thread.
#[derive(Debug)]
pub(crate) struct AdminRequest {
    worker: Arc<WorkerHandle>,
    session: SessionKey,
    args: OwnedArgs,
    protocol: Protocol,
    client: ClientRow,
}

impl AdminRequest {
    pub(crate) fn new(
        worker: &Arc<WorkerHandle>,
        session: &Session,
        args: OwnedArgs,
        now: Instant,
    ) -> Box<Self> {
        let mut client = session.row(worker.id, now);
        // It is not parked yet, but received.
        client.query_buffer_bytes += args.as_args().request_len();
        Box::new(Self {
            worker: Arc::clone(worker),
            session: session.key,
            args,
            protocol: session.client.protocol,
            client,
        })
    }

    fn args(&self) -> Vec<&[u8]> {
        self.args.as_args().iter().collect()
    }

    /// The reply that `write` writes.
    fn reply(&self, write: impl FnOnce(&mut Reply<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Reply::new(&mut out, self.protocol));
        out
    }

    fn answer(&self, reply: Vec<u8>, close: bool) {
        self.worker.send(Message::AdminDone { session: self.session, reply, close });
    }
}

/// What comes to the admin thread.
#[derive(Debug)]
pub(crate) enum AdminMessage {
    Command(Box<AdminRequest>),
    /// Commands of a transaction; the request is of EXEC.
    Queue(Box<AdminRequest>, Vec<OwnedArgs>),
    /// A command that took long.
    Slow(Box<Entry>),
    /// The same for LATENCY.
    Latency {
        event: &'static str,
        unix_secs: u64,
        millis: u64,
    },
    /// The page of metrics wants all figures.
    Snapshot(Sender<Box<Snapshot>>),
    /// Memtables were written to disk, or not; a client may wait for it.
    Saved {
        asked_by: Option<Box<AdminRequest>>,
        outcome: Result<(), StoreError>,
    },
    Stop,
}

/// The workers' side.
#[derive(Debug, Clone)]
pub(crate) struct AdminClient {
    messages: Sender<AdminMessage>,
    slow_dropped: Arc<AtomicU64>,
}

impl AdminClient {
    /// The workers' side and the thread's.
    pub(crate) fn new() -> (Self, Receiver<AdminMessage>) {
        let (messages, receiver) = bounded(MESSAGES_MAX);
        (Self { messages, slow_dropped: Arc::default() }, receiver)
    }

    /// Hands a command over; `false`: there is no room now.
    pub(crate) fn submit(&self, request: Box<AdminRequest>) -> bool {
        self.messages.try_send(AdminMessage::Command(request)).is_ok()
    }

    /// Hands over commands of a transaction; `false`: there is no room now.
    pub(crate) fn submit_queue(
        &self,
        request: Box<AdminRequest>,
        commands: Vec<OwnedArgs>,
    ) -> bool {
        self.messages.try_send(AdminMessage::Queue(request, commands)).is_ok()
    }

    /// Tells of a slow command; it is only counted if there is no room.
    pub(crate) fn note_slow(&self, entry: Entry) {
        if self.messages.try_send(AdminMessage::Slow(Box::new(entry))).is_err() {
            self.slow_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells LATENCY of something that took long; it is only counted if there is no room.
    pub(crate) fn note_latency(&self, event: &'static str, unix_secs: u64, millis: u64) {
        let message = AdminMessage::Latency { event, unix_secs, millis };
        if self.messages.try_send(message).is_err() {
            self.slow_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All figures of the server. Waits for the thread; `None`: it is too busy, or gone.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        let (sender, answer) = bounded(1);
        self.messages.try_send(AdminMessage::Snapshot(sender)).ok()?;
        answer.recv_timeout(SNAPSHOT_PATIENCE).ok().map(|snapshot| *snapshot)
    }

    /// Lets the thread end after what is queued.
    pub(crate) fn stop(&self) {
        // It may have ended already.
        self.messages.send(AdminMessage::Stop).ok();
    }
}

/// What becomes of a command.
enum Answer {
    Now(Vec<u8>),
    /// The connection ends after the reply.
    Close(Vec<u8>),
    Later(Instant, Vec<u8>),
    /// [`AdminMessage::Saved`] brings it.
    Saved,
}

/// What the admin thread is made of.
pub(crate) struct AdminParts {
    pub(crate) client: AdminClient,
    pub(crate) messages: Receiver<AdminMessage>,
    pub(crate) workers: Vec<Arc<WorkerHandle>>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) sync: Arc<SyncHandle>,
    pub(crate) config: Config,
    pub(crate) config_path: Option<PathBuf>,
    /// Why nothing can be made durable, if so.
    pub(crate) flush_problem: Option<&'static str>,
    pub(crate) server: ServerRow,
    pub(crate) steering: Option<Steering>,
    pub(crate) stopper: Stopper,
    pub(crate) clock: Clock,
}

/// See the module page.
struct Admin {
    parts: AdminParts,
    started: Instant,
    last_save_unix_secs: u64,
    save_failed: bool,
    /// The thread that writes memtables to disk now.
    saving: Option<JoinHandle<()>>,
    slowlog: SlowLog,
    latency: LatencyMonitor,
    peak_bytes: u64,
    commands: Latest,
    rx_bytes: Latest,
    tx_bytes: Latest,
    next_sample: Instant,
    /// Replies that are due later.
    later: Vec<(Instant, Box<AdminRequest>, Vec<u8>)>,
}

/// Starts the thread.
///
/// # Errors
/// The operating system has no threads left.
pub(crate) fn start(parts: AdminParts) -> Result<JoinHandle<()>, std::io::Error> {
    let now = parts.clock.now();
    let admin = Admin {
        started: now,
        last_save_unix_secs: parts.clock.unix_now().0 / 1000,
        save_failed: false,
        saving: None,
        slowlog: SlowLog::default(),
        latency: LatencyMonitor::default(),
        peak_bytes: 0,
        commands: Latest::default(),
        rx_bytes: Latest::default(),
        tx_bytes: Latest::default(),
        next_sample: now,
        later: Vec::new(),
        parts,
    };
    std::thread::Builder::new().name("coney-admin".to_owned()).spawn(move || admin.run())
}

impl Admin {
    fn run(mut self) {
        loop {
            let now = self.parts.clock.now();
            self.answer_due(now);
            if now >= self.next_sample {
                self.sample(now);
                self.next_sample = now + SAMPLE_INTERVAL;
            }
            let due = self.later.iter().map(|(at, ..)| *at).fold(self.next_sample, Instant::min);
            match self.parts.messages.recv_timeout(due.since(now)) {
                Ok(AdminMessage::Command(request)) => self.on_command(request),
                Ok(AdminMessage::Queue(request, commands)) => self.on_queue(*request, commands),
                Ok(AdminMessage::Slow(entry)) => {
                    self.slowlog.push(*entry, self.parts.config.slowlog_max_len);
                }
                Ok(AdminMessage::Latency { event, unix_secs, millis }) => {
                    self.latency.add(event, unix_secs, millis);
                }
                Ok(AdminMessage::Snapshot(asker)) => {
                    // Who asked may have lost patience.
                    asker.send(Box::new(self.snapshot())).ok();
                }
                Ok(AdminMessage::Saved { asked_by, outcome }) => self.on_saved(asked_by, outcome),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(AdminMessage::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Some(saving) = self.saving {
            saving.join().expect("the panic hook ends the process");
        }
    }

    fn answer_due(&mut self, now: Instant) {
        for (_, request, reply) in self.later.extract_if(.., |(at, ..)| *at <= now) {
            request.answer(reply, false);
        }
    }

    /// Samples rates while there is somebody who could cause them.
    fn sample(&mut self, now: Instant) {
        self.peak_bytes = self.peak_bytes.max(crate::host::memory().allocated);
        if self.parts.runtime.clients.load(Ordering::Relaxed) > 0 {
            let workers = self.reports();
            let sum = |field: fn(&WorkerRow) -> u64| workers.iter().map(field).sum();
            self.commands.sample(now, sum(|row| row.commands));
            self.rx_bytes.sample(now, sum(|row| row.rx_bytes));
            self.tx_bytes.sample(now, sum(|row| row.tx_bytes));
        }
    }

    fn on_command(&mut self, request: Box<AdminRequest>) {
        match self.execute(&request) {
            Answer::Now(reply) => request.answer(reply, false),
            Answer::Close(reply) => request.answer(reply, true),
            Answer::Later(at, reply) => self.later.push((at, request, reply)),
            Answer::Saved => {
                let (worker, session) = (Arc::clone(&request.worker), request.session);
                if !self.start_saving(Some(request)) {
                    let reply = save::NO_THREAD_REPLY.to_vec();
                    worker.send(Message::AdminDone { session, reply, close: false });
                }
            }
        }
    }

    fn on_queue(&mut self, mut request: AdminRequest, commands: Vec<OwnedArgs>) {
        let mut replies = Vec::with_capacity(commands.len());
        let mut close = false;
        for args in commands {
            request.args = args;
            let reply = match self.execute(&request) {
                Answer::Now(reply) | Answer::Later(_, reply) => reply,
                Answer::Close(reply) => {
                    close = true;
                    reply
                }
                // Commands that take so long are not queued in transactions.
                Answer::Saved => request.reply(|reply| reply.error(NOT_IN_TRANSACTION)),
            };
            replies.push(reply);
        }
        let session = request.session;
        request.worker.send(Message::AdminQueueDone { session, replies, close });
    }

    fn execute(&mut self, request: &AdminRequest) -> Answer {
        let args = request.args();
        let word = |at: usize| args.get(at).map(|arg| arg.to_ascii_lowercase()).unwrap_or_default();
        let rest = |first: usize| args.get(first..).unwrap_or_default();
        match (word(0).as_slice(), word(1).as_slice()) {
            (b"info", _) => self.info(request, rest(1)),
            (b"config", sub) => self.config(request, sub, rest(2)),
            (b"client", sub) => self.client(request, sub, rest(2)),
            (b"debug", sub) => self.debug(request, sub, rest(2)),
            (b"shutdown", _) => self.shutdown(request, rest(1)),
            (b"save", _) => self.save(request),
            (b"bgsave", _) => self.bgsave(request),
            (b"lastsave", _) => self.lastsave(request),
            (b"slowlog", sub) => self.slowlog(request, sub, rest(2)),
            (b"latency", sub) => self.latency(request, sub, rest(2)),
            (b"memory", sub) => self.memory(request, sub),
            (b"acl", sub) => self.acl(request, sub, rest(2)),
            (name, _) => {
                let name = String::from_utf8_lossy(name).into_owned();
                let text = format!("ERR coney's control plane does not know the command '{name}'");
                Answer::Now(request.reply(|reply| reply.error(&text)))
            }
        }
    }

    /// Asks every worker and waits for the answers.
    fn ask<T>(&self, question: impl Fn(Sender<T>) -> Message) -> Vec<T> {
        let (sender, answers) = bounded(self.parts.workers.len());
        for worker in &self.parts.workers {
            worker.send(question(sender.clone()));
        }
        drop(sender);
        // Ends when every worker has answered or is gone.
        std::iter::from_fn(|| answers.recv_timeout(WORKER_PATIENCE).ok()).collect()
    }

    fn reports(&self) -> Vec<WorkerRow> {
        let mut rows: Vec<WorkerRow> =
            self.ask(Message::Report).into_iter().map(|row| *row).collect();
        rows.sort_by_key(|row| row.id);
        rows
    }
}

/// A subcommand that the command table has and this file has not.
fn unknown(request: &AdminRequest, command: &str, sub: &[u8]) -> Answer {
    let sub = String::from_utf8_lossy(sub).into_owned();
    let text = format!(
        "ERR unknown subcommand or wrong number of arguments for '{sub}'. Try {command} HELP."
    );
    Answer::Now(request.reply(|reply| reply.error(&text)))
}

fn ok(request: &AdminRequest) -> Answer {
    Answer::Now(request.reply(|reply| reply.ok()))
}

fn error(request: &AdminRequest, text: &str) -> Answer {
    Answer::Now(request.reply(|reply| reply.error(text)))
}
