//! Transactions where several workers or the I/O pool take part. Replies in general are in the
//! conversations. What could break is that others see half of one, or that a change is missed.

use std::sync::Arc;

use coney_base::UnixMillis;
use coney_engine::mail::Letter;
use coney_engine::transaction::QUEUE_COMMANDS_MAX;
use coney_engine::{Client, Engine, EngineConfig, Executor, Park};
use coney_resp::OwnedArgs;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::peer::{EnginePeer, START, Worker, commit, execute, open, two_workers};

#[test]
fn another_worker_sees_all_of_a_transaction_or_nothing() {
    let (_dir, mut a, mut b) = two_workers();
    a.say(&["MULTI", "SET x 1", "SET y 1"]);
    assert_eq!(a.ask("EXEC"), "*2\r\n+OK\r\n+OK\r\n");
    assert_eq!(b.ask("EXISTS x y"), ":0\r\n");
    assert!(matches!(b.try_ask("SET y 2"), Err(Park::Latch)), "its keys are latched");
    b.commit();
    a.commit();
    assert_eq!(b.ask("EXISTS x y"), ":2\r\n");
}

#[test]
fn one_that_empties_a_database_may_name_very_many_elements() {
    let (_dir, mut a, mut b) = two_workers();
    let members: Vec<String> = (0..5000).map(|at| format!("m{at}")).collect();
    let sadd = format!("SADD s {}", members.join(" "));
    for (empties, replies) in [("FLUSHDB", "+OK\r\n:5000"), ("SWAPDB 0 1", "+OK\r\n:5000")] {
        a.say(&["MULTI", empties, &sadd]);
        assert_eq!(a.ask("EXEC"), format!("*2\r\n{replies}\r\n"), "{empties}");
        a.commit();
        assert_eq!(b.ask("SCARD s"), ":5000\r\n");
        b.commit();
    }
}

#[test]
fn keys_that_are_only_read_are_latched_too() {
    let (_dir, mut a, mut b) = two_workers();
    a.say(&["MULTI", "GET x", "SET y 1"]);
    a.ask("EXEC");
    assert!(matches!(b.try_ask("SET x 2"), Err(Park::Latch)));
    b.commit();
    a.commit();
    assert_eq!(b.ask("SET x 2"), "+OK\r\n");
}

#[test]
fn a_transaction_that_meets_a_latch_leaves_nothing_behind() {
    let (_dir, mut a, mut b) = two_workers();
    b.ask("SET z 1");
    a.say(&["SET w 0", "MULTI", "INCR x", "INCR z"]);
    assert!(matches!(a.try_ask("EXEC"), Err(Park::Latch)));
    a.commit();
    assert_eq!(b.ask("EXISTS x"), ":0\r\n");
    b.commit();
    assert_eq!(a.ask("EXEC"), "*2\r\n:1\r\n:2\r\n");
    a.commit();
    assert_eq!(b.ask("MGET w x z"), "*3\r\n$1\r\n0\r\n$1\r\n1\r\n$1\r\n2\r\n");
    assert_eq!(a.engine.count(0).keys, 3);
}

#[test]
fn a_write_of_another_worker_touches_watched_keys() {
    let (_dir, mut a, mut b) = two_workers();
    a.ask("WATCH k");
    a.commit();
    b.ask("SET k 1");
    a.say(&["MULTI", "SET r 1"]);
    assert!(matches!(a.try_ask("EXEC"), Err(Park::Latch)), "the writer has not committed");
    a.commit();
    b.commit();
    assert_eq!(a.ask("EXEC"), "*-1\r\n");
    a.commit();
    assert_eq!(a.ask("EXISTS r"), ":0\r\n");
}

#[test]
fn watch_waits_for_a_write_that_is_not_committed() {
    let (_dir, mut a, mut b) = two_workers();
    b.ask("SET k 1");
    assert!(matches!(a.try_ask("WATCH k"), Err(Park::Latch)));
    b.commit();
    a.say(&["WATCH k", "MULTI", "GET k"]);
    assert_eq!(a.ask("EXEC"), "*1\r\n$1\r\n1\r\n");
}

#[test]
fn neighbours_in_a_stripe_do_not_abort() {
    let (_dir, mut a, mut b) = two_workers();
    a.ask("WATCH k");
    a.commit();
    // Far more keys than stripes are needed to share one; the table is exact in any case.
    for number in 0..2000 {
        b.ask(&format!("SET other:{number} v"));
    }
    b.commit();
    a.say(&["MULTI", "PING"]);
    assert_eq!(a.ask("EXEC"), "*1\r\n+PONG\r\n");
}

#[test]
fn expiry_is_a_change_unless_the_key_had_expired_before() {
    let (_dir, mut a, _b) = two_workers();
    a.say(&["SET k v PX 100", "WATCH k", "MULTI", "PING"]);
    let later = UnixMillis(START.0 + 1000);
    assert_eq!(a.ask_at(later, "EXEC"), "*-1\r\n");
    a.ask_at(later, "WATCH k");
    a.commit();
    let due = a.engine.due(later, 16).unwrap();
    a.executor.expire(later, &due);
    a.commit();
    a.ask_at(later, "MULTI");
    a.ask_at(later, "PING");
    assert_eq!(a.ask_at(later, "EXEC"), "*1\r\n+PONG\r\n");
}

#[test]
fn what_is_too_long_for_a_worker_is_built_on_the_pool_as_a_whole() {
    let mut peer = EnginePeer::new();
    for chunk in (0..3000).collect::<Vec<_>>().chunks(500) {
        let names: Vec<String> = chunk.iter().map(|number| format!("m{number}")).collect();
        peer.ask(&format!("SADD s {}", names.join(" ")));
    }
    for line in
        ["MULTI", "SELECT 1", "SET x 1", "SELECT 0", "SUNIONSTORE t s", "INCR x", "SELECT 2"]
    {
        peer.ask(line);
    }
    assert_eq!(peer.ask("EXEC"), "*6\r\n+OK\r\n+OK\r\n+OK\r\n:3000\r\n:1\r\n+OK\r\n");
    assert_eq!(peer.ask("EXEC"), "-ERR EXEC without MULTI\r\n");
    assert_eq!(peer.ask("DBSIZE"), ":0\r\n", "it left SELECT 2 behind");
    peer.ask("SELECT 0");
    assert_eq!(peer.ask("SCARD t"), ":3000\r\n");
    assert_eq!(peer.ask("DBSIZE"), ":3\r\n");
    commit(&mut peer.executor);
    assert_eq!(peer.ask("SCARD t"), ":3000\r\n");
    assert_eq!(peer.ask("DBSIZE"), ":3\r\n");
    // Emptying needs the worker, and this much reading the pool.
    for line in ["MULTI", "SET lost 1", "FLUSHDB", "SELECT 3", "SELECT 0"] {
        peer.ask(line);
    }
    assert!(peer.ask("EXEC").starts_with("*4\r\n"), "alone it works");
    assert_eq!(peer.ask("DBSIZE"), ":0\r\n");
}

#[test]
fn emptying_and_reading_too_much_is_refused_as_a_whole() {
    let mut peer = EnginePeer::new();
    for chunk in (0..3000).collect::<Vec<_>>().chunks(500) {
        let names: Vec<String> = chunk.iter().map(|number| format!("m{number}")).collect();
        peer.ask(&format!("SADD s {}", names.join(" ")));
    }
    for line in ["MULTI", "SET x 1", "SUNIONSTORE t s", "FLUSHDB"] {
        peer.ask(line);
    }
    assert!(peer.ask("EXEC").starts_with("-EXECABORT"));
    assert_eq!(peer.ask("EXISTS x t s"), ":1\r\n");
}

#[test]
fn a_walk_over_all_keys_cannot_follow_a_write() {
    let mut peer = EnginePeer::new();
    for line in ["SET a 1", "MULTI", "KEYS *", "SET b 1", "KEYS *"] {
        peer.ask(line);
    }
    assert_eq!(
        peer.ask("EXEC"),
        "*3\r\n*1\r\n$1\r\na\r\n+OK\r\n-ERR the command reads committed data only, and cannot \
         follow a write in its transaction\r\n"
    );
    assert_eq!(peer.ask("KEYS b"), "*1\r\n$1\r\nb\r\n");
}

#[test]
fn cold_keys_are_fetched_before_anything_is_written() {
    let dir = TempDir::new().unwrap();
    {
        let engine = open(&dir, 1);
        let mut executor = Executor::new(Arc::clone(&engine), 0);
        let mut client = Client::new(1);
        for number in 0..20 {
            let args = OwnedArgs::from_parts(&["SET".to_owned(), format!("k{number}"), "1".into()]);
            execute(&engine, &mut executor, START, &mut client, args.as_args());
        }
        commit(&mut executor);
        engine.flush().unwrap();
    }
    let config = EngineConfig { block_cache_bytes: 8 << 20, ..EngineConfig::new(dir.path()) };
    let engine = Arc::new(Engine::open(config).unwrap());
    let executor = Executor::new(Arc::clone(&engine), 0);
    let mut worker = Worker { engine, executor, client: Client::new(1) };
    worker.ask("MULTI");
    for number in 0..20 {
        worker.ask(&format!("INCR k{number}"));
    }
    assert_eq!(worker.ask("EXEC"), format!("*20\r\n{}", ":2\r\n".repeat(20)));
    assert_eq!(worker.executor.stats.blocking_reads, 0, "it never waited on the worker");
    assert_eq!(worker.executor.stats.fetches, 1, "all keys at once");
}

#[test]
fn a_transaction_has_a_limit() {
    let mut peer = EnginePeer::new();
    peer.ask("MULTI");
    for _ in 0..QUEUE_COMMANDS_MAX {
        assert_eq!(peer.ask("PING"), "+QUEUED\r\n");
    }
    assert_eq!(
        peer.ask("PING"),
        "-ERR the transaction is too large: at most 65536 commands and 256 MiB\r\n"
    );
    assert!(peer.ask("EXEC").starts_with("-EXECABORT"));
}

#[test]
fn a_message_waits_for_the_commit_and_crosses_workers() {
    let (_dir, mut a, mut b) = two_workers();
    b.ask("SUBSCRIBE news");
    b.ask("PSUBSCRIBE n*");
    a.say(&["MULTI", "SET k v", "PUBLISH news m"]);
    assert_eq!(a.ask("EXEC"), "*2\r\n+OK\r\n:2\r\n");
    assert!(!b.executor.has_mail(), "not committed");
    a.commit();
    assert_eq!(a.executor.hand_on_mail(), [1]);
    let mail = b.executor.take_mail();
    let mut receivers = Vec::new();
    for piece in &mail {
        b.executor.each_reader(piece, &mut |client, letter| {
            let Letter::Message(_, pattern) = letter else { panic!("{letter:?}") };
            receivers.push((client, pattern.map(<[u8]>::to_vec)));
        });
    }
    assert_eq!(receivers, [(2, None), (2, Some(b"n*".to_vec()))]);
    b.executor.release(&mut b.client);
    assert_eq!(a.ask("PUBLISH news m"), ":0\r\n");
}

/// Increments by read and conditional write, on two workers in any order: none is lost.
#[derive(Clone, Copy, Debug)]
enum Move {
    Step(bool),
    Commit(bool),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => any::<bool>().prop_map(Move::Step),
        1 => any::<bool>().prop_map(Move::Commit),
    ];
    proptest::collection::vec(one, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn optimistic_increments_are_never_lost(moves in moves()) {
        let (_dir, a, b) = two_workers();
        let mut workers = [a, b];
        // Where each worker is in WATCH, GET, MULTI, SET, EXEC; and what it read.
        let mut at = [0, 0];
        let mut read = [0_u64, 0];
        let mut succeeded = 0;
        for step in moves {
            match step {
                Move::Commit(which) => workers[usize::from(which)].commit(),
                Move::Step(which) => {
                    let which = usize::from(which);
                    let line = match at[which] {
                        0 => "WATCH n".to_owned(),
                        1 => "GET n".to_owned(),
                        2 => "MULTI".to_owned(),
                        3 => format!("SET n {}", read[which] + 1),
                        _ => "EXEC".to_owned(),
                    };
                    let Ok(reply) = workers[which].try_ask(&line) else {
                        workers[which].commit();
                        continue;
                    };
                    if at[which] == 1 {
                        read[which] = reply.split("\r\n").nth(1)
                            .and_then(|number| number.parse().ok()).unwrap_or(0);
                    }
                    if at[which] == 4 && reply.starts_with("*1") {
                        succeeded += 1;
                    }
                    at[which] = (at[which] + 1) % 5;
                }
            }
        }
        for worker in &mut workers {
            worker.commit();
        }
        let [a, _] = &mut workers;
        a.ask("DISCARD");
        let last = a.ask("GET n");
        let last: u64 = last.split("\r\n").nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
        prop_assert_eq!(last, succeeded);
    }
}
