//! Rows of the sorted set commands.

use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Categories, CommandSpec, Flags, Group, Handler, KeySpec};
use crate::command::zset;

pub(super) const ROWS: &[CommandSpec] = &[
    CommandSpec::new("bzmpop", AtLeast(5), Group::SortedSet, "7.0.0", Handler::Fast(zset::pop::bzmpop))
        .flags(&[Flags::WRITE, Flags::BLOCKING], &[Categories::SORTEDSET, Categories::BLOCKING])
        .keys(&[KeySpec::counted(2, 1, &["RW", "access", "delete"])])
        .docs("O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.", "Removes and returns a member by score from one or more sorted sets. Blocks until a member is available otherwise. Deletes the sorted set if the last element was popped."),
    CommandSpec::new("bzpopmax", AtLeast(3), Group::SortedSet, "5.0.0", Handler::Fast(zset::pop::bzpopmax))
        .flags(&[Flags::WRITE, Flags::NOSCRIPT, Flags::BLOCKING, Flags::FAST], &[Categories::SORTEDSET, Categories::BLOCKING])
        .keys(&[KeySpec::new(1, -2, 1, &["RW", "access", "delete"])])
        .docs("O(log(N)) with N being the number of elements in the sorted set.", "Removes and returns the member with the highest score from one or more sorted sets. Blocks until a member available otherwise. Deletes the sorted set if the last element was popped."),
    CommandSpec::new("bzpopmin", AtLeast(3), Group::SortedSet, "5.0.0", Handler::Fast(zset::pop::bzpopmin))
        .flags(&[Flags::WRITE, Flags::NOSCRIPT, Flags::BLOCKING, Flags::FAST], &[Categories::SORTEDSET, Categories::BLOCKING])
        .keys(&[KeySpec::new(1, -2, 1, &["RW", "access", "delete"])])
        .docs("O(log(N)) with N being the number of elements in the sorted set.", "Removes and returns the member with the lowest score from one or more sorted sets. Blocks until a member is available otherwise. Deletes the sorted set if the last element was popped."),
    CommandSpec::new("zadd", AtLeast(4), Group::SortedSet, "1.2.0", Handler::Fast(zset::zadd))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(log(N)) for each item added, where N is the number of elements in the sorted set.", "Add one or more members to a sorted set, or update its score if it already exists."),
    CommandSpec::new("zaggregate", AtLeast(5), Group::SortedSet, "0.1.0", Handler::Fast(zset::aggregate::zaggregate))
        .flags(&[Flags::READONLY], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(log(N)) with N being the number of elements in the sorted set, and O(log(N)+M) with SUM, AVG or MATCH, with M being the number of elements in the range.", "Returns the number, sum, minimum, maximum or average of the scores in a range of a sorted set."),
    CommandSpec::new("zcard", Exactly(2), Group::SortedSet, "1.2.0", Handler::Fast(zset::zcard))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO"])])
        .docs("O(1)", "Get the number of members in a sorted set."),
    CommandSpec::new("zcount", Exactly(4), Group::SortedSet, "2.0.0", Handler::Fast(zset::range::zcount))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(log(N)) with N being the number of elements in the sorted set.", "Count the members in a sorted set with scores within the given values."),
    CommandSpec::new("zdiff", AtLeast(3), Group::SortedSet, "6.2.0", Handler::Fast(zset::algebra::zdiff))
        .flags(&[Flags::READONLY], &[Categories::SORTEDSET])
        .keys(&[KeySpec::counted(1, 1, &["RO", "access"])])
        .docs("O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.", "Subtract multiple sorted sets."),
    CommandSpec::new("zdiffstore", AtLeast(4), Group::SortedSet, "6.2.0", Handler::Fast(zset::algebra::zdiffstore))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["OW", "update"]), KeySpec::counted(2, 1, &["RO", "access"])])
        .docs("O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.", "Subtract multiple sorted sets and store the resulting sorted set in a new key."),
    CommandSpec::new("zincrby", Exactly(4), Group::SortedSet, "1.2.0", Handler::Fast(zset::zincrby))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "update"])])
        .docs("O(log(N)) where N is the number of elements in the sorted set.", "Increment the score of a member in a sorted set."),
    CommandSpec::new("zinter", AtLeast(3), Group::SortedSet, "6.2.0", Handler::Fast(zset::algebra::zinter))
        .flags(&[Flags::READONLY], &[Categories::SORTEDSET])
        .keys(&[KeySpec::counted(1, 1, &["RO", "access"])])
        .docs("O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.", "Intersect multiple sorted sets."),
    CommandSpec::new("zintercard", AtLeast(3), Group::SortedSet, "7.0.0", Handler::Fast(zset::algebra::zintercard))
        .flags(&[Flags::READONLY], &[Categories::SORTEDSET])
        .keys(&[KeySpec::counted(1, 1, &["RO", "access"])])
        .docs("O(N*K) worst case with N being the smallest input sorted set, K being the number of input sorted sets.", "Intersect multiple sorted sets and return the cardinality of the result."),
    CommandSpec::new("zinterstore", AtLeast(4), Group::SortedSet, "2.0.0", Handler::Fast(zset::algebra::zinterstore))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["OW", "update"]), KeySpec::counted(2, 1, &["RO", "access"])])
        .docs("O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.", "Intersect multiple sorted sets and store the resulting sorted set in a new key."),
    CommandSpec::new("zlexcount", Exactly(4), Group::SortedSet, "2.8.9", Handler::Fast(zset::range::zlexcount))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(log(N)) with N being the number of elements in the sorted set.", "Count the number of members in a sorted set between a given lexicographical range."),
    CommandSpec::new("zmpop", AtLeast(4), Group::SortedSet, "7.0.0", Handler::Fast(zset::pop::zmpop))
        .flags(&[Flags::WRITE], &[Categories::SORTEDSET])
        .keys(&[KeySpec::counted(1, 1, &["RW", "access", "delete"])])
        .docs("O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.", "Remove and return members with scores in a sorted set."),
    CommandSpec::new("zmscore", AtLeast(3), Group::SortedSet, "6.2.0", Handler::Fast(zset::zmscore))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N) where N is the number of members being requested.", "Get the score associated with the given members in a sorted set."),
    CommandSpec::new("zpopmax", AtLeast(2), Group::SortedSet, "5.0.0", Handler::Fast(zset::pop::zpopmax))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "delete"])])
        .docs("O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.", "Remove and return members with the highest scores in a sorted set."),
    CommandSpec::new("zpopmin", AtLeast(2), Group::SortedSet, "5.0.0", Handler::Fast(zset::pop::zpopmin))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "delete"])])
        .docs("O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.", "Remove and return members with the lowest scores in a sorted set."),
    CommandSpec::new("zrandmember", AtLeast(2), Group::SortedSet, "6.2.0", Handler::Fast(zset::zrandmember))
        .flags(&[Flags::READONLY], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output"])
        .docs("O(N) where N is the number of elements returned", "Get one or multiple random elements from a sorted set."),
    CommandSpec::new("zrange", AtLeast(4), Group::SortedSet, "1.2.0", Handler::Fast(zset::range::zrange))
        .flags(&[Flags::READONLY], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.", "Return a range of members in a sorted set."),
    CommandSpec::new("zrangebylex", AtLeast(4), Group::SortedSet, "2.8.9", Handler::Fast(zset::range::zrangebylex))
        .flags(&[Flags::READONLY], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).", "Return a range of members in a sorted set, by lexicographical range.")
        .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument"),
    CommandSpec::new("zrangebyscore", AtLeast(4), Group::SortedSet, "1.0.5", Handler::Fast(zset::range::zrangebyscore))
        .flags(&[Flags::READONLY], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).", "Return a range of members in a sorted set, by score.")
        .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument"),
    CommandSpec::new("zrangestore", AtLeast(5), Group::SortedSet, "6.2.0", Handler::Fast(zset::range::zrangestore))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["OW", "update"]), KeySpec::new(2, 0, 1, &["RO", "access"])])
        .docs("O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements stored into the destination key.", "Store a range of members from sorted set into another key."),
    CommandSpec::new("zrank", AtLeast(3), Group::SortedSet, "2.0.0", Handler::Fast(zset::zrank))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(log(N))", "Determine the index of a member in a sorted set."),
    CommandSpec::new("zrem", AtLeast(3), Group::SortedSet, "1.2.0", Handler::Fast(zset::zrem))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "delete"])])
        .docs("O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be removed.", "Remove one or more members from a sorted set."),
    CommandSpec::new("zremrangebylex", Exactly(4), Group::SortedSet, "2.8.9", Handler::Fast(zset::range::zremrangebylex))
        .flags(&[Flags::WRITE], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "delete"])])
        .docs("O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.", "Remove all members in a sorted set between the given lexicographical range."),
    CommandSpec::new("zremrangebyrank", Exactly(4), Group::SortedSet, "2.0.0", Handler::Fast(zset::range::zremrangebyrank))
        .flags(&[Flags::WRITE], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "delete"])])
        .docs("O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.", "Remove all members in a sorted set within the given indexes."),
    CommandSpec::new("zremrangebyscore", Exactly(4), Group::SortedSet, "1.2.0", Handler::Fast(zset::range::zremrangebyscore))
        .flags(&[Flags::WRITE], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "delete"])])
        .docs("O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.", "Remove all members in a sorted set within the given scores."),
    CommandSpec::new("zrevrange", AtLeast(4), Group::SortedSet, "1.2.0", Handler::Fast(zset::range::zrevrange))
        .flags(&[Flags::READONLY], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.", "Return a range of members in a sorted set, by index, with scores ordered from high to low.")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` argument"),
    CommandSpec::new("zrevrangebylex", AtLeast(4), Group::SortedSet, "2.8.9", Handler::Fast(zset::range::zrevrangebylex))
        .flags(&[Flags::READONLY], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).", "Return a range of members in a sorted set, by lexicographical range, ordered from higher to lower strings.")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments"),
    CommandSpec::new("zrevrangebyscore", AtLeast(4), Group::SortedSet, "2.2.0", Handler::Fast(zset::range::zrevrangebyscore))
        .flags(&[Flags::READONLY], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).", "Return a range of members in a sorted set, by score, with scores ordered from high to low.")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments"),
    CommandSpec::new("zrevrank", AtLeast(3), Group::SortedSet, "2.0.0", Handler::Fast(zset::zrevrank))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(log(N))", "Determine the index of a member in a sorted set, with scores ordered from high to low."),
    CommandSpec::new("zscan", AtLeast(3), Group::SortedSet, "2.8.0", Handler::Fast(zset::zscan))
        .flags(&[Flags::READONLY], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output"])
        .docs("O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection..", "Incrementally iterate sorted sets elements and associated scores."),
    CommandSpec::new("zscore", Exactly(3), Group::SortedSet, "1.2.0", Handler::Fast(zset::zscore))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(1)", "Get the score associated with the given member in a sorted set."),
    CommandSpec::new("zunion", AtLeast(3), Group::SortedSet, "6.2.0", Handler::Fast(zset::algebra::zunion))
        .flags(&[Flags::READONLY], &[Categories::SORTEDSET])
        .keys(&[KeySpec::counted(1, 1, &["RO", "access"])])
        .docs("O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.", "Add multiple sorted sets."),
    CommandSpec::new("zunionstore", AtLeast(4), Group::SortedSet, "2.0.0", Handler::Fast(zset::algebra::zunionstore))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::SORTEDSET])
        .keys(&[KeySpec::new(1, 0, 1, &["OW", "update"]), KeySpec::counted(2, 1, &["RO", "access"])])
        .docs("O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.", "Add multiple sorted sets and store the resulting sorted set in a new key."),
];
