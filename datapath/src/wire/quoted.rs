//! The packet of ours that an ICMP error quotes: IP header and the first 8 bytes of the segment
//! (RFC 792, RFC 4443 §2.4). It comes from a stranger and may be cut anywhere behind that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{PROTOCOL_TCP, ipv4, ipv6};
use crate::tcp::seq::Seq;

/// What a quoted segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Our address.
    pub src: IpAddr,
    /// The peer's.
    pub dst: IpAddr,
    /// Our port.
    pub src_port: u16,
    /// The peer's.
    pub dst_port: u16,
    /// Position of the first byte.
    pub seq: Seq,
    /// Length of the whole packet in bytes.
    pub packet_len: u32,
}

impl Quoted {
    /// Reads a quoted packet from its IP header on; `None`: not TCP, a later fragment, or too short.
    /// Checksums are not looked at: routers change what they cover.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::parse_v4(packet),
            6 => Self::parse_v6(packet),
            _ => None,
        }
    }

    fn parse_v4(packet: &[u8]) -> Option<Self> {
        let (header, _) = packet.split_first_chunk::<{ ipv4::HEADER_LEN }>()?;
        let &[first, _, l0, l1, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
            header;
        let is_later_fragment = u16::from_be_bytes([f0, f1]) & 0x1fff != 0;
        if protocol != PROTOCOL_TCP || is_later_fragment {
            return None;
        }
        let segment = packet.get(usize::from(first & 0x0f) * 4..)?;
        let addresses = (Ipv4Addr::new(s0, s1, s2, s3), Ipv4Addr::new(d0, d1, d2, d3));
        let packet_len = u32::from(u16::from_be_bytes([l0, l1]));
        Self::with_segment(addresses.0.into(), addresses.1.into(), packet_len, segment)
    }

    fn parse_v6(packet: &[u8]) -> Option<Self> {
        let (header, segment) = packet.split_first_chunk::<{ ipv6::HEADER_LEN }>()?;
        let [_, _, _, _, l0, l1, next_header, _, addresses @ ..] = header;
        let (src, dst) = addresses.split_first_chunk::<16>()?;
        let (src, dst) = (Ipv6Addr::from(*src), Ipv6Addr::from(*dst.first_chunk::<16>()?));
        let is_mapped = src.to_ipv4_mapped().is_some() || dst.to_ipv4_mapped().is_some();
        if *next_header != PROTOCOL_TCP || is_mapped {
            return None;
        }
        let payload_len = u32::from(u16::from_be_bytes([*l0, *l1]));
        let packet_len = payload_len + u32::try_from(ipv6::HEADER_LEN).ok()?;
        Self::with_segment(src.into(), dst.into(), packet_len, segment)
    }

    fn with_segment(src: IpAddr, dst: IpAddr, packet_len: u32, segment: &[u8]) -> Option<Self> {
        let &[s0, s1, d0, d1, q0, q1, q2, q3, ..] = segment else { return None };
        let (src_port, dst_port) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
        let seq = Seq(u32::from_be_bytes([q0, q1, q2, q3]));
        Some(Self { src, dst, src_port, dst_port, seq, packet_len })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _quoted = Quoted::parse(&bytes);
        }
    }
}
