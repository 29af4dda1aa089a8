//! The load generator's lines: to our own doors, and to servers that are not as they should be.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::poll;
use swingbridge::load::carrier::CertificateFlaw;
use swingbridge::load::carrier::Dialler;
use swingbridge::load::carrier::Failure;
use swingbridge::load::carrier::Line;
use swingbridge::load::carrier::Parcel;
use swingbridge::load::carrier::Room;
use swingbridge::load::carrier::Standing;
use swingbridge::load::carrier::Taken;
use swingbridge::load::plan::Carrier;
use swingbridge::load::plan::Server;
use swingbridge::load::plan::Trust;
use swingbridge::load::plan::Who;
use swingbridge::net::Certificate;
use swingbridge::proto::client::Credential;
use swingbridge::proto::client::Proof;
use swingbridge::proto::types::Secret;
use swingbridge::proto::types::Transport;
use swingbridge::proto::types::limits;
use swingbridge::relay::Report;
use swingbridge::relay::ToWorker;

use crate::doors::Doors;
use crate::doors::Terms;
use crate::doors::allocate;
use crate::doors::certificate;
use crate::doors::grant;
use crate::message;
use crate::plane::CHANNEL;
use crate::plane::Client;
use crate::plane::PATIENCE;
use crate::plane::Plane;

const LOOPBACK: &str = "127.0.0.1:0";
const NOWHERE: &str = "127.0.0.1:9";

/// A line, and the thread that owns it.
struct Caller {
    line: Line,
    room: Room,
    heard: Vec<Vec<u8>>,
}

fn server(carrier: Carrier, address: SocketAddr, trust: Trust) -> Server {
    let proof = Proof::Password(Secret::new(b"secret".to_vec()));
    let who = Who::One(Credential { username: b"alice"[..].into(), proof, token: None });
    let (uri, host) = ("turn:localhost".to_owned(), "localhost".to_owned());
    Server { uri, host, address, carrier, who, trust, watch: None, proxy: None }
}

fn dial(server: &Server) -> Caller {
    dial_from(server, None)
}

fn dial_from(server: &Server, from: Option<SocketAddr>) -> Caller {
    let dialler = Dialler::new(server).expect("sound").expect("no datagrams");
    let line = dialler.dial(from, Instant::now()).expect("begun");
    Caller { line, room: Room::default(), heard: Vec::new() }
}

impl Caller {
    /// Waits until the socket is ready for what the line wants, as an epoll thread does.
    fn wait(&self) {
        let interest = self.line.interest();
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, interest.read);
        flags.set(PollFlags::OUT, interest.write);
        let wait = rustix::time::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        poll(&mut [PollFd::new(&self.line, flags)], Some(&wait)).expect("it waits");
    }

    /// How the line stands when it does not connect any more.
    fn settle(&mut self) -> Standing {
        let deadline = Instant::now() + PATIENCE;
        while *self.line.on_ready(Instant::now(), &mut self.room) == Standing::Connecting {
            assert!(Instant::now() < deadline, "it neither came up nor failed");
            self.wait();
        }
        self.line.standing().clone()
    }

    fn up(mut self) -> Self {
        let standing = self.settle();
        assert!(matches!(standing, Standing::Up(took) if took < PATIENCE), "{standing:?}");
        self
    }

    fn fails(mut self) -> Failure {
        match self.settle() {
            Standing::Failed(failure) => {
                assert_eq!(self.line.due(), None);
                failure
            }
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, parcel: Parcel<'_>) {
        assert_eq!(self.line.write(parcel), Taken::Taken);
        while !self.line.flush().expect("it carries") {
            self.wait();
        }
    }

    fn message(&mut self, bytes: &[u8]) {
        self.say(Parcel::Message(bytes));
    }

    fn read(&mut self) -> Result<(), Failure> {
        let heard = &mut self.heard;
        self.line.read(Instant::now(), &mut self.room, &mut |parcel| match parcel {
            Parcel::Message(bytes) => heard.push([b"M", bytes].concat()),
            Parcel::Data(bytes) => heard.push([b"D", bytes].concat()),
        })
    }

    /// The next that comes, behind a letter that tells whether it is a message.
    fn any(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        while self.heard.is_empty() {
            assert!(Instant::now() < deadline, "nothing comes");
            self.read().expect("it carries");
            if self.heard.is_empty() {
                self.wait();
            }
        }
        self.heard.remove(0)
    }

    fn receive(&mut self) -> Vec<u8> {
        let any = self.any();
        assert_eq!(any[0], b'M');
        any[1..].to_vec()
    }

    /// Why the line ends, which it does soon.
    fn ends(&mut self) -> Failure {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "it does not end");
            if let Err(failure) = self.read() {
                assert_eq!(*self.line.standing(), Standing::Failed(failure.clone()));
                return failure;
            }
            self.wait();
        }
    }
}

/// A file that is gone when the test is over.
struct Pem(PathBuf);

impl Pem {
    fn new(name: &str, text: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("swingbridge-carriers-{name}-{}.pem", std::process::id()));
        std::fs::write(&path, text).expect("written");
        Self(path)
    }

    fn trust(&self) -> Trust {
        Trust::Authority(self.0.clone())
    }
}

impl Drop for Pem {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A server that does with its first connection what it is told.
fn stranger(what: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind(LOOPBACK).expect("loopback is free");
    let address = listener.local_addr().expect("bound");
    (address, thread::spawn(move || what(listener.accept().expect("a caller").0)))
}

/// Carries calls through a worker of ours: requests, data of many lengths, many at once.
fn call(plane: &mut Plane, mut caller: Caller, transport: Transport) {
    let peer = Client::new([127, 0, 0, 1].into(), NOWHERE.parse().expect("a literal"));
    caller.message(&message::stun(message::ALLOCATE, *b"who are you?", &[]));
    let challenge = caller.receive();
    let nonce = message::attribute(&challenge, message::NONCE).expect("401 carries a nonce").to_vec();
    caller.message(&allocate(&nonce, *b"it's me, it."));
    let (worker, request) = plane.fresh();
    assert_eq!(request.from.transport, transport);
    assert_eq!(request.from.client.socket(), caller.line.local().expect("bound"));
    let allocation = grant(plane, worker, request.from, peer.address());
    let ready = message::stun(message::BINDING_SUCCESS, *b"it is ready.", &[]);
    plane.push(worker, ToWorker::Reply { to: request.from, bytes: ready.clone().into() });
    assert_eq!(caller.receive(), ready);
    for len in [0, 1, 2, 3, 4, 172, 1_200] {
        let data = vec![len as u8; len];
        caller.message(&message::channel_data(CHANNEL, &data));
        assert_eq!(peer.receive_from(), (data.clone(), allocation.relayed));
        peer.send_to(&data, allocation.relayed);
        assert_eq!(caller.receive(), message::channel_data(CHANNEL, &data), "without padding");
    }
    for number in 0..50_u8 {
        let data = message::channel_data(CHANNEL, &[number; 61]);
        assert_eq!(caller.line.write(Parcel::Message(&data)), Taken::Taken);
    }
    assert_eq!(caller.line.flush(), Ok(true), "they leave together");
    for number in 0..50_u8 {
        assert_eq!(peer.receive_from().0, [number; 61]);
    }
    caller.line.leave();
    assert!(matches!(plane.report(allocation.worker), Report::StreamGone { .. }));
}

#[test]
fn tcp_carries_a_call_from_the_address_that_was_asked_for() {
    let mut plane = Plane::start(1, &[LOOPBACK]);
    let doors = Doors::open(&mut plane);
    let server = server(Carrier::Tcp, doors.address, Trust::System);
    let from: SocketAddr = "127.0.0.7:0".parse().expect("a literal");
    let caller = dial_from(&server, Some(from)).up();
    assert_eq!(caller.line.local().expect("bound").ip(), from.ip());
    call(&mut plane, caller, Transport::Tcp);
}

#[test]
fn tls_carries_a_call_to_whom_the_authority_vouches_for() {
    let mut plane = Plane::start(1, &[LOOPBACK]);
    let (shown, pem) = certificate(&["localhost"]);
    let doors = Doors::open_on(&mut plane, Terms { certificates: vec![shown], ..Terms::default() });
    let file = Pem::new("itself", &pem);
    for trust in [file.trust(), Trust::Anyone] {
        call(&mut plane, dial(&server(Carrier::Tls, doors.address, trust)).up(), Transport::Tls);
    }
    let ca = Ca::new();
    doors.certificates.exchange(vec![ca.vouches("localhost", (2_000, 2_200))]);
    let file = Pem::new("vouches", &ca.pem);
    call(&mut plane, dial(&server(Carrier::Tls, doors.address, file.trust())).up(), Transport::Tls);
}

#[test]
fn a_certificate_that_is_not_believed_is_one_sentence_with_its_cure() {
    let mut plane = Plane::start(1, &[LOOPBACK]);
    let (shown, pem) = certificate(&["other.example"]);
    let doors = Doors::open_on(&mut plane, Terms { certificates: vec![shown], ..Terms::default() });
    let (right, wrong) = (Pem::new("right", &pem), Pem::new("wrong", &Ca::new().pem));
    for (trust, flaw, said) in [
        (right.trust(), CertificateFlaw::Name, "not for the name localhost"),
        (wrong.trust(), CertificateFlaw::Authority, "--authority FILE"),
    ] {
        let server = server(Carrier::Tls, doors.address, trust);
        let failure = dial(&server).fails();
        assert_eq!(failure, Failure::Certificate(flaw));
        let fault = failure.fault(&server).to_string();
        assert!(fault.contains(said) && fault.contains("--insecure"), "{fault}");
    }
}

/// An authority, and what it vouches for.
struct Ca {
    pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: rcgen::Issuer::new(params, key) }
    }

    fn vouches(&self, name: &str, years: (i32, i32)) -> Certificate {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a sound name");
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let chain = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Certificate::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes()).expect("sound")
    }
}

/// A certificate that signed itself and says that it is an authority's, as `openssl req -x509` makes it.
fn of_openssl(names: &[&str], years: (i32, i32)) -> (Certificate, String) {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).expect("sound names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    let key = rcgen::KeyPair::generate().expect("a key");
    let pem = params.self_signed(&key).expect("a certificate").pem();
    (Certificate::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).expect("sound"), pem)
}

#[test]
fn a_certificate_that_signed_itself_is_believed_where_it_is_named_and_its_name_and_time_still_count() {
    let call = |shown: Certificate, pem: &str, case: &str| {
        let mut plane = Plane::start(1, &[LOOPBACK]);
        let doors = Doors::open_on(&mut plane, Terms { certificates: vec![shown], ..Terms::default() });
        let file = Pem::new(&format!("itself-{case}"), pem);
        dial(&server(Carrier::Tls, doors.address, file.trust())).settle()
    };
    let (shown, pem) = of_openssl(&["localhost"], (2_000, 2_200));
    let (_, other) = of_openssl(&["localhost"], (2_000, 2_200));
    assert!(matches!(call(shown.clone(), &format!("{other}{pem}"), "named"), Standing::Up(_)));
    let failed = |flaw| Standing::Failed(Failure::Certificate(flaw));
    assert_eq!(call(shown, &other, "other"), failed(CertificateFlaw::Authority));
    let (shown, pem) = of_openssl(&["other.example"], (2_000, 2_200));
    assert_eq!(call(shown, &pem, "name"), failed(CertificateFlaw::Name));
    let (shown, pem) = of_openssl(&["localhost"], (2_000, 2_001));
    assert_eq!(call(shown, &pem, "ended"), failed(CertificateFlaw::Expired));
    let (shown, pem) = of_openssl(&["localhost"], (2_200, 2_201));
    assert_eq!(call(shown, &pem, "early"), failed(CertificateFlaw::NotYet));
}

#[test]
fn a_certificate_whose_time_is_not_now_is_told() {
    for (from, to, flaw, said) in [
        (2_000, 2_001, CertificateFlaw::Expired, "no longer valid"),
        (2_200, 2_201, CertificateFlaw::NotYet, "not valid yet"),
    ] {
        let ca = Ca::new();
        let shown = ca.vouches("localhost", (from, to));
        let mut plane = Plane::start(1, &[LOOPBACK]);
        let doors = Doors::open_on(&mut plane, Terms { certificates: vec![shown], ..Terms::default() });
        let file = Pem::new(&format!("from-{from}"), &ca.pem);
        let server = server(Carrier::Tls, doors.address, file.trust());
        let failure = dial(&server).fails();
        assert_eq!(failure, Failure::Certificate(flaw));
        let fault = failure.fault(&server).to_string();
        assert!(fault.contains(said), "{fault}");
    }
}

#[test]
fn an_authority_that_is_none_is_told_before_anything_is_sent() {
    let empty = Pem::new("empty", "nothing of the kind");
    for (trust, said) in [
        (empty.trust(), "holds no authority"),
        (Trust::Authority("/nonexistent/authority.pem".into()), "cannot be read"),
    ] {
        let server = server(Carrier::Tls, NOWHERE.parse().expect("a literal"), trust);
        let fault = Dialler::new(&server).expect_err("nothing to believe by").to_string();
        assert!(fault.contains(said), "{fault}");
    }
}

#[test]
fn pseudo_tls_carries_the_old_dialect_with_data_apart_from_messages() {
    let mut plane = Plane::start(1, &[LOOPBACK]);
    let doors = Doors::open(&mut plane);
    let mut caller = dial(&server(Carrier::LegacyTcp, doors.address, Trust::System)).up();
    // A first Allocate: cookie, version.
    let cookie = [0, 0x0F, 0, 4, 0x72, 0xC6, 0x4B, 0xC6];
    let ask = [&[0, 3, 0, 16][..], &[7; 16], &cookie, &[0x80, 8, 0, 4, 0, 0, 0, 1]].concat();
    caller.message(&ask);
    let answer = caller.receive();
    assert_eq!((&answer[..2], &answer[4..20], &answer[20..28]), (&[1, 0x13][..], &[7; 16][..], &cookie[..]));
}

#[test]
fn data_of_the_old_dialect_is_framed_as_data() {
    let (address, server_side) = stranger(|mut socket| {
        let mut hello = [0; 50];
        socket.read_exact(&mut hello).expect("a hello");
        let answer = swingbridge::proto::wire::pseudo_tls::server_hello(&[9; 64]);
        // Split, with the first frame right behind it.
        socket.write_all(&answer[..40]).expect("sent");
        socket.write_all(&[&answer[40..], &[3, 0, 0, 2, 0xAA, 0xBB]].concat()).expect("sent");
        let mut frame = [0; 7];
        socket.read_exact(&mut frame).expect("a frame");
        assert_eq!(frame, [3, 0, 0, 3, 1, 2, 3]);
    });
    let mut caller = dial(&server(Carrier::LegacyTcp, address, Trust::System)).up();
    assert_eq!(caller.any(), [b'D', 0xAA, 0xBB]);
    caller.say(Parcel::Data(&[1, 2, 3]));
    server_side.join().expect("all as expected");
}

#[test]
fn a_closed_port_is_told_over_every_carrier() {
    let closed = TcpListener::bind(LOOPBACK).expect("a port").local_addr().expect("bound");
    for carrier in [Carrier::Tcp, Carrier::Tls, Carrier::LegacyTcp] {
        let server = server(carrier, closed, Trust::Anyone);
        let failure = dial(&server).fails();
        assert_eq!(failure, Failure::Refused, "{carrier}");
        assert!(failure.fault(&server).what.contains(&closed.to_string()));
    }
}

#[test]
fn a_server_that_does_not_speak_the_handshake_is_told() {
    for carrier in [Carrier::Tls, Carrier::LegacyTcp] {
        let (address, handle) = stranger(|mut socket| {
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
            let _ = socket.read(&mut [0; 512]);
        });
        assert_eq!(dial(&server(carrier, address, Trust::Anyone)).fails(), Failure::NotSpoken, "{carrier}");
        handle.join().expect("it wrote");
        let (address, handle) = stranger(|mut socket| {
            let _ = socket.read(&mut [0; 2_048]);
        });
        assert_eq!(dial(&server(carrier, address, Trust::Anyone)).fails(), Failure::TurnedAway, "{carrier}");
        handle.join().expect("it read");
    }
}

#[test]
fn a_handshake_that_stalls_ends_when_its_time_is_over_and_not_before() {
    for carrier in [Carrier::Tls, Carrier::LegacyTcp] {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let (address, handle) = stranger(move |socket| {
            let _ = wait.recv();
            drop(socket);
        });
        let mut caller = dial(&server(carrier, address, Trust::Anyone));
        let due = caller.line.due().expect("there is a deadline");
        caller.wait();
        let before = due - Duration::from_millis(1);
        assert_eq!(*caller.line.on_ready(before, &mut caller.room), Standing::Connecting);
        assert_eq!(
            *caller.line.on_ready(due, &mut caller.room),
            Standing::Failed(Failure::HandshakeStalled),
            "{carrier}"
        );
        drop(done);
        handle.join().expect("it waited");
    }
}

#[test]
fn a_reset_and_an_end_and_garbage_are_told_apart() {
    let (address, handle) = stranger(|socket| {
        swingbridge::net::tcp::reset_when_closed(&socket);
        drop(socket);
    });
    let plain = server(Carrier::Tcp, address, Trust::System);
    let mut caller = dial(&plain);
    // The reset may come before the connection was seen to be there.
    let failure = match caller.settle() {
        Standing::Failed(failure) => failure,
        _ => caller.ends(),
    };
    assert_eq!(failure, Failure::Reset);
    handle.join().expect("it closed");

    let (address, _end) = stranger(drop);
    assert_eq!(dial(&server(Carrier::Tcp, address, Trust::System)).up().ends(), Failure::Ended);

    let (address, _garbage) = stranger(|mut socket| {
        let _ = socket.write_all(b"220 mail.example ESMTP\r\n");
        let _ = socket.write_all(&[0xFF; 100]);
        let _ = socket.read(&mut [0; 1]);
    });
    let plain = server(Carrier::Tcp, address, Trust::System);
    let failure = dial(&plain).up().ends();
    assert_eq!(failure, Failure::Framing);
    assert!(failure.fault(&plain).what.contains("no TURN"));
}

#[test]
fn a_slow_reader_costs_a_bounded_queue_and_what_was_taken_arrives_whole() {
    let (begin, wait) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel::<usize>();
    let (address, handle) = stranger(move |mut socket| {
        wait.recv().expect("told to begin");
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).expect("until the end");
        let frames = bytes.chunks(1_208).filter(|frame| frame[..4] == [0x40, 1, 4, 0xB1]).count();
        assert_eq!(bytes.len(), frames * 1_208, "whole frames, each where it should begin");
        tell.send(frames).expect("the test listens");
    });
    let mut caller = dial(&server(Carrier::Tcp, address, Trust::System)).up();
    // Data of 1,201 bytes, which is padded.
    let frame = [&[0x40, 1, 4, 0xB1][..], &[0x5A; 1_201]].concat();
    let (mut taken, mut refused) = (0, 0);
    while refused < 1_000 {
        match caller.line.write(Parcel::Message(&frame)) {
            Taken::Taken => taken += 1,
            Taken::NoRoom => refused += 1,
        }
        caller.line.flush().expect("it carries");
        assert!(caller.line.unsent() <= limits::LOAD_QUEUE_MAX);
    }
    assert!(caller.line.interest().write, "it wants to know when there is room");
    begin.send(()).expect("it waits");
    while !caller.line.flush().expect("it carries") {
        caller.wait();
    }
    assert!(!caller.line.interest().write);
    caller.line.leave();
    assert_eq!(told.recv_timeout(PATIENCE).expect("counted"), taken);
    handle.join().expect("all as expected");
}

#[test]
fn datagrams_in_the_clear_need_no_line() {
    for carrier in [Carrier::Udp, Carrier::LegacyUdp] {
        let server = server(carrier, NOWHERE.parse().expect("a literal"), Trust::System);
        assert!(Dialler::new(&server).expect("sound").is_none(), "{carrier}");
    }
}

#[cfg(not(feature = "dtls"))]
#[test]
fn without_its_feature_dtls_is_a_sentence_that_names_it() {
    let server = server(Carrier::Dtls, NOWHERE.parse().expect("a literal"), Trust::System);
    let fault = Dialler::new(&server).expect_err("not in this build").to_string();
    assert!(fault.contains("feature `dtls`") && fault.contains("--features dtls"), "{fault}");
}

#[test]
fn a_line_that_leaves_ends_in_order_and_one_that_vanishes_is_cut() {
    for leaves in [true, false] {
        let (address, handle) = stranger(move |mut socket| {
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let mut heard = Vec::new();
            match socket.read_to_end(&mut heard) {
                Ok(_) => assert!(leaves && heard == [0x40, 1, 0, 0], "{heard:?}"),
                Err(error) => {
                    assert!(!leaves && error.kind() == std::io::ErrorKind::ConnectionReset, "{error}")
                }
            }
        });
        let mut caller = dial(&server(Carrier::Tcp, address, Trust::System)).up();
        assert_eq!(caller.line.write(Parcel::Message(&[0x40, 1, 0, 0])), Taken::Taken);
        if leaves {
            caller.line.leave()
        } else {
            caller.line.vanish()
        }
        handle.join().expect("as expected");
    }
}
