//! What a table holds, for those who compare it with what it should hold.

use std::net::IpAddr;

use crate::proto::types::Deadline;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;

use super::Table;

/// One relayed address in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) relay: RelayId,
    /// Control has removed it.
    pub(crate) removed: bool,
    pub(crate) settled: FiveTuple,
    pub(crate) awaited: Option<FiveTuple>,
    pub(crate) until: Deadline,
    /// Their time over or not, in no order.
    pub(crate) permitted: Vec<(IpAddr, Deadline)>,
    /// Likewise.
    pub(crate) channels: Vec<(u16, PeerAddr, Deadline)>,
}

impl Table {
    /// Every entry, removed or not.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.allocations.iter().flatten().map(|allocation| allocation.inspect()).collect()
    }
}
