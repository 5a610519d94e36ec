//! Our TCP from a received request frame to the transmitted reply frame, over the in-memory port, by
//! the number of open connections that requests come from at random. What grows with their number is
//! the cost of cache misses.
//!
//! `cargo bench -p coney-bench --bench tcp`

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use coney_base::Instant;
use coney_base::time::Clock;
use coney_datapath::port::sim::{Rng, SimPort, SimPortConfig};
use coney_datapath::tcp::config::Config;
use coney_datapath::tcp::seq::Seq;
use coney_datapath::transport::tcp::TcpTransport;
use coney_datapath::transport::{App, CloseReason, ConnId, Transport};
use coney_datapath::wire::tcp::{Flags, Header};
use coney_datapath::wire::{self, Ecn, Hop};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 6379);
const HOP: Hop = Hop { local: [2; 6], remote: [4; 6], vlan: None };
const REQUEST: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const REPLY: &[u8] = b"+PONG\r\n";
/// Requests that arrive together.
const BURST: usize = 32;
const PORTS: usize = 50_000;

/// Notes who asked.
#[derive(Default)]
struct Echo {
    asked: Vec<ConnId>,
}

impl App for Echo {
    fn on_accept(&mut self, _conn: ConnId, _peer: SocketAddr, _local: SocketAddr) -> bool {
        true
    }

    fn on_data(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        black_box(bytes);
        self.asked.push(conn);
        0
    }

    fn on_eof(&mut self, _conn: ConnId) {}

    fn on_writable(&mut self, _conn: ConnId) {}

    fn on_close(&mut self, _conn: ConnId, _reason: CloseReason) {}
}

/// A client: where it sends next, and what it expects next.
#[derive(Clone, Copy)]
struct Peer {
    seq: Seq,
    ack: Seq,
}

struct Bench {
    transport: TcpTransport<SimPort>,
    app: Echo,
    peers: Vec<Peer>,
    rng: Rng,
    chosen: Vec<usize>,
    now: Instant,
    frame: Vec<u8>,
}

impl Bench {
    fn new(conns: usize) -> Self {
        let config =
            Config { listen: vec![SERVER], conns_max: conns, secret: [3; 16], ..Config::default() };
        let port = SimPort::new(&SimPortConfig::default());
        let mut bench = Self {
            transport: TcpTransport::new(port, config).expect("the port is fit"),
            app: Echo::default(),
            peers: Vec::with_capacity(conns),
            rng: Rng::new(1),
            chosen: Vec::with_capacity(BURST),
            now: Instant::from_millis(1000),
            frame: vec![0; 256],
        };
        for at in 0..conns {
            bench.open(at);
        }
        assert_eq!(bench.transport.conn_count(), conns);
        bench
    }

    fn open(&mut self, at: usize) {
        let seq = Seq(u32::try_from(at).expect("few connections"));
        self.peers.push(Peer { seq, ack: Seq::default() });
        self.inject(at, Flags::SYN, &[]);
        self.transport.poll(self.now, &mut self.app);
        self.transport.flush(self.now);
        let answer = self.transport.port_mut().take_transmitted().pop().expect("SYN-ACK");
        let answer = wire::parse(&answer, false).expect("it parses");
        self.peers[at] = Peer { seq: seq.plus(1), ack: answer.header.seq.plus(1) };
        self.inject(at, Flags::ACK, &[]);
        self.transport.poll(self.now, &mut self.app);
        self.transport.flush(self.now);
    }

    fn inject(&mut self, at: usize, flags: Flags, payload: &[u8]) {
        let peer = self.peers[at];
        let network = u8::try_from(at / PORTS).expect("few connections");
        let header = Header {
            src_port: u16::try_from(1024 + at % PORTS).expect("below 65,536"),
            dst_port: SERVER.port(),
            seq: peer.seq,
            ack: peer.ack,
            flags,
            window: 60_000,
            ..Header::default()
        };
        self.frame.truncate(128);
        self.frame.extend_from_slice(payload);
        let addresses = (IpAddr::V4(Ipv4Addr::new(10, 1, network, 1)), SERVER.ip());
        let len = payload.len();
        let start = wire::write(&mut self.frame, 128, len, &HOP, addresses, &header, Ecn::NotEct)
            .expect("there is room");
        assert!(self.transport.port_mut().inject(&self.frame[start..]));
    }

    /// Picks distinct clients at random and returns how many.
    fn choose(&mut self) -> usize {
        let burst = BURST.min(self.peers.len());
        self.chosen.clear();
        while self.chosen.len() < burst {
            let at = usize::try_from(self.rng.below(self.peers.len() as u64)).expect("an index");
            if !self.chosen.contains(&at) {
                self.chosen.push(at);
            }
        }
        burst
    }

    /// One burst of requests of random clients; returns the time from frames to frames.
    fn burst(&mut self) -> Duration {
        let burst = self.choose();
        for at in 0..burst {
            self.inject(self.chosen[at], Flags::ACK | Flags::PSH, REQUEST);
        }
        self.now = self.now + Duration::from_nanos(10);
        let clock = Clock::new();
        let begin = clock.now();
        self.transport.poll(self.now, &mut self.app);
        for conn in self.app.asked.drain(..) {
            let taken = self.transport.send(self.now, conn, REPLY);
            assert_eq!(taken, REPLY.len());
        }
        self.transport.flush(self.now);
        let elapsed = clock.now().since(begin);
        assert_eq!(self.transport.port_mut().take_transmitted().len(), burst);
        for at in 0..burst {
            let at = self.chosen[at];
            let peer = &mut self.peers[at];
            peer.seq = peer.seq.plus(u32::try_from(REQUEST.len()).expect("short"));
            peer.ack = peer.ack.plus(u32::try_from(REPLY.len()).expect("short"));
            self.inject(at, Flags::ACK, &[]);
        }
        self.transport.poll(self.now, &mut self.app);
        self.transport.flush(self.now);
        elapsed
    }
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tcp_request_to_reply");
    for conns in [10, 1000, 10_000, 100_000] {
        let mut bench = Bench::new(conns);
        let burst = BURST.min(conns) as u64;
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(conns), |bencher| {
            bencher.iter_custom(|requests| {
                let bursts = requests.div_ceil(burst);
                let spent: Duration = (0..bursts).map(|_| bench.burst()).sum();
                // Per request, whatever the burst.
                spent.mul_f64(requests as f64 / (bursts * burst) as f64)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
