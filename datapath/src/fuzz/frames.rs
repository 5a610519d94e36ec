//! Any bytes as a frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use coney_base::Instant;

use crate::port::sim::{SimPort, SimPortConfig};
use crate::responder::Responder;
use crate::tcp::config::Config;
use crate::transport::tcp::TcpTransport;
use crate::transport::{App, CloseReason, ConnId, Transport};
use crate::wire::checksum::{Sum, pseudo_header};
use crate::wire::icmp::{PROTOCOL_ICMP, PROTOCOL_ICMP_V6};
use crate::wire::quoted::Quoted;
use crate::wire::{self, HEADERS_LEN_MAX, PROTOCOL_TCP, ethernet, ipv4, ipv6};

const MAC: ethernet::Mac = [2, 0, 0, 0, 0, 1];
const OURS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];
const PORT: u16 = 6379;
/// Longest answer to a short frame: a tagged neighbour advertisement, or a SYN-ACK over IPv6 with
/// all options.
const ANSWER_LEN_MAX: usize = 98;

/// The target `frames`: the first byte is a mode (1: make the checksums right first; 2: the port
/// may leave partial checksums; 4: the port is answered for by us alone), the rest is a frame. It
/// goes to each parser and to a transport that serves two addresses. What parses is written and
/// must parse to the same.
///
/// # Panics
/// If it does not, or the frame provokes more than one answer, or a larger one than itself.
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

/// Two times the same frame, for what the first leaves behind.
fn receive(frame: &[u8], partial_checksum: bool, alone: bool) {
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
    let mut transport = TcpTransport::new(SimPort::new(&port), config).expect("the port is large");
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
