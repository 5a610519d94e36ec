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
//! The overlay finds the latest record of a meta key or of an element in the batch, so that later
//! commands of the iteration see earlier ones. It points into the batch's bytes; no value is kept
//! twice. The elements are brought into order when a range of them is asked for
//! ([`Batch::sort_elements`]), each once: what was added since is sorted in.
//!
//! A meta entry that is written again and again in one iteration (the count of a large collection)
//! keeps its one record, whose value is overwritten ([`Batch::overwrite_meta`]), and so do the counts of
//! a sorted set's page.

use std::ops::Range;

use ahash::RandomState;
use hashbrown::HashTable;

use crate::bucket;
use crate::draws::Draws;
use crate::edges::Edges;

/// Column families by their numbers in the batch. RocksDB numbers them in the order of creation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Family {
    /// One entry for each key.
    Meta = 1,
    /// Deadlines.
    Expiry = 2,
    /// Format version, counters, the queue of dead versions.
    System = 3,
    /// Elements of large collections.
    Data = 4,
    /// Members of large sorted sets in the order of their scores.
    Score = 5,
}

impl Family {
    /// All that hold something.
    pub const ALL: [Self; 5] = [Self::Meta, Self::Expiry, Self::System, Self::Data, Self::Score];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|family| *family as u8 == byte)
    }
}

const HEADER_LEN: usize = 12;
const RECORD_DELETE: u8 = 0x04;
const RECORD_PUT: u8 = 0x05;
const RECORD_DELETE_RANGE: u8 = 0x0e;

/// A batch larger than this is committed before the next command is executed.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// So is one with more records than this.
pub const BATCH_RECORDS_MAX: u32 = 64 * 1024;
/// Elements that are sorted in one by one, by moving those behind them.
const ADDED_ONE_BY_ONE: usize = 4;
/// A buffer that grew beyond this for one large value is not kept.
const BUFFER_BYTES_KEPT: usize = 16 * 1024 * 1024;

/// See the module page.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    count: u32,
    /// Where the first record of a range lies.
    first_range: Option<usize>,
    /// Records, and values that were overwritten.
    writes: u64,
    overlay: HashTable<Latest>,
    hasher: RandomState,
    /// The meta keys in the overlay, in order of their first write.
    keys: Vec<Range<u32>>,
    /// The elements in the overlay: so many in order, the rest as they were first written.
    elements: Vec<(Family, Range<u32>)>,
    sorted_len: usize,
    /// What is known of sorted sets, writes of this batch included.
    pub(crate) edges: Edges,
    /// Members of sets that are popped next, writes of this batch included.
    pub(crate) draws: Draws,
}

/// Where the latest record of a key lies in the batch.
#[derive(Debug, Clone, Copy)]
struct Latest {
    family: Family,
    key_start: u32,
    key_end: u32,
    /// The value, or an empty range at 0 for a delete.
    value_start: u32,
    value_end: u32,
}

/// A place in the batch: see [`Batch::mark`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    len: usize,
    count: u32,
    writes: u64,
}

/// What a record means for users' keys.
#[derive(Debug)]
pub(crate) enum Record<'a> {
    /// The meta key is written or removed.
    Meta { key: &'a [u8], is_removal: bool },
    /// An element with this key is written or removed.
    Element { key: &'a [u8] },
    /// All meta keys from `begin` to before `end` are removed.
    MetaRange { begin: &'a [u8], end: &'a [u8] },
    /// Nothing that a user could see.
    Other,
}

/// A record taken apart: tag, family, key, and what follows the key.
type Parts<'a> = (u8, Family, &'a [u8], Option<&'a [u8]>);

/// What the batch says of a key.
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
            first_range: None,
            writes: 0,
            overlay: HashTable::new(),
            hasher: RandomState::new(),
            keys: Vec::new(),
            elements: Vec::new(),
            sorted_len: 0,
            edges: Edges::default(),
            draws: Draws::default(),
        }
    }

    /// Records in the batch.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How often something was written since the batch was empty: grows with every write, unlike
    /// the number of records.
    pub fn writes(&self) -> u64 {
        self.writes
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
        self.first_range = None;
        self.writes = 0;
        self.forget();
    }

    fn forget(&mut self) {
        self.overlay.clear();
        self.keys.clear();
        self.elements.clear();
        self.sorted_len = 0;
    }

    /// Adds `meta_key -> parts`, the parts joined.
    pub fn put_meta(&mut self, meta_key: &[u8], parts: &[&[u8]]) {
        let key = self.record(RECORD_PUT, Family::Meta, &[meta_key]);
        let value = self.slice(parts);
        self.note(Family::Meta, key, value);
    }

    /// Replaces the value that this batch gives to `meta_key` by `parts`, joined, if that is as
    /// long. `false`: nothing was done. Only where nobody needs to tell the two writes apart: see
    /// [`Batch::records_since`] and [`Batch::take_back`].
    pub fn overwrite_meta(&mut self, meta_key: &[u8], parts: &[&[u8]]) -> bool {
        self.overwrite(Family::Meta, meta_key, parts)
    }

    /// As [`Batch::overwrite_meta`], for an element given by its whole key.
    pub fn overwrite_element(&mut self, family: Family, key: &[u8], value: &[u8]) -> bool {
        self.overwrite(family, key, &[value])
    }

    fn overwrite(&mut self, family: Family, key: &[u8], parts: &[&[u8]]) -> bool {
        let Self { bytes, overlay, hasher, .. } = self;
        let hash = hash_of(hasher, family, key);
        let is_it = |latest: &Latest| latest.family == family && latest.key(bytes) == key;
        let Some(latest) = overlay.find(hash, is_it) else { return false };
        let (start, end) = (latest.value_start as usize, latest.value_end as usize);
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if start == 0 || len != end - start {
            return false;
        }
        let mut at = start;
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        self.writes += 1;
        true
    }

    /// Adds the removal of `meta_key`.
    pub fn delete_meta(&mut self, meta_key: &[u8]) {
        let key = self.record(RECORD_DELETE, Family::Meta, &[meta_key]);
        self.note(Family::Meta, key, 0..0);
    }

    /// Adds `prefix + element -> value` in `data` or `score`; see [`crate::element`].
    pub fn put_element(&mut self, family: Family, prefix: &[u8], element: &[u8], value: &[u8]) {
        let key = self.record(RECORD_PUT, family, &[prefix, element]);
        // Pages lie behind the members.
        if family == Family::Score && !element.starts_with(&bucket::PAGES_BEGIN) {
            self.edges.added(&self.bytes[key.start as usize..key.end as usize]);
        }
        let value = self.slice(&[value]);
        self.note(family, key, value);
    }

    /// Adds the removal of `prefix + element` in `data` or `score`.
    pub fn delete_element(&mut self, family: Family, prefix: &[u8], element: &[u8]) {
        let key = self.record(RECORD_DELETE, family, &[prefix, element]);
        let key_bytes = &self.bytes[key.start as usize..key.end as usize];
        match family {
            Family::Data => self.draws.removed(key_bytes),
            Family::Score => self.edges.removed(key_bytes),
            Family::Meta | Family::Expiry | Family::System => {}
        }
        self.note(family, key, 0..0);
    }

    /// Adds `key -> value` in a family that the overlay does not cover: expiry or system.
    pub fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        debug_assert!(!is_covered(family), "the overlay must know");
        self.record(RECORD_PUT, family, &[key]);
        self.slice(&[value]);
    }

    /// Adds the removal of `key` in a family that the overlay does not cover.
    pub fn delete(&mut self, family: Family, key: &[u8]) {
        debug_assert!(!is_covered(family), "the overlay must know");
        self.record(RECORD_DELETE, family, &[key]);
    }

    /// Elements that the batch writes or removes, each once.
    pub(crate) fn elements_count(&self) -> usize {
        self.elements.len()
    }

    /// The same, with their families, keys and last values; `None`: removed.
    pub(crate) fn elements(&self) -> impl Iterator<Item = (Family, &[u8], Option<&[u8]>)> {
        self.elements.iter().filter_map(|(family, key)| {
            let key = &self.bytes[key.start as usize..key.end as usize];
            let value = match self.find(*family, key)? {
                Pending::Put(value) => Some(value),
                Pending::Deleted => None,
            };
            Some((*family, key, value))
        })
    }

    /// Adds all records of `other`, which holds no range.
    ///
    /// # Panics
    /// If it holds a range: no command that is executed elsewhere empties a table.
    pub fn append(&mut self, other: &Self) {
        self.append_without(other, |_| false);
    }

    /// The same without the elements that `is_left_out` accepts.
    pub(crate) fn append_without(&mut self, other: &Self, is_left_out: impl Fn(&[u8]) -> bool) {
        for (tag, family, key, value) in other.parts_since(HEADER_LEN) {
            assert_ne!(tag, RECORD_DELETE_RANGE, "a range in a batch of single keys");
            if family == Family::Score && tag == RECORD_PUT && !bucket::is_page_key(key) {
                self.edges.added(key);
            }
            if family == Family::Score && tag == RECORD_DELETE {
                self.edges.removed(key);
            }
            if family == Family::Data && tag == RECORD_DELETE {
                self.draws.removed(key);
            }
            if matches!(family, Family::Data | Family::Score) && is_left_out(key) {
                continue;
            }
            let key = self.record(tag, family, &[key]);
            let value = value.map_or(0..0, |value| self.slice(&[value]));
            if is_covered(family) {
                self.note(family, key, value);
            }
        }
    }

    /// The place where the next record will be.
    pub(crate) fn mark(&self) -> Mark {
        Mark { len: self.bytes.len(), count: self.count, writes: self.writes }
    }

    /// Takes all records since `mark` back.
    pub(crate) fn take_back(&mut self, mark: Mark) {
        if self.count == mark.count {
            return;
        }
        let mut whole = std::mem::take(self);
        whole.bytes.truncate(mark.len);
        for (tag, family, key, value) in whole.parts_since(HEADER_LEN) {
            if tag == RECORD_DELETE_RANGE {
                self.delete_range(family, key, value.unwrap_or_default());
                continue;
            }
            let key = self.record(tag, family, &[key]);
            let value = value.map_or(0..0, |value| self.slice(&[value]));
            if is_covered(family) {
                self.note(family, key, value);
            }
        }
        debug_assert_eq!(self.count, mark.count, "a mark lies between records");
        self.writes = mark.writes;
    }

    /// The records since `mark`.
    pub(crate) fn records_since(&self, mark: Mark) -> impl Iterator<Item = Record<'_>> {
        self.parts_since(mark.len).map(|(tag, family, key, value)| match (family, tag) {
            (Family::Meta, RECORD_DELETE_RANGE) => {
                Record::MetaRange { begin: key, end: value.unwrap_or_default() }
            }
            (Family::Meta, _) => Record::Meta { key, is_removal: tag == RECORD_DELETE },
            (Family::Data | Family::Score, RECORD_PUT | RECORD_DELETE) => Record::Element { key },
            _ => Record::Other,
        })
    }

    /// The ranges of meta keys that the batch removes.
    pub(crate) fn emptied_ranges(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        // Mostly there is none, and then nothing is looked through.
        let start = self.first_range.unwrap_or(self.bytes.len());
        self.parts_since(start).filter_map(|(tag, family, begin, end)| {
            let is_range = tag == RECORD_DELETE_RANGE && family == Family::Meta;
            is_range.then(|| (begin, end.unwrap_or_default()))
        })
    }

    fn parts_since(&self, start: usize) -> impl Iterator<Item = Parts<'_>> {
        let mut rest = self.bytes.get(start..).unwrap_or_default();
        std::iter::from_fn(move || {
            let [tag, family, tail @ ..] = rest else { return None };
            let family = Family::from_byte(*family).expect("a batch knows its families");
            let read = |bytes| crate::varint::read_slice(bytes).expect("a batch is whole");
            let (key, tail) = read(tail);
            rest = tail;
            let value = (*tag != RECORD_DELETE).then(|| {
                let (value, tail) = read(rest);
                rest = tail;
                value
            });
            Some((*tag, family, key, value))
        })
    }

    /// Adds the removal of `begin .. end`. The overlay forgets what lies there, and does not know
    /// what else is hidden.
    pub fn delete_range(&mut self, family: Family, begin: &[u8], end: &[u8]) {
        let bytes = &self.bytes;
        let is_hidden = |key: &[u8]| begin <= key && key < end;
        self.overlay.retain(|latest| latest.family != family || !is_hidden(latest.key(bytes)));
        let key_of = |key: &Range<u32>| &bytes[key.start as usize..key.end as usize];
        if family == Family::Meta {
            self.keys.retain(|key| !is_hidden(key_of(key)));
        }
        self.elements.retain(|(other, key)| *other != family || !is_hidden(key_of(key)));
        self.first_range.get_or_insert(self.bytes.len());
        // What is left of the ordered ones is still in order, but how many those are is unknown.
        self.sorted_len = 0;
        self.record(RECORD_DELETE_RANGE, family, &[begin]);
        self.slice(&[end]);
    }

    /// What the batch says of `meta_key`, if anything.
    pub fn pending(&self, meta_key: &[u8]) -> Option<Pending<'_>> {
        if self.keys.is_empty() {
            return None;
        }
        self.find(Family::Meta, meta_key)
    }

    /// What the batch says of an element of `data` or `score`, given by its whole key.
    pub fn pending_element(&self, family: Family, key: &[u8]) -> Option<Pending<'_>> {
        if self.elements.is_empty() {
            return None;
        }
        self.find(family, key)
    }

    fn find(&self, family: Family, key: &[u8]) -> Option<Pending<'_>> {
        let hash = hash_of(&self.hasher, family, key);
        let bytes = &self.bytes;
        let is_it = |latest: &Latest| latest.family == family && latest.key(bytes) == key;
        Some(self.overlay.find(hash, is_it)?.pending(bytes))
    }

    /// Brings the elements into order, for [`Batch::pending_range`].
    pub fn sort_elements(&mut self) {
        let Self { bytes, elements, sorted_len, .. } = self;
        let place = |(family, key): &(Family, Range<u32>)| {
            (*family as u8, &bytes[key.start as usize..key.end as usize])
        };
        let added = elements.len() - *sorted_len;
        if added <= ADDED_ONE_BY_ONE {
            for at in *sorted_len..elements.len() {
                let new = place(&elements[at]);
                let to = elements[..at].partition_point(|other| place(other) < new);
                elements[to..=at].rotate_right(1);
            }
        } else {
            // Merges what is in order already.
            elements.sort_by(|a, b| place(a).cmp(&place(b)));
        }
        *sorted_len = elements.len();
    }

    /// The elements of a family with keys from `begin` to before `end`, in order. They must have
    /// been sorted since the last write.
    pub fn pending_range(
        &self,
        family: Family,
        begin: &[u8],
        end: &[u8],
    ) -> impl DoubleEndedIterator<Item = (&[u8], Pending<'_>)> {
        debug_assert_eq!(self.sorted_len, self.elements.len(), "elements are sorted first");
        let key_of = |key: &Range<u32>| &self.bytes[key.start as usize..key.end as usize];
        let position = |bound: &[u8]| {
            self.elements
                .partition_point(|(other, key)| (*other as u8, key_of(key)) < (family as u8, bound))
        };
        let (first, after) = (position(begin), position(end));
        self.elements.get(first..after).unwrap_or_default().iter().filter_map(move |(_, key)| {
            let key = key_of(key);
            Some((key, self.find(family, key)?))
        })
    }

    /// The keys of the batch that belong to users' keys: those of meta, and of elements. All
    /// begin as a meta key does.
    pub fn touched(&self) -> impl Iterator<Item = &[u8]> {
        let elements = self.elements.iter().map(|(_, key)| key);
        let keys = self.keys.iter().chain(elements);
        keys.map(|key| &self.bytes[key.start as usize..key.end as usize])
    }

    /// The keys of all elements in the batch.
    pub(crate) fn element_keys(&self) -> impl Iterator<Item = &[u8]> {
        self.elements.iter().map(|(_, key)| &self.bytes[key.start as usize..key.end as usize])
    }

    /// The keys of the elements in `data`.
    pub(crate) fn data_keys(&self) -> impl Iterator<Item = &[u8]> {
        let is_data = |(family, _): &&(Family, Range<u32>)| *family == Family::Data;
        let elements = self.elements.iter().filter(is_data);
        elements.map(|(_, key)| &self.bytes[key.start as usize..key.end as usize])
    }

    /// Whether the batch writes or removes an element of a family with a key from `begin` to before
    /// `end`.
    pub(crate) fn has_elements(&mut self, family: Family, begin: &[u8], end: &[u8]) -> bool {
        if self.elements.is_empty() {
            return false;
        }
        self.sort_elements();
        self.pending_range(family, begin, end).next().is_some()
    }

    /// All keys of meta, data and score in the batch and what it says of them, in no order.
    pub(crate) fn latest(&self) -> impl Iterator<Item = (Family, &[u8], Pending<'_>)> {
        let bytes = &self.bytes;
        self.overlay.iter().map(|latest| (latest.family, latest.key(bytes), latest.pending(bytes)))
    }

    /// All meta keys of the batch and what it says of them.
    pub fn all_pending(&self) -> impl Iterator<Item = (&[u8], Pending<'_>)> {
        self.keys.iter().filter_map(|key| {
            let key = &self.bytes[key.start as usize..key.end as usize];
            Some((key, self.pending(key)?))
        })
    }

    /// All pages of sorted sets ([`crate::bucket`]) in the batch and what it says of them.
    pub fn pending_pages(&self) -> impl Iterator<Item = (&[u8], Pending<'_>)> {
        self.elements.iter().filter(|(family, _)| *family == Family::Score).filter_map(
            |(_, key)| {
                let key = &self.bytes[key.start as usize..key.end as usize];
                if !bucket::is_page_key(key) {
                    return None;
                }
                Some((key, self.find(Family::Score, key)?))
            },
        )
    }

    /// Starts a record and returns where its key lies.
    fn record(&mut self, tag: u8, family: Family, key: &[&[u8]]) -> Range<u32> {
        self.count += 1;
        self.writes += 1;
        self.bytes.push(tag);
        self.bytes.push(family as u8);
        self.slice(key)
    }

    fn slice(&mut self, parts: &[&[u8]]) -> Range<u32> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        crate::varint::write(&mut self.bytes, offset(len).into());
        let start = offset(self.bytes.len());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        start..offset(self.bytes.len())
    }

    fn note(&mut self, family: Family, key: Range<u32>, value: Range<u32>) {
        let Self { bytes, overlay, hasher, keys, elements, .. } = self;
        let key_bytes = &bytes[key.start as usize..key.end as usize];
        let hash = hash_of(hasher, family, key_bytes);
        let is_it = |latest: &Latest| latest.family == family && latest.key(bytes) == key_bytes;
        if let Some(latest) = overlay.find_mut(hash, is_it) {
            (latest.value_start, latest.value_end) = (value.start, value.end);
            return;
        }
        let latest = Latest {
            family,
            key_start: key.start,
            key_end: key.end,
            value_start: value.start,
            value_end: value.end,
        };
        overlay.insert_unique(hash, latest, |latest| {
            hash_of(hasher, latest.family, latest.key(bytes))
        });
        match family {
            Family::Meta => keys.push(key),
            other => elements.push((other, key)),
        }
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

/// Whether the overlay knows the keys of a family.
fn is_covered(family: Family) -> bool {
    match family {
        Family::Meta | Family::Data | Family::Score => true,
        Family::Expiry | Family::System => false,
    }
}

fn hash_of(hasher: &RandomState, family: Family, key: &[u8]) -> u64 {
    hasher.hash_one((family as u8, key))
}

#[cfg(test)]
mod tests;
