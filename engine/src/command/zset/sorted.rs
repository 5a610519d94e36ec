//! The order of a sorted set: by score, then by the bytes of the member.
//!
//! A compact one is copied; of a large one just the range that is asked for is read, in `score`.
//! Ranks are not stored: what begins at a rank is found by walking there from the nearer end.

use std::ops::ControlFlow;

use super::{score_in, score_of};
use crate::batch::Family;
use crate::command::collection::{ElementRange, GoOn, Large, Shape};
use crate::command::{CommandError, Context, Stop};
use crate::compact::Entry;
use crate::meta::{Kind, MetaError};
use crate::score;

/// A member with its score.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scored {
    pub(super) score: f64,
    pub(super) member: Vec<u8>,
}

impl Scored {
    /// What orders it.
    pub(super) fn order(&self) -> (u64, &[u8]) {
        (score::rank(self.score), &self.member)
    }
}

/// A sorted set as it was found.
#[derive(Debug)]
pub(super) enum Sorted {
    /// All members, in order.
    Small(Vec<Scored>),
    Large(Large),
}

/// Which members are meant.
#[derive(Debug, Clone)]
pub(super) enum Range {
    /// From one to the other, counted from 0, or below that from the end.
    Rank(i64, i64),
    /// Ranks of scores: from the first one to before the second one.
    Score(u64, u64),
    /// From the first member, or from none at all, to before the second one or to the end; all
    /// scores are taken for the same.
    Lex(Option<Vec<u8>>, Option<Vec<u8>>),
}

/// Which of a range are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// So many are passed over.
    pub(super) offset: u64,
    /// So many follow at most.
    pub(super) count: u64,
}

impl Window {
    pub(super) const ALL: Self = Self { offset: 0, count: u64::MAX };
}

type Visit<'v> = dyn FnMut(f64, &[u8]) -> bool + 'v;

impl Range {
    fn contains(&self, score: f64, member: &[u8]) -> bool {
        match self {
            Self::Rank(..) => true,
            Self::Score(begin, end) => (*begin..*end).contains(&score::rank(score)),
            Self::Lex(begin, end) => {
                begin.as_deref().is_some_and(|begin| begin <= member)
                    && end.as_deref().is_none_or(|end| member < end)
            }
        }
    }
}

impl Sorted {
    /// Finds the sorted set of a key for a reply; an absent one is empty.
    pub(super) fn read(ctx: &mut Context<'_>, key: &[u8]) -> Result<Self, Stop> {
        ctx.inspect(key, Kind::ZSet, |shape| match shape {
            Shape::Absent => Ok(Self::Small(Vec::new())),
            Shape::Compact(compact) => Self::small(compact.entries()?),
            Shape::Large(large) => Ok(Self::Large(large)),
        })
    }

    /// A compact one.
    pub(super) fn small<'e>(
        entries: impl Iterator<Item = Entry<'e>>,
    ) -> Result<Self, CommandError> {
        let scored = |entry: Entry<'_>| -> Result<Scored, MetaError> {
            Ok(Scored { score: score_of(entry.value)?, member: entry.name.to_vec() })
        };
        Ok(Self::Small(entries.map(scored).collect::<Result<_, _>>()?))
    }

    /// Members.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Small(all) => all.len() as u64,
            Self::Large(large) => large.body.count,
        }
    }

    /// The members of a range, or of it from its end to its beginning.
    pub(super) fn collect(
        &self,
        ctx: &mut Context<'_>,
        range: &Range,
        is_reverse: bool,
        window: Window,
    ) -> Result<Vec<Scored>, Stop> {
        let mut found = Vec::new();
        let Range::Rank(start, stop) = *range else {
            self.window(ctx, range, is_reverse, window, &mut found)?;
            return Ok(found);
        };
        let Some((start, stop)) = self.ranks(start, stop) else { return Ok(found) };
        let count = stop - start + 1;
        let after = self.len() - 1 - stop;
        // From the nearer end.
        let is_turned = after < start;
        let offset = start.min(after);
        let window = Window { offset, count };
        self.window(ctx, range, is_reverse != is_turned, window, &mut found)?;
        if is_turned {
            found.reverse();
        }
        Ok(found)
    }

    /// Ranks counted from 0; `None` if there is nothing at them.
    fn ranks(&self, start: i64, stop: i64) -> Option<(u64, u64)> {
        let len = self.len();
        let from_end = |rank: i64| match u64::try_from(rank) {
            Ok(rank) => Some(rank),
            Err(_negative) => len.checked_sub(rank.unsigned_abs()),
        };
        let start = from_end(start).unwrap_or(0);
        let stop = from_end(stop)?.min(len.checked_sub(1)?);
        (start <= stop).then_some((start, stop))
    }

    fn window(
        &self,
        ctx: &mut Context<'_>,
        range: &Range,
        is_reverse: bool,
        window: Window,
        found: &mut Vec<Scored>,
    ) -> Result<(), Stop> {
        let Window { mut offset, mut count } = window;
        if count == 0 {
            return Ok(());
        }
        self.walk(ctx, range, is_reverse, &mut |score, member| {
            if offset > 0 {
                offset -= 1;
                return true;
            }
            found.push(Scored { score, member: member.to_vec() });
            count -= 1;
            count > 0
        })
    }

    /// How many members are in a range of scores or members.
    pub(super) fn count(&self, ctx: &mut Context<'_>, range: &Range) -> Result<usize, Stop> {
        let mut count = 0;
        self.walk(ctx, range, false, &mut |_, _| {
            count += 1;
            true
        })?;
        Ok(count)
    }

    /// How many members are in front of one, and its score, if it is there.
    pub(super) fn rank(
        &self,
        ctx: &mut Context<'_>,
        member: &[u8],
        is_reverse: bool,
    ) -> Result<Option<(usize, f64)>, Stop> {
        if let Self::Large(large) = self
            && score_in(ctx, large, member)?.is_none()
        {
            return Ok(None);
        }
        let (mut rank, mut found) = (0, None);
        self.walk(ctx, &Range::Rank(0, -1), is_reverse, &mut |score, other| {
            if other == member {
                found = Some((rank, score));
            }
            rank += 1;
            found.is_none()
        })?;
        Ok(found)
    }

    /// Hands members of a range, in order, to `visit`, as long as it wants more. Ranks: all.
    pub(super) fn walk(
        &self,
        ctx: &mut Context<'_>,
        range: &Range,
        is_reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), Stop> {
        match self {
            Self::Small(all) => {
                let mut visit = |scored: &Scored| {
                    let Scored { score, member } = scored;
                    if range.contains(*score, member) && !visit(*score, member) {
                        return ControlFlow::Break(());
                    }
                    ControlFlow::Continue(())
                };
                // Whether somebody had enough makes no difference.
                let _had_enough = if is_reverse {
                    all.iter().rev().try_for_each(&mut visit)
                } else {
                    all.iter().try_for_each(&mut visit)
                };
                Ok(())
            }
            Self::Large(large) => {
                let Some(elements) = elements(ctx, large, range, is_reverse)? else {
                    return Ok(());
                };
                walk_large(ctx, large, &elements, visit)
            }
        }
    }
}

fn walk_large(
    ctx: &mut Context<'_>,
    large: &Large,
    elements: &ElementRange,
    visit: &mut Visit<'_>,
) -> Result<(), Stop> {
    ctx.walk(Family::Score, &large.prefix, elements, &mut |element, _| -> GoOn {
        let (score, member) = score::parse_element(element).ok_or(MetaError::Body)?;
        Ok(visit(score, member))
    })
}

/// Where a range lies in `score`; `None`: nowhere.
fn elements(
    ctx: &mut Context<'_>,
    large: &Large,
    range: &Range,
    is_reverse: bool,
) -> Result<Option<ElementRange>, Stop> {
    let all = ElementRange { is_reverse, ..ElementRange::default() };
    Ok(match range {
        Range::Rank(..) => Some(all),
        Range::Score(begin, end) => Some(ElementRange {
            begin: begin.to_be_bytes().to_vec(),
            end: Some(end.to_be_bytes().to_vec()),
            is_reverse,
        }),
        Range::Lex(begin, end) => {
            let Some(begin) = begin else { return Ok(None) };
            let mut rank = None;
            walk_large(ctx, large, &all, &mut |score, _| {
                rank = Some(score::rank(score));
                false
            })?;
            rank.map(|rank| ElementRange {
                begin: [&rank.to_be_bytes()[..], begin].concat(),
                end: Some(match end {
                    Some(end) => [&rank.to_be_bytes()[..], end].concat(),
                    None => rank.saturating_add(1).to_be_bytes().to_vec(),
                }),
                is_reverse,
            })
        }
    })
}
