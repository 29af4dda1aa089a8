//! Peers' connections with relayed ports: which may be begun, let in and joined.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::proto::types::ConnectionId;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerAddr;
use crate::proto::types::PeerId;
use crate::proto::types::PeerOrder;
use crate::proto::types::PeerReport;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::types::WorkerId;

use super::EveryOwnRelay;
use super::Oracle;
use super::Tuple;
use super::tuple;

#[derive(Debug, Default)]
pub(super) struct Ties {
    /// Whom an allocation's client has asked to be connected to.
    wished: BTreeSet<(u64, PeerAddr)>,
    arrived: BTreeMap<(WorkerId, PeerId), (RelayId, PeerAddr)>,
    known: BTreeMap<ConnectionId, Tie>,
    /// Connections that a client was told it is joined to now.
    granted: BTreeMap<ConnectionId, Tuple>,
}

#[derive(Debug)]
struct Tie {
    serial: u64,
    joined: Option<FiveTuple>,
}

impl Ties {
    /// The client of the allocation of this number wants a connection to `peer`.
    pub(super) fn wish(&mut self, serial: u64, peer: PeerAddr) {
        self.wished.insert((serial, peer));
    }

    /// The client at `at` was told that its connection is joined to this one.
    pub(super) fn grant(&mut self, connection: ConnectionId, at: Tuple) {
        self.granted.insert(connection, at);
    }

    /// The allocation of this number is over, and all of its connections with it.
    pub(super) fn forget(&mut self, serial: u64) {
        self.wished.retain(|(of, _)| *of != serial);
        self.known.retain(|_, tie| tie.serial != serial);
    }
}

impl Oracle {
    pub(super) fn peer_report(&mut self, worker: WorkerId, report: PeerReport) {
        match report {
            PeerReport::Arrived { relay, peer, arrival } => {
                self.ties.arrived.insert((worker, arrival), (relay, peer));
            }
            PeerReport::Connected { .. } => {}
            PeerReport::Ended { connection } => drop(self.ties.known.remove(&connection)),
        }
    }

    /// Judges what a worker is told about a peer's connection. Orders come again after a panic.
    pub(super) fn peer_order(
        &mut self,
        tick: Tick,
        worker: WorkerId,
        order: &PeerOrder,
    ) -> Result<(), String> {
        match order {
            PeerOrder::Connect { connection, relay, to } => {
                if self.ties.known.contains_key(connection) {
                    return Ok(());
                }
                let peer = PeerAddr::new(self.external(to.socket()));
                let serial = self.serial_of(*relay).ok_or("a connection leaves a port of nobody")?;
                if !self.ties.wished.contains(&(serial, peer)) {
                    return Err(format!("{relay:?} connects to {peer}, for which nobody asked"));
                }
                let policy = self.policy.as_ref().map(|(policy, _)| policy);
                if policy.is_some_and(|policy| !policy.allows(peer.socket(), &EveryOwnRelay)) {
                    return Err(format!("{relay:?} connects to {peer}, which the policy denies"));
                }
                self.ties.known.insert(*connection, Tie { serial, joined: None });
            }
            PeerOrder::Admit { arrival, connection } => {
                let arrived = self.ties.arrived.remove(&(worker, *arrival));
                let (relay, peer) = arrived.ok_or("somebody is let in who did not come")?;
                let peer = PeerAddr::new(self.external(peer.socket()));
                let serial = self.serial_of(relay).ok_or("a port of nobody lets somebody in")?;
                let allocation = self.allocations.get(&serial);
                let until = allocation.and_then(|allocation| allocation.permissions.get(&peer.ip()));
                if until.is_none_or(|until| until.is_due(tick)) {
                    return Err(format!("{peer} is let in at {relay:?} without a permission"));
                }
                self.ties.known.insert(*connection, Tie { serial, joined: None });
            }
            PeerOrder::Refuse { arrival } => drop(self.ties.arrived.remove(&(worker, *arrival))),
            PeerOrder::Keep { connection } => {
                if !self.ties.known.contains_key(connection) {
                    return Err(format!("{connection:?} shall stay, which is not there"));
                }
            }
            PeerOrder::Join { connection, client } => return self.joined(*connection, *client),
            PeerOrder::Close { connection } => drop(self.ties.known.remove(connection)),
        }
        Ok(())
    }

    fn joined(&mut self, connection: ConnectionId, client: FiveTuple) -> Result<(), String> {
        let tie = self.ties.known.get_mut(&connection).ok_or("what is joined is no connection")?;
        match tie.joined {
            Some(before) if before == client => return Ok(()),
            Some(before) => return Err(format!("{connection:?} of {before:?} is joined to {client:?} too")),
            None => tie.joined = Some(client),
        }
        if self.ties.granted.get(&connection) != Some(&tuple(&client)) {
            return Err(format!("{connection:?} is joined to {client:?}, who was not told so"));
        }
        Ok(())
    }

    /// A ConnectionBind of `username` for `connection` was granted to `at`.
    pub(super) fn bind_granted(
        &mut self,
        at: Tuple,
        connection: Option<ConnectionId>,
        username: &[u8],
    ) -> Result<(), String> {
        let connection = connection.ok_or("a ConnectionBind is granted without a name")?;
        let tie = self.ties.known.get(&connection).ok_or("a ConnectionBind is granted to nothing")?;
        let owner = self.allocations.get(&tie.serial).and_then(|allocation| allocation.username.as_deref());
        // Of whom USERHASH speaks is not worked out here.
        let is_known = !username.is_empty() && owner.is_some_and(|owner| !owner.is_empty());
        if is_known && owner != Some(username) {
            return Err(format!("{at:?} is joined to another user's connection"));
        }
        self.ties.grant(connection, at);
        Ok(())
    }
}
