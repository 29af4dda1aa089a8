//! After a panic a worker is told again what it should know.
//!
//! The server knows every worker's table, so it can tell one anew: a walk over all allocations in bounded steps, behind
//! [`Output::RebuildWorker`] and before [`Output::WorkerRebuilt`]. Whatever changes meanwhile is told in its turn: of an
//! allocation that the walk has not come to, a change hits nothing and is told by the walk; of one that it has passed, it
//! comes behind. Requests that would count on the worker's table wait, and so does the revoking of what a new policy
//! denies, which the walk could otherwise grant once more.
//!
//! What the worker owed a report about is asked for again: sockets being opened, given away, taken over, closed. So is
//! each socket of its own that is open, for it may have been in the hands of the loop that fell.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::proto::media::Counters;
use crate::proto::media::NewAllocation;
use crate::proto::media::TableChange;
use crate::proto::types::Deadline;
use crate::proto::types::Entropy;
use crate::proto::types::Now;
use crate::proto::types::RelayId;
use crate::proto::types::RelayProtocol;
use crate::proto::types::Tick;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;

use super::EndReason;
use super::Event;
use super::Output;
use super::RelayAddress;
use super::Server;
use super::allocation::Allocation;
use super::allocation::Live;
use super::allocation::State;
use super::connections::Connections;
use super::connections::is_over;
use super::connections::is_tcp;
use super::connections::orders_again;
use super::legs::Leg;
use super::legs::LegState;
use super::mobility::Passage;

/// The workers that are being told their tables, each in its turn.
#[derive(Debug, Default)]
pub(super) struct Rebuilds(VecDeque<Rebuild>);

/// How far one worker has been told.
#[derive(Debug)]
struct Rebuild {
    worker: WorkerId,
    /// The next slot to look at.
    slot: usize,
    /// What is still to be told of the last one: all of it is harmless if that has ended meanwhile, but what is about a
    /// connection that has is left out.
    queue: VecDeque<Output>,
    relays: usize,
}

impl Rebuilds {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `worker` is one of them.
    pub(super) fn concern(&self, worker: WorkerId) -> bool {
        self.0.iter().any(|rebuild| rebuild.worker == worker)
    }

    /// Begins with `worker`, from the first slot on, wherever it was.
    fn begin(&mut self, worker: WorkerId) {
        self.0.retain(|rebuild| rebuild.worker != worker);
        self.0.push_back(Rebuild { worker, slot: 0, queue: VecDeque::new(), relays: 0 });
    }
}

impl<E: Entropy> Server<E> {
    /// Whether `worker` is being told its table. What its clients ask for is dropped until it is whole, so whoever can
    /// keep their requests should.
    #[must_use]
    pub fn is_rebuilding(&self, worker: WorkerId) -> bool {
        self.rebuilds.concern(worker)
    }

    pub(super) fn worker_restarted(&mut self, worker: WorkerId, epoch: u32, carried: &[(RelayId, Counters)]) {
        for (relay, counters) in carried {
            if let Some(allocation) = self.allocations.get_mut(*relay) {
                allocation.carried.add(*counters);
            }
        }
        self.rebuilds.begin(worker);
        let username_anonymity = self.config.credentials.resolves_userhash();
        self.outputs.push_back(Output::RebuildWorker { worker, epoch, username_anonymity });
        let change = TableChange::Policy(Arc::clone(&self.config.policy));
        self.outputs.push_back(Output::Table { worker, change });
        self.event(Event::WorkerRestarted { worker, epoch });
    }

    /// One step, for one worker.
    pub(super) fn rebuild(&mut self, now: Now) {
        let Some(mut walk) = self.rebuilds.0.pop_front() else { return };
        for _ in 0..limits::REBUILD_LOOKS_PER_CALL_MAX {
            let room = limits::REBUILD_OUTPUTS_PER_CALL_MAX.saturating_sub(self.outputs.len());
            let told = walk.queue.len().min(room);
            // A connection that ended since it was written down would be made anew, and be nobody's.
            let connections = &self.connections;
            self.outputs.extend(walk.queue.drain(..told).filter(|output| !is_over(connections, output)));
            if told == room {
                break;
            }
            if walk.slot >= self.allocations.slots() {
                let Rebuild { worker, relays, .. } = walk;
                self.outputs.push_back(Output::WorkerRebuilt { worker });
                return self.event(Event::WorkerRebuilt { worker, relays });
            }
            if let Some(allocation) = self.allocations.at_slot(walk.slot) {
                let telling = Telling {
                    worker: walk.worker,
                    tick: now.tick(),
                    relays: &self.config.relays,
                    connections: &self.connections,
                    outputs: &mut self.outputs,
                    queue: &mut walk.queue,
                };
                walk.relays += telling.tell(allocation);
            }
            walk.slot += 1;
        }
        self.rebuilds.0.push_back(walk);
    }

    /// The socket of a live leg is gone.
    pub(super) fn lose(&mut self, relay: RelayId) {
        let is_open = self
            .allocations
            .get_mut(relay)
            .and_then(|allocation| allocation.legs.named(relay))
            .is_some_and(Leg::is_open);
        if is_open {
            self.end_leg(relay, EndReason::Lost, None);
        }
    }
}

/// One allocation, as one worker should know it.
struct Telling<'a> {
    worker: WorkerId,
    tick: Tick,
    relays: &'a [RelayAddress],
    connections: &'a Connections,
    /// Told at once: few.
    outputs: &'a mut VecDeque<Output>,
    /// Told in further steps: of any number.
    queue: &'a mut VecDeque<Output>,
}

impl Telling<'_> {
    /// Answers how many of its relayed addresses the worker's table has.
    fn tell(mut self, allocation: &Allocation) -> usize {
        let mut relays = 0;
        for leg in allocation.legs.iter() {
            self.close_again(leg);
            match (&allocation.state, &leg.state) {
                (State::Opening(_), LegState::Opening { .. } | LegState::Open { .. })
                    if allocation.worker == self.worker =>
                {
                    self.open_again(leg);
                }
                (State::Live(live), LegState::Open { until, .. }) => {
                    let address = leg.relayed(self.relays).socket();
                    if !is_tcp(leg.protocol) {
                        self.change(TableChange::OwnRelay { address, live: true });
                    }
                    relays += usize::from(self.tell_live(allocation, live, leg, *until));
                }
                _ => {}
            }
        }
        relays
    }

    /// An open leg of a live allocation. Answers whether the worker has to do with it.
    fn tell_live(&mut self, allocation: &Allocation, live: &Live, leg: &Leg, until: Deadline) -> bool {
        let worker = self.worker;
        let giver = allocation.mobility.transit.as_ref().map(|transit| transit.giver);
        let (reads, gives) = match leg.passage {
            // What the taker has of it before it arrives is a copy at most, for the few moments until then.
            Passage::Leaving { keep } => (false, (giver == Some(worker)).then_some(keep)),
            Passage::Settled | Passage::Arriving => (allocation.worker == worker, None),
        };
        if !reads && gives.is_none() && !leg.copies.workers().any(|at| at == worker) {
            return false;
        }
        if reads {
            self.open_again(leg);
        }
        self.change(TableChange::Insert(Box::new(NewAllocation {
            relay: leg.relay,
            five_tuple: allocation.five_tuple,
            dialect: allocation.dialect,
            relayed: leg.relayed(self.relays),
            until,
            bandwidth: live.bandwidth.clone(),
            protocol: leg.protocol,
        })));
        if let Some(next) = allocation.mobility.next().filter(|_| reads) {
            self.change(TableChange::Await { relay: leg.relay, next });
        }
        self.grant_again(allocation, leg);
        let orders = orders_again(self.connections, allocation, leg.relay);
        self.queue.extend(orders.map(|order| Output::Peer { worker, order }));
        if let Some(keep) = gives {
            // Behind the grants: they go along.
            self.queue.push_back(Output::DetachRelay { worker, relay: leg.relay, keep });
        }
        true
    }

    fn grant_again(&mut self, allocation: &Allocation, leg: &Leg) {
        let (worker, relay) = (self.worker, leg.relay);
        let permissions = allocation.permissions.live(self.tick, leg.family);
        let permits = permissions.map(|(peer, until)| TableChange::Permit { relay, peer, until });
        let channels = allocation.channels.live(self.tick, leg.family);
        let binds = channels.map(|(channel, peer, until)| TableChange::Bind { relay, channel, peer, until });
        let destination = allocation.legacy.as_deref().and_then(|legacy| legacy.destination);
        let destination = destination.filter(|peer| peer.family() == leg.family);
        let destination = destination.map(|peer| TableChange::Destination { relay, peer });
        let grants = permits.chain(binds).chain(destination);
        self.queue.extend(grants.map(|change| Output::Table { worker, change }));
    }

    fn open_again(&mut self, leg: &Leg) {
        let (worker, relay, bind) = (self.worker, leg.relay, leg.bind(self.relays));
        self.outputs.push_back(match leg.protocol {
            RelayProtocol::Udp => Output::OpenRelay { worker, relay, bind },
            RelayProtocol::Tcp => Output::OpenPort { worker, relay, bind },
        });
    }

    fn close_again(&mut self, leg: &Leg) {
        let (worker, relay) = (self.worker, leg.relay);
        let copies = leg.copies.closing().filter(|at| *at == worker).count();
        let itself = usize::from(leg.is_closing_at(worker));
        self.queue.extend((0..copies + itself).map(|_| Output::CloseRelay { worker, relay }));
    }

    fn change(&mut self, change: TableChange) {
        self.outputs.push_back(Output::Table { worker: self.worker, change });
    }
}
