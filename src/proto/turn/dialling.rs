//! Peers' connections of clients that speak [MS-TURN] over a stream: a Send or a Set Active Destination opens one where there
//! is none, a permitted peer may open one by itself, and the worker frames what comes on it.
//!
//! Where both ends are relayed addresses of this server both may dial at once, from and to the same two ports. The kernel
//! lets one of the two be; the other end finds it accepted, and gives up its own.

use crate::proto::types::ConnectionId;
use crate::proto::types::Entropy;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::PeerId;
use crate::proto::types::PeerOrder;
use crate::proto::types::RelayId;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;
use crate::proto::wire::ErrorCode;

use super::Output;
use super::PeerMoment;
use super::Server;
use super::allocation::State;
use super::connections::NoConnection;
use super::connections::Standing;
use super::connections::way_to;
use super::reply::Asker;

impl<E: Entropy> Server<E> {
    /// Has the port `relay` connect to `peer`, unless it is connected or on its way there.
    ///
    /// # Errors
    /// 403 if the policy forbids it, 508 if there are as many as there may be.
    pub(super) fn dial(
        &mut self,
        now: Now,
        asker: &Asker,
        relay: RelayId,
        peer: PeerAddr,
    ) -> Result<(), ErrorCode> {
        match self.may_connect(relay, peer, Some(&asker.key())) {
            Ok(()) => {}
            Err(NoConnection::Exists | NoConnection::Awaited) => return Ok(()),
            Err(NoConnection::Forbidden) => return Err(ErrorCode::Forbidden),
            Err(NoConnection::Full) => return Err(ErrorCode::InsufficientCapacity),
        }
        let to = way_to(&self.config.relays, &self.live_tcp, peer);
        let deadline = now.after(limits::CONNECT_DEADLINE);
        let added = self.add_connection(relay, peer, Standing::Dialling { to }, deadline);
        let (worker, connection) = added.ok_or(ErrorCode::AllocationMismatch)?;
        let order = PeerOrder::Connect { connection, relay, to };
        self.outputs.push_back(Output::Peer { worker, order });
        Ok(())
    }

    /// A peer has connected to the port `relay`. Answers whether the connection may stay.
    pub(super) fn legacy_peer_arrived(
        &mut self,
        now: Now,
        worker: WorkerId,
        relay: RelayId,
        peer: PeerAddr,
        arrival: PeerId,
    ) -> bool {
        let Some(allocation) = self.allocations.get_mut(relay).filter(|one| one.worker == worker) else {
            return false;
        };
        let is_live = matches!(allocation.state, State::Live(_)) && allocation.is_live(now);
        let permitted = allocation.permissions.permit(now.tick(), peer.ip());
        let name = allocation.relay;
        let dialled = self.dialled(relay, peer);
        let has_room = dialled.is_some() || self.may_connect(name, peer, None).is_ok();
        if !is_live || !permitted || !has_room {
            self.peer_event(relay, peer, PeerMoment::Refused);
            return false;
        }
        let deadline = now.after(limits::CONNECT_DEADLINE);
        // The own attempt is forgotten first, so that there is room, and closed last, so that what waits for it stays.
        let given_up = dialled.filter(|id| self.remove_connection(*id).is_some());
        let Some((_, connection)) = self.add_connection(relay, peer, Standing::Talking, deadline) else {
            return false;
        };
        self.outputs.push_back(Output::Peer { worker, order: PeerOrder::Admit { arrival, connection } });
        if let Some(connection) = given_up {
            self.outputs.push_back(Output::Peer { worker, order: PeerOrder::Close { connection } });
        }
        self.peer_event(relay, peer, PeerMoment::Arrived);
        true
    }

    /// The attempt to reach `peer` from the port `relay` that is under way.
    fn dialled(&mut self, relay: RelayId, peer: PeerAddr) -> Option<ConnectionId> {
        let of = &self.allocations.get_mut(relay)?.connections;
        let is_it = |id: &&ConnectionId| {
            let one = self.connections.get(**id);
            one.is_some_and(|one| one.peer == peer && matches!(one.standing, Standing::Dialling { .. }))
        };
        of.iter().find(is_it).copied()
    }
}
