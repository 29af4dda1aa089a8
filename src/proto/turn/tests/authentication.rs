//! Who is let in, and what becomes of a credential that expires.

use super::*;
use crate::proto::auth::credential::mint;
use crate::proto::binding::Endpoint;
use crate::proto::binding::Quartet;

// proves rfc8489:6.3.1-3, rfc8489:16.1.2-1
// proves rfc8656:5-2, rfc8656:5-9, rfc8656:7.2-2
#[test]
fn without_credentials_there_is_a_challenge_and_no_state() {
    let mut world = World::new();
    let mut buffer = [0; 256];
    let mut writer = MessageWriter::request(&mut buffer, Method::Allocate, transaction(1));
    udp(&mut writer);
    let len = writer.finish().expect("room");
    let reply = world.send(testing::five_tuple(1), &buffer[..len]).expect("an answer");
    let answer = decode_response(&reply).expect("a message");
    assert_eq!(answer.error_code, Some(401));
    assert_eq!(answer.realm, Some(REALM.as_bytes()));
    assert!(answer.nonce.is_some_and(|nonce| nonce.starts_with(b"obMatJos2")));
    assert!(answer.password_algorithms.is_some());
    assert_eq!(answer.software, None, "a stranger does not learn the product");
    let now = world.server.occupancy();
    let free =
        Occupancy { ports: now.ports.clone(), ports_tcp: now.ports_tcp.clone(), ..Occupancy::default() };
    assert_eq!(now, free);
}

// proves rfc8656:7.2-2, rfc8656:7.2-3
#[test]
fn a_wrong_password_and_an_unknown_user_get_answers_of_one_shape() {
    let mut world = World::new();
    let wrong = Client::named(&world, 1, "alice", "wrong").request(Method::Allocate, udp);
    let unknown = Client::named(&world, 2, "mallo", "password").request(Method::Allocate, udp);
    let wrong = world.send(testing::five_tuple(1), &wrong).expect("an answer");
    let unknown = world.send(testing::five_tuple(2), &unknown).expect("an answer");
    assert_eq!(told(&wrong).code, 401);
    assert_eq!(told(&unknown).code, 401);
    assert_eq!(wrong.len(), unknown.len());
    assert!(world.opened.is_empty());
}

// proves rfc8656:5-8
#[test]
fn a_nonce_that_has_grown_old_is_stale_for_every_method_and_the_client_carries_on() {
    let mut world = World::with(|config| config.challenger.nonce_lifetime = Duration::from_secs(60));
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    alice.permit(&mut world, &["8.8.8.8:0"]);
    world.pass(61);
    assert_eq!(alice.refresh(&mut world, None).code, 438);
    assert_eq!(alice.permit(&mut world, &["8.8.8.8:0"]).code, 438);
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.8:53").code, 438);
    let request = alice.request(Method::Refresh, |_| {});
    let reply = world.send(alice.from, &request).expect("an answer");
    alice.nonce = decode_response(&reply).expect("a message").nonce.expect("a new nonce").to_vec();
    assert_eq!(alice.refresh(&mut world, None).code, 0);
}

// proves rfc8656:5-10
#[test]
fn another_user_on_the_allocation_s_five_tuple_has_wrong_credentials() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    let mut bob = Client {
        from: alice.from,
        nonce: alice.nonce.clone(),
        ..Client::named(&world, 9, "bob", "password")
    };
    assert_eq!(bob.refresh(&mut world, None).code, 441);
    assert_eq!(bob.refresh(&mut world, Some(0)).code, 441);
    assert_eq!(bob.permit(&mut world, &["8.8.8.8:0"]).code, 441);
    assert_eq!(bob.bind(&mut world, 0x4000, "8.8.8.8:53").code, 441);
    assert_eq!(world.server.occupancy().live, 1);
}

#[test]
fn a_time_limited_name_works_until_it_expires_and_its_call_goes_on() {
    let mut world = World::new();
    let expires = world.now().unix + 3_600;
    let (name, password) = mint(&Secret::new(SECRET), "carol", expires);
    let mut carol = Client::named(&world, 1, &name, &password);
    assert_eq!(carol.allocate(&mut world).code, 0);
    for _ in 0..8 {
        world.pass(550);
        carol.nonce =
            world.server.config.challenger.nonce_key.mint(world.now().tick(), &carol.from).0.to_vec();
        assert_eq!(carol.refresh(&mut world, Some(600)).code, 0);
    }
    let mut late = Client::named(&world, 2, &name, &password);
    let request = late.request(Method::Allocate, udp);
    assert_eq!(told(&world.send(late.from, &request).expect("an answer")).code, 401);
    assert_eq!(world.server.occupancy().live, 1);
}

#[test]
fn a_session_has_an_end_even_if_it_is_refreshed() {
    let mut world = World::with(|config| config.session_lifetime_max = Duration::from_secs(300));
    let (name, password) = mint(&Secret::new(SECRET), "carol", world.now().unix + 300);
    let mut carol = Client::named(&world, 1, &name, &password);
    carol.allocate(&mut world);
    world.pass(590);
    assert_eq!(carol.refresh(&mut world, None).code, 0);
    world.pass(11);
    assert_eq!(carol.refresh(&mut world, None).code, 401);
    assert_eq!(carol.permit(&mut world, &["8.8.8.8:0"]).code, 401);
}

#[test]
fn a_step_of_the_wall_clock_changes_no_live_allocation() {
    let mut world = World::new();
    let (name, password) = mint(&Secret::new(SECRET), "carol", world.now().unix + 3_600);
    let mut carol = Client::named(&world, 1, &name, &password);
    carol.allocate(&mut world);
    for step in [86_400 * 2, -86_400 * 4] {
        world.unix = world.unix.checked_add_signed(step).expect("a date");
        world.pass(10);
        assert_eq!(carol.refresh(&mut world, None).code, 0);
        assert_eq!(carol.permit(&mut world, &["8.8.8.8:0"]).code, 0);
    }
}

#[test]
fn binding_needs_no_credentials_even_from_a_client_with_an_allocation() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    let mut buffer = [0; 64];
    let len = MessageWriter::request(&mut buffer, Method::Binding, transaction(3)).finish().expect("room");
    let reply = world.send(alice.from, &buffer[..len]).expect("an answer");
    assert_eq!(told(&reply).mapped, Some(alice.from.client.socket()));
    assert_eq!(reply.len(), 32);
}

#[test]
fn a_client_with_an_allocation_may_discover_too() {
    let far: SocketAddr = "203.0.113.8:3479".parse().expect("a literal");
    let near = testing::five_tuple(1).server.socket();
    let end = |bind| Endpoint { bind, external: bind };
    let mut world = World::with(|config| {
        config.challenger.discovery = Discovery::new(Quartet::new(end(near), end(far)));
    });
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    let mut buffer = [0; 64];
    let len = MessageWriter::request(&mut buffer, Method::Binding, transaction(3))
        .attribute(attribute::CHANGE_REQUEST, &[0, 0, 0, 6])
        .finish()
        .expect("room");
    assert_eq!(world.send(alice.from, &buffer[..len]), None, "nothing from where it asked");
    let [(to, reply)] = &world.replies[..] else { panic!("one answer") };
    assert_eq!((to.client, to.server.socket()), (alice.from.client, far));
    assert_eq!(told(reply).mapped, Some(alice.from.client.socket()));
}

// proves rfc5780:7-1
#[test]
fn the_attributes_of_discovery_mean_nothing_outside_binding() {
    let far =
        Endpoint { bind: peer("203.0.113.8:3479").socket(), external: peer("203.0.113.8:3479").socket() };
    let near = testing::five_tuple(1).server.socket();
    let near = Endpoint { bind: near, external: near };
    let mut world = World::with(|config| {
        config.challenger.discovery = Discovery::new(Quartet::new(near, far));
    });
    let mut alice = Client::alice(&world, 1);
    for (kind, value) in [
        (attribute::CHANGE_REQUEST, &[0, 0, 0, 6][..]),
        (attribute::RESPONSE_PORT, &[0, 9, 0, 0]),
        (attribute::PADDING, &[0; 8]),
    ] {
        let request = alice.request(Method::Allocate, |writer| {
            udp(writer);
            writer.attribute(kind, value);
        });
        let reply = world.send(alice.from, &request).expect("an answer, where the request came from");
        assert_eq!(told(&reply).code, 420, "{kind:#06x}");
        let named = decode_response(&reply).expect("a message").unknown_attributes;
        assert_eq!(named.as_slice(), [kind]);
    }
}

// proves rfc8656:5-1, rfc8656:12-2
#[test]
fn what_is_no_request_and_what_has_an_unknown_method_is_discarded() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let unknown = alice.request(Method::Unknown(0x0D), |_| {});
    assert_eq!(world.send(alice.from, &unknown), None);
    assert_eq!(world.send(alice.from, &[0; 20]), None);
    assert_eq!(world.send(alice.from, &[]), None);
}

fn transaction(number: u8) -> TransactionId {
    let mut id = [number; 16];
    id[..4].copy_from_slice(&0x2112_A442_u32.to_be_bytes());
    TransactionId(id)
}

// proves rfc8656:5-12
#[test]
fn the_product_is_told_to_whoever_proved_a_credential_and_in_allocate_and_refresh_alone() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let mut told = |method, right: bool| {
        let request = alice.request(method, |writer| {
            udp(writer);
            if right {
                writer.peer(peer("8.8.8.8:53")).attribute(attribute::CHANNEL_NUMBER, &channel_value(0x4000));
            } else {
                writer.attribute(0x7F01, &[]);
            }
        });
        let reply = world.send(alice.from, &request).expect("an answer");
        let answer = decode_response(&reply).expect("a message");
        assert_eq!(answer.success, right, "{method:?}");
        answer.software.is_some()
    };
    for (method, expected) in [
        (Method::Allocate, true),
        (Method::Refresh, true),
        (Method::CreatePermission, false),
        (Method::ChannelBind, false),
    ] {
        assert_eq!(told(method, true), expected, "{method:?}");
        assert_eq!(told(method, false), expected, "{method:?}");
    }
}
