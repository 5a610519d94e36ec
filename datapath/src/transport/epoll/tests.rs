use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::*;
use crate::transport::conformance::{Bench, Notes, PeerRead, conformance};

/// The transport on loopback, and peers that are sockets of the standard library.
struct Kernel {
    transport: EpollTransport,
    addr: SocketAddr,
    now: Instant,
    peers: Vec<Option<TcpStream>>,
}

impl Kernel {
    fn new() -> Self {
        let listeners = bind((Ipv4Addr::LOCALHOST, 0).into(), 1, 16).unwrap();
        let addr = local_addr(&listeners[0]).unwrap();
        let keepalive = Some(Duration::from_secs(300));
        let transport = EpollTransport::new(listeners, keepalive).unwrap();
        Self { transport, addr, now: Instant::from_millis(1), peers: Vec::new() }
    }

    fn peer(&mut self, peer: usize) -> &mut TcpStream {
        self.peers[peer].as_mut().unwrap()
    }
}

impl Bench for Kernel {
    type T = EpollTransport;

    fn transport(&mut self) -> &mut EpollTransport {
        &mut self.transport
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn step(&mut self, app: &mut Notes) {
        self.transport.poll(self.now, app);
        self.transport.flush(self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn dial(&mut self) -> Option<usize> {
        let peer = TcpStream::connect(self.addr).ok()?;
        peer.set_nonblocking(true).unwrap();
        self.peers.push(Some(peer));
        Some(self.peers.len() - 1)
    }

    fn peer_write(&mut self, peer: usize, bytes: &[u8]) -> usize {
        match self.peer(peer).write(bytes) {
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("{error}"),
        }
    }

    fn peer_read(&mut self, peer: usize) -> PeerRead {
        let mut buf = vec![0; 64 * 1024];
        match self.peer(peer).read(&mut buf) {
            Ok(0) => PeerRead::Eof,
            Ok(len) => PeerRead::Data(buf[..len].to_vec()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => PeerRead::Nothing,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                PeerRead::Reset
            }
        }
    }

    fn peer_shutdown(&mut self, peer: usize) {
        self.peer(peer).shutdown(std::net::Shutdown::Write).unwrap();
    }

    fn peer_reset(&mut self, peer: usize) {
        let stream = self.peers[peer].take().unwrap();
        sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
}

conformance!(Kernel::new());

#[test]
fn the_linger_time_of_a_closed_connection_is_a_deadline() {
    let mut bench = Kernel::new();
    let mut app = Notes::default();
    bench.dial().unwrap();
    while app.accepted.is_empty() {
        bench.step(&mut app);
    }
    bench.transport.close(bench.now, app.accepted[0]);
    assert_eq!(bench.transport.next_deadline(), Some(bench.now + LINGER_MAX));
}

#[test]
fn a_second_server_on_the_same_address_is_refused() {
    let bench = Kernel::new();
    let error = bind(bench.addr, 1, 16).unwrap_err();
    assert!(matches!(error, BindError::InUse(addr) if addr == bench.addr), "{error}");
}
