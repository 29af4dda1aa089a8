//! Quotas, ports and memory at their ends.

use super::*;

// proves rfc8656:5-21, rfc8656:5-22, rfc8656:7.2-21, rfc8656:7.2-22
#[test]
fn a_user_s_quota_is_reached_and_comes_back() {
    let mut world = World::with(|config| config.allocations_per_user = 2);
    let mut first = Client::alice(&world, 1);
    assert_eq!(first.allocate(&mut world).code, 0);
    assert_eq!(Client::alice(&world, 2).allocate(&mut world).code, 0);
    let mut third = Client::alice(&world, 3);
    assert_eq!(third.allocate(&mut world).code, 486);
    assert_eq!(Client::named(&world, 4, "bob", "password").allocate(&mut world).code, 0);
    first.refresh(&mut world, Some(0));
    assert_eq!(third.allocate(&mut world).code, 0);
}

// proves rfc8656:7.2-22
#[test]
fn a_new_time_limited_name_of_the_same_user_is_the_same_user() {
    use crate::proto::auth::credential::mint;
    let mut world = World::with(|config| config.allocations_per_user = 1);
    for (number, code) in [(1, 0), (2, 486)] {
        let (name, password) =
            mint(&Secret::new(SECRET), "carol", world.now().unix + 600 + u64::from(number));
        assert_eq!(Client::named(&world, number, &name, &password).allocate(&mut world).code, code);
    }
}

#[test]
fn an_address_s_quota_counts_all_its_users() {
    let mut world = World::with(|config| config.allocations_per_address = 1);
    assert_eq!(Client::alice(&world, 1).allocate(&mut world).code, 0);
    assert_eq!(Client::named(&world, 2, "bob", "password").allocate(&mut world).code, 486);
}

#[test]
fn the_server_s_own_total_is_no_quota_of_a_user_and_comes_back() {
    let mut world = World::with(|config| config.allocations_total = 2);
    let mut first = Client::alice(&world, 1);
    assert_eq!(first.allocate(&mut world).code, 0);
    assert_eq!(Client::named(&world, 2, "bob", "password").allocate(&mut world).code, 0);
    let mut third = Client::alice(&world, 3);
    for _ in 0..3 {
        assert_eq!(third.allocate(&mut world).code, 508);
    }
    assert_eq!((world.server.occupancy().allocations, world.server.per_user.len()), (2, 2));
    assert_eq!(world.server.occupancy().ports[0].used, 2);
    first.refresh(&mut world, Some(0));
    assert_eq!(third.allocate(&mut world).code, 0);
    world.pass(600);
    assert_eq!(world.server.occupancy().allocations, 0);
    assert_eq!(Client::alice(&world, 4).allocate(&mut world).code, 0);
}

#[test]
fn an_address_s_quota_comes_back_and_its_refusal_leaves_no_trace() {
    let mut world = World::with(|config| config.allocations_per_address = 1);
    let mut first = Client::alice(&world, 1);
    first.allocate(&mut world);
    let mut second = Client::named(&world, 2, "bob", "password");
    assert_eq!(second.allocate(&mut world).code, 486);
    assert_eq!((world.server.per_user.len(), world.server.per_address.len()), (1, 1));
    world.pass(600);
    assert_eq!(second.allocate(&mut world).code, 0);
}

#[test]
fn a_socket_that_cannot_be_had_costs_none_of_the_total() {
    let mut world = World::with(|config| config.allocations_total = 1);
    world.opens = Opens::Never(OpenFailure::Other);
    assert_eq!(Client::alice(&world, 1).allocate(&mut world).code, 500);
    world.opens = Opens::Always;
    assert_eq!(Client::alice(&world, 2).allocate(&mut world).code, 0);
}

#[test]
fn the_permissions_of_one_allocation_are_as_many_as_configured() {
    let mut world = World::with(|config| config.permissions_per_allocation = 2);
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    assert_eq!(alice.permit(&mut world, &["8.8.8.1:1", "8.8.8.2:1", "8.8.8.3:1"]).code, 508);
    assert_eq!(alice.permit(&mut world, &["8.8.8.1:1", "8.8.8.2:1"]).code, 0, "the refusal took no room");
    assert_eq!(alice.permit(&mut world, &["8.8.8.3:1"]).code, 508);
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.3:1").code, 508, "a channel permits its peer");
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.2:1").code, 0);
    let mut bob = Client::named(&world, 2, "bob", "password");
    bob.allocate(&mut world);
    assert_eq!(bob.permit(&mut world, &["8.8.8.3:1"]).code, 0, "each allocation has its own");
    world.pass(300);
    assert_eq!(alice.permit(&mut world, &["8.8.8.3:1"]).code, 0);
}

// proves rfc8656:12.2-4
#[test]
fn the_channels_of_one_allocation_are_as_many_as_configured() {
    let mut world = World::with(|config| config.channels_per_allocation = 2);
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.1:1").code, 0);
    assert_eq!(alice.bind(&mut world, 0x4001, "8.8.8.2:1").code, 0);
    let changes = world.changes.len();
    assert_eq!(alice.bind(&mut world, 0x4002, "8.8.8.3:1").code, 508);
    assert_eq!(world.changes.len(), changes, "the refusal permits nobody");
    assert_eq!(alice.bind(&mut world, 0x4001, "8.8.8.2:1").code, 0, "a refresh needs no room");
    alice.refresh(&mut world, Some(3_600));
    world.pass(901);
    assert_eq!(alice.bind(&mut world, 0x4002, "8.8.8.3:1").code, 0, "numbers are free again after their tie");
}

// proves rfc8656:6-1
#[test]
fn every_port_is_used_and_then_there_is_no_capacity() {
    let mut world = World::with(|config| config.ports = 50_000..=50_031);
    for number in 0..32 {
        assert_eq!(Client::alice(&world, number).allocate(&mut world).code, 0);
    }
    assert_eq!(Client::alice(&world, 32).allocate(&mut world).code, 508);
    assert_eq!(world.server.occupancy().ports[0].free, 0);
    assert_eq!(world.server.occupancy().allocations, 32);
}

#[test]
fn a_refused_allocate_leaves_no_trace() {
    let mut world = World::with(|config| config.ports = 50_000..=50_000);
    Client::alice(&world, 0).allocate(&mut world);
    for number in 1..200 {
        assert_eq!(Client::named(&world, number, "bob", "password").allocate(&mut world).code, 508);
    }
    assert_eq!(world.server.occupancy().allocations, 1);
    assert_eq!(world.server.allocations.slots(), 2, "the refused ones used one slot in turn");
    assert_eq!(world.server.per_user.len(), 1);
}

#[test]
fn leaving_ends_them_all_in_bounded_steps() {
    let mut world = World::with(|config| config.allocations_per_user = 0);
    for number in 0..300 {
        Client::alice(&world, number).allocate(&mut world);
    }
    world.input(Input::Command(Command::EndAll));
    world.pass(1);
    assert_eq!(world.ends(), [EndReason::Shutdown; 300]);
    assert_eq!(world.server.occupancy().allocations, 0);
    assert_eq!(world.server.poll_timeout().filter(|(_, wake)| *wake == Wake::Ending), None);
}

// proves rfc8656:6-6
#[test]
fn when_all_has_expired_nothing_is_left() {
    let mut world = World::new();
    for number in 0..20 {
        let mut client = Client::alice(&world, number);
        client.allocate(&mut world);
        client.permit(&mut world, &["8.8.8.8:1"]);
        client.bind(&mut world, 0x4000, "8.8.8.8:1");
    }
    world.pass(1_200);
    let occupancy = world.server.occupancy();
    assert_eq!((occupancy.allocations, occupancy.live, occupancy.answers), (0, 0, 0));
    assert_eq!(occupancy.ports[0].free, 10_000);
    assert_eq!(world.server.per_user.len(), 0);
    assert_eq!(world.server.per_address.len(), 0);
    assert_eq!(world.server.timers.len(), 0);
    assert_eq!(world.server.poll_timeout(), None);
}
