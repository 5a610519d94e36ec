//! A disk in memory that fails as a seed says and can lose its power.
//!
//! # The fault model
//! Simulated, each with its own rate in [`Faults`]:
//! * **I/O error**: a read, write or flush fails. A failed write may have happened wholly, or up to
//!   any atomic unit, or not at all; a failed flush has made nothing durable, and the writes before
//!   it may be lost even if a later flush succeeds (as Linux does after a failed writeback).
//! * **Device full**: a write fails with [`DeviceError::NoSpace`] and did not happen.
//! * **Delay and reordering**: requests in flight complete in any order, after any number of polls.
//! * **Lost write**: reported as done, never done.
//! * **Misdirected write**: reported as done, done at another place.
//! * **Bit flip**: a read returns one wrong bit; the medium is right. [`SimDevice::flip`] changes the
//!   medium.
//! * **Power cut** ([`SimDevice::power_cut`], [`History::image`]): of the atomic units written since
//!   the last flush any subset is kept, in the order of their writes; so writes are torn and
//!   reordered, but no unit is ever half old and half new.
//!
//! What the file system does not claim to survive, so that no test may ask for it: a flush that is
//! reported and did not happen; a unit torn within itself in such a way that bytes change which are the same in the old and
//! in the new content; a lost or misdirected write of file content, which has no checksum here
//! (RocksDB has its own); the loss of *both* superblocks; the loss or damage at rest of the very
//! last journal record, which cannot be told from one that a power cut tore.

use std::sync::{Arc, Mutex, MutexGuard};

use super::{
    BlockDevice, Completion, DeviceError, FlushGuarantee, Geometry, Operation, QueueFull, Request,
};
use crate::number::{to_u64, to_usize};
use crate::seed::Seeded;

/// How often each fault happens, in a million operations. The default is a disk without faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Reads that fail.
    pub read_error: u32,
    /// Writes that fail, done in part.
    pub write_error: u32,
    /// Flushes that fail.
    pub flush_error: u32,
    /// Writes that find no space.
    pub no_space: u32,
    /// Writes that are reported and not done.
    pub lost_write: u32,
    /// Writes that are done at another place.
    pub misdirected_write: u32,
    /// Reads with one wrong bit.
    pub read_flip: u32,
    /// Polls that a request may take at most; 0 completes in order at the next poll.
    pub delay_polls_max: u32,
}

/// Content of a block; `None` reads as zeros.
type Block = Option<Arc<[u8]>>;

/// The durable content of a device. Cloning shares the blocks.
#[derive(Clone, Debug)]
pub struct Image {
    blocks: Vec<Block>,
}

/// One thing that happened to the medium.
#[derive(Clone, Debug)]
enum Event {
    /// One block (one atomic unit) was written; `None` if it was unmapped.
    Unit {
        block: u64,
        content: Block,
    },
    /// These blocks became durable without a flush.
    Forced {
        block: u64,
        count: u64,
    },
    Flush,
}

/// Everything that happened to a medium since it was recorded, to cut the power at any point.
#[derive(Debug)]
pub struct History {
    start: Image,
    events: Vec<Event>,
}

/// A queue of the simulated disk.
#[derive(Debug)]
pub struct SimDevice {
    geometry: Geometry,
    medium: Arc<Mutex<Medium>>,
    in_flight: Vec<(u64, Request)>,
    polls: u64,
}

/// What all queues share.
#[derive(Debug)]
struct Medium {
    geometry: Geometry,
    /// What reads see.
    visible: Image,
    /// What has survived a flush.
    durable: Image,
    unflushed: Vec<(u64, Block)>,
    history: Option<History>,
    faults: Faults,
    random: Seeded,
}

/// Requests in flight at once.
const QUEUE_DEPTH: usize = 32;

impl SimDevice {
    /// An empty disk of `block_count` blocks of `block_len` bytes, each an atomic unit, without
    /// faults; `seed` decides everything that is random.
    pub fn new(block_len: u32, block_count: u64, seed: u64) -> Self {
        Self::from_image(block_len, Image { blocks: vec![None; to_usize(block_count)] }, seed)
    }

    /// A disk with this content.
    pub fn from_image(block_len: u32, image: Image, seed: u64) -> Self {
        let geometry = Geometry {
            block_len,
            block_count: to_u64(image.blocks.len()),
            atomic_write_len: block_len,
            flush: FlushGuarantee::Durable,
            queue_depth: QUEUE_DEPTH,
        };
        let medium = Medium {
            geometry,
            visible: image.clone(),
            durable: image,
            unflushed: Vec::new(),
            history: None,
            faults: Faults::default(),
            random: Seeded::new(seed),
        };
        Self::on(Arc::new(Mutex::new(medium)), geometry)
    }

    const fn on(medium: Arc<Mutex<Medium>>, geometry: Geometry) -> Self {
        Self { geometry, medium, in_flight: Vec::new(), polls: 0 }
    }

    fn medium(&self) -> MutexGuard<'_, Medium> {
        self.medium.lock().expect("nothing panics while it holds the medium")
    }

    /// From now on these faults happen, on all queues.
    pub fn set_faults(&self, faults: Faults) {
        self.medium().faults = faults;
    }

    /// Starts to record what happens to the medium. What is not flushed yet counts as durable.
    pub fn record(&self) {
        let mut medium = self.medium();
        let start = medium.visible.clone();
        medium.history = Some(History { start, events: Vec::new() });
    }

    /// How many events were recorded so far.
    pub fn recorded(&self) -> usize {
        self.medium().history.as_ref().map_or(0, History::len)
    }

    /// What was recorded; recording ends.
    pub fn take_history(&self) -> Option<History> {
        self.medium().history.take()
    }

    /// Cuts the power: requests in flight are gone, and of the units since the last flush those
    /// stay for which `keep` says so.
    pub fn power_cut(&mut self, keep: impl FnMut(usize) -> bool) {
        self.in_flight.clear();
        let mut medium = self.medium();
        medium.durable = medium.after_power_cut(keep);
        medium.visible = medium.durable.clone();
        medium.unflushed.clear();
    }

    /// What a power cut now would leave, if of the units since the last flush those stay for which
    /// `keep` says so. The device goes on.
    pub fn image_after_power_cut(&self, keep: impl FnMut(usize) -> bool) -> Image {
        self.medium().after_power_cut(keep)
    }

    /// Units written since the last flush.
    pub fn unflushed_len(&self) -> usize {
        self.medium().unflushed.len()
    }

    /// The content that reads see.
    pub fn image(&self) -> Image {
        self.medium().visible.clone()
    }

    /// Turns one bit of the medium: `bit` counts from the device's first byte.
    pub fn flip(&self, bit: u64) {
        let block_len = to_usize(u64::from(self.geometry.block_len));
        let byte = to_usize(bit / 8);
        let block = to_u64(byte / block_len);
        let mut medium = self.medium();
        let Medium { visible, durable, .. } = &mut *medium;
        for image in [visible, durable] {
            let mut content = image.get(block, block_len);
            content[byte % block_len] ^= 1 << (bit % 8);
            image.set(block, Some(content.into()));
        }
    }
}

impl Medium {
    fn after_power_cut(&self, mut keep: impl FnMut(usize) -> bool) -> Image {
        let mut image = self.durable.clone();
        for (index, (block, content)) in self.unflushed.iter().enumerate() {
            if keep(index) {
                image.set(*block, content.clone());
            }
        }
        image
    }

    fn write_unit(&mut self, block: u64, content: Block) {
        if let Some(history) = &mut self.history {
            history.events.push(Event::Unit { block, content: content.clone() });
        }
        self.visible.set(block, content.clone());
        self.unflushed.push((block, content));
    }

    fn flush(&mut self) {
        if let Some(history) = &mut self.history {
            history.events.push(Event::Flush);
        }
        for (block, content) in self.unflushed.drain(..) {
            self.durable.set(block, content);
        }
    }

    fn write(&mut self, block: u64, bytes: &[u8], fua: bool) -> Result<(), DeviceError> {
        if self.random.chance(self.faults.no_space) {
            return Err(DeviceError::NoSpace);
        }
        if self.random.chance(self.faults.lost_write) {
            return Ok(());
        }
        let block_len = to_usize(u64::from(self.geometry.block_len));
        let count = to_u64(bytes.len() / block_len);
        let failed = self.random.chance(self.faults.write_error);
        let done = if failed { self.random.below(count + 1) } else { count };
        let target = if self.random.chance(self.faults.misdirected_write) {
            self.random.below(self.geometry.block_count - count + 1)
        } else {
            block
        };
        for (unit, content) in (target..target + done).zip(bytes.chunks_exact(block_len)) {
            self.write_unit(unit, Some(content.into()));
        }
        if failed {
            return Err(DeviceError::Io { code: EIO });
        }
        if fua {
            // Only this write: a file system that relies on more is found out.
            if let Some(history) = &mut self.history {
                history.events.push(Event::Forced { block: target, count: done });
            }
            for unit in target..target + done {
                let content = self.visible.blocks.get(to_usize(unit)).cloned().flatten();
                self.durable.set(unit, content);
            }
            self.unflushed.retain(|(unit, _)| !(target..target + done).contains(unit));
        }
        Ok(())
    }

    fn execute(&mut self, operation: &mut Operation) -> Result<(), DeviceError> {
        self.geometry.check(operation)?;
        match operation {
            Operation::Read { block, buffer } => {
                if self.random.chance(self.faults.read_error) {
                    return Err(DeviceError::Io { code: EIO });
                }
                let block_len = to_usize(u64::from(self.geometry.block_len));
                for (unit, out) in (*block..).zip(buffer.chunks_exact_mut(block_len)) {
                    self.visible.read(unit, out);
                }
                if self.random.chance(self.faults.read_flip) {
                    let bit = self.random.below(to_u64(buffer.len()) * 8);
                    buffer[to_usize(bit / 8)] ^= 1 << (bit % 8);
                }
                Ok(())
            }
            Operation::Write { block, buffer, force_unit_access } => {
                self.write(*block, buffer, *force_unit_access)
            }
            Operation::Flush => {
                if self.random.chance(self.faults.flush_error) {
                    // As after a failed writeback: what was cached is neither durable nor dirty.
                    let random = &mut self.random;
                    self.unflushed.retain(|_| random.below(2) == 0);
                    return Err(DeviceError::Io { code: EIO });
                }
                self.flush();
                Ok(())
            }
            Operation::Unmap { block, count } => {
                for unit in *block..*block + *count {
                    self.write_unit(unit, None);
                }
                Ok(())
            }
        }
    }
}

/// Linux's number for an I/O error.
const EIO: i32 = 5;

impl BlockDevice for SimDevice {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn queue(&self) -> Result<Self, DeviceError> {
        Ok(Self::on(Arc::clone(&self.medium), self.geometry))
    }

    fn submit(&mut self, request: Request) -> Result<(), QueueFull> {
        if self.in_flight.len() >= QUEUE_DEPTH {
            return Err(QueueFull(request));
        }
        let mut medium = self.medium();
        let delay_polls_max = u64::from(medium.faults.delay_polls_max);
        let delay = medium.random.below(delay_polls_max + 1);
        drop(medium);
        self.in_flight.push((self.polls + delay, request));
        Ok(())
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) -> usize {
        let now = self.polls;
        self.polls += 1;
        let (ready, later) =
            std::mem::take(&mut self.in_flight).into_iter().partition(|(due, _)| *due <= now);
        self.in_flight = later;
        let mut ready: Vec<(u64, Request)> = ready;
        let mut medium = self.medium.lock().expect("nothing panics while it holds the medium");
        if medium.faults.delay_polls_max > 0 {
            // Fisher and Yates.
            for last in (1..ready.len()).rev() {
                ready.swap(last, to_usize(medium.random.below(to_u64(last) + 1)));
            }
        }
        let count = ready.len();
        for (_, Request { tag, mut operation }) in ready {
            let result = medium.execute(&mut operation);
            completions.push(Completion { tag, operation, result });
        }
        count
    }
}

impl Image {
    fn set(&mut self, block: u64, content: Block) {
        if let Some(slot) = self.blocks.get_mut(to_usize(block)) {
            *slot = content;
        }
    }

    fn read(&self, block: u64, out: &mut [u8]) {
        match self.blocks.get(to_usize(block)) {
            Some(Some(content)) => out.copy_from_slice(content),
            Some(None) | None => out.fill(0),
        }
    }

    fn get(&self, block: u64, block_len: usize) -> Vec<u8> {
        let mut content = vec![0; block_len];
        self.read(block, &mut content);
        content
    }
}

impl History {
    /// How many events there were; the power can be cut after each of them, and before the first.
    pub const fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing happened.
    pub const fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Walks over all crash points: for each, the image that the last flush left and the number of
    /// units since then, from which [`CrashPoint::image`] makes what a power cut may leave.
    pub fn crash_points(&self) -> impl Iterator<Item = CrashPoint> {
        let mut durable = self.start.clone();
        let mut unflushed: Vec<(u64, Block)> = Vec::new();
        (0..=self.events.len()).map(move |end| {
            match end.checked_sub(1).and_then(|last| self.events.get(last)) {
                Some(Event::Unit { block, content }) => unflushed.push((*block, content.clone())),
                Some(Event::Forced { block, count }) => {
                    let forced = *block..*block + *count;
                    for (unit, content) in
                        unflushed.extract_if(.., |(unit, _)| forced.contains(unit))
                    {
                        durable.set(unit, content);
                    }
                }
                Some(Event::Flush) => {
                    for (unit, content) in unflushed.drain(..) {
                        durable.set(unit, content);
                    }
                }
                None => {}
            }
            CrashPoint { end, durable: durable.clone(), unflushed: unflushed.clone() }
        })
    }
}

/// A moment at which the power may be cut.
#[derive(Debug)]
pub struct CrashPoint {
    /// Events before it.
    pub end: usize,
    durable: Image,
    unflushed: Vec<(u64, Block)>,
}

impl CrashPoint {
    /// Units that may or may not have become durable.
    pub fn unflushed_len(&self) -> usize {
        self.unflushed.len()
    }

    /// What is left if those units are kept for which `keep` says so.
    pub fn image(&self, mut keep: impl FnMut(usize) -> bool) -> Image {
        let mut image = self.durable.clone();
        for (index, (block, content)) in self.unflushed.iter().enumerate() {
            if keep(index) {
                image.set(*block, content.clone());
            }
        }
        image
    }
}
