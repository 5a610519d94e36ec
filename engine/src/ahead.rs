//! Elements of a new version that are written ahead of the entry that makes them visible.
//!
//! A command that is built on the I/O pool ([`crate::hold`]) may make a collection of a million
//! elements. To commit them with its entry in one batch would keep the worker from everybody else for
//! as long. But elements mean nothing until an entry names their version, so the pool writes them
//! itself, in small batches that workers hardly notice, and leaves the worker the entry, and what the
//! command changes of collections that are there already.
//!
//! Should the entry never come (a crash, a client that goes, a commit that fails), the elements would
//! stay for ever. So first a record in the queue of dead versions names them ([`crate::reclaim`]); the
//! batch with the entry removes it. Until that is committed, [`Ahead`] keeps [`Engine::reclaim`] from
//! carrying it out.

use std::sync::{Arc, PoisonError};

use rocksdb::WriteBatch;

use crate::batch::{Batch, Family};
use crate::element;
use crate::engine::Engine;
use crate::reclaim;
use crate::store::StoreError;

/// With fewer new elements all is committed by the worker.
const ELEMENTS_MIN: usize = 2048;
/// Elements, and bytes, of a batch: about what an iteration of a worker writes.
const CHUNK_ELEMENTS: usize = 256;
const CHUNK_BYTES: usize = 64 << 10;

/// A version that a command has made: what its elements begin with, and its record in the queue of dead
/// versions.
#[derive(Debug)]
pub(crate) struct NewVersion {
    prefix: Vec<u8>,
    record_key: Vec<u8>,
    version: u64,
}

impl NewVersion {
    pub(crate) fn new(meta_key: &[u8], version: u64) -> Self {
        let (mut prefix, mut record_key) = (Vec::new(), Vec::new());
        element::write_prefix(&mut prefix, meta_key, version);
        reclaim::write_record_key(&mut record_key, version, meta_key);
        Self { prefix, record_key, version }
    }

    /// What its elements begin with.
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.prefix
    }
}

/// Elements that were written ahead. Goes when their entry is committed, or will not be.
#[must_use]
#[derive(Debug)]
pub(crate) struct Ahead {
    engine: Arc<Engine>,
    record_keys: Vec<Vec<u8>>,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        let mut unnamed = self.engine.unnamed.lock().unwrap_or_else(PoisonError::into_inner);
        for record_key in &self.record_keys {
            unnamed.remove(record_key);
        }
    }
}

/// Writes elements of new versions in small batches.
pub(crate) struct Writer<'e> {
    engine: &'e Arc<Engine>,
    ahead: Ahead,
    chunk: WriteBatch,
    last_version: u64,
}

impl<'e> Writer<'e> {
    /// For elements of `versions`, whose records come first.
    pub(crate) fn new(engine: &'e Arc<Engine>, versions: &[NewVersion]) -> Self {
        let record_keys: Vec<Vec<u8>> =
            versions.iter().map(|version| version.record_key.clone()).collect();
        let ahead = Ahead { engine: Arc::clone(engine), record_keys };
        engine
            .unnamed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(ahead.record_keys.iter().cloned());
        let mut chunk = WriteBatch::default();
        for record_key in &ahead.record_keys {
            engine.store.put(&mut chunk, Family::System, record_key, b"");
        }
        let last_version = versions.iter().map(|version| version.version).max().unwrap_or(0);
        Self { engine, ahead, chunk, last_version }
    }

    /// Writes an element. Waits for the device.
    ///
    /// # Errors
    /// [`StoreError`]: what was written is removed later.
    pub(crate) fn put(
        &mut self,
        family: Family,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        self.engine.store.put(&mut self.chunk, family, key, value);
        self.engine.usages.note_entry(key, value);
        if self.chunk.len() >= CHUNK_ELEMENTS || self.chunk.size_in_bytes() >= CHUNK_BYTES {
            self.engine.store.write_patiently(std::mem::take(&mut self.chunk))?;
        }
        Ok(())
    }

    /// Writes the rest.
    ///
    /// # Errors
    /// [`StoreError`]: what was written is removed later.
    ///
    /// # Panics
    /// If a version could come again although its elements are there: see [`crate::element`].
    pub(crate) fn finish(self) -> Result<Ahead, StoreError> {
        self.engine.store.write_patiently(self.chunk)?;
        let (latest, last) = (self.engine.store.latest_sequence(), self.last_version);
        assert!(latest >= last, "version {last} is written, and the sequence is at {latest} only");
        Ok(self.ahead)
    }
}

/// Writes the elements of `versions` that are in `batch`, if there are many, and leaves the rest there.
/// Waits for the device.
///
/// # Errors
/// [`StoreError`]: what was written is removed later.
pub(crate) fn write(
    engine: &Arc<Engine>,
    batch: &mut Batch,
    versions: &[NewVersion],
) -> Result<Option<Ahead>, StoreError> {
    let is_new = |key: &[u8]| versions.iter().any(|version| key.starts_with(&version.prefix));
    if batch.elements_count() < ELEMENTS_MIN || batch.elements().all(|(_, key, _)| !is_new(key)) {
        return Ok(None);
    }
    let mut writer = Writer::new(engine, versions);
    for (family, key, value) in batch.elements() {
        // What was removed again was never there.
        if let Some(value) = value.filter(|_| is_new(key)) {
            writer.put(family, key, value)?;
        }
    }
    let ahead = writer.finish()?;
    let mut rest = Batch::new();
    // First: the command may have left one of these versions for dead itself.
    for record_key in &ahead.record_keys {
        rest.delete(Family::System, record_key);
    }
    rest.append_without(batch, is_new);
    *batch = rest;
    Ok(Some(ahead))
}
