//! Large collections: what becomes of them when they grow, die, are cold, or take too long.

use std::sync::Arc;

use coney_base::UnixMillis;
use coney_conversation::Peer;
use coney_engine::{Client, Engine, EngineConfig, Executor, Job, JobDone, Park};
use coney_resp::OwnedArgs;
use tempfile::TempDir;

use crate::peer::{EnginePeer, START, commit, execute, open, try_once};

/// Replies in RESP with integers and bulk strings only, without lengths.
fn flat(reply: &str) -> Vec<String> {
    let is_header = |line: &&str| !line.is_empty() && !line.starts_with(['*', '$', '%', '~']);
    reply.split("\r\n").filter(is_header).map(str::to_owned).collect()
}

fn sorted(reply: &str) -> Vec<String> {
    let mut lines = flat(reply);
    lines.sort();
    lines
}

fn peer_with_set(members: usize) -> EnginePeer {
    let mut peer = EnginePeer::new();
    for chunk in (0..members).collect::<Vec<_>>().chunks(500) {
        let names: Vec<String> = chunk.iter().map(|number| format!("m{number}")).collect();
        assert_eq!(
            peer.ask(&format!("SADD s {}", names.join(" "))),
            format!(":{}\r\n", chunk.len())
        );
    }
    peer
}

#[test]
fn growth_changes_nothing_but_the_encoding() {
    let mut peer = EnginePeer::new();
    let mut expected = Vec::new();
    for number in 0..600 {
        assert_eq!(peer.ask(&format!("HSET h f{number} v{number}")), ":1\r\n");
        expected.push(format!("f{number}"));
        expected.push(format!("v{number}"));
    }
    expected.sort();
    assert_eq!(sorted(&peer.ask("HGETALL h")), expected);
    assert_eq!(flat(&peer.ask("OBJECT ENCODING h")), ["hashtable"]);
    assert_eq!(peer.ask("HSET h f7 x new y f7 z"), ":1\r\n");
    assert_eq!(peer.ask("HLEN h"), ":601\r\n");
    assert_eq!(flat(&peer.ask("HGET h f7")), ["z"]);
    assert_eq!(peer.ask("HDEL h f7 f7 nope f8"), ":2\r\n");
    assert_eq!(peer.ask("HLEN h"), ":599\r\n");
}

#[test]
fn encodings_follow_the_limits() {
    let mut peer = EnginePeer::new();
    let long = "x".repeat(64);
    peer.ask(&format!("HSET h f {long}"));
    assert_eq!(flat(&peer.ask("OBJECT ENCODING h")), ["listpack"]);
    peer.ask(&format!("HSET h g {long}x"));
    assert_eq!(flat(&peer.ask("OBJECT ENCODING h")), ["hashtable"]);
    peer.ask("HDEL h g");
    assert_eq!(flat(&peer.ask("OBJECT ENCODING h")), ["hashtable"], "one way");
    for number in 0..512 {
        peer.ask(&format!("SADD ints {number}"));
        assert_eq!(flat(&peer.ask("OBJECT ENCODING ints")), ["intset"], "{number}");
    }
    peer.ask("SADD ints 512");
    assert_eq!(flat(&peer.ask("OBJECT ENCODING ints")), ["hashtable"]);
    peer.ask("SADD s 1 2 a");
    assert_eq!(flat(&peer.ask("OBJECT ENCODING s")), ["listpack"]);
    for number in 0..125 {
        peer.ask(&format!("SADD s b{number}"));
    }
    assert_eq!(flat(&peer.ask("OBJECT ENCODING s")), ["listpack"], "128 members");
    peer.ask("SADD s c");
    assert_eq!(flat(&peer.ask("OBJECT ENCODING s")), ["hashtable"]);
    // Redis would still use a listpack: only where it is kept is different.
    let wide: Vec<String> = (0..100).map(|number| format!("f{number} {long}")).collect();
    peer.ask(&format!("HSET wide {}", wide.join(" ")));
    assert_eq!(flat(&peer.ask("OBJECT ENCODING wide")), ["listpack"]);
    assert_eq!(peer.ask("HLEN wide"), ":100\r\n");
    peer.engine.encoding_limits().set("hash-max-ziplist-entries", 2).unwrap();
    peer.ask("HSET few a 1 b 2");
    assert_eq!(flat(&peer.ask("OBJECT ENCODING few")), ["listpack"]);
    peer.ask("HSET few c 3");
    assert_eq!(flat(&peer.ask("OBJECT ENCODING few")), ["hashtable"]);
}

/// Calls the background task until nothing is left, and returns how many versions it removed.
fn reclaim(engine: &Engine) -> usize {
    let mut total = 0;
    for _ in 0..10 {
        total += engine.reclaim(100).unwrap();
    }
    total
}

// What could break: elements that stay for good, or that are removed although they live.
#[test]
fn what_dies_is_removed_later_and_what_lives_stays() {
    let mut peer = peer_with_set(2000);
    commit(&mut peer.executor);
    assert_eq!(reclaim(&peer.engine), 0);
    assert_eq!(peer.ask("DEL s"), ":1\r\n");
    assert!(peer.executor.write_count() <= 3, "O(1): {}", peer.executor.write_count());
    assert_eq!(peer.ask("SCARD s"), ":0\r\n");
    // A new life in the same batch.
    for number in 0..200 {
        peer.ask(&format!("SADD s n{number}"));
    }
    commit(&mut peer.executor);
    assert_eq!(reclaim(&peer.engine), 1);
    assert_eq!(peer.ask("SCARD s"), ":200\r\n");
    assert_eq!(flat(&peer.ask("SMEMBERS s")).len(), 200);
    assert_eq!(peer.ask("SET s string"), "+OK\r\n");
    commit(&mut peer.executor);
    assert_eq!(reclaim(&peer.engine), 1, "overwritten");
    peer.ask("DEL s");
    for number in 0..200 {
        peer.ask(&format!("SADD s n{number}"));
    }
    peer.ask("PEXPIRE s 100");
    commit(&mut peer.executor);
    peer.advance(100);
    assert_eq!(peer.ask("DBSIZE"), ":0\r\n");
    assert_eq!(reclaim(&peer.engine), 1, "expired");
    assert_eq!(reclaim(&peer.engine), 0);
}

#[test]
fn the_queue_of_dead_versions_survives_a_restart() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir, 1);
    let mut executor = Executor::new(Arc::clone(&engine), 0);
    let mut client = Client::new(1);
    let mut ask = |executor: &mut Executor, line: &str, engine: &Arc<Engine>| {
        let words: Vec<&str> = line.split(' ').collect();
        let args = OwnedArgs::from_parts(&words);
        String::from_utf8(execute(engine, executor, START, &mut client, args.as_args()).reply)
            .unwrap()
    };
    for number in 0..300 {
        ask(&mut executor, &format!("SADD s m{number}"), &engine);
    }
    ask(&mut executor, "DEL s", &engine);
    commit(&mut executor);
    drop(executor);
    drop(engine);
    let engine = open(&dir, 1);
    let mut executor = Executor::new(Arc::clone(&engine), 0);
    for number in 0..300 {
        ask(&mut executor, &format!("SADD s n{number}"), &engine);
    }
    commit(&mut executor);
    assert_eq!(reclaim(&engine), 1);
    assert_eq!(ask(&mut executor, "SCARD s", &engine), ":300\r\n");
    assert_eq!(flat(&ask(&mut executor, "SMEMBERS s", &engine)).len(), 300);
}

#[test]
fn a_range_beyond_the_budget_is_read_on_the_pool_after_the_clients_own_writes() {
    let mut peer = peer_with_set(3000);
    assert_eq!(flat(&peer.ask("SMEMBERS s")).len(), 3000);
    assert_eq!(peer.executor.stats.pool_reads, 1);
    peer.ask("SADD s last");
    assert!(flat(&peer.ask("SMEMBERS s")).contains(&"last".to_owned()));
    peer.ask("SREM s last m0");
    assert_eq!(flat(&peer.ask("SMEMBERS s")).len(), 2999);
    assert_eq!(flat(&peer.ask("SSCAN s 0 COUNT 10")).len(), 11, "a part is read on the worker");
    assert_eq!(peer.executor.stats.pool_reads, 3);
    assert_eq!(flat(&peer.ask("SRANDMEMBER s -2000")).len(), 2000);
}

// What could break: a cursor that depends on members which others remove or add.
#[test]
fn sscan_returns_what_stays_exactly_once() {
    let mut peer = peer_with_set(1000);
    let mut cursor = "0".to_owned();
    let mut found = Vec::new();
    for round in 0.. {
        let mut reply = flat(&peer.ask(&format!("SSCAN s {cursor} COUNT 7"))).into_iter();
        cursor = reply.next().unwrap();
        found.extend(reply);
        peer.ask(&format!("SADD s new{round}"));
        peer.ask(&format!("SREM s new{}", round / 2));
        if cursor == "0" {
            break;
        }
    }
    found.retain(|member| member.starts_with('m'));
    found.sort();
    let mut expected: Vec<String> = (0..1000).map(|number| format!("m{number}")).collect();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn every_member_of_a_large_set_is_chosen_now_and_then() {
    let mut peer = peer_with_set(200);
    let mut chosen: Vec<String> = (0..4000).map(|_| peer.ask("SRANDMEMBER s")).collect();
    chosen.sort();
    chosen.dedup();
    assert!(chosen.len() >= 195, "{}", chosen.len());
    let sample = sorted(&peer.ask("SRANDMEMBER s 20"));
    assert_eq!(sample.len(), 20);
    let mut left: std::collections::BTreeSet<String> =
        (0..200).map(|number| format!("m{number}")).collect();
    for count in [1, 5, 60, 100, 50] {
        for member in flat(&peer.ask(&format!("SPOP s {count}"))) {
            assert!(left.remove(&member), "{member}");
        }
        assert_eq!(peer.ask("SCARD s"), format!(":{}\r\n", left.len()));
    }
    assert_eq!(peer.ask("EXISTS s"), ":0\r\n");
}

#[test]
fn large_collections_move_and_are_copied_with_their_elements() {
    let mut peer = peer_with_set(3000);
    let members = sorted(&peer.ask("SMEMBERS s"));
    assert_eq!(peer.ask("RENAME s t"), "+OK\r\n");
    assert_eq!(peer.executor.stats.holds, 1, "too many for a worker");
    assert_eq!(peer.ask("EXISTS s"), ":0\r\n");
    assert_eq!(sorted(&peer.ask("SMEMBERS t")), members);
    assert_eq!(peer.ask("COPY t u"), ":1\r\n");
    assert_eq!(peer.ask("COPY t u"), ":0\r\n");
    assert_eq!(peer.ask("SREM u m5"), ":1\r\n");
    assert_eq!(peer.ask("SCARD t"), ":3000\r\n");
    assert_eq!(peer.ask("MOVE t 1"), ":1\r\n");
    assert_eq!(peer.ask("DBSIZE"), ":1\r\n");
    peer.ask("SELECT 1");
    assert_eq!(sorted(&peer.ask("SMEMBERS t")), members);
    commit(&mut peer.executor);
    assert_eq!(reclaim(&peer.engine), 2, "what RENAME and MOVE left behind");
    assert_eq!(sorted(&peer.ask("SMEMBERS t")), members);
    peer.ask("FLUSHDB");
    peer.ask("SELECT 0");
    assert_eq!(peer.ask("SCARD u"), ":2999\r\n");
}

#[test]
fn results_of_large_sets_are_stored() {
    let mut peer = peer_with_set(3000);
    let some: Vec<String> = (2000..4000).map(|number| format!("m{number}")).collect();
    peer.ask(&format!("SADD t {}", some.join(" ")));
    assert_eq!(peer.ask("SINTERSTORE d s t"), ":1000\r\n");
    assert_eq!(peer.ask("SCARD d"), ":1000\r\n");
    assert_eq!(peer.ask("SUNIONSTORE d s t"), ":4000\r\n");
    assert_eq!(peer.ask("SDIFFSTORE s s t"), ":2000\r\n");
    assert_eq!(peer.ask("SINTERCARD 2 s t"), ":0\r\n");
    assert_eq!(peer.ask("SINTERCARD 2 d t LIMIT 10"), ":10\r\n");
    assert_eq!(flat(&peer.ask("SPOP d 3500")).len(), 3500);
    assert_eq!(peer.ask("SCARD d"), ":500\r\n");
    assert!(peer.executor.stats.holds >= 3);
    assert_eq!(peer.ask("DBSIZE"), ":3\r\n");
}

fn words(line: &str) -> OwnedArgs {
    OwnedArgs::from_parts(&line.split(' ').collect::<Vec<_>>())
}

/// Tries a command; the reply, or what it waits for.
fn attempt(executor: &mut Executor, client: &mut Client, line: &str) -> Result<String, Park> {
    let done = try_once(executor, START, client, words(line).as_args(), 0)?;
    Ok(String::from_utf8(done.reply).unwrap())
}

fn job(parked: Result<String, Park>) -> Job {
    match parked {
        Err(Park::Job(job)) => *job,
        other => panic!("no job: {other:?}"),
    }
}

fn built(engine: &Arc<Engine>, job: Job) -> coney_engine::hold::Built {
    match engine.run(job) {
        JobDone::Built(built) => *built,
        other => panic!("{other:?}"),
    }
}

// What could break: a write that gets in between what the pool read and what it made of it.
#[test]
fn keys_of_a_command_on_the_pool_cannot_be_written_by_anybody_else() {
    for workers in [1, 2] {
        let dir = TempDir::new().unwrap();
        let engine = open(&dir, workers);
        let mut executors: Vec<Executor> =
            (0..workers).map(|id| Executor::new(Arc::clone(&engine), id)).collect();
        let mut clients: Vec<Client> = (1..=4).map(Client::new).collect();
        let all: Vec<String> = (0..3000).map(|number| format!("m{number}")).collect();
        let add = words(&format!("SADD s {}", all.join(" ")));
        execute(&engine, &mut executors[0], START, &mut clients[0], add.as_args());
        commit(&mut executors[0]);
        let rename = job(attempt(&mut executors[0], &mut clients[0], "RENAME s t"));
        for (at, executor) in executors.iter_mut().enumerate() {
            commit(executor);
            let client = &mut clients[2 + at];
            for line in ["SADD s more", "SET t x", "DEL s", "PEXPIRE s 1"] {
                assert!(matches!(attempt(executor, client, line), Err(Park::Latch)), "{line}");
            }
            assert!(matches!(attempt(executor, client, "FLUSHALL"), Err(Park::Latch)));
            commit(executor);
            commit(executor);
            assert_eq!(attempt(executor, client, "SCARD s").unwrap(), ":3000\r\n", "reads go on");
            assert_eq!(attempt(executor, client, "SET other x").unwrap(), "+OK\r\n");
            commit(executor);
        }
        let built = built(&engine, rename);
        executors[0].deliver(built);
        assert_eq!(attempt(&mut executors[0], &mut clients[0], "RENAME s t").unwrap(), "+OK\r\n");
        commit(&mut executors[0]);
        for executor in &mut executors {
            let client = &mut clients[3];
            assert_eq!(attempt(executor, client, "SADD t more").unwrap(), ":1\r\n");
            commit(executor);
            assert_eq!(attempt(executor, client, "SREM t more").unwrap(), ":1\r\n");
            assert_eq!(attempt(executor, client, "EXISTS s").unwrap(), ":0\r\n");
            commit(executor);
            assert!(!executor.has_writes());
        }
    }
}

#[test]
fn several_elements_are_read_as_of_one_moment() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir, 2);
    let mut executors = [0, 1].map(|id| Executor::new(Arc::clone(&engine), id));
    let mut clients = [Client::new(1), Client::new(2)];
    let fields: Vec<String> = (0..600).map(|number| format!("f{number} v")).collect();
    let set = words(&format!("HSET h {}", fields.join(" ")));
    execute(&engine, &mut executors[0], START, &mut clients[0], set.as_args());
    commit(&mut executors[0]);
    let [a, b] = &mut executors;
    assert!(attempt(b, &mut clients[1], "HMGET h f1 f2").is_ok(), "nobody writes");
    assert_eq!(attempt(a, &mut clients[0], "HSET h f1 x f2 x").unwrap(), ":0\r\n");
    assert!(attempt(b, &mut clients[1], "HGET h f1").is_ok(), "one element is one moment");
    let read = job(attempt(b, &mut clients[1], "HMGET h f1 f2"));
    let JobDone::Replied(reply) = engine.run(read) else { panic!("a reply") };
    assert_eq!(reply, b"*2\r\n$1\r\nv\r\n$1\r\nv\r\n");
    commit(a);
    let reply = attempt(b, &mut clients[1], "HMGET h f1 f2").unwrap();
    assert_eq!(reply, "*2\r\n$1\r\nx\r\n$1\r\nx\r\n");
}

#[test]
fn a_client_that_goes_takes_its_command_on_the_pool_along() {
    let mut peer = peer_with_set(3000);
    commit(&mut peer.executor);
    let mut gone = Client::new(77);
    let rename = job(attempt(&mut peer.executor, &mut gone, "RENAME s t"));
    peer.executor.release(&mut gone);
    assert_eq!(peer.ask("SADD s more"), ":1\r\n");
    let built = built(&peer.engine, rename);
    peer.executor.deliver(built);
    assert_eq!(peer.ask("SCARD s"), ":3001\r\n");
    assert_eq!(peer.ask("EXISTS t"), ":0\r\n");
}

#[test]
fn what_is_uncommitted_goes_into_the_log_before_the_pool_reads_it() {
    let mut peer = peer_with_set(3000);
    assert_eq!(peer.ask("SADD s x"), ":1\r\n");
    assert!(peer.executor.write_count() > 0);
    assert_eq!(peer.ask("RENAME s t"), "+OK\r\n");
    assert_eq!(peer.ask("SISMEMBER t x"), ":1\r\n");
    assert_eq!(peer.ask("SCARD t"), ":3001\r\n");
}

/// A large hash of which nothing is in memory.
fn cold() -> (TempDir, Arc<Engine>, Executor, Client) {
    let dir = TempDir::new().unwrap();
    let config = || EngineConfig {
        block_cache_bytes: 4 << 20,
        write_buffer_bytes: 1 << 20,
        hot_cache_bytes: 1 << 20,
        ..EngineConfig::new(dir.path())
    };
    let engine = Arc::new(Engine::open(config()).unwrap());
    let mut executor = Executor::new(Arc::clone(&engine), 0);
    let mut client = Client::new(1);
    let value = "v".repeat(300);
    for number in 0..2000 {
        let args = OwnedArgs::from_parts(&["HSET", "h", &format!("f{number}"), &value]);
        execute(&engine, &mut executor, START, &mut client, args.as_args());
    }
    commit(&mut executor);
    engine.flush().unwrap();
    drop(executor);
    drop(engine);
    let engine = Arc::new(Engine::open(config()).unwrap());
    let executor = Executor::new(Arc::clone(&engine), 0);
    (dir, engine, executor, client)
}

#[test]
fn cold_elements_are_fetched_and_the_worker_never_reads_the_device() {
    let (_dir, engine, mut executor, mut client) = cold();
    let mut ask = |executor: &mut Executor, line: &str| {
        let done = execute(&engine, executor, START, &mut client, words(line).as_args());
        String::from_utf8(done.reply).unwrap()
    };
    assert_eq!(ask(&mut executor, "HSTRLEN h f7"), ":300\r\n");
    let fetches = executor.stats.fetches;
    assert!((1..=2).contains(&fetches), "{fetches}");
    assert_eq!(ask(&mut executor, "HSTRLEN h f7"), ":300\r\n");
    assert_eq!(executor.stats.fetches, fetches, "it is in memory now");
    assert_eq!(ask(&mut executor, "HSET h f8 x f900 y f1500 z new w"), ":1\r\n");
    assert!(executor.stats.fetches <= fetches + 1, "all fields at once");
    assert_eq!(ask(&mut executor, "HDEL h f3 f1000 f1999 nope"), ":3\r\n");
    assert_eq!(ask(&mut executor, "HLEN h"), ":1998\r\n");
    assert_eq!(flat(&ask(&mut executor, "HKEYS h")).len(), 1998);
    assert_eq!(flat(&ask(&mut executor, "HRANDFIELD h 3")).len(), 3);
    assert_eq!(executor.stats.blocking_reads, 0);
    let moment = UnixMillis(START.0);
    let done = try_once(&mut executor, moment, &mut client, words("HSTRLEN h f1234").as_args(), 3);
    assert_eq!(done.unwrap().reply, b":300\r\n", "after three fetches it reads the device");
}
