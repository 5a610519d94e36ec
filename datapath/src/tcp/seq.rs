//! Sequence numbers (RFC 9293 §3.4): 32 bits that wrap, compared modulo 2^32.

use std::fmt;

/// A position in one direction's byte stream.
///
/// Comparison is meaningful for positions less than 2^31 apart, which a window below 2^30 (RFC 7323
/// §2.2) guarantees for all that passed the acceptability test; other values compare somehow, never
/// with a panic.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Seq(pub u32);

impl Seq {
    /// Whether this position lies before `other`.
    pub const fn before(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0) > 0x7fff_ffff
    }

    /// Whether this position lies behind `other`.
    pub const fn after(self, other: Self) -> bool {
        other.before(self)
    }

    /// Before `other` or the same.
    pub const fn at_or_before(self, other: Self) -> bool {
        !other.before(self)
    }

    /// Behind `other` or the same.
    pub const fn at_or_after(self, other: Self) -> bool {
        !self.before(other)
    }

    /// The position `bytes` further (wraps).
    pub const fn plus(self, bytes: u32) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// The position `bytes` back (wraps).
    pub const fn minus(self, bytes: u32) -> Self {
        Self(self.0.wrapping_sub(bytes))
    }

    /// Bytes from `earlier` to here; 0 if `earlier` is in fact behind.
    pub const fn since(self, earlier: Self) -> u32 {
        if self.before(earlier) { 0 } else { self.0.wrapping_sub(earlier.0) }
    }

    /// Whether this position is one of the `len_bytes` from `start` on.
    pub const fn within(self, start: Self, len_bytes: u32) -> bool {
        self.0.wrapping_sub(start.0) < len_bytes
    }

    /// The one that lies further.
    pub const fn max(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }

    /// The one that lies less far.
    pub const fn min(self, other: Self) -> Self {
        if self.before(other) { self } else { other }
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn order_is_that_of_the_distance_wherever_it_starts(
            start: u32,
            a in 0_u32..0x4000_0000,
            b in 0_u32..0x4000_0000,
        ) {
            let (x, y) = (Seq(start).plus(a), Seq(start).plus(b));
            prop_assert_eq!(x.before(y), a < b);
            prop_assert_eq!(x.after(y), a > b);
            prop_assert_eq!(x.at_or_before(y), a <= b);
            prop_assert_eq!(x.at_or_after(y), a >= b);
            prop_assert_eq!(x.since(y), a.saturating_sub(b));
            prop_assert_eq!(x.max(y), Seq(start).plus(a.max(b)));
            prop_assert_eq!(x.min(y), Seq(start).plus(a.min(b)));
            prop_assert_eq!(x.within(Seq(start), b), a < b);
            prop_assert_eq!(x.minus(a), Seq(start));
        }
    }
}
