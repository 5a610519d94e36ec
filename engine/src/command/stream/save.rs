//! Whole streams for DUMP and RESTORE.

use super::open::{Ids, Stream, under};
use crate::command::{Context, Stop};
use crate::rdb;
use crate::rdb::stream::{Blocks, LoadedGroup, write_group};
use crate::stream::{self, Consumer, Group, Pending, StreamId};

/// The stream of a key as a value of RDB; `None`: there is none.
pub(in crate::command) fn dump(ctx: &mut Context<'_>, key: &[u8]) -> Result<Option<Vec<u8>>, Stop> {
    let Some(stream) = Stream::read(ctx, key)? else { return Ok(None) };
    let mut blocks = Blocks::default();
    stream.visit_entries(ctx, &Ids::ALL, 0, &mut |id, value| Ok(blocks.push(id, value)?))?;
    let groups = stream.named(ctx, &stream::groups())?;
    let mut out = blocks.finish(stream.length, &stream.info, groups.len());
    for (name, value) in groups {
        let mut consumers = Vec::new();
        for (consumer, value) in stream.named(ctx, &stream::consumers(&name))? {
            consumers.push((consumer, Consumer::parse(&value)?));
        }
        let mut pending = Vec::new();
        stream.visit(ctx, &under(&stream::pending(&name)), &mut |element, value| {
            pending.push((StreamId::of_element(element)?, Pending::parse(value)?));
            Ok(true)
        })?;
        let group = Group::parse(&value)?;
        write_group(&mut out, &LoadedGroup { name, group, consumers, pending });
    }
    Ok(Some(out))
}

/// Makes a stream the new value of a latched key. Stops only before it has written.
pub(in crate::command) fn restore(
    ctx: &mut Context<'_>,
    key: &[u8],
    loaded: rdb::stream::Stream,
) -> Result<(), Stop> {
    let mut stream = Stream::write_new(ctx, key)?;
    stream.length = loaded.entries.len() as u64;
    stream.info = loaded.info;
    for (id, value) in loaded.entries {
        stream.put(stream::entry(id), value);
    }
    for LoadedGroup { name, mut group, consumers, pending } in loaded.groups {
        if !loaded.has_progress {
            group.entries_read = stream.estimate_read(group.last_id).unwrap_or(-1);
        }
        stream.put_group(&name, &group);
        for (consumer, value) in &consumers {
            stream.put_consumer(&name, consumer, value);
        }
        for (id, pending) in &pending {
            stream.put_pending(&name, *id, pending);
        }
    }
    stream.finish(ctx);
    Ok(())
}
