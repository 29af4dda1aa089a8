//! Allocations and their life.

use std::collections::HashMap;

use crate::proto::auth::challenge::SessionKey;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::Lifetime;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;

use super::EndReason;
use super::channel::Channels;
use super::permission::Permissions;
use super::replay::Transactions;
use super::reply::Asker;
use super::retransmit::Key;

/// Where an allocation stands. Each arrow is a line of [`TRANSITIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Phase {
    /// The worker was asked for a relay socket.
    Opening,
    /// It relays.
    Live,
    /// It relays no more; the worker was asked to close the socket.
    Draining,
    /// The socket is closed: the slot and the port are free.
    Gone,
}

/// What moves an allocation on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    /// The socket is open and wanted.
    Opened,
    /// The socket is open, but the end was asked for meanwhile.
    OpenedUnwanted,
    /// The socket could not be opened.
    OpenFailed,
    /// The worker did not say in time.
    OpenTimedOut,
    /// Released, expired or ended by the operator.
    Ended,
    /// The worker closed the socket.
    Closed,
}

/// The whole life of an allocation: any step that is not here is a bug of ours.
pub(super) const TRANSITIONS: [(Phase, Step, Phase); 6] = [
    (Phase::Opening, Step::Opened, Phase::Live),
    (Phase::Opening, Step::OpenedUnwanted, Phase::Draining),
    (Phase::Opening, Step::OpenFailed, Phase::Gone),
    (Phase::Opening, Step::OpenTimedOut, Phase::Draining),
    (Phase::Live, Step::Ended, Phase::Draining),
    (Phase::Draining, Step::Closed, Phase::Gone),
];

impl Phase {
    /// Where `step` leads from here, or `None` if it leads nowhere.
    pub(super) fn after(self, step: Step) -> Option<Self> {
        TRANSITIONS.iter().find(|(from, by, _)| (*from, *by) == (self, step)).map(|(_, _, to)| *to)
    }
}

/// One allocation, from the moment a port was drawn for it until that port is free again.
#[derive(Debug)]
pub(super) struct Allocation {
    pub(super) relay: RelayId,
    pub(super) worker: WorkerId,
    pub(super) five_tuple: FiveTuple,
    pub(super) dialect: Dialect,
    pub(super) owner: SessionKey,
    /// From here on the stored key suffices no more.
    pub(super) session_ends: Deadline,
    /// Which relay address: a place in the configured list.
    pub(super) address: usize,
    pub(super) port: u16,
    pub(super) state: State,
    pub(super) permissions: Permissions,
    pub(super) channels: Channels,
    pub(super) transactions: Transactions,
}

/// What belongs to a phase alone.
#[derive(Debug)]
pub(super) enum State {
    /// See [`Phase::Opening`].
    Opening(Box<Opening>),
    /// See [`Phase::Live`].
    Live(Live),
    /// See [`Phase::Draining`].
    Draining(Box<Draining>),
}

#[derive(Debug)]
pub(super) struct Opening {
    /// Who waits for the answer.
    pub(super) asker: Asker,
    pub(super) lifetime: Lifetime,
    pub(super) tries: u32,
    pub(super) deadline: Deadline,
    pub(super) reservation_token: Option<[u8; 8]>,
    /// Set when the end was asked for before the socket was open.
    pub(super) unwanted: Option<(EndReason, Option<Asker>)>,
}

#[derive(Debug)]
pub(super) struct Live {
    pub(super) since: Tick,
    pub(super) until: Deadline,
    /// When its timer fires; never later than `until`.
    pub(super) armed: Deadline,
}

#[derive(Debug)]
pub(super) struct Draining {
    /// Since when it had been live and why it ended; `None` if it never was.
    pub(super) ended: Option<(Tick, EndReason)>,
    /// Who waits to hear that it is over.
    pub(super) asker: Option<Asker>,
    /// The worker did not answer in time: the port is not to be trusted for a while.
    pub(super) quarantine: bool,
}

impl Allocation {
    pub(super) const fn phase(&self) -> Phase {
        match self.state {
            State::Opening(_) => Phase::Opening,
            State::Live(_) => Phase::Live,
            State::Draining(_) => Phase::Draining,
        }
    }

    /// Whether this request waits for its answer until the worker has spoken.
    pub(super) fn owes(&self, request: &Key) -> bool {
        let (first, second) = match &self.state {
            State::Opening(opening) => {
                let release = opening.unwanted.as_ref().and_then(|(_, asker)| asker.as_ref());
                (Some(&opening.asker), release)
            }
            State::Live(_) => (None, None),
            State::Draining(draining) => (draining.asker.as_ref(), None),
        };
        first.into_iter().chain(second).any(|asker| asker.key() == *request)
    }

    /// Goes on to `state`, which must be where `step` leads.
    pub(super) fn go(&mut self, step: Step, state: State) -> State {
        let from = self.phase();
        let old = std::mem::replace(&mut self.state, state);
        debug_assert_eq!(from.after(step), Some(self.phase()), "{step:?} from {from:?}");
        old
    }

    /// The address and port its socket is bound to.
    pub(super) fn bind(&self, addresses: &[super::RelayAddress]) -> RelayAddr {
        RelayAddr::new((addresses[self.address].bind, self.port).into())
    }

    /// Its relayed transport address, as clients and peers are told.
    pub(super) fn relayed(&self, addresses: &[super::RelayAddress]) -> RelayAddr {
        RelayAddr::new((addresses[self.address].external, self.port).into())
    }
}

/// All allocations: by slot and by five-tuple.
#[derive(Debug)]
pub(super) struct Allocations {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_five_tuple: HashMap<FiveTuple, u32, ahash::RandomState>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    allocation: Option<Box<Allocation>>,
}

impl Allocations {
    pub(super) fn new(hasher: ahash::RandomState) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), by_five_tuple: HashMap::with_hasher(hasher) }
    }

    pub(super) fn len(&self) -> usize {
        self.by_five_tuple.len()
    }

    /// Slots ever used, for a walk over all allocations.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn at_slot(&self, index: usize) -> Option<&Allocation> {
        self.slots.get(index)?.allocation.as_deref()
    }

    pub(super) fn of(&self, five_tuple: &FiveTuple) -> Option<&Allocation> {
        self.at_slot(*self.by_five_tuple.get(five_tuple)? as usize)
    }

    pub(super) fn of_mut(&mut self, five_tuple: &FiveTuple) -> Option<&mut Allocation> {
        let index = *self.by_five_tuple.get(five_tuple)?;
        self.slots[index as usize].allocation.as_deref_mut()
    }

    pub(super) fn get_mut(&mut self, relay: RelayId) -> Option<&mut Allocation> {
        let slot = self.slots.get_mut(relay.index as usize)?;
        slot.allocation.as_deref_mut().filter(|allocation| allocation.relay == relay)
    }

    /// A name for a new allocation; `None` when there are [`limits::ALLOCATIONS_MAX`].
    pub(super) fn name(&mut self) -> Option<RelayId> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).ok().filter(|i| *i < limits::ALLOCATIONS_MAX)?;
                self.slots.push(Slot::default());
                index
            }
        };
        Some(RelayId { index, generation: self.slots[index as usize].generation })
    }

    /// Gives back a name that was not used after all.
    pub(super) fn unname(&mut self, relay: RelayId) {
        self.free.push(relay.index);
    }

    pub(super) fn insert(&mut self, allocation: Allocation) {
        let slot = &mut self.slots[allocation.relay.index as usize];
        debug_assert!(slot.allocation.is_none(), "a slot has one allocation");
        self.by_five_tuple.insert(allocation.five_tuple, allocation.relay.index);
        slot.allocation = Some(Box::new(allocation));
    }

    /// Takes an allocation out; whatever still speaks of it by its name is out of date from here on.
    pub(super) fn remove(&mut self, relay: RelayId) -> Option<Box<Allocation>> {
        self.get_mut(relay)?;
        let slot = &mut self.slots[relay.index as usize];
        let allocation = slot.allocation.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(relay.index);
        self.by_five_tuple.remove(&allocation.five_tuple);
        Some(allocation)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_step_leads_two_ways_and_every_phase_is_reached_and_left() {
        let keys: BTreeSet<_> = TRANSITIONS.iter().map(|(from, by, _)| (*from, *by)).collect();
        assert_eq!(keys.len(), TRANSITIONS.len());
        for phase in [Phase::Live, Phase::Draining, Phase::Gone] {
            assert!(TRANSITIONS.iter().any(|(_, _, to)| *to == phase), "{phase:?} is never reached");
        }
        for phase in [Phase::Opening, Phase::Live, Phase::Draining] {
            assert!(TRANSITIONS.iter().any(|(from, _, _)| *from == phase), "{phase:?} is never left");
        }
    }

    #[test]
    fn nothing_leads_out_of_gone_and_only_a_close_leads_out_of_draining() {
        assert!(TRANSITIONS.iter().all(|(from, _, _)| *from != Phase::Gone));
        let out: Vec<_> = TRANSITIONS.iter().filter(|(from, _, _)| *from == Phase::Draining).collect();
        assert_eq!(out, [&(Phase::Draining, Step::Closed, Phase::Gone)]);
    }

    #[test]
    fn the_architecture_page_draws_these_transitions() {
        let page = include_str!("../../../docs/architecture.md");
        for (from, step, to) in TRANSITIONS {
            let row = format!("| {from:?} | {step:?} | {to:?} |");
            assert!(page.contains(&row), "docs/architecture.md lacks the row\n{row}");
        }
    }
}
