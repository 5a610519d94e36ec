//! The order of a sorted set: by score, then by the bytes of the member.
//!
//! A compact one is copied; of a large one just the range that is asked for is read, in `score`.
//! Ranks are not stored: what begins at one is found through [`buckets`], and in a set that is a
//! single bucket by walking there from the nearer end.

use std::ops::ControlFlow;

use super::buckets::{self, Place};
use super::{score_in, score_of};
use crate::batch::Family;
use crate::bucket::{BUCKET_LEN_NEW, PAGES_BEGIN};
use crate::command::collection::{ElementRange, GoOn, Large, Shape};
use crate::command::option::{LexRange, Window};
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
    /// Members; all scores are taken for the same.
    Lex(LexRange),
}

type Visit<'v> = dyn FnMut(f64, &[u8]) -> bool + 'v;

impl Range {
    fn contains(&self, score: f64, member: &[u8]) -> bool {
        match self {
            Self::Rank(..) => true,
            Self::Score(begin, end) => (*begin..*end).contains(&score::rank(score)),
            Self::Lex(range) => range.contains(member),
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
        let mut push = |score, member: &[u8]| {
            found.push(Scored { score, member: member.to_vec() });
            true
        };
        let Some((start, stop)) = self.unpaged_ranks(range) else {
            self.each(ctx, range, is_reverse, window, &mut push)?;
            return Ok(found);
        };
        // From the nearer end.
        let after = self.len() - 1 - stop;
        let is_turned = after < start;
        let window = Window { offset: start.min(after), count: stop - start + 1 };
        let is_reverse = is_reverse != is_turned;
        self.walk(ctx, range, is_reverse, &mut window.of(&mut push))?;
        if is_turned {
            found.reverse();
        }
        Ok(found)
    }

    /// The ranks of a range of ranks that can only be walked to.
    fn unpaged_ranks(&self, range: &Range) -> Option<(u64, u64)> {
        match (self, range) {
            (Self::Large(large), _) if has_pages(large) => None,
            (_, Range::Rank(start, stop)) => self.ranks(*start, *stop),
            (_, Range::Score(..) | Range::Lex(_)) => None,
        }
    }

    /// Hands the members of a range, or those in a window on it, to `visit` as long as it wants more.
    /// Ranks are counted from where it begins, and have no other window.
    pub(super) fn each(
        &self,
        ctx: &mut Context<'_>,
        range: &Range,
        is_reverse: bool,
        window: Window,
        visit: &mut Visit<'_>,
    ) -> Result<(), Stop> {
        let (window, first) = match range {
            Range::Rank(start, stop) => {
                let Some((start, stop)) = self.ranks(*start, *stop) else { return Ok(()) };
                let first = if is_reverse { self.len() - 1 - start } else { start };
                (Window { offset: start, count: stop - start + 1 }, Some(first))
            }
            Range::Score(..) | Range::Lex(_) => (window, None),
        };
        match self {
            _ if window.count == 0 => Ok(()),
            Self::Large(large) if has_pages(large) && window.offset > BUCKET_LEN_NEW => {
                walk_far(ctx, large, range, is_reverse, window, first, visit)
            }
            _ => self.walk(ctx, range, is_reverse, &mut window.of(visit)),
        }
    }

    /// The scores of the first and of the last member of a range.
    pub(super) fn ends(
        &self,
        ctx: &mut Context<'_>,
        range: &Range,
    ) -> Result<(Option<f64>, Option<f64>), Stop> {
        let mut ends = [None, None];
        for (end, is_reverse) in ends.iter_mut().zip([false, true]) {
            let range = match range {
                Range::Rank(start, stop) => {
                    let Some((start, stop)) = self.ranks(*start, *stop) else { break };
                    let rank = if is_reverse { stop } else { start };
                    let rank = i64::try_from(rank).unwrap_or(i64::MAX);
                    &Range::Rank(rank, rank)
                }
                Range::Score(..) | Range::Lex(_) => range,
            };
            let is_reverse = is_reverse && !matches!(range, Range::Rank(..));
            let window = Window { offset: 0, count: 1 };
            *end = self.collect(ctx, range, is_reverse, window)?.first().map(|one| one.score);
        }
        let [first, last] = ends;
        Ok((first, last))
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

    /// How many members are in a range.
    pub(super) fn count(&self, ctx: &mut Context<'_>, range: &Range) -> Result<u64, Stop> {
        if let Range::Rank(start, stop) = range {
            return Ok(self.ranks(*start, *stop).map_or(0, |(start, stop)| stop - start + 1));
        }
        if let Self::Large(large) = self
            && has_pages(large)
        {
            let Some(elements) = elements(ctx, large, range, false)? else { return Ok(0) };
            let begin = buckets::count_before(ctx, large, &elements.begin)?;
            let end = match &elements.end {
                Some(end) => buckets::count_before(ctx, large, end)?,
                None => large.body.count,
            };
            return Ok(end.saturating_sub(begin));
        }
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
    ) -> Result<Option<(i64, f64)>, Stop> {
        if let Self::Large(large) = self {
            let Some(score) = score_in(ctx, large, member)? else { return Ok(None) };
            if has_pages(large) {
                let mut element = Vec::new();
                score::write_element(&mut element, score, member);
                let before = buckets::count_before(ctx, large, &element)?;
                let rank =
                    if is_reverse { large.body.count.saturating_sub(before + 1) } else { before };
                return Ok(Some((i64::try_from(rank).unwrap_or(i64::MAX), score)));
            }
        }
        let (mut rank, mut found) = (0_i64, None);
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

/// Whether its members are counted in buckets; else it is short, or was not changed since.
fn has_pages(large: &Large) -> bool {
    !large.body.extra.is_empty()
}

/// Visits a window of a set that has pages without walking to it. `first` is the rank of its first
/// member, if that is known.
fn walk_far(
    ctx: &mut Context<'_>,
    large: &Large,
    range: &Range,
    is_reverse: bool,
    window: Window,
    first: Option<u64>,
    visit: &mut Visit<'_>,
) -> Result<(), Stop> {
    let Some(mut elements) = elements(ctx, large, range, is_reverse)? else { return Ok(()) };
    let end = elements.end.as_deref().unwrap_or(&PAGES_BEGIN);
    let first = match first {
        Some(first) => Some(first),
        None if is_reverse => {
            buckets::count_before(ctx, large, end)?.checked_sub(window.offset.saturating_add(1))
        }
        None => {
            let before = buckets::count_before(ctx, large, &elements.begin)?;
            Some(before.saturating_add(window.offset)).filter(|first| *first < large.body.count)
        }
    };
    let Some(first) = first else { return Ok(()) };
    let Place { begin, end, before, after } = buckets::locate(ctx, large, first)?;
    let offset = if is_reverse {
        elements.end = Some(end.unwrap_or_else(|| PAGES_BEGIN.to_vec()));
        after
    } else {
        elements.begin = begin;
        before
    };
    walk_large(ctx, large, &elements, &mut Window { offset, ..window }.of(visit))
}

pub(super) fn all_elements(is_reverse: bool) -> ElementRange {
    ElementRange { begin: Vec::new(), end: Some(PAGES_BEGIN.to_vec()), is_reverse }
}

pub(super) fn walk_large(
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
    let all = all_elements(is_reverse);
    Ok(match range {
        Range::Rank(..) => Some(all),
        Range::Score(begin, end) => Some(ElementRange {
            begin: begin.to_be_bytes().to_vec(),
            end: Some(end.to_be_bytes().to_vec()).min(all.end),
            is_reverse,
        }),
        Range::Lex(LexRange { begin, end }) => {
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
