//! Deadlines of keys.

use coney_base::UnixMillis;
use coney_resp::{Args, Reply};

use super::option::{Unit, int, is, moment};
use super::{CommandError, Context, Done};
use crate::meta::Header;
use crate::notify::Class;

pub(super) fn expire(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    set(ctx, args, reply, Unit::Seconds, false)
}

pub(super) fn pexpire(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    set(ctx, args, reply, Unit::Millis, false)
}

pub(super) fn expire_at(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    set(ctx, args, reply, Unit::Seconds, true)
}

pub(super) fn pexpire_at(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    set(ctx, args, reply, Unit::Millis, true)
}

/// When a deadline may be set.
#[derive(Clone, Copy, Default)]
pub(super) struct When {
    /// NX: there is none.
    absent: bool,
    /// XX: there is one.
    present: bool,
    /// GT: the new one is later. None counts as infinitely late.
    later: bool,
    /// LT: the new one is earlier.
    earlier: bool,
}

impl When {
    fn parse(options: Args<'_>) -> Result<Self, CommandError> {
        let mut when = Self::default();
        for option in options.iter() {
            if !when.add(option) {
                let option = String::from_utf8_lossy(option);
                return Err(CommandError::Owned(format!("ERR Unsupported option {option}")));
            }
        }
        if when.absent && (when.present || when.later || when.earlier) {
            return Err(CommandError::Text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if when.later && when.earlier {
            return Err(CommandError::Text(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(when)
    }

    /// Adds a condition; `false`: the option is none.
    pub(super) fn add(&mut self, option: &[u8]) -> bool {
        let conditions = [
            ("NX", &mut self.absent),
            ("XX", &mut self.present),
            ("GT", &mut self.later),
            ("LT", &mut self.earlier),
        ];
        match conditions.into_iter().find(|(name, _)| is(option, name)) {
            Some((_, condition)) => {
                *condition = true;
                true
            }
            None => false,
        }
    }

    /// `new` is a moment, possibly before 1970.
    pub(super) fn allows(self, current: Option<UnixMillis>, new: i64) -> bool {
        let current = current.map(|at| i64::try_from(at.0).unwrap_or(i64::MAX));
        let is_later = current.is_some_and(|current| new > current);
        let is_earlier = current.is_none_or(|current| new < current);
        !(self.absent && current.is_some()
            || self.present && current.is_none()
            || self.later && !is_later
            || self.earlier && !is_earlier)
    }
}

fn set(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    unit: Unit,
    is_absolute: bool,
) -> Done {
    let key = &args[1];
    let when = When::parse(args.skip(3))?;
    let at = moment(int(&args[2])?, unit, is_absolute, ctx.now)?;
    let old = ctx.load_for_write(key)?;
    let Some(header) = old.live.filter(|header| when.allows(header.expire_at, at)) else {
        reply.int(0);
        return Ok(());
    };
    match u64::try_from(at).map(UnixMillis) {
        Ok(at) if at > ctx.now => {
            if header.expire_at != Some(at) {
                let table = ctx.table();
                let header = Header { expire_at: Some(at), ..header };
                ctx.put_loaded(table, key, old, &header, b"");
            }
            ctx.notify(Class::Generic, "expire", key);
        }
        // It lies in the past.
        Ok(_) | Err(_) => ctx.delete(key, old),
    }
    reply.int(1);
    Ok(())
}

/// Gives a key that the command has just written a deadline, which lies in the future.
pub(super) fn set_deadline(ctx: &mut Context<'_>, key: &[u8], at: UnixMillis) -> Done {
    let old = ctx.load_for_write(key)?;
    if let Some(header) = old.live {
        let table = ctx.table();
        ctx.put_loaded(table, key, old, &Header { expire_at: Some(at), ..header }, b"");
    }
    Ok(())
}

pub(super) fn persist(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let key = &args[1];
    let old = ctx.load_for_write(key)?;
    let header = old.live.filter(|header| header.expire_at.is_some());
    if let Some(header) = header {
        let table = ctx.table();
        ctx.put_loaded(table, key, old, &Header { expire_at: None, ..header }, b"");
        ctx.notify(Class::Generic, "persist", key);
    }
    reply.int(i64::from(header.is_some()));
    Ok(())
}

pub(super) fn ttl(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    tell(ctx, args, reply, |at, now| seconds(at.0.saturating_sub(now.0)))
}

pub(super) fn pttl(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    tell(ctx, args, reply, |at, now| at.0.saturating_sub(now.0))
}

pub(super) fn expire_time(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    tell(ctx, args, reply, |at, _| seconds(at.0))
}

pub(super) fn pexpire_time(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    tell(ctx, args, reply, |at, _| at.0)
}

/// To the nearest second.
fn seconds(millis: u64) -> u64 {
    millis.saturating_add(500) / 1000
}

/// -2: no key; -1: no deadline.
fn tell(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    value: fn(UnixMillis, UnixMillis) -> u64,
) -> Done {
    let header = ctx.read(&args[1], |found| found.map(|(header, _)| header))?;
    reply.int(match header.map(|header| header.expire_at) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => i64::try_from(value(at, ctx.now)).unwrap_or(i64::MAX),
    });
    Ok(())
}
