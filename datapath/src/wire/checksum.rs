//! The Internet checksum (RFC 1071) and the pseudo-headers of IPv4 and IPv6.
//!
//! A one's complement sum can be built in parts and in any word width: the parts are added and
//! folded to 16 bits at the end. [`Sum`] is such an unfolded sum over big-endian 16-bit words.

use std::net::IpAddr;

/// An unfolded one's complement sum. Its parts must each have an even length, but for the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Adds `bytes`; an odd length is padded with a zero byte.
    #[must_use]
    pub fn plus(self, bytes: &[u8]) -> Self {
        Self(self.0 + u64::from(sum(bytes)))
    }

    /// The sum folded to 16 bits.
    pub fn fold(self) -> u16 {
        fold(self.0)
    }

    /// What stands in a header's checksum field: the complement of the folded sum.
    pub fn finish(self) -> u16 {
        !self.fold()
    }
}

/// The sum over TCP's pseudo-header (RFC 9293 §3.1): addresses, protocol, length of header and
/// payload.
pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, len_bytes: usize) -> Sum {
    // Both halves of an IPv4 address are added by folding.
    let address = |address| match address {
        IpAddr::V4(v4) => u64::from(u32::from(v4)),
        IpAddr::V6(v6) => v6.segments().into_iter().map(u64::from).sum(),
    };
    Sum(address(src) + address(dst) + u64::from(protocol) + len_bytes as u64)
}

/// Folded sum of `bytes`, 32 bytes per step. The words are added in the machine's byte order and
/// swapped at the end, which gives the same result (RFC 1071 §2(B)).
fn sum(bytes: &[u8]) -> u16 {
    let mut lanes = [0_u64; 8];
    let mut chunks = bytes.chunks_exact(32);
    for chunk in &mut chunks {
        for (lane, word) in lanes.iter_mut().zip(chunk.chunks_exact(4)) {
            if let [a, b, c, d] = *word {
                *lane += u64::from(u32::from_ne_bytes([a, b, c, d]));
            }
        }
    }
    let mut total: u64 = lanes.iter().sum();
    let mut words = chunks.remainder().chunks_exact(2);
    for word in &mut words {
        if let [a, b] = *word {
            total += u64::from(u16::from_ne_bytes([a, b]));
        }
    }
    if let [last] = *words.remainder() {
        total += u64::from(u16::from_ne_bytes([last, 0]));
    }
    u16::from_be(fold(total))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 §4.1, word by word.
    fn reference(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
            sum += u32::from(word);
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().plus(&bytes).fold(), 0xddf2);
    }

    proptest! {
        #[test]
        fn the_fast_sum_is_the_simple_one(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(Sum::default().plus(&bytes).fold(), reference(&bytes));
        }

        #[test]
        fn a_sum_can_be_built_in_parts(
            bytes in proptest::collection::vec(any::<u8>(), 2..200),
            at in 0_usize..100,
        ) {
            let at = (at * 2).min(bytes.len() & !1);
            let parts = Sum::default().plus(&bytes[..at]).plus(&bytes[at..]);
            prop_assert_eq!(parts.fold(), reference(&bytes));
        }
    }
}
