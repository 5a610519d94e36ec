//! Intersections, unions and differences.
//!
//! Compact sets are copied; of large ones, those that are looked into member by member stay where
//! they are. An intersection walks through its smallest set, as Redis's does. The STORE forms latch
//! all their keys first, so that what they store is what is there when it becomes visible.

use std::collections::BTreeSet;

use coney_resp::{Args, Reply};

use super::super::collection::{ElementRange, Large, Shape};
use super::super::option::{int, is};
use super::super::{CommandError, Context, Done, Stop};
use super::entry;
use crate::meta::Kind;
use crate::notify::Class;

type Handled = Result<BTreeSet<Vec<u8>>, Stop>;

/// One of several sets.
enum Operand {
    Small(BTreeSet<Vec<u8>>),
    Large(Large),
}

impl Operand {
    /// Finds all sets, so that a key of another kind is an error whatever the others are.
    fn all<'k>(
        ctx: &mut Context<'_>,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<Vec<Self>, Stop> {
        keys.map(|key| {
            ctx.inspect(key, Kind::Set, |shape| match shape {
                Shape::Absent => Ok(Self::Small(BTreeSet::new())),
                Shape::Compact(compact) => {
                    Ok(Self::Small(compact.entries()?.map(|entry| entry.name.to_vec()).collect()))
                }
                Shape::Large(large) => Ok(Self::Large(large)),
            })
        })
        .collect()
    }

    fn len(&self) -> u64 {
        match self {
            Self::Small(members) => members.len() as u64,
            Self::Large(large) => large.body.count,
        }
    }

    fn contains(&self, ctx: &mut Context<'_>, member: &[u8]) -> Result<bool, Stop> {
        match self {
            Self::Small(members) => Ok(members.contains(member)),
            Self::Large(large) => {
                ctx.spend(member.len())?;
                ctx.member(&large.prefix, member, |found| found.is_some())
            }
        }
    }

    fn members(self, ctx: &mut Context<'_>) -> Handled {
        match self {
            Self::Small(members) => Ok(members),
            Self::Large(large) => {
                let mut members = BTreeSet::new();
                ctx.visit_large(&large, ElementRange::default(), &mut |entry| {
                    members.insert(entry.name.to_vec());
                    Ok(true)
                })?;
                Ok(members)
            }
        }
    }
}

/// At most `limit` members that all sets have.
fn intersection<'k>(
    ctx: &mut Context<'_>,
    keys: impl Iterator<Item = &'k [u8]>,
    limit: usize,
) -> Handled {
    let mut sets = Operand::all(ctx, keys)?;
    sets.sort_by_key(Operand::len);
    let mut sets = sets.into_iter();
    let Some(smallest) = sets.next().filter(|smallest| smallest.len() > 0) else {
        return Ok(BTreeSet::new());
    };
    let others: Vec<Operand> = sets.collect();
    let mut common = BTreeSet::new();
    'members: for member in smallest.members(ctx)? {
        if common.len() >= limit {
            break;
        }
        for other in &others {
            if !other.contains(ctx, &member)? {
                continue 'members;
            }
        }
        common.insert(member);
    }
    Ok(common)
}

fn union<'k>(ctx: &mut Context<'_>, keys: impl Iterator<Item = &'k [u8]>) -> Handled {
    let mut all = BTreeSet::new();
    for set in Operand::all(ctx, keys)? {
        all.append(&mut set.members(ctx)?);
    }
    Ok(all)
}

fn difference<'k>(ctx: &mut Context<'_>, keys: impl Iterator<Item = &'k [u8]>) -> Handled {
    let mut sets = Operand::all(ctx, keys)?.into_iter();
    let Some(first) = sets.next() else { return Ok(BTreeSet::new()) };
    let others: Vec<Operand> = sets.collect();
    let mut left = BTreeSet::new();
    'members: for member in first.members(ctx)? {
        for other in &others {
            if other.contains(ctx, &member)? {
                continue 'members;
            }
        }
        left.insert(member);
    }
    Ok(left)
}

pub(in super::super) fn sinter(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let members = intersection(ctx, args.iter().skip(1), usize::MAX)?;
    tell(&members, reply)
}

pub(in super::super) fn sunion(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let members = union(ctx, args.iter().skip(1))?;
    tell(&members, reply)
}

pub(in super::super) fn sdiff(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let members = difference(ctx, args.iter().skip(1))?;
    tell(&members, reply)
}

fn tell(members: &BTreeSet<Vec<u8>>, reply: &mut Reply<'_>) -> Done {
    reply.set(members.len());
    members.iter().for_each(|member| reply.bulk(member));
    Ok(())
}

pub(in super::super) fn sinterstore(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    latch_all(ctx, args)?;
    let members = intersection(ctx, args.iter().skip(2), usize::MAX)?;
    put(ctx, &args[1], &members, "sinterstore", reply)
}

pub(in super::super) fn sunionstore(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    latch_all(ctx, args)?;
    let members = union(ctx, args.iter().skip(2))?;
    put(ctx, &args[1], &members, "sunionstore", reply)
}

pub(in super::super) fn sdiffstore(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    latch_all(ctx, args)?;
    let members = difference(ctx, args.iter().skip(2))?;
    put(ctx, &args[1], &members, "sdiffstore", reply)
}

fn latch_all(ctx: &mut Context<'_>, args: Args<'_>) -> Done {
    let table = ctx.table();
    for key in args.iter().skip(1) {
        ctx.exec.look_at(table, key);
        ctx.exec.latch()?;
    }
    Ok(())
}

/// Makes the set the new value of a key; an empty one removes it.
fn put(
    ctx: &mut Context<'_>,
    key: &[u8],
    members: &BTreeSet<Vec<u8>>,
    event: &'static str,
    reply: &mut Reply<'_>,
) -> Done {
    let mut edit = ctx.edit_new(key, Kind::Set)?;
    for (number, member) in members.iter().enumerate() {
        ctx.edit_set(&mut edit, number, entry(member));
    }
    if members.is_empty() {
        let old = edit.old;
        ctx.delete(key, old);
    } else {
        ctx.edit_finish(edit);
        ctx.notify(Class::Set, event, key);
    }
    reply.count(members.len());
    Ok(())
}

pub(in super::super) fn sintercard(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let keys_count = int(&args[1])
        .ok()
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count > 0)
        .ok_or(CommandError::Text("ERR numkeys should be greater than 0"))?;
    if keys_count > args.len() - 2 {
        return Err(
            CommandError::Text("ERR Number of keys can't be greater than number of args").into()
        );
    }
    let mut limit = usize::MAX;
    let mut at = 2 + keys_count;
    while let Some(option) = args.get(at) {
        let value = args.get(at + 1).filter(|_| is(option, "LIMIT"));
        let value = int_of_limit(value.ok_or(CommandError::Syntax)?)?;
        limit = if value == 0 { usize::MAX } else { value };
        at += 2;
    }
    let members = intersection(ctx, args.iter().skip(2).take(keys_count), limit)?;
    reply.count(members.len());
    Ok(())
}

fn int_of_limit(arg: &[u8]) -> Result<usize, CommandError> {
    let limit = int(arg).ok().and_then(|limit| usize::try_from(limit).ok());
    limit.ok_or(CommandError::Text("ERR LIMIT can't be negative"))
}
