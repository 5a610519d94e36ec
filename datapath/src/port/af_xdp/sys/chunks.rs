//! [`Chunks`]: packet buffers of equal size, each with one owner at a time.

use std::ptr::NonNull;
use std::slice;

use super::mapping::Mapping;

/// Who may touch a chunk's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Owner {
    /// Nobody: a transmit chunk that is not allocated.
    Pool,
    /// The port's caller.
    Caller,
    /// The kernel or the device: its address is in a ring, or they took it from there.
    Device,
    /// As `Device`, and the caller gave it up: it goes to the pool when the device is done.
    DeviceThenPool,
}

/// The UMEM. References are handed out only to bytes of chunks that [`Owner::Caller`] owns, so
/// that none exists to memory that the kernel writes.
#[derive(Debug)]
pub(in super::super) struct Chunks {
    mapping: Mapping,
    owners: Box<[Owner]>,
    chunk_bytes: usize,
}

impl Chunks {
    /// Divides `mapping` into `count` chunks, all in the pool.
    ///
    /// # Panics
    /// If the mapping is too small (a bug of the caller).
    pub(in super::super) fn new(mapping: Mapping, chunk_bytes: usize, count: u32) -> Self {
        let owners = vec![Owner::Pool; to_usize(count)].into_boxed_slice();
        let fits = owners.len().checked_mul(chunk_bytes).is_some_and(|len| len <= mapping.len());
        assert!(fits, "{count} chunks of {chunk_bytes} bytes exceed the mapping");
        Self { mapping, owners, chunk_bytes }
    }

    /// Who owns a chunk; `None`: there is no such chunk.
    pub(in super::super) fn owner(&self, chunk: u32) -> Option<Owner> {
        self.owners.get(to_usize(chunk)).copied()
    }

    /// Notes a change of owner. To [`Owner::Device`]: before the address is published in a ring.
    /// From it: after the kernel returned the address.
    ///
    /// # Panics
    /// If there is no such chunk (a bug of the caller).
    pub(in super::super) fn set_owner(&mut self, chunk: u32, owner: Owner) {
        let slot = self.owners.get_mut(to_usize(chunk)).expect("the chunk exists");
        *slot = owner;
    }

    /// Bytes `start .. start + len` of a chunk.
    ///
    /// # Panics
    /// If the caller does not own the chunk or the range leaves it (a bug of the caller).
    pub(in super::super) fn bytes(&self, chunk: u32, start: usize, len: usize) -> &[u8] {
        let offset = self.checked_offset(chunk, start, len);
        // SAFETY: `checked_offset` puts the range inside the mapping.
        let first = unsafe { self.mapping.start().cast::<u8>().add(offset) };
        // SAFETY: the range is mapped, initialized (by the kernel's zeroing at first) and inside
        // one allocation; the chunk is the caller's, so neither the kernel nor, thanks to the
        // borrow of `self`, this program writes it while the reference lives.
        unsafe { slice::from_raw_parts(first.as_ptr(), len) }
    }

    /// All bytes of a chunk.
    ///
    /// # Panics
    /// If the caller does not own the chunk (a bug of the caller).
    pub(in super::super) fn bytes_mut(&mut self, chunk: u32) -> &mut [u8] {
        let offset = self.checked_offset(chunk, 0, self.chunk_bytes);
        // SAFETY: `checked_offset` puts the range inside the mapping.
        let first = unsafe { self.mapping.start().cast::<u8>().add(offset) };
        // SAFETY: as in `bytes`, and the exclusive borrow of `self` makes it the only reference.
        unsafe { slice::from_raw_parts_mut(first.as_ptr(), self.chunk_bytes) }
    }

    /// Bytes `start .. start + len` of a chunk, and beside them the chunks from `from` on, which it
    /// is none of.
    ///
    /// # Panics
    /// As [`Self::bytes`], or if the chunk is one of those (a bug of the caller).
    pub(in super::super) fn bytes_beside(
        &mut self,
        (chunk, start, len): (u32, usize, usize),
        from: u32,
    ) -> (&[u8], Part<'_>) {
        assert!(chunk < from, "chunk {chunk} is lent twice");
        let offset = self.checked_offset(chunk, start, len);
        // SAFETY: `checked_offset` puts the range inside the mapping.
        let first = unsafe { self.mapping.start().cast::<u8>().add(offset) };
        // SAFETY: as in `bytes`; `self` stays borrowed, and the part that goes out beside it
        // reaches neither the bytes nor the owner of a chunk before `from`.
        let bytes = unsafe { slice::from_raw_parts(first.as_ptr(), len) };
        (bytes, self.part(from))
    }

    /// The chunks from `from` on.
    ///
    /// # Panics
    /// If there are fewer than `from` chunks (a bug of the caller).
    pub(in super::super) fn part(&mut self, from: u32) -> Part<'_> {
        let owners = self.owners.get_mut(to_usize(from)..).expect("so many chunks exist");
        let offset = to_usize(from) * self.chunk_bytes;
        // SAFETY: the chunks before `from` lie inside the mapping, and so does their end.
        let start = unsafe { self.mapping.start().cast::<u8>().add(offset) };
        Part { start, owners, chunk_bytes: self.chunk_bytes }
    }

    fn checked_offset(&self, chunk: u32, start: usize, len: usize) -> usize {
        let owner = self.owner(chunk);
        assert!(
            owner == Some(Owner::Caller),
            "chunk {chunk} is touched by the caller but belongs to {owner:?}"
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
        self.owners.len() * self.chunk_bytes
    }
}

/// The last chunks, numbered from 0 among themselves.
#[derive(Debug)]
pub(in super::super) struct Part<'a> {
    /// First byte of the first chunk; the mapping lives as long as `owners` is borrowed.
    start: NonNull<u8>,
    owners: &'a mut [Owner],
    chunk_bytes: usize,
}

impl Part<'_> {
    /// As [`Chunks::owner`].
    pub(in super::super) fn owner(&self, chunk: u32) -> Option<Owner> {
        self.owners.get(to_usize(chunk)).copied()
    }

    /// As [`Chunks::set_owner`].
    ///
    /// # Panics
    /// If there is no such chunk (a bug of the caller).
    pub(in super::super) fn set_owner(&mut self, chunk: u32, owner: Owner) {
        *self.owners.get_mut(to_usize(chunk)).expect("the chunk exists") = owner;
    }

    /// As [`Chunks::bytes_mut`].
    ///
    /// # Panics
    /// If the caller does not own the chunk (a bug of the caller).
    pub(in super::super) fn bytes_mut(&mut self, chunk: u32) -> &mut [u8] {
        let owner = self.owner(chunk);
        assert!(
            owner == Some(Owner::Caller),
            "chunk {chunk} of a part is touched by the caller but belongs to {owner:?}"
        );
        // SAFETY: a chunk that has an owner lies inside the mapping.
        let first = unsafe { self.start.add(to_usize(chunk) * self.chunk_bytes) };
        // SAFETY: the range is mapped, initialized and inside one allocation; the chunk is the
        // caller's, so the kernel does not touch it. Of this program nobody else does: the part
        // borrows `Chunks` exclusively, bytes that went out beside it are of other chunks, and the
        // borrow of `self` makes this the only reference to the part's.
        unsafe { slice::from_raw_parts_mut(first.as_ptr(), self.chunk_bytes) }
    }
}

fn to_usize(chunk: u32) -> usize {
    usize::try_from(chunk).expect("usize has at least 32 bits")
}
