//! Commands over a connection: what could break is framing, ordering, and the way through workers.

use coney_conversation::Value;
use coney_conversation::script::encode;

use crate::support::{Client, Server};

#[test]
fn a_client_is_served() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.ask("PING"), "+PONG");
    assert_eq!(client.ask("SET greeting hello"), "+OK");
    assert_eq!(client.ask("GET greeting"), "\"hello\"");
    assert_eq!(client.ask("GET missing"), "nil");
    assert_eq!(
        client.ask("NONSENSE"),
        "-ERR unknown command 'NONSENSE', with args beginning with: "
    );
    client.send(b"SET typed \"by hand\"\r\nGET typed\r\n");
    assert_eq!(client.reply().unwrap().to_string(), "+OK");
    assert_eq!(client.reply().unwrap().to_string(), "\"by hand\"");
}

#[test]
fn replies_of_a_long_pipeline_keep_their_order() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut pipeline = Vec::new();
    for n in 0..10_000 {
        pipeline.extend(encode(&[
            b"SET".to_vec(),
            format!("k{n}").into_bytes(),
            n.to_string().into_bytes(),
        ]));
        pipeline.extend(encode(&[b"GET".to_vec(), format!("k{}", n / 2).into_bytes()]));
    }
    let mut writer = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &pipeline));
    for n in 0..10_000 {
        assert_eq!(client.reply(), Some(Value::Simple(b"OK".to_vec())));
        assert_eq!(client.reply(), Some(Value::Bulk((n / 2).to_string().into_bytes())));
    }
    sending.join().unwrap().unwrap();
}

#[test]
fn an_admin_command_inside_a_pipeline_keeps_its_place() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut pipeline = Vec::new();
    for _ in 0..100 {
        for command in [&["INCR", "n"][..], &["CONFIG", "GET", "port"], &["ECHO", "x"]] {
            let words: Vec<Vec<u8>> = command.iter().map(|word| word.as_bytes().to_vec()).collect();
            pipeline.extend(encode(&words));
        }
    }
    client.send(&pipeline);
    for n in 1..=100 {
        assert_eq!(client.reply().unwrap().to_string(), format!(":{n}"));
        assert_eq!(client.reply().unwrap().to_string(), "*2 \"port\" \"0\"");
        assert_eq!(client.reply().unwrap().to_string(), "\"x\"");
    }
}

#[test]
fn large_values_come_back_whole() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for len in [1 << 20, 64 << 20] {
        let value: Vec<u8> = (0..len).map(|at: usize| (at % 251).to_le_bytes()[0]).collect();
        client.send(&encode(&[b"SET".to_vec(), b"large".to_vec(), value.clone()]));
        assert_eq!(client.reply().unwrap(), Value::Simple(b"OK".to_vec()));
        client.send(&encode(&[b"GET".to_vec(), b"large".to_vec()]));
        assert!(client.reply().unwrap() == Value::Bulk(value), "{len} bytes");
    }
}

#[test]
fn two_workers_share_one_database() {
    let server = Server::start(&["--workers", "2"]);
    let mut clients: Vec<Client> = (0..32).map(|_| server.connect()).collect();
    for round in 0..50 {
        for (at, client) in clients.iter_mut().enumerate() {
            client.send(&encode(&[b"INCR".to_vec(), b"shared".to_vec()]));
            client.send(&encode(&[
                b"SET".to_vec(),
                format!("own{at}").into_bytes(),
                round.to_string().into_bytes(),
            ]));
        }
        for client in &mut clients {
            assert!(matches!(client.reply(), Some(Value::Integer(_))));
            assert_eq!(client.reply(), Some(Value::Simple(b"OK".to_vec())));
        }
    }
    let mut last = server.connect();
    assert_eq!(last.ask("GET shared"), format!("\"{}\"", 32 * 50));
    assert_eq!(last.ask("DBSIZE"), ":33");
    for client in &mut clients {
        assert_eq!(client.ask("GET own7"), "\"49\"", "every worker sees every write");
    }
}

#[test]
fn keys_expire_although_nobody_reads_them() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.ask("SET short lived PX 20"), "+OK");
    assert_eq!(client.ask("SET long lived EX 1000"), "+OK");
    crate::support::eventually("one key is left", || client.ask("DBSIZE") == ":1");
    assert_eq!(client.info("expired_keys"), 1);
}

#[test]
fn writes_are_acknowledged_under_each_sync_policy() {
    for policy in ["off", "everysec", "always"] {
        let server = Server::start(&["--sync", policy]);
        let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
        for n in 0..20 {
            for client in &mut clients {
                assert_eq!(client.ask(&format!("SET key{n} value")), "+OK", "{policy}");
            }
        }
        let mut client = server.connect();
        if policy == "always" {
            assert_eq!(client.info("log_batches_written"), client.info("log_batches_durable"));
            assert_eq!(client.ask("CONFIG SET appendfsync no"), "+OK");
            assert_eq!(client.ask("SET after change"), "+OK");
        }
    }
}
