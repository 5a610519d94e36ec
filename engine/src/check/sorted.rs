//! Large sorted sets: members with their number, with their places in the order, and with the counts of
//! the buckets.

use super::{Checked, What};
use crate::batch::Family;
use crate::bucket::{Bounds, PAGES_BEGIN, Part, Root, page_key, parse_counts};
use crate::element::{self, LargeBody};
use crate::engine::Engine;
use crate::score;
use crate::store::{self, Found, StoreError, Tier};

/// The pages of one sorted set, read.
#[derive(Default)]
struct Tree {
    /// Where buckets begin and how many members they should have.
    buckets: Vec<(Vec<u8>, u64)>,
    /// The elements that the pages have.
    elements: Vec<Vec<u8>>,
    pages: u64,
}

impl Engine {
    /// What differs in a large sorted set, if anything.
    pub(super) fn check_sorted_set(
        &self,
        prefix: &[u8],
        body: &LargeBody,
        checked: &mut Checked,
    ) -> Result<What, StoreError> {
        let mut tree = Tree::default();
        match Root::parse(&body.extra) {
            Err(_damaged) => return Ok(Some("its root cannot be read")),
            Ok(None) => tree.buckets.push((Vec::new(), body.count)),
            Ok(Some(root)) => {
                checked.levels = checked.levels.max(root.level);
                let Root { level, page, counts, .. } = root;
                if let Some(what) = self.read_page(prefix, &mut tree, level, page, &[], counts)? {
                    return Ok(Some(what));
                }
            }
        }
        if let Some(what) = self.check_scored(prefix, body, &tree)? {
            return Ok(Some(what));
        }
        checked.sets += 1;
        checked.members += body.count;
        checked.pages += tree.pages;
        checked.buckets += tree.buckets.len() as u64;
        let largest = tree.buckets.iter().map(|(_, count)| *count).max();
        checked.bucket_len_max = checked.bucket_len_max.max(largest.unwrap_or(0));
        Ok(None)
    }

    fn read_page(
        &self,
        prefix: &[u8],
        tree: &mut Tree,
        level: u8,
        page: u32,
        page_begin: &[u8],
        counts: Vec<u64>,
    ) -> Result<What, StoreError> {
        let key = page_key(page, Part::Bounds);
        let Some(bounds) = self.value(prefix, &key)? else { return Ok(Some("a page is missing")) };
        let Ok(bounds) = Bounds::parse(bounds, level) else {
            return Ok(Some("a page cannot be read"));
        };
        tree.pages += 1;
        tree.elements.push(key.to_vec());
        if bounds.children().count() != counts.len() {
            return Ok(Some("a page has another number of counts than of bounds"));
        }
        for (at, (child, count)) in bounds.children().zip(counts).enumerate() {
            let begin = if at == 0 { page_begin } else { child.begin };
            if level == 1 {
                if tree.buckets.last().is_some_and(|(last, _)| last.as_slice() >= begin) {
                    return Ok(Some("its buckets are not in order"));
                }
                tree.buckets.push((begin.to_vec(), count));
                continue;
            }
            let key = page_key(child.page, Part::Counts);
            let below = self.value(prefix, &key)?.map(|bytes| parse_counts(&bytes));
            let Some(Ok(below)) = below else { return Ok(Some("counts of a page cannot be read")) };
            if below.iter().sum::<u64>() != count {
                return Ok(Some("a page's counts differ from those below it"));
            }
            tree.elements.push(key.to_vec());
            let below = self.read_page(prefix, tree, level - 1, child.page, begin, below)?;
            if below.is_some() {
                return Ok(below);
            }
        }
        Ok(None)
    }

    /// Compares the order with members, counts and pages.
    fn check_scored(
        &self,
        prefix: &[u8],
        body: &LargeBody,
        tree: &Tree,
    ) -> Result<What, StoreError> {
        let mut pages: Vec<&[u8]> = tree.elements.iter().map(Vec::as_slice).collect();
        pages.sort_unstable();
        let mut pages = pages.into_iter();
        let mut buckets = tree.buckets.iter().peekable();
        let (mut members, mut rest) = (0, 0);
        let mut iter = self.elements_of(Family::Score, prefix);
        let mut key = Vec::new();
        while let Some(element) = iter.key().and_then(|key| key.get(prefix.len()..)) {
            if element.starts_with(&PAGES_BEGIN) {
                if pages.next() != Some(element) {
                    return Ok(Some("a page is not reached from the root"));
                }
                iter.next();
                continue;
            }
            while let Some((_, count)) = buckets.next_if(|(begin, _)| begin.as_slice() <= element) {
                if rest != 0 {
                    return Ok(Some("a bucket has fewer members than it counts"));
                }
                rest = *count;
            }
            let Some(less) = u64::checked_sub(rest, 1) else {
                return Ok(Some("a bucket has more members than it counts"));
            };
            rest = less;
            members += 1;
            let Some((score, member)) = score::parse_element(element) else {
                return Ok(Some("a score cannot be read"));
            };
            element::write_member(&mut key, member);
            let full = [prefix, &key].concat();
            match self.store.get(Family::Data, &full, Tier::Device)? {
                Found::Value(stored) if *stored == score::to_bytes(score) => {}
                _ => return Ok(Some("a member has another score, or none, in data")),
            }
            iter.next();
        }
        store::is_at_end(&iter)?;
        let mut stored = self.elements_of(Family::Data, prefix);
        let mut stored_count = 0;
        while stored.valid() {
            stored_count += 1;
            stored.next();
        }
        store::is_at_end(&stored)?;
        Ok(if rest != 0 || buckets.any(|(_, count)| *count > 0) {
            Some("a bucket has fewer members than it counts")
        } else if members != body.count || stored_count != body.count {
            Some("it has another number of members than it says")
        } else if pages.next().is_some() {
            Some("a page is missing")
        } else {
            None
        })
    }

    fn value(&self, prefix: &[u8], element: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let key = [prefix, element].concat();
        Ok(match self.store.get(Family::Score, &key, Tier::Device)? {
            Found::Value(value) => Some(value.to_vec()),
            Found::Absent | Found::NeedsDevice => None,
        })
    }
}
