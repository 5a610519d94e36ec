//! Ranks of large sorted sets, against a plain vector, with everything checked on disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use coney_engine::{Client, Engine, Executor};
use coney_resp::OwnedArgs;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::peer::{START, commit, execute, open};

/// What happens next. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Op {
    /// So many members from one on, with scores that go up in steps of this, or stay.
    Add {
        first: u32,
        count: u32,
        score: i32,
        step: i32,
    },
    Increment {
        member: u32,
        by: i32,
    },
    Remove {
        first: u32,
        count: u32,
    },
    RemoveRanks {
        start: u32,
        count: u32,
    },
    RemoveScores {
        min: i32,
        len: i32,
    },
    Pop {
        count: u32,
        is_max: bool,
    },
    /// Asks for everything that has to do with ranks here.
    Ask {
        member: u32,
        rank: u32,
        len: u32,
        score: i32,
        is_reverse: bool,
    },
    Rename,
    Commit,
    Flush,
    Reopen,
}

const MEMBERS: u32 = 60_000;

fn ops() -> impl Strategy<Value = Op> {
    let member = || 0..MEMBERS;
    let score = || -50..50_i32;
    prop_oneof![
        8 => (member(), 1..4000_u32, score(), prop_oneof![Just(0), 1..20_i32])
            .prop_map(|(first, count, score, step)| Op::Add { first, count, score, step }),
        4 => (member(), 1..3_u32, score())
            .prop_map(|(first, count, score)| Op::Add { first, count, score, step: 1 }),
        3 => (member(), score()).prop_map(|(member, by)| Op::Increment { member, by }),
        2 => (member(), 1..2000_u32).prop_map(|(first, count)| Op::Remove { first, count }),
        2 => (member(), 1..3000_u32)
            .prop_map(|(start, count)| Op::RemoveRanks { start, count }),
        1 => (score(), 0..10).prop_map(|(min, len)| Op::RemoveScores { min, len }),
        2 => (1..600_u32, any::<bool>()).prop_map(|(count, is_max)| Op::Pop { count, is_max }),
        9 => (member(), member(), 0..5_u32, score(), any::<bool>()).prop_map(
            |(member, rank, len, score, is_reverse)| Op::Ask { member, rank, len, score, is_reverse }
        ),
        1 => Just(Op::Rename),
        4 => Just(Op::Commit),
        1 => Just(Op::Flush),
        1 => Just(Op::Reopen),
    ]
}

/// The engine, and members with their scores beside it.
struct World {
    dir: TempDir,
    engine: Option<Arc<Engine>>,
    executor: Option<Executor>,
    client: Client,
    key: &'static str,
    scores: BTreeMap<String, i32>,
}

fn name(number: u32) -> String {
    format!("m{}", number % MEMBERS)
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let engine = open(&dir, 1);
        let executor = Executor::new(Arc::clone(&engine), 0);
        Self {
            dir,
            engine: Some(engine),
            executor: Some(executor),
            client: Client::new(1),
            key: "z",
            scores: BTreeMap::new(),
        }
    }

    fn ask(&mut self, words: &[&str]) -> String {
        let args = OwnedArgs::from_parts(words);
        let (engine, executor) = (self.engine.as_ref().unwrap(), self.executor.as_mut().unwrap());
        let done = execute(engine, executor, START, &mut self.client, args.as_args());
        String::from_utf8(done.reply).unwrap()
    }

    /// Bulks of a reply, or the number it is.
    fn list(&mut self, words: &[&str]) -> Vec<String> {
        let reply = self.ask(words);
        let is_value = |line: &&str| !line.is_empty() && !line.starts_with(['*', '$']);
        reply.split("\r\n").filter(is_value).map(|line| line.replace(':', "")).collect()
    }

    /// Members in the order of the sorted set.
    fn order(&self) -> Vec<String> {
        let mut order: Vec<(i32, &String)> =
            self.scores.iter().map(|(member, score)| (*score, member)).collect();
        order.sort();
        order.into_iter().map(|(_, member)| member.clone()).collect()
    }

    fn remove(&mut self, members: &[String]) {
        for member in members {
            self.scores.remove(member);
        }
    }

    fn change(&mut self, op: &Op) {
        let key = self.key;
        match op {
            Op::Add { first, count, score, step } => {
                let mut words = vec!["ZADD".to_owned(), key.to_owned()];
                for number in 0..*count {
                    let member = name(first + number);
                    let score = score + i32::try_from(number / 10).unwrap() * step;
                    words.extend([score.to_string(), member.clone()]);
                    self.scores.insert(member, score);
                }
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.ask(&words);
            }
            Op::Increment { member, by } => {
                let member = name(*member);
                let score = self.scores.entry(member.clone()).or_insert(0);
                *score += by;
                let expected = score.to_string();
                assert_eq!(self.list(&["ZINCRBY", key, &by.to_string(), &member]), [expected]);
            }
            Op::Remove { first, count } => {
                let members: Vec<String> = (0..*count).map(|at| name(first + at)).collect();
                self.remove(&members);
                let mut words = vec!["ZREM", key];
                words.extend(members.iter().map(String::as_str));
                self.ask(&words);
            }
            Op::RemoveRanks { start, count } => {
                let order = self.order();
                let start = *start as usize % order.len().max(1);
                let end = (start + *count as usize).min(order.len());
                self.remove(&order[start..end]);
                let (start, stop) = (start.to_string(), (start + *count as usize - 1).to_string());
                let removed = self.list(&["ZREMRANGEBYRANK", key, &start, &stop]);
                assert_eq!(removed, [(order.len() - self.scores.len()).to_string()]);
            }
            Op::RemoveScores { min, len } => {
                self.scores.retain(|_, score| !(*min..=min + len).contains(score));
                let max = (min + len).to_string();
                self.ask(&["ZREMRANGEBYSCORE", key, &min.to_string(), &max]);
            }
            Op::Pop { count, is_max } => {
                let mut order = self.order();
                if *is_max {
                    order.reverse();
                }
                order.truncate(*count as usize);
                self.remove(&order);
                let command = if *is_max { "ZPOPMAX" } else { "ZPOPMIN" };
                let popped = self.list(&[command, key, &count.to_string()]);
                assert_eq!(
                    popped.iter().step_by(2).collect::<Vec<_>>(),
                    order.iter().collect::<Vec<_>>()
                );
            }
            Op::Rename => {
                let other = if key == "z" { "y" } else { "z" };
                self.ask(&["RENAME", key, other]);
                self.key = other;
            }
            Op::Commit | Op::Flush | Op::Reopen => self.settle(op),
            Op::Ask { member, rank, len, score, is_reverse } => {
                self.compare(&name(*member), *rank as usize, *len as usize, *score, *is_reverse);
            }
        }
    }

    /// Commits, and checks what is on disk then.
    fn settle(&mut self, op: &Op) {
        commit(self.executor.as_mut().unwrap());
        let engine = self.engine.as_ref().unwrap();
        let checked = engine.check().unwrap();
        if checked.sets == 1 {
            assert_eq!(checked.members, self.scores.len() as u64);
        }
        match op {
            Op::Flush => engine.flush().unwrap(),
            Op::Reopen => {
                (self.executor, self.engine) = (None, None);
                let engine = open(&self.dir, 1);
                self.executor = Some(Executor::new(Arc::clone(&engine), 0));
                self.engine = Some(engine);
            }
            _ => {}
        }
    }

    fn compare(&mut self, member: &str, rank: usize, len: usize, score: i32, is_reverse: bool) {
        let (key, order) = (self.key, self.order());
        let ordered: Vec<(i32, String)> =
            order.iter().map(|member| (self.scores[member], member.clone())).collect();
        let mut order = order;
        if is_reverse {
            order.reverse();
        }
        let command = if is_reverse { "ZREVRANK" } else { "ZRANK" };
        let at = order.iter().position(|other| other == member);
        assert_eq!(
            self.list(&[command, key, member]),
            at.map_or(vec!["-1".to_owned()], |at| vec![at.to_string()])
                .into_iter()
                .filter(|text| text != "-1")
                .collect::<Vec<_>>()
        );

        let rank = rank % order.len().max(1);
        let wanted: Vec<String> = order.iter().skip(rank).take(len + 1).cloned().collect();
        let (start, stop) = (rank.to_string(), (rank + len).to_string());
        let command = if is_reverse { "ZREVRANGE" } else { "ZRANGE" };
        assert_eq!(self.list(&[command, key, &start, &stop]), wanted, "{command} {start} {stop}");

        let max = score + 20;
        let inside: Vec<&(i32, String)> =
            ordered.iter().filter(|(other, _)| (score..max).contains(other)).collect();
        let (score, max) = (score.to_string(), format!("({max}"));
        let count = inside.len();
        assert_eq!(self.list(&["ZCOUNT", key, &score, &max]), [count.to_string()]);
        let mut inside: Vec<String> =
            inside.into_iter().map(|(_, member)| member.clone()).collect();
        let mut words = vec!["ZRANGE", key, &score, &max, "BYSCORE", "LIMIT"];
        let offset = (rank % (count + 2)).to_string();
        let len = len.to_string();
        words.extend([&offset[..], &len]);
        if is_reverse {
            inside.reverse();
            words.swap(2, 3);
            words.push("REV");
        }
        let wanted: Vec<String> =
            inside.into_iter().skip(offset.parse().unwrap()).take(len.parse().unwrap()).collect();
        assert_eq!(self.list(&words), wanted, "{words:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    // What could break: a count that was not carried along, a split in the wrong place, a page that
    // stays behind.
    #[test]
    fn ranks_are_those_of_a_vector(ops in proptest::collection::vec(ops(), 10..100)) {
        let mut world = World::new();
        for op in &ops {
            world.change(op);
        }
        world.settle(&Op::Commit);
        world.compare("m1", 7, 3, 0, false);
    }
}

#[test]
fn a_large_set_grows_pages_and_loses_them_again() {
    let mut world = World::new();
    let add = |first, count| Op::Add { first, count, score: 0, step: 1 };
    for chunk in 0..15 {
        world.change(&add(chunk * 4000, 4000));
    }
    world.settle(&Op::Commit);
    let engine = || world.engine.as_ref().unwrap();
    let full = engine().check().unwrap();
    assert_eq!((full.members, full.levels), (60_000, 2), "{full:?}");
    assert!(full.bucket_len_max <= 512, "{full:?}");
    assert!((60_000 / 256..60_000 / 48).contains(&full.buckets), "{full:?}");
    let mut ranks = World { ..world };
    for count in [30_000, 29_000, 500] {
        ranks.change(&Op::RemoveRanks { start: 100, count });
        ranks.settle(&Op::Commit);
        let checked = ranks.engine.as_ref().unwrap().check().unwrap();
        assert!(checked.buckets <= 2 + checked.members / 48, "{checked:?}");
    }
    let left = ranks.engine.as_ref().unwrap().check().unwrap();
    assert_eq!((left.members, left.levels, left.pages), (500, 0, 0));
}

// What could break: sets that no writer could split, as those from before there were pages.
#[test]
fn a_set_without_pages_gets_them_with_the_next_write() {
    let mut world = World::new();
    // Too many at once for a worker to read them again.
    world.change(&Op::Add { first: 0, count: 1600, score: 0, step: 1 });
    world.settle(&Op::Commit);
    let checked = |world: &World| world.engine.as_ref().unwrap().check().unwrap();
    assert_eq!((checked(&world).members, checked(&world).pages), (1600, 0));
    world.compare("m700", 700, 3, 20, false);
    world.compare("m700", 700, 3, 20, true);
    let holds = |world: &World| world.executor.as_ref().unwrap().stats.holds;
    assert_eq!(holds(&world), 0);
    world.change(&Op::Increment { member: 700, by: 3 });
    assert_eq!(holds(&world), 1, "the pool splits it");
    world.settle(&Op::Commit);
    assert_eq!((checked(&world).members, checked(&world).buckets), (1600, 10));
    world.change(&Op::Increment { member: 700, by: 3 });
    assert_eq!(holds(&world), 1, "once");
    world.compare("m700", 700, 3, 20, true);
}
