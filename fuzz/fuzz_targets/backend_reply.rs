#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| rookery_fuzz_targets::backend_reply::run(input));
