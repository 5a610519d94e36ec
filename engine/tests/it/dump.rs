//! What DUMP writes, RESTORE reads.

use coney_conversation::Value;

use crate::peer::EnginePeer;

fn dump(peer: &mut EnginePeer, key: &str) -> Vec<u8> {
    match Value::parse(&peer.ask_words(&["DUMP", key])).unwrap() {
        Some((Value::Bulk(payload), _)) => payload,
        other => panic!("{other:?}"),
    }
}

// What could break: collections that are kept element by element, and the deadline of the copy.
#[test]
fn a_restored_collection_is_the_dumped_one() {
    let mut peer = EnginePeer::new();
    for count in [3, 3000] {
        peer.ask("FLUSHALL");
        for at in 0..count {
            peer.ask(&format!("HSET h field{at} {at}"));
            peer.ask(&format!("SADD s member{at}"));
        }
        for (key, all) in [("h", "HGETALL"), ("s", "SMEMBERS")] {
            let payload = dump(&mut peer, key);
            let words: [&[u8]; 4] = [b"RESTORE", b"copy", b"100000", &payload];
            assert_eq!(peer.ask_words(&words), b"+OK\r\n");
            assert_eq!(peer.ask("TTL copy"), ":100\r\n");
            assert_eq!(peer.ask(&format!("{all} copy")), peer.ask(&format!("{all} {key}")));
            peer.ask("DEL copy");
        }
    }
}
