//! Two of our stacks over a faulty link, many connections, data both ways: what arrives is what was
//! sent, everything ends, nothing leaks. One seed decides everything.
//!
//! Tests run a few seeds; `cargo run --release -p coney-datapath --example simulate` runs as many as
//! are wanted.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use coney_base::Instant;

use crate::port::Port;
use crate::port::sim::{Faults, Link, Rng, SimPort, SimPortConfig};
use crate::tcp::config::Config;
use crate::tcp::congestion::Algorithm;
use crate::tcp::counters::Counters;
use crate::transport::tcp::TcpTransport;
use crate::transport::{App, CloseReason, ConnId, ReplyFrames, Transport};
use crate::wire::Hop;

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 6379);
const CLIENT_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const FIRST_PORT: u16 = 10_000;
/// Length of the repeated text: prime, so that no segment length hides a shift.
const PERIOD: usize = 4099;
const CHUNK_MAX: usize = 16_384;

/// What the two ends of one connection do.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Bytes that the client sends, then the server.
    len: [u64; 2],
    /// The client closes without reading everything.
    early_close: bool,
    /// The client sends FIN as soon as it has sent everything, and goes on reading.
    half_close: bool,
    /// The server aborts after so many received bytes.
    abort_at: Option<u64>,
}

#[derive(Debug)]
struct Stream {
    plan: Plan,
    sent: u64,
    received: u64,
    blocked: bool,
    eof: bool,
    closing: bool,
    established: bool,
}

/// One end of all connections.
struct Side {
    /// 0: client, 1: server.
    role: usize,
    transport: TcpTransport<SimPort>,
    app: SideApp,
}

struct SideApp {
    role: usize,
    plans: Vec<Plan>,
    streams: BTreeMap<ConnId, Stream>,
    /// The repeated text, long enough for a slice of [`CHUNK_MAX`] from any start.
    text: Vec<u8>,
    rng: Rng,
    held_ppm: u32,
    held: Vec<(Instant, ConnId)>,
    /// To whom something happened since the last step: nobody else has anything to do.
    touched: Vec<ConnId>,
    now: Instant,
    /// How connections ended, by plan.
    ended: BTreeMap<u16, CloseReason>,
    ports: BTreeMap<ConnId, u16>,
}

impl SideApp {
    fn open(&mut self, conn: ConnId, port: u16) {
        let plan = self.plans[usize::from(port - FIRST_PORT)];
        let stream = Stream {
            plan,
            sent: 0,
            received: 0,
            blocked: false,
            eof: false,
            closing: false,
            established: self.role == 1,
        };
        assert!(self.streams.insert(conn, stream).is_none(), "an id is unique");
        self.touched.push(conn);
        self.ports.insert(conn, port);
    }

    /// Writes some of the stream into frames at once, and takes some of that back.
    fn write(&mut self, conn: ConnId, frames: &mut dyn ReplyFrames) {
        let small = |value: u64| usize::try_from(value).expect("small enough");
        let stream = self.streams.get_mut(&conn).expect("a known connection");
        for _ in 0..self.rng.below(4) {
            let left = stream.plan.len[self.role] - stream.sent;
            if stream.blocked || left == 0 {
                return;
            }
            let chunk = small(1 + self.rng.below(CHUNK_MAX as u64 - 1).min(left - 1));
            let at = small(stream.sent) % PERIOD;
            let text = &self.text[at..at + chunk];
            let (first, second) = text.split_at(small(self.rng.below(chunk as u64)));
            let mut taken = frames.write(&[first, &[], second]);
            if taken > 0 && self.rng.chance(500_000) {
                let mut read = b"before".to_vec();
                frames.read_back(taken, &mut read);
                assert_eq!(read.strip_prefix(b"before"), Some(&text[..taken]), "as it was written");
                let back = small(1 + self.rng.below(taken as u64));
                frames.take_back(back);
                taken -= back;
            }
            stream.sent += taken as u64;
        }
    }
}

impl App for SideApp {
    fn on_accept(&mut self, conn: ConnId, peer: SocketAddr, _local: SocketAddr) -> bool {
        if self.role == 1 {
            self.open(conn, peer.port());
        } else {
            self.streams.get_mut(&conn).expect("a known connection").established = true;
            self.touched.push(conn);
        }
        true
    }

    fn on_data(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        let stream = self.streams.get_mut(&conn).expect("data of a known connection");
        assert!(!stream.closing, "no data after close");
        assert!(!stream.eof, "no data after the end");
        let at = usize::try_from(stream.received).expect("small enough") % PERIOD;
        assert_eq!(bytes, &self.text[at..at + bytes.len()], "at {}", stream.received);
        stream.received += bytes.len() as u64;
        assert!(stream.received <= stream.plan.len[1 - self.role], "more than was sent");
        self.touched.push(conn);
        if self.rng.chance(self.held_ppm) {
            let pause = Duration::from_micros(self.rng.below(50_000));
            self.held.push((self.now + pause, conn));
            return usize::try_from(self.rng.below(400_000)).expect("small enough");
        }
        0
    }

    fn on_data_with(&mut self, conn: ConnId, bytes: &[u8], frames: &mut dyn ReplyFrames) -> usize {
        let held = self.on_data(conn, bytes);
        if self.rng.chance(500_000) {
            self.write(conn, frames);
        }
        held
    }

    fn on_eof(&mut self, conn: ConnId) {
        let stream = self.streams.get_mut(&conn).expect("a known connection");
        assert!(!stream.eof && !stream.closing, "once, and not after close");
        stream.eof = true;
        stream.blocked = false;
        self.touched.push(conn);
    }

    fn on_writable(&mut self, conn: ConnId) {
        self.streams.get_mut(&conn).expect("a known connection").blocked = false;
        self.touched.push(conn);
    }

    fn on_close(&mut self, conn: ConnId, reason: CloseReason) {
        let stream = self.streams.remove(&conn).expect("closed once");
        let port = self.ports.remove(&conn).expect("a known connection");
        assert!(self.ended.insert(port, reason).is_none(), "ended once");
        let plan = stream.plan;
        if plan.abort_at.is_some() {
            return;
        }
        assert_eq!(reason, CloseReason::Finished, "{stream:?} of port {port}");
        assert_eq!(stream.sent, plan.len[self.role], "{stream:?}");
        if self.role == 1 || !plan.early_close {
            assert_eq!(stream.received, plan.len[1 - self.role], "{stream:?}");
        }
    }
}

impl Side {
    fn new(role: usize, shape: &Shape, plans: &[Plan], rng: &mut Rng) -> Self {
        let port = SimPortConfig {
            mac: if role == 0 { CLIENT_MAC } else { SERVER_MAC },
            mtu_bytes: shape.mtu_bytes,
            tx_frames: shape.tx_frames,
            rx_frames: shape.rx_frames,
            tx_ring: shape.tx_ring,
            completion_flushes: shape.completion_flushes,
            // One side's device adds up the checksums.
            tx_checksum: role == 1,
            ..SimPortConfig::default()
        };
        let mut secret = [0; 16];
        secret[..8].copy_from_slice(&rng.next_u64().to_be_bytes());
        let config = Config {
            listen: if role == 1 { vec![SERVER] } else { Vec::new() },
            addresses: vec![CLIENT_IP],
            secret,
            held_frames_max: shape.rx_frames / 4,
            send_frames_max: shape.send_frames_max,
            reserved_frames: 16,
            fin_wait_2_timeout: Duration::from_secs(3600),
            syn_cache_max: shape.syn_cache_max,
            // Pools are small and losses many; whoever waits shall finish all the same.
            pressure_after: Duration::from_secs(3600),
            orphan_timeout: Duration::from_secs(3600),
            congestion: shape.congestion,
            sack: shape.sack,
            timestamps: shape.timestamps,
            ecn: shape.ecn,
            ..Config::default()
        };
        let text = (0..PERIOD + CHUNK_MAX)
            .map(|at| {
                u8::try_from((at % PERIOD).wrapping_mul(0x9e37_79b9) >> 5 & 0xff)
                    .expect("small enough")
            })
            .collect();
        Self {
            role,
            transport: TcpTransport::new(SimPort::new(&port), config).expect("the port is fit"),
            app: SideApp {
                role,
                plans: plans.to_vec(),
                streams: BTreeMap::new(),
                text,
                rng: Rng::new(rng.next_u64()),
                held_ppm: shape.held_ppm,
                held: Vec::new(),
                touched: Vec::new(),
                now: Instant::ZERO,
                ended: BTreeMap::new(),
                ports: BTreeMap::new(),
            },
        }
    }

    /// One iteration of a worker's loop. Returns how much was done.
    fn step(&mut self, now: Instant) -> usize {
        self.app.now = now;
        let mut work = self.transport.poll(now, &mut self.app);
        let held = std::mem::take(&mut self.app.held);
        for (until, conn) in held {
            if until <= now {
                self.transport.set_held(now, conn, 0);
            } else {
                self.app.held.push((until, conn));
            }
        }
        let mut touched = std::mem::take(&mut self.app.touched);
        touched.dedup();
        for conn in touched.drain(..) {
            work += self.drive(now, conn);
        }
        self.app.touched = touched;
        self.transport.flush(now);
        work
    }

    fn drive(&mut self, now: Instant, conn: ConnId) -> usize {
        let Some(stream) = self.app.streams.get_mut(&conn) else { return 0 };
        if !stream.established || stream.closing {
            return 0;
        }
        let len = stream.plan.len[self.role];
        let mut work = 0;
        while stream.sent < len && !stream.blocked {
            let chunk = 1 + self.app.rng.below(CHUNK_MAX as u64 - 1).min(len - stream.sent - 1);
            let chunk = usize::try_from(chunk).expect("small enough");
            let at = usize::try_from(stream.sent).expect("small enough") % PERIOD;
            let taken = self.transport.send(now, conn, &self.app.text[at..at + chunk]);
            stream.sent += taken as u64;
            stream.blocked = taken < chunk;
            work += 1;
        }
        let aborts = self.role == 1
            && stream.plan.abort_at.is_some_and(|abort_at| stream.received >= abort_at);
        if self.role == 0 && stream.plan.half_close && stream.sent == len {
            self.transport.shutdown(conn);
        }
        let has_all = stream.received == stream.plan.len[1 - self.role];
        if aborts {
            stream.closing = true;
            self.transport.abort(now, conn);
        } else if stream.sent == len && (has_all || (self.role == 0 && stream.plan.early_close)) {
            stream.closing = true;
            self.transport.close(now, conn);
        }
        work
    }

    fn next_deadline(&self) -> Option<Instant> {
        let held = self.app.held.iter().map(|(until, _)| *until).min();
        [self.transport.next_deadline(), held].into_iter().flatten().min()
    }

    fn check(&self) {
        self.transport.check();
        let shared = &self.transport.shared;
        assert!(shared.quota.used() <= shared.config.held_frames_max);
        for (_, tcb) in self.transport.conns.iter() {
            // FIN and a part that fits the window add to what was asked for, and so does cutting
            // segments when full ones get no answer: in two, and each half in two again (1448, 724,
            // then 512 and the rest).
            assert!(tcb.queue.len() <= 4 * shared.config.send_frames_max + 2, "{tcb:?}");
        }
    }
}

/// What a seed decides besides the plans.
#[derive(Debug)]
struct Shape {
    mtu_bytes: usize,
    tx_frames: usize,
    rx_frames: usize,
    tx_ring: usize,
    completion_flushes: u64,
    send_frames_max: usize,
    syn_cache_max: usize,
    held_ppm: u32,
    conns: u16,
    congestion: Algorithm,
    sack: bool,
    timestamps: bool,
    ecn: bool,
    len_max: u64,
    faults: Faults,
}

impl Shape {
    fn new(rng: &mut Rng) -> Self {
        let pick = |rng: &mut Rng, choices: &[usize]| {
            choices[usize::try_from(rng.below(choices.len() as u64)).expect("small enough")]
        };
        let ppm = |rng: &mut Rng, max: u64| {
            // Half of the seeds do not have a given fault.
            if rng.chance(500_000) {
                0
            } else {
                u32::try_from(rng.below(max)).expect("small enough")
            }
        };
        Self {
            mtu_bytes: pick(rng, &[296, 576, 1500, 1500]),
            tx_frames: pick(rng, &[64, 256, 1024, 4096]),
            rx_frames: pick(rng, &[64, 256, 1024]),
            tx_ring: pick(rng, &[4, 32, 256]),
            completion_flushes: rng.below(4),
            send_frames_max: pick(rng, &[2, 16, 64, 256]),
            syn_cache_max: pick(rng, &[64, 1024]),
            held_ppm: ppm(rng, 100_000),
            conns: u16::try_from(pick(rng, &[5, 50, 200])).expect("small enough"),
            congestion: if rng.chance(500_000) { Algorithm::Cubic } else { Algorithm::NewReno },
            sack: rng.chance(750_000),
            timestamps: rng.chance(750_000),
            ecn: rng.chance(750_000),
            len_max: 200_000,
            faults: Faults {
                delay: Duration::from_micros(rng.below(20_000)),
                jitter: Duration::from_micros(rng.below(1000)),
                loss_ppm: ppm(rng, 60_000),
                mark_ppm: ppm(rng, 20_000),
                duplicate_ppm: ppm(rng, 50_000),
                corrupt_ppm: ppm(rng, 20_000),
                reorder_ppm: ppm(rng, 100_000),
                reorder_delay: Duration::from_micros(rng.below(10_000)),
                queue_frames_max: 100_000,
            },
        }
    }
}

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Segments that both sides transmitted.
    pub segments: u64,
    /// Changes with everything that happened.
    pub digest: u64,
    /// Counters of the client and of the server.
    pub counters: [Counters; 2],
}

/// Runs one seed.
///
/// # Panics
/// If an invariant breaks: the seed then shows it again.
pub fn run(seed: u64) -> Outcome {
    let mut rng = Rng::new(seed);
    let shape = Shape::new(&mut rng);
    let plans: Vec<Plan> = (0..shape.conns)
        .map(|_| Plan {
            len: [rng.below(shape.len_max), rng.below(shape.len_max)],
            early_close: rng.chance(50_000),
            half_close: rng.chance(300_000),
            abort_at: rng.chance(30_000).then(|| rng.below(50_000)),
        })
        .collect();
    let mut client = Side::new(0, &shape, &plans, &mut rng);
    let mut server = Side::new(1, &shape, &plans, &mut rng);
    let mut link = Link::new(shape.faults, rng.next_u64());
    let mut now = Instant::from_millis(rng.below(100_000_000));
    let mut opened = 0;
    let mut iterations = 0_u64;
    loop {
        while opened < shape.conns && rng.chance(300_000) {
            let port = FIRST_PORT + opened;
            let hop = Hop { local: CLIENT_MAC, remote: SERVER_MAC, vlan: None };
            let local = SocketAddr::new(CLIENT_IP, port);
            let conn = client.transport.connect(now, local, SERVER, hop).expect("a new flow");
            client.app.open(conn, port);
            opened += 1;
        }
        let work = client.step(now) + server.step(now);
        link.transfer(now, client.transport.port_mut(), server.transport.port_mut());
        iterations += 1;
        if iterations.is_multiple_of(256) {
            client.check();
            server.check();
        }
        let is_idle = client.app.streams.is_empty() && server.app.streams.is_empty();
        if opened == shape.conns && is_idle && client.app.ended.len() == plans.len() {
            break;
        }
        let next = [client.next_deadline(), server.next_deadline(), link.next_arrival()];
        let soon = now + Duration::from_micros(5);
        now = match next.into_iter().flatten().min() {
            Some(next) if work == 0 && opened == shape.conns => soon.max(next),
            _ => soon,
        };
        assert!(iterations < 20_000_000, "no end: {shape:?}");
    }
    drain(now, &mut client, &mut server, &mut link);
    let counters = [client.transport.tcp_counters(), server.transport.tcp_counters()];
    let segments: u64 = counters.iter().map(|counters| counters.tx_segments).sum();
    let digest = counters.iter().fold(iterations, |digest, counters| {
        let mut digest = digest;
        counters.visit(&mut |_, value| {
            digest = digest.wrapping_mul(0x100_0000_01b3).wrapping_add(value);
        });
        digest
    });
    let counters = counters.map(Clone::clone);
    Outcome { segments, digest, counters }
}

/// After the last connection TIME-WAIT and frames on their way remain; then nothing does.
fn drain(mut now: Instant, client: &mut Side, server: &mut Side, link: &mut Link) {
    for _ in 0..400 {
        now = now + Duration::from_secs(1);
        client.step(now);
        server.step(now);
        link.transfer(now, client.transport.port_mut(), server.transport.port_mut());
    }
    for side in [client, server] {
        let transport = &side.transport;
        assert_eq!(transport.conn_count(), 0);
        assert_eq!(transport.half_open_and_time_wait(), (0, 0));
        assert_eq!(transport.shared.quota.used(), 0);
        assert!(transport.port().is_quiescent(), "frames leaked: {transport:?}");
        assert_eq!(transport.port().tx_available(), transport.port().caps().tx_frames_max);
    }
}
