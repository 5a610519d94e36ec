//! Publish and subscribe. See [`crate::pubsub`]. Pages:
//! <https://redis.io/docs/latest/commands/?group=pubsub>.

use coney_resp::{Args, Protocol, Reply};

use super::{CommandError, CommandSpec, Context, Done, Stop};
use crate::client::Client;
use crate::pubsub::{Kind, Message, SUBSCRIPTIONS_MAX};

/// Whether a client may execute the command now: one that speaks RESP2 and is subscribed cannot
/// tell replies from messages.
pub(crate) fn check_allowed(spec: &CommandSpec, client: &Client) -> Result<(), CommandError> {
    let name = spec.full_name;
    let is_restricted = client.protocol == Protocol::Resp2 && !client.subscriptions.is_empty();
    if !is_restricted || is_subscription(spec) || matches!(name, "ping" | "quit" | "reset") {
        return Ok(());
    }
    Err(CommandError::Owned(format!(
        "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
         are allowed in this context"
    )))
}

/// Whether the command changes what its client is subscribed to.
pub(crate) fn is_subscription(spec: &CommandSpec) -> bool {
    spec.full_name.ends_with("subscribe")
}

pub(super) fn subscribe(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    enter(ctx, Kind::Channel, args, reply)
}

pub(super) fn psubscribe(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    enter(ctx, Kind::Pattern, args, reply)
}

pub(super) fn ssubscribe(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    enter(ctx, Kind::Shard, args, reply)
}

pub(super) fn unsubscribe(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    leave(ctx, Kind::Channel, args, reply);
    Ok(())
}

pub(super) fn punsubscribe(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    leave(ctx, Kind::Pattern, args, reply);
    Ok(())
}

pub(super) fn sunsubscribe(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    leave(ctx, Kind::Shard, args, reply);
    Ok(())
}

fn enter(ctx: &mut Context<'_>, kind: Kind, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let total: usize = ctx.client.subscriptions.counts().iter().sum();
    if total + args.len() - 1 > SUBSCRIPTIONS_MAX {
        return Err(
            CommandError::Text("ERR too many subscriptions: at most 65536 for a client").into()
        );
    }
    let event = match kind {
        Kind::Channel => "subscribe",
        Kind::Pattern => "psubscribe",
        Kind::Shard => "ssubscribe",
    };
    for name in args.skip(1).iter() {
        ctx.exec.subscribe(ctx.client, kind, name);
        confirm(ctx.client, kind, event, Some(name), reply);
    }
    Ok(())
}

fn leave(ctx: &mut Context<'_>, kind: Kind, args: Args<'_>, reply: &mut Reply<'_>) {
    let event = match kind {
        Kind::Channel => "unsubscribe",
        Kind::Pattern => "punsubscribe",
        Kind::Shard => "sunsubscribe",
    };
    let names: Vec<Vec<u8>> = if args.len() > 1 {
        args.skip(1).iter().map(<[u8]>::to_vec).collect()
    } else {
        ctx.client.subscriptions.of(kind).iter().cloned().collect()
    };
    if names.is_empty() {
        confirm(ctx.client, kind, event, None, reply);
    }
    for name in names {
        ctx.exec.unsubscribe(ctx.client, kind, &name);
        confirm(ctx.client, kind, event, Some(&name), reply);
    }
}

/// One reply for each name, with the number of subscriptions left. Shard channels count apart.
fn confirm(client: &Client, kind: Kind, event: &str, name: Option<&[u8]>, reply: &mut Reply<'_>) {
    let [channels, patterns, shards] = client.subscriptions.counts();
    reply.push(3);
    reply.bulk(event.as_bytes());
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.count(if kind == Kind::Shard { shards } else { channels + patterns });
}

pub(super) fn publish(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    send(ctx, Message::new(false, &args[1], &args[2]), reply)
}

pub(super) fn spublish(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    send(ctx, Message::new(true, &args[1], &args[2]), reply)
}

fn send(ctx: &mut Context<'_>, message: Message, reply: &mut Reply<'_>) -> Done {
    let count = ctx.exec.publish(message).ok_or(Stop::Stall)?;
    reply.count(count);
    Ok(())
}

pub(super) fn channels(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    names(ctx, Kind::Channel, args, reply)
}

pub(super) fn shardchannels(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    names(ctx, Kind::Shard, args, reply)
}

fn names(ctx: &Context<'_>, kind: Kind, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if args.len() > 3 {
        return Err(CommandError::Owned(format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try PUBSUB HELP.",
            String::from_utf8_lossy(&args[1])
        ))
        .into());
    }
    let names = ctx.exec.engine.pubsub.names(kind, args.get(2));
    reply.array(names.len());
    for name in names {
        reply.bulk(&name);
    }
    Ok(())
}

pub(super) fn numsub(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    numbers(ctx, Kind::Channel, args, reply);
    Ok(())
}

pub(super) fn shardnumsub(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    numbers(ctx, Kind::Shard, args, reply);
    Ok(())
}

fn numbers(ctx: &Context<'_>, kind: Kind, args: Args<'_>, reply: &mut Reply<'_>) {
    let names = args.skip(2);
    reply.array(names.len() * 2);
    for name in names.iter() {
        reply.bulk(name);
        reply.count(ctx.exec.engine.pubsub.subscribers(kind, name));
    }
}

/// Different patterns, not subscriptions to them.
pub(super) fn numpat(ctx: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.count(ctx.exec.engine.pubsub.names(Kind::Pattern, None).len());
    Ok(())
}
