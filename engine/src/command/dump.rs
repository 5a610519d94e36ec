//! DUMP and RESTORE: one value in Redis's RDB format ([`crate::rdb`]).

use coney_base::UnixMillis;
use coney_resp::{Args, Reply};

use super::option::{int, is};
use super::text::string_of;
use super::{CommandError, Context, Done, Old, Stop, list, stream, zset};
use crate::compact::Entry;
use crate::field::FieldValue;
use crate::meta::{Header, Kind};
use crate::notify::Class;
use crate::rdb::{self, HashField, Value};

pub(super) fn dump(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (table, key) = (ctx.table(), &args[1]);
    let found = ctx.peek(table, key, |found| {
        let Some((header, _)) = found else { return Ok(None) };
        let len = match header.kind {
            Kind::String => string_of(found)?.map_or(0, |text| text.len()),
            Kind::Hash | Kind::List | Kind::Set | Kind::ZSet | Kind::Stream => 0,
        };
        Ok::<_, CommandError>(Some((header.kind, len)))
    })??;
    let saved = match found.map(|(kind, _)| kind) {
        None | Some(Kind::String) => {
            // What is large is not for a worker.
            let len = found.map_or(0, |(_, len)| len);
            ctx.spend(usize::try_from(len).unwrap_or(usize::MAX))?;
            ctx.text(key, |text| text.map(rdb::write::string))?
        }
        Some(Kind::Stream) => stream::save::dump(ctx, key)?,
        Some(Kind::Hash) => hash(ctx, key)?,
        Some(kind @ (Kind::List | Kind::Set | Kind::ZSet)) => Some(collection(ctx, key, kind)?),
    };
    let Some(mut payload) = saved else {
        reply.null();
        return Ok(());
    };
    rdb::close(&mut payload);
    reply.bulk(&payload);
    Ok(())
}

/// A hash; `None` if all its fields have ended.
fn hash(ctx: &mut Context<'_>, key: &[u8]) -> Result<Option<Vec<u8>>, Stop> {
    let now = ctx.now;
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut first: Option<UnixMillis> = None;
    ctx.visit(key, Kind::Hash, |entry| {
        if let Some(field) = FieldValue::parse(entry.value)?.live(now) {
            first = first.into_iter().chain(field.expire_at).min();
            fields.push((entry.name.to_vec(), entry.value.to_vec()));
        }
        Ok(true)
    })?;
    let count = fields.len() as u64;
    let mut payload = match first {
        None => rdb::write::hash(count),
        Some(first) => rdb::write::hash_with_deadlines(count, first),
    };
    for (name, stored) in &fields {
        let field = FieldValue::parse(stored)?;
        match first {
            None => {
                rdb::write::write_string(&mut payload, name);
                rdb::write::write_string(&mut payload, field.value);
            }
            Some(first) => rdb::write::write_field(&mut payload, name, &field, first),
        }
    }
    Ok((count > 0).then_some(payload))
}

fn collection(ctx: &mut Context<'_>, key: &[u8], kind: Kind) -> Result<Vec<u8>, Stop> {
    let (mut count, mut elements) = (0, Vec::new());
    let head = match kind {
        Kind::Set => {
            ctx.visit(key, kind, |entry| {
                count += 1;
                rdb::write::write_string(&mut elements, entry.name);
                Ok(true)
            })?;
            rdb::write::set
        }
        Kind::List => {
            list::visit(ctx, key, &mut |element| {
                count += 1;
                rdb::write::write_string(&mut elements, element);
            })?;
            rdb::write::list
        }
        // Backwards as in Redis: it reads fastest what comes in front of all before.
        Kind::ZSet => {
            zset::visit_backwards(ctx, key, &mut |member, score| {
                count += 1;
                rdb::write::write_scored(&mut elements, member, score);
            })?;
            rdb::write::zset
        }
        Kind::String | Kind::Hash | Kind::Stream => unreachable!("{kind:?} is not saved here"),
    };
    let mut payload = head(count);
    payload.append(&mut elements);
    Ok(payload)
}

#[derive(Default)]
struct Options {
    replace: bool,
    is_absolute: bool,
}

impl Options {
    /// IDLETIME and FREQ are checked, and change nothing: nothing is evicted.
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let (mut has_idle_time, mut has_frequency) = (false, false);
        let mut at = 4;
        while let Some(option) = args.get(at) {
            at += 1;
            if is(option, "REPLACE") {
                options.replace = true;
            } else if is(option, "ABSTTL") {
                options.is_absolute = true;
            } else if is(option, "IDLETIME")
                && !has_frequency
                && let Some(seconds) = args.get(at)
            {
                at += 1;
                has_idle_time = true;
                if int(seconds)? < 0 {
                    return Err(CommandError::Text("ERR Invalid IDLETIME value, must be >= 0"));
                }
            } else if is(option, "FREQ")
                && !has_idle_time
                && let Some(frequency) = args.get(at)
            {
                at += 1;
                has_frequency = true;
                if !(0..=255).contains(&int(frequency)?) {
                    return Err(CommandError::Text(
                        "ERR Invalid FREQ value, must be >= 0 and <= 255",
                    ));
                }
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

pub(super) fn restore(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (key, payload) = (&args[1], &args[3]);
    let options = Options::parse(args)?;
    let old = ctx.for_write(key)?;
    if !options.replace && old.live.is_some() {
        return Err(CommandError::Text("BUSYKEY Target key name already exists.").into());
    }
    let ttl = u64::try_from(int(&args[2])?)
        .map_err(|_negative| CommandError::Text("ERR Invalid TTL value, must be >= 0"))?;
    // What is large is not for a worker.
    ctx.spend(payload.len())?;
    let value = rdb::open(payload).map_err(|_wrong_footer| {
        CommandError::Text("ERR DUMP payload version or checksum are wrong")
    })?;
    let string_len_max = ctx.exec.engine.value_len_max();
    let value = rdb::load(value, string_len_max)
        .map_err(|_malformed| CommandError::Text("ERR Bad data format"))?;
    let moment = if options.is_absolute { ttl } else { ttl.saturating_add(ctx.now.0) };
    let expire_at = (ttl > 0).then_some(UnixMillis(moment));
    reply.ok();
    if expire_at.is_some_and(|at| at <= ctx.now) {
        if old.live.is_some() {
            ctx.delete(key, old);
        }
        return Ok(());
    }
    match value {
        Value::String(body) => {
            ctx.put_text(key, old, &Header { expire_at, ..Header::STRING }, &body);
            tell(ctx, key, old);
            return Ok(());
        }
        Value::Set(members) => {
            let mut edit = ctx.edit_new(key, Kind::Set)?;
            for (number, name) in members.iter().enumerate() {
                ctx.edit_set(&mut edit, number, Entry { name, value: b"" });
            }
            ctx.edit_finish(edit);
        }
        Value::Hash(mut fields) => {
            let now = ctx.now;
            fields.retain(|field| field.expire_at.is_none_or(|at| at > now));
            if fields.is_empty() {
                ctx.delete(key, old);
                return Ok(());
            }
            let mut edit = ctx.edit_new(key, Kind::Hash)?;
            for (number, HashField { name, value, expire_at }) in fields.iter().enumerate() {
                let value = FieldValue { expire_at: *expire_at, value }.to_bytes();
                ctx.edit_set(&mut edit, number, Entry { name, value: &value });
            }
            ctx.edit_finish(edit);
        }
        Value::List(elements) => list::replace(ctx, key, &elements)?,
        Value::ZSet(members) => zset::replace(ctx, key, members)?,
        Value::Stream(loaded) => stream::save::restore(ctx, key, loaded)?,
    }
    if let Some(at) = expire_at {
        super::expire::set_deadline(ctx, key, at)?;
    }
    tell(ctx, key, old);
    Ok(())
}

/// A key was restored in place of what was there.
fn tell(ctx: &mut Context<'_>, key: &[u8], old: Old) {
    if old.live.is_some() {
        // To Redis, what is in the way is removed first.
        ctx.notify(Class::New, "new", key);
    }
    ctx.notify(Class::Generic, "restore", key);
}
