//! Arbitrary segments.

use proptest::prelude::*;

use crate::fuzz;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_hostile_peer_breaks_no_invariant(
        settings: u8,
        opening: bool,
        events in proptest::collection::vec(any::<[u8; 8]>(), 0..120),
    ) {
        // Most of the random sequences would never get past the handshake.
        let handshake = [[6, 0, 5, 200, 16, 0, 0, 200], [7, 0, 0, 0, 0, 0, 0, 200]];
        let handshake = handshake.into_iter().filter(|_| opening);
        let mut data = vec![settings];
        data.extend(handshake.chain(events).flatten());
        fuzz::segments(&data);
    }
}
