//! Sizes and bounds of the AF_XDP port.

/// Bytes that the kernel keeps free before each received frame (XDP_PACKET_HEADROOM).
const HEADROOM_BYTES: u32 = 256;
/// Ethernet header with one VLAN tag.
const LINK_HEADER_BYTES: u32 = 18;
/// Ethernet header: nothing shorter is a frame.
pub(super) const FRAME_BYTES_MIN: usize = 14;

/// Buffer sizes, small first. The kernel takes powers of two up to a page, and the zero-copy
/// drivers none below 2048.
const CHUNK_BYTES: [u32; 2] = [2048, 4096];

/// Largest MTU whose frames fit a receive buffer.
pub const MTU_BYTES_MAX: u32 = CHUNK_BYTES[1] - HEADROOM_BYTES - LINK_HEADER_BYTES;

/// Frames in one pool: at most 4 GiB of the larger buffers, and what the kernel takes as ring size.
pub(super) const FRAMES_MIN: u32 = 64;
pub(super) const FRAMES_MAX: u32 = 1 << 20;
/// Slots of the transmit ring.
pub(super) const TX_RING_ENTRIES_MIN: u32 = 64;
pub(super) const TX_RING_ENTRIES_MAX: u32 = 1 << 16;

/// The smallest buffer for frames of this MTU; `None`: there is none.
pub(super) fn chunk_bytes(mtu_bytes: u32) -> Option<u32> {
    let needed = mtu_bytes.checked_add(LINK_HEADER_BYTES)?;
    CHUNK_BYTES.into_iter().find(|chunk| needed <= rx_frame_bytes_max(*chunk))
}

/// Longest frame that the kernel puts into a receive buffer of this size.
pub(super) const fn rx_frame_bytes_max(chunk_bytes: u32) -> u32 {
    chunk_bytes.saturating_sub(HEADROOM_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_follows_mtu() {
        assert_eq!(chunk_bytes(68), Some(2048));
        assert_eq!(chunk_bytes(1500), Some(2048));
        assert_eq!(chunk_bytes(1774), Some(2048));
        assert_eq!(chunk_bytes(1775), Some(4096));
        assert_eq!(chunk_bytes(MTU_BYTES_MAX), Some(4096));
        assert_eq!(chunk_bytes(MTU_BYTES_MAX + 1), None);
        assert_eq!(chunk_bytes(9000), None);
        assert_eq!(chunk_bytes(u32::MAX), None);
    }
}
