//! The hot-key cache of one worker: whole meta values, and pages of large sorted sets
//! ([`crate::bucket`]), in front of RocksDB.
//!
//! Per entry and not per block, bounded in bytes, scan resistant (`quick_cache`, an S3-FIFO
//! variant). An entry is valid while its stripe's epoch is the one it was cached under, see
//! [`crate::stripe`]. The commit path updates it from the batch's own keys, never a command.

use ahash::RandomState;
use quick_cache::unsync::{Cache as QuickCache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

/// Values longer than this are not cached: they would push out too much.
pub const VALUE_LEN_MAX: usize = 64 * 1024;
/// What an entry costs beyond the bytes of its key and value (slots, hash table, allocator
/// rounding).
pub const ENTRY_OVERHEAD_BYTES: usize = 96;

#[derive(Debug)]
struct Entry {
    epoch: u32,
    key_len: u32,
    /// The meta key and its value, side by side: one cache miss for both.
    bytes: Vec<u8>,
}

impl Entry {
    fn value_of(&self, meta_key: &[u8]) -> Option<&[u8]> {
        let (key, value) = self.bytes.split_at_checked(self.key_len as usize)?;
        (key == meta_key).then_some(value)
    }

    fn set(&mut self, meta_key: &[u8], value: &[u8], epoch: u32) {
        self.epoch = epoch;
        self.key_len = u32::try_from(meta_key.len()).expect("keys fit a request");
        self.bytes.clear();
        self.bytes.reserve_exact(meta_key.len() + value.len());
        self.bytes.extend_from_slice(meta_key);
        self.bytes.extend_from_slice(value);
    }
}

#[derive(Debug, Clone)]
struct ByteWeighter;

impl Weighter<u64, Entry> for ByteWeighter {
    fn weight(&self, _place: &u64, entry: &Entry) -> u64 {
        (entry.bytes.capacity() + ENTRY_OVERHEAD_BYTES) as u64
    }
}

/// See the module page.
///
/// Entries are found by the first eight bytes of their meta key (table, slot, hash), so that a
/// lookup neither hashes nor follows a pointer to a key. Keys that share them share one place:
/// the one used last has it. Pages are found by a [`page_place`]. Keys are meta keys, or those of
/// elements.
#[derive(Debug)]
pub struct Cache {
    inner: QuickCache<u64, Entry, ByteWeighter, RandomState>,
    /// Lookups that found a valid entry.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
}

impl Cache {
    /// A cache of at most `capacity_bytes`; 0 caches nothing.
    pub fn new(capacity_bytes: u64) -> Self {
        let estimate = usize::try_from(capacity_bytes / 256).unwrap_or(usize::MAX).max(16);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(estimate)
            .weight_capacity(capacity_bytes)
            .build()
            .expect("both required options are given");
        let inner = QuickCache::with_options(
            options,
            ByteWeighter,
            RandomState::new(),
            DefaultLifecycle::default(),
        );
        Self { inner, hits: 0, misses: 0 }
    }

    /// The value cached under `epoch`.
    pub fn get(&mut self, meta_key: &[u8], epoch: u32) -> Option<&[u8]> {
        let entry = self.inner.get(&place(meta_key)).filter(|entry| entry.epoch == epoch);
        let value = entry.and_then(|entry| entry.value_of(meta_key));
        match value {
            Some(_) => self.hits += 1,
            None => self.misses += 1,
        }
        value
    }

    /// The page cached under `epoch`; not counted as a hit or a miss.
    pub fn page(&self, key: &[u8], epoch: u32) -> Option<&[u8]> {
        let entry = self.inner.get(&page_place(key)).filter(|entry| entry.epoch == epoch);
        entry.and_then(|entry| entry.value_of(key))
    }

    /// Touches the entries at some places, so that lookups that follow find them in the CPU's
    /// cache: the lookups here do not depend on each other, and their cache misses overlap.
    pub fn warm(&self, places: &[u64]) {
        let touch = |sum: u8, place: &u64| {
            let first = self.inner.peek(place).and_then(|entry| entry.bytes.first());
            sum ^ first.copied().unwrap_or_default()
        };
        std::hint::black_box(places.iter().fold(0, touch));
    }

    /// Caches a value, or forgets the key if the value is too long. An entry that exists is
    /// overwritten in its own buffer.
    pub fn put(&mut self, meta_key: &[u8], value: &[u8], epoch: u32) {
        self.put_at(place(meta_key), meta_key, value, epoch);
    }

    /// Caches a page, as [`Cache::put`] does.
    pub fn put_page(&mut self, key: &[u8], value: &[u8], epoch: u32) {
        self.put_at(page_place(key), key, value, epoch);
    }

    fn put_at(&mut self, place: u64, meta_key: &[u8], value: &[u8], epoch: u32) {
        if value.len() > VALUE_LEN_MAX {
            self.inner.remove(&place);
            return;
        }
        if let Some(mut entry) = self.inner.get_mut(&place) {
            entry.set(meta_key, value, epoch);
            return;
        }
        let mut entry = Entry { epoch, key_len: 0, bytes: Vec::new() };
        entry.set(meta_key, value, epoch);
        self.inner.insert(place, entry);
    }

    /// Forgets a key.
    pub fn remove(&mut self, meta_key: &[u8]) {
        self.inner.remove(&place(meta_key));
    }

    /// Forgets a page.
    pub fn remove_page(&mut self, key: &[u8]) {
        self.inner.remove(&page_place(key));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.inner.clear();
    }

    /// Bytes in use and entries.
    pub fn usage(&self) -> (u64, usize) {
        (self.inner.weight(), self.inner.len())
    }

    /// Changes the bound.
    pub fn set_capacity(&mut self, capacity_bytes: u64) {
        self.inner.set_capacity(capacity_bytes);
    }
}

/// Where a meta key is cached: its first eight bytes, and it has at least as many.
fn place(meta_key: &[u8]) -> u64 {
    meta_key.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Where a page is cached: its key ends with what tells it from others of its key.
fn page_place(key: &[u8]) -> u64 {
    let page = key.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    // An odd factor, 2^64 over the golden ratio, spreads the pages of one key.
    place(key) ^ page.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_valid_only_under_its_epoch() {
        let mut cache = Cache::new(1 << 20);
        cache.put(b"12345678k", b"old", 1);
        assert_eq!(cache.get(b"12345678k", 1), Some(&b"old"[..]));
        assert_eq!(cache.get(b"12345678k", 2), None);
        cache.put(b"12345678k", b"newer", 2);
        assert_eq!(cache.get(b"12345678k", 2), Some(&b"newer"[..]));
        cache.remove(b"12345678k");
        assert_eq!(cache.get(b"12345678k", 2), None);
        assert_eq!((cache.hits, cache.misses), (2, 2));
    }

    #[test]
    fn the_bound_in_bytes_holds() {
        let mut cache = Cache::new(100_000);
        for key in 0..10_000_u32 {
            cache.put(&u64::from(key).to_be_bytes(), &[b'v'; 100], 0);
        }
        let (bytes, entries) = cache.usage();
        assert!(bytes <= 100_000, "{bytes}");
        assert!(entries > 300, "{entries}");
    }

    #[test]
    fn keys_that_share_a_place_are_told_apart() {
        let mut cache = Cache::new(1 << 20);
        cache.put(b"12345678a", b"first", 0);
        assert_eq!(cache.get(b"12345678b", 0), None);
        cache.put(b"12345678b", b"second", 0);
        assert_eq!(cache.get(b"12345678a", 0), None);
        assert_eq!(cache.get(b"12345678b", 0), Some(&b"second"[..]));
    }

    #[test]
    fn pages_of_a_key_do_not_push_each_other_out() {
        let mut cache = Cache::new(1 << 20);
        let key = |page: u32| [&b"12345678key"[..], &page.to_be_bytes(), &[0xff; 3]].concat();
        cache.put(b"12345678key", b"meta", 0);
        for page in 0..100 {
            cache.put_page(&key(page), &page.to_be_bytes(), 0);
        }
        for page in 0..100 {
            assert_eq!(cache.page(&key(page), 0), Some(&page.to_be_bytes()[..]));
            assert_eq!(cache.page(&key(page), 1), None, "another epoch");
        }
        assert_eq!(cache.get(b"12345678key", 0), Some(&b"meta"[..]));
        cache.remove_page(&key(7));
        assert_eq!(cache.page(&key(7), 0), None);
    }

    #[test]
    fn long_values_are_not_cached_and_push_out_their_predecessor() {
        let mut cache = Cache::new(1 << 20);
        cache.put(b"12345678k", b"short", 0);
        cache.put(b"12345678k", &vec![0; VALUE_LEN_MAX + 1], 0);
        assert_eq!(cache.get(b"12345678k", 0), None);
    }
}
