//! Members and fields in the order of their hashes: random choices, and scans without memory on
//! the server.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{ElementRange, GoOn, Large, Shape};
use crate::batch::{Family, Pending};
use crate::command::{CommandError, Context, Stop};
use crate::compact::Entry;
use crate::element;
use crate::meta::{Kind, MetaError};

/// Members in a stretch of hashes, on average.
const STRETCH_MEMBERS: u64 = 16;
/// A stretch with so many members is always taken, one with half as many every second time.
const STRETCH_MEMBERS_SURE: u64 = 2 * STRETCH_MEMBERS;
/// Stretches that are tried before just the next members after a random hash are taken.
const STRETCHES_MAX: usize = 64;
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

/// Members of a large set that SPOP takes next, for as long as the set's latch is held.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// What the elements of the set begin with.
    prefix: Vec<u8>,
    members: Vec<Vec<u8>>,
}

impl Candidates {
    pub(crate) fn clear(&mut self) {
        self.prefix.clear();
        self.members.clear();
    }
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
        let mut stretch = self.random_stretch(large)?;
        let choice = usize::try_from(self.random_below(stretch.len() as u64)).unwrap_or(0);
        Ok((choice < stretch.len()).then(|| stretch.swap_remove(choice)))
    }

    /// One member of a large set that is latched and gives it away, if there is any.
    ///
    /// The other members of its stretch are kept for those who ask next in this iteration: each is
    /// as likely as any to be in a stretch, and none is given twice.
    pub(crate) fn random_to_remove(&mut self, large: &Large) -> Result<Option<Vec<u8>>, Stop> {
        if self.exec.candidates.prefix != large.prefix {
            self.exec.candidates.clear();
        }
        while let Some(name) = self.exec.candidates.members.pop() {
            let key = [&large.prefix, &crate::key::hash(&name).to_be_bytes()[..], &name].concat();
            let pending = self.exec.batch.pending_element(Family::Data, &key);
            if pending != Some(Pending::Deleted) {
                return Ok(Some(name));
            }
        }
        let mut stretch = self.random_stretch(large)?;
        let count = stretch.len() as u64;
        self.shuffle(&mut stretch, count);
        let candidates = &mut self.exec.candidates;
        candidates.prefix.clone_from(&large.prefix);
        candidates.members.extend(stretch.into_iter().map(|member| member.name));
        Ok(candidates.members.pop())
    }

    /// All members whose hashes lie in a random stretch; some, unless the collection is empty.
    ///
    /// Every member is in a stretch with the same probability, however far its neighbours are,
    /// and a stretch is taken with a probability that grows with its members: so one of them at
    /// random is one of the collection at random. It is less likely than others if it lies among
    /// more than [`STRETCH_MEMBERS_SURE`], twice as many as are to be expected.
    fn random_stretch(&mut self, large: &Large) -> Result<Vec<Member>, Stop> {
        let width = HASHES.saturating_mul(STRETCH_MEMBERS) / large.body.count.max(1);
        let mut found = Vec::new();
        for _ in 0..STRETCHES_MAX {
            let start = self.random_below(HASHES);
            found.clear();
            let end = start + width.clamp(1, HASHES);
            self.add_hashes(large, start..end.min(HASHES), &mut found)?;
            self.add_hashes(large, 0..end.saturating_sub(HASHES), &mut found)?;
            let is_all = width >= HASHES;
            let is_taken = self.random_below(STRETCH_MEMBERS_SURE) < found.len() as u64;
            if is_all || is_taken {
                return Ok(found);
            }
        }
        found.clear();
        for begin in [self.random_below(HASHES), 0] {
            let begin = u32::try_from(begin).unwrap_or(0).to_be_bytes().to_vec();
            self.visit_large(large, ElementRange::from(begin), &mut |entry| {
                found.push(Member::new(entry));
                Ok((found.len() as u64) < STRETCH_MEMBERS)
            })?;
            // From the beginning if nothing is left up to the end.
            if !found.is_empty() {
                break;
            }
        }
        Ok(found)
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
