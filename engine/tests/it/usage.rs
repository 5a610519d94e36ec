//! Limits of bytes. What could break: a table that takes more than it may, or one that stays full
//! although little is in it.

use std::sync::Arc;

use coney_engine::{Due, Engine};
use tempfile::TempDir;

use crate::peer::{Worker, open, two_workers};

const LIMIT: usize = 1 << 20;
const FULL: &str = "-QUOTA the table takes as many bytes as it may";

/// Text of so many bytes that does not become shorter when it is compressed, but by its alphabet.
fn noise(seed: &mut u64, len: usize) -> String {
    const LETTERS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    let mut next = || {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(LETTERS[usize::from(seed.to_be_bytes()[0] >> 2)])
    };
    (0..len).map(|_| next()).collect()
}

/// As the server's thread does.
fn settle(engine: &Arc<Engine>) {
    for _ in 0..3 {
        engine.reclaim(1000).unwrap();
        if engine.measure_tables().unwrap() != Due::Never {
            engine.settle_tables().unwrap();
        }
    }
}

fn shop(worker: &mut Worker) {
    worker.ask(&format!("TABLE CREATE shop DB 3 MAXBYTES {LIMIT}"));
    worker.ask("SELECT shop");
}

/// What TABLE LIST says of the only table.
fn field(worker: &mut Worker, name: &str) -> usize {
    let list = worker.ask("TABLE LIST");
    let mut lines = list.lines().skip_while(|line| *line != name);
    lines.nth(1).unwrap().trim_start_matches(':').parse().unwrap()
}

/// Executes `line(at, noise)` until it is refused; the bytes of all lines that were executed.
fn fill(worker: &mut Worker, seed: &mut u64, line: &dyn Fn(usize, &mut u64) -> String) -> usize {
    fill_from(0, worker, seed, line)
}

/// The same with other keys and elements.
fn fill_from(
    first: usize,
    worker: &mut Worker,
    seed: &mut u64,
    line: &dyn Fn(usize, &mut u64) -> String,
) -> usize {
    let mut sum = 0;
    for at in first.. {
        let line = line(at, seed);
        let reply = worker.ask(&line);
        worker.commit();
        if reply.starts_with(FULL) {
            break;
        }
        assert!(!reply.starts_with('-'), "{line}: {reply}");
        sum += line.len();
        assert!(sum < 4 * LIMIT, "it is never refused: {}", &line[..20]);
    }
    sum
}

/// Fills a table until what is on disk is as much as it may have.
fn fill_disk(engine: &Arc<Engine>, worker: &mut Worker, seed: &mut u64) {
    for round in 1..30 {
        let line = |at, seed: &mut u64| format!("SET key{at} {}", noise(seed, 20_000));
        fill_from(round * 1_000_000, worker, seed, &line);
        settle(engine);
        if worker.ask("SET k v").starts_with(FULL) {
            return;
        }
        worker.commit();
    }
    panic!("it does not become full");
}

type Load = (&'static str, &'static dyn Fn(usize, &mut u64) -> String);

const LOADS: [Load; 6] = [
    ("strings", &|at, seed| format!("SET key{at} {}", noise(seed, 500))),
    ("long strings", &|at, seed| format!("SET key{at} {}", noise(seed, 100_000))),
    ("compact hashes", &|at, seed| format!("HSET hash{} f{at} {}", at / 10, noise(seed, 60))),
    ("a large hash", &|at, seed| format!("HSET hash f{at} {}", noise(seed, 500))),
    ("a list", &|at, seed| format!("RPUSH list{} {}", at / 1000, noise(seed, 400))),
    ("a sorted set", &|at, seed| format!("ZADD zset {at} {}", noise(seed, 200))),
];

#[test]
fn a_table_is_filled_emptied_and_filled_again() {
    for (name, line) in LOADS {
        for remove in ["DEL", "FLUSHDB"] {
            let dir = TempDir::new().unwrap();
            let engine = open(&dir, 1);
            let mut worker = Worker::new(&engine, 0);
            worker.ask(&format!("SET others {}", "v".repeat(3 * LIMIT)));
            shop(&mut worker);
            let mut seed = 1;
            let first = fill(&mut worker, &mut seed, line);
            // Also when it is measured, not counted.
            settle(&engine);
            let second = fill_from(1_000_000, &mut worker, &mut seed, line);
            let (all, told) = (first + second, field(&mut worker, "bytes"));
            assert!((LIMIT / 3..2 * LIMIT).contains(&all), "{name}: {all} bytes went in");
            assert!((LIMIT..LIMIT + LIMIT / 4).contains(&told), "{name}: {told} bytes");
            assert!(worker.ask("DBSIZE").starts_with(':'));
            match remove {
                "DEL" => {
                    for key in
                        worker.ask("KEYS *").lines().filter(|line| !line.starts_with(['*', '$']))
                    {
                        assert_eq!(worker.ask(&format!("DEL {key}")), ":1\r\n");
                    }
                }
                _ => assert_eq!(worker.ask("FLUSHDB"), "+OK\r\n"),
            }
            worker.commit();
            settle(&engine);
            let told = field(&mut worker, "bytes");
            assert!(told < LIMIT, "{name}: {told} bytes after {remove}");
            let mut again = 0;
            for round in 0..4 {
                again += fill_from(round * 1_000_000, &mut worker, &mut seed, line);
                // What was removed while it was not full is compacted when it is.
                settle(&engine);
            }
            assert!(again > LIMIT / 3, "{name}: {again} bytes went in again");
            engine.check().unwrap();
        }
    }
}

#[test]
fn an_emptied_table_takes_writes_at_once() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir, 1);
    let mut worker = Worker::new(&engine, 0);
    shop(&mut worker);
    let mut seed = 1;
    fill_disk(&engine, &mut worker, &mut seed);
    assert_eq!(worker.ask("FLUSHDB"), "+OK\r\n");
    worker.commit();
    assert_eq!(worker.ask("SET k v"), "+OK\r\n");
    worker.commit();
    // Measured before anything is compacted.
    assert_eq!(engine.measure_tables().unwrap(), Due::Now);
    assert_eq!(worker.ask("SET k w"), "+OK\r\n");
    worker.commit();
    settle(&engine);
    assert_eq!(engine.measure_tables().unwrap(), Due::Never);
    assert!(field(&mut worker, "bytes") < LIMIT / 8);
}

#[test]
fn a_table_near_its_limit_is_settled_only_for_what_may_change_something() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir, 1);
    let mut worker = Worker::new(&engine, 0);
    shop(&mut worker);
    let mut seed = 1;
    let mut at = 0;
    while field(&mut worker, "bytes") < LIMIT - LIMIT / 8 {
        at += 1;
        let line = format!("SET key{at} {}", noise(&mut seed, 50_000));
        assert_eq!(worker.ask(&line), "+OK\r\n");
        worker.commit();
        if engine.measure_tables().unwrap() != Due::Never {
            engine.settle_tables().unwrap();
        }
    }
    assert!(field(&mut worker, "bytes") < LIMIT);
    assert_eq!(worker.ask("SET k v"), "+OK\r\n");
    worker.commit();
    assert_eq!(engine.measure_tables().unwrap(), Due::Never);
    fill_disk(&engine, &mut worker, &mut seed);
    assert_eq!(engine.measure_tables().unwrap(), Due::Never);
    // What others remove frees nothing here.
    worker.ask("SELECT 0");
    let members: Vec<String> = (0..1000).map(|at| format!("m{at}")).collect();
    assert_eq!(worker.ask(&format!("SADD s {}", members.join(" "))), ":1000\r\n");
    worker.commit();
    assert_eq!(worker.ask("DEL s"), ":1\r\n");
    worker.commit();
    for _ in 0..3 {
        engine.reclaim(1000).unwrap();
    }
    assert_eq!(engine.measure_tables().unwrap(), Due::Never);
}

#[test]
fn overwriting_does_not_fill_a_table() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir, 1);
    let mut worker = Worker::new(&engine, 0);
    shop(&mut worker);
    let mut seed = 1;
    for round in 0..400 {
        for at in 0..10 {
            let line = format!("SET key{at} {}", noise(&mut seed, 4000));
            assert_eq!(worker.ask(&line), "+OK\r\n", "round {round}");
        }
        worker.commit();
        if round % 40 == 0 {
            settle(&engine);
        }
    }
}

#[test]
fn a_limit_counts_what_was_there_before() {
    let (_dir, mut a, mut b) = two_workers();
    let mut seed = 1;
    a.ask("SELECT 3");
    b.ask("SELECT 3");
    for at in 0..100 {
        a.ask(&format!("SET key{at} {}", noise(&mut seed, 20_000)));
    }
    a.commit();
    a.ask("TABLE CREATE shop DB 3");
    let told = field(&mut a, "bytes");
    assert!(told < 3 << 20, "{told}");
    a.ask(&format!("TABLE SET shop MAXBYTES {LIMIT}"));
    assert!(field(&mut a, "bytes") > LIMIT);
    for worker in [&mut a, &mut b] {
        assert!(worker.ask("SET k v").starts_with(FULL));
        assert_eq!(worker.ask("EXISTS k"), ":0\r\n");
        assert_eq!(worker.ask("MULTI"), "+OK\r\n");
        assert!(worker.ask("SET k v").starts_with(FULL));
        assert!(worker.ask("EXEC").starts_with("-EXECABORT"));
    }
    a.ask("TABLE SET shop MAXBYTES 0");
    assert_eq!(b.ask("SET k v"), "+OK\r\n");
    b.commit();
    a.ask(&format!("TABLE SET shop MAXBYTES {LIMIT}"));
    assert!(b.ask("SET k v").starts_with(FULL));
    a.ask("TABLE DROP shop");
    assert_eq!(b.ask("SET k v"), "+OK\r\n");
}

#[test]
fn a_limit_outlasts_a_restart_and_goes_with_the_database() {
    let dir = TempDir::new().unwrap();
    let mut seed = 1;
    {
        let engine = open(&dir, 1);
        let mut worker = Worker::new(&engine, 0);
        shop(&mut worker);
        fill(&mut worker, &mut seed, LOADS[0].1);
    }
    let engine = open(&dir, 1);
    let mut worker = Worker::new(&engine, 0);
    worker.ask("SELECT shop");
    // On disk it is a little less than what was counted.
    fill(&mut worker, &mut seed, LOADS[0].1);
    let told = field(&mut worker, "bytes");
    assert!((LIMIT..LIMIT + LIMIT / 4).contains(&told), "{told} bytes");
    assert_eq!(worker.ask("SWAPDB 3 4"), "+OK\r\n");
    worker.commit();
    settle(&engine);
    assert_eq!(worker.ask("SET k v"), "+OK\r\n", "it is another table now");
    worker.ask("SELECT 4");
    assert_eq!(worker.ask("SET k v"), "+OK\r\n", "it has no limit any more");
    worker.ask("SWAPDB 3 4");
    worker.commit();
    settle(&engine);
    assert_eq!(worker.ask("SET k v"), "+OK\r\n");
    for line in ["COPY k j DB 3", "MOVE k 3"] {
        assert!(worker.ask(line).starts_with(FULL), "{line}");
    }
    worker.ask("SELECT 3");
    assert!(worker.ask("SET k v").starts_with(FULL));
    assert_eq!(worker.ask("MOVE k 4"), ":0\r\n", "the key is there");
    assert_eq!(worker.ask("MOVE key1 4"), ":1\r\n", "moving away is possible");
}

#[test]
fn expired_keys_make_room() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir, 1);
    let mut worker = Worker::new(&engine, 0);
    shop(&mut worker);
    let mut seed = 1;
    let line = |at, seed: &mut u64| format!("SET key{at} {} PX 1000", noise(seed, 500));
    fill(&mut worker, &mut seed, &line);
    let later = coney_base::UnixMillis(crate::peer::START.0 + 2000);
    while let due = engine.due(later, 256).unwrap()
        && !due.is_empty()
    {
        worker.executor.expire(later, &due);
        worker.commit();
    }
    settle(&engine);
    assert!(field(&mut worker, "bytes") < LIMIT);
    assert_eq!(worker.ask("SET k v"), "+OK\r\n");
}

// INFO and the page of metrics read it on a thread that shall not wait for the device.
#[test]
fn what_a_table_without_a_limit_takes_is_measured_and_kept() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir, 1);
    let mut worker = Worker::new(&engine, 0);
    worker.ask("TABLE CREATE shop DB 3");
    worker.ask("SELECT shop");
    let mut seed = 1;
    worker.ask(&format!("SET key {}", noise(&mut seed, 100_000)));
    worker.commit();
    engine.flush().unwrap();
    let told = || {
        let tables = engine.named_tables();
        let [table] = &tables[..] else { panic!("{tables:?}") };
        table.fields.iter().find(|(name, _)| *name == "bytes").unwrap().1
    };
    assert_eq!(told(), 0, "nobody has looked");
    engine.measure_unlimited_tables();
    assert!((50_000..200_000).contains(&told()), "{}", told());
    // Who asks for it waits, and gets what lies there now.
    worker.ask(&format!("SET other {}", noise(&mut seed, 200_000)));
    worker.commit();
    engine.flush().unwrap();
    assert!(told() < 200_000);
    assert!(field(&mut worker, "bytes") > 200_000);
}
