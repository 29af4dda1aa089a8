//! Gives libFuzzer's bytes to the body in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| swingbridge::internals::fuzz::run("connect", bytes));
