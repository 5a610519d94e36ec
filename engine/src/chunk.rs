//! Long strings in pieces, so that SETBIT, SETRANGE, APPEND and GETRANGE touch what they change and
//! not the whole value. Byte by byte in `docs/storage-format.md`.
//!
//! A string above [`INLINE_LEN_MAX`] bytes has a version and, in its meta entry, the body of a large
//! collection with the encoding [`Encoding::Raw`](crate::compact::Encoding::Raw), whose count is
//! the string's length in bytes. Its bytes lie in the family `data`, [`LEN`] of them under each
//! number. What is not there is zero: a chunk that is missing, and the rest of one that is shorter
//! than it could be. So a bitmap with a few bits far apart takes a few chunks.
//!
//! A string stays in chunks until it is written anew as a whole.

use std::ops::Range;

use crate::element::LargeBody;
use crate::meta::MetaError;

/// Longest string that is kept in its meta entry, when it is written as a whole.
pub const INLINE_LEN_MAX: usize = 64 << 10;

/// Bytes of a chunk: about a block of RocksDB's tables. Smaller ones make SETBIT cheaper, larger ones
/// GET.
pub const LEN: usize = 4 << 10;

/// Longest string at all: the most that `proto-max-bulk-len` can be.
pub const STRING_LEN_MAX: u64 = 2 << 30;

/// The length in bytes of the string that a body in meta describes.
///
/// # Errors
/// [`MetaError`] for bytes that this version cannot have written.
pub fn parse_len(body: &[u8]) -> Result<u64, MetaError> {
    let len = LargeBody::parse(body)?.count;
    if len <= STRING_LEN_MAX { Ok(len) } else { Err(MetaError::Body) }
}

/// The chunk that a byte is in, and its place there.
pub fn place(at: u64) -> (u32, usize) {
    let number = u32::try_from(at / LEN as u64).expect("at most 4096 times 2^32 bytes");
    (number, usize::try_from(at % LEN as u64).expect("below 4096"))
}

/// Where a chunk begins in its string.
pub fn start(number: u32) -> u64 {
    u64::from(number) * LEN as u64
}

/// The bytes of a string that a chunk may hold.
pub fn span(number: u32) -> Range<u64> {
    start(number)..start(number) + LEN as u64
}

/// What follows the version in the key of a chunk.
pub fn element(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

/// The number of a chunk from what follows the version in its key.
pub fn parse_element(element: &[u8]) -> Option<u32> {
    element.try_into().ok().map(u32::from_be_bytes)
}

/// The chunks of a string that are not only zeros: number and bytes.
pub fn split(value: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    (0..).zip(value.chunks(LEN)).filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compact::Encoding;

    #[test]
    fn golden_chunked_strings() {
        let mut body = Vec::new();
        LargeBody { encoding: Encoding::Raw, count: 0x0001_0001, extra: Vec::new() }
            .write(&mut body);
        assert_eq!(body, [7, 0, 0, 0, 0, 0, 1, 0, 1]);
        assert_eq!(parse_len(&body), Ok(65_537));
        assert_eq!(element(0x0102), [0, 0, 1, 2]);
        assert_eq!(parse_element(&[0, 0, 1, 2]), Some(0x0102));
        assert_eq!(parse_element(&[0, 1, 2]), None);
        assert_eq!(place(4095), (0, 4095));
        assert_eq!(place(4096), (1, 0));
    }

    #[test]
    fn lengths_that_no_string_has_are_refused() {
        let mut body = vec![7];
        body.extend_from_slice(&(STRING_LEN_MAX + 1).to_be_bytes());
        assert_eq!(parse_len(&body), Err(MetaError::Body));
        assert_eq!(parse_len(&body[..8]), Err(MetaError::Body));
    }

    #[test]
    fn zeros_take_no_chunk() {
        let mut value = vec![0; 3 * LEN + 5];
        value[LEN + 1] = 1;
        value[3 * LEN + 4] = 2;
        let chunks: Vec<(u32, usize)> =
            split(&value).map(|(number, bytes)| (number, bytes.len())).collect();
        assert_eq!(chunks, [(1, LEN), (3, 5)]);
    }
}
