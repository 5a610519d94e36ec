//! What becomes of a huge collection that is deleted, overwritten or expires.
//!
//! `CONEY_DEAD_ELEMENTS=10000000 cargo test --release --workspace --test server reclaim -- --nocapture`
//! does it at full size and says what it measured.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use coney_base::Clock;
use coney_conversation::script::{encode, words};
use tempfile::TempDir;

use crate::support::{Client, Server, eventually};

/// Elements of each of the three, if nothing else is said: more than what is left to RocksDB (4 MiB on disk).
const ELEMENTS: usize = 300_000;
/// Fields of the hash that is read before and after.
const KEPT: usize = 20_000;
/// The command must not take longer; on a quiet machine it takes some 20 us. What grows with the
/// elements would take far longer.
const COMMAND_USEC_MAX: u64 = 20_000;
/// The best of so many, because the machine may be busy.
const ATTEMPTS: usize = 5;

fn elements() -> usize {
    let text = std::env::var("CONEY_DEAD_ELEMENTS");
    text.ok().and_then(|text| text.parse().ok()).unwrap_or(ELEMENTS)
}

fn load(client: &mut Client, key: &str, count: usize) {
    const BATCH: usize = 500;
    for first in (0..count).step_by(BATCH) {
        let mut line = format!("HSET {key}");
        for at in first..(first + BATCH).min(count) {
            // Not to be compressed away.
            let value = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            line.push_str(&format!(" field{at} {value:x}{:x}", value.rotate_left(17)));
        }
        client.send(&encode(&words(&line).unwrap()));
        client.reply().unwrap();
    }
}

fn disk_bytes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    // One may be removed meanwhile.
    let tables = files.filter(|path| path.extension().is_some_and(|end| end == "sst"));
    tables.filter_map(|path| Some(fs::metadata(path).ok()?.len())).sum()
}

/// How long it takes to read all that is kept, at best.
fn read_all(client: &mut Client) -> Duration {
    let clock = Clock::new();
    let mut best = Duration::MAX;
    for _ in 0..ATTEMPTS {
        let start = clock.now();
        for first in (0..KEPT).step_by(100) {
            for at in first..first + 100 {
                client.send(&encode(&words(&format!("HGET kept field{at}")).unwrap()));
            }
            (0..100).for_each(|_| drop(client.reply().unwrap()));
        }
        best = best.min(clock.now().since(start));
    }
    best
}

/// Microseconds that a command took the worker.
fn cost_usec(client: &mut Client, line: &str) -> u64 {
    client.ask("CONFIG RESETSTAT");
    client.ask(line);
    let info = client.ask_text("INFO commandstats");
    let name = line.split(' ').next().unwrap().to_lowercase();
    let row = info.split(&format!("cmdstat_{name}:")).nth(1).unwrap();
    row.split("usec=").nth(1).unwrap().split(',').next().unwrap().parse().unwrap()
}

#[test]
fn a_huge_collection_goes_at_once_and_its_space_comes_back() {
    let count = elements();
    let dir = TempDir::new().unwrap();
    let server = Server::start_in(dir.path(), &["--workers", "1", "--set", "write-buffer=4mb"]);
    let mut client = server.connect();
    load(&mut client, "kept", KEPT);
    for key in ["deleted", "overwritten", "ending"] {
        load(&mut client, key, count);
    }
    let mut told = String::new();
    let data = &server.dir.join("data");
    let before = disk_bytes(data);
    assert!(before > 0, "there are tables");
    let read_before = read_all(&mut client);
    let costs = ["DEL deleted", "SET overwritten now", "PEXPIRE ending 1"]
        .map(|line| (line, cost_usec(&mut client, line)));
    for (line, usec) in costs {
        told.push_str(&format!("{line}: {usec} us\n"));
        assert!(usec <= COMMAND_USEC_MAX, "{line}: {usec} us for {count} elements");
    }
    eventually("the key has ended", || client.ask("DBSIZE") == ":2");
    let read_after = read_all(&mut client);
    eventually("the elements are removed", || client.info("dead_versions") == 0);
    let read_later = read_all(&mut client);
    let clock = Clock::new();
    let start = clock.now();
    let share = before / 4;
    eventually("their space is given back", || disk_bytes(data) < share);
    told.push_str(&format!(
        "tables: {before} bytes, {} after {:?}\nreading {KEPT} fields: {read_before:?} before, {read_after:?} after, \
         {read_later:?} once they were removed\n",
        disk_bytes(data),
        clock.now().since(start),
    ));
    std::io::stderr().write_all(told.as_bytes()).ok();
    let slowest = read_before * 2;
    assert!(read_after < slowest && read_later < slowest, "{told}");
    assert_eq!(client.ask("HLEN kept"), format!(":{KEPT}"));
    assert_eq!(client.ask("GET overwritten"), "\"now\"");
}
