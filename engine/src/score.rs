//! Scores of sorted sets as bytes. Byte by byte in `docs/storage-format.md`.
//!
//! Next to its member in `data`, or in a compact body, a score is its IEEE 754 bits. In `score` it
//! comes in front of the member as a number whose order is that of the scores. The two zeros are
//! equal, and -0 is stored as 0 (as in Redis's listpacks). NaN is no score.

/// Bytes of a score.
pub const SCORE_LEN: usize = 8;

/// A score as it is stored with its member.
pub fn to_bytes(score: f64) -> [u8; SCORE_LEN] {
    without_sign_of_zero(score).to_bits().to_be_bytes()
}

/// Reads what [`to_bytes`] made; `None` for anything else.
pub fn from_bytes(bytes: &[u8]) -> Option<f64> {
    let bytes: [u8; SCORE_LEN] = bytes.try_into().ok()?;
    Some(f64::from_bits(u64::from_be_bytes(bytes))).filter(|score| !score.is_nan())
}

/// A number whose order is that of the scores.
pub fn rank(score: f64) -> u64 {
    const SIGN: u64 = 1 << 63;
    let bits = without_sign_of_zero(score).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn without_sign_of_zero(score: f64) -> f64 {
    if score == 0.0 { 0.0 } else { score }
}

/// Writes the element of a member in `score`, replacing what `out` held.
pub fn write_element(out: &mut Vec<u8>, score: f64, member: &[u8]) {
    out.clear();
    append_element(out, score, member);
}

/// Appends the element of a member in `score` to `out`.
pub fn append_element(out: &mut Vec<u8>, score: f64, member: &[u8]) {
    out.extend_from_slice(&rank(score).to_be_bytes());
    out.extend_from_slice(member);
}

/// Takes an element of `score` apart.
pub fn parse_element(element: &[u8]) -> Option<(f64, &[u8])> {
    const SIGN: u64 = 1 << 63;
    let (rank, member) = element.split_first_chunk::<SCORE_LEN>()?;
    let rank = u64::from_be_bytes(*rank);
    let score = f64::from_bits(if rank & SIGN == 0 { !rank } else { rank & !SIGN });
    (!score.is_nan()).then_some((score, member))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_scores() {
        let mut element = Vec::new();
        write_element(&mut element, 1.5, b"m");
        assert_eq!(element, *b"\xbf\xf8\0\0\0\0\0\0m");
        write_element(&mut element, -1.5, b"m");
        assert_eq!(element, *b"\x40\x07\xff\xff\xff\xff\xff\xffm");
        write_element(&mut element, -0.0, b"");
        assert_eq!(element, *b"\x80\0\0\0\0\0\0\0");
        assert_eq!(to_bytes(-0.0), [0; 8]);
        assert_eq!(to_bytes(1.5), *b"\x3f\xf8\0\0\0\0\0\0");
    }

    #[test]
    fn what_is_no_score_is_refused() {
        assert_eq!(from_bytes(&to_bytes(f64::NAN)), None);
        assert_eq!(from_bytes(b"1234567"), None);
        assert_eq!(parse_element(&[0xff; 9]), None);
        assert_eq!(parse_element(&[0; 9]), None);
        assert_eq!(parse_element(b"1234567"), None);
    }

    fn scores() -> impl Strategy<Value = f64> {
        let special = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN, f64::MAX];
        let special = proptest::sample::select(special.to_vec());
        prop_oneof![special, any::<f64>().prop_filter("a score", |score| !score.is_nan())]
    }

    proptest! {
        #[test]
        fn elements_lie_in_the_order_of_scores_and_members(
            (first, second) in (scores(), scores()),
            (one, other) in ("[a-c]{0,3}", "[a-c]{0,3}"),
        ) {
            let (mut left, mut right) = (Vec::new(), Vec::new());
            write_element(&mut left, first, one.as_bytes());
            write_element(&mut right, second, other.as_bytes());
            let order = first.partial_cmp(&second).unwrap().then(one.cmp(&other));
            prop_assert_eq!(left.cmp(&right), order);
        }

        #[test]
        fn scores_read_back(score in scores()) {
            let mut element = Vec::new();
            write_element(&mut element, score, b"member");
            prop_assert_eq!(parse_element(&element), Some((score, &b"member"[..])));
            prop_assert_eq!(from_bytes(&to_bytes(score)), Some(score));
        }

        #[test]
        fn decoding_never_panics(bytes: Vec<u8>) {
            let _outcome = from_bytes(&bytes);
            let _outcome = parse_element(&bytes);
        }
    }
}
