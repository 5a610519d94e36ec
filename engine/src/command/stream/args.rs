//! Ids and trimming as clients write them.

use coney_resp::Args;

use crate::command::CommandError;
use crate::command::option::{int, is};
use crate::stream::StreamId;

const INVALID: CommandError =
    CommandError::Text("ERR Invalid stream ID specified as stream command argument");
/// Longest text of an id.
const ID_LEN_MAX: usize = 127;

/// What `strtoull` reads: Redis takes zeros, spaces and a plus in front.
fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// An id whose sequence number may be missing: then it is `missing_seq`.
pub(super) fn strict_id(text: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    if text.len() > ID_LEN_MAX {
        return Err(INVALID);
    }
    let (ms, seq) = match text.iter().position(|byte| *byte == b'-') {
        None => (text, None),
        Some(at) => {
            let (ms, rest) = text.split_at(at);
            (ms, rest.get(1..))
        }
    };
    let ms = number(ms).ok_or(INVALID)?;
    let seq = seq.map_or(Some(missing_seq), number).ok_or(INVALID)?;
    Ok(StreamId { ms, seq })
}

/// The same, or `-` or `+` for the smallest or the largest one.
pub(super) fn any_id(text: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        text => strict_id(text, missing_seq),
    }
}

/// All arguments as ids.
pub(super) fn ids(args: Args<'_>) -> Result<Vec<StreamId>, CommandError> {
    args.iter().map(|text| strict_id(text, 0)).collect()
}

/// The beginning of an interval; `(` leaves the id itself out.
pub(super) fn interval_start(text: &[u8]) -> Result<StreamId, CommandError> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => strict_id(id, 0)?
            .next()
            .ok_or(CommandError::Text("ERR invalid start ID for the interval")),
        text => any_id(text, 0),
    }
}

/// The end of an interval, which is part of it unless `(` leaves it out.
pub(super) fn interval_end(text: &[u8]) -> Result<StreamId, CommandError> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => strict_id(id, u64::MAX)?
            .previous()
            .ok_or(CommandError::Text("ERR invalid end ID for the interval")),
        text => any_id(text, u64::MAX),
    }
}

/// What is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Strategy {
    /// The first ones, so that so many remain.
    MaxLen(u64),
    /// Those before this one.
    MinId(StreamId),
}

/// How a stream is trimmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Trim {
    pub(super) strategy: Strategy,
    /// Only whole blocks of entries.
    pub(super) is_approximate: bool,
    /// Entries that are removed at most; 0: any number; `None`: it does not say.
    pub(super) limit: Option<u64>,
}

/// The id that XADD asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NewId {
    /// `*`
    Auto,
    /// `ms-*`
    AutoSeq(u64),
    /// This one.
    Given(StreamId),
}

/// Options of XADD and XTRIM.
#[derive(Clone, Copy, Debug)]
pub(super) struct AddOptions {
    pub(super) trim: Option<Trim>,
    pub(super) makes_stream: bool,
    pub(super) id: NewId,
    /// Index of the argument behind the id.
    pub(super) fields_at: usize,
}

fn new_id(text: &[u8]) -> Result<NewId, CommandError> {
    match text {
        b"*" => Ok(NewId::Auto),
        [ms @ .., b'-', b'*'] if text.len() <= ID_LEN_MAX && !ms.contains(&b'-') => {
            number(ms).map(NewId::AutoSeq).ok_or(INVALID)
        }
        text => strict_id(text, 0).map(NewId::Given),
    }
}

/// Reads the options of XADD (`is_add`) or XTRIM.
pub(super) fn add_options(args: Args<'_>, is_add: bool) -> Result<AddOptions, CommandError> {
    let mut options =
        AddOptions { trim: None, makes_stream: true, id: NewId::Auto, fields_at: args.len() + 1 };
    let (mut strategy, mut is_approximate, mut limit) = (None, false, None);
    let mut at = 2;
    while let Some(option) = args.get(at) {
        let value = args.get(at + 1);
        match value {
            Some(_) if is(option, "MAXLEN") || is(option, "MINID") => {
                if strategy.is_some() {
                    return Err(CommandError::Text(
                        "ERR syntax error, MAXLEN and MINID options at the same time are not \
                         compatible",
                    ));
                }
                let is_marked = matches!(value, Some(b"~" | b"=")) && args.len() - at > 2;
                is_approximate = is_marked && value == Some(b"~");
                at += 1 + usize::from(is_marked);
                let value = args.get(at).ok_or(CommandError::Syntax)?;
                strategy = Some(if is(option, "MAXLEN") {
                    let count = u64::try_from(int(value)?).map_err(|_negative| {
                        CommandError::Text("ERR The MAXLEN argument must be >= 0.")
                    })?;
                    Strategy::MaxLen(count)
                } else {
                    Strategy::MinId(strict_id(value, 0)?)
                });
            }
            Some(value) if is(option, "LIMIT") => {
                limit = Some(u64::try_from(int(value)?).map_err(|_negative| {
                    CommandError::Text("ERR The LIMIT argument must be >= 0.")
                })?);
                at += 1;
            }
            _ if is_add && is(option, "NOMKSTREAM") => options.makes_stream = false,
            _ if is_add => {
                options.id = new_id(option)?;
                options.fields_at = at + 1;
                break;
            }
            _ => return Err(CommandError::Syntax),
        }
        at += 1;
    }
    let Some(strategy) = strategy else {
        if limit.is_some_and(|limit| limit > 0) {
            return Err(CommandError::Text(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        if !is_add {
            return Err(CommandError::Text(
                "ERR syntax error, XTRIM must be called with a trimming strategy",
            ));
        }
        if limit.is_some() {
            return Err(LIMIT_WITHOUT_APPROXIMATE);
        }
        return Ok(options);
    };
    if limit.is_some() && !is_approximate {
        return Err(LIMIT_WITHOUT_APPROXIMATE);
    }
    let limit = if is_approximate { limit } else { Some(0) };
    options.trim = Some(Trim { strategy, is_approximate, limit });
    Ok(options)
}

const LIMIT_WITHOUT_APPROXIMATE: CommandError =
    CommandError::Text("ERR syntax error, LIMIT cannot be used without the special ~ option");
