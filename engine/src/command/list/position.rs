//! LPOS. Page: <https://redis.io/docs/latest/commands/lpos/>.

use coney_resp::{Args, Reply};

use super::read::{self, Wanted};
use crate::command::option::{int, is};
use crate::command::{CommandError, Context, Done};

/// Options of LPOS.
#[derive(Debug)]
struct Options {
    /// The first match that counts; negative: from the end.
    rank: i64,
    /// How many matches are wanted, 0: all; `None`: one, without an array around it.
    count: Option<u64>,
    /// How many elements are compared, 0: all.
    compared_max: u64,
}

impl Options {
    fn parse(options: Args<'_>) -> Result<Self, CommandError> {
        let mut parsed = Self { rank: 1, count: None, compared_max: 0 };
        let mut at = 0;
        while let Some(option) = options.get(at) {
            let value = options.get(at + 1).ok_or(CommandError::Syntax)?;
            if is(option, "RANK") {
                parsed.rank = rank(value)?;
            } else if is(option, "COUNT") {
                parsed.count = Some(natural(value, "ERR COUNT can't be negative")?);
            } else if is(option, "MAXLEN") {
                parsed.compared_max = natural(value, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(CommandError::Syntax);
            }
            at += 2;
        }
        Ok(parsed)
    }
}

fn rank(arg: &[u8]) -> Result<i64, CommandError> {
    match int(arg)? {
        0 => Err(CommandError::Text(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or \
             use negative to start from the end of the list",
        )),
        i64::MIN => Err(CommandError::Text(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        )),
        rank => Ok(rank),
    }
}

fn natural(arg: &[u8], message: &'static str) -> Result<u64, CommandError> {
    let number = int(arg).ok().and_then(|number| u64::try_from(number).ok());
    number.ok_or(CommandError::Text(message))
}

pub(in crate::command) fn lpos(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let Options { rank, count, compared_max } = Options::parse(args.skip(3))?;
    let is_reverse = rank < 0;
    let mut len = 0;
    let plan = |found: Option<u64>| {
        len = found.unwrap_or(0);
        Ok(Wanted { range: 0..len, is_reverse })
    };
    let mut skipped = rank.unsigned_abs() - 1;
    let most = match count {
        None => 1,
        Some(0) => u64::MAX,
        Some(count) => count,
    };
    let (mut seen, mut matches) = (0_u64, Vec::new());
    read::visit(ctx, &args[1], plan, &mut |value| {
        if value == &args[2] {
            if skipped == 0 {
                matches.push(seen);
            } else {
                skipped -= 1;
            }
        }
        seen += 1;
        Ok((matches.len() as u64) < most && seen != compared_max)
    })?;
    if count.is_some() {
        reply.array(matches.len());
    } else if matches.is_empty() {
        reply.null();
    }
    for at in matches {
        super::reply_len(if is_reverse { len - 1 - at } else { at }, reply);
    }
    Ok(())
}
