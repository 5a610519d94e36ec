//! HRANGEBYLEX: fields in the order of their bytes. A command of Kvrocks, not of Redis; see "Beyond
//! Redis" in `docs/compatibility.md`.
//!
//! Fields lie in the order of their hashes, so all of them are looked at; what is kept is no more
//! than LIMIT wants.

use std::collections::BTreeMap;

use coney_resp::{Args, Protocol, Reply};

use super::live;
use crate::command::option::{LexRange, Window, int, is};
use crate::command::{CommandError, Context, Done};
use crate::meta::Kind;

/// What the arguments ask for.
struct Query {
    range: LexRange,
    is_reverse: bool,
    window: Window,
}

impl Query {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let (mut is_reverse, mut window) = (false, Window::ALL);
        let mut at = 4;
        while let Some(option) = args.get(at) {
            at += 1;
            if is(option, "REV") {
                is_reverse = true;
            } else if let (true, Some(offset), Some(count)) =
                (is(option, "LIMIT"), args.get(at), args.get(at + 1))
            {
                window = Window::limit(int(offset)?, int(count)?);
                at += 2;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let (first, second) = (&args[2], &args[3]);
        let (min, max) = if is_reverse { (second, first) } else { (first, second) };
        Ok(Self { range: LexRange::parse(min, max)?, is_reverse, window })
    }
}

/// `HRANGEBYLEX key min max [REV] [LIMIT offset count]`; with REV, max comes before min.
pub(in super::super) fn hrangebylex(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let Query { range, is_reverse, window } = Query::parse(args)?;
    let end = window.offset.saturating_add(window.count);
    let end = usize::try_from(end).unwrap_or(usize::MAX);
    let now = ctx.now;
    let mut found = BTreeMap::new();
    ctx.visit(&args[1], Kind::Hash, |entry| {
        let is_wanted = window.count > 0 && range.contains(entry.name);
        if is_wanted && let Some(field) = live(Some(entry.value), now)? {
            found.insert(entry.name.to_vec(), field.value.to_vec());
            if found.len() > end {
                if is_reverse {
                    found.pop_first();
                } else {
                    found.pop_last();
                }
            }
        }
        Ok(true)
    })?;
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = found.into_iter().collect();
    if is_reverse {
        found.reverse();
    }
    let offset = usize::try_from(window.offset).unwrap_or(usize::MAX);
    let found = found.get(offset..).unwrap_or_default();
    let is_nested = reply.protocol() == Protocol::Resp3;
    reply.array(if is_nested { found.len() } else { 2 * found.len() });
    for (field, value) in found {
        if is_nested {
            reply.array(2);
        }
        reply.bulk(field);
        reply.bulk(value);
    }
    Ok(())
}
