//! Rows of the HyperLogLog commands.

use crate::command::hyperloglog;
use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Categories, CommandSpec, Flags, Group, Handler, KeySpec};

pub(super) const ROWS: &[CommandSpec] = &[
    CommandSpec::new("pfadd", AtLeast(2), Group::HyperLogLog, "2.8.9", Handler::Fast(hyperloglog::pf_add))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::HYPERLOGLOG])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "insert"])])
        .docs("O(1) to add every element.", "Adds elements to a HyperLogLog key. Creates the key if it doesn't exist."),
    CommandSpec::new("pfcount", AtLeast(2), Group::HyperLogLog, "2.8.9", Handler::Fast(hyperloglog::pf_count))
        .flags(&[Flags::READONLY], &[Categories::HYPERLOGLOG])
        .keys(&[KeySpec::new(1, -1, 1, &["RW", "access"]).noted("RW because it may change the internal representation of the key, and propagate to replicas")])
        .docs("O(1) with a very small average constant time when called with a single key. O(N) with N being the number of keys, and much bigger constant times, when called with multiple keys.", "Returns the approximated cardinality of the set(s) observed by the HyperLogLog key(s)."),
    CommandSpec::new("pfdebug", Exactly(3), Group::HyperLogLog, "2.8.9", Handler::Fast(hyperloglog::pf_debug))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::ADMIN], &[Categories::HYPERLOGLOG])
        .keys(&[KeySpec::new(2, 0, 1, &["RW", "access"])])
        .docs("N/A", "Internal commands for debugging HyperLogLog values."),
    CommandSpec::new("pfmerge", AtLeast(2), Group::HyperLogLog, "2.8.9", Handler::Fast(hyperloglog::pf_merge))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::HYPERLOGLOG])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "insert"]), KeySpec::new(2, -1, 1, &["RO", "access"])])
        .docs("O(N) to merge N HyperLogLogs, but with high constant times.", "Merges one or more HyperLogLog values into a single key."),
];
