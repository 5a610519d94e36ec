//! Ethernet II with at most one VLAN tag (IEEE 802.1Q).

/// Bytes of the header without a tag.
pub const HEADER_LEN: usize = 14;
/// Bytes of one VLAN tag.
pub const VLAN_LEN: usize = 4;
/// EtherType of IPv4.
pub const TYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const TYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const TYPE_IPV6: u16 = 0x86dd;
const TYPE_VLAN: u16 = 0x8100;

/// A hardware address.
pub type Mac = [u8; 6];

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Destination address.
    pub dst: Mac,
    /// Source address.
    pub src: Mac,
    /// Priority, drop eligibility and VLAN identifier, if the frame is tagged.
    pub vlan: Option<u16>,
    /// What follows.
    pub ether_type: u16,
}

impl Header {
    /// Bytes that [`Self::write`] needs.
    pub fn len(&self) -> usize {
        HEADER_LEN + if self.vlan.is_some() { VLAN_LEN } else { 0 }
    }

    /// Never: a header has bytes.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The header and what follows it; `None`: truncated. A second tag is left in `ether_type`.
    pub fn parse(frame: &[u8]) -> Option<(Self, &[u8])> {
        let (dst, rest) = frame.split_first_chunk::<6>()?;
        let (src, rest) = rest.split_first_chunk::<6>()?;
        let (ether_type, rest) = rest.split_first_chunk::<2>()?;
        let ether_type = u16::from_be_bytes(*ether_type);
        let header = Self { dst: *dst, src: *src, vlan: None, ether_type };
        if ether_type != TYPE_VLAN {
            return Some((header, rest));
        }
        let (tag, rest) = rest.split_first_chunk::<2>()?;
        let (ether_type, rest) = rest.split_first_chunk::<2>()?;
        let vlan = Some(u16::from_be_bytes(*tag));
        Some((Self { vlan, ether_type: u16::from_be_bytes(*ether_type), ..header }, rest))
    }

    /// Writes the header into `out`, which is [`Self::len`] bytes long; `None` if it is not.
    pub fn write(&self, out: &mut [u8]) -> Option<()> {
        if out.len() != self.len() {
            return None;
        }
        let (dst, rest) = out.split_first_chunk_mut::<6>()?;
        let (src, rest) = rest.split_first_chunk_mut::<6>()?;
        *dst = self.dst;
        *src = self.src;
        let rest = match self.vlan {
            None => rest,
            Some(tag) => {
                let (vlan, rest) = rest.split_first_chunk_mut::<4>()?;
                let ([a, b], [c, d]) = (TYPE_VLAN.to_be_bytes(), tag.to_be_bytes());
                *vlan = [a, b, c, d];
                rest
            }
        };
        *rest.first_chunk_mut::<2>()? = self.ether_type.to_be_bytes();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            dst: Mac, src: Mac, vlan: Option<u16>, ether_type in 0_u16..0x8000,
            payload in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let header = Header { dst, src, vlan, ether_type };
            let mut frame = vec![0xa5; header.len()];
            header.write(&mut frame).unwrap();
            frame.extend(&payload);
            prop_assert_eq!(Header::parse(&frame), Some((header, &payload[..])));
            prop_assert_eq!(Header::parse(&frame[..header.len() - 1]), None);
        }
    }
}
