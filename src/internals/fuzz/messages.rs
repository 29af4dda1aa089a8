//! The server's state machine under messages of any kind: requests that are signed and sound, signed and strange, repeated
//! with another byte, or any bytes at all; workers that succeed or fail. Every reply is an answer to what was asked, no port
//! has two owners, what comes out is bounded, and in the end nothing is left. What must be answered the target `server`
//! judges, whose clients send whole requests.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

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
use crate::proto::peers::PolicyBuilder;
use crate::proto::turn::Command;
use crate::proto::turn::Config;
use crate::proto::turn::Input;
use crate::proto::turn::LegacyConfig;
use crate::proto::turn::OpenFailure;
use crate::proto::turn::Output;
use crate::proto::turn::RelayAddress;
use crate::proto::turn::Server;
use crate::proto::types::ChannelNumber;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Secret;
use crate::proto::types::Username;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;
use crate::proto::wire::Method;
use crate::proto::wire::TransactionId;
use crate::proto::wire::rfc8656::attributes as attribute;
use crate::proto::wire::rfc8656::decode::decode_request;
use crate::proto::wire::rfc8656::decode::decode_response;
use crate::proto::wire::rfc8656::encode::MessageWriter;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;
use crate::proto::wire::rfc8656::integrity::Signature;

use super::choices::Choices;
use super::choices::Dice;
use super::choices::five_tuple;
use super::mend::mended;

const REALM: &str = "edge.example.net";
const USERS: [&str; 2] = ["alice", "bob"];
const PASSWORD: &str = "password";
const UNIX: u64 = 1_700_000_000;
/// Few, so that they run out.
const PORTS: std::ops::RangeInclusive<u16> = 50_000..=50_005;
const RELAYS: [&str; 2] = ["203.0.113.7", "2001:db8:7::7"];
const PEERS: [&str; 4] = ["198.51.100.99:7", "198.51.100.98:9", "[2001:db8:9::9]:7", "203.0.113.7:50000"];
const STEPS_MAX: usize = 300;
/// Every timer of this server is over by then.
const LONG: Duration = Duration::from_secs(3 * 24 * 3_600);

pub(super) fn body(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut world = World::new(choices.byte());
    for _ in 0..STEPS_MAX {
        if choices.is_over() {
            break;
        }
        world.step(&mut choices);
    }
    world.end();
}

/// What a worker was told and has not yet reported on.
#[derive(Clone, Copy, Debug)]
enum Pending {
    Open(RelayId, RelayAddr),
    Close(WorkerId, RelayId),
    Detach(RelayId),
    Attach(RelayId),
}

struct World {
    server: Server<Dice>,
    nonce_key: NonceKey,
    now: Duration,
    pending: Vec<Pending>,
    /// The sockets that workers hold or are to open.
    bound: BTreeMap<RelayId, RelayAddr>,
    transactions: u8,
    last: Option<(FiveTuple, Vec<u8>)>,
    ticket: Vec<u8>,
    token: [u8; 8],
}

impl World {
    fn new(how: u8) -> Self {
        let mut dice = Dice(7);
        let nonce_key = NonceKey::generate(&mut dice);
        let config = config(nonce_key.clone(), how);
        Self {
            server: Server::new(config, dice),
            nonce_key,
            now: Duration::from_secs(100),
            pending: Vec::new(),
            bound: BTreeMap::new(),
            transactions: 0,
            last: None,
            ticket: Vec::new(),
            token: [0; 8],
        }
    }

    fn now(&self) -> Now {
        Now { since_start: self.now, unix: UNIX + self.now.as_secs() }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0..=5 => self.request(choices),
            6 => {
                let from = five_tuple(choices.byte() % 4);
                let len = usize::from(choices.byte());
                self.message(choices.byte(), from, choices.take(len));
            }
            7 => {
                let from = five_tuple(choices.byte() % 4);
                let len = usize::from(choices.byte());
                self.message(0, from, &mended(choices.take(len), b"the key of nobody"));
            }
            8 => {
                // A repetition, as it was or with another byte.
                if let Some((from, mut bytes)) = self.last.clone() {
                    let at = usize::from(choices.u16()) % bytes.len();
                    bytes[at] ^= choices.byte();
                    self.message(choices.byte(), from, &bytes);
                }
            }
            9..=12 => self.report(choices),
            13 => self.pass(Duration::from_millis(u64::from(choices.byte()) * 50)),
            14 => self.pass(Duration::from_secs(u64::from(choices.byte()) * 10)),
            _ => match choices.below(32) {
                0 => self.input(Input::Command(Command::Drain)),
                1 => self.input(Input::Command(Command::EndAll)),
                2..=7 => self.input(Input::ClientArrived { from: five_tuple(choices.byte() % 4) }),
                // About what there is not.
                8 => {
                    let relay =
                        RelayId { index: u32::from(choices.byte()), generation: u32::from(choices.byte()) };
                    let absent = !self.bound.contains_key(&relay);
                    if absent {
                        self.input(Input::RelayClosed {
                            worker: WorkerId(0),
                            relay,
                            counters: Counters::default(),
                        });
                    }
                }
                _ => {}
            },
        }
    }

    /// A signed request of one of few users, from one of few addresses, with attributes as they come.
    fn request(&mut self, choices: &mut Choices<'_>) {
        let from = five_tuple(choices.byte() % 4);
        let methods = [Method::Allocate, Method::Refresh, Method::CreatePermission, Method::ChannelBind];
        let method = choices.of(&methods);
        let user = choices.of(&USERS);
        let flags = choices.byte();
        self.transactions = self.transactions.wrapping_add(flags & 1);
        let transaction = TransactionId::with_cookie([self.transactions; 12]);
        let mut out = [0; 2_048];
        let mut writer = MessageWriter::request(&mut out, method, transaction);
        if method == Method::Allocate && flags & 2 == 0 {
            writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        }
        for _ in 0..choices.below(5) {
            self.attribute(&mut writer, choices);
        }
        let nonce = self.nonce_key.mint(self.now().tick(), &from);
        writer
            .attribute(attribute::USERNAME, user.as_bytes())
            .attribute(attribute::REALM, REALM.as_bytes())
            .attribute(attribute::NONCE, &nonce.0);
        let password_algorithm =
            if flags & 4 == 0 { PasswordAlgorithm::Md5 } else { PasswordAlgorithm::Sha256 };
        let mut algorithm = Algorithm::Sha1;
        if password_algorithm == PasswordAlgorithm::Sha256 {
            writer.attribute(attribute::PASSWORD_ALGORITHMS, &OFFERED);
            writer.attribute(attribute::PASSWORD_ALGORITHM, &[0, 2, 0, 0]);
            algorithm = Algorithm::Sha256;
        }
        let key = key_of(password_algorithm, user);
        writer.integrity(Signature { key: &key, algorithm });
        let Ok(len) = writer.finish() else { return };
        let bytes = out[..len].to_vec();
        self.message(flags >> 4, from, &bytes);
        self.last = Some((from, bytes));
    }

    fn attribute(&self, writer: &mut MessageWriter<'_>, choices: &mut Choices<'_>) {
        let byte = choices.byte();
        match choices.below(14) {
            0 => writer.attribute(attribute::LIFETIME, &(u32::from(byte) * 16).to_be_bytes()),
            1 => writer.attribute(attribute::LIFETIME, &[0; 4]),
            2 | 3 => writer.peer(peer(usize::from(byte))),
            4 | 5 => writer.attribute(attribute::CHANNEL_NUMBER, &[0x40, byte % 4, 0, 0]),
            6 => writer.attribute(attribute::EVEN_PORT, &[byte & 0x80]),
            7 => writer.attribute(attribute::RESERVATION_TOKEN, &self.token),
            8 => writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[1 + byte % 2, 0, 0, 0]),
            9 => writer.attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]),
            10 => writer.attribute(attribute::MOBILITY_TICKET, &[]),
            11 => writer.attribute(attribute::MOBILITY_TICKET, &self.ticket),
            12 => writer.attribute(attribute::DONT_FRAGMENT, &[]),
            _ => writer.attribute(u16::from(byte), choices.take(4)),
        };
    }

    fn message(&mut self, worker: u8, from: FiveTuple, bytes: &[u8]) {
        let worker = WorkerId(u16::from(worker % 2));
        self.server
            .handle_input(self.now(), Input::Message { worker, from, dialect: Dialect::Rfc8656, bytes });
        let replies = self.drain();
        assert!(replies.len() <= 1, "one message, one answer");
        for (to, reply) in &replies {
            let request = decode_request(bytes).expect("nothing else is answered");
            let answer = decode_response(reply).expect("an answer is a message");
            assert_eq!(to.client.ip(), from.client.ip());
            assert_eq!((answer.method, answer.transaction), (request.method, request.transaction));
        }
    }

    /// A worker says how one of its orders went.
    fn report(&mut self, choices: &mut Choices<'_>) {
        if self.pending.is_empty() {
            return;
        }
        let pending = self.pending.remove(choices.below(self.pending.len()));
        let well = choices.below(4) != 0;
        let failures =
            [OpenFailure::PortTaken, OpenFailure::NoRoom, OpenFailure::AddressGone, OpenFailure::Other];
        match pending {
            Pending::Open(relay, bound) if well => self.input(Input::RelayOpened { relay, bound }),
            Pending::Attach(relay) if well => {
                let bound = self.bound[&relay];
                self.input(Input::RelayOpened { relay, bound });
            }
            Pending::Open(relay, _) | Pending::Attach(relay) => {
                self.bound.remove(&relay);
                self.input(Input::RelayFailed { relay, why: choices.of(&failures) });
            }
            Pending::Close(worker, relay) => {
                self.bound.remove(&relay);
                self.input(Input::RelayClosed { worker, relay, counters: Counters::default() });
            }
            Pending::Detach(relay) => {
                let given = well.then(|| (Counters::default(), choices.flag()));
                self.input(Input::RelayDetached { relay, given });
            }
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.server.handle_input(self.now(), input);
        self.drain();
    }

    /// Lets time go by, and does what is due then.
    fn pass(&mut self, span: Duration) {
        self.now += span;
        for _ in 0..10_000 {
            let is_due = self.server.poll_timeout().is_some_and(|(at, _)| at.is_due(self.now().tick()));
            if !is_due {
                return;
            }
            self.server.handle_timeout(self.now());
            self.drain();
        }
        panic!("timers that are never done");
    }

    /// Takes every output; answers the replies.
    fn drain(&mut self) -> Vec<(FiveTuple, Box<[u8]>)> {
        let mut replies = Vec::new();
        let mut outputs = 0;
        while let Some(output) = self.server.poll_output() {
            outputs += 1;
            match output {
                Output::Reply { to, bytes, .. } => {
                    self.learn(&bytes);
                    replies.push((to, bytes));
                }
                Output::OpenRelay { relay, bind, .. } => {
                    let twice = self.bound.values().any(|held| *held == bind);
                    assert!(!twice, "{bind} has two owners");
                    assert!(PORTS.contains(&bind.port()));
                    assert_eq!(self.bound.insert(relay, bind), None);
                    self.pending.push(Pending::Open(relay, bind));
                }
                Output::CloseRelay { worker, relay } => {
                    assert!(self.bound.contains_key(&relay), "{relay:?} is not open");
                    self.pending.push(Pending::Close(worker, relay));
                }
                Output::DetachRelay { relay, .. } => self.pending.push(Pending::Detach(relay)),
                Output::AttachRelay { relay, .. } => self.pending.push(Pending::Attach(relay)),
                Output::RebuildWorker { .. } | Output::WorkerRebuilt { .. } | Output::SendToPeer { .. } => {
                    unreachable!("no worker panics here, and nobody speaks the old dialect")
                }
                Output::OpenPort { .. } | Output::Peer { .. } => {
                    unreachable!("nobody comes over a connection here")
                }
                Output::Table { .. }
                | Output::TableOfAll { .. }
                | Output::Event(_)
                | Output::Announce { .. } => {}
            }
        }
        assert!(outputs <= limits::OUTPUTS_PER_INPUT_MAX);
        self.count();
        replies
    }

    /// Every port is free, used, reserved or quarantined, and each socket is a used port.
    fn count(&self) {
        let occupancy = self.server.occupancy();
        for ports in &occupancy.ports {
            assert_eq!(ports.free + ports.used + ports.reserved + ports.quarantined, PORTS.count());
        }
        let addresses: BTreeSet<_> = self.bound.values().collect();
        assert_eq!(addresses.len(), self.bound.len());
        assert!(occupancy.live <= self.bound.len());
    }

    /// What a client would keep of an answer.
    fn learn(&mut self, reply: &[u8]) {
        let answer = decode_response(reply).expect("an answer is a message");
        if let Some(ticket) = answer.mobility_ticket {
            self.ticket = ticket.to_vec();
        }
        if let Some(token) = answer.reservation_token {
            self.token = token;
        }
    }

    /// Everything ends, and nothing is left.
    fn end(&mut self) {
        self.input(Input::Command(Command::EndAll));
        let mut dull = Choices::new(&[]);
        for _ in 0..64 {
            self.pass(LONG / 64);
            while !self.pending.is_empty() {
                self.report(&mut dull);
            }
        }
        let occupancy = self.server.occupancy();
        assert_eq!((occupancy.allocations, occupancy.live, occupancy.answers), (0, 0, 0));
        assert_eq!(self.bound, BTreeMap::new(), "sockets that nobody closes");
        for ports in &occupancy.ports {
            // A reservation that nobody claimed is taken back when a port is next drawn.
            assert_eq!(ports.used, 0);
        }
    }
}

fn peer(index: usize) -> PeerAddr {
    PeerAddr::new(PEERS[index % PEERS.len()].parse().expect("an address with a port"))
}

fn key_of(algorithm: PasswordAlgorithm, user: &str) -> MacKey {
    integrity_key(algorithm, user.as_bytes(), REALM.as_bytes(), PASSWORD.as_bytes())
}

/// A bit each for mobility, quotas, and few permissions and channels.
fn config(nonce_key: NonceKey, how: u8) -> Config {
    let relays = RELAYS.map(|address| address.parse().expect("an address"));
    let few = how & 4 != 0;
    Config {
        challenger: Challenger {
            realm: REALM.into(),
            nonce_key,
            nonce_lifetime: Duration::from_secs(3_600),
            discovery: Discovery::default(),
            third_party: None,
            legacy: false,
        },
        credentials: Arc::new(Credentials::new(CredentialConfig {
            realm: REALM.into(),
            users: USERS
                .map(|name| (Username::new(name.as_bytes()), Secret::new(PASSWORD.as_bytes())))
                .into(),
            secrets: Vec::new(),
            lifetime_max_s: 8 * 3_600,
            tokens: TokenConfig::default(),
            mras: Vec::new(),
        })),
        policy: Arc::new(
            PolicyBuilder { own: relays.into(), relay: relays.into(), ..PolicyBuilder::default() }.build(),
        ),
        relays: relays.map(|address| RelayAddress { bind: address, external: address }).into(),
        ports: PORTS,
        lifetime_default: Lifetime::from_secs(600),
        lifetime_max: Lifetime::from_secs(3_600),
        permission_lifetime: Duration::from_secs(300),
        channel_number_max: ChannelNumber::MAX,
        channel_lifetime: Duration::from_secs(600),
        session_lifetime_max: Duration::from_secs(24 * 3_600),
        allocations_per_user: if how & 2 != 0 { 2 } else { 0 },
        allocations_per_address: 0,
        bandwidth_per_allocation: None,
        bandwidth_per_user: None,
        allocations_total: 0,
        permissions_per_allocation: if few { 2 } else { limits::PERMISSIONS_PER_ALLOCATION_MAX },
        channels_per_allocation: if few { 2 } else { limits::CHANNELS_PER_ALLOCATION_MAX },
        alternate_servers: Vec::new(),
        mobility: how & 1 != 0,
        legacy: LegacyConfig::default(),
        connections_per_allocation: 2,
        connects_per_allocation: 1,
    }
}
