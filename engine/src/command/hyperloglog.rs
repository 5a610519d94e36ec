//! HyperLogLogs: how many different elements were added, to about 0.81 percent, in at most 12 KiB.
//! Pages: <https://redis.io/docs/latest/commands/?group=hyperloglog>.
//!
//! They are strings, byte for byte those of Redis ([`sketch`]), so that GET and SET copy them
//! between the two.

use coney_resp::{Args, Reply};

use self::sketch::{Corrupted, REGISTERS, Registers, Sketch};
use super::option::is;
use super::text::{Text, string_of};
use super::{CommandError, Context, Done, Stop};
use crate::meta::Header;
use crate::notify::Class;

mod estimate;
mod sketch;

impl From<Corrupted> for CommandError {
    fn from(_: Corrupted) -> Self {
        Self::Text("INVALIDOBJ Corrupted HLL object detected")
    }
}

impl From<Corrupted> for Stop {
    fn from(error: Corrupted) -> Self {
        Self::Error(error.into())
    }
}

/// The bytes of a HyperLogLog, or the error for anything else.
fn check(found: Option<(Header, &[u8])>) -> Result<Option<&[u8]>, CommandError> {
    match string_of(found)? {
        None => Ok(None),
        Some(Text::Inline(body)) if sketch::is_one(body) => Ok(Some(body)),
        // None is as long as a string in chunks.
        Some(Text::Inline(_) | Text::Chunked(_)) => {
            Err(CommandError::Text("WRONGTYPE Key is not a valid HyperLogLog string value."))
        }
    }
}

pub(super) fn pf_add(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let key = &args[1];
    let (old, found) =
        ctx.read_for_write(key, |found| check(found).map(|body| body.map(<[u8]>::to_vec)))?;
    let found = found?;
    let mut is_changed = found.is_none();
    let mut sketch = found.map_or_else(Sketch::new, Sketch::from_bytes);
    for element in args.iter().skip(2) {
        is_changed |= sketch.add(element)?;
    }
    if is_changed {
        sketch.invalidate();
        ctx.put(key, old, &old.live.unwrap_or(Header::STRING), &[sketch.bytes()]);
        ctx.notify(Class::String, "pfadd", key);
    }
    reply.int(i64::from(is_changed));
    Ok(())
}

pub(super) fn pf_count(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if args.len() > 2 {
        let (registers, _) = union(ctx, args.skip(1))?;
        reply.int(estimate::of(&registers.histogram()));
        return Ok(());
    }
    let key = &args[1];
    let cached = ctx
        .read(key, |found| check(found).map(|body| body.map_or(Some(0), sketch::cached_count)))??;
    if let Some(count) = cached {
        reply.int(count);
        return Ok(());
    }
    // The count is kept in the value, as Redis does, although this is a command that reads.
    let (old, found) =
        ctx.read_for_write(key, |found| check(found).map(|body| body.map(<[u8]>::to_vec)))?;
    let Some(bytes) = found? else {
        reply.int(0);
        return Ok(());
    };
    let mut sketch = Sketch::from_bytes(bytes);
    let count = estimate::of(&sketch.histogram()?);
    sketch.cache_count(count);
    ctx.put(key, old, &old.live.unwrap_or(Header::STRING), &[sketch.bytes()]);
    reply.int(count);
    Ok(())
}

/// The highest of each register of all keys, and whether one of them is dense.
fn union(ctx: &mut Context<'_>, keys: Args<'_>) -> Result<(Registers, bool), Stop> {
    let mut registers = Registers::new();
    let mut is_dense = false;
    for key in keys.iter() {
        ctx.read(key, |found| {
            if let Some(body) = check(found)? {
                is_dense |= sketch::is_dense(body);
                registers.raise(body)?;
            }
            Ok::<_, CommandError>(())
        })??;
    }
    Ok((registers, is_dense))
}

pub(super) fn pf_merge(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let key = &args[1];
    let (old, found) =
        ctx.read_for_write(key, |found| check(found).map(|body| body.map(<[u8]>::to_vec)))?;
    let found = found?;
    let (registers, is_dense) = union(ctx, args.skip(1))?;
    let mut sketch = found.map_or_else(Sketch::new, Sketch::from_bytes);
    if is_dense {
        sketch.make_dense()?;
    }
    sketch.set_all(&registers)?;
    sketch.invalidate();
    ctx.put(key, old, &old.live.unwrap_or(Header::STRING), &[sketch.bytes()]);
    ctx.notify(Class::String, "pfadd", key);
    reply.ok();
    Ok(())
}

/// PFDEBUG ENCODING, DECODE, GETREG and TODENSE.
pub(super) fn pf_debug(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (action, key) = (&args[1], &args[2]);
    let (old, found) =
        ctx.read_for_write(key, |found| check(found).map(|body| body.map(<[u8]>::to_vec)))?;
    let missing = CommandError::Text("ERR The specified key does not exist");
    let mut sketch = Sketch::from_bytes(found?.ok_or(missing)?);
    let was_dense = sketch::is_dense(sketch.bytes());
    if is(action, "ENCODING") {
        reply.simple(if was_dense { "dense" } else { "sparse" });
    } else if is(action, "DECODE") {
        if was_dense {
            return Err(CommandError::Text("ERR HLL encoding is not sparse").into());
        }
        reply.bulk(sketch.describe().as_bytes());
    } else if is(action, "GETREG") || is(action, "TODENSE") {
        sketch.make_dense()?;
        if !was_dense {
            ctx.put(key, old, &old.live.unwrap_or(Header::STRING), &[sketch.bytes()]);
        }
        if is(action, "TODENSE") {
            reply.int(i64::from(!was_dense));
            return Ok(());
        }
        let mut registers = Registers::new();
        registers.raise(sketch.bytes())?;
        reply.array(REGISTERS);
        for register in registers.values() {
            reply.int(i64::from(*register));
        }
    } else {
        let text = format!("ERR Unknown PFDEBUG subcommand '{}'", action.escape_ascii());
        return Err(CommandError::Owned(text).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
