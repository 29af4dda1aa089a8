//! Behaviour discovery (RFC 5780) and Binding requests of RFC 3489, with four listeners on two addresses.

use std::net::SocketAddr;
use std::net::UdpSocket;

use swingbridge::proto::binding::Discovery;
use swingbridge::proto::binding::Endpoint;
use swingbridge::proto::binding::Quartet;

use crate::message;
use crate::plane;
use crate::plane::Client;
use crate::plane::Plane;

const CHANGE_REQUEST: u16 = 0x0003;
const PADDING: u16 = 0x0026;
const RESPONSE_PORT: u16 = 0x0027;
const PLAIN_MAPPED: u16 = 0x0001;
const ORIGIN: u16 = 0x802B;
const OTHER: u16 = 0x802C;

/// Two addresses of loopback with two ports that are free on both.
struct Corners {
    ports: [u16; 2],
}

impl Corners {
    fn find() -> Self {
        let free = |port: u16| {
            let first = UdpSocket::bind(("127.0.0.1", port)).ok()?;
            let port = first.local_addr().ok()?.port();
            UdpSocket::bind(("127.0.0.2", port)).ok().map(|second| (port, first, second))
        };
        let mut found = (0..100).filter_map(|_| free(0));
        let (one, two) = (found.next().expect("a free port"), found.next().expect("a free port"));
        // Both are held until both are known, so they differ.
        Self { ports: [one.0, two.0] }
    }

    fn at(&self, ip: usize, port: usize) -> SocketAddr {
        let last = [1, 2][ip];
        SocketAddr::from(([127, 0, 0, last], self.ports[port]))
    }

    fn discovery(&self) -> Discovery {
        let end = |bind| Endpoint { bind, external: bind };
        Discovery::new(Quartet::new(end(self.at(0, 0)), end(self.at(1, 1))))
    }

    /// Workers that listen on `addresses` and let these corners be discovered.
    fn plane(&self, workers: u16, addresses: &[String]) -> Plane {
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let mut config = plane::config(workers, &addresses);
        config.challenger.discovery = self.discovery();
        Plane::start_with(&config)
    }

    fn all(&self) -> Vec<String> {
        [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(ip, port)| self.at(ip, port).to_string()).into()
    }

    fn wildcards(&self) -> Vec<String> {
        self.ports.map(|port| format!("0.0.0.0:{port}")).into()
    }
}

/// An address as MAPPED-ADDRESS and its like hold it.
fn address(address: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(v4) = address else { panic!("IPv4 is what these tests speak") };
    let mut value = vec![0, 1];
    value.extend(v4.port().to_be_bytes());
    value.extend(v4.ip().octets());
    value
}

fn binding(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    message::stun(message::BINDING, *b"where am I??", attributes)
}

/// Answers counted that left from another address than the request's, or went to another port.
fn elsewhere(plane: &Plane) -> u64 {
    (0..plane.handles.len()).map(|worker| plane.stats(worker).answers_elsewhere.get()).sum()
}

/// Asks every corner for every change.
fn every_change_from_every_corner(corners: &Corners, plane: &Plane) {
    let before = elsewhere(plane);
    for (ip, port) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let client = Client::new([127, 0, 0, 1].into(), corners.at(0, 0));
        for flags in [0_u8, 2, 4, 6] {
            let (other_ip, other_port) = (usize::from(flags & 4 != 0), usize::from(flags & 2 != 0));
            let origin = corners.at(ip ^ other_ip, port ^ other_port);
            client.send_to(&binding(&[(CHANGE_REQUEST, &[0, 0, 0, flags])]), corners.at(ip, port));
            let (answer, from) = client.receive_from();
            assert_eq!(from, origin, "flags {flags}");
            assert_eq!(message::kind(&answer), message::BINDING_SUCCESS);
            assert_eq!(message::attribute(&answer, ORIGIN), Some(&address(origin)[..]));
            let across = corners.at(ip ^ 1, port ^ 1);
            assert_eq!(message::attribute(&answer, OTHER), Some(&address(across)[..]));
            assert_eq!(message::attribute(&answer, PLAIN_MAPPED), Some(&address(client.address())[..]));
        }
    }
    assert_eq!(elsewhere(plane), before + 12);
}

#[test]
fn each_answer_leaves_from_the_address_that_was_asked_for_whichever_worker_gives_it() {
    let corners = Corners::find();
    let plane = corners.plane(3, &corners.all());
    for _ in 0..8 {
        every_change_from_every_corner(&corners, &plane);
    }
    let busy = (0..3).filter(|worker| plane.stats(*worker).binding_answers.get() > 0).count();
    assert!(busy > 1, "one worker alone gave all answers");
}

// proves rfc5780:5-1
#[test]
fn listeners_on_every_address_serve_all_corners() {
    let corners = Corners::find();
    let plane = corners.plane(2, &corners.wildcards());
    every_change_from_every_corner(&corners, &plane);
}

// proves rfc5780:7.5-1
#[test]
fn a_response_port_is_heard_at_that_port_of_the_same_address() {
    let corners = Corners::find();
    let _plane = corners.plane(2, &corners.all());
    let client = Client::new([127, 0, 0, 1].into(), corners.at(0, 0));
    let second = Client::new([127, 0, 0, 1].into(), corners.at(0, 0));
    let mut port = second.address().port().to_be_bytes().to_vec();
    port.extend([0, 0]);
    client.send(&binding(&[(RESPONSE_PORT, &port)]));
    let answer = second.receive();
    // The mapping that it tells is the sender's.
    assert_eq!(message::attribute(&answer, PLAIN_MAPPED), Some(&address(client.address())[..]));
    assert!(client.hears_nothing());
}

// proves rfc5780:6.1-13
#[test]
fn padding_comes_back_and_makes_no_answer_longer_than_its_limit() {
    let corners = Corners::find();
    let _plane = corners.plane(1, &corners.all());
    let client = Client::new([127, 0, 0, 1].into(), corners.at(0, 0));
    for (sent, told) in [(4, 4), (1_500, 1_500), (8_000, 1_500)] {
        client.send(&binding(&[(PADDING, &vec![1; sent])]));
        let answer = client.receive();
        assert_eq!(message::attribute(&answer, PADDING), Some(&vec![0; told][..]));
    }
}

// proves rfc5780:6-4, rfc5780:6-5
#[test]
fn without_two_addresses_nothing_is_changed_and_nothing_added() {
    let plane = Plane::start(1, &["127.0.0.1:0"]);
    let client = Client::new([127, 0, 0, 1].into(), plane.server(0));
    client.send(&binding(&[(CHANGE_REQUEST, &[0, 0, 0, 6])]));
    assert_eq!(message::error_code(&client.receive()), Some(420));
    client.send(&binding(&[]));
    assert_eq!(client.receive().len(), 32);
}

#[test]
fn a_client_of_rfc_3489_is_answered_from_where_it_asked() {
    let corners = Corners::find();
    let _plane = corners.plane(2, &corners.all());
    let client = Client::new([127, 0, 0, 1].into(), corners.at(0, 0));
    let mut request = binding(&[(CHANGE_REQUEST, &[0, 0, 0, 6])]);
    request[4..8].copy_from_slice(b"old!");
    client.send(&request);
    let (answer, from) = client.receive_from();
    assert_eq!((from, message::kind(&answer)), (corners.at(1, 1), message::BINDING_SUCCESS));
    assert_eq!(answer[4..20], request[4..20]);
    assert_eq!(message::attribute(&answer, PLAIN_MAPPED), Some(&address(client.address())[..]));

    // RESPONSE-ADDRESS: a third party would be flooded by it.
    let third = Client::new([127, 0, 0, 1].into(), corners.at(0, 0));
    let mut request = binding(&[(0x0002, &address(third.address()))]);
    request[4..8].copy_from_slice(b"old!");
    client.send(&request);
    assert_eq!(message::error_code(&client.receive()), Some(420));
    assert!(third.hears_nothing());
}
