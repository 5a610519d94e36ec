//! The read-only check: everything that mounting verifies, and what it does not need to know.

use super::change::Kind;
use super::io::Io;
use super::mount::{MountError, directories_are_sound, find_superblock, load};
use crate::device::BlockDevice;

/// What a check saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Files.
    pub files: u64,
    /// Directories, with the root.
    pub directories: u64,
    /// Blocks of files.
    pub used_blocks: u64,
    /// Free blocks.
    pub free_blocks: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Something that is wrong and does not keep the file system from being mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A copy of the superblock is damaged or old; the first commit writes it again.
    #[error("superblock {copy} is damaged or old")]
    StaleSuperblock {
        /// 0 or 1.
        copy: u64,
    },
    /// A file without a name, which was removed while open; the first commit removes it.
    #[error("file {inode} has no name")]
    Nameless {
        /// Its number.
        inode: u64,
    },
    /// Blocks of files and free blocks are not all blocks.
    #[error("{used} blocks of files and {free} free ones are not {content}")]
    SpaceDoesNotAddUp {
        /// Blocks of files.
        used: u64,
        /// Free blocks.
        free: u64,
        /// Blocks that there are for content.
        content: u64,
    },
}

/// Checks what is on a device, and gives the device back. Writes nothing.
///
/// # Errors
/// [`MountError`] if it cannot be mounted.
pub fn check<D: BlockDevice>(device: D) -> Result<(D, Report), MountError> {
    let mut io = Io::new(device).ok_or(MountError::BlockLength)?;
    let report = report(&mut io)?;
    Ok((io.device, report))
}

fn report<D: BlockDevice>(io: &mut Io<D>) -> Result<Report, MountError> {
    let (superblock, stale) = find_superblock(io)?;
    let replayed = load(io, &superblock)?;
    if !directories_are_sound(&replayed) {
        return Err(MountError::Directories);
    }
    let state = &replayed.state;
    let mut findings: Vec<Finding> =
        stale.into_iter().map(|copy| Finding::StaleSuperblock { copy }).collect();
    let nameless = state.inodes.iter().filter(|(_, found)| found.links == 0);
    findings.extend(nameless.map(|(inode, _)| Finding::Nameless { inode: *inode }));
    let used =
        state.inodes.values().flat_map(|found| &found.extents).map(|extent| extent.count).sum();
    let free = state.allocator.free();
    let content = superblock.block_count - superblock.content_start();
    if used + free != content {
        findings.push(Finding::SpaceDoesNotAddUp { used, free, content });
    }
    let count =
        |kind| u64::try_from(state.inodes.values().filter(|found| found.kind == kind).count());
    Ok(Report {
        files: count(Kind::File).unwrap_or(u64::MAX),
        directories: count(Kind::Directory).unwrap_or(u64::MAX),
        used_blocks: used,
        free_blocks: free,
        findings,
    })
}
