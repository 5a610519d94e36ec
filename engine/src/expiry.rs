//! Active expiry: removing keys whose deadline passed although nobody reads them.
//!
//! A thread that may wait asks [`Engine::due`] for what is due, in order of deadline; workers
//! remove it through [`Executor::expire`], with latches and exact counts like any other write. A hash
//! is due too when a field of it may have ended: then the fields that have are removed, and the hash
//! with the last of them.
//!
//! What a command finds expired before that is removed at the end of the worker's iteration
//! ([`Executor::expire_found`]).

use std::sync::atomic::Ordering;

use coney_base::UnixMillis;

use crate::batch::Family;
use crate::client::Client;
use crate::command::Context;
use crate::command::hash::expire::{FIELDS_AT_ONCE, remove_ended};
use crate::element;
use crate::engine::Engine;
use crate::executor::{Executor, FETCH_ROUNDS_MAX, Source};
use crate::field;
use crate::key;
use crate::meta::Header;
use crate::notify::Class;
use crate::reclaim;
use crate::store::{self, Found, StoreError, Tier};

/// Keys that are removed because somebody found them expired, for each iteration of a worker. The thread
/// finds the others.
const FOUND_MAX: usize = 64;

/// One record of the expiry index whose deadline has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueKey {
    deadline_ms: u64,
    meta_key: Vec<u8>,
    /// More fields of it have ended than are removed at a time.
    has_more: bool,
}

impl DueKey {
    /// Whether the key will be due again at once.
    pub fn has_more(&self) -> bool {
        self.has_more
    }
}

impl Engine {
    /// Records that are due at `now`, oldest first, with their entries and the order of their fields'
    /// deadlines brought into memory: so many that at most `limit` keys and fields are removed, or
    /// one. Waits for the device.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn due(&self, now: UnixMillis, limit: usize) -> Result<Vec<DueKey>, StoreError> {
        let mut due = Vec::new();
        let floor = self.expiry_floor_ms.load(Ordering::SeqCst);
        let mut iter = self.store.iter(Family::Expiry);
        iter.seek(floor.to_be_bytes());
        if iter.status().is_ok() {
            let earliest = iter.key().and_then(key::parse_expiry_key);
            self.raise_expiry_floor(floor, earliest.map_or(now.0, |(earliest, _)| earliest));
        }
        let mut count = 0;
        while count < limit
            && let Some(index_key) = iter.key()
        {
            let Some((deadline_ms, meta_key)) = key::parse_expiry_key(index_key) else {
                return Err(StoreError::Corruption(format!(
                    "record {} of the expiry index",
                    index_key.escape_ascii()
                )));
            };
            if deadline_ms > now.0 {
                break;
            }
            let meta_key = meta_key.to_vec();
            let fields = self.due_fields(&meta_key, now)?;
            let has_more = fields > FIELDS_AT_ONCE;
            count += 1 + fields;
            due.push(DueKey { deadline_ms, meta_key, has_more });
            iter.next();
        }
        iter.status().map_err(|error| StoreError::Io(error.to_string()))?;
        Ok(due)
    }

    /// Reads a key's entry and, of a large hash, the deadlines of fields that have passed: how many, up
    /// to one more than are removed at a time.
    fn due_fields(&self, meta_key: &[u8], now: UnixMillis) -> Result<usize, StoreError> {
        let Found::Value(value) = self.store.get(Family::Meta, meta_key, Tier::Device)? else {
            return Ok(0);
        };
        // What is damaged is reported to who reads it.
        let Ok((header, _)) = Header::parse(&value) else { return Ok(0) };
        let (Some(first), Some(version)) = (header.fields_expire_at, header.version) else {
            return Ok(0);
        };
        if header.is_expired(now) || first > now {
            return Ok(0);
        }
        let mut prefix = Vec::new();
        element::write_prefix(&mut prefix, meta_key, version);
        let begin = [&prefix[..], &first.0.to_be_bytes()].concat();
        let end = element::prefix_end(&prefix);
        let mut iter = self.store.range(Family::Score, &begin, &end, Tier::Device);
        iter.seek_to_first();
        let mut count = 0;
        while count <= FIELDS_AT_ONCE
            && let Some(element) = iter.key().and_then(|key| key.strip_prefix(&prefix[..]))
            && field::parse_deadline(element).is_some_and(|(at, _)| at <= now)
        {
            count += 1;
            iter.next();
        }
        store::is_at_end(&iter)?;
        Ok(count)
    }

    /// A look at the index from `floor` on found nothing before `new_floor`. A batch may have been
    /// committed since then: so first the floor is raised, then the index is looked at again. A
    /// batch that is committed before the second look is found by it; one that is committed after
    /// it finds the raised floor, and lowers it ([`Engine::lower_expiry_floor`]).
    fn raise_expiry_floor(&self, floor: u64, new_floor: u64) {
        let cell = &self.expiry_floor_ms;
        let is_raised = floor < new_floor
            && cell.compare_exchange(floor, new_floor, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if is_raised {
            let mut iter = self.store.iter(Family::Expiry);
            iter.seek(floor.to_be_bytes());
            match iter.key().and_then(key::parse_expiry_key) {
                Some((earliest, _)) => self.lower_expiry_floor(earliest),
                None if iter.status().is_ok() => {}
                None => self.lower_expiry_floor(floor),
            }
        }
    }

    /// There is a record with this deadline: a batch that gave it to a key was committed.
    pub(crate) fn lower_expiry_floor(&self, deadline_ms: u64) {
        if deadline_ms < self.expiry_floor_ms.load(Ordering::SeqCst) {
            self.expiry_floor_ms.fetch_min(deadline_ms, Ordering::SeqCst);
        }
    }
}

impl Executor {
    /// Removes what is really due at `now`; forgets records that no longer mean anything. A key
    /// that cannot be written now stays in the index, and comes again.
    pub fn expire(&mut self, now: UnixMillis, due: &[DueKey]) {
        // It is about tables, whichever databases they are.
        self.databases_version = self.engine.databases.version();
        for record in due {
            let Some(meta) = key::MetaKey::parse(&record.meta_key) else { continue };
            self.look_at(meta.table, meta.user_key);
            if self.latch().is_err() {
                continue;
            }
            let header = self.find(Source::Worker(Tier::Memory), |value| {
                value.map(|value| Header::parse(value).map(|(header, _)| header))
            });
            match header {
                Ok(Some(Ok(header))) if header.due_at() == Some(UnixMillis(record.deadline_ms)) => {
                    if header.is_expired(now) {
                        self.remove_expired(&meta, &header);
                    } else if header.due_at().is_some_and(|at| at <= now) {
                        let mark = self.batch.mark();
                        self.expire_fields(now, meta.table, meta.user_key);
                        self.touch_watched(mark);
                    }
                }
                // The key is gone, or has another deadline and another record.
                Ok(None | Some(Ok(_))) => {
                    key::write_expiry_key(
                        &mut self.index_key,
                        record.deadline_ms,
                        &record.meta_key,
                    );
                    self.batch.delete(Family::Expiry, &self.index_key);
                }
                Ok(Some(Err(_))) | Err(_) => {}
            }
        }
    }

    /// A command has found the key in `self.meta_key` expired.
    #[cold]
    pub(crate) fn note_expired(&mut self, now: UnixMillis) {
        // In a pause nothing changes by itself.
        let is_wanted = self.is_worker() && self.found_expired.len() < FOUND_MAX;
        if is_wanted && !self.engine.is_paused(now) {
            self.found_expired.push(self.meta_key.clone());
        }
    }

    /// Removes keys that commands of this iteration have found expired.
    pub fn expire_found(&mut self, now: UnixMillis) {
        if self.found_expired.is_empty() {
            return;
        }
        self.databases_version = self.engine.databases.version();
        for meta_key in std::mem::take(&mut self.found_expired) {
            let Some(meta) = key::MetaKey::parse(&meta_key) else { continue };
            self.look_at(meta.table, meta.user_key);
            if self.latch().is_err() {
                continue;
            }
            let header = self.find(Source::Worker(Tier::Memory), |value| {
                value.and_then(|value| Header::parse(value).ok()).map(|(header, _)| header)
            });
            if let Ok(Some(header)) = header
                && header.is_expired(now)
            {
                self.remove_expired(&meta, &header);
            }
        }
    }

    fn remove_expired(&mut self, meta: &key::MetaKey<'_>, header: &Header) {
        let mark = self.batch.mark();
        self.remove(header);
        self.notify(meta.table, Class::Expired, "expired", meta.user_key);
        self.stats.expired_keys += 1;
        self.touch_watched(mark);
    }

    /// Removes the fields of a latched hash that have ended. What cannot be written now comes again.
    fn expire_fields(&mut self, now: UnixMillis, table: u16, key: &[u8]) {
        let mut client = Client::new(0);
        client.table = table;
        // Whatever it reads was read right before by the thread that found it.
        let mut context = Context::new(self, &mut client, now, FETCH_ROUNDS_MAX);
        if let Ok(count) = remove_ended(&mut context, key) {
            self.stats.expired_fields += count;
        }
    }

    /// Adds the removal of the key in `self.meta_key`, whose header is `header`, to the batch.
    pub(crate) fn remove(&mut self, header: &Header) {
        self.batch.delete_meta(&self.meta_key);
        self.bury(header.version, None);
        self.change_deadline(header.due_at(), None);
        self.changes.add(self.table(), -1, -i64::from(header.expire_at.is_some()));
    }

    /// Adds a new value of the key in `self.meta_key` to the batch.
    pub(crate) fn store(&mut self, old: Option<&Header>, new: &Header, body: &[&[u8]]) {
        let (header, header_len) = new.to_bytes();
        let header = &header[..header_len];
        // A transaction may be taken back to what was there before it, and those who watch the key
        // are to see each write.
        let is_same_life = old == Some(new);
        if is_same_life && !self.in_transaction && self.engine.watches.is_empty() {
            let is_overwritten = match body {
                [body] => self.batch.overwrite_meta(&self.meta_key, &[header, body]),
                [first, second] => {
                    self.batch.overwrite_meta(&self.meta_key, &[header, first, second])
                }
                _ => false,
            };
            if is_overwritten {
                return;
            }
        }
        match body {
            [body] => self.batch.put_meta(&self.meta_key, &[header, body]),
            [first, second] => self.batch.put_meta(&self.meta_key, &[header, first, second]),
            parts => {
                let mut all = vec![header];
                all.extend_from_slice(parts);
                self.batch.put_meta(&self.meta_key, &all);
            }
        }
        self.bury(old.and_then(|old| old.version), new.version);
        self.change_deadline(old.and_then(Header::due_at), new.due_at());
        let had_deadline = old.is_some_and(|old| old.expire_at.is_some());
        let expires = i64::from(new.expire_at.is_some()) - i64::from(had_deadline);
        self.changes.add(self.table(), i64::from(old.is_none()), expires);
    }

    /// Queues the elements of the key in `self.meta_key` for removal, if they are not those of its
    /// new value.
    fn bury(&mut self, old: Option<u64>, new: Option<u64>) {
        if let Some(version) = old.filter(|_| old != new) {
            reclaim::write_record_key(&mut self.index_key, version, &self.meta_key);
            self.batch.put(Family::System, &self.index_key, b"");
        }
    }

    /// Keeps the expiry index exact.
    fn change_deadline(&mut self, old: Option<UnixMillis>, new: Option<UnixMillis>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            key::write_expiry_key(&mut self.index_key, old.0, &self.meta_key);
            self.batch.delete(Family::Expiry, &self.index_key);
        }
        if let Some(new) = new {
            key::write_expiry_key(&mut self.index_key, new.0, &self.meta_key);
            self.batch.put(Family::Expiry, &self.index_key, b"");
            self.earliest_deadline_ms = self.earliest_deadline_ms.min(new.0);
        }
    }

    fn table(&self) -> u16 {
        key::MetaKey::parse(&self.meta_key).map_or(0, |key| key.table)
    }
}
