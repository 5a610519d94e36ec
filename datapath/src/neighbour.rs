//! Next hops and their hardware addresses, as the kernel knows them.
//!
//! A connection learns its next hop from the frames that it receives, which is right as long as it
//! receives some. If its peer hears nothing from us because the router's hardware address changed,
//! it may have nothing to say either. Then the kernel is asked, which resolves addresses (ARP,
//! neighbour discovery) and knows the routes. The other way round, the kernel does not see our
//! traffic: it takes next hops that are in heavy use for forgotten ones, and is told otherwise.
//!
//! ```text
//! transport --Notice::Stale(conn)----------> Resolver: route -> neighbour -> Answer --> transport
//!           --Notice::Active(a peer)-------> Resolver: keeps the next hop's entry alive
//! ```
//! - [`kernel`]: rtnetlink. [`Tables`] is what is asked of it, so that tests can answer.
//! - [`Resolver`]: runs on a thread of its own. [`Client`]: a transport's end of the queues, which
//!   never waits: what finds no room is dropped, counted, and said again with the next occasion.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use coney_base::{Clock, Instant};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use rustix::io::Errno;

use crate::transport::ConnId;
use crate::wire::ethernet::Mac;

pub mod kernel;
#[cfg(test)]
mod tests;

/// Notices of all transports that may wait; more are dropped.
pub const NOTICES_MAX: usize = 1024;
/// Answers that may wait for one transport; more are dropped.
pub const ANSWERS_MAX: usize = 1024;
/// Connections that wait for an address to be resolved; more are not answered.
pub const PENDING_MAX: usize = 1024;
/// Next hops that are kept alive; of more, some are left to the kernel.
pub const ACTIVE_MAX: usize = 1024;
/// How often a transport names a peer that it received something from: over time, every one that
/// sends more than a thousandth of its frames.
pub const ACTIVE_INTERVAL: Duration = Duration::from_millis(100);
/// A next hop of which nothing was heard for so long is no longer kept alive.
pub const ACTIVE_TIMEOUT: Duration = Duration::from_secs(300);
/// How often entries are looked after: half the least time for which the kernel takes a confirmed
/// one for good (RFC 4861 §6.3.2 and `base_reachable_time`: 15 to 45 s).
const REFRESH_INTERVAL: Duration = Duration::from_secs(7);
/// How often an address that is being resolved is looked for, and for how long: the kernel asks
/// three times, one second apart.
const RESOLVE_INTERVAL: Duration = Duration::from_millis(20);
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(4);
/// One next hop is resolved anew at most this often, however many connections ask for it.
const FORGET_INTERVAL: Duration = Duration::from_secs(1);

/// Whom a packet is handed to next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NextHop {
    /// The interface that it leaves by.
    pub interface: u32,
    /// The router's address, or the destination's own.
    pub address: IpAddr,
}

/// A hardware address, and how much it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The address.
    pub mac: Mac,
    /// How much it is worth.
    pub quality: Quality,
}

/// How much a hardware address is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// The neighbour answered lately.
    Confirmed,
    /// It answered once.
    Stale,
    /// It is being asked.
    Probing,
    /// Set by an administrator; never asked.
    Fixed,
}

/// What the kernel knows. Each call answers at once.
pub trait Tables {
    /// The route from `local` to `remote`, by this interface if one is given; `None`: there is
    /// none, or it ends on this host.
    ///
    /// # Errors
    /// What the kernel answers.
    fn next_hop(
        &mut self,
        local: IpAddr,
        remote: IpAddr,
        interface: Option<u32>,
    ) -> Result<Option<NextHop>, Errno>;

    /// The neighbour's hardware address; `None`: it is not known, now.
    ///
    /// # Errors
    /// What the kernel answers.
    fn neighbour(&mut self, hop: &NextHop) -> Result<Option<Neighbour>, Errno>;

    /// Tells the kernel that the neighbour is in use: it resolves the address if it does not know
    /// it, and confirms it if it is stale.
    ///
    /// # Errors
    /// What the kernel answers.
    fn use_neighbour(&mut self, hop: &NextHop) -> Result<(), Errno>;

    /// Makes the kernel forget the neighbour's hardware address.
    ///
    /// # Errors
    /// What the kernel answers.
    fn forget(&mut self, hop: &NextHop) -> Result<(), Errno>;
}

/// The hardware address of the next hop from `local` to `remote` by `interface`, for whoever opens
/// a connection. `None`: there is no route, or the address is not known yet; in the latter case
/// the kernel was asked to resolve it, so that trying again helps.
///
/// # Errors
/// What the kernel answers.
pub fn next_hop_mac(
    tables: &mut impl Tables,
    local: IpAddr,
    remote: IpAddr,
    interface: u32,
) -> Result<Option<Mac>, Errno> {
    let Some(hop) = tables.next_hop(local, remote, Some(interface))? else { return Ok(None) };
    let known = tables.neighbour(&hop)?;
    if known.is_none_or(|known| known.quality == Quality::Stale) {
        tables.use_neighbour(&hop)?;
    }
    Ok(known.map(|known| known.mac))
}

/// Two ends of a flow, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Our address.
    pub local: IpAddr,
    /// The peer's address.
    pub remote: IpAddr,
    /// Its frames are tagged: its routes are those of another interface.
    pub is_tagged: bool,
}

/// What a transport has to say.
#[derive(Clone, Copy, Debug)]
enum Notice {
    Active(Path),
    Stale { client: usize, conn: ConnId, path: Path, failed: Mac },
}

/// A connection's next hop has another hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The connection.
    pub conn: ConnId,
    /// The address.
    pub mac: Mac,
}

/// A transport's end.
#[derive(Debug)]
pub struct Client {
    index: usize,
    notices: Sender<Notice>,
    answers: Receiver<Answer>,
    next_active: Instant,
    asked: u64,
    answered: u64,
    dropped: u64,
}

impl Client {
    /// Whether [`Self::note_active`] would take notice now.
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.next_active
    }

    /// Notes that something came from this peer.
    pub fn note_active(&mut self, now: Instant, path: Path) {
        if self.is_due(now) {
            self.next_active = now + ACTIVE_INTERVAL;
            self.notify(Notice::Active(path));
        }
    }

    /// Asks for the hardware address of a connection's next hop, because `failed` seems to be it
    /// no longer. An answer comes only if there is another one.
    pub fn ask(&mut self, conn: ConnId, path: Path, failed: Mac) {
        self.asked += 1;
        self.notify(Notice::Stale { client: self.index, conn, path, failed });
    }

    fn notify(&mut self, notice: Notice) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.notices.try_send(notice)
        {
            self.dropped += 1;
        }
    }

    /// The next answer, if one is there.
    pub fn answer(&mut self) -> Option<Answer> {
        let answer = self.answers.try_recv().ok()?;
        self.answered += 1;
        Some(answer)
    }

    /// Hands every counter to `visit`.
    pub fn counters(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        visit("neighbour_asked", self.asked);
        visit("neighbour_answered", self.answered);
        visit("neighbour_dropped_notices", self.dropped);
    }
}

/// A connection whose next hop's address is being resolved.
#[derive(Debug)]
struct Pending {
    client: usize,
    conn: ConnId,
    hop: NextHop,
    failed: Mac,
    until: Instant,
}

/// Looks next hops up and keeps them alive. See the module page.
#[derive(Debug)]
pub struct Resolver<T> {
    tables: T,
    interface: u32,
    notices: Receiver<Notice>,
    answers: Vec<Sender<Answer>>,
    /// When each was last heard of.
    active: BTreeMap<NextHop, Instant>,
    next_refresh: Instant,
    pending: Vec<Pending>,
    /// When each was last resolved anew.
    forgotten: BTreeMap<NextHop, Instant>,
    has_failed: bool,
}

impl<T: Tables> Resolver<T> {
    /// A resolver for transports over ports of this interface, and their ends.
    pub fn new(tables: T, interface: u32, clients: usize) -> (Self, Vec<Client>) {
        let (notice_sender, notices) = bounded(NOTICES_MAX);
        let mut answers = Vec::new();
        let clients = (0..clients)
            .map(|index| {
                let (sender, receiver) = bounded(ANSWERS_MAX);
                answers.push(sender);
                Client {
                    index,
                    notices: notice_sender.clone(),
                    answers: receiver,
                    next_active: Instant::ZERO,
                    asked: 0,
                    answered: 0,
                    dropped: 0,
                }
            })
            .collect();
        let resolver = Self {
            tables,
            interface,
            notices,
            answers,
            active: BTreeMap::new(),
            next_refresh: Instant::ZERO,
            pending: Vec::new(),
            forgotten: BTreeMap::new(),
            has_failed: false,
        };
        (resolver, clients)
    }

    /// Works until every client is dropped.
    pub fn run(mut self, clock: Clock) {
        loop {
            let now = clock.now();
            let next = self.on_time(now);
            match self.notices.recv_timeout(next.since(now)) {
                Ok(notice) => self.on_notice(clock.now(), notice),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn on_notice(&mut self, now: Instant, notice: Notice) {
        match notice {
            Notice::Active(path) => {
                let Some(hop) = self.next_hop(path) else { return };
                if self.active.len() < ACTIVE_MAX || self.active.contains_key(&hop) {
                    self.active.insert(hop, now);
                }
            }
            Notice::Stale { client, conn, path, failed } => {
                let Some(hop) = self.next_hop(path) else { return };
                self.on_stale(now, Pending { client, conn, hop, failed, until: now });
            }
        }
    }

    fn next_hop(&mut self, path: Path) -> Option<NextHop> {
        let interface = (!path.is_tagged).then_some(self.interface);
        let result = self.tables.next_hop(path.local, path.remote, interface);
        self.checked(result).flatten()
    }

    fn on_stale(&mut self, now: Instant, mut pending: Pending) {
        let hop = pending.hop;
        let result = self.tables.neighbour(&hop);
        let Some(known) = self.checked(result) else { return };
        if let Some(known) = known {
            if known.mac != pending.failed {
                self.answer(&pending, known.mac);
                return;
            }
            if known.quality == Quality::Fixed {
                return;
            }
        }
        // The kernel would believe what it has for many seconds. It costs one question to the
        // network to forget it, and if it was right, nothing but that.
        let is_due = self.forgotten.get(&hop).is_none_or(|at| now.since(*at) >= FORGET_INTERVAL);
        if is_due {
            self.forgotten.insert(hop, now);
            if known.is_some() {
                let result = self.tables.forget(&hop);
                self.checked(result);
            }
            let result = self.tables.use_neighbour(&hop);
            self.checked(result);
        }
        if self.pending.len() < PENDING_MAX {
            pending.until = now + RESOLVE_TIMEOUT;
            self.pending.push(pending);
        }
    }

    /// Does what is due, and tells when something is next.
    fn on_time(&mut self, now: Instant) -> Instant {
        for pending in std::mem::take(&mut self.pending) {
            let result = self.tables.neighbour(&pending.hop);
            match self.checked(result).flatten() {
                Some(known) if known.mac != pending.failed => self.answer(&pending, known.mac),
                // It was right: the peer is not there, or the network is not.
                Some(_) => {}
                None if now < pending.until => self.pending.push(pending),
                None => {}
            }
        }
        if now >= self.next_refresh {
            self.next_refresh = now + REFRESH_INTERVAL;
            self.refresh(now);
        }
        if self.pending.is_empty() {
            self.next_refresh
        } else {
            self.next_refresh.min(now + RESOLVE_INTERVAL)
        }
    }

    /// Keeps the entries of active next hops alive.
    fn refresh(&mut self, now: Instant) {
        self.forgotten.retain(|_, at| now.since(*at) < FORGET_INTERVAL);
        self.active.retain(|_, heard_of| now.since(*heard_of) < ACTIVE_TIMEOUT);
        let hops: Vec<NextHop> = self.active.keys().copied().collect();
        for hop in hops {
            let result = self.tables.neighbour(&hop);
            let Some(known) = self.checked(result) else { continue };
            if known.is_none_or(|known| known.quality == Quality::Stale) {
                let result = self.tables.use_neighbour(&hop);
                self.checked(result);
            }
        }
    }

    fn answer(&self, pending: &Pending, mac: Mac) {
        let Some(answers) = self.answers.get(pending.client) else { return };
        // With no room the connection asks again; without a receiver nobody waits.
        answers.try_send(Answer { conn: pending.conn, mac }).ok();
    }

    /// The value, or a line in the log, once: what fails here fails again and again.
    fn checked<R>(&mut self, result: Result<R, Errno>) -> Option<R> {
        match result {
            Ok(value) => Some(value),
            Err(errno) => {
                if !self.has_failed {
                    tracing::warn!(
                        %errno,
                        "the kernel does not answer about routes and neighbours (CAP_NET_ADMIN is \
                         needed to refresh them): next hops are learnt from received frames only"
                    );
                }
                self.has_failed = true;
                None
            }
        }
    }
}
