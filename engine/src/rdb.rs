//! Values as Redis's RDB files have them, and the payload of DUMP and RESTORE around one.
//!
//! ```text
//! [type u8][value][RDB version u16][CRC-64 of all before u64]      (little endian)
//! ```
//! Source: `rdb.c` and `createDumpPayload` of Redis. What is read: every kind in all encodings that
//! Redis 6 to 7.4 write, compressed or not ([`read`], [`packed`], [`stream`]). What is written: the
//! plain encodings, not compressed, which every version of Redis reads, of streams those of Redis 7.0,
//! and of hashes with deadlines of fields those of Redis 7.4 ([`write`]). A kind is added with its variant in [`Value`] and its types in [`load`].

use coney_base::UnixMillis;
use crc::{CRC_64_REDIS, Crc, Table};

use self::read::Reader;
use crate::field::DEADLINE_MAX;

mod packed;
mod read;
pub(crate) mod stream;
pub(crate) mod write;

const CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);
/// The version that is written: that of Redis 7.0.
const VERSION: u16 = 10;
/// The version of hashes whose fields have deadlines: that of Redis 7.4.
const VERSION_FIELDS: u16 = 12;
/// The newest version that is read.
const VERSION_MAX: u16 = 12;
const FOOTER_LEN: usize = 10;

const TYPE_STRING: u8 = 0;
const TYPE_LIST: u8 = 1;
const TYPE_SET: u8 = 2;
/// Scores as text.
const TYPE_ZSET: u8 = 3;
const TYPE_HASH: u8 = 4;
/// Scores as IEEE 754 bits.
const TYPE_ZSET_2: u8 = 5;
const TYPE_LIST_ZIPLIST: u8 = 10;
const TYPE_SET_INTSET: u8 = 11;
const TYPE_ZSET_ZIPLIST: u8 = 12;
const TYPE_HASH_ZIPLIST: u8 = 13;
const TYPE_LIST_QUICKLIST: u8 = 14;
const TYPE_STREAM: u8 = 15;
const TYPE_HASH_LISTPACK: u8 = 16;
const TYPE_ZSET_LISTPACK: u8 = 17;
const TYPE_LIST_QUICKLIST_2: u8 = 18;
const TYPE_STREAM_2: u8 = 19;
const TYPE_SET_LISTPACK: u8 = 20;
const TYPE_STREAM_3: u8 = 21;
/// With deadlines of fields.
const TYPE_HASH_METADATA: u8 = 24;
const TYPE_HASH_LISTPACK_EX: u8 = 25;

/// Bytes that are no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum RdbError {
    /// It ends too early.
    #[error("the value ends too early")]
    Truncated,
    /// A length, an encoding or a count that cannot be.
    #[error("the value contradicts itself")]
    Malformed,
    /// A type that is not read.
    #[error("values of type {0} are not read")]
    UnknownType(u8),
    /// The version is too new, or the checksum wrong.
    #[error("version or checksum are wrong")]
    Footer,
}

/// A field and its value.
type Pair = (Vec<u8>, Vec<u8>);

/// A field, its value, and when it ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HashField {
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) expire_at: Option<UnixMillis>,
}

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Value {
    String(Vec<u8>),
    /// Members, each once.
    Set(Vec<Vec<u8>>),
    /// Fields, each once.
    Hash(Vec<HashField>),
    /// Elements in order.
    List(Vec<Vec<u8>>),
    /// Members, each once, and their scores, none of them NaN.
    ZSet(Vec<(Vec<u8>, f64)>),
    Stream(stream::Stream),
}

/// The value of a payload, without version and checksum, if these are right.
pub(crate) fn open(payload: &[u8]) -> Result<&[u8], RdbError> {
    let end = payload.len().checked_sub(FOOTER_LEN).ok_or(RdbError::Footer)?;
    let (value, footer) = payload.split_at(end);
    let (version, crc) = footer.split_at(2);
    let version = version.first_chunk().map_or(u16::MAX, |bytes| u16::from_le_bytes(*bytes));
    let checked = payload.get(..end + 2).unwrap_or_default();
    if version > VERSION_MAX || CRC.checksum(checked).to_le_bytes() != *crc {
        return Err(RdbError::Footer);
    }
    Ok(value)
}

/// Appends version and checksum to a value.
pub(crate) fn close(payload: &mut Vec<u8>) {
    let has_deadlines = payload.first() == Some(&TYPE_HASH_METADATA);
    let version = if has_deadlines { VERSION_FIELDS } else { VERSION };
    payload.extend_from_slice(&version.to_le_bytes());
    let crc = CRC.checksum(payload);
    payload.extend_from_slice(&crc.to_le_bytes());
}

/// Reads a value. Strings in it are at most `string_len_max` long.
pub(crate) fn load(bytes: &[u8], string_len_max: u64) -> Result<Value, RdbError> {
    let mut reader = Reader::new(bytes, string_len_max);
    let kind = reader.byte()?;
    match kind {
        TYPE_STRING => Ok(Value::String(reader.string()?)),
        TYPE_SET => {
            let count = reader.len()?;
            let members = (0..count).map(|_| reader.string()).collect::<Result<_, _>>()?;
            set(members)
        }
        TYPE_SET_INTSET => set(packed::intset(&reader.string()?)?),
        TYPE_SET_LISTPACK => set(packed::listpack(&reader.string()?)?),
        TYPE_HASH => {
            let count = reader.len()?;
            let pairs = (0..count)
                .map(|_| Ok((reader.string()?, reader.string()?)))
                .collect::<Result<_, _>>()?;
            plain_hash(pairs)
        }
        TYPE_HASH_METADATA => {
            let first = reader.u64()?;
            let count = reader.len()?;
            let fields = (0..count)
                .map(|_| {
                    // 0: none; otherwise counted from the first one, which is 1.
                    let after = reader.len()?;
                    let at = first.checked_add(after).ok_or(RdbError::Malformed)?;
                    let expire_at = at.checked_sub(1).filter(|_| after > 0).map(UnixMillis);
                    Ok(HashField { name: reader.string()?, value: reader.string()?, expire_at })
                })
                .collect::<Result<_, _>>()?;
            hash(fields)
        }
        TYPE_HASH_LISTPACK_EX => {
            let _first = reader.u64()?;
            hash(triples(packed::listpack(&reader.string()?)?)?)
        }
        TYPE_LIST => {
            let count = reader.len()?;
            list((0..count).map(|_| reader.string()).collect::<Result<_, _>>()?)
        }
        TYPE_LIST_ZIPLIST => list(packed::ziplist(&reader.string()?)?),
        TYPE_LIST_QUICKLIST | TYPE_LIST_QUICKLIST_2 => quicklist(&mut reader, kind),
        TYPE_ZSET | TYPE_ZSET_2 => {
            let count = reader.len()?;
            let scored = (0..count)
                .map(|_| {
                    let member = reader.string()?;
                    let score =
                        if kind == TYPE_ZSET { reader.text_double()? } else { reader.double()? };
                    Ok((member, score))
                })
                .collect::<Result<_, _>>()?;
            zset(scored)
        }
        TYPE_ZSET_ZIPLIST => zset(scored(packed::ziplist(&reader.string()?)?)?),
        TYPE_ZSET_LISTPACK => zset(scored(packed::listpack(&reader.string()?)?)?),
        TYPE_STREAM => stream::load(&mut reader, stream::Version::V1),
        TYPE_STREAM_2 => stream::load(&mut reader, stream::Version::V2),
        TYPE_STREAM_3 => stream::load(&mut reader, stream::Version::V3),
        TYPE_HASH_LISTPACK => plain_hash(pairs(packed::listpack(&reader.string()?)?)?),
        TYPE_HASH_ZIPLIST => plain_hash(pairs(packed::ziplist(&reader.string()?)?)?),
        other => Err(RdbError::UnknownType(other)),
    }
}

fn pairs(elements: Vec<Vec<u8>>) -> Result<Vec<Pair>, RdbError> {
    let mut elements = elements.into_iter();
    let mut pairs = Vec::new();
    while let Some(name) = elements.next() {
        pairs.push((name, elements.next().ok_or(RdbError::Malformed)?));
    }
    Ok(pairs)
}

/// Nodes, each with what it is in front from the second version on: one element that is longer
/// than a node (1), or a listpack (2).
fn quicklist(reader: &mut Reader<'_>, kind: u8) -> Result<Value, RdbError> {
    const PLAIN: u64 = 1;
    const PACKED: u64 = 2;
    let mut elements = Vec::new();
    for _ in 0..reader.len()? {
        let container = if kind == TYPE_LIST_QUICKLIST_2 { Some(reader.len()?) } else { None };
        let node = reader.string()?;
        match container {
            None => elements.extend(packed::ziplist(&node)?),
            Some(PLAIN) => elements.push(node),
            Some(PACKED) => elements.extend(packed::listpack(&node)?),
            Some(_) => return Err(RdbError::Malformed),
        }
    }
    list(elements)
}

fn scored(elements: Vec<Vec<u8>>) -> Result<Vec<(Vec<u8>, f64)>, RdbError> {
    let pairs = pairs(elements)?.into_iter();
    pairs.map(|(member, score)| Ok((member, read::parse_double(&score)?))).collect()
}

/// Refuses names that come twice, and nothing at all, as Redis does.
fn check_names<'n>(names: impl Iterator<Item = &'n [u8]>) -> Result<(), RdbError> {
    let mut names: Vec<&[u8]> = names.collect();
    names.sort_unstable();
    let has_twice = names.windows(2).any(|pair| pair[0] == pair[1]);
    if has_twice || names.is_empty() { Err(RdbError::Malformed) } else { Ok(()) }
}

fn set(members: Vec<Vec<u8>>) -> Result<Value, RdbError> {
    check_names(members.iter().map(Vec::as_slice))?;
    Ok(Value::Set(members))
}

fn plain_hash(pairs: Vec<Pair>) -> Result<Value, RdbError> {
    let field = |(name, value)| HashField { name, value, expire_at: None };
    hash(pairs.into_iter().map(field).collect())
}

fn hash(fields: Vec<HashField>) -> Result<Value, RdbError> {
    check_names(fields.iter().map(|field| field.name.as_slice()))?;
    if fields.iter().any(|field| field.expire_at.is_some_and(|at| at > DEADLINE_MAX)) {
        return Err(RdbError::Malformed);
    }
    Ok(Value::Hash(fields))
}

/// Fields with their values and deadlines, 0 for none, in milliseconds since 1970.
fn triples(elements: Vec<Vec<u8>>) -> Result<Vec<HashField>, RdbError> {
    let mut elements = elements.into_iter();
    let mut fields = Vec::new();
    while let Some(name) = elements.next() {
        let (Some(value), Some(at)) = (elements.next(), elements.next()) else {
            return Err(RdbError::Malformed);
        };
        let at = coney_resp::number::parse_i64(&at).and_then(|at| u64::try_from(at).ok());
        let at = at.ok_or(RdbError::Malformed)?;
        fields.push(HashField { name, value, expire_at: (at > 0).then_some(UnixMillis(at)) });
    }
    Ok(fields)
}

fn list(elements: Vec<Vec<u8>>) -> Result<Value, RdbError> {
    if elements.is_empty() { Err(RdbError::Malformed) } else { Ok(Value::List(elements)) }
}

fn zset(scored: Vec<(Vec<u8>, f64)>) -> Result<Value, RdbError> {
    check_names(scored.iter().map(|(member, _)| member.as_slice()))?;
    if scored.iter().any(|(_, score)| score.is_nan()) {
        return Err(RdbError::Malformed);
    }
    Ok(Value::ZSet(scored))
}

#[cfg(test)]
mod tests;
