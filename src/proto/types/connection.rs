//! Connections between a relayed transport address and a peer (RFC 6062), as the two planes speak of them.
//!
//! ```text
//!              orders                                    reports
//!   control ───────────────▶ worker: a listener and   ───────────────▶ control
//!            Connect Admit    connections of one port   Arrived Connected
//!            Keep Join Close                            Ended
//! ```

use super::FiveTuple;
use super::PeerAddr;
use super::RelayId;
use super::WorkerId;

/// Bits of a [`ConnectionId`] that name the worker.
const WORKER_BITS: u32 = 8;
const WORKER_MASK: u32 = (1 << WORKER_BITS) - 1;

const _: () = assert!(super::limits::WORKERS_MAX as u32 <= 1 << WORKER_BITS);

/// The name of one peer's connection, in the whole server, while it lasts: the value of CONNECTION-ID (RFC 6062 § 6.2.1).
///
/// ```text
/// | drawn at random 24 | worker 8 |
/// ```
///
/// The worker is named so that whoever brings the client's connection can be sent there without a table that all threads
/// share. It is no secret, and no proof: control looks at both ends before it joins them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u32);

impl ConnectionId {
    /// A name for a connection of `worker`. Of `drawn` the lowest 24 bits count.
    #[must_use]
    pub const fn new(drawn: u32, worker: WorkerId) -> Self {
        Self(drawn << WORKER_BITS | worker.0 as u32 & WORKER_MASK)
    }

    /// What a client says, whoever wrote it.
    #[must_use]
    pub const fn from_wire(value: u32) -> Self {
        Self(value)
    }

    /// The value of the attribute.
    #[must_use]
    pub const fn to_wire(self) -> u32 {
        self.0
    }

    /// The worker that it names.
    #[must_use]
    pub const fn worker(self) -> WorkerId {
        WorkerId((self.0 & WORKER_MASK) as u16)
    }
}

/// A peer's connection at one worker: a slot of the worker's, and which use of the slot is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    /// The slot, below [`super::limits::PEER_CONNECTIONS_MAX`].
    pub index: u32,
    /// Counts the uses of the slot.
    pub generation: u32,
}

/// What control wants of a worker's connections. An order about what is not there is answered by
/// [`PeerReport::Ended`], but for [`Self::Close`], which wants nothing else. Orders may come again after a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerOrder {
    /// Connect from the port of `relay` to `to`; answered by [`PeerReport::Connected`] or [`PeerReport::Ended`].
    Connect {
        /// Its name from here on.
        connection: ConnectionId,
        /// The port it leaves from.
        relay: RelayId,
        /// Where to, as this machine reaches it.
        to: PeerAddr,
    },
    /// A connection that [`PeerReport::Arrived`] told of may stay, under this name.
    Admit {
        /// Which.
        arrival: PeerId,
        /// Its name from here on.
        connection: ConnectionId,
    },
    /// A connection that [`PeerReport::Arrived`] told of is closed.
    Refuse {
        /// Which.
        arrival: PeerId,
    },
    /// This connection shall still be there.
    Keep {
        /// Which.
        connection: ConnectionId,
    },
    /// What the client sends on its connection `client` goes to the peer as it is, and the other way round
    /// (RFC 6062 § 5.4).
    Join {
        /// The peer's connection.
        connection: ConnectionId,
        /// The client's.
        client: FiveTuple,
    },
    /// Close it, and what it is joined to.
    Close {
        /// Which.
        connection: ConnectionId,
    },
}

/// What becomes of a worker's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerReport {
    /// A peer has connected to a port; [`PeerOrder::Admit`] or [`PeerOrder::Refuse`] is awaited.
    Arrived {
        /// The port.
        relay: RelayId,
        /// Where from, as this machine sees it.
        peer: PeerAddr,
        /// What it is called until it has a name.
        arrival: PeerId,
    },
    /// A connection that was asked for is there.
    Connected {
        /// Which.
        connection: ConnectionId,
    },
    /// A connection is not there: it could not be made, it ended, or nobody knows it.
    Ended {
        /// Which.
        connection: ConnectionId,
    },
}

/// What runs over a relayed transport address. The ports of the two are different ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RelayProtocol {
    /// Datagrams.
    #[default]
    Udp,
    /// Connections (RFC 6062).
    Tcp,
}

impl RelayProtocol {
    /// The lower-case word used in logs and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_worker_whatever_was_drawn() {
        for drawn in [0, 1, 0x00FF_FFFF, u32::MAX] {
            for worker in [0, 1, 255] {
                let id = ConnectionId::new(drawn, WorkerId(worker));
                assert_eq!(id.worker(), WorkerId(worker));
                assert_eq!(ConnectionId::from_wire(id.to_wire()), id);
            }
        }
        assert_ne!(ConnectionId::new(1, WorkerId(0)), ConnectionId::new(2, WorkerId(0)));
    }
}
