//! Structured logs on standard error. State changes only: never per command or packet.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people: time, level, message, fields.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Starts logging at `level` (a `tracing` filter such as `info` or `coney_datapath=debug`).
pub(crate) fn init(level: &str, format: Format) {
    let filter = EnvFilter::builder().parse_lossy(level);
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => {
            builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).init();
        }
        Format::Json => builder.json().flatten_event(true).init(),
    }
}
