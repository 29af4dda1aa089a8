//! A laboratory for ICE: any client, behind any NAT, against a server that misbehaves on request.
//!
//! ```text
//!   left client ── place ──┐                          two laboratories, one model of NAT (`crate::nat`):
//!                          ├── internet ── edge       `virtual_lab`: in virtual time, from a seed, our own agents
//!  right client ── place ──┘        │               `real_lab`: network namespaces, any two programs
//!                                 record ── verdict
//! ```
//!
//! [`Place`] is where a client stands, [`Verdict`] how its call ended, [`expected`] how it has to end and why. `scenario` is
//! what an operator writes down: places, links and faults. `edge` is the server that carries the faults out: the pure core
//! (`proto::turn`, `proto::media`) behind a saboteur; the virtual laboratory drives it in virtual time, `serve` with sockets.
//! `record` keeps what was seen; `report` shows many runs as a matrix; `explain` says why a run ended as it did.

pub mod agent;
pub mod edge;
pub mod explain;
pub mod proxy;
pub mod real_lab;
pub mod record;
pub mod report;
pub mod scenario;
pub mod serve;
pub mod virtual_lab;

pub use crate::place::Place;
pub use crate::place::Relay;
pub use crate::place::Verdict;
pub use crate::place::Why;
pub use crate::place::derive;
pub use crate::place::expected;
