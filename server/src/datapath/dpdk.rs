//! DPDK: a device without a kernel behind it, and our TCP for the addresses of `bind`.
//!
//! No kernel has these addresses, so none is asked whether they exist: what `bind` names besides
//! loopback addresses is ours, and we answer ARP, neighbour discovery and echo requests for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use coney_control::config::keys::kernel_transport_word;
use coney_control::config::{Bind, Config};
use coney_datapath::admission::Admission;
use coney_datapath::port::Port as _;
use coney_datapath::port::dpdk::{self, Eal, Options};
use coney_datapath::responder::Responder;
use coney_datapath::transport::tcp::{PortUnfit, TcpTransport};
use coney_xdp_prog::Rules;
use tracing::{info, warn};

use super::{Bypass, DatapathError, Plan, empty_parts, kernel_transport, listen, xdp};

/// Why DPDK cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DpdkUnavailable {
    /// DPDK or the driver refuses.
    #[error(transparent)]
    Port(#[from] dpdk::Error),
    /// Only loopback addresses, or wildcards, which stand for nothing here.
    #[error(
        "no address is named that the device shall have: add one that no interface of this host \
         has, such as --bind 192.0.2.1"
    )]
    NoAddress,
    /// Nobody can choose a free port but a kernel.
    #[error("port 0 is not possible: name one with --port")]
    NoPort,
    /// TCP does not fit the device.
    #[error(transparent)]
    Unfit(#[from] PortUnfit),
    /// The kernel gives no random numbers.
    #[error("no random numbers for TCP's secrets: {0}")]
    Random(std::io::Error),
}

/// Starts DPDK and serves the addresses of `bind` over it; loopback addresses over kernel sockets.
///
/// # Errors
/// [`DatapathError`].
pub(super) fn plan(
    config: &Config,
    rules: &Arc<Rules>,
    workers: usize,
) -> Result<Plan, DatapathError> {
    let (local, own): (Vec<Bind>, Vec<Bind>) =
        config.bind.iter().copied().partition(|bind| bind.addr.is_loopback());
    let addresses: Vec<IpAddr> =
        own.iter().map(|bind| bind.addr).filter(|addr| !addr.is_unspecified()).collect();
    if addresses.is_empty() {
        return Err(DpdkUnavailable::NoAddress.into());
    }
    if config.port == 0 {
        return Err(DpdkUnavailable::NoPort.into());
    }
    let mut parts = empty_parts(config, workers)?;
    let mut listeners = Vec::new();
    if !local.is_empty() {
        let local = Config { bind: local, ..config.clone() };
        for (addr, sockets) in listen(&local, workers)? {
            listeners.push(addr);
            for (part, socket) in parts.iter_mut().zip(sockets) {
                part.listeners.push(socket);
            }
        }
    }
    let endpoints: Vec<SocketAddr> =
        addresses.iter().map(|addr| SocketAddr::new(*addr, config.port)).collect();
    let transports = open(config, rules, &endpoints, workers)?;
    for (queue, transport) in transports.into_iter().enumerate() {
        let part = parts.get_mut(queue % workers).expect("there is at least one worker");
        part.bypass.push(Bypass::Dpdk(transport));
    }
    listeners.extend(&endpoints);
    let kernel_transport = kernel_transport_word(kernel_transport(config)?);
    Ok(Plan { name: "dpdk", kernel_transport, listeners, parts, program: None, resolver: None })
}

fn open(
    config: &Config,
    rules: &Arc<Rules>,
    endpoints: &[SocketAddr],
    workers: usize,
) -> Result<Vec<TcpTransport<dpdk::DpdkPort>>, DpdkUnavailable> {
    let secret = coney_base::random().map_err(DpdkUnavailable::Random)?;
    let eal = Eal::start(&config.eal)?;
    let options = Options {
        queues: u16::try_from(workers).unwrap_or(u16::MAX),
        only: if config.dpdk_isolate { endpoints.to_vec() } else { Vec::new() },
        ..Options::default()
    };
    let ports = dpdk::open(eal, &config.interface, &options)?;
    if ports.len() < workers {
        warn!(
            "the DPDK device has {} queue(s) for {workers} workers: the others serve loopback only",
            ports.len()
        );
    }
    let addresses: Vec<IpAddr> = endpoints.iter().map(SocketAddr::ip).collect();
    let mac = ports.first().map_or([0; 6], |port| port.caps().mac);
    let responders = Responder::for_queues(mac, &addresses, ports.len());
    let mut transports = Vec::new();
    for (port, responder) in ports.into_iter().zip(responders) {
        let tcp = xdp::tcp_config(config, endpoints, secret);
        let mut transport = TcpTransport::new(port, tcp)?;
        transport.set_admission(Admission::new(Arc::clone(rules), secret));
        // With isolation the kernel has these addresses and answers.
        if !config.dpdk_isolate {
            transport.set_responder(responder);
        }
        transports.push(transport);
    }
    for endpoint in endpoints {
        info!("{endpoint} is served over DPDK");
    }
    Ok(transports)
}
