//! Which members of large sets SPOP takes next, as far as a worker knows.
//!
//! To find random members costs a seek and some steps, however many of them are taken there. So a
//! worker remembers, for the sets that it popped from last, members that were chosen at random and
//! not taken yet. What it removes otherwise makes it forget them; what it adds is put among them with
//! the chance that makes it as likely as any; whatever others write makes them invalid, by the same
//! epochs as in [`crate::cache`]; and all is forgotten when writes that it counted on are taken back.
//!
//! Where most of a set was taken, each step to a member that is left leads over many that are gone,
//! until RocksDB compacts them away. Then members are taken in the order of their hashes from a random
//! one on, which the *cursor* remembers: nobody steps over what lies before it again.

/// Sets of which this is known. The one that was learnt of first is forgotten.
const SETS_MAX: usize = 16;
/// Members that are remembered of a set. With more, one gives way to one that is added.
pub(crate) const MEMBERS_MAX: usize = 1024;
/// A longer member that would have to be remembered makes a worker forget the others instead.
const NAME_LEN_MAX: usize = 1024;

/// What is known of one set.
#[derive(Debug, Default)]
pub(crate) struct Draw {
    /// What its elements begin with.
    prefix: Vec<u8>,
    epoch: u32,
    /// The next one is the last.
    members: Vec<Vec<u8>>,
    /// The member that was given last, if it was not among `members` since.
    given: Option<Vec<u8>>,
    /// The hash to go on at, where most members were taken.
    cursor: Option<u32>,
}

/// See the module page.
#[derive(Debug, Default)]
pub(crate) struct Draws {
    sets: Vec<Draw>,
    /// Which is replaced next.
    next: usize,
}

impl Draws {
    /// The next member of a set; `None`: none is known.
    pub(crate) fn take(&mut self, prefix: &[u8], epoch: u32) -> Option<Vec<u8>> {
        let draw = self.find(prefix).filter(|draw| draw.epoch == epoch)?;
        let name = draw.members.pop()?;
        let given = draw.given.get_or_insert_default();
        given.clear();
        given.extend_from_slice(&name);
        Some(name)
    }

    /// Where members are taken in order, the hash to go on at, whatever the epoch.
    pub(crate) fn cursor(&mut self, prefix: &[u8]) -> Option<u32> {
        self.find(prefix)?.cursor
    }

    /// These members of a set come next, the last one first.
    pub(crate) fn learn(
        &mut self,
        prefix: &[u8],
        epoch: u32,
        members: Vec<Vec<u8>>,
        cursor: Option<u32>,
    ) {
        let at = match self.sets.iter().position(|draw| draw.prefix == prefix) {
            Some(at) => at,
            None if self.sets.len() < SETS_MAX => {
                self.sets.push(Draw::default());
                self.sets.len() - 1
            }
            None => {
                self.next = (self.next + 1) % SETS_MAX;
                self.next
            }
        };
        self.sets[at] = Draw { prefix: prefix.to_vec(), epoch, members, given: None, cursor };
    }

    /// Members that may be given of a set.
    pub(crate) fn len(&self, prefix: &[u8]) -> usize {
        let draw = self.sets.iter().find(|draw| draw.prefix == prefix);
        draw.map_or(0, |draw| draw.members.len())
    }

    /// A member is added to a set, and is to be given when `at` others were; at most all.
    pub(crate) fn add(&mut self, prefix: &[u8], name: &[u8], at: usize) {
        if let Some(draw) = self.find(prefix) {
            draw.given = draw.given.take().filter(|given| given != name);
            if name.len() > NAME_LEN_MAX {
                draw.members.clear();
                return;
            }
            if draw.members.len() >= MEMBERS_MAX {
                draw.members.swap_remove(0);
            }
            let place = draw.members.len().saturating_sub(at);
            draw.members.insert(place, name.to_vec());
        }
    }

    /// The element of `data` with this key is removed.
    pub(crate) fn removed(&mut self, key: &[u8]) {
        for draw in &mut self.sets {
            let Some(element) = key.strip_prefix(draw.prefix.as_slice()) else { continue };
            let name = element.get(crate::element::MEMBER_HASH_LEN..);
            if name.is_none() || draw.given.as_deref() != name {
                draw.members.clear();
            }
        }
    }

    /// What was read or added may not be there.
    pub(crate) fn clear(&mut self) {
        self.sets.clear();
    }

    /// All that is known: prefixes, members and cursors.
    pub(crate) fn into_all(self) -> impl Iterator<Item = (Vec<u8>, Vec<Vec<u8>>, Option<u32>)> {
        self.sets.into_iter().map(|draw| (draw.prefix, draw.members, draw.cursor))
    }

    fn find(&mut self, prefix: &[u8]) -> Option<&mut Draw> {
        self.sets.iter_mut().find(|draw| draw.prefix == prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    fn key(name: &str) -> Vec<u8> {
        [b"set", &[0; 4][..], name.as_bytes()].concat()
    }

    #[test]
    fn members_are_given_once_and_only_under_their_epoch() {
        let mut draws = Draws::default();
        draws.learn(b"set", 1, names(&["a", "b"]), Some(7));
        assert_eq!((draws.take(b"set", 2), draws.take(b"other", 1)), (None, None));
        assert_eq!(draws.take(b"set", 1).as_deref(), Some(&b"b"[..]));
        assert_eq!(draws.take(b"set", 1).as_deref(), Some(&b"a"[..]));
        assert_eq!((draws.take(b"set", 1), draws.cursor(b"set")), (None, Some(7)));
    }

    #[test]
    fn a_removal_of_what_was_not_given_forgets_the_others() {
        let mut draws = Draws::default();
        draws.learn(b"set", 1, names(&["a", "b", "c"]), None);
        assert!(draws.take(b"set", 1).is_some());
        draws.removed(&key("c"));
        draws.removed(b"se");
        assert_eq!(draws.len(b"set"), 2, "the one that was given, and other keys");
        draws.removed(&key("a"));
        assert_eq!(draws.take(b"set", 1), None);
    }

    // What could break: a member that was given, comes back, and is removed by name.
    #[test]
    fn a_given_member_that_is_added_again_is_not_taken_for_given() {
        let mut draws = Draws::default();
        draws.learn(b"set", 1, names(&["a", "b"]), None);
        assert_eq!(draws.take(b"set", 1).as_deref(), Some(&b"b"[..]));
        draws.removed(&key("b"));
        draws.add(b"set", b"b", 1);
        assert_eq!(draws.len(b"set"), 2);
        draws.removed(&key("b"));
        assert_eq!(draws.len(b"set"), 0);
        draws.learn(b"set", 1, names(&["b"]), None);
        draws.removed(&key("b"));
        assert_eq!(draws.len(b"set"), 0, "what is learnt was not given");
    }

    #[test]
    fn what_is_added_does_not_grow_without_end() {
        let mut draws = Draws::default();
        draws.learn(b"set", 1, names(&["a"]), None);
        for number in 0..2 * MEMBERS_MAX {
            draws.add(b"set", &number.to_be_bytes(), number % 3);
        }
        assert_eq!(draws.len(b"set"), MEMBERS_MAX);
        draws.add(b"set", &[b'a'; NAME_LEN_MAX + 1], 0);
        assert_eq!(draws.len(b"set"), 0);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut draws = Draws::default();
        for number in 0..100_u8 {
            draws.learn(&[number], 0, names(&["a"]), None);
        }
        let known = (0..100_u8).filter(|number| draws.len(&[*number]) > 0).count();
        assert_eq!((known, draws.len(&[99])), (SETS_MAX, 1));
        draws.clear();
        assert_eq!(draws.len(&[99]), 0);
    }
}
