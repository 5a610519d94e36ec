//! Large collections as queues, and random members of large sets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use coney_engine::{Client, Engine, Executor};
use coney_resp::OwnedArgs;
use proptest::prelude::*;
use rocksdb::perf::{PerfContext, PerfMetric};
use tempfile::TempDir;

use crate::peer::{START, commit, execute, open};

/// Workers that take turns: one commits before the other goes on.
struct Workers {
    engine: Arc<Engine>,
    executors: Vec<Executor>,
    clients: Vec<Client>,
    now: usize,
    _dir: TempDir,
}

impl Workers {
    /// Every collection is large at once.
    fn new(count: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let engine = open(&dir, count);
        for setting in
            ["set-max-listpack-entries", "set-max-intset-entries", "zset-max-listpack-entries"]
        {
            engine.encoding_limits().set(setting, 0).unwrap();
        }
        engine.encoding_limits().set("list-max-listpack-size", 1).unwrap();
        let executors = (0..count).map(|id| Executor::new(Arc::clone(&engine), id)).collect();
        let clients = (1..).take(count).map(Client::new).collect();
        Self { engine, executors, clients, now: 0, _dir: dir }
    }

    fn commit(&mut self) {
        commit(&mut self.executors[self.now]);
    }

    /// The reply without what says how long its parts are.
    fn ask(&mut self, command: &str) -> Vec<String> {
        let args = OwnedArgs::from_parts(&command.split(' ').collect::<Vec<_>>());
        let (executor, client) = (&mut self.executors[self.now], &mut self.clients[self.now]);
        let done = execute(&self.engine, executor, START, client, args.as_args());
        let text = String::from_utf8(done.reply).unwrap();
        let is_content = |line: &&str| !line.is_empty() && !line.starts_with(['*', '$']);
        text.split("\r\n").filter(is_content).map(str::to_owned).collect()
    }
}

#[derive(Debug, Clone)]
enum Op {
    Add(u8, u8),
    Remove(u8),
    PopMin,
    PopMax,
    Push(bool, u8),
    Pop(bool),
    /// So many elements at once.
    PushMany(bool, u8),
    /// From one position to another.
    Range(u8, u8),
    Replace(u8, u8),
    /// Keeps the elements between two positions.
    Trim(u8, u8),
    Increment,
    AddMember(u8),
    RemoveMember(u8),
    PopMember,
    Commit,
    /// The other worker goes on.
    Switch,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0_u8..20, 0_u8..30).prop_map(|(score, member)| Op::Add(score, member)),
        2 => (0_u8..30).prop_map(Op::Remove),
        3 => Just(Op::PopMin),
        3 => Just(Op::PopMax),
        3 => (any::<bool>(), any::<u8>()).prop_map(|(is_left, value)| Op::Push(is_left, value)),
        4 => any::<bool>().prop_map(Op::Pop),
        2 => (any::<bool>(), 1_u8..60).prop_map(|(is_left, count)| Op::PushMany(is_left, count)),
        4 => (0_u8..120, 0_u8..120).prop_map(|(start, stop)| Op::Range(start, stop)),
        1 => (0_u8..120, any::<u8>()).prop_map(|(at, value)| Op::Replace(at, value)),
        1 => (0_u8..6, 60_u8..255).prop_map(|(start, stop)| Op::Trim(start, stop)),
        2 => Just(Op::Increment),
        5 => (0_u8..60).prop_map(Op::AddMember),
        1 => (0_u8..60).prop_map(Op::RemoveMember),
        4 => Just(Op::PopMember),
        3 => Just(Op::Commit),
        2 => Just(Op::Switch),
    ]
}

#[derive(Default)]
struct Model {
    scores: BTreeMap<String, u8>,
    list: VecDeque<String>,
    counter: u32,
    set: BTreeSet<String>,
}

impl Model {
    fn take(&mut self, is_last: bool) -> Vec<String> {
        let order = |(member, score): (&String, &u8)| (*score, member.clone());
        let found = if is_last {
            self.scores.iter().map(order).max()
        } else {
            self.scores.iter().map(order).min()
        };
        let Some((score, member)) = found else { return Vec::new() };
        self.scores.remove(&member);
        vec![member, score.to_string()]
    }

    fn check(&mut self, workers: &mut Workers, op: &Op) {
        let count = |value: usize| vec![format!(":{value}")];
        match op {
            Op::Add(score, number) => {
                let member = format!("m{number}");
                let reply = workers.ask(&format!("ZADD z {score} {member}"));
                let is_new = self.scores.insert(member, *score).is_none();
                assert_eq!(reply, count(usize::from(is_new)));
            }
            Op::Remove(number) => {
                let member = format!("m{number}");
                let reply = workers.ask(&format!("ZREM z {member}"));
                assert_eq!(reply, count(usize::from(self.scores.remove(&member).is_some())));
            }
            Op::PopMin => assert_eq!(workers.ask("ZPOPMIN z"), self.take(false)),
            Op::PopMax => assert_eq!(workers.ask("ZPOPMAX z"), self.take(true)),
            Op::Push(is_left, number) => {
                let value = number.to_string();
                let name = if *is_left { "LPUSH" } else { "RPUSH" };
                let reply = workers.ask(&format!("{name} l {value}"));
                if *is_left {
                    self.list.push_front(value);
                } else {
                    self.list.push_back(value);
                }
                assert_eq!(reply, count(self.list.len()));
            }
            Op::Pop(is_left) => {
                let reply = workers.ask(if *is_left { "LPOP l" } else { "RPOP l" });
                let popped = if *is_left { self.list.pop_front() } else { self.list.pop_back() };
                assert_eq!(reply, Vec::from_iter(popped));
            }
            Op::PushMany(is_left, number) => {
                let values: Vec<String> = (0..*number).map(|it| format!("p{it}")).collect();
                let name = if *is_left { "LPUSH" } else { "RPUSH" };
                let reply = workers.ask(&format!("{name} l {}", values.join(" ")));
                for value in values {
                    if *is_left {
                        self.list.push_front(value);
                    } else {
                        self.list.push_back(value);
                    }
                }
                assert_eq!(reply, count(self.list.len()));
            }
            Op::Range(start, stop) => {
                let reply = workers.ask(&format!("LRANGE l {start} {stop}"));
                let (start, end) = (usize::from(*start), usize::from(*stop) + 1);
                let end = end.min(self.list.len());
                let start = start.min(end);
                let expected: Vec<String> = self.list.range(start..end).cloned().collect();
                assert_eq!(reply, expected);
            }
            Op::Replace(at, number) => {
                let reply = workers.ask(&format!("LSET l {at} {number}"));
                match self.list.get_mut(usize::from(*at)) {
                    Some(value) => {
                        *value = number.to_string();
                        assert_eq!(reply, ["+OK"]);
                    }
                    None => assert!(reply[0].starts_with("-ERR"), "{reply:?}"),
                }
            }
            Op::Trim(start, stop) => {
                assert_eq!(workers.ask(&format!("LTRIM l {start} {stop}")), ["+OK"]);
                self.list.truncate(usize::from(*stop) + 1);
                self.list.drain(..usize::from(*start).min(self.list.len()));
            }
            Op::Increment => {
                self.counter += 1;
                assert_eq!(workers.ask("INCR c"), [format!(":{}", self.counter)]);
            }
            Op::AddMember(number) => {
                let member = format!("m{number}");
                let reply = workers.ask(&format!("SADD s {member}"));
                assert_eq!(reply, count(usize::from(self.set.insert(member))));
            }
            Op::RemoveMember(number) => {
                let member = format!("m{number}");
                let reply = workers.ask(&format!("SREM s {member}"));
                assert_eq!(reply, count(usize::from(self.set.remove(&member))));
            }
            Op::PopMember => {
                let reply = workers.ask("SPOP s");
                assert_eq!(reply.is_empty(), self.set.is_empty());
                for member in reply {
                    assert!(self.set.remove(&member), "{member} is popped once");
                }
                assert_eq!(workers.ask("SCARD s"), count(self.set.len()));
            }
            Op::Commit => workers.commit(),
            Op::Switch => {
                workers.commit();
                workers.now = (workers.now + 1) % workers.executors.len();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // What could break: what a worker remembers of a queue's ends, of a list's elements, or which
    // members it pops next, when it, or another worker, writes there meanwhile; values that are
    // overwritten in the batch.
    #[test]
    fn queues_are_queues_within_and_across_batches(
        workers in 1_usize..3,
        ops in prop::collection::vec(op(), 1..300),
    ) {
        let mut workers = Workers::new(workers);
        let mut model = Model::default();
        for op in &ops {
            model.check(&mut workers, op);
        }
    }
}

#[test]
fn what_a_transaction_took_back_is_not_popped_later() {
    let mut workers = Workers::new(1);
    workers.ask("SADD s a b");
    workers.ask("ZADD z 5 a");
    workers.commit();
    assert_eq!(workers.ask("ZPOPMIN z"), ["a", "5"]);
    // It has to wait as a whole, for a key that only the device has.
    for (command, reply) in [
        ("MULTI", "+OK"),
        ("ZADD z 1 b", "+QUEUED"),
        ("ZPOPMIN z", "+QUEUED"),
        ("SADD s c", "+QUEUED"),
        ("SPOP s", "+QUEUED"),
        ("SORT s BY nosort STORE sorted", "+QUEUED"),
    ] {
        assert_eq!(workers.ask(command), [reply]);
    }
    let reply = workers.ask("EXEC");
    assert_eq!(reply[..4], [":1", "b", "1", ":1"]);
    let card = workers.ask("SCARD s");
    assert_eq!(card, [":2"]);
    workers.commit();
    let mut members = workers.ask("SMEMBERS s");
    members.push(reply[4].clone());
    members.sort();
    assert_eq!(members, ["a", "b", "c"]);
}

// A worker that takes the first of many removed ones must not step over all of them, which it would
// leave to the pool: some thousand are its limit.
#[test]
fn taking_the_first_does_not_step_over_all_that_were_taken() {
    let mut workers = Workers::new(1);
    for number in 0..12_000 {
        workers.ask(&format!("ZADD z {number} m{number}"));
    }
    workers.commit();
    for number in 0..6_000 {
        assert_eq!(workers.ask("ZPOPMIN z")[1], number.to_string());
        assert_eq!(workers.ask("ZPOPMAX z")[1], (11_999 - number).to_string());
        if number % 100 == 0 {
            workers.commit();
        }
    }
    // A table that was just written has blocks that are not in memory yet.
    let holds = workers.executors[0].stats.holds;
    assert!(holds < 200, "{holds} of 12000 were left to the pool");
}

// SPOP until nothing is left must not step over all that were taken again and again, nor leave that to
// the pool, command by command.
#[test]
fn a_set_can_be_emptied_member_by_member() {
    let mut workers = Workers::new(1);
    for number in 0..12_000 {
        workers.ask(&format!("SADD s m{number}"));
    }
    workers.commit();
    let mut popped = BTreeSet::new();
    for number in 0..12_000 {
        popped.extend(workers.ask("SPOP s"));
        if number % 100 == 0 {
            workers.commit();
        }
    }
    assert_eq!(popped.len(), 12_000);
    assert_eq!((workers.ask("SPOP s").len(), workers.ask("EXISTS s")), (0, vec![":0".to_owned()]));
    // A table that was just written has blocks that are not in memory yet.
    let holds = workers.executors[0].stats.holds;
    assert!(holds < 40, "{holds} of 12000 were left to the pool");
}

// What could break: a set that most members were taken from, where those that are left are taken in
// order: what is added, or removed by name, meanwhile.
#[test]
fn a_sparse_set_gives_every_member_once() {
    let mut workers = Workers::new(1);
    for number in 0..6_000 {
        workers.ask(&format!("SADD s m{number}"));
    }
    workers.commit();
    let mut left: BTreeSet<String> = (0..6_000).map(|number| format!("m{number}")).collect();
    let mut next = 6_000;
    while !left.is_empty() {
        let member = workers.ask("SPOP s").remove(0);
        assert!(left.remove(&member), "{member} was not there");
        match next % 7 {
            0 => workers.commit(),
            1 => {
                let member = left.first().cloned().unwrap_or_default();
                let reply = workers.ask(&format!("SREM s {member}"));
                assert_eq!(reply, [format!(":{}", usize::from(left.remove(&member)))]);
            }
            2 if next < 9_000 => {
                assert_eq!(workers.ask(&format!("SADD s m{next} {member}")), [":2"]);
                left.extend([format!("m{next}"), member]);
            }
            _ => {}
        }
        next += 1;
    }
    assert!(workers.ask("SPOP s").is_empty());
}

/// Pearson's statistic of how often each of `counts` came, if all are as likely.
fn chi_square(counts: &BTreeMap<String, u32>) -> f64 {
    let total: u32 = counts.values().sum();
    let expected = f64::from(total) / counts.len() as f64;
    counts.values().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
}

/// Fails if the statistic is what happens once in a million fair runs (five standard deviations).
fn assert_fair(counts: &BTreeMap<String, u32>) {
    let degrees = counts.len() as f64 - 1.0;
    let statistic = chi_square(counts);
    let most = degrees + 5.0 * (2.0 * degrees).sqrt();
    assert!(statistic < most, "{statistic:.0} of at most {most:.0} with {degrees} degrees");
}

#[test]
fn random_members_are_fair_whatever_was_removed() {
    let mut workers = Workers::new(1);
    for number in 0..1_500 {
        workers.ask(&format!("SADD s m{number}"));
    }
    // Some by name, some at random, many of these in one batch.
    for number in (0..1_500).step_by(3) {
        workers.ask(&format!("SREM s m{number}"));
    }
    workers.commit();
    for _ in 0..400 {
        workers.ask("SPOP s");
    }
    workers.commit();
    let mut counts: BTreeMap<String, u32> =
        workers.ask("SMEMBERS s").into_iter().map(|member| (member, 0)).collect();
    assert_eq!(counts.len(), 600);
    for _ in 0..30_000 {
        let member = workers.ask("SRANDMEMBER s").remove(0);
        *counts.get_mut(&member).unwrap() += 1;
    }
    assert_fair(&counts);
}

#[test]
fn popped_members_are_fair() {
    let mut workers = Workers::new(1);
    let mut counts = BTreeMap::new();
    for number in 0..100 {
        workers.ask(&format!("SADD s m{number}"));
        counts.insert(format!("m{number}"), 0);
    }
    workers.commit();
    for _ in 0..6_000 {
        // What is popped second comes from what the first one left.
        let popped = [workers.ask("SPOP s").remove(0), workers.ask("SPOP s").remove(0)];
        *counts.get_mut(&popped[1]).unwrap() += 1;
        workers.commit();
        workers.ask(&format!("SADD s {} {}", popped[0], popped[1]));
        workers.commit();
    }
    assert_fair(&counts);
}

// What could break: a pop that has to go to the pool steps over all that was popped before it.
#[test]
fn the_pool_knows_where_a_queue_begins() {
    let skipped = || PerfContext::default().metric(PerfMetric::InternalDeleteSkippedCount);
    for count in [1, 2] {
        let mut workers = Workers::new(count);
        let members: Vec<String> =
            (0..20_000).map(|number| format!("{number} m{number}")).collect();
        for part in members.chunks(500) {
            workers.ask(&format!("ZADD queue {}", part.join(" ")));
            workers.commit();
        }
        for number in 0..3000 {
            assert_eq!(workers.ask("ZPOPMIN queue"), [format!("m{number}"), number.to_string()]);
        }
        workers.commit();
        let (before, holds) = (skipped(), workers.executors[0].stats.holds);
        assert_eq!(workers.ask("ZPOPMIN queue 1200").len(), 2400);
        assert_eq!(workers.executors[0].stats.holds, holds + 1, "too many for a worker");
        workers.commit();
        assert!(skipped() - before < 100, "{} removed elements", skipped() - before);
        assert_eq!(workers.ask("ZPOPMIN queue"), ["m4200", "4200"]);
        assert_eq!(workers.ask("ZPOPMAX queue"), ["m19999", "19999"]);
    }
}
