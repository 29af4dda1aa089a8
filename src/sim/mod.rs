//! The whole in virtual time: server, workers, clients, NATs, peers, links and people who mean harm, composed of the
//! same pure functions that the program runs, and judged by an oracle at every step.
//!
//! A run is determined by its seed and the commit: time is a number here, every die comes from the seed, and nothing
//! depends on the order of a hash table. One *step* is one packet delivered or dropped, one timer that fired, or one
//! command.
//!
//! ```text
//!  client ── NAT ── link ──┐                        ┌── link ── peer
//!  insider ─────── link ───┤  worker ◄─► control    ├── link ── peer that lies
//!  stranger (forges) ──────┘  table, rings, Server  └── nobody: ICMP
//!                                   │
//!                    oracle: who was granted what, until when
//! ```
//!
//! A run goes through chaos (every fault there is), hush (nobody speaks until all that was granted has run out), calm
//! (no faults: every honest client must be served) and the end (nothing may be left).
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod caller;
mod clock;
mod control;
mod coverage;
mod flows;
mod honest;
mod insider;
mod line;
mod link;
mod nat;
mod oracle;
mod packet;
mod pcap;
mod peer;
mod ports;
mod report;
mod restart;
mod rogue;
mod scenario;
mod shared;
mod sockets;
mod stranger;
mod streams;
mod tcp;
#[cfg(test)]
mod tests;
mod worker;
mod world;

pub use coverage::Coverage;
pub use report::Plan;
pub use report::Report;
pub use report::Violation;
pub use world::run;
