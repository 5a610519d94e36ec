//! Reading pages of sorted sets ([`crate::bucket`]) through the cache.

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
