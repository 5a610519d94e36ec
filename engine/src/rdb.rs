//! Values as Redis's RDB files have them, and the payload of DUMP and RESTORE around one.
//!
//! ```text
//! [type u8][value][RDB version u16][CRC-64 of all before u64]      (little endian)
//! ```
//! Source: `rdb.c` and `createDumpPayload` of Redis. What is read: strings, hashes and sets in every
//! encoding up to Redis 7.2, compressed or not ([`read`], [`packed`]). What is written: the plain
//! encodings, not compressed, which every version of Redis reads. A kind is added with its variant
//! in [`Value`], its types in [`load`] and a function like [`save_string`].

use crc::{CRC_64_REDIS, Crc, Table};

use self::read::Reader;

mod packed;
mod read;

const CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);
/// The version that is written: that of Redis 7.0.
const VERSION: u16 = 10;
/// The newest version that is read: that of Redis 7.4, whose new types are unknown all the same.
const VERSION_MAX: u16 = 12;
const FOOTER_LEN: usize = 10;

const TYPE_STRING: u8 = 0;
const TYPE_SET: u8 = 2;
const TYPE_HASH: u8 = 4;
const TYPE_SET_INTSET: u8 = 11;
const TYPE_HASH_ZIPLIST: u8 = 13;
const TYPE_HASH_LISTPACK: u8 = 16;
const TYPE_SET_LISTPACK: u8 = 20;

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

/// A value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    String(Vec<u8>),
    /// Members, each once.
    Set(Vec<Vec<u8>>),
    /// Fields, each once, and their values.
    Hash(Vec<Pair>),
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
    payload.extend_from_slice(&VERSION.to_le_bytes());
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
            hash(pairs)
        }
        TYPE_HASH_LISTPACK => hash(pairs(packed::listpack(&reader.string()?)?)?),
        TYPE_HASH_ZIPLIST => hash(pairs(packed::ziplist(&reader.string()?)?)?),
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

fn hash(pairs: Vec<Pair>) -> Result<Value, RdbError> {
    check_names(pairs.iter().map(|(name, _)| name.as_slice()))?;
    Ok(Value::Hash(pairs))
}

/// A string as a value.
pub(crate) fn save_string(body: &[u8]) -> Vec<u8> {
    let mut out = vec![TYPE_STRING];
    write_string(&mut out, body);
    out
}

/// So many members, each written by [`write_string`], as a value.
pub(crate) fn save_set(count: usize, members: &[u8]) -> Vec<u8> {
    let mut out = vec![TYPE_SET];
    write_len(&mut out, count);
    out.extend_from_slice(members);
    out
}

/// So many fields, each with its value and both written by [`write_string`], as a value.
pub(crate) fn save_hash(count: usize, pairs: &[u8]) -> Vec<u8> {
    let mut out = vec![TYPE_HASH];
    write_len(&mut out, count);
    out.extend_from_slice(pairs);
    out
}

fn write_len(out: &mut Vec<u8>, len: usize) {
    let bytes = (len as u64).to_be_bytes();
    let [.., third, second, high, low] = bytes;
    match len {
        0..0x40 => out.push(low),
        0x40..0x4000 => out.extend_from_slice(&[0x40 | high, low]),
        _ if u32::try_from(len).is_ok() => {
            out.extend_from_slice(&[0x80, third, second, high, low]);
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Appends a string: as an integer if it is a short one, as Redis does.
pub(crate) fn write_string(out: &mut Vec<u8>, body: &[u8]) {
    const INTEGER_LEN_MAX: usize = 11;
    let number = Some(body).filter(|body| body.len() <= INTEGER_LEN_MAX);
    let number = number.and_then(coney_resp::number::parse_i64);
    if let Some(number) = number.and_then(|number| i32::try_from(number).ok()) {
        if let Ok(number) = i8::try_from(number) {
            out.push(0xc0);
            out.extend_from_slice(&number.to_le_bytes());
        } else if let Ok(number) = i16::try_from(number) {
            out.push(0xc1);
            out.extend_from_slice(&number.to_le_bytes());
        } else {
            out.push(0xc2);
            out.extend_from_slice(&number.to_le_bytes());
        }
        return;
    }
    write_len(out, body.len());
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests;
