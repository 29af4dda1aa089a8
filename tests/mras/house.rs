//! A running service with its three doors, and front ends that speak to it.

use std::io;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::StreamOwned;
use swingbridge::mras;
use swingbridge::mras::Config;
use swingbridge::mras::Door;
use swingbridge::mras::End;
use swingbridge::mras::Live;
use swingbridge::mras::Mras;
use swingbridge::mras::Outcome;
use swingbridge::mras::Stats;
use swingbridge::mras::request::Location;
use swingbridge::mras::response::MediaRelay;
use swingbridge::mras::response::Service;
use swingbridge::net::Certificates;
use swingbridge::net::MutualTls;
use swingbridge::net::StreamListener;
use swingbridge::proto::auth::mras::MrasKey;
use swingbridge::proto::auth::mras::TokenVersion;
use swingbridge::proto::types::Secret;

use crate::pki::Ca;
use crate::pki::Identity;

/// The front end that is let in.
pub(crate) const FRONT_END: &str = "pool.example.com";
/// The moment of every request.
pub(crate) const UNIX: u64 = 1_700_000_000;
pub(crate) const CONTENT_TYPE: &str = "application/msrtc-media-relay-auth+xml";
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct House {
    pub(crate) ca: Ca,
    pub(crate) front_end: Identity,
    mras: Mras,
    doors: Vec<(Door, SocketAddr)>,
}

/// One connection to a door.
pub(crate) struct Line<S> {
    stream: S,
    heard: Vec<u8>,
}

pub(crate) type Secured = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn key(first: &[u8]) -> MrasKey {
    MrasKey::new(&Secret::new(first), &Secret::new(*b"the second key, which is long"))
}

/// What a request for alice gets of `key`, in base64.
pub(crate) fn token(key: &MrasKey) -> (String, String) {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    let token = key.mint(TokenVersion::V1, b"sip:alice@example.com", UNIX + 480 * 60);
    (BASE64_STANDARD.encode(&token.username), BASE64_STANDARD.encode(token.password))
}

pub(crate) fn live(ca: &Ca, key: MrasKey, front_ends: &[&str]) -> Live {
    let shown = ca.identity(&["localhost"]).certificate();
    let relay = MediaRelay {
        location: Location::Internet,
        host: "edge.example.com".to_owned(),
        udp_port: Some(3478),
        tcp_port: None,
    };
    Live {
        service: Service { key, realm: "example.com".to_owned(), relays: vec![relay], duration_min_max: 480 },
        tls: Some(MutualTls::new(Arc::new(Certificates::new(vec![shown])), &ca.authority()).expect("TLS")),
        front_ends: front_ends.iter().map(|name| (*name).into()).collect(),
    }
}

impl House {
    pub(crate) fn open() -> Self {
        Self::with(|_| {})
    }

    /// A service that `change` makes special.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let ca = Ca::new("the front ends' authority");
        let front_end = ca.identity(&[FRONT_END]);
        let bound = Door::ALL.map(|door| {
            (door, StreamListener::bind("127.0.0.1:0".parse().expect("a literal")).expect("a free port"))
        });
        let doors = bound.iter().map(|(door, listener)| (*door, listener.local())).collect();
        let mut config = Config::new(bound.into(), [1, 2, 3, 4], Box::new(|| UNIX));
        change(&mut config);
        let mras = mras::start(config, live(&ca, key(b"the first key"), &[FRONT_END])).expect("a thread");
        Self { ca, front_end, mras, doors }
    }

    pub(crate) fn stats(&self) -> Arc<Stats> {
        self.mras.stats()
    }

    pub(crate) fn exchange(&self, live: Live) {
        self.mras.desk().exchange(live);
    }

    pub(crate) fn address(&self, door: Door) -> SocketAddr {
        self.doors.iter().find(|(this, _)| *this == door).expect("a door").1
    }

    pub(crate) fn connect(&self, door: Door) -> TcpStream {
        let socket = TcpStream::connect(self.address(door)).expect("the door is open");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_nodelay(true).expect("a socket");
        socket
    }

    /// A connection of the front end that is let in.
    pub(crate) fn line(&self, door: Door) -> Line<Secured> {
        self.line_of(door, self.ca.client(Some(&self.front_end), rustls::ALL_VERSIONS))
    }

    pub(crate) fn line_of(&self, door: Door, client: Arc<ClientConfig>) -> Line<Secured> {
        let name = "localhost".try_into().expect("a name");
        let connection = ClientConnection::new(client, name).expect("a client");
        Line::new(StreamOwned::new(connection, self.connect(door)))
    }

    pub(crate) fn plain_line(&self) -> Line<TcpStream> {
        Line::new(self.connect(Door::SipPlain))
    }

    /// Waits until so many connections ended so.
    pub(crate) fn until_ended(&self, door: Door, end: End, count: u64) {
        let stats = self.stats();
        let shown = || End::ALL.map(|end| (end.word(), stats.ends(door, end))).to_vec();
        eventually(|| stats.ends(door, end) == count, || format!("{count} {}: {:?}", end.word(), shown()));
    }

    /// Waits until so many requests came to this.
    pub(crate) fn until_asked(&self, door: Door, outcome: Outcome, count: u64) {
        let stats = self.stats();
        eventually(|| stats.requests(door, outcome) == count, || format!("{count} {}", outcome.word()));
    }
}

fn eventually(holds: impl Fn() -> bool, what: impl Fn() -> String) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never: {}", what());
        sleep(Duration::from_millis(5));
    }
}

impl<S: Read + Write> Line<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, heard: Vec::new() }
    }

    pub(crate) fn try_say(&mut self, text: &[u8]) -> io::Result<()> {
        self.stream.write_all(text)?;
        self.stream.flush()
    }

    pub(crate) fn say(&mut self, text: impl AsRef<[u8]>) {
        self.try_say(text.as_ref()).expect("said");
    }

    /// Exactly so many bytes.
    pub(crate) fn hear(&mut self, len: usize) -> String {
        while self.heard.len() < len {
            assert!(
                self.more().expect("an answer") > 0,
                "ended after {:?}",
                self.heard.escape_ascii().to_string()
            );
        }
        String::from_utf8(self.heard.drain(..len).collect()).expect("text")
    }

    /// The head and the body of the next answer, of SIP or of HTTP.
    pub(crate) fn answer(&mut self) -> (String, String) {
        const END: &[u8] = b"\r\n\r\n";
        let head = loop {
            if let Some(at) = self.heard.windows(END.len()).position(|part| part == END) {
                break self.hear(at + END.len());
            }
            let heard = self.more().expect("an answer");
            assert!(heard > 0, "ended after {:?}", self.heard.escape_ascii().to_string());
        };
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.map_or(0, |length| length.trim().parse().expect("a number"));
        (head, self.hear(length))
    }

    /// What is still heard until the other side ends it, by whatever way.
    pub(crate) fn rest(&mut self) -> String {
        loop {
            match self.more() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    let late = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                    assert!(!late, "the connection goes on");
                    break;
                }
            }
        }
        String::from_utf8_lossy(&std::mem::take(&mut self.heard)).into_owned()
    }

    fn more(&mut self) -> io::Result<usize> {
        let mut piece = [0; 4_096];
        let len = self.stream.read(&mut piece)?;
        self.heard.extend_from_slice(&piece[..len]);
        Ok(len)
    }
}

/// The XML of a request for alice.
pub(crate) fn xml() -> String {
    "<request requestID=\"1\" version=\"1.0\" from=\"sip:f@example.com\" to=\"sip:MRASLoc@example.com\" \
     xmlns=\"http://schemas.microsoft.com/2006/09/sip/mrasp\"><credentialsRequest credentialsRequestID=\"1\">\
     <identity>sip:alice@example.com</identity></credentialsRequest></request>"
        .to_owned()
}

/// The same with what could grow or fetch.
pub(crate) fn xml_with_an_entity() -> String {
    format!("<!DOCTYPE request [<!ENTITY a \"aaaa\">]>{}", xml().replace("alice", "&a;"))
}

/// A SIP request with all that ties an answer to it.
pub(crate) fn sip(method: &str, call: &str, body: &str) -> String {
    let kind = if body.is_empty() { String::new() } else { format!("Content-Type: {CONTENT_TYPE}\r\n") };
    format!(
        "{method} sip:MRASLoc@example.com SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bK1\r\n\
         From: <sip:f@example.com>;tag=1\r\nTo: <sip:MRASLoc@example.com>\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\n\
         {kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A POST of `body`.
pub(crate) fn post(body: &str) -> String {
    format!(
        "POST /mras HTTP/1.1\r\nHost: localhost\r\nContent-Type: {CONTENT_TYPE}; charset=utf-8\r\nContent-Length: {}\r\n\r\n\
         {body}",
        body.len()
    )
}
