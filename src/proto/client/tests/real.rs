//! The server itself, with one worker that holds a real table: what a client's messages come to.

use std::collections::VecDeque;
use std::sync::Arc;

use super::*;
use crate::proto::auth::challenge::Challenger;
use crate::proto::auth::challenge::Greeting;
use crate::proto::auth::credential::CredentialConfig;
use crate::proto::auth::credential::Credentials;
use crate::proto::auth::nonce::NonceKey;
use crate::proto::auth::token::TokenConfig;
use crate::proto::binding::Discovery;
use crate::proto::media::Counters;
use crate::proto::media::ExternalAddresses;
use crate::proto::media::FromClient;
use crate::proto::media::FromPeer;
use crate::proto::media::Table;
use crate::proto::media::TableConfig;
use crate::proto::media::forward;
use crate::proto::media::from_connection;
use crate::proto::media::from_stream;
use crate::proto::media::sent_to_peer;
use crate::proto::peers::PolicyBuilder;
use crate::proto::turn;
use crate::proto::turn::LegacyConfig;
use crate::proto::turn::RelayAddress;
use crate::proto::turn::Server;
use crate::proto::types::ClientAddr;
use crate::proto::types::Dialect;
use crate::proto::types::Dice;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::PeerOrder;
use crate::proto::types::PeerReport;
use crate::proto::types::RelayId;
use crate::proto::types::ServerAddr;
use crate::proto::types::Transport;
use crate::proto::types::Username;
use crate::proto::types::WorkerId;
use crate::proto::wire::DATA_HEADER_MAX;
use crate::proto::wire::indication::DATA_PADDING_MAX;
use crate::proto::wire::ms_turn::framing::FRAME_HEADER_LEN;
use crate::proto::wire::ms_turn::framing::StreamFrame;

const W0: WorkerId = WorkerId(0);
pub(super) const FORBIDDEN: &str = "10.9.9.9:7000";

pub(super) struct Real {
    server: Server<Dice>,
    challenger: Challenger,
    table: Table,
    pub(super) millis: u64,
    /// The relayed addresses of this server's that are open.
    pub(super) relays: Vec<RelayId>,
    pub(super) to_clients: VecDeque<(FiveTuple, Vec<u8>)>,
    pub(super) to_peers: Vec<(PeerAddr, Vec<u8>)>,
    pub(super) orders: Vec<PeerOrder>,
}

pub(super) fn five_tuple(port: u16, transport: Transport) -> FiveTuple {
    let client = ClientAddr::new(SocketAddr::from(([198, 51, 100, 7], port)));
    FiveTuple { client, server: ServerAddr::new(SocketAddr::from(([192, 0, 2, 1], 3_478))), transport }
}

impl Real {
    pub(super) fn new(change: impl FnOnce(&mut turn::Config)) -> Self {
        let mut dice = Dice::new(7);
        let ip = |text: &str| text.parse::<std::net::IpAddr>().expect("an address");
        let own = vec![ip("203.0.113.7")];
        let allow = vec!["192.0.2.0/24".parse().expect("a rule")];
        let policy =
            PolicyBuilder { allow, own: own.clone(), relay: own, ..PolicyBuilder::default() }.build();
        let mut config = turn::Config {
            challenger: Challenger {
                realm: "edge.example.net".into(),
                nonce_key: NonceKey::generate(&mut dice),
                nonce_lifetime: Duration::from_secs(3_600),
                discovery: Discovery::default(),
                third_party: None,
                legacy: true,
            },
            credentials: Arc::new(Credentials::new(CredentialConfig {
                realm: "edge.example.net".into(),
                users: vec![(Username::new(b"alice"), Secret::new(*b"password"))],
                secrets: Vec::new(),
                lifetime_max_s: 3_600,
                tokens: TokenConfig::default(),
                mras: Vec::new(),
            })),
            policy: Arc::new(policy),
            relays: vec![RelayAddress { bind: ip("203.0.113.7"), external: ip("203.0.113.7") }],
            ports: 50_000..=50_100,
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
        let table = Table::new(TableConfig {
            policy: Arc::clone(&config.policy),
            strict_permissions: false,
            hash_seeds: [1, 2, 3, 4],
            external: ExternalAddresses::default(),
        });
        Self {
            challenger: config.challenger.clone(),
            server: Server::new(config, dice),
            table,
            millis: 1_000,
            relays: Vec::new(),
            to_clients: VecDeque::new(),
            to_peers: Vec::new(),
            orders: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> Now {
        Now { since_start: Duration::from_millis(self.millis), unix: 1_800_000_000 + self.millis / 1_000 }
    }

    /// A datagram, or a whole frame of a stream, of a client.
    pub(super) fn hear_client(&mut self, from: FiveTuple, dialect: Dialect, frame: &[u8]) {
        let is_framed = dialect == Dialect::MsTurn && from.transport.is_stream();
        let tick = self.now().tick();
        let judged = if is_framed {
            from_stream(&self.table, tick, &from, frame)
        } else {
            forward::from_client(&self.table, tick, &from, IpHeader::default(), frame)
        };
        let message = if is_framed { &frame[FRAME_HEADER_LEN..] } else { frame };
        match judged {
            FromClient::ToPeer { peer, data, .. } => self.to_peers.push((peer, data.to_vec())),
            FromClient::LiveRequest => self.ask(from, message),
            FromClient::StrangerRequest => {
                let mut out = [0; limits::RESPONSE_MAX];
                match self.challenger.greet(tick, &from, message, &mut out) {
                    Greeting::Answer { len, to, .. } => self.tell(to, &out[..len]),
                    Greeting::ToControl => self.ask(from, message),
                    Greeting::Malformed => {}
                }
            }
            FromClient::Drop(_) => {}
        }
    }

    fn ask(&mut self, from: FiveTuple, bytes: &[u8]) {
        self.input(turn::Input::Message { worker: W0, from, dialect: Dialect::Rfc8656, bytes });
    }

    pub(super) fn input(&mut self, input: turn::Input<'_>) {
        let now = self.now();
        self.server.handle_input(now, input);
        self.drain();
    }

    pub(super) fn report(&mut self, report: PeerReport) {
        self.input(turn::Input::Peer { worker: W0, report });
    }

    /// Lets time pass, for the server.
    pub(super) fn pass(&mut self, millis: u64) {
        self.millis += millis;
        while self.server.poll_timeout().is_some_and(|(at, _)| at.is_due(self.now().tick())) {
            self.server.handle_timeout(self.now());
            self.drain();
        }
    }

    fn drain(&mut self) {
        let mut reports = Vec::new();
        while let Some(output) = self.server.poll_output() {
            match output {
                turn::Output::Reply { to, bytes, .. } => self.tell(to, &bytes),
                turn::Output::OpenRelay { relay, bind, .. } | turn::Output::OpenPort { relay, bind, .. } => {
                    self.relays.push(relay);
                    reports.push(turn::Input::RelayOpened { relay, bound: bind });
                }
                turn::Output::CloseRelay { worker, relay } => {
                    self.table.forget(relay);
                    self.relays.retain(|each| *each != relay);
                    reports.push(turn::Input::RelayClosed { worker, relay, counters: Counters::default() });
                }
                turn::Output::Table { change, .. } | turn::Output::TableOfAll { change } => {
                    self.table.apply(change);
                }
                turn::Output::SendToPeer { relay, peer, data, .. } => {
                    let tick = self.now().tick();
                    if let Ok(peer) = sent_to_peer(&self.table, tick, relay, peer, data.len()) {
                        self.to_peers.push((peer, data.into()));
                    }
                }
                turn::Output::Peer { order, .. } => self.orders.push(order),
                _ => {}
            }
        }
        reports.into_iter().for_each(|report| self.input(report));
    }

    /// A message of the server's own, framed as the client's dialect has it.
    fn tell(&mut self, to: FiveTuple, bytes: &[u8]) {
        use crate::proto::wire::ms_turn::framing::is_control;
        let framed = if to.transport.is_stream() && is_control(bytes) {
            let header = StreamFrame::Control.header(u16::try_from(bytes.len()).expect("short"));
            [&header, bytes].concat()
        } else {
            bytes.to_vec()
        };
        self.to_clients.push_back((to, framed));
    }

    /// Something came from `peer` to the relayed address `relay`.
    pub(super) fn hear_peer(&mut self, relay: RelayId, peer: PeerAddr, data: &[u8]) {
        let payload = DATA_HEADER_MAX..DATA_HEADER_MAX + data.len();
        let mut buffer = vec![0; payload.end + DATA_PADDING_MAX];
        buffer[payload.clone()].copy_from_slice(data);
        let (tick, header) = (self.now().tick(), IpHeader::default());
        let passed = match forward::from_peer(&self.table, tick, relay, peer, header, &mut buffer, payload) {
            FromPeer::ToClient { to, frame, .. } => Some((to, buffer[frame].to_vec())),
            FromPeer::Drop(_) => None,
        };
        self.to_clients.extend(passed);
    }

    /// The same over a connection of a peer.
    pub(super) fn hear_connection(&mut self, relay: RelayId, peer: PeerAddr, data: &[u8]) {
        let payload = DATA_HEADER_MAX..DATA_HEADER_MAX + data.len();
        let mut buffer = vec![0; payload.end];
        buffer[payload.clone()].copy_from_slice(data);
        let tick = self.now().tick();
        if let Ok((to, frame)) = from_connection(&self.table, tick, relay, peer, &mut buffer, payload) {
            self.to_clients.push_back((to, buffer[frame].to_vec()));
        }
    }
}
