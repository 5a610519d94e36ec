//! Wire formats: views of received bytes and writers of headers. No state, no time.
//!
//! ```text
//! parse:  frame -> ethernet -> ipv4 | ipv6 -> tcp -> Received (headers, and where the payload is)
//! write:  payload already in the frame, headers written in front of it
//! ```
//! Every parser returns an option or a result and takes any bytes. Nothing is copied but header
//! fields; the payload is a range of the frame.

use std::net::IpAddr;
use std::ops::Range;

pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod quoted;
pub mod tcp;

use checksum::pseudo_header;
use ethernet::Mac;

/// IP protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// Room that the longest headers take: Ethernet with a VLAN tag, IPv6, TCP with all options.
pub const HEADERS_LEN_MAX: usize = ethernet::HEADER_LEN
    + ethernet::VLAN_LEN
    + ipv6::HEADER_LEN
    + tcp::HEADER_LEN
    + tcp::OPTIONS_LEN_MAX;
/// Offset of the checksum field in a TCP header.
pub(crate) const CHECKSUM_AT: usize = 16;

/// Why a frame is not a segment for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Shorter than its own lengths say.
    Truncated,
    /// Neither IPv4 nor IPv6, or not TCP (an IPv6 extension header counts as that).
    NotTcp,
    /// Version, lengths or addresses that no IP packet has.
    BadIpHeader,
    /// The IPv4 header checksum is wrong.
    BadIpChecksum,
    /// Part of a larger packet.
    Fragment,
    /// Truncated TCP header or an impossible data offset.
    BadTcpHeader,
    /// The TCP checksum is wrong.
    BadTcpChecksum,
}

/// The link-layer way to a peer: our side and the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Our hardware address.
    pub local: Mac,
    /// The hardware address of the peer or of the router towards it.
    pub remote: Mac,
    /// The VLAN tag, if any.
    pub vlan: Option<u16>,
}

/// The ECN field of an IP header (RFC 3168 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ecn {
    /// The packet is dropped instead of marked.
    #[default]
    NotEct,
    /// May be marked.
    Ect1,
    /// May be marked; what senders use.
    Ect0,
    /// Marked: a queue on the way is filling.
    Ce,
}

impl Ecn {
    fn of_traffic_class(class: u8) -> Self {
        match class & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    fn traffic_class(self) -> u8 {
        match self {
            Self::NotEct => 0,
            Self::Ect1 => 1,
            Self::Ect0 => 2,
            Self::Ce => 3,
        }
    }
}

/// A received segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// How to answer it.
    pub hop: Hop,
    /// Source address.
    pub src: IpAddr,
    /// Destination address, of the same family.
    pub dst: IpAddr,
    /// Whether a queue on the way was filling.
    pub ecn: Ecn,
    /// TCP header.
    pub header: tcp::Header,
    /// Where the payload lies in the frame.
    pub payload: Range<usize>,
}

/// Reads a frame. `partial_checksum` accepts a TCP checksum field that holds the folded sum of the
/// pseudo-header alone, as left by a sender whose "device" was to compute the rest.
///
/// # Errors
/// Why it is no segment.
pub fn parse(frame: &[u8], partial_checksum: bool) -> Result<Received, ParseError> {
    let (link, packet) = ethernet::Header::parse(frame).ok_or(ParseError::Truncated)?;
    let (src, dst, protocol, class, segment_at) = match link.ether_type {
        ethernet::TYPE_IPV4 => {
            let (ip, at) = ipv4::Header::parse(packet)?;
            (IpAddr::V4(ip.src), IpAddr::V4(ip.dst), ip.protocol, ip.traffic_class, at)
        }
        ethernet::TYPE_IPV6 => {
            let (ip, at) = ipv6::Header::parse(packet)?;
            (IpAddr::V6(ip.src), IpAddr::V6(ip.dst), ip.next_header, ip.traffic_class, at)
        }
        _ => return Err(ParseError::NotTcp),
    };
    if protocol != PROTOCOL_TCP {
        return Err(ParseError::NotTcp);
    }
    let segment = packet.get(segment_at.clone()).ok_or(ParseError::Truncated)?;
    let (header, payload) = tcp::Header::parse(segment).ok_or(ParseError::BadTcpHeader)?;
    let pseudo = pseudo_header(src, dst, PROTOCOL_TCP, segment.len());
    if pseudo.plus(segment).finish() != 0 {
        let field = segment.get(CHECKSUM_AT..CHECKSUM_AT + 2).unwrap_or_default();
        if !partial_checksum || field != pseudo.fold().to_be_bytes() {
            return Err(ParseError::BadTcpChecksum);
        }
    }
    let hop = Hop { local: link.dst, remote: link.src, vlan: link.vlan };
    let end = frame.len() - packet.len() + segment_at.end;
    let ecn = Ecn::of_traffic_class(class);
    Ok(Received { hop, ecn, src, dst, header, payload: end - payload.len()..end })
}

/// What a segment's checksum field gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The checksum.
    Full,
    /// The folded sum of the pseudo-header: whoever transmits the frame adds the rest.
    Partial,
}

/// Writes all headers of a segment in front of its payload, which lies at
/// `payload_at..payload_at + payload_len` of `frame`, and returns where the frame now begins.
///
/// `None` (a caller's bug): addresses of two families, payload outside the frame, too little room
/// in front of it ([`HEADERS_LEN_MAX`] is always enough), or a packet beyond 64 KiB.
pub fn write(
    frame: &mut [u8],
    payload_at: usize,
    payload_len: usize,
    hop: &Hop,
    (src, dst): (IpAddr, IpAddr),
    header: &tcp::Header,
    ecn: Ecn,
) -> Option<usize> {
    let checksum = Checksum::Full;
    write_with(frame, payload_at, payload_len, hop, (src, dst), header, ecn, checksum)
}

/// [`write`] with a choice of checksum; see there.
#[expect(clippy::too_many_arguments, reason = "a frame, and what goes into it")]
pub fn write_with(
    frame: &mut [u8],
    payload_at: usize,
    payload_len: usize,
    hop: &Hop,
    (src, dst): (IpAddr, IpAddr),
    header: &tcp::Header,
    ecn: Ecn,
    checksum: Checksum,
) -> Option<usize> {
    let traffic_class = ecn.traffic_class();
    let segment_len = header.len() + payload_len;
    let segment_at = payload_at.checked_sub(header.len())?;
    header.write(frame.get_mut(segment_at..payload_at)?)?;
    let segment = frame.get_mut(segment_at..segment_at.checked_add(segment_len)?)?;
    let pseudo = pseudo_header(src, dst, PROTOCOL_TCP, segment_len);
    let sum = match checksum {
        Checksum::Full => pseudo.plus(segment).finish(),
        Checksum::Partial => pseudo.fold(),
    };
    segment.get_mut(CHECKSUM_AT..CHECKSUM_AT + 2)?.copy_from_slice(&sum.to_be_bytes());
    let front = frame.get_mut(..segment_at)?;
    let (ether_type, rest) = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let (rest, out) = front.split_last_chunk_mut::<{ ipv4::HEADER_LEN }>()?;
            let ip = ipv4::Header { src, dst, protocol: PROTOCOL_TCP, traffic_class };
            ip.write(out, segment_len)?;
            (ethernet::TYPE_IPV4, rest)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let (rest, out) = front.split_last_chunk_mut::<{ ipv6::HEADER_LEN }>()?;
            let ip = ipv6::Header { src, dst, next_header: PROTOCOL_TCP, traffic_class };
            ip.write(out, segment_len)?;
            (ethernet::TYPE_IPV6, rest)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    };
    let link = ethernet::Header { dst: hop.remote, src: hop.local, vlan: hop.vlan, ether_type };
    let start = rest.len().checked_sub(link.len())?;
    link.write(rest.get_mut(start..)?)?;
    Some(start)
}

#[cfg(test)]
mod tests;
