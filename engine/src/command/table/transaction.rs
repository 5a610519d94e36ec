//! Rows of the transaction commands.

use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Categories, CommandSpec, Flags, Group, Handler, KeySpec};
use crate::command::transaction;

const FLAGS: &[Flags] =
    &[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::FAST, Flags::ALLOW_BUSY];
const CATEGORIES: &[Categories] = &[Categories::TRANSACTION];

const fn row(
    name: &'static str,
    since: &'static str,
    handler: crate::command::FastHandler,
) -> CommandSpec {
    CommandSpec::new(name, Exactly(1), Group::Transactions, since, Handler::Fast(handler))
        .flags(FLAGS, CATEGORIES)
}

pub(super) const ROWS: &[CommandSpec] = &[
    row("discard", "2.0.0", transaction::discard)
        .docs("O(N), when N is the number of queued commands", "Discards a transaction."),
    CommandSpec::new(
        "exec",
        Exactly(1),
        Group::Transactions,
        "1.2.0",
        Handler::Fast(transaction::exec),
    )
    .flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::SKIP_SLOWLOG], CATEGORIES)
    .docs("Depends on commands in the transaction", "Executes all commands in a transaction."),
    row("multi", "1.2.0", transaction::multi).docs("O(1)", "Starts a transaction."),
    row("unwatch", "2.2.0", transaction::unwatch)
        .docs("O(1)", "Forgets about watched keys of a transaction."),
    CommandSpec::new(
        "watch",
        AtLeast(2),
        Group::Transactions,
        "2.2.0",
        Handler::Fast(transaction::watch),
    )
    .flags(FLAGS, CATEGORIES)
    .keys(&[KeySpec::new(1, -1, 1, &["RO"])])
    .docs(
        "O(1) for every key.",
        "Monitors changes to keys to determine the execution of a transaction.",
    ),
];
