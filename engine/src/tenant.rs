//! Named tables: databases that have a name and quotas, for tenants who share a server.
//!
//! A named table is one of the databases that SELECT chooses by number: it gets a name, by which it
//! can be chosen too, and limits. A user of ACL can be bound to it (`table=<name>`): it works there
//! from AUTH on, and cannot leave. Names and limits are records of the database
//! (`docs/storage-format.md`), changed by TABLE.
//!
//! All are in one map behind a lock. Workers keep a copy ([`LocalTenants`]), which they replace when the
//! map's version has changed; so a command costs one load while there are no named tables, and no lock
//! otherwise.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use coney_base::UnixMillis;
use rocksdb::WriteBatch;

use crate::EngineConfig;
use crate::batch::{Batch, Family};
use crate::client::Client;
use crate::command::{Categories, CommandError, CommandSpec, Flags};
use crate::engine::Engine;
use crate::executor::Executor;
use crate::store::{Store, StoreError};
use crate::varint;

/// Longest name of a table, in bytes.
pub const NAME_LEN_MAX: usize = 64;

/// What the keys of the records begin with; the number of the table follows.
const PREFIX: &[u8] = b"table";
/// First byte of a record's value, without a limit of bytes and with one.
const VERSION: u8 = 1;
const VERSION_WITH_BYTES: u8 = 2;

/// What a named table may hold and do; 0: any number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Quota {
    /// Keys: commands that may add some are refused from there on.
    pub(crate) keys_max: u64,
    /// Commands in one second.
    pub(crate) commands_max: u64,
    /// Bytes: commands that may add some are refused from there on. See [`crate::usage`].
    pub(crate) bytes_max: u64,
}

/// A named table.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) name: Vec<u8>,
    pub(crate) table: u16,
    pub(crate) quota: Quota,
    /// The second since 1970 in the upper half, and the commands in it.
    window: AtomicU64,
}

impl Tenant {
    fn new(name: &[u8], table: u16, quota: Quota) -> Self {
        Self { name: name.to_vec(), table, quota, window: AtomicU64::new(0) }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let has_limit = self.quota.bytes_max > 0;
        let mut bytes = vec![if has_limit { VERSION_WITH_BYTES } else { VERSION }];
        varint::write_slice(&mut bytes, &self.name);
        varint::write(&mut bytes, self.quota.keys_max);
        varint::write(&mut bytes, self.quota.commands_max);
        if has_limit {
            varint::write(&mut bytes, self.quota.bytes_max);
        }
        bytes
    }

    fn parse(table: u16, bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (name, rest) = varint::read_slice(rest)?;
        let (keys_max, rest) = varint::read(rest)?;
        let (commands_max, rest) = varint::read(rest)?;
        let (bytes_max, rest) = match *version {
            VERSION => (0, rest),
            VERSION_WITH_BYTES => varint::read(rest)?,
            _ => return None,
        };
        let is_right = rest.is_empty() && is_name(name);
        is_right.then(|| Self::new(name, table, Quota { keys_max, commands_max, bytes_max }))
    }

    /// Counts a command; `false`: there were too many in this second.
    fn admits(&self, now: UnixMillis) -> bool {
        let second = (now.0 / 1000) << 32;
        let count = |window: u64| if window & !0xffff_ffff == second { window } else { second };
        let counted = self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |window| {
            let window = count(window);
            (window & 0xffff_ffff < self.quota.commands_max.min(0xffff_ffff)).then_some(window + 1)
        });
        counted.is_ok()
    }
}

/// Whether a table can be called that: a word that is no number.
pub(crate) fn is_name(name: &[u8]) -> bool {
    (1..=NAME_LEN_MAX).contains(&name.len())
        && name.iter().all(u8::is_ascii_graphic)
        && coney_resp::number::parse_i64(name).is_none()
}

fn record_key(table: u16) -> Vec<u8> {
    [PREFIX, &table.to_be_bytes()].concat()
}

/// Why TABLE changed nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TenantError {
    #[error("ERR there is a table of this name already")]
    NameTaken,
    #[error("ERR the database has a name already")]
    TableTaken,
    #[error("ERR there is no table of this name")]
    Unknown,
    #[error("ERR no database is free: raise `databases`, or drop a table")]
    NoneFree,
    #[error(
        "ERR MAXBYTES is not possible while values lie in blob files, whose bytes cannot be told apart by \
         table: set blob-threshold to 0, and wait until compactions have emptied the files (blob_bytes in INFO)"
    )]
    Blobs,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<TenantError> for CommandError {
    fn from(error: TenantError) -> Self {
        match error {
            TenantError::Store(error) => Self::Store(error),
            other => Self::Owned(other.to_string()),
        }
    }
}

type Named = BTreeMap<Vec<u8>, Arc<Tenant>>;

/// See the module page.
#[derive(Debug)]
pub(crate) struct Tenants {
    /// Changes with every change; 0: there was never a named table.
    version: AtomicU64,
    named: RwLock<Named>,
    /// Held while one is changed, on the I/O pool.
    changing: Mutex<()>,
}

impl Tenants {
    /// Reads the records of a database.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let mut named = Named::new();
        let mut iter = store.iter(Family::System);
        iter.seek(PREFIX);
        while let Some((key, value)) = iter.item() {
            let Some(rest) = key.strip_prefix(PREFIX) else { break };
            let damaged =
                || StoreError::Corruption(format!("record of a table: {}", key.escape_ascii()));
            let number = <[u8; 2]>::try_from(rest).map_err(|_length| damaged())?;
            let tenant = Tenant::parse(u16::from_be_bytes(number), value).ok_or_else(damaged)?;
            named.insert(tenant.name.clone(), Arc::new(tenant));
            iter.next();
        }
        iter.status().map_err(|error| StoreError::Io(error.to_string()))?;
        let version = AtomicU64::new(u64::from(!named.is_empty()));
        Ok(Self { version, named: RwLock::new(named), changing: Mutex::new(()) })
    }

    /// Whether there was ever a named table.
    pub(crate) fn is_used(&self) -> bool {
        self.version.load(Ordering::Acquire) > 0
    }

    /// All, in the order of their names.
    pub(crate) fn all(&self) -> Vec<Arc<Tenant>> {
        self.named.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The named table that is this database.
    pub(crate) fn of(&self, database: u16) -> Option<Arc<Tenant>> {
        if !self.is_used() {
            return None;
        }
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        named.values().find(|tenant| tenant.table == database).cloned()
    }

    /// The table of this name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Arc<Tenant>> {
        self.named.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Names a database: this one, or the last of the `tables` databases that has no name. Returns
    /// its number.
    pub(crate) fn create(
        &self,
        store: &Store,
        name: &[u8],
        table: Option<u16>,
        tables: u16,
        quota: Quota,
    ) -> Result<u16, TenantError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.all();
        if all.iter().any(|tenant| tenant.name == name) {
            return Err(TenantError::NameTaken);
        }
        let is_free = |table: &u16| all.iter().all(|tenant| tenant.table != *table);
        let table = match table {
            Some(table) if is_free(&table) => table,
            Some(_) => return Err(TenantError::TableTaken),
            // The first one is everybody's.
            None => (1..tables).rev().find(is_free).ok_or(TenantError::NoneFree)?,
        };
        if quota.bytes_max > 0 && store.uses_blob_files() {
            return Err(TenantError::Blobs);
        }
        self.put(store, Tenant::new(name, table, quota))?;
        Ok(table)
    }

    /// Changes the limits of a table.
    pub(crate) fn set(
        &self,
        store: &Store,
        name: &[u8],
        change: impl FnOnce(&mut Quota),
    ) -> Result<(), TenantError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let tenant = self.get(name).ok_or(TenantError::Unknown)?;
        let mut quota = tenant.quota;
        change(&mut quota);
        let is_new = quota.bytes_max != tenant.quota.bytes_max;
        if is_new && quota.bytes_max > 0 && store.uses_blob_files() {
            return Err(TenantError::Blobs);
        }
        Ok(self.put(store, Tenant::new(name, tenant.table, quota))?)
    }

    /// Changes RocksDB's settings, unless they would begin to make blob files while a table has a limit of bytes.
    pub(crate) fn retune(&self, store: &Store, config: &EngineConfig) -> Result<(), StoreError> {
        // No limit comes in between.
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = config.tuning.blobs.threshold_bytes > 0 && !store.makes_blob_files();
        if begins && let Some(tenant) = self.all().iter().find(|tenant| tenant.quota.bytes_max > 0)
        {
            return Err(StoreError::Other(format!(
                "values cannot go to blob files while the table {} has MAXBYTES, because their bytes cannot be \
                 told apart by table",
                tenant.name.escape_ascii()
            )));
        }
        store.retune(config)
    }

    /// Takes a table's name away; its keys stay where they are.
    pub(crate) fn drop_name(&self, store: &Store, name: &[u8]) -> Result<(), TenantError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let tenant = self.get(name).ok_or(TenantError::Unknown)?;
        let mut batch = Batch::new();
        batch.delete(Family::System, &record_key(tenant.table));
        store.write_patiently(WriteBatch::from_data(batch.as_bytes()))?;
        self.change(|named| named.remove(name));
        Ok(())
    }

    fn put(&self, store: &Store, tenant: Tenant) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.put(Family::System, &record_key(tenant.table), &tenant.to_bytes());
        store.write_patiently(WriteBatch::from_data(batch.as_bytes()))?;
        self.change(|named| named.insert(tenant.name.clone(), Arc::new(tenant)));
        Ok(())
    }

    fn change<R>(&self, change: impl FnOnce(&mut Named) -> R) {
        change(&mut self.named.write().unwrap_or_else(PoisonError::into_inner));
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}

/// A named table, as TABLE LIST and INFO show it.
#[derive(Debug, Clone)]
pub struct NamedTable {
    /// Its name: printable ASCII.
    pub name: Vec<u8>,
    /// Names and values: its database, what it holds, and its limits.
    pub fields: [(&'static str, i64); 6],
}

impl Engine {
    /// The named tables, in the order of their names. How many bytes one without a limit takes was
    /// measured by [`Engine::measure_unlimited_tables`].
    pub fn named_tables(&self) -> Vec<NamedTable> {
        let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let of = |tenant: &Arc<Tenant>| NamedTable {
            name: tenant.name.clone(),
            fields: [
                ("db", i64::from(tenant.table)),
                ("keys", self.count(tenant.table).keys),
                ("bytes", int(self.bytes_of(tenant.table))),
                ("maxkeys", int(tenant.quota.keys_max)),
                ("maxcommands", int(tenant.quota.commands_max)),
                ("maxbytes", int(tenant.quota.bytes_max)),
            ],
        };
        self.tenants.all().iter().map(of).collect()
    }
}

/// What a worker knows of named tables.
#[derive(Debug, Default)]
pub(crate) struct LocalTenants {
    version: u64,
    by_table: BTreeMap<u16, Arc<Tenant>>,
}

/// What a client reads that is bound to a table and asks for another.
pub(crate) const BOUND: CommandError = CommandError::Text("NOPERM this user is bound to its table");

impl Executor {
    /// Whether the quota of the client's table allows the command, which is counted.
    pub(crate) fn check_quota(
        &mut self,
        now: UnixMillis,
        spec: &CommandSpec,
        client: &Client,
    ) -> Result<(), CommandError> {
        let version = self.engine.tenants.version.load(Ordering::Acquire);
        if version == 0 {
            return Ok(());
        }
        if self.tenants.version != version {
            let all = self.engine.tenants.all().into_iter();
            self.tenants.by_table = all.map(|tenant| (tenant.table, tenant)).collect();
            self.tenants.version = version;
        }
        let Some(tenant) = self.tenants.by_table.get(&client.database) else { return Ok(()) };
        if spec.categories.intersects(Categories::CONNECTION) {
            return Ok(());
        }
        if tenant.quota.commands_max > 0 && !tenant.admits(now) {
            return Err(CommandError::Text(
                "QUOTA the table allows no more commands in this second. Try again later",
            ));
        }
        if !spec.flags.contains(Flags::DENYOOM) {
            return Ok(());
        }
        self.check_room(tenant.quota, client.table)
    }

    /// Whether another database may get something.
    pub(crate) fn check_room_of(&self, database: u16) -> Result<(), CommandError> {
        match self.engine.tenants.of(database) {
            Some(tenant) => self.check_room(tenant.quota, self.table_of(database)),
            None => Ok(()),
        }
    }

    fn check_room(&self, quota: Quota, table: u16) -> Result<(), CommandError> {
        let Quota { keys_max, bytes_max, commands_max: _ } = quota;
        if keys_max > 0 {
            let keys = self.engine.counts.total(table).keys + self.changes.of(table).keys;
            if u64::try_from(keys).is_ok_and(|keys| keys >= keys_max) {
                return Err(CommandError::Text(
                    "QUOTA the table holds as many keys as it may. Delete some first",
                ));
            }
        }
        if bytes_max > 0 && self.engine.usages.bytes(table) >= bytes_max {
            return Err(CommandError::Text(
                "QUOTA the table takes as many bytes as it may. Delete some first, and try again in \
                 some seconds",
            ));
        }
        Ok(())
    }

    /// Brings a client to the table that its user is bound to, if it is.
    pub(crate) fn bind(&self, client: &mut Client) -> Result<(), CommandError> {
        let Some(name) = client.bound_table() else { return Ok(()) };
        let tenant = self.engine.tenants.get(name).ok_or(CommandError::Text(
            "NOPERM the table that this user is bound to does not exist",
        ))?;
        client.database = tenant.table;
        client.table = self.table_of(client.database);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_records_of_named_tables() {
        assert_eq!(record_key(0x0102), *b"table\x01\x02");
        for (bytes_max, record) in
            [(0, &b"\x01\x04shop\xac\x02\x00"[..]), (129, b"\x02\x04shop\xac\x02\x00\x81\x01")]
        {
            let quota = Quota { keys_max: 300, commands_max: 0, bytes_max };
            let tenant = Tenant::new(b"shop", 0x0102, quota);
            assert_eq!(tenant.to_bytes(), record);
            let read = Tenant::parse(0x0102, record).unwrap();
            assert_eq!((read.name, read.table, read.quota), (tenant.name, 0x0102, quota));
        }
        for wrong in [
            &b""[..],
            b"\x03\x04shop\x00\x00\x00",
            b"\x02\x04shop\x00\x00",
            b"\x01\x04shop\x00",
            b"\x01\x04shop\x00\x00\x00",
            b"\x01\x01\x20\0\0",
        ] {
            assert!(Tenant::parse(1, wrong).is_none(), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn names_are_words_and_no_numbers() {
        for name in ["shop", "a-1", "1a", "_"] {
            assert!(is_name(name.as_bytes()), "{name}");
        }
        for name in ["", "1", "-5", "two words", "\u{e4}", &"x".repeat(65)] {
            assert!(!is_name(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn commands_are_counted_by_the_second() {
        let tenant = Tenant::new(b"t", 1, Quota { commands_max: 2, ..Quota::default() });
        let admitted = |millis| tenant.admits(UnixMillis(millis));
        assert_eq!([admitted(5000), admitted(5500), admitted(5999)], [true, true, false]);
        assert_eq!([admitted(6000), admitted(6001), admitted(6002)], [true, true, false]);
    }
}
