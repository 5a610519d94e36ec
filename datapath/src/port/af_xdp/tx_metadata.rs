//! `struct xsk_tx_metadata` (uapi/linux/if_xdp.h): what a sender tells the device of a frame, in the
//! bytes in front of it.
//!
//! ```text
//! 0   u64  flags
//! 8   u16  csum_start   where to begin to add up, from the first byte of the frame
//! 10  u16  csum_offset  where the checksum field lies, from there
//! 12       padding
//! 16  u64  launch_time  (Linux 6.14; not used)
//! ```
//! In the machine's byte order. Source: Documentation/networking/xsk-tx-metadata.rst.

use rustix::net::xdp::XdpDescOptions;

use crate::wire::CHECKSUM_AT;

/// Bytes of the structure, as the kernel is told once.
pub(super) const LEN: usize = 24;
/// [`LEN`] for the kernel.
pub(super) const LEN_U32: u32 = 24;
/// `XDP_TX_METADATA`: metadata lies in front of this descriptor's frame.
pub(super) const HAS_METADATA: XdpDescOptions = XdpDescOptions::from_bits_retain(1 << 1);

const FLAGS_CHECKSUM: u64 = 1 << 1;

/// Asks the device to add up a TCP checksum, whose segment begins `segment_at` bytes behind the
/// frame's first.
pub(super) fn tcp_checksum(segment_at: u16) -> [u8; LEN] {
    let checksum_at = u16::try_from(CHECKSUM_AT).expect("an offset in a header");
    let mut metadata = [0; LEN];
    let (flags, rest) = metadata.split_at_mut(8);
    flags.copy_from_slice(&FLAGS_CHECKSUM.to_ne_bytes());
    let fields = segment_at.to_ne_bytes().into_iter().chain(checksum_at.to_ne_bytes());
    rest.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(LEN, size_of::<libc::xsk_tx_metadata>() + 8, "libc has no launch time yet");
        assert_eq!(FLAGS_CHECKSUM, u64::from(libc::XDP_TXMD_FLAGS_CHECKSUM));
        assert_eq!(HAS_METADATA.bits(), libc::XDP_TX_METADATA);
        let mut expected = [0; LEN];
        expected[0] = 2;
        expected[8] = 34;
        expected[10] = 16;
        if cfg!(target_endian = "little") {
            assert_eq!(tcp_checksum(34), expected);
        }
    }
}
