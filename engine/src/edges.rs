//! Where large sorted sets begin and end in `score`, as far as a worker knows.
//!
//! A sorted set that is used as a queue leaves a removed element behind for each that was taken,
//! until RocksDB compacts them away, and whoever looks for the first one steps over all of them. So
//! a worker remembers, for the sorted sets that it read last, an element before which there is none,
//! and one after which there is none. What it adds itself moves them; whatever others write makes
//! them invalid, by the same epochs as in [`crate::cache`]; and all is forgotten when writes that it
//! counted on are taken back.

/// Sorted sets of which this is known. The one that was learnt of first is forgotten.
const EDGES_MAX: usize = 16;

#[derive(Debug, Default)]
struct Edge {
    prefix: Vec<u8>,
    epoch: u32,
    /// Keys in `score`, prefix included; empty: unknown.
    first: Vec<u8>,
    last: Vec<u8>,
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
            edge.prefix.clear();
            edge.prefix.extend_from_slice(prefix);
            edge.epoch = epoch;
        }
        let known = if is_last { &mut edge.last } else { &mut edge.first };
        known.clear();
        known.extend_from_slice(key);
    }

    /// An element with this key is added.
    pub(crate) fn added(&mut self, key: &[u8]) {
        for edge in &mut self.edges {
            if !key.starts_with(&edge.prefix) {
                continue;
            }
            if !edge.first.is_empty() && key < edge.first.as_slice() {
                edge.first.clear();
                edge.first.extend_from_slice(key);
            }
            if !edge.last.is_empty() && key > edge.last.as_slice() {
                edge.last.clear();
                edge.last.extend_from_slice(key);
            }
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
