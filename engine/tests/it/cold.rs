//! Keys that are only on the device: commands are parked until their blocks are in memory.

use std::sync::Arc;

use coney_engine::{Client, Engine, EngineConfig, Executor, JobDone, Park};
use coney_resp::OwnedArgs;
use tempfile::TempDir;

use crate::peer::{START, commit, execute, try_once};

const KEYS: usize = 2000;

fn open(dir: &TempDir) -> Arc<Engine> {
    let config = EngineConfig {
        block_cache_bytes: 4 << 20,
        write_buffer_bytes: 1 << 20,
        hot_cache_bytes: 1 << 20,
        ..EngineConfig::new(dir.path())
    };
    Arc::new(Engine::open(config).unwrap())
}

struct System {
    _dir: TempDir,
    engine: Arc<Engine>,
    executor: Executor,
    client: Client,
}

impl System {
    /// A database of tables on disk, with nothing in memory.
    fn cold() -> Self {
        let dir = TempDir::new().unwrap();
        let engine = open(&dir);
        let mut executor = Executor::new(Arc::clone(&engine), 0);
        let mut client = Client::new(1);
        let value = "v".repeat(500);
        for table in [0, 1] {
            client.database = table;
            for number in 0..KEYS {
                let args =
                    OwnedArgs::from_parts(&["SET", &format!("key:{table}:{number}"), &value]);
                execute(&engine, &mut executor, START, &mut client, args.as_args());
            }
        }
        commit(&mut executor);
        engine.flush().unwrap();
        drop(executor);
        drop(engine);
        let engine = open(&dir);
        let executor = Executor::new(Arc::clone(&engine), 0);
        Self { _dir: dir, engine, executor, client: Client::new(1) }
    }

    /// Executes; returns the reply and how many jobs it took.
    fn ask(&mut self, line: &str) -> (String, u32) {
        let words: Vec<&str> = line.split(' ').collect();
        let args = OwnedArgs::from_parts(&words);
        let mut attempt = 0;
        loop {
            let args = args.as_args();
            match try_once(&mut self.executor, START, &mut self.client, args, attempt) {
                Ok(done) => {
                    commit(&mut self.executor);
                    return (String::from_utf8(done.reply).unwrap(), attempt);
                }
                Err(Park::Job(job)) => {
                    assert!(matches!(self.engine.run(*job), JobDone::Fetched));
                    attempt += 1;
                }
                Err(park) => panic!("{line}: {park:?}"),
            }
        }
    }
}

#[test]
fn a_cold_key_costs_one_job_and_a_warm_one_none() {
    let mut system = System::cold();
    let (reply, jobs) = system.ask("STRLEN key:0:7");
    assert_eq!((reply.as_str(), jobs), (":500\r\n", 1));
    let (reply, jobs) = system.ask("STRLEN key:0:7");
    assert_eq!((reply.as_str(), jobs), (":500\r\n", 0));
    assert_eq!(system.executor.stats.blocking_reads, 0);
}

#[test]
fn commands_of_several_cold_keys_fetch_them_together() {
    let mut system = System::cold();
    let keys: Vec<String> = (0..100).map(|number| format!("key:0:{}", number * 13)).collect();
    let (reply, jobs) = system.ask(&format!("EXISTS {}", keys.join(" ")));
    assert_eq!((reply.as_str(), jobs), (":100\r\n", 1));
    let (reply, jobs) = system.ask(&format!("DEL {} missing", keys.join(" ")));
    assert_eq!((reply.as_str(), jobs), (":100\r\n", 0));
    let (reply, jobs) = system.ask("MSETNX key:0:1 a key:0:5 b new c");
    assert_eq!((reply.as_str(), jobs), (":0\r\n", 1));
}

#[test]
fn keys_of_another_table_are_fetched_too() {
    let mut system = System::cold();
    let (reply, jobs) = system.ask("COPY key:0:1 key:1:1 DB 1");
    assert_eq!(reply, ":0\r\n", "there is one");
    assert!(jobs <= 2, "{jobs}");
    let (reply, _) = system.ask("MOVE key:0:2 1");
    assert_eq!(reply, ":1\r\n");
    assert_eq!(system.executor.stats.blocking_reads, 0, "the worker never read the device");
}

#[test]
fn writes_that_depend_on_a_cold_value_wait_for_it() {
    let mut system = System::cold();
    let (reply, jobs) = system.ask("APPEND key:0:3 tail");
    assert_eq!((reply.as_str(), jobs), (":504\r\n", 1));
    let (reply, jobs) = system.ask("EXPIRE key:0:4 100");
    assert_eq!(reply, ":1\r\n");
    assert!(jobs <= 1);
    assert_eq!(system.engine.count(0).keys, i64::try_from(KEYS).unwrap());
    assert_eq!(system.engine.count(0).expires, 1);
}

#[test]
fn a_command_whose_keys_never_stay_in_memory_ends_all_the_same() {
    let mut system = System::cold();
    let args = OwnedArgs::from_parts(&["STRLEN", "key:0:9"]);
    // Three answers of the pool, and the blocks are gone again each time.
    let done = try_once(&mut system.executor, START, &mut system.client, args.as_args(), 3);
    assert_eq!(done.unwrap().reply, b":500\r\n");
    assert_eq!(system.executor.stats.blocking_reads, 1);
}
