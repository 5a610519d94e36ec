//! What a block device is: blocks of one size, requests that are submitted and polled for.
//!
//! What every backend promises, and `conformance` checks:
//! * A request that is taken completes exactly once, with its buffer, also when it fails.
//! * Requests in flight together may be executed in any order. A flush covers the writes that had
//!   completed when it was submitted, and only those.
//! * A completed write is seen by every later read. It survives a power cut only when a later flush
//!   has completed, or when it had `force_unit_access`.
//! * Each aligned run of [`Geometry::atomic_write_len`] bytes is wholly old or wholly new after a
//!   power cut; a longer write may be torn between such runs.
//! * Unmapped blocks read as anything until they are written again.

pub mod file;
pub mod sim;
#[cfg(feature = "spdk")]
pub mod spdk;
pub mod uring;

#[cfg(test)]
mod conformance;

use crate::buffer::{BUFFER_LEN_MAX, DeviceBuffer};
use crate::number::to_u64;

/// The shape of a device and what its flush is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes in a block: a power of two from 512 to 4096.
    pub block_len: u32,
    /// Blocks in the device.
    pub block_count: u64,
    /// Bytes that a power cut never tears, at least 512; a block may be longer.
    pub atomic_write_len: u32,
    /// What a completed flush means.
    pub flush: FlushGuarantee,
    /// Requests that may be in flight at once.
    pub queue_depth: usize,
}

/// What a completed flush means on this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushGuarantee {
    /// Writes before it survive a power cut.
    Durable,
    /// Nothing: the device accepts it and does not act. Only for data that may be lost.
    None,
}

/// What to do. Blocks are numbered from 0 and have [`Geometry::block_len`] bytes.
#[derive(Debug)]
pub enum Operation {
    /// Fill `buffer`, a whole number of blocks, from `block` on.
    Read {
        /// First block.
        block: u64,
        /// Where the bytes go.
        buffer: DeviceBuffer,
    },
    /// Write `buffer`, a whole number of blocks, from `block` on.
    Write {
        /// First block.
        block: u64,
        /// The bytes.
        buffer: DeviceBuffer,
        /// Complete only when this write is durable.
        force_unit_access: bool,
    },
    /// Make every write durable that has completed.
    Flush,
    /// Forget the content of `count` blocks.
    Unmap {
        /// First block.
        block: u64,
        /// Blocks.
        count: u64,
    },
}

/// One operation, with a tag of the submitter's that comes back unchanged.
#[derive(Debug)]
pub struct Request {
    /// Chosen by the submitter; means nothing to the device.
    pub tag: u64,
    /// What to do.
    pub operation: Operation,
}

/// The end of a request.
#[derive(Debug)]
pub struct Completion {
    /// The request's tag.
    pub tag: u64,
    /// The request's operation with its buffer.
    pub operation: Operation,
    /// How it ended. After an error a read's buffer has any content, and a write may or may not
    /// have happened in part.
    pub result: Result<(), DeviceError>,
}

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The operation goes beyond the device's end, or its buffer is not whole blocks.
    #[error("a request outside the device or not of whole blocks")]
    OutOfRange,
    /// The device reported an error.
    #[error("the device failed with OS error {code}")]
    Io {
        /// The operating system's error number.
        code: i32,
    },
    /// The space behind the device is used up (a sparse file on a full file system).
    #[error("the space behind the device is used up")]
    NoSpace,
    /// Less was transferred than was asked for.
    #[error("the device transferred less than was asked for")]
    Short,
}

/// The queue is full: the request comes back, to be submitted again after a poll.
#[derive(Debug)]
pub struct QueueFull(pub Request);

/// One queue of a device, used by one thread at a time. Other queues to the same device see its
/// completed writes, and their flushes cover them.
pub trait BlockDevice {
    /// The device's shape, which never changes.
    fn geometry(&self) -> Geometry;

    /// Another queue to the same device.
    ///
    /// # Errors
    /// [`DeviceError`] if the system gives none.
    fn queue(&self) -> Result<Self, DeviceError>
    where
        Self: Sized;

    /// Takes a request into the queue.
    ///
    /// # Errors
    /// [`QueueFull`] with the request if [`Geometry::queue_depth`] requests are in flight.
    fn submit(&mut self, request: Request) -> Result<(), QueueFull>;

    /// Moves what has ended to `completions` and returns how many that were. Does not wait.
    fn poll(&mut self, completions: &mut Vec<Completion>) -> usize;

    /// A buffer of `len` bytes, whatever they are, with which this queue works best.
    fn buffer(&mut self, len: usize) -> DeviceBuffer {
        DeviceBuffer::zeroed(len)
    }

    /// Takes a buffer back that [`BlockDevice::buffer`] may give again.
    fn give_back(&mut self, buffer: DeviceBuffer) {
        drop(buffer);
    }

    /// As `poll`, and may sleep until something ends, if anything is in flight. A backend without a
    /// way to sleep returns at once.
    fn wait(&mut self, completions: &mut Vec<Completion>) -> usize {
        let ended = self.poll(completions);
        if ended == 0 {
            std::hint::spin_loop();
        }
        ended
    }
}

impl Geometry {
    /// Whether `operation` lies inside the device and moves whole blocks.
    ///
    /// # Errors
    /// [`DeviceError::OutOfRange`] if not.
    pub fn check(&self, operation: &Operation) -> Result<(), DeviceError> {
        let (block, count) = match operation {
            Operation::Read { block, buffer } | Operation::Write { block, buffer, .. } => {
                let len = to_u64(buffer.len());
                let block_len = u64::from(self.block_len);
                if len == 0 || !len.is_multiple_of(block_len) || buffer.len() > BUFFER_LEN_MAX {
                    return Err(DeviceError::OutOfRange);
                }
                (*block, len / block_len)
            }
            Operation::Flush => return Ok(()),
            Operation::Unmap { block, count } => (*block, *count),
        };
        match block.checked_add(count) {
            Some(end) if end <= self.block_count => Ok(()),
            Some(_) | None => Err(DeviceError::OutOfRange),
        }
    }
}
