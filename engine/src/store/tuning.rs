//! How RocksDB keeps the data: every option that has an alternative worth measuring. The page
//! `docs/rocksdb.md` has the reasons and the figures, `bench/options` makes them.

/// How the blocks of a level are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Not at all.
    None,
    /// Fast.
    Lz4,
    /// Small.
    Zstd,
}

impl Compression {
    /// RocksDB's word in a text of options.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::None => "kNoCompression",
            Self::Lz4 => "kLZ4Compression",
            Self::Zstd => "kZSTD",
        }
    }
}

/// What tells that a key is not in a table without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filter {
    /// Nothing.
    None,
    /// A Bloom filter.
    Bloom,
    /// A ribbon filter: smaller for the same error, dearer to build.
    Ribbon,
}

/// Which of RocksDB's caches keeps blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockCache {
    /// Least recently used goes first; a lock for each of up to 64 shards.
    Lru,
    /// CLOCK without locks.
    HyperClock,
}

/// Large values apart from their keys, in files that compactions do not rewrite (BlobDB). Families
/// `meta` and `data`.
#[derive(Clone, PartialEq, Debug)]
pub struct Blobs {
    /// Values of at least so many bytes, in the encoding of `docs/storage-format.md`; 0: none.
    pub threshold_bytes: u64,
    /// Size of a blob file.
    pub file_bytes: u64,
    /// How each value is compressed.
    pub compression: Compression,
    /// Compactions move values out of the oldest so many of a hundred blob files.
    pub gc_percent: u8,
    /// And compactions are made for it when this part of these files is dead.
    pub gc_force_ratio: f64,
    /// What a compaction reads of a blob file at once when it moves values, in bytes.
    pub read_ahead_bytes: u64,
}

/// See the module page. Sizes of memtables and caches, and threads, are in
/// [`EngineConfig`](crate::EngineConfig).
#[derive(Clone, PartialEq, Debug)]
pub struct Tuning {
    /// Blocks of tables before compression, in bytes.
    pub block_bytes: usize,
    /// Which cache.
    pub block_cache: BlockCache,
    /// One cache for elements and one for the rest, of half the size each, instead of one for both.
    pub dedicated_caches: bool,
    /// Filters of tables.
    pub filter: Filter,
    /// Their size: one key in about 0.62^bits is looked up in vain.
    pub filter_bits: u8,
    /// Indexes of tables in partitions.
    pub partitioned_index: bool,
    /// Filters of tables too.
    pub partitioned_filters: bool,
    /// Size of a partition, in bytes.
    pub partition_bytes: usize,
    /// A hash index in each block of keys.
    pub hash_index: bool,
    /// A filter in front of memtables that are skip lists.
    pub memtable_filter: bool,
    /// What an entry takes up in a memtable, in bytes, to size its hash table.
    pub memtable_entry_bytes: usize,
    /// Memtables of one family that may exist before writes wait.
    pub memtables_max: i32,
    /// Of each level from 0 on; the last one holds for all that follow.
    pub compression: Vec<Compression>,
    /// Of the last level that has something.
    pub compression_bottommost: Compression,
    /// Sizes of levels follow from the size of the last one.
    pub dynamic_levels: bool,
    /// Size of the first level behind L0, in bytes.
    pub level_base_bytes: u64,
    /// Size of a table, in bytes.
    pub table_bytes: u64,
    /// Tables of one compaction, in tables of `table_bytes`.
    pub compaction_tables_max: u64,
    /// Threads of one compaction.
    pub subcompactions: u32,
    /// What a compaction reads of a table at once, in bytes.
    pub compaction_read_ahead_bytes: usize,
    /// Compactions start by themselves.
    pub auto_compaction: bool,
    /// What flushes and compactions may write a second, in bytes; 0: any number.
    pub rate_limit_bytes: u64,
    /// The log and the memtable of one batch while the next one is in the log.
    pub pipelined_write: bool,
    /// Dirty pages of tables and of the log are written back after so many bytes; 0: as the operating
    /// system likes.
    pub sync_bytes: u64,
    /// Filters of tables of elements know whose elements there are, so that a range of one collection
    /// passes by tables without it.
    pub element_prefix: bool,
    /// Values apart from keys.
    pub blobs: Blobs,
}

impl Tuning {
    /// For values up to a few KiB.
    pub fn small() -> Self {
        Self {
            block_bytes: 4 << 10,
            block_cache: BlockCache::HyperClock,
            dedicated_caches: false,
            filter: Filter::Bloom,
            filter_bits: 10,
            partitioned_index: true,
            partitioned_filters: true,
            partition_bytes: 4 << 10,
            hash_index: false,
            memtable_filter: true,
            memtable_entry_bytes: 128,
            memtables_max: 4,
            compression: vec![Compression::None, Compression::None, Compression::Lz4],
            compression_bottommost: Compression::Zstd,
            dynamic_levels: true,
            level_base_bytes: 512 << 20,
            table_bytes: 64 << 20,
            compaction_tables_max: 25,
            subcompactions: 1,
            compaction_read_ahead_bytes: 2 << 20,
            auto_compaction: true,
            rate_limit_bytes: 0,
            pipelined_write: true,
            sync_bytes: 1 << 20,
            element_prefix: false,
            blobs: Blobs {
                threshold_bytes: 0,
                file_bytes: 64 << 20,
                compression: Compression::Zstd,
                gc_percent: 25,
                gc_force_ratio: 0.5,
                read_ahead_bytes: 2 << 20,
            },
        }
    }

    /// For values of many KiB.
    pub fn large() -> Self {
        let small = Self::small();
        Self {
            memtable_entry_bytes: 2048,
            blobs: Blobs { threshold_bytes: 4608, ..small.blobs },
            ..small
        }
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self::small()
    }
}
