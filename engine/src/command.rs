//! Commands: from a name to a handler, and what handlers work with.
//!
//! A command is one row of [`table`] and one handler. The row carries everything that can be
//! stated as data: arity, flags, key positions, categories, documentation. [`resolve`] checks what
//! can be checked from the row; the handler does the rest.
//!
//! Handlers come in three kinds. *Fast* ones run on the worker, never wait, and write through the
//! worker's batch. *Slow* ones run on the I/O pool with read access to committed data. *Admin*
//! ones are answered by the control plane, which is not part of this crate.

use coney_base::UnixMillis;
use coney_resp::{Args, Reply};

use crate::client::Client;
use crate::engine::Engine;
use crate::executor::{Executor, FETCH_ROUNDS_MAX};
use crate::meta::{Header, MetaError};
use crate::store::{StoreError, Tier};
use crate::stripe::Taken;

mod acl;
mod connection;
mod error;
mod expire;
mod increment;
mod introspect;
mod keys;
mod keyspace;
mod lcs;
mod option;
mod spec;
mod string;
pub mod table;

pub use error::CommandError;
pub use spec::{Arity, CommandSpec, Flags, Group, Handler, KeySpec};

/// Why a handler stopped before its reply was complete.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Reply with this error.
    Error(CommandError),
    /// Reply as written, then end the connection.
    Close,
    /// A key is only on the device: fetch the command's keys and try again.
    Fetch,
    /// Somebody else is writing: try again.
    Latch,
    /// Writes are stalled: try again.
    Stall,
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

/// Finds the row of a command and checks arity and authentication.
pub(crate) fn resolve(args: Args<'_>, client: &Client) -> Result<&'static CommandSpec, Refusal> {
    let spec = table::find(args)?;
    if !spec.arity.accepts(args.len()) {
        return Err(Refusal { spec: Some(spec), error: CommandError::WrongArity });
    }
    if !client.authenticated && !spec.flags.contains(Flags::NO_AUTH) {
        return Err(Refusal { spec: Some(spec), error: CommandError::NoAuth });
    }
    Ok(spec)
}

/// What a slow handler works with.
#[derive(Debug)]
pub(crate) struct SlowContext<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) table: u16,
    pub(crate) now: UnixMillis,
}

/// A key as a writer finds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Old {
    /// What is stored, although its deadline may have passed.
    stored: Option<Header>,
    /// What commands see.
    pub(crate) live: Option<Header>,
}

/// What a fast handler works with: the client, the moment, and the keys of the client's table.
///
/// Reads may stop with [`Stop::Fetch`]; a handler that writes more than one key reads all of them
/// first ([`Context::prepare`]), so that it never stops half way.
pub(crate) struct Context<'a> {
    pub(crate) exec: &'a mut Executor,
    pub(crate) client: &'a mut Client,
    pub(crate) now: UnixMillis,
    tier: Tier,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        exec: &'a mut Executor,
        client: &'a mut Client,
        now: UnixMillis,
        attempt: u32,
    ) -> Self {
        let tier = if attempt >= FETCH_ROUNDS_MAX { Tier::Device } else { Tier::Memory };
        Self { exec, client, now, tier }
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
        let result = self.exec.find(self.tier, |value| match value {
            None => Ok(f(None)),
            Some(value) => {
                let (header, body) = Header::parse(value)?;
                Ok(f(if header.is_expired(now) { None } else { Some((header, body)) }))
            }
        })?;
        result.map_err(|error: MetaError| error.into())
    }

    /// Latches a key of the client's table for writing and tells what is there.
    pub(crate) fn for_write(&mut self, user_key: &[u8]) -> Result<Old, Stop> {
        self.for_write_in(self.client.table, user_key)
    }

    /// Latches a key for writing and tells what is there.
    pub(crate) fn for_write_in(&mut self, table: u16, user_key: &[u8]) -> Result<Old, Stop> {
        self.exec.look_at(table, user_key);
        self.exec.latch()?;
        let stored = self
            .exec
            .find(self.tier, |value| value.map(Header::parse).transpose())?
            .map(|parsed| parsed.map(|(header, _)| header))?;
        Ok(Old { stored, live: stored.filter(|header| !header.is_expired(self.now)) })
    }

    /// Latches a key and copies its live body into the executor's value buffer (empty if absent).
    pub(crate) fn load_for_write(&mut self, user_key: &[u8]) -> Result<Old, Stop> {
        let old = self.for_write(user_key)?;
        let mut value = std::mem::take(&mut self.exec.value);
        value.clear();
        if old.live.is_some() {
            let copied = self.exec.find(self.tier, |found| {
                let (_, body) = Header::parse(found.unwrap_or_default())?;
                value.extend_from_slice(body);
                Ok::<(), MetaError>(())
            });
            self.exec.value = value;
            copied??;
        } else {
            self.exec.value = value;
        }
        Ok(old)
    }

    /// Latches and reads all `keys`, so that none of them can stop the handler any more.
    pub(crate) fn prepare<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<(), Stop> {
        for user_key in keys {
            self.for_write(user_key)?;
        }
        // All of them are in memory now. Should one be pushed out before it is read again, reading
        // the device is better than stopping after the first write.
        self.tier = Tier::Device;
        Ok(())
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
        self.exec.look_at(table, user_key);
        self.exec.store(old.stored.as_ref(), new, body);
    }

    /// Removes a latched key of the client's table, if it is there.
    pub(crate) fn delete(&mut self, user_key: &[u8], old: Old) {
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
