#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| recost::fuzzing::environment(data));
