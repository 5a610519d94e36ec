//! The connection itself. Pages: <https://redis.io/docs/latest/commands/?group=connection>.

use coney_resp::number::parse_i64;
use coney_resp::{Args, Protocol, Reply};

use super::acl::client_info;
use super::option::is;
use super::{CommandError, Context, Done, Stop, tenant};
use crate::REDIS_VERSION;
use crate::acl::DEFAULT_USER;
use crate::acl::log::Reason;
use crate::client::ReplyMode;

pub(super) fn ping(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let is_subscribed = !ctx.client.subscriptions.is_empty();
    match args.get(1) {
        // The shape of a message, so that a client may tell it from one.
        message if is_subscribed && reply.protocol() == Protocol::Resp2 && args.len() <= 2 => {
            reply.array(2);
            reply.bulk(b"pong");
            reply.bulk(message.unwrap_or_default());
        }
        None => reply.simple("PONG"),
        Some(message) if args.len() == 2 => reply.bulk(message),
        Some(_) => return Err(CommandError::WrongArity.into()),
    }
    Ok(())
}

pub(super) fn echo(_: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.bulk(&args[1]);
    Ok(())
}

pub(super) fn quit(ctx: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    // Who has got the reply is counted no more, and told nothing, though the connection still ends.
    ctx.exec.unsubscribe_all(ctx.client);
    ctx.exec.engine.roster.leave(ctx.client.id);
    reply.ok();
    Err(Stop::Close)
}

pub(super) fn reset(ctx: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    ctx.exec.unwatch(ctx.client);
    ctx.exec.unsubscribe_all(ctx.client);
    ctx.exec.stop_monitoring(ctx.client);
    ctx.exec.stop_tracking(ctx.client);
    ctx.client.reset(ctx.exec.engine.acl().is_open());
    reply.set_protocol(ctx.client.protocol);
    reply.simple("RESET");
    Ok(())
}

pub(super) fn select(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let database = tenant::database_of(&ctx.exec.engine, &args[1])?;
    ctx.check_entry(database)?;
    ctx.client.database = database;
    ctx.client.table = ctx.exec.table_of(database);
    reply.ok();
    Ok(())
}

pub(super) fn auth(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (user, password) = match (args.get(1), args.get(2)) {
        (Some(password), None) => {
            let default = ctx.exec.engine.acl().get(DEFAULT_USER.as_bytes());
            if default.is_some_and(|user| user.needs_no_password) {
                return Err(CommandError::NoPasswordSet.into());
            }
            (DEFAULT_USER.as_bytes(), password)
        }
        (Some(user), Some(password)) if args.len() == 3 => (user, password),
        _ => return Err(CommandError::Syntax.into()),
    };
    authenticate(ctx, "AUTH", user, password)?;
    reply.ok();
    Ok(())
}

fn authenticate(
    ctx: &mut Context<'_>,
    command: &str,
    name: &[u8],
    password: &[u8],
) -> Result<(), CommandError> {
    let acl = ctx.exec.engine.acl();
    match acl.get(name).filter(|user| user.admits(password)) {
        Some(user) => {
            ctx.client.log_in(user);
            ctx.exec.bind(ctx.client).inspect_err(|_no_table| ctx.client.log_out())
        }
        None => {
            let info = client_info(ctx.client);
            acl.note(ctx.now, Reason::Auth, command.as_bytes(), name, info);
            Err(CommandError::WrongPass)
        }
    }
}

/// Options of HELLO.
#[derive(Default)]
struct Hello<'a> {
    protocol: Option<Protocol>,
    user: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> Hello<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut hello = Self::default();
        let Some(version) = args.get(1) else { return Ok(hello) };
        hello.protocol = Some(match parse_i64(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(CommandError::NoProto),
            None => {
                return Err(CommandError::Text(
                    "ERR Protocol version is not an integer or out of range",
                ));
            }
        });
        let mut at = 2;
        while let Some(option) = args.get(at) {
            match (args.get(at + 1), args.get(at + 2)) {
                (Some(user), Some(password)) if is(option, "AUTH") => {
                    hello.user = Some((user, password));
                    at += 3;
                }
                (Some(name), _) if is(option, "SETNAME") => {
                    check_name(name)?;
                    hello.name = Some(name);
                    at += 2;
                }
                _ => {
                    let option = String::from_utf8_lossy(option);
                    return Err(CommandError::Owned(format!(
                        "ERR Syntax error in HELLO option '{option}'"
                    )));
                }
            }
        }
        Ok(hello)
    }
}

pub(super) fn hello(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let hello = Hello::parse(args)?;
    if let Some((user, password)) = hello.user {
        authenticate(ctx, "HELLO", user, password)?;
    }
    if !ctx.client.authenticated {
        return Err(CommandError::Text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        )
        .into());
    }
    if let Some(name) = hello.name {
        ctx.client.name = name.to_vec();
    }
    if let Some(protocol) = hello.protocol {
        ctx.client.protocol = protocol;
    }
    reply.set_protocol(ctx.client.protocol);
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.int(match ctx.client.protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    });
    reply.bulk(b"id");
    reply.int(i64::try_from(ctx.client.id).unwrap_or(i64::MAX));
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}

/// Seconds and microseconds. The clock that commands see ticks in milliseconds.
pub(super) fn time(ctx: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    reply.array(2);
    reply.bulk_int(number(ctx.now.0 / 1000));
    reply.bulk_int(number(ctx.now.0 % 1000 * 1000));
    Ok(())
}

pub(super) fn client_id(ctx: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.int(i64::try_from(ctx.client.id).unwrap_or(i64::MAX));
    Ok(())
}

pub(super) fn client_getname(ctx: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if ctx.client.name.is_empty() {
        reply.null();
    } else {
        reply.bulk(&ctx.client.name);
    }
    Ok(())
}

pub(super) fn client_setname(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    check_name(&args[2])?;
    ctx.client.name = args[2].to_vec();
    reply.ok();
    Ok(())
}

fn check_name(name: &[u8]) -> Result<(), CommandError> {
    if is_plain(name) {
        Ok(())
    } else {
        Err(CommandError::Text(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        ))
    }
}

/// Whether it can stand in a line of CLIENT LIST.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

pub(super) fn client_setinfo(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (attribute, value) = (&args[2], &args[3]);
    let target = if is(attribute, "LIB-NAME") {
        &mut ctx.client.lib_name
    } else if is(attribute, "LIB-VER") {
        &mut ctx.client.lib_ver
    } else {
        let attribute = String::from_utf8_lossy(attribute);
        return Err(CommandError::Owned(format!("ERR Unrecognized option '{attribute}'")).into());
    };
    if !is_plain(value) {
        let attribute = String::from_utf8_lossy(attribute);
        return Err(CommandError::Owned(format!(
            "ERR {attribute} cannot contain spaces, newlines or special characters."
        ))
        .into());
    }
    *target = value.to_vec();
    reply.ok();
    Ok(())
}

pub(super) fn client_no_evict(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    ctx.client.no_evict = on_or_off(&args[2])?;
    reply.ok();
    Ok(())
}

pub(super) fn client_no_touch(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    ctx.client.no_touch = on_or_off(&args[2])?;
    reply.ok();
    Ok(())
}

fn on_or_off(arg: &[u8]) -> Result<bool, CommandError> {
    match arg {
        _ if is(arg, "ON") => Ok(true),
        _ if is(arg, "OFF") => Ok(false),
        _ => Err(CommandError::Syntax),
    }
}

/// The executor asks [`crate::Client::take_reply_permission`] after each command, this included.
pub(super) fn client_reply(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let mode = &args[2];
    if is(mode, "ON") {
        ctx.client.reply_mode = ReplyMode::On;
        reply.ok();
    } else if is(mode, "OFF") {
        ctx.client.reply_mode = ReplyMode::Off;
    } else if is(mode, "SKIP") {
        if ctx.client.reply_mode != ReplyMode::Off {
            ctx.client.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax.into());
    }
    Ok(())
}
