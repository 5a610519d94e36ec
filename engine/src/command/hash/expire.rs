//! Deadlines of fields: HEXPIRE and its kin, HGETEX, HSETEX; HGETDEL, which has their arguments.
//!
//! A field that has ended is absent for all of them, whether it was removed yet or not.

use std::collections::BTreeMap;

use coney_base::UnixMillis;
use coney_resp::{Args, Reply};

use crate::batch::Family;
use crate::command::collection::ElementRange;
use crate::command::collection::edit::{Edit, Form};
use crate::command::expire::When;
use crate::command::option::{Unit, int, is};
use crate::command::{CommandError, Context, Done, Stop};
use crate::compact::Entry;
use crate::field::{self, DEADLINE_MAX, FieldValue};
use crate::meta::{Kind, MetaError};
use crate::notify::Class;

const NO_FIELDS: CommandError =
    CommandError::Text("ERR Mandatory argument FIELDS is missing or not at the right position");
const NO_COUNT: CommandError =
    CommandError::Text("ERR Number of fields must be a positive integer");
const OTHER_COUNT: CommandError =
    CommandError::Text("ERR The `numfields` parameter must match the number of arguments");

/// Ended fields of a hash that are removed at a time.
pub(crate) const FIELDS_AT_ONCE: usize = 128;

/// The fields behind FIELDS, which stands at `at`, and their number.
fn names(args: Args<'_>, at: usize, no_count: CommandError) -> Result<Args<'_>, CommandError> {
    if !args.get(at).is_some_and(|word| is(word, "FIELDS")) {
        return Err(NO_FIELDS);
    }
    let count = args.get(at + 1).and_then(|count| int(count).ok());
    let count = count.and_then(|count| u64::try_from(count).ok()).filter(|count| *count > 0);
    let count = count.ok_or(no_count)?;
    let names = args.skip(at + 2);
    if names.len() as u64 == count { Ok(names) } else { Err(OTHER_COUNT) }
}

/// The moment that a command gives fields to end.
fn deadline(
    arg: &[u8],
    unit: Unit,
    is_absolute: bool,
    now: UnixMillis,
) -> Result<UnixMillis, CommandError> {
    let number = u64::try_from(int(arg)?)
        .map_err(|_negative| CommandError::Text("ERR invalid expire time, must be >= 0"))?;
    let millis = match unit {
        Unit::Seconds => number.checked_mul(1000),
        Unit::Millis => Some(number),
    };
    let base = if is_absolute { 0 } else { now.0 };
    let at = millis.and_then(|millis| millis.checked_add(base)).map(UnixMillis);
    at.filter(|at| *at <= DEADLINE_MAX).ok_or(CommandError::InvalidExpire)
}

/// EX, PX, EXAT or PXAT: the unit, and whether it counts from 1970.
fn deadline_option(word: &[u8]) -> Option<(Unit, bool)> {
    let options = [
        ("EX", Unit::Seconds, false),
        ("PX", Unit::Millis, false),
        ("EXAT", Unit::Seconds, true),
        ("PXAT", Unit::Millis, true),
    ];
    let found = options.into_iter().find(|(name, ..)| is(word, name));
    found.map(|(_, unit, is_absolute)| (unit, is_absolute))
}

/// A field that is there and has not ended.
#[derive(Debug, Clone)]
struct Field {
    expire_at: Option<UnixMillis>,
    value: Vec<u8>,
}

/// The fields that a command changes, as they are after its changes so far.
struct Fields<'k, 'n> {
    edit: Edit<'k>,
    found: BTreeMap<&'n [u8], Option<Field>>,
}

impl<'k, 'n> Fields<'k, 'n> {
    /// Reads fields of a hash; the last that can stop. Changes name them by their numbers.
    fn load(
        ctx: &mut Context<'_>,
        mut edit: Edit<'k>,
        names: impl Iterator<Item = &'n [u8]>,
    ) -> Result<Self, Stop> {
        let now = ctx.now;
        let mut found = BTreeMap::new();
        for name in names {
            let (is_there, expire_at, live) = ctx.edit_get(&edit, name, |stored| {
                let Some(stored) = stored else { return Ok((false, None, None)) };
                let field = FieldValue::parse(stored)?;
                let live = field
                    .live(now)
                    .map(|field| Field { expire_at: field.expire_at, value: field.value.to_vec() });
                Ok::<_, MetaError>((true, field.expire_at, live))
            })??;
            edit.note_field(is_there, expire_at);
            found.insert(name, live);
        }
        Ok(Self { edit, found })
    }

    fn get(&self, name: &[u8]) -> Option<&Field> {
        self.found.get(name)?.as_ref()
    }

    /// Writes a field, or removes it if the deadline has passed already.
    fn set(&mut self, ctx: &mut Context<'_>, number: usize, name: &'n [u8], field: Field) {
        let value = FieldValue { expire_at: field.expire_at, value: &field.value };
        if value.is_expired(ctx.now) {
            return self.remove(ctx, number, name);
        }
        ctx.edit_set(&mut self.edit, number, Entry { name, value: &value.to_bytes() });
        self.found.insert(name, Some(field));
    }

    fn remove(&mut self, ctx: &mut Context<'_>, number: usize, name: &'n [u8]) {
        ctx.edit_remove(&mut self.edit, number, name);
        self.found.insert(name, None);
    }
}

pub(in crate::command) fn hexpire(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    expire(ctx, args, reply, Unit::Seconds, false)
}

pub(in crate::command) fn hpexpire(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    expire(ctx, args, reply, Unit::Millis, false)
}

pub(in crate::command) fn hexpire_at(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    expire(ctx, args, reply, Unit::Seconds, true)
}

pub(in crate::command) fn hpexpire_at(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    expire(ctx, args, reply, Unit::Millis, true)
}

/// The event of giving fields a deadline, which may have passed.
fn deadline_event(at: UnixMillis, now: UnixMillis) -> &'static str {
    if at <= now { "hdel" } else { "hexpire" }
}

/// -2: no field; 0: the condition does not hold; 1: set; 2: the moment has passed, and so has the field.
fn expire(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    unit: Unit,
    is_absolute: bool,
) -> Done {
    let edit = ctx.edit(&args[1], Kind::Hash)?;
    let at = deadline(&args[2], unit, is_absolute, ctx.now)?;
    let mut when = When::default();
    let fields_at = if when.add(&args[3]) { 4 } else { 3 };
    let moment = i64::try_from(at.0).unwrap_or(i64::MAX);
    let no_count = CommandError::Text("ERR Parameter `numFields` should be greater than 0");
    let names = names(args, fields_at, no_count)?;
    let mut fields = Fields::load(ctx, edit, names.iter())?;
    reply.array(names.len());
    let mut is_changed = false;
    for (number, name) in names.iter().enumerate() {
        let outcome = match fields.get(name).cloned() {
            None => -2,
            Some(field) if !when.allows(field.expire_at, moment) => 0,
            Some(field) => {
                fields.set(ctx, number, name, Field { expire_at: Some(at), ..field });
                is_changed = true;
                if at <= ctx.now { 2 } else { 1 }
            }
        };
        reply.int(outcome);
    }
    if is_changed {
        ctx.notify(Class::Hash, deadline_event(at, ctx.now), &args[1]);
    }
    ctx.edit_finish(fields.edit);
    Ok(())
}

/// -2: no field; -1: it has no deadline; 1: it has none any more.
pub(in crate::command) fn hpersist(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let edit = ctx.edit(&args[1], Kind::Hash)?;
    let names = names(args, 2, NO_COUNT)?;
    let mut fields = Fields::load(ctx, edit, names.iter())?;
    reply.array(names.len());
    let mut is_changed = false;
    for (number, name) in names.iter().enumerate() {
        let outcome = match fields.get(name).cloned() {
            None => -2,
            Some(Field { expire_at: None, .. }) => -1,
            Some(field) => {
                fields.set(ctx, number, name, Field { expire_at: None, ..field });
                is_changed = true;
                1
            }
        };
        reply.int(outcome);
    }
    if is_changed {
        ctx.notify(Class::Hash, "hpersist", &args[1]);
    }
    ctx.edit_finish(fields.edit);
    Ok(())
}

pub(in crate::command) fn httl(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    tell(ctx, args, reply, |at, now| (at.0 - now.0).div_ceil(1000))
}

pub(in crate::command) fn hpttl(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    tell(ctx, args, reply, |at, now| at.0 - now.0)
}

pub(in crate::command) fn hexpire_time(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    tell(ctx, args, reply, |at, _| at.0.div_ceil(1000))
}

pub(in crate::command) fn hpexpire_time(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    tell(ctx, args, reply, |at, _| at.0)
}

/// -2: no field; -1: no deadline; otherwise `value` of a deadline, which is later than now.
fn tell(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    value: fn(UnixMillis, UnixMillis) -> u64,
) -> Done {
    let now = ctx.now;
    let mut outcomes = Vec::new();
    let names = || names(args, 2, NO_COUNT);
    super::each(ctx, &args[1], names, &mut |field| {
        outcomes.push(match field {
            None => -2,
            Some(FieldValue { expire_at: None, .. }) => -1,
            Some(FieldValue { expire_at: Some(at), .. }) => {
                i64::try_from(value(at, now)).unwrap_or(i64::MAX)
            }
        });
    })?;
    reply.array(outcomes.len());
    outcomes.iter().for_each(|outcome| reply.int(*outcome));
    Ok(())
}

pub(in crate::command) fn hgetdel(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let edit = ctx.edit(&args[1], Kind::Hash)?;
    let names = names(args, 2, NO_COUNT)?;
    let mut fields = Fields::load(ctx, edit, names.iter())?;
    reply.array(names.len());
    let mut is_changed = false;
    for (number, name) in names.iter().enumerate() {
        match fields.get(name) {
            None => reply.null(),
            Some(field) => {
                reply.bulk(&field.value);
                fields.remove(ctx, number, name);
                is_changed = true;
            }
        }
    }
    if is_changed {
        ctx.notify(Class::Hash, "hdel", &args[1]);
    }
    ctx.edit_finish(fields.edit);
    Ok(())
}

/// What HGETEX does with a deadline.
#[derive(Clone, Copy, Debug)]
enum Change {
    Keep,
    Persist,
    Set(UnixMillis),
}

pub(in crate::command) fn hgetex(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let edit = ctx.edit(&args[1], Kind::Hash)?;
    let option = &args[2];
    let (change, fields_at) = if let Some((unit, is_absolute)) = deadline_option(option) {
        (Change::Set(deadline(&args[3], unit, is_absolute, ctx.now)?), 4)
    } else if is(option, "PERSIST") {
        (Change::Persist, 3)
    } else {
        (Change::Keep, 2)
    };
    let names = names(args, fields_at, NO_COUNT)?;
    let mut fields = Fields::load(ctx, edit, names.iter())?;
    reply.array(names.len());
    let mut is_changed = false;
    for (number, name) in names.iter().enumerate() {
        let Some(field) = fields.get(name) else {
            reply.null();
            continue;
        };
        reply.bulk(&field.value);
        let expire_at = match change {
            Change::Keep => field.expire_at,
            Change::Persist => None,
            Change::Set(at) => Some(at),
        };
        if expire_at != field.expire_at {
            let field = Field { expire_at, ..field.clone() };
            fields.set(ctx, number, name, field);
            is_changed = true;
        }
    }
    match change {
        Change::Set(at) if is_changed => {
            ctx.notify(Class::Hash, deadline_event(at, ctx.now), &args[1]);
        }
        Change::Persist if is_changed => ctx.notify(Class::Hash, "hpersist", &args[1]),
        Change::Keep | Change::Persist | Change::Set(_) => {}
    }
    ctx.edit_finish(fields.edit);
    Ok(())
}

/// What HSETEX was told.
#[derive(Debug, Default)]
struct SetOptions {
    /// FNX: set if no field is there; FXX: set if all are.
    only_if_there: Option<bool>,
    keeps: bool,
    expire_at: Option<UnixMillis>,
    /// Where the fields and their values begin.
    pairs_at: usize,
}

impl SetOptions {
    fn parse(args: Args<'_>, now: UnixMillis) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut at = 2;
        loop {
            let Some(option) = args.get(at) else {
                // Without FIELDS.
                return Err(CommandError::WrongArity);
            };
            if is(option, "FIELDS") {
                break;
            }
            at += 1;
            let deadline_word = deadline_option(option);
            if deadline_word.is_some() || is(option, "KEEPTTL") {
                if options.keeps || options.expire_at.is_some() {
                    return Err(CommandError::Text(
                        "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
                    ));
                }
                options.keeps = deadline_word.is_none();
                if let Some((unit, is_absolute)) = deadline_word {
                    let number = args.get(at);
                    let number = number.ok_or(CommandError::Text("ERR missing expire time"))?;
                    options.expire_at = Some(deadline(number, unit, is_absolute, now)?);
                    at += 1;
                }
            } else if is(option, "FXX") || is(option, "FNX") {
                if options.only_if_there.is_some() {
                    return Err(CommandError::Text(
                        "ERR Only one of FXX or FNX arguments can be specified",
                    ));
                }
                options.only_if_there = Some(is(option, "FXX"));
            } else {
                let option = String::from_utf8_lossy(option);
                return Err(CommandError::Owned(format!("ERR unknown argument: {option}")));
            }
        }
        let count = args.get(at + 1).filter(|_| args.len() > at + 3);
        let count = int(count.ok_or(CommandError::WrongArity)?).ok();
        let count = count.and_then(|count| i32::try_from(count).ok()).filter(|count| *count > 0);
        let count = count.ok_or(CommandError::Text("ERR invalid number of fields"))?;
        options.pairs_at = at + 2;
        let words = args.len() - options.pairs_at;
        if usize::try_from(count).ok().and_then(|count| count.checked_mul(2)) == Some(words) {
            Ok(options)
        } else {
            Err(CommandError::WrongArity)
        }
    }
}

pub(in crate::command) fn hsetex(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let options = SetOptions::parse(args, ctx.now)?;
    let edit = ctx.edit(&args[1], Kind::Hash)?;
    let pairs = args.skip(options.pairs_at);
    let names = || pairs.iter().step_by(2);
    let mut fields = Fields::load(ctx, edit, names())?;
    let allows = match options.only_if_there {
        None => true,
        Some(wanted) => names().all(|name| fields.get(name).is_some() == wanted),
    };
    if allows {
        for (number, (name, value)) in names().zip(pairs.iter().skip(1).step_by(2)).enumerate() {
            let expire_at = if options.keeps {
                fields.get(name).and_then(|field| field.expire_at)
            } else {
                options.expire_at
            };
            fields.set(ctx, number, name, Field { expire_at, value: value.to_vec() });
        }
        ctx.notify(Class::Hash, "hset", &args[1]);
        if let Some(at) = options.expire_at {
            ctx.notify(Class::Hash, deadline_event(at, ctx.now), &args[1]);
        }
    }
    ctx.edit_finish(fields.edit);
    reply.int(i64::from(allows));
    Ok(())
}

/// Removes fields that have ended, at most [`FIELDS_AT_ONCE`], and says in the hash's entry when it
/// is due next. How many it were.
pub(crate) fn remove_ended(ctx: &mut Context<'_>, key: &[u8]) -> Result<u64, Stop> {
    let now = ctx.now;
    let mut edit = ctx.edit(key, Kind::Hash)?;
    let mut ended = Vec::new();
    let mut next = None;
    match &edit.form {
        Form::Compact(compact) => {
            for entry in compact.entries() {
                if let Some(at) = field::deadline(entry.value)?.filter(|at| *at <= now) {
                    ended.push((at, entry.name.to_vec()));
                }
            }
        }
        Form::Large(large) => {
            let begin = edit.fields_expire_at.map_or(0, |at| at.0).to_be_bytes().to_vec();
            let prefix = large.prefix.clone();
            ctx.walk(Family::Score, &prefix, &ElementRange::from(begin), &mut |element, _| {
                let (at, name) = field::parse_deadline(element).ok_or(MetaError::Body)?;
                if at > now || ended.len() == FIELDS_AT_ONCE {
                    next = Some(at);
                    return Ok(false);
                }
                ended.push((at, name.to_vec()));
                Ok(true)
            })?;
        }
    }
    for (at, _) in &ended {
        edit.note_field(true, Some(*at));
    }
    for (number, (_, name)) in ended.iter().enumerate() {
        ctx.edit_remove(&mut edit, number, name);
    }
    // Of a compact one it is found out anew.
    if matches!(edit.form, Form::Large(_)) {
        edit.fields_expire_at = next;
    }
    edit.changed();
    if !ended.is_empty() {
        ctx.notify(Class::Hash, "hexpired", key);
    }
    ctx.edit_finish(edit);
    Ok(ended.len() as u64)
}
