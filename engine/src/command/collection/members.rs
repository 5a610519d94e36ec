//! Members and fields in the order of their hashes: random choices, and scans without memory on
//! the server.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{ElementRange, GoOn, Large, Shape};
use crate::batch::Family;
use crate::command::{CommandError, Context, Stop};
use crate::compact::Entry;
use crate::draws::MEMBERS_MAX;
use crate::element;
use crate::meta::{Kind, MetaError};
use crate::store;

/// Members in a stretch of hashes from which one is chosen, on average.
const STRETCH_MEMBERS: u64 = 16;
/// Stretches that are tried before just the next members after a random hash are taken.
const STRETCHES_MAX: usize = 64;
/// Members in a stretch that SPOP takes one by one.
const POPPED_MEMBERS: u64 = 64;
/// Where more removed members lie than others, members are taken in order of their hashes, until there
/// is but one for so many. (Who changes between both ways too easily makes many holes.)
const DENSE_RATIO: u64 = 8;
/// Members that are taken in order at once, and their bytes.
const SWEEP_MEMBERS: usize = 128;
const SWEEP_MEMBERS_ON_POOL: usize = MEMBERS_MAX;
const SWEEP_BYTES: usize = 32 << 10;
/// Hashes that there are.
const HASHES: u64 = 1 << 32;
/// If more than one in so many members is wanted, all are read.
const SAMPLE_RATIO: u64 = 3;

/// A field or member with its stored value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Member {
    pub(crate) fn new(entry: Entry<'_>) -> Self {
        Self { name: entry.name.to_vec(), value: entry.value.to_vec() }
    }
}

impl Context<'_> {
    /// A number below `end`, which is not 0.
    pub(crate) fn random_below(&mut self, end: u64) -> u64 {
        // The high half of a product: fair to within end / 2^64.
        let wide = u128::from(self.random()) * u128::from(end.max(1));
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Random members of a hash or a set: `count` different ones, or all if there are not more; or,
    /// if it is negative, so many that may be the same.
    pub(crate) fn random_of(
        &mut self,
        user_key: &[u8],
        kind: Kind,
        count: i64,
    ) -> Result<Vec<Member>, Stop> {
        enum Found {
            Small(Vec<Member>),
            Large(Large),
        }
        let found = self.inspect(user_key, kind, |shape| match shape {
            Shape::Absent => Ok(Found::Small(Vec::new())),
            Shape::Compact(compact) => {
                Ok(Found::Small(compact.entries()?.map(Member::new).collect()))
            }
            Shape::Large(large) => Ok(Found::Large(large)),
        })?;
        match (found, u64::try_from(count)) {
            (Found::Small(mut all), Ok(count)) => {
                self.choose(&mut all, count);
                Ok(all)
            }
            (Found::Large(large), Ok(count)) => self.random_members(&large, count),
            (Found::Small(all), Err(_)) => {
                let mut chosen = Vec::new();
                while !all.is_empty() && (chosen.len() as u64) < count.unsigned_abs() {
                    let at = self.random_below(all.len() as u64);
                    let at = usize::try_from(at).unwrap_or(0);
                    if let Some(member) = all.get(at) {
                        self.spend(member.name.len() + member.value.len() + 48)?;
                        chosen.push(member.clone());
                    }
                }
                Ok(chosen)
            }
            (Found::Large(large), Err(_)) => {
                let mut chosen = Vec::new();
                while (chosen.len() as u64) < count.unsigned_abs() {
                    let Some(member) = self.random_member(&large)? else { break };
                    chosen.push(member);
                }
                Ok(chosen)
            }
        }
    }

    /// One member of a large collection, if there is any.
    pub(crate) fn random_member(&mut self, large: &Large) -> Result<Option<Member>, Stop> {
        let (mut stretch, _) = self.random_stretch(large, STRETCH_MEMBERS)?;
        let choice = usize::try_from(self.random_below(stretch.len() as u64)).unwrap_or(0);
        Ok((choice < stretch.len()).then(|| stretch.swap_remove(choice)))
    }

    /// One member of a large set that is latched and gives it away, if there is any.
    ///
    /// The other members of its stretch are kept for those who ask next ([`crate::draws`]): each is as
    /// likely as any to be in a stretch, and none is given twice. Where so many were taken that a
    /// stretch is mostly what is gone, stretches follow each other instead of being chosen at random;
    /// so they do on the pool, where a command comes that met too much of it.
    pub(crate) fn random_to_remove(&mut self, large: &Large) -> Result<Option<Vec<u8>>, Stop> {
        let Some(epoch) = self.exec.epoch_of(&large.prefix) else { return Err(Stop::Latch) };
        if let Some(name) = self.exec.batch.draws.take(&large.prefix, epoch) {
            return Ok(Some(name));
        }
        let skipped_before = store::removed_skipped();
        let mut cursor = self.exec.batch.draws.cursor(&large.prefix);
        let is_sweep = cursor.is_some() || !self.is_on_worker();
        let (mut stretch, seen) = if is_sweep {
            let begin = cursor.unwrap_or_else(|| self.random_hash());
            let (stretch, next) = self.next_stretch(large, begin)?;
            cursor = Some(next);
            let seen = stretch.len() as u64;
            (stretch, seen)
        } else {
            let (stretch, seen) = self.random_stretch(large, POPPED_MEMBERS)?;
            (stretch.into_iter().map(|member| member.name).collect(), seen)
        };
        let skipped = store::removed_skipped().saturating_sub(skipped_before);
        let is_sparse = if is_sweep {
            // A few, up to the last hash, tell nothing.
            skipped > seen / DENSE_RATIO || stretch.len() < SWEEP_MEMBERS
        } else {
            skipped > seen
        };
        cursor = cursor.filter(|_| is_sparse);
        if is_sparse && cursor.is_none() {
            cursor = Some(self.random_hash());
        }
        let count = stretch.len() as u64;
        self.shuffle(&mut stretch, count);
        let draws = &mut self.exec.batch.draws;
        draws.learn(&large.prefix, epoch, stretch, cursor);
        Ok(draws.take(&large.prefix, epoch))
    }

    fn random_hash(&mut self) -> u32 {
        u32::try_from(self.random_below(HASHES)).unwrap_or(0)
    }

    /// The names of the next members from a hash on, or from the first one on if there is none; and
    /// the hash to go on at.
    fn next_stretch(&mut self, large: &Large, begin: u32) -> Result<(Vec<Vec<u8>>, u32), Stop> {
        let most = if self.is_on_worker() { SWEEP_MEMBERS } else { SWEEP_MEMBERS_ON_POOL };
        let (mut found, mut bytes, mut next) = (Vec::new(), 0, begin);
        for begin in [begin, 0] {
            let range = ElementRange::from(begin.to_be_bytes().to_vec());
            let walked = self.walk(Family::Data, &large.prefix, &range, &mut |element, _| {
                let (hash, name) = element::parse_member(element).ok_or(MetaError::Body)?;
                found.push(name.to_vec());
                bytes += name.len();
                // Others with this hash come again.
                next = hash;
                Ok(found.len() < most && bytes < SWEEP_BYTES)
            });
            match walked {
                // Those in front of what is too much for a worker will do.
                Ok(()) | Err(Stop::TooLong) if !found.is_empty() => break,
                other => other?,
            }
        }
        Ok((found, next))
    }

    /// A member was added to a large set, which has `count` now: it may be popped as any other.
    pub(crate) fn note_added(&mut self, prefix: &[u8], name: &[u8], count: u64) {
        let known = self.exec.batch.draws.len(prefix) as u64;
        if known == 0 {
            return;
        }
        let at = self.random_below(count);
        if at <= known {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            self.exec.batch.draws.add(prefix, name, at);
        }
    }

    /// All members whose hashes lie in a random stretch, `members` on average; some, unless the
    /// collection is empty. And how many were met in all stretches that were tried.
    ///
    /// Every member is in a stretch with the same probability, however far its neighbours are,
    /// and a stretch is taken with a probability that grows with its members: so one of them at
    /// random is one of the collection at random. It is less likely than others if it lies among
    /// more than twice as many as are to be expected: such a stretch is always taken, one with half as
    /// many every second time.
    fn random_stretch(&mut self, large: &Large, members: u64) -> Result<(Vec<Member>, u64), Stop> {
        let width = HASHES.saturating_mul(members) / large.body.count.max(1);
        let (mut found, mut seen) = (Vec::new(), 0);
        for _ in 0..STRETCHES_MAX {
            let start = self.random_below(HASHES);
            found.clear();
            let end = start + width.clamp(1, HASHES);
            self.add_hashes(large, start..end.min(HASHES), &mut found)?;
            self.add_hashes(large, 0..end.saturating_sub(HASHES), &mut found)?;
            seen += found.len() as u64;
            let is_all = width >= HASHES;
            let is_taken = self.random_below(2 * members) < found.len() as u64;
            if is_all || is_taken {
                return Ok((found, seen));
            }
        }
        found.clear();
        for begin in [self.random_below(HASHES), 0] {
            let begin = u32::try_from(begin).unwrap_or(0).to_be_bytes().to_vec();
            self.visit_large(large, ElementRange::from(begin), &mut |entry| {
                found.push(Member::new(entry));
                Ok((found.len() as u64) < members)
            })?;
            // From the beginning if nothing is left up to the end.
            if !found.is_empty() {
                break;
            }
        }
        seen += found.len() as u64;
        Ok((found, seen))
    }

    /// Adds the members with these hashes.
    fn add_hashes(
        &mut self,
        large: &Large,
        hashes: Range<u64>,
        found: &mut Vec<Member>,
    ) -> Result<(), Stop> {
        let Ok(begin) = u32::try_from(hashes.start) else { return Ok(()) };
        if hashes.is_empty() {
            return Ok(());
        }
        let end = u32::try_from(hashes.end).ok().map(|end| end.to_be_bytes().to_vec());
        let range = ElementRange { begin: begin.to_be_bytes().to_vec(), end, is_reverse: false };
        self.visit_large(large, range, &mut |entry| {
            found.push(Member::new(entry));
            Ok(true)
        })
    }

    /// `count` different members of a large collection, or all if there are not more.
    pub(crate) fn random_members(
        &mut self,
        large: &Large,
        count: u64,
    ) -> Result<Vec<Member>, Stop> {
        let total = large.body.count;
        if count.saturating_mul(SAMPLE_RATIO) >= total {
            let mut all = Vec::new();
            self.visit_large(large, ElementRange::default(), &mut |entry| {
                all.push(Member::new(entry));
                Ok(true)
            })?;
            self.choose(&mut all, count);
            return Ok(all);
        }
        let mut chosen = BTreeSet::new();
        while (chosen.len() as u64) < count {
            match self.random_member(large)? {
                Some(member) => chosen.insert(member),
                None => break,
            };
        }
        Ok(chosen.into_iter().collect())
    }

    /// Keeps `count` of `all`, in random order, if there are more.
    pub(crate) fn choose<T>(&mut self, all: &mut Vec<T>, count: u64) {
        if count < all.len() as u64 {
            self.shuffle(all, count);
            all.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        }
    }

    /// Brings `count` of `all`, at most all, to the front in random order.
    fn shuffle<T>(&mut self, all: &mut [T], count: u64) {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(all.len());
        for at in 0..count {
            let others = (all.len() - at) as u64;
            let other = at + usize::try_from(self.random_below(others)).unwrap_or(0);
            all.swap(at, other);
        }
    }

    /// Hands at least `count` members from `cursor` on to `visit`, if there are so many, and
    /// returns the cursor to go on with; 0: that was all. Members of one hash come together.
    pub(crate) fn scan_members(
        &mut self,
        large: &Large,
        cursor: u64,
        count: u64,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), CommandError>,
    ) -> Result<u64, Stop> {
        // Beyond the last hash.
        let Ok(first) = u32::try_from(cursor) else { return Ok(0) };
        let (mut seen, mut last, mut next) = (0, None, 0);
        let range = ElementRange::from(first.to_be_bytes().to_vec());
        self.walk(Family::Data, &large.prefix, &range, &mut |element, value| -> GoOn {
            let (hash, name) = element::parse_member(element).ok_or(MetaError::Body)?;
            if seen >= count && last != Some(hash) {
                next = u64::from(hash);
                return Ok(false);
            }
            visit(Entry { name, value })?;
            last = Some(hash);
            seen += 1;
            Ok(true)
        })?;
        Ok(next)
    }
}
