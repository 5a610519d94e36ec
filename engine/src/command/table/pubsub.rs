//! Rows of the publish and subscribe commands.

use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Arity, Categories, CommandSpec, Flags, Group, Handler, KeySpec};
use crate::command::{FastHandler, introspect, pubsub};

const fn row(
    name: &'static str,
    arity: Arity,
    since: &'static str,
    handler: FastHandler,
    flags: &[Flags],
) -> CommandSpec {
    CommandSpec::new(name, arity, Group::PubSub, since, Handler::Fast(handler))
        .flags(flags, &[Categories::PUBSUB])
}

const SUBSCRIBE: &[Flags] = &[Flags::PUBSUB, Flags::NOSCRIPT, Flags::LOADING, Flags::STALE];
const PUBLISH: &[Flags] = &[Flags::PUBSUB, Flags::LOADING, Flags::STALE, Flags::FAST];
const LOOK: &[Flags] = &[Flags::PUBSUB, Flags::LOADING, Flags::STALE];

pub(super) const ROWS: &[CommandSpec] = &[
    row("psubscribe", AtLeast(2), "2.0.0", pubsub::psubscribe, SUBSCRIBE)
        .docs("O(N) where N is the number of patterns to subscribe to.", "Listens for messages published to channels that match one or more patterns."),
    row("publish", Exactly(3), "2.0.0", pubsub::publish, PUBLISH)
        .docs("O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total number of subscribed patterns (by any client).", "Posts a message to a channel."),
    CommandSpec::new("pubsub", AtLeast(2), Group::PubSub, "2.8.0", Handler::Container)
        .docs("Depends on subcommand.", "A container for Pub/Sub commands."),
    row("pubsub|channels", AtLeast(2), "2.8.0", pubsub::channels, LOOK)
        .docs("O(N) where N is the number of active channels, and assuming constant time pattern matching (relatively short channels and patterns)", "Returns the active channels."),
    CommandSpec::new("pubsub|help", Exactly(2), Group::PubSub, "6.2.0", Handler::Fast(introspect::help))
        .flags(&[Flags::LOADING, Flags::STALE], &[])
        .docs("O(1)", "Returns helpful text about the different subcommands."),
    row("pubsub|numpat", Exactly(2), "2.8.0", pubsub::numpat, LOOK)
        .docs("O(1)", "Returns a count of unique pattern subscriptions."),
    row("pubsub|numsub", AtLeast(2), "2.8.0", pubsub::numsub, LOOK)
        .docs("O(N) for the NUMSUB subcommand, where N is the number of requested channels", "Returns a count of subscribers to channels."),
    row("pubsub|shardchannels", AtLeast(2), "7.0.0", pubsub::shardchannels, LOOK)
        .docs("O(N) where N is the number of active shard channels, and assuming constant time pattern matching (relatively short shard channels).", "Returns the active shard channels."),
    row("pubsub|shardnumsub", AtLeast(2), "7.0.0", pubsub::shardnumsub, LOOK)
        .docs("O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels", "Returns the count of subscribers of shard channels."),
    row("punsubscribe", AtLeast(1), "2.0.0", pubsub::punsubscribe, SUBSCRIBE)
        .docs("O(N) where N is the number of patterns to unsubscribe.", "Stops listening to messages published to channels that match one or more patterns."),
    row("spublish", Exactly(3), "7.0.0", pubsub::spublish, PUBLISH)
        .keys(&[KeySpec::new(1, 0, 1, &["not_key"])])
        .docs("O(N) where N is the number of clients subscribed to the receiving shard channel.", "Post a message to a shard channel."),
    row("ssubscribe", AtLeast(2), "7.0.0", pubsub::ssubscribe, SUBSCRIBE)
        .keys(&[KeySpec::new(1, -1, 1, &["not_key"])])
        .docs("O(N) where N is the number of shard channels to subscribe to.", "Listens for messages published to shard channels."),
    row("subscribe", AtLeast(2), "2.0.0", pubsub::subscribe, SUBSCRIBE)
        .docs("O(N) where N is the number of channels to subscribe to.", "Listens for messages published to channels."),
    row("sunsubscribe", AtLeast(1), "7.0.0", pubsub::sunsubscribe, SUBSCRIBE)
        .keys(&[KeySpec::new(1, -1, 1, &["not_key"])])
        .docs("O(N) where N is the number of shard channels to unsubscribe.", "Stops listening to messages posted to shard channels."),
    row("unsubscribe", AtLeast(1), "2.0.0", pubsub::unsubscribe, SUBSCRIBE)
        .docs("O(N) where N is the number of channels to unsubscribe.", "Stops listening to messages posted to channels."),
];
