//! [`Chunks`]: packet buffers of equal size, each with one owner at a time.

use std::ptr::NonNull;
use std::slice;

use coney_base::FramePool;
use coney_base::frame_pool::NotInFlight;

use super::mapping::Mapping;

/// Who may touch the bytes of a receive chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum RxOwner {
    /// Nobody: it was not lent yet.
    Nobody,
    /// The port's caller.
    Caller,
    /// The kernel or the device: its address is in a ring, or they took it from there.
    Device,
}

/// The UMEM: receive chunks, and transmit chunks behind them. References are handed out only to bytes
/// of chunks that the caller owns ([`RxOwner::Caller`], [`FramePool::expect_owned`]), so that none
/// exists to memory that the kernel writes.
#[derive(Debug)]
pub(in super::super) struct Chunks {
    mapping: Mapping,
    rx_owners: Box<[RxOwner]>,
    tx: FramePool,
    chunk_bytes: usize,
}

impl Chunks {
    /// Divides `mapping` into `rx_count` receive chunks, which nobody has, and `tx_count` transmit
    /// chunks, which are free.
    ///
    /// # Panics
    /// If the mapping is too small (a bug of the caller).
    pub(in super::super) fn new(
        mapping: Mapping,
        chunk_bytes: usize,
        rx_count: u32,
        tx_count: u32,
    ) -> Self {
        let rx_owners = vec![RxOwner::Nobody; to_usize(rx_count)].into_boxed_slice();
        let tx = FramePool::new(tx_count);
        let count = rx_owners.len() + tx.count();
        let fits = count.checked_mul(chunk_bytes).is_some_and(|len| len <= mapping.len());
        assert!(fits, "{count} chunks of {chunk_bytes} bytes exceed the mapping");
        Self { mapping, rx_owners, tx, chunk_bytes }
    }

    /// Who owns a receive chunk; `None`: there is no such chunk.
    pub(in super::super) fn rx_owner(&self, chunk: u32) -> Option<RxOwner> {
        self.rx_owners.get(to_usize(chunk)).copied()
    }

    /// Notes a change of owner. To [`RxOwner::Device`]: before the address is published in a ring.
    /// From it: after the kernel returned the address.
    ///
    /// # Panics
    /// If there is no such chunk (a bug of the caller).
    pub(in super::super) fn set_rx_owner(&mut self, chunk: u32, owner: RxOwner) {
        let slot = self.rx_owners.get_mut(to_usize(chunk)).expect("the chunk exists");
        *slot = owner;
    }

    /// Bytes `start .. start + len` of a receive chunk.
    ///
    /// # Panics
    /// If the caller does not own the chunk or the range leaves it (a bug of the caller).
    pub(in super::super) fn rx_bytes(&self, chunk: u32, start: usize, len: usize) -> &[u8] {
        let offset = self.checked_offset(chunk, start, len);
        // SAFETY: `checked_offset` puts the range inside the mapping.
        let first = unsafe { self.mapping.start().cast::<u8>().add(offset) };
        // SAFETY: the range is mapped, initialized (by the kernel's zeroing at first) and inside
        // one allocation; the chunk is the caller's, so neither the kernel nor, thanks to the
        // borrow of `self`, this program writes it while the reference lives.
        unsafe { slice::from_raw_parts(first.as_ptr(), len) }
    }

    /// As [`Self::rx_bytes`], and beside them the transmit chunks.
    ///
    /// # Panics
    /// As [`Self::rx_bytes`].
    pub(in super::super) fn rx_and_tx(
        &mut self,
        chunk: u32,
        start: usize,
        len: usize,
    ) -> (&[u8], TxChunks<'_>) {
        let offset = self.checked_offset(chunk, start, len);
        // SAFETY: `checked_offset` puts the range inside the mapping.
        let first = unsafe { self.mapping.start().cast::<u8>().add(offset) };
        // SAFETY: as in `rx_bytes`; `self` stays borrowed, and what goes out beside it reaches
        // neither the bytes nor the owner of a receive chunk.
        let bytes = unsafe { slice::from_raw_parts(first.as_ptr(), len) };
        (bytes, self.tx())
    }

    /// The transmit chunks.
    pub(in super::super) fn tx(&mut self) -> TxChunks<'_> {
        let offset = self.rx_owners.len() * self.chunk_bytes;
        // SAFETY: the receive chunks lie inside the mapping, and so does their end.
        let start = unsafe { self.mapping.start().cast::<u8>().add(offset) };
        TxChunks { start, frames: &mut self.tx, chunk_bytes: self.chunk_bytes }
    }

    /// Who has which transmit chunk.
    pub(in super::super) const fn tx_frames(&self) -> &FramePool {
        &self.tx
    }

    /// The device gets a transmit chunk; before its address is published in a ring.
    ///
    /// # Panics
    /// As [`FramePool::lend`].
    pub(in super::super) fn tx_lend(&mut self, index: u32) {
        self.tx.lend(index);
    }

    /// The kernel returned the address of a transmit chunk.
    ///
    /// # Errors
    /// [`NotInFlight`].
    pub(in super::super) fn tx_complete(&mut self, index: u32) -> Result<(), NotInFlight> {
        self.tx.complete(index)
    }

    fn checked_offset(&self, chunk: u32, start: usize, len: usize) -> usize {
        let owner = self.rx_owner(chunk);
        assert!(
            owner == Some(RxOwner::Caller),
            "receive chunk {chunk} is touched by the caller but belongs to {owner:?}"
        );
        let fits = start.checked_add(len).is_some_and(|end| end <= self.chunk_bytes);
        assert!(fits, "{len} bytes at {start} leave a chunk of {} bytes", self.chunk_bytes);
        to_usize(chunk) * self.chunk_bytes + start
    }

    /// Address of the first chunk, for registration with the kernel.
    pub(in super::super) fn address(&self) -> u64 {
        self.mapping.start().addr().get() as u64
    }

    /// Bytes that the chunks fill, for registration with the kernel.
    pub(in super::super) fn len_bytes(&self) -> usize {
        (self.rx_owners.len() + self.tx.count()) * self.chunk_bytes
    }
}

/// The transmit chunks, numbered from 0 among themselves as [`FramePool`] does.
#[derive(Debug)]
pub(in super::super) struct TxChunks<'a> {
    /// First byte of the first chunk; the mapping lives as long as `frames` is borrowed.
    start: NonNull<u8>,
    /// That of `Chunks`, which has as many frames as there are chunks. It is changed here alone: with
    /// another in its place, chunks that do not exist would have owners.
    frames: &'a mut FramePool,
    chunk_bytes: usize,
}

impl<'a> TxChunks<'a> {
    /// Who has which of them.
    pub(in super::super) const fn frames(&self) -> &FramePool {
        self.frames
    }

    /// As [`FramePool::alloc`].
    pub(in super::super) fn alloc(&mut self) -> Option<u32> {
        self.frames.alloc()
    }

    /// As [`FramePool::free`].
    ///
    /// # Panics
    /// If the caller does not have the chunk (a bug of the caller).
    pub(in super::super) fn free(&mut self, index: u32) {
        self.frames.free(index);
    }

    /// All bytes of a chunk.
    ///
    /// # Panics
    /// If the caller does not own the chunk (a bug of the caller).
    pub(in super::super) fn bytes_mut(&mut self, index: u32) -> &mut [u8] {
        let Self { start, chunk_bytes, .. } = *self;
        TxChunks { start, frames: &mut *self.frames, chunk_bytes }.into_bytes_mut(index)
    }

    /// As [`Self::bytes_mut`], for as long as the chunks are borrowed.
    ///
    /// # Panics
    /// As [`Self::bytes_mut`].
    pub(in super::super) fn into_bytes_mut(self, index: u32) -> &'a mut [u8] {
        self.frames.expect_owned(index);
        // SAFETY: a chunk that has an owner lies inside the mapping.
        let first = unsafe { self.start.add(to_usize(index) * self.chunk_bytes) };
        // SAFETY: the range is mapped, initialized and inside one allocation; the chunk is the
        // caller's, so the kernel does not touch it. Of this program nobody else does: `self`
        // borrows the transmit chunks exclusively and ends here, and bytes that went out beside it
        // are of receive chunks.
        unsafe { slice::from_raw_parts_mut(first.as_ptr(), self.chunk_bytes) }
    }
}

fn to_usize(chunk: u32) -> usize {
    usize::try_from(chunk).expect("usize has at least 32 bits")
}
