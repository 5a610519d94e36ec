//! Queues to the device and buffers for appended bytes, kept for whoever needs one next.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::io::Io;
use super::limits::{IDLE_BUFFERS_MAX, IDLE_QUEUES_MAX, TAIL_LEN_MAX};
use super::lock;
use crate::buffer::DeviceBuffer;
use crate::device::{BlockDevice, DeviceError};

/// Who takes a queue has it for itself until it is given back.
#[derive(Debug)]
pub(super) struct Queues<D> {
    /// Makes the others.
    first: Mutex<Io<D>>,
    idle: Mutex<Vec<Io<D>>>,
    buffers: Mutex<Vec<DeviceBuffer>>,
    in_use: AtomicU64,
    in_use_max: AtomicU64,
}

impl<D: BlockDevice> Queues<D> {
    pub(super) const fn new(first: Io<D>) -> Self {
        Self {
            first: Mutex::new(first),
            idle: Mutex::new(Vec::new()),
            buffers: Mutex::new(Vec::new()),
            in_use: AtomicU64::new(0),
            in_use_max: AtomicU64::new(0),
        }
    }

    /// Queues that are in use now, and the most that ever were.
    pub(super) fn in_use(&self) -> (u64, u64) {
        (self.in_use.load(Ordering::Relaxed), self.in_use_max.load(Ordering::Relaxed))
    }

    pub(super) fn take(&self) -> Result<Io<D>, DeviceError> {
        let in_use = self.in_use.fetch_add(1, Ordering::Relaxed) + 1;
        self.in_use_max.fetch_max(in_use, Ordering::Relaxed);
        if let Some(io) = lock(&self.idle).pop() {
            return Ok(io);
        }
        lock(&self.first).another()
    }

    /// Gives a queue back, with nothing in flight.
    pub(super) fn give(&self, io: Io<D>) {
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_QUEUES_MAX {
            idle.push(io);
        }
    }

    /// Does something with a queue.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Io<D>) -> R) -> Result<R, DeviceError> {
        let mut io = self.take()?;
        let result = act(&mut io);
        self.give(io);
        Ok(result)
    }

    /// A buffer of [`TAIL_LEN_MAX`] bytes, whatever they are.
    pub(super) fn buffer(&self) -> DeviceBuffer {
        let kept = lock(&self.buffers).pop();
        kept.unwrap_or_else(|| DeviceBuffer::zeroed(TAIL_LEN_MAX))
    }

    /// Gives buffers back, whatever length they were set to.
    pub(super) fn give_buffers(&self, given: &mut Vec<DeviceBuffer>) {
        let mut buffers = lock(&self.buffers);
        for mut buffer in given.drain(..) {
            if buffers.len() < IDLE_BUFFERS_MAX && buffer.capacity() == TAIL_LEN_MAX {
                buffer.set_len(TAIL_LEN_MAX);
                buffers.push(buffer);
            }
        }
    }
}
