//! The key space as a whole.
//!
//! KEYS, SCAN and RANDOMKEY run on the I/O pool and see committed data. A table's keys lie in the
//! order of slot and hash, see [`crate::key`]; both together are a key's *position*, and a SCAN
//! cursor is the position to go on at. So a cursor needs no memory on the server and survives a
//! restart, and a key that is there from the first call to the last is returned exactly once:
//! nothing that others do moves it. Keys of one position are always returned together.

use coney_base::glob;
use coney_resp::number::parse_i64;
use coney_resp::{Args, Reply};
use rocksdb::DBRawIterator;

use super::option::{is, scan_count};
use super::{CommandError, Context, Done, SlowContext, Stop};
use crate::batch::Family;
use crate::databases::Exchange;
use crate::key::{META_PREFIX_LEN, MetaKey, SLOTS};
use crate::meta::Header;
use crate::store::StoreError;
use crate::tenant::BOUND;
use crate::watch::{State, Watch};

/// Keys that a call of SCAN looks at, if it does not say COUNT.
const SCAN_COUNT_DEFAULT: u64 = 10;
/// SCAN ends a call early when its reply is so long: COUNT is a hint.
const SCAN_REPLY_BYTES_MAX: usize = 16 << 20;
/// KEYS fails when its reply would be longer: use SCAN.
const KEYS_REPLY_BYTES_MAX: usize = 512 << 20;
/// Keys among which RANDOMKEY chooses: those that follow a random position.
const RANDOM_KEYS_MAX: usize = 16;
/// Expired keys that RANDOMKEY passes over before it replies nil.
const RANDOM_EXPIRED_MAX: usize = 10_000;

pub(super) fn dbsize(ctx: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let table = ctx.table();
    reply.int(ctx.exec.keys_count(table)?);
    Ok(())
}

pub(super) fn flushdb(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let table = ctx.table();
    flush(ctx, args, table..table + 1, reply)
}

pub(super) fn flushall(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if ctx.client.bound_table().is_some() {
        return Err(BOUND.into());
    }
    // Tables of an earlier configuration included.
    let tables = u16::try_from(ctx.exec.engine.counts.tables()).unwrap_or(u16::MAX);
    flush(ctx, args, 0..tables, reply)
}

/// ASYNC and SYNC are the same: a range is deleted with one record.
fn flush(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    tables: std::ops::Range<u16>,
    reply: &mut Reply<'_>,
) -> Done {
    match args.get(1) {
        None => {}
        Some(mode) if args.len() == 2 && (is(mode, "ASYNC") || is(mode, "SYNC")) => {}
        Some(_) => return Err(CommandError::Syntax.into()),
    }
    ctx.exec.empty_tables(tables)?;
    reply.ok();
    Ok(())
}

pub(super) fn swapdb(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (first, second) = numbers_of(args, ctx.exec.engine.tables())?;
    if ctx.client.bound_table().is_some() {
        return Err(BOUND.into());
    }
    if first != second {
        let mut watched = Vec::new();
        // EXEC may be rehearsed on the pool, but never built there with this in it.
        if ctx.exec.is_worker() {
            ctx.exec.work_alone()?;
            for (database, other) in [(first, second), (second, first)] {
                for watch in ctx.exec.engine.watches.of(&(database..=database)) {
                    let state = state_in(ctx, &watch, other)?;
                    watched.push((watch, state));
                }
            }
        }
        ctx.exec.exchange(first, second, watched);
    }
    ctx.client.table = ctx.exec.table_of(ctx.client.database);
    reply.ok();
    Ok(())
}

/// How a watched key is found once its database is the `other` (`touchAllWatchedKeysInDb` in Redis).
fn state_in(ctx: &mut Context<'_>, watch: &Watch, other: u16) -> Result<State, Stop> {
    let state = watch.state();
    let (State::Absent | State::Expired, Some(key)) = (state, MetaKey::parse(&watch.key)) else {
        return Ok(State::Touched);
    };
    let table = ctx.exec.table_of(other);
    let old = ctx.for_write_in(table, key.user_key)?;
    Ok(match (old.stored, old.live) {
        (None, _) => State::Absent,
        (Some(_), None) => State::Expired,
        (Some(_), Some(_)) => State::Touched,
    })
}

fn numbers_of(args: Args<'_>, databases: u16) -> Result<(u16, u16), CommandError> {
    let number = |at: usize, text| parse_i64(&args[at]).ok_or(CommandError::Text(text));
    let first = number(1, "ERR invalid first DB index")?;
    let second = number(2, "ERR invalid second DB index")?;
    let database = |number: i64| {
        let number = u16::try_from(number).ok().filter(|number| *number < databases);
        number.ok_or(CommandError::DbIndex)
    };
    Ok((database(first)?, database(second)?))
}

/// What SWAPDB would exchange, for EXEC.
pub(super) fn exchange_of(args: Args<'_>, databases: u16) -> Result<Exchange, CommandError> {
    let (first, second) = numbers_of(args, databases)?;
    Ok(Exchange::new(first, second))
}

pub(super) fn keys(
    ctx: &SlowContext<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let pattern = &args[1];
    let mut found = Found::default();
    let mut walk = Walk::start(ctx, 0);
    while let Some((key, header)) = walk.here()? {
        if !header.is_expired(ctx.now) && glob::matches(pattern, key.user_key, false) {
            found.push(key.user_key);
        }
        if found.bytes.len() > KEYS_REPLY_BYTES_MAX {
            return Err(CommandError::Text(
                "ERR the reply of KEYS would be longer than 512 MiB. Use SCAN",
            ));
        }
        walk.advance();
    }
    found.reply(reply);
    Ok(())
}

struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    count: u64,
}

impl<'a> ScanOptions<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut options = Self { pattern: None, kind: None, count: SCAN_COUNT_DEFAULT };
        let mut at = 2;
        while let Some(option) = args.get(at) {
            let value = args.get(at + 1).ok_or(CommandError::Syntax)?;
            if is(option, "COUNT") {
                options.count = scan_count(value)?;
            } else if is(option, "MATCH") {
                options.pattern = Some(value).filter(|pattern| *pattern != b"*");
            } else if is(option, "TYPE") {
                options.kind = Some(value);
            } else {
                return Err(CommandError::Syntax);
            }
            at += 2;
        }
        Ok(options)
    }

    fn accepts(&self, key: &MetaKey<'_>, header: &Header) -> bool {
        self.kind.is_none_or(|kind| is(kind, header.kind.name()))
            && self.pattern.is_none_or(|pattern| glob::matches(pattern, key.user_key, false))
    }
}

pub(super) fn scan(
    ctx: &SlowContext<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let cursor = cursor(&args[1])?;
    let options = ScanOptions::parse(args)?;
    let mut found = Found::default();
    let mut walk = Walk::start(ctx, cursor);
    let mut looked_at = 0;
    let mut last = None;
    let mut next = 0;
    while let Some((key, header)) = walk.here()? {
        let position = key.position();
        let is_enough = looked_at >= options.count || found.bytes.len() >= SCAN_REPLY_BYTES_MAX;
        if is_enough && last != Some(position) {
            next = position;
            break;
        }
        if !header.is_expired(ctx.now) && options.accepts(&key, &header) {
            found.push(key.user_key);
        }
        last = Some(position);
        looked_at += 1;
        walk.advance();
    }
    reply.array(2);
    let mut digits = itoa::Buffer::new();
    reply.bulk(digits.format(next).as_bytes());
    found.reply(reply);
    Ok(())
}

/// A cursor, which is any number of 64 bits.
pub(super) fn cursor(arg: &[u8]) -> Result<u64, CommandError> {
    let text = std::str::from_utf8(arg).map_err(|_not_text| CommandError::InvalidCursor)?;
    match text {
        "" => Ok(0),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map_err(|_too_large| CommandError::InvalidCursor)
        }
        // `strtoul` wraps negative numbers round.
        _ => parse_i64(arg).map(i64::cast_unsigned).ok_or(CommandError::InvalidCursor),
    }
}

/// A key's neighbours on disk have nothing to do with its name, so those that follow a random
/// position are a fair sample; choosing one of several evens out the gaps between positions.
pub(super) fn random_key(
    ctx: &SlowContext<'_>,
    _: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let start = ctx.random % (u64::from(SLOTS) << 32);
    let mut keys: Vec<Vec<u8>> = Vec::new();
    let mut expired_count = 0;
    // Round once: from the start to the end, and from the beginning to the start.
    for (from, end) in [(start, u64::MAX), (0, start)] {
        let mut walk = Walk::start(ctx, from);
        while let Some((key, header)) = walk.here()?
            && key.position() < end
            && keys.len() < RANDOM_KEYS_MAX
            && expired_count < RANDOM_EXPIRED_MAX
        {
            if header.is_expired(ctx.now) {
                expired_count += 1;
            } else {
                keys.push(key.user_key.to_vec());
            }
            walk.advance();
        }
    }
    let choice = (ctx.random >> 48) % (keys.len().max(1) as u64);
    match usize::try_from(choice).ok().and_then(|choice| keys.get(choice)) {
        Some(key) => reply.bulk(key),
        None => reply.null(),
    }
    Ok(())
}

/// Keys found so far, as a part of a reply.
#[derive(Default)]
struct Found {
    count: usize,
    bytes: Vec<u8>,
}

impl Found {
    fn push(&mut self, user_key: &[u8]) {
        self.count += 1;
        Reply::new(&mut self.bytes, coney_resp::Protocol::Resp2).bulk(user_key);
    }

    fn reply(&self, reply: &mut Reply<'_>) {
        reply.array(self.count);
        reply.raw(&self.bytes);
    }
}

/// The keys of one table in order of their positions.
struct Walk<'e> {
    iter: DBRawIterator<'e>,
    table: u16,
}

impl<'e> Walk<'e> {
    fn start(ctx: &SlowContext<'e>, position: u64) -> Self {
        let mut iter = ctx.engine.store.iter(Family::Meta);
        let mut begin = [0; META_PREFIX_LEN];
        begin[..2].copy_from_slice(&ctx.table.to_be_bytes());
        // A position has 46 bits; whatever lies beyond is the end of the table.
        let [high @ .., s0, s1, h0, h1, h2, h3] = position.to_be_bytes();
        let slot = if high == [0, 0] { [s0, s1] } else { [0xff, 0xff] };
        begin[2..4].copy_from_slice(&slot);
        begin[4..].copy_from_slice(&[h0, h1, h2, h3]);
        iter.seek(begin);
        Self { iter, table: ctx.table }
    }

    fn here(&self) -> Result<Option<(MetaKey<'_>, Header)>, CommandError> {
        let Some((key, value)) = self.iter.item() else {
            return match self.iter.status() {
                Ok(()) => Ok(None),
                Err(error) => Err(StoreError::Io(error.to_string()).into()),
            };
        };
        let Some(key) = MetaKey::parse(key).filter(|key| key.table == self.table) else {
            return Ok(None);
        };
        let (header, _) = Header::parse(value)?;
        Ok(Some((key, header)))
    }

    fn advance(&mut self) {
        self.iter.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_strtoul_does() {
        assert_eq!(cursor(b"0"), Ok(0));
        assert_eq!(cursor(b""), Ok(0));
        assert_eq!(cursor(b"18446744073709551615"), Ok(u64::MAX));
        assert_eq!(cursor(b"-1"), Ok(u64::MAX));
        for bad in [&b"18446744073709551616"[..], b"x", b" 1", b"1 ", b"\xff", b"-"] {
            assert_eq!(cursor(bad), Err(CommandError::InvalidCursor));
        }
    }
}
