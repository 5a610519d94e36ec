//! [`Ring`]: requests whose memory the kernel uses until they complete.

#![allow(unsafe_code, reason = "the kernel is handed addresses")]

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use io_uring::{IoUring, opcode, squeue, types};

use crate::buffer::{DeviceBuffer, Registration};
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
    /// Tells this ring's buffers from those of others.
    id: u64,
    /// Buffers that the kernel knows and nobody has. None, where it takes none: it counts them against
    /// the limit of locked memory.
    buffers: Vec<DeviceBuffer>,
    polls: bool,
}

/// Buffers in each ring that the kernel knows, so that it need not look up their pages each time.
const REGISTERED_BUFFERS: u16 = 16;
/// Bytes of each: enough for a block of a table and its neighbours.
pub(super) const REGISTERED_BUFFER_LEN: usize = 16 << 10;
/// The next ring's [`Ring::id`].
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// Linux's error numbers that this file knows.
const EINTR: i32 = 4;
const EAGAIN: i32 = 11;
const EBUSY: i32 = 16;
const ENOSPC: i32 = 28;

impl Ring {
    /// A ring for `depth` requests on `file`. If it `polls`, whoever waits asks the device instead of
    /// sleeping until its interrupt.
    pub(super) fn new(file: Arc<File>, depth: usize, polls: bool) -> io::Result<Self> {
        let entries = u32::try_from(depth).map_err(io::Error::other)?;
        let mut builder = IoUring::builder();
        if polls {
            builder.setup_iopoll();
        }
        let ring = builder.build(entries)?;
        // The file is not registered: the kernel takes rings apart some time after they are closed, and
        // the lock on the file would stay until then, also when the process was killed.
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let buffers = registered_buffers(&ring, id);
        let slots = std::iter::repeat_with(|| None).take(depth).collect();
        let (free, unsent) = ((0..depth).collect(), Vec::with_capacity(depth));
        Ok(Self { ring, file, slots, free, unsent, id, buffers, polls })
    }

    pub(super) const fn polls(&self) -> bool {
        self.polls
    }

    /// A buffer that the kernel knows, if there is one left.
    pub(super) fn buffer(&mut self) -> Option<DeviceBuffer> {
        self.buffers.pop()
    }

    pub(super) fn give_back(&mut self, mut buffer: DeviceBuffer) {
        if buffer.registration().is_some_and(|known| known.ring == self.id) {
            buffer.set_len(REGISTERED_BUFFER_LEN);
            self.buffers.push(buffer);
        }
    }

    pub(super) const fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Gives a request, which lies inside the device, to the kernel at the next `reap`. Flushes,
    /// durable writes and trims are not for the ring.
    pub(super) fn start(&mut self, request: Request) -> Result<(), QueueFull> {
        if self.unsent.len() >= self.free.len() {
            return Err(QueueFull(request));
        }
        self.unsent.push(request);
        Ok(())
    }

    /// The one request that there is, if the kernel does not have it yet and a call is as good.
    pub(super) fn take_alone(&mut self) -> Option<Request> {
        let is_alone = !self.polls && self.unsent.len() == 1 && self.free.len() == self.slots.len();
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
                let (len, known, offset) =
                    (len_of(buffer), buffer.registration(), *block * block_len);
                let at = buffer.as_mut_ptr();
                match known.filter(|known| known.ring == self.id) {
                    Some(Registration { index, .. }) => {
                        opcode::ReadFixed::new(fd, at, len, index).offset(offset).build()
                    }
                    None => opcode::Read::new(fd, at, len).offset(offset).build(),
                }
            }
            Operation::Write { block, buffer, .. } => {
                let write = opcode::Write::new(fd, buffer.as_ptr(), len_of(buffer));
                write.offset(*block * block_len).build()
            }
            Operation::Flush | Operation::Unmap { .. } => {
                unreachable!("whoever waits makes the call himself")
            }
        }
    }

    /// Hands new entries to the kernel and takes what has completed. With `sleep` it waits for one
    /// completion, if anything is in flight.
    pub(super) fn reap(&mut self, completions: &mut Vec<Completion>, block_len: u32, sleep: bool) {
        self.send(block_len);
        let in_flight = self.free.len() < self.slots.len();
        let wanted = usize::from(sleep && in_flight);
        // Who polls finds nothing without asking.
        let must_enter =
            wanted > 0 || (self.polls && in_flight) || !self.ring.submission().is_empty();
        if must_enter && let Err(error) = self.ring.submit_and_wait(wanted) {
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

/// Buffers of which the kernel has looked up the pages; none, if it does not want to.
fn registered_buffers(ring: &IoUring, id: u64) -> Vec<DeviceBuffer> {
    let mut buffers: Vec<DeviceBuffer> = (0..REGISTERED_BUFFERS)
        .map(|index| {
            let mut buffer = DeviceBuffer::zeroed(REGISTERED_BUFFER_LEN);
            buffer.set_registration(Registration { ring: id, index });
            buffer
        })
        .collect();
    let places: Vec<libc::iovec> = buffers
        .iter_mut()
        .map(|buffer| libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: REGISTERED_BUFFER_LEN,
        })
        .collect();
    // SAFETY: the memory lives now. Later the kernel writes to it only for an entry of ours, which names
    // a buffer that is in flight (`push`): a buffer's registration goes where its memory goes, and ends
    // with it. What is registered beyond that is pinned pages, which the kernel gives back with the ring.
    let registered = unsafe { ring.submitter().register_buffers(&places) };
    if registered.is_ok() { buffers } else { Vec::new() }
}

/// What the kernel's number means for an operation.
fn outcome(operation: &Operation, result: i32) -> Result<(), DeviceError> {
    match (operation, result) {
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
