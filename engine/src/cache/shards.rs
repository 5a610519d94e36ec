//! The parts that a cache is made of, so that none of them is large.
//!
//! A table that is full moves to one twice as large, all at once. Of a single table for 128 MiB of entries the
//! last of these moves took 30 ms, and the list of its entries 100 ms, in one iteration of a worker. Of a part of
//! [`SHARD_BYTES`] both take a fraction of a millisecond.
//!
//! Freeing all entries takes long too. What is forgotten is freed part by part, by [`Shards::free_one`].

use ahash::RandomState;
use quick_cache::OptionsBuilder;
use quick_cache::unsync::{Cache as QuickCache, DefaultLifecycle};

use super::{ByteWeighter, Entry, GOLDEN_RATIO};

/// What is in a part, in bytes.
const SHARD_BYTES: u64 = 4 << 20;
/// Parts of a cache; in one with more bytes they are larger.
const SHARDS_MAX: u64 = 4096;
/// An entry of usual length, in bytes.
const USUAL_ENTRY_BYTES: u64 = 256;

type Shard = QuickCache<u64, Entry, ByteWeighter, RandomState>;

/// See the module page.
#[derive(Debug)]
pub(super) struct Shards {
    capacity_bytes: u64,
    parts: Box<[Shard]>,
    /// Parts of which nothing is looked at any more.
    retired: Vec<Shard>,
}

impl Shards {
    /// Parts that hold at most `capacity_bytes` together.
    pub(super) fn new(capacity_bytes: u64) -> Self {
        let count = (capacity_bytes / SHARD_BYTES).clamp(1, SHARDS_MAX);
        let bytes = capacity_bytes / count;
        let estimate = usize::try_from(bytes / USUAL_ENTRY_BYTES).unwrap_or(usize::MAX).max(16);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(estimate)
            .weight_capacity(bytes)
            .build()
            .expect("both required options are given");
        let hasher = RandomState::new();
        let shard = |_| {
            let (options, hasher) = (options.clone(), hasher.clone());
            Shard::with_options(options, ByteWeighter, hasher, DefaultLifecycle::default())
        };
        let parts = (0..count).map(shard).collect();
        Self { capacity_bytes, parts, retired: Vec::new() }
    }

    /// The part that has what is cached at `place`.
    pub(super) fn of(&self, place: u64) -> &Shard {
        let number = self.number_of(place);
        &self.parts[number]
    }

    /// The same, to change it.
    pub(super) fn of_mut(&mut self, place: u64) -> &mut Shard {
        let number = self.number_of(place);
        &mut self.parts[number]
    }

    /// Below the number of parts, whatever the place.
    fn number_of(&self, place: u64) -> usize {
        // The high bits of a product are the good ones.
        let spread = place.wrapping_mul(GOLDEN_RATIO) >> 32;
        usize::try_from((spread * self.parts.len() as u64) >> 32).expect("less than their number")
    }

    /// Forgets everything. The memory comes back by [`Shards::free_one`]. If that of the last time has not come
    /// back yet, it is freed at once instead, which takes long: there is never the memory of more than two caches.
    pub(super) fn clear(&mut self) {
        if self.retired.is_empty() {
            let fresh = Self::new(self.capacity_bytes);
            self.retired = std::mem::replace(&mut self.parts, fresh.parts).into_vec();
        } else {
            self.parts.iter_mut().for_each(Shard::clear);
        }
    }

    /// Frees one part of what was forgotten; `false`: there was none.
    pub(super) fn free_one(&mut self) -> bool {
        self.retired.pop().is_some()
    }

    /// Bytes in use and entries.
    pub(super) fn usage(&self) -> (u64, usize) {
        let add = |(bytes, entries): (u64, usize), shard: &Shard| {
            (bytes + shard.weight(), entries + shard.len())
        };
        self.parts.iter().chain(&self.retired).fold((0, 0), add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What could break: places that differ in their first bytes alone (tables, slots) or in their last share
    // a part, which is full while others are empty.
    #[test]
    fn places_spread_over_all_parts() {
        let shards = Shards::new(64 * SHARD_BYTES);
        assert_eq!(shards.parts.len(), 64);
        let last: Vec<u64> = (0..6400).collect();
        let first: Vec<u64> = (0..6400_u64).map(|number| number << 50).collect();
        for places in [last, first] {
            let mut counts = [0; 64];
            for place in places {
                counts[shards.number_of(place)] += 1;
            }
            assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
        }
        assert!(shards.number_of(u64::MAX) < 64);
    }

    #[test]
    fn few_bytes_are_one_part_and_very_many_have_not_too_many() {
        assert_eq!(Shards::new(0).parts.len(), 1);
        assert_eq!(Shards::new(SHARD_BYTES - 1).parts.len(), 1);
        assert_eq!(Shards::new(u64::MAX).parts.len() as u64, SHARDS_MAX);
    }
}
