//! Start, stop, crash, restart: what could break is what a client was promised.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coney_conversation::Value;
use coney_conversation::script::encode;
use coney_datapath::transport::uring;
use tempfile::TempDir;

use crate::support::{Client, Server, skip};

#[test]
fn sigterm_ends_cleanly_and_the_data_is_there_after_a_restart() {
    let dir = TempDir::new().unwrap();
    for round in 0..3 {
        let server = Server::start_in(dir.path(), &[]);
        let mut client = server.connect();
        if round > 0 {
            assert_eq!(client.ask("GET key"), format!("\"{}\"", round - 1));
        }
        assert_eq!(client.ask(&format!("SET key {round}")), "+OK");
        assert_eq!(client.ask("DBSIZE"), ":1");
        let waiting = server.stop();
        assert_eq!(waiting.code(), Some(0));
        assert!(client.is_closed());
    }
}

#[test]
fn shutdown_ends_the_server_like_sigterm() {
    let dir = TempDir::new().unwrap();
    let server = Server::start_in(dir.path(), &["--sync", "off"]);
    let mut client = server.connect();
    assert_eq!(client.ask("SET key value"), "+OK");
    assert_eq!(client.ask("SHUTDOWN ABORT"), "-ERR No shutdown in progress.");
    assert_eq!(client.ask("SHUTDOWN SAVE NOSAVE"), "-ERR syntax error");
    client.send(&encode(&[b"SHUTDOWN".to_vec(), b"NOSAVE".to_vec()]));
    assert!(client.is_closed());
    assert_eq!(server.wait().code(), Some(0));
    let server = Server::start_in(dir.path(), &[]);
    assert_eq!(server.connect().ask("GET key"), "\"value\"");
}

/// Writes until the connection ends, and returns how many writes were acknowledged.
fn write_until_the_end(mut client: Client, name: usize, is_writing: &AtomicBool) -> u64 {
    let mut acknowledged = 0;
    loop {
        let mut pipeline = Vec::new();
        for n in acknowledged..acknowledged + 16 {
            let key = format!("writer{name}:{n}").into_bytes();
            pipeline.extend(encode(&[b"SET".to_vec(), key, n.to_string().into_bytes()]));
        }
        if std::io::Write::write_all(&mut client.stream, &pipeline).is_err() {
            return acknowledged;
        }
        for _ in 0..16 {
            match client.reply() {
                Some(reply) => assert_eq!(reply, Value::Simple(b"OK".to_vec())),
                None => return acknowledged,
            }
            acknowledged += 1;
        }
        is_writing.store(acknowledged > 2000, Ordering::Relaxed);
    }
}

#[test]
fn a_crash_of_the_process_loses_no_acknowledged_write() {
    let dir = TempDir::new().unwrap();
    let server = Server::start_in(dir.path(), &["--workers", "2", "--sync", "everysec"]);
    let flags: Vec<AtomicBool> = (0..4).map(|_| AtomicBool::new(false)).collect();
    let counts: Vec<u64> = std::thread::scope(|scope| {
        let writers: Vec<_> = flags
            .iter()
            .enumerate()
            .map(|(name, flag)| {
                let client = server.connect();
                scope.spawn(move || write_until_the_end(client, name, flag))
            })
            .collect();
        crate::support::eventually("all are writing", || {
            flags.iter().all(|flag| flag.load(Ordering::Relaxed))
        });
        server.kill();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let server = Server::start_in(dir.path(), &[]);
    let mut client = server.connect();
    for (name, count) in counts.iter().enumerate() {
        for n in 0..*count {
            let reply = client.ask(&format!("GET writer{name}:{n}"));
            assert_eq!(reply, format!("\"{n}\""), "writer {name}, {count} acknowledged");
        }
    }
    let keys: u64 = client.ask("DBSIZE").trim_start_matches(':').parse().unwrap();
    assert!(keys >= counts.iter().sum(), "the count of keys survives too");
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let server = Server::start(&[]);
    let refusal = Server::refuse(&server.dir, &["--port", "0"]);
    assert_eq!(refusal.status.code(), Some(1));
    assert!(refusal.output.contains("in use by another process"), "{}", refusal.output);
    assert_eq!(server.connect().ask("PING"), "+PONG");
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let server = Server::start(&[]);
    let other = TempDir::new().unwrap();
    let port = server.addr.port().to_string();
    let refusal = Server::refuse(other.path(), &["--port", &port, "--bind", "127.0.0.1"]);
    assert!(refusal.output.contains("another program already listens on 127.0.0.1:"));
    assert_eq!(refusal.status.code(), Some(1));
}

#[test]
fn an_idle_server_uses_less_than_one_percent_of_a_core() {
    idles(&Server::start(&["--workers", "2"]));
}

#[test]
fn over_io_uring_an_idle_server_sleeps_and_wakes() {
    match uring::probe() {
        Ok(()) => idles(&Server::start(&["--set", "kernel-transport=io_uring"])),
        Err(reason) => skip(&reason.to_string()),
    }
}

fn idles(server: &Server) {
    let mut client = server.connect();
    assert_eq!(client.ask("PING"), "+PONG");
    let before = server.cpu_ticks();
    std::thread::park_timeout(Duration::from_secs(3));
    let used = server.cpu_ticks() - before;
    assert!(used <= 3, "{used} hundredths of a second within three seconds");
    assert_eq!(client.ask("PING"), "+PONG");
}
