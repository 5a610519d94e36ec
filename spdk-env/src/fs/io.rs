//! Whole blocks into a device and bytes out of it, waited for or in flight.

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
    /// Bytes in a block of the device.
    device_block_len: usize,
}

impl<D: BlockDevice> Io<D> {
    /// `None` if the device's blocks do not divide those of the file system.
    pub(super) fn new(device: D) -> Option<Self> {
        let block_len = u64::from(device.geometry().block_len);
        let fits = block_len > 0 && BLOCK_BYTES.is_multiple_of(block_len);
        fits.then(|| Self {
            device_blocks: BLOCK_BYTES / block_len,
            device_block_len: to_usize(block_len),
            device,
            completions: Vec::new(),
        })
    }

    /// The same device through a queue of its own.
    pub(super) fn another(&self) -> Result<Self, DeviceError> {
        let device = self.device.queue()?;
        Ok(Self {
            device,
            completions: Vec::new(),
            device_blocks: self.device_blocks,
            device_block_len: self.device_block_len,
        })
    }

    pub(super) fn block_count(&self) -> u64 {
        self.device.geometry().block_count / self.device_blocks
    }

    /// `count` blocks from `block` on.
    pub(super) fn read(&mut self, block: u64, count: u64) -> Result<Vec<u8>, DeviceError> {
        let mut bytes = vec![0; to_usize(count) * BLOCK_LEN];
        let mut result = Ok(());
        self.read_pieces(
            vec![Piece { block, skip: 0, out: &mut bytes, request: 0 }],
            |_, error| {
                result = Err(error);
            },
        );
        result.map(|()| bytes)
    }

    /// Reads all `pieces` at once; `failed` is told the request of each that fails.
    pub(super) fn read_pieces(
        &mut self,
        pieces: Vec<Piece<'_>>,
        mut failed: impl FnMut(usize, DeviceError),
    ) {
        let mut operations = Vec::new();
        let mut targets = Vec::new();
        for piece in pieces {
            let (mut block, mut skip) = self.place(piece.block, piece.skip);
            let mut rest = piece.out;
            while !rest.is_empty() {
                let len = self.read_len(skip + rest.len());
                let (out, after) = rest.split_at_mut(rest.len().min(len - skip));
                let buffer = self.device.buffer(len);
                operations.push(Operation::Read { block, buffer });
                targets.push((piece.request, skip, out));
                block += to_u64(len / self.device_block_len);
                skip = 0;
                rest = after;
            }
        }
        self.run(operations, |tag, operation, result| {
            let Some((request, skip, out)) = targets.get_mut(to_usize(tag)) else { return };
            match (result, operation) {
                (Ok(()), Operation::Read { buffer, .. }) => {
                    out.copy_from_slice(&buffer[*skip..*skip + out.len()]);
                }
                (Err(error), _) => failed(*request, error),
                (Ok(()), _) => {}
            }
        });
    }

    /// The device's block that has the byte `skip` behind the start of `block`, and what is left of
    /// `skip` there: reads are of the device's blocks, which may be shorter than the file system's.
    fn place(&self, block: u64, skip: usize) -> (u64, usize) {
        let blocks = to_u64(skip / self.device_block_len);
        (block * self.device_blocks + blocks, skip % self.device_block_len)
    }

    /// Length of one read of `len` bytes or, if they are too many for one, of the first.
    fn read_len(&self, len: usize) -> usize {
        len.next_multiple_of(self.device_block_len).min(BUFFER_LEN_MAX)
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
        self.run_all(requests)
    }

    pub(super) fn flush(&mut self) -> Result<(), DeviceError> {
        self.run_all(vec![Operation::Flush])
    }

    pub(super) fn unmap(&mut self, extents: &[super::Extent]) -> Result<(), DeviceError> {
        let requests = extents.iter().map(|extent| Operation::Unmap {
            block: extent.start * self.device_blocks,
            count: extent.count * self.device_blocks,
        });
        self.run_all(requests.collect())
    }

    /// Runs all; the first error, if there was one.
    fn run_all(&mut self, operations: Vec<Operation>) -> Result<(), DeviceError> {
        let mut result = Ok(());
        self.run(operations, |_, _, ended| {
            if result.is_ok() {
                result = ended;
            }
        });
        result
    }

    /// Submits all, tagged in their order, and waits until all have ended.
    fn run(
        &mut self,
        operations: Vec<Operation>,
        mut each: impl FnMut(u64, &Operation, Result<(), DeviceError>),
    ) {
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
                return;
            }
            self.device.wait(&mut self.completions);
            for completion in self.completions.drain(..) {
                in_flight -= 1;
                each(completion.tag, &completion.operation, completion.result);
                if let Operation::Read { buffer, .. } = completion.operation {
                    self.device.give_back(buffer);
                }
            }
        }
    }
}

/// Bytes to read from consecutive blocks.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// First block.
    pub(super) block: u64,
    /// Bytes of the first block that are not wanted.
    pub(super) skip: usize,
    pub(super) out: &'a mut [u8],
    /// Whom it belongs to.
    pub(super) request: usize,
}

/// Operations in flight on a queue of their own.
#[derive(Debug)]
struct Queue<D> {
    io: Io<D>,
    in_flight: usize,
    /// The first that any operation had.
    error: Option<DeviceError>,
}

impl<D: BlockDevice> Queue<D> {
    const fn new(io: Io<D>) -> Self {
        Self { io, in_flight: 0, error: None }
    }

    /// Starts an operation; while the device is full, `ended` gets what has ended.
    fn submit(&mut self, mut request: Request, ended: &mut dyn FnMut(u64, Operation)) {
        while let Err(full) = self.io.device.submit(request) {
            request = full.0;
            self.reap(true, ended);
        }
        self.in_flight += 1;
    }

    /// Hands what has ended to `ended`, by tag; waits for one if so told.
    fn reap(&mut self, wait: bool, ended: &mut dyn FnMut(u64, Operation)) {
        let (device, completions) = (&mut self.io.device, &mut self.io.completions);
        if wait {
            device.wait(completions)
        } else {
            device.poll(completions)
        };
        for completion in completions.drain(..) {
            self.in_flight -= 1;
            if let Err(error) = completion.result {
                self.error.get_or_insert(error);
            }
            ended(completion.tag, completion.operation);
        }
    }

    fn result(&self) -> Result<(), DeviceError> {
        self.error.map_or(Ok(()), Err)
    }
}

/// Reads in flight.
#[derive(Debug)]
pub(super) struct ReadQueue<D> {
    queue: Queue<D>,
    /// Of each request by its tag: bytes to leave out, and where the others go.
    targets: Vec<(usize, std::ops::Range<usize>)>,
    ended: Vec<(u64, DeviceBuffer)>,
}

impl<D: BlockDevice> ReadQueue<D> {
    pub(super) const fn new(io: Io<D>) -> Self {
        Self { queue: Queue::new(io), targets: Vec::new(), ended: Vec::new() }
    }

    /// Starts to read what shall be at `target`, from `skip` bytes behind `block` on.
    pub(super) fn start(&mut self, block: u64, skip: usize, target: std::ops::Range<usize>) {
        let (mut block, mut skip) = self.queue.io.place(block, skip);
        let mut at = target.start;
        while at < target.end {
            let len = self.queue.io.read_len(skip + target.end - at);
            let end = target.end.min(at + len - skip);
            let tag = to_u64(self.targets.len());
            self.targets.push((skip, at..end));
            let buffer = self.queue.io.device.buffer(len);
            let operation = Operation::Read { block, buffer };
            let ended = &mut self.ended;
            self.queue.submit(Request { tag, operation }, &mut |tag, read| keep(ended, tag, read));
            block += to_u64(len / self.queue.io.device_block_len);
            skip = 0;
            at = end;
        }
    }

    /// Hands what was started to the device.
    pub(super) fn kick(&mut self) {
        self.reap(false);
    }

    /// Waits for all and copies them to `out`; the queue, and the first error.
    pub(super) fn finish(mut self, out: &mut [u8]) -> (Io<D>, Result<(), DeviceError>) {
        while self.queue.in_flight > 0 {
            self.reap(true);
        }
        for (tag, buffer) in self.ended {
            if let Some((skip, target)) = self.targets.get(to_usize(tag))
                && let Some(out) = out.get_mut(target.clone())
            {
                out.copy_from_slice(&buffer[*skip..*skip + out.len()]);
            }
            self.queue.io.device.give_back(buffer);
        }
        let result = self.queue.result();
        (self.queue.io, result)
    }

    fn reap(&mut self, wait: bool) {
        let ended = &mut self.ended;
        self.queue.reap(wait, &mut |tag, read| keep(ended, tag, read));
    }
}

fn keep(ended: &mut Vec<(u64, DeviceBuffer)>, tag: u64, operation: Operation) {
    if let Operation::Read { buffer, .. } = operation {
        ended.push((tag, buffer));
    }
}

/// Writes in flight, so that whoever appends need not wait for them.
#[derive(Debug)]
pub(super) struct WriteQueue<D> {
    queue: Queue<D>,
    /// Buffers whose writes have ended.
    pub(super) spare: Vec<DeviceBuffer>,
}

impl<D: BlockDevice> WriteQueue<D> {
    pub(super) const fn new(io: Io<D>) -> Self {
        Self { queue: Queue::new(io), spare: Vec::new() }
    }

    /// Starts to write whole blocks.
    pub(super) fn start(&mut self, block: u64, buffer: DeviceBuffer) {
        let block = block * self.queue.io.device_blocks;
        let operation = Operation::Write { block, buffer, force_unit_access: false };
        let spare = &mut self.spare;
        self.queue.submit(Request { tag: 0, operation }, &mut |_, write| reuse(spare, write));
    }

    /// Waits until at most `most` writes are in flight, and takes what has ended.
    ///
    /// # Errors
    /// The first error that any write had.
    pub(super) fn settle(&mut self, most: usize) -> Result<(), DeviceError> {
        if self.queue.in_flight <= most {
            self.reap(false);
        }
        while self.queue.in_flight > most {
            self.reap(true);
        }
        self.queue.result()
    }

    /// The queue, with nothing in flight.
    pub(super) fn into_io(mut self) -> Io<D> {
        self.settle(0).ok();
        self.queue.io
    }

    fn reap(&mut self, wait: bool) {
        let spare = &mut self.spare;
        self.queue.reap(wait, &mut |_, write| reuse(spare, write));
    }
}

fn reuse(spare: &mut Vec<DeviceBuffer>, operation: Operation) {
    if let Operation::Write { buffer, .. } = operation {
        spare.push(buffer);
    }
}
