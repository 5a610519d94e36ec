//! [`Observed`]: a device whose operations are counted and timed, from submission to completion.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coney_base::{Clock, Instant};
use coney_spdk_env::device::QueueFull;
use coney_spdk_env::{
    BlockDevice, Completion, DeviceBuffer, DeviceError, Geometry, Operation, Request,
};

use crate::latency::Latency;

/// A queue of a device and what all its queues tell.
#[derive(Debug)]
pub struct Observed<D> {
    device: D,
    clock: Clock,
    seen: Arc<Seen>,
    /// Tag of the submitter's and start of each request in flight; its index is the device's tag.
    in_flight: Vec<Option<(u64, Instant)>>,
    free: Vec<usize>,
}

/// What was seen on all queues since the mount.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) reads: OfKind,
    pub(crate) writes: OfKind,
    pub(crate) durable_writes: OfKind,
    pub(crate) flushes: OfKind,
    pub(crate) trims: OfKind,
    /// Requests in flight now, and the most that ever were.
    pub(crate) depth: AtomicU64,
    pub(crate) depth_max: AtomicU64,
}

/// What was seen of one kind of operation.
#[derive(Debug, Default)]
pub(crate) struct OfKind {
    pub(crate) latency: Latency,
    pub(crate) errors: AtomicU64,
}

impl<D: BlockDevice> Observed<D> {
    pub(crate) fn new(device: D, seen: Arc<Seen>) -> Self {
        let depth = device.geometry().queue_depth;
        let in_flight = vec![None; depth];
        Self { device, clock: Clock::new(), seen, in_flight, free: (0..depth).collect() }
    }

    /// Counts what ended, and gives it the submitter's tags back.
    fn note(&mut self, completions: &mut [Completion]) {
        if completions.is_empty() {
            return;
        }
        let now = self.clock.now();
        for completion in completions {
            let slot = usize::try_from(completion.tag).unwrap_or(usize::MAX);
            let Some((tag, start)) = self.in_flight.get_mut(slot).and_then(Option::take) else {
                continue;
            };
            self.free.push(slot);
            completion.tag = tag;
            self.seen.depth.fetch_sub(1, Ordering::Relaxed);
            let kind = self.seen.of(&completion.operation);
            match completion.result {
                Ok(()) => kind.latency.add(now.since(start)),
                Err(_) => {
                    kind.errors.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Seen {
    const fn of(&self, operation: &Operation) -> &OfKind {
        match operation {
            Operation::Read { .. } => &self.reads,
            Operation::Write { force_unit_access: false, .. } => &self.writes,
            Operation::Write { force_unit_access: true, .. } => &self.durable_writes,
            Operation::Flush => &self.flushes,
            Operation::Unmap { .. } => &self.trims,
        }
    }
}

impl<D: BlockDevice> BlockDevice for Observed<D> {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn queue(&self) -> Result<Self, DeviceError> {
        Ok(Self::new(self.device.queue()?, Arc::clone(&self.seen)))
    }

    fn submit(&mut self, request: Request) -> Result<(), QueueFull> {
        let Some(slot) = self.free.pop() else { return Err(QueueFull(request)) };
        let Request { tag, operation } = request;
        let renamed = Request { tag: u64::try_from(slot).unwrap_or(u64::MAX), operation };
        match self.device.submit(renamed) {
            Ok(()) => {
                self.in_flight[slot] = Some((tag, self.clock.now()));
                let depth = self.seen.depth.fetch_add(1, Ordering::Relaxed) + 1;
                self.seen.depth_max.fetch_max(depth, Ordering::Relaxed);
                Ok(())
            }
            Err(QueueFull(Request { operation, .. })) => {
                self.free.push(slot);
                Err(QueueFull(Request { tag, operation }))
            }
        }
    }

    fn buffer(&mut self, len: usize) -> DeviceBuffer {
        self.device.buffer(len)
    }

    fn give_back(&mut self, buffer: DeviceBuffer) {
        self.device.give_back(buffer);
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) -> usize {
        let before = completions.len();
        let ended = self.device.poll(completions);
        self.note(completions.get_mut(before..).unwrap_or_default());
        ended
    }

    fn wait(&mut self, completions: &mut Vec<Completion>) -> usize {
        let before = completions.len();
        let ended = self.device.wait(completions);
        self.note(completions.get_mut(before..).unwrap_or_default());
        ended
    }
}
