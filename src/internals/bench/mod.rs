//! What the benches count instructions of. `benches/instructions/` holds the thin callers and the figures that each was
//! last known to cost.
//!
//! Every body does the same work [`TIMES`] times, each time on another allocation where there are several, so that no
//! single place in a table decides.

pub mod control;
pub mod messages;
pub mod packets;

/// How often a body does its work.
pub const TIMES: usize = 64;
