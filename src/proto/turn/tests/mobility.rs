//! RFC 8016: an allocation that goes along when its client moves, and everybody else who would like to have it.

use super::*;
use crate::proto::auth::ticket::Tickets;

fn world() -> World {
    World::with(|config| config.mobility = true)
}

/// Alice with an allocation, and her ticket.
fn mobile(world: &mut World) -> (Client, Vec<u8>) {
    let mut alice = Client::alice(world, 1);
    let told = alice.ask(world, Method::Allocate, |writer| with_ticket(writer, b"")).expect("an answer");
    assert_eq!(told.code, 0);
    (alice, told.ticket.expect("a ticket was asked for"))
}

fn with_ticket(writer: &mut MessageWriter<'_>, ticket: &[u8]) {
    udp(writer);
    writer.attribute(attribute::MOBILITY_TICKET, ticket);
}

impl Client {
    fn show(&mut self, world: &mut World, ticket: &[u8], lifetime: Option<u32>) -> Told {
        self.try_show(world, ticket, lifetime).expect("an answer")
    }

    /// The answer to a Refresh under the nonce that comes with a 438: the one before is dead.
    fn refresh_anew(&mut self, world: &mut World) -> u16 {
        self.renew(world);
        self.refresh(world, None).code
    }

    fn try_show(&mut self, world: &mut World, ticket: &[u8], lifetime: Option<u32>) -> Option<Told> {
        self.ask(world, Method::Refresh, |writer| {
            writer.attribute(attribute::MOBILITY_TICKET, ticket);
            if let Some(seconds) = lifetime {
                writer.attribute(attribute::LIFETIME, &seconds.to_be_bytes());
            }
        })
    }
}

impl World {
    fn arrive(&mut self, client: &Client) {
        self.input(Input::ClientArrived { from: client.from });
    }

    fn allocations(&self) -> usize {
        self.server.occupancy().allocations
    }
}

// proves rfc8016:3.1.2-1, rfc8016:3.1.2-2, rfc8016:3.1.2-3, rfc8016:3.4-1
#[test]
fn without_the_attribute_there_is_no_ticket_and_where_mobility_is_off_there_is_405() {
    let mut open = world();
    assert_eq!(Client::alice(&open, 1).allocate(&mut open).ticket, None);
    let (mut alice, ticket) = mobile(&mut world());
    let mut off = World::new();
    let mut bob = Client::named(&off, 2, "bob", "password");
    let told = bob.ask(&mut off, Method::Allocate, |writer| with_ticket(writer, b"")).expect("an answer");
    assert_eq!((told.code, off.allocations()), (405, 0));
    let told = bob.ask(&mut off, Method::Allocate, |writer| with_ticket(writer, b"x")).expect("an answer");
    assert_eq!((told.code, off.allocations()), (400, 0));
    assert_eq!(alice.show(&mut off, &ticket, None).code, 405);
}

// proves rfc8016:3.1.2-2, rfc8016:3.2.2-4
#[test]
fn an_allocate_that_brings_a_ticket_and_a_refresh_that_brings_none_get_400() {
    let mut world = world();
    let mut alice = Client::alice(&world, 1);
    let told =
        alice.ask(&mut world, Method::Allocate, |writer| with_ticket(writer, b"x")).expect("an answer");
    assert_eq!((told.code, world.allocations()), (400, 0));
    assert_eq!(alice.show(&mut world, b"", None).code, 400);
}

// proves rfc8016:3-1, rfc8016:3.2.2-2, rfc8016:3.2.2-7, rfc8016:3.2.2-8, rfc8016:3.2.2-12
#[test]
fn both_five_tuples_are_the_clients_until_data_comes_from_the_new_one() {
    let mut world = world();
    let (mut old, ticket) = mobile(&mut world);
    let mut new = Client::alice(&world, 2);
    world.changes.clear();
    let told = new.show(&mut world, &ticket, Some(1_200));
    assert_eq!((told.code, told.lifetime), (0, Some(1_200)));
    assert!(told.ticket.is_some_and(|newer| newer != ticket), "a ticket is good once");
    let relay = world.opened[0].0;
    assert!(world.changes.contains(&TableChange::Await { relay, next: new.from }));
    assert_eq!(old.refresh(&mut world, None).code, 0);
    assert_eq!(old.permit(&mut world, &["192.0.43.8:1"]).code, 0);
    assert!(!world.changes.contains(&TableChange::Settle { relay }));

    world.arrive(&new);
    assert!(world.changes.contains(&TableChange::Settle { relay }));
    assert_eq!((old.refresh_anew(&mut world), new.refresh(&mut world, None).code), (437, 0));
    assert_eq!((world.allocations(), world.ends()), (1, vec![]));
    world.pass(3_600);
    assert_eq!(world.ends(), [EndReason::Expired]);
    assert_eq!(world.allocations(), 0);
}

// proves rfc8016:3.2.2-9, rfc8016:3.2.2-10
#[test]
fn a_client_that_only_listens_arrives_with_its_next_request() {
    let mut world = world();
    let (mut old, ticket) = mobile(&mut world);
    let mut new = Client::alice(&world, 2);
    new.show(&mut world, &ticket, None);
    assert_eq!(new.permit(&mut world, &["10.0.0.1:1"]).code, 403);
    assert_eq!(old.refresh(&mut world, None).code, 0, "a request that is refused shows nothing");
    assert_eq!(new.permit(&mut world, &["192.0.43.8:1"]).code, 0);
    assert_eq!((old.refresh_anew(&mut world), new.refresh(&mut world, None).code), (437, 0));
    assert!(world.changes.contains(&TableChange::Settle { relay: world.opened[0].0 }));
}

// proves rfc8016:3.2.2-3, rfc8016:3.2.2-13
#[test]
fn a_refresh_that_comes_again_gets_the_same_answer_and_a_used_ticket_none() {
    let mut world = world();
    let (_, ticket) = mobile(&mut world);
    let mut new = Client::alice(&world, 2);
    let request = new.request(Method::Refresh, |writer| {
        writer.attribute(attribute::MOBILITY_TICKET, &ticket);
    });
    let first = world.send(new.from, &request);
    assert!(first.is_some());
    assert_eq!(world.send(new.from, &request), first);
    assert_eq!(new.show(&mut world, &ticket, None).code, 437);
    assert_eq!(Client::alice(&world, 3).show(&mut world, &ticket, None).code, 437);
}

// proves rfc8016:3.2.2-6, rfc8016:5-3, rfc8016:5-4
#[test]
fn a_stolen_ticket_is_worth_nothing_without_the_users_password() {
    let mut world = world();
    let (mut alice, ticket) = mobile(&mut world);
    let mut bob = Client::named(&world, 2, "bob", "password");
    assert_eq!(bob.show(&mut world, &ticket, None).code, 441);
    let mut guessing = Client::named(&world, 3, "alice", "guessed");
    let request = guessing.request(Method::Refresh, |writer| {
        writer.attribute(attribute::MOBILITY_TICKET, &ticket);
    });
    let reply = world.send(guessing.from, &request).expect("an answer");
    assert_eq!(told(&reply).code, 401);
    // Not even to end it.
    assert_eq!(bob.show(&mut world, &ticket, Some(0)).code, 441);
    assert_eq!((world.allocations(), alice.refresh(&mut world, None).code), (1, 0));
    assert_eq!(Client::alice(&world, 4).show(&mut world, &ticket, None).code, 0, "it was not used up");
}

// proves rfc8016:3.2.2-4, rfc8016:5-1
#[test]
fn a_ticket_that_we_did_not_write_gets_400() {
    let mut world = world();
    let (mut alice, ticket) = mobile(&mut world);
    let mut other = World::with(|config| config.mobility = true);
    other.server.tickets = Tickets::new(&mut Dice::new(99));
    let (_, of_another_process) = mobile(&mut other);
    let mut new = Client::alice(&world, 2);
    let mut flipped = ticket.clone();
    flipped[20] ^= 1;
    for bad in [&of_another_process[..], &flipped, &ticket[1..], b"x"] {
        assert_eq!(new.show(&mut world, bad, None).code, 400);
    }
    assert_eq!(alice.refresh(&mut world, None).code, 0);
}

// proves rfc8016:3.2.2-3
#[test]
fn the_ticket_of_an_allocation_that_is_over_does_not_open_its_successor() {
    let mut world = world();
    let (mut alice, ticket) = mobile(&mut world);
    world.hold_closes = true;
    let _ = alice.ask(&mut world, Method::Refresh, |writer| {
        writer.attribute(attribute::LIFETIME, &[0; 4]);
    });
    assert_eq!(Client::alice(&world, 2).show(&mut world, &ticket, None).code, 437, "draining");
    let relay = world.closed[0];
    world.hold_closes = false;
    world.input(Input::RelayClosed { worker: WorkerId(0), relay, counters: Counters::default() });
    let mut again = Client::alice(&world, 3);
    assert_eq!(again.ask(&mut world, Method::Allocate, |w| with_ticket(w, b"")).expect("an answer").code, 0);
    assert_eq!(world.opened[1].0.index, relay.index, "the same slot");
    assert_eq!(Client::alice(&world, 4).show(&mut world, &ticket, None).code, 437);
}

#[test]
fn an_allocation_that_is_being_opened_cannot_be_moved() {
    let mut world = world();
    world.opens = Opens::Silent;
    let mut alice = Client::alice(&world, 1);
    assert!(alice.ask(&mut world, Method::Allocate, |writer| with_ticket(writer, b"")).is_none());
    let (ticket, _) = world.server.tickets.write(0, &Username::new(b"alice"), &mut Dice::new(5));
    assert_eq!(Client::alice(&world, 2).show(&mut world, &ticket.0, None).code, 437);
}

// proves rfc8016:3.2.2-5
#[test]
fn a_five_tuple_with_an_allocation_of_its_own_takes_no_other() {
    let mut world = world();
    let (_, ticket) = mobile(&mut world);
    let mut second = Client::alice(&world, 2);
    second.allocate(&mut world);
    assert_eq!(second.show(&mut world, &ticket, None).code, 437);
    // Where it is already, the ticket only buys another.
    let mut first = Client::alice(&world, 1);
    first.transactions += 50;
    let told = first.show(&mut world, &ticket, None);
    assert_eq!((told.code, told.ticket.is_some()), (0, true));
    assert_eq!(world.allocations(), 2);
}

#[test]
fn a_new_five_tuple_cannot_allocate_while_it_is_awaited() {
    let mut world = world();
    let (_, ticket) = mobile(&mut world);
    let mut new = Client::alice(&world, 2);
    new.show(&mut world, &ticket, None);
    assert_eq!(new.allocate(&mut world).code, 437);
}

#[test]
fn whoever_moves_on_before_arriving_is_awaited_at_one_place_only() {
    let mut world = world();
    let (mut home, mut ticket) = mobile(&mut world);
    for number in 2..50 {
        let mut next = Client::alice(&world, number);
        ticket = next.show(&mut world, &ticket, None).ticket.expect("a ticket");
    }
    assert_eq!(world.allocations(), 1);
    let mut passed = Client::alice(&world, 48);
    passed.transactions += 50;
    assert_eq!(passed.refresh_anew(&mut world), 437);
    assert_eq!(home.refresh(&mut world, None).code, 0);
    world.arrive(&passed);
    assert_eq!(home.refresh(&mut world, None).code, 0, "nobody is awaited there");
}

#[test]
fn moving_neither_gains_nor_costs_an_allocation_of_the_quota() {
    let mut world = World::with(|config| {
        config.mobility = true;
        config.allocations_per_user = 2;
        config.allocations_per_address = 2;
    });
    let (_, mut ticket) = mobile(&mut world);
    assert_eq!(Client::alice(&world, 90).allocate(&mut world).code, 0);
    for number in 2..6 {
        let mut next = Client::alice(&world, number);
        let told = next.show(&mut world, &ticket, None);
        assert_eq!(told.code, 0, "the full quota does not hinder a move");
        ticket = told.ticket.expect("a ticket");
        assert_eq!(Client::alice(&world, 91).allocate(&mut world).code, 486);
        world.arrive(&next);
        assert_eq!(Client::alice(&world, 92 + number).allocate(&mut world).code, 486);
    }
    world.pass(700);
    assert_eq!(world.allocations(), 0);
    assert_eq!((world.server.per_user.len(), world.server.per_address.len()), (0, 0));
}

#[test]
fn an_address_whose_quota_is_used_up_takes_in_nobody_who_moves() {
    let mut world = World::with(|config| {
        config.mobility = true;
        config.allocations_per_address = 1;
    });
    let (mut alice, ticket) = mobile(&mut world);
    let elsewhere = |client: &mut Client, last: u8| {
        client.from.client =
            crate::proto::types::ClientAddr::new(SocketAddr::from(([198, 51, 100, last], 9_000)));
    };
    let mut bob = Client::named(&world, 2, "bob", "password");
    elsewhere(&mut bob, 9);
    bob.nonce = world.server.config.challenger.nonce_key.mint(world.now().tick(), &bob.from).0.to_vec();
    assert_eq!(bob.allocate(&mut world).code, 0);
    let mut there = Client::alice(&world, 3);
    elsewhere(&mut there, 9);
    there.from.client = crate::proto::types::ClientAddr::new(SocketAddr::from(([198, 51, 100, 9], 9_001)));
    there.nonce = world.server.config.challenger.nonce_key.mint(world.now().tick(), &there.from).0.to_vec();
    assert_eq!(there.show(&mut world, &ticket, None).code, 486);
    assert_eq!(bob.refresh(&mut world, Some(0)).code, 0);
    let ticket = there.show(&mut world, &ticket, None).ticket.expect("there is room");
    let mut carol = Client::named(&world, 4, "bob", "password");
    elsewhere(&mut carol, 9);
    carol.nonce = world.server.config.challenger.nonce_key.mint(world.now().tick(), &carol.from).0.to_vec();
    carol.renew(&mut world);
    assert_eq!(carol.allocate(&mut world).code, 486, "where a client is awaited it counts too");
    world.arrive(&there);
    alice.renew(&mut world);
    assert_eq!(alice.allocate(&mut world).code, 0, "its old address is free");
    assert_eq!(there.show(&mut world, &ticket, Some(0)).code, 0);
    assert_eq!(carol.allocate(&mut world).code, 0);
}

#[test]
fn an_address_where_a_client_is_awaited_no_longer_has_its_quota_back() {
    let mut world = World::with(|config| {
        config.mobility = true;
        config.allocations_per_address = 1;
    });
    let (_, mut ticket) = mobile(&mut world);
    let at = |world: &World, name: &str, last: u8, port: u16| {
        let mut client = Client::named(world, port, name, "password");
        let address = SocketAddr::from(([198, 51, 100, last], port));
        client.from.client = crate::proto::types::ClientAddr::new(address);
        let nonce = world.server.config.challenger.nonce_key.mint(world.now().tick(), &client.from).0;
        client.nonce = nonce.to_vec();
        client
    };
    for last in [9, 10] {
        let told = at(&world, "alice", last, 1).show(&mut world, &ticket, None);
        ticket = told.ticket.expect("a ticket");
    }
    assert_eq!(at(&world, "bob", 10, 2).allocate(&mut world).code, 486);
    assert_eq!(at(&world, "bob", 9, 2).allocate(&mut world).code, 0);
}

#[test]
fn lifetime_0_with_a_ticket_ends_the_allocation_from_afar() {
    let mut world = world();
    let (_, ticket) = mobile(&mut world);
    let told = Client::alice(&world, 2).show(&mut world, &ticket, Some(0));
    assert_eq!((told.code, told.lifetime, told.ticket), (0, Some(0), None));
    assert_eq!((world.allocations(), world.ends()), (0, vec![EndReason::Released]));
}

#[test]
fn a_session_whose_credential_expired_moves_by_its_stored_key_and_not_for_ever() {
    let mut world = World::with(|config| {
        config.mobility = true;
        config.session_lifetime_max = Duration::from_secs(1_000);
    });
    let expiry = world.now().unix + 10;
    let (name, password) = crate::proto::auth::credential::mint(&Secret::new(SECRET), "carol", expiry);
    let client = |world: &World, number| Client::named(world, number, &name, &password);
    let mut carol = client(&world, 1);
    let told = carol.ask(&mut world, Method::Allocate, |w| with_ticket(w, b"")).expect("an answer");
    let ticket = told.ticket.expect("a ticket");
    world.pass(500);
    let mut elsewhere = client(&world, 4);
    let request = elsewhere.request(Method::CreatePermission, |writer| {
        writer.attribute(attribute::MOBILITY_TICKET, &ticket);
    });
    let reply = world.send(elsewhere.from, &request).expect("an answer");
    assert_eq!(super::told(&reply).code, 401, "the key is lent to a Refresh alone");
    let told = client(&world, 2).show(&mut world, &ticket, Some(3_600));
    assert_eq!(told.code, 0);
    world.pass(600);
    assert_eq!(client(&world, 3).show(&mut world, &told.ticket.expect("a ticket"), None).code, 401);
}

#[test]
fn with_the_move_every_nonce_of_the_old_five_tuple_dies_and_nothing_captured_there_is_carried_out_again() {
    let mut world = world();
    let mut old = Client::alice(&world, 1);
    let allocate = old.request(Method::Allocate, |writer| with_ticket(writer, b""));
    let first = old.read(&world.send(old.from, &allocate).expect("an answer"));
    let mut new = Client::alice(&world, 2);
    assert_eq!(new.show(&mut world, &first.ticket.expect("a ticket"), None).code, 0);
    let spare = old.clone();
    assert_eq!(old.refresh(&mut world, None).code, 0, "its nonce lives until the client is seen elsewhere");
    world.arrive(&new);
    // Later than any answer is kept.
    world.pass(60);
    let told = old.read(&world.send(old.from, &allocate).expect("an answer"));
    assert_eq!((told.code, world.allocations()), (438, 1), "the Allocate is not carried out again");
    let mut spare = spare;
    spare.transactions += 50;
    assert_eq!(spare.allocate(&mut world).code, 438, "nor does the nonce serve a new request");
    old.renew(&mut world);
    assert_eq!(old.allocate(&mut world).code, 0, "a new one does");
    assert_eq!((new.refresh(&mut world, None).code, world.allocations()), (0, 2));
}

// proves rfc8016:3.2.2-12
#[test]
fn where_a_client_was_awaited_in_vain_nonces_die_too() {
    let mut world = world();
    let (_, ticket) = mobile(&mut world);
    let mut passed = Client::alice(&world, 2);
    let ticket = passed.show(&mut world, &ticket, None).ticket.expect("a ticket");
    let told = Client::alice(&world, 3).show(&mut world, &ticket, Some(600));
    assert_eq!(told.code, 0);
    passed.renew(&mut world);
    assert_eq!(passed.refresh(&mut world, None).code, 437);
}

#[test]
fn a_first_nonce_no_newer_than_the_allocations_newest_costs_a_438_and_no_more() {
    for older_by in [0, 5] {
        let mut world = world();
        let (mut old, ticket) = mobile(&mut world);
        world.pass(5);
        let mut new = Client::alice(&world, 2);
        world.pass(older_by);
        old.nonce = world.server.config.challenger.nonce_key.mint(world.now().tick(), &old.from).0.to_vec();
        for _ in 0..limits::TRANSACTIONS_PER_NONCE_MAX {
            assert_eq!(old.refresh(&mut world, None).code, 0);
        }
        assert_eq!(new.show(&mut world, &ticket, None).code, 0, "nobody judged it beside the others");
        world.pass(1);
        new.renew(&mut world);
        assert_eq!(new.refresh(&mut world, None).code, 0);
    }
}

// proves rfc8016:3.2.2-1
#[test]
fn mobility_that_a_reload_turns_off_takes_no_more_moves() {
    let mut world = world();
    let (mut alice, ticket) = mobile(&mut world);
    reconfigure::reconfigure(&mut world, |to| to.mobility = false);
    assert_eq!(Client::alice(&world, 2).show(&mut world, &ticket, None).code, 405);
    assert_eq!(alice.refresh(&mut world, None).code, 0);
    reconfigure::reconfigure(&mut world, |to| to.mobility = true);
    assert_eq!(Client::alice(&world, 3).show(&mut world, &ticket, None).code, 0);
}

#[test]
fn a_draining_server_lets_live_allocations_move() {
    let mut world = world();
    let (_, ticket) = mobile(&mut world);
    world.input(Input::Command(Command::Drain));
    let mut new = Client::alice(&world, 2);
    assert_eq!(new.show(&mut world, &ticket, None).code, 0);
    world.arrive(&new);
    assert_eq!(new.refresh(&mut world, None).code, 0);
    assert_eq!(Client::alice(&world, 3).allocate(&mut world).code, 508);
}

/// From worker to worker.
mod between_workers {
    use super::*;

    fn moved(world: &mut World) -> (Client, Client, Told) {
        let (old, ticket) = mobile(world);
        let mut new = Client::alice(world, 2);
        world.worker = WorkerId(1);
        let told = new.show(world, &ticket, None);
        assert_eq!(told.code, 0);
        (old, new, told)
    }

    #[test]
    fn the_socket_is_lent_taken_over_and_the_copy_closed_when_the_client_arrives() {
        let mut world = world();
        let (mut old, mut new, _) = moved(&mut world);
        assert_eq!(world.told, [("lend", WorkerId(0)), ("take", WorkerId(1))]);
        world.changes.clear();
        assert_eq!(old.permit(&mut world, &["192.0.43.8:1"]).code, 0);
        assert_eq!(world.changes.len(), 2, "both tables judge packets");
        world.carried = Counters { to_peer_packets: 3, ..Counters::default() };
        world.arrive(&new);
        assert_eq!(world.told[2..], [("close", WorkerId(0))]);
        world.changes.clear();
        assert_eq!(new.permit(&mut world, &["192.0.43.9:1"]).code, 0);
        assert_eq!((world.changes.len(), old.refresh_anew(&mut world)), (1, 437));
        assert_eq!(new.refresh(&mut world, Some(0)).code, 0);
        assert_eq!(world.told[3..], [("close", WorkerId(1))]);
        assert_eq!(world.allocations(), 0);
    }

    #[test]
    fn the_port_is_free_only_when_the_copy_is_closed_too_and_all_counters_count() {
        let mut world = world();
        let (_, mut new, _) = moved(&mut world);
        world.hold_closes = true;
        assert!(
            new.ask(&mut world, Method::Refresh, |w| {
                w.attribute(attribute::LIFETIME, &[0; 4]);
            })
            .is_none()
        );
        assert_eq!(world.told[2..], [("close", WorkerId(0)), ("close", WorkerId(1))]);
        let relay = world.opened[0].0;
        let counters = Counters { to_peer_bytes: 5, ..Counters::default() };
        world.input(Input::RelayClosed { worker: WorkerId(0), relay, counters });
        assert_eq!((world.allocations(), world.server.occupancy().ports[0].used), (1, 1));
        world.input(Input::RelayClosed { worker: WorkerId(1), relay, counters });
        assert_eq!((world.allocations(), world.server.occupancy().ports[0].used), (0, 0));
        let total = world.events.iter().find_map(|event| match event {
            Event::AllocationEnded { counters, .. } => Some(counters.to_peer_bytes),
            _ => None,
        });
        assert_eq!(total, Some(10));
    }

    #[test]
    fn moving_on_to_a_third_worker_and_home_again_leaves_no_copy_behind() {
        let mut world = world();
        let (mut old, _, told) = moved(&mut world);
        let mut third = Client::alice(&world, 3);
        world.worker = WorkerId(2);
        let told = third.show(&mut world, &told.ticket.expect("a ticket"), None);
        assert_eq!(world.told[2..], [("give", WorkerId(1)), ("take", WorkerId(2))]);
        let mut home = Client::alice(&world, 4);
        world.worker = WorkerId(0);
        assert_eq!(home.show(&mut world, &told.ticket.expect("a ticket"), None).code, 0);
        assert_eq!(world.told[4..], [("give", WorkerId(2)), ("take", WorkerId(0))]);
        assert_eq!(old.refresh(&mut world, None).code, 0, "it never moved as far as anybody has seen");
        world.arrive(&home);
        assert_eq!(home.refresh(&mut world, Some(0)).code, 0);
        assert_eq!(world.told[6..], [("close", WorkerId(0))]);
        assert_eq!(world.allocations(), 0);
    }

    #[test]
    fn while_it_is_on_its_way_nobody_is_answered_and_an_end_leaves_nothing() {
        let mut world = world();
        let (mut old, ticket) = mobile(&mut world);
        let mut new = Client::alice(&world, 2);
        (world.worker, world.hold_moves) = (WorkerId(1), true);
        assert_eq!(new.try_show(&mut world, &ticket, None), None);
        assert_eq!(old.ask(&mut world, Method::Refresh, |_| {}), None);
        assert_eq!(new.try_show(&mut world, &ticket, None), None);
        assert_eq!(
            Client::alice(&world, 3).show(&mut world, &ticket, None).code,
            437,
            "it is used up already"
        );
        world.hold_closes = true;
        world.input(Input::Command(Command::EndAll));
        world.pass(1);
        assert_eq!(world.told, [("lend", WorkerId(0)), ("close", WorkerId(0)), ("close", WorkerId(1))]);
        let relay = world.opened[0].0;
        let carried = Counters { to_client_bytes: 7, ..Counters::default() };
        world.input(Input::RelayClosed { worker: WorkerId(0), relay, counters: Counters::default() });
        world.input(Input::RelayDetached { relay, given: Some((carried, true)) });
        assert_eq!(world.told.len(), 3, "nobody takes it over");
        world.input(Input::RelayClosed { worker: WorkerId(1), relay, counters: Counters::default() });
        assert_eq!((world.allocations(), world.ends()), (0, vec![EndReason::Shutdown]));
        assert!(world.events.iter().any(|event| matches!(
            event,
            Event::AllocationEnded { counters, .. } if counters.to_client_bytes == 7
        )));
    }

    #[test]
    fn a_socket_that_is_lost_on_the_way_ends_the_allocation() {
        for lost_at_giver in [true, false] {
            let mut world = world();
            let (_, ticket) = mobile(&mut world);
            let mut new = Client::alice(&world, 2);
            (world.worker, world.hold_moves) = (WorkerId(1), true);
            assert_eq!(new.try_show(&mut world, &ticket, None), None);
            let relay = world.opened[0].0;
            if lost_at_giver {
                world.input(Input::RelayDetached { relay, given: None });
            } else {
                world.input(Input::RelayDetached { relay, given: Some((Counters::default(), false)) });
                world.input(Input::RelayFailed { relay, why: OpenFailure::NoRoom });
            }
            let reply = world.replies.last().expect("an answer").1.clone();
            assert_eq!(new.read(&reply).code, 500);
            assert_eq!((world.allocations(), world.ends()), (0, vec![EndReason::Lost]));
        }
    }

    /// Alice with both relayed addresses, and her ticket.
    fn dual(world: &mut World) -> (Client, Vec<u8>, [RelayId; 2]) {
        let mut alice = Client::alice(world, 1);
        let told = alice.ask(world, Method::Allocate, |writer| {
            with_ticket(writer, b"");
            writer.attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
        });
        let told = told.expect("an answer");
        assert_eq!((told.code, told.additional.is_some()), (0, true));
        (alice, told.ticket.expect("a ticket was asked for"), [world.opened[0].0, world.opened[1].0])
    }

    // proves rfc8016:3.2.2-7, rfc8016:3.2.2-12
    #[test]
    fn both_addresses_of_a_dual_allocation_go_along() {
        let mut world = world();
        let (mut old, ticket, relays) = dual(&mut world);
        let mut new = Client::alice(&world, 2);
        world.worker = WorkerId(1);
        assert_eq!(new.show(&mut world, &ticket, None).code, 0);
        let (lend, take) = (("lend", WorkerId(0)), ("take", WorkerId(1)));
        assert_eq!(world.told, [lend, lend, take, take]);
        assert_eq!(old.refresh(&mut world, None).code, 0);

        world.changes.clear();
        world.arrive(&new);
        for relay in relays {
            assert!(world.changes.contains(&TableChange::Settle { relay }));
        }
        assert_eq!(world.told[4..], [("close", WorkerId(0)); 2]);
        let one_of_each = ["192.0.43.8:1", "[2001:4860::8]:1"];
        world.changes.clear();
        for peer in one_of_each {
            assert_eq!(new.permit(&mut world, &[peer]).code, 0);
        }
        assert_eq!((world.changes.len(), old.refresh_anew(&mut world)), (2, 437));
        // One half is given back, then the other.
        for (family, left) in [(1_u8, 1), (2, 0)] {
            let told = new.ask(&mut world, Method::Refresh, |writer| {
                writer
                    .attribute(attribute::LIFETIME, &[0; 4])
                    .attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
            });
            assert_eq!((told.expect("an answer").code, world.allocations()), (0, left));
        }
        assert_eq!(world.told[6..], [("close", WorkerId(1)); 2]);
        let ports = world.server.occupancy().ports;
        assert!(ports.iter().all(|census| census.used == 0));
    }

    #[test]
    fn data_that_is_quicker_than_the_second_socket_neither_loses_it_nor_is_forgotten() {
        let mut world = world();
        let (mut old, ticket, [first, second]) = dual(&mut world);
        let bound = [world.opened[0].1, world.opened[1].1];
        let mut new = Client::alice(&world, 2);
        (world.worker, world.hold_moves) = (WorkerId(1), true);
        assert_eq!(new.try_show(&mut world, &ticket, None), None);
        let given = Some((Counters::default(), true));
        world.input(Input::RelayDetached { relay: first, given });
        world.input(Input::RelayOpened { relay: first, bound: bound[0] });
        world.changes.clear();
        world.arrive(&new);
        assert!(world.changes.is_empty(), "the other socket has not come along");
        world.input(Input::RelayDetached { relay: second, given });
        world.input(Input::RelayOpened { relay: second, bound: bound[1] });
        for relay in [first, second] {
            assert!(world.changes.contains(&TableChange::Settle { relay }));
        }
        assert_eq!((new.refresh(&mut world, None).code, old.refresh_anew(&mut world)), (0, 437));
        assert_eq!(world.allocations(), 1);
    }

    #[test]
    fn a_connection_that_ends_meanwhile_ends_nothing() {
        for worker in [WorkerId(0), WorkerId(1)] {
            let mut world = world();
            let (old, ticket) = mobile(&mut world);
            let mut new = Client::alice(&world, 2);
            (world.worker, world.hold_moves) = (WorkerId(1), true);
            assert_eq!(new.try_show(&mut world, &ticket, None), None);
            let (relay, bound) = world.opened[0];
            // The new worker does not have the old connection, and says so of a table that it had to make anew.
            for from in [old.from, new.from] {
                world.input(Input::ClientGone { worker, from });
            }
            world.input(Input::RelayDetached { relay, given: Some((Counters::default(), true)) });
            world.input(Input::RelayOpened { relay, bound });
            assert_eq!((world.allocations(), world.ends()), (1, vec![]));
            world.arrive(&new);
            assert_eq!(new.refresh(&mut world, None).code, 0);
        }
    }

    /// The first half of a dual allocation expires while both sockets are on their way; then its worker says what it
    /// has `given`.
    fn half_expires_on_the_way(given: Option<(Counters, bool)>) {
        let mut world = world();
        let (_, ticket, [first, second]) = dual(&mut world);
        let bound = world.opened[1].1;
        let mut new = Client::alice(&world, 2);
        world.pass(595);
        (world.worker, world.hold_moves, world.hold_closes) = (WorkerId(1), true, true);
        let told = new.ask(&mut world, Method::Refresh, |writer| {
            writer
                .attribute(attribute::MOBILITY_TICKET, &ticket)
                .attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
        });
        assert_eq!(told, None);
        world.pass(5);
        let (lend, take) = (("lend", WorkerId(0)), ("take", WorkerId(1)));
        assert_eq!(world.told, [lend, lend, ("close", WorkerId(0)), ("close", WorkerId(1))]);
        world.input(Input::RelayDetached { relay: first, given });
        assert_eq!(world.told.len(), 4, "nobody takes over what is to be closed");
        world.input(Input::RelayDetached { relay: second, given: Some((Counters::default(), true)) });
        assert_eq!(world.told[4..], [take]);
        world.replies.clear();
        world.input(Input::RelayOpened { relay: second, bound });
        assert_eq!((new.read(&world.replies[0].1).code, world.ends().len()), (0, 0));
        for worker in [WorkerId(0), WorkerId(1)] {
            world.input(Input::RelayClosed { worker, relay: first, counters: Counters::default() });
        }
        world.arrive(&new);
        let used: Vec<_> = world.server.occupancy().ports.iter().map(|census| census.used).collect();
        assert_eq!((used, new.refresh(&mut world, None).code), (vec![0, 1], 0));
    }

    #[test]
    fn half_of_a_dual_allocation_that_expires_on_the_way_is_not_taken_over() {
        half_expires_on_the_way(Some((Counters::default(), true)));
    }

    #[test]
    fn half_of_a_dual_allocation_that_expires_on_the_way_may_be_lost_there() {
        half_expires_on_the_way(None);
    }

    #[test]
    fn a_socket_that_arrived_and_is_then_lost_to_a_panic_ends_its_half_before_the_other_has_come() {
        let mut world = world();
        let (_, ticket, [first, second]) = dual(&mut world);
        let bound = [world.opened[0].1, world.opened[1].1];
        let mut new = Client::alice(&world, 2);
        (world.worker, world.hold_moves) = (WorkerId(1), true);
        assert_eq!(new.try_show(&mut world, &ticket, None), None);
        let given = Some((Counters::default(), true));
        world.input(Input::RelayDetached { relay: first, given });
        world.input(Input::RelayOpened { relay: first, bound: bound[0] });
        // What a worker answers that lost a socket with its loop.
        world.input(Input::RelayFailed { relay: first, why: OpenFailure::AddressGone });
        assert_eq!(world.closed, [first, first], "at both workers");
        world.input(Input::RelayDetached { relay: second, given });
        world.replies.clear();
        world.input(Input::RelayOpened { relay: second, bound: bound[1] });
        assert_eq!((new.read(&world.replies[0].1).code, world.closed.len()), (0, 2));
    }

    /// Each leg's table says so in its turn, and the first word settles the whole.
    #[test]
    fn an_arrival_that_is_told_again_settles_the_tables_again_and_moves_nobody() {
        let mut world = world();
        let (_, ticket, relays) = dual(&mut world);
        let mut new = Client::alice(&world, 2);
        world.worker = WorkerId(1);
        assert_eq!(new.show(&mut world, &ticket, None).code, 0);
        world.arrive(&new);
        let moves = |world: &World| {
            world.events.iter().filter(|event| matches!(event, Event::AllocationMoved { .. })).count()
        };
        world.changes.clear();
        assert_eq!(moves(&world), 1);
        world.arrive(&new);
        assert_eq!(world.changes, relays.map(|relay| TableChange::Settle { relay }));
        assert_eq!(moves(&world), 1);
    }

    #[test]
    fn a_move_that_takes_its_time_is_answered_with_what_is_left_of_it() {
        let mut world = world();
        let (_, ticket) = mobile(&mut world);
        let (relay, bound) = world.opened[0];
        let mut new = Client::alice(&world, 2);
        (world.worker, world.hold_moves) = (WorkerId(1), true);
        assert_eq!(new.try_show(&mut world, &ticket, None), None);
        world.pass(9);
        world.input(Input::RelayDetached { relay, given: Some((Counters::default(), true)) });
        world.replies.clear();
        world.input(Input::RelayOpened { relay, bound });
        let told = new.read(&world.replies[0].1);
        assert_eq!((told.code, told.lifetime), (0, Some(591)));
        world.arrive(&new);
        world.pass(591);
        assert_eq!(world.ends(), [EndReason::Expired], "it is over when the client was told it would be");
    }

    #[test]
    fn what_a_new_policy_denies_is_taken_back_after_the_move_and_from_every_table() {
        let mut world = world();
        let (mut old, ticket) = mobile(&mut world);
        let relay = world.opened[0].0;
        let bound = world.opened[0].1;
        assert_eq!(old.permit(&mut world, &["192.0.43.8:1"]).code, 0);
        let mut new = Client::alice(&world, 2);
        (world.worker, world.hold_moves) = (WorkerId(1), true);
        assert_eq!(new.try_show(&mut world, &ticket, None), None);
        reconfigure::reconfigure(&mut world, |to| {
            let nobody =
                PolicyBuilder { default: crate::proto::peers::Unlisted::None, ..PolicyBuilder::default() };
            to.policy = Arc::new(nobody.build());
        });
        world.pass(1);
        let peer = "192.0.43.8".parse().expect("an address");
        let forbid = TableChange::Forbid { relay, peer };
        assert!(!world.changes.contains(&forbid) && world.server.is_reconfiguring(), "nobody would hear it");
        world.input(Input::RelayDetached { relay, given: Some((Counters::default(), true)) });
        world.input(Input::RelayOpened { relay, bound });
        world.pass(1);
        assert_eq!(world.changes.iter().filter(|change| **change == forbid).count(), 2);
        assert!(!world.server.is_reconfiguring());
    }
}

// proves rfc8656:21.4-1, rfc8656:21.4-2
#[test]
fn nobody_moves_to_the_end_of_a_tunnel() {
    let mut world = world();
    let (mut alice, ticket) = mobile(&mut world);
    for address in ["[2001:0:808:808::1]:5000", "[2002:808:808::1]:5000"] {
        let mut afar = Client::alice(&world, 2);
        afar.from.client = crate::proto::types::ClientAddr::new(address.parse().expect("an address"));
        let key = &world.server.config.challenger.nonce_key;
        afar.nonce = key.mint(world.now().tick(), &afar.from).0.to_vec();
        assert_eq!(afar.show(&mut world, &ticket, None).code, 403, "{address}");
    }
    assert_eq!(alice.refresh(&mut world, None).code, 0, "it stays where it is");
    assert_eq!(Client::alice(&world, 3).show(&mut world, &ticket, None).code, 0, "the ticket is still good");
}

// proves rfc8016:3.2.2-13, rfc8016:3.2.2-15
#[test]
fn a_refresh_that_comes_again_is_known_for_thirty_seconds() {
    let mut world = world();
    let (_, ticket) = mobile(&mut world);
    let mut new = Client::alice(&world, 2);
    let request = new.request(Method::Refresh, |writer| {
        writer.attribute(attribute::MOBILITY_TICKET, &ticket);
    });
    let first = world.send(new.from, &request);
    world.pass(30);
    assert_eq!(world.send(new.from, &request), first);
}

// proves rfc8016:3.1.2-3, rfc8016:3.1.2-4, rfc8016:3.3-1, rfc8016:4-1
#[test]
fn a_ticket_is_short_enough_for_any_path() {
    let mut world = world();
    let told = Client::alice(&world, 1).ask(&mut world, Method::Allocate, |writer| {
        udp(writer);
        writer.attribute(0x8030, b"");
    });
    let ticket = told.and_then(|told| told.ticket).expect("a ticket was asked for");
    assert_eq!(ticket.len(), 32, "a response with it stays below 548 bytes");
}
