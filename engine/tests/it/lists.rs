//! Lists against a plain model, compact and large, over commits, restarts and the I/O pool; and what
//! only long lists show.

use std::collections::VecDeque;
use std::sync::Arc;

use coney_engine::{Client, Engine, Executor};
use coney_resp::OwnedArgs;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::peer::{EnginePeer, START, commit, execute, open};

#[derive(Clone, Debug)]
enum Op {
    Push(bool, Vec<String>),
    /// So many different ones at once.
    PushMany(bool, usize),
    Pop(bool, usize),
    Insert(bool, String, String),
    Remove(i64, String),
    Trim(i64, i64),
    Set(i64, String),
    Rotate(bool, bool),
    Read(i64, i64),
    Position(i64, String),
    Commit,
    Restart,
}

/// The model: what Redis's pages say, in the plainest way.
#[derive(Debug, Default)]
struct Model(VecDeque<String>);

fn bulk(value: Option<&String>) -> String {
    value.map_or("$-1\r\n".to_owned(), |value| format!("${}\r\n{value}\r\n", value.len()))
}

fn array<'v>(values: impl ExactSizeIterator<Item = &'v String>) -> String {
    let len = values.len();
    let values: String = values.map(|value| bulk(Some(value))).collect();
    format!("*{len}\r\n{values}")
}

fn int(value: usize) -> String {
    format!(":{value}\r\n")
}

/// What a number says without its sign.
fn size(number: i64) -> usize {
    usize::try_from(number.unsigned_abs()).unwrap()
}

impl Model {
    fn at(&self, index: i64) -> Option<usize> {
        let len = i64::try_from(self.0.len()).unwrap();
        let at = if index < 0 { len + index } else { index };
        usize::try_from(at).ok().filter(|at| *at < self.0.len())
    }

    fn span(&self, start: i64, stop: i64) -> std::ops::Range<usize> {
        let len = i64::try_from(self.0.len()).unwrap();
        let whole = |index: i64| if index < 0 { len + index } else { index };
        let (start, end) = (whole(start).max(0), whole(stop).min(len - 1) + 1);
        if start >= end { 0..0 } else { size(start)..size(end) }
    }

    fn push(&mut self, is_left: bool, value: String) {
        if is_left { self.0.push_front(value) } else { self.0.push_back(value) }
    }

    fn pop(&mut self, is_left: bool) -> Option<String> {
        if is_left { self.0.pop_front() } else { self.0.pop_back() }
    }

    fn read(&self, op: &Op) -> (Vec<String>, String) {
        let mut words = vec![String::new(), "l".to_owned()];
        let reply = match op {
            Op::Read(start, stop) => {
                words[0] = "LRANGE".to_owned();
                words.extend([start.to_string(), stop.to_string()]);
                array(self.0.range(self.span(*start, *stop)))
            }
            Op::Position(rank, value) => {
                words[0] = "LPOS".to_owned();
                words.extend([value.clone(), "RANK".to_owned(), rank.to_string()]);
                let skipped = size(*rank) - 1;
                let mut at = (0..self.0.len()).filter(|at| self.0[*at] == *value);
                let found = if *rank < 0 { at.rev().nth(skipped) } else { at.nth(skipped) };
                found.map_or("$-1\r\n".to_owned(), int)
            }
            other => unreachable!("{other:?} is no read"),
        };
        (words, reply)
    }

    /// The command of an operation, and its reply.
    fn execute(&mut self, op: &Op) -> (Vec<String>, String) {
        let side = |is_left: bool, left: &str, right: &str| {
            if is_left { left.to_owned() } else { right.to_owned() }
        };
        let mut words = vec![String::new(), "l".to_owned()];
        let reply = match op {
            Op::Push(is_left, values) => {
                words[0] = side(*is_left, "LPUSH", "RPUSH");
                words.extend(values.iter().cloned());
                values.iter().for_each(|value| self.push(*is_left, value.clone()));
                int(self.0.len())
            }
            Op::PushMany(is_left, count) => {
                words[0] = side(*is_left, "LPUSH", "RPUSH");
                for number in 0..*count {
                    let value = format!("n{}", number % 50);
                    words.push(value.clone());
                    self.push(*is_left, value);
                }
                int(self.0.len())
            }
            Op::Pop(is_left, count) => {
                words[0] = side(*is_left, "LPOP", "RPOP");
                words.push(count.to_string());
                let is_absent = self.0.is_empty();
                let popped: Vec<String> = (0..*count).map_while(|_| self.pop(*is_left)).collect();
                if is_absent { "*-1\r\n".to_owned() } else { array(popped.iter()) }
            }
            Op::Insert(is_before, pivot, value) => {
                words[0] = "LINSERT".to_owned();
                words.extend([side(*is_before, "BEFORE", "AFTER"), pivot.clone(), value.clone()]);
                match self.0.iter().position(|other| other == pivot) {
                    Some(at) => {
                        self.0.insert(at + usize::from(!is_before), value.clone());
                        int(self.0.len())
                    }
                    None if self.0.is_empty() => int(0),
                    None => ":-1\r\n".to_owned(),
                }
            }
            Op::Remove(count, value) => {
                words[0] = "LREM".to_owned();
                words.extend([count.to_string(), value.clone()]);
                let mut at: Vec<usize> =
                    (0..self.0.len()).filter(|at| self.0[*at] == *value).collect();
                if *count < 0 {
                    at.reverse();
                }
                if *count != 0 {
                    at.truncate(size(*count));
                }
                at.sort_unstable();
                at.iter().rev().for_each(|at| {
                    self.0.remove(*at);
                });
                int(at.len())
            }
            Op::Trim(start, stop) => {
                words[0] = "LTRIM".to_owned();
                words.extend([start.to_string(), stop.to_string()]);
                let span = self.span(*start, *stop);
                self.0.truncate(span.end);
                self.0.drain(..span.start);
                "+OK\r\n".to_owned()
            }
            Op::Set(index, value) => {
                words[0] = "LSET".to_owned();
                words.extend([index.to_string(), value.clone()]);
                match self.at(*index) {
                    Some(at) => {
                        self.0[at] = value.clone();
                        "+OK\r\n".to_owned()
                    }
                    None if self.0.is_empty() => "-ERR no such key\r\n".to_owned(),
                    None => "-ERR index out of range\r\n".to_owned(),
                }
            }
            Op::Rotate(from, to) => {
                words[0] = "LMOVE".to_owned();
                words.push("l".to_owned());
                words.extend([side(*from, "LEFT", "RIGHT"), side(*to, "LEFT", "RIGHT")]);
                let moved = self.pop(*from);
                let reply = bulk(moved.as_ref());
                if let Some(moved) = moved {
                    self.push(*to, moved);
                }
                reply
            }
            read => return self.read(read),
        };
        (words, reply)
    }
}

struct System {
    dir: TempDir,
    engine: Arc<Engine>,
    executor: Executor,
    client: Client,
    limit: i64,
}

impl System {
    fn start(dir: TempDir, limit: i64) -> Self {
        let engine = open(&dir, 1);
        engine.encoding_limits().set("list-max-listpack-size", limit).unwrap();
        let executor = Executor::new(Arc::clone(&engine), 0);
        Self { dir, engine, executor, client: Client::new(1), limit }
    }

    fn restart(mut self) -> Self {
        commit(&mut self.executor);
        self.engine.flush().unwrap();
        let Self { dir, engine, executor, limit, .. } = self;
        drop(executor);
        drop(engine);
        Self::start(dir, limit)
    }

    fn ask(&mut self, words: &[String]) -> String {
        let args = OwnedArgs::from_parts(words);
        let (client, args) = (&mut self.client, args.as_args());
        let done = execute(&self.engine, &mut self.executor, START, client, args);
        String::from_utf8(done.reply).unwrap()
    }
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[abc]",
        1 => "n[0-9]",
        1 => Just(String::new()),
        1 => Just("long".repeat(300)),
    ]
}

fn index() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -6_i64..6, 1 => -3000_i64..3000]
}

fn op() -> impl Strategy<Value = Op> {
    let some = proptest::collection::vec(value(), 1..6);
    prop_oneof![
        6 => (any::<bool>(), some).prop_map(|(end, values)| Op::Push(end, values)),
        1 => (any::<bool>(), prop_oneof![10_usize..100, 1100_usize..2500])
            .prop_map(|(end, count)| Op::PushMany(end, count)),
        3 => (any::<bool>(), prop_oneof![9 => 0_usize..5, 1 => 0_usize..2000])
            .prop_map(|(end, count)| Op::Pop(end, count)),
        3 => (any::<bool>(), value(), value())
            .prop_map(|(before, pivot, value)| Op::Insert(before, pivot, value)),
        3 => (-3_i64..4, value()).prop_map(|(count, value)| Op::Remove(count, value)),
        1 => (index(), index()).prop_map(|(start, stop)| Op::Trim(start, stop)),
        1 => (0_i64..4, -4_i64..0).prop_map(|(start, stop)| Op::Trim(start, stop)),
        2 => (index(), value()).prop_map(|(index, value)| Op::Set(index, value)),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(from, to)| Op::Rotate(from, to)),
        2 => (index(), index()).prop_map(|(start, stop)| Op::Read(start, stop)),
        2 => (prop_oneof![-3_i64..0, 1_i64..4], value())
            .prop_map(|(rank, value)| Op::Position(rank, value)),
        3 => Just(Op::Commit),
        1 => Just(Op::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    // What could break: positions after elements moved, and elements that come back after their
    // index was used before.
    #[test]
    fn a_list_is_that_of_a_plain_model(
        limit in prop_oneof![Just(-2), Just(4)],
        ops in proptest::collection::vec(op(), 1..60),
    ) {
        let mut system = System::start(TempDir::new().unwrap(), limit);
        let mut model = Model::default();
        for op in &ops {
            match op {
                Op::Commit => commit(&mut system.executor),
                Op::Restart => system = system.restart(),
                op => {
                    let (words, expected) = model.execute(op);
                    prop_assert_eq!(system.ask(&words), expected, "{:?}", op);
                }
            }
            let (words, expected) = model.execute(&Op::Read(0, -1));
            prop_assert_eq!(system.ask(&words), expected, "after {:?}", op);
        }
    }
}

fn peer_with_list(len: usize) -> EnginePeer {
    let mut peer = EnginePeer::new();
    let values: Vec<String> = (0..len).map(|number| format!("v{number}")).collect();
    assert_eq!(peer.ask(&format!("RPUSH l {}", values.join(" "))), format!(":{len}\r\n"));
    commit(&mut peer.executor);
    peer
}

#[test]
fn encodings_follow_the_limit() {
    let mut peer = EnginePeer::new();
    let is = |peer: &mut EnginePeer, name: &str| peer.ask("OBJECT ENCODING l").contains(name);
    peer.ask("RPUSH l a b c");
    assert!(is(&mut peer, "listpack"));
    peer.engine.encoding_limits().set("list-max-listpack-size", 3).unwrap();
    peer.ask("LSET l 0 x");
    assert!(is(&mut peer, "listpack"), "three are few enough");
    peer.ask("LPUSH l d");
    assert!(is(&mut peer, "quicklist"));
    peer.ask("LPOP l 3");
    assert!(is(&mut peer, "quicklist"), "one way");
    peer.ask("DEL l");
    peer.engine.encoding_limits().set("list-max-listpack-size", -5).unwrap();
    peer.ask(&format!("RPUSH l {}", "x".repeat(4000)));
    assert!(is(&mut peer, "listpack"));
    peer.ask(&format!("RPUSH l {}", "x".repeat(100)));
    assert!(is(&mut peer, "quicklist"));
}

// What could break: work that grows with the length of the list.
#[test]
fn both_ends_of_a_long_list_are_near() {
    let mut peer = peer_with_list(20_000);
    let on_pool = |peer: &EnginePeer| peer.executor.stats.pool_reads + peer.executor.stats.holds;
    let before = on_pool(&peer);
    for (line, reply) in [
        ("LPUSH l first", ":20001\r\n"),
        ("RPUSH l last", ":20002\r\n"),
        ("LPOP l", "$5\r\nfirst\r\n"),
        ("RPOP l", "$4\r\nlast\r\n"),
        ("LINSERT l BEFORE v1 x", ":20001\r\n"),
        ("LREM l 1 x", ":1\r\n"),
        ("LREM l -1 v19998", ":1\r\n"),
        ("RPOPLPUSH l l", "$6\r\nv19999\r\n"),
        ("LTRIM l 1 -2", "+OK\r\n"),
        ("LINDEX l 10000", "$6\r\nv10000\r\n"),
    ] {
        assert_eq!(peer.ask(line), reply, "{line}");
        let written = peer.executor.write_count();
        assert!(written <= 8, "{line} wrote {written}");
        commit(&mut peer.executor);
    }
    assert_eq!(on_pool(&peer), before, "on the worker");
    assert_eq!(peer.ask("LTRIM l 9000 9009"), "+OK\r\n");
    assert!(peer.executor.write_count() <= 20, "what is kept is less");
    assert_eq!(peer.ask("LINDEX l 0"), "$5\r\nv9000\r\n");
    assert_eq!(peer.ask("LLEN l"), ":10\r\n");
    commit(&mut peer.executor);
    let dead: usize = (0..10).map(|_| peer.engine.reclaim(100).unwrap()).sum();
    assert_eq!(dead, 1, "the rest");
    assert_eq!(peer.ask("LINDEX l -1"), "$5\r\nv9009\r\n");
}

#[test]
fn the_middle_of_a_long_list_is_changed_on_the_pool() {
    let mut peer = peer_with_list(3000);
    assert_eq!(peer.ask("LINSERT l AFTER v1999 x"), ":3001\r\n");
    assert_eq!(peer.ask("LPOS l x"), ":2000\r\n");
    assert_eq!(peer.ask("LREM l 0 v1500"), ":1\r\n");
    assert_eq!(peer.ask("LINDEX l 1999"), "$1\r\nx\r\n");
    assert!(peer.executor.stats.holds >= 2);
    assert_eq!(peer.ask("COPY l m"), ":1\r\n");
    assert_eq!(peer.ask("LINDEX m -1"), "$5\r\nv2999\r\n");
    assert_eq!(peer.ask("LINDEX m 0"), "$2\r\nv0\r\n");
}

// What could break: a command on the pool that misses what its own client wrote before it, in keys
// that only the elements name.
#[test]
fn a_long_list_is_sorted_by_what_the_client_has_just_written() {
    let mut peer = peer_with_list(2000);
    peer.ask("SET w:v1500 -1");
    assert_eq!(peer.ask("SORT l BY w:* LIMIT 0 1"), "*1\r\n$5\r\nv1500\r\n");
    peer.ask("SET w:v1600 -2");
    assert_eq!(peer.ask("SORT_RO l BY w:* LIMIT 0 1"), "*1\r\n$5\r\nv1600\r\n");
    peer.ask("SET w:v1700 -3");
    assert_eq!(peer.ask("SORT l BY w:* STORE d"), ":2000\r\n");
    assert_eq!(peer.ask("LINDEX d 0"), "$5\r\nv1700\r\n");
    assert_eq!(peer.ask("SORT l ALPHA STORE l"), ":2000\r\n");
    assert_eq!(peer.ask("LINDEX l 1"), "$2\r\nv1\r\n");
    assert_eq!(peer.executor.stats.holds, 3);
}
