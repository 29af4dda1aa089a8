//! What becomes of a table when a client moves (RFC 8016): within a worker its allocation waits for it at a second
//! five-tuple; from one worker to another the entry itself goes along.

use crate::proto::types::FiveTuple;
use crate::proto::types::RelayId;
use crate::proto::types::limits::ALLOCATIONS_MAX;

use super::Counters;
use super::Table;
use super::allocation::Allocation;
use super::client::Client;
use super::client::Places;
use super::table::is_newer;

/// Arrivals that a table notes before somebody takes them; what comes on top is noted with the client's next packet.
pub(super) const ARRIVALS_MAX: usize = 64;

/// A table's entry on its way to another table: permissions and channels. It counts from nothing there; what it counted
/// before is told at once, so that it is not lost with an entry that does not arrive.
#[derive(Debug)]
pub struct Carried {
    entry: Box<Allocation>,
    counted: Counters,
}

impl Carried {
    fn of(entry: Box<Allocation>) -> Self {
        let counted = entry.counters();
        entry.set_counters(Counters::default());
        Self { entry, counted }
    }

    /// What it carried so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counted
    }
}

impl Table {
    /// A client whose data came for the first time from the five-tuple at which it was awaited.
    pub fn take_arrival(&self) -> Option<FiveTuple> {
        // Asked after each batch, and almost always in vain.
        let mut arrivals = self.arrivals.borrow_mut();
        if arrivals.is_empty() { None } else { arrivals.pop() }
    }

    /// Takes the entry of `relay` along, and tells what it counted. With `keep` a copy stays, which counts from nothing:
    /// the client's packets that still come here from its old five-tuple are judged by it. Where it was awaited here it is
    /// no more. `None` if `relay` is not here.
    pub fn export(&mut self, relay: RelayId, keep: bool) -> Option<Carried> {
        self.of_relay(relay)?;
        let place = self.allocations.get_mut(relay.index as usize)?;
        if keep {
            let allocation = place.as_mut()?;
            let over = allocation.path_mut().await_nowhere();
            let carried = allocation.clone();
            allocation.set_counters(Counters::default());
            if let Some(over) = over {
                self.drop_key(&over, relay.index);
            }
            return Some(Carried::of(carried));
        }
        let allocation = place.take()?;
        let keys = allocation.path().all();
        keys.into_iter().flatten().for_each(|five_tuple| self.drop_key(&five_tuple, relay.index));
        Some(Carried::of(allocation))
    }

    /// Puts in what another table gave, and awaits its client at `next`. A copy that was kept here is taken up in it.
    pub fn import(&mut self, carried: Carried, next: FiveTuple) {
        let mut allocation = carried.entry;
        let relay = allocation.relay();
        if relay.index >= ALLOCATIONS_MAX {
            return;
        }
        if let Some(there) = self.any_generation(relay.index).map(Allocation::relay) {
            if there != relay && !is_newer(relay, there) {
                return;
            }
            let before = self.forget(there);
            if there == relay {
                allocation.set_counters(before);
            }
        }
        let place = relay.index as usize;
        if self.allocations.len() <= place {
            self.allocations.resize_with(place + 1, || None);
        }
        let keys = allocation.path().all();
        // What the other table's policies said of its channels is not known here by their number.
        allocation.judge_anew(self.policy_number.wrapping_sub(1));
        self.allocations[place] = Some(allocation);
        keys.into_iter().flatten().for_each(|five_tuple| self.add_key(five_tuple, relay.index));
        self.await_at(relay, next);
    }

    /// The client of `relay` is awaited at `next`.
    pub(super) fn await_at(&mut self, relay: RelayId, next: FiveTuple) {
        let Some(allocation) = self.of_relay_mut(relay) else { return };
        let over = allocation.path_mut().await_at(next);
        if let Some(over) = over {
            self.drop_key(&over, relay.index);
        }
        self.add_key(next, relay.index);
    }

    /// The client of `relay` has left its old five-tuple.
    pub(super) fn settle(&mut self, relay: RelayId) {
        let over = self.of_relay_mut(relay).and_then(|allocation| allocation.path_mut().settle());
        if let Some(over) = over {
            self.drop_key(&over, relay.index);
        }
    }

    /// Notes where data of `client` came from: by whichever relayed address it leaves, the client is there for both.
    /// Whether `client` is awaited somewhere.
    pub(super) fn is_awaiting(&self, client: Client<'_>) -> bool {
        [Some(client.first), client.second].into_iter().flatten().any(|one| one.path().is_awaiting())
    }

    pub(super) fn note_data_from(&self, client: Client<'_>, from: &FiveTuple) {
        let awaiting = |allocation: &&Allocation| allocation.path().awaits(from);
        let mut awaiting =
            [Some(client.first), client.second].into_iter().flatten().filter(awaiting).peekable();
        if awaiting.peek().is_none() {
            return;
        }
        let mut arrivals = self.arrivals.borrow_mut();
        if arrivals.len() < ARRIVALS_MAX {
            arrivals.push(*from);
            awaiting.for_each(|allocation| allocation.path().arrive());
        }
    }

    /// `five_tuple` is the client's of the entry at `index`, which is there; of another entry of that family it is no
    /// longer.
    pub(super) fn add_key(&mut self, five_tuple: FiveTuple, index: u32) {
        let Some(family) = self.any_generation(index).map(Allocation::family) else { return };
        let former = self.of_client(&five_tuple).and_then(|client| client.of(family));
        if let Some(former) = former.map(|former| former.relay().index).filter(|former| *former != index) {
            self.drop_key(&five_tuple, former);
        }
        let there = self.of_client(&five_tuple).and_then(|_| self.clients.get(&five_tuple));
        self.clients.set(&five_tuple, Some(there.map_or(Places::of(index), |places| places.with(index))));
    }

    /// `five_tuple` is not the client's of the entry at `index`; whoever else has it keeps it.
    pub(super) fn drop_key(&mut self, five_tuple: &FiveTuple, index: u32) {
        if let Some(places) = self.clients.get(five_tuple) {
            self.clients.set(five_tuple, places.without(index));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::proto::media::Bandwidth;
    use crate::proto::media::Bucket;
    use crate::proto::media::FromClient;
    use crate::proto::media::FromPeer;
    use crate::proto::media::TableChange;
    use crate::proto::media::fixture::*;
    use crate::proto::media::forward::Outward;
    use crate::proto::media::forward::from_client;
    use crate::proto::media::forward::from_peer;
    use crate::proto::types::IpHeader;
    use crate::proto::types::Rate;
    use crate::proto::types::limits;

    use super::*;

    const RELAY: RelayId = RelayId { index: 5, generation: 1 };
    const PEER: &str = "203.0.113.1:7";

    fn with_client(number: u16) -> Table {
        let mut table = table(false);
        table.apply(insert(RELAY, client(number), "198.51.100.1:50000", 1_000));
        table.apply(bind(RELAY, 0x4000, PEER, 900));
        table
    }

    fn await_at(table: &mut Table, number: u16) {
        table.apply(TableChange::Await { relay: RELAY, next: client(number) });
    }

    /// Whether data of the client with this number reaches the peer.
    fn is_heard(table: &Table, number: u16) -> bool {
        let data = channel_data(0x4000, b"hi");
        matches!(
            from_client(table, at(0), &client(number), IpHeader::default(), &data),
            FromClient::ToPeer { .. }
        )
    }

    fn sent_to(table: &Table) -> FiveTuple {
        let (mut buffer, payload) = received(b"yo");
        match from_peer(table, at(0), RELAY, peer(PEER), IpHeader::default(), &mut buffer, payload) {
            FromPeer::ToClient { to, .. } => to,
            other => panic!("{other:?}"),
        }
    }

    // proves rfc8016:3.2.2-9, rfc8016:3.2.2-10, rfc8016:3.2.2-12
    #[test]
    fn the_old_five_tuple_is_served_until_data_comes_from_the_new_one() {
        let mut table = with_client(1);
        await_at(&mut table, 2);
        assert!(is_heard(&table, 1));
        assert_eq!((sent_to(&table), table.take_arrival()), (client(1), None));
        // A request, and data that goes nowhere, prove nothing.
        assert_eq!(
            from_client(&table, at(0), &client(2), IpHeader::default(), &stun(0x0004, TRANSACTION, b"")),
            FromClient::LiveRequest
        );
        from_client(&table, at(0), &client(2), IpHeader::default(), &channel_data(0x4001, b"hi"));
        assert_eq!((sent_to(&table), table.take_arrival()), (client(1), None));

        assert!(is_heard(&table, 2));
        assert_eq!(sent_to(&table), client(2));
        assert!(is_heard(&table, 2) && is_heard(&table, 1));
        assert_eq!((table.take_arrival(), table.take_arrival()), (Some(client(2)), None), "told once");
        table.apply(TableChange::Settle { relay: RELAY });
        assert!(is_heard(&table, 2) && !is_heard(&table, 1));
        assert_eq!((sent_to(&table), table.len()), (client(2), 1));
    }

    /// By the way of a run nobody would note that it has come.
    #[test]
    fn who_is_on_the_way_is_judged_datagram_by_datagram() {
        let mut table = with_client(1);
        let has_way = |table: &Table, number| {
            let (from, data) = (client(number), channel_data(0x4000, b"hi"));
            Outward::of(table, at(0), (&from, table.locate(&from)), IpHeader::default(), &data).is_some()
        };
        assert!(has_way(&table, 1) && !has_way(&table, 2));
        await_at(&mut table, 2);
        assert!(!has_way(&table, 1) && !has_way(&table, 2));
        assert!(is_heard(&table, 2) && table.take_arrival().is_some());
        table.apply(TableChange::Settle { relay: RELAY });
        assert!(has_way(&table, 2) && !has_way(&table, 1));
    }

    #[test]
    fn of_two_places_where_a_client_was_awaited_the_last_counts() {
        let mut table = with_client(1);
        await_at(&mut table, 2);
        await_at(&mut table, 3);
        assert!(!is_heard(&table, 2) && is_heard(&table, 1));
        assert!(is_heard(&table, 3));
        table.apply(TableChange::Remove { relay: RELAY });
        assert!((1..=3).all(|number| !is_heard(&table, number)));
        assert!(table.is_empty());
    }

    // proves rfc8016:3-1, rfc8016:3.2.2-9, rfc8016:3.2.2-10
    #[test]
    fn a_five_tuple_at_which_a_client_is_awaited_is_nobody_else_s() {
        let mut table = with_client(1);
        let other = RelayId { index: RELAY.index + 1, generation: 1 };
        table.apply(insert(other, client(2), "198.51.100.1:50009", 1_000));
        await_at(&mut table, 2);
        assert_eq!(table.find(&client(2)).map(|(relay, _)| relay), Some(RELAY));
        assert!(is_heard(&table, 2));
    }

    #[test]
    fn an_entry_goes_along_with_its_channels_and_counters() {
        let (mut old, mut new) = (with_client(1), table(false));
        assert!(is_heard(&old, 1));
        let carried = old.export(RELAY, true).expect("it is here");
        assert_eq!(carried.counters().to_peer_packets, 1);
        new.import(carried, client(2));
        assert!(is_heard(&old, 1), "a copy stays for the old five-tuple");
        assert_eq!(sent_to(&new), client(1));
        assert!(is_heard(&new, 2));
        assert_eq!(sent_to(&new), client(2));
        let packets = |table: &Table| table.counters(RELAY).map(|counters| counters.to_peer_packets);
        assert_eq!((packets(&old), packets(&new)), (Some(1), Some(1)), "each packet counts once");
    }

    #[test]
    fn without_a_copy_nothing_stays_and_what_is_not_here_cannot_go() {
        let mut old = with_client(1);
        assert!(old.export(RelayId { generation: 2, ..RELAY }, false).is_none());
        assert!(old.export(RELAY, false).is_some());
        assert!(old.export(RELAY, false).is_none());
        assert!(!is_heard(&old, 1) && old.is_empty());
        assert_eq!(old.counters(RELAY), None);
    }

    #[test]
    fn whoever_comes_home_finds_what_was_kept_and_counted_there() {
        let (mut home, mut away) = (with_client(1), table(false));
        away.import(home.export(RELAY, true).expect("it is here"), client(2));
        assert!(is_heard(&home, 1) && is_heard(&away, 2));
        let back = away.export(RELAY, false).expect("it is here");
        assert_eq!(back.counters().to_peer_packets, 1);
        home.import(back, client(3));
        assert_eq!(home.counters(RELAY).map(|counters| counters.to_peer_packets), Some(1));
        assert!(is_heard(&home, 1) && !is_heard(&home, 2) && is_heard(&home, 3));
        assert_eq!((sent_to(&home), home.len(), away.len()), (client(3), 1, 0));
    }

    #[test]
    fn a_channel_that_came_along_is_judged_by_the_policy_that_is_here() {
        for (here, reached) in [(policy(&["203.0.113.1"]), false), (policy(&[]), true)] {
            let (mut old, mut new) = (with_client(1), table(false));
            // As many policies as the entry has been judged by, so that their numbers tell nothing.
            old.apply(TableChange::Policy(policy(&[])));
            old.apply(bind(RELAY, 0x4000, PEER, 900));
            new.apply(TableChange::Policy(here));
            new.import(old.export(RELAY, true).expect("it is here"), client(2));
            assert_eq!((is_heard(&new, 2), is_heard(&old, 1)), (reached, true));
        }
    }

    #[test]
    fn who_is_awaited_elsewhere_is_awaited_here_no_more() {
        let (mut old, mut new) = (with_client(1), table(false));
        old.apply(TableChange::Await { relay: RELAY, next: client(2) });
        new.import(old.export(RELAY, true).expect("it is here"), client(3));
        assert!(is_heard(&old, 1) && !is_heard(&old, 2) && !is_heard(&new, 2));
        // The five-tuple is free for another allocation, which takes nothing from this one.
        old.apply(insert(relay(9, 1), client(2), "198.51.100.1:50009", 1_000));
        assert!(is_heard(&old, 1));
    }

    #[test]
    fn what_was_taken_back_stays_taken_back() {
        let (mut old, mut new) = (with_client(1), table(false));
        let ip = peer(PEER).ip();
        old.apply(TableChange::Forbid { relay: RELAY, peer: ip });
        new.import(old.export(RELAY, true).expect("it is here"), client(2));
        assert!(!is_heard(&new, 2));
        new.apply(TableChange::Permit { relay: RELAY, peer: ip, until: ms(900) });
        assert!(is_heard(&new, 2) && !is_heard(&old, 1));
        new.apply(TableChange::Unbind { relay: RELAY, channel: channel(0x4000) });
        assert!(!is_heard(&new, 2));
    }

    #[test]
    fn an_entry_and_its_copy_draw_from_one_bucket() {
        let (bits_per_s, burst) = (limits::BANDWIDTH_BITS_PER_S_MIN, limits::BANDWIDTH_BURST_MIN);
        let rate = Rate::new(bits_per_s, burst).expect("the least there is");
        let TableChange::Insert(mut entry) = insert(RELAY, client(1), "198.51.100.1:50000", 1_000) else {
            unreachable!("insert makes an Insert")
        };
        entry.bandwidth = Bandwidth { allocation: Some(Bucket::new(rate)), user: None };
        let (mut old, mut new) = (table(false), table(false));
        old.apply(TableChange::Insert(entry));
        old.apply(bind(RELAY, 0x4000, PEER, 900));
        new.import(old.export(RELAY, true).expect("it is here"), client(2));
        let through_old = (0..100_000).take_while(|_| is_heard(&old, 1)).count();
        assert!((1..100_000).contains(&through_old), "{through_old}");
        assert!(!is_heard(&new, 2), "nothing is left for the other");
    }

    #[test]
    fn of_two_relayed_addresses_either_shows_where_the_client_is_and_each_moves() {
        const V6: RelayId = RelayId { index: 6, generation: 1 };
        let (mut old, mut new) = (with_client(1), table(false));
        old.apply(insert(V6, client(1), "[2001:db8:ffff::1]:50000", 1_000));
        old.apply(bind(V6, 0x4001, "[2001:db8:1::1]:7", 900));
        assert_eq!((old.len(), old.iter().count()), (1, 2));
        for relay in [RELAY, V6] {
            new.import(old.export(relay, true).expect("it is here"), client(2));
        }
        let both = |table: &Table| [RELAY, V6].map(|relay| table.five_tuple(relay));
        assert_eq!((new.len(), new.iter().count(), both(&new)), (1, 2, [Some(client(1)); 2]));
        assert!(is_heard(&old, 1) && is_heard(&new, 2));
        assert_eq!(both(&new), [Some(client(2)); 2], "both are there");
        assert_eq!((new.take_arrival(), new.take_arrival()), (Some(client(2)), None), "told once");
        for relay in [RELAY, V6] {
            new.apply(TableChange::Settle { relay });
            old.apply(TableChange::Remove { relay });
        }
        assert!(new.find(&client(1)).is_none() && old.is_empty());
        let data = channel_data(0x4001, b"hi");
        let to_v6 = from_client(&new, at(0), &client(2), IpHeader::default(), &data);
        assert!(matches!(to_v6, FromClient::ToPeer { relay: V6, .. }));
        // One of them ends: the other keeps the five-tuple.
        new.apply(TableChange::Remove { relay: RELAY });
        assert_eq!((new.find(&client(2)).map(|(relay, _)| relay), new.len()), (Some(V6), 1));
    }

    #[test]
    fn an_entry_does_not_take_the_place_of_a_later_use_of_its_slot() {
        let (mut old, mut new) = (with_client(1), table(false));
        let later = RelayId { generation: 2, ..RELAY };
        new.apply(insert(later, client(8), "198.51.100.1:50001", 1_000));
        new.import(old.export(RELAY, false).expect("it is here"), client(2));
        assert_eq!((new.find(&client(8)).map(|(relay, _)| relay), new.find(&client(2))), (Some(later), None));
    }

    #[test]
    fn arrivals_beyond_the_limit_are_noted_with_the_next_packet() {
        let mut table = table(false);
        let count = u16::try_from(ARRIVALS_MAX).expect("few") + 1;
        for number in 0..count {
            let relay = RelayId { index: number.into(), generation: 1 };
            table.apply(insert(relay, client(number), "198.51.100.1:50000", 1_000));
            table.apply(bind(relay, 0x4000, PEER, 900));
            table.apply(TableChange::Await { relay, next: client(1_000 + number) });
        }
        let come = |table: &Table| (0..count).for_each(|number| assert!(is_heard(table, 1_000 + number)));
        let told = |table: &Table| std::iter::from_fn(|| table.take_arrival()).count();
        come(&table);
        assert_eq!(told(&table), ARRIVALS_MAX);
        come(&table);
        assert_eq!(told(&table), 1);
    }

    // proves rfc8016:3.2.2-14
    #[test]
    fn data_from_where_nobody_is_awaited_goes_nowhere() {
        let table = with_client(1);
        assert!(is_heard(&table, 1) && !is_heard(&table, 2));
        assert_eq!((sent_to(&table), table.take_arrival()), (client(1), None));
    }
}
