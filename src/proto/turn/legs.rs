//! The relayed transport addresses of an allocation: one, or one of each family (RFC 8656 § 7.2, step 9).
//!
//! Each has a relay socket, a name, a port and a time of its own. All else — five-tuple, owner, quota, numbers of
//! channels — belongs to the allocation.

use std::time::Duration;

use crate::proto::types::Deadline;
use crate::proto::types::Family;
use crate::proto::types::Now;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::RelayProtocol;
use crate::proto::types::WorkerId;

use super::RelayAddress;
use super::mobility::Copies;
use super::mobility::Passage;
use super::reply::Asker;

/// One relayed transport address of an allocation.
#[derive(Debug)]
pub(super) struct Leg {
    /// The name of its socket.
    pub(super) relay: RelayId,
    pub(super) family: Family,
    /// Which relay address: a place in the configured list.
    pub(super) address: usize,
    pub(super) port: u16,
    pub(super) state: LegState,
    /// The client was told of it.
    pub(super) granted: bool,
    pub(super) copies: Copies,
    pub(super) passage: Passage,
    pub(super) protocol: RelayProtocol,
}

/// Where a relay socket stands.
#[derive(Debug)]
pub(super) enum LegState {
    /// The worker was asked to open it.
    Opening { tries: u32, deadline: Deadline },
    /// It is open. It relays once its allocation is live.
    Open {
        until: Deadline,
        /// When its timer fires; never later than `until`.
        armed: Deadline,
    },
    /// The worker was asked to close it.
    Closing {
        /// Which worker; `None` once it has, and copies of others have not been closed yet.
        at: Option<WorkerId>,
        /// The worker was late: the port is not to be trusted for a while.
        quarantine: bool,
        /// Who waits to hear that this one of two is closed.
        asker: Option<Box<Asker>>,
    },
    /// It is closed, or never was open: the port belongs to nobody here.
    Gone,
}

impl Leg {
    /// A socket that nobody was asked for yet.
    pub(super) fn new(relay: RelayId, family: Family, address: usize, port: u16) -> Self {
        let state = LegState::Opening { tries: 0, deadline: Deadline::NEVER };
        Self {
            relay,
            family,
            address,
            port,
            state,
            granted: false,
            copies: Copies::default(),
            passage: Passage::Settled,
            protocol: RelayProtocol::Udp,
        }
    }

    /// The same, over which `protocol` runs.
    pub(super) fn over(self, protocol: RelayProtocol) -> Self {
        Self { protocol, ..self }
    }

    /// Where its port is counted, with `addresses` relay addresses.
    pub(super) const fn pool(&self, addresses: usize) -> usize {
        pool(self.address, self.protocol, addresses)
    }

    pub(super) const fn is_opening(&self) -> bool {
        matches!(self.state, LegState::Opening { .. })
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, LegState::Open { .. })
    }

    /// How long it will live; `None` unless it is open.
    pub(super) fn left(&self, now: Now) -> Option<Duration> {
        match self.state {
            LegState::Open { until, .. } => Some(until.remaining(now.tick())),
            _ => None,
        }
    }

    pub(super) const fn is_closing(&self) -> bool {
        matches!(self.state, LegState::Closing { .. })
    }

    /// Whether it is `worker` that was asked to close it.
    pub(super) fn is_closing_at(&self, worker: WorkerId) -> bool {
        matches!(self.state, LegState::Closing { at, .. } if at == Some(worker))
    }

    /// Whether it was to be closed, and no worker has it any more.
    pub(super) fn is_closed_everywhere(&self) -> bool {
        matches!(self.state, LegState::Closing { at: None, .. }) && self.copies.closing().next().is_none()
    }

    /// Whether its socket is open and its time not over.
    pub(super) fn is_live(&self, now: Now) -> bool {
        matches!(self.state, LegState::Open { until, .. } if !until.is_due(now.tick()))
    }

    /// The address and port its socket is bound to.
    pub(super) fn bind(&self, addresses: &[RelayAddress]) -> RelayAddr {
        RelayAddr::new((addresses[self.address].bind, self.port).into())
    }

    /// Its relayed transport address, as clients and peers are told.
    pub(super) fn relayed(&self, addresses: &[RelayAddress]) -> RelayAddr {
        RelayAddr::new((addresses[self.address].external, self.port).into())
    }
}

/// At most one leg of each family, IPv4 first. Boxed, because nearly nobody has both.
#[derive(Debug, Default)]
pub(super) struct Legs([Option<Box<Leg>>; 2]);

impl Legs {
    /// Adds `leg`, the only one of its family.
    pub(super) fn insert(&mut self, leg: Leg) {
        let place = &mut self.0[place(leg.family)];
        debug_assert!(place.is_none(), "one leg of a family");
        *place = Some(Box::new(leg));
    }

    pub(super) fn of(&self, family: Family) -> Option<&Leg> {
        self.0[place(family)].as_deref()
    }

    /// Whether there is or was one of the family that the STUN family byte `code` names.
    pub(super) fn have(&self, code: u8) -> bool {
        self.iter().any(|leg| leg.family.code() == code)
    }

    /// Whether there is one, and of the family that the STUN family byte `code` names.
    pub(super) fn are_only(&self, code: u8) -> bool {
        self.iter().all(|leg| leg.family.code() == code)
    }

    pub(super) fn named(&self, relay: RelayId) -> Option<&Leg> {
        self.iter().find(|leg| leg.relay == relay)
    }

    pub(super) fn named_mut(&mut self, relay: RelayId) -> Option<&mut Leg> {
        self.iter_mut().find(|leg| leg.relay == relay)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Leg> {
        self.0.iter().filter_map(Option::as_deref)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Leg> {
        self.0.iter_mut().filter_map(Option::as_deref_mut)
    }

    /// The relayed transport addresses that the client was told: the first, and the additional one.
    pub(super) fn granted(&self, addresses: &[RelayAddress]) -> [Option<RelayAddr>; 2] {
        let mut granted = self.iter().filter(|leg| leg.granted).map(|leg| leg.relayed(addresses));
        [granted.next(), granted.next()]
    }
}

/// Where the ports of one of so many relay addresses are counted: of UDP first, then of TCP.
pub(super) const fn pool(address: usize, protocol: RelayProtocol, addresses: usize) -> usize {
    match protocol {
        RelayProtocol::Udp => address,
        RelayProtocol::Tcp => addresses + address,
    }
}

/// Where a family stands in a pair of things, one for each.
pub(super) const fn place(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}
