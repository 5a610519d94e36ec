//! Rows of the connection commands.

use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Categories, CommandSpec, Flags, Group, Handler};
use crate::command::{connection, introspect, tracking};

pub(super) const ROWS: &[CommandSpec] = &[
    CommandSpec::new(
        "auth",
        AtLeast(2),
        Group::Connection,
        "1.0.0",
        Handler::Fast(connection::auth),
    )
    .flags(
        &[
            Flags::NOSCRIPT,
            Flags::LOADING,
            Flags::STALE,
            Flags::FAST,
            Flags::NO_AUTH,
            Flags::ALLOW_BUSY,
        ],
        &[Categories::CONNECTION],
    )
    .docs(
        "O(N) where N is the number of passwords defined for the user",
        "Authenticates the connection.",
    ),
    CommandSpec::new("client", AtLeast(2), Group::Connection, "2.4.0", Handler::Container)
        .docs("Depends on subcommand.", "A container for client connection commands."),
    CommandSpec::new(
        "client|caching",
        Exactly(3),
        Group::Connection,
        "6.0.0",
        Handler::Fast(tracking::caching),
    )
    .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
    .docs("O(1)", "Instructs the server whether to track the keys in the next request."),
    CommandSpec::new(
        "client|getname",
        Exactly(2),
        Group::Connection,
        "2.6.9",
        Handler::Fast(connection::client_getname),
    )
    .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
    .docs("O(1)", "Returns the name of the connection."),
    CommandSpec::new(
        "client|getredir",
        Exactly(2),
        Group::Connection,
        "6.0.0",
        Handler::Fast(tracking::getredir),
    )
    .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
    .docs(
        "O(1)",
        "Returns the client ID to which the connection's tracking notifications are redirected.",
    ),
    CommandSpec::new(
        "client|help",
        Exactly(2),
        Group::Connection,
        "5.0.0",
        Handler::Fast(introspect::help),
    )
    .flags(&[Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
    .docs("O(1)", "Returns helpful text about the different subcommands."),
    CommandSpec::new(
        "client|id",
        Exactly(2),
        Group::Connection,
        "5.0.0",
        Handler::Fast(connection::client_id),
    )
    .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
    .docs("O(1)", "Returns the unique client ID of the connection."),
    CommandSpec::new("client|info", Exactly(2), Group::Connection, "6.2.0", Handler::Admin)
        .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
        .tips(&["nondeterministic_output"])
        .docs("O(1)", "Returns information about the connection."),
    CommandSpec::new("client|kill", AtLeast(3), Group::Connection, "2.4.0", Handler::Admin)
        .flags(
            &[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE],
            &[Categories::CONNECTION],
        )
        .docs("O(N) where N is the number of client connections", "Terminates open connections."),
    CommandSpec::new("client|list", AtLeast(2), Group::Connection, "2.4.0", Handler::Admin)
        .flags(
            &[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE],
            &[Categories::CONNECTION],
        )
        .tips(&["nondeterministic_output"])
        .docs("O(N) where N is the number of client connections", "Lists open connections."),
    CommandSpec::new(
        "client|no-evict",
        Exactly(3),
        Group::Connection,
        "7.0.0",
        Handler::Fast(connection::client_no_evict),
    )
    .flags(
        &[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE],
        &[Categories::CONNECTION],
    )
    .docs("O(1)", "Sets the client eviction mode of the connection."),
    CommandSpec::new(
        "client|no-touch",
        Exactly(3),
        Group::Connection,
        "7.2.0",
        Handler::Fast(connection::client_no_touch),
    )
    .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
    .docs(
        "O(1)",
        "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
    ),
    CommandSpec::new(
        "client|pause",
        AtLeast(3),
        Group::Connection,
        "3.0.0",
        Handler::Fast(tracking::pause),
    )
    .flags(
        &[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE],
        &[Categories::CONNECTION],
    )
    .docs("O(1)", "Suspends commands processing."),
    CommandSpec::new(
        "client|reply",
        Exactly(3),
        Group::Connection,
        "3.2.0",
        Handler::Fast(connection::client_reply),
    )
    .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
    .docs("O(1)", "Instructs the server whether to reply to commands."),
    CommandSpec::new(
        "client|setinfo",
        Exactly(4),
        Group::Connection,
        "7.2.0",
        Handler::Fast(connection::client_setinfo),
    )
    .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
    .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .docs("O(1)", "Sets information specific to the client or connection."),
    CommandSpec::new(
        "client|setname",
        Exactly(3),
        Group::Connection,
        "2.6.9",
        Handler::Fast(connection::client_setname),
    )
    .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
    .docs("O(1)", "Sets the connection name."),
    CommandSpec::new(
        "client|tracking",
        AtLeast(3),
        Group::Connection,
        "6.0.0",
        Handler::Fast(tracking::tracking),
    )
    .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
    .docs(
        "O(1). Some options may introduce additional complexity.",
        "Controls server-assisted client-side caching for the connection.",
    ),
    CommandSpec::new(
        "client|trackinginfo",
        Exactly(2),
        Group::Connection,
        "6.2.0",
        Handler::Fast(tracking::trackinginfo),
    )
    .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE], &[Categories::CONNECTION])
    .docs(
        "O(1)",
        "Returns information about server-assisted client-side caching for the connection.",
    ),
    CommandSpec::new("client|unblock", AtLeast(3), Group::Connection, "5.0.0", Handler::Admin)
        .flags(
            &[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE],
            &[Categories::CONNECTION],
        )
        .docs(
            "O(log N) where N is the number of client connections",
            "Unblocks a client blocked by a blocking command from a different connection.",
        ),
    CommandSpec::new(
        "client|unpause",
        Exactly(2),
        Group::Connection,
        "6.2.0",
        Handler::Fast(tracking::unpause),
    )
    .flags(
        &[Flags::ADMIN, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE],
        &[Categories::CONNECTION],
    )
    .docs(
        "O(N) Where N is the number of paused clients",
        "Resumes processing commands from paused clients.",
    ),
    CommandSpec::new(
        "echo",
        Exactly(2),
        Group::Connection,
        "1.0.0",
        Handler::Fast(connection::echo),
    )
    .flags(&[Flags::LOADING, Flags::STALE, Flags::FAST], &[Categories::CONNECTION])
    .docs("O(1)", "Returns the given string."),
    CommandSpec::new(
        "hello",
        AtLeast(1),
        Group::Connection,
        "6.0.0",
        Handler::Fast(connection::hello),
    )
    .flags(
        &[
            Flags::NOSCRIPT,
            Flags::LOADING,
            Flags::STALE,
            Flags::FAST,
            Flags::NO_AUTH,
            Flags::ALLOW_BUSY,
        ],
        &[Categories::CONNECTION],
    )
    .docs("O(1)", "Handshakes with the server."),
    CommandSpec::new(
        "ping",
        AtLeast(1),
        Group::Connection,
        "1.0.0",
        Handler::Fast(connection::ping),
    )
    .flags(&[Flags::FAST], &[Categories::CONNECTION])
    .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .docs("O(1)", "Returns the server's liveliness response."),
    CommandSpec::new(
        "quit",
        AtLeast(1),
        Group::Connection,
        "1.0.0",
        Handler::Fast(connection::quit),
    )
    .flags(
        &[
            Flags::NOSCRIPT,
            Flags::LOADING,
            Flags::STALE,
            Flags::FAST,
            Flags::NO_AUTH,
            Flags::ALLOW_BUSY,
        ],
        &[Categories::CONNECTION],
    )
    .deprecated("7.2.0", "just closing the connection")
    .docs("O(1)", "Closes the connection."),
    CommandSpec::new(
        "reset",
        Exactly(1),
        Group::Connection,
        "6.2.0",
        Handler::Fast(connection::reset),
    )
    .flags(
        &[
            Flags::NOSCRIPT,
            Flags::LOADING,
            Flags::STALE,
            Flags::FAST,
            Flags::NO_AUTH,
            Flags::ALLOW_BUSY,
        ],
        &[Categories::CONNECTION],
    )
    .docs("O(1)", "Resets the connection."),
    CommandSpec::new(
        "select",
        Exactly(2),
        Group::Connection,
        "1.0.0",
        Handler::Fast(connection::select),
    )
    .flags(&[Flags::LOADING, Flags::STALE, Flags::FAST], &[Categories::CONNECTION])
    .docs("O(1)", "Changes the selected database."),
];
