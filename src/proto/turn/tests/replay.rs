//! Captured requests, sent again.

use super::*;

/// A request of each method for the live allocation of `client`.
fn one_of_each(client: &mut Client) -> [Vec<u8>; 3] {
    let to = peer("8.8.8.8:53");
    [
        client.request(Method::Refresh, |_| {}),
        client.request(Method::CreatePermission, |writer| {
            writer.peer(to);
        }),
        client.request(Method::ChannelBind, |writer| {
            writer.attribute(attribute::CHANNEL_NUMBER, &channel_value(0x4000)).peer(to);
        }),
    ]
}

fn release(client: &mut Client) -> Vec<u8> {
    client.request(Method::Refresh, |writer| {
        writer.attribute(attribute::LIFETIME, &[0; 4]);
    })
}

/// Alice with an allocation, and the bytes of her Allocate.
fn captured(world: &mut World) -> (Client, Vec<u8>) {
    let mut alice = Client::alice(world, 1);
    let allocate = alice.request(Method::Allocate, udp);
    assert_eq!(told(&world.send(alice.from, &allocate).expect("an answer")).code, 0);
    (alice, allocate)
}

fn dropped(world: &World) -> usize {
    world.events.iter().filter(|event| matches!(event, Event::ReplayDropped)).count()
}

/// Nothing comes of `bytes` but a 438 signed for `client`.
fn is_stale(world: &mut World, client: &Client, bytes: &[u8]) {
    let (opened, changes) = (world.opened.len(), world.changes.len());
    let reply = world.send(client.from, bytes).expect("an answer");
    assert_eq!(client.read(&reply).code, 438);
    assert_eq!((world.opened.len(), world.changes.len()), (opened, changes));
}

#[test]
fn within_forty_seconds_the_same_bytes_come_back_and_after_them_nothing() {
    let mut world = World::new();
    let (mut alice, allocate) = captured(&mut world);
    let mut requests = one_of_each(&mut alice).to_vec();
    let mut answers: Vec<_> = requests.iter().map(|request| world.send(alice.from, request)).collect();
    answers.push(world.send(alice.from, &allocate));
    requests.push(allocate);
    assert!(answers.iter().flatten().all(|answer| told(answer).code == 0));
    world.pass(39);
    let changes = world.changes.len();
    for (request, answer) in requests.iter().zip(&answers) {
        assert_eq!(world.send(alice.from, request), *answer);
    }
    world.pass(1);
    for request in &requests {
        assert_eq!(world.send(alice.from, request), None);
    }
    assert_eq!(dropped(&world), requests.len());
    assert_eq!((world.changes.len(), world.opened.len()), (changes, 1));
    assert_eq!(alice.refresh(&mut world, None).code, 0, "the client itself goes on");
}

#[test]
fn a_kept_answer_is_for_who_knows_the_key_alone() {
    let mut world = World::new();
    let (alice, allocate) = captured(&mut world);
    let mut forged = allocate;
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(told(&world.send(alice.from, &forged).expect("an answer")).code, 401);
    assert_eq!(dropped(&world), 0);
}

#[test]
fn from_another_five_tuple_every_request_is_stale() {
    let mut world = World::new();
    let (mut alice, allocate) = captured(&mut world);
    let mut requests = one_of_each(&mut alice).to_vec();
    requests.extend([allocate, release(&mut alice)]);
    let elsewhere = Client { from: testing::five_tuple(2), ..alice };
    for request in &requests {
        is_stale(&mut world, &elsewhere, request);
    }
    assert_eq!(world.server.occupancy().live, 1);
}

#[test]
fn after_the_nonce_s_life_every_request_is_stale() {
    let mut world = World::with(|config| config.challenger.nonce_lifetime = Duration::from_secs(60));
    let (mut alice, allocate) = captured(&mut world);
    let mut requests = one_of_each(&mut alice).to_vec();
    for request in &requests {
        world.send(alice.from, request);
    }
    requests.extend([allocate, release(&mut alice)]);
    world.pass(60);
    for request in &requests {
        is_stale(&mut world, &alice, request);
    }
    assert_eq!(world.server.occupancy().live, 1);
}

#[test]
fn after_a_release_nothing_captured_makes_an_allocation() {
    let mut world = World::new();
    let (mut alice, allocate) = captured(&mut world);
    let release = release(&mut alice);
    let released = world.send(alice.from, &release).expect("an answer");
    assert_eq!(world.send(alice.from, &release), Some(released), "an honest retransmission is answered");
    let never_sent = alice.request(Method::Allocate, udp);
    is_stale(&mut world, &alice, &never_sent);
    world.pass(40);
    is_stale(&mut world, &alice, &allocate);
    is_stale(&mut world, &alice, &release);
    world.pass(3_600);
    is_stale(&mut world, &alice, &allocate);
    assert_eq!(world.server.occupancy().allocations, 0);
}

#[test]
fn after_an_expiry_nothing_captured_makes_an_allocation() {
    let mut world = World::new();
    let (mut alice, allocate) = captured(&mut world);
    let requests = one_of_each(&mut alice);
    world.pass(600);
    assert_eq!(world.ends(), [EndReason::Expired]);
    is_stale(&mut world, &alice, &allocate);
    for request in &requests {
        is_stale(&mut world, &alice, request);
    }
}

#[test]
fn after_a_kill_nothing_captured_makes_an_allocation() {
    let mut world = World::new();
    let (mut alice, allocate) = captured(&mut world);
    let unsent = alice.request(Method::Allocate, udp);
    world.input(Input::Command(Command::EndAll));
    world.pass(41);
    assert_eq!(world.ends(), [EndReason::Shutdown]);
    is_stale(&mut world, &alice, &allocate);
    is_stale(&mut world, &alice, &unsent);
}

#[test]
fn after_a_release_while_the_socket_was_being_opened_nothing_captured_makes_an_allocation() {
    let mut world = World::new();
    world.opens = Opens::Silent;
    let mut alice = Client::alice(&world, 1);
    let allocate = alice.request(Method::Allocate, udp);
    world.send(alice.from, &allocate);
    let release = release(&mut alice);
    world.send(alice.from, &release);
    let relay = world.server.allocations.of(&alice.from).expect("it is opening").relay;
    world.input(Input::RelayFailed { relay, why: OpenFailure::PortTaken });
    world.opens = Opens::Always;
    world.pass(41);
    is_stale(&mut world, &alice, &allocate);
}

#[test]
fn an_allocate_that_failed_cannot_be_sent_again_when_the_port_is_free() {
    let mut world = World::new();
    world.opens = Opens::Never(OpenFailure::Other);
    let mut alice = Client::alice(&world, 1);
    let allocate = alice.request(Method::Allocate, udp);
    assert_eq!(told(&world.send(alice.from, &allocate).expect("an answer")).code, 500);
    world.opens = Opens::Always;
    world.pass(41);
    is_stale(&mut world, &alice, &allocate);
}

#[test]
fn whoever_allocates_again_at_once_pays_one_round_trip() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    assert_eq!(alice.allocate(&mut world).code, 0);
    assert_eq!(alice.refresh(&mut world, Some(0)).code, 0);
    let again = alice.request(Method::Allocate, udp);
    let reply = world.send(alice.from, &again).expect("an answer");
    assert_eq!(alice.read(&reply).code, 438);
    alice.take_nonce(&reply);
    assert_eq!(alice.allocate(&mut world).code, 0, "in the same millisecond");
    assert_eq!(world.opened.len(), 2);
}

#[test]
fn whoever_begins_anew_without_a_nonce_pays_the_usual_round_trip() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    alice.refresh(&mut world, Some(0));
    let mut buffer = [0; 256];
    let mut writer = MessageWriter::request(&mut buffer, Method::Allocate, TransactionId([7; 16]));
    udp(&mut writer);
    let len = writer.finish().expect("room");
    buffer[4..8].copy_from_slice(&0x2112_A442_u32.to_be_bytes());
    let reply = world.send(alice.from, &buffer[..len]).expect("an answer");
    assert_eq!(told(&reply).code, 401);
    alice.take_nonce(&reply);
    assert_eq!(alice.allocate(&mut world).code, 0);
}

#[test]
fn even_a_client_that_allocates_without_end_is_let_in_when_the_clock_has_caught_up() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let mut rounds = 0;
    while alice.allocate(&mut world).code == 0 {
        alice.refresh(&mut world, Some(0));
        alice.renew(&mut world);
        rounds += 1;
    }
    assert_eq!(rounds, 1_001, "a millisecond of the nonces' second each, with the clock at a stand");
    world.pass(1);
    alice.renew(&mut world);
    assert_eq!(alice.allocate(&mut world).code, 0);
}

#[test]
fn one_nonce_serves_a_bounded_number_of_requests_and_a_new_one_goes_on() {
    let mut world = World::new();
    let (mut alice, _) = captured(&mut world);
    for _ in 1..limits::TRANSACTIONS_PER_NONCE_MAX {
        assert_eq!(alice.refresh(&mut world, None).code, 0);
    }
    let old = alice.clone();
    alice.renew(&mut world);
    for _ in 0..limits::TRANSACTIONS_PER_NONCE_MAX {
        assert_eq!(alice.refresh(&mut world, None).code, 0, "in the same millisecond");
    }
    let unsent = Client { transactions: 9_000, ..old }.request(Method::Refresh, |_| {});
    is_stale(&mut world, &alice, &unsent);
    alice.renew(&mut world);
    assert_eq!(alice.refresh(&mut world, None).code, 0);
}

#[test]
fn a_newer_nonce_ends_the_older_ones() {
    let mut world = World::new();
    let (mut alice, _) = captured(&mut world);
    let unsent = alice.request(Method::Refresh, |_| {});
    world.pass(5);
    alice.nonce = world.server.config.challenger.nonce_key.mint(world.now().tick(), &alice.from).0.to_vec();
    assert_eq!(alice.refresh(&mut world, None).code, 0);
    is_stale(&mut world, &alice, &unsent);
}

#[test]
fn another_user_on_the_five_tuple_neither_fills_the_list_nor_ends_the_nonce() {
    let mut world = World::new();
    let (mut alice, _) = captured(&mut world);
    world.pass(1);
    let nonce = world.server.config.challenger.nonce_key.mint(world.now().tick(), &alice.from).0.to_vec();
    let mut bob = Client { from: alice.from, nonce, ..Client::named(&world, 9, "bob", "password") };
    for _ in 0..=limits::TRANSACTIONS_PER_NONCE_MAX {
        assert_eq!(bob.refresh(&mut world, None).code, 441);
    }
    for _ in 1..limits::TRANSACTIONS_PER_NONCE_MAX {
        assert_eq!(alice.refresh(&mut world, None).code, 0);
    }
    let mut bob = Client { nonce: alice.nonce.clone(), ..bob };
    assert_eq!(
        bob.refresh(&mut world, None).code,
        441,
        "whether there is room in her list is not his affair"
    );
}

#[test]
fn a_retransmission_that_waits_for_the_worker_is_no_replay() {
    let mut world = World::new();
    world.opens = Opens::Silent;
    let mut alice = Client::alice(&world, 1);
    let allocate = alice.request(Method::Allocate, udp);
    let release = release(&mut alice);
    for request in [&allocate, &allocate, &release, &release] {
        assert_eq!(world.send(alice.from, request), None);
    }
    let allocation = world.server.allocations.of(&alice.from).expect("it is opening");
    let (relay, bound) =
        (allocation.relay, allocation.legs.iter().next().expect("a leg").bind(&world.server.config.relays));
    world.hold_closes = true;
    world.input(Input::RelayOpened { relay, bound });
    assert_eq!(world.send(alice.from, &release), None);
    assert_eq!(dropped(&world), 0);
    world.input(Input::RelayClosed { worker: WorkerId(0), relay, counters: Counters::default() });
    assert_eq!(world.send(alice.from, &release).map(|reply| told(&reply).lifetime), Some(Some(0)));
}

#[test]
fn what_is_remembered_of_the_dead_vanishes_with_the_nonces_that_it_is_for() {
    let mut world = World::new();
    for number in 1..=3 {
        let mut client = Client::alice(&world, number);
        client.allocate(&mut world);
        client.refresh(&mut world, Some(0));
    }
    assert_eq!(world.server.occupancy().five_tuples_dead, 3);
    world.pass(3_600);
    let mut late = Client::alice(&world, 4);
    late.allocate(&mut world);
    late.refresh(&mut world, Some(0));
    assert_eq!(world.server.occupancy().five_tuples_dead, 1);
}
