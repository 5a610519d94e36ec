//! The pages over HTTP: what monitoring reads, and that nonsense there bothers nobody.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Client, PATIENCE, Server};

fn start() -> (Server, Client, String) {
    let server = Server::start(&["--set", "metrics-listen=127.0.0.1:0"]);
    let mut client = server.connect();
    let info = client.ask_text("INFO coney");
    let address = info.lines().find_map(|line| line.strip_prefix("metrics_listener:"));
    let address = address.unwrap().to_owned();
    (server, client, address)
}

/// Sends `request` and returns everything that comes until the end.
fn exchange(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(address: &str, path: &str) -> (String, String) {
    let answer = exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn figures_are_those_of_info() {
    let (_server, mut client, address) = start();
    client.ask("SET a 1");
    client.ask("GET a");
    client.ask("GET b");
    let (status, page) = get(&address, "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    for line in [
        "coney_command_calls_total{command=\"get\"} 2",
        "coney_keyspace_hits_total 1",
        "coney_keyspace_misses_total 1",
        "coney_keys{db=\"0\"} 1",
        "coney_clients{worker=\"0\"} 1",
        "coney_writable 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is missing in {page}");
    }
    assert!(page.contains("\nconey_kernel_reads "), "the transports' figures are there: {page}");
    assert!(page.contains("\nconey_storage_sequence "), "and the storage's: {page}");
}

#[test]
fn health_and_wrong_requests() {
    let (_server, mut client, address) = start();
    assert_eq!(get(&address, "/health"), ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
    assert_eq!(get(&address, "/").0, "HTTP/1.1 200 OK");
    assert_eq!(get(&address, "/metric").0, "HTTP/1.1 404 Not Found");
    let status = |request: &str| exchange(&address, request).lines().next().unwrap().to_owned();
    assert_eq!(status("POST /metrics HTTP/1.1\r\n\r\n"), "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(status("*1\r\n$4\r\nPING\r\n"), "HTTP/1.1 400 Bad Request");
    let long = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(8 * 1024));
    assert_eq!(status(&long), "HTTP/1.1 400 Bad Request");
    assert_eq!(client.ask("PING"), "+PONG");
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let (_server, _client, address) = start();
    let dir = tempfile::TempDir::new().unwrap();
    let taken = format!("metrics-listen={address}");
    let refusal = Server::refuse(dir.path(), &["--port", "0", "--set", &taken]);
    assert!(refusal.output.contains("metrics-listen"), "{}", refusal.output);
}
