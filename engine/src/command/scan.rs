//! HSCAN, SSCAN and the like: a part of a collection, and a cursor to go on with.

use std::borrow::Cow;

use coney_base::{UnixMillis, glob};
use coney_resp::{Args, Reply};

use super::collection::Shape;
use super::option::{is, scan_count};
use super::{CommandError, Context, Done, keyspace};
use crate::compact::Entry;
use crate::meta::Kind;

/// Elements of one call, if it does not say COUNT.
const COUNT_DEFAULT: u64 = 10;

/// What one call asks for.
struct Options<'a> {
    pattern: Option<&'a [u8]>,
    count: u64,
    has_values: bool,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>, kind: Kind) -> Result<Self, CommandError> {
        let mut options =
            Self { pattern: None, count: COUNT_DEFAULT, has_values: kind != Kind::Set };
        let mut at = 3;
        while let Some(option) = args.get(at) {
            at += 1;
            if is(option, "NOVALUES") {
                if kind != Kind::Hash {
                    return Err(CommandError::Text(
                        "ERR NOVALUES option can only be used in HSCAN",
                    ));
                }
                options.has_values = false;
                continue;
            }
            let value = args.get(at).ok_or(CommandError::Syntax)?;
            at += 1;
            if is(option, "COUNT") {
                options.count = scan_count(value)?;
            } else if is(option, "MATCH") {
                options.pattern = Some(value).filter(|pattern| *pattern != b"*");
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

/// A value as the reply shows it; `None`: the element has ended.
type Shown<'a> = Result<Option<Cow<'a, [u8]>>, CommandError>;

/// A call on a hash, a set or a sorted set; `value_of` makes of the stored value what the reply shows
/// now.
pub(super) fn scan(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    kind: Kind,
    value_of: fn(&[u8], UnixMillis) -> Shown<'_>,
) -> Done {
    let cursor = keyspace::cursor(&args[2])?;
    let mut bytes = Vec::new();
    let mut found = Reply::new(&mut bytes, reply.protocol());
    let mut count = 0;
    let now = ctx.now;
    let mut push = |options: &Options<'_>, entry: Entry<'_>| {
        if options.pattern.is_none_or(|pattern| glob::matches(pattern, entry.name, false)) {
            let Some(value) = value_of(entry.value, now)? else { return Ok(()) };
            count += 1;
            found.bulk(entry.name);
            if options.has_values {
                count += 1;
                found.bulk(&value);
            }
        }
        Ok(())
    };
    let large = ctx.inspect(&args[1], kind, |shape| match shape {
        // Options do not matter then.
        Shape::Absent => Ok(None),
        // All of it, whatever the cursor.
        Shape::Compact(compact) => {
            let options = Options::parse(args, kind)?;
            for entry in compact.entries()? {
                push(&options, entry)?;
            }
            Ok(None)
        }
        Shape::Large(large) => Ok(Some((large, Options::parse(args, kind)?))),
    })?;
    let next = match large {
        None => 0,
        Some((large, options)) => {
            ctx.scan_members(&large, cursor, options.count, &mut |entry| push(&options, entry))?
        }
    };
    reply.array(2);
    let mut digits = itoa::Buffer::new();
    reply.bulk(digits.format(next).as_bytes());
    reply.array(count);
    reply.raw(&bytes);
    Ok(())
}
