#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| upgrade_host::fuzz::deadman(bytes));
