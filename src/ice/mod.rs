//! A full ICE agent, sans I/O (RFC 8445, RFC 8838, RFC 8839): one [`Input`], then [`Agent::poll_output`] until it is dry.
//!
//! ```text
//!   owner: sockets, streams,   Input      ┌───────────── Agent ─────────────┐
//!   signalling, clock        ───────────▶ │ gather: Binding, proto::client  │ one for each server
//!                            ◀─────────── │ checks: pairs and nomination    │ the crate `is`
//!                              Output     └─────────────────────────────────┘
//! ```
//!
//! What it assumes: one data stream with one component, RTP and RTCP on one port or no RTP at all; UDP between the two sides,
//! whatever carries it to the relay; candidates may come late (trickle), and the first pair that works is used until a better
//! one does. There is no restart: an agent that failed is closed, and another one made.
//!
//! A relayed candidate is its own base, as RFC 8445 § 5.1.1.2 says: what the checks send *from a relayed address* is sent
//! through the relay that has it, and what the relay brings was received *at* that address. Each remote candidate's address is
//! permitted at each relay before a check goes there, and the nominated peer gets a channel.
//!
//! Time and randomness are arguments. `is` knows only instants, so a [`Clock`] is handed in; it draws from a generator of the
//! thread, which is seeded from [`crate::proto::types::Entropy`] for each call and put back afterwards (`checks`). The same
//! seed and the same inputs give the same outputs, to the byte.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod agent;
mod binding;
mod candidate;
mod checks;
mod clock;
mod config;
mod description;
mod error;
mod event;
mod gather;
mod peer;
mod server;
mod source;
#[cfg(test)]
mod tests;

pub use agent::Agent;
pub use candidate::Candidate;
pub use candidate::Kind;
pub use clock::Clock;
pub use config::Config;
pub use config::Policy;
pub use config::Role;
pub use config::TurnServer;
pub use description::Description;
pub use error::CandidateError;
pub use error::DescriptionError;
pub use event::Event;
pub use event::Failure;
pub use event::Input;
pub use event::Output;
pub use event::Path;
pub use event::Wanted;
