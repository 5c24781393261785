//! libFuzzer's way into `tickring_fuzz::http_api`, where the property is stated.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tickring_fuzz::http_api::check(input));
