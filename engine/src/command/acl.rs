//! ACL: who may do what. Pages: <https://redis.io/docs/latest/commands/?group=server>.

use coney_resp::{Args, Reply};

use super::option::is;
use super::spec::{Categories, CommandSpec};
use super::{CommandError, Context, Done, SlowContext, table};
use coney_base::UnixMillis;

use crate::acl::log::Reason;
use crate::acl::selector::{Denial, Selector};
use crate::acl::user::User;
use crate::acl::{Acl, UserError};
use crate::client::Client;

type SlowDone = Result<(), CommandError>;

/// Entries of ACL LOG without a count.
const LOG_COUNT_DEFAULT: usize = 10;

impl From<UserError> for CommandError {
    fn from(error: UserError) -> Self {
        Self::Owned(error.to_string())
    }
}

/// Refuses a command that the client's user may not run, and notes it.
pub(super) fn check(
    args: Args<'_>,
    spec: &CommandSpec,
    client: &mut Client,
    acl: &Acl,
    now: UnixMillis,
) -> Result<(), CommandError> {
    let Some(user) = client.user(acl) else {
        client.log_out();
        return Err(CommandError::NoAuth);
    };
    let Err(denial) = user.check(spec, args) else { return Ok(()) };
    let (reason, object, error) = match denial {
        Denial::Command => (
            Reason::Command,
            spec.full_name.as_bytes(),
            CommandError::Owned(format!("NOPERM {}", describe(user, spec, b""))),
        ),
        Denial::Key(at) => (
            Reason::Key,
            args.get(at).unwrap_or_default(),
            CommandError::Text("NOPERM No permissions to access a key"),
        ),
        Denial::Channel(at) => (
            Reason::Channel,
            args.get(at).unwrap_or_default(),
            CommandError::Text("NOPERM No permissions to access a channel"),
        ),
    };
    acl.note(now, reason, object, client.user_name(), client_info(client));
    Err(error)
}

fn describe(user: &User, spec: &CommandSpec, object: &[u8]) -> String {
    let name = String::from_utf8_lossy(&user.name);
    if object.is_empty() {
        let command = spec.full_name;
        format!("User {name} has no permissions to run the '{command}' command")
    } else {
        let object = String::from_utf8_lossy(object);
        format!("User {name} has no permissions to access the '{object}'")
    }
}

/// What ACL LOG keeps of a client.
pub(super) fn client_info(client: &Client) -> Vec<u8> {
    let mut info = format!("id={} name=", client.id).into_bytes();
    info.extend_from_slice(&client.name);
    info.extend_from_slice(
        format!(" db={} cmd={} user=", client.database, client.last_command).as_bytes(),
    );
    info.extend_from_slice(client.user_name());
    info
}

pub(super) fn whoami(ctx: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.bulk(ctx.client.user_name());
    Ok(())
}

pub(super) fn users(ctx: &SlowContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> SlowDone {
    let users = ctx.engine.acl().all();
    reply.array(users.len());
    for user in users {
        reply.bulk(&user.name);
    }
    Ok(())
}

pub(super) fn list(ctx: &SlowContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> SlowDone {
    let lines = ctx.engine.acl().describe();
    reply.array(lines.len());
    for line in lines {
        reply.bulk(&line);
    }
    Ok(())
}

pub(super) fn setuser(ctx: &SlowContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> SlowDone {
    let rules: Vec<&[u8]> = args.iter().skip(3).collect();
    ctx.engine.acl().set_user(&args[2], &rules)?;
    reply.ok();
    Ok(())
}

pub(super) fn getuser(ctx: &SlowContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> SlowDone {
    let Some(user) = ctx.engine.acl().get(&args[2]) else {
        reply.null();
        return Ok(());
    };
    reply.map(6);
    reply.bulk(b"flags");
    let flags = user.flags();
    reply.set(flags.len());
    for flag in flags {
        reply.bulk(flag.as_bytes());
    }
    reply.bulk(b"passwords");
    let hashes = user.password_hashes();
    reply.array(hashes.len());
    for hash in hashes {
        reply.bulk(hash.as_bytes());
    }
    write_selector(&user.root, reply);
    reply.bulk(b"selectors");
    reply.array(user.selectors.len());
    for selector in &user.selectors {
        reply.map(3);
        write_selector(selector, reply);
    }
    Ok(())
}

fn write_selector(selector: &Selector, reply: &mut Reply<'_>) {
    reply.bulk(b"commands");
    reply.bulk(selector.describe_commands().as_bytes());
    reply.bulk(b"keys");
    reply.bulk(&selector.describe_keys());
    reply.bulk(b"channels");
    reply.bulk(&selector.describe_channels());
}

pub(super) fn dryrun(ctx: &SlowContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> SlowDone {
    let text = |text: &str, arg: &[u8]| {
        CommandError::Owned(text.replace("{}", &String::from_utf8_lossy(arg)))
    };
    let user =
        ctx.engine.acl().get(&args[2]).ok_or_else(|| text("ERR User '{}' not found", &args[2]))?;
    let command = args.skip(3);
    let spec =
        table::find(command).ok().ok_or_else(|| text("ERR Command '{}' not found", &args[3]))?;
    if !spec.arity.accepts(command.len()) {
        let name = spec.full_name.as_bytes();
        return Err(text("ERR wrong number of arguments for '{}' command", name));
    }
    match user.check(spec, command) {
        Ok(()) => reply.ok(),
        Err(Denial::Command) => reply.bulk(describe(&user, spec, b"").as_bytes()),
        Err(Denial::Key(at)) => {
            let text = describe(&user, spec, &command[at]) + " key";
            reply.bulk(text.as_bytes());
        }
        Err(Denial::Channel(at)) => {
            let text = describe(&user, spec, &command[at]) + " channel";
            reply.bulk(text.as_bytes());
        }
    }
    Ok(())
}

pub(super) fn log(ctx: &SlowContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> SlowDone {
    let count = match args.get(2) {
        None => LOG_COUNT_DEFAULT,
        Some(_) if args.len() > 3 => return Err(unknown_subcommand(&args[1])),
        Some(word) if is(word, "RESET") => {
            ctx.engine.acl().with_log(|log| log.clear());
            reply.ok();
            return Ok(());
        }
        Some(count) => usize::try_from(super::option::int(count)?.max(0)).unwrap_or(usize::MAX),
    };
    ctx.engine.acl().with_log(|log| {
        let count = count.min(log.entries().len());
        reply.array(count);
        for entry in log.entries().take(count) {
            let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            reply.map(10);
            reply.bulk(b"count");
            reply.int(number(entry.count));
            reply.bulk(b"reason");
            reply.bulk(entry.reason.name().as_bytes());
            reply.bulk(b"context");
            reply.bulk(b"toplevel");
            reply.bulk(b"object");
            reply.bulk(&entry.object);
            reply.bulk(b"username");
            reply.bulk(&entry.username);
            reply.bulk(b"age-seconds");
            let age_ms = ctx.now.0.saturating_sub(entry.created.0);
            reply.bulk(format!("{}.{:03}", age_ms / 1000, age_ms % 1000).as_bytes());
            reply.bulk(b"client-info");
            reply.bulk(&entry.client_info);
            reply.bulk(b"entry-id");
            reply.int(number(entry.id));
            reply.bulk(b"timestamp-created");
            reply.int(number(entry.created.0));
            reply.bulk(b"timestamp-last-updated");
            reply.int(number(entry.updated.0));
        }
    });
    Ok(())
}

pub(super) fn cat(_: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let Some(name) = args.get(2) else {
        reply.array(Categories::NAMES.len());
        for (_, name) in Categories::NAMES {
            reply.bulk(name.as_bytes());
        }
        return Ok(());
    };
    if args.len() > 3 {
        return Err(unknown_subcommand(&args[1]).into());
    }
    let Some(category) = Categories::named(name) else {
        let name = String::from_utf8_lossy(name);
        return Err(CommandError::Owned(format!("ERR Unknown category '{name}'")).into());
    };
    let rows = || table::ALL.iter().filter(|row| row.categories.intersects(category));
    reply.array(rows().count());
    for CommandSpec { full_name, .. } in rows() {
        reply.bulk(full_name.as_bytes());
    }
    Ok(())
}

fn unknown_subcommand(given: &[u8]) -> CommandError {
    let given = String::from_utf8_lossy(given);
    CommandError::Owned(format!(
        "ERR unknown subcommand or wrong number of arguments for '{given}'. Try ACL HELP."
    ))
}
