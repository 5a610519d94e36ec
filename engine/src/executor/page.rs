//! Reading parts of large collections through the cache: fields and members, pages of sorted sets
//! ([`crate::bucket`]) and chunks of lists ([`crate::list_chunk`]).

use super::{Executor, stripe_of};
use crate::batch::Family;
use crate::command::Stop;
use crate::store::{Found, Tier};

impl Executor {
    /// Notes that what a stripe guards is read. What was cached under the epoch is as it is now; there
    /// is none while somebody else writes.
    pub(super) fn see(&mut self, stripe: usize) -> Option<u32> {
        if !self.is_shared {
            return Some(0);
        }
        let version = self.engine.stripes.version(stripe, self.id);
        self.seen.push((stripe, version));
        version.map(|version| self.known.epoch(stripe, version))
    }

    /// Hands what is committed of a field or member, given by its key in `data`, through the cache, to `f`;
    /// `None` if it is not there.
    pub(crate) fn committed_member<R>(
        &mut self,
        key: &[u8],
        tier: Tier,
        f: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R, Stop> {
        // It names the version of its collection: no older one can be taken for it.
        let epoch = self.epoch_of(key);
        if let Some(epoch) = epoch
            && let Some(value) = self.cache.member(key, epoch)
        {
            return Ok(f(Some(value)));
        }
        self.stats.blocking_reads += u64::from(tier == Tier::Device);
        match self.engine.store.get(Family::Data, key, tier)? {
            Found::Value(value) => {
                // What is read to be written costs more to keep than it saves.
                if let Some(epoch) = epoch.filter(|_| self.command_stripes.is_empty()) {
                    self.cache.put_member(key, &value, epoch);
                }
                Ok(f(Some(&value)))
            }
            Found::Absent => Ok(f(None)),
            Found::NeedsDevice => {
                self.missed_element = true;
                Err(Stop::Fetch)
            }
        }
    }

    /// A committed chunk of a list, if it is cached.
    pub(crate) fn cached_chunk(&mut self, key: &[u8]) -> Option<&[u8]> {
        let epoch = self.see(stripe_of(key))?;
        self.cache.chunk(key, epoch)
    }

    /// The epoch of the chunks of lists that are read from now on, to cache them.
    pub(crate) fn chunk_epoch(&mut self, prefix: &[u8]) -> Option<u32> {
        self.see(stripe_of(prefix))
    }

    /// Caches a chunk that was read under an epoch, and that the open batch does not change.
    pub(crate) fn cache_chunk(&mut self, key: &[u8], value: &[u8], epoch: u32) {
        self.cache.put_chunk(key, value, epoch);
    }

    /// Hands a committed page of a sorted set, through the cache, to `f`; `None` if it is not there.
    pub(crate) fn committed_page<R>(
        &mut self,
        key: &[u8],
        tier: Tier,
        f: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R, Stop> {
        let epoch = self.see(stripe_of(key));
        if let Some(epoch) = epoch
            && let Some(value) = self.cache.page(key, epoch)
        {
            return Ok(f(Some(value)));
        }
        self.stats.blocking_reads += u64::from(tier == Tier::Device);
        match self.engine.store.get(Family::Score, key, tier)? {
            Found::Value(value) => {
                if let Some(epoch) = epoch {
                    self.cache.put_page(key, &value, epoch);
                }
                Ok(f(Some(&value)))
            }
            Found::Absent => Ok(f(None)),
            Found::NeedsDevice => {
                self.missed_element = true;
                Err(Stop::Fetch)
            }
        }
    }
}
