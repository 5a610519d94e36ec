//! AF_XDP: the XDP program on an interface, and one port with our own TCP for each of its queues.

use std::net::SocketAddr;
use std::time::Duration;

use coney_datapath::port::af_xdp::{self, AfXdpPort, Options, Queues};
use coney_datapath::tcp::config::Config as TcpConfig;
use coney_datapath::transport::Transport;
use coney_datapath::transport::tcp::{PortUnfit, TcpTransport};
use coney_xdp_prog::{Mode, Program};

use crate::host;

/// Why AF_XDP does not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XdpError {
    /// All addresses are loopback, which no frame comes to.
    #[error("no address of {0} is served: name one with --bind")]
    NoAddress(String),
    /// Frames are steered by their address, so it must be known.
    #[error("{0} stands for every address: name those of {1} with --bind")]
    AnyAddress(SocketAddr, String),
    /// The kernel or the driver refuses.
    #[error(transparent)]
    Open(#[from] af_xdp::Error),
    /// No random numbers.
    #[error("cannot read /dev/urandom: {0}")]
    Random(std::io::Error),
}

/// One queue of the interface, on its way to its worker's thread.
#[derive(Debug)]
pub(crate) struct Queue {
    port: AfXdpPort,
    tcp: TcpConfig,
}

impl Queue {
    /// The transport over this queue.
    ///
    /// # Errors
    /// [`PortUnfit`].
    pub(crate) fn open(self) -> Result<Box<dyn Transport>, PortUnfit> {
        Ok(Box::new(TcpTransport::new(self.port, self.tcp)?))
    }
}

/// Attaches the program to `interface`, opens its queues and steers clients of `listeners` to
/// them.
///
/// # Errors
/// [`XdpError`]; nothing stays attached then.
pub(crate) fn open(
    interface: &str,
    listeners: &[SocketAddr],
    conns_max: usize,
    keepalive_idle: Option<Duration>,
) -> Result<(Program, Vec<Queue>), XdpError> {
    if let Some(any) = listeners.iter().find(|addr| addr.ip().is_unspecified()) {
        return Err(XdpError::AnyAddress(*any, interface.to_owned()));
    }
    let endpoints: Vec<SocketAddr> =
        listeners.iter().filter(|addr| !addr.ip().is_loopback()).copied().collect();
    if endpoints.is_empty() {
        return Err(XdpError::NoAddress(interface.to_owned()));
    }
    let tcp = TcpConfig {
        listen: endpoints.clone(),
        secret: host::random().map_err(XdpError::Random)?,
        conns_max,
        keepalive_idle,
        ..TcpConfig::default()
    };
    let (program, ports) =
        af_xdp::open(interface, Queues::All, &endpoints, Mode::Auto, &Options::default())?;
    let queues = ports.into_iter().map(|port| Queue { port, tcp: tcp.clone() }).collect();
    Ok((program, queues))
}
