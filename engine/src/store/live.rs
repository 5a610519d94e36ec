//! What may change while the database is open, what it says of itself, and what it counts.

use std::sync::PoisonError;

use rocksdb::properties;
use rocksdb::statistics::Ticker;

use super::{Store, StoreError, options};
use crate::EngineConfig;
use crate::batch::Family;

/// Bytes that RocksDB wrote since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenBytes {
    /// Keys and values that it was given.
    pub given: u64,
    /// To the log.
    pub log: u64,
    /// From memtables to tables, blob files included.
    pub flushed: u64,
    /// By compactions, blob files included.
    pub compacted: u64,
}

/// The settings that hold.
pub(super) struct Tuned {
    config: EngineConfig,
    /// A change of them failed half-way: of each setting, the old or the new value holds.
    is_partial: bool,
}

impl Tuned {
    pub(super) fn new(config: &EngineConfig) -> Self {
        Self { config: config.clone(), is_partial: false }
    }
}

/// RocksDB's default without a rate limiter.
const DELAYED_WRITE_BYTES_PER_SECOND: u64 = 16 << 20;

impl Store {
    /// Sets what RocksDB lets through when it is about to run out of memtables. It would take the rate of
    /// its rate limiter for that, which is there always and has no end by default: writes would go on until
    /// nothing goes at all.
    pub(super) fn limit_delayed_writes(&self) {
        let bytes = DELAYED_WRITE_BYTES_PER_SECOND.to_string();
        let any = self.family(Family::System);
        let is_set = coney_memtable::set_database_option(any, "delayed_write_rate", &bytes);
        assert!(
            is_set,
            "RocksDB has the option, and the value is its default without a rate limiter"
        );
    }

    /// Makes those settings of `config` hold that RocksDB can change while it is open: sizes of caches and
    /// memtables, background jobs, compression, the rate limit, compactions by themselves, write-back, and
    /// from where on and how values lie apart. Waits for the device. The others are left as they are.
    ///
    /// # Errors
    /// [`StoreError`]: a part may have been changed. The next call, with these settings or with the old ones,
    /// makes up for it.
    pub fn retune(&self, config: &EngineConfig) -> Result<(), StoreError> {
        let mut tuned = self.tuned.lock().unwrap_or_else(PoisonError::into_inner);
        // Until all is done, nobody knows what holds; then everything is set again.
        let sets_all = std::mem::replace(&mut tuned.is_partial, true);
        let old = &tuned.config;
        let (before, now) = (options::live_of_database(old), options::live_of_database(config));
        let any = self.family(Family::System);
        for ((name, value), old) in now.iter().zip(&before) {
            let is_changed = sets_all || *value != old.1;
            if is_changed && !coney_memtable::set_database_option(any, name, value) {
                return Err(StoreError::Other(format!("RocksDB does not take {name} = {value}")));
            }
        }
        for family in Family::ALL {
            let (before, now) = (options::live(family, old), options::live(family, config));
            let changed: Vec<(&str, &str)> = now
                .iter()
                .zip(&before)
                .filter(|(now, before)| sets_all || now != before)
                .map(|((name, value), _)| (*name, value.as_str()))
                .collect();
            if !changed.is_empty() {
                self.db
                    .set_options_cf(self.family(family), &changed)
                    .map_err(|error| StoreError::new(&error))?;
            }
        }
        if sets_all || config.tuning.rate_limit_bytes != old.tuning.rate_limit_bytes {
            let limit = options::rate_limit(config.tuning.rate_limit_bytes);
            let is_set = coney_memtable::set_rate_limit(any, limit);
            assert!(is_set, "the database is opened with a rate limiter");
        }
        if sets_all || config.block_cache_bytes != old.block_cache_bytes {
            self.shared.set_cache_bytes(config.block_cache_bytes);
        }
        *tuned = Tuned::new(config);
        Ok(())
    }

    /// Figures that INFO shows, as name and value.
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        let family = self.family(Family::Meta);
        let of_meta = |name: &properties::PropName| {
            self.db.property_int_value_cf(family, name).ok().flatten().unwrap_or(0)
        };
        let of_both = |name: &str| -> u64 {
            let of = |family| self.db.property_int_value_cf(self.family(family), name);
            [Family::Meta, Family::Data].into_iter().filter_map(|family| of(family).ok()?).sum()
        };
        vec![
            ("estimated_keys", of_meta(properties::ESTIMATE_NUM_KEYS)),
            ("sst_bytes", of_meta(properties::TOTAL_SST_FILES_SIZE)),
            ("blob_bytes", of_both("rocksdb.total-blob-file-size")),
            ("blob_garbage_bytes", of_both("rocksdb.live-blob-file-garbage-size")),
            ("memtable_bytes", of_meta(properties::CUR_SIZE_ALL_MEM_TABLES)),
            ("table_reader_bytes", of_meta(properties::ESTIMATE_TABLE_READERS_MEM)),
            ("block_cache_bytes", of_meta(properties::BLOCK_CACHE_USAGE)),
            ("pending_compaction_bytes", of_meta(properties::ESTIMATE_PENDING_COMPACTION_BYTES)),
            ("running_compactions", of_meta(properties::NUM_RUNNING_COMPACTIONS)),
            ("running_flushes", of_meta(properties::NUM_RUNNING_FLUSHES)),
            ("background_errors", of_meta(properties::BACKGROUND_ERRORS)),
            ("write_stopped", of_meta(properties::IS_WRITE_STOPPED)),
            ("sequence", self.db.latest_sequence_number()),
        ]
    }

    /// Bytes of the tables of a family that are in use, and of its blob files.
    pub(super) fn file_bytes(&self, family: Family) -> (u64, u64) {
        let of = |name: &str| self.db.property_int_value_cf(self.family(family), name);
        let of = |name: &str| of(name).ok().flatten().unwrap_or(0);
        (of("rocksdb.live-sst-files-size"), of("rocksdb.live-blob-file-size"))
    }

    /// Whether the settings that hold, or did before a change that failed, put values into blob files.
    pub fn makes_blob_files(&self) -> bool {
        let tuned = self.tuned.lock().unwrap_or_else(PoisonError::into_inner);
        tuned.config.tuning.blobs.threshold_bytes > 0
    }

    /// Whether values go to blob files, or lie in some.
    pub fn uses_blob_files(&self) -> bool {
        self.makes_blob_files()
            || [Family::Meta, Family::Data].into_iter().any(|family| self.has_blob_files(family))
    }

    /// Whether values of a family lie in blob files.
    pub fn has_blob_files(&self, family: Family) -> bool {
        self.file_bytes(family).1 > 0
    }

    /// What was written so far, if RocksDB counts (`EngineConfig::statistics`).
    pub fn written_bytes(&self) -> Option<WrittenBytes> {
        let options = self.counting.as_ref()?;
        Some(WrittenBytes {
            given: options.get_ticker_count(Ticker::BytesWritten),
            log: options.get_ticker_count(Ticker::WalFileBytes),
            flushed: options.get_ticker_count(Ticker::FlushWriteBytes),
            compacted: options.get_ticker_count(Ticker::CompactWriteBytes),
        })
    }
}
