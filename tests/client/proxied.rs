//! The client through an HTTP proxy.

use std::net::SocketAddr;

use swingbridge::client::Error;
use swingbridge::client::HttpProxy;
use swingbridge::client::ProxyFailure;
use swingbridge::client::RelayedSocket;
use swingbridge::client::Via;
use swingbridge::proto::client::ProxyLogin;
use swingbridge::testbed::proxy::Rules;

use super::at;
use super::in_time;
use super::lab_proxy::LabProxy;
use super::lab_proxy::Pace;
use super::peer;
use super::served::Served;
use super::served::config;

fn through(login: &str, address: SocketAddr) -> HttpProxy {
    HttpProxy::parse(&format!("http://{login}{address}")).expect("a proxy")
}

async fn refused(proxy: &HttpProxy, server: SocketAddr, via: Via) -> ProxyFailure {
    let asked = RelayedSocket::allocate_through(proxy, server, via, config("alice", "password"));
    match in_time("a refusal", asked).await {
        Err(Error::Proxy(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn data_travels_through_a_proxy_both_ways_over_tcp_and_tls() {
    let served = Served::start("");
    for (pace, login) in [(Pace::Whole, ""), (Pace::ByteByByte, "bob:wonder%20land@")] {
        let rules = Rules {
            login: ProxyLogin::new("bob", "wonder land").filter(|_| !login.is_empty()),
            ports: vec![],
        };
        let lab = LabProxy::start(rules, pace);
        for via in [Via::Tcp, served.tls()] {
            let before = lab.tunnels();
            let proxy = through(login, lab.address);
            let allocating = RelayedSocket::allocate_through(
                &proxy,
                served.address,
                via.clone(),
                config("alice", "password"),
            );
            let socket = in_time("an allocation", allocating).await.expect("granted");
            assert_eq!(lab.tunnels(), before + 1, "{via:?}");
            let peer = peer().await;
            let mut buffer = [0; 2_000];
            for len in [0, 1, 1_200] {
                let data = super::payload(len);
                in_time("a channel", socket.send_to(&data, at(&peer))).await.expect("sent");
                let (got, from) = in_time("the peer's", peer.recv_from(&mut buffer)).await.expect("a socket");
                assert_eq!((&buffer[..got], from), (&data[..], socket.relayed_address()), "{via:?}");
                peer.send_to(&data, from).await.expect("sent");
                let (got, _) = in_time("the client's", socket.recv_from(&mut buffer)).await.expect("live");
                assert_eq!(&buffer[..got], &data[..], "{via:?}");
            }
            in_time("the end", socket.close()).await.expect("the server says so");
        }
    }
}

#[tokio::test]
async fn a_proxy_that_opens_no_way_is_told_by_its_reason() {
    let served = Served::start("");
    let known = Rules { login: ProxyLogin::new("bob", "b"), ports: vec![] };
    let strict = Rules { login: None, ports: vec![443] };
    let (known, strict) = (LabProxy::start(known, Pace::Whole), LabProxy::start(strict, Pace::ByteByByte));
    let open = LabProxy::start(Rules::default(), Pace::Whole);
    let nobody: SocketAddr = "127.0.0.1:1".parse().expect("an address");
    for (proxy, server, why) in [
        (through("", known.address), served.address, ProxyFailure::LoginWanted),
        (through("bob:c@", known.address), served.address, ProxyFailure::LoginRefused),
        (through("", strict.address), served.address, ProxyFailure::Refused { status: 403 }),
        (through("", open.address), nobody, ProxyFailure::Refused { status: 502 }),
    ] {
        assert_eq!(refused(&proxy, server, Via::Tcp).await, why);
        assert_eq!(refused(&proxy, server, served.tls()).await, why);
    }
    assert_eq!(refused(&through("", open.address), served.address, Via::Udp).await, ProxyFailure::Datagrams);
    assert_eq!(open.tunnels(), 0);
    let missing = through("", nobody);
    let none =
        RelayedSocket::allocate_through(&missing, served.address, Via::Tcp, config("alice", "password"));
    assert!(matches!(in_time("an error", none).await, Err(Error::Connect(_))));
}
