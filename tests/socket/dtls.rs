//! Clients over DTLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use dimpl::Dtls;
use dimpl::DtlsCertificate;
use dimpl::Output;
use swingbridge::load::carrier;
use swingbridge::load::carrier::CertificateFlaw;
use swingbridge::load::carrier::Failure;
use swingbridge::load::carrier::Parcel;
use swingbridge::load::carrier::Standing;
use swingbridge::load::carrier::Taken;
use swingbridge::load::plan::Carrier;
use swingbridge::load::plan::Server;
use swingbridge::load::plan::Trust;
use swingbridge::load::plan::Who;
use swingbridge::net::Certificate;
use swingbridge::net::Certificates;
use swingbridge::net::dtls::DtlsServer;
use swingbridge::proto::client::Credential;
use swingbridge::proto::client::Proof;
use swingbridge::proto::media::DropReason;
use swingbridge::proto::types::Secret;
use swingbridge::proto::types::Transport;
use swingbridge::proto::wire::dtls::COOKIE_LEN;
use swingbridge::proto::wire::dtls::Hello;
use swingbridge::proto::wire::dtls::VERIFY_REQUEST_LEN;
use swingbridge::relay::Report;
use swingbridge::relay::ToWorker;

use crate::doors::allocate;
use crate::doors::grant;
use crate::message;
use crate::plane::Allocation;
use crate::plane::CHANNEL;
use crate::plane::Client;
use crate::plane::Plane;
use crate::plane::config;
use crate::plane::eventually;

const NOWHERE: &str = "127.0.0.1:9";

/// A key pair of the kind that the library knows.
fn pair() -> (String, String, DtlsCertificate) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a name");
    let own = DtlsCertificate {
        certificate: made.cert.der().to_vec(),
        private_key: made.signing_key.serialize_der(),
    };
    (made.cert.pem(), made.signing_key.serialize_pem(), own)
}

fn plane(workers: u16) -> Plane {
    let (chain, key, _) = pair();
    let shown = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).expect("sound");
    let mut config = config(workers, &["127.0.0.1:0"]);
    let certificates = Arc::new(Certificates::new(vec![shown]));
    config.dtls = Some(DtlsServer::new(certificates, [7; 32]).expect("defaults are sound"));
    Plane::start_with(&config)
}

/// A client on a socket of its own.
struct Caller {
    bare: Client,
    dtls: Dtls,
    room: Vec<u8>,
    heard: Vec<Vec<u8>>,
    connected: bool,
    closed: bool,
}

impl Caller {
    fn new(server: SocketAddr) -> Self {
        Self::over(Client::new(server.ip(), server))
    }

    fn over(bare: Client) -> Self {
        let mut dtls = Dtls::new_12(Arc::default(), pair().2, Instant::now());
        dtls.set_active(true);
        dtls.handle_timeout(Instant::now()).expect("it begins");
        Self { bare, dtls, room: vec![0; 1 << 15], heard: Vec::new(), connected: false, closed: false }
    }

    /// What it would send now.
    fn outgoing(&mut self) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        loop {
            match self.dtls.poll_output(&mut self.room) {
                Output::Packet(packet) => datagrams.push(packet.to_vec()),
                Output::Timeout(_) => return datagrams,
                Output::Connected => self.connected = true,
                Output::ApplicationData(data) => self.heard.push(data.to_vec()),
                Output::CloseNotify => self.closed = true,
                _ => {}
            }
        }
    }

    fn send(&mut self) {
        for datagram in self.outgoing() {
            self.bare.send(&datagram);
        }
    }

    fn listen(&mut self) {
        let datagram = self.bare.receive();
        self.dtls.handle_timeout(Instant::now()).expect("in time");
        self.dtls.handle_packet(&datagram).expect("the server speaks well");
        self.send();
    }

    fn shake(mut self) -> Self {
        self.send();
        while !self.connected {
            self.listen();
        }
        self
    }

    fn say(&mut self, message: &[u8]) {
        self.dtls.send_application_data(message).expect("connected");
        self.send();
    }

    fn receive(&mut self) -> Vec<u8> {
        while self.heard.is_empty() {
            self.listen();
        }
        self.heard.remove(0)
    }

    fn open(&mut self, plane: &mut Plane, peer: SocketAddr) -> Allocation {
        self.say(&message::stun(message::ALLOCATE, *b"who are you?", &[]));
        let challenge = self.receive();
        assert_eq!(message::error_code(&challenge), Some(401));
        let nonce = message::attribute(&challenge, message::NONCE).expect("401 carries a nonce").to_vec();
        self.say(&allocate(&nonce, *b"it's me, it."));
        let (worker, request) = plane.fresh();
        let allocation = grant(plane, worker, request.from, peer);
        let ready = message::stun(message::BINDING_SUCCESS, *b"it is ready.", &[]);
        plane.push(worker, ToWorker::Reply { to: request.from, bytes: ready.clone().into() });
        assert_eq!(self.receive(), ready);
        allocation
    }
}

fn peer(server: SocketAddr) -> Client {
    Client::new(server.ip(), NOWHERE.parse().expect("a literal"))
}

// proves rfc8489:12-5, rfc8656:5-19
#[test]
fn data_travels_both_ways_under_dtls() {
    let mut plane = plane(2);
    let server = plane.server(0);
    let (mut client, peer) = (Caller::new(server).shake(), peer(server));
    let allocation = client.open(&mut plane, peer.address());
    assert_eq!(allocation.five_tuple.transport, Transport::Dtls);
    for len in [0, 1, 4, 172, 1_200, 9_000] {
        let data = vec![len as u8; len];
        // No padding: each record is a message (RFC 7350 § 4.6).
        client.say(&message::channel_data(CHANNEL, &data));
        assert_eq!(peer.receive_from(), (data.clone(), allocation.relayed));
        peer.send_to(&data, allocation.relayed);
        assert_eq!(client.receive(), message::channel_data(CHANNEL, &data));
    }
    let stats = plane.stats(allocation.worker);
    assert_eq!((stats.dtls.cookies.get(), stats.dtls.begun.get(), stats.dtls.associations.get()), (1, 1, 1));
    eventually("the count", || (stats.to_clients.packets.get() == 6).then_some(()));

    // What comes bare from the same five-tuple is somebody else's.
    client.bare.send(&message::channel_data(CHANNEL, b"bare"));
    assert!(peer.hears_nothing());

    client.dtls.close().expect("connected");
    client.send();
    assert!(
        matches!(plane.report(allocation.worker), Report::StreamGone { from } if from == allocation.five_tuple)
    );
    eventually("its end", || (stats.dtls.ended.get() == 1).then_some(()));
    assert_eq!(stats.dtls.associations.get(), 0);
}

#[test]
fn hellos_without_a_cookie_leave_nothing_behind_and_are_answered_with_less() {
    let plane = plane(1);
    let server = plane.server(0);
    let stranger = Client::new(server.ip(), server);
    let hello = Caller::new(server).outgoing().remove(0);
    for _ in 0..500 {
        stranger.send(&hello);
        let answer = stranger.receive();
        assert_eq!((answer.len(), answer[13]), (VERIFY_REQUEST_LEN, 3));
        assert!(answer.len() < hello.len());
    }
    let stats = plane.stats(0);
    assert_eq!(
        (stats.dtls.cookies.get(), stats.dtls.begun.get(), stats.dtls.associations.get()),
        (500, 0, 0)
    );

    // A cookie is good for its client and its hello alone.
    let mut honest = Caller::new(server);
    honest.send();
    honest.listen_without_answer();
    let second = honest.outgoing().remove(0);
    assert_eq!(Hello::read(&second).expect("a hello").cookie().len(), COOKIE_LEN);
    stranger.send(&second);
    assert_eq!(stranger.receive()[13], 3, "somebody else's cookie");
    let mut other = second.clone();
    *other.last_mut().expect("not empty") ^= 1;
    honest.bare.send(&other);
    assert_eq!(honest.bare.receive()[13], 3, "another hello's cookie");
    assert_eq!(stats.dtls.begun.get(), 0);
}

impl Caller {
    fn listen_without_answer(&mut self) {
        let datagram = self.bare.receive();
        self.dtls.handle_packet(&datagram).expect("the server speaks well");
    }
}

// proves rfc8656:3.1-1
#[test]
fn a_client_of_an_old_version_is_told_so_at_once() {
    let plane = plane(1);
    let server = plane.server(0);
    let stranger = Client::new(server.ip(), server);
    let mut hello = Caller::new(server).outgoing().remove(0);
    hello[26] = 0xFF;
    stranger.send(&hello);
    let alert = stranger.receive();
    assert_eq!((alert[0], &alert[13..]), (21, &[2, 70][..]));
    assert_eq!((plane.stats(0).dtls.refused.get(), plane.stats(0).dtls.cookies.get()), (1, 0));
}

#[test]
fn a_hello_that_was_lost_and_sent_again_begins_at_its_number() {
    let plane = plane(1);
    let mut client = Caller::new(plane.server(0));
    // The first one never arrives; the second has the number 1, and the server's numbers go on from there.
    let lost = client.outgoing();
    assert_eq!(lost.len(), 1);
    client.dtls.handle_timeout(Instant::now() + Duration::from_secs(3)).expect("it tries again");
    let again = client.outgoing().remove(0);
    assert_eq!(Hello::read(&again).expect("a hello").sequence(), 1);
    client.bare.send(&again);
    client.listen_without_answer();
    let with_cookie = client.outgoing().remove(0);
    let sequence = Hello::read(&with_cookie).expect("a hello").sequence();
    client.bare.send(&with_cookie);
    let flight = client.bare.receive();
    let first = u64::from_be_bytes([0, 0, flight[5], flight[6], flight[7], flight[8], flight[9], flight[10]]);
    assert!(first >= sequence, "{first} after {sequence}");
    client.dtls.handle_packet(&flight).expect("the server speaks well");
    let client = client.shake();
    assert!(client.connected);
    assert_eq!(plane.stats(0).dtls.begun.get(), 1);
}

#[test]
fn a_client_that_begins_anew_from_its_port_gets_a_new_association() {
    let mut plane = plane(1);
    let server = plane.server(0);
    let peer = peer(server);
    let mut first = Caller::new(server).shake();
    let allocation = first.open(&mut plane, peer.address());
    let mut second = Caller::over(first.bare).shake();
    second.say(&message::channel_data(CHANNEL, b"again"));
    assert_eq!(peer.receive_from(), (b"again".to_vec(), allocation.relayed));
    let stats = plane.stats(0);
    assert_eq!((stats.dtls.begun.get(), stats.dtls.associations.get()), (2, 1));
}

#[test]
fn records_of_nobody_and_broken_ones_are_dropped() {
    let plane = plane(1);
    let server = plane.server(0);
    let stranger = Client::new(server.ip(), server);
    let hello = Caller::new(server).outgoing().remove(0);
    let mut data = vec![23, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 5, 0, 20];
    data.extend([0; 20]);
    stranger.send(&data);
    for len in [14, 30, hello.len() - 1] {
        stranger.send(&hello[..len]);
    }
    plane.drops(0, DropReason::Unclassified, 4);
    assert!(stranger.hears_nothing());

    let mut client = Caller::new(server).shake();
    for at in 0..60 {
        let mut broken = data.clone();
        broken[at % 33] ^= 1 << (at % 8);
        client.bare.send(&broken);
    }
    client.say(&message::stun(message::BINDING, *b"still there?", &[]));
    assert_eq!(client.receive()[8..20], *b"still there?");
}

#[test]
fn what_nothing_protects_does_no_harm_to_an_association() {
    let plane = plane(1);
    let mut client = Caller::new(plane.server(0)).shake();
    let plain = |kind: u8, sequence: u8, fragment: &[u8]| {
        let head = [kind, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 1, sequence, 0, fragment.len() as u8];
        [&head[..], fragment].concat()
    };
    for sequence in 0..250 {
        // A fatal alert, the end, a change of ciphers, half a Certificate, a Finished, a heartbeat; data, a Binding request.
        let (half, binding) = (
            [11, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0, 1, 9],
            message::stun(message::BINDING, *b"who, oh who?", &[]),
        );
        let finished = [&[20, 0, 0, 12, 0, 4, 0, 0, 0, 0, 0, 12][..], &[sequence; 12]].concat();
        let others: [(u8, &[u8]); 7] = [
            (21, &[2, 40]),
            (21, &[1, 0]),
            (20, &[1]),
            (22, &half),
            (22, &finished),
            (24, &[1, 0]),
            (23, &binding),
        ];
        for (kind, fragment) in others {
            client.bare.send(&plain(kind, sequence, fragment));
        }
    }
    client.say(&message::stun(message::BINDING, *b"still there?", &[]));
    assert_eq!(client.receive()[8..20], *b"still there?");
    assert_eq!(plane.stats(0).dtls.ended.get(), 0);
}

/// `hello` with suites that nobody has, and with `cookie`.
fn not_to_be_agreed_with(hello: &[u8], cookie: &[u8]) -> Vec<u8> {
    let cookie_at = 13 + 12 + 2 + 32 + 1;
    assert_eq!(hello[cookie_at - 1..=cookie_at], [0, 0], "no session, no cookie");
    let behind = &hello[cookie_at + 1..];
    let suites = 2 + usize::from(u16::from_be_bytes([behind[0], behind[1]]));
    let body = [
        &hello[25..cookie_at],
        &[cookie.len() as u8],
        cookie,
        &behind[..2],
        &vec![0xFA; suites - 2],
        &behind[suites..],
    ];
    let body = body.concat();
    let mut made = [&hello[..25], &body].concat();
    made[11..13].copy_from_slice(&(12 + body.len() as u16).to_be_bytes());
    for at in [15, 23] {
        made[at..at + 2].copy_from_slice(&(body.len() as u16).to_be_bytes());
    }
    made
}

#[test]
fn a_hello_that_begins_nothing_ends_nothing() {
    let mut plane = plane(1);
    let server = plane.server(0);
    let (mut client, peer) = (Caller::new(server).shake(), peer(server));
    let allocation = client.open(&mut plane, peer.address());
    let hello = Caller::new(server).outgoing().remove(0);
    client.bare.send(&not_to_be_agreed_with(&hello, &[]));
    let verify = client.bare.receive();
    assert_eq!((verify.len(), verify[13]), (VERIFY_REQUEST_LEN, 3));
    client.bare.send(&not_to_be_agreed_with(&hello, &verify[VERIFY_REQUEST_LEN - COOKIE_LEN..]));
    let stats = plane.stats(0);
    eventually("a refusal", || (stats.dtls.refused.get() == 1).then_some(()));
    assert_eq!((stats.dtls.begun.get(), stats.dtls.associations.get()), (1, 1));
    client.say(&message::channel_data(CHANNEL, b"as before"));
    assert_eq!(peer.receive_from(), (b"as before".to_vec(), allocation.relayed));
}

/// A line of the load generator over DTLS, and how it ended its handshake.
struct Line {
    line: carrier::Line,
    room: carrier::Room,
}

impl Line {
    fn dial(address: SocketAddr, trust: Trust) -> Self {
        let proof = Proof::Password(Secret::new(*b"secret"));
        let server = Server {
            uri: "turns:localhost?transport=udp".to_owned(),
            host: "localhost".to_owned(),
            address,
            carrier: Carrier::Dtls,
            who: Who::One(Credential { username: b"alice"[..].into(), proof, token: None }),
            trust,
            watch: None,
            proxy: None,
        };
        let dialler = carrier::Dialler::new(&server).expect("sound").expect("a line");
        let line = dialler.dial(None, Instant::now()).expect("begun");
        Self { line, room: carrier::Room::default() }
    }

    fn settle(&mut self) -> Standing {
        eventually("an end of the handshake", || match self.line.on_ready(Instant::now(), &mut self.room) {
            Standing::Connecting => None,
            other => Some(other.clone()),
        })
    }

    fn say(&mut self, message: &[u8]) {
        assert_eq!(self.line.write(Parcel::Message(message)), Taken::Taken);
        assert_eq!(self.line.flush(), Ok(true));
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut heard = None;
        eventually("a message", || {
            let read = self.line.read(Instant::now(), &mut self.room, &mut |parcel| match parcel {
                Parcel::Message(bytes) => heard = Some(bytes.to_vec()),
                Parcel::Data(_) => panic!("there is none in this dialect"),
            });
            read.expect("it carries");
            heard.take()
        })
    }
}

#[test]
fn a_line_of_the_load_generator_carries_a_call() {
    let mut plane = plane(1);
    let server = plane.server(0);
    let (mut line, peer) = (Line::dial(server, Trust::Anyone), peer(server));
    assert!(matches!(line.settle(), Standing::Up(_)));
    line.say(&message::stun(message::ALLOCATE, *b"who are you?", &[]));
    let challenge = line.receive();
    let nonce = message::attribute(&challenge, message::NONCE).expect("401 carries a nonce").to_vec();
    line.say(&allocate(&nonce, *b"it's me, it."));
    let (worker, request) = plane.fresh();
    let allocation = grant(&mut plane, worker, request.from, peer.address());
    let ready = message::stun(message::BINDING_SUCCESS, *b"it is ready.", &[]);
    plane.push(worker, ToWorker::Reply { to: request.from, bytes: ready.clone().into() });
    assert_eq!(line.receive(), ready);
    for len in [0, 1, 172, 1_200, 9_000] {
        let data = vec![len as u8; len];
        line.say(&message::channel_data(CHANNEL, &data));
        assert_eq!(peer.receive_from(), (data.clone(), allocation.relayed));
        peer.send_to(&data, allocation.relayed);
        assert_eq!(line.receive(), message::channel_data(CHANNEL, &data));
    }
    assert!(line.line.due().is_some(), "its clock goes on");
    line.line.leave();
    assert!(matches!(plane.report(worker), Report::StreamGone { .. }));
}

#[test]
fn a_line_of_the_load_generator_judges_certificates_and_notices_that_nobody_is_there() {
    let plane = plane(1);
    let file = std::env::temp_dir().join(format!("swingbridge-dtls-{}.pem", std::process::id()));
    std::fs::write(&file, pair().0).expect("written");
    let mut stranger = Line::dial(plane.server(0), Trust::Authority(file.clone()));
    let failure = Failure::Certificate(CertificateFlaw::Authority);
    assert_eq!(stranger.settle(), Standing::Failed(failure.clone()));
    // Whoever goes on all the same tells a server that is not believed nothing.
    assert_eq!(
        stranger.line.write(Parcel::Message(&message::channel_data(CHANNEL, b"secret"))),
        Taken::NoRoom
    );
    assert_eq!(stranger.line.flush(), Err(failure.clone()));
    assert_eq!(stranger.line.read(Instant::now(), &mut stranger.room, &mut |_| {}), Err(failure));
    std::fs::remove_file(file).expect("it was there");

    let closed = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let nobody = Line::dial(closed.expect("a port"), Trust::Anyone).settle();
    assert_eq!(nobody, Standing::Failed(Failure::Refused));

    // Somebody who never answers: repeated, and given up in the end.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let mut line = Line::dial(silent.local_addr().expect("bound"), Trust::Anyone);
    let mut now = Instant::now();
    let mut hellos = 0;
    let standing = loop {
        match line.line.on_ready(now, &mut line.room) {
            Standing::Connecting => now = line.line.due().expect("it has a clock"),
            other => break other.clone(),
        }
        hellos += 1;
        assert!(hellos < 100, "it never gives up");
    };
    assert!(hellos > 2, "it asks again");
    assert!(
        matches!(standing, Standing::Failed(Failure::HandshakeStalled | Failure::Handshake(_))),
        "{standing:?}"
    );
}
