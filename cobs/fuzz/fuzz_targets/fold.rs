//! The fuzz target: any bytes as a history, held against the laws of the fold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cobs_fuzz::check(data));
