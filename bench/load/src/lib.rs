//! The load generator behind `coney bench`.
//!
//! - [`cli`]: what the user asks for. [`plan`]: the same, checked.
//! - [`keys`], [`workload`], [`request`]: which operations, on which keys, as which bytes.
//! - [`reply`]: how many replies some bytes are. [`client`]: one connection, without I/O.
//! - [`pace`]: when operations start: as soon as there is room (closed loop), or at a given rate
//!   whatever the server does (open loop).
//! - [`wire`]: what carries their bytes: sockets of the kernel, or our own TCP over AF_XDP.
//! - [`driver`]: one thread with its connections. [`run`]: threads, warm-up, progress.
//! - [`results`]: histograms and counts; [`report`] prints them, [`plot`] draws them.
//!
//! In an open loop, latency counts from the moment when an operation was to start and not from when
//! it could be sent: a server that pauses for a second is charged for everything that should have
//! happened in that second ("coordinated omission").

pub mod cli;
mod client;
mod driver;
mod keys;
mod pace;
mod plan;
mod plot;
mod reply;
mod report;
mod request;
mod results;
mod run;
mod wire;
mod workload;

pub use cli::BenchArgs;
pub use run::{BenchError, run};
pub use wire::xdp::XdpError;
