//! Hostile peers that send segments near what would be right, while the application and the clock
//! do this and that.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use coney_base::Instant;

use super::replies::{Replies, low_byte};
use crate::port::Port;
use crate::port::sim::{SimPort, SimPortConfig};
use crate::tcp::config::Config;
use crate::tcp::congestion::Algorithm;
use crate::tcp::seq::Seq;
use crate::transport::tcp::TcpTransport;
use crate::transport::{App, CloseReason, ConnId, ReplyFrames, Transport};
use crate::wire::tcp::{Flags, Header, Options, Timestamps};
use crate::wire::{self, HEADERS_LEN_MAX, Hop, Received};

const OURS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 6379);
const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEERS: usize = 4;
const PEER_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const PEER_PORT: u16 = 40_000;
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// Frames that one received segment may make us send beyond what the application queued: an
/// acknowledgement at once, one with the flush, and a retransmission.
const ANSWERS_MAX: usize = 3;
/// Frames that arrive in one burst at most.
const BURST_MAX: usize = 24;
/// Longer than any connection lives whose peer is silent.
const SILENCE: Duration = Duration::from_secs(4000);
/// Steps that this silence takes at most.
const SILENT_STEPS_MAX: usize = 20_000;

/// The target `segments`. The first byte chooses settings; eight bytes make one event.
///
/// Bytes that we receive and send are a function of their position, so that a wrong one is seen.
///
/// # Panics
/// If an invariant of a connection breaks, a byte is wrong or out of order, a segment provokes a
/// flood, a connection outlives a silent peer, or frames leak.
pub fn segments(data: &[u8]) {
    let Some((&settings, events)) = data.split_first() else { return };
    let port = SimPortConfig {
        // Few enough in one setting that connections take each other's.
        tx_frames: if settings % 4 == 3 { 28 } else { 64 },
        rx_frames: 64,
        tx_ring: 8,
        completion_flushes: u64::from(settings % 4),
        ..SimPortConfig::default()
    };
    let config = Config {
        listen: vec![OURS],
        addresses: vec![OURS.ip()],
        send_frames_max: 16,
        conns_max: 3,
        syn_cache_max: 2,
        time_wait_max: 1,
        orphans_max: 2,
        reserved_frames: 8,
        // While no frame is free the transport tries again five times a millisecond.
        pressure_after: Duration::from_millis(500),
        syn_cookies: settings & 4 == 0,
        sack: settings & 8 == 0,
        timestamps: settings & 16 == 0,
        congestion: if settings & 32 == 0 { Algorithm::Cubic } else { Algorithm::NewReno },
        user_timeout: (settings & 64 != 0).then_some(Duration::from_secs(5)),
        held_frames_max: if settings & 128 == 0 { 512 } else { 3 },
        ..Config::default()
    };
    let transport = TcpTransport::new(SimPort::new(&port), config).expect("the port is large");
    let mut bench = Bench {
        transport,
        app: Greedy::default(),
        now: Instant::from_millis(1000),
        peers: [Peer::default(); PEERS],
        injected: 0,
        asked: 0,
        put_off: 0,
    };
    for event in events.chunks_exact(8) {
        if let &[kind, flags, a, b, c, d, len, window] = event {
            bench.event(kind, flags, [a, b, c, d], len, window);
        }
    }
    bench.end();
}

/// Takes everything, answers by a script, and notes who is there.
#[derive(Default)]
struct Greedy {
    conns: BTreeMap<ConnId, Stream>,
    /// What it does whenever something arrives; see [`Replies::answer`].
    script: [u8; 6],
    accepted: usize,
    held: usize,
}

/// A connection as its application sees it.
#[derive(Default)]
struct Stream {
    /// The last byte that arrived: the next is one more.
    last: Option<u8>,
    is_ended: bool,
    replies: Replies,
}

impl App for Greedy {
    fn on_accept(&mut self, conn: ConnId, _peer: SocketAddr, _local: SocketAddr) -> bool {
        self.accepted += 1;
        // One that was opened actively is known already.
        let known = self.conns.remove(&conn).unwrap_or_default();
        let accept = self.accepted % 8 != 7;
        if accept {
            self.conns.insert(conn, known);
        }
        accept
    }

    fn on_data(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        let stream = self.conns.get_mut(&conn).expect("data of a connection");
        assert!(!bytes.is_empty() && !stream.is_ended, "data before the end");
        for &byte in bytes {
            assert!(stream.last.is_none_or(|last| byte == last.wrapping_add(1)), "a byte is wrong");
            stream.last = Some(byte);
        }
        self.held
    }

    fn on_data_with(&mut self, conn: ConnId, bytes: &[u8], frames: &mut dyn ReplyFrames) -> usize {
        let held = self.on_data(conn, bytes);
        if let Some(stream) = self.conns.get_mut(&conn) {
            stream.replies.answer(frames, &self.script);
        }
        held
    }

    fn on_eof(&mut self, conn: ConnId) {
        if let Some(stream) = self.conns.get_mut(&conn) {
            assert!(!stream.is_ended, "ended once");
            stream.is_ended = true;
        }
    }

    fn on_writable(&mut self, conn: ConnId) {
        let stream = self.conns.get_mut(&conn).expect("of a connection");
        stream.replies.on_writable();
    }

    fn on_close(&mut self, conn: ConnId, _reason: CloseReason) {
        assert!(self.conns.remove(&conn).is_some(), "closed once");
    }
}

/// What a peer would do if it behaved.
#[derive(Clone, Copy, Default)]
struct Peer {
    /// Where it goes on sending.
    nxt: Seq,
    /// What it acknowledges: all that we sent.
    una: Seq,
    /// Our initial sequence numbers: of the last SYN that we sent, and of the one before. A second SYN of
    /// the peer is answered with a cookie, and then either handshake may be finished.
    iss: [Seq; 2],
    /// The timestamp that it echoes.
    timestamp: u32,
}

struct Bench {
    transport: TcpTransport<SimPort>,
    app: Greedy,
    now: Instant,
    peers: [Peer; PEERS],
    /// Frames that wait for the next step.
    injected: usize,
    /// What the application asked for since the last step, each good for a frame: a SYN, FIN or RST, or
    /// a window that opens.
    asked: usize,
    /// Answers that found no frame or no room in the ring and may come later.
    put_off: usize,
}

impl Bench {
    /// `kind`: what happens, to whom, and whether more comes in the same burst.
    fn event(&mut self, kind: u8, flags: u8, field: [u8; 4], len: u8, window: u8) {
        let value = u32::from_be_bytes(field);
        let who = usize::from(kind >> 4) % PEERS;
        match kind % 16 {
            0 if flags.is_multiple_of(2) => {
                self.advance(self.now + Duration::from_millis(u64::from(value % 100_000)));
            }
            // At once, so that late timers meet.
            0 => self.now = self.now + Duration::from_millis(u64::from(value % 100_000)),
            1 => {
                if let Some(conn) = self.conn(who) {
                    let replies = &mut self.app.conns.entry(conn).or_default().replies;
                    replies.send(self.now, conn, &mut self.transport, usize::from(len) * 16);
                }
            }
            2 => {
                if let Some(conn) = self.conn(who) {
                    self.asked += 1;
                    if flags.is_multiple_of(2) {
                        self.transport.close(self.now, conn);
                    } else {
                        self.transport.shutdown(conn);
                    }
                }
            }
            3 if len < 32 => {
                if let Some(conn) = self.conn(who) {
                    self.asked += 1;
                    self.transport.abort(self.now, conn);
                }
            }
            3 if len >= 192 => {
                self.app.script = [flags, field[0], field[1], field[2], field[3], window];
            }
            4 => {
                self.app.held = usize::from(len) * 2000;
                for &conn in self.app.conns.keys() {
                    self.asked += 1;
                    self.transport.set_held(self.now, conn, self.app.held);
                }
            }
            5 if len < 16 => {
                let hop = Hop { local: OUR_MAC, remote: PEER_MAC, vlan: None };
                if let Ok(conn) = self.transport.connect(self.now, OURS, address(who), hop) {
                    self.app.conns.insert(conn, Stream::default());
                    self.asked += 1;
                }
            }
            5 if len > 192 => self.too_big(who, value % 4096, u32::from(window) * 8),
            6 => self.inject(who, Flags::SYN, 0, 0, len, window, field),
            7 => self.inject(who, Flags::ACK, 0, 0, len, window, field),
            8 => self.inject(who, Flags::ACK | Flags::FIN, 0, 0, len, window, field),
            9..=11 => {
                self.inject(who, Flags(flags) | Flags::ACK, value % 4096, 0, len, window, field);
            }
            12 | 13 => self.inject(who, Flags(flags), 0, value % 4096, len, window, field),
            _ => {
                let ack_skew = value.rotate_left(16);
                self.inject(who, Flags(flags), value, ack_skew, len, window, field);
            }
        }
        if kind & 0x80 == 0 || self.injected >= BURST_MAX {
            self.step();
        }
    }

    /// One of the application's connections.
    fn conn(&self, which: usize) -> Option<ConnId> {
        let count = self.app.conns.len().max(1);
        self.app.conns.keys().nth(which % count).copied()
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of an event and two choices of it")]
    fn inject(
        &mut self,
        who: usize,
        flags: Flags,
        skew: u32,
        ack_skew: u32,
        len: u8,
        window: u8,
        field: [u8; 4],
    ) {
        let len = usize::from(len) * 5;
        // Half of the skews point back.
        let shift = |seq: Seq, skew: u32| {
            if skew.is_multiple_of(2) { seq.plus(skew) } else { seq.minus(skew) }
        };
        let peer = &mut self.peers[who];
        let mut options = Options::default();
        if window.is_multiple_of(2) {
            let value = u32::try_from(self.now.as_millis() % 1_000_000).unwrap_or(0);
            let echo = peer.timestamp.wrapping_sub(u32::from(field[2]) / 128);
            options.timestamps = Some(Timestamps { value: value + u32::from(field[3] % 8), echo });
        }
        if flags.has(Flags::SYN) {
            options.mss = Some(u16::from_be_bytes([field[0] % 8, field[1]]));
            options.window_scale = (field[2].is_multiple_of(2)).then_some(field[2] / 8);
            options.sack_permitted = field[3].is_multiple_of(2);
        } else if !field[1].is_multiple_of(3) {
            // Reports of what was sent, of what was acknowledged, and nonsense.
            for unit in [16, 100] {
                let start = peer.una.minus(u32::from(field[2]) * unit);
                options.sack.push(start, start.plus(u32::from(field[3] / 4) * unit));
            }
        }
        let header = Header {
            src_port: port(who),
            dst_port: OURS.port(),
            seq: shift(peer.nxt, skew),
            ack: shift(peer.una, ack_skew),
            flags,
            window: u16::from(window) * 64,
            options,
        };
        if skew == 0 {
            let len = u32::try_from(len).unwrap_or(0);
            peer.nxt = header.seq.plus(header.seq_len(len));
        }
        let first = u64::from(header.seq.0) + u64::from(flags.has(Flags::SYN));
        let mut frame = vec![0; HEADERS_LEN_MAX];
        frame.extend((first..).take(len).map(low_byte));
        let hop = Hop { local: PEER_MAC, remote: OUR_MAC, vlan: None };
        let addresses = (PEER_IP, OURS.ip());
        let ecn = if window % 4 == 1 { wire::Ecn::Ce } else { wire::Ecn::Ect0 };
        let start = wire::write(&mut frame, HEADERS_LEN_MAX, len, &hop, addresses, &header, ecn);
        let start = start.expect("the header is small");
        // A pool that is empty because frames are held is no failure.
        self.transport.port_mut().inject(frame.get(start..).unwrap_or_default());
        self.injected += 1;
    }

    /// A router says that a segment `back` before the last was too big.
    fn too_big(&mut self, who: usize, back: u32, mtu_bytes: u32) {
        let header = Header {
            src_port: OURS.port(),
            dst_port: port(who),
            seq: self.peers[who].una.minus(back),
            ..Header::default()
        };
        let mut frame = vec![0; HEADERS_LEN_MAX];
        let hop = Hop { local: PEER_MAC, remote: PEER_MAC, vlan: None };
        let addresses = (OURS.ip(), PEER_IP);
        let ecn = wire::Ecn::NotEct;
        let start = wire::write(&mut frame, HEADERS_LEN_MAX, 0, &hop, addresses, &header, ecn);
        let packet_at = start.expect("the header is small") + wire::ethernet::HEADER_LEN;
        let packet = frame.get(packet_at..).unwrap_or_default();
        let quoted = wire::quoted::Quoted::parse(packet).expect("it is a segment");
        self.transport.on_packet_too_big(self.now, &wire::icmp::TooBig { quoted, mtu_bytes });
    }

    /// Time goes by; timers run when they are due. Returns the steps that it took.
    fn advance(&mut self, to: Instant) -> usize {
        let mut steps = 0;
        while let Some(deadline) = self.transport.next_deadline().filter(|at| *at <= to) {
            self.now = self.now.max(deadline);
            self.step();
            steps += 1;
            assert!(steps < SILENT_STEPS_MAX, "the transport never rests");
        }
        self.now = self.now.max(to);
        steps
    }

    fn step(&mut self) {
        let counters = self.transport.tcp_counters().clone();
        self.transport.poll(self.now, &mut self.app);
        for (&conn, stream) in &mut self.app.conns {
            let closed = stream.replies.finish(self.now, conn, &mut self.transport);
            self.asked += usize::from(closed);
        }
        self.transport.flush(self.now);
        self.transport.check();
        let mut without_payload = 0;
        for frame in self.transport.port_mut().take_transmitted() {
            let sent = wire::parse(&frame, false).expect("what we send is right");
            without_payload += usize::from(sent.payload.is_empty());
            let bytes = frame.get(sent.payload.clone()).unwrap_or_default();
            self.note_sent(&sent, bytes);
        }
        let now = self.transport.tcp_counters();
        let timers = (now.rtos - counters.rtos)
            + (now.tail_probes - counters.tail_probes)
            + (now.keepalive_probes - counters.keepalive_probes)
            + (now.zero_window_probes - counters.zero_window_probes)
            + (now.delayed_acks - counters.delayed_acks)
            + (now.timeouts - counters.timeouts)
            + (now.syn_ack_retransmits - counters.syn_ack_retransmits);
        let timers = usize::try_from(timers).unwrap_or(usize::MAX);
        let allowed = ANSWERS_MAX * self.injected.max(1) + self.asked + timers + self.put_off;
        assert!(without_payload <= allowed, "{without_payload} answers to {}", self.injected);
        let is_pushed_back =
            now.no_tx_frame > counters.no_tx_frame || now.tx_ring_full > counters.tx_ring_full;
        self.put_off = if is_pushed_back { allowed - without_payload } else { 0 };
        (self.injected, self.asked) = (0, 0);
    }

    fn note_sent(&mut self, sent: &Received, bytes: &[u8]) {
        let header = &sent.header;
        let peer = &mut self.peers[usize::from(header.dst_port - PEER_PORT)];
        if header.flags.has(Flags::SYN) && header.seq != peer.iss[0] {
            peer.iss = [header.seq, peer.iss[0]];
        }
        let is_right = peer.iss.iter().any(|iss| {
            let first = u64::from(header.seq.0.wrapping_sub(iss.0).wrapping_sub(1));
            (first..).zip(bytes).all(|(position, byte)| *byte == low_byte(position))
        });
        assert!(is_right, "bytes that we send");
        let len = u32::try_from(bytes.len()).unwrap_or(0);
        peer.una = header.seq.plus(header.seq_len(len));
        if header.flags.has(Flags::ACK) {
            peer.nxt = header.ack;
        }
        if let Some(timestamps) = header.options.timestamps {
            peer.timestamp = timestamps.value;
        }
    }

    /// Silence: everything must end, and every frame come back.
    fn end(mut self) {
        self.step();
        self.advance(self.now + SILENCE);
        for conn in self.app.conns.keys().copied().collect::<Vec<_>>() {
            self.transport.abort(self.now, conn);
        }
        (0..10).for_each(|_| self.step());
        assert!(self.app.conns.is_empty());
        assert_eq!(self.transport.conn_count(), 0);
        assert_eq!(self.transport.half_open_and_time_wait(), (0, 0));
        let port = self.transport.port();
        assert!(port.is_quiescent(), "frames leaked: {} free", port.tx_available());
    }
}

fn port(who: usize) -> u16 {
    PEER_PORT + u16::try_from(who).expect("there are few peers")
}

fn address(who: usize) -> SocketAddr {
    SocketAddr::new(PEER_IP, port(who))
}
