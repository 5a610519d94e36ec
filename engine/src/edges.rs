//! Where large sorted sets begin and end in `score`, as far as a worker knows.
//!
//! A sorted set that is used as a queue leaves a removed element behind for each that was taken,
//! until RocksDB compacts them away, and whoever looks for the first one steps over all of them. So
//! a worker remembers, for the sorted sets that it read last, an element before which there is none,
//! and one after which there is none. And since to look costs more than the steps that follow, whoever
//! takes the first one looks for some more, which are remembered for those who take the next ones. What
//! a worker adds or removes itself changes all that; whatever others write makes it invalid, by the same
//! epochs as in [`crate::cache`]; and all is forgotten when writes that it counted on are taken back.
//! A command that is built on the pool takes what is known of the sets that it holds along: it would step over
//! all removed elements otherwise, once for each part of the set that is not in memory.

use std::collections::VecDeque;

/// Sorted sets of which this is known. The one that was learnt of first is forgotten.
const EDGES_MAX: usize = 16;
/// Elements that are remembered of an end, and the bytes of their keys when they are learnt.
pub(crate) const END_LEN_MAX: usize = 64;
pub(crate) const END_BYTES_MAX: usize = 16 << 10;

#[derive(Debug, Default)]
struct Edge {
    prefix: Vec<u8>,
    epoch: u32,
    /// Keys in `score`, prefix included; empty: unknown.
    first: Vec<u8>,
    last: Vec<u8>,
    /// The first elements without a gap, and the last ones, the outermost first; none: unknown.
    ends: [VecDeque<Vec<u8>>; 2],
}

impl Edge {
    /// Whether a key lies farther out than another one.
    fn is_before(key: &[u8], other: &[u8], is_last: bool) -> bool {
        if is_last { key > other } else { key < other }
    }

    /// Where a key lies, or would lie, among those of an end.
    fn place(&self, key: &[u8], is_last: bool) -> usize {
        self.ends[usize::from(is_last)]
            .partition_point(|other| Self::is_before(other, key, is_last))
    }

    fn added(&mut self, key: &[u8]) {
        if !self.first.is_empty() && key < self.first.as_slice() {
            self.first.clear();
            self.first.extend_from_slice(key);
        }
        if !self.last.is_empty() && key > self.last.as_slice() {
            self.last.clear();
            self.last.extend_from_slice(key);
        }
        for is_last in [false, true] {
            let at = self.place(key, is_last);
            let end = &mut self.ends[usize::from(is_last)];
            // What lies farther in is unknown.
            if end.get(at).is_some_and(|other| other.as_slice() != key) {
                end.insert(at, key.to_vec());
                end.truncate(END_LEN_MAX);
            }
        }
    }

    fn removed(&mut self, key: &[u8]) {
        for is_last in [false, true] {
            let at = self.place(key, is_last);
            let end = &mut self.ends[usize::from(is_last)];
            if end.get(at).is_none_or(|other| other.as_slice() != key) {
                continue;
            }
            if let Some(gone) = end.remove(at).filter(|_| at == 0) {
                // Nothing lies farther out.
                *(if is_last { &mut self.last } else { &mut self.first }) = gone;
            }
        }
    }
}

/// See the module page.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    edges: Vec<Edge>,
    /// Which is replaced next.
    next: usize,
}

impl Edges {
    /// No element of the sorted set lies before this key.
    pub(crate) fn first(&self, prefix: &[u8], epoch: u32) -> Option<&[u8]> {
        self.find(prefix, epoch).map(|edge| edge.first.as_slice()).filter(|key| !key.is_empty())
    }

    /// No element of the sorted set lies after this key.
    pub(crate) fn last(&self, prefix: &[u8], epoch: u32) -> Option<&[u8]> {
        self.find(prefix, epoch).map(|edge| edge.last.as_slice()).filter(|key| !key.is_empty())
    }

    /// Takes over where sorted sets begin and end, as another knows it: `epoch_of` gets a prefix and the epoch there,
    /// and chooses the epoch here; `None`: not this one.
    pub(crate) fn learn_from(
        &mut self,
        other: &Self,
        mut epoch_of: impl FnMut(&[u8], u32) -> Option<u32>,
    ) {
        for edge in &other.edges {
            let Some(epoch) = epoch_of(&edge.prefix, edge.epoch) else { continue };
            for (key, is_last) in [(&edge.first, false), (&edge.last, true)] {
                if !key.is_empty() {
                    self.learn(&edge.prefix, epoch, key, is_last);
                }
            }
        }
    }

    fn find(&self, prefix: &[u8], epoch: u32) -> Option<&Edge> {
        self.edges.iter().find(|edge| edge.epoch == epoch && edge.prefix == prefix)
    }

    /// A walk from the beginning, or from the end, met this key first.
    pub(crate) fn learn(&mut self, prefix: &[u8], epoch: u32, key: &[u8], is_last: bool) {
        let at = match self.edges.iter().position(|edge| edge.prefix == prefix) {
            Some(at) => at,
            None if self.edges.len() < EDGES_MAX => {
                self.edges.push(Edge::default());
                self.edges.len() - 1
            }
            None => {
                self.next = (self.next + 1) % EDGES_MAX;
                self.next
            }
        };
        let edge = &mut self.edges[at];
        if edge.epoch != epoch || edge.prefix != prefix {
            edge.first.clear();
            edge.last.clear();
            edge.ends.iter_mut().for_each(VecDeque::clear);
            edge.prefix.clear();
            edge.prefix.extend_from_slice(prefix);
            edge.epoch = epoch;
        }
        let known = if is_last { &mut edge.last } else { &mut edge.first };
        known.clear();
        known.extend_from_slice(key);
    }

    /// A walk from the beginning, or from the end, which this epoch allows, met these keys first, without
    /// a gap.
    pub(crate) fn learn_end(
        &mut self,
        prefix: &[u8],
        epoch: u32,
        keys: VecDeque<Vec<u8>>,
        is_last: bool,
    ) {
        let edge = self.edges.iter_mut().find(|edge| edge.epoch == epoch && edge.prefix == prefix);
        if let Some(edge) = edge {
            edge.ends[usize::from(is_last)] = keys;
        }
    }

    /// The keys of the outermost elements, so many of them, if they are known.
    pub(crate) fn end(
        &self,
        prefix: &[u8],
        epoch: u32,
        is_last: bool,
        count: usize,
    ) -> Option<impl Iterator<Item = &[u8]>> {
        let end = &self.find(prefix, epoch)?.ends[usize::from(is_last)];
        let keys = end.iter().take(count).map(Vec::as_slice);
        (end.len() >= count).then_some(keys)
    }

    /// An element with this key is added.
    pub(crate) fn added(&mut self, key: &[u8]) {
        for edge in self.edges.iter_mut().filter(|edge| key.starts_with(&edge.prefix)) {
            edge.added(key);
        }
    }

    /// The element with this key is removed.
    pub(crate) fn removed(&mut self, key: &[u8]) {
        for edge in self.edges.iter_mut().filter(|edge| key.starts_with(&edge.prefix)) {
            edge.removed(key);
        }
    }

    /// What was read or added may not be there.
    pub(crate) fn clear(&mut self) {
        self.edges.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_move_the_edges_and_other_epochs_know_nothing() {
        let mut edges = Edges::default();
        edges.learn(b"a", 1, b"a5", false);
        edges.learn(b"a", 1, b"a7", true);
        assert_eq!(
            (edges.first(b"a", 1), edges.last(b"a", 1)),
            (Some(&b"a5"[..]), Some(&b"a7"[..]))
        );
        assert_eq!((edges.first(b"a", 2), edges.first(b"b", 1)), (None, None));
        edges.added(b"a6");
        edges.added(b"b1");
        assert_eq!(
            (edges.first(b"a", 1), edges.last(b"a", 1)),
            (Some(&b"a5"[..]), Some(&b"a7"[..]))
        );
        edges.added(b"a4");
        edges.added(b"a8");
        assert_eq!(
            (edges.first(b"a", 1), edges.last(b"a", 1)),
            (Some(&b"a4"[..]), Some(&b"a8"[..]))
        );
        // Another worker wrote; what is learnt now says nothing of the other end.
        edges.learn(b"a", 2, b"a1", false);
        assert_eq!((edges.first(b"a", 2), edges.last(b"a", 2)), (Some(&b"a1"[..]), None));
        edges.clear();
        assert_eq!(edges.first(b"a", 2), None);
    }

    // What could break: an element that was added or removed among those that are known, or beside them.
    #[test]
    fn known_ends_change_with_what_is_added_and_removed() {
        let mut edges = Edges::default();
        let keys = |keys: &[&str]| keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        edges.learn_end(b"a", 1, keys(&["a1"]), false);
        assert!(edges.end(b"a", 1, false, 1).is_none(), "no walk allowed that");
        for is_last in [false, true] {
            edges.learn(b"a", 1, b"a5", is_last);
        }
        edges.learn_end(b"a", 1, keys(&["a3", "a5"]), false);
        edges.learn_end(b"a", 1, keys(&["a9", "a7"]), true);
        let known = |edges: &Edges, is_last, count| {
            let end = edges.end(b"a", 1, is_last, count)?;
            Some(end.map(|key| String::from_utf8_lossy(key).into_owned()).collect::<Vec<_>>())
        };
        for key in [b"a4", b"a6", b"a8", b"a1"] {
            edges.added(key);
        }
        edges.added(b"a4");
        assert_eq!(known(&edges, false, 4), Some(keys_of(&["a1", "a3", "a4", "a5"])));
        assert_eq!(known(&edges, true, 3), Some(keys_of(&["a9", "a8", "a7"])));
        assert_eq!((known(&edges, false, 5), known(&edges, true, 4)), (None, None));
        for key in [b"a9", b"a3", b"a2", b"a1", b"a6"] {
            edges.removed(key);
        }
        assert_eq!(known(&edges, false, 2), Some(keys_of(&["a4", "a5"])));
        assert_eq!(known(&edges, true, 2), Some(keys_of(&["a8", "a7"])));
        assert_eq!(
            (edges.first(b"a", 1), edges.last(b"a", 1)),
            (Some(&b"a1"[..]), Some(&b"a9"[..]))
        );
        assert!(edges.end(b"a", 2, false, 0).is_none(), "another epoch");
        for number in 0..2 * END_LEN_MAX {
            edges.added(format!("a0{number:04}").as_bytes());
        }
        assert_eq!(known(&edges, false, END_LEN_MAX).map(|known| known.len()), Some(END_LEN_MAX));
        assert_eq!(known(&edges, false, END_LEN_MAX + 1), None);
    }

    fn keys_of(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn others_are_told_of_chosen_sets_where_they_begin_and_end() {
        let mut edges = Edges::default();
        edges.learn(b"a", 7, b"a5", false);
        edges.learn(b"a", 7, b"a9", true);
        edges.learn(b"b", 7, b"b5", false);
        let mut known = Edges::default();
        known.learn_from(&edges, |prefix, epoch| (prefix == b"a" && epoch == 7).then_some(0));
        assert_eq!(
            (known.first(b"a", 0), known.last(b"a", 0)),
            (Some(&b"a5"[..]), Some(&b"a9"[..]))
        );
        assert_eq!(known.first(b"b", 0), None);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut edges = Edges::default();
        for number in 0..100_u8 {
            edges.learn(&[number], 0, &[number, 1], false);
        }
        let known = (0..100_u8).filter(|number| edges.first(&[*number], 0).is_some()).count();
        assert_eq!(known, EDGES_MAX);
        assert_eq!(edges.first(&[99], 0), Some(&[99, 1][..]));
    }
}
