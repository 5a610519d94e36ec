//! The suite of all transports, with peers on a second one of our stacks.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use coney_base::Instant;

use crate::port::sim::{Faults, Link, SimPort, SimPortConfig};
use crate::tcp::config::Config;
use crate::transport::conformance::{Bench, Notes, PeerRead, conformance};
use crate::transport::tcp::TcpTransport;
use crate::transport::{App, CloseReason, ConnId, HELD_BYTES_MAX, Transport};
use crate::wire::Hop;

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 6379);
const PEERS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

struct Stack {
    transport: TcpTransport<SimPort>,
    peer_transport: TcpTransport<SimPort>,
    peer_app: Peers,
    conns: Vec<ConnId>,
    link: Link,
    now: Instant,
}

/// What the peers received and were told.
#[derive(Default)]
struct Peers {
    received: BTreeMap<ConnId, Vec<u8>>,
    eof: BTreeMap<ConnId, ()>,
    ended: BTreeMap<ConnId, CloseReason>,
}

impl App for Peers {
    fn on_accept(&mut self, _conn: ConnId, _peer: SocketAddr, _local: SocketAddr) -> bool {
        true
    }

    fn on_data(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        let received = self.received.entry(conn).or_default();
        received.extend_from_slice(bytes);
        received.len().min(HELD_BYTES_MAX)
    }

    fn on_eof(&mut self, conn: ConnId) {
        self.eof.insert(conn, ());
    }

    fn on_writable(&mut self, _conn: ConnId) {}

    fn on_close(&mut self, conn: ConnId, reason: CloseReason) {
        self.ended.insert(conn, reason);
    }
}

impl Stack {
    fn new() -> Self {
        let port = |mac| SimPort::new(&SimPortConfig { mac, ..SimPortConfig::default() });
        let config = Config { listen: vec![SERVER], ..Config::default() };
        let peer_config = Config { addresses: vec![PEERS], ..Config::default() };
        Self {
            transport: TcpTransport::new(port([2, 0, 0, 0, 0, 1]), config).unwrap(),
            peer_transport: TcpTransport::new(port([2, 0, 0, 0, 0, 2]), peer_config).unwrap(),
            peer_app: Peers::default(),
            conns: Vec::new(),
            link: Link::new(Faults { delay: Duration::from_micros(50), ..Faults::NONE }, 0),
            now: Instant::from_millis(1000),
        }
    }
}

impl Bench for Stack {
    type T = TcpTransport<SimPort>;

    fn transport(&mut self) -> &mut TcpTransport<SimPort> {
        &mut self.transport
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn step(&mut self, app: &mut Notes) {
        self.now = self.now + Duration::from_micros(25);
        self.transport.poll(self.now, app);
        self.transport.flush(self.now);
        self.peer_transport.poll(self.now, &mut self.peer_app);
        self.peer_transport.flush(self.now);
        let (a, b) = (self.transport.port_mut(), self.peer_transport.port_mut());
        self.link.transfer(self.now, a, b);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn dial(&mut self) -> Option<usize> {
        let port = 40_000 + u16::try_from(self.conns.len()).unwrap();
        let hop = Hop { local: [2, 0, 0, 0, 0, 2], remote: [2, 0, 0, 0, 0, 1], vlan: None };
        let local = SocketAddr::new(PEERS, port);
        self.conns.push(self.peer_transport.connect(self.now, local, SERVER, hop).unwrap());
        Some(self.conns.len() - 1)
    }

    fn peer_write(&mut self, peer: usize, bytes: &[u8]) -> usize {
        self.peer_transport.send(self.now, self.conns[peer], bytes)
    }

    fn peer_read(&mut self, peer: usize) -> PeerRead {
        let conn = self.conns[peer];
        if let Some(bytes) = self.peer_app.received.remove(&conn) {
            self.peer_transport.set_held(self.now, conn, 0);
            return PeerRead::Data(bytes);
        }
        if self.peer_app.eof.contains_key(&conn) {
            return PeerRead::Eof;
        }
        match self.peer_app.ended.get(&conn) {
            None => PeerRead::Nothing,
            Some(CloseReason::Reset) => PeerRead::Reset,
            Some(reason) => {
                assert_eq!(*reason, CloseReason::Finished);
                PeerRead::Eof
            }
        }
    }

    fn peer_shutdown(&mut self, peer: usize) {
        self.peer_transport.shutdown(self.conns[peer]);
    }

    fn peer_reset(&mut self, peer: usize) {
        self.peer_transport.abort(self.now, self.conns[peer]);
    }
}

conformance!(Stack::new());
