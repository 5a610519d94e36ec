//! ZAGGREGATE: figures over a range of a sorted set. Not a command of Redis; see "Beyond Redis" in
//! `docs/compatibility.md`.

use coney_base::glob;
use coney_resp::{Args, Reply};

use super::range::By;
use super::sorted::{Range, Sorted};
use crate::command::option::{Window, is};
use crate::command::{CommandError, Context, Done, Stop};

/// What is wanted of the scores in the range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Figure {
    Count,
    Sum,
    Min,
    Max,
    Average,
}

impl Figure {
    fn parse(arg: &[u8]) -> Option<Self> {
        if is(arg, "COUNT") {
            Some(Self::Count)
        } else if is(arg, "SUM") {
            Some(Self::Sum)
        } else if is(arg, "MIN") {
            Some(Self::Min)
        } else if is(arg, "MAX") {
            Some(Self::Max)
        } else if is(arg, "AVG") {
            Some(Self::Average)
        } else {
            None
        }
    }
}

/// What the arguments ask for.
struct Query<'a> {
    range: Range,
    pattern: Option<&'a [u8]>,
    figures: Vec<Figure>,
}

impl<'a> Query<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let (mut by, mut pattern, mut figures) = (None, None, Vec::new());
        let mut at = 4;
        while let Some(option) = args.get(at) {
            at += 1;
            if let Some(figure) = Figure::parse(option) {
                figures.push(figure);
            } else if let (true, Some(value)) = (is(option, "MATCH"), args.get(at)) {
                pattern = Some(value);
                at += 1;
            } else if by.is_none() && is(option, "BYSCORE") {
                by = Some(By::Score);
            } else if by.is_none() && is(option, "BYLEX") {
                by = Some(By::Lex);
            } else if by.is_none() && is(option, "BYRANK") {
                by = Some(By::Rank);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if figures.is_empty() {
            return Err(CommandError::Syntax);
        }
        let range = by.unwrap_or(By::Score).parse(&args[2], &args[3])?;
        Ok(Self { range, pattern, figures })
    }
}

/// The figures of a range.
#[derive(Default)]
struct Totals {
    count: u64,
    sum: f64,
    /// The scores of the first and of the last member.
    ends: Option<(f64, f64)>,
}

impl Totals {
    fn add(&mut self, score: f64) {
        self.count += 1;
        self.sum += score;
        self.ends = Some((self.ends.map_or(score, |(first, _)| first), score));
    }

    /// What needs no look at each member.
    fn at_ends(ctx: &mut Context<'_>, sorted: &Sorted, query: &Query<'_>) -> Result<Self, Stop> {
        let count = sorted.count(ctx, &query.range)?;
        let mut totals = Self { count, ..Self::default() };
        if count > 0 && query.figures.iter().any(|figure| *figure != Figure::Count) {
            let (first, last) = sorted.ends(ctx, &query.range)?;
            totals.ends = first.zip(last);
        }
        Ok(totals)
    }

    fn of_all(ctx: &mut Context<'_>, sorted: &Sorted, query: &Query<'_>) -> Result<Self, Stop> {
        let mut totals = Self::default();
        sorted.each(ctx, &query.range, false, Window::ALL, &mut |score, member| {
            if query.pattern.is_none_or(|pattern| glob::matches(pattern, member, false)) {
                totals.add(score);
            }
            true
        })?;
        Ok(totals)
    }

    #[expect(clippy::cast_precision_loss, reason = "an average is rounded anyhow")]
    fn tell(&self, figure: Figure, reply: &mut Reply<'_>) {
        let value = match (figure, self.ends) {
            (Figure::Count, _) => {
                return reply.int(i64::try_from(self.count).unwrap_or(i64::MAX));
            }
            (Figure::Sum, _) => Some(self.sum),
            (_, None) => None,
            (Figure::Min, Some((first, _))) => Some(first),
            (Figure::Max, Some((_, last))) => Some(last),
            (Figure::Average, Some(_)) => Some(self.sum / self.count as f64),
        };
        match value {
            Some(value) => reply.double(value),
            None => reply.null(),
        }
    }
}

/// `ZAGGREGATE key min max [BYSCORE | BYLEX | BYRANK] [MATCH pattern] figure [figure ...]`
pub(in super::super) fn zaggregate(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let query = Query::parse(args)?;
    let sorted = Sorted::read(ctx, &args[1])?;
    let is_summed =
        query.figures.iter().any(|figure| matches!(figure, Figure::Sum | Figure::Average));
    let totals = if is_summed || query.pattern.is_some() {
        Totals::of_all(ctx, &sorted, &query)?
    } else {
        Totals::at_ends(ctx, &sorted, &query)?
    };
    reply.array(query.figures.len());
    for figure in &query.figures {
        totals.tell(*figure, reply);
    }
    Ok(())
}
