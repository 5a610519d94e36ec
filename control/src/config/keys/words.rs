//! Settings of which each value is a word.

use super::super::value::{BadValue, Words, choice, word};
use super::super::{
    Compression, Datapath, KernelTransport, LogFormat, Memtable, RocksdbPreset, Storage, Sync,
    XdpMode,
};

pub(super) const SYNC: Words<Sync> =
    &[("off", Sync::Off), ("everysec", Sync::EverySec), ("always", Sync::Always)];
/// Redis's words for the same.
pub(super) const APPENDFSYNC: Words<Sync> =
    &[("no", Sync::Off), ("everysec", Sync::EverySec), ("always", Sync::Always)];
pub(super) const STORAGE: Words<Storage> = &[
    ("posix", Storage::Posix),
    ("uring", Storage::Uring),
    ("pread", Storage::Pread),
    ("spdk", Storage::Spdk),
];
pub(super) const MEMTABLE: Words<Memtable> =
    &[("skiplist", Memtable::SkipList), ("hash", Memtable::Hash)];
pub(super) const PRESET: Words<RocksdbPreset> =
    &[("small", RocksdbPreset::Small), ("large", RocksdbPreset::Large)];
pub(super) const COMPRESSION: Words<Compression> =
    &[("none", Compression::None), ("lz4", Compression::Lz4), ("zstd", Compression::Zstd)];
pub(super) const DATAPATH: Words<Datapath> = &[
    ("auto", Datapath::Auto),
    ("kernel", Datapath::Kernel),
    ("xdp", Datapath::Xdp),
    ("dpdk", Datapath::Dpdk),
];
pub(super) const KERNEL_TRANSPORT: Words<KernelTransport> = &[
    ("auto", KernelTransport::Auto),
    ("epoll", KernelTransport::Epoll),
    ("io_uring", KernelTransport::IoUring),
];
pub(super) const XDP_MODE: Words<XdpMode> =
    &[("auto", XdpMode::Auto), ("native", XdpMode::Native), ("skb", XdpMode::Skb)];
pub(super) const LOG_FORMAT: Words<LogFormat> =
    &[("text", LogFormat::Text), ("json", LogFormat::Json)];

/// Levels that RocksDB has.
const LEVELS_MAX: usize = 7;

/// The word of a [`Datapath`] in the file.
pub fn datapath_word(datapath: Datapath) -> &'static str {
    word(datapath, DATAPATH)
}

/// The word of a [`KernelTransport`] in the file.
pub fn kernel_transport_word(transport: KernelTransport) -> &'static str {
    word(transport, KERNEL_TRANSPORT)
}

/// The compression of each level.
pub(super) fn levels(text: &str) -> Result<Vec<Compression>, BadValue> {
    let words = text.split_ascii_whitespace();
    let levels: Vec<_> = words.map(|word| choice(word, COMPRESSION)).collect::<Result<_, _>>()?;
    if (1..=LEVELS_MAX).contains(&levels.len()) {
        return Ok(levels);
    }
    Err(BadValue::Expected("one to seven of none, lz4, zstd: of each level from 0 on"))
}

pub(super) fn show_levels(levels: &[Compression]) -> String {
    let words = levels.iter().map(|level| word(*level, COMPRESSION));
    words.collect::<Vec<_>>().join(" ")
}
