//! Unions, intersections and differences of sorted sets, and of sets, whose members have score 1.
//!
//! What is looked into member by member stays where it is, as with sets. An intersection walks
//! through its smallest operand. The STORE forms latch all their keys first.

use std::collections::BTreeMap;

use coney_resp::{Args, Reply};

use super::edit::replace;
use super::number::double;
use super::sorted::Scored;
use super::{score_in, score_of, tell};
use crate::command::collection::{ElementRange, Large, Shape};
use crate::command::option::{int, is};
use crate::command::{CommandError, Context, Done, Stop};
use crate::compact::Entry;
use crate::meta::{Kind, MetaError};

/// Members by their bytes, with their scores.
type Members = BTreeMap<Vec<u8>, f64>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What the scores of one member become.
#[derive(Clone, Copy, Debug)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn combine(self, one: f64, other: f64) -> f64 {
        match self {
            // Of the two infinities Redis makes 0.
            Self::Sum => number(one + other),
            Self::Min => {
                if other < one {
                    other
                } else {
                    one
                }
            }
            Self::Max => {
                if other > one {
                    other
                } else {
                    one
                }
            }
        }
    }
}

fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// One of several sorted sets or sets.
struct Operand {
    kind: Kind,
    weight: f64,
    members: Source,
}

enum Source {
    Small(Members),
    Large(Large),
}

impl Operand {
    fn find(ctx: &mut Context<'_>, key: &[u8]) -> Result<Self, Stop> {
        let table = ctx.table();
        let kind = ctx.peek(table, key, |found| found.map(|(header, _)| header.kind))?;
        // An absent key may be taken for either.
        let kind = if kind == Some(Kind::Set) { Kind::Set } else { Kind::ZSet };
        let members = ctx.inspect(key, kind, |shape| match shape {
            Shape::Absent => Ok(Source::Small(Members::new())),
            Shape::Compact(compact) => {
                let mut members = Members::new();
                for entry in compact.entries()? {
                    members.insert(entry.name.to_vec(), score(kind, entry.value)?);
                }
                Ok(Source::Small(members))
            }
            Shape::Large(large) => Ok(Source::Large(large)),
        })?;
        Ok(Self { kind, weight: 1.0, members })
    }

    fn len(&self) -> u64 {
        match &self.members {
            Source::Small(members) => members.len() as u64,
            Source::Large(large) => large.body.count,
        }
    }

    /// The weighted score of a member, if it is there; NaN if that is what it is, as in Redis.
    fn get(&self, ctx: &mut Context<'_>, member: &[u8]) -> Result<Option<f64>, Stop> {
        let found = match &self.members {
            Source::Small(members) => members.get(member).copied(),
            Source::Large(large) => {
                ctx.spend(member.len())?;
                match self.kind {
                    Kind::Set => ctx.member(&large.prefix, member, |found| found.map(|_| 1.0))?,
                    _ => score_in(ctx, large, member)?,
                }
            }
        };
        Ok(found.map(|score| score * self.weight))
    }

    /// All members with weighted scores.
    fn members(self, ctx: &mut Context<'_>) -> Result<Members, Stop> {
        let Self { kind, weight, members } = self;
        let mut members = match members {
            Source::Small(members) => members,
            Source::Large(large) => {
                let mut members = Members::new();
                let mut visit = |entry: Entry<'_>| {
                    members.insert(entry.name.to_vec(), score(kind, entry.value)?);
                    Ok(true)
                };
                ctx.visit_large(&large, ElementRange::default(), &mut visit)?;
                members
            }
        };
        members.values_mut().for_each(|score| *score = number(*score * weight));
        Ok(members)
    }
}

fn score(kind: Kind, stored: &[u8]) -> Result<f64, MetaError> {
    if kind == Kind::Set { Ok(1.0) } else { score_of(stored) }
}

/// What the arguments ask for.
struct Query {
    operands: Vec<Operand>,
    operation: Operation,
    aggregate: Aggregate,
    has_scores: bool,
    limit: usize,
}

/// What the command does with the result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    Tell,
    Store,
    Count,
}

impl Query {
    /// Reads the number of keys at `at` and everything behind it, and finds the operands.
    fn parse(
        ctx: &mut Context<'_>,
        args: Args<'_>,
        at: usize,
        operation: Operation,
        purpose: Purpose,
        name: &str,
    ) -> Result<Self, Stop> {
        let keys_count = int(&args[at])?;
        let Some(keys_count) = usize::try_from(keys_count).ok().filter(|count| *count > 0) else {
            let text = format!("ERR at least 1 input key is needed for '{name}' command");
            return Err(CommandError::Owned(text).into());
        };
        let end = keys_count.saturating_add(at + 1);
        if end > args.len() {
            return Err(CommandError::Syntax.into());
        }
        if purpose == Purpose::Store {
            let table = ctx.table();
            for key in std::iter::once(&args[1]).chain(args.iter().skip(at + 1).take(keys_count)) {
                ctx.exec.look_at(table, key);
                ctx.exec.latch()?;
            }
        }
        let operands = args
            .iter()
            .skip(at + 1)
            .take(keys_count)
            .map(|key| Operand::find(ctx, key))
            .collect::<Result<_, _>>()?;
        let mut query = Self {
            operands,
            operation,
            aggregate: Aggregate::Sum,
            has_scores: false,
            limit: usize::MAX,
        };
        query.parse_options(args.skip(end), purpose)?;
        Ok(query)
    }

    fn parse_options(&mut self, options: Args<'_>, purpose: Purpose) -> Result<(), CommandError> {
        let is_weighted = self.operation != Operation::Difference && purpose != Purpose::Count;
        let mut at = 0;
        while let Some(option) = options.get(at) {
            at += 1;
            let value = options.get(at);
            if is_weighted && is(option, "WEIGHTS") && options.len() - at >= self.operands.len() {
                let weights = options.iter().skip(at);
                for (operand, weight) in self.operands.iter_mut().zip(weights) {
                    let not_float = CommandError::Text("ERR weight value is not a float");
                    operand.weight = double(weight).ok_or(not_float)?;
                }
                at += self.operands.len();
            } else if let (true, true, Some(value)) = (is_weighted, is(option, "AGGREGATE"), value)
            {
                self.aggregate = if is(value, "SUM") {
                    Aggregate::Sum
                } else if is(value, "MIN") {
                    Aggregate::Min
                } else if is(value, "MAX") {
                    Aggregate::Max
                } else {
                    return Err(CommandError::Syntax);
                };
                at += 1;
            } else if purpose == Purpose::Tell && is(option, "WITHSCORES") {
                self.has_scores = true;
            } else if let (Purpose::Count, true, Some(value)) =
                (purpose, is(option, "LIMIT"), value)
            {
                let limit = int(value).ok().and_then(|limit| usize::try_from(limit).ok());
                let limit = limit.ok_or(CommandError::Text("ERR LIMIT can't be negative"))?;
                self.limit = if limit == 0 { usize::MAX } else { limit };
                at += 1;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(())
    }

    fn run(self, ctx: &mut Context<'_>) -> Result<Members, Stop> {
        let Self { mut operands, operation, aggregate, limit, .. } = self;
        if operation != Operation::Difference {
            // The order matters for sums with infinities.
            operands.sort_by_key(Operand::len);
        }
        let mut operands = operands.into_iter();
        let Some(first) = operands.next() else { return Ok(Members::new()) };
        if operation == Operation::Union {
            let mut all = first.members(ctx)?;
            for operand in operands {
                for (member, score) in operand.members(ctx)? {
                    all.entry(member)
                        .and_modify(|old| *old = aggregate.combine(*old, score))
                        .or_insert(score);
                }
            }
            return Ok(all);
        }
        let others: Vec<Operand> = operands.collect();
        let mut kept = Members::new();
        'members: for (member, mut score) in first.members(ctx)? {
            if kept.len() >= limit {
                break;
            }
            for other in &others {
                match (operation, other.get(ctx, &member)?) {
                    (Operation::Intersection, Some(second)) => {
                        score = aggregate.combine(score, second);
                    }
                    (Operation::Difference, None) => {}
                    _ => continue 'members,
                }
            }
            kept.insert(member, score);
        }
        Ok(kept)
    }
}

fn sorted(members: Members) -> Vec<Scored> {
    let mut sorted: Vec<Scored> =
        members.into_iter().map(|(member, score)| Scored { score, member }).collect();
    sorted.sort_by(|one, other| one.order().cmp(&other.order()));
    sorted
}

fn read(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    operation: Operation,
    name: &str,
) -> Done {
    let query = Query::parse(ctx, args, 1, operation, Purpose::Tell, name)?;
    let has_scores = query.has_scores;
    let members = sorted(query.run(ctx)?);
    tell(&members, has_scores, reply);
    Ok(())
}

fn store(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    operation: Operation,
    name: &'static str,
) -> Done {
    let query = Query::parse(ctx, args, 2, operation, Purpose::Store, name)?;
    let members = sorted(query.run(ctx)?);
    replace(ctx, &args[1], &members, Some(name))?;
    reply.count(members.len());
    Ok(())
}

pub(in super::super) fn zunion(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    read(ctx, args, reply, Operation::Union, "zunion")
}

pub(in super::super) fn zinter(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    read(ctx, args, reply, Operation::Intersection, "zinter")
}

pub(in super::super) fn zdiff(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    read(ctx, args, reply, Operation::Difference, "zdiff")
}

pub(in super::super) fn zunionstore(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    store(ctx, args, reply, Operation::Union, "zunionstore")
}

pub(in super::super) fn zinterstore(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    store(ctx, args, reply, Operation::Intersection, "zinterstore")
}

pub(in super::super) fn zdiffstore(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    store(ctx, args, reply, Operation::Difference, "zdiffstore")
}

pub(in super::super) fn zintercard(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let query = Query::parse(ctx, args, 1, Operation::Intersection, Purpose::Count, "zintercard")?;
    let members = query.run(ctx)?;
    reply.count(members.len());
    Ok(())
}
