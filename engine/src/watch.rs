//! WATCH: which keys clients watch, and which of those were touched since.
//!
//! Every key that somebody watches is in one table for all workers; it is looked at only while
//! there is anything in it. Whoever writes a key *touches* it right when the record is added to its
//! batch, by the exact key, so a transaction is never aborted because of a neighbour.
//!
//! Nothing is missed: WATCH holds the key's latch while it looks at the key and enters it, so a
//! write of another worker is either committed before that, or begins after it and finds the entry.
//! EXEC latches the watched keys too before it asks, so a write that touched nothing yet cannot
//! be under way.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::executor::stripe_of;
use crate::key;

/// Keys that one client may watch.
pub const WATCHED_KEYS_MAX: usize = 16 * 1024;
/// Parts of the table, each with a lock of its own, held for a few comparisons.
const SHARDS: usize = 64;

/// How a watched key was found, and whether it is still so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum State {
    /// There was no such key.
    Absent,
    /// There was a key.
    Live,
    /// What was there had passed its deadline.
    Expired,
    /// Somebody wrote the key since.
    Touched,
}

/// One key that one client watches.
#[derive(Debug)]
pub(crate) struct Watch {
    /// A key of a database: see [`crate::databases`].
    pub(crate) key: Vec<u8>,
    state: AtomicU8,
}

impl Watch {
    pub(crate) fn state(&self) -> State {
        let state = self.state.load(Ordering::Acquire);
        [State::Absent, State::Live, State::Expired]
            .into_iter()
            .find(|known| *known as u8 == state)
            .unwrap_or(State::Touched)
    }

    fn set(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
    }

    fn touch(&self, is_removal: bool) {
        // That an expired key is swept away changes nothing for whoever saw it as absent.
        let is_sweep = is_removal && self.state() == State::Expired;
        self.set(if is_sweep { State::Absent } else { State::Touched });
    }

    /// The key is found otherwise now.
    pub(crate) fn find(&self, state: State) {
        if self.state() != State::Touched {
            self.set(state);
        }
    }

    /// The database of the key is emptied.
    fn flush(&self) {
        match self.state() {
            State::Live => self.set(State::Touched),
            State::Expired => self.set(State::Absent),
            State::Absent | State::Touched => {}
        }
    }
}

type Shard = BTreeMap<Vec<u8>, Vec<Arc<Watch>>>;

/// See the module page.
#[derive(Debug)]
pub(crate) struct Watches {
    /// Entries in all shards. Read before anything else: mostly it is 0.
    count: AtomicUsize,
    shards: Box<[Mutex<Shard>]>,
}

impl Watches {
    pub(crate) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { count: AtomicUsize::new(0), shards }
    }

    /// Whether nobody watches anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Enters a key that was found like this. Its latch must be held.
    pub(crate) fn enter(&self, key: &[u8], state: State) -> Arc<Watch> {
        let watch = Arc::new(Watch { key: key.to_vec(), state: AtomicU8::new(state as u8) });
        self.count.fetch_add(1, Ordering::SeqCst);
        let mut shard = self.shard(key);
        shard.entry(key.to_vec()).or_default().push(Arc::clone(&watch));
        watch
    }

    /// Takes an entry out.
    pub(crate) fn leave(&self, watch: &Arc<Watch>) {
        let mut shard = self.shard(&watch.key);
        let Some(all) = shard.get_mut(&watch.key) else { return };
        let before = all.len();
        all.retain(|other| !Arc::ptr_eq(other, watch));
        self.count.fetch_sub(before - all.len(), Ordering::SeqCst);
        if all.is_empty() {
            shard.remove(&watch.key);
        }
    }

    /// A record of this key was added to a batch.
    pub(crate) fn touch(&self, key: &[u8], is_removal: bool) {
        for watch in self.shard(key).get(key).into_iter().flatten() {
            watch.touch(is_removal);
        }
    }

    /// All keys of some databases are removed.
    pub(crate) fn flush(&self, databases: &RangeInclusive<u16>) {
        self.of(databases).iter().for_each(|watch| watch.flush());
    }

    /// What is watched in some databases.
    pub(crate) fn of(&self, databases: &RangeInclusive<u16>) -> Vec<Arc<Watch>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let range = shard.range(key::of_databases(databases));
            found.extend(range.flat_map(|(_, watches)| watches.iter().cloned()));
        }
        found
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        self.shards[stripe_of(key) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta_key(table: u16, user_key: &str) -> Vec<u8> {
        let mut out = Vec::new();
        key::write_meta_key(&mut out, table, user_key.as_bytes());
        out
    }

    #[test]
    fn only_the_very_key_is_touched() {
        let watches = Watches::new();
        let (a, b) = (meta_key(0, "{t}a"), meta_key(0, "{t}b"));
        let watch = watches.enter(&a, State::Live);
        watches.touch(&b, false);
        assert_eq!(watch.state(), State::Live);
        watches.touch(&a, true);
        assert_eq!(watch.state(), State::Touched);
        watches.leave(&watch);
        assert!(watches.is_empty());
    }

    #[test]
    fn sweeping_an_expired_key_away_is_no_change() {
        let watches = Watches::new();
        let key = meta_key(0, "k");
        let watch = watches.enter(&key, State::Expired);
        watches.touch(&key, true);
        assert_eq!(watch.state(), State::Absent);
        watches.touch(&key, false);
        assert_eq!(watch.state(), State::Touched);
    }

    #[test]
    fn emptying_a_table_touches_what_was_there() {
        let watches = Watches::new();
        let live = watches.enter(&meta_key(1, "k"), State::Live);
        let absent = watches.enter(&meta_key(1, "l"), State::Absent);
        let elsewhere = watches.enter(&meta_key(2, "k"), State::Live);
        watches.flush(&(1..=1));
        assert_eq!(live.state(), State::Touched);
        assert_eq!(absent.state(), State::Absent);
        assert_eq!(elsewhere.state(), State::Live);
    }
}
