//! What happens to an allocation between its Allocate and the moment its last port is free again.
//!
//! A success leaves only when the worker has spoken about each relay socket, one at least is open and the table in
//! place; an end is over only when the worker has closed every socket.

use std::net::SocketAddr;

use crate::proto::media::Bandwidth;
use crate::proto::media::Counters;
use crate::proto::media::NewAllocation;
use crate::proto::media::TableChange;
use crate::proto::types::Deadline;
use crate::proto::types::Entropy;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::RelayProtocol;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;
use crate::proto::wire::ErrorCode;

use super::EndReason;
use super::Event;
use super::OpenFailure;
use super::Output;
use super::Server;
use super::allocation::Allocation;
use super::allocation::Draining;
use super::allocation::Live;
use super::allocation::State;
use super::allocation::Step;
use super::connections::is_tcp;
use super::legs::Leg;
use super::legs::LegState;
use super::legs::place;
use super::method::awaited_source;
use super::reply::Asker;
use super::reply::Grant;
use super::server::Timer;

impl<E: Entropy> Server<E> {
    /// Asks the worker for the socket of a leg that was just made, or for another port of it.
    pub(super) fn open(&mut self, now: Now, relay: RelayId) {
        let deadline = now.after(limits::RELAY_OPEN_DEADLINE);
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let worker = allocation.worker;
        let Some(leg) = allocation.legs.named_mut(relay) else { return };
        let LegState::Opening { tries, .. } = leg.state else { return };
        leg.state = LegState::Opening { tries: tries + 1, deadline };
        let bind = leg.bind(&self.config.relays);
        self.timers.arm(deadline, Timer::Opening(relay));
        self.outputs.push_back(match leg.protocol {
            RelayProtocol::Udp => Output::OpenRelay { worker, relay, bind },
            RelayProtocol::Tcp => Output::OpenPort { worker, relay, bind },
        });
    }

    pub(super) fn relay_opened(&mut self, now: Now, relay: RelayId, bound: RelayAddr) {
        if self.transit_goes_on(now, relay, true) {
            return;
        }
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let Some(leg) = allocation.legs.named_mut(relay) else { return };
        // A socket that was opened too late is closed already: the Close went out with the time-out.
        if !leg.is_opening() {
            return;
        }
        debug_assert_eq!(bound, leg.bind(&self.config.relays), "the worker binds what it was told");
        leg.state = LegState::Open { until: Deadline::NEVER, armed: Deadline::NEVER };
        self.settle(now, relay);
    }

    pub(super) fn relay_failed(&mut self, now: Now, relay: RelayId, why: OpenFailure) {
        if self.transit_goes_on(now, relay, false) {
            return;
        }
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        if matches!(allocation.state, State::Live(_)) {
            // It was asked for again after a panic, and is gone.
            return self.lose(relay);
        }
        let State::Opening(opening) = &mut allocation.state else { return };
        let Some(leg) = allocation.legs.named_mut(relay) else { return };
        let tries = match leg.state {
            LegState::Opening { tries, .. } => tries,
            // Open, while the other leg was waited for, and then lost: the client does not know it yet.
            LegState::Open { .. } => 1,
            _ => return,
        };
        let bind = leg.bind(&self.config.relays);
        let may_try = opening.unwanted.is_none() && why == OpenFailure::PortTaken;
        let wish = opening.wish.filter(|_| may_try && tries < limits::PORT_TRIES_MAX);
        let pool = &mut self.pools[leg.pool(self.config.relays.len())];
        pool.quarantine(now, leg.port);
        // The port beside the refused one is no half of a pair any more.
        if let Some(token) = opening.reservation_token.take() {
            pool.cancel(token);
        }
        let another = wish.and_then(|wish| pool.draw_reserving(now, wish, &mut self.entropy));
        self.outputs.push_back(Output::Event(Event::PortRefused { bind, why }));
        if let Some((port, token)) = another {
            leg.port = port;
            leg.state = LegState::Opening { tries, deadline: Deadline::NEVER };
            opening.reservation_token = token;
            return self.open(now, relay);
        }
        leg.state = LegState::Gone;
        opening.refused[place(leg.family)] = Some(match why {
            OpenFailure::PortTaken | OpenFailure::NoRoom => ErrorCode::InsufficientCapacity,
            OpenFailure::AddressGone | OpenFailure::Other => ErrorCode::ServerError,
        });
        self.settle(now, relay);
    }

    /// The worker did not say in time whether the socket is open.
    pub(super) fn opening_due(&mut self, now: Now, relay: RelayId) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let worker = allocation.worker;
        let State::Opening(opening) = &mut allocation.state else { return };
        let Some(leg) = allocation.legs.named_mut(relay) else { return };
        match leg.state {
            LegState::Opening { deadline, .. } if deadline.is_due(now.tick()) => {}
            _ => return,
        }
        leg.state = LegState::Closing { at: Some(worker), quarantine: true, asker: None };
        if let Some(token) = opening.reservation_token.take() {
            self.pools[leg.pool(self.config.relays.len())].cancel(token);
        }
        opening.refused[place(leg.family)] = Some(ErrorCode::ServerError);
        self.outputs.push_back(Output::CloseRelay { worker, relay });
        self.settle(now, relay);
    }

    /// Goes on with an allocation once the worker has spoken about each of its legs.
    fn settle(&mut self, now: Now, relay: RelayId) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let State::Opening(opening) = &allocation.state else { return };
        let relay = allocation.relay;
        let any = |is: fn(&Leg) -> bool| allocation.legs.iter().any(is);
        if any(Leg::is_opening) {
            return;
        }
        match (any(Leg::is_open), opening.unwanted.is_some()) {
            (true, false) => self.come_alive(now, relay),
            (true, true) => self.close_unwanted(now, relay),
            (false, _) if any(Leg::is_closing) => self.give_up_late(now, relay),
            (false, _) => self.give_up(now, relay),
        }
    }

    fn come_alive(&mut self, now: Now, relay: RelayId) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let source = &mut self.bucket_source;
        let bandwidth = Bandwidth {
            allocation: self.config.bandwidth_per_allocation.map(|rate| source.bucket(rate)),
            user: self.user_buckets.hold(now.tick(), &allocation.owner.quota, source),
        };
        let live = State::Live(Live { since: now.tick(), bandwidth: bandwidth.clone() });
        let State::Opening(opening) = allocation.go(Step::Opened, live) else {
            unreachable!("only an opening allocation comes alive");
        };
        let until = allocation.until(now, opening.lifetime);
        let armed = until.min(now.after(self.config.lifetime_max.as_duration()));
        let (worker, five_tuple, dialect) = (allocation.worker, allocation.five_tuple, allocation.dialect);
        for leg in allocation.legs.iter_mut().filter(|leg| leg.is_open()) {
            leg.state = LegState::Open { until, armed };
            leg.granted = true;
            let relayed = leg.relayed(&self.config.relays);
            let bandwidth = bandwidth.clone();
            let protocol = leg.protocol;
            let relay = leg.relay;
            let insert = NewAllocation { relay, five_tuple, dialect, relayed, until, bandwidth, protocol };
            self.timers.arm(armed, Timer::Lifetime(relay));
            self.outputs.push_back(Output::Table { worker, change: TableChange::Insert(Box::new(insert)) });
            if is_tcp(protocol) {
                self.live_tcp.insert(relayed.socket());
                continue;
            }
            self.live.insert(relayed.socket());
            self.outputs.push_back(Output::TableOfAll {
                change: TableChange::OwnRelay { address: relayed.socket(), live: true },
            });
        }
        let [Some(relayed), additional] = allocation.legs.granted(&self.config.relays) else {
            unreachable!("a leg is open, or it would not come alive");
        };
        let made = Event::AllocationMade {
            relay,
            five_tuple,
            user: allocation.owner.quota.clone(),
            relayed,
            lifetime: opening.lifetime,
            additional,
        };
        let stream = allocation.legacy.as_deref().map(|legacy| legacy.stream);
        let ticket = if opening.mobile { self.next_ticket(relay) } else { None };
        self.succeed(
            now,
            &opening.asker,
            Grant {
                relayed: Some(relayed),
                mapped: Some(opening.asker.from.client.socket()),
                lifetime: Some(opening.lifetime),
                reservation_token: opening.reservation_token,
                additional,
                address_error: opening.address_error(),
                ticket,
                connection: None,
            },
        );
        self.event(made);
        if let Some(stream) = stream {
            self.event(Event::LegacyMade { stream });
        }
    }

    /// The end was asked for while sockets were being opened.
    fn close_unwanted(&mut self, now: Now, relay: RelayId) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let State::Opening(opening) = &mut allocation.state else { return };
        let Some((reason, asker)) = opening.unwanted.take() else { return };
        let draining = State::Draining(Box::new(Draining { ended: None, asker }));
        let State::Opening(opening) = allocation.go(Step::OpenedUnwanted, draining) else {
            unreachable!("matched above");
        };
        let (worker, user) = (allocation.worker, allocation.owner.quota.clone());
        for leg in allocation.legs.iter_mut().filter(|leg| leg.is_open()) {
            leg.state = LegState::Closing { at: Some(worker), quarantine: false, asker: None };
            if let Some(token) = opening.reservation_token {
                self.pools[leg.pool(self.config.relays.len())].cancel(token);
            }
            self.outputs.push_back(Output::CloseRelay { worker, relay: leg.relay });
        }
        let code = match reason {
            EndReason::Shutdown => self.refusal_while_draining(&opening.asker.from),
            EndReason::Released | EndReason::Expired | EndReason::Lost | EndReason::Disconnected => None,
        };
        if let Some(code) = code {
            self.note_refusal(&opening.asker, Some(user), code);
        }
        self.reject(now, &opening.asker, code.unwrap_or(ErrorCode::AllocationMismatch).into());
    }

    /// No socket can be had, and of one the worker still has to say that it is closed.
    fn give_up_late(&mut self, now: Now, relay: RelayId) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let State::Opening(opening) = &mut allocation.state else { return };
        let asker = opening.unwanted.take().and_then(|(_, asker)| asker);
        let draining = State::Draining(Box::new(Draining { ended: None, asker }));
        let State::Opening(opening) = allocation.go(Step::OpenTimedOut, draining) else {
            unreachable!("matched above");
        };
        let (code, user) = (opening.refusal(), allocation.owner.quota.clone());
        self.note_refusal(&opening.asker, Some(user), code);
        self.reject(now, &opening.asker, code.into());
    }

    /// No socket can be had: the allocation never was. Its ports are accounted for already.
    fn give_up(&mut self, now: Now, relay: RelayId) {
        let Some(gone) = self.allocations.remove(relay) else { return };
        debug_assert!(gone.phase().after(Step::OpenFailed).is_some());
        self.uncount(&gone);
        self.bury_nonces(now, &gone);
        let State::Opening(opening) = gone.state else { return };
        let code = opening.refusal();
        self.note_refusal(&opening.asker, Some(gone.owner.quota), code);
        self.reject(now, &opening.asker, code.into());
        if let Some((_, Some(asker))) = opening.unwanted {
            self.succeed(now, &asker, released());
        }
    }

    pub(super) fn lifetime_due(&mut self, now: Now, relay: RelayId) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let Some(leg) = allocation.legs.named_mut(relay) else { return };
        let LegState::Open { until, armed } = &mut leg.state else { return };
        if until.is_due(now.tick()) {
            return self.end_leg(relay, EndReason::Expired, None);
        }
        // It was extended, or shortened and then extended. One armed timer is enough.
        if armed.is_due(now.tick()) {
            // Never far ahead: what ends sooner leaves its timer behind.
            *armed = (*until).min(now.after(self.config.lifetime_max.as_duration()));
            self.timers.arm(*armed, Timer::Lifetime(relay));
        }
    }

    /// Lets the leg `relay` live until `until`, which may be sooner than before.
    pub(super) fn extend(&mut self, relay: RelayId, until: Deadline) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let Some(leg) = allocation.legs.named_mut(relay) else { return };
        let LegState::Open { until: end, armed } = &mut leg.state else { return };
        *end = until;
        if until < *armed {
            *armed = until;
            self.timers.arm(until, Timer::Lifetime(relay));
        }
        self.change_table(relay, &TableChange::Extend { relay, until });
    }

    /// Ends the leg `relay` of a live allocation; with the last one the allocation ends. `asker` hears of it when the
    /// socket is closed.
    pub(super) fn end_leg(&mut self, relay: RelayId, reason: EndReason, asker: Option<Asker>) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        if !allocation.legs.iter().any(|leg| leg.is_open() && leg.relay != relay) {
            return self.end(relay, reason, asker);
        }
        let worker = allocation.worker;
        let Some(leg) = allocation.legs.named_mut(relay) else { return };
        leg.state = LegState::Closing { at: Some(worker), quarantine: false, asker: asker.map(Box::new) };
        let (address, family) = (leg.relayed(&self.config.relays).socket(), leg.family);
        let protocol = leg.protocol;
        Self::close_copies(&mut self.outputs, leg);
        allocation.permissions.forget(family);
        allocation.channels.forget(family);
        self.close(worker, relay, address, protocol);
        self.forget_connections(relay, |closing| closing == family);
    }

    /// Ends an allocation in whatever phase. `asker` hears of it when its sockets are closed.
    pub(super) fn end(&mut self, relay: RelayId, reason: EndReason, asker: Option<Asker>) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        match &mut allocation.state {
            State::Opening(opening) => {
                if opening.unwanted.is_none() {
                    opening.unwanted = Some((reason, asker));
                }
            }
            State::Live(live) => {
                let ended = Some((live.since, reason));
                allocation.go(Step::Ended, State::Draining(Box::new(Draining { ended, asker })));
                // Who waited for a move asks again, and is told that there is nothing to move.
                allocation.mobility.transit = None;
                let worker = allocation.worker;
                let mut open = [None; 2];
                for (leg, open) in allocation.legs.iter_mut().filter(|leg| leg.is_open()).zip(&mut open) {
                    leg.state = LegState::Closing { at: Some(worker), quarantine: false, asker: None };
                    *open = Some((leg.relay, leg.relayed(&self.config.relays).socket(), leg.protocol));
                    Self::close_copies(&mut self.outputs, leg);
                }
                for (relay, address, protocol) in open.into_iter().flatten() {
                    self.close(worker, relay, address, protocol);
                }
                self.forget_connections(relay, |_| true);
            }
            State::Draining(_) => {}
        }
    }

    /// Takes a relayed address that lived out of the world.
    fn close(&mut self, worker: WorkerId, relay: RelayId, address: SocketAddr, protocol: RelayProtocol) {
        self.outputs.push_back(Output::Table { worker, change: TableChange::Remove { relay } });
        if is_tcp(protocol) {
            self.live_tcp.remove(address);
        } else {
            self.live.remove(address);
            self.outputs
                .push_back(Output::TableOfAll { change: TableChange::OwnRelay { address, live: false } });
        }
        self.outputs.push_back(Output::CloseRelay { worker, relay });
    }

    pub(super) fn relay_closed(&mut self, now: Now, worker: WorkerId, relay: RelayId, counters: Counters) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let Some(leg) = allocation.legs.named_mut(relay) else { return };
        let was_copy = leg.copies.one_closed(worker);
        match &mut leg.state {
            _ if was_copy => {}
            LegState::Closing { at, .. } if *at == Some(worker) => *at = None,
            _ => return,
        }
        allocation.carried.add(counters);
        // While one worker has it the port is taken, whether that read it or only sent.
        if !leg.is_closed_everywhere() {
            return;
        }
        let LegState::Closing { quarantine, asker, .. } = std::mem::replace(&mut leg.state, LegState::Gone)
        else {
            unreachable!("asked above");
        };
        let pool = &mut self.pools[leg.pool(self.config.relays.len())];
        if quarantine {
            pool.quarantine(now, leg.port);
        } else {
            pool.release(leg.port);
        }
        let is_last =
            allocation.phase().after(Step::Closed).is_some() && !allocation.legs.iter().any(Leg::is_closing);
        if let Some(asker) = asker {
            self.succeed(now, &asker, released());
        }
        if is_last {
            return self.bury(now, relay);
        }
        // Of a way that a panic cut short the worker says nothing but this.
        self.arrived_in_transit(now, relay, true);
    }

    /// The last socket of an allocation is closed.
    fn bury(&mut self, now: Now, relay: RelayId) {
        let Some(gone) = self.allocations.remove(relay) else { return };
        let granted = gone.legs.granted(&self.config.relays);
        self.uncount(&gone);
        self.bury_nonces(now, &gone);
        let State::Draining(draining) = gone.state else { return };
        if let Some(asker) = draining.asker {
            self.succeed(now, &asker, released());
        }
        if let (Some((since, reason)), [Some(relayed), additional]) = (draining.ended, granted) {
            self.user_buckets.release(now.tick(), &gone.owner.quota);
            self.event(Event::AllocationEnded {
                relay: gone.relay,
                five_tuple: gone.five_tuple,
                user: gone.owner.quota,
                relayed,
                reason,
                lived_s: (now.tick().as_millis() - since.as_millis()) / 1_000,
                counters: gone.carried,
                additional,
            });
        }
    }

    /// Ends the next allocation of a server that is leaving.
    pub(super) fn end_next(&mut self) {
        let Some(slot) = self.ending else { return };
        if slot >= self.allocations.slots() {
            self.ending = None;
            return;
        }
        self.ending = Some(slot + 1);
        if let Some(allocation) = self.allocations.at_slot(slot) {
            self.end(allocation.relay, EndReason::Shutdown, None);
        }
    }

    fn uncount(&mut self, gone: &Allocation) {
        self.per_user.remove(&gone.owner.quota);
        self.per_address.remove(&Self::source(gone.five_tuple.client));
        if let Some(source) = awaited_source::<E>(gone) {
            self.per_address.remove(&source);
        }
    }
}

/// The answer to a Refresh with LIFETIME 0 (RFC 8656 § 8.3).
fn released() -> Grant {
    Grant { lifetime: Some(Lifetime::ZERO), ..Grant::default() }
}
