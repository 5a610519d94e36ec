//! RocksDB: opening it, its column families, reads in two tiers, and its errors in our words.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use options::Shared;
use rocksdb::perf::{PerfContext, PerfMetric};
use rocksdb::{
    BottommostLevelCompaction, ColumnFamily, CompactOptions, DB, DBPinnableSlice, DBRawIterator,
    ErrorKind, Options, Range, ReadOptions, ReadTier, Snapshot, WriteBatch,
};
use rocksdb::{WriteOptions, properties};

use crate::EngineConfig;
use crate::batch::Family;
use crate::device::Device;

mod live;
pub mod options;
pub mod tuning;

pub use live::WrittenBytes;

/// Version of everything on disk that this build writes. See `docs/storage-format.md`.
pub const FORMAT_VERSION: u32 = 1;

const FORMAT_KEY: &[u8] = b"format";

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "{}: in use by another process (RocksDB's LOCK file is held): stop it, or choose another \
         directory with --dir", .0.display()
    )]
    InUse(PathBuf),
    /// The directory was written by a version that this one does not know.
    #[error(
        "{}: format version {found}, but this build of coney reads version {FORMAT_VERSION}: use \
         the version that wrote it", path.display()
    )]
    Format {
        /// The data directory.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// The directory cannot be created.
    #[error("{}: {source}: choose a directory that can be written with --dir", path.display())]
    Directory {
        /// The data directory.
        path: PathBuf,
        /// What the operating system answered.
        source: std::io::Error,
    },
    /// The data is damaged.
    #[error("{}: damaged: {message}", path.display())]
    Damaged {
        /// The data directory.
        path: PathBuf,
        /// RocksDB's words.
        message: String,
    },
    /// Anything else.
    #[error("{}: {message}", path.display())]
    Other {
        /// The data directory.
        path: PathBuf,
        /// RocksDB's words.
        message: String,
    },
}

/// Why a read or a write failed. The message is RocksDB's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk is full.
    #[error("{0}")]
    NoSpace(String),
    /// The device failed.
    #[error("{0}")]
    Io(String),
    /// Bytes on disk are not what was written.
    #[error("{0}")]
    Corruption(String),
    /// Compactions were behind for longer than a write may wait.
    #[error("compactions are behind")]
    Behind,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl StoreError {
    fn new(error: &rocksdb::Error) -> Self {
        let message = error.to_string();
        match error.kind() {
            ErrorKind::IOError if message.contains("No space left") => Self::NoSpace(message),
            ErrorKind::IOError => Self::Io(message),
            ErrorKind::Corruption => Self::Corruption(message),
            _ => Self::Other(message),
        }
    }

    /// The error that a client reads whose write failed.
    pub fn write_reply(&self) -> String {
        match self {
            Self::NoSpace(message) => format!(
                "MISCONF Coney cannot write, the disk is full: {message}. Nothing was changed. \
                 Reads go on, and writes resume when there is space"
            ),
            Self::Behind => "TRYAGAIN the write waited for compactions for longer than \
                 write-stall-timeout. Nothing was changed. Reads go on; write less, or later"
                .to_owned(),
            _ => format!(
                "MISCONF Coney cannot write to its database: {self}. Nothing was changed. Reads \
                 go on; see the server's log"
            ),
        }
    }
}

/// Removed elements that an iterator on a worker steps over at once; more is work for the I/O pool.
const SKIPPED_KEYS_MAX: u64 = 4096;

/// Keys whose values are held at once while they are fetched; RocksDB's batches have as many.
const FETCHED_KEYS_MAX: usize = 32;

/// How far a read may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tier {
    /// Memtable and block cache: never waits for the device.
    Memory,
    /// Everything.
    Device,
}

/// What a read in [`Tier::Memory`] may find out.
pub enum Found<'a> {
    /// The value.
    Value(DBPinnableSlice<'a>),
    /// There is none.
    Absent,
    /// Only the device knows.
    NeedsDevice,
}

impl std::fmt::Debug for Found<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Value(_) => "Value",
            Self::Absent => "Absent",
            Self::NeedsDevice => "NeedsDevice",
        })
    }
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// It is in the log and visible.
    Yes,
    /// RocksDB would have to wait for compactions: try again later. Nothing was written.
    Stalled,
}

/// The database.
pub struct Store {
    db: DB,
    memory_reads: ReadOptions,
    device_reads: ReadOptions,
    writes: WriteOptions,
    shared: Shared,
    /// The settings that hold now, as far as they may change.
    tuned: Mutex<live::Tuned>,
    /// What the database was opened with, if RocksDB counts: it has the counters.
    counting: Option<Options>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database in `config.dir` or on `config.device`, or creates it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(config: &EngineConfig) -> Result<Self, OpenError> {
        let path = config.place();
        let database = if config.device.is_some() {
            Path::new(Device::DATABASE)
        } else {
            std::fs::create_dir_all(path)
                .map_err(|source| OpenError::Directory { path: path.to_owned(), source })?;
            path
        };
        let shared = Shared::new(config);
        let options = options::database(config);
        let families = options::families(config, &shared);
        let db = DB::open_cf_descriptors(&options, database, families)
            .map_err(|error| open_error(path, &error))?;
        let mut memory_reads = options::reads();
        memory_reads.set_read_tier(ReadTier::BlockCache);
        let mut writes = WriteOptions::default();
        // A worker never waits for compactions; it gets `Incomplete` and tries again.
        writes.set_no_slowdown(true);
        let store = Self {
            db,
            memory_reads,
            device_reads: options::reads(),
            writes,
            shared,
            tuned: Mutex::new(live::Tuned::new(config)),
            counting: config.statistics.then_some(options),
        };
        store.limit_delayed_writes();
        store.check_format(path)?;
        Ok(store)
    }

    fn check_format(&self, path: &Path) -> Result<(), OpenError> {
        let other = |error: &rocksdb::Error| open_error(path, error);
        let family = self.family(Family::System);
        match self.db.get_pinned_cf(family, FORMAT_KEY).map_err(|error| other(&error))? {
            None => {
                let version = FORMAT_VERSION.to_be_bytes();
                self.db.put_cf(family, FORMAT_KEY, version).map_err(|error| other(&error))
            }
            Some(bytes) => match <[u8; 4]>::try_from(&*bytes).map(u32::from_be_bytes) {
                Ok(FORMAT_VERSION) => Ok(()),
                Ok(found) => Err(OpenError::Format { path: path.to_owned(), found }),
                Err(_) => Err(OpenError::Damaged {
                    path: path.to_owned(),
                    message: "the record of the format version is not four bytes long".to_owned(),
                }),
            },
        }
    }

    /// Reads one key, as far as `tier` allows.
    ///
    /// # Errors
    /// [`StoreError`] if the device or RocksDB fails.
    pub fn get(&self, family: Family, key: &[u8], tier: Tier) -> Result<Found<'_>, StoreError> {
        let reads = match tier {
            Tier::Memory => &self.memory_reads,
            Tier::Device => &self.device_reads,
        };
        match self.db.get_pinned_cf_opt(self.family(family), key, reads) {
            Ok(Some(value)) => Ok(Found::Value(value)),
            Ok(None) => Ok(Found::Absent),
            Err(error) if error.kind() == ErrorKind::Incomplete => Ok(Found::NeedsDevice),
            Err(error) => Err(StoreError::new(&error)),
        }
    }

    /// Brings keys into the block cache. The blocks of one file are read together.
    pub fn fetch(&self, family: Family, keys: &[Vec<u8>]) {
        let (family, reads) = (self.family(family), &self.device_reads);
        for keys in keys.chunks(FETCHED_KEYS_MAX) {
            // What fails here fails again for whoever needs it.
            drop(self.db.batched_multi_get_cf_opt(family, keys, false, reads));
        }
    }

    /// The database as it is now.
    pub fn freeze(&self) -> Frozen<'_> {
        let snapshot = self.db.snapshot();
        let mut reads = options::reads();
        reads.set_snapshot(&snapshot);
        Frozen { store: self, reads, snapshot }
    }

    /// An iterator over `begin .. end` of `data` or `score`, not placed yet.
    pub fn range(&self, family: Family, begin: &[u8], end: &[u8], tier: Tier) -> DBRawIterator<'_> {
        let mut reads = options::reads_of_range(begin, end);
        if tier == Tier::Memory {
            reads.set_read_tier(ReadTier::BlockCache);
            reads.set_max_skippable_internal_keys(SKIPPED_KEYS_MAX);
        }
        self.db.raw_iterator_cf_opt(self.family(family), reads)
    }

    /// The keys of `begin .. end` of a family, if they are at most `limit`. Waits for the device.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn few(
        &self,
        family: Family,
        begin: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        let mut iter = self.range(family, begin, end, Tier::Device);
        iter.seek_to_first();
        let mut keys = Vec::new();
        while let Some(key) = iter.key() {
            if keys.len() == limit {
                return Ok(None);
            }
            keys.push(key.to_vec());
            iter.next();
        }
        is_at_end(&iter)?;
        Ok(Some(keys))
    }

    /// About how many bytes `begin .. end` of a family takes in tables on disk.
    pub fn table_bytes(&self, family: Family, begin: &[u8], end: &[u8]) -> u64 {
        let range = [Range::new(begin, end)];
        self.db.get_approximate_sizes_cf(self.family(family), &range).into_iter().sum()
    }

    /// The same with blob files. Where there are some, this may be wrong by far for a range whose values are
    /// longer or shorter than others: RocksDB does not say what of the blob files belongs to a range, so it is
    /// taken to be as much as of the tables.
    pub fn bytes_on_disk(&self, family: Family, begin: &[u8], end: &[u8]) -> u64 {
        let tables = self.table_bytes(family, begin, end);
        let (all_tables, all_blobs) = self.file_bytes(family);
        let blobs = u128::from(tables) * u128::from(all_blobs) / u128::from(all_tables.max(1));
        tables.saturating_add(u64::try_from(blobs).unwrap_or(u64::MAX))
    }

    /// Whether somebody reads the database as it was at an earlier moment.
    pub fn has_snapshots(&self) -> bool {
        let count =
            self.db.property_int_value_cf(self.family(Family::Meta), properties::NUM_SNAPSHOTS);
        // Not to know is to fear it.
        !matches!(count, Ok(Some(0)))
    }

    /// Removes the tables that lie wholly in `begin .. end` of a family, also for snapshots. What is
    /// in memtables and in other tables stays. Not where [`Store::has_blob_files`]: nobody would count their
    /// values as dead, and a blob file of which some are not known to be dead stays while an older one does.
    ///
    /// # Errors
    /// [`StoreError`]: they are still there.
    pub fn drop_tables(&self, family: Family, begin: &[u8], end: &[u8]) -> Result<(), StoreError> {
        self.db
            .delete_file_in_range_cf(self.family(family), begin, end)
            .map_err(|error| StoreError::new(&error))
    }

    /// Rewrites the tables that have something of `begin .. end` of a family. Waits for it; ends early
    /// when background work is stopped.
    pub fn compact(&self, family: Family, begin: &[u8], end: &[u8]) {
        let mut options = CompactOptions::default();
        // RocksDB's own compactions go on meanwhile.
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        self.db.compact_range_cf_opt(self.family(family), Some(begin), Some(end), &options);
    }

    /// The sequence number of the newest record.
    pub fn latest_sequence(&self) -> u64 {
        self.db.latest_sequence_number()
    }

    /// Writes a batch made with RocksDB's own builder, and waits if RocksDB is behind.
    ///
    /// # Errors
    /// [`StoreError`]: nothing of the batch is visible.
    pub fn write_patiently(&self, batch: WriteBatch) -> Result<(), StoreError> {
        self.db.write(batch).map_err(|error| StoreError::new(&error))
    }

    /// Adds `key -> value` of a family to `batch`.
    pub fn put(&self, batch: &mut WriteBatch, family: Family, key: &[u8], value: &[u8]) {
        batch.put_cf(self.family(family), key, value);
    }

    /// Removes `begin .. end` of a family in `batch`.
    pub fn delete_range(&self, batch: &mut WriteBatch, family: Family, begin: &[u8], end: &[u8]) {
        batch.delete_range_cf(self.family(family), begin, end);
    }

    /// Removes `key` of a family in `batch`.
    pub fn delete(&self, batch: &mut WriteBatch, family: Family, key: &[u8]) {
        batch.delete_cf(self.family(family), key);
    }

    /// Writes a batch in RocksDB's own representation, without syncing the log.
    ///
    /// # Errors
    /// [`StoreError`]: nothing of the batch is visible.
    pub fn write(&self, batch: &[u8]) -> Result<Written, StoreError> {
        match self.db.write_opt(WriteBatch::from_data(batch), &self.writes) {
            Ok(()) => Ok(Written::Yes),
            Err(error) if error.kind() == ErrorKind::Incomplete => Ok(Written::Stalled),
            Err(error) => Err(StoreError::new(&error)),
        }
    }

    /// Finds out whether writes work again, by writing what is there already.
    ///
    /// # Errors
    /// [`StoreError`]: they do not.
    pub fn probe(&self) -> Result<(), StoreError> {
        let family = self.family(Family::System);
        self.db
            .put_cf(family, FORMAT_KEY, FORMAT_VERSION.to_be_bytes())
            .map_err(|error| StoreError::new(&error))
    }

    /// Brings the log to the disk. Waits for it.
    ///
    /// # Errors
    /// [`StoreError`]: what was written may not survive a power failure.
    pub fn sync_wal(&self) -> Result<(), StoreError> {
        self.db.flush_wal(true).map_err(|error| StoreError::new(&error))
    }

    /// Writes all memtables to tables on disk. Waits for it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn flush(&self) -> Result<(), StoreError> {
        self.flush_families(&Family::ALL)
    }

    /// Writes the memtables of some families to tables on disk. Waits for it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn flush_families(&self, families: &[Family]) -> Result<(), StoreError> {
        for family in families {
            self.db.flush_cf(self.family(*family)).map_err(|error| StoreError::new(&error))?;
        }
        Ok(())
    }

    /// An iterator over one family as of now. Only on threads that may wait.
    pub fn iter(&self, family: Family) -> DBRawIterator<'_> {
        let mut reads = options::reads();
        // Memtables that hash by whole key must still be iterated in order.
        reads.set_total_order_seek(true);
        reads.set_auto_readahead_size(true);
        // What is read ahead is on its way while the iterator is used.
        reads.set_async_io(true);
        self.db.raw_iterator_cf_opt(self.family(family), reads)
    }

    /// Stops background work, so that closing does not wait for a long compaction.
    pub fn stop_background_work(&self) {
        self.db.cancel_all_background_work(true);
    }

    fn family(&self, family: Family) -> &ColumnFamily {
        self.db
            .cf_handle(options::family_name(family))
            .expect("every family is opened with the database")
    }
}

/// The database as it was at one moment. Only on threads that may wait.
pub struct Frozen<'a> {
    store: &'a Store,
    reads: ReadOptions,
    snapshot: Snapshot<'a>,
}

impl std::fmt::Debug for Frozen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frozen").finish_non_exhaustive()
    }
}

impl Frozen<'_> {
    /// Reads one key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn get(
        &self,
        family: Family,
        key: &[u8],
    ) -> Result<Option<DBPinnableSlice<'_>>, StoreError> {
        let found = self.store.db.get_pinned_cf_opt(self.store.family(family), key, &self.reads);
        found.map_err(|error| StoreError::new(&error))
    }

    /// As [`Store::fetch`].
    pub fn fetch(&self, family: Family, keys: &[Vec<u8>]) {
        self.store.fetch(family, keys);
    }

    /// As [`Store::range`].
    pub fn range(&self, family: Family, begin: &[u8], end: &[u8]) -> DBRawIterator<'_> {
        let mut reads = options::reads_of_range(begin, end);
        reads.set_snapshot(&self.snapshot);
        reads.set_auto_readahead_size(true);
        reads.set_async_io(true);
        self.store.db.raw_iterator_cf_opt(self.store.family(family), reads)
    }
}

/// Records of removals that iterators of this thread have stepped over so far.
pub fn removed_skipped() -> u64 {
    // RocksDB counts this unless it is told not to.
    PerfContext::default().metric(PerfMetric::InternalDeleteSkippedCount)
}

/// What stopped an iterator: `Ok(true)`: nothing, it is at its end; `Ok(false)`: only the device
/// knows what follows.
///
/// # Errors
/// [`StoreError`].
pub fn is_at_end(iter: &DBRawIterator<'_>) -> Result<bool, StoreError> {
    match iter.status() {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Incomplete => Ok(false),
        Err(error) => Err(StoreError::new(&error)),
    }
}

fn open_error(path: &Path, error: &rocksdb::Error) -> OpenError {
    let (path, message) = (path.to_owned(), error.to_string());
    if message.contains("lock") && message.contains("LOCK") {
        return OpenError::InUse(path);
    }
    match error.kind() {
        ErrorKind::Corruption => OpenError::Damaged { path, message },
        _ => OpenError::Other { path, message },
    }
}
