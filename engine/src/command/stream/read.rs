//! XREAD and XREADGROUP. With BLOCK they wait for entries.

use coney_resp::{Args, Protocol, Reply};

use super::args::strict_id;
use super::group::deliver;
use super::open::{Ids, Stream};
use super::{write_entries, write_entry, write_id};
use crate::command::blocking::{self, Timeout};
use crate::command::option::{int, is};
use crate::command::{CommandError, Context, Done, Stop};
use crate::stream::{self, Group, Pending, StreamId};

/// A key, and the id behind which it is read.
type Wanted<'a> = (&'a [u8], &'a [u8]);

/// The arguments of both.
#[derive(Debug, Default)]
struct Options<'a> {
    /// 0: all.
    count: u64,
    group: Option<(&'a [u8], &'a [u8])>,
    is_noack: bool,
    block: Option<Timeout>,
    streams: Vec<Wanted<'a>>,
}

fn streams_of<'a>(args: Args<'a>, is_group: bool) -> Result<Vec<Wanted<'a>>, CommandError> {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::Text(if is_group {
            "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be \
             specified."
        } else {
            "ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be \
             specified."
        }));
    }
    let count = args.len() / 2;
    Ok(args.iter().take(count).zip(args.skip(count).iter()).collect())
}

fn parse(args: Args<'_>, is_group: bool) -> Result<Options<'_>, CommandError> {
    let only_for_groups = |option: &'static str| {
        if is_group { Ok(()) } else { Err(CommandError::Text(option)) }
    };
    let mut options = Options::default();
    let mut at = 1;
    while let Some(option) = args.get(at) {
        let (value, second) = (args.get(at + 1), args.get(at + 2));
        match (value, second) {
            (Some(timeout), _) if is(option, "BLOCK") => {
                options.block = Some(Timeout::millis(timeout)?);
                at += 1;
            }
            (Some(count), _) if is(option, "COUNT") => {
                options.count = u64::try_from(int(count)?).unwrap_or(0);
                at += 1;
            }
            (Some(_), _) if is(option, "STREAMS") => {
                options.streams = streams_of(args.skip(at + 1), is_group)?;
                break;
            }
            (Some(group), Some(consumer)) if is(option, "GROUP") => {
                only_for_groups(
                    "ERR The GROUP option is only supported by XREADGROUP. You called XREAD \
                     instead.",
                )?;
                options.group = Some((group, consumer));
                at += 2;
            }
            _ if is(option, "NOACK") => {
                only_for_groups(
                    "ERR The NOACK option is only supported by XREADGROUP. You called XREAD \
                     instead.",
                )?;
                options.is_noack = true;
            }
            _ => return Err(CommandError::Syntax),
        }
        at += 1;
    }
    if options.streams.is_empty() {
        return Err(CommandError::Syntax);
    }
    if is_group && options.group.is_none() {
        return Err(CommandError::Text("ERR Missing GROUP option for XREADGROUP"));
    }
    Ok(options)
}

/// What was read of each stream: the list of all that had something.
struct Answer {
    bytes: Vec<u8>,
    streams: usize,
    protocol: Protocol,
}

impl Answer {
    fn new(protocol: Protocol) -> Self {
        Self { bytes: Vec::new(), streams: 0, protocol }
    }

    /// The next stream's name, before its entries.
    fn stream(&mut self, key: &[u8]) -> Reply<'_> {
        self.streams += 1;
        let protocol = self.protocol;
        let mut reply = Reply::new(&mut self.bytes, protocol);
        if protocol == Protocol::Resp2 {
            reply.array(2);
        }
        reply.bulk(key);
        reply
    }

    fn finish(self, reply: &mut Reply<'_>) {
        if self.streams == 0 {
            reply.null_array();
            return;
        }
        match self.protocol {
            Protocol::Resp2 => reply.array(self.streams),
            Protocol::Resp3 => reply.map(self.streams),
        }
        reply.raw(&self.bytes);
    }
}

pub(in crate::command) fn xread(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let options = parse(args, false)?;
    let mut opened = Vec::with_capacity(options.streams.len());
    let mut ends = Vec::new();
    for (at, (key, id)) in options.streams.iter().enumerate() {
        let stream = Stream::read(ctx, key)?;
        let after = match *id {
            // The end is where it was when the client began to wait.
            b"$" if ctx.client.is_waiting() => {
                ctx.client.stream_ends.get(at).copied().unwrap_or(StreamId::MIN)
            }
            b"$" => stream.as_ref().map_or(StreamId::MIN, |stream| stream.info.last_id),
            b">" => {
                return Err(CommandError::Text(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP \
                     <group> <consumer> option.",
                )
                .into());
            }
            id => strict_id(id, 0)?,
        };
        ends.push(after);
        opened.push((stream, after));
    }
    let mut answer = Answer::new(reply.protocol());
    for (stream, after) in &opened {
        let (Some(stream), Some(start)) = (stream, after.next()) else { continue };
        if start > stream.info.last_id {
            continue;
        }
        let before = (answer.bytes.len(), answer.streams);
        let mut out = answer.stream(stream.key);
        if write_entries(ctx, stream, &Ids::from(start), options.count, &mut out)? == 0 {
            answer.bytes.truncate(before.0);
            answer.streams = before.1;
        }
    }
    if answer.streams == 0
        && let Some(timeout) = options.block
    {
        ctx.client.stream_ends = ends;
        return blocking::wait(ctx, timeout, reply, Reply::null_array);
    }
    answer.finish(reply);
    Ok(())
}

pub(in crate::command) fn xreadgroup(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let options = parse(args, true)?;
    let (group_name, consumer) = options.group.unwrap_or_default();
    // All keys are latched before any element is read. A key may come twice.
    let mut opened: Vec<Result<Stream<'_>, CommandError>> = Vec::new();
    let mut wanted = Vec::new();
    for (key, id) in &options.streams {
        let is_it = |other: &Result<Stream<'_>, CommandError>| {
            other.as_ref().is_ok_and(|stream| stream.key == *key)
        };
        let at = opened.iter().position(is_it).unwrap_or(opened.len());
        if at == opened.len() {
            opened.push(match Stream::write(ctx, key) {
                Ok(stream) => Ok(stream),
                Err(Stop::Error(error)) => Err(error),
                Err(stop) => return Err(stop),
            });
        }
        wanted.push((at, *key, *id));
    }
    let mut after = Vec::new();
    for (at, key, id) in &wanted {
        let stream = opened.get(*at).expect("every place is that of a stream");
        let stream = stream.as_ref().map_err(Clone::clone)?;
        if stream.group(ctx, group_name)?.is_none() {
            return Err(CommandError::Owned(format!(
                "NOGROUP No such key '{}' or consumer group '{}' in XREADGROUP with GROUP option",
                String::from_utf8_lossy(key),
                String::from_utf8_lossy(group_name)
            ))
            .into());
        }
        after.push(match *id {
            b">" => StreamId::MAX,
            b"$" => {
                return Err(CommandError::Text(
                    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read \
                     the history of this consumer by specifying a proper ID, or use the > ID to \
                     get new messages. The $ ID would just return an empty result set.",
                )
                .into());
            }
            id => strict_id(id, 0)?,
        });
    }
    let mut answer = Answer::new(reply.protocol());
    for ((at, ..), after) in wanted.iter().zip(after) {
        let Some(Ok(stream)) = opened.get_mut(*at) else { continue };
        let reader = Reader { group: group_name, consumer, options: &options };
        reader.read(ctx, stream, after, &mut answer)?;
    }
    let waits_for = options.block.filter(|_| answer.streams == 0);
    // Whoever looked again for nothing leaves everything as it was.
    if waits_for.is_none() || !ctx.client.is_waiting() {
        for stream in opened.into_iter().flatten() {
            stream.finish(ctx);
        }
    }
    match waits_for {
        Some(timeout) => blocking::wait(ctx, timeout, reply, Reply::null_array),
        None => {
            answer.finish(reply);
            Ok(())
        }
    }
}

/// The group that XREADGROUP with these arguments reads for.
pub(crate) fn group_of(args: Args<'_>) -> Option<&[u8]> {
    parse(args, true).ok()?.group.map(|(group, _)| group)
}

/// A consumer that reads.
struct Reader<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    options: &'a Options<'a>,
}

impl Reader<'_> {
    fn read(
        &self,
        ctx: &mut Context<'_>,
        stream: &mut Stream<'_>,
        after: StreamId,
        answer: &mut Answer,
    ) -> Result<(), Stop> {
        let Some(mut group) = stream.group(ctx, self.group)? else { return Ok(()) };
        super::group::see(ctx, stream, self.group, self.consumer)?;
        if after == StreamId::MAX {
            self.read_new(ctx, stream, &mut group, answer)
        } else {
            self.read_history(ctx, stream, after, answer)
        }
    }

    /// What was not delivered yet.
    fn read_new(
        &self,
        ctx: &mut Context<'_>,
        stream: &mut Stream<'_>,
        group: &mut Group,
        answer: &mut Answer,
    ) -> Result<(), Stop> {
        let Some(start) = group.last_id.next() else { return Ok(()) };
        let mut bytes = Vec::new();
        let mut out = Reply::new(&mut bytes, answer.protocol);
        let mut ids = Vec::new();
        let range = Ids::from(start);
        stream.visit_entries(ctx, &range, self.options.count, &mut |id, value| {
            ids.push(id);
            write_entry(&mut out, id, value)
        })?;
        if ids.is_empty() {
            return Ok(());
        }
        let now_ms = super::group::now_ms(ctx);
        for id in &ids {
            if group.entries_read >= 0 && !stream.has_tombstones_from(*id) {
                group.entries_read = group.entries_read.saturating_add(1);
            } else if stream.info.entries_added > 0 {
                group.entries_read = stream.estimate_read(*id).unwrap_or(-1);
            }
            group.last_id = *id;
            if !self.options.is_noack {
                let pending = Pending {
                    delivered_ms: now_ms,
                    deliveries: 1,
                    consumer: self.consumer.to_vec(),
                };
                deliver(ctx, stream, self.group, group, *id, &pending)?;
            }
        }
        stream.put_group(self.group, group);
        let mut out = answer.stream(stream.key);
        out.array(ids.len());
        out.raw(&bytes);
        Ok(())
    }

    /// What was delivered to this consumer and not acknowledged.
    fn read_history(
        &self,
        ctx: &mut Context<'_>,
        stream: &mut Stream<'_>,
        after: StreamId,
        answer: &mut Answer,
    ) -> Result<(), Stop> {
        let ids = super::group::owned_ids(
            ctx,
            stream,
            self.group,
            self.consumer,
            &Ids::from(after.next().unwrap_or(StreamId::MIN)),
            self.options.count,
        )?;
        let now_ms = super::group::now_ms(ctx);
        let key = stream.key;
        let mut out = answer.stream(key);
        out.array(ids.len());
        for id in ids {
            ctx.spend(stream::ID_LEN)?;
            let Some(value) = stream.get(ctx, &stream::entry(id))? else {
                // It was removed meanwhile.
                out.array(2);
                write_id(&mut out, id);
                out.null_array();
                continue;
            };
            write_entry(&mut out, id, &value)?;
            if let Some(mut pending) = stream.pending(ctx, self.group, id)? {
                pending.delivered_ms = now_ms;
                pending.deliveries = pending.deliveries.saturating_add(1);
                stream.put_pending(self.group, id, &pending);
            }
        }
        Ok(())
    }
}
