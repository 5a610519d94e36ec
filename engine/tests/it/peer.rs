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
    let config = EngineConfig {
        workers,
        memtable,
        block_cache_bytes: 8 << 20,
        write_buffer_bytes: 1 << 20,
        hot_cache_bytes: 1 << 20,
        ..EngineConfig::new(dir.path())
    };
    Arc::new(Engine::open(config).unwrap())
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

/// Executes a command to its end, committing when it has to wait.
pub(crate) fn execute(
    engine: &Arc<Engine>,
    executor: &mut Executor,
    now: UnixMillis,
    client: &mut Client,
    args: Args<'_>,
) -> Done {
    let mut attempt = 0;
    for _ in 0..ROUNDS_MAX {
        match try_once(executor, now, client, args, attempt) {
            Ok(done) => {
                if executor.wants_commit() {
                    commit(executor);
                }
                return done;
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
                        return Done { reply, closes: false };
                    }
                }
            }
            Err(Park::Wait { .. }) => {
                // Nobody else is there who could add something.
                let mut out = Vec::new();
                let protocol = client.protocol;
                executor.give_up(now, client, args, &mut Reply::new(&mut out, protocol));
                return Done { reply: out, closes: false };
            }
            Err(Park::Paused) => panic!("nobody ends the pause"),
            Err(Park::Admin) => {
                return Done { reply: b"-ERR no control plane\r\n".to_vec(), closes: false };
            }
        }
    }
    panic!("stuck: {args:?}");
}

/// Commits, and waits for stalls to end.
pub(crate) fn commit(executor: &mut Executor) {
    loop {
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
    _dir: TempDir,
}

struct Session {
    client: Client,
    parser: Parser,
    input: Vec<u8>,
    output: Vec<u8>,
    is_closed: bool,
}

impl EnginePeer {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let engine = open(&dir, 1);
        let executor = Executor::new(Arc::clone(&engine), 0);
        Self {
            engine,
            executor,
            now: START,
            clients: BTreeMap::new(),
            next_id: 1,
            scratch: Scratch::default(),
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
        let session = self.clients.get_mut(name).unwrap();
        let limits = Limits { bulk_len_max: 512 << 20, authenticated: true };
        let input = std::mem::take(&mut session.input);
        let mut at = 0;
        while !session.is_closed {
            match session.parser.next(&input[at..], limits, &mut self.scratch) {
                Ok(Step::Command { consumed }) => {
                    let args = self.scratch.args(&input[at..]);
                    let done = execute(
                        &self.engine,
                        &mut self.executor,
                        self.now,
                        &mut session.client,
                        args,
                    );
                    session.output.extend_from_slice(&done.reply);
                    session.is_closed = done.closes;
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
        commit(&mut self.executor);
        self.deliver();
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
        commit(&mut self.executor);
        true
    }
}
