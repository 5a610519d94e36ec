//! The same random commands for the engine and for Redis, and the same replies.
//!
//! Redis is `/usr/bin/redis-server` of this machine, an instance of its own on a Unix socket; the
//! test is skipped if there is none. `ci/differential ROUNDS SEED` runs it for longer, or again.
//!
//! Where Redis's order is unspecified, replies are compared without it; random choices are checked
//! against what Redis holds, and carried out there.

use std::collections::BTreeSet;

use coney_conversation::Value;

use redis::Redis;

use crate::peer::{EnginePeer, commit};

/// Rounds of one run, each with an empty database.
const ROUNDS: u64 = 60;
/// Commands of a round.
const COMMANDS: usize = 300;

mod blocking;
mod events;
mod geo;
pub(crate) mod redis;
mod sorted;
mod texts;

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn one_of(&mut self, words: &[&str]) -> String {
        words[self.below(words.len())].to_owned()
    }

    fn key(&mut self) -> String {
        self.one_of(&["h1", "h2", "s1", "s2", "s3", "k", "{s1}t", "l1", "l2", "l3", "x1"])
    }

    /// A field, a member or a value.
    fn word(&mut self) -> String {
        match self.below(12) {
            0..5 => format!("{}", self.below(12)),
            5..9 => format!("m{}", self.below(12)),
            9 => self.one_of(&["", "-5", "3.5", "1e3", "9223372036854775807", "007", "+1", "inf"]),
            10 => "long".repeat(15 + self.below(3)),
            _ => format!("{}", self.below(100_000)),
        }
    }

    fn words(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.word()).collect()
    }

    fn number(&mut self) -> String {
        self.one_of(&["0", "1", "2", "3", "5", "10", "-1", "-3", "-10", "x", ""])
    }

    fn list_key(&mut self) -> String {
        if self.below(20) == 0 { self.key() } else { self.one_of(&["l1", "l2", "l3"]) }
    }

    fn index(&mut self) -> String {
        let index = i64::try_from(self.below(70)).unwrap();
        match self.below(8) {
            0 => self.number(),
            1..5 => (index / 10).to_string(),
            5 => index.to_string(),
            _ => (-index / 3).to_string(),
        }
    }

    fn list_command(&mut self) -> Vec<String> {
        let (key, other) = (self.list_key(), self.list_key());
        let mut words = match self.below(16) {
            0..4 => {
                let name = self.one_of(&["LPUSH", "RPUSH", "LPUSH", "RPUSH", "LPUSHX", "RPUSHX"]);
                let most = if self.below(5) == 0 { 60 } else { 6 };
                let mut words = vec![name, key];
                let count = 1 + self.below(most);
                words.extend(self.words(count));
                return words;
            }
            4 => vec![self.one_of(&["LPOP", "RPOP", "LLEN"]), key],
            5 => vec![self.one_of(&["LPOP", "RPOP"]), key, self.number()],
            6 => vec!["LINDEX".to_owned(), key, self.index()],
            7 => vec!["LSET".to_owned(), key, self.index(), self.word()],
            8 => vec!["LRANGE".to_owned(), key, "0".to_owned(), "-1".to_owned()],
            9 => vec!["LRANGE".to_owned(), key, self.index(), self.index()],
            10 if self.below(4) == 0 => vec!["LTRIM".to_owned(), key, self.index(), self.index()],
            10 => {
                let start = self.below(3).to_string();
                vec!["LTRIM".to_owned(), key, start, format!("-{}", 1 + self.below(3))]
            }
            11 => vec!["LREM".to_owned(), key, self.number(), self.word()],
            12 => {
                let place = self.one_of(&["BEFORE", "AFTER", "before", "after", "x"]);
                vec!["LINSERT".to_owned(), key, place, self.word(), self.word()]
            }
            13 => {
                let ends = ["LEFT", "RIGHT", "left", "right", "x"];
                vec!["LMOVE".to_owned(), key, other, self.one_of(&ends), self.one_of(&ends)]
            }
            14 if self.below(2) == 0 => vec!["RPOPLPUSH".to_owned(), key, other],
            14 => {
                let ends = ["LEFT", "RIGHT", "LEFT", "RIGHT", "x"];
                let count = self.one_of(&["1", "2", "2", "2", "3", "0"]);
                let mut words = vec!["LMPOP".to_owned(), count, key, other, self.one_of(&ends)];
                if self.below(2) == 0 {
                    words.extend(["COUNT".to_owned(), self.number()]);
                }
                words
            }
            _ => {
                let mut words = vec!["LPOS".to_owned(), key, self.word()];
                for option in ["RANK", "COUNT", "MAXLEN"] {
                    if self.below(3) == 0 {
                        words.extend([option.to_owned(), self.number()]);
                    }
                }
                words
            }
        };
        if self.below(50) == 0 {
            words.push(self.word());
        }
        words
    }

    fn sort_command(&mut self) -> Vec<String> {
        let name = self.one_of(&["SORT", "SORT", "SORT_RO"]);
        let is_ordered = self.below(5) == 0;
        let keys: &[&str] =
            if is_ordered { &["z1", "z2", "z3", "lex"] } else { &["l1", "l2", "l3", "s1", "h1"] };
        let mut words = vec![name, self.one_of(keys)];
        // Redis leaves open how equal ones are ordered, and a set that is not sorted.
        let is_by = is_ordered || self.below(3) == 0;
        if is_ordered {
            words.extend(["BY".to_owned(), "nosort".to_owned()]);
        } else if is_by {
            words.extend(["BY".to_owned(), self.one_of(&["no*thing", "h*->m1", "*"])]);
        }
        if !is_by && self.below(2) == 0 {
            words.push("ALPHA".to_owned());
        }
        if self.below(3) == 0 {
            words.push(self.one_of(&["DESC", "ASC"]));
        }
        if self.below(3) == 0 {
            words.extend(["LIMIT".to_owned(), self.number(), self.number()]);
        }
        for _ in 0..self.below(3) {
            words.extend(["GET".to_owned(), self.one_of(&["#", "h*->m1", "s*", "k*", "k"])]);
        }
        if self.below(4) == 0 {
            words.extend(["STORE".to_owned(), self.list_key()]);
        }
        words
    }

    /// An id of a stream, mostly one that may be there.
    fn id(&mut self) -> String {
        match self.below(12) {
            0..8 => format!("{}", 1 + self.below(40)),
            8 | 9 => format!("{}-{}", self.below(40), self.below(3)),
            10 => self.one_of(&["0", "-", "+", "(5", "x", "99"]),
            _ => format!("({}", self.below(40)),
        }
    }

    /// A command on a stream; what depends on the clock is left out.
    fn stream_command(&mut self) -> Vec<String> {
        let (key, other) = (self.one_of(&["x1", "x2", "k"]), self.one_of(&["x1", "x2"]));
        let (group, consumer) = (self.one_of(&["g", "h"]), self.one_of(&["c", "d", "e"]));
        let (id, second, third) = (self.id(), self.id(), self.id());
        let count = self.one_of(&["1", "2", "5", "20", "0", "-1"]);
        let trim = format!(
            "{} {}",
            self.one_of(&["MAXLEN", "MAXLEN =", "MINID", "MAXLEN ~"]),
            self.below(30)
        );
        let read = self.one_of(&[">", ">", ">", "0", "5"]);
        let noack = self.one_of(&["", "", "NOACK"]);
        let just_id = self.one_of(&["", "JUSTID"]);
        let line = match self.below(34) {
            0..5 => format!("XADD {key} {} f {id} g v", 1 + self.below(40)),
            5..7 => format!("XADD {key} {}-* f {id}", self.below(40)),
            7 => format!("XADD {key} {trim} {} f {id}", 20 + self.below(30)),
            8 => format!("XADD {key} NOMKSTREAM {id} f v"),
            9 => format!("XTRIM {key} {trim}"),
            10 => format!("XDEL {key} {id} {second} {third}"),
            11 => format!("XLEN {key}"),
            12 => format!("XRANGE {key} {id} {second} COUNT {count}"),
            13 => format!("XREVRANGE {key} + - COUNT {count}"),
            14 => format!("XREVRANGE {key} {id} {second}"),
            15 => format!("XREAD COUNT {count} STREAMS {key} {other} {id} {second}"),
            16 => format!("XREAD STREAMS {key} $"),
            17 => {
                format!("XSETID {key} {id} ENTRIESADDED {} MAXDELETEDID {second}", self.below(60))
            }
            18 | 19 => format!("XGROUP CREATE {key} {group} {id} MKSTREAM"),
            20 => format!("XGROUP SETID {key} {group} {id} ENTRIESREAD {count}"),
            21 if self.below(4) == 0 => format!("XGROUP DESTROY {key} {group}"),
            21 => format!("XGROUP DELCONSUMER {key} {group} {consumer}"),
            22..26 => {
                format!(
                    "XREADGROUP GROUP {group} {consumer} COUNT {count} {noack} STREAMS {key} {read}"
                )
            }
            26 => format!(
                "XREADGROUP GROUP {group} {consumer} STREAMS {key} {other} {key} {read} > 0"
            ),
            27 => format!("XACK {key} {group} {id} {second} {third}"),
            28 => format!("XPENDING {key} {group}"),
            29 => format!("XPENDING {key} {group} {id} + {count} {consumer}"),
            30 => format!("XPENDING {key} {group} - + 100"),
            31 => format!(
                "XCLAIM {key} {group} {consumer} 0 {id} {second} {third} {}",
                self.one_of(&["", "FORCE", "JUSTID", "RETRYCOUNT 5 FORCE", "LASTID 20 JUSTID"])
            ),
            32 => format!("XAUTOCLAIM {key} {group} {consumer} 0 {id} COUNT {count} {just_id}"),
            _ => format!(
                "{} {key}",
                self.one_of(&["XINFO GROUPS", "XINFO STREAM", "TYPE", "OBJECT ENCODING"])
            ),
        };
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// One that is about databases.
    fn database_command(&mut self) -> Vec<String> {
        let (key, other) = (self.key(), self.key());
        let line = match self.below(7) {
            0 => "SWAPDB 0 1".to_owned(),
            1 => format!("SWAPDB {} {}", self.number(), self.number()),
            2 => format!("SELECT {}", self.below(3)),
            3 => format!("MOVE {key} {}", self.below(3)),
            4 => format!("COPY {key} {other} DB {} REPLACE", self.below(3)),
            _ => "DBSIZE".to_owned(),
        };
        line.split(' ').map(str::to_owned).collect()
    }

    fn any_command(&mut self) -> Vec<String> {
        if self.below(40) == 0 {
            return self.database_command();
        }
        match self.below(12) {
            0..4 => self.stream_command(),
            4 => self.text_command(),
            _ => self.command(),
        }
    }

    /// One whose reply has no order of its own, and which chooses nothing at random.
    fn plain_command(&mut self) -> Vec<String> {
        const PLAIN: [&str; 24] = [
            "COPY",
            "DBSIZE",
            "DEL",
            "EXISTS",
            "GET",
            "HDEL",
            "HGET",
            "HINCRBY",
            "HLEN",
            "HMGET",
            "HSET",
            "HSETNX",
            "INCR",
            "PERSIST",
            "PEXPIREAT",
            "RENAME",
            "RENAMENX",
            "SADD",
            "SCARD",
            "SET",
            "SISMEMBER",
            "SMOVE",
            "SREM",
            "SUNIONSTORE",
        ];
        loop {
            let words = self.command();
            if PLAIN.contains(&words[0].as_str()) {
                return words;
            }
        }
    }

    fn command(&mut self) -> Vec<String> {
        if self.below(12) == 0 {
            return self.sort_command();
        }
        match self.below(7) {
            0 | 1 => self.list_command(),
            2 | 3 => self.sorted_command(),
            4 => self.geo_command(),
            _ => self.unordered_command(),
        }
    }

    fn unordered_command(&mut self) -> Vec<String> {
        let (key, other, third) = (self.key(), self.key(), self.key());
        match self.below(12) {
            0 | 1 => self.bit_command(key, other, third),
            2 => {
                // Keys of their own: a sketch with flipped bits is undefined in Redis.
                let keys = ["p1", "p2", "p3"];
                let (key, other) = (self.one_of(&keys), self.one_of(&keys));
                let third = self.one_of(&keys);
                self.count_command(key, other, third)
            }
            _ => self.collection_command(key, other, third),
        }
    }

    fn collection_command(&mut self, key: String, other: String, third: String) -> Vec<String> {
        let mut words = match self.below(20) {
            0 => vec![self.one_of(&["HSET", "HMSET"]), key],
            1 => vec!["HDEL".to_owned(), key],
            2 | 3 => vec!["SADD".to_owned(), key],
            4 => vec!["SREM".to_owned(), key],
            5 => vec![self.one_of(&["HMGET", "SMISMEMBER"]), key],
            6 => {
                let name = self.one_of(&["HGET", "HEXISTS", "HSTRLEN", "SISMEMBER"]);
                return vec![name, key, self.word()];
            }
            7 => {
                return vec![
                    self.one_of(&["HSETNX", "HINCRBY", "HINCRBYFLOAT"]),
                    key,
                    self.word(),
                    self.word(),
                ];
            }
            8 => {
                let name = self.one_of(&[
                    "HLEN",
                    "HGETALL",
                    "HKEYS",
                    "HVALS",
                    "SCARD",
                    "SMEMBERS",
                    "SPOP",
                    "SRANDMEMBER",
                    "HRANDFIELD",
                ]);
                return vec![name, key];
            }
            9 => {
                return vec![
                    self.one_of(&["SPOP", "SRANDMEMBER", "HRANDFIELD"]),
                    key,
                    self.number(),
                ];
            }
            10 => {
                return vec!["HRANDFIELD".to_owned(), key, self.number(), "WITHVALUES".to_owned()];
            }
            11 => return vec!["SMOVE".to_owned(), key, other, self.word()],
            12 => {
                let name = self.one_of(&["SINTER", "SUNION", "SDIFF"]);
                return vec![name, key, other, third].split_off(0)[..2 + self.below(3)].to_vec();
            }
            13 => {
                let name = self.one_of(&["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]);
                return vec![name, key, other, third];
            }
            14 => {
                return vec![
                    "SINTERCARD".to_owned(),
                    "2".to_owned(),
                    key,
                    other,
                    "LIMIT".to_owned(),
                    self.number(),
                ];
            }
            15 => {
                let name = self.one_of(&[
                    "DEL",
                    "TYPE",
                    "EXISTS",
                    "PERSIST",
                    "PEXPIRETIME",
                    "GET",
                    "STRLEN",
                    "INCR",
                    "UNLINK",
                ]);
                return vec![name, key];
            }
            16 => return vec![self.one_of(&["RENAME", "RENAMENX", "COPY"]), key, other],
            17 => {
                return vec![
                    "PEXPIREAT".to_owned(),
                    key,
                    self.one_of(&["99999999999999", "88888888888888", "99999999999999", "1"]),
                ];
            }
            18 => {
                return match self.below(3) {
                    0 => vec!["SET".to_owned(), key, self.word()],
                    1 => vec!["OBJECT".to_owned(), "ENCODING".to_owned(), key],
                    _ => vec!["DBSIZE".to_owned()],
                };
            }
            _ => return vec![self.one_of(&["HSCAN", "SSCAN"]), key],
        };
        let most = if self.below(10) == 0 { 60 } else { 4 };
        let mut count = 1 + self.below(most);
        if words[0].starts_with("HSET") || words[0].starts_with("HMSET") {
            count *= 2;
        }
        words.extend(self.words(count));
        words
    }
}

/// Commands on bits.
impl Random {
    fn bit(&mut self) -> String {
        let most = if self.below(8) == 0 { 3000 } else { 100 };
        format!("{}", self.below(most))
    }

    fn place(&mut self) -> String {
        let place = self.below(120);
        if self.below(3) == 0 { format!("-{}", place + 1) } else { format!("{place}") }
    }

    fn integer(&mut self) -> Vec<String> {
        let kind = match self.below(6) {
            0 => self.one_of(&["i64", "u63", "i1", "u1", "u64", "i0", "x"]),
            1..4 => format!("u{}", 1 + self.below(63)),
            _ => format!("i{}", 1 + self.below(64)),
        };
        let offset = if self.below(4) == 0 { format!("#{}", self.below(9)) } else { self.bit() };
        vec![kind, offset]
    }

    fn bit_command(&mut self, key: String, other: String, third: String) -> Vec<String> {
        let words = |name: &str, rest: &[String]| {
            let mut words = vec![name.to_owned(), key.clone()];
            words.extend_from_slice(rest);
            words
        };
        match self.below(8) {
            0 => {
                let (bit, on) = (self.bit(), self.one_of(&["0", "1", "1", "1", "2"]));
                words("SETBIT", &[bit, on])
            }
            1 => {
                let bit = self.bit();
                words("GETBIT", &[bit])
            }
            2 => {
                let unit = self.one_of(&["BIT", "BYTE"]);
                let all = [self.place(), self.place(), unit];
                words("BITCOUNT", &all[..[0, 2, 3][self.below(3)]])
            }
            3 => {
                let wanted = self.one_of(&["0", "1"]);
                let unit = self.one_of(&["BIT", "BYTE"]);
                let all = [wanted, self.place(), self.place(), unit];
                words("BITPOS", &all[..1 + self.below(4)])
            }
            4 => {
                let name = self.one_of(&["AND", "OR", "XOR", "NOT", "NOPE"]);
                let all = ["BITOP".to_owned(), name, key, other, third.clone(), third];
                all[..4 + self.below(3)].to_vec()
            }
            5 => words("GET", &[]),
            _ => {
                let mut rest = Vec::new();
                for _ in 0..=self.below(4) {
                    let number = if self.below(2) == 0 {
                        self.next().cast_signed() >> self.below(64)
                    } else {
                        i64::from_ne_bytes(self.next().to_ne_bytes()) % 10
                    };
                    match self.below(4) {
                        0 => {
                            let name = self.one_of(&["WRAP", "SAT", "FAIL", "FAIL"]);
                            rest.extend(["OVERFLOW".to_owned(), name]);
                        }
                        1 => {
                            rest.push("GET".to_owned());
                            rest.extend(self.integer());
                        }
                        _ => {
                            rest.push(self.one_of(&["SET", "INCRBY"]));
                            rest.extend(self.integer());
                            rest.push(format!("{number}"));
                        }
                    }
                }
                let name = if self.below(6) == 0 { "BITFIELD_RO" } else { "BITFIELD" };
                words(name, &rest)
            }
        }
    }
}

/// Commands on HyperLogLogs.
impl Random {
    fn count_command(&mut self, key: String, other: String, third: String) -> Vec<String> {
        let name = self.one_of(&["PFADD", "PFADD", "PFCOUNT", "PFMERGE", "GET"]);
        let mut words = vec![name, key];
        match words[0].as_str() {
            "PFADD" => {
                let count = if self.below(10) == 0 { 900 } else { 3 };
                let from = self.below(5000);
                words.extend((from..from + count).map(|at| format!("{at}")));
            }
            "GET" => {}
            _ => words.extend([other, third].into_iter().take(self.below(3))),
        }
        words
    }
}

fn bytes(words: &[String]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn elements(value: &Value) -> Vec<Value> {
    match value {
        Value::Aggregate(_, _, elements) => elements.clone(),
        other => vec![other.clone()],
    }
}

fn text(value: &Value) -> String {
    value.to_string()
}

/// A reply without the order that Redis does not promise.
fn unordered(name: &str, value: &Value) -> Vec<String> {
    let pairs = if name == "HGETALL" { 2 } else { 1 };
    let mut parts: Vec<String> = elements(value)
        .chunks(pairs)
        .map(|pair| pair.iter().map(text).collect::<Vec<_>>().join(" "))
        .collect();
    parts.sort();
    parts
}

/// The reply of XPENDING without idle times, and of XINFO STREAM without the radix tree that Coney
/// does not have.
fn timeless(name: &str, value: &Value) -> Value {
    let Value::Aggregate(kind, count, parts) = value else { return value.clone() };
    let parts = parts.iter().enumerate().map(|(at, part)| match part {
        Value::Integer(_) if name == "XPENDING" && at == 2 => Value::Nil,
        Value::Integer(_)
            if name == "XINFO"
                && parts
                    .get(at.wrapping_sub(1))
                    .is_some_and(|title| text(title).starts_with("\"radix")) =>
        {
            Value::Nil
        }
        Value::Aggregate(..) if name == "XPENDING" => timeless(name, part),
        _ => part.clone(),
    });
    Value::Aggregate(*kind, *count, parts.collect())
}

struct Pair {
    engine: EnginePeer,
    redis: Redis,
}

impl Pair {
    fn ours(&mut self, words: &[Vec<u8>]) -> Value {
        let reply = self.engine.ask_words(words);
        let (value, len) = Value::parse(&reply).unwrap().expect("a whole reply");
        assert_eq!(len, reply.len(), "one reply");
        value
    }

    fn limit(&mut self, name: &str, value: i64) {
        self.engine.engine.encoding_limits().set(name, value).unwrap();
        let words = ["CONFIG", "SET", name, &value.to_string()].map(str::to_owned);
        // Redis 7.0 does not know all of them.
        self.redis.ask(&bytes(&words));
    }

    /// Whether a list has an element with a zero byte.
    fn has_zero_bytes(&mut self, key: &str) -> bool {
        let words = ["LRANGE", key, "0", "-1"].map(str::to_owned);
        let has_zero = |value: &Value| matches!(value, Value::Bulk(bytes) if bytes.contains(&0));
        elements(&self.redis.ask(&bytes(&words))).iter().any(has_zero)
    }

    /// All of a collection by its SCAN command.
    fn scan(&mut self, name: &str, key: &str, count: &str, is_ours: bool) -> Vec<String> {
        let mut cursor = "0".to_owned();
        let mut found = BTreeSet::new();
        loop {
            let words = bytes(&[name, key, &cursor, "COUNT", count].map(str::to_owned));
            let reply = if is_ours { self.ours(&words) } else { self.redis.ask(&words) };
            let Value::Aggregate(_, _, parts) = &reply else { return vec![reply.to_string()] };
            let pairs = if name == "SSCAN" { 1 } else { 2 };
            let found_now =
                if name == "ZSCAN" { sorted::unsigned(&parts[1]) } else { parts[1].clone() };
            for pair in elements(&found_now).chunks(pairs) {
                found.insert(pair.iter().map(text).collect::<Vec<_>>().join(" "));
            }
            cursor = text(&parts[0]).trim_matches('"').to_owned();
            if cursor == "0" {
                return found.into_iter().collect();
            }
        }
    }

    /// Compares a random choice of members with what there is to choose from.
    fn check_choice(&mut self, words: &[String]) -> Result<(), String> {
        let (command, name) = (bytes(words), words[0].as_str());
        let differ = |ours: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug| {
            Err(format!("{words:?}\n  ours   {ours:?}\n  Redis's {theirs:?}"))
        };
        let (ours, theirs) = (self.ours(&command), self.redis.ask(&command));
        let is_single = !matches!(theirs, Value::Aggregate(..));
        let (mine, others) = (elements(&ours), elements(&theirs));
        if mine.len() != others.len()
            || is_single != !matches!(ours, Value::Aggregate(..))
            || matches!(theirs, Value::Error(_) | Value::Nil) && ours != theirs
        {
            return differ(&ours, &theirs);
        }
        if matches!(theirs, Value::Error(_) | Value::Nil) || mine.is_empty() {
            return Ok(());
        }
        let key = words[1].as_str();
        let (all, width): (&[&str], usize) = match name {
            "HRANDFIELD" => (&["HGETALL", key], 2),
            "ZRANDMEMBER" => (&["ZRANGE", key, "0", "-1", "WITHSCORES"], 2),
            _ => (&["SMEMBERS", key], 1),
        };
        let all: Vec<String> = all.iter().map(|word| (*word).to_owned()).collect();
        let all = self.redis.ask(&bytes(&all));
        let all = elements(&sorted::unsigned(&all));
        let chosen = if words.len() > 3 { 2 } else { 1 };
        let all: Vec<Vec<Value>> = all.chunks(width).map(|pair| pair[..chosen].to_vec()).collect();
        let mine = elements(&sorted::unsigned(&ours));
        let mine: Vec<Vec<Value>> = mine.chunks(chosen).map(<[_]>::to_vec).collect();
        let distinct: BTreeSet<String> = mine.iter().map(|pair| format!("{pair:?}")).collect();
        let is_negative = words.get(2).is_some_and(|count| count.starts_with('-'));
        if mine.iter().all(|pair| all.contains(pair))
            && (is_negative || distinct.len() == mine.len())
        {
            Ok(())
        } else {
            differ(&ours, &all)
        }
    }

    /// The same as [`Pair::check`] for commands on streams.
    fn check_stream(&mut self, words: &[String]) -> Result<(), String> {
        let command = bytes(words);
        let name = words[0].as_str();
        let differ = |ours: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug| {
            Err(format!("{words:?}\n  ours   {ours:?}\n  Redis's {theirs:?}"))
        };
        match name {
            "XSETID" => {
                let ours = self.ours(&command);
                // Redis 7.0 does not refuse it.
                if text(&ours).contains("current max_deleted_entry_id") {
                    return Ok(());
                }
                let theirs = self.redis.ask(&command);
                if ours == theirs { Ok(()) } else { differ(&ours, &theirs) }
            }
            // Since Redis 7.2 they create the consumer although it gets nothing.
            "XCLAIM" | "XAUTOCLAIM" | "XREADGROUP" => {
                let (group, consumer, keys) = if name == "XREADGROUP" {
                    let at = words.iter().position(|word| word == "STREAMS").unwrap_or(0) + 1;
                    let half = (words.len() - at) / 2;
                    (&words[2], &words[3], &words[at..at + half])
                } else {
                    (&words[2], &words[3], &words[1..2])
                };
                for key in keys {
                    let create = ["XGROUP", "CREATECONSUMER", key, group, consumer];
                    let create = bytes(&create.map(str::to_owned));
                    self.ours(&create);
                    self.redis.ask(&create);
                }
                let (ours, theirs) = (self.ours(&command), self.redis.ask(&command));
                if ours == theirs { Ok(()) } else { differ(&ours, &theirs) }
            }
            "XPENDING" | "XINFO" => {
                let (ours, theirs) = (self.ours(&command), self.redis.ask(&command));
                let (ours, theirs) = (timeless(name, &ours), timeless(name, &theirs));
                if ours == theirs { Ok(()) } else { differ(&ours, &theirs) }
            }
            _ => {
                let (ours, theirs) = (self.ours(&command), self.redis.ask(&command));
                if ours == theirs { Ok(()) } else { differ(&ours, &theirs) }
            }
        }
    }

    /// Compares one command; the message if the replies differ.
    fn check(&mut self, words: &[String]) -> Result<(), String> {
        let command = bytes(words);
        let name = words[0].as_str();
        let differ = |ours: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug| {
            Err(format!("{words:?}\n  ours   {ours:?}\n  Redis's {theirs:?}"))
        };
        match name {
            "HSCAN" | "SSCAN" | "ZSCAN" => {
                let ours = self.scan(name, &words[1], "3", true);
                let theirs = self.scan(name, &words[1], "3", false);
                if ours == theirs { Ok(()) } else { differ(&ours, &theirs) }
            }
            "SPOP" => {
                let ours = self.ours(&command);
                if matches!(ours, Value::Error(_)) {
                    let theirs = self.redis.ask(&command);
                    return if ours == theirs { Ok(()) } else { differ(&ours, &theirs) };
                }
                let members: Vec<Vec<u8>> = elements(&ours)
                    .into_iter()
                    .filter_map(|value| match value {
                        Value::Bulk(member) => Some(member),
                        _ => None,
                    })
                    .collect();
                let size = self.redis.ask(&bytes(&["SCARD".to_owned(), words[1].clone()]));
                let size: usize = text(&size)[1..].parse().unwrap_or(0);
                let wanted = words.get(2).map_or(1, |count| count.parse().unwrap_or(0));
                if members.len() != size.min(wanted) {
                    return differ(&ours, &format!("{size} members"));
                }
                if members.is_empty() {
                    let theirs = self.redis.ask(&command);
                    return if ours == theirs { Ok(()) } else { differ(&ours, &theirs) };
                }
                let mut remove = bytes(&["SREM".to_owned(), words[1].clone()]);
                remove.extend(members.iter().cloned());
                let removed = text(&self.redis.ask(&remove));
                if removed == format!(":{}", members.len()) {
                    Ok(())
                } else {
                    differ(&ours, &removed)
                }
            }
            "SRANDMEMBER" | "HRANDFIELD" | "ZRANDMEMBER" => self.check_choice(words),
            "OBJECT" => {
                let (ours, theirs) = (self.ours(&command), self.redis.ask(&command));
                // Redis 7.0 has no small sets of strings.
                let kind = self.redis.ask(&bytes(&["TYPE".to_owned(), words[2].clone()]));
                let ours = match text(&kind).as_str() {
                    "+set" => text(&ours).replace("listpack", "hashtable"),
                    // See docs/compatibility.md. Redis 7.0 has no small lists.
                    "+list" => text(&ours).replace("listpack", "quicklist"),
                    "+string" => text(&theirs),
                    _ => text(&ours),
                };
                if ours == text(&theirs) { Ok(()) } else { differ(&ours, &theirs) }
            }
            "SMEMBERS" | "SINTER" | "SUNION" | "SDIFF" | "HGETALL" | "HKEYS" | "HVALS" => {
                let (ours, theirs) = (self.ours(&command), self.redis.ask(&command));
                if unordered(name, &ours) == unordered(name, &theirs) {
                    Ok(())
                } else {
                    differ(&ours, &theirs)
                }
            }
            // See docs/compatibility.md: to Redis a number ends at a zero byte.
            "SORT" | "SORT_RO" if self.has_zero_bytes(&words[1]) => Ok(()),
            "SORT" | "SORT_RO" => {
                let ours = self.ours(&command);
                // SORT changes how Redis keeps a sorted set: it sorts a copy.
                let copy = ["COPY", &words[1], "copy", "REPLACE"].map(str::to_owned);
                self.redis.ask(&bytes(&copy));
                let mut on_copy = command.clone();
                on_copy[1] = b"copy".to_vec();
                let theirs = self.redis.ask(&on_copy);
                self.redis.ask(&bytes(&["DEL", "copy"].map(str::to_owned)));
                // Redis 7.0 looks at `errno` without clearing it: once any number was out of range,
                // it refuses weights that are right.
                let is_stale = text(&theirs).contains("scores can't be converted into double");
                if let Some([_, target]) = words.last_chunk::<2>()
                    && is_stale
                    && ours != theirs
                {
                    // It may have been the target of STORE.
                    self.check(&["DEL".to_owned(), target.clone()]).ok();
                }
                if ours == theirs || is_stale { Ok(()) } else { differ(&ours, &theirs) }
            }
            _ if name.starts_with('X') => self.check_stream(words),
            _ => {
                let (ours, theirs) = (self.ours(&command), self.redis.ask(&command));
                let is_same = ours == theirs
                    || name.starts_with('Z')
                        && sorted::unsigned(&ours) == sorted::unsigned(&theirs);
                if is_same { Ok(()) } else { differ(&ours, &theirs) }
            }
        }
    }

    /// A transaction behind a watched key, which another command may touch.
    fn transaction(&mut self, random: &mut Random) -> Result<(), String> {
        let mut lines = vec![vec!["WATCH".to_owned(), random.key(), random.key()]];
        // Certainly a write: for Redis, some commands that change nothing are one too.
        if random.below(2) == 0 {
            lines.push(vec!["SET".to_owned(), random.key(), random.word()]);
        }
        if random.below(6) == 0 {
            lines.push(["SWAPDB", "0", "1"].map(str::to_owned).to_vec());
        }
        lines.push(vec!["MULTI".to_owned()]);
        for _ in 0..1 + random.below(4) {
            lines.push(match random.below(16) {
                0 => random.database_command(),
                _ => random.plain_command(),
            });
        }
        lines.push(vec!["EXEC".to_owned()]);
        for words in &lines {
            self.check(words).map_err(|message| format!("{message}\nin {lines:?}"))?;
        }
        Ok(())
    }

    /// A round begins: both sides are empty, in database 0, and have limits of its own.
    fn begin(&mut self, random: &mut Random) {
        for line in [["FLUSHALL"].as_slice(), &["SELECT", "0"]] {
            let words: Vec<Vec<u8>> = line.iter().map(|word| word.as_bytes().to_vec()).collect();
            self.ours(&words);
            self.redis.ask(&words);
        }
        let limit = [128, 128, 0, 4][random.below(4)];
        for name in [
            "hash-max-listpack-entries",
            "set-max-listpack-entries",
            "set-max-intset-entries",
            "zset-max-listpack-entries",
        ] {
            self.limit(name, limit);
        }
        self.limit("list-max-listpack-size", [-2, -2, 1, 4][random.below(4)]);
    }

    /// One round; the message if something differs.
    fn round(&mut self, seed: u64) -> Result<(), String> {
        let mut random = Random(seed);
        self.begin(&mut random);
        for _ in 0..COMMANDS {
            let words = random.any_command();
            self.check(&words)?;
            if random.below(20) == 0 {
                self.transaction(&mut random)?;
            }
            match random.below(40) {
                0..4 => commit(&mut self.engine.executor),
                4 => {
                    commit(&mut self.engine.executor);
                    self.engine.engine.reclaim(100).unwrap();
                }
                _ => {}
            }
        }
        Ok(())
    }
}

// What could break: any rule of any command that nobody wrote a conversation about.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn redis_gives_the_same_replies() {
    let Some(redis) = Redis::start() else {
        eprintln!("skipped: there is no /usr/bin/redis-server");
        return;
    };
    let setting = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = setting("CONEY_DIFFERENTIAL_ROUNDS").unwrap_or(ROUNDS);
    let first = setting("CONEY_DIFFERENTIAL_SEED").unwrap_or(1);
    let mut pair = Pair { engine: EnginePeer::new(), redis };
    for seed in first..first.saturating_add(rounds) {
        // Every FLUSHALL leaves range tombstones, over which RocksDB gets slower and slower.
        if seed % 20 == 0 {
            pair.engine = EnginePeer::new();
        }
        if let Err(message) = pair.round(seed) {
            panic!("seed {seed}: {message}");
        }
    }
}
