//! One client and the edge in virtual time, on a wire without delay. A wrong client is ours behind a shim that takes a rule
//! away from it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::auth::integrity_key::PasswordAlgorithm;
use crate::proto::auth::integrity_key::integrity_key;
use crate::proto::client::Client;
use crate::proto::client::Config;
use crate::proto::client::Counsel;
use crate::proto::client::Credential;
use crate::proto::client::End;
use crate::proto::client::Event;
use crate::proto::client::Failure;
use crate::proto::client::Input as Happens;
use crate::proto::client::Next;
use crate::proto::client::Output as Says;
use crate::proto::client::Proof;
use crate::proto::types::Entropy as _;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::Secret;
use crate::proto::types::StreamId;
use crate::proto::types::Transport;
use crate::proto::wire::TransactionId;
use crate::proto::wire::rfc8656::attributes as attribute;
use crate::proto::wire::rfc8656::decode::decode_request;
use crate::proto::wire::rfc8656::decode::decode_response;
use crate::proto::wire::rfc8656::encode::MessageWriter;
use crate::proto::wire::rfc8656::integrity::MacKey;
use crate::proto::wire::rfc8656::integrity::Signature;
use crate::testbed::edge::message;
use crate::testbed::edge::source::Source;
use crate::testbed::edge::*;
use crate::testbed::scenario::Scenario;
use crate::testbed::scenario::Scenarios;

pub(super) const PASSWORD: &[u8] = b"a password of this bench";
const LISTENS: [&str; 2] = ["192.0.2.1:3478", "192.0.2.1:3479"];
pub(super) const PEER: &str = "198.51.100.9:4000";

/// The rule that a client lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// None: it is ours.
    Nothing,
    /// It sends each request once.
    NeverRepeats,
    /// It sends a new request where it should repeat the old one.
    Impatient,
    /// Any integrity will do.
    TrustsAnybody,
    /// It asks again at once, whatever the refusal.
    Hammers,
    /// It goes wherever it is sent.
    FollowsForever,
    /// It holds on to the first realm.
    KeepsRealm,
    /// It asks again with each new nonce, without end.
    AsksForever,
    /// It does not read LIFETIME.
    IgnoresLifetime,
    /// It does not hear a 437.
    DeafToMismatch,
    /// Its requests are padded beyond what any path carries.
    LongRequests,
    /// It gives its allocation back on any trouble.
    RunsAway,
    /// It does not hear a 438.
    DeafToStaleNonce,
    /// It does not hear a 300.
    DeafToRedirects,
    /// It does not take over a new nonce.
    KeepsNonce,
    /// It is right, but each of its datagrams comes twice.
    ComesTwice,
}

pub(super) struct Bench {
    pub(super) edge: Edge<Source>,
    pub(super) client: Client<Source>,
    name: String,
    dice: Source,
    wrong: Wrong,
    pub(super) server: SocketAddr,
    pub(super) from: SocketAddr,
    pub(super) millis: u64,
    pub(super) events: Vec<(u64, Event)>,
    pub(super) notes: Vec<Note>,
    pub(super) to_peer: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    counsel: Counsel,
    /// When the owner asks again.
    again: Option<u64>,
    sent: BTreeMap<[u8; 16], u32>,
    /// The wire is as long as this, in milliseconds.
    queue: Vec<(u64, Vec<u8>)>,
    pub(super) change: fn(&mut Config),
    pub(super) stays_quiet: bool,
    /// The first one that was used.
    nonce: Option<Option<Vec<u8>>>,
    stream: Option<StreamId>,
    pub(super) shut: Vec<StreamId>,
}

struct Seed(u64);

impl crate::proto::types::Entropy for Seed {
    fn fill_secret(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

fn setup() -> Setup {
    let listens = LISTENS.map(|text| Listen { transport: Transport::Udp, address: text.parse().unwrap() });
    Setup::lab(listens.to_vec(), &["203.0.113.7".parse().unwrap()], Secret::new(PASSWORD))
}

impl Bench {
    /// The client that chooses `scenario`.
    pub(super) fn new(scenario: &str, wrong: Wrong) -> Self {
        Self::with(scenario, wrong, |_| {})
    }

    pub(super) fn with(scenario: &str, wrong: Wrong, change: fn(&mut Config)) -> Self {
        let mut seed = Seed(7);
        let name = format!("{scenario}.alice");
        let edge = Edge::new(setup(), Scenarios::built_in(), Source::from(&mut seed));
        let mut dice = Source::from(&mut seed);
        let client = client(&name, &mut dice, change);
        Self {
            edge,
            client,
            name,
            dice,
            wrong,
            server: LISTENS[0].parse().unwrap(),
            from: "198.51.100.1:5000".parse().unwrap(),
            millis: 1_000,
            events: Vec::new(),
            notes: Vec::new(),
            to_peer: Vec::new(),
            counsel: Counsel::new(),
            again: None,
            sent: BTreeMap::new(),
            queue: Vec::new(),
            change,
            stays_quiet: false,
            nonce: None,
            stream: None,
            shut: Vec::new(),
        }
    }

    /// The client of a scenario of its own.
    pub(super) fn written(text: &str) -> Self {
        let mut bench = Self::new("plain", Wrong::Nothing);
        let scenario =
            Scenario::parse("own", "own.toml", text).unwrap_or_else(|problems| panic!("{problems}"));
        bench.edge = Edge::new(setup(), Scenarios::only(scenario), Source::from(&mut bench.dice));
        bench
    }

    /// The same over TCP, a few bytes at a time.
    pub(super) fn over_a_stream(scenario: &str) -> Self {
        let mut bench = Self::with(scenario, Wrong::Nothing, |config| {
            *config = config.clone().over(Transport::Tcp);
        });
        let stream = StreamId { index: 1, generation: 0 };
        let (at, from) = (bench.server, bench.from);
        bench.edge_input(Input::Accepted { stream, at, from, transport: Transport::Tcp });
        bench.stream = Some(stream);
        bench
    }

    pub(super) fn with_password(&mut self, password: &'static [u8]) {
        let credential = Credential {
            username: self.name.as_bytes().into(),
            proof: Proof::Password(Secret::new(password)),
            token: None,
        };
        self.client = Client::new(Config::new(credential), Source::from(&mut self.dice));
    }

    pub(super) fn now(&self) -> Now {
        Now { since_start: Duration::from_millis(self.millis), unix: 1_800_000_000 + self.millis / 1_000 }
    }

    pub(super) fn input(&mut self, input: Happens<'_>) {
        let now = self.now();
        self.client.handle_input(now, input);
        self.drain();
    }

    /// Something happens to the edge.
    pub(super) fn edge_input(&mut self, input: Input<'_>) {
        let now = self.now();
        self.edge.handle_input(now, input);
        self.drain_edge();
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Says::Transmit(bytes) => self.transmit(bytes.into()),
                Says::Event(event) => self.told(event),
            }
        }
    }

    fn transmit(&mut self, mut bytes: Vec<u8>) {
        if let Ok(request) = decode_request(&bytes) {
            let times = self.sent.entry(request.transaction.0).or_default();
            *times += 1;
            match self.wrong {
                Wrong::NeverRepeats if *times > 1 => return,
                Wrong::Impatient if *times > 1 => {
                    let mut id = [0; 12];
                    self.dice.fill_secret(&mut id);
                    bytes = self.another(&bytes, Some(id), |_, _| {}, &[]);
                }
                Wrong::KeepsNonce => {
                    let first = self.nonce.get_or_insert_with(|| request.auth.nonce.map(Into::into)).clone();
                    if first.is_none() {
                        self.nonce = None;
                    } else {
                        let keep = |kind, value: &mut Vec<u8>| {
                            if let (attribute::NONCE, Some(first)) = (kind, &first) {
                                value.clone_from(first);
                            }
                        };
                        bytes = self.another(&bytes, None, keep, &[]);
                    }
                }
                Wrong::LongRequests => bytes = self.another(&bytes, None, |_, _| {}, &[b'x'; 700]),
                _ => {}
            }
        }
        if let Some(stream) = self.stream {
            bytes.chunks(7).for_each(|bytes| self.edge_input(Input::Bytes { stream, bytes }));
            return;
        }
        let (at, from) = (self.server, self.from);
        let times = if matches!(self.wrong, Wrong::ComesTwice) { 2 } else { 1 };
        (0..times).for_each(|_| self.edge_input(Input::Datagram { at, from, bytes: &bytes }));
    }

    /// The request with another transaction, other attributes and SOFTWARE behind them, signed anew.
    fn another(
        &self,
        request: &[u8],
        id: Option<[u8; 12]>,
        mut change: impl FnMut(u16, &mut Vec<u8>),
        software: &[u8],
    ) -> Vec<u8> {
        let read = decode_request(request).expect("a request");
        let mut out = vec![0; 2_000];
        let id = id.map_or(read.transaction, TransactionId::with_cookie);
        let mut writer = MessageWriter::request(&mut out, read.method, id);
        let mut signs = None;
        for (kind, value) in message::attributes(request) {
            match kind {
                attribute::MESSAGE_INTEGRITY | attribute::MESSAGE_INTEGRITY_SHA256 => signs = Some(kind),
                _ => {
                    let mut value = value.to_vec();
                    change(kind, &mut value);
                    writer.attribute(kind, &value);
                }
            }
        }
        if !software.is_empty() {
            writer.attribute(attribute::SOFTWARE, software);
        }
        if signs.is_some() {
            let key = self.key(read.auth.realm.expect("it is signed"));
            let algorithm = read.auth.integrity.algorithm().expect("it is signed");
            writer.integrity(Signature { key: &key, algorithm });
        }
        let len = writer.finish().expect("it fits");
        out.truncate(len);
        out
    }

    fn key(&self, realm: &[u8]) -> MacKey {
        integrity_key(PasswordAlgorithm::Sha256, self.name.as_bytes(), realm, PASSWORD)
    }

    pub(super) fn drain_edge(&mut self) {
        while let Some(output) = self.edge.poll_output() {
            match output {
                Output::Datagram { at, to, bytes } => {
                    if (at, to) == (self.server, self.from) {
                        self.queue.push((self.millis, bytes.into()));
                    }
                }
                Output::ToPeer { at, to, bytes } => self.to_peer.push((at, to, bytes.into())),
                Output::Bind { at } => self.edge_input(Input::Bound { at }),
                Output::Unbind { .. } => {}
                Output::Note(note) => self.notes.push(note),
                Output::Write { stream, bytes } => {
                    assert_eq!(Some(stream), self.stream);
                    self.queue.push((self.millis, bytes.into()));
                }
                Output::Shut { stream } => self.shut.push(stream),
            }
        }
    }

    fn arrive(&mut self, mut bytes: Vec<u8>) {
        if let Ok(answer) = decode_response(&bytes) {
            let realm = b"testbed.example";
            match (self.wrong, answer.error_code) {
                (Wrong::DeafToMismatch, Some(437))
                | (Wrong::DeafToStaleNonce, Some(438))
                | (Wrong::DeafToRedirects, Some(300)) => return,
                (Wrong::TrustsAnybody, _) => {
                    bytes = message::rewritten(&bytes, &self.key(realm), |_, _| {}).map_or(bytes, Into::into);
                }
                (Wrong::IgnoresLifetime, _) => {
                    let long = |kind, value: &mut Vec<u8>| {
                        if kind == attribute::LIFETIME {
                            *value = 3_600_u32.to_be_bytes().to_vec();
                        }
                    };
                    bytes = message::rewritten(&bytes, &self.key(realm), long).map_or(bytes, Into::into);
                }
                (Wrong::KeepsRealm, Some(401)) => {
                    let own = b"elsewhere.example";
                    if let Some(at) = bytes.windows(own.len()).position(|window| window == own) {
                        // The same length, so that the message stays whole.
                        bytes[at..at + own.len()].copy_from_slice(b"testbed.example\0\0");
                    }
                }
                (Wrong::AsksForever, Some(438)) => {
                    let nonce = answer.nonce.expect("a 438 has one").to_vec();
                    return self.asks_again(&nonce);
                }
                _ => {}
            }
        }
        self.input(Happens::Bytes(&bytes));
    }

    /// A Refresh as a client without bounds sends it.
    fn asks_again(&mut self, nonce: &[u8]) {
        if self.sent.len() > 200 {
            return;
        }
        let mut id = [0; 12];
        self.dice.fill_secret(&mut id);
        let mut out = vec![0; 600];
        let id = TransactionId::with_cookie(id);
        self.sent.insert(id.0, 1);
        let mut writer = MessageWriter::request(&mut out, crate::proto::wire::Method::Refresh, id);
        let key = integrity_key(PasswordAlgorithm::Md5, self.name.as_bytes(), b"testbed.example", PASSWORD);
        writer
            .attribute(attribute::USERNAME, self.name.as_bytes())
            .attribute(attribute::REALM, b"testbed.example")
            .attribute(attribute::NONCE, nonce)
            .integrity(Signature {
                key: &key,
                algorithm: crate::proto::wire::rfc8656::integrity::Algorithm::Sha1,
            });
        let len = writer.finish().expect("it fits");
        let (at, from) = (self.server, self.from);
        self.edge_input(Input::Datagram { at, from, bytes: &out[..len] });
    }

    fn told(&mut self, event: Event) {
        self.events.push((self.millis, event.clone()));
        if self.stays_quiet {
            return;
        }
        match event {
            Event::Allocated(_) => {
                self.counsel.allocated();
                let peer = PeerAddr::new(PEER.parse().unwrap());
                self.input(Happens::Permit(peer.ip()));
            }
            Event::NotPermitted { peer, .. } if self.wrong == Wrong::Hammers && self.sent.len() < 200 => {
                self.input(Happens::Permit(peer));
            }
            Event::NotAllocated(why) => self.refused(why),
            Event::Ended(End::Lost(why)) => {
                if let Next::Again { after } = self.counsel.after_loss(why) {
                    self.again = Some(self.millis + after.as_millis() as u64);
                }
            }
            _ => {}
        }
    }

    fn refused(&mut self, why: Failure) {
        if self.wrong == Wrong::Hammers {
            if self.sent.len() < 200 {
                self.again = Some(self.millis);
            }
            return;
        }
        let now = self.now();
        let mut next = self.counsel.after_refusal(now.tick(), self.server, why);
        if let (Wrong::FollowsForever, Failure::Refused { alternate: Some(to), .. }) = (self.wrong, why) {
            next = if self.sent.len() < 200 { Next::Elsewhere(to) } else { Next::GiveUp };
        }
        match next {
            Next::Again { after } => self.again = Some(self.millis + after.as_millis() as u64),
            Next::Elsewhere(server) => {
                self.server = server;
                self.client = client(&self.name, &mut self.dice, self.change);
                self.again = Some(self.millis);
            }
            Next::AnotherAddress => {
                self.from.set_port(self.from.port() + 1);
                self.client = client(&self.name, &mut self.dice, self.change);
                self.again = Some(self.millis);
            }
            Next::GiveUp => {}
        }
    }

    /// Goes on for so many seconds.
    pub(super) fn run(&mut self, seconds: u64) {
        let end = self.millis + seconds * 1_000;
        for _ in 0..200_000 {
            if let Some(at) = self.queue.iter().position(|(at, _)| *at <= self.millis) {
                let (_, bytes) = self.queue.remove(at);
                self.arrive(bytes);
                continue;
            }
            let timers = [self.client.poll_timeout(), self.edge.poll_timeout()];
            let timers = timers.into_iter().flatten().map(|at| at.as_millis());
            let next = timers.chain(self.again).min().unwrap_or(u64::MAX);
            if next > end {
                self.millis = end;
                return;
            }
            self.millis = self.millis.max(next);
            let now = self.now();
            if self.again.is_some_and(|at| at <= self.millis) {
                self.again = None;
                self.input(Happens::Allocate);
            } else if self.client.poll_timeout().is_some_and(|at| at.is_due(now.tick())) {
                self.client.handle_timeout(now);
                self.drain();
            } else {
                self.edge.handle_timeout(now);
                self.drain_edge();
            }
        }
        panic!("nobody ever sleeps");
    }

    /// What the edge thinks of the client.
    pub(super) fn judgement(&self) -> Judgement {
        let own = self.edge.clients().find(|client| client.name == self.name);
        own.map_or(Judgement::Nothing, |client| client.judgement.clone())
    }

    /// The whole scenario, from Allocate to the verdict.
    pub(super) fn play(scenario: &str, wrong: Wrong) -> Self {
        let mut bench = Self::new(scenario, wrong);
        bench.input(Happens::Allocate);
        for _ in 0..200 {
            bench.run(10);
            if wrong == Wrong::RunsAway && bench.notes.iter().any(|note| note.kind == Kind::Fault) {
                bench.stays_quiet = true;
                bench.input(Happens::Release);
            }
            if matches!(bench.judgement(), Judgement::Kept | Judgement::Broken(_)) {
                break;
            }
        }
        bench
    }
}

fn client(name: &str, dice: &mut Source, change: fn(&mut Config)) -> Client<Source> {
    let mut config = Config::new(Credential {
        username: name.as_bytes().into(),
        proof: Proof::Password(Secret::new(PASSWORD)),
        token: None,
    });
    change(&mut config);
    Client::new(config, Source::from(dice))
}
