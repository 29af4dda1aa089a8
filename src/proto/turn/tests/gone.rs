//! Clients whose connection ended.

use super::*;
use crate::proto::types::Transport;

fn over_tcp(world: &World) -> Client {
    let mut alice = Client::alice(world, 1);
    alice.from.transport = Transport::Tcp;
    let key = &world.server.config.challenger.nonce_key;
    alice.nonce = key.mint(world.now().tick(), &alice.from).0.to_vec();
    alice
}

fn gone(world: &mut World, from: FiveTuple) {
    let worker = world.worker;
    world.input(Input::ClientGone { worker, from });
}

#[test]
fn an_allocation_ends_with_its_connection_and_its_port_is_free() {
    let mut world = World::new();
    let mut alice = over_tcp(&world);
    assert_eq!(alice.allocate(&mut world).code, 0);
    gone(&mut world, alice.from);
    assert_eq!(world.ends(), [EndReason::Disconnected]);
    let occupancy = world.server.occupancy();
    assert_eq!((occupancy.allocations, occupancy.ports[0].used), (0, 0));
    // Told once more, it is nobody's.
    gone(&mut world, alice.from);
    assert_eq!(world.ends().len(), 1);
}

#[test]
fn who_leaves_while_the_socket_is_being_opened_leaves_nothing_behind() {
    let mut world = World::new();
    world.opens = Opens::Silent;
    let mut alice = over_tcp(&world);
    let request = alice.request(Method::Allocate, udp);
    assert_eq!(world.send(alice.from, &request), None);
    let allocation = world.server.allocations.of(&alice.from).expect("it is opening");
    let relay = allocation.relay;
    let bound = allocation.legs.named(relay).expect("its leg").bind(&world.server.config.relays);
    gone(&mut world, alice.from);
    world.input(Input::RelayOpened { relay, bound });
    assert_eq!(world.server.occupancy().allocations, 0);
    assert_eq!(world.closed, [relay]);
}

#[test]
fn another_connection_of_the_same_name_at_another_worker_is_not_meant() {
    let mut world = World::new();
    let mut alice = over_tcp(&world);
    assert_eq!(alice.allocate(&mut world).code, 0);
    world.input(Input::ClientGone { worker: WorkerId(world.worker.0 + 1), from: alice.from });
    let other = FiveTuple { transport: Transport::Tls, ..alice.from };
    gone(&mut world, other);
    assert_eq!(world.server.occupancy().allocations, 1);
    assert_eq!(alice.refresh(&mut world, Some(600)).code, 0);
}

#[test]
fn a_client_with_a_ticket_may_come_back_by_another_connection() {
    let mut world = World::with(|config| config.mobility = true);
    let mut alice = over_tcp(&world);
    let told = alice
        .ask(&mut world, Method::Allocate, |writer| {
            udp(writer);
            writer.attribute(attribute::MOBILITY_TICKET, b"");
        })
        .expect("an answer");
    assert_eq!(told.code, 0);
    gone(&mut world, alice.from);
    assert_eq!(world.server.occupancy().allocations, 1);
    world.pass(601);
    assert_eq!(world.ends(), [EndReason::Expired], "but not for ever");
}
