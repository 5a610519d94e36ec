//! Whether what a command has read was so at one moment, although other workers write meanwhile.

use super::Executor;
use crate::command::{CommandSpec, Flags, Stop};

impl Executor {
    /// Why the present command, if it only reads, has to be executed again.
    pub(super) fn check_reads(&mut self, spec: &CommandSpec) -> Option<Stop> {
        if !spec.flags.contains(Flags::READONLY) {
            return None;
        }
        if self.is_mixed() {
            self.commit_requested = true;
            return Some(Stop::Latch);
        }
        self.may_be_torn().then_some(Stop::TooLong)
    }

    /// Whether the present command has read a key as the open batch leaves it and another, which the
    /// batch does not write, as it is committed: somebody else may commit the other before the batch,
    /// and then there is no moment at which both were so.
    fn is_mixed(&self) -> bool {
        self.is_shared
            && self.seen_pending
            && self.seen.iter().any(|(stripe, _)| !self.latched.contains(stripe))
    }

    /// Whether the present command, which has read, may have seen another worker's batch in one key
    /// or element and not in another. Single ones and ranges are read as of one moment anyway; for
    /// more, nobody may have written their keys from the first read to now. The pool reads a
    /// snapshot.
    fn may_be_torn(&self) -> bool {
        self.is_shared
            && (self.element_reads > 1 || self.seen.len() > 1)
            && self.seen.iter().any(|(stripe, version)| {
                version.is_none() || self.engine.stripes.version(*stripe, self.id) != *version
            })
    }
}
