//! Ranges by rank, score and member: what reads, counts, stores and removes them.

use coney_resp::{Args, Reply};

use super::edit::{SortedEdit, replace};
use super::number::bound;
use super::sorted::{Range, Scored, Sorted};
use super::tell;
use crate::command::option::{LexRange, Window, int, is};
use crate::command::{CommandError, Context, Done, Stop};
use crate::score;

/// What a range is given by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    Rank,
    Score,
    Lex,
}

impl By {
    pub(super) fn parse(self, min: &[u8], max: &[u8]) -> Result<Range, CommandError> {
        match self {
            Self::Rank => Ok(Range::Rank(int(min)?, int(max)?)),
            Self::Score => {
                let not_float = CommandError::Text("ERR min or max is not a float");
                scores(min, max).ok_or(not_float)
            }
            Self::Lex => Ok(Range::Lex(LexRange::parse(min, max)?)),
        }
    }
}

fn scores(min: &[u8], max: &[u8]) -> Option<Range> {
    let parse = |arg: &[u8]| match arg {
        [b'(', score @ ..] => Some((bound(score)?, true)),
        score => Some((bound(score)?, false)),
    };
    let ((min, is_after_min), (max, is_before_max)) = (parse(min)?, parse(max)?);
    // The ranks of scores end far below the largest number.
    let begin = score::rank(min).saturating_add(u64::from(is_after_min));
    let end = score::rank(max).saturating_add(u64::from(!is_before_max));
    Some(Range::Score(begin, end))
}

/// What a command of the family of ZRANGE asks for.
#[derive(Debug)]
struct Query {
    range: Range,
    is_reverse: bool,
    window: Window,
    has_scores: bool,
}

impl Query {
    /// Reads `min max` at `at` and what follows. What the name of the command says already, the
    /// options cannot.
    fn parse(
        args: Args<'_>,
        at: usize,
        mut by: Option<By>,
        mut is_reverse: Option<bool>,
        is_stored: bool,
    ) -> Result<Self, CommandError> {
        let (mut limit, mut has_scores) = (None, false);
        let mut next = at + 2;
        while let Some(option) = args.get(next) {
            next += 1;
            if !is_stored && is(option, "WITHSCORES") {
                has_scores = true;
            } else if let (true, Some(offset), Some(count)) =
                (is(option, "LIMIT"), args.get(next), args.get(next + 1))
            {
                limit = Some((int(offset)?, int(count)?));
                next += 2;
            } else if is_reverse.is_none() && is(option, "REV") {
                is_reverse = Some(true);
            } else if by.is_none() && is(option, "BYLEX") {
                by = Some(By::Lex);
            } else if by.is_none() && is(option, "BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let (by, is_reverse) = (by.unwrap_or(By::Rank), is_reverse.unwrap_or(false));
        if by == By::Rank && limit.is_some_and(|(_, count)| count != -1) {
            return Err(CommandError::Text(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if by == By::Lex && has_scores {
            return Err(CommandError::Text(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (first, second) = (&args[at], &args[at + 1]);
        let is_swapped = is_reverse && by != By::Rank;
        let (min, max) = if is_swapped { (second, first) } else { (first, second) };
        Ok(Self {
            range: by.parse(min, max)?,
            is_reverse,
            window: limit.map_or(Window::ALL, |(offset, count)| Window::limit(offset, count)),
            has_scores,
        })
    }

    fn run(&self, ctx: &mut Context<'_>, sorted: &Sorted) -> Result<Vec<Scored>, Stop> {
        sorted.collect(ctx, &self.range, self.is_reverse, self.window)
    }
}

fn read(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    by: Option<By>,
    is_reverse: Option<bool>,
) -> Done {
    let query = Query::parse(args, 2, by, is_reverse, false)?;
    let sorted = Sorted::read(ctx, &args[1])?;
    let members = query.run(ctx, &sorted)?;
    tell(&members, query.has_scores, reply);
    Ok(())
}

pub(in super::super) fn zrange(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    read(ctx, args, reply, None, None)
}

pub(in super::super) fn zrevrange(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    read(ctx, args, reply, Some(By::Rank), Some(true))
}

pub(in super::super) fn zrangebyscore(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    read(ctx, args, reply, Some(By::Score), Some(false))
}

pub(in super::super) fn zrevrangebyscore(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    read(ctx, args, reply, Some(By::Score), Some(true))
}

pub(in super::super) fn zrangebylex(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    read(ctx, args, reply, Some(By::Lex), Some(false))
}

pub(in super::super) fn zrevrangebylex(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    read(ctx, args, reply, Some(By::Lex), Some(true))
}

pub(in super::super) fn zrangestore(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let query = Query::parse(args, 3, None, None, true)?;
    let table = ctx.table();
    for key in [&args[1], &args[2]] {
        ctx.exec.look_at(table, key);
        ctx.exec.latch()?;
    }
    let sorted = Sorted::read(ctx, &args[2])?;
    let members = query.run(ctx, &sorted)?;
    replace(ctx, &args[1], &members, Some("zrangestore"))?;
    reply.count(members.len());
    Ok(())
}

fn count(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>, by: By) -> Done {
    let range = by.parse(&args[2], &args[3])?;
    let sorted = Sorted::read(ctx, &args[1])?;
    reply.int(i64::try_from(sorted.count(ctx, &range)?).unwrap_or(i64::MAX));
    Ok(())
}

pub(in super::super) fn zcount(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    count(ctx, args, reply, By::Score)
}

pub(in super::super) fn zlexcount(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    count(ctx, args, reply, By::Lex)
}

fn remove(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>, by: By) -> Done {
    let range = by.parse(&args[2], &args[3])?;
    let edit = SortedEdit::open(ctx, &args[1])?;
    let members = edit.sorted()?.collect(ctx, &range, false, Window::ALL)?;
    let event = match by {
        By::Rank => "zremrangebyrank",
        By::Score => "zremrangebyscore",
        By::Lex => "zremrangebylex",
    };
    edit.remove_all(ctx, &members, event)?;
    reply.count(members.len());
    Ok(())
}

pub(in super::super) fn zremrangebyrank(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    remove(ctx, args, reply, By::Rank)
}

pub(in super::super) fn zremrangebyscore(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    remove(ctx, args, reply, By::Score)
}

pub(in super::super) fn zremrangebylex(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    remove(ctx, args, reply, By::Lex)
}
