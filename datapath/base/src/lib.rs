//! What every crate of Coney may use and what depends on nothing of Coney: time as values and the
//! one place that reads the clock, patterns, random bytes, the states of packet frames, hints to the CPU.
//!
//! Protocol and storage logic takes [`Instant`] and [`UnixMillis`] as arguments, so that the same
//! code runs under the real clock and in the simulator.

pub mod frame_pool;
pub mod glob;
mod random;
mod sys;
pub mod time;

pub use frame_pool::FramePool;
pub use random::random;
pub use sys::prefetch;
pub use time::{Clock, Instant, UnixMillis};
