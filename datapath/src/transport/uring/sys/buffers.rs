//! [`Buffers`]: memory of which the kernel takes a piece whenever bytes arrive.
//!
//! Source: io_uring_register_buf_ring(3), `struct io_uring_buf_ring` of uapi/linux/io_uring.h.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

/// How many buffers there are; a power of two. When all are in use, receiving ends with ENOBUFS
/// and is begun again after they have come back.
pub(in super::super) const BUFFERS: u16 = 256;
/// Bytes of one of them.
pub(in super::super) const BUFFER_LEN: u32 = 16 * 1024;

/// `struct io_uring_buf`; the kernel reads it. In the first one `tail` is the ring's, in the others it
/// is reserved.
#[repr(C)]
#[derive(Default)]
struct Slot {
    addr: AtomicU64,
    len: AtomicU32,
    id: AtomicU16,
    tail: AtomicU16,
}

const _: () = assert!(size_of::<Slot>() == 16);

/// The ring; the kernel wants it at the begin of a page.
#[repr(C, align(4096))]
struct Slots([Slot; BUFFERS as usize]);

/// The buffers and the ring in which they are offered to the kernel.
pub(super) struct Buffers {
    slots: Box<Slots>,
    /// `BUFFERS` times `BUFFER_LEN` bytes.
    memory: NonNull<[u8]>,
    tail: u16,
}

/// Received bytes in a buffer that is ours until it is given back.
#[derive(Debug)]
pub(in super::super) struct Filled {
    id: u16,
    len: u32,
}

impl Filled {
    /// How many bytes were received.
    pub(in super::super) fn len(&self) -> usize {
        self.len as usize
    }
}

impl Buffers {
    /// All buffers on offer. Their memory is zeroed pages that cost nothing until they are used.
    pub(super) fn new() -> Self {
        let memory = vec![0; usize::from(BUFFERS) * BUFFER_LEN as usize].into_boxed_slice();
        let memory = NonNull::from(Box::leak(memory));
        let slots = Box::new(Slots(std::array::from_fn(|_| Slot::default())));
        let mut buffers = Self { slots, memory, tail: 0 };
        for id in 0..BUFFERS {
            buffers.offer(id);
        }
        buffers
    }

    /// Where the ring is.
    pub(super) fn ring_addr(&self) -> u64 {
        std::ptr::from_ref::<Slots>(&self.slots).expose_provenance() as u64
    }

    /// Takes a buffer that the kernel filled. An answer that no kernel gives is no buffer.
    pub(super) fn take(&self, id: u16, len: u32) -> Option<Filled> {
        (id < BUFFERS && len <= BUFFER_LEN).then_some(Filled { id, len })
    }

    /// What was received.
    pub(super) fn bytes(&self, filled: &Filled) -> &[u8] {
        let first = self.memory.cast::<u8>();
        let offset = usize::from(filled.id) * BUFFER_LEN as usize;
        // SAFETY: `take` checked that the id is below BUFFERS, so the offset is inside `memory`.
        let start = unsafe { first.add(offset) };
        // SAFETY: the bytes are inside `memory` (`take` checked the length), which lives as long as
        // `self`, and are initialized, by zeroes or by the kernel. Nobody writes to them: a `Filled`
        // is made when the kernel took its buffer out of the ring, and the buffer is offered again
        // only by `give_back`, which consumes it and needs `self` mutably.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), filled.len()) }
    }

    /// Offers a buffer to the kernel again.
    pub(super) fn give_back(&mut self, filled: Filled) {
        let Filled { id, len: _ } = filled;
        self.offer(id);
    }

    fn offer(&mut self, id: u16) {
        let Slots(slots) = &*self.slots;
        let [first, ..] = slots;
        if let Some(slot) = slots.get(usize::from(self.tail % BUFFERS)) {
            let addr = self.memory.cast::<u8>().as_ptr().expose_provenance() as u64;
            let offset = u64::from(id) * u64::from(BUFFER_LEN);
            slot.addr.store(addr + offset, Ordering::Relaxed);
            slot.len.store(BUFFER_LEN, Ordering::Relaxed);
            slot.id.store(id, Ordering::Relaxed);
        }
        self.tail = self.tail.wrapping_add(1);
        // The kernel sees the slot before it sees that there is one more.
        first.tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: `memory` is the box that `new` leaked; whoever owns `self` sees to it that the
        // kernel has no request left that may write there (`Ring::drop`).
        drop(unsafe { Box::from_raw(self.memory.as_ptr()) });
    }
}
