//! Pieces of large lists as the hot-key cache holds them: the elements whose indexes begin alike.
//!
//! RocksDB's iterator takes some hundred nanoseconds for each element, and the ends of a list are read
//! again and again. So what was read of a list is kept in chunks of [`CHUNK_LEN`] indexes:
//!
//! ```text
//! key    [prefix of the list's elements][chunk number u64]
//! value  [place of the first element u8][elements u8]([end of an element u32 LE])*[bytes]
//! ```
//! Nothing of it is on disk. A chunk has all elements of its indexes that the list has; whatever is
//! written to one of them ends it ([`crate::cache::Cache::forget_chunk`]).

use std::ops::Range;

/// Indexes of a chunk.
pub const CHUNK_LEN: u64 = 32;

/// First element and number of elements.
const HEAD_LEN: usize = 2;
const END_LEN: usize = 4;

/// The chunk that an index lies in.
pub fn number_of(index: u64) -> u64 {
    index / CHUNK_LEN
}

/// The chunk that the element with this key of `data` lies in, if it is a list's.
pub fn number_of_key(element_key: &[u8]) -> u64 {
    element_key.last_chunk().map_or(0, |index| number_of(u64::from_be_bytes(*index)))
}

/// The indexes of a chunk that a list with these indexes has.
pub fn indexes(number: u64, list: &Range<u64>) -> Range<u64> {
    let begin = number.saturating_mul(CHUNK_LEN);
    begin.max(list.start)..begin.saturating_add(CHUNK_LEN).min(list.end)
}

/// Writes the key of a chunk to `out`, replacing what it held.
pub fn write_key(out: &mut Vec<u8>, prefix: &[u8], number: u64) {
    out.clear();
    out.extend_from_slice(prefix);
    out.extend_from_slice(&number.to_be_bytes());
}

/// Makes a chunk.
#[derive(Debug, Default)]
pub struct Builder {
    first: u8,
    ends: Vec<u8>,
    bytes: Vec<u8>,
}

impl Builder {
    /// Begins anew, with the element of this index.
    pub fn begin(&mut self, index: u64) {
        self.first = u8::try_from(index % CHUNK_LEN).unwrap_or(0);
        self.ends.clear();
        self.bytes.clear();
    }

    /// Adds the next element.
    pub fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        // What is longer is not cached.
        let end = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.ends.extend_from_slice(&end.to_le_bytes());
    }

    /// The chunk's value.
    pub fn build(&self) -> Vec<u8> {
        let count = u8::try_from(self.ends.len() / END_LEN).unwrap_or(0);
        [&[self.first, count], &self.ends[..], &self.bytes].concat()
    }
}

/// The value of a chunk.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    first: u64,
    ends: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// Takes a value apart; `None` if it is no chunk's.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let ([first, count], rest) = value.split_first_chunk::<HEAD_LEN>()?;
        let (ends, bytes) = rest.split_at_checked(usize::from(*count) * END_LEN)?;
        Some(Self { first: u64::from(*first), ends, bytes })
    }

    /// The elements with these indexes of the chunk, which has them all; else `None`.
    pub fn elements(
        &self,
        indexes: &Range<u64>,
    ) -> Option<impl Iterator<Item = &'a [u8]> + use<'a>> {
        let first = (indexes.start % CHUNK_LEN).checked_sub(self.first)?;
        let first = usize::try_from(first).ok()?;
        let count = usize::try_from(indexes.end.checked_sub(indexes.start)?).ok()?;
        let (ends, bytes) = (self.ends, self.bytes);
        let end_at = |at: usize| {
            let end = ends.get(at.checked_mul(END_LEN)?..)?.first_chunk::<END_LEN>()?;
            usize::try_from(u32::from_le_bytes(*end)).ok()
        };
        let mut start = match first.checked_sub(1) {
            Some(before) => end_at(before)?,
            None => 0,
        };
        let behind = first.checked_add(count)?;
        end_at(behind.checked_sub(1)?)?;
        Some((first..behind).map_while(move |at| {
            let end = end_at(at)?;
            let element = bytes.get(start..end);
            start = end;
            element
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn indexes_beyond_all_bounds_are_not_there() {
        let mut builder = Builder::default();
        builder.push(b"a");
        let value = builder.build();
        let chunk = Chunk::parse(&value).unwrap();
        for end in [u64::MAX, u64::MAX / 2, u64::MAX / 8] {
            assert!(chunk.elements(&(0..end)).is_none());
        }
    }

    #[test]
    fn indexes_of_a_chunk_are_those_of_the_list() {
        assert_eq!(indexes(2, &(0..1000)), 64..96);
        assert_eq!(indexes(2, &(70..80)), 70..80);
        assert_eq!(indexes(number_of(u64::MAX), &(5..u64::MAX)), u64::MAX - 31..u64::MAX);
        let mut key = Vec::new();
        write_key(&mut key, b"prefix", 3);
        assert_eq!(key, *b"prefix\0\0\0\0\0\0\0\x03");
        assert_eq!(number_of_key(b"prefix\0\0\0\0\0\0\0\x61"), 3);
        assert_eq!(number_of_key(b"short"), 0);
    }

    proptest! {
        #[test]
        fn a_chunk_has_what_was_put_in(
            first in 0_usize..32,
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 1..33),
            start in 0_usize..32,
            len in 1_usize..40,
        ) {
            let (base, count) = (CHUNK_LEN * 7, values.len().min(32 - first));
            let mut builder = Builder::default();
            builder.begin(5);
            builder.push(b"another one");
            builder.begin(base + first as u64);
            values.iter().take(count).for_each(|value| builder.push(value));
            let bytes = builder.build();
            let chunk = Chunk::parse(&bytes).unwrap();
            let wanted = base + start as u64..base + (start + len) as u64;
            let has_all = start >= first && start + len <= first + count;
            match chunk.elements(&wanted) {
                Some(elements) => {
                    prop_assert!(has_all);
                    let from = start - first;
                    let elements: Vec<&[u8]> = elements.collect();
                    prop_assert_eq!(elements, values[from..from + len].iter().collect::<Vec<_>>());
                }
                None => prop_assert!(!has_all),
            }
        }

        #[test]
        fn decoding_never_panics(bytes: Vec<u8>, wanted in (any::<u64>(), any::<u64>())) {
            if let Some(elements) =
                Chunk::parse(&bytes).and_then(|chunk| chunk.elements(&(wanted.0..wanted.1)))
            {
                let _count = elements.count();
            }
        }
    }
}
