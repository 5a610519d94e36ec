//! What a server does around the engine, without threads, sockets and clocks.

use std::collections::BTreeMap;
use std::sync::Arc;

use coney_base::UnixMillis;
use coney_conversation::Peer;
use coney_engine::{
    Client, CommitOutcome, Engine, EngineConfig, Executor, JobDone, Memtable, Outcome, Park,
};
use coney_resp::{Args, Limits, OwnedArgs, Parser, Reply, Scratch, Step};
use tempfile::TempDir;

/// Where every clock starts: 2024-01-01.
pub(crate) const START: UnixMillis = UnixMillis(1_704_067_200_000);

/// Rounds after which a command that still waits is stuck.
const ROUNDS_MAX: usize = 64;

/// A small engine for `workers` workers.
pub(crate) fn open(dir: &TempDir, workers: usize) -> Arc<Engine> {
    open_with(dir, workers, Memtable::default())
}

/// The same with a certain memtable.
pub(crate) fn open_with(dir: &TempDir, workers: usize, memtable: Memtable) -> Arc<Engine> {
    let config = EngineConfig { workers, memtable, ..small(dir) };
    Arc::new(Engine::open(config).unwrap())
}

/// Settings of a small engine.
pub(crate) fn small(dir: &TempDir) -> EngineConfig {
    EngineConfig {
        block_cache_bytes: 8 << 20,
        write_buffer_bytes: 1 << 20,
        hot_cache_bytes: 1 << 20,
        ..EngineConfig::new(dir.path())
    }
}

/// The reply of one command, and what it did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) reply: Vec<u8>,
    pub(crate) closes: bool,
}

/// Tries a command once; the reply if it ended.
pub(crate) fn try_once(
    executor: &mut Executor,
    now: UnixMillis,
    client: &mut Client,
    args: Args<'_>,
    attempt: u32,
) -> Result<Done, Park> {
    let mut bytes = Vec::new();
    let mut reply = Reply::new(&mut bytes, client.protocol);
    let outcome = executor.execute(now, client, args, &mut reply, attempt);
    match outcome {
        Outcome::Done => Ok(Done { reply: bytes, closes: false }),
        Outcome::Close => Ok(Done { reply: bytes, closes: true }),
        Outcome::Park(park) => {
            assert!(bytes.is_empty(), "a parked command wrote a reply: {args:?}");
            Err(park)
        }
    }
}

/// Executes a command to its end, committing when it has to wait. One that waits for elements ends
/// without them.
pub(crate) fn execute(
    engine: &Arc<Engine>,
    executor: &mut Executor,
    now: UnixMillis,
    client: &mut Client,
    args: Args<'_>,
) -> Done {
    match execute_or_wait(engine, executor, now, client, args) {
        Ok(done) => done,
        // Nobody else is there who could add something.
        Err(_timeout) => give_up(executor, now, client, args),
    }
}

/// Ends a command that waits for elements.
fn give_up(executor: &mut Executor, now: UnixMillis, client: &mut Client, args: Args<'_>) -> Done {
    let mut out = Vec::new();
    let protocol = client.protocol;
    executor.give_up(now, client, args, &mut Reply::new(&mut out, protocol));
    Done { reply: out, closes: false }
}

/// Executes a command, committing when it has to wait; for how many milliseconds it waits if it waits
/// for elements.
fn execute_or_wait(
    engine: &Arc<Engine>,
    executor: &mut Executor,
    now: UnixMillis,
    client: &mut Client,
    args: Args<'_>,
) -> Result<Done, u64> {
    let mut attempt = 0;
    for _ in 0..ROUNDS_MAX {
        match try_once(executor, now, client, args, attempt) {
            Ok(done) => {
                if executor.wants_commit() {
                    commit(executor);
                }
                return Ok(done);
            }
            Err(Park::Latch | Park::Stall) => commit(executor),
            Err(Park::Job(job)) => {
                attempt += 1;
                match engine.run(*job) {
                    JobDone::Fetched => {}
                    JobDone::Built(built) => executor.deliver(*built),
                    JobDone::Replied(mut reply) => {
                        if !client.take_reply_permission() {
                            reply.clear();
                        }
                        return Ok(Done { reply, closes: false });
                    }
                }
            }
            Err(Park::Wait { timeout_ms }) => return Err(timeout_ms),
            Err(Park::Paused) => panic!("nobody ends the pause"),
            Err(Park::AdminQueue(commands)) => {
                let replies = commands.iter().map(|_| b"-ERR no control plane\r\n".to_vec());
                client.take_answers(replies.collect());
            }
            Err(Park::Admin) => {
                return Ok(Done { reply: b"-ERR no control plane\r\n".to_vec(), closes: false });
            }
        }
    }
    panic!("stuck: {args:?}");
}

/// Commits, and waits for stalls to end.
pub(crate) fn commit(executor: &mut Executor) {
    // As a worker does: a command that waits for a commit although there is nothing to commit hangs.
    while executor.has_writes() {
        match executor.commit() {
            CommitOutcome::Nothing | CommitOutcome::Committed { .. } => return,
            CommitOutcome::Stalled => std::thread::yield_now(),
            CommitOutcome::Failed(error) => panic!("{error}"),
        }
    }
}

/// One worker and its clients: what conversations are held with, and short tests too.
pub(crate) struct EnginePeer {
    pub(crate) engine: Arc<Engine>,
    pub(crate) executor: Executor,
    pub(crate) now: UnixMillis,
    clients: BTreeMap<String, Session>,
    next_id: u64,
    scratch: Scratch,
    /// Memtables are written to tables after each so many commands.
    flush_every: Option<u64>,
    executed: u64,
    _dir: TempDir,
}

struct Session {
    client: Client,
    parser: Parser,
    input: Vec<u8>,
    output: Vec<u8>,
    is_closed: bool,
    /// Its command that waits for elements, and until when.
    waiting: Option<(OwnedArgs, Option<UnixMillis>)>,
}

impl EnginePeer {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let engine = open(&dir, 1);
        Self::over(engine, dir)
    }

    /// One over tables on disk: memtables are flushed after each `flush_every` commands.
    pub(crate) fn flushing(config: EngineConfig, dir: TempDir, flush_every: u64) -> Self {
        let engine = Arc::new(Engine::open(config).unwrap());
        Self { flush_every: Some(flush_every), ..Self::over(engine, dir) }
    }

    fn over(engine: Arc<Engine>, dir: TempDir) -> Self {
        let executor = Executor::new(Arc::clone(&engine), 0);
        Self {
            engine,
            executor,
            now: START,
            clients: BTreeMap::new(),
            next_id: 1,
            scratch: Scratch::default(),
            flush_every: None,
            executed: 0,
            _dir: dir,
        }
    }

    fn session(&mut self, name: &str) -> &mut Session {
        self.clients.entry(name.to_owned()).or_insert_with(|| {
            let mut client = Client::new(self.next_id);
            client.addr = Some(([127, 0, 0, 1], 1000).into());
            self.executor.admit(&client);
            self.next_id += 1;
            Session {
                client,
                parser: Parser::default(),
                input: Vec::new(),
                output: Vec::new(),
                is_closed: false,
                waiting: None,
            }
        })
    }

    /// One command of a client named `A`, written as one line, and its reply in RESP.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        String::from_utf8(self.ask_words(&words)).unwrap()
    }

    /// The same for words of any bytes.
    pub(crate) fn ask_words(&mut self, words: &[impl AsRef<[u8]>]) -> Vec<u8> {
        let args = OwnedArgs::from_parts(words);
        self.session("A");
        let session = self.clients.get_mut("A").unwrap();
        let done = execute(
            &self.engine,
            &mut self.executor,
            self.now,
            &mut session.client,
            args.as_args(),
        );
        done.reply
    }

    fn process(&mut self, name: &str) {
        self.process_input(name);
        self.settle();
        self.executed += 1;
        if self.flush_every.is_some_and(|count| self.executed.is_multiple_of(count)) {
            self.engine.flush().unwrap();
        }
    }

    fn process_input(&mut self, name: &str) {
        let session = self.clients.get_mut(name).unwrap();
        let limits = Limits { bulk_len_max: 512 << 20, authenticated: true };
        let input = std::mem::take(&mut session.input);
        let mut at = 0;
        while !session.is_closed && session.waiting.is_none() {
            match session.parser.next(&input[at..], limits, &mut self.scratch) {
                Ok(Step::Command { consumed }) => {
                    let args = self.scratch.args(&input[at..]);
                    let executor = &mut self.executor;
                    let client = &mut session.client;
                    match execute_or_wait(&self.engine, executor, self.now, client, args) {
                        Ok(done) => {
                            session.output.extend_from_slice(&done.reply);
                            session.is_closed = done.closes;
                        }
                        Err(timeout_ms) => {
                            let until =
                                (timeout_ms > 0).then(|| UnixMillis(self.now.0 + timeout_ms));
                            session.waiting = Some((args.to_owned(), until));
                        }
                    }
                    at += consumed;
                }
                Ok(Step::Nothing { consumed }) => at += consumed,
                Ok(Step::Incomplete) => break,
                Err(error) => {
                    session
                        .output
                        .extend_from_slice(format!("-ERR Protocol error: {error}\r\n").as_bytes());
                    session.is_closed = true;
                }
            }
        }
        session.input = input[at..].to_vec();
    }

    /// Commits, and executes the commands again whose clients are called, until nobody is.
    pub(crate) fn settle(&mut self) {
        loop {
            commit(&mut self.executor);
            self.deliver();
            let called = self.executor.take_called();
            if called.is_empty() {
                return;
            }
            for id in called {
                let session = self.clients.iter_mut().find(|(_, it)| it.client.id == id);
                let Some((name, session)) = session else { continue };
                let Some((args, until)) = session.waiting.take() else { continue };
                let (executor, client) = (&mut self.executor, &mut session.client);
                match execute_or_wait(&self.engine, executor, self.now, client, args.as_args()) {
                    Ok(done) => {
                        session.output.extend_from_slice(&done.reply);
                        let name = name.clone();
                        self.process_input(&name);
                    }
                    Err(_timeout) => session.waiting = Some((args, until)),
                }
            }
        }
    }

    /// Ends the commands whose time is over, the first ones first.
    fn time_out(&mut self) {
        loop {
            let over = |it: &Session| it.waiting.as_ref().and_then(|(_, until)| *until);
            let first = self
                .clients
                .iter()
                .filter_map(|(name, it)| Some((over(it)?, name.clone())))
                .min()
                .filter(|(until, _)| *until <= self.now);
            let Some((_, name)) = first else { return };
            let session = self.clients.get_mut(&name).unwrap();
            let (args, _) = session.waiting.take().unwrap();
            let (executor, client) = (&mut self.executor, &mut session.client);
            let done = give_up(executor, self.now, client, args.as_args());
            session.output.extend_from_slice(&done.reply);
            self.process(&name);
        }
    }

    /// What a client has received since the last look.
    pub(crate) fn received(&mut self, name: &str) -> Vec<u8> {
        std::mem::take(&mut self.session(name).output)
    }

    /// Appends published messages to what their receivers read.
    fn deliver(&mut self) {
        self.executor.hand_on_mail();
        while self.executor.has_mail() {
            for mail in self.executor.take_mail() {
                self.executor.each_reader(&mail, &mut |id, letter| {
                    let session = self.clients.values_mut().find(|session| session.client.id == id);
                    if let Some(session) = session {
                        letter.write(&mut session.client, &mut session.output);
                    }
                });
            }
        }
    }
}

impl Peer for EnginePeer {
    fn reset(&mut self) -> Result<(), String> {
        for session in self.clients.values_mut() {
            self.executor.release(&mut session.client);
        }
        self.clients.clear();
        let reply = self.ask("FLUSHALL");
        self.clients.clear();
        if reply == "+OK\r\n" { Ok(()) } else { Err(reply) }
    }

    fn send(&mut self, client: &str, bytes: &[u8]) -> Result<(), String> {
        self.session(client).input.extend_from_slice(bytes);
        self.process(client);
        Ok(())
    }

    fn receive(&mut self, client: &str, received: &mut Vec<u8>) -> Result<bool, String> {
        let until = self.session(client).waiting.as_ref().and_then(|(_, until)| *until);
        if let Some(until) = until.filter(|_| self.session(client).output.is_empty()) {
            // Nothing else happens while somebody waits for its reply.
            self.now = self.now.max(until);
            self.time_out();
        }
        let session = self.session(client);
        if session.output.is_empty() {
            return if session.is_closed { Ok(false) } else { Err("no reply".to_owned()) };
        }
        received.append(&mut session.output);
        Ok(true)
    }

    fn advance(&mut self, millis: u64) -> bool {
        self.now = UnixMillis(self.now.0 + millis);
        let due = self.engine.due(self.now, 1000).unwrap();
        self.executor.expire(self.now, &due);
        self.settle();
        self.time_out();
        true
    }
}

/// One of several workers on an engine, with one client.
pub(crate) struct Worker {
    pub(crate) engine: Arc<Engine>,
    pub(crate) executor: Executor,
    pub(crate) client: Client,
}

impl Worker {
    pub(crate) fn new(engine: &Arc<Engine>, id: usize) -> Self {
        let executor = Executor::new(Arc::clone(engine), id);
        Self { engine: Arc::clone(engine), executor, client: Client::new(id as u64 + 1) }
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.ask_at(START, line)
    }

    pub(crate) fn ask_at(&mut self, now: UnixMillis, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let args = OwnedArgs::from_parts(&words);
        let done = execute(&self.engine, &mut self.executor, now, &mut self.client, args.as_args());
        String::from_utf8(done.reply).unwrap()
    }

    /// Asks several, without their replies.
    pub(crate) fn say(&mut self, lines: &[&str]) {
        for line in lines {
            self.ask(line);
        }
    }

    pub(crate) fn try_ask(&mut self, line: &str) -> Result<String, Park> {
        let words: Vec<&str> = line.split(' ').collect();
        let args = OwnedArgs::from_parts(&words);
        try_once(&mut self.executor, START, &mut self.client, args.as_args(), 0)
            .map(|done| String::from_utf8(done.reply).unwrap())
    }

    pub(crate) fn commit(&mut self) {
        commit(&mut self.executor);
    }
}

pub(crate) fn two_workers() -> (TempDir, Worker, Worker) {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir, 2);
    let (a, b) = (Worker::new(&engine, 0), Worker::new(&engine, 1));
    (dir, a, b)
}
