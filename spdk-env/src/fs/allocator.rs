//! Which blocks are free.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Extent;

/// Free extents, by place and by length. No two of them touch.
#[derive(Debug, Default)]
pub(super) struct Allocator {
    by_start: BTreeMap<u64, u64>,
    by_count: BTreeSet<(u64, u64)>,
    free: u64,
}

impl Allocator {
    /// Everything in `extent` is free.
    pub(super) fn new(extent: Extent) -> Self {
        let mut allocator = Self::default();
        allocator.insert(extent);
        allocator
    }

    pub(super) const fn free(&self) -> u64 {
        self.free
    }

    /// The smallest free extent of at least `count` blocks, cut to that; else the largest there is.
    /// `near`, the block after the file's last, is preferred if it is free.
    pub(super) fn find(&self, count: u64, near: Option<u64>) -> Option<Extent> {
        if let Some(start) = near
            && let Some(free) = self.by_start.get(&start)
        {
            return Some(Extent { start, count: count.min(*free) });
        }
        let found = self.by_count.range((count, 0)..).next().or_else(|| self.by_count.last())?;
        Some(Extent { start: found.1, count: count.min(found.0) })
    }

    /// Takes an extent out; false, and nothing happens, if it is not wholly free.
    pub(super) fn take(&mut self, extent: Extent) -> bool {
        let Some(end) = extent.start.checked_add(extent.count) else { return false };
        let Some((&start, &count)) = self.by_start.range(..=extent.start).next_back() else {
            return false;
        };
        if extent.count == 0 || end > start + count {
            return false;
        }
        self.remove(Extent { start, count });
        self.insert(Extent { start, count: extent.start - start });
        self.insert(Extent { start: end, count: start + count - end });
        true
    }

    /// Gives an extent back that `take` took out.
    pub(super) fn release(&mut self, mut extent: Extent) {
        if let Some((&start, &count)) = self.by_start.range(..extent.start).next_back() {
            assert!(start + count <= extent.start, "blocks are freed twice");
            if start + count == extent.start {
                self.remove(Extent { start, count });
                extent = Extent { start, count: count + extent.count };
            }
        }
        let end = extent.start + extent.count;
        if let Some((&start, &count)) = self.by_start.range(extent.start..).next() {
            assert!(start >= end, "blocks are freed twice");
            if start == end {
                self.remove(Extent { start, count });
                extent.count += count;
            }
        }
        self.insert(extent);
    }

    fn insert(&mut self, extent: Extent) {
        if extent.count > 0 {
            self.by_start.insert(extent.start, extent.count);
            self.by_count.insert((extent.count, extent.start));
            self.free += extent.count;
        }
    }

    fn remove(&mut self, extent: Extent) {
        self.by_start.remove(&extent.start);
        self.by_count.remove(&(extent.count, extent.start));
        self.free -= extent.count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seeded;

    // Overlap, or a sum that does not add up, loses data without a word.
    #[test]
    fn random_takes_and_releases_match_a_bitmap() {
        let mut random = Seeded::new(5);
        let mut used = [false; 300];
        let mut allocator = Allocator::new(Extent { start: 20, count: 280 });
        used[..20].fill(true);
        let mut taken = Vec::new();
        for _ in 0..20_000 {
            if random.below(2) == 0 {
                let near = (random.below(2) == 0).then(|| random.below(310));
                let extent = if random.below(3) == 0 {
                    Extent { start: random.below(310), count: random.below(12) }
                } else if let Some(found) = allocator.find(random.below(12) + 1, near) {
                    found
                } else {
                    assert_eq!(allocator.free(), 0);
                    continue;
                };
                let range = usize::try_from(extent.start).unwrap()
                    ..usize::try_from(extent.start + extent.count).unwrap();
                let free = extent.count > 0
                    && used.get(range.clone()).is_some_and(|bits| bits.iter().all(|bit| !bit));
                assert_eq!(allocator.take(extent), free, "{extent:?}");
                if free {
                    used[range].fill(true);
                    taken.push(extent);
                }
            } else if !taken.is_empty() {
                let index = random.below(u64::try_from(taken.len()).unwrap());
                let extent: Extent = taken.swap_remove(usize::try_from(index).unwrap());
                let start = usize::try_from(extent.start).unwrap();
                used[start..start + usize::try_from(extent.count).unwrap()].fill(false);
                allocator.release(extent);
            }
            let free = used.iter().filter(|bit| !**bit).count();
            assert_eq!(allocator.free(), u64::try_from(free).unwrap());
        }
    }
}
