//! Time as plain values, and [`Clock`], the only reader of the operating system's clocks.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment on a monotonic clock: nanoseconds since an origin that the clock's owner chose.
///
/// Arithmetic saturates, so that no input can make it panic: 2^64 ns are 584 years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant {
    ns: u64,
}

impl Instant {
    /// The clock's origin.
    pub const ZERO: Self = Self { ns: 0 };

    /// The moment `ns` nanoseconds after the origin.
    pub const fn from_nanos(ns: u64) -> Self {
        Self { ns }
    }

    /// The moment `ms` milliseconds after the origin.
    pub const fn from_millis(ms: u64) -> Self {
        Self { ns: ms.saturating_mul(1_000_000) }
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.ns
    }

    /// Whole milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.ns / 1_000_000
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.ns.saturating_sub(earlier.ns))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        let ns = u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX);
        Self { ns: self.ns.saturating_add(ns) }
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        let ns = u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX);
        Self { ns: self.ns.saturating_sub(ns) }
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}ms", self.ns / 1_000_000, self.ns % 1_000_000)
    }
}

/// Wall-clock time: milliseconds since the Unix epoch. Deadlines of keys are stored in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct UnixMillis(pub u64);

/// Reads the operating system's clocks. Owned by the edge (worker loop, threads), never by logic.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock whose origin is one second before now, so that no real moment equals
    /// [`Instant::ZERO`].
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
    pub fn new() -> Self {
        let now = std::time::Instant::now();
        Self { origin: now.checked_sub(Duration::from_secs(1)).unwrap_or(now) }
    }

    /// The present moment on the monotonic clock.
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
    pub fn now(&self) -> Instant {
        let elapsed = std::time::Instant::now().duration_since(self.origin);
        Instant::ZERO + elapsed
    }

    /// The present wall-clock time; zero if the host's clock stands before 1970.
    pub fn unix_now(&self) -> UnixMillis {
        UnixMillis(u64::try_from(Self::since_epoch().as_millis()).unwrap_or(u64::MAX))
    }

    /// The present wall-clock time in microseconds since the Unix epoch.
    pub fn unix_now_micros(&self) -> u64 {
        u64::try_from(Self::since_epoch().as_micros()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
    fn since_epoch() -> Duration {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant::ZERO - Duration::from_secs(1), Instant::ZERO);
        assert_eq!(Instant::from_nanos(u64::MAX) + Duration::MAX, Instant::from_nanos(u64::MAX));
        assert_eq!(Instant::ZERO.since(Instant::from_millis(5)), Duration::ZERO);
    }

    #[test]
    fn the_clock_does_not_run_backwards() {
        let clock = Clock::new();
        let first = clock.now();
        assert!(clock.now() >= first);
        assert!(first > Instant::ZERO);
    }
}
