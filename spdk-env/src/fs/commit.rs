//! Making changes durable: the device's flush, and the journal's records and snapshots.

use std::sync::atomic::Ordering;

use super::change::Extent;
use super::io::Io;
use super::journal::{self, RecordKind, RecordPlace};
use super::limits::{BLOCK_LEN, SNAPSHOT_PAYLOAD_LEN_MAX};
use super::state::State;
use super::superblock::Superblock;
use super::{FileSystem, FsError, count, lock};
use crate::device::{BlockDevice, DeviceError};
use crate::number::to_u64;

/// Where the next record goes, and the queue that commits use.
#[derive(Debug)]
pub(super) struct Journal<D> {
    pub(super) io: Io<D>,
    pub(super) superblock: Superblock,
    pub(super) next_sequence: u64,
    pub(super) next_block: u64,
    /// Copies of the superblock that have to be written before anything else.
    pub(super) stale_superblocks: Vec<u64>,
}

impl<D: BlockDevice> FileSystem<D> {
    /// Makes all changes of names durable that were made so far. Whoever waits for another's commit
    /// finds his changes in it.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn commit(&self) -> Result<(), FsError> {
        let mut journal = lock(&self.journal);
        self.usable()?;
        let mut meta = lock(&self.meta);
        if meta.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut meta.pending);
        let held = std::mem::take(&mut meta.held);
        meta.releasing = held.iter().map(|extent| extent.count).sum();
        // The state is that of `pending`, so a snapshot of it has to be made under the same lock.
        let snapshot = (!journal.has_room(&pending)).then(|| snapshot_payloads(&meta.state));
        drop(meta);
        let compacts = snapshot.is_some();
        let written = match snapshot {
            Some(payloads) => journal.compact(&payloads),
            None => journal.append(&pending),
        };
        written.map_err(|error| self.fail(error))?;
        count(&self.counting.commits);
        if compacts {
            count(&self.counting.compactions);
        }
        if journal.io.unmap(&held).is_err() {
            count(&self.counting.trim_errors);
        }
        let mut meta = lock(&self.meta);
        for extent in held {
            meta.state.allocator.release(extent);
        }
        meta.releasing = 0;
        Ok(())
    }

    /// Makes everything durable that mounting found in need of repair: old or damaged copies of the
    /// superblock, and that files without a name are gone. The next commit would do it, too.
    ///
    /// # Errors
    /// [`FsError`].
    pub fn repair(&self) -> Result<(), FsError> {
        self.usable()?;
        lock(&self.journal).write_stale_superblocks().map_err(|error| self.fail(error))?;
        self.commit()
    }

    /// Makes every write durable that had completed when it was called; one flush for all who wait.
    pub(super) fn flush(&self) -> Result<(), FsError> {
        let wanted = self.written.load(Ordering::SeqCst);
        let mut flushed = lock(&self.flushed);
        self.usable()?;
        if *flushed >= wanted {
            return Ok(());
        }
        let covered = self.written.load(Ordering::SeqCst);
        let ended = self.queues.with(Io::flush);
        ended.and_then(|flush| flush).map_err(|error| self.fail(error))?;
        count(&self.counting.flushes);
        *flushed = covered;
        Ok(())
    }
}

impl<D: BlockDevice> Journal<D> {
    fn has_room(&self, payload: &[u8]) -> bool {
        let count = to_u64(journal::encoded_len(payload) / BLOCK_LEN);
        self.next_block + count <= self.superblock.journal_blocks
    }

    fn append(&mut self, payload: &[u8]) -> Result<(), DeviceError> {
        self.write_stale_superblocks()?;
        let record = journal::encode(&self.place(RecordKind::Log), payload);
        let count = to_u64(record.len() / BLOCK_LEN);
        let start = self.superblock.region(self.superblock.generation) + self.next_block;
        self.io.write(&[Extent { start, count }], &record, true)?;
        self.next_block += count;
        self.next_sequence += 1;
        Ok(())
    }

    /// Writes a snapshot to the other region, and then the superblocks that name it.
    fn compact(&mut self, payloads: &[Vec<u8>]) -> Result<(), DeviceError> {
        self.write_stale_superblocks()?;
        self.superblock.generation += 1;
        self.next_sequence = 0;
        self.superblock.snapshot_records = to_u64(payloads.len());
        let mut bytes = Vec::new();
        for payload in payloads {
            bytes.extend_from_slice(&journal::encode(&self.place(RecordKind::Snapshot), payload));
            self.next_sequence += 1;
        }
        self.next_block = to_u64(bytes.len() / BLOCK_LEN);
        assert!(self.next_block <= self.superblock.journal_blocks, "metadata beyond its limit");
        let start = self.superblock.region(self.superblock.generation);
        self.io.write(&[Extent { start, count: self.next_block }], &bytes, false)?;
        self.io.flush()?;
        self.write_superblock(0)?;
        self.write_superblock(1)
    }

    fn write_stale_superblocks(&mut self) -> Result<(), DeviceError> {
        for copy in std::mem::take(&mut self.stale_superblocks) {
            self.write_superblock(copy)?;
        }
        Ok(())
    }

    fn write_superblock(&mut self, copy: u64) -> Result<(), DeviceError> {
        self.io.write(&[Extent { start: copy, count: 1 }], &self.superblock.encode(), true)
    }

    const fn place(&self, kind: RecordKind) -> RecordPlace {
        RecordPlace {
            uuid: self.superblock.uuid,
            generation: self.superblock.generation,
            sequence: self.next_sequence,
            kind,
        }
    }
}

/// The payloads of a snapshot's records; at least one.
fn snapshot_payloads(state: &State) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    let (mut payload, mut bytes) = (Vec::new(), Vec::new());
    state.snapshot(|change| {
        change.encode(&mut bytes);
        if payload.len() + bytes.len() > SNAPSHOT_PAYLOAD_LEN_MAX {
            payloads.push(std::mem::take(&mut payload));
        }
        payload.append(&mut bytes);
    });
    payloads.push(payload);
    payloads
}
