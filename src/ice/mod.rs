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
//!
//! Whoever owns an agent carries what it puts out, and hands in what comes:
//!
//! ```
//! use std::time::{Duration, Instant};
//! use swingbridge::ice::{Agent, Clock, Config, Event, Input, Output, Role};
//! use swingbridge::proto::types::{Entropy, Now};
//!
//! struct Counter(u8);
//! impl Entropy for Counter {
//!     fn fill_secret(&mut self, out: &mut [u8]) {
//!         self.0 += 1;
//!         out.fill(self.0); // A real owner asks the system.
//!     }
//! }
//!
//! let (start, mut entropy) = (Instant::now(), Counter(0));
//! let addresses = ["192.0.2.1:5000", "192.0.2.2:5000"].map(|text| text.parse().unwrap());
//! let mut agents = [Role::Controlling, Role::Controlled]
//!     .map(|role| Agent::new(Config::new(role), Clock::starting_at(start), &mut entropy));
//! let at = |millis| Now { since_start: Duration::from_millis(millis), unix: 1_800_000_000 };
//! for (agent, address) in agents.iter_mut().zip(addresses) {
//!     agent.handle_input(at(0), Input::LocalAddress(address)); // A socket is bound there.
//!     agent.handle_input(at(0), Input::Gather);
//! }
//! for side in 0..2 {
//!     let told: String = agents[1 - side].description().to_string(); // By whatever signalling there is.
//!     agents[side].handle_input(at(0), Input::Remote(&told.parse().unwrap()));
//! }
//! let mut connected = Vec::new();
//! for millis in 0..1_000 {
//!     for side in 0..2 {
//!         if agents[side].poll_timeout().is_some_and(|due| due.is_due(at(millis).tick())) {
//!             agents[side].handle_timeout(at(millis));
//!         }
//!         while let Some(output) = agents[side].poll_output() {
//!             match output {
//!                 Output::Transmit { local: from, bytes, .. } => agents[1 - side].handle_input(
//!                     at(millis),
//!                     Input::Datagram { local: addresses[1 - side], from, bytes: &bytes },
//!                 ),
//!                 Output::Event(Event::Connected(path)) => connected.push((side, path)),
//!                 _ => {} // Candidates to be told, ways to servers over TCP and TLS, data, failures.
//!             }
//!         }
//!     }
//! }
//! assert_eq!(connected.len(), 2);
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod agent;
mod binding;
mod candidate;
mod checks;
mod clock;
mod config;
mod consent;
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
