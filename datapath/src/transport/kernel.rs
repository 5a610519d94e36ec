//! What the transports over kernel sockets share: listening sockets, and what an accepted one is set to.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

#[cfg(test)]
pub(super) mod bench;

/// How long a connection that we closed may take to close its side.
pub const LINGER_MAX: Duration = Duration::from_secs(2);
/// How long accepting pauses when the process has no file descriptors left.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How accepted sockets are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// When the peer of an idle connection is first probed; `None`: never.
    pub keepalive_idle: Option<Duration>,
    /// How long sent data may stay unacknowledged, or unsent because the peer's window is closed,
    /// before the kernel gives the connection up; `None`: as the kernel is set.
    pub user_timeout: Option<Duration>,
}

impl SocketOptions {
    /// Sets an accepted socket.
    pub(super) fn apply(&self, fd: &OwnedFd) -> Result<(), Errno> {
        sockopt::set_tcp_nodelay(fd, true)?;
        if let Some(idle) = self.keepalive_idle {
            sockopt::set_socket_keepalive(fd, true)?;
            sockopt::set_tcp_keepidle(fd, idle)?;
            // As Redis: three probes, a third of the idle time apart.
            sockopt::set_tcp_keepintvl(fd, (idle / 3).max(Duration::from_secs(1)))?;
            sockopt::set_tcp_keepcnt(fd, 3)?;
        }
        if let Some(timeout) = self.user_timeout {
            let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
            sockopt::set_tcp_user_timeout(fd, millis)?;
        }
        Ok(())
    }
}

/// What happened to sockets and connections of one transport.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: u64,
    pub(super) accept_errors: u64,
    pub(super) accept_out_of_descriptors: u64,
    pub(super) refused: u64,
    pub(super) reads: u64,
    pub(super) rx_bytes: u64,
    pub(super) writes: u64,
    pub(super) tx_bytes: u64,
    pub(super) tx_would_block: u64,
    pub(super) rx_paused: u64,
    pub(super) linger_timeouts: u64,
}

impl Counters {
    /// Hands every counter to `visit` as a metric name and its value.
    pub(super) fn visit(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        visit("kernel_accepted", self.accepted);
        visit("kernel_accept_errors", self.accept_errors);
        visit("kernel_accept_out_of_descriptors", self.accept_out_of_descriptors);
        visit("kernel_refused", self.refused);
        visit("kernel_reads", self.reads);
        visit("kernel_rx_bytes", self.rx_bytes);
        visit("kernel_writes", self.writes);
        visit("kernel_tx_bytes", self.tx_bytes);
        visit("kernel_tx_would_block", self.tx_would_block);
        visit("kernel_rx_paused", self.rx_paused);
        visit("kernel_linger_timeouts", self.linger_timeouts);
    }
}

/// Why an address cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error(
        "another program already listens on {0}: stop it, or choose another address with --bind \
         or --port"
    )]
    InUse(SocketAddr),
    /// The address is not one of this host's.
    #[error("{0} is not an address of this host: `ip address` lists them")]
    NotLocal(SocketAddr),
    /// The port is reserved for root.
    #[error("no permission to listen on {0}: ports below 1024 need root or CAP_NET_BIND_SERVICE")]
    NotPermitted(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, Errno),
}

impl BindError {
    fn new(addr: SocketAddr, errno: Errno) -> Self {
        match errno {
            Errno::ADDRINUSE => Self::InUse(addr),
            Errno::ADDRNOTAVAIL => Self::NotLocal(addr),
            Errno::ACCESS | Errno::PERM => Self::NotPermitted(addr),
            other => Self::Other(addr, other),
        }
    }
}

/// Opens `count` listening sockets on `addr`, one for each worker. Port 0 chooses a free port, the
/// same for all; [`local_addr`] tells which.
///
/// # Errors
/// [`BindError`], also when another program already listens there with `SO_REUSEPORT`: two servers
/// must not share their clients by accident.
pub fn bind(addr: SocketAddr, count: usize, backlog: u32) -> Result<Vec<OwnedFd>, BindError> {
    let refused = |errno| BindError::new(addr, errno);
    // A socket without SO_REUSEPORT finds out whether the address is free for us alone. It has
    // SO_REUSEADDR, so that connections of a server that just stopped do not count.
    let probe = open(addr, false).map_err(refused)?;
    net::listen(&probe, 1).map_err(refused)?;
    let addr = local_addr(&probe).map_err(refused)?;
    drop(probe);
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    (0..count)
        .map(|_| {
            let listener = open(addr, true)?;
            net::listen(&listener, backlog)?;
            Ok(listener)
        })
        .collect::<Result<_, Errno>>()
        .map_err(refused)
}

/// The address a socket is bound to.
///
/// # Errors
/// What the kernel answers, or `EAFNOSUPPORT` if it is no IP socket.
pub fn local_addr(fd: &OwnedFd) -> Result<SocketAddr, Errno> {
    SocketAddr::try_from(net::getsockname(fd)?).map_err(|_not_ip| Errno::AFNOSUPPORT)
}

fn open(addr: SocketAddr, reuse_port: bool) -> Result<OwnedFd, Errno> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, reuse_port)?;
    if addr.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    net::bind(&socket, &addr)?;
    Ok(socket)
}
