//! AF_XDP: ports, XDP program and TCP for the addresses that an interface has.

use std::net::{IpAddr, SocketAddr};

use coney_control::config::{Config, XdpMode};
use coney_datapath::neighbour::Resolver;
use coney_datapath::neighbour::kernel::Kernel;
use coney_datapath::port::af_xdp::{self, AfXdpPort, Queues, Steering};
use coney_datapath::tcp::config::Config as TcpConfig;
use coney_datapath::transport::tcp::{PortUnfit, TcpTransport};
use coney_xdp_prog::{Mode, Program, Rules};
use tracing::{info, warn};

use super::{keepalive_idle, user_timeout};

/// Connections beyond `maxclients` that a worker's TCP accepts, so that their clients can be told.
const REFUSED_CONNS_MAX: usize = 256;

/// Why AF_XDP cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XdpUnavailable {
    /// No permission, no such interface, no support in driver or kernel.
    #[error(transparent)]
    Port(#[from] af_xdp::Error),
    /// None of the served addresses is one of the interface's.
    #[error(
        "interface {interface} has none of the served addresses ({served}): bind one that it has \
         (`ip address show {interface}`), such as --bind 192.0.2.1"
    )]
    NoAddress { interface: String, served: String },
    /// The addresses of the host cannot be listed.
    #[error("the addresses of interface {interface} cannot be listed: {source}")]
    Addresses { interface: String, source: std::io::Error },
    /// TCP does not fit the interface.
    #[error(transparent)]
    Unfit(#[from] PortUnfit),
    /// The kernel gives no random numbers.
    #[error("no random numbers for TCP's secrets: {0}")]
    Random(std::io::Error),
}

/// An interface that is ready to serve. Steering ends when the program is dropped.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) program: Program,
    /// One for each receive queue.
    pub(super) transports: Vec<TcpTransport<AfXdpPort>>,
    /// Finds next hops for the transports, on a thread of its own.
    pub(super) resolver: Option<Resolver<Kernel>>,
}

/// Serves those of `listeners` that the configured interface has.
///
/// # Errors
/// [`XdpUnavailable`]; nothing stays attached then.
pub(super) fn open(
    config: &Config,
    rules: &Rules,
    listeners: &[SocketAddr],
    workers: usize,
) -> Result<Opened, XdpUnavailable> {
    let interface = &config.interface;
    let own = addresses_of(interface)?;
    let endpoints = endpoints(listeners, &own);
    if endpoints.is_empty() {
        // An interface that does not exist is the better explanation.
        af_xdp::check_exists(interface)?;
        let served: Vec<String> = listeners.iter().map(ToString::to_string).collect();
        let served = served.join(", ");
        return Err(XdpUnavailable::NoAddress { interface: interface.clone(), served });
    }
    let mode = match config.xdp_mode {
        XdpMode::Auto => Mode::Auto,
        XdpMode::Native => Mode::Native,
        XdpMode::Skb => Mode::Skb,
    };
    let options = af_xdp::Options::default();
    let steering = Steering { endpoints: &endpoints, rules };
    let (program, ports) = af_xdp::open(interface, Queues::All, &steering, mode, &options)?;
    if ports.len() < workers {
        warn!(
            "{interface} has {} receive queue(s) for {workers} workers: the others serve kernel \
             sockets only",
            ports.len()
        );
    }
    let secret = coney_base::random().map_err(XdpUnavailable::Random)?;
    let interface_index = ports.first().map_or(0, AfXdpPort::interface_index);
    let mut transports: Vec<_> = ports
        .into_iter()
        .map(|port| TcpTransport::new(port, tcp_config(config, &endpoints, secret)))
        .collect::<Result<_, _>>()?;
    let resolver = resolver(interface_index, &mut transports);
    for endpoint in &endpoints {
        info!("{endpoint} is served over AF_XDP on {interface}");
    }
    Ok(Opened { program, transports, resolver })
}

/// Connects the transports with the kernel's routes and neighbours.
fn resolver(
    interface_index: u32,
    transports: &mut [TcpTransport<AfXdpPort>],
) -> Option<Resolver<Kernel>> {
    let kernel = match Kernel::open() {
        Ok(kernel) => kernel,
        Err(errno) => {
            warn!("next hops are learnt from received frames only, no netlink socket: {errno}");
            return None;
        }
    };
    let (resolver, clients) = Resolver::new(kernel, interface_index, transports.len());
    for (transport, client) in transports.iter_mut().zip(clients) {
        transport.set_neighbours(client);
    }
    Some(resolver)
}

pub(super) fn tcp_config(config: &Config, endpoints: &[SocketAddr], secret: [u8; 16]) -> TcpConfig {
    TcpConfig {
        listen: endpoints.to_vec(),
        secret,
        conns_max: config.maxclients.saturating_add(REFUSED_CONNS_MAX),
        keepalive_idle: keepalive_idle(config),
        user_timeout: user_timeout(config),
        ..TcpConfig::default()
    }
}

fn addresses_of(interface: &str) -> Result<Vec<IpAddr>, XdpUnavailable> {
    let all = if_addrs::get_if_addrs()
        .map_err(|source| XdpUnavailable::Addresses { interface: interface.to_owned(), source })?;
    Ok(all.iter().filter(|one| one.name == interface).map(if_addrs::Interface::ip).collect())
}

/// The endpoints that an interface with the addresses `own` serves: `0.0.0.0` and `::` stand for
/// all its addresses of that family. No frame comes to a loopback address.
fn endpoints(listeners: &[SocketAddr], own: &[IpAddr]) -> Vec<SocketAddr> {
    let mut endpoints = Vec::new();
    for listener in listeners {
        for &addr in own.iter().filter(|addr| !addr.is_loopback()) {
            let is_meant = addr == listener.ip()
                || (listener.ip().is_unspecified() && addr.is_ipv4() == listener.is_ipv4());
            let endpoint = SocketAddr::new(addr, listener.port());
            if is_meant && !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
    }
    endpoints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_all_addresses_of_their_family() {
        let own: [IpAddr; 4] = ["127.0.0.1", "192.0.2.1", "192.0.2.2", "2001:db8::1"]
            .map(|text| text.parse().unwrap());
        let served = |listeners: &[&str]| {
            let listeners: Vec<SocketAddr> =
                listeners.iter().map(|text| text.parse().unwrap()).collect();
            let endpoints = endpoints(&listeners, &own);
            endpoints.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(served(&["0.0.0.0:7"]), ["192.0.2.1:7", "192.0.2.2:7"]);
        assert_eq!(served(&["[::]:7"]), ["[2001:db8::1]:7"]);
        assert_eq!(served(&["127.0.0.1:7", "192.0.2.2:7"]), ["192.0.2.2:7"]);
        assert_eq!(served(&["127.0.0.1:7"]), [""; 0]);
    }
}
