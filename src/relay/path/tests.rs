//! The tier sk_lookup, seen from its worker. What it does for clients and peers, `tests/socket` judges on every tier.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::UdpSocket;
use std::time::Duration;

use crate::net::Events;
use crate::net::Token;

use super::*;

const HOMES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn relay(index: u32, generation: u32) -> RelayId {
    RelayId { index, generation }
}

/// The paths of two workers, or nothing where it is not permitted.
fn paths() -> Option<(Poll, [Path; 2])> {
    let wish = Wish { tier: Some(Tier::SkLookup), addresses: HOMES.into(), ..Wish::default() };
    match choose(&wish, 2, std::time::Instant::now()) {
        Ok((_, mut shares)) => {
            let poll = Poll::new().expect("an epoll");
            let [one, two] = [shares.each.remove(0), shares.each.remove(0)]
                .map(|share| Path::new(&poll, share).expect("watched"));
            Some((poll, [one, two]))
        }
        Err(refusal) => {
            eprintln!("NOT PROVED: {refusal}");
            None
        }
    }
}

fn any(home: IpAddr) -> RelayAddr {
    RelayAddr::new(SocketAddr::new(home, 0))
}

fn peer(home: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(home, 0)).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    socket
}

/// How many datagrams wait at the own socket of `relay`, and at the one that all share.
fn waiting(path: &mut Path, relay: RelayId, v6: bool) -> (usize, usize) {
    let (mut own, mut shared) = (Batch::new(16), Batch::new(16));
    let _ = path.receive(relay, &mut own, 16);
    let _ = path.receive_steered(v6, &mut shared, 16);
    for place in 0..shared.len() {
        let meant_for = shared.meta(place).meant_for.expect("the kernel tells");
        assert_eq!(path.owner(meant_for), Some(relay));
    }
    (own.len(), shared.len())
}

#[test]
fn what_comes_for_an_open_port_comes_to_the_shared_socket_and_for_a_closed_one_to_nobody() {
    let Some((poll, [mut path, mut other])) = paths() else { return };
    for home in HOMES {
        let v6 = home.is_ipv6();
        let bound = path.open(&poll, relay(3, 1), any(home)).expect("opened");
        let peer = peer(home);
        peer.send_to(b"one", bound.socket()).expect("sent");
        assert_eq!(waiting(&mut other, relay(3, 1), v6), (0, 0), "another worker's");
        assert_eq!(waiting(&mut path, relay(3, 1), v6), (0, 1));
        assert_eq!(path.len(), 1);

        path.close(relay(3, 2));
        peer.send_to(b"two", bound.socket()).expect("sent");
        assert_eq!(waiting(&mut path, relay(3, 1), v6), (0, 1), "another generation was closed");

        path.close(relay(3, 1));
        assert_eq!((path.len(), path.owner(bound.socket())), (0, None));
        peer.connect(bound.socket()).expect("connected");
        peer.send(b"anybody?").expect("sent");
        let error = peer.recv(&mut [0; 8]).expect_err("the port is closed");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(waiting(&mut path, relay(3, 1), v6), (0, 0));
    }
}

#[test]
fn a_port_that_somebody_has_is_refused_and_goes_on_to_be_theirs() {
    let Some((poll, [mut path, _])) = paths() else { return };
    for home in HOMES {
        let (foreign, peer) = (peer(home), peer(home));
        let theirs = foreign.local_addr().expect("bound");
        let error = path.open(&poll, relay(1, 0), RelayAddr::new(theirs)).expect_err("it is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        peer.send_to(b"theirs", theirs).expect("sent");
        assert_eq!(foreign.recv(&mut [0; 8]).expect("it came"), 6);
        assert_eq!(path.owner(theirs), None);
    }
}

#[test]
fn somebody_at_another_address_with_the_same_port_loses_nothing() {
    let Some((poll, [mut path, _])) = paths() else { return };
    let bound = path.open(&poll, relay(1, 0), any(HOMES[0])).expect("opened").socket();
    let elsewhere = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 77).into(), bound.port());
    let foreign = UdpSocket::bind(elsewhere).expect("a socket");
    foreign.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let peer = peer(HOMES[0]);
    for _ in 0..100 {
        peer.send_to(b"theirs", elsewhere).expect("sent");
        assert_eq!(foreign.recv(&mut [0; 8]).expect("it came"), 6);
    }
    assert_eq!(waiting(&mut path, relay(1, 0), false), (0, 0));
}

#[test]
fn what_comes_while_a_port_moves_waits_for_its_next_worker() {
    let Some((poll, [mut old, mut new])) = paths() else { return };
    for home in HOMES {
        let v6 = home.is_ipv6();
        let bound = old.open(&poll, relay(3, 1), any(home)).expect("opened");
        let peer = peer(home);
        peer.send_to(b"before", bound.socket()).expect("sent");
        assert!(old.hold(relay(3, 1)));
        peer.send_to(b"meanwhile", bound.socket()).expect("sent");
        // What came before is still here, and is known.
        let mut batch = Batch::new(4);
        old.receive_steered(v6, &mut batch, 4).expect("it waits");
        assert_eq!((batch.len(), batch.datagram(0)), (1, &b"before"[..]));
        assert_eq!(old.owner(bound.socket()), Some(relay(3, 1)));

        let (moving, kept) = old.detach(&poll, relay(3, 1), true).expect("given away");
        assert!(kept);
        assert_eq!(old.owner(bound.socket()), None);
        new.attach(&poll, relay(3, 1), moving).expect("taken over");
        peer.send_to(b"after", bound.socket()).expect("sent");
        assert_eq!(waiting(&mut new, relay(3, 1), v6), (1, 1), "from both places");

        // The copy that only sends goes, and takes nothing with it.
        old.close(relay(3, 1));
        peer.send_to(b"later", bound.socket()).expect("sent");
        assert_eq!(waiting(&mut new, relay(3, 1), v6), (0, 1));
        new.close(relay(3, 1));
    }
}

#[test]
fn after_a_restart_what_nobody_wants_is_steered_no_longer() {
    let Some((poll, [mut path, _])) = paths() else { return };
    let bound: Vec<_> =
        (0..3).map(|index| path.open(&poll, relay(index, 0), any(HOMES[0])).expect("opened")).collect();
    path.restart();
    assert_eq!(path.open(&poll, relay(0, 0), bound[0]).expect("still there"), bound[0]);
    path.sweep(|known| known == relay(2, 0));
    let owners: Vec<_> = bound.iter().map(|at| path.owner(at.socket())).collect();
    assert_eq!(owners, [Some(relay(0, 0)), None, Some(relay(2, 0))]);
    assert_eq!(path.steered.as_ref().map(Steered::steered_ports), Some(2));
}

#[test]
fn nothing_is_steered_when_its_worker_is_gone() {
    let Some((poll, [mut path, other])) = paths() else { return };
    for (index, home) in (0..).zip(HOMES) {
        path.open(&poll, relay(index, 0), any(home)).expect("opened");
    }
    assert_eq!(other.steered.as_ref().map(Steered::steered_ports), Some(2));
    drop(path);
    assert_eq!(other.steered.as_ref().map(Steered::steered_ports), Some(0));
}

#[test]
fn what_raw_sockets_cannot_send_leaves_by_the_bound_one() {
    let Some((poll, [mut path, _])) = paths() else { return };
    for (index, home) in (0..).zip(HOMES) {
        path.open(&poll, relay(index, 0), any(home)).expect("opened");
    }
    let mut raw =
        |index, to: &str, len| path.raw_for(relay(index, 0), to.parse().expect("a literal"), len).is_some();
    assert!(raw(0, "203.0.113.9:7", 172) && raw(0, "203.0.113.9:7", 9_000));
    assert!(raw(1, "[2001:db8::9]:7", 172) && raw(1, "[2001:db8::9]:7", V6_WHOLE));
    for (index, to, len) in [
        (0, "203.0.113.9:0", 1),
        (0, "[2001:db8::9]:7", 1),
        (1, "203.0.113.9:7", 1),
        (1, "[2001:db8::9]:7", V6_WHOLE + 1),
        (1, "[fe80::9]:7", 1),
        (1, "[2001:db8::9%2]:7", 1),
        (2, "203.0.113.9:7", 1),
    ] {
        assert!(!raw(index, to, len), "{to}, {len} bytes");
    }
}

#[test]
fn what_leaves_in_runs_leaves_by_the_bound_socket_from_the_next_batch_on() {
    let Some((poll, [mut path, _])) = paths() else { return };
    path.open(&poll, relay(0, 0), any(HOMES[0])).expect("opened");
    let to = "203.0.113.9:7".parse().expect("a literal");
    let mut batch = |packets: usize| {
        let raw = (0..packets).filter(|_| path.raw_for(relay(0, 0), to, 172).is_some()).count();
        path.next_batch();
        raw
    };
    assert_eq!([batch(16), batch(16), batch(1), batch(1)], [16, 0, 0, 1]);
}

/// Data that fits into 1,280 octets with the headers of IPv6 and UDP.
const V6_WHOLE: usize = 1_232;

#[test]
fn its_worker_is_woken_by_what_is_steered_to_it() {
    let Some((poll, [mut path, _])) = paths() else { return };
    let bound = path.open(&poll, relay(0, 0), any(HOMES[0])).expect("opened");
    peer(HOMES[0]).send_to(b"wake", bound.socket()).expect("sent");
    let mut events = Events::new(8);
    let is_told = |events: &Events| {
        (0..events.others()).any(|index| events.token(index) == Some(Token::Steered { v6: false }))
    };
    // Other tests of this machine wake whoever hears ICMP errors.
    for _ in 0..1_000 {
        poll.wait(&mut events, Some(Duration::from_secs(20))).expect("waits");
        if is_told(&events) {
            return;
        }
    }
    panic!("it was not told");
}
