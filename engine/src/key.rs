//! Keys as RocksDB sees them. Byte by byte in `docs/storage-format.md`.
//!
//! ```text
//! meta     [table u16][slot u16][hash u32][user key]
//! expiry   [deadline ms u64][meta key]
//! ```
//! All integers are big endian, so that byte order is numeric order. The slot comes before
//! everything else of a table, so that a slot is one range; the hash comes before the user key, so
//! that a position in the key space is a number that means the same after a restart (SCAN).

use std::ops::{Bound, RangeInclusive};

use crc::{CRC_16_XMODEM, Crc, Table};
use twox_hash::XxHash3_64;

/// Slots of a cluster, as in Redis Cluster.
pub const SLOTS: u16 = 16_384;
/// Bytes before the user key in a meta key.
pub const META_PREFIX_LEN: usize = 8;
/// Bytes before the meta key in a key of the expiry index.
pub const EXPIRY_PREFIX_LEN: usize = 8;

const SLOT_CRC: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_XMODEM);

/// The slot of a user key: CRC16 of its hash tag, or of all of it if it has none.
///
/// Source: <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>, "Hash tags".
pub fn slot(user_key: &[u8]) -> u16 {
    SLOT_CRC.checksum(hash_tag(user_key)) % SLOTS
}

fn hash_tag(user_key: &[u8]) -> &[u8] {
    let Some(open) = user_key.iter().position(|&byte| byte == b'{') else { return user_key };
    let tail = &user_key[open + 1..];
    match tail.iter().position(|&byte| byte == b'}') {
        None | Some(0) => user_key,
        Some(close) => &tail[..close],
    }
}

/// The hash that orders the keys of a slot: the high half of XXH3-64 with seed 0. It is on disk
/// and never changes.
pub fn hash(user_key: &[u8]) -> u32 {
    let [a, b, c, d, ..] = XxHash3_64::oneshot(user_key).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// Writes the meta key of `user_key` in `table` to `out`, replacing what it held.
pub fn write_meta_key(out: &mut Vec<u8>, table: u16, user_key: &[u8]) {
    out.clear();
    out.extend_from_slice(&table.to_be_bytes());
    out.extend_from_slice(&slot(user_key).to_be_bytes());
    out.extend_from_slice(&hash(user_key).to_be_bytes());
    out.extend_from_slice(user_key);
}

/// The first eight bytes of the meta key of `user_key` in `table`, as a number.
pub fn meta_prefix(table: u16, user_key: &[u8]) -> u64 {
    let slot_and_hash = u64::from(slot(user_key)) << 32 | u64::from(hash(user_key));
    u64::from(table) << 48 | slot_and_hash
}

/// All meta keys of some tables, or the keys of some databases, which look like them.
pub(crate) fn of_databases(numbers: &RangeInclusive<u16>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let end = numbers.end().checked_add(1);
    (
        Bound::Included(numbers.start().to_be_bytes().to_vec()),
        end.map_or(Bound::Unbounded, |end| Bound::Excluded(end.to_be_bytes().to_vec())),
    )
}

/// Writes the key of the expiry index for a meta key to `out`, replacing what it held.
pub fn write_expiry_key(out: &mut Vec<u8>, deadline_ms: u64, meta_key: &[u8]) {
    out.clear();
    out.extend_from_slice(&deadline_ms.to_be_bytes());
    out.extend_from_slice(meta_key);
}

/// A meta key taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaKey<'a> {
    /// The table (database).
    pub table: u16,
    /// The cluster slot.
    pub slot: u16,
    /// The ordering hash.
    pub hash: u32,
    /// The key as the user knows it.
    pub user_key: &'a [u8],
}

impl<'a> MetaKey<'a> {
    /// Takes a meta key apart; `None` if it is too short to be one.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (prefix, user_key) = bytes.split_first_chunk::<META_PREFIX_LEN>()?;
        let [t0, t1, s0, s1, h0, h1, h2, h3] = *prefix;
        Some(Self {
            table: u16::from_be_bytes([t0, t1]),
            slot: u16::from_be_bytes([s0, s1]),
            hash: u32::from_be_bytes([h0, h1, h2, h3]),
            user_key,
        })
    }

    /// The key's place in its table as SCAN counts it.
    pub fn position(&self) -> u64 {
        u64::from(self.slot) << 32 | u64::from(self.hash)
    }
}

/// Splits a key of the expiry index into deadline and meta key.
pub fn parse_expiry_key(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (deadline, meta_key) = bytes.split_first_chunk::<EXPIRY_PREFIX_LEN>()?;
    Some((u64::from_be_bytes(*deadline), meta_key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        // From `CLUSTER KEYSLOT` of Redis 7.0.
        for (key, expected) in [
            ("", 0),
            ("123456789", 12739),
            ("foo", 12182),
            ("{user1000}.following", 3443),
            ("{user1000}.followers", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn golden_meta_and_expiry_keys() {
        let mut meta = Vec::new();
        write_meta_key(&mut meta, 3, b"foo");
        assert_eq!(
            meta,
            [0x00, 0x03, 0x2f, 0x96, 0xab, 0x6e, 0x5f, 0x64, b'f', b'o', b'o'],
            "table 3, slot 12182, the high half of XXH3-64(\"foo\"), the key"
        );
        let mut expiry = Vec::new();
        write_expiry_key(&mut expiry, 0x0102_0304_0506_0708, &meta);
        assert_eq!(expiry[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(parse_expiry_key(&expiry), Some((0x0102_0304_0506_0708, &meta[..])));
    }

    #[test]
    fn short_keys_are_no_keys() {
        assert_eq!(MetaKey::parse(&[0; 7]), None);
        assert_eq!(parse_expiry_key(&[0; 7]), None);
    }

    proptest! {
        #[test]
        fn a_meta_key_reads_back(table: u16, user_key: Vec<u8>) {
            let mut bytes = Vec::new();
            write_meta_key(&mut bytes, table, &user_key);
            let key = MetaKey::parse(&bytes).unwrap();
            prop_assert_eq!((key.table, key.user_key), (table, &user_key[..]));
            prop_assert_eq!((key.slot, key.hash), (slot(&user_key), hash(&user_key)));
            prop_assert!(key.slot < SLOTS);
            prop_assert_eq!(meta_prefix(table, &user_key).to_be_bytes(), &bytes[..META_PREFIX_LEN]);
        }

        #[test]
        fn deadlines_sort_the_expiry_index(a: u64, b: u64, x: Vec<u8>, y: Vec<u8>) {
            prop_assume!(a < b);
            let (mut first, mut second) = (Vec::new(), Vec::new());
            write_expiry_key(&mut first, a, &x);
            write_expiry_key(&mut second, b, &y);
            prop_assert!(first < second);
        }
    }
}
