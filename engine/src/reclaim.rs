//! Removing what dead collections leave behind.
//!
//! A large collection that is deleted, overwritten or expired costs its command two records: the
//! meta entry goes, and a record in the durable queue of dead versions (family `system`) names what
//! its elements begin with. A thread that may wait calls [`Engine::reclaim`] now and then, which
//! deletes few elements one by one, turns each record of more into one range delete in each of `data`
//! and `score`, and removes it in the same batch: a crash in between loses nothing, and a record that
//! is carried out twice does no harm, because a version never comes again ([`crate::element`]).
//!
//! Of what takes much space on disk, the tables that hold nothing else are removed at once. The rest
//! would stay until RocksDB compacts it for other reasons, on an idle server for ever: the thread
//! calls [`Engine::compact_reclaimed`] for it. Where values lie in blob files, all is left to that: only
//! compactions tell RocksDB which of them are dead.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use rocksdb::WriteBatch;

use crate::batch::Family;
use crate::element;
use crate::engine::Engine;
use crate::store::StoreError;

/// What the keys of the queue begin with.
const PREFIX: &[u8] = b"dead";

/// Writes the key of the queue's record for a version of a key to `out`.
pub(crate) fn write_record_key(out: &mut Vec<u8>, version: u64, meta_key: &[u8]) {
    out.clear();
    out.extend_from_slice(PREFIX);
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(meta_key);
}

fn parse_record_key(key: &[u8]) -> Option<(u64, &[u8])> {
    let (version, meta_key) = key.strip_prefix(PREFIX)?.split_first_chunk::<8>()?;
    crate::key::MetaKey::parse(meta_key)?;
    Some((u64::from_be_bytes(*version), meta_key))
}

/// Up to so many elements are deleted one by one: that costs reads less than range tombstones do.
const SINGLE_DELETES_MAX: usize = 64;

/// What takes so much on disk is worth compacting the tables, of up to 64 MiB, that it shares with
/// others. Less is left to RocksDB's own compactions.
const LARGE_BYTES: u64 = 4 << 20;

/// Ranges that wait to be compacted; further ones are left to RocksDB's own compactions.
const HOLLOW_MAX: usize = 256;

/// A range of removed elements.
#[derive(Debug)]
pub(crate) struct Hollow {
    family: Family,
    begin: Vec<u8>,
    end: Vec<u8>,
}

/// Dead versions that are counted at most; more are so many.
const COUNTED_MAX: u64 = 100_000;

impl Engine {
    /// Dead versions whose elements are still to be removed, up to [`COUNTED_MAX`]. Waits for the device.
    pub(crate) fn dead_versions(&self) -> u64 {
        let mut iter = self.store.iter(Family::System);
        iter.seek(PREFIX);
        let mut count = 0;
        while count < COUNTED_MAX && iter.key().is_some_and(|key| key.starts_with(PREFIX)) {
            count += 1;
            iter.next();
        }
        count
    }

    /// Removes the elements of at most `limit` dead versions, oldest first, and returns how many it
    /// were. Waits for the device. The caller limits the rate: each costs two range tombstones.
    ///
    /// A call removes what the call before it has seen, so that a worker which read the meta entry
    /// right before it went still finds the elements.
    ///
    /// # Errors
    /// [`StoreError`]: what was not removed is found again.
    pub fn reclaim(&self, limit: usize) -> Result<usize, StoreError> {
        let mut seen = self.dead_seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newly_seen = BTreeSet::new();
        let mut iter = self.store.iter(Family::System);
        iter.seek(PREFIX);
        let mut count = 0;
        while count + newly_seen.len() < limit
            && let Some(record_key) = iter.key().filter(|key| key.starts_with(PREFIX))
        {
            let Some((version, meta_key)) = parse_record_key(record_key) else {
                let record = record_key.escape_ascii();
                return Err(StoreError::Corruption(format!("record {record} of dead versions")));
            };
            let unnamed = self.unnamed.lock().unwrap_or_else(PoisonError::into_inner);
            let is_unnamed = unnamed.contains(record_key);
            drop(unnamed);
            if is_unnamed {
                iter.next();
                continue;
            }
            if seen.contains(record_key) && self.remove_elements(record_key, meta_key, version)? {
                count += 1;
            } else {
                newly_seen.insert(record_key.to_vec());
            }
            iter.next();
        }
        iter.status().map_err(|error| StoreError::Io(error.to_string()))?;
        *seen = newly_seen;
        Ok(count)
    }

    /// Removes the elements of a dead version and its record; `false`: not now.
    fn remove_elements(
        &self,
        record_key: &[u8],
        meta_key: &[u8],
        version: u64,
    ) -> Result<bool, StoreError> {
        let mut begin = Vec::new();
        element::write_prefix(&mut begin, meta_key, version);
        let end = element::prefix_end(&begin);
        let families = [Family::Data, Family::Score];
        // An estimate where there are blob files: at worst a compaction too many, or one that is left to
        // RocksDB.
        let large: Vec<Family> = families
            .into_iter()
            .filter(|family| self.store.bytes_on_disk(*family, &begin, &end) >= LARGE_BYTES)
            .collect();
        let drops = |family| large.contains(&family) && !self.store.has_blob_files(family);
        let dropped: Vec<Family> = families.into_iter().filter(|family| drops(*family)).collect();
        // Whoever reads an earlier moment may still read the elements, and tables that are gone are
        // gone for them too. A snapshot from now on knows that the key is dead.
        if !dropped.is_empty() && self.store.has_snapshots() {
            return Ok(false);
        }
        let mut batch = WriteBatch::default();
        for family in families {
            if dropped.contains(&family) {
                // Before the range delete, which must not be in one of these tables: it also covers
                // what is below them.
                self.store.drop_tables(family, &begin, &end)?;
            }
            match self.store.few(family, &begin, &end, SINGLE_DELETES_MAX)? {
                Some(keys) => {
                    keys.iter().for_each(|key| self.store.delete(&mut batch, family, key));
                }
                None => self.store.delete_range(&mut batch, family, &begin, &end),
            }
        }
        self.store.delete(&mut batch, Family::System, record_key);
        self.store.write_patiently(batch)?;
        self.reclaimed.fetch_add(1, Ordering::Relaxed);
        let mut hollow = self.hollow.lock().unwrap_or_else(PoisonError::into_inner);
        for family in large {
            if hollow.len() < HOLLOW_MAX {
                hollow.push_back(Hollow { family, begin: begin.clone(), end: end.clone() });
            }
        }
        Ok(true)
    }

    /// Gives back the space on disk of what [`Engine::reclaim`] removed and what shares tables with
    /// other keys: one range for each call; `false` if there is none. Waits for the device, for
    /// seconds; ends early when background work is stopped.
    pub fn compact_reclaimed(&self) -> bool {
        let mut hollow = self.hollow.lock().unwrap_or_else(PoisonError::into_inner);
        let next = hollow.pop_front();
        drop(hollow);
        let Some(Hollow { family, begin, end }) = next else { return false };
        self.store.compact(family, &begin, &end);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_records() {
        let (mut meta, mut record) = (Vec::new(), Vec::new());
        crate::key::write_meta_key(&mut meta, 3, b"foo");
        write_record_key(&mut record, 0x0102, &meta);
        assert_eq!(record, *b"dead\0\0\0\0\0\0\x01\x02\x00\x03\x2f\x96\xab\x6e\x5f\x64foo");
        assert_eq!(parse_record_key(&record), Some((0x0102, &meta[..])));
        assert_eq!(parse_record_key(&record[..19]), None);
        assert_eq!(parse_record_key(b"dea"), None);
    }
}
