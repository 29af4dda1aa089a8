//! One client's server: the pure halves `proto::turn` and `proto::media`, joined as a worker joins them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::auth::challenge::Challenger;
use crate::proto::auth::challenge::Greeting;
use crate::proto::auth::challenge::authenticate;
use crate::proto::auth::credential::CredentialConfig;
use crate::proto::auth::credential::Credentials;
use crate::proto::auth::nonce::NonceKey;
use crate::proto::auth::token::TokenConfig;
use crate::proto::media::ExternalAddresses;
use crate::proto::media::FromClient;
use crate::proto::media::FromPeer;
use crate::proto::media::Table;
use crate::proto::media::TableConfig;
use crate::proto::media::forward;
use crate::proto::turn::Config;
use crate::proto::turn::Event;
use crate::proto::turn::Input;
use crate::proto::turn::LegacyConfig;
use crate::proto::turn::OpenFailure;
use crate::proto::turn::Output;
use crate::proto::turn::Server;
use crate::proto::types::ChannelNumber;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::Entropy as _;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Username;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;
use crate::proto::wire::Request;
use crate::proto::wire::indication::DATA_HEADER_MAX;
use crate::proto::wire::indication::DATA_PADDING_MAX;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;

use super::Setup;
use super::source::Source;

const WORKER: WorkerId = WorkerId(0);
/// How long a live allocation may go on after its credential's expiry.
const SESSION: Duration = Duration::from_secs(86_400);

/// What leaves the core.
#[derive(Debug)]
pub(super) enum Leaves {
    /// An answer.
    Answer { to: FiveTuple, bytes: Box<[u8]> },
    /// What a peer sent, framed.
    Frame { to: FiveTuple, bytes: Box<[u8]> },
    /// What the client sent.
    ToPeer { relay: RelayId, to: SocketAddr, bytes: Box<[u8]> },
    /// A relay socket is wanted.
    Open { relay: RelayId, bind: RelayAddr },
    /// A relay socket is wanted no more.
    Close { relay: RelayId },
    /// Something happened.
    Event(Event),
}

/// One client's server.
#[derive(Debug)]
pub(super) struct Core {
    server: Server<Source>,
    table: Table,
    pub(super) challenger: Challenger,
    credentials: Arc<Credentials>,
    leaves: VecDeque<Leaves>,
}

/// Who may come in: `username` alone.
pub(super) fn credentials(setup: &Setup, realm: &str, username: &[u8]) -> Credentials {
    Credentials::new(CredentialConfig {
        realm: realm.into(),
        users: vec![(Username::new(username), setup.password.clone())],
        secrets: setup.secret.iter().cloned().collect(),
        lifetime_max_s: SESSION.as_secs(),
        tokens: TokenConfig::default(),
        mras: Vec::new(),
    })
}

/// A challenger of this realm.
pub(super) fn challenger(setup: &Setup, realm: &str, nonce_key: NonceKey) -> Challenger {
    Challenger {
        realm: realm.into(),
        nonce_key,
        nonce_lifetime: setup.nonce_lifetime,
        discovery: setup.discovery,
        third_party: None,
        legacy: false,
    }
}

impl Core {
    /// A server for `username` that knows nothing yet.
    pub(super) fn new(setup: &Setup, challenger: Challenger, username: &[u8], mut dice: Source) -> Self {
        let credentials = Arc::new(credentials(setup, &challenger.realm, username));
        let hash_seeds = [(); 4].map(|()| {
            let mut seed = [0; 8];
            dice.fill_secret(&mut seed);
            u64::from_le_bytes(seed)
        });
        let config = config(setup, challenger.clone(), Arc::clone(&credentials));
        let table = Table::new(TableConfig {
            policy: Arc::clone(&setup.policy),
            strict_permissions: false,
            hash_seeds,
            external: ExternalAddresses::new(std::iter::empty()),
        });
        Self { server: Server::new(config, dice), table, challenger, credentials, leaves: VecDeque::new() }
    }

    /// What leaves next.
    pub(super) fn poll(&mut self) -> Option<Leaves> {
        self.leaves.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        self.server.poll_timeout().map(|(at, _)| at)
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        self.server.handle_timeout(now);
        self.drain(now);
    }

    /// Whether this five-tuple has an allocation.
    pub(super) fn has(&self, from: &FiveTuple) -> bool {
        self.table.has_client(from)
    }

    /// The key that a request proved to know, and what its answer is signed with; the nonce may be old.
    pub(super) fn key_of(
        &self,
        now: Now,
        from: &FiveTuple,
        request: &Request<'_>,
    ) -> Option<(MacKey, Algorithm)> {
        proven(&self.challenger, &self.credentials, now, from, request)
    }

    /// A message that is no request.
    pub(super) fn data(&mut self, now: Now, from: FiveTuple, bytes: &[u8]) {
        let header = IpHeader::default();
        if let FromClient::ToPeer { relay, peer, data, .. } =
            forward::from_client(&self.table, now.tick(), &from, header, bytes)
        {
            self.leaves.push_back(Leaves::ToPeer { relay, to: peer.socket(), bytes: data.into() });
        }
        while let Some(from) = self.table.take_arrival() {
            self.input(now, Input::ClientArrived { from });
        }
    }

    /// A request.
    pub(super) fn request(&mut self, now: Now, from: FiveTuple, bytes: &[u8]) {
        let verdict = forward::from_client(&self.table, now.tick(), &from, IpHeader::default(), bytes);
        match verdict {
            FromClient::LiveRequest => self.message(now, from, bytes),
            FromClient::StrangerRequest => {
                let mut out = [0; limits::RESPONSE_MAX];
                match self.challenger.greet(now.tick(), &from, bytes, &mut out) {
                    Greeting::Answer { len, to, .. } => {
                        self.leaves.push_back(Leaves::Answer { to, bytes: out[..len].into() });
                    }
                    Greeting::ToControl => self.message(now, from, bytes),
                    Greeting::Malformed => {}
                }
            }
            FromClient::ToPeer { .. } | FromClient::Drop(_) => {}
        }
    }

    fn message(&mut self, now: Now, from: FiveTuple, bytes: &[u8]) {
        self.input(now, Input::Message { worker: WORKER, from, dialect: Dialect::Rfc8656, bytes });
    }

    /// A datagram came to a relay socket.
    pub(super) fn hear_peer(&mut self, now: Now, relay: RelayId, peer: SocketAddr, bytes: &[u8]) {
        let payload = DATA_HEADER_MAX..DATA_HEADER_MAX + bytes.len();
        let mut buffer = vec![0; payload.end + DATA_PADDING_MAX];
        buffer[payload.clone()].copy_from_slice(bytes);
        let (peer, header) = (PeerAddr::new(peer), IpHeader::default());
        let verdict = forward::from_peer(&self.table, now.tick(), relay, peer, header, &mut buffer, payload);
        if let FromPeer::ToClient { to, frame, .. } = verdict {
            self.leaves.push_back(Leaves::Frame { to, bytes: buffer[frame].into() });
        }
    }

    /// A relay socket that was wanted is there, or is not.
    pub(super) fn opened(&mut self, now: Now, relay: RelayId, bound: Option<SocketAddr>) {
        self.input(
            now,
            match bound {
                Some(bound) => Input::RelayOpened { relay, bound: RelayAddr::new(bound) },
                None => Input::RelayFailed { relay, why: OpenFailure::PortTaken },
            },
        );
    }

    /// The client's connection ended.
    pub(super) fn gone(&mut self, now: Now, from: FiveTuple) {
        self.input(now, Input::ClientGone { worker: WORKER, from });
    }

    fn input(&mut self, now: Now, input: Input<'_>) {
        self.server.handle_input(now, input);
        self.drain(now);
    }

    fn drain(&mut self, now: Now) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Reply { to, bytes, .. } => self.leaves.push_back(Leaves::Answer { to, bytes }),
                Output::OpenRelay { relay, bind, .. } => {
                    self.leaves.push_back(Leaves::Open { relay, bind });
                }
                Output::CloseRelay { worker, relay } => {
                    self.leaves.push_back(Leaves::Close { relay });
                    let counters = self.table.forget(relay);
                    self.server.handle_input(now, Input::RelayClosed { worker, relay, counters });
                }
                Output::Table { change, .. } | Output::TableOfAll { change } => self.table.apply(change),
                Output::Event(event) => self.leaves.push_back(Leaves::Event(event)),
                // There are no connections of peers in a laboratory: an Allocate for them gets 508.
                Output::OpenPort { relay, .. } => {
                    let why = OpenFailure::Other;
                    self.server.handle_input(now, Input::RelayFailed { relay, why });
                }
                Output::DetachRelay { relay, .. } => {
                    self.server.handle_input(now, Input::RelayDetached { relay, given: None });
                }
                // Of several workers, of [MS-TURN], and of connections.
                Output::AttachRelay { .. }
                | Output::RebuildWorker { .. }
                | Output::WorkerRebuilt { .. }
                | Output::SendToPeer { .. }
                | Output::Peer { .. }
                | Output::Announce { .. } => {}
            }
        }
    }
}

/// See [`Core::key_of`].
pub(super) fn proven(
    challenger: &Challenger,
    credentials: &Credentials,
    now: Now,
    from: &FiveTuple,
    request: &Request<'_>,
) -> Option<(MacKey, Algorithm)> {
    match authenticate(challenger, credentials, now, from, request, None) {
        Ok(proved) => Some((proved.client.key, proved.algorithm)),
        Err(refusal) => refusal.signature,
    }
}

fn config(setup: &Setup, challenger: Challenger, credentials: Arc<Credentials>) -> Config {
    Config {
        challenger,
        credentials,
        policy: Arc::clone(&setup.policy),
        relays: setup.relays.clone(),
        ports: setup.ports.clone(),
        lifetime_default: setup.lifetime_default,
        lifetime_max: setup.lifetime_max,
        permission_lifetime: limits::PERMISSION_LIFETIME_DEFAULT,
        channel_number_max: ChannelNumber::MAX,
        channel_lifetime: limits::CHANNEL_LIFETIME_DEFAULT,
        session_lifetime_max: SESSION,
        allocations_per_user: limits::ALLOCATIONS_PER_USER_DEFAULT,
        allocations_per_address: 0,
        bandwidth_per_allocation: None,
        bandwidth_per_user: None,
        allocations_total: 0,
        permissions_per_allocation: limits::PERMISSIONS_PER_ALLOCATION_MAX,
        channels_per_allocation: limits::CHANNELS_PER_ALLOCATION_MAX,
        alternate_servers: Vec::new(),
        mobility: setup.mobility,
        legacy: LegacyConfig::default(),
        connections_per_allocation: 1,
        connects_per_allocation: 1,
    }
}
