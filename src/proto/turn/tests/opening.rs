//! The time between an Allocate and its open socket.

use super::*;

fn opening() -> (World, Client, Vec<u8>) {
    let mut world = World::new();
    world.opens = Opens::Silent;
    let mut alice = Client::alice(&world, 1);
    let request = alice.request(Method::Allocate, udp);
    assert_eq!(world.send(alice.from, &request), None);
    (world, alice, request)
}

fn bound(world: &World, client: &Client) -> (RelayId, RelayAddr) {
    let allocation = world.server.allocations.of(&client.from).expect("it is opening");
    let leg = allocation.legs.named(allocation.relay).expect("its first leg");
    (leg.relay, leg.bind(&world.server.config.relays))
}

fn opened(world: &mut World, client: &Client) {
    let (relay, bound) = bound(world, client);
    world.replies.clear();
    world.input(Input::RelayOpened { relay, bound });
}

#[test]
fn the_same_allocate_again_is_absorbed_and_answered_once() {
    let (mut world, alice, request) = opening();
    assert_eq!(world.send(alice.from, &request), None);
    opened(&mut world, &alice);
    assert_eq!(world.replies.len(), 1);
    assert_eq!(alice.read(&world.replies[0].1).code, 0);
}

#[test]
fn another_allocate_meanwhile_is_a_mismatch() {
    let (mut world, mut alice, _) = opening();
    assert_eq!(alice.allocate(&mut world).code, 437);
}

#[test]
fn nothing_else_can_be_done_with_it_yet() {
    let (mut world, mut alice, _) = opening();
    assert_eq!(alice.refresh(&mut world, None).code, 437);
    assert_eq!(alice.permit(&mut world, &["8.8.8.8:1"]).code, 437);
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.8:1").code, 437);
}

#[test]
fn a_release_meanwhile_closes_the_port_as_soon_as_it_is_open() {
    let (mut world, mut alice, allocate) = opening();
    let release = alice.request(Method::Refresh, |writer| {
        writer.attribute(attribute::LIFETIME, &[0; 4]);
    });
    assert_eq!(world.send(alice.from, &release), None);
    opened(&mut world, &alice);
    let codes: Vec<_> = world.replies.iter().map(|(_, reply)| alice.read(reply).code).collect();
    assert_eq!(codes, [437, 0], "the Allocate is void, the release done");
    assert_eq!(world.closed.len(), 1);
    assert_eq!(world.server.occupancy().ports[0].used, 0);
    assert_eq!(world.server.occupancy().live, 0);
    let repeated = world.send(alice.from, &allocate).expect("an answer");
    assert_eq!(alice.read(&repeated).code, 437, "a repetition allocates nothing");
    assert_eq!(world.ends(), [], "it never was");
}

#[test]
fn a_taken_port_is_quarantined_and_another_tried() {
    let mut world = World::new();
    world.opens = Opens::After(3, OpenFailure::PortTaken);
    let mut alice = Client::alice(&world, 1);
    assert_eq!(alice.allocate(&mut world).code, 0);
    let census = world.server.occupancy().ports[0];
    assert_eq!((census.used, census.quarantined), (1, 3));
}

#[test]
fn sixteen_taken_ports_are_enough() {
    let mut world = World::new();
    world.opens = Opens::Never(OpenFailure::PortTaken);
    let mut alice = Client::alice(&world, 1);
    assert_eq!(alice.allocate(&mut world).code, 508);
    assert_eq!(world.server.occupancy().ports[0].quarantined, 16);
    assert_eq!(world.server.occupancy().allocations, 0);
}

#[test]
fn each_refusal_of_the_kernel_has_its_code_and_costs_no_quota() {
    for (why, code) in
        [(OpenFailure::NoRoom, 508), (OpenFailure::AddressGone, 500), (OpenFailure::Other, 500)]
    {
        let mut world = World::with(|config| config.allocations_per_user = 1);
        world.opens = Opens::Never(why);
        let mut alice = Client::alice(&world, 1);
        assert_eq!(alice.allocate(&mut world).code, code);
        assert_eq!(world.server.occupancy().allocations, 0);
        world.opens = Opens::Always;
        alice.renew(&mut world);
        assert_eq!(alice.allocate(&mut world).code, 0);
    }
}

#[test]
fn a_worker_that_does_not_answer_fails_the_request_and_the_port_is_not_trusted() {
    let (mut world, alice, _) = opening();
    let (relay, bound) = bound(&world, &alice);
    world.replies.clear();
    world.hold_closes = true;
    world.pass(1);
    assert!(world.replies.is_empty());
    world.pass(2);
    assert_eq!(alice.read(&world.replies[0].1).code, 500);
    assert_eq!(world.closed, [relay]);
    world.input(Input::RelayOpened { relay, bound });
    assert_eq!(world.server.occupancy().live, 0, "too late");
    world.input(Input::RelayClosed { worker: WorkerId(0), relay, counters: Counters::default() });
    let census = world.server.occupancy().ports[0];
    assert_eq!((census.used, census.quarantined), (0, 1));
}

#[test]
fn a_report_about_an_earlier_use_of_the_slot_is_ignored() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    let (old, bound) = world.opened[0];
    alice.refresh(&mut world, Some(0));
    alice.renew(&mut world);
    alice.allocate(&mut world);
    assert_ne!(world.opened[1].0, old);
    assert_eq!(world.opened[1].0.index, old.index);
    world.input(Input::RelayClosed { worker: WorkerId(0), relay: old, counters: Counters::default() });
    world.input(Input::RelayFailed { relay: old, why: OpenFailure::Other });
    world.input(Input::RelayOpened { relay: old, bound });
    assert_eq!(world.server.occupancy().live, 1);
}

#[test]
fn a_close_nobody_asked_for_changes_nothing() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    let relay = world.opened[0].0;
    world.input(Input::RelayClosed { worker: WorkerId(0), relay, counters: Counters::default() });
    assert_eq!(world.server.occupancy().live, 1);
}
