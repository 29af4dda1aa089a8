//! The bodies of the fuzz targets. Each takes any bytes and panics where a promise is broken; nothing else is a failure.
//!
//! ```text
//!  fuzz/fuzz_targets/NAME.rs   one line: libFuzzer's bytes go to `run("NAME", bytes)`
//!  fuzz/corpus/NAME/           inputs that were worth keeping; every one goes through the body in each `cargo test`
//!  src/internals/fuzz/NAME.rs  the body
//! ```
//!
//! A new target is a body, a line in [`TARGETS`] and a file in its corpus; the tests of this module name what is missing
//! beside them.

mod choices;
mod classify;
#[cfg(feature = "server")]
mod config;
mod connect;
mod forward;
mod greeting;
mod mend;
mod messages;
#[cfg(feature = "server")]
mod mras;
mod ms_turn;
mod proxy;
mod pseudo_tls;
#[cfg(test)]
mod replay;
mod rfc8656;
mod server;
mod stream;
mod tokens;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of the file in `fuzz/fuzz_targets/` and of the folder in `fuzz/corpus/`.
    pub name: &'static str,
    /// What is done with one input.
    pub body: fn(&[u8]),
}

/// Every target whose body stands here. `differential` needs codecs that the library does not depend on: its body is
/// `tests/differential/body.rs`, and `tests/differential/main.rs` replays its corpus.
pub const TARGETS: &[Target] = &[
    Target { name: "classify", body: classify::body },
    Target { name: "rfc8656", body: rfc8656::body },
    Target { name: "forward", body: forward::body },
    Target { name: "greeting", body: greeting::body },
    Target { name: "tokens", body: tokens::body },
    #[cfg(feature = "server")]
    Target { name: "config", body: config::body },
    Target { name: "server", body: server::body },
    Target { name: "messages", body: messages::body },
    Target { name: "stream", body: stream::body },
    Target { name: "pseudo_tls", body: pseudo_tls::body },
    Target { name: "ms_turn", body: ms_turn::body },
    #[cfg(feature = "server")]
    Target { name: "mras", body: mras::body },
    Target { name: "proxy", body: proxy::body },
    Target { name: "connect", body: connect::body },
];

/// Gives `bytes` to the target `name`.
///
/// # Panics
/// If a promise is broken, or if there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a caller names a target of the list").body)(bytes);
}
