//! What belongs to no single key: the expiry index, the counters, and elements that belong to none.

use super::{CheckError, Checked};
use crate::batch::Family;
use crate::counts::Count;
use crate::element;
use crate::engine::Engine;
use crate::key::{self, MetaKey};
use crate::meta::Header;
use crate::reclaim;
use crate::store::{self, Found, StoreError, Tier};

impl Engine {
    /// Whether a key that will be due stands in the expiry index.
    pub(super) fn is_indexed(&self, key: &[u8], header: &Header) -> Result<bool, StoreError> {
        let Some(at) = header.due_at() else { return Ok(true) };
        let mut record = Vec::new();
        key::write_expiry_key(&mut record, at.0, key);
        Ok(matches!(self.store.get(Family::Expiry, &record, Tier::Device)?, Found::Value(_)))
    }

    /// Compares the counters with the keys that were found in each table.
    pub(super) fn check_counts(&self, checked: &Checked) -> Result<(), CheckError> {
        for table in 0..self.tables() {
            let (keys, expires) = checked.tables.get(&table).copied().unwrap_or_default();
            let (found, said) = (Count { keys, expires }, self.counts.total(table));
            if found != said {
                return Err(CheckError::Counts { table, found, said });
            }
        }
        Ok(())
    }

    /// Looks for elements whose key has no entry with their version, and which nobody will remove.
    pub(super) fn check_orphans(&self, family: Family) -> Result<(), CheckError> {
        let mut iter = self.store.iter(family);
        iter.seek_to_first();
        while let Some(element) = iter.key() {
            let orphan = || CheckError::Orphan(element.to_vec());
            let meta_key = element::meta_key_of(element).ok_or_else(orphan)?;
            let version_at = meta_key.len() + 4;
            let version = element.get(version_at..).and_then(|rest| rest.first_chunk::<8>());
            let version = version.map(|bytes| u64::from_be_bytes(*bytes)).ok_or_else(orphan)?;
            let mut record = Vec::new();
            reclaim::write_record_key(&mut record, version, &meta_key);
            let is_queued =
                matches!(self.store.get(Family::System, &record, Tier::Device)?, Found::Value(_));
            let is_live = match self.store.get(Family::Meta, &meta_key, Tier::Device)? {
                Found::Value(value) => {
                    Header::parse(&value).is_ok_and(|(header, _)| header.version == Some(version))
                }
                Found::Absent | Found::NeedsDevice => false,
            };
            if is_live == is_queued || MetaKey::parse(&meta_key).is_none() {
                return Err(orphan());
            }
            let mut prefix = Vec::new();
            element::write_prefix(&mut prefix, &meta_key, version);
            iter.seek(element::prefix_end(&prefix));
        }
        store::is_at_end(&iter)?;
        Ok(())
    }
}
