//! [`Mapping`]: memory from mmap.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// The size of a huge page on every platform that this port knows.
pub(in super::super) const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Readable and writable memory, zeroed at first, unmapped when dropped. Page-aligned.
#[derive(Debug)]
pub(in super::super) struct Mapping {
    start: NonNull<c_void>,
    len: usize,
}

// SAFETY: the memory belongs to the process, not to a thread; `Mapping` has no interior access.
unsafe impl Send for Mapping {}
// SAFETY: a shared `Mapping` gives out only its address and length.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserved huge pages; `len` is rounded up to whole ones. Fails when too few are free.
    pub(in super::super) fn huge(len: usize) -> Result<Self, Errno> {
        let len = len.next_multiple_of(HUGE_PAGE_BYTES);
        let flags = MapFlags::PRIVATE | MapFlags::HUGETLB | MapFlags::HUGE_2MB | MapFlags::POPULATE;
        Self::anonymous_with(len, flags)
    }

    /// Ordinary pages, which the kernel may merge to huge ones.
    pub(in super::super) fn ordinary(len: usize) -> Result<Self, Errno> {
        let mapping = Self::anonymous_with(len, MapFlags::PRIVATE)?;
        mapping.advise(Advice::LinuxHugepage);
        Ok(mapping)
    }

    /// Keeps the memory out of child processes: the kernel would copy pinned pages at once.
    pub(in super::super) fn keep_from_children(&self) {
        self.advise(Advice::LinuxDontFork);
    }

    /// Advice that only makes things faster, and that a kernel may lack.
    fn advise(&self, advice: Advice) {
        // SAFETY: the range is this mapping, and no advice used here changes its content.
        let advised = unsafe { madvise(self.start.as_ptr(), self.len, advice) };
        if let Err(errno) = advised {
            tracing::debug!(%errno, ?advice, "the kernel does not take advice on packet memory");
        }
    }

    fn anonymous_with(len: usize, flags: MapFlags) -> Result<Self, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: without an address the kernel chooses one that overlaps no other mapping.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), len, prot, flags) }?;
        Self::new(start, len)
    }

    /// One ring of an AF_XDP socket: `offset` is one of the `XDP_*PGOFF*` constants.
    pub(in super::super) fn of_ring(
        socket: BorrowedFd<'_>,
        len: usize,
        offset: u64,
    ) -> Result<Self, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: without an address the kernel chooses one that overlaps no other mapping.
        let start = unsafe { mmap(std::ptr::null_mut(), len, prot, flags, socket, offset) }?;
        Self::new(start, len)
    }

    fn new(start: *mut c_void, len: usize) -> Result<Self, Errno> {
        Ok(Self { start: NonNull::new(start).ok_or(Errno::NOMEM)?, len })
    }

    /// First byte of the memory, `len` bytes long.
    pub(super) const fn start(&self) -> NonNull<c_void> {
        self.start
    }

    /// Length in bytes.
    pub(in super::super) const fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by us and is unmapped once; whoever has pointers into it
        // (`Chunks`, `RingMemory`) owns the mapping and is being dropped itself.
        let unmapped = unsafe { munmap(self.start.as_ptr(), self.len) };
        if let Err(errno) = unmapped {
            tracing::error!(%errno, len = self.len, "cannot unmap packet memory");
        }
    }
}
