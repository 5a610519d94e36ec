//! The same random commands for the engine and for Redis, and the same keyspace notifications.

use coney_conversation::script::encode;
use coney_conversation::{Peer, Value};

use super::redis::{Listener, Redis};
use super::{Pair, Random, bytes, elements, text};
use crate::peer::EnginePeer;

/// Rounds of one run, each with an empty database.
const ROUNDS: u64 = 20;
/// Commands of a round.
const COMMANDS: usize = 200;
/// Everything but missed keys, of which the two count different ones.
const CLASSES: &str = "KEAn";

/// The client of the engine that is subscribed.
const LISTENER: &str = "listener";

impl Random {
    /// One of those that the other generators leave out.
    fn telling_command(&mut self) -> Vec<String> {
        let (key, other, word) = (self.key(), self.key(), self.one_of(&["5", "-7", "x"]));
        let line = match self.below(22) {
            0 => format!("SETEX {key} 1000 {word}"),
            1 => format!("PSETEX {key} 100000 {word}"),
            2 => {
                format!("SET {key} {word} {}", self.one_of(&["EX 100", "KEEPTTL", "NX", "XX GET"]))
            }
            3 => format!("SETNX {key} {word}"),
            4 => format!("GETEX {key} {}", self.one_of(&["EX 100", "PERSIST", "", "PXAT 1"])),
            5 => format!("GETSET {key} {word}"),
            6 => format!("GETDEL {key}"),
            7 => format!("MSET {key} {word} {other} {word} {key} 6"),
            8 => format!("MSETNX {key} {word} {other} {word}"),
            9 => format!("APPEND {key} {word}"),
            10 => format!("SETRANGE {key} {} {word}", self.below(20)),
            11 => format!("INCRBYFLOAT {key} 1.5"),
            12 => format!("DECRBY {key} 3"),
            13 => format!("EXPIRE {key} {}", self.one_of(&["100", "100 NX", "200 GT", "-1"])),
            14 => format!("PERSIST {key}"),
            15 => format!("MOVE {key} 1"),
            16 => {
                format!("COPY {key} {other} {}", self.one_of(&["REPLACE", "DB 1", "DB 1 REPLACE"]))
            }
            17 => format!("RENAME {key} {other}"),
            18 => format!("DEL {key} {other} {key}"),
            19 => format!("XADD x1 MAXLEN {} {} f v", self.below(4), 40 + self.below(40)),
            20 => "FLUSHDB".to_owned(),
            _ => format!("SORT {key} ALPHA STORE {other}"),
        };
        line.split_whitespace().map(str::to_owned).collect()
    }
}

/// Channels and payloads of the messages among these values.
fn told(values: impl IntoIterator<Item = Value>) -> Vec<String> {
    let is_message = |value: &Value| text(value).contains("\"pmessage\"");
    let message =
        |value: Value| elements(&value).iter().skip(2).map(text).collect::<Vec<_>>().join(" ");
    values.into_iter().filter(is_message).map(message).collect()
}

impl Pair {
    fn our_events(&mut self) -> Vec<String> {
        // It commits and delivers.
        self.engine.send(LISTENER, &encode(&[b"PING".to_vec()])).unwrap();
        let mut received = Vec::new();
        self.engine.receive(LISTENER, &mut received).unwrap();
        let mut values = Vec::new();
        let mut rest = received.as_slice();
        while let Some((value, len)) = Value::parse(rest).unwrap() {
            values.push(value);
            rest = &rest[len..];
        }
        told(values)
    }

    fn their_events(&mut self, listener: &mut Listener) -> Vec<String> {
        let end = ["PUBLISH", "__key-end", ""].map(str::to_owned);
        self.redis.ask(&bytes(&end));
        told(listener.take_until("__key-end"))
    }

    fn check_events(&mut self, listener: &mut Listener, words: &[String]) -> Result<(), String> {
        if words[0].starts_with("SORT") {
            // Redis 7.0 may refuse what is right, and `Pair::check` has it sort a copy.
            let (ours, theirs) = (self.ours(&bytes(words)), self.redis.ask(&bytes(words)));
            if ours != theirs {
                self.check(&["DEL".to_owned(), words[words.len() - 1].clone()])?;
                self.our_events();
                self.their_events(listener);
                return Ok(());
            }
        } else {
            self.check(words)?;
        }
        let (mut ours, theirs) = (self.our_events(), self.their_events(listener));
        if words[0] == "SPOP" {
            // In Redis, SREM removes what the engine has chosen.
            ours.iter_mut().for_each(|event| *event = event.replace("spop", "srem"));
        }
        if ours == theirs {
            Ok(())
        } else {
            Err(format!("{words:?}\n  ours   {ours:#?}\n  Redis's {theirs:#?}"))
        }
    }

    fn events_round(&mut self, listener: &mut Listener, seed: u64) -> Result<(), String> {
        let mut random = Random(seed);
        self.begin(&mut random);
        for _ in 0..COMMANDS {
            let words =
                if random.below(3) == 0 { random.telling_command() } else { random.any_command() };
            // Commands above set deadlines by the clocks, which are two; and SORT changes the encoding of a
            // sorted set in Redis.
            if !["PEXPIRETIME", "OBJECT"].contains(&words[0].as_str()) {
                self.check_events(listener, &words)?;
            }
        }
        Ok(())
    }
}

// What could break: an event that is missing, is told twice, or has another name; or a key that is told
// to be new or removed and is not.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn redis_publishes_the_same_events() {
    let Some(mut redis) = Redis::start() else {
        eprintln!("skipped: there is no /usr/bin/redis-server");
        return;
    };
    let setting = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = setting("CONEY_DIFFERENTIAL_ROUNDS").unwrap_or(ROUNDS);
    let first = setting("CONEY_DIFFERENTIAL_SEED").unwrap_or(1);
    let config = ["CONFIG", "SET", "notify-keyspace-events", CLASSES].map(str::to_owned);
    redis.ask(&bytes(&config));
    let mut listener = redis.listen("__key*");
    let mut pair = Pair { engine: EnginePeer::new(), redis };
    for seed in first..first.saturating_add(rounds) {
        if seed % 20 == 0 || seed == first {
            pair.engine = EnginePeer::new();
            pair.engine.engine.set_notified(CLASSES);
            let subscribe = ["PSUBSCRIBE", "__key*"].map(|word| word.as_bytes().to_vec());
            pair.engine.send(LISTENER, &encode(&subscribe)).unwrap();
        }
        if let Err(message) = pair.events_round(&mut listener, seed) {
            panic!("seed {seed}: {message}");
        }
    }
}
