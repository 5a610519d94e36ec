//! A transport over kernel sockets on loopback, and its peers, for the tests of each of them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use coney_base::Instant;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::transport::Transport;
use crate::transport::conformance::{Bench, Notes, PeerRead};

/// The transport on loopback, and peers that are sockets of the standard library.
pub(in super::super) struct Kernel<T> {
    pub(in super::super) transport: T,
    pub(in super::super) now: Instant,
    addr: SocketAddr,
    pub(in super::super) peers: Vec<Option<TcpStream>>,
}

impl<T> Kernel<T> {
    pub(in super::super) fn new(open: impl FnOnce(Vec<OwnedFd>, SocketOptions) -> T) -> Self {
        let listeners = bind((Ipv4Addr::LOCALHOST, 0).into(), 1, 16).unwrap();
        let addr = local_addr(&listeners[0]).unwrap();
        let options = SocketOptions {
            keepalive_idle: Some(Duration::from_secs(300)),
            user_timeout: Some(Duration::from_secs(60)),
        };
        let transport = open(listeners, options);
        Self { transport, addr, now: Instant::from_millis(1), peers: Vec::new() }
    }

    fn peer(&mut self, peer: usize) -> &mut TcpStream {
        self.peers[peer].as_mut().unwrap()
    }
}

impl<T: Transport> Bench for Kernel<T> {
    type T = T;

    fn transport(&mut self) -> &mut T {
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

pub(in super::super) fn the_linger_time_of_a_closed_connection_is_a_deadline<T: Transport>(
    mut bench: Kernel<T>,
) {
    let mut app = Notes::default();
    bench.dial().unwrap();
    while app.accepted.is_empty() {
        bench.step(&mut app);
    }
    bench.transport.close(bench.now, app.accepted[0]);
    assert_eq!(bench.transport.next_deadline(), Some(bench.now + LINGER_MAX));
}

/// A worker sleeps on [`Transport::wait_fd`] only: whatever comes must make it readable.
pub(in super::super) fn who_sleeps_is_woken_by_what_comes<T: Transport>(mut bench: Kernel<T>) {
    const ROUNDS: usize = 1000;
    let mut app = Notes::default();
    let addr = bench.addr;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut peer = TcpStream::connect(addr).unwrap();
            peer.set_nodelay(true).unwrap();
            let mut byte = [0];
            for _ in 0..ROUNDS {
                peer.write_all(b"x").unwrap();
                peer.read_exact(&mut byte).unwrap();
            }
        });
        while app.eof.is_empty() {
            let fd = bench.transport.wait_fd().unwrap();
            let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
            let timeout = Timespec { tv_sec: 20, tv_nsec: 0 };
            assert_eq!(poll(&mut fds, Some(&timeout)), Ok(1), "{app:?}");
            bench.step(&mut app);
            if !app.received.is_empty() {
                app.received.clear();
                bench.transport.send(bench.now, app.accepted[0], b"y");
                bench.transport.flush(bench.now);
            }
        }
    });
}

#[test]
fn a_second_server_on_the_same_address_is_refused() {
    let listeners = bind((Ipv4Addr::LOCALHOST, 0).into(), 1, 16).unwrap();
    let addr = local_addr(&listeners[0]).unwrap();
    let error = bind(addr, 1, 16).unwrap_err();
    assert!(matches!(error, BindError::InUse(taken) if taken == addr), "{error}");
}
