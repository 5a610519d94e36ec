//! Lists that are latched and may be changed.
//!
//! The elements of a large list have the indexes `head .. head + count`, without a gap; the list
//! begins in the [`MIDDLE`] of all numbers and grows in both directions. What an index outside of
//! that range holds is never read: it is written again before the range reaches it.

use std::ops::Range;

use super::End;
use super::read::visit_large;
use crate::batch::Family;
use crate::command::collection::edit::{Edit, Form};
use crate::command::collection::{GoOn, Large};
use crate::command::{Context, Stop};
use crate::compact::{BODY_LEN_MAX, CompactMut, Encoding, Entry};
use crate::element::LargeBody;
use crate::limits::EncodingLimits;
use crate::meta::{Kind, MetaError};

/// Where a large list begins.
const MIDDLE: u64 = 1 << 63;
/// Indexes at both ends that no stored list has, so that one command cannot leave 64 bits. A list
/// would have to be pushed to for a hundred thousand years to come here.
const MARGIN: u64 = 1 << 32;
/// How many more elements are removed than kept before the kept ones move to a new version.
const REWRITE_ADVANTAGE: u64 = 64;

/// The index of the first element of a large list.
pub(super) fn head(body: &LargeBody) -> Result<u64, MetaError> {
    let head = <[u8; 8]>::try_from(body.extra.as_slice()).map_err(|_error| MetaError::Body)?;
    let head = u64::from_be_bytes(head);
    let is_inside = |end: u64| head >= MARGIN && end <= u64::MAX - MARGIN;
    if head.checked_add(body.count).is_some_and(is_inside) {
        Ok(head)
    } else {
        Err(MetaError::Body)
    }
}

/// An element of a list as a compact body holds it.
fn entry(value: &[u8]) -> Entry<'_> {
    Entry { name: value, value: b"" }
}

/// A list that is latched and may be changed.
#[derive(Debug)]
pub(super) struct List<'k> {
    edit: Edit<'k>,
    /// Index of the first element, of a large list.
    head: u64,
}

impl<'k> List<'k> {
    /// Latches a key of the client's table and opens its list; an absent one is empty.
    pub(super) fn open(ctx: &mut Context<'_>, key: &'k [u8]) -> Result<Self, Stop> {
        Self::of(ctx.edit(key, Kind::List)?)
    }

    /// Latches a key whose old value, of any kind, is overwritten by an empty list, which is none.
    pub(super) fn open_new(ctx: &mut Context<'_>, key: &'k [u8]) -> Result<Self, Stop> {
        let mut list = Self::of(ctx.edit_new(key, Kind::List)?)?;
        list.edit.changed();
        Ok(list)
    }

    fn of(edit: Edit<'k>) -> Result<Self, Stop> {
        let head = match &edit.form {
            Form::Compact(_) => MIDDLE,
            Form::Large(large) => head(&large.body)?,
        };
        Ok(Self { edit, head })
    }

    /// The list's key.
    pub(super) fn key(&self) -> &'k [u8] {
        self.edit.key()
    }

    /// Elements, changes included; 0: there is no list.
    pub(super) fn len(&self) -> u64 {
        self.edit.count()
    }

    /// Hands the elements at these positions to `visit`, in order or backwards. May stop.
    pub(super) fn visit(
        &self,
        ctx: &mut Context<'_>,
        range: Range<u64>,
        is_reverse: bool,
        visit: &mut dyn FnMut(&[u8]) -> GoOn,
    ) -> Result<(), Stop> {
        match &self.edit.form {
            Form::Compact(compact) => {
                Ok(super::read::visit_entries(compact.entries(), &range, is_reverse, visit)?)
            }
            Form::Large(large) => visit_large(ctx, large, self.head, range, is_reverse, visit),
        }
    }

    /// Copies the elements at these positions. May stop.
    fn copy(&self, ctx: &mut Context<'_>, range: Range<u64>) -> Result<Vec<Vec<u8>>, Stop> {
        let mut values = Vec::new();
        self.visit(ctx, range, false, &mut |value| {
            values.push(value.to_vec());
            Ok(true)
        })?;
        Ok(values)
    }

    /// Adds an element at an end.
    pub(super) fn push(&mut self, ctx: &mut Context<'_>, end: End, value: &[u8]) {
        self.edit.changed();
        match (&mut self.edit.form, end) {
            (Form::Compact(compact), End::Left) => compact.insert(0, entry(value)),
            (Form::Compact(compact), End::Right) => compact.push(entry(value)),
            (Form::Large(large), End::Left) => {
                self.head -= 1;
                put(ctx, large, self.head, value);
                large.body.count += 1;
            }
            (Form::Large(large), End::Right) => {
                put(ctx, large, self.head + large.body.count, value);
                large.body.count += 1;
            }
        }
        self.settle(ctx);
    }

    /// Replaces the element at a position that is there.
    pub(super) fn set(&mut self, ctx: &mut Context<'_>, at: u64, value: &[u8]) {
        match &mut self.edit.form {
            Form::Compact(compact) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                compact.remove_at(at);
                compact.insert(at, entry(value));
                self.edit.changed();
            }
            Form::Large(large) => put(ctx, large, self.head + at, value),
        }
        self.settle(ctx);
    }

    /// Adds an element before the one at a position, or at the end; moves the shorter side. Stops
    /// only before it has written.
    pub(super) fn insert(
        &mut self,
        ctx: &mut Context<'_>,
        at: u64,
        value: &[u8],
    ) -> Result<(), Stop> {
        let count = self.len();
        let moved = match &self.edit.form {
            Form::Compact(_) => Vec::new(),
            Form::Large(_) if at <= count / 2 => self.copy(ctx, 0..at)?,
            Form::Large(_) => self.copy(ctx, at..count)?,
        };
        self.edit.changed();
        match &mut self.edit.form {
            Form::Compact(compact) => {
                compact.insert(usize::try_from(at).unwrap_or(usize::MAX), entry(value));
            }
            Form::Large(large) => {
                let first_moved = if at <= count / 2 {
                    self.head -= 1;
                    self.head
                } else {
                    self.head + at + 1
                };
                put(ctx, large, self.head + at, value);
                for (index, value) in (first_moved..).zip(&moved) {
                    put(ctx, large, index, value);
                }
                large.body.count += 1;
            }
        }
        self.settle(ctx);
        Ok(())
    }

    /// Removes the elements at these positions, which are there and in ascending order; moves the
    /// shorter side. Stops only before it has written.
    pub(super) fn remove(&mut self, ctx: &mut Context<'_>, at: &[u64]) -> Result<(), Stop> {
        let (Some(&first), Some(&last)) = (at.first(), at.last()) else { return Ok(()) };
        let (count, removed) = (self.len(), at.len() as u64);
        // Positions that are read; those of them that stay are moved to the other end of the range.
        let is_front = last < count - 1 - first;
        let range = if is_front { 0..last + 1 } else { first..count };
        let range = if self.is_large() { range } else { 0..count };
        let values = self.copy(ctx, range.clone())?;
        let mut removals = at.iter().copied().peekable();
        let kept = range.clone().zip(&values).filter_map(|(position, value)| {
            removals.next_if_eq(&position).is_none().then_some(value.as_slice())
        });
        self.edit.changed();
        match &mut self.edit.form {
            Form::Compact(compact) => *compact = compact_of(compact.encoding, kept),
            Form::Large(large) => {
                let first_kept = if is_front { removed } else { range.start };
                for (index, value) in (self.head + first_kept..).zip(kept) {
                    put(ctx, large, index, value);
                }
                if is_front {
                    delete(ctx, large, self.head..self.head + removed);
                    self.head += removed;
                } else {
                    delete(ctx, large, self.head + count - removed..self.head + count);
                }
                large.body.count -= removed;
            }
        }
        Ok(())
    }

    /// Removes all elements but those at these positions, which are there; costs what is removed or
    /// what is kept, whichever is less. Stops only before it has written.
    pub(super) fn trim(&mut self, ctx: &mut Context<'_>, keep: Range<u64>) -> Result<(), Stop> {
        let count = self.len();
        let kept_count = keep.end - keep.start;
        let removed = count - kept_count;
        if removed == 0 {
            return Ok(());
        }
        let is_rewritten = removed > kept_count + REWRITE_ADVANTAGE && self.is_large();
        let kept = if is_rewritten { self.copy(ctx, keep.clone())? } else { Vec::new() };
        if !is_rewritten && self.is_large() {
            for _ in 0..removed {
                ctx.spend(0)?;
            }
        }
        self.edit.changed();
        match &mut self.edit.form {
            Form::Compact(compact) => {
                let position = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
                compact.keep(position(keep.start)..position(keep.end));
            }
            Form::Large(large) if is_rewritten && !kept.is_empty() => {
                let body = LargeBody { count: kept_count, ..large.body.clone() };
                let large = ctx.edit_large(&self.edit, body);
                self.head = MIDDLE;
                for (index, value) in (self.head..).zip(&kept) {
                    put(ctx, &large, index, value);
                }
                self.edit.form = Form::Large(large);
            }
            Form::Large(large) => {
                if !is_rewritten {
                    delete(ctx, large, self.head..self.head + keep.start);
                    delete(ctx, large, self.head + keep.end..self.head + count);
                }
                self.head += keep.start;
                large.body.count = kept_count;
            }
        }
        Ok(())
    }

    /// Writes what the changes made of the key.
    pub(super) fn finish(mut self, ctx: &mut Context<'_>) {
        if let Form::Large(large) = &mut self.edit.form {
            large.body.extra.clear();
            large.body.extra.extend_from_slice(&self.head.to_be_bytes());
        }
        ctx.edit_finish(self.edit);
    }

    fn is_large(&self) -> bool {
        matches!(self.edit.form, Form::Large(_))
    }

    /// Makes the list large if it has grown out of its compact form.
    fn settle(&mut self, ctx: &mut Context<'_>) {
        let Form::Compact(compact) = &self.edit.form else { return };
        if is_compact(&ctx.exec.engine.limits, compact) {
            return;
        }
        self.head = MIDDLE;
        let extra = MIDDLE.to_be_bytes().to_vec();
        ctx.edit_convert(&mut self.edit, Encoding::Quicklist, extra, |number, entry, element| {
            element.clear();
            element.extend_from_slice(&(MIDDLE + number).to_be_bytes());
            entry.name
        });
    }
}

/// Whether a list may stay compact (`quicklistNodeExceedsLimit` in Redis). Negative settings stand
/// for 4096 bytes and more, of which [`BODY_LEN_MAX`] is the least.
fn is_compact(limits: &EncodingLimits, compact: &CompactMut) -> bool {
    let entries = match u64::try_from(limits.list_size()) {
        Ok(entries) => entries.max(1),
        Err(_negative) => u64::MAX,
    };
    // Encoding and count come in front.
    compact.count() as u64 <= entries && compact.len() + 11 <= BODY_LEN_MAX
}

fn compact_of<'v>(encoding: Encoding, values: impl Iterator<Item = &'v [u8]>) -> CompactMut {
    let mut compact = CompactMut::new(Kind::List, encoding, Vec::new());
    values.for_each(|value| compact.push(entry(value)));
    compact
}

fn put(ctx: &mut Context<'_>, large: &Large, index: u64, value: &[u8]) {
    ctx.exec.batch.put_element(Family::Data, &large.prefix, &index.to_be_bytes(), value);
}

fn delete(ctx: &mut Context<'_>, large: &Large, indexes: Range<u64>) {
    for index in indexes {
        ctx.exec.batch.delete_element(Family::Data, &large.prefix, &index.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(count: u64, extra: &[u8]) -> LargeBody {
        LargeBody { encoding: Encoding::Quicklist, count, extra: extra.to_vec() }
    }

    #[test]
    fn golden_large_lists() {
        let list = body(3, &MIDDLE.to_be_bytes());
        let mut out = Vec::new();
        list.write(&mut out);
        assert_eq!(out, *b"\x05\0\0\0\0\0\0\0\x03\x80\0\0\0\0\0\0\0");
        assert_eq!(head(&list), Ok(MIDDLE));
    }

    // What could break: arithmetic on what damage made of an index.
    #[test]
    fn indexes_that_no_list_has_are_refused() {
        assert_eq!(head(&body(1, &MARGIN.to_be_bytes())), Ok(MARGIN));
        for (count, index) in [
            (1, 0),
            (1, MARGIN - 1),
            (1, u64::MAX - MARGIN),
            (1, u64::MAX),
            (u64::MAX, MIDDLE),
            (MIDDLE, MIDDLE),
        ] {
            assert_eq!(head(&body(count, &index.to_be_bytes())), Err(MetaError::Body), "{index}");
        }
        assert_eq!(head(&body(1, b"")), Err(MetaError::Body));
        assert_eq!(head(&body(1, &[0x80; 9])), Err(MetaError::Body));
    }
}
