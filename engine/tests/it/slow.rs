//! Commands that run on the I/O pool: what they see, and SCAN's promises.

use std::collections::BTreeSet;

use coney_conversation::Peer;
use proptest::prelude::*;

use crate::peer::EnginePeer;

/// The lines of a flat RESP reply that are neither headers nor lengths.
fn bulks(reply: &str) -> Vec<String> {
    let lines: Vec<&str> = reply.split("\r\n").collect();
    let is_bulk = |at: usize| at > 0 && lines[at - 1].starts_with('$');
    (0..lines.len()).filter(|&at| is_bulk(at)).map(|at| lines[at].to_owned()).collect()
}

/// A whole SCAN; `between` runs after each call.
fn scan_all(
    peer: &mut EnginePeer,
    options: &str,
    mut between: impl FnMut(&mut EnginePeer, usize),
) -> Vec<String> {
    let mut found = Vec::new();
    let mut cursor = "0".to_owned();
    for round in 0.. {
        let reply = peer.ask(format!("SCAN {cursor}{options}").trim());
        let mut strings = bulks(&reply).into_iter();
        cursor = strings.next().unwrap();
        found.extend(strings);
        if cursor == "0" {
            break;
        }
        between(peer, round);
    }
    found
}

#[test]
fn a_slow_command_sees_what_its_own_client_wrote_before_it() {
    let mut peer = EnginePeer::new();
    assert_eq!(peer.ask("SET k v"), "+OK\r\n");
    assert_eq!(peer.ask("KEYS *"), "*1\r\n$1\r\nk\r\n");
    assert_eq!(peer.ask("DEL k"), ":1\r\n");
    assert_eq!(peer.ask("RANDOMKEY"), "$-1\r\n");
}

#[test]
fn scan_visits_every_key_once() {
    let mut peer = EnginePeer::new();
    let keys: BTreeSet<String> = (0..500).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        peer.ask(&format!("SET {key} v"));
    }
    for options in ["", " COUNT 1", " COUNT 7", " COUNT 1000000", " TYPE string", " MATCH key:*"] {
        let found = scan_all(&mut peer, options, |_, _| {});
        assert_eq!(found.len(), keys.len(), "once each: {options}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), keys, "{options}");
    }
    assert_eq!(scan_all(&mut peer, " MATCH key:1?", |_, _| {}).len(), 10);
    assert!(scan_all(&mut peer, " TYPE list", |_, _| {}).is_empty());
}

#[test]
fn keys_of_other_tables_are_not_seen() {
    let mut peer = EnginePeer::new();
    peer.ask("SET a 0");
    peer.ask("SELECT 1");
    peer.ask("SET b 1");
    peer.ask("SELECT 2");
    peer.ask("SET c 2");
    peer.ask("SELECT 1");
    assert_eq!(scan_all(&mut peer, "", |_, _| {}), ["b"]);
    assert_eq!(peer.ask("KEYS *"), "*1\r\n$1\r\nb\r\n");
    for _ in 0..20 {
        assert_eq!(peer.ask("RANDOMKEY"), "$1\r\nb\r\n");
    }
    assert_eq!(peer.ask("DBSIZE"), ":1\r\n");
}

#[test]
fn every_key_of_a_small_table_is_chosen_by_randomkey() {
    let mut peer = EnginePeer::new();
    for number in 0..10 {
        peer.ask(&format!("SET {number} v"));
    }
    let chosen: BTreeSet<String> = (0..500).map(|_| peer.ask("RANDOMKEY")).collect();
    assert_eq!(chosen.len(), 10);
}

#[test]
fn expired_keys_are_hidden_before_they_are_removed() {
    let mut peer = EnginePeer::new();
    peer.ask("SET k v PX 100");
    peer.ask("SET l v");
    // The clock alone, without active expiry.
    peer.now = coney_base::UnixMillis(peer.now.0 + 100);
    assert_eq!(peer.ask("DBSIZE"), ":2\r\n", "counted until it is removed, as in Redis");
    assert_eq!(peer.ask("KEYS *"), "*1\r\n$1\r\nl\r\n");
    assert_eq!(scan_all(&mut peer, "", |_, _| {}), ["l"]);
    assert_eq!(peer.ask("RANDOMKEY"), "$1\r\nl\r\n");
    assert!(peer.advance(0));
    assert_eq!(peer.ask("DBSIZE"), ":1\r\n");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // What could break: a cursor that depends on keys which others remove or add.
    #[test]
    fn keys_that_stay_are_returned_exactly_once_whatever_others_do(
        stay in proptest::collection::btree_set(0_u16..400, 1..60),
        churn in proptest::collection::vec((0_u16..400, any::<bool>()), 0..200),
        count in 1_u8..9,
    ) {
        let mut peer = EnginePeer::new();
        for key in &stay {
            peer.ask(&format!("SET {key} v"));
        }
        let mut churn = churn.into_iter();
        let found = scan_all(&mut peer, &format!(" COUNT {count}"), |peer, _| {
            for (key, is_written) in churn.by_ref().take(3) {
                if is_written {
                    peer.ask(&format!("SET {key} w"));
                } else if !stay.contains(&key) {
                    peer.ask(&format!("DEL {key}"));
                }
            }
        });
        for key in &stay {
            let key = key.to_string();
            prop_assert_eq!(found.iter().filter(|other| **other == key).count(), 1, "{}", key);
        }
    }
}

#[test]
fn a_command_that_was_built_on_the_pool_and_wrote_nothing_keeps_nobody_waiting() {
    let mut peer = EnginePeer::new();
    let elements: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
    peer.ask(&format!("RPUSH l {}", elements.join(" ")));
    for _ in 0..3 {
        assert_eq!(peer.ask("SORT l LIMIT 5 1"), "*1\r\n$1\r\n5\r\n");
        assert_eq!(peer.ask("RANDOMKEY"), "$1\r\nl\r\n");
    }
}
