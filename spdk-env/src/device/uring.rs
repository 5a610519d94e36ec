//! A device on a regular file or a block device by io_uring with direct I/O: the page cache is not
//! in the way, and many requests are in flight at once.
//!
//! A file must have its full length already, and lie where direct I/O is known (not on tmpfs).

mod sys;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::file::{OpenError, claim};
use super::{BlockDevice, Completion, Geometry, QueueFull, Request};
use sys::Ring;

/// A device on an open file.
#[derive(Debug)]
pub struct UringDevice {
    ring: Ring,
    geometry: Geometry,
    /// Requests that never reach the kernel, because they are wrong.
    refused: Vec<Completion>,
}

impl UringDevice {
    /// The file at `path`, for this process alone: an advisory lock is held until it is dropped.
    ///
    /// # Errors
    /// [`OpenError`]; where io_uring is forbidden it is the operating system's EPERM or ENOSYS, and
    /// [`super::file::FileDevice`] does the same more slowly.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let direct = i32::try_from(OFlags::DIRECT.bits()).expect("a flag of open(2)");
        let file = File::options().read(true).write(true).custom_flags(direct).open(path)?;
        let geometry = claim(&file)?;
        let ring = Ring::new(file, geometry.queue_depth)?;
        Ok(Self { ring, geometry, refused: Vec::new() })
    }
}

impl BlockDevice for UringDevice {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn submit(&mut self, request: Request) -> Result<(), QueueFull> {
        if self.refused.len() >= self.geometry.queue_depth {
            return Err(QueueFull(request));
        }
        if let Err(error) = self.geometry.check(&request.operation) {
            let Request { tag, operation } = request;
            self.refused.push(Completion { tag, operation, result: Err(error) });
            return Ok(());
        }
        self.ring.start(request, self.geometry.block_len)
    }

    fn poll(&mut self, completions: &mut Vec<Completion>) -> usize {
        let before = completions.len();
        completions.append(&mut self.refused);
        self.ring.reap(completions);
        completions.len() - before
    }
}
