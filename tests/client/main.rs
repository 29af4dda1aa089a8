//! The async client against the program itself, on loopback: over UDP, TCP and TLS.

#![cfg(all(feature = "client", feature = "server"))]

mod ice;
#[path = "../lab_proxy/mod.rs"]
mod lab_proxy;
mod proxied;
mod redirected;
mod served;

use std::net::SocketAddr;
use std::time::Duration;

use swingbridge::client::End;
use swingbridge::client::Error;
use swingbridge::client::Failure;
use swingbridge::client::Families;
use swingbridge::client::RelayedSocket;
use swingbridge::client::Via;
use swingbridge::proto::types::limits;
use tokio::net::UdpSocket;

use served::Served;
use served::config;

/// Ample for whatever happens on loopback.
const PATIENCE: Duration = Duration::from_secs(30);

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7) as u8).collect()
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

async fn allocate(served: &Served, via: Via) -> RelayedSocket {
    let allocating = RelayedSocket::allocate(served.address, via, config("alice", "password"));
    in_time("an allocation", allocating).await.expect("granted")
}

/// At none of the ports at which the server relays: those are its own, and no peer's.
async fn peer() -> UdpSocket {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback is free");
        if !served::RELAY_PORTS.contains(&at(&socket).port()) {
            return socket;
        }
    }
}

fn at(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("bound")
}

#[tokio::test]
async fn data_travels_both_ways_over_each_transport_and_the_allocation_is_given_back() {
    let served = Served::start("");
    for via in [Via::Udp, Via::Tcp, served.tls()] {
        let socket = allocate(&served, via.clone()).await;
        assert!(socket.mapped_address().ip().is_loopback() && socket.relayed_address().port() >= 50_000);
        let peer = peer().await;
        let mut buffer = vec![0; 20_000];
        let longest = if matches!(via, Via::Udp) { 1_400 } else { 9_000 };
        for len in [0, 1, 2, 3, 4, 160, 1_200, longest] {
            let data = payload(len);
            let sent = in_time("a channel", socket.send_to(&data, at(&peer))).await;
            assert_eq!(sent.expect("sent"), len);
            let (got, from) =
                in_time(&format!("the peer's, {len} bytes by {via:?}"), peer.recv_from(&mut buffer))
                    .await
                    .expect("a socket");
            assert_eq!((&buffer[..got], from), (&data[..], socket.relayed_address()), "{via:?}");
            peer.send_to(&data, from).await.expect("sent");
            let (got, from) = in_time("the client's", socket.recv_from(&mut buffer)).await.expect("live");
            assert_eq!((&buffer[..got], from), (&data[..], at(&peer)), "{via:?}");
        }
        in_time("the end", socket.close()).await.expect("the server says so");
        let after = in_time("nothing more", socket.recv_from(&mut buffer)).await;
        assert!(matches!(after, Err(Error::Over(Some(End::Released)))), "{after:?}");
        let after = socket.send_to(b"too late", at(&peer)).await;
        assert!(matches!(after, Ok(_) | Err(Error::Over(Some(End::Released)))), "{after:?}");
    }
}

#[tokio::test]
async fn two_of_them_reach_each_other_over_different_transports() {
    let served = Served::start("");
    let (one, other) = (allocate(&served, Via::Udp).await, allocate(&served, served.tls()).await);
    let (at_one, at_other) = (one.relayed_address(), other.relayed_address());
    in_time("a permission", one.permit(at_other.ip())).await.expect("granted");
    in_time("a channel", other.bind(at_one)).await.expect("granted");
    let mut buffer = [0; 100];
    for number in 0..50_u8 {
        other.send_to(&[number; 33], at_one).await.expect("sent");
        let heard = in_time("there", one.recv_from(&mut buffer)).await.expect("live");
        assert_eq!((heard, buffer[32]), ((33, at_other), number));
        one.send_to(&[number; 21], at_other).await.expect("sent");
        let heard = in_time("and back", other.recv_from(&mut buffer)).await.expect("live");
        assert_eq!((heard, buffer[20]), ((21, at_one), number));
    }
}

#[tokio::test]
async fn refusals_are_told_with_their_code() {
    let served = Served::start("");
    for via in [Via::Udp, Via::Tcp] {
        let refused = RelayedSocket::allocate(served.address, via.clone(), config("alice", "wrong"));
        let refused = in_time("a refusal", refused).await;
        let code = |error: &Error| match error {
            Error::Failed(Failure::Refused { code, .. }) => Some(*code),
            _ => None,
        };
        assert_eq!(refused.as_ref().err().and_then(code), Some(401), "{refused:?}");
        let socket = allocate(&served, via).await;
        let forbidden: SocketAddr = "10.1.2.3:80".parse().expect("an address");
        for refused in [
            in_time("a refusal", socket.permit(forbidden.ip())).await,
            in_time("a refusal", socket.bind(forbidden)).await,
            in_time("a refusal", socket.send_to(b"hello", forbidden)).await.map(|_| ()),
        ] {
            assert_eq!(refused.as_ref().err().and_then(code), Some(403), "{refused:?}");
        }
        // Its address can be permitted. That would not help, so it is not tried.
        let denied_port = SocketAddr::from(([127, 0, 0, 1], 7));
        let refused = in_time("a refusal", socket.send_to(b"hello", denied_port)).await;
        assert_eq!(refused.as_ref().err().and_then(code), Some(403), "{refused:?}");
        let len = limits::CLIENT_SEND_MAX + 1;
        let refused = socket.send_to(&vec![0; len], forbidden).await;
        assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn whoever_is_not_there_or_not_who_it_should_be_is_an_error() {
    let served = Served::start("");
    // Bound, and nobody listens.
    let nobody = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    nobody.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("loopback is free");
    let nobody_s = nobody.local_addr().expect("bound").as_socket().expect("an address");
    let refused = RelayedSocket::allocate(nobody_s, Via::Tcp, config("alice", "password"));
    assert!(matches!(in_time("an error", refused).await, Err(Error::Connect(_))));
    let refused =
        RelayedSocket::allocate(served.address, served.tls_as("other.example"), config("alice", "password"));
    assert!(matches!(in_time("an error", refused).await, Err(Error::Connect(_))));
}

#[tokio::test]
async fn a_socket_that_is_dropped_gives_its_allocation_back() {
    let served = Served::start("allocations_per_user = 1\n");
    for via in [Via::Udp, Via::Tcp, served.tls()] {
        let socket = allocate(&served, via.clone()).await;
        let second = RelayedSocket::allocate(served.address, via.clone(), config("alice", "password"));
        let second = in_time("a refusal", second).await;
        assert!(matches!(second, Err(Error::Failed(Failure::Refused { code: 486, .. }))), "{second:?}");
        drop(socket);
        let allocated = async {
            loop {
                let again = RelayedSocket::allocate(served.address, via.clone(), config("alice", "password"));
                match again.await {
                    Ok(socket) => return socket,
                    Err(Error::Failed(Failure::Refused { code: 486, .. })) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        };
        in_time("the end", in_time("room", allocated).await.close()).await.expect("the server says so");
    }
}

#[tokio::test]
async fn a_connection_that_ends_is_the_end_of_everything() {
    // A ticket to move with does not make it last: there is nobody who would move it.
    for (tls, mobility) in [(false, false), (true, false), (false, true)] {
        let mut served = Served::start("");
        let via = if tls { served.tls() } else { Via::Tcp };
        let mut config = config("alice", "password");
        config.mobility = mobility;
        let allocating = RelayedSocket::allocate(served.address, via, config);
        let socket = in_time("an allocation", allocating).await.expect("granted");
        served.kill();
        let heard = in_time("the end", socket.recv_from(&mut [0; 10])).await;
        let lost = |error| matches!(error, Error::Over(Some(End::Lost(Failure::Disconnected))));
        assert!(lost(heard.expect_err("it is over")));
        assert!(lost(
            in_time("an error", socket.permit([127, 0, 0, 1].into())).await.expect_err("it is over")
        ));
        assert!(lost(in_time("an error", socket.close()).await.expect_err("it is over")));
    }
}

#[tokio::test]
async fn a_program_that_does_not_read_loses_datagrams_and_nothing_else() {
    let served = Served::start("");
    for via in [Via::Udp, Via::Tcp] {
        let socket = allocate(&served, via).await;
        let peer = peer().await;
        in_time("a channel", socket.bind(at(&peer))).await.expect("granted");
        for number in 0..4 * limits::CLIENT_RECEIVED_MAX {
            peer.send_to(&number.to_be_bytes(), socket.relayed_address()).await.expect("sent");
        }
        // Its task goes on all the same.
        let another = self::peer().await;
        in_time("another", socket.bind(at(&another))).await.expect("granted");
        let mut heard = 0;
        let reading = async {
            let mut buffer = [0; 100];
            peer.send_to(b"the last", socket.relayed_address()).await.expect("sent");
            loop {
                let (len, _) = socket.recv_from(&mut buffer).await.expect("live");
                heard += 1;
                if &buffer[..len] == b"the last" {
                    return;
                }
                if heard >= limits::CLIENT_RECEIVED_MAX {
                    peer.send_to(b"the last", socket.relayed_address()).await.expect("sent");
                }
            }
        };
        in_time("the last", reading).await;
    }
}

#[tokio::test]
async fn both_families_are_had_at_once_where_the_server_has_them() {
    let served = Served::start("");
    let mut both = config("alice", "password");
    both.families = Families::Both;
    let allocating = RelayedSocket::allocate(served.address, Via::Tcp, both);
    let socket = in_time("an allocation", allocating).await.expect("granted");
    // The server relays IPv4 alone: half of it, and why not the other.
    let made = socket.allocated();
    assert!(made.additional.is_none() && made.refused.is_some_and(|(_, code)| code == 440), "{made:?}");
}
