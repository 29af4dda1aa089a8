//! Which channel number is tied to which peer (RFC 8656 § 12). The tie outlives the channel by five minutes, so
//! that late packets cannot reach another peer.

use std::collections::HashMap;

use crate::proto::types::ChannelNumber;
use crate::proto::types::Deadline;
use crate::proto::types::Family;
use crate::proto::types::PeerAddr;
use crate::proto::types::Tick;
use crate::proto::types::limits;

/// The channels of one allocation.
#[derive(Debug)]
pub(super) struct Channels {
    by_number: HashMap<ChannelNumber, Tie, ahash::RandomState>,
    by_peer: HashMap<PeerAddr, ChannelNumber, ahash::RandomState>,
}

#[derive(Clone, Copy, Debug)]
struct Tie {
    peer: PeerAddr,
    /// When number and peer are free for others.
    until: Deadline,
    /// The channel was ended before its time; only the tie is left.
    revoked: bool,
}

/// Why a channel cannot be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CannotBind {
    /// The number belongs to another peer, or the peer to another number.
    Tied,
    /// There are too many.
    Full,
}

impl Channels {
    pub(super) fn new(hasher: ahash::RandomState) -> Self {
        Self { by_number: HashMap::with_hasher(hasher.clone()), by_peer: HashMap::with_hasher(hasher) }
    }

    /// Whether `channel` may be bound, or bound again, to `peer`, where there may be `max` of them.
    ///
    /// # Errors
    /// [`CannotBind`] says why not.
    pub(super) fn may_bind(
        &mut self,
        tick: Tick,
        channel: ChannelNumber,
        peer: PeerAddr,
        max: usize,
    ) -> Result<(), CannotBind> {
        self.free_number(tick, channel);
        if self.by_number.len() >= max {
            self.by_number.retain(|_, tie| !tie.until.is_due(tick));
            self.by_peer.retain(|_, number| self.by_number.contains_key(number));
        }
        if let Some(number) = self.by_peer.get(&peer).copied() {
            self.free_number(tick, number);
        }
        let number_of_peer = self.by_peer.get(&peer);
        match (self.by_number.get(&channel), number_of_peer) {
            (Some(tie), _) if tie.peer == peer => Ok(()),
            (None, None) if self.by_number.len() >= max => Err(CannotBind::Full),
            (None, None) => Ok(()),
            _ => Err(CannotBind::Tied),
        }
    }

    /// Drops the channels to peers of `family`: their numbers can be bound anew at once.
    pub(super) fn forget(&mut self, family: Family) {
        self.by_number.retain(|_, tie| tie.peer.family() != family);
        self.by_peer.retain(|peer, _| peer.family() != family);
    }

    /// Binds `channel` to `peer`, or goes on with it; the channel itself ends at `until`.
    pub(super) fn bind(&mut self, channel: ChannelNumber, peer: PeerAddr, until: Deadline) {
        let tie_ms = limits::CHANNEL_TIE_AFTER_EXPIRY.as_millis() as u64;
        let until = Deadline::from_millis(until.as_millis().saturating_add(tie_ms));
        self.by_number.insert(channel, Tie { peer, until, revoked: false });
        self.by_peer.insert(peer, channel);
    }

    /// How many numbers are tied.
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Ends at most `max` channels that live at `tick` and whose peer is `denied`. Number and peer stay tied, for late
    /// packets may still be under way.
    pub(super) fn revoke(
        &mut self,
        tick: Tick,
        max: usize,
        denied: impl Fn(PeerAddr) -> bool,
    ) -> Vec<(ChannelNumber, PeerAddr)> {
        let tie = limits::CHANNEL_TIE_AFTER_EXPIRY;
        let tied_until = tick.after(tie);
        let lives = |held: &Tie| !held.revoked && held.until > tied_until;
        let hit = self.by_number.iter_mut().filter(|(_, held)| lives(held) && denied(held.peer)).take(max);
        hit.map(|(number, held)| {
            (held.until, held.revoked) = (tied_until, true);
            (*number, held.peer)
        })
        .collect()
    }

    /// Those that live at `tick`, to peers of `family`: each with its end.
    pub(super) fn live(
        &self,
        tick: Tick,
        family: Family,
    ) -> impl Iterator<Item = (ChannelNumber, PeerAddr, Deadline)> {
        let tie_ms = limits::CHANNEL_TIE_AFTER_EXPIRY.as_millis() as u64;
        let lives = move |tie: &Tie| !tie.revoked && tie.peer.family() == family;
        let all = self.by_number.iter().filter(move |(_, tie)| lives(tie));
        all.map(move |(number, tie)| {
            (*number, tie.peer, Deadline::from_millis(tie.until.as_millis().saturating_sub(tie_ms)))
        })
        .filter(move |(_, _, until)| !until.is_due(tick))
    }

    fn free_number(&mut self, tick: Tick, channel: ChannelNumber) {
        if let Some(tie) = self.by_number.get(&channel).copied()
            && tie.until.is_due(tick)
        {
            self.by_number.remove(&channel);
            self.by_peer.remove(&tie.peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = limits::CHANNELS_PER_ALLOCATION_MAX;

    fn peer(port: u16) -> PeerAddr {
        PeerAddr::new(([203, 0, 113, 9], port).into())
    }

    fn number(offset: u16) -> ChannelNumber {
        ChannelNumber::new(0x4000 + offset).expect("in range")
    }

    fn bound(until_ms: u64) -> Channels {
        let mut channels = Channels::new(ahash::RandomState::with_seeds(1, 2, 3, 4));
        channels.bind(number(0), peer(1), Deadline::from_millis(until_ms));
        channels
    }

    #[test]
    fn the_same_pair_may_be_bound_again() {
        assert_eq!(bound(600_000).may_bind(Tick::from_millis(1), number(0), peer(1), MAX), Ok(()));
    }

    #[test]
    fn a_number_has_one_peer_and_a_peer_one_number() {
        let tick = Tick::from_millis(1);
        assert_eq!(bound(600_000).may_bind(tick, number(0), peer(2), MAX), Err(CannotBind::Tied));
        assert_eq!(bound(600_000).may_bind(tick, number(1), peer(1), MAX), Err(CannotBind::Tied));
        assert_eq!(bound(600_000).may_bind(tick, number(1), peer(2), MAX), Ok(()));
    }

    #[test]
    fn the_tie_outlives_the_channel_by_five_minutes() {
        let just_before = Tick::from_millis(899_999);
        let then = Tick::from_millis(900_000);
        assert_eq!(bound(600_000).may_bind(just_before, number(0), peer(2), MAX), Err(CannotBind::Tied));
        assert_eq!(bound(600_000).may_bind(just_before, number(1), peer(1), MAX), Err(CannotBind::Tied));
        assert_eq!(bound(600_000).may_bind(then, number(0), peer(2), MAX), Ok(()));
        assert_eq!(bound(600_000).may_bind(then, number(1), peer(1), MAX), Ok(()));
    }

    #[test]
    fn two_bound_pairs_cannot_be_crossed() {
        let mut channels = bound(600_000);
        channels.bind(number(1), peer(2), Deadline::from_millis(600_000));
        assert_eq!(channels.may_bind(Tick::from_millis(1), number(0), peer(2), MAX), Err(CannotBind::Tied));
    }

    #[test]
    fn a_bind_after_the_tie_leaves_no_trace_of_the_old_peer() {
        let mut channels = bound(600_000);
        let then = Tick::from_millis(900_000);
        channels.may_bind(then, number(0), peer(2), MAX).expect("the tie is over");
        channels.bind(number(0), peer(2), then.after(std::time::Duration::from_secs(600)));
        assert_eq!(channels.may_bind(then, number(1), peer(1), MAX), Ok(()));
    }

    #[test]
    fn every_number_can_be_bound_and_no_more() {
        let mut channels = bound(600_000);
        for offset in 1..=0x0FFF {
            let tick = Tick::from_millis(1);
            assert_eq!(channels.may_bind(tick, number(offset), peer(1 + offset), MAX), Ok(()));
            channels.bind(number(offset), peer(1 + offset), Deadline::from_millis(600_000));
        }
        let tick = Tick::from_millis(1);
        assert_eq!(channels.may_bind(tick, number(0), peer(60_000), MAX), Err(CannotBind::Tied));
        assert_eq!(channels.may_bind(tick, number(0x1000), peer(60_000), MAX), Err(CannotBind::Full));
        let after_the_ties = Tick::from_millis(900_000);
        assert_eq!(channels.may_bind(after_the_ties, number(0x1000), peer(60_000), MAX), Ok(()));
    }
}
