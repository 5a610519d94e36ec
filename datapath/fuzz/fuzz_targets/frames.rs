//! Any bytes as a frame from the wire.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coney_datapath::fuzz::frames(data));
