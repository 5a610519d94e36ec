//! Whole runs against a small server that counts and, when told, stands still.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use clap::{Args as _, FromArgMatches as _};

use super::*;

/// What the small server has received: commands by name.
type Seen = Arc<Mutex<BTreeMap<String, usize>>>;

/// A server that answers each command by name, for ever.
fn serve(reply: fn(&str) -> &'static str) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let seen = Seen::default();
    let counts = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, counts) = (stream.unwrap(), Arc::clone(&counts));
            std::thread::spawn(move || answer(&stream, &counts, reply));
        }
    });
    (addr, seen)
}

fn answer(stream: &TcpStream, counts: &Seen, reply: fn(&str) -> &'static str) -> Option<()> {
    let mut input = BufReader::new(stream);
    let mut output = stream;
    loop {
        let mut parts = Vec::new();
        let mut line = String::new();
        input.read_line(&mut line).ok().filter(|len| *len > 0)?;
        let count: usize = line.trim().strip_prefix('*')?.parse().ok()?;
        for _ in 0..count {
            line.clear();
            input.read_line(&mut line).ok()?;
            let len: usize = line.trim().strip_prefix('$')?.parse().ok()?;
            let mut part = vec![0; len + 2];
            input.read_exact(&mut part).ok()?;
            parts.push(part);
        }
        let name = String::from_utf8_lossy(&parts[0]).trim().to_uppercase();
        *counts.lock().unwrap().entry(name.clone()).or_default() += 1;
        output.write_all(reply(&name).as_bytes()).ok()?;
    }
}

fn bench(addr: SocketAddr, line: &str) -> Result<String, BenchError> {
    let command = BenchArgs::augment_args(clap::Command::new("bench").no_binary_name(true));
    let line = format!("--server {addr} --seconds 0.3 --warm-up 0 {line}");
    let matches = command.try_get_matches_from(line.split_whitespace()).unwrap();
    run(&BenchArgs::from_arg_matches(&matches).unwrap())
}

fn json(addr: SocketAddr, line: &str) -> serde_json::Value {
    let name = format!("coney-load-{}-{}", std::process::id(), addr.port());
    let path = std::env::temp_dir().join(name);
    let shown = bench(addr, &format!("{line} --json {}", path.display())).unwrap();
    assert!(shown.contains("ops/s"), "{shown}");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn echo(name: &str) -> &'static str {
    match name {
        "INFO" => "$20\r\nredis_version:7.9.9\n\r\n",
        "GET" => "$1\r\nx\r\n",
        "HGETALL" => "*2\r\n$1\r\nf\r\n$1\r\nv\r\n",
        "ZRANGE" => "*2\r\n$2\r\nk1\r\n$2\r\nk2\r\n",
        "LPUSH" => "-ERR no room\r\n",
        _ => "+OK\r\n",
    }
}

#[test]
fn every_operation_is_counted_as_the_server_counts_it() {
    let (addr, seen) = serve(echo);
    let result = json(addr, "--workload mixed --connections 3 --threads 2 --pipeline 4 --keys 100");
    let counted: u64 = result["kinds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["operations"].as_u64().unwrap())
        .sum();
    let seen = seen.lock().unwrap();
    let (gets, sets) = (seen["GET"], seen["SET"]);
    assert_eq!(counted, (gets + sets) as u64);
    assert!(gets > sets * 5 && sets > 0, "nine of ten are GETs: {gets} and {sets}");
    assert_eq!(result["server"], "redis 7.9.9");
}

#[test]
fn keys_are_written_before_the_measurement() {
    let (addr, seen) = serve(echo);
    json(addr, "--workload ping --load --keys 1000 --connections 2");
    assert_eq!(seen.lock().unwrap()["SET"], 1000);
}

#[test]
fn a_scan_reads_what_it_found_and_a_read_modify_write_writes() {
    let (addr, seen) = serve(echo);
    let result = json(addr, "--workload ycsb-e --connections 2 --keys 50");
    let scans = result["kinds"][0]["operations"].as_u64().unwrap();
    {
        let seen = seen.lock().unwrap();
        assert_eq!(seen["ZRANGE"] as u64, scans);
        assert_eq!(seen["HGETALL"] as u64, 2 * scans);
    }
    let (addr, seen) = serve(echo);
    let result = json(addr, "--workload ycsb-f --connections 2 --keys 50");
    let both = result["kinds"][1]["operations"].as_u64().unwrap();
    assert_eq!(seen.lock().unwrap()["HSET"] as u64, both);
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let (addr, seen) = serve(echo);
    let result = json(addr, "--workload get --rate 1000 --connections 5");
    let gets = result["kinds"][0]["operations"].as_u64().unwrap();
    let missed = result["not_started"].as_u64().unwrap();
    assert_eq!(gets + missed, 300, "1000 a second for 0.3 s, {missed} missed");
    assert_eq!(seen.lock().unwrap()["GET"] as u64, gets);
}

#[test]
fn errors_and_missing_keys_are_told() {
    let (addr, _) = serve(echo);
    let shown = bench(addr, "--command LPUSH").unwrap();
    assert!(shown.contains("such as: ERR no room"), "{shown}");
    let (addr, _) = serve(|_| "$-1\r\n");
    let shown = bench(addr, "--workload get").unwrap();
    assert!(shown.contains("--load writes all keys first"), "{shown}");
}

#[test]
fn a_picture_is_drawn() {
    let (addr, _) = serve(echo);
    let path = std::env::temp_dir().join(format!("coney-load-{}.svg", std::process::id()));
    bench(addr, &format!("--workload mixed --plot {}", path.display())).unwrap();
    let picture = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(picture.contains("<polyline") && picture.contains("GET"), "{picture}");
}

#[test]
fn a_server_that_is_not_there_or_refuses_is_said_to_be() {
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = bench(addr, "").unwrap_err().to_string();
    assert!(error.contains("Is the server running?"), "{error}");
    let (addr, _) = serve(|_| "-NOAUTH no\r\n");
    let error = bench(addr, "--resp 3").unwrap_err().to_string();
    assert_eq!(error, "the server refused HELLO 3: NOAUTH no");
}
