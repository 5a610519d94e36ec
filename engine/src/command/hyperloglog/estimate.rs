//! From registers to a count. Source: Otmar Ertl, "New cardinality estimation algorithms for
//! HyperLogLog sketches", arXiv:1702.01284, as `hllCount` of Redis computes it.

use super::sketch::{HISTOGRAM_LEN, Histogram, REGISTERS};

/// Bits of a hash that do not choose the register.
const Q: usize = 50;
/// 0.5 / ln 2
const ALPHA_INF: f64 = 0.721_347_520_444_481_7;

const _: () = assert!(Q + 1 < HISTOGRAM_LEN);

/// The count that the registers stand for.
pub(super) fn of(histogram: &Histogram) -> i64 {
    let m = f64::from(u32::try_from(REGISTERS).expect("16384"));
    let count = |value: usize| f64::from(histogram[value]);
    let mut z = m * tau((m - count(Q + 1)) / m);
    for value in (1..=Q).rev() {
        z += count(value);
        z *= 0.5;
    }
    z += m * sigma(count(0) / m);
    let estimate = (ALPHA_INF * m * m / z).round();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast from floating point saturates; 2^63 and more means nothing here"
    )]
    let estimate = estimate as i64;
    estimate
}

#[expect(clippy::float_cmp, reason = "until another term changes nothing, and at the edge itself")]
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let mut y = 1.0;
    let mut z = x;
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

#[expect(clippy::float_cmp, reason = "until another term changes nothing, and at the edges itself")]
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let mut y = 1.0;
    let mut z = 1.0 - x;
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}
