//! Journal records: transactions, each in whole blocks of its own and with a checksum.

use super::change::{Change, Extent};
use super::limits::{BLOCK_LEN, PAYLOAD_LEN_MAX};
use super::state::{ChangeError, State};
use super::superblock::Superblock;
use super::wire::Fields;
use crate::number::to_u64;

const MAGIC: [u8; 4] = *b"CNJR";
const HEADER_LEN: usize = 64;
const CRC_FROM: usize = 8;

/// What a record belongs to. The numbers are the format's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordKind {
    /// Part of the generation's snapshot.
    Snapshot,
    /// A transaction after it.
    Log,
}

impl RecordKind {
    const fn code(self) -> u8 {
        match self {
            Self::Snapshot => 1,
            Self::Log => 2,
        }
    }
}

/// Where a record belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordPlace {
    pub(super) uuid: [u8; 16],
    pub(super) generation: u64,
    pub(super) sequence: u64,
    pub(super) kind: RecordKind,
}

/// Bytes of a record with `payload`: whole blocks.
pub(super) const fn encoded_len(payload: &[u8]) -> usize {
    (HEADER_LEN + payload.len()).next_multiple_of(BLOCK_LEN)
}

/// Whole blocks of a record.
pub(super) fn encode(place: &RecordPlace, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= PAYLOAD_LEN_MAX, "a transaction is committed before it is this long");
    let len = u32::try_from(payload.len()).expect("below PAYLOAD_LEN_MAX");
    let mut record = Vec::with_capacity(encoded_len(payload));
    record.extend_from_slice(&MAGIC);
    record.extend_from_slice(&[0; 4]);
    record.extend_from_slice(&place.uuid);
    record.extend_from_slice(&place.generation.to_le_bytes());
    record.extend_from_slice(&place.sequence.to_le_bytes());
    record.extend_from_slice(&len.to_le_bytes());
    record.push(place.kind.code());
    record.resize(HEADER_LEN, 0);
    record.extend_from_slice(payload);
    record.resize(record.len().next_multiple_of(BLOCK_LEN), 0);
    let crc = crc32c::crc32c(&record[CRC_FROM..]);
    record[MAGIC.len()..CRC_FROM].copy_from_slice(&crc.to_le_bytes());
    record
}

/// A record found in a region.
struct Found<'a> {
    sequence: u64,
    kind: u8,
    payload: &'a [u8],
    len: usize,
}

/// The valid record of this generation at the front of `bytes`, if there is one.
fn decode<'a>(superblock: &Superblock, bytes: &'a [u8]) -> Option<Found<'a>> {
    let mut fields = Fields(bytes);
    if fields.array() != Some(MAGIC) {
        return None;
    }
    let crc = fields.u32()?;
    if fields.array() != Some(superblock.uuid) || fields.u64() != Some(superblock.generation) {
        return None;
    }
    let sequence = fields.u64()?;
    let payload_len = usize::try_from(fields.u32()?).ok().filter(|len| *len <= PAYLOAD_LEN_MAX)?;
    let kind = fields.u8()?;
    let len = (HEADER_LEN + payload_len).next_multiple_of(BLOCK_LEN);
    let record = bytes.get(..len)?;
    if crc32c::crc32c(record.get(CRC_FROM..)?) != crc {
        return None;
    }
    Some(Found { sequence, kind, payload: record.get(HEADER_LEN..HEADER_LEN + payload_len)?, len })
}

/// Why a journal cannot be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The snapshot that the superblock promises is not whole.
    #[error("the snapshot's record {sequence} is damaged")]
    SnapshotDamaged {
        /// The record.
        sequence: u64,
    },
    /// A record is damaged, and later ones are not: no power cut does that.
    #[error("record {sequence} is damaged, but later ones are there")]
    RecordDamaged {
        /// The record.
        sequence: u64,
    },
    /// A record's checksum is right, and its content is not.
    #[error("record {sequence} has bytes that are no change")]
    NotAChange {
        /// The record.
        sequence: u64,
    },
    /// A record's checksum is right, and its change is impossible.
    #[error("record {sequence} has an impossible change: {error}")]
    Impossible {
        /// The record.
        sequence: u64,
        /// Why.
        error: ChangeError,
    },
}

/// What a region's records add up to.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) state: State,
    pub(super) next_sequence: u64,
    pub(super) next_block: u64,
}

/// Replays a whole region. The first record that is not valid is its end, unless there is proof
/// that it was once valid.
pub(super) fn replay(superblock: &Superblock, region: &[u8]) -> Result<Replayed, JournalError> {
    let mut state = State::new(superblock);
    let mut sequence = 0;
    let mut rest = region;
    while let Some(found) = decode(superblock, rest).filter(|found| {
        let kind = if sequence < superblock.snapshot_records {
            RecordKind::Snapshot
        } else {
            RecordKind::Log
        };
        found.sequence == sequence && found.kind == kind.code()
    }) {
        replay_record(&mut state, sequence, found.payload)?;
        sequence += 1;
        rest = rest.get(found.len..).unwrap_or_default();
    }
    if sequence < superblock.snapshot_records {
        return Err(JournalError::SnapshotDamaged { sequence });
    }
    let next_block = to_u64((region.len() - rest.len()) / BLOCK_LEN);
    while let Some(after) = rest.get(BLOCK_LEN..) {
        rest = after;
        let log = decode(superblock, rest).filter(|found| found.kind == RecordKind::Log.code());
        if log.is_some_and(|found| found.sequence >= sequence) {
            return Err(JournalError::RecordDamaged { sequence });
        }
    }
    Ok(Replayed { state, next_sequence: sequence, next_block })
}

fn replay_record(state: &mut State, sequence: u64, payload: &[u8]) -> Result<(), JournalError> {
    let mut fields = Fields(payload);
    let mut freed: Vec<Extent> = Vec::new();
    while !fields.0.is_empty() {
        let change = Change::decode(&mut fields).ok_or(JournalError::NotAChange { sequence })?;
        state
            .apply(&change, &mut freed)
            .map_err(|error| JournalError::Impossible { sequence, error })?;
    }
    for extent in freed {
        state.allocator.release(extent);
    }
    Ok(())
}
