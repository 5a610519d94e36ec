//! In-memory port and the faulty link between two of them.
//!
//! [`SimPort`] is one end: what it transmits waits in [`SimPort::take_transmitted`], what is given
//! to [`SimPort::inject`] is received. A test talks to it directly, or joins two by a
//! [`Link`] with a seeded fault model.
//!
//! The port is strict about ownership: a frame is in flight from `tx_submit` until a later
//! `tx_flush` completes it ([`SimPortConfig::completion_flushes`]), touching it meanwhile panics,
//! and pools and rings are bounded, so that code which would be wrong on a device is wrong here.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use coney_base::FramePool;

use super::{Port, PortCaps, RxFrame, TxFrame, TxFrames, TxRingFull};
use crate::wire::CHECKSUM_AT;
use crate::wire::checksum::Sum;

mod link;
mod rng;
#[cfg(test)]
mod tests;

pub use link::{Faults, Link, LinkStats};
pub use rng::Rng;

/// Shape of a [`SimPort`].
#[derive(Clone, Debug)]
pub struct SimPortConfig {
    /// Hardware address.
    pub mac: [u8; 6],
    /// Largest IP packet in bytes; a received frame beyond it is dropped.
    pub mtu_bytes: usize,
    /// Size of each buffer in bytes.
    pub frame_bytes: usize,
    /// Transmit frames in the pool.
    pub tx_frames: usize,
    /// Receive frames in the pool; what arrives while none is free is dropped.
    pub rx_frames: usize,
    /// Frames that the transmit ring holds between two flushes.
    pub tx_ring: usize,
    /// How many flushes a frame stays in flight after the one that transmits it.
    pub completion_flushes: u64,
    /// See [`PortCaps::rx_partial_checksum`].
    pub rx_partial_checksum: bool,
    /// Overwrite a transmit frame when it is allocated: whoever relies on old bytes shall see it.
    pub scrub: bool,
    /// See [`PortCaps::tx_checksum`].
    pub tx_checksum: bool,
}

impl Default for SimPortConfig {
    fn default() -> Self {
        Self {
            mac: [2, 0, 0, 0, 0, 1],
            mtu_bytes: 1500,
            frame_bytes: 2048,
            tx_frames: 1024,
            rx_frames: 1024,
            tx_ring: 256,
            completion_flushes: 0,
            rx_partial_checksum: false,
            scrub: true,
            tx_checksum: false,
        }
    }
}

/// The transmit frames of a [`SimPort`].
#[derive(Debug)]
pub struct SimTx {
    bytes: Vec<Box<[u8]>>,
    pool: FramePool,
    scrub: bool,
}

impl TxFrames for &mut SimTx {
    fn alloc(&mut self) -> Option<TxFrame> {
        let index = self.pool.alloc()?;
        if self.scrub {
            self.bytes[index as usize].fill(0xa5);
        }
        Some(TxFrame { index })
    }

    fn bytes_mut(&mut self, frame: &mut TxFrame) -> &mut [u8] {
        self.pool.expect_owned(frame.index);
        &mut self.bytes[frame.index as usize]
    }

    fn free(&mut self, frame: TxFrame) {
        self.pool.free(frame.index);
    }

    fn available(&self) -> usize {
        self.pool.available()
    }
}

/// A frame since the last flush.
#[derive(Debug)]
struct Submitted {
    index: u32,
    start: usize,
    len: usize,
    /// Where the segment begins in the buffer whose checksum is to be added up.
    segment_at: Option<usize>,
}

#[derive(Debug, Default)]
struct Counters {
    rx_frames: u64,
    rx_no_frame: u64,
    rx_oversize: u64,
    tx_frames: u64,
    tx_ring_full: u64,
}

/// One end of a simulated wire.
#[derive(Debug)]
pub struct SimPort {
    caps: PortCaps,
    tx_ring_max: usize,
    completion_flushes: u64,
    tx: SimTx,
    tx_ring: VecDeque<Submitted>,
    /// Transmitted, with the flush that completes them.
    completing: VecDeque<(u64, u32)>,
    flushes: u64,
    wire: Vec<Vec<u8>>,
    /// Buffers for the wire that were used before.
    spare: Vec<Vec<u8>>,
    rx_bytes: Vec<Vec<u8>>,
    rx_free: Vec<u32>,
    rx_ready: VecDeque<u32>,
    counters: Counters,
}

impl SimPort {
    /// A port with all frames in their pools.
    pub fn new(config: &SimPortConfig) -> Self {
        let tx_frames = u32::try_from(config.tx_frames).unwrap_or(u32::MAX);
        let rx_frames = u32::try_from(config.rx_frames).unwrap_or(u32::MAX);
        Self {
            caps: PortCaps {
                mac: config.mac,
                mtu_bytes: config.mtu_bytes,
                frame_bytes_max: config.frame_bytes,
                tx_frames_max: config.tx_frames,
                rx_frames_max: config.rx_frames,
                rx_partial_checksum: config.rx_partial_checksum,
                tx_checksum: config.tx_checksum,
                zero_copy: false,
            },
            tx_ring_max: config.tx_ring,
            completion_flushes: config.completion_flushes,
            tx: SimTx {
                bytes: (0..tx_frames).map(|_| vec![0; config.frame_bytes].into()).collect(),
                pool: FramePool::new(tx_frames),
                scrub: config.scrub,
            },
            tx_ring: VecDeque::new(),
            completing: VecDeque::new(),
            flushes: 0,
            wire: Vec::new(),
            spare: Vec::new(),
            rx_bytes: (0..rx_frames).map(|_| Vec::new()).collect(),
            rx_free: (0..rx_frames).rev().collect(),
            rx_ready: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Delivers a frame to this port; `false`: dropped, because no receive frame is free or the
    /// frame is longer than the MTU allows (one VLAN tag does not count).
    pub fn inject(&mut self, frame: &[u8]) -> bool {
        if frame.len() > self.caps.mtu_bytes + 18 || frame.len() > self.caps.frame_bytes_max {
            self.counters.rx_oversize += 1;
            return false;
        }
        let Some(index) = self.rx_free.pop() else {
            self.counters.rx_no_frame += 1;
            return false;
        };
        let buf = &mut self.rx_bytes[index as usize];
        buf.clear();
        buf.extend_from_slice(frame);
        self.rx_ready.push_back(index);
        self.counters.rx_frames += 1;
        true
    }

    /// Takes what was transmitted by flushes so far, in order.
    pub fn take_transmitted(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.wire)
    }

    /// Gives back a buffer that [`Self::take_transmitted`] returned, of this port or another, for
    /// frames to come. Not needed, but saves an allocation.
    pub fn recycle(&mut self, frame: Vec<u8>) {
        if self.spare.len() < self.tx_ring_max {
            self.spare.push(frame);
        }
    }

    /// Whether every frame is back in its pool: nothing leaked, nothing in flight, nothing queued.
    pub fn is_quiescent(&self) -> bool {
        self.tx.pool.available() == self.caps.tx_frames_max
            && self.rx_free.len() == self.caps.rx_frames_max
    }

    fn submit(&mut self, submitted: Submitted) -> Result<(), TxRingFull> {
        let Submitted { index, start, len, segment_at: _ } = submitted;
        self.tx.pool.expect_owned(index);
        assert!(start + len <= self.caps.frame_bytes_max, "the range leaves frame {index}");
        if self.tx_ring.len() >= self.tx_ring_max {
            self.counters.tx_ring_full += 1;
            return Err(TxRingFull);
        }
        self.tx.pool.lend(index);
        self.tx_ring.push_back(submitted);
        Ok(())
    }
}

impl Port for SimPort {
    type Tx<'a> = &'a mut SimTx;

    fn caps(&self) -> &PortCaps {
        &self.caps
    }

    fn rx_burst(&mut self, out: &mut Vec<RxFrame>, max: usize) -> usize {
        let count = self.rx_ready.len().min(max);
        out.extend(self.rx_ready.drain(..count).map(|index| {
            let len = u32::try_from(self.rx_bytes[index as usize].len()).unwrap_or(u32::MAX);
            RxFrame { addr: u64::from(index), len }
        }));
        count
    }

    fn rx_bytes(&self, frame: &RxFrame) -> &[u8] {
        rx_bytes(&self.rx_bytes, frame)
    }

    fn rx_and_tx(&mut self, frame: &RxFrame) -> (&[u8], &mut SimTx) {
        (rx_bytes(&self.rx_bytes, frame), &mut self.tx)
    }

    fn tx(&mut self) -> &mut SimTx {
        &mut self.tx
    }

    fn rx_release(&mut self, frame: RxFrame) {
        let index = u32::try_from(frame.addr).expect("the token came from this port");
        self.rx_free.push(index);
    }

    fn tx_bytes_mut(&mut self, frame: &mut TxFrame) -> &mut [u8] {
        self.tx.pool.expect_owned(frame.index);
        &mut self.tx.bytes[frame.index as usize]
    }

    fn tx_submit(
        &mut self,
        frame: &mut TxFrame,
        start: usize,
        len: usize,
    ) -> Result<(), TxRingFull> {
        self.submit(Submitted { index: frame.index, start, len, segment_at: None })
    }

    fn tx_submit_partial(
        &mut self,
        frame: &mut TxFrame,
        start: usize,
        len: usize,
        segment_at: usize,
    ) -> Result<(), TxRingFull> {
        assert!(self.caps.tx_checksum, "this device adds up no checksums");
        self.submit(Submitted { index: frame.index, start, len, segment_at: Some(segment_at) })
    }

    fn tx_in_flight(&self, frame: &TxFrame) -> bool {
        self.tx.pool.is_in_flight(frame.index)
    }

    fn tx_available(&self) -> usize {
        self.tx.pool.available()
    }

    fn tx_flush(&mut self) {
        self.flushes += 1;
        while let Some(Submitted { index, start, len, segment_at }) = self.tx_ring.pop_front() {
            let mut sent = self.spare.pop().unwrap_or_default();
            let bytes = &mut self.tx.bytes[index as usize];
            sent.clear();
            sent.extend_from_slice(&bytes[start..start + len]);
            if let Some(segment_at) = segment_at {
                let segment = &mut sent[segment_at - start..];
                let sum = Sum::default().plus(segment).finish();
                segment[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&sum.to_be_bytes());
                // As a port may that keeps a note for the device there.
                bytes[..start].fill(0x5a);
            }
            self.wire.push(sent);
            self.counters.tx_frames += 1;
            self.completing.push_back((self.flushes + self.completion_flushes, index));
        }
        while let Some(&(flush, index)) = self.completing.front() {
            if flush > self.flushes {
                break;
            }
            self.completing.pop_front();
            self.tx.pool.complete(index).expect("only frames in flight complete");
        }
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn counters(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        visit("sim_rx_frames", self.counters.rx_frames);
        visit("sim_rx_no_frame", self.counters.rx_no_frame);
        visit("sim_rx_oversize", self.counters.rx_oversize);
        visit("sim_tx_frames", self.counters.tx_frames);
        visit("sim_tx_ring_full", self.counters.tx_ring_full);
    }
}

fn rx_bytes<'a>(buffers: &'a [Vec<u8>], frame: &RxFrame) -> &'a [u8] {
    usize::try_from(frame.addr)
        .ok()
        .and_then(|at| buffers.get(at))
        .expect("the token came from this port")
}
