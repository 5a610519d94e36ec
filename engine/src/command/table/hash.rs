//! Rows of the hash commands.

use crate::command::hash::{self, expire};
use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Categories, CommandSpec, Flags, Group, Handler, KeySpec};

pub(super) const ROWS: &[CommandSpec] = &[
    CommandSpec::new("hdel", AtLeast(3), Group::Hash, "2.0.0", Handler::Fast(hash::hdel))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "delete"])])
        .docs("O(N) where N is the number of fields to be removed.", "Deletes one or more fields and their values from a hash. Deletes the hash if no fields remain."),
    CommandSpec::new("hexists", Exactly(3), Group::Hash, "2.0.0", Handler::Fast(hash::hexists))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RO"])])
        .docs("O(1)", "Determines whether a field exists in a hash."),
    CommandSpec::new("hexpire", AtLeast(6), Group::Hash, "7.4.0", Handler::Fast(expire::hexpire))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(N) where N is the number of specified fields", "Set expiry for hash field using relative time to expire (seconds)."),
    CommandSpec::new("hexpireat", AtLeast(6), Group::Hash, "7.4.0", Handler::Fast(expire::hexpire_at))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(N) where N is the number of specified fields", "Set expiry for hash field using an absolute Unix timestamp (seconds)."),
    CommandSpec::new("hexpiretime", AtLeast(5), Group::Hash, "7.4.0", Handler::Fast(expire::hexpire_time))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N) where N is the number of specified fields", "Returns the expiration time of a hash field as a Unix timestamp, in seconds."),
    CommandSpec::new("hget", Exactly(3), Group::Hash, "2.0.0", Handler::Fast(hash::hget))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(1)", "Returns the value of a field in a hash."),
    CommandSpec::new("hgetall", Exactly(2), Group::Hash, "2.0.0", Handler::Fast(hash::hgetall))
        .flags(&[Flags::READONLY], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output_order"])
        .docs("O(N) where N is the size of the hash.", "Returns all fields and values in a hash."),
    CommandSpec::new("hgetdel", AtLeast(5), Group::Hash, "8.0.0", Handler::Fast(expire::hgetdel))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "delete"])])
        .docs("O(N) where N is the number of specified fields", "Returns the value of a field and deletes it from the hash."),
    CommandSpec::new("hgetex", AtLeast(5), Group::Hash, "8.0.0", Handler::Fast(expire::hgetex))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "update"])])
        .docs("O(N) where N is the number of specified fields", "Get the value of one or more fields of a given hash key, and optionally set their expiration."),
    CommandSpec::new("hincrby", Exactly(4), Group::Hash, "2.0.0", Handler::Fast(hash::hincrby))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "update"])])
        .docs("O(1)", "Increments the integer value of a field in a hash by a number. Uses 0 as initial value if the field doesn't exist."),
    CommandSpec::new("hincrbyfloat", Exactly(4), Group::Hash, "2.6.0", Handler::Fast(hash::hincrbyfloat))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "update"])])
        .docs("O(1)", "Increments the floating point value of a field by a number. Uses 0 as initial value if the field doesn't exist."),
    CommandSpec::new("hkeys", Exactly(2), Group::Hash, "2.0.0", Handler::Fast(hash::hkeys))
        .flags(&[Flags::READONLY], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output_order"])
        .docs("O(N) where N is the size of the hash.", "Returns all fields in a hash."),
    CommandSpec::new("hlen", Exactly(2), Group::Hash, "2.0.0", Handler::Fast(hash::hlen))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RO"])])
        .docs("O(1)", "Returns the number of fields in a hash."),
    CommandSpec::new("hmget", AtLeast(3), Group::Hash, "2.0.0", Handler::Fast(hash::hmget))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N) where N is the number of fields being requested.", "Returns the values of all fields in a hash."),
    CommandSpec::new("hmset", AtLeast(4), Group::Hash, "2.0.0", Handler::Fast(hash::hmset))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .deprecated("4.0.0", "`HSET` with multiple field-value pairs")
        .docs("O(N) where N is the number of fields being set.", "Sets the values of multiple fields."),
    CommandSpec::new("hpersist", AtLeast(5), Group::Hash, "7.4.0", Handler::Fast(expire::hpersist))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(N) where N is the number of specified fields", "Removes the expiration time for each specified field."),
    CommandSpec::new("hpexpire", AtLeast(6), Group::Hash, "7.4.0", Handler::Fast(expire::hpexpire))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(N) where N is the number of specified fields", "Set expiry for hash field using relative time to expire (milliseconds)."),
    CommandSpec::new("hpexpireat", AtLeast(6), Group::Hash, "7.4.0", Handler::Fast(expire::hpexpire_at))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(N) where N is the number of specified fields", "Set expiry for hash field using an absolute Unix timestamp (milliseconds)."),
    CommandSpec::new("hpexpiretime", AtLeast(5), Group::Hash, "7.4.0", Handler::Fast(expire::hpexpire_time))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N) where N is the number of specified fields", "Returns the expiration time of a hash field as a Unix timestamp, in msec."),
    CommandSpec::new("hpttl", AtLeast(5), Group::Hash, "7.4.0", Handler::Fast(expire::hpttl))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N) where N is the number of specified fields", "Returns the TTL in milliseconds of a hash field."),
    CommandSpec::new("hrandfield", AtLeast(2), Group::Hash, "6.2.0", Handler::Fast(hash::hrandfield))
        .flags(&[Flags::READONLY], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output"])
        .docs("O(N) where N is the number of fields returned", "Returns one or more random fields from a hash."),
    CommandSpec::new("hrangebylex", AtLeast(4), Group::Hash, "0.1.0", Handler::Fast(hash::range::hrangebylex))
        .flags(&[Flags::READONLY], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N*log(M)) with N being the number of fields in the hash and M the number of fields up to the end of the limit.", "Returns the fields in a lexicographical range of a hash, with their values."),
    CommandSpec::new("hscan", AtLeast(3), Group::Hash, "2.8.0", Handler::Fast(hash::hscan))
        .flags(&[Flags::READONLY], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output"])
        .docs("O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection..", "Iterates over fields and values of a hash."),
    CommandSpec::new("hset", AtLeast(4), Group::Hash, "2.0.0", Handler::Fast(hash::hset))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called with multiple field/value pairs.", "Creates or modifies the value of a field in a hash."),
    CommandSpec::new("hsetex", AtLeast(6), Group::Hash, "8.0.0", Handler::Fast(expire::hsetex))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(N) where N is the number of fields being set.", "Set the value of one or more fields of a given hash key, and optionally set their expiration."),
    CommandSpec::new("hsetnx", Exactly(4), Group::Hash, "2.0.0", Handler::Fast(hash::hsetnx))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "insert"])])
        .docs("O(1)", "Sets the value of a field in a hash only when the field doesn't exist."),
    CommandSpec::new("hstrlen", Exactly(3), Group::Hash, "3.2.0", Handler::Fast(hash::hstrlen))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RO"])])
        .docs("O(1)", "Returns the length of the value of a field."),
    CommandSpec::new("httl", AtLeast(5), Group::Hash, "7.4.0", Handler::Fast(expire::httl))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N) where N is the number of specified fields", "Returns the TTL in seconds of a hash field."),
    CommandSpec::new("hvals", Exactly(2), Group::Hash, "2.0.0", Handler::Fast(hash::hvals))
        .flags(&[Flags::READONLY], &[Categories::HASH])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output_order"])
        .docs("O(N) where N is the size of the hash.", "Returns all values in a hash."),
];
