//! The naive reading of RFC 8656 §§ 9–12: lists of everything that was ever said, searched from end to end.
//! Random histories of changes and packets must lead it and the table to the same verdicts.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::Just;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prelude::prop;
use proptest::prop_assert_eq;
use proptest::prop_oneof;
use proptest::proptest;

use crate::proto::types::Deadline;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;

use super::Counters;
use super::DropReason;
use super::FromClient;
use super::FromPeer;
use super::TableChange;
use super::fixture::*;
use super::forward::from_client;
use super::forward::from_peer;

const PEERS: [&str; 9] = [
    "203.0.113.1:1000",
    "203.0.113.1:1001",
    "203.0.113.2:1000",
    "203.0.113.66:53",
    "203.0.113.66:54",
    "198.51.100.1:50000",
    "198.51.100.1:50001",
    "192.0.2.99:1000",
    "[2001:db8:1::1]:1000",
];
const FORBIDDEN_AT_FIRST: [&str; 2] = ["203.0.113.66:53", "192.0.2.99:1000"];
/// The denials of another policy, and what it forbids.
const OTHER_DENIALS: [&str; 2] = ["203.0.113.66:54", "203.0.113.2"];
const FORBIDDEN_THEN: [&str; 3] = ["203.0.113.66:54", "203.0.113.2:1000", "192.0.2.99:1000"];
const OWN_RELAYS: [&str; 2] = ["198.51.100.1:50000", "198.51.100.1:50001"];
const RELAYED: [&str; 2] = ["198.51.100.1:50000", "[2001:db8:ffff::1]:50000"];
const CHANNELS: std::ops::Range<u16> = 0x4000..0x4003;

struct Allocation {
    relay: RelayId,
    five_tuple: FiveTuple,
    over_v6: bool,
    until: Deadline,
    removed: bool,
    grants: Vec<(IpAddr, Deadline)>,
    bindings: Vec<(u16, PeerAddr, Deadline)>,
    counters: Counters,
}

#[derive(Default)]
struct Model {
    strict: bool,
    allocations: Vec<Allocation>,
    own: Vec<PeerAddr>,
    other_policy: bool,
}

impl Model {
    fn of(&mut self, relay: RelayId) -> Option<&mut Allocation> {
        self.allocations.iter_mut().find(|allocation| allocation.relay == relay && !allocation.removed)
    }

    fn apply(&mut self, change: &TableChange) {
        let strict = self.strict;
        match change {
            TableChange::Insert(new) => {
                let same_place = |allocation: &Allocation| allocation.relay.index == new.relay.index;
                if self
                    .allocations
                    .iter()
                    .any(|a| same_place(a) && a.relay.generation >= new.relay.generation)
                {
                    return;
                }
                self.allocations.retain(|allocation| !same_place(allocation));
                let over_v6 = new.relayed.ip().is_ipv6();
                for former in &mut self.allocations {
                    former.removed |= former.five_tuple == new.five_tuple && former.over_v6 == over_v6;
                }
                self.allocations.push(Allocation {
                    relay: new.relay,
                    five_tuple: new.five_tuple,
                    over_v6,
                    until: new.until,
                    removed: false,
                    grants: Vec::new(),
                    bindings: Vec::new(),
                    counters: Counters::default(),
                });
            }
            TableChange::Extend { relay, until } => {
                if let Some(allocation) = self.of(*relay) {
                    allocation.until = *until;
                }
            }
            TableChange::Permit { relay, peer, until } => {
                if let Some(allocation) = self.of(*relay) {
                    allocation.grants.push((*peer, *until));
                }
            }
            TableChange::Bind { relay, channel, peer, until } => {
                let number = channel.get();
                let Some(five_tuple) = self.of(*relay).map(|allocation| allocation.five_tuple) else {
                    return;
                };
                for other in self.allocations.iter_mut().filter(|a| a.relay != *relay && !a.removed) {
                    other.bindings.retain(|(n, _, _)| other.five_tuple != five_tuple || *n != number);
                }
                let Some(allocation) = self.of(*relay) else { return };
                let still = |(n, p, _): &(u16, PeerAddr, Deadline)| (*n, *p) == (number, *peer);
                let going_on =
                    allocation.bindings.iter().find(|binding| still(binding)).map(|(_, _, end)| *end);
                allocation.bindings.retain(|(n, p, _)| *n != number && p != peer);
                allocation.bindings.push((number, *peer, going_on.map_or(*until, |end| end.max(*until))));
                if !strict {
                    allocation.grants.push((peer.ip(), *until));
                }
            }
            TableChange::Remove { relay } => {
                if let Some(allocation) = self.of(*relay) {
                    allocation.removed = true;
                }
            }
            TableChange::OwnRelay { address, live } => {
                self.own.retain(|own| own.socket() != *address);
                if *live {
                    self.own.push(PeerAddr::new(*address));
                }
            }
            TableChange::Policy(to) => self.other_policy = **to == *policy(&OTHER_DENIALS),
            TableChange::Forbid { relay, peer } => {
                if let Some(allocation) = self.of(*relay) {
                    allocation.grants.retain(|(ip, _)| ip != peer);
                }
            }
            TableChange::Unbind { relay, channel } => {
                if let Some(allocation) = self.of(*relay) {
                    allocation.bindings.retain(|(number, _, _)| *number != channel.get());
                }
            }
            TableChange::Await { .. } | TableChange::Settle { .. } | TableChange::Destination { .. } => {
                unreachable!("not part of these histories")
            }
        }
    }

    fn allowed(&self, to: PeerAddr) -> bool {
        let is_one_of = |list: &[&str]| list.iter().any(|text| peer(text) == to);
        let forbidden: &[&str] = if self.other_policy { &FORBIDDEN_THEN } else { &FORBIDDEN_AT_FIRST };
        if is_one_of(&OWN_RELAYS) { self.own.contains(&to) } else { !is_one_of(forbidden) }
    }

    fn of_client(
        &mut self,
        tick: Tick,
        from: FiveTuple,
        packet: &Packet,
    ) -> Result<(RelayId, PeerAddr), DropReason> {
        let own: Vec<_> = self.allocations.iter().filter(|a| a.five_tuple == from && !a.removed).collect();
        if own.is_empty() {
            return Err(DropReason::NoAllocation);
        }
        if own.iter().all(|allocation| allocation.alive(tick).is_err()) {
            return Err(DropReason::AllocationExpired);
        }
        let (allocation, to) = match packet {
            Packet::Send(to) => {
                let by = own.iter().find(|allocation| allocation.over_v6 == to.ip().is_ipv6());
                (by.ok_or(DropReason::PeerFamily)?, *to)
            }
            Packet::Channel(number) => {
                let mut bound = own.iter().flat_map(|a| a.bindings.iter().map(move |binding| (a, binding)));
                let bound = bound.find(|(_, (n, _, _))| n == number);
                let (allocation, (_, to, until)) = bound.ok_or(DropReason::NoChannel)?;
                if until.is_due(tick) {
                    return Err(DropReason::ChannelExpired);
                }
                (allocation, *to)
            }
        };
        allocation.alive(tick)?;
        allocation.permitted(tick, to)?;
        if !self.allowed(to) {
            return Err(DropReason::ForbiddenPeer);
        }
        let relay = allocation.relay;
        let allocation = self.of(relay).expect("found above");
        allocation.counters.to_peer_packets += 1;
        allocation.counters.to_peer_bytes += 2;
        Ok((relay, to))
    }

    fn of_peer(
        &mut self,
        tick: Tick,
        relay: RelayId,
        from: PeerAddr,
    ) -> Result<(FiveTuple, Option<u16>), DropReason> {
        let allocation = self.of(relay).ok_or(DropReason::StaleRelay)?;
        allocation.alive(tick)?;
        allocation.permitted(tick, from)?;
        let live = |(_, p, until): &&(u16, PeerAddr, Deadline)| *p == from && !until.is_due(tick);
        let number = allocation.bindings.iter().find(live).map(|(number, _, _)| *number);
        allocation.counters.to_client_packets += 1;
        allocation.counters.to_client_bytes += 2;
        Ok((allocation.five_tuple, number))
    }

    fn counters(&self, relay: RelayId) -> Option<Counters> {
        self.allocations
            .iter()
            .find(|allocation| allocation.relay == relay)
            .map(|allocation| allocation.counters)
    }
}

impl Allocation {
    fn alive(&self, tick: Tick) -> Result<(), DropReason> {
        if self.until.is_due(tick) { Err(DropReason::AllocationExpired) } else { Ok(()) }
    }

    fn permitted(&self, tick: Tick, peer: PeerAddr) -> Result<(), DropReason> {
        if peer.ip().is_ipv6() != self.over_v6 {
            return Err(DropReason::PeerFamily);
        }
        let grants: Vec<_> = self.grants.iter().filter(|(ip, _)| *ip == peer.ip()).collect();
        match grants.iter().any(|(_, until)| !until.is_due(tick)) {
            true => Ok(()),
            false if grants.is_empty() => Err(DropReason::NoPermission),
            false => Err(DropReason::PermissionExpired),
        }
    }
}

#[derive(Clone, Debug)]
enum Packet {
    Channel(u16),
    Send(PeerAddr),
}

#[derive(Clone, Debug)]
enum Step {
    Change(TableChange),
    Forget(RelayId),
    FromClient(FiveTuple, Packet),
    FromPeer(RelayId, PeerAddr),
    Wait(u64),
}

fn a_relay() -> impl Strategy<Value = RelayId> {
    // Mostly the first use of few slots, so that changes and packets meet.
    (0..2_u32, prop_oneof![4 => Just(1_u32), 1 => 0..3_u32])
        .prop_map(|(index, generation)| relay(index, generation))
}

fn a_client() -> impl Strategy<Value = FiveTuple> {
    (0..3_u16).prop_map(client)
}

fn a_peer() -> impl Strategy<Value = PeerAddr> {
    prop::sample::select(&PEERS[..]).prop_map(peer)
}

fn an_end() -> impl Strategy<Value = Deadline> {
    (0..60_u64).prop_map(ms)
}

fn a_change() -> impl Strategy<Value = TableChange> {
    prop_oneof![
        2 => (a_relay(), a_client(), prop::sample::select(&RELAYED[..]), an_end())
            .prop_map(|(relay, client, relayed, end)| insert(relay, client, relayed, 30 + end.as_millis())),
        1 => (a_relay(), an_end()).prop_map(|(relay, until)| TableChange::Extend { relay, until }),
        4 => (a_relay(), a_peer(), an_end())
            .prop_map(|(relay, peer, until)| TableChange::Permit { relay, peer: peer.ip(), until }),
        6 => (a_relay(), CHANNELS, a_peer(), an_end())
            .prop_map(|(relay, number, to, end)| bind(relay, number, &text(to), end.as_millis())),
        1 => a_relay().prop_map(|relay| TableChange::Remove { relay }),
        2 => (prop::sample::select(&OWN_RELAYS[..]), any::<bool>())
            .prop_map(|(own, live)| TableChange::OwnRelay { address: socket(own), live }),
        3 => any::<bool>().prop_map(|other| {
            TableChange::Policy(if other { policy(&OTHER_DENIALS) } else { policy(&FORBIDDEN_AT_FIRST[..1]) })
        }),
        1 => (a_relay(), a_peer()).prop_map(|(relay, peer)| TableChange::Forbid { relay, peer: peer.ip() }),
        1 => (a_relay(), CHANNELS)
            .prop_map(|(relay, number)| TableChange::Unbind { relay, channel: channel(number) }),
    ]
}

fn a_packet() -> impl Strategy<Value = Packet> {
    prop_oneof![CHANNELS.prop_map(Packet::Channel), a_peer().prop_map(Packet::Send)]
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => a_change().prop_map(Step::Change),
        1 => a_relay().prop_map(Step::Forget),
        6 => (a_client(), a_packet()).prop_map(|(client, packet)| Step::FromClient(client, packet)),
        6 => (a_relay(), a_peer()).prop_map(|(relay, peer)| Step::FromPeer(relay, peer)),
        2 => (1..8_u64).prop_map(Step::Wait),
    ]
}

/// The peer as text, which the fixture's makers take.
fn text(peer: PeerAddr) -> String {
    peer.to_string()
}

proptest! {
    #[test]
    fn table_and_model_agree(strict in any::<bool>(), dual in any::<bool>(), steps in prop::collection::vec(a_step(), 1..120)) {
        let mut model = Model { strict, ..Model::default() };
        let mut table = table(strict);
        let mut now = 0;
        // Both slots start with a relayed address: a history without any teaches little.
        let firsts = [
            Step::Change(insert(relay(0, 1), client(0), RELAYED[0], 40)),
            Step::Change(insert(relay(1, 1), client(u16::from(!dual)), RELAYED[1], 40)),
        ];
        for step in firsts.into_iter().chain(steps) {
            match step {
                Step::Wait(millis) => now += millis,
                Step::Change(change) => {
                    model.apply(&change);
                    table.apply(change);
                }
                Step::Forget(relay) => {
                    let carried = model.counters(relay).unwrap_or_default();
                    model.allocations.retain(|allocation| allocation.relay != relay);
                    prop_assert_eq!(table.forget(relay), carried);
                }
                Step::FromClient(client, packet) => {
                    let datagram = match &packet {
                        Packet::Channel(number) => channel_data(*number, b"hi"),
                        Packet::Send(peer) => send(&text(*peer), b"hi"),
                    };
                    let expected = match model.of_client(at(now), client, &packet) {
                        Ok((relay, peer)) => FromClient::ToPeer { relay, peer, data: b"hi", header: IpHeader::default() },
                        Err(reason) => FromClient::Drop(reason),
                    };
                    prop_assert_eq!(from_client(&table, at(now), &client, IpHeader::default(), &datagram), expected);
                }
                Step::FromPeer(relay, peer) => {
                    let (mut buffer, payload) = received(b"yo");
                    let arrived = IpHeader::default();
                    let verdict = match from_peer(&table, at(now), relay, peer, arrived, &mut buffer, payload) {
                        FromPeer::Drop(reason) => Err(reason),
                        FromPeer::ToClient { to, frame, .. } => {
                            let first = buffer[frame.start];
                            let number = u16::from_be_bytes([first, buffer[frame.start + 1]]);
                            Ok((to, (first >= 0x40).then_some(number)))
                        }
                    };
                    prop_assert_eq!(verdict, model.of_peer(at(now), relay, peer));
                }
            }
            let live = model.allocations.iter().filter(|allocation| !allocation.removed);
            let clients: BTreeSet<_> = live.clone().map(|a| a.five_tuple.client.socket().port()).collect();
            prop_assert_eq!(table.len(), clients.len());
            prop_assert_eq!(table.iter().count(), live.count());
            for index in 0..2 {
                for generation in 0..3 {
                    let relay = relay(index, generation);
                    prop_assert_eq!(table.counters(relay), model.counters(relay));
                }
            }
        }
    }
}
