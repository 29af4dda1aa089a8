//! Relayed ports of TCP, and the connections of peers (RFC 6062).
//!
//! ```text
//!              port: a listener
//!   peers ◀──▶  connections that came, and that left from it ──▶ joined to a client's connection: a pipe
//! ```
//!
//! [`PeerConnections`] knows ports and connections and nothing of RFC 6062's requests: whoever has a [`PeerId`] may read and
//! write its connection by itself ([`PeerConnections::channel`]), or have it joined to a client's.

mod outcome;
mod pair;
mod peers;
mod pipe;
mod port;
mod talks;

#[cfg(doc)]
use crate::proto::types::PeerId;

pub(in crate::relay) use outcome::Progress;
pub(in crate::relay) use pair::Joining;
pub(in crate::relay) use peers::PeerConnections;
pub(in crate::relay) use pipe::Next;
pub(in crate::relay) use talks::Talks;
