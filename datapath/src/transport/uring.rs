//! Kernel sockets over io_uring: the same as [`super::epoll`] with fewer system calls.
//!
//! Accepting and receiving are requests that stay with the kernel (multishot): connections and bytes
//! come as completions, bytes in buffers that the kernel takes from a ring of buffers (`sys/buffers.rs`).
//! What an iteration sends is queued, one request for each connection, and handed over in one call of
//! io_uring_enter by [`Transport::flush`]; the same call lets the kernel receive what has come meanwhile.
//! An idle worker reads only memory, and sleeps on the ring's descriptor.
//!
//! ```text
//! poll    enter, if the kernel has something to do; then every completion
//! send    copy into a buffer, queue the request
//! flush   enter, if requests are queued
//! ```
//!
//! The kernel keeps a socket open while a request uses it. A connection that ended therefore stays in
//! the table, dead, until its requests are cancelled and have completed; then the socket is closed
//! and [`App::on_close`] called.
//!
//! Whether a connection failed of which nothing is received (the app holds too much, or the peer sent
//! FIN) no request can tell: io_uring's poll ends at a FIN already. A small epoll set watches those.
//!
//! Needs Linux 6.0 (multishot receive); [`probe`] tells whether the kernel lets us.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use coney_base::Instant;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{self, Shutdown, sockopt};

use super::conn_table::ConnTable;
use super::kernel::{ACCEPT_PAUSE, Counters, LINGER_MAX, SocketOptions, local_addr};
use super::{App, CloseReason, ConnId, HELD_BYTES_MAX, Transport};

mod sys;
#[cfg(test)]
mod tests;

use sys::{COMPLETIONS_MAX, Completion, Filled, Ring, Tag};

/// Bytes that one connection may have on their way to the kernel; more is not taken until they went.
pub const SEND_LEN_MAX: usize = 64 * 1024;
/// Once all connections together have so many on their way, each gets only [`SEND_SHARE_LEN`].
pub const SENDING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// See [`SENDING_BYTES_MAX`].
pub const SEND_SHARE_LEN: usize = 4 * 1024;
/// Failed connections taken from the epoll set at once; the rest comes in the next poll.
const FAILED_MAX: usize = 64;
/// Send buffers kept for reuse.
const SPARE_BUFFERS_MAX: usize = 256;

/// Why io_uring cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The kernel was built without it, or is older than 5.1.
    #[error("the kernel has no io_uring")]
    Missing,
    /// The sysctl kernel.io_uring_disabled, a seccomp filter or another policy.
    #[error("io_uring is forbidden to this process")]
    Forbidden,
    /// Something that is used here came later.
    #[error("the kernel's io_uring is too old: Linux 6.0 is needed")]
    TooOld,
    /// Anything else, such as a limit of memory or files.
    #[error("an io_uring cannot be made: {0}")]
    Other(Errno),
}

impl From<std::io::Error> for Unavailable {
    fn from(error: std::io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::NOSYS) => Self::Missing,
            Some(Errno::PERM | Errno::ACCESS) => Self::Forbidden,
            Some(Errno::INVAL) => Self::TooOld,
            Some(errno) => Self::Other(errno),
            None => Self::Other(Errno::IO),
        }
    }
}

/// Whether the kernel lets this process use io_uring as this transport does.
///
/// # Errors
/// [`Unavailable`].
pub fn probe() -> Result<(), Unavailable> {
    Ring::new().map(drop).map_err(Unavailable::from)
}

/// The io_uring transport of one worker. It must stay on the thread that made it.
pub struct UringTransport {
    ring: Ring,
    /// Connections that fail unnoticed otherwise.
    watched: OwnedFd,
    listeners: Vec<OwnedFd>,
    /// Accepting goes on at this moment; set when descriptors ran out.
    accept_paused_until: Option<Instant>,
    conns: ConnTable<Conn>,
    /// Connections without requests; closing their sockets and `on_close` are due.
    ended: Vec<(ConnId, CloseReason)>,
    /// Closed by us and lingering, in order of deadline (all have the same time to live).
    lingering: VecDeque<(Instant, ConnId)>,
    options: SocketOptions,
    spare: Vec<Vec<u8>>,
    sending_bytes: usize,
    counters: Counters,
    uring_counters: UringCounters,
}

#[derive(Debug)]
struct Conn {
    fd: OwnedFd,
    state: State,
    receiving: Receiving,
    /// The app holds too much.
    is_held: bool,
    is_sending: bool,
    /// A send took less than was offered.
    wants_room: bool,
    is_watched: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Both directions may carry data.
    Open,
    /// The peer sent FIN, we did not.
    PeerClosed,
    /// Closed by us, and the last bytes are on their way to the kernel; the peer sent FIN or not.
    Flushing { peer_closed: bool },
    /// We sent FIN and wait for the peer's.
    Lingering,
    /// Nothing is told to anybody any more; its requests are being cancelled.
    Dead(CloseReason),
    /// None of its requests is left: it goes when the app is told.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiving {
    Off,
    On,
    Cancelling,
}

/// What only this transport counts.
#[derive(Debug, Default)]
struct UringCounters {
    receives: u64,
    watch_errors: u64,
    out_of_buffers: u64,
}

impl fmt::Debug for UringTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UringTransport")
            .field("listeners", &self.listeners)
            .field("conns", &self.conns.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl UringTransport {
    /// A transport of the calling thread that accepts from `listeners` (see [`super::kernel::bind`]).
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn new(listeners: Vec<OwnedFd>, options: SocketOptions) -> Result<Self, Unavailable> {
        let watched = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(Unavailable::Other)?;
        let mut transport = Self {
            ring: Ring::new()?,
            watched,
            listeners,
            accept_paused_until: None,
            conns: ConnTable::new(),
            ended: Vec::new(),
            lingering: VecDeque::new(),
            options,
            spare: Vec::new(),
            sending_bytes: 0,
            counters: Counters::default(),
            uring_counters: UringCounters::default(),
        };
        transport.accept_from_all();
        transport.ring.watch(transport.watched.as_fd());
        transport.ring.enter();
        Ok(transport)
    }

    fn accept_from_all(&mut self) {
        for (listener, number) in self.listeners.iter().zip(0..) {
            self.ring.accept(listener.as_fd(), number);
        }
    }

    fn on_completion(&mut self, now: Instant, completion: Completion, app: &mut dyn App) {
        match completion {
            Completion::Accepted { listener, outcome, more } => {
                match outcome {
                    Ok(fd) => self.on_accepted(fd, app),
                    Err(errno) => self.on_accept_failed(now, errno),
                }
                if !more
                    && self.accept_paused_until.is_none()
                    && let Some(fd) = self.listeners.get(listener as usize)
                {
                    self.ring.accept(fd.as_fd(), listener);
                }
            }
            Completion::Received { index, outcome, more } => {
                let Some((conn, _)) = self.conns.at(index) else { return };
                if !more && let Some(entry) = self.conns.get_mut(conn) {
                    entry.receiving = Receiving::Off;
                }
                match outcome {
                    Ok(Some(filled)) => self.on_received(conn, filled, app),
                    Ok(None) => self.on_fin(conn, app),
                    Err(errno) => self.on_receive_failed(conn, errno),
                }
                self.settle(conn);
            }
            Completion::Sent { index, outcome, buffer } => {
                self.on_sent(index, outcome, buffer, app)
            }
            Completion::Watched => self.end_failed(),
            Completion::Cancelled => {}
        }
    }

    fn on_accepted(&mut self, fd: OwnedFd, app: &mut dyn App) {
        if self.listeners.is_empty() {
            // It came while accepting was being stopped. With a linger time of zero, closing sends
            // RST, as the kernel does for those that were not accepted yet.
            self.counters.accept_errors +=
                u64::from(sockopt::set_socket_linger(&fd, Some(Duration::ZERO)).is_err());
            return;
        }
        let peer = net::getpeername(&fd).ok().and_then(|peer| SocketAddr::try_from(peer?).ok());
        let (Some(peer), Ok(local)) = (peer, local_addr(&fd)) else {
            // The peer was faster to leave than we to look.
            self.counters.accept_errors += 1;
            return;
        };
        if self.options.apply(&fd).is_err() {
            self.counters.accept_errors += 1;
            return;
        }
        let entry = Conn {
            fd,
            state: State::Open,
            receiving: Receiving::Off,
            is_held: false,
            is_sending: false,
            wants_room: false,
            is_watched: false,
        };
        let Some(conn) = self.conns.insert(entry) else { return };
        if app.on_accept(conn, peer, local) {
            self.counters.accepted += 1;
            self.settle(conn);
        } else {
            self.counters.refused += 1;
            self.conns.remove(conn);
        }
    }

    fn on_accept_failed(&mut self, now: Instant, errno: Errno) {
        match errno {
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => {
                self.counters.accept_out_of_descriptors += 1;
                self.accept_paused_until = Some(now + ACCEPT_PAUSE);
            }
            Errno::CANCELED if self.listeners.is_empty() => {}
            // The peer was faster to leave than we to accept.
            _ => self.counters.accept_errors += 1,
        }
    }

    fn on_received(&mut self, conn: ConnId, filled: Filled, app: &mut dyn App) {
        if let Some(entry) = self.conns.get_mut(conn)
            && matches!(entry.state, State::Open | State::PeerClosed)
        {
            self.counters.reads += 1;
            self.counters.rx_bytes += filled.len() as u64;
            if app.on_data(conn, self.ring.bytes(&filled)) > HELD_BYTES_MAX && !entry.is_held {
                self.counters.rx_paused += 1;
                entry.is_held = true;
            }
        }
        self.ring.give_back(filled);
    }

    fn on_fin(&mut self, conn: ConnId, app: &mut dyn App) {
        let Some(entry) = self.conns.get_mut(conn) else { return };
        match entry.state {
            State::Open => {
                entry.state = State::PeerClosed;
                app.on_eof(conn);
            }
            State::Flushing { .. } => entry.state = State::Flushing { peer_closed: true },
            State::Lingering => self.die(conn, CloseReason::Finished),
            State::PeerClosed | State::Dead(_) | State::Gone => {}
        }
    }

    fn on_receive_failed(&mut self, conn: ConnId, errno: Errno) {
        match errno {
            // Buffers have come back by the time at which the next request is submitted.
            Errno::NOBUFS => self.uring_counters.out_of_buffers += 1,
            Errno::CANCELED | Errno::INTR | Errno::AGAIN | Errno::NOMEM => {}
            Errno::TIMEDOUT => self.die(conn, CloseReason::TimedOut),
            _ => self.die(conn, CloseReason::Reset),
        }
    }

    fn on_sent(
        &mut self,
        index: u32,
        outcome: Result<usize, Errno>,
        buffer: Vec<u8>,
        app: &mut dyn App,
    ) {
        let offered = buffer.len();
        self.sending_bytes = self.sending_bytes.saturating_sub(offered);
        if self.spare.len() < SPARE_BUFFERS_MAX {
            self.spare.push(buffer);
        }
        let Some((conn, _)) = self.conns.at(index) else { return };
        let Some(entry) = self.conns.get_mut(conn) else { return };
        entry.is_sending = false;
        let wanted_room = std::mem::take(&mut entry.wants_room);
        match outcome {
            Ok(sent) if sent == offered => {
                if wanted_room && matches!(entry.state, State::Open | State::PeerClosed) {
                    app.on_writable(conn);
                }
            }
            Err(Errno::TIMEDOUT) => self.die(conn, CloseReason::TimedOut),
            // Less than all is sent only if there will never be room for the rest.
            Ok(_) | Err(_) => self.die(conn, CloseReason::Reset),
        }
        self.settle(conn);
    }

    /// Ends watched connections that are closed on both sides or were reset.
    fn end_failed(&mut self) {
        let mut events = Vec::with_capacity(FAILED_MAX);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spare = rustix::buffer::spare_capacity(&mut events);
        // If it is interrupted, the set is still readable for the next request.
        if epoll::wait(&self.watched, spare, Some(&at_once)).is_ok() {
            for event in &events {
                let conn = ConnId::from_bits(event.data.u64());
                let Some(entry) = self.live(conn) else { continue };
                let was_reset = !matches!(sockopt::socket_error(&entry.fd), Ok(Ok(())));
                let reason = if was_reset { CloseReason::Reset } else { CloseReason::Finished };
                self.die(conn, reason);
                self.settle(conn);
            }
        }
        self.ring.watch(self.watched.as_fd());
    }

    /// Ends a connection for everybody but the kernel; `on_close` tells the reason.
    fn die(&mut self, conn: ConnId, reason: CloseReason) {
        let Some(entry) = self.live(conn) else { return };
        entry.state = State::Dead(reason);
        if entry.is_sending {
            self.ring.cancel(Tag::Send(conn.index));
        }
    }

    /// Asks the kernel for what the state of a connection needs, and ends it if nothing is left.
    fn settle(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.get_mut(conn) else { return };
        let index = conn.index;
        if let State::Flushing { peer_closed } = entry.state
            && !entry.is_sending
        {
            if !peer_closed && net::shutdown(&entry.fd, Shutdown::Write).is_ok() {
                entry.state = State::Lingering;
            } else {
                self.die(conn, CloseReason::Finished);
                return self.settle(conn);
            }
        }
        let wants_bytes = match entry.state {
            State::Open => !entry.is_held,
            State::Flushing { peer_closed } => !peer_closed,
            State::Lingering => true,
            State::PeerClosed | State::Dead(_) | State::Gone => false,
        };
        match entry.receiving {
            Receiving::Off if wants_bytes => {
                entry.receiving = Receiving::On;
                self.uring_counters.receives += 1;
                self.ring.receive(entry.fd.as_fd(), index);
            }
            Receiving::On if !wants_bytes => {
                entry.receiving = Receiving::Cancelling;
                self.ring.cancel(Tag::Receive(index));
            }
            Receiving::Off | Receiving::On | Receiving::Cancelling => {}
        }
        let is_silent = !wants_bytes && matches!(entry.state, State::Open | State::PeerClosed);
        if is_silent != entry.is_watched {
            entry.is_watched = is_silent;
            let (nothing, tag) =
                (epoll::EventFlags::empty(), epoll::EventData::new_u64(conn.to_bits()));
            // Failures are reported without being asked for.
            let changed = if is_silent {
                epoll::add(&self.watched, &entry.fd, tag, nothing)
            } else {
                epoll::delete(&self.watched, &entry.fd)
            };
            // Only without memory; then the failure is noticed when something is sent.
            self.uring_counters.watch_errors += u64::from(changed.is_err());
        }
        if let State::Dead(reason) = entry.state
            && entry.receiving == Receiving::Off
            && !entry.is_sending
        {
            entry.state = State::Gone;
            self.ended.push((conn, reason));
        }
    }

    /// The connection, unless the id is stale or it is dead.
    fn live(&mut self, conn: ConnId) -> Option<&mut Conn> {
        self.conns
            .get_mut(conn)
            .filter(|entry| !matches!(entry.state, State::Dead(_) | State::Gone))
    }

    fn run_timers(&mut self, now: Instant) {
        if self.accept_paused_until.is_some_and(|until| until <= now) {
            self.accept_paused_until = None;
            self.accept_from_all();
        }
        while let Some(&(deadline, conn)) = self.lingering.front() {
            if deadline > now {
                break;
            }
            self.lingering.pop_front();
            if self.live(conn).is_some() {
                self.counters.linger_timeouts += 1;
                self.die(conn, CloseReason::TimedOut);
                self.settle(conn);
            }
        }
    }

    fn tell_ended(&mut self, app: &mut dyn App) -> usize {
        let count = self.ended.len();
        for (conn, reason) in self.ended.drain(..) {
            // Only now its index may be used again.
            self.conns.remove(conn);
            app.on_close(conn, reason);
        }
        count
    }
}

impl Transport for UringTransport {
    fn poll(&mut self, now: Instant, app: &mut dyn App) -> usize {
        let mut work = self.tell_ended(app);
        self.run_timers(now);
        if self.ring.has_work() {
            self.ring.enter();
        }
        for _ in 0..COMPLETIONS_MAX {
            let Some(completion) = self.ring.next() else { break };
            work += 1;
            self.on_completion(now, completion, app);
        }
        work + self.tell_ended(app)
    }

    fn send(&mut self, _now: Instant, conn: ConnId, bytes: &[u8]) -> usize {
        let is_crowded = self.sending_bytes >= SENDING_BYTES_MAX;
        let Some(entry) = self.conns.get_mut(conn) else { return bytes.len() };
        if !matches!(entry.state, State::Open | State::PeerClosed) || bytes.is_empty() {
            return bytes.len();
        }
        if entry.is_sending {
            entry.wants_room = true;
            self.counters.tx_would_block += 1;
            return 0;
        }
        let len = bytes.len().min(if is_crowded { SEND_SHARE_LEN } else { SEND_LEN_MAX });
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(bytes.get(..len).unwrap_or_default());
        entry.is_sending = true;
        if len < bytes.len() {
            entry.wants_room = true;
            self.counters.tx_would_block += 1;
        }
        self.counters.writes += 1;
        self.counters.tx_bytes += len as u64;
        self.sending_bytes += len;
        self.ring.send(entry.fd.as_fd(), conn.index, buffer);
        len
    }

    fn flush(&mut self, _now: Instant) {
        if self.ring.has_requests() {
            self.ring.enter();
        }
    }

    fn set_held(&mut self, _now: Instant, conn: ConnId, held_bytes: usize) {
        if held_bytes <= HELD_BYTES_MAX
            && let Some(entry) = self.live(conn)
            && entry.is_held
        {
            entry.is_held = false;
            self.settle(conn);
        }
    }

    fn close(&mut self, now: Instant, conn: ConnId) {
        let Some(entry) = self.live(conn) else { return };
        let peer_closed = match entry.state {
            State::Open => false,
            State::PeerClosed => true,
            State::Flushing { .. } | State::Lingering | State::Dead(_) | State::Gone => return,
        };
        entry.state = State::Flushing { peer_closed };
        self.lingering.push_back((now + LINGER_MAX, conn));
        self.settle(conn);
    }

    fn abort(&mut self, _now: Instant, conn: ConnId) {
        let Some(entry) = self.live(conn) else { return };
        // With a linger time of zero, closing sends RST. Without it, it sends FIN: no harm.
        let lingers = sockopt::set_socket_linger(&entry.fd, Some(Duration::ZERO)).is_err();
        self.counters.accept_errors += u64::from(lingers);
        self.die(conn, CloseReason::Aborted);
        self.settle(conn);
    }

    fn stop_accepting(&mut self) {
        self.accept_paused_until = None;
        for (_, number) in self.listeners.iter().zip(0..) {
            self.ring.cancel(Tag::Accept(number));
        }
        // The kernel closes a listener, and resets who waits there, when no request uses it.
        self.ring.enter();
        self.listeners.clear();
    }

    fn next_deadline(&self) -> Option<Instant> {
        if !self.ended.is_empty() {
            return Some(Instant::ZERO);
        }
        let linger = self.lingering.front().map(|(deadline, _)| *deadline);
        [self.accept_paused_until, linger].into_iter().flatten().min()
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.ring.as_fd())
    }

    fn conn_count(&self) -> usize {
        self.conns.len()
    }

    fn counters(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        self.counters.visit(visit);
        let (counters, ring) = (&self.uring_counters, &self.ring.counters);
        visit("uring_receives", counters.receives);
        visit("uring_watch_errors", counters.watch_errors);
        visit("uring_out_of_buffers", counters.out_of_buffers);
        visit("uring_enters", ring.enters);
        visit("uring_enters_put_off", ring.enters_put_off);
        visit("uring_cq_overflows", ring.cq_overflows);
    }
}
