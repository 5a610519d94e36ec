//! Commands and storage: what a request means and where its data lives.
//!
//! - [`Engine`]: the database, shared by all workers; and [`Executor`]: one worker's way to it.
//! - [`command`]: the command table and the handlers.
//! - [`key`], [`meta`]: the bytes on disk. [`store`]: RocksDB. [`batch`]: one iteration's writes.
//! - [`compact`], [`element`]: small and large collections; [`limits`]: which is which;
//!   [`stream`]: the elements of streams;
//!   [`reclaim`]: the elements that deleted ones leave behind. [`hold`]: writes made on the I/O pool;
//!   `ahead`, `renew`: how they get there without keeping a worker busy.
//! - [`acl`]: users and what they may do.
//! - [`cache`], [`stripe`]: the hot-key cache and what keeps it coherent between workers; `edges`:
//!   where large sorted sets begin and end.
//! - [`transaction`], [`watch`]: MULTI and WATCH; [`stopwatch`]: how long what is in it takes.
//! - [`mail`]: what workers tell clients of each other: messages ([`pubsub`]), what happens to keys
//!   (`notify`), what was executed (`monitor`), what clients keep ([`tracking`]). `roster`: whose
//!   client is whose.
//! - `wait`: clients of blocking commands. `pause`: CLIENT PAUSE. [`tenant`]: named tables; `usage`:
//!   how many bytes they take.
//! - [`Device`]: a file system of our own in place of a directory.
//! - [`check`]: whether all of it agrees.
//! - [`counts`]: exact numbers of keys. [`expiry`]: deadlines; [`field`]: those of fields of hashes.
//! - `databases`: which table each database is (SWAPDB).
//!
//! This crate knows nothing of sockets, threads or clocks: time comes in as an argument, work that
//! may wait goes out as a [`Job`].

use std::path::{Path, PathBuf};

pub mod acl;
mod ahead;
pub mod batch;
pub mod bucket;
pub mod cache;
pub mod check;
pub mod chunk;
pub mod client;
pub mod command;
pub mod compact;
pub mod counts;
mod databases;
mod device;
mod draws;
mod edges;
pub mod element;
pub mod engine;
pub mod executor;
pub mod expiry;
pub mod field;
pub mod hold;
pub mod job;
pub mod key;
pub mod limits;
pub mod list_chunk;
pub mod mail;
pub mod meta;
mod monitor;
mod notify;
mod pause;
pub mod pubsub;
mod rdb;
pub mod reclaim;
mod renew;
mod roster;
pub mod score;
pub mod secret;
pub mod stopwatch;
pub mod store;
pub mod stream;
pub mod stripe;
pub mod tenant;
pub mod tracking;
pub mod transaction;
mod usage;
pub mod varint;
mod wait;
pub mod watch;

pub use client::Client;
pub use device::Device;
pub use engine::Engine;
pub use executor::{CommitOutcome, Executor, Outcome, Park};
pub use expiry::DueKey;
pub use job::{Job, JobDone};
pub use store::tuning::{Blobs, BlockCache, Compression, Filter, Tuning};
pub use store::{OpenError, StoreError};
pub use usage::Due;

pub use coney_resp::REDIS_VERSION;

/// Which structure RocksDB keeps new entries in until they are flushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Memtable {
    /// RocksDB's own, for all families.
    SkipList,
    /// For keys a hash table that is sorted when somebody iterates, for elements a B+tree: see
    /// [`coney_memtable`].
    #[default]
    Hash,
}

/// How an [`Engine`] is opened.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Where the data lives; created if missing.
    pub dir: PathBuf,
    /// Where the data lives instead of in `dir`.
    pub device: Option<Device>,
    /// RocksDB's block cache, index and filters included, in bytes.
    pub block_cache_bytes: usize,
    /// Size of one memtable in bytes.
    pub write_buffer_bytes: usize,
    /// The hot-key caches of all workers together, in bytes.
    pub hot_cache_bytes: u64,
    /// Tables that SELECT can choose (`databases`).
    pub tables: u16,
    /// Threads for flushes and compactions.
    pub background_jobs: i32,
    /// Executors that there will be.
    pub workers: usize,
    /// Memtables of keys and elements.
    pub memtable: Memtable,
    /// The rest of RocksDB's options.
    pub tuning: Tuning,
    /// RocksDB counts what it does, for [`Engine::written_bytes`]; that costs some speed.
    pub statistics: bool,
    /// Seed of RANDOMKEY's choices.
    pub seed: u64,
}

impl EngineConfig {
    /// The defaults, with data in `dir` and one worker.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            device: None,
            block_cache_bytes: 256 << 20,
            write_buffer_bytes: 64 << 20,
            hot_cache_bytes: 256 << 20,
            tables: 16,
            background_jobs: 2,
            workers: 1,
            memtable: Memtable::default(),
            tuning: Tuning::default(),
            statistics: false,
            seed: 0,
        }
    }

    /// Where the data lives, for people.
    pub fn place(&self) -> &Path {
        self.device.as_ref().map_or(&self.dir, Device::path)
    }
}
