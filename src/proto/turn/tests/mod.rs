//! The server against a scripted worker, in virtual time.

mod allocate;
mod authentication;
mod bandwidth;
mod channel_bind;
mod create_permission;
mod drain;
mod dual;
mod exhaustion;
mod gone;
mod legacy;
mod long_call;
mod mobility;
mod negotiation;
mod opening;
mod rebuild;
mod reconfigure;
mod refresh;
mod refusals;
mod replay;
mod reservation;
mod tcp;
mod token;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::proto::auth::challenge::Challenger;
use crate::proto::auth::credential::CredentialConfig;
use crate::proto::auth::credential::Credentials;
use crate::proto::auth::integrity_key::OFFERED;
use crate::proto::auth::integrity_key::PasswordAlgorithm;
use crate::proto::auth::integrity_key::integrity_key;
use crate::proto::auth::nonce::NonceKey;
use crate::proto::auth::token::TokenConfig;
use crate::proto::binding::Discovery;
use crate::proto::media::Counters;
use crate::proto::media::TableChange;
use crate::proto::peers::PolicyBuilder;
use crate::proto::types::ChannelNumber;
use crate::proto::types::Dialect;
use crate::proto::types::Dice;
use crate::proto::types::FiveTuple;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::PeerOrder;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Secret;
use crate::proto::types::Username;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;
use crate::proto::wire::Method;
use crate::proto::wire::TransactionId;
use crate::proto::wire::rfc8656::attributes as attribute;
use crate::proto::wire::rfc8656::decode::decode_response;
use crate::proto::wire::rfc8656::encode::MessageWriter;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;
use crate::proto::wire::rfc8656::integrity::Signature;

const REALM: &str = "edge.example.net";
const UNIX: u64 = 1_800_000_000;
const SECRET: &[u8] = b"a shared secret of the relay";

/// How the scripted worker meets an order to open a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opens {
    Always,
    Never(OpenFailure),
    /// It fails so many times, then opens.
    After(u32, OpenFailure),
    /// It does not answer.
    Silent,
}

/// The server, its clock and a worker that does what it is told.
struct World {
    server: Server<Dice>,
    seconds: u64,
    unix: u64,
    opens: Opens,
    /// What the worker was told about its table, in order.
    changes: Vec<TableChange>,
    opened: Vec<(RelayId, RelayAddr)>,
    closed: Vec<RelayId>,
    replies: Vec<(FiveTuple, Box<[u8]>)>,
    events: Vec<Event>,
    /// Closes are reported at once unless this is set.
    hold_closes: bool,
    /// How the worker meets an order for an IPv6 socket, if not like one for IPv4.
    opens_v6: Option<Opens>,
    /// Whose listener the next message comes to.
    worker: WorkerId,
    /// What workers were told to give, take over and close: at which worker.
    told: Vec<(&'static str, WorkerId)>,
    /// Sockets are given away, and taken over, unless this is set.
    hold_moves: bool,
    /// What a worker reports of a socket that it gives away.
    carried: Counters,
    /// Every worker's table, as the outputs made it.
    tables: rebuild::Tables,
    /// What Send requests of [MS-TURN] made leave.
    sent: Vec<(RelayId, PeerAddr, Vec<u8>)>,
    /// Ports of TCP that workers were told to open.
    ports: Vec<RelayId>,
    /// What workers were told about peers' connections.
    orders: Vec<(WorkerId, PeerOrder)>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut dice = Dice::new(7);
        let mut config = Config {
            challenger: Challenger {
                realm: REALM.into(),
                nonce_key: NonceKey::generate(&mut dice),
                nonce_lifetime: Duration::from_secs(3_600),
                discovery: Discovery::default(),
                third_party: None,
                legacy: true,
            },
            credentials: Arc::new(Credentials::new(CredentialConfig {
                realm: REALM.into(),
                users: ["alice", "bob"]
                    .map(|name| (Username::new(name.as_bytes()), Secret::new(*b"password")))
                    .into(),
                secrets: vec![Secret::new(SECRET)],
                lifetime_max_s: 8 * 3_600,
                tokens: TokenConfig::default(),
                mras: Vec::new(),
            })),
            policy: Arc::new(
                PolicyBuilder {
                    own: vec![ip("203.0.113.7"), ip("2001:db8::7")],
                    relay: vec![ip("203.0.113.7"), ip("2001:db8::7")],
                    ..PolicyBuilder::default()
                }
                .build(),
            ),
            relays: vec![
                RelayAddress { bind: ip("203.0.113.7"), external: ip("203.0.113.7") },
                RelayAddress { bind: ip("2001:db8::7"), external: ip("2001:db8::7") },
            ],
            ports: 50_000..=59_999,
            lifetime_default: Lifetime::from_secs(600),
            lifetime_max: Lifetime::from_secs(3_600),
            permission_lifetime: Duration::from_secs(300),
            channel_number_max: ChannelNumber::MAX,
            channel_lifetime: Duration::from_secs(600),
            session_lifetime_max: Duration::from_secs(24 * 3_600),
            allocations_per_user: 64,
            allocations_per_address: 0,
            bandwidth_per_allocation: None,
            bandwidth_per_user: None,
            allocations_total: 0,
            permissions_per_allocation: limits::PERMISSIONS_PER_ALLOCATION_MAX,
            channels_per_allocation: limits::CHANNELS_PER_ALLOCATION_MAX,
            alternate_servers: Vec::new(),
            mobility: false,
            legacy: LegacyConfig::default(),
            connections_per_allocation: 4,
            connects_per_allocation: 2,
        };
        change(&mut config);
        Self {
            server: Server::new(config, dice),
            seconds: 100,
            unix: UNIX,
            opens: Opens::Always,
            changes: Vec::new(),
            opened: Vec::new(),
            closed: Vec::new(),
            replies: Vec::new(),
            events: Vec::new(),
            hold_closes: false,
            opens_v6: None,
            worker: WorkerId(0),
            told: Vec::new(),
            hold_moves: false,
            carried: Counters::default(),
            tables: rebuild::Tables::default(),
            sent: Vec::new(),
            ports: Vec::new(),
            orders: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now { since_start: Duration::from_secs(self.seconds), unix: self.unix + self.seconds }
    }

    /// Lets time pass, a second at a time, as the control task would.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.seconds += 1;
            while self.server.poll_timeout().is_some_and(|(at, _)| at.is_due(self.now().tick())) {
                self.server.handle_timeout(self.now());
                self.drain();
            }
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.server.handle_input(self.now(), input);
        self.drain();
    }

    fn drain(&mut self) {
        let mut reports = Vec::new();
        while let Some(output) = self.server.poll_output() {
            self.tables.take(&output);
            match output {
                Output::Reply { to, bytes, .. } => self.replies.push((to, bytes)),
                Output::OpenRelay { relay, bind, .. } => reports.extend(self.meet_open(relay, bind)),
                Output::CloseRelay { worker, relay } => {
                    self.closed.push(relay);
                    self.told.push(("close", worker));
                    if !self.hold_closes {
                        reports.push(Input::RelayClosed { worker, relay, counters: Counters::default() });
                    }
                }
                Output::Table { change, .. } | Output::TableOfAll { change } => self.changes.push(change),
                Output::Event(event) => self.events.push(event),
                Output::Announce { .. } => {}
                Output::OpenPort { relay, bind, .. } => {
                    self.ports.push(relay);
                    reports.extend(self.meet_open(relay, bind));
                }
                Output::Peer { worker, order } => self.orders.push((worker, order)),
                Output::RebuildWorker { worker, .. } => self.told.push(("rebuild", worker)),
                Output::WorkerRebuilt { worker } => self.told.push(("rebuilt", worker)),
                Output::SendToPeer { relay, peer, data, .. } => self.sent.push((relay, peer, data.into())),
                Output::DetachRelay { worker, relay, keep } => {
                    self.told.push((if keep { "lend" } else { "give" }, worker));
                    if !self.hold_moves {
                        reports.push(Input::RelayDetached { relay, given: Some((self.carried, keep)) });
                    }
                }
                Output::AttachRelay { worker, relay, .. } => {
                    self.told.push(("take", worker));
                    let bound =
                        self.opened.iter().find(|(opened, _)| *opened == relay).expect("it was opened").1;
                    if !self.hold_moves {
                        reports.push(Input::RelayOpened { relay, bound });
                    }
                }
            }
        }
        for report in reports {
            self.input(report);
        }
    }

    fn meet_open(&mut self, relay: RelayId, bind: RelayAddr) -> Option<Input<'static>> {
        let opened = Input::RelayOpened { relay, bound: bind };
        let opens = match &mut self.opens_v6 {
            Some(opens) if bind.ip().is_ipv6() => opens,
            _ => &mut self.opens,
        };
        match *opens {
            Opens::Always | Opens::After(0, _) => {
                self.opened.push((relay, bind));
                Some(opened)
            }
            Opens::Never(why) => Some(Input::RelayFailed { relay, why }),
            Opens::After(times, why) => {
                *opens = Opens::After(times - 1, why);
                Some(Input::RelayFailed { relay, why })
            }
            Opens::Silent => None,
        }
    }

    /// Sends a datagram and answers what came back to the same five-tuple, if anything did.
    fn send(&mut self, from: FiveTuple, bytes: &[u8]) -> Option<Box<[u8]>> {
        self.replies.clear();
        self.input(Input::Message { worker: self.worker, from, dialect: Dialect::Rfc8656, bytes });
        let mut mine = self.replies.iter().filter(|(to, _)| *to == from).map(|(_, bytes)| bytes.clone());
        let reply = mine.next();
        assert!(mine.next().is_none(), "one request, one answer");
        reply
    }

    fn ends(&self) -> Vec<EndReason> {
        let reason = |event: &Event| match event {
            Event::AllocationEnded { reason, .. } => Some(*reason),
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }
}

/// A client: a five-tuple, a name with its key, and the nonce it was given.
#[derive(Clone)]
struct Client {
    from: FiveTuple,
    username: Vec<u8>,
    key: MacKey,
    nonce: Vec<u8>,
    transactions: u32,
}

/// What an answer said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    /// 0 for success.
    code: u16,
    relayed: Option<SocketAddr>,
    mapped: Option<SocketAddr>,
    lifetime: Option<u32>,
    token: Option<[u8; 8]>,
    unknown: Vec<u16>,
    additional: Option<SocketAddr>,
    /// The family byte and the code of an ADDRESS-ERROR-CODE.
    address_error: Option<(u8, u16)>,
    ticket: Option<Vec<u8>>,
}

impl Client {
    /// Alice, from the client address with this number, who has been challenged already.
    fn alice(world: &World, number: u16) -> Self {
        Self::named(world, number, "alice", "password")
    }

    fn named(world: &World, number: u16, username: &str, password: &str) -> Self {
        let from = testing::five_tuple(number);
        let nonce = world.server.config.challenger.nonce_key.mint(world.now().tick(), &from);
        Self {
            from,
            username: username.into(),
            key: integrity_key(
                PasswordAlgorithm::Md5,
                username.as_bytes(),
                REALM.as_bytes(),
                password.as_bytes(),
            ),
            nonce: nonce.0.to_vec(),
            transactions: u32::from(number) << 16,
        }
    }

    /// A signed request.
    fn request(&mut self, method: Method, body: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
        self.request_with(Algorithm::Sha1, method, body)
    }

    fn request_with(
        &mut self,
        algorithm: Algorithm,
        method: Method,
        body: impl FnOnce(&mut MessageWriter<'_>),
    ) -> Vec<u8> {
        self.transactions += 1;
        let mut id = [0; 16];
        id[..4].copy_from_slice(&0x2112_A442_u32.to_be_bytes());
        id[12..].copy_from_slice(&self.transactions.to_be_bytes());
        let mut buffer = [0; 4_096];
        let mut writer = MessageWriter::request(&mut buffer, method, TransactionId(id));
        body(&mut writer);
        writer
            .attribute(attribute::USERNAME, &self.username)
            .attribute(attribute::REALM, REALM.as_bytes())
            .attribute(attribute::NONCE, &self.nonce)
            .integrity(Signature { key: &self.key, algorithm });
        let len = writer.finish().expect("the buffer is large");
        buffer[..len].to_vec()
    }

    fn ask(
        &mut self,
        world: &mut World,
        method: Method,
        body: impl FnOnce(&mut MessageWriter<'_>),
    ) -> Option<Told> {
        let request = self.request(method, body);
        let reply = world.send(self.from, &request)?;
        Some(self.read(&reply))
    }

    /// Reads an answer, which must be signed with this client's key.
    fn read(&self, reply: &[u8]) -> Told {
        let answer = decode_response(reply).expect("an answer is a message");
        assert!(answer.integrity.verify(&self.key), "an answer to an authenticated request is signed");
        told(reply)
    }

    /// Meets a 438 and goes on with its nonce, as an honest client does.
    fn renew(&mut self, world: &mut World) {
        let request = self.request(Method::Refresh, |_| {});
        let reply = world.send(self.from, &request).expect("an answer");
        assert_eq!(self.read(&reply).code, 438);
        self.take_nonce(&reply);
    }

    fn take_nonce(&mut self, reply: &[u8]) {
        self.nonce = decode_response(reply).expect("a message").nonce.expect("a new nonce").to_vec();
    }

    fn allocate(&mut self, world: &mut World) -> Told {
        self.ask(world, Method::Allocate, udp).expect("an answer")
    }

    fn refresh(&mut self, world: &mut World, lifetime: Option<u32>) -> Told {
        self.ask(world, Method::Refresh, |writer| {
            if let Some(seconds) = lifetime {
                writer.attribute(attribute::LIFETIME, &seconds.to_be_bytes());
            }
        })
        .expect("an answer")
    }

    fn permit(&mut self, world: &mut World, peers: &[&str]) -> Told {
        self.ask(world, Method::CreatePermission, |writer| {
            for address in peers {
                writer.peer(peer(address));
            }
        })
        .expect("an answer")
    }

    fn bind(&mut self, world: &mut World, channel: u16, to: &str) -> Told {
        self.ask(world, Method::ChannelBind, |writer| {
            writer.attribute(attribute::CHANNEL_NUMBER, &channel_value(channel)).peer(peer(to));
        })
        .expect("an answer")
    }
}

fn told(reply: &[u8]) -> Told {
    let answer = decode_response(reply).expect("an answer is a message");
    assert_eq!(answer.success, answer.error_code.is_none());
    Told {
        code: answer.error_code.unwrap_or(0),
        relayed: answer.relayed_address.map(|address| address.socket()),
        mapped: answer.mapped_address,
        lifetime: answer.lifetime.map(Lifetime::as_secs),
        token: answer.reservation_token,
        unknown: answer.unknown_attributes.as_slice().to_vec(),
        additional: answer.additional_relayed_address.map(|address| address.socket()),
        address_error: answer.address_error.map(|(family, code)| (family.code(), code)),
        ticket: answer.mobility_ticket.map(<[u8]>::to_vec),
    }
}

/// REQUESTED-TRANSPORT: UDP.
fn udp(writer: &mut MessageWriter<'_>) {
    writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
}

fn channel_value(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [high, low, 0, 0]
}

fn ip(text: &str) -> std::net::IpAddr {
    text.parse().expect("an address")
}

fn peer(text: &str) -> PeerAddr {
    PeerAddr::new(text.parse().expect("an address with a port"))
}
