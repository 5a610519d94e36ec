//! [`RingMemory`]: the raw parts of one ring shared with the kernel.

use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::net::xdp::{XdpDesc, XdpRingOffset};

use super::mapping::Mapping;

/// What a ring carries.
///
/// # Safety
/// Every bit pattern is a valid value, and the alignment is at most 8.
pub(in super::super) unsafe trait Slot:
    Copy + fmt::Debug + 'static
{
}
// SAFETY: an integer of 8 bytes.
unsafe impl Slot for u64 {}
// SAFETY: three integers (the flags type takes unknown bits too), aligned to 8.
unsafe impl Slot for XdpDesc {}

const _: () = assert!(size_of::<XdpDesc>() == 16 && align_of::<XdpDesc>() == 8);

/// Producer index, consumer index, flags and slots of one ring. Which side may write which index
/// is the business of `ring::Producer` and `ring::Consumer`.
pub(in super::super) struct RingMemory<T: Slot> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    slots: NonNull<T>,
    /// Number of slots, a power of two, less one.
    mask: u32,
    /// Keeps the memory under the pointers; shared only by the two ends of a test.
    _mapping: Arc<Mapping>,
}

// SAFETY: the pointers lead into the mapping that the ring owns, which is bound to no thread.
unsafe impl<T: Slot> Send for RingMemory<T> {}

impl<T: Slot> RingMemory<T> {
    /// The ring of `entries` slots whose parts lie at `offsets` of `mapping`.
    ///
    /// # Panics
    /// If `entries` is no power of two or a part leaves the mapping: the kernel would have
    /// answered nonsense.
    pub(in super::super) fn new(
        mapping: Arc<Mapping>,
        offsets: &XdpRingOffset,
        entries: u32,
    ) -> Self {
        assert!(entries.is_power_of_two(), "a ring of {entries} entries");
        let at = |offset: u64, len: usize, align: usize| -> NonNull<c_void> {
            let offset = usize::try_from(offset).expect("an offset into mapped memory");
            let fits = offset.checked_add(len).is_some_and(|end| end <= mapping.len());
            assert!(fits && offset.is_multiple_of(align), "ring part at {offset}, {len} bytes");
            // SAFETY: just checked to lie inside the mapping.
            unsafe { mapping.start().byte_add(offset) }
        };
        let index = |offset| at(offset, size_of::<u32>(), align_of::<u32>()).cast();
        let slots_bytes = usize::try_from(entries).expect("32 bits fit") * size_of::<T>();
        // Kernels before 5.4 have no flags word; a bind with need-wakeup fails there, and the
        // port needs 5.18 anyway.
        let flags = offsets.flags.expect("the kernel knows XDP_USE_NEED_WAKEUP");
        Self {
            producer: index(offsets.producer),
            consumer: index(offsets.consumer),
            flags: index(flags),
            slots: at(offsets.desc, slots_bytes, align_of::<T>()).cast(),
            mask: entries - 1,
            _mapping: mapping,
        }
    }

    /// Number of slots.
    pub(in super::super) const fn entries(&self) -> u32 {
        // `mask` is below 2^32 - 1 because `entries` is a power of two.
        self.mask.wrapping_add(1)
    }

    /// The producer's index.
    pub(in super::super) fn producer(&self) -> &AtomicU32 {
        // SAFETY: points into the mapping, aligned (checked in `new`), and every access by this
        // program is atomic.
        unsafe { self.producer.as_ref() }
    }

    /// The consumer's index.
    pub(in super::super) fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as for `producer`.
        unsafe { self.consumer.as_ref() }
    }

    /// The kernel's flags.
    pub(in super::super) fn flags(&self) -> u32 {
        // SAFETY: as for `producer`.
        let flags = unsafe { self.flags.as_ref() };
        flags.load(Ordering::Relaxed)
    }

    /// Reads the slot of a free-running index. The caller must own the slot under the ring's
    /// protocol; otherwise the value means nothing.
    pub(in super::super) fn read(&self, index: u32) -> T {
        let slot = self.slot(index);
        // SAFETY: inside the mapping and aligned (checked in `new`, the index is masked); any bit
        // pattern is a `T`. Volatile, because the other side writes the memory.
        unsafe { slot.read_volatile() }
    }

    /// Writes the slot of a free-running index.
    pub(in super::super) fn write(&self, index: u32, value: T) {
        let slot = self.slot(index);
        // SAFETY: as for `read`.
        unsafe { slot.write_volatile(value) };
    }

    fn slot(&self, index: u32) -> NonNull<T> {
        let index = usize::try_from(index & self.mask).expect("32 bits fit");
        // SAFETY: `index & mask` is below the number of slots, which lie inside the mapping.
        unsafe { self.slots.add(index) }
    }
}

impl<T: Slot> fmt::Debug for RingMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingMemory")
            .field("entries", &self.entries())
            .field("producer", self.producer())
            .field("consumer", self.consumer())
            .field("flags", &self.flags())
            .finish()
    }
}

/// Both ends of a ring in ordinary memory, as the kernel would lay it out: indices start at
/// `first`, to test that they may wrap.
#[cfg(test)]
pub(in super::super) fn pair_in_memory<T: Slot>(
    entries: u32,
    first: u32,
) -> (RingMemory<T>, RingMemory<T>) {
    let offsets = XdpRingOffset { producer: 0, consumer: 64, flags: Some(128), desc: 192 };
    let len = 192 + usize::try_from(entries).unwrap() * size_of::<T>();
    let mapping = Arc::new(Mapping::ordinary(len).unwrap());
    let ours = RingMemory::new(mapping.clone(), &offsets, entries);
    let theirs = RingMemory::new(mapping, &offsets, entries);
    ours.producer().store(first, Ordering::Relaxed);
    ours.consumer().store(first, Ordering::Relaxed);
    (ours, theirs)
}
