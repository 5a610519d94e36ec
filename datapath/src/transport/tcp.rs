//! Our own TCP over a [`Port`]: the transport that bypasses the kernel.
//!
//! ```text
//! poll:   timers, then a burst of frames: parse -> find the connection -> state machine
//!         -> App::on_data with a slice of the frame -> frame released (or held behind a gap)
//! send:   bytes are copied once, into transmit frames, behind room for headers; a reply that need
//!         not wait for a commit is written there at once, from inside on_data
//! flush:  connections on the dirty list: headers written, frames submitted, one kick
//! ```
//! A transmit frame stays with its connection until acknowledged and is sent again from there; it
//! is never written while [`Port::tx_in_flight`]. Whatever cannot be transmitted now (ring full, no
//! frame, frame in flight) stays on the dirty list for the next flush.
//!
//! Nothing here visits all connections: segments find theirs by hash, timers by wheel, output by
//! list.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use coney_base::Instant;
use coney_xdp_prog::Rules;

use super::{App, CloseReason, ConnId, Transport};
use crate::admission::Admission;
use crate::neighbour;
use crate::port::{Port, RxFrame};
use crate::responder::Responder;
use crate::tcp::Shared;
use crate::tcp::config::Config;
use crate::tcp::flow_map::FlowMap;
use crate::tcp::input::End;
use crate::tcp::state::State;
use crate::tcp::syn_cache::SynCache;
use crate::tcp::tcb::Tcb;
use crate::tcp::time_wait::TimeWait;
use crate::tcp::timer_wheel::TimerWheel;
use crate::wire::{self, ipv4, ipv6};

mod next_hop;
mod open;
mod path_mtu;
mod pressure;
mod receive;
pub mod simulation;
#[cfg(test)]
mod tests;
mod transmit;
mod writer;

pub use open::ConnectError;
use receive::{LEAD, Parsed, RX_PIPELINE_MAX};
use transmit::{Answer, Tx};

/// Frames taken from the port in one poll.
pub const RX_BURST_MAX: usize = 64;
/// Room in front of the payload of a transmit frame.
pub const HEADROOM_BYTES: usize = 128;
const _: () = assert!(HEADROOM_BYTES >= wire::HEADERS_LEN_MAX);
/// Segments of no connection (resets, SYN-ACKs, ...) that wait while nothing can be transmitted;
/// more are dropped, and their peers will ask again.
pub const ANSWERS_MAX: usize = 1024;
/// When a flush is tried again that was pushed back, if nothing else happens.
pub const PUSH_BACK_RETRY: Duration = Duration::from_micros(200);
/// When a connection that found no free frame is told to try again, if nothing else happens:
/// acknowledgements free frames, and they come by themselves; completions do not.
pub const STARVED_RETRY: Duration = Duration::from_millis(1);

/// The transport of one worker.
pub struct TcpTransport<P> {
    tx: Tx<P>,
    shared: Shared,
    conns: FlowMap<Tcb>,
    /// By the connections' slots. They fire seldom and need not be moved, unlike the others: where
    /// each request takes a connection's timer from far to near and back, its cost shows.
    keepalives: TimerWheel,
    syn_cache: SynCache,
    time_wait: TimeWait,
    listen: Vec<SocketAddr>,
    addresses: Vec<IpAddr>,
    /// Largest payload over IPv4 and IPv6, without options.
    mss_max: [u16; 2],
    /// Connections that the next flush looks at.
    dirty: Vec<ConnId>,
    /// Connections that could not queue data because no frame was free.
    starved: VecDeque<ConnId>,
    answers: VecDeque<Answer>,
    /// Connections that ended outside `poll`; their `on_close` is due in the next one.
    ended: Vec<(ConnId, CloseReason)>,
    /// Connections that the application closed.
    orphans: usize,
    /// When the last SYN cookie was sent.
    cookie_sent_at: Option<Instant>,
    /// Since when no frame has been free for connections that wait for one.
    pressure_since: Option<Instant>,
    /// Set when a flush was pushed back.
    retry_at: Option<Instant>,
    /// Whom to ask for next hops.
    neighbours: Option<neighbour::Client>,
    /// Answers what the kernel would, on a port that shares no host with one.
    responder: Option<Responder>,
    /// Who may connect, on a port without an XDP program that knows it.
    admission: Option<Admission>,
    rx_burst: Vec<RxFrame>,
    rx_pipeline: VecDeque<Parsed>,
    rx_done: Vec<RxFrame>,
    /// Slots of connections whose timers are due.
    timers_due: VecDeque<u32>,
}

impl<P: fmt::Debug> fmt::Debug for TcpTransport<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTransport")
            .field("port", &self.tx.port)
            .field("listen", &self.listen)
            .field("conns", &self.conns.len())
            .field("counters", &self.shared.counters)
            .finish_non_exhaustive()
    }
}

/// The port cannot carry TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortUnfit {
    /// Neither the MTU nor a frame has room for headers and a reasonable payload.
    #[error("MTU of {mtu_bytes} or frames of {frame_bytes_max} bytes are too small for TCP")]
    TooSmall {
        /// [`crate::port::PortCaps::mtu_bytes`].
        mtu_bytes: usize,
        /// [`crate::port::PortCaps::frame_bytes_max`].
        frame_bytes_max: usize,
    },
    /// Fewer transmit frames than [`Config::reserved_frames`] sets aside.
    #[error("{tx_frames_max} transmit frames are too few: {reserved} are reserved")]
    TooFewFrames {
        /// [`crate::port::PortCaps::tx_frames_max`].
        tx_frames_max: usize,
        /// [`Config::reserved_frames`].
        reserved: usize,
    },
}

impl<P: Port> TcpTransport<P> {
    /// A transport over `port`.
    ///
    /// # Errors
    /// [`PortUnfit`].
    pub fn new(port: P, mut config: Config) -> Result<Self, PortUnfit> {
        let caps = port.caps();
        // What is held is missing to the device.
        config.held_frames_max = config.held_frames_max.min(caps.rx_frames_max / 4);
        let (mtu_bytes, frame_bytes_max) = (caps.mtu_bytes, caps.frame_bytes_max);
        let mss = |ip_header_len: usize| {
            let by_mtu = mtu_bytes.saturating_sub(ip_header_len + wire::tcp::HEADER_LEN);
            let mss = by_mtu.min(frame_bytes_max.saturating_sub(HEADROOM_BYTES));
            let mss = u16::try_from(mss).unwrap_or(u16::MAX);
            let is_enough = mss >= crate::tcp::tcb::MSS_MIN;
            is_enough.then_some(mss).ok_or(PortUnfit::TooSmall { mtu_bytes, frame_bytes_max })
        };
        let mss_max = [mss(ipv4::HEADER_LEN)?, mss(ipv6::HEADER_LEN)?];
        let (tx_frames_max, reserved) = (caps.tx_frames_max, config.reserved_frames);
        if tx_frames_max <= reserved {
            return Err(PortUnfit::TooFewFrames { tx_frames_max, reserved });
        }
        let mut addresses: Vec<IpAddr> = config.listen.iter().map(SocketAddr::ip).collect();
        addresses.extend(&config.addresses);
        Ok(Self {
            tx: Tx::new(port),
            conns: FlowMap::new(config.conns_max),
            keepalives: TimerWheel::new(),
            syn_cache: FlowMap::new(config.syn_cache_max),
            time_wait: FlowMap::new(config.time_wait_max),
            listen: config.listen.clone(),
            addresses,
            mss_max,
            dirty: Vec::new(),
            starved: VecDeque::new(),
            answers: VecDeque::with_capacity(ANSWERS_MAX),
            ended: Vec::new(),
            orphans: 0,
            cookie_sent_at: None,
            pressure_since: None,
            retry_at: None,
            neighbours: None,
            responder: None,
            admission: None,
            rx_burst: Vec::with_capacity(RX_BURST_MAX),
            rx_pipeline: VecDeque::with_capacity(RX_PIPELINE_MAX),
            rx_done: Vec::with_capacity(RX_BURST_MAX),
            timers_due: VecDeque::with_capacity(LEAD + 1),
            shared: Shared::new(config),
        })
    }

    /// Lets the transport decide who may connect: for a port without an XDP program that does.
    pub fn set_admission(&mut self, admission: Admission) {
        self.admission = Some(admission);
    }

    /// The port.
    pub fn port(&self) -> &P {
        &self.tx.port
    }

    /// The port, for tests and set-up. Its frames are the transport's.
    pub fn port_mut(&mut self) -> &mut P {
        &mut self.tx.port
    }

    /// Counters.
    pub fn tcp_counters(&self) -> &crate::tcp::counters::Counters {
        &self.shared.counters
    }

    /// How many connections are half-open, and how many in TIME-WAIT.
    pub fn half_open_and_time_wait(&self) -> (usize, usize) {
        (self.syn_cache.len(), self.time_wait.len())
    }

    /// The state of a connection, for introspection.
    pub fn tcb(&self, conn: ConnId) -> Option<&Tcb> {
        self.conns.get(conn)
    }

    /// Checks the invariants of all connections; O(n), for tests.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self) {
        self.conns.iter().for_each(|(_, tcb)| tcb.check());
    }

    /// Sends FIN after what is queued and goes on receiving, for load generators and tests; `close`
    /// may follow. No effect before the connection is established.
    pub fn shutdown(&mut self, conn: ConnId) {
        if self.conns.get_mut(conn).is_some_and(|tcb| tcb.shutdown()) {
            self.mark_dirty(conn);
        }
    }

    fn mark_dirty(&mut self, conn: ConnId) {
        if let Some(tcb) = self.conns.get_mut(conn)
            && !tcb.is_dirty
        {
            tcb.is_dirty = true;
            self.dirty.push(conn);
        }
    }

    /// Arms the connection's timer, unless it fires early enough.
    fn arm(&mut self, conn: ConnId) {
        let Some(tcb) = self.conns.get_mut(conn) else { return };
        if let Some(deadline) = tcb.deadline()
            && tcb.armed_for.is_none_or(|armed| deadline < armed)
        {
            tcb.armed_for = Some(deadline);
            self.conns.arm(conn, deadline);
        }
    }

    /// Takes a connection out and gives its frames back.
    fn remove(&mut self, conn: ConnId) -> Option<Tcb> {
        let mut tcb = self.conns.remove(conn)?;
        self.keepalives.disarm(conn.index);
        self.orphans -= usize::from(tcb.discards());
        tcb.release(&mut self.shared, &mut self.rx_done);
        self.give_back();
        Some(tcb)
    }

    /// Gives the port what connections are done with.
    fn give_back(&mut self) {
        for frame in self.shared.freed.drain(..) {
            self.tx.port.tx_free(frame);
        }
        for frame in self.rx_done.drain(..) {
            self.tx.port.rx_release(frame);
        }
    }

    fn finish(&mut self, now: Instant, conn: ConnId, end: End, app: &mut dyn App) {
        let Some(tcb) = self.remove(conn) else { return };
        if end.time_wait {
            let hash = self.shared.hasher.table_hash(&tcb.key);
            match self.time_wait.insert(hash, tcb.remains()) {
                Ok(id) => self.time_wait.arm(id, now + self.shared.config.time_wait),
                Err(_remains) => self.shared.counters.time_wait_full += 1,
            }
        }
        app.on_close(conn, end.reason);
    }

    fn run_timers(&mut self, now: Instant, app: &mut dyn App) -> usize {
        let mut work = 0;
        let mut due = std::mem::take(&mut self.timers_due);
        // While one is looked at, those behind it are fetched, as in `receive_burst`.
        loop {
            let slot = self.conns.pop_due_slot(now);
            let lead = if slot.is_some() { LEAD } else { 0 };
            due.extend(slot);
            if due.len() > lead
                && let Some(slot) = due.pop_front()
            {
                work += 1;
                self.on_timer(now, slot, app);
            }
            if due.is_empty() && slot.is_none() {
                break;
            }
        }
        self.timers_due = due;
        while let Some(slot) = self.keepalives.pop_due(now) {
            work += 1;
            self.on_keepalive_timer(now, slot, app);
        }
        while let Some(id) = self.syn_cache.pop_due(now) {
            work += 1;
            self.on_syn_ack_timeout(now, id);
        }
        while let Some(id) = self.time_wait.pop_due(now) {
            work += 1;
            self.time_wait.remove(id);
        }
        work
    }

    fn on_timer(&mut self, now: Instant, slot: u32, app: &mut dyn App) {
        let Some(conn) = self.conns.at(slot) else { return };
        let Some(tcb) = self.conns.get_mut(conn) else { return };
        tcb.armed_for = None;
        // Timers are not disarmed when their reason goes: one fires some time after the last
        // transmission, and finds a connection that is mostly idle.
        tcb.queue.shrink();
        if !tcb.is_due(now, &self.shared) {
            self.arm(conn);
            return;
        }
        let unanswered = tcb.unanswered();
        match tcb.on_timer(now, &mut self.shared) {
            None => {
                if tcb.unanswered() > unanswered {
                    self.doubt_next_hop(now, conn);
                }
                self.mark_dirty(conn);
            }
            Some(reason) => self.give_up(conn, reason, app),
        }
    }

    fn on_keepalive_timer(&mut self, now: Instant, slot: u32, app: &mut dyn App) {
        let Some(tcb) = self.conns.at(slot).and_then(|conn| self.conns.get_mut(conn)) else {
            return;
        };
        match tcb.keepalive_at(&self.shared).filter(|at| *at > now) {
            Some(at) => self.keepalives.arm(slot, at),
            None => {
                // The flush arms it again.
                tcb.is_keepalive_armed = false;
                self.on_timer(now, slot, app);
            }
        }
    }

    /// Ends a connection whose peer does not answer.
    fn give_up(&mut self, conn: ConnId, reason: CloseReason, app: &mut dyn App) {
        let Some(tcb) = self.remove(conn) else { return };
        // In FIN-WAIT-2 the peer has all our data but may not have read it: a reset would destroy
        // it. Should the peer ever send again, it is answered with one.
        if tcb.state() != State::FinWait2 {
            self.reset(&tcb);
        }
        app.on_close(conn, reason);
    }

    /// Tells connections that waited for frames that some are free, as many as there are frames.
    fn wake_starved(&mut self, app: &mut dyn App) {
        let reserved = self.shared.config.reserved_frames;
        let mut free = self.tx.port.tx_available().saturating_sub(reserved);
        while free > 0
            && let Some(conn) = self.starved.pop_front()
        {
            let Some(tcb) = self.conns.get_mut(conn) else { continue };
            tcb.is_starved = false;
            // One that wants a frame to split a segment may have a full queue.
            let has_room = tcb.queue.len() < self.shared.config.send_frames_max;
            if has_room && std::mem::take(&mut tcb.want_writable) {
                free -= 1;
                app.on_writable(conn);
            }
        }
    }
}

impl<P: Port> Transport for TcpTransport<P> {
    fn poll(&mut self, now: Instant, app: &mut dyn App) -> usize {
        let mut work = self.ended.len();
        for (conn, reason) in std::mem::take(&mut self.ended) {
            app.on_close(conn, reason);
        }
        // Before timers send anything again.
        self.take_next_hops(now);
        work += self.run_timers(now, app);
        let mut burst = std::mem::take(&mut self.rx_burst);
        work += self.tx.port.rx_burst(&mut burst, RX_BURST_MAX);
        self.receive_burst(now, &mut burst, app);
        self.rx_burst = burst;
        self.give_back();
        self.wake_starved(app);
        self.relieve_pressure(now, app);
        work
    }

    fn send(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) -> usize {
        let taken = self.queue_bytes(now, conn, bytes);
        self.mark_dirty(conn);
        taken
    }

    fn flush(&mut self, now: Instant) {
        self.flush_dirty(now);
    }

    fn set_held(&mut self, _now: Instant, conn: ConnId, held_bytes: usize) {
        if let Some(tcb) = self.conns.get_mut(conn) {
            tcb.set_held(held_bytes);
            self.mark_dirty(conn);
        }
    }

    fn close(&mut self, now: Instant, conn: ConnId) {
        let is_full = self.orphans >= self.shared.config.orphans_max;
        let Some(tcb) = self.conns.get_mut(conn) else { return };
        if tcb.discards() {
            return;
        }
        if is_full {
            self.shared.counters.orphans_reset += 1;
            self.abort(now, conn);
            return;
        }
        self.orphans += 1;
        if tcb.close(now, &self.shared) {
            self.mark_dirty(conn);
        } else {
            self.remove(conn);
            self.ended.push((conn, CloseReason::Aborted));
        }
    }

    fn abort(&mut self, _now: Instant, conn: ConnId) {
        let Some(tcb) = self.remove(conn) else { return };
        self.reset(&tcb);
        self.ended.push((conn, CloseReason::Aborted));
    }

    fn stop_accepting(&mut self) {
        self.listen.clear();
        // Whoever finishes a handshake now is reset, as by a kernel whose listener was closed.
        self.syn_cache = FlowMap::new(1);
    }

    fn set_rules(&mut self, rules: &Arc<Rules>) {
        if let Some(admission) = &mut self.admission {
            admission.set_rules(Arc::clone(rules));
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        if !self.ended.is_empty() {
            return Some(Instant::ZERO);
        }
        let has_output = !self.dirty.is_empty() || !self.answers.is_empty();
        let retry = has_output.then(|| self.retry_at.unwrap_or(Instant::ZERO));
        let starved = if self.starved.is_empty() { None } else { self.retry_at };
        let timers = [
            self.conns.next_deadline(),
            self.keepalives.next_deadline(),
            self.syn_cache.next_deadline(),
            self.time_wait.next_deadline(),
        ];
        timers.into_iter().chain([retry, starved]).flatten().min()
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.tx.port.wait_fd()
    }

    /// Without half-open connections and those in TIME-WAIT, whose memory is bounded apart.
    fn conn_count(&self) -> usize {
        self.conns.len()
    }

    fn counters(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        self.shared.counters.visit(visit);
        let gauges = [
            ("tcp_conns", self.conns.len()),
            ("tcp_half_open", self.syn_cache.len()),
            ("tcp_time_wait", self.time_wait.len()),
            ("tcp_orphans", self.orphans),
            ("tcp_held_frames", self.shared.quota.used()),
        ];
        gauges.into_iter().for_each(|(name, value)| visit(name, value as u64));
        if let Some(neighbours) = &self.neighbours {
            neighbours.counters(visit);
        }
        if let Some(responder) = &self.responder {
            responder.counters(visit);
        }
        if let Some(admission) = &self.admission {
            admission.counters(visit);
        }
        self.tx.port.counters(visit);
    }
}
