//! What all workers share.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use coney_base::UnixMillis;

use crate::EngineConfig;
use crate::acl::Acl;
use crate::batch::Family;
use crate::counts::{Count, Counts};
use crate::databases::Databases;
use crate::device::Device;
use crate::limits::EncodingLimits;
use crate::mail::Mailboxes;
use crate::monitor::Monitors;
use crate::notify::Notified;
use crate::pause::Pause;
use crate::pubsub::PubSub;
use crate::reclaim::Hollow;
use crate::roster::Roster;
use crate::store::{OpenError, Store, StoreError, WrittenBytes};
use crate::stripe::Stripes;
use crate::tenant::Tenants;
use crate::tracking::Trackers;
use crate::usage::Usages;
use crate::wait::Waits;
use crate::watch::Watches;

/// The database and what keeps the workers' ways to it in order.
#[derive(Debug)]
pub struct Engine {
    pub(crate) store: Store,
    pub(crate) stripes: Stripes,
    pub(crate) counts: Counts,
    pub(crate) databases: Databases,
    pub(crate) watches: Watches,
    pub(crate) pubsub: PubSub,
    pub(crate) waits: Waits,
    pub(crate) notified: Notified,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) monitors: Monitors,
    pub(crate) trackers: Trackers,
    pub(crate) roster: Roster,
    pub(crate) pause: Pause,
    pub(crate) tenants: Tenants,
    /// What tables with a limit of bytes take.
    pub(crate) usages: Usages,
    pub(crate) config: EngineConfig,
    acl: Acl,
    /// `proto-max-bulk-len`: longest string in bytes.
    value_len_max: AtomicU64,
    /// Up to where collections are compact.
    pub(crate) limits: EncodingLimits,
    /// Records of dead versions that the last [`Engine::reclaim`] saw and left.
    pub(crate) dead_seen: Mutex<BTreeSet<Vec<u8>>>,
    /// Records of dead versions that are not dead but will have an entry: see [`crate::ahead`].
    pub(crate) unnamed: Mutex<BTreeSet<Vec<u8>>>,
    /// What of removed elements still takes space: see [`Engine::compact_reclaimed`].
    pub(crate) hollow: Mutex<VecDeque<Hollow>>,
    /// Dead versions whose elements were removed, since the start.
    pub(crate) reclaimed: AtomicU64,
    /// Batches written so far: each has its number as its ticket.
    written: AtomicU64,
    /// The newest ticket that is on the disk.
    durable: AtomicU64,
    /// No record of the expiry index has an earlier deadline, in milliseconds since 1970. Without
    /// it, each look at what is due would walk over the tombstones of all that was due before.
    pub(crate) expiry_floor_ms: AtomicU64,
    /// The last write failed.
    is_failing: AtomicBool,
    failure: Mutex<Option<StoreError>>,
}

impl Engine {
    /// Opens the database.
    ///
    /// # Errors
    /// [`OpenError`]: in use, damaged, of another version, or not accessible.
    pub fn open(config: EngineConfig) -> Result<Self, OpenError> {
        let store = Store::open(&config)?;
        let damaged = |error: StoreError| OpenError::Damaged {
            path: config.place().to_owned(),
            message: error.to_string(),
        };
        let databases = Databases::load(&store, config.tables).map_err(damaged)?;
        let counts = Counts::load(&store, config.workers, databases.count()).map_err(damaged)?;
        let tenants = Tenants::load(&store).map_err(damaged)?;
        let usages = Usages::new(databases.count());
        let engine = Self {
            store,
            stripes: Stripes::new(config.workers),
            counts,
            databases,
            watches: Watches::new(),
            pubsub: PubSub::default(),
            waits: Waits::new(config.workers),
            notified: Notified::default(),
            mailboxes: Mailboxes::new(config.workers),
            monitors: Monitors::new(config.workers),
            trackers: Trackers::new(config.workers),
            roster: Roster::default(),
            pause: Pause::default(),
            tenants,
            usages,
            config,
            acl: Acl::new(),
            value_len_max: AtomicU64::new(512 << 20),
            limits: EncodingLimits::new(),
            dead_seen: Mutex::new(BTreeSet::new()),
            unnamed: Mutex::new(BTreeSet::new()),
            hollow: Mutex::new(VecDeque::new()),
            reclaimed: AtomicU64::new(0),
            written: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            expiry_floor_ms: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            failure: Mutex::new(None),
        };
        engine.measure_tables().map_err(|error| OpenError::Damaged {
            path: engine.config.place().to_owned(),
            message: error.to_string(),
        })?;
        Ok(engine)
    }

    /// Keys of a database.
    pub fn count(&self, database: u16) -> Count {
        self.counts.total(self.databases.table_of(database))
    }

    /// Databases that SELECT can choose.
    pub fn tables(&self) -> u16 {
        self.config.tables
    }

    /// How many channels, patterns and shard channels have subscribers.
    pub fn subscribed(&self) -> [usize; 3] {
        self.pubsub.sizes()
    }

    /// Users and what they may do.
    pub fn acl(&self) -> &Acl {
        &self.acl
    }

    /// Longest string value in bytes.
    pub(crate) fn value_len_max(&self) -> u64 {
        self.value_len_max.load(Ordering::Relaxed)
    }

    /// Up to where collections are compact; CONFIG changes it.
    pub fn encoding_limits(&self) -> &EncodingLimits {
        &self.limits
    }

    /// Changes the longest string value.
    pub fn set_value_len_max(&self, bytes: u64) {
        self.value_len_max.store(bytes, Ordering::Relaxed);
    }

    /// Changes how many keys are remembered for CLIENT TRACKING; 0: any number.
    pub fn set_tracked_keys_max(&self, count: usize) {
        self.trackers.set_keys_max(count);
    }

    /// Whether CLIENT PAUSE is in force.
    pub fn is_paused(&self, now: UnixMillis) -> bool {
        self.pause.until(now).is_some()
    }

    /// Changes which events of keys are notified: the letters of `notify-keyspace-events`.
    pub fn set_notified(&self, letters: &str) {
        self.notified.set(letters);
    }

    /// Counts a written batch and returns its ticket.
    pub(crate) fn next_ticket(&self) -> u64 {
        self.note_success();
        self.written.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn note_success(&self) {
        if self.is_failing.load(Ordering::Relaxed) {
            self.is_failing.store(false, Ordering::Relaxed);
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    pub(crate) fn note_failure(&self, error: &StoreError) {
        self.is_failing.store(true, Ordering::Relaxed);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        *failure = Some(error.clone());
    }

    /// Why writes fail, if they do.
    pub fn failure(&self) -> Option<String> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let broken = self.config.device.as_ref().and_then(Device::broken);
        failure.as_ref().map(|failure| match broken {
            Some(why) => format!(
                "{failure}. The device failed ({why}), and nothing is written to it before a restart"
            ),
            None => failure.to_string(),
        })
    }

    /// The ticket of the newest written batch.
    pub fn written_ticket(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// The newest ticket that survives a power failure.
    pub fn durable_ticket(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Brings everything written so far to the disk and returns the newest durable ticket. Waits.
    ///
    /// # Errors
    /// [`StoreError`]: what was written may not survive a power failure.
    pub fn sync_wal(&self) -> Result<u64, StoreError> {
        // RocksDB resumes by itself when there is space again, having written all memtables to
        // tables, which are on the disk then. But a log that could not be written must not be
        // synced: RocksDB takes that for damage, and would stay read-only until it is opened again.
        if self.is_failing.load(Ordering::Relaxed) {
            self.store.probe()?;
            self.note_success();
        }
        let written = self.written_ticket();
        if written > self.durable_ticket() {
            self.store.sync_wal()?;
            self.durable.fetch_max(written, Ordering::AcqRel);
        }
        Ok(written)
    }

    /// Figures about RocksDB and what is to be removed from it, as name and value. Waits for the device.
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        let mut figures = self.store.figures();
        figures.push(("dead_versions", self.dead_versions()));
        figures.push(("reclaimed_versions", self.reclaimed.load(Ordering::Relaxed)));
        figures.extend(self.config.device.iter().flat_map(Device::figures));
        figures
    }

    /// Makes those settings hold that RocksDB can change while it is open: see [`Store::retune`]. Waits.
    ///
    /// # Errors
    /// [`StoreError`]: a part may have been changed, or blob files are wanted while a table has a limit of
    /// bytes.
    pub fn retune(&self, config: &EngineConfig) -> Result<(), StoreError> {
        self.tenants.retune(&self.store, config)
    }

    /// What RocksDB wrote so far, if it counts.
    pub fn written_bytes(&self) -> Option<WrittenBytes> {
        self.store.written_bytes()
    }

    /// Writes all memtables to tables on disk. Waits.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }

    /// Makes closing fast: no compaction is waited for.
    pub fn stop_background_work(&self) {
        self.store.stop_background_work();
    }

    /// Brings entries into the block cache. A read that fails, fails again when the command that
    /// needs it is executed, and is reported there.
    pub(crate) fn fetch(&self, meta_keys: &[Vec<u8>]) {
        self.store.fetch(Family::Meta, meta_keys);
    }
}
