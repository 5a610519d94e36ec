//! Random commands against a plain model: maps in memory, and the rules written down once more.

use std::collections::BTreeMap;
use std::sync::Arc;

use coney_base::UnixMillis;
use coney_engine::{Client, Engine, Executor, Memtable};
use coney_resp::OwnedArgs;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::peer::{START, commit, execute, open, open_with};

const TABLES: u16 = 2;

/// What happens next.
#[derive(Debug, Clone)]
enum Op {
    Command(Vec<String>),
    Commit,
    /// Time passes, in milliseconds.
    Advance(u64),
    /// Keys that are due are removed.
    Expire,
    /// Everything is closed and opened again.
    Reopen,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    value: Vec<u8>,
    expire_at: Option<u64>,
}

/// The reference.
struct Model {
    tables: [BTreeMap<String, Entry>; TABLES as usize],
    table: usize,
    now: u64,
}

type Reply = String;

fn bulk(value: &[u8]) -> Reply {
    format!("${}\r\n{}\r\n", value.len(), String::from_utf8_lossy(value))
}

const NIL: &str = "$-1\r\n";
const OK: &str = "+OK\r\n";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range\r\n";

fn int(value: i64) -> Reply {
    format!(":{value}\r\n")
}

impl Model {
    fn new() -> Self {
        Self { tables: [BTreeMap::new(), BTreeMap::new()], table: 0, now: START.0 }
    }

    fn purge(&mut self) {
        for table in &mut self.tables {
            table.retain(|_, entry| entry.expire_at.is_none_or(|at| at > self.now));
        }
    }

    fn here(&mut self) -> &mut BTreeMap<String, Entry> {
        &mut self.tables[self.table]
    }

    fn set(&mut self, key: &str, value: &[u8], expire_at: Option<u64>) {
        self.here().insert(key.to_owned(), Entry { value: value.to_vec(), expire_at });
    }

    /// Changes the value and keeps the deadline.
    fn change(&mut self, key: &str, value: Vec<u8>) {
        let new = Entry { value: Vec::new(), expire_at: None };
        self.here().entry(key.to_owned()).or_insert(new).value = value;
    }

    fn value(&mut self, key: &str) -> Option<Vec<u8>> {
        self.here().get(key).map(|entry| entry.value.clone())
    }

    fn get(&mut self, key: &str) -> Reply {
        self.value(key).map_or(NIL.to_owned(), |value| bulk(&value))
    }

    fn execute(&mut self, words: &[String]) -> Reply {
        self.purge();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["GET", key] => self.get(key),
            ["STRLEN", key] => {
                let len = self.value(key).map_or(0, |value| value.len());
                int(i64::try_from(len).unwrap())
            }
            ["MGET", a, b] => format!("*2\r\n{}{}", self.get(a), self.get(b)),
            ["EXISTS", a, b] => {
                let count = [a, b].iter().filter(|key| self.here().contains_key(**key)).count();
                int(i64::try_from(count).unwrap())
            }
            ["DBSIZE"] => int(i64::try_from(self.here().len()).unwrap()),
            ["TYPE", key] => {
                (if self.here().contains_key(key) { "+string\r\n" } else { "+none\r\n" }).to_owned()
            }
            ["SELECT", number] => {
                self.table = number.parse().unwrap();
                OK.to_owned()
            }
            ["FLUSHDB"] => {
                self.here().clear();
                OK.to_owned()
            }
            [
                "SET" | "SETNX" | "SETEX" | "PSETEX" | "GETSET" | "GETDEL" | "GETEX" | "MSET"
                | "MSETNX" | "APPEND" | "SETRANGE" | "INCR" | "DECRBY",
                ..,
            ] => self.write(&words),
            _ => self.keys(&words),
        }
    }

    fn write(&mut self, words: &[&str]) -> Reply {
        match *words {
            ["SET", key, value, ref options @ ..] => self.set_with(key, value, options),
            ["SETNX", key, value] => {
                let is_new = !self.here().contains_key(key);
                if is_new {
                    self.set(key, value.as_bytes(), None);
                }
                int(i64::from(is_new))
            }
            ["PSETEX", key, millis, value] => {
                let at = self.now + millis.parse::<u64>().unwrap();
                self.set(key, value.as_bytes(), Some(at));
                OK.to_owned()
            }
            ["GETSET", key, value] => {
                let reply = self.get(key);
                self.set(key, value.as_bytes(), None);
                reply
            }
            ["GETDEL", key] => {
                let reply = self.get(key);
                self.here().remove(key);
                reply
            }
            ["GETEX", key, "PX", millis] => {
                let reply = self.get(key);
                let at = self.now + millis.parse::<u64>().unwrap();
                if let Some(entry) = self.here().get_mut(key) {
                    entry.expire_at = Some(at);
                }
                reply
            }
            ["MSET", a, x, b, y] => {
                self.set(a, x.as_bytes(), None);
                self.set(b, y.as_bytes(), None);
                OK.to_owned()
            }
            ["MSETNX", a, x, b, y] => {
                let is_free = !self.here().contains_key(a) && !self.here().contains_key(b);
                if is_free {
                    self.set(a, x.as_bytes(), None);
                    self.set(b, y.as_bytes(), None);
                }
                int(i64::from(is_free))
            }
            ["APPEND", key, tail] => {
                let mut value = self.value(key).unwrap_or_default();
                value.extend_from_slice(tail.as_bytes());
                let len = value.len();
                self.change(key, value);
                int(i64::try_from(len).unwrap())
            }
            ["SETRANGE", key, offset, patch] => {
                let offset: usize = offset.parse().unwrap();
                let mut value = self.value(key).unwrap_or_default();
                value.resize(value.len().max(offset + patch.len()), 0);
                value[offset..offset + patch.len()].copy_from_slice(patch.as_bytes());
                let len = value.len();
                self.change(key, value);
                int(i64::try_from(len).unwrap())
            }
            ["INCR", key] => self.add(key, 1),
            ["DECRBY", key, by] => self.add(key, -by.parse::<i64>().unwrap()),
            _ => panic!("not in the model: {words:?}"),
        }
    }

    fn set_with(&mut self, key: &str, value: &str, options: &[&str]) -> Reply {
        let old = self.here().get(key).cloned();
        let gets = options.contains(&"GET");
        let is_refused =
            options.contains(&"NX") && old.is_some() || options.contains(&"XX") && old.is_none();
        let reply = match (gets, is_refused) {
            (true, _) => self.get(key),
            (false, true) => NIL.to_owned(),
            (false, false) => OK.to_owned(),
        };
        if !is_refused {
            let relative = options.iter().position(|option| *option == "PX");
            let mut expire_at =
                relative.map(|at| self.now + options[at + 1].parse::<u64>().unwrap());
            if let ["PXAT", at] = options {
                expire_at = Some(at.parse().unwrap());
            }
            if options.contains(&"KEEPTTL") {
                expire_at = old.and_then(|entry| entry.expire_at);
            }
            self.set(key, value.as_bytes(), expire_at);
        }
        self.purge();
        reply
    }

    fn add(&mut self, key: &str, by: i64) -> Reply {
        let text = self.value(key).unwrap_or(b"0".to_vec());
        let text = String::from_utf8_lossy(&text).into_owned();
        match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => {
                self.change(key, (number + by).to_string().into_bytes());
                int(number + by)
            }
            _ => NOT_INTEGER.to_owned(),
        }
    }

    fn keys(&mut self, words: &[&str]) -> Reply {
        match *words {
            ["DEL", a, b] => {
                let count = [a, b].iter().filter(|key| self.here().remove(**key).is_some()).count();
                int(i64::try_from(count).unwrap())
            }
            [name @ ("RENAME" | "RENAMENX"), from, to] => {
                let Some(entry) = self.here().get(from).cloned() else {
                    return "-ERR no such key\r\n".to_owned();
                };
                let is_free = !self.here().contains_key(to);
                if name == "RENAME" || is_free {
                    self.here().remove(from);
                    self.here().insert(to.to_owned(), entry);
                }
                if name == "RENAME" { OK.to_owned() } else { int(i64::from(is_free)) }
            }
            ["MOVE", key, table] => {
                let table: usize = table.parse().unwrap();
                if table == self.table {
                    return "-ERR source and destination objects are the same\r\n".to_owned();
                }
                if self.tables[table].contains_key(key) {
                    return int(0);
                }
                let Some(entry) = self.here().remove(key) else { return int(0) };
                self.tables[table].insert(key.to_owned(), entry);
                int(1)
            }
            ["COPY", from, to, "DB", table, "REPLACE"] => {
                let table: usize = table.parse().unwrap();
                if table == self.table && from == to {
                    return "-ERR source and destination objects are the same\r\n".to_owned();
                }
                let Some(entry) = self.here().get(from).cloned() else { return int(0) };
                self.tables[table].insert(to.to_owned(), entry);
                int(1)
            }
            ["PEXPIRE", key, millis, ref options @ ..] => self.expire(key, millis, options),
            ["PERSIST", key] => {
                let entry = self.here().get_mut(key);
                int(i64::from(entry.is_some_and(|entry| entry.expire_at.take().is_some())))
            }
            ["PTTL", key] => {
                let now = self.now;
                int(match self.here().get(key).map(|entry| entry.expire_at) {
                    None => -2,
                    Some(None) => -1,
                    Some(Some(at)) => i64::try_from(at - now).unwrap(),
                })
            }
            _ => panic!("not in the model: {words:?}"),
        }
    }

    fn expire(&mut self, key: &str, millis: &str, options: &[&str]) -> Reply {
        let now = i64::try_from(self.now).unwrap();
        let at = now + millis.parse::<i64>().unwrap();
        let Some(entry) = self.here().get_mut(key) else { return int(0) };
        let current = entry.expire_at.map_or(i64::MAX, |at| i64::try_from(at).unwrap());
        let is_allowed = match options {
            ["NX"] => entry.expire_at.is_none(),
            ["XX"] => entry.expire_at.is_some(),
            ["GT"] => at > current,
            ["LT"] => at < current,
            _ => true,
        };
        if is_allowed {
            entry.expire_at = Some(u64::try_from(at).unwrap());
            self.purge();
        }
        int(i64::from(is_allowed))
    }
}

/// The engine under test.
struct System {
    dir: TempDir,
    memtable: Memtable,
    engine: Arc<Engine>,
    executor: Executor,
    client: Client,
    now: u64,
}

impl System {
    fn new(memtable: Memtable) -> Self {
        let dir = TempDir::new().unwrap();
        let engine = open_with(&dir, 1, memtable);
        let executor = Executor::new(Arc::clone(&engine), 0);
        Self { dir, memtable, engine, executor, client: Client::new(1), now: START.0 }
    }

    fn ask(&mut self, words: &[String]) -> Reply {
        let args = OwnedArgs::from_parts(words);
        let done = execute(
            &self.engine,
            &mut self.executor,
            UnixMillis(self.now),
            &mut self.client,
            args.as_args(),
        );
        String::from_utf8(done.reply).unwrap()
    }

    fn expire(&mut self, now: u64) {
        commit(&mut self.executor);
        loop {
            let due = self.engine.due(UnixMillis(now), 3).unwrap();
            if due.is_empty() {
                return;
            }
            self.executor.expire(UnixMillis(now), &due);
            commit(&mut self.executor);
        }
    }

    fn reopen(self) -> Self {
        let Self { dir, memtable, engine, mut executor, client, now } = self;
        commit(&mut executor);
        drop(executor);
        assert_eq!(Arc::strong_count(&engine), 1);
        drop(engine);
        let engine = open_with(&dir, 1, memtable);
        let executor = Executor::new(Arc::clone(&engine), 0);
        Self { dir, memtable, engine, executor, client, now }
    }
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("{a}c"), Just("d")].prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[0-9]{1,3}", 1 => "-?[0-9]{18}", 2 => "[a-z]{0,6}", 1 => "[xy]{60}"]
}

fn command() -> impl Strategy<Value = Op> {
    let millis = || prop_oneof![Just(1_i64), 1_i64..2000, Just(100_000)];
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let one = prop_oneof![
        Just("GET"),
        Just("STRLEN"),
        Just("GETDEL"),
        Just("INCR"),
        Just("PERSIST"),
        Just("PTTL"),
        Just("TYPE")
    ];
    let two =
        prop_oneof![Just("MGET"), Just("EXISTS"), Just("DEL"), Just("RENAME"), Just("RENAMENX")];
    let options = prop_oneof![
        Just(vec![]),
        Just(vec!["NX".to_owned()]),
        Just(vec!["XX".to_owned(), "KEEPTTL".to_owned()]),
        Just(vec!["KEEPTTL".to_owned(), "GET".to_owned()]),
        (millis()).prop_map(|ms| vec!["PX".to_owned(), ms.to_string()]),
        (millis()).prop_map(|ms| vec!["PX".to_owned(), ms.to_string(), "NX".to_owned()]),
        (-3000_i64..3000).prop_map(|offset| {
            let at = i64::try_from(START.0).unwrap() + offset;
            vec!["PXAT".to_owned(), at.to_string()]
        }),
    ];
    let when = prop_oneof![Just(vec![]), "NX|XX|GT|LT".prop_map(|word| vec![word])];
    let with = |name: &'static str| {
        (key(), value()).prop_map(move |(key, value)| vec![name.to_owned(), key, value])
    };
    let pairs = |name: &'static str| {
        (key(), value(), key(), value())
            .prop_map(move |(a, x, b, y)| vec![name.to_owned(), a, x, b, y])
    };
    prop_oneof![
        6 => (one, key()).prop_map(move |(name, key)| words(&[name, &key])),
        3 => (two, key(), key()).prop_map(move |(name, a, b)| words(&[name, &a, &b])),
        4 => (key(), value(), options).prop_map(move |(key, value, options)| {
            [vec!["SET".to_owned(), key, value], options].concat()
        }),
        1 => with("SETNX"),
        1 => with("GETSET"),
        2 => with("APPEND"),
        1 => pairs("MSET"),
        1 => pairs("MSETNX"),
        1 => (key(), 0_u8..20, "[A-Z]{1,4}").prop_map(move |(key, offset, patch)| {
            words(&["SETRANGE", &key, &offset.to_string(), &patch])
        }),
        1 => (key(), -99_i64..100).prop_map(move |(key, by)| {
            words(&["DECRBY", &key, &by.to_string()])
        }),
        2 => (key(), millis(), value()).prop_map(move |(key, ms, value)| {
            words(&["PSETEX", &key, &ms.to_string(), &value])
        }),
        1 => (key(), millis()).prop_map(move |(key, ms)| {
            words(&["GETEX", &key, "PX", &ms.to_string()])
        }),
        3 => (key(), prop_oneof![millis(), -5_i64..1], when).prop_map(move |(key, ms, when)| {
            [words(&["PEXPIRE", &key, &ms.to_string()]), when].concat()
        }),
        1 => (key(), 0..TABLES).prop_map(move |(key, table)| {
            words(&["MOVE", &key, &table.to_string()])
        }),
        1 => (key(), key(), 0..TABLES).prop_map(move |(from, to, table)| {
            words(&["COPY", &from, &to, "DB", &table.to_string(), "REPLACE"])
        }),
        2 => (0..TABLES).prop_map(move |table| words(&["SELECT", &table.to_string()])),
    ]
    .prop_map(Op::Command)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        40 => command(),
        6 => Just(Op::Commit),
        4 => (0_u64..1500).prop_map(Op::Advance),
        2 => Just(Op::Expire),
        1 => Just(Op::Command(vec!["FLUSHDB".to_owned()])),
    ]
}

fn run(ops: &[Op], memtable: Memtable) {
    let (mut system, mut model) = (System::new(memtable), Model::new());
    for op in ops {
        match op {
            Op::Command(words) => {
                let expected = model.execute(words);
                assert_eq!(system.ask(words), expected, "{words:?} at {}", system.now - START.0);
            }
            Op::Commit => commit(&mut system.executor),
            Op::Advance(millis) => {
                system.now += millis;
                model.now += millis;
            }
            Op::Expire => system.expire(system.now),
            Op::Reopen => system = system.reopen(),
        }
    }
    // After active expiry the counters know only live keys; so they do after a restart.
    system.expire(system.now);
    model.purge();
    for mut system in [system].map(System::reopen) {
        for table in 0..TABLES {
            let expected = &model.tables[usize::from(table)];
            let expires = expected.values().filter(|entry| entry.expire_at.is_some()).count();
            let count = system.engine.count(table);
            assert_eq!(usize::try_from(count.keys).unwrap(), expected.len(), "keys of {table}");
            assert_eq!(usize::try_from(count.expires).unwrap(), expires, "deadlines of {table}");
            system.client.database = table;
            let found = system.ask(&["KEYS".to_owned(), "*".to_owned()]);
            assert!(found.starts_with(&format!("*{}\r\n", expected.len())), "{found}");
            for (key, entry) in expected {
                assert_eq!(system.ask(&["GET".to_owned(), key.clone()]), bulk(&entry.value));
            }
        }
        // Every deadline has its record: once all have passed, only keys without one are left.
        system.expire(u64::MAX);
        for table in 0..TABLES {
            let expected = &model.tables[usize::from(table)];
            let forever = expected.values().filter(|entry| entry.expire_at.is_none()).count();
            let count = system.engine.count(table);
            assert_eq!(usize::try_from(count.keys).unwrap(), forever);
            assert_eq!(count.expires, 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    // What could break: anything that a reply, a counter or the expiry index depends on.
    #[test]
    fn replies_and_what_survives_a_restart_are_those_of_a_plain_model(
        ops in proptest::collection::vec(op(), 1..150),
        reopen_at in proptest::option::of(0_usize..150),
        memtable in prop_oneof![3 => Just(Memtable::SkipList), 1 => Just(Memtable::Hash)],
    ) {
        let mut ops = ops;
        if let Some(at) = reopen_at.filter(|at| *at < ops.len()) {
            ops.insert(at, Op::Reopen);
        }
        run(&ops, memtable);
    }

    // What could break: an update that is lost because two workers read the same old value, or a
    // cache that goes back in time.
    #[test]
    fn no_increment_of_two_workers_is_lost_and_no_reader_goes_back(
        steps in proptest::collection::vec((0_usize..2, 0_u8..3, 0_u8..4), 1..200),
    ) {
        let dir = TempDir::new().unwrap();
        let engine = open(&dir, 2);
        let mut executors = [0, 1].map(|id| Executor::new(Arc::clone(&engine), id));
        let mut clients = [Client::new(1), Client::new(2)];
        let mut done = BTreeMap::<u8, i64>::new();
        let mut seen = BTreeMap::<(usize, u8), i64>::new();
        for (worker, key, action) in steps {
            let name = format!("k{key}");
            let (executor, client) = (&mut executors[worker], &mut clients[worker]);
            let mut try_ask = |words: &[&str]| {
                let args = OwnedArgs::from_parts(words);
                crate::peer::try_once(executor, START, client, args.as_args(), 3)
                    .ok()
                    .map(|done| String::from_utf8(done.reply).unwrap())
            };
            match action {
                0 => commit(executor),
                1 => {
                    if let Some(reply) = try_ask(&["GET", &name]) {
                        let value = reply.split("\r\n").nth(1).unwrap_or("").parse().unwrap_or(0);
                        let before = seen.insert((worker, key), value).unwrap_or(0);
                        prop_assert!(value >= before, "went back from {} to {}", before, value);
                    }
                }
                _ => {
                    if try_ask(&["INCR", &name]).is_some() {
                        *done.entry(key).or_default() += 1;
                    }
                }
            }
        }
        executors.iter_mut().for_each(commit);
        for (key, count) in done {
            let args = OwnedArgs::from_parts(&["GET".to_owned(), format!("k{key}")]);
            for (executor, client) in executors.iter_mut().zip(&mut clients) {
                let reply = execute(&engine, executor, START, client, args.as_args()).reply;
                prop_assert_eq!(&reply, &bulk(count.to_string().as_bytes()).into_bytes());
            }
        }
    }
}
