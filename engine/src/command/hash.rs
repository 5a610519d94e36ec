//! Hashes. Pages: <https://redis.io/docs/latest/commands/?group=hash>.
//!
//! The stored value of a field is a byte of flags and the value. A flag says that a deadline of
//! eight bytes comes in between; nothing sets it yet, and a value that has it is refused.

use coney_resp::number::parse_i64;
use coney_resp::{Args, Reply};

use super::collection::{Large, Shape};
use super::long_double::LongDouble;
use super::option::{int, is, random_count};
use super::{CommandError, Context, Done, Stop, scan};
use crate::compact::Entry;
use crate::meta::{Kind, MetaError};
use crate::notify::Class;

/// Flags of a value without a deadline.
const PLAIN: u8 = 0;

/// The value of a field, out of what is stored.
pub(super) fn value_of(stored: &[u8]) -> Result<&[u8], CommandError> {
    match stored {
        [PLAIN, value @ ..] => Ok(value),
        _ => Err(MetaError::Body.into()),
    }
}

pub(super) fn stored(value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(1 + value.len());
    stored.push(PLAIN);
    stored.extend_from_slice(value);
    stored
}

/// Hands the value of one field to `f`.
pub(super) fn field<R>(
    ctx: &mut Context<'_>,
    key: &[u8],
    name: &[u8],
    f: impl FnOnce(Option<&[u8]>) -> R,
) -> Result<R, Stop> {
    enum Step<R, F> {
        Done(R),
        Large(F, Large),
    }
    let found = ctx.inspect(key, Kind::Hash, |shape| match shape {
        Shape::Absent => Ok(Step::Done(f(None))),
        Shape::Compact(compact) => {
            let entry = compact.find(name)?;
            Ok(Step::Done(f(entry.map(|entry| value_of(entry.value)).transpose()?)))
        }
        Shape::Large(large) => Ok(Step::Large(f, large)),
    })?;
    match found {
        Step::Done(result) => Ok(result),
        Step::Large(f, large) => Ok(ctx.member(&large.prefix, name, |found| {
            Ok::<_, CommandError>(f(found.map(value_of).transpose()?))
        })??),
    }
}

pub(super) fn hget(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    field(ctx, &args[1], &args[2], |value| match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    })
}

pub(super) fn hexists(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    field(ctx, &args[1], &args[2], |value| reply.int(i64::from(value.is_some())))
}

pub(super) fn hstrlen(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    field(ctx, &args[1], &args[2], |value| reply.count(value.map_or(0, <[u8]>::len)))
}

pub(super) fn hmget(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let names = args.skip(2);
    reply.array(names.len());
    let mut push = |value: Option<&[u8]>| match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    };
    let large = ctx.inspect(&args[1], Kind::Hash, |shape| match shape {
        Shape::Absent => {
            names.iter().for_each(|_| push(None));
            Ok(None)
        }
        Shape::Compact(compact) => {
            for name in names.iter() {
                let entry = compact.find(name)?;
                push(entry.map(|entry| value_of(entry.value)).transpose()?);
            }
            Ok(None)
        }
        Shape::Large(large) => Ok(Some(large)),
    })?;
    if let Some(large) = large {
        for name in names.iter() {
            ctx.member(&large.prefix, name, |found| {
                push(found.map(value_of).transpose()?);
                Ok::<_, CommandError>(())
            })??;
        }
    }
    Ok(())
}

pub(super) fn hlen(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    ctx.inspect(&args[1], Kind::Hash, |shape| {
        match shape {
            Shape::Absent => reply.int(0),
            Shape::Compact(compact) => reply.count(compact.count),
            Shape::Large(large) => reply.int(i64::try_from(large.body.count).unwrap_or(i64::MAX)),
        }
        Ok(())
    })
}

pub(super) fn hgetall(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (count, bytes) = collect(ctx, &args[1], reply, |entry, out| {
        out.bulk(entry.name);
        out.bulk(value_of(entry.value)?);
        Ok(())
    })?;
    reply.map(count);
    reply.raw(&bytes);
    Ok(())
}

pub(super) fn hkeys(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (count, bytes) = collect(ctx, &args[1], reply, |entry, out| {
        out.bulk(entry.name);
        Ok(())
    })?;
    reply.array(count);
    reply.raw(&bytes);
    Ok(())
}

pub(super) fn hvals(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (count, bytes) = collect(ctx, &args[1], reply, |entry, out| {
        out.bulk(value_of(entry.value)?);
        Ok(())
    })?;
    reply.array(count);
    reply.raw(&bytes);
    Ok(())
}

/// What `write` makes of every field: how many there were, and the bytes.
fn collect(
    ctx: &mut Context<'_>,
    key: &[u8],
    reply: &Reply<'_>,
    mut write: impl FnMut(Entry<'_>, &mut Reply<'_>) -> Result<(), CommandError>,
) -> Result<(usize, Vec<u8>), Stop> {
    let mut bytes = Vec::new();
    let mut out = Reply::new(&mut bytes, reply.protocol());
    let mut count = 0;
    ctx.visit(key, Kind::Hash, |entry| {
        count += 1;
        write(entry, &mut out)?;
        Ok(true)
    })?;
    Ok((count, bytes))
}

pub(super) fn hset(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let created = set_pairs(ctx, args)?;
    reply.count(created);
    Ok(())
}

pub(super) fn hmset(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    set_pairs(ctx, args)?;
    reply.ok();
    Ok(())
}

fn set_pairs(ctx: &mut Context<'_>, args: Args<'_>) -> Result<usize, Stop> {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity.into());
    }
    let names = args.iter().skip(2).step_by(2);
    let values = args.iter().skip(3).step_by(2);
    let mut edit = ctx.edit(&args[1], Kind::Hash)?;
    ctx.edit_prepare(&mut edit, names)?;
    let mut created = 0;
    let names = args.iter().skip(2).step_by(2);
    for (number, (name, value)) in names.zip(values).enumerate() {
        let value = stored(value);
        let was_there = ctx.edit_set(&mut edit, number, Entry { name, value: &value });
        created += usize::from(!was_there);
    }
    ctx.edit_finish(edit);
    ctx.notify(Class::Hash, "hset", &args[1]);
    Ok(created)
}

pub(super) fn hsetnx(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let name = &args[2];
    let mut edit = ctx.edit(&args[1], Kind::Hash)?;
    let is_new = ctx.edit_get(&edit, name, |value| value.is_none())?;
    if is_new {
        ctx.edit_set(&mut edit, 0, Entry { name, value: &stored(&args[3]) });
    }
    ctx.edit_finish(edit);
    if is_new {
        ctx.notify(Class::Hash, "hset", &args[1]);
    }
    reply.int(i64::from(is_new));
    Ok(())
}

pub(super) fn hdel(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let names = args.skip(2);
    let mut edit = ctx.edit(&args[1], Kind::Hash)?;
    ctx.edit_prepare(&mut edit, names.iter())?;
    let mut count = 0;
    for (number, name) in names.iter().enumerate() {
        count += usize::from(ctx.edit_remove(&mut edit, number, name));
    }
    if count > 0 {
        ctx.notify(Class::Hash, "hdel", &args[1]);
    }
    ctx.edit_finish(edit);
    reply.count(count);
    Ok(())
}

pub(super) fn hincrby(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (name, by) = (&args[2], int(&args[3])?);
    let mut edit = ctx.edit(&args[1], Kind::Hash)?;
    let number = ctx.edit_get(&edit, name, |found| match found {
        None => Ok(None),
        Some(found) => parse_i64(value_of(found)?)
            .map(Some)
            .ok_or(CommandError::Text("ERR hash value is not an integer")),
    })??;
    let sum = number.unwrap_or(0).checked_add(by).ok_or(CommandError::Overflow)?;
    let mut digits = itoa::Buffer::new();
    let value = stored(digits.format(sum).as_bytes());
    edit.assume_present(usize::from(number.is_some()));
    ctx.edit_set(&mut edit, 0, Entry { name, value: &value });
    ctx.edit_finish(edit);
    ctx.notify(Class::Hash, "hincrby", &args[1]);
    reply.int(sum);
    Ok(())
}

pub(super) fn hincrbyfloat(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let name = &args[2];
    let by = LongDouble::parse(&args[3]).ok_or_else(|| {
        if LongDouble::is_infinity(&args[3]) {
            CommandError::Text("ERR value is NaN or Infinity")
        } else {
            CommandError::NotFloat
        }
    })?;
    let mut edit = ctx.edit(&args[1], Kind::Hash)?;
    let number = ctx.edit_get(&edit, name, |found| {
        let Some(found) = found else { return Ok(None) };
        let text = value_of(found)?;
        LongDouble::parse(text).map(Some).ok_or_else(|| {
            if LongDouble::is_infinity(text) {
                CommandError::NotFinite
            } else {
                CommandError::Text("ERR hash value is not a float")
            }
        })
    })??;
    let sum = number.unwrap_or(LongDouble::ZERO).add(by).ok_or(CommandError::NotFinite)?;
    let text = sum.to_string();
    edit.assume_present(usize::from(number.is_some()));
    ctx.edit_set(&mut edit, 0, Entry { name, value: &stored(text.as_bytes()) });
    ctx.edit_finish(edit);
    ctx.notify(Class::Hash, "hincrbyfloat", &args[1]);
    reply.bulk(text.as_bytes());
    Ok(())
}

pub(super) fn hscan(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    scan::scan(ctx, args, reply, Kind::Hash, |stored| Ok(value_of(stored)?.into()))
}

pub(super) fn hrandfield(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let Some(count) = args.get(2) else {
        match ctx.random_of(&args[1], Kind::Hash, 1)?.first() {
            Some(field) => reply.bulk(&field.name),
            None => reply.null(),
        }
        return Ok(());
    };
    let count = random_count(count)?;
    let has_values = match args.get(3) {
        None => false,
        Some(option) if args.len() == 4 && is(option, "WITHVALUES") => {
            if !(-i64::MAX / 2..=i64::MAX / 2).contains(&count) {
                return Err(CommandError::Text("ERR value is out of range").into());
            }
            true
        }
        Some(_) => return Err(CommandError::Syntax.into()),
    };
    let fields = ctx.random_of(&args[1], Kind::Hash, count)?;
    let is_nested = has_values && reply.protocol() == coney_resp::Protocol::Resp3;
    reply.array(if has_values && !is_nested { fields.len() * 2 } else { fields.len() });
    for field in &fields {
        if is_nested {
            reply.array(2);
        }
        reply.bulk(&field.name);
        if has_values {
            reply.bulk(value_of(&field.value)?);
        }
    }
    Ok(())
}
