//! EVEN-PORT and RESERVATION-TOKEN (RFC 8656 § 7.2, steps 5 and 8; §§ 18.7, 18.9).

use super::*;

/// EVEN-PORT, with or without the R bit.
fn even(reserve: bool) -> impl FnOnce(&mut MessageWriter<'_>) {
    move |writer| {
        udp(writer);
        writer.attribute(attribute::EVEN_PORT, &[if reserve { 0x80 } else { 0 }]);
    }
}

fn with_token(token: [u8; 8]) -> impl FnOnce(&mut MessageWriter<'_>) {
    move |writer| {
        udp(writer);
        writer.attribute(attribute::RESERVATION_TOKEN, &token);
    }
}

fn pair(world: &mut World, number: u16) -> (Client, u16, [u8; 8]) {
    let mut alice = Client::alice(world, number);
    let told = alice.ask(world, Method::Allocate, even(true)).expect("an answer");
    (alice, told.relayed.expect("an address").port(), told.token.expect("a token"))
}

fn claim(world: &mut World, number: u16, token: [u8; 8]) -> Told {
    Client::alice(world, number).ask(world, Method::Allocate, with_token(token)).expect("an answer")
}

// proves rfc8656:7.2-25
#[test]
fn a_token_is_good_from_any_five_tuple_user_and_worker() {
    let mut world = World::new();
    let (_, even, token) = pair(&mut world, 1);
    let mut bob = Client::named(&world, 2, "bob", "password");
    let request = bob.request(Method::Allocate, with_token(token));
    world.replies.clear();
    let (worker, from) = (WorkerId(3), bob.from);
    world.input(Input::Message { worker, from, dialect: Dialect::Rfc8656, bytes: &request });
    let told = bob.read(&world.replies[0].1);
    assert_eq!(told.relayed.map(|address| address.port()), Some(even + 1));
    let allocation = world.server.allocations.of(&bob.from).expect("it lives");
    assert_eq!(allocation.worker, worker, "the socket belongs to the worker that was asked");
}

#[test]
fn a_token_of_an_ipv6_pair_stands_for_an_ipv6_port() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let told = alice.ask(&mut world, Method::Allocate, |writer| {
        even(true)(writer);
        writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    let told = told.expect("an answer");
    let (first, token) = (told.relayed.expect("an address"), told.token.expect("a token"));
    let second = claim(&mut world, 2, token).relayed.expect("an address");
    assert_eq!((second.ip(), second.port()), (first.ip(), first.port() + 1));
}

// proves rfc8656:7.2-9, rfc8656:7.2-28, rfc8656:7.2-29
#[test]
fn a_token_outlives_thirty_seconds_from_its_answer_and_the_allocation_that_made_it() {
    let mut world = World::new();
    let (mut alice, even, token) = pair(&mut world, 1);
    alice.refresh(&mut world, Some(0));
    world.pass(31);
    assert_eq!(claim(&mut world, 2, token).relayed.map(|address| address.port()), Some(even + 1));

    let (_, _, token) = pair(&mut world, 3);
    world.pass(41);
    assert_eq!(claim(&mut world, 4, token).code, 508);
    assert_eq!(claim(&mut world, 5, [0; 8]).code, 508, "one that nobody was given");
}

#[test]
fn a_reserved_port_that_somebody_else_took_meanwhile_is_not_replaced_by_another() {
    let mut world = World::new();
    let (_, even, token) = pair(&mut world, 1);
    world.opens = Opens::After(1, OpenFailure::PortTaken);
    assert_eq!(claim(&mut world, 2, token).code, 508);
    let refused = world.events.iter().find_map(|event| match event {
        Event::PortRefused { bind, .. } => Some(bind.port()),
        _ => None,
    });
    assert_eq!(refused, Some(even + 1));
    assert_eq!(world.opened.len(), 1, "no other port was tried");
    let ports = world.server.occupancy().ports[0];
    assert_eq!((ports.used, ports.reserved, ports.quarantined), (1, 0, 1));
    world.opens = Opens::Always;
    assert_eq!(claim(&mut world, 2, token).code, 508, "the token is used up");
}

// proves rfc8656:7.2-26, rfc8656:7.2-27
#[test]
fn another_port_for_one_that_was_taken_is_even_too_and_its_neighbour_reserved() {
    for reserve in [false, true] {
        let mut world = World::new();
        world.opens = Opens::After(5, OpenFailure::PortTaken);
        let mut alice = Client::alice(&world, 1);
        let told = alice.ask(&mut world, Method::Allocate, even(reserve)).expect("an answer");
        let port = told.relayed.expect("an address").port();
        assert!(port.is_multiple_of(2), "{port}");
        let ports = world.server.occupancy().ports[0];
        assert_eq!((ports.used, ports.reserved, ports.quarantined), (1, usize::from(reserve), 5));
        if let Some(token) = told.token {
            let second = claim(&mut world, 2, token);
            assert_eq!(second.relayed.map(|address| address.port()), Some(port + 1));
        }
        assert_eq!(told.token.is_some(), reserve);
    }
}

#[test]
fn a_pair_that_could_not_be_opened_keeps_no_port() {
    let mut world = World::new();
    for opens in [Opens::Never(OpenFailure::PortTaken), Opens::Never(OpenFailure::NoRoom), Opens::Silent] {
        world.opens = opens;
        let mut alice = Client::alice(&world, 1);
        let request = alice.request(Method::Allocate, even(true));
        world.send(alice.from, &request);
        world.pass(3);
        let ports = world.server.occupancy().ports[0];
        assert_eq!(
            (world.server.occupancy().allocations, ports.used, ports.reserved),
            (0, 0, 0),
            "{opens:?}"
        );
    }
}

#[test]
fn a_pair_given_back_before_it_was_open_keeps_no_port() {
    let mut world = World::new();
    world.opens = Opens::Silent;
    let mut alice = Client::alice(&world, 1);
    let request = alice.request(Method::Allocate, even(true));
    assert_eq!(world.send(alice.from, &request), None);
    let release = alice.request(Method::Refresh, |writer| {
        writer.attribute(attribute::LIFETIME, &[0; 4]);
    });
    assert_eq!(world.send(alice.from, &release), None);
    let allocation = world.server.allocations.of(&alice.from).expect("it is opening");
    let leg = allocation.legs.named(allocation.relay).expect("its leg");
    let opened = Input::RelayOpened { relay: leg.relay, bound: leg.bind(&world.server.config.relays) };
    world.input(opened);
    let ports = world.server.occupancy().ports[0];
    assert_eq!((ports.used, ports.reserved), (0, 0));
}

// proves rfc8656:7.2-16
#[test]
fn reservations_cannot_use_up_the_ports_of_others() {
    let mut world = World::with(|config| {
        config.allocations_per_user = 1;
        config.ports = 50_000..=50_099;
    });
    let mut refused = 0;
    for number in 0..60 {
        let mut alice = Client::alice(&world, number);
        let told = alice.ask(&mut world, Method::Allocate, even(true)).expect("an answer");
        refused += u16::from(told.code == 508);
        alice.refresh(&mut world, Some(0));
    }
    assert_eq!(world.server.occupancy().ports[0].reserved, 25);
    assert_eq!(refused, 35);
    assert_eq!(Client::named(&world, 90, "bob", "password").allocate(&mut world).code, 0);
}
