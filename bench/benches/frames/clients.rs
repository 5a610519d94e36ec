//! Clients of a server that takes frames: they open connections, ask at random, and measure how long
//! the server takes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use coney_base::Instant;
use coney_base::time::Clock;
use coney_datapath::port::sim::Rng;
use coney_datapath::tcp::seq::Seq;
use coney_datapath::wire::tcp::{Flags, Header, Options};
use coney_datapath::wire::{self, Ecn, Hop, Received};

use crate::wire_format::{self, KEYS};

pub(crate) const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 6379);
pub(crate) const SERVER_MAC: [u8; 6] = [2; 6];
pub(crate) const CLIENT_MAC: [u8; 6] = [4; 6];
const HOP: Hop = Hop { local: CLIENT_MAC, remote: SERVER_MAC, vlan: None };
/// Frames that arrive together.
pub(crate) const BURST: usize = 32;
/// Payload of a full segment.
const MSS: u16 = 1460;
/// Connections from one address.
const PORTS: usize = 50_000;
/// How often a request comes.
const INTERVAL: Duration = Duration::from_micros(1);

/// What is measured.
pub(crate) trait Server {
    /// A frame arrives, from the client of that number; it is processed in the next step.
    fn inject(&mut self, client: usize, frame: &[u8]);

    /// Processes what arrived, and transmits.
    fn step(&mut self, now: Instant);

    /// Hands each transmitted frame to `visit`.
    fn take_transmitted(&mut self, visit: &mut dyn FnMut(&[u8]));
}

/// How long a burst took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// From request frames to reply frames.
    pub(crate) requests: Duration,
    /// The acknowledgements of the replies.
    pub(crate) acks: Duration,
}

/// A client: where it sends next, and what it expects next.
#[derive(Clone, Copy, Debug)]
struct Peer {
    seq: Seq,
    ack: Seq,
}

/// Clients, each with one connection to the server.
pub(crate) struct Clients<S> {
    server: S,
    peers: Vec<Peer>,
    rng: Rng,
    clock: Clock,
    /// What time the server is told.
    now: Instant,
    chosen: Vec<usize>,
    frame: Vec<u8>,
    requests: Vec<Vec<u8>>,
    /// Requests that one client sends together.
    pipeline: Vec<u8>,
    /// What each of them is answered with.
    reply: Vec<u8>,
    /// What arrived of replies in several segments.
    received: Vec<u8>,
}

impl<S: Server> Clients<S> {
    /// `count` open connections; values have `len` bytes.
    pub(crate) fn new(server: S, count: usize, len: usize) -> Self {
        let mut clients = Self {
            server,
            peers: Vec::with_capacity(count),
            rng: Rng::new(1),
            clock: Clock::new(),
            now: Instant::from_millis(1000),
            chosen: Vec::with_capacity(BURST),
            frame: vec![0; 2048],
            requests: (0..KEYS).map(wire_format::get).collect(),
            pipeline: Vec::new(),
            reply: wire_format::reply(len),
            received: Vec::new(),
        };
        (0..count).for_each(|at| clients.open(at));
        clients
    }

    fn open(&mut self, at: usize) {
        let seq = Seq(u32::try_from(at).expect("few connections"));
        self.peers.push(Peer { seq, ack: Seq::default() });
        self.inject(at, Flags::SYN, &[]);
        self.step();
        let mut iss = None;
        self.server.take_transmitted(&mut |frame| iss = Some(parse(frame).header.seq));
        self.peers[at] = Peer { seq: seq.plus(1), ack: iss.expect("SYN-ACK").plus(1) };
        self.inject(at, Flags::ACK, &[]);
        self.step();
        self.server.take_transmitted(&mut |_| {});
    }

    fn inject(&mut self, at: usize, flags: Flags, payload: &[u8]) {
        let peer = &mut self.peers[at];
        let network = u8::try_from(at / PORTS).expect("few connections");
        let header = Header {
            src_port: u16::try_from(1024 + at % PORTS).expect("below 65,536"),
            dst_port: SERVER.port(),
            seq: peer.seq,
            ack: peer.ack,
            flags,
            window: u16::MAX,
            options: Options { mss: flags.is_first_syn().then_some(MSS), ..Options::default() },
        };
        peer.seq = peer.seq.plus(u32::try_from(payload.len()).expect("short"));
        let headroom = 128;
        self.frame[headroom..headroom + payload.len()].copy_from_slice(payload);
        let addresses = (IpAddr::V4(Ipv4Addr::new(10, 1, network, 1)), SERVER.ip());
        let len = payload.len();
        let start =
            wire::write(&mut self.frame, headroom, len, &HOP, addresses, &header, Ecn::NotEct)
                .expect("there is room");
        self.server.inject(at, &self.frame[start..headroom + len]);
    }

    /// Returns how long the server took.
    fn step(&mut self) -> Duration {
        let begin = self.clock.now();
        self.server.step(self.now);
        self.clock.now().since(begin)
    }

    /// One client asks, and gets a reply.
    pub(crate) fn ask(&mut self, at: usize, request: &[u8]) {
        for part in request.chunks(MSS.into()) {
            self.inject(at, Flags::ACK | Flags::PSH, part);
            self.step();
            self.now = self.now + INTERVAL;
            if part.as_ptr_range().end != request.as_ptr_range().end {
                self.server.take_transmitted(&mut |_| {});
            }
        }
        let mut len = 0;
        self.server.take_transmitted(&mut |frame| len += parse(frame).payload.len());
        assert!(len > 0, "an answer");
        self.take_reply(at, len);
        self.step();
    }

    fn take_reply(&mut self, at: usize, len: usize) {
        let peer = &mut self.peers[at];
        peer.ack = peer.ack.plus(u32::try_from(len).expect("short"));
        self.inject(at, Flags::ACK, &[]);
    }

    /// Picks distinct clients at random.
    fn choose(&mut self) {
        self.chosen.clear();
        while self.chosen.len() < BURST.min(self.peers.len()) {
            let at = usize::try_from(self.rng.below(self.peers.len() as u64)).expect("an index");
            if !self.chosen.contains(&at) {
                self.chosen.push(at);
            }
        }
    }

    /// A client sends `depth` requests in one segment.
    fn request(&mut self, at: usize, depth: usize) {
        let mut pipeline = std::mem::take(&mut self.pipeline);
        pipeline.clear();
        for _ in 0..depth {
            let key = usize::try_from(self.rng.below(KEYS)).expect("an index");
            pipeline.extend_from_slice(&self.requests[key]);
        }
        assert!(pipeline.len() <= MSS.into(), "one segment");
        self.inject(at, Flags::ACK | Flags::PSH, &pipeline);
        self.pipeline = pipeline;
    }

    /// `depth` requests of each of some clients, whose replies fit into a segment.
    pub(crate) fn burst(&mut self, depth: usize) -> Spent {
        self.choose();
        let chosen = std::mem::take(&mut self.chosen);
        for &at in &chosen {
            self.request(at, depth);
            self.now = self.now + INTERVAL;
        }
        let requests = self.step();
        let mut replies = 0;
        let reply = &self.reply;
        self.server.take_transmitted(&mut |frame| {
            let payload = &frame[parse(frame).payload];
            assert_eq!(payload.len(), depth * reply.len(), "all replies");
            assert!(payload.chunks(reply.len()).all(|one| one == reply), "the value");
            replies += 1;
        });
        assert_eq!(replies, chosen.len(), "each got one segment");
        let len = depth * self.reply.len();
        chosen.iter().for_each(|&at| self.take_reply(at, len));
        let acks = self.step();
        self.chosen = chosen;
        Spent { requests, acks }
    }

    /// A client chosen at random sends `depth` requests, and acknowledges what arrives until it has all
    /// replies.
    pub(crate) fn fetch(&mut self, depth: usize) -> Duration {
        let at = usize::try_from(self.rng.below(self.peers.len() as u64)).expect("an index");
        self.request(at, depth);
        self.received.clear();
        let len = depth * self.reply.len();
        let mut spent = Duration::ZERO;
        loop {
            self.now = self.now + INTERVAL;
            spent += self.step();
            if self.received.len() == len {
                break;
            }
            let before = self.received.len();
            let received = &mut self.received;
            self.server.take_transmitted(&mut |frame| {
                received.extend_from_slice(&frame[parse(frame).payload]);
            });
            let len = self.received.len() - before;
            assert!(len > 0, "more of the replies");
            self.take_reply(at, len);
        }
        assert!(self.received.chunks(self.reply.len()).all(|one| one == self.reply), "the value");
        spent
    }

    /// The first client sends full segments.
    pub(crate) fn bulk(&mut self) -> Duration {
        let payload = [0; MSS as usize];
        for _ in 0..BURST {
            self.inject(0, Flags::ACK, &payload);
            self.now = self.now + INTERVAL;
        }
        let spent = self.step();
        let mut acked = None;
        self.server.take_transmitted(&mut |frame| acked = Some(parse(frame).header.ack));
        assert_eq!(acked, Some(self.peers[0].seq), "everything is acknowledged");
        spent
    }
}

fn parse(frame: &[u8]) -> Received {
    wire::parse(frame, false).expect("a segment")
}
