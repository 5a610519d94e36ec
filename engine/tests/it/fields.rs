//! Deadlines of fields against a plain model, in compact and in large hashes.

use std::collections::BTreeMap;
use std::sync::Arc;

use coney_base::UnixMillis;
use coney_engine::{Client, Engine, Executor};
use coney_resp::OwnedArgs;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::peer::{EnginePeer, START, commit, execute, open};

#[derive(Debug, Clone)]
enum Op {
    Command(Vec<String>),
    Commit,
    /// Time passes, in milliseconds.
    Advance(u64),
    /// What is due is removed, so many at a time.
    Expire(usize),
    /// Everything is closed and opened again.
    Reopen,
}

#[derive(Debug, Clone, PartialEq)]
struct Field {
    value: String,
    expire_at: Option<u64>,
}

type Hash = BTreeMap<String, Field>;

/// The reference: what commands see.
#[derive(Debug, Default)]
struct Model {
    hashes: BTreeMap<String, Hash>,
    now: u64,
}

fn int(value: i64) -> String {
    format!(":{value}\r\n")
}

fn bulk(value: Option<&str>) -> String {
    value.map_or("$-1\r\n".to_owned(), |value| format!("${}\r\n{value}\r\n", value.len()))
}

fn array(replies: &[String]) -> String {
    format!("*{}\r\n{}", replies.len(), replies.concat())
}

impl Model {
    fn purge(&mut self) {
        for hash in self.hashes.values_mut() {
            hash.retain(|_, field| field.expire_at.is_none_or(|at| at > self.now));
        }
        self.hashes.retain(|_, hash| !hash.is_empty());
    }

    fn hash(&mut self, key: &str) -> &mut Hash {
        self.hashes.entry(key.to_owned()).or_default()
    }

    fn set(&mut self, key: &str, field: &str, value: &str, expire_at: Option<u64>) -> i64 {
        let field_after = Field { value: value.to_owned(), expire_at };
        i64::from(self.hash(key).insert(field.to_owned(), field_after).is_none())
    }

    fn field(&self, key: &str, name: &str) -> Option<&Field> {
        self.hashes.get(key)?.get(name)
    }

    /// For each field what `f` replies and leaves of it.
    fn each(
        &mut self,
        key: &str,
        names: &[&str],
        mut f: impl FnMut(Option<Field>) -> (String, Option<Field>),
    ) -> String {
        let mut replies = Vec::new();
        for name in names {
            let now = self.now;
            let hash = self.hash(key);
            let (reply, after) = f(hash.remove(*name));
            let after = after.filter(|field| field.expire_at.is_none_or(|at| at > now));
            if let Some(after) = after {
                hash.insert((*name).to_owned(), after);
            }
            replies.push(reply);
        }
        array(&replies)
    }

    fn execute(&mut self, words: &[String]) -> String {
        self.purge();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let reply = match words[..] {
            ["HSET", key, a, x, b, y] => int(self.set(key, a, x, None) + self.set(key, b, y, None)),
            ["HSETNX", key, field, value] => match self.field(key, field) {
                Some(_) => int(0),
                None => int(self.set(key, field, value, None)),
            },
            ["HDEL", key, a, b] => {
                let hash = self.hash(key);
                let count = [a, b].iter().filter(|name| hash.remove(**name).is_some()).count();
                int(i64::try_from(count).unwrap())
            }
            ["HINCRBY", key, field, by] => {
                let by: i64 = by.parse().unwrap();
                let found = self.field(key, field).cloned();
                let (number, expire_at) = match found {
                    None => (Ok(0), None),
                    Some(found) => (found.value.parse::<i64>(), found.expire_at),
                };
                match number {
                    Err(_) => "-ERR hash value is not an integer\r\n".to_owned(),
                    Ok(number) => {
                        self.set(key, field, &(number + by).to_string(), expire_at);
                        int(number + by)
                    }
                }
            }
            ["HMGET", key, a, b] => {
                let value = |name| bulk(self.field(key, name).map(|field| field.value.as_str()));
                array(&[value(a), value(b)])
            }
            ["HGETALL", key] => {
                let hash = self.hashes.get(key).into_iter().flatten();
                let mut pairs: Vec<String> = hash
                    .map(|(name, field)| bulk(Some(name)) + &bulk(Some(&field.value)))
                    .collect();
                pairs.sort_unstable();
                format!("*{}\r\n{}", pairs.len() * 2, pairs.concat())
            }
            ["RENAME", from, to] => match self.hashes.remove(from) {
                None => "-ERR no such key\r\n".to_owned(),
                Some(hash) => {
                    self.hashes.insert(to.to_owned(), hash);
                    "+OK\r\n".to_owned()
                }
            },
            ["COPY", from, to, "REPLACE"] => match self.hashes.get(from).cloned() {
                None => int(0),
                Some(_) if from == to => unreachable!("never asked for"),
                Some(hash) => {
                    self.hashes.insert(to.to_owned(), hash);
                    int(1)
                }
            },
            ["DEL", key] => int(i64::from(self.hashes.remove(key).is_some())),
            _ => self.deadlines(&words),
        };
        self.purge();
        reply
    }

    /// The commands on deadlines.
    fn deadlines(&mut self, words: &[&str]) -> String {
        let now = self.now;
        match *words {
            ["HPEXPIRE", key, millis, ref when @ .., "FIELDS", "2", a, b] => {
                let at = now + millis.parse::<u64>().unwrap();
                self.each(key, &[a, b], |field| {
                    let Some(field) = field else { return (int(-2), None) };
                    let current = field.expire_at;
                    let allows = match *when {
                        ["NX"] => current.is_none(),
                        ["XX"] => current.is_some(),
                        ["GT"] => current.is_some_and(|current| at > current),
                        ["LT"] => current.is_none_or(|current| at < current),
                        _ => true,
                    };
                    if !allows {
                        return (int(0), Some(field));
                    }
                    (
                        int(if at <= now { 2 } else { 1 }),
                        Some(Field { expire_at: Some(at), ..field }),
                    )
                })
            }
            ["HPERSIST", key, "FIELDS", "2", a, b] => {
                self.each(key, &[a, b], |field| match field {
                    None => (int(-2), None),
                    Some(field) if field.expire_at.is_none() => (int(-1), Some(field)),
                    Some(field) => (int(1), Some(Field { expire_at: None, ..field })),
                })
            }
            [name @ ("HPTTL" | "HPEXPIRETIME" | "HTTL"), key, "FIELDS", "2", a, b] => {
                self.each(key, &[a, b], |field| {
                    let reply = match field.as_ref().map(|field| field.expire_at) {
                        None => int(-2),
                        Some(None) => int(-1),
                        Some(Some(at)) => int(i64::try_from(match name {
                            "HPTTL" => at - now,
                            "HTTL" => (at - now).div_ceil(1000),
                            _ => at,
                        })
                        .unwrap()),
                    };
                    (reply, field)
                })
            }
            ["HGETDEL", key, "FIELDS", "2", a, b] => self.each(key, &[a, b], |field| {
                (bulk(field.as_ref().map(|field| field.value.as_str())), None)
            }),
            ["HGETEX", key, ref option @ .., "FIELDS", "2", a, b] => {
                self.each(key, &[a, b], |field| {
                    let reply = bulk(field.as_ref().map(|field| field.value.as_str()));
                    let field = field.map(|field| match *option {
                        ["PERSIST"] => Field { expire_at: None, ..field },
                        ["PX", ms] => {
                            let at = now + ms.parse::<u64>().unwrap();
                            Field { expire_at: Some(at), ..field }
                        }
                        _ => field,
                    });
                    (reply, field)
                })
            }
            ["HSETEX", key, ref options @ .., "FIELDS", "2", a, x, b, y] => {
                let there = [a, b].iter().filter(|name| self.field(key, name).is_some()).count();
                let (allows, options) = match *options {
                    ["FNX", ref rest @ ..] => (there == 0, rest),
                    ["FXX", ref rest @ ..] => (there == 2, rest),
                    _ => (true, options),
                };
                if allows {
                    for (name, value) in [(a, x), (b, y)] {
                        let expire_at = match *options {
                            ["PX", ms] => Some(now + ms.parse::<u64>().unwrap()),
                            ["KEEPTTL"] => self.field(key, name).and_then(|field| field.expire_at),
                            _ => None,
                        };
                        self.set(key, name, value, expire_at);
                        self.purge();
                    }
                }
                int(i64::from(allows))
            }
            _ => panic!("not in the model: {words:?}"),
        }
    }
}

struct System {
    dir: TempDir,
    engine: Arc<Engine>,
    executor: Executor,
    client: Client,
    now: u64,
    entries: i64,
}

fn opened(dir: &TempDir, entries: i64) -> Arc<Engine> {
    let engine = open(dir, 1);
    engine.encoding_limits().set("hash-max-listpack-entries", entries).unwrap();
    engine
}

impl System {
    fn new(entries: i64) -> Self {
        let dir = TempDir::new().unwrap();
        let engine = opened(&dir, entries);
        let executor = Executor::new(Arc::clone(&engine), 0);
        Self { dir, engine, executor, client: Client::new(1), now: START.0, entries }
    }

    fn ask(&mut self, words: &[String]) -> String {
        let args = OwnedArgs::from_parts(words);
        let now = UnixMillis(self.now);
        let client = &mut self.client;
        let done = execute(&self.engine, &mut self.executor, now, client, args.as_args());
        let reply = String::from_utf8(done.reply).unwrap();
        if words[0] != "HGETALL" {
            return reply;
        }
        // Fields have no order.
        let mut parts = reply.split("\r\n");
        let head = parts.next().unwrap();
        let parts: Vec<&str> = parts.collect();
        let mut pairs: Vec<String> =
            parts.chunks_exact(4).map(|pair| pair.join("\r\n") + "\r\n").collect();
        pairs.sort_unstable();
        format!("{head}\r\n{}", pairs.concat())
    }

    fn expire(&mut self, limit: usize) {
        commit(&mut self.executor);
        let now = UnixMillis(self.now);
        for _ in 0..10_000 {
            let due = self.engine.due(now, limit).unwrap();
            if due.is_empty() {
                return;
            }
            self.executor.expire(now, &due);
            commit(&mut self.executor);
        }
        panic!("something stays due");
    }

    fn reopen(self) -> Self {
        let Self { dir, engine, mut executor, client, now, entries } = self;
        commit(&mut executor);
        drop(executor);
        drop(engine);
        let engine = opened(&dir, entries);
        let executor = Executor::new(Arc::clone(&engine), 0);
        Self { dir, engine, executor, client, now, entries }
    }
}

fn field() -> impl Strategy<Value = String> {
    (0_u8..9).prop_map(|number| format!("f{number}"))
}

fn command() -> impl Strategy<Value = Vec<String>> {
    let key = || prop_oneof![3 => Just("h"), 1 => Just("{h}2")].prop_map(str::to_owned);
    let value = || prop_oneof![2 => "[1-9][0-9]{0,2}", 1 => "[a-z]{1,4}", 1 => "[xy]{70}"];
    let millis = || prop_oneof![1 => Just(0_u64), 4 => 1_u64..2000, 1 => Just(100_000)];
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let with = move |name: &'static str, middle: Vec<String>, key: String, a: String, b: String| {
        let tail = vec!["FIELDS".to_owned(), "2".to_owned(), a, b];
        [vec![name.to_owned(), key], middle, tail].concat()
    };
    let plain = prop_oneof![
        Just("HPERSIST"),
        Just("HPTTL"),
        Just("HPEXPIRETIME"),
        Just("HTTL"),
        Just("HGETDEL"),
    ];
    let when = prop_oneof![2 => Just(vec![]), 3 => "NX|XX|GT|LT".prop_map(|word| vec![word])];
    let get_option = prop_oneof![
        Just(vec![]),
        Just(vec!["PERSIST".to_owned()]),
        millis().prop_map(|ms| vec!["PX".to_owned(), ms.to_string()]),
    ];
    let set_option = prop_oneof![
        Just(vec![]),
        Just(vec!["KEEPTTL".to_owned()]),
        millis().prop_map(|ms| vec!["PX".to_owned(), ms.to_string()]),
    ];
    let condition = prop_oneof![2 => Just("KEEP"), 1 => Just("FNX"), 1 => Just("FXX")];
    prop_oneof![
        5 => (key(), field(), value(), field(), value())
            .prop_map(move |(key, a, x, b, y)| words(&["HSET", &key, &a, &x, &b, &y])),
        1 => (key(), field(), value())
            .prop_map(move |(key, a, x)| words(&["HSETNX", &key, &a, &x])),
        1 => (key(), field(), field()).prop_map(move |(key, a, b)| words(&["HDEL", &key, &a, &b])),
        2 => (key(), field(), -9_i64..10)
            .prop_map(move |(key, a, by)| words(&["HINCRBY", &key, &a, &by.to_string()])),
        1 => (key(), field(), field()).prop_map(move |(key, a, b)| words(&["HMGET", &key, &a, &b])),
        2 => key().prop_map(move |key| words(&["HGETALL", &key])),
        6 => (key(), millis(), when, field(), field()).prop_map(move |(key, ms, when, a, b)| {
            with("HPEXPIRE", [vec![ms.to_string()], when].concat(), key, a, b)
        }),
        4 => (plain, key(), field(), field())
            .prop_map(move |(name, key, a, b)| with(name, vec![], key, a, b)),
        2 => (key(), get_option, field(), field())
            .prop_map(move |(key, option, a, b)| with("HGETEX", option, key, a, b)),
        3 => (key(), condition, set_option, field(), value(), field(), value())
            .prop_map(move |(key, condition, option, a, x, b, y)| {
                let condition = match condition {
                    "KEEP" => vec![],
                    condition => vec![condition.to_owned()],
                };
                let head = [words(&["HSETEX", &key]), condition, option].concat();
                [head, words(&["FIELDS", "2", &a, &x, &b, &y])].concat()
            }),
        1 => Just(words(&["RENAME", "h", "{h}2"])),
        1 => Just(words(&["COPY", "{h}2", "h", "REPLACE"])),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        30 => command().prop_map(Op::Command),
        3 => Just(Op::Commit),
        4 => (1_u64..1500).prop_map(Op::Advance),
        2 => (1_usize..200).prop_map(Op::Expire),
        1 => Just(Op::Reopen),
    ]
}

/// RENAME and COPY see a hash whose fields have all ended, until it is removed.
fn depends_on_removal(words: &[String]) -> bool {
    matches!(words[0].as_str(), "RENAME" | "COPY")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // What could break: a deadline that is kept where it should go, or lost; a field that is counted
    // or found although it has ended; the order of deadlines of a large hash; the index.
    #[test]
    fn fields_end_as_in_the_model(
        ops in proptest::collection::vec(op(), 1..90),
        entries in prop_oneof![Just(512_i64), Just(4), Just(0)],
    ) {
        let mut model = Model { now: START.0, ..Model::default() };
        let mut system = System::new(entries);
        for op in ops {
            match op {
                Op::Command(words) => {
                    if depends_on_removal(&words) {
                        system.expire(7);
                    }
                    let expected = model.execute(&words);
                    prop_assert_eq!(system.ask(&words), expected, "{:?}", words);
                }
                Op::Commit => commit(&mut system.executor),
                Op::Advance(millis) => {
                    system.now += millis;
                    model.now += millis;
                }
                Op::Expire(limit) => {
                    system.expire(limit);
                    model.purge();
                    let expected = model.hashes.len();
                    prop_assert_eq!(system.ask(&["DBSIZE".to_owned()]), format!(":{expected}\r\n"));
                    for key in ["h", "{h}2"] {
                        let expected = model.hashes.get(key).map_or(0, BTreeMap::len);
                        let reply = system.ask(&["HLEN".to_owned(), key.to_owned()]);
                        prop_assert_eq!(reply, format!(":{expected}\r\n"));
                    }
                }
                Op::Reopen => system = system.reopen(),
            }
        }
        commit(&mut system.executor);
        let checked = system.engine.check();
        prop_assert!(checked.is_ok(), "{:?}", checked);
        // In the end everything goes.
        system.now += 1_000_000;
        model.now += 1_000_000;
        system.expire(1000);
        model.purge();
        prop_assert_eq!(
            system.ask(&["DBSIZE".to_owned()]),
            format!(":{}\r\n", model.hashes.len())
        );
    }
}

// What could break: a pass that does not come to an end, or leaves some; a hash without its last field.
#[test]
fn a_large_hash_ends_field_by_field() {
    let mut peer = EnginePeer::new();
    for at in 0..1500 {
        peer.ask(&format!("HSETEX h PX {} FIELDS 1 field{at} value", 1000 + at));
        peer.ask(&format!("HSETEX same PX 1000 FIELDS 1 field{at} value"));
    }
    assert_eq!(peer.ask("OBJECT ENCODING h"), "$9\r\nhashtable\r\n");
    let pass = |peer: &mut EnginePeer, millis: u64| {
        commit(&mut peer.executor);
        peer.now = UnixMillis(peer.now.0 + millis);
        for _ in 0..100 {
            let due = peer.engine.due(peer.now, 256).unwrap();
            if due.is_empty() {
                return;
            }
            peer.executor.expire(peer.now, &due);
            commit(&mut peer.executor);
        }
        panic!("something stays due");
    };
    pass(&mut peer, 1700);
    assert_eq!(peer.ask("HLEN h"), ":799\r\n");
    assert_eq!(peer.ask("HPTTL h FIELDS 1 field701"), "*1\r\n:1\r\n");
    assert_eq!(peer.ask("EXISTS same"), ":0\r\n");
    assert_eq!(peer.ask("HPERSIST h FIELDS 1 field1499"), "*1\r\n:1\r\n");
    pass(&mut peer, 10_000);
    assert_eq!(peer.ask("HGETALL h"), "*2\r\n$9\r\nfield1499\r\n$5\r\nvalue\r\n");
    assert_eq!(peer.executor.stats.expired_fields, 1500 + 1499);
}
