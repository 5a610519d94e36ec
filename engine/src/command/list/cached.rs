//! Ranges of large lists on a worker, through the cache ([`crate::list_chunk`]).

use std::ops::Range;

use crate::batch::{Family, Pending};
use crate::command::collection::{ElementRange, GoOn, Large};
use crate::command::{Context, Stop};
use crate::list_chunk::{self, CHUNK_LEN, Chunk};
use crate::meta::MetaError;

/// A chunk that is read for less than one of so many of its elements is not read as a whole.
const CHUNK_WORTH: u64 = 4;

/// If so many elements beside one were removed in this batch, those on its other side come next.
const STREAK_LEN: u64 = 4;

/// Which chunks are read as wholes, to be cached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keep {
    /// All of which something is read.
    All,
    /// Those of which not too little is read.
    IfRead,
}

/// What a cached chunk was good for.
enum Use {
    /// The elements were visited.
    Visited,
    /// Some were, and that is enough.
    Enough,
    /// It is not there.
    Missing,
}

/// Hands the elements with the indexes `wanted` of a large list, which has the indexes `list`, to
/// `visit`, in order, as long as it wants more.
pub(super) fn visit_cached(
    ctx: &mut Context<'_>,
    large: &Large,
    list: &Range<u64>,
    wanted: Range<u64>,
    keep: Keep,
    visit: &mut dyn FnMut(&[u8]) -> GoOn,
) -> Result<(), Stop> {
    if has_pending(ctx, large, &wanted) {
        read(ctx, large, list, wanted, None, visit)?;
        return Ok(());
    }
    let mut key = Vec::with_capacity(large.prefix.len() + 8);
    let mut at = wanted.start;
    while at < wanted.end {
        let number = list_chunk::number_of(at);
        let here = at..list_chunk::indexes(number, &wanted).end;
        list_chunk::write_key(&mut key, &large.prefix, number);
        match visit_chunk(ctx, &key, &here, visit)? {
            Use::Visited => at = here.end,
            Use::Enough => return Ok(()),
            Use::Missing => {
                let mut missing = here;
                while missing.end < wanted.end {
                    let number = list_chunk::number_of(missing.end);
                    list_chunk::write_key(&mut key, &large.prefix, number);
                    if ctx.exec.cached_chunk(&key).is_some() {
                        break;
                    }
                    missing.end = list_chunk::indexes(number, &wanted).end;
                }
                at = missing.end;
                if !read(ctx, large, list, missing, Some(keep), visit)? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Whether a command on a worker that takes this element from an end of a list is one of many: those
/// beside it were taken in this batch.
pub(super) fn is_streak(
    ctx: &mut Context<'_>,
    large: &Large,
    list: &Range<u64>,
    index: u64,
) -> bool {
    let beside = if index == list.start {
        index - STREAK_LEN
    } else if index + 1 == list.end {
        index + STREAK_LEN
    } else {
        return false;
    };
    let Context { exec, .. } = ctx;
    if !exec.is_worker() || exec.batch.elements_count() == 0 {
        return false;
    }
    let key = &mut exec.index_key;
    key.clear();
    key.extend_from_slice(&large.prefix);
    key.extend_from_slice(&beside.to_be_bytes());
    exec.batch.pending_element(Family::Data, key) == Some(Pending::Deleted)
}

/// Whether the open batch writes some of these elements.
fn has_pending(ctx: &mut Context<'_>, large: &Large, indexes: &Range<u64>) -> bool {
    let key = |index: u64| [&large.prefix[..], &index.to_be_bytes()].concat();
    if indexes.end - indexes.start == 1 {
        let key = key(indexes.start);
        return ctx.exec.batch.pending_element(Family::Data, &key).is_some();
    }
    ctx.exec.batch.elements_count() > 0
        && ctx.exec.batch.has_elements(Family::Data, &key(indexes.start), &key(indexes.end))
}

/// Hands elements of one chunk to `visit`, if it is cached.
fn visit_chunk(
    ctx: &mut Context<'_>,
    key: &[u8],
    indexes: &Range<u64>,
    visit: &mut dyn FnMut(&[u8]) -> GoOn,
) -> Result<Use, Stop> {
    let Context { exec, budget, .. } = ctx;
    exec.element_reads += 1;
    let chunk = exec.cached_chunk(key).and_then(Chunk::parse);
    let Some(elements) = chunk.and_then(|chunk| chunk.elements(indexes)) else {
        return Ok(Use::Missing);
    };
    for value in elements {
        if !budget.spend(value.len()) {
            return Err(Stop::TooLong);
        }
        if !visit(value)? {
            return Ok(Use::Enough);
        }
    }
    Ok(Use::Visited)
}

/// Hands elements to `visit` as RocksDB and the open batch have them, and caches their chunks, if any
/// are to be kept. Whether `visit` wants more.
fn read(
    ctx: &mut Context<'_>,
    large: &Large,
    list: &Range<u64>,
    wanted: Range<u64>,
    keep: Option<Keep>,
    visit: &mut dyn FnMut(&[u8]) -> GoOn,
) -> Result<bool, Stop> {
    let epoch = keep.and_then(|_| ctx.exec.chunk_epoch(&large.prefix));
    let mut range = wanted.clone();
    for index in [wanted.start, wanted.end - 1] {
        let whole = list_chunk::indexes(list_chunk::number_of(index), list);
        let here = whole.start.max(wanted.start)..whole.end.min(wanted.end);
        let is_worth_it = keep == Some(Keep::All)
            || (here.end - here.start) * CHUNK_WORTH >= whole.end - whole.start;
        if epoch.is_some() && is_worth_it {
            range = range.start.min(whole.start)..range.end.max(whole.end);
        }
    }
    let elements = ElementRange {
        begin: range.start.to_be_bytes().to_vec(),
        end: Some(range.end.to_be_bytes().to_vec()),
        is_reverse: false,
    };
    let (mut next, mut goes_on) = (range.start, true);
    let (mut builder, mut is_building) = (list_chunk::Builder::default(), false);
    let mut chunks = Vec::new();
    let walked = ctx.walk(Family::Data, &large.prefix, &elements, &mut |element, value| {
        let index = element.first_chunk().map(|index| u64::from_be_bytes(*index));
        // A gap would make every later position wrong.
        let index = index.filter(|index| *index == next).ok_or(MetaError::Body)?;
        next = index + 1;
        if epoch.is_some() {
            let number = list_chunk::number_of(index);
            if index % CHUNK_LEN == 0 || index == list.start {
                builder.begin(index);
                is_building = true;
            }
            if is_building {
                builder.push(value);
            }
            if is_building && (next % CHUNK_LEN == 0 || next == list.end) {
                chunks.push((number, builder.build()));
                is_building = false;
            }
        }
        if wanted.contains(&index) {
            goes_on = visit(value)?;
        }
        Ok(goes_on)
    });
    match walked {
        // What else lies in the chunks is not in memory, and not needed.
        Err(Stop::TooLong) if next <= wanted.start && range.start < wanted.start => {
            return read(ctx, large, list, wanted, None, visit);
        }
        Err(Stop::TooLong) if next >= wanted.end => range.end = next,
        other => other?,
    }
    if let Some(epoch) = epoch {
        let mut key = Vec::new();
        for (number, value) in chunks {
            if !has_pending(ctx, large, &list_chunk::indexes(number, list)) {
                list_chunk::write_key(&mut key, &large.prefix, number);
                ctx.exec.cache_chunk(&key, &value, epoch);
            }
        }
    }
    if goes_on && next != range.end { Err(MetaError::Body.into()) } else { Ok(goes_on) }
}
