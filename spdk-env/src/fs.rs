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
//!   exactly the length of its last commit.
//! * Freed blocks are used again, and trimmed, only after the commit that frees them.
//! * Content at or below a durable length is never changed in place; only the zeros after it are.
//! * Mounting reads and verifies, and writes nothing. The first commit repairs a stale superblock.
//! * After a failed write or flush nothing is written any more ([`FsError::Broken`]); reads go on.
//!   What is durable is only known by mounting again.
//!
//! One caller at a time: it waits by polling the device.

pub mod limits;

mod allocator;
mod change;
mod check;
mod io;
mod journal;
mod mount;
mod state;
mod superblock;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

pub use change::{Extent, Kind};
pub use check::{Finding, Report, check};
pub use journal::JournalError;
pub use mount::{FormatError, FormatOptions, MountError, format};
pub use state::ChangeError;
pub use superblock::{FORMAT_VERSION, SuperblockError};

use crate::device::{BlockDevice, DeviceError};
use crate::number::{to_u64, to_usize};
use change::{Change, EXTENT_LEN, INODE_LEN, LINK_LEN};
use io::Io;
use journal::{RecordKind, RecordPlace};
use limits::{
    BLOCK_BYTES, BLOCK_LEN, FILE_LEN_MAX, GROW_BLOCKS, PATH_DEPTH_MAX, PENDING_LEN_MAX,
    SNAPSHOT_PAYLOAD_LEN_MAX, TAIL_LEN_MAX,
};
use state::{ROOT, State, check_name};
use superblock::Superblock;

/// A file that is open; its inode's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(u64);

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

/// Space in blocks of [`BLOCK_LEN`] bytes. The parts add up to the total.
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
}

#[derive(Debug, Default)]
struct Open {
    handles: u32,
    writer: bool,
    /// Length with what is not synced.
    size: u64,
    /// The bytes from the last whole block that was written to `size`.
    tail: Vec<u8>,
}

/// A mounted file system.
#[derive(Debug)]
pub struct FileSystem<D> {
    io: Io<D>,
    superblock: Superblock,
    state: State,
    next_sequence: u64,
    next_block: u64,
    open: BTreeMap<u64, Open>,
    pending: Vec<u8>,
    held: Vec<Extent>,
    /// Copies of the superblock that have to be written before anything else.
    stale_superblocks: Vec<u64>,
    unflushed: bool,
    broken: Option<DeviceError>,
    locks: BTreeSet<u64>,
    counters: Counters,
}

impl<D: BlockDevice> FileSystem<D> {
    /// Opens a new file for appending; if the name exists, the file is emptied.
    ///
    /// # Errors
    /// [`FsError`]; `WrongOpen` if it is open for writing.
    pub fn create(&mut self, path: &[u8]) -> Result<FileId, FsError> {
        let (parent, name) = self.resolve(path)?;
        match self.state.lookup(parent, name) {
            Ok(inode) => {
                self.state.file(inode)?;
                self.writable(inode)?;
                let modified_ms = self.state.file(inode)?.modified_ms;
                self.apply(Change::Size { inode, size: 0, modified_ms })?;
                self.apply(Change::Shrink { inode, blocks: 0 })?;
                self.open_handle(inode, true);
                let open = self.open.entry(inode).or_default();
                open.size = 0;
                open.tail.clear();
                self.settle()?;
                Ok(FileId(inode))
            }
            Err(ChangeError::NotFound) => {
                let inode = self.new_inode(parent, name, Kind::File)?;
                self.open_handle(inode, true);
                self.settle()?;
                Ok(FileId(inode))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a file for appending behind what it has.
    ///
    /// # Errors
    /// [`FsError`]; `WrongOpen` if it is open for writing.
    pub fn open_append(&mut self, path: &[u8]) -> Result<FileId, FsError> {
        let inode = self.lookup(path)?;
        self.state.file(inode)?;
        self.writable(inode)?;
        let tail = self.durable_tail(inode)?;
        self.open_handle(inode, true);
        if let Some(open) = self.open.get_mut(&inode)
            && open.tail.is_empty()
        {
            open.tail = tail;
        }
        Ok(FileId(inode))
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn open_read(&mut self, path: &[u8]) -> Result<FileId, FsError> {
        let inode = self.lookup(path)?;
        self.state.file(inode)?;
        self.open_handle(inode, false);
        Ok(FileId(inode))
    }

    /// Ends one opening of a file. The writer's preallocated blocks go back; what was not synced is
    /// written, and is as durable as the next commit makes it. A file without a name goes.
    ///
    /// # Errors
    /// [`FsError`]; the file is closed all the same.
    pub fn close(&mut self, file: FileId, writer: bool, now_ms: u64) -> Result<(), FsError> {
        let inode = file.0;
        let open = self.open.get_mut(&inode).ok_or(FsError::WrongOpen)?;
        if writer && !open.writer {
            return Err(FsError::WrongOpen);
        }
        let mut result = Ok(());
        if writer {
            open.writer = false;
            result = self.finish_writing(inode, now_ms);
        }
        let open = self.open.get_mut(&inode).ok_or(FsError::WrongOpen)?;
        open.handles -= 1;
        if open.handles == 0 {
            self.open.remove(&inode);
            if self.state.file(inode)?.links == 0 && self.broken.is_none() {
                self.apply(Change::Free { inode })?;
            }
        }
        result.and_then(|()| self.settle())
    }

    fn finish_writing(&mut self, inode: u64, now_ms: u64) -> Result<(), FsError> {
        self.usable()?;
        self.write_tail(inode)?;
        let size = self.open.get(&inode).map_or(0, |open| open.size);
        if self.unflushed {
            // A length becomes durable only after the content below it.
            self.flush()?;
        }
        self.apply(Change::Size { inode, size, modified_ms: now_ms })?;
        self.apply(Change::Shrink { inode, blocks: size.div_ceil(BLOCK_BYTES) })
    }

    /// Appends `bytes`, all or none.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn append(&mut self, file: FileId, bytes: &[u8]) -> Result<(), FsError> {
        self.usable()?;
        let inode = file.0;
        let open = self.writer(inode)?;
        let size = open.size.checked_add(to_u64(bytes.len())).filter(|size| *size <= FILE_LEN_MAX);
        let size = size.ok_or(ChangeError::FileTooLong)?;
        self.reserve(inode, size)?;
        let open = self.writer(inode)?;
        open.tail.extend_from_slice(bytes);
        open.size = size;
        if open.tail.len() >= TAIL_LEN_MAX {
            self.write_tail(inode)?;
        }
        self.settle()
    }

    /// Takes blocks for a file of `size` bytes now; those beyond its end go back on close.
    ///
    /// # Errors
    /// [`FsError`]; blocks that were found stay with the file.
    pub fn preallocate(&mut self, file: FileId, size: u64) -> Result<(), FsError> {
        self.usable()?;
        self.writer(file.0)?;
        if size > FILE_LEN_MAX {
            return Err(ChangeError::FileTooLong.into());
        }
        self.reserve(file.0, size)?;
        self.settle()
    }

    /// Makes the content of `files` durable, and all changes of names so far: one flush and one
    /// journal record for all of them.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn sync(&mut self, files: &[FileId], now_ms: u64) -> Result<(), FsError> {
        self.usable()?;
        for file in files {
            self.writer(file.0)?;
        }
        for file in files {
            self.write_tail(file.0)?;
        }
        if self.unflushed {
            self.flush()?;
        }
        for file in files {
            let size = self.writer(file.0)?.size;
            if self.state.file(file.0)?.size != size {
                self.apply(Change::Size { inode: file.0, size, modified_ms: now_ms })?;
            }
        }
        self.commit()
    }

    /// Cuts a file at `size` bytes, durably. Its writer goes on there.
    ///
    /// # Errors
    /// [`FsError`]; `BeyondEnd` if the file is shorter.
    pub fn truncate(&mut self, file: FileId, size: u64, now_ms: u64) -> Result<(), FsError> {
        self.usable()?;
        let inode = file.0;
        if size > self.writer(inode)?.size {
            return Err(FsError::BeyondEnd);
        }
        self.write_tail(inode)?;
        if self.unflushed {
            self.flush()?;
        }
        self.apply(Change::Size { inode, size, modified_ms: now_ms })?;
        self.apply(Change::Shrink { inode, blocks: size.div_ceil(BLOCK_BYTES) })?;
        let tail = self.durable_tail(inode)?;
        let open = self.writer(inode)?;
        open.size = size;
        open.tail = tail;
        // Before anything is appended: it would overwrite what is durable now.
        self.commit()
    }

    /// Reads at `offset` and returns how many bytes there were: fewer than asked for only at the
    /// file's end.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn read(&mut self, file: FileId, offset: u64, out: &mut [u8]) -> Result<usize, FsError> {
        let open = self.open.get(&file.0).ok_or(FsError::WrongOpen)?;
        let len = to_usize(open.size.saturating_sub(offset)).min(out.len());
        let tail_start = open.size - to_u64(open.tail.len());
        let on_device = to_usize(tail_start.saturating_sub(offset)).min(len);
        if on_device < len {
            let from = to_usize((offset + to_u64(on_device)) - tail_start);
            let bytes = open.tail.get(from..from + len - on_device);
            out[on_device..len].copy_from_slice(bytes.ok_or(FsError::WrongOpen)?);
        }
        self.read_content(file.0, offset, &mut out[..on_device])?;
        Ok(len)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn create_directory(&mut self, path: &[u8]) -> Result<(), FsError> {
        let (parent, name) = self.resolve(path)?;
        if self.state.lookup(parent, name).is_ok() {
            return Err(ChangeError::Exists.into());
        }
        self.new_inode(parent, name, Kind::Directory)?;
        self.settle()
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn remove_directory(&mut self, path: &[u8]) -> Result<(), FsError> {
        let (parent, name) = self.resolve(path)?;
        let inode = self.state.lookup(parent, name)?;
        self.state.names(inode)?;
        self.apply(Change::Unlink { parent, name: name.to_vec() })?;
        self.settle()
    }

    /// Removes a name of a file. The file goes with its last name and its last opening.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn unlink(&mut self, path: &[u8]) -> Result<(), FsError> {
        let (parent, name) = self.resolve(path)?;
        let inode = self.state.lookup(parent, name)?;
        self.state.file(inode)?;
        self.apply(Change::Unlink { parent, name: name.to_vec() })?;
        self.free_nameless(inode)?;
        self.settle()
    }

    /// Gives a file a second name.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn link(&mut self, path: &[u8], new_path: &[u8]) -> Result<(), FsError> {
        let inode = self.lookup(path)?;
        self.state.file(inode)?;
        let (parent, name) = self.resolve(new_path)?;
        self.room(LINK_LEN + name.len())?;
        self.apply(Change::Link { parent, name: name.to_vec(), inode })?;
        self.settle()
    }

    /// Moves a name; a file that had the new name is replaced, and at no moment is there none.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn rename(&mut self, path: &[u8], new_path: &[u8]) -> Result<(), FsError> {
        let (parent, name) = self.resolve(path)?;
        let (to_parent, to_name) = self.resolve(new_path)?;
        let replaced = self.state.lookup(to_parent, to_name).ok();
        self.room(to_name.len().saturating_sub(name.len()))?;
        let (name, to_name) = (name.to_vec(), to_name.to_vec());
        self.apply(Change::Rename { parent, name, to_parent, to_name })?;
        if let Some(replaced) = replaced {
            self.free_nameless(replaced)?;
        }
        self.settle()
    }

    /// The names in a directory, in the order of their bytes.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn list(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, FsError> {
        let directory = self.lookup(path)?;
        Ok(self.state.names(directory)?.keys().cloned().collect())
    }

    /// What is known of a name.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn metadata(&self, path: &[u8]) -> Result<Metadata, FsError> {
        let inode = self.lookup(path)?;
        let found = self.state.inodes.get(&inode).ok_or(ChangeError::NotFound)?;
        Ok(Metadata {
            kind: found.kind,
            size: self.open.get(&inode).map_or(found.size, |open| open.size),
            links: found.links,
            blocks: found.blocks,
            modified_ms: found.modified_ms,
        })
    }

    /// Takes a file's lock, making the file if there is none. Locks end with the mount.
    ///
    /// # Errors
    /// [`FsError`]; `Locked` if it is taken.
    pub fn lock(&mut self, path: &[u8]) -> Result<FileId, FsError> {
        let inode = match self.lookup(path) {
            Ok(inode) => inode,
            Err(FsError::Change(ChangeError::NotFound)) => {
                let (parent, name) = self.resolve(path)?;
                let inode = self.new_inode(parent, name, Kind::File)?;
                self.settle()?;
                inode
            }
            Err(error) => return Err(error),
        };
        if !self.locks.insert(inode) {
            return Err(FsError::Locked);
        }
        Ok(FileId(inode))
    }

    /// Gives a lock back.
    pub fn unlock(&mut self, file: FileId) {
        self.locks.remove(&file.0);
    }

    /// Where the blocks are.
    pub fn space(&self) -> Space {
        let total = self.superblock.block_count;
        let reserved = self.superblock.content_start();
        let held = self.held.iter().map(|extent| extent.count).sum();
        let free = self.state.allocator.free();
        Space { total, reserved, used: total - reserved - held - free, held, free }
    }

    /// What has happened since the mount.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The device; what is not committed is lost.
    pub fn into_device(self) -> D {
        self.io.device
    }

    /// The device under the file system, to look at it or to make it fail.
    pub const fn device_mut(&mut self) -> &mut D {
        &mut self.io.device
    }

    /// Makes all changes of names durable that were made so far.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn commit(&mut self) -> Result<(), FsError> {
        self.usable()?;
        if self.pending.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.write_pending() {
            self.broken = Some(error);
            return Err(error.into());
        }
        self.pending.clear();
        self.counters.commits += 1;
        let held = std::mem::take(&mut self.held);
        if self.io.unmap(&held).is_err() {
            self.counters.trim_errors += 1;
        }
        for extent in held {
            self.state.allocator.release(extent);
        }
        Ok(())
    }

    fn write_pending(&mut self) -> Result<(), DeviceError> {
        for copy in std::mem::take(&mut self.stale_superblocks) {
            self.write_superblock(copy)?;
        }
        let record = journal::encode(&self.place(RecordKind::Log), &self.pending);
        let count = to_u64(record.len() / BLOCK_LEN);
        if self.next_block + count > self.superblock.journal_blocks {
            return self.compact();
        }
        let start = self.superblock.region(self.superblock.generation) + self.next_block;
        self.io.write(&[Extent { start, count }], &record, true)?;
        self.next_block += count;
        self.next_sequence += 1;
        Ok(())
    }

    /// Writes a snapshot to the other region, and then the superblocks that name it.
    fn compact(&mut self) -> Result<(), DeviceError> {
        self.superblock.generation += 1;
        self.next_sequence = 0;
        self.next_block = 0;
        let records = snapshot_payloads(&self.state);
        self.superblock.snapshot_records = to_u64(records.len());
        let mut bytes = Vec::new();
        for payload in records {
            bytes.extend_from_slice(&journal::encode(&self.place(RecordKind::Snapshot), &payload));
            self.next_sequence += 1;
        }
        self.next_block = to_u64(bytes.len() / BLOCK_LEN);
        assert!(self.next_block <= self.superblock.journal_blocks, "metadata beyond its limit");
        let start = self.superblock.region(self.superblock.generation);
        self.io.write(&[Extent { start, count: self.next_block }], &bytes, false)?;
        self.io.flush()?;
        self.write_superblock(0)?;
        self.write_superblock(1)?;
        self.counters.compactions += 1;
        Ok(())
    }

    fn write_superblock(&mut self, copy: u64) -> Result<(), DeviceError> {
        self.io.write(&[Extent { start: copy, count: 1 }], &self.superblock.encode(), true)
    }

    const fn place(&self, kind: RecordKind) -> RecordPlace {
        RecordPlace {
            uuid: self.superblock.uuid,
            generation: self.superblock.generation,
            sequence: self.next_sequence,
            kind,
        }
    }

    /// Ends an operation: what is pending has a bound.
    fn settle(&mut self) -> Result<(), FsError> {
        if self.pending.len() >= PENDING_LEN_MAX { self.commit() } else { Ok(()) }
    }

    fn usable(&self) -> Result<(), FsError> {
        self.broken.map_or(Ok(()), |error| Err(FsError::Broken(error)))
    }

    fn flush(&mut self) -> Result<(), FsError> {
        if let Err(error) = self.io.flush() {
            self.broken = Some(error);
            return Err(error.into());
        }
        self.unflushed = false;
        Ok(())
    }

    fn apply(&mut self, change: Change) -> Result<(), FsError> {
        self.usable()?;
        self.state.apply(&change, &mut self.held)?;
        change.encode(&mut self.pending);
        Ok(())
    }

    /// Whether the snapshot has room for `len` bytes more.
    fn room(&self, len: usize) -> Result<(), FsError> {
        let capacity = to_usize(self.superblock.journal_blocks) * BLOCK_LEN / 4 * 3;
        if self.state.snapshot_len + len > capacity { Err(FsError::JournalFull) } else { Ok(()) }
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

    fn open_handle(&mut self, inode: u64, writer: bool) {
        let size = self.state.inodes.get(&inode).map_or(0, |found| found.size);
        let open = self.open.entry(inode).or_insert_with(|| Open { size, ..Open::default() });
        open.handles += 1;
        open.writer |= writer;
    }

    fn writable(&self, inode: u64) -> Result<(), FsError> {
        match self.open.get(&inode) {
            Some(open) if open.writer => Err(FsError::WrongOpen),
            Some(_) | None => self.usable(),
        }
    }

    fn writer(&mut self, inode: u64) -> Result<&mut Open, FsError> {
        self.open.get_mut(&inode).filter(|open| open.writer).ok_or(FsError::WrongOpen)
    }

    /// Takes blocks until the file has `size` bytes' worth.
    fn reserve(&mut self, inode: u64, size: u64) -> Result<(), FsError> {
        let wanted = size.div_ceil(BLOCK_BYTES);
        loop {
            let file = self.state.file(inode)?;
            let missing = wanted.saturating_sub(file.blocks);
            if missing == 0 {
                return Ok(());
            }
            let near = file.extents.last().map(|last| last.start + last.count);
            self.room(EXTENT_LEN)?;
            let found = self.state.allocator.find(missing.max(GROW_BLOCKS), near);
            match found {
                Some(extent) => {
                    self.apply(Change::Extend { inode, extent })?;
                    self.settle()?;
                }
                // What the next commit frees may be enough.
                None if self.held.is_empty() => return Err(FsError::NoSpace),
                None => self.commit()?,
            }
        }
    }

    /// Writes a file's tail, and keeps what is not a whole block to write it again.
    fn write_tail(&mut self, inode: u64) -> Result<(), FsError> {
        let Some(open) = self.open.get_mut(&inode) else { return Err(FsError::WrongOpen) };
        if open.tail.is_empty() {
            return Ok(());
        }
        let file = self.state.file(inode)?;
        let first = (open.size - to_u64(open.tail.len())) / BLOCK_BYTES;
        if file.size == open.size {
            return Ok(());
        }
        let mut places = Vec::new();
        let mut block = first;
        let end = open.size.div_ceil(BLOCK_BYTES);
        while block < end {
            let place = file.place(block).ok_or(ChangeError::Inconsistent)?;
            let count = place.count.min(end - block);
            places.push(Extent { start: place.start, count });
            block += count;
        }
        self.unflushed = true;
        if let Err(error) = self.io.write(&places, &open.tail, false) {
            self.broken = Some(error);
            return Err(error.into());
        }
        let whole = open.tail.len() - open.tail.len() % BLOCK_LEN;
        open.tail.drain(..whole);
        Ok(())
    }

    /// The bytes of a file's last block, if it is not whole, as they are on the device.
    fn durable_tail(&mut self, inode: u64) -> Result<Vec<u8>, FsError> {
        let size = self.state.file(inode)?.size;
        let mut tail = vec![0; to_usize(size % BLOCK_BYTES)];
        self.read_content(inode, size - size % BLOCK_BYTES, &mut tail)?;
        Ok(tail)
    }

    fn read_content(&mut self, inode: u64, offset: u64, out: &mut [u8]) -> Result<(), FsError> {
        let mut at = offset;
        let mut rest = out;
        while !rest.is_empty() {
            let skip = to_usize(at % BLOCK_BYTES);
            let file = self.state.file(inode)?;
            let place = file.place(at / BLOCK_BYTES).ok_or(ChangeError::Inconsistent)?;
            let count = place.count.min(to_u64((skip + rest.len()).div_ceil(BLOCK_LEN)));
            let bytes = self.io.read(place.start, count)?;
            let len = rest.len().min(bytes.len() - skip);
            rest[..len].copy_from_slice(&bytes[skip..skip + len]);
            rest = &mut rest[len..];
            at += to_u64(len);
        }
        Ok(())
    }
}

/// A path's components; the root has none.
fn components(path: &[u8]) -> Result<Vec<&[u8]>, FsError> {
    let found: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    if found.len() > PATH_DEPTH_MAX { Err(FsError::PathTooDeep) } else { Ok(found) }
}

/// The payloads of a snapshot's records; at least one.
fn snapshot_payloads(state: &State) -> Vec<Vec<u8>> {
    let mut payloads = vec![Vec::new()];
    state.snapshot(|change| {
        if payloads.last().is_some_and(|last| last.len() + 2 * 300 > SNAPSHOT_PAYLOAD_LEN_MAX) {
            payloads.push(Vec::new());
        }
        if let Some(last) = payloads.last_mut() {
            change.encode(last);
        }
    });
    payloads
}
