//! TCP allocations (RFC 6062): the requests, and what becomes of peers' connections.

use std::collections::BTreeSet;

use crate::proto::auth::credential::mint;
use crate::proto::types::ConnectionId;
use crate::proto::types::PeerId;
use crate::proto::types::PeerReport;
use crate::proto::types::Transport;
use crate::proto::wire::connection::decode_attempt;

use super::*;

const PEER: &str = "8.8.8.8:80";
const PEER_V6: &str = "[2606:4700::1]:80";
const W0: WorkerId = WorkerId(0);
const ARRIVAL: PeerId = PeerId { index: 3, generation: 9 };

/// REQUESTED-TRANSPORT: TCP.
fn tcp(writer: &mut MessageWriter<'_>) {
    writer.attribute(attribute::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
}

/// A client over a connection.
fn over_tcp(world: &World, number: u16, name: &str) -> Client {
    let mut client = Client::named(world, number, name, "password");
    client.from.transport = Transport::Tcp;
    client.nonce = world.server.config.challenger.nonce_key.mint(world.now().tick(), &client.from).0.to_vec();
    client
}

/// Alice with a TCP allocation that permits [`PEER`].
fn alice_with_port(world: &mut World) -> Client {
    let mut alice = over_tcp(world, 1, "alice");
    assert_eq!(alice.ask(world, Method::Allocate, tcp).expect("an answer").code, 0);
    assert_eq!(alice.permit(world, &[PEER]).code, 0);
    alice
}

fn connect(world: &mut World, client: &mut Client, to: &str) -> Option<Told> {
    client.ask(world, Method::Connect, |writer| {
        writer.peer(peer(to));
    })
}

/// The code of an answer that comes at once.
fn refused(world: &mut World, client: &mut Client, to: &str) -> u16 {
    connect(world, client, to).expect("an answer at once").code
}

fn bind_to(world: &mut World, client: &mut Client, id: ConnectionId) -> u16 {
    let value = id.to_wire().to_be_bytes();
    let bind = |writer: &mut MessageWriter<'_>| {
        writer.attribute(attribute::CONNECTION_ID, &value);
    };
    client.ask(world, Method::ConnectionBind, bind).expect("an answer").code
}

impl World {
    fn report(&mut self, report: PeerReport) {
        self.input(Input::Peer { worker: W0, report });
    }

    fn last_order(&self) -> PeerOrder {
        self.orders.last().expect("an order").1
    }

    /// The connection that the last order asks for, and its port.
    fn begun(&self) -> (ConnectionId, RelayId) {
        match self.last_order() {
            PeerOrder::Connect { connection, relay, .. } => (connection, relay),
            other => panic!("{other:?}"),
        }
    }

    /// A peer connects to the last port; answers its name, if it is let in.
    fn knock(&mut self, from: &str) -> Option<ConnectionId> {
        let relay = *self.ports.last().expect("a port");
        self.replies.clear();
        self.report(PeerReport::Arrived { relay, peer: peer(from), arrival: ARRIVAL });
        match self.last_order() {
            PeerOrder::Admit { arrival: ARRIVAL, connection } => Some(connection),
            PeerOrder::Refuse { arrival: ARRIVAL } => None,
            other => panic!("{other:?}"),
        }
    }

    fn moments(&self) -> Vec<PeerMoment> {
        let moment = |event: &Event| match event {
            Event::PeerConnection { moment, .. } => Some(*moment),
            _ => None,
        };
        self.events.iter().filter_map(moment).collect()
    }

    fn connections(&self) -> usize {
        self.server.occupancy().connections
    }

    /// A connection that was asked for, and is there.
    fn connected(&mut self, alice: &mut Client, to: &str) -> ConnectionId {
        assert_eq!(connect(self, alice, to), None, "not before the peer has spoken");
        let (connection, _) = self.begun();
        self.report(PeerReport::Connected { connection });
        connection
    }
}

// proves rfc6062:5.1-6, rfc6062:5.1-7, rfc6062:5.1-8
#[test]
fn a_port_of_tcp_is_opened_before_the_client_hears_of_it_and_has_no_token() {
    let mut world = World::new();
    let mut alice = over_tcp(&world, 1, "alice");
    let told = alice.ask(&mut world, Method::Allocate, tcp).expect("an answer");
    let (relay, bind) = world.opened[0];
    assert_eq!((told.code, told.relayed, told.token), (0, Some(bind.socket()), None));
    assert_eq!((world.ports.as_slice(), told.lifetime), (&[relay][..], Some(600)));
    let occupancy = world.server.occupancy();
    assert_eq!((occupancy.ports[0].used, occupancy.ports_tcp[0].used, occupancy.live), (0, 1, 1));
    let own = |change: &TableChange| matches!(change, TableChange::OwnRelay { .. });
    assert!(!world.changes.iter().any(own), "no datagram may go there");
    assert_eq!(alice.refresh(&mut world, Some(0)).code, 0);
    assert_eq!((world.closed.as_slice(), world.server.occupancy().ports_tcp[0].used), (&[relay][..], 0));
}

// proves rfc6062:5.1-1, rfc6062:5.1-2, rfc6062:5.1-4, rfc6062:5.1-5
#[test]
fn only_who_comes_by_a_connection_gets_one_and_nothing_of_datagrams_beside() {
    let mut world = World::with(|config| config.mobility = true);
    let mut over_udp = Client::alice(&world, 1);
    assert_eq!(over_udp.ask(&mut world, Method::Allocate, tcp).expect("an answer").code, 400);
    for (kind, value) in [
        (attribute::DONT_FRAGMENT, &[][..]),
        (attribute::EVEN_PORT, &[0]),
        (attribute::EVEN_PORT, &[0x80]),
        (attribute::RESERVATION_TOKEN, &[1; 8]),
    ] {
        let mut alice = over_tcp(&world, 2, "alice");
        let told = alice.ask(&mut world, Method::Allocate, |writer| {
            tcp(writer);
            writer.attribute(kind, value);
        });
        assert_eq!(told.expect("an answer").code, 400, "{kind:#06x}");
    }
    let mut alice = over_tcp(&world, 3, "alice");
    let mobile = alice.ask(&mut world, Method::Allocate, |writer| {
        tcp(writer);
        writer.attribute(attribute::MOBILITY_TICKET, &[]);
    });
    assert_eq!(mobile.expect("an answer").code, 405, "connections do not move");
    let other = alice.ask(&mut world, Method::Allocate, |writer| {
        writer.attribute(attribute::REQUESTED_TRANSPORT, &[33, 0, 0, 0]);
    });
    assert_eq!(other.expect("an answer").code, 442);
    assert!(world.ports.is_empty());
    assert_eq!(alice.allocate(&mut world).code, 0, "datagrams for who comes by a connection");
    let mut none = World::with(|config| config.connections_per_allocation = 0);
    let mut alice = over_tcp(&none, 1, "alice");
    assert_eq!(alice.ask(&mut none, Method::Allocate, tcp).expect("an answer").code, 442);
}

#[test]
fn a_port_of_one_protocol_says_nothing_of_the_other() {
    let mut world = World::with(|config| config.ports = 50_000..=50_000);
    let mut alice = alice_with_port(&mut world);
    let mut bob = Client::named(&world, 2, "bob", "password");
    assert_eq!(bob.allocate(&mut world).relayed, Some("203.0.113.7:50000".parse().unwrap()));
    let mut other = over_tcp(&world, 3, "alice");
    assert_eq!(other.ask(&mut world, Method::Allocate, tcp).expect("an answer").code, 508);
    // The relayed address of the one is no peer for the other's clients.
    assert_eq!(bob.bind(&mut world, 0x4000, "203.0.113.7:50000").code, 0, "UDP lives there");
    assert_eq!(bob.refresh(&mut world, Some(0)).code, 0);
    let mut bob = Client::named(&world, 4, "bob", "password");
    bob.from.client = crate::proto::types::ClientAddr::new("198.51.100.9:1".parse().unwrap());
    assert_eq!(refused(&mut world, &mut alice, "203.0.113.7:50000"), 403, "its own");
    assert_eq!(refused(&mut world, &mut alice, "203.0.113.7:50001"), 403, "nobody's");
}

#[test]
fn channels_are_no_way_through_a_tcp_allocation() {
    let mut world = World::new();
    let mut alice = alice_with_port(&mut world);
    assert_eq!(alice.bind(&mut world, 0x4000, PEER).code, 400);
}

// proves rfc6062:5.2-1, rfc6062:5.2-4, rfc6062:5.2-5
#[test]
fn a_connect_that_cannot_be_is_refused_at_once() {
    let mut world = World::new();
    let mut nobody = over_tcp(&world, 5, "alice");
    assert_eq!(refused(&mut world, &mut nobody, PEER), 437);
    let mut datagrams = over_tcp(&world, 6, "alice");
    datagrams.allocate(&mut world);
    assert_eq!(refused(&mut world, &mut datagrams, PEER), 437);
    let mut alice = alice_with_port(&mut world);
    assert_eq!(alice.ask(&mut world, Method::Connect, |_| {}).expect("an answer").code, 400);
    let malformed = alice.ask(&mut world, Method::Connect, |writer| {
        writer.attribute(attribute::XOR_PEER_ADDRESS, &[0, 1, 2]);
    });
    assert_eq!(malformed.expect("an answer").code, 400);
    let two = alice.ask(&mut world, Method::Connect, |writer| {
        writer.peer(peer(PEER)).peer(peer("8.8.4.4:80"));
    });
    assert_eq!(two.expect("an answer").code, 400);
    for denied in ["127.0.0.1:80", "169.254.169.254:80", "10.0.0.1:80", "203.0.113.7:22"] {
        assert_eq!(refused(&mut world, &mut alice, denied), 403, "{denied}");
    }
    assert_eq!(refused(&mut world, &mut alice, PEER_V6), 443);
    let mut bob = Client { username: b"bob".to_vec(), ..Client::named(&world, 1, "bob", "password") };
    (bob.from, bob.nonce) = (alice.from, alice.nonce.clone());
    bob.transactions = 99 << 16;
    assert_eq!(refused(&mut world, &mut bob, PEER), 441);
    assert!(world.orders.is_empty() && world.connections() == 0);
}

// proves rfc6062:5.2-10, rfc6062:5.2-11
#[test]
fn a_connection_that_was_asked_for_is_told_of_when_it_is_there() {
    let mut world = World::new();
    let mut alice = alice_with_port(&mut world);
    let mut names = BTreeSet::new();
    for to in [PEER, "8.8.8.8:81"] {
        assert_eq!(connect(&mut world, &mut alice, to), None);
        let (connection, relay) = world.begun();
        assert_eq!(relay, world.ports[0]);
        assert_eq!(
            world.last_order(),
            PeerOrder::Connect { connection, relay, to: peer(to) },
            "no permission is needed"
        );
        world.replies.clear();
        world.report(PeerReport::Connected { connection });
        let (told_to, reply) = &world.replies[0];
        let answer = decode_response(reply).expect("a message");
        assert_eq!((*told_to, answer.success), (alice.from, true));
        assert_eq!(answer.connection_id, Some(connection));
        assert!(answer.integrity.verify(&alice.key));
        assert!(names.insert(connection));
        world.report(PeerReport::Connected { connection });
        assert_eq!(world.replies.len(), 1, "once");
    }
    assert_eq!(world.moments(), [PeerMoment::Connected; 2]);
}

// proves rfc6062:5.2-2, rfc6062:5.2-3
#[test]
fn one_peer_one_connection_whatever_its_standing() {
    let mut world = World::new();
    let mut alice = alice_with_port(&mut world);
    let connection = {
        assert_eq!(connect(&mut world, &mut alice, PEER), None);
        assert_eq!(refused(&mut world, &mut alice, PEER), 446, "on its way");
        let (connection, _) = world.begun();
        world.report(PeerReport::Connected { connection });
        connection
    };
    assert_eq!(refused(&mut world, &mut alice, PEER), 446, "pending");
    assert_eq!(world.knock(PEER), None, "nor the other way round");
    let mut data = over_tcp(&world, 9, "alice");
    assert_eq!(bind_to(&mut world, &mut data, connection), 0);
    assert_eq!(refused(&mut world, &mut alice, PEER), 446, "active");
    world.report(PeerReport::Ended { connection });
    assert_eq!(connect(&mut world, &mut alice, PEER), None, "free again");
}

// proves rfc6062:5.2-7, rfc6062:5.2-8
#[test]
fn a_peer_that_refuses_or_says_nothing_for_thirty_seconds_is_a_failure() {
    let mut world = World::new();
    let mut alice = alice_with_port(&mut world);
    connect(&mut world, &mut alice, PEER);
    let (connection, _) = world.begun();
    world.replies.clear();
    world.report(PeerReport::Ended { connection });
    assert_eq!(alice.read(&world.replies[0].1).code, 447);

    connect(&mut world, &mut alice, PEER);
    let (connection, _) = world.begun();
    world.replies.clear();
    world.pass(29);
    assert!(world.replies.is_empty(), "30 s at least");
    world.pass(2);
    assert_eq!(alice.read(&world.replies[0].1).code, 447);
    assert_eq!(world.last_order(), PeerOrder::Close { connection });
    world.report(PeerReport::Connected { connection });
    world.report(PeerReport::Ended { connection });
    assert_eq!((world.replies.len(), world.connections()), (1, 0), "too late");
    assert_eq!(world.moments(), [PeerMoment::Failed; 2]);
}

// proves rfc6062:5.2-12, rfc6062:5.3-5
#[test]
fn what_nobody_binds_within_thirty_seconds_is_closed() {
    let mut world = World::new();
    let mut alice = alice_with_port(&mut world);
    let begun = world.connected(&mut alice, PEER);
    world.pass(20);
    let arrived = world.knock("8.8.8.8:5000").expect("let in");
    world.pass(9);
    assert_eq!(world.connections(), 2);
    world.pass(2);
    assert_eq!((world.last_order(), world.connections()), (PeerOrder::Close { connection: begun }, 1));
    let mut late = over_tcp(&world, 9, "alice");
    assert_eq!(bind_to(&mut world, &mut late, begun), 400);
    assert_eq!(bind_to(&mut world, &mut late, arrived), 0, "in time");
    world.pass(120);
    assert_eq!(world.connections(), 1, "one that is bound has no such end");
    assert_eq!(world.moments().last(), Some(&PeerMoment::Joined));
}

// proves rfc6062:5.3-1, rfc6062:5.3-4
#[test]
fn a_permitted_peer_is_told_of_with_a_name_of_its_own() {
    let mut world = World::new();
    let alice = alice_with_port(&mut world);
    let mut names = BTreeSet::new();
    for from in ["8.8.8.8:1", "8.8.8.8:2"] {
        let connection = world.knock(from).expect("let in");
        let (to, bytes) = &world.replies[0];
        assert_eq!((*to, decode_attempt(bytes)), (alice.from, Some((peer(from), connection))));
        assert!(names.insert(connection));
        assert_eq!(connection.worker(), W0);
    }
}

// proves rfc6062:5.3-3
#[test]
fn who_has_no_permission_is_closed_and_nobody_told() {
    let mut world = World::new();
    let mut alice = alice_with_port(&mut world);
    assert_eq!(world.knock("8.8.4.4:80"), None);
    assert!(world.replies.is_empty());
    world.pass(301);
    assert_eq!(world.knock(PEER), None, "a permission that is over");
    // Of its own addresses only what lives there, and is permitted, may come.
    alice.permit(&mut world, &["203.0.113.7:1"]);
    assert_eq!(world.knock("203.0.113.7:22"), None);
    assert_eq!(world.moments(), [PeerMoment::Refused; 3]);
    let relay = RelayId { generation: 77, ..world.ports[0] };
    world.report(PeerReport::Arrived { relay, peer: peer(PEER), arrival: ARRIVAL });
    assert_eq!(world.last_order(), PeerOrder::Refuse { arrival: ARRIVAL }, "of a port that is gone");
    alice.permit(&mut world, &[PEER]);
    let relay = world.ports[0];
    let report = PeerReport::Arrived { relay, peer: peer(PEER), arrival: ARRIVAL };
    world.input(Input::Peer { worker: WorkerId(1), report });
    assert_eq!(world.last_order(), PeerOrder::Refuse { arrival: ARRIVAL }, "another worker's word");
}

#[test]
fn clients_of_one_server_reach_each_other_by_the_addresses_that_they_were_told() {
    let mut world = World::with(|config| {
        config.relays[0].bind = ip("10.0.0.5");
    });
    let mut alice = alice_with_port(&mut world);
    let port = world.ports[0];
    let mut bob = over_tcp(&world, 2, "bob");
    let bobs = bob.ask(&mut world, Method::Allocate, tcp).expect("an answer").relayed.expect("an address");
    assert_eq!(bobs.ip(), ip("203.0.113.7"));
    assert_eq!(connect(&mut world, &mut alice, &bobs.to_string()), None);
    let (_, relay) = world.begun();
    let PeerOrder::Connect { to, .. } = world.last_order() else { panic!("asked for") };
    assert_eq!((relay, to.socket()), (port, (ip("10.0.0.5"), bobs.port()).into()), "as it is bound");
    // It comes from where Alice's port is bound, and is named as Bob knows her.
    let alices = world.opened[0].1;
    bob.permit(&mut world, &["203.0.113.7:1"]);
    assert!(world.knock(&alices.socket().to_string()).is_some());
    let named = Event::PeerConnection {
        relay: world.ports[1],
        user: crate::proto::types::QuotaIdentity::new(b"bob"),
        peer: peer(&format!("203.0.113.7:{}", alices.port())),
        moment: PeerMoment::Arrived,
    };
    assert_eq!(format!("{:?}", world.events.last()), format!("{:?}", Some(named)));
}

// proves rfc6062:5.4-1, rfc6062:5.4-2
#[test]
fn a_bind_that_fits_nothing_is_refused_whatever_is_wrong() {
    let mut world = World::new();
    let mut alice = alice_with_port(&mut world);
    let connection = world.connected(&mut alice, PEER);
    let mut data = over_tcp(&world, 9, "alice");
    assert_eq!(data.ask(&mut world, Method::ConnectionBind, |_| {}).expect("an answer").code, 400);
    let lie = ConnectionId::from_wire(connection.to_wire() ^ 0x100);
    assert_eq!(bind_to(&mut world, &mut data, lie), 400, "a guess");
    assert_eq!(bind_to(&mut world, &mut alice, connection), 400, "a control connection stays one");
    let mut over_udp = Client::alice(&world, 10);
    assert_eq!(bind_to(&mut world, &mut over_udp, connection), 400);
    let mut bob = over_tcp(&world, 11, "bob");
    assert_eq!(bind_to(&mut world, &mut bob, connection), 400, "another's");
    world.worker = WorkerId(1);
    assert_eq!(bind_to(&mut world, &mut data, connection), 400, "at a worker that does not have it");
    world.worker = W0;
    connect(&mut world, &mut alice, "8.8.8.8:81");
    let (not_yet, _) = world.begun();
    assert_eq!(bind_to(&mut world, &mut data, not_yet), 400, "not there yet");
    assert!(!world.orders.iter().any(|(_, order)| matches!(order, PeerOrder::Join { .. })));
    assert_eq!(bind_to(&mut world, &mut data, connection), 0, "and nothing of that spoilt it");
}

// proves rfc6062:4.3-1, rfc6062:4.4-1
#[test]
fn a_bind_is_answered_before_the_bytes_and_is_good_once_for_its_owner() {
    let mut world = World::new();
    let mut alice = alice_with_port(&mut world);
    let connection = world.connected(&mut alice, PEER);
    let mut wrong = over_tcp(&world, 8, "alice");
    wrong.key = MacKey::new(b"guessed");
    let value = connection.to_wire().to_be_bytes();
    let request = wrong.request(Method::ConnectionBind, |writer| {
        writer.attribute(attribute::CONNECTION_ID, &value);
    });
    assert_eq!(told(&world.send(wrong.from, &request).expect("an answer")).code, 401);
    let mut data = over_tcp(&world, 9, "alice");
    assert_eq!(bind_to(&mut world, &mut data, connection), 0);
    assert_eq!(world.last_order(), PeerOrder::Join { connection, client: data.from });
    let mut again = over_tcp(&world, 10, "alice");
    assert_eq!(bind_to(&mut world, &mut again, connection), 400, "twice");
    assert_eq!(world.connections(), 1);
}

#[test]
fn who_may_go_on_with_an_allocation_may_bind_after_the_credential_is_over() {
    let mut world = World::with(|config| config.session_lifetime_max = Duration::from_secs(3_600));
    let (name, password) = mint(&Secret::new(SECRET), "carol", world.now().unix + 600);
    let carol_at = |world: &World, number| {
        let mut carol = Client::named(world, number, &name, &password);
        carol.from.transport = Transport::Tcp;
        carol.nonce =
            world.server.config.challenger.nonce_key.mint(world.now().tick(), &carol.from).0.to_vec();
        carol
    };
    let mut carol = carol_at(&world, 1);
    let lifetime = |writer: &mut MessageWriter<'_>| {
        tcp(writer);
        writer.attribute(attribute::LIFETIME, &3_600_u32.to_be_bytes());
    };
    assert_eq!(carol.ask(&mut world, Method::Allocate, lifetime).expect("an answer").code, 0);
    world.pass(1_200);
    let connection = world.connected(&mut carol, PEER);
    let mut data = carol_at(&world, 2);
    assert_eq!(bind_to(&mut world, &mut data, connection), 0);
}

#[test]
fn connections_and_requests_for_them_have_limits() {
    let mut world = World::new();
    let mut alice = alice_with_port(&mut world);
    let mut names = Vec::new();
    for port in 1..=2 {
        assert_eq!(connect(&mut world, &mut alice, &format!("8.8.8.8:{port}")), None);
        names.push(world.begun().0);
    }
    assert_eq!(refused(&mut world, &mut alice, "8.8.8.8:3"), 508, "two wait");
    for connection in names.drain(..) {
        world.report(PeerReport::Connected { connection });
    }
    assert_eq!(connect(&mut world, &mut alice, "8.8.8.8:3"), None);
    let fourth = world.knock("8.8.8.8:4").expect("the fourth");
    assert_eq!(world.knock("8.8.8.8:5"), None, "there are four");
    assert_eq!(refused(&mut world, &mut alice, "8.8.8.8:6"), 508);
    world.report(PeerReport::Ended { connection: fourth });
    assert!(world.knock("8.8.8.8:5").is_some());
}

// proves rfc6062:5.5-1
#[test]
fn with_its_allocation_each_connection_is_over() {
    type End = fn(&mut World, &mut Client);
    let ends: [End; 4] = [
        |world, alice| drop(alice.refresh(world, Some(0))),
        |world, _| world.pass(700),
        |world, alice| world.input(Input::ClientGone { worker: W0, from: alice.from }),
        |world, _| {
            world.input(Input::Command(Command::EndAll));
            world.pass(1);
        },
    ];
    for end in ends {
        let mut world = World::new();
        let mut alice = alice_with_port(&mut world);
        let pending = world.connected(&mut alice, PEER);
        let bound = world.connected(&mut alice, "8.8.8.8:81");
        let mut data = over_tcp(&world, 9, "alice");
        assert_eq!(bind_to(&mut world, &mut data, bound), 0);
        connect(&mut world, &mut alice, "8.8.8.8:82");
        end(&mut world, &mut alice);
        assert_eq!((world.connections(), world.ends().len()), (0, 1));
        assert_eq!(world.closed, world.ports, "the worker closes all of a port with it");
        let mut late = over_tcp(&world, 10, "alice");
        assert_eq!(bind_to(&mut world, &mut late, pending), 400);
        world.report(PeerReport::Ended { connection: bound });
        world.pass(100);
        assert_eq!((world.connections(), world.server.occupancy().live), (0, 0));
    }
}

#[test]
fn each_family_has_its_port_and_goes_with_it() {
    let mut world = World::new();
    let mut alice = over_tcp(&world, 1, "alice");
    let told = alice.ask(&mut world, Method::Allocate, |writer| {
        tcp(writer);
        writer.attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    let told = told.expect("an answer");
    assert!(told.relayed.is_some_and(|v4| v4.is_ipv4()) && told.additional.is_some_and(|v6| v6.is_ipv6()));
    alice.permit(&mut world, &[PEER, PEER_V6]);
    assert_eq!(connect(&mut world, &mut alice, PEER), None);
    assert_eq!(world.begun().1, world.ports[0]);
    assert_eq!(connect(&mut world, &mut alice, PEER_V6), None);
    assert_eq!(world.begun().1, world.ports[1]);
    let gone = alice.ask(&mut world, Method::Refresh, |writer| {
        writer
            .attribute(attribute::LIFETIME, &[0; 4])
            .attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert_eq!((gone.expect("an answer").code, world.connections()), (0, 1));
    assert_eq!(refused(&mut world, &mut alice, PEER_V6), 443);
    let mut only_v6 = over_tcp(&world, 2, "alice");
    let told = only_v6.ask(&mut world, Method::Allocate, |writer| {
        tcp(writer);
        writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert!(told.expect("an answer").relayed.is_some_and(|v6| v6.is_ipv6()));
    assert_eq!(refused(&mut world, &mut only_v6, PEER), 443);
}

#[test]
fn a_port_that_the_kernel_refuses_is_tried_elsewhere() {
    let mut world = World::new();
    world.opens = Opens::After(2, OpenFailure::PortTaken);
    let mut alice = over_tcp(&world, 1, "alice");
    assert_eq!(alice.ask(&mut world, Method::Allocate, tcp).expect("an answer").code, 0);
    let census = world.server.occupancy().ports_tcp[0];
    assert_eq!((census.used, census.quarantined), (1, 2));
    assert_eq!(world.server.occupancy().ports[0].quarantined, 0);
}

#[test]
fn after_a_panic_each_connection_is_asked_for_again() {
    let mut world = World::new();
    let mut alice = alice_with_port(&mut world);
    let pending = world.connected(&mut alice, PEER);
    let bound = world.connected(&mut alice, "8.8.8.8:81");
    let mut data = over_tcp(&world, 9, "alice");
    assert_eq!(bind_to(&mut world, &mut data, bound), 0);
    connect(&mut world, &mut alice, "8.8.8.8:82");
    let (begun, relay) = world.begun();
    world.orders.clear();
    world.ports.clear();
    world.input(Input::WorkerRestarted { worker: W0, epoch: 1, carried: Box::default() });
    world.pass(1);
    assert_eq!(world.ports, [relay], "its port too");
    let orders: Vec<_> = world.orders.iter().map(|(_, order)| *order).collect();
    let expected = [
        PeerOrder::Keep { connection: pending },
        PeerOrder::Join { connection: bound, client: data.from },
        PeerOrder::Connect { connection: begun, relay, to: peer("8.8.8.8:82") },
    ];
    assert_eq!(orders, expected);
    world.report(PeerReport::Ended { connection: pending });
    assert_eq!(world.connections(), 2);
}

#[test]
fn a_connection_that_ends_while_a_worker_is_told_anew_is_not_begun_again() {
    let mut world = World::new();
    let mut alice = alice_with_port(&mut world);
    // So many that they are told in several steps, and connections behind them.
    let many: Vec<String> = (0..=255).map(|last| format!("9.9.9.{last}:1")).collect();
    for some in many.chunks(64) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        assert_eq!(alice.permit(&mut world, &some).code, 0);
    }
    connect(&mut world, &mut alice, PEER);
    let (begun, _) = world.begun();
    world.orders.clear();
    world.input(Input::WorkerRestarted { worker: W0, epoch: 1, carried: Box::default() });
    world.server.handle_timeout(world.now());
    world.drain();
    assert!(world.server.is_rebuilding(W0) && world.orders.is_empty(), "in the middle of it");
    world.report(PeerReport::Ended { connection: begun });
    world.pass(1);
    assert!(!world.server.is_rebuilding(W0));
    assert_eq!(world.orders, []);
}

#[test]
fn a_peer_that_the_operator_denies_is_cut_off() {
    let mut world = World::new();
    let mut alice = alice_with_port(&mut world);
    let connection = world.connected(&mut alice, PEER);
    let other = world.connected(&mut alice, "1.1.1.1:80");
    reconfigure::deny(&mut world, &["8.8.8.0/24"]);
    world.pass(1);
    assert_eq!(world.last_order(), PeerOrder::Close { connection });
    assert_eq!((world.moments().last(), world.connections()), (Some(&PeerMoment::Revoked), 1));
    assert_eq!(refused(&mut world, &mut alice, PEER), 403);
    let mut data = over_tcp(&world, 9, "alice");
    assert_eq!(bind_to(&mut world, &mut data, other), 0);
}
