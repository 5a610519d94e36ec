//! `kill -9` under load, for each type and for databases that are exchanged: whatever was acknowledged is there, nothing is there in part,
//! and everything on disk agrees ([`Engine::check`]).
//!
//! Each client changes keys of its own, or databases of its own, so that what they should hold is known: what its commands
//! leave of an empty key, as many of them as were acknowledged or, since some may have been under
//! way, a few more. To find that out, they are executed again under other keys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use coney_conversation::script::encode;
use coney_engine::{Engine, EngineConfig};
use tempfile::TempDir;

use crate::support::{Client, Server, eventually};

const CLIENTS: usize = 4;
/// Commands that a client sends at once.
const PIPELINE: usize = 16;
/// Commands of a client; it is killed long before.
const COMMANDS_MAX: usize = 200_000;
const ROUNDS: u64 = 2;

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

    fn one_of(&mut self, lines: &[&'static str]) -> &'static str {
        lines[usize::try_from(self.below(lines.len() as u64)).unwrap()]
    }
}

/// A type under test.
struct Kind {
    name: &'static str,
    /// A client's first command, if it is not one of `lines`.
    first: Option<&'static str>,
    /// What its commands are; [`fill`] puts numbers in, `{k}` and `{l}` are its keys, and `{x}` and `{y}`
    /// its databases. Those between semicolons are sent and replayed together: a transaction.
    lines: &'static [&'static str],
    /// Commands that show all of a key.
    show: &'static [&'static str],
}

const KINDS: [Kind; 8] = [
    Kind {
        name: "list",
        first: None,
        lines: &[
            "RPUSH {k} e{n} f{n}",
            "RPUSH {k} e{n} f{n}",
            "LPUSH {k} e{n}",
            "LPUSH {l} e{n} e{n}",
            "LPOP {k}",
            "RPOP {k} 2",
            "LSET {k} 0 s{n}",
            "LINSERT {k} BEFORE e{m} i{n}",
            "LREM {l} 1 e{m}",
            "LTRIM {l} 0 40",
            "LMOVE {k} {l} LEFT RIGHT",
        ],
        show: &["LRANGE {k} 0 -1"],
    },
    Kind {
        name: "hash",
        first: None,
        lines: &[
            "HSET {k} f{m} {n} g{m} {n}",
            "HSET {k} f{n} {n}",
            "HINCRBY {k} c{m} 3",
            "HDEL {k} f{m} g{m}",
            "HSETEX {k} PXAT 4102444{m}00000 FIELDS 1 f{m} {n}",
            "HPEXPIREAT {k} 41024448{m}0000 FIELDS 2 f{m} g{m}",
            "HPERSIST {k} FIELDS 2 f{m} g{m}",
            "HGETDEL {k} FIELDS 1 g{m}",
            "COPY {k} {l} REPLACE",
            "RENAME {l} {k}",
        ],
        show: &["HGETALL {k}", "DUMP {k}"],
    },
    Kind {
        name: "set",
        first: None,
        lines: &[
            "SADD {k} m{m} {m}",
            "SADD {k} m{n} {n}",
            "SREM {k} m{m} {m}",
            "SMOVE {k} {l} m{m}",
            "SUNIONSTORE {l} {k} {l}",
            "SDIFFSTORE {k} {k} {l}",
            "DEL {l}",
        ],
        show: &["SORT {k} ALPHA"],
    },
    Kind {
        name: "sorted set",
        first: None,
        lines: &[
            "ZADD {k} {m} m{m} {n} m{n}",
            "ZADD {k} {n} m{n}",
            "ZINCRBY {k} {m}.5 m{m}",
            "ZREM {k} m{m}",
            "ZPOPMIN {k}",
            "ZRANGESTORE {l} {k} 0 60",
            "ZREMRANGEBYRANK {l} 0 5",
            "ZUNIONSTORE {l} 2 {k} {l}",
        ],
        show: &["ZRANGE {k} 0 -1 WITHSCORES"],
    },
    Kind {
        name: "stream",
        first: Some("XGROUP CREATE {k} g 0 MKSTREAM"),
        lines: &[
            "XADD {k} {n}-1 f {m} g {n}",
            "XADD {k} {n}-1 f {m}",
            "XREADGROUP GROUP g c{m} COUNT 2 STREAMS {k} >",
            "XACK {k} g {b}-1 {b}-2",
            "XDEL {k} {b}-1",
            "XTRIM {k} MAXLEN 200",
            "XGROUP DELCONSUMER {k} g c{m}",
        ],
        show: &["XRANGE {k} - +", "XPENDING {k} g - + 100000", "XINFO GROUPS {k}"],
    },
    Kind {
        name: "bitmap",
        first: None,
        lines: &[
            "SETBIT {k} {n} 1",
            "SETBIT {k} {b} 0",
            "BITFIELD {k} INCRBY u8 #{m} 3 SET i16 {m} -5",
            "SETRANGE {l} {m} x{n}",
            "BITOP XOR {l} {k} {l}",
            "APPEND {l} y",
        ],
        show: &["GET {k}"],
    },
    Kind {
        name: "HyperLogLog",
        first: None,
        lines: &["PFADD {k} {n}", "PFADD {l} {n} {m}", "PFMERGE {k} {l}"],
        show: &["GET {k}"],
    },
    // A client stays in {x}; what lies there changes under it.
    Kind {
        name: "exchanged databases",
        first: Some("SELECT {x}"),
        lines: &[
            "SWAPDB {x} {y}",
            "SWAPDB {y} {x}",
            "MULTI;SET {k} {n};SWAPDB {x} {y};HSET {l} f{m} {n};EXEC",
            "MULTI;SWAPDB {x} {y};APPEND {k} {n},;SWAPDB {y} {x};HDEL {l} f{m};EXEC",
            "SET {k} {n}",
            "APPEND {k} {n},",
            "HSET {l} f{m} {n} g{n} {m}",
            "HDEL {l} f{m}",
            "COPY {k} {k} DB {y} REPLACE",
            "MOVE {l} {y}",
            "DEL {k}",
            "FLUSHDB",
        ],
        show: &["SELECT {y}", "DUMP {k}", "SELECT {x}", "DUMP {k}"],
    },
];

impl Kind {
    /// The command that is number `number` of a client.
    fn command(&self, random: &mut Random, number: usize) -> String {
        match self.first {
            Some(first) if number == 0 => first.to_owned(),
            _ => {
                let line = random.one_of(self.lines);
                fill(random, line, number)
            }
        }
    }
}

/// A command with numbers: the client's, a small one, and one of those before.
fn fill(random: &mut Random, line: &str, number: usize) -> String {
    let before = random.below(number as u64 + 1);
    line.replace("{n}", &number.to_string())
        .replace("{m}", &(10 + random.below(50)).to_string())
        .replace("{b}", &before.to_string())
}

/// What a client's commands are about.
#[derive(Clone)]
struct Names {
    keys: [String; 2],
    databases: [usize; 2],
}

impl Names {
    fn of(client: usize) -> Self {
        Self {
            keys: [format!("{{{client}}}k"), format!("{{{client}}}l")],
            databases: [2 * client, 2 * client + 1],
        }
    }

    /// Those under which commands are executed again.
    fn of_replay() -> Self {
        Self { keys: ["{replay}k".to_owned(), "{replay}l".to_owned()], databases: [14, 15] }
    }

    /// The same with one key for both.
    fn with_key(&self, key: &str) -> Self {
        Self { keys: [key.to_owned(), key.to_owned()], ..self.clone() }
    }

    fn words(&self, line: &str) -> Vec<u8> {
        let line = line
            .replace("{k}", &self.keys[0])
            .replace("{l}", &self.keys[1])
            .replace("{x}", &self.databases[0].to_string())
            .replace("{y}", &self.databases[1].to_string());
        let command = |line: &str| {
            let words: Vec<Vec<u8>> =
                line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            encode(&words)
        };
        line.split(';').flat_map(command).collect()
    }
}

/// Reads the replies to a line; `None`: the connection ended before the last.
fn replies(client: &mut Client, line: &str) -> Option<()> {
    line.split(';').try_for_each(|_| client.reply().map(drop))
}

/// What a client sent, and how much of it was acknowledged.
struct Sent {
    lines: Vec<String>,
    acknowledged: usize,
}

/// Sends commands until the server is gone.
fn send_until_killed(
    mut client: Client,
    kind: &Kind,
    mut random: Random,
    at: usize,
    total: &AtomicUsize,
) -> Sent {
    let names = Names::of(at);
    let mut sent = Sent { lines: Vec::new(), acknowledged: 0 };
    while sent.lines.len() < COMMANDS_MAX {
        let first = sent.lines.len();
        let count = 1 + usize::try_from(random.below(PIPELINE as u64)).unwrap();
        let mut bytes = Vec::new();
        for number in first..first + count {
            let line = kind.command(&mut random, number);
            bytes.extend(names.words(&line));
            sent.lines.push(line);
        }
        if std::io::Write::write_all(&mut client.stream, &bytes).is_err() {
            return sent;
        }
        for number in first..first + count {
            if replies(&mut client, &sent.lines[number]).is_none() {
                return sent;
            }
            sent.acknowledged += 1;
            total.fetch_add(1, Ordering::Relaxed);
        }
    }
    sent
}

fn show(client: &mut Client, kind: &Kind, names: &Names) -> Vec<String> {
    let mut shown = Vec::new();
    for key in &names.keys {
        for line in kind.show {
            client.send(&names.with_key(key).words(line));
            let reply = client.reply().unwrap().to_string();
            // How long an entry has been pending depends on the clock.
            let is_timed = line.starts_with("XPENDING");
            shown.push(if is_timed { without_times(&reply) } else { reply });
        }
    }
    shown
}

/// `*4 "id" "consumer" :idle :deliveries` without the third; an error without the key in it.
fn without_times(pending: &str) -> String {
    if pending.starts_with('-') {
        return "an error".to_owned();
    }
    let words: Vec<&str> = pending.split(' ').skip(1).collect();
    let entries = words.chunks(5).map(|entry| [entry[1], entry[2], entry[4]].join(" "));
    entries.collect::<Vec<String>>().join("; ")
}

/// Compares what a client's keys hold with what its commands make of them again.
fn verify(client: &mut Client, kind: &Kind, at: usize, sent: &Sent) {
    let found = show(client, kind, &Names::of(at));
    let replay = Names::of_replay();
    // Keys are in the first database, unless the commands choose another.
    for database in [replay.databases[0], replay.databases[1], 0] {
        client.ask(&format!("SELECT {database}"));
        client.ask("DEL {replay}k {replay}l");
    }
    for lines in sent.lines[..sent.acknowledged].chunks(500) {
        let bytes: Vec<u8> = lines.iter().flat_map(|line| replay.words(line)).collect();
        client.send(&bytes);
        lines.iter().for_each(|line| replies(client, line).unwrap());
    }
    let mut shown = show(client, kind, &replay);
    for line in &sent.lines[sent.acknowledged..] {
        if shown == found {
            return;
        }
        client.send(&replay.words(line));
        replies(client, line).unwrap();
        shown = show(client, kind, &replay);
    }
    assert!(
        shown == found,
        "{}, client {at}: {} commands were acknowledged, {} sent, and the keys hold\n{found:?}\nnot\n{shown:?}",
        kind.name,
        sent.acknowledged,
        sent.lines.len()
    );
}

/// Large forms come early.
fn set_small_limits(client: &mut Client) {
    for limit in [
        "hash-max-listpack-entries",
        "set-max-listpack-entries",
        "set-max-intset-entries",
        "zset-max-listpack-entries",
        "list-max-listpack-size",
    ] {
        assert_eq!(client.ask(&format!("CONFIG SET {limit} 16")), "+OK");
    }
}

/// Every second crash has values in blob files, of memtables that are soon full.
const APART: [&str; 4] = ["--set", "blob-threshold=32", "--set", "write-buffer=1mb"];

fn crash(kind: &Kind, seed: u64) {
    let apart = if seed.is_multiple_of(2) { &[][..] } else { &APART[..] };
    let args = [&["--workers", "2"], apart].concat();
    let dir = TempDir::new().unwrap();
    let mut random = Random(seed);
    let server = Server::start_in(dir.path(), &args);
    set_small_limits(&mut server.connect());
    let total = AtomicUsize::new(0);
    let enough = 1500 + usize::try_from(random.below(4000)).unwrap();
    let clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    let sent: Vec<Sent> = thread::scope(|scope| {
        let tasks: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(at, client)| {
                let (total, random) = (&total, Random(seed << 8 | at as u64));
                scope.spawn(move || send_until_killed(client, kind, random, at, total))
            })
            .collect();
        eventually("enough was acknowledged", || total.load(Ordering::Relaxed) >= enough);
        server.kill();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    let engine = Engine::open(EngineConfig::new(dir.path().join("data"))).unwrap();
    if let Err(error) = engine.check() {
        panic!("{}, seed {seed}: {error}", kind.name);
    }
    drop(engine);
    let server = Server::start_in(dir.path(), &args);
    let mut client = server.connect();
    set_small_limits(&mut client);
    for (at, sent) in sent.iter().enumerate() {
        verify(&mut client, kind, at, sent);
    }
}

#[test]
fn every_type_survives_kill_9_whole() {
    for (at, kind) in (0..).zip(&KINDS) {
        for round in 0..ROUNDS {
            crash(kind, at << 8 | round);
        }
    }
}
