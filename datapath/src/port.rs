//! A port is one NIC queue pair: frames in, frames out. One worker owns it; nothing here blocks.
//!
//! Buffers have one owner at a time, and the types say who: an [`RxFrame`] was received and goes
//! back with [`Port::rx_release`]; a [`TxFrame`] was allocated and goes back with
//! [`Port::tx_free`]. Both are plain tokens (no pointer, not `Clone`); bytes are reached only
//! through the port, so no frame can be touched while the device owns it.
//!
//! A transmit frame is also TCP's retransmit buffer. Submitting it does not give it away:
//! ```text
//! tx_alloc -> written -> tx_submit -> in flight -> completed -> tx_submit again (retransmit)
//!                                         |            |
//!                                         +-- tx_free -+--> back in the pool once completed
//! ```
//! While [`Port::tx_in_flight`] the bytes are the device's. `tx_free` may come at any time; the
//! port recycles the frame when the device is done with it.

use std::os::fd::BorrowedFd;

pub mod af_xdp;
#[cfg(test)]
pub(crate) mod conformance;
#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod sim;

/// What a port can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortCaps {
    /// Hardware address of the interface.
    pub mac: [u8; 6],
    /// Largest IP packet in bytes: Ethernet frame without its 14-byte header.
    pub mtu_bytes: usize,
    /// Bytes of one transmit frame that a caller may fill.
    pub frame_bytes_max: usize,
    /// How many transmit frames exist; the bound on all connections' unacknowledged data.
    pub tx_frames_max: usize,
    /// How many receive frames exist; those that a caller keeps are missing to the device.
    pub rx_frames_max: usize,
    /// Received frames may carry only the pseudo-header sum in their TCP checksum field, because
    /// they never crossed a wire (veth, tap, virtio). Such a frame is accepted if that partial sum
    /// is right; a full checksum is always accepted if right.
    pub rx_partial_checksum: bool,
    /// [`Port::tx_submit_partial`] may be called: the device adds up TCP checksums.
    pub tx_checksum: bool,
    /// Zero-copy between device and buffers.
    pub zero_copy: bool,
}

/// A received frame, owned by the caller until [`Port::rx_release`].
#[derive(Debug, PartialEq, Eq)]
pub struct RxFrame {
    /// Port-specific name of the buffer.
    pub(crate) addr: u64,
    /// Frame length in bytes.
    pub(crate) len: u32,
}

/// A transmit frame, owned by the caller until [`Port::tx_free`].
#[derive(Debug, PartialEq, Eq)]
pub struct TxFrame {
    /// Port-specific name of the buffer.
    pub(crate) index: u32,
}

/// The transmit ring is full: try again after the next [`Port::tx_flush`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxRingFull;

/// The transmit frames of a port, apart from its receive side.
pub trait TxFrames {
    /// As [`Port::tx_alloc`].
    fn alloc(&mut self) -> Option<TxFrame>;

    /// As [`Port::tx_bytes_mut`].
    ///
    /// # Panics
    /// If the frame is in flight (a bug of the caller).
    fn bytes_mut(&mut self, frame: &mut TxFrame) -> &mut [u8];

    /// As [`Port::tx_free`].
    fn free(&mut self, frame: TxFrame);

    /// As [`Port::tx_available`].
    fn available(&self) -> usize;
}

/// One NIC queue pair.
pub trait Port {
    /// See [`Port::rx_and_tx`].
    type Tx<'a>: TxFrames
    where
        Self: 'a;

    /// What this port can do. Constant over the port's life.
    fn caps(&self) -> &PortCaps;

    /// Appends up to `max` received frames to `out` and returns how many.
    fn rx_burst(&mut self, out: &mut Vec<RxFrame>, max: usize) -> usize;

    /// The bytes of a received frame, from the Ethernet header on.
    fn rx_bytes(&self, frame: &RxFrame) -> &[u8];

    /// The bytes of a received frame, and the transmit frames beside it: whoever reads a request
    /// writes the reply where it will be sent from.
    fn rx_and_tx(&mut self, frame: &RxFrame) -> (&[u8], Self::Tx<'_>);

    /// All transmit frames.
    fn tx(&mut self) -> Self::Tx<'_>;

    /// Gives a received frame back to the device.
    fn rx_release(&mut self, frame: RxFrame);

    /// Takes a transmit frame from the pool; `None`: the pool is empty, push back.
    fn tx_alloc(&mut self) -> Option<TxFrame> {
        self.tx().alloc()
    }

    /// The whole buffer of a transmit frame, [`PortCaps::frame_bytes_max`] long.
    ///
    /// # Panics
    /// If the frame is in flight: its bytes are the device's (a bug of the caller).
    fn tx_bytes_mut(&mut self, frame: &mut TxFrame) -> &mut [u8];

    /// Queues bytes `start .. start + len` of the buffer for transmission, without giving the
    /// frame away.
    ///
    /// # Errors
    /// [`TxRingFull`]: nothing was queued.
    ///
    /// # Panics
    /// If the frame is in flight, or the range leaves the buffer (a bug of the caller).
    fn tx_submit(
        &mut self,
        frame: &mut TxFrame,
        start: usize,
        len: usize,
    ) -> Result<(), TxRingFull>;

    /// As [`Self::tx_submit`], for a frame whose TCP checksum field holds the folded sum of the
    /// pseudo-header alone: the device adds what lies from the TCP header, at `segment_at` of the
    /// buffer, to the frame's end. Bytes before `start` may be overwritten.
    ///
    /// # Errors
    /// [`TxRingFull`]: nothing was queued.
    ///
    /// # Panics
    /// As `tx_submit`, and where [`PortCaps::tx_checksum`] says that the device does not do it.
    fn tx_submit_partial(
        &mut self,
        frame: &mut TxFrame,
        start: usize,
        len: usize,
        segment_at: usize,
    ) -> Result<(), TxRingFull> {
        let _ = (frame, start, len, segment_at);
        unreachable!("a device that adds up no checksums")
    }

    /// Whether the device still owns the frame's bytes. Exact as of the last `tx_flush`.
    fn tx_in_flight(&self, frame: &TxFrame) -> bool;

    /// Gives the frame up; it is recycled when no longer in flight.
    fn tx_free(&mut self, frame: TxFrame) {
        self.tx().free(frame);
    }

    /// Transmit frames that `tx_alloc` can still give out now.
    fn tx_available(&self) -> usize;

    /// Kicks the device if needed and reaps completions.
    fn tx_flush(&mut self);

    /// Becomes readable when frames arrived; `None`: the port can only be polled.
    fn wait_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Hands every counter to `visit` as a metric name (`snake_case`) and its present value.
    fn counters(&self, visit: &mut dyn FnMut(&'static str, u64));
}
