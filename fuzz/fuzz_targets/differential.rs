//! Gives libFuzzer's bytes to the body that `tests/differential/main.rs` shares.
#![no_main]

#[path = "../../tests/differential/body.rs"]
mod body;

use std::panic;

libfuzzer_sys::fuzz_target!(
    init: {
        // libFuzzer's hook aborts at any panic, that of another codec too, which the body catches and classes.
        let abort = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let foreign = panic.location().is_some_and(|place| place.file().contains("stun-rs-"));
            if !foreign {
                abort(panic);
            }
        }));
    },
    |bytes: &[u8]| drop(body::body(bytes))
);
