//! How clients reach the workers: which transports each of them gets.
//!
//! Planning happens before any worker runs, so that a refusal is one clear line at the start; each
//! worker then opens its part on its own thread, because transports never change threads.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use coney_control::config::keys::kernel_transport_word;
use coney_control::config::{Bind, Config, Datapath, KernelTransport};
use coney_datapath::neighbour::Resolver;
use coney_datapath::neighbour::kernel::Kernel;
use coney_datapath::port::af_xdp::AfXdpPort;
use coney_datapath::transport::Transport;
use coney_datapath::transport::epoll::EpollTransport;
use coney_datapath::transport::kernel::{self, BindError, SocketOptions};
use coney_datapath::transport::tcp::TcpTransport;
use coney_datapath::transport::uring::{self, UringTransport};
use coney_xdp_prog::{Program, Rules};
use rustix::io::Errno;
use tracing::{info, warn};

#[cfg(feature = "dpdk")]
mod dpdk;
mod xdp;

use xdp::XdpUnavailable;

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
    /// `datapath = dpdk` in a binary without DPDK.
    #[cfg(not(feature = "dpdk"))]
    #[error(
        "datapath dpdk: this binary was built without DPDK; build it with `cargo build --release \
         --features dpdk` (libdpdk is needed), or use `--datapath kernel` or xdp"
    )]
    NoDpdk,
    /// DPDK does not work here.
    #[cfg(feature = "dpdk")]
    #[error("datapath dpdk is not possible: {0}")]
    Dpdk(#[from] dpdk::DpdkUnavailable),
    /// `kernel-transport = io_uring` where it does not work.
    #[error(
        "kernel-transport io_uring is not possible: {0}. `coney check` tells more; epoll works \
         everywhere"
    )]
    Uring(#[from] uring::Unavailable),
    /// AF_XDP does not work here.
    #[error(
        "datapath xdp is not possible: {0}. `coney check` tells what is missing; `--datapath \
         kernel` works everywhere"
    )]
    Xdp(XdpUnavailable),
}

/// Why a worker has no transports.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// No epoll instance.
    #[error("a worker cannot open its sockets: {0}: raise the limit of open files (`ulimit -n`)")]
    Epoll(#[from] Errno),
    /// No io_uring, although one could be made before.
    #[error(
        "a worker cannot open its sockets: {0}: raise the limits of open files and locked memory \
         (`ulimit -n`, `ulimit -l`)"
    )]
    Uring(#[from] uring::Unavailable),
}

/// How all workers will be reached.
#[derive(Debug)]
pub(crate) struct Plan {
    /// `kernel`, `xdp` or `dpdk`.
    pub(crate) name: &'static str,
    /// `epoll` or `io_uring`.
    pub(crate) kernel_transport: &'static str,
    /// Addresses that are served.
    pub(crate) listeners: Vec<SocketAddr>,
    /// One for each worker.
    pub(crate) parts: Vec<Part>,
    /// The XDP program; frames are steered to the workers as long as it exists.
    pub(crate) program: Option<Program>,
    /// To be run on a thread; it ends after the workers.
    pub(crate) resolver: Option<Resolver<Kernel>>,
}

/// What one worker opens its transports from. It goes to the worker's thread.
#[derive(Debug)]
pub(crate) struct Part {
    listeners: Vec<OwnedFd>,
    options: SocketOptions,
    kernel_transport: KernelTransport,
    /// One for each receive queue that the worker serves.
    bypass: Vec<Bypass>,
}

/// A transport of our own TCP.
#[derive(Debug)]
enum Bypass {
    Xdp(TcpTransport<AfXdpPort>),
    #[cfg(feature = "dpdk")]
    Dpdk(TcpTransport<coney_datapath::port::dpdk::DpdkPort>),
}

impl Part {
    /// Opens the worker's transports. Kernel sockets come last: they are there for local clients,
    /// and for everybody when AF_XDP ends.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) fn open(self) -> Result<Vec<Box<dyn Transport>>, OpenError> {
        let kernel: Box<dyn Transport> = match self.kernel_transport {
            KernelTransport::IoUring => {
                Box::new(UringTransport::new(self.listeners, self.options)?)
            }
            KernelTransport::Epoll | KernelTransport::Auto => {
                Box::new(EpollTransport::new(self.listeners, self.options)?)
            }
        };
        let mut transports: Vec<Box<dyn Transport>> = Vec::new();
        for bypass in self.bypass {
            transports.push(match bypass {
                Bypass::Xdp(transport) => Box::new(transport),
                #[cfg(feature = "dpdk")]
                Bypass::Dpdk(transport) => Box::new(transport),
            });
        }
        transports.push(kernel);
        Ok(transports)
    }
}

/// Decides how clients reach `workers` workers, and opens the listeners. No client gets in by AF_XDP or
/// DPDK whom `rules` refuse, not even at the start.
///
/// # Errors
/// [`DatapathError`].
pub(crate) fn plan(
    config: &Config,
    rules: &Arc<Rules>,
    workers: usize,
) -> Result<Plan, DatapathError> {
    if config.datapath == Datapath::Dpdk {
        #[cfg(feature = "dpdk")]
        return dpdk::plan(config, rules, workers);
        #[cfg(not(feature = "dpdk"))]
        return Err(DatapathError::NoDpdk);
    }
    let mut parts = empty_parts(config, workers)?;
    let kernel_transport = kernel_transport_word(kernel_transport(config)?);
    let mut addrs = Vec::new();
    for (addr, listeners) in listen(config, workers)? {
        addrs.push(addr);
        for (part, listener) in parts.iter_mut().zip(listeners) {
            part.listeners.push(listener);
        }
    }
    // After the kernel's listeners, which serve local clients, and everybody if steering ends.
    let Some(opened) = bypass(config, rules, &addrs, workers)? else {
        return Ok(Plan {
            name: "kernel",
            kernel_transport,
            listeners: addrs,
            parts,
            program: None,
            resolver: None,
        });
    };
    for (queue, transport) in opened.transports.into_iter().enumerate() {
        let part = parts.get_mut(queue % workers).expect("there is at least one worker");
        part.bypass.push(Bypass::Xdp(transport));
    }
    let (program, resolver) = (Some(opened.program), opened.resolver);
    Ok(Plan { name: "xdp", kernel_transport, listeners: addrs, parts, program, resolver })
}

fn empty_parts(config: &Config, workers: usize) -> Result<Vec<Part>, DatapathError> {
    let kernel_transport = kernel_transport(config)?;
    let options = SocketOptions {
        keepalive_idle: keepalive_idle(config),
        user_timeout: user_timeout(config),
    };
    let part = || Part { listeners: Vec::new(), options, kernel_transport, bypass: Vec::new() };
    Ok(std::iter::repeat_with(part).take(workers).collect())
}

/// Epoll or io_uring. Which one `auto` means was decided by measuring: see `bench/README.md`.
fn kernel_transport(config: &Config) -> Result<KernelTransport, DatapathError> {
    match config.kernel_transport {
        KernelTransport::Epoll | KernelTransport::Auto => Ok(KernelTransport::Epoll),
        KernelTransport::IoUring => {
            uring::probe()?;
            Ok(KernelTransport::IoUring)
        }
    }
}

/// AF_XDP, if it is wanted and works.
fn bypass(
    config: &Config,
    rules: &Rules,
    listeners: &[SocketAddr],
    workers: usize,
) -> Result<Option<xdp::Opened>, DatapathError> {
    let has_interface = !config.interface.is_empty();
    match config.datapath {
        // DPDK has a plan of its own.
        Datapath::Kernel | Datapath::Dpdk => Ok(None),
        Datapath::Auto if !has_interface => Ok(None),
        Datapath::Auto => match xdp::open(config, rules, listeners, workers) {
            Ok(opened) => Ok(Some(opened)),
            Err(problem) => {
                warn!("AF_XDP is not used: {problem}; kernel sockets serve all clients");
                Ok(None)
            }
        },
        Datapath::Xdp if !has_interface => Err(DatapathError::NoInterface),
        Datapath::Xdp => {
            xdp::open(config, rules, listeners, workers).map(Some).map_err(DatapathError::Xdp)
        }
    }
}

fn keepalive_idle(config: &Config) -> Option<Duration> {
    Some(Duration::from_secs(config.tcp_keepalive_secs)).filter(|idle| !idle.is_zero())
}

fn user_timeout(config: &Config) -> Option<Duration> {
    Some(Duration::from_secs(config.tcp_user_timeout_secs)).filter(|timeout| !timeout.is_zero())
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
        let listeners = match kernel::bind(SocketAddr::new(addr, port), workers, config.tcp_backlog)
        {
            Ok(listeners) => listeners,
            Err(problem) if is_optional && is_missing(&problem) => {
                info!("not served: {problem}");
                continue;
            }
            Err(problem) => return Err(problem.into()),
        };
        if let Some(first) = listeners.first() {
            let local = kernel::local_addr(first)
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
