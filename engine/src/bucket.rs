//! Buckets: how many members of a large sorted set lie where, so that ranks need no walk through
//! it. Byte by byte in `docs/storage-format.md`.
//!
//! A *bucket* is a range of the set's elements in `score`. *Pages* say where the buckets begin and
//! how many members each of them holds; pages of pages follow until one page is left, the root, a
//! B+ tree with counts. All of it lies behind the elements in `score` and dies with their version:
//!
//! ```text
//! element  0xffff [page u32][1]     where the children begin
//!                                   [level u8] ([child u32] on levels above 1) [bound slice], each
//! element  0xffff [page u32][2]     members of each child: varints; of the root in the extra
//! extra    [level u8][root u32][next page u32] varint*        in the meta value
//! ```
//! What changes with every member is apart from what changes with every split, and small. The
//! children of a page of level 1 are buckets. The first bound of a page is empty: it begins where
//! its parent says. A set without an extra is a single bucket.

use crate::element;
use crate::meta::MetaError;
use crate::varint;

/// What no element of a member begins with, and every page's does. (The order of the largest score,
/// infinity, is 0xfff0 and zeros.)
pub const PAGES_BEGIN: [u8; 2] = [0xff; 2];

/// A bucket with more members is split, when they can be read at once.
pub const BUCKET_LEN_MAX: u64 = 256;
/// A bucket with fewer is joined with a neighbour, if both make one of [`BUCKET_LEN_JOINED_MAX`].
pub const BUCKET_LEN_MIN: u64 = 48;
/// See [`BUCKET_LEN_MIN`].
pub const BUCKET_LEN_JOINED_MAX: u64 = 192;
/// Members of new buckets, about.
pub const BUCKET_LEN_NEW: u64 = 160;
/// A set with no more members is a single bucket: walking there costs less than the pages.
pub const SINGLE_LEN_MAX: u64 = 768;
/// A page with more children is split.
pub const PAGE_LEN_MAX: usize = 128;
/// Children of new pages, about.
pub const PAGE_LEN_NEW: usize = 80;

/// Longest element of a page.
const PAGE_KEY_LEN: usize = 7;

/// What a record says of a page. The numbers are on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Part {
    /// Where its children begin.
    Bounds = 1,
    /// How many members they have.
    Counts = 2,
}

/// The element of a page's record.
pub fn page_key(page: u32, part: Part) -> [u8; PAGE_KEY_LEN] {
    let [a, b, c, d] = page.to_be_bytes();
    let [first, second] = PAGES_BEGIN;
    [first, second, a, b, c, d, part as u8]
}

/// Whether a key of `score`, with what belongs to its version in front, is that of a page.
pub fn is_page_key(key: &[u8]) -> bool {
    element::of_key(key).is_some_and(|element| element.starts_with(&PAGES_BEGIN))
}

/// What the meta value says of the pages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Root {
    /// Pages from the root to a bucket.
    pub level: u8,
    /// The page at the top.
    pub page: u32,
    /// The number of the next new page.
    pub next_page: u32,
    /// Members of its children.
    pub counts: Vec<u64>,
}

impl Root {
    /// Reads an extra; an empty one is none.
    ///
    /// # Errors
    /// [`MetaError`] for bytes that this version cannot have written.
    pub fn parse(extra: &[u8]) -> Result<Option<Self>, MetaError> {
        let [level, rest @ ..] = extra else { return Ok(None) };
        let (page, rest) = rest.split_first_chunk::<4>().ok_or(MetaError::Body)?;
        let (next_page, rest) = rest.split_first_chunk::<4>().ok_or(MetaError::Body)?;
        if *level == 0 {
            return Err(MetaError::Body);
        }
        Ok(Some(Self {
            level: *level,
            page: u32::from_be_bytes(*page),
            next_page: u32::from_be_bytes(*next_page),
            counts: parse_counts(rest)?,
        }))
    }

    /// Writes the extra to `out`, replacing what it held.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_root(self.level, self.page, self.next_page, &self.counts, out);
    }
}

/// The same of a root in parts.
pub fn write_root(level: u8, page: u32, next_page: u32, counts: &[u64], out: &mut Vec<u8>) {
    out.clear();
    out.push(level);
    out.extend_from_slice(&page.to_be_bytes());
    out.extend_from_slice(&next_page.to_be_bytes());
    write_counts(counts, out);
}

/// Reads the counts of a page, of which there is one at least.
///
/// # Errors
/// [`MetaError`] for bytes that this version cannot have written.
pub fn parse_counts(mut bytes: &[u8]) -> Result<Vec<u64>, MetaError> {
    let mut counts = Vec::with_capacity(bytes.len().min(PAGE_LEN_MAX));
    while !bytes.is_empty() {
        let (count, rest) = varint::read(bytes).ok_or(MetaError::Body)?;
        counts.push(count);
        bytes = rest;
    }
    if counts.is_empty() { Err(MetaError::Body) } else { Ok(counts) }
}

/// Appends the counts of a page to `out`.
pub fn write_counts(counts: &[u64], out: &mut Vec<u8>) {
    for count in counts {
        varint::write(out, *count);
    }
}

/// One child as the bounds of a page have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound<'a> {
    /// The page, on levels above 1; else 0.
    pub page: u32,
    /// No member of the child lies before it.
    pub begin: &'a [u8],
}

/// Where the children of a page begin, as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bounds {
    bytes: Vec<u8>,
}

impl Bounds {
    /// Takes a record; [`Bounds::children`] reads it.
    ///
    /// # Errors
    /// [`MetaError`] for bytes that this version cannot have written, or of another level.
    pub fn parse(bytes: Vec<u8>, level: u8) -> Result<Self, MetaError> {
        let bounds = Self { bytes };
        let mut children = bounds.children();
        let is_whole = bounds.bytes.first() == Some(&level)
            && children.next().is_some_and(|first| first.begin.is_empty())
            && children.by_ref().last().is_none_or(|last| !last.begin.is_empty())
            && children.rest.is_empty();
        if is_whole { Ok(bounds) } else { Err(MetaError::Body) }
    }

    /// The bounds of a page of this level.
    pub fn new<'a>(level: u8, children: impl Iterator<Item = Bound<'a>>) -> Self {
        let mut bytes = vec![level];
        for Bound { page, begin } in children {
            if level > 1 {
                bytes.extend_from_slice(&page.to_be_bytes());
            }
            varint::write_slice(&mut bytes, begin);
        }
        Self { bytes }
    }

    /// The record.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All children in order.
    pub fn children(&self) -> Children<'_> {
        let (level, rest) = self.bytes.split_first().unwrap_or((&0, &[]));
        Children { level: *level, rest }
    }

    /// The child that an element belongs to: its number, itself, and where the next one begins.
    pub fn find(&self, element: &[u8]) -> (usize, Bound<'_>, Option<&[u8]>) {
        self.last_that(|_, child| child.begin <= element)
    }

    /// The child with a number, as in [`Bounds::find`].
    pub fn child(&self, number: usize) -> (usize, Bound<'_>, Option<&[u8]>) {
        self.last_that(|other, _| other <= number)
    }

    /// The last of the first ones that are `good`; the first one is taken for good.
    fn last_that(
        &self,
        is_good: impl Fn(usize, &Bound<'_>) -> bool,
    ) -> (usize, Bound<'_>, Option<&[u8]>) {
        let mut children = self.children();
        let first = children.next().unwrap_or(Bound { page: 0, begin: &[] });
        let mut found = (0, first);
        for (number, child) in (1..).zip(children) {
            if !is_good(number, &child) {
                return (found.0, found.1, Some(child.begin));
            }
            found = (number, child);
        }
        (found.0, found.1, None)
    }
}

/// The children of a page.
#[derive(Clone, Debug)]
pub struct Children<'a> {
    level: u8,
    rest: &'a [u8],
}

impl<'a> Iterator for Children<'a> {
    type Item = Bound<'a>;

    fn next(&mut self) -> Option<Bound<'a>> {
        let (page, rest) = if self.level > 1 {
            let (page, rest) = self.rest.split_first_chunk::<4>()?;
            (u32::from_be_bytes(*page), rest)
        } else {
            (0, self.rest)
        };
        let (begin, rest) = varint::read_slice(rest)?;
        self.rest = rest;
        Some(Bound { page, begin })
    }
}

/// The shortest bytes that are greater than `left` and no greater than `right`, which is greater
/// than `left`.
pub fn separator<'a>(left: &[u8], right: &'a [u8]) -> &'a [u8] {
    let common = left.iter().zip(right).take_while(|(one, other)| one == other).count();
    right.get(..=common).unwrap_or(right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score;
    use proptest::prelude::*;

    #[test]
    fn golden_pages() {
        assert_eq!(page_key(0x0102, Part::Bounds), *b"\xff\xff\0\0\x01\x02\x01");
        assert_eq!(page_key(0x0102, Part::Counts), *b"\xff\xff\0\0\x01\x02\x02");
        let root = Root { level: 1, page: 7, next_page: 8, counts: vec![1, 300] };
        let mut extra = Vec::new();
        root.write(&mut extra);
        assert_eq!(extra, *b"\x01\0\0\0\x07\0\0\0\x08\x01\xac\x02");
        assert_eq!(Root::parse(&extra), Ok(Some(root)));
        assert_eq!(Root::parse(b""), Ok(None));
        let buckets = [Bound { page: 0, begin: b"" }, Bound { page: 0, begin: b"\xbf\xf8" }];
        let bounds = Bounds::new(1, buckets.into_iter());
        assert_eq!(bounds.as_bytes(), *b"\x01\0\x02\xbf\xf8");
        let pages = [Bound { page: 2, begin: b"" }, Bound { page: 3, begin: b"\xc0" }];
        let bounds = Bounds::new(2, pages.into_iter());
        assert_eq!(bounds.as_bytes(), *b"\x02\0\0\0\x02\0\0\0\0\x03\x01\xc0");
        assert_eq!(Bounds::parse(bounds.as_bytes().to_vec(), 2).as_ref(), Ok(&bounds));
    }

    #[test]
    fn keys_of_pages_are_told_from_those_of_members() {
        let (mut meta, mut prefix) = (Vec::new(), Vec::new());
        crate::key::write_meta_key(&mut meta, 3, b"\xff\xff");
        element::write_prefix(&mut prefix, &meta, u64::MAX);
        assert!(is_page_key(&[&prefix[..], &page_key(7, Part::Counts)].concat()));
        assert!(!is_page_key(&prefix));
        assert!(!is_page_key(&[&prefix[..], &[0xff, 0xf0, 0xff, 0xff]].concat()));
        assert!(!is_page_key(b"\xff\xff"));
    }

    #[test]
    fn foreign_bytes_are_refused() {
        for extra in [&b"\x01"[..], b"\0\0\0\0\x07\0\0\0\x08\x01", b"\x01\0\0\0\x07\0\0\0\x08"] {
            assert_eq!(Root::parse(extra), Err(MetaError::Body), "{extra:?}");
        }
        for bounds in [&b""[..], b"\x01", b"\x02\0", b"\x01\x01a", b"\x01\0\x02a", b"\x01\0\0"] {
            assert_eq!(Bounds::parse(bounds.to_vec(), 1), Err(MetaError::Body), "{bounds:?}");
        }
        assert_eq!(parse_counts(b"\x80"), Err(MetaError::Body));
    }

    #[test]
    fn pages_lie_behind_all_members() {
        let mut last = Vec::new();
        score::write_element(&mut last, f64::INFINITY, &[0xff; 20]);
        assert!(last[..] < PAGES_BEGIN[..]);
        assert_eq!(score::parse_element(&page_key(1, Part::Counts)), None);
    }

    proptest! {
        #[test]
        fn an_element_is_found_in_the_last_child_that_begins_before_it(
            begins in proptest::collection::btree_set(proptest::collection::vec(0_u8..4, 1..4), 0..9),
            element in proptest::collection::vec(0_u8..4, 0..5),
            level in 1_u8..3,
        ) {
            let begins: Vec<Vec<u8>> = std::iter::once(Vec::new()).chain(begins).collect();
            let children = begins.iter().map(|begin| Bound { page: 0, begin });
            let bounds = Bounds::new(level, children);
            let bounds = Bounds::parse(bounds.as_bytes().to_vec(), level).unwrap();
            let (at, child, next) = bounds.find(&element);
            prop_assert_eq!(at, begins.iter().filter(|begin| **begin <= element).count() - 1);
            prop_assert_eq!(child.begin, &begins[at][..]);
            prop_assert_eq!(next, begins.get(at + 1).map(|begin| &begin[..]));
            prop_assert_eq!(bounds.child(at), (at, child, next));
        }

        #[test]
        fn a_separator_lies_between(one: Vec<u8>, other: Vec<u8>) {
            prop_assume!(one != other);
            let (left, right) = if one < other { (one, other) } else { (other, one) };
            let between = separator(&left, &right);
            prop_assert!(left[..] < *between && *between <= right[..]);
        }

        #[test]
        fn decoding_never_panics(bytes: Vec<u8>, level in 1_u8..3) {
            let _outcome = Root::parse(&bytes);
            if let Ok(bounds) = Bounds::parse(bytes, level) {
                let _child = bounds.find(b"x");
            }
        }
    }
}
