//! Strings as numbers.

use coney_resp::number::parse_i64;
use coney_resp::{Args, Reply};

use super::long_double::LongDouble;
use super::option::int;
use super::text::{Text, string_of};
use super::{CommandError, Context, Done};
use crate::meta::Header;
use crate::notify::Class;

pub(super) fn incr(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    add(ctx, args, reply, 1)
}

pub(super) fn decr(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    add(ctx, args, reply, -1)
}

pub(super) fn incr_by(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    add(ctx, args, reply, int(&args[2])?)
}

pub(super) fn decr_by(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let by = int(&args[2])?.checked_neg().ok_or(CommandError::DecrementOverflow)?;
    add(ctx, args, reply, by)
}

fn add(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>, by: i64) -> Done {
    let key = &args[1];
    let (old, number) = ctx.read_for_write(key, |found| match string_of(found)? {
        None => Ok(0),
        Some(Text::Inline(body)) => parse_i64(body).ok_or(CommandError::NotInteger),
        Some(Text::Chunked(_)) => Err(CommandError::NotInteger),
    })?;
    let sum = number?.checked_add(by).ok_or(CommandError::Overflow)?;
    let mut digits = itoa::Buffer::new();
    let header = old.live.unwrap_or(Header::STRING);
    ctx.put(key, old, &header, &[digits.format(sum).as_bytes()]);
    ctx.notify(Class::String, "incrby", key);
    reply.int(sum);
    Ok(())
}

pub(super) fn incr_by_float(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let key = &args[1];
    let parse = |text: &[u8]| {
        LongDouble::parse(text).ok_or_else(|| match LongDouble::is_infinity(text) {
            true => CommandError::NotFinite,
            false => CommandError::NotFloat,
        })
    };
    let (old, number) = ctx.read_for_write(key, |found| match string_of(found)? {
        None => Ok(LongDouble::ZERO),
        Some(Text::Inline(body)) => parse(body),
        Some(Text::Chunked(_)) => Err(CommandError::NotFloat),
    })?;
    let sum = number?.add(parse(&args[2])?).ok_or(CommandError::NotFinite)?;
    let text = sum.to_string();
    let header = old.live.unwrap_or(Header::STRING);
    ctx.put(key, old, &header, &[text.as_bytes()]);
    ctx.notify(Class::String, "incrbyfloat", key);
    reply.bulk(text.as_bytes());
    Ok(())
}
