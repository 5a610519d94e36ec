//! Members and fields in the order of their hashes: random choices, and scans without memory on
//! the server.

use std::collections::BTreeSet;

use super::{ElementRange, GoOn, Large, Shape};
use crate::batch::Family;
use crate::command::{CommandError, Context, Stop};
use crate::compact::Entry;
use crate::element;
use crate::meta::{Kind, MetaError};

/// Members that follow a random position, of which one is chosen: evens out the gaps between
/// hashes.
const NEIGHBOURS: usize = 8;
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
        let [start @ .., _, _, _, _] = self.random().to_be_bytes();
        let mut near = Vec::new();
        for begin in [start.to_vec(), Vec::new()] {
            self.visit_large(large, ElementRange::from(begin), &mut |entry| {
                near.push(Member::new(entry));
                Ok(near.len() < NEIGHBOURS)
            })?;
            // From the beginning once the end is reached.
            if near.len() >= NEIGHBOURS {
                break;
            }
        }
        // The round may have met some twice, if there are only few.
        let few = usize::try_from(large.body.count).unwrap_or(usize::MAX);
        near.truncate(few.max(1));
        let choice = usize::try_from(self.random_below(near.len() as u64)).unwrap_or(0);
        Ok((choice < near.len()).then(|| near.swap_remove(choice)))
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
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count >= all.len() {
            return;
        }
        for at in 0..count {
            let others = (all.len() - at) as u64;
            let other = at + usize::try_from(self.random_below(others)).unwrap_or(0);
            all.swap(at, other);
        }
        all.truncate(count);
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
