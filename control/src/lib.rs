//! The slow path: what is asked of a server rather than of its data. Pure logic over plain rows;
//! nothing here knows sockets, threads or clocks.
//!
//! - [`config`]: every setting, its file, and CONFIG GET and SET.
//! - [`info`]: INFO from rows that workers and the rest of the server fill in.
//! - [`metrics`]: the same for Prometheus.
//! - [`clients`]: CLIENT LIST, CLIENT INFO and CLIENT KILL.
//! - [`slowlog`]: the commands that took longest.
//! - [`latest`]: how fast a counter grew lately.

pub mod clients;
pub mod config;
pub mod info;
pub mod latency;
pub mod latest;
pub mod metrics;
pub mod slowlog;
pub mod suggest;
