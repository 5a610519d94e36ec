//! Work that may wait for the device: done on a thread of the I/O pool, never on a worker.
//!
//! Commands are executed on the pool by the same handlers as on a worker, through an [`Executor`]
//! of their own that reads a snapshot of what is committed and has no latches and no cache. What
//! becomes of the result is the [`Purpose`].

use std::sync::Arc;

use coney_base::UnixMillis;
use coney_resp::{OwnedArgs, Protocol, Reply};

use crate::ahead;
use crate::client::Client;
use crate::command::{CommandError, CommandSpec, Context, Handler, SlowContext, Stop};
use crate::edges::Edges;
use crate::engine::Engine;
use crate::executor::Executor;
use crate::hold::{BUILT_BYTES_MAX, Built};
use crate::renew;
use crate::stopwatch::Stopwatch;

/// What a parked command needs.
#[derive(Debug)]
pub enum Job {
    /// Bring these meta keys into memory; then the command is executed again.
    Fetch(Vec<Vec<u8>>),
    /// Execute the whole command.
    Command(Box<SlowCommand>),
}

impl Job {
    /// The same work in at most `parts` jobs that may be done at the same time. RocksDB reads the files
    /// of one batch of keys one after the other, so several threads keep more reads in flight.
    pub fn split(self, parts: usize) -> Vec<Self> {
        match self {
            Self::Fetch(mut keys) => {
                // Neighbours are likely to be in one file, whose blocks are read together.
                keys.sort_unstable();
                keys.dedup();
                let len = keys.len().div_ceil(parts.max(1)).max(1);
                keys.chunks(len).map(|part| Self::Fetch(part.to_vec())).collect()
            }
            command @ Self::Command(_) => vec![command],
        }
    }
}

/// A command that is executed on the pool.
#[derive(Debug)]
pub struct SlowCommand {
    pub(crate) spec: &'static CommandSpec,
    pub(crate) args: OwnedArgs,
    pub(crate) database: u16,
    pub(crate) protocol: Protocol,
    pub(crate) now: UnixMillis,
    /// A random number, for RANDOMKEY and the like.
    pub(crate) random: u64,
    /// Id of the client.
    pub(crate) client: u64,
    /// For EXEC: the client with its transaction.
    pub(crate) state: Option<Box<Client>>,
    /// Times the commands of an EXEC.
    pub(crate) stopwatch: Stopwatch,
    pub(crate) purpose: Purpose,
}

/// What a command is executed on the pool for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// It only reads: its reply is the client's.
    Reply,
    /// To bring what it reads into memory; then the worker executes it.
    Rehearse,
    /// Its batch is committed by the worker, which holds these stripes, and knows this of sorted sets there.
    Build { hold: u64, stripes: Vec<usize>, edges: Edges },
}

/// The outcome of a [`Job`].
#[derive(Debug)]
pub enum JobDone {
    /// The keys are in memory: execute the command again.
    Fetched,
    /// The reply, in RESP.
    Replied(Vec<u8>),
    /// For [`Executor::deliver`]; then execute the command again.
    Built(Box<Built>),
}

impl Executor {
    /// Makes an error of what a command has built: nothing of it is to be committed.
    fn fail_built(&mut self, error: &CommandError, name: &str, reply: &mut Reply<'_>) {
        reply.truncate(0);
        error.write(reply, name);
        self.batch.clear();
        self.changes.clear();
        self.outgoing.clear();
        self.stopwatch.timed = None;
    }
}

impl Engine {
    /// Does a job. Waits for the device if it has to.
    pub fn run(self: &Arc<Self>, job: Job) -> JobDone {
        match job {
            Job::Fetch(keys) => {
                self.fetch(&keys);
                JobDone::Fetched
            }
            Job::Command(command) => match command.spec.handler {
                Handler::Slow(handler) => {
                    let context = SlowContext {
                        engine: self,
                        table: self.databases.table_of(command.database),
                        now: command.now,
                        random: command.random,
                    };
                    let mut out = Vec::new();
                    let mut reply = Reply::new(&mut out, command.protocol);
                    if let Err(error) = handler(&context, command.args.as_args(), &mut reply) {
                        reply.truncate(0);
                        error.write(&mut reply, command.spec.full_name);
                    }
                    JobDone::Replied(out)
                }
                Handler::Fast(_) | Handler::Admin | Handler::Container => self.run_whole(*command),
            },
        }
    }

    fn run_whole(self: &Arc<Self>, command: SlowCommand) -> JobDone {
        let SlowCommand {
            spec,
            args,
            database,
            protocol,
            now,
            random,
            client: id,
            state,
            stopwatch,
            mut purpose,
        } = command;
        let (hold, stripes, edges) = match &mut purpose {
            Purpose::Build { hold, stripes, edges } => {
                (Some(*hold), Some(std::mem::take(stripes)), std::mem::take(edges))
            }
            Purpose::Reply | Purpose::Rehearse => (None, None, Edges::default()),
        };
        let mut executor = Executor::on_pool(Arc::clone(self), stripes, random);
        executor.batch.edges = edges;
        executor.stopwatch = stopwatch;
        let is_transaction = state.is_some();
        let mut client = state.map_or_else(|| Client::new(id), |state| *state);
        (client.database, client.protocol) = (database, protocol);
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, protocol);
        let frozen = self.store.freeze();
        executor.find_table(&mut client);
        let mut context = Context::on_pool(&mut executor, &mut client, now, &frozen);
        let Handler::Fast(handler) = spec.handler else {
            unreachable!("{}: only commands on data become jobs", spec.full_name);
        };
        let mut done = handler(&mut context, args.as_args(), &mut reply);
        if context.exec.batch.as_bytes().len() > BUILT_BYTES_MAX {
            done =
                Err(CommandError::Text("ERR the command would write more than 512 MiB at once")
                    .into());
        }
        // If it fails, the worker commits everything, or finds out why not.
        let renewed = match (&done, hold) {
            (Ok(()), Some(_)) => renew::lighten(&mut context).ok().flatten(),
            _ => None,
        };
        let is_error = match done {
            Ok(()) => false,
            Err(Stop::Error(error)) => {
                executor.fail_built(&error, spec.full_name, &mut reply);
                true
            }
            Err(stop) => unreachable!("{} waits for {stop:?} on the pool", spec.full_name),
        };
        match (purpose, hold) {
            (Purpose::Rehearse, _) => JobDone::Fetched,
            (Purpose::Build { .. }, Some(hold)) => {
                let versions = std::mem::take(&mut executor.new_versions);
                let ahead = ahead::write(self, &mut executor.batch, &versions);
                // What was written of the versions is named as dead: they must not be committed.
                let (ahead, is_error) = match ahead {
                    Ok(ahead) => (ahead, is_error),
                    Err(problem) => {
                        executor.fail_built(&problem.into(), spec.full_name, &mut reply);
                        (None, true)
                    }
                };
                let timed = executor.take_timed();
                let (batch, changes, earliest_deadline_ms, outgoing) = executor.into_parts();
                JobDone::Built(Box::new(Built {
                    client: id,
                    hold,
                    reply: out,
                    batch,
                    changes,
                    earliest_deadline_ms,
                    is_error,
                    outgoing,
                    ahead: renewed.into_iter().chain(ahead).collect(),
                    client_after: is_transaction.then(|| Box::new(client)),
                    timed,
                }))
            }
            (Purpose::Reply | Purpose::Build { .. }, _) => JobDone::Replied(out),
        }
    }
}
