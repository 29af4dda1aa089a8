//! What control tells a worker's table. Each change stands on its own; the ring's order is the only order.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::proto::peers::PeerPolicy;
use crate::proto::types::ChannelNumber;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::RelayProtocol;

use super::Bandwidth;

/// An allocation as the data plane knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAllocation {
    /// Its name.
    pub relay: RelayId,
    /// The client's side.
    pub five_tuple: FiveTuple,
    /// The client's wire format.
    pub dialect: Dialect,
    /// The relayed transport address as others see it.
    pub relayed: RelayAddr,
    /// When it ends unless it is extended.
    pub until: Deadline,
    /// How much it may carry.
    pub bandwidth: Bandwidth,
    /// What runs over it. Connections are joined by order of control; no packet of the client's own leaves by it.
    pub protocol: RelayProtocol,
}

/// One change of a worker's table. A change for a relay whose generation is not the one in the table is
/// ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableChange {
    /// An allocation begins.
    Insert(Box<NewAllocation>),
    /// An allocation goes on.
    Extend {
        /// Which.
        relay: RelayId,
        /// When it ends.
        until: Deadline,
    },
    /// Peers of this address may send and be sent to, from and to any port.
    Permit {
        /// Of which allocation.
        relay: RelayId,
        /// The peers' address.
        peer: IpAddr,
        /// When the permission ends.
        until: Deadline,
    },
    /// A channel is bound, or goes on. The permission that a ChannelBind makes (RFC 8656 § 12.2) is a
    /// [`Self::Permit`] of its own; unless permissions are strict, the peer's address is permitted until the
    /// channel ends, besides.
    Bind {
        /// Of which allocation.
        relay: RelayId,
        /// The channel.
        channel: ChannelNumber,
        /// Its peer.
        peer: PeerAddr,
        /// When the channel ends.
        until: Deadline,
    },
    /// An allocation is over: its client's packets are a stranger's from here on.
    Remove {
        /// Which.
        relay: RelayId,
    },
    /// A relayed address of this server, on whichever worker, came to life or ended. Only live ones may be
    /// peers of others.
    OwnRelay {
        /// The relayed transport address, in the form in which peers are named.
        address: SocketAddr,
        /// Whether it lives.
        live: bool,
    },
    /// Datagrams are judged by this policy from here on. It takes nothing that was granted: a permission or channel
    /// that it denies is revoked by a change of its own.
    Policy(Arc<PeerPolicy>),
    /// Peers of this address are permitted no longer, whatever permitted them.
    Forbid {
        /// By which allocation.
        relay: RelayId,
        /// The peers' address.
        peer: IpAddr,
    },
    /// A channel is over before its time, and its peer's address is permitted no longer for its sake.
    Unbind {
        /// Of which allocation.
        relay: RelayId,
        /// The channel.
        channel: ChannelNumber,
    },
    /// The client has asked to move (RFC 8016): its packets count from this five-tuple too. It is sent to the old one
    /// until data comes from the new one. Whatever five-tuple it was awaited at before is not its own any more.
    Await {
        /// Which.
        relay: RelayId,
        /// Where it will come from.
        next: FiveTuple,
    },
    /// The client has moved: the five-tuple it was awaited at is its only one.
    Settle {
        /// Which.
        relay: RelayId,
    },
    /// Set Active Destination ([MS-TURN] § 3.3.5.3): what the client sends bare goes to this peer, and what this peer
    /// sends reaches the client bare.
    Destination {
        /// Of which allocation.
        relay: RelayId,
        /// The peer.
        peer: PeerAddr,
    },
}

impl TableChange {
    /// The allocation that it is about; `None` if it is about none or about all.
    #[must_use]
    pub fn relay(&self) -> Option<RelayId> {
        match self {
            Self::Insert(new) => Some(new.relay),
            Self::Extend { relay, .. }
            | Self::Permit { relay, .. }
            | Self::Bind { relay, .. }
            | Self::Remove { relay }
            | Self::Forbid { relay, .. }
            | Self::Unbind { relay, .. }
            | Self::Await { relay, .. }
            | Self::Settle { relay }
            | Self::Destination { relay, .. } => Some(*relay),
            Self::OwnRelay { .. } | Self::Policy(_) => None,
        }
    }
}
