//! AF_XDP: frames between a NIC queue and user space without the kernel's network stack.
//!
//! One [`AfXdpPort`] is one queue pair of one interface with packet memory (UMEM) of its own. The
//! XDP program of coney-xdp-prog decides which frames come to it; [`open`] brings both together.
//! What to set up, what the counters mean and which drivers misbehave is told in docs/af-xdp.md.
//!
//! ```text
//! port      the Port implementation: bursts, kicks, counters
//! socket    create, configure, bind
//! ring      producer and consumer end of the four rings
//! umem      receive and transmit pools; who owns which chunk
//! tx_metadata  what the device is told of a frame that is sent
//! sys       all unsafe code
//! interface what ioctls tell of an interface
//! netdev    what netlink tells of its driver's XDP features
//! probe     what is possible on an interface, without touching its traffic
//! server    ports and program in one step
//! self_test proof that they work together
//! ```
//!
//! Invariants: a chunk has one owner at a time, and its bytes are reachable only for that owner;
//! the fill ring has room for every receive chunk, so giving back never fails; a transmit frame is
//! submitted again only after its completion.
//!
//! This module must not know what is in a frame beyond its length.

mod error;
mod interface;
mod limits;
mod netdev;
mod options;
mod port;
mod probe;
mod ring;
mod self_test;
mod server;
mod socket;
mod sys;
#[cfg(test)]
pub(in crate::port) mod tests;
mod tx_metadata;
mod umem;

pub use error::Error;
pub use limits::MTU_BYTES_MAX;
pub use options::{BusyPoll, CopyMode, Options};
pub use port::AfXdpPort;
pub use probe::{Answer, Depth, Reason, Report, probe};
pub use self_test::Step;
pub use server::{Queues, Steering, check_exists, open};
