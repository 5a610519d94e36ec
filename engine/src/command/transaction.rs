//! MULTI, EXEC, DISCARD, WATCH, UNWATCH. See [`crate::transaction`] and [`crate::watch`]. Pages:
//! <https://redis.io/docs/latest/commands/?group=transactions>.

use std::sync::Arc;

use coney_resp::number::parse_i64;
use coney_resp::{Args, OwnedArgs, Reply};

use super::{
    CommandError, CommandSpec, Context, Done, Handler, Refusal, SlowContext, SlowHandler, Stop,
    keyspace, tenant,
};
use crate::client::Client;
use crate::databases::{self, Exchange};
use crate::executor::Executor;
use crate::key::MetaKey;
use crate::stopwatch::Lap;
use crate::transaction::Queued;
use crate::watch::{State, WATCHED_KEYS_MAX};

/// Whether the command is executed at once even between MULTI and EXEC.
pub(crate) fn is_immediate(spec: &CommandSpec) -> bool {
    matches!(spec.full_name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
}

/// Writes why a command was refused before it ran. In a transaction, that dooms EXEC; an EXEC that
/// is itself refused ends it.
pub(crate) fn refuse(
    executor: &Executor,
    client: &mut Client,
    refusal: &Refusal,
    reply: &mut Reply<'_>,
) {
    let name = refusal.spec.map_or("", |spec| spec.full_name);
    let start = reply.len();
    refusal.error.write(reply, name);
    let Some(transaction) = &mut client.transaction else { return };
    transaction.break_off();
    if name == "exec" {
        end(executor, client);
        let mut text = Vec::new();
        refusal.error.write(&mut Reply::new(&mut text, reply.protocol()), name);
        let text = String::from_utf8_lossy(text.trim_ascii());
        let text = text.trim_start_matches("-ERR ").trim_start_matches('-');
        reply.truncate(start);
        reply.error(&format!("EXECABORT Transaction discarded because of: {text}"));
    }
}

pub(super) fn multi(ctx: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if ctx.client.transaction.is_some() {
        return Err(CommandError::Text("ERR MULTI calls can not be nested").into());
    }
    ctx.client.transaction = Some(Box::default());
    reply.ok();
    Ok(())
}

pub(super) fn discard(ctx: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if ctx.client.transaction.is_none() {
        return Err(CommandError::Text("ERR DISCARD without MULTI").into());
    }
    end(ctx.exec, ctx.client);
    reply.ok();
    Ok(())
}

pub(super) fn unwatch(ctx: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    // In a transaction, EXEC does it; until it has succeeded they are needed.
    if !ctx.exec.in_transaction {
        ctx.exec.unwatch(ctx.client);
    }
    reply.ok();
    Ok(())
}

pub(super) fn watch(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if ctx.client.transaction.is_some() {
        return Err(CommandError::Text("ERR WATCH inside MULTI is not allowed").into());
    }
    if ctx.client.watched.len() + args.len() - 1 > WATCHED_KEYS_MAX {
        return Err(
            CommandError::Text("ERR too many watched keys: at most 16384 for a client").into()
        );
    }
    // First all are latched and looked at; then nothing stops the command any more.
    ctx.prepare(args.skip(1).iter())?;
    for (at, user_key) in args.skip(1).iter().enumerate() {
        let old = ctx.prepared(at, user_key);
        let key = ctx.exec.database_key(&ctx.exec.meta_key);
        if ctx.client.watched.iter().any(|watch| watch.key == key) {
            continue;
        }
        let state = match (old.stored, old.live) {
            (None, _) => State::Absent,
            (Some(_), None) => State::Expired,
            (Some(_), Some(_)) => State::Live,
        };
        ctx.client.watched.push(ctx.exec.engine.watches.enter(&key, state));
    }
    reply.ok();
    Ok(())
}

pub(super) fn exec(ctx: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let Some(transaction) = &ctx.client.transaction else {
        return Err(CommandError::Text("ERR EXEC without MULTI").into());
    };
    if transaction.is_broken {
        end(ctx.exec, ctx.client);
        return Err(CommandError::Text(
            "EXECABORT Transaction discarded because of previous errors.",
        )
        .into());
    }
    let queue = Arc::clone(&transaction.queue);
    if ctx.exec.is_sealed() {
        return Err(Stop::Stall);
    }
    let has_slow = queue.iter().any(|queued| matches!(queued.spec.handler, Handler::Slow(_)));
    if has_slow && ctx.exec.has_uncommitted(ctx.client) {
        // It reads committed data only, and must see what this client wrote before it.
        ctx.exec.commit_requested = true;
        return Err(Stop::Latch);
    }
    if ctx.exec.is_worker() {
        // What was held while the control plane was asked, is latched again.
        ctx.exec.end_hold(ctx.client);
    }
    latch(ctx, &queue)?;
    if is_touched(ctx)? {
        end(ctx.exec, ctx.client);
        reply.null_array();
        return Ok(());
    }
    let is_answered = ctx.client.transaction.as_ref().is_some_and(|it| it.answers.is_some());
    if ctx.exec.is_worker() && !is_answered && queue.iter().any(is_for_control_plane) {
        return Err(Stop::Ask);
    }
    for Queued { spec, args } in queue.iter() {
        ctx.exec.remember_keys(ctx.client, spec, args.as_args());
    }
    let before = ctx.client.clone();
    let savepoint = ctx.exec.savepoint();
    ctx.exec.in_transaction = true;
    let mut lap = ctx.exec.stopwatch.begin();
    let done = run(ctx, &queue, reply, &mut lap);
    let Err(stop) = done else {
        ctx.exec.in_transaction = false;
        ctx.exec.stopwatch.end(lap, &queue);
        end(ctx.exec, ctx.client);
        return Ok(());
    };
    ctx.exec.take_back(savepoint);
    ctx.exec.in_transaction = false;
    reply.set_protocol(before.protocol);
    *ctx.client = before;
    match stop {
        // The pool brings all that the transaction reads into memory, not only this one key.
        Stop::Fetch => ctx.exec.missed_element = true,
        Stop::TooLong if is_exclusive(&queue) => {
            end(ctx.exec, ctx.client);
            return Err(CommandError::Text(
                "EXECABORT Transaction discarded: it empties or swaps a database and reads too much \
                 for that. Use two transactions",
            )
            .into());
        }
        Stop::TooLong
        | Stop::Latch
        | Stop::Stall
        | Stop::Ask
        | Stop::Wait(_)
        | Stop::Error(_)
        | Stop::Close => {}
    }
    Err(stop)
}

fn is_for_control_plane(queued: &Queued) -> bool {
    matches!(queued.spec.handler, Handler::Admin)
}

/// The commands of the client's transaction that the control plane answers.
pub(crate) fn questions(client: &Client) -> Vec<OwnedArgs> {
    let queue = client.transaction.iter().flat_map(|transaction| transaction.queue.iter());
    queue.filter(|queued| is_for_control_plane(queued)).map(|queued| queued.args.clone()).collect()
}

/// Executes the commands, up to one that has to wait.
fn run(
    ctx: &mut Context<'_>,
    queue: &[Queued],
    reply: &mut Reply<'_>,
    lap: &mut Option<Lap>,
) -> Done {
    let first = ctx.exec.batch.writes();
    let mut failed = Vec::new();
    let answers = ctx.client.transaction.as_ref().and_then(|it| it.answers.clone());
    let mut answers = answers.iter().flat_map(|answers| answers.iter());
    reply.array(queue.len());
    for Queued { spec, args } in queue {
        let start = reply.len();
        let count = ctx.exec.batch.writes();
        let args = args.as_args();
        let done = match spec.handler {
            Handler::Fast(handler) => handler(ctx, args, reply),
            Handler::Slow(handler) => slow(ctx, handler, args, reply, count != first),
            Handler::Admin => {
                match answers.next() {
                    Some(answer) => {
                        reply.raw(answer);
                        if answer.starts_with(b"-") {
                            failed.push(spec.index());
                        }
                    }
                    // Only a rehearsal runs without them.
                    None => reply.null(),
                }
                Ok(())
            }
            Handler::Container => {
                unreachable!("{} is not queued", spec.full_name)
            }
        };
        match done {
            Ok(()) => {}
            Err(Stop::Error(error)) => {
                let written = ctx.exec.batch.writes();
                assert_eq!(written, count, "{} wrote and then failed", spec.full_name);
                reply.truncate(start);
                error.write(reply, spec.full_name);
                failed.push(spec.index());
            }
            Err(stop) => return Err(stop),
        }
        ctx.exec.stopwatch.note(lap, spec, args);
    }
    if ctx.exec.is_worker() {
        for index in failed {
            ctx.exec.stats.errors += 1;
            ctx.exec.stats.failed_calls[index] += 1;
        }
        if let Some(transaction) = &ctx.client.transaction {
            ctx.exec.count_queue(ctx.now, ctx.client, transaction);
        }
    }
    Ok(())
}

/// A command that walks over what is committed: on the pool, and not after a write of the same
/// transaction, which it could not see.
fn slow(
    ctx: &mut Context<'_>,
    handler: SlowHandler,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    has_written: bool,
) -> Done {
    if has_written {
        return Err(CommandError::Text(
            "ERR the command reads committed data only, and cannot follow a write in its \
             transaction",
        )
        .into());
    }
    if ctx.exec.is_worker() {
        return Err(Stop::TooLong);
    }
    let random = ctx.exec.next_random();
    let slow =
        SlowContext { engine: &ctx.exec.engine, table: ctx.client.table, now: ctx.now, random };
    Ok(handler(&slow, args, reply)?)
}

/// Latches all keys of the commands and all that are watched.
fn latch(ctx: &mut Context<'_>, queue: &[Queued]) -> Done {
    let mut database = ctx.client.database;
    let mut exchanges = Vec::new();
    let count = ctx.exec.engine.tables();
    for Queued { spec, args } in queue {
        let args = args.as_args();
        let table_of = |exec: &Executor, exchanges: &[Exchange], database| {
            exec.table_of(databases::before(exchanges, database))
        };
        let table = table_of(ctx.exec, &exchanges, database);
        for user_key in spec.keys_of(args) {
            latch_key(ctx, table, user_key)?;
        }
        match spec.full_name {
            "select" => {
                database = tenant::database_of(&ctx.exec.engine, &args[1]).unwrap_or(database);
            }
            "swapdb" => exchanges.extend(keyspace::exchange_of(args, count).ok()),
            // Another key may be in any database that an argument can name.
            "copy" | "move" => {
                let named = args.skip(2);
                for other in named.iter().filter_map(parse_i64) {
                    if let Ok(other) = u16::try_from(other)
                        && other < count
                    {
                        let other = table_of(ctx.exec, &exchanges, other);
                        latch_key(ctx, other, &args[1])?;
                        latch_key(ctx, other, &args[2])?;
                    }
                }
            }
            _ => {}
        }
    }
    for at in 0..ctx.client.watched.len() {
        let watch = Arc::clone(&ctx.client.watched[at]);
        if let Some(key) = MetaKey::parse(&watch.key) {
            let table = ctx.exec.table_of(key.table);
            latch_key(ctx, table, key.user_key)?;
        }
    }
    Ok(())
}

fn latch_key(ctx: &mut Context<'_>, table: u16, user_key: &[u8]) -> Done {
    ctx.exec.look_at(table, user_key);
    ctx.exec.latch()
}

/// Whether a watched key was written since, or has expired.
fn is_touched(ctx: &mut Context<'_>) -> Result<bool, Stop> {
    let mut is_touched = false;
    for watch in ctx.client.watched.clone() {
        match watch.state() {
            State::Touched => is_touched = true,
            State::Live => {
                let Some(key) = MetaKey::parse(&watch.key) else { continue };
                let table = ctx.exec.table_of(key.table);
                let found = ctx.peek(table, key.user_key, |found| found.is_some());
                match found {
                    Ok(is_live) => is_touched |= !is_live,
                    Err(Stop::Fetch) => {
                        ctx.exec.missed_element = true;
                        return Err(Stop::Fetch);
                    }
                    Err(stop) => return Err(stop),
                }
            }
            State::Absent | State::Expired => {}
        }
    }
    Ok(is_touched)
}

/// Whether a command works alone: the pool cannot.
fn is_exclusive(queue: &[Queued]) -> bool {
    let names = ["flushall", "flushdb", "swapdb"];
    queue.iter().any(|queued| names.contains(&queued.spec.full_name))
}

/// Whether this is executed by an EXEC that works alone.
pub(super) fn is_in_exclusive(ctx: &Context<'_>) -> bool {
    let transaction = ctx.client.transaction.as_ref().filter(|_| ctx.exec.in_transaction);
    transaction.is_some_and(|transaction| is_exclusive(&transaction.queue))
}

/// Ends the transaction, and what is watched for it.
fn end(executor: &Executor, client: &mut Client) {
    client.transaction = None;
    executor.unwatch(client);
}
