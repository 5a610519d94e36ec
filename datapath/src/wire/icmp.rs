//! ICMP "fragmentation needed" (RFC 792, RFC 1191 §4) and ICMPv6 "packet too big" (RFC 4443 §3.2)
//! about segments that we sent: the only ICMP that TCP wants. All other is the kernel's, or, on a port that
//! shares nothing with a kernel, [`crate::responder`]'s.

use super::checksum::{Sum, pseudo_header};
use super::quoted::Quoted;
use super::{ParseError, ethernet, ipv4, ipv6};

/// IP protocol number of ICMP.
pub(crate) const PROTOCOL_ICMP: u8 = 1;
/// IP protocol number of ICMPv6.
pub(crate) const PROTOCOL_ICMP_V6: u8 = 58;
/// Type and code of "fragmentation needed".
const FRAGMENTATION_NEEDED: [u8; 2] = [3, 4];
/// Type of "packet too big"; its code means nothing.
const PACKET_TOO_BIG: u8 = 2;
/// A router's word that a segment of ours did not fit a link. Anybody can send such a thing: it is
/// to be believed only if the quoted segment is in flight (RFC 5927 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooBig {
    /// The segment.
    pub quoted: Quoted,
    /// The MTU of the link; 0: an old router that does not tell (RFC 1191 §5).
    pub mtu_bytes: u32,
}

/// Reads a frame.
///
/// # Errors
/// [`ParseError::NotTcp`]: it is something else; otherwise what is wrong with it.
pub fn parse(frame: &[u8]) -> Result<TooBig, ParseError> {
    let (link, packet) = ethernet::Header::parse(frame).ok_or(ParseError::Truncated)?;
    match link.ether_type {
        ethernet::TYPE_IPV4 => {
            let (ip, at) = ipv4::Header::parse(packet)?;
            if ip.protocol != PROTOCOL_ICMP {
                return Err(ParseError::NotTcp);
            }
            let message = packet.get(at).ok_or(ParseError::Truncated)?;
            let (head, quoted) = message.split_first_chunk::<8>().ok_or(ParseError::Truncated)?;
            let [kind, code, _, _, _, _, mtu_0, mtu_1] = *head;
            if [kind, code] != FRAGMENTATION_NEEDED {
                return Err(ParseError::NotTcp);
            }
            if Sum::default().plus(message).finish() != 0 {
                return Err(ParseError::BadIpChecksum);
            }
            let mtu_bytes = u32::from(u16::from_be_bytes([mtu_0, mtu_1]));
            too_big(quoted, mtu_bytes)
        }
        ethernet::TYPE_IPV6 => {
            let (ip, at) = ipv6::Header::parse(packet)?;
            if ip.next_header != PROTOCOL_ICMP_V6 {
                return Err(ParseError::NotTcp);
            }
            let message = packet.get(at).ok_or(ParseError::Truncated)?;
            let (head, quoted) = message.split_first_chunk::<8>().ok_or(ParseError::Truncated)?;
            let [kind, _, _, _, mtu @ ..] = *head;
            if kind != PACKET_TOO_BIG {
                return Err(ParseError::NotTcp);
            }
            let pseudo =
                pseudo_header(ip.src.into(), ip.dst.into(), PROTOCOL_ICMP_V6, message.len());
            if pseudo.plus(message).finish() != 0 {
                return Err(ParseError::BadIpChecksum);
            }
            too_big(quoted, u32::from_be_bytes(mtu))
        }
        _ => Err(ParseError::NotTcp),
    }
}

fn too_big(quoted: &[u8], mtu_bytes: u32) -> Result<TooBig, ParseError> {
    let quoted = Quoted::parse(quoted).ok_or(ParseError::NotTcp)?;
    Ok(TooBig { quoted, mtu_bytes })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use proptest::prelude::*;

    use super::*;
    use crate::tcp::seq::Seq;
    use crate::wire::tcp::{Flags, Header, Options};
    use crate::wire::{Ecn, HEADERS_LEN_MAX, Hop, write};

    const HOP: Hop = Hop { local: [2, 0, 0, 0, 0, 1], remote: [2, 0, 0, 0, 0, 2], vlan: None };

    /// A segment of ours, without its Ethernet header.
    fn ours(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
        let header = Header {
            src_port: local.port(),
            dst_port: remote.port(),
            seq: Seq(0xfedc_ba98),
            ack: Seq(7),
            flags: Flags::ACK,
            window: 1000,
            options: Options::default(),
        };
        let mut frame = vec![0x5a; HEADERS_LEN_MAX + 1000];
        let begin = write(
            &mut frame,
            HEADERS_LEN_MAX,
            1000,
            &HOP,
            (local.ip(), remote.ip()),
            &header,
            Ecn::default(),
        );
        frame.split_off(begin.unwrap() + ethernet::HEADER_LEN)
    }

    /// The frame of a router that quotes `quoted`.
    fn message(kind: u8, code: u8, mtu: u32, quoted: &[u8], is_v6: bool) -> Vec<u8> {
        let mut icmp = vec![kind, code, 0, 0];
        icmp.extend(mtu.to_be_bytes());
        icmp.extend(quoted);
        let (src, dst): (IpAddr, IpAddr) = if is_v6 {
            ("2001:db8::fe".parse().unwrap(), "2001:db8::1".parse().unwrap())
        } else {
            ("192.0.2.254".parse().unwrap(), "192.0.2.1".parse().unwrap())
        };
        let pseudo = if is_v6 {
            pseudo_header(src, dst, PROTOCOL_ICMP_V6, icmp.len())
        } else {
            Sum::default()
        };
        let sum = pseudo.plus(&icmp).finish().to_be_bytes();
        icmp[2..4].copy_from_slice(&sum);
        let ether_type = if is_v6 { ethernet::TYPE_IPV6 } else { ethernet::TYPE_IPV4 };
        let link = ethernet::Header { dst: HOP.local, src: HOP.remote, vlan: Some(7), ether_type };
        let mut frame = vec![0; link.len()];
        link.write(&mut frame).unwrap();
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let mut header = [0; ipv4::HEADER_LEN];
                let ip = ipv4::Header { src, dst, protocol: PROTOCOL_ICMP, traffic_class: 0xc0 };
                ip.write(&mut header, icmp.len()).unwrap();
                frame.extend(header);
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let mut header = [0; ipv6::HEADER_LEN];
                let next_header = PROTOCOL_ICMP_V6;
                let ip = ipv6::Header { src, dst, next_header, traffic_class: 0 };
                ip.write(&mut header, icmp.len()).unwrap();
                frame.extend(header);
            }
            _ => unreachable!(),
        }
        frame.extend(icmp);
        frame
    }

    fn ends(is_v6: bool) -> (SocketAddr, SocketAddr) {
        if is_v6 {
            ("[2001:db8::1]:6379".parse().unwrap(), "[2001:db8:9::9]:40000".parse().unwrap())
        } else {
            ("192.0.2.1:6379".parse().unwrap(), "198.51.100.9:40000".parse().unwrap())
        }
    }

    #[test]
    fn what_a_router_quotes_names_the_connection_and_the_segment() {
        for (is_v6, kind, code) in [(false, 3, 4), (true, 2, 0)] {
            let (local, remote) = ends(is_v6);
            let segment = ours(local, remote);
            let shortest = if is_v6 { 48 } else { 28 };
            for quoted_len in [shortest, 500, segment.len()] {
                let frame = message(kind, code, 1400, &segment[..quoted_len], is_v6);
                let quoted = Quoted {
                    src: local.ip(),
                    dst: remote.ip(),
                    src_port: local.port(),
                    dst_port: remote.port(),
                    seq: Seq(0xfedc_ba98),
                    packet_len: u32::try_from(segment.len()).unwrap(),
                };
                assert_eq!(parse(&frame), Ok(TooBig { quoted, mtu_bytes: 1400 }));
            }
            let frame = message(kind, code, 1400, &segment[..shortest - 1], is_v6);
            assert_eq!(parse(&frame), Err(ParseError::NotTcp));
        }
    }

    #[test]
    fn other_messages_and_damaged_ones_are_refused() {
        let (local, remote) = ends(false);
        let segment = ours(local, remote);
        for (kind, code) in [(3, 3), (11, 0), (8, 0), (2, 0)] {
            let frame = message(kind, code, 1400, &segment, false);
            assert_eq!(parse(&frame), Err(ParseError::NotTcp), "{kind} {code}");
        }
        let mut udp = segment.clone();
        udp[9] = 17;
        assert_eq!(parse(&message(3, 4, 1400, &udp, false)), Err(ParseError::NotTcp));
        let mut damaged = message(3, 4, 1400, &segment, false);
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(parse(&damaged), Err(ParseError::BadIpChecksum));
        let (local, remote) = ends(true);
        let mut damaged = message(2, 0, 1400, &ours(local, remote), true);
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(parse(&damaged), Err(ParseError::BadIpChecksum));
    }

    proptest! {
        #[test]
        fn no_frame_makes_the_parser_panic(
            is_v6: bool, cut in 0_usize..200, at in 0_usize..200, byte: u8,
        ) {
            let (local, remote) = ends(is_v6);
            let (kind, code) = if is_v6 { (2, 0) } else { (3, 4) };
            let mut frame = message(kind, code, 1400, &ours(local, remote)[..100], is_v6);
            if let Some(damaged) = frame.get_mut(at) {
                *damaged = byte;
            }
            frame.truncate(cut);
            parse(&frame).ok();
        }
    }
}
