//! Allocations and their life.

use std::collections::HashMap;

use crate::proto::auth::challenge::SessionKey;
use crate::proto::media::Bandwidth;
use crate::proto::media::Counters;
use crate::proto::types::ConnectionId;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::Family;
use crate::proto::types::FiveTuple;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;
use crate::proto::wire::ErrorCode;

use super::EndReason;
use super::channel::Channels;
use super::connections::is_tcp;
use super::legacy::Legacy;
use super::legs::Leg;
use super::legs::LegState;
use super::legs::Legs;
use super::mobility::Mobility;
use super::permission::Permissions;
use super::ports::Wish;
use super::replay::Transactions;
use super::reply::Asker;
use super::retransmit::Key;

/// Where an allocation stands. Each arrow is a line of [`TRANSITIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Phase {
    /// The worker was asked for its relay sockets, and has not yet spoken about each.
    Opening,
    /// It relays, by one socket at least.
    Live,
    /// It relays no more; the worker was asked to close what was open.
    Draining,
    /// Every socket is closed: slots and ports are free.
    Gone,
}

/// What moves an allocation on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    /// A socket is open and wanted.
    Opened,
    /// A socket is open, but the end was asked for meanwhile.
    OpenedUnwanted,
    /// No socket could be opened.
    OpenFailed,
    /// No socket could be opened, and of one the worker did not say so in time.
    OpenTimedOut,
    /// Released, expired or ended by the operator.
    Ended,
    /// The worker closed every socket.
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

/// One allocation, from the moment a port was drawn for it until its last port is free again.
#[derive(Debug)]
pub(super) struct Allocation {
    /// Its name: that of its first leg, as long as it lasts, even if that leg is gone before.
    pub(super) relay: RelayId,
    pub(super) worker: WorkerId,
    pub(super) five_tuple: FiveTuple,
    pub(super) dialect: Dialect,
    pub(super) owner: SessionKey,
    /// From here on the stored key suffices no more.
    pub(super) session_ends: Deadline,
    pub(super) legs: Legs,
    pub(super) state: State,
    pub(super) permissions: Permissions,
    pub(super) channels: Channels,
    /// What its closed legs carried.
    pub(super) carried: Counters,
    pub(super) transactions: Transactions,
    pub(super) mobility: Mobility,
    /// Of an allocation that speaks [MS-TURN].
    pub(super) legacy: Option<Box<Legacy>>,
    /// Its peers' connections, at most [`limits::CONNECTIONS_PER_ALLOCATION_MAX`].
    pub(super) connections: Vec<ConnectionId>,
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
    pub(super) reservation_token: Option<[u8; 8]>,
    /// Set when the end was asked for before the worker had spoken.
    pub(super) unwanted: Option<(EndReason, Option<Asker>)>,
    /// Families that were asked for and cannot be given, IPv4 first, and why.
    pub(super) refused: [Option<ErrorCode>; 2],
    /// What another port must be like, should the kernel refuse the first; `None` where no other will do.
    pub(super) wish: Option<Wish>,
    /// The client asked for a mobility ticket.
    pub(super) mobile: bool,
}

#[derive(Debug)]
pub(super) struct Live {
    pub(super) since: Tick,
    /// What its packets draw from, on whichever worker.
    pub(super) bandwidth: Bandwidth,
}

#[derive(Debug)]
pub(super) struct Draining {
    /// Since when it had been live and why it ended; `None` if it never was.
    pub(super) ended: Option<(Tick, EndReason)>,
    /// Who waits to hear that it is over.
    pub(super) asker: Option<Asker>,
}

impl Opening {
    /// The error where no family can be given.
    pub(super) fn refusal(&self) -> ErrorCode {
        self.refused.into_iter().flatten().next().unwrap_or(ErrorCode::ServerError)
    }

    /// What a success tells of a family that cannot be given: one of the two codes that RFC 8656 § 7.2 allows there.
    pub(super) fn address_error(&self) -> Option<(Family, ErrorCode)> {
        let families = [Family::V4, Family::V6];
        let (family, code) = families.into_iter().zip(self.refused).find_map(|(f, code)| Some((f, code?)))?;
        let code = match code {
            ErrorCode::AddressFamilyNotSupported => code,
            _ => ErrorCode::InsufficientCapacity,
        };
        Some((family, code))
    }
}

impl Allocation {
    pub(super) const fn phase(&self) -> Phase {
        match self.state {
            State::Opening(_) => Phase::Opening,
            State::Live(_) => Phase::Live,
            State::Draining(_) => Phase::Draining,
        }
    }

    /// Whether its client is at `five_tuple`, or awaited there.
    fn is_at(&self, five_tuple: &FiveTuple) -> bool {
        self.five_tuple == *five_tuple || self.mobility.next.as_deref() == Some(five_tuple)
    }

    /// Whether connections run over its relayed addresses, and no datagrams.
    pub(super) fn is_tcp(&self) -> bool {
        self.legs.iter().any(|leg| is_tcp(leg.protocol))
    }

    /// Whether this request waits for its answer until the worker has spoken.
    pub(super) fn owes(&self, request: &Key) -> bool {
        let opening = match &self.state {
            State::Opening(opening) => Some(&opening.asker),
            State::Live(_) | State::Draining(_) => None,
        };
        opening.is_some_and(|asker| asker.key() == *request) || self.is_awaited_by(request)
    }

    /// Goes on to `state`, which must be where `step` leads.
    pub(super) fn go(&mut self, step: Step, state: State) -> State {
        let from = self.phase();
        let old = std::mem::replace(&mut self.state, state);
        debug_assert_eq!(from.after(step), Some(self.phase()), "{step:?} from {from:?}");
        old
    }

    /// The leg by which peers of `family` are reached at this time, or `None` if there is none.
    pub(super) fn leg_to(&self, now: Now, family: Family) -> Option<&Leg> {
        self.legs.of(family).filter(|leg| leg.is_live(now))
    }

    /// Whether this request waits for the end of this allocation, or of one of its legs.
    pub(super) fn is_awaited_by(&self, request: &Key) -> bool {
        let of_all = match &self.state {
            State::Opening(opening) => opening.unwanted.as_ref().and_then(|(_, asker)| asker.as_ref()),
            State::Live(_) => None,
            State::Draining(draining) => draining.asker.as_ref(),
        };
        let of_legs = self.legs.iter().filter_map(|leg| match &leg.state {
            LegState::Closing { asker, .. } => asker.as_deref(),
            _ => None,
        });
        of_legs.chain(of_all).any(|waiting| waiting.key() == *request)
    }

    /// Whether it relays at this time, by whatever leg.
    pub(super) fn is_live(&self, now: Now) -> bool {
        matches!(self.state, State::Live(_)) && self.legs.iter().any(|leg| leg.is_live(now))
    }
}

/// All allocations: by slot and by five-tuple. The name of each leg takes a slot of its own, until its allocation is
/// gone.
#[derive(Debug)]
pub(super) struct Allocations {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The slot of each five-tuple by its keyed hash: the five-tuple itself stands in the allocation. Of two of one hash,
    /// which nobody can contrive, the older is not found any more.
    by_five_tuple: HashMap<u64, u32, ahash::RandomState>,
    len: usize,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    holds: Holds,
}

#[derive(Debug, Default)]
enum Holds {
    #[default]
    Nothing,
    /// The allocation of this name.
    Allocation(Box<Allocation>),
    /// A leg of the allocation in another slot.
    LegOf(u32),
}

impl Allocations {
    pub(super) fn new(hasher: ahash::RandomState) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), by_five_tuple: HashMap::with_hasher(hasher), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Slots ever used, for a walk over all allocations.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The allocation whose own slot this is.
    pub(super) fn at_slot(&self, index: usize) -> Option<&Allocation> {
        match &self.slots.get(index)?.holds {
            Holds::Allocation(allocation) => Some(allocation),
            Holds::Nothing | Holds::LegOf(_) => None,
        }
    }

    pub(super) fn of(&self, five_tuple: &FiveTuple) -> Option<&Allocation> {
        let index = *self.by_five_tuple.get(&self.hash(five_tuple))?;
        self.at_slot(index as usize).filter(|allocation| allocation.is_at(five_tuple))
    }

    pub(super) fn of_mut(&mut self, five_tuple: &FiveTuple) -> Option<&mut Allocation> {
        let index = *self.by_five_tuple.get(&self.hash(five_tuple))?;
        self.at_slot_mut(index).filter(|allocation| allocation.is_at(five_tuple))
    }

    fn hash(&self, five_tuple: &FiveTuple) -> u64 {
        self.by_five_tuple.hasher().hash_one(five_tuple)
    }

    /// The allocation in slot `home` is found by `five_tuple`. Answers whether nothing was.
    fn place(&mut self, five_tuple: &FiveTuple, home: u32) -> bool {
        let hash = self.hash(five_tuple);
        self.by_five_tuple.insert(hash, home).is_none()
    }

    /// The allocation in slot `home` is found by `five_tuple` no longer.
    fn displace(&mut self, five_tuple: &FiveTuple, home: u32) {
        let hash = self.hash(five_tuple);
        if self.by_five_tuple.get(&hash) == Some(&home) {
            self.by_five_tuple.remove(&hash);
        }
    }

    /// The allocation of this name.
    pub(super) fn named(&self, relay: RelayId) -> Option<&Allocation> {
        self.at_slot(relay.index as usize).filter(|allocation| allocation.relay == relay)
    }

    /// The allocation that has a leg of this name.
    pub(super) fn get_mut(&mut self, relay: RelayId) -> Option<&mut Allocation> {
        let home = match self.slots.get(relay.index as usize)?.holds {
            Holds::Nothing => return None,
            Holds::Allocation(_) => relay.index,
            Holds::LegOf(home) => home,
        };
        self.at_slot_mut(home).filter(|allocation| allocation.legs.named(relay).is_some())
    }

    /// The allocation that has a leg of this name.
    pub(super) fn with_leg(&self, relay: RelayId) -> Option<&Allocation> {
        let home = match self.slots.get(relay.index as usize)?.holds {
            Holds::Nothing => return None,
            Holds::Allocation(_) => relay.index,
            Holds::LegOf(home) => home,
        };
        self.at_slot(home as usize).filter(|allocation| allocation.legs.named(relay).is_some())
    }

    fn at_slot_mut(&mut self, index: u32) -> Option<&mut Allocation> {
        match &mut self.slots.get_mut(index as usize)?.holds {
            Holds::Allocation(allocation) => Some(allocation),
            Holds::Nothing | Holds::LegOf(_) => None,
        }
    }

    /// A name for a new leg; `None` when there are [`limits::ALLOCATIONS_MAX`].
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

    /// Puts in an allocation, which has the name of one of its legs.
    pub(super) fn insert(&mut self, allocation: Allocation) {
        let home = allocation.relay.index;
        debug_assert!(allocation.legs.named(allocation.relay).is_some(), "named after a leg");
        for leg in allocation.legs.iter() {
            let slot = &mut self.slots[leg.relay.index as usize];
            debug_assert!(matches!(slot.holds, Holds::Nothing), "a name is one leg's");
            slot.holds = Holds::LegOf(home);
        }
        self.place(&allocation.five_tuple, home);
        self.len += 1;
        self.slots[home as usize].holds = Holds::Allocation(Box::new(allocation));
    }

    /// Takes an allocation out; whatever still speaks of it by its names is out of date from here on.
    pub(super) fn remove(&mut self, relay: RelayId) -> Option<Box<Allocation>> {
        let home = self.get_mut(relay)?.relay.index;
        let Holds::Allocation(allocation) = std::mem::take(&mut self.slots[home as usize].holds) else {
            return None;
        };
        for leg in allocation.legs.iter() {
            let slot = &mut self.slots[leg.relay.index as usize];
            slot.holds = Holds::Nothing;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(leg.relay.index);
        }
        self.displace(&allocation.five_tuple, home);
        if let Some(next) = allocation.mobility.next() {
            self.displace(&next, home);
        }
        self.len -= 1;
        Some(allocation)
    }

    /// The client of `relay` is awaited at `next`, which nobody has, and was not awaited anywhere.
    pub(super) fn await_at(&mut self, relay: RelayId, next: FiveTuple) {
        let Some(allocation) = self.get_mut(relay) else { return };
        debug_assert!(allocation.mobility.next.is_none(), "at one place at a time");
        allocation.mobility.next = Some(Box::new(next));
        let home = allocation.relay.index;
        let is_new = self.place(&next, home);
        debug_assert!(is_new, "a five-tuple has one allocation");
    }

    /// The client of `relay` is awaited nowhere.
    pub(super) fn await_nowhere(&mut self, relay: RelayId) {
        let Some(allocation) = self.get_mut(relay) else { return };
        let home = allocation.relay.index;
        if let Some(next) = allocation.mobility.next.take() {
            self.displace(&next, home);
        }
    }

    /// Where the client of `relay` was awaited it is now, and nowhere else.
    pub(super) fn settle(&mut self, relay: RelayId) {
        let Some(allocation) = self.get_mut(relay) else { return };
        let home = allocation.relay.index;
        if let Some(next) = allocation.mobility.next.take() {
            let old = std::mem::replace(&mut allocation.five_tuple, *next);
            self.displace(&old, home);
        }
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
