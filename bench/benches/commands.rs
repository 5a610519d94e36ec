//! The executor alone, command by command: parsed arguments in, reply and committed batch out, as in
//! a pipeline of 16 over 50 connections (800 commands an iteration). No sockets, no RESP parser.
//!
//! `cargo bench --workspace --bench commands -- [--fill N] [--commands N] [NAME...]` prints the
//! CPU time of a command. Under `valgrind --tool=callgrind --toggle-collect='*measured_iteration*'` the
//! number of instructions comes out (`bench/instructions`); `--list` lists the names. Whatever RocksDB does in the background
//! is in neither.

#![allow(clippy::print_stdout, reason = "the table is what the program is for")]

use std::sync::Arc;

use coney_bench::driver::{Driver, Random, thread_cpu_ns};
use coney_engine::{Engine, EngineConfig};
use coney_resp::OwnedArgs;

/// Commands of one iteration of a worker.
const BATCH: usize = 800;
/// Random numbers are below this.
const KEYS: u64 = 1_000_000;
const VALUE: &str = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";

/// A name, what the database is filled with, and what is measured. `RANDOM` stands for a random
/// number, `SMALL` for one that makes collections of ten elements, `VALUE` for 64 bytes.
const CASES: &[(&str, &str, &str)] = &[
    ("PING", "PING", "PING"),
    ("SET", "SET key:RANDOM VALUE", "SET key:RANDOM VALUE"),
    ("GET", "SET key:RANDOM VALUE", "GET key:RANDOM"),
    ("MSET", "SET key:RANDOM VALUE", MSET),
    ("INCR", "INCR counter:RANDOM", "INCR counter:RANDOM"),
    ("LPUSH", "LPUSH list VALUE", "LPUSH list VALUE"),
    ("RPUSH", "RPUSH list VALUE", "RPUSH list VALUE"),
    ("LPOP", "LPUSH list VALUE", "LPOP list"),
    ("RPOP", "LPUSH list VALUE", "RPOP list"),
    ("LRANGE_100", "LPUSH list VALUE", "LRANGE list 0 99"),
    ("LRANGE_600", "LPUSH list VALUE", "LRANGE list 0 599"),
    ("SADD", "SADD set element:RANDOM", "SADD set element:RANDOM"),
    ("SISMEMBER", "SADD set element:RANDOM", "SISMEMBER set element:RANDOM"),
    ("SPOP", "SADD set element:RANDOM", "SPOP set"),
    ("HSET", "HSET hash element:RANDOM VALUE", "HSET hash element:RANDOM VALUE"),
    ("HGET", "HSET hash element:RANDOM VALUE", "HGET hash element:RANDOM"),
    ("ZADD", "ZADD zset RANDOM element:RANDOM", "ZADD zset RANDOM element:RANDOM"),
    ("ZPOPMIN", "ZADD zset RANDOM element:RANDOM", "ZPOPMIN zset"),
    ("small SADD", "SADD set:SMALL RANDOM", "SADD set:SMALL RANDOM"),
    ("small HSET", "HSET hash:SMALL f:RANDOM v", "HSET hash:SMALL f:RANDOM v"),
    ("small HGET", "HSET hash:SMALL f1 v f2 v f3 v", "HGET hash:SMALL f2"),
    ("small ZADD", "ZADD zset:SMALL RANDOM m:RANDOM", "ZADD zset:SMALL RANDOM m:RANDOM"),
    ("small LPUSH", "LPUSH list:SMALL v", "LPUSH list:SMALL v"),
    ("small LPOP", "LPUSH list:SMALL v v", "LPOP list:SMALL"),
];

/// Ten keys, as redis-benchmark has it.
const MSET: &str = concat!(
    "MSET key:RANDOM VALUE key:RANDOM VALUE key:RANDOM VALUE key:RANDOM VALUE key:RANDOM VALUE ",
    "key:RANDOM VALUE key:RANDOM VALUE key:RANDOM VALUE key:RANDOM VALUE key:RANDOM VALUE"
);

struct Bench {
    driver: Driver,
    random: Random,
    small_below: u64,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(fill: usize) -> Self {
        let dir = tempfile::TempDir::new().expect("a directory for the database");
        let engine = Engine::open(EngineConfig::new(dir.path())).expect("an empty database opens");
        Self {
            driver: Driver::new(&Arc::new(engine), 0),
            random: Random(1),
            small_below: fill as u64 / 10 + 1,
            _dir: dir,
        }
    }

    fn commands(&mut self, template: &str) -> Vec<OwnedArgs> {
        let mut one = || {
            let words = template.split(' ').map(|word| {
                if word == "VALUE" {
                    return VALUE.to_owned();
                }
                let random = format!("{:012}", self.random.below(KEYS));
                let small = self.random.below(self.small_below).to_string();
                word.replace("RANDOM", &random).replace("SMALL", &small)
            });
            OwnedArgs::from_parts(&words.collect::<Vec<String>>())
        };
        (0..BATCH).map(|_| one()).collect()
    }

    #[inline(never)]
    fn measured_iteration(&mut self, commands: &[OwnedArgs]) {
        self.driver.iteration(commands);
    }
}

fn main() {
    let (mut fill, mut measured, mut names) = (300_000, 200_000, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse().ok()).expect("a number");
        match arg.as_str() {
            "--fill" => fill = number(),
            "--commands" => measured = number(),
            "--bench" => {}
            "--list" => return CASES.iter().for_each(|(name, ..)| println!("{name}")),
            _ => names.push(arg),
        }
    }
    for (name, filling, command) in CASES {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        let mut bench = Bench::new(fill);
        for _ in 0..fill.div_ceil(BATCH) {
            let commands = bench.commands(filling);
            bench.driver.iteration(&commands);
        }
        let batches = measured.div_ceil(BATCH).max(1);
        let mut nanoseconds = 0;
        for _ in 0..batches {
            let commands = bench.commands(command);
            let start = thread_cpu_ns();
            bench.measured_iteration(&commands);
            nanoseconds += thread_cpu_ns() - start;
        }
        let each = nanoseconds / (batches * BATCH) as u64;
        println!("{name:14} {each:7} ns a command, {} commands", batches * BATCH);
    }
}
