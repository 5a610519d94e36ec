//! Rows of the commands that work on keys of any type.

use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Categories, CommandSpec, Flags, Group, Handler, KeySpec};
use crate::command::{dump, expire, introspect, keys, keyspace, node, sort};

pub(super) const ROWS: &[CommandSpec] = &[
    CommandSpec::new("copy", AtLeast(3), Group::Generic, "6.2.0", Handler::Fast(keys::copy))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"]), KeySpec::new(2, 0, 1, &["OW", "update"])])
        .docs("O(N) worst case for collections, where N is the number of nested items. O(1) for string values.", "Copies the value of a key to a new key."),
    CommandSpec::new("del", AtLeast(2), Group::Generic, "1.0.0", Handler::Fast(keys::del))
        .flags(&[Flags::WRITE], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, -1, 1, &["RM", "delete"])])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .docs("O(N) where N is the number of keys that will be removed. When a key to remove holds a value other than a string, the individual complexity for this key is O(M) where M is the number of elements in the list, set, sorted set or hash. Removing a single key that holds a string value is O(1).", "Deletes one or more keys."),
    CommandSpec::new("dump", Exactly(2), Group::Generic, "2.6.0", Handler::Fast(dump::dump))
        .flags(&[Flags::READONLY], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output"])
        .docs("O(1) to access the key and additional O(N*M) to serialize it, where N is the number of Redis objects composing the value and M their average size. For small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1).", "Returns a serialized representation of the value stored at a key."),
    CommandSpec::new("exists", AtLeast(2), Group::Generic, "1.0.0", Handler::Fast(keys::exists))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, -1, 1, &["RO"])])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .docs("O(N) where N is the number of keys to check.", "Determines whether one or more keys exist."),
    CommandSpec::new("expire", AtLeast(3), Group::Generic, "1.0.0", Handler::Fast(expire::expire))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(1)", "Sets the expiration time of a key in seconds."),
    CommandSpec::new("expireat", AtLeast(3), Group::Generic, "1.2.0", Handler::Fast(expire::expire_at))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(1)", "Sets the expiration time of a key to a Unix timestamp."),
    CommandSpec::new("expiretime", Exactly(2), Group::Generic, "7.0.0", Handler::Fast(expire::expire_time))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(1)", "Returns the expiration time of a key as a Unix timestamp."),
    CommandSpec::new("keys", Exactly(2), Group::Generic, "1.0.0", Handler::Slow(keyspace::keys))
        .flags(&[Flags::READONLY], &[Categories::KEYSPACE, Categories::DANGEROUS])
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .docs("O(N) with N being the number of keys in the database, under the assumption that the key names in the database and the given pattern have limited length.", "Returns all key names that match a pattern."),
    CommandSpec::new("move", Exactly(3), Group::Generic, "1.0.0", Handler::Fast(keys::move_key))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "update"])])
        .docs("O(N) where N is the length of the value.", "Moves a key to another database."),
    CommandSpec::new("object", AtLeast(2), Group::Generic, "2.2.3", Handler::Container)
        .docs("Depends on subcommand.", "A container for object introspection commands."),
    CommandSpec::new("object|encoding", Exactly(3), Group::Generic, "2.2.3", Handler::Fast(keys::object_encoding))
        .flags(&[Flags::READONLY], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(2, 0, 1, &["RO"])])
        .tips(&["nondeterministic_output"])
        .docs("O(1)", "Returns the internal encoding of an object."),
    CommandSpec::new("object|freq", Exactly(3), Group::Generic, "4.0.0", Handler::Fast(keys::object_freq))
        .flags(&[Flags::READONLY], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(2, 0, 1, &["RO"])])
        .tips(&["nondeterministic_output"])
        .docs("O(1)", "Returns the logarithmic access frequency counter of an object."),
    CommandSpec::new("object|help", Exactly(2), Group::Generic, "6.2.0", Handler::Fast(introspect::help))
        .flags(&[Flags::LOADING, Flags::STALE], &[Categories::KEYSPACE])
        .docs("O(1)", "Returns helpful text about the different subcommands."),
    CommandSpec::new("object|idletime", Exactly(3), Group::Generic, "2.2.3", Handler::Fast(keys::object_idletime))
        .flags(&[Flags::READONLY], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(2, 0, 1, &["RO"])])
        .tips(&["nondeterministic_output"])
        .docs("O(1)", "Returns the time since the last access to an object."),
    CommandSpec::new("object|refcount", Exactly(3), Group::Generic, "2.2.3", Handler::Fast(keys::object_refcount))
        .flags(&[Flags::READONLY], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(2, 0, 1, &["RO"])])
        .tips(&["nondeterministic_output"])
        .docs("O(1)", "Returns the reference count of a value of a key."),
    CommandSpec::new("persist", Exactly(2), Group::Generic, "2.2.0", Handler::Fast(expire::persist))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(1)", "Removes the expiration time of a key."),
    CommandSpec::new("pexpire", AtLeast(3), Group::Generic, "2.6.0", Handler::Fast(expire::pexpire))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(1)", "Sets the expiration time of a key in milliseconds."),
    CommandSpec::new("pexpireat", AtLeast(3), Group::Generic, "2.6.0", Handler::Fast(expire::pexpire_at))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(1)", "Sets the expiration time of a key to a Unix milliseconds timestamp."),
    CommandSpec::new("pexpiretime", Exactly(2), Group::Generic, "7.0.0", Handler::Fast(expire::pexpire_time))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(1)", "Returns the expiration time of a key as a Unix milliseconds timestamp."),
    CommandSpec::new("pttl", Exactly(2), Group::Generic, "2.6.0", Handler::Fast(expire::pttl))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output"])
        .docs("O(1)", "Returns the expiration time in milliseconds of a key."),
    CommandSpec::new("randomkey", Exactly(1), Group::Generic, "1.0.0", Handler::Slow(keyspace::random_key))
        .flags(&[Flags::READONLY], &[Categories::KEYSPACE])
        .tips(&["request_policy:all_shards", "nondeterministic_output"])
        .docs("O(log(N)) where N is the number of keys in the database.", "Returns a random key name from the database."),
    CommandSpec::new("rename", Exactly(3), Group::Generic, "1.0.0", Handler::Fast(keys::rename))
        .flags(&[Flags::WRITE], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "delete"]), KeySpec::new(2, 0, 1, &["OW", "update"])])
        .docs("O(N) where N is the length of the value.", "Renames a key and overwrites the destination."),
    CommandSpec::new("renamenx", Exactly(3), Group::Generic, "1.0.0", Handler::Fast(keys::renamenx))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "delete"]), KeySpec::new(2, 0, 1, &["OW", "insert"])])
        .docs("O(N) where N is the length of the value.", "Renames a key only when the target key name doesn't exist."),
    CommandSpec::new("restore", AtLeast(4), Group::Generic, "2.6.0", Handler::Fast(dump::restore))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::KEYSPACE, Categories::DANGEROUS])
        .keys(&[KeySpec::new(1, 0, 1, &["OW", "update"])])
        .docs("O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, where N is the number of Redis objects composing the value and M their average size. For small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1).", "Creates a key from the serialized representation of a value."),
    CommandSpec::new("scan", AtLeast(2), Group::Generic, "2.8.0", Handler::Slow(keyspace::scan))
        .flags(&[Flags::READONLY], &[Categories::KEYSPACE])
        .tips(&["nondeterministic_output", "request_policy:special"])
        .docs("O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.", "Iterates over the key names in the database."),
    CommandSpec::new("sort", AtLeast(2), Group::Generic, "1.0.0", Handler::Fast(sort::sort))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::MOVABLEKEYS], &[Categories::SET, Categories::SORTEDSET, Categories::LIST, Categories::DANGEROUS])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned elements. When the elements are not sorted, complexity is O(N).", "Sorts the elements in a list, a set, or a sorted set, optionally storing the result."),
    CommandSpec::new("sort_ro", AtLeast(2), Group::Generic, "7.0.0", Handler::Fast(sort::sort_ro))
        .flags(&[Flags::READONLY, Flags::MOVABLEKEYS], &[Categories::SET, Categories::SORTEDSET, Categories::LIST, Categories::DANGEROUS])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned elements. When the elements are not sorted, complexity is O(N).", "Returns the sorted elements of a list, a set, or a sorted set."),
    CommandSpec::new("touch", AtLeast(2), Group::Generic, "3.2.1", Handler::Fast(keys::exists))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, -1, 1, &["RO"])])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .docs("O(N) where N is the number of keys that will be touched.", "Returns the number of existing keys out of those specified after updating the time they were last accessed."),
    CommandSpec::new("ttl", Exactly(2), Group::Generic, "1.0.0", Handler::Fast(expire::ttl))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output"])
        .docs("O(1)", "Returns the expiration time in seconds of a key."),
    CommandSpec::new("type", Exactly(2), Group::Generic, "1.0.0", Handler::Fast(keys::type_of))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, 0, 1, &["RO"])])
        .docs("O(1)", "Determines the type of value stored at a key."),
    CommandSpec::new("unlink", AtLeast(2), Group::Generic, "4.0.0", Handler::Fast(keys::del))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::KEYSPACE])
        .keys(&[KeySpec::new(1, -1, 1, &["RM", "delete"])])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .docs("O(1) for each key removed regardless of its size. Then the command does O(N) work in a different thread in order to reclaim memory, where N is the number of allocations the deleted objects where composed of.", "Asynchronously deletes one or more keys."),
    CommandSpec::new("wait", Exactly(3), Group::Generic, "3.0.0", Handler::Fast(node::wait))
        .flags(&[Flags::NOSCRIPT], &[Categories::CONNECTION])
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .docs("O(1)", "Blocks until the asynchronous replication of all preceding write commands sent by the connection is completed."),
    CommandSpec::new("waitaof", Exactly(4), Group::Generic, "7.2.0", Handler::Fast(node::waitaof))
        .flags(&[Flags::NOSCRIPT], &[Categories::CONNECTION])
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .docs("O(1)", "Blocks until all of the preceding write commands sent by the connection are written to the append-only file of the master and/or replicas."),
];
