//! IPv6 (RFC 8200) without extension headers: a packet that has some is not TCP to us and stays
//! with the kernel.

use std::net::Ipv6Addr;
use std::ops::Range;

use super::ParseError;

/// Bytes of the header.
pub const HEADER_LEN: usize = 40;
const HOP_LIMIT: u8 = 64;

/// What matters of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
    /// What follows.
    pub next_header: u8,
    /// The traffic class: DSCP and ECN.
    pub traffic_class: u8,
}

impl Header {
    /// The header, and where in `packet` its payload lies, without what pads the frame behind it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(packet: &[u8]) -> Result<(Self, Range<usize>), ParseError> {
        let (header, rest) =
            packet.split_first_chunk::<HEADER_LEN>().ok_or(ParseError::Truncated)?;
        let [v0, v1, _, _, l0, l1, next_header, _, addresses @ ..] = header;
        if v0 >> 4 != 6 {
            return Err(ParseError::BadIpHeader);
        }
        let (src, dst) = addresses.split_first_chunk::<16>().ok_or(ParseError::Truncated)?;
        let dst = dst.first_chunk::<16>().ok_or(ParseError::Truncated)?;
        let (src, dst) = (Ipv6Addr::from(*src), Ipv6Addr::from(*dst));
        // RFC 4291 §2.5.5.2: such addresses stand for IPv4 inside a host and never travel. Our own
        // connection keys use them in just that way.
        if src.to_ipv4_mapped().is_some() || dst.to_ipv4_mapped().is_some() {
            return Err(ParseError::BadIpHeader);
        }
        let payload_len = usize::from(u16::from_be_bytes([*l0, *l1]));
        if payload_len > rest.len() {
            return Err(ParseError::Truncated);
        }
        let traffic_class = (v0 << 4) | (v1 >> 4);
        let header = Self { src, dst, next_header: *next_header, traffic_class };
        Ok((header, HEADER_LEN..HEADER_LEN + payload_len))
    }

    /// Writes a header for `payload_len` bytes into `out`; `None` if that is more than 64 KiB.
    pub fn write(&self, out: &mut [u8; HEADER_LEN], payload_len: usize) -> Option<()> {
        let [l0, l1] = u16::try_from(payload_len).ok()?.to_be_bytes();
        let class = self.traffic_class;
        let (first, addresses) = out.split_first_chunk_mut::<8>()?;
        *first = [0x60 | (class >> 4), class << 4, 0, 0, l0, l1, self.next_header, HOP_LIMIT];
        let (src, dst) = addresses.split_first_chunk_mut::<16>()?;
        *src = self.src.octets();
        *dst.first_chunk_mut::<16>()? = self.dst.octets();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_truncation_is_refused() {
        let header = Header {
            src: "fd00::2".parse().unwrap(),
            dst: "fd00::1".parse().unwrap(),
            next_header: 6,
            traffic_class: 0xb9,
        };
        let mut bytes = [0xa5; HEADER_LEN];
        header.write(&mut bytes, 3).unwrap();
        let mut packet = bytes.to_vec();
        packet.extend(b"abcPAD");
        assert_eq!(Header::parse(&packet), Ok((header, 40..43)));
        for len in 0..HEADER_LEN + 3 {
            assert_eq!(Header::parse(&packet[..len]), Err(ParseError::Truncated), "{len} bytes");
        }
        let mapped = Header { src: "::ffff:10.0.0.1".parse().unwrap(), ..header };
        mapped.write(&mut bytes, 0).unwrap();
        assert_eq!(Header::parse(&bytes), Err(ParseError::BadIpHeader));
    }
}
