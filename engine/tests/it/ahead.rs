//! Collections whose elements are written before their entry.

use std::sync::Arc;

use coney_engine::hold::Built;
use coney_engine::{Client, Engine, Executor, JobDone, Park};
use coney_resp::OwnedArgs;
use tempfile::TempDir;

use crate::peer::{START, commit, execute, open, try_once};

pub(crate) struct Bench {
    _dir: TempDir,
    pub(crate) engine: Arc<Engine>,
    pub(crate) executor: Executor,
    pub(crate) client: Client,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let engine = open(&dir, 1);
        let executor = Executor::new(Arc::clone(&engine), 0);
        let mut bench = Self { _dir: dir, engine, executor, client: Client::new(1) };
        for first in (0..6000).step_by(500) {
            let members: Vec<String> = (first..first + 500).map(|at| format!("m{at}")).collect();
            bench.ask(&format!("SADD s {}", members.join(" ")));
        }
        commit(&mut bench.executor);
        bench
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        let args = OwnedArgs::from_parts(&line.split(' ').collect::<Vec<_>>());
        let (engine, executor) = (&self.engine, &mut self.executor);
        let done = execute(engine, executor, START, &mut self.client, args.as_args());
        String::from_utf8(done.reply).unwrap()
    }

    /// Executes a command on the pool, and leaves what it made there.
    pub(crate) fn build(&mut self, line: &str) -> Built {
        let args = OwnedArgs::from_parts(&line.split(' ').collect::<Vec<_>>());
        for _ in 0..9 {
            match try_once(&mut self.executor, START, &mut self.client, args.as_args(), 0) {
                Err(Park::Job(job)) => match self.engine.run(*job) {
                    JobDone::Built(built) => return *built,
                    JobDone::Fetched | JobDone::Replied(_) => {}
                },
                Err(Park::Latch | Park::Stall) => commit(&mut self.executor),
                other => panic!("{other:?}"),
            }
        }
        panic!("it does not come to be built")
    }

    pub(crate) fn dead(&self) -> u64 {
        let figures = self.engine.figures();
        figures.iter().find(|(name, _)| *name == "dead_versions").unwrap().1
    }

    pub(crate) fn reclaim(&self) {
        for _ in 0..3 {
            self.engine.reclaim(100).unwrap();
        }
    }
}

// What could break: elements that are taken for dead before their entry comes, and work that is left
// for the worker.
#[test]
fn the_worker_commits_the_entry_only() {
    let mut bench = Bench::new();
    let built = bench.build("SUNIONSTORE t s");
    assert_eq!(bench.dead(), 1, "nobody has named them yet");
    bench.reclaim();
    assert_eq!(bench.ask("EXISTS t"), ":0\r\n");
    bench.executor.deliver(built);
    assert_eq!(bench.ask("SUNIONSTORE t s"), ":6000\r\n");
    assert!(bench.executor.write_count() < 8, "{}", bench.executor.write_count());
    bench.reclaim();
    commit(&mut bench.executor);
    assert_eq!(bench.dead(), 0);
    bench.reclaim();
    assert_eq!(bench.ask("SINTERCARD 2 s t"), ":6000\r\n");
    bench.engine.check().unwrap();
    // Overwritten by a small one, and gone.
    bench.ask("SADD few a");
    assert_eq!(bench.ask("SUNIONSTORE t few"), ":1\r\n");
    commit(&mut bench.executor);
    assert_eq!(bench.dead(), 1);
    bench.reclaim();
    bench.engine.check().unwrap();
}

// What could break: elements that stay for good.
#[test]
fn elements_whose_entry_never_comes_are_removed() {
    let mut bench = Bench::new();
    let built = bench.build("SUNIONSTORE t s");
    // The client is gone.
    bench.executor.release(&mut bench.client);
    bench.executor.deliver(built);
    commit(&mut bench.executor);
    assert_eq!(bench.dead(), 1);
    bench.engine.check().unwrap();
    bench.reclaim();
    assert_eq!(bench.dead(), 0);
    bench.engine.check().unwrap();
    assert_eq!(bench.ask("EXISTS t"), ":0\r\n");
    assert_eq!(bench.ask("SADD t a"), ":1\r\n");
}

// What could break: a transaction that makes a collection and removes it, or a part of it, again.
#[test]
fn a_transaction_sees_what_it_made_and_leaves_what_it_left() {
    for (last, reply) in [("DEL t", ":1"), ("SREM t m1 m2", ":2"), ("SADD t x", ":1")] {
        let mut bench = Bench::new();
        for line in ["MULTI", "SUNIONSTORE t s", "SREM t m7", last, "SCARD t"] {
            bench.ask(line);
        }
        let replies = bench.ask("EXEC");
        assert!(replies.starts_with(&format!("*4\r\n:6000\r\n:1\r\n{reply}\r\n")), "{replies:?}");
        commit(&mut bench.executor);
        bench.engine.check().unwrap();
        bench.reclaim();
        bench.engine.check().unwrap();
        let count = match last {
            "DEL t" => 0,
            "SADD t x" => 6000,
            _ => 5997,
        };
        assert_eq!(bench.ask("SCARD t"), format!(":{count}\r\n"));
        assert_eq!(bench.ask("SISMEMBER t m7"), ":0\r\n");
    }
}

// What could break: a version that comes again, so that what a lost batch has left behind appears in
// the next collection of the same key, and takes that along when it is removed.
#[test]
fn what_a_lost_transaction_left_behind_is_no_part_of_the_next_collection() {
    let mut bench = Bench::new();
    // More records before the version than elements of it.
    let members: Vec<String> = (0..3900).map(|at| format!("m{at}")).collect();
    for line in ["MULTI", &format!("SREM s {}", members.join(" ")), "SUNIONSTORE t s"] {
        bench.ask(line);
    }
    let built = bench.build("EXEC");
    assert_eq!(bench.dead(), 1);
    bench.executor.release(&mut bench.client);
    bench.client = Client::new(2);
    bench.executor.deliver(built);
    // One of these would get the version of before.
    for round in 0..30 {
        let members: Vec<String> = (0..150).map(|at| format!("{at}:{round}:{:080}", 0)).collect();
        assert_eq!(bench.ask(&format!("SADD t {}", members.join(" "))), ":150\r\n");
        commit(&mut bench.executor);
        bench.engine.check().unwrap();
        assert_eq!(bench.ask("DEL t"), ":1\r\n");
        commit(&mut bench.executor);
    }
    bench.reclaim();
    assert_eq!(bench.ask("SCARD s"), ":6000\r\n");
    bench.engine.check().unwrap();
}
