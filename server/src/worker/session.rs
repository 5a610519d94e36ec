//! What a worker knows of one connection.

use std::net::SocketAddr;

use coney_base::{Instant, UnixMillis};
use coney_datapath::transport::ConnId;
use coney_engine::Client;
use coney_resp::{OwnedArgs, Parser};

use super::outbox::Outbox;

/// Names a session of one worker: which of its transports, and which connection there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SessionKey {
    /// Index of the transport in the worker.
    pub(crate) transport: usize,
    /// The transport's own id.
    pub(crate) conn: ConnId,
}

/// One client. It begins with a cache line and so touches as few of them as it can.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Session {
    pub(crate) key: SessionKey,
    pub(crate) client: Client,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) created: UnixMillis,
    pub(crate) last_active: Instant,
    pub(crate) parser: Parser,
    /// Received bytes that are not executed yet; empty unless a command is incomplete or waits.
    pub(crate) input: Vec<u8>,
    pub(crate) outbox: Outbox,
    /// The command that waits for something, and what comes after it waits too.
    pub(crate) parked: Option<Box<Parked>>,
    pub(crate) state: State,
    /// Counts against `maxclients`.
    pub(crate) is_counted: bool,
    /// In the worker's list of sessions whose output is due.
    pub(crate) is_dirty: bool,
    /// The transport took less than offered; [`Session::outbox`] waits for room.
    pub(crate) is_blocked: bool,
    /// A write of this session is in the open batch.
    pub(crate) wrote: bool,
    /// What the transport was last told to be held.
    pub(crate) told_held: usize,
    /// Unsent output as the worker's total counts it, in bytes.
    pub(crate) counted_output: usize,
    /// Since when its unsent output has been above the soft limit.
    pub(crate) above_soft_limit_since: Option<Instant>,
    pub(crate) rx_bytes: u64,
    pub(crate) tx_bytes: u64,
}

/// Where a session is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Commands are executed.
    Open,
    /// The peer sends nothing more; what it sent is still executed and answered.
    PeerClosed,
    /// Nothing more is executed; it ends once its replies were sent.
    Closing,
    /// The transport was told to close; only `on_close` is still to come.
    Closed,
}

/// A command that could not be executed at once.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) args: OwnedArgs,
    /// How many answers it has had so far.
    pub(crate) attempt: u32,
    /// Answers that are to come before it is executed again.
    pub(crate) answers: usize,
    /// When it was executed first.
    pub(crate) since: Instant,
    /// It found nothing, and waits for its client to be called.
    pub(crate) wait: Option<Wait>,
    /// The connection ends after the reply.
    pub(crate) closes: bool,
    /// It did so before, or for the end of a pause: how long it took says nothing of its speed.
    pub(crate) has_waited: bool,
}

/// How long a blocking command waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// `None`: for ever.
    pub(crate) until: Option<Instant>,
}

impl Session {
    /// A client that just connected: `addresses` are the peer's and ours.
    pub(crate) fn new(
        key: SessionKey,
        client: Client,
        addresses: (SocketAddr, SocketAddr),
        now: (Instant, UnixMillis),
    ) -> Self {
        Self {
            key,
            client,
            peer: addresses.0,
            local: addresses.1,
            created: now.1,
            last_active: now.0,
            parser: Parser::default(),
            input: Vec::new(),
            outbox: Outbox::default(),
            parked: None,
            state: State::Open,
            is_counted: true,
            is_dirty: false,
            is_blocked: false,
            wrote: false,
            told_held: 0,
            above_soft_limit_since: None,
            counted_output: 0,
            rx_bytes: 0,
            tx_bytes: 0,
        }
    }

    /// Whether the next command may be executed.
    pub(crate) fn may_execute(&self) -> bool {
        self.parked.is_none() && matches!(self.state, State::Open | State::PeerClosed)
    }

    /// Whether its blocking command waits to be called.
    pub(crate) fn is_waiting(&self) -> bool {
        self.parked.as_ref().is_some_and(|parked| parked.wait.is_some())
    }

    /// Keeps bytes that are not executed yet.
    pub(crate) fn keep_input(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        // A large argument on its way: room for all of it at once, but no more than a few times
        // what has arrived, because the length is only a promise of the peer's.
        let have = self.input.len() + bytes.len();
        let wanted = self.parser.wanted_len().min(have.saturating_mul(4)).max(have);
        self.input.reserve(wanted - self.input.len());
        self.input.extend_from_slice(bytes);
    }

    /// Whether nothing is left to do but to close.
    pub(crate) fn is_finished(&self) -> bool {
        let no_more_commands = match self.state {
            State::Open => false,
            // What is left of the input is no whole command.
            State::PeerClosed => self.parked.is_none(),
            State::Closing | State::Closed => true,
        };
        no_more_commands && self.outbox.is_empty()
    }
}
