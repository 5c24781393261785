//! libFuzzer's way into `tickring_fuzz::venue_link`, where the property is stated.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tickring_fuzz::venue_link::check(input));
