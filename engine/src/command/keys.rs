//! Keys of any type, one or several at a time.

use coney_resp::number::parse_i64;
use coney_resp::{Args, Reply};

use super::collection::copy::CopiedElement;
use super::collection::{ElementRange, Large};
use super::option::{database, int, is};
use super::{CommandError, Context, Done, Old, Stop};
use crate::batch::Family;
use crate::cache::ENTRY_OVERHEAD_BYTES;
use crate::compact::Encoding;
use crate::element::LargeBody;
use crate::key::META_PREFIX_LEN;
use crate::meta::{HEADER_LEN_MAX, Header, Kind};
use crate::notify::Class;

/// A string of at most so many bytes is `embstr` to OBJECT ENCODING.
const EMBSTR_LEN_MAX: usize = 44;
/// Longest text of an integer.
const INT_LEN_MAX: usize = 20;

pub(super) fn del(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if args.len() == 2 {
        let old = ctx.for_write(&args[1])?;
        ctx.delete(&args[1], old);
        reply.int(i64::from(old.live.is_some()));
        return Ok(());
    }
    ctx.prepare(args.iter().skip(1))?;
    let mut count = 0;
    for (at, key) in args.iter().skip(1).enumerate() {
        let old = ctx.prepared(at, key);
        ctx.delete(key, old);
        count += usize::from(old.live.is_some());
    }
    reply.count(count);
    Ok(())
}

/// EXISTS and TOUCH.
pub(super) fn exists(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let mut count = 0;
    for key in args.iter().skip(1) {
        count += usize::from(ctx.read(key, |found| found.is_some())?);
    }
    reply.count(count);
    Ok(())
}

pub(super) fn type_of(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let header = ctx.read(&args[1], |found| found.map(|(header, _)| header))?;
    reply.simple(header.map_or("none", |header| header.kind.name()));
    Ok(())
}

pub(super) fn rename(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if move_to(ctx, args, true)? {
        reply.ok();
    }
    Ok(())
}

pub(super) fn renamenx(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let is_moved = move_to(ctx, args, false)?;
    reply.int(i64::from(is_moved));
    Ok(())
}

fn move_to(ctx: &mut Context<'_>, args: Args<'_>, overwrites: bool) -> Result<bool, Stop> {
    let (source, target) = (&args[1], &args[2]);
    let from = ctx.load_for_write(source)?;
    let header = from.live.ok_or(CommandError::NoSuchKey)?;
    if source == target {
        return Ok(overwrites);
    }
    let to = ctx.for_write(target)?;
    if to.live.is_some() && !overwrites {
        return Ok(false);
    }
    let table = ctx.table();
    let elements = load_elements(ctx, source, header)?;
    ctx.take_away(source, from);
    put_copy(ctx, table, target, to, header, &elements);
    ctx.notify(Class::Generic, "rename_from", source);
    ctx.notify(Class::Generic, "rename_to", target);
    Ok(true)
}

pub(super) fn copy(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (source, target) = (&args[1], &args[2]);
    let mut to_table = ctx.table();
    let mut overwrites = false;
    let mut at = 3;
    while let Some(option) = args.get(at) {
        at += 1;
        if is(option, "REPLACE") {
            overwrites = true;
        } else if is(option, "DB")
            && let Some(number) = args.get(at)
        {
            at += 1;
            let to = database(number, ctx.exec.engine.tables())?;
            ctx.check_entry(to)?;
            to_table = ctx.exec.table_of(to);
            if to_table != ctx.table() {
                ctx.exec.check_room_of(to)?;
            }
        } else {
            return Err(CommandError::Syntax.into());
        }
    }
    if to_table == ctx.table() && source == target {
        return Err(CommandError::SameObject.into());
    }
    // Latched, so that what is copied is what is there when the copy becomes visible.
    let from = ctx.load_for_write(source)?;
    let is_copied = transfer(ctx, source, from.live, to_table, target, overwrites)?;
    if is_copied {
        ctx.exec.notify(to_table, Class::Generic, "copy_to", target);
    }
    reply.int(i64::from(is_copied));
    Ok(())
}

pub(super) fn move_key(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let key = &args[1];
    let to = database(&args[2], ctx.exec.engine.tables())?;
    ctx.check_entry(to)?;
    let to_table = ctx.exec.table_of(to);
    if to_table == ctx.table() {
        return Err(CommandError::SameObject.into());
    }
    ctx.exec.check_room_of(to)?;
    let from = ctx.load_for_write(key)?;
    let is_moved = transfer(ctx, key, from.live, to_table, key, false)?;
    if is_moved {
        ctx.take_away(key, from);
        ctx.notify(Class::Generic, "move_from", key);
        ctx.exec.notify(to_table, Class::Generic, "move_to", key);
    }
    reply.int(i64::from(is_moved));
    Ok(())
}

/// Writes the loaded value to a key of any table, unless there is nothing to write or something in
/// the way.
fn transfer(
    ctx: &mut Context<'_>,
    source: &[u8],
    from: Option<Header>,
    to_table: u16,
    target: &[u8],
    overwrites: bool,
) -> Result<bool, Stop> {
    let Some(header) = from else { return Ok(false) };
    let to = ctx.for_write_in(to_table, target)?;
    if to.live.is_some() && !overwrites {
        return Ok(false);
    }
    let elements = load_elements(ctx, source, header)?;
    put_copy(ctx, to_table, target, to, header, &elements);
    Ok(true)
}

/// The elements of a large collection whose meta entry is loaded. Elements carry their key, so a
/// new name means writing them all again; what is too much for a worker is done on the pool.
fn load_elements(
    ctx: &mut Context<'_>,
    source: &[u8],
    header: Header,
) -> Result<Vec<CopiedElement>, Stop> {
    let Some(version) = header.version else { return Ok(Vec::new()) };
    let body = LargeBody::parse(&ctx.exec.value)?;
    let table = ctx.table();
    ctx.exec.look_at(table, source);
    let large = ctx.large(body, version);
    ctx.load_elements(&large)
}

/// Writes the loaded value, and elements, to another key.
fn put_copy(
    ctx: &mut Context<'_>,
    table: u16,
    target: &[u8],
    to: Old,
    header: Header,
    elements: &[CopiedElement],
) {
    let version = header.version.map(|_| ctx.put_elements(table, target, elements));
    ctx.put_loaded(table, target, to, &Header { version, ..header }, b"");
    if to.live.is_some() {
        // To Redis, what is in the way is removed first.
        ctx.exec.notify(table, Class::New, "new", target);
    }
}

pub(super) fn object_encoding(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    about(ctx, &args[2], reply, |header, body, reply| {
        let name = match header.kind {
            Kind::String if header.version.is_some() => "raw",
            Kind::String if body.len() <= INT_LEN_MAX && parse_i64(body).is_some() => "int",
            Kind::String if body.len() <= EMBSTR_LEN_MAX => "embstr",
            Kind::String => "raw",
            Kind::Stream => "stream",
            Kind::Hash | Kind::List | Kind::Set | Kind::ZSet => {
                let encoding = body.first().copied().and_then(Encoding::from_byte);
                match encoding {
                    Some(Encoding::Listpack) if header.fields_expire_at.is_some() => "listpackex",
                    encoding => encoding.map_or("unknown", Encoding::name),
                }
            }
        };
        reply.bulk(name.as_bytes());
    })
}

pub(super) fn object_refcount(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    about(ctx, &args[2], reply, |_, _, reply| reply.int(1))
}

/// Times of access are not kept: a write for each read would be their price.
pub(super) fn object_idletime(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    about(ctx, &args[2], reply, |_, _, reply| reply.int(0))
}

pub(super) fn object_freq(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    about(ctx, &args[2], reply, |_, _, reply| {
        reply.error(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please \
             note that when switching between policies at runtime LRU and LFU data will take some \
             time to adjust.",
        );
    })
}

/// Elements that MEMORY USAGE looks at, if it does not say SAMPLES.
const SAMPLES_DEFAULT: u64 = 5;

/// What the key takes in the hot-key cache, and the elements of a large collection with their keys:
/// as many as SAMPLES says, for the average of all; 0: every one. Compressed on disk it takes less.
pub(super) fn memory_usage(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (table, key) = (ctx.table(), &args[2]);
    let samples = match args.get(3) {
        None => Some(SAMPLES_DEFAULT),
        Some(option) if args.len() == 5 && is(option, "SAMPLES") => {
            u64::try_from(int(&args[4])?).ok()
        }
        Some(_) => None,
    };
    let samples = samples.ok_or(CommandError::Syntax)?;
    let found = ctx.peek(table, key, |found| {
        let Some((header, body)) = found else { return Ok(None) };
        let large = match header.version {
            Some(version) => Some((LargeBody::parse(body)?, version)),
            None => None,
        };
        Ok::<_, CommandError>(Some((header.kind, body.len(), large)))
    })??;
    let Some((kind, body_len, large)) = found else {
        reply.null();
        return Ok(());
    };
    let entry = key.len() + body_len + META_PREFIX_LEN + HEADER_LEN_MAX + ENTRY_OVERHEAD_BYTES;
    let mut bytes = entry as u64;
    if let Some((body, version)) = large {
        let large = ctx.large(body, version);
        bytes = bytes.saturating_add(elements_bytes(ctx, &large, Family::Data, samples)?);
        if kind == Kind::ZSet {
            bytes = bytes.saturating_add(elements_bytes(ctx, &large, Family::Score, samples)?);
        }
    }
    reply.int(i64::try_from(bytes).unwrap_or(i64::MAX));
    Ok(())
}

/// Bytes of the elements of a large collection in a family, from so many of them.
fn elements_bytes(
    ctx: &mut Context<'_>,
    large: &Large,
    family: Family,
    samples: u64,
) -> Result<u64, Stop> {
    let (mut seen, mut bytes) = (0_u64, 0_u64);
    ctx.walk(family, &large.prefix, &ElementRange::default(), &mut |element, value| {
        seen += 1;
        bytes += (large.prefix.len() + element.len() + value.len()) as u64;
        Ok(seen != samples)
    })?;
    Ok(match large.body.encoding {
        _ if seen != samples => bytes,
        // Its count is of bytes.
        Encoding::Raw => large.body.count,
        _ => bytes.saturating_mul(large.body.count) / seen,
    })
}

/// Replies what `tell` says of a key, or null if it is absent; does not count a hit or a miss.
fn about(
    ctx: &mut Context<'_>,
    key: &[u8],
    reply: &mut Reply<'_>,
    tell: impl FnOnce(Header, &[u8], &mut Reply<'_>),
) -> Done {
    let table = ctx.table();
    ctx.peek(table, key, |found| match found {
        Some((header, body)) => tell(header, body, reply),
        None => reply.null(),
    })
}
