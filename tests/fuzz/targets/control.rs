#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| scrubd_fuzz::control::holds(bytes));
