//! The table of one worker.
//!
//! ```text
//! client side:  hash of five-tuple ─▶ index ┐   (two indices for a dual allocation)
//!                                           ├─▶ allocations[index]: generation, permitted, channels …
//! relay side:   RelayId.index ──────────────┘
//! ```
//!
//! Each thing in it holds the moment at which it ends, so expiry needs no message. Only control puts in and
//! takes out; packets read, and count.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

use ahash::RandomState;

use crate::proto::peers::LiveRelays;
use crate::proto::peers::OwnRelays;
use crate::proto::peers::PeerPolicy;
use crate::proto::types::ChannelNumber;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::types::limits::ALLOCATIONS_MAX;
use crate::proto::wire::TransactionId;

use super::Counters;
use super::ExternalAddresses;
use super::NewAllocation;
use super::TableChange;
use super::allocation::Allocation;
use super::allocation::Channel;
use super::allocation::Reach;
use super::client::Client;
use super::client::Clients;
use super::client::Located;
use super::mobility::ARRIVALS_MAX;

/// The first four bytes of every transaction id (RFC 8489 § 5).
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// What a table is made with.
#[derive(Clone, Debug)]
pub struct TableConfig {
    /// Judges each datagram on its way out.
    pub policy: Arc<PeerPolicy>,
    /// Without this a live channel keeps its peer's address permitted.
    pub strict_permissions: bool,
    /// Random seeds of the keyed hash.
    pub hash_seeds: [u64; 4],
    /// The relay addresses that stand behind a 1:1 NAT.
    pub external: ExternalAddresses,
}

/// The allocations of one worker, and which relayed addresses of the whole server are live.
#[derive(Debug)]
pub struct Table {
    policy: Arc<PeerPolicy>,
    /// Counts the policies that there were. A channel remembers what its policy said; what an earlier one said is
    /// not asked for, so that a new policy takes no walk over the channels.
    pub(super) policy_number: u32,
    strict_permissions: bool,
    hasher: Arc<RandomState>,
    /// The places in `allocations` of each five-tuple whose allocation was not removed.
    pub(super) clients: Clients,
    /// Relayed addresses by `RelayId::index`; never longer than `ALLOCATIONS_MAX`. Boxed, because a worker has few of the
    /// indices.
    pub(super) allocations: Vec<Option<Box<Allocation>>>,
    own_relays: LiveRelays,
    transactions: Transactions,
    external: ExternalAddresses,
    /// Clients that have come to where they were awaited: at most [`ARRIVALS_MAX`].
    pub(super) arrivals: RefCell<Vec<FiveTuple>>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(config: TableConfig) -> Self {
        let [a, b, c, d] = config.hash_seeds;
        let hasher = Arc::new(RandomState::with_seeds(a, b, c, d));
        Self {
            policy: config.policy,
            policy_number: 0,
            strict_permissions: config.strict_permissions,
            clients: Clients::new(Arc::clone(&hasher)),
            allocations: Vec::new(),
            own_relays: LiveRelays::new(Arc::clone(&hasher)),
            transactions: Transactions::new(config.hash_seeds),
            hasher,
            external: config.external,
            arrivals: RefCell::new(Vec::with_capacity(ARRIVALS_MAX)),
        }
    }

    /// Carries out `change`. A change for a relay that is not here, in this generation and not removed, is
    /// ignored.
    pub fn apply(&mut self, change: TableChange) {
        match change {
            TableChange::Insert(new) => self.insert(*new),
            TableChange::Extend { relay, until } => self.extend(relay, until),
            TableChange::Permit { relay, peer, until } => self.permit(relay, peer, until),
            TableChange::Bind { relay, channel, peer, until } => self.bind(relay, channel, peer, until),
            TableChange::Remove { relay } => self.remove(relay),
            TableChange::OwnRelay { address, live } => self.set_own_relay(address, live),
            TableChange::Policy(policy) => self.set_policy(policy),
            TableChange::Forbid { relay, peer } => self.forbid(relay, peer),
            TableChange::Unbind { relay, channel } => self.unbind(relay, channel),
            TableChange::Await { relay, next } => self.await_at(relay, next),
            TableChange::Settle { relay } => self.settle(relay),
            TableChange::Destination { relay, peer } => self.set_destination(relay, peer),
        }
    }

    /// Drops what [`TableChange::Remove`] left, or the whole of an allocation that was not removed, and
    /// answers what it carried: nothing, if it is not here.
    pub fn forget(&mut self, relay: RelayId) -> Counters {
        self.remove(relay);
        match self.allocations.get_mut(relay.index as usize) {
            Some(place) => place
                .take_if(|allocation| allocation.relay() == relay)
                .map_or_else(Counters::default, |allocation| allocation.counters()),
            None => Counters::default(),
        }
    }

    /// The allocation of `five_tuple`, expired or not, by the name of one of its relayed addresses, and its dialect.
    #[must_use]
    pub fn find(&self, five_tuple: &FiveTuple) -> Option<(RelayId, Dialect)> {
        self.of_client(five_tuple).map(|client| (client.first.relay(), client.dialect()))
    }

    /// The client's side of `relay`; `None` if it is not here or was removed.
    #[must_use]
    pub fn five_tuple(&self, relay: RelayId) -> Option<FiveTuple> {
        self.of_relay(relay).map(|allocation| *allocation.five_tuple())
    }

    /// What `relay` carried; `None` if it is not here. After [`TableChange::Remove`] it is still here, until
    /// [`Self::forget`].
    #[must_use]
    pub fn counters(&self, relay: RelayId) -> Option<Counters> {
        self.any_generation(relay.index)
            .filter(|allocation| allocation.relay() == relay)
            .map(Allocation::counters)
    }

    /// What each relayed address carried, removed or not, that carried anything. It reads numbers alone, so it can be
    /// asked of a table that a panic left half-changed.
    pub fn salvage(&self) -> impl Iterator<Item = (RelayId, Counters)> + '_ {
        let all = self.allocations.iter().filter_map(Option::as_deref);
        all.map(|allocation| (allocation.relay(), allocation.counters()))
            .filter(|(_, counters)| *counters != Counters::default())
    }

    /// Allocations that were not removed.
    #[must_use]
    pub fn len(&self) -> usize {
        let settled = |allocation: &&Allocation| {
            let [at, _] = allocation.path().all();
            let client = at.and_then(|five_tuple| self.of_client(&five_tuple));
            client.is_some_and(|client| client.first.relay() == allocation.relay())
        };
        self.allocations.iter().filter_map(Option::as_deref).filter(settled).count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Each relayed address that was not removed, and what it carried so far, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (RelayId, Counters)> + '_ {
        self.allocations
            .iter()
            .filter_map(Option::as_deref)
            .filter(|allocation| !allocation.is_removed())
            .map(|allocation| (allocation.relay(), allocation.counters()))
    }
}

/// What a packet asks.
impl Table {
    /// Where what is known of `five_tuple` stands: good until the table is next changed, for as many datagrams as there are.
    #[must_use]
    pub fn locate(&self, five_tuple: &FiveTuple) -> Located {
        Located(self.clients.get(five_tuple))
    }

    /// The relayed addresses of `five_tuple`, expired or not, found with one look.
    pub(super) fn of_client(&self, five_tuple: &FiveTuple) -> Option<Client<'_>> {
        self.located(self.locate(five_tuple), five_tuple)
    }

    /// The same of one that was located before.
    #[inline]
    pub(super) fn located(&self, at: Located, five_tuple: &FiveTuple) -> Option<Client<'_>> {
        let places = at.0?;
        let first = self.any_generation(places.first()).filter(|first| first.path().is_at(five_tuple))?;
        Some(Client { first, second: places.second().and_then(|place| self.any_generation(place)) })
    }

    /// Has what a packet needs of one that was located come from memory, without waiting for it: memory that several packets
    /// need, and that has left the processor's caches, comes at one time that way. Answers one of its relays.
    pub fn fetch(&self, at: Located) -> Option<RelayId> {
        let first = self.any_generation(at.0?.first())?;
        first.fetch();
        Some(first.relay())
    }

    /// The same for `relay`.
    pub fn fetch_relay(&self, relay: RelayId) {
        if let Some(allocation) = self.any_generation(relay.index) {
            allocation.fetch();
        }
    }

    /// The allocation of `relay`, expired or not, unless it was removed or another has its place.
    pub(super) fn of_relay(&self, relay: RelayId) -> Option<&Allocation> {
        self.any_generation(relay.index)
            .filter(|allocation| allocation.relay() == relay && !allocation.is_removed())
    }

    /// Whether the policy lets a datagram go to `peer`.
    pub(super) fn may_reach(&self, peer: PeerAddr) -> bool {
        self.policy.allows(peer.socket(), &self.own_relays)
    }

    /// Whether the policy lets a datagram go to the peer of `channel`.
    pub(super) fn may_reach_by(&self, channel: &Channel) -> bool {
        match channel.reach {
            _ if channel.judged_by != self.policy_number => self.may_reach(channel.peer),
            Reach::Always => true,
            Reach::Never => false,
            Reach::OwnRelay => self.may_reach(channel.peer),
        }
    }

    /// Where a datagram for `peer` is sent: the relayed address of a live allocation of this server is reached as it is
    /// bound, all else as it is named.
    #[inline]
    pub(super) fn way_to(&self, peer: PeerAddr) -> PeerAddr {
        match self.external.bound(peer) {
            Some(bound) if self.own_relays.is_live(peer.socket()) => bound,
            _ => peer,
        }
    }

    /// Whom a datagram that came from `source` is from, as peers are named. Whatever else of this machine sends from an
    /// address that relays are bound to keeps that address, for which no permission is granted.
    #[inline]
    pub(super) fn name_of(&self, source: PeerAddr) -> PeerAddr {
        match self.external.external(source) {
            Some(external) if self.own_relays.is_live(external.socket()) => external,
            _ => source,
        }
    }

    /// `peer` as this machine reaches it, where it is a relayed address behind a NAT of its own.
    pub(super) fn bound_form(&self, peer: PeerAddr) -> PeerAddr {
        self.external.bound(peer).unwrap_or(peer)
    }

    /// `source` as peers are named, where it is a relayed address behind a NAT of its own.
    pub(super) fn external_form(&self, source: PeerAddr) -> PeerAddr {
        self.external.external(source).unwrap_or(source)
    }

    /// The client whose port `relay` is, if what comes on its connections is framed for it ([MS-TURN]).
    #[must_use]
    pub fn framed_for(&self, relay: RelayId) -> Option<FiveTuple> {
        let of =
            self.of_relay(relay).filter(|of| of.dialect() == Dialect::MsTurn && !of.takes_datagrams())?;
        Some(*of.five_tuple())
    }

    /// Whether a peer that connected from `source` to the port of `relay` may be told to its client: its address, or the
    /// external form of it, is permitted. Control, which knows what lives there, has the last word.
    #[must_use]
    pub fn admits_connection(&self, tick: Tick, relay: RelayId, source: PeerAddr) -> bool {
        let Some(allocation) = self.of_relay(relay).filter(|one| one.live(tick).is_ok()) else {
            return false;
        };
        let forms = [Some(source), self.external.external(source)];
        forms.into_iter().flatten().any(|peer| allocation.admit(peer, tick).is_ok())
    }

    /// Whether connections of `relay` may carry more at this time. Where they may, it costs the header of a packet.
    #[must_use]
    pub fn may_carry(&self, tick: Tick, relay: RelayId) -> bool {
        self.of_relay(relay).is_some_and(|one| one.live(tick).is_ok() && one.charge(tick, 0).is_ok())
    }

    /// Counts what connections of `relay` have carried, both ways. They may be ahead of their bandwidth by that.
    pub fn carried(&self, tick: Tick, relay: RelayId, to_peer: usize, to_client: usize) {
        let Some(allocation) = self.of_relay(relay) else { return };
        // Refused only where another worker drew from the same user meanwhile.
        let _ = allocation.charge(tick, to_peer + to_client);
        if to_peer > 0 {
            allocation.count_to_peer(to_peer);
        }
        if to_client > 0 {
            allocation.count_to_client(to_client);
        }
    }

    /// A transaction id that nobody else can foresee, for one indication.
    pub(super) fn fresh_transaction(&self) -> TransactionId {
        self.transactions.fresh()
    }

    /// The relayed addresses of the whole server that are live, as far as this table was told.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn own_relays(&self) -> Vec<SocketAddr> {
        self.own_relays.iter().collect()
    }

    pub(super) fn any_generation(&self, index: u32) -> Option<&Allocation> {
        self.allocations.get(index as usize)?.as_deref()
    }
}

/// What control changes.
impl Table {
    fn insert(&mut self, new: NewAllocation) {
        let NewAllocation { relay, five_tuple, .. } = new;
        if relay.index >= ALLOCATIONS_MAX {
            return;
        }
        if let Some(there) = self.any_generation(relay.index).map(Allocation::relay) {
            if !is_newer(relay, there) {
                return;
            }
            self.forget(there);
        }
        // A five-tuple names one allocation, which has one relayed address of a family: should control forget to remove
        // the former, it is removed here.
        let family = new.relayed.family();
        if let Some(former) = self.of_client(&five_tuple).and_then(|client| client.of(family)) {
            self.remove(former.relay());
        }
        let place = relay.index as usize;
        if self.allocations.len() <= place {
            self.allocations.resize_with(place + 1, || None);
        }
        self.allocations[place] = Some(Box::new(Allocation::new(new, &self.hasher)));
        self.add_key(five_tuple, relay.index);
    }

    fn set_own_relay(&mut self, address: SocketAddr, live: bool) {
        let address = PeerAddr::new(address).socket();
        if live { self.own_relays.insert(address) } else { self.own_relays.remove(address) }
    }

    fn extend(&mut self, relay: RelayId, until: Deadline) {
        if let Some(allocation) = self.of_relay_mut(relay) {
            allocation.extend(until);
        }
    }

    fn permit(&mut self, relay: RelayId, peer: IpAddr, until: Deadline) {
        if let Some(allocation) = self.of_relay_mut(relay) {
            allocation.permit(peer, until);
        }
    }

    fn bind(&mut self, relay: RelayId, number: ChannelNumber, peer: PeerAddr, until: Deadline) {
        let judgement = (self.reach(peer), self.policy_number);
        let strict_permissions = self.strict_permissions;
        let Some(other) = self.of_relay(relay).map(|bound| self.other_place(bound)) else { return };
        if let Some(other) = other.and_then(|place| self.allocations[place as usize].as_deref_mut()) {
            other.forget_channel(number);
        }
        let Some(allocation) = self.of_relay_mut(relay) else { return };
        allocation.bind(number, peer, until, judgement);
        // The permission that a ChannelBind makes (RFC 8656 § 12.2) ends earlier than the channel. Clients
        // exist that refresh channels only; with strict permissions theirs end as the standard says, by their
        // own Permit.
        if !strict_permissions {
            allocation.keep_permitted(peer.ip(), until);
        }
    }

    fn set_policy(&mut self, policy: Arc<PeerPolicy>) {
        self.policy = policy;
        self.policy_number = self.policy_number.wrapping_add(1);
    }

    fn forbid(&mut self, relay: RelayId, peer: IpAddr) {
        if let Some(allocation) = self.of_relay_mut(relay) {
            allocation.forbid(peer);
        }
    }

    fn set_destination(&mut self, relay: RelayId, peer: PeerAddr) {
        if let Some(allocation) = self.of_relay_mut(relay) {
            allocation.set_destination(peer);
        }
    }

    fn unbind(&mut self, relay: RelayId, number: ChannelNumber) {
        let strict_permissions = self.strict_permissions;
        if let Some(allocation) = self.of_relay_mut(relay) {
            allocation.unbind(number, strict_permissions);
        }
    }

    fn remove(&mut self, relay: RelayId) {
        let Some(allocation) = self.of_relay_mut(relay) else { return };
        allocation.remove();
        let keys = allocation.path().all();
        keys.into_iter().flatten().for_each(|five_tuple| self.drop_key(&five_tuple, relay.index));
    }

    /// The place of the other relayed address of a dual allocation.
    fn other_place(&self, one: &Allocation) -> Option<u32> {
        let client = self.of_client(one.five_tuple())?;
        let mut places = [Some(client.first), client.second].into_iter().flatten().map(|of| of.relay().index);
        places.find(|place| *place != one.relay().index)
    }

    pub(super) fn of_relay_mut(&mut self, relay: RelayId) -> Option<&mut Allocation> {
        self.allocations
            .get_mut(relay.index as usize)?
            .as_deref_mut()
            .filter(|allocation| allocation.relay() == relay && !allocation.is_removed())
    }

    /// What the policy says of `peer` for as long as a channel may last. A live own relay can only open a
    /// way, so where none and all of them living makes no difference, none ever does.
    pub(super) fn reach(&self, peer: PeerAddr) -> Reach {
        let if_none_lived = self.policy.allows(peer.socket(), &Supposed { live: false });
        let if_all_lived = self.policy.allows(peer.socket(), &Supposed { live: true });
        match (if_none_lived, if_all_lived) {
            (true, true) => Reach::Always,
            (false, false) => Reach::Never,
            _ => Reach::OwnRelay,
        }
    }
}

/// Whether `relay` is a later use of the slot than `there`. Generations wrap, so the nearer way round counts.
pub(super) fn is_newer(relay: RelayId, there: RelayId) -> bool {
    let ahead = relay.generation.wrapping_sub(there.generation);
    ahead != 0 && ahead < 1 << 31
}

/// Own relays that all live, or none.
struct Supposed {
    live: bool,
}

impl OwnRelays for Supposed {
    fn is_live(&self, _: SocketAddr) -> bool {
        self.live
    }
}

/// Transaction ids of Data indications: a counter under a keyed hash, which is SipHash and not the tables'
/// hash, because clients see its results and must not learn from them where keys collide.
#[derive(Debug)]
struct Transactions {
    keyed: DefaultHasher,
    drawn: Cell<u64>,
}

impl Transactions {
    fn new(seeds: [u64; 4]) -> Self {
        let mut keyed = DefaultHasher::new();
        for seed in seeds {
            keyed.write_u64(seed);
        }
        Self { keyed, drawn: Cell::new(0) }
    }

    fn fresh(&self) -> TransactionId {
        let drawn = self.drawn.get().wrapping_add(1);
        self.drawn.set(drawn);
        let mut hash = self.keyed.clone();
        hash.write_u64(drawn);
        let first = hash.finish();
        hash.write_u64(drawn);
        let second = hash.finish();
        let mut id = [0; 16];
        id[..4].copy_from_slice(&MAGIC_COOKIE);
        id[4..12].copy_from_slice(&first.to_be_bytes());
        id[12..].copy_from_slice(&second.to_be_bytes()[..4]);
        TransactionId(id)
    }
}

#[cfg(test)]
mod tests {

    use crate::proto::media::FromClient;
    use crate::proto::media::FromPeer;
    use crate::proto::media::fixture::at;
    use crate::proto::media::fixture::bind;
    use crate::proto::media::fixture::channel;
    use crate::proto::media::fixture::channel_data;
    use crate::proto::media::fixture::client;
    use crate::proto::media::fixture::insert;
    use crate::proto::media::fixture::ms;
    use crate::proto::media::fixture::peer;
    use crate::proto::media::fixture::permit;
    use crate::proto::media::fixture::policy;
    use crate::proto::media::fixture::received;
    use crate::proto::media::fixture::relay;
    use crate::proto::media::fixture::send;
    use crate::proto::media::fixture::table;
    use crate::proto::media::forward::from_client;
    use crate::proto::media::forward::from_peer;
    use crate::proto::types::IpHeader;

    use super::*;

    const RELAYED: &str = "198.51.100.1:50000";

    fn with(relay: RelayId) -> Table {
        let mut table = table(false);
        table.apply(insert(relay, client(1), RELAYED, 1_000));
        table
    }

    #[test]
    fn a_table_can_be_given_to_its_workers_thread() {
        fn given<T: Send>() {}
        given::<Table>();
    }

    // proves rfc8489:5-4, rfc8489:5-5
    #[test]
    fn each_bit_of_a_transaction_id_is_a_coin_and_every_seed_tosses_another() {
        const DRAWS: u32 = 4_096;
        let draw = |seeds| {
            let transactions = Transactions::new(seeds);
            (0..DRAWS).map(|_| transactions.fresh().0).collect::<Vec<_>>()
        };
        let ids = draw([1, 2, 3, 4]);
        for bit in 32..128 {
            let ones = ids.iter().filter(|id| id[bit / 8] >> (bit % 8) & 1 == 1).count();
            // Six standard deviations of that many coins.
            assert!(ones.abs_diff(2_048) < 192, "bit {bit}: {ones} of {DRAWS}");
        }
        for seeds in [[0, 2, 3, 4], [1, 0, 3, 4], [1, 2, 0, 4], [1, 2, 3, 0]] {
            let others = draw(seeds);
            assert!(ids.iter().zip(&others).all(|(id, other)| id[4..] != other[4..]), "{seeds:?}");
        }
    }

    #[test]
    fn a_removed_allocation_keeps_its_counters_until_it_is_forgotten() {
        let mut table = with(relay(5, 1));
        table.of_client(&client(1)).unwrap().first.count_to_client(7);
        let carried = Counters { to_client_packets: 1, to_client_bytes: 7, ..Counters::default() };
        table.apply(TableChange::Remove { relay: relay(5, 1) });
        assert_eq!(table.find(&client(1)), None);
        assert_eq!(table.five_tuple(relay(5, 1)), None);
        assert_eq!((table.len(), table.iter().count(), table.is_empty()), (0, 0, true));
        assert_eq!(table.counters(relay(5, 1)), Some(carried));
        assert_eq!(table.forget(relay(5, 2)), Counters::default());
        assert_eq!(table.forget(relay(5, 1)), carried);
        assert_eq!(table.counters(relay(5, 1)), None);
        assert_eq!(table.forget(relay(5, 1)), Counters::default());
    }

    #[test]
    fn what_carried_anything_is_salvaged_removed_or_not() {
        let (silent, heard) = (relay(5, 1), relay(6, 1));
        let mut table = with(silent);
        table.apply(insert(heard, client(2), "198.51.100.1:50001", 1_000));
        table.of_client(&client(2)).unwrap().first.count_to_client(7);
        let carried = Counters { to_client_packets: 1, to_client_bytes: 7, ..Counters::default() };
        assert_eq!(table.salvage().collect::<Vec<_>>(), [(heard, carried)]);
        table.apply(TableChange::Remove { relay: heard });
        assert_eq!(table.salvage().collect::<Vec<_>>(), [(heard, carried)]);
        assert_eq!(table.iter().collect::<Vec<_>>(), [(silent, Counters::default())]);
    }

    #[test]
    fn forgetting_what_was_not_removed_takes_its_client_along() {
        let mut table = with(relay(5, 1));
        table.forget(relay(5, 1));
        assert_eq!(table.find(&client(1)), None);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn changes_for_another_generation_or_a_removed_allocation_do_nothing() {
        let (here, gone) = (relay(5, 2), relay(5, 1));
        for (target, remove_first) in
            [(gone, false), (relay(5, 3), false), (relay(6, 2), false), (here, true)]
        {
            let mut table = with(here);
            if remove_first {
                table.apply(TableChange::Remove { relay: here });
            }
            table.apply(TableChange::Extend { relay: target, until: ms(9_000) });
            table.apply(permit(target, "203.0.113.1", 9_000));
            table.apply(bind(target, 0x4000, "203.0.113.2:2", 9_000));
            table.apply(TableChange::Remove { relay: target });
            assert_eq!(table.find(&client(1)).is_none(), remove_first);
            let allocation = table.any_generation(here.index).unwrap();
            assert!(allocation.live(at(1_000)).is_err());
            assert!(allocation.admit(peer("203.0.113.1:9"), at(0)).is_err());
            assert!(allocation.channel_to(peer("203.0.113.2:2"), at(0)).is_none());
        }
    }

    #[test]
    fn only_a_newer_generation_takes_a_place() {
        for (there, comes, takes) in
            [(2, 3, true), (2, 2, false), (2, 1, false), (u32::MAX, 0, true), (0, u32::MAX, false)]
        {
            let mut table = with(relay(5, there));
            table.apply(insert(relay(5, comes), client(2), RELAYED, 1_000));
            assert_eq!(table.find(&client(2)).is_some(), takes, "{there} then {comes}");
            assert_eq!(table.find(&client(1)).is_none(), takes, "{there} then {comes}");
            assert_eq!(table.len(), 1);
        }
    }

    #[test]
    fn a_five_tuple_names_one_allocation() {
        let mut table = with(relay(5, 1));
        table.apply(insert(relay(6, 1), client(1), RELAYED, 1_000));
        assert_eq!(table.find(&client(1)), Some((relay(6, 1), Dialect::Rfc8656)));
        assert_eq!(table.five_tuple(relay(5, 1)), None);
        table.apply(TableChange::Remove { relay: relay(5, 1) });
        table.forget(relay(5, 1));
        assert_eq!(table.find(&client(1)), Some((relay(6, 1), Dialect::Rfc8656)));
    }

    #[test]
    fn an_index_beyond_the_limit_takes_no_memory() {
        let mut table = with(relay(ALLOCATIONS_MAX - 1, 1));
        table.apply(insert(relay(ALLOCATIONS_MAX, 1), client(2), RELAYED, 1_000));
        assert_eq!(table.len(), 1);
        assert_eq!(table.allocations.len(), ALLOCATIONS_MAX as usize);
    }

    #[test]
    fn live_relays_are_known_without_their_flow_label() {
        let mut table = table(false);
        let labelled = std::net::SocketAddrV6::new("2001:db8::1".parse().unwrap(), 7, 99, 0).into();
        table.apply(TableChange::OwnRelay { address: labelled, live: true });
        assert!(table.own_relays.is_live("[2001:db8::1]:7".parse().unwrap()));
        table.apply(TableChange::OwnRelay { address: labelled, live: false });
        assert!(!table.own_relays.is_live("[2001:db8::1]:7".parse().unwrap()));
    }

    /// Whether a packet of the client gets through by the channel, and by a Send indication to the same peer.
    fn reached(table: &Table, number: u16, to: &str) -> (bool, bool) {
        let sent =
            |datagram: &[u8]| match from_client(table, at(0), &client(1), IpHeader::default(), datagram) {
                FromClient::ToPeer { peer: reached, .. } => {
                    assert_eq!(reached, peer(to));
                    true
                }
                _ => false,
            };
        (sent(&channel_data(number, b"hi")), sent(&send(to, b"hi")))
    }

    /// Whether a packet of the peer gets through, and how.
    fn heard(table: &Table, from: &str) -> Option<&'static str> {
        let (mut buffer, payload) = received(b"hi");
        match from_peer(table, at(0), relay(5, 1), peer(from), IpHeader::default(), &mut buffer, payload) {
            FromPeer::ToClient { frame, .. } if buffer[frame.start] >= 0x40 => Some("channel"),
            FromPeer::ToClient { .. } => Some("indication"),
            FromPeer::Drop(_) => None,
        }
    }

    #[test]
    fn a_new_policy_counts_for_channels_that_are_bound_already_both_ways_and_again() {
        let mut table = with(relay(5, 1));
        table.apply(permit(relay(5, 1), "203.0.113.66", 1_000));
        let (one, other) = ("203.0.113.1:9", "203.0.113.66:53");
        table.apply(bind(relay(5, 1), 0x4000, one, 1_000));
        table.apply(bind(relay(5, 1), 0x4001, other, 1_000));
        let seen = |table: &Table| (reached(table, 0x4000, one), reached(table, 0x4001, other));
        assert_eq!(seen(&table), ((true, true), (false, false)));
        table.apply(TableChange::Policy(policy(&["203.0.113.1"])));
        assert_eq!(seen(&table), ((false, false), (true, true)));
        table.apply(bind(relay(5, 1), 0x4000, one, 1_000));
        assert_eq!(seen(&table), ((false, false), (true, true)), "bound under the new policy");
        table.apply(TableChange::Policy(policy(&["203.0.113.66:53"])));
        assert_eq!(seen(&table), ((true, true), (false, false)));
    }

    #[test]
    fn an_own_relay_is_judged_by_its_life_under_every_policy() {
        let mut table = with(relay(5, 1));
        let own = "198.51.100.1:50001";
        table.apply(bind(relay(5, 1), 0x4000, own, 1_000));
        table.apply(TableChange::Policy(policy(&[])));
        for live in [false, true, false] {
            table.apply(TableChange::OwnRelay { address: own.parse().unwrap(), live });
            assert_eq!(reached(&table, 0x4000, own), (live, live));
        }
    }

    #[test]
    fn what_is_forbidden_is_neither_sent_nor_heard_until_it_is_permitted_again() {
        let mut table = with(relay(5, 1));
        let (gone, kept) = ("203.0.113.1:9", "203.0.113.2:9");
        for (number, to) in [(0x4000, gone), (0x4001, kept)] {
            table.apply(bind(relay(5, 1), number, to, 1_000));
        }
        table.apply(TableChange::Forbid { relay: relay(5, 1), peer: "203.0.113.1".parse().unwrap() });
        assert_eq!((reached(&table, 0x4000, gone), heard(&table, gone)), ((false, false), None));
        assert_eq!((reached(&table, 0x4001, kept), heard(&table, kept)), ((true, true), Some("channel")));
        table.apply(permit(relay(5, 1), "203.0.113.1", 10));
        assert_eq!((reached(&table, 0x4000, gone), heard(&table, gone)), ((true, true), Some("channel")));
    }

    #[test]
    fn a_channel_that_is_unbound_is_gone_by_number_and_by_peer_and_another_keeps_the_address() {
        let mut table = with(relay(5, 1));
        table.apply(bind(relay(5, 1), 0x4000, "203.0.113.1:9", 1_000));
        table.apply(bind(relay(5, 1), 0x4001, "203.0.113.1:10", 1_000));
        for _ in 0..2 {
            table.apply(TableChange::Unbind { relay: relay(5, 1), channel: channel(0x4000) });
            assert_eq!(reached(&table, 0x4000, "203.0.113.1:9"), (false, true));
            assert_eq!(heard(&table, "203.0.113.1:9"), Some("indication"));
            assert_eq!(heard(&table, "203.0.113.1:10"), Some("channel"));
        }
        table.apply(bind(relay(5, 1), 0x4000, "203.0.113.1:9", 1_000));
        assert_eq!(heard(&table, "203.0.113.1:9"), Some("channel"));
    }

    #[test]
    fn an_address_is_permitted_for_the_sake_of_a_channel_no_longer_than_that_is_bound() {
        let mut table = with(relay(5, 1));
        let (ip, at_peer) = ("203.0.113.1", "203.0.113.1:9");
        let unbind = || TableChange::Unbind { relay: relay(5, 1), channel: channel(0x4000) };
        table.apply(bind(relay(5, 1), 0x4000, at_peer, 1_000));
        table.apply(unbind());
        assert_eq!((reached(&table, 0x4000, at_peer), heard(&table, at_peer)), ((false, false), None));
        // A channel to another address permits that one alone.
        table.apply(bind(relay(5, 1), 0x4000, at_peer, 1_000));
        table.apply(bind(relay(5, 1), 0x4001, "203.0.113.2:9", 2_000));
        table.apply(unbind());
        assert_eq!(heard(&table, at_peer), None);
        table.apply(TableChange::Unbind { relay: relay(5, 1), channel: channel(0x4001) });
        // A permission stays, and so does what was forbidden.
        table.apply(permit(relay(5, 1), ip, 10));
        table.apply(bind(relay(5, 1), 0x4000, at_peer, 1_000));
        table.apply(unbind());
        assert_eq!(heard(&table, at_peer), Some("indication"));
        table.apply(bind(relay(5, 1), 0x4000, at_peer, 1_000));
        table.apply(bind(relay(5, 1), 0x4001, "203.0.113.1:10", 1_000));
        table.apply(TableChange::Forbid { relay: relay(5, 1), peer: ip.parse().unwrap() });
        table.apply(unbind());
        assert_eq!(heard(&table, "203.0.113.1:10"), None);
    }

    #[test]
    fn a_table_is_empty_until_somebody_is_in_it() {
        let mut table = table(false);
        assert!(table.is_empty());
        table.apply(insert(relay(5, 1), client(1), "198.51.100.1:50000", 1_000));
        assert!(!table.is_empty());
        table.apply(TableChange::Remove { relay: relay(5, 1) });
        assert!(table.is_empty());
    }

    #[test]
    fn nothing_is_taken_from_another_generation() {
        let mut table = with(relay(5, 1));
        table.apply(bind(relay(5, 1), 0x4000, "203.0.113.1:9", 1_000));
        for target in [relay(5, 0), relay(5, 2), relay(6, 1), relay(ALLOCATIONS_MAX, 1)] {
            table.apply(TableChange::Forbid { relay: target, peer: "203.0.113.1".parse().unwrap() });
            table.apply(TableChange::Unbind { relay: target, channel: channel(0x4000) });
            assert_eq!(heard(&table, "203.0.113.1:9"), Some("channel"));
        }
    }

    #[test]
    fn what_the_policy_says_of_a_channel_is_settled_when_it_is_bound() {
        let table = table(false);
        assert_eq!(table.reach(peer("203.0.113.1:1")), Reach::Always);
        assert_eq!(table.reach(peer("203.0.113.66:53")), Reach::Never);
        assert_eq!(table.reach(peer("192.0.2.1:1")), Reach::Never);
        assert_eq!(table.reach(peer("198.51.100.1:50000")), Reach::OwnRelay);
    }

    #[test]
    fn transaction_ids_carry_the_cookie_and_depend_on_the_seeds() {
        let ids = |seeds| {
            let transactions = Transactions::new(seeds);
            [transactions.fresh().0, transactions.fresh().0]
        };
        let [first, second] = ids([1, 2, 3, 4]);
        assert_eq!(first[..4], [0x21, 0x12, 0xA4, 0x42]);
        assert_ne!(first, second);
        for other in [[0, 2, 3, 4], [1, 0, 3, 4], [1, 2, 0, 4], [1, 2, 3, 0]] {
            assert_ne!(ids(other)[0], first);
        }
    }
}
