//! The buckets of a large sorted set in use: finding ranks, and keeping the counts.
//!
//! Readers ([`count_before`], [`locate`]) go from the root to a bucket and walk in that alone.
//! Writers load the pages on the way to every element that they may change before they write
//! ([`Buckets::prepare`]), count ([`Buckets::shift`]), and at the end split and join what has become
//! too large or too small ([`Buckets::finish`]). Splitting reads the members of a bucket; where that
//! would have to wait or is too much for a worker it is left to a later writer, and one that finds a
//! bucket twice too large goes to the pool. Nothing but speed depends on it.
//!
//! A worker keeps the pages that it changed last ([`Kept`]), so that the next change of the same set
//! need not take them apart again. They are those of the open batch, or of what is committed, as long as
//! nobody else writes the key, which its epoch says ([`crate::cache`]).

use std::collections::BTreeMap;

use super::sorted::walk_large;
use crate::batch::Family;
use crate::bucket::{
    BUCKET_LEN_JOINED_MAX, BUCKET_LEN_MAX, BUCKET_LEN_MIN, BUCKET_LEN_NEW, Bound, Bounds,
    PAGE_LEN_MAX, PAGE_LEN_NEW, PAGES_BEGIN, Part, Root, SINGLE_LEN_MAX, page_key, parse_counts,
    separator, write_counts, write_root,
};
use crate::command::collection::{ElementRange, Large};
use crate::command::{Context, Stop};
use crate::meta::MetaError;
use crate::score;

/// A page as it was read, changes included.
#[derive(Debug)]
struct Page {
    level: u8,
    bounds: Bounds,
    counts: Vec<u64>,
    has_new_bounds: bool,
    has_new_counts: bool,
    /// A bucket in it is too large or too small.
    is_uneven: bool,
}

/// A bucket, or a page with all that is below it.
#[derive(Debug, Clone)]
struct Child {
    /// The page; 0 for buckets.
    page: u32,
    begin: Vec<u8>,
    count: u64,
}

/// A range of elements; no end: up to the last one.
#[derive(Debug, Clone, Default)]
struct Span {
    begin: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl Span {
    fn elements(&self, is_reverse: bool) -> ElementRange {
        let end = self.end.clone().unwrap_or_else(|| PAGES_BEGIN.to_vec());
        ElementRange { begin: self.begin.clone(), end: Some(end), is_reverse }
    }
}

/// Where a rank lies.
#[derive(Debug)]
pub(super) struct Place {
    /// The first element of its bucket is the first one from here on.
    pub(super) begin: Vec<u8>,
    /// Where the bucket ends; `None`: with the set.
    pub(super) end: Option<Vec<u8>>,
    /// Members of the bucket in front of it.
    pub(super) before: u64,
    /// Members of the bucket behind it.
    pub(super) after: u64,
}

/// The pages of a large sorted set that a command has to do with.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    /// `None`: the set is a single bucket.
    root: Option<u32>,
    next_page: u32,
    pages: BTreeMap<u32, Page>,
    /// Pages whose counts have changed.
    counted: Vec<u32>,
    removed: Vec<u32>,
    is_uneven: bool,
    /// Which set it is, while these are kept: what its elements begin with, under which epoch, and what
    /// its meta value says of the pages.
    prefix: Vec<u8>,
    epoch: u32,
    extra: Vec<u8>,
}

/// Sets of which pages are kept.
const KEPT_SETS_MAX: usize = 8;
/// Most pages of a set that are kept.
const KEPT_PAGES_MAX: usize = 256;

/// Pages as the last changes of some sets left them.
#[derive(Debug, Default)]
pub(crate) struct Kept(Vec<Buckets>);

impl Kept {
    /// The pages of a set, unless others wrote there.
    fn take(&mut self, prefix: &[u8], epoch: u32, extra: &[u8]) -> Option<Buckets> {
        let at = self.0.iter().position(|kept| kept.prefix == prefix)?;
        let kept = self.0.swap_remove(at);
        Some(kept).filter(|kept| kept.epoch == epoch && kept.extra == extra)
    }

    fn put(&mut self, buckets: Buckets) {
        if buckets.pages.len() > KEPT_PAGES_MAX {
            return;
        }
        if self.0.len() >= KEPT_SETS_MAX {
            self.0.remove(0);
        }
        self.0.push(buckets);
    }

    /// What was written may not be there.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// What leads to a bucket.
enum Way<'e> {
    To(&'e [u8]),
    Rank(u64),
}

impl Buckets {
    /// Finds the root.
    pub(super) fn open(ctx: &mut Context<'_>, large: &Large) -> Result<Self, Stop> {
        let Some(root) = Root::parse(&large.body.extra)? else { return Ok(Self::default()) };
        let bounds = read_bounds(ctx, large, root.page, root.level)?;
        let mut buckets =
            Self { root: Some(root.page), next_page: root.next_page, ..Self::default() };
        buckets.insert(root.page, root.level, bounds, root.counts)?;
        Ok(buckets)
    }

    /// Finds the root of a latched set, with the pages that are kept of it.
    pub(super) fn open_latched(ctx: &mut Context<'_>, large: &Large) -> Result<Self, Stop> {
        let epoch = ctx.exec.epoch_of(&large.prefix);
        let kept = epoch
            .and_then(|epoch| ctx.exec.kept_buckets.take(&large.prefix, epoch, &large.body.extra));
        match kept {
            Some(kept) => Ok(kept),
            None => Self::open(ctx, large),
        }
    }

    fn insert(&mut self, id: u32, level: u8, bounds: Bounds, counts: Vec<u64>) -> Result<(), Stop> {
        if bounds.children().count() != counts.len() {
            return Err(MetaError::Body.into());
        }
        let page = Page {
            level,
            bounds,
            counts,
            has_new_bounds: false,
            has_new_counts: false,
            is_uneven: false,
        };
        self.pages.insert(id, page);
        Ok(())
    }

    /// Reads a page, unless it was read before.
    fn load(
        &mut self,
        ctx: &mut Context<'_>,
        large: &Large,
        id: u32,
        level: u8,
    ) -> Result<(), Stop> {
        if let Some(page) = self.pages.get(&id) {
            return if page.level == level { Ok(()) } else { Err(MetaError::Body.into()) };
        }
        let bounds = read_bounds(ctx, large, id, level)?;
        let key = page_key(id, Part::Counts);
        let counts = ctx.page(&large.prefix, &key, |found| {
            found.map_or(Err(MetaError::Body), parse_counts)
        })??;
        self.insert(id, level, bounds, counts)
    }

    /// Goes down to a bucket. Of the child that is taken on each page `visit` gets how many members are
    /// in front of it and in it; returns where the bucket begins and ends.
    fn descend(
        &mut self,
        ctx: &mut Context<'_>,
        large: &Large,
        mut way: Way<'_>,
        mut visit: impl FnMut(u64, u64),
    ) -> Result<Span, Stop> {
        let mut span = Span::default();
        let mut next = self.root;
        while let Some(id) = next {
            let page = self.pages.get(&id).ok_or(MetaError::Body)?;
            let (at, child, end) = match way {
                Way::To(element) => page.bounds.find(element),
                Way::Rank(rank) => page.bounds.child(page.at_rank(rank)),
            };
            let (before, count) = (page.before(at), page.count(at));
            if let Way::Rank(rank) = &mut way {
                *rank = rank.saturating_sub(before);
            }
            visit(before, count);
            if !child.begin.is_empty() {
                span.begin = child.begin.to_vec();
            }
            if let Some(end) = end {
                span.end = Some(end.to_vec());
            }
            next = match page.level {
                1 => None,
                level => {
                    let id = child.page;
                    self.load(ctx, large, id, level - 1)?;
                    Some(id)
                }
            };
        }
        Ok(span)
    }

    /// Reads what [`Buckets::shift`] needs for an element. Stops if the element's bucket is far too
    /// large and this is a worker.
    pub(super) fn prepare(
        &mut self,
        ctx: &mut Context<'_>,
        large: &Large,
        element: &[u8],
    ) -> Result<(), Stop> {
        let (mut count, mut most) = (large.body.count, 2 * SINGLE_LEN_MAX);
        self.descend(ctx, large, Way::To(element), |_, of_child| {
            (count, most) = (of_child, 2 * BUCKET_LEN_MAX);
        })?;
        if count > most {
            if ctx.is_on_worker() {
                return Err(Stop::TooLong);
            }
            self.note_uneven(element);
        }
        Ok(())
    }

    /// Sees to it that the bucket of an element, which was prepared, is split.
    fn note_uneven(&mut self, element: &[u8]) {
        let mut next = self.root;
        while let Some(page) = next.and_then(|id| self.pages.get_mut(&id)) {
            (page.is_uneven, self.is_uneven) = (true, true);
            let (_, child, _) = page.bounds.find(element);
            next = Some(child.page).filter(|_| page.level > 1);
        }
    }

    /// Counts that a member leaves one place and comes to another, both of them prepared.
    pub(super) fn shift(&mut self, old: Option<&[u8]>, new: Option<&[u8]>) {
        let (mut old_page, mut new_page) =
            (self.root.filter(|_| old.is_some()), self.root.filter(|_| new.is_some()));
        if let (Some(old), Some(new)) = (old, new) {
            // As long as both go the same way nothing changes.
            while let Some(page) = old_page.and_then(|id| self.pages.get(&id)) {
                let ((at, child, _), (other, ..)) = (page.bounds.find(old), page.bounds.find(new));
                if at != other {
                    break;
                }
                let next = Some(child.page).filter(|_| page.level > 1);
                (old_page, new_page) = (next, next);
            }
        }
        self.count(old_page, old.unwrap_or_default(), false);
        self.count(new_page, new.unwrap_or_default(), true);
    }

    /// Counts from a page on downwards that there is one member more, or less.
    fn count(&mut self, mut next: Option<u32>, element: &[u8], is_more: bool) {
        while let Some(id) = next {
            let page = self.pages.get_mut(&id).expect("what is changed was prepared");
            let (at, child, _) = page.bounds.find(element);
            next = Some(child.page).filter(|_| page.level > 1);
            if !page.has_new_counts {
                page.has_new_counts = true;
                self.counted.push(id);
            }
            if let Some(count) = page.counts.get_mut(at) {
                *count = if is_more { *count + 1 } else { count.saturating_sub(1) };
            }
            if page.level == 1 && page.is_uneven_at(at) {
                page.is_uneven = true;
                self.is_uneven = true;
            }
        }
    }

    /// Splits and joins, writes the pages that have changed, and returns the new extra if it is
    /// another one.
    pub(super) fn finish(mut self, ctx: &mut Context<'_>, large: &Large) -> Option<Vec<u8>> {
        let is_structure_changed = match self.root {
            None if is_split_at(large.body.count, SINGLE_LEN_MAX) => {
                let single = Child { page: 0, begin: Vec::new(), count: large.body.count };
                let buckets = split(ctx, large, &Span::default(), single);
                if buckets.len() > 1 {
                    self.grow(buckets, 1);
                }
                true
            }
            Some(root) if self.is_uneven => {
                self.even_out_root(ctx, large, root);
                true
            }
            _ => false,
        };
        if is_structure_changed {
            self.counted.clear();
            self.counted.extend(self.pages.keys());
        }
        self.write(ctx, large);
        let mut extra = Vec::new();
        if let Some((page, root)) = self.root.and_then(|id| Some((id, self.pages.get(&id)?))) {
            write_root(root.level, page, self.next_page, &root.counts, &mut extra);
        }
        let new_extra = (extra != large.body.extra).then(|| extra.clone());
        if let (Some(_), Some(epoch)) = (self.root, ctx.exec.epoch_of(&large.prefix)) {
            self.prefix.clear();
            self.prefix.extend_from_slice(&large.prefix);
            (self.epoch, self.extra) = (epoch, extra);
            ctx.exec.kept_buckets.put(self);
        }
        new_extra
    }

    fn even_out_root(&mut self, ctx: &mut Context<'_>, large: &Large, root: u32) {
        let level = self.pages.get(&root).map_or(1, |page| page.level);
        let pages = self.even_out(ctx, large, root, &Span::default());
        if pages.len() > 1 {
            self.grow(pages, level + 1);
        }
        while let Some(id) = self.root
            && let Some(page) = self.pages.get(&id)
            && let [only] = page.children().as_slice()
        {
            let below = page.level - 1;
            if below == 0 && only.count > SINGLE_LEN_MAX
                || below > 0 && self.load(ctx, large, only.page, below).is_err()
            {
                break;
            }
            self.remove(id);
            self.root = None;
            if let Some(page) = self.pages.get_mut(&only.page).filter(|_| below > 0) {
                // Its counts move to the extra.
                page.has_new_counts = true;
                let key = page_key(only.page, Part::Counts);
                ctx.exec.batch.delete_element(Family::Score, &large.prefix, &key);
                self.root = Some(only.page);
            }
        }
    }

    /// Makes pages above `children`, whose pages are of this level, until one is left: the root.
    fn grow(&mut self, mut children: Vec<Child>, mut level: u8) {
        loop {
            for child in &children {
                if let Some(page) = self.pages.get_mut(&child.page).filter(|_| level > 1) {
                    // The root's are in the extra; it is none any more.
                    page.has_new_counts = true;
                }
            }
            let id = self.new_page();
            children = self.put(id, level, children);
            level += 1;
            if let [root] = children.as_slice() {
                self.root = Some(root.page);
                return;
            }
        }
    }

    /// Splits and joins the children of a page that was read, which spans this much, and returns the
    /// pages that take its place.
    fn even_out(
        &mut self,
        ctx: &mut Context<'_>,
        large: &Large,
        id: u32,
        span: &Span,
    ) -> Vec<Child> {
        let Some(page) = self.pages.get(&id) else { return Vec::new() };
        let (level, old) = (page.level, page.children());
        if level == 1 && !page.is_uneven {
            return vec![Child { page: id, begin: Vec::new(), count: page.counts.iter().sum() }];
        }
        let mut children = Vec::with_capacity(old.len() + 1);
        for (at, child) in old.iter().enumerate() {
            let begin = if at == 0 { &span.begin } else { &child.begin };
            let end =
                old.get(at + 1).map_or_else(|| span.end.clone(), |next| Some(next.begin.clone()));
            let span = Span { begin: begin.clone(), end };
            if level > 1 && self.pages.contains_key(&child.page) {
                let pages = self.even_out(ctx, large, child.page, &span);
                // Those it is split into begin where they say, the first one where it did.
                children.extend(pages.into_iter().enumerate().map(|(number, page)| {
                    if number == 0 { Child { begin: child.begin.clone(), ..page } } else { page }
                }));
            } else if level == 1 && child.count > BUCKET_LEN_MAX {
                children.extend(split(ctx, large, &span, child.clone()));
            } else {
                children.push(child.clone());
            }
        }
        self.join(&mut children, level);
        self.put(id, level, children)
    }

    /// Joins neighbours that are too small, and drops what is empty, as long as something is left.
    fn join(&mut self, children: &mut Vec<Child>, level: u8) {
        let mut at = 0;
        while let (Some(one), Some(other)) = (children.get(at), children.get(at + 1)) {
            let (least, sum) = (one.count.min(other.count), one.count + other.count);
            let is_joined = least == 0
                || level == 1 && least < BUCKET_LEN_MIN && sum <= BUCKET_LEN_JOINED_MAX
                || level > 1 && self.join_pages(one, other);
            if !is_joined {
                at += 1;
                continue;
            }
            let (mut one, other) = (one.clone(), children.remove(at + 1));
            if level > 1 && least == 0 {
                let empty = if one.count == 0 { one.page } else { other.page };
                self.remove_below(empty);
                if one.count == 0 {
                    one.page = other.page;
                }
            } else if level > 1 {
                self.remove(other.page);
            }
            one.count = sum;
            if let Some(place) = children.get_mut(at) {
                *place = one;
            }
        }
    }

    /// Moves the children of one page to the page in front of it, if both are there, one is small,
    /// and there is room.
    fn join_pages(&mut self, one: &Child, other: &Child) -> bool {
        let (Some(left), Some(right)) = (self.pages.get(&one.page), self.pages.get(&other.page))
        else {
            return false;
        };
        let (left_len, right_len) = (left.counts.len(), right.counts.len());
        if left_len.min(right_len) > PAGE_LEN_NEW / 4 || left_len + right_len > PAGE_LEN_NEW {
            return false;
        }
        let level = left.level;
        let mut children = left.children();
        let mut moved = right.children();
        if let Some(first) = moved.first_mut() {
            first.begin.clone_from(&other.begin);
        }
        children.append(&mut moved);
        self.put(one.page, level, children);
        true
    }

    /// Makes these the children of a page, or of several if they are too many, and returns the pages.
    fn put(&mut self, id: u32, level: u8, children: Vec<Child>) -> Vec<Child> {
        let pages_count =
            if children.len() > PAGE_LEN_MAX { children.len().div_ceil(PAGE_LEN_NEW) } else { 1 };
        let page_len = children.len().div_ceil(pages_count).max(1);
        let mut pages = Vec::with_capacity(pages_count);
        for (number, children) in children.chunks(page_len).enumerate() {
            let id = if number == 0 { id } else { self.new_page() };
            let begin = children.first().map_or_else(Vec::new, |first| first.begin.clone());
            let bounds = Bounds::new(
                level,
                children.iter().enumerate().map(|(at, child)| Bound {
                    page: child.page,
                    begin: if at == 0 { &[] } else { &child.begin },
                }),
            );
            let counts: Vec<u64> = children.iter().map(|child| child.count).collect();
            pages.push(Child { page: id, begin, count: counts.iter().sum() });
            let old = self.pages.get(&id);
            let has_new_bounds = old.is_none_or(|old| old.has_new_bounds || old.bounds != bounds);
            let has_new_counts = old.is_none_or(|old| old.has_new_counts || old.counts != counts);
            let page =
                Page { level, bounds, counts, has_new_bounds, has_new_counts, is_uneven: false };
            self.pages.insert(id, page);
        }
        pages
    }

    fn new_page(&mut self) -> u32 {
        let id = self.next_page;
        self.next_page = id.checked_add(1).expect("a set is not split four thousand million times");
        id
    }

    fn remove(&mut self, id: u32) {
        self.pages.remove(&id);
        self.removed.push(id);
    }

    /// Removes a page with all that are below it.
    fn remove_below(&mut self, id: u32) {
        if let Some(page) = self.pages.get(&id).filter(|page| page.level > 1) {
            for child in page.children() {
                self.remove_below(child.page);
            }
        }
        self.remove(id);
    }

    /// Writes the pages that have changed, and those that were removed.
    fn write(&mut self, ctx: &mut Context<'_>, large: &Large) {
        for id in self.removed.drain(..) {
            for part in [Part::Bounds, Part::Counts] {
                let key = page_key(id, part);
                ctx.exec.batch.delete_element(Family::Score, &large.prefix, &key);
            }
        }
        let mut counts = Vec::new();
        for id in self.counted.drain(..) {
            let Some(page) = self.pages.get_mut(&id) else { continue };
            if page.has_new_bounds {
                let key = page_key(id, Part::Bounds);
                let bounds = page.bounds.as_bytes();
                ctx.exec.batch.put_element(Family::Score, &large.prefix, &key, bounds);
            }
            if page.has_new_counts && self.root != Some(id) {
                counts.clear();
                write_counts(&page.counts, &mut counts);
                ctx.write_page(&large.prefix, &page_key(id, Part::Counts), &counts);
            }
            (page.has_new_bounds, page.has_new_counts, page.is_uneven) = (false, false, false);
        }
        self.is_uneven = false;
    }
}

impl Page {
    /// Members of the children in front of one.
    fn before(&self, at: usize) -> u64 {
        self.counts.iter().take(at).sum()
    }

    fn count(&self, at: usize) -> u64 {
        self.counts.get(at).copied().unwrap_or(0)
    }

    /// The child with the member of this rank, or else the last one.
    fn at_rank(&self, mut rank: u64) -> usize {
        let is_behind = |count: &u64| match rank.checked_sub(*count) {
            Some(rest) => {
                rank = rest;
                false
            }
            None => true,
        };
        self.counts
            .iter()
            .position(is_behind)
            .unwrap_or_else(|| self.counts.len().saturating_sub(1))
    }

    /// Whether a bucket wants to be split, or joined with one beside it.
    fn is_uneven_at(&self, at: usize) -> bool {
        let count = self.count(at);
        let is_joinable = |other: Option<&u64>| {
            other.is_some_and(|other| count == 0 || other + count <= BUCKET_LEN_JOINED_MAX)
        };
        is_split_at(count, BUCKET_LEN_MAX)
            || count < BUCKET_LEN_MIN
                && (is_joinable(self.counts.get(at + 1))
                    || is_joinable(at.checked_sub(1).and_then(|before| self.counts.get(before)))
                    || count == 0)
    }

    fn children(&self) -> Vec<Child> {
        let child = |(bound, count): (Bound<'_>, &u64)| Child {
            page: bound.page,
            begin: bound.begin.to_vec(),
            count: *count,
        };
        self.bounds.children().zip(&self.counts).map(child).collect()
    }
}

/// Whether a bucket of so many is to be split: at once if it can be read, else tried now and then.
fn is_split_at(count: u64, len_max: u64) -> bool {
    count > len_max && (count % 16 == 1 || count > 2 * len_max)
}

fn read_bounds(ctx: &mut Context<'_>, large: &Large, id: u32, level: u8) -> Result<Bounds, Stop> {
    let key = page_key(id, Part::Bounds);
    let bounds = ctx.page(&large.prefix, &key, |found| {
        found.map_or(Err(MetaError::Body), |bytes| Bounds::parse(bytes.to_vec(), level))
    })?;
    Ok(bounds?)
}

/// Splits a bucket, which spans this much, into as many as its members should have; it stays as it
/// is if they cannot be read now.
fn split(ctx: &mut Context<'_>, large: &Large, span: &Span, bucket: Child) -> Vec<Child> {
    let pieces = bucket.count.div_ceil(BUCKET_LEN_NEW).max(1);
    let piece_len = bucket.count.div_ceil(pieces).max(1);
    let mut begins = vec![bucket.begin.clone()];
    let (mut seen, mut last, mut element) = (0, Vec::new(), Vec::new());
    let walked = walk_large(ctx, large, &span.elements(false), &mut |score, member| {
        if seen > 0 && seen % piece_len == 0 {
            score::write_element(&mut element, score, member);
            begins.push(separator(&last, &element).to_vec());
        }
        seen += 1;
        if seen % piece_len == 0 {
            score::write_element(&mut last, score, member);
        }
        true
    });
    if walked.is_err() || seen != bucket.count {
        return vec![bucket];
    }
    let counts = (0..pieces).map(|piece| (bucket.count - piece * piece_len).min(piece_len));
    begins.into_iter().zip(counts).map(|(begin, count)| Child { page: 0, begin, count }).collect()
}

/// How many members of a set that has pages lie before an element.
pub(super) fn count_before(
    ctx: &mut Context<'_>,
    large: &Large,
    element: &[u8],
) -> Result<u64, Stop> {
    let mut before = 0;
    let mut buckets = Buckets::open(ctx, large)?;
    let mut span = buckets.descend(ctx, large, Way::To(element), |of_page, _| before += of_page)?;
    span.end = Some(element.to_vec());
    walk_large(ctx, large, &span.elements(false), &mut |_, _| {
        before += 1;
        true
    })?;
    Ok(before)
}

/// Where the member of a rank lies, of a set that has pages.
pub(super) fn locate(ctx: &mut Context<'_>, large: &Large, rank: u64) -> Result<Place, Stop> {
    let mut buckets = Buckets::open(ctx, large)?;
    let (mut before, mut count) = (0, 0);
    let Span { begin, end } =
        buckets.descend(ctx, large, Way::Rank(rank), |of_page, of_child| {
            before += of_page;
            count = of_child;
        })?;
    let before = rank.saturating_sub(before);
    Ok(Place { begin, end, before, after: count.saturating_sub(before + 1) })
}
