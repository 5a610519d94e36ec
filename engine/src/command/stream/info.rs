//! XINFO.

use coney_resp::{Args, Reply};

use super::group::{no_group_for_key, now_ms, subcommand_syntax};
use super::open::{Ids, Stream};
use super::pending::{first_owned, first_pending};
use super::{write_count, write_entries, write_entry, write_id};
use crate::command::option::{int, is};
use crate::command::{CommandError, Context, Done, Stop};
use crate::stream::{self, Consumer, Group, Pending};

/// Entries and pending entries that XINFO STREAM FULL lists if it does not say.
const FULL_COUNT: u64 = 10;

fn open<'a>(ctx: &mut Context<'_>, args: Args<'a>) -> Result<Stream<'a>, Stop> {
    let stream = Stream::read(ctx, args.get(2).unwrap_or_default())?;
    Ok(stream.ok_or(CommandError::NoSuchKey)?)
}

fn name(reply: &mut Reply<'_>, name: &str) {
    reply.bulk(name.as_bytes());
}

fn maybe(reply: &mut Reply<'_>, number: Option<i64>) {
    match number {
        Some(number) => reply.int(number),
        None => reply.null(),
    }
}

/// `None`: not FULL. 0: all.
fn full_count(args: Args<'_>) -> Result<Option<u64>, CommandError> {
    match (args.get(3), args.get(4), args.get(5), args.len()) {
        (None, ..) => Ok(None),
        (Some(full), None, ..) if is(full, "FULL") => Ok(Some(FULL_COUNT)),
        (Some(full), Some(word), Some(count), 6) if is(full, "FULL") && is(word, "COUNT") => {
            Ok(Some(u64::try_from(int(count)?).unwrap_or(FULL_COUNT)))
        }
        _ => Err(subcommand_syntax(args)),
    }
}

pub(in crate::command) fn stream(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let stream = open(ctx, args)?;
    let full = full_count(args)?;
    let groups = stream.named(ctx, &stream::groups())?;
    reply.map(if full.is_some() { 9 } else { 10 });
    name(reply, "length");
    write_count(reply, stream.length);
    // There is no such tree; what it would be if all its nodes were full.
    let keys = stream.length.div_ceil(ctx.exec.engine.encoding_limits().stream_node_entries());
    name(reply, "radix-tree-keys");
    write_count(reply, keys);
    name(reply, "radix-tree-nodes");
    write_count(reply, keys + 1);
    name(reply, "last-generated-id");
    write_id(reply, stream.info.last_id);
    name(reply, "max-deleted-entry-id");
    write_id(reply, stream.info.max_deleted_id);
    name(reply, "entries-added");
    write_count(reply, stream.info.entries_added);
    name(reply, "recorded-first-entry-id");
    write_id(reply, stream.info.first_id);
    if let Some(count) = full {
        name(reply, "entries");
        write_entries(ctx, &stream, &Ids::ALL, count, reply)?;
        name(reply, "groups");
        reply.array(groups.len());
        for (group_name, value) in groups {
            full_group(ctx, &stream, &group_name, &Group::parse(&value)?, count, reply)?;
        }
        return Ok(());
    }
    name(reply, "groups");
    reply.count(groups.len());
    for (title, is_reverse) in [("first-entry", false), ("last-entry", true)] {
        name(reply, title);
        let mut found = false;
        stream.visit_entries(ctx, &Ids { is_reverse, ..Ids::ALL }, 1, &mut |id, value| {
            found = true;
            write_entry(reply, id, value)
        })?;
        if !found {
            reply.null();
        }
    }
    Ok(())
}

fn full_group(
    ctx: &mut Context<'_>,
    stream: &Stream<'_>,
    group_name: &[u8],
    group: &Group,
    count: u64,
    reply: &mut Reply<'_>,
) -> Done {
    reply.map(7);
    name(reply, "name");
    reply.bulk(group_name);
    write_progress(stream, group, reply);
    name(reply, "pel-count");
    write_count(reply, group.pending);
    name(reply, "pending");
    let pending = first_pending(ctx, stream, group_name, count)?;
    reply.array(pending.len());
    for (id, Pending { delivered_ms, deliveries, consumer }) in pending {
        reply.array(4);
        write_id(reply, id);
        reply.bulk(&consumer);
        reply.int(delivered_ms);
        write_count(reply, deliveries);
    }
    name(reply, "consumers");
    let consumers = stream.named(ctx, &stream::consumers(group_name))?;
    reply.array(consumers.len());
    for (consumer_name, value) in consumers {
        let consumer = Consumer::parse(&value)?;
        reply.map(5);
        name(reply, "name");
        reply.bulk(&consumer_name);
        name(reply, "seen-time");
        reply.int(consumer.seen_ms);
        name(reply, "active-time");
        reply.int(consumer.active_ms);
        name(reply, "pel-count");
        write_count(reply, consumer.pending);
        name(reply, "pending");
        let owned = first_owned(ctx, stream, group_name, &consumer_name, count)?;
        reply.array(owned.len());
        for (id, pending) in owned {
            reply.array(3);
            write_id(reply, id);
            reply.int(pending.delivered_ms);
            write_count(reply, pending.deliveries);
        }
    }
    Ok(())
}

/// How far a group has read.
fn write_progress(stream: &Stream<'_>, group: &Group, reply: &mut Reply<'_>) {
    name(reply, "last-delivered-id");
    write_id(reply, group.last_id);
    name(reply, "entries-read");
    maybe(reply, Some(group.entries_read).filter(|read| *read != -1));
    name(reply, "lag");
    maybe(reply, stream.lag(group));
}

pub(in crate::command) fn groups(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let stream = open(ctx, args)?;
    let groups = stream.named(ctx, &stream::groups())?;
    reply.array(groups.len());
    for (group_name, value) in groups {
        let group = Group::parse(&value)?;
        let consumers = stream.named(ctx, &stream::consumers(&group_name))?.len();
        reply.map(6);
        name(reply, "name");
        reply.bulk(&group_name);
        name(reply, "consumers");
        reply.count(consumers);
        name(reply, "pending");
        write_count(reply, group.pending);
        write_progress(&stream, &group, reply);
    }
    Ok(())
}

pub(in crate::command) fn consumers(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let stream = open(ctx, args)?;
    let group_name = &args[3];
    if stream.group(ctx, group_name)?.is_none() {
        return Err(no_group_for_key(&args[2], group_name).into());
    }
    let now_ms = now_ms(ctx);
    let consumers = stream.named(ctx, &stream::consumers(group_name))?;
    reply.array(consumers.len());
    for (consumer_name, value) in consumers {
        let consumer = Consumer::parse(&value)?;
        reply.map(4);
        name(reply, "name");
        reply.bulk(&consumer_name);
        name(reply, "pending");
        write_count(reply, consumer.pending);
        name(reply, "idle");
        reply.int(now_ms.saturating_sub(consumer.seen_ms).max(0));
        name(reply, "inactive");
        let is_active = consumer.active_ms != -1;
        reply.int(if is_active { now_ms.saturating_sub(consumer.active_ms) } else { -1 });
    }
    Ok(())
}
