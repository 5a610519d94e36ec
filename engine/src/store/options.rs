//! Every RocksDB option that differs from its default, with the reason in a few words. Those with an
//! alternative are measured: see `docs/rocksdb.md`.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType,
    DBRecoveryMode, DataBlockIndexType, Options, ReadOptions, SliceTransform,
};

use super::tuning::{BlockCache, Compression, Filter};
use crate::batch::Family;
use crate::key::META_PREFIX_LEN;
use crate::{EngineConfig, Memtable};

/// Levels of a family: RocksDB's default.
const LEVELS: usize = 7;
/// How often the rate limiter gives out what may be written, in microseconds, and one in how many times
/// it prefers who has the lower priority: RocksDB's defaults.
const RATE_REFILL_USEC: i64 = 100_000;
const RATE_FAIRNESS: i32 = 10;

/// What all column families share.
pub(super) struct Shared {
    caches: Vec<Cache>,
}

impl Shared {
    pub(super) fn new(config: &EngineConfig) -> Self {
        let count = if config.tuning.dedicated_caches { 2 } else { 1 };
        let bytes = config.block_cache_bytes / count;
        let cache = || match config.tuning.block_cache {
            BlockCache::Lru => Cache::new_lru_cache(bytes),
            // Entries are of many sizes: the cache finds out.
            BlockCache::HyperClock => Cache::new_hyper_clock_cache(bytes, 0),
        };
        Self { caches: std::iter::repeat_with(cache).take(count).collect() }
    }

    /// Changes the size of all caches together.
    pub(super) fn set_cache_bytes(&self, bytes: usize) {
        for cache in &self.caches {
            cache.clone().set_capacity(bytes / self.caches.len());
        }
    }

    /// The cache of a family's blocks.
    fn cache(&self, is_of_elements: bool) -> &Cache {
        let dedicated = self.caches.last().filter(|_| is_of_elements);
        dedicated.or_else(|| self.caches.first()).expect("there is at least one")
    }
}

/// The name of a column family.
pub(super) fn family_name(family: Family) -> &'static str {
    match family {
        Family::Meta => "meta",
        Family::Expiry => "expiry",
        Family::System => "system",
        Family::Data => "data",
        Family::Score => "score",
    }
}

/// Options of the database as a whole.
pub(super) fn database(config: &EngineConfig) -> Options {
    let mut options = Options::default();
    if let Some(device) = &config.device {
        options.set_env(device.env());
    }
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // Table files stay open: a lookup must not open a file.
    options.set_max_open_files(-1);
    options.increase_parallelism(config.background_jobs);
    let tuning = &config.tuning;
    // Write-back of dirty pages in small pieces, so that an fsync of the log finds little to do.
    options.set_bytes_per_sync(sync_bytes(tuning.sync_bytes));
    options.set_wal_bytes_per_sync(sync_bytes(tuning.sync_bytes));
    // There from the start, so that it can be lowered while the database is open.
    options.set_ratelimiter(rate_limit(tuning.rate_limit_bytes), RATE_REFILL_USEC, RATE_FAIRNESS);
    options.set_max_subcompactions(tuning.subcompactions);
    options.set_compaction_readahead_size(tuning.compaction_read_ahead_bytes);
    if config.statistics {
        options.enable_statistics();
    }
    // A torn last record was never acknowledged under any sync policy that promises more; anything
    // damaged before it is an error, never silently dropped.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    // With several column families, bound what recovery has to replay.
    options.set_max_total_wal_size(1 << 30);
    options.set_keep_log_file_num(5);
    options.set_max_log_file_size(16 << 20);
    // Batches of several workers go into the memtables at once; with pipelined writes, while the next ones go
    // into the log.
    options.set_allow_concurrent_memtable_write(true);
    options.set_enable_write_thread_adaptive_yield(true);
    options.set_enable_pipelined_write(tuning.pipelined_write);
    // Shutdown keeps the log; flushing memtables first would only make it slow.
    options.set_avoid_unnecessary_blocking_io(true);
    options.set_paranoid_checks(true);
    options.set_stats_dump_period_sec(0);
    options
}

/// All column families, in the order that [`Family`] numbers them.
pub(super) fn families(config: &EngineConfig, shared: &Shared) -> Vec<ColumnFamilyDescriptor> {
    let of_elements =
        |family| ColumnFamilyDescriptor::new(family_name(family), elements(family, config, shared));
    vec![
        ColumnFamilyDescriptor::new("default", unused()),
        ColumnFamilyDescriptor::new(family_name(Family::Meta), meta(config, shared)),
        ColumnFamilyDescriptor::new(family_name(Family::Expiry), small(config, shared)),
        ColumnFamilyDescriptor::new(family_name(Family::System), small(config, shared)),
        of_elements(Family::Data),
        of_elements(Family::Score),
    ]
}

/// Options of reads.
pub(super) fn reads() -> ReadOptions {
    let mut reads = ReadOptions::default();
    reads.set_verify_checksums(true);
    reads
}

/// Options of an iterator over `begin .. end`.
pub(super) fn reads_of_range(begin: &[u8], end: &[u8]) -> ReadOptions {
    let mut reads = reads();
    reads.set_iterate_lower_bound(begin);
    reads.set_iterate_upper_bound(end);
    // Filters of prefixes know of one prefix only.
    let prefix = |key: &[u8]| key.first_chunk::<META_PREFIX_LEN>().copied();
    reads.set_total_order_seek(prefix(begin).is_none() || prefix(begin) != prefix(end));
    reads
}

fn meta(config: &EngineConfig, shared: &Shared) -> Options {
    let mut options = Options::default();
    match config.memtable {
        Memtable::SkipList => filter_memtable(&mut options, config),
        Memtable::Hash => {
            let buckets = config.write_buffer_bytes / config.tuning.memtable_entry_bytes;
            options = coney_memtable::with_hash_memtable(options, buckets)
                .expect("RocksDB knows the memtable, which was just registered");
        }
    }
    leveled(&mut options, config);
    blobs(&mut options, config, shared.cache(false));
    let mut table = table(config, shared.cache(false));
    if config.tuning.hash_index {
        // Point lookups: a hash index in each data block instead of a binary search.
        table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        table.set_data_block_hash_ratio(0.75);
    }
    options.set_block_based_table_factory(&table);
    options
}

/// A lookup of a key that is not in a skip list ends at a bloom filter.
fn filter_memtable(options: &mut Options, config: &EngineConfig) {
    if config.tuning.memtable_filter {
        options.set_memtable_prefix_bloom_ratio(0.1);
        options.set_memtable_whole_key_filtering(true);
    }
}

/// Sizes and compression of families that hold the data itself.
fn leveled(options: &mut Options, config: &EngineConfig) {
    let tuning = &config.tuning;
    options.set_write_buffer_size(config.write_buffer_bytes);
    // Room to flush two while a third fills, before writes have to wait.
    options.set_max_write_buffer_number(tuning.memtables_max);
    options.set_target_file_size_base(tuning.table_bytes);
    options.set_max_bytes_for_level_base(tuning.level_base_bytes);
    options.set_max_compaction_bytes(tuning.table_bytes * tuning.compaction_tables_max);
    options.set_level_compaction_dynamic_level_bytes(tuning.dynamic_levels);
    options.set_disable_auto_compactions(!tuning.auto_compaction);
    // The first levels hold little and change often: compressing them costs more than it saves.
    let levels: Vec<_> = of_levels(&tuning.compression).map(compression).collect();
    options.set_compression_per_level(&levels);
    options.set_bottommost_compression_type(compression(tuning.compression_bottommost));
}

/// Large values apart.
fn blobs(options: &mut Options, config: &EngineConfig, cache: &Cache) {
    let blobs = &config.tuning.blobs;
    options.set_enable_blob_files(blobs.threshold_bytes > 0);
    options.set_min_blob_size(blobs.threshold_bytes);
    options.set_blob_file_size(blobs.file_bytes);
    options.set_blob_compression_type(compression(blobs.compression));
    // Also when no new ones are made: it brings what is there back to the tables.
    options.set_enable_blob_gc(true);
    options.set_blob_gc_age_cutoff(f64::from(blobs.gc_percent) / 100.0);
    options.set_blob_gc_force_threshold(blobs.gc_force_ratio);
    options.set_blob_compaction_readahead_size(blobs.read_ahead_bytes);
    // Workers read from memory alone: without a cache they would never find a value.
    options.set_blob_cache(cache);
}

fn compression(compression: Compression) -> DBCompressionType {
    match compression {
        Compression::None => DBCompressionType::None,
        Compression::Lz4 => DBCompressionType::Lz4,
        Compression::Zstd => DBCompressionType::Zstd,
    }
}

/// The compression of each level.
fn of_levels(given: &[Compression]) -> impl Iterator<Item = Compression> {
    let last = given.last().copied().unwrap_or(Compression::None);
    given.iter().copied().chain(std::iter::repeat(last)).take(LEVELS)
}

/// A rate limit as RocksDB has it, which does not know 0.
pub(super) fn rate_limit(bytes_a_second: u64) -> i64 {
    match i64::try_from(bytes_a_second) {
        Ok(0) | Err(_) => coney_memtable::NO_RATE_LIMIT,
        Ok(limit) => limit.min(coney_memtable::NO_RATE_LIMIT),
    }
}

/// Bytes between write-backs as RocksDB has it, which takes 0 for a default of its own where there is a
/// rate limiter.
fn sync_bytes(bytes: u64) -> u64 {
    const NEVER: u64 = 1 << 50;
    if bytes == 0 { NEVER } else { bytes }
}

/// Options of the database that may change while it is open, as texts.
pub(super) fn live_of_database(config: &EngineConfig) -> Vec<(&'static str, String)> {
    vec![
        ("max_background_jobs", config.background_jobs.to_string()),
        ("bytes_per_sync", sync_bytes(config.tuning.sync_bytes).to_string()),
        ("wal_bytes_per_sync", sync_bytes(config.tuning.sync_bytes).to_string()),
    ]
}

/// The same of a family.
pub(super) fn live(family: Family, config: &EngineConfig) -> Vec<(&'static str, String)> {
    let tuning = &config.tuning;
    let (has_data, has_blobs) = match family {
        Family::Expiry | Family::System => (false, false),
        Family::Score => (true, false),
        Family::Meta | Family::Data => (true, true),
    };
    let mut options = Vec::new();
    if has_data {
        let levels: Vec<_> = of_levels(&tuning.compression).map(Compression::word).collect();
        options.extend([
            ("write_buffer_size", config.write_buffer_bytes.to_string()),
            ("disable_auto_compactions", (!tuning.auto_compaction).to_string()),
            ("compression_per_level", levels.join(":")),
            ("bottommost_compression", tuning.compression_bottommost.word().to_owned()),
        ]);
    }
    if has_blobs {
        let blobs = &tuning.blobs;
        let cutoff = f64::from(blobs.gc_percent) / 100.0;
        options.extend([
            ("enable_blob_files", (blobs.threshold_bytes > 0).to_string()),
            ("min_blob_size", blobs.threshold_bytes.to_string()),
            ("blob_garbage_collection_age_cutoff", cutoff.to_string()),
        ]);
    }
    options
}

/// Elements: read one by one and in ranges, never across collections.
fn elements(family: Family, config: &EngineConfig, shared: &Shared) -> Options {
    let mut options = Options::default();
    match config.memtable {
        Memtable::SkipList => filter_memtable(&mut options, config),
        // Ranges need an ordered memtable.
        Memtable::Hash => {
            options = coney_memtable::with_tree_memtable(options)
                .expect("RocksDB knows the memtable, which was just registered");
        }
    }
    leveled(&mut options, config);
    if family == Family::Data {
        blobs(&mut options, config, shared.cache(true));
    }
    if config.tuning.element_prefix {
        // Table, slot and hash of the key: see [`reads_of_range`] for what this demands of iterators.
        options.set_prefix_extractor(SliceTransform::create_fixed_prefix(META_PREFIX_LEN));
    }
    options.set_block_based_table_factory(&table(config, shared.cache(true)));
    options
}

/// The family that RocksDB insists on and that stays empty.
fn unused() -> Options {
    let mut options = Options::default();
    // After a full disk, RocksDB resumes writes once the largest write buffer of all families is
    // free: the default of 64 MiB would keep small disks read-only for good.
    options.set_write_buffer_size(1 << 20);
    options
}

/// Families with small keys, few reads and no hot spots.
fn small(config: &EngineConfig, shared: &Shared) -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(16 << 20);
    options.set_block_based_table_factory(&table(config, shared.cache(false)));
    options
}

fn table(config: &EngineConfig, cache: &Cache) -> BlockBasedOptions {
    let tuning = &config.tuning;
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(tuning.block_bytes);
    table.set_format_version(6);
    let bits = f64::from(tuning.filter_bits);
    match tuning.filter {
        Filter::None => {}
        Filter::Bloom => table.set_bloom_filter(bits, false),
        Filter::Ribbon => table.set_ribbon_filter(bits),
    }
    table.set_optimize_filters_for_memory(true);
    table.set_cache_index_and_filter_blocks(true);
    if tuning.partitioned_index {
        // Index and filters in partitions, inside the block cache and its bound, with the top level
        // pinned; those of L0, which every lookup asks, are pinned too.
        table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_partition_filters(tuning.partitioned_filters);
        table.set_metadata_block_size(tuning.partition_bytes);
        table.set_pin_top_level_index_and_filter(true);
    }
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table
}
