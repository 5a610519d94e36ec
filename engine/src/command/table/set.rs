//! Rows of the set commands.

use crate::command::set;
use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Categories, CommandSpec, Flags, Group, Handler, KeySpec};

pub(super) const ROWS: &[CommandSpec] = &[
    CommandSpec::new("sadd", AtLeast(3), Group::Set, "1.0.0", Handler::Fast(set::sadd))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::SET])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "insert"])])
        .docs("O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", "Adds one or more members to a set. Creates the key if it doesn't exist."),
    CommandSpec::new("scard", Exactly(2), Group::Set, "1.0.0", Handler::Fast(set::scard))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::SET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO"])])
        .docs("O(1)", "Returns the number of members in a set."),
    CommandSpec::new("sdiff", AtLeast(2), Group::Set, "1.0.0", Handler::Fast(set::algebra::sdiff))
        .flags(&[Flags::READONLY], &[Categories::SET])
        .keys(&[KeySpec::new(1, -1, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output_order"])
        .docs("O(N) where N is the total number of elements in all given sets.", "Returns the difference of multiple sets."),
    CommandSpec::new("sdiffstore", AtLeast(3), Group::Set, "1.0.0", Handler::Fast(set::algebra::sdiffstore))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::SET])
        .keys(&[KeySpec::new(1, 0, 1, &["OW", "update"]), KeySpec::new(2, -1, 1, &["RO", "access"])])
        .docs("O(N) where N is the total number of elements in all given sets.", "Stores the difference of multiple sets in a key."),
    CommandSpec::new("sinter", AtLeast(2), Group::Set, "1.0.0", Handler::Fast(set::algebra::sinter))
        .flags(&[Flags::READONLY], &[Categories::SET])
        .keys(&[KeySpec::new(1, -1, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output_order"])
        .docs("O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.", "Returns the intersect of multiple sets."),
    CommandSpec::new("sintercard", AtLeast(3), Group::Set, "7.0.0", Handler::Fast(set::algebra::sintercard))
        .flags(&[Flags::READONLY], &[Categories::SET])
        .keys(&[KeySpec::counted(1, 1, &["RO", "access"])])
        .docs("O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.", "Returns the number of members of the intersect of multiple sets."),
    CommandSpec::new("sinterstore", AtLeast(3), Group::Set, "1.0.0", Handler::Fast(set::algebra::sinterstore))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::SET])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"]), KeySpec::new(2, -1, 1, &["RO", "access"])])
        .docs("O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.", "Stores the intersect of multiple sets in a key."),
    CommandSpec::new("sismember", Exactly(3), Group::Set, "1.0.0", Handler::Fast(set::sismember))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::SET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO"])])
        .docs("O(1)", "Determines whether a member belongs to a set."),
    CommandSpec::new("smembers", Exactly(2), Group::Set, "1.0.0", Handler::Fast(set::smembers))
        .flags(&[Flags::READONLY], &[Categories::SET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output_order"])
        .docs("O(N) where N is the set cardinality.", "Returns all members of a set."),
    CommandSpec::new("smismember", AtLeast(3), Group::Set, "6.2.0", Handler::Fast(set::smismember))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::SET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N) where N is the number of elements being checked for membership", "Determines whether multiple members belong to a set."),
    CommandSpec::new("smove", Exactly(4), Group::Set, "1.0.0", Handler::Fast(set::smove))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::SET])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "delete"]), KeySpec::new(2, 0, 1, &["RW", "insert"])])
        .docs("O(1)", "Moves a member from one set to another."),
    CommandSpec::new("spop", AtLeast(2), Group::Set, "1.0.0", Handler::Fast(set::spop))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::SET])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "delete"])])
        .tips(&["nondeterministic_output"])
        .docs("Without the count argument O(1), otherwise O(N) where N is the value of the passed count.", "Returns one or more random members from a set after removing them. Deletes the set if the last member was popped."),
    CommandSpec::new("srandmember", AtLeast(2), Group::Set, "1.0.0", Handler::Fast(set::srandmember))
        .flags(&[Flags::READONLY], &[Categories::SET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output"])
        .docs("Without the count argument O(1), otherwise O(N) where N is the absolute value of the passed count.", "Get one or multiple random members from a set."),
    CommandSpec::new("srem", AtLeast(3), Group::Set, "1.0.0", Handler::Fast(set::srem))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::SET])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "delete"])])
        .docs("O(N) where N is the number of members to be removed.", "Removes one or more members from a set. Deletes the set if the last member was removed."),
    CommandSpec::new("sscan", AtLeast(3), Group::Set, "2.8.0", Handler::Fast(set::sscan))
        .flags(&[Flags::READONLY], &[Categories::SET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output"])
        .docs("O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection..", "Iterates over members of a set."),
    CommandSpec::new("sunion", AtLeast(2), Group::Set, "1.0.0", Handler::Fast(set::algebra::sunion))
        .flags(&[Flags::READONLY], &[Categories::SET])
        .keys(&[KeySpec::new(1, -1, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output_order"])
        .docs("O(N) where N is the total number of elements in all given sets.", "Returns the union of multiple sets."),
    CommandSpec::new("sunionstore", AtLeast(3), Group::Set, "1.0.0", Handler::Fast(set::algebra::sunionstore))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::SET])
        .keys(&[KeySpec::new(1, 0, 1, &["OW", "update"]), KeySpec::new(2, -1, 1, &["RO", "access"])])
        .docs("O(N) where N is the total number of elements in all given sets.", "Stores the union of multiple sets in a key."),
];
