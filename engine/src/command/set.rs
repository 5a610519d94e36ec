//! Sets. Pages: <https://redis.io/docs/latest/commands/?group=set>. What several sets make
//! together is in [`algebra`].

use coney_resp::{Args, Reply};

use super::collection::Shape;
use super::collection::edit::Form;
use super::collection::members::Member;
use super::option::{pop_count, random_count};
use super::{CommandError, Context, Done, scan};
use crate::compact::Entry;
use crate::meta::Kind;
use crate::notify::Class;

pub(super) mod algebra;

/// A member as an entry: sets have no values.
fn entry(name: &[u8]) -> Entry<'_> {
    Entry { name, value: b"" }
}

pub(super) fn sadd(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let members = args.skip(2);
    let mut edit = ctx.edit(&args[1], Kind::Set)?;
    ctx.edit_prepare(&mut edit, members.iter())?;
    let mut added = 0;
    for (number, member) in members.iter().enumerate() {
        added += usize::from(!ctx.edit_set(&mut edit, number, entry(member)));
    }
    ctx.edit_finish(edit);
    if added > 0 {
        ctx.notify(Class::Set, "sadd", &args[1]);
    }
    reply.count(added);
    Ok(())
}

pub(super) fn srem(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let members = args.skip(2);
    let mut edit = ctx.edit(&args[1], Kind::Set)?;
    ctx.edit_prepare(&mut edit, members.iter())?;
    let mut removed = 0;
    for (number, member) in members.iter().enumerate() {
        removed += usize::from(ctx.edit_remove(&mut edit, number, member));
    }
    if removed > 0 {
        ctx.notify(Class::Set, "srem", &args[1]);
    }
    ctx.edit_finish(edit);
    reply.count(removed);
    Ok(())
}

pub(super) fn sismember(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    are_members(ctx, &args[1], args.skip(2), reply)
}

pub(super) fn smismember(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let members = args.skip(2);
    reply.array(members.len());
    are_members(ctx, &args[1], members, reply)
}

/// Replies for each member whether it is there.
fn are_members(
    ctx: &mut Context<'_>,
    key: &[u8],
    members: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let large = ctx.inspect(key, Kind::Set, |shape| match shape {
        Shape::Absent => {
            members.iter().for_each(|_| reply.int(0));
            Ok(None)
        }
        Shape::Compact(compact) => {
            for member in members.iter() {
                reply.int(i64::from(compact.find(member)?.is_some()));
            }
            Ok(None)
        }
        Shape::Large(large) => Ok(Some(large)),
    })?;
    if let Some(large) = large {
        ctx.fetch_members(&large.prefix, members.iter());
        for member in members.iter() {
            let is_there = ctx.member(&large.prefix, member, |found| found.is_some())?;
            reply.int(i64::from(is_there));
        }
    }
    Ok(())
}

pub(super) fn scard(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    ctx.inspect(&args[1], Kind::Set, |shape| {
        match shape {
            Shape::Absent => reply.int(0),
            Shape::Compact(compact) => reply.count(compact.count),
            Shape::Large(large) => reply.int(i64::try_from(large.body.count).unwrap_or(i64::MAX)),
        }
        Ok(())
    })
}

pub(super) fn smembers(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let mut bytes = Vec::new();
    let mut out = Reply::new(&mut bytes, reply.protocol());
    let mut count = 0;
    ctx.visit(&args[1], Kind::Set, |entry| {
        count += 1;
        out.bulk(entry.name);
        Ok(true)
    })?;
    reply.set(count);
    reply.raw(&bytes);
    Ok(())
}

pub(super) fn spop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let count = match args.get(2) {
        None => None,
        Some(_) if args.len() > 3 => return Err(CommandError::Syntax.into()),
        Some(count) => Some(pop_count(count)?),
    };
    let mut edit = ctx.edit(&args[1], Kind::Set)?;
    let wanted = count.unwrap_or(1);
    let popped = match &edit.form {
        Form::Compact(compact) => {
            let mut all: Vec<Member> = compact.entries().map(Member::new).collect();
            ctx.choose(&mut all, wanted);
            all
        }
        Form::Large(large) if wanted == 1 => {
            let name = ctx.random_to_remove(large)?;
            name.into_iter().map(|name| Member { name, value: Vec::new() }).collect()
        }
        Form::Large(large) => ctx.random_members(large, wanted)?,
    };
    if !popped.is_empty() {
        ctx.notify(Class::Set, "spop", &args[1]);
    }
    if wanted >= edit.count() {
        let old = edit.old;
        ctx.delete(&args[1], old);
    } else {
        edit.assume_present(popped.len());
        for (number, member) in popped.iter().enumerate() {
            ctx.edit_remove(&mut edit, number, &member.name);
        }
        ctx.edit_finish(edit);
    }
    match (count, popped.first()) {
        (None, None) => reply.null(),
        (None, Some(member)) => reply.bulk(&member.name),
        (Some(_), _) => {
            reply.set(popped.len());
            popped.iter().for_each(|member| reply.bulk(&member.name));
        }
    }
    Ok(())
}

pub(super) fn srandmember(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let count = match args.get(2) {
        None => None,
        Some(_) if args.len() > 3 => return Err(CommandError::Syntax.into()),
        Some(count) => Some(random_count(count)?),
    };
    let members = ctx.random_of(&args[1], Kind::Set, count.unwrap_or(1))?;
    match (count, members.first()) {
        (None, None) => reply.null(),
        (None, Some(member)) => reply.bulk(&member.name),
        (Some(_), _) => {
            reply.array(members.len());
            members.iter().for_each(|member| reply.bulk(&member.name));
        }
    }
    Ok(())
}

pub(super) fn smove(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (source, target, member) = (&args[1], &args[2], &args[3]);
    let mut from = ctx.edit(source, Kind::Set)?;
    if from.old.live.is_none() {
        reply.int(0);
        return Ok(());
    }
    let is_there = ctx.edit_get(&from, member, |found| found.is_some())?;
    if source == target {
        reply.int(i64::from(is_there));
        return Ok(());
    }
    let mut to = ctx.edit(target, Kind::Set)?;
    if is_there {
        ctx.edit_prepare(&mut to, std::iter::once(member))?;
        from.assume_present(1);
        ctx.edit_remove(&mut from, 0, member);
        ctx.notify(Class::Set, "srem", source);
        ctx.edit_finish(from);
        let was_there = ctx.edit_set(&mut to, 0, entry(member));
        ctx.edit_finish(to);
        if !was_there {
            ctx.notify(Class::Set, "sadd", target);
        }
    }
    reply.int(i64::from(is_there));
    Ok(())
}

pub(super) fn sscan(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    scan::scan(ctx, args, reply, Kind::Set, |stored, _| Ok(Some(stored.into())))
}
