//! Strings as arrays of bits. Pages: <https://redis.io/docs/latest/commands/?group=bitmap>.
//!
//! Bit 0 is the highest bit of the first byte. Integers of any width among them are in [`field`],
//! operations on several strings in [`operation`].

use std::ops::Range;

use coney_resp::number::parse_i64;
use coney_resp::{Args, Reply};

use super::option::{int, is};
use super::text::{Chunked, Text, string_of};
use super::{CommandError, Context, Done, Stop};
use crate::notify::Class;

pub(super) mod field;
pub(super) mod operation;

/// The bits of a byte from this one to the last.
const fn from_bit(bit: u64) -> u8 {
    0xff >> (bit % 8)
}

/// Reads the offset of a bit. With `width`, `#n` is the offset of the `n`th integer of that width.
fn bit_offset(ctx: &Context<'_>, arg: &[u8], width: Option<u32>) -> Result<u64, CommandError> {
    let counted = width.zip(arg.strip_prefix(b"#"));
    let offset = match counted {
        Some((width, number)) => {
            parse_i64(number).and_then(|number| number.checked_mul(i64::from(width)))
        }
        None => parse_i64(arg),
    };
    offset
        .and_then(|offset| u64::try_from(offset).ok())
        .filter(|offset| offset / 8 < ctx.exec.engine.value_len_max())
        .ok_or(CommandError::Text("ERR bit offset is not an integer or out of range"))
}

pub(super) fn set_bit(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let key = &args[1];
    let offset = bit_offset(ctx, &args[2], None)?;
    let on = match parse_i64(&args[3]) {
        Some(0) => false,
        Some(1) => true,
        Some(_) | None => {
            return Err(CommandError::Text("ERR bit is not an integer or out of range").into());
        }
    };
    let at = offset / 8;
    let mut edit = ctx.edit_text(key, |_| at..at + 1)?;
    let is_longer = edit.len() <= at;
    let mask = 0x80_u8 >> (offset % 8);
    let mut byte = [0];
    edit.read(at, &mut byte);
    let was_on = byte[0] & mask != 0;
    // What changes nothing is not written.
    if was_on != on || is_longer {
        edit.grow(at + 1);
        if was_on != on {
            edit.write(at, &[byte[0] ^ mask]);
        }
        ctx.finish_text(key, edit);
        ctx.notify(Class::String, "setbit", key);
    } else {
        ctx.drop_text(edit);
    }
    reply.int(i64::from(was_on));
    Ok(())
}

pub(super) fn get_bit(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let offset = bit_offset(ctx, &args[2], None)?;
    let at = offset / 8;
    let byte = ctx.text_part(
        &args[1],
        |len| at.min(len)..(at + 1).min(len),
        |found| found.and_then(|(_, bytes)| bytes.first().copied()).unwrap_or(0),
    )?;
    reply.int(i64::from(byte & (0x80 >> (offset % 8)) != 0));
    Ok(())
}

/// What a range counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Bits,
    Bytes,
}

impl Unit {
    fn parse(arg: Option<&[u8]>) -> Result<Self, CommandError> {
        match arg {
            None => Ok(Self::Bytes),
            Some(arg) if is(arg, "BYTE") => Ok(Self::Bytes),
            Some(arg) if is(arg, "BIT") => Ok(Self::Bits),
            Some(_) => Err(CommandError::Syntax),
        }
    }

    /// The bits from `start` to `end`, both included, of a string of so many bytes; negative ones
    /// count from the end. Empty ranges are `None`.
    fn range(self, len_bytes: u64, start: i64, end: i64) -> Option<Range<u64>> {
        let scale = match self {
            Self::Bits => 1,
            Self::Bytes => 8,
        };
        let len = len_bytes.checked_mul(8 / scale)?;
        let place = |index: i64| {
            u64::try_from(index)
                .unwrap_or_else(|_negative| len.saturating_sub(index.unsigned_abs()))
        };
        let (start, end) = (place(start), place(end).saturating_add(1).min(len));
        (start < end).then_some(start * scale..end * scale)
    }
}

/// The bytes that hold a range of bits, which they do, and the masks of the first and of the last.
fn edges(body: &[u8], bits: &Range<u64>) -> (Range<usize>, u8, u8) {
    let byte = |bit: u64| usize::try_from(bit / 8).unwrap_or(usize::MAX);
    let last = bits.end - 1;
    let bytes = byte(bits.start)..byte(last).saturating_add(1).min(body.len());
    (bytes, from_bit(bits.start), !(0x7f >> (last % 8)))
}

/// How many bits of the range are set.
fn count_ones(body: &[u8], bits: &Range<u64>) -> u64 {
    let (bytes, first, last) = edges(body, bits);
    let bytes = &body[bytes];
    let (words, tail) = bytes.as_chunks::<8>();
    let in_words: u64 =
        words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    let in_tail: u64 = tail.iter().map(|byte| u64::from(byte.count_ones())).sum();
    let outside =
        |byte: Option<&u8>, mask: u8| byte.map_or(0, |byte| u64::from((byte & !mask).count_ones()));
    in_words + in_tail - outside(bytes.first(), first) - outside(bytes.last(), last)
}

/// The first bit of the range that is `wanted`.
fn find_bit(body: &[u8], bits: &Range<u64>, wanted: bool) -> Option<u64> {
    let (bytes, first, _) = edges(body, bits);
    let other = if wanted { 0 } else { 0xff };
    let start = bytes.start;
    let bytes = &body[bytes];
    let (head, rest) = bytes.split_first()?;
    let in_head = (head ^ other) & first;
    let (at, byte) = if in_head == 0 {
        let (words, _) = rest.as_chunks::<8>();
        let skipped = words.iter().take_while(|word| **word == [other; 8]).count() * 8;
        let tail = rest.get(skipped..).unwrap_or_default();
        let at = tail.iter().position(|byte| *byte != other)?;
        (start + 1 + skipped + at, tail[at] ^ other)
    } else {
        (start, in_head)
    };
    let bit = at as u64 * 8 + u64::from(byte.leading_zeros());
    (bit < bits.end).then_some(bit)
}

/// Gets the number of the first bit of a piece, the piece, and which of its bits are meant; whether to
/// go on.
type VisitBits<'v> = dyn FnMut(u64, &[u8], &Range<u64>) -> bool + 'v;

/// Hands bits of a string to `visit`, piece by piece, as long as it wants more. Returns which
/// bits these are, `None` inside if there are none, and `None` if the key is absent.
fn look_through(
    ctx: &mut Context<'_>,
    key: &[u8],
    bits_of: impl FnOnce(u64) -> Option<Range<u64>>,
    visit: &mut VisitBits<'_>,
) -> Result<Option<Option<Range<u64>>>, Stop> {
    enum Step {
        Done(Option<Option<Range<u64>>>),
        Chunked(Chunked, Range<u64>),
    }
    let step = ctx.read(key, |found| {
        let Some(text) = string_of(found)? else { return Ok(Step::Done(None)) };
        let Some(bits) = bits_of(text.len()) else { return Ok(Step::Done(Some(None))) };
        Ok::<_, CommandError>(match text {
            Text::Inline(body) => {
                visit(0, body, &bits);
                Step::Done(Some(Some(bits)))
            }
            Text::Chunked(chunked) => Step::Chunked(chunked, bits),
        })
    })??;
    let (chunked, bits) = match step {
        Step::Done(found) => return Ok(found),
        Step::Chunked(chunked, bits) => (chunked, bits),
    };
    let bytes = bits.start / 8..bits.end.div_ceil(8);
    ctx.pieces(chunked, bytes, &mut |at, piece| {
        let first = at * 8;
        let last = first + piece.len() as u64 * 8;
        visit(first, piece, &(bits.start.max(first) - first..bits.end.min(last) - first))
    })?;
    Ok(Some(Some(bits)))
}

pub(super) fn bit_count(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let range = match args.len() {
        2 => None,
        4 | 5 => Some((int(&args[2])?, int(&args[3])?, Unit::parse(args.get(4))?)),
        _ => return Err(CommandError::Syntax.into()),
    };
    let mut count = 0;
    look_through(
        ctx,
        &args[1],
        |len| match range {
            None => Unit::Bytes.range(len, 0, -1),
            // Both before the beginning are not one byte, but none.
            Some((start, end, _)) if start < 0 && end < 0 && start > end => None,
            Some((start, end, unit)) => unit.range(len, start, end),
        },
        &mut |_, piece, bits| {
            count += count_ones(piece, bits);
            true
        },
    )?;
    reply.int(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(())
}

pub(super) fn bit_pos(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let wanted = match int(&args[2])? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::Text("ERR The bit argument must be 1 or 0.").into()),
    };
    if args.len() > 6 {
        return Err(CommandError::Syntax.into());
    }
    let start = args.get(3).map_or(Ok(0), int)?;
    let unit = Unit::parse(args.get(5))?;
    let end = args.get(4).map(int).transpose()?;
    let mut position = None;
    let found = look_through(
        ctx,
        &args[1],
        |len| unit.range(len, start, end.unwrap_or(-1)),
        &mut |first, piece, bits| {
            position = find_bit(piece, bits, wanted).map(|bit| first + bit);
            position.is_none()
        },
    )?;
    let position = match found {
        // An absent string is endless zeros; an empty range has no bits at all.
        None => (!wanted).then_some(0),
        Some(None) => None,
        Some(Some(bits)) => position.or_else(|| (!wanted && end.is_none()).then_some(bits.end)),
    };
    reply.int(position.and_then(|position| i64::try_from(position).ok()).unwrap_or(-1));
    Ok(())
}

#[cfg(test)]
mod tests;
