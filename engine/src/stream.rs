//! Streams: ids, and the bytes of their elements. Byte by byte in `docs/storage-format.md`.
//!
//! A stream is always large. Its elements are in the family `data`, under sub-prefixes of one byte:
//!
//! ```text
//! 00 [id]                                              an entry: its fields
//! 01 [group]                                           a group: [`Group`]
//! 02 [length u32][group][consumer]                     a consumer: [`Consumer`]
//! 03 [length u32][group][id]                           a pending entry of a group: [`Pending`]
//! 04 [length u32][group][length u32][consumer][id]     the same, by its consumer: nothing
//! id := [ms u64][seq u64]
//! ```
//! They carry the stream's version like all elements, and die with it ([`crate::reclaim`]).

use std::fmt;

use crate::meta::MetaError;
use crate::varint;

/// Bytes of an id.
pub const ID_LEN: usize = 16;

const ENTRY: u8 = 0;
const GROUP: u8 = 1;
const CONSUMER: u8 = 2;
const PENDING: u8 = 3;
const OWNED: u8 = 4;

/// The id of an entry: milliseconds since 1970 and a number within them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct StreamId {
    /// Milliseconds since 1970.
    pub ms: u64,
    /// Tells those of one millisecond apart.
    pub seq: u64,
}

impl StreamId {
    /// The smallest one, which no entry has.
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    /// The largest one.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// The one that follows; `None` after the largest.
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => self.ms.checked_add(1).map(|ms| Self { ms, seq: 0 }),
        }
    }

    /// The one before; `None` before the smallest.
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => self.ms.checked_sub(1).map(|ms| Self { ms, seq: u64::MAX }),
        }
    }

    /// Its bytes, in the order of ids.
    pub fn to_bytes(self) -> [u8; ID_LEN] {
        let mut bytes = [0; ID_LEN];
        bytes[..8].copy_from_slice(&self.ms.to_be_bytes());
        bytes[8..].copy_from_slice(&self.seq.to_be_bytes());
        bytes
    }

    /// Takes what [`StreamId::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`MetaError`] for another number of bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MetaError> {
        let mut take = Take(bytes);
        let id = take.id()?;
        take.end()?;
        Ok(id)
    }

    /// The id at the end of an element.
    ///
    /// # Errors
    /// [`MetaError`] if it is too short.
    pub fn of_element(element: &[u8]) -> Result<Self, MetaError> {
        let id = element.last_chunk::<ID_LEN>().ok_or(MetaError::Body)?;
        Self::from_bytes(id)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// Takes bytes apart from their beginning.
struct Take<'a>(&'a [u8]);

impl Take<'_> {
    fn u64(&mut self) -> Result<u64, MetaError> {
        let (number, rest) = self.0.split_first_chunk::<8>().ok_or(MetaError::Body)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*number))
    }

    fn i64(&mut self) -> Result<i64, MetaError> {
        Ok(self.u64()?.cast_signed())
    }

    fn id(&mut self) -> Result<StreamId, MetaError> {
        Ok(StreamId { ms: self.u64()?, seq: self.u64()? })
    }

    fn end(self) -> Result<(), MetaError> {
        if self.0.is_empty() { Ok(()) } else { Err(MetaError::Body) }
    }
}

/// What the meta entry says of a stream besides its length: the `extra` of
/// [`crate::element::LargeBody`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamInfo {
    /// The largest id that there ever was, or what XSETID said.
    pub last_id: StreamId,
    /// The largest id that XDEL removed.
    pub max_deleted_id: StreamId,
    /// The first entry's; 0-0 if there is none. All entries are read from here, because what was
    /// trimmed before it costs time until it is compacted.
    pub first_id: StreamId,
    /// Entries that were ever added.
    pub entries_added: u64,
}

impl StreamInfo {
    /// Takes it apart.
    ///
    /// # Errors
    /// [`MetaError`] for bytes that this version cannot have written.
    pub fn parse(extra: &[u8]) -> Result<Self, MetaError> {
        let mut take = Take(extra);
        let info = Self {
            last_id: take.id()?,
            max_deleted_id: take.id()?,
            first_id: take.id()?,
            entries_added: take.u64()?,
        };
        take.end()?;
        Ok(info)
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(3 * ID_LEN + 8);
        for id in [self.last_id, self.max_deleted_id, self.first_id] {
            out.extend_from_slice(&id.to_bytes());
        }
        out.extend_from_slice(&self.entries_added.to_be_bytes());
        out
    }
}

/// A consumer group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Group {
    /// The last entry that was delivered.
    pub last_id: StreamId,
    /// Entries up to that one, or -1 if nobody knows.
    pub entries_read: i64,
    /// Pending entries.
    pub pending: u64,
}

impl Group {
    /// Takes its value apart.
    ///
    /// # Errors
    /// [`MetaError`] for bytes that this version cannot have written.
    pub fn parse(value: &[u8]) -> Result<Self, MetaError> {
        let mut take = Take(value);
        let group = Self { last_id: take.id()?, entries_read: take.i64()?, pending: take.u64()? };
        take.end()?;
        Ok(group)
    }

    /// Its value.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.last_id.to_bytes().to_vec();
        out.extend_from_slice(&self.entries_read.to_be_bytes());
        out.extend_from_slice(&self.pending.to_be_bytes());
        out
    }
}

/// A consumer of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Consumer {
    /// When it last tried to read or claim, in milliseconds since 1970.
    pub seen_ms: i64,
    /// When it last got something; -1: never.
    pub active_ms: i64,
    /// Its pending entries.
    pub pending: u64,
}

impl Consumer {
    /// Takes its value apart.
    ///
    /// # Errors
    /// [`MetaError`] for bytes that this version cannot have written.
    pub fn parse(value: &[u8]) -> Result<Self, MetaError> {
        let mut take = Take(value);
        let consumer = Self { seen_ms: take.i64()?, active_ms: take.i64()?, pending: take.u64()? };
        take.end()?;
        Ok(consumer)
    }

    /// Its value.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.seen_ms.to_be_bytes().to_vec();
        out.extend_from_slice(&self.active_ms.to_be_bytes());
        out.extend_from_slice(&self.pending.to_be_bytes());
        out
    }
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pending {
    /// When it was delivered last, in milliseconds since 1970.
    pub delivered_ms: i64,
    /// How often it was delivered.
    pub deliveries: u64,
    /// Whose it is.
    pub consumer: Vec<u8>,
}

impl Pending {
    /// Takes its value apart.
    ///
    /// # Errors
    /// [`MetaError`] for bytes that this version cannot have written.
    pub fn parse(value: &[u8]) -> Result<Self, MetaError> {
        let mut take = Take(value);
        let (delivered_ms, deliveries) = (take.i64()?, take.u64()?);
        Ok(Self { delivered_ms, deliveries, consumer: take.0.to_vec() })
    }

    /// Its value.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.delivered_ms.to_be_bytes().to_vec();
        out.extend_from_slice(&self.deliveries.to_be_bytes());
        out.extend_from_slice(&self.consumer);
        out
    }
}

fn push_name(out: &mut Vec<u8>, name: &[u8]) {
    let len = u32::try_from(name.len()).expect("a request is below 4 GiB");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(name);
}

fn of_group(kind: u8, group: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    push_name(&mut out, group);
    out
}

/// An element of a stream, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Element<'a> {
    /// An entry.
    Entry(StreamId),
    /// A group: its name.
    Group(&'a [u8]),
    /// A consumer: its group's name and its own.
    Consumer(&'a [u8], &'a [u8]),
    /// A pending entry of a group.
    Pending(&'a [u8], StreamId),
    /// A pending entry of a group and of a consumer of it.
    Owned(&'a [u8], &'a [u8], StreamId),
}

impl<'a> Element<'a> {
    /// Takes an element apart; `None`: it is none of a stream.
    pub fn parse(element: &'a [u8]) -> Option<Self> {
        let (kind, rest) = element.split_first()?;
        let name = |bytes: &'a [u8]| -> Option<(&'a [u8], &'a [u8])> {
            let (len, rest) = bytes.split_first_chunk::<4>()?;
            rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
        };
        Some(match *kind {
            ENTRY => Self::Entry(StreamId::from_bytes(rest).ok()?),
            GROUP => Self::Group(rest),
            CONSUMER => {
                let (group, consumer) = name(rest)?;
                Self::Consumer(group, consumer)
            }
            PENDING => {
                let (group, id) = name(rest)?;
                Self::Pending(group, StreamId::from_bytes(id).ok()?)
            }
            OWNED => {
                let (group, rest) = name(rest)?;
                let (consumer, id) = name(rest)?;
                Self::Owned(group, consumer, StreamId::from_bytes(id).ok()?)
            }
            _ => return None,
        })
    }
}

/// What all entries begin with.
pub fn entries() -> Vec<u8> {
    vec![ENTRY]
}

/// The element of an entry.
pub fn entry(id: StreamId) -> Vec<u8> {
    let mut out = entries();
    out.extend_from_slice(&id.to_bytes());
    out
}

/// What all groups begin with; the name follows.
pub fn groups() -> Vec<u8> {
    vec![GROUP]
}

/// The element of a group.
pub fn group(name: &[u8]) -> Vec<u8> {
    let mut out = groups();
    out.extend_from_slice(name);
    out
}

/// What all consumers of a group begin with; the name follows.
pub fn consumers(group: &[u8]) -> Vec<u8> {
    of_group(CONSUMER, group)
}

/// The element of a consumer.
pub fn consumer(group: &[u8], name: &[u8]) -> Vec<u8> {
    let mut out = consumers(group);
    out.extend_from_slice(name);
    out
}

/// What all pending entries of a group begin with; the id follows.
pub fn pending(group: &[u8]) -> Vec<u8> {
    of_group(PENDING, group)
}

/// What the pending entries of all consumers of a group begin with.
pub fn owned_of_group(group: &[u8]) -> Vec<u8> {
    of_group(OWNED, group)
}

/// What the pending entries of a consumer begin with; the id follows.
pub fn owned(group: &[u8], consumer: &[u8]) -> Vec<u8> {
    let mut out = owned_of_group(group);
    push_name(&mut out, consumer);
    out
}

/// The value of an entry: how many fields, then each name and value with its length in front.
/// `words` are names and values by turns.
pub fn write_fields<'a>(words: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    varint::write(&mut out, words.len() as u64 / 2);
    for word in words {
        varint::write_slice(&mut out, word);
    }
    out
}

/// Takes the value of an entry apart: names and values by turns.
///
/// # Errors
/// [`MetaError`] for bytes that this version cannot have written.
pub fn parse_fields(value: &[u8]) -> Result<Vec<&[u8]>, MetaError> {
    let (fields, mut rest) = varint::read(value).ok_or(MetaError::Body)?;
    let mut words = Vec::new();
    while !rest.is_empty() {
        let (word, tail) = varint::read_slice(rest).ok_or(MetaError::Body)?;
        words.push(word);
        rest = tail;
    }
    let is_whole = fields.checked_mul(2) == Some(words.len() as u64);
    if is_whole { Ok(words) } else { Err(MetaError::Body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: StreamId = StreamId { ms: 0x0102, seq: 3 };
    const ID_BYTES: &[u8] = b"\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x03";

    #[test]
    fn golden_elements() {
        let with_id = |prefix: &[u8]| [prefix, ID_BYTES].concat();
        let and_id = |mut prefix: Vec<u8>| {
            prefix.extend_from_slice(&ID.to_bytes());
            prefix
        };
        assert_eq!(entry(ID), with_id(b"\0"));
        assert_eq!(group(b"g"), b"\x01g");
        assert_eq!(consumer(b"g", b"cc"), b"\x02\0\0\0\x01gcc");
        assert_eq!(and_id(pending(b"g")), with_id(b"\x03\0\0\0\x01g"));
        assert_eq!(and_id(owned(b"g", b"cc")), with_id(b"\x04\0\0\0\x01g\0\0\0\x02cc"));
        assert_eq!(StreamId::of_element(&entry(ID)), Ok(ID));
        assert_eq!(Element::parse(&entry(ID)), Some(Element::Entry(ID)));
        assert_eq!(Element::parse(&group(b"g")), Some(Element::Group(b"g")));
        let consumer = consumer(b"g", b"cc");
        assert_eq!(Element::parse(&consumer), Some(Element::Consumer(b"g", b"cc")));
        let pending = and_id(pending(b"g"));
        assert_eq!(Element::parse(&pending), Some(Element::Pending(b"g", ID)));
        let owned = and_id(owned(b"g", b"cc"));
        assert_eq!(Element::parse(&owned), Some(Element::Owned(b"g", b"cc", ID)));
        assert_eq!(Element::parse(&owned[..9]), None);
        assert_eq!(StreamId::of_element(b"short"), Err(MetaError::Body));
    }

    #[test]
    fn golden_values() {
        let info = StreamInfo {
            last_id: ID,
            max_deleted_id: StreamId { ms: 4, seq: 5 },
            first_id: StreamId { ms: 6, seq: 7 },
            entries_added: 8,
        };
        let mut expected = ID_BYTES.to_vec();
        for byte in 4..9 {
            expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, byte]);
        }
        assert_eq!(info.to_bytes(), expected);
        assert_eq!(StreamInfo::parse(&expected), Ok(info));
        let group = Group { last_id: ID, entries_read: -1, pending: 2 };
        let expected = [ID_BYTES, &[0xff; 8], &[0, 0, 0, 0, 0, 0, 0, 2]].concat();
        assert_eq!(group.to_bytes(), expected);
        assert_eq!(Group::parse(&expected), Ok(group));
        let consumer = Consumer { seen_ms: 1, active_ms: -1, pending: 2 };
        let expected =
            [&[0, 0, 0, 0, 0, 0, 0, 1][..], &[0xff; 8], &[0, 0, 0, 0, 0, 0, 0, 2]].concat();
        assert_eq!(consumer.to_bytes(), expected);
        assert_eq!(Consumer::parse(&expected), Ok(consumer));
        let pending = Pending { delivered_ms: 1, deliveries: 2, consumer: b"c".to_vec() };
        let expected = b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02c";
        assert_eq!(pending.to_bytes(), expected);
        assert_eq!(Pending::parse(expected), Ok(pending));
        let fields = write_fields([&b"f"[..], b"vv", b"", b""].into_iter());
        assert_eq!(fields, b"\x02\x01f\x02vv\0\0");
        assert_eq!(parse_fields(&fields), Ok(vec![&b"f"[..], b"vv", b"", b""]));
        assert_eq!(parse_fields(&fields[..5]), Err(MetaError::Body));
    }

    proptest! {
        #[test]
        fn ids_and_their_bytes_have_one_order(a: (u64, u64), b: (u64, u64)) {
            let (a, b) = (StreamId { ms: a.0, seq: a.1 }, StreamId { ms: b.0, seq: b.1 });
            prop_assert_eq!(a.cmp(&b), entry(a).cmp(&entry(b)));
            prop_assert_eq!(a.next().and_then(StreamId::previous), Some(a).filter(|a| *a != StreamId::MAX));
        }

        // What could break: elements of one group or consumer that lie among those of another.
        #[test]
        fn those_of_a_consumer_are_one_range(
            names in proptest::array::uniform4(proptest::collection::vec(0_u8..3, 0..4)),
            id: (u64, u64),
        ) {
            let [group, name, other_group, other_name] = names;
            let prefix = owned(&group, &name);
            let mut other = owned(&other_group, &other_name);
            other.extend_from_slice(&StreamId { ms: id.0, seq: id.1 }.to_bytes());
            prop_assert_eq!(
                other.starts_with(&prefix),
                (group, name) == (other_group, other_name)
            );
        }

        #[test]
        fn decoding_never_panics(bytes: Vec<u8>) {
            let _outcome = StreamInfo::parse(&bytes);
            let _outcome = Group::parse(&bytes);
            let _outcome = Consumer::parse(&bytes);
            let _outcome = Pending::parse(&bytes);
            let _outcome = parse_fields(&bytes);
        }
    }
}
