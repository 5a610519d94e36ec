//! The writes of one worker iteration: one RocksDB WriteBatch, and what it means for readers.
//!
//! The batch is built directly in RocksDB's own representation (`db/write_batch.cc`), in a buffer
//! that is reused, so that a write costs no allocation and no call into C++:
//!
//! ```text
//! batch   := sequence u64 LE (0), count u32 LE, record*
//! record  := 0x05 cf varint32, key, value        put
//!          | 0x04 cf varint32, key               delete
//!          | 0x0e cf varint32, begin, end        delete a range
//! key, value, begin, end := length varint32, bytes
//! ```
//! A test compares these bytes with those of RocksDB's own builder.
//!
//! The overlay finds the latest record of a meta key in the batch, so that later commands of the
//! iteration see earlier ones. It points into the batch's bytes; no value is kept twice.

use std::ops::Range;

use ahash::RandomState;
use hashbrown::HashTable;

/// Column families by their numbers in the batch. RocksDB numbers them in the order of creation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Family {
    /// One entry for each key.
    Meta = 1,
    /// Deadlines.
    Expiry = 2,
    /// Format version, counters.
    System = 3,
}

const HEADER_LEN: usize = 12;
const RECORD_DELETE: u8 = 0x04;
const RECORD_PUT: u8 = 0x05;
const RECORD_DELETE_RANGE: u8 = 0x0e;

/// A batch larger than this is committed before the next command is executed.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// So is one with more records than this.
pub const BATCH_RECORDS_MAX: u32 = 64 * 1024;
/// A buffer that grew beyond this for one large value is not kept.
const BUFFER_BYTES_KEPT: usize = 16 * 1024 * 1024;

/// See the module page.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    count: u32,
    overlay: HashTable<Latest>,
    hasher: RandomState,
    /// The keys in the overlay, in order of their first write.
    keys: Vec<Range<u32>>,
}

/// Where the latest record of a meta key lies in the batch.
#[derive(Debug, Clone, Copy)]
struct Latest {
    key_start: u32,
    key_end: u32,
    /// The value, or an empty range at 0 for a delete.
    value_start: u32,
    value_end: u32,
}

/// What the batch says of a meta key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pending<'a> {
    /// The key has this new value.
    Put(&'a [u8]),
    /// The key is gone.
    Deleted,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self {
            bytes: vec![0; HEADER_LEN],
            count: 0,
            overlay: HashTable::new(),
            hasher: RandomState::new(),
            keys: Vec::new(),
        }
    }

    /// Records in the batch.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether the batch has no record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the batch should be committed before more is added.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES_MAX || self.count >= BATCH_RECORDS_MAX
    }

    /// The whole batch in RocksDB's representation.
    pub fn as_bytes(&mut self) -> &[u8] {
        self.bytes[8..HEADER_LEN].copy_from_slice(&self.count.to_le_bytes());
        &self.bytes
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.truncate(HEADER_LEN);
        if self.bytes.capacity() > BUFFER_BYTES_KEPT {
            self.bytes.shrink_to(BUFFER_BYTES_KEPT);
        }
        self.count = 0;
        self.overlay.clear();
        self.keys.clear();
    }

    /// Adds `meta_key -> parts`, the parts joined.
    pub fn put_meta(&mut self, meta_key: &[u8], parts: &[&[u8]]) {
        let key = self.record(RECORD_PUT, Family::Meta, meta_key);
        let value = self.slice(parts);
        self.note(key, value);
    }

    /// Adds the removal of `meta_key`.
    pub fn delete_meta(&mut self, meta_key: &[u8]) {
        let key = self.record(RECORD_DELETE, Family::Meta, meta_key);
        self.note(key, 0..0);
    }

    /// Adds `key -> value` in a family other than meta.
    pub fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        debug_assert_ne!(family, Family::Meta, "the overlay must know");
        self.record(RECORD_PUT, family, key);
        self.slice(&[value]);
    }

    /// Adds the removal of `key` in a family other than meta.
    pub fn delete(&mut self, family: Family, key: &[u8]) {
        debug_assert_ne!(family, Family::Meta, "the overlay must know");
        self.record(RECORD_DELETE, family, key);
    }

    /// Adds the removal of `begin .. end`. The overlay does not know what it hides and is forgotten:
    /// the batch must be committed before anything is read.
    pub fn delete_range(&mut self, family: Family, begin: &[u8], end: &[u8]) {
        self.overlay.clear();
        self.keys.clear();
        self.record(RECORD_DELETE_RANGE, family, begin);
        self.slice(&[end]);
    }

    /// What the batch says of `meta_key`, if anything.
    pub fn pending(&self, meta_key: &[u8]) -> Option<Pending<'_>> {
        if self.keys.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(meta_key);
        let bytes = &self.bytes;
        let latest = self.overlay.find(hash, |latest| latest.key(bytes) == meta_key)?;
        Some(latest.pending(bytes))
    }

    /// All meta keys of the batch and what it says of them.
    pub fn all_pending(&self) -> impl Iterator<Item = (&[u8], Pending<'_>)> {
        self.keys.iter().filter_map(|key| {
            let key = &self.bytes[key.start as usize..key.end as usize];
            Some((key, self.pending(key)?))
        })
    }

    /// Starts a record and returns where its key lies.
    fn record(&mut self, tag: u8, family: Family, key: &[u8]) -> Range<u32> {
        self.count += 1;
        self.bytes.push(tag);
        self.bytes.push(family as u8);
        self.slice(&[key])
    }

    fn slice(&mut self, parts: &[&[u8]]) -> Range<u32> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        write_varint(&mut self.bytes, offset(len));
        let start = offset(self.bytes.len());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        start..offset(self.bytes.len())
    }

    fn note(&mut self, key: Range<u32>, value: Range<u32>) {
        let Self { bytes, overlay, hasher, keys, .. } = self;
        let key_bytes = &bytes[key.start as usize..key.end as usize];
        let hash = hasher.hash_one(key_bytes);
        if let Some(latest) = overlay.find_mut(hash, |latest| latest.key(bytes) == key_bytes) {
            (latest.value_start, latest.value_end) = (value.start, value.end);
            return;
        }
        let latest = Latest {
            key_start: key.start,
            key_end: key.end,
            value_start: value.start,
            value_end: value.end,
        };
        overlay.insert_unique(hash, latest, |latest| hasher.hash_one(latest.key(bytes)));
        keys.push(key);
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Latest {
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.key_start as usize..self.key_end as usize]
    }

    fn pending<'a>(&self, bytes: &'a [u8]) -> Pending<'a> {
        if self.value_start == 0 {
            Pending::Deleted
        } else {
            Pending::Put(&bytes[self.value_start as usize..self.value_end as usize])
        }
    }
}

/// An offset into the batch. RocksDB itself limits a batch to 4 GiB; ours ends at
/// [`BATCH_BYTES_MAX`] plus one command, whose arguments fit the 1 GiB of a query buffer.
fn offset(value: usize) -> u32 {
    u32::try_from(value).expect("a batch stays far below 4 GiB")
}

fn write_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests;
