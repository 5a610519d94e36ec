//! Exact numbers of keys, without counting keys.
//!
//! Each worker adds what its batches create and remove to counters of its own, and writes their
//! new values in the very batch that changes them. So a table's number of keys is the sum over
//! workers, at any moment and after any crash, and no two workers write the same record.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::batch::{Batch, Family};
use crate::store::{Store, StoreError};

const PREFIX: &[u8] = b"count";
/// `count`, worker u16, table u16.
const KEY_LEN: usize = 9;

/// Keys of one table, as one worker counted them or as the sum of all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Keys, expired ones included until they are removed.
    pub keys: i64,
    /// Keys that have a deadline.
    pub expires: i64,
}

impl Count {
    fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.keys.to_be_bytes());
        bytes[8..].copy_from_slice(&self.expires.to_be_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (keys, rest) = bytes.split_first_chunk::<8>()?;
        let expires = <[u8; 8]>::try_from(rest).ok()?;
        Some(Self { keys: i64::from_be_bytes(*keys), expires: i64::from_be_bytes(expires) })
    }

    fn is_zero(self) -> bool {
        self == Self::default()
    }
}

/// The counters of all workers that ever wrote to this database.
#[derive(Debug)]
pub struct Counts {
    tables: usize,
    /// `[worker][table]`.
    cells: Vec<Cell>,
}

#[derive(Debug, Default)]
struct Cell {
    keys: AtomicI64,
    expires: AtomicI64,
}

impl Cell {
    fn get(&self) -> Count {
        Count {
            keys: self.keys.load(Ordering::Relaxed),
            expires: self.expires.load(Ordering::Relaxed),
        }
    }

    fn set(&self, count: Count) {
        self.keys.store(count.keys, Ordering::Relaxed);
        self.expires.store(count.expires, Ordering::Relaxed);
    }
}

impl Counts {
    /// Reads the counters of a database with `tables` tables, for at least `workers` workers.
    ///
    /// # Errors
    /// [`StoreError`]: they cannot be read, or are damaged.
    pub(crate) fn load(store: &Store, workers: usize, tables: usize) -> Result<Self, StoreError> {
        let mut found = Vec::new();
        let mut iter = store.iter(Family::System);
        iter.seek(PREFIX);
        while let Some((key, value)) = iter.item() {
            let Some(rest) = key.strip_prefix(PREFIX) else { break };
            let damaged = || StoreError::Corruption(format!("counter {}", key.escape_ascii()));
            let &[w0, w1, t0, t1] = rest else { return Err(damaged()) };
            let worker = usize::from(u16::from_be_bytes([w0, w1]));
            let table = usize::from(u16::from_be_bytes([t0, t1]));
            found.push((worker, table, Count::parse(value).ok_or_else(damaged)?));
            iter.next();
        }
        iter.status().map_err(|error| StoreError::Io(error.to_string()))?;
        let workers = found.iter().map(|(worker, ..)| worker + 1).fold(workers, usize::max);
        let tables = found.iter().map(|(_, table, _)| table + 1).fold(tables, usize::max);
        let mut cells = Vec::new();
        cells.resize_with(workers * tables, Cell::default);
        let counts = Self { tables, cells };
        for (worker, table, count) in found {
            counts.cell(worker, table).set(count);
        }
        Ok(counts)
    }

    /// Keys of a table.
    pub fn total(&self, table: u16) -> Count {
        let mut total = Count::default();
        for cell in self.cells.iter().skip(usize::from(table)).step_by(self.tables) {
            let count = cell.get();
            total.keys += count.keys;
            total.expires += count.expires;
        }
        total
    }

    /// Tables that are counted.
    pub fn tables(&self) -> usize {
        self.tables
    }

    fn cell(&self, worker: usize, table: usize) -> &Cell {
        &self.cells[worker * self.tables + table]
    }
}

/// What one open batch changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// One entry for each table that the batch touches; few.
    by_table: Vec<(u16, Count)>,
    /// Tables that the batch empties.
    emptied: Vec<u16>,
}

impl Changes {
    /// Notes that the batch changes a table by this much.
    pub(crate) fn add(&mut self, table: u16, keys: i64, expires: i64) {
        if keys == 0 && expires == 0 {
            return;
        }
        let at = match self.by_table.iter().position(|(other, _)| *other == table) {
            Some(at) => at,
            None => {
                self.by_table.push((table, Count::default()));
                self.by_table.len() - 1
            }
        };
        let count = &mut self.by_table[at].1;
        count.keys += keys;
        count.expires += expires;
    }

    /// Adds what another batch, whose records were added to this one, changes.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (table, count) in &other.by_table {
            self.add(*table, count.keys, count.expires);
        }
    }

    /// Notes that the batch empties a table.
    pub(crate) fn empty(&mut self, table: u16) {
        self.by_table.retain(|(other, _)| *other != table);
        self.emptied.push(table);
    }

    /// What the batch changes in a table.
    pub(crate) fn of(&self, table: u16) -> Count {
        let change = self.by_table.iter().find(|(other, _)| *other == table);
        change.map_or_else(Count::default, |(_, count)| *count)
    }

    /// Adds the counters' new values to the batch.
    pub(crate) fn write(&self, counts: &Counts, worker: usize, batch: &mut Batch) {
        for (worker, table, count) in self.new_values(counts, worker) {
            batch.put(Family::System, &record_key(worker, table), &count.to_bytes());
        }
    }

    /// The batch is committed: makes the new values those that everybody sees.
    pub(crate) fn apply(&mut self, counts: &Counts, worker: usize) {
        for (worker, table, count) in self.new_values(counts, worker) {
            counts.cell(worker, table).set(count);
        }
        self.clear();
    }

    /// The batch is gone.
    pub(crate) fn clear(&mut self) {
        self.by_table.clear();
        self.emptied.clear();
    }

    fn new_values(&self, counts: &Counts, worker: usize) -> Vec<(usize, usize, Count)> {
        if self.by_table.iter().all(|(_, change)| change.is_zero()) && self.emptied.is_empty() {
            return Vec::new();
        }
        let mut values = Vec::new();
        let workers = counts.cells.len() / counts.tables;
        for &table in &self.emptied {
            for other in 0..workers {
                values.push((other, usize::from(table), Count::default()));
            }
        }
        for &(table, change) in &self.by_table {
            if !change.is_zero() {
                // What the batch adds to a table that it emptied before, it adds to nothing.
                let is_emptied = self.emptied.contains(&table);
                let now = counts.cell(worker, usize::from(table)).get();
                let now = if is_emptied { Count::default() } else { now };
                let keys = now.keys + change.keys;
                let expires = now.expires + change.expires;
                values.push((worker, usize::from(table), Count { keys, expires }));
            }
        }
        values
    }
}

fn record_key(worker: usize, table: usize) -> [u8; KEY_LEN] {
    let number = |value: usize| u16::try_from(value).expect("worker and table ids are 16 bits");
    let mut key = [0; KEY_LEN];
    key[..5].copy_from_slice(PREFIX);
    key[5..7].copy_from_slice(&number(worker).to_be_bytes());
    key[7..].copy_from_slice(&number(table).to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_counter_records() {
        assert_eq!(record_key(1, 0x0203), *b"count\x00\x01\x02\x03");
        let count = Count { keys: 5, expires: -1 };
        let bytes = count.to_bytes();
        assert_eq!(bytes[..8], [0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(bytes[8..], [0xff; 8]);
        assert_eq!(Count::parse(&bytes), Some(count));
        assert_eq!(Count::parse(&bytes[..15]), None);
    }
}
