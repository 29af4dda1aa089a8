//! Which application data may pass, and which must.

use super::*;

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto::turn::model) enum Fate {
    Passes(RelayId, PeerAddr),
    Stays,
    /// While sockets are between two workers it may stay where it is; if it passes, then so.
    May(RelayId, PeerAddr),
}

impl Reference {
    /// Data of a client for a peer, by a Send indication.
    pub(in crate::proto::turn::model) fn send(&self, now_ms: u64, client: usize, peer: PeerAddr) -> Fate {
        let Some(allocation) = self.heard(client) else { return Fate::Stays };
        let Some(leg) = allocation.leg_to(now_ms, peer.ip().is_ipv6()) else { return Fate::Stays };
        self.fate(now_ms, client, allocation, leg, peer)
    }

    /// Data of a client on a channel, and the peer it is for.
    pub(in crate::proto::turn::model) fn data(&self, now_ms: u64, client: usize, number: u16) -> Fate {
        let Some(allocation) = self.heard(client) else { return Fate::Stays };
        let live = |it: &&Channel| it.number == number && it.until > now_ms;
        let Some(channel) = allocation.channels.iter().find(live) else { return Fate::Stays };
        let Some(leg) = allocation.leg_to(now_ms, channel.peer.ip().is_ipv6()) else { return Fate::Stays };
        self.fate(now_ms, client, allocation, leg, channel.peer)
    }

    fn heard(&self, client: usize) -> Option<&Allocation> {
        let at = self.at(client).filter(|at| matches!(self.allocations[*at].phase, Phase::Live))?;
        Some(&self.allocations[at])
    }

    fn fate(&self, now_ms: u64, client: usize, allocation: &Allocation, leg: &Leg, peer: PeerAddr) -> Fate {
        let worker = client % self.setup.workers;
        let heard_there = allocation.worker == worker || leg.copies.contains(&worker);
        let passes = allocation.permitted(now_ms, peer.ip(), self.setup.strict_permissions) > now_ms
            && self.may_reach(peer.socket());
        match (passes, allocation.transit.is_some()) {
            (false, _) => Fate::Stays,
            (true, true) => Fate::May(leg.relay, peer),
            (true, false) if heard_there => Fate::Passes(leg.relay, peer),
            (true, false) => Fate::Stays,
        }
    }

    /// Data of a peer for a relayed address: the client that gets it, and the channel that it comes by. `None` if it
    /// stays; nothing is said of a relayed address that changes workers.
    pub(in crate::proto::turn::model) fn from_peer(
        &self,
        now_ms: u64,
        at: usize,
        leg: usize,
        peer: PeerAddr,
    ) -> Option<(usize, Option<u16>)> {
        let allocation = &self.allocations[at];
        let leg = &allocation.legs[leg];
        let admitted = matches!(allocation.phase, Phase::Live)
            && leg.is_live(now_ms)
            && peer.ip().is_ipv6() == leg.over_v6
            && allocation.permitted(now_ms, peer.ip(), self.setup.strict_permissions) > now_ms;
        let channel = allocation.channels.iter().find(|it| it.peer == peer && it.until > now_ms);
        admitted.then_some((allocation.home, channel.map(|channel| channel.number)))
    }
}

impl Allocation {
    /// Until when an address is permitted: by a permission, or by a live channel (decision 4).
    pub(in crate::proto::turn::model) fn permitted(&self, now_ms: u64, peer: IpAddr, strict: bool) -> u64 {
        let permissions = self.permissions.iter().filter(|(ip, _)| *ip == peer).map(|(_, until)| *until);
        let live = |it: &&Channel| !strict && it.peer.ip() == peer && it.until > now_ms;
        let channels = self.channels.iter().filter(live).map(|it| it.until);
        permissions.chain(channels).max().unwrap_or(0)
    }
}
