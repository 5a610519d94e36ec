//! The incremental request parser.
//!
//! The caller owns the bytes. [`Parser::next`] looks at the unconsumed bytes of a connection and
//! either delimits one command or says that it needs more. It never copies an argument and, while
//! a command is incomplete, remembers how far it got, so that a command that arrives in many small
//! segments costs time linear in its length. The result never depends on where segments split.
//!
//! Rules and error texts are those of Redis 7.2 (`processMultibulkBuffer`, `processInlineBuffer`
//! in `networking.c`), with one difference: the number of arguments is limited to
//! [`ARGS_MAX`], as in Redis before 7.0, because each costs memory before it arrives.

use crate::args::{ArgRange, Args, len_u32};
use crate::inline;
use crate::number::parse_i64;

/// Most arguments of one command.
pub const ARGS_MAX: i64 = 1024 * 1024;
/// Longest inline command, and longest line that holds a count or a length, in bytes.
pub const INLINE_LEN_MAX: usize = 64 * 1024;
/// Most arguments of a command before the client has authenticated.
pub const UNAUTHENTICATED_ARGS_MAX: i64 = 10;
/// Longest argument before the client has authenticated, in bytes.
pub const UNAUTHENTICATED_BULK_LEN_MAX: i64 = 16 * 1024;

/// Limits that depend on configuration or on the connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `proto-max-bulk-len`: longest argument in bytes, at most 4 GiB - 1.
    pub bulk_len_max: u32,
    /// The client has authenticated or need not; otherwise the `UNAUTHENTICATED_` limits hold.
    pub authenticated: bool,
}

/// The peer broke the protocol. Its connection ends after this error is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// An inline command without an end.
    #[error("too big inline request")]
    InlineTooBig,
    /// A quote left open in an inline command.
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    /// A line for the argument count without an end.
    #[error("too big mbulk count string")]
    CountTooBig,
    /// The argument count is no number or out of range.
    #[error("invalid multibulk length")]
    InvalidCount,
    /// Too many arguments for a client that has not authenticated.
    #[error("unauthenticated multibulk length")]
    UnauthenticatedCount,
    /// A line for an argument's length without an end.
    #[error("too big bulk count string")]
    BulkTooBig,
    /// An argument does not start with `$`.
    #[error("expected '$', got '{}'", .0.escape_ascii())]
    ExpectedDollar(u8),
    /// An argument's length is no number or out of range.
    #[error("invalid bulk length")]
    InvalidBulk,
    /// An argument too long for a client that has not authenticated.
    #[error("unauthenticated bulk length")]
    UnauthenticatedBulk,
}

/// What [`Parser::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One command; its arguments are [`Scratch::args`] of the same bytes. The next command
    /// starts `consumed` bytes further.
    Command {
        /// Length of the command in bytes.
        consumed: usize,
    },
    /// Nothing to execute (an empty line, `*0`); go on `consumed` bytes further.
    Nothing {
        /// Bytes to skip.
        consumed: usize,
    },
    /// More bytes are needed; call again with the same bytes and what follows them.
    Incomplete,
}

/// Where the parser puts arguments. One per worker: it is reused, so that parsing allocates
/// nothing once it has grown.
#[derive(Debug, Default)]
pub struct Scratch {
    ranges: Vec<ArgRange>,
    inline: Vec<u8>,
    is_inline: bool,
}

impl Scratch {
    /// The arguments of the command that [`Parser::next`] just found in `buf`.
    pub fn args<'a>(&'a self, buf: &'a [u8]) -> Args<'a> {
        Args::new(if self.is_inline { &self.inline } else { buf }, &self.ranges)
    }
}

/// Per-connection parser state: one pointer while no command is half received.
#[derive(Debug, Default)]
pub struct Parser {
    partial: Option<Box<Partial>>,
}

/// How far an incomplete command was parsed, relative to its first byte.
#[derive(Debug, Default)]
struct Partial {
    /// Offset of the first byte not yet understood.
    at: usize,
    /// Arguments still to come.
    missing: usize,
    /// Length of the argument at `at`, once its header was read.
    bulk_len: Option<usize>,
    ranges: Vec<ArgRange>,
}

impl Parser {
    /// Looks for one command at the start of `buf`.
    ///
    /// After [`Step::Incomplete`] the next call must start at the same byte; after the other steps
    /// it starts `consumed` bytes further. `buf` must stay below 4 GiB.
    ///
    /// # Errors
    /// [`ProtocolError`]: the stream is beyond repair.
    pub fn next(
        &mut self,
        buf: &[u8],
        limits: Limits,
        scratch: &mut Scratch,
    ) -> Result<Step, ProtocolError> {
        scratch.is_inline = false;
        scratch.ranges.clear();
        let mut partial = Partial::default();
        match self.partial.take() {
            Some(mut resumed) => {
                std::mem::swap(&mut scratch.ranges, &mut resumed.ranges);
                partial = *resumed;
            }
            None => match buf.first() {
                None => return Ok(Step::Incomplete),
                Some(b'*') => {
                    let Some((count, at)) = count_line(buf)? else {
                        return Ok(Step::Incomplete);
                    };
                    if count <= 0 {
                        return Ok(Step::Nothing { consumed: at });
                    }
                    if !limits.authenticated && count > UNAUTHENTICATED_ARGS_MAX {
                        return Err(ProtocolError::UnauthenticatedCount);
                    }
                    partial.at = at;
                    partial.missing = usize::try_from(count).unwrap_or(usize::MAX);
                }
                Some(_) => return inline_command(buf, scratch),
            },
        }
        if partial.parse_bulks(buf, limits, &mut scratch.ranges)? {
            return Ok(Step::Command { consumed: partial.at });
        }
        std::mem::swap(&mut scratch.ranges, &mut partial.ranges);
        self.partial = Some(Box::new(partial));
        Ok(Step::Incomplete)
    }

    /// How many bytes of `buf` the half-received command needs at least before it is worth calling
    /// [`Parser::next`] again; lets the caller size its buffer. Zero if unknown.
    pub fn wanted_len(&self) -> usize {
        match self.partial.as_deref() {
            Some(Partial { at, bulk_len: Some(len), .. }) => at.saturating_add(*len) + 2,
            _ => 0,
        }
    }

    /// Whether a command is half received: the next call goes on with it.
    pub fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Heap bytes that a half-received command holds here.
    pub fn heap_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            size_of::<Partial>() + partial.ranges.capacity() * size_of::<ArgRange>()
        })
    }
}

impl Partial {
    /// Reads arguments until all are there (`true`) or the bytes end (`false`).
    fn parse_bulks(
        &mut self,
        buf: &[u8],
        limits: Limits,
        ranges: &mut Vec<ArgRange>,
    ) -> Result<bool, ProtocolError> {
        while self.missing > 0 {
            let len = match self.bulk_len {
                Some(len) => len,
                None => {
                    let rest = buf.get(self.at..).unwrap_or_default();
                    let Some((len, header_len)) = bulk_header(rest, limits)? else {
                        return Ok(false);
                    };
                    self.at += header_len;
                    self.bulk_len = Some(len);
                    len
                }
            };
            let end = self.at + len;
            // Like Redis, take the two bytes after an argument for CRLF without looking.
            if buf.len() < end + 2 {
                return Ok(false);
            }
            ranges.push(ArgRange { start: len_u32(self.at), len: len_u32(len) });
            self.at = end + 2;
            self.bulk_len = None;
            self.missing -= 1;
        }
        Ok(true)
    }
}

/// Reads `*<count>\r\n`: the count and the line's length.
fn count_line(buf: &[u8]) -> Result<Option<(i64, usize)>, ProtocolError> {
    let Some((digits, len)) = line(buf) else {
        return if buf.len() > INLINE_LEN_MAX { Err(ProtocolError::CountTooBig) } else { Ok(None) };
    };
    match parse_i64(digits) {
        Some(count) if count <= ARGS_MAX => Ok(Some((count, len))),
        _ => Err(ProtocolError::InvalidCount),
    }
}

/// Reads `$<len>\r\n`: the argument's length and the header's own.
fn bulk_header(buf: &[u8], limits: Limits) -> Result<Option<(usize, usize)>, ProtocolError> {
    // The common case first: one or two digits.
    match buf {
        [b'$', a @ b'0'..=b'9', b'\r', _, ..] => return Ok(Some((usize::from(a - b'0'), 4))),
        [b'$', a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', _, ..] => {
            return Ok(Some((usize::from(a - b'0') * 10 + usize::from(b - b'0'), 5)));
        }
        _ => {}
    }
    let Some((digits, header_len)) = line(buf) else {
        return if buf.len() > INLINE_LEN_MAX { Err(ProtocolError::BulkTooBig) } else { Ok(None) };
    };
    match buf.first() {
        Some(b'$') => {}
        Some(other) => return Err(ProtocolError::ExpectedDollar(*other)),
        None => return Ok(None),
    }
    match parse_i64(digits) {
        Some(len) if (0..=i64::from(limits.bulk_len_max)).contains(&len) => {
            if !limits.authenticated && len > UNAUTHENTICATED_BULK_LEN_MAX {
                return Err(ProtocolError::UnauthenticatedBulk);
            }
            let len = usize::try_from(len).expect("checked not to be negative");
            Ok(Some((len, header_len)))
        }
        _ => Err(ProtocolError::InvalidBulk),
    }
}

/// A line that ends in CR and any byte: what lies between its first byte and the CR, and its
/// length with both end bytes. `None`: the end has not arrived within the allowed length.
fn line(buf: &[u8]) -> Option<(&[u8], usize)> {
    let window = buf.get(..INLINE_LEN_MAX.min(buf.len()))?;
    let cr = memchr::memchr(b'\r', window)?;
    (buf.len() >= cr + 2).then(|| (buf.get(1..cr).unwrap_or_default(), cr + 2))
}

fn inline_command(buf: &[u8], scratch: &mut Scratch) -> Result<Step, ProtocolError> {
    let window = &buf[..INLINE_LEN_MAX.min(buf.len())];
    let Some(newline) = memchr::memchr(b'\n', window) else {
        return if buf.len() > INLINE_LEN_MAX {
            Err(ProtocolError::InlineTooBig)
        } else {
            Ok(Step::Incomplete)
        };
    };
    let text = &buf[..newline];
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    scratch.is_inline = true;
    scratch.inline.clear();
    if inline::split(text, &mut scratch.inline, &mut scratch.ranges).is_err() {
        return Err(ProtocolError::UnbalancedQuotes);
    }
    let consumed = newline + 1;
    Ok(if scratch.ranges.is_empty() {
        Step::Nothing { consumed }
    } else {
        Step::Command { consumed }
    })
}

#[cfg(test)]
mod tests;
