//! The rig that makes real load: threads with sockets of their own, that share nothing while packets flow.
//!
//! ```text
//!   Engine (the modes' rig) ── orders ──▶ thread: wheel ─▶ clients, peers ─▶ sockets
//!            ◀── samples, what came up ──         ◀─ intake ◀─
//! ```
//!
//! Both ends of a call are served by one thread. Each client has a socket of its own, because its five-tuple is what the
//! server knows it by; the peers of a thread share one.

mod arena;
mod bring;
mod call;
mod churn;
mod client;
mod clock;
mod common;
mod counted;
mod dialect;
pub mod far;
mod gauge;
mod ice;
mod intake;
mod leave;
mod order;
mod own;
mod path;
mod peers;
mod refusal;
mod rig;
mod sender;
mod step;
mod tally;
mod thread;
mod wheel;

pub use rig::Engine;
