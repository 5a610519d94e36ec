//! Sorted sets. Pages: <https://redis.io/docs/latest/commands/?group=sorted-set>.
//!
//! Members with their scores are what `data` holds, so that everything that asks for a member is as
//! in hashes; `score` holds the members of large ones once more, in the order of their scores, and
//! how many of them lie where. How all is changed together is in [`edit`], how members are counted in
//! [`buckets`], how the order is read in [`sorted`], what reads it in [`range`] and [`pop`], and what
//! several sorted sets make together in [`algebra`].

use coney_resp::number::write_double;
use coney_resp::{Args, Protocol, Reply};

use super::collection::{Large, Shape};
use super::option::{Window, is, random_count};
use super::{CommandError, Context, Done, Stop, scan};
use crate::meta::{Kind, MetaError};
use crate::notify::Class;
use crate::score;

pub(super) mod aggregate;
pub(super) mod algebra;
pub(crate) mod buckets;
mod edit;
pub(super) mod geo;
mod number;
pub(super) mod pop;
pub(super) mod range;
mod sorted;

use edit::SortedEdit;
use number::double;
use sorted::{Range, Scored, Sorted};

/// The score out of what is stored with a member.
fn score_of(stored: &[u8]) -> Result<f64, MetaError> {
    score::from_bytes(stored).ok_or(MetaError::Body)
}

/// Hands the members of a sorted set, from the last to the first, with their scores to `visit`.
pub(super) fn visit_backwards(
    ctx: &mut Context<'_>,
    key: &[u8],
    visit: &mut dyn FnMut(&[u8], f64),
) -> Done {
    let sorted = Sorted::read(ctx, key)?;
    sorted.walk(ctx, &Range::Rank(0, -1), true, &mut |score, member| {
        visit(member, score);
        true
    })
}

/// Makes members, all of them different, with their scores the new value of a latched key.
pub(super) fn replace(ctx: &mut Context<'_>, key: &[u8], members: Vec<(Vec<u8>, f64)>) -> Done {
    let scored = |(member, score)| Scored { score, member };
    let members: Vec<Scored> = members.into_iter().map(scored).collect();
    edit::replace(ctx, key, &members, None)
}

/// The members of a range of ranks in their order, or, reversed, of ranks counted from the end.
pub(super) fn load(
    ctx: &mut Context<'_>,
    key: &[u8],
    is_reverse: bool,
    wanted: impl FnOnce(usize) -> std::ops::Range<usize>,
) -> Result<Vec<Vec<u8>>, Stop> {
    let sorted = Sorted::read(ctx, key)?;
    let wanted = wanted(usize::try_from(sorted.len()).unwrap_or(usize::MAX));
    let rank = |rank: usize| i64::try_from(rank).unwrap_or(i64::MAX);
    let Some(stop) = wanted.end.checked_sub(1).filter(|_| !wanted.is_empty()) else {
        return Ok(Vec::new());
    };
    let range = Range::Rank(rank(wanted.start), rank(stop));
    let members = sorted.collect(ctx, &range, is_reverse, Window::ALL)?;
    Ok(members.into_iter().map(|scored| scored.member).collect())
}

/// Replies with members and, if wanted, their scores.
fn tell(members: &[Scored], has_scores: bool, reply: &mut Reply<'_>) {
    let is_nested = has_scores && reply.protocol() == Protocol::Resp3;
    reply.array(if has_scores && !is_nested { members.len() * 2 } else { members.len() });
    for scored in members {
        if is_nested {
            reply.array(2);
        }
        reply.bulk(&scored.member);
        if has_scores {
            reply.double(scored.score);
        }
    }
}

/// When ZADD writes a member.
#[derive(Clone, Copy, Debug, Default)]
struct AddOptions {
    only_new: bool,
    only_present: bool,
    only_greater: bool,
    only_less: bool,
    counts_changes: bool,
    is_increment: bool,
}

impl AddOptions {
    /// Reads options, and returns where scores and members begin.
    fn parse(&mut self, args: Args<'_>) -> usize {
        let mut at = 2;
        while let Some(option) = args.get(at) {
            let flag = if is(option, "NX") {
                &mut self.only_new
            } else if is(option, "XX") {
                &mut self.only_present
            } else if is(option, "GT") {
                &mut self.only_greater
            } else if is(option, "LT") {
                &mut self.only_less
            } else if is(option, "CH") {
                &mut self.counts_changes
            } else if is(option, "INCR") {
                &mut self.is_increment
            } else {
                break;
            };
            *flag = true;
            at += 1;
        }
        at
    }

    fn check(&self, pairs_count: usize) -> Result<(), CommandError> {
        if self.only_new && self.only_present {
            return Err(CommandError::Text(
                "ERR XX and NX options at the same time are not compatible",
            ));
        }
        let exclusive = [self.only_new, self.only_greater, self.only_less];
        if exclusive.iter().filter(|is_set| **is_set).count() > 1 {
            return Err(CommandError::Text(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if self.is_increment && pairs_count > 1 {
            return Err(CommandError::Text(
                "ERR INCR option supports a single increment-element pair",
            ));
        }
        Ok(())
    }

    /// The score that a member gets, if any.
    fn decide(&self, old: Option<f64>, given: f64) -> Result<Option<f64>, CommandError> {
        let Some(old) = old else {
            return Ok(if self.only_present { None } else { Some(given) });
        };
        if self.only_new {
            return Ok(None);
        }
        let new = if self.is_increment { old + given } else { given };
        if new.is_nan() {
            return Err(CommandError::Text("ERR resulting score is not a number (NaN)"));
        }
        let is_refused = self.only_less && new >= old || self.only_greater && new <= old;
        Ok(if is_refused { None } else { Some(new) })
    }
}

pub(super) fn zadd(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    add(ctx, args, reply, AddOptions::default())
}

pub(super) fn zincrby(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    add(ctx, args, reply, AddOptions { is_increment: true, ..AddOptions::default() })
}

fn add(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    mut options: AddOptions,
) -> Done {
    let first = options.parse(args);
    let pairs = args.skip(first);
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(CommandError::Syntax.into());
    }
    options.check(pairs.len() / 2)?;
    let scores: Vec<f64> =
        pairs.iter().step_by(2).map(double).collect::<Option<_>>().ok_or(CommandError::NotFloat)?;
    let members = || pairs.iter().skip(1).step_by(2);
    add_scored(ctx, &args[1], members, scores, reply, options)
}

/// Gives members their scores, as far as the options want it.
fn add_scored<'a, M: Iterator<Item = &'a [u8]>>(
    ctx: &mut Context<'_>,
    key: &[u8],
    members: impl Fn() -> M,
    scores: Vec<f64>,
    reply: &mut Reply<'_>,
    options: AddOptions,
) -> Done {
    let mut edit = SortedEdit::open(ctx, key)?;
    edit.prepare(ctx, members())?;
    for (number, (member, given)) in members().zip(&scores).enumerate() {
        // With an increment there is one member only, so nothing changes its score meanwhile.
        let old = edit.score(ctx, number, member)?;
        let new = if options.is_increment { old.unwrap_or(0.0) + given } else { *given };
        for score in old.into_iter().chain(Some(new)) {
            edit.prepare_score(ctx, score, member)?;
        }
    }
    let (mut added, mut changed, mut last) = (0, 0, None);
    for (number, (member, given)) in members().zip(scores).enumerate() {
        let old = edit.score(ctx, number, member)?;
        last = options.decide(old, given)?;
        match (old, last) {
            (_, None) => {}
            (None, Some(new)) => {
                added += 1;
                edit.set(ctx, number, member, None, new);
            }
            #[expect(clippy::float_cmp, reason = "another score is another score")]
            (Some(old), Some(new)) => {
                if old != new {
                    changed += 1;
                    edit.set(ctx, number, member, Some(old), new);
                }
            }
        }
    }
    edit.finish(ctx);
    if added + changed > 0 {
        ctx.notify(Class::ZSet, if options.is_increment { "zincr" } else { "zadd" }, key);
    }
    match (options.is_increment, last) {
        (true, Some(score)) => reply.double(score),
        (true, None) => reply.null(),
        (false, _) => reply.count(if options.counts_changes { added + changed } else { added }),
    }
    Ok(())
}

pub(super) fn zrem(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let members = args.skip(2);
    let mut edit = SortedEdit::open(ctx, &args[1])?;
    edit.prepare(ctx, members.iter())?;
    for (number, member) in members.iter().enumerate() {
        if let Some(score) = edit.score(ctx, number, member)? {
            edit.prepare_score(ctx, score, member)?;
        }
    }
    let mut removed = 0;
    for (number, member) in members.iter().enumerate() {
        if let Some(score) = edit.score(ctx, number, member)? {
            edit.remove(ctx, number, member, score);
            removed += 1;
        }
    }
    if removed > 0 {
        ctx.notify(Class::ZSet, "zrem", &args[1]);
    }
    edit.finish(ctx);
    reply.count(removed);
    Ok(())
}

pub(super) fn zcard(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    ctx.inspect(&args[1], Kind::ZSet, |shape| {
        match shape {
            Shape::Absent => reply.int(0),
            Shape::Compact(compact) => reply.count(compact.count),
            Shape::Large(large) => reply.int(i64::try_from(large.body.count).unwrap_or(i64::MAX)),
        }
        Ok(())
    })
}

pub(super) fn zscore(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    scores(ctx, &args[1], args.skip(2), reply)
}

pub(super) fn zmscore(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let members = args.skip(2);
    reply.array(members.len());
    scores(ctx, &args[1], members, reply)
}

/// Replies with the score of each member.
fn scores(ctx: &mut Context<'_>, key: &[u8], members: Args<'_>, reply: &mut Reply<'_>) -> Done {
    scores_with(ctx, key, members.iter(), &mut |score| match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    })
}

/// Hands the score of each member to `tell`.
fn scores_with<'a>(
    ctx: &mut Context<'_>,
    key: &[u8],
    members: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    tell: &mut dyn FnMut(Option<f64>),
) -> Done {
    let mut push = |stored: Option<&[u8]>| {
        tell(stored.map(score_of).transpose()?);
        Ok::<_, CommandError>(())
    };
    let large = ctx.inspect(key, Kind::ZSet, |shape| match shape {
        Shape::Absent => {
            members.clone().try_for_each(|_| push(None))?;
            Ok(None)
        }
        Shape::Compact(compact) => {
            for member in members.clone() {
                push(compact.find(member)?.map(|entry| entry.value))?;
            }
            Ok(None)
        }
        Shape::Large(large) => Ok(Some(large)),
    })?;
    if let Some(large) = large {
        ctx.fetch_members(&large.prefix, members.clone());
        for member in members {
            ctx.member(&large.prefix, member, &mut push)??;
        }
    }
    Ok(())
}

/// The score of a member of a large sorted set.
fn score_in(ctx: &mut Context<'_>, large: &Large, member: &[u8]) -> Result<Option<f64>, Stop> {
    Ok(ctx.member(&large.prefix, member, |found| found.map(score_of).transpose())??)
}

pub(super) fn zrank(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    rank(ctx, args, reply, false)
}

pub(super) fn zrevrank(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    rank(ctx, args, reply, true)
}

fn rank(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>, is_reverse: bool) -> Done {
    let has_score = match args.get(3) {
        None => false,
        Some(option) if args.len() == 4 && is(option, "WITHSCORE") => true,
        Some(_) => return Err(CommandError::Syntax.into()),
    };
    let sorted = Sorted::read(ctx, &args[1])?;
    match (sorted.rank(ctx, &args[2], is_reverse)?, has_score) {
        (None, false) => reply.null(),
        (None, true) => reply.null_array(),
        (Some((rank, _)), false) => reply.int(rank),
        (Some((rank, score)), true) => {
            reply.array(2);
            reply.int(rank);
            reply.double(score);
        }
    }
    Ok(())
}

pub(super) fn zrandmember(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let Some(count) = args.get(2) else {
        match ctx.random_of(&args[1], Kind::ZSet, 1)?.first() {
            Some(member) => reply.bulk(&member.name),
            None => reply.null(),
        }
        return Ok(());
    };
    let count = random_count(count)?;
    let has_scores = match args.get(3) {
        None => false,
        Some(option) if args.len() == 4 && is(option, "WITHSCORES") => {
            if !(-i64::MAX / 2..=i64::MAX / 2).contains(&count) {
                return Err(CommandError::Text("ERR value is out of range").into());
            }
            true
        }
        Some(_) => return Err(CommandError::Syntax.into()),
    };
    let members = ctx.random_of(&args[1], Kind::ZSet, count)?;
    let members: Vec<Scored> = members
        .into_iter()
        .map(|member| Ok(Scored { score: score_of(&member.value)?, member: member.name }))
        .collect::<Result<_, MetaError>>()?;
    tell(&members, has_scores, reply);
    Ok(())
}

pub(super) fn zscan(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    scan::scan(ctx, args, reply, Kind::ZSet, |stored, _| {
        let mut text = Vec::new();
        write_double(&mut text, score_of(stored)?);
        Ok(Some(text.into()))
    })
}
