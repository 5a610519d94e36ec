//! What handlers of collections share. (Bytes: [`crate::compact`], [`crate::element`].)
//!
//! **Reading.** [`Context::inspect`] finds the key, refuses other kinds, and hands a [`Shape`] to a
//! closure: nothing, a compact body in place, or a [`Large`], which is what element reads need.
//! Elements of a large collection are read one by one ([`Context::element`], [`Context::member`]) or
//! in ranges ([`Context::walk`]), always with what the open batch says of them. A single element
//! that is not in memory stops the handler with [`Stop::Fetch`]: it is rehearsed on the pool, which
//! warms just what it reads, and executed again. Ranges are bounded by [`Budget`]; beyond it, and
//! where a range is not in memory, the handler stops with [`Stop::TooLong`] and is executed on the
//! pool as a whole. [`Context::visit`] is all elements of either form.
//!
//! **Writing.** [`edit`] for collections of named elements (hashes, sets, members of sorted sets);
//! [`copy`] for whole collections under another key. Which members a random choice falls on, and
//! where a scan goes on, is in [`members`].

use rocksdb::DBRawIterator;

use super::{CommandError, Context, Stop};
use crate::batch::{Family, Pending};
use crate::bucket::PAGES_BEGIN;
use crate::chunk;
use crate::compact::{Compact, Entry};
use crate::element::{self, LargeBody};
use crate::executor::Source;
use crate::meta::{Kind, MetaError};
use crate::store::{self, Found, Tier};

/// Members that are fetched together; those behind them are read one by one.
const FETCHED_MEMBERS_MAX: usize = 256;

/// Elements that a client names in one command and a worker still changes itself: a few milliseconds.
const NAMES_MAX: usize = 4096;

pub(crate) mod copy;
pub(crate) mod edit;
pub(crate) mod members;

/// What a command may still read of ranges of elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    elements: usize,
    bytes: usize,
    /// Bytes of strings that lie in chunks.
    text_bytes: u64,
}

impl Budget {
    /// On a worker, in one command: well below a millisecond.
    pub(super) const WORKER: Self = Self { elements: 1024, bytes: 128 << 10, text_bytes: 1 << 20 };
    /// On the pool: what a reply or a batch may keep in memory.
    pub(super) const POOL: Self =
        Self { elements: usize::MAX, bytes: 512 << 20, text_bytes: chunk::STRING_LEN_MAX };
    /// Bounded by other means.
    const UNBOUNDED: Self = Self { elements: usize::MAX, bytes: usize::MAX, text_bytes: u64::MAX };

    pub(super) fn spend(&mut self, bytes: usize) -> bool {
        if self.elements == 0 || self.bytes < bytes {
            return false;
        }
        self.elements -= 1;
        self.bytes -= bytes;
        true
    }
}

/// A large collection as it was found.
#[derive(Debug, Clone)]
pub(crate) struct Large {
    /// What the meta entry says.
    pub(crate) body: LargeBody,
    /// What its elements' keys begin with.
    pub(crate) prefix: Vec<u8>,
    /// The version in it.
    pub(crate) version: u64,
}

/// A collection as a reader finds it.
#[derive(Debug)]
pub(crate) enum Shape<'a> {
    Absent,
    Compact(Compact<'a>),
    Large(Large),
}

/// Elements in the order of their bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct ElementRange {
    /// The first one; empty: from the beginning.
    pub(crate) begin: Vec<u8>,
    /// What follows the last one; `None`: to the end.
    pub(crate) end: Option<Vec<u8>>,
    /// From the end to the beginning.
    pub(crate) is_reverse: bool,
}

impl ElementRange {
    /// From `begin` to the end.
    pub(crate) fn from(begin: Vec<u8>) -> Self {
        Self { begin, ..Self::default() }
    }

    /// Whether what is met first in `score` is the first member of all, or the last: behind that lie
    /// pages only ([`crate::bucket`]). No score has the least rank ([`crate::score`]).
    fn is_from_outermost(&self) -> bool {
        if self.is_reverse {
            self.end.as_ref().is_some_and(|end| end.starts_with(&PAGES_BEGIN))
        } else {
            self.begin.iter().all(|byte| *byte == 0)
        }
    }
}

/// Beyond [`Budget::POOL`].
const TOO_MUCH: CommandError = CommandError::Text(
    "ERR the command would read more than 512 MiB at once. Use SCAN commands or ranges",
);

/// Beyond [`Budget::POOL`], of strings.
const TOO_LONG: CommandError =
    CommandError::Text("ERR the command would read more than 2 GiB of strings at once");

/// Whether to go on.
pub(crate) type GoOn = Result<bool, CommandError>;

impl Context<'_> {
    /// A random number.
    pub(crate) fn random(&mut self) -> u64 {
        self.exec.next_random()
    }

    /// Notes work that a range would be: for commands whose work is not in their arguments.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Stop> {
        match (self.budget.spend(bytes), self.source) {
            (true, _) => Ok(()),
            (false, Source::Worker(_)) => Err(Stop::TooLong),
            (false, Source::Pool(_)) => Err(TOO_MUCH.into()),
        }
    }

    /// Whether a worker itself changes so many elements, which the client names. In a transaction that
    /// the pool cannot execute it has to.
    pub(crate) fn check_names(&self, count: usize) -> Result<(), Stop> {
        let is_light = count <= NAMES_MAX || !self.is_on_worker();
        if is_light || super::transaction::is_in_exclusive(self) {
            Ok(())
        } else {
            Err(Stop::TooLong)
        }
    }

    /// Notes so many bytes of strings in chunks, which are read faster than elements.
    pub(crate) fn spend_text(&mut self, bytes: u64) -> Result<(), Stop> {
        match (self.budget.text_bytes.checked_sub(bytes), self.source) {
            (Some(rest), _) => self.budget.text_bytes = rest,
            (None, Source::Worker(_)) => return Err(Stop::TooLong),
            (None, Source::Pool(_)) => return Err(TOO_LONG.into()),
        }
        Ok(())
    }

    /// [`Context::walk`], for a range whose length is bounded otherwise.
    pub(crate) fn walk_unbounded(
        &mut self,
        family: Family,
        prefix: &[u8],
        range: &ElementRange,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> GoOn,
    ) -> Result<(), Stop> {
        let budget = std::mem::replace(&mut self.budget, Budget::UNBOUNDED);
        let walked = self.walk(family, prefix, range, visit);
        self.budget = budget;
        walked
    }

    /// Reads a collection of this kind for a reply; counts a hit or a miss.
    pub(crate) fn inspect<R>(
        &mut self,
        user_key: &[u8],
        kind: Kind,
        f: impl FnOnce(Shape<'_>) -> Result<R, CommandError>,
    ) -> Result<R, Stop> {
        enum Step<R, F> {
            Done(R),
            Large(F, LargeBody, u64),
        }
        let step = self.read(user_key, |found| {
            let Some((header, body)) = found else { return f(Shape::Absent).map(Step::Done) };
            if header.kind != kind {
                return Err(CommandError::WrongType);
            }
            match header.version {
                None => f(Shape::Compact(Compact::parse(kind, body)?)).map(Step::Done),
                Some(version) => Ok(Step::Large(f, LargeBody::parse(body)?, version)),
            }
        })??;
        match step {
            Step::Done(result) => Ok(result),
            Step::Large(f, body, version) => {
                let large = self.large(body, version);
                Ok(f(Shape::Large(large))?)
            }
        }
    }

    /// The large collection of the key looked at last.
    pub(crate) fn large(&mut self, body: LargeBody, version: u64) -> Large {
        let mut prefix = std::mem::take(&mut self.exec.prefix);
        element::write_prefix(&mut prefix, &self.exec.meta_key, version);
        Large { body, prefix, version }
    }

    /// Hands the value of one element to `f`, or `None` if it is not there.
    pub(crate) fn element<R>(
        &mut self,
        family: Family,
        prefix: &[u8],
        element: &[u8],
        f: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R, Stop> {
        let write = |key: &mut Vec<u8>| key.extend_from_slice(element);
        self.with_key(prefix, write, |ctx, key| ctx.element_at(family, key, f))
    }

    /// Hands the key of an element to `f`: `prefix`, and what `write` appends.
    fn with_key<R>(
        &mut self,
        prefix: &[u8],
        write: impl FnOnce(&mut Vec<u8>),
        f: impl FnOnce(&mut Self, &[u8]) -> R,
    ) -> R {
        let mut key = std::mem::take(&mut self.exec.index_key);
        key.clear();
        key.extend_from_slice(prefix);
        write(&mut key);
        let result = f(self, &key);
        self.exec.index_key = key;
        result
    }

    /// The same for a page of a sorted set, which the cache may have.
    pub(crate) fn page<R>(
        &mut self,
        prefix: &[u8],
        page_key: &[u8],
        f: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R, Stop> {
        let write = |key: &mut Vec<u8>| key.extend_from_slice(page_key);
        self.with_key(prefix, write, |ctx, key| {
            match (ctx.exec.batch.pending_element(Family::Score, key), ctx.source) {
                (None, Source::Worker(tier)) => {
                    ctx.exec.element_reads += 1;
                    ctx.exec.committed_page(key, tier, f)
                }
                (_, Source::Worker(_) | Source::Pool(_)) => ctx.element_at(Family::Score, key, f),
            }
        })
    }

    /// Writes a page of a sorted set, over what the open batch has of it if it can.
    pub(crate) fn write_page(&mut self, prefix: &[u8], page_key: &[u8], value: &[u8]) {
        // A transaction may be taken back to what was there before it.
        if !self.exec.in_transaction {
            let write = |key: &mut Vec<u8>| key.extend_from_slice(page_key);
            let overwrite = |ctx: &mut Self, key: &[u8]| {
                ctx.exec.batch.overwrite_element(Family::Score, key, value)
            };
            if self.with_key(prefix, write, overwrite) {
                return;
            }
        }
        self.exec.batch.put_element(Family::Score, prefix, page_key, value);
    }

    fn element_at<R>(
        &mut self,
        family: Family,
        key: &[u8],
        f: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R, Stop> {
        self.exec.element_reads += 1;
        let pending = self.exec.batch.pending_element(family, key);
        self.exec.leans_on_batch |= pending.is_some();
        match pending {
            // Its fate is open: whoever reads it has to wait for it.
            Some(_) if self.exec.is_sealed() => return Err(Stop::Stall),
            Some(Pending::Put(value)) => return Ok(f(Some(value))),
            Some(Pending::Deleted) => return Ok(f(None)),
            None => {}
        }
        let tier = match self.source {
            Source::Worker(tier) => tier,
            Source::Pool(frozen) => return Ok(f(frozen.get(family, key)?.as_deref())),
        };
        let found = match self.exec.engine.store.get(family, key, tier)? {
            Found::Value(value) => f(Some(&value)),
            Found::Absent => f(None),
            Found::NeedsDevice => {
                self.exec.missed_element = true;
                return Err(Stop::Fetch);
            }
        };
        self.exec.stats.blocking_reads += u64::from(tier == Tier::Device);
        Ok(found)
    }

    /// The same for a field or member: what `data` holds under its name, which the cache may have.
    pub(crate) fn member<R>(
        &mut self,
        prefix: &[u8],
        name: &[u8],
        f: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R, Stop> {
        let write = |key: &mut Vec<u8>| element::append_member(key, name);
        self.with_key(prefix, write, |ctx, key| {
            match (ctx.exec.batch.pending_element(Family::Data, key), ctx.source) {
                (None, Source::Worker(tier)) => {
                    ctx.exec.element_reads += 1;
                    ctx.exec.committed_member(key, tier, f)
                }
                (_, Source::Worker(_) | Source::Pool(_)) => ctx.element_at(Family::Data, key, f),
            }
        })
    }

    /// On the pool: brings members that are read next into the block cache, together.
    pub(crate) fn fetch_members<'n>(
        &self,
        prefix: &[u8],
        names: impl ExactSizeIterator<Item = &'n [u8]>,
    ) {
        let Source::Pool(frozen) = self.source else { return };
        if names.len() < 2 {
            return;
        }
        let keys = names.take(FETCHED_MEMBERS_MAX).map(|name| {
            let mut key = prefix.to_vec();
            element::append_member(&mut key, name);
            key
        });
        frozen.fetch(Family::Data, &keys.collect::<Vec<_>>());
    }

    /// Hands elements and their values to `visit`, in order, as long as it wants more.
    pub(crate) fn walk(
        &mut self,
        family: Family,
        prefix: &[u8],
        range: &ElementRange,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> GoOn,
    ) -> Result<(), Stop> {
        let mut begin = [prefix, &range.begin].concat();
        let mut end = match &range.end {
            Some(end) => [prefix, end].concat(),
            None => element::prefix_end(prefix),
        };
        // On the pool it is good for the present command only, which reads a snapshot.
        let epoch = if family == Family::Score { self.exec.epoch_of(prefix) } else { None };
        if let Some(epoch) = epoch {
            let edges = &self.exec.batch.edges;
            if let Some(first) =
                edges.first(prefix, epoch).filter(|first| begin.as_slice() < *first)
            {
                begin = first.to_vec();
            }
            // A range without an end (RENAME) goes on behind the members, where pages lie.
            let is_of_members =
                range.end.as_ref().is_some_and(|end| end.as_slice() <= &PAGES_BEGIN[..]);
            if let Some(last) =
                edges.last(prefix, epoch).filter(|last| is_of_members && *last < end.as_slice())
            {
                end = [last, &[0]].concat();
            }
        }
        if begin >= end {
            return Ok(());
        }
        self.exec.element_reads += 1;
        self.exec.batch.sort_elements();
        let mut pending = self.exec.batch.pending_range(family, &begin, &end).peekable();
        let has_pending = pending.peek().is_some();
        self.exec.leans_on_batch |= has_pending;
        if has_pending && self.exec.is_sealed() {
            return Err(Stop::Stall);
        }
        let mut iter = match self.source {
            Source::Worker(tier) => self.exec.engine.store.range(family, &begin, &end, tier),
            Source::Pool(frozen) => frozen.range(family, &begin, &end),
        };
        if range.is_reverse {
            iter.seek_to_last();
        } else {
            iter.seek_to_first();
        }
        let mut budget = self.budget;
        let mut met = None;
        let mut spend_and_visit = |key: &[u8], value: &[u8]| {
            if !budget.spend(key.len() + value.len()) {
                return Err(Stop::TooLong);
            }
            if epoch.is_some() && met.is_none() {
                met = Some(key.to_vec());
            }
            let element = key.get(prefix.len()..).unwrap_or_default();
            Ok(visit(element, value)?)
        };
        let walked = if range.is_reverse {
            merge(&mut iter, pending.rev(), true, &mut spend_and_visit)
        } else {
            merge(&mut iter, pending, false, &mut spend_and_visit)
        };
        self.budget = budget;
        if let (Some(epoch), Some(met)) = (epoch, met)
            && range.is_from_outermost()
        {
            self.exec.batch.edges.learn(prefix, epoch, &met, range.is_reverse);
        }
        match (walked, self.source) {
            (Err(Stop::TooLong), Source::Pool(_)) => Err(TOO_MUCH.into()),
            (walked, _) => walked,
        }
    }

    /// Hands every element of a hash or set to `visit`, in its stored order.
    pub(crate) fn visit(
        &mut self,
        user_key: &[u8],
        kind: Kind,
        mut visit: impl FnMut(Entry<'_>) -> GoOn,
    ) -> Result<(), Stop> {
        let large = self.inspect(user_key, kind, |shape| match shape {
            Shape::Absent => Ok(None),
            Shape::Compact(compact) => {
                for entry in compact.entries()? {
                    if !visit(entry)? {
                        break;
                    }
                }
                Ok(None)
            }
            Shape::Large(large) => Ok(Some(large)),
        })?;
        match large {
            None => Ok(()),
            Some(large) => self.visit_large(&large, ElementRange::default(), &mut visit),
        }
    }

    /// Hands the elements of a range of a large hash or set to `visit`.
    pub(crate) fn visit_large(
        &mut self,
        large: &Large,
        range: ElementRange,
        visit: &mut dyn FnMut(Entry<'_>) -> GoOn,
    ) -> Result<(), Stop> {
        self.walk(Family::Data, &large.prefix, &range, &mut |element, value| {
            let (_, name) = element::parse_member(element).ok_or(MetaError::Body)?;
            visit(Entry { name, value })
        })
    }
}

type MergedVisit<'v> = dyn FnMut(&[u8], &[u8]) -> Result<bool, Stop> + 'v;

/// Merges what the iterator is placed at with the records of a batch, which hide it and come in the
/// same order.
fn merge<'b>(
    iter: &mut DBRawIterator<'_>,
    pending: impl Iterator<Item = (&'b [u8], Pending<'b>)>,
    is_reverse: bool,
    visit: &mut MergedVisit<'_>,
) -> Result<(), Stop> {
    let mut pending = pending.peekable();
    loop {
        let stored = iter.item();
        if stored.is_none() && !store::is_at_end(iter)? {
            return Err(Stop::TooLong);
        }
        let order = match (stored, pending.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((stored, _)), Some((pending, _))) if is_reverse => pending.cmp(&stored),
            (Some((stored, _)), Some((pending, _))) => stored.cmp(pending),
        };
        let mut goes_on = true;
        if order.is_lt() {
            if let Some((key, value)) = stored {
                goes_on = visit(key, value)?;
            }
        } else if let Some((key, Pending::Put(value))) = pending.peek() {
            goes_on = visit(key, value)?;
        }
        if !goes_on {
            return Ok(());
        }
        if order.is_ge() {
            pending.next();
        }
        if order.is_le() {
            if is_reverse {
                iter.prev();
            } else {
                iter.next();
            }
        }
    }
}
