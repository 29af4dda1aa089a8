//! Allocate, as a client meets it.

use super::*;
use crate::proto::types::ClientAddr;

// proves rfc8656:6-4, rfc8656:7.2-14, rfc8656:7.2-36, rfc8656:7.2-37
#[test]
fn an_allocation_is_answered_with_its_address_and_the_client_s_own() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let told = alice.allocate(&mut world);
    assert_eq!(told.code, 0);
    assert_eq!(told.lifetime, Some(600));
    assert_eq!(told.mapped, Some(alice.from.client.socket()));
    let relayed = told.relayed.expect("a relayed address");
    assert_eq!(relayed.ip(), ip("203.0.113.7"));
    assert!((50_000..=59_999).contains(&relayed.port()));
    assert_eq!(world.opened.len(), 1);
    assert_eq!(world.opened[0].1.socket(), relayed);
}

#[test]
fn the_table_is_in_place_before_the_client_hears_of_it() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let request = alice.request(Method::Allocate, udp);
    world.opens = Opens::Silent;
    assert_eq!(world.send(alice.from, &request), None);
    let relay = RelayId { index: 0, generation: 0 };
    let bound = world
        .server
        .allocations
        .of(&alice.from)
        .and_then(|a| a.legs.named(a.relay))
        .map(|leg| leg.bind(&world.server.config.relays));
    world.server.handle_input(world.now(), Input::RelayOpened { relay, bound: bound.expect("it opens") });
    let kinds: Vec<_> = std::iter::from_fn(|| world.server.poll_output())
        .map(|output| match output {
            Output::Table { .. } => "table",
            Output::TableOfAll { .. } => "table of all",
            Output::Reply { .. } => "reply",
            _ => "event",
        })
        .filter(|kind| *kind != "event")
        .collect();
    assert_eq!(kinds, ["table", "table of all", "reply"]);
}

// proves rfc8489:6.3.1-2
// proves rfc8656:5-20, rfc8656:7.2-38
#[test]
fn a_retransmitted_allocate_gets_the_same_bytes_and_nothing_twice() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let request = alice.request(Method::Allocate, udp);
    let first = world.send(alice.from, &request).expect("an answer");
    world.pass(39);
    let second = world.send(alice.from, &request).expect("an answer");
    assert_eq!(first, second);
    assert_eq!(world.opened.len(), 1);
}

// proves rfc8656:7.2-4
#[test]
fn another_allocate_on_the_five_tuple_is_a_mismatch() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    assert_eq!(alice.allocate(&mut world).code, 437);
    let mut bob = Client {
        from: alice.from,
        nonce: alice.nonce.clone(),
        ..Client::named(&world, 9, "bob", "password")
    };
    assert_eq!(bob.allocate(&mut world).code, 437);
    assert_eq!(world.server.occupancy().allocations, 1);
}

// proves rfc8656:7.2-5, rfc8656:7.2-6, rfc8656:18.8-1
#[test]
fn the_transport_must_be_named_and_be_udp() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let mut code = |value: Option<&[u8]>| {
        let told = alice.ask(&mut world, Method::Allocate, |writer| {
            if let Some(value) = value {
                writer.attribute(attribute::REQUESTED_TRANSPORT, value);
            }
        });
        told.expect("an answer").code
    };
    assert_eq!(code(None), 400);
    assert_eq!(code(Some(&[17, 0])), 400, "malformed");
    assert_eq!(code(Some(&[6, 0, 0, 0])), 400, "connections are relayed for who comes by one");
    assert_eq!(code(Some(&[132, 0, 0, 0])), 442);
}

// proves rfc8656:7.2-11, rfc8656:7.2-12, rfc8656:7.2-13, rfc8656:7.2-14, rfc8656:18.6-1
#[test]
fn families_are_chosen_refused_and_defaulted() {
    let mut world = World::new();
    let mut with_family = |number: u16, family: u8| {
        let mut client = Client::alice(&world, number);
        let told = client.ask(&mut world, Method::Allocate, |writer| {
            udp(writer);
            writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
        });
        told.expect("an answer")
    };
    assert!(with_family(1, 1).relayed.expect("an address").is_ipv4());
    assert!(with_family(2, 2).relayed.expect("an address").is_ipv6());
    assert_eq!(with_family(3, 3).code, 440);

    let mut v6_only = World::with(|config| {
        config.relays.remove(0);
    });
    assert_eq!(Client::alice(&v6_only, 1).allocate(&mut v6_only).code, 440, "IPv4 is the default");
}

// proves rfc8489:6.3.1-1, rfc8489:6.3.1.1-4
// proves rfc8656:7.2-7
#[test]
fn what_is_not_understood_is_named() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let told = alice.ask(&mut world, Method::Allocate, |writer| {
        udp(writer);
        writer.attribute(0x7F01, &[1, 2, 3]).attribute(0x8F01, &[]).attribute(0x0024, &[0, 0, 0, 1]);
    });
    let told = told.expect("an answer");
    assert_eq!((told.code, told.unknown), (420, vec![0x7F01, 0x0024]));

    let told = alice.ask(&mut world, Method::Allocate, |writer| {
        udp(writer);
        writer.attribute(attribute::DONT_FRAGMENT, &[]);
    });
    let told = told.expect("an answer");
    assert_eq!(told.code, 0, "DONT-FRAGMENT is understood");
}

// proves rfc8656:7.2-8, rfc8656:7.2-10, rfc8656:7.2-15
#[test]
fn contradictions_are_bad_requests() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let family = |kind: u16| {
        move |writer: &mut MessageWriter<'_>| {
            writer.attribute(kind, &[2, 0, 0, 0]);
        }
    };
    let token = |writer: &mut MessageWriter<'_>| {
        writer.attribute(attribute::RESERVATION_TOKEN, &[7; 8]);
    };
    let even = |writer: &mut MessageWriter<'_>| {
        writer.attribute(attribute::EVEN_PORT, &[0x80]);
    };
    let requested = family(attribute::REQUESTED_ADDRESS_FAMILY);
    let additional = family(attribute::ADDITIONAL_ADDRESS_FAMILY);
    type Part<'a> = &'a dyn Fn(&mut MessageWriter<'_>);
    let contradictions: [[Part<'_>; 2]; 5] = [
        [&token, &even],
        [&token, &requested],
        [&token, &additional],
        [&requested, &additional],
        [&additional, &even],
    ];
    for parts in contradictions {
        let told = alice.ask(&mut world, Method::Allocate, |writer| {
            udp(writer);
            parts.iter().for_each(|part| part(writer));
        });
        assert_eq!(told.expect("an answer").code, 400);
    }
    assert_eq!(world.server.occupancy().allocations, 0);
}

// proves rfc8656:7.2-27, rfc8656:7.2-30
#[test]
fn an_even_port_pair_is_claimed_with_its_token_once() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let told = alice.ask(&mut world, Method::Allocate, |writer| {
        udp(writer);
        writer.attribute(attribute::EVEN_PORT, &[0x80]);
    });
    let told = told.expect("an answer");
    let even = told.relayed.expect("an address");
    assert!(even.port().is_multiple_of(2));
    let token = told.token.expect("a token");
    let claim = |world: &mut World, number| {
        let mut second = Client::alice(world, number);
        let told = second.ask(world, Method::Allocate, |writer| {
            udp(writer);
            writer.attribute(attribute::RESERVATION_TOKEN, &token);
        });
        told.expect("an answer")
    };
    let odd = claim(&mut world, 2);
    assert_eq!(odd.relayed.map(|address| address.port()), Some(even.port() + 1));
    assert_eq!(odd.token, None);
    assert_eq!(claim(&mut world, 3).code, 508);
}

// proves rfc8656:7.2-26
#[test]
fn an_even_port_without_reservation_takes_one_port() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let told = alice.ask(&mut world, Method::Allocate, |writer| {
        udp(writer);
        writer.attribute(attribute::EVEN_PORT, &[0]);
    });
    let told = told.expect("an answer");
    assert!(told.relayed.expect("an address").port().is_multiple_of(2));
    assert_eq!(told.token, None);
    assert_eq!(world.server.occupancy().ports[0].reserved, 0);
}

#[test]
fn the_event_tells_user_address_and_lifetime() {
    let mut world = World::new();
    let told = Client::alice(&world, 1).allocate(&mut world);
    let made = world.events.iter().find_map(|event| match event {
        Event::AllocationMade { user, relayed, lifetime, .. } => {
            Some((user.to_string(), relayed.socket(), lifetime.as_secs()))
        }
        _ => None,
    });
    assert_eq!(made, Some(("alice".into(), told.relayed.expect("an address"), 600)));
}

// proves rfc8656:7.2-34, rfc8656:18.2-1
#[test]
fn a_lifetime_asked_for_is_granted_between_the_default_and_the_ceiling() {
    let mut world = World::new();
    let asked = [None, Some(0), Some(1), Some(600), Some(1_200), Some(3_600), Some(u32::MAX)];
    let mut granted = |(number, asked): (u16, Option<u32>)| {
        let mut client = Client::alice(&world, number);
        let told = client.ask(&mut world, Method::Allocate, |writer| {
            udp(writer);
            if let Some(seconds) = asked {
                writer.attribute(attribute::LIFETIME, &seconds.to_be_bytes());
            }
        });
        told.expect("an answer").lifetime.expect("a lifetime")
    };
    assert_eq!(
        [0, 1, 2, 3, 4, 5, 6].map(|at| granted((at, asked[usize::from(at)]))),
        [600, 600, 600, 600, 1_200, 3_600, 3_600]
    );
    world.pass(600);
    assert_eq!(world.server.occupancy().live, 3, "each ends when it was told");
    world.pass(600);
    assert_eq!(world.server.occupancy().live, 2);
    world.pass(2_400);
    assert_eq!(world.server.occupancy().live, 0);
}

// proves rfc8656:18.1-1, rfc8656:18.6-2, rfc8656:18.7-1, rfc8656:18.8-2
#[test]
fn bits_that_are_reserved_for_the_future_are_ignored() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let told = alice.ask(&mut world, Method::Allocate, |writer| {
        writer
            .attribute(attribute::REQUESTED_TRANSPORT, &[17, 0xFF, 0xFF, 0xFF])
            .attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0xFF, 0xFF, 0xFF])
            .attribute(attribute::EVEN_PORT, &[0x7F]);
    });
    let told = told.expect("an answer");
    let relayed = told.relayed.expect("an address");
    assert!(relayed.is_ipv6() && relayed.port().is_multiple_of(2));
    assert_eq!(told.token, None, "the R bit was not set");
    let told = alice.ask(&mut world, Method::ChannelBind, |writer| {
        writer
            .attribute(attribute::CHANNEL_NUMBER, &[0x40, 0, 0xFF, 0xFF])
            .peer(peer("[2001:4860:4860::8888]:53"));
    });
    assert_eq!(told.expect("an answer").code, 0);
}

// proves rfc8656:21.4-1, rfc8656:21.4-2
#[test]
fn the_end_of_a_tunnel_gets_no_allocation() {
    let mut world = World::new();
    for (address, code) in [
        ("[2001:0:4136:e378:8000:63bf:3fff:fdd2]:5000", 403),
        ("[2002:808:808::1]:5000", 403),
        ("[2003::1]:5000", 0),
    ] {
        let mut alice = Client::alice(&world, 1);
        alice.from.client = ClientAddr::new(address.parse().expect("an address"));
        let key = &world.server.config.challenger.nonce_key;
        alice.nonce = key.mint(world.now().tick(), &alice.from).0.to_vec();
        assert_eq!(alice.allocate(&mut world).code, code, "{address}");
        let after = if code == 0 { 0 } else { 437 };
        assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.8:53").code, after, "{address}");
    }
    assert_eq!(world.server.occupancy().allocations, 1);
}
