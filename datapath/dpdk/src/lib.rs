//! Frames through DPDK: one [`Queue`] is one queue pair of a device, with buffers of its own.
//!
//! ```text
//! eal     start DPDK in this process, once; what is refused before DPDK is asked
//! device  choose, configure and start a device; rte_flow rules for drivers that share theirs
//! queue   bursts; who owns which buffer
//! ffi     bindings to libdpdk and to the C shim in c/, all unsafe code
//! ```
//!
//! Without the feature `link` the crate is empty, and libdpdk is not needed.
//!
//! Invariants: one thread at a time uses a queue and its pools; pools live as long as the device
//! runs; a transmit buffer has a reference of ours as long as the queue lives, so that no driver
//! ever recycles it, and bytes are ours only while that is the only one.

#[cfg(feature = "link")]
mod device;
#[cfg(feature = "link")]
mod eal;
#[cfg(feature = "link")]
mod error;
#[cfg(feature = "link")]
mod ffi;
#[cfg(feature = "link")]
mod queue;

#[cfg(feature = "link")]
pub use device::{Options, open};
#[cfg(feature = "link")]
pub use eal::Eal;
#[cfg(feature = "link")]
pub use error::Error;
#[cfg(feature = "link")]
pub use queue::{Queue, RingFull, TxPart};
