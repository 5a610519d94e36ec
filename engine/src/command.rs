//! Commands: from a name to a handler, and what handlers work with.
//!
//! A command is one row of [`table`] and one handler. The row carries everything that can be
//! stated as data: arity, flags, key positions, categories, documentation. [`resolve`] checks what
//! can be checked from the row; the handler does the rest.
//!
//! Handlers come in three kinds. *Fast* ones run on the worker, never wait, and write through the
//! worker's batch. *Slow* ones run on the I/O pool with read access to committed data. *Admin*
//! ones are answered by the control plane, which is not part of this crate.
//!
//! A fast handler that would have to wait, or works longer than a worker may, stops ([`Stop`]) and
//! is executed again, on the worker when what it needs is in memory or as a whole on the pool
//! ([`crate::job`]). It is written once for both, over [`Context`], under two rules: it latches all
//! keys that it writes before it reads elements, and reads everything before it writes anything.
//! What handlers of collections share is in [`collection`].

use coney_base::UnixMillis;
use coney_resp::{Args, Reply};

use crate::acl::Acl;
use crate::batch::Pending;
use crate::client::Client;
use crate::engine::Engine;
use crate::executor::{Executor, FETCH_ROUNDS_MAX, Source};
use crate::meta::{Header, MetaError};
use crate::notify::Class;
use crate::store::{Frozen, StoreError, Tier};
use crate::stripe::Taken;

mod acl;
mod bitmap;
mod blocking;
pub(crate) mod collection;
mod connection;
mod dump;
mod error;
mod expire;
mod first;
pub(crate) mod hash;
mod hyperloglog;
mod increment;
mod introspect;
mod keys;
mod keyspace;
mod lcs;
mod list;
mod long_double;
pub(crate) mod node;
mod option;
pub(crate) mod pubsub;
mod scan;
mod set;
mod sort;
mod spec;
mod stream;
mod string;
pub mod table;
mod tenant;
mod text;
mod tracking;
pub(crate) mod transaction;
pub(crate) mod zset;

pub use error::CommandError;
pub(crate) use spec::Handler;
pub use spec::{Arity, Categories, CommandSpec, Flags, Group, KeySpec};
use stream::group::subcommand_syntax as group_syntax;
pub(crate) use stream::read::group_of as group_of_xreadgroup;

/// Why a handler stopped before its reply was complete.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Reply with this error.
    Error(CommandError),
    /// Reply as written, then end the connection.
    Close,
    /// A key is only on the device: fetch the command's keys and try again.
    Fetch,
    /// The command reads more than a worker may, or a range that is not in memory: execute it as a
    /// whole on the I/O pool.
    TooLong,
    /// Somebody else is writing: try again.
    Latch,
    /// EXEC has commands for the control plane, and needs its answers before it runs any.
    Ask,
    /// Writes are stalled: try again.
    Stall,
    /// There is nothing yet: wait for elements of the command's keys, for so many milliseconds, or
    /// for ever (0). What was written stays.
    Wait(u64),
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<MetaError> for CommandError {
    fn from(error: MetaError) -> Self {
        Self::Damaged(error)
    }
}

impl From<CommandError> for Stop {
    fn from(error: CommandError) -> Self {
        Self::Error(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Error(CommandError::Store(error))
    }
}

impl From<MetaError> for Stop {
    fn from(error: MetaError) -> Self {
        Self::Error(CommandError::Damaged(error))
    }
}

impl From<Taken> for Stop {
    fn from(_: Taken) -> Self {
        Self::Latch
    }
}

/// What a fast handler returns.
pub(crate) type Done = Result<(), Stop>;

/// A command that was refused before it ran.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) spec: Option<&'static CommandSpec>,
    pub(crate) error: CommandError,
}

/// Finds the row of a command and checks arity, authentication and what its user may do.
pub(crate) fn resolve(
    args: Args<'_>,
    client: &mut Client,
    acl: &Acl,
    now: UnixMillis,
) -> Result<&'static CommandSpec, Refusal> {
    let spec = table::find(args)?;
    if !spec.arity.accepts(args.len()) {
        return Err(Refusal { spec: Some(spec), error: CommandError::WrongArity });
    }
    if !client.authenticated && !spec.flags.contains(Flags::NO_AUTH) {
        return Err(Refusal { spec: Some(spec), error: CommandError::NoAuth });
    }
    if client.authenticated && !spec.flags.contains(Flags::NO_AUTH) {
        acl::check(args, spec, client, acl, now)
            .map_err(|error| Refusal { spec: Some(spec), error })?;
    }
    pubsub::check_allowed(spec, client).map_err(|error| Refusal { spec: Some(spec), error })?;
    Ok(spec)
}

/// What a slow handler works with.
#[derive(Debug)]
pub(crate) struct SlowContext<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) table: u16,
    pub(crate) now: UnixMillis,
    /// A random number.
    pub(crate) random: u64,
}

/// A key as a writer finds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Old {
    /// What is stored, although its deadline may have passed.
    pub(crate) stored: Option<Header>,
    /// What commands see.
    pub(crate) live: Option<Header>,
}

impl Old {
    const ABSENT: Self = Self { stored: None, live: None };

    fn new(stored: Header, now: UnixMillis) -> Self {
        Self { stored: Some(stored), live: Some(stored).filter(|header| !header.is_expired(now)) }
    }
}

/// A value buffer that grew beyond this for one large value is not kept.
const VALUE_BUFFER_BYTES_KEPT: usize = 1 << 20;

/// What a fast handler works with: the client, the moment, and the keys of the client's table.
///
/// Reads may stop with [`Stop::Fetch`]; a handler that writes more than one key reads all of them
/// first ([`Context::prepare`]), so that it never stops half way.
pub(crate) struct Context<'a> {
    pub(crate) exec: &'a mut Executor,
    pub(crate) client: &'a mut Client,
    pub(crate) now: UnixMillis,
    source: Source<'a>,
    /// What the command may still read of ranges on a worker.
    budget: collection::Budget,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        exec: &'a mut Executor,
        client: &'a mut Client,
        now: UnixMillis,
        attempt: u32,
    ) -> Self {
        let tier = if attempt >= FETCH_ROUNDS_MAX { Tier::Device } else { Tier::Memory };
        Self { exec, client, now, source: Source::Worker(tier), budget: collection::Budget::WORKER }
    }

    /// For a command that is executed on the pool.
    pub(crate) fn on_pool(
        exec: &'a mut Executor,
        client: &'a mut Client,
        now: UnixMillis,
        frozen: &'a Frozen<'a>,
    ) -> Self {
        Self { exec, client, now, source: Source::Pool(frozen), budget: collection::Budget::POOL }
    }

    /// Whether it is a worker that must not wait.
    pub(crate) fn is_on_worker(&self) -> bool {
        matches!(self.source, Source::Worker(_))
    }

    /// The client's table.
    pub(crate) fn table(&self) -> u16 {
        self.client.table
    }

    /// Reads a key for a reply: hands header and body to `f`, or `None` if the key is absent.
    pub(crate) fn read<R>(
        &mut self,
        user_key: &[u8],
        f: impl FnOnce(Option<(Header, &[u8])>) -> R,
    ) -> Result<R, Stop> {
        let mut is_hit = false;
        let result = self.peek(self.client.table, user_key, |found| {
            is_hit = found.is_some();
            f(found)
        })?;
        if is_hit {
            self.exec.stats.keyspace_hits += 1;
        } else {
            self.exec.stats.keyspace_misses += 1;
            self.notify(Class::Miss, "keymiss", user_key);
        }
        Ok(result)
    }

    /// Like [`Context::read`], in any table and without counting a hit or a miss.
    pub(crate) fn peek<R>(
        &mut self,
        table: u16,
        user_key: &[u8],
        f: impl FnOnce(Option<(Header, &[u8])>) -> R,
    ) -> Result<R, Stop> {
        self.exec.look_at(table, user_key);
        let now = self.now;
        let mut is_expired = false;
        let result = self.exec.find(self.source, |value| match value {
            None => Ok(f(None)),
            Some(value) => {
                let (header, body) = Header::parse(value)?;
                is_expired = header.is_expired(now);
                Ok(f(if is_expired { None } else { Some((header, body)) }))
            }
        })?;
        if is_expired {
            self.exec.note_expired(now);
        }
        result.map_err(|error: MetaError| error.into())
    }

    /// Latches a key of the client's table for writing and tells what is there.
    pub(crate) fn for_write(&mut self, user_key: &[u8]) -> Result<Old, Stop> {
        self.for_write_in(self.client.table, user_key)
    }

    /// Latches a key for writing and tells what is there.
    pub(crate) fn for_write_in(&mut self, table: u16, user_key: &[u8]) -> Result<Old, Stop> {
        self.inspect_for_write(table, user_key, |_| ()).map(|(old, ())| old)
    }

    /// Latches a key of the client's table and hands what is there to `f`, as [`Context::read`]
    /// does.
    pub(crate) fn read_for_write<R>(
        &mut self,
        user_key: &[u8],
        f: impl FnOnce(Option<(Header, &[u8])>) -> R,
    ) -> Result<(Old, R), Stop> {
        self.inspect_for_write(self.client.table, user_key, f)
    }

    fn inspect_for_write<R>(
        &mut self,
        table: u16,
        user_key: &[u8],
        f: impl FnOnce(Option<(Header, &[u8])>) -> R,
    ) -> Result<(Old, R), Stop> {
        self.exec.look_at(table, user_key);
        self.exec.latch()?;
        let now = self.now;
        let found = self.exec.find(self.source, |value| {
            let Some(value) = value else { return Ok((Old::ABSENT, f(None))) };
            let (header, body) = Header::parse(value)?;
            let old = Old::new(header, now);
            Ok::<_, MetaError>((old, f(old.live.map(|header| (header, body)))))
        })?;
        Ok(found?)
    }

    /// Latches a key and copies its live body into the executor's value buffer (empty if absent);
    /// [`Context::put_loaded`] writes it back.
    pub(crate) fn load_for_write(&mut self, user_key: &[u8]) -> Result<Old, Stop> {
        let mut value = std::mem::take(&mut self.exec.value);
        value.clear();
        let old = self.read_for_write(user_key, |found| {
            if let Some((_, body)) = found {
                value.extend_from_slice(body);
            }
        });
        self.exec.value = value;
        old.map(|(old, ())| old)
    }

    /// Latches and reads all `keys` of the client's table, so that none of them can stop the
    /// handler any more once it has begun to write. [`Context::prepared`] tells what was there.
    pub(crate) fn prepare<'k>(&mut self, keys: impl Iterator<Item = &'k [u8]>) -> Result<(), Stop> {
        self.exec.prepared.clear();
        for user_key in keys {
            let old = self.for_write(user_key)?;
            self.exec.prepared.push(old);
        }
        Ok(())
    }

    /// What is at the key that was number `at` in [`Context::prepare`], if that is `user_key`;
    /// writes since then included.
    pub(crate) fn prepared(&mut self, at: usize, user_key: &[u8]) -> Old {
        self.exec.look_at(self.client.table, user_key);
        match self.exec.batch.pending(&self.exec.meta_key) {
            Some(Pending::Put(value)) => {
                Header::parse(value).map_or(Old::ABSENT, |(header, _)| Old::new(header, self.now))
            }
            Some(Pending::Deleted) => Old::ABSENT,
            None => self.exec.prepared.get(at).copied().unwrap_or(Old::ABSENT),
        }
    }

    /// Writes the value buffer that [`Context::load_for_write`] filled, followed by `tail`, as the
    /// new value of a latched key.
    pub(crate) fn put_loaded(
        &mut self,
        table: u16,
        user_key: &[u8],
        old: Old,
        new: &Header,
        tail: &[u8],
    ) {
        let value = std::mem::take(&mut self.exec.value);
        self.put_in(table, user_key, old, new, &[&value, tail]);
        if value.capacity() <= VALUE_BUFFER_BYTES_KEPT {
            self.exec.value = value;
        }
    }

    /// Writes a new value of a latched key of the client's table; `body` is joined.
    pub(crate) fn put(&mut self, user_key: &[u8], old: Old, new: &Header, body: &[&[u8]]) {
        self.put_in(self.client.table, user_key, old, new, body);
    }

    /// Writes a new value of a latched key; `body` is joined.
    pub(crate) fn put_in(
        &mut self,
        table: u16,
        user_key: &[u8],
        old: Old,
        new: &Header,
        body: &[&[u8]],
    ) {
        self.notify_put(table, user_key, old);
        self.exec.look_at(table, user_key);
        self.exec.store(old.stored.as_ref(), new, body);
    }

    /// Removes a latched key of the client's table, if it is there, and tells of it.
    pub(crate) fn delete(&mut self, user_key: &[u8], old: Old) {
        self.notify_removal(user_key, old);
        self.take_away(user_key, old);
    }

    /// Removes a latched key of the client's table, if it is there.
    pub(crate) fn take_away(&mut self, user_key: &[u8], old: Old) {
        if let Some(header) = old.stored {
            self.exec.look_at(self.client.table, user_key);
            self.exec.remove(&header);
        }
    }

    /// The error for a string that would become longer than `proto-max-bulk-len`.
    pub(crate) fn check_value_len(&self, len: u64) -> Result<(), CommandError> {
        if len > self.exec.engine.value_len_max() {
            return Err(CommandError::StringTooLong);
        }
        Ok(())
    }
}

/// What a fast handler is.
pub(crate) type FastHandler = fn(&mut Context<'_>, Args<'_>, &mut Reply<'_>) -> Done;
/// What a slow handler is.
pub(crate) type SlowHandler =
    fn(&SlowContext<'_>, Args<'_>, &mut Reply<'_>) -> Result<(), CommandError>;
