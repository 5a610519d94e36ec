//! Streams. Pages: <https://redis.io/docs/latest/commands/?group=stream>.
//!
//! [`open`] is a stream that a command has opened, [`args`] what clients write. Here are the commands
//! on entries; [`read`] has XREAD and XREADGROUP, [`group`] what changes groups, [`pending`] what
//! becomes of delivered entries, [`info`] XINFO, [`save`] whole streams for DUMP and RESTORE. Bytes:
//! [`crate::stream`].

use coney_resp::{Args, Reply};

use self::args::{NewId, Strategy, Trim};
use self::open::{Ids, Stream};
use super::option::{int, is};
use super::{CommandError, Context, Done, Stop};
use crate::notify::Class;
use crate::stream::{self, StreamId};

mod args;
pub(super) mod group;
pub(super) mod info;
mod open;
pub(super) mod pending;
pub(super) mod read;
pub(super) mod save;

/// Longest entry, fields and values together.
const ENTRY_BYTES_MAX: usize = 1 << 30;

fn write_id(reply: &mut Reply<'_>, id: StreamId) {
    reply.bulk(id.to_string().as_bytes());
}

fn write_count(reply: &mut Reply<'_>, count: u64) {
    reply.int(i64::try_from(count).unwrap_or(i64::MAX));
}

/// An entry as all commands reply it.
fn write_entry(reply: &mut Reply<'_>, id: StreamId, value: &[u8]) -> Result<(), CommandError> {
    let words = stream::parse_fields(value)?;
    reply.array(2);
    write_id(reply, id);
    reply.array(words.len());
    words.iter().for_each(|word| reply.bulk(word));
    Ok(())
}

/// Replies a list of entries: at most `count` (0: all). How many there were.
fn write_entries(
    ctx: &mut Context<'_>,
    stream: &Stream<'_>,
    ids: &Ids,
    count: u64,
    reply: &mut Reply<'_>,
) -> Result<usize, Stop> {
    let mut bytes = Vec::new();
    let mut out = Reply::new(&mut bytes, reply.protocol());
    let mut written = 0;
    stream.visit_entries(ctx, ids, count, &mut |id, value| {
        written += 1;
        write_entry(&mut out, id, value)
    })?;
    reply.array(written);
    reply.raw(&bytes);
    Ok(written)
}

pub(super) fn xadd(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let options = args::add_options(args, true)?;
    let fields = args.skip(options.fields_at);
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity.into());
    }
    if options.id == NewId::Given(StreamId::MIN) {
        return Err(
            CommandError::Text("ERR The ID specified in XADD must be greater than 0-0").into()
        );
    }
    let mut stream = Stream::write(ctx, &args[1])?;
    if !stream.exists() && !options.makes_stream {
        reply.null();
        return Ok(());
    }
    let last = stream.info.last_id;
    let after_last = last.next().ok_or(CommandError::Text(
        "ERR The stream has exhausted the last possible ID, unable to add more items",
    ))?;
    let id = match options.id {
        NewId::Auto => StreamId { ms: ctx.now.0, seq: 0 }.max(after_last),
        NewId::AutoSeq(ms) if ms == last.ms => after_last,
        NewId::AutoSeq(ms) => StreamId { ms, seq: 0 },
        NewId::Given(id) => id,
    };
    let is_overflow = matches!(options.id, NewId::AutoSeq(ms) if ms != id.ms);
    if id <= last || is_overflow {
        return Err(CommandError::Text(
            "ERR The ID specified in XADD is equal or smaller than the target stream top item",
        )
        .into());
    }
    if fields.bytes_len() > ENTRY_BYTES_MAX {
        return Err(CommandError::Text("ERR Elements are too large to be stored").into());
    }
    stream.put(stream::entry(id), stream::write_fields(fields.iter()));
    stream.info.last_id = id;
    stream.info.entries_added = stream.info.entries_added.saturating_add(1);
    stream.length += 1;
    if stream.length == 1 {
        stream.info.first_id = id;
    }
    let trimmed = options.trim.map_or(Ok(0), |how| trim(ctx, &mut stream, how))?;
    stream.finish(ctx);
    ctx.notify(Class::Stream, "xadd", &args[1]);
    if trimmed > 0 {
        ctx.notify(Class::Stream, "xtrim", &args[1]);
    }
    write_id(reply, id);
    Ok(())
}

/// Entries that an approximate trimming without LIMIT removes at most: those of a hundred nodes, as in
/// Redis.
fn default_limit(node_entries: u64) -> u64 {
    if node_entries == u64::MAX { 10_000 } else { node_entries.saturating_mul(100).min(1_000_000) }
}

/// Removes entries from the beginning and returns how many. May stop.
fn trim(ctx: &mut Context<'_>, stream: &mut Stream<'_>, how: Trim) -> Result<u64, Stop> {
    let length = stream.length;
    let node_entries = ctx.exec.engine.encoding_limits().stream_node_entries();
    let limit = how.limit.unwrap_or_else(|| default_limit(node_entries));
    let rounded = |eligible: u64| {
        let is_limited = limit > 0 && limit < eligible;
        // The last block may be smaller.
        if !how.is_approximate || eligible == length && !is_limited {
            return eligible;
        }
        let most = if is_limited { limit } else { eligible };
        most - most % node_entries
    };
    let (wanted, end) = match how.strategy {
        Strategy::MaxLen(count) => (rounded(length.saturating_sub(count)), StreamId::MAX),
        Strategy::MinId(id) => (length, id),
    };
    if wanted == 0 {
        return Ok(0);
    }
    let mut removed = Vec::new();
    let mut next = None;
    // One more than is removed becomes the first.
    let is_limited = how.is_approximate && limit > 0;
    let most = if is_limited { wanted.min(limit) } else { wanted };
    stream.visit_entries(ctx, &Ids::ALL, most.saturating_add(1), &mut |id, _| {
        let is_removed = match how.strategy {
            Strategy::MaxLen(_) => (removed.len() as u64) < wanted,
            Strategy::MinId(_) => id < end,
        };
        if is_removed {
            removed.push(id);
        } else if next.is_none() {
            next = Some(id);
        }
        Ok(())
    })?;
    let count = match how.strategy {
        Strategy::MaxLen(_) => removed.len() as u64,
        Strategy::MinId(_) => rounded(removed.len() as u64),
    };
    let kept = usize::try_from(count).unwrap_or(usize::MAX);
    stream.info.first_id = match removed.get(kept).copied().or(next) {
        Some(id) if count > 0 => id,
        Some(_) => stream.info.first_id,
        None => StreamId::MIN,
    };
    removed.truncate(kept);
    for id in &removed {
        stream.remove(stream::entry(*id));
    }
    stream.length = stream.length.saturating_sub(count);
    Ok(count)
}

pub(super) fn xtrim(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let options = args::add_options(args, false)?;
    let mut stream = Stream::write(ctx, &args[1])?;
    let mut removed = 0;
    if let Some(how) = options.trim.filter(|_| stream.exists()) {
        removed = trim(ctx, &mut stream, how)?;
        stream.finish(ctx);
        if removed > 0 {
            ctx.notify(Class::Stream, "xtrim", &args[1]);
        }
    }
    write_count(reply, removed);
    Ok(())
}

pub(super) fn xlen(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let stream = Stream::read(ctx, &args[1])?;
    write_count(reply, stream.map_or(0, |stream| stream.length));
    Ok(())
}

pub(super) fn xrange(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    range(ctx, args, reply, false)
}

pub(super) fn xrevrange(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    range(ctx, args, reply, true)
}

fn range(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>, is_reverse: bool) -> Done {
    let (start, end) = if is_reverse { (&args[3], &args[2]) } else { (&args[2], &args[3]) };
    let ids =
        Ids { start: args::interval_start(start)?, end: args::interval_end(end)?, is_reverse };
    let mut count = None;
    let mut at = 4;
    while let Some(option) = args.get(at) {
        match args.get(at + 1) {
            Some(value) if is(option, "COUNT") => {
                count = Some(u64::try_from(int(value)?).unwrap_or(0));
            }
            _ => return Err(CommandError::Syntax.into()),
        }
        at += 2;
    }
    match Stream::read(ctx, &args[1])? {
        None => reply.array(0),
        Some(_) if count == Some(0) => reply.null_array(),
        Some(stream) => {
            write_entries(ctx, &stream, &ids, count.unwrap_or(0), reply)?;
        }
    }
    Ok(())
}

pub(super) fn xdel(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let mut stream = Stream::write(ctx, &args[1])?;
    if !stream.exists() {
        reply.int(0);
        return Ok(());
    }
    let mut removed = 0;
    let mut is_first_gone = false;
    for id in args::ids(args.skip(2))? {
        let element = stream::entry(id);
        if stream.get(ctx, &element)?.is_some() {
            stream.remove(element);
            is_first_gone |= id == stream.info.first_id;
            stream.info.max_deleted_id = stream.info.max_deleted_id.max(id);
            removed += 1;
        }
    }
    stream.length = stream.length.saturating_sub(removed);
    if stream.length == 0 {
        stream.info.first_id = StreamId::MIN;
    } else if is_first_gone {
        stream.info.first_id = stream.find_first(ctx)?;
    }
    stream.finish(ctx);
    if removed > 0 {
        ctx.notify(Class::Stream, "xdel", &args[1]);
    }
    write_count(reply, removed);
    Ok(())
}

pub(super) fn xsetid(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let id = args::strict_id(&args[2], 0)?;
    let (mut added, mut max_deleted) = (None, StreamId::MIN);
    let mut at = 3;
    while let Some(option) = args.get(at) {
        match args.get(at + 1) {
            Some(value) if is(option, "ENTRIESADDED") => {
                let count = u64::try_from(int(value)?);
                let negative = CommandError::Text("ERR entries_added must be positive");
                added = Some(count.map_err(|_negative| negative)?);
            }
            Some(value) if is(option, "MAXDELETEDID") => {
                max_deleted = args::strict_id(value, 0)?;
                if id < max_deleted {
                    return Err(CommandError::Text(
                        "ERR The ID specified in XSETID is smaller than the provided \
                         max_deleted_entry_id",
                    )
                    .into());
                }
            }
            _ => return Err(CommandError::Syntax.into()),
        }
        at += 2;
    }
    let mut stream = Stream::write(ctx, &args[1])?;
    if !stream.exists() {
        return Err(CommandError::NoSuchKey.into());
    }
    if id < stream.info.max_deleted_id {
        return Err(CommandError::Text(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        )
        .into());
    }
    if stream.length > 0 {
        if id < stream.find_last(ctx)? {
            return Err(CommandError::Text(
                "ERR The ID specified in XSETID is smaller than the target stream top item",
            )
            .into());
        }
        if added.is_some_and(|added| added < stream.length) {
            return Err(CommandError::Text(
                "ERR The entries_added specified in XSETID is smaller than the target stream length",
            )
            .into());
        }
    }
    stream.info.last_id = id;
    if let Some(added) = added {
        stream.info.entries_added = added;
    }
    if max_deleted != StreamId::MIN {
        stream.info.max_deleted_id = max_deleted;
    }
    stream.finish(ctx);
    ctx.notify(Class::Stream, "xsetid", &args[1]);
    reply.ok();
    Ok(())
}
