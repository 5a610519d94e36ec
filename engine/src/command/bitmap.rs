//! Strings as arrays of bits. Pages: <https://redis.io/docs/latest/commands/?group=bitmap>.
//!
//! Bit 0 is the highest bit of the first byte. Integers of any width among them are in [`field`],
//! operations on several strings in [`operation`].

use std::ops::Range;

use coney_resp::number::parse_i64;
use coney_resp::{Args, Reply};

use super::option::{int, is};
use super::{CommandError, Context, Done, Old, Stop, string_body};
use crate::meta::Header;
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

/// Loads a string for writing and lengthens it so that it has the bit `last`; whether it had to,
/// because what changes nothing is not written.
fn load_up_to(ctx: &mut Context<'_>, key: &[u8], last: u64) -> Result<(Old, bool), Stop> {
    let old = ctx.load_for_write(key)?;
    string_body(old.live.map(|header| (header, &b""[..])))?;
    let len = usize::try_from(last / 8 + 1).map_err(|_too_long| CommandError::StringTooLong)?;
    let value = &mut ctx.exec.value;
    let is_longer = value.len() < len;
    if is_longer {
        value.resize(len, 0);
    }
    Ok((old, is_longer))
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
    let (old, is_longer) = load_up_to(ctx, key, offset)?;
    let mask = 0x80_u8 >> (offset % 8);
    let at = usize::try_from(offset / 8).map_err(|_too_long| CommandError::StringTooLong)?;
    let byte = &mut ctx.exec.value[at];
    let was_on = *byte & mask != 0;
    *byte = if on { *byte | mask } else { *byte & !mask };
    if was_on != on || is_longer {
        let table = ctx.table();
        ctx.put_loaded(table, key, old, &old.live.unwrap_or(Header::STRING), b"");
        ctx.notify(Class::String, "setbit", key);
    }
    reply.int(i64::from(was_on));
    Ok(())
}

pub(super) fn get_bit(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let offset = bit_offset(ctx, &args[2], None)?;
    let byte = ctx.read(&args[1], |found| {
        let at = usize::try_from(offset / 8).unwrap_or(usize::MAX);
        string_body(found).map(|body| body.and_then(|body| body.get(at)).copied().unwrap_or(0))
    })??;
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
    fn range(self, body_len: usize, start: i64, end: i64) -> Option<Range<u64>> {
        let scale = match self {
            Self::Bits => 1,
            Self::Bytes => 8,
        };
        let len = u64::try_from(body_len).ok()?.checked_mul(8 / scale)?;
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

pub(super) fn bit_count(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let range = match args.len() {
        2 => None,
        4 | 5 => Some((int(&args[2])?, int(&args[3])?, Unit::parse(args.get(4))?)),
        _ => return Err(CommandError::Syntax.into()),
    };
    let count = ctx.read(&args[1], |found| {
        let body = string_body(found)?.unwrap_or_default();
        let bits = match range {
            None => Unit::Bytes.range(body.len(), 0, -1),
            // Both before the beginning are not one byte, but none.
            Some((start, end, _)) if start < 0 && end < 0 && start > end => None,
            Some((start, end, unit)) => unit.range(body.len(), start, end),
        };
        Ok::<_, CommandError>(bits.map_or(0, |bits| count_ones(body, &bits)))
    })??;
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
    let position = ctx.read(&args[1], |found| {
        // An absent string is endless zeros; an empty range has no bits at all.
        let Some(body) = string_body(found)? else { return Ok((!wanted).then_some(0)) };
        let Some(bits) = unit.range(body.len(), start, end.unwrap_or(-1)) else { return Ok(None) };
        let past_end = (!wanted && end.is_none()).then_some(bits.end);
        Ok::<_, CommandError>(find_bit(body, &bits, wanted).or(past_end))
    })??;
    reply.int(position.and_then(|position| i64::try_from(position).ok()).unwrap_or(-1));
    Ok(())
}

#[cfg(test)]
mod tests;
