//! The server, driven by histories of operations, beside a reference that knows nothing but lists.
//!
//! A history is a [`Setup`] and a list of [`Op`]s; bytes can be read as one ([`decode`]), and [`run`] plays it: the real
//! [`super::Server`], workers with real tables that are told what control would tell them, and the reference, which
//! says of each request what must be answered and of each packet whether it may pass. After each operation the three
//! must agree; [`Violation`] says where they do not. The same history always goes the same way.
//!
//! | file | holds |
//! |---|---|
//! | `ops` | what can happen, and how bytes say it |
//! | `setup` | the small world: clients, users, peers, configurations |
//! | `world` | the server, workers that carry out its outputs, clocks |
//! | `client` | requests on the wire |
//! | `driver` | plays an operation to both |
//! | `reference` | what must be answered, and what may pass |
//! | `check` | server, tables and reference agree; nothing is left when all is over |

mod check;
mod client;
mod driver;
pub mod ops;
mod reference;
pub mod setup;
#[cfg(test)]
mod tests;
mod world;

use std::fmt;

pub use ops::Op;
pub use setup::Setup;

use driver::Driver;

/// Operations of one history that [`decode`] reads.
pub const OPS_MAX: usize = 256;

/// Bytes that say the setup.
pub const SETUP_LEN: usize = 16;

/// What a history brought about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Inputs of the server.
    pub inputs: u64,
    /// Answers, by method number and code (0 for success): each pair once, sorted.
    pub answers: Vec<(u16, u16)>,
    /// Answers given again, and requests dropped as replays or because a client was between two workers.
    pub repeated: u64,
    /// See [`Self::repeated`].
    pub dropped: u64,
    /// Moves (RFC 8016) that were granted, and those from one worker to another.
    pub moved: u64,
    /// See [`Self::moved`].
    pub carried: u64,
    /// Application data that passed, and that stayed, as they had to.
    pub passed: u64,
    /// See [`Self::passed`].
    pub stayed: u64,
}

/// Server, tables and reference disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The operation after which they do, counted from 0; one more than there are if it is what is left in the end.
    pub step: usize,
    /// In what.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after operation {}: {}", self.step, self.what)
    }
}

/// The history that these bytes say: any bytes say one.
#[must_use]
pub fn decode(bytes: &[u8]) -> (Setup, Vec<Op>) {
    let (setup, ops) = bytes.split_at(bytes.len().min(SETUP_LEN));
    (Setup::decode(setup), ops.chunks(ops::OP_LEN).take(OPS_MAX).map(Op::decode).collect())
}

/// Plays the history that these bytes say.
///
/// # Errors
/// The first [`Violation`].
pub fn run_bytes(bytes: &[u8]) -> Result<Report, Violation> {
    let (setup, ops) = decode(bytes);
    run(&setup, &ops)
}

/// Plays a history, and lets the time of all that is left run out.
///
/// # Errors
/// The first [`Violation`].
pub fn run(setup: &Setup, ops: &[Op]) -> Result<Report, Violation> {
    let mut driver = Driver::new(setup);
    for (step, op) in ops.iter().enumerate() {
        driver
            .play(op)
            .and_then(|()| driver.check(step % 4 == 0))
            .map_err(|what| Violation { step, what })?;
    }
    driver.finish().map_err(|what| Violation { step: ops.len(), what })
}
