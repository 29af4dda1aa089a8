//! Peers' connections with TCP allocations (RFC 6062): from the Connect request, or the peer's SYN, until one of both ends
//! is gone.
//!
//! ```text
//!   Connect ──▶ Connecting ──Connected──▶ Pending ──ConnectionBind──▶ Joined
//!                   │                     ▲  │                           │
//!                   │ fails, or 30 s: 447 │  │ 30 s: closed              │ ends
//!                   ▼                Arrived ▼                           ▼
//!                 Gone                     Gone                        Gone
//! ```
//!
//! With its allocation each of them ends: the worker closes all of a port when it closes the port. A Connect that waits
//! then gets no answer: who asked has given the allocation back, or has let it run out.

use std::collections::HashMap;

use crate::proto::peers::LiveRelays;
use crate::proto::peers::OwnRelays;
use crate::proto::types::ConnectionId;
use crate::proto::types::Deadline;
use crate::proto::types::Entropy;
use crate::proto::types::Family;
use crate::proto::types::FiveTuple;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::PeerId;
use crate::proto::types::PeerOrder;
use crate::proto::types::PeerReport;
use crate::proto::types::RelayId;
use crate::proto::types::RelayProtocol;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::TransactionId;
use crate::proto::wire::connection;

use super::Event;
use super::Output;
use super::PeerMoment;
use super::RelayAddress;
use super::Server;
use super::allocation::Allocation;
use super::allocation::State;
use super::reply::Asker;
use super::reply::Grant;
use super::retransmit::Key;
use super::server::Timer;

/// One peer's connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// The port it belongs to, and with it the allocation.
    pub(super) relay: RelayId,
    pub(super) worker: WorkerId,
    /// The peer, as its client names it.
    pub(super) peer: PeerAddr,
    pub(super) standing: Standing,
    /// When its standing must have changed.
    deadline: Deadline,
}

/// How far a connection is.
#[derive(Debug)]
pub(super) enum Standing {
    /// A Connect request waits for it.
    Connecting {
        asker: Box<Asker>,
        /// The peer, as this machine reaches it.
        to: PeerAddr,
    },
    /// It waits for a ConnectionBind.
    Pending,
    /// It is joined to this connection of the client.
    Joined(FiveTuple),
    /// On its way for a client of [MS-TURN], which asked for no answer.
    Dialling {
        /// The peer, as this machine reaches it.
        to: PeerAddr,
    },
    /// There, for a client of [MS-TURN]: what comes on it is framed for the client, and nobody binds it.
    Talking,
}

/// All of them, by name.
#[derive(Debug)]
pub(super) struct Connections(HashMap<ConnectionId, Connection, ahash::RandomState>);

impl Connections {
    pub(super) fn new(hasher: ahash::RandomState) -> Self {
        Self(HashMap::with_hasher(hasher))
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.0.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.0.get_mut(&id)
    }

    /// The names of all.
    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = ConnectionId> {
        self.0.keys().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The connection of an allocation with this peer.
    fn with(&self, of: &Allocation, peer: PeerAddr) -> Option<&Connection> {
        of.connections.iter().filter_map(|id| self.get(*id)).find(|connection| connection.peer == peer)
    }
}

/// What stands against one more connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoConnection {
    /// There is one with this peer.
    Exists,
    /// This very request waits for it.
    Awaited,
    /// The policy does not let it be.
    Forbidden,
    /// There are as many as there may be.
    Full,
}

impl<E: Entropy> Server<E> {
    /// Whether the allocation of `relay` may have one more connection, with `peer`. `asked` is the request for it, where
    /// there is one.
    pub(super) fn may_connect(
        &self,
        relay: RelayId,
        peer: PeerAddr,
        asked: Option<&Key>,
    ) -> Result<(), NoConnection> {
        let Some(allocation) = self.allocations.named(relay) else { return Err(NoConnection::Forbidden) };
        if let Some(there) = self.connections.with(allocation, peer) {
            let is_same =
                matches!(&there.standing, Standing::Connecting { asker, .. } if Some(&asker.key()) == asked);
            return Err(if is_same { NoConnection::Awaited } else { NoConnection::Exists });
        }
        // Its own relayed address would be joined to itself.
        let own =
            allocation.legs.iter().any(|leg| leg.relayed(&self.config.relays).socket() == peer.socket());
        if own || !self.config.policy.allows(peer.socket(), &self.live_tcp) {
            return Err(NoConnection::Forbidden);
        }
        let all = allocation.connections.len() >= self.config.connections_per_allocation;
        let is_connecting = |id: &&ConnectionId| {
            let one = self.connections.get(**id);
            one.is_some_and(|one| {
                matches!(one.standing, Standing::Connecting { .. } | Standing::Dialling { .. })
            })
        };
        let connecting = || allocation.connections.iter().filter(is_connecting).count();
        let waiting = asked.is_some() && connecting() >= self.config.connects_per_allocation;
        if all || waiting || self.connections.len() >= limits::PEER_CONNECTIONS_MAX as usize {
            return Err(NoConnection::Full);
        }
        Ok(())
    }

    /// Asks the worker to connect from the port `relay` to `peer`; `asker` hears of what becomes of it.
    pub(super) fn begin_connection(&mut self, now: Now, asker: &Asker, relay: RelayId, peer: PeerAddr) {
        let to = way_to(&self.config.relays, &self.live_tcp, peer);
        let standing = Standing::Connecting { asker: Box::new(asker.clone()), to };
        let deadline = now.after(limits::CONNECT_DEADLINE);
        let Some((worker, connection)) = self.add_connection(relay, peer, standing, deadline) else { return };
        let order = PeerOrder::Connect { connection, relay, to };
        self.outputs.push_back(Output::Peer { worker, order });
    }

    /// A worker has something to tell.
    pub(super) fn peer_report(&mut self, now: Now, worker: WorkerId, report: PeerReport) {
        match report {
            PeerReport::Arrived { relay, peer, arrival } => {
                if !self.peer_arrived(now, worker, relay, peer, arrival) {
                    let order = PeerOrder::Refuse { arrival };
                    self.outputs.push_back(Output::Peer { worker, order });
                }
            }
            PeerReport::Connected { connection } => self.peer_connected(now, connection),
            PeerReport::Ended { connection } => self.peer_ended(now, connection),
        }
    }

    /// Answers whether the connection may stay.
    fn peer_arrived(
        &mut self,
        now: Now,
        worker: WorkerId,
        relay: RelayId,
        source: PeerAddr,
        arrival: PeerId,
    ) -> bool {
        let peer = name_of(&self.config.relays, &self.live_tcp, source);
        if self.allocations.get_mut(relay).is_some_and(|one| one.legacy.is_some()) {
            return self.legacy_peer_arrived(now, worker, relay, peer, arrival);
        }
        let Some(allocation) = self.allocations.get_mut(relay).filter(|one| one.worker == worker) else {
            return false;
        };
        let is_live = matches!(allocation.state, State::Live(_))
            && allocation.leg_to(now, peer.family()).is_some_and(|leg| leg.relay == relay);
        let permitted = allocation.permissions.permit(now.tick(), peer.ip());
        let (name, five_tuple) = (allocation.relay, allocation.five_tuple);
        if !is_live || !permitted || self.may_connect(name, peer, None).is_err() {
            self.peer_event(relay, peer, PeerMoment::Refused);
            return false;
        }
        let deadline = now.after(limits::CONNECTION_BIND_DEADLINE);
        let Some((_, connection)) = self.add_connection(relay, peer, Standing::Pending, deadline) else {
            return false;
        };
        let order = PeerOrder::Admit { arrival, connection };
        self.outputs.push_back(Output::Peer { worker, order });
        let mut id = [0; 12];
        self.entropy.fill_secret(&mut id);
        let mut out = [0; connection::CONNECTION_ATTEMPT_MAX];
        let len = connection::encode_attempt(TransactionId::with_cookie(id), peer, connection, &mut out);
        self.outputs.push_back(Output::Reply { worker, to: five_tuple, bytes: out[..len].into() });
        self.peer_event(relay, peer, PeerMoment::Arrived);
        true
    }

    fn peer_connected(&mut self, now: Now, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if matches!(connection.standing, Standing::Dialling { .. }) {
            connection.standing = Standing::Talking;
            let (relay, peer) = (connection.relay, connection.peer);
            return self.peer_event(relay, peer, PeerMoment::Connected);
        }
        if !matches!(connection.standing, Standing::Connecting { .. }) {
            return;
        }
        let deadline = now.after(limits::CONNECTION_BIND_DEADLINE);
        connection.deadline = deadline;
        let standing = std::mem::replace(&mut connection.standing, Standing::Pending);
        let (relay, peer) = (connection.relay, connection.peer);
        self.timers.arm(deadline, Timer::Connection(id));
        if let Standing::Connecting { asker, .. } = standing {
            self.succeed(now, &asker, Grant { connection: Some(id), ..Grant::default() });
        }
        self.peer_event(relay, peer, PeerMoment::Connected);
    }

    fn peer_ended(&mut self, now: Now, id: ConnectionId) {
        let Some(gone) = self.remove_connection(id) else { return };
        let moment = match gone.standing {
            Standing::Connecting { asker, .. } => {
                self.reject(now, &asker, ErrorCode::ConnectionTimeoutOrFailure.into());
                PeerMoment::Failed
            }
            Standing::Dialling { .. } => PeerMoment::Failed,
            Standing::Pending | Standing::Joined(_) | Standing::Talking => PeerMoment::Ended,
        };
        self.peer_event(gone.relay, gone.peer, moment);
    }

    /// The peer took too long to connect, or the client to ask for it.
    pub(super) fn connection_due(&mut self, now: Now, id: ConnectionId) {
        let is_late = |one: &&Connection| {
            let stays = matches!(one.standing, Standing::Joined(_) | Standing::Talking);
            one.deadline.is_due(now.tick()) && !stays
        };
        if self.connections.get(id).filter(is_late).is_none() {
            return;
        }
        let Some(gone) = self.remove_connection(id) else { return };
        let order = PeerOrder::Close { connection: id };
        self.outputs.push_back(Output::Peer { worker: gone.worker, order });
        let moment = match gone.standing {
            Standing::Connecting { asker, .. } => {
                self.reject(now, &asker, ErrorCode::ConnectionTimeoutOrFailure.into());
                PeerMoment::Failed
            }
            Standing::Dialling { .. } => PeerMoment::Failed,
            Standing::Pending | Standing::Joined(_) | Standing::Talking => PeerMoment::Unclaimed,
        };
        self.peer_event(gone.relay, gone.peer, moment);
    }

    /// Has the worker join a pending connection to `client`, whose request for it was granted.
    pub(super) fn join_connection(&mut self, id: ConnectionId, client: FiveTuple) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.standing = Standing::Joined(client);
        let (worker, relay, peer) = (connection.worker, connection.relay, connection.peer);
        let order = PeerOrder::Join { connection: id, client };
        self.outputs.push_back(Output::Peer { worker, order });
        self.peer_event(relay, peer, PeerMoment::Joined);
    }

    /// Forgets the connections of an allocation's ports of these families, which are being closed.
    pub(super) fn forget_connections(&mut self, relay: RelayId, closing: impl Fn(Family) -> bool) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let connections = &mut self.connections.0;
        allocation.connections.retain(|id| {
            let stays = connections.get(id).is_some_and(|one| !closing(one.peer.family()));
            if !stays {
                connections.remove(id);
            }
            stays
        });
    }

    /// Closes at most `max` connections of an allocation whose peers are denied; answers how many.
    pub(super) fn revoke_connections(
        &mut self,
        relay: RelayId,
        max: usize,
        is_allowed: impl Fn(PeerAddr) -> bool,
    ) -> usize {
        let Some(allocation) = self.allocations.named(relay) else { return 0 };
        let is_denied =
            |id: &&ConnectionId| self.connections.get(**id).is_some_and(|one| !is_allowed(one.peer));
        let denied: Vec<ConnectionId> =
            allocation.connections.iter().filter(is_denied).take(max).copied().collect();
        for id in &denied {
            let Some(gone) = self.remove_connection(*id) else { continue };
            let order = PeerOrder::Close { connection: *id };
            self.outputs.push_back(Output::Peer { worker: gone.worker, order });
            self.peer_event(gone.relay, gone.peer, PeerMoment::Revoked);
        }
        denied.len()
    }

    pub(super) fn add_connection(
        &mut self,
        relay: RelayId,
        peer: PeerAddr,
        standing: Standing,
        deadline: Deadline,
    ) -> Option<(WorkerId, ConnectionId)> {
        let allocation = self.allocations.get_mut(relay)?;
        let worker = allocation.worker;
        let id = loop {
            let mut drawn = [0; 4];
            self.entropy.fill_secret(&mut drawn);
            // There are fewer connections than an eighth of a worker's names, so this ends soon.
            let id = ConnectionId::new(u32::from_le_bytes(drawn), worker);
            if !self.connections.0.contains_key(&id) {
                break id;
            }
        };
        allocation.connections.push(id);
        self.connections.0.insert(id, Connection { relay, worker, peer, standing, deadline });
        self.timers.arm(deadline, Timer::Connection(id));
        Some((worker, id))
    }

    pub(super) fn remove_connection(&mut self, id: ConnectionId) -> Option<Connection> {
        let gone = self.connections.0.remove(&id)?;
        if let Some(allocation) = self.allocations.get_mut(gone.relay) {
            allocation.connections.retain(|each| *each != id);
        }
        Some(gone)
    }

    pub(super) fn peer_event(&mut self, relay: RelayId, peer: PeerAddr, moment: PeerMoment) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let (relay, user) = (allocation.relay, allocation.owner.quota.clone());
        self.event(Event::PeerConnection { relay, user, peer, moment });
    }
}

/// What a worker that lost its memory is told of an allocation's connections.
pub(super) fn orders_again<'a>(
    all: &'a Connections,
    of: &'a Allocation,
    relay: RelayId,
) -> impl Iterator<Item = PeerOrder> + 'a {
    let mine = of.connections.iter().filter_map(|id| Some((*id, all.get(*id)?)));
    mine.filter(move |(_, one)| one.relay == relay).map(move |(connection, one)| match &one.standing {
        Standing::Connecting { to, .. } => PeerOrder::Connect { connection, relay, to: *to },
        Standing::Dialling { to } => PeerOrder::Connect { connection, relay, to: *to },
        Standing::Pending | Standing::Talking => PeerOrder::Keep { connection },
        Standing::Joined(client) => PeerOrder::Join { connection, client: *client },
    })
}

/// Whether `output` is about a connection that there is no more.
pub(super) fn is_over(all: &Connections, output: &Output) -> bool {
    let Output::Peer { order, .. } = output else { return false };
    match order {
        PeerOrder::Connect { connection, .. }
        | PeerOrder::Keep { connection }
        | PeerOrder::Join { connection, .. } => all.get(*connection).is_none(),
        PeerOrder::Admit { .. } | PeerOrder::Refuse { .. } | PeerOrder::Close { .. } => false,
    }
}

/// Where `peer` is reached: the relayed address of a live allocation of this server as it is bound.
pub(super) fn way_to(relays: &[RelayAddress], live: &LiveRelays, peer: PeerAddr) -> PeerAddr {
    let own = relays.iter().find(|relay| relay.external == peer.ip()).filter(|_| live.is_live(peer.socket()));
    own.map_or(peer, |relay| PeerAddr::new((relay.bind, peer.port()).into()))
}

/// Whom a connection from `source` is from, as peers are named.
fn name_of(relays: &[RelayAddress], live: &LiveRelays, source: PeerAddr) -> PeerAddr {
    let external = relays.iter().find(|relay| relay.bind == source.ip());
    let external = external.map(|relay| PeerAddr::new((relay.external, source.port()).into()));
    external.filter(|external| live.is_live(external.socket())).unwrap_or(source)
}

/// Whether `protocol` is that of connections.
pub(super) const fn is_tcp(protocol: RelayProtocol) -> bool {
    matches!(protocol, RelayProtocol::Tcp)
}
