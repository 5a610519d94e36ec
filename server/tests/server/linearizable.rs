//! Whether concurrent commands on several workers have an order in which each of them replies what it
//! did: between its beginning and its end, as if it were alone. What could break: a read from a stale
//! cache, a write that is lost between two workers, one of several keys that is seen before the others.
//!
//! Clients record when each command began, what it replied and when. [`explain`] looks for an order
//! (Wing and Gong, "Testing and verifying concurrent objects", 1993, with the memory of Lowe, 2017).
//! Keys that no command touches together are looked at apart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;
use std::thread;

use coney_base::{Clock, Instant};
use coney_conversation::Value;

use crate::support::{Client, Server};

/// A command and its reply.
#[derive(Debug, Clone)]
struct Call {
    begin: Instant,
    end: Instant,
    words: Vec<String>,
    reply: String,
}

/// What keys hold: text, or the elements of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct State(BTreeMap<String, Vec<String>>);

impl State {
    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.first().map(String::as_str)
    }

    fn set(&mut self, key: &str, text: &str) {
        self.0.insert(key.to_owned(), vec![text.to_owned()]);
    }

    fn add(&mut self, key: &str, by: i64) -> i64 {
        let sum = self.text(key).map_or(0, |text| text.parse::<i64>().unwrap()) + by;
        self.set(key, &sum.to_string());
        sum
    }

    fn show(&self, key: &str) -> String {
        self.text(key).map_or_else(|| "nil".to_owned(), |text| format!("\"{text}\""))
    }

    /// Executes a command: its reply in the notation of conversations.
    fn execute(&mut self, words: &[String]) -> String {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match *words {
            ["SET", key, value] => {
                self.set(key, value);
                "+OK".to_owned()
            }
            ["GET", key] => self.show(key),
            ["GETSET", key, value] => {
                let old = self.show(key);
                self.set(key, value);
                old
            }
            ["INCRBY", key, by] => format!(":{}", self.add(key, by.parse().unwrap())),
            ["DEL", key] => format!(":{}", u8::from(self.0.remove(key).is_some())),
            ["RPUSH", key, value] => {
                let list = self.0.entry(key.to_owned()).or_default();
                list.push(value.to_owned());
                format!(":{}", list.len())
            }
            ["LPOP", key] => {
                let reply = self.show(key);
                if let Some(list) = self.0.get_mut(key) {
                    list.remove(0);
                }
                self.0.retain(|_, list| !list.is_empty());
                reply
            }
            ["LLEN", key] => format!(":{}", self.0.get(key).map_or(0, Vec::len)),
            ["MSET", a, x, b, y] => {
                self.set(a, x);
                self.set(b, y);
                "+OK".to_owned()
            }
            ["MGET", a, b] => format!("*2 {} {}", self.show(a), self.show(b)),
            // MULTI, INCRBY from -by, INCRBY to by, EXEC.
            ["MOVE", from, to, by] => {
                let by: i64 = by.parse().unwrap();
                let (from, to) = (self.add(from, -by), self.add(to, by));
                format!("*2 :{from} :{to}")
            }
            _ => panic!("not in the model: {words:?}"),
        }
    }
}

/// An order of the calls' numbers that explains all replies, if there is one.
fn explain(calls: &[Call]) -> Option<Vec<usize>> {
    let words = calls.len().div_ceil(64);
    let mut tried: BTreeSet<(Vec<u64>, State)> = BTreeSet::new();
    // What was chosen so far, the state then, and the candidates that are left.
    let mut stack: Vec<(State, Vec<usize>)> = Vec::new();
    let mut order: Vec<usize> = Vec::new();
    let mut done = vec![0_u64; words];
    let is_done = |done: &[u64], call: usize| done[call / 64] >> (call % 64) & 1 == 1;
    let candidates = |done: &[u64]| -> Vec<usize> {
        let open = || (0..calls.len()).filter(|call| !is_done(done, *call));
        // None may come behind one that begins after its end.
        let first_end = open().map(|call| calls[call].end).min();
        open().filter(|call| first_end.is_some_and(|end| calls[*call].begin <= end)).collect()
    };
    stack.push((State::default(), candidates(&done)));
    while order.len() < calls.len() {
        let (state, open) = stack.last_mut()?;
        let Some(call) = open.pop() else {
            stack.pop();
            let last = order.pop()?;
            done[last / 64] &= !(1 << (last % 64));
            continue;
        };
        let mut after = state.clone();
        if after.execute(&calls[call].words) != calls[call].reply {
            continue;
        }
        done[call / 64] |= 1 << (call % 64);
        if tried.insert((done.clone(), after.clone())) {
            order.push(call);
            let next = candidates(&done);
            stack.push((after, next));
        } else {
            done[call / 64] &= !(1 << (call % 64));
        }
    }
    Some(order)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A command on one of three objects: a key with a text, a key with a list, two keys with numbers.
fn command(random: &mut Random, unique: u64) -> (usize, Vec<String>) {
    let unique = unique.to_string();
    let (object, line) = match random.below(14) {
        0 => (0, format!("SET r {unique}")),
        1 => (0, format!("GETSET r {unique}")),
        2 | 3 => (0, "GET r".to_owned()),
        4 => (0, "DEL r".to_owned()),
        5 => (0, "INCRBY r 1".to_owned()),
        6 => (1, format!("RPUSH q {unique}")),
        7 => (1, "LPOP q".to_owned()),
        8 => (1, "LLEN q".to_owned()),
        9 => (2, format!("MSET a {unique} b {unique}")),
        10 | 11 => (2, "MGET a b".to_owned()),
        12 => (2, format!("MOVE a b {}", 1 + random.below(9))),
        _ => (2, format!("INCRBY {} 1", if random.below(2) == 0 { "a" } else { "b" })),
    };
    (object, line.split(' ').map(str::to_owned).collect())
}

fn perform(client: &mut Client, words: &[String]) -> String {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let encode = |line: &str| {
        let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        coney_conversation::script::encode(&words)
    };
    let ["MOVE", from, to, by] = *words else {
        client.send(&encode(&words.join(" ")));
        return client.reply().map_or_else(|| "closed".to_owned(), |reply| reply.to_string());
    };
    let lines = ["MULTI", &format!("INCRBY {from} -{by}"), &format!("INCRBY {to} {by}"), "EXEC"];
    client.send(&lines.map(encode).concat());
    let replies: Vec<Option<Value>> = (0..4).map(|_| client.reply()).collect();
    replies[3].as_ref().map_or_else(|| "closed".to_owned(), ToString::to_string)
}

const CLIENTS: usize = 6;
const CALLS: usize = 70;

/// What clients saw of a server, object by object.
fn record(server: &Server, seed: u64) -> [Vec<Call>; 3] {
    let clock = Clock::new();
    let barrier = Barrier::new(CLIENTS);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    let mut all: [Vec<Call>; 3] = Default::default();
    let calls: Vec<Vec<(usize, Call)>> = thread::scope(|scope| {
        let tasks: Vec<_> = clients
            .iter_mut()
            .enumerate()
            .map(|(at, client)| {
                let (clock, barrier) = (&clock, &barrier);
                scope.spawn(move || {
                    let mut random = Random(seed << 8 | at as u64);
                    barrier.wait();
                    (0..CALLS)
                        .map(|number| {
                            let unique = (1 + at * CALLS + number) as u64;
                            let (object, words) = command(&mut random, unique * 1000);
                            let begin = clock.now();
                            let reply = perform(client, &words);
                            (object, Call { begin, end: clock.now(), words, reply })
                        })
                        .collect()
                })
            })
            .collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    for (object, call) in calls.into_iter().flatten() {
        all[object].push(call);
    }
    for calls in &mut all {
        calls.sort_by_key(|call| call.begin);
    }
    all
}

#[test]
fn commands_of_several_workers_have_an_order() {
    const ROUNDS: u64 = 12;
    for workers in ["1", "2", "3"] {
        let server = Server::start(&["--workers", workers]);
        let mut client = server.connect();
        for seed in 0..ROUNDS {
            client.ask("FLUSHALL");
            for (object, calls) in record(&server, seed).iter().enumerate() {
                if explain(calls).is_none() {
                    let lines: Vec<String> = calls.iter().map(|call| format!("{call:?}")).collect();
                    panic!(
                        "workers {workers}, seed {seed}, object {object}: no order explains\n{}",
                        lines.join("\n")
                    );
                }
            }
        }
    }
}

/// Calls of one client after the other, or of several at once, from lines of `begin end words = reply`.
fn calls(lines: &[&str]) -> Vec<Call> {
    let clock = Clock::new();
    let start = clock.now();
    let at = |text: &str| start + std::time::Duration::from_millis(text.parse().unwrap());
    lines
        .iter()
        .map(|line| {
            let (call, reply) = line.split_once(" = ").unwrap();
            let mut words = call.split(' ');
            Call {
                begin: at(words.next().unwrap()),
                end: at(words.next().unwrap()),
                words: words.map(str::to_owned).collect(),
                reply: reply.to_owned(),
            }
        })
        .collect()
}

// What could break: a test that never fails.
#[test]
fn what_cannot_be_is_not_explained() {
    for wrong in [
        // A stale read.
        &["0 1 SET r 1 = +OK", "2 3 SET r 2 = +OK", "4 5 GET r = \"1\""][..],
        // The value comes, goes and comes back.
        &["0 9 SET r 1 = +OK", "1 2 GET r = \"1\"", "3 4 GET r = nil"],
        // A lost update.
        &["0 2 INCRBY r 1 = :1", "1 3 INCRBY r 1 = :1"],
        // An element that is taken twice.
        &["0 1 RPUSH q 1 = :1", "2 5 LPOP q = \"1\"", "3 4 LPOP q = \"1\""],
        // One key before the other.
        &["0 1 MSET a 1 b 1 = +OK", "2 9 MSET a 2 b 2 = +OK", "3 4 MGET a b = *2 \"2\" \"1\""],
    ] {
        assert_eq!(explain(&calls(wrong)), None, "{wrong:?}");
    }
    let right = [
        "0 9 SET r 1 = +OK",
        "1 2 GET r = nil",
        "3 4 GET r = \"1\"",
        "0 8 INCRBY r 1 = :2",
        "6 7 GET r = \"2\"",
    ];
    assert!(explain(&calls(&right)).is_some());
}
