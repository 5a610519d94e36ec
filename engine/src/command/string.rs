//! Strings as wholes and in parts. Pages: <https://redis.io/docs/latest/commands/?group=string>.

use std::ops::Range;

use coney_resp::{Args, Reply};

use super::option::{Condition, Deadline, SetOptions, Ttl, Unit, int, parse_get_ex};
use super::text::{Chunked, Text, string_of};
use super::{CommandError, Context, Done};
use crate::meta::Header;
use crate::notify::Class;

pub(super) fn get(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let chunked = ctx.read(&args[1], |found| show(string_of(found)?, reply))??;
    show_chunked(ctx, chunked, reply)
}

/// Replies a string that is not in chunks.
fn show(text: Option<Text<'_>>, reply: &mut Reply<'_>) -> Result<Option<Chunked>, CommandError> {
    match text {
        Some(Text::Inline(body)) => reply.bulk(body),
        Some(Text::Chunked(chunked)) => return Ok(Some(chunked)),
        None => reply.null(),
    }
    Ok(None)
}

/// Replies the string in chunks that was looked at last, if it is one.
fn show_chunked(ctx: &mut Context<'_>, chunked: Option<Chunked>, reply: &mut Reply<'_>) -> Done {
    let Some(chunked) = chunked else { return Ok(()) };
    reply.begin_bulk(usize::try_from(chunked.len).unwrap_or(usize::MAX));
    ctx.pieces(chunked, 0..chunked.len, &mut |_, piece| {
        reply.raw(piece);
        true
    })?;
    reply.end_bulk();
    Ok(())
}

pub(super) fn strlen(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let len = ctx
        .read(&args[1], |found| string_of(found).map(|text| text.map_or(0, |text| text.len())))??;
    reply_len(reply, len);
    Ok(())
}

pub(super) fn set(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (key, value) = (&args[1], &args[2]);
    if args.len() == 3 {
        let old = ctx.for_write(key)?;
        ctx.put_text(key, old, &Header::STRING, value);
        ctx.notify(Class::String, "set", key);
        reply.ok();
        return Ok(());
    }
    let options = SetOptions::parse(args.skip(3))?;
    let deadline = match options.ttl {
        Ttl::Set(deadline) => Some(deadline.resolve(ctx.now)?),
        Ttl::Unsaid | Ttl::Keep | Ttl::Remove => None,
    };
    let old = ctx.for_write(key)?;
    if options.get {
        get(ctx, args, reply)?;
    }
    let is_refused = match options.condition {
        None => false,
        Some(Condition::Absent) => old.live.is_some(),
        Some(Condition::Present) => old.live.is_none(),
    };
    if is_refused {
        if !options.get {
            reply.null();
        }
        return Ok(());
    }
    let expire_at = match options.ttl {
        Ttl::Keep => old.live.and_then(|header| header.expire_at),
        Ttl::Unsaid | Ttl::Remove | Ttl::Set(_) => deadline,
    };
    ctx.put_text(key, old, &Header { expire_at, ..Header::STRING }, value);
    ctx.notify(Class::String, "set", key);
    if deadline.is_some() {
        ctx.notify(Class::Generic, "expire", key);
    }
    if !options.get {
        reply.ok();
    }
    Ok(())
}

pub(super) fn setnx(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let old = ctx.for_write(&args[1])?;
    if old.live.is_none() {
        ctx.put_text(&args[1], old, &Header::STRING, &args[2]);
        ctx.notify(Class::String, "set", &args[1]);
    }
    reply.int(i64::from(old.live.is_none()));
    Ok(())
}

pub(super) fn setex(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    set_with_deadline(ctx, args, reply, Unit::Seconds)
}

pub(super) fn psetex(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    set_with_deadline(ctx, args, reply, Unit::Millis)
}

fn set_with_deadline(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    unit: Unit,
) -> Done {
    let expire_at = Some(Deadline::after(unit, &args[2]).resolve(ctx.now)?);
    let old = ctx.for_write(&args[1])?;
    ctx.put_text(&args[1], old, &Header { expire_at, ..Header::STRING }, &args[3]);
    ctx.notify(Class::String, "set", &args[1]);
    ctx.notify(Class::Generic, "expire", &args[1]);
    reply.ok();
    Ok(())
}

pub(super) fn get_set(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let old = ctx.for_write(&args[1])?;
    get(ctx, args, reply)?;
    ctx.put_text(&args[1], old, &Header::STRING, &args[2]);
    ctx.notify(Class::String, "set", &args[1]);
    Ok(())
}

pub(super) fn get_del(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let old = ctx.for_write(&args[1])?;
    get(ctx, args, reply)?;
    if old.live.is_some() {
        ctx.delete(&args[1], old);
    }
    Ok(())
}

pub(super) fn get_ex(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let key = &args[1];
    let ttl = parse_get_ex(args.skip(2))?;
    let deadline = match ttl {
        Ttl::Unsaid | Ttl::Keep => return get(ctx, args, reply),
        Ttl::Remove => None,
        Ttl::Set(deadline) => Some(deadline),
    };
    let old = ctx.load_for_write(key)?;
    // Counts the hit or the miss, and writes the reply.
    get(ctx, args, reply)?;
    let Some(header) = old.live else { return Ok(()) };
    let expire_at = deadline.map(|deadline| deadline.resolve(ctx.now)).transpose()?;
    if expire_at.is_some_and(|at| at <= ctx.now) {
        ctx.delete(key, old);
        return Ok(());
    }
    if expire_at != header.expire_at {
        let table = ctx.table();
        ctx.put_loaded(table, key, old, &Header { expire_at, ..header }, b"");
    }
    match (expire_at, header.expire_at) {
        (Some(_), _) => ctx.notify(Class::Generic, "expire", key),
        (None, Some(_)) => ctx.notify(Class::Generic, "persist", key),
        (None, None) => {}
    }
    Ok(())
}

pub(super) fn mget(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.array(args.len() - 1);
    for key in args.iter().skip(1) {
        let chunked = ctx.read(key, |found| match string_of(found) {
            // Other types are nil to MGET.
            Err(CommandError::WrongType) => show(None, reply),
            text => show(text?, reply),
        })??;
        show_chunked(ctx, chunked, reply)?;
    }
    Ok(())
}

pub(super) fn mset(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    prepare_pairs(ctx, args)?;
    put_pairs(ctx, args);
    reply.ok();
    Ok(())
}

pub(super) fn msetnx(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    prepare_pairs(ctx, args)?;
    let is_free = ctx.exec.prepared.iter().all(|old| old.live.is_none());
    if is_free {
        put_pairs(ctx, args);
    }
    reply.int(i64::from(is_free));
    Ok(())
}

fn prepare_pairs(ctx: &mut Context<'_>, args: Args<'_>) -> Done {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity.into());
    }
    ctx.prepare(args.iter().skip(1).step_by(2))
}

fn put_pairs(ctx: &mut Context<'_>, args: Args<'_>) {
    let keys = args.iter().skip(1).step_by(2);
    let values = args.iter().skip(2).step_by(2);
    for (at, (key, value)) in keys.zip(values).enumerate() {
        let old = ctx.prepared(at, key);
        ctx.put_text(key, old, &Header::STRING, value);
        ctx.notify(Class::String, "set", key);
    }
}

pub(super) fn append(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (key, tail) = (&args[1], &args[2]);
    let mut edit = ctx.edit_text(key, |len| len..len + tail.len() as u64)?;
    let (len, new_len) = (edit.len(), edit.len() + tail.len() as u64);
    if edit.is_there() {
        ctx.check_value_len(new_len)?;
    }
    edit.write(len, tail);
    ctx.finish_text(key, edit);
    ctx.notify(Class::String, "append", key);
    reply_len(reply, new_len);
    Ok(())
}

pub(super) fn get_range(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (start, end) = (int(&args[2])?, int(&args[3])?);
    ctx.text_part(
        &args[1],
        |len| part(len, start, end),
        |found| reply.bulk(found.map_or(b"", |(_, bytes)| bytes)),
    )
}

/// The part from `start` to `end`, both included, of a string of so many bytes; negative ones count
/// from the end.
fn part(len: u64, start: i64, end: i64) -> Range<u64> {
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from_end = |index: i64| {
        u64::try_from(index).unwrap_or_else(|_negative| len.saturating_sub(index.unsigned_abs()))
    };
    let (start, end) = (from_end(start), from_end(end).saturating_add(1).min(len));
    if start < end { start..end } else { 0..0 }
}

fn reply_len(reply: &mut Reply<'_>, len: u64) {
    reply.count(usize::try_from(len).unwrap_or(usize::MAX));
}

pub(super) fn set_range(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (key, patch) = (&args[1], &args[3]);
    let offset =
        u64::try_from(int(&args[2])?).map_err(|_negative| CommandError::OffsetOutOfRange)?;
    let end = offset.saturating_add(patch.len() as u64);
    if patch.is_empty() || ctx.check_value_len(end).is_err() {
        let (_, len) = ctx.read_for_write(key, |found| {
            string_of(found).map(|text| text.map_or(0, |text| text.len()))
        })?;
        reply_len(reply, len?);
        return if patch.is_empty() { Ok(()) } else { Err(CommandError::StringTooLong.into()) };
    }
    let mut edit = ctx.edit_text(key, |_| offset..end)?;
    edit.write(offset, patch);
    reply_len(reply, edit.len());
    ctx.finish_text(key, edit);
    ctx.notify(Class::String, "setrange", key);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn parts_are_those_of_getrange() {
        for (start, end, expected) in [
            (0, -1, "Hello"),
            (0, 0, "H"),
            (1, 3, "ell"),
            (-3, -2, "ll"),
            (-2, -3, ""),
            (-100, 1, "He"),
            (3, 100, "lo"),
            (5, 10, ""),
            (3, 2, ""),
            (-1, -100, ""),
            (-100, -100, "H"),
            (i64::MIN, i64::MAX, "Hello"),
            (i64::MAX, i64::MIN, ""),
        ] {
            let part = part(5, start, end);
            let part = usize::try_from(part.start).unwrap()..usize::try_from(part.end).unwrap();
            assert_eq!(&"Hello"[part], expected, "{start} {end}");
        }
        assert_eq!(part(0, 0, -1), 0..0);
    }
}
