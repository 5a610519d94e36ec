//! Limits: what could break is that one client takes the others' memory or time.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

use coney_conversation::Value;
use coney_conversation::script::encode;
use rustix::net::{AddressFamily, SocketType};

use crate::support::{Client, Server, eventually, skip};

#[test]
fn clients_beyond_maxclients_are_refused_until_one_leaves() {
    let server = Server::start(&["--maxclients", "2"]);
    let mut first = server.connect();
    let mut second = server.connect();
    assert_eq!((first.ask("PING"), second.ask("PING")), ("+PONG".into(), "+PONG".into()));
    let mut third = server.connect();
    assert_eq!(
        third.reply().map(|reply| reply.to_string()).as_deref(),
        Some("-ERR max number of clients reached")
    );
    assert!(third.is_closed());
    drop(second);
    eventually("there is room again", || {
        let mut client = server.connect();
        client.send(b"PING\r\n");
        client.reply() == Some(Value::Simple(b"PONG".to_vec()))
    });
    assert!(first.info("rejected_connections") >= 1);
}

#[test]
fn garbage_and_half_commands_hurt_nobody_else() {
    let server = Server::start(&[]);
    let mut witness = server.connect();
    assert_eq!(witness.ask("SET key value"), "+OK");
    let before = server.resident_bytes();
    let attacks: [&[u8]; 10] = [
        b"*1048576\r\n$536870912\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nhalf",
        b"*99999999999\r\n",
        b"*1\r\n$-5\r\n",
        b"*1\r\n$99999999999\r\n",
        b"*1\r\nPING\r\n",
        b"\x00\xff\x16\x03\x01\x02\x00\x01\x00",
        b"\"open quote\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"*2\r\n$4\r\nECHO\r\n$",
    ];
    let mut clients: Vec<Client> = Vec::new();
    for round in 0..300 {
        let mut client = server.connect();
        client.send(attacks[round % attacks.len()]);
        clients.push(client);
    }
    let mut endless = server.connect();
    // No line end: it is refused after 64 KiB. The server may close before all is written.
    endless.stream.write_all(&vec![b'x'; 1 << 20]).ok();
    assert_eq!(witness.ask("GET key"), "\"value\"");
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB more for promises", grown >> 20);
    let error = clients[2].reply().unwrap().to_string();
    assert_eq!(error, "-ERR Protocol error: invalid multibulk length");
    assert!(clients[2].is_closed());
    assert!(witness.info("protocol_errors") > 100);
    assert_eq!(witness.ask("DBSIZE"), ":1");
}

#[test]
fn a_client_that_does_not_read_is_stopped_and_goes_on_later() {
    const VALUE_LEN: usize = 1 << 20;
    const GETS: usize = 300;
    let server = Server::start(&[]);
    let mut witness = server.connect();
    witness.send(&encode(&[b"SET".to_vec(), b"large".to_vec(), vec![b'v'; VALUE_LEN]]));
    assert_eq!(witness.reply(), Some(Value::Simple(b"OK".to_vec())));
    let before = server.resident_bytes();
    let mut slow = server.connect();
    slow.send(&encode(&[b"GET".to_vec(), b"large".to_vec()]).repeat(GETS));
    eventually("it has replies waiting", || witness.info("client_recent_max_output_buffer") > 0);
    for _ in 0..100 {
        assert_eq!(witness.ask("PING"), "+PONG");
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 128 << 20, "{} MiB for {GETS} replies of 1 MiB", grown >> 20);
    for at in 0..GETS {
        match slow.reply() {
            Some(Value::Bulk(value)) => assert_eq!(value.len(), VALUE_LEN, "reply {at}"),
            other => panic!("reply {at}: {other:?}"),
        }
    }
}

#[test]
fn an_output_buffer_limit_disconnects() {
    let server = Server::start(&["--set", "client-output-buffer-limit=normal 4mb 0 0"]);
    let mut witness = server.connect();
    witness.send(&encode(&[b"SET".to_vec(), b"large".to_vec(), vec![b'v'; 1 << 20]]));
    assert_eq!(witness.reply(), Some(Value::Simple(b"OK".to_vec())));
    let mut slow = server.connect();
    slow.send(&encode(&[b"GET".to_vec(), b"large".to_vec()]).repeat(200));
    eventually("it was disconnected", || {
        witness.info("client_output_buffer_limit_disconnections") == 1
    });
    while slow.reply().is_some() {}
}

#[test]
fn a_query_buffer_limit_disconnects() {
    let server = Server::start(&["--set", "client-query-buffer-limit=1mb"]);
    let mut witness = server.connect();
    let mut client = server.connect();
    let half =
        [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5000000\r\n".to_vec(), vec![b'v'; 3 << 20]].concat();
    client.stream.write_all(&half).ok();
    eventually("it was disconnected", || {
        witness.info("client_query_buffer_limit_disconnections") == 1
    });
    assert!(client.is_closed());
}

#[test]
fn idle_clients_are_disconnected_after_the_timeout() {
    let server = Server::start(&["--set", "timeout=1"]);
    let mut idle = server.connect();
    assert_eq!(idle.ask("PING"), "+PONG");
    assert!(idle.is_closed(), "without another word");
    assert_eq!(server.connect().info("idle_disconnections"), 1);
}

/// An address of this host that is not loopback.
fn own_address() -> Option<Ipv4Addr> {
    // Connecting a UDP socket sends nothing; it only chooses the source address.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(addr) if !addr.is_loopback() => Some(addr),
        _ => None,
    }
}

#[test]
fn protected_mode_refuses_clients_from_elsewhere() {
    let Some(own) = own_address() else {
        skip("protected mode: this host has no address but loopback");
        return;
    };
    let server = Server::start(&[]);
    // From another address of this host to its loopback address: it looks like another host.
    let connect = || {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::from((own, 0))).unwrap();
        rustix::net::connect(&socket, &server.addr).unwrap();
        Client::over(TcpStream::from(socket))
    };
    let mut stranger = connect();
    let refusal = stranger.reply().unwrap().to_string();
    assert!(refusal.starts_with("-DENIED Coney runs in protected mode"), "{refusal}");
    assert!(stranger.is_closed());
    let mut local = server.connect();
    assert_eq!(local.ask("CONFIG SET protected-mode no"), "+OK");
    assert_eq!(connect().ask("PING"), "+PONG");
    assert_eq!(local.ask("CONFIG SET protected-mode yes requirepass secret"), "+OK");
    assert_eq!(connect().ask("PING"), "-NOAUTH Authentication required.", "a password suffices");
}
