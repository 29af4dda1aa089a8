//! The real server's pure halves as one machine without loss: `proto::turn` and `proto::media`, joined as a worker joins them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::auth::challenge::Challenger;
use crate::proto::auth::challenge::Greeting;
use crate::proto::auth::credential::CredentialConfig;
use crate::proto::auth::credential::Credentials;
use crate::proto::auth::nonce::NonceKey;
use crate::proto::auth::token::TokenConfig;
use crate::proto::binding::Discovery;
use crate::proto::media::ExternalAddresses;
use crate::proto::media::FromClient;
use crate::proto::media::FromPeer;
use crate::proto::media::Table;
use crate::proto::media::TableConfig;
use crate::proto::media::forward;
use crate::proto::peers::PolicyBuilder;
use crate::proto::peers::Rule;
use crate::proto::turn::Command;
use crate::proto::turn::Config;
use crate::proto::turn::Input;
use crate::proto::turn::LegacyConfig;
use crate::proto::turn::Output;
use crate::proto::turn::RelayAddress;
use crate::proto::turn::Server;
use crate::proto::types::ChannelNumber;
use crate::proto::types::ClientAddr;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Secret;
use crate::proto::types::ServerAddr;
use crate::proto::types::Transport;
use crate::proto::types::Username;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;
use crate::proto::wire::indication::DATA_HEADER_MAX;
use crate::proto::wire::indication::DATA_PADDING_MAX;
use crate::proto::wire::stream::Next;
use crate::proto::wire::stream::next_frame;

use crate::proto::types::Dice;

pub(super) const LISTEN: &str = "192.0.2.1:3478";
const RELAYED: &str = "203.0.113.7";
const RELAYED_V6: &str = "2001:db8:7::7";
pub(super) const USER: &[u8] = b"alice";
pub(super) const PASSWORD: &[u8] = b"a password of this world";
const WORKER: WorkerId = WorkerId(0);

/// What leaves the machine.
#[derive(Debug)]
pub(super) enum Leaves {
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    /// To the other end of a connection.
    Stream {
        client: SocketAddr,
        bytes: Vec<u8>,
    },
}

pub(super) struct Machine {
    server: Server<Dice>,
    table: Table,
    challenger: Challenger,
    bound: BTreeMap<SocketAddr, RelayId>,
    /// What came on connections and is no whole frame yet.
    streams: BTreeMap<SocketAddr, Vec<u8>>,
    pub(super) leaves: Vec<Leaves>,
    /// It is there, and says nothing.
    pub(super) is_silent: bool,
}

impl Machine {
    pub(super) fn new(dice: &mut Dice, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(dice);
        change(&mut config);
        let table = Table::new(TableConfig {
            policy: Arc::clone(&config.policy),
            strict_permissions: false,
            hash_seeds: [1, 2, 3, 4],
            external: ExternalAddresses::new(std::iter::empty()),
        });
        Self {
            challenger: config.challenger.clone(),
            server: Server::new(config, dice.fork()),
            table,
            bound: BTreeMap::new(),
            streams: BTreeMap::new(),
            leaves: Vec::new(),
            is_silent: false,
        }
    }

    pub(super) fn allocations(&self) -> usize {
        self.bound.len()
    }

    pub(super) fn is_relayed(&self, address: SocketAddr) -> bool {
        self.bound.contains_key(&address)
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        self.server.poll_timeout().map(|(at, _)| at)
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        self.server.handle_timeout(now);
        self.drain(now);
    }

    /// Ends all allocations, as an operator may.
    pub(super) fn end_all(&mut self, now: Now) {
        self.input(now, Input::Command(Command::EndAll));
        while self.poll_timeout().is_some_and(|at| at.is_due(now.tick())) {
            self.handle_timeout(now);
        }
    }

    pub(super) fn hear(&mut self, now: Now, from: SocketAddr, bytes: &[u8]) {
        self.judge(now, from, Transport::Udp, bytes);
    }

    /// Bytes of a connection from `client`.
    pub(super) fn hear_stream(&mut self, now: Now, client: SocketAddr, bytes: &[u8]) {
        let mut inbox = self.streams.remove(&client).unwrap_or_default();
        inbox.extend_from_slice(bytes);
        while let Next::Frame { len } = next_frame(&inbox) {
            let rest = inbox.split_off(len);
            self.judge(now, client, Transport::Tcp, &inbox);
            inbox = rest;
        }
        self.streams.insert(client, inbox);
    }

    /// A connection ended.
    pub(super) fn hang_up(&mut self, now: Now, client: SocketAddr) {
        let from = five_tuple(client, Transport::Tcp);
        self.input(now, Input::ClientGone { worker: WORKER, from });
    }

    fn judge(&mut self, now: Now, client: SocketAddr, transport: Transport, bytes: &[u8]) {
        if self.is_silent {
            return;
        }
        let from = five_tuple(client, transport);
        let header = IpHeader::default();
        match forward::from_client(&self.table, now.tick(), &from, header, bytes) {
            FromClient::ToPeer { relay, peer, data, .. } => {
                let Some(from) = self.table_address(relay) else { return };
                let bytes = data.to_vec();
                self.leaves.push(Leaves::Datagram { from, to: peer.socket(), bytes });
            }
            FromClient::LiveRequest => self.request(now, from, bytes),
            FromClient::StrangerRequest => {
                let mut out = [0; limits::RESPONSE_MAX];
                match self.challenger.greet(now.tick(), &from, bytes, &mut out) {
                    Greeting::Answer { len, to, .. } => self.tell(to, &out[..len]),
                    Greeting::ToControl => self.request(now, from, bytes),
                    Greeting::Malformed => {}
                }
            }
            FromClient::Drop(_) => {}
        }
    }

    fn request(&mut self, now: Now, from: FiveTuple, bytes: &[u8]) {
        self.input(now, Input::Message { worker: WORKER, from, dialect: Dialect::Rfc8656, bytes });
    }

    pub(super) fn hear_peer(&mut self, now: Now, from: SocketAddr, at: SocketAddr, bytes: &[u8]) {
        let Some(relay) = self.bound.get(&at).copied() else { return };
        let payload = DATA_HEADER_MAX..DATA_HEADER_MAX + bytes.len();
        let mut buffer = vec![0; payload.end + DATA_PADDING_MAX];
        buffer[payload.clone()].copy_from_slice(bytes);
        let (peer, header) = (PeerAddr::new(from), IpHeader::default());
        match forward::from_peer(&self.table, now.tick(), relay, peer, header, &mut buffer, payload) {
            FromPeer::ToClient { to, frame, .. } => self.tell(to, &buffer[frame]),
            FromPeer::Drop(_) => {}
        }
    }

    fn table_address(&self, relay: RelayId) -> Option<SocketAddr> {
        self.bound.iter().find(|(_, there)| **there == relay).map(|(address, _)| *address)
    }

    fn tell(&mut self, to: FiveTuple, bytes: &[u8]) {
        let (client, bytes) = (to.client.socket(), bytes.to_vec());
        self.leaves.push(if to.transport.is_stream() {
            Leaves::Stream { client, bytes }
        } else {
            Leaves::Datagram { from: to.server.socket(), to: client, bytes }
        });
    }

    fn input(&mut self, now: Now, input: Input<'_>) {
        self.server.handle_input(now, input);
        self.drain(now);
    }

    fn drain(&mut self, now: Now) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Reply { to, bytes, .. } => self.tell(to, &bytes),
                Output::OpenRelay { relay, bind, .. } => {
                    self.bound.insert(bind.socket(), relay);
                    self.server.handle_input(now, Input::RelayOpened { relay, bound: bind });
                }
                Output::CloseRelay { worker, relay } => {
                    self.bound.retain(|_, there| *there != relay);
                    let counters = self.table.forget(relay);
                    self.server.handle_input(now, Input::RelayClosed { worker, relay, counters });
                }
                Output::Table { change, .. } | Output::TableOfAll { change } => self.table.apply(change),
                Output::Event(_) | Output::Announce { .. } => {}
                other => panic!("nobody here asks for {other:?}"),
            }
        }
    }
}

fn five_tuple(client: SocketAddr, transport: Transport) -> FiveTuple {
    let server = ServerAddr::new(LISTEN.parse().unwrap());
    FiveTuple { client: ClientAddr::new(client), server, transport }
}

fn config(dice: &mut Dice) -> Config {
    let relays = [RELAYED, RELAYED_V6].map(|text| text.parse().unwrap());
    let listener = LISTEN.parse::<SocketAddr>().unwrap().ip();
    let policy = PolicyBuilder {
        allow: vec!["198.51.100.0/24".parse::<Rule>().unwrap()],
        own: [&relays[..], &[listener]].concat(),
        relay: relays.to_vec(),
        ..PolicyBuilder::default()
    };
    Config {
        challenger: Challenger {
            realm: "edge.example.net".into(),
            nonce_key: NonceKey::generate(dice),
            nonce_lifetime: Duration::from_secs(3_600),
            discovery: Discovery::default(),
            third_party: None,
            legacy: false,
        },
        credentials: Arc::new(Credentials::new(CredentialConfig {
            realm: "edge.example.net".into(),
            users: [(Username::new(USER), Secret::new(PASSWORD))].into_iter().collect(),
            secrets: Vec::new(),
            lifetime_max_s: 3_600,
            tokens: TokenConfig::default(),
            mras: Vec::new(),
        })),
        policy: Arc::new(policy.build()),
        relays: relays.map(|ip| RelayAddress { bind: ip, external: ip }).to_vec(),
        ports: 50_000..=50_999,
        lifetime_default: Lifetime::from_secs(600),
        lifetime_max: Lifetime::from_secs(3_600),
        permission_lifetime: limits::PERMISSION_LIFETIME_DEFAULT,
        channel_number_max: ChannelNumber::MAX,
        channel_lifetime: limits::CHANNEL_LIFETIME_DEFAULT,
        session_lifetime_max: Duration::from_secs(24 * 3_600),
        allocations_per_user: 0,
        allocations_per_address: 0,
        bandwidth_per_allocation: None,
        bandwidth_per_user: None,
        allocations_total: 0,
        permissions_per_allocation: limits::PERMISSIONS_PER_ALLOCATION_MAX,
        channels_per_allocation: limits::CHANNELS_PER_ALLOCATION_MAX,
        alternate_servers: Vec::new(),
        mobility: false,
        legacy: LegacyConfig::default(),
        connections_per_allocation: 1,
        connects_per_allocation: 1,
    }
}
