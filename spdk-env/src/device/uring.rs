//! A device on a regular file or a block device by io_uring with direct I/O: the page cache is not
//! in the way, and many requests are in flight at once.
//!
//! The ring is for requests in flight together. It would hand what has to wait inside the kernel, a
//! flush, a durable write or a trim, to a thread of the kernel's, and wait for that; so whoever waits makes such
//! a call himself, and so he does with a request that is alone.
//!
//! A block device that has queues for polling (NVMe with the kernel's `nvme.poll_queues`) is polled by
//! whoever waits, at the price of his core; otherwise he sleeps. What is too long for one request of the
//! disk's is then a call too.
//!
//! A file must have its full length already, and lie where direct I/O is known (not on tmpfs).

mod sys;

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::file::{OpenError, claim, exclusive, execute, fault, trims};
use super::{BlockDevice, Completion, DeviceError, Geometry, Operation, QueueFull, Request};
use crate::buffer::{BUFFER_ALIGNMENT, DeviceBuffer};
use crate::number::to_usize;
use sys::{REGISTERED_BUFFER_LEN, Ring};

/// A device on an open file.
#[derive(Debug)]
pub struct UringDevice {
    ring: Ring,
    geometry: Geometry,
    trims: bool,
    /// Requests that never reach the kernel: wrong ones, and trims that the file does not do.
    ended: Vec<Completion>,
    /// Bytes of the longest request for the ring.
    ring_len_max: usize,
    /// Flushes, durable writes, trims and what is too long for the ring, which the next poll makes.
    calls: VecDeque<Request>,
}

impl UringDevice {
    /// The file at `path`, for this process alone: an advisory lock is held until it is dropped.
    ///
    /// # Errors
    /// [`OpenError`]; where io_uring is forbidden it is the operating system's EPERM or ENOSYS, and
    /// [`super::file::FileDevice`] does the same more slowly.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let direct = i32::try_from(OFlags::DIRECT.bits()).expect("a flag of open(2)");
        let flags = direct | exclusive(path)?;
        let file = File::options().read(true).write(true).custom_flags(flags).open(path)?;
        let geometry = claim(&file, block_len(&file))?;
        let trims = trims(&file)?;
        let polled_len_max = polled_len_max(&file);
        let ring = Ring::new(Arc::new(file), geometry.queue_depth, polled_len_max.is_some())?;
        let mut device = Self::on(ring, geometry, trims, polled_len_max.unwrap_or(usize::MAX));
        if polled_len_max.is_some() && !device.answers() {
            let file = Arc::clone(device.ring.file());
            device.ring = Ring::new(file, geometry.queue_depth, false)?;
            device.ring_len_max = usize::MAX;
        }
        Ok(device)
    }

    /// Whether whoever waits polls the device, because the kernel has queues for that.
    pub const fn is_polled(&self) -> bool {
        self.ring.polls()
    }

    /// Whether a read of the first block works.
    fn answers(&mut self) -> bool {
        let block_len = to_usize(u64::from(self.geometry.block_len));
        let operation = Operation::Read { block: 0, buffer: DeviceBuffer::zeroed(block_len) };
        let mut completions = Vec::new();
        if self.submit(Request { tag: 0, operation }).is_err() {
            return false;
        }
        while completions.is_empty() {
            self.wait(&mut completions);
        }
        completions.iter().all(|completion| completion.result.is_ok())
    }

    fn on(ring: Ring, geometry: Geometry, trims: bool, ring_len_max: usize) -> Self {
        let (ended, calls) = (Vec::new(), VecDeque::new());
        Self { ring, geometry, trims, ring_len_max, ended, calls }
    }

    /// What needs no waiting, or is waited for in a call.
    fn take_ended(&mut self, completions: &mut Vec<Completion>) {
        completions.append(&mut self.ended);
        while let Some(request) = self.calls.pop_front() {
            completions.push(self.call(request));
        }
    }

    fn call(&self, request: Request) -> Completion {
        let Request { tag, mut operation } = request;
        let block_len = u64::from(self.geometry.block_len);
        let result = execute(self.ring.file(), block_len, &mut operation);
        Completion { tag, operation, result }
    }
}

impl BlockDevice for UringDevice {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn queue(&self) -> Result<Self, DeviceError> {
        let file = Arc::clone(self.ring.file());
        let ring = Ring::new(file, self.geometry.queue_depth, self.ring.polls());
        let ring = ring.map_err(|error| fault(&error))?;
        Ok(Self::on(ring, self.geometry, self.trims, self.ring_len_max))
    }

    fn submit(&mut self, request: Request) -> Result<(), QueueFull> {
        if self.ended.len() + self.calls.len() >= self.geometry.queue_depth {
            return Err(QueueFull(request));
        }
        let checked = self.geometry.check(&request.operation);
        if checked.is_err() || (!self.trims && matches!(request.operation, Operation::Unmap { .. }))
        {
            let Request { tag, operation } = request;
            self.ended.push(Completion { tag, operation, result: checked });
            return Ok(());
        }
        match request.operation {
            // A ring that polls knows nothing but reads and writes.
            Operation::Flush
            | Operation::Unmap { .. }
            | Operation::Write { force_unit_access: true, .. } => {
                self.calls.push_back(request);
                Ok(())
            }
            Operation::Read { ref buffer, .. } | Operation::Write { ref buffer, .. }
                if buffer.len() > self.ring_len_max =>
            {
                self.calls.push_back(request);
                Ok(())
            }
            _ => self.ring.start(request),
        }
    }

    fn buffer(&mut self, len: usize) -> DeviceBuffer {
        if len <= REGISTERED_BUFFER_LEN
            && let Some(mut buffer) = self.ring.buffer()
        {
            buffer.set_len(len);
            return buffer;
        }
        DeviceBuffer::zeroed(len)
    }

    fn give_back(&mut self, buffer: DeviceBuffer) {
        self.ring.give_back(buffer);
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) -> usize {
        let before = completions.len();
        self.ring.reap(completions, self.geometry.block_len, false);
        self.take_ended(completions);
        completions.len() - before
    }

    fn wait(&mut self, completions: &mut Vec<Completion>) -> usize {
        let before = completions.len();
        if let Some(request) = self.ring.take_alone() {
            completions.push(self.call(request));
        }
        let must_wait = completions.len() == before && self.ended.len() + self.calls.len() == 0;
        self.ring.reap(completions, self.geometry.block_len, must_wait);
        self.take_ended(completions);
        completions.len() - before
    }
}

/// Lengths of blocks with which direct I/O is tried.
const BLOCK_LENS: [u32; 3] = [512, 1024, 2048];
const BLOCK_LEN_MAX: u32 = 4096;

/// The shortest blocks with which this file can be read directly: sectors of the disk, if the file
/// system between allows them. A block of a table is packed and not aligned; read by pages it would be
/// one or two pages longer. (statx(2) knows this only from Linux 6.1 on, and not on every file system.)
fn block_len(file: &File) -> u32 {
    if !reads_sectors(file) {
        return BLOCK_LEN_MAX;
    }
    let readable = |len: &u32| {
        let mut buffer = DeviceBuffer::zeroed(to_usize(u64::from(*len)));
        // From an offset that is no multiple of a longer block.
        file.read_exact_at(&mut buffer, u64::from(*len)).is_ok()
    };
    BLOCK_LENS.into_iter().find(readable).unwrap_or(BLOCK_LEN_MAX)
}

/// Whether a short direct read that works is one: other file systems than these may serve it from the page
/// cache, or by reading and writing whole pages, and a test cannot tell.
fn reads_sectors(file: &File) -> bool {
    let is_block_device =
        file.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device());
    is_block_device || rustix::fs::fstatfs(file).is_ok_and(|system| knows_sectors(system.f_type))
}

/// Whether direct I/O of a file system, by its number in statfs(2), goes by the disk's sectors.
fn knows_sectors(magic: impl TryInto<u64>) -> bool {
    const EXT4: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    magic.try_into().is_ok_and(|magic| [EXT4, XFS].contains(&magic))
}

/// Bytes of the longest request that can be polled for, if the kernel has queues for polling on this block
/// device. What the kernel would have to split cannot: Linux 6.1 refuses it and tries again, for ever.
fn polled_len_max(file: &File) -> Option<usize> {
    let metadata = file.metadata().ok()?;
    if !metadata.file_type().is_block_device() {
        return None;
    }
    let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    // A partition's queue is that of its disk, one folder up.
    let queues = [
        format!("/sys/dev/block/{major}:{minor}/queue"),
        format!("/sys/dev/block/{major}:{minor}/../queue"),
    ];
    queues.iter().find_map(|queue| {
        let number = |name: &str| -> Option<usize> {
            std::fs::read_to_string(format!("{queue}/{name}")).ok()?.trim().parse().ok()
        };
        if number("io_poll")? != 1 {
            return None;
        }
        // Each page of a buffer may be a segment.
        let (sectors_len, segments) = (number("max_sectors_kb")? << 10, number("max_segments")?);
        Some(sectors_len.min(segments * BUFFER_ALIGNMENT))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_a_file_are_short_only_where_direct_io_goes_by_sectors() {
        // 0x0102_1994 is tmpfs, 0x794c_7630 overlayfs, 0x9123_683e btrfs, 0x6573_5546 FUSE.
        let known = [0xef53_u64, 0x5846_5342, 0x0102_1994, 0x794c_7630, 0x9123_683e, 0x6573_5546]
            .map(knows_sectors);
        assert_eq!(known, [true, true, false, false, false, false]);
        // Reads of any length work there, and none of them is direct.
        let file = File::open("/proc/self/maps").unwrap();
        assert_eq!(block_len(&file), BLOCK_LEN_MAX);
    }
}
