//! The hot-key cache of one worker: whole meta values; of large collections fields and members with what
//! is stored for them, pages of sorted sets ([`crate::bucket`]) and chunks of lists ([`crate::list_chunk`]).
//!
//! In front of RocksDB, per entry and not per block, bounded in bytes, scan resistant (`quick_cache`, an S3-FIFO
//! variant). An entry is valid while its stripe's epoch is the one it was cached under, see
//! [`crate::stripe`]. The commit path updates it from the batch's own keys, never a command.

use quick_cache::Weighter;

use crate::{element, list_chunk};

mod shards;

use shards::Shards;

/// Values longer than this are not cached: they would push out too much.
pub const VALUE_LEN_MAX: usize = 64 * 1024;
/// What an entry costs beyond the bytes of its key and value (slots, hash table, allocator
/// rounding).
pub const ENTRY_OVERHEAD_BYTES: usize = 96;
/// Words of a [`Filter`].
const FILTER_WORDS: usize = 1 << 10;
/// What tells members from pages and chunks.
const MEMBER_NUMBER: u64 = 1 << 32;
/// An odd factor, 2^64 over the golden ratio: spreads what belongs to one key.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

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
    shards: Shards,
    /// Keys of which chunks may be cached.
    chunked: Filter,
    /// Keys of which fields or members may be.
    named: Filter,
    /// Lookups that found a valid entry.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
}

impl Cache {
    /// A cache of at most `capacity_bytes`; 0 caches nothing.
    pub fn new(capacity_bytes: u64) -> Self {
        let (chunked, named) = (Filter::default(), Filter::default());
        let shards = Shards::new(capacity_bytes);
        Self { shards, chunked, named, hits: 0, misses: 0 }
    }

    /// The value cached under `epoch`.
    pub fn get(&mut self, meta_key: &[u8], epoch: u32) -> Option<&[u8]> {
        let place = place(meta_key);
        let entry = self.shards.of(place).get(&place).filter(|entry| entry.epoch == epoch);
        let value = entry.and_then(|entry| entry.value_of(meta_key));
        match value {
            Some(_) => self.hits += 1,
            None => self.misses += 1,
        }
        value
    }

    /// How long the value cached of a key is, whatever its epoch; not counted as a hit or a miss.
    pub fn value_len(&self, meta_key: &[u8]) -> Option<usize> {
        let place = place(meta_key);
        Some(self.shards.of(place).peek(&place)?.value_of(meta_key)?.len())
    }

    /// The page cached under `epoch`; not counted as a hit or a miss.
    pub fn page(&self, key: &[u8], epoch: u32) -> Option<&[u8]> {
        let place = page_place(key);
        let entry = self.shards.of(place).get(&place).filter(|entry| entry.epoch == epoch);
        entry.and_then(|entry| entry.value_of(key))
    }

    /// Touches the entries at some places, so that lookups that follow find them in the CPU's
    /// cache: the lookups here do not depend on each other, and their cache misses overlap.
    pub fn warm(&self, places: &[u64]) {
        let touch = |sum: u8, place: &u64| {
            let first = self.shards.of(*place).peek(place).and_then(|entry| entry.bytes.first());
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

    /// The chunk of a list, as [`Cache::page`].
    pub fn chunk(&self, key: &[u8], epoch: u32) -> Option<&[u8]> {
        if self.chunked.has(key) { self.page(key, epoch) } else { None }
    }

    /// Caches a chunk of a list, as [`Cache::put`] does.
    pub fn put_chunk(&mut self, key: &[u8], value: &[u8], epoch: u32) {
        self.chunked.add(key);
        self.put_at(page_place(key), key, value, epoch);
    }

    /// An element of `data` with this key is written or removed: forgets its chunk, if it is a list's.
    pub fn forget_chunk(&mut self, element_key: &[u8]) {
        if self.chunked.has(element_key) {
            self.forget_at(place_of(element_key, list_chunk::number_of_key(element_key)));
        }
    }

    /// What is cached of a field or member, given by its key in `data`; not counted as a hit or a miss.
    pub fn member(&self, key: &[u8], epoch: u32) -> Option<&[u8]> {
        if !self.named.has(key) {
            return None;
        }
        let place = member_place(key);
        let entry = self.shards.of(place).get(&place).filter(|entry| entry.epoch == epoch);
        entry.and_then(|entry| entry.value_of(key))
    }

    /// Caches a field or member, as [`Cache::put`] does.
    pub fn put_member(&mut self, key: &[u8], value: &[u8], epoch: u32) {
        self.named.add(key);
        self.put_at(member_place(key), key, value, epoch);
    }

    /// Whether any field or member of a collection may be cached, given by a key of its elements.
    pub fn has_members(&self, key: &[u8]) -> bool {
        self.named.has(key)
    }

    /// A field or member is written, or removed (`None`): changes what is cached of it, if anything is.
    pub fn change_member(&mut self, key: &[u8], value: Option<&[u8]>, epoch: u32) {
        let place = member_place(key);
        let value = value.filter(|value| value.len() <= VALUE_LEN_MAX);
        match (self.shards.of_mut(place).get_mut(&place), value) {
            (None, _) => {}
            (Some(mut entry), Some(value)) if entry.value_of(key).is_some() => {
                entry.set(key, value, epoch);
            }
            (Some(entry), _) => {
                drop(entry);
                self.forget_at(place);
            }
        }
    }

    fn put_at(&mut self, place: u64, meta_key: &[u8], value: &[u8], epoch: u32) {
        if value.len() > VALUE_LEN_MAX {
            self.forget_at(place);
            return;
        }
        let shard = self.shards.of_mut(place);
        if let Some(mut entry) = shard.get_mut(&place) {
            entry.set(meta_key, value, epoch);
            return;
        }
        let mut entry = Entry { epoch, key_len: 0, bytes: Vec::new() };
        entry.set(meta_key, value, epoch);
        shard.insert(place, entry);
    }

    fn forget_at(&mut self, place: u64) {
        self.shards.of_mut(place).remove(&place);
    }

    /// Forgets a key.
    pub fn remove(&mut self, meta_key: &[u8]) {
        self.forget_at(place(meta_key));
    }

    /// Forgets a page.
    pub fn remove_page(&mut self, key: &[u8]) {
        self.forget_at(page_place(key));
    }

    /// Forgets everything. The memory comes back bit by bit, by [`Cache::free_some`].
    pub fn clear(&mut self) {
        self.shards.clear();
        self.chunked = Filter::default();
        self.named = Filter::default();
    }

    /// Frees a part of what [`Cache::clear`] left, about a millisecond's work; `false`: there is none.
    pub fn free_some(&mut self) -> bool {
        self.shards.free_one()
    }

    /// Bytes in use and entries, those that are forgotten and not yet freed too.
    pub fn usage(&self) -> (u64, usize) {
        self.shards.usage()
    }
}

/// Where a meta key is cached: its first eight bytes, and it has at least as many.
fn place(meta_key: &[u8]) -> u64 {
    meta_key.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Where a page is cached: its key ends with what tells it from others of its key.
fn page_place(key: &[u8]) -> u64 {
    place_of(key, key.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
}

/// Where a page or a chunk of a key is cached.
fn place_of(key: &[u8], number: u64) -> u64 {
    place(key) ^ number.wrapping_mul(GOLDEN_RATIO)
}

/// Where a field or member is cached: its element begins with its hash.
fn member_place(key: &[u8]) -> u64 {
    let hash = element::of_key(key).and_then(|element| element.first_chunk());
    let hash = hash.map_or(0, |hash| u32::from_be_bytes(*hash));
    // No page and no chunk has such a number.
    place_of(key, MEMBER_NUMBER | u64::from(hash))
}

/// Which keys something was cached of, so that what concerns others need not look for it: by a bit for
/// each of many keys. Empty until there is one.
#[derive(Debug, Default)]
struct Filter(Vec<u64>);

impl Filter {
    fn place_of(key: &[u8]) -> (usize, u64) {
        // The high bits are the good ones.
        let bit = place(key).wrapping_mul(GOLDEN_RATIO) >> 48;
        (usize::try_from(bit / 64).unwrap_or(0) % FILTER_WORDS, 1 << (bit % 64))
    }

    fn add(&mut self, key: &[u8]) {
        let (word, bit) = Self::place_of(key);
        self.0.resize(FILTER_WORDS, 0);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    fn has(&self, key: &[u8]) -> bool {
        let (word, bit) = Self::place_of(key);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }
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

    // What could break: a chunk that stays although one of its elements is another one.
    #[test]
    fn writing_an_element_of_a_list_ends_its_chunk() {
        let mut cache = Cache::new(1 << 20);
        let key = |number: u64| [&b"12345678list"[..], &number.to_be_bytes()].concat();
        cache.forget_chunk(&key(40));
        for number in [1, 2] {
            cache.put_chunk(&key(number), b"chunk", 0);
        }
        cache.forget_chunk(&key(40));
        assert_eq!((cache.chunk(&key(1), 0), cache.chunk(&key(2), 0)), (None, Some(&b"chunk"[..])));
        cache.clear();
        assert_eq!(cache.chunk(&key(2), 0), None);
    }

    #[test]
    fn a_member_that_is_cached_changes_with_what_is_written() {
        let mut cache = Cache::new(1 << 20);
        let key = |member: &str| {
            let (mut meta, mut key, mut element) = (Vec::new(), Vec::new(), Vec::new());
            crate::key::write_meta_key(&mut meta, 3, b"hash");
            element::write_prefix(&mut key, &meta, 7);
            element::write_member(&mut element, member.as_bytes());
            [key, element].concat()
        };
        assert!(!cache.has_members(&key("a")));
        cache.put_member(&key("a"), b"1", 4);
        cache.put_member(&key("b"), b"2", 4);
        assert!(cache.has_members(&key("c")));
        cache.change_member(&key("a"), Some(b"3"), 5);
        cache.change_member(&key("b"), None, 5);
        cache.change_member(&key("c"), Some(b"4"), 5);
        assert_eq!(cache.member(&key("a"), 5), Some(&b"3"[..]));
        for (member, epoch) in [("a", 4), ("b", 4), ("b", 5), ("c", 5)] {
            assert_eq!(cache.member(&key(member), epoch), None, "{member} {epoch}");
        }
        cache.change_member(&key("a"), Some(&vec![0; VALUE_LEN_MAX + 1]), 5);
        assert_eq!(cache.member(&key("a"), 5), None);
    }

    // What could break: memory that never comes back, or more than two caches of it.
    #[test]
    fn what_is_forgotten_is_freed_part_by_part() {
        let mut cache = Cache::new(16 << 20);
        let fill = |cache: &mut Cache| {
            for key in 0..10_000_u64 {
                cache.put(&(key << 40).to_be_bytes(), &[b'v'; 100], 0);
            }
        };
        fill(&mut cache);
        cache.clear();
        assert_eq!(cache.get(&(7_u64 << 40).to_be_bytes(), 0), None);
        assert_eq!(cache.usage().1, 10_000, "forgotten, not freed");
        fill(&mut cache);
        assert_eq!(cache.usage().1, 20_000);
        cache.clear();
        assert_eq!(cache.usage().1, 10_000, "those of the first time still wait");
        let parts = std::iter::repeat_with(|| cache.free_some()).take_while(|more| *more).count();
        assert_eq!((parts, cache.usage()), (4, (0, 0)));
    }

    #[test]
    fn long_values_are_not_cached_and_push_out_their_predecessor() {
        let mut cache = Cache::new(1 << 20);
        cache.put(b"12345678k", b"short", 0);
        cache.put(b"12345678k", &vec![0; VALUE_LEN_MAX + 1], 0);
        assert_eq!(cache.get(b"12345678k", 0), None);
    }
}
