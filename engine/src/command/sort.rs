//! SORT and SORT_RO. Page: <https://redis.io/docs/latest/commands/sort/>.
//!
//! The keys that BY and GET name depend on the elements, so they are read without latches; what a
//! worker cannot read at once is read on the pool, on a snapshot. Texts are ordered by their bytes.

use std::cmp::Ordering;
use std::ops::Range;

use coney_resp::{Args, Reply};

use super::option::{int, is};
use super::{CommandError, Context, Done, Stop, hash, list, zset};
use crate::meta::Kind;
use crate::notify::Class;

/// Options of SORT.
#[derive(Debug, Default)]
struct Options<'a> {
    is_descending: bool,
    is_alpha: bool,
    limit: Option<(i64, i64)>,
    by: Option<&'a [u8]>,
    get: Vec<&'a [u8]>,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(options: Args<'a>, may_store: bool) -> Result<Self, CommandError> {
        let mut parsed = Self::default();
        let mut at = 0;
        while let Some(option) = options.get(at) {
            let (first, second) = (options.get(at + 1), options.get(at + 2));
            at += 2;
            match (first, second) {
                _ if is(option, "ASC") => {
                    parsed.is_descending = false;
                    at -= 1;
                }
                _ if is(option, "DESC") => {
                    parsed.is_descending = true;
                    at -= 1;
                }
                _ if is(option, "ALPHA") => {
                    parsed.is_alpha = true;
                    at -= 1;
                }
                (Some(start), Some(count)) if is(option, "LIMIT") => {
                    parsed.limit = Some((int(start)?, int(count)?));
                    at += 1;
                }
                (Some(key), _) if may_store && is(option, "STORE") => parsed.store = Some(key),
                (Some(pattern), _) if is(option, "BY") => parsed.by = Some(pattern),
                (Some(pattern), _) if is(option, "GET") => parsed.get.push(pattern),
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(parsed)
    }

    /// Which of `len` sorted elements are wanted.
    fn wanted(&self, len: usize) -> Range<usize> {
        let Some((start, count)) = self.limit else { return 0..len };
        let start = usize::try_from(start.max(0)).unwrap_or(usize::MAX).min(len);
        // A negative count is no limit.
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        start..start.saturating_add(count).min(len)
    }
}

/// What elements are ordered by.
#[derive(Debug)]
enum Weight {
    Number(f64),
    Text(Option<Vec<u8>>),
}

pub(super) fn sort(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let options = Options::parse(args.skip(2), true)?;
    let table = ctx.table();
    for key in std::iter::once(&args[1]).chain(options.store) {
        ctx.exec.look_at(table, key);
        ctx.exec.latch()?;
    }
    let rows = sorted(ctx, &args[1], &options)?;
    let Some(target) = options.store else { return tell(rows, reply) };
    let values: Vec<Vec<u8>> = rows.into_iter().map(Option::unwrap_or_default).collect();
    list::replace(ctx, target, &values)?;
    if !values.is_empty() {
        ctx.notify(Class::List, "sortstore", target);
    }
    reply.count(values.len());
    Ok(())
}

pub(super) fn sort_ro(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let options = Options::parse(args.skip(2), false)?;
    tell(sorted(ctx, &args[1], &options)?, reply)
}

fn tell(rows: Vec<Option<Vec<u8>>>, reply: &mut Reply<'_>) -> Done {
    reply.array(rows.len());
    for value in rows {
        match value {
            Some(value) => reply.bulk(&value),
            None => reply.null(),
        }
    }
    Ok(())
}

/// The result: the elements, or what GET makes of them.
fn sorted(
    ctx: &mut Context<'_>,
    key: &[u8],
    options: &Options<'_>,
) -> Result<Vec<Option<Vec<u8>>>, Stop> {
    let table = ctx.table();
    let kind = ctx.peek(table, key, |found| found.map(|(header, _)| header.kind))?;
    let mut by = options.by;
    let mut is_alpha = options.is_alpha;
    let mut is_sorted = by.is_none_or(|pattern| pattern.contains(&b'*'));
    if !is_sorted && kind == Some(Kind::Set) && options.store.is_some() {
        // What is stored has to be the same everywhere.
        (is_sorted, is_alpha, by) = (true, true, None);
    }
    let mut is_cut = false;
    let mut elements = match kind {
        None => Vec::new(),
        Some(Kind::ZSet) if !is_sorted => {
            is_cut = true;
            zset::load(ctx, key, options.is_descending, |len| options.wanted(len))?
        }
        Some(Kind::List) => list::load(ctx, key, !is_sorted && options.is_descending)?,
        Some(kind @ (Kind::Set | Kind::ZSet)) => {
            let mut members = Vec::new();
            ctx.visit(key, kind, |entry| {
                members.push(entry.name.to_vec());
                Ok(true)
            })?;
            members
        }
        Some(Kind::String | Kind::Hash | Kind::Stream) => {
            return Err(CommandError::WrongType.into());
        }
    };
    if is_sorted {
        let mut weighted = Vec::with_capacity(elements.len());
        for element in elements {
            weighted.push((weight(ctx, by, is_alpha, &element)?, element));
        }
        weighted.sort_by(|one, other| {
            let order = compare(one, other);
            if options.is_descending { order.reverse() } else { order }
        });
        elements = weighted.into_iter().map(|(_, element)| element).collect();
    }
    let wanted = if is_cut { 0..elements.len() } else { options.wanted(elements.len()) };
    let elements = elements.drain(wanted);
    if options.get.is_empty() {
        return Ok(elements.map(Some).collect());
    }
    let mut rows = Vec::with_capacity(elements.len() * options.get.len());
    for element in elements {
        for pattern in &options.get {
            rows.push(look_up(ctx, pattern, &element)?);
        }
    }
    Ok(rows)
}

fn weight(
    ctx: &mut Context<'_>,
    by: Option<&[u8]>,
    is_alpha: bool,
    element: &[u8],
) -> Result<Weight, Stop> {
    let found = by.map(|pattern| look_up(ctx, pattern, element)).transpose()?;
    match (found, is_alpha) {
        (Some(text), true) => Ok(Weight::Text(text)),
        // The element itself decides.
        (None, true) => Ok(Weight::Text(None)),
        (Some(None), false) => Ok(Weight::Number(0.0)),
        (Some(Some(text)), false) => Ok(number(&text)?),
        (None, false) => Ok(number(element)?),
    }
}

/// A number as `strtod` reads it, apart from hexadecimal ones; nothing at all is 0.
fn number(text: &[u8]) -> Result<Weight, CommandError> {
    let no_number = CommandError::Text("ERR One or more scores can't be converted into double");
    if text.is_empty() {
        return Ok(Weight::Number(0.0));
    }
    let text = std::str::from_utf8(text).map_err(|_error| no_number.clone())?;
    let text = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let number: f64 = text.parse().map_err(|_error| no_number.clone())?;
    let is_too_large = number.is_infinite() && !text.contains(['i', 'I']);
    if number.is_nan() || is_too_large { Err(no_number) } else { Ok(Weight::Number(number)) }
}

fn compare((weight, element): &(Weight, Vec<u8>), other: &(Weight, Vec<u8>)) -> Ordering {
    let (other_weight, other_element) = other;
    match (weight, other_weight) {
        (Weight::Number(one), Weight::Number(two)) => {
            let order = one.partial_cmp(two).unwrap_or(Ordering::Equal);
            order.then_with(|| element.cmp(other_element))
        }
        // No text comes before any.
        (Weight::Text(one), Weight::Text(two)) => {
            one.cmp(two).then_with(|| element.cmp(other_element))
        }
        (Weight::Number(_), Weight::Text(_)) | (Weight::Text(_), Weight::Number(_)) => {
            unreachable!("all weights of one command are of one kind")
        }
    }
}

/// What a pattern of BY or GET means for an element: `#` is the element; otherwise it takes the
/// place of the first `*`, in the name of a string, or, before `->`, of a hash with a field.
fn look_up(ctx: &mut Context<'_>, pattern: &[u8], element: &[u8]) -> Result<Option<Vec<u8>>, Stop> {
    if pattern == b"#" {
        return Ok(Some(element.to_vec()));
    }
    let Some(star) = pattern.iter().position(|&byte| byte == b'*') else { return Ok(None) };
    let (prefix, rest) = (&pattern[..star], &pattern[star + 1..]);
    let arrow = rest.windows(2).position(|pair| pair == b"->").filter(|at| at + 2 < rest.len());
    let (suffix, field) = match arrow {
        Some(at) => (&rest[..at], Some(&rest[at + 2..])),
        None => (rest, None),
    };
    let key = [prefix, element, suffix].concat();
    ctx.spend(key.len())?;
    let found = match field {
        Some(field) => hash::field(ctx, &key, field, |value| value.map(<[u8]>::to_vec)),
        None => ctx.text(&key, |value| value.map(<[u8]>::to_vec)),
    };
    match found {
        Err(Stop::Error(CommandError::WrongType)) => Ok(None),
        // Each of many keys would be waited for alone.
        Err(Stop::Fetch) => Err(Stop::TooLong),
        found => found,
    }
}
