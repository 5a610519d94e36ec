//! Small collections: all elements in the body of the meta value, one read and one cache entry.
//! Byte by byte in `docs/storage-format.md`.
//!
//! ```text
//! body     [encoding u8][count varint] entry*
//! entry    [length varint][name]                              of sets and lists
//!          [length varint][name][length varint][value]        of hashes and sorted sets
//! ```
//! Entries are in the order in which they were added (as in Redis's listpack), those of an intset
//! in the order of their numbers. A collection is compact within the limits of
//! [`crate::limits::EncodingLimits`] and [`BODY_LEN_MAX`]; beyond them it becomes large
//! ([`crate::element`]), in one batch, and stays large for the rest of the key's life.

use std::ops::Range;

use crate::meta::{Kind, MetaError};
use crate::varint;

/// Longest compact body in bytes.
pub const BODY_LEN_MAX: usize = 4096;

/// What OBJECT ENCODING replies. The numbers are on disk: explicit, and never reused.
///
/// It follows Redis's rules, and says how Redis would keep the collection: a collection whose
/// body exceeds [`BODY_LEN_MAX`] is large although Redis would still use a listpack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Encoding {
    /// Small.
    Listpack = 1,
    /// Large hash or set.
    Hashtable = 2,
    /// Set of not too many integers.
    Intset = 3,
    /// Large sorted set.
    Skiplist = 4,
    /// Large list.
    Quicklist = 5,
    /// Stream of any size.
    Stream = 6,
    /// String in chunks ([`crate::chunk`]).
    Raw = 7,
}

impl Encoding {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Listpack),
            2 => Some(Self::Hashtable),
            3 => Some(Self::Intset),
            4 => Some(Self::Skiplist),
            5 => Some(Self::Quicklist),
            6 => Some(Self::Stream),
            7 => Some(Self::Raw),
            _ => None,
        }
    }

    /// The name that OBJECT ENCODING replies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Listpack => "listpack",
            Self::Hashtable => "hashtable",
            Self::Intset => "intset",
            Self::Skiplist => "skiplist",
            Self::Quicklist => "quicklist",
            Self::Stream => "stream",
            Self::Raw => "raw",
        }
    }
}

/// One element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Field, member, or the element of a list.
    pub name: &'a [u8],
    /// What the family `data` would hold for it: empty for kinds without values.
    pub value: &'a [u8],
}

impl Entry<'_> {
    /// Appends the entry as collections of this kind hold it.
    pub fn write(&self, kind: Kind, out: &mut Vec<u8>) {
        varint::write_slice(out, self.name);
        if has_values(kind) {
            varint::write_slice(out, self.value);
        }
    }

    /// Bytes of a body that the entry takes.
    pub fn len(&self, kind: Kind) -> usize {
        let of = |bytes: &[u8]| {
            let mut prefix_len = 1;
            let mut rest = bytes.len() >> 7;
            while rest > 0 {
                prefix_len += 1;
                rest >>= 7;
            }
            prefix_len + bytes.len()
        };
        of(self.name) + if has_values(kind) { of(self.value) } else { 0 }
    }
}

fn has_values(kind: Kind) -> bool {
    match kind {
        Kind::Hash | Kind::ZSet => true,
        Kind::Set | Kind::List | Kind::String | Kind::Stream => false,
    }
}

/// A compact body, read.
#[derive(Clone, Copy, Debug)]
pub struct Compact<'a> {
    /// What OBJECT ENCODING replies.
    pub encoding: Encoding,
    /// Elements.
    pub count: usize,
    kind: Kind,
    entries: &'a [u8],
}

impl<'a> Compact<'a> {
    /// Reads the head of a body.
    ///
    /// # Errors
    /// [`MetaError`] for bytes that this version cannot have written.
    pub fn parse(kind: Kind, body: &'a [u8]) -> Result<Self, MetaError> {
        let [encoding, rest @ ..] = body else { return Err(MetaError::Body) };
        let encoding = Encoding::from_byte(*encoding).ok_or(MetaError::Body)?;
        let (count, entries) = varint::read(rest).ok_or(MetaError::Body)?;
        // Every entry has a byte at least.
        let count = usize::try_from(count).ok().filter(|count| *count <= entries.len());
        Ok(Self { encoding, count: count.ok_or(MetaError::Body)?, kind, entries })
    }

    /// Finds an element by its name.
    ///
    /// # Errors
    /// [`MetaError`].
    pub fn find(&self, name: &[u8]) -> Result<Option<Entry<'a>>, MetaError> {
        let mut rest = self.entries;
        while !rest.is_empty() {
            let (entry, tail) = split_entry(self.kind, rest).ok_or(MetaError::Body)?;
            if entry.name == name {
                return Ok(Some(entry));
            }
            rest = tail;
        }
        Ok(None)
    }

    /// All elements in order; the iterator has just [`Compact::count`] of them.
    ///
    /// # Errors
    /// [`MetaError`].
    pub fn entries(&self) -> Result<Entries<'a>, MetaError> {
        let entries = Entries { kind: self.kind, rest: self.entries };
        let mut walk = entries.clone();
        if walk.by_ref().count() != self.count || !walk.rest.is_empty() {
            return Err(MetaError::Body);
        }
        Ok(entries)
    }
}

/// The elements of a compact body.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    kind: Kind,
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let (entry, rest) = split_entry(self.kind, self.rest)?;
        self.rest = rest;
        Some(entry)
    }
}

fn split_entry(kind: Kind, bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (name, rest) = varint::read_slice(bytes)?;
    let (value, rest) = if has_values(kind) { varint::read_slice(rest)? } else { (&b""[..], rest) };
    Some((Entry { name, value }, rest))
}

/// A compact body that is being changed: its entries in a buffer of their own.
#[derive(Debug)]
pub struct CompactMut {
    /// What OBJECT ENCODING replies.
    pub encoding: Encoding,
    count: usize,
    kind: Kind,
    entries: Vec<u8>,
}

impl CompactMut {
    /// An empty one that uses `buffer`.
    pub fn new(kind: Kind, encoding: Encoding, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { encoding, count: 0, kind, entries: buffer }
    }

    /// A copy of `body` in `buffer`.
    ///
    /// # Errors
    /// [`MetaError`] for bytes that this version cannot have written.
    pub fn parse(kind: Kind, body: &[u8], buffer: Vec<u8>) -> Result<Self, MetaError> {
        let compact = Compact::parse(kind, body)?;
        compact.entries()?;
        let mut copy = Self::new(kind, compact.encoding, buffer);
        copy.count = compact.count;
        copy.entries.extend_from_slice(compact.entries);
        Ok(copy)
    }

    /// Elements.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of all entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All elements in order.
    pub fn entries(&self) -> Entries<'_> {
        Entries { kind: self.kind, rest: &self.entries }
    }

    /// Finds an element by its name.
    pub fn find(&self, name: &[u8]) -> Option<Entry<'_>> {
        self.entries().find(|entry| entry.name == name)
    }

    /// Adds an element before the one that is number `at`, or at the end.
    pub fn insert(&mut self, at: usize, entry: Entry<'_>) {
        let start = self.offset_of(at);
        let mut bytes = Vec::with_capacity(entry.len(self.kind));
        entry.write(self.kind, &mut bytes);
        self.entries.splice(start..start, bytes);
        self.count += 1;
    }

    /// Adds an element at the end.
    pub fn push(&mut self, entry: Entry<'_>) {
        entry.write(self.kind, &mut self.entries);
        self.count += 1;
    }

    /// Replaces the value of an element, or adds it at the end. Whether it was there.
    pub fn set(&mut self, entry: Entry<'_>) -> bool {
        let found = self.entries().position(|other| other.name == entry.name);
        match found {
            None => self.push(entry),
            Some(at) => {
                let range = self.offset_of(at)..self.offset_of(at + 1);
                let mut bytes = Vec::with_capacity(entry.len(self.kind));
                entry.write(self.kind, &mut bytes);
                self.entries.splice(range, bytes);
            }
        }
        found.is_some()
    }

    /// Removes an element by its name. Whether it was there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let found = self.entries().position(|other| other.name == name);
        if let Some(at) = found {
            self.remove_at(at);
        }
        found.is_some()
    }

    /// Removes the element that is number `at`, if there is one.
    pub fn remove_at(&mut self, at: usize) {
        if at < self.count {
            let range = self.offset_of(at)..self.offset_of(at + 1);
            self.entries.drain(range);
            self.count -= 1;
        }
    }

    /// Removes all elements but those with these numbers, which are there.
    pub fn keep(&mut self, numbers: Range<usize>) {
        let (start, end) = (self.offset_of(numbers.start), self.offset_of(numbers.end));
        self.entries.truncate(end);
        self.entries.drain(..start);
        self.count = numbers.len();
    }

    /// Where the element that is number `at` begins.
    fn offset_of(&self, at: usize) -> usize {
        let mut entries = self.entries();
        if at > 0 {
            entries.nth(at - 1);
        }
        self.entries.len() - entries.rest.len()
    }

    /// The body in two parts: its head, and its entries.
    pub fn body(&self) -> (Vec<u8>, &[u8]) {
        let mut head = Vec::with_capacity(4);
        head.push(self.encoding as u8);
        varint::write(&mut head, self.count as u64);
        (head, &self.entries)
    }

    /// The buffer, to be used again.
    pub fn into_buffer(self) -> Vec<u8> {
        self.entries
    }
}

#[cfg(test)]
mod tests;
