//! Consumer groups: XGROUP, and what reading and claiming share.

use coney_resp::{Args, Reply};

use super::args::{any_id, strict_id};
use super::open::{Ids, Stream, under, with_id};
use super::write_count;
use crate::command::option::{int, is};
use crate::command::{CommandError, Context, Done, Stop};
use crate::meta::MetaError;
use crate::notify::Class;
use crate::stream::{self, Consumer, Group, Pending, StreamId};

/// The moment as it is stored.
pub(super) fn now_ms(ctx: &Context<'_>) -> i64 {
    i64::try_from(ctx.now.0).unwrap_or(i64::MAX)
}

/// A consumer tries to read or claim: it exists from now on.
pub(super) fn see(
    ctx: &mut Context<'_>,
    stream: &mut Stream<'_>,
    group: &[u8],
    name: &[u8],
) -> Result<(), Stop> {
    let seen_ms = now_ms(ctx);
    let consumer = match stream.consumer(ctx, group, name)? {
        Some(consumer) => Consumer { seen_ms, ..consumer },
        None => {
            ctx.notify(Class::Stream, "xgroup-createconsumer", stream.key);
            Consumer { seen_ms, active_ms: -1, pending: 0 }
        }
    };
    stream.put_consumer(group, name, &consumer);
    Ok(())
}

/// Makes an entry pending, or another consumer's; counts it where it belongs. The consumer is
/// there, and active. The group's new count is in `group`, which the caller writes.
pub(super) fn deliver(
    ctx: &mut Context<'_>,
    stream: &mut Stream<'_>,
    name: &[u8],
    group: &mut Group,
    id: StreamId,
    pending: &Pending,
) -> Result<(), Stop> {
    let before = stream.pending(ctx, name, id)?;
    let is_new_owner = before.as_ref().is_none_or(|before| before.consumer != pending.consumer);
    if let Some(before) = before.filter(|_| is_new_owner) {
        release(ctx, stream, name, group, id, &before)?;
    }
    let owner = stream.consumer(ctx, name, &pending.consumer)?;
    let mut owner = owner.ok_or(MetaError::Body)?;
    owner.active_ms = now_ms(ctx);
    if is_new_owner {
        owner.pending = owner.pending.saturating_add(1);
        group.pending = group.pending.saturating_add(1);
    }
    stream.put_consumer(name, &pending.consumer, &owner);
    stream.put_pending(name, id, pending);
    Ok(())
}

/// An entry is no longer pending. The group's new count is in `group`, which the caller writes.
pub(super) fn release(
    ctx: &mut Context<'_>,
    stream: &mut Stream<'_>,
    name: &[u8],
    group: &mut Group,
    id: StreamId,
    pending: &Pending,
) -> Result<(), Stop> {
    if let Some(mut owner) = stream.consumer(ctx, name, &pending.consumer)? {
        owner.pending = owner.pending.saturating_sub(1);
        stream.put_consumer(name, &pending.consumer, &owner);
    }
    group.pending = group.pending.saturating_sub(1);
    stream.remove(with_id(stream::pending(name), id));
    stream.remove(with_id(stream::owned(name, &pending.consumer), id));
    Ok(())
}

/// The pending entries of a consumer, at most `count` (0: all).
pub(super) fn owned_ids(
    ctx: &mut Context<'_>,
    stream: &Stream<'_>,
    group: &[u8],
    consumer: &[u8],
    ids: &Ids,
    count: u64,
) -> Result<Vec<StreamId>, Stop> {
    let mut found = Vec::new();
    stream.visit(ctx, &ids.range(&stream::owned(group, consumer)), &mut |element, _| {
        found.push(StreamId::of_element(element)?);
        Ok(found.len() as u64 != count)
    })?;
    Ok(found)
}

pub(super) fn no_group(key: &[u8], group: &[u8]) -> CommandError {
    CommandError::Owned(format!(
        "NOGROUP No such key '{}' or consumer group '{}'",
        String::from_utf8_lossy(key),
        String::from_utf8_lossy(group)
    ))
}

pub(super) fn no_group_for_key(key: &[u8], group: &[u8]) -> CommandError {
    CommandError::Owned(format!(
        "NOGROUP No such consumer group '{}' for key name '{}'",
        String::from_utf8_lossy(group),
        String::from_utf8_lossy(key)
    ))
}

/// The error of a container for a subcommand's arguments.
pub(in crate::command) fn subcommand_syntax(args: Args<'_>) -> CommandError {
    let sub = args.get(1).unwrap_or_default();
    CommandError::Owned(format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try {} HELP.",
        String::from_utf8_lossy(sub.get(..128).unwrap_or(sub)),
        String::from_utf8_lossy(&args[0]).to_ascii_uppercase()
    ))
}

impl Stream<'_> {
    /// Whether an entry at `start` or behind it may have been removed out of the middle.
    pub(super) fn has_tombstones_from(&self, start: StreamId) -> bool {
        let deleted = self.info.max_deleted_id;
        self.length > 0
            && deleted != StreamId::MIN
            && self.info.first_id <= deleted
            && start <= deleted
    }

    /// How many entries were ever added up to `id`, if that can be told.
    /// (`streamEstimateDistanceFromFirstEverEntry` in Redis.)
    pub(super) fn estimate_read(&self, id: StreamId) -> Option<i64> {
        let added = i64::try_from(self.info.entries_added).unwrap_or(i64::MAX);
        let length = i64::try_from(self.length).unwrap_or(i64::MAX);
        let (first, last) = (self.info.first_id, self.info.last_id);
        if added == 0 {
            return Some(0);
        }
        if self.length == 0 && id <= last || id == last {
            return Some(added);
        }
        let deleted = self.info.max_deleted_id;
        if id > last || deleted != StreamId::MIN && deleted >= first {
            return None;
        }
        match id.cmp(&first) {
            std::cmp::Ordering::Less => Some(added.wrapping_sub(length)),
            std::cmp::Ordering::Equal => Some(added.wrapping_sub(length).wrapping_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// Entries that a group has not read yet, if that can be told.
    pub(super) fn lag(&self, group: &Group) -> Option<i64> {
        let added = i64::try_from(self.info.entries_added).unwrap_or(i64::MAX);
        if added == 0 {
            return Some(0);
        }
        if group.entries_read != -1 && !self.has_tombstones_from(group.last_id) {
            return Some(added.wrapping_sub(group.entries_read));
        }
        self.estimate_read(group.last_id).map(|read| added.wrapping_sub(read))
    }
}

/// Options of XGROUP CREATE and SETID.
struct GroupOptions {
    makes_stream: bool,
    entries_read: i64,
}

fn options(args: Args<'_>, is_create: bool) -> Result<GroupOptions, CommandError> {
    let mut options = GroupOptions { makes_stream: false, entries_read: -1 };
    let mut at = 5;
    while let Some(option) = args.get(at) {
        match args.get(at + 1) {
            _ if is_create && is(option, "MKSTREAM") => options.makes_stream = true,
            Some(value) if is(option, "ENTRIESREAD") => {
                options.entries_read = int(value)?;
                if options.entries_read < -1 {
                    return Err(CommandError::Text(
                        "ERR value for ENTRIESREAD must be positive or -1",
                    ));
                }
                at += 1;
            }
            _ => return Err(subcommand_syntax(args)),
        }
        at += 1;
    }
    Ok(options)
}

const NO_KEY: CommandError = CommandError::Text(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use \
     the MKSTREAM option to create an empty stream automatically.",
);

pub(in crate::command) fn create(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let options = options(args, true)?;
    let mut stream = Stream::write(ctx, &args[2])?;
    if !stream.exists() && !options.makes_stream {
        return Err(NO_KEY.into());
    }
    if args.len() > 8 {
        return Err(subcommand_syntax(args).into());
    }
    let last_id = match &args[4] {
        b"$" => stream.info.last_id,
        id => strict_id(id, 0)?,
    };
    if stream.group(ctx, &args[3])?.is_some() {
        return Err(CommandError::Text("BUSYGROUP Consumer Group name already exists").into());
    }
    let group = Group { last_id, entries_read: options.entries_read, pending: 0 };
    stream.put_group(&args[3], &group);
    stream.finish(ctx);
    ctx.notify(Class::Stream, "xgroup-create", &args[2]);
    reply.ok();
    Ok(())
}

/// Opens a stream with a group in it, which the other subcommands need.
fn open<'a>(ctx: &mut Context<'_>, args: Args<'a>) -> Result<(Stream<'a>, Group), Stop> {
    let key = args.get(2).unwrap_or_default();
    let name = args.get(3).unwrap_or_default();
    let stream = Stream::write(ctx, key)?;
    if !stream.exists() {
        return Err(NO_KEY.into());
    }
    let group = stream.group(ctx, name)?.ok_or_else(|| no_group_for_key(key, name))?;
    Ok((stream, group))
}

pub(in crate::command) fn setid(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let options = options(args, false)?;
    let (mut stream, mut group) = open(ctx, args)?;
    if args.len() != 5 && args.len() != 7 {
        return Err(subcommand_syntax(args).into());
    }
    group.last_id = match &args[4] {
        b"$" => stream.info.last_id,
        id => any_id(id, 0)?,
    };
    group.entries_read = options.entries_read;
    stream.put_group(&args[3], &group);
    stream.finish(ctx);
    ctx.notify(Class::Stream, "xgroup-setid", &args[2]);
    reply.ok();
    Ok(())
}

pub(in crate::command) fn destroy(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let name = &args[3];
    let mut stream = Stream::write(ctx, &args[2])?;
    if !stream.exists() {
        return Err(NO_KEY.into());
    }
    if stream.group(ctx, name)?.is_none() {
        reply.int(0);
        return Ok(());
    }
    for prefix in [stream::consumers(name), stream::pending(name), stream::owned_of_group(name)] {
        remove_under(ctx, &mut stream, &prefix)?;
    }
    stream.remove(stream::group(name));
    // Its waiting readers are called by the meta entry.
    stream.rewrite_meta();
    stream.finish(ctx);
    ctx.notify(Class::Stream, "xgroup-destroy", &args[2]);
    reply.int(1);
    Ok(())
}

fn remove_under(ctx: &mut Context<'_>, stream: &mut Stream<'_>, prefix: &[u8]) -> Result<(), Stop> {
    let mut found = Vec::new();
    stream.visit(ctx, &under(prefix), &mut |element, _| {
        found.push(element.to_vec());
        Ok(true)
    })?;
    for element in found {
        stream.remove(element);
    }
    Ok(())
}

pub(in crate::command) fn create_consumer(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let (mut stream, _) = open(ctx, args)?;
    let is_new = stream.consumer(ctx, &args[3], &args[4])?.is_none();
    if is_new {
        see(ctx, &mut stream, &args[3], &args[4])?;
        stream.finish(ctx);
    }
    reply.int(i64::from(is_new));
    Ok(())
}

pub(in crate::command) fn delete_consumer(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let (name, consumer_name) = (&args[3], &args[4]);
    let (mut stream, mut group) = open(ctx, args)?;
    let Some(consumer) = stream.consumer(ctx, name, consumer_name)? else {
        reply.int(0);
        return Ok(());
    };
    for id in owned_ids(ctx, &stream, name, consumer_name, &Ids::ALL, 0)? {
        stream.remove(with_id(stream::pending(name), id));
        stream.remove(with_id(stream::owned(name, consumer_name), id));
    }
    group.pending = group.pending.saturating_sub(consumer.pending);
    stream.remove(stream::consumer(name, consumer_name));
    stream.put_group(name, &group);
    stream.finish(ctx);
    ctx.notify(Class::Stream, "xgroup-delconsumer", &args[2]);
    write_count(reply, consumer.pending);
    Ok(())
}
