//! Rows of the string commands.

use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Categories, CommandSpec, Flags, Group, Handler, KeySpec};
use crate::command::{increment, lcs, string};

pub(super) const ROWS: &[CommandSpec] = &[
    CommandSpec::new("append", Exactly(3), Group::String, "2.0.0", Handler::Fast(string::append))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "insert"])])
        .docs("O(N) where N is the length of the new value, which is written as a whole.", "Appends a string to the value of a key. Creates the key if it doesn't exist."),
    CommandSpec::new("decr", Exactly(2), Group::String, "1.0.0", Handler::Fast(increment::decr))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "update"])])
        .docs("O(1)", "Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist."),
    CommandSpec::new("decrby", Exactly(3), Group::String, "1.0.0", Handler::Fast(increment::decr_by))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "update"])])
        .docs("O(1)", "Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist."),
    CommandSpec::new("get", Exactly(2), Group::String, "1.0.0", Handler::Fast(string::get))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(1)", "Returns the string value of a key."),
    CommandSpec::new("getdel", Exactly(2), Group::String, "6.2.0", Handler::Fast(string::get_del))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "delete"])])
        .docs("O(1)", "Returns the string value of a key after deleting the key."),
    CommandSpec::new("getex", AtLeast(2), Group::String, "6.2.0", Handler::Fast(string::get_ex))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "update"]).noted("RW and UPDATE because it changes the TTL")])
        .docs("O(1)", "Returns the string value of a key after setting its expiration time."),
    CommandSpec::new("getrange", Exactly(4), Group::String, "2.4.0", Handler::Fast(string::get_range))
        .flags(&[Flags::READONLY], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N) where N is the length of the returned string. The complexity is ultimately determined by the returned length, but because creating a substring from an existing string is very cheap, it can be considered O(1) for small strings.", "Returns a substring of the string stored at a key."),
    CommandSpec::new("getset", Exactly(3), Group::String, "1.0.0", Handler::Fast(string::get_set))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "update"])])
        .deprecated("6.2.0", "`SET` with the `!GET` argument")
        .docs("O(1)", "Returns the previous string value of a key after setting it to a new value."),
    CommandSpec::new("incr", Exactly(2), Group::String, "1.0.0", Handler::Fast(increment::incr))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "update"])])
        .docs("O(1)", "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist."),
    CommandSpec::new("incrby", Exactly(3), Group::String, "1.0.0", Handler::Fast(increment::incr_by))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "update"])])
        .docs("O(1)", "Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist."),
    CommandSpec::new("incrbyfloat", Exactly(3), Group::String, "2.6.0", Handler::Fast(increment::incr_by_float))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "update"])])
        .docs("O(1)", "Increment the floating point value of a key by a number. Uses 0 as initial value if the key doesn't exist."),
    CommandSpec::new("lcs", AtLeast(3), Group::String, "7.0.0", Handler::Slow(lcs::lcs))
        .flags(&[Flags::READONLY], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 1, 1, &["RO", "access"])])
        .docs("O(N*M) where N and M are the lengths of s1 and s2, respectively", "Finds the longest common substring."),
    CommandSpec::new("mget", AtLeast(2), Group::String, "1.0.0", Handler::Fast(string::mget))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::STRING])
        .keys(&[KeySpec::new(1, -1, 1, &["RO", "access"])])
        .tips(&["request_policy:multi_shard"])
        .docs("O(N) where N is the number of keys to retrieve.", "Atomically returns the string values of one or more keys."),
    CommandSpec::new("mset", AtLeast(3), Group::String, "1.0.1", Handler::Fast(string::mset))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::STRING])
        .keys(&[KeySpec::new(1, -1, 2, &["OW", "update"])])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .docs("O(N) where N is the number of keys to set.", "Atomically creates or modifies the string values of one or more keys."),
    CommandSpec::new("msetnx", AtLeast(3), Group::String, "1.0.1", Handler::Fast(string::msetnx))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::STRING])
        .keys(&[KeySpec::new(1, -1, 2, &["OW", "insert"])])
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
        .docs("O(N) where N is the number of keys to set.", "Atomically modifies the string values of one or more keys only when all keys don't exist."),
    CommandSpec::new("psetex", Exactly(4), Group::String, "2.6.0", Handler::Fast(string::psetex))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["OW", "update"])])
        .docs("O(1)", "Sets both string value and expiration time in milliseconds of a key. The key is created if it doesn't exist."),
    CommandSpec::new("set", AtLeast(3), Group::String, "1.0.0", Handler::Fast(string::set))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "update", "variable_flags"]).noted("RW and ACCESS due to the optional `GET` argument")])
        .docs("O(1)", "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist."),
    CommandSpec::new("setex", Exactly(4), Group::String, "2.0.0", Handler::Fast(string::setex))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["OW", "update"])])
        .docs("O(1)", "Sets the string value and expiration time of a key. Creates the key if it doesn't exist."),
    CommandSpec::new("setnx", Exactly(3), Group::String, "1.0.0", Handler::Fast(string::setnx))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["OW", "insert"])])
        .docs("O(1)", "Set the string value of a key only when the key doesn't exist."),
    CommandSpec::new("setrange", Exactly(4), Group::String, "2.2.0", Handler::Fast(string::set_range))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(N) where N is the length of the new value, which is written as a whole.", "Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist."),
    CommandSpec::new("strlen", Exactly(2), Group::String, "2.2.0", Handler::Fast(string::strlen))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["RO"])])
        .docs("O(1)", "Returns the length of a string value."),
    CommandSpec::new("substr", Exactly(4), Group::String, "1.0.0", Handler::Fast(string::get_range))
        .flags(&[Flags::READONLY], &[Categories::STRING])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .deprecated("2.0.0", "`GETRANGE`")
        .docs("O(N) where N is the length of the returned string. The complexity is ultimately determined by the returned length, but because creating a substring from an existing string is very cheap, it can be considered O(1) for small strings.", "Returns a substring from a string value."),
];
