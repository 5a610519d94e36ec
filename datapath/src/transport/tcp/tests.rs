//! Scripts of exact segments and times, grouped by what they are about, and a simulation of two
//! stacks over a faulty link.

mod addressing;
mod admission;
mod app;
mod close;
mod conformance;
mod cookies;
mod handshake;
mod hostile;
mod limits;
mod path;
mod pressure;
mod reset;
mod retransmit;
mod sack;
mod scale;
mod script;
mod simulation;
mod user_timeout;
mod window;
