//! Whether a worker's caches ever show what is no longer so. Two workers change and read few keys in
//! random turns, with deadlines, transactions, FLUSHDB and RENAME between; what they read then is held
//! to what a worker without any cache reads.

use std::sync::Arc;

use coney_base::UnixMillis;
use coney_engine::{Client, Engine, Executor};
use coney_resp::OwnedArgs;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::peer::{START, commit, execute, open, try_once};

/// The workers with caches; the one without has the next number.
const WORKERS: usize = 2;

/// Reads that show all of every key, from caches where they can.
const READS: &[&str] = &[
    "GET s0",
    "MGET s0 s1 s2",
    "TTL s0",
    "HMGET h0 a b c d",
    "HLEN h0",
    "HGETALL h1",
    "LRANGE l0 0 -1",
    "LINDEX l1 -1",
    "LLEN l1",
    "SMISMEMBER t0 a b c d",
    "SCARD t1",
    "ZMSCORE z0 a b c d",
    "ZRANGE z0 0 -1 WITHSCORES",
    "ZSCORE z1 a",
    "EXISTS s0 s1 s2 h0 h1 l0 l1 t0 t1 z0 z1",
    "DBSIZE",
];

#[derive(Debug, Clone)]
enum Op {
    /// Commands of a worker, one after the other.
    Commands(usize, Vec<String>),
    /// A worker reads everything, so that it has it cached.
    Read(usize),
    Commit(usize),
    /// Time passes, in milliseconds.
    Advance(u64),
    /// Everybody commits, and all reads are compared.
    Compare,
}

struct Worker {
    executor: Executor,
    client: Client,
}

impl Worker {
    fn new(engine: &Arc<Engine>, id: usize) -> Self {
        Self { executor: Executor::new(Arc::clone(engine), id), client: Client::new(id as u64 + 1) }
    }

    fn try_ask(&mut self, now: UnixMillis, line: &str) -> Option<Vec<u8>> {
        let args = OwnedArgs::from_parts(&line.split(' ').collect::<Vec<_>>());
        try_once(&mut self.executor, now, &mut self.client, args.as_args(), 0)
            .ok()
            .map(|done| done.reply)
    }

    fn ask(&mut self, engine: &Arc<Engine>, now: UnixMillis, line: &str) -> Vec<u8> {
        let args = OwnedArgs::from_parts(&line.split(' ').collect::<Vec<_>>());
        execute(engine, &mut self.executor, now, &mut self.client, args.as_args()).reply
    }
}

struct World {
    engine: Arc<Engine>,
    workers: Vec<Worker>,
    now: UnixMillis,
    _dir: TempDir,
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let engine = open(&dir, WORKERS + 1);
        // Some elements lie for themselves, where members, chunks and pages are cached.
        for limit in ["hash", "set", "zset"] {
            let name = format!("{limit}-max-listpack-entries");
            engine.encoding_limits().set(&name, 2).unwrap();
        }
        engine.encoding_limits().set("list-max-listpack-size", 2).unwrap();
        let workers = (0..WORKERS).map(|id| Worker::new(&engine, id)).collect();
        Self { engine, workers, now: START, _dir: dir }
    }

    fn commit_all(&mut self) {
        self.workers.iter_mut().for_each(|worker| commit(&mut worker.executor));
    }

    /// Executes a command; the others commit if it waits for them.
    fn ask(&mut self, worker: usize, line: &str) -> Vec<u8> {
        if let Some(reply) = self.workers[worker].try_ask(self.now, line) {
            return reply;
        }
        self.commit_all();
        self.workers[worker].ask(&self.engine, self.now, line)
    }

    fn compare(&mut self) {
        self.commit_all();
        let mut without_cache = Worker::new(&self.engine, WORKERS);
        for line in READS {
            let right = without_cache.ask(&self.engine, self.now, line);
            for worker in 0..WORKERS {
                let found = self.workers[worker].ask(&self.engine, self.now, line);
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                assert_eq!(text(&found), text(&right), "worker {worker}: {line}");
            }
        }
    }
}

fn command() -> impl Strategy<Value = String> {
    let lines: &[&str] = &[
        "SET s0 @",
        "SET s1 @ PX 50",
        "APPEND s0 @",
        "INCR s2",
        "DEL s0",
        "GETEX s0 PX 20",
        "PERSIST s1",
        "MSET s0 @ s1 @",
        "RENAME s0 s1",
        "HSET h0 a @ b @ c @",
        "HSET h0 d @",
        "HSET h1 a @",
        "HDEL h0 b",
        "HINCRBY h1 b 1",
        "DEL h0",
        "RPUSH l0 @ @",
        "LPUSH l1 @",
        "LPOP l0",
        "RPOPLPUSH l0 l1",
        "LSET l0 0 @",
        "SADD t0 a b c",
        "SREM t0 a",
        "SADD t1 @",
        "SMOVE t0 t1 b",
        "ZADD z0 @ a 2 b 3 c",
        "ZINCRBY z0 1 a",
        "ZREM z0 b",
        "ZADD z1 @ a",
        "RENAME h0 h1",
        "PEXPIRE h0 30",
        "PEXPIRE z0 30",
        "COPY s0 s2 REPLACE",
        "FLUSHDB",
    ];
    (prop::sample::select(lines), 0..100_u32)
        .prop_map(|(line, n)| line.replace('@', &n.to_string()))
}

fn op() -> impl Strategy<Value = Op> {
    let worker = 0..WORKERS;
    let transaction =
        (worker.clone(), prop::collection::vec(command(), 1..4)).prop_map(|(worker, mut lines)| {
            lines.insert(0, "MULTI".to_owned());
            lines.push("EXEC".to_owned());
            Op::Commands(worker, lines)
        });
    prop_oneof![
        8 => (worker.clone(), command()).prop_map(|(worker, line)| Op::Commands(worker, vec![line])),
        2 => transaction,
        3 => worker.clone().prop_map(Op::Read),
        3 => worker.prop_map(Op::Commit),
        1 => (1..60_u64).prop_map(Op::Advance),
        2 => Just(Op::Compare),
    ]
}

fn run(ops: Vec<Op>) {
    let mut world = World::new();
    for op in ops {
        match op {
            Op::Commands(worker, lines) => {
                for line in lines {
                    world.ask(worker, &line);
                }
            }
            Op::Read(worker) => {
                for line in READS {
                    world.ask(worker, line);
                }
            }
            Op::Commit(worker) => commit(&mut world.workers[worker].executor),
            Op::Advance(millis) => world.now = UnixMillis(world.now.0 + millis),
            Op::Compare => world.compare(),
        }
    }
    world.compare();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn caches_of_several_workers_are_never_stale(ops in prop::collection::vec(op(), 1..120)) {
        run(ops);
    }
}
