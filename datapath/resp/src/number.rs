//! Numbers as Redis reads and writes them.

/// Parses a decimal 64-bit integer strictly, as `string2ll` does: an optional minus, no plus, no
/// leading zero but `0` itself, no white space, nothing after it.
pub fn parse_i64(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Writes a double in the shortest form that reads back the same, laid out as Redis 7.2 does
/// (`fpconv_dtoa`): plain digits for moderate exponents, `1e+20` beyond; `inf`, `-inf`, `nan`.
pub fn write_double(out: &mut Vec<u8>, value: f64) {
    use std::io::Write;
    if value.is_nan() {
        out.extend_from_slice(b"nan");
        return;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value < 0.0 { b"-inf" } else { b"inf" });
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    if value == 0.0 {
        out.push(b'0');
        return;
    }
    // `{:e}` gives the shortest digits: d[.ddd]e[-]x, at most 17 digits and 3 of the exponent.
    let mut text = [0_u8; 32];
    let mut cursor = &mut text[..];
    write!(cursor, "{:e}", value.abs()).expect("17 digits and an exponent fit 32 bytes");
    let unused = cursor.len();
    let text = &text[..32 - unused];
    let mut digits = [0_u8; 20];
    let mut ndigits = 0_usize;
    let mut exponent = 0_i32;
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'e' => {
                let tail = std::str::from_utf8(&text[at + 1..]).unwrap_or("0");
                exponent = tail.parse().unwrap_or(0);
                break;
            }
            b'.' => {}
            digit => {
                digits[ndigits] = digit;
                ndigits += 1;
            }
        }
    }
    lay_out(out, &digits[..ndigits], exponent);
}

/// Lays out `digits` times ten to the power that puts the first digit at 10^`exponent`.
fn lay_out(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    let count = i32::try_from(digits.len()).expect("at most 17 digits");
    // The power of ten of the last digit.
    let last_power = exponent - count + 1;
    if last_power >= 0 && exponent < count + 7 {
        out.extend_from_slice(digits);
        out.extend(std::iter::repeat_n(b'0', last_power.unsigned_abs() as usize));
    } else if last_power < 0 && (last_power > -7 || exponent.abs() < 4) {
        if exponent < 0 {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', exponent.unsigned_abs() as usize - 1));
            out.extend_from_slice(digits);
        } else {
            let (whole, fraction) = digits.split_at(exponent.unsigned_abs() as usize + 1);
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    } else {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        out.extend_from_slice(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn double(value: f64) -> String {
        let mut out = Vec::new();
        write_double(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn integers_are_read_strictly() {
        assert_eq!(parse_i64(b"0"), Some(0));
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_i64(b"9223372036854775807"), Some(i64::MAX));
        for bad in ["", "-", "+1", "01", "-0", " 1", "1 ", "1a", "9223372036854775808", "1e3"] {
            assert_eq!(parse_i64(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn doubles_look_as_in_redis() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (3.25, "3.25"),
            (0.1, "0.1"),
            (1e20, "1e+20"),
            (123_456_789.0, "123456789"),
            (1.5e300, "1.5e+300"),
            (1e-7, "1e-7"),
            (0.000_1, "0.0001"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (17_179_869_184.0, "17179869184"),
        ] {
            assert_eq!(double(value), text);
        }
    }

    proptest! {
        #[test]
        fn every_integer_reads_back(value: i64) {
            prop_assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
        }

        #[test]
        fn every_double_reads_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(double(value).parse::<f64>().unwrap().to_bits(), bits);
        }
    }
}
