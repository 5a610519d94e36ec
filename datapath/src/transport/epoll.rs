//! Kernel sockets over epoll: the default transport, without privileges, and the baseline that the
//! bypass transports are measured against.
//!
//! Each worker has its own listening sockets on the same address (`SO_REUSEPORT`), so the kernel
//! spreads connections over workers and no lock is shared. One [`Transport::poll`] takes at most
//! [`EVENTS_MAX`] ready sockets and reads each once, up to [`READ_LEN_MAX`] bytes, into one buffer
//! that all connections share; what is written goes straight to the socket, once per connection
//! and iteration.
//!
//! Closing in order shuts the sending side down and then discards what the peer still sends until
//! its FIN or [`LINGER_MAX`]: closing a socket with unread bytes would make the kernel reset the
//! connection and destroy the last reply on its way.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use coney_base::Instant;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags, Shutdown, SocketFlags, sockopt};

use super::conn_table::ConnTable;
use super::kernel::{ACCEPT_PAUSE, Counters, LINGER_MAX, SocketOptions, local_addr};
use super::{App, CloseReason, ConnId, HELD_BYTES_MAX, Transport};

/// Ready sockets taken from the kernel in one poll; the rest is ready in the next.
pub const EVENTS_MAX: usize = 256;
/// Bytes read from one connection in one poll; a faster sender waits for its turn.
pub const READ_LEN_MAX: usize = 64 * 1024;
/// Connections accepted in one poll and per listener, so that a flood does not starve the others.
pub const ACCEPT_MAX: usize = 64;

/// Event tags from here on name listeners, below connections.
const LISTENER_TAG: u64 = 1 << 63;

/// The epoll transport of one worker.
pub struct EpollTransport {
    epoll: OwnedFd,
    listeners: Vec<OwnedFd>,
    /// Accepting goes on at this moment; set when descriptors ran out.
    accept_paused_until: Option<Instant>,
    conns: ConnTable<Conn>,
    /// Connections that ended outside `poll`; their `on_close` is due in the next one.
    ended: Vec<(ConnId, CloseReason)>,
    /// Closed by us and lingering, in order of deadline (all have the same time to live).
    lingering: VecDeque<(Instant, ConnId)>,
    options: SocketOptions,
    events: Vec<epoll::Event>,
    read_buf: Box<[u8]>,
    counters: Counters,
}

#[derive(Debug)]
struct Conn {
    fd: OwnedFd,
    interest: epoll::EventFlags,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Both directions may carry data.
    Open,
    /// The peer sent FIN, we did not.
    PeerClosed,
    /// We sent FIN and wait for the peer's.
    Lingering,
}

impl fmt::Debug for EpollTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpollTransport")
            .field("listeners", &self.listeners)
            .field("conns", &self.conns.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl EpollTransport {
    /// A transport that accepts from `listeners` (see [`super::kernel::bind`]).
    ///
    /// # Errors
    /// What the kernel answers when it cannot create an epoll instance or watch a listener.
    pub fn new(listeners: Vec<OwnedFd>, options: SocketOptions) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (at, listener) in listeners.iter().enumerate() {
            epoll::add(&epoll, listener, listener_tag(at), epoll::EventFlags::IN)?;
        }
        Ok(Self {
            epoll,
            listeners,
            accept_paused_until: None,
            conns: ConnTable::new(),
            ended: Vec::new(),
            lingering: VecDeque::new(),
            options,
            events: Vec::with_capacity(EVENTS_MAX),
            read_buf: vec![0; READ_LEN_MAX].into_boxed_slice(),
            counters: Counters::default(),
        })
    }

    fn accept_all(&mut self, now: Instant, at: usize, app: &mut dyn App) {
        for _ in 0..ACCEPT_MAX {
            let Some(listener) = self.listeners.get(at) else { return };
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match net::acceptfrom_with(listener, flags) {
                Ok((fd, peer)) => {
                    let peer = peer.and_then(|addr| SocketAddr::try_from(addr).ok());
                    self.accept(fd, peer, app);
                }
                Err(Errno::WOULDBLOCK) => return,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.counters.accept_out_of_descriptors += 1;
                    self.watch_listeners(epoll::EventFlags::empty());
                    self.accept_paused_until = Some(now + ACCEPT_PAUSE);
                    return;
                }
                // The peer was faster to leave than we to accept, or a signal came: next one.
                Err(_) => self.counters.accept_errors += 1,
            }
        }
    }

    fn accept(&mut self, fd: OwnedFd, peer: Option<SocketAddr>, app: &mut dyn App) {
        let (Some(peer), Ok(local)) = (peer, local_addr(&fd)) else {
            self.counters.accept_errors += 1;
            return;
        };
        if self.options.apply(&fd).is_err() {
            self.counters.accept_errors += 1;
            return;
        }
        let interest = epoll::EventFlags::IN;
        let Some(conn) = self.conns.insert(Conn { fd, interest, state: State::Open }) else {
            return;
        };
        let watched = self.conns.get(conn).is_some_and(|entry| {
            epoll::add(&self.epoll, &entry.fd, epoll::EventData::new_u64(conn.to_bits()), interest)
                .is_ok()
        });
        if !watched || !app.on_accept(conn, peer, local) {
            self.counters.refused += 1;
            self.conns.remove(conn);
            return;
        }
        self.counters.accepted += 1;
    }

    fn watch_listeners(&mut self, interest: epoll::EventFlags) {
        for (at, listener) in self.listeners.iter().enumerate() {
            // A listener that cannot be watched any more accepts nothing; there is no cure here.
            if epoll::modify(&self.epoll, listener, listener_tag(at), interest).is_err() {
                self.counters.accept_errors += 1;
            }
        }
    }

    fn on_ready(&mut self, conn: ConnId, flags: epoll::EventFlags, app: &mut dyn App) {
        let Some(entry) = self.conns.get(conn) else { return };
        let state = entry.state;
        let reading = entry.interest.contains(epoll::EventFlags::IN);
        if flags.contains(epoll::EventFlags::OUT) {
            self.set_interest(conn, |interest| interest.remove(epoll::EventFlags::OUT));
            app.on_writable(conn);
        }
        let failed = flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
        if failed && !reading {
            // Nothing will be read that could tell: both sides are closed, or the peer reset.
            let reset = self
                .conns
                .get(conn)
                .is_some_and(|entry| !matches!(sockopt::socket_error(&entry.fd), Ok(Ok(()))));
            self.end(conn, if reset { CloseReason::Reset } else { CloseReason::Finished }, app);
        } else if failed || flags.contains(epoll::EventFlags::IN) {
            match state {
                State::Open | State::PeerClosed => self.read(conn, app),
                State::Lingering => self.discard(conn, app),
            }
        }
    }

    fn read(&mut self, conn: ConnId, app: &mut dyn App) {
        let Some(entry) = self.conns.get_mut(conn) else { return };
        self.counters.reads += 1;
        match net::recv(&entry.fd, &mut *self.read_buf, RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                entry.state = State::PeerClosed;
                self.set_interest(conn, |interest| interest.remove(epoll::EventFlags::IN));
                app.on_eof(conn);
            }
            Ok((len, _)) => {
                self.counters.rx_bytes += len as u64;
                let bytes = self.read_buf.get(..len).unwrap_or_default();
                if app.on_data(conn, bytes) > HELD_BYTES_MAX {
                    self.counters.rx_paused += 1;
                    self.set_interest(conn, |interest| interest.remove(epoll::EventFlags::IN));
                }
            }
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(Errno::TIMEDOUT) => self.end(conn, CloseReason::TimedOut, app),
            Err(_) => self.end(conn, CloseReason::Reset, app),
        }
    }

    /// Reads and drops what a peer still sends after we closed.
    fn discard(&mut self, conn: ConnId, app: &mut dyn App) {
        let Some(entry) = self.conns.get_mut(conn) else { return };
        match net::recv(&entry.fd, &mut *self.read_buf, RecvFlags::DONTWAIT) {
            Ok((0, _)) => self.end(conn, CloseReason::Finished, app),
            Ok(_) | Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(_) => self.end(conn, CloseReason::Reset, app),
        }
    }

    fn end(&mut self, conn: ConnId, reason: CloseReason, app: &mut dyn App) {
        // Dropping the descriptor closes it and takes it out of the epoll set.
        if self.conns.remove(conn).is_some() {
            app.on_close(conn, reason);
        }
    }

    fn set_interest(&mut self, conn: ConnId, change: impl FnOnce(&mut epoll::EventFlags)) {
        let Some(entry) = self.conns.get_mut(conn) else { return };
        let mut interest = entry.interest;
        change(&mut interest);
        if interest == entry.interest {
            return;
        }
        entry.interest = interest;
        epoll::modify(&self.epoll, &entry.fd, epoll::EventData::new_u64(conn.to_bits()), interest)
            .expect("the descriptor is open and was added when the connection was accepted");
    }

    fn run_timers(&mut self, now: Instant, app: &mut dyn App) {
        if self.accept_paused_until.is_some_and(|until| until <= now) {
            self.accept_paused_until = None;
            self.watch_listeners(epoll::EventFlags::IN);
        }
        while let Some(&(deadline, conn)) = self.lingering.front() {
            if deadline > now {
                break;
            }
            self.lingering.pop_front();
            if self.conns.get(conn).is_some() {
                self.counters.linger_timeouts += 1;
                self.end(conn, CloseReason::TimedOut, app);
            }
        }
    }
}

impl Transport for EpollTransport {
    fn poll(&mut self, now: Instant, app: &mut dyn App) -> usize {
        let mut work = self.ended.len();
        for (conn, reason) in std::mem::take(&mut self.ended) {
            app.on_close(conn, reason);
        }
        self.run_timers(now, app);
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spare = rustix::buffer::spare_capacity(&mut events);
        // An interrupted wait is an empty one: the worker polls again anyway.
        if epoll::wait(&self.epoll, spare, Some(&at_once)).is_ok() {
            work += events.len();
            for event in &events {
                let tag = event.data.u64();
                match usize::try_from(tag & !LISTENER_TAG) {
                    Ok(at) if tag & LISTENER_TAG != 0 => self.accept_all(now, at, app),
                    _ => self.on_ready(ConnId::from_bits(tag), event.flags, app),
                }
            }
        }
        self.events = events;
        work
    }

    fn send(&mut self, _now: Instant, conn: ConnId, bytes: &[u8]) -> usize {
        let Some(entry) = self.conns.get(conn) else { return bytes.len() };
        if entry.state == State::Lingering {
            return bytes.len();
        }
        self.counters.writes += 1;
        match net::send(&entry.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(len) => {
                self.counters.tx_bytes += len as u64;
                if len < bytes.len() {
                    self.counters.tx_would_block += 1;
                    self.set_interest(conn, |interest| interest.insert(epoll::EventFlags::OUT));
                }
                len
            }
            Err(Errno::WOULDBLOCK | Errno::INTR | Errno::NOBUFS) => {
                self.counters.tx_would_block += 1;
                self.set_interest(conn, |interest| interest.insert(epoll::EventFlags::OUT));
                0
            }
            Err(_) => {
                self.conns.remove(conn);
                self.ended.push((conn, CloseReason::Reset));
                bytes.len()
            }
        }
    }

    fn flush(&mut self, _now: Instant) {}

    fn set_held(&mut self, _now: Instant, conn: ConnId, held_bytes: usize) {
        let open = self.conns.get(conn).is_some_and(|entry| entry.state == State::Open);
        if open && held_bytes <= HELD_BYTES_MAX {
            self.set_interest(conn, |interest| interest.insert(epoll::EventFlags::IN));
        }
    }

    fn close(&mut self, now: Instant, conn: ConnId) {
        let Some(entry) = self.conns.get_mut(conn) else { return };
        match entry.state {
            State::Lingering => {}
            State::Open if net::shutdown(&entry.fd, Shutdown::Write).is_ok() => {
                entry.state = State::Lingering;
                self.set_interest(conn, |interest| *interest = epoll::EventFlags::IN);
                self.lingering.push_back((now + LINGER_MAX, conn));
            }
            State::Open | State::PeerClosed => {
                self.conns.remove(conn);
                self.ended.push((conn, CloseReason::Finished));
            }
        }
    }

    fn abort(&mut self, _now: Instant, conn: ConnId) {
        let Some(entry) = self.conns.remove(conn) else { return };
        // With a linger time of zero, closing sends RST. Without it, it sends FIN: no harm.
        if sockopt::set_socket_linger(&entry.fd, Some(Duration::ZERO)).is_err() {
            self.counters.accept_errors += 1;
        }
        self.ended.push((conn, CloseReason::Aborted));
    }

    fn stop_accepting(&mut self) {
        self.accept_paused_until = None;
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
        Some(self.epoll.as_fd())
    }

    fn conn_count(&self) -> usize {
        self.conns.len()
    }

    fn counters(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        self.counters.visit(visit);
    }
}

fn listener_tag(at: usize) -> epoll::EventData {
    epoll::EventData::new_u64(LISTENER_TAG | at as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::conformance::conformance;
    use crate::transport::kernel::bench::{self, Kernel};

    fn bench() -> Kernel<EpollTransport> {
        Kernel::new(|listeners, options| EpollTransport::new(listeners, options).unwrap())
    }

    conformance!(bench());

    #[test]
    fn who_sleeps_is_woken_by_what_comes() {
        bench::who_sleeps_is_woken_by_what_comes(bench());
    }

    #[test]
    fn the_linger_time_of_a_closed_connection_is_a_deadline() {
        bench::the_linger_time_of_a_closed_connection_is_a_deadline(bench());
    }
}
