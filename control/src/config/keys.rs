//! The table of settings. Names are those of redis.conf where Redis has the setting.

use super::value::{
    BadValue, auto_memory, binds, choice, event_classes, integer, listen_address, memory, networks,
    output_limits, pin_cores, show_auto_memory, show_binds, show_networks, show_output_limits,
    show_pin_cores, word, yes_no,
};
use super::{
    Compression, Config, Datapath, KernelTransport, LogFormat, Memtable, RocksdbPreset, Storage,
    Sync, XdpMode,
};

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// At once, with CONFIG SET.
    Live,
    /// With the next start.
    Restart,
}

/// How a value is written in TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A number as it is.
    Number,
    /// `true` or `false` for yes and no.
    Bool,
    /// A string.
    Text,
    /// An array of strings for words separated by spaces.
    List,
}

/// One setting.
pub struct Key {
    /// Its name in the file and in CONFIG.
    pub name: &'static str,
    /// When a change takes effect.
    pub change: Change,
    /// Whether the file may have it; others exist only for CONFIG, to speak Redis's names.
    pub in_file: bool,
    pub(super) form: Form,
    /// The present value, as CONFIG GET replies it.
    pub get: fn(&Config) -> String,
    pub(super) set: fn(&mut Config, &str) -> Result<(), BadValue>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The row of a key that the file may have.
pub fn of_file(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.in_file && key.name == name)
}

/// The row of a key that CONFIG knows; case does not matter.
pub fn of_command(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name.eq_ignore_ascii_case(name))
}

const SYNC_WORDS: &[&str] = &["off", "everysec", "always"];
const APPENDFSYNC_WORDS: &[&str] = &["no", "everysec", "always"];
const SYNC: &[Sync] = &[Sync::Off, Sync::EverySec, Sync::Always];
const STORAGE_WORDS: &[&str] = &["posix", "uring", "pread", "spdk"];
const STORAGE: &[Storage] = &[Storage::Posix, Storage::Uring, Storage::Pread, Storage::Spdk];
const MEMTABLE_WORDS: &[&str] = &["skiplist", "hash"];
const MEMTABLE: &[Memtable] = &[Memtable::SkipList, Memtable::Hash];
const PRESET_WORDS: &[&str] = &["small", "large"];
const PRESET: &[RocksdbPreset] = &[RocksdbPreset::Small, RocksdbPreset::Large];
const COMPRESSION_WORDS: &[&str] = &["none", "lz4", "zstd"];
const COMPRESSION: &[Compression] = &[Compression::None, Compression::Lz4, Compression::Zstd];
/// Levels that RocksDB has.
const LEVELS_MAX: usize = 7;
const DATAPATH_WORDS: &[&str] = &["auto", "kernel", "xdp", "dpdk"];
const DATAPATH: &[Datapath] = &[Datapath::Auto, Datapath::Kernel, Datapath::Xdp, Datapath::Dpdk];
const KERNEL_TRANSPORT_WORDS: &[&str] = &["auto", "epoll", "io_uring"];
const KERNEL_TRANSPORT: &[KernelTransport] =
    &[KernelTransport::Auto, KernelTransport::Epoll, KernelTransport::IoUring];
const XDP_MODE_WORDS: &[&str] = &["auto", "native", "skb"];
const XDP_MODE: &[XdpMode] = &[XdpMode::Auto, XdpMode::Native, XdpMode::Skb];
const FORMAT_WORDS: &[&str] = &["text", "json"];
const FORMAT: &[LogFormat] = &[LogFormat::Text, LogFormat::Json];

/// The word of a [`Datapath`] in the file.
pub fn datapath_word(datapath: Datapath) -> &'static str {
    word(datapath, DATAPATH_WORDS, DATAPATH)
}

/// The word of a [`KernelTransport`] in the file.
pub fn kernel_transport_word(transport: KernelTransport) -> &'static str {
    word(transport, KERNEL_TRANSPORT_WORDS, KERNEL_TRANSPORT)
}

/// The compression of each level.
fn levels(text: &str) -> Result<Vec<Compression>, BadValue> {
    let words = text.split_ascii_whitespace();
    let levels: Vec<_> =
        words.map(|word| choice(word, COMPRESSION_WORDS, COMPRESSION)).collect::<Result<_, _>>()?;
    if (1..=LEVELS_MAX).contains(&levels.len()) {
        return Ok(levels);
    }
    Err(BadValue::Expected("one to seven of none, lz4, zstd: of each level from 0 on"))
}

fn show_levels(levels: &[Compression]) -> String {
    let words = levels.iter().map(|level| word(*level, COMPRESSION_WORDS, COMPRESSION));
    words.collect::<Vec<_>>().join(" ")
}

fn show_bool(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// A limit of [`super::EncodingLimits`]. Its name of before Redis 7 is a row too, for CONFIG alone.
macro_rules! encoding_limit {
    ($name:literal, in_file: $in_file:literal, $field:ident, $min:expr, $max:expr) => {
        Key {
            name: $name,
            change: Change::Live,
            in_file: $in_file,
            form: Form::Number,
            get: |config| config.encoding_limits.$field.to_string(),
            set: |config, text| {
                integer(text, $min, $max).map(|value| config.encoding_limits.$field = value)
            },
        }
    };
}

const LIST_SIZE_MIN: i64 = -(1 << 31);
const LIST_SIZE_MAX: i64 = (1 << 31) - 1;
const GIB: i64 = 1 << 30;
const MIB: i64 = 1 << 20;

/// Every setting, in the order of the file.
pub static KEYS: &[Key] = &[
    Key {
        name: "bind",
        change: Change::Restart,
        in_file: true,
        form: Form::List,
        get: |config| show_binds(&config.bind),
        set: |config, text| binds(text).map(|value| config.bind = value),
    },
    Key {
        name: "port",
        change: Change::Restart,
        in_file: true,
        form: Form::Number,
        get: |config| config.port.to_string(),
        set: |config, text| integer(text, 0, 65_535).map(|value| config.port = value),
    },
    Key {
        name: "tcp-backlog",
        change: Change::Restart,
        in_file: true,
        form: Form::Number,
        get: |config| config.tcp_backlog.to_string(),
        set: |config, text| integer(text, 1, 65_535).map(|value| config.tcp_backlog = value),
    },
    Key {
        name: "tcp-keepalive",
        change: Change::Restart,
        in_file: true,
        form: Form::Number,
        get: |config| config.tcp_keepalive_secs.to_string(),
        set: |config, text| integer(text, 0, 32_767).map(|value| config.tcp_keepalive_secs = value),
    },
    Key {
        name: "tcp-user-timeout",
        change: Change::Restart,
        in_file: true,
        form: Form::Number,
        get: |config| config.tcp_user_timeout_secs.to_string(),
        set: |config, text| {
            integer(text, 0, 32_767).map(|value| config.tcp_user_timeout_secs = value)
        },
    },
    Key {
        name: "write-stall-timeout",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.write_stall_timeout_secs.to_string(),
        set: |config, text| {
            integer(text, 0, i64::from(i32::MAX))
                .map(|value| config.write_stall_timeout_secs = value)
        },
    },
    Key {
        name: "timeout",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.timeout_secs.to_string(),
        set: |config, text| {
            integer(text, 0, i64::from(i32::MAX)).map(|value| config.timeout_secs = value)
        },
    },
    Key {
        name: "protected-mode",
        change: Change::Live,
        in_file: true,
        form: Form::Bool,
        get: |config| show_bool(config.protected_mode),
        set: |config, text| yes_no(text).map(|value| config.protected_mode = value),
    },
    Key {
        name: "requirepass",
        change: Change::Live,
        in_file: true,
        form: Form::Text,
        get: |config| config.requirepass.clone(),
        set: |config, text| {
            text.clone_into(&mut config.requirepass);
            Ok(())
        },
    },
    Key {
        name: "aclfile",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| config.aclfile.display().to_string(),
        set: |config, text| {
            config.aclfile = text.into();
            Ok(())
        },
    },
    Key {
        name: "maxclients",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.maxclients.to_string(),
        set: |config, text| {
            integer(text, 1, i64::from(u32::MAX)).map(|value| config.maxclients = value)
        },
    },
    Key {
        name: "proto-max-bulk-len",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.proto_max_bulk_len.to_string(),
        set: |config, text| {
            // Arguments are found by 32-bit offsets in a buffer below 4 GiB.
            memory(text, MIB, 2 * GIB).map(|value| config.proto_max_bulk_len = value)
        },
    },
    Key {
        name: "client-query-buffer-limit",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.client_query_buffer_limit.to_string(),
        set: |config, text| {
            memory(text, MIB, 3 * GIB).map(|value| config.client_query_buffer_limit = value)
        },
    },
    Key {
        name: "client-output-buffer-limit",
        change: Change::Live,
        in_file: true,
        form: Form::Text,
        get: |config| show_output_limits(&config.client_output_buffer_limit),
        set: |config, text| output_limits(&mut config.client_output_buffer_limit, text),
    },
    Key {
        name: "user",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| config.user.clone(),
        set: |config, text| {
            text.clone_into(&mut config.user);
            Ok(())
        },
    },
    Key {
        name: "group",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| config.group.clone(),
        set: |config, text| {
            text.clone_into(&mut config.group);
            Ok(())
        },
    },
    Key {
        name: "dir",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| config.dir.display().to_string(),
        set: |config, text| {
            if text.is_empty() {
                return Err(BadValue::Expected("a directory"));
            }
            config.dir = text.into();
            Ok(())
        },
    },
    Key {
        name: "storage",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| word(config.storage, STORAGE_WORDS, STORAGE).to_owned(),
        set: |config, text| {
            choice(text, STORAGE_WORDS, STORAGE).map(|value| config.storage = value)
        },
    },
    Key {
        name: "device",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| config.device.display().to_string(),
        set: |config, text| {
            config.device = text.into();
            Ok(())
        },
    },
    Key {
        name: "device-size",
        change: Change::Restart,
        in_file: true,
        form: Form::Number,
        get: |config| config.device_size.to_string(),
        set: |config, text| memory(text, 0, 1 << 50).map(|value| config.device_size = value),
    },
    Key {
        name: "spdk-config",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| config.spdk_config.display().to_string(),
        set: |config, text| {
            config.spdk_config = text.into();
            Ok(())
        },
    },
    Key {
        name: "spdk-pci",
        change: Change::Restart,
        in_file: true,
        form: Form::List,
        get: |config| config.spdk_pci.clone(),
        set: |config, text| {
            text.clone_into(&mut config.spdk_pci);
            Ok(())
        },
    },
    Key {
        name: "spdk-memory",
        change: Change::Restart,
        in_file: true,
        form: Form::Number,
        get: |config| config.spdk_memory.to_string(),
        set: |config, text| memory(text, 0, 1 << 40).map(|value| config.spdk_memory = value),
    },
    Key {
        name: "spdk-no-huge",
        change: Change::Restart,
        in_file: true,
        form: Form::Bool,
        get: |config| show_bool(config.spdk_no_huge),
        set: |config, text| yes_no(text).map(|value| config.spdk_no_huge = value),
    },
    Key {
        name: "databases",
        change: Change::Restart,
        in_file: true,
        form: Form::Number,
        get: |config| config.databases.to_string(),
        set: |config, text| integer(text, 1, 16_384).map(|value| config.databases = value),
    },
    Key {
        name: "sync",
        change: Change::Live,
        in_file: true,
        form: Form::Text,
        get: |config| word(config.sync, SYNC_WORDS, SYNC).to_owned(),
        set: |config, text| choice(text, SYNC_WORDS, SYNC).map(|value| config.sync = value),
    },
    Key {
        name: "block-cache",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.block_cache.to_string(),
        set: |config, text| memory(text, MIB, 4096 * GIB).map(|value| config.block_cache = value),
    },
    Key {
        name: "hot-cache",
        change: Change::Restart,
        in_file: true,
        form: Form::Number,
        get: |config| config.hot_cache.to_string(),
        set: |config, text| memory(text, 0, 4096 * GIB).map(|value| config.hot_cache = value),
    },
    Key {
        name: "write-buffer",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.write_buffer.to_string(),
        set: |config, text| memory(text, MIB, 16 * GIB).map(|value| config.write_buffer = value),
    },
    Key {
        name: "memtable",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| word(config.memtable, MEMTABLE_WORDS, MEMTABLE).to_owned(),
        set: |config, text| {
            choice(text, MEMTABLE_WORDS, MEMTABLE).map(|value| config.memtable = value)
        },
    },
    Key {
        name: "background-jobs",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.background_jobs.to_string(),
        set: |config, text| integer(text, 2, 256).map(|value| config.background_jobs = value),
    },
    Key {
        name: "rocksdb-preset",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| word(config.rocksdb_preset, PRESET_WORDS, PRESET).to_owned(),
        set: |config, text| {
            choice(text, PRESET_WORDS, PRESET).map(|value| config.rocksdb_preset = value)
        },
    },
    Key {
        name: "blob-threshold",
        change: Change::Live,
        in_file: true,
        form: Form::Text,
        get: |config| show_auto_memory(config.blob_threshold),
        set: |config, text| auto_memory(text, 0, GIB).map(|value| config.blob_threshold = value),
    },
    Key {
        name: "blob-gc-percent",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.blob_gc_percent.to_string(),
        set: |config, text| integer(text, 0, 100).map(|value| config.blob_gc_percent = value),
    },
    Key {
        name: "block-size",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| show_auto_memory(config.block_size),
        set: |config, text| {
            auto_memory(text, 1 << 10, 4 * MIB).map(|value| config.block_size = value)
        },
    },
    Key {
        name: "bloom-bits",
        change: Change::Restart,
        in_file: true,
        form: Form::Number,
        get: |config| config.bloom_bits.to_string(),
        set: |config, text| integer(text, 0, 30).map(|value| config.bloom_bits = value),
    },
    Key {
        name: "compression",
        change: Change::Live,
        in_file: true,
        form: Form::List,
        get: |config| show_levels(&config.compression),
        set: |config, text| levels(text).map(|value| config.compression = value),
    },
    Key {
        name: "compression-bottommost",
        change: Change::Live,
        in_file: true,
        form: Form::Text,
        get: |config| {
            word(config.compression_bottommost, COMPRESSION_WORDS, COMPRESSION).to_owned()
        },
        set: |config, text| {
            choice(text, COMPRESSION_WORDS, COMPRESSION)
                .map(|value| config.compression_bottommost = value)
        },
    },
    Key {
        name: "auto-compaction",
        change: Change::Live,
        in_file: true,
        form: Form::Bool,
        get: |config| show_bool(config.auto_compaction),
        set: |config, text| yes_no(text).map(|value| config.auto_compaction = value),
    },
    Key {
        name: "compaction-rate-limit",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.compaction_rate_limit.to_string(),
        set: |config, text| {
            memory(text, 0, 4096 * GIB).map(|value| config.compaction_rate_limit = value)
        },
    },
    Key {
        name: "bytes-per-sync",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.bytes_per_sync.to_string(),
        set: |config, text| memory(text, 0, GIB).map(|value| config.bytes_per_sync = value),
    },
    Key {
        name: "workers",
        change: Change::Restart,
        in_file: true,
        form: Form::Number,
        get: |config| config.workers.to_string(),
        set: |config, text| integer(text, 0, 256).map(|value| config.workers = value),
    },
    Key {
        name: "io-threads",
        change: Change::Restart,
        in_file: true,
        form: Form::Number,
        get: |config| config.io_threads.to_string(),
        set: |config, text| integer(text, 1, 256).map(|value| config.io_threads = value),
    },
    Key {
        name: "pin-cores",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| show_pin_cores(&config.pin_cores),
        set: |config, text| pin_cores(text).map(|value| config.pin_cores = value),
    },
    Key {
        name: "busy-poll",
        change: Change::Restart,
        in_file: true,
        form: Form::Bool,
        get: |config| show_bool(config.busy_poll),
        set: |config, text| yes_no(text).map(|value| config.busy_poll = value),
    },
    Key {
        name: "spin-us",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.spin_us.to_string(),
        set: |config, text| integer(text, 0, 1_000_000).map(|value| config.spin_us = value),
    },
    Key {
        name: "datapath",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| datapath_word(config.datapath).to_owned(),
        set: |config, text| {
            choice(text, DATAPATH_WORDS, DATAPATH).map(|value| config.datapath = value)
        },
    },
    Key {
        name: "kernel-transport",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| kernel_transport_word(config.kernel_transport).to_owned(),
        set: |config, text| {
            choice(text, KERNEL_TRANSPORT_WORDS, KERNEL_TRANSPORT)
                .map(|value| config.kernel_transport = value)
        },
    },
    Key {
        name: "interface",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| config.interface.clone(),
        set: |config, text| {
            // IFNAMSIZ, from linux/if.h, counts the terminating zero.
            if text.len() > 15 || text.contains(['/', ' ']) {
                return Err(BadValue::Expected("the name of a network interface, such as eth0"));
            }
            text.clone_into(&mut config.interface);
            Ok(())
        },
    },
    Key {
        name: "xdp-mode",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| word(config.xdp_mode, XDP_MODE_WORDS, XDP_MODE).to_owned(),
        set: |config, text| {
            choice(text, XDP_MODE_WORDS, XDP_MODE).map(|value| config.xdp_mode = value)
        },
    },
    Key {
        name: "eal",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| config.eal.clone(),
        set: |config, text| {
            text.clone_into(&mut config.eal);
            Ok(())
        },
    },
    Key {
        name: "dpdk-isolate",
        change: Change::Restart,
        in_file: true,
        form: Form::Bool,
        get: |config| show_bool(config.dpdk_isolate),
        set: |config, text| yes_no(text).map(|value| config.dpdk_isolate = value),
    },
    Key {
        name: "access-list-allow",
        change: Change::Live,
        in_file: true,
        form: Form::List,
        get: |config| show_networks(&config.access_list_allow),
        set: |config, text| networks(text).map(|value| config.access_list_allow = value),
    },
    Key {
        name: "access-list-deny",
        change: Change::Live,
        in_file: true,
        form: Form::List,
        get: |config| show_networks(&config.access_list_deny),
        set: |config, text| networks(text).map(|value| config.access_list_deny = value),
    },
    Key {
        name: "syn-limit-per-source",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.syn_limit_per_source.to_string(),
        set: |config, text| {
            integer(text, 0, i64::from(u32::MAX)).map(|value| config.syn_limit_per_source = value)
        },
    },
    Key {
        name: "syn-limit-global",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.syn_limit_global.to_string(),
        set: |config, text| {
            integer(text, 0, i64::from(u32::MAX)).map(|value| config.syn_limit_global = value)
        },
    },
    encoding_limit!("hash-max-listpack-entries", in_file: true, hash_entries, 0, i64::MAX),
    encoding_limit!("hash-max-listpack-value", in_file: true, hash_value, 0, i64::MAX),
    encoding_limit!("set-max-intset-entries", in_file: true, set_intset_entries, 0, i64::MAX),
    encoding_limit!("set-max-listpack-entries", in_file: true, set_entries, 0, i64::MAX),
    encoding_limit!("set-max-listpack-value", in_file: true, set_value, 0, i64::MAX),
    encoding_limit!("zset-max-listpack-entries", in_file: true, zset_entries, 0, i64::MAX),
    encoding_limit!("zset-max-listpack-value", in_file: true, zset_value, 0, i64::MAX),
    encoding_limit!("list-max-listpack-size", in_file: true, list_size, LIST_SIZE_MIN, LIST_SIZE_MAX),
    encoding_limit!("stream-node-max-entries", in_file: true, stream_node_entries, 0, i64::MAX),
    Key {
        name: "notify-keyspace-events",
        change: Change::Live,
        in_file: true,
        form: Form::Text,
        get: |config| config.notify_keyspace_events.clone(),
        set: |config, text| event_classes(text).map(|value| config.notify_keyspace_events = value),
    },
    Key {
        name: "tracking-table-max-keys",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.tracking_table_max_keys.to_string(),
        set: |config, text| {
            integer(text, 0, i64::MAX).map(|value| config.tracking_table_max_keys = value)
        },
    },
    Key {
        name: "metrics-listen",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| config.metrics_listen.map(|address| address.to_string()).unwrap_or_default(),
        set: |config, text| listen_address(text).map(|value| config.metrics_listen = value),
    },
    Key {
        name: "slowlog-log-slower-than",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.slowlog_log_slower_than.to_string(),
        set: |config, text| {
            integer(text, -1, i64::MAX).map(|value| config.slowlog_log_slower_than = value)
        },
    },
    Key {
        name: "slowlog-max-len",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.slowlog_max_len.to_string(),
        set: |config, text| integer(text, 0, 1_000_000).map(|value| config.slowlog_max_len = value),
    },
    Key {
        name: "latency-monitor-threshold",
        change: Change::Live,
        in_file: true,
        form: Form::Number,
        get: |config| config.latency_monitor_threshold.to_string(),
        set: |config, text| {
            integer(text, 0, i64::MAX).map(|value| config.latency_monitor_threshold = value)
        },
    },
    Key {
        name: "log-level",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| config.log_level.clone(),
        set: |config, text| {
            if text.is_empty() {
                return Err(BadValue::Expected(
                    "error, warn, info, debug, trace, or a filter such as info,coney_datapath=debug",
                ));
            }
            text.clone_into(&mut config.log_level);
            Ok(())
        },
    },
    Key {
        name: "log-format",
        change: Change::Restart,
        in_file: true,
        form: Form::Text,
        get: |config| word(config.log_format, FORMAT_WORDS, FORMAT).to_owned(),
        set: |config, text| {
            choice(text, FORMAT_WORDS, FORMAT).map(|value| config.log_format = value)
        },
    },
    Key {
        name: "appendfsync",
        change: Change::Live,
        in_file: false,
        form: Form::Text,
        get: |config| word(config.sync, APPENDFSYNC_WORDS, SYNC).to_owned(),
        set: |config, text| choice(text, APPENDFSYNC_WORDS, SYNC).map(|value| config.sync = value),
    },
    encoding_limit!("hash-max-ziplist-entries", in_file: false, hash_entries, 0, i64::MAX),
    encoding_limit!("hash-max-ziplist-value", in_file: false, hash_value, 0, i64::MAX),
    encoding_limit!("zset-max-ziplist-entries", in_file: false, zset_entries, 0, i64::MAX),
    encoding_limit!("zset-max-ziplist-value", in_file: false, zset_value, 0, i64::MAX),
    encoding_limit!("list-max-ziplist-size", in_file: false, list_size, LIST_SIZE_MIN, LIST_SIZE_MAX),
];

/// Settings of Redis's that mean nothing to this server, with what CONFIG GET shows until CONFIG
/// SET changes it. Clients, tools and Redis's own tests ask for them.
pub const ECHOED: &[(&str, &str)] = &[
    // Every write is in a log that is read at the start: that is what these two ask about.
    ("appendonly", "yes"),
    ("save", ""),
    // Memory is bounded by the caches and buffers above; nothing is ever evicted.
    ("maxmemory", "0"),
    ("maxmemory-clients", "0"),
    ("maxmemory-policy", "noeviction"),
    ("maxmemory-samples", "5"),
    ("activedefrag", "no"),
    ("aof-use-rdb-preamble", "yes"),
    ("auto-aof-rewrite-min-size", "67108864"),
    ("auto-aof-rewrite-percentage", "100"),
    ("busy-reply-threshold", "5000"),
    ("cluster-enabled", "no"),
    ("daemonize", "no"),
    ("dbfilename", "dump.rdb"),
    ("hll-sparse-max-bytes", "3000"),
    ("hz", "10"),
    ("latency-tracking", "yes"),
    ("lazyfree-lazy-eviction", "no"),
    ("lazyfree-lazy-expire", "no"),
    ("lazyfree-lazy-server-del", "no"),
    ("lazyfree-lazy-user-del", "no"),
    ("lazyfree-lazy-user-flush", "no"),
    ("list-compress-depth", "0"),
    ("logfile", ""),
    ("loglevel", "notice"),
    ("lua-time-limit", "5000"),
    ("masterauth", ""),
    ("min-replicas-to-write", "0"),
    ("no-appendfsync-on-rewrite", "no"),
    ("pidfile", ""),
    ("rdb-key-save-delay", "0"),
    ("rdbcompression", "yes"),
    ("repl-backlog-size", "1048576"),
    ("repl-diskless-sync", "yes"),
    ("repl-diskless-sync-delay", "5"),
    ("repl-diskless-sync-max-replicas", "0"),
    ("repl-ping-replica-period", "10"),
    ("repl-timeout", "60"),
    ("replica-read-only", "yes"),
    ("replica-serve-stale-data", "yes"),
    ("replicaof", ""),
    ("set-proc-title", "yes"),
    ("shutdown-timeout", "10"),
    ("slaveof", ""),
    ("stop-writes-on-bgsave-error", "yes"),
    ("stream-node-max-bytes", "4096"),
    ("supervised", "no"),
    ("unixsocket", ""),
];

/// Those of [`ECHOED`] that are numbers of bytes.
const ECHOED_MEMORY: &[&str] = &[
    "auto-aof-rewrite-min-size",
    "hll-sparse-max-bytes",
    "maxmemory",
    "maxmemory-clients",
    "repl-backlog-size",
    "stream-node-max-bytes",
];

/// The value that CONFIG SET gives one of [`ECHOED`]: of the kind of its default, and as CONFIG GET shows
/// it.
pub(super) fn echoed_value(name: &str, text: &str) -> Result<String, BadValue> {
    let default = ECHOED.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| *value);
    if name == "maxmemory-clients"
        && let Some(percent) = text.strip_suffix('%')
    {
        let percent: u64 = integer(percent, 0, i64::MAX)?;
        return if percent > 100 { Err(BadValue::NotPercentage) } else { Ok(text.to_owned()) };
    }
    if ECHOED_MEMORY.contains(&name) {
        return Ok(memory::<i64>(text, 0, i64::MAX)?.to_string());
    }
    match default {
        "yes" | "no" => yes_no(text).map(|is_on| if is_on { "yes" } else { "no" }.to_owned()),
        _ if default.parse::<i64>().is_ok() => {
            Ok(integer::<i64>(text, i64::MIN, i64::MAX)?.to_string())
        }
        _ => Ok(text.to_owned()),
    }
}

/// Those of [`ECHOED`] that a running Redis refuses to change: whoever tries shall know that nothing
/// happened.
pub const ECHOED_IMMUTABLE: &[&str] = &[
    "cluster-enabled",
    "daemonize",
    "logfile",
    "pidfile",
    "set-proc-title",
    "supervised",
    "unixsocket",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_shows_what_it_was_set_to() {
        for key in KEYS {
            let mut config = Config::default();
            let shown = (key.get)(&config);
            assert_eq!((key.set)(&mut config, &shown), Ok(()), "{}", key.name);
            assert_eq!(config, Config::default(), "{}: {shown}", key.name);
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        names.extend(ECHOED.iter().map(|(name, _)| *name));
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
