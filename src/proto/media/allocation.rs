//! One allocation as the packet path sees it: whom it may talk to, until when, and by which channel. Of a dual
//! allocation each relayed address stands here by itself; see [`super::client`].

use std::cell::Cell;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;

use crate::proto::types::ChannelNumber;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::Family;
use crate::proto::types::Few;
use crate::proto::types::FiveTuple;
use crate::proto::types::Pairs;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::RelayProtocol;
use crate::proto::types::Tick;
use crate::proto::types::ToPeer;
use crate::proto::types::limits::CHANNELS_PER_ALLOCATION_MAX;
use crate::proto::types::limits::PERMISSIONS_PER_ALLOCATION_MAX;

use super::Bandwidth;
use super::Counters;
use super::DropReason;
use super::NewAllocation;
use super::bucket::Buckets;
use super::path::Path;

/// Addresses that can be permitted at one time: those of permissions and, unless permissions are strict,
/// those that a live channel keeps permitted.
const PERMITTED_LIVE_MAX: usize = PERMISSIONS_PER_ALLOCATION_MAX + CHANNELS_PER_ALLOCATION_MAX;
/// Addresses remembered, with those whose time is over. The difference makes sweeping rare.
const PERMITTED_MAX: usize = PERMITTED_LIVE_MAX + PERMISSIONS_PER_ALLOCATION_MAX;

/// Channels remembered, with those whose time is over. The difference makes sweeping rare.
const CHANNELS_MAX: usize = 2 * CHANNELS_PER_ALLOCATION_MAX;

/// What a peer policy says of a channel's peer, whichever of the server's own relayed addresses are live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The peer may be reached.
    Always,
    /// It may not.
    Never,
    /// It may while it is the relayed address of a live allocation of this server.
    OwnRelay,
}

/// A channel that is bound, its time over or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    pub(super) peer: PeerAddr,
    pub(super) reach: Reach,
    /// The number of the policy that said so.
    pub(super) judged_by: u32,
    until: Deadline,
}

impl ToPeer for Channel {
    fn peer(&self) -> PeerAddr {
        self.peer
    }
}

/// How long an address is permitted.
#[derive(Clone, Copy, Debug)]
struct Permitted {
    until: Deadline,
    /// How long it would be without any channel.
    by_itself: Option<Deadline>,
}

/// A clone draws from the same buckets.
#[derive(Clone, Debug)]
pub(super) struct Allocation {
    relay: RelayId,
    relayed: RelayAddr,
    until: Deadline,
    dialect: Dialect,
    protocol: RelayProtocol,
    /// Removed by control: kept only for its counters.
    removed: bool,
    permitted: Few<IpAddr, Permitted>,
    channels: Pairs<Channel>,
    counters: Cell<Counters>,
    buckets: Buckets,
    path: Path,
    /// The active destination of [MS-TURN]: where bare data goes to, and comes from.
    destination: Option<Box<PeerAddr>>,
}

/// What a packet asks.
impl Allocation {
    pub(super) fn relay(&self) -> RelayId {
        self.relay
    }

    /// The family of its relayed address, and so of the peers it can reach.
    pub(super) fn family(&self) -> Family {
        self.relayed.family()
    }

    /// Whether datagrams run over it.
    pub(super) fn takes_datagrams(&self) -> bool {
        self.protocol == RelayProtocol::Udp
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(super) fn five_tuple(&self) -> &FiveTuple {
        self.path.five_tuple()
    }

    pub(super) fn is_removed(&self) -> bool {
        self.removed
    }

    /// This allocation, while its time lasts.
    pub(super) fn live(&self, tick: Tick) -> Result<&Self, DropReason> {
        if self.until.is_due(tick) { Err(DropReason::AllocationExpired) } else { Ok(self) }
    }

    /// The live channel `number`.
    pub(super) fn channel(&self, number: ChannelNumber, tick: Tick) -> Result<&Channel, DropReason> {
        let channel = self.channels.get(number).ok_or(DropReason::NoChannel)?;
        if channel.until.is_due(tick) { Err(DropReason::ChannelExpired) } else { Ok(channel) }
    }

    /// The live channel that is bound to exactly this address and port.
    pub(super) fn channel_to(&self, peer: PeerAddr, tick: Tick) -> Option<ChannelNumber> {
        let (number, channel) = self.channels.of_peer(peer)?;
        (!channel.until.is_due(tick)).then_some(number)
    }

    /// Whether `peer` is of the relayed address's family and its address is permitted, whatever its port
    /// (RFC 8656 § 9). A live channel stands in for a permission because [`Self::bind`] made one.
    pub(super) fn admit(&self, peer: PeerAddr, tick: Tick) -> Result<(), DropReason> {
        if peer.family() != self.family() {
            return Err(DropReason::PeerFamily);
        }
        let permitted = self.permitted.get(&peer.ip()).ok_or(DropReason::NoPermission)?;
        if permitted.until.is_due(tick) { Err(DropReason::PermissionExpired) } else { Ok(()) }
    }

    /// Reads a word of each part that a packet needs, and waits for none.
    pub(super) fn fetch(&self) {
        black_box((self.until, self.path.is_awaiting(), self.counters.get().to_peer_bytes));
        black_box(self.channels.iter().next().map(|(number, channel)| (number, channel.until)));
        black_box(self.permitted.iter().next().map(|(_, permitted)| permitted.until));
        self.buckets.fetch();
    }

    /// Takes a datagram with `data_len` bytes of application data from the buckets that this allocation draws from.
    pub(super) fn charge(&self, tick: Tick, data_len: usize) -> Result<(), DropReason> {
        self.buckets.take(tick, data_len)
    }

    pub(super) fn count_to_peer(&self, bytes: usize) {
        let mut counters = self.counters.get();
        counters.to_peer_packets += 1;
        counters.to_peer_bytes += bytes as u64;
        self.counters.set(counters);
    }

    pub(super) fn count_to_client(&self, bytes: usize) {
        let mut counters = self.counters.get();
        counters.to_client_packets += 1;
        counters.to_client_bytes += bytes as u64;
        self.counters.set(counters);
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters.get()
    }

    pub(super) fn set_counters(&self, counters: Counters) {
        self.counters.set(counters);
    }

    /// The peer of bare data ([MS-TURN] § 3.3.5.3).
    pub(super) fn destination(&self) -> Option<PeerAddr> {
        self.destination.as_deref().copied()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The relayed address as others see it.
    pub(super) fn relayed(&self) -> RelayAddr {
        self.relayed
    }

    /// When it ends.
    pub(super) fn until(&self) -> Deadline {
        self.until
    }

    /// What it draws from.
    pub(super) fn bandwidth(&self) -> &Bandwidth {
        self.buckets.bandwidth()
    }

    /// Each channel, its time over or not, with when it or the permission for its peer ends.
    pub(super) fn channels(&self) -> impl Iterator<Item = (ChannelNumber, &Channel, Deadline)> {
        self.channels.iter().map(|(number, channel)| {
            let permitted = self.permitted.get(&channel.peer.ip());
            let until = permitted.map_or(Deadline::PAST, |permitted| permitted.until.min(channel.until));
            (number, channel, until)
        })
    }
}

/// What control changes.
impl Allocation {
    pub(super) fn new(new: NewAllocation, hasher: &Arc<RandomState>) -> Self {
        let NewAllocation { relay, five_tuple, dialect, relayed, until, bandwidth, protocol } = new;
        Self {
            relay,
            relayed,
            until,
            dialect,
            protocol,
            path: Path::new(five_tuple),
            removed: false,
            permitted: Few::new(Arc::clone(hasher)),
            channels: Pairs::new(Arc::clone(hasher)),
            counters: Cell::default(),
            buckets: Buckets::new(bandwidth, relayed.family()),
            destination: None,
        }
    }

    /// What is permitted, and what is bound, their time over or not.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn inspect(&self) -> super::Entry {
        let [settled, awaited] = self.path.all();
        let bound =
            |(number, channel): (ChannelNumber, &Channel)| (number.get(), channel.peer, channel.until);
        super::Entry {
            relay: self.relay,
            removed: self.removed,
            settled: settled.unwrap_or(*self.path.five_tuple()),
            awaited,
            until: self.until,
            permitted: self.permitted.iter().map(|(peer, permitted)| (*peer, permitted.until)).collect(),
            channels: self.channels.iter().map(bound).collect(),
        }
    }

    pub(super) fn path_mut(&mut self) -> &mut Path {
        &mut self.path
    }

    pub(super) fn remove(&mut self) {
        self.removed = true;
    }

    /// A refresh may also shorten the time.
    pub(super) fn extend(&mut self, until: Deadline) {
        self.until = until;
    }

    /// What was granted is not taken back: the later end counts.
    pub(super) fn permit(&mut self, peer: IpAddr, until: Deadline) {
        let permitted = self.permit_at_least(peer, until);
        permitted.by_itself = permitted.by_itself.max(Some(until));
    }

    /// Permits an address for the sake of a channel: no longer than that is bound.
    pub(super) fn keep_permitted(&mut self, peer: IpAddr, until: Deadline) {
        self.permit_at_least(peer, until);
    }

    fn permit_at_least(&mut self, peer: IpAddr, until: Deadline) -> &mut Permitted {
        if self.permitted.len() >= PERMITTED_MAX && !self.permitted.contains(&peer) {
            self.sweep_permitted();
        }
        let permitted = self.permitted.get_or_insert(peer, Permitted { until, by_itself: None });
        permitted.until = until.max(permitted.until);
        permitted
    }

    /// Binds `number` and `peer` to each other and to nobody else, or lets their binding go on. Control sees
    /// to it that a binding which this replaces is over.
    ///
    /// `judgement` is what the policy of this number says of the peer.
    pub(super) fn bind(
        &mut self,
        number: ChannelNumber,
        peer: PeerAddr,
        until: Deadline,
        judgement: (Reach, u32),
    ) {
        if self.channels.len() >= CHANNELS_MAX && self.channels.get(number).is_none() {
            self.sweep_channels();
        }
        let before = self.channels.get(number);
        let until = match before {
            Some(before) if before.peer == peer => before.until.max(until),
            _ => until,
        };
        let (reach, judged_by) = judgement;
        self.channels.insert(number, Channel { peer, reach, judged_by, until });
    }

    pub(super) fn set_destination(&mut self, peer: PeerAddr) {
        self.destination = Some(Box::new(peer));
    }

    /// Takes back what was granted, by whichever way it was.
    pub(super) fn forbid(&mut self, peer: IpAddr) {
        self.permitted.remove(&peer);
    }

    /// Ends a channel. Its peer's address stays permitted as long as something else permits it: a permission, or
    /// another channel to it unless `strict`.
    pub(super) fn unbind(&mut self, number: ChannelNumber, strict: bool) {
        let Some(channel) = self.forget_channel(number) else { return };
        let ip = channel.peer.ip();
        let Some(permitted) = self.permitted.get_mut(&ip) else { return };
        let others = self.channels.iter().filter(|(_, other)| !strict && other.peer.ip() == ip);
        match others.map(|(_, other)| other.until).max().max(permitted.by_itself) {
            Some(until) => permitted.until = until.min(permitted.until),
            None => drop(self.permitted.remove(&ip)),
        }
    }

    /// Drops a channel whose number is another's now.
    pub(super) fn forget_channel(&mut self, number: ChannelNumber) -> Option<Channel> {
        self.channels.remove(number)
    }

    /// Lets each channel count as judged by the policy of this number, which is not the one in force.
    pub(super) fn judge_anew(&mut self, judged_by: u32) {
        self.channels.iter_mut().for_each(|(_, channel)| channel.judged_by = judged_by);
    }

    /// Forgets channels whose time is over. As with addresses no clock is needed: control admits at most
    /// `CHANNELS_PER_ALLOCATION_MAX` at a time.
    fn sweep_channels(&mut self) {
        let mut ends: Vec<Deadline> = self.channels.iter().map(|(_, channel)| channel.until).collect();
        let Some(last_over) = ends.len().checked_sub(CHANNELS_PER_ALLOCATION_MAX) else { return };
        let (_, &mut last_over, _) = ends.select_nth_unstable(last_over);
        self.channels.retain(|channel| channel.until > last_over);
    }

    /// Forgets addresses whose time is over. No clock is needed to tell which: control admits at most
    /// `PERMITTED_LIVE_MAX` at a time, so of more than that the ones that end first have ended.
    fn sweep_permitted(&mut self) {
        let mut ends: Vec<Deadline> = self.permitted.iter().map(|(_, permitted)| permitted.until).collect();
        let Some(last_over) = ends.len().checked_sub(PERMITTED_LIVE_MAX + 1) else { return };
        let (_, &mut last_over, _) = ends.select_nth_unstable(last_over);
        self.permitted.retain(|_, permitted| permitted.until > last_over);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use crate::proto::media::TableChange;
    use crate::proto::media::fixture::at;
    use crate::proto::media::fixture::bind;
    use crate::proto::media::fixture::channel;
    use crate::proto::media::fixture::client;
    use crate::proto::media::fixture::insert;
    use crate::proto::media::fixture::ms;
    use crate::proto::media::fixture::peer;
    use crate::proto::media::fixture::relay;

    use super::*;

    fn allocation() -> Allocation {
        let TableChange::Insert(new) = insert(relay(0, 1), client(1), "198.51.100.1:50000", 1_000) else {
            unreachable!("insert makes an Insert")
        };
        Allocation::new(*new, &Arc::new(RandomState::with_seeds(1, 2, 3, 4)))
    }

    fn nth(n: usize) -> IpAddr {
        Ipv4Addr::from_bits(u32::try_from(n).unwrap() + 0x0100_0000).into()
    }

    fn admitted(allocation: &Allocation, ip: IpAddr, millis: u64) -> Result<(), DropReason> {
        allocation.admit(PeerAddr::new((ip, 9).into()), at(millis))
    }

    fn bind_to(allocation: &mut Allocation, number: u16, to: &str, until: u64) {
        allocation.bind(channel(number), peer(to), ms(until), (Reach::Always, 0));
    }

    /// Each channel, which is found both ways.
    fn channels(allocation: &Allocation) -> Vec<(u16, String)> {
        let all = allocation.channels.iter().map(|(number, channel)| (number, channel.peer));
        let all: Vec<_> = all.collect();
        for (number, peer) in &all {
            assert_eq!(allocation.channels.of_peer(*peer).map(|(number, _)| number), Some(*number));
        }
        let mut told: Vec<_> = all.iter().map(|(number, peer)| (number.get(), peer.to_string())).collect();
        told.sort();
        told
    }

    #[test]
    fn what_control_may_admit_at_a_time_has_room() {
        let mut allocation = allocation();
        for n in 0..PERMITTED_LIVE_MAX {
            allocation.permit(nth(n), ms(100));
        }
        for n in 0..PERMITTED_LIVE_MAX {
            assert_eq!(admitted(&allocation, nth(n), 99), Ok(()));
        }
    }

    #[test]
    fn permissions_that_come_and_go_for_ever_take_bounded_memory_and_only_those_that_are_over_go() {
        let mut allocation = allocation();
        let kept = nth(usize::from(u16::MAX) * 8);
        allocation.permit(kept, ms(u64::MAX));
        for n in 0..40_000 {
            // Each millisecond one comes, each lives 1,000 ms: the last 1,000 are live.
            allocation.permit(nth(n), ms(n as u64 + 1_000));
            assert!(allocation.permitted.len() <= PERMITTED_MAX);
        }
        for n in 39_000..40_000 {
            assert_eq!(admitted(&allocation, nth(n), 39_999), Ok(()), "{n}");
        }
        assert_eq!(admitted(&allocation, kept, 39_999), Ok(()));
        assert_eq!(admitted(&allocation, nth(0), 39_999), Err(DropReason::NoPermission));
    }

    #[test]
    fn even_permissions_that_all_live_do_not_grow_past_the_bound() {
        let mut allocation = allocation();
        for n in 0..3 * PERMITTED_MAX {
            allocation.permit(nth(n), ms(1_000));
            assert!(allocation.permitted.len() <= PERMITTED_MAX);
        }
    }

    #[test]
    fn a_sweep_keeps_as_many_as_may_live() {
        let mut allocation = allocation();
        for n in 0..PERMITTED_MAX {
            allocation.permit(nth(n), ms(n as u64));
        }
        allocation.permit(nth(PERMITTED_MAX), ms(9_000));
        let over = PERMITTED_MAX - PERMITTED_LIVE_MAX;
        assert_eq!(allocation.permitted.len(), PERMITTED_LIVE_MAX + 1);
        assert_eq!(admitted(&allocation, nth(over - 1), 0), Err(DropReason::NoPermission));
        assert_eq!(admitted(&allocation, nth(over), 0), Ok(()));
    }

    #[test]
    fn renewing_at_the_bound_sweeps_nothing() {
        let mut allocation = allocation();
        for n in 0..PERMITTED_MAX {
            allocation.permit(nth(n), ms(100));
        }
        allocation.permit(nth(7), ms(200));
        assert_eq!(allocation.permitted.len(), PERMITTED_MAX);
    }

    #[test]
    fn a_grant_is_not_taken_back_by_a_shorter_one() {
        let mut allocation = allocation();
        for until in [500, 300] {
            allocation.permit(nth(1), ms(until));
            bind_to(&mut allocation, 0x4000, "203.0.113.1:1", until);
        }
        assert_eq!(admitted(&allocation, nth(1), 499), Ok(()));
        assert!(allocation.channel(channel(0x4000), at(499)).is_ok());
        assert_eq!(allocation.channel(channel(0x4000), at(500)).unwrap_err(), DropReason::ChannelExpired);
    }

    #[test]
    fn channels_that_come_and_go_for_ever_take_bounded_memory_and_only_those_that_are_over_go() {
        let mut allocation = allocation();
        bind_to(&mut allocation, 0x4000, "203.0.113.1:1", 1_000_000);
        for number in 0x4001..=0x7FFE_u16 {
            bind_to(&mut allocation, number, &format!("203.0.113.1:{number}"), u64::from(number));
            assert!(allocation.channels.len() <= CHANNELS_MAX);
        }
        let bound = channels(&allocation);
        assert!(bound.iter().any(|(number, _)| *number == 0x4000), "it ends last of all");
        let newest = 0x7FFE - (CHANNELS_PER_ALLOCATION_MAX as u16 - 2)..=0x7FFE;
        assert!(newest.clone().all(|number| bound.iter().any(|(bound, _)| *bound == number)));
    }

    #[test]
    fn channels_are_swept_when_twice_as_many_are_remembered_as_may_live_and_no_more_stay() {
        let mut allocation = allocation();
        for number in 0x4000..0x6000_u16 {
            bind_to(&mut allocation, number, &format!("203.0.113.1:{number}"), u64::from(number));
        }
        assert_eq!(channels(&allocation).len(), 2 * CHANNELS_PER_ALLOCATION_MAX);
        bind_to(&mut allocation, 0x6000, "203.0.113.2:1", 0x6000);
        assert_eq!(channels(&allocation).len(), CHANNELS_PER_ALLOCATION_MAX);
    }

    #[test]
    fn every_channel_number_may_be_bound() {
        let mut allocation = allocation();
        for number in 0x4000..=0x4FFF {
            bind_to(&mut allocation, number, &format!("203.0.113.1:{number}"), 500);
        }
        assert_eq!(channels(&allocation).len(), CHANNELS_PER_ALLOCATION_MAX);
    }

    #[test]
    fn a_channel_bound_anew_leaves_nothing_of_its_former_binding() {
        let mut allocation = allocation();
        bind_to(&mut allocation, 0x4000, "203.0.113.1:1", 500);
        bind_to(&mut allocation, 0x4001, "203.0.113.2:2", 500);
        bind_to(&mut allocation, 0x4000, "203.0.113.3:3", 300);
        let both = [(0x4000, "203.0.113.3:3".into()), (0x4001, "203.0.113.2:2".into())];
        assert_eq!(channels(&allocation), both);
        assert_eq!(allocation.channel_to(peer("203.0.113.1:1"), at(0)), None);
        // The former binding's later end is not inherited.
        assert_eq!(allocation.channel_to(peer("203.0.113.3:3"), at(300)), None);
        // The peer of one becomes the peer of the other.
        bind_to(&mut allocation, 0x4000, "203.0.113.2:2", 600);
        assert_eq!(channels(&allocation), [(0x4000, "203.0.113.2:2".into())]);
        assert_eq!(allocation.channel(channel(0x4001), at(0)).unwrap_err(), DropReason::NoChannel);
    }

    #[test]
    fn a_bind_through_the_table_makes_the_permission_unless_strict() {
        for strict in [false, true] {
            let mut table = crate::proto::media::fixture::table(strict);
            table.apply(insert(relay(0, 1), client(1), "198.51.100.1:50000", 1_000));
            table.apply(bind(relay(0, 1), 0x4000, "203.0.113.1:1", 500));
            let allocation = table.of_client(&client(1)).unwrap();
            let expected = if strict { Err(DropReason::NoPermission) } else { Ok(()) };
            assert_eq!(allocation.first.admit(peer("203.0.113.1:2"), at(499)), expected);
        }
    }
}
