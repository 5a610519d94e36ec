//! The options of `coney bench`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::keys::Distribution;
use crate::pace::Arrivals;
use crate::wire::Transport;
use crate::workload::Workload;

/// See the module page. Defaults that depend on others are chosen in [`crate::plan`].
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    coney bench                                     GET, 50 connections, as fast as it goes\n  \
    coney bench --workload set --pipeline 16        16 SETs on their way for each connection\n  \
    coney bench --rate 20000 --plot latency.svg     20,000 a second whatever the server does, and a picture\n  \
    coney bench --workload ycsb-a --load            fill the server with YCSB's records first\n  \
    coney bench --command 'LPUSH list __value__'    any command")]
pub struct BenchArgs {
    /// The server's address
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:6379")]
    pub server: SocketAddr,
    /// Whose TCP the client uses
    #[arg(long, value_enum, default_value_t = Transport::Kernel)]
    pub transport: Transport,
    /// The network interface that leads to the server, for --transport xdp; it must have one receive queue
    #[arg(long, value_name = "NAME", required_if_eq("transport", "xdp"))]
    pub interface: Option<String>,
    /// Password
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// User of the password
    #[arg(long, value_name = "USER", requires = "password")]
    pub user: Option<String>,
    /// Database
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub database: u16,
    /// Protocol version
    #[arg(long, value_name = "VERSION", default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=3))]
    pub resp: u8,
    /// What to measure
    #[arg(long, value_enum, default_value_t = Workload::Get)]
    pub workload: Workload,
    /// A command of your own instead; the words __key__ and __value__ are replaced
    #[arg(long, value_name = "COMMAND", conflicts_with = "workload")]
    pub command: Option<String>,
    /// Share of GETs in --workload mixed
    #[arg(long, value_name = "SHARE", default_value_t = 0.9)]
    pub read_share: f64,
    /// Connections, over all threads
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub connections: usize,
    /// Operations on their way for each connection
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub pipeline: usize,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
    /// Operations a second, whatever the server does; latency then counts from when each was due.
    /// Without it, as many as the server answers
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// How the moments of --rate lie
    #[arg(long, value_enum, default_value_t = Arrivals::Constant)]
    pub arrivals: Arrivals,
    /// Seconds to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub seconds: f64,
    /// Seconds before that are not counted
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub warm_up: f64,
    /// Number of different keys
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub keys: u64,
    /// How keys are chosen [default: that of the workload, or else uniform]
    #[arg(long, value_enum)]
    pub distribution: Option<Distribution>,
    /// Skew of the zipfian distributions
    #[arg(long, value_name = "THETA", default_value_t = 0.99)]
    pub theta: f64,
    /// Bytes of a value: a number, or a range such as 16-1024 [default: 64; 100 for YCSB's fields]
    #[arg(long, value_name = "BYTES")]
    pub value_bytes: Option<String>,
    /// Write all keys before measuring
    #[arg(long)]
    pub load: bool,
    /// Seed of all random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw latencies and throughput into this file (SVG)
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
}
