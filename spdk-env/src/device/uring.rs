//! A device on a regular file or a block device by io_uring with direct I/O: the page cache is not
//! in the way, and many requests are in flight at once.
//!
//! A file must have its full length already, and lie where direct I/O is known (not on tmpfs).

mod sys;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::file::{OpenError, claim, exclusive, fault, trims};
use super::{BlockDevice, Completion, DeviceError, Geometry, Operation, QueueFull, Request};
use sys::Ring;

/// A device on an open file.
#[derive(Debug)]
pub struct UringDevice {
    ring: Ring,
    geometry: Geometry,
    trims: bool,
    /// Requests that never reach the kernel: wrong ones, and trims that the file does not do.
    ended: Vec<Completion>,
}

/// How often a waiting thread looks before it sleeps: about a microsecond, in which the page cache or
/// a fast device answers; beyond that the core is worth more to others.
const SPINS: usize = 64;

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
        let geometry = claim(&file)?;
        let trims = trims(&file)?;
        let ring = Ring::new(Arc::new(file), geometry.queue_depth)?;
        Ok(Self { ring, geometry, trims, ended: Vec::new() })
    }
}

impl BlockDevice for UringDevice {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn queue(&self) -> Result<Self, DeviceError> {
        let ring = Ring::new(self.ring.file(), self.geometry.queue_depth);
        let ring = ring.map_err(|error| fault(&error))?;
        Ok(Self { ring, geometry: self.geometry, trims: self.trims, ended: Vec::new() })
    }

    fn submit(&mut self, request: Request) -> Result<(), QueueFull> {
        if self.ended.len() >= self.geometry.queue_depth {
            return Err(QueueFull(request));
        }
        let checked = self.geometry.check(&request.operation);
        if checked.is_err() || (!self.trims && matches!(request.operation, Operation::Unmap { .. }))
        {
            let Request { tag, operation } = request;
            self.ended.push(Completion { tag, operation, result: checked });
            return Ok(());
        }
        self.ring.start(request, self.geometry.block_len)
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) -> usize {
        let before = completions.len();
        completions.append(&mut self.ended);
        self.ring.reap(completions, false);
        completions.len() - before
    }

    fn wait(&mut self, completions: &mut Vec<Completion>) -> usize {
        let before = completions.len();
        completions.append(&mut self.ended);
        for _ in 0..SPINS {
            self.ring.reap(completions, false);
            if completions.len() > before {
                return completions.len() - before;
            }
            std::hint::spin_loop();
        }
        self.ring.reap(completions, true);
        completions.len() - before
    }
}
