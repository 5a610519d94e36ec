//! [`open`]: ports and XDP program of a server, in one step.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;

use coney_xdp_prog::{AttachedMode, Mode, Program, Rules, SERVED_MAX};
use rustix::io::Errno;

use super::error::Error;
use super::interface::Interface;
use super::limits::{chunk_bytes, rx_frame_bytes_max};
use super::options::{CopyMode, Options};
use super::port::AfXdpPort;
use super::self_test;

/// Which receive queues of an interface get a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queues {
    /// Every one; an interface that does not tell how many it has is taken to have one.
    All,
    /// The first so many. Connections that the NIC hashes to another queue are the kernel's.
    First(u32),
}

/// Which frames come to the ports.
#[derive(Clone, Copy, Debug)]
pub struct Steering<'a> {
    /// TCP to these addresses and ports.
    pub endpoints: &'a [SocketAddr],
    /// Whose frames are let in, and how many SYNs.
    pub rules: &'a Rules,
}

/// Whether there is such an interface, in the calling thread's network namespace.
///
/// # Errors
/// [`Error::NoSuchInterface`], [`Error::Other`].
pub fn check_exists(interface: &str) -> Result<(), Error> {
    Interface::query(interface).map(|_properties| ())
}

/// Attaches the XDP program to `interface`, opens one port per queue (in the order of the queues)
/// and steers frames to them.
///
/// Steering begins last, when every queue has its socket, the self-test has shown that they work
/// (it sends one frame from each port, to nobody), and the rules hold; a kernel listener on the same endpoints
/// serves until then, and again when a port or the program is dropped. The program is attached
/// before the sockets are bound, because some drivers prepare their queues for zero-copy only
/// then.
///
/// Dropping the [`Program`] detaches it; it must live as long as frames shall arrive.
///
/// # Errors
/// See [`Error`]; nothing stays attached then.
pub fn open(
    interface: &str,
    queues: Queues,
    steering: &Steering<'_>,
    attach: Mode,
    options: &Options,
) -> Result<(Program, Vec<AfXdpPort>), Error> {
    options.check()?;
    let properties = Interface::query(interface)?;
    let chunk_bytes = chunk_bytes(properties.mtu_bytes).ok_or_else(|| Error::MtuTooBig {
        interface: interface.to_owned(),
        mtu_bytes: properties.mtu_bytes,
    })?;
    let queue_count = match (queues, properties.queues) {
        (Queues::All, Some(counts)) => counts.rx,
        (Queues::All, None) => 1,
        (Queues::First(count), Some(counts)) if count > counts.rx => {
            return Err(Error::QueueOutOfRange {
                interface: interface.to_owned(),
                queue: count - 1,
                queues: Some(counts.rx),
            });
        }
        (Queues::First(count), _) => count,
    };
    let mut program = Program::load(&coney_xdp_prog::Options {
        frame_bytes_max: rx_frame_bytes_max(chunk_bytes),
        // A client has an endpoint for each connection, and the self-test needs one.
        served_max: u32::try_from(steering.endpoints.len() + 1).unwrap_or(u32::MAX).max(SERVED_MAX),
    })?;
    let attached = program.attach(interface, attach)?;
    let options = Options { mode: mode_under(attached, options.mode, &properties)?, ..*options };
    let mut ports = Vec::new();
    for queue in 0..queue_count {
        let port = AfXdpPort::open(interface, queue, &options)?;
        program.set_xsk(queue, port.as_fd())?;
        ports.push(port);
    }
    self_test::run(interface, &mut program, &mut ports)?;
    program.set_rules(steering.rules)?;
    for endpoint in steering.endpoints {
        program.serve(*endpoint)?;
    }
    let endpoints = steering.endpoints.len();
    tracing::info!(interface, queues = queue_count, %attached, endpoints, "AF_XDP serves");
    Ok((program, ports))
}

/// Zero-copy needs the program in the driver: in skb mode the frame is in an sk_buff already when
/// the program sees it, so the socket must copy.
fn mode_under(
    attached: AttachedMode,
    wanted: CopyMode,
    interface: &Interface,
) -> Result<CopyMode, Error> {
    match (attached, wanted) {
        (AttachedMode::Native, _) | (AttachedMode::Skb, CopyMode::Copy) => Ok(wanted),
        (AttachedMode::Skb, CopyMode::Auto) => Ok(CopyMode::Copy),
        (AttachedMode::Skb, CopyMode::ZeroCopy) => Err(Error::ZeroCopyUnsupported {
            interface: interface.name.clone(),
            queue: 0,
            driver: interface.driver_name().to_owned(),
            source: Errno::OPNOTSUPP.into(),
        }),
    }
}
