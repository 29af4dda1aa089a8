//! What happens to an allocation between its Allocate and the moment its port is free again.
//!
//! A success leaves only when the relay socket is open and the table in place; an end is over only when the worker
//! has closed the socket.

use crate::proto::media::Bandwidth;
use crate::proto::media::Bucket;
use crate::proto::media::Counters;
use crate::proto::media::NewAllocation;
use crate::proto::media::TableChange;
use crate::proto::types::Entropy;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
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
use super::ports::Wish;
use super::reply::Asker;
use super::reply::Grant;
use super::server::Timer;

impl<E: Entropy> Server<E> {
    /// Asks the worker for the relay socket of an allocation that was just made, or for another port of it.
    pub(super) fn open(&mut self, now: Now, relay: RelayId) {
        let deadline = now.after(limits::RELAY_OPEN_DEADLINE);
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let State::Opening(opening) = &mut allocation.state else { return };
        opening.tries += 1;
        opening.deadline = deadline;
        let bind = allocation.bind(&self.config.relays);
        let worker = allocation.worker;
        self.timers.arm(deadline, Timer::Opening(relay));
        self.outputs.push_back(Output::OpenRelay { worker, relay, bind });
    }

    pub(super) fn relay_opened(&mut self, now: Now, relay: RelayId, bound: RelayAddr) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        // A socket that was opened too late is closed already: the Close went out with the time-out.
        let State::Opening(opening) = &allocation.state else { return };
        debug_assert_eq!(bound, allocation.bind(&self.config.relays), "the worker binds what it was told");
        if opening.unwanted.is_some() {
            return self.close_unwanted(now, relay);
        }
        let until = now.after(opening.lifetime.as_duration());
        let live = State::Live(Live { since: now.tick(), until, armed: until });
        let State::Opening(opening) = allocation.go(Step::Opened, live) else {
            unreachable!("matched above");
        };
        let relayed = allocation.relayed(&self.config.relays);
        let insert = NewAllocation {
            relay,
            five_tuple: allocation.five_tuple,
            dialect: allocation.dialect,
            relayed,
            until,
            bandwidth: Bandwidth {
                allocation: self.config.bandwidth_per_allocation.map(Bucket::new),
                user: self.user_buckets.hold(now.tick(), &allocation.owner.quota),
            },
        };
        let made = Event::AllocationMade {
            relay,
            five_tuple: allocation.five_tuple,
            user: allocation.owner.quota.clone(),
            relayed,
            lifetime: opening.lifetime,
        };
        let worker = allocation.worker;
        self.timers.arm(until, Timer::Lifetime(relay));
        self.live.0.insert(relayed.socket());
        self.outputs.push_back(Output::Table { worker, change: TableChange::Insert(Box::new(insert)) });
        self.outputs.push_back(Output::TableOfAll {
            change: TableChange::OwnRelay { address: relayed.socket(), live: true },
        });
        self.succeed(
            now,
            &opening.asker,
            Grant {
                relayed: Some(relayed),
                mapped: Some(opening.asker.from.client.socket()),
                lifetime: Some(opening.lifetime),
                reservation_token: opening.reservation_token,
            },
        );
        self.event(made);
    }

    /// The end was asked for while the socket was being opened.
    fn close_unwanted(&mut self, now: Now, relay: RelayId) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let State::Opening(opening) = &mut allocation.state else { return };
        let asker = opening.unwanted.take().and_then(|(_, asker)| asker);
        let draining = State::Draining(Box::new(Draining { ended: None, asker, quarantine: false }));
        let State::Opening(opening) = allocation.go(Step::OpenedUnwanted, draining) else {
            unreachable!("matched above");
        };
        let worker = allocation.worker;
        self.outputs.push_back(Output::CloseRelay { worker, relay });
        self.reject(now, &opening.asker, ErrorCode::AllocationMismatch.into());
    }

    pub(super) fn relay_failed(&mut self, now: Now, relay: RelayId, why: OpenFailure) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let State::Opening(opening) = &allocation.state else { return };
        let wanted = opening.unwanted.is_none();
        let may_try = wanted && why == OpenFailure::PortTaken && opening.tries < limits::PORT_TRIES_MAX;
        let (address, port) = (allocation.address, allocation.port);
        let bind = allocation.bind(&self.config.relays);
        self.event(Event::PortRefused { bind, why });
        self.pools[address].quarantine(now, port);
        let another =
            if may_try { self.pools[address].draw(now, Wish::Any, &mut self.entropy) } else { None };
        if let Some(port) = another
            && let Some(allocation) = self.allocations.get_mut(relay)
        {
            allocation.port = port;
            return self.open(now, relay);
        }
        let code = match why {
            OpenFailure::PortTaken | OpenFailure::NoRoom => ErrorCode::InsufficientCapacity,
            OpenFailure::AddressGone | OpenFailure::Other => ErrorCode::ServerError,
        };
        self.give_up(now, relay, code);
    }

    /// The socket cannot be had: the allocation never was. Its port is accounted for already.
    fn give_up(&mut self, now: Now, relay: RelayId, code: ErrorCode) {
        let Some(gone) = self.allocations.remove(relay) else { return };
        debug_assert!(gone.phase().after(Step::OpenFailed).is_some());
        self.uncount(&gone);
        let State::Opening(opening) = gone.state else { return };
        self.note_refusal(&opening.asker, Some(gone.owner.quota), code);
        self.reject(now, &opening.asker, code.into());
        if let Some((_, Some(asker))) = opening.unwanted {
            self.succeed(now, &asker, released());
        }
    }

    /// The worker did not say in time whether the socket is open.
    pub(super) fn opening_due(&mut self, now: Now, relay: RelayId) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let State::Opening(opening) = &mut allocation.state else { return };
        if !opening.deadline.is_due(now.tick()) {
            return;
        }
        let asker = opening.unwanted.take().and_then(|(_, asker)| asker);
        let draining = State::Draining(Box::new(Draining { ended: None, asker, quarantine: true }));
        let State::Opening(opening) = allocation.go(Step::OpenTimedOut, draining) else {
            unreachable!("matched above");
        };
        let (worker, user) = (allocation.worker, allocation.owner.quota.clone());
        self.outputs.push_back(Output::CloseRelay { worker, relay });
        self.note_refusal(&opening.asker, Some(user), ErrorCode::ServerError);
        self.reject(now, &opening.asker, ErrorCode::ServerError.into());
    }

    pub(super) fn lifetime_due(&mut self, now: Now, relay: RelayId) {
        let Some(allocation) = self.allocations.get_mut(relay) else { return };
        let State::Live(live) = &mut allocation.state else { return };
        if live.until.is_due(now.tick()) {
            return self.end(relay, EndReason::Expired, None);
        }
        // It was extended, or shortened and then extended. One armed timer is enough.
        if live.armed.is_due(now.tick()) {
            live.armed = live.until;
            self.timers.arm(live.until, Timer::Lifetime(relay));
        }
    }

    /// Ends an allocation in whatever phase. `asker` hears of it when the socket is closed.
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
                let draining = State::Draining(Box::new(Draining { ended, asker, quarantine: false }));
                allocation.go(Step::Ended, draining);
                let worker = allocation.worker;
                let address = allocation.relayed(&self.config.relays).socket();
                self.live.0.remove(&address);
                self.outputs.push_back(Output::Table { worker, change: TableChange::Remove { relay } });
                self.outputs
                    .push_back(Output::TableOfAll { change: TableChange::OwnRelay { address, live: false } });
                self.outputs.push_back(Output::CloseRelay { worker, relay });
            }
            State::Draining(_) => {}
        }
    }

    pub(super) fn relay_closed(&mut self, now: Now, relay: RelayId, counters: Counters) {
        let is_draining =
            self.allocations.get_mut(relay).is_some_and(|a| a.phase().after(Step::Closed).is_some());
        if !is_draining {
            return;
        }
        let Some(gone) = self.allocations.remove(relay) else { return };
        let relayed = gone.relayed(&self.config.relays);
        self.uncount(&gone);
        let State::Draining(draining) = gone.state else { return };
        let pool = &mut self.pools[gone.address];
        if draining.quarantine {
            pool.quarantine(now, gone.port);
        } else {
            pool.release(gone.port);
        }
        if let Some(asker) = draining.asker {
            self.succeed(now, &asker, released());
        }
        if let Some((since, reason)) = draining.ended {
            self.user_buckets.release(now.tick(), &gone.owner.quota);
            self.event(Event::AllocationEnded {
                relay,
                five_tuple: gone.five_tuple,
                user: gone.owner.quota,
                relayed,
                reason,
                lived_s: (now.tick().as_millis() - since.as_millis()) / 1_000,
                counters,
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
    }
}

/// The answer to a Refresh with LIFETIME 0 (RFC 8656 § 8.3).
fn released() -> Grant {
    Grant { lifetime: Some(Lifetime::ZERO), ..Grant::default() }
}
