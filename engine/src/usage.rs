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
//! Therefore a thread that may wait calls [`Engine::measure_tables`] every second, and, if a table is
//! near its limit or beyond, [`Engine::settle_tables`]: it writes memtables to disk, and compacts a
//! table that is still full and of which something was removed since the last time. Nothing here is
//! kept: RocksDB writes its memtables to disk when it recovers a log, so after a start all is there.
//!
//! Without a limit of bytes, a commit costs one load more.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::batch::{Batch, Family, Pending};
use crate::engine::Engine;
use crate::store::StoreError;

/// The families whose keys begin with a table. Deadlines, counters and the records of dead versions
/// are nobody's.
const FAMILIES: [Family; 3] = [Family::Meta, Family::Data, Family::Score];

/// What an entry takes beside its key and value: RocksDB's eight bytes of sequence and type, lengths,
/// and its share of filters and indexes.
const ENTRY_BYTES: usize = 16;

/// A table with more than `1 - 1/NEAR_PARTS` of its limit is settled.
const NEAR_PARTS: u64 = 8;

/// So is one that has grown by so many bytes since the last time: most of that is on disk by then, and
/// counted twice.
const GROWN_MAX: u64 = 256 << 20;

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
}

impl Usage {
    fn grown(&self) -> u64 {
        u64::try_from(self.grown.load(Ordering::Relaxed)).unwrap_or(0)
    }

    fn bytes(&self) -> u64 {
        self.on_disk.load(Ordering::Relaxed).saturating_add(self.grown())
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

    /// What a table takes, if it has a limit.
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
                    usage.grown.store(0, Ordering::Relaxed);
                    usage.changes.fetch_add(1, Ordering::Relaxed);
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
            usage.changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an entry that is written by somebody else than a worker.
    pub(crate) fn note_entry(&self, key: &[u8], value: &[u8]) {
        if self.is_counting()
            && let Some(usage) = self.counted(key)
        {
            usage.grow(as_i64(key.len() + value.len() + ENTRY_BYTES));
        }
    }
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

    /// What the table of a database takes. Waits for the device.
    pub(crate) fn bytes_of(&self, database: u16) -> u64 {
        let table = self.databases.table_of(database);
        match self.usages.of(table) {
            Some(usage) if usage.is_counted.load(Ordering::Relaxed) => usage.bytes(),
            _ => self.bytes_on_disk(table),
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
        let removed = self.reclaimed.load(Ordering::Relaxed);
        usage.changes.load(Ordering::Relaxed).wrapping_add(removed)
    }

    /// Measures the tables with a limit of bytes. `true`: [`Engine::settle_tables`] has something to
    /// do. Waits for the device; for a table that had no limit before, until its memtables are
    /// written.
    ///
    /// # Errors
    /// [`StoreError`]: a table is not measured, and its limit does not hold yet.
    pub fn measure_tables(&self) -> Result<bool, StoreError> {
        if !self.tenants.is_used() {
            return Ok(false);
        }
        let _measuring = self.usages.measuring.lock().unwrap_or_else(PoisonError::into_inner);
        let limited = self.limited_tables();
        for (table, usage) in (0u16..).zip(&self.usages.tables) {
            let is_limited = limited.iter().any(|(limited, _)| *limited == table);
            if usage.is_counted.swap(is_limited, Ordering::Relaxed) != is_limited {
                usage.is_measured.store(false, Ordering::Relaxed);
                usage.on_disk.store(0, Ordering::Relaxed);
                usage.grown.store(0, Ordering::Relaxed);
            }
        }
        self.usages.is_counting.store(!limited.is_empty(), Ordering::Relaxed);
        let of = |table: u16| self.usages.of(table);
        let is_new = |usage: &Usage| !usage.is_measured.load(Ordering::Relaxed);
        if limited.iter().filter_map(|(table, _)| of(*table)).any(is_new) {
            // What was written before it was counted.
            self.store.flush_families(&FAMILIES)?;
        }
        let mut is_due = false;
        for (table, limit) in limited {
            let Some(usage) = of(table) else { continue };
            usage.on_disk.store(self.bytes_on_disk(table), Ordering::Relaxed);
            usage.is_measured.store(true, Ordering::Relaxed);
            is_due |= self.is_due(usage, limit);
        }
        Ok(is_due)
    }

    fn is_due(&self, usage: &Usage, limit: u64) -> bool {
        let (bytes, grown) = (usage.bytes(), usage.grown());
        let is_near = bytes >= limit - limit / NEAR_PARTS;
        (is_near && grown > 0) || grown >= GROWN_MAX || self.wants_compaction(usage, limit)
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
                && self.is_due(usage, limit)
            {
                // All of this is on disk after the flush.
                tables.push((table, limit, usage, usage.grown.load(Ordering::Relaxed)));
            }
        }
        self.store.flush_families(&FAMILIES)?;
        for &(table, _, usage, grown) in &tables {
            usage.grow(-grown);
            usage.on_disk.store(self.bytes_on_disk(table), Ordering::Relaxed);
        }
        // TABLE SET does not wait for compactions.
        drop(measuring);
        for (table, limit, usage, _) in tables {
            if !self.wants_compaction(usage, limit) {
                continue;
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
