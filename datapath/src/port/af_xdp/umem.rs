//! [`Umem`]: the packet memory of one port, divided into a receive and a transmit pool.
//!
//! ```text
//! receive:   Device -- received --> Caller -- released --> Device
//! transmit:  as [`coney_base::FramePool`] has it
//! ```

use coney_base::frame_pool::NotInFlight;
use rustix::io::Errno;

use super::error::{Error, classify};
use super::options::Options;
use super::sys::chunks::{Chunks, RxOwner, TxChunks};
use super::sys::mapping::Mapping;

/// A completion or a received frame names a chunk that the device does not have: a bug of the
/// kernel or the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotTheDevices;

#[derive(Debug)]
pub(super) struct Umem {
    chunks: Chunks,
    chunk_shift: u32,
    /// Chunks below this receive, the others transmit.
    rx_frames: u32,
    rx_held: u32,
    /// Bytes that each transmit chunk has in front of the caller's, for a note to the device; 0:
    /// none is taken.
    tx_metadata_len: usize,
    huge_pages: bool,
}

impl Umem {
    /// Allocates the memory; `chunk_bytes` is a power of two.
    pub(super) fn new(options: &Options, chunk_bytes: u32) -> Result<Self, Error> {
        const ACTION: &str = "allocate packet buffers";
        let count = options.rx_frames + options.tx_frames;
        let chunk_len = to_usize(chunk_bytes);
        let bytes = to_usize(count) * chunk_len;
        let huge = if options.huge_pages { Mapping::huge(bytes) } else { Err(Errno::NOMEM) };
        let huge_pages = huge.is_ok();
        let mapping =
            huge.or_else(|_none_free| Mapping::ordinary(bytes)).map_err(|errno| match errno {
                Errno::NOMEM => Error::OutOfMemory { action: ACTION, bytes },
                _ => classify(ACTION, errno),
            })?;
        mapping.keep_from_children();
        Ok(Self {
            chunks: Chunks::new(mapping, chunk_len, options.rx_frames, options.tx_frames),
            chunk_shift: chunk_bytes.trailing_zeros(),
            rx_frames: options.rx_frames,
            rx_held: 0,
            tx_metadata_len: 0,
            huge_pages,
        })
    }

    /// Address, length in bytes and chunk size, as the kernel wants them for registration.
    pub(super) fn registration(&self) -> (u64, usize, u32) {
        (self.chunks.address(), self.chunks.len_bytes(), 1 << self.chunk_shift)
    }

    /// From now on transmit chunks begin with room for a note. The device must have none of them.
    pub(super) fn set_tx_metadata_len(&mut self, len: usize) {
        self.tx_metadata_len = len;
    }

    /// Bytes of a transmit frame that the caller may fill.
    pub(super) const fn tx_frame_bytes(&self) -> usize {
        self.len() - self.tx_metadata_len
    }

    pub(super) const fn huge_pages(&self) -> bool {
        self.huge_pages
    }

    /// Lends every receive chunk to the device; the addresses go into its fill ring.
    pub(super) fn lend_rx(&mut self) -> impl Iterator<Item = u64> + use<> {
        for chunk in 0..self.rx_frames {
            self.chunks.set_rx_owner(chunk, RxOwner::Device);
        }
        self.rx_held = 0;
        let shift = self.chunk_shift;
        (0..self.rx_frames).map(move |chunk| u64::from(chunk) << shift)
    }

    /// Receive chunks that the caller has.
    pub(super) const fn rx_held(&self) -> u32 {
        self.rx_held
    }

    /// The device put `len` bytes at `addr`: they are the caller's now.
    pub(super) fn receive(&mut self, addr: u64, len: u32) -> Result<(), NotTheDevices> {
        let (chunk, start) = self.split(addr).ok_or(NotTheDevices)?;
        let ends_inside = start.checked_add(to_usize(len)).is_some_and(|end| end <= self.len());
        let lent = self.chunks.rx_owner(chunk) == Some(RxOwner::Device);
        if !ends_inside || !lent {
            return Err(NotTheDevices);
        }
        self.chunks.set_rx_owner(chunk, RxOwner::Caller);
        self.rx_held += 1;
        Ok(())
    }

    /// The bytes of a received frame.
    ///
    /// # Panics
    /// If the caller does not have the frame (a bug of the caller).
    pub(super) fn rx_bytes(&self, addr: u64, len: u32) -> &[u8] {
        let (chunk, start) = self.split(addr).expect("a received frame of this port");
        self.chunks.rx_bytes(chunk, start, to_usize(len))
    }

    /// Lends a received frame's chunk to the device again; returns the address for the fill ring.
    ///
    /// # Panics
    /// If the caller does not have the frame (a bug of the caller).
    pub(super) fn rx_release(&mut self, addr: u64) -> u64 {
        let (chunk, _) = self.split(addr).expect("a received frame of this port");
        let owner = self.chunks.rx_owner(chunk);
        assert!(
            owner == Some(RxOwner::Caller),
            "receive chunk {chunk} is released but belongs to {owner:?}"
        );
        self.chunks.set_rx_owner(chunk, RxOwner::Device);
        self.rx_held -= 1;
        u64::from(chunk) << self.chunk_shift
    }

    /// The bytes of a received frame, and the transmit frames beside it.
    ///
    /// # Panics
    /// As [`Self::rx_bytes`].
    pub(super) fn rx_and_tx(&mut self, addr: u64, len: u32) -> (&[u8], UmemTx<'_>) {
        let (chunk, start) = self.split(addr).expect("a received frame of this port");
        let (bytes, chunks) = self.chunks.rx_and_tx(chunk, start, to_usize(len));
        (bytes, UmemTx { chunks, metadata_len: self.tx_metadata_len })
    }

    /// The transmit frames.
    pub(super) fn tx(&mut self) -> UmemTx<'_> {
        UmemTx { chunks: self.chunks.tx(), metadata_len: self.tx_metadata_len }
    }

    /// Takes a transmit frame from the pool.
    #[cfg(test)]
    fn tx_alloc(&mut self) -> Option<u32> {
        self.tx().alloc()
    }

    /// Transmit frames in the pool.
    pub(super) fn tx_available(&self) -> usize {
        self.chunks.tx_frames().available()
    }

    /// All bytes of a transmit frame.
    ///
    /// # Panics
    /// If the caller does not have the frame or it is in flight (a bug of the caller).
    pub(super) fn tx_bytes_mut(&mut self, index: u32) -> &mut [u8] {
        let reserved = self.tx_metadata_len;
        self.chunks.tx().into_bytes_mut(index).get_mut(reserved..).unwrap_or_default()
    }

    /// Puts a note to the device in front of the bytes that begin at `start` of a frame.
    ///
    /// # Panics
    /// As [`Self::tx_address`]; and if the note has not the length that was set.
    pub(super) fn put_tx_metadata(&mut self, index: u32, start: usize, metadata: &[u8]) {
        assert_eq!(metadata.len(), self.tx_metadata_len, "the length that the kernel was told");
        // It ends where the frame begins: the caller's byte `start` is the chunk's
        // `tx_metadata_len + start`.
        let end = start.saturating_add(metadata.len());
        self.chunks
            .tx()
            .bytes_mut(index)
            .get_mut(start..end)
            .expect("the range is the caller's")
            .copy_from_slice(metadata);
    }

    /// Address of bytes `start .. start + len` of a frame, for the transmit ring.
    ///
    /// # Panics
    /// If the caller does not have the frame, it is in flight, or the range leaves it (a bug of
    /// the caller).
    pub(super) fn tx_address(&self, index: u32, start: usize, len: usize) -> (u64, u32) {
        self.chunks.tx_frames().expect_owned(index);
        let fits = start.checked_add(len).is_some_and(|end| end <= self.tx_frame_bytes());
        let frame_bytes = self.tx_frame_bytes();
        assert!(fits, "{len} bytes at {start} leave a transmit frame of {frame_bytes} bytes");
        let start = u64::try_from(self.tx_metadata_len + start).expect("checked to lie in a chunk");
        let len = u32::try_from(len).expect("checked to lie in a chunk");
        // It exists, so the sum is one of the chunks' numbers.
        let chunk = self.rx_frames + index;
        ((u64::from(chunk) << self.chunk_shift) + start, len)
    }

    /// Lends a transmit frame to the device, after [`Self::tx_address`].
    pub(super) fn tx_lend(&mut self, index: u32) {
        self.chunks.tx_lend(index);
    }

    /// The device is done with the frame that `addr` lies in.
    pub(super) fn tx_complete(&mut self, addr: u64) -> Result<(), NotTheDevices> {
        let (chunk, _) = self.split(addr).ok_or(NotTheDevices)?;
        let index = chunk.checked_sub(self.rx_frames).ok_or(NotTheDevices)?;
        self.chunks.tx_complete(index).map_err(|NotInFlight| NotTheDevices)
    }

    /// Whether the device has the frame.
    pub(super) fn tx_in_flight(&self, index: u32) -> bool {
        self.chunks.tx_frames().is_in_flight(index)
    }

    /// As [`UmemTx::free`].
    #[cfg(test)]
    fn tx_free(&mut self, index: u32) {
        self.tx().free(index);
    }

    const fn len(&self) -> usize {
        1 << self.chunk_shift
    }

    fn split(&self, addr: u64) -> Option<(u32, usize)> {
        let chunk = u32::try_from(addr >> self.chunk_shift).ok()?;
        let start = addr & ((1 << self.chunk_shift) - 1);
        Some((chunk, usize::try_from(start).ok()?))
    }
}

/// The transmit frames of a [`Umem`], apart from its receive frames.
#[derive(Debug)]
pub(super) struct UmemTx<'a> {
    /// A frame's index is its chunk's number here.
    chunks: TxChunks<'a>,
    metadata_len: usize,
}

impl UmemTx<'_> {
    /// Takes a transmit frame from the pool.
    pub(super) fn alloc(&mut self) -> Option<u32> {
        self.chunks.alloc()
    }

    /// As [`Umem::tx_bytes_mut`].
    ///
    /// # Panics
    /// If the caller does not have the frame or it is in flight (a bug of the caller).
    pub(super) fn bytes_mut(&mut self, index: u32) -> &mut [u8] {
        self.chunks.bytes_mut(index).get_mut(self.metadata_len..).unwrap_or_default()
    }

    /// Takes a frame from the caller: into the pool, or, in flight, there once it is completed.
    ///
    /// # Panics
    /// If the caller does not have the frame (a bug of the caller).
    pub(super) fn free(&mut self, index: u32) {
        self.chunks.free(index);
    }

    /// Transmit frames in the pool.
    pub(super) fn available(&self) -> usize {
        self.chunks.frames().available()
    }
}

fn to_usize(value: u32) -> usize {
    usize::try_from(value).expect("usize has at least 32 bits")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use proptest::prelude::*;

    use super::*;

    const FRAMES: u32 = 64;

    fn umem() -> Umem {
        let options = Options {
            rx_frames: FRAMES,
            tx_frames: FRAMES,
            huge_pages: false,
            ..Options::default()
        };
        Umem::new(&options, 2048).unwrap()
    }

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Alloc,
        /// The others name a frame, as if the caller or the device had it.
        Free(u32),
        Submit(u32),
        Complete(u32),
        Write(u32),
        Receive(u32),
        Release(u32),
    }

    fn op() -> impl Strategy<Value = Op> {
        let frame = 0..FRAMES + 2;
        prop_oneof![
            3 => Just(Op::Alloc),
            1 => frame.clone().prop_map(Op::Free),
            3 => frame.clone().prop_map(Op::Submit),
            2 => frame.clone().prop_map(Op::Complete),
            1 => frame.clone().prop_map(Op::Write),
            2 => frame.clone().prop_map(Op::Receive),
            2 => frame.prop_map(Op::Release),
        ]
    }

    fn panics<T>(call: impl FnOnce() -> T) -> bool {
        catch_unwind(AssertUnwindSafe(call)).is_err()
    }

    proptest! {
        /// Against sets. What the caller may not do is left out (it panics, see below); what the
        /// kernel may not do is refused and changes nothing.
        #[test]
        fn every_chunk_has_one_owner(ops in proptest::collection::vec(op(), 0..300)) {
            let mut umem = umem();
            prop_assert_eq!(umem.lend_rx().count(), 64);
            // Frame: is it freed and only waits for its completion?
            let mut device: BTreeMap<u32, bool> = BTreeMap::new();
            let mut caller = BTreeSet::new();
            let mut received = BTreeSet::new();
            for op in ops {
                match op {
                    Op::Alloc => match umem.tx_alloc() {
                        Some(index) => {
                            prop_assert!(!device.contains_key(&index), "the device has it");
                            prop_assert!(caller.insert(index), "given out twice");
                        }
                        None => prop_assert_eq!(caller.len() + device.len(), 64),
                    },
                    Op::Free(index) => {
                        let is_callers = caller.remove(&index);
                        let kept = device.get_mut(&index).filter(|freed| !**freed);
                        if is_callers || kept.is_some() {
                            kept.into_iter().for_each(|freed| *freed = true);
                            umem.tx_free(index);
                        }
                    }
                    Op::Submit(index) => {
                        if caller.remove(&index) {
                            let expected = (u64::from(FRAMES + index) * 2048 + 10, 100);
                            prop_assert_eq!(umem.tx_address(index, 10, 100), expected);
                            umem.tx_lend(index);
                            device.insert(index, false);
                        }
                    }
                    Op::Complete(index) => {
                        let addr = u64::from(FRAMES + index) * 2048 + 10;
                        let had = device.remove(&index);
                        prop_assert_eq!(umem.tx_complete(addr).is_ok(), had.is_some());
                        if had == Some(false) {
                            caller.insert(index);
                        }
                    }
                    Op::Write(index) => {
                        if caller.contains(&index) {
                            umem.tx_bytes_mut(index).fill(1);
                        }
                    }
                    Op::Receive(chunk) => {
                        let may = chunk < FRAMES && received.insert(chunk);
                        let addr = u64::from(chunk) * 2048 + 256;
                        prop_assert_eq!(umem.receive(addr, 1792).is_ok(), may);
                    }
                    Op::Release(chunk) => {
                        if received.remove(&chunk) {
                            let addr = u64::from(chunk) * 2048;
                            prop_assert_eq!(umem.rx_release(addr + 256), addr);
                        }
                    }
                }
                prop_assert_eq!(umem.tx_available(), 64 - caller.len() - device.len());
                prop_assert_eq!(usize::try_from(umem.rx_held()), Ok(received.len()));
                for index in 0..FRAMES {
                    prop_assert_eq!(umem.tx_in_flight(index), device.contains_key(&index));
                }
            }
        }
    }

    /// Each would let two owners have one chunk.
    #[test]
    fn what_the_caller_may_not_do_panics() {
        let mut umem = umem();
        umem.lend_rx().for_each(drop);
        assert!(panics(|| umem.rx_bytes(256, 60).len()), "the device has it");
        assert!(panics(|| umem.rx_release(256)), "the device has it");
        assert_eq!(umem.receive(256, 60), Ok(()));
        assert!(panics(|| umem.rx_bytes(256, 2000).len()), "leaves the chunk");
        umem.rx_release(256);
        assert!(panics(|| umem.rx_release(256)), "released twice");
        for index in [0, FRAMES, u32::MAX] {
            assert!(panics(|| umem.tx_free(index)), "not allocated");
            assert!(panics(|| umem.tx_address(index, 0, 60)), "not allocated");
            assert!(panics(|| umem.tx_bytes_mut(index).len()), "not allocated");
        }
        let index = umem.tx_alloc().unwrap();
        assert!(panics(|| umem.rx_release(u64::from(FRAMES + index) * 2048)), "transmits");
        umem.tx_lend(index);
        assert!(panics(|| umem.tx_bytes_mut(index).len()), "in flight");
        assert!(panics(|| umem.tx_address(index, 0, 60)), "in flight");
        umem.tx_free(index);
        assert!(panics(|| umem.tx_free(index)), "freed twice");
    }

    #[test]
    fn a_received_frame_is_read_while_transmit_frames_are_written() {
        let mut umem = umem();
        umem.lend_rx().for_each(drop);
        let last = u64::from(FRAMES - 1) * 2048;
        assert_eq!(umem.receive(last + 256, 1792), Ok(()));
        let (received, mut tx) = umem.rx_and_tx(last + 256, 1792);
        let before = received.to_vec();
        let frames: Vec<u32> = std::iter::from_fn(|| tx.alloc()).collect();
        assert_eq!(frames.len(), 64);
        for &index in &frames {
            assert_eq!(tx.bytes_mut(index).len(), 2048);
            tx.bytes_mut(index).fill(u8::try_from(index).unwrap() + 1);
        }
        assert_eq!(received, before);
        for &index in &frames {
            assert_eq!(umem.tx_bytes_mut(index)[2047], u8::try_from(index).unwrap() + 1);
            umem.tx_free(index);
        }
        assert!(panics(|| umem.rx_and_tx(256, 60).0.len()), "the device has it");
        let tx_addr = u64::from(FRAMES) * 2048;
        umem.tx_alloc().unwrap();
        assert!(panics(|| umem.rx_and_tx(tx_addr, 60).0.len()), "transmits");
        assert!(panics(|| umem.tx().bytes_mut(FRAMES).len()), "there is none");
    }

    /// The kernel is trusted to name chunks that it was lent, but nonsense must not become a
    /// reference to memory outside them.
    #[test]
    fn descriptor_outside_the_lent_chunks_is_refused() {
        let mut umem = umem();
        assert_eq!(umem.receive(0, 60), Err(NotTheDevices), "not lent yet");
        umem.lend_rx().for_each(drop);
        assert_eq!(umem.receive(256, 1793), Err(NotTheDevices), "leaves the chunk");
        assert_eq!(umem.receive(64 * 2048, 60), Err(NotTheDevices), "a transmit chunk");
        assert_eq!(umem.receive(u64::MAX, u32::MAX), Err(NotTheDevices));
        assert_eq!(umem.receive(256, 1792), Ok(()));
        assert_eq!(umem.receive(256, 60), Err(NotTheDevices), "the caller has it");
        assert_eq!(umem.tx_complete(0), Err(NotTheDevices), "a receive chunk");
        assert_eq!(umem.tx_complete(64 * 2048), Err(NotTheDevices), "in the pool");
        assert_eq!(umem.tx_complete(u64::MAX), Err(NotTheDevices));
        assert_eq!(umem.rx_bytes(256, 1792).len(), 1792);
    }
}
