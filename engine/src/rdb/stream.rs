//! Streams as RDB has them: blocks of entries, each a listpack, and the consumer groups.
//!
//! ```text
//! stream   blocks, block*, length, last id, from V2 on: first id, largest deleted id, entries added;
//!          groups, group*
//! block    [id u128 big endian], listpack: entries, deleted entries, fields, field*, 0, entry*
//! entry    flags, ms and seq minus the block's, without SAME_FIELDS: fields, then field and value by
//!          turns; with it the values only; number of elements before this one
//! group    name, last id, from V2 on: entries read; pending*, consumers, consumer*
//! pending  [id], [delivered ms u64 little endian], deliveries
//! consumer name, [seen ms], from V3 on: [active ms]; ids of its pending entries
//! ```
//! Numbers are lengths of RDB, in blocks elements of the listpack. Source: `rdbSaveObject` and
//! `rdbLoadObject` in `rdb.c`, `streamAppendItem` in `t_stream.c` of Redis.

use std::collections::{BTreeMap, BTreeSet};

use super::packed::{self, ListpackWriter};
use super::read::Reader;
use super::write::{write_len, write_string};
use super::{RdbError, TYPE_STREAM_2, Value};
use crate::meta::MetaError;
use crate::stream::{self, Consumer, Group, Pending, StreamId, StreamInfo};

/// The entry is deleted.
const DELETED: i64 = 1;
/// Its fields are those in front of the block.
const SAME_FIELDS: i64 = 2;

/// Which encoding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Version {
    /// Before Redis 7.
    V1,
    /// Redis 7.0.
    V2,
    /// Redis 7.2.
    V3,
}

/// A stream that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stream {
    pub(crate) info: StreamInfo,
    /// Whether it says how many entries groups have read; [`Group::entries_read`] is -1 otherwise.
    pub(crate) has_progress: bool,
    /// Ids and what is stored for each ([`stream::write_fields`]), in order.
    pub(crate) entries: Vec<(StreamId, Vec<u8>)>,
    pub(crate) groups: Vec<LoadedGroup>,
}

/// A consumer group that was read. Its counts are right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LoadedGroup {
    pub(crate) name: Vec<u8>,
    pub(crate) group: Group,
    pub(crate) consumers: Vec<(Vec<u8>, Consumer)>,
    pub(crate) pending: Vec<(StreamId, Pending)>,
}

fn id(reader: &mut Reader<'_>) -> Result<StreamId, RdbError> {
    Ok(StreamId { ms: reader.len()?, seq: reader.len()? })
}

fn raw_id(bytes: &[u8]) -> Result<StreamId, RdbError> {
    StreamId::from_bytes(bytes).map_err(|_short| RdbError::Malformed)
}

fn millis(reader: &mut Reader<'_>) -> Result<i64, RdbError> {
    Ok(i64::from_le_bytes(reader.array()?))
}

/// Reads a stream.
pub(super) fn load(reader: &mut Reader<'_>, version: Version) -> Result<Value, RdbError> {
    let mut entries = BTreeMap::new();
    for _ in 0..reader.len()? {
        let first = raw_id(&reader.string()?)?;
        load_block(first, &packed::listpack(&reader.string()?)?, &mut entries)?;
    }
    let length = reader.len()?;
    let last_id = id(reader)?;
    let (mut max_deleted_id, mut entries_added) = (StreamId::MIN, length);
    if version >= Version::V2 {
        let _first_id = id(reader)?;
        max_deleted_id = id(reader)?;
        entries_added = reader.len()?;
    }
    let last_entry = entries.last_key_value().map(|(id, _)| *id);
    if length != entries.len() as u64 || last_entry.is_some_and(|id| id > last_id) {
        return Err(RdbError::Malformed);
    }
    let first_id = entries.first_key_value().map_or(StreamId::MIN, |(id, _)| *id);
    let mut groups: Vec<LoadedGroup> = Vec::new();
    let mut names = BTreeSet::new();
    for _ in 0..reader.len()? {
        let group = load_group(reader, version)?;
        if !names.insert(group.name.clone()) {
            return Err(RdbError::Malformed);
        }
        groups.push(group);
    }
    Ok(Value::Stream(Stream {
        info: StreamInfo { last_id, max_deleted_id, first_id, entries_added },
        has_progress: version >= Version::V2,
        entries: entries.into_iter().collect(),
        groups,
    }))
}

/// The elements of a block from its beginning.
struct Elements<'e>(std::slice::Iter<'e, Vec<u8>>);

impl<'e> Elements<'e> {
    fn word(&mut self) -> Result<&'e [u8], RdbError> {
        self.0.next().map(Vec::as_slice).ok_or(RdbError::Malformed)
    }

    fn number(&mut self) -> Result<i64, RdbError> {
        coney_resp::number::parse_i64(self.word()?).ok_or(RdbError::Malformed)
    }

    fn words(&mut self, count: i64) -> Result<Vec<&'e [u8]>, RdbError> {
        (0..count).map(|_| self.word()).collect()
    }
}

fn load_block(
    first: StreamId,
    elements: &[Vec<u8>],
    entries: &mut BTreeMap<StreamId, Vec<u8>>,
) -> Result<(), RdbError> {
    let mut elements = Elements(elements.iter());
    let (live, deleted, fields_count) =
        (elements.number()?, elements.number()?, elements.number()?);
    let block_fields = elements.words(fields_count)?;
    let _end_of_head = elements.number()?;
    for _ in 0..live.checked_add(deleted).ok_or(RdbError::Malformed)? {
        let flags = elements.number()?;
        // The differences wrap around.
        let ms = first.ms.wrapping_add_signed(elements.number()?);
        let seq = first.seq.wrapping_add_signed(elements.number()?);
        let mut words = Vec::new();
        if flags & SAME_FIELDS != 0 {
            for field in &block_fields {
                words.extend([field, elements.word()?]);
            }
        } else {
            let count = elements.number()?;
            words = elements.words(count.checked_mul(2).ok_or(RdbError::Malformed)?)?;
        }
        let _elements_before = elements.number()?;
        let id = StreamId { ms, seq };
        if flags & DELETED == 0 {
            let before = entries.insert(id, stream::write_fields(words.into_iter()));
            if before.is_some() || id == StreamId::MIN {
                return Err(RdbError::Malformed);
            }
        }
    }
    if elements.word().is_ok() { Err(RdbError::Malformed) } else { Ok(()) }
}

fn load_group(reader: &mut Reader<'_>, version: Version) -> Result<LoadedGroup, RdbError> {
    let name = reader.string()?;
    let last_id = id(reader)?;
    // -1 is written as the length that has the same bits.
    let entries_read = if version >= Version::V2 { reader.len()?.cast_signed() } else { -1 };
    let mut delivered = BTreeMap::new();
    for _ in 0..reader.len()? {
        let id = raw_id(&reader.array::<{ stream::ID_LEN }>()?)?;
        let pending = (millis(reader)?, reader.len()?);
        if delivered.insert(id, pending).is_some() {
            return Err(RdbError::Malformed);
        }
    }
    let pending_count = delivered.len() as u64;
    let (mut consumers, mut names, mut pending) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
    for _ in 0..reader.len()? {
        let name = reader.string()?;
        let seen_ms = millis(reader)?;
        let active_ms = if version >= Version::V3 { millis(reader)? } else { seen_ms };
        let count = reader.len()?;
        for _ in 0..count {
            let id = raw_id(&reader.array::<{ stream::ID_LEN }>()?)?;
            let (delivered_ms, deliveries) = delivered.remove(&id).ok_or(RdbError::Malformed)?;
            pending.insert(id, Pending { delivered_ms, deliveries, consumer: name.clone() });
        }
        if !names.insert(name.clone()) {
            return Err(RdbError::Malformed);
        }
        consumers.push((name, Consumer { seen_ms, active_ms, pending: count }));
    }
    // Each is some consumer's.
    if !delivered.is_empty() {
        return Err(RdbError::Malformed);
    }
    let group = Group { last_id, entries_read, pending: pending_count };
    Ok(LoadedGroup { name, group, consumers, pending: pending.into_iter().collect() })
}

/// Entries of a block; Redis's `stream-node-max-entries`.
const BLOCK_ENTRIES_MAX: i64 = 100;
/// A block that is longer is ended; Redis's `stream-node-max-bytes`.
const BLOCK_BYTES_MAX: usize = 4096;

/// The blocks of a stream that is written, entry by entry.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    count: u64,
    bytes: Vec<u8>,
    open: Option<Block>,
}

#[derive(Debug)]
struct Block {
    first: StreamId,
    count: i64,
    fields: Vec<Vec<u8>>,
    /// The elements after the number of entries and of deleted ones.
    elements: ListpackWriter,
}

impl Blocks {
    /// Adds an entry as it is stored.
    ///
    /// # Errors
    /// [`MetaError`] for bytes that this version cannot have written.
    pub(crate) fn push(&mut self, id: StreamId, value: &[u8]) -> Result<(), MetaError> {
        let words = stream::parse_fields(value)?;
        let fields: Vec<&[u8]> = words.iter().step_by(2).copied().collect();
        let count = i64::try_from(fields.len()).unwrap_or(i64::MAX);
        let is_full = |block: &Block| {
            block.count >= BLOCK_ENTRIES_MAX || block.elements.len() >= BLOCK_BYTES_MAX
        };
        if self.open.as_ref().is_some_and(is_full) {
            self.end_block();
        }
        let block = self.open.get_or_insert_with(|| {
            let mut elements = ListpackWriter::default();
            elements.number(count);
            fields.iter().for_each(|field| elements.word(field));
            elements.number(0);
            let fields = fields.iter().map(|field| field.to_vec()).collect();
            Block { first: id, count: 0, fields, elements }
        });
        let has_same_fields = block.fields == fields;
        let elements = &mut block.elements;
        elements.number(if has_same_fields { SAME_FIELDS } else { 0 });
        elements.number(id.ms.wrapping_sub(block.first.ms).cast_signed());
        elements.number(id.seq.wrapping_sub(block.first.seq).cast_signed());
        if has_same_fields {
            words.iter().skip(1).step_by(2).for_each(|value| elements.word(value));
            elements.number(count + 3);
        } else {
            elements.number(count);
            words.iter().for_each(|word| elements.word(word));
            elements.number(2 * count + 4);
        }
        block.count += 1;
        Ok(())
    }

    fn end_block(&mut self) {
        let Some(block) = self.open.take() else { return };
        let mut head = ListpackWriter::default();
        head.number(block.count);
        head.number(0);
        self.count += 1;
        write_string(&mut self.bytes, &block.first.to_bytes());
        write_string(&mut self.bytes, &head.finish(&block.elements));
    }

    /// The stream as a value, up to its groups, of which so many follow.
    pub(crate) fn finish(mut self, length: u64, info: &StreamInfo, groups: usize) -> Vec<u8> {
        self.end_block();
        let mut out = vec![TYPE_STREAM_2];
        write_len(&mut out, self.count);
        out.extend_from_slice(&self.bytes);
        write_len(&mut out, length);
        for id in [info.last_id, info.first_id, info.max_deleted_id] {
            write_len(&mut out, id.ms);
            write_len(&mut out, id.seq);
        }
        write_len(&mut out, info.entries_added);
        write_len(&mut out, groups as u64);
        out
    }
}

/// Appends a group.
pub(crate) fn write_group(out: &mut Vec<u8>, loaded: &LoadedGroup) {
    let LoadedGroup { name, group, consumers, pending } = loaded;
    write_string(out, name);
    write_len(out, group.last_id.ms);
    write_len(out, group.last_id.seq);
    write_len(out, group.entries_read.cast_unsigned());
    write_len(out, pending.len() as u64);
    let mut owned: BTreeMap<&[u8], Vec<StreamId>> = BTreeMap::new();
    for (id, pending) in pending {
        out.extend_from_slice(&id.to_bytes());
        out.extend_from_slice(&pending.delivered_ms.to_le_bytes());
        write_len(out, pending.deliveries);
        owned.entry(&pending.consumer).or_default().push(*id);
    }
    write_len(out, consumers.len() as u64);
    for (name, consumer) in consumers {
        write_string(out, name);
        out.extend_from_slice(&consumer.seen_ms.to_le_bytes());
        let ids = owned.get(name.as_slice()).map_or(&[][..], Vec::as_slice);
        write_len(out, ids.len() as u64);
        ids.iter().for_each(|id| out.extend_from_slice(&id.to_bytes()));
    }
}
