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
use coney_datapath::transport::tcp::PortUnfit;
use coney_xdp_prog::Program;
use rustix::io::Errno;
use tracing::{info, warn};

mod xdp;

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
    Xdp(xdp::XdpError),
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
    /// Steers frames to the workers as long as it lives.
    pub(crate) program: Option<Program>,
}

/// What one worker opens its transports from. It goes to the worker's thread.
#[derive(Debug)]
pub(crate) struct Part {
    listeners: Vec<OwnedFd>,
    keepalive_idle: Option<Duration>,
    xdp: Vec<xdp::Queue>,
}

/// Why a worker cannot open its transports.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartError {
    /// No more descriptors.
    #[error("a worker cannot open its sockets: {0}: raise the limit of open files (`ulimit -n`)")]
    Kernel(#[from] Errno),
    /// The port cannot carry TCP.
    #[error(transparent)]
    Port(#[from] PortUnfit),
}

impl Part {
    /// Opens the worker's transports. Kernel sockets come last: they are there for local clients,
    /// and for everybody when AF_XDP ends.
    ///
    /// # Errors
    /// [`PartError`].
    pub(crate) fn open(self) -> Result<Vec<Box<dyn Transport>>, PartError> {
        let mut transports: Vec<Box<dyn Transport>> = Vec::new();
        for queue in self.xdp {
            transports.push(queue.open()?);
        }
        transports.push(Box::new(EpollTransport::new(self.listeners, self.keepalive_idle)?));
        Ok(transports)
    }
}

/// Decides how clients reach `workers` workers, and opens the listeners.
///
/// # Errors
/// [`DatapathError`].
pub(crate) fn plan(config: &Config, workers: usize) -> Result<Plan, DatapathError> {
    let keepalive_idle =
        Some(Duration::from_secs(config.tcp_keepalive_secs)).filter(|idle| !idle.is_zero());
    let mut parts: Vec<Part> = (0..workers)
        .map(|_| Part { listeners: Vec::new(), keepalive_idle, xdp: Vec::new() })
        .collect();
    let mut addrs = Vec::new();
    for (addr, listeners) in listen(config, workers)? {
        addrs.push(addr);
        for (part, listener) in parts.iter_mut().zip(listeners) {
            part.listeners.push(listener);
        }
    }
    // Last, because steering begins at once; until then, and after it, kernel sockets serve.
    let Some((program, queues)) = xdp(config, &addrs, keepalive_idle)? else {
        return Ok(Plan { name: "kernel", listeners: addrs, parts, program: None });
    };
    if queues.len() < workers {
        warn!(
            "{} has {} receive queue(s) for {workers} workers: the others serve only kernel sockets",
            config.interface,
            queues.len()
        );
    }
    for (at, queue) in queues.into_iter().enumerate() {
        if let Some(part) = parts.get_mut(at % workers) {
            part.xdp.push(queue);
        }
    }
    Ok(Plan { name: "xdp", listeners: addrs, parts, program: Some(program) })
}

/// AF_XDP if it is wanted, and possible or insisted upon.
fn xdp(
    config: &Config,
    listeners: &[SocketAddr],
    keepalive_idle: Option<Duration>,
) -> Result<Option<(Program, Vec<xdp::Queue>)>, DatapathError> {
    let has_interface = !config.interface.is_empty();
    let open = || xdp::open(&config.interface, listeners, config.maxclients, keepalive_idle);
    match config.datapath {
        Datapath::Kernel => Ok(None),
        Datapath::Auto if !has_interface => Ok(None),
        Datapath::Auto => Ok(open()
            .inspect_err(|problem| {
                warn!("AF_XDP is not used: {problem}. Kernel sockets serve all clients");
            })
            .ok()),
        Datapath::Xdp if !has_interface => Err(DatapathError::NoInterface),
        Datapath::Xdp => open().map(Some).map_err(DatapathError::Xdp),
    }
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
