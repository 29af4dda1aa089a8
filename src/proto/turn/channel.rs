//! Which channel number is tied to which peer (RFC 8656 § 12). The tie outlives the channel by five minutes, so
//! that late packets cannot reach another peer.

use std::sync::Arc;

use crate::proto::types::ChannelNumber;
use crate::proto::types::Deadline;
use crate::proto::types::Family;
use crate::proto::types::Pairs;
use crate::proto::types::PeerAddr;
use crate::proto::types::Tick;
use crate::proto::types::ToPeer;
use crate::proto::types::limits;

/// The channels of one allocation.
#[derive(Debug)]
pub(super) struct Channels {
    ties: Pairs<Tie>,
}

#[derive(Clone, Copy, Debug)]
struct Tie {
    peer: PeerAddr,
    /// When number and peer are free for others.
    until: Deadline,
    /// The channel was ended before its time; only the tie is left.
    revoked: bool,
}

impl ToPeer for Tie {
    fn peer(&self) -> PeerAddr {
        self.peer
    }
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
    pub(super) const fn new(hasher: Arc<ahash::RandomState>) -> Self {
        Self { ties: Pairs::new(hasher) }
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
        if self.ties.len() >= max {
            self.ties.retain(|tie| !tie.until.is_due(tick));
        }
        if let Some((number, _)) = self.ties.of_peer(peer) {
            self.free_number(tick, number);
        }
        match (self.ties.get(channel), self.ties.of_peer(peer)) {
            (Some(tie), _) if tie.peer == peer => Ok(()),
            (None, None) if self.ties.len() >= max => Err(CannotBind::Full),
            (None, None) => Ok(()),
            _ => Err(CannotBind::Tied),
        }
    }

    /// Drops the channels to peers of `family`: their numbers can be bound anew at once.
    pub(super) fn forget(&mut self, family: Family) {
        self.ties.retain(|tie| tie.peer.family() != family);
    }

    /// Binds `channel` to `peer`, or goes on with it; the channel itself ends at `until`, or later if it was granted for
    /// longer under another configuration.
    pub(super) fn bind(&mut self, channel: ChannelNumber, peer: PeerAddr, until: Deadline) {
        let tie_ms = limits::CHANNEL_TIE_AFTER_EXPIRY.as_millis() as u64;
        let until = Deadline::from_millis(until.as_millis().saturating_add(tie_ms));
        let before = self.ties.get(channel).filter(|tie| tie.peer == peer && !tie.revoked);
        let until = before.map_or(until, |tie| until.max(tie.until));
        self.ties.insert(channel, Tie { peer, until, revoked: false });
    }

    /// How many numbers are tied.
    pub(super) fn len(&self) -> usize {
        self.ties.len()
    }

    /// Each number, its peer, and the end of their tie in milliseconds.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, PeerAddr, u64)> + '_ {
        self.ties.iter().map(|(number, tie)| (number.get(), tie.peer, tie.until.as_millis()))
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
        let hit = self.ties.iter_mut().filter(|(_, held)| lives(held) && denied(held.peer)).take(max);
        hit.map(|(number, held)| {
            (held.until, held.revoked) = (tied_until, true);
            (number, held.peer)
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
        let all = self.ties.iter().filter(move |(_, tie)| lives(tie));
        all.map(move |(number, tie)| {
            (number, tie.peer, Deadline::from_millis(tie.until.as_millis().saturating_sub(tie_ms)))
        })
        .filter(move |(_, _, until)| !until.is_due(tick))
    }

    fn free_number(&mut self, tick: Tick, channel: ChannelNumber) {
        if self.ties.get(channel).is_some_and(|tie| tie.until.is_due(tick)) {
            self.ties.remove(channel);
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
        let mut channels = Channels::new(Arc::new(ahash::RandomState::with_seeds(1, 2, 3, 4)));
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
