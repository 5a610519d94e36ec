//! Elements of large collections: their keys in the families `data` and `score`, and what the
//! collection's meta value says of them. Byte by byte in `docs/storage-format.md`.
//!
//! ```text
//! key      [table u16][slot u16][hash u32][key length u32][user key][version u64][element]
//! body     [encoding u8][count u64][extra]
//! ```
//! What an element is depends on the kind. Where members have no order of their own (hashes, sets,
//! members of sorted sets in `data`) it is `[hash u32][member]`, see [`write_member`]: the members
//! lie in the order of their hashes, so that a cursor of HSCAN and its like is a number without
//! memory on the server, and a random member is the one at a random hash.
//!
//! # Versions
//!
//! All elements of one life of a key carry its *version*, which is in the meta value. A key that
//! is overwritten, deleted or expired leaves its elements behind; they are dead at once, because no
//! meta value names their version, and are removed later ([`crate::reclaim`]). So a version must
//! never come twice for one key. It is
//!
//! > the latest sequence number of RocksDB + the records in the open batch + 1
//!
//! taken while the key is latched, right before the record of the meta value is added. Let `s` be
//! that sequence number and `r` the number of records, `v = s + r + 1`. Every record takes one
//! sequence number, so the batch, which holds at least `r + 1` records, ends at `s + r + 1 = v` or
//! later when it is committed. The next version of the same key is taken either later in the same
//! batch, then from at least `r + 1` records and a sequence number no smaller, or after the commit
//! (the latch lasts until then), then from a sequence number of at least `v`: it is larger either
//! way. A batch that is lost, in a crash or because its commit failed, takes its version and every
//! trace of it along. Different keys may have the same version: the key is part of every element's.
//!
//! Elements that are written ahead ([`crate::ahead`]) outlive a batch that is lost, so the sequence
//! must reach their version by themselves. A batch that is built on the pool counts only as many
//! records as it has made versions: with `k` before this one, `v <= s + k + 1`. (Every version of a
//! key is followed by a record, so the next one of the same key is larger still.) What is written
//! ahead begins with a record for each version, at least `k + 1`, in one write with the first elements:
//! if there is any trace of `v`, the sequence is at `v` or later. A collection that is renewed
//! ([`crate::renew`]) gets `s + 1`, which its record alone reaches.

use crate::compact::Encoding;
use crate::key;
use crate::meta::MetaError;

/// Bytes of the hash in front of a member.
pub const MEMBER_HASH_LEN: usize = 4;

/// Writes what all elements of one version of a key begin with to `out`, replacing what it held.
pub fn write_prefix(out: &mut Vec<u8>, meta_key: &[u8], version: u64) {
    let (head, user_key) = meta_key.split_at(key::META_PREFIX_LEN);
    out.clear();
    out.reserve(meta_key.len() + 4 + 8 + 64);
    out.extend_from_slice(head);
    let len = u32::try_from(user_key.len()).expect("a request is below 4 GiB");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(user_key);
    out.extend_from_slice(&version.to_be_bytes());
}

/// The meta key of the key that an element belongs to; `None`: these are no element's bytes.
pub fn meta_key_of(element_key: &[u8]) -> Option<Vec<u8>> {
    let (head, rest) = element_key.split_at_checked(key::META_PREFIX_LEN)?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let user_key = rest.get(..usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    Some([head, user_key].concat())
}

/// What the elements of a version begin with, out of the key of one of them; `None`: these are no
/// element's bytes.
pub fn prefix_of(element_key: &[u8]) -> Option<&[u8]> {
    let element = of_key(element_key)?;
    element_key.get(..element_key.len() - element.len())
}

/// The meta key and the version that the elements with this prefix belong to; `None`: it is none.
pub fn owner_of(prefix: &[u8]) -> Option<(Vec<u8>, u64)> {
    let (_, version) = prefix.split_last_chunk::<8>()?;
    Some((meta_key_of(prefix)?, u64::from_be_bytes(*version)))
}

/// What follows the version in an element's key; `None`: these are no element's bytes.
pub fn of_key(element_key: &[u8]) -> Option<&[u8]> {
    let (len, rest) = element_key.get(key::META_PREFIX_LEN..)?.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    rest.get(len.checked_add(8)?..)
}

/// The first key after all that begin with `prefix`, which is that of a version.
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    for byte in end.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    end
}

/// The element of an unordered member: its hash, which orders it, and itself. Replaces what `out`
/// held.
pub fn write_member(out: &mut Vec<u8>, member: &[u8]) {
    out.clear();
    append_member(out, member);
}

/// Appends the element of an unordered member to `out`.
pub fn append_member(out: &mut Vec<u8>, member: &[u8]) {
    out.extend_from_slice(&key::hash(member).to_be_bytes());
    out.extend_from_slice(member);
}

/// Takes the element of an unordered member apart: hash and member.
pub fn parse_member(element: &[u8]) -> Option<(u32, &[u8])> {
    let (hash, member) = element.split_first_chunk::<MEMBER_HASH_LEN>()?;
    Some((u32::from_be_bytes(*hash), member))
}

/// The body of the meta value of a large collection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LargeBody {
    /// What OBJECT ENCODING replies.
    pub encoding: Encoding,
    /// Elements.
    pub count: u64,
    /// What else the kind keeps here; empty for hashes, sets and sorted sets.
    pub extra: Vec<u8>,
}

impl LargeBody {
    /// Takes a body apart.
    ///
    /// # Errors
    /// [`MetaError`] for bytes that this version cannot have written.
    pub fn parse(body: &[u8]) -> Result<Self, MetaError> {
        let [encoding, rest @ ..] = body else { return Err(MetaError::Body) };
        let encoding = Encoding::from_byte(*encoding).ok_or(MetaError::Body)?;
        let (count, extra) = rest.split_first_chunk::<8>().ok_or(MetaError::Body)?;
        Ok(Self { encoding, count: u64::from_be_bytes(*count), extra: extra.to_vec() })
    }

    /// Writes the body to `out`, replacing what it held.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(self.encoding as u8);
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.extra);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_element_keys() {
        let (mut meta, mut prefix, mut element) = (Vec::new(), Vec::new(), Vec::new());
        key::write_meta_key(&mut meta, 3, b"foo");
        write_prefix(&mut prefix, &meta, 0x0102);
        write_member(&mut element, b"foo");
        prefix.extend_from_slice(&element);
        assert_eq!(
            prefix,
            *b"\x00\x03\x2f\x96\xab\x6e\x5f\x64\x00\x00\x00\x03foo\x00\x00\x00\x00\x00\x00\x01\x02\
               \xab\x6e\x5f\x64foo"
        );
        assert_eq!(parse_member(&element), Some((0xab6e_5f64, &b"foo"[..])));
        assert_eq!(parse_member(b"abc"), None);
    }

    #[test]
    fn golden_large_bodies() {
        let body = LargeBody { encoding: Encoding::Hashtable, count: 0x0102, extra: vec![9] };
        let mut out = Vec::new();
        body.write(&mut out);
        assert_eq!(out, [2, 0, 0, 0, 0, 0, 0, 1, 2, 9]);
        assert_eq!(LargeBody::parse(&out), Ok(body));
        assert_eq!(LargeBody::parse(&out[..8]), Err(MetaError::Body));
        assert_eq!(LargeBody::parse(&[0; 9]), Err(MetaError::Body));
    }

    proptest! {
        // What could break: elements of one key or version that lie among those of another.
        #[test]
        fn the_elements_of_a_version_are_one_range(
            key in proptest::collection::vec(0_u8..3, 0..4),
            other in proptest::collection::vec(0_u8..3, 0..4),
            version in prop_oneof![0_u64..600, Just(u64::MAX - 1)],
            other_version in 0_u64..600,
            element in proptest::collection::vec(any::<u8>(), 0..4),
        ) {
            let (mut meta, mut prefix, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
            key::write_meta_key(&mut meta, 1, &key);
            write_prefix(&mut prefix, &meta, version);
            key::write_meta_key(&mut meta, 1, &other);
            write_prefix(&mut foreign, &meta, other_version);
            let is_same = foreign == prefix;
            let end = prefix_end(&prefix);
            foreign.extend_from_slice(&element);
            prop_assert_eq!(prefix <= foreign && foreign < end, is_same);
        }

        #[test]
        fn decoding_never_panics(bytes: Vec<u8>) {
            let _outcome = LargeBody::parse(&bytes);
            let _outcome = parse_member(&bytes);
        }
    }
}
