//! IPv4 (RFC 791). Options are skipped; fragments are refused, because a frame that carries one is
//! none of ours (path MTU discovery is on: everything that we send has "don't fragment" set).

use std::net::Ipv4Addr;
use std::ops::Range;

use super::ParseError;
use super::checksum::Sum;

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;
const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments" or a fragment offset.
const FRAGMENT_MASK: u16 = 0x3fff;
const HOP_LIMIT: u8 = 64;

/// What matters of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Protocol of the payload.
    pub protocol: u8,
    /// The traffic class: DSCP and ECN.
    pub traffic_class: u8,
}

impl Header {
    /// The header, and where in `packet` its payload lies, without what pads the frame behind it.
    ///
    /// # Errors
    /// What is wrong with it, the header checksum included.
    pub fn parse(packet: &[u8]) -> Result<(Self, Range<usize>), ParseError> {
        let [
            first,
            traffic_class,
            len_0,
            len_1,
            _,
            _,
            fragment_0,
            fragment_1,
            _,
            protocol,
            _,
            _,
            rest @ ..,
        ] = packet
        else {
            return Err(ParseError::Truncated);
        };
        let &[s0, s1, s2, s3, d0, d1, d2, d3, ..] = rest else {
            return Err(ParseError::Truncated);
        };
        let header_len = usize::from(first & 0x0f) * 4;
        if first >> 4 != 4 || header_len < HEADER_LEN {
            return Err(ParseError::BadIpHeader);
        }
        let total_len = usize::from(u16::from_be_bytes([*len_0, *len_1]));
        let header = packet.get(..header_len).ok_or(ParseError::Truncated)?;
        if Sum::default().plus(header).finish() != 0 {
            return Err(ParseError::BadIpChecksum);
        }
        if u16::from_be_bytes([*fragment_0, *fragment_1]) & FRAGMENT_MASK != 0 {
            return Err(ParseError::Fragment);
        }
        if total_len < header_len {
            return Err(ParseError::BadIpHeader);
        }
        if total_len > packet.len() {
            return Err(ParseError::Truncated);
        }
        let header = Self {
            src: Ipv4Addr::new(s0, s1, s2, s3),
            dst: Ipv4Addr::new(d0, d1, d2, d3),
            protocol: *protocol,
            traffic_class: *traffic_class,
        };
        Ok((header, header_len..total_len))
    }

    /// Writes a header for `payload_len` bytes into the [`HEADER_LEN`] bytes of `out`; `None` if
    /// the packet would be longer than IPv4 can say.
    ///
    /// The identification is 0, as RFC 6864 §4.1 allows for packets that are never fragmented.
    pub fn write(&self, out: &mut [u8; HEADER_LEN], payload_len: usize) -> Option<()> {
        let total_len = u16::try_from(HEADER_LEN + payload_len).ok()?;
        let [l0, l1] = total_len.to_be_bytes();
        let [f0, f1] = DONT_FRAGMENT.to_be_bytes();
        let [s0, s1, s2, s3] = self.src.octets();
        let [d0, d1, d2, d3] = self.dst.octets();
        let (class, protocol) = (self.traffic_class, self.protocol);
        let mut bytes = [
            0x45, class, l0, l1, 0, 0, f0, f1, HOP_LIMIT, protocol, 0, 0, s0, s1, s2, s3, d0, d1,
            d2, d3,
        ];
        let [c0, c1] = Sum::default().plus(&bytes).finish().to_be_bytes();
        bytes[10] = c0;
        bytes[11] = c1;
        *out = bytes;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<u8> {
        let header = Header {
            src: Ipv4Addr::new(10, 0, 0, 2),
            dst: Ipv4Addr::new(10, 0, 0, 1),
            protocol: 6,
            traffic_class: 0,
        };
        let mut bytes = [0; HEADER_LEN];
        header.write(&mut bytes, 3).unwrap();
        let mut packet = bytes.to_vec();
        packet.extend(b"abc");
        packet
    }

    fn fix_checksum(packet: &mut [u8], header_len: usize) {
        packet[10..12].fill(0);
        let sum = Sum::default().plus(&packet[..header_len]).finish();
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }

    #[test]
    fn padding_behind_the_packet_is_no_payload() {
        let mut packet = example();
        packet.extend([0; 20]);
        let (header, payload) = Header::parse(&packet).unwrap();
        assert_eq!(header.src, Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(&packet[payload], b"abc");
    }

    #[test]
    fn options_are_skipped() {
        let mut packet = example();
        packet[0] = 0x46;
        packet[3] += 4;
        packet.splice(20..20, [1, 1, 1, 0]);
        fix_checksum(&mut packet, 24);
        assert_eq!(Header::parse(&packet).unwrap().1, 24..27);
    }

    #[test]
    fn fragments_and_damaged_headers_are_refused() {
        let mut fragment = example();
        fragment[6] = 0x20;
        fix_checksum(&mut fragment, 20);
        assert_eq!(Header::parse(&fragment).unwrap_err(), ParseError::Fragment);
        let mut damaged = example();
        damaged[15] ^= 1;
        assert_eq!(Header::parse(&damaged).unwrap_err(), ParseError::BadIpChecksum);
        let mut too_long = example();
        too_long[3] += 1;
        fix_checksum(&mut too_long, 20);
        assert_eq!(Header::parse(&too_long).unwrap_err(), ParseError::Truncated);
        for len in 0..example().len() {
            assert!(Header::parse(&example()[..len]).is_err(), "{len} bytes");
        }
    }
}
