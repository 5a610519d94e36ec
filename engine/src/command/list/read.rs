//! Ranges of a list's elements.

use std::ops::Range;

use super::cached::{Keep, is_streak, visit_cached};
use super::edit::head;
use crate::batch::Family;
use crate::command::collection::{ElementRange, GoOn, Large, Shape};
use crate::command::{CommandError, Context, Stop};
use crate::compact::Entry;
use crate::meta::{Kind, MetaError};

/// Which elements of a list are wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// Their positions, which are there.
    pub(super) range: Range<u64>,
    /// From the last to the first.
    pub(super) is_reverse: bool,
}

/// Reads a list of the client's table: `plan` hears how many elements there are, `None` for no list,
/// and `visit` gets what it wants of them as long as it wants more.
pub(super) fn visit(
    ctx: &mut Context<'_>,
    key: &[u8],
    plan: impl FnOnce(Option<u64>) -> Result<Wanted, CommandError>,
    visit: &mut dyn FnMut(&[u8]) -> GoOn,
) -> Result<(), Stop> {
    let large = ctx.inspect(key, Kind::List, |shape| match shape {
        Shape::Absent => {
            plan(None)?;
            Ok(None)
        }
        Shape::Compact(compact) => {
            let Wanted { range, is_reverse } = plan(Some(compact.count as u64))?;
            visit_entries(compact.entries()?, &range, is_reverse, visit)?;
            Ok(None)
        }
        Shape::Large(large) => {
            let wanted = plan(Some(large.body.count))?;
            Ok(Some((large, wanted)))
        }
    })?;
    match large {
        None => Ok(()),
        Some((large, Wanted { range, is_reverse })) => {
            let head = head(&large.body)?;
            let count = range.end.saturating_sub(range.start);
            if is_reverse || count <= 1 || !ctx.is_on_worker() {
                return visit_large(ctx, &large, head, range, is_reverse, visit);
            }
            let list = head..head + large.body.count;
            let wanted = head + range.start..head + range.end;
            visit_cached(ctx, &large, &list, wanted, Keep::IfRead, visit)
        }
    }
}

/// Hands the entries of a compact list at these positions to `visit`.
pub(super) fn visit_entries<'e>(
    entries: impl Iterator<Item = Entry<'e>>,
    range: &Range<u64>,
    is_reverse: bool,
    visit: &mut dyn FnMut(&[u8]) -> GoOn,
) -> Result<(), CommandError> {
    let position = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
    let (first, count) = (position(range.start), position(range.end - range.start));
    let wanted = entries.skip(first).take(count);
    if is_reverse {
        let backwards: Vec<Entry<'_>> = wanted.collect();
        for entry in backwards.iter().rev() {
            if !visit(entry.name)? {
                break;
            }
        }
        return Ok(());
    }
    for entry in wanted {
        if !visit(entry.name)? {
            break;
        }
    }
    Ok(())
}

/// Hands the elements of a large list that begins at index `head` to `visit`.
pub(super) fn visit_large(
    ctx: &mut Context<'_>,
    large: &Large,
    head: u64,
    range: Range<u64>,
    is_reverse: bool,
    visit: &mut dyn FnMut(&[u8]) -> GoOn,
) -> Result<(), Stop> {
    let (begin, end) = ((head + range.start).to_be_bytes(), (head + range.end).to_be_bytes());
    let mut missing = range.end.saturating_sub(range.start);
    if missing == 0 {
        return Ok(());
    }
    if missing == 1 {
        let list = head..head + large.body.count;
        if is_streak(ctx, large, &list, head + range.start) {
            let wanted = head + range.start..head + range.end;
            return visit_cached(ctx, large, &list, wanted, Keep::All, visit);
        }
        ctx.element(Family::Data, &large.prefix, &begin, |found| match found {
            Some(value) => visit(value),
            None => Err(MetaError::Body.into()),
        })??;
        return Ok(());
    }
    let elements = ElementRange { begin: begin.to_vec(), end: Some(end.to_vec()), is_reverse };
    let mut is_enough = false;
    ctx.walk(Family::Data, &large.prefix, &elements, &mut |_, value| {
        missing = missing.saturating_sub(1);
        is_enough = !visit(value)?;
        Ok(!is_enough)
    })?;
    // A gap would make every later position wrong.
    if is_enough || missing == 0 { Ok(()) } else { Err(MetaError::Body.into()) }
}
