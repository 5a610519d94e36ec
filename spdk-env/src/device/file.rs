//! A device on a regular file or a block device by `pread` and `pwrite`, for hosts where io_uring is
//! forbidden. Every request is executed in `submit`'s turn, at the next poll, and takes as long as
//! the kernel takes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, flock};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};

use super::{
    BlockDevice, Completion, DeviceError, FlushGuarantee, Geometry, Operation, QueueFull, Request,
};

/// A device on an open file.
#[derive(Debug)]
pub struct FileDevice {
    file: Arc<File>,
    geometry: Geometry,
    trims: bool,
    in_flight: VecDeque<Request>,
}

/// Why a file cannot be a device.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system's answer.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Another process has it as its device.
    #[error("another process uses it as its device")]
    InUse,
    /// There is not one block in it.
    #[error("it has {len_bytes} bytes, less than a block")]
    TooSmall {
        /// Its length.
        len_bytes: u64,
    },
}

/// Block length of a device through the page cache, which has pages of it.
const BLOCK_LEN: u32 = 4096;
/// Only a sector is promised to be atomic by the disks below.
const ATOMIC_WRITE_LEN: u32 = 512;
/// Requests in flight at once.
const QUEUE_DEPTH: usize = 32;

impl FileDevice {
    /// The file at `path`, for this process alone: an advisory lock is held until it is dropped.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let file =
            File::options().read(true).write(true).custom_flags(exclusive(path)?).open(path)?;
        let geometry = claim(&file, BLOCK_LEN)?;
        let trims = trims(&file)?;
        Ok(Self::on(Arc::new(file), geometry, trims))
    }

    fn on(file: Arc<File>, geometry: Geometry, trims: bool) -> Self {
        Self { file, geometry, trims, in_flight: VecDeque::with_capacity(QUEUE_DEPTH) }
    }

    fn execute(&self, operation: &mut Operation) -> Result<(), DeviceError> {
        self.geometry.check(operation)?;
        if !self.trims && matches!(operation, Operation::Unmap { .. }) {
            return Ok(());
        }
        execute(&self.file, u64::from(self.geometry.block_len), operation)
    }
}

/// Does an operation that lies inside the file, and waits for it.
pub(super) fn execute(
    file: &File,
    block_len: u64,
    operation: &mut Operation,
) -> Result<(), DeviceError> {
    let offset = |block: &u64| *block * block_len;
    match operation {
        Operation::Read { block, buffer } => {
            file.read_exact_at(buffer, offset(block)).map_err(|error| fault(&error))
        }
        Operation::Write { block, buffer, force_unit_access: false } => {
            file.write_all_at(buffer, offset(block)).map_err(|error| fault(&error))
        }
        Operation::Write { block, buffer, force_unit_access: true } => {
            write_durably(file, buffer, offset(block))
        }
        Operation::Flush => file.sync_data().map_err(|error| fault(&error)),
        Operation::Unmap { block, count } => punch(file, offset(block), offset(count)),
    }
}

/// One call for the write and its flush.
fn write_durably(file: &File, bytes: &[u8], offset: u64) -> Result<(), DeviceError> {
    loop {
        match pwritev2(file, &[IoSlice::new(bytes)], offset, ReadWriteFlags::DSYNC) {
            Ok(len) if len == bytes.len() => return Ok(()),
            Ok(_) => return Err(DeviceError::Short),
            Err(Errno::INTR) => {}
            Err(error) => return Err(fault(&error.into())),
        }
    }
}

impl BlockDevice for FileDevice {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn queue(&self) -> Result<Self, DeviceError> {
        Ok(Self::on(Arc::clone(&self.file), self.geometry, self.trims))
    }

    fn submit(&mut self, request: Request) -> Result<(), QueueFull> {
        if self.in_flight.len() >= QUEUE_DEPTH {
            return Err(QueueFull(request));
        }
        self.in_flight.push_back(request);
        Ok(())
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) -> usize {
        let count = self.in_flight.len();
        while let Some(Request { tag, mut operation }) = self.in_flight.pop_front() {
            let result = self.execute(&mut operation);
            completions.push(Completion { tag, operation, result });
        }
        count
    }
}

/// Flags of open(2) with which the kernel refuses a block device that is mounted or otherwise in use,
/// or has a partition that is.
pub(super) fn exclusive(path: &Path) -> io::Result<i32> {
    let is_block_device = std::fs::metadata(path)?.file_type().is_block_device();
    let flags = if is_block_device { OFlags::EXCL } else { OFlags::empty() };
    i32::try_from(flags.bits()).map_err(io::Error::other)
}

/// Locks `file` for this process and measures it in blocks of `block_len` bytes.
pub(super) fn claim(file: &File, block_len: u32) -> Result<Geometry, OpenError> {
    flock(file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        if error == Errno::WOULDBLOCK { OpenError::InUse } else { OpenError::Io(error.into()) }
    })?;
    // The end by seeking, because a block device has no length in its metadata.
    let len_bytes =
        rustix::fs::seek(file, rustix::fs::SeekFrom::End(0)).map_err(io::Error::from)?;
    let block_count = len_bytes / u64::from(block_len);
    if block_count == 0 {
        return Err(OpenError::TooSmall { len_bytes });
    }
    Ok(Geometry {
        block_len,
        block_count,
        atomic_write_len: ATOMIC_WRITE_LEN,
        flush: FlushGuarantee::Durable,
        queue_depth: QUEUE_DEPTH,
    })
}

/// Whether trimmed blocks are given back. A regular file keeps its space: a hole would have to be
/// allocated again by the file system below, when the space there may be used up.
pub(super) fn trims(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.file_type().is_block_device())
}

/// Gives the space of a range back, where the file can do that; where not, the range just stays.
fn punch(file: &File, offset: u64, len: u64) -> Result<(), DeviceError> {
    if len == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(DeviceError::Io { code: error.raw_os_error() }),
    }
}

pub(super) fn fault(error: &io::Error) -> DeviceError {
    match error.kind() {
        io::ErrorKind::StorageFull => DeviceError::NoSpace,
        io::ErrorKind::UnexpectedEof => DeviceError::Short,
        _ => DeviceError::Io { code: error.raw_os_error().unwrap_or(0) },
    }
}
