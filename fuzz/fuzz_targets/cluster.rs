//! libFuzzer's way into `tickring_fuzz::cluster`, where the property is stated.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tickring_fuzz::cluster::check(input));
