//! The 80-bit floating point numbers in which Redis computes INCRBYFLOAT (`long double` on x86):
//! 64 bits of mantissa, rounded to nearest, ties to even, and printed with `%.17Lf`. Computed
//! exactly with big integers and rounded once, so that results are the same to the last digit.
//!
//! Different from Redis: hexadecimal numbers are not read, and numbers between zero and
//! 2^-16382 are not rounded to subnormal ones first, which the 17 decimals never show.

use std::fmt;

use num_bigint::{BigInt, BigUint, Sign};

/// Bits of the mantissa.
const MANTISSA_BITS: u64 = 64;
/// Numbers are below two to this power.
const EXPONENT_END: i64 = 16_384;
/// Longest text that is read, as in Redis.
const TEXT_LEN_MAX: usize = 5 * 1024 - 1;
/// Decimal exponents beyond this are out of range whatever the digits are.
const DECIMAL_EXPONENT_MAX: i64 = 11_000;
/// Digits after the point of what is printed.
const DECIMALS: usize = 17;

/// A finite number: `mantissa` times two to the power of `exponent`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LongDouble {
    is_negative: bool,
    mantissa: u64,
    exponent: i64,
}

impl LongDouble {
    pub(super) const ZERO: Self = Self { is_negative: false, mantissa: 0, exponent: 0 };

    /// Whether `text` is what `strtold` reads as infinity.
    pub(super) fn is_infinity(text: &[u8]) -> bool {
        let word = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
        word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"infinity")
    }

    /// Reads a decimal number as `strtold` does, with nothing before or after it. `None`: it is
    /// none, or out of range.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_LEN_MAX {
            return None;
        }
        let (is_negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let (number, exponent) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            None => (rest, 0),
            Some(at) => (&rest[..at], parse_exponent(&rest[at + 1..])?),
        };
        let (whole, fraction) = match number.iter().position(|&byte| byte == b'.') {
            None => (number, &b""[..]),
            Some(at) => (&number[..at], &number[at + 1..]),
        };
        let digits = [whole, fraction].concat();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let digits = BigUint::parse_bytes(&digits, 10)?;
        if digits == BigUint::ZERO {
            return Some(Self { is_negative, ..Self::ZERO });
        }
        let exponent = exponent - i64::try_from(fraction.len()).ok()?;
        if exponent.abs() > DECIMAL_EXPONENT_MAX {
            return None;
        }
        let power = BigUint::from(10_u8).pow(u32::try_from(exponent.unsigned_abs()).ok()?);
        let (numerator, denominator) =
            if exponent < 0 { (digits, power) } else { (digits * power, BigUint::from(1_u8)) };
        // So many bits that the quotient is longer than a mantissa; the remainder only matters in
        // being there or not.
        let shift = (MANTISSA_BITS + 2 + denominator.bits()).saturating_sub(numerator.bits());
        let shifted = numerator << shift;
        let mut quotient = &shifted / &denominator;
        let is_exact = &quotient * &denominator == shifted;
        quotient <<= 1_u8;
        if !is_exact {
            quotient += 1_u8;
        }
        Self::rounded(is_negative, &quotient, -1 - i64::try_from(shift).ok()?)
    }

    /// The sum; `None`: out of range.
    pub(super) fn add(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let sum = self.scaled(exponent)? + other.scaled(exponent)?;
        Self::rounded(sum.sign() == Sign::Minus, sum.magnitude(), exponent)
    }

    /// The number divided by two to the power of `exponent`, which is not larger than its own.
    fn scaled(self, exponent: i64) -> Option<BigInt> {
        let shift = u64::try_from(self.exponent - exponent).ok()?;
        let sign = if self.is_negative { Sign::Minus } else { Sign::Plus };
        Some(BigInt::from_biguint(sign, BigUint::from(self.mantissa) << shift))
    }

    /// The number nearest to `magnitude` times two to the power of `exponent`.
    fn rounded(is_negative: bool, magnitude: &BigUint, exponent: i64) -> Option<Self> {
        let excess = magnitude.bits().saturating_sub(MANTISSA_BITS);
        let rounded = shift_right_rounding(magnitude, excess);
        let mut exponent = exponent + i64::try_from(excess).ok()?;
        // Rounding up may have carried into one bit more, which is a power of two.
        let mantissa = match u64::try_from(&rounded) {
            Ok(mantissa) => mantissa,
            Err(_) => {
                exponent += 1;
                1 << (MANTISSA_BITS - 1)
            }
        };
        if mantissa == 0 {
            return Some(Self { is_negative, ..Self::ZERO });
        }
        let end = exponent + i64::from(u64::BITS - mantissa.leading_zeros());
        (end <= EXPONENT_END).then_some(Self { is_negative, mantissa, exponent })
    }
}

/// As `%.17Lf` prints it, without zeros at the end.
impl fmt::Display for LongDouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scaled = BigUint::from(self.mantissa) * BigUint::from(10_u8).pow(17);
        let bits = self.exponent.unsigned_abs();
        let scaled =
            if self.exponent < 0 { shift_right_rounding(&scaled, bits) } else { scaled << bits };
        let digits = format!("{scaled:0>width$}", width = DECIMALS + 1);
        let (whole, fraction) = digits.split_at(digits.len() - DECIMALS);
        let fraction = fraction.trim_end_matches('0');
        if self.is_negative && scaled != BigUint::ZERO {
            f.write_str("-")?;
        }
        f.write_str(whole)?;
        if fraction.is_empty() { Ok(()) } else { write!(f, ".{fraction}") }
    }
}

/// Divides by two to the power of `bits`, to the nearest, ties to even.
fn shift_right_rounding(value: &BigUint, bits: u64) -> BigUint {
    if bits == 0 {
        return value.clone();
    }
    let quotient = value >> bits;
    let remainder = value - (&quotient << bits);
    let half = BigUint::from(1_u8) << (bits - 1);
    if remainder > half || (remainder == half && quotient.bit(0)) {
        quotient + 1_u8
    } else {
        quotient
    }
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    // Longer ones are out of range; `parse` takes the sign.
    text.parse().ok().filter(|exponent: &i64| exponent.abs() <= DECIMAL_EXPONENT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let number = |text: &str| LongDouble::parse(text.as_bytes()).unwrap();
        number(a).add(number(b)).map(|sum| sum.to_string())
    }

    #[test]
    fn sums_are_those_of_redis() {
        // From `INCRBYFLOAT` of Redis 7.0 on x86-64.
        for (a, b, expected) in [
            ("10.5", "0.1", "10.6"),
            ("0.1", "0.2", "0.3"),
            ("5.0e3", "2.0e2", "5200"),
            ("3.0e3", "-3.0e3", "0"),
            ("1", "-1.5", "-0.5"),
            ("0", "1e-17", "0.00000000000000001"),
            ("0", "1e-18", "0"),
            ("0", "-1e-18", "0"),
            ("0", "123456789012345678901234567890", "123456789012345678899921813504"),
            ("0", ".5", "0.5"),
            ("0", "5.", "5"),
            ("0", "+1.25", "1.25"),
            ("0", "3.14159265358979323846", "3.14159265358979324"),
            ("1e20", "0.1", "100000000000000000000"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
    }

    #[test]
    fn the_range_ends_at_1_2e4932() {
        assert!(LongDouble::parse(b"1.1e4932").is_some());
        assert!(LongDouble::parse(b"1.2e4932").is_none());
        assert_eq!(sum("1.1e4932", "1.1e4932"), None);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", ".", "-", "e5", "1e", " 1", "1 ", "1x", "nan", "inf", "1e99999", "1..2"] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn integers_of_63_bits_are_exact(a in any::<i64>(), b in any::<i64>()) {
            let exact = i128::from(a) + i128::from(b);
            prop_assume!(i64::try_from(exact).is_ok());
            prop_assert_eq!(sum(&a.to_string(), &b.to_string()), Some(exact.to_string()));
        }

        #[test]
        fn parsing_never_panics(text: Vec<u8>) {
            let _outcome = LongDouble::parse(&text);
        }

        #[test]
        fn moderate_numbers_read_back(whole in -9_999_i64..10_000, cents in 0_u8..100) {
            let text = format!("{whole}.{cents:02}");
            let number = LongDouble::parse(text.as_bytes()).unwrap();
            let back: f64 = number.to_string().parse().unwrap();
            prop_assert_eq!(back.to_bits(), text.parse::<f64>().unwrap().to_bits());
        }
    }
}
