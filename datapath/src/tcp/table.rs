//! Finds a flow's slot: a hash table from hashes to slot numbers.
//!
//! Open addressing with linear probing, at most half full, of a size that never changes: no lookup
//! or insertion ever pays for moving the others, whatever their number. Deletion shifts the entries
//! behind it back (Knuth 6.4, algorithm R), so there are no tombstones. The owner compares keys:
//! the table holds only 8 bytes for each entry, the hash as a first filter.

/// An index from keyed hashes to slots.
#[derive(Debug)]
pub struct FlowTable {
    entries: Box<[Entry]>,
    mask: usize,
    len: usize,
    len_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    /// [`EMPTY`] or the slot.
    slot: u32,
}

const EMPTY: u32 = u32::MAX;
const VACANT: Entry = Entry { hash: 0, slot: EMPTY };

/// The table holds as many entries as it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableFull;

impl FlowTable {
    /// A table for at most `len_max` entries; takes between 16 and 32 bytes for each at once.
    pub fn new(len_max: usize) -> Self {
        let size = (len_max.max(4) * 2).next_power_of_two();
        Self { entries: vec![VACANT; size].into(), mask: size - 1, len: 0, len_max }
    }

    /// Entries in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether nothing more can be inserted.
    pub fn is_full(&self) -> bool {
        self.len >= self.len_max
    }

    /// The slot that was inserted under `hash` and for which `is_it` holds.
    pub fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        loop {
            let entry = self.entries[at];
            if entry.slot == EMPTY {
                return None;
            }
            if entry.hash == hash && is_it(entry.slot) {
                return Some(entry.slot);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Lets the CPU fetch where [`Self::find`] will look first, without waiting for it.
    pub fn prefetch(&self, hash: u32) {
        if let Some(entry) = self.entries.get(self.home(hash)) {
            coney_base::prefetch(entry);
        }
    }

    /// The first slot under `hash`: mostly the one that [`Self::find`] will return. Nothing but the
    /// table is looked at.
    pub fn first(&self, hash: u32) -> Option<u32> {
        let mut found = None;
        self.find(hash, |slot| {
            found = Some(slot);
            true
        });
        found
    }

    /// Adds a slot; the caller has made sure that its key is not there yet.
    ///
    /// # Errors
    /// [`TableFull`]: nothing was added.
    pub fn insert(&mut self, hash: u32, slot: u32) -> Result<(), TableFull> {
        if self.is_full() || slot == EMPTY {
            return Err(TableFull);
        }
        let mut at = self.home(hash);
        while self.entries[at].slot != EMPTY {
            at = (at + 1) & self.mask;
        }
        self.entries[at] = Entry { hash, slot };
        self.len += 1;
        Ok(())
    }

    /// Removes a slot that was inserted under `hash`; `false`: it was not there.
    pub fn remove(&mut self, hash: u32, slot: u32) -> bool {
        let mut hole = self.home(hash);
        while self.entries[hole].slot != slot {
            if self.entries[hole].slot == EMPTY {
                return false;
            }
            hole = (hole + 1) & self.mask;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask;
            let entry = self.entries[at];
            if entry.slot == EMPTY {
                break;
            }
            // An entry may move to the hole unless its home lies behind the hole on its way.
            let distance = at.wrapping_sub(self.home(entry.hash)) & self.mask;
            if distance >= (at.wrapping_sub(hole) & self.mask) {
                self.entries[hole] = entry;
                hole = at;
            }
        }
        self.entries[hole] = VACANT;
        self.len -= 1;
        true
    }

    fn home(&self, hash: u32) -> usize {
        hash as usize & self.mask
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few distinct hashes, so that probing sequences overlap and wrap around.
        #[test]
        fn it_finds_what_a_map_finds(
            ops in proptest::collection::vec((0_u32..24, any::<bool>()), 1..300),
            spread in prop_oneof![Just(0_u32), Just(1), Just(3), Just(7)],
        ) {
            let hash = |key: u32| (key / (spread + 1)).wrapping_sub(4);
            let mut table = FlowTable::new(16);
            let mut model = BTreeMap::new();
            for (slot, (key, add)) in ops.into_iter().enumerate() {
                let slot = u32::try_from(slot).unwrap();
                match model.get(&key) {
                    Some(&old) if !add => {
                        prop_assert!(table.remove(hash(key), old));
                        prop_assert!(!table.remove(hash(key), old));
                        model.remove(&key);
                    }
                    None if add && model.len() == 16 => {
                        prop_assert_eq!(table.insert(hash(key), slot), Err(TableFull));
                    }
                    None if add => {
                        prop_assert_eq!(table.insert(hash(key), slot), Ok(()));
                        model.insert(key, slot);
                    }
                    Some(_) | None => {}
                }
                prop_assert_eq!(table.len(), model.len());
                for key in 0..24 {
                    let expected = model.get(&key).copied();
                    let found = table.find(hash(key), |slot| Some(slot) == expected);
                    prop_assert_eq!(found, expected, "key {}", key);
                }
            }
        }
    }
}
