//! MULTI: the commands that a client queued, and how a half-executed queue is taken back.
//!
//! EXEC is one command to everything around it: its writes go into the open batch, so they are
//! committed together with, or lost together with, whatever else the batch holds. Before its first
//! command runs, all keys of all queued commands and all watched keys are latched, those that are
//! only read too; the latches last until the commit. So nobody sees or changes anything between
//! its commands. A command that would have to wait takes all writes of the transaction back
//! ([`Executor::take_back`]), and EXEC waits as a whole: for a latch, for the pool to bring its keys
//! into memory, or, if it reads too much for a worker, for the pool to execute all of it
//! ([`crate::hold`]).
//!
//! What the control plane answers (INFO, CONFIG SET) is asked of it before anything else of the
//! transaction is executed, all at once, while the latches are held; then EXEC goes on with the answers.

use std::ops::Range;
use std::sync::Arc;

use coney_base::UnixMillis;
use coney_resp::{Args, OwnedArgs, Reply};

use crate::batch::{Mark, Record};
use crate::client::Client;
use crate::command::{self, CommandError, CommandSpec, Flags, Handler};
use crate::counts::Changes;
use crate::databases;
use crate::executor::Executor;
use crate::job::Purpose;
use crate::key::MetaKey;

/// Commands that one transaction may hold.
pub const QUEUE_COMMANDS_MAX: usize = 64 * 1024;
/// Bytes that they may hold together with their arguments.
pub const QUEUE_BYTES_MAX: usize = 256 << 20;

/// One command of a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) spec: &'static CommandSpec,
    pub(crate) args: OwnedArgs,
}

/// What a client has said since MULTI.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction {
    /// Shared with the pool while EXEC is there.
    pub(crate) queue: Arc<Vec<Queued>>,
    bytes: usize,
    /// A command was refused: EXEC will be too.
    pub(crate) is_broken: bool,
    /// What the control plane has replied to its commands of the queue, in their order.
    pub(crate) answers: Option<Arc<Vec<Vec<u8>>>>,
}

/// The transaction is too large.
#[derive(Debug)]
pub(crate) struct QueueFull;

impl Transaction {
    /// Adds a command. One that is full, or that will be refused anyway, keeps nothing.
    pub(crate) fn push(
        &mut self,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) -> Result<(), QueueFull> {
        if self.is_broken {
            return Ok(());
        }
        let args = args.to_owned();
        self.bytes += args.heap_bytes() + size_of::<Queued>();
        if self.queue.len() >= QUEUE_COMMANDS_MAX || self.bytes > QUEUE_BYTES_MAX {
            self.break_off();
            return Err(QueueFull);
        }
        Arc::make_mut(&mut self.queue).push(Queued { spec, args });
        Ok(())
    }

    /// EXEC will be refused: what is queued is not needed any more.
    pub(crate) fn break_off(&mut self) {
        *self = Self { is_broken: true, ..Self::default() };
    }
}

/// What [`Executor::take_back`] goes back to.
#[derive(Debug)]
pub(crate) struct Savepoint {
    batch: Mark,
    changes: Changes,
    earliest_deadline_ms: u64,
    outgoing: usize,
    exchanges: usize,
}

impl Executor {
    /// Queues a command of a transaction.
    pub(crate) fn queue(
        &mut self,
        spec: &'static CommandSpec,
        client: &mut Client,
        args: Args<'_>,
        reply: &mut Reply<'_>,
    ) {
        let start = reply.len();
        let Some(transaction) = &mut client.transaction else { return };
        match queue(transaction, spec, args) {
            Ok(()) => reply.simple("QUEUED"),
            Err(error) => {
                self.stats.rejected += 1;
                self.stats.rejected_calls[spec.index()] += 1;
                error.write(reply, spec.full_name);
            }
        }
        if !client.take_reply_permission() {
            reply.truncate(start);
        }
    }

    /// For EXEC, and for XREAD that waited: the client, as the pool needs it.
    pub(crate) fn state_for_pool(&self, client: &Client, purpose: &Purpose) -> Option<Box<Client>> {
        if client.transaction.is_none() && !matches!(purpose, Purpose::Reply) {
            return None;
        }
        if client.transaction.is_none() && !client.is_waiting() {
            return None;
        }
        let mut state = Box::new(client.clone());
        state.wrote_in_batch = None;
        // Whether they are as they were was asked here, under the latches that are held meanwhile.
        if matches!(purpose, Purpose::Build { .. }) {
            state.watched = Vec::new();
        }
        Some(state)
    }

    /// The pool has executed EXEC, which left the client like this.
    pub(crate) fn end_transaction(&mut self, now: UnixMillis, client: &mut Client, after: Client) {
        self.unwatch(client);
        if let Some(transaction) = client.transaction.take() {
            self.count_queue(now, client, &transaction);
        }
        let before = std::mem::replace(client, after);
        client.commands = before.commands;
    }

    /// Counts the commands of a transaction that was executed.
    pub(crate) fn count_queue(
        &mut self,
        now: UnixMillis,
        client: &Client,
        transaction: &Transaction,
    ) {
        if self.is_worker() {
            for queued in transaction.queue.iter() {
                self.feed_monitors(now, client, queued.spec, queued.args.as_args());
                self.stats.commands += 1;
                self.stats.calls[queued.spec.index()] += 1;
            }
        }
    }

    pub(crate) fn savepoint(&self) -> Savepoint {
        Savepoint {
            batch: self.batch.mark(),
            changes: self.changes.clone(),
            earliest_deadline_ms: self.earliest_deadline_ms,
            outgoing: self.outgoing.len(),
            exchanges: self.exchanges.len(),
        }
    }

    /// Takes back all writes since then.
    pub(crate) fn take_back(&mut self, savepoint: Savepoint) {
        self.batch.take_back(savepoint.batch);
        self.kept_buckets.clear();
        self.changes = savepoint.changes;
        self.earliest_deadline_ms = savepoint.earliest_deadline_ms;
        self.outgoing.truncate(savepoint.outgoing);
        self.exchanges.truncate(savepoint.exchanges);
        if self.in_transaction {
            self.forget_emptied();
        }
    }

    /// A client has written the records since `mark`: tells those whom that concerns.
    pub(crate) fn touch(&mut self, mark: Mark, client: u64) {
        self.touch_watched(mark);
        self.note_writer(mark, client);
    }

    /// Tells those who watch the keys that the records since `mark` write.
    pub(crate) fn touch_watched(&self, mark: Mark) {
        if self.engine.watches.is_empty() {
            return;
        }
        let touch = |meta_key: &[u8], is_removal| {
            let table = MetaKey::parse(meta_key).map_or(0, |key| key.table);
            for database in self.databases_of(table) {
                self.engine.watches.touch(&databases::in_database(meta_key, database), is_removal);
            }
        };
        for record in self.batch.records_since(mark) {
            match record {
                Record::Meta { key, is_removal } => touch(key, is_removal),
                Record::Element { key } => {
                    if let Some(meta_key) = crate::element::meta_key_of(key) {
                        touch(&meta_key, false);
                    }
                }
                Record::MetaRange { begin, end } => {
                    self.engine.watches.flush(&self.emptied_databases(begin, end));
                }
                Record::Other => {}
            }
        }
        self.touch_exchanged();
    }

    /// The client watches nothing any more.
    pub(crate) fn unwatch(&self, client: &mut Client) {
        for watch in client.watched.drain(..) {
            if self.is_worker() {
                self.engine.watches.leave(&watch);
            }
        }
    }

    /// Whether the open transaction has emptied this table.
    pub(crate) fn has_emptied(&self, table: u16) -> bool {
        self.emptied.iter().any(|tables: &Range<u16>| tables.contains(&table))
    }
}

/// Whether the control plane answers a command at once, and so in a transaction too.
fn may_be_asked(spec: &CommandSpec) -> bool {
    let container = spec.full_name.split('|').next().unwrap_or_default();
    matches!(
        container,
        "acl" | "client" | "config" | "info" | "lastsave" | "latency" | "memory" | "slowlog"
    )
}

/// Queues a command of a transaction.
fn queue(
    transaction: &mut Transaction,
    spec: &'static CommandSpec,
    args: Args<'_>,
) -> Result<(), CommandError> {
    let is_refused = spec.flags.contains(Flags::NO_MULTI)
        || matches!(spec.handler, Handler::Admin) && !may_be_asked(spec)
        || command::pubsub::is_subscription(spec);
    if is_refused {
        transaction.break_off();
        return Err(CommandError::Text("ERR Command not allowed inside a transaction"));
    }
    transaction.push(spec, args).map_err(|_full| {
        CommandError::Text("ERR the transaction is too large: at most 65536 commands and 256 MiB")
    })
}
