//! The XDP program that steers TCP for served endpoints to AF_XDP sockets, and its loader.
//!
//! The program is C (`bpf/steer.bpf.c`), compiled by the build script and embedded; what it does
//! with which frame is told there. [`Program`] loads, attaches and configures it:
//! ```no_run
//! # fn example(xsk: std::os::fd::BorrowedFd<'_>) -> Result<(), coney_xdp_prog::Error> {
//! use coney_xdp_prog::{Mode, Options, Program};
//!
//! let mut program = Program::load(&Options::default())?;
//! program.attach("eth0", Mode::Auto)?;
//! program.serve("192.0.2.1:6379".parse().expect("an address"))?;
//! program.set_xsk(0, xsk)?; // from now on frames arrive at the socket
//! # Ok(())
//! # }
//! ```
//! Loading and attaching need CAP_BPF and CAP_NET_ADMIN; the rest only the open [`Program`], so a
//! process can drop its privileges after set-up. The program lives as long as the [`Program`]:
//! it is attached by an unpinned bpf_link, so that even a killed process leaves a clean interface
//! and new connections reach the kernel's listener.
//!
//! This crate knows nothing of rings and frames: those are coney-datapath's.

mod error;
mod layout;
mod object;
mod program;
mod rules;

pub use error::Error;
pub use layout::{ACCESS_MAX, QUEUES_MAX, SERVED_MAX, SYN_SOURCES_MAX, Verdict};
pub use object::OBJECT;
pub use program::{Action, AttachedMode, Counters, Mode, Options, Program};
pub use rules::{AccessList, Rules, RulesError};
