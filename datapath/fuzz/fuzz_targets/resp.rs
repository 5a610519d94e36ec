//! RESP requests, split anywhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coney_resp::fuzz::resp(data));
