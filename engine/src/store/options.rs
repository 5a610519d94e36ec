//! Every RocksDB option that differs from its default, with the reason.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType,
    DBRecoveryMode, DataBlockIndexType, Options, ReadOptions,
};

use crate::batch::Family;
use crate::{EngineConfig, Memtable};

/// What an entry of a few dozen bytes takes up in a memtable, to size its hash table.
const MEMTABLE_ENTRY_BYTES: usize = 128;

/// What all column families share.
pub(super) struct Shared {
    block_cache: Cache,
}

impl Shared {
    pub(super) fn new(config: &EngineConfig) -> Self {
        Self { block_cache: Cache::new_lru_cache(config.block_cache_bytes) }
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
    // Write-back of dirty pages in small pieces, so that an fsync of the log finds little to do.
    options.set_bytes_per_sync(1 << 20);
    options.set_wal_bytes_per_sync(1 << 20);
    // A torn last record was never acknowledged under any sync policy that promises more; anything
    // damaged before it is an error, never silently dropped.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    // With several column families, bound what recovery has to replay.
    options.set_max_total_wal_size(1 << 30);
    options.set_keep_log_file_num(5);
    options.set_max_log_file_size(16 << 20);
    // One writer at a time commits a batch of a whole iteration: nothing to insert concurrently.
    options.set_allow_concurrent_memtable_write(false);
    options.set_enable_write_thread_adaptive_yield(true);
    // Shutdown keeps the log; flushing memtables first would only make it slow.
    options.set_avoid_unnecessary_blocking_io(true);
    options.set_paranoid_checks(true);
    options.set_stats_dump_period_sec(0);
    options
}

/// All column families, in the order that [`Family`] numbers them.
pub(super) fn families(config: &EngineConfig, shared: &Shared) -> Vec<ColumnFamilyDescriptor> {
    vec![
        ColumnFamilyDescriptor::new("default", unused()),
        ColumnFamilyDescriptor::new(family_name(Family::Meta), meta(config, shared)),
        ColumnFamilyDescriptor::new(family_name(Family::Expiry), small(shared)),
        ColumnFamilyDescriptor::new(family_name(Family::System), small(shared)),
        ColumnFamilyDescriptor::new(family_name(Family::Data), elements(config, shared)),
        ColumnFamilyDescriptor::new(family_name(Family::Score), elements(config, shared)),
    ]
}

/// Options of reads.
pub(super) fn reads() -> ReadOptions {
    let mut reads = ReadOptions::default();
    reads.set_verify_checksums(true);
    reads
}

fn meta(config: &EngineConfig, shared: &Shared) -> Options {
    let mut options = Options::default();
    match config.memtable {
        Memtable::SkipList => {
            // A lookup of a key that is not in a memtable ends at a bloom filter.
            options.set_memtable_prefix_bloom_ratio(0.1);
            options.set_memtable_whole_key_filtering(true);
        }
        Memtable::Hash => {
            let buckets = config.write_buffer_bytes / MEMTABLE_ENTRY_BYTES;
            options = coney_memtable::with_hash_memtable(options, buckets)
                .expect("RocksDB knows the memtable, which was just registered");
        }
    }
    leveled(&mut options, config);
    let mut table = table(shared);
    // Point lookups: a hash index in each data block instead of a binary search.
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    table.set_data_block_hash_ratio(0.75);
    options.set_block_based_table_factory(&table);
    options
}

/// Sizes and compression of families that hold the data itself.
fn leveled(options: &mut Options, config: &EngineConfig) {
    options.set_write_buffer_size(config.write_buffer_bytes);
    // Room to flush two while a third fills, before writes have to wait.
    options.set_max_write_buffer_number(4);
    options.set_target_file_size_base(64 << 20);
    options.set_max_bytes_for_level_base(512 << 20);
    options.set_level_compaction_dynamic_level_bytes(true);
    // Half of all levels hold little and change often: compressing them costs more than it saves.
    options.set_compression_per_level(&[
        DBCompressionType::None,
        DBCompressionType::None,
        DBCompressionType::Lz4,
        DBCompressionType::Lz4,
        DBCompressionType::Lz4,
        DBCompressionType::Lz4,
        DBCompressionType::Lz4,
    ]);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
}

/// Elements: read one by one and in ranges, never across collections.
fn elements(config: &EngineConfig, shared: &Shared) -> Options {
    let mut options = Options::default();
    match config.memtable {
        Memtable::SkipList => {
            options.set_memtable_prefix_bloom_ratio(0.1);
            options.set_memtable_whole_key_filtering(true);
        }
        // Ranges need an ordered memtable.
        Memtable::Hash => {
            options = coney_memtable::with_tree_memtable(options)
                .expect("RocksDB knows the memtable, which was just registered");
        }
    }
    leveled(&mut options, config);
    options.set_block_based_table_factory(&table(shared));
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
fn small(shared: &Shared) -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(16 << 20);
    options.set_block_based_table_factory(&table(shared));
    options
}

fn table(shared: &Shared) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&shared.block_cache);
    table.set_block_size(4 << 10);
    table.set_format_version(6);
    table.set_bloom_filter(10.0, false);
    table.set_optimize_filters_for_memory(true);
    // Index and filters in partitions, inside the block cache and its bound, with the top level
    // pinned; those of L0, which every lookup asks, are pinned too.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_top_level_index_and_filter(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table
}
