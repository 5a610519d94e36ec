//! BITFIELD: integers of any width at any bit of a string, with a choice of what overflows do.

use coney_resp::{Args, Reply};

use super::super::option::{int, is};
use super::super::text::edit::TextEdit;
use super::super::text::{Text, string_of};
use super::super::{CommandError, Context, Done};
use super::bit_offset;
use crate::notify::Class;

/// The type of an integer: `i8`, `u63`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Type {
    is_signed: bool,
    /// From 1 to 64, or to 63 without a sign: replies are signed.
    bits: u32,
}

impl Type {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        let parsed = match arg {
            [b'i', digits @ ..] => int(digits).map(|bits| (true, bits, 64)),
            [b'u', digits @ ..] => int(digits).map(|bits| (false, bits, 63)),
            _ => Err(CommandError::Syntax),
        };
        match parsed {
            Ok((is_signed, bits, most)) if (1..=most).contains(&bits) => {
                Ok(Self { is_signed, bits: u32::try_from(bits).unwrap_or(64) })
            }
            Ok(_) | Err(_) => Err(CommandError::Text(
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not \
                 supported but i64 is.",
            )),
        }
    }

    /// The lowest `bits` bits as a number of this type.
    fn wrap(self, raw: u64) -> i64 {
        let spare = 64 - self.bits;
        let top = raw << spare;
        if self.is_signed { top.cast_signed() >> spare } else { (top >> spare).cast_signed() }
    }

    fn max(self) -> i64 {
        let bits = if self.is_signed { self.bits - 1 } else { self.bits };
        i64::MAX >> (63 - bits)
    }

    fn min(self) -> i64 {
        if self.is_signed { -self.max() - 1 } else { 0 }
    }

    /// Whether `value + by` leaves the type, and in which direction. `value` is a number of this
    /// type, or anything if `by` is 0.
    ///
    /// Redis sums differences within 64 bits, so that a very negative value for a signed type
    /// overflows upwards; this follows it (`checkSignedBitfieldOverflow` in bitops.c).
    fn overflow(self, value: i64, by: i64) -> Option<Direction> {
        let (min, max) = (self.min(), self.max());
        if !self.is_signed {
            // A negative value of SET is a large one.
            let sum = i128::from(value.cast_unsigned()) + i128::from(by);
            return if sum > i128::from(max) {
                Some(Direction::Up)
            } else if sum < 0 {
                Some(Direction::Down)
            } else {
                None
            };
        }
        let (up, down) = (max.wrapping_sub(value), min.wrapping_sub(value));
        if value > max || (self.bits != 64 || (value >= 0 && by > 0)) && by > up {
            Some(Direction::Up)
        } else if value < min || (self.bits != 64 || (value < 0 && by < 0)) && by < down {
            Some(Direction::Down)
        } else {
            None
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Up,
    Down,
}

/// What an integer becomes that leaves its type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

impl Overflow {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        if is(arg, "WRAP") {
            Ok(Self::Wrap)
        } else if is(arg, "SAT") {
            Ok(Self::Saturate)
        } else if is(arg, "FAIL") {
            Ok(Self::Fail)
        } else {
            Err(CommandError::Text("ERR Invalid OVERFLOW type specified"))
        }
    }

    /// `value + by`, or what this makes of it.
    fn add(self, kind: Type, value: i64, by: i64) -> Option<i64> {
        match (kind.overflow(value, by), self) {
            (None, _) | (Some(_), Self::Wrap) => {
                Some(kind.wrap(value.wrapping_add(by).cast_unsigned()))
            }
            (Some(Direction::Up), Self::Saturate) => Some(kind.max()),
            (Some(Direction::Down), Self::Saturate) => Some(kind.min()),
            (Some(_), Self::Fail) => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Get,
    Set(i64, Overflow),
    Increment(i64, Overflow),
}

/// One integer and what happens to it.
#[derive(Clone, Copy, Debug)]
struct Step {
    kind: Type,
    offset: u64,
    action: Action,
}

fn parse(ctx: &Context<'_>, args: Args<'_>) -> Result<Vec<Step>, CommandError> {
    let mut steps = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut at = 2;
    while let Some(word) = args.get(at) {
        let (first, second, third) = (args.get(at + 1), args.get(at + 2), args.get(at + 3));
        if is(word, "OVERFLOW")
            && let Some(name) = first
        {
            overflow = Overflow::parse(name)?;
            at += 2;
            continue;
        }
        let (Some(kind), Some(offset)) = (first, second) else { return Err(CommandError::Syntax) };
        let number = match third {
            _ if is(word, "GET") => None,
            Some(number) if is(word, "SET") || is(word, "INCRBY") => Some(number),
            Some(_) | None => return Err(CommandError::Syntax),
        };
        let kind = Type::parse(kind)?;
        let offset = bit_offset(ctx, offset, Some(kind.bits))?;
        let action = match number.map(int).transpose()? {
            None => Action::Get,
            Some(value) if is(word, "SET") => Action::Set(value, overflow),
            Some(by) => Action::Increment(by, overflow),
        };
        steps.push(Step { kind, offset, action });
        at += if number.is_some() { 4 } else { 3 };
    }
    Ok(steps)
}

/// Bytes that an integer may touch.
const WINDOW_LEN: usize = 9;

/// The bytes from the one of a bit on, zeros after the end of the string.
type Window = [u8; WINDOW_LEN];

/// The bytes of a string that an integer lies in.
fn bytes_of(step: &Step) -> std::ops::Range<u64> {
    step.offset / 8..(step.offset + u64::from(step.kind.bits)).div_ceil(8)
}

fn widen(window: &Window) -> u128 {
    let mut bytes = [0; 16];
    bytes[..WINDOW_LEN].copy_from_slice(window);
    u128::from_be_bytes(bytes)
}

/// The integer that begins in the first byte of a window, at bit `offset % 8`.
fn load(window: &Window, kind: Type, offset: u64) -> i64 {
    let raw = (widen(window) << (offset % 8)) >> (128 - kind.bits);
    kind.wrap(u64::try_from(raw).expect("at most 64 bits are left"))
}

/// Writes the lowest bits of `value` there.
fn save(window: &mut Window, kind: Type, offset: u64, value: i64) {
    let shift = 128 - kind.bits;
    let mask = (u128::MAX << shift) >> (offset % 8);
    let placed = (u128::from(value.cast_unsigned()) << shift) >> (offset % 8);
    let bytes = (widen(window) & !mask | placed & mask).to_be_bytes();
    window.copy_from_slice(&bytes[..WINDOW_LEN]);
}

fn read_window(text: &TextEdit, step: &Step) -> Window {
    let mut window = [0; WINDOW_LEN];
    let bytes = bytes_of(step);
    let len = usize::try_from(bytes.end - bytes.start).unwrap_or(WINDOW_LEN);
    text.read(bytes.start, &mut window[..len]);
    window
}

pub(in super::super) fn bit_field(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let steps = parse(ctx, args)?;
    let ends = steps.iter().filter(|step| !matches!(step.action, Action::Get));
    match ends.map(|step| step.offset + u64::from(step.kind.bits) - 1).max() {
        Some(last) => change(ctx, &args[1], &steps, last, reply),
        None => show(ctx, &args[1], &steps, reply),
    }
}

pub(in super::super) fn bit_field_ro(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let steps = parse(ctx, args)?;
    if steps.iter().any(|step| !matches!(step.action, Action::Get)) {
        let text = "ERR BITFIELD_RO only supports the GET subcommand";
        return Err(CommandError::Text(text).into());
    }
    show(ctx, &args[1], &steps, reply)
}

fn show(ctx: &mut Context<'_>, key: &[u8], steps: &[Step], reply: &mut Reply<'_>) -> Done {
    let chunked = ctx.read(key, |found| {
        let body = match string_of(found)? {
            Some(Text::Chunked(chunked)) => return Ok(Some(chunked)),
            Some(Text::Inline(body)) => body,
            None => b"",
        };
        reply.array(steps.len());
        for step in steps {
            let at = usize::try_from(step.offset / 8).unwrap_or(usize::MAX);
            let there = body.get(at..).unwrap_or_default();
            let there = &there[..there.len().min(WINDOW_LEN)];
            let mut window = [0; WINDOW_LEN];
            window[..there.len()].copy_from_slice(there);
            reply.int(load(&window, step.kind, step.offset));
        }
        Ok::<_, CommandError>(None)
    })??;
    let Some(chunked) = chunked else { return Ok(()) };
    reply.array(steps.len());
    for step in steps {
        let mut window = [0; WINDOW_LEN];
        let mut there = 0;
        ctx.pieces(chunked, bytes_of(step), &mut |_, piece| {
            window[there..there + piece.len()].copy_from_slice(piece);
            there += piece.len();
            true
        })?;
        reply.int(load(&window, step.kind, step.offset));
    }
    Ok(())
}

fn change(
    ctx: &mut Context<'_>,
    key: &[u8],
    steps: &[Step],
    last: u64,
    reply: &mut Reply<'_>,
) -> Done {
    let len = last / 8 + 1;
    let mut text = ctx.edit_text_parts(key, |old_len| {
        // What is only read may lie beyond the end, and does not make the string longer.
        let end = old_len.max(len);
        steps.iter().map(bytes_of).map(|bytes| bytes.start.min(end)..bytes.end.min(end)).collect()
    })?;
    let is_longer = text.len() < len;
    let mut changes = false;
    text.grow(len);
    reply.array(steps.len());
    for step in steps {
        let mut window = read_window(&text, step);
        let before = load(&window, step.kind, step.offset);
        let (after, shown) = match step.action {
            Action::Get => {
                reply.int(before);
                continue;
            }
            Action::Set(value, overflow) => (overflow.add(step.kind, value, 0), Some(before)),
            Action::Increment(by, overflow) => {
                let after = overflow.add(step.kind, before, by);
                (after, after)
            }
        };
        match (after, shown) {
            (Some(after), Some(shown)) => {
                changes |= is_longer || after != before;
                save(&mut window, step.kind, step.offset, after);
                let bytes = bytes_of(step);
                let in_window = usize::try_from(bytes.end - bytes.start).unwrap_or(WINDOW_LEN);
                text.write(bytes.start, &window[..in_window]);
                reply.int(shown);
            }
            (None, _) | (_, None) => reply.null(),
        }
    }
    if !changes && !is_longer {
        ctx.drop_text(text);
        return Ok(());
    }
    ctx.finish_text(key, text);
    // To Redis, a string that only became longer, because all else failed, has not changed.
    if changes {
        ctx.notify(Class::String, "setbit", key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = Type> {
        (any::<bool>(), 1_u32..=64).prop_map(|(is_signed, bits)| Type {
            is_signed,
            bits: if is_signed { bits } else { bits.min(63) },
        })
    }

    #[test]
    fn types_are_read_strictly() {
        assert_eq!(Type::parse(b"u63"), Ok(Type { is_signed: false, bits: 63 }));
        assert_eq!(Type::parse(b"i64"), Ok(Type { is_signed: true, bits: 64 }));
        for wrong in ["u64", "i65", "i0", "u0", "i-1", "8", "", "i", "I8", "u08"] {
            assert!(Type::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn overflows_are_those_of_redis() {
        let i8 = Type { is_signed: true, bits: 8 };
        let u8 = Type { is_signed: false, bits: 8 };
        let i64 = Type { is_signed: true, bits: 64 };
        assert_eq!(Overflow::Wrap.add(i8, 127, 1), Some(-128));
        assert_eq!(Overflow::Saturate.add(i8, -128, -1), Some(-128));
        assert_eq!(Overflow::Fail.add(i8, 127, 1), None);
        assert_eq!(Overflow::Saturate.add(u8, -1, 0), Some(255));
        assert_eq!(Overflow::Saturate.add(u8, 3, -4), Some(0));
        assert_eq!(Overflow::Wrap.add(i64, i64::MAX, 1), Some(i64::MIN));
        assert_eq!(Overflow::Fail.add(i64, i64::MIN, -1), None);
        assert_eq!(Overflow::Fail.add(i64, i64::MIN, i64::MAX), Some(-1));
        assert_eq!(Overflow::Saturate.add(i8, i64::MIN, 0), Some(127));
    }

    proptest! {
        // What could break: an integer across nine bytes, and its neighbours.
        #[test]
        fn an_integer_is_where_it_was_written_and_nowhere_else(
            body: Window,
            kind in kinds(),
            offset in 0_u64..8,
            value: i64,
        ) {
            let mut changed = body;
            save(&mut changed, kind, offset, value);
            prop_assert_eq!(load(&changed, kind, offset), kind.wrap(value.cast_unsigned()));
            let inside = offset..offset + u64::from(kind.bits);
            let bit = |window: &Window, bit: u64| {
                window[usize::try_from(bit / 8).unwrap_or(0)] >> (7 - bit % 8) & 1
            };
            for at in (0..WINDOW_LEN as u64 * 8).filter(|at| !inside.contains(at)) {
                prop_assert_eq!(bit(&changed, at), bit(&body, at));
            }
        }
    }
}
