//! Clients of [MS-TURN] over a stream: their ports are of TCP, and a Send or a Set Active Destination dials.

use crate::proto::peers::PolicyBuilder;
use crate::proto::turn::tests::reconfigure::reconfigure;
use crate::proto::types::ConnectionId;
use crate::proto::types::PeerId;
use crate::proto::types::PeerReport;

use super::*;

const PEER: &str = "8.8.8.8:80";
const ARRIVAL: PeerId = PeerId { index: 3, generation: 9 };

fn alice_over_tcp(world: &mut World) -> Old {
    let mut alice = Old::alice(world, 1).over(world, Transport::Tcp);
    assert_eq!(alice.allocate(world, None).code(), 0);
    alice
}

fn report(world: &mut World, report: PeerReport) {
    world.input(Input::Peer { worker: WorkerId(0), report });
}

/// The orders since the last look.
fn orders(world: &mut World) -> Vec<PeerOrder> {
    world.orders.drain(..).map(|(_, order)| order).collect()
}

/// The name of the one connection that was just ordered, to `to` from the last port.
fn dialled(world: &mut World, to: &str) -> ConnectionId {
    match orders(world)[..] {
        [PeerOrder::Connect { connection, relay, to: whom }] => {
            assert_eq!((relay, whom), (world.ports[world.ports.len() - 1], peer(to)));
            connection
        }
        ref other => panic!("{other:?}"),
    }
}

fn knock(world: &mut World, from: &str) -> Vec<PeerOrder> {
    let relay = *world.ports.last().expect("a port");
    report(world, PeerReport::Arrived { relay, peer: peer(from), arrival: ARRIVAL });
    orders(world)
}

fn connections(world: &World) -> usize {
    world.server.occupancy().connections
}

// proves ms_turn:6.7-1
#[test]
fn who_comes_by_a_connection_gets_a_port_for_connections_unless_none_are_relayed() {
    for (most, of_tcp) in [(8, 1_usize), (0, 0)] {
        for transport in [Transport::Tcp, Transport::Tls] {
            let mut world = World::with(|config| config.connections_per_allocation = most);
            let mut alice = Old::alice(&world, 1).over(&world, transport);
            assert_eq!(alice.allocate(&mut world, None).code(), 0);
            let occupancy = world.server.occupancy();
            assert_eq!((occupancy.ports_tcp[0].used, occupancy.ports[0].used), (of_tcp, 1 - of_tcp));
            assert_eq!(world.ports.len(), of_tcp);
        }
    }
    let mut world = World::new();
    Old::alice(&world, 1).allocate(&mut world, None);
    assert_eq!(world.ports, [], "over UDP it is one of UDP");
}

// proves ms_turn:6.3-3
#[test]
fn a_send_dials_its_destination_from_the_relayed_port_and_once_while_that_lasts() {
    let mut world = World::new();
    let mut alice = alice_over_tcp(&mut world);
    assert_eq!(alice.send(&mut world, PEER, b"first"), None);
    let first = dialled(&mut world, PEER);
    let relay = world.ports[0];
    assert_eq!(world.sent, [(relay, peer(PEER), b"first".to_vec())], "behind the order, so it waits for it");
    alice.send(&mut world, PEER, b"on its way");
    report(&mut world, PeerReport::Connected { connection: first });
    alice.send(&mut world, PEER, b"there");
    assert_eq!(alice.set_destination(&mut world, PEER).code(), 0);
    world.pass(300);
    assert_eq!((orders(&mut world), connections(&world)), (Vec::new(), 1));
    alice.send(&mut world, "8.8.8.8:81", b"another port");
    dialled(&mut world, "8.8.8.8:81");
    report(&mut world, PeerReport::Ended { connection: first });
    assert_eq!(connections(&world), 1);
    alice.send(&mut world, PEER, b"again");
    assert_ne!(dialled(&mut world, PEER), first);
    assert_eq!(alice.allocate(&mut world, Some(0)).code(), 0);
    assert_eq!(connections(&world), 0, "with the allocation they end");
}

#[test]
fn a_destination_dials_too_and_what_fails_is_tried_again_when_it_is_asked_for() {
    let mut world = World::new();
    let mut alice = alice_over_tcp(&mut world);
    assert_eq!(alice.set_destination(&mut world, PEER).code(), 0);
    let first = dialled(&mut world, PEER);
    report(&mut world, PeerReport::Ended { connection: first });
    assert_eq!(alice.set_destination(&mut world, PEER).code(), 0);
    let second = dialled(&mut world, PEER);
    world.pass(29);
    assert_eq!(orders(&mut world), []);
    world.pass(2);
    assert_eq!(orders(&mut world), [PeerOrder::Close { connection: second }]);
    assert_eq!(connections(&world), 0, "nobody answers for more than 30 s");
}

#[test]
fn to_a_forbidden_peer_no_connection_is_opened_however_it_is_asked() {
    let mut world = World::new();
    let mut alice = alice_over_tcp(&mut world);
    let own = world.opened[0].1.socket().to_string();
    let forbidden = [
        "127.0.0.1:80",
        "0.0.0.0:80",
        "169.254.169.254:80",
        "10.0.0.1:80",
        "192.168.1.1:80",
        "224.0.0.1:80",
        "255.255.255.255:80",
        "203.0.113.7:80",
        "203.0.113.7:3478",
        &own,
    ];
    for to in forbidden {
        assert_eq!(alice.set_destination(&mut world, to).code(), 403, "{to}");
        assert_eq!(alice.send(&mut world, to, b"x"), None, "{to}");
        assert_eq!((orders(&mut world), world.sent.len()), (Vec::new(), 0), "{to}");
    }
    // A port of datagrams of the same number is no peer for connections.
    let mut bob = Old::named(&world, 2, "bob", "password");
    bob.allocate(&mut world, None);
    let of_udp = world.opened[1].1.socket().to_string();
    assert_eq!(alice.set_destination(&mut world, &of_udp).code(), 403);
    assert_eq!((orders(&mut world), connections(&world)), (Vec::new(), 0));
}

#[test]
fn so_many_may_be_on_their_way_and_so_many_there() {
    let mut world = World::with(|config| {
        config.connects_per_allocation = 2;
        config.connections_per_allocation = 3;
    });
    let mut alice = alice_over_tcp(&mut world);
    let mut dial = |world: &mut World, port: u16| {
        let to = format!("8.8.8.8:{port}");
        let code = alice.set_destination(world, &to).code();
        alice.send(world, &to, b"x");
        (code, orders(world).len())
    };
    assert_eq!([dial(&mut world, 1), dial(&mut world, 2), dial(&mut world, 3)], [(0, 1), (0, 1), (508, 0)]);
    let connected: Vec<_> = world.server.connections.all().collect();
    for connection in connected {
        report(&mut world, PeerReport::Connected { connection });
    }
    assert_eq!([dial(&mut world, 3), dial(&mut world, 4)], [(0, 1), (508, 0)]);
    assert_eq!(connections(&world), 3);
}

// proves ms_turn:6.7-2
#[test]
fn a_permitted_peer_may_connect_and_nobody_is_told_or_asked() {
    let mut world = World::new();
    let mut alice = alice_over_tcp(&mut world);
    assert_eq!(knock(&mut world, PEER), [PeerOrder::Refuse { arrival: ARRIVAL }], "it was never sent to");
    alice.send(&mut world, "8.8.8.8:99", b"x");
    orders(&mut world);
    world.replies.clear();
    assert!(matches!(knock(&mut world, PEER)[..], [PeerOrder::Admit { arrival: ARRIVAL, .. }]), "any port");
    assert_eq!(knock(&mut world, PEER), [PeerOrder::Refuse { arrival: ARRIVAL }], "one of each peer");
    assert_eq!(knock(&mut world, "9.9.9.9:80"), [PeerOrder::Refuse { arrival: ARRIVAL }]);
    assert_eq!((world.replies.len(), connections(&world)), (0, 2));
    world.pass(40);
    assert_eq!(connections(&world), 1, "it is bound by nobody and stays; the one that was dialled failed");
    alice.send(&mut world, PEER, b"back");
    assert!(!world.orders.iter().any(|(_, order)| matches!(order, PeerOrder::Connect { .. })));
}

// proves ms_turn:6.7-2
#[test]
fn where_both_dial_at_once_the_one_that_came_takes_the_place_of_the_own() {
    let mut world = World::new();
    let mut alice = alice_over_tcp(&mut world);
    let alice_relay = world.opened[0].1.socket().to_string();
    let mut bob = Old::named(&world, 2, "bob", "password").over(&world, Transport::Tls);
    assert_eq!(bob.allocate(&mut world, None).code(), 0);
    let bob_relay = world.opened[1].1.socket().to_string();
    alice.send(&mut world, &bob_relay, b"a");
    orders(&mut world);
    assert_eq!(bob.set_destination(&mut world, &alice_relay).code(), 0);
    let own = dialled(&mut world, &alice_relay);
    let came = knock(&mut world, &alice_relay);
    let [PeerOrder::Admit { arrival: ARRIVAL, connection }, PeerOrder::Close { connection: given_up }] =
        came[..]
    else {
        panic!("{came:?}")
    };
    assert_eq!(given_up, own);
    assert_ne!(connection, own);
    assert_eq!(connections(&world), 2, "one of each side");
    // What the kernel says of the own one comes too late.
    report(&mut world, PeerReport::Ended { connection: own });
    assert_eq!(connections(&world), 2);
    bob.send(&mut world, &alice_relay, b"b");
    assert_eq!(orders(&mut world), []);
}

#[test]
fn a_worker_that_panicked_is_told_what_is_on_its_way_and_what_is_there() {
    let mut world = World::new();
    let mut alice = alice_over_tcp(&mut world);
    alice.send(&mut world, PEER, b"x");
    let there = dialled(&mut world, PEER);
    report(&mut world, PeerReport::Connected { connection: there });
    alice.send(&mut world, "8.8.8.8:81", b"x");
    let on_its_way = dialled(&mut world, "8.8.8.8:81");
    world.input(Input::WorkerRestarted { worker: WorkerId(0), epoch: 1, carried: Box::default() });
    while world.server.is_rebuilding(WorkerId(0)) {
        world.server.handle_timeout(world.now());
        world.drain();
    }
    let relay = world.ports[0];
    let told = orders(&mut world);
    assert!(told.contains(&PeerOrder::Keep { connection: there }), "{told:?}");
    let connect = PeerOrder::Connect { connection: on_its_way, relay, to: peer("8.8.8.8:81") };
    assert!(told.contains(&connect), "{told:?}");
}

#[test]
fn a_peer_that_is_denied_is_cut_off() {
    let mut world = World::new();
    let mut alice = alice_over_tcp(&mut world);
    alice.send(&mut world, PEER, b"x");
    let connection = dialled(&mut world, PEER);
    report(&mut world, PeerReport::Connected { connection });
    let own = vec![ip("203.0.113.7")];
    let deny = vec!["8.8.8.0/24".parse().expect("a rule")];
    let policy = PolicyBuilder { deny, own: own.clone(), relay: own, ..PolicyBuilder::default() }.build();
    reconfigure(&mut world, |to| to.policy = Arc::new(policy));
    world.pass(1);
    assert!(orders(&mut world).contains(&PeerOrder::Close { connection }));
    assert_eq!(alice.set_destination(&mut world, PEER).code(), 403);
    assert_eq!((orders(&mut world), connections(&world)), (Vec::new(), 0));
}
