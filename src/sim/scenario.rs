//! What a seed makes of the world before anything happens.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::auth::challenge::Challenger;
use crate::proto::auth::credential::CredentialConfig;
use crate::proto::auth::credential::Credentials;
use crate::proto::auth::legacy::WrongMac;
use crate::proto::auth::nonce::NonceKey;
use crate::proto::auth::token::TokenConfig;
use crate::proto::binding::Discovery;
use crate::proto::binding::Endpoint;
use crate::proto::binding::Quartet;
use crate::proto::peers::PeerPolicy;
use crate::proto::peers::PolicyBuilder;
use crate::proto::peers::Rule;
use crate::proto::turn::Config;
use crate::proto::turn::LegacyConfig;
use crate::proto::turn::Reconfiguration;
use crate::proto::turn::RelayAddress;
use crate::proto::types::ChannelNumber;
use crate::proto::types::Lifetime;
use crate::proto::types::Rate;
use crate::proto::types::Secret;
use crate::proto::types::Username;
use crate::proto::types::limits;

use super::clock::MILLISECOND;
use super::clock::Micros;
use crate::proto::types::Dice;

pub(super) const REALM: &str = "edge.example.net";
pub(super) const PASSWORD: &[u8] = b"a password of this world";
pub(super) const SECRET: &[u8] = b"a secret of this world";

/// Where clients reach the server, and its second corner for behaviour discovery.
pub(super) const LISTEN_V4: SocketAddr = v4([192, 0, 2, 1], 3_478);
const CORNER_V4: SocketAddr = v4([192, 0, 2, 2], 3_479);
pub(super) const LISTEN_V6: SocketAddr = v6([0x2001, 0xDB8, 0x100, 0, 0, 0, 0, 1], 3_478);
/// Where it takes connections, on the same addresses.
pub(super) const STREAM_PORT: u16 = 443;
/// What peers know of the relay.
pub(super) const RELAY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
pub(super) const RELAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xDB8, 7, 0, 0, 0, 0, 7));
/// Where its sockets are bound, if it stands behind a 1:1 NAT.
const BEHIND_NAT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));

/// A peer of which one port is denied, and one that a new configuration may deny.
pub(super) const HALF_DENIED: SocketAddr = v4([198, 51, 100, 66], 7_000);
pub(super) const DENIED_PORT: u16 = 53;
pub(super) const DENIABLE: SocketAddr = v4([198, 51, 100, 5], 7_000);

/// The users whose clients keep to the rules, and the others.
pub(super) const HONEST_MAX: u16 = 6;
pub(super) const CALLERS_MAX: u16 = 2;
pub(super) const INSIDERS: [&str; 2] = ["insider", "crowd"];

/// A server that goes on, leaves in peace, or leaves at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    GoesOn,
    Drains,
    EndsAll,
}

/// How the world fails, in odds of 1,000.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// A bind is refused.
    pub(super) open: u32,
    /// A socket does not take a packet.
    pub(super) send: u32,
    /// A worker stops for a while before it does anything.
    pub(super) worker_stall: u32,
    /// The control task stops for a while.
    pub(super) control_stall: u32,
    /// A socket cannot be handed over, or cannot be copied.
    pub(super) hand_over: u32,
    /// A packet arrives with its last hop used up.
    pub(super) hops: u32,
    /// A worker panics over a packet or a command.
    pub(super) panic: u32,
}

/// Everything that is drawn at the start.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) config: Config,
    pub(super) workers: u16,
    pub(super) strict_permissions: bool,
    pub(super) command_ring: usize,
    pub(super) request_ring: usize,
    pub(super) mtu: usize,
    pub(super) honest: u16,
    pub(super) insiders: u16,
    /// Clients that ask for connections.
    pub(super) callers: u16,
    /// People who mean harm, in the old dialect.
    pub(super) rogues: u16,
    pub(super) ending: Ending,
    pub(super) faults: Faults,
    /// Links are clean throughout.
    pub(super) clean: bool,
    /// What passes between what the rings bring and what is done about it.
    pub(super) latency: Micros,
    /// Bytes that the systems of both sides hold for a client that does not read its connection.
    pub(super) window: usize,
}

impl Scenario {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let clean = dice.chance(150);
        let some = |dice: &mut Dice, odds: &[u32]| if clean { 0 } else { dice.pick(odds) };
        let faults = Faults {
            open: some(dice, &[0, 0, 50, 400]),
            send: some(dice, &[0, 0, 10]),
            worker_stall: some(dice, &[0, 0, 2, 6]),
            control_stall: some(dice, &[0, 0, 2, 6]),
            hand_over: some(dice, &[0, 300]),
            hops: some(dice, &[0, 3]),
            panic: dice.pick(&[0, 1, 4, 30]),
        };
        let ending = match dice.number(10) {
            0 | 1 => Ending::Drains,
            2 | 3 => Ending::EndsAll,
            _ => Ending::GoesOn,
        };
        Self {
            config: config(dice),
            workers: u16::try_from(dice.range(1, 4)).unwrap_or(1),
            strict_permissions: dice.chance(300),
            command_ring: dice.pick(&[2 * limits::OUTPUTS_PER_INPUT_MAX, limits::WORKER_COMMANDS_MAX]),
            request_ring: dice.pick(&[2, 16, limits::LIVE_REQUESTS_MAX]),
            mtu: dice.pick(&[1_280, 1_500]),
            honest: u16::try_from(dice.range(2, HONEST_MAX.into())).unwrap_or(2),
            insiders: u16::try_from(dice.range(1, 3)).unwrap_or(1),
            callers: u16::try_from(dice.range(0, 2)).unwrap_or(0),
            rogues: u16::try_from(dice.range(1, 2)).unwrap_or(1),
            ending,
            faults,
            clean,
            latency: dice.pick(&[50, 500, 3 * MILLISECOND]),
            window: dice.pick(&[1_024, 1_024, 40 * 1_024]),
        }
    }
}

fn config(dice: &mut Dice) -> Config {
    let bind_v4 = if dice.chance(400) { BEHIND_NAT } else { RELAY_V4 };
    let nonce_lifetime = Duration::from_secs(dice.pick(&[20, 300, 3_600]));
    let lifetime_default = Lifetime::from_secs(dice.pick(&[10, 30, 600]).try_into().unwrap_or(600));
    let rate = Rate::new(64_000, Duration::from_secs(1));
    let (per_allocation, per_user) = dice.pick(&[(None, None), (None, None), (rate, None), (None, rate)]);
    let discovery = if dice.chance(500) { Discovery::new(quartet()) } else { Discovery::default() };
    let range = dice.pick(&[40, 300]);
    let mut config = Config {
        challenger: Challenger {
            realm: REALM.into(),
            nonce_key: NonceKey::generate(dice),
            nonce_lifetime,
            discovery,
            third_party: None,
            legacy: dice.chance(700),
        },
        credentials: credentials(dice.chance(500)),
        policy: policy(bind_v4, false),
        relays: vec![
            RelayAddress { bind: bind_v4, external: RELAY_V4 },
            RelayAddress { bind: RELAY_V6, external: RELAY_V6 },
        ],
        ports: 50_000..=49_999 + range,
        lifetime_default,
        lifetime_max: Lifetime::from_secs(3_600).max(lifetime_default),
        permission_lifetime: Duration::from_secs(dice.pick(&[8, 30, 300])),
        channel_number_max: dice.pick(&[ChannelNumber::MAX, ChannelNumber::MAX_RFC5766]),
        channel_lifetime: Duration::from_secs(dice.pick(&[15, 60, 600])),
        session_lifetime_max: Duration::from_secs(24 * 3_600),
        allocations_per_user: dice.pick(&[3, 8, 0]),
        allocations_per_address: dice.pick(&[0, 0, 12]),
        bandwidth_per_allocation: per_allocation,
        bandwidth_per_user: per_user,
        allocations_total: 0,
        permissions_per_allocation: dice.pick(&[4, limits::PERMISSIONS_PER_ALLOCATION_MAX]),
        channels_per_allocation: dice.pick(&[4, limits::CHANNELS_PER_ALLOCATION_MAX]),
        alternate_servers: if dice.chance(500) { vec![v4([192, 0, 2, 77], 3_478)] } else { Vec::new() },
        mobility: dice.chance(700),
        legacy: LegacyConfig {
            strict_sequence_numbers: dice.chance(500),
            wrong_mac: dice.pick(&[WrongMac::Unauthenticated, WrongMac::IntegrityCheckFailure]),
        },
        connections_per_allocation: dice.pick(&[0, 3, 3, 8]),
        connects_per_allocation: dice.pick(&[2, 4]),
    };
    let anonymous = config.credentials.resolves_userhash();
    config.challenger.nonce_key = config.challenger.nonce_key.with_username_anonymity(anonymous);
    config
}

/// Another configuration than `config`, with which the server may go on.
pub(super) fn reconfiguration(config: &Config, dice: &mut Dice) -> Reconfiguration {
    let mut to = as_it_was(config);
    to.credentials = credentials(dice.chance(500));
    to.policy = policy(config.relays[0].bind, dice.chance(500));
    to.mobility = dice.chance(500);
    to.allocations_per_user = dice.pick(&[1, 8, 0]);
    to.nonce_lifetime = Duration::from_secs(dice.pick(&[20, 3_600]));
    to
}

/// The configuration that the server was made with.
pub(super) fn as_it_was(config: &Config) -> Reconfiguration {
    Reconfiguration {
        credentials: Arc::clone(&config.credentials),
        policy: Arc::clone(&config.policy),
        nonce_lifetime: config.challenger.nonce_lifetime,
        lifetime_default: config.lifetime_default,
        lifetime_max: config.lifetime_max,
        permission_lifetime: config.permission_lifetime,
        channel_number_max: config.channel_number_max,
        channel_lifetime: config.channel_lifetime,
        session_lifetime_max: config.session_lifetime_max,
        allocations_per_user: config.allocations_per_user,
        allocations_per_address: config.allocations_per_address,
        mobility: config.mobility,
        legacy: config.legacy,
    }
}

/// With a secret names can be minted, and then no USERHASH is taken.
fn credentials(with_secret: bool) -> Arc<Credentials> {
    let honest = (0..HONEST_MAX).map(|number| format!("honest{number}"));
    let callers = (0..CALLERS_MAX).map(|number| format!("caller{number}"));
    let names = honest.chain(callers).chain(INSIDERS.iter().map(|name| (*name).to_owned()));
    Arc::new(Credentials::new(CredentialConfig {
        realm: REALM.into(),
        users: names.map(|name| (Username::new(name.as_bytes()), Secret::new(PASSWORD))).collect(),
        secrets: if with_secret { vec![Secret::new(SECRET)] } else { Vec::new() },
        lifetime_max_s: 8 * 3_600,
        tokens: TokenConfig::default(),
        mras: Vec::new(),
    }))
}

fn policy(bind_v4: IpAddr, denies_more: bool) -> Arc<PeerPolicy> {
    let rule = |text: &str| text.parse::<Rule>().expect("a rule of this file");
    let mut deny = vec![rule("198.51.100.66:53")];
    if denies_more {
        deny.push(rule("198.51.100.5"));
        // Of this one the permission stays: the policy of each worker alone keeps packets from it.
        deny.push(rule("198.51.100.2:7000"));
    }
    let policy = PolicyBuilder {
        allow: vec![rule("198.51.100.0/24"), rule("2001:db8:1::/48")],
        deny,
        own: vec![LISTEN_V4.ip(), CORNER_V4.ip(), LISTEN_V6.ip(), bind_v4, RELAY_V4, RELAY_V6],
        relay: vec![RELAY_V4, RELAY_V6],
        ..PolicyBuilder::default()
    };
    Arc::new(policy.build())
}

fn quartet() -> Option<Quartet> {
    let endpoint = |address| Endpoint { bind: address, external: address };
    Quartet::new(endpoint(LISTEN_V4), endpoint(CORNER_V4))
}

/// Every address that a listener has.
pub(super) fn listeners() -> Vec<SocketAddr> {
    let corners = quartet().map(|quartet| quartet.endpoints().map(|endpoint| endpoint.bind));
    corners.into_iter().flatten().chain([LISTEN_V6]).collect()
}

const fn v4([a, b, c, d]: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port)
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), port)
}
