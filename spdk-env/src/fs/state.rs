//! The metadata in memory, and what changes do to it: the same code when they are made and when the
//! journal is replayed, so every change is checked wherever it comes from.

use std::collections::{BTreeMap, BTreeSet};

use super::allocator::Allocator;
use super::change::{APPEND_LEN, Change, EXTENT_LEN, Extent, INODE_LEN, Kind, LINK_LEN};
use super::limits::{
    BLOCK_BYTES, BLOCK_LEN, EXTENTS_MAX, FILE_LEN_MAX, FILES_MAX, JOURNALED_TAIL_LEN_MAX,
    JOURNALED_TAILS_DIVISOR, LINKS_MAX, NAME_LEN_MAX, SNAPSHOT_APPEND_LEN_MAX,
};
use super::superblock::Superblock;
use crate::number::{to_u64, to_usize};

/// The root directory's number; it has no name and is always there.
pub(super) const ROOT: u64 = 1;

#[derive(Debug)]
pub(super) struct Inode {
    pub(super) kind: Kind,
    pub(super) links: u32,
    pub(super) size: u64,
    pub(super) modified_ms: u64,
    pub(super) extents: Vec<Extent>,
    pub(super) blocks: u64,
    /// The last bytes below `size`, of which only the journal is known to have them.
    pub(super) tail: Vec<u8>,
}

/// All metadata.
#[derive(Debug)]
pub(super) struct State {
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) directories: BTreeMap<u64, BTreeMap<Vec<u8>, u64>>,
    pub(super) allocator: Allocator,
    pub(super) next_inode: u64,
    /// Bytes that a snapshot of all this takes, without the headers of its records.
    pub(super) snapshot_len: usize,
    /// Bytes that the tails take in it besides.
    tails_len: usize,
    tails_len_max: usize,
}

/// Why a change is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It names what does not exist.
    #[error("no such file or directory")]
    NotFound,
    /// It makes what exists.
    #[error("the name exists")]
    Exists,
    /// It needs a directory.
    #[error("not a directory")]
    NotADirectory,
    /// It needs a file.
    #[error("a directory")]
    IsADirectory,
    /// It takes away a directory that has names.
    #[error("the directory is not empty")]
    NotEmpty,
    /// It would put a directory below itself.
    #[error("a directory cannot be moved below itself")]
    Cycle,
    /// The name is empty, `.` or `..`, or has a slash or a zero byte.
    #[error("not a name")]
    InvalidName,
    /// [`NAME_LEN_MAX`].
    #[error("a name has at most {NAME_LEN_MAX} bytes")]
    NameTooLong,
    /// [`FILES_MAX`].
    #[error("there are {FILES_MAX} files, the most there may be")]
    TooManyFiles,
    /// [`LINKS_MAX`].
    #[error("the file has {LINKS_MAX} names, the most it may have")]
    TooManyLinks,
    /// [`EXTENTS_MAX`].
    #[error("the file has {EXTENTS_MAX} extents, the most it may have")]
    TooFragmented,
    /// [`FILE_LEN_MAX`].
    #[error("a file has at most {FILE_LEN_MAX} bytes")]
    FileTooLong,
    /// The file has a name still, or its blocks and its length do not fit.
    #[error("the change contradicts the file")]
    Inconsistent,
    /// It takes blocks that are not free.
    #[error("blocks that are not free")]
    NotFree,
    /// [`JOURNALED_TAIL_LEN_MAX`], or the journal's share for such bytes.
    #[error("more bytes that only the journal has than it may have")]
    TailTooLong,
}

impl State {
    pub(super) fn new(superblock: &Superblock) -> Self {
        let start = superblock.content_start();
        let root = Inode::new(Kind::Directory, 1);
        Self {
            inodes: BTreeMap::from([(ROOT, root)]),
            directories: BTreeMap::from([(ROOT, BTreeMap::new())]),
            allocator: Allocator::new(Extent { start, count: superblock.block_count - start }),
            next_inode: ROOT + 1,
            snapshot_len: 0,
            tails_len: 0,
            tails_len_max: to_usize(superblock.journal_blocks) * BLOCK_LEN
                / JOURNALED_TAILS_DIVISOR,
        }
    }

    /// Does `change`, or nothing if it is impossible. Blocks that it frees go to `freed` and are
    /// not free yet.
    pub(super) fn apply(
        &mut self,
        change: &Change,
        freed: &mut Vec<Extent>,
    ) -> Result<(), ChangeError> {
        match change {
            Change::Inode { inode, kind } => self.create(*inode, *kind),
            Change::Link { parent, name, inode } => self.link(*parent, name, *inode),
            Change::Unlink { parent, name } => self.unlink(*parent, name),
            Change::Rename { parent, name, to_parent, to_name } => {
                self.rename((*parent, name), (*to_parent, to_name))
            }
            Change::Free { inode } => self.free(*inode, freed),
            Change::Extend { inode, extent } => self.extend(*inode, *extent),
            Change::Shrink { inode, blocks } => self.shrink(*inode, *blocks, freed),
            Change::Size { inode, size, modified_ms } => {
                let file = self.file(*inode)?;
                if *size > FILE_LEN_MAX {
                    return Err(ChangeError::FileTooLong);
                }
                if size.div_ceil(BLOCK_BYTES) > file.blocks {
                    return Err(ChangeError::Inconsistent);
                }
                file.size = *size;
                file.modified_ms = *modified_ms;
                let tail = std::mem::take(&mut file.tail);
                self.tails_len -= tail_cost(tail.len());
                Ok(())
            }
            Change::Append { inode, modified_ms, bytes } => {
                self.append(*inode, *modified_ms, bytes)
            }
        }
    }

    /// Whether `len` bytes of a file may be in the journal only, with those that are there already.
    pub(super) fn has_room_in_tail(&self, inode: u64, len: usize) -> bool {
        let tail_len = self.inodes.get(&inode).map_or(0, |found| found.tail.len());
        let more = tail_cost(tail_len.saturating_add(len)) - tail_cost(tail_len);
        tail_len.saturating_add(len) <= JOURNALED_TAIL_LEN_MAX
            && self.tails_len + more <= self.tails_len_max
    }

    /// The changes that make this state out of a new one.
    pub(super) fn snapshot(&self, mut each: impl FnMut(&Change)) {
        for (&inode, found) in self.inodes.iter().filter(|(inode, _)| **inode != ROOT) {
            each(&Change::Inode { inode, kind: found.kind });
            if found.kind == Kind::File {
                for &extent in &found.extents {
                    each(&Change::Extend { inode, extent });
                }
                let size = found.size - to_u64(found.tail.len());
                let modified_ms = found.modified_ms;
                each(&Change::Size { inode, size, modified_ms });
                for bytes in found.tail.chunks(SNAPSHOT_APPEND_LEN_MAX) {
                    each(&Change::Append { inode, modified_ms, bytes: bytes.to_vec() });
                }
            }
        }
        for (&parent, names) in &self.directories {
            for (name, &inode) in names {
                each(&Change::Link { parent, name: name.clone(), inode });
            }
        }
    }

    pub(super) fn file(&mut self, inode: u64) -> Result<&mut Inode, ChangeError> {
        let found = self.inodes.get_mut(&inode).ok_or(ChangeError::NotFound)?;
        match found.kind {
            Kind::File => Ok(found),
            Kind::Directory => Err(ChangeError::IsADirectory),
        }
    }

    pub(super) fn names(&self, directory: u64) -> Result<&BTreeMap<Vec<u8>, u64>, ChangeError> {
        match self.directories.get(&directory) {
            Some(names) => Ok(names),
            None if self.inodes.contains_key(&directory) => Err(ChangeError::NotADirectory),
            None => Err(ChangeError::NotFound),
        }
    }

    pub(super) fn lookup(&self, parent: u64, name: &[u8]) -> Result<u64, ChangeError> {
        self.names(parent)?.get(name).copied().ok_or(ChangeError::NotFound)
    }

    fn create(&mut self, inode: u64, kind: Kind) -> Result<(), ChangeError> {
        if self.inodes.contains_key(&inode) {
            return Err(ChangeError::Exists);
        }
        if self.inodes.len() >= FILES_MAX {
            return Err(ChangeError::TooManyFiles);
        }
        let next = inode.checked_add(1).ok_or(ChangeError::Inconsistent)?;
        self.next_inode = self.next_inode.max(next);
        self.inodes.insert(inode, Inode::new(kind, 0));
        if kind == Kind::Directory {
            self.directories.insert(inode, BTreeMap::new());
        }
        self.snapshot_len += INODE_LEN;
        Ok(())
    }

    fn link(&mut self, parent: u64, name: &[u8], inode: u64) -> Result<(), ChangeError> {
        check_name(name)?;
        if self.names(parent)?.contains_key(name) {
            return Err(ChangeError::Exists);
        }
        let found = self.inodes.get_mut(&inode).ok_or(ChangeError::NotFound)?;
        if found.kind == Kind::Directory && (found.links > 0 || inode == parent || inode == ROOT) {
            return Err(ChangeError::IsADirectory);
        }
        if found.links >= LINKS_MAX {
            return Err(ChangeError::TooManyLinks);
        }
        found.links += 1;
        self.insert_name(parent, name, inode);
        Ok(())
    }

    fn unlink(&mut self, parent: u64, name: &[u8]) -> Result<(), ChangeError> {
        let inode = self.lookup(parent, name)?;
        if let Some(names) = self.directories.get(&inode) {
            if !names.is_empty() {
                return Err(ChangeError::NotEmpty);
            }
            self.directories.remove(&inode);
            self.inodes.remove(&inode);
            self.snapshot_len -= INODE_LEN;
        } else {
            self.file(inode)?.links -= 1;
        }
        self.remove_name(parent, name);
        Ok(())
    }

    fn rename(&mut self, from: (u64, &[u8]), to: (u64, &[u8])) -> Result<(), ChangeError> {
        check_name(to.1)?;
        let inode = self.lookup(from.0, from.1)?;
        let replaced = self.names(to.0)?.get(to.1).copied();
        if replaced == Some(inode) {
            // As POSIX has it: two names of one file stay as they are.
            return Ok(());
        }
        if self.directories.contains_key(&inode) && self.is_below(to.0, inode) {
            return Err(ChangeError::Cycle);
        }
        if let Some(replaced) = replaced {
            if self.directories.contains_key(&inode) {
                return Err(ChangeError::Exists);
            }
            self.file(replaced)?.links -= 1;
            self.remove_name(to.0, to.1);
        }
        self.remove_name(from.0, from.1);
        self.insert_name(to.0, to.1, inode);
        Ok(())
    }

    fn is_below(&self, directory: u64, ancestor: u64) -> bool {
        if directory == ancestor {
            return true;
        }
        // A damaged journal may hold a circle, which mounting refuses only at its end.
        let mut seen = BTreeSet::from([ancestor]);
        let mut unseen = vec![ancestor];
        while let Some(next) = unseen.pop() {
            let inodes = self.directories.get(&next).into_iter().flat_map(BTreeMap::values);
            for inode in inodes.filter(|inode| self.directories.contains_key(inode)) {
                if *inode == directory {
                    return true;
                }
                if seen.insert(*inode) {
                    unseen.push(*inode);
                }
            }
        }
        false
    }

    fn free(&mut self, inode: u64, freed: &mut Vec<Extent>) -> Result<(), ChangeError> {
        if self.file(inode)?.links > 0 {
            return Err(ChangeError::Inconsistent);
        }
        if let Some(found) = self.inodes.remove(&inode) {
            self.snapshot_len -= INODE_LEN + EXTENT_LEN * found.extents.len();
            self.tails_len -= tail_cost(found.tail.len());
            freed.extend(found.extents);
        }
        Ok(())
    }

    fn append(&mut self, inode: u64, modified_ms: u64, bytes: &[u8]) -> Result<(), ChangeError> {
        let file = self.file(inode)?;
        let size = file.size.checked_add(to_u64(bytes.len()));
        let size = size.filter(|size| *size <= FILE_LEN_MAX).ok_or(ChangeError::FileTooLong)?;
        if size.div_ceil(BLOCK_BYTES) > file.blocks {
            return Err(ChangeError::Inconsistent);
        }
        if !self.has_room_in_tail(inode, bytes.len()) {
            return Err(ChangeError::TailTooLong);
        }
        let file = self.file(inode)?;
        let before = tail_cost(file.tail.len());
        file.tail.extend_from_slice(bytes);
        let after = tail_cost(file.tail.len());
        file.size = size;
        file.modified_ms = modified_ms;
        self.tails_len += after - before;
        Ok(())
    }

    fn extend(&mut self, inode: u64, extent: Extent) -> Result<(), ChangeError> {
        let file = self.file(inode)?;
        let blocks = file.blocks.checked_add(extent.count);
        let blocks = blocks.filter(|blocks| *blocks <= FILE_LEN_MAX / BLOCK_BYTES);
        let blocks = blocks.ok_or(ChangeError::FileTooLong)?;
        let touches =
            file.extents.last().is_some_and(|last| last.start + last.count == extent.start);
        if !touches && file.extents.len() >= EXTENTS_MAX {
            return Err(ChangeError::TooFragmented);
        }
        if !self.allocator.take(extent) {
            return Err(ChangeError::NotFree);
        }
        let file = self.file(inode)?;
        file.blocks = blocks;
        match file.extents.last_mut() {
            Some(last) if touches => last.count += extent.count,
            Some(_) | None => {
                file.extents.push(extent);
                self.snapshot_len += EXTENT_LEN;
            }
        }
        Ok(())
    }

    fn shrink(
        &mut self,
        inode: u64,
        blocks: u64,
        freed: &mut Vec<Extent>,
    ) -> Result<(), ChangeError> {
        let file = self.file(inode)?;
        if blocks > file.blocks || file.size.div_ceil(BLOCK_BYTES) > blocks {
            return Err(ChangeError::Inconsistent);
        }
        let mut gone = 0;
        while file.blocks > blocks
            && let Some(last) = file.extents.last_mut()
        {
            let surplus = (file.blocks - blocks).min(last.count);
            freed.push(Extent { start: last.start + last.count - surplus, count: surplus });
            file.blocks -= surplus;
            last.count -= surplus;
            if last.count == 0 {
                file.extents.pop();
                gone += 1;
            }
        }
        self.snapshot_len -= EXTENT_LEN * gone;
        Ok(())
    }

    fn insert_name(&mut self, parent: u64, name: &[u8], inode: u64) {
        if let Some(names) = self.directories.get_mut(&parent) {
            names.insert(name.to_vec(), inode);
            self.snapshot_len += LINK_LEN + name.len();
        }
    }

    fn remove_name(&mut self, parent: u64, name: &[u8]) {
        if let Some(names) = self.directories.get_mut(&parent)
            && names.remove(name).is_some()
        {
            self.snapshot_len -= LINK_LEN + name.len();
        }
    }
}

impl Inode {
    const fn new(kind: Kind, links: u32) -> Self {
        Self {
            kind,
            links,
            size: 0,
            modified_ms: 0,
            extents: Vec::new(),
            blocks: 0,
            tail: Vec::new(),
        }
    }
}

/// Bytes that a tail takes in a snapshot.
const fn tail_cost(len: usize) -> usize {
    len + APPEND_LEN * len.div_ceil(SNAPSHOT_APPEND_LEN_MAX)
}

/// Whether `name` may be given.
pub(super) fn check_name(name: &[u8]) -> Result<(), ChangeError> {
    if name.len() > NAME_LEN_MAX {
        return Err(ChangeError::NameTooLong);
    }
    if name.is_empty()
        || name == b"."
        || name == b".."
        || name.iter().any(|byte| matches!(byte, b'/' | 0))
    {
        return Err(ChangeError::InvalidName);
    }
    Ok(())
}
