//! What every crate of Coney may use and what depends on nothing of Coney: time as values and the
//! one place that reads the clock.
//!
//! Protocol and storage logic takes [`Instant`] and [`UnixMillis`] as arguments, so that the same
//! code runs under the real clock and in the simulator.

pub mod glob;
pub mod time;

pub use time::{Clock, Instant, UnixMillis};
