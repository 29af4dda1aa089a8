//! The laboratory in virtual time: two ICE agents of ours in their places, the server, an HTTP proxy, and what lies between
//! them, from one seed. The same plan gives the same run, to the byte; a call of a minute takes milliseconds.
//!
//! ```text
//!   Caller ── Site ── Wire ──┐             ┌── Machine (Edge: listen addresses, relay sockets)
//!   agent,    NATs,   loss,  ├─ internet ──┤
//!   lines     wall    delay  │             └── proxy (CONNECT)
//!   Caller ── Site ── Wire ──┘    signalling goes past all of it
//! ```
//!
//! UDP is packets, each through the NATs of both places. TCP is a reliable stream: its segments go through the same NATs and
//! links, and what is lost becomes delay; there is no congestion control and no window. TLS is an opaque tunnel with a handshake
//! of one round trip, and nothing is encrypted. ICMP does not exist: who is refused hears nothing.

mod call;
mod caller;
mod clock;
#[cfg(test)]
mod consent;
mod discovery;
mod flight;
mod machine;
mod matrix;
mod media;
mod places;
#[cfg(test)]
mod redirect;
mod streams;
mod tcp;
#[cfg(test)]
mod tests;
mod tunnel;
mod wire;
mod world;

pub use call::Outcome;
pub use call::Plan;
pub use call::call;
pub use discovery::discover;
pub use matrix::Ask;
pub use matrix::matrix;
