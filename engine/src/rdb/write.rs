//! Writing values.

use coney_base::UnixMillis;

use super::{TYPE_HASH, TYPE_HASH_METADATA, TYPE_LIST, TYPE_SET, TYPE_STRING, TYPE_ZSET_2};
use crate::field::FieldValue;

/// A string as a value.
pub(crate) fn string(body: &[u8]) -> Vec<u8> {
    let mut out = vec![TYPE_STRING];
    write_string(&mut out, body);
    out
}

/// The head of a set: so many members follow, each written by [`write_string`].
pub(crate) fn set(count: u64) -> Vec<u8> {
    head(TYPE_SET, count)
}

/// The head of a hash: so many fields follow, each with its value and both written by
/// [`write_string`].
pub(crate) fn hash(count: u64) -> Vec<u8> {
    head(TYPE_HASH, count)
}

/// The head of a hash of which the earliest deadline of a field is `first`: so many fields follow, each
/// written by [`write_field`].
pub(crate) fn hash_with_deadlines(count: u64, first: UnixMillis) -> Vec<u8> {
    let mut out = vec![TYPE_HASH_METADATA];
    out.extend_from_slice(&first.0.to_le_bytes());
    write_len(&mut out, count);
    out
}

/// Appends a field of a hash of which the earliest deadline is `first`.
pub(crate) fn write_field(
    out: &mut Vec<u8>,
    name: &[u8],
    field: &FieldValue<'_>,
    first: UnixMillis,
) {
    let after = field.expire_at.map_or(0, |at| at.0.saturating_sub(first.0).saturating_add(1));
    write_len(out, after);
    write_string(out, name);
    write_string(out, field.value);
}

/// The head of a list: so many elements follow, each written by [`write_string`].
pub(crate) fn list(count: u64) -> Vec<u8> {
    head(TYPE_LIST, count)
}

/// The head of a sorted set: so many members follow, each written by [`write_scored`].
pub(crate) fn zset(count: u64) -> Vec<u8> {
    head(TYPE_ZSET_2, count)
}

fn head(kind: u8, count: u64) -> Vec<u8> {
    let mut out = vec![kind];
    write_len(&mut out, count);
    out
}

/// Appends a member of a sorted set with its score.
pub(crate) fn write_scored(out: &mut Vec<u8>, member: &[u8], score: f64) {
    write_string(out, member);
    out.extend_from_slice(&score.to_le_bytes());
}

pub(super) fn write_len(out: &mut Vec<u8>, len: u64) {
    let bytes = len.to_be_bytes();
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
    write_len(out, body.len() as u64);
    out.extend_from_slice(body);
}
