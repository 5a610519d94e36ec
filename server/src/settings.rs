//! The configuration from its three sources: defaults, the file, the command line.

use std::path::{Path, PathBuf};

use coney_control::config::{
    Compression, Config, FileError, Memtable, RocksdbPreset, SettingError, file,
};
use coney_engine::{Blobs, Engine, EngineConfig, Filter, Tuning};
use coney_xdp_prog::RulesError;

use crate::access;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system answered.
        source: std::io::Error,
    },
    /// The file is wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// The command line is wrong.
    #[error("{flag}: {source}")]
    Flag {
        /// The flag.
        flag: String,
        /// What is wrong.
        source: SettingError,
    },
    /// The access lists contradict each other or are too long.
    #[error("access-list-allow and access-list-deny: {0}")]
    Access(#[from] RulesError),
    /// `--set` without `=`.
    #[error("--set {0}: key=value is expected, such as --set hot-cache=1gb")]
    NoEquals(String),
}

/// One setting from the command line.
#[derive(Debug)]
pub(crate) struct Flag {
    /// As the user wrote it.
    pub(crate) flag: String,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// What the engine is opened with, but for the number of workers, the seed and the device.
pub(crate) fn of_engine(config: &Config) -> EngineConfig {
    let to_usize = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    EngineConfig {
        block_cache_bytes: to_usize(config.block_cache),
        write_buffer_bytes: to_usize(config.write_buffer),
        hot_cache_bytes: config.hot_cache,
        tables: config.databases,
        background_jobs: i32::try_from(config.background_jobs).unwrap_or(i32::MAX),
        memtable: match config.memtable {
            Memtable::SkipList => coney_engine::Memtable::SkipList,
            Memtable::Hash => coney_engine::Memtable::Hash,
        },
        tuning: tuning(config),
        ..EngineConfig::new(&config.dir)
    }
}

/// What the preset says, and over it the settings of their own.
fn tuning(config: &Config) -> Tuning {
    let preset = match config.rocksdb_preset {
        RocksdbPreset::Small => Tuning::small(),
        RocksdbPreset::Large => Tuning::large(),
    };
    let block_size = config.block_size.and_then(|bytes| usize::try_from(bytes).ok());
    Tuning {
        block_bytes: block_size.unwrap_or(preset.block_bytes),
        filter: if config.bloom_bits == 0 { Filter::None } else { preset.filter },
        filter_bits: config.bloom_bits,
        partitioned_filters: config.partitioned_filters,
        compression: config.compression.iter().copied().map(compression).collect(),
        compression_bottommost: compression(config.compression_bottommost),
        auto_compaction: config.auto_compaction,
        rate_limit_bytes: config.compaction_rate_limit,
        sync_bytes: config.bytes_per_sync,
        blobs: Blobs {
            threshold_bytes: config.blob_threshold.unwrap_or(preset.blobs.threshold_bytes),
            gc_percent: config.blob_gc_percent,
            ..preset.blobs
        },
        ..preset
    }
}

fn compression(compression: Compression) -> coney_engine::Compression {
    match compression {
        Compression::None => coney_engine::Compression::None,
        Compression::Lz4 => coney_engine::Compression::Lz4,
        Compression::Zstd => coney_engine::Compression::Zstd,
    }
}

/// Tells the engine what may change while it runs.
pub(crate) fn apply(config: &Config, engine: &Engine) {
    let password = config.requirepass.as_bytes();
    engine.acl().set_requirepass((!password.is_empty()).then(|| password.to_vec()));
    engine.set_value_len_max(config.proto_max_bulk_len.into());
    engine.set_tracked_keys_max(config.tracking_table_max_keys);
    engine.set_notified(&config.notify_keyspace_events);
    for (name, value) in config.encoding_limits.named() {
        let set = engine.encoding_limits().set(name, value);
        assert!(set.is_ok(), "the configuration knows the limits of {name}: {set:?}");
    }
}

/// Reads the file, if there is one, and applies the flags.
pub(crate) fn load(path: Option<&Path>, flags: &[Flag]) -> Result<Config, SettingsError> {
    let mut config = Config::default();
    if let Some(path) = path {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        file::read(&mut config, &path.display().to_string(), &text)?;
    }
    for Flag { flag, key, value } in flags {
        config
            .set(key, value)
            .map_err(|source| SettingsError::Flag { flag: flag.clone(), source })?;
    }
    access::rules(&config)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_engine() {
        let engine = of_engine(&Config::default());
        let own = EngineConfig::new("./data");
        assert_eq!(engine.tuning, own.tuning);
        assert_eq!(engine.block_cache_bytes, own.block_cache_bytes);
        assert_eq!(engine.write_buffer_bytes, own.write_buffer_bytes);
        assert_eq!(engine.background_jobs, own.background_jobs);
    }

    #[test]
    fn a_preset_gives_way_to_a_setting_of_its_own() {
        let mut config = Config::default();
        config.set("rocksdb-preset", "large").unwrap();
        assert_eq!(of_engine(&config).tuning, Tuning::large());
        config.set("blob-threshold", "0").unwrap();
        config.set("block-size", "32kb").unwrap();
        let tuning = of_engine(&config).tuning;
        assert_eq!(tuning.blobs.threshold_bytes, 0);
        assert_eq!(tuning.block_bytes, 32 << 10);
    }
}
