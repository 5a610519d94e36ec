//! Every setting of the server: one row each in [`keys`], from which the configuration file, the
//! command line's `--set`, CONFIG GET and CONFIG SET derive.
//!
//! - [`value`]: texts into values, and why a text is none.
//! - [`keys`]: the table.
//! - [`file`]: the TOML file, read and rewritten.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

pub mod command;
pub mod file;
pub mod keys;
pub mod value;

pub use file::FileError;
pub use keys::{Change, Key};
pub use value::BadValue;

/// The commented example file: every key with its default and its meaning.
pub const EXAMPLE_FILE: &str = include_str!("../../docs/coney.toml");

/// All settings. The field comments are short: `docs/coney.toml` documents each key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "docs/coney.toml documents each key, once")]
pub struct Config {
    pub bind: Vec<Bind>,
    pub port: u16,
    pub tcp_backlog: u32,
    pub tcp_keepalive_secs: u64,
    pub tcp_user_timeout_secs: u64,
    pub timeout_secs: u64,
    pub write_stall_timeout_secs: u64,
    pub protected_mode: bool,
    pub requirepass: String,
    pub aclfile: PathBuf,
    pub maxclients: usize,
    pub proto_max_bulk_len: u32,
    pub client_query_buffer_limit: u64,
    pub client_output_buffer_limit: OutputLimits,
    pub user: String,
    pub group: String,
    pub dir: PathBuf,
    pub storage: Storage,
    pub device: PathBuf,
    pub device_size: u64,
    pub spdk_config: PathBuf,
    pub spdk_pci: String,
    pub spdk_memory: u64,
    pub spdk_no_huge: bool,
    pub databases: u16,
    pub sync: Sync,
    pub block_cache: u64,
    pub hot_cache: u64,
    pub write_buffer: u64,
    pub memtable: Memtable,
    pub background_jobs: u32,
    pub rocksdb_preset: RocksdbPreset,
    pub blob_threshold: Option<u64>,
    pub blob_gc_percent: u8,
    pub block_size: Option<u64>,
    pub bloom_bits: u8,
    pub partitioned_filters: bool,
    pub compression: Vec<Compression>,
    pub compression_bottommost: Compression,
    pub auto_compaction: bool,
    pub compaction_rate_limit: u64,
    pub bytes_per_sync: u64,
    pub workers: usize,
    pub io_threads: usize,
    pub pin_cores: PinCores,
    pub busy_poll: bool,
    pub spin_us: u64,
    pub datapath: Datapath,
    pub kernel_transport: KernelTransport,
    pub interface: String,
    pub xdp_mode: XdpMode,
    pub eal: String,
    pub dpdk_isolate: bool,
    pub access_list_allow: Vec<IpNet>,
    pub access_list_deny: Vec<IpNet>,
    pub syn_limit_per_source: u32,
    pub syn_limit_global: u32,
    pub encoding_limits: EncodingLimits,
    pub notify_keyspace_events: String,
    pub tracking_table_max_keys: usize,
    pub metrics_listen: Option<SocketAddr>,
    pub slowlog_log_slower_than: i64,
    pub slowlog_max_len: usize,
    pub latency_monitor_threshold: i64,
    pub log_level: String,
    pub log_format: LogFormat,
    /// Settings of Redis's that mean nothing here; see [`keys::ECHOED`].
    pub echoed: Vec<(&'static str, String)>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: vec![
                Bind { addr: IpAddr::V4(Ipv4Addr::LOCALHOST), is_optional: false },
                Bind { addr: IpAddr::V6(Ipv6Addr::LOCALHOST), is_optional: true },
            ],
            port: 6379,
            tcp_backlog: 511,
            tcp_keepalive_secs: 300,
            tcp_user_timeout_secs: 0,
            timeout_secs: 0,
            write_stall_timeout_secs: 60,
            protected_mode: true,
            requirepass: String::new(),
            aclfile: PathBuf::new(),
            maxclients: 10_000,
            proto_max_bulk_len: 512 << 20,
            client_query_buffer_limit: 1 << 30,
            client_output_buffer_limit: OutputLimits::default(),
            user: String::new(),
            group: String::new(),
            dir: PathBuf::from("./data"),
            storage: Storage::Posix,
            device: PathBuf::new(),
            device_size: 0,
            spdk_config: PathBuf::new(),
            spdk_pci: String::new(),
            spdk_memory: 0,
            spdk_no_huge: false,
            databases: 16,
            sync: Sync::EverySec,
            block_cache: 256 << 20,
            hot_cache: 256 << 20,
            write_buffer: 64 << 20,
            memtable: Memtable::Hash,
            background_jobs: 2,
            rocksdb_preset: RocksdbPreset::Small,
            blob_threshold: None,
            blob_gc_percent: 25,
            block_size: None,
            bloom_bits: 10,
            partitioned_filters: true,
            compression: vec![Compression::None, Compression::None, Compression::Lz4],
            compression_bottommost: Compression::Zstd,
            auto_compaction: true,
            compaction_rate_limit: 0,
            bytes_per_sync: 1 << 20,
            workers: 0,
            io_threads: 4,
            pin_cores: PinCores::Auto,
            busy_poll: false,
            spin_us: 50,
            datapath: Datapath::Auto,
            kernel_transport: KernelTransport::Auto,
            interface: String::new(),
            xdp_mode: XdpMode::Auto,
            eal: String::new(),
            dpdk_isolate: false,
            access_list_allow: Vec::new(),
            access_list_deny: Vec::new(),
            syn_limit_per_source: 0,
            syn_limit_global: 0,
            encoding_limits: EncodingLimits::default(),
            notify_keyspace_events: String::new(),
            tracking_table_max_keys: 1_000_000,
            metrics_listen: None,
            slowlog_log_slower_than: 10_000,
            slowlog_max_len: 128,
            latency_monitor_threshold: 0,
            log_level: "info".to_owned(),
            log_format: LogFormat::Text,
            echoed: keys::ECHOED.iter().map(|(name, text)| (*name, (*text).to_owned())).collect(),
        }
    }
}

/// Up to where a collection is kept in one entry: Redis's settings and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "docs/coney.toml documents each key, once")]
pub struct EncodingLimits {
    pub hash_entries: i64,
    pub hash_value: i64,
    pub set_intset_entries: i64,
    pub set_entries: i64,
    pub set_value: i64,
    pub zset_entries: i64,
    pub zset_value: i64,
    pub list_size: i64,
    pub stream_node_entries: i64,
}

impl EncodingLimits {
    /// Each limit by its name in CONFIG.
    pub fn named(&self) -> [(&'static str, i64); 9] {
        [
            ("hash-max-listpack-entries", self.hash_entries),
            ("hash-max-listpack-value", self.hash_value),
            ("set-max-intset-entries", self.set_intset_entries),
            ("set-max-listpack-entries", self.set_entries),
            ("set-max-listpack-value", self.set_value),
            ("zset-max-listpack-entries", self.zset_entries),
            ("zset-max-listpack-value", self.zset_value),
            ("list-max-listpack-size", self.list_size),
            ("stream-node-max-entries", self.stream_node_entries),
        ]
    }
}

impl Default for EncodingLimits {
    fn default() -> Self {
        Self {
            hash_entries: 512,
            hash_value: 64,
            set_intset_entries: 512,
            set_entries: 128,
            set_value: 64,
            zset_entries: 128,
            zset_value: 64,
            list_size: -2,
            stream_node_entries: 100,
        }
    }
}

/// One address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The address.
    pub addr: IpAddr,
    /// Written with a minus before it: it is no error if this host does not have it.
    pub is_optional: bool,
}

/// When writes are acknowledged, and when the log is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Acknowledged when in the log; the operating system decides when it reaches the disk.
    Off,
    /// Acknowledged when in the log; the log is synced each second.
    EverySec,
    /// Acknowledged after the log was synced.
    Always,
}

/// Where the database lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In a directory of an ordinary file system.
    Posix,
    /// On a block device or in a file, over io_uring with direct I/O.
    Uring,
    /// The same by plain reads and writes, where io_uring is forbidden.
    Pread,
    /// On a bdev of SPDK's; needs a binary built with the feature `spdk`.
    Spdk,
}

/// Which structure RocksDB keeps new entries in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memtable {
    /// Ordered.
    SkipList,
    /// A hash table that is sorted when somebody iterates.
    Hash,
}

/// What RocksDB's options are chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RocksdbPreset {
    /// Values up to a few KiB.
    Small,
    /// Values of many KiB.
    Large,
}

/// How blocks of tables are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Fast.
    Lz4,
    /// Small.
    Zstd,
}

/// How clients are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datapath {
    /// `xdp` if an interface is named and it works there, else `kernel`.
    Auto,
    /// Kernel sockets.
    Kernel,
    /// AF_XDP with our own TCP; kernel sockets for local clients.
    Xdp,
    /// DPDK with our own TCP; needs a binary built with the feature `dpdk`.
    Dpdk,
}

/// How kernel sockets are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelTransport {
    /// Epoll: io_uring was not faster, see `bench/README.md`.
    Auto,
    /// Readiness, and a system call for each read and write.
    Epoll,
    /// Requests and completions; needs Linux 6.0, and that it is not forbidden.
    IoUring,
}

/// Where the XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// `native` if the driver can, else `skb`.
    Auto,
    /// In the driver.
    Native,
    /// In the kernel's receive path: every driver, but slower.
    Skb,
}

/// Which cores workers are pinned to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinCores {
    /// Pinned if workers never sleep, else not.
    Auto,
    /// Never.
    Off,
    /// Worker n to the n-th of these.
    List(Vec<usize>),
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `client-output-buffer-limit`: hard limit, soft limit in bytes, seconds above the soft limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Ordinary clients.
    pub normal: [u64; 3],
    /// Replicas. Stored and shown.
    pub replica: [u64; 3],
    /// Subscribers and monitors.
    pub pubsub: [u64; 3],
}

impl Default for OutputLimits {
    fn default() -> Self {
        Self { normal: [0; 3], replica: [256 << 20, 64 << 20, 60], pubsub: [32 << 20, 8 << 20, 60] }
    }
}

/// A setting that cannot be taken from the command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// No such key.
    #[error("unknown key `{key}`{}; `coney config` prints all keys", did_you_mean(*.nearest))]
    Unknown {
        /// The key as given.
        key: String,
        /// A known key that looks like it.
        nearest: Option<&'static str>,
    },
    /// The key does not take this value.
    #[error("{key} = {value:?}: the value {bad}")]
    Bad {
        /// The key.
        key: &'static str,
        /// The value as given.
        value: String,
        /// Why not.
        bad: BadValue,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!(", did you mean `{nearest}`?"))
}

impl Config {
    /// Sets a key of the file to a value given as text.
    ///
    /// # Errors
    /// [`SettingError`]: nothing was changed.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), SettingError> {
        let Some(key) = keys::of_file(name) else {
            let names = keys::KEYS.iter().filter(|key| key.in_file).map(|key| key.name);
            let nearest = crate::suggest::nearest(name, names);
            return Err(SettingError::Unknown { key: name.to_owned(), nearest });
        };
        (key.set)(self, text).map_err(|bad| SettingError::Bad {
            key: key.name,
            value: text.to_owned(),
            bad,
        })
    }
}
