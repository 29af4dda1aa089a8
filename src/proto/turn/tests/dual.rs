//! Dual allocations: one relayed address of each family (RFC 8656 § 7.2, step 9; § 8.2).

use super::*;

const V4: u8 = 1;
const V6: u8 = 2;
const PEER_V4: &str = "8.8.8.8:1";
const PEER_V6: &str = "[2001:4860::8]:1";

/// What a client asks for that wants both families.
fn both(writer: &mut MessageWriter<'_>) {
    udp(writer);
    writer.attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[V6, 0, 0, 0]);
}

impl Client {
    fn allocate_both(&mut self, world: &mut World) -> Told {
        self.ask(world, Method::Allocate, both).expect("an answer")
    }

    fn refresh_one(&mut self, world: &mut World, family: u8, lifetime: u32) -> Told {
        let request = self.request_refresh_of(family, lifetime);
        let reply = world.send(self.from, &request).expect("an answer");
        self.read(&reply)
    }

    fn request_refresh_of(&mut self, family: u8, lifetime: u32) -> Vec<u8> {
        self.request(Method::Refresh, |writer| {
            writer
                .attribute(attribute::LIFETIME, &lifetime.to_be_bytes())
                .attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
        })
    }
}

/// Alice with both addresses.
fn dual() -> (World, Client) {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    assert_eq!(alice.allocate_both(&mut world).code, 0);
    (world, alice)
}

/// Alice, whose worker has not spoken yet, with the names of her two legs.
fn opening() -> (World, Client, Vec<u8>, [(RelayId, RelayAddr); 2]) {
    let mut world = World::new();
    world.opens = Opens::Silent;
    let mut alice = Client::alice(&world, 1);
    let request = alice.request(Method::Allocate, both);
    assert_eq!(world.send(alice.from, &request), None);
    let legs = legs(&world, &alice);
    (world, alice, request, legs)
}

fn legs(world: &World, client: &Client) -> [(RelayId, RelayAddr); 2] {
    let allocation = world.server.allocations.of(&client.from).expect("an allocation");
    let relays = &world.server.config.relays;
    let legs: Vec<_> = allocation.legs.iter().map(|leg| (leg.relay, leg.bind(relays))).collect();
    legs.try_into().expect("two of them")
}

fn opened(world: &mut World, (relay, bound): (RelayId, RelayAddr)) {
    world.input(Input::RelayOpened { relay, bound });
}

fn closed(world: &mut World, relay: RelayId, packets: u64) {
    let counters =
        Counters { to_peer_packets: packets, to_client_bytes: 10 * packets, ..Counters::default() };
    world.input(Input::RelayClosed { worker: WorkerId(0), relay, counters });
}

/// Ports in use over IPv4 and IPv6.
fn used(world: &World) -> [usize; 2] {
    let ports = world.server.occupancy().ports;
    [ports[0].used, ports[1].used]
}

fn quarantined(world: &World) -> [usize; 2] {
    let ports = world.server.occupancy().ports;
    [ports[0].quarantined, ports[1].quarantined]
}

fn codes(world: &World, client: &Client) -> Vec<u16> {
    world.replies.iter().map(|(_, reply)| client.read(reply).code).collect()
}

#[test]
fn one_request_gets_one_address_of_each_family_and_counts_as_one_allocation() {
    let mut world = World::with(|config| config.allocations_per_user = 1);
    let mut alice = Client::alice(&world, 1);
    let told = alice.allocate_both(&mut world);
    assert_eq!((told.code, told.lifetime, told.address_error), (0, Some(600), None));
    assert_eq!(told.relayed.map(|address| address.ip()), Some(ip("203.0.113.7")));
    assert_eq!(told.additional.map(|address| address.ip()), Some(ip("2001:db8::7")));
    assert_eq!(used(&world), [1, 1]);
    assert_eq!(world.server.occupancy().allocations, 1);
    let [(v4, _), (v6, _)] = legs(&world, &alice);
    let inserted: Vec<_> = world
        .changes
        .iter()
        .filter_map(|change| match change {
            TableChange::Insert(new) => Some((new.relay, new.five_tuple, new.relayed.socket())),
            _ => None,
        })
        .collect();
    let both = [(v4, told.relayed), (v6, told.additional)];
    assert_eq!(inserted, both.map(|(relay, address)| (relay, alice.from, address.expect("an address"))));
    let made = world.events.iter().find_map(|event| match event {
        Event::AllocationMade { relayed, additional, .. } => {
            Some((Some(relayed.socket()), additional.map(|address| address.socket())))
        }
        _ => None,
    });
    assert_eq!(made, Some((told.relayed, told.additional)));
    assert_eq!(Client::alice(&world, 2).allocate(&mut world).code, 486);
}

#[test]
fn the_answer_waits_for_both_and_a_repetition_is_absorbed_meanwhile() {
    for first in [0, 1] {
        let (mut world, alice, request, legs) = opening();
        opened(&mut world, legs[first]);
        assert!(world.replies.is_empty() && world.changes.is_empty());
        assert_eq!(world.send(alice.from, &request), None);
        opened(&mut world, legs[1 - first]);
        assert_eq!(codes(&world, &alice), [0]);
        let told = alice.read(&world.replies[0].1);
        let bound = legs.map(|(_, bound)| Some(bound.socket()));
        assert_eq!([told.relayed, told.additional], bound, "IPv4 first, whichever opened first");
        let repeated = world.send(alice.from, &request).expect("the same answer");
        assert_eq!(alice.read(&repeated), told);
        assert_eq!(used(&world), [1, 1]);
    }
}

#[test]
fn where_one_cannot_be_opened_the_other_is_a_success_that_names_the_missing_family() {
    for (why, expected) in
        [(OpenFailure::NoRoom, 508), (OpenFailure::AddressGone, 508), (OpenFailure::PortTaken, 508)]
    {
        let mut world = World::new();
        world.opens_v6 = Some(Opens::Never(why));
        let told = Client::alice(&world, 1).allocate_both(&mut world);
        assert_eq!((told.code, told.additional, told.address_error), (0, None, Some((V6, expected))));
        assert!(told.relayed.expect("an address").is_ipv4());
        assert_eq!(used(&world), [1, 0]);

        let mut world = World::new();
        world.opens_v6 = Some(Opens::Always);
        world.opens = Opens::Never(why);
        let mut alice = Client::alice(&world, 1);
        let told = alice.allocate_both(&mut world);
        assert_eq!((told.code, told.additional, told.address_error), (0, None, Some((V4, expected))));
        assert!(told.relayed.expect("an address").is_ipv6());
        assert_eq!(used(&world), [0, 1]);
        // It is an allocation like any other.
        assert_eq!(alice.permit(&mut world, &[PEER_V6]).code, 0);
        assert_eq!(alice.permit(&mut world, &[PEER_V4]).code, 443);
        assert_eq!(alice.refresh_one(&mut world, V4, 600).code, 443);
        assert_eq!(alice.refresh(&mut world, Some(0)).code, 0);
        assert_eq!((used(&world), world.server.occupancy().allocations), ([0, 0], 0));
    }
}

#[test]
fn where_neither_can_be_opened_it_is_an_error_and_leaves_no_trace() {
    for (why, code) in [(OpenFailure::NoRoom, 508), (OpenFailure::PortTaken, 508), (OpenFailure::Other, 500)]
    {
        let mut world = World::new();
        world.opens = Opens::Never(why);
        let told = Client::alice(&world, 1).allocate_both(&mut world);
        assert_eq!((told.code, told.relayed, told.address_error), (code, None, None));
        assert_eq!((used(&world), world.server.occupancy().allocations), ([0, 0], 0));
        assert_eq!(world.server.per_user.len(), 0);
        let refused = world.events.iter().filter(|e| matches!(e, Event::AllocationRefused { .. })).count();
        assert_eq!(refused, 1);
    }
}

#[test]
fn families_and_ports_that_are_not_there_are_told_as_the_standard_orders_them() {
    let allocate = |change: &dyn Fn(&mut Config)| {
        let mut world = World::with(|config| change(config));
        let told = Client::alice(&world, 1).allocate_both(&mut world);
        (told.code, told.relayed.map(|address| address.is_ipv4()), told.address_error)
    };
    let no_v6 = |config: &mut Config| config.relays.truncate(1);
    assert_eq!(allocate(&no_v6), (0, Some(true), Some((V6, 440))));
    let no_v4 = |config: &mut Config| config.relays = config.relays.split_off(1);
    assert_eq!(allocate(&no_v4), (440, None, None), "step 7 stands before step 9");

    let mut world = World::with(|config| config.ports = 50_000..=50_000);
    assert_eq!(Client::alice(&world, 1).allocate(&mut world).code, 0);
    let told = Client::alice(&world, 2).allocate_both(&mut world);
    assert_eq!((told.code, told.address_error), (0, Some((V4, 508))));
    assert_eq!(Client::alice(&world, 3).allocate_both(&mut world).code, 508, "both are used up");
    assert_eq!(world.server.allocations.slots(), 3, "what was refused gave its names back");
}

#[test]
fn what_the_standard_forbids_beside_the_additional_family_is_a_bad_request() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let mut code = |family: u8, also: Option<(u16, &[u8])>| {
        let told = alice.ask(&mut world, Method::Allocate, |writer| {
            udp(writer);
            writer.attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[family, 0, 0, 0]);
            if let Some((kind, value)) = also {
                writer.attribute(kind, value);
            }
        });
        told.expect("an answer").code
    };
    assert_eq!(code(V4, None), 400);
    assert_eq!(code(3, None), 400);
    assert_eq!(code(V6, Some((attribute::REQUESTED_ADDRESS_FAMILY, &[V4, 0, 0, 0]))), 400);
    assert_eq!(code(V6, Some((attribute::EVEN_PORT, &[0x80]))), 400);
    assert_eq!(code(V6, Some((attribute::RESERVATION_TOKEN, &[7; 8]))), 400);
    assert_eq!(code(V6, Some((attribute::EVEN_PORT, &[0]))), 0);
    let [v4, v6] = legs(&world, &alice).map(|(_, bound)| bound.port());
    assert!(v4.is_multiple_of(2) && v6.is_multiple_of(2), "both are even: {v4}, {v6}");
}

#[test]
fn a_worker_late_with_one_of_two_costs_only_that_one() {
    for late in [0, 1] {
        let (mut world, mut alice, _, legs) = opening();
        world.hold_closes = true;
        opened(&mut world, legs[1 - late]);
        world.pass(3);
        assert_eq!(codes(&world, &alice), [0]);
        let told = alice.read(&world.replies[0].1);
        assert_eq!(told.relayed, Some(legs[1 - late].1.socket()));
        assert_eq!(told.address_error, Some((if late == 0 { V4 } else { V6 }, 508)));
        assert_eq!(world.closed, [legs[late].0], "what opens yet is closed");
        opened(&mut world, legs[late]);
        assert_eq!(world.server.occupancy().live, 1, "too late");
        closed(&mut world, legs[late].0, 0);
        assert_eq!((used(&world)[late], quarantined(&world)[late]), (0, 1));
        assert_eq!(alice.refresh(&mut world, None).code, 0, "the allocation lives");
    }
}

#[test]
fn a_worker_late_with_both_fails_the_request_once() {
    let (mut world, alice, _, legs) = opening();
    world.hold_closes = true;
    world.pass(3);
    assert_eq!(codes(&world, &alice), [500]);
    assert_eq!(world.closed.len(), 2);
    assert!(legs.iter().all(|(relay, _)| world.closed.contains(relay)));
    closed(&mut world, legs[1].0, 0);
    assert_eq!(world.server.occupancy().allocations, 1, "one socket is not known closed yet");
    closed(&mut world, legs[0].0, 0);
    assert_eq!((world.server.occupancy().allocations, quarantined(&world)), (0, [1, 1]));
    assert_eq!(world.ends(), [], "it never was");
}

#[test]
fn a_socket_late_and_a_port_refused_make_an_error_that_waits_for_the_close() {
    let (mut world, alice, _, legs) = opening();
    world.hold_closes = true;
    world.input(Input::RelayFailed { relay: legs[0].0, why: OpenFailure::NoRoom });
    assert!(world.replies.is_empty());
    world.pass(3);
    assert_eq!(codes(&world, &alice), [508]);
    assert_eq!(world.server.occupancy().allocations, 1);
    closed(&mut world, legs[1].0, 0);
    assert_eq!((world.server.occupancy().allocations, used(&world)), (0, [0, 0]));
}

#[test]
fn a_release_between_the_two_sockets_closes_both() {
    let (mut world, mut alice, _, legs) = opening();
    opened(&mut world, legs[0]);
    assert_eq!(alice.refresh_one(&mut world, V4, 0).code, 437, "of two not yet told none can be given back");
    let release = alice.request(Method::Refresh, |writer| {
        writer.attribute(attribute::LIFETIME, &[0; 4]);
    });
    assert_eq!(world.send(alice.from, &release), None);
    world.replies.clear();
    opened(&mut world, legs[1]);
    assert_eq!(codes(&world, &alice), [437, 0], "the Allocate is void, the release done");
    assert_eq!(world.closed.len(), 2);
    assert_eq!((world.server.occupancy().allocations, used(&world)), (0, [0, 0]));
    assert_eq!(world.server.occupancy().live, 0);
    assert_eq!(world.ends(), []);
}

#[test]
fn one_half_is_given_back_and_the_other_lives_on_whichever_it_is() {
    for (given, kept, given_peer, kept_peer, at) in
        [(V6, V4, PEER_V6, PEER_V4, 1), (V4, V6, PEER_V4, PEER_V6, 0)]
    {
        let (mut world, mut alice) = dual();
        let legs = legs(&world, &alice);
        assert_eq!(alice.permit(&mut world, &[PEER_V4, PEER_V6]).code, 0);
        assert_eq!(alice.bind(&mut world, 0x4000, given_peer).code, 0);
        world.changes.clear();
        let told = alice.refresh_one(&mut world, given, 0);
        assert_eq!((told.code, told.lifetime), (0, Some(0)));
        assert_eq!(world.closed, [legs[at].0]);
        let address = legs[at].1.socket();
        assert_eq!(
            world.changes,
            [TableChange::Remove { relay: legs[at].0 }, TableChange::OwnRelay { address, live: false }]
        );
        assert_eq!((used(&world)[at], used(&world)[1 - at]), (0, 1));
        assert_eq!(world.ends(), [], "the allocation lives");

        // Nothing of that family can be had any more, and all of the other.
        assert_eq!(alice.permit(&mut world, &[given_peer]).code, 443);
        assert_eq!(alice.permit(&mut world, &[kept_peer, given_peer]).code, 443);
        assert_eq!(alice.bind(&mut world, 0x4001, given_peer).code, 443);
        assert_eq!(alice.refresh_one(&mut world, given, 600).code, 443);
        assert_eq!(alice.refresh_one(&mut world, given, 0).code, 443);
        assert_eq!(alice.permit(&mut world, &[kept_peer]).code, 0);
        assert_eq!(alice.bind(&mut world, 0x4000, kept_peer).code, 0, "the number went with its channel");
        assert_eq!(alice.refresh_one(&mut world, kept, 600).code, 0);
        assert_eq!(alice.allocate_both(&mut world).code, 437, "the five-tuple has its allocation still");

        assert_eq!(alice.refresh_one(&mut world, kept, 0).lifetime, Some(0));
        assert_eq!(world.ends(), [EndReason::Released], "with the second half it ends, once");
        assert_eq!((world.server.occupancy().allocations, used(&world)), (0, [0, 0]));
        assert_eq!(world.server.per_user.len(), 0);
        alice.renew(&mut world);
        assert_eq!(alice.allocate_both(&mut world).code, 0);
    }
}

#[test]
fn what_both_carried_is_told_as_one_sum_with_both_addresses() {
    let (mut world, mut alice) = dual();
    let legs = legs(&world, &alice);
    world.hold_closes = true;
    let half = alice.request_refresh_of(V6, 0);
    assert_eq!(world.send(alice.from, &half), None, "answered when the port is closed");
    closed(&mut world, legs[1].0, 3);
    closed(&mut world, legs[1].0, 100);
    let whole = alice.request(Method::Refresh, |writer| {
        writer.attribute(attribute::LIFETIME, &[0; 4]);
    });
    assert_eq!(world.send(alice.from, &whole), None);
    closed(&mut world, legs[0].0, 4);
    let ended = world.events.iter().find_map(|event| match event {
        Event::AllocationEnded { counters, relayed, additional, .. } => {
            Some((counters.to_peer_packets, counters.to_client_bytes, *relayed, *additional))
        }
        _ => None,
    });
    assert_eq!(ended, Some((7, 70, legs[0].1, Some(legs[1].1))));
}

#[test]
fn a_half_on_its_way_out_is_answered_to_whoever_waits_for_it() {
    let (mut world, mut alice) = dual();
    let legs = legs(&world, &alice);
    world.hold_closes = true;
    let half = alice.request_refresh_of(V6, 0);
    assert_eq!(world.send(alice.from, &half), None);
    assert_eq!(world.send(alice.from, &half), None, "the same request waits for the same answer");
    assert_eq!(alice.refresh_one(&mut world, V6, 0).code, 443, "another one comes too late");
    assert_eq!(world.closed.len(), 1);
    // The whole is given back before the half is closed: each waits for its own.
    let whole = alice.request(Method::Refresh, |writer| {
        writer.attribute(attribute::LIFETIME, &[0; 4]);
    });
    assert_eq!(world.send(alice.from, &whole), None);
    world.replies.clear();
    closed(&mut world, legs[0].0, 0);
    assert!(world.replies.is_empty() && world.ends().is_empty());
    closed(&mut world, legs[1].0, 0);
    assert_eq!(codes(&world, &alice), [0, 0]);
    assert_eq!(world.ends(), [EndReason::Released]);
    assert_eq!(used(&world), [0, 0]);
}

#[test]
fn each_family_has_its_own_time_and_a_refresh_without_one_means_both() {
    let (mut world, mut alice) = dual();
    let legs = legs(&world, &alice);
    world.pass(500);
    world.changes.clear();
    assert_eq!(alice.refresh_one(&mut world, V6, 600).lifetime, Some(600));
    let until = world.now().after(Duration::from_secs(600));
    assert_eq!(world.changes, [TableChange::Extend { relay: legs[1].0, until }]);
    world.pass(101);
    assert_eq!((world.closed.clone(), used(&world)), (vec![legs[0].0], [0, 1]), "IPv4 ran out alone");
    assert_eq!(world.ends(), []);
    assert_eq!(alice.permit(&mut world, &[PEER_V4]).code, 443);
    assert_eq!(alice.permit(&mut world, &[PEER_V6]).code, 0);
    world.pass(500);
    assert_eq!((world.ends(), used(&world)), (vec![EndReason::Expired], [0, 0]));

    let (mut world, mut alice) = dual();
    world.pass(500);
    assert_eq!(alice.refresh(&mut world, None).code, 0);
    world.pass(599);
    assert_eq!((used(&world), world.server.occupancy().live), ([1, 1], 2));
    world.pass(2);
    assert_eq!((world.ends(), used(&world)), (vec![EndReason::Expired], [0, 0]), "both, told once");
    assert_eq!(world.closed.len(), 2);
}

#[test]
fn the_peer_s_family_chooses_the_leg_and_a_channel_number_is_one_for_both() {
    let (mut world, mut alice) = dual();
    let [(v4, _), (v6, _)] = legs(&world, &alice);
    world.changes.clear();
    assert_eq!(alice.permit(&mut world, &[PEER_V6, PEER_V4]).code, 0);
    assert_eq!(alice.bind(&mut world, 0x4000, PEER_V4).code, 0);
    assert_eq!(alice.bind(&mut world, 0x4001, PEER_V6).code, 0);
    let mut permits = Vec::new();
    let mut binds = Vec::new();
    for change in &world.changes {
        match change {
            TableChange::Permit { relay, peer, .. } => permits.push((*relay, peer.is_ipv4())),
            TableChange::Bind { relay, channel, .. } => binds.push((*relay, channel.get())),
            other => panic!("{other:?}"),
        }
    }
    permits.sort();
    permits.dedup();
    assert_eq!(permits, [(v4, true), (v6, false)]);
    assert_eq!(binds, [(v4, 0x4000), (v6, 0x4001)]);
    assert_eq!(alice.bind(&mut world, 0x4000, PEER_V6).code, 400, "a number stands for one peer");
}

#[test]
fn leaving_ends_both_halves_of_many_within_the_bounds_of_one_call() {
    let mut world = World::with(|config| config.allocations_per_user = 0);
    for number in 0..100 {
        assert_eq!(Client::alice(&world, number).allocate_both(&mut world).code, 0);
    }
    world.input(Input::Command(Command::EndAll));
    world.pass(1);
    assert_eq!(world.ends(), [EndReason::Shutdown; 100]);
    assert_eq!((world.server.occupancy().allocations, used(&world)), (0, [0, 0]));
}

#[test]
fn reports_about_an_earlier_use_of_either_name_hit_nothing() {
    let (mut world, mut alice) = dual();
    let old = legs(&world, &alice);
    alice.refresh(&mut world, Some(0));
    alice.renew(&mut world);
    alice.allocate_both(&mut world);
    let new = legs(&world, &alice);
    let indices = |legs: [(RelayId, RelayAddr); 2]| {
        let mut indices = legs.map(|(relay, _)| relay.index);
        indices.sort_unstable();
        indices
    };
    assert_eq!(indices(old), indices(new), "the slots are used again");
    for (relay, bound) in old {
        closed(&mut world, relay, 9);
        world.input(Input::RelayFailed { relay, why: OpenFailure::Other });
        world.input(Input::RelayOpened { relay, bound });
    }
    assert_eq!((used(&world), world.server.occupancy().live), ([1, 1], 2));
}

/// Many lives in which the worker fails, is late or is slow at random: in the end every port is accounted for.
#[test]
fn whatever_the_worker_does_every_port_comes_back_once() {
    use crate::proto::types::Entropy;
    let mut dice = Dice::new(11);
    let failures = [OpenFailure::PortTaken, OpenFailure::NoRoom, OpenFailure::AddressGone];
    let mut world = World::with(|config| config.ports = 50_000..=50_063);
    let mut late: Vec<RelayId> = Vec::new();
    let mut clients: Vec<_> = (0..6).map(|number| Client::alice(&world, number)).collect();
    for step in 0..3_000 {
        let meets = |dice: &mut Dice| match dice.below(6) {
            0 => Opens::Silent,
            1 => Opens::Never(failures[dice.below(3) as usize]),
            2 => Opens::After(1, OpenFailure::PortTaken),
            _ => Opens::Always,
        };
        (world.opens, world.opens_v6) = (meets(&mut dice), Some(meets(&mut dice)));
        world.hold_closes = dice.below(4) == 0;
        let client = &mut clients[dice.below(6) as usize];
        let now = world.now();
        client.nonce = world.server.config.challenger.nonce_key.mint(now.tick(), &client.from).0.to_vec();
        let told = match dice.below(6) {
            0 | 1 => client.ask(&mut world, Method::Allocate, both),
            2 => client.ask(&mut world, Method::Allocate, udp),
            family @ (3 | 4) => {
                let request = client.request_refresh_of(family as u8 - 2, 600 * dice.below(2));
                world.send(client.from, &request).map(|reply| client.read(&reply))
            }
            _ => {
                let seconds = 600 * dice.below(2);
                client.ask(&mut world, Method::Refresh, |writer| {
                    writer.attribute(attribute::LIFETIME, &seconds.to_be_bytes());
                })
            }
        };
        if let Some(Told { code: 0, relayed: Some(first), additional: Some(second), .. }) = told {
            assert!(first.is_ipv4() && second.is_ipv6(), "step {step}");
        }
        late.append(&mut world.closed);
        if dice.below(3) == 0 {
            // Some of these were reported already: hearing of them again must change nothing.
            late.drain(..).for_each(|relay| closed(&mut world, relay, 1));
        }
        world.pass(u64::from(dice.below(40)));
    }
    (world.hold_closes, world.opens, world.opens_v6) = (false, Opens::Always, None);
    late.append(&mut world.closed);
    late.drain(..).for_each(|relay| closed(&mut world, relay, 1));
    world.pass(700);
    late.append(&mut world.closed);
    late.drain(..).for_each(|relay| closed(&mut world, relay, 1));
    world.pass(100);
    let occupancy = world.server.occupancy();
    assert_eq!((occupancy.allocations, occupancy.live, used(&world)), (0, 0, [0, 0]));
    assert_eq!((world.server.per_user.len(), world.server.per_address.len()), (0, 0));
    assert_eq!(world.server.timers.len(), 0);
    let made = world.events.iter().filter(|event| matches!(event, Event::AllocationMade { .. })).count();
    assert_eq!(world.ends().len(), made, "each that was made ended once");
    assert!(made > 300, "{made}");
}
