//! Bodies of the fuzz targets for this crate; `cargo test` runs them too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use coney_base::Instant;

use crate::port::Port;
use crate::port::sim::{SimPort, SimPortConfig};
use crate::tcp::config::Config;
use crate::tcp::seq::Seq;
use crate::transport::tcp::TcpTransport;
use crate::transport::{App, CloseReason, ConnId, Transport};
use crate::wire::tcp::{Flags, Header, Options, Timestamps};
use crate::wire::{self, HEADERS_LEN_MAX, Hop};

/// The target `wire_frame`: any bytes as a frame. What parses is written and must parse to the
/// same.
///
/// # Panics
/// If it does not.
pub fn wire_frame(data: &[u8]) {
    // A frame that was not damaged is rare, so the partial checksum does not matter here.
    let Ok(received) = wire::parse(data, false) else { return };
    let payload = data.get(received.payload.clone()).expect("the parser checked the range");
    // Up to three SACK blocks fit with all else; a longer list is cut by whoever sends.
    if received.header.options.len() > wire::tcp::OPTIONS_LEN_MAX {
        return;
    }
    let mut frame = vec![0; HEADERS_LEN_MAX];
    frame.extend_from_slice(payload);
    let addresses = (received.src, received.dst);
    let len = payload.len();
    let start = wire::write(
        &mut frame,
        HEADERS_LEN_MAX,
        len,
        &received.hop,
        addresses,
        &received.header,
        received.ecn,
    )
    .expect("what was received can be sent");
    let again = wire::parse(frame.get(start..).unwrap_or_default(), false);
    let again = again.expect("what was written parses");
    assert_eq!((again.header, again.src, again.dst), (received.header, received.src, received.dst));
}

const OURS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 6379);
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 40_000);
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// Frames that one received segment may make us send beyond what the application queued: an
/// acknowledgement at once, one with the flush, and a retransmission.
const ANSWERS_MAX: usize = 3;

/// The target `tcp_segments`: a hostile peer sends segments near what would be right, the
/// application and the clock do this and that. Eight bytes of `data` make one event.
///
/// # Panics
/// If an invariant of a connection breaks, a segment provokes a flood, or frames leak.
pub fn tcp_segments(data: &[u8]) {
    let port = SimPortConfig {
        tx_frames: 64,
        rx_frames: 64,
        tx_ring: 8,
        completion_flushes: u64::from(data.first().copied().unwrap_or(0) % 4),
        ..SimPortConfig::default()
    };
    let config = Config {
        listen: vec![OURS],
        addresses: vec![OURS.ip()],
        send_frames_max: 16,
        syn_cache_max: 2,
        time_wait_max: 1,
        reserved_frames: 8,
        ..Config::default()
    };
    let transport = TcpTransport::new(SimPort::new(&port), config).expect("the port is large");
    let mut bench = Bench {
        transport,
        app: Greedy::default(),
        now: Instant::from_millis(1000),
        nxt: Seq(u32::MAX - 5),
        una: Seq::default(),
        adv: Seq::default(),
        bytes_queued: 0,
    };
    for event in data.chunks_exact(8) {
        if let &[kind, flags, a, b, c, d, len, window] = event {
            bench.event(kind, flags, [a, b, c, d], len, window);
        }
    }
    bench.end();
}

/// Takes everything, and notes who is there.
#[derive(Default)]
struct Greedy {
    conns: Vec<ConnId>,
    accepted: usize,
    held: usize,
}

impl App for Greedy {
    fn on_accept(&mut self, conn: ConnId, _peer: SocketAddr, _local: SocketAddr) -> bool {
        self.accepted += 1;
        // One that was opened actively is known already.
        self.conns.retain(|other| *other != conn);
        let accept = self.accepted % 8 != 7;
        self.conns.extend(accept.then_some(conn));
        accept
    }

    fn on_data(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        assert!(self.conns.contains(&conn) && !bytes.is_empty(), "data of a connection");
        self.held
    }

    fn on_eof(&mut self, _conn: ConnId) {}

    fn on_writable(&mut self, _conn: ConnId) {}

    fn on_close(&mut self, conn: ConnId, _reason: CloseReason) {
        let before = self.conns.len();
        self.conns.retain(|other| *other != conn);
        assert_eq!(self.conns.len() + 1, before, "closed once");
    }
}

struct Bench {
    transport: TcpTransport<SimPort>,
    app: Greedy,
    now: Instant,
    /// Where the peer goes on sending if it behaves.
    nxt: Seq,
    /// What it acknowledges if it behaves, and where our window ends: from what we sent.
    una: Seq,
    adv: Seq,
    bytes_queued: usize,
}

impl Bench {
    fn event(&mut self, kind: u8, flags: u8, field: [u8; 4], len: u8, window: u8) {
        let value = u32::from_be_bytes(field);
        match kind % 16 {
            0 => self.now = self.now + Duration::from_millis(u64::from(value % 100_000)),
            1 => {
                if let Some(&conn) = self.app.conns.first() {
                    let bytes = vec![7; usize::from(len) * 16];
                    self.bytes_queued += self.transport.send(self.now, conn, &bytes);
                }
            }
            2 => {
                if let Some(&conn) = self.app.conns.last() {
                    self.transport.close(self.now, conn);
                }
            }
            3 if len < 32 => {
                if let Some(conn) = self.app.conns.first().copied() {
                    self.transport.abort(self.now, conn);
                }
            }
            4 => {
                self.app.held = usize::from(len) * 2000;
                for conn in self.app.conns.clone() {
                    self.transport.set_held(self.now, conn, self.app.held);
                }
            }
            5 if len < 16 => {
                let hop = Hop { local: [2, 0, 0, 0, 0, 1], remote: PEER_MAC, vlan: None };
                if let Ok(conn) = self.transport.connect(self.now, OURS, PEER, hop) {
                    self.app.conns.push(conn);
                }
            }
            5 if len > 192 => self.too_big(value % 4096, u32::from(window) * 8),
            6 => self.inject(Flags::SYN, 0, 0, len, window, field),
            7 => self.inject(Flags::ACK, 0, 0, len, window, field),
            8 => self.inject(Flags::ACK | Flags::FIN, 0, 0, len, window, field),
            9..=11 => self.inject(Flags(flags) | Flags::ACK, value % 4096, 0, len, window, field),
            12 | 13 => self.inject(Flags(flags), 0, value % 4096, len, window, field),
            _ => self.inject(Flags(flags), value, value.rotate_left(16), len, window, field),
        }
        self.step();
    }

    fn inject(
        &mut self,
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
        let mut options = Options::default();
        if window.is_multiple_of(2) {
            let value = u32::try_from(self.now.as_millis() % 1_000_000).unwrap_or(0);
            options.timestamps =
                Some(Timestamps { value: value + u32::from(field[3]), echo: value });
        }
        if flags.has(Flags::SYN) {
            options.mss = Some(u16::from_be_bytes([field[0] % 8, field[1]]));
            options.window_scale = (field[2].is_multiple_of(2)).then_some(field[2] / 8);
            options.sack_permitted = field[3].is_multiple_of(2);
        } else if !field[1].is_multiple_of(3) {
            // Reports of what was sent, of what was acknowledged, and nonsense.
            for unit in [16, 100] {
                let start = self.una.minus(u32::from(field[2]) * unit);
                options.sack.push(start, start.plus(u32::from(field[3] / 4) * unit));
            }
        }
        let header = Header {
            src_port: PEER.port() + u16::from(field[0] == 1),
            dst_port: OURS.port(),
            seq: shift(self.nxt, skew),
            ack: shift(self.una, ack_skew),
            flags,
            window: u16::from(window) * 64,
            options,
        };
        if skew == 0 {
            let len = u32::try_from(len).unwrap_or(0);
            self.nxt = header.seq.plus(header.seq_len(len));
        }
        let mut frame = vec![0; HEADERS_LEN_MAX + len];
        let hop = Hop { local: PEER_MAC, remote: [2, 0, 0, 0, 0, 1], vlan: None };
        let addresses = (PEER.ip(), OURS.ip());
        let start = wire::write(
            &mut frame,
            HEADERS_LEN_MAX,
            len,
            &hop,
            addresses,
            &header,
            if window % 4 == 1 { wire::Ecn::Ce } else { wire::Ecn::Ect0 },
        );
        let start = start.expect("the header is small");
        // A pool that is empty because frames are held is no failure.
        self.transport.port_mut().inject(frame.get(start..).unwrap_or_default());
    }

    /// A router says that a segment `back` before the last was too big.
    fn too_big(&mut self, back: u32, mtu: u32) {
        let header = Header {
            src_port: OURS.port(),
            dst_port: PEER.port(),
            seq: self.una.minus(back),
            ..Header::default()
        };
        let mut frame = vec![0; HEADERS_LEN_MAX];
        let hop = Hop { local: PEER_MAC, remote: PEER_MAC, vlan: None };
        let addresses = (OURS.ip(), PEER.ip());
        let ecn = wire::Ecn::NotEct;
        let start = wire::write(&mut frame, HEADERS_LEN_MAX, 0, &hop, addresses, &header, ecn);
        let packet_at = start.expect("the header is small") + wire::ethernet::HEADER_LEN;
        let packet = frame.get(packet_at..).unwrap_or_default();
        let quoted = wire::quoted::Quoted::parse(packet).expect("it is a segment");
        self.transport.on_packet_too_big(&wire::icmp::TooBig { quoted, mtu_bytes: mtu });
    }

    fn step(&mut self) {
        let counters = self.transport.tcp_counters().clone();
        self.transport.poll(self.now, &mut self.app);
        self.transport.flush(self.now);
        self.transport.check();
        let mut without_payload = 0;
        for frame in self.transport.port_mut().take_transmitted() {
            let sent = wire::parse(&frame, false).expect("what we send is right");
            let len = u32::try_from(sent.payload.len()).unwrap_or(0);
            without_payload += usize::from(len == 0);
            self.una = sent.header.seq.plus(sent.header.seq_len(len));
            let edge = sent.header.ack.plus(u32::from(sent.header.window));
            self.adv = self.adv.max(edge);
            if sent.header.flags.has(Flags::ACK) {
                self.nxt = sent.header.ack;
            }
        }
        let now = self.transport.tcp_counters();
        let timers = (now.rtos - counters.rtos)
            + (now.tail_probes - counters.tail_probes)
            + (now.keepalive_probes - counters.keepalive_probes)
            + (now.zero_window_probes - counters.zero_window_probes)
            + (now.delayed_acks - counters.delayed_acks)
            + (now.timeouts - counters.timeouts)
            + (now.syn_ack_retransmits - counters.syn_ack_retransmits);
        let allowed = ANSWERS_MAX + usize::try_from(timers).unwrap_or(usize::MAX);
        assert!(without_payload <= allowed, "{without_payload} answers to one event");
    }

    /// Silence: everything must end, and every frame come back.
    fn end(mut self) {
        for _ in 0..4000 {
            self.now = self.now + Duration::from_secs(1);
            self.step();
        }
        for conn in self.app.conns.clone() {
            self.transport.abort(self.now, conn);
        }
        (0..10).for_each(|_| self.step());
        assert_eq!(self.transport.conn_count(), 0);
        assert_eq!(self.transport.half_open_and_time_wait(), (0, 0));
        let port = self.transport.port();
        assert!(port.is_quiescent(), "frames leaked: {} free", port.tx_available());
    }
}
