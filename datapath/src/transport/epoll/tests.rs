use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::*;

/// Echoes, and notes what happened.
#[derive(Default)]
struct Echo {
    received: Vec<(ConnId, Vec<u8>)>,
    accepted: Vec<ConnId>,
    eof: Vec<ConnId>,
    writable: Vec<ConnId>,
    closed: Vec<(ConnId, CloseReason)>,
    refuse: bool,
    held: usize,
}

impl App for Echo {
    fn on_accept(&mut self, conn: ConnId, _peer: SocketAddr, _local: SocketAddr) -> bool {
        self.accepted.push(conn);
        !self.refuse
    }

    fn on_data(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        self.received.push((conn, bytes.to_vec()));
        self.held
    }

    fn on_eof(&mut self, conn: ConnId) {
        self.eof.push(conn);
    }

    fn on_writable(&mut self, conn: ConnId) {
        self.writable.push(conn);
    }

    fn on_close(&mut self, conn: ConnId, reason: CloseReason) {
        self.closed.push((conn, reason));
    }
}

struct Bench {
    transport: EpollTransport,
    addr: SocketAddr,
    app: Echo,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let listeners = bind((Ipv4Addr::LOCALHOST, 0).into(), 1, 16).unwrap();
        let addr = local_addr(&listeners[0]).unwrap();
        let keepalive = Some(Duration::from_secs(300));
        let transport = EpollTransport::new(listeners, keepalive).unwrap();
        Self { transport, addr, app: Echo::default(), now: Instant::from_millis(1) }
    }

    fn connect(&mut self) -> (TcpStream, ConnId) {
        let stream = TcpStream::connect(self.addr).unwrap();
        let before = self.app.accepted.len();
        self.until(|app| app.accepted.len() > before);
        (stream, *self.app.accepted.last().unwrap())
    }

    /// Polls until `done`; the kernel delivers on loopback without us, so this ends.
    fn until(&mut self, done: impl Fn(&Echo) -> bool) {
        while !done(&self.app) {
            self.transport.poll(self.now, &mut self.app);
        }
    }
}

#[test]
fn bytes_travel_both_ways_and_the_peers_fin_ends_the_connection() {
    let mut bench = Bench::new();
    let (mut peer, conn) = bench.connect();
    peer.write_all(b"ping").unwrap();
    bench.until(|app| !app.received.is_empty());
    assert_eq!(bench.app.received, [(conn, b"ping".to_vec())]);
    assert_eq!(bench.transport.send(bench.now, conn, b"pong"), 4);
    let mut reply = [0; 4];
    peer.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"pong");
    drop(peer);
    bench.until(|app| !app.eof.is_empty());
    bench.transport.close(bench.now, conn);
    bench.until(|app| !app.closed.is_empty());
    assert_eq!(bench.app.closed, [(conn, CloseReason::Finished)]);
    assert_eq!(bench.transport.conn_count(), 0);
}

#[test]
fn a_reply_survives_closing_while_the_peer_still_sends() {
    let mut bench = Bench::new();
    let (mut peer, conn) = bench.connect();
    peer.write_all(&[b'x'; 1000]).unwrap();
    bench.until(|app| !app.received.is_empty());
    peer.write_all(&[b'y'; 1000]).unwrap();
    assert_eq!(bench.transport.send(bench.now, conn, b"-ERR bye\r\n"), 10);
    bench.transport.close(bench.now, conn);
    let mut reply = Vec::new();
    peer.read_to_end(&mut reply).unwrap();
    assert_eq!(reply, b"-ERR bye\r\n");
    drop(peer);
    bench.until(|app| !app.closed.is_empty());
    assert_eq!(bench.app.closed, [(conn, CloseReason::Finished)]);
}

#[test]
fn a_peer_that_never_closes_its_side_is_dropped_after_the_linger_time() {
    let mut bench = Bench::new();
    let (_peer, conn) = bench.connect();
    bench.transport.close(bench.now, conn);
    assert_eq!(bench.transport.next_deadline(), Some(bench.now + LINGER_MAX));
    bench.now = bench.now + LINGER_MAX;
    bench.until(|app| !app.closed.is_empty());
    assert_eq!(bench.app.closed, [(conn, CloseReason::TimedOut)]);
}

#[test]
fn a_full_socket_takes_less_and_tells_when_it_has_room() {
    let mut bench = Bench::new();
    let (mut peer, conn) = bench.connect();
    let chunk = vec![b'z'; 1 << 20];
    let mut sent = 0;
    loop {
        let taken = bench.transport.send(bench.now, conn, &chunk);
        sent += taken;
        if taken < chunk.len() {
            break;
        }
    }
    let mut received = vec![0; sent];
    peer.read_exact(&mut received).unwrap();
    bench.until(|app| !app.writable.is_empty());
    assert_eq!(bench.app.writable, [conn]);
}

#[test]
fn reading_pauses_while_the_app_holds_too_much() {
    let mut bench = Bench::new();
    let (mut peer, conn) = bench.connect();
    bench.app.held = HELD_BYTES_MAX + 1;
    peer.write_all(b"first").unwrap();
    bench.until(|app| app.received.len() == 1);
    peer.write_all(b"second").unwrap();
    for _ in 0..100 {
        bench.transport.poll(bench.now, &mut bench.app);
    }
    assert_eq!(bench.app.received.len(), 1, "paused");
    bench.app.held = 0;
    bench.transport.set_held(bench.now, conn, 0);
    bench.until(|app| app.received.len() == 2);
}

#[test]
fn a_refused_connection_and_an_aborted_one_are_reset() {
    let mut bench = Bench::new();
    let (mut peer, conn) = bench.connect();
    bench.transport.abort(bench.now, conn);
    let error = peer.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    bench.until(|app| !app.closed.is_empty());
    assert_eq!(bench.app.closed, [(conn, CloseReason::Aborted)]);
    bench.app.refuse = true;
    let (mut peer, conn) = bench.connect();
    assert!(matches!(peer.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert_eq!(bench.transport.send(bench.now, conn, b"late"), 4, "a stale id takes everything");
    assert_eq!(bench.app.closed.len(), 1, "no on_close for a connection that was refused");
}

#[test]
fn a_second_server_on_the_same_address_is_refused() {
    let bench = Bench::new();
    let error = bind(bench.addr, 1, 16).unwrap_err();
    assert!(matches!(error, BindError::InUse(addr) if addr == bench.addr), "{error}");
}
