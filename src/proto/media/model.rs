//! The naive reading of RFC 8656 §§ 9–12: lists of everything that was ever said, searched from end to end.
//! Any history of changes and packets must lead it and the table to the same verdicts: random ones here, those of a
//! fuzzer in `internals::fuzz`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::wire::channel_data;
use crate::proto::wire::classify::Class;
use crate::proto::wire::classify::classify;
use crate::proto::wire::indication;
use crate::proto::wire::indication::Refused;

use super::Counters;
use super::DropReason;
use super::FromClient;
use super::FromPeer;
use super::Table;
use super::TableChange;
use super::fixture;
use super::fixture::at;
use super::fixture::bind;
use super::fixture::channel;
use super::fixture::insert;
use super::fixture::ms;
use super::fixture::peer;
use super::fixture::policy;
use super::fixture::relay;
use super::fixture::send;
use super::fixture::socket;
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
/// What the policy forbids of these addresses: one port, or all of them.
const FORBIDDEN_AT_FIRST: [&str; 2] = ["203.0.113.66:53", "192.0.2.99"];
/// The denials of another policy, and what it forbids.
const OTHER_DENIALS: [&str; 2] = ["203.0.113.66:54", "203.0.113.2"];
const FORBIDDEN_THEN: [&str; 3] = ["203.0.113.66:54", "203.0.113.2", "192.0.2.99"];
/// The address of the relay sockets.
const OWN: &str = "198.51.100.1";
const OWN_RELAYS: [&str; 2] = ["198.51.100.1:50000", "198.51.100.1:50001"];
const RELAYED: [&str; 2] = ["198.51.100.1:50000", "[2001:db8:ffff::1]:50000"];
const CHANNELS: std::ops::Range<u16> = 0x4000..0x4003;

struct Allocation {
    relay: RelayId,
    five_tuple: FiveTuple,
    over_v6: bool,
    until: Deadline,
    removed: bool,
    /// And whether for the sake of a channel.
    grants: Vec<(IpAddr, Deadline, bool)>,
    bindings: Vec<(u16, PeerAddr, Deadline)>,
    counters: Counters,
}

/// Which relay, to whom, what.
type ToPeer<'a> = (RelayId, PeerAddr, &'a [u8]);

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
                    allocation.grants.push((*peer, *until, false));
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
                    allocation.grants.push((peer.ip(), *until, true));
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
                    allocation.grants.retain(|(ip, ..)| ip != peer);
                }
            }
            TableChange::Unbind { relay, channel } => {
                if let Some(allocation) = self.of(*relay) {
                    allocation.unbind(channel.get(), strict);
                }
            }
            TableChange::Await { .. } | TableChange::Settle { .. } | TableChange::Destination { .. } => {
                unreachable!("not part of these histories")
            }
        }
    }

    fn allowed(&self, to: PeerAddr) -> bool {
        let (whole, alone) = (to.to_string(), to.ip().to_string());
        let forbidden: &[&str] = if self.other_policy { &FORBIDDEN_THEN } else { &FORBIDDEN_AT_FIRST };
        if alone == OWN {
            return self.own.contains(&to);
        }
        !forbidden.iter().any(|text| *text == whole || *text == alone)
    }

    /// What `datagram` of `from` is due, its IP header aside. The decoders are taken at their word: they are judged
    /// elsewhere.
    fn verdict<'a>(
        &mut self,
        tick: Tick,
        from: FiveTuple,
        datagram: &'a [u8],
    ) -> Result<ToPeer<'a>, FromClient<'a>> {
        let mut own = self.allocations.iter().filter(|a| a.five_tuple == from && !a.removed).peekable();
        let known = own.peek().is_some();
        let alive = own.any(|allocation| allocation.alive(tick).is_ok());
        let drop = |reason| Err(FromClient::Drop(reason));
        let (packet, data) = match classify(datagram, known.then_some(Dialect::Rfc8656)) {
            Class::Unknown => return drop(DropReason::Unclassified),
            Class::Legacy => return Err(FromClient::StrangerRequest),
            Class::LegacyData => unreachable!("no allocation here speaks the old dialect"),
            Class::Answer => return drop(DropReason::UnexpectedAnswer),
            Class::Request if known => return Err(FromClient::LiveRequest),
            Class::Request | Class::ClassicBinding => return Err(FromClient::StrangerRequest),
            Class::ChannelData | Class::Indication if !known => return drop(DropReason::NoAllocation),
            Class::ChannelData | Class::Indication if !alive => return drop(DropReason::AllocationExpired),
            Class::ChannelData => match channel_data::decode(datagram) {
                Ok((number, data)) => (Packet::Channel(number.get()), data),
                Err(_) => return drop(DropReason::Malformed),
            },
            Class::Indication => match indication::decode_send(datagram) {
                Ok(send) => (Packet::Send(send.peer), send.data),
                Err(Refused::Malformed(_)) => return drop(DropReason::Malformed),
                Err(Refused::NotSend) => return drop(DropReason::UnknownIndication),
                Err(_) => return drop(DropReason::BadSend),
            },
        };
        match self.of_client(tick, from, &packet, count(data)) {
            Ok((relay, peer)) => Ok((relay, peer, data)),
            Err(reason) => drop(reason),
        }
    }

    fn of_client(
        &mut self,
        tick: Tick,
        from: FiveTuple,
        packet: &Packet,
        len: u64,
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
        allocation.counters.to_peer_bytes += len;
        Ok((relay, to))
    }

    fn of_peer(
        &mut self,
        tick: Tick,
        relay: RelayId,
        from: PeerAddr,
        len: u64,
    ) -> Result<(FiveTuple, Option<u16>), DropReason> {
        let allocation = self.of(relay).ok_or(DropReason::StaleRelay)?;
        allocation.alive(tick)?;
        allocation.permitted(tick, from)?;
        let live = |(_, p, until): &&(u16, PeerAddr, Deadline)| *p == from && !until.is_due(tick);
        let number = allocation.bindings.iter().find(live).map(|(number, _, _)| *number);
        allocation.counters.to_client_packets += 1;
        allocation.counters.to_client_bytes += len;
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
    /// For the sake of a channel its peer's address is permitted as long as one to it is bound.
    fn unbind(&mut self, number: u16, strict: bool) {
        let Some(at) = self.bindings.iter().position(|(n, _, _)| *n == number) else { return };
        let ip = self.bindings.remove(at).1.ip();
        let of = |grants: &[(IpAddr, Deadline, bool)]| {
            grants.iter().filter(|grant| grant.0 == ip).map(|grant| grant.1).max()
        };
        let Some(before) = of(&self.grants) else { return };
        self.grants.retain(|grant| grant.0 != ip || !grant.2);
        let others = self.bindings.iter().filter(|(_, peer, _)| !strict && peer.ip() == ip);
        let others = others.map(|(_, _, until)| (ip, before.min(*until), true)).collect::<Vec<_>>();
        self.grants.extend(others);
    }

    fn alive(&self, tick: Tick) -> Result<(), DropReason> {
        if self.until.is_due(tick) { Err(DropReason::AllocationExpired) } else { Ok(()) }
    }

    fn permitted(&self, tick: Tick, peer: PeerAddr) -> Result<(), DropReason> {
        if peer.ip().is_ipv6() != self.over_v6 {
            return Err(DropReason::PeerFamily);
        }
        let grants: Vec<_> = self.grants.iter().filter(|(ip, ..)| *ip == peer.ip()).collect();
        match grants.iter().any(|(_, until, _)| !until.is_due(tick)) {
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

/// One thing that happens to a table. Relays, clients and peers are few, so that changes and packets meet.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// What [`Table::apply`] carries out; not `Await` or `Settle`.
    Change(TableChange),
    /// What [`Table::forget`] does.
    Forget(RelayId),
    /// A client's datagram.
    FromClient(FiveTuple, Vec<u8>),
    /// What a peer sends to a relayed address.
    FromPeer(RelayId, PeerAddr, Vec<u8>),
    /// So many milliseconds go by.
    Wait(u64),
}

impl Step {
    /// A step drawn by `draw`, which answers a number below the one it is given.
    pub(crate) fn draw(draw: &mut impl FnMut(usize) -> usize) -> Self {
        match draw(8) {
            0..=2 => Self::Change(draw_change(draw)),
            3 => Self::Forget(draw_relay(draw)),
            4 => Self::FromClient(draw_client(draw), fixture::channel_data(draw_channel(draw), b"hi")),
            5 => Self::FromClient(draw_client(draw), send(PEERS[draw(PEERS.len())], b"hi")),
            6 => Self::FromPeer(draw_relay(draw), draw_peer(draw), vec![7; draw(9)]),
            _ => Self::Wait(draw(9) as u64),
        }
    }
}

fn draw_change(draw: &mut impl FnMut(usize) -> usize) -> TableChange {
    let relay = draw_relay(draw);
    let until = ms(draw(60) as u64);
    match draw(12) {
        0 | 1 => insert(relay, draw_client(draw), RELAYED[draw(RELAYED.len())], 30 + until.as_millis()),
        2 => TableChange::Extend { relay, until },
        3 | 4 => TableChange::Permit { relay, peer: draw_peer(draw).ip(), until },
        5..=7 => bind(relay, draw_channel(draw), PEERS[draw(PEERS.len())], until.as_millis()),
        8 => TableChange::Remove { relay },
        9 => {
            let address = socket(OWN_RELAYS[draw(OWN_RELAYS.len())]);
            TableChange::OwnRelay { address, live: draw(2) == 0 }
        }
        10 if draw(2) == 0 => TableChange::Policy(policy(&OTHER_DENIALS)),
        10 => TableChange::Policy(policy(&FORBIDDEN_AT_FIRST[..1])),
        _ if draw(2) == 0 => TableChange::Forbid { relay, peer: draw_peer(draw).ip() },
        _ => TableChange::Unbind { relay, channel: channel(draw_channel(draw)) },
    }
}

/// Mostly the first use of few slots, so that changes and packets meet.
pub(crate) fn draw_relay(draw: &mut impl FnMut(usize) -> usize) -> RelayId {
    let generation = if draw(4) == 3 { draw(3) } else { 1 };
    RelayId { index: draw(2) as u32, generation: generation as u32 }
}

/// One of three clients.
pub(crate) fn draw_client(draw: &mut impl FnMut(usize) -> usize) -> FiveTuple {
    fixture::client(draw(3) as u16)
}

/// One of the peers that the model knows the policy of.
pub(crate) fn draw_peer(draw: &mut impl FnMut(usize) -> usize) -> PeerAddr {
    peer(PEERS[draw(PEERS.len())])
}

fn draw_channel(draw: &mut impl FnMut(usize) -> usize) -> u16 {
    CHANNELS.start + draw(CHANNELS.len()) as u16
}

/// Bytes of `data`.
fn count(data: &[u8]) -> u64 {
    u64::try_from(data.len()).expect("a datagram's length")
}

/// Takes table and model through `steps`, from two relayed addresses of one client (`dual`) or of two.
///
/// # Panics
/// At the first step after which they differ.
pub(crate) fn agree(strict: bool, dual: bool, steps: impl IntoIterator<Item = Step>) {
    let mut model = Model { strict, ..Model::default() };
    let mut table = fixture::table(strict);
    let mut now = 0;
    // Both slots start with a relayed address: a history without any teaches little.
    let [first, second] = [relay(0, 1), relay(1, 1)];
    let firsts = [
        Step::Change(insert(first, fixture::client(0), RELAYED[0], 40)),
        Step::Change(insert(second, fixture::client(u16::from(!dual)), RELAYED[1], 40)),
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
                assert_eq!(table.forget(relay), carried);
            }
            Step::FromClient(client, datagram) => {
                send_from_client(&table, &mut model, now, client, &datagram)
            }
            Step::FromPeer(relay, peer, data) => send_from_peer(&table, &mut model, now, relay, peer, &data),
        }
        compare(&table, &model);
    }
}

fn send_from_client(table: &Table, model: &mut Model, now: u64, client: FiveTuple, datagram: &[u8]) {
    let expected = model.verdict(at(now), client, datagram);
    let verdict = from_client(table, at(now), &client, IpHeader::default(), datagram);
    let verdict = match verdict {
        FromClient::ToPeer { relay, peer, data, header: _ } => Ok((relay, peer, data)),
        other => Err(other),
    };
    assert_eq!(verdict, expected, "of {datagram:02x?}");
}

fn send_from_peer(table: &Table, model: &mut Model, now: u64, relay: RelayId, peer: PeerAddr, data: &[u8]) {
    let (mut buffer, payload) = fixture::received(data);
    let verdict = match from_peer(table, at(now), relay, peer, IpHeader::default(), &mut buffer, payload) {
        FromPeer::Drop(reason) => Err(reason),
        FromPeer::ToClient { to, frame, .. } => {
            let frame = &buffer[frame];
            let number = match channel_data::decode(frame) {
                Ok((number, carried)) => {
                    assert_eq!(carried, data);
                    Some(number.get())
                }
                Err(_) => {
                    assert_eq!(indication::decode_data(frame), Ok((peer, data)));
                    None
                }
            };
            Ok((to, number))
        }
    };
    assert_eq!(verdict, model.of_peer(at(now), relay, peer, count(data)));
}

fn compare(table: &Table, model: &Model) {
    let live = model.allocations.iter().filter(|allocation| !allocation.removed);
    let clients: BTreeSet<_> = live.clone().map(|a| a.five_tuple.client.socket().port()).collect();
    assert_eq!(table.len(), clients.len());
    assert_eq!(table.iter().count(), live.count());
    for index in 0..2 {
        for generation in 0..3 {
            let relay = relay(index, generation);
            assert_eq!(table.counters(relay), model.counters(relay));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::Just;
    use proptest::prelude::Strategy;
    use proptest::prelude::any;
    use proptest::prelude::prop;
    use proptest::prop_oneof;
    use proptest::proptest;

    use super::*;

    fn a_relay() -> impl Strategy<Value = RelayId> {
        // Mostly the first use of few slots, so that changes and packets meet.
        (0..2_u32, prop_oneof![4 => Just(1_u32), 1 => 0..3_u32])
            .prop_map(|(index, generation)| relay(index, generation))
    }

    fn a_client() -> impl Strategy<Value = FiveTuple> {
        (0..3_u16).prop_map(fixture::client)
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
                .prop_map(|(relay, number, to, end)| bind(relay, number, &to.to_string(), end.as_millis())),
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

    fn a_datagram() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            CHANNELS.prop_map(|number| fixture::channel_data(number, b"hi")),
            a_peer().prop_map(|to| send(&to.to_string(), b"hi")),
        ]
    }

    fn a_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => a_change().prop_map(Step::Change),
            1 => a_relay().prop_map(Step::Forget),
            6 => (a_client(), a_datagram()).prop_map(|(client, datagram)| Step::FromClient(client, datagram)),
            6 => (a_relay(), a_peer()).prop_map(|(relay, peer)| Step::FromPeer(relay, peer, b"yo".to_vec())),
            2 => (1..8_u64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        #[test]
        fn table_and_model_agree(
            strict in any::<bool>(), dual in any::<bool>(), steps in prop::collection::vec(a_step(), 1..120),
        ) {
            agree(strict, dual, steps);
        }
    }
}
