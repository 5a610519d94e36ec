//! Taking members from one end: ZPOPMIN, ZPOPMAX, ZMPOP, and those of them that wait.

use std::collections::VecDeque;

use coney_resp::{Args, Protocol, Reply};

use super::edit::SortedEdit;
use super::sorted::{Range, Scored, Sorted, all_elements, walk_large};
use super::tell;
use crate::command::blocking::{self, Timeout};
use crate::command::collection::Large;
use crate::command::collection::edit::Form;
use crate::command::first::{self, First};
use crate::command::option::{Window, is, pop_count};
use crate::command::{CommandError, Context, Done, Stop};
use crate::edges::{END_BYTES_MAX, END_LEN_MAX};
use crate::meta::{Kind, MetaError};
use crate::score;

/// Removes and returns at most `count` members, the lowest first, or the highest.
fn take(
    ctx: &mut Context<'_>,
    key: &[u8],
    count: u64,
    is_reverse: bool,
) -> Result<Vec<Scored>, Stop> {
    let edit = SortedEdit::open(ctx, key)?;
    let members = match (&edit.edit.form, usize::try_from(count)) {
        (Form::Large(large), Ok(count @ 1..END_LEN_MAX)) if ctx.is_on_worker() => {
            outermost(ctx, large, count, is_reverse)?
        }
        _ => read(ctx, &edit.sorted()?, count, is_reverse)?,
    };
    edit.remove_all(ctx, &members, if is_reverse { "zpopmax" } else { "zpopmin" })?;
    Ok(members)
}

/// The first `count` members of a sorted set, or the last ones.
fn read(
    ctx: &mut Context<'_>,
    sorted: &Sorted,
    count: u64,
    is_reverse: bool,
) -> Result<Vec<Scored>, Stop> {
    let window = Window { offset: 0, count };
    // Whatever the score, since the window says how many.
    let range = Range::Score(0, u64::MAX);
    sorted.collect(ctx, &range, is_reverse, window)
}

/// The same of a large one that is latched: as the worker remembers them ([`crate::edges`]), or with
/// some more, which it remembers from then on.
fn outermost(
    ctx: &mut Context<'_>,
    large: &Large,
    count: usize,
    is_reverse: bool,
) -> Result<Vec<Scored>, Stop> {
    let epoch = ctx.exec.epoch_of(&large.prefix);
    if let Some(epoch) = epoch
        && let Some(known) = ctx.exec.batch.edges.end(&large.prefix, epoch, is_reverse, count)
    {
        let scored = |key: &[u8]| -> Result<Scored, MetaError> {
            let element = key.get(large.prefix.len()..).and_then(score::parse_element);
            let (score, member) = element.ok_or(MetaError::Body)?;
            Ok(Scored { score, member: member.to_vec() })
        };
        return Ok(known.map(scored).collect::<Result<_, _>>()?);
    }
    let (mut members, mut keys, mut bytes) = (Vec::new(), VecDeque::new(), 0);
    let walked = walk_large(ctx, large, &all_elements(is_reverse), &mut |score, member| {
        if members.len() < count {
            members.push(Scored { score, member: member.to_vec() });
        }
        let mut key = large.prefix.clone();
        score::append_element(&mut key, score, member);
        bytes += key.len();
        keys.push_back(key);
        members.len() < count || (keys.len() < END_LEN_MAX && bytes < END_BYTES_MAX)
    });
    match walked {
        // The next ones are not in memory.
        Err(Stop::TooLong) if members.len() == count => {}
        other => other?,
    }
    if let Some(epoch) = epoch {
        ctx.exec.batch.edges.learn_end(&large.prefix, epoch, keys, is_reverse);
    }
    Ok(members)
}

fn pop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>, is_reverse: bool) -> Done {
    let count = match args.get(2) {
        None => None,
        Some(_) if args.len() > 3 => return Err(CommandError::Syntax.into()),
        Some(count) => Some(pop_count(count)?),
    };
    let members = take(ctx, &args[1], count.unwrap_or(1), is_reverse)?;
    match members.first() {
        // A pair of its own in either protocol.
        Some(only) if count.is_none() && reply.protocol() == Protocol::Resp3 => {
            reply.array(2);
            reply.bulk(&only.member);
            reply.double(only.score);
        }
        _ => tell(&members, true, reply),
    }
    Ok(())
}

pub(in super::super) fn zpopmin(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    pop(ctx, args, reply, false)
}

pub(in super::super) fn zpopmax(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    pop(ctx, args, reply, true)
}

pub(in super::super) fn bzpopmin(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    pop_or_wait(ctx, args, reply, false)
}

pub(in super::super) fn bzpopmax(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    pop_or_wait(ctx, args, reply, true)
}

fn pop_or_wait(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    is_reverse: bool,
) -> Done {
    let timeout = Timeout::seconds(&args[args.len() - 1])?;
    for key in blocking::keys_of(args) {
        if blocking::gives_way(ctx, key, Kind::ZSet)? {
            continue;
        }
        if let [only, ..] = take(ctx, key, 1, is_reverse)?.as_slice() {
            reply.array(3);
            reply.bulk(key);
            reply.bulk(&only.member);
            reply.double(only.score);
            return Ok(());
        }
    }
    blocking::wait(ctx, timeout, reply, Reply::null_array)
}

pub(in super::super) fn bzmpop(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let timeout = Timeout::seconds(&args[1])?;
    if pop_first(ctx, args.skip(1), reply, true)? {
        return Ok(());
    }
    blocking::wait(ctx, timeout, reply, Reply::null_array)
}

/// The end that ZMPOP names: whether the highest scores come first.
fn highest_first(arg: &[u8]) -> Result<bool, CommandError> {
    if is(arg, "MIN") {
        Ok(false)
    } else if is(arg, "MAX") {
        Ok(true)
    } else {
        Err(CommandError::Syntax)
    }
}

pub(in super::super) fn zmpop(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    if !pop_first(ctx, args, reply, false)? {
        reply.null_array();
    }
    Ok(())
}

/// Pops from the first sorted set that is there; `false`: there was none. The number of keys is
/// `args[1]`.
fn pop_first(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    gives_way: bool,
) -> Result<bool, Stop> {
    let First { keys, end: is_reverse, count } = first::parse(args, highest_first)?;
    for key in keys {
        if gives_way && blocking::gives_way(ctx, key, Kind::ZSet)? {
            continue;
        }
        let members = take(ctx, key, count, is_reverse)?;
        if members.is_empty() {
            continue;
        }
        reply.array(2);
        reply.bulk(key);
        reply.array(members.len());
        for scored in &members {
            reply.array(2);
            reply.bulk(&scored.member);
            reply.double(scored.score);
        }
        return Ok(true);
    }
    Ok(false)
}
