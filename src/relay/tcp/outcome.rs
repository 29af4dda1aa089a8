//! What becomes of connections with peers.

use crate::proto::types::ConnectionId;
use crate::proto::types::FiveTuple;
use crate::proto::types::RelayId;

/// A connection that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) struct Ended {
    pub(in crate::relay) relay: RelayId,
    pub(in crate::relay) name: Option<ConnectionId>,
    /// The client's connection that it was joined to.
    pub(in crate::relay) client: Option<FiveTuple>,
}

/// How far a connection is that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) enum Progress {
    /// On its way still, or not one that was begun.
    Going,
    /// It is there now.
    There,
    /// It will never be.
    Failed,
}
