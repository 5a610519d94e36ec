//! What could have been chosen instead.

use coney_engine::{BlockCache, Compression, EngineConfig, Filter, Memtable};

use crate::workload::Kind;

/// An option, another value of it, and how to get that.
pub(crate) type Alternative = (Kind, &'static str, &'static str, fn(&mut EngineConfig));

/// One for each row of the table.
pub(crate) const ALL: &[Alternative] = &[
    (Kind::Small, "memtable", "skip list, filter", |config| config.memtable = Memtable::SkipList),
    (Kind::Small, "memtable", "skip list, no filter", |config| {
        config.memtable = Memtable::SkipList;
        config.tuning.memtable_filter = false;
    }),
    (Kind::Small, "write buffer", "a quarter", |config| config.write_buffer_bytes /= 4),
    (Kind::Small, "write buffer", "four times", |config| config.write_buffer_bytes *= 4),
    (Kind::Small, "memtables", "2", |config| config.tuning.memtables_max = 2),
    (Kind::Small, "data-block index", "hash table", |config| config.tuning.hash_index = true),
    (Kind::Small, "block size", "1 KiB", |config| config.tuning.block_bytes = 1 << 10),
    (Kind::Small, "block size", "8 KiB", |config| config.tuning.block_bytes = 8 << 10),
    (Kind::Small, "block size", "16 KiB", |config| config.tuning.block_bytes = 16 << 10),
    (Kind::Small, "filter", "none", |config| config.tuning.filter = Filter::None),
    (Kind::Small, "filter", "Bloom, 6 bits", |config| config.tuning.filter_bits = 6),
    (Kind::Small, "filter", "Bloom, 16 bits", |config| config.tuning.filter_bits = 16),
    (Kind::Small, "filter", "ribbon, 10 bits", |config| config.tuning.filter = Filter::Ribbon),
    (Kind::Small, "index and filter", "in one piece", |config| {
        config.tuning.partitioned_index = false;
    }),
    (Kind::Small, "index and filter", "filter in one piece", |config| {
        config.tuning.partitioned_filters = false;
    }),
    (Kind::Small, "index and filter", "pieces of 32 KiB", |config| {
        config.tuning.partition_bytes = 32 << 10;
    }),
    (Kind::Small, "compression", "none at all", |config| {
        config.tuning.compression = vec![Compression::None];
        config.tuning.compression_bottommost = Compression::None;
    }),
    (Kind::Small, "compression", "LZ4 everywhere", |config| {
        config.tuning.compression = vec![Compression::Lz4];
        config.tuning.compression_bottommost = Compression::Lz4;
    }),
    (Kind::Small, "compression", "LZ4 in the last level", |config| {
        config.tuning.compression_bottommost = Compression::Lz4;
    }),
    (Kind::Small, "compression", "Zstd everywhere", |config| {
        config.tuning.compression = vec![Compression::Zstd];
    }),
    (Kind::Small, "levels", "sizes from the first", |config| config.tuning.dynamic_levels = false),
    (Kind::Small, "first level", "a quarter", |config| config.tuning.level_base_bytes /= 4),
    (Kind::Small, "one compaction", "4 tables", |config| config.tuning.compaction_tables_max = 4),
    (Kind::Small, "subcompactions", "2", |config| config.tuning.subcompactions = 2),
    (Kind::Small, "read-ahead", "none", |config| config.tuning.compaction_read_ahead_bytes = 0),
    (Kind::Small, "background jobs", "4", |config| config.background_jobs = 4),
    (Kind::Small, "rate limit", "64 MiB/s", |config| config.tuning.rate_limit_bytes = 64 << 20),
    (Kind::Small, "pipelined write", "off", |config| config.tuning.pipelined_write = false),
    (Kind::Small, "bytes-per-sync", "off", |config| config.tuning.sync_bytes = 0),
    (Kind::Small, "block cache", "LRU", |config| {
        config.tuning.block_cache = BlockCache::Lru;
    }),
    (Kind::Small, "block cache", "two of half the size", |config| {
        config.tuning.dedicated_caches = true;
    }),
    (Kind::Small, "blob files", "from 256 B on", |config| {
        config.tuning.blobs.threshold_bytes = 256;
    }),
    (Kind::Large, "blob files", "none", |config| config.tuning.blobs.threshold_bytes = 0),
    (Kind::Large, "blob files", "from 1 KiB on", |config| {
        config.tuning.blobs.threshold_bytes = 1 << 10;
    }),
    (Kind::Large, "blob files", "from 16 KiB on", |config| {
        config.tuning.blobs.threshold_bytes = 16 << 10;
    }),
    (Kind::Large, "blob GC", "none", |config| config.tuning.blobs.gc_percent = 0),
    (Kind::Large, "blob GC", "50 %", |config| config.tuning.blobs.gc_percent = 50),
    (Kind::Large, "blob GC", "100 %", |config| config.tuning.blobs.gc_percent = 100),
    (Kind::Large, "blob GC", "forced at 1.0", |config| config.tuning.blobs.gc_force_ratio = 1.0),
    (Kind::Large, "blob read-ahead", "none", |config| config.tuning.blobs.read_ahead_bytes = 0),
    (Kind::Large, "blob compression", "none", |config| {
        config.tuning.blobs.compression = Compression::None;
    }),
    (Kind::Large, "blob compression", "LZ4", |config| {
        config.tuning.blobs.compression = Compression::Lz4;
    }),
    (Kind::Large, "blob file size", "a quarter", |config| config.tuning.blobs.file_bytes /= 4),
    (Kind::Large, "blob file size", "four times", |config| config.tuning.blobs.file_bytes *= 4),
    (Kind::Large, "block size", "16 KiB", |config| config.tuning.block_bytes = 16 << 10),
    (Kind::Large, "write buffer", "four times", |config| config.write_buffer_bytes *= 4),
    (Kind::Ranges, "prefix extractor", "key of the collection", |config| {
        config.tuning.element_prefix = true;
    }),
    (Kind::Ranges, "memtable", "skip list, filter", |config| config.memtable = Memtable::SkipList),
    (Kind::Ranges, "block size", "16 KiB", |config| config.tuning.block_bytes = 16 << 10),
    (Kind::Ranges, "block cache", "two of half the size", |config| {
        config.tuning.dedicated_caches = true;
    }),
];
