//! How clients reach the workers: which transports each of them gets.
//!
//! Planning happens before any worker runs, so that a refusal is one clear line at the start; each
//! worker then opens its part on its own thread, because transports never change threads.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use coney_control::config::{Bind, Config, Datapath};
use coney_datapath::transport::Transport;
use coney_datapath::transport::epoll::{self, BindError, EpollTransport};
use rustix::io::Errno;
use tracing::{info, warn};

/// How often a free port is looked for that all addresses have free.
const FREE_PORT_TRIES_MAX: usize = 16;

/// Why clients cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatapathError {
    /// A kernel listener cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// None of the addresses, all of them optional, exists here.
    #[error("none of the addresses of `bind` exists on this host: name one that does with --bind")]
    NoAddress,
    /// `datapath = xdp` without an interface.
    #[error(
        "datapath xdp needs a network interface: name it with --interface (`coney check` lists \
         them)"
    )]
    NoInterface,
    /// AF_XDP does not work here.
    #[error(
        "datapath xdp is not possible: {0}. `coney check` tells what is missing; `--datapath \
         kernel` works everywhere"
    )]
    Xdp(XdpUnavailable),
}

/// Why AF_XDP does not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XdpUnavailable {
    /// The build has no AF_XDP transport.
    #[error("this build of coney has no AF_XDP transport")]
    NotBuilt,
}

/// How all workers will be reached.
#[derive(Debug)]
pub(crate) struct Plan {
    /// `kernel` or `xdp`.
    pub(crate) name: &'static str,
    /// Addresses that are served.
    pub(crate) listeners: Vec<SocketAddr>,
    /// One for each worker.
    pub(crate) parts: Vec<Part>,
}

/// What one worker opens its transports from. It goes to the worker's thread.
#[derive(Debug)]
pub(crate) struct Part {
    listeners: Vec<OwnedFd>,
    keepalive_idle: Option<Duration>,
}

impl Part {
    /// Opens the worker's transports.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(crate) fn open(self) -> Result<Vec<Box<dyn Transport>>, Errno> {
        let kernel = EpollTransport::new(self.listeners, self.keepalive_idle)?;
        Ok(vec![Box::new(kernel)])
    }
}

/// Decides how clients reach `workers` workers, and opens the listeners.
///
/// # Errors
/// [`DatapathError`].
pub(crate) fn plan(config: &Config, workers: usize) -> Result<Plan, DatapathError> {
    let name = choose(config)?;
    let keepalive_idle =
        Some(Duration::from_secs(config.tcp_keepalive_secs)).filter(|idle| !idle.is_zero());
    let mut parts: Vec<Part> =
        (0..workers).map(|_| Part { listeners: Vec::new(), keepalive_idle }).collect();
    let mut addrs = Vec::new();
    for (addr, listeners) in listen(config, workers)? {
        addrs.push(addr);
        for (part, listener) in parts.iter_mut().zip(listeners) {
            part.listeners.push(listener);
        }
    }
    Ok(Plan { name, listeners: addrs, parts })
}

fn choose(config: &Config) -> Result<&'static str, DatapathError> {
    let has_interface = !config.interface.is_empty();
    match config.datapath {
        Datapath::Kernel => Ok("kernel"),
        Datapath::Auto if !has_interface => Ok("kernel"),
        Datapath::Auto => match xdp(config) {
            Ok(name) => Ok(name),
            Err(problem) => {
                warn!("AF_XDP is not used: {problem}; kernel sockets serve all clients");
                Ok("kernel")
            }
        },
        Datapath::Xdp if !has_interface => Err(DatapathError::NoInterface),
        Datapath::Xdp => xdp(config).map_err(DatapathError::Xdp),
    }
}

/// Where AF_XDP plugs in.
fn xdp(_config: &Config) -> Result<&'static str, XdpUnavailable> {
    Err(XdpUnavailable::NotBuilt)
}

type Listeners = Vec<(SocketAddr, Vec<OwnedFd>)>;

fn listen(config: &Config, workers: usize) -> Result<Listeners, DatapathError> {
    let mut tries = 0;
    loop {
        match listen_once(config, workers) {
            // The port that was free on the first address is taken on the next one.
            Err(DatapathError::Bind(BindError::InUse(_)))
                if config.port == 0 && tries < FREE_PORT_TRIES_MAX =>
            {
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

fn listen_once(config: &Config, workers: usize) -> Result<Listeners, DatapathError> {
    let mut port = config.port;
    let mut all: Listeners = Vec::new();
    for &Bind { addr, is_optional } in &config.bind {
        let listeners = match epoll::bind(SocketAddr::new(addr, port), workers, config.tcp_backlog)
        {
            Ok(listeners) => listeners,
            Err(problem) if is_optional && is_missing(&problem) => {
                info!("not served: {problem}");
                continue;
            }
            Err(problem) => return Err(problem.into()),
        };
        if let Some(first) = listeners.first() {
            let local = epoll::local_addr(first)
                .map_err(|errno| BindError::Other(SocketAddr::new(addr, port), errno))?;
            port = local.port();
            all.push((local, listeners));
        }
    }
    if all.is_empty() { Err(DatapathError::NoAddress) } else { Ok(all) }
}

/// Whether the host does not have the address, or not even its family.
fn is_missing(problem: &BindError) -> bool {
    match problem {
        BindError::NotLocal(_) | BindError::Other(_, Errno::AFNOSUPPORT) => true,
        BindError::InUse(_) | BindError::NotPermitted(_) | BindError::Other(..) => false,
    }
}
