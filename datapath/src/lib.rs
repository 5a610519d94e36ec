//! Packets and bytes: from a NIC queue or a kernel socket to in-order request bytes, and back.
//!
//! Layers, bottom up:
//! - [`port::Port`]: one NIC queue pair that moves frames (AF_XDP, in memory).
//! - [`neighbour`]: next hops and their hardware addresses, from the kernel, beside the workers.
//! - [`responder`]: ARP, neighbour discovery and echo, on a port that shares no host with a kernel.
//! - [`admission`]: access lists and limits for SYNs, on a port without an XDP program.
//! - [`wire`]: formats of headers; bytes only.
//! - [`tcp`]: our TCP, a state machine without I/O: segments and time in, decisions out.
//! - [`transport::Transport`]: connections that move bytes (our TCP over a port, kernel sockets).
//!
//! This crate knows nothing of commands. RESP framing lives in the leaf crate `coney-resp`.

pub mod admission;
pub mod fuzz;
pub mod neighbour;
mod netlink;
pub mod port;
pub mod responder;
pub mod tcp;
pub mod transport;
pub mod wire;
