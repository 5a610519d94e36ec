//! The superblock: which of the two journal regions is the valid one.

use super::limits::{BLOCK_BYTES, BLOCK_LEN, JOURNAL_BLOCKS_MAX, JOURNAL_BLOCKS_MIN};
use super::wire::Fields;

/// First bytes of a device of ours.
pub(super) const MAGIC: [u8; 8] = *b"CONEYFS\0";
/// The version that this build writes.
pub const FORMAT_VERSION: u32 = 2;
/// The oldest that it reads. Whoever commits first makes it [`FORMAT_VERSION`], which has all that this
/// one has and `Append`.
const FORMAT_VERSION_MIN: u32 = 1;
/// Copies of the superblock, in blocks 0 and 1.
pub(super) const COPIES: u64 = 2;
const CRC_FROM: usize = 12;

/// What a superblock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    /// Names this file system; part of every journal record.
    pub(super) uuid: [u8; 16],
    /// Version of the format that the device has.
    pub(super) version: u32,
    /// Counts compactions; its parity names the journal region.
    pub(super) generation: u64,
    /// Blocks that belong to the file system.
    pub(super) block_count: u64,
    /// Blocks in each of the two journal regions.
    pub(super) journal_blocks: u64,
    /// Records that the generation's snapshot has.
    pub(super) snapshot_records: u64,
}

/// Why a block is no superblock that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    /// It does not begin as ours do.
    #[error("no superblock of Coney")]
    Magic,
    /// Its checksum is wrong.
    #[error("the superblock's checksum is wrong")]
    Checksum,
    /// Another build wrote it.
    #[error("format version {version}; this build reads {FORMAT_VERSION_MIN} to {FORMAT_VERSION}")]
    Version {
        /// The version found.
        version: u32,
    },
    /// A field is impossible.
    #[error("the superblock contradicts itself")]
    Invalid,
}

impl Superblock {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK_LEN);
        block.extend_from_slice(&MAGIC);
        block.extend_from_slice(&[0; 4]);
        block.extend_from_slice(&self.version.to_le_bytes());
        block.extend_from_slice(&self.uuid);
        for field in [self.generation, self.block_count, self.journal_blocks, self.snapshot_records]
        {
            block.extend_from_slice(&field.to_le_bytes());
        }
        block.resize(BLOCK_LEN, 0);
        let crc = crc32c::crc32c(&block[CRC_FROM..]);
        block[MAGIC.len()..CRC_FROM].copy_from_slice(&crc.to_le_bytes());
        block
    }

    pub(super) fn decode(block: &[u8]) -> Result<Self, SuperblockError> {
        let mut fields = Fields(block);
        if fields.array() != Some(MAGIC) {
            return Err(SuperblockError::Magic);
        }
        if fields.u32() != block.get(CRC_FROM..).map(crc32c::crc32c) {
            return Err(SuperblockError::Checksum);
        }
        let version = fields.u32().ok_or(SuperblockError::Invalid)?;
        if !(FORMAT_VERSION_MIN..=FORMAT_VERSION).contains(&version) {
            return Err(SuperblockError::Version { version });
        }
        Self::fields(&mut fields, version).filter(Self::is_possible).ok_or(SuperblockError::Invalid)
    }

    fn fields(fields: &mut Fields<'_>, version: u32) -> Option<Self> {
        let found = Self {
            version,
            uuid: fields.array()?,
            generation: fields.u64()?,
            block_count: fields.u64()?,
            journal_blocks: fields.u64()?,
            snapshot_records: fields.u64()?,
        };
        fields.0.iter().all(|byte| *byte == 0).then_some(found)
    }

    fn is_possible(&self) -> bool {
        (JOURNAL_BLOCKS_MIN..=JOURNAL_BLOCKS_MAX).contains(&self.journal_blocks)
            && self.block_count <= u64::MAX / BLOCK_BYTES
            && self.block_count > COPIES + 2 * self.journal_blocks
            && self.generation < u64::MAX
            && (1..=self.journal_blocks).contains(&self.snapshot_records)
    }

    /// First block of a generation's journal region.
    pub(super) const fn region(&self, generation: u64) -> u64 {
        COPIES + (generation % 2) * self.journal_blocks
    }

    /// First block of file content.
    pub(super) const fn content_start(&self) -> u64 {
        COPIES + 2 * self.journal_blocks
    }
}
