//! The small world that histories play in: few clients, users and peers, so that they meet often.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::auth::challenge::Challenger;
use crate::proto::auth::credential::CredentialConfig;
use crate::proto::auth::credential::Credentials;
use crate::proto::auth::credential::mint;
use crate::proto::auth::nonce::NonceKey;
use crate::proto::auth::token::TokenConfig;
use crate::proto::binding::Discovery;
use crate::proto::media::ExternalAddresses;
use crate::proto::media::TableConfig;
use crate::proto::peers::PeerPolicy;
use crate::proto::peers::PolicyBuilder;
use crate::proto::turn::Config;
use crate::proto::turn::LegacyConfig;
use crate::proto::turn::Reconfiguration;
use crate::proto::turn::RelayAddress;
use crate::proto::types::ChannelNumber;
use crate::proto::types::ClientAddr;
use crate::proto::types::Dice;
use crate::proto::types::FiveTuple;
use crate::proto::types::Lifetime;
use crate::proto::types::Secret;
use crate::proto::types::ServerAddr;
use crate::proto::types::Transport;
use crate::proto::types::Username;

use super::ops::Bytes;
use super::ops::Change;

/// Clients: five-tuples.
pub(super) const CLIENTS: usize = 6;
/// Peers: eight addresses, three relayed addresses of clients, and two that nobody may reach.
pub(super) const PEERS: usize = 13;

pub(super) const REALM: &str = "edge.example.net";
/// The wall clock when the server starts.
pub(super) const UNIX: u64 = 1_800_000_000;
/// The monotonic clock when a history begins.
pub(super) const START_MS: u64 = 100_000;
pub(super) const FIRST_PORT: u16 = 50_000;
pub(super) const NONCE_LIFETIME_MS: u64 = 3_600_000;
pub(super) const SESSION_GRACE_S: u64 = 1_800;
pub(super) const CREDENTIAL_LIFETIME_S: u64 = 8 * 3_600;
pub(super) const RELAYS: [&str; 2] = ["203.0.113.7", "2001:db8::7"];

/// One server and its workers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is a key of the configuration")]
pub struct Setup {
    pub workers: usize,
    pub both_families: bool,
    pub ports: u16,
    pub allocations_per_user: u32,
    pub allocations_per_address: u32,
    pub allocations_total: u32,
    pub permissions: usize,
    pub channels: usize,
    pub strict_permissions: bool,
    pub alternates: bool,
    pub mobility: bool,
}

impl Setup {
    /// The setup that these bytes say: any bytes say one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let mut bytes = Bytes(bytes);
        Self {
            workers: bytes.pick(&[2, 1, 2, 3]),
            both_families: bytes.below(8) != 7,
            ports: bytes.pick(&[16, 5, 8, 3]),
            allocations_per_user: bytes.pick(&[0, 0, 2, 1]),
            allocations_per_address: bytes.pick(&[0, 0, 2, 1]),
            allocations_total: bytes.pick(&[0, 0, 0, 3]),
            permissions: bytes.pick(&[1_024, 4, 2]),
            channels: bytes.pick(&[4_096, 3, 2]),
            strict_permissions: bytes.below(4) == 3,
            alternates: bytes.below(2) == 1,
            mobility: bytes.below(4) != 3,
        }
    }

    pub(super) fn config(&self, dice: &mut Dice) -> Config {
        let relays = if self.both_families { &RELAYS[..] } else { &RELAYS[..1] };
        let [lifetime_default, lifetime_max, permission, channel] = TIMES[0];
        Config {
            challenger: Challenger {
                realm: REALM.into(),
                nonce_key: NonceKey::generate(dice),
                nonce_lifetime: Duration::from_millis(NONCE_LIFETIME_MS),
                discovery: Discovery::default(),
                third_party: None,
                legacy: false,
            },
            credentials: credentials(0),
            policy: policy(0),
            relays: relays.iter().map(|it| RelayAddress { bind: ip(it), external: ip(it) }).collect(),
            ports: FIRST_PORT..=FIRST_PORT + self.ports - 1,
            lifetime_default: Lifetime::from_secs(lifetime_default),
            lifetime_max: Lifetime::from_secs(lifetime_max),
            permission_lifetime: Duration::from_secs(permission.into()),
            channel_number_max: ChannelNumber::MAX,
            channel_lifetime: Duration::from_secs(channel.into()),
            session_lifetime_max: Duration::from_secs(SESSION_GRACE_S),
            allocations_per_user: self.allocations_per_user,
            allocations_per_address: self.allocations_per_address,
            bandwidth_per_allocation: None,
            bandwidth_per_user: None,
            allocations_total: self.allocations_total,
            permissions_per_allocation: self.permissions,
            channels_per_allocation: self.channels,
            alternate_servers: if self.alternates { vec![socket("192.0.2.99:3478")] } else { Vec::new() },
            mobility: self.mobility,
            legacy: LegacyConfig::default(),
            connections_per_allocation: 1,
            connects_per_allocation: 1,
        }
    }

    pub(super) fn table(&self) -> TableConfig {
        TableConfig {
            policy: policy(0),
            strict_permissions: self.strict_permissions,
            hash_seeds: [1, 2, 3, 4],
            external: ExternalAddresses::default(),
        }
    }
}

/// Lifetime granted at least and at most, permission lifetime, channel lifetime: seconds.
pub(super) const TIMES: [[u32; 4]; 2] = [[600, 3_600, 300, 600], [120, 900, 100, 200]];

impl Change {
    pub(super) fn reconfiguration(self) -> Box<Reconfiguration> {
        let [lifetime_default, lifetime_max, permission, channel] = TIMES[self.times];
        Box::new(Reconfiguration {
            credentials: credentials(self.credentials),
            policy: policy(self.policy),
            nonce_lifetime: Duration::from_millis(NONCE_LIFETIME_MS),
            lifetime_default: Lifetime::from_secs(lifetime_default),
            lifetime_max: Lifetime::from_secs(lifetime_max),
            permission_lifetime: Duration::from_secs(permission.into()),
            channel_number_max: ChannelNumber::MAX,
            channel_lifetime: Duration::from_secs(channel.into()),
            session_lifetime_max: Duration::from_secs(SESSION_GRACE_S),
            allocations_per_user: self.quotas.0,
            allocations_per_address: self.quotas.1,
            mobility: self.mobility,
            legacy: LegacyConfig::default(),
        })
    }
}

/// What the operator denies: address, and port where only that is meant.
pub(super) const DENIALS: [&[&str]; 4] =
    [&[], &["192.0.43.8:2000"], &["192.0.43.9", "2001:500:88:200::9"], &["192.0.43.8", "192.0.43.10:1000"]];

/// An address that no policy here lets anybody reach.
pub(super) const PRIVATE: &str = "10.0.0.1";

/// Where a peer is, if it is not a relayed address of a client.
pub(super) const PEER: [&str; 8] = [
    "192.0.43.8:1000",
    "192.0.43.8:2000",
    "192.0.43.9:1000",
    "192.0.43.10:1000",
    "10.0.0.1:1000",
    "[2001:500:88:200::8]:1000",
    "[2001:500:88:200::9]:1000",
    "192.0.43.8:1001",
];

fn policy(number: usize) -> Arc<PeerPolicy> {
    let own: Vec<IpAddr> = RELAYS.iter().map(|relay| ip(relay)).collect();
    let deny = DENIALS[number].iter().map(|rule| rule.parse().expect("a rule")).collect();
    Arc::new(PolicyBuilder { own: own.clone(), relay: own, deny, ..PolicyBuilder::default() }.build())
}

/// Static users: name and both passwords, the latter for after a change.
pub(super) const STATIC: [(&str, [&str; 2]); 2] =
    [("alice", ["password", "other password"]), ("bob", ["password", "other password"])];
/// The shared secrets of time-limited names: that of a user's first password, and of the second.
pub(super) const SECRETS: [&str; 2] = ["a shared secret", "another shared secret"];
/// When a time-limited name expires, seconds after the start, and whose it is: users 2 to 5.
pub(super) const LIMITED: [(i64, &str); 4] =
    [(3_600, "carol"), (7_200, "carol"), (-400, "erin"), (90_000, "frank")];

/// Which passwords are good: of alice, of bob (0 or 1), and the secrets.
pub(super) const GOOD: [(Option<usize>, Option<usize>, &[usize]); 4] =
    [(Some(0), Some(0), &[0]), (Some(1), None, &[0, 1]), (Some(0), Some(1), &[1]), (Some(0), Some(0), &[])];

fn credentials(number: usize) -> Arc<Credentials> {
    let (alice, bob, secrets) = GOOD[number];
    let users = [alice, bob].into_iter().zip(STATIC);
    let users = users.filter_map(|(good, (name, passwords))| {
        Some((Username::new(name.as_bytes()), Secret::new(passwords[good?].as_bytes())))
    });
    Arc::new(Credentials::new(CredentialConfig {
        realm: REALM.into(),
        users: users.collect(),
        secrets: secrets.iter().map(|which| Secret::new(SECRETS[*which].as_bytes())).collect(),
        lifetime_max_s: CREDENTIAL_LIFETIME_S,
        tokens: TokenConfig::default(),
        mras: Vec::new(),
    }))
}

/// The name of a user and a password; the third one is wrong.
pub(super) fn name_and_password(user: usize, password: usize) -> (String, String) {
    let (name, right) = match STATIC.get(user) {
        Some((name, passwords)) => ((*name).to_owned(), passwords[password.min(1)].to_owned()),
        None => {
            let (expires, whose) = LIMITED[user - STATIC.len()];
            let secret = Secret::new(SECRETS[password.min(1)].as_bytes());
            mint(&secret, whose, UNIX.saturating_add_signed(expires))
        }
    };
    (name, if password > 1 { "wrong".to_owned() } else { right })
}

/// Clients 0 and 1 share an address, and so do 2 and 3; the others use IPv6, from one /64.
pub(super) fn five_tuple(client: usize) -> FiveTuple {
    let (from, server) = match client {
        0 | 1 => (format!("198.51.100.7:{}", 10_000 + client), "192.0.2.1:3478"),
        2 | 3 => (format!("198.51.100.8:{}", 10_000 + client), "192.0.2.1:3478"),
        _ => (format!("[2001:db8:9::{client}]:10000"), "[2001:db8::1]:3478"),
    };
    FiveTuple {
        client: ClientAddr::new(socket(&from)),
        server: ServerAddr::new(socket(server)),
        transport: Transport::Udp,
    }
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(super) fn socket(text: &str) -> SocketAddr {
    text.parse().expect("an address with a port")
}
