//! Initial sequence numbers (RFC 6528) and the timestamps clock (RFC 7323 §4.1).

use coney_base::Instant;

use super::flow::{FlowHasher, FlowKey};
use super::seq::Seq;

/// RFC 6528 §3: a clock of 4 microseconds plus a keyed hash of the flow.
pub fn initial_sequence_number(now: Instant, hasher: &FlowHasher, key: &FlowKey) -> Seq {
    let clock = low_half(now.as_nanos() / 4000);
    Seq(clock).plus(hasher.isn_offset(key))
}

/// TSval of a connection: milliseconds from an offset of its own.
pub fn timestamp(now: Instant, offset: u32) -> u32 {
    low_half(now.as_millis()).wrapping_add(offset)
}

fn low_half(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or(u32::MAX)
}
