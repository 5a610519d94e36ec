//! A stream that a command has opened: its meta entry, its elements, and what the command changes.
//!
//! Changes are collected here, seen by the command's own later reads, and written by
//! [`Stream::finish`], after everything was read.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::Bound;

use crate::batch::Family;
use crate::command::collection::{ElementRange, GoOn};
use crate::command::{CommandError, Context, Old, Stop};
use crate::compact::Encoding;
use crate::element::{self, LargeBody};
use crate::meta::{Header, Kind, MetaError};
use crate::stream::{self, Consumer, Group, Pending, StreamId, StreamInfo};

/// See the module page.
#[derive(Debug)]
pub(super) struct Stream<'k> {
    pub(super) key: &'k [u8],
    old: Old,
    /// What its elements' keys begin with, and the version in it; `None`: there is no stream yet.
    stored: Option<(Vec<u8>, u64)>,
    /// What was found.
    before: (u64, StreamInfo),
    /// Entries.
    pub(super) length: u64,
    pub(super) info: StreamInfo,
    /// Elements with their new values, or removed.
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// The meta entry is written although nothing in it has changed.
    rewrites_meta: bool,
}

/// What becomes of an entry that is read: its id and its value.
pub(super) type EntryVisit<'v> = dyn FnMut(StreamId, &[u8]) -> Result<(), CommandError> + 'v;
/// The name of a group or consumer, and its value.
type Named = (Vec<u8>, Vec<u8>);
type Found = Option<(LargeBody, u64)>;

fn parse(found: Option<(Header, &[u8])>) -> Result<Found, CommandError> {
    let Some((header, body)) = found else { return Ok(None) };
    match (header.kind, header.version) {
        (Kind::Stream, Some(version)) => Ok(Some((LargeBody::parse(body)?, version))),
        (Kind::Stream, None) => Err(MetaError::Body.into()),
        _ => Err(CommandError::WrongType),
    }
}

impl<'k> Stream<'k> {
    /// Opens a stream for reading, if there is one.
    pub(super) fn read(ctx: &mut Context<'_>, key: &'k [u8]) -> Result<Option<Self>, Stop> {
        let found = ctx.read(key, parse)??;
        if found.is_none() {
            return Ok(None);
        }
        Ok(Some(Self::new(ctx, key, Old { stored: None, live: None }, found)?))
    }

    /// Latches a key and opens its stream; whether there is one, [`Stream::exists`] tells.
    pub(super) fn write(ctx: &mut Context<'_>, key: &'k [u8]) -> Result<Self, Stop> {
        let (old, found) = ctx.read_for_write(key, parse)?;
        Self::new(ctx, key, old, found?)
    }

    /// Latches a key whose value, of any kind, is overwritten: the stream is empty.
    pub(super) fn write_new(ctx: &mut Context<'_>, key: &'k [u8]) -> Result<Self, Stop> {
        let old = ctx.for_write(key)?;
        // A new value has no deadline.
        Self::new(ctx, key, Old { live: None, ..old }, None)
    }

    fn new(ctx: &mut Context<'_>, key: &'k [u8], old: Old, found: Found) -> Result<Self, Stop> {
        let (mut stored, mut before) = (None, (0, StreamInfo::default()));
        if let Some((body, version)) = found {
            before = (body.count, StreamInfo::parse(&body.extra)?);
            let large = ctx.large(body, version);
            stored = Some((large.prefix, version));
        }
        let (length, info) = before;
        Ok(Self {
            key,
            old,
            stored,
            before,
            length,
            info,
            changes: BTreeMap::new(),
            rewrites_meta: false,
        })
    }

    /// Whether it was there.
    pub(super) fn exists(&self) -> bool {
        self.stored.is_some()
    }

    /// The value of an element.
    pub(super) fn get(
        &self,
        ctx: &mut Context<'_>,
        element: &[u8],
    ) -> Result<Option<Vec<u8>>, Stop> {
        match (self.changes.get(element), &self.stored) {
            (Some(changed), _) => Ok(changed.clone()),
            (None, None) => Ok(None),
            (None, Some((prefix, _))) => {
                ctx.element(Family::Data, prefix, element, |value| value.map(<[u8]>::to_vec))
            }
        }
    }

    fn changes_in(&self, range: &ElementRange) -> Range<'_, Vec<u8>, Option<Vec<u8>>> {
        let end = range.end.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        self.changes.range::<Vec<u8>, _>((Bound::Included(&range.begin), end))
    }

    /// Hands elements and their values to `visit`, in order, as long as it wants more.
    pub(super) fn visit(
        &self,
        ctx: &mut Context<'_>,
        range: &ElementRange,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> GoOn,
    ) -> Result<(), Stop> {
        if range.end.as_ref().is_some_and(|end| *end <= range.begin) {
            return Ok(());
        }
        // Taken from the end.
        let mut changed: Vec<_> = self.changes_in(range).collect();
        if !range.is_reverse {
            changed.reverse();
        }
        let mut wants_more = true;
        if let Some((prefix, _)) = &self.stored {
            ctx.walk(Family::Data, prefix, range, &mut |element, value| {
                while let Some((next, new)) = changed.last() {
                    let order = if range.is_reverse {
                        element.cmp(next.as_slice())
                    } else {
                        next.as_slice().cmp(element)
                    };
                    if order.is_gt() {
                        break;
                    }
                    if let Some(new) = new {
                        wants_more = visit(next, new)?;
                    }
                    changed.pop();
                    if !wants_more || order.is_eq() {
                        return Ok(wants_more);
                    }
                }
                wants_more = visit(element, value)?;
                Ok(wants_more)
            })?;
        }
        while wants_more && let Some((element, new)) = changed.pop() {
            if let Some(new) = new {
                wants_more = visit(element, new)?;
            }
        }
        Ok(())
    }

    /// Hands the entries with these ids to `visit`, at most `count` of them (0: all).
    pub(super) fn visit_entries(
        &self,
        ctx: &mut Context<'_>,
        ids: &Ids,
        count: u64,
        visit: &mut EntryVisit<'_>,
    ) -> Result<(), Stop> {
        // What was trimmed before the first entry is not worth walking over.
        let ids = Ids { start: ids.start.max(self.info.first_id), ..*ids };
        if self.length == 0 || ids.start > self.info.last_id {
            return Ok(());
        }
        let mut seen = 0;
        self.visit(ctx, &ids.range(&stream::entries()), &mut |element, value| {
            visit(StreamId::of_element(element)?, value)?;
            seen += 1;
            Ok(seen != count)
        })
    }

    /// The first entry that is left.
    pub(super) fn find_first(&self, ctx: &mut Context<'_>) -> Result<StreamId, Stop> {
        let mut first = StreamId::MIN;
        self.visit_entries(ctx, &Ids::ALL, 1, &mut |id, _| {
            first = id;
            Ok(())
        })?;
        Ok(first)
    }

    /// The last entry; 0-0 if there is none.
    pub(super) fn find_last(&self, ctx: &mut Context<'_>) -> Result<StreamId, Stop> {
        let mut last = StreamId::MIN;
        let ids = Ids { is_reverse: true, ..Ids::ALL };
        self.visit_entries(ctx, &ids, 1, &mut |id, _| {
            last = id;
            Ok(())
        })?;
        Ok(last)
    }

    pub(super) fn put(&mut self, element: Vec<u8>, value: Vec<u8>) {
        self.changes.insert(element, Some(value));
    }

    pub(super) fn remove(&mut self, element: Vec<u8>) {
        self.changes.insert(element, None);
    }

    pub(super) fn group(&self, ctx: &mut Context<'_>, name: &[u8]) -> Result<Option<Group>, Stop> {
        let value = self.get(ctx, &stream::group(name))?;
        Ok(value.map(|value| Group::parse(&value)).transpose()?)
    }

    pub(super) fn put_group(&mut self, name: &[u8], group: &Group) {
        self.put(stream::group(name), group.to_bytes());
    }

    pub(super) fn consumer(
        &self,
        ctx: &mut Context<'_>,
        group: &[u8],
        name: &[u8],
    ) -> Result<Option<Consumer>, Stop> {
        let value = self.get(ctx, &stream::consumer(group, name))?;
        Ok(value.map(|value| Consumer::parse(&value)).transpose()?)
    }

    pub(super) fn put_consumer(&mut self, group: &[u8], name: &[u8], consumer: &Consumer) {
        self.put(stream::consumer(group, name), consumer.to_bytes());
    }

    pub(super) fn pending(
        &self,
        ctx: &mut Context<'_>,
        group: &[u8],
        id: StreamId,
    ) -> Result<Option<Pending>, Stop> {
        let value = self.get(ctx, &with_id(stream::pending(group), id))?;
        Ok(value.map(|value| Pending::parse(&value)).transpose()?)
    }

    /// Writes a pending entry and whose it is. The counts are the caller's.
    pub(super) fn put_pending(&mut self, group: &[u8], id: StreamId, pending: &Pending) {
        self.put(with_id(stream::pending(group), id), pending.to_bytes());
        self.put(with_id(stream::owned(group, &pending.consumer), id), Vec::new());
    }

    /// The names of all groups, or of all consumers of a group, with their values.
    pub(super) fn named(&self, ctx: &mut Context<'_>, prefix: &[u8]) -> Result<Vec<Named>, Stop> {
        let mut found = Vec::new();
        self.visit(ctx, &under(prefix), &mut |element, value| {
            let name = element.strip_prefix(prefix).ok_or(MetaError::Body)?;
            found.push((name.to_vec(), value.to_vec()));
            Ok(true)
        })?;
        Ok(found)
    }

    /// [`Stream::finish`] will write the meta entry even if nothing in it has changed.
    pub(super) fn rewrite_meta(&mut self) {
        self.rewrites_meta = true;
    }

    /// Writes what has changed.
    pub(super) fn finish(self, ctx: &mut Context<'_>) {
        let Self { key, old, stored, before, length, info, changes, rewrites_meta } = self;
        let is_new = stored.is_none();
        let table = ctx.table();
        ctx.exec.look_at(table, key);
        let (prefix, version) = stored.unwrap_or_else(|| {
            let version = ctx.exec.new_version();
            let mut prefix = Vec::new();
            element::write_prefix(&mut prefix, &ctx.exec.meta_key, version);
            (prefix, version)
        });
        for (element, value) in &changes {
            match value {
                Some(value) => ctx.exec.batch.put_element(Family::Data, &prefix, element, value),
                None => ctx.exec.batch.delete_element(Family::Data, &prefix, element),
            }
        }
        if is_new || rewrites_meta || before != (length, info) {
            let body =
                LargeBody { encoding: Encoding::Stream, count: length, extra: info.to_bytes() };
            let mut bytes = Vec::new();
            body.write(&mut bytes);
            let expire_at = old.live.and_then(|header| header.expire_at);
            let header = Header { expire_at, version: Some(version), ..Header::new(Kind::Stream) };
            ctx.put(key, old, &header, &[&bytes]);
        }
    }
}

/// An element that ends with an id.
pub(super) fn with_id(mut prefix: Vec<u8>, id: StreamId) -> Vec<u8> {
    prefix.extend_from_slice(&id.to_bytes());
    prefix
}

/// All elements that begin with `prefix`.
pub(super) fn under(prefix: &[u8]) -> ElementRange {
    ElementRange {
        begin: prefix.to_vec(),
        end: Some(element::prefix_end(prefix)),
        is_reverse: false,
    }
}

/// Ids from one to another, both included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    pub(super) start: StreamId,
    pub(super) end: StreamId,
    pub(super) is_reverse: bool,
}

impl Ids {
    pub(super) const ALL: Self =
        Self { start: StreamId::MIN, end: StreamId::MAX, is_reverse: false };

    pub(super) fn from(start: StreamId) -> Self {
        Self { start, ..Self::ALL }
    }

    /// The elements of these ids behind `prefix`.
    pub(super) fn range(&self, prefix: &[u8]) -> ElementRange {
        let mut end = with_id(prefix.to_vec(), self.end);
        // What follows the last one.
        end.push(0);
        ElementRange {
            begin: with_id(prefix.to_vec(), self.start),
            end: Some(end),
            is_reverse: self.is_reverse,
        }
    }
}
