//! Relayed ports of TCP: peers' connections, and the pairs that they become with clients' connections.

use std::io;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use swingbridge::proto::media::Bandwidth;
use swingbridge::proto::media::Bucket;
use swingbridge::proto::media::NewAllocation;
use swingbridge::proto::media::TableChange;
use swingbridge::proto::types::ConnectionId;
use swingbridge::proto::types::Deadline;
use swingbridge::proto::types::Dialect;
use swingbridge::proto::types::FiveTuple;
use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::types::PeerOrder;
use swingbridge::proto::types::PeerReport;
use swingbridge::proto::types::Rate;
use swingbridge::proto::types::RelayAddr;
use swingbridge::proto::types::RelayId;
use swingbridge::proto::types::RelayProtocol;
use swingbridge::proto::types::WorkerId;
use swingbridge::proto::types::limits;
use swingbridge::relay::Report;
use swingbridge::relay::ToWorker;

use crate::doors::Doors;
use crate::doors::Frames;
use crate::doors::allocate;
use crate::message;
use crate::plane::PATIENCE;
use crate::plane::Plane;
use crate::plane::eventually;

const UDP: &[&str] = &["127.0.0.1:0"];
const CONNECTION_BIND: u16 = 0x000B;
const BOUND: u16 = 0x010B;
const REFUSED: u16 = 0x011B;
const CONNECTION_ID: u16 = 0x002A;

/// A port of TCP at one worker, and the control connection that it was made for.
struct Port {
    worker: usize,
    relay: RelayId,
    at: SocketAddr,
    control: Frames<TcpStream>,
}

impl Port {
    /// As the control task opens one: `permitted` may connect to it.
    fn open(plane: &mut Plane, doors: &Doors, ip: &str, bandwidth: Bandwidth) -> Self {
        let mut control = doors.tcp();
        let nonce = control.nonce();
        control.send(&allocate(&nonce, *b"over tcp, pl"));
        let (worker, request) = plane.fresh();
        let relay = plane.next_relay();
        let bind = RelayAddr::new(SocketAddr::new(ip.parse().expect("a literal"), 0));
        plane.push(worker, ToWorker::OpenPort { relay, bind });
        let relayed = match plane.report(worker) {
            Report::Opened { relay: opened, bound } if opened == relay => bound,
            other => panic!("{other:?}"),
        };
        let until = Deadline::NEVER;
        let insert = NewAllocation {
            relay,
            five_tuple: request.from,
            dialect: Dialect::Rfc8656,
            relayed,
            until,
            bandwidth,
            protocol: RelayProtocol::Tcp,
        };
        plane.push(worker, ToWorker::Table(TableChange::Insert(Box::new(insert))));
        plane.push(worker, ToWorker::Table(TableChange::Permit { relay, peer: relayed.ip(), until }));
        Self { worker, relay, at: relayed.socket(), control }
    }

    fn order(&self, plane: &mut Plane, order: PeerOrder) {
        plane.push(self.worker, ToWorker::Peer(order));
    }

    fn name(&self, drawn: u32) -> ConnectionId {
        ConnectionId::new(drawn, WorkerId(u16::try_from(self.worker).expect("few")))
    }

    fn told(&self, plane: &mut Plane) -> PeerReport {
        match plane.report(self.worker) {
            Report::Peer(report) => report,
            other => panic!("{other:?}"),
        }
    }

    /// A peer that connects and gets a name.
    fn arrive(&self, plane: &mut Plane, connection: ConnectionId) -> TcpStream {
        let far = patient(TcpStream::connect(self.at).expect("somebody listens"));
        match self.told(plane) {
            PeerReport::Arrived { relay, peer, arrival } => {
                assert_eq!((relay, peer.socket()), (self.relay, far.local_addr().expect("bound")));
                self.order(plane, PeerOrder::Admit { arrival, connection });
            }
            other => panic!("{other:?}"),
        }
        far
    }

    /// A peer that is connected to.
    fn connect(&self, plane: &mut Plane, connection: ConnectionId) -> TcpStream {
        let listener = TcpListener::bind((self.at.ip(), 0)).expect("a peer");
        let to = PeerAddr::new(listener.local_addr().expect("bound"));
        self.order(plane, PeerOrder::Connect { connection, relay: self.relay, to });
        let (far, from) = listener.accept().expect("it comes");
        assert_eq!(from, self.at);
        assert_eq!(self.told(plane), PeerReport::Connected { connection });
        patient(far)
    }

    /// Joins a client's connection as the control task does. What the client sends before its answer is `early`.
    fn join<S: Read + Write>(
        &self,
        plane: &mut Plane,
        mut data: Frames<S>,
        connection: ConnectionId,
        early: &[u8],
    ) -> Frames<S> {
        let from = ask(plane, &mut data, self.worker, connection, early);
        let answer = message::stun(BOUND, *b"you are join", &[]);
        plane.push(self.worker, ToWorker::Reply { to: from, bytes: answer.clone().into() });
        self.order(plane, PeerOrder::Join { connection, client: from });
        assert_eq!(data.receive(), answer);
        data
    }
}

/// Sends a ConnectionBind, and what follows it; answers what the control task is told of it.
fn ask<S: Read + Write>(
    plane: &mut Plane,
    data: &mut Frames<S>,
    worker: usize,
    connection: ConnectionId,
    early: &[u8],
) -> FiveTuple {
    let id = connection.to_wire().to_be_bytes();
    data.send(&message::stun(CONNECTION_BIND, *b"who are you?", &[(CONNECTION_ID, &id)]));
    let challenge = data.receive();
    assert_eq!(message::error_code(&challenge), Some(401));
    let nonce = message::attribute(&challenge, message::NONCE).expect("a nonce").to_vec();
    let mut bind = message::stun(
        CONNECTION_BIND,
        *b"join us, ple",
        &[
            (CONNECTION_ID, &id),
            (message::USERNAME, b"alice"),
            (message::REALM, b"test"),
            (message::NONCE, &nonce),
            (message::INTEGRITY, &[0x5A; 20]),
        ],
    );
    bind.extend_from_slice(early);
    data.send(&bind);
    let (at, request) = plane.fresh();
    assert_eq!(at, worker, "where the peer's connection is");
    request.from
}

fn patient(socket: TcpStream) -> TcpStream {
    socket.set_read_timeout(Some(PATIENCE)).expect("an option");
    socket.set_write_timeout(Some(PATIENCE)).expect("an option");
    socket
}

fn heard(socket: &mut impl Read, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    socket.read_exact(&mut bytes).expect("it comes");
    bytes
}

fn rest(socket: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).expect("to its end");
    bytes
}

fn is_gone(socket: &mut impl Read) -> bool {
    matches!(socket.read(&mut [0; 1]), Ok(0) | Err(_))
}

// proves rfc6062:5.4-3, rfc6062:5.4-4
#[test]
fn both_roles_and_both_families_carry_what_came_before_and_after_over_tcp_and_tls() {
    let mut plane = Plane::start(2, UDP);
    let doors = Doors::open(&mut plane);
    // Kept to the end: the end of a control connection is a report too.
    let mut controls = Vec::new();
    for (round, ip) in (0_u32..).zip(["127.0.0.1", "::1"]) {
        let port = Port::open(&mut plane, &doors, ip, Bandwidth::default());
        let (came, went) = (port.name(10 * round + 1), port.name(10 * round + 2));
        let mut peers = [port.arrive(&mut plane, came), port.connect(&mut plane, went)];
        peers.iter_mut().for_each(|peer| peer.write_all(b"early ").expect("sent"));
        let mut plain = port.join(&mut plane, doors.tcp(), came, b"impatient ");
        plain.send(b"but served");
        assert_eq!(heard(&mut peers[0], 20), b"impatient but served");
        let mut secured = port.join(&mut plane, doors.tls("localhost"), went, b"");
        secured.send(b"in secret");
        assert_eq!(heard(&mut peers[1], 9), b"in secret");
        peers.iter_mut().for_each(|peer| peer.write_all(b"and late").expect("sent"));
        assert_eq!(plain.some(14), b"early and late");
        assert_eq!(secured.some(14), b"early and late");
        let stats = plane.stats(port.worker);
        assert_eq!((stats.peer_joined.get(), stats.peer_connections.get()), (2, 2));
        plane.push(port.worker, ToWorker::Close { relay: port.relay });
        match plane.report(port.worker) {
            Report::Closed { relay, counters } => {
                assert_eq!(relay, port.relay);
                assert_eq!((counters.to_peer_bytes, counters.to_client_bytes), (19, 28));
            }
            other => panic!("{other:?}"),
        }
        assert!(is_gone(&mut peers[0]) && is_gone(&mut plain.wire), "with their port");
        assert!(TcpStream::connect(port.at).is_err());
        eventually("no connection", || (stats.peer_connections.get() == 0).then_some(()));
        controls.push(port.control);
    }
}

#[test]
fn each_way_has_its_own_end_and_control_hears_when_both_have() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let port = Port::open(&mut plane, &doors, "127.0.0.1", Bandwidth::default());
    let name = port.name(1);
    let mut peer = port.arrive(&mut plane, name);
    let mut data = port.join(&mut plane, doors.tls("localhost"), name, b"");
    data.send(b"a request");
    data.wire.connection.send_close_notify();
    data.wire.flush().expect("sent");
    data.wire.socket.shutdown(Shutdown::Write).expect("half");
    assert_eq!(rest(&mut peer), b"a request");
    peer.write_all(&[7; 100_000]).expect("the other way is open");
    peer.shutdown(Shutdown::Write).expect("half");
    assert_eq!(rest(&mut data.wire), [7; 100_000]);
    assert_eq!(port.told(&mut plane), PeerReport::Ended { connection: name });
    assert_eq!(plane.stats(0).peer_connections.get(), 0);
}

#[test]
fn a_reset_is_a_reset_on_the_other_side() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let port = Port::open(&mut plane, &doors, "127.0.0.1", Bandwidth::default());
    for (drawn, client_breaks) in [(1, true), (2, false)] {
        let name = port.name(drawn);
        let peer = port.arrive(&mut plane, name);
        let data = port.join(&mut plane, doors.tcp(), name, b"").wire;
        let (breaking, mut other) = if client_breaks { (data, peer) } else { (peer, data) };
        SockRef::from(&breaking).set_linger(Some(Duration::ZERO)).expect("an option");
        drop(breaking);
        let error = other.read(&mut [0; 1]).expect_err("no end like any other");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(port.told(&mut plane), PeerReport::Ended { connection: name });
    }
}

#[test]
fn who_reads_nothing_stops_the_writer_and_gets_every_byte_in_the_end() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let port = Port::open(&mut plane, &doors, "127.0.0.1", Bandwidth::default());
    let name = port.name(1);
    let mut peer = port.arrive(&mut plane, name);
    let mut data = port.join(&mut plane, doors.tcp(), name, b"");
    peer.set_nonblocking(true).expect("an option");
    let (mut said, mut full) = (0_usize, 0);
    // Until it takes no more: then nobody on the way has room.
    while full < 50 {
        let piece: Vec<u8> = (said..said + 10_000).map(|at| (at % 251) as u8).collect();
        match peer.write(&piece) {
            Ok(len) => (said, full) = (said + len, 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                full += 1;
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("{error}"),
        }
    }
    let stats = plane.stats(0);
    let taken = stats.from_connections.get() as usize;
    assert!(taken < said, "of {said} bytes {taken} were read");
    peer.set_nonblocking(false).expect("an option");
    peer.shutdown(Shutdown::Write).expect("half");
    let got = rest(&mut data.wire);
    assert_eq!(got.len(), said);
    assert!(got.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8), "in their order");
    // The other way was open all the time.
    data.send(b"thanks");
    assert_eq!(heard(&mut peer, 6), b"thanks");
}

// proves rfc6062:7-1
#[test]
fn what_a_peer_sends_before_its_client_asks_for_it_has_a_limit_and_is_not_lost() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let port = Port::open(&mut plane, &doors, "127.0.0.1", Bandwidth::default());
    let name = port.name(1);
    let mut peer = port.arrive(&mut plane, name);
    SockRef::from(&peer).set_send_buffer_size(8 * 1_024).expect("an option");
    peer.set_nonblocking(true).expect("an option");
    let (mut said, mut full) = (0, 0);
    while full < 50 {
        match peer.write(&[3; 4_096]) {
            Ok(len) => (said, full) = (said + len, 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                full += 1;
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(said <= 4 * limits::PIPE_RECEIVE_BUFFER, "{said} bytes were taken");
    assert_eq!(plane.stats(0).from_connections.get(), 0, "none of them by us");
    peer.set_nonblocking(false).expect("an option");
    peer.shutdown(Shutdown::Write).expect("half");
    let mut data = port.join(&mut plane, doors.tcp(), name, b"");
    assert_eq!(rest(&mut data.wire), vec![3; said]);
}

#[test]
fn a_stranger_is_closed_and_a_peer_that_fails_is_told_of() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let mut port = Port::open(&mut plane, &doors, "127.0.0.1", Bandwidth::default());
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let (name, relay) = (port.name(1), port.relay);
    port.order(&mut plane, PeerOrder::Connect { connection: name, relay, to: PeerAddr::new(nobody) });
    assert_eq!(port.told(&mut plane), PeerReport::Ended { connection: name });
    // An order about what is not there has the same answer.
    for order in [
        PeerOrder::Keep { connection: name },
        PeerOrder::Join { connection: name, client: from_nowhere() },
        PeerOrder::Connect {
            connection: name,
            relay: RelayId { generation: 99, ..relay },
            to: PeerAddr::new(nobody),
        },
    ] {
        port.order(&mut plane, order);
        assert_eq!(port.told(&mut plane), PeerReport::Ended { connection: name }, "{order:?}");
    }
    plane.push(0, ToWorker::Table(TableChange::Forbid { relay, peer: port.at.ip() }));
    let mut stranger = patient(TcpStream::connect(port.at).expect("the kernel accepts"));
    assert!(is_gone(&mut stranger));
    let stats = plane.stats(0);
    eventually("a refusal", || (stats.peer_refused.get() == 1).then_some(()));
    // A Send indication is no way out of a port of TCP.
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a peer");
    udp.set_read_timeout(Some(Duration::from_millis(100))).expect("an option");
    port.control.send(&message::send_indication(udp.local_addr().expect("bound"), b"out"));
    assert!(udp.recv(&mut [0; 9]).is_err());
}

#[test]
fn a_bind_that_is_refused_leaves_a_connection_that_can_ask_again() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let port = Port::open(&mut plane, &doors, "127.0.0.1", Bandwidth::default());
    let mut data = doors.tcp();
    let binding = message::stun(message::BINDING, *b"and my addre", &[]);
    let from = ask(&mut plane, &mut data, 0, port.name(77), &binding);
    thread::sleep(Duration::from_millis(20));
    let refusal = message::stun(REFUSED, *b"there is non", &[]);
    plane.push(0, ToWorker::Reply { to: from, bytes: refusal.clone().into() });
    assert_eq!(data.receive(), refusal, "nothing is judged before it");
    assert_eq!(message::kind(&data.receive()), message::BINDING_SUCCESS);
    let name = port.name(1);
    let mut peer = port.arrive(&mut plane, name);
    let mut data = port.join(&mut plane, data, name, b"");
    data.send(b"at last");
    assert_eq!(heard(&mut peer, 7), b"at last");
}

#[test]
fn bandwidth_holds_a_pair_back_and_loses_nothing() {
    let rate = Rate::new(4_000_000, Duration::from_secs(1)).expect("a rate");
    let bandwidth = Bandwidth { allocation: Some(Bucket::new(rate)), user: None };
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open(&mut plane);
    let port = Port::open(&mut plane, &doors, "127.0.0.1", bandwidth);
    let name = port.name(1);
    let mut peer = port.arrive(&mut plane, name);
    let mut data = port.join(&mut plane, doors.tcp(), name, b"");
    let writer = thread::spawn(move || {
        peer.write_all(&[9; 700_000]).expect("taken in the end");
    });
    assert_eq!(rest(&mut data.wire), [9; 700_000]);
    writer.join().expect("no panic");
    assert!(plane.stats(0).peer_held_back.get() > 0, "the burst is 500,000 bytes");
}

fn from_nowhere() -> FiveTuple {
    FiveTuple {
        client: swingbridge::proto::types::ClientAddr::new("192.0.2.1:1".parse().expect("a literal")),
        server: swingbridge::proto::types::ServerAddr::new("192.0.2.2:2".parse().expect("a literal")),
        transport: swingbridge::proto::types::Transport::Tcp,
    }
}
