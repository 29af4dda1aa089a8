//! A model of NATs: what a packet's addresses become on the way out, and who inside gets what comes (RFC 4787 for UDP,
//! RFC 5382 for TCP, RFC 7857 for both). Pure: the clock and the randomness are arguments, so the same model serves a
//! simulation in virtual time and a router of real packets.
//!
//! ```text
//!   inside                      Nat                        outside
//!   packet ── outbound() ──►  mapping, session  ──►  Pass { source: external }
//!   Pass { destination: inner }  ◄──  session, filter  ◄── inbound() ── packet
//! ```
//!
//! A [`Behaviour`] says how one NAT behaves, and a [`Firewall`] what it lets out at all; a [`Nat`] is one with its
//! mappings; NATs in a row are a [`Chain`], as behind a carrier's.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod behaviour;
mod chain;
mod firewall;
#[expect(clippy::module_inception, reason = "the file holds the type that the room is named after")]
mod nat;
mod packet;
mod ports;
mod session;
#[cfg(test)]
mod tests;

pub use behaviour::Behaviour;
pub use behaviour::Dependence;
pub use behaviour::Fragments;
pub use behaviour::Hairpin;
pub use behaviour::Pooling;
pub use behaviour::PortChoice;
pub use behaviour::Refresh;
pub use chain::Chain;
pub use firewall::Firewall;
pub use nat::Nat;
pub use packet::Fragment;
pub use packet::Packet;
pub use packet::Protocol;
pub use packet::Refused;
pub use packet::TcpFlags;
pub use packet::Verdict;
