//! Conversions between lengths in memory and on the device, which are lossless on 64-bit targets.

/// `value` as an index into memory.
pub(crate) fn to_usize(value: u64) -> usize {
    usize::try_from(value).expect("Coney runs on 64-bit targets only")
}

/// `value` as a length on the device.
pub(crate) fn to_u64(value: usize) -> u64 {
    u64::try_from(value).expect("no target has a usize above 64 bits")
}
