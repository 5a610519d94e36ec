//! What clients ask of a node about others, of which there are none yet: WAIT, WAITAOF, ROLE, REPLICAOF,
//! FAILOVER. And LOLWUT.

use coney_resp::{Args, Reply};

use super::blocking::{self, Timeout};
use super::option::{int, is};
use super::{CommandError, Context, Done, Stop};

/// No replica acknowledges anything, so whoever waits for one waits in vain.
pub(super) fn wait(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let replicas = int(&args[1])?;
    let timeout = Timeout::millis(&args[2])?;
    if replicas <= 0 {
        reply.int(0);
        return Ok(());
    }
    blocking::wait(ctx, timeout, reply, |reply| reply.int(0))
}

/// Waits until what the client has written is on the disk.
pub(super) fn waitaof(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let wants_local = match int(&args[1])? {
        0 => false,
        1 => true,
        _ => {
            return Err(CommandError::Text(
                "ERR value is out of range, value must between 0 and 1",
            )
            .into());
        }
    };
    let replicas = int(&args[2])?;
    if replicas < 0 {
        return Err(CommandError::Text("ERR value is out of range, must be positive").into());
    }
    let timeout = Timeout::millis(&args[3])?;
    if !ctx.exec.in_transaction && ctx.exec.has_uncommitted(ctx.client) {
        // It has no ticket yet.
        ctx.exec.commit_requested = true;
        return Err(Stop::Latch);
    }
    let engine = &ctx.exec.engine;
    let ticket = ctx.client.awaited_ticket.unwrap_or_else(|| engine.written_ticket());
    let is_local = engine.durable_ticket() >= ticket;
    if ctx.exec.in_transaction || (is_local || !wants_local) && replicas == 0 {
        acknowledged(is_local, reply);
        return Ok(());
    }
    ctx.client.awaited_ticket = Some(ticket);
    blocking::wait(ctx, timeout, reply, |reply| acknowledged(is_local, reply))
}

/// What WAITAOF replies: whether it is on the disk here, and on how many replicas.
pub(crate) fn acknowledged(is_local: bool, reply: &mut Reply<'_>) {
    reply.array(2);
    reply.int(i64::from(is_local));
    reply.int(0);
}

pub(super) fn role(_: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.array(3);
    reply.bulk(b"master");
    reply.int(0);
    reply.array(0);
    Ok(())
}

/// REPLICAOF and SLAVEOF.
pub(super) fn replicaof(_: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if is(&args[1], "NO") && is(&args[2], "ONE") {
        reply.ok();
        return Ok(());
    }
    Err(CommandError::Text("ERR this server cannot be a replica: there is no replication yet")
        .into())
}

pub(super) fn failover(_: &mut Context<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Done {
    let mut at = 1;
    let mut is_abort = false;
    while let Some(option) = args.get(at) {
        at += if is(option, "TO") && args.len() > at + 2 {
            3
        } else if is(option, "TIMEOUT") && args.len() > at + 1 {
            2
        } else if is(option, "FORCE") {
            1
        } else if is(option, "ABORT") {
            is_abort = true;
            1
        } else {
            return Err(CommandError::Syntax.into());
        };
    }
    Err(CommandError::Text(if is_abort {
        "ERR No failover in progress."
    } else {
        "ERR FAILOVER requires connected replicas."
    })
    .into())
}

/// A coney in front of its burrow.
const CONEY: &str = r"
    (\_/)
    (o.o)      Coney. It lives among rocks, and is no rabbit.
 ___(> <)___
/___________\
";

pub(super) fn lolwut(_: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if args.get(1).is_some_and(|option| is(option, "VERSION")) {
        let version = args.get(2).ok_or(CommandError::Syntax)?;
        int(version)?;
    }
    let text = format!("{CONEY}\nRedis ver. {}\n", crate::REDIS_VERSION);
    reply.verbatim(*b"txt", text.as_bytes());
    Ok(())
}
