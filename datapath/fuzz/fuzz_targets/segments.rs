//! Hostile peers, an application and the clock.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coney_datapath::fuzz::segments(data));
