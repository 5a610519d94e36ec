//! Blocking commands of several clients, in the engine and in Redis: the same clients are served, with
//! the same, in the same order.

use coney_conversation::script::encode;
use coney_conversation::{Peer, Value};

use super::redis::{Listener, Redis};
use super::{Pair, Random, bytes};
use crate::peer::EnginePeer;

/// Rounds of one run, each with an empty database.
const ROUNDS: u64 = 20;
/// Commands of a round.
const COMMANDS: usize = 150;
/// Clients that may wait.
const CLIENTS: usize = 5;

impl Random {
    /// A command that may wait. Keys keep their kind: where one changes it, Redis 7.0 and 7.2 differ.
    fn waiting_command(&mut self) -> Vec<String> {
        const LISTS: [&str; 3] = ["l1", "l2", "l3"];
        let (list, other) = (self.one_of(&LISTS), self.one_of(&LISTS));
        let (from, to) = (self.one_of(&["LEFT", "RIGHT"]), self.one_of(&["LEFT", "RIGHT"]));
        let sorted = self.one_of(&["z1", "z2"]);
        let count = 1 + self.below(3);
        let line = match self.below(11) {
            0 => format!("BLPOP {list} 0"),
            1 => format!("BRPOP {list} {other} 0"),
            2 => format!("BLMOVE {list} {other} {from} {to} 0"),
            3 => format!("BRPOPLPUSH {list} {other} 0"),
            4 => format!("BLMPOP 0 2 {list} {other} {from} COUNT {count}"),
            5 => format!("BZPOPMIN {sorted} 0"),
            6 => "BZPOPMAX z1 z2 0".to_owned(),
            7 => format!("BZMPOP 0 1 {sorted} MAX COUNT {count}"),
            8 => "XREAD BLOCK 0 STREAMS x1 x2 $ $".to_owned(),
            9 => format!("XREAD COUNT 1 BLOCK 0 STREAMS x1 {}", self.below(60)),
            _ => {
                let consumer = self.one_of(&["c", "d"]);
                format!("XREADGROUP GROUP g {consumer} COUNT {count} BLOCK 0 STREAMS x1 >")
            }
        };
        line.split(' ').map(str::to_owned).collect()
    }

    /// A command that may serve somebody; `id` is larger than all before.
    fn serving_command(&mut self, id: usize) -> Vec<String> {
        let list = self.one_of(&["l1", "l2", "l3"]);
        let (other, sorted) = (self.one_of(&["l1", "l2", "l3"]), self.one_of(&["z1", "z2"]));
        let stream = self.one_of(&["x1", "x1", "x2"]);
        let line = match self.below(12) {
            0 => format!("RPUSH {list} a{id}"),
            1 => format!("LPUSH {list} a{id} b{id} c{id}"),
            2 => format!("RPUSH {list} a{id} b{id}"),
            3 => format!("LMOVE {list} {other} LEFT RIGHT"),
            4 => format!("RENAME {list} {other}"),
            5 => format!("DEL {list} {sorted}"),
            6 => format!("ZADD {sorted} {} m{id} {} n{id}", self.below(9), self.below(9)),
            7 => format!("ZADD {sorted} 1 m{}", self.below(9)),
            8..10 => format!("XADD {stream} {id} f v"),
            10 => format!("LINSERT {list} BEFORE a{id} x"),
            _ => format!("SORT {list} ALPHA STORE {other}"),
        };
        line.split(' ').map(str::to_owned).collect()
    }
}

fn is_for_several(words: &[String]) -> bool {
    match words[0].as_str() {
        "BRPOP" | "BZPOPMAX" => words.len() > 3,
        "BLMPOP" | "BZMPOP" => words[2] != "1",
        "XREAD" => words.iter().any(|word| word == "x2"),
        _ => false,
    }
}

fn moves(words: &[String]) -> bool {
    matches!(words[0].as_str(), "BLMOVE" | "BRPOPLPUSH")
}

/// Whether one of two that move elements moves them to where the other waits.
fn feeds(one: &[String], other: &[String]) -> bool {
    one[1] != one[2] && one[2] == other[1]
}

struct Crowd {
    pair: Pair,
    theirs: Vec<Listener>,
    /// What each waits in.
    waiting: Vec<Option<Vec<String>>>,
}

impl Crowd {
    fn name(at: usize) -> String {
        format!("W{at}")
    }

    /// What the waiting clients have received: at most one reply each, for those who get any.
    fn check_served(&mut self) -> Result<(), String> {
        for at in 0..CLIENTS {
            let received = self.pair.engine.received(&Self::name(at));
            let ours = Value::parse(&received).unwrap().map(|(value, len)| {
                assert_eq!(len, received.len(), "one reply");
                value
            });
            let theirs = self.theirs[at].try_next();
            if ours != theirs {
                let waiting = &self.waiting[at];
                return Err(format!(
                    "{at} in {waiting:?}\n  ours   {ours:?}\n  Redis's {theirs:?}"
                ));
            }
            if ours.is_some() {
                self.waiting[at] = None;
            }
        }
        Ok(())
    }

    fn wait(&mut self, at: usize, words: Vec<String>) -> Result<(), String> {
        let command = bytes(&words);
        self.pair.engine.send(&Self::name(at), &encode(&command)).unwrap();
        let blocked = self.pair.redis.info("blocked_clients");
        self.theirs[at].send(&command);
        self.waiting[at] = Some(words);
        // It waits, or has its reply.
        let received = self.pair.engine.received(&Self::name(at));
        let ours = Value::parse(&received).unwrap().map(|(value, _)| value);
        let theirs = loop {
            if let Some(value) = self.theirs[at].try_next() {
                break Some(value);
            }
            if self.pair.redis.info("blocked_clients") > blocked {
                break None;
            }
        };
        if ours != theirs {
            let waiting = &self.waiting[at];
            return Err(format!("{at}: {waiting:?}\n  ours   {ours:?}\n  Redis's {theirs:?}"));
        }
        if ours.is_some() {
            self.waiting[at] = None;
        }
        Ok(())
    }

    fn serve(&mut self, lines: &[Vec<String>]) -> Result<(), String> {
        for words in lines {
            let (ours, theirs) =
                (self.pair.ours(&bytes(words)), self.pair.redis.ask(&bytes(words)));
            if ours != theirs {
                return Err(format!("{words:?}\n  ours   {ours:?}\n  Redis's {theirs:?}"));
            }
            self.pair.engine.settle();
        }
        // Replies to those who were served leave before the next command is read.
        self.pair.redis.ask(&bytes(&["PING".to_owned()]));
        self.check_served().map_err(|message| format!("after {lines:?}\n{message}"))
    }

    /// Whether somebody waits for more than one key. If one EXEC fills several of them, Redis 7.0 pops from
    /// the one that was written first, 7.2 and the engine from the first of the command's.
    fn waits_for_several(&self) -> bool {
        self.waiting.iter().flatten().any(|words| is_for_several(words))
    }

    /// Whether this may wait beside those who wait already. Where one push serves somebody who moves an element
    /// on, it fills two keys as well; and Redis serves all who wait for the first one before anybody who waits
    /// for the second, the engine in the order in which they were called.
    fn may_wait(&self, words: &[String]) -> bool {
        self.waiting.iter().flatten().all(|other| {
            let is_pair = moves(words) && moves(other);
            !(moves(words) && is_for_several(other) || is_for_several(words) && moves(other))
                && !(is_pair && (feeds(words, other) || feeds(other, words)))
        })
    }

    /// Whether two move elements: one EXEC that fills the keys of both is the same case.
    fn has_movers(&self) -> bool {
        self.waiting.iter().flatten().filter(|words| moves(words)).count() > 1
    }

    fn round(&mut self, seed: u64) -> Result<(), String> {
        let mut random = Random(seed);
        let line = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        self.serve(&[line("FLUSHALL")])?;
        self.serve(&[line("XGROUP CREATE x1 g $ MKSTREAM")])?;
        // Redis 7.0 does not create consumers that get nothing.
        self.serve(&[line("XGROUP CREATECONSUMER x1 g c"), line("XGROUP CREATECONSUMER x1 g d")])?;
        for id in 1..=COMMANDS {
            let at = random.below(CLIENTS);
            if random.below(2) == 0 && self.waiting[at].is_none() {
                let words = random.waiting_command();
                if self.may_wait(&words) {
                    self.wait(at, words)?;
                }
                continue;
            }
            let mut lines = vec![random.serving_command(id)];
            if random.below(6) == 0 && !self.waits_for_several() && !self.has_movers() {
                lines.insert(0, line("MULTI"));
                lines.push(random.serving_command(id));
                lines.push(line("EXEC"));
            }
            self.serve(&lines)?;
        }
        // All go home.
        for _ in 0..COMMANDS {
            if self.waiting.iter().all(Option::is_none) {
                return Ok(());
            }
            let lists = ["l1", "l2", "l3"].map(|key| line(&format!("RPUSH {key} end")));
            self.serve(&lists)?;
            self.serve(&[line("ZADD z1 1 end"), line("ZADD z2 1 end")])?;
            self.serve(&[line("DEL l1 l2 l3 z1 z2")])?;
            self.serve(&[line("XADD x1 9999-* f end"), line("XADD x2 9999-* f end")])?;
        }
        Err(format!("still waiting: {:?}", self.waiting))
    }
}

// What could break: who is served, with what, and when, if several wait for the same.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn redis_serves_the_same_clients() {
    let Some(redis) = Redis::start() else {
        eprintln!("skipped: there is no /usr/bin/redis-server");
        return;
    };
    let setting = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = setting("CONEY_DIFFERENTIAL_ROUNDS").unwrap_or(ROUNDS);
    let first = setting("CONEY_DIFFERENTIAL_SEED").unwrap_or(1);
    let theirs = (0..CLIENTS).map(|_| redis.connect()).collect();
    let pair = Pair { engine: EnginePeer::new(), redis };
    let mut crowd = Crowd { pair, theirs, waiting: vec![None; CLIENTS] };
    for seed in first..first.saturating_add(rounds) {
        if seed % 20 == 0 {
            crowd.pair.engine = EnginePeer::new();
        }
        if let Err(message) = crowd.round(seed) {
            panic!("seed {seed}: {message}");
        }
    }
}
