//! Stripes: one atomic word for each group of keys, which is both the write latch that orders the
//! workers' batches and the version that tells a worker when its cache is out of date.
//!
//! A word is `version << 8 | owner`. `owner` is 0 while nobody writes, else a worker's id + 1.
//! - A worker latches the stripe of every key that it will write (`free -> owned`). It keeps it
//!   until the batch of its iteration is committed, so nobody else can read-modify-write a key
//!   whose new value is not visible yet. A worker that finds the stripe taken parks the command.
//! - Releasing adds 1 to the version. Another worker that finds a version it does not know throws
//!   away what it cached of that stripe ([`Known`]). While a stripe is owned by another worker its
//!   cached entries are not used at all, so no reader can see the old value after somebody else
//!   saw the new one.
//!
//! **Exclusive mode** (FLUSHALL and the like, which write every key): the requester announces
//! itself in one word and waits, by parking, until no other worker has an open batch. A worker
//! opens a batch by raising its flag *and then* looking at the announcement; the requester
//! announces itself *and then* looks at the flags. Both use sequential consistency, so at least
//! one of them sees the other (Dekker's argument): never do both go on.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Number of stripes, a power of two. Keys that share a stripe only cost each other a parked
/// command or a cache miss now and then, and only between workers.
pub const STRIPES: usize = 1 << 18;
/// Workers that can be told apart.
pub const WORKERS_MAX: usize = 250;

const OWNER_BITS: u32 = 8;
const OWNER_MASK: u64 = 0xff;

/// See the module page. One for all workers.
pub struct Stripes {
    words: Box<[AtomicU64]>,
    /// Who wants to write alone: worker id + 1, or 0.
    exclusive: AtomicU32,
    /// Which workers have an open batch.
    open: Box<[AtomicBool]>,
}

impl std::fmt::Debug for Stripes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stripes").field("exclusive", &self.exclusive).finish_non_exhaustive()
    }
}

/// A latch is taken: try again after the owner's commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken;

impl Stripes {
    /// Stripes for `workers` workers.
    ///
    /// # Panics
    /// Above [`WORKERS_MAX`] workers: the configuration allows fewer.
    pub fn new(workers: usize) -> Self {
        assert!(workers <= WORKERS_MAX, "at most {WORKERS_MAX} workers");
        Self {
            words: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
            exclusive: AtomicU32::new(0),
            open: (0..workers).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// The stripe of a key with this ordering hash.
    pub fn of(hash: u32) -> usize {
        hash as usize & (STRIPES - 1)
    }

    /// The version of a stripe, unless somebody else than `worker` writes there just now.
    pub fn version(&self, stripe: usize, worker: usize) -> Option<u64> {
        let exclusive = self.exclusive.load(Ordering::Acquire);
        if exclusive != 0 && u64::from(exclusive) != owner_of(worker) {
            return None;
        }
        let word = self.words[stripe].load(Ordering::Acquire);
        let owner = word & OWNER_MASK;
        (owner == 0 || owner == owner_of(worker)).then_some(word >> OWNER_BITS)
    }

    /// Announces that `worker` opens a batch; must come before its first latch.
    pub fn open_batch(&self, worker: usize) -> Result<(), Taken> {
        self.open[worker].store(true, Ordering::SeqCst);
        let exclusive = self.exclusive.load(Ordering::SeqCst);
        if exclusive == 0 || u64::from(exclusive) == owner_of(worker) {
            return Ok(());
        }
        self.open[worker].store(false, Ordering::SeqCst);
        Err(Taken)
    }

    /// `worker` has no open batch any more.
    pub fn close_batch(&self, worker: usize) {
        self.open[worker].store(false, Ordering::SeqCst);
    }

    /// Latches a stripe. `Ok(Some(version))`: newly latched; `Ok(None)`: it was ours already.
    pub fn latch(&self, stripe: usize, worker: usize) -> Result<Option<u64>, Taken> {
        let word = self.words[stripe].load(Ordering::Acquire);
        let owner = word & OWNER_MASK;
        if owner == owner_of(worker) {
            return Ok(None);
        }
        if owner != 0 {
            return Err(Taken);
        }
        self.words[stripe]
            .compare_exchange(word, word | owner_of(worker), Ordering::AcqRel, Ordering::Acquire)
            .map(|_| Some(word >> OWNER_BITS))
            .map_err(|_changed| Taken)
    }

    /// Releases a latched stripe with a new version and returns that version.
    pub fn release(&self, stripe: usize, worker: usize) -> u64 {
        let word = self.words[stripe].load(Ordering::Relaxed);
        debug_assert_eq!(word & OWNER_MASK, owner_of(worker), "only the owner releases");
        let version = (word >> OWNER_BITS) + 1;
        self.words[stripe].store(version << OWNER_BITS, Ordering::Release);
        version
    }

    /// Asks to write alone. `Ok`: no other worker has an open batch, nor opens one until
    /// [`Stripes::end_exclusive`].
    pub fn begin_exclusive(&self, worker: usize) -> Result<(), Taken> {
        let me = u32::try_from(owner_of(worker)).expect("worker ids are small");
        match self.exclusive.compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => {}
            Err(owner) if owner == me => {}
            Err(_) => return Err(Taken),
        }
        let others_open = self
            .open
            .iter()
            .enumerate()
            .any(|(other, open)| other != worker && open.load(Ordering::SeqCst));
        if others_open { Err(Taken) } else { Ok(()) }
    }

    /// Lets the others write again.
    pub fn end_exclusive(&self, worker: usize) {
        let me = u32::try_from(owner_of(worker)).expect("worker ids are small");
        // Fails if we did not hold it, which is fine.
        self.exclusive.compare_exchange(me, 0, Ordering::SeqCst, Ordering::SeqCst).ok();
    }

    /// Gives every stripe a new version, so that nothing cached is valid any more. Only in
    /// exclusive mode.
    pub fn invalidate_all(&self) {
        for word in &self.words {
            word.fetch_add(1 << OWNER_BITS, Ordering::AcqRel);
        }
    }
}

fn owner_of(worker: usize) -> u64 {
    worker as u64 + 1
}

/// Which versions a worker knows, and the epochs of its own cache.
///
/// Entries are cached under the stripe's epoch. The epoch changes when *others* wrote to the
/// stripe; the worker's own writes update its cache and leave the epoch alone.
pub struct Known {
    stripes: Box<[(u64, u32)]>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

impl Known {
    /// Knows the initial version of every stripe.
    pub fn new() -> Self {
        Self { stripes: vec![(0, 0); STRIPES].into_boxed_slice() }
    }

    /// For executors that share nothing: no stripe at all.
    pub fn nothing() -> Self {
        Self { stripes: Box::default() }
    }

    /// The epoch of the stripe, now that it has `version`.
    pub fn epoch(&mut self, stripe: usize, version: u64) -> u32 {
        let (known, epoch) = &mut self.stripes[stripe];
        if *known != version {
            *known = version;
            *epoch = epoch.wrapping_add(1);
        }
        *epoch
    }

    /// Our own write gave the stripe this version; its predecessor was seen by [`Known::epoch`]
    /// when we latched it.
    pub fn wrote(&mut self, stripe: usize, version: u64) {
        self.stripes[stripe].0 = version;
    }
}

impl Default for Known {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stripe_has_one_owner_and_a_new_version_after_each() {
        let stripes = Stripes::new(2);
        assert_eq!(stripes.latch(7, 0), Ok(Some(0)));
        assert_eq!(stripes.latch(7, 0), Ok(None), "ours already");
        assert_eq!(stripes.latch(7, 1), Err(Taken));
        assert_eq!(stripes.version(7, 0), Some(0), "the owner may read");
        assert_eq!(stripes.version(7, 1), None, "others may not use their caches");
        assert_eq!(stripes.release(7, 0), 1);
        assert_eq!(stripes.version(7, 1), Some(1));
        assert_eq!(stripes.latch(7, 1), Ok(Some(1)));
    }

    #[test]
    fn only_the_writes_of_others_change_an_epoch() {
        let mut known = Known::new();
        let epoch = known.epoch(3, 0);
        known.wrote(3, 1);
        assert_eq!(known.epoch(3, 1), epoch, "our own write");
        assert_ne!(known.epoch(3, 2), epoch, "somebody else's");
    }

    #[test]
    fn an_exclusive_writer_waits_for_open_batches_and_keeps_new_ones_out() {
        let stripes = Stripes::new(2);
        assert_eq!(stripes.open_batch(1), Ok(()));
        assert_eq!(stripes.begin_exclusive(0), Err(Taken));
        stripes.close_batch(1);
        assert_eq!(stripes.open_batch(1), Err(Taken));
        assert_eq!(stripes.begin_exclusive(1), Err(Taken), "the other asked first");
        assert_eq!(stripes.begin_exclusive(0), Ok(()));
        assert_eq!(stripes.version(7, 1), None, "everything may be about to change");
        assert_eq!(stripes.version(7, 0), Some(0));
        assert_eq!(stripes.open_batch(0), Ok(()), "the exclusive writer itself");
        stripes.end_exclusive(0);
        assert_eq!(stripes.open_batch(1), Ok(()));
    }

    #[test]
    fn open_batches_and_the_exclusive_writer_never_overlap() {
        let stripes = Stripes::new(2);
        let inside = AtomicU32::new(0);
        let enter_and_leave = |leave: &dyn Fn()| {
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "alone");
            inside.fetch_sub(1, Ordering::SeqCst);
            leave();
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    if stripes.begin_exclusive(0).is_ok() {
                        enter_and_leave(&|| stripes.end_exclusive(0));
                    }
                }
                stripes.end_exclusive(0);
            });
            scope.spawn(|| {
                for _ in 0..20_000 {
                    if stripes.open_batch(1).is_ok() {
                        enter_and_leave(&|| stripes.close_batch(1));
                    }
                }
            });
        });
    }
}
