//! The hot-key cache of one worker: whole meta values, in front of RocksDB.
//!
//! Per entry and not per block, bounded in bytes, scan resistant (`quick_cache`, an S3-FIFO
//! variant). An entry is valid while its stripe's epoch is the one it was cached under, see
//! [`crate::stripe`]. The commit path updates it from the batch's own keys, never a command.

use ahash::RandomState;
use quick_cache::unsync::{Cache as QuickCache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

/// Values longer than this are not cached: they would push out too much.
pub const VALUE_LEN_MAX: usize = 64 * 1024;
/// What an entry costs beyond the bytes of its key and value (slots, hash table, lengths,
/// allocator rounding).
pub const ENTRY_OVERHEAD_BYTES: usize = 112;

#[derive(Debug)]
struct Entry {
    epoch: u32,
    value: Vec<u8>,
}

#[derive(Debug, Clone)]
struct ByteWeighter;

impl Weighter<Box<[u8]>, Entry> for ByteWeighter {
    fn weight(&self, key: &Box<[u8]>, entry: &Entry) -> u64 {
        (key.len() + entry.value.capacity() + ENTRY_OVERHEAD_BYTES) as u64
    }
}

/// See the module page.
#[derive(Debug)]
pub struct Cache {
    inner: QuickCache<Box<[u8]>, Entry, ByteWeighter, RandomState>,
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
        match self.inner.get(meta_key) {
            Some(entry) if entry.epoch == epoch => {
                self.hits += 1;
                Some(&entry.value)
            }
            _ => {
                self.misses += 1;
                None
            }
        }
    }

    /// Caches a value, or forgets the key if the value is too long. An entry that exists is
    /// overwritten in its own buffer.
    pub fn put(&mut self, meta_key: &[u8], value: &[u8], epoch: u32) {
        if value.len() > VALUE_LEN_MAX {
            self.remove(meta_key);
            return;
        }
        if let Some(mut entry) = self.inner.get_mut(meta_key) {
            entry.epoch = epoch;
            entry.value.clear();
            entry.value.extend_from_slice(value);
            return;
        }
        self.inner.insert(meta_key.into(), Entry { epoch, value: value.to_vec() });
    }

    /// Forgets a key.
    pub fn remove(&mut self, meta_key: &[u8]) {
        self.inner.remove(meta_key);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_valid_only_under_its_epoch() {
        let mut cache = Cache::new(1 << 20);
        cache.put(b"k", b"old", 1);
        assert_eq!(cache.get(b"k", 1), Some(&b"old"[..]));
        assert_eq!(cache.get(b"k", 2), None);
        cache.put(b"k", b"newer", 2);
        assert_eq!(cache.get(b"k", 2), Some(&b"newer"[..]));
        cache.remove(b"k");
        assert_eq!(cache.get(b"k", 2), None);
        assert_eq!((cache.hits, cache.misses), (2, 2));
    }

    #[test]
    fn the_bound_in_bytes_holds() {
        let mut cache = Cache::new(100_000);
        for key in 0..10_000_u32 {
            cache.put(&key.to_be_bytes(), &[b'v'; 100], 0);
        }
        let (bytes, entries) = cache.usage();
        assert!(bytes <= 100_000, "{bytes}");
        assert!(entries > 300, "{entries}");
    }

    #[test]
    fn long_values_are_not_cached_and_push_out_their_predecessor() {
        let mut cache = Cache::new(1 << 20);
        cache.put(b"k", b"short", 0);
        cache.put(b"k", &vec![0; VALUE_LEN_MAX + 1], 0);
        assert_eq!(cache.get(b"k", 0), None);
    }
}
