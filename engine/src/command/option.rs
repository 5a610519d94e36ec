//! Arguments that are not keys or values: numbers, words, deadlines.

use coney_base::UnixMillis;
use coney_resp::Args;
use coney_resp::number::parse_i64;

use super::CommandError;

/// Whether an argument is this word, in any case.
pub(super) fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// A 64-bit integer.
pub(super) fn int(arg: &[u8]) -> Result<i64, CommandError> {
    parse_i64(arg).ok_or(CommandError::NotInteger)
}

/// How many elements a command pops.
pub(super) fn pop_count(arg: &[u8]) -> Result<u64, CommandError> {
    parse_i64(arg)
        .and_then(|count| u64::try_from(count).ok())
        .ok_or(CommandError::Text("ERR value is out of range, must be positive"))
}

/// COUNT of SCAN and its kin.
pub(super) fn scan_count(arg: &[u8]) -> Result<u64, CommandError> {
    u64::try_from(int(arg)?).ok().filter(|count| *count > 0).ok_or(CommandError::Syntax)
}

/// A count that may be negative: then elements may come more than once.
pub(super) fn random_count(arg: &[u8]) -> Result<i64, CommandError> {
    match int(arg)? {
        i64::MIN => Err(CommandError::Text(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        )),
        count => Ok(count),
    }
}

/// A range of names in the order of their bytes, as ZRANGEBYLEX takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LexRange {
    /// The first name; `None`: no name is in the range.
    pub(super) begin: Option<Vec<u8>>,
    /// What follows the last one; `None`: to the end.
    pub(super) end: Option<Vec<u8>>,
}

impl LexRange {
    pub(super) fn parse(min: &[u8], max: &[u8]) -> Result<Self, CommandError> {
        match (Self::bound(min, false), Self::bound(max, true)) {
            (Some(begin), Some(end)) => Ok(Self { begin, end }),
            _ => Err(CommandError::Text("ERR min or max not valid string range item")),
        }
    }

    /// What a range begins with, or what follows its end.
    fn bound(arg: &[u8], is_end: bool) -> Option<Option<Vec<u8>>> {
        match arg {
            b"-" => Some(Some(Vec::new())),
            b"+" => Some(None),
            [kind @ (b'[' | b'('), name @ ..] => {
                let mut name = name.to_vec();
                if (*kind == b'(') != is_end {
                    // The one that follows.
                    name.push(0);
                }
                Some(Some(name))
            }
            _ => None,
        }
    }

    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.begin.as_deref().is_some_and(|begin| begin <= name)
            && self.end.as_deref().is_none_or(|end| name < end)
    }
}

/// Which of a range are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// So many are passed over.
    pub(super) offset: u64,
    /// So many follow at most.
    pub(super) count: u64,
}

impl Window {
    pub(super) const ALL: Self = Self { offset: 0, count: u64::MAX };

    /// LIMIT: a negative offset is behind everything, a negative count is all that follow.
    pub(super) fn limit(offset: i64, count: i64) -> Self {
        let Ok(offset) = u64::try_from(offset) else { return Self { offset: 0, count: 0 } };
        Self { offset, count: u64::try_from(count).unwrap_or(u64::MAX) }
    }

    /// Hands on what is in the window, which has room for one at least, of what is visited.
    pub(super) fn of(
        self,
        visit: &mut dyn FnMut(f64, &[u8]) -> bool,
    ) -> impl FnMut(f64, &[u8]) -> bool {
        let Self { mut offset, mut count } = self;
        move |score, member| {
            if offset > 0 {
                offset -= 1;
                return true;
            }
            count -= 1;
            visit(score, member) && count > 0
        }
    }
}

/// The number of a database that exists.
pub(super) fn database(arg: &[u8], count: u16) -> Result<u16, CommandError> {
    let index = int(arg)?;
    if i32::try_from(index).is_err() {
        return Err(CommandError::Text(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ));
    }
    u16::try_from(index).ok().filter(|number| *number < count).ok_or(CommandError::DbIndex)
}

/// A deadline as the client wrote it: EX, PX, EXAT or PXAT and a number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline<'a> {
    unit: Unit,
    /// Counted from 1970, not from now.
    pub(super) is_absolute: bool,
    number: &'a [u8],
}

/// Of a deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    Seconds,
    Millis,
}

impl<'a> Deadline<'a> {
    /// So long from now.
    pub(super) fn after(unit: Unit, number: &'a [u8]) -> Self {
        Self { unit, is_absolute: false, number }
    }

    fn named(option: &[u8], number: &'a [u8]) -> Option<Self> {
        let (unit, is_absolute) = if is(option, "EX") {
            (Unit::Seconds, false)
        } else if is(option, "PX") {
            (Unit::Millis, false)
        } else if is(option, "EXAT") {
            (Unit::Seconds, true)
        } else if is(option, "PXAT") {
            (Unit::Millis, true)
        } else {
            return None;
        };
        Some(Self { unit, is_absolute, number })
    }

    /// The moment, which must be after 1970 and within 63 bits of milliseconds.
    pub(super) fn resolve(self, now: UnixMillis) -> Result<UnixMillis, CommandError> {
        let number = int(self.number)?;
        if number <= 0 {
            return Err(CommandError::InvalidExpire);
        }
        let moment = moment(number, self.unit, self.is_absolute, now)?;
        u64::try_from(moment).map(UnixMillis).map_err(|_negative| CommandError::InvalidExpire)
    }
}

/// Milliseconds since 1970, possibly before it.
pub(super) fn moment(
    number: i64,
    unit: Unit,
    is_absolute: bool,
    now: UnixMillis,
) -> Result<i64, CommandError> {
    let millis = match unit {
        Unit::Seconds => number.checked_mul(1000),
        Unit::Millis => Some(number),
    };
    let base = if is_absolute { 0 } else { i64::try_from(now.0).unwrap_or(i64::MAX) };
    millis.and_then(|millis| millis.checked_add(base)).ok_or(CommandError::InvalidExpire)
}

/// When SET writes at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Condition {
    Absent,
    Present,
}

/// What becomes of a deadline.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Ttl<'a> {
    /// Nothing was said.
    #[default]
    Unsaid,
    Keep,
    Remove,
    Set(Deadline<'a>),
}

/// Options of SET.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SetOptions<'a> {
    pub(super) condition: Option<Condition>,
    pub(super) get: bool,
    pub(super) ttl: Ttl<'a>,
}

impl<'a> SetOptions<'a> {
    /// Reads options; an option may be repeated, but not contradicted.
    pub(super) fn parse(options: Args<'a>) -> Result<Self, CommandError> {
        let mut parsed = Self::default();
        let mut at = 0;
        while let Some(option) = options.get(at) {
            at += 1;
            if is(option, "NX") && parsed.condition != Some(Condition::Present) {
                parsed.condition = Some(Condition::Absent);
            } else if is(option, "XX") && parsed.condition != Some(Condition::Absent) {
                parsed.condition = Some(Condition::Present);
            } else if is(option, "GET") {
                parsed.get = true;
            } else if is(option, "KEEPTTL") && matches!(parsed.ttl, Ttl::Unsaid | Ttl::Keep) {
                parsed.ttl = Ttl::Keep;
            } else {
                parsed.ttl = deadline_option(parsed.ttl, option, options.get(at))?;
                at += 1;
            }
        }
        Ok(parsed)
    }
}

/// Options of GETEX.
pub(super) fn parse_get_ex(options: Args<'_>) -> Result<Ttl<'_>, CommandError> {
    let mut ttl = Ttl::Unsaid;
    let mut at = 0;
    while let Some(option) = options.get(at) {
        at += 1;
        if is(option, "PERSIST") && matches!(ttl, Ttl::Unsaid | Ttl::Remove) {
            ttl = Ttl::Remove;
        } else {
            ttl = deadline_option(ttl, option, options.get(at))?;
            at += 1;
        }
    }
    Ok(ttl)
}

fn deadline_option<'a>(
    before: Ttl<'a>,
    option: &[u8],
    number: Option<&'a [u8]>,
) -> Result<Ttl<'a>, CommandError> {
    let deadline =
        Deadline::named(option, number.ok_or(CommandError::Syntax)?).ok_or(CommandError::Syntax)?;
    match before {
        Ttl::Unsaid => Ok(Ttl::Set(deadline)),
        Ttl::Set(other)
            if (other.unit, other.is_absolute) == (deadline.unit, deadline.is_absolute) =>
        {
            Ok(Ttl::Set(deadline))
        }
        Ttl::Set(_) | Ttl::Keep | Ttl::Remove => Err(CommandError::Syntax),
    }
}
