//! Delivered entries that are not acknowledged: XACK, XPENDING, XCLAIM, XAUTOCLAIM.

use coney_resp::{Args, Reply};

use super::args::{ids, interval_end, interval_start, strict_id};
use super::group::{deliver, no_group, now_ms, owned_ids, release, see};
use super::open::{Ids, Stream};
use super::{write_count, write_entry, write_id};
use crate::command::option::{int, is};
use crate::command::{CommandError, Context, Done, Stop};
use crate::stream::{self, Consumer, Group, Pending, StreamId};

/// XAUTOCLAIM looks at so many pending entries for each that it may claim.
const ATTEMPTS_FACTOR: u64 = 10;
/// What XAUTOCLAIM claims at most if it does not say.
const CLAIM_COUNT: u64 = 100;
/// The largest count of XAUTOCLAIM.
const CLAIM_COUNT_MAX: i64 = i64::MAX / 16;

pub(in crate::command) fn xack(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let name = &args[2];
    let mut stream = Stream::write(ctx, &args[1])?;
    let Some(mut group) = stream.group(ctx, name)? else {
        reply.int(0);
        return Ok(());
    };
    let mut acknowledged = 0;
    for id in ids(args.skip(3))? {
        if let Some(pending) = stream.pending(ctx, name, id)? {
            release(ctx, &mut stream, name, &mut group, id, &pending)?;
            acknowledged += 1;
        }
    }
    if acknowledged > 0 {
        stream.put_group(name, &group);
        stream.finish(ctx);
    }
    write_count(reply, acknowledged);
    Ok(())
}

/// The entries that XPENDING lists.
struct Listed<'a> {
    idle_min_ms: i64,
    ids: Ids,
    count: u64,
    consumer: Option<&'a [u8]>,
}

fn listed(args: Args<'_>) -> Result<Option<Listed<'_>>, CommandError> {
    if args.len() == 3 {
        return Ok(None);
    }
    if !(6..=9).contains(&args.len()) {
        return Err(CommandError::Syntax);
    }
    let mut at = 3;
    let mut idle_min_ms = 0;
    if is(&args[3], "IDLE") {
        idle_min_ms = int(&args[4])?;
        if args.len() < 8 {
            return Err(CommandError::Syntax);
        }
        at += 2;
    }
    let count = u64::try_from(int(&args[at + 2])?).unwrap_or(0);
    let (start, end) = (interval_start(&args[at])?, interval_end(&args[at + 1])?);
    let ids = Ids { start, end, is_reverse: false };
    Ok(Some(Listed { idle_min_ms, ids, count, consumer: args.get(at + 3) }))
}

pub(in crate::command) fn xpending(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let listed = listed(args)?;
    let name = &args[2];
    let stream = Stream::read(ctx, &args[1])?;
    let stream = stream.ok_or_else(|| no_group(&args[1], name))?;
    let group = stream.group(ctx, name)?.ok_or_else(|| no_group(&args[1], name))?;
    match listed {
        None => summary(ctx, &stream, name, &group, reply),
        Some(listed) => list(ctx, &stream, name, &listed, reply),
    }
}

fn summary(
    ctx: &mut Context<'_>,
    stream: &Stream<'_>,
    name: &[u8],
    group: &Group,
    reply: &mut Reply<'_>,
) -> Done {
    reply.array(4);
    write_count(reply, group.pending);
    if group.pending == 0 {
        reply.null();
        reply.null();
        reply.null_array();
        return Ok(());
    }
    for is_reverse in [false, true] {
        let range = Ids { is_reverse, ..Ids::ALL }.range(&stream::pending(name));
        let mut edge = StreamId::MIN;
        stream.visit(ctx, &range, &mut |element, _| {
            edge = StreamId::of_element(element)?;
            Ok(false)
        })?;
        write_id(reply, edge);
    }
    let mut owners = Vec::new();
    for (consumer, value) in stream.named(ctx, &stream::consumers(name))? {
        let pending = Consumer::parse(&value)?.pending;
        if pending > 0 {
            owners.push((consumer, pending));
        }
    }
    reply.array(owners.len());
    for (consumer, pending) in owners {
        reply.array(2);
        reply.bulk(&consumer);
        reply.bulk(pending.to_string().as_bytes());
    }
    Ok(())
}

fn list(
    ctx: &mut Context<'_>,
    stream: &Stream<'_>,
    name: &[u8],
    listed: &Listed<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let now_ms = now_ms(ctx);
    let mut found = Vec::new();
    let is_idle =
        |pending: &Pending| now_ms.saturating_sub(pending.delivered_ms) >= listed.idle_min_ms;
    let has_filter = listed.idle_min_ms != 0;
    match listed.consumer {
        _ if listed.count == 0 => {}
        None => {
            let range = listed.ids.range(&stream::pending(name));
            stream.visit(ctx, &range, &mut |element, value| {
                let pending = Pending::parse(value)?;
                if !has_filter || is_idle(&pending) {
                    found.push((StreamId::of_element(element)?, pending));
                }
                Ok((found.len() as u64) < listed.count)
            })?;
        }
        Some(consumer) => {
            let most = if has_filter { 0 } else { listed.count };
            for id in owned_ids(ctx, stream, name, consumer, &listed.ids, most)? {
                ctx.spend(stream::ID_LEN)?;
                match stream.pending(ctx, name, id)? {
                    Some(pending) if !has_filter || is_idle(&pending) => found.push((id, pending)),
                    _ => {}
                }
                if found.len() as u64 >= listed.count {
                    break;
                }
            }
        }
    }
    reply.array(found.len());
    for (id, pending) in found {
        reply.array(4);
        write_id(reply, id);
        reply.bulk(&pending.consumer);
        reply.int(now_ms.saturating_sub(pending.delivered_ms).max(0));
        write_count(reply, pending.deliveries);
    }
    Ok(())
}

/// How XCLAIM and XAUTOCLAIM change what they claim.
struct Claim<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    idle_min_ms: i64,
    delivered_ms: i64,
    deliveries: Option<u64>,
    is_forced: bool,
    just_id: bool,
}

/// What became of an entry.
enum Claimed {
    Yes,
    No,
    /// It is gone, and no longer pending if it was.
    Gone,
}

impl Claim<'_> {
    fn claim(
        &self,
        ctx: &mut Context<'_>,
        stream: &mut Stream<'_>,
        group: &mut Group,
        id: StreamId,
        out: &mut Reply<'_>,
    ) -> Result<Claimed, Stop> {
        ctx.spend(stream::ID_LEN)?;
        let pending = stream.pending(ctx, self.group, id)?;
        let Some(entry) = stream.get(ctx, &stream::entry(id))? else {
            if let Some(pending) = pending {
                release(ctx, stream, self.group, group, id, &pending)?;
            }
            return Ok(Claimed::Gone);
        };
        let deliveries = match &pending {
            None if !self.is_forced => return Ok(Claimed::No),
            Some(pending)
                if self.idle_min_ms > 0
                    && now_ms(ctx).saturating_sub(pending.delivered_ms) < self.idle_min_ms =>
            {
                return Ok(Claimed::No);
            }
            // What FORCE creates was delivered once.
            pending => pending.as_ref().map_or(1, |pending| pending.deliveries),
        };
        let deliveries = match self.deliveries {
            Some(given) => given,
            None if self.just_id => deliveries,
            None => deliveries.saturating_add(1),
        };
        let pending = Pending {
            delivered_ms: self.delivered_ms,
            deliveries,
            consumer: self.consumer.to_vec(),
        };
        deliver(ctx, stream, self.group, group, id, &pending)?;
        if self.just_id {
            write_id(out, id);
        } else {
            write_entry(out, id, &entry)?;
        }
        Ok(Claimed::Yes)
    }
}

fn open<'a>(ctx: &mut Context<'_>, args: Args<'a>) -> Result<(Stream<'a>, Group), Stop> {
    let (key, name) = (args.get(1).unwrap_or_default(), args.get(2).unwrap_or_default());
    let stream = Stream::write(ctx, key)?;
    let group = stream.group(ctx, name)?.ok_or_else(|| no_group(key, name))?;
    Ok((stream, group))
}

pub(in crate::command) fn xclaim(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let (mut stream, mut group) = open(ctx, args)?;
    let now_ms = now_ms(ctx);
    let idle_min_ms = number(&args[4], "ERR Invalid min-idle-time argument for XCLAIM")?;
    let mut claim = Claim {
        group: &args[2],
        consumer: &args[3],
        idle_min_ms,
        delivered_ms: now_ms,
        deliveries: None,
        is_forced: false,
        just_id: false,
    };
    let mut at = 5;
    let mut claimed = Vec::new();
    while let Some(Ok(id)) = args.get(at).map(|text| strict_id(text, 0)) {
        claimed.push(id);
        at += 1;
    }
    let last_id = claim.options(args, at, now_ms)?;
    group.last_id = group.last_id.max(last_id);
    see(ctx, &mut stream, claim.group, claim.consumer)?;
    let mut bytes = Vec::new();
    let mut out = Reply::new(&mut bytes, reply.protocol());
    let mut count = 0;
    for id in claimed {
        if matches!(claim.claim(ctx, &mut stream, &mut group, id, &mut out)?, Claimed::Yes) {
            count += 1;
        }
    }
    stream.put_group(claim.group, &group);
    stream.finish(ctx);
    reply.array(count);
    reply.raw(&bytes);
    Ok(())
}

fn number(text: &[u8], error: &'static str) -> Result<i64, CommandError> {
    int(text).map_err(|_nan| CommandError::Text(error))
}

impl Claim<'_> {
    /// Reads the options of XCLAIM from argument `at` on; returns that of LASTID.
    fn options(
        &mut self,
        args: Args<'_>,
        mut at: usize,
        now_ms: i64,
    ) -> Result<StreamId, CommandError> {
        let mut last_id = StreamId::MIN;
        let mut delivered_ms = None;
        while let Some(option) = args.get(at) {
            let value = args.get(at + 1);
            match value {
                _ if is(option, "FORCE") => self.is_forced = true,
                _ if is(option, "JUSTID") => self.just_id = true,
                Some(value) => {
                    at += 1;
                    if is(option, "IDLE") {
                        let idle = number(value, "ERR Invalid IDLE option argument for XCLAIM")?;
                        delivered_ms = Some(now_ms.saturating_sub(idle));
                    } else if is(option, "TIME") {
                        let error = "ERR Invalid TIME option argument for XCLAIM";
                        delivered_ms = Some(number(value, error)?);
                    } else if is(option, "RETRYCOUNT") {
                        let error = "ERR Invalid RETRYCOUNT option argument for XCLAIM";
                        // A negative number is none.
                        self.deliveries = u64::try_from(number(value, error)?).ok();
                    } else if is(option, "LASTID") {
                        last_id = strict_id(value, 0)?;
                    } else {
                        return Err(unrecognized(option));
                    }
                }
                None => return Err(unrecognized(option)),
            }
            at += 1;
        }
        // A moment that cannot be is now.
        self.delivered_ms =
            delivered_ms.filter(|given| (0..=now_ms).contains(given)).unwrap_or(now_ms);
        Ok(last_id)
    }
}

fn unrecognized(option: &[u8]) -> CommandError {
    CommandError::Owned(format!(
        "ERR Unrecognized XCLAIM option '{}'",
        String::from_utf8_lossy(option)
    ))
}

pub(in crate::command) fn xautoclaim(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let now_ms = now_ms(ctx);
    let mut claim = Claim {
        group: &args[2],
        consumer: &args[3],
        idle_min_ms: number(&args[4], "ERR Invalid min-idle-time argument for XAUTOCLAIM")?,
        delivered_ms: now_ms,
        deliveries: None,
        is_forced: false,
        just_id: false,
    };
    let start = interval_start(&args[5])?;
    let mut count = CLAIM_COUNT;
    let mut at = 6;
    while let Some(option) = args.get(at) {
        match args.get(at + 1) {
            Some(value) if is(option, "COUNT") => {
                let given = int(value).ok().filter(|given| (1..=CLAIM_COUNT_MAX).contains(given));
                let given = given.and_then(|given| u64::try_from(given).ok());
                count = given.ok_or(CommandError::Text("ERR COUNT must be > 0"))?;
                at += 1;
            }
            _ if is(option, "JUSTID") => claim.just_id = true,
            _ => return Err(CommandError::Syntax.into()),
        }
        at += 1;
    }
    let (mut stream, mut group) = open(ctx, args)?;
    see(ctx, &mut stream, claim.group, claim.consumer)?;
    // One more than may be looked at: where the next call goes on.
    let attempts = count.saturating_mul(ATTEMPTS_FACTOR);
    let mut candidates = Vec::new();
    let range = Ids::from(start).range(&stream::pending(claim.group));
    stream.visit(ctx, &range, &mut |element, _| {
        candidates.push(StreamId::of_element(element)?);
        Ok(candidates.len() as u64 <= attempts)
    })?;
    let mut bytes = Vec::new();
    let mut out = Reply::new(&mut bytes, reply.protocol());
    let (mut claimed, mut gone, mut cursor) = (0, Vec::new(), StreamId::MIN);
    for (number, id) in candidates.into_iter().enumerate() {
        if number as u64 == attempts || (claimed + gone.len()) as u64 == count {
            cursor = id;
            break;
        }
        match claim.claim(ctx, &mut stream, &mut group, id, &mut out)? {
            Claimed::Yes => claimed += 1,
            Claimed::No => {}
            Claimed::Gone => gone.push(id),
        }
    }
    stream.put_group(claim.group, &group);
    stream.finish(ctx);
    reply.array(3);
    write_id(reply, cursor);
    reply.array(claimed);
    reply.raw(&bytes);
    reply.array(gone.len());
    gone.into_iter().for_each(|id| write_id(reply, id));
    Ok(())
}

/// Pending entries of a group from the beginning, at most `count` (0: all).
pub(super) fn first_pending(
    ctx: &mut Context<'_>,
    stream: &Stream<'_>,
    group: &[u8],
    count: u64,
) -> Result<Vec<(StreamId, Pending)>, Stop> {
    let mut found = Vec::new();
    let range = Ids::ALL.range(&stream::pending(group));
    stream.visit(ctx, &range, &mut |element, value| {
        found.push((StreamId::of_element(element)?, Pending::parse(value)?));
        Ok(found.len() as u64 != count)
    })?;
    Ok(found)
}

/// The same of a consumer.
pub(super) fn first_owned(
    ctx: &mut Context<'_>,
    stream: &Stream<'_>,
    group: &[u8],
    consumer: &[u8],
    count: u64,
) -> Result<Vec<(StreamId, Pending)>, Stop> {
    let mut found = Vec::new();
    for id in owned_ids(ctx, stream, group, consumer, &Ids::ALL, count)? {
        ctx.spend(stream::ID_LEN)?;
        if let Some(pending) = stream.pending(ctx, group, id)? {
            found.push((id, pending));
        }
    }
    Ok(found)
}
