//! Refresh with MOBILITY-TICKET (RFC 8016 § 3.2), and what becomes of the move it asks for.

use std::net::IpAddr;

use crate::proto::auth::credential::Authenticated;
use crate::proto::auth::ticket::Claims;
use crate::proto::auth::ticket::Ticket;
use crate::proto::media::Counters;
use crate::proto::media::TableChange;
use crate::proto::turn::EndReason;
use crate::proto::turn::Event;
use crate::proto::turn::Output;
use crate::proto::turn::allocation::Allocation;
use crate::proto::turn::allocation::State;
use crate::proto::turn::legs::Leg;
use crate::proto::turn::mobility::Passage;
use crate::proto::turn::mobility::Transit;
use crate::proto::turn::reply::Answer;
use crate::proto::turn::reply::Asker;
use crate::proto::turn::reply::Grant;
use crate::proto::turn::reply::Reject;
use crate::proto::turn::server::Server;
use crate::proto::types::Entropy;
use crate::proto::types::FiveTuple;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;
use crate::proto::types::RelayId;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Method;
use crate::proto::wire::Request;

use super::is_owner;
use super::refuse_tunnelled;

/// RFC 8016 § 3.1.2: whether an Allocate asks for a ticket. 400 if it brings one, 405 where mobility is off.
pub(super) fn wants_mobility(request: &Request<'_>, allowed: bool) -> Result<bool, Reject> {
    match request.mobility_ticket {
        None => Ok(false),
        Some(ticket) if !ticket.is_empty() => Err(ErrorCode::BadRequest.into()),
        Some(_) if !allowed => Err(ErrorCode::MobilityForbidden.into()),
        Some(_) => Ok(true),
    }
}

/// What a client asks for.
impl<E: Entropy> Server<E> {
    /// The live allocation that the ticket of a Refresh names, whoever brings it. `None` unless it is the last ticket
    /// that the allocation gave out.
    pub(in crate::proto::turn) fn named_by_ticket(
        &self,
        request: &Request<'_>,
    ) -> Option<(&Allocation, Claims)> {
        if !self.config.mobility || request.method != Method::Refresh {
            return None;
        }
        let claims = self.tickets.read(request.mobility_ticket?)?;
        let allocation = self.allocations.at_slot(claims.slot as usize)?;
        let is_last = claims.number == allocation.mobility.ticket;
        (is_last && matches!(allocation.state, State::Live(_))).then_some((allocation, claims))
    }

    /// A Refresh that brings `ticket`: wherever it comes from is the client's new five-tuple, once data follows.
    pub(super) fn refresh_with_ticket(
        &mut self,
        now: Now,
        asker: &Asker,
        who: &Authenticated,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        if !self.config.mobility {
            return Err(ErrorCode::MobilityForbidden.into());
        }
        // RFC 8016 § 3.2.2: 400 for what this process did not write, 437 for what names no allocation any more.
        if request.mobility_ticket.and_then(|ticket| self.tickets.read(ticket)).is_none() {
            return Err(ErrorCode::BadRequest.into());
        }
        let (allocation, claims) = self.named_by_ticket(request).ok_or(ErrorCode::AllocationMismatch)?;
        let in_place = self.allocations.of(&asker.from).is_some_and(|there| there.relay == allocation.relay);
        // The ticket of a client that stayed may be older than its token. Elsewhere nobody adopts an allocation with a
        // token of its own: the ticket is no secret, and those who share a key id are not one user.
        if !is_owner(allocation, who) || !(in_place || claims.is_of(&who.username)) {
            return Err(ErrorCode::WrongCredentials.into());
        }
        if allocation.session_ends.is_due(now.tick()) {
            return Err(ErrorCode::Unauthenticated.into());
        }
        if !allocation.is_live(now) {
            return Err(ErrorCode::AllocationMismatch.into());
        }
        let relay = allocation.relay;
        if in_place {
            // It is there already: an ordinary Refresh, which gets a new ticket.
            return self.refresh_in_place(now, asker, who, request, relay);
        }
        if self.allocations.of(&asker.from).is_some() {
            return Err(ErrorCode::AllocationMismatch.into());
        }
        refuse_tunnelled(asker)?;
        if request.lifetime == Some(Lifetime::ZERO) {
            return self.release(now, asker, who, request, relay);
        }
        if allocation.mobility.transit.is_some() {
            // Its ticket was the last one a moment ago. The client asks again.
            return Ok(Answer::Later);
        }
        let old = Self::source(allocation.five_tuple.client);
        let new = Self::source(asker.from.client);
        if old != new && self.per_address.is_reached(&new) {
            return Err(ErrorCode::AllocationQuotaReached.into());
        }
        let lifetime = self.extend_legs(now, request, relay)?;
        Ok(self.move_to(now, asker, relay, lifetime))
    }

    fn refresh_in_place(
        &mut self,
        now: Now,
        asker: &Asker,
        who: &Authenticated,
        request: &Request<'_>,
        relay: RelayId,
    ) -> Result<Answer, Reject> {
        if request.lifetime == Some(Lifetime::ZERO) {
            return self.release(now, asker, who, request, relay);
        }
        let lifetime = self.extend_legs(now, request, relay)?;
        let ticket = self.next_ticket(relay);
        Ok(Answer::Now(Grant { lifetime: Some(lifetime), ticket, ..Grant::default() }))
    }

    /// A ticket that makes the earlier ones of this allocation worthless.
    pub(in crate::proto::turn) fn next_ticket(&mut self, relay: RelayId) -> Option<Ticket> {
        let allocation = self.allocations.get_mut(relay)?;
        let user = &allocation.owner.username;
        let (ticket, number) = self.tickets.write(allocation.relay.index, user, &mut self.entropy);
        allocation.mobility.ticket = number;
        Some(ticket)
    }

    /// Awaits the client where the Refresh came from. The old five-tuple stays the client's until it is seen there.
    fn move_to(&mut self, now: Now, asker: &Asker, relay: RelayId, lifetime: Lifetime) -> Answer {
        self.expect_no_longer(now, relay);
        self.allocations.await_at(relay, asker.from);
        let Some(allocation) = self.allocations.get_mut(relay) else { return Answer::Later };
        if let Some(source) = awaited_source::<E>(allocation) {
            self.per_address.add(&source);
        }
        if allocation.worker == asker.worker {
            let (worker, next) = (allocation.worker, asker.from);
            for leg in allocation.legs.iter().filter(|leg| leg.is_open()) {
                let change = TableChange::Await { relay: leg.relay, next };
                self.outputs.push_back(Output::Table { worker, change });
            }
            let ticket = self.next_ticket(relay);
            return Answer::Now(Grant { lifetime: Some(lifetime), ticket, ..Grant::default() });
        }
        // The ticket is used up from here on, not from the answer on.
        allocation.mobility.ticket = 0;
        let giver = std::mem::replace(&mut allocation.worker, asker.worker);
        let mut outstanding = 0;
        for leg in allocation.legs.iter_mut().filter(|leg| leg.is_open()) {
            // If a copy is kept elsewhere, it is for the old five-tuple; the giver hears nobody then.
            let keep = leg.copies.workers().next().is_none();
            leg.copies.remove(asker.worker);
            leg.copies.add(giver);
            leg.passage = Passage::Leaving { keep };
            self.outputs.push_back(Output::DetachRelay { worker: giver, relay: leg.relay, keep });
            outstanding += 1;
        }
        let transit =
            Transit { asker: asker.clone(), lifetime, giver, outstanding, lost: false, arrived: false };
        allocation.mobility.transit = Some(Box::new(transit));
        Answer::Later
    }

    /// Whoever was awaited is awaited no longer.
    fn expect_no_longer(&mut self, now: Now, relay: RelayId) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let (awaited, through) = (allocation.mobility.next(), allocation.transactions.next_nonce());
        if let Some(source) = awaited_source::<E>(allocation) {
            self.per_address.remove(&source);
        }
        self.allocations.await_nowhere(relay);
        if let Some(awaited) = awaited {
            self.bury_nonces_of(now, awaited, through);
        }
    }
}

/// What the workers say.
impl<E: Entropy> Server<E> {
    /// A worker gave the socket of a leg away, with what it counted, or could not.
    pub(in crate::proto::turn) fn relay_detached(
        &mut self,
        now: Now,
        relay: RelayId,
        given: Option<(Counters, bool)>,
    ) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        // Told now, it counts whether the socket arrives or not.
        allocation.carried.add(given.map_or_else(Counters::default, |(counters, _)| counters));
        let worker = allocation.worker;
        let (Some(transit), Some(next)) = (&allocation.mobility.transit, allocation.mobility.next()) else {
            // It ended meanwhile. What was given is dropped, which closes it.
            return;
        };
        let giver = transit.giver;
        let Some(leg) = allocation.legs.named_mut(relay) else { return };
        match given {
            Some((_, kept)) if leg.is_open() => {
                if !kept {
                    leg.copies.remove(giver);
                }
                leg.passage = Passage::Arriving;
                self.outputs.push_back(Output::AttachRelay { worker, relay, next });
            }
            None if leg.is_open() => self.arrived_in_transit(now, relay, false),
            // This leg ended meanwhile.
            _ => self.arrived_in_transit(now, relay, true),
        }
    }

    /// Whether the word of a worker about the socket of `relay` is about its transit; then that goes on.
    pub(in crate::proto::turn) fn transit_goes_on(
        &mut self,
        now: Now,
        relay: RelayId,
        is_open: bool,
    ) -> bool {
        let is_arriving = self.allocations.get_mut(relay).is_some_and(|allocation| {
            let leg = allocation.legs.named(relay);
            allocation.mobility.transit.is_some() && leg.is_some_and(|leg| leg.passage == Passage::Arriving)
        });
        if is_arriving {
            self.arrived_in_transit(now, relay, is_open);
        }
        is_arriving
    }

    /// One leg is at the end of its way, if it is on one.
    pub(in crate::proto::turn) fn arrived_in_transit(&mut self, now: Now, relay: RelayId, is_open: bool) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let Some(leg) = allocation.legs.named_mut(relay) else { return };
        if std::mem::replace(&mut leg.passage, Passage::Settled) == Passage::Settled {
            return;
        }
        let relay = allocation.relay;
        let Some(transit) = &mut allocation.mobility.transit else { return };
        transit.lost |= !is_open;
        transit.outstanding -= 1;
        if transit.outstanding > 0 {
            return;
        }
        let Some(transit) = allocation.mobility.transit.take() else { return };
        if transit.lost {
            self.reject(now, &transit.asker, ErrorCode::ServerError.into());
            return self.end(relay, EndReason::Lost, None);
        }
        // It was extended when the move began, and the workers may have taken their time.
        let left = allocation.legs.iter().filter_map(|leg| leg.left(now)).max().unwrap_or_default();
        let left = Lifetime::from_secs(u32::try_from(left.as_secs()).unwrap_or(u32::MAX));
        let ticket = self.next_ticket(relay);
        let grant = Grant { lifetime: Some(transit.lifetime.min(left)), ticket, ..Grant::default() };
        self.succeed(now, &transit.asker, grant);
        if transit.arrived {
            self.client_arrived(now, transit.asker.from);
        }
    }

    /// A request that was granted shows, as data does, that the client is where it was awaited: one that only listens
    /// may send nothing else. The Refresh that asks for the move shows nothing yet.
    pub(in crate::proto::turn) fn note_request_from(
        &mut self,
        now: Now,
        asker: &Asker,
        request: &Request<'_>,
    ) {
        let awaited = self.allocations.of(&asker.from).and_then(|allocation| allocation.mobility.next());
        if awaited == Some(asker.from) && request.mobility_ticket.is_none() {
            self.client_arrived(now, asker.from);
        }
    }

    /// Data came from where a client was awaited: its old five-tuple is over (RFC 8016 § 3.2.2).
    pub(in crate::proto::turn) fn client_arrived(&mut self, now: Now, from: FiveTuple) {
        let Some(allocation) = self.allocations.of_mut(&from) else { return };
        let (relay, worker) = (allocation.relay, allocation.worker);
        if !matches!(allocation.state, State::Live(_)) {
            return;
        }
        // Its data was quicker than the word of a worker: every leg must have come along before the old place is over.
        if let Some(transit) = &mut allocation.mobility.transit {
            transit.arrived |= transit.asker.from == from;
            return;
        }
        // Told of one leg before the other had come along, it is told of again: then the table alone is to be changed.
        let is_news = allocation.mobility.next() == Some(from);
        if !is_news && allocation.five_tuple != from {
            return;
        }
        let (user, old) = (allocation.owner.quota.clone(), allocation.five_tuple);
        let moved = Event::AllocationMoved { relay, user, from: old, to: from };
        let through = allocation.transactions.next_nonce();
        let counted = awaited_source::<E>(allocation).is_some();
        for leg in allocation.legs.iter_mut().filter(|leg| leg.is_open()) {
            let relay = leg.relay;
            self.outputs.push_back(Output::Table { worker, change: TableChange::Settle { relay } });
            for worker in leg.copies.close() {
                self.outputs.push_back(Output::Table { worker, change: TableChange::Remove { relay } });
                self.outputs.push_back(Output::CloseRelay { worker, relay });
            }
        }
        if is_news {
            if counted {
                self.per_address.remove(&Self::source(old.client));
            }
            self.allocations.settle(relay);
            self.bury_nonces_of(now, old, through);
            self.event(moved);
        }
    }

    /// Tells every worker that judges packets of the leg `relay`.
    pub(in crate::proto::turn) fn change_table(&mut self, relay: RelayId, change: &TableChange) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let Some(leg) = allocation.legs.named(relay) else { return };
        for worker in std::iter::once(allocation.worker).chain(leg.copies.workers()) {
            self.outputs.push_back(Output::Table { worker, change: change.clone() });
        }
    }

    /// The copies of a leg that ends are closed too.
    pub(in crate::proto::turn) fn close_copies(
        outputs: &mut std::collections::VecDeque<Output>,
        leg: &mut Leg,
    ) {
        let relay = leg.relay;
        for worker in leg.copies.close() {
            outputs.push_back(Output::Table { worker, change: TableChange::Remove { relay } });
            outputs.push_back(Output::CloseRelay { worker, relay });
        }
    }
}

/// The source address that an allocation counts for besides its own: where its client is awaited, if that is another.
pub(in crate::proto::turn) fn awaited_source<E: Entropy>(allocation: &Allocation) -> Option<IpAddr> {
    let next = Server::<E>::source(allocation.mobility.next()?.client);
    (next != Server::<E>::source(allocation.five_tuple.client)).then_some(next)
}
