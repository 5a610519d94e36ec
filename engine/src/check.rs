//! Whether what belongs together on disk agrees: for tests, and for whoever doubts a directory.
//!
//! Each entry of `meta` against its elements ([`collection`], [`sorted`], [`stream`]), and what belongs
//! to no single key ([`whole`]). Only what is committed is looked at, and nobody may write meanwhile.

use std::collections::BTreeMap;

use rocksdb::DBRawIterator;

use crate::batch::Family;
use crate::counts::Count;
use crate::element::{self, LargeBody};
use crate::engine::Engine;
use crate::key::MetaKey;
use crate::meta::{Header, Kind, MetaError};
use crate::store::{self, StoreError, Tier};

mod collection;
mod sorted;
mod stream;
mod whole;

/// What differs, if anything.
type What = Option<&'static str>;

/// What was found in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Keys, and how many of them have a deadline, by table.
    pub tables: BTreeMap<u16, (i64, i64)>,
    /// Large collections.
    pub large: u64,
    /// Their elements.
    pub elements: u64,
    /// Large sorted sets.
    pub sets: u64,
    /// Their members.
    pub members: u64,
    /// Their pages.
    pub pages: u64,
    /// The buckets in these.
    pub buckets: u64,
    /// Members of the largest bucket.
    pub bucket_len_max: u64,
    /// Pages from a root to a bucket, at most.
    pub levels: u8,
}

/// What does not agree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// RocksDB cannot read it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key of `meta` that is none.
    #[error("meta has the key {}, which is none", .0.escape_ascii())]
    Key(Vec<u8>),
    /// A value that no version writes.
    #[error("key {}: {error}", key.escape_ascii())]
    Damaged {
        /// The meta key.
        key: Vec<u8>,
        /// What is wrong with it.
        error: MetaError,
    },
    /// A key whose parts say different things.
    #[error("{kind:?} {}: {what}", key.escape_ascii())]
    Differs {
        /// The meta key.
        key: Vec<u8>,
        /// What it holds.
        kind: Kind,
        /// Which.
        what: &'static str,
    },
    /// An element that belongs to no key, and is not queued for removal.
    #[error("an element belongs to no key: {}", .0.escape_ascii())]
    Orphan(Vec<u8>),
    /// The counters of a table.
    #[error("table {table} has {found:?}, and its counters say {said:?}")]
    Counts {
        /// The table.
        table: u16,
        /// What there is.
        found: Count,
        /// What the counters say.
        said: Count,
    },
}

impl Engine {
    /// Compares all keys, their elements, the expiry index, the counters and the queue of dead versions.
    /// Waits for the device.
    ///
    /// # Errors
    /// [`CheckError`]: the first thing that differs.
    pub fn check(&self) -> Result<Checked, CheckError> {
        let mut checked = Checked::default();
        let mut iter = self.store.iter(Family::Meta);
        iter.seek_to_first();
        while let Some((key, value)) = iter.item() {
            let meta_key = MetaKey::parse(key).ok_or_else(|| CheckError::Key(key.to_vec()))?;
            let damaged = |error| CheckError::Damaged { key: key.to_vec(), error };
            let (header, body) = Header::parse(value).map_err(damaged)?;
            let (keys, expires) = checked.tables.entry(meta_key.table).or_default();
            *keys += 1;
            *expires += i64::from(header.expire_at.is_some());
            let mut what = match (header.kind, header.version) {
                (Kind::String, None) => None,
                (Kind::Stream, None) => Some("it has no version"),
                (_, None) => collection::check_compact(&header, body),
                (_, Some(version)) => {
                    let body = LargeBody::parse(body).map_err(damaged)?;
                    checked.large += 1;
                    checked.elements += body.count;
                    self.check_large(key, &header, version, &body, &mut checked)?
                }
            };
            if what.is_none() && !self.is_indexed(key, &header)? {
                what = Some("it is not in the expiry index");
            }
            if let Some(what) = what {
                return Err(CheckError::Differs { key: key.to_vec(), kind: header.kind, what });
            }
            iter.next();
        }
        store::is_at_end(&iter)?;
        self.check_counts(&checked)?;
        for family in [Family::Data, Family::Score] {
            self.check_orphans(family)?;
        }
        Ok(checked)
    }

    fn check_large(
        &self,
        key: &[u8],
        header: &Header,
        version: u64,
        body: &LargeBody,
        checked: &mut Checked,
    ) -> Result<What, StoreError> {
        let mut prefix = Vec::new();
        element::write_prefix(&mut prefix, key, version);
        if body.count == 0 && header.kind != Kind::Stream {
            return Ok(Some("it has no elements, and is there all the same"));
        }
        match header.kind {
            Kind::Hash | Kind::Set => self.check_members(header, &prefix, body),
            Kind::ZSet => self.check_sorted_set(&prefix, body, checked),
            Kind::List => self.check_list(&prefix, body),
            Kind::Stream => self.check_stream(&prefix, body),
            Kind::String => self.check_chunks(&prefix, body),
        }
    }

    fn elements_of(&self, family: Family, prefix: &[u8]) -> DBRawIterator<'_> {
        let end = element::prefix_end(prefix);
        let mut iter = self.store.range(family, prefix, &end, Tier::Device);
        iter.seek_to_first();
        iter
    }
}
