//! What DUMP writes, RESTORE reads; here and in Redis.

use coney_conversation::Value;

use crate::differential::Random;
use crate::differential::redis::Redis;
use crate::peer::EnginePeer;

fn dump(peer: &mut EnginePeer, key: &str) -> Vec<u8> {
    match Value::parse(&peer.ask_words(&["DUMP", key])).unwrap() {
        Some((Value::Bulk(payload), _)) => payload,
        other => panic!("{other:?}"),
    }
}

/// The command that shows all of a value.
const SHOW: [(&str, &str); 5] = [
    ("h", "HGETALL {key}"),
    ("s", "SMEMBERS {key}"),
    ("l", "LRANGE {key} 0 -1"),
    ("z", "ZRANGE {key} 0 -1 WITHSCORES"),
    ("x", "XRANGE {key} - +"),
];

// What could break: collections that are kept element by element, and the deadline of the copy.
#[test]
fn a_restored_collection_is_the_dumped_one() {
    let mut peer = EnginePeer::new();
    for count in [3, 3000] {
        peer.ask("FLUSHALL");
        for at in 0..count {
            peer.ask(&format!("HSET h field{at} {at}"));
            peer.ask(&format!("SADD s member{at}"));
            peer.ask(&format!("RPUSH l element{at}"));
            peer.ask(&format!("ZADD z {at}.5 member{at}"));
            peer.ask(&format!("XADD x {at}-1 f {at}"));
        }
        for (key, show) in SHOW {
            let payload = dump(&mut peer, key);
            let words: [&[u8]; 4] = [b"RESTORE", b"copy", b"100000", &payload];
            assert_eq!(peer.ask_words(&words), b"+OK\r\n");
            assert_eq!(peer.ask("TTL copy"), ":100\r\n");
            let (copied, original) = (show.replace("{key}", "copy"), show.replace("{key}", key));
            assert_eq!(peer.ask(&copied), peer.ask(&original));
            assert_eq!(dump(&mut peer, "copy"), payload);
            peer.ask("DEL copy");
        }
        assert_eq!(peer.ask("DBSIZE"), ":5\r\n");
    }
}

// What could break: an estimate that does not see the elements, or sees them once for both families.
#[test]
fn memory_usage_counts_the_elements_of_large_collections() {
    let mut peer = EnginePeer::new();
    let usage = |peer: &mut EnginePeer, words: &str| -> u64 {
        let reply = peer.ask(&format!("MEMORY USAGE {words}"));
        reply.trim_start_matches(':').trim_end().parse().unwrap()
    };
    for at in 0..2000 {
        peer.ask(&format!("HSET h field{at:04} value"));
        peer.ask(&format!("ZADD z {at} member{at:04}"));
        peer.ask(&format!("RPUSH l element{at:04}"));
    }
    for (key, least) in [("h", 2000 * 14), ("z", 2000 * 36), ("l", 2000 * 19)] {
        let all = usage(&mut peer, &format!("{key} SAMPLES 0"));
        assert!(all > least && all < 4 * least + 4096, "{key}: {all}");
        let sampled = usage(&mut peer, key);
        assert!(sampled.abs_diff(all) * 10 < all, "{key}: {sampled} against {all}");
    }
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// Something that a listpack, or RDB, may write in its own way.
fn word(random: &mut Random) -> Vec<u8> {
    let signed = |number: u64| number.cast_signed();
    match random.below(8) {
        0 => random.below(130).to_string().into_bytes(),
        1 => (signed(random.next()) >> random.below(64)).to_string().into_bytes(),
        2 => vec![b'a'; random.below(70)],
        3 => vec![b'b'; 4090 + random.below(10)],
        4 => random.next().to_le_bytes().to_vec(),
        5 => b"007".to_vec(),
        _ => format!("word{}", random.below(1000)).into_bytes(),
    }
}

/// Commands that make one value of each kind.
pub(crate) fn build(random: &mut Random, count: usize) -> Vec<Vec<Vec<u8>>> {
    let mut commands = Vec::new();
    for at in 0..count {
        let score = match random.below(5) {
            0 => b"inf".to_vec(),
            1 => b"-inf".to_vec(),
            2 => f64::from_bits(0x3ff0_0000_0000_0000 | random.next() >> 12).to_string().into(),
            _ => random.below(1 << 40).to_string().into_bytes(),
        };
        for head in ["SADD s", "RPUSH l"] {
            commands.push([words(head), vec![word(random)]].concat());
        }
        commands.push([words("HSET h"), vec![word(random), word(random)]].concat());
        commands.push([words("ZADD z"), vec![score, word(random)]].concat());
        let mut entry = words(&format!("XADD x {}-{}", at / 3, 1 + at % 3));
        let fields = if random.below(3) == 0 { 1 + random.below(4) } else { 2 };
        for field in 0..fields {
            entry.extend([format!("field{field}").into_bytes(), word(random)]);
        }
        commands.push(entry);
        match random.below(12) {
            0 => commands.push(words(&format!("XDEL x {}-{}", random.below(at + 1) / 3, 1))),
            1 => commands.push(words(&format!("XGROUP CREATE x g{} 0", random.below(3)))),
            2 | 3 => {
                let (group, consumer) = (random.below(3), random.below(3));
                let read = format!("XREADGROUP GROUP g{group} c{consumer} COUNT 7 STREAMS x >");
                commands.push(words(&read));
            }
            _ => {}
        }
    }
    commands.push(words(&format!("XTRIM x MAXLEN {}", count - count / 4)));
    commands
}

/// Redis's view of a value, without what depends on its blocks.
fn show_in_redis(redis: &mut Redis, key: &str, show: &str) -> Vec<Value> {
    let mut shown = vec![redis.ask(&words(&show.replace("{key}", key)))];
    if show.starts_with("XRANGE") {
        let Value::Aggregate(_, _, mut parts) =
            redis.ask(&words(&format!("XINFO STREAM {key} FULL COUNT 0")))
        else {
            panic!("no stream at {key}");
        };
        // The number of nodes and keys of the tree.
        parts.drain(2..6);
        shown.extend(parts);
    }
    shown
}

// What could break: each side reads what the other wrote, in every encoding that Redis chooses, or
// writes it so that something gets lost on the way.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn values_go_to_redis_and_back() {
    let Some(mut redis) = Redis::start() else {
        eprintln!("skipped: there is no /usr/bin/redis-server");
        return;
    };
    let mut peer = EnginePeer::new();
    let restore = |key: &str, payload: &[u8]| -> Vec<Vec<u8>> {
        [words(&format!("RESTORE {key} 0")), vec![payload.to_vec()], words("REPLACE")].concat()
    };
    redis.ask(&words("CONFIG SET sanitize-dump-payload yes"));
    for round in 0_usize..24 {
        let mut random = Random(0x10 + round as u64);
        let counts = [1, 5, 40, 130, 700];
        let list_size = ["-2", "-1", "7"][round % 3];
        redis.ask(&words(&format!("CONFIG SET list-max-listpack-size {list_size}")));
        redis.ask(&words(&format!("CONFIG SET list-compress-depth {}", round % 2)));
        redis.ask(&words("FLUSHALL"));
        peer.ask("FLUSHALL");
        for command in build(&mut random, counts[round % counts.len()]) {
            redis.ask(&command);
            peer.ask_words(&command);
        }
        for (key, show) in SHOW {
            // From here to there and back.
            let ours = dump(&mut peer, key);
            let reply = redis.ask(&restore("ours", &ours));
            assert_eq!(reply, Value::Simple("OK".into()), "round {round}: {key} of the engine");
            let Value::Bulk(theirs) = redis.ask(&words("DUMP ours")) else { panic!("no {key}") };
            let reply = peer.ask_words(&restore("back", &theirs));
            assert_eq!(reply, b"+OK\r\n", "round {round}: {key} of the engine, back from Redis");
            if matches!(key, "l" | "z" | "x") {
                assert_eq!(
                    dump(&mut peer, "back"),
                    ours,
                    "round {round}: {key} came back otherwise"
                );
            }
            // From there to here and back.
            let Value::Bulk(theirs) = redis.ask(&words(&format!("DUMP {key}"))) else {
                panic!("no {key}");
            };
            let reply = peer.ask_words(&restore("theirs", &theirs));
            assert_eq!(reply, b"+OK\r\n", "round {round}: {key} of Redis");
            let reply = redis.ask(&restore("back", &dump(&mut peer, "theirs")));
            assert_eq!(reply, Value::Simple("OK".into()), "round {round}: {key} of Redis, back");
            if matches!(key, "l" | "z" | "x") {
                let expected = show_in_redis(&mut redis, key, show);
                assert_eq!(show_in_redis(&mut redis, "back", show), expected, "round {round}");
            }
            for copy in ["back", "theirs"] {
                let shown = |peer: &mut EnginePeer, key: &str| {
                    let reply = peer.ask_words(&words(&show.replace("{key}", key)));
                    let mut lines: Vec<Vec<u8>> =
                        reply.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                    // Hashes and sets have no order.
                    lines.sort_unstable();
                    lines
                };
                assert_eq!(shown(&mut peer, copy), shown(&mut peer, key), "round {round}: {copy}");
            }
        }
    }
}
