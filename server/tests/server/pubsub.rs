//! Publish and subscribe, and transactions, between connections that belong to different workers.
//! What could break is that a message gets lost or overtakes another, or that a slow subscriber
//! takes the memory of all.

use std::collections::BTreeSet;

use coney_conversation::script::encode;

use crate::support::{Client, Server, eventually};

/// So many connections that every one of two workers has some.
const SUBSCRIBERS: usize = 16;

fn next(client: &mut Client) -> String {
    client.reply().expect("a message").to_string()
}

#[test]
fn messages_reach_the_clients_of_all_workers_in_order() {
    let server = Server::start(&["--workers", "2"]);
    let mut subscribers: Vec<Client> = (0..SUBSCRIBERS).map(|_| server.connect()).collect();
    for client in &mut subscribers {
        assert_eq!(client.ask("SUBSCRIBE news"), "*3 \"subscribe\" \"news\" :1");
    }
    let mut publishers = [server.connect(), server.connect(), server.connect()];
    assert!(publishers[0].ask("INFO stats").contains("pubsub_channels:1"));
    for number in 0..200 {
        for (who, publisher) in publishers.iter_mut().enumerate() {
            let count = publisher.ask(&format!("PUBLISH news {who}:{number}"));
            assert_eq!(count, format!(":{SUBSCRIBERS}"));
        }
    }
    for client in &mut subscribers {
        let mut seen = [0; 3];
        for _ in 0..600 {
            let message = next(client);
            let text = message.rsplit('"').nth(1).unwrap();
            let (who, number) = text.split_once(':').unwrap();
            let who: usize = who.parse().unwrap();
            assert_eq!(number, seen[who].to_string(), "{message}");
            seen[who] += 1;
        }
    }
    drop(subscribers);
    let [publisher, ..] = &mut publishers;
    eventually("nobody is subscribed", || publisher.ask("PUBLISH news x") == ":0");
}

#[test]
fn whoever_gets_a_message_sees_what_was_written_before_it() {
    let server = Server::start(&["--workers", "2"]);
    let mut subscribers: Vec<Client> = (0..SUBSCRIBERS).map(|_| server.connect()).collect();
    for client in &mut subscribers {
        client.ask("HELLO 3");
        client.ask("SUBSCRIBE changed");
    }
    let mut writer = server.connect();
    for number in 0..50 {
        let set = encode(&["SET", "k", &number.to_string()].map(|word| word.as_bytes().to_vec()));
        let publish = encode(&["PUBLISH", "changed", "k"].map(|word| word.as_bytes().to_vec()));
        writer.send(&[set, publish].concat());
        for client in &mut subscribers {
            assert_eq!(next(client), ">3 \"message\" \"changed\" \"k\"");
            assert_eq!(client.ask("GET k"), format!("\"{number}\""));
        }
        assert_eq!(next(&mut writer), "+OK");
        assert_eq!(next(&mut writer), format!(":{SUBSCRIBERS}"));
    }
}

#[test]
fn a_subscriber_that_does_not_read_is_disconnected() {
    let limit = "client-output-buffer-limit=pubsub 1mb 0 0";
    let server = Server::start(&["--workers", "2", "--set", limit]);
    let mut slow = server.connect();
    slow.ask("SUBSCRIBE news");
    let mut publisher = server.connect();
    let payload = "x".repeat(100_000);
    eventually("the slow one is gone", || {
        publisher.ask(&format!("PUBLISH news {payload}")) == ":0"
    });
    assert_eq!(publisher.info("client_output_buffer_limit_disconnections"), 1);
}

#[test]
fn optimistic_increments_of_many_connections_are_never_lost() {
    const ROUNDS: u64 = 100;
    let server = Server::start(&["--workers", "2"]);
    let mut seen = BTreeSet::new();
    let increments: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let mut client = server.connect();
                scope.spawn(move || {
                    let mut succeeded = 0;
                    for _ in 0..ROUNDS {
                        client.ask("WATCH n");
                        let value = client.ask("GET n");
                        let value: u64 = value.trim_matches('"').parse().unwrap_or(0);
                        client.ask("MULTI");
                        client.ask(&format!("SET n {}", value + 1));
                        client.ask("INCR m");
                        succeeded += u64::from(client.ask("EXEC").starts_with("*2"));
                    }
                    succeeded
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let total: u64 = increments.iter().sum();
    let mut client = server.connect();
    seen.insert(client.ask("GET n"));
    seen.insert(client.ask("GET m"));
    assert!(total > 0);
    assert_eq!(seen, BTreeSet::from([format!("\"{total}\"")]));
}
