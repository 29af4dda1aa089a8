//! The doors for connections: accepts, finds out what is spoken, shakes hands, and hands a connection to its worker with
//! its first whole message. Everything slow and untrusted happens here, under deadlines, beside the data plane.
//!
//! ```text
//!   accept ─▶ judge: [ proxy ] ─▶ sniff ─▶ [ hello: ClientHello, handshake ─▶ sniff inside ] ─▶ first message
//!     │ places                      │        [ disguise: the hellos of pseudo-TLS ─▶ sniff behind ]      │
//!     │                             │ HTTP, or TLS for a name of others                              dispatch ─▶ worker-N
//!     │                             └──▶ web
//!     each step has a deadline; who is none of ours is closed without a byte
//! ```
//!
//! Assumptions: one thread, one runtime, so nothing here is locked; a silent connection holds a descriptor, a timer and
//! some hundred bytes. Memory for what a client sends grows only with what it has sent.

mod accept;
mod config;
mod disguise;
mod dispatch;
mod hello;
mod judge;
mod proxy;
mod start;
pub mod stats;
mod visitor;
pub mod web;

pub use config::Config;
pub use config::Deadlines;
pub use dispatch::WorkerDoor;
pub use start::Listening;
pub use start::start;
pub use stats::Stats;
