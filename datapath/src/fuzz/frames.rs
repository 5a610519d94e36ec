//! Any bytes as a frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use coney_base::Instant;

use super::replies::{Replies, low_byte};
use crate::port::Port;
use crate::port::sim::{SimPort, SimPortConfig};
use crate::responder::Responder;
use crate::tcp::config::Config;
use crate::tcp::seq::Seq;
use crate::transport::tcp::TcpTransport;
use crate::transport::{App, CloseReason, ConnId, ReplyFrames, Transport};
use crate::wire::checksum::{Sum, pseudo_header};
use crate::wire::icmp::{PROTOCOL_ICMP, PROTOCOL_ICMP_V6};
use crate::wire::quoted::Quoted;
use crate::wire::tcp::{Flags, Header};
use crate::wire::{self, Ecn, HEADERS_LEN_MAX, PROTOCOL_TCP, Received, ethernet, ipv4, ipv6};

const MAC: ethernet::Mac = [2, 0, 0, 0, 0, 1];
const OURS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];
const PORT: u16 = 6379;
/// Longest answer to a short frame: a tagged neighbour advertisement, or a SYN-ACK over IPv6 with
/// all options.
const ANSWER_LEN_MAX: usize = 98;
/// Bytes of the payload that say how the application answers.
const SCRIPT_LEN_MAX: usize = 12;
/// Frames without payload that a segment of an open connection may provoke: an acknowledgement at
/// once, one with the flush, and a FIN or RST.
const BARE_ANSWERS_MAX: usize = 3;

/// The target `frames`: the first byte is a mode (1: make the checksums right first; 2: the port
/// may leave partial checksums; 4: the port is answered for by us alone; 8: a connection from where
/// the frame comes is open already), the rest is a frame. It goes to each parser and to a transport
/// that serves two addresses. What parses is written and must parse to the same. The application of an
/// open connection answers in transmit frames, as the payload says.
///
/// # Panics
/// If it does not, or the frame provokes more than one answer, or a larger one than itself; if a byte
/// of a reply is wrong, or frames leak.
pub fn frames(data: &[u8]) {
    let Some((&mode, frame)) = data.split_first() else { return };
    let mut frame = frame.to_vec();
    if mode & 1 != 0 {
        mend(&mut frame);
    }
    let partial_checksum = mode & 2 != 0;
    reads_back(&frame, partial_checksum);
    if let Some((_, packet)) = ethernet::Header::parse(&frame) {
        Quoted::parse(packet);
    }
    receive(&frame, partial_checksum, mode & 4 != 0);
    if mode & 8 != 0
        && let Ok(received) = wire::parse(&frame, partial_checksum)
    {
        let payload = frame.get(received.payload.clone()).unwrap_or_default();
        converse(&received, payload);
    }
}

/// Makes the checksums right, as far as there are any: no fuzzer guesses them. `None`: there was
/// none to mend.
fn mend(frame: &mut [u8]) -> Option<()> {
    let (link, packet) = ethernet::Header::parse(frame)?;
    let packet_at = frame.len() - packet.len();
    let packet = frame.get_mut(packet_at..)?;
    let (src, dst, protocol, range): (IpAddr, IpAddr, _, _) = match link.ether_type {
        ethernet::TYPE_IPV4 => {
            let header_len = usize::from(packet.first()? & 0xf) * 4;
            put_checksum(packet.get_mut(..header_len)?, 10, Sum::default())?;
            let (ip, range) = ipv4::Header::parse(packet).ok()?;
            (ip.src.into(), ip.dst.into(), ip.protocol, range)
        }
        ethernet::TYPE_IPV6 => {
            let (ip, range) = ipv6::Header::parse(packet).ok()?;
            (ip.src.into(), ip.dst.into(), ip.next_header, range)
        }
        _ => return None,
    };
    let message = packet.get_mut(range)?;
    let pseudo = pseudo_header(src, dst, protocol, message.len());
    match protocol {
        PROTOCOL_TCP => put_checksum(message, 16, pseudo),
        PROTOCOL_ICMP => put_checksum(message, 2, Sum::default()),
        PROTOCOL_ICMP_V6 => put_checksum(message, 2, pseudo),
        _ => None,
    }
}

fn put_checksum(bytes: &mut [u8], at: usize, begin: Sum) -> Option<()> {
    bytes.get_mut(at..at + 2)?.fill(0);
    let sum = begin.plus(bytes).finish();
    bytes.get_mut(at..at + 2)?.copy_from_slice(&sum.to_be_bytes());
    Some(())
}

fn reads_back(frame: &[u8], partial_checksum: bool) {
    let Ok(received) = wire::parse(frame, partial_checksum) else { return };
    let payload = frame.get(received.payload.clone()).expect("the parser checked the range");
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
    );
    let start = start.expect("what was received can be sent");
    let again = wire::parse(frame.get(start..).unwrap_or_default(), false);
    let again = again.expect("what was written parses");
    assert_eq!((again.header, again.src, again.dst), (received.header, received.src, received.dst));
}

fn transport(partial_checksum: bool) -> TcpTransport<SimPort> {
    let port = SimPortConfig {
        mac: MAC,
        tx_frames: 8,
        rx_frames: 4,
        tx_ring: 8,
        frame_bytes: 4096,
        mtu_bytes: 3500,
        rx_partial_checksum: partial_checksum,
        ..SimPortConfig::default()
    };
    let config = Config {
        listen: OURS.map(|address| SocketAddr::new(address, PORT)).to_vec(),
        reserved_frames: 2,
        conns_max: 4,
        syn_cache_max: 4,
        time_wait_max: 4,
        ..Config::default()
    };
    TcpTransport::new(SimPort::new(&port), config).expect("the port is large")
}

/// Two times the same frame, for what the first leaves behind.
fn receive(frame: &[u8], partial_checksum: bool, alone: bool) {
    let mut transport = transport(partial_checksum);
    if alone {
        transport.set_responder(Responder::new(MAC, &OURS));
    }
    let now = Instant::from_millis(1000);
    for _ in 0..2 {
        transport.port_mut().inject(frame);
        transport.poll(now, &mut Nobody);
        transport.flush(now);
        transport.check();
        let answers = transport.port_mut().take_transmitted();
        assert!(answers.len() <= 1, "{} answers to one frame", answers.len());
        for answer in answers {
            assert!(answer.len() <= frame.len().max(ANSWER_LEN_MAX), "an answer that amplifies");
            if let Err(error) = wire::parse(&answer, false) {
                assert_eq!(error, wire::ParseError::NotTcp);
            }
        }
    }
}

/// No frame alone opens a connection.
struct Nobody;

impl App for Nobody {
    fn on_accept(&mut self, _conn: ConnId, _peer: SocketAddr, _local: SocketAddr) -> bool {
        unreachable!("a handshake takes a secret of ours")
    }

    fn on_data(&mut self, _conn: ConnId, _bytes: &[u8]) -> usize {
        unreachable!("nobody was accepted")
    }

    fn on_eof(&mut self, _conn: ConnId) {}

    fn on_writable(&mut self, _conn: ConnId) {}

    fn on_close(&mut self, _conn: ConnId, _reason: CloseReason) {}
}

/// A connection is opened from where the segment comes; then it arrives three times, each time behind
/// the one before, and acknowledges the replies so far. Its own acknowledgement counts from there.
fn converse(received: &Received, payload: &[u8]) {
    if received.header.options.len() > wire::tcp::OPTIONS_LEN_MAX {
        return;
    }
    let header = &received.header;
    let mut peer = Peer {
        transport: transport(false),
        app: Answering::default(),
        received,
        iss: None,
        acked: 0,
    };
    let first = Header { seq: header.seq.minus(1), flags: Flags::SYN, ..*header };
    peer.send(&first, &[]);
    let Some(begin) = peer.iss.map(|iss| iss.plus(1)) else { return };
    peer.send(&Header { ack: begin, flags: Flags::ACK, ..*header }, &[]);
    let len = header.seq_len(u32::try_from(payload.len()).unwrap_or(0));
    let mut seq = header.seq;
    for _ in 0..3 {
        let ack = begin.plus(peer.acked).plus(header.ack.0);
        peer.send(&Header { seq, ack, ..*header }, payload);
        seq = seq.plus(len);
    }
    peer.end();
}

/// Whoever sends segments of one connection, and checks what comes back.
struct Peer<'a> {
    transport: TcpTransport<SimPort>,
    app: Answering,
    /// Addresses and next hop are those of this.
    received: &'a Received,
    /// Our initial sequence number.
    iss: Option<Seq>,
    /// Bytes of replies that arrived in order.
    acked: u32,
}

impl Peer<'_> {
    const NOW: Instant = Instant::from_millis(1000);

    fn send(&mut self, header: &Header, payload: &[u8]) {
        let mut frame = vec![0; HEADERS_LEN_MAX];
        frame.extend_from_slice(payload);
        let addresses = (self.received.src, self.received.dst);
        // Who receives is the other way round.
        let hop = wire::Hop {
            local: self.received.hop.remote,
            remote: MAC,
            vlan: self.received.hop.vlan,
        };
        let (len, ecn) = (payload.len(), self.received.ecn);
        let ecn = if header.flags.has(Flags::SYN) { Ecn::NotEct } else { ecn };
        let start = wire::write(&mut frame, HEADERS_LEN_MAX, len, &hop, addresses, header, ecn);
        let start = start.expect("what was received can be sent");
        self.transport.port_mut().inject(frame.get(start..).unwrap_or_default());
        self.step();
    }

    fn step(&mut self) {
        self.transport.poll(Self::NOW, &mut self.app);
        if let Some((conn, replies)) = &mut self.app.conn {
            replies.finish(Self::NOW, *conn, &mut self.transport);
        }
        self.transport.flush(Self::NOW);
        self.transport.check();
        let mut bare = 0;
        for frame in self.transport.port_mut().take_transmitted() {
            let sent = wire::parse(&frame, false).expect("what we send is right");
            let seq = sent.header.seq;
            if sent.header.flags.has(Flags::SYN) {
                self.iss = Some(seq);
            }
            let bytes = frame.get(sent.payload).unwrap_or_default();
            bare += usize::from(bytes.is_empty());
            let begin = self.iss.map_or_else(Seq::default, |iss| iss.plus(1));
            let position = seq.0.wrapping_sub(begin.0);
            for (position, byte) in (u64::from(position)..).zip(bytes) {
                assert_eq!(*byte, low_byte(position), "the byte at {position}");
            }
            if !bytes.is_empty() {
                self.acked = position + u32::try_from(bytes.len()).expect("it fits a frame");
            }
        }
        assert!(bare <= BARE_ANSWERS_MAX, "{bare} answers to one segment");
    }

    /// The connection ends, and every frame must be back.
    fn end(mut self) {
        if let Some((conn, _)) = &self.app.conn {
            self.transport.abort(Self::NOW, *conn);
        }
        (0..2).for_each(|_| self.step());
        assert_eq!(self.transport.conn_count(), 0);
        let port = self.transport.port();
        assert!(port.is_quiescent(), "frames leaked: {} free", port.tx_available());
    }
}

/// The application of one connection, which answers as the payload says.
#[derive(Default)]
struct Answering {
    conn: Option<(ConnId, Replies)>,
}

impl App for Answering {
    fn on_accept(&mut self, conn: ConnId, _peer: SocketAddr, _local: SocketAddr) -> bool {
        assert!(self.conn.is_none(), "one connection");
        self.conn = Some((conn, Replies::default()));
        true
    }

    fn on_data(&mut self, _conn: ConnId, _bytes: &[u8]) -> usize {
        unreachable!("the transport has frames")
    }

    fn on_data_with(&mut self, conn: ConnId, bytes: &[u8], frames: &mut dyn ReplyFrames) -> usize {
        let (known, replies) = self.conn.as_mut().expect("data of a connection");
        assert_eq!(*known, conn);
        replies.answer(frames, bytes.get(..SCRIPT_LEN_MAX).unwrap_or(bytes));
        0
    }

    fn on_eof(&mut self, _conn: ConnId) {}

    fn on_writable(&mut self, _conn: ConnId) {
        let (_, replies) = self.conn.as_mut().expect("of a connection");
        replies.on_writable();
    }

    fn on_close(&mut self, _conn: ConnId, _reason: CloseReason) {
        assert!(self.conn.take().is_some(), "closed once");
    }
}
