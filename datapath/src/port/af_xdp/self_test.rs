//! [`run`]: proof that ports and program work together, before any client's frame comes this way.
//!
//! What it proves: the program steers a frame that arrives at each queue to a socket; the device
//! takes a frame from each port and says that it is done with it; the kernel's statistics can be
//! read. What it cannot prove without a peer: that the NIC brings a received frame to the program
//! and the program's redirect to the ring, and that a frame which the device took reached the wire.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::time::Duration;

use coney_xdp_prog::{Action, Program};
use rustix::net::sockopt;

use super::error::Error;
use super::port::AfXdpPort;
use super::socket::pause;
use crate::port::Port as _;

/// "Local experimental", IEEE 802: nobody acts on it.
const ETHER_TYPE: u16 = 0x88b6;
/// Ethernet's minimum, without the checksum.
const FRAME_LEN: usize = 60;
/// How long a frame may take to leave, and how often it is looked after.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(2);

/// An endpoint to which no frame is ever sent.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9);

/// What did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Step {
    /// The program did not redirect a frame.
    #[error(
        "the XDP program does not steer frames of this queue to the socket, although it was put \
         into the program's map"
    )]
    Steering,
    /// A frame that was given to the device did not come back.
    #[error(
        "the device did not take a frame within a second (is its link up? some drivers bind and \
         then fail to transmit, see the log)"
    )]
    Transmit,
}

/// Tests every queue. `program` must not steer anything yet.
pub(super) fn run(
    interface: &str,
    program: &mut Program,
    ports: &mut [AfXdpPort],
) -> Result<(), Error> {
    program.serve(NOWHERE)?;
    let result = ports.iter_mut().zip(0..).try_for_each(|(port, queue)| {
        let failed = |step| Error::SelfTest { interface: interface.to_owned(), queue, step };
        if program.dry_run_at(&segment_to_nowhere(), interface, queue)? != Action::Redirect {
            return Err(failed(Step::Steering));
        }
        if !transmits(port) {
            return Err(failed(Step::Transmit));
        }
        sockopt::xdp_statistics(port.as_fd()).map_err(|errno| Error::Other {
            action: "read the statistics of an AF_XDP socket",
            source: errno.into(),
        })?;
        Ok(())
    });
    program.unserve(NOWHERE)?;
    result
}

/// Sends a frame from the port's own address to the same: a switch does not return it, and no host
/// takes it.
fn transmits(port: &mut AfXdpPort) -> bool {
    let mac = port.caps().mac;
    let Some(mut frame) = port.tx_alloc() else { return false };
    let header = [&mac[..], &mac, &ETHER_TYPE.to_be_bytes()].concat();
    let bytes = port.tx_bytes_mut(&mut frame).get_mut(..FRAME_LEN).unwrap_or_default();
    bytes.fill(0);
    for (to, from) in bytes.iter_mut().zip(header) {
        *to = from;
    }
    let mut waited = Duration::ZERO;
    if port.tx_submit(&mut frame, 0, FRAME_LEN).is_ok() {
        port.tx_flush();
        while port.tx_in_flight(&frame) && waited < PATIENCE {
            pause(PAUSE);
            waited += PAUSE;
            port.tx_flush();
        }
    }
    let has_left = waited < PATIENCE;
    port.tx_free(frame);
    has_left
}

/// A TCP segment without payload to [`NOWHERE`].
fn segment_to_nowhere() -> [u8; FRAME_LEN] {
    let mut frame = [0; FRAME_LEN];
    let headers = [
        &[0; 12][..],
        &[0x08, 0x00],                                   // IPv4
        &[0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0],   // 40 bytes, of TCP
        &[0; 8],                                         // addresses
        &[0, 9, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 16], // ports, ..., ACK
    ];
    for (to, from) in frame.iter_mut().zip(headers.concat()) {
        *to = from;
    }
    frame
}
