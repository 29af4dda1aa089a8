//! Everything in this folder, once more on the tier sk_lookup; and what only it could get wrong.

use std::env;
use std::io;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use swingbridge::relay::Tier;
use swingbridge::relay::Wish;
use swingbridge::relay::explain;

use crate::message;
use crate::plane::CHANNEL;
use crate::plane::Client;
use crate::plane::PATH_VARIABLE;
use crate::plane::Plane;

/// Names the tests that start all others again, which must not start themselves.
const ALL_AGAIN: &str = "tiers::every_test_of_this_folder_passes_";

/// Whether this machine lets this process have the tier; says so aloud where it does not.
fn is_permitted() -> bool {
    let loopback = ["127.0.0.1", "::1"].map(|ip| ip.parse().expect("a literal"));
    let wish = Wish { tier: Some(Tier::SkLookup), addresses: loopback.into(), ..Wish::default() };
    let verdict = explain(&wish, 1).into_iter().find(|verdict| verdict.tier == Tier::SkLookup);
    match verdict.and_then(|verdict| verdict.refusal) {
        None => true,
        Some(refusal) => {
            println!("NOT PROVED on sk_lookup: {refusal}");
            eprintln!("NOT PROVED on sk_lookup: {refusal}");
            false
        }
    }
}

#[test]
fn every_test_of_this_folder_passes_on_sk_lookup_too() {
    all_again(Tier::SkLookup);
}

#[test]
fn every_test_of_this_folder_passes_where_sockets_send_raw_too() {
    all_again(Tier::Sockets);
}

/// One process at a time: some of the tests hold what passes against a rate.
static TURN: Mutex<()> = Mutex::new(());

/// Runs all tests again on `tier`, where this process may have raw sockets.
fn all_again(tier: Tier) {
    if env::var_os(PATH_VARIABLE).is_some() || !is_permitted() {
        return;
    }
    let _turn = TURN.lock();
    let this = env::current_exe().expect("this program");
    let ran = Command::new(this)
        .args(["--skip", ALL_AGAIN])
        .env(PATH_VARIABLE, tier.word())
        .output()
        .expect("it can be started");
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{told}\n{}", String::from_utf8_lossy(&ran.stderr));
    let result = told.lines().find(|line| line.starts_with("test result: ok.")).expect("a result");
    println!("on {}: {result}", tier.word());
    assert!(!result.contains(" 0 passed"), "{result}");
}

fn socket(at: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(at).expect("a socket on loopback");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    socket
}

// On whichever tier: sockets, and by the test above sk_lookup.
#[test]
fn a_foreign_socket_within_the_range_loses_no_datagram_while_media_flows() {
    let mut plane = Plane::start(2, &["127.0.0.1:0", "[::1]:0"]);
    for (listener, elsewhere) in [(0, "127.0.0.77"), (0, "127.0.0.2"), (1, "::1")] {
        let server = plane.server(listener);
        let (client, peer) = (Client::new(server.ip(), server), Client::new(server.ip(), server));
        let allocation = plane.open(&client, peer.address());
        // Unconnected, at the relay address with a port of its own; and where the family has another address, there with
        // the port of the allocation.
        let neighbour = socket(SocketAddr::new(server.ip(), 0));
        let elsewhere: SocketAddr = match elsewhere.parse().expect("a literal") {
            ip if ip == server.ip() => SocketAddr::new(ip, 0),
            ip => SocketAddr::new(ip, allocation.relayed.port()),
        };
        let namesake = socket(elsewhere);
        for number in 0..200_u8 {
            for foreign in [&neighbour, &namesake] {
                let at = foreign.local_addr().expect("bound");
                peer.send_to(&[number], at);
            }
            peer.send_to(&[number], allocation.relayed);
            assert_eq!(client.receive(), message::channel_data(CHANNEL, &[number]));
            for foreign in [&neighbour, &namesake] {
                let mut buffer = [0; 4];
                assert_eq!(foreign.recv(&mut buffer).expect("it came"), 1);
                assert_eq!(buffer[0], number);
            }
        }
    }
}

#[test]
fn a_port_without_an_allocation_is_closed_before_and_after() {
    let mut plane = Plane::start(1, &["127.0.0.1:0", "[::1]:0"]);
    for listener in 0..2 {
        let server = plane.server(listener);
        let (client, peer) = (Client::new(server.ip(), server), Client::new(server.ip(), server));
        let allocation = plane.open(&client, peer.address());
        let prober = socket(SocketAddr::new(server.ip(), 0));
        prober.connect(allocation.relayed).expect("connected");
        prober.send(b"open?").expect("sent");
        plane.close(&allocation);
        prober.send(b"closed?").expect("sent");
        let error = prober.recv(&mut [0; 8]).expect_err("nobody is there");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        // Whoever takes it next has it whole.
        let next = socket(allocation.relayed);
        prober.send(b"next").expect("sent");
        assert_eq!(next.recv(&mut [0; 8]).expect("it came"), 4);
    }
}
