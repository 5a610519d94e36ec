//! The table of settings. Names are those of redis.conf where Redis has the setting.

use std::path::PathBuf;

use super::Config;
use super::value::{
    BadValue, auto_memory, binds, choice, directory, event_classes, integer, interface_name,
    listen_address, log_filter, memory, networks, output_limits, pin_cores, show_auto_memory,
    show_binds, show_bool, show_listen_address, show_networks, show_output_limits, show_path,
    show_pin_cores, word, yes_no,
};

mod echoed;
mod words;

pub(super) use echoed::echoed_value;
pub use echoed::{ECHOED, ECHOED_IMMUTABLE};
use words::{
    APPENDFSYNC, COMPRESSION, DATAPATH, KERNEL_TRANSPORT, LOG_FORMAT, MEMTABLE, PRESET, STORAGE,
    SYNC, XDP_MODE, levels, show_levels,
};
pub use words::{datapath_word, kernel_transport_word};

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

const LIST_SIZE_MIN: i64 = -(1 << 31);
const LIST_SIZE_MAX: i64 = (1 << 31) - 1;
const COUNT_MAX: i64 = u32::MAX as i64;
const SECS_MAX: i64 = i32::MAX as i64;
const GIB: i64 = 1 << 30;
const MIB: i64 = 1 << 20;

/// A text that is its own value.
fn as_is(text: &str) -> Result<String, BadValue> {
    Ok(text.to_owned())
}

fn path(text: &str) -> Result<PathBuf, BadValue> {
    Ok(text.into())
}

/// A row: its name, when a change takes effect (`Alias`: another name of a setting, at once, and not for the
/// file), the field of [`Config`], and the kind of its values. A kind is a function of [`super::value`] with
/// bounds or words, or the [`Form`] with a function that reads and one that shows.
macro_rules! key {
    ($name:literal, Alias, $($rest:tt)+) => { key!(@kind $name, Live, false, $($rest)+) };
    ($name:literal, $change:ident, $($rest:tt)+) => { key!(@kind $name, $change, true, $($rest)+) };
    (@kind $name:literal, $change:ident, $in_file:literal, $($field:ident).+, integer($min:expr, $max:expr)) => {
        key!(@row $name, $change, $in_file, Number, $($field).+, |text| integer(text, $min, $max), |value| value.to_string())
    };
    (@kind $name:literal, $change:ident, $in_file:literal, $($field:ident).+, memory($min:expr, $max:expr)) => {
        key!(@row $name, $change, $in_file, Number, $($field).+, |text| memory(text, $min, $max), |value| value.to_string())
    };
    (@kind $name:literal, $change:ident, $in_file:literal, $($field:ident).+, auto_memory($min:expr, $max:expr)) => {
        key!(@row $name, $change, $in_file, Text, $($field).+, |text| auto_memory(text, $min, $max), |value| show_auto_memory(*value))
    };
    (@kind $name:literal, $change:ident, $in_file:literal, $($field:ident).+, choice($words:expr)) => {
        key!(@row $name, $change, $in_file, Text, $($field).+, |text| choice(text, $words), |value| word(*value, $words).to_owned())
    };
    (@kind $name:literal, $change:ident, $in_file:literal, $($field:ident).+, yes_no) => {
        key!(@row $name, $change, $in_file, Bool, $($field).+, yes_no, |value| show_bool(*value))
    };
    (@kind $name:literal, $change:ident, $in_file:literal, $($field:ident).+, text) => {
        key!(@kind $name, $change, $in_file, $($field).+, Text(as_is, String::clone))
    };
    (@kind $name:literal, $change:ident, $in_file:literal, $($field:ident).+, path) => {
        key!(@kind $name, $change, $in_file, $($field).+, Text(path, show_path))
    };
    (@kind $name:literal, $change:ident, $in_file:literal, $($field:ident).+, $form:ident($read:expr, $show:expr)) => {
        key!(@row $name, $change, $in_file, $form, $($field).+, $read, |value| ($show)(value))
    };
    (@row $name:literal, $change:ident, $in_file:literal, $form:ident, $($field:ident).+, $read:expr, |$value:ident| $show:expr) => {
        Key {
            name: $name,
            change: Change::$change,
            in_file: $in_file,
            form: Form::$form,
            get: |config| {
                let $value = &config.$($field).+;
                $show
            },
            set: |config, text| {
                config.$($field).+ = ($read)(text)?;
                Ok(())
            },
        }
    };
}

/// Every setting, in the order of the file.
pub static KEYS: &[Key] = &[
    key!("bind", Restart, bind, List(binds, show_binds)),
    key!("port", Restart, port, integer(0, 65_535)),
    key!("tcp-backlog", Restart, tcp_backlog, integer(1, 65_535)),
    key!("tcp-keepalive", Restart, tcp_keepalive_secs, integer(0, 32_767)),
    key!("tcp-user-timeout", Restart, tcp_user_timeout_secs, integer(0, 32_767)),
    key!("write-stall-timeout", Live, write_stall_timeout_secs, integer(0, SECS_MAX)),
    key!("timeout", Live, timeout_secs, integer(0, SECS_MAX)),
    key!("protected-mode", Live, protected_mode, yes_no),
    key!("requirepass", Live, requirepass, text),
    key!("aclfile", Restart, aclfile, path),
    key!("maxclients", Live, maxclients, integer(1, COUNT_MAX)),
    // Arguments are found by 32-bit offsets in a buffer below 4 GiB.
    key!("proto-max-bulk-len", Live, proto_max_bulk_len, memory(MIB, 2 * GIB)),
    key!("client-query-buffer-limit", Live, client_query_buffer_limit, memory(MIB, 3 * GIB)),
    Key {
        name: "client-output-buffer-limit",
        change: Change::Live,
        in_file: true,
        form: Form::Text,
        get: |config| show_output_limits(&config.client_output_buffer_limit),
        set: |config, text| output_limits(&mut config.client_output_buffer_limit, text),
    },
    key!("user", Restart, user, text),
    key!("group", Restart, group, text),
    key!("dir", Restart, dir, Text(directory, show_path)),
    key!("storage", Restart, storage, choice(STORAGE)),
    key!("device", Restart, device, path),
    key!("device-size", Restart, device_size, memory(0, 1 << 50)),
    key!("spdk-config", Restart, spdk_config, path),
    key!("spdk-pci", Restart, spdk_pci, List(as_is, String::clone)),
    key!("spdk-memory", Restart, spdk_memory, memory(0, 1 << 40)),
    key!("spdk-no-huge", Restart, spdk_no_huge, yes_no),
    key!("databases", Restart, databases, integer(1, 16_384)),
    key!("sync", Live, sync, choice(SYNC)),
    key!("block-cache", Live, block_cache, memory(MIB, 4096 * GIB)),
    key!("hot-cache", Restart, hot_cache, memory(0, 4096 * GIB)),
    key!("write-buffer", Live, write_buffer, memory(MIB, 16 * GIB)),
    key!("memtable", Restart, memtable, choice(MEMTABLE)),
    key!("background-jobs", Live, background_jobs, integer(2, 256)),
    key!("rocksdb-preset", Restart, rocksdb_preset, choice(PRESET)),
    key!("blob-threshold", Live, blob_threshold, auto_memory(0, GIB)),
    key!("blob-gc-percent", Live, blob_gc_percent, integer(0, 100)),
    key!("block-size", Restart, block_size, auto_memory(1 << 10, 4 * MIB)),
    key!("bloom-bits", Restart, bloom_bits, integer(0, 30)),
    key!("partitioned-filters", Restart, partitioned_filters, yes_no),
    key!("compression", Live, compression, List(levels, show_levels)),
    key!("compression-bottommost", Live, compression_bottommost, choice(COMPRESSION)),
    key!("auto-compaction", Live, auto_compaction, yes_no),
    key!("compaction-rate-limit", Live, compaction_rate_limit, memory(0, 4096 * GIB)),
    key!("bytes-per-sync", Live, bytes_per_sync, memory(0, GIB)),
    key!("workers", Restart, workers, integer(0, 256)),
    key!("io-threads", Restart, io_threads, integer(1, 256)),
    key!("pin-cores", Restart, pin_cores, Text(pin_cores, show_pin_cores)),
    key!("busy-poll", Restart, busy_poll, yes_no),
    key!("spin-us", Live, spin_us, integer(0, 1_000_000)),
    key!("datapath", Restart, datapath, choice(DATAPATH)),
    key!("kernel-transport", Restart, kernel_transport, choice(KERNEL_TRANSPORT)),
    key!("interface", Restart, interface, Text(interface_name, String::clone)),
    key!("xdp-mode", Restart, xdp_mode, choice(XDP_MODE)),
    key!("eal", Restart, eal, text),
    key!("dpdk-isolate", Restart, dpdk_isolate, yes_no),
    key!("access-list-allow", Live, access_list_allow, List(networks, show_networks)),
    key!("access-list-deny", Live, access_list_deny, List(networks, show_networks)),
    key!("syn-limit-per-source", Live, syn_limit_per_source, integer(0, COUNT_MAX)),
    key!("syn-limit-global", Live, syn_limit_global, integer(0, COUNT_MAX)),
    key!("hash-max-listpack-entries", Live, encoding_limits.hash_entries, integer(0, i64::MAX)),
    key!("hash-max-listpack-value", Live, encoding_limits.hash_value, integer(0, i64::MAX)),
    key!("set-max-intset-entries", Live, encoding_limits.set_intset_entries, integer(0, i64::MAX)),
    key!("set-max-listpack-entries", Live, encoding_limits.set_entries, integer(0, i64::MAX)),
    key!("set-max-listpack-value", Live, encoding_limits.set_value, integer(0, i64::MAX)),
    key!("zset-max-listpack-entries", Live, encoding_limits.zset_entries, integer(0, i64::MAX)),
    key!("zset-max-listpack-value", Live, encoding_limits.zset_value, integer(0, i64::MAX)),
    key!(
        "list-max-listpack-size",
        Live,
        encoding_limits.list_size,
        integer(LIST_SIZE_MIN, LIST_SIZE_MAX)
    ),
    key!(
        "stream-node-max-entries",
        Live,
        encoding_limits.stream_node_entries,
        integer(0, i64::MAX)
    ),
    key!(
        "notify-keyspace-events",
        Live,
        notify_keyspace_events,
        Text(event_classes, String::clone)
    ),
    key!("tracking-table-max-keys", Live, tracking_table_max_keys, integer(0, i64::MAX)),
    key!("metrics-listen", Restart, metrics_listen, Text(listen_address, show_listen_address)),
    key!("slowlog-log-slower-than", Live, slowlog_log_slower_than, integer(-1, i64::MAX)),
    key!("slowlog-max-len", Live, slowlog_max_len, integer(0, 1_000_000)),
    key!("latency-monitor-threshold", Live, latency_monitor_threshold, integer(0, i64::MAX)),
    key!("log-level", Restart, log_level, Text(log_filter, String::clone)),
    key!("log-format", Restart, log_format, choice(LOG_FORMAT)),
    key!("appendfsync", Alias, sync, choice(APPENDFSYNC)),
    key!("hash-max-ziplist-entries", Alias, encoding_limits.hash_entries, integer(0, i64::MAX)),
    key!("hash-max-ziplist-value", Alias, encoding_limits.hash_value, integer(0, i64::MAX)),
    key!("zset-max-ziplist-entries", Alias, encoding_limits.zset_entries, integer(0, i64::MAX)),
    key!("zset-max-ziplist-value", Alias, encoding_limits.zset_value, integer(0, i64::MAX)),
    key!(
        "list-max-ziplist-size",
        Alias,
        encoding_limits.list_size,
        integer(LIST_SIZE_MIN, LIST_SIZE_MAX)
    ),
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
