//! Streams that are too much for a worker, die, move, or are read by several workers' clients.

use std::sync::Arc;

use coney_conversation::Value;
use coney_engine::{Client, Executor};
use coney_resp::OwnedArgs;
use tempfile::TempDir;

use crate::peer::{EnginePeer, START, commit, execute, open};

fn peer_with_stream(entries: u64) -> EnginePeer {
    let mut peer = EnginePeer::new();
    for id in 1..=entries {
        assert_eq!(
            peer.ask(&format!("XADD s {id} f v")),
            format!("${}\r\n{id}-0\r\n", id.to_string().len() + 2)
        );
    }
    commit(&mut peer.executor);
    peer
}

fn count(reply: &str) -> usize {
    match Value::parse(reply.as_bytes()).unwrap().unwrap().0 {
        Value::Aggregate(_, _, elements) => elements.len(),
        other => panic!("{other}"),
    }
}

// What could break: what is built on the pool differs from what a worker writes.
#[test]
fn what_exceeds_the_budget_of_a_worker_is_done_on_the_pool() {
    let mut peer = peer_with_stream(5000);
    assert_eq!(count(&peer.ask("XRANGE s - +")), 5000);
    assert_eq!(peer.ask("XGROUP CREATE s g 0"), "+OK\r\n");
    assert_eq!(count(&peer.ask("XREADGROUP GROUP g c STREAMS s >")), 1);
    assert!(peer.executor.stats.holds > 0);
    assert_eq!(count(&peer.ask("XPENDING s g - + 9999")), 5000);
    assert_eq!(count(&peer.ask("XPENDING s g - + 9999 c")), 5000);
    assert!(peer.ask("XPENDING s g").starts_with("*4\r\n:5000\r\n$3\r\n1-0\r\n$6\r\n5000-0\r\n"));
    assert_eq!(peer.ask("XGROUP DELCONSUMER s g c"), ":5000\r\n");
    assert!(peer.ask("XPENDING s g").starts_with("*4\r\n:0\r\n"));
    assert_eq!(peer.ask("XGROUP SETID s g 0"), "+OK\r\n");
    assert_eq!(count(&peer.ask("XREADGROUP GROUP g d STREAMS s >")), 1);
    assert_eq!(peer.ask("XGROUP DESTROY s g"), ":1\r\n");
    assert_eq!(peer.ask("XGROUP CREATE s g $"), "+OK\r\n");
    assert!(peer.ask("XPENDING s g").starts_with("*4\r\n:0\r\n"));
    assert_eq!(peer.ask("XTRIM s MAXLEN 10"), ":4990\r\n");
    assert_eq!(count(&peer.ask("XRANGE s - +")), 10);
    assert!(peer.ask("XRANGE s - + COUNT 1").contains("4991-0"));
}

#[test]
fn a_stream_dies_with_its_groups_and_moves_with_them() {
    let mut peer = peer_with_stream(50);
    peer.ask("XGROUP CREATE s g 0");
    peer.ask("XREADGROUP GROUP g c COUNT 20 STREAMS s >");
    assert_eq!(peer.ask("COPY s copy"), ":1\r\n");
    assert_eq!(peer.ask("RENAME s moved"), "+OK\r\n");
    for key in ["copy", "moved"] {
        assert_eq!(count(&peer.ask(&format!("XPENDING {key} g - + 100 c"))), 20);
    }
    commit(&mut peer.executor);
    assert_eq!(peer.ask("DEL moved"), ":1\r\n");
    assert!(peer.executor.write_count() <= 3, "{}", peer.executor.write_count());
    assert_eq!(peer.ask("XADD moved 1 a b"), "$3\r\n1-0\r\n");
    assert_eq!(peer.ask("XINFO GROUPS moved"), "*0\r\n");
    assert_eq!(peer.ask("XLEN moved"), ":1\r\n");
    commit(&mut peer.executor);
    // Each call removes what the one before has seen: the source of RENAME, and what it became.
    assert_eq!(peer.engine.reclaim(10).unwrap() + peer.engine.reclaim(10).unwrap(), 2);
    assert_eq!(count(&peer.ask("XRANGE moved - +")), 1);
    assert_eq!(count(&peer.ask("XPENDING copy g - + 100")), 20);
    assert_eq!(peer.ask("PEXPIREAT copy 1"), ":1\r\n");
    assert_eq!(peer.ask("XLEN copy"), ":0\r\n");
}

// Trimmed ids are in the log; what could break is a first id that does not match them.
#[test]
fn a_capped_stream_reads_back_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let mut client = Client::new(1);
    for round in 0..3_u64 {
        let engine = open(&dir, 1);
        let mut executor = Executor::new(Arc::clone(&engine), 0);
        let mut ask = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let args = OwnedArgs::from_parts(&words);
            let done = execute(&engine, &mut executor, START, &mut client, args.as_args());
            commit(&mut executor);
            String::from_utf8(done.reply).unwrap()
        };
        for id in 1..=100 {
            ask(&format!("XADD s MAXLEN 7 {} f v", round * 100 + id));
        }
        let last = (round + 1) * 100;
        assert_eq!(ask("XLEN s"), ":7\r\n");
        let range = ask("XRANGE s - +");
        assert_eq!(count(&range), 7);
        assert!(range.contains(&format!("{}-0", last - 6)), "{range}");
        assert!(ask("XINFO STREAM s").contains(&format!(":{last}\r\n")), "entries-added");
    }
}

#[test]
fn times_are_those_of_redis_7_2() {
    let mut peer = peer_with_stream(2);
    peer.ask("XGROUP CREATE s g 0");
    peer.ask("XREADGROUP GROUP g c STREAMS s >");
    peer.now = coney_base::UnixMillis(START.0 + 500);
    peer.ask("XREADGROUP GROUP g c STREAMS s >");
    peer.ask("XCLAIM s g d 1000 1");
    peer.now = coney_base::UnixMillis(START.0 + 600);
    let consumer = |name: &str, pending: u32, idle: u32, inactive: i32| {
        format!(
            "*8\r\n$4\r\nname\r\n$1\r\n{name}\r\n$7\r\npending\r\n:{pending}\r\n$4\r\nidle\r\n:{idle}\r\n\
             $8\r\ninactive\r\n:{inactive}\r\n"
        )
    };
    let expected = format!("*2\r\n{}{}", consumer("c", 2, 100, 600), consumer("d", 0, 100, -1));
    assert_eq!(peer.ask("XINFO CONSUMERS s g"), expected);
    let listed = "*4\r\n$3\r\n1-0\r\n$1\r\nc\r\n:600\r\n:1\r\n";
    assert_eq!(peer.ask("XPENDING s g IDLE 600 - + 1"), format!("*1\r\n{listed}"));
    assert_eq!(peer.ask("XPENDING s g IDLE 601 - + 1"), "*0\r\n");
    assert_eq!(peer.ask("XADD s * f v"), "$15\r\n1704067200600-0\r\n");
    assert_eq!(peer.ask("XADD s * f v"), "$15\r\n1704067200600-1\r\n");
    let full = peer.ask("XINFO STREAM s FULL");
    assert!(
        full.contains(
            "$9\r\nseen-time\r\n:1704067200500\r\n$11\r\nactive-time\r\n:1704067200000\r\n"
        )
    );
    assert_eq!(peer.ask("XSETID s 99999999999999 MAXDELETEDID 9999999999999"), "+OK\r\n");
    assert!(
        peer.ask("XSETID s 9999999999998").contains("smaller than current max_deleted_entry_id")
    );
}
