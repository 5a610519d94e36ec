//! Which table each database is: what SWAPDB exchanges.
//!
//! A client works in a *database*, by its number; what is on disk and in the caches lies in *tables*, whose
//! number is part of every key. Both are the same until SWAPDB exchanges the tables of two databases:
//! two records (`docs/storage-format.md`), written with whatever else the batch holds, and no key.
//!
//! A command looks its table up when it begins. SWAPDB works alone, like FLUSHALL: no other worker has
//! an open batch. So who writes only has to look again once its batch is open, which it does
//! ([`Executor::open_batch`]): until that batch is committed, nothing is exchanged. Who watches a key or
//! waits for one means a key of a database, and is entered under that: [`Executor::database_key`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use crate::batch::{Batch, Family};
use crate::client::Client;
use crate::executor::Executor;
use crate::key::{META_PREFIX_LEN, MetaKey};
use crate::store::{Store, StoreError};
use crate::watch::{State, Watch};

/// What the keys of the records begin with; the number of the database follows.
const PREFIX: &[u8] = b"database";
/// First byte of a record's value.
const VERSION: u8 = 1;

/// See the module page. One for all workers.
#[derive(Debug)]
pub(crate) struct Databases {
    /// Changes after each exchange.
    version: AtomicU64,
    /// The table of each database, and the database of each table.
    tables: Box<[AtomicU16]>,
    databases: Box<[AtomicU16]>,
}

impl Databases {
    /// Reads the records of a database with at least so many tables.
    pub(crate) fn load(store: &Store, tables: u16) -> Result<Self, StoreError> {
        let mut found = Vec::new();
        let mut iter = store.iter(Family::System);
        iter.seek(PREFIX);
        while let Some((key, value)) = iter.item() {
            let Some(rest) = key.strip_prefix(PREFIX) else { break };
            let damaged =
                || StoreError::Corruption(format!("record of a database: {}", key.escape_ascii()));
            let database = <[u8; 2]>::try_from(rest).map_err(|_length| damaged())?;
            let table = parse(value).ok_or_else(damaged)?;
            found.push((u16::from_be_bytes(database), table));
            iter.next();
        }
        iter.status().map_err(|error| StoreError::Io(error.to_string()))?;
        Self::new(tables, &found).ok_or_else(|| {
            StoreError::Corruption("two databases are said to be the same table".to_owned())
        })
    }

    /// With these tables of these databases, and the others as they were at first; `None`: two are
    /// the same.
    fn new(tables: u16, exchanged: &[(u16, u16)]) -> Option<Self> {
        let numbers = exchanged.iter().flat_map(|(database, table)| [*database, *table]);
        let count =
            numbers.map(|number| usize::from(number) + 1).fold(usize::from(tables), usize::max);
        let identity = || (0..count).filter_map(|number| u16::try_from(number).ok());
        let mut forward: Vec<u16> = identity().collect();
        for (database, table) in exchanged {
            *forward.get_mut(usize::from(*database))? = *table;
        }
        let mut back: Vec<Option<u16>> = vec![None; count];
        for (database, table) in identity().zip(&forward) {
            let cell = back.get_mut(usize::from(*table))?;
            if cell.replace(database).is_some() {
                return None;
            }
        }
        Some(Self {
            version: AtomicU64::new(0),
            tables: forward.into_iter().map(AtomicU16::new).collect(),
            databases: back.into_iter().flatten().map(AtomicU16::new).collect(),
        })
    }

    /// Tables that there may be keys in.
    pub(crate) fn count(&self) -> usize {
        self.tables.len()
    }

    /// The table of a database.
    pub(crate) fn table_of(&self, database: u16) -> u16 {
        let table = self.tables.get(usize::from(database));
        table.map_or(database, |table| table.load(Ordering::Acquire))
    }

    fn database_of(&self, table: u16) -> u16 {
        let database = self.databases.get(usize::from(table));
        database.map_or(table, |database| database.load(Ordering::Acquire))
    }

    /// Changes after each exchange.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Exchanges two tables, for everybody. Nobody else has an open batch.
    fn exchange(&self, first: u16, second: u16) {
        let (of_first, of_second) = (self.table_of(first), self.table_of(second));
        let set = |cells: &[AtomicU16], at: u16, number: u16| {
            if let Some(cell) = cells.get(usize::from(at)) {
                cell.store(number, Ordering::Release);
            }
        };
        set(&self.tables, first, of_second);
        set(&self.tables, second, of_first);
        set(&self.databases, of_second, first);
        set(&self.databases, of_first, second);
        // Last: who sees it sees the tables.
        self.version.fetch_add(1, Ordering::Release);
    }
}

fn record_key(database: u16) -> Vec<u8> {
    [PREFIX, &database.to_be_bytes()].concat()
}

fn record(table: u16) -> [u8; 3] {
    let [high, low] = table.to_be_bytes();
    [VERSION, high, low]
}

fn parse(bytes: &[u8]) -> Option<u16> {
    let &[VERSION, high, low] = bytes else { return None };
    Some(u16::from_be_bytes([high, low]))
}

/// An exchange in the open batch.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    first: u16,
    second: u16,
    /// Keys of the two that are watched, and how they are found from then on.
    watched: Vec<(Arc<Watch>, State)>,
}

impl Exchange {
    /// An exchange that concerns nobody who watches.
    pub(crate) fn new(first: u16, second: u16) -> Self {
        Self { first, second, watched: Vec::new() }
    }

    /// The same number in the other of the two; any other as it is.
    pub(crate) fn other(&self, database: u16) -> u16 {
        match database {
            _ if database == self.first => self.second,
            _ if database == self.second => self.first,
            _ => database,
        }
    }
}

impl Executor {
    /// A command begins: finds its table.
    pub(crate) fn find_table(&mut self, client: &mut Client) {
        // Before the table, so that one that is exchanged meanwhile is noticed.
        self.databases_version = self.engine.databases.version();
        client.table = self.engine.databases.table_of(client.database);
    }

    /// Whether tables were exchanged since the present command began.
    pub(crate) fn has_stale_table(&self) -> bool {
        self.engine.databases.version() != self.databases_version
    }

    /// The table of a database, as the open batch leaves it.
    pub(crate) fn table_of(&self, database: u16) -> u16 {
        self.engine.databases.table_of(before(&self.exchanges, database))
    }

    /// The database of a table, as the open batch leaves it.
    pub(crate) fn database_of(&self, table: u16) -> u16 {
        self.databases_of(table).last().unwrap_or(table)
    }

    /// The databases that a table is: what it was before the open batch, and then after each exchange
    /// in it.
    pub(crate) fn databases_of(&self, table: u16) -> impl Iterator<Item = u16> {
        let mut database = self.engine.databases.database_of(table);
        let after = self.exchanges.iter().map(move |exchange| {
            database = exchange.other(database);
            database
        });
        std::iter::once(self.engine.databases.database_of(table)).chain(after)
    }

    /// A meta key of a table as the key of its database.
    pub(crate) fn database_key(&self, meta_key: &[u8]) -> Vec<u8> {
        let table = MetaKey::parse(meta_key).map_or(0, |key| key.table);
        in_database(meta_key, self.database_of(table))
    }

    /// Adds to the batch that two databases exchange their tables; `watched`: keys of both that are
    /// watched, and how they are found after it.
    pub(crate) fn exchange(&mut self, first: u16, second: u16, watched: Vec<(Arc<Watch>, State)>) {
        let (of_first, of_second) = (self.table_of(first), self.table_of(second));
        write(&mut self.batch, first, of_second);
        write(&mut self.batch, second, of_first);
        self.exchanges.push(Exchange { first, second, watched });
        self.commit_requested = true;
    }

    /// Those who watch keys of exchanged tables see what there is now.
    pub(crate) fn touch_exchanged(&self) {
        for (watch, state) in self.exchanges.iter().flat_map(|exchange| &exchange.watched) {
            watch.find(*state);
        }
    }

    /// The batch was committed: what it exchanges is so for everybody. Calls those who wait for keys.
    pub(crate) fn finish_exchanges(&mut self, is_committed: bool) {
        let mut workers = Vec::new();
        if !self.exchanges.is_empty() {
            // It need not work alone any more.
            self.asked_exclusive = false;
        }
        for Exchange { first, second, .. } in std::mem::take(&mut self.exchanges) {
            if !is_committed {
                continue;
            }
            self.engine.databases.exchange(first, second);
            for database in [first, second] {
                self.engine.waits.call_database(database, &mut workers);
            }
        }
        for worker in workers {
            self.note_called(worker);
        }
    }
}

/// Which number `database` had before all these exchanges.
pub(crate) fn before(exchanges: &[Exchange], database: u16) -> u16 {
    exchanges.iter().rev().fold(database, |database, exchange| exchange.other(database))
}

/// A meta key with another number in front.
pub(crate) fn in_database(meta_key: &[u8], database: u16) -> Vec<u8> {
    let mut key = meta_key.to_vec();
    if key.len() >= META_PREFIX_LEN {
        key[..2].copy_from_slice(&database.to_be_bytes());
    }
    key
}

fn write(batch: &mut Batch, database: u16, table: u16) {
    if database == table {
        batch.delete(Family::System, &record_key(database));
    } else {
        batch.put(Family::System, &record_key(database), &record(table));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_records_of_databases() {
        assert_eq!(record_key(0x0102), *b"database\x01\x02");
        assert_eq!(record(0x0304), *b"\x01\x03\x04");
        assert_eq!(parse(b"\x01\x03\x04"), Some(0x0304));
        for wrong in [&b""[..], b"\x02\x03\x04", b"\x01\x03", b"\x01\x03\x04\x05"] {
            assert_eq!(parse(wrong), None, "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn databases_begin_as_their_tables_and_are_exchanged_both_ways() {
        let databases = Databases::new(4, &[]).unwrap();
        databases.exchange(0, 3);
        databases.exchange(1, 0);
        let tables: Vec<u16> = (0..5).map(|database| databases.table_of(database)).collect();
        assert_eq!(tables, [1, 3, 2, 0, 4]);
        for database in 0..5 {
            assert_eq!(databases.database_of(databases.table_of(database)), database);
        }
        assert_eq!(databases.version(), 2);
    }

    #[test]
    fn records_may_name_databases_that_select_no_longer_reaches() {
        let databases = Databases::new(2, &[(1, 9), (9, 1)]).unwrap();
        assert_eq!(
            (databases.count(), databases.table_of(1), databases.database_of(1)),
            (10, 9, 9)
        );
        assert!(Databases::new(2, &[(1, 9)]).is_none(), "two databases would be table 9");
    }

    #[test]
    fn exchanges_of_one_batch_follow_each_other() {
        let exchanges = [Exchange::new(0, 1), Exchange::new(1, 2)];
        let tables: Vec<u16> = (0..4).map(|database| before(&exchanges, database)).collect();
        assert_eq!(tables, [1, 2, 0, 3]);
    }
}
