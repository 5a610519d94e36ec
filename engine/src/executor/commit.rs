//! Committing the open batch, or giving it up.

use super::{CommitOutcome, Executor, stripe_of};
use crate::batch::{Family, Pending};
use crate::store::Written;

impl Executor {
    /// Writes in the open batch.
    pub fn write_count(&self) -> u64 {
        self.batch.writes()
    }

    /// Whether [`Executor::commit`] has something to do.
    pub fn has_writes(&self) -> bool {
        let is_open = self.is_batch_open && self.holds.is_empty();
        !self.batch.is_empty() || !self.latched.is_empty() || is_open || self.holds_exclusive
    }

    /// Whether the reply of the last command may depend on what becomes of the open batch: of commands
    /// that only read, those that met something of it.
    pub fn leans_on_batch(&self) -> bool {
        self.leans_on_batch
    }

    /// Whether the batch should be committed before the next command.
    pub fn wants_commit(&self) -> bool {
        self.commit_requested || self.batch.is_full()
    }

    /// Commits the writes since the last commit.
    pub fn commit(&mut self) -> CommitOutcome {
        self.commit_requested = false;
        if self.batch.is_empty() {
            self.settle_mail(true);
            self.finish(false);
            return CommitOutcome::Nothing;
        }
        if !self.is_sealed {
            self.is_sealed = true;
            self.changes.write(&self.engine.counts, self.id, &mut self.batch);
        }
        match self.engine.store.write(self.batch.as_bytes()) {
            Ok(Written::Yes) => {
                let ticket = self.engine.next_ticket();
                self.changes.apply(&self.engine.counts, self.id);
                if self.engine.usages.is_counting() {
                    // Before the cache has the new values.
                    let replaced_len = |key: &[u8]| self.cache.value_len(key);
                    self.engine.usages.note(&self.batch, replaced_len);
                }
                self.settle_mail(true);
                self.invalidate_written();
                self.call_waiting(true);
                self.finish_exchanges(true);
                self.finish(true);
                CommitOutcome::Committed { ticket }
            }
            Ok(Written::Stalled) => CommitOutcome::Stalled,
            Err(error) => {
                self.engine.note_failure(&error);
                self.give_up_batch();
                CommitOutcome::Failed(error)
            }
        }
    }

    /// Forgets the writes since the last commit, which failed or was put off for too long.
    pub fn give_up_batch(&mut self) {
        self.changes.clear();
        self.settle_mail(false);
        self.writers.clear();
        self.call_waiting(false);
        self.finish_exchanges(false);
        self.finish(false);
    }

    /// Updates the cache, releases the latches and forgets the batch.
    pub(super) fn finish(&mut self, committed: bool) {
        let emptied = std::mem::take(&mut self.empties_tables);
        self.emptied.clear();
        if emptied {
            self.cache.clear();
            if self.is_shared {
                self.engine.stripes.invalidate_all();
            }
        }
        let mut epoch_of = |key: &[u8]| {
            if !self.is_shared {
                return 0;
            }
            // The batch holds the latch, and saw this version when it took it.
            let stripe = stripe_of(key);
            let version = self.engine.stripes.version(stripe, self.id);
            self.known.epoch(stripe, version.unwrap_or_default())
        };
        for (meta_key, pending) in self.batch.all_pending() {
            match pending {
                Pending::Put(value) if committed => {
                    self.cache.put(meta_key, value, epoch_of(meta_key));
                }
                Pending::Put(_) | Pending::Deleted => self.cache.remove(meta_key),
            }
        }
        for key in self.batch.data_keys() {
            self.cache.forget_chunk(key);
            if self.cache.has_members(key) {
                let value = match self.batch.pending_element(Family::Data, key) {
                    Some(Pending::Put(value)) if committed => Some(value),
                    _ => None,
                };
                self.cache.change_member(key, value, epoch_of(key));
            }
        }
        for (key, pending) in self.batch.pending_pages() {
            match pending {
                Pending::Put(value) if committed => self.cache.put_page(key, value, epoch_of(key)),
                Pending::Put(_) | Pending::Deleted => self.cache.remove_page(key),
            }
        }
        let earliest = std::mem::replace(&mut self.earliest_deadline_ms, u64::MAX);
        if committed {
            self.engine.lower_expiry_floor(earliest);
        }
        if !committed && !self.batch.is_empty() {
            self.batch.edges.clear();
            self.batch.draws.clear();
            self.kept_buckets.clear();
        }
        self.batch.clear();
        self.ahead.clear();
        self.batch_number += 1;
        self.is_sealed = false;
        if !self.is_shared {
            return;
        }
        for stripe in self.latched.drain(..) {
            let version = self.engine.stripes.release(stripe, self.id);
            self.known.wrote(stripe, version);
        }
        // What is held keeps FLUSHALL waiting.
        if self.is_batch_open && self.holds.is_empty() {
            self.is_batch_open = false;
            self.engine.stripes.close_batch(self.id);
        }
        // A command that still waits for exclusive mode asked for it in this iteration too; one
        // whose client is gone did not, and must not keep the others waiting.
        if self.holds_exclusive && (emptied || !self.asked_exclusive) {
            self.holds_exclusive = false;
            self.engine.stripes.end_exclusive(self.id);
        }
        self.asked_exclusive = false;
    }
}
