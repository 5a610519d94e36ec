use proptest::prelude::*;

use super::*;

/// All bits, one by one.
fn bits_of(body: &[u8]) -> Vec<bool> {
    body.iter().flat_map(|byte| (0..8).map(move |bit| byte & (0x80 >> bit) != 0)).collect()
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => Just(0_u8), 4 => Just(0xff_u8), 1 => any::<u8>()];
    proptest::collection::vec(byte, 1..40)
}

#[test]
fn ranges_are_those_of_redis() {
    assert_eq!(Unit::Bytes.range(3, 0, -1), Some(0..24));
    assert_eq!(Unit::Bytes.range(3, -2, -2), Some(8..16));
    assert_eq!(Unit::Bits.range(3, 5, 30), Some(5..24));
    assert_eq!(Unit::Bits.range(3, -100, -100), Some(0..1));
    assert_eq!(Unit::Bytes.range(3, 3, 4), None);
    assert_eq!(Unit::Bytes.range(0, 0, -1), None);
    assert_eq!(Unit::Bits.range(3, i64::MIN, i64::MAX), Some(0..24));
}

proptest! {
    // What could break: masks at the edges, and the words between them.
    #[test]
    fn counting_and_finding_are_those_of_single_bits(
        body in body(),
        a in 0_u64..320,
        b in 0_u64..320,
        wanted: bool,
    ) {
        let len = body.len() as u64 * 8;
        let (a, b) = (a % len, b % len);
        let range = a.min(b)..a.max(b) + 1;
        let all = bits_of(&body);
        let inside: Vec<(u64, bool)> = (0..).zip(all).filter(|(at, _)| range.contains(at)).collect();
        let ones = inside.iter().filter(|(_, bit)| *bit).count() as u64;
        prop_assert_eq!(count_ones(&body, &range), ones);
        let first = inside.iter().find(|(_, bit)| *bit == wanted).map(|(at, _)| *at);
        prop_assert_eq!(find_bit(&body, &range, wanted), first);
    }
}
