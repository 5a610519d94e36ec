//! Whole blocks in and out of a device, polled until they are there.

use super::limits::{BLOCK_BYTES, BLOCK_LEN};
use crate::buffer::{BUFFER_LEN_MAX, DeviceBuffer};
use crate::device::{BlockDevice, Completion, DeviceError, Operation, Request};
use crate::number::{to_u64, to_usize};

/// A device and what is in flight on it. Blocks are the file system's.
#[derive(Debug)]
pub(super) struct Io<D> {
    pub(super) device: D,
    completions: Vec<Completion>,
    device_blocks: u64,
}

impl<D: BlockDevice> Io<D> {
    /// `None` if the device's blocks do not divide those of the file system.
    pub(super) fn new(device: D) -> Option<Self> {
        let block_len = u64::from(device.geometry().block_len);
        let fits = block_len > 0 && BLOCK_BYTES.is_multiple_of(block_len);
        fits.then(|| Self {
            device_blocks: BLOCK_BYTES / block_len,
            device,
            completions: Vec::new(),
        })
    }

    pub(super) fn block_count(&self) -> u64 {
        self.device.geometry().block_count / self.device_blocks
    }

    /// `count` blocks from `block` on.
    pub(super) fn read(&mut self, block: u64, count: u64) -> Result<Vec<u8>, DeviceError> {
        let mut bytes = vec![0; to_usize(count) * BLOCK_LEN];
        let requests = (0..bytes.len()).step_by(BUFFER_LEN_MAX).map(|at| Operation::Read {
            block: (block + to_u64(at / BLOCK_LEN)) * self.device_blocks,
            buffer: DeviceBuffer::zeroed(BUFFER_LEN_MAX.min(bytes.len() - at)),
        });
        let requests = requests.collect();
        self.run(requests, |tag, operation| {
            if let Operation::Read { buffer, .. } = operation {
                let at = to_usize(tag) * BUFFER_LEN_MAX;
                bytes[at..at + buffer.len()].copy_from_slice(buffer);
            }
        })?;
        Ok(bytes)
    }

    /// Writes `bytes`, the last block filled with zeros, to where `places` says, in that order.
    /// Each place holds a number of blocks.
    pub(super) fn write(
        &mut self,
        places: &[super::Extent],
        bytes: &[u8],
        durable: bool,
    ) -> Result<(), DeviceError> {
        let mut requests = Vec::new();
        let mut rest = bytes;
        for place in places {
            let room = to_usize(place.count) * BLOCK_LEN;
            let (here, after) = rest.split_at(room.min(rest.len()));
            for (index, chunk) in here.chunks(BUFFER_LEN_MAX).enumerate() {
                let mut buffer = DeviceBuffer::zeroed(chunk.len().next_multiple_of(BLOCK_LEN));
                buffer[..chunk.len()].copy_from_slice(chunk);
                let block = place.start + to_u64(index * (BUFFER_LEN_MAX / BLOCK_LEN));
                let block = block * self.device_blocks;
                requests.push(Operation::Write { block, buffer, force_unit_access: durable });
            }
            rest = after;
        }
        assert!(rest.is_empty(), "space is allocated before it is written");
        self.run(requests, |_, _| ())
    }

    pub(super) fn flush(&mut self) -> Result<(), DeviceError> {
        self.run(vec![Operation::Flush], |_, _| ())
    }

    pub(super) fn unmap(&mut self, extents: &[super::Extent]) -> Result<(), DeviceError> {
        let requests = extents.iter().map(|extent| Operation::Unmap {
            block: extent.start * self.device_blocks,
            count: extent.count * self.device_blocks,
        });
        let requests = requests.collect();
        self.run(requests, |_, _| ())
    }

    /// Submits all and polls until all have ended; the first error, if there was one.
    fn run(
        &mut self,
        operations: Vec<Operation>,
        mut each: impl FnMut(u64, &Operation),
    ) -> Result<(), DeviceError> {
        let mut result = Ok(());
        let mut in_flight = 0;
        let mut operations = (0..).zip(operations);
        let mut next = operations.next();
        loop {
            while let Some((tag, operation)) = next {
                match self.device.submit(Request { tag, operation }) {
                    Ok(()) => {
                        in_flight += 1;
                        next = operations.next();
                    }
                    Err(full) => {
                        next = Some((full.0.tag, full.0.operation));
                        break;
                    }
                }
            }
            if in_flight == 0 {
                assert!(next.is_none(), "a device with nothing in flight refused a request");
                return result;
            }
            if self.device.poll(&mut self.completions) == 0 {
                std::hint::spin_loop();
            }
            for completion in self.completions.drain(..) {
                in_flight -= 1;
                match completion.result {
                    Ok(()) => each(completion.tag, &completion.operation),
                    Err(error) => result = result.and(Err(error)),
                }
            }
        }
    }
}
