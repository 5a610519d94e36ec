//! An append-oriented file system on a block device, for RocksDB.
//!
//! Metadata is in memory; a journal of changes keeps it ([`journal`]), in one of two regions. When a
//! region is full, a snapshot goes to the other, and then the superblock points there. Content is in
//! extents; what is appended waits in memory until it is a good size or is synced.
//!
//! What holds:
//! * Changes of names are transactions in the order in which they were made. A commit makes all of
//!   them durable that came before, or after a power cut none of its own.
//! * [`FileSystem::sync`] makes content and length durable, and commits. After a power cut a file has
//!   exactly the length of its last commit. A few new bytes go into the journal with their length, in one
//!   durable write; they are written in place when more have gathered, or when the file is closed.
//! * Freed blocks are used again, and trimmed, only after the commit that frees them.
//! * Content at or below a durable length is never changed in place; only the zeros after it are.
//! * Mounting reads and verifies, and writes nothing. The first commit repairs a stale superblock.
//! * After a failed write or flush nothing is written any more ([`FsError::Broken`]); reads go on.
//!   What is durable is only known by mounting again.
//!
//! Any number of threads may call. Whoever waits for the device waits for his own queue ([`queues`]);
//! many syncs share a flush and a journal record. Locks are taken in this order, and each may be
//! skipped: an open file's writes, its content, the flush, the journal, the metadata. The metadata's
//! is never held while the device works, so reads and lookups do not wait for a commit.

pub mod limits;

mod allocator;
mod change;
mod check;
mod commit;
mod file;
mod io;
mod journal;
mod mount;
mod queues;
mod state;
mod superblock;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

pub use change::{Extent, Kind};
pub use check::{Finding, Report, check};
pub use journal::JournalError;
pub use mount::{FormatError, FormatOptions, MountError, format};
pub use state::ChangeError;
pub use superblock::{FORMAT_VERSION, SuperblockError};

use crate::device::{BlockDevice, DeviceError};
use crate::number::to_u64;
use change::{Change, INODE_LEN, LINK_LEN};
use commit::Journal;
use file::Open;
pub use file::{PendingRead, ReadAt};
use limits::{PATH_DEPTH_MAX, PENDING_LEN_MAX};
use queues::Queues;
use state::{ROOT, State, check_name};

/// A file that is open; its inode's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(u64);

impl FileId {
    /// The number that stands for it where types do not reach.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// What [`FileId::number`] gave; any other number is no open file.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }
}

/// Why an operation of the file system failed. Except for `Device` and `Broken`, nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FsError {
    /// The operation is impossible.
    #[error("{0}")]
    Change(#[from] ChangeError),
    /// The path has more than [`PATH_DEPTH_MAX`] components.
    #[error("a path has at most {PATH_DEPTH_MAX} components")]
    PathTooDeep,
    /// No blocks are left.
    #[error("no space is left on the device")]
    NoSpace,
    /// The metadata would not fit into a journal region any more.
    #[error("the metadata fills its journal; make a file system with a larger one")]
    JournalFull,
    /// The file is open for writing already, or not open.
    #[error("the file is open for writing already, or is not open")]
    WrongOpen,
    /// Another holder has the lock.
    #[error("the lock is held")]
    Locked,
    /// A file cannot be made longer by truncation.
    #[error("truncation beyond the file's end")]
    BeyondEnd,
    /// The device failed now. If it was in a write or flush, every later write is `Broken`.
    #[error("{0}")]
    Device(#[from] DeviceError),
    /// The device failed before, so nothing is written any more.
    #[error("nothing is written after a failure of the device ({0}); mount again")]
    Broken(DeviceError),
}

/// What is known of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The inode's number, which names of one file share.
    pub inode: u64,
    /// File or directory.
    pub kind: Kind,
    /// Bytes, with those that are not synced.
    pub size: u64,
    /// Names.
    pub links: u32,
    /// Blocks that the file holds, with preallocated ones.
    pub blocks: u64,
    /// Milliseconds since 1970, as the last sync said.
    pub modified_ms: u64,
}

/// Space in blocks of [`limits::BLOCK_LEN`] bytes. The parts add up to the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All blocks of the file system.
    pub total: u64,
    /// Superblocks and journal.
    pub reserved: u64,
    /// Blocks of files.
    pub used: u64,
    /// Blocks that the next commit frees.
    pub held: u64,
    /// Free blocks.
    pub free: u64,
}

/// What has happened since the mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Transactions that became durable.
    pub commits: u64,
    /// Snapshots among them.
    pub compactions: u64,
    /// Trims that the device refused; their blocks are free all the same.
    pub trim_errors: u64,
    /// Flushes of the device.
    pub flushes: u64,
    /// Operations of the device that failed.
    pub device_errors: u64,
    /// Queues to the device that are in use: for a read, for a file that is written, for a flush.
    pub queues_in_use: u64,
    /// The most that ever were.
    pub queues_in_use_max: u64,
}

/// What is counted while it happens.
#[derive(Debug, Default)]
struct Counting {
    commits: AtomicU64,
    compactions: AtomicU64,
    trim_errors: AtomicU64,
    flushes: AtomicU64,
    device_errors: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A mounted file system.
#[derive(Debug)]
pub struct FileSystem<D> {
    queues: Queues<D>,
    meta: Mutex<Meta<D>>,
    journal: Mutex<Journal<D>>,
    /// How many of `written` the newest flush covers.
    flushed: Mutex<u64>,
    /// Counts groups of writes that have completed.
    written: AtomicU64,
    /// The first failure of a write or flush.
    broken: OnceLock<DeviceError>,
    counting: Counting,
}

/// What the metadata's lock protects.
#[derive(Debug)]
struct Meta<D> {
    state: State,
    open: BTreeMap<u64, OpenEntry<D>>,
    /// Changes that the next commit makes durable.
    pending: Vec<u8>,
    /// Blocks that the next commit frees.
    held: Vec<Extent>,
    /// Blocks that the present commit frees.
    releasing: u64,
    locks: BTreeSet<u64>,
    block_count: u64,
    content_start: u64,
    /// Bytes that a snapshot may have.
    snapshot_len_max: usize,
}

#[derive(Debug)]
struct OpenEntry<D> {
    file: Arc<Open<D>>,
    handles: u32,
    writer: bool,
}

/// Locks what no panic leaves half changed, because a panic ends the process.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics with a lock of the file system")
}

impl<D: BlockDevice> FileSystem<D> {
    /// Opens a new file for appending; if the name exists, the file is emptied. Whoever reads it
    /// meanwhile may find anything.
    ///
    /// # Errors
    /// [`FsError`]; `WrongOpen` if it is open for writing.
    pub fn create(&self, path: &[u8]) -> Result<FileId, FsError> {
        self.usable()?;
        let mut meta = lock(&self.meta);
        let (parent, name) = meta.resolve(path)?;
        let inode = match meta.state.lookup(parent, name) {
            Ok(inode) => {
                let modified_ms = meta.state.file(inode)?.modified_ms;
                meta.check_no_writer(inode)?;
                meta.apply(Change::Size { inode, size: 0, modified_ms })?;
                meta.apply(Change::Shrink { inode, blocks: 0 })?;
                inode
            }
            Err(ChangeError::NotFound) => meta.new_inode(parent, name, Kind::File)?,
            Err(error) => return Err(error.into()),
        };
        let open = meta.open_handle(inode, true);
        open.writer_comes();
        self.settle(meta)?;
        self.begin_writing(&open, 0, &[], 0);
        Ok(FileId(inode))
    }

    /// Opens a file for appending behind what it has.
    ///
    /// # Errors
    /// [`FsError`]; `WrongOpen` if it is open for writing.
    pub fn open_append(&self, path: &[u8]) -> Result<FileId, FsError> {
        self.usable()?;
        let mut meta = lock(&self.meta);
        let inode = meta.lookup(path)?;
        let found = meta.state.file(inode)?;
        let (size, journaled) = (found.size, found.tail.len());
        meta.check_no_writer(inode)?;
        let open = meta.open_handle(inode, true);
        drop(meta);
        match self.end_from(&open, size - to_u64(journaled)) {
            Ok(end) => {
                self.begin_writing(&open, size, &end, journaled);
                Ok(FileId(inode))
            }
            Err(error) => {
                lock(&self.meta).close_handle(inode, true);
                Err(error)
            }
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn open_read(&self, path: &[u8]) -> Result<FileId, FsError> {
        let mut meta = lock(&self.meta);
        let inode = meta.lookup(path)?;
        meta.state.file(inode)?;
        meta.open_handle(inode, false);
        Ok(FileId(inode))
    }

    /// Ends one opening of a file. The writer's preallocated blocks go back; what was not synced is
    /// written, and is as durable as the next commit makes it. A file without a name goes.
    ///
    /// # Errors
    /// [`FsError`]; the file is closed all the same.
    pub fn close(&self, file: FileId, writer: bool, now_ms: u64) -> Result<(), FsError> {
        let inode = file.0;
        let open = self.open(file)?;
        let result = if writer { self.finish_writing(&open, now_ms) } else { Ok(()) };
        if result == Err(FsError::WrongOpen) {
            return result;
        }
        let mut meta = lock(&self.meta);
        if meta.close_handle(inode, writer)
            && meta.state.file(inode)?.links == 0
            && self.usable().is_ok()
        {
            meta.apply(Change::Free { inode })?;
        }
        result.and_then(|()| self.settle(meta))
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn create_directory(&self, path: &[u8]) -> Result<(), FsError> {
        self.usable()?;
        let mut meta = lock(&self.meta);
        let (parent, name) = meta.resolve(path)?;
        if meta.state.lookup(parent, name).is_ok() {
            return Err(ChangeError::Exists.into());
        }
        meta.new_inode(parent, name, Kind::Directory)?;
        self.settle(meta)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn remove_directory(&self, path: &[u8]) -> Result<(), FsError> {
        self.usable()?;
        let mut meta = lock(&self.meta);
        let (parent, name) = meta.resolve(path)?;
        let inode = meta.state.lookup(parent, name)?;
        meta.state.names(inode)?;
        meta.apply(Change::Unlink { parent, name: name.to_vec() })?;
        self.settle(meta)
    }

    /// Removes a name of a file. The file goes with its last name and its last opening.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn unlink(&self, path: &[u8]) -> Result<(), FsError> {
        self.usable()?;
        let mut meta = lock(&self.meta);
        let (parent, name) = meta.resolve(path)?;
        let inode = meta.state.lookup(parent, name)?;
        meta.state.file(inode)?;
        meta.apply(Change::Unlink { parent, name: name.to_vec() })?;
        meta.free_nameless(inode)?;
        self.settle(meta)
    }

    /// Gives a file a second name.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn link(&self, path: &[u8], new_path: &[u8]) -> Result<(), FsError> {
        self.usable()?;
        let mut meta = lock(&self.meta);
        let inode = meta.lookup(path)?;
        meta.state.file(inode)?;
        let (parent, name) = meta.resolve(new_path)?;
        meta.room(LINK_LEN + name.len())?;
        meta.apply(Change::Link { parent, name: name.to_vec(), inode })?;
        self.settle(meta)
    }

    /// Moves a name; a file that had the new name is replaced, and at no moment is there none.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn rename(&self, path: &[u8], new_path: &[u8]) -> Result<(), FsError> {
        self.usable()?;
        let mut meta = lock(&self.meta);
        let (parent, name) = meta.resolve(path)?;
        let (to_parent, to_name) = meta.resolve(new_path)?;
        let replaced = meta.state.lookup(to_parent, to_name).ok();
        meta.room(to_name.len().saturating_sub(name.len()))?;
        let (name, to_name) = (name.to_vec(), to_name.to_vec());
        meta.apply(Change::Rename { parent, name, to_parent, to_name })?;
        if let Some(replaced) = replaced {
            meta.free_nameless(replaced)?;
        }
        self.settle(meta)
    }

    /// The names in a directory, in the order of their bytes.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn list(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, FsError> {
        let meta = lock(&self.meta);
        let directory = meta.lookup(path)?;
        Ok(meta.state.names(directory)?.keys().cloned().collect())
    }

    /// What is known of a name.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn metadata(&self, path: &[u8]) -> Result<Metadata, FsError> {
        let meta = lock(&self.meta);
        let inode = meta.lookup(path)?;
        let found = meta.state.inodes.get(&inode).ok_or(ChangeError::NotFound)?;
        Ok(Metadata {
            inode,
            kind: found.kind,
            size: meta.open.get(&inode).map_or(found.size, |entry| entry.file.size()),
            links: found.links,
            blocks: found.blocks,
            modified_ms: found.modified_ms,
        })
    }

    /// The length of an open file, with what is not synced.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn size(&self, file: FileId) -> Result<u64, FsError> {
        Ok(self.open(file)?.size())
    }

    /// Takes a file's lock, making the file if there is none. Locks end with the mount.
    ///
    /// # Errors
    /// [`FsError`]; `Locked` if it is taken.
    pub fn lock(&self, path: &[u8]) -> Result<FileId, FsError> {
        self.usable()?;
        let mut meta = lock(&self.meta);
        let inode = match meta.lookup(path) {
            Ok(inode) => inode,
            Err(FsError::Change(ChangeError::NotFound)) => {
                let (parent, name) = meta.resolve(path)?;
                meta.new_inode(parent, name, Kind::File)?
            }
            Err(error) => return Err(error),
        };
        if !meta.locks.insert(inode) {
            return Err(FsError::Locked);
        }
        self.settle(meta)?;
        Ok(FileId(inode))
    }

    /// Gives a lock back.
    pub fn unlock(&self, file: FileId) {
        lock(&self.meta).locks.remove(&file.0);
    }

    /// Where the blocks are.
    pub fn space(&self) -> Space {
        let meta = lock(&self.meta);
        let (total, reserved) = (meta.block_count, meta.content_start);
        let held = meta.held.iter().map(|extent| extent.count).sum::<u64>() + meta.releasing;
        let free = meta.state.allocator.free();
        Space { total, reserved, used: total - reserved - held - free, held, free }
    }

    /// What has happened since the mount.
    pub fn counters(&self) -> Counters {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (queues_in_use, queues_in_use_max) = self.queues.in_use();
        Counters {
            queues_in_use,
            queues_in_use_max,
            commits: count(&self.counting.commits),
            compactions: count(&self.counting.compactions),
            trim_errors: count(&self.counting.trim_errors),
            flushes: count(&self.counting.flushes),
            device_errors: count(&self.counting.device_errors),
        }
    }

    /// Why nothing is written any more, if so.
    pub fn broken(&self) -> Option<DeviceError> {
        self.broken.get().copied()
    }

    /// The device; what is not committed is lost.
    pub fn into_device(self) -> D {
        self.journal.into_inner().expect("no thread panics with the journal's lock").io.device
    }

    /// Does something with a queue of the device, to look at it or to make it fail.
    pub fn with_device<R>(&self, act: impl FnOnce(&mut D) -> R) -> R {
        act(&mut lock(&self.journal).io.device)
    }

    fn usable(&self) -> Result<(), FsError> {
        self.broken.get().map_or(Ok(()), |error| Err(FsError::Broken(*error)))
    }

    /// After this nothing is written any more.
    fn fail(&self, error: DeviceError) -> FsError {
        count(&self.counting.device_errors);
        // The first failure is the reason.
        self.broken.set(error).ok();
        error.into()
    }

    /// Ends an operation: what is pending has a bound.
    fn settle(&self, meta: MutexGuard<'_, Meta<D>>) -> Result<(), FsError> {
        let full = meta.pending.len() >= PENDING_LEN_MAX;
        drop(meta);
        if full { self.commit() } else { Ok(()) }
    }
}

impl<D: BlockDevice> Meta<D> {
    fn apply(&mut self, change: Change) -> Result<(), FsError> {
        self.state.apply(&change, &mut self.held)?;
        change.encode(&mut self.pending);
        Ok(())
    }

    /// Whether the snapshot has room for `len` bytes more.
    const fn room(&self, len: usize) -> Result<(), FsError> {
        if self.state.snapshot_len + len > self.snapshot_len_max {
            Err(FsError::JournalFull)
        } else {
            Ok(())
        }
    }

    fn resolve<'p>(&self, path: &'p [u8]) -> Result<(u64, &'p [u8]), FsError> {
        let components = components(path)?;
        let (name, above) = components.split_last().ok_or(ChangeError::InvalidName)?;
        check_name(name)?;
        Ok((self.walk(above)?, *name))
    }

    fn lookup(&self, path: &[u8]) -> Result<u64, FsError> {
        self.walk(&components(path)?)
    }

    fn walk(&self, components: &[&[u8]]) -> Result<u64, FsError> {
        let mut inode = ROOT;
        for name in components {
            inode = self.state.lookup(inode, name)?;
        }
        Ok(inode)
    }

    fn new_inode(&mut self, parent: u64, name: &[u8], kind: Kind) -> Result<u64, FsError> {
        self.state.names(parent)?;
        self.room(INODE_LEN + LINK_LEN + name.len())?;
        let inode = self.state.next_inode;
        self.apply(Change::Inode { inode, kind })?;
        self.apply(Change::Link { parent, name: name.to_vec(), inode })?;
        Ok(inode)
    }

    fn free_nameless(&mut self, inode: u64) -> Result<(), FsError> {
        match self.state.inodes.get(&inode) {
            Some(found) if found.links == 0 && !self.open.contains_key(&inode) => {
                self.apply(Change::Free { inode })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn open_handle(&mut self, inode: u64, writer: bool) -> Arc<Open<D>> {
        let size = self.state.inodes.get(&inode).map_or(0, |found| found.size);
        let entry = self.open.entry(inode).or_insert_with(|| OpenEntry {
            file: Arc::new(Open::new(inode, size)),
            handles: 0,
            writer: false,
        });
        entry.handles += 1;
        entry.writer |= writer;
        Arc::clone(&entry.file)
    }

    /// Whether that was the last handle.
    fn close_handle(&mut self, inode: u64, writer: bool) -> bool {
        let Some(entry) = self.open.get_mut(&inode) else { return false };
        entry.handles -= 1;
        entry.writer &= !writer;
        let last = entry.handles == 0;
        if last {
            self.open.remove(&inode);
        }
        last
    }

    fn check_no_writer(&self, inode: u64) -> Result<(), FsError> {
        match self.open.get(&inode) {
            Some(entry) if entry.writer => Err(FsError::WrongOpen),
            Some(_) | None => Ok(()),
        }
    }
}

/// A path's components; the root has none.
fn components(path: &[u8]) -> Result<Vec<&[u8]>, FsError> {
    let found: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    if found.len() > PATH_DEPTH_MAX { Err(FsError::PathTooDeep) } else { Ok(found) }
}
