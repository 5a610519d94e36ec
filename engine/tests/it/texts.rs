//! Long strings, which lie in chunks: what a change of a part costs, and what becomes of them.

use coney_conversation::Value;

use crate::peer::{EnginePeer, commit};

fn bulk(reply: &[u8]) -> Vec<u8> {
    match Value::parse(reply).unwrap() {
        Some((Value::Bulk(bytes), _)) => bytes,
        other => panic!("{other:?}"),
    }
}

fn peer_with(value: &[u8]) -> EnginePeer {
    let mut peer = EnginePeer::new();
    assert_eq!(peer.ask_words(&[&b"SET"[..], b"t", value]), b"+OK\r\n");
    peer
}

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at * at % 251 + 1).unwrap()).collect()
}

// What could break: a value at either side of the limit, and its way through memtable and tables.
#[test]
fn a_string_of_any_length_reads_back_and_is_whole() {
    for len in [65_535, 65_536, 65_537, 69_632, 1_000_000, 5_000_001] {
        let value = noise(len);
        let mut peer = peer_with(&value);
        for _ in 0..2 {
            assert!(bulk(&peer.ask_words(&["GET", "t"])) == value, "{len}");
            assert_eq!(peer.ask("STRLEN t"), format!(":{len}\r\n"));
            let part = bulk(&peer.ask_words(&["GETRANGE", "t", "4000", "65600"]));
            assert!(part == value[4000..len.min(65_601)], "{len}");
            commit(&mut peer.executor);
            peer.engine.check().unwrap();
            peer.engine.flush().unwrap();
        }
    }
}

// What could break: that a far bit makes a string of zeros first. 512 MB of them would take a second.
#[test]
fn a_far_bit_of_a_new_string_is_one_small_record() {
    let mut peer = EnginePeer::new();
    assert_eq!(peer.ask("SETBIT b 4294967295 1"), ":0\r\n");
    assert_eq!(peer.executor.write_count(), 2, "the key and a chunk");
    commit(&mut peer.executor);
    assert_eq!(peer.ask("STRLEN b"), ":536870912\r\n");
    assert_eq!(peer.ask("GETBIT b 4294967295"), ":1\r\n");
    assert_eq!(peer.ask("GETBIT b 4294967294"), ":0\r\n");
    assert_eq!(peer.ask("BITCOUNT b"), ":1\r\n");
    assert_eq!(peer.ask("BITPOS b 1"), ":4294967295\r\n");
    assert_eq!(peer.ask("BITPOS b 0 -1 -1"), ":4294967288\r\n");
    peer.engine.check().unwrap();
}

#[test]
fn a_change_of_a_part_writes_a_part() {
    let mut value = noise(1_000_000);
    let mut peer = peer_with(&value);
    commit(&mut peer.executor);
    assert_eq!(peer.ask("SETRANGE t 500000 patch"), ":1000000\r\n");
    assert_eq!(peer.ask("APPEND t tail"), ":1000004\r\n");
    assert_eq!(peer.executor.write_count(), 3, "two chunks and a new length");
    value[500_000..500_005].copy_from_slice(b"patch");
    value.extend_from_slice(b"tail");
    assert!(bulk(&peer.ask_words(&["GET", "t"])) == value, "before the commit");
    commit(&mut peer.executor);
    assert!(bulk(&peer.ask_words(&["GET", "t"])) == value, "after it");
}

// What could break: chunks that stay behind, or go along with another key's.
#[test]
fn an_overwritten_string_leaves_nothing_behind() {
    let mut peer = peer_with(&noise(200_000));
    peer.ask("RENAME t u");
    peer.ask("COPY u v");
    assert!(bulk(&peer.ask_words(&["GET", "v"])) == noise(200_000));
    peer.ask("SET u short");
    peer.ask("PEXPIRE v 100");
    commit(&mut peer.executor);
    peer.engine.check().unwrap();
    // What a call of it has seen, the next one removes.
    peer.engine.reclaim(100).unwrap();
    assert_eq!(peer.engine.reclaim(100).unwrap(), 2, "of t and of u");
    peer.engine.check().unwrap();
    assert!(bulk(&peer.ask_words(&["GET", "v"])) == noise(200_000));
    assert_eq!(peer.ask("GET u"), "$5\r\nshort\r\n");
}

#[test]
fn a_dump_of_a_long_string_is_restored() {
    let mut peer = peer_with(&noise(200_000));
    let payload = bulk(&peer.ask_words(&["DUMP", "t"]));
    assert_eq!(peer.ask_words(&[&b"RESTORE"[..], b"u", b"0", &payload]), b"+OK\r\n");
    assert!(bulk(&peer.ask_words(&["GET", "u"])) == noise(200_000));
    commit(&mut peer.executor);
    peer.engine.check().unwrap();
}

#[test]
fn a_long_string_is_a_raw_one_of_its_size() {
    let mut peer = peer_with(&noise(200_000));
    assert_eq!(peer.ask("OBJECT ENCODING t"), "$3\r\nraw\r\n");
    let usage = peer.ask("MEMORY USAGE t");
    let usage: usize = usage.trim_start_matches(':').trim_end().parse().unwrap();
    assert!((200_000..210_000).contains(&usage), "{usage}");
    assert_eq!(peer.ask("INCR t"), "-ERR value is not an integer or out of range\r\n");
    assert!(peer.ask("PFCOUNT t").starts_with("-WRONGTYPE"));
}
