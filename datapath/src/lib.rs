//! Packets and bytes: from a NIC queue or a kernel socket to in-order request bytes, and back.
//!
//! Two layers, each behind one trait:
//! - [`port::Port`]: one NIC queue pair that moves frames (AF_XDP, in memory).
//! - [`transport::Transport`]: connections that move bytes (our TCP over a port, kernel sockets).
//!
//! This crate knows nothing of commands. RESP framing lives in the leaf crate `coney-resp`.

pub mod port;
pub mod transport;
