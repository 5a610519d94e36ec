//! Scores as clients write them.

/// A score or weight, as Redis's `string2d` reads it, without hexadecimal numbers: `None` for what
/// is none, for NaN, and for what a double cannot hold.
pub(super) fn double(arg: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(arg).ok()?;
    let value: f64 = text.parse().ok()?;
    let mantissa = || text.bytes().take_while(|byte| !matches!(byte, b'e' | b'E'));
    let is_spelt_out = mantissa().any(|byte| byte.eq_ignore_ascii_case(&b'n'));
    let is_overflow = value.is_infinite() && !is_spelt_out;
    let is_underflow = value == 0.0 && mantissa().any(|byte| matches!(byte, b'1'..=b'9'));
    (!value.is_nan() && !is_overflow && !is_underflow).then_some(value)
}

/// A bound of a range of scores, as `strtod` reads it: white space in front, nothing for 0, and
/// what a double cannot hold is the nearest that it can.
pub(super) fn bound(arg: &[u8]) -> Option<f64> {
    if arg.is_empty() {
        return Some(0.0);
    }
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let start = arg.iter().position(|byte| !is_space(byte)).unwrap_or(arg.len());
    let text = std::str::from_utf8(arg.get(start..)?).ok()?;
    text.parse().ok().filter(|value: &f64| !value.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_read_as_redis_reads_them() {
        for (text, value) in [
            ("1", 1.0),
            ("+1.5", 1.5),
            ("-.5", -0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("0e5", 0.0),
            ("4e-320", 4e-320),
        ] {
            assert_eq!(double(text.as_bytes()), Some(value), "{text:?}");
        }
        for text in ["", " 1", "1 ", "x", "nan", "1e400", "-1e400", "1e-400", ".", "(1"] {
            assert_eq!(double(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn bounds_are_read_as_redis_reads_them() {
        assert_eq!(bound(b""), Some(0.0));
        assert_eq!(bound(b" \t1"), Some(1.0));
        assert_eq!(bound(b"1e400"), Some(f64::INFINITY));
        for text in [" ", "1 ", "nan", "x"] {
            assert_eq!(bound(text.as_bytes()), None, "{text:?}");
        }
    }
}
