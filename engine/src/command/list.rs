//! Lists. Pages: <https://redis.io/docs/latest/commands/?group=list>.
//!
//! Every push writes the key's meta entry, so that "the key got elements" is to be seen in the
//! changes of a batch.

use std::cell::RefCell;

use coney_resp::{Args, Reply};

use super::blocking::{self, Timeout};
use super::first::{self, First};
use super::option::{int, is, pop_count};
use super::{CommandError, Context, Done, Stop};
use crate::meta::Kind;
use crate::notify::Class;
use edit::List;
use read::Wanted;

mod cached;
mod edit;
mod position;
mod read;

pub(super) use position::lpos;

/// Of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Left,
    Right,
}

impl End {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        if is(arg, "LEFT") {
            Ok(Self::Left)
        } else if is(arg, "RIGHT") {
            Ok(Self::Right)
        } else {
            Err(CommandError::Syntax)
        }
    }

    /// The event of adding elements there.
    fn push_event(self) -> &'static str {
        match self {
            Self::Left => "lpush",
            Self::Right => "rpush",
        }
    }

    /// The event of taking elements from there.
    fn pop_event(self) -> &'static str {
        match self {
            Self::Left => "lpop",
            Self::Right => "rpop",
        }
    }

    /// The `count` elements at this end of a list of `len`, the outermost first.
    fn of(self, len: u64, count: u64) -> Wanted {
        let count = count.min(len);
        match self {
            Self::Left => Wanted { range: 0..count, is_reverse: false },
            Self::Right => Wanted { range: len - count..len, is_reverse: true },
        }
    }
}

fn reply_len(len: u64, reply: &mut Reply<'_>) {
    reply.int(i64::try_from(len).unwrap_or(i64::MAX));
}

/// Copies the elements of a list, from the first or the last; no list: none.
pub(super) fn load(
    ctx: &mut Context<'_>,
    key: &[u8],
    is_reverse: bool,
) -> Result<Vec<Vec<u8>>, Stop> {
    let mut values = Vec::new();
    let plan = |len: Option<u64>| Ok(Wanted { range: 0..len.unwrap_or(0), is_reverse });
    read::visit(ctx, key, plan, &mut |value| {
        values.push(value.to_vec());
        Ok(true)
    })?;
    Ok(values)
}

/// Hands the elements of a list to `visit`, from the first to the last.
pub(super) fn visit(ctx: &mut Context<'_>, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Done {
    let plan = |len: Option<u64>| Ok(Wanted { range: 0..len.unwrap_or(0), is_reverse: false });
    read::visit(ctx, key, plan, &mut |value| {
        visit(value);
        Ok(true)
    })
}

/// Makes a list the new value of a key; an empty one removes it. Stops only before it has written.
pub(super) fn replace(ctx: &mut Context<'_>, key: &[u8], values: &[Vec<u8>]) -> Done {
    let mut list = List::open_new(ctx, key)?;
    values.iter().for_each(|value| list.push(ctx, End::Right, value));
    list.finish(ctx);
    Ok(())
}

pub(super) fn lpush(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    push(ctx, args, reply, End::Left, false)
}

pub(super) fn rpush(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    push(ctx, args, reply, End::Right, false)
}

pub(super) fn lpushx(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    push(ctx, args, reply, End::Left, true)
}

pub(super) fn rpushx(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    push(ctx, args, reply, End::Right, true)
}

fn push(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    end: End,
    needs_list: bool,
) -> Done {
    let mut list = List::open(ctx, &args[1])?;
    ctx.check_names(args.len())?;
    if needs_list && list.len() == 0 {
        reply.int(0);
        return Ok(());
    }
    args.iter().skip(2).for_each(|value| list.push(ctx, end, value));
    reply_len(list.len(), reply);
    list.finish(ctx);
    ctx.notify(Class::List, end.push_event(), &args[1]);
    Ok(())
}

pub(super) fn lpop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    pop(ctx, args, reply, End::Left)
}

pub(super) fn rpop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    pop(ctx, args, reply, End::Right)
}

fn pop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>, end: End) -> Done {
    if args.len() > 3 {
        return Err(CommandError::WrongArity.into());
    }
    let count = args.get(2).map(pop_count).transpose()?;
    let list = List::open(ctx, &args[1])?;
    match (list.len(), count) {
        (0, None) => reply.null(),
        (0, Some(_)) => reply.null_array(),
        (_, Some(0)) => reply.array(0),
        (_, None) => pop_from(ctx, list, end, 1, reply)?,
        (len, Some(count)) => {
            reply.array(usize::try_from(count.min(len)).unwrap_or(usize::MAX));
            pop_from(ctx, list, end, count, reply)?;
        }
    }
    Ok(())
}

/// Removes elements at an end, at most all, and replies them.
fn pop_from(
    ctx: &mut Context<'_>,
    mut list: List<'_>,
    end: End,
    count: u64,
    reply: &mut Reply<'_>,
) -> Done {
    let len = list.len();
    let Wanted { range, is_reverse } = end.of(len, count);
    list.visit(ctx, range.clone(), is_reverse, &mut |value| {
        reply.bulk(value);
        Ok(true)
    })?;
    list.trim(ctx, if end == End::Left { range.end..len } else { 0..range.start })?;
    ctx.notify(Class::List, end.pop_event(), list.key());
    list.finish(ctx);
    Ok(())
}

pub(super) fn blpop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    pop_or_wait(ctx, args, reply, End::Left)
}

pub(super) fn brpop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    pop_or_wait(ctx, args, reply, End::Right)
}

fn pop_or_wait(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>, end: End) -> Done {
    let timeout = Timeout::seconds(&args[args.len() - 1])?;
    for key in blocking::keys_of(args) {
        let list = List::open(ctx, key)?;
        if list.len() > 0 && !blocking::gives_way(ctx, key, Kind::List)? {
            reply.array(2);
            reply.bulk(key);
            return pop_from(ctx, list, end, 1, reply);
        }
    }
    blocking::wait(ctx, timeout, reply, Reply::null_array)
}

pub(super) fn blmpop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let timeout = Timeout::seconds(&args[1])?;
    if pop_first(ctx, args.skip(1), reply, true)? {
        return Ok(());
    }
    blocking::wait(ctx, timeout, reply, Reply::null_array)
}

pub(super) fn lmpop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if !pop_first(ctx, args, reply, false)? {
        reply.null_array();
    }
    Ok(())
}

/// Pops from the first list that is there; `false`: there was none. The number of keys is `args[1]`.
fn pop_first(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    gives_way: bool,
) -> Result<bool, Stop> {
    let First { keys, end, count } = first::parse(args, End::parse)?;
    for key in keys {
        let list = List::open(ctx, key)?;
        let len = list.len();
        if len > 0 && !(gives_way && blocking::gives_way(ctx, key, Kind::List)?) {
            reply.array(2);
            reply.bulk(key);
            reply.array(usize::try_from(count.min(len)).unwrap_or(usize::MAX));
            pop_from(ctx, list, end, count, reply)?;
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn lmove(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (from, to) = (End::parse(&args[3])?, End::parse(&args[4])?);
    if !move_element(ctx, args, reply, from, to)? {
        reply.null();
    }
    Ok(())
}

pub(super) fn rpoplpush(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if !move_element(ctx, args, reply, End::Right, End::Left)? {
        reply.null();
    }
    Ok(())
}

pub(super) fn blmove(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (from, to) = (End::parse(&args[3])?, End::parse(&args[4])?);
    let timeout = Timeout::seconds(&args[5])?;
    if !blocking::gives_way(ctx, &args[1], Kind::List)? && move_element(ctx, args, reply, from, to)?
    {
        return Ok(());
    }
    blocking::wait(ctx, timeout, reply, Reply::null)
}

pub(super) fn brpoplpush(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let timeout = Timeout::seconds(&args[3])?;
    if !blocking::gives_way(ctx, &args[1], Kind::List)?
        && move_element(ctx, args, reply, End::Right, End::Left)?
    {
        return Ok(());
    }
    blocking::wait(ctx, timeout, reply, Reply::null)
}

/// `false`: there is nothing to move.
fn move_element(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    from: End,
    to: End,
) -> Result<bool, Stop> {
    let mut source = List::open(ctx, &args[1])?;
    let len = source.len();
    if len == 0 {
        return Ok(false);
    }
    let target = if args[1] == args[2] { None } else { Some(List::open(ctx, &args[2])?) };
    let mut moved = Vec::new();
    let range = from.of(len, 1).range;
    source.visit(ctx, range, false, &mut |value| {
        moved.extend_from_slice(value);
        Ok(true)
    })?;
    source.trim(ctx, if from == End::Left { 1..len } else { 0..len - 1 })?;
    match target {
        None => source.push(ctx, to, &moved),
        Some(mut target) => {
            target.push(ctx, to, &moved);
            target.finish(ctx);
        }
    }
    ctx.notify(Class::List, to.push_event(), &args[2]);
    ctx.notify(Class::List, from.pop_event(), &args[1]);
    source.finish(ctx);
    reply.bulk(&moved);
    Ok(true)
}

pub(super) fn llen(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let plan = |len: Option<u64>| {
        reply_len(len.unwrap_or(0), reply);
        Ok(Wanted::default())
    };
    read::visit(ctx, &args[1], plan, &mut |_| Ok(false))
}

/// The position that an index stands for, which counts from the end if it is negative.
fn position(index: i64, len: u64) -> Option<u64> {
    let position = match u64::try_from(index) {
        Ok(index) => index,
        Err(_negative) => len.checked_sub(index.unsigned_abs())?,
    };
    (position < len).then_some(position)
}

/// The positions from `start` to `stop` inclusive, as far as they are there.
fn range(start: i64, stop: i64, len: u64) -> std::ops::Range<u64> {
    let first = match u64::try_from(start) {
        Ok(start) => start,
        Err(_negative) => len.saturating_sub(start.unsigned_abs()),
    };
    let end = match u64::try_from(stop) {
        Ok(stop) => stop.saturating_add(1).min(len),
        // `-1` is the last one.
        Err(_negative) => len.saturating_sub(stop.unsigned_abs() - 1),
    };
    if first < end { first..end } else { 0..0 }
}

pub(super) fn lindex(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let mut is_found = false;
    let plan = |len: Option<u64>| {
        let Some(len) = len else { return Ok(Wanted::default()) };
        let range = position(int(&args[2])?, len).map_or(0..0, |at| at..at + 1);
        Ok(Wanted { range, is_reverse: false })
    };
    read::visit(ctx, &args[1], plan, &mut |value| {
        is_found = true;
        reply.bulk(value);
        Ok(true)
    })?;
    if !is_found {
        reply.null();
    }
    Ok(())
}

pub(super) fn lrange(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (start, stop) = (int(&args[2])?, int(&args[3])?);
    let reply = RefCell::new(reply);
    let plan = |len: Option<u64>| {
        let range = range(start, stop, len.unwrap_or(0));
        let count = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        // There are so many, or the command fails.
        reply.borrow_mut().array(count);
        Ok(Wanted { range, is_reverse: false })
    };
    read::visit(ctx, &args[1], plan, &mut |value| {
        reply.borrow_mut().bulk(value);
        Ok(true)
    })
}

pub(super) fn lset(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let mut list = List::open(ctx, &args[1])?;
    if list.len() == 0 {
        return Err(CommandError::NoSuchKey.into());
    }
    let at =
        position(int(&args[2])?, list.len()).ok_or(CommandError::Text("ERR index out of range"))?;
    list.set(ctx, at, &args[3]);
    list.finish(ctx);
    ctx.notify(Class::List, "lset", &args[1]);
    reply.ok();
    Ok(())
}

pub(super) fn ltrim(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (start, stop) = (int(&args[2])?, int(&args[3])?);
    let mut list = List::open(ctx, &args[1])?;
    let kept = range(start, stop, list.len());
    let is_there = list.len() > 0;
    list.trim(ctx, kept)?;
    if is_there {
        ctx.notify(Class::List, "ltrim", &args[1]);
    }
    list.finish(ctx);
    reply.ok();
    Ok(())
}

pub(super) fn lrem(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (count, wanted) = (int(&args[2])?, &args[3]);
    let mut list = List::open(ctx, &args[1])?;
    let most = if count == 0 { u64::MAX } else { count.unsigned_abs() };
    let len = list.len();
    let (mut found, mut seen) = (Vec::new(), 0);
    list.visit(ctx, 0..len, count < 0, &mut |value| {
        if value == wanted {
            found.push(if count < 0 { len - 1 - seen } else { seen });
        }
        seen += 1;
        Ok((found.len() as u64) < most)
    })?;
    if count < 0 {
        found.reverse();
    }
    list.remove(ctx, &found)?;
    if !found.is_empty() {
        ctx.notify(Class::List, "lrem", &args[1]);
    }
    list.finish(ctx);
    reply.count(found.len());
    Ok(())
}

pub(super) fn linsert(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let after = if is(&args[2], "AFTER") {
        1
    } else if is(&args[2], "BEFORE") {
        0
    } else {
        return Err(CommandError::Syntax.into());
    };
    let pivot = &args[3];
    let mut list = List::open(ctx, &args[1])?;
    let (mut at, mut is_found) = (0, false);
    let len = list.len();
    list.visit(ctx, 0..len, false, &mut |value| {
        is_found = value == pivot;
        at += u64::from(!is_found);
        Ok(!is_found)
    })?;
    if is_found {
        list.insert(ctx, at + after, &args[4])?;
        reply_len(list.len(), reply);
        list.finish(ctx);
        ctx.notify(Class::List, "linsert", &args[1]);
    } else {
        reply.int(if len == 0 { 0 } else { -1 });
    }
    Ok(())
}
