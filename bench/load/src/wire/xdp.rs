//! Coney's own TCP over AF_XDP, as a client: the stack and the port that the server has.
//!
//! ```text
//! reserve   a port of the kernel's for each connection, so that nobody else uses it
//! attach    the XDP program, which steers frames to these ports here and leaves all others alone
//! resolve   the next hop's hardware address, which the kernel asks for
//! connect   the handshakes, by our own TCP
//! ```
//! One receive queue serves all connections: a card with several would choose the queue of each by
//! itself, and bring segments to a stack that knows no such connection.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use coney_base::{Clock, Instant};
use coney_datapath::neighbour::kernel::Kernel;
use coney_datapath::neighbour::{Tables as _, next_hop_mac};
use coney_datapath::port::Port as _;
use coney_datapath::port::af_xdp::{self, AfXdpPort, Queues, Steering};
use coney_datapath::tcp::config::Config;
use coney_datapath::transport::tcp::{ConnectError, PortUnfit, TcpTransport};
use coney_datapath::transport::{App, CloseReason, ConnId, Transport as _};
use coney_datapath::wire::Hop;
use coney_xdp_prog::{Mode, Program, Rules};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};

use super::{Receive, Wire, WireError, timespec};

/// Handshakes under way: a server may limit them.
const OPENING_MAX: usize = 256;
/// How often the kernel is asked whether it knows the next hop by now.
const RESOLVE_INTERVAL: Duration = Duration::from_millis(10);
/// How long the last segments may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a wait polls the rings before it sleeps: a sleep and a wake-up cost several microseconds.
const SPIN: Duration = Duration::from_micros(50);

/// Why there are no connections over AF_XDP. Every message says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// No permission, no such interface, no support in driver or kernel.
    #[error("AF_XDP is not possible: {0}")]
    Port(#[from] af_xdp::Error),
    /// Frames would come to queues without a stack.
    #[error(
        "{interface} has {queues} receive queues, and it would choose the queue of each connection by \
         itself: give it one (ethtool -L {interface} combined 1), or use kernel sockets"
    )]
    Queues {
        /// The interface.
        interface: String,
        /// How many it has.
        queues: usize,
    },
    /// TCP does not fit the interface.
    #[error(transparent)]
    Unfit(#[from] PortUnfit),
    /// The kernel has no route.
    #[error(
        "no way leads from {interface} to {server}: AF_XDP reaches other hosts only, by a route over \
         this interface (`ip route get {}`)", server.ip()
    )]
    NoRoute {
        /// The interface.
        interface: String,
        /// Where to.
        server: SocketAddr,
    },
    /// Nobody answers to the next hop's address.
    #[error("the next hop from {interface} to {server} does not answer (`ip neighbour show`)")]
    NoNeighbour {
        /// The interface.
        interface: String,
        /// Where to.
        server: SocketAddr,
    },
    /// The kernel gives no ports.
    #[error("no local port for a connection: {0}. Fewer --connections need fewer")]
    Ports(Errno),
    /// The kernel does not answer about routes and neighbours.
    #[error("the kernel does not tell the next hop: {0}")]
    Routes(#[from] Errno),
    /// The kernel gives no random numbers.
    #[error("no random numbers for TCP's secrets: {0}")]
    Random(std::io::Error),
    /// A flow cannot be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server does not accept.
    #[error(
        "no connection to {server}: {opened} of {wanted} were accepted. Is the server running, and does \
         it listen on this address? `coney serve` starts one"
    )]
    NoServer {
        /// Where to.
        server: SocketAddr,
        /// Connections that were accepted.
        opened: usize,
        /// Connections that were wanted.
        wanted: usize,
    },
}

/// See the module page.
#[derive(Debug)]
pub(crate) struct XdpWire {
    // First: what it sends last needs the ports of the kernel to be still ours.
    transport: TcpTransport<AfXdpPort>,
    /// By number.
    conns: Vec<ConnId>,
    /// By slot.
    numbers: Vec<Option<usize>>,
    clock: Clock,
    /// Frames are steered here as long as it exists.
    _program: Program,
    _reserved: Vec<OwnedFd>,
}

impl XdpWire {
    /// Opens so many connections to a server by this interface, all within `timeout`.
    ///
    /// # Errors
    /// [`XdpError`].
    pub(crate) fn open(
        interface: &str,
        server: SocketAddr,
        connections: usize,
        clock: Clock,
        timeout: Duration,
    ) -> Result<Self, XdpError> {
        af_xdp::check_exists(interface)?;
        let no_route = || XdpError::NoRoute { interface: interface.to_owned(), server };
        let local = source_address(server).ok_or_else(no_route)?;
        let reserved: Result<Vec<_>, _> = (0..connections).map(|_| reserve(local)).collect();
        let (reserved, endpoints): (Vec<_>, Vec<_>) =
            reserved.map_err(XdpError::Ports)?.into_iter().unzip();
        let steering = Steering { endpoints: &endpoints, rules: &Rules::default() };
        let options = af_xdp::Options::default();
        let (program, mut ports) =
            af_xdp::open(interface, Queues::All, &steering, Mode::Auto, &options)?;
        let queues = ports.len();
        let (Some(port), true) = (ports.pop(), queues == 1) else {
            return Err(XdpError::Queues { interface: interface.to_owned(), queues });
        };
        let deadline = clock.now() + timeout;
        let hop = Hop {
            local: port.caps().mac,
            remote: resolve(interface, port.interface_index(), local, server, clock, deadline)?,
            vlan: None,
        };
        let config = Config {
            addresses: vec![local],
            secret: coney_base::random().map_err(XdpError::Random)?,
            conns_max: connections,
            keepalive_idle: None,
            ..Config::default()
        };
        let mut wire = Self {
            transport: TcpTransport::new(port, config)?,
            conns: Vec::with_capacity(connections),
            numbers: Vec::new(),
            clock,
            _program: program,
            _reserved: reserved,
        };
        wire.connect(&endpoints, server, hop, deadline)?;
        Ok(wire)
    }

    fn connect(
        &mut self,
        endpoints: &[SocketAddr],
        server: SocketAddr,
        hop: Hop,
        deadline: Instant,
    ) -> Result<(), XdpError> {
        let mut opening = Opening::default();
        while opening.opened < endpoints.len() {
            let now = self.clock.now();
            while self.conns.len() < opening.opened + OPENING_MAX
                && let Some(local) = endpoints.get(self.conns.len())
            {
                let conn = self.transport.connect(now, *local, server, hop)?;
                let slot = conn.index as usize;
                self.numbers.resize(self.numbers.len().max(slot + 1), None);
                if let Some(number) = self.numbers.get_mut(slot) {
                    *number = Some(self.conns.len());
                }
                self.conns.push(conn);
            }
            self.transport.flush(now);
            self.transport.poll(now, &mut opening);
            self.transport.flush(now);
            if opening.has_failed || now >= deadline {
                let (opened, wanted) = (opening.opened, endpoints.len());
                return Err(XdpError::NoServer { server, opened, wanted });
            }
            self.sleep(now, deadline.since(now));
        }
        Ok(())
    }

    /// Until a frame arrives or a timer is due, at most for so long.
    fn sleep(&self, now: Instant, timeout: Duration) {
        let due = self.transport.next_deadline().map(|at| at.since(now));
        let timeout = due.map_or(timeout, |due| due.min(timeout));
        let mut fds: Vec<PollFd<'_>> = self
            .transport
            .wait_fd()
            .iter()
            .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
            .collect();
        // A signal ends the sleep early, which is harmless.
        poll(&mut fds, Some(&timespec(timeout))).ok();
    }
}

impl Wire for XdpWire {
    fn connections(&self) -> usize {
        self.conns.len()
    }

    fn send(&mut self, now: Instant, at: usize, bytes: &[u8]) -> Result<usize, WireError> {
        let Some(conn) = self.conns.get(at) else { return Ok(bytes.len()) };
        Ok(self.transport.send(now, *conn, bytes))
    }

    fn flush(&mut self, now: Instant) {
        self.transport.flush(now);
    }

    fn wait(&mut self, timeout: Duration, to: &mut dyn Receive) -> Result<(), WireError> {
        let start = self.clock.now();
        let mut now = start;
        loop {
            let mut events = Events { numbers: &self.numbers, to, ended: None };
            let work = self.transport.poll(now, &mut events);
            if let Some(reason) = events.ended {
                return Err(why(reason));
            }
            let waited = now.since(start);
            if work > 0 || waited >= timeout {
                // Acknowledgements leave with the requests that the replies let start.
                return Ok(());
            }
            if waited >= SPIN {
                self.transport.flush(now);
                self.sleep(now, timeout.saturating_sub(waited));
            }
            now = self.clock.now();
        }
    }

    fn close(&mut self) {
        let start = self.clock.now();
        for conn in &self.conns {
            self.transport.close(start, *conn);
        }
        let mut now = start;
        while self.transport.conn_count() > 0 && now.since(start) < CLOSE_TIMEOUT {
            self.transport.flush(now);
            self.transport.poll(now, &mut Opening::default());
            self.transport.flush(now);
            self.sleep(now, CLOSE_TIMEOUT.saturating_sub(now.since(start)));
            now = self.clock.now();
        }
    }
}

fn why(reason: CloseReason) -> WireError {
    match reason {
        CloseReason::Finished => WireError::Closed,
        CloseReason::Reset => std::io::Error::from(std::io::ErrorKind::ConnectionReset).into(),
        CloseReason::TimedOut => std::io::Error::from(std::io::ErrorKind::TimedOut).into(),
        CloseReason::Aborted | CloseReason::Failed => {
            std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()
        }
    }
}

/// The address of this host from which the kernel would talk to the server.
fn source_address(server: SocketAddr) -> Option<IpAddr> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).ok()?;
    // Nothing is sent by that.
    socket.connect(server).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// A port that the kernel gives nobody else as long as the socket exists. Nobody listens there: what
/// were not steered here would be answered with a reset.
fn reserve(local: IpAddr) -> Result<(OwnedFd, SocketAddr), Errno> {
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddr::new(local, 0))?;
    let endpoint = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok((socket, endpoint))
}

/// The hardware address of the next hop to the server.
fn resolve(
    interface: &str,
    index: u32,
    local: IpAddr,
    server: SocketAddr,
    clock: Clock,
    deadline: Instant,
) -> Result<[u8; 6], XdpError> {
    let mut kernel = Kernel::open()?;
    if kernel.next_hop(local, server.ip(), Some(index)).ok().flatten().is_none() {
        return Err(XdpError::NoRoute { interface: interface.to_owned(), server });
    }
    loop {
        if let Some(mac) = next_hop_mac(&mut kernel, local, server.ip(), index)? {
            return Ok(mac);
        }
        if clock.now() >= deadline {
            return Err(XdpError::NoNeighbour { interface: interface.to_owned(), server });
        }
        poll(&mut [], Some(&timespec(RESOLVE_INTERVAL))).ok();
    }
}

/// Connections that begin or end; what they bring is nobody's.
#[derive(Default)]
struct Opening {
    opened: usize,
    has_failed: bool,
}

impl App for Opening {
    fn on_accept(&mut self, _conn: ConnId, _peer: SocketAddr, _local: SocketAddr) -> bool {
        self.opened += 1;
        true
    }

    fn on_data(&mut self, _conn: ConnId, _bytes: &[u8]) -> usize {
        0
    }

    fn on_eof(&mut self, _conn: ConnId) {}

    fn on_writable(&mut self, _conn: ConnId) {}

    fn on_close(&mut self, _conn: ConnId, _reason: CloseReason) {
        self.has_failed = true;
    }
}

/// Gives connections their numbers.
struct Events<'a> {
    numbers: &'a [Option<usize>],
    to: &'a mut dyn Receive,
    ended: Option<CloseReason>,
}

impl Events<'_> {
    fn number(&self, conn: ConnId) -> Option<usize> {
        self.numbers.get(conn.index as usize).copied().flatten()
    }
}

impl App for Events<'_> {
    /// Nobody listens here.
    fn on_accept(&mut self, _conn: ConnId, _peer: SocketAddr, _local: SocketAddr) -> bool {
        false
    }

    fn on_data(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        if let Some(at) = self.number(conn) {
            self.to.on_data(at, bytes);
        }
        0
    }

    fn on_eof(&mut self, _conn: ConnId) {
        self.ended = Some(CloseReason::Finished);
    }

    fn on_writable(&mut self, conn: ConnId) {
        if let Some(at) = self.number(conn) {
            self.to.on_writable(at);
        }
    }

    fn on_close(&mut self, _conn: ConnId, reason: CloseReason) {
        self.ended = Some(reason);
    }
}
