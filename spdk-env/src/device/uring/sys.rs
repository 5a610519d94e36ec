//! [`Ring`]: requests whose memory the kernel uses until they complete.

#![allow(unsafe_code, reason = "the kernel is handed addresses")]

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use io_uring::{IoUring, opcode, squeue, types};
use rustix::fs::FallocateFlags;

use crate::device::{Completion, DeviceError, Operation, QueueFull, Request};

/// A ring and the requests in it.
pub(super) struct Ring {
    ring: IoUring,
    file: Arc<File>,
    /// Requests that the kernel has; the index is the entry's user data.
    slots: Vec<Option<Request>>,
    free: Vec<usize>,
    /// Requests that the kernel gets at the next `reap`. Each has a slot that is free.
    unsent: Vec<Request>,
}

/// Linux's error numbers that this file knows.
const EINTR: i32 = 4;
const EAGAIN: i32 = 11;
const EBUSY: i32 = 16;
const ENOSPC: i32 = 28;
const EOPNOTSUPP: i32 = 95;

impl Ring {
    /// A ring for `depth` requests on `file`.
    pub(super) fn new(file: Arc<File>, depth: usize) -> io::Result<Self> {
        let entries = u32::try_from(depth).map_err(io::Error::other)?;
        let ring = IoUring::new(entries)?;
        let slots = std::iter::repeat_with(|| None).take(depth).collect();
        let free = (0..depth).collect();
        Ok(Self { ring, file, slots, free, unsent: Vec::with_capacity(depth) })
    }

    pub(super) const fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Gives a request, which lies inside the device, to the kernel at the next `reap`. Flushes and
    /// durable writes are not for the ring.
    pub(super) fn start(&mut self, request: Request) -> Result<(), QueueFull> {
        if self.unsent.len() >= self.free.len() {
            return Err(QueueFull(request));
        }
        self.unsent.push(request);
        Ok(())
    }

    /// The one request that there is, if the kernel does not have it yet.
    pub(super) fn take_alone(&mut self) -> Option<Request> {
        let is_alone = self.unsent.len() == 1 && self.free.len() == self.slots.len();
        if is_alone { self.unsent.pop() } else { None }
    }

    fn send(&mut self, block_len: u32) {
        let mut unsent = std::mem::take(&mut self.unsent);
        for request in unsent.drain(..) {
            self.push(request, block_len);
        }
        self.unsent = unsent;
    }

    fn push(&mut self, mut request: Request, block_len: u32) {
        let slot = self.free.pop().expect("an unsent request has a slot");
        let entry = self.entry(&mut request.operation, u64::from(block_len));
        let entry = entry.user_data(crate::number::to_u64(slot));
        self.slots[slot] = Some(request);
        // SAFETY: the entry's file is `self.file`, and its memory is the heap memory of the buffer
        // in `self.slots[slot]`, which nobody touches and which is not freed until the completion
        // for `slot` was seen (`reap`), also when the ring is dropped (`drop`); the length is the
        // buffer's.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "the queue has an entry for each slot and is emptied by each reap");
    }

    fn entry(&self, operation: &mut Operation, block_len: u64) -> squeue::Entry {
        let fd = types::Fd(self.file.as_raw_fd());
        let len_of = |buffer: &[u8]| u32::try_from(buffer.len()).expect("at most BUFFER_LEN_MAX");
        match operation {
            Operation::Read { block, buffer } => {
                let len = len_of(buffer);
                opcode::Read::new(fd, buffer.as_mut_ptr(), len).offset(*block * block_len).build()
            }
            Operation::Write { block, buffer, .. } => {
                let write = opcode::Write::new(fd, buffer.as_ptr(), len_of(buffer));
                write.offset(*block * block_len).build()
            }
            Operation::Flush => opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build(),
            Operation::Unmap { block, count } => {
                let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                let mode = i32::try_from(mode.bits()).expect("flags of fallocate(2)");
                let fallocate = opcode::Fallocate::new(fd, *count * block_len);
                fallocate.offset(*block * block_len).mode(mode).build()
            }
        }
    }

    /// Hands new entries to the kernel and takes what has completed. With `sleep` it waits for one
    /// completion, if anything is in flight.
    pub(super) fn reap(
        &mut self,
        completions: &mut Vec<Completion>,
        block_len: u32,
        sleep: bool,
    ) {
        self.send(block_len);
        let wanted = usize::from(sleep && self.free.len() < self.slots.len());
        if (wanted > 0 || !self.ring.submission().is_empty())
            && let Err(error) = self.ring.submit_and_wait(wanted)
        {
            // What the kernel did not take stays queued for the next time.
            let code = error.raw_os_error();
            let transient = matches!(code, Some(EINTR | EAGAIN | EBUSY));
            assert!(transient, "the kernel does not take a ring of our making: {error}");
        }
        self.ring.completion().for_each(|entry| {
            let slot = crate::number::to_usize(entry.user_data());
            let Some(Request { tag, operation }) = self.slots[slot].take() else { return };
            self.free.push(slot);
            let result = outcome(&operation, entry.result());
            completions.push(Completion { tag, operation, result });
        });
    }
}

/// What the kernel's number means for an operation.
fn outcome(operation: &Operation, result: i32) -> Result<(), DeviceError> {
    match (operation, result) {
        (Operation::Unmap { .. }, code) if code == -EOPNOTSUPP => Ok(()),
        (_, code) if code == -ENOSPC => Err(DeviceError::NoSpace),
        (_, code) if code < 0 => Err(DeviceError::Io { code: -code }),
        (Operation::Read { buffer, .. } | Operation::Write { buffer, .. }, len) => {
            if usize::try_from(len) == Ok(buffer.len()) {
                Ok(())
            } else {
                Err(DeviceError::Short)
            }
        }
        (Operation::Flush | Operation::Unmap { .. }, _) => Ok(()),
    }
}

impl Drop for Ring {
    /// Waits until the kernel uses no buffer any more.
    fn drop(&mut self) {
        let mut ended = Vec::new();
        // What the kernel never got is not begun now.
        self.unsent.clear();
        while self.slots.iter().any(Option::is_some) {
            self.reap(&mut ended, 0, true);
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("free", &self.free.len()).finish_non_exhaustive()
    }
}
