//! The allocation of one client: one relayed address, or one of each family.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::hash::Hasher;
use std::sync::Arc;

use ahash::RandomState;

use crate::proto::types::ChannelNumber;
use crate::proto::types::Dialect;
use crate::proto::types::Family;
use crate::proto::types::FiveTuple;
use crate::proto::types::Tick;
use crate::proto::types::limits;

use super::DropReason;
use super::allocation::Allocation;
use super::allocation::Channel;

/// Where the relayed addresses of one client are in the table. They are of different families.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    first: u32,
    /// [`NOWHERE`] where there is none.
    second: u32,
}

/// Where in the table stands what is known of a five-tuple, if anything is.
#[derive(Clone, Copy, Debug)]
pub struct Located(pub(super) Option<Places>);

/// No place: a table is never so long.
const NOWHERE: u32 = u32::MAX;

const _: () = assert!(limits::ALLOCATIONS_MAX < NOWHERE);

impl Places {
    pub(super) const fn of(first: u32) -> Self {
        Self { first, second: NOWHERE }
    }

    pub(super) const fn first(self) -> u32 {
        self.first
    }

    pub(super) fn second(self) -> Option<u32> {
        (self.second != NOWHERE).then_some(self.second)
    }

    /// With `place` too.
    pub(super) fn with(self, place: u32) -> Self {
        if self.first == place { self } else { Self { second: place, ..self } }
    }

    /// Without `place`; `None` if nothing is left.
    pub(super) fn without(self, place: u32) -> Option<Self> {
        if self.first == place {
            self.second().map(Self::of)
        } else if self.second == place {
            Some(Self::of(self.first))
        } else {
            Some(self)
        }
    }
}

/// The places of each five-tuple by its keyed hash: the five-tuple itself stands in the allocation, where it is to be
/// compared. Of two of one hash, which nobody can contrive, the older is not found any more.
#[derive(Debug)]
pub(super) struct Clients {
    places: HashMap<u64, Places, BuildHasherDefault<Hashed>>,
    hasher: Arc<RandomState>,
}

impl Clients {
    pub(super) fn new(hasher: Arc<RandomState>) -> Self {
        Self { places: HashMap::default(), hasher }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Where the client at `five_tuple` is, if it is one and not another of the same hash.
    pub(super) fn get(&self, five_tuple: &FiveTuple) -> Option<Places> {
        self.places.get(&self.hasher.hash_one(five_tuple)).copied()
    }

    /// From here on the client at `five_tuple` is there, or nowhere.
    pub(super) fn set(&mut self, five_tuple: &FiveTuple, places: Option<Places>) {
        let hash = self.hasher.hash_one(five_tuple);
        match places {
            Some(places) => self.places.insert(hash, places),
            None => self.places.remove(&hash),
        };
    }
}

/// What is a keyed hash already need not be hashed.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key is a u64");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The relayed addresses of one client, expired or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'a> {
    pub(super) first: &'a Allocation,
    pub(super) second: Option<&'a Allocation>,
}

impl<'a> Client<'a> {
    pub(super) fn dialect(self) -> Dialect {
        self.first.dialect()
    }

    /// Itself, while the time of any of its addresses lasts.
    pub(super) fn live(self, tick: Tick) -> Result<Self, DropReason> {
        match (self.first.live(tick), self.second) {
            (Err(_), Some(second)) => second.live(tick).map(|_| self),
            (first, _) => first.map(|_| self),
        }
    }

    /// The address of `family`.
    pub(super) fn of(self, family: Family) -> Option<&'a Allocation> {
        if self.first.family() == family { Some(self.first) } else { self.second }
            .filter(|address| address.family() == family)
    }

    /// The address by which peers of `family` are reached, while its time lasts.
    pub(super) fn to(self, family: Family, tick: Tick) -> Result<&'a Allocation, DropReason> {
        let address = self.of(family).ok_or(DropReason::PeerFamily)?;
        // RFC 6062 § 3: what a TCP allocation relays are connections.
        if !address.takes_datagrams() {
            return Err(DropReason::NoPermission);
        }
        address.live(tick)
    }

    /// The live channel `number`, and the address from which its data leaves. A number is bound on one of the two.
    pub(super) fn channel(
        self,
        number: ChannelNumber,
        tick: Tick,
    ) -> Result<(&'a Allocation, &'a Channel), DropReason> {
        let bound = match (self.first.channel(number, tick), self.second) {
            (Err(DropReason::NoChannel), Some(second)) => (second, second.channel(number, tick)?),
            (channel, _) => (self.first, channel?),
        };
        bound.0.live(tick)?;
        Ok(bound)
    }
}
