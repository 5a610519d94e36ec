//! Which key comes next.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::{Rng, RngExt};
use rand_distr::{Distribution as _, Zipf};

/// How keys are chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Distribution {
    /// Every key equally often.
    Uniform,
    /// A few keys very often (YCSB's scrambled zipfian: the hot ones are spread over the key space).
    Zipfian,
    /// One after the other, in turns over all threads.
    Sequential,
    /// Those inserted last most often.
    Latest,
}

/// The key space, shared by all threads.
#[derive(Debug)]
pub(crate) struct KeySpace {
    /// Keys that exist or are supposed to.
    count: AtomicU64,
    /// The next key of a sequential choice.
    next: AtomicU64,
}

impl KeySpace {
    pub(crate) fn new(count: u64) -> Self {
        Self { count: AtomicU64::new(count.max(1)), next: AtomicU64::new(0) }
    }

    /// A key that does not exist yet.
    pub(crate) fn insert(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }
}

/// One thread's way of choosing.
#[derive(Debug)]
pub(crate) struct Chooser {
    distribution: Distribution,
    zipf: Zipf<f64>,
}

impl Chooser {
    /// `theta`: the skew of the zipfian distribution; YCSB's is 0.99. `None`: it is no positive number.
    pub(crate) fn new(distribution: Distribution, keys: u64, theta: f64) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "no key space has 2^53 keys")]
        let zipf = Zipf::new(keys.max(1) as f64, theta).ok()?;
        Some(Self { distribution, zipf })
    }

    /// The number of a key.
    pub(crate) fn choose(&self, space: &KeySpace, rng: &mut impl Rng) -> u64 {
        let count = space.count.load(Ordering::Relaxed);
        match self.distribution {
            Distribution::Uniform => rng.random_range(0..count),
            Distribution::Zipfian => scramble(self.rank(rng)) % count,
            Distribution::Sequential => space.next.fetch_add(1, Ordering::Relaxed) % count,
            Distribution::Latest => count - 1 - self.rank(rng).min(count - 1),
        }
    }

    /// 0 for the hottest key.
    fn rank(&self, rng: &mut impl Rng) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a sample is an integer from 1 to the number of keys"
        )]
        let rank = self.zipf.sample(rng) as u64;
        rank.saturating_sub(1)
    }
}

/// Spreads ranks over the key space: FNV-1a, as YCSB does.
fn scramble(rank: u64) -> u64 {
    rank.to_le_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    fn counts(distribution: Distribution, keys: u64, samples: usize) -> BTreeMap<u64, usize> {
        let (space, mut rng) = (KeySpace::new(keys), SmallRng::seed_from_u64(7));
        let chooser = Chooser::new(distribution, keys, 0.99).unwrap();
        let mut counts = BTreeMap::new();
        for _ in 0..samples {
            let key = chooser.choose(&space, &mut rng);
            assert!(key < keys);
            *counts.entry(key).or_default() += 1;
        }
        counts
    }

    #[test]
    fn uniform_keys_come_equally_often() {
        let counts = counts(Distribution::Uniform, 100, 100_000);
        assert!(counts.values().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[test]
    fn sequential_keys_come_in_turns() {
        assert!(counts(Distribution::Sequential, 10, 100).values().all(|count| *count == 10));
    }

    #[test]
    fn the_hottest_zipfian_key_has_the_share_of_its_rank() {
        // With 1000 keys and theta 0.99, the sum of 1/k^0.99 is 7.73.
        let counts = counts(Distribution::Zipfian, 1000, 100_000);
        let hottest = *counts.values().max().unwrap();
        assert!((11_500..15_500).contains(&hottest), "{hottest}");
        assert_eq!(counts[&(scramble(0) % 1000)], hottest, "and is not the first key");
    }

    #[test]
    fn the_latest_key_is_the_hottest_also_after_an_insert() {
        let counts = counts(Distribution::Latest, 1000, 100_000);
        assert_eq!(counts.iter().max_by_key(|(_, count)| **count).unwrap().0, &999);
        let space = KeySpace::new(1000);
        assert_eq!(space.insert(), 1000);
        let chooser = Chooser::new(Distribution::Latest, 1000, 0.99).unwrap();
        let mut rng = SmallRng::seed_from_u64(1);
        assert!((0..100).any(|_| chooser.choose(&space, &mut rng) == 1000));
    }
}
