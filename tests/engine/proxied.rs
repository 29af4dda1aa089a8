//! Load through an HTTP proxy.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::time::Duration;

use swingbridge::load::Engine;
use swingbridge::load::Fault;
use swingbridge::load::Rig as _;
use swingbridge::load::fault::FaultKind;
use swingbridge::load::plan::Carrier;
use swingbridge::load::plan::PeerPlace;
use swingbridge::load::plan::Plan;
use swingbridge::load::plan::Proxy;
use swingbridge::load::plan::Trust;
use swingbridge::proto::client::HttpProxy;
use swingbridge::proto::client::ProxyLogin;
use swingbridge::testbed::proxy::Rules;

use super::CALLS;
use super::engine;
use super::lab_proxy::LabProxy;
use super::lab_proxy::Pace;
use super::looker;
use super::plan;
use super::served::Served;

fn through(plan: &mut Plan, login: &str, address: SocketAddr) {
    let url = HttpProxy::parse(&format!("http://{login}{address}")).expect("a proxy");
    plan.servers[0].proxy = Some(Proxy { url, address });
    (plan.servers[0].carrier, plan.servers[0].trust) = (Carrier::Tcp, Trust::Anyone);
}

fn fault(plan: &Plan) -> Fault {
    engine(plan).hold(1, &mut looker()).expect_err("no way leads there")
}

#[test]
fn calls_and_pairs_of_agents_go_through_a_proxy() {
    let served = Served::start();
    let rules = Rules { login: ProxyLogin::new("bob", "wonder land"), ports: vec![] };
    let lab = LabProxy::start(rules, Pace::ByteByByte);
    for carrier in [Carrier::Tcp, Carrier::Tls, Carrier::LegacyTcp] {
        let before = lab.tunnels();
        let mut plan = plan(&served, "password");
        through(&mut plan, "bob:wonder%20land@", lab.address);
        (plan.servers[0].carrier, plan.peer) = (carrier, PeerPlace::Relay);
        let mut engine = engine(&plan);
        let setup = engine.hold(CALLS, &mut looker()).unwrap_or_else(|fault| panic!("{carrier}: {fault}"));
        assert!(setup.failures.is_empty() && setup.asked == setup.served, "{carrier}: {setup:?}");
        assert!(u64::from(lab.tunnels() - before) >= setup.asked, "{carrier}");
        let step = engine.measure(Duration::from_secs(1), &mut looker()).expect("it goes through");
        // A busy machine may lose some behind the server, which is no matter of the proxy's.
        for flow in [&step.up, &step.down] {
            assert!(flow.sent > 0 && flow.received * 2 > flow.sent, "{carrier}: {flow:?}");
        }
        assert_eq!(step.strangers, 0, "{carrier}");
        drop(engine);
        assert_eq!(served.allocations_left(), 0.0, "{carrier}");
    }
    let mut plan = plan(&served, "password");
    through(&mut plan, "bob:wonder%20land@", lab.address);
    let pairs =
        engine(&plan).ice(5, 100.0, true, Duration::from_secs(15), &mut looker()).expect("they connect");
    assert_eq!((pairs.connected, pairs.by_kind.get("relay/tcp-relay/tcp")), (5, Some(&5)));
}

#[test]
fn a_proxy_that_opens_no_way_is_a_plain_sentence_with_a_cure_and_without_a_password() {
    let served = Served::start();
    let known = LabProxy::start(Rules { login: ProxyLogin::new("bob", "b"), ports: vec![] }, Pace::Whole);
    let strict = LabProxy::start(Rules { login: None, ports: vec![443] }, Pace::Whole);
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    for (login, address, kind, says, cure) in [
        ("", known.address, FaultKind::Request, "wants a user and a password (407)", "NAME:PASSWORD@"),
        ("bob:sesame@", known.address, FaultKind::Request, "does not take this user", "check the name"),
        ("", strict.address, FaultKind::Server, "forbids a tunnel to this server (403)", "port 443 alone"),
        ("bob:sesame@", nobody, FaultKind::Server, "where the proxy", "--proxy"),
        ("bob:sesame@", answers(b"HTTP/1.1 302 There\r\n\r\n"), FaultKind::Server, "(302)", ""),
        ("", answers(b"SSH-2.0-x\r\n\r\n"), FaultKind::Server, "speaks no HTTP", "CONNECT"),
        ("", answers(b"HTTP/1.1 200 o"), FaultKind::Server, "before it had answered", ""),
    ] {
        let mut plan = plan(&served, "password");
        through(&mut plan, login, address);
        let fault = fault(&plan);
        let told = fault.cure.clone().unwrap_or_default();
        assert!(fault.kind == kind && fault.what.contains(says) && told.contains(cure), "{says}: {fault}");
        assert!(!format!("{fault} {plan:?}").contains("sesame"), "{fault}");
    }
    let mut plan = plan(&served, "password");
    through(&mut plan, "", strict.address);
    plan.servers[0].carrier = Carrier::Udp;
    let fault = Engine::new(&plan, &plan.servers[0]).map(drop).expect_err("no datagram goes through it");
    assert!(fault.kind == FaultKind::Request && fault.what.contains("no UDP"), "{fault}");
}

/// Whatever it is asked, it says this and ends.
fn answers(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is free");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let (mut asked, mut byte) = (Vec::new(), [0]);
            while !asked.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
                asked.push(byte[0]);
            }
            let _ = client.write_all(answer);
        }
    });
    address
}
