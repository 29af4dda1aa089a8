//! The methods of [MS-TURN]: Allocate, which also refreshes and releases (§§ 3.3.5.1–3.3.5.2), Send, and Set Active
//! Destination (§ 3.3.5.3).
//!
//! What a client has once sent to is permitted as long as its allocation lives: no client of this dialect would permit it
//! again, and the number of permissions is bounded.

use crate::proto::auth::credential::Authenticated;
use crate::proto::media::TableChange;
use crate::proto::turn::Output;
use crate::proto::turn::allocation::Allocation;
use crate::proto::turn::legacy::Legacy;
use crate::proto::turn::reply::Answer;
use crate::proto::turn::reply::Asker;
use crate::proto::turn::reply::Grant;
use crate::proto::turn::reply::Reject;
use crate::proto::turn::server::Server;
use crate::proto::types::Deadline;
use crate::proto::types::Entropy;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Request;

use super::allocate::TCP;
use super::allocate::UDP;
use super::live_allocation;

impl<E: Entropy> Server<E> {
    /// A new allocation with an IPv4 address, or what becomes of the one that is there.
    pub(in crate::proto::turn) fn legacy_allocate(
        &mut self,
        now: Now,
        asker: &Asker,
        who: Authenticated,
        request: &Request<'_>,
        issued: Tick,
    ) -> Result<Answer, Reject> {
        if let Some(allocation) = self.allocations.of(&asker.from) {
            let relay = allocation.relay;
            if request.lifetime == Some(Lifetime::ZERO) {
                return self.release(now, asker, &who, request, relay);
            }
            if allocation.is_live(now) {
                return self.legacy_refresh(now, asker, &who, request);
            }
        } else if request.lifetime == Some(Lifetime::ZERO) {
            return Err(ErrorCode::AllocationMismatch.into());
        }
        // Who comes by a connection gets a port for connections, unless the operator relays none.
        let is_tcp = asker.from.transport.is_stream() && self.config.connections_per_allocation > 0;
        let transport = if is_tcp { TCP } else { UDP };
        let asked =
            Request { requested_transport: Some(transport), requested_family: None, ..request.clone() };
        let answer = self.allocate(now, asker, who, &asked)?;
        if let Some(made) = self.allocations.of_mut(&asker.from).filter(|made| made.legacy.is_none()) {
            made.legacy = Some(Box::new(Legacy::new(request, issued, &mut self.entropy)));
        }
        Ok(answer)
    }

    /// The same relayed address goes on.
    fn legacy_refresh(
        &mut self,
        now: Now,
        asker: &Asker,
        who: &Authenticated,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        let relay = live_allocation(&mut self.allocations, now, asker, who)?.relay;
        let request = Request { requested_family: None, ..request.clone() };
        let lifetime = self.extend_legs(now, &request, relay)?;
        let allocation = self.allocations.named(relay).ok_or(ErrorCode::AllocationMismatch)?;
        let [relayed, _] = allocation.legs.granted(&self.config.relays);
        Ok(Answer::Now(Grant {
            relayed,
            mapped: Some(asker.from.client.socket()),
            lifetime: Some(lifetime),
            ..Grant::default()
        }))
    }

    /// Permits the destination, and has the data sent to it.
    pub(in crate::proto::turn) fn legacy_send(
        &mut self,
        now: Now,
        asker: &Asker,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        let (peer, relay) = self.legacy_permit(now, asker, request)?;
        let data = request.data.ok_or(ErrorCode::BadRequest)?;
        self.reach(now, asker, relay, peer)?;
        self.outputs.push_back(Output::SendToPeer { worker: asker.worker, relay, peer, data: data.into() });
        Ok(Answer::Later)
    }

    /// The destination is set before the answer leaves; on an error the old one stays.
    pub(in crate::proto::turn) fn set_active_destination(
        &mut self,
        now: Now,
        asker: &Asker,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        let (peer, relay) = self.legacy_permit(now, asker, request)?;
        self.reach(now, asker, relay, peer)?;
        if let Some(legacy) = self.allocations.of_mut(&asker.from).and_then(|of| of.legacy.as_deref_mut()) {
            legacy.destination = Some(peer);
        }
        self.change_table(relay, &TableChange::Destination { relay, peer });
        Ok(Answer::Now(Grant::default()))
    }

    /// Where connections are relayed, sees to it that there will be one to `peer`.
    fn reach(&mut self, now: Now, asker: &Asker, relay: RelayId, peer: PeerAddr) -> Result<(), ErrorCode> {
        let is_tcp = self.allocations.of(&asker.from).is_some_and(Allocation::is_tcp);
        if is_tcp { self.dial(now, asker, relay, peer) } else { Ok(()) }
    }

    /// Permits the address that the request names. Answers the peer, and the relay socket by which it is reached.
    fn legacy_permit(
        &mut self,
        now: Now,
        asker: &Asker,
        request: &Request<'_>,
    ) -> Result<(PeerAddr, RelayId), Reject> {
        let max = self.config.permissions_per_allocation;
        let allocation = self.allocations.of_mut(&asker.from).ok_or(ErrorCode::AllocationMismatch)?;
        if allocation.session_ends.is_due(now.tick()) {
            return Err(ErrorCode::Unauthenticated.into());
        }
        if !allocation.is_live(now) {
            return Err(ErrorCode::AllocationMismatch.into());
        }
        let peer = request.peers.iter().next().ok_or(ErrorCode::BadRequest)?;
        let leg = allocation.leg_to(now, peer.family());
        let relay = leg.ok_or(ErrorCode::PeerAddressFamilyMismatch)?.relay;
        let live = if allocation.is_tcp() { &self.live_tcp } else { &self.live };
        if !self.config.policy.allows(peer.socket(), live) {
            return Err(ErrorCode::Forbidden.into());
        }
        if !allocation.permissions.have_room(now.tick(), &[peer.ip()], max) {
            return Err(ErrorCode::InsufficientCapacity.into());
        }
        allocation.permissions.install(peer.ip(), Deadline::NEVER);
        let permit = TableChange::Permit { relay, peer: peer.ip(), until: Deadline::NEVER };
        self.change_table(relay, &permit);
        Ok((peer, relay))
    }
}
