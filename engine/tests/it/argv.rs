//! Arbitrary arguments for every row of the table: no panic, and exactly one reply each.

use coney_conversation::{Peer, Value};
use coney_engine::command::table;
use proptest::prelude::*;

use crate::peer::EnginePeer;

fn word() -> impl Strategy<Value = Vec<u8>> {
    const KNOWN: &[&str] = &[
        "",
        "a",
        "b",
        "0",
        "1",
        "-1",
        "2",
        "3",
        "10",
        "-9223372036854775808",
        "9223372036854775807",
        "18446744073709551615",
        "1e400",
        "1.5",
        "inf",
        "NX",
        "XX",
        "GET",
        "EX",
        "PX",
        "EXAT",
        "PXAT",
        "KEEPTTL",
        "PERSIST",
        "REPLACE",
        "DB",
        "COUNT",
        "MATCH",
        "*",
        "TYPE",
        "string",
        "IDX",
        "LEN",
        "MINMATCHLEN",
        "WITHMATCHLEN",
        "GT",
        "LT",
        "ON",
        "OFF",
        "AUTH",
        "SETNAME",
        "FILTERBY",
        "PATTERN",
        "ACLCAT",
        "MODULE",
        "LIB-NAME",
        "SAMPLES",
        "default",
        "keyspace",
        "ASYNC",
        "set",
        "mset",
        "object|encoding",
    ];
    prop_oneof![
        6 => proptest::sample::select(KNOWN).prop_map(|word| word.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
    ]
}

fn command() -> impl Strategy<Value = Vec<Vec<u8>>> {
    // Those that change how replies are sent have conversations of their own.
    // SUBSCRIBE and its like reply once for each name; what is told unasked is no reply.
    let is_plain = |name: &&'static str| {
        !matches!(*name, "client|reply" | "client|pause" | "client|tracking" | "monitor" | "quit")
            && !name.ends_with("subscribe")
    };
    let names: Vec<&str> = table::ALL.iter().map(|row| row.full_name).filter(is_plain).collect();
    let spare = prop_oneof![9 => Just(None), 1 => word().prop_map(Some)];
    (proptest::sample::select(names), proptest::collection::vec(word(), 0..8), spare).prop_map(
        |(name, args, spare)| {
            let mut words: Vec<Vec<u8>> =
                name.split('|').map(|word| word.as_bytes().to_vec()).collect();
            if let Some(spare) = spare {
                let last = words.len() - 1;
                words[last] = spare;
            }
            words.extend(args);
            words
        },
    )
}

fn ask(peer: &mut EnginePeer, words: &[Vec<u8>]) -> Vec<u8> {
    peer.send("A", &coney_conversation::script::encode(words)).unwrap();
    let mut received = Vec::new();
    peer.receive("A", &mut received).unwrap();
    received
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_arguments_get_exactly_one_reply(
        commands in proptest::collection::vec(command(), 1..80),
        is_resp3: bool,
    ) {
        let mut peer = EnginePeer::new();
        // A string of 512 MiB is in order; here it would only take time.
        peer.engine.set_value_len_max(1 << 16);
        if is_resp3 {
            peer.ask("HELLO 3");
        }
        for words in commands {
            // The name may have become another by accident.
            if words[0].eq_ignore_ascii_case(b"quit") {
                continue;
            }
            let reply = ask(&mut peer, &words);
            let parsed = Value::parse(&reply);
            let is_one = matches!(&parsed, Ok(Some((_, len))) if *len == reply.len());
            prop_assert!(is_one, "{:?}: {}", words, reply.escape_ascii());
        }
    }
}
