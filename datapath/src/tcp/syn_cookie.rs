//! SYN cookies (RFC 4987 §3.6): a handshake without state, for when the SYN cache is full.
//!
//! The initial sequence number of a SYN-ACK carries what is needed, and a keyed hash of it:
//! ```text
//!   31     27 26      24 23                  0
//!   | period | MSS index | hash of all of it |    xor a hash of the flow
//! ```
//! Window scale, SACK and ECN travel in the low bits of our timestamp, which the peer echoes (as in
//! Linux); without timestamps they are given up. A guess succeeds once in 2^23.

use coney_base::Instant;

use super::flow::{FlowHasher, FlowKey};
use super::isn::timestamp;
use super::seq::Seq;
use super::tcb::{Agreed, RCV_WSCALE};
use crate::wire::tcp::{TIMESTAMPS_LEN, Timestamps, WINDOW_SCALE_MAX};

/// A cookie is good for the period in which it was made and for the next one.
const PERIOD_SECS: u64 = 64;
/// Payloads that a cookie can tell, of which the largest not above the right one is taken.
const MSS_TABLE: [u16; 8] = [88, 536, 1220, 1300, 1400, 1440, 1460, 8960];
/// What the hash that hides all is taken of, instead of a period.
const MASK: u64 = u64::MAX;
const MAC_BITS: u32 = 0x00ff_ffff;
/// Low bits of a timestamp that carry options.
const OPTION_BITS: u32 = 0x3f;
const SACK_BIT: u32 = 0x10;
const ECN_BIT: u32 = 0x20;
/// In place of a window scale: there is none.
const NO_SCALE: u32 = 0x0f;

fn period(now: Instant) -> u64 {
    now.as_millis() / 1000 / PERIOD_SECS
}

/// The initial sequence number that vouches for `agreed`, and what is left of it.
pub fn make(
    now: Instant,
    hasher: &FlowHasher,
    key: &FlowKey,
    irs: Seq,
    agreed: &Agreed,
) -> (Seq, Agreed) {
    let options = if agreed.timestamps.is_some() { options_len() } else { 0 };
    let mss = agreed.mss + options;
    let at = MSS_TABLE.partition_point(|entry| *entry <= mss).saturating_sub(1);
    let index = u32::try_from(at).unwrap_or(0);
    let period = period(now);
    let front = (low_bits(period, 31) << 3 | index) << 24;
    let mac = hasher.cookie(key, irs.0, period << 3 | u64::from(index)) & MAC_BITS;
    let cookie = (front | mac) ^ hasher.cookie(key, irs.0, MASK);
    let kept = if agreed.timestamps.is_some() {
        *agreed
    } else {
        Agreed { snd_wscale: 0, rcv_wscale: 0, sack: false, ecn: false, ..*agreed }
    };
    (Seq(cookie), kept)
}

/// What our timestamp must say: never more than the clock, lest it runs backwards afterwards.
pub fn timestamp_with(now: Instant, ts_offset: u32, agreed: &Agreed) -> u32 {
    let scale = if agreed.rcv_wscale > 0 { u32::from(agreed.snd_wscale) } else { NO_SCALE };
    let mut bits = scale & NO_SCALE;
    bits |= if agreed.sack { SACK_BIT } else { 0 };
    bits |= if agreed.ecn { ECN_BIT } else { 0 };
    let clock = timestamp(now, ts_offset);
    let value = clock & !OPTION_BITS | bits;
    if Seq(value).after(Seq(clock)) { value.wrapping_sub(OPTION_BITS + 1) } else { value }
}

/// What was agreed, if `cookie` is one that we made for this peer not long ago. `timestamps` are
/// those of the acknowledgement.
pub fn check(
    now: Instant,
    hasher: &FlowHasher,
    key: &FlowKey,
    irs: Seq,
    cookie: Seq,
    timestamps: Option<Timestamps>,
) -> Option<Agreed> {
    let plain = cookie.0 ^ hasher.cookie(key, irs.0, MASK);
    let index = plain >> 24 & 7;
    let now = period(now);
    let age = low_bits(now, 31).wrapping_sub(plain >> 27) & 31;
    let made = now.checked_sub(u64::from(age)).filter(|_| age <= 1)?;
    let mac = hasher.cookie(key, irs.0, made << 3 | u64::from(index)) & MAC_BITS;
    if plain & MAC_BITS != mac {
        return None;
    }
    let mss = usize::try_from(index).ok().and_then(|index| MSS_TABLE.get(index)).copied()?;
    let Some(Timestamps { value, echo }) = timestamps else {
        return Some(Agreed {
            mss,
            snd_wscale: 0,
            rcv_wscale: 0,
            timestamps: None,
            sack: false,
            ecn: false,
        });
    };
    let scale = u8::try_from(echo & NO_SCALE).ok().filter(|scale| *scale <= WINDOW_SCALE_MAX);
    Some(Agreed {
        mss: mss - options_len(),
        snd_wscale: scale.unwrap_or(0),
        rcv_wscale: scale.map_or(0, |_| RCV_WSCALE),
        timestamps: Some(value),
        sack: echo & SACK_BIT != 0,
        ecn: echo & ECN_BIT != 0,
    })
}

/// How long after the last cookie one may still come back.
pub fn is_recent(now: Instant, sent_at: Option<Instant>) -> bool {
    sent_at.is_some_and(|at| period(now) <= period(at) + 1)
}

fn options_len() -> u16 {
    u16::try_from(TIMESTAMPS_LEN).unwrap_or(0)
}

fn low_bits(value: u64, mask: u64) -> u32 {
    u32::try_from(value & mask).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(port: u16) -> FlowKey {
        let remote = std::net::SocketAddr::from(([10, 0, 0, 2], port));
        FlowKey::new("10.0.0.1:6379".parse().unwrap(), remote)
    }

    proptest! {
        #[test]
        fn what_was_agreed_comes_back_for_a_limited_time(
            secret: [u8; 16],
            irs: u32,
            mss in 100_u16..9000,
            scale in proptest::option::of(0_u8..15),
            sack: bool,
            ecn: bool,
            has_timestamps: bool,
            made_ms in 0_u64..10_000_000,
            age_ms in 0_u64..300_000,
        ) {
            let hasher = FlowHasher::new(secret);
            let agreed = Agreed {
                mss,
                snd_wscale: scale.unwrap_or(0),
                rcv_wscale: scale.map_or(0, |_| RCV_WSCALE),
                timestamps: has_timestamps.then_some(5),
                sack,
                ecn,
            };
            let made = Instant::from_millis(made_ms);
            let (cookie, kept) = make(made, &hasher, &key(1), Seq(irs), &agreed);
            let value = timestamp_with(made, 99, &kept);
            prop_assert!(Seq(value).at_or_before(Seq(timestamp(made, 99))));
            let timestamps = has_timestamps.then_some(Timestamps { value: 6, echo: value });
            let now = Instant::from_millis(made_ms + age_ms);
            let found = check(now, &hasher, &key(1), Seq(irs), cookie, timestamps);
            prop_assert_eq!(found.is_some(), period(now) <= period(made) + 1);
            if let Some(found) = found {
                prop_assert!(found.mss <= mss && u32::from(found.mss) * 7 >= u32::from(mss));
                prop_assert_eq!(found.snd_wscale, kept.snd_wscale);
                prop_assert_eq!(found.rcv_wscale, kept.rcv_wscale);
                prop_assert_eq!((found.sack, found.ecn), (kept.sack, kept.ecn));
                let other = check(now, &hasher, &key(2), Seq(irs), cookie, timestamps);
                let later = check(now, &hasher, &key(1), Seq(irs).plus(1), cookie, timestamps);
                prop_assert!(other.is_none() && later.is_none(), "bound to the flow and the SYN");
            }
        }
    }

    #[test]
    fn guesses_fail() {
        let hasher = FlowHasher::new([3; 16]);
        let now = Instant::from_millis(1_000_000);
        let good = (0..100_000_u32)
            .filter(|guess| check(now, &hasher, &key(1), Seq(1), Seq(guess << 15), None).is_some());
        assert!(good.count() <= 1);
    }
}
