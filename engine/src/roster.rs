//! Which worker each client belongs to.
//!
//! Touched when a client comes or goes, and when one is looked for by its id; never by a command on
//! data.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts, each with a lock of its own, held for one look-up.
const SHARDS: usize = 16;

/// See the module page.
#[derive(Debug, Default)]
pub(crate) struct Roster([Mutex<BTreeMap<u64, usize>>; SHARDS]);

impl Roster {
    fn shard(&self, client: u64) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        let at = usize::try_from(client % SHARDS as u64).unwrap_or(0);
        self.0[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enter(&self, client: u64, worker: usize) {
        self.shard(client).insert(client, worker);
    }

    pub(crate) fn leave(&self, client: u64) {
        self.shard(client).remove(&client);
    }

    pub(crate) fn worker_of(&self, client: u64) -> Option<usize> {
        self.shard(client).get(&client).copied()
    }
}
