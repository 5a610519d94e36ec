//! How many bytes tables take, for the limits of named ones ([`crate::tenant`]).
//!
//! What a table takes is what lies on disk between its first and its last key in the three families
//! whose keys begin with a table: RocksDB knows that to within a few blocks of each file, from the
//! files' indexes, after compression. What is not on disk yet is counted by the workers: with each
//! commit, what its entries add, less what they replace if the worker knows it from its cache. So a
//! worker compares two numbers with the limit, and never looks for anything.
//!
//! The sum errs upwards, never for long:
//! - what the workers have counted stays counted when RocksDB writes it to disk by itself, until
//!   [`Engine::settle_tables`];
//! - removed and overwritten entries stay on disk until RocksDB compacts them.
//!
//! Therefore a thread that may wait calls [`Engine::measure_tables`] every second, and, if that says so,
//! [`Engine::settle_tables`]: it writes memtables to disk, and compacts a table that is still full and
//! of which something may have been removed since the last time. A table that was emptied counts as
//! empty at once: what is still on disk is compacted before it is measured again. All of that is the
//! whole server's work, so a table gets it only for what may change its state: [`Due`]. Nothing here is
//! kept: RocksDB writes its memtables to disk when it recovers a log, so after a start all is there.
//!
//! Without a limit of bytes, a commit costs one load more. What a named table without one takes is
//! measured for those who look ([`Engine::measure_unlimited_tables`]), and kept, because they do not
//! wait for the device.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::batch::{Batch, Family, Pending};
use crate::engine::Engine;
use crate::reclaim;
use crate::store::StoreError;

/// The families whose keys begin with a table. Deadlines, counters and the records of dead versions
/// are nobody's.
const FAMILIES: [Family; 3] = [Family::Meta, Family::Data, Family::Score];

/// What an entry takes beside its key and value: RocksDB's eight bytes of sequence and type, lengths,
/// and its share of filters and indexes.
const ENTRY_BYTES: usize = 16;

/// A table with more than `1 - 1/NEAR_PARTS` of its limit is near it.
const NEAR_PARTS: u64 = 8;

/// One that is near its limit is settled when it has grown by this part of it, but no less than
/// [`GROWN_MIN`]: memtables are everybody's, and small ones make much work for compactions.
const GROWN_PARTS: u64 = 32;
const GROWN_MIN: u64 = 16 << 20;

/// So is every one that has grown by so many bytes since the last time: most of that is on disk by then,
/// and counted twice.
const GROWN_MAX: u64 = 256 << 20;

/// Records of dead versions that are looked at for those of one table.
const DEAD_MAX: usize = 100_000;

/// Whether [`Engine::settle_tables`] has something to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Due {
    /// Nothing.
    Never,
    /// What is counted has become inexact, and refuses nothing yet.
    Soon,
    /// A table refuses writes that it may have room for, or has been emptied.
    Now,
}

/// What one table takes.
#[derive(Debug, Default)]
struct Usage {
    /// Workers count what it grows by.
    is_counted: AtomicBool,
    /// What is on disk was measured since.
    is_measured: AtomicBool,
    on_disk: AtomicU64,
    /// What was written since the last settlement, less what is known to have been replaced.
    grown: AtomicI64,
    /// Batches that wrote to it.
    changes: AtomicU64,
    /// [`Engine::state_of`] when it was compacted last.
    compacted_at: AtomicU64,
    /// It had no dead versions when it was compacted last, and nothing was written to it since.
    is_swept: AtomicBool,
    /// It was emptied, and what it had is on disk still.
    is_emptied: AtomicBool,
}

impl Usage {
    fn grown(&self) -> u64 {
        u64::try_from(self.grown.load(Ordering::Relaxed)).unwrap_or(0)
    }

    fn bytes(&self) -> u64 {
        self.on_disk.load(Ordering::Relaxed).saturating_add(self.grown())
    }

    fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.is_swept.store(false, Ordering::Relaxed);
    }

    fn note_emptied(&self) {
        self.is_emptied.store(true, Ordering::Relaxed);
        self.on_disk.store(0, Ordering::Relaxed);
        self.grown.store(0, Ordering::Relaxed);
        self.note_change();
    }

    /// Removing what was on disk before takes nothing off what is not: never below zero.
    fn grow(&self, bytes: i64) {
        let grown = |now: i64| Some(now.saturating_add(bytes).max(0));
        self.grown.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).ok();
    }
}

/// See the module page.
#[derive(Debug)]
pub(crate) struct Usages {
    /// Some table is counted.
    is_counting: AtomicBool,
    tables: Box<[Usage]>,
    /// Held while tables are measured.
    measuring: Mutex<()>,
}

impl Usages {
    pub(crate) fn new(tables: usize) -> Self {
        let mut usages = Vec::new();
        usages.resize_with(tables, Usage::default);
        let (is_counting, measuring) = (AtomicBool::new(false), Mutex::new(()));
        Self { is_counting, tables: usages.into(), measuring }
    }

    fn of(&self, table: u16) -> Option<&Usage> {
        self.tables.get(usize::from(table))
    }

    fn counted(&self, key: &[u8]) -> Option<&Usage> {
        let table = u16::from_be_bytes(*key.first_chunk()?);
        self.of(table).filter(|usage| usage.is_counted.load(Ordering::Relaxed))
    }

    /// What a table takes, if it has a limit; otherwise what it took when it was measured last.
    pub(crate) fn bytes(&self, table: u16) -> u64 {
        self.of(table).map_or(0, Usage::bytes)
    }

    /// Whether [`Usages::note`] has something to do.
    pub(crate) fn is_counting(&self) -> bool {
        self.is_counting.load(Ordering::Relaxed)
    }

    /// Counts what a committed batch adds. `replaced_len` knows how long the replaced values of some
    /// meta keys were.
    pub(crate) fn note(&self, batch: &Batch, replaced_len: impl Fn(&[u8]) -> Option<usize>) {
        for (begin, end) in batch.emptied_ranges() {
            for (table, usage) in (0u16..).zip(&self.tables) {
                if (begin..end).contains(&&table.to_be_bytes()[..]) {
                    usage.note_emptied();
                }
            }
        }
        // One entry for each table that the batch touches; few.
        let mut grown: Vec<(&Usage, i64)> = Vec::new();
        for (family, key, pending) in batch.latest() {
            let Some(usage) = self.counted(key) else { continue };
            let len = |value_len: usize| as_i64(key.len() + value_len + ENTRY_BYTES);
            let added = match pending {
                Pending::Put(value) => len(value.len()),
                Pending::Deleted => 0,
            };
            let replaced = match family {
                Family::Meta => replaced_len(key).map_or(0, len),
                _ => 0,
            };
            match grown.iter_mut().find(|(other, _)| std::ptr::eq(*other, usage)) {
                Some((_, sum)) => *sum += added - replaced,
                None => grown.push((usage, added - replaced)),
            }
        }
        for (usage, bytes) in grown {
            usage.grow(bytes);
            usage.note_change();
        }
    }

    /// Counts an entry that is written by somebody else than a worker.
    pub(crate) fn note_entry(&self, key: &[u8], value: &[u8]) {
        if self.is_counting()
            && let Some(usage) = self.counted(key)
        {
            usage.grow(as_i64(key.len() + value.len() + ENTRY_BYTES));
            // Its version may never be named.
            usage.is_swept.store(false, Ordering::Relaxed);
        }
    }
}

fn is_near(bytes: u64, limit: u64) -> bool {
    bytes >= limit - limit / NEAR_PARTS
}

fn as_i64(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

impl Engine {
    /// What a table takes on disk, about. Waits for the device.
    fn bytes_on_disk(&self, table: u16) -> u64 {
        let Range { start, end } = bounds(table);
        FAMILIES.into_iter().map(|family| self.store.bytes_on_disk(family, &start, &end)).sum()
    }

    /// What the table of a database takes, as far as it is known without looking.
    pub(crate) fn bytes_of(&self, database: u16) -> u64 {
        self.usages.bytes(self.databases.table_of(database))
    }

    /// Measures the named tables without a limit of bytes. Waits for the device.
    pub fn measure_unlimited_tables(&self) {
        let _measuring = self.usages.measuring.lock().unwrap_or_else(PoisonError::into_inner);
        for tenant in self.tenants.all() {
            let table = self.databases.table_of(tenant.table);
            if let Some(usage) = self.usages.of(table)
                && !usage.is_counted.load(Ordering::Relaxed)
            {
                usage.on_disk.store(self.bytes_on_disk(table), Ordering::Relaxed);
            }
        }
    }

    /// The tables with a limit of bytes, and the limits.
    fn limited_tables(&self) -> Vec<(u16, u64)> {
        let all = self.tenants.all();
        let limited = all.iter().filter(|tenant| tenant.quota.bytes_max > 0);
        let table_of = |database| self.databases.table_of(database);
        limited.map(|tenant| (table_of(tenant.table), tenant.quota.bytes_max)).collect()
    }

    /// Changes with everything after which compacting a table may free something.
    fn state_of(&self, usage: &Usage) -> u64 {
        let removed = match usage.is_swept.load(Ordering::Relaxed) {
            // What is removed belongs to others.
            true => 0,
            false => self.reclaimed.load(Ordering::Relaxed),
        };
        usage.changes.load(Ordering::Relaxed).wrapping_add(removed)
    }

    /// Whether dead versions of a table may wait to be removed. Waits for the device.
    fn may_have_dead(&self, table: u16) -> bool {
        let mut first = Vec::new();
        reclaim::write_record_key(&mut first, 0, &[]);
        let version_at = first.len() - size_of::<u64>();
        let mut iter = self.store.iter(Family::System);
        iter.seek(&first);
        for _ in 0..DEAD_MAX {
            let Some(key) = iter.key().filter(|key| key.starts_with(&first[..version_at])) else {
                return iter.status().is_err();
            };
            if key.get(first.len()..).is_some_and(|key| key.starts_with(&table.to_be_bytes())) {
                return true;
            }
            iter.next();
        }
        true
    }

    /// Measures the tables with a limit of bytes, and says whether [`Engine::settle_tables`] has
    /// something to do. Waits for the device; for a table that had no limit before, until its memtables
    /// are written.
    ///
    /// # Errors
    /// [`StoreError`]: a table is not measured, and its limit does not hold yet.
    pub fn measure_tables(&self) -> Result<Due, StoreError> {
        if !self.tenants.is_used() {
            return Ok(Due::Never);
        }
        let _measuring = self.usages.measuring.lock().unwrap_or_else(PoisonError::into_inner);
        let limited = self.limited_tables();
        for (table, usage) in (0u16..).zip(&self.usages.tables) {
            let is_limited = limited.iter().any(|(limited, _)| *limited == table);
            if usage.is_counted.swap(is_limited, Ordering::Relaxed) != is_limited {
                usage.is_measured.store(false, Ordering::Relaxed);
                usage.on_disk.store(0, Ordering::Relaxed);
                usage.grown.store(0, Ordering::Relaxed);
                usage.is_emptied.store(false, Ordering::Relaxed);
            }
        }
        self.usages.is_counting.store(!limited.is_empty(), Ordering::Relaxed);
        let of = |table: u16| self.usages.of(table);
        let is_new = |usage: &Usage| !usage.is_measured.load(Ordering::Relaxed);
        if limited.iter().filter_map(|(table, _)| of(*table)).any(is_new) {
            // What was written before it was counted.
            self.store.flush_families(&FAMILIES)?;
        }
        let mut due = Due::Never;
        for (table, limit) in limited {
            let Some(usage) = of(table) else { continue };
            let on_disk = self.bytes_on_disk(table);
            // Most of what an emptied table has on disk is gone. Little is not worth a compaction.
            let is_hollow = usage.is_emptied.load(Ordering::Relaxed) && is_near(on_disk, limit);
            if !is_hollow {
                usage.is_emptied.store(false, Ordering::Relaxed);
                usage.on_disk.store(on_disk, Ordering::Relaxed);
            }
            usage.is_measured.store(true, Ordering::Relaxed);
            due = due.max(self.settlement_due(usage, limit));
        }
        Ok(due)
    }

    fn settlement_due(&self, usage: &Usage, limit: u64) -> Due {
        let (bytes, grown) = (usage.bytes(), usage.grown());
        let is_emptied = usage.is_emptied.load(Ordering::Relaxed);
        // Where the disk alone is full, writing more to it changes nothing.
        let is_full_by_count = bytes >= limit && usage.on_disk.load(Ordering::Relaxed) < limit;
        if is_emptied || is_full_by_count || self.wants_compaction(usage, limit) {
            return Due::Now;
        }
        let is_inexact = grown >= (limit / GROWN_PARTS).max(GROWN_MIN) && is_near(bytes, limit);
        if is_inexact || grown >= GROWN_MAX { Due::Soon } else { Due::Never }
    }

    fn wants_compaction(&self, usage: &Usage, limit: u64) -> bool {
        let compacted_at = usage.compacted_at.load(Ordering::Relaxed);
        usage.bytes() >= limit && self.state_of(usage) != compacted_at
    }

    /// Finds out what tables near their limit really take: writes memtables to disk, and compacts those
    /// that are full. Waits for the device, for as long as compacting them takes; ends early when
    /// background work is stopped.
    ///
    /// # Errors
    /// [`StoreError`]: what is known of the tables is as before.
    pub fn settle_tables(&self) -> Result<(), StoreError> {
        let measuring = self.usages.measuring.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tables = Vec::new();
        for (table, limit) in self.limited_tables() {
            if let Some(usage) = self.usages.of(table)
                && self.settlement_due(usage, limit) != Due::Never
            {
                // All of this is on disk after the flush.
                let grown = usage.grown.load(Ordering::Relaxed);
                let is_emptied = usage.is_emptied.load(Ordering::Relaxed);
                tables.push((table, limit, usage, grown, is_emptied));
            }
        }
        self.store.flush_families(&FAMILIES)?;
        for &(table, _, usage, grown, is_emptied) in &tables {
            // Of an emptied table it stays counted until the rest is compacted.
            if !is_emptied {
                usage.grow(-grown);
                usage.on_disk.store(self.bytes_on_disk(table), Ordering::Relaxed);
            }
        }
        // TABLE SET does not wait for compactions.
        drop(measuring);
        for (table, limit, usage, grown, is_emptied) in tables {
            if !is_emptied && !self.wants_compaction(usage, limit) {
                continue;
            }
            usage.is_swept.store(true, Ordering::Relaxed);
            if self.may_have_dead(table) {
                usage.is_swept.store(false, Ordering::Relaxed);
            }
            let state = self.state_of(usage);
            // What an earlier moment is read for stays.
            let has_snapshots = self.store.has_snapshots();
            let Range { start, end } = bounds(table);
            for family in FAMILIES {
                self.store.compact(family, &start, &end);
            }
            if !has_snapshots {
                usage.compacted_at.store(state, Ordering::Relaxed);
            }
            if is_emptied {
                if has_snapshots {
                    continue;
                }
                usage.is_emptied.store(false, Ordering::Relaxed);
                usage.grow(-grown);
            }
            usage.on_disk.store(self.bytes_on_disk(table), Ordering::Relaxed);
        }
        Ok(())
    }
}

/// What lies between the first and the last key of a table.
fn bounds(table: u16) -> Range<Vec<u8>> {
    let end = match table.checked_add(1) {
        Some(next) => next.to_be_bytes().to_vec(),
        // No key of a table is as long.
        None => vec![0xff; 4],
    };
    table.to_be_bytes().to_vec()..end
}
