//! The IP header's fields, as they come out at the far end (RFC 8656 §§ 13 and 14).

use std::net::IpAddr;

use socket2::SockRef;
use swingbridge::proto::media::DropReason;

use crate::doors::Doors;
use crate::doors::padded_channel_data;
use crate::icmp::icmp;
use crate::message;
use crate::observe;
use crate::plane::CHANNEL;
use crate::plane::Client;
use crate::plane::Plane;

const BOTH: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];
const COMBINATIONS: [(usize, &str); 4] = [(0, "127.0.0.1"), (0, "::1"), (1, "127.0.0.1"), (1, "::1")];

fn far_end(plane: &Plane, home: IpAddr) -> Client {
    let client = Client::new(home, plane.server(0));
    observe::tell_header(&client.socket);
    client
}

/// A client of the listener at this place, and a peer.
fn ends(plane: &Plane, listener: usize, of_peer: &str) -> (Client, Client) {
    let server = plane.server(listener);
    let client = Client { server, ..far_end(plane, server.ip()) };
    (client, far_end(plane, of_peer.parse().expect("a literal")))
}

// proves rfc8656:5-16, rfc8656:13.1-1, rfc8656:13.3-1, rfc8656:14-3, rfc8656:14-5
#[test]
fn hop_limit_dscp_and_ecn_go_over_to_the_other_side_in_all_four_combinations_both_ways() {
    let mut plane = Plane::start(1, &BOTH);
    for (listener, of_peer) in COMBINATIONS {
        let (client, bound) = ends(&plane, listener, of_peer);
        let unbound = far_end(&plane, bound.address().ip());
        let allocation = plane.open(&client, bound.address());
        // Best effort; expedited forwarding; congestion experienced; AF41 with ECT(0); all ones.
        for (hop_limit, class) in [(64, 0), (2, 0xB8), (255, 0x03), (17, 0x8A), (128, 0xFF)] {
            let expected = (Some(hop_limit - 1), Some(class));
            observe::send_with(&client.socket, hop_limit, class);
            client.send(&message::channel_data(CHANNEL, b"forth"));
            let (bytes, seen_limit, seen_class) = observe::receive_with_header(&bound.socket);
            assert_eq!((&bytes[..], (seen_limit, seen_class)), (&b"forth"[..], expected));
            client.send(&message::send_indication(unbound.address(), b"forth"));
            let (bytes, seen_limit, seen_class) = observe::receive_with_header(&unbound.socket);
            assert_eq!((&bytes[..], (seen_limit, seen_class)), (&b"forth"[..], expected));
            for peer in [&bound, &unbound] {
                observe::send_with(&peer.socket, hop_limit, class);
                peer.send_to(b"back", allocation.relayed);
                let (_, seen_limit, seen_class) = observe::receive_with_header(&client.socket);
                assert_eq!((seen_limit, seen_class), expected, "{listener} {of_peer}");
            }
        }
    }
}

#[test]
fn fields_of_one_batch_do_not_mix() {
    let mut plane = Plane::start(1, &BOTH);
    let (client, peer) = ends(&plane, 0, "::1");
    plane.open(&client, peer.address());
    let fields = |number: u8| (100 + number % 7, if number.is_multiple_of(3) { 0 } else { number });
    for number in 0..200 {
        let (hop_limit, class) = fields(number);
        observe::send_with(&client.socket, hop_limit, class);
        client.send(&message::channel_data(CHANNEL, &[number]));
    }
    for number in 0..200 {
        let (hop_limit, class) = fields(number);
        let seen = observe::receive_with_header(&peer.socket);
        assert_eq!(seen, (vec![number], Some(hop_limit - 1), Some(class)));
    }
}

// proves rfc8656:13.2-2, rfc8656:21.1.7-1
#[test]
fn what_has_used_up_its_hop_limit_goes_no_further_and_is_counted_but_the_server_still_answers() {
    let mut plane = Plane::start(1, &BOTH);
    let mut dropped = 0;
    for (listener, of_peer) in COMBINATIONS {
        let (client, peer) = ends(&plane, listener, of_peer);
        let allocation = plane.open(&client, peer.address());
        observe::send_with(&client.socket, 1, 0);
        observe::send_with(&peer.socket, 1, 0);
        client.send(&message::channel_data(CHANNEL, b"too far"));
        client.send(&message::send_indication(peer.address(), b"too far"));
        peer.send_to(b"too far", allocation.relayed);
        dropped += 3;
        plane.drops(allocation.worker, DropReason::HopLimit, dropped);
        assert!(client.hears_nothing() && peer.hears_nothing());
        let stranger = far_end(&plane, client.server.ip());
        observe::send_with(&stranger.socket, 1, 0);
        stranger.send_to(&message::stun(message::BINDING, [1; 12], &[]), client.server);
        let (answer, hop_limit, class) = observe::receive_with_header(&stranger.socket);
        assert_eq!(message::kind(&answer), message::BINDING_SUCCESS);
        // An answer is the server's own: it begins its way here.
        assert!(hop_limit > Some(1) && class == Some(0));
    }
}

// proves rfc8656:14-2, rfc8656:14-7
#[test]
fn df_is_set_for_dont_fragment_alone_and_order_is_kept() {
    // Nobody else sends to these.
    let (of_peer, of_client) = ("127.77.0.1", "127.77.0.2");
    let mut plane = Plane::start(1, &BOTH);
    let home = of_client.parse().expect("a literal");
    let client = Client::new(home, plane.server(0));
    let peer = Client::new(of_peer.parse().expect("a literal"), plane.server(0));
    let allocation = plane.open(&client, peer.address());
    let Some(at_peer) = observe::raw_udp(peer.address().ip()) else { return };
    let Some(at_client) = observe::raw_udp(home) else { return };
    for number in 0..40_u8 {
        let data = [b'#', number, number, number, number, number];
        let whole = number % 3 == 1;
        client.send(&match number % 3 {
            0 => message::channel_data(CHANNEL, &data),
            1 => message::send_whole(peer.address(), &data),
            _ => message::send_indication(peer.address(), &data),
        });
        let (df, hop_limit) = observe::next_packet(&at_peer, &data);
        assert_eq!((df, hop_limit), (whole, 63), "{number}");
        peer.send_to(&data, allocation.relayed);
        assert_eq!(observe::next_packet(&at_client, &data), (false, 63));
    }
    for number in 0..40_u8 {
        let send = if number.is_multiple_of(2) { message::send_whole } else { message::send_indication };
        client.send(&send(peer.address(), &[number]));
    }
    // What was read of the raw socket above is still in the peer's own queue.
    (0..40).for_each(|_| _ = peer.receive_from());
    for number in 0..40_u8 {
        assert_eq!(peer.receive_from().0, [number]);
    }
}

// proves rfc8656:13.1-3, rfc8656:13.2-6, rfc8656:13.3-4
#[test]
fn between_other_families_dont_fragment_is_ignored() {
    let mut plane = Plane::start(1, &BOTH);
    for (listener, of_peer) in &COMBINATIONS[1..] {
        let (client, peer) = ends(&plane, *listener, of_peer);
        let allocation = plane.open(&client, peer.address());
        client.send(&message::send_whole(peer.address(), b"as a whole?"));
        assert_eq!(peer.receive_from(), (b"as a whole?".to_vec(), allocation.relayed));
    }
}

// proves rfc8656:14-2, rfc8656:14-8
#[test]
fn what_is_too_long_for_the_link_is_fragmented_unless_it_must_not_be_and_then_counted() {
    // A thread of its own, because it does not come back from the network it moves to.
    let apart = std::thread::spawn(|| {
        if !observe::own_network(1_500) {
            return;
        }
        let mut plane = Plane::start(1, &["127.0.0.1:0"]);
        let (client, peer) = ends(&plane, 0, "127.0.0.1");
        let allocation = plane.open(&client, peer.address());
        let (long, fits) = (vec![7; 2_000], vec![8; 1_472]);
        client.send(&message::send_whole(peer.address(), &long));
        plane.drops(allocation.worker, DropReason::LinkMtu, 1);
        client.send(&message::send_whole(peer.address(), &fits));
        assert_eq!(peer.receive_from(), (fits, allocation.relayed), "1,500 bytes with its headers");
        client.send(&message::send_indication(peer.address(), &long));
        assert_eq!(peer.receive_from(), (long.clone(), allocation.relayed));
        client.send(&message::channel_data(CHANNEL, &long));
        assert_eq!(peer.receive_from(), (long.clone(), allocation.relayed));
        peer.send_to(&long, allocation.relayed);
        assert_eq!(client.receive(), message::channel_data(CHANNEL, &long));
        plane.drops(allocation.worker, DropReason::LinkMtu, 1);
        assert!(peer.hears_nothing() && client.hears_nothing());
    });
    apart.join().expect("the test went well");
}

// proves rfc8656:13-2, rfc8656:13.1-2, rfc8656:13.2-5, rfc8656:13.3-3
#[test]
fn what_is_too_long_for_the_link_comes_whole_also_between_the_families() {
    let apart = std::thread::spawn(|| {
        if !observe::own_network(1_500) {
            return;
        }
        let mut plane = Plane::start(1, &BOTH);
        let long = vec![7; 2_000];
        for (listener, of_peer) in &COMBINATIONS[1..] {
            let (client, peer) = ends(&plane, *listener, of_peer);
            let unbound = far_end(&plane, peer.address().ip());
            let allocation = plane.open(&client, peer.address());
            client.send(&message::channel_data(CHANNEL, &long));
            assert_eq!(peer.receive_from(), (long.clone(), allocation.relayed));
            client.send(&message::send_whole(unbound.address(), &long));
            assert_eq!(
                unbound.receive_from(),
                (long.clone(), allocation.relayed),
                "DONT-FRAGMENT is ignored"
            );
            peer.send_to(&long, allocation.relayed);
            assert_eq!(client.receive(), message::channel_data(CHANNEL, &long));
            unbound.send_to(&long, allocation.relayed);
            assert_eq!(message::data_indication(&client.receive(), unbound.address()), Some(&long[..]));
            plane.drops(allocation.worker, DropReason::LinkMtu, 0);
        }
    });
    apart.join().expect("the test went well");
}

// proves rfc8656:15-1
#[test]
fn what_comes_over_tcp_leaves_unmarked_and_whole_only_if_the_client_asks() {
    let mut plane = Plane::start(1, &BOTH);
    let doors = Doors::open(&mut plane);
    // Nobody else sends to it.
    let peer = Client::new("127.77.0.3".parse().expect("a literal"), plane.server(0));
    observe::tell_header(&peer.socket);
    let mut client = doors.tcp();
    client.open(&mut plane, peer.address());
    // What the client marks is its connection's, and goes no further than that.
    SockRef::from(&client.wire).set_tos_v4(0xB8).expect("a type of service");
    for frame in [padded_channel_data(CHANNEL, b"data"), message::send_indication(peer.address(), b"data")] {
        client.send(&frame);
        let (bytes, _, class) = observe::receive_with_header(&peer.socket);
        assert_eq!((&bytes[..], class), (&b"data"[..], Some(0)), "best effort, no ECN");
    }
    let Some(at_peer) = observe::raw_udp(peer.address().ip()) else { return };
    for number in 0..12_u8 {
        let data = [b'#', number, number, number];
        let whole = number % 3 == 1;
        client.send(&match number % 3 {
            0 => padded_channel_data(CHANNEL, &data),
            1 => message::send_whole(peer.address(), &data),
            _ => message::send_indication(peer.address(), &data),
        });
        assert_eq!(observe::next_packet(&at_peer, &data).0, whole, "{number}");
    }
}

// proves rfc8656:16-1
#[test]
fn what_peers_mark_ends_here_for_a_client_over_tcp_and_icmp_errors_are_told() {
    let mut plane = Plane::start(1, &BOTH);
    let doors = Doors::open(&mut plane);
    let peer = far_end(&plane, "127.0.0.1".parse().expect("a literal"));
    let mut client = doors.tcp();
    let allocation = client.open(&mut plane, peer.address());
    let at_client = observe::raw_tcp("127.0.0.1".parse().expect("a literal"));
    for class in [0, 0x03, 0xB8, 0xFF] {
        observe::send_with(&peer.socket, 64, class);
        let data = [b'#', class, class, class];
        peer.send_to(&data, allocation.relayed);
        assert_eq!(client.receive(), padded_channel_data(CHANNEL, &data));
        // The kernel marks congestion of its own in TCP, which is the lower two bits.
        let marked = at_client.as_ref().map(|raw| observe::next_class(raw, &data) & 0xFC);
        assert!(matches!(marked, None | Some(0)), "{class:#x} came as {marked:?}");
    }
    let gone = Client::new("127.0.0.1".parse().expect("a literal"), plane.server(0)).address();
    let permitted = message::send_indication(gone, b"anybody?");
    client.send(&permitted);
    assert_eq!(icmp(&client.receive(), gone).as_deref(), Some(&[0, 0, 3, 3, 0, 0, 0, 0][..]));
}
