//! The real binary, as clients and administrators see it. Every test has its own server on a free
//! port, and its own directory.

// Always the case here; clippy learns by it that these modules may unwrap and panic.
#![cfg(test)]

mod admin;
mod blocking;
mod commands;
mod configuration;
mod conversations;
mod crash;
mod device;
mod disk_full;
mod latency;
mod lifetime;
mod limits;
mod linearizable;
mod metrics;
mod pubsub;
mod reclaim;
mod support;
mod tenants;
mod tracking;
