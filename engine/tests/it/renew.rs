//! Commands that change very much of a collection. What could break: work that is left for the worker,
//! elements that are lost or come back, versions that nobody removes.

use std::collections::BTreeSet;

use crate::ahead::Bench;
use crate::peer::commit;

const COUNT: usize = 8000;

/// A list, a hash with deadlines, a sorted set and a stream; a set is there.
fn load(bench: &mut Bench) {
    let lines = |command: &str, of: &dyn Fn(usize) -> String| -> Vec<String> {
        let line = |first: usize| {
            let elements: Vec<String> = (first..first + 500).map(of).collect();
            format!("{command} {}", elements.join(" "))
        };
        (0..COUNT).step_by(500).map(line).collect()
    };
    let mut all = lines("RPUSH l", &|at| format!("{}:{at}", at % 2));
    all.extend(lines("RPUSH same", &|at| format!("{}", at % 2)));
    all.extend(lines("HSET h", &|at| format!("f{at} v{at}")));
    all.extend(lines("ZADD z", &|at| format!("{at} m{at}")));
    all.extend(lines("SADD t", &|at| format!("m{at}")));
    all.push("HPEXPIRE h 1000000 FIELDS 3 f1 f2 f7999".to_owned());
    all.extend((0..COUNT).map(|at| format!("XADD x 1-{} f {at}", at + 1)));
    for line in all {
        let reply = bench.ask(&line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
        commit(&mut bench.executor);
    }
}

/// The bulk strings of a reply.
fn strings(reply: &str) -> Vec<String> {
    reply
        .split("\r\n")
        .filter(|line| !line.starts_with(['*', '$', ':']))
        .map(str::to_owned)
        .collect()
}

/// Executes a command and says what it replied and how many records the worker has to write.
fn ask_and_count(bench: &mut Bench, line: &str) -> (String, u64) {
    commit(&mut bench.executor);
    let built = bench.build(line);
    bench.executor.deliver(built);
    let reply = bench.ask(line);
    let count = bench.executor.write_count();
    commit(&mut bench.executor);
    (reply, count)
}

fn names(letter: &str, range: std::ops::Range<usize>) -> String {
    range.map(|at| format!("{letter}{at}")).collect::<Vec<_>>().join(" ")
}

/// What a reader sees that cannot be wrong by itself, and what the database says of itself.
fn check(bench: &mut Bench, dead: u64) {
    commit(&mut bench.executor);
    assert_eq!(bench.dead(), dead);
    bench.engine.check().unwrap();
    bench.reclaim();
    assert_eq!(bench.dead(), 0);
    bench.engine.check().unwrap();
}

#[test]
fn the_worker_commits_few_records() {
    let mut bench = Bench::new();
    load(&mut bench);
    let half = COUNT / 2;
    let first_half = names("m", 0..half + 500);
    for (line, reply, read, left) in [
        ("LTRIM l 0 4799".to_owned(), "+OK", "LRANGE l 0 -1", 4800),
        ("LREM same 0 1".to_owned(), ":4000", "LRANGE same 0 -1", half),
        (format!("HDEL h {}", names("f", 0..half + 500)), ":4500", "HKEYS h", half - 500),
        ("ZREMRANGEBYRANK z 0 2999".to_owned(), ":3000", "ZRANGE z 0 -1", 5000),
        ("ZREMRANGEBYSCORE z 6500 (8000".to_owned(), ":1500", "ZRANGE z 0 -1", 3500),
        (format!("SREM t {first_half}"), ":4500", "SMEMBERS t", half - 500),
        ("XTRIM x MAXLEN 4000".to_owned(), ":4000", "XRANGE x - +", 4000),
        (format!("SADD t {first_half}"), ":4500", "SMEMBERS t", COUNT),
    ] {
        let what = &line[..line.len().min(30)];
        let (got, count) = ask_and_count(&mut bench, &line);
        assert_eq!(got, format!("{reply}\r\n"), "{what}");
        assert!(count < 12, "{what}: {count} records");
        check(&mut bench, 1);
        let found = strings(&bench.ask(read));
        let per_element = if line.starts_with('X') { 3 } else { 1 };
        assert_eq!(found.len() - 1, left * per_element, "{what}");
    }
    let found: BTreeSet<String> = strings(&bench.ask("HKEYS h")).into_iter().collect();
    assert!(found.contains("f7999") && found.contains("f4500") && !found.contains("f4499"));
    assert_eq!(bench.ask("HPTTL h FIELDS 2 f7999 f7998"), "*2\r\n:1000000\r\n:-1\r\n");
    assert_eq!(bench.ask("ZRANK z m4000"), ":1000\r\n");
    assert_eq!(bench.ask("LINDEX l -1"), "$6\r\n1:4799\r\n");
    assert_eq!(bench.ask("XLEN x"), ":4000\r\n");
    assert!(bench.ask("XRANGE x - + COUNT 1").contains("1-4001"));
    // They go on as others do.
    for line in ["ZADD z 4000.5 new", "RPUSH l new", "SREM t m7", "XADD x 2-1 f v", "HSET h f1 v"] {
        assert!(!bench.ask(line).starts_with('-'), "{line}");
    }
    assert_eq!(bench.ask("ZRANK z new"), ":1001\r\n");
    check(&mut bench, 0);
}

#[test]
fn all_of_a_collection_goes_without_a_record_for_each() {
    let mut bench = Bench::new();
    load(&mut bench);
    for line in
        [format!("SREM t {}", names("m", 0..COUNT)), format!("ZREM z {}", names("m", 0..COUNT))]
    {
        let (got, count) = ask_and_count(&mut bench, &line);
        assert_eq!(got, format!(":{COUNT}\r\n"));
        assert!(count < 12, "{count} records");
        check(&mut bench, 1);
    }
    assert_eq!(bench.ask("EXISTS t z"), ":0\r\n");
}

#[test]
fn few_changes_of_much_are_written_as_they_are() {
    let mut bench = Bench::new();
    for first in (0..60_000).step_by(3000) {
        let numbers: Vec<String> = (first..first + 3000).map(|at| at.to_string()).collect();
        bench.ask(&format!("RPUSH many {}", numbers.join(" ")));
        commit(&mut bench.executor);
    }
    let (got, count) = ask_and_count(&mut bench, "LTRIM many 2500 -1");
    assert_eq!(got, "+OK\r\n");
    assert!((2500..2600).contains(&count), "{count} records");
    assert_eq!(bench.ask("LINDEX many 0"), "$4\r\n2500\r\n");
    check(&mut bench, 0);
    let (got, count) = ask_and_count(&mut bench, "LTRIM many 10000 -1");
    assert_eq!(got, "+OK\r\n");
    assert!((10_000..10_100).contains(&count), "{count} records");
    check(&mut bench, 0);
}

#[test]
fn a_transaction_that_changes_several_is_light_too() {
    let mut bench = Bench::new();
    load(&mut bench);
    for line in ["MULTI", "LREM same 0 1", "ZREMRANGEBYRANK z 0 2999", "SADD t new", "RPUSH same x"]
    {
        bench.ask(line);
    }
    let (got, count) = ask_and_count(&mut bench, "EXEC");
    assert_eq!(got, "*4\r\n:4000\r\n:3000\r\n:1\r\n:4001\r\n");
    assert!(count < 20, "{count} records");
    check(&mut bench, 2);
    assert_eq!(bench.ask("LINDEX same -1"), "$1\r\nx\r\n");
    assert_eq!(bench.ask("ZCARD z"), ":5000\r\n");
    assert_eq!(bench.ask("SISMEMBER t new"), ":1\r\n");
}

#[test]
fn nothing_changes_when_the_client_goes() {
    let mut bench = Bench::new();
    load(&mut bench);
    let built = bench.build("ZREMRANGEBYRANK z 0 2999");
    assert_eq!(bench.dead(), 1, "nobody has named the new version yet");
    bench.executor.release(&mut bench.client);
    bench.executor.deliver(built);
    check(&mut bench, 1);
    assert_eq!(bench.ask("ZCARD z"), format!(":{COUNT}\r\n"));
    assert_eq!(bench.ask("ZRANK z m10"), ":10\r\n");
}

#[test]
fn the_same_key_gets_one_version_after_another() {
    let mut bench = Bench::new();
    load(&mut bench);
    let members = names("m", 0..5000);
    for round in 0..6 {
        let (got, count) = ask_and_count(&mut bench, &format!("SREM t {members}"));
        assert_eq!(got, ":5000\r\n", "round {round}");
        assert!(count < 12, "{count} records");
        let (got, _) = ask_and_count(&mut bench, &format!("SADD t {members}"));
        assert_eq!(got, ":5000\r\n", "round {round}");
        assert_eq!(bench.ask("SCARD t"), format!(":{COUNT}\r\n"));
        check(&mut bench, 2);
    }
    assert_eq!(strings(&bench.ask("SMEMBERS t")).len() - 1, COUNT);
}
