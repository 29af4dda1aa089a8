//! The allocation of one client: one relayed address, or one of each family.

use crate::proto::types::ChannelNumber;
use crate::proto::types::Dialect;
use crate::proto::types::Family;
use crate::proto::types::Tick;

use super::DropReason;
use super::allocation::Allocation;
use super::allocation::Channel;

/// Where the relayed addresses of one client are in the table. They are of different families.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) first: u32,
    pub(super) second: Option<u32>,
}

impl Places {
    /// Without `place`; `None` if nothing is left.
    pub(super) fn without(self, place: u32) -> Option<Self> {
        if self.second == Some(place) {
            Some(Self { second: None, ..self })
        } else if self.first == place {
            Some(Self { first: self.second?, second: None })
        } else {
            Some(self)
        }
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
