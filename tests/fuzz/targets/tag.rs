#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| scrubd_fuzz::tag::holds(bytes));
