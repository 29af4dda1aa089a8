//! What is worth a log line or a counter. Declared once; logs, metrics and tests all read it from here.

use crate::proto::media::Counters;
use crate::proto::types::FiveTuple;
use crate::proto::types::Lifetime;
use crate::proto::types::PeerAddr;
use crate::proto::types::QuotaIdentity;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::WorkerId;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Method;
use crate::proto::wire::StreamKind;

use super::OpenFailure;

/// A moment in the life of the server.
#[derive(Clone, Debug)]
pub enum Event {
    /// An allocation came to life.
    AllocationMade {
        /// Its name.
        relay: RelayId,
        /// The client's side.
        five_tuple: FiveTuple,
        /// Whose it is.
        user: QuotaIdentity,
        /// The relayed transport address.
        relayed: RelayAddr,
        /// The lifetime granted.
        lifetime: Lifetime,
        /// The second relayed transport address of a dual allocation.
        additional: Option<RelayAddr>,
    },
    /// An Allocate that was authenticated, or would have been, got an error.
    AllocationRefused {
        /// Whence.
        five_tuple: FiveTuple,
        /// Whose, if that was known.
        user: Option<QuotaIdentity>,
        /// The error.
        code: ErrorCode,
    },
    /// An allocation is over and its ports free.
    AllocationEnded {
        /// Its name.
        relay: RelayId,
        /// The client's side.
        five_tuple: FiveTuple,
        /// Whose it was.
        user: QuotaIdentity,
        /// The relayed transport address.
        relayed: RelayAddr,
        /// Why.
        reason: EndReason,
        /// How long it lived, in seconds.
        lived_s: u64,
        /// What it carried, over both relayed addresses if it had two.
        counters: Counters,
        /// The second relayed transport address of a dual allocation.
        additional: Option<RelayAddr>,
    },
    /// A request was answered.
    Answered {
        /// Its method.
        method: Method,
        /// `None` for success.
        code: Option<ErrorCode>,
    },
    /// The kernel refused a relay port.
    PortRefused {
        /// The address.
        bind: RelayAddr,
        /// Why.
        why: OpenFailure,
    },
    /// A repeated request was answered from memory.
    AnswerRepeated,
    /// A message could not be used at all: dropped.
    Discarded,
    /// A request that was accepted more than 40 s ago came again: dropped.
    ReplayDropped,
    /// No new allocation is made from here on.
    DrainBegun {
        /// How many there are.
        allocations: usize,
    },
    /// Every allocation is being ended.
    EndingAll {
        /// How many there are.
        allocations: usize,
    },
    /// A new configuration is in force, and what it denies is revoked.
    Reconfigured {
        /// Permissions that were revoked before their time.
        permissions: u64,
        /// Channels that were revoked before their time.
        channels: u64,
    },
    /// A client moved, and its allocation with it (RFC 8016).
    AllocationMoved {
        /// Its name.
        relay: RelayId,
        /// Whose it is.
        user: QuotaIdentity,
        /// The client's side until now.
        from: FiveTuple,
        /// The client's side from here on.
        to: FiveTuple,
    },
    /// A worker panicked, which is a bug, and is told its table again.
    WorkerRestarted {
        /// Which.
        worker: WorkerId,
        /// How often it has panicked since its start.
        epoch: u32,
    },
    /// A worker that had panicked has its table again.
    WorkerRebuilt {
        /// Which.
        worker: WorkerId,
        /// Relayed addresses in it.
        relays: usize,
    },
    /// The allocation that was just told of speaks [MS-TURN].
    LegacyMade {
        /// What it is for.
        stream: StreamKind,
    },
    /// Something became of a peer's connection with a TCP allocation (RFC 6062).
    PeerConnection {
        /// The allocation.
        relay: RelayId,
        /// Whose it is.
        user: QuotaIdentity,
        /// The peer.
        peer: PeerAddr,
        /// What.
        moment: PeerMoment,
    },
}

/// A moment in the life of a peer's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerMoment {
    /// A peer connected, and its client was told.
    Arrived,
    /// A peer connected, and was not let in: it has no permission, or there are too many.
    Refused,
    /// A Connect request reached its peer.
    Connected,
    /// A Connect request did not, or not in time.
    Failed,
    /// It is joined to a connection of its client.
    Joined,
    /// Its client did not ask for it in time.
    Unclaimed,
    /// The operator has denied its peer.
    Revoked,
    /// One of both ends, or the peer, ended it.
    Ended,
}

impl PeerMoment {
    /// Every moment.
    pub const ALL: [Self; 8] = [
        Self::Arrived,
        Self::Refused,
        Self::Connected,
        Self::Failed,
        Self::Joined,
        Self::Unclaimed,
        Self::Revoked,
        Self::Ended,
    ];

    /// The word used in logs and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Arrived => "arrived",
            Self::Refused => "refused",
            Self::Connected => "connected",
            Self::Failed => "failed",
            Self::Joined => "joined",
            Self::Unclaimed => "unclaimed",
            Self::Revoked => "revoked",
            Self::Ended => "ended",
        }
    }
}

/// Why an allocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// Refresh with LIFETIME 0.
    Released,
    /// Its time ran out.
    Expired,
    /// The server is leaving, or the operator ended it.
    Shutdown,
    /// Its relay socket was lost, on the way from one worker to another or with a worker that panicked.
    Lost,
    /// The connection that it was made on ended.
    Disconnected,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::Released, Self::Expired, Self::Shutdown, Self::Lost, Self::Disconnected];

    /// The word used in logs and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Shutdown => "shutdown",
            Self::Lost => "lost",
            Self::Disconnected => "disconnected",
        }
    }
}
