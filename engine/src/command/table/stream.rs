//! Rows of the stream commands.

use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Categories, CommandSpec, Flags, Group, Handler, KeySpec};
use crate::command::{introspect, stream};

pub(super) const ROWS: &[CommandSpec] = &[
    CommandSpec::new("xack", AtLeast(4), Group::Stream, "5.0.0", Handler::Fast(stream::pending::xack))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::STREAM])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(1) for each message ID processed.", "Returns the number of messages that were successfully acknowledged by the consumer group member of a stream."),
    CommandSpec::new("xadd", AtLeast(5), Group::Stream, "5.0.0", Handler::Fast(stream::xadd))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::STREAM])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"]).noted("UPDATE instead of INSERT because of the optional trimming feature")])
        .tips(&["nondeterministic_output"])
        .docs("O(1) when adding a new entry, O(N) when trimming where N being the number of entries evicted.", "Appends a new message to a stream. Creates the key if it doesn't exist."),
    CommandSpec::new("xautoclaim", AtLeast(6), Group::Stream, "6.2.0", Handler::Fast(stream::pending::xautoclaim))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::STREAM])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "delete"])])
        .tips(&["nondeterministic_output"])
        .docs("O(1) if COUNT is small.", "Changes, or acquires, ownership of messages in a consumer group, as if the messages were delivered to as consumer group member."),
    CommandSpec::new("xclaim", AtLeast(6), Group::Stream, "5.0.0", Handler::Fast(stream::pending::xclaim))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::STREAM])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .tips(&["nondeterministic_output"])
        .docs("O(log N) with N being the number of messages in the PEL of the consumer group.", "Changes, or acquires, ownership of a message in a consumer group, as if the message was delivered a consumer group member."),
    CommandSpec::new("xdel", AtLeast(3), Group::Stream, "5.0.0", Handler::Fast(stream::xdel))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::STREAM])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "delete"])])
        .docs("O(1) for each single item to delete in the stream, regardless of the stream size.", "Returns the number of messages after removing them from a stream."),
    CommandSpec::new("xgroup", AtLeast(2), Group::Stream, "5.0.0", Handler::Container)
        .docs("Depends on subcommand.", "A container for consumer groups commands."),
    CommandSpec::new("xgroup|create", AtLeast(5), Group::Stream, "5.0.0", Handler::Fast(stream::group::create))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::STREAM])
        .keys(&[KeySpec::new(2, 0, 1, &["RW", "insert"])])
        .docs("O(1)", "Creates a consumer group."),
    CommandSpec::new("xgroup|createconsumer", Exactly(5), Group::Stream, "6.2.0", Handler::Fast(stream::group::create_consumer))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::STREAM])
        .keys(&[KeySpec::new(2, 0, 1, &["RW", "insert"])])
        .docs("O(1)", "Creates a consumer in a consumer group."),
    CommandSpec::new("xgroup|delconsumer", Exactly(5), Group::Stream, "5.0.0", Handler::Fast(stream::group::delete_consumer))
        .flags(&[Flags::WRITE], &[Categories::STREAM])
        .keys(&[KeySpec::new(2, 0, 1, &["RW", "delete"])])
        .docs("O(1)", "Deletes a consumer from a consumer group."),
    CommandSpec::new("xgroup|destroy", Exactly(4), Group::Stream, "5.0.0", Handler::Fast(stream::group::destroy))
        .flags(&[Flags::WRITE], &[Categories::STREAM])
        .keys(&[KeySpec::new(2, 0, 1, &["RW", "delete"])])
        .docs("O(N) where N is the number of entries in the group's pending entries list (PEL).", "Destroys a consumer group."),
    CommandSpec::new("xgroup|help", Exactly(2), Group::Stream, "5.0.0", Handler::Fast(introspect::help))
        .flags(&[Flags::LOADING, Flags::STALE], &[Categories::STREAM])
        .docs("O(1)", "Returns helpful text about the different subcommands."),
    CommandSpec::new("xgroup|setid", AtLeast(5), Group::Stream, "5.0.0", Handler::Fast(stream::group::setid))
        .flags(&[Flags::WRITE], &[Categories::STREAM])
        .keys(&[KeySpec::new(2, 0, 1, &["RW", "update"])])
        .docs("O(1)", "Sets the last-delivered ID of a consumer group."),
    CommandSpec::new("xinfo", AtLeast(2), Group::Stream, "5.0.0", Handler::Container)
        .docs("Depends on subcommand.", "A container for stream introspection commands."),
    CommandSpec::new("xinfo|consumers", Exactly(4), Group::Stream, "5.0.0", Handler::Fast(stream::info::consumers))
        .flags(&[Flags::READONLY], &[Categories::STREAM])
        .keys(&[KeySpec::new(2, 0, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output"])
        .docs("O(1)", "Returns a list of the consumers in a consumer group."),
    CommandSpec::new("xinfo|groups", Exactly(3), Group::Stream, "5.0.0", Handler::Fast(stream::info::groups))
        .flags(&[Flags::READONLY], &[Categories::STREAM])
        .keys(&[KeySpec::new(2, 0, 1, &["RO", "access"])])
        .docs("O(1)", "Returns a list of the consumer groups of a stream."),
    CommandSpec::new("xinfo|help", Exactly(2), Group::Stream, "5.0.0", Handler::Fast(introspect::help))
        .flags(&[Flags::LOADING, Flags::STALE], &[Categories::STREAM])
        .docs("O(1)", "Returns helpful text about the different subcommands."),
    CommandSpec::new("xinfo|stream", AtLeast(3), Group::Stream, "5.0.0", Handler::Fast(stream::info::stream))
        .flags(&[Flags::READONLY], &[Categories::STREAM])
        .keys(&[KeySpec::new(2, 0, 1, &["RO", "access"])])
        .docs("O(1)", "Returns information about a stream."),
    CommandSpec::new("xlen", Exactly(2), Group::Stream, "5.0.0", Handler::Fast(stream::xlen))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::STREAM])
        .keys(&[KeySpec::new(1, 0, 1, &["RO"])])
        .docs("O(1)", "Return the number of messages in a stream."),
    CommandSpec::new("xpending", AtLeast(3), Group::Stream, "5.0.0", Handler::Fast(stream::pending::xpending))
        .flags(&[Flags::READONLY], &[Categories::STREAM])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .tips(&["nondeterministic_output"])
        .docs("O(N) with N being the number of elements returned, so asking for a small fixed number of entries per call is O(1). O(M), where M is the total number of entries scanned when used with the IDLE filter. When the command returns just the summary and the list of consumers is small, it runs in O(1) time; otherwise, an additional O(N) time for iterating every consumer.", "Returns the information and entries from a stream consumer group's pending entries list."),
    CommandSpec::new("xrange", AtLeast(4), Group::Stream, "5.0.0", Handler::Fast(stream::xrange))
        .flags(&[Flags::READONLY], &[Categories::STREAM])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N) with N being the number of elements being returned. If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).", "Returns the messages from a stream within a range of IDs."),
    CommandSpec::new("xread", AtLeast(4), Group::Stream, "5.0.0", Handler::Fast(stream::read::xread))
        .flags(&[Flags::READONLY, Flags::BLOCKING], &[Categories::STREAM, Categories::BLOCKING])
        .keys(&[KeySpec::after("STREAMS", 1, &["RO", "access"])])
        .docs("For each stream mentioned: O(N) with N being the number of elements being returned, it means that XREAD-ing with a fixed COUNT is O(1). Note that when the BLOCK option is used, XADD will pay O(M) time in order to serve the M clients blocked on the stream getting new data.", "Returns messages from multiple streams with IDs greater than the ones requested."),
    CommandSpec::new("xreadgroup", AtLeast(7), Group::Stream, "5.0.0", Handler::Fast(stream::read::xreadgroup))
        .flags(&[Flags::WRITE, Flags::BLOCKING], &[Categories::STREAM, Categories::BLOCKING])
        .keys(&[KeySpec::after("STREAMS", 4, &["RO", "access"])])
        .docs("For each stream mentioned: O(M) with M being the number of elements returned. If M is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1). On the other side when XREADGROUP blocks, XADD will pay the O(N) time in order to serve the N clients blocked on the stream getting new data.", "Returns new or historical messages from a stream for a consumer in a group. With BLOCK, waits for new ones."),
    CommandSpec::new("xrevrange", AtLeast(4), Group::Stream, "5.0.0", Handler::Fast(stream::xrevrange))
        .flags(&[Flags::READONLY], &[Categories::STREAM])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N) with N being the number of elements returned. If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).", "Returns the messages from a stream within a range of IDs in reverse order."),
    CommandSpec::new("xsetid", AtLeast(3), Group::Stream, "5.0.0", Handler::Fast(stream::xsetid))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::STREAM])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(1)", "An internal command for replicating stream values."),
    CommandSpec::new("xtrim", AtLeast(4), Group::Stream, "5.0.0", Handler::Fast(stream::xtrim))
        .flags(&[Flags::WRITE], &[Categories::STREAM])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "delete"])])
        .tips(&["nondeterministic_output"])
        .docs("O(N), with N being the number of evicted entries. Constant times are very small however, since entries are organized in macro nodes containing multiple entries that can be released with a single deallocation.", "Deletes messages from the beginning of a stream."),
];
