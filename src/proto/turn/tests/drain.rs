//! A server that is leaving, as its clients meet it.

use super::*;
use crate::proto::types::ClientAddr;

const V4: &str = "203.0.113.9:3478";
const V6: &str = "[2001:db8::9]:3478";

fn draining(alternates: &[&str]) -> World {
    let mut world = World::with(|config| config.alternate_servers = servers(alternates));
    world.input(Input::Command(Command::Drain));
    world
}

fn servers(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

/// The code of an Allocate's answer and its ALTERNATE-SERVER.
fn refusal(world: &mut World, client: &mut Client) -> (u16, Option<SocketAddr>) {
    let request = client.request(Method::Allocate, udp);
    let reply = world.send(client.from, &request).expect("an answer");
    let code = client.read(&reply).code;
    (code, decode_response(&reply).expect("a message").alternate_server)
}

/// Alice with an address of IPv6.
fn alice_v6(world: &World) -> Client {
    let mut alice = Client::alice(world, 2);
    alice.from.client = ClientAddr::new("[2001:db8::77]:5000".parse().expect("an address"));
    let key = &world.server.config.challenger.nonce_key;
    alice.nonce = key.mint(world.now().tick(), &alice.from).0.to_vec();
    alice
}

#[test]
fn live_allocations_go_on_and_no_new_one_is_made() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    world.input(Input::Command(Command::Drain));
    assert_eq!(Client::alice(&world, 2).allocate(&mut world).code, 508);
    assert_eq!(alice.allocate(&mut world).code, 437, "its own five-tuple has one");
    for _ in 0..3 {
        world.pass(500);
        assert_eq!(alice.refresh(&mut world, Some(600)).code, 0);
        assert_eq!(alice.permit(&mut world, &["8.8.8.8:1"]).code, 0);
        assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.8:1").code, 0);
    }
    assert_eq!((world.server.occupancy().live, world.opened.len()), (1, 1));
    assert_eq!(alice.refresh(&mut world, Some(0)).code, 0);
    assert_eq!(world.server.occupancy().allocations, 0);
    assert_eq!(world.ends(), [EndReason::Released]);
}

// proves rfc8489:10-1, rfc8489:10-2, rfc8489:14.8-5
// proves rfc8656:7.2-23
#[test]
fn clients_are_sent_to_the_alternate_server_of_their_family() {
    let (v4, v6) = (servers(&[V4])[0], servers(&[V6])[0]);
    for (alternates, for_v4, for_v6) in [
        (&[V6, V4][..], (300, Some(v4)), (300, Some(v6))),
        (&[V4], (300, Some(v4)), (508, None)),
        (&[V6], (508, None), (300, Some(v6))),
        (&[], (508, None), (508, None)),
    ] {
        let mut world = draining(alternates);
        let mut alice = Client::alice(&world, 1);
        assert_eq!(refusal(&mut world, &mut alice), for_v4);
        let mut alice = alice_v6(&world);
        assert_eq!(refusal(&mut world, &mut alice), for_v6);
    }
}

// proves rfc8489:10-3, rfc8489:10-4, rfc8489:14.8-7
#[test]
fn behind_the_server_of_its_own_family_a_client_is_told_one_of_the_other() {
    let (v4, v6) = (servers(&[V4])[0], servers(&[V6])[0]);
    for (alternates, first, second) in [
        (&[V4, V6][..], Some(v4), Some(v6)),
        (&[V6, V4], Some(v4), Some(v6)),
        (&[V4], Some(v4), None),
        (&[V6], None, None),
    ] {
        let mut world = draining(alternates);
        let mut alice = Client::alice(&world, 1);
        let request = alice.request(Method::Allocate, udp);
        let reply = world.send(alice.from, &request).expect("an answer");
        let answer = decode_response(&reply).expect("a message");
        assert_eq!((answer.alternate_server, answer.additional_alternate_server), (first, second));
        assert!(answer.integrity.verify(&alice.key));
    }
}

// proves rfc8489:12-3
#[test]
fn binding_is_answered_on_a_draining_server_too() {
    let mut world = draining(&[V4]);
    let mut buffer = [0; 64];
    let id = TransactionId::with_cookie([1; 12]);
    let len = MessageWriter::request(&mut buffer, Method::Binding, id).finish().expect("room");
    let from = testing::five_tuple(1);
    let reply = world.send(from, &buffer[..len]).expect("an answer");
    assert_eq!((told(&reply).code, told(&reply).mapped), (0, Some(from.client.socket())));
}

#[test]
fn nobody_is_sent_elsewhere_while_the_server_serves() {
    let mut world = World::with(|config| {
        config.alternate_servers = servers(&[V4]);
        config.allocations_total = 1;
    });
    let mut alice = Client::alice(&world, 1);
    assert_eq!(refusal(&mut world, &mut alice), (0, None));
    let mut late = Client::alice(&world, 2);
    assert_eq!(refusal(&mut world, &mut late), (508, None));
}

// proves rfc8489:14.8-5, rfc8489:14.8-6
#[test]
fn whoever_has_not_proved_a_credential_learns_of_no_other_server() {
    let mut world = draining(&[V4]);
    let mut mallory = Client::named(&world, 1, "alice", "wrong");
    let request = mallory.request(Method::Allocate, udp);
    let reply = world.send(mallory.from, &request).expect("an answer");
    let answer = decode_response(&reply).expect("a message");
    assert_eq!((answer.error_code, answer.alternate_server), (Some(401), None));
}

#[test]
fn a_repeated_refusal_is_the_same_and_another_method_is_none_of_it() {
    let mut world = draining(&[V4]);
    let mut alice = Client::alice(&world, 1);
    let request = alice.request(Method::Allocate, udp);
    let first = world.send(alice.from, &request).expect("an answer");
    assert_eq!(world.send(alice.from, &request), Some(first));
    assert_eq!(alice.refresh(&mut world, None).code, 437);
    let refused = |event: &Event| {
        matches!(event, Event::AllocationRefused { code: crate::proto::wire::ErrorCode::TryAlternate, .. })
    };
    assert_eq!(world.events.iter().filter(|event| refused(event)).count(), 1);
    assert_eq!(world.server.occupancy().allocations, 0);
    assert_eq!((world.server.per_user.len(), world.server.per_address.len()), (0, 0));
}

#[test]
fn what_is_being_opened_is_closed_again_and_its_client_sent_elsewhere() {
    for (alternates, code) in [(&[V4][..], 300), (&[], 508)] {
        let mut world = World::with(|config| config.alternate_servers = servers(alternates));
        world.opens = Opens::Silent;
        let mut alice = Client::alice(&world, 1);
        let request = alice.request(Method::Allocate, udp);
        assert_eq!(world.send(alice.from, &request), None);
        world.input(Input::Command(Command::Drain));
        let allocation = world.server.allocations.of(&alice.from).expect("it is opening");
        let (relay, bound) = (
            allocation.relay,
            allocation.legs.iter().next().expect("a leg").bind(&world.server.config.relays),
        );
        world.input(Input::RelayOpened { relay, bound });
        let (_, reply) = world.replies.pop().expect("an answer");
        assert_eq!(alice.read(&reply).code, code);
        assert_eq!(world.closed, [relay]);
        assert_eq!(world.server.occupancy().allocations, 0);
    }
}

#[test]
fn a_drain_can_be_cut_short_and_whoever_ends_all_makes_nothing_new() {
    let mut world = World::new();
    world.input(Input::Command(Command::EndAll));
    world.pass(1);
    assert_eq!(Client::alice(&world, 1).allocate(&mut world).code, 508);

    let mut world = World::new();
    Client::alice(&world, 1).allocate(&mut world);
    world.input(Input::Command(Command::Drain));
    world.input(Input::Command(Command::EndAll));
    world.pass(1);
    assert_eq!(world.ends(), [EndReason::Shutdown]);
}

#[test]
fn each_step_is_an_event_that_tells_how_many_are_left() {
    let mut world = World::new();
    Client::alice(&world, 1).allocate(&mut world);
    world.input(Input::Command(Command::Drain));
    world.input(Input::Command(Command::EndAll));
    let steps: Vec<_> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::DrainBegun { allocations } => Some(("drain", *allocations)),
            Event::EndingAll { allocations } => Some(("end", *allocations)),
            _ => None,
        })
        .collect();
    assert_eq!(steps, [("drain", 1), ("end", 1)]);
}
