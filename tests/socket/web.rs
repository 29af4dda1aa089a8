//! What is no TURN: the web site behind, names that are passed through, and nothing.

use std::io;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::ServerConnection;
use socket2::Domain;
use socket2::SockRef;
use socket2::Socket;
use socket2::Type;
use swingbridge::listen::stats::Layer;
use swingbridge::listen::stats::TurnedAway;
use swingbridge::listen::web::Errand;
use swingbridge::listen::web::Target;
use swingbridge::listen::web::Web;
use swingbridge::listen::web::WebDeadlines;
use swingbridge::listen::web::WebEnd;
use swingbridge::proto::types::Transport;
use swingbridge::proto::wire::Verdict;

use crate::doors::Doors;
use crate::doors::Frames;
use crate::doors::Terms;
use crate::doors::Tls;
use crate::doors::client_of;
use crate::doors::credulous;
use crate::message;
use crate::plane::PATIENCE;
use crate::plane::Plane;
use crate::plane::eventually;

const UDP: &[&str] = &["127.0.0.1:0"];
const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A web site on loopback.
struct Site(TcpListener);

impl Site {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is free");
        listener.set_nonblocking(true).expect("an option");
        Self(listener)
    }

    fn target(&self, proxy: bool) -> Target {
        Target { address: self.0.local_addr().expect("bound"), proxy }
    }

    fn accept(&self) -> TcpStream {
        let (socket, _) = eventually("a visitor of the site", || self.0.accept().ok());
        socket.set_nonblocking(false).expect("an option");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket
    }
}

fn upstream(target: Target) -> Terms {
    with(Web { upstream: Some(target), ..long() })
}

fn with(web: Web) -> Terms {
    Terms { web, ..Terms::default() }
}

/// Deadlines that decide nothing.
fn long() -> Web {
    let long = Duration::from_secs(600);
    Web { deadlines: WebDeadlines { connect: long, idle: long, goodbye: long }, ..Web::default() }
}

fn tls_with(doors: &Doors, alpn: &[&[u8]]) -> Tls {
    Tls::new(doors.connect(), client_of(&doors.certificates, alpn), "localhost")
}

fn hears(wire: &mut impl Read, expected: &[u8]) {
    let mut heard = vec![0; expected.len()];
    wire.read_exact(&mut heard).expect("bytes come");
    assert_eq!(String::from_utf8_lossy(&heard), String::from_utf8_lossy(expected));
}

fn is_over(wire: &mut impl Read) -> bool {
    matches!(wire.read(&mut [0; 1]), Ok(0))
}

fn ended(doors: &Doors, why: WebEnd, count: u64) {
    let stats = doors.stats();
    eventually("the end of a connection", || (stats.web().ended(why) >= count).then_some(()));
    assert_eq!(stats.web().ended(why), count, "{why:?}");
}

/// A request there and an answer back, and the end of both.
fn visit(site: &Site, visitor: &mut (impl Read + Write)) {
    visitor.write_all(REQUEST).expect("sent");
    visitor.flush().expect("sent");
    let mut server = site.accept();
    hears(&mut server, REQUEST);
    server.write_all(ANSWER).expect("sent");
    hears(visitor, ANSWER);
    drop(server);
    assert!(is_over(visitor), "a clean end");
}

#[test]
fn http_goes_to_the_site_behind_and_turn_to_turn_on_one_name_without_protocol_names() {
    let mut plane = Plane::start(1, UDP);
    let site = Site::new();
    let doors = Doors::open_on(&mut plane, upstream(site.target(false)));
    visit(&site, &mut doors.connect());
    visit(&site, &mut tls_with(&doors, &[]));
    let binding = message::stun(message::BINDING, *b"turn as well", &[]);
    let (mut plain, mut secured) = (doors.tcp(), doors.tls("localhost"));
    plain.send(&binding);
    secured.send(&binding);
    assert_eq!(message::kind(&plain.receive()), message::BINDING_SUCCESS);
    assert_eq!(message::kind(&secured.receive()), message::BINDING_SUCCESS);
    let stats = doors.stats();
    assert_eq!(stats.verdicts(Layer::Outer, Verdict::Http), 1);
    assert_eq!(stats.verdicts(Layer::Inner, Verdict::Http), 1);
    assert_eq!(stats.web().begun(Errand::Site), 2);
    let handed = || [Transport::Tcp, Transport::Tls].map(|transport| stats.handed_over(transport));
    eventually("both callers", || (handed() == [1, 1]).then_some(()));
    drop((plain, secured));
    ended(&doors, WebEnd::Done, 2);
}

#[test]
fn http_goes_to_the_site_whatever_protocol_name_was_agreed_on() {
    let mut plane = Plane::start(1, UDP);
    let site = Site::new();
    let doors = Doors::open_on(&mut plane, upstream(site.target(false)));
    for name in [&b"stun.turn"[..], b"stun.nat-discovery", b"http/1.1"] {
        let mut visitor = tls_with(&doors, &[name]);
        visit(&site, &mut visitor);
        assert_eq!(visitor.connection.alpn_protocol(), Some(name));
    }
}

#[test]
fn every_method_and_http_2_go_there_too() {
    let mut plane = Plane::start(1, UDP);
    let site = Site::new();
    let doors = Doors::open_on(&mut plane, upstream(site.target(false)));
    for first in
        [&b"POST /x HTTP/1.1\r\n"[..], b"OPTIONS * HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut visitor = doors.connect();
        visitor.write_all(first).expect("sent");
        hears(&mut site.accept(), first);
    }
}

#[test]
fn protocol_names_of_the_web_are_told_only_if_they_are_spoken_and_turn_is_served_whatever_they_were() {
    let site = Site::new();
    let names = [&b"h2"[..], b"http/1.1"];
    for (upstream, upstream_h2, offered, chosen) in [
        (true, true, &names[..], Some(&b"h2"[..])),
        (true, false, &names, Some(b"http/1.1")),
        (true, false, &names[..1], None),
        (true, true, &[b"h2", b"stun.turn"], Some(b"stun.turn")),
        (true, true, &[b"x"], None),
        (false, true, &names, None),
    ] {
        let mut plane = Plane::start(1, UDP);
        let upstream = upstream.then(|| site.target(false));
        let doors = Doors::open_on(&mut plane, with(Web { upstream, upstream_h2, ..long() }));
        let mut client = Frames::new(tls_with(&doors, offered));
        client.send(&message::stun(message::BINDING, *b"by any name.", &[]));
        assert_eq!(client.receive()[8..20], *b"by any name.");
        assert_eq!(client.wire.connection.alpn_protocol(), chosen, "{offered:?}");
    }
}

#[test]
fn a_name_of_another_is_passed_through_still_encrypted() {
    let mut plane = Plane::start(1, UDP);
    let site = Site::new();
    let passthrough = vec!["other.example".to_owned(), "*.wild.example".to_owned()];
    let web = Web { passthrough, passthrough_to: Some(site.target(false)), ..long() };
    let doors = Doors::open_on(&mut plane, with(web));
    for (name, crumbs) in [("other.example", true), ("a.wild.example", false), ("OTHER.example", false)] {
        let mut tls = Tls::new(doors.connect(), credulous(), name);
        let hello = tls.outgoing();
        let (head, tail) = hello.split_at(if crumbs { 300.min(hello.len() - 1) } else { 0 });
        head.iter().for_each(|byte| tls.socket.write_all(&[*byte]).expect("sent"));
        tls.socket.write_all(tail).expect("sent");
        let server = site.accept();
        // The site has a certificate of its own, and this server never sees what is said.
        let served = thread::spawn(move || serve_tls(server));
        tls.write_all(REQUEST).expect("sent");
        hears(&mut tls, ANSWER);
        drop(tls);
        assert_eq!(served.join().expect("no panic"), REQUEST);
    }
    let mut own = doors.tls("localhost");
    own.send(&message::stun(message::BINDING, *b"our own name", &[]));
    assert_eq!(message::kind(&own.receive()), message::BINDING_SUCCESS);
    assert_eq!(doors.stats().web().begun(Errand::Through), 3);
}

/// Answers one request under TLS, and gives what it was.
fn serve_tls(socket: TcpStream) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(vec!["other.example".to_owned()]).expect("a sound name");
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("defaults")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a pair");
    let connection = ServerConnection::new(Arc::new(config)).expect("sound");
    let mut stream = rustls::StreamOwned::new(connection, socket);
    let mut heard = vec![0; REQUEST.len()];
    stream.read_exact(&mut heard).expect("a request");
    stream.write_all(ANSWER).expect("sent");
    stream.flush().expect("sent");
    heard
}

#[test]
fn names_are_passed_through_without_a_certificate_of_ours_and_others_are_turned_away() {
    let mut plane = Plane::start(1, UDP);
    let site = Site::new();
    let passthrough = vec!["other.example".to_owned()];
    let web = Web { passthrough, passthrough_to: Some(site.target(false)), ..long() };
    let doors = Doors::open_on(&mut plane, Terms { certificates: Vec::new(), ..with(web) });
    let mut tls = Tls::new(doors.connect(), credulous(), "other.example");
    let hello = tls.outgoing();
    tls.socket.write_all(&hello).expect("sent");
    let mut heard = vec![0; hello.len()];
    site.accept().read_exact(&mut heard).expect("the hello");
    assert_eq!(heard, hello, "byte for byte");
    for name in ["www.other.example", "127.0.0.1"] {
        let mut tls = Tls::new(doors.connect(), credulous(), name);
        let hello = tls.outgoing();
        tls.socket.write_all(&hello).expect("sent");
        assert!(Frames::new(tls.socket).ends_silently());
    }
    doors.turned_away(TurnedAway::NoCertificate, 2);
}

#[test]
fn a_site_that_wants_it_is_told_whose_connection_it_gets() {
    let mut plane = Plane::start(1, UDP);
    let site = Site::new();
    let web = Web {
        upstream: Some(site.target(true)),
        passthrough: vec!["other.example".to_owned()],
        passthrough_to: Some(site.target(true)),
        ..long()
    };
    let proxies = vec![(IpAddr::from([127, 0, 0, 2]), 32)];
    let doors = Doors::open_on(&mut plane, Terms { proxy_from: proxies, ..with(web) });
    let header = |client: SocketAddr, server: SocketAddr, additions: &[u8]| {
        let ip = |address: SocketAddr| match address.ip() {
            IpAddr::V4(v4) => v4.octets(),
            IpAddr::V6(_) => panic!("IPv4 here"),
        };
        let len = u16::try_from(12 + additions.len()).expect("short").to_be_bytes();
        let ports = [client.port().to_be_bytes(), server.port().to_be_bytes()].concat();
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &len[..], &ip(client), &ip(server), &ports, additions].concat()
    };
    let of_tls = [0x20, 0, 5, 1, 0, 0, 0, 1];

    let mut plain = doors.connect();
    plain.write_all(REQUEST).expect("sent");
    let expected = header(plain.local_addr().expect("connected"), doors.address, &[]);
    hears(&mut site.accept(), &[&expected[..], REQUEST].concat());

    let mut secured = tls_with(&doors, &[]);
    secured.write_all(REQUEST).expect("sent");
    let expected = header(secured.socket.local_addr().expect("connected"), doors.address, &of_tls);
    hears(&mut site.accept(), &[&expected[..], REQUEST].concat());

    let mut through = Tls::new(doors.connect(), credulous(), "other.example");
    let hello = through.outgoing();
    through.socket.write_all(&hello).expect("sent");
    let expected = header(through.socket.local_addr().expect("connected"), doors.address, &[]);
    let mut heard = vec![0; expected.len() + hello.len()];
    site.accept().read_exact(&mut heard).expect("bytes come");
    assert_eq!(heard, [expected, hello].concat());

    // From a proxy to a site: the client is the one that the proxy told of.
    let from_proxy = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    from_proxy.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).expect("loopback");
    from_proxy.connect(&doors.address.into()).expect("the doors are open");
    let mut from_proxy = TcpStream::from(from_proxy);
    from_proxy.write_all(b"PROXY TCP4 203.0.113.5 198.51.100.9 50000 443\r\n").expect("sent");
    from_proxy.write_all(REQUEST).expect("sent");
    let (client, server) = ("203.0.113.5:50000", "198.51.100.9:443");
    let expected = header(client.parse().expect("a literal"), server.parse().expect("a literal"), &[]);
    hears(&mut site.accept(), &[&expected[..], REQUEST].concat());
}

#[test]
fn without_a_site_http_is_told_so_and_closed() {
    let mut plane = Plane::start(1, UDP);
    let doors = Doors::open_on(&mut plane, with(long()));
    let not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let mut plain = doors.connect();
    // More than the server reads to know what is spoken: it must not be cut off for that.
    plain.write_all(&[REQUEST, &[b'x'; 4_000]].concat()).expect("sent");
    hears(&mut plain, not_found);
    assert!(is_over(&mut plain));
    // It is still listened to, for whoever sends into a closed connection loses the answer.
    for _ in 0..50 {
        plain.write_all(b"x").expect("sent");
        thread::sleep(Duration::from_millis(1));
    }
    let mut secured = tls_with(&doors, &[]);
    secured.write_all(REQUEST).expect("sent");
    hears(&mut secured, not_found);
    assert!(is_over(&mut secured), "ended as TLS ends");
    let mut h2 = doors.tcp();
    h2.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(h2.ends_silently(), "it would not understand");
    drop((plain, secured));
    ended(&doors, WebEnd::NotFound, 3);
}

#[test]
fn whoever_does_not_go_when_told_that_there_is_no_site_is_closed() {
    let mut plane = Plane::start(1, UDP);
    let deadlines = WebDeadlines { goodbye: Duration::from_millis(50), ..long().deadlines };
    let doors = Doors::open_on(&mut plane, with(Web { deadlines, ..long() }));
    let mut stays = doors.connect();
    stays.write_all(REQUEST).expect("sent");
    ended(&doors, WebEnd::NotFound, 1);
    // Or who sends for ever.
    let doors = Doors::open_on(&mut Plane::start(1, UDP), with(long()));
    let mut pours = doors.connect();
    pours.write_all(REQUEST).expect("sent");
    // Far more than all buffers hold.
    let poured = (0..100_000).take_while(|_| pours.write_all(&[b'x'; 4_096]).is_ok()).count();
    assert!(poured < 100_000, "it was cut off");
    ended(&doors, WebEnd::NotFound, 1);
    assert_eq!(stays.read(&mut [0; 200]).expect("the answer"), 64);
}

#[test]
fn a_site_that_is_down_is_told_of_and_what_is_passed_through_is_closed() {
    let mut plane = Plane::start(1, UDP);
    let down = Site::new().target(false);
    let web = Web {
        upstream: Some(down),
        passthrough: vec!["other.example".to_owned()],
        passthrough_to: Some(down),
        ..long()
    };
    let doors = Doors::open_on(&mut plane, with(web));
    let mut visitor = doors.connect();
    visitor.write_all(REQUEST).expect("sent");
    hears(&mut visitor, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert!(is_over(&mut visitor));
    let mut through = Tls::new(doors.connect(), credulous(), "other.example");
    let hello = through.outgoing();
    through.socket.write_all(&hello).expect("sent");
    assert!(Frames::new(through.socket).ends_silently());
    drop(visitor);
    ended(&doors, WebEnd::Unreachable, 2);
}

#[test]
fn a_site_that_does_not_answer_is_waited_for_so_long_and_no_longer() {
    // Its queue is full, so the kernel lets further calls wait.
    let deaf = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    deaf.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("loopback");
    deaf.listen(0).expect("it listens");
    let address = deaf.local_addr().expect("bound").as_socket().expect("IPv4");
    let _waiting: Vec<_> = (0..4)
        .map(|_| {
            let one = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).expect("a socket");
            let _ = one.connect(&address.into());
            one
        })
        .collect();
    thread::sleep(Duration::from_millis(50));
    let mut plane = Plane::start(1, UDP);
    let deadlines = WebDeadlines { connect: Duration::from_millis(100), ..long().deadlines };
    let upstream = Some(Target { address, proxy: false });
    let doors = Doors::open_on(&mut plane, with(Web { upstream, deadlines, ..long() }));
    let mut visitor = doors.connect();
    visitor.write_all(REQUEST).expect("sent");
    hears(&mut visitor, b"HTTP/1.1 502 Bad Gateway\r\n");
    drop(visitor);
    ended(&doors, WebEnd::Unreachable, 1);
}

#[test]
fn who_carries_nothing_is_let_go_and_sees_that_it_was_cut_off() {
    let mut plane = Plane::start(1, UDP);
    let site = Site::new();
    let deadlines = WebDeadlines { idle: Duration::from_millis(100), ..long().deadlines };
    let web = Web { upstream: Some(site.target(false)), deadlines, ..long() };
    let doors = Doors::open_on(&mut plane, with(web));
    let mut visitor = doors.connect();
    visitor.write_all(REQUEST).expect("sent");
    let mut server = site.accept();
    hears(&mut server, REQUEST);
    for wire in [&mut visitor, &mut server] {
        let error = wire.read(&mut [0; 1]).expect_err("it did not end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    ended(&doors, WebEnd::Idle, 1);
}

#[test]
fn each_side_may_end_before_the_other() {
    let mut plane = Plane::start(1, UDP);
    let site = Site::new();
    let doors = Doors::open_on(&mut plane, upstream(site.target(false)));
    let answer: Vec<u8> = (0..300_000_u32).map(|at| (at * 31) as u8).collect();
    for secured in [false, true] {
        let mut tls = tls_with(&doors, &[]);
        let mut plain = doors.connect();
        if secured {
            tls.write_all(REQUEST).expect("sent");
            tls.connection.send_close_notify();
            let last = tls.outgoing();
            tls.socket.write_all(&last).expect("sent");
        } else {
            plain.write_all(REQUEST).expect("sent");
            plain.shutdown(Shutdown::Write).expect("half of it");
        }
        let mut server = site.accept();
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).expect("its end comes through");
        assert_eq!(heard, REQUEST);
        let sending = {
            let answer = answer.clone();
            thread::spawn(move || server.write_all(&answer).expect("the other half is open"))
        };
        let mut got = Vec::new();
        let read = if secured { tls.read_to_end(&mut got) } else { plain.read_to_end(&mut got) };
        read.expect("a clean end");
        sending.join().expect("no panic");
        assert!(got == answer, "{} of {} bytes", got.len(), answer.len());
    }
    ended(&doors, WebEnd::Done, 2);
}

#[test]
fn what_is_cut_off_on_one_side_is_cut_off_on_the_other() {
    let mut plane = Plane::start(1, UDP);
    let site = Site::new();
    let doors = Doors::open_on(&mut plane, upstream(site.target(false)));
    for by_the_site in [true, false] {
        let mut visitor = doors.connect();
        visitor.write_all(REQUEST).expect("sent");
        let mut server = site.accept();
        hears(&mut server, REQUEST);
        let (cut, mut other) = if by_the_site { (server, visitor) } else { (visitor, server) };
        SockRef::from(&cut).set_linger(Some(Duration::ZERO)).expect("an option");
        drop(cut);
        let error = other.read(&mut [0; 1]).expect_err("it did not end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{by_the_site}");
    }
    ended(&doors, WebEnd::Failed, 2);
}

#[test]
fn a_reader_that_stalls_holds_the_writer_and_little_memory_and_gets_every_byte() {
    let mut plane = Plane::start(1, UDP);
    let site = Site::new();
    let doors = Doors::open_on(&mut plane, upstream(site.target(false)));
    for secured in [false, true] {
        let mut tls = tls_with(&doors, &[]);
        let mut plain = doors.connect();
        let wire: &mut dyn ReadWrite = if secured { &mut tls } else { &mut plain };
        wire.write_all(REQUEST).expect("sent");
        let mut server = site.accept();
        hears(&mut server, REQUEST);
        through_a_stall(server, wire);
    }
    let stats = doors.stats();
    assert_eq!(stats.web().bytes_to_client(), 2 * STALLED as u64);
    assert_eq!(stats.web().bytes_to_site(), 2 * REQUEST.len() as u64);
}

#[test]
fn a_site_that_stalls_holds_the_visitor_too() {
    let mut plane = Plane::start(1, UDP);
    let site = Site::new();
    let doors = Doors::open_on(&mut plane, upstream(site.target(false)));
    let mut visitor = doors.connect();
    visitor.write_all(REQUEST).expect("sent");
    let mut server = site.accept();
    hears(&mut server, REQUEST);
    through_a_stall(visitor, &mut server);
    assert_eq!(doors.stats().web().bytes_to_site(), (REQUEST.len() + STALLED) as u64);
}

/// Far more than the buffers of all sockets on the way.
const STALLED: usize = 24 << 20;

/// Sends [`STALLED`] bytes, which nobody reads until nobody can write any more, and then the end.
fn through_a_stall(mut writer: TcpStream, reader: &mut (impl Read + ?Sized)) {
    let byte = |at: usize| (at * 31 + at / 251) as u8;
    writer.set_nonblocking(true).expect("an option");
    let (mut sent, mut still) = (0, 0);
    while still < 100 && sent < STALLED {
        let chunk: Vec<u8> = (sent..(sent + 65_536).min(STALLED)).map(byte).collect();
        match writer.write(&chunk) {
            Ok(len) => (sent, still) = (sent + len, 0),
            Err(_) => still += 1,
        }
        thread::sleep(Duration::from_millis(if still > 0 { 2 } else { 0 }));
    }
    assert!(sent < STALLED / 2, "{sent} bytes wait somewhere");
    writer.set_nonblocking(false).expect("an option");
    let sending = thread::spawn(move || {
        let rest: Vec<u8> = (sent..STALLED).map(byte).collect();
        writer.write_all(&rest).expect("sent");
    });
    let mut got = Vec::new();
    reader.read_to_end(&mut got).expect("a clean end");
    sending.join().expect("no panic");
    assert_eq!(got.len(), STALLED);
    assert!(got.iter().enumerate().all(|(at, got)| *got == byte(at)), "in order");
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

#[test]
fn visitors_of_the_site_have_places_of_their_own_and_leave_the_others_to_callers() {
    let mut plane = Plane::start(1, UDP);
    let site = Site::new();
    let web = Web { upstream: Some(site.target(false)), total: 8, ..long() };
    let doors = Doors::open_on(&mut plane, Terms { total: 100, ..with(web) });
    let visitor = || {
        let mut visitor = doors.tcp();
        visitor.send(REQUEST);
        visitor
    };
    // One source has a quarter.
    let held: Vec<_> = (0..2)
        .map(|_| {
            let (visitor, mut server) = (visitor(), site.accept());
            hears(&mut server, REQUEST);
            (visitor, server)
        })
        .collect();
    assert!(visitor().ends_silently());
    doors.turned_away(TurnedAway::WebFull, 1);
    let mut caller = doors.tcp();
    caller.send(&message::stun(message::BINDING, *b"not a visit.", &[]));
    assert_eq!(message::kind(&caller.receive()), message::BINDING_SUCCESS);
    drop(held);
    ended(&doors, WebEnd::Done, 2);
    // Their places are free a moment after their end was counted.
    eventually("room", || {
        let next = visitor();
        next.wire.set_nonblocking(true).expect("an option");
        let is_open =
            || next.wire.peek(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        let came = eventually("a place or none", || {
            let came = site.0.accept().is_ok();
            (came || !is_open()).then_some(came)
        });
        came.then_some(())
    });
}

#[test]
fn visitors_of_all_sources_together_have_so_many_places_and_no_more() {
    let mut plane = Plane::start(1, UDP);
    let site = Site::new();
    let web = Web { upstream: Some(site.target(false)), total: 2, ..long() };
    let doors = Doors::open_on(&mut plane, with(web));
    let visitor = |own: u8| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, own], 0)).into()).expect("loopback");
        socket.connect(&doors.address.into()).expect("the doors are open");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut visitor = Frames::new(TcpStream::from(socket));
        visitor.send(REQUEST);
        visitor
    };
    let held: Vec<_> = (2..4)
        .map(|own| {
            let (visitor, mut server) = (visitor(own), site.accept());
            hears(&mut server, REQUEST);
            (visitor, server)
        })
        .collect();
    assert!(visitor(4).ends_silently());
    doors.turned_away(TurnedAway::WebFull, 1);
    drop(held);
}

#[test]
fn a_visitor_has_a_place_among_all_connections_too() {
    let mut plane = Plane::start(1, UDP);
    let site = Site::new();
    let doors = Doors::open_on(&mut plane, Terms { total: 1, ..upstream(site.target(false)) });
    let mut visitor = doors.connect();
    visitor.write_all(REQUEST).expect("sent");
    let mut server = site.accept();
    hears(&mut server, REQUEST);
    assert!(doors.tcp().ends_silently());
    drop((visitor, server));
    ended(&doors, WebEnd::Done, 1);
    eventually("room", || {
        let mut next = doors.tcp();
        next.send(&message::stun(message::BINDING, *b"room again. ", &[]));
        (!next.ends_silently()).then_some(())
    });
}
