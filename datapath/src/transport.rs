//! A transport carries byte streams of many connections for one worker. Nothing here blocks.
//!
//! The worker calls [`Transport::poll`] once per loop iteration; the transport receives a burst and
//! hands what arrived to the [`App`], which parses and executes it. The `App` cannot call the
//! transport from inside a callback: it notes which connections have output and the worker sends
//! it after the iteration's writes are committed. That is why a callback may borrow the receive
//! frame itself, without a copy. What need not wait for a commit it may write into the connection's
//! transmit frames at once ([`ReplyFrames`]), if the transport has such.
//!
//! ```text
//! worker: poll -> App::on_accept / on_data / on_eof / on_writable / on_close
//!         commit
//!         send per connection with output, then flush
//! ```
//!
//! Back-pressure: the app takes every byte it is given, and says how many it now holds unprocessed.
//! A transport offers the peer no more than [`HELD_BYTES_MAX`] minus that (a smaller TCP window, or
//! no further reads of the socket) until [`Transport::set_held`] says that the app caught up.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use coney_base::Instant;
use coney_xdp_prog::Rules;

#[cfg(test)]
pub(crate) mod conformance;
pub mod conn_table;
pub mod epoll;
pub mod kernel;
pub mod tcp;
pub mod uring;

/// What an application may hold unprocessed of one connection before the transport stops the peer.
/// A transport may overshoot by one burst: what was already received is still delivered.
pub const HELD_BYTES_MAX: usize = 256 * 1024;

/// Names one connection of one transport. `generation` tells a reused `index` from its former
/// owner: an id of a closed connection is ignored by every call, never misdirected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// Slot in the transport's connection table.
    pub index: u32,
    /// How often the slot has been reused (wrapping).
    pub generation: u32,
}

impl ConnId {
    /// Both parts in one number, as a tag for the kernel. [`conn_table::ConnTable`] gives out generations
    /// of 31 bits, so the highest bit is free.
    fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    fn from_bits(bits: u64) -> Self {
        let low = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap_or(u32::MAX);
        Self { index: low(bits), generation: low(bits >> 32) }
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn {}#{}", self.index, self.generation)
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// Both directions were closed in order.
    Finished,
    /// The peer reset the connection.
    Reset,
    /// The peer did not answer for too long (retransmissions, probes or keepalive exhausted).
    TimedOut,
    /// We ended it: [`Transport::abort`], or the transport shed it under memory pressure.
    Aborted,
    /// The operating system or the device failed.
    Failed,
}

/// What stands on top of a transport: the worker's sessions.
pub trait App {
    /// A connection was established. `false` refuses it: the transport resets it at once and
    /// calls nothing more for it.
    fn on_accept(&mut self, conn: ConnId, peer: SocketAddr, local: SocketAddr) -> bool;

    /// Bytes of `conn` are likely to follow in this poll. Nothing has to be done, but the CPU can be
    /// told to fetch what they will need, while other connections get theirs.
    fn expect_data(&mut self, _conn: ConnId) {}

    /// In-order bytes arrived; they are valid only during the call. Takes all of them and returns
    /// how many bytes of this connection it now holds unprocessed.
    fn on_data(&mut self, conn: ConnId, bytes: &[u8]) -> usize;

    /// As [`App::on_data`], from a transport that sends from frames of its own: replies may be written
    /// into them at once, unless earlier ones wait elsewhere.
    fn on_data_with(&mut self, conn: ConnId, bytes: &[u8], _frames: &mut dyn ReplyFrames) -> usize {
        self.on_data(conn, bytes)
    }

    /// The peer will send nothing more (FIN); we may still send.
    fn on_eof(&mut self, conn: ConnId);

    /// An earlier [`Transport::send`] took less than offered, and there is room again.
    fn on_writable(&mut self, conn: ConnId);

    /// The connection is gone and its id is stale. Called exactly once per accepted connection,
    /// also after [`Transport::close`] and [`Transport::abort`], and before another connection gets
    /// its index.
    fn on_close(&mut self, conn: ConnId, reason: CloseReason);
}

/// The transmit frames of the connection that [`App::on_data_with`] tells of. Bytes that are written
/// here are as good as sent: they leave with the next [`Transport::flush`], before whatever
/// [`Transport::send`] is given.
pub trait ReplyFrames {
    /// Appends `parts`, one after the other, and returns how many bytes were taken. Fewer than offered
    /// means that the send queue is full, or no frame is free: the rest goes through
    /// [`Transport::send`], which says when there is room.
    fn write(&mut self, parts: &[&[u8]]) -> usize;

    /// Takes the last `len` bytes back.
    ///
    /// # Panics
    /// If fewer were written during this call of the application (a bug of the caller).
    fn take_back(&mut self, len: usize);

    /// Appends the last `len` bytes to `out`; they stay where they are.
    ///
    /// # Panics
    /// As [`Self::take_back`].
    fn read_back(&mut self, len: usize, out: &mut Vec<u8>);
}

/// Byte streams of many connections, owned and polled by one worker.
pub trait Transport {
    /// Receives and processes at most one burst, runs timers that are due at `now`, and calls
    /// `app`. Returns how much was done (frames or socket events); 0 means idle.
    fn poll(&mut self, now: Instant, app: &mut dyn App) -> usize;

    /// Queues bytes for the peer and returns how many were taken. Fewer than offered means that
    /// the send queue is full or the peer's window closed: the rest is the caller's, until
    /// [`App::on_writable`]. A stale id takes everything, into nothing.
    fn send(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) -> usize;

    /// Puts on the wire what the iteration queued (data, acknowledgements): one transmit kick.
    fn flush(&mut self, now: Instant);

    /// Tells how many received bytes the app now holds unprocessed of `conn`; see the module page.
    fn set_held(&mut self, now: Instant, conn: ConnId, held_bytes: usize);

    /// Closes in order: what was sent goes out, then FIN. Bytes that still arrive are discarded.
    fn close(&mut self, now: Instant, conn: ConnId);

    /// Ends the connection at once (RST).
    fn abort(&mut self, now: Instant, conn: ConnId);

    /// Stops accepting connections; established ones go on. Part of a clean shutdown.
    fn stop_accepting(&mut self);

    /// From now on these rules hold for who may connect, if the transport decides that by itself. By
    /// default an XDP program or the application does.
    fn set_rules(&mut self, _rules: &Arc<Rules>) {}

    /// When `poll` must be called at the latest although nothing arrives; `None`: never.
    fn next_deadline(&self) -> Option<Instant>;

    /// Becomes readable when `poll` has something to do; lets an idle worker sleep. `None`: the
    /// transport can only be polled.
    fn wait_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Connections that exist now, in any state that costs memory.
    fn conn_count(&self) -> usize;

    /// Hands every counter to `visit` as a metric name (`snake_case`) and its present value.
    fn counters(&self, visit: &mut dyn FnMut(&'static str, u64));
}
