//! CreatePermission, as a client meets it.

use super::*;

fn permits(world: &World) -> Vec<(std::net::IpAddr, u64)> {
    let permit = |change: &TableChange| match change {
        TableChange::Permit { peer, until, .. } => Some((*peer, until.as_millis() / 1_000)),
        _ => None,
    };
    world.changes.iter().filter_map(permit).collect()
}

// proves rfc8656:9-1, rfc8656:9-3, rfc8656:10.2-2, rfc8656:10.2-7
#[test]
fn several_peers_are_permitted_for_five_minutes_whatever_the_port() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    assert_eq!(alice.permit(&mut world, &["8.8.4.4:1", "8.8.8.8:2", "8.8.4.4:3"]).code, 0);
    assert_eq!(permits(&world), [(ip("8.8.4.4"), 400), (ip("8.8.8.8"), 400)]);
}

// proves rfc8656:10.2-1, rfc8656:10.2-3
#[test]
fn no_peer_is_a_bad_request() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    assert_eq!(alice.permit(&mut world, &[]).code, 400);
}

// proves rfc8656:10.2-3, rfc8656:10.2-5, rfc8656:10.2-6
#[test]
fn one_bad_peer_spoils_the_whole_request() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    assert_eq!(alice.permit(&mut world, &["8.8.8.8:1", "[2001:4860::1]:1"]).code, 443);
    assert_eq!(alice.permit(&mut world, &["8.8.8.8:1", "127.0.0.1:1"]).code, 403);
    assert_eq!(alice.permit(&mut world, &["8.8.8.8:1", "10.0.0.1:1"]).code, 403);
    let told = alice.ask(&mut world, Method::CreatePermission, |writer| {
        writer.peer(peer("8.8.8.8:1")).attribute(attribute::XOR_PEER_ADDRESS, &[0, 1, 2]);
    });
    assert_eq!(told.expect("an answer").code, 400);
    assert_eq!(permits(&world), []);
}

#[test]
fn the_server_s_own_relay_address_can_be_permitted_because_a_live_port_may_be_there() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    assert_eq!(alice.permit(&mut world, &["203.0.113.7:1"]).code, 0);
}

// proves rfc8656:5-11
#[test]
fn without_an_allocation_there_is_nothing_to_permit() {
    let mut world = World::new();
    assert_eq!(Client::alice(&world, 1).permit(&mut world, &["8.8.8.8:1"]).code, 437);
}

// proves rfc8656:10.2-4
#[test]
fn the_number_of_permissions_is_bounded() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    let max = limits::PERMISSIONS_PER_ALLOCATION_MAX;
    for batch in 0..max / 32 {
        let peers: Vec<_> = (0..32).map(|n| format!("8.8.{batch}.{n}:1")).collect();
        let peers: Vec<_> = peers.iter().map(String::as_str).collect();
        assert_eq!(alice.permit(&mut world, &peers).code, 0);
    }
    assert_eq!(alice.permit(&mut world, &["8.9.0.0:1"]).code, 508);
    assert_eq!(alice.permit(&mut world, &["8.8.0.0:1"]).code, 0, "a refresh needs no room");
    world.pass(301);
    assert_eq!(alice.permit(&mut world, &["8.9.0.0:1"]).code, 0);
}

// proves rfc8656:9-2
#[test]
fn each_of_the_two_requests_renews_a_permission_made_by_the_other() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    alice.permit(&mut world, &["8.8.8.8:0"]);
    world.pass(100);
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.8:53").code, 0);
    world.pass(100);
    assert_eq!(alice.permit(&mut world, &["8.8.8.8:0"]).code, 0);
    assert_eq!(permits(&world), [100, 200, 300].map(|from| (ip("8.8.8.8"), from + 300)));
}

// proves rfc8656:21.2.1-1
#[test]
fn who_does_not_know_the_password_makes_no_permission() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    let mut guessing = Client { transactions: 900, ..Client::named(&world, 1, "alice", "guessed") };
    let by_permission = guessing.request(Method::CreatePermission, |writer| {
        writer.peer(peer("8.8.8.8:53"));
    });
    let by_channel = guessing.request(Method::ChannelBind, |writer| {
        writer.peer(peer("8.8.8.8:53")).attribute(attribute::CHANNEL_NUMBER, &channel_value(0x4000));
    });
    for request in [by_permission, by_channel] {
        assert_eq!(told(&world.send(alice.from, &request).expect("an answer")).code, 401);
    }
    assert_eq!(permits(&world), []);
}
