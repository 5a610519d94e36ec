//! Making a file system and finding one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock};

use super::change::{Change, Extent, Kind};
use super::commit::Journal;
use super::io::Io;
use super::journal::{self, JournalError, RecordKind, RecordPlace, Replayed};
use super::limits::{BLOCK_BYTES, BLOCK_LEN, JOURNAL_BLOCKS_MAX, JOURNAL_BLOCKS_MIN};
use super::queues::Queues;
use super::superblock::{COPIES, FORMAT_VERSION, MAGIC, Superblock, SuperblockError};
use super::{Counting, FileSystem, Meta};
use crate::device::{BlockDevice, DeviceError};
use crate::number::to_usize;

/// What a new file system shall be.
#[derive(Clone, Copy, Debug)]
pub struct FormatOptions {
    /// Its name: 16 random bytes.
    pub uuid: [u8; 16],
    /// Blocks in each of the two journal regions; `None` takes a 256th of the device.
    pub journal_blocks: Option<u64>,
    /// Overwrite whatever is there.
    pub force: bool,
}

/// Why no file system was made. Except for `Device`, nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The device's blocks do not divide the file system's.
    #[error("the device's blocks do not divide {BLOCK_LEN} bytes")]
    BlockLength,
    /// The device is too small for the journal and one block of content.
    #[error("the device has {block_count} blocks, too few for the journal")]
    TooSmall {
        /// Its blocks of [`BLOCK_LEN`] bytes.
        block_count: u64,
    },
    /// The journal's length is out of its limits.
    #[error("a journal region has {JOURNAL_BLOCKS_MIN} to {JOURNAL_BLOCKS_MAX} blocks")]
    JournalLength,
    /// There is a file system of ours.
    #[error("the device holds a file system of Coney")]
    HoldsConey,
    /// There is something else in the first or last 128 KiB.
    #[error("the device is not empty: it may hold a file system, a partition table or other data")]
    HoldsSomething,
    /// The device failed.
    #[error("{0}")]
    Device(#[from] DeviceError),
}

/// Why what is on a device cannot be mounted. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// The device's blocks do not divide the file system's.
    #[error("the device's blocks do not divide {BLOCK_LEN} bytes")]
    BlockLength,
    /// Neither superblock is good.
    #[error("{0}")]
    Superblock(#[from] SuperblockError),
    /// The two superblocks are of different file systems.
    #[error("the superblocks are of two file systems")]
    TwoFileSystems,
    /// The device is smaller than the file system.
    #[error("the file system has {wanted} blocks, the device {block_count}")]
    DeviceTooSmall {
        /// The device's blocks.
        block_count: u64,
        /// The file system's.
        wanted: u64,
    },
    /// The journal cannot be replayed.
    #[error("{0}")]
    Journal(#[from] JournalError),
    /// A file or directory cannot be reached from the root, or a count of names is wrong.
    #[error("the directories contradict themselves")]
    Directories,
    /// The device failed.
    #[error("{0}")]
    Device(#[from] DeviceError),
}

/// What is looked at at both ends before a device is overwritten: partition tables, RAID members and
/// file systems have their marks there.
const LOOK_BLOCKS: u64 = 32;

/// Makes an empty file system.
///
/// # Errors
/// [`FormatError`].
pub fn format<D: BlockDevice>(device: D, options: &FormatOptions) -> Result<D, FormatError> {
    let mut io = Io::new(device).ok_or(FormatError::BlockLength)?;
    let block_count = io.block_count().min(u64::MAX / BLOCK_BYTES);
    let journal_blocks = options
        .journal_blocks
        .unwrap_or_else(|| (block_count / 256).clamp(JOURNAL_BLOCKS_MIN, JOURNAL_BLOCKS_MAX));
    if !(JOURNAL_BLOCKS_MIN..=JOURNAL_BLOCKS_MAX).contains(&journal_blocks) {
        return Err(FormatError::JournalLength);
    }
    if block_count <= COPIES + 2 * journal_blocks {
        return Err(FormatError::TooSmall { block_count });
    }
    if !options.force {
        let head = io.read(0, LOOK_BLOCKS.min(block_count))?;
        if head.chunks(BLOCK_LEN).take(2).any(|block| block.starts_with(&MAGIC)) {
            return Err(FormatError::HoldsConey);
        }
        let look = LOOK_BLOCKS.min(block_count);
        let end = io.read(block_count - look, look)?;
        if head.iter().chain(&end).any(|byte| *byte != 0) {
            return Err(FormatError::HoldsSomething);
        }
    }
    let superblock = Superblock {
        uuid: options.uuid,
        version: FORMAT_VERSION,
        generation: 0,
        block_count,
        journal_blocks,
        snapshot_records: 1,
    };
    // First nothing, then the journal, then the superblocks: a power cut leaves no half of it.
    io.write(&[Extent { start: 0, count: COPIES }], &[0; 2 * BLOCK_LEN], true)?;
    let place =
        RecordPlace { uuid: options.uuid, generation: 0, sequence: 0, kind: RecordKind::Snapshot };
    let start = superblock.region(0);
    io.write(&[Extent { start, count: 1 }], &journal::encode(&place, &[]), true)?;
    for copy in 0..COPIES {
        io.write(&[Extent { start: copy, count: 1 }], &superblock.encode(), true)?;
    }
    io.flush()?;
    Ok(io.device)
}

/// A superblock, and the copies that have to be written again.
pub(super) fn find_superblock<D: BlockDevice>(
    io: &mut Io<D>,
) -> Result<(Superblock, Vec<u64>), MountError> {
    let mut copies = Vec::new();
    for copy in 0..COPIES {
        // A copy that cannot be read is a damaged copy: there is another.
        let found = io.read(copy, 1).map_err(MountError::Device);
        copies.push(found.and_then(|block| Ok(Superblock::decode(&block)?)));
    }
    // Another build's copy is not damage to be repaired.
    for copy in &copies {
        if let Err(error @ MountError::Superblock(SuperblockError::Version { .. })) = copy {
            return Err(*error);
        }
    }
    let valid = copies.iter().filter_map(|copy| copy.as_ref().ok());
    let Some(mut newest) = valid.max_by_key(|copy| (copy.generation, copy.version)).cloned() else {
        // The first copy's reason, unless only the second says more than that nothing is there.
        let nothing = MountError::Superblock(SuperblockError::Magic);
        let reasons = copies.into_iter().filter_map(Result::err);
        return Err(reasons
            .reduce(|first, second| if first == nothing { second } else { first })
            .unwrap_or(nothing));
    };
    if copies.iter().flatten().any(|copy| copy.uuid != newest.uuid) {
        return Err(MountError::TwoFileSystems);
    }
    let block_count = io.block_count();
    if newest.block_count > block_count {
        return Err(MountError::DeviceTooSmall { block_count, wanted: newest.block_count });
    }
    newest.version = FORMAT_VERSION;
    let stale = (0..).zip(&copies).filter(|(_, copy)| copy.as_ref() != Ok(&newest));
    let stale = stale.map(|(copy, _)| copy).collect();
    Ok((newest, stale))
}

/// The metadata, verified.
pub(super) fn load<D: BlockDevice>(
    io: &mut Io<D>,
    superblock: &Superblock,
) -> Result<Replayed, MountError> {
    let region = io.read(superblock.region(superblock.generation), superblock.journal_blocks)?;
    Ok(journal::replay(superblock, &region)?)
}

/// Whether every directory hangs on the root, once, and every count of names is right.
pub(super) fn directories_are_sound(replayed: &Replayed) -> bool {
    let state = &replayed.state;
    let mut reached = BTreeSet::from([super::ROOT]);
    let mut unseen = vec![super::ROOT];
    let mut links: BTreeMap<u64, u32> = BTreeMap::from([(super::ROOT, 1)]);
    while let Some(directory) = unseen.pop() {
        for inode in state.directories.get(&directory).into_iter().flat_map(BTreeMap::values) {
            *links.entry(*inode).or_default() += 1;
            if state.directories.contains_key(inode) {
                if !reached.insert(*inode) {
                    return false;
                }
                unseen.push(*inode);
            }
        }
    }
    state.inodes.iter().all(|(inode, found)| {
        let named = links.get(inode).copied().unwrap_or(0);
        found.links == named && (found.kind == Kind::File || reached.contains(inode))
    })
}

impl<D: BlockDevice> FileSystem<D> {
    /// Finds the file system on a device. Reads and verifies; writes nothing.
    ///
    /// # Errors
    /// [`MountError`].
    pub fn mount(device: D) -> Result<Self, MountError> {
        let mut io = Io::new(device).ok_or(MountError::BlockLength)?;
        let (superblock, stale_superblocks) = find_superblock(&mut io)?;
        let replayed = load(&mut io, &superblock)?;
        if !directories_are_sound(&replayed) {
            return Err(MountError::Directories);
        }
        let Replayed { mut state, next_sequence, next_block } = replayed;
        // Files that lost their last name while they were open go with the first commit.
        let nameless = state.inodes.iter().filter(|(_, found)| found.links == 0);
        let nameless: Vec<u64> = nameless.map(|(inode, _)| *inode).collect();
        let mut held = Vec::new();
        let mut pending = Vec::new();
        for inode in nameless {
            let change = Change::Free { inode };
            if state.apply(&change, &mut held).is_ok() {
                change.encode(&mut pending);
            }
        }
        let meta = Meta {
            state,
            open: BTreeMap::new(),
            pending,
            held,
            releasing: 0,
            locks: BTreeSet::new(),
            block_count: superblock.block_count,
            content_start: superblock.content_start(),
            snapshot_len_max: to_usize(superblock.journal_blocks) * BLOCK_LEN / 4 * 3,
        };
        Ok(Self {
            queues: Queues::new(io.another()?),
            meta: Mutex::new(meta),
            journal: Mutex::new(Journal {
                io,
                superblock,
                next_sequence,
                next_block,
                stale_superblocks,
            }),
            flushed: Mutex::new(0),
            written: AtomicU64::new(0),
            broken: OnceLock::new(),
            counting: Counting::default(),
        })
    }
}
