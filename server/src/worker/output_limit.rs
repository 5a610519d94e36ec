//! `client-output-buffer-limit`: after how much unsent output a client is disconnected.
//! <https://redis.io/docs/latest/develop/reference/clients/#output-buffer-limits>

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use coney_base::Instant;

/// The limits of one class of clients, which may change while clients are served. 0 is no limit.
#[derive(Debug, Default)]
pub(crate) struct OutputLimit {
    hard_bytes: AtomicUsize,
    soft_bytes: AtomicUsize,
    soft_secs: AtomicU64,
}

impl OutputLimit {
    /// Takes over a setting: hard limit and soft limit in bytes, and seconds.
    pub(crate) fn set(&self, [hard_bytes, soft_bytes, soft_secs]: [u64; 3]) {
        let to_usize = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        self.hard_bytes.store(to_usize(hard_bytes), Ordering::Relaxed);
        self.soft_bytes.store(to_usize(soft_bytes), Ordering::Relaxed);
        self.soft_secs.store(soft_secs, Ordering::Relaxed);
    }

    /// Whether a client with so many unsent bytes is to be disconnected at `now`. `above_since` is
    /// kept with the client: since when it has been above the soft limit.
    pub(crate) fn is_exceeded(
        &self,
        unsent_bytes: usize,
        above_since: &mut Option<Instant>,
        now: Instant,
    ) -> bool {
        let hard_bytes = self.hard_bytes.load(Ordering::Relaxed);
        if hard_bytes > 0 && unsent_bytes > hard_bytes {
            return true;
        }
        let soft_bytes = self.soft_bytes.load(Ordering::Relaxed);
        if soft_bytes == 0 || unsent_bytes <= soft_bytes {
            *above_since = None;
            return false;
        }
        let since = *above_since.get_or_insert(now);
        now.since(since) > Duration::from_secs(self.soft_secs.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_be_above_the_soft_limit_for_so_long_and_never_above_the_hard_one() {
        let limit = OutputLimit::default();
        let (start, mut since) = (Instant::ZERO, None);
        let after = |secs| start + Duration::from_secs(secs);
        assert!(!limit.is_exceeded(usize::MAX, &mut since, start), "no limit");
        limit.set([100, 50, 10]);
        assert!(limit.is_exceeded(101, &mut since, start));
        assert!(!limit.is_exceeded(100, &mut since, after(1)));
        assert!(!limit.is_exceeded(51, &mut since, after(11)), "ten seconds, not more");
        assert!(limit.is_exceeded(51, &mut since, after(12)));
        assert!(!limit.is_exceeded(50, &mut since, after(12)));
        assert!(!limit.is_exceeded(51, &mut since, after(13)), "from the beginning again");
        limit.set([0, 50, 0]);
        assert!(limit.is_exceeded(51, &mut since, after(14)));
    }
}
