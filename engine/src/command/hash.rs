//! Hashes. Pages: <https://redis.io/docs/latest/commands/?group=hash>.
//!
//! A field may have a deadline ([`crate::field`]); once that has passed, no command sees the field.
//! [`expire`] has the commands on deadlines.

use coney_base::UnixMillis;
use coney_resp::number::parse_i64;
use coney_resp::{Args, Reply};

use super::collection::edit::Edit;
use super::collection::{Large, Shape};
use super::long_double::LongDouble;
use super::option::{int, is, random_count};
use super::{CommandError, Context, Done, Stop, scan};
use crate::compact::Entry;
use crate::field::FieldValue;
use crate::meta::Kind;
use crate::notify::Class;

pub(crate) mod expire;
pub(super) mod range;

/// A field out of what is stored, if anything is and it has not ended.
fn live(stored: Option<&[u8]>, now: UnixMillis) -> Result<Option<FieldValue<'_>>, CommandError> {
    let field = stored.map(FieldValue::parse).transpose()?;
    Ok(field.and_then(|field| field.live(now)))
}

/// Hands the value of one field to `f`.
pub(super) fn field<R>(
    ctx: &mut Context<'_>,
    key: &[u8],
    name: &[u8],
    f: impl FnOnce(Option<&[u8]>) -> R,
) -> Result<R, Stop> {
    enum Step<R, F> {
        Done(R),
        Large(F, Large),
    }
    let now = ctx.now;
    let found = ctx.inspect(key, Kind::Hash, |shape| match shape {
        Shape::Absent => Ok(Step::Done(f(None))),
        Shape::Compact(compact) => {
            let entry = compact.find(name)?;
            let field = live(entry.map(|entry| entry.value), now)?;
            Ok(Step::Done(f(field.map(|field| field.value))))
        }
        Shape::Large(large) => Ok(Step::Large(f, large)),
    })?;
    match found {
        Step::Done(result) => Ok(result),
        Step::Large(f, large) => Ok(ctx.member(&large.prefix, name, |found| {
            Ok::<_, CommandError>(f(live(found, now)?.map(|field| field.value)))
        })??),
    }
}

pub(super) fn hget(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    field(ctx, &args[1], &args[2], |value| match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    })
}

pub(super) fn hexists(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    field(ctx, &args[1], &args[2], |value| reply.int(i64::from(value.is_some())))
}

pub(super) fn hstrlen(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    field(ctx, &args[1], &args[2], |value| reply.count(value.map_or(0, <[u8]>::len)))
}

/// Hands the fields with these names to `visit`, `None` for those that are not there. `names` is
/// called once it is known that the key does not hold another kind.
fn each<'n>(
    ctx: &mut Context<'_>,
    key: &[u8],
    names: impl FnOnce() -> Result<Args<'n>, CommandError>,
    visit: &mut dyn FnMut(Option<FieldValue<'_>>),
) -> Done {
    let now = ctx.now;
    let (names, large) = ctx.inspect(key, Kind::Hash, |shape| {
        let names = names()?;
        match shape {
            Shape::Absent => {
                names.iter().for_each(|_| visit(None));
                Ok((names, None))
            }
            Shape::Compact(compact) => {
                for name in names.iter() {
                    let entry = compact.find(name)?;
                    visit(live(entry.map(|entry| entry.value), now)?);
                }
                Ok((names, None))
            }
            Shape::Large(large) => Ok((names, Some(large))),
        }
    })?;
    if let Some(large) = large {
        ctx.fetch_members(&large.prefix, names.iter());
        for name in names.iter() {
            ctx.member(&large.prefix, name, |found| {
                visit(live(found, now)?);
                Ok::<_, CommandError>(())
            })??;
        }
    }
    Ok(())
}

pub(super) fn hmget(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let names = args.skip(2);
    reply.array(names.len());
    each(ctx, &args[1], || Ok(names), &mut |field| match field {
        Some(field) => reply.bulk(field.value),
        None => reply.null(),
    })
}

/// Fields that have ended count until they are removed, as in Redis.
pub(super) fn hlen(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    ctx.inspect(&args[1], Kind::Hash, |shape| {
        match shape {
            Shape::Absent => reply.int(0),
            Shape::Compact(compact) => reply.count(compact.count),
            Shape::Large(large) => reply.int(i64::try_from(large.body.count).unwrap_or(i64::MAX)),
        }
        Ok(())
    })
}

pub(super) fn hgetall(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (count, bytes) = collect(ctx, &args[1], reply, |name, value, out| {
        out.bulk(name);
        out.bulk(value);
    })?;
    reply.map(count);
    reply.raw(&bytes);
    Ok(())
}

pub(super) fn hkeys(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (count, bytes) = collect(ctx, &args[1], reply, |name, _, out| out.bulk(name))?;
    reply.array(count);
    reply.raw(&bytes);
    Ok(())
}

pub(super) fn hvals(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (count, bytes) = collect(ctx, &args[1], reply, |_, value, out| out.bulk(value))?;
    reply.array(count);
    reply.raw(&bytes);
    Ok(())
}

/// What `write` makes of every field: how many there were, and the bytes.
fn collect(
    ctx: &mut Context<'_>,
    key: &[u8],
    reply: &Reply<'_>,
    mut write: impl FnMut(&[u8], &[u8], &mut Reply<'_>),
) -> Result<(usize, Vec<u8>), Stop> {
    let mut bytes = Vec::new();
    let mut out = Reply::new(&mut bytes, reply.protocol());
    let mut count = 0;
    let now = ctx.now;
    ctx.visit(key, Kind::Hash, |entry| {
        if let Some(field) = live(Some(entry.value), now)? {
            count += 1;
            write(entry.name, field.value, &mut out);
        }
        Ok(true)
    })?;
    Ok((count, bytes))
}

pub(super) fn hset(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let created = set_pairs(ctx, args)?;
    reply.count(created);
    Ok(())
}

pub(super) fn hmset(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    set_pairs(ctx, args)?;
    reply.ok();
    Ok(())
}

fn set_pairs(ctx: &mut Context<'_>, args: Args<'_>) -> Result<usize, Stop> {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity.into());
    }
    let names = args.iter().skip(2).step_by(2);
    let values = args.iter().skip(3).step_by(2);
    let mut edit = ctx.edit(&args[1], Kind::Hash)?;
    ctx.edit_prepare(&mut edit, names)?;
    let mut created = 0;
    let names = args.iter().skip(2).step_by(2);
    for (number, (name, value)) in names.zip(values).enumerate() {
        let has_ended = has_ended(ctx, &edit, number, name);
        let value = FieldValue::new(value).to_bytes();
        let was_there = ctx.edit_set(&mut edit, number, Entry { name, value: &value });
        created += usize::from(!was_there || has_ended);
    }
    ctx.edit_finish(edit);
    ctx.notify(Class::Hash, "hset", &args[1]);
    Ok(created)
}

/// Whether a field is only there because it was not removed yet.
fn has_ended(ctx: &Context<'_>, edit: &Edit<'_>, number: usize, name: &[u8]) -> bool {
    ctx.edit_deadline(edit, number, name).is_some_and(|at| at <= ctx.now)
}

/// Reads the only field that a command changes: hands its value to `read`, and returns what it made of
/// it with the field's deadline. `None`: there is no field.
fn read_one<R>(
    ctx: &mut Context<'_>,
    edit: &mut Edit<'_>,
    name: &[u8],
    read: impl FnOnce(&[u8]) -> Result<R, CommandError>,
) -> Result<Option<(R, Option<UnixMillis>)>, Stop> {
    let now = ctx.now;
    let (stored, found) = ctx.edit_get(edit, name, |stored| {
        let field = stored.map(FieldValue::parse).transpose()?;
        let found = match field.and_then(|field| field.live(now)) {
            Some(field) => Some((read(field.value)?, field.expire_at)),
            None => None,
        };
        Ok::<_, CommandError>((field.map(|field| field.expire_at), found))
    })??;
    edit.note_field(stored.is_some(), stored.flatten());
    Ok(found)
}

pub(super) fn hsetnx(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let name = &args[2];
    let mut edit = ctx.edit(&args[1], Kind::Hash)?;
    let is_new = read_one(ctx, &mut edit, name, |_| Ok(()))?.is_none();
    if is_new {
        let value = FieldValue::new(&args[3]).to_bytes();
        ctx.edit_set(&mut edit, 0, Entry { name, value: &value });
    }
    ctx.edit_finish(edit);
    if is_new {
        ctx.notify(Class::Hash, "hset", &args[1]);
    }
    reply.int(i64::from(is_new));
    Ok(())
}

pub(super) fn hdel(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let names = args.skip(2);
    let mut edit = ctx.edit(&args[1], Kind::Hash)?;
    ctx.edit_prepare(&mut edit, names.iter())?;
    let mut count = 0;
    for (number, name) in names.iter().enumerate() {
        let has_ended = has_ended(ctx, &edit, number, name);
        let was_there = ctx.edit_remove(&mut edit, number, name);
        count += usize::from(was_there && !has_ended);
    }
    if count > 0 {
        ctx.notify(Class::Hash, "hdel", &args[1]);
    }
    ctx.edit_finish(edit);
    reply.count(count);
    Ok(())
}

pub(super) fn hincrby(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (name, by) = (&args[2], int(&args[3])?);
    let mut edit = ctx.edit(&args[1], Kind::Hash)?;
    let found = read_one(ctx, &mut edit, name, |value| {
        parse_i64(value).ok_or(CommandError::Text("ERR hash value is not an integer"))
    })?;
    let (number, expire_at) = found.unwrap_or((0, None));
    let sum = number.checked_add(by).ok_or(CommandError::Overflow)?;
    let mut digits = itoa::Buffer::new();
    let value = FieldValue { expire_at, value: digits.format(sum).as_bytes() }.to_bytes();
    ctx.edit_set(&mut edit, 0, Entry { name, value: &value });
    ctx.edit_finish(edit);
    ctx.notify(Class::Hash, "hincrby", &args[1]);
    reply.int(sum);
    Ok(())
}

pub(super) fn hincrbyfloat(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let name = &args[2];
    let by = LongDouble::parse(&args[3]).ok_or_else(|| {
        if LongDouble::is_infinity(&args[3]) {
            CommandError::Text("ERR value is NaN or Infinity")
        } else {
            CommandError::NotFloat
        }
    })?;
    let mut edit = ctx.edit(&args[1], Kind::Hash)?;
    let found = read_one(ctx, &mut edit, name, |text| {
        LongDouble::parse(text).ok_or_else(|| {
            if LongDouble::is_infinity(text) {
                CommandError::NotFinite
            } else {
                CommandError::Text("ERR hash value is not a float")
            }
        })
    })?;
    let (number, expire_at) = found.unwrap_or((LongDouble::ZERO, None));
    let sum = number.add(by).ok_or(CommandError::NotFinite)?;
    let text = sum.to_string();
    let value = FieldValue { expire_at, value: text.as_bytes() }.to_bytes();
    ctx.edit_set(&mut edit, 0, Entry { name, value: &value });
    ctx.edit_finish(edit);
    ctx.notify(Class::Hash, "hincrbyfloat", &args[1]);
    reply.bulk(text.as_bytes());
    Ok(())
}

pub(super) fn hscan(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    scan::scan(ctx, args, reply, Kind::Hash, |stored, now| {
        Ok(live(Some(stored), now)?.map(|field| field.value.into()))
    })
}

/// A field's name and value.
type Pair = (Vec<u8>, Vec<u8>);

pub(super) fn hrandfield(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let Some(count) = args.get(2) else {
        match random_fields(ctx, &args[1], 1)?.first() {
            Some((name, _)) => reply.bulk(name),
            None => reply.null(),
        }
        return Ok(());
    };
    let count = random_count(count)?;
    let has_values = match args.get(3) {
        None => false,
        Some(option) if args.len() == 4 && is(option, "WITHVALUES") => {
            if !(-i64::MAX / 2..=i64::MAX / 2).contains(&count) {
                return Err(CommandError::Text("ERR value is out of range").into());
            }
            true
        }
        Some(_) => return Err(CommandError::Syntax.into()),
    };
    let fields = random_fields(ctx, &args[1], count)?;
    let is_nested = has_values && reply.protocol() == coney_resp::Protocol::Resp3;
    reply.array(if has_values && !is_nested { fields.len() * 2 } else { fields.len() });
    for (name, value) in &fields {
        if is_nested {
            reply.array(2);
        }
        reply.bulk(name);
        if has_values {
            reply.bulk(value);
        }
    }
    Ok(())
}

/// Random fields with their values, as many as [`Context::random_of`] says.
fn random_fields(ctx: &mut Context<'_>, key: &[u8], count: i64) -> Result<Vec<Pair>, Stop> {
    let now = ctx.now;
    let mut fields = Vec::new();
    let mut has_ended = false;
    for member in ctx.random_of(key, Kind::Hash, count)? {
        match live(Some(&member.value), now)? {
            Some(field) => fields.push((member.name, field.value.to_vec())),
            None => has_ended = true,
        }
    }
    if !has_ended {
        return Ok(fields);
    }
    // Some were chosen that have ended: choose among the others.
    fields.clear();
    ctx.visit(key, Kind::Hash, |entry| {
        if let Some(field) = live(Some(entry.value), now)? {
            fields.push((entry.name.to_vec(), field.value.to_vec()));
        }
        Ok(true)
    })?;
    match u64::try_from(count) {
        Ok(count) => ctx.choose(&mut fields, count),
        Err(_negative) => {
            let mut chosen = Vec::new();
            while !fields.is_empty() && (chosen.len() as u64) < count.unsigned_abs() {
                let at = usize::try_from(ctx.random_below(fields.len() as u64)).unwrap_or(0);
                chosen.extend(fields.get(at).cloned());
                ctx.spend(48)?;
            }
            fields = chosen;
        }
    }
    Ok(fields)
}
