//! From a checked configuration and what is known of the machine to what the rooms are made with.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::admin::config::LogFormat;
use crate::admin::config::LogLevel;
use crate::net::Certificate;
use crate::proto::auth::budget::Exempt;
use crate::proto::auth::credential::CredentialConfig;
use crate::proto::auth::mras::MrasKey;
use crate::proto::auth::token::TokenConfig;
use crate::proto::binding::Discovery;
use crate::proto::binding::Endpoint;
use crate::proto::binding::Quartet;
use crate::proto::peers::PolicyBuilder;
use crate::proto::turn::LegacyConfig;
use crate::proto::turn::RelayAddress;
use crate::proto::types::ChannelNumber;
use crate::proto::types::Family;
use crate::proto::types::Lifetime;
use crate::proto::types::Rate;
use crate::proto::types::Secret;
use crate::proto::types::Username;
use crate::proto::types::limits;

use super::acme::AcmeSettings;
use super::load::Checked;
use super::mras::MrasSettings;
use super::read::Located;
use super::read::Mapped;
use super::read::Pair;
use super::web::WebSettings;
use super::words::PathTier;

/// What the caller found out about the machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// The addresses of its interfaces, loopback included.
    pub own: Vec<IpAddr>,
    /// The IPv4 address that its default route sends from.
    pub default_v4: Option<Ipv4Addr>,
    /// The IPv6 address that its default route sends from.
    pub default_v6: Option<Ipv6Addr>,
    /// Its processor cores; 0 counts as 1.
    pub cores: u16,
}

/// An address to listen on, and the one that clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenUdp {
    /// An address of this machine, or an unspecified one.
    pub bind: SocketAddr,
    /// The same, or the one a 1:1 NAT in front of this machine shows.
    pub external: SocketAddr,
}

/// An address to accept connections on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenStream {
    /// An address of this machine, or an unspecified one.
    pub bind: SocketAddr,
    /// The same, or the one a 1:1 NAT in front of this machine shows.
    pub external: SocketAddr,
    /// Nobody asked for it by name, so it may be left out.
    pub defaulted: bool,
}

/// A relay address that the operator did not choose; worth a line at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultedRelay {
    /// Its family.
    pub family: Family,
    /// The address.
    pub address: IpAddr,
    /// Whether there was no default route, so that only this machine can reach it.
    pub loopback: bool,
}

/// How to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// How lines are written.
    pub format: LogFormat,
    /// The least important ones written.
    pub level: LogLevel,
}

/// What the rooms are made with. Everything in it is checked.
#[derive(Debug)]
pub struct Settings {
    /// The realm.
    pub realm: Box<str>,
    /// Where to listen, at least one address.
    pub listen_udp: Vec<ListenUdp>,
    /// Where relay sockets are bound, at least one address.
    pub relays: Vec<RelayAddress>,
    /// Those of [`Self::relays`] that nobody chose.
    pub relays_defaulted: Vec<DefaultedRelay>,
    /// The ports of relay sockets.
    pub ports: RangeInclusive<u16>,
    /// How packets travel.
    pub path: PathTier,
    /// Worker threads, at least 1.
    pub workers: u16,
    /// Who may allocate.
    pub credentials: CredentialConfig,
    /// How long a nonce is good.
    pub nonce_lifetime: Duration,
    /// How long a live allocation may go on after its credential's expiry.
    pub session_lifetime_max: Duration,
    /// Which peers may be reached.
    pub policy: PolicyBuilder,
    /// Granted where a client asks for none or less.
    pub lifetime_default: Lifetime,
    /// Granted at most.
    pub lifetime_max: Lifetime,
    /// How long a permission lasts.
    pub permission_lifetime: Duration,
    /// How long a channel lasts.
    pub channel_lifetime: Duration,
    /// Clients that the strangers' budget does not hold for.
    pub unproven_exempt: Exempt,
    /// The highest channel number granted.
    pub channel_number_max: ChannelNumber,
    /// Whether a live channel does not keep its peer permitted.
    pub strict_permissions: bool,
    /// Allocations of one quota identity; 0 for no limit.
    pub allocations_per_user: u32,
    /// Allocations of one client IP address (IPv6: /64); 0 for no limit.
    pub allocations_per_address: u32,
    /// What one allocation may carry; `None` for any amount.
    pub bandwidth_per_allocation: Option<Rate>,
    /// What all allocations of one quota identity may carry together; `None` for any amount.
    pub bandwidth_per_user: Option<Rate>,
    /// Where metrics and health are served; `None` for nowhere.
    pub admin: Option<SocketAddr>,
    /// How to log.
    pub log: Log,
    /// What clients may discover; each corner is served by an entry of [`Self::listen_udp`].
    pub discovery: Discovery,
    /// Allocations in all; 0 for no limit but the server's own.
    pub allocations_total: u32,
    /// Permissions of one allocation, at least 1.
    pub permissions_per_allocation: usize,
    /// Channels of one allocation, at least 1.
    pub channels_per_allocation: usize,
    /// How long live allocations may go on after SIGTERM.
    pub drain_deadline: Duration,
    /// Where new clients are sent meanwhile, at most one address of a family.
    pub alternate_servers: Vec<SocketAddr>,
    /// Whether a client may take its allocation along to another five-tuple.
    pub mobility: bool,
    /// Where to accept connections; nowhere if empty.
    pub listen_stream: Vec<ListenStream>,
    /// What TLS shows, the first by default; without one there is no TLS.
    pub certificates: Vec<Certificate>,
    /// Connections in all, at least 1.
    pub streams_total: u32,
    /// Connections of one client IP address (IPv6: /64); 0 for no limit.
    pub streams_per_address: u32,
    /// Whether [MS-TURN] is spoken.
    pub ms_turn: bool,
    /// Peers' connections of one TCP allocation; 0 for no TCP allocations.
    pub connections_per_allocation: usize,
    /// Connect requests of one TCP allocation that wait for their peer.
    pub connects_per_allocation: usize,
    /// How strictly it is read.
    pub legacy: LegacyConfig,
    /// Where MRAS credentials are handed out.
    pub mras: MrasSettings,
    /// Networks of proxies that tell whose connections they pass on: addresses with the length of their prefix.
    pub proxy_from: Vec<(IpAddr, u8)>,
    /// What is done with what is no TURN.
    pub web: WebSettings,
    /// What certificates are ordered with, if any are.
    pub acme: Option<AcmeSettings>,
    /// The network interfaces that a program of the path may be attached to.
    pub kernel_interfaces: Vec<String>,
    /// Whether datagrams that come or leave together may do so as one (GRO, GSO).
    pub runs: bool,
}

impl Checked {
    /// Makes the rooms' configurations for `machine`.
    #[must_use]
    pub fn build(mut self, machine: &Machine) -> Settings {
        let discovery = Discovery::new(self.discovery.iter().filter_map(|pair| quartet(&pair.value)));
        let mut listen_udp: Vec<_> = self.udp.iter().map(listen_udp_at).collect();
        add_corners(&discovery, machine, &mut listen_udp);
        let listen_stream: Vec<_> = self.streams.iter().map(listen_stream).collect();
        let (relays, relays_defaulted) = self.relays_for(machine);
        let streams = listen_stream.iter().flat_map(|listener| [listener.bind, listener.external]);
        let policy = self.policy(machine, &listen_udp, streams, &relays, &discovery);
        let lifetime_max = lifetime(self.allocation_lifetime_max.value);
        let burst = self.bandwidth_burst.value;
        let credentials = self.take_credentials();
        Settings {
            realm: self.realm.value.into(),
            listen_udp,
            relays,
            relays_defaulted,
            ports: self.ports.value,
            path: self.path.value,
            workers: workers(self.workers.value, machine.cores),
            credentials,
            nonce_lifetime: self.nonce_lifetime.value,
            session_lifetime_max: self.session_lifetime_max.value,
            mobility: self.mobility.value,
            listen_stream,
            certificates: self.certificates.into_iter().map(|certificate| certificate.value).collect(),
            streams_total: self.streams_total.value,
            streams_per_address: self.streams_per_address.value,
            policy,
            lifetime_default: lifetime(limits::ALLOCATION_LIFETIME_DEFAULT).min(lifetime_max),
            lifetime_max,
            permission_lifetime: self.permission_lifetime.value,
            channel_lifetime: self.channel_lifetime.value,
            unproven_exempt: self.unproven_exempt,
            channel_number_max: self.channel_number_max.value,
            strict_permissions: self.strict_permissions.value,
            allocations_per_user: self.allocations_per_user.value,
            allocations_per_address: self.allocations_per_address.value,
            bandwidth_per_allocation: Rate::new(self.bandwidth_per_allocation.value, burst),
            bandwidth_per_user: Rate::new(self.bandwidth_per_user.value, burst),
            admin: self.admin.value,
            log: Log { format: self.log_format.value, level: self.log_level.value },
            discovery,
            allocations_total: self.allocations_total.value,
            permissions_per_allocation: self.permissions_per_allocation.value as usize,
            channels_per_allocation: self.channels_per_allocation.value as usize,
            connections_per_allocation: self.connections_per_allocation.value as usize,
            connects_per_allocation: self.connects_per_allocation.value as usize,
            drain_deadline: self.drain_deadline.value,
            alternate_servers: self.alternate_servers.into_iter().map(|server| server.value).collect(),
            ms_turn: self.ms_turn.value,
            legacy: LegacyConfig {
                strict_sequence_numbers: self.strict_sequence_numbers.value,
                wrong_mac: self.wrong_mac.value,
            },
            mras: self.mras_doors.build(),
            proxy_from: self.proxy_from,
            web: self.web.build(self.streams_total.value),
            acme: self.acme.build(),
            kernel_interfaces: self.kernel_interfaces.into_iter().map(|name| name.value).collect(),
            runs: self.runs.value,
        }
    }

    /// Secrets are moved, never copied.
    fn take_credentials(&mut self) -> CredentialConfig {
        let users = std::mem::take(&mut self.users).into_iter();
        CredentialConfig {
            realm: self.realm.value.as_str().into(),
            users: users.map(|user| (Username::new(user.value.0.as_bytes()), user.value.1)).collect(),
            secrets: std::mem::take(&mut self.secrets).into_iter().map(|secret| secret.value).collect(),
            lifetime_max_s: self.credential_lifetime_max.value.as_secs(),
            tokens: TokenConfig {
                server_name: self.server_name.value.as_str().into(),
                keys: std::mem::take(&mut self.oauth).into_iter().map(|key| key.value).collect(),
            },
            mras: self.mras.iter().map(mras_key).collect(),
        }
    }

    fn relays_for(&self, machine: &Machine) -> (Vec<RelayAddress>, Vec<DefaultedRelay>) {
        let chosen = self.relays.iter().map(|relay| relay.value);
        let chosen: Vec<_> =
            chosen.map(|relay| RelayAddress { bind: relay.bind, external: relay.external }).collect();
        if !chosen.is_empty() {
            return (chosen, Vec::new());
        }
        let defaulted = defaulted(machine);
        let relays =
            defaulted.iter().map(|relay| RelayAddress { bind: relay.address, external: relay.address });
        (relays.collect(), defaulted)
    }

    /// A policy that knows every address by which this server could be meant.
    fn policy(
        &self,
        machine: &Machine,
        listeners: &[ListenUdp],
        streams: impl Iterator<Item = SocketAddr>,
        relays: &[RelayAddress],
        discovery: &Discovery,
    ) -> PolicyBuilder {
        let relay_side = relays.iter().flat_map(|relay| [relay.bind, relay.external]);
        let listen_side = listeners.iter().flat_map(|listener| [listener.bind.ip(), listener.external.ip()]);
        let corners = discovery.quartets().flat_map(Quartet::endpoints);
        let corners = corners.flat_map(|corner| [corner.bind.ip(), corner.external.ip()]);
        let admin_side = self.admin.value.iter().map(SocketAddr::ip);
        let doors = [&self.mras_doors.https, &self.mras_doors.sip, &self.mras_doors.sip_plain];
        let doors = doors.into_iter().filter_map(|door| door.value.map(|address| address.ip()));
        let mut own: Vec<_> = machine
            .own
            .iter()
            .copied()
            .chain(listen_side)
            .chain(streams.map(|address| address.ip()))
            .chain(corners)
            .chain(admin_side)
            .chain(doors)
            .chain(relay_side)
            .collect();
        own.retain(|ip| !ip.is_unspecified());
        own.sort_unstable();
        own.dedup();
        let mut relay: Vec<_> = relays.iter().map(|relay| relay.external).collect();
        relay.sort_unstable();
        relay.dedup();
        PolicyBuilder {
            default: self.peers_default.value,
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            own,
            relay,
        }
    }
}

fn listen_udp_at(listener: &Located<Mapped<SocketAddr>>) -> ListenUdp {
    ListenUdp { bind: listener.value.bind, external: listener.value.external }
}

fn mras_key(Located { value: (key1, key2), .. }: &Located<(Secret, Secret)>) -> MrasKey {
    MrasKey::new(key1, key2)
}

fn listen_stream(listener: &Located<Mapped<SocketAddr>>) -> ListenStream {
    let Mapped { bind, external } = listener.value;
    ListenStream { bind, external, defaulted: listener.span.is_none() }
}

/// What a pair of the file is; `None` if it is none.
pub(super) fn quartet(pair: &Pair) -> Option<Quartet> {
    let end = |Mapped { bind, external }| Endpoint { bind, external };
    Quartet::new(end(pair.primary), end(pair.alternate))
}

/// Adds to `listen_udp` each corner that none of them serves yet, be it by name or as one of all addresses. An address
/// that the machine does not have is added too: to bind it fails, and says why.
fn add_corners(discovery: &Discovery, machine: &Machine, listen_udp: &mut Vec<ListenUdp>) {
    for Endpoint { bind, external } in discovery.quartets().flat_map(Quartet::endpoints) {
        let served = listen_udp.iter().map(|listener| listener.bind).any(|listener| {
            listener == bind
                || (machine.own.contains(&bind.ip())
                    && listener.ip().is_unspecified()
                    && listener.port() == bind.port()
                    && listener.is_ipv4() == bind.is_ipv4())
        });
        if !served {
            listen_udp.push(ListenUdp { bind, external });
        }
    }
}

/// For each family the source address of the default route, else loopback. A machine without any IPv6 address
/// gets no IPv6 relay: asked for one, the server answers 440 rather than fail to bind.
fn defaulted(machine: &Machine) -> Vec<DefaultedRelay> {
    let v4 = machine.default_v4;
    let v6 = machine.default_v6;
    let has_v6 = v6.is_some() || machine.own.iter().any(IpAddr::is_ipv6);
    let mut relays = vec![DefaultedRelay {
        family: Family::V4,
        address: v4.unwrap_or(Ipv4Addr::LOCALHOST).into(),
        loopback: v4.is_none(),
    }];
    if has_v6 {
        relays.push(DefaultedRelay {
            family: Family::V6,
            address: v6.unwrap_or(Ipv6Addr::LOCALHOST).into(),
            loopback: v6.is_none(),
        });
    }
    relays
}

fn workers(asked: u32, cores: u16) -> u16 {
    let cores = cores.clamp(1, limits::WORKERS_MAX);
    match u16::try_from(asked) {
        Ok(0) | Err(_) => cores,
        Ok(asked) => asked.min(limits::WORKERS_MAX),
    }
}

fn lifetime(span: Duration) -> Lifetime {
    Lifetime::from_secs(u32::try_from(span.as_secs()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::proto::types::Secret;

    const SECRET: &str = "[auth]\nsecrets = [\"0123456789abcdef\"]\n";

    fn settings(text: &str, machine: &Machine) -> Settings {
        let loaded = config::load("a.toml", text, &config::source::Nowhere);
        loaded.checked.unwrap_or_else(|| panic!("{}", loaded.report.render(false))).build(machine)
    }

    fn machine() -> Machine {
        Machine {
            own: ["127.0.0.1", "::1", "10.0.0.5"].map(|ip| ip.parse().expect("a literal")).into(),
            default_v4: Some(Ipv4Addr::new(10, 0, 0, 5)),
            default_v6: None,
            cores: 3,
        }
    }

    #[test]
    fn without_a_choice_each_family_relays_from_its_default_route_else_loopback() {
        let built = settings(SECRET, &machine());
        let binds: Vec<_> = built.relays.iter().map(|relay| relay.bind.to_string()).collect();
        assert_eq!(binds, ["10.0.0.5", "::1"]);
        assert_eq!(
            built.relays_defaulted.iter().map(|relay| relay.loopback).collect::<Vec<_>>(),
            [false, true]
        );
        assert_eq!(built.workers, 3);
    }

    #[test]
    fn a_machine_without_ipv6_gets_no_ipv6_relay_and_one_without_anything_gets_loopback() {
        let built = settings(SECRET, &Machine::default());
        assert_eq!(built.relays.iter().map(|relay| relay.bind).collect::<Vec<_>>(), [Ipv4Addr::LOCALHOST]);
        assert_eq!(built.workers, 1);
    }

    #[test]
    fn a_choice_replaces_the_default_of_both_families() {
        let built = settings(&format!("[relay]\naddresses = [\"203.0.113.7\"]\n{SECRET}"), &machine());
        assert_eq!(built.relays.len(), 1);
        assert!(built.relays_defaulted.is_empty());
    }

    #[test]
    fn the_policy_knows_every_address_by_which_the_server_could_be_meant() {
        let text = format!(
            "[listen]\nudp = [\"[::]:3478\", {{ bind = \"10.0.0.6:3478\", external = \"203.0.113.6:3478\" }}]\n\
             [relay]\naddresses = [{{ bind = \"10.0.0.7\", external = \"203.0.113.7\" }}]\n\
             [admin]\nlisten = \"10.0.0.8:9478\"\n{SECRET}"
        );
        let policy = settings(&text, &machine()).policy;
        let own: Vec<_> = policy.own.iter().map(ToString::to_string).collect();
        assert_eq!(
            own,
            [
                "10.0.0.5",
                "10.0.0.6",
                "10.0.0.7",
                "10.0.0.8",
                "127.0.0.1",
                "203.0.113.6",
                "203.0.113.7",
                "::1"
            ]
        );
        assert_eq!(policy.relay.iter().map(ToString::to_string).collect::<Vec<_>>(), ["203.0.113.7"]);
    }

    #[test]
    fn each_corner_of_discovery_is_listened_on_unless_a_listener_has_it() {
        let text = |udp: &str| {
            format!(
                "[listen]\nudp = [{udp}]\n\
                 discovery = [{{ primary = \"10.0.0.5:3478\", alternate = \"10.0.0.6:3479\" }}]\n{SECRET}"
            )
        };
        let listened = |udp: &str| -> Vec<String> {
            let built = settings(&text(udp), &machine());
            assert_eq!(built.discovery.quartets().count(), 1);
            built.listen_udp.iter().map(|listener| listener.bind.to_string()).collect()
        };
        assert_eq!(
            listened("\"10.0.0.6:3478\", \"10.0.0.9:3478\""),
            ["10.0.0.6:3478", "10.0.0.9:3478", "10.0.0.5:3478", "10.0.0.5:3479", "10.0.0.6:3479"]
        );
        assert_eq!(
            listened("\"0.0.0.0:3478\", \"[::]:3479\""),
            ["0.0.0.0:3478", "[::]:3479", "10.0.0.5:3479", "10.0.0.6:3478", "10.0.0.6:3479"],
            "10.0.0.6 is none of the machine's: that it cannot be bound must be seen"
        );
        assert_eq!(settings(SECRET, &machine()).discovery, Discovery::default());
    }

    #[test]
    fn each_corner_behind_a_nat_has_an_outside_of_its_own() {
        let text = format!(
            "[listen]\nudp = [\"0.0.0.0:3478\"]\n\
             discovery = [{{ primary = {{ bind = \"10.0.0.5:3478\", external = \"203.0.113.7:3478\" }},\
             alternate = {{ bind = \"10.0.0.6:3479\", external = \"203.0.113.8:3479\" }} }}]\n{SECRET}"
        );
        let built = settings(&text, &machine());
        let crossed = built.listen_udp.iter().find(|listener| listener.bind.to_string() == "10.0.0.5:3479");
        assert_eq!(crossed.expect("it is listened on").external.to_string(), "203.0.113.7:3479");
        for own in ["10.0.0.6", "203.0.113.7", "203.0.113.8"] {
            assert!(built.policy.own.iter().any(|ip| ip.to_string() == own), "{own} may be a peer");
        }
    }

    #[test]
    fn defaults_are_those_of_the_limits() {
        let built = settings(SECRET, &machine());
        assert_eq!(built.permission_lifetime, limits::PERMISSION_LIFETIME_DEFAULT);
        assert_eq!(built.channel_lifetime, limits::CHANNEL_LIFETIME_DEFAULT);
        assert_eq!(built.nonce_lifetime, limits::NONCE_LIFETIME_DEFAULT);
        assert_eq!(built.session_lifetime_max, limits::SESSION_LIFETIME_MAX_DEFAULT);
        assert!(!built.mobility, "off unless asked for");
        assert_eq!(built.lifetime_max.as_duration(), limits::ALLOCATION_LIFETIME_MAX_DEFAULT);
        assert_eq!(built.lifetime_default.as_duration(), limits::ALLOCATION_LIFETIME_DEFAULT);
        assert_eq!(built.credentials.lifetime_max_s, limits::CREDENTIAL_LIFETIME_MAX.as_secs());
        assert_eq!(built.allocations_per_user, limits::ALLOCATIONS_PER_USER_DEFAULT);
        assert_eq!(built.ports, 50_000..=59_999);
        assert_eq!(built.allocations_total, 0);
        assert_eq!(built.permissions_per_allocation, limits::PERMISSIONS_PER_ALLOCATION_MAX);
        assert_eq!(built.channels_per_allocation, limits::CHANNELS_PER_ALLOCATION_MAX);
        assert_eq!(built.drain_deadline, limits::DRAIN_DEADLINE_DEFAULT);
        assert!(built.alternate_servers.is_empty());
        assert!(!built.strict_permissions);
    }

    #[test]
    fn the_embedded_defaults_need_nothing_but_a_secret() {
        let loaded = config::defaults(Secret::new(*b"0123456789abcdef"));
        assert_eq!(loaded.report.problems(), []);
        let built = loaded.checked.expect("no problems").build(&machine());
        assert_eq!(built.credentials.secrets.len(), 1);
        assert_eq!(built.listen_udp.len(), 2);
    }

    // proves rfc8489:9.2.2-2, rfc8489:14.3-1, rfc8489:14.4-1, rfc8489:14.4-2, rfc8489:14.9-2
    #[test]
    fn realm_names_and_passwords_are_built_as_clients_spell_them() {
        let typed = "realm = \"cafe\u{301}\"\n[auth]\nusers = { \"rene\u{301}\" = \"pa\u{3000}ss\" }";
        let built = settings(typed, &machine());
        assert_eq!(&*built.realm, "caf\u{e9}");
        assert_eq!(&*built.credentials.realm, "caf\u{e9}", "what keys and hashes are made of");
        let [(name, password)] = &built.credentials.users[..] else { panic!("one user") };
        assert_eq!(name.as_bytes(), "ren\u{e9}".as_bytes());
        assert_eq!(password.expose(), b"pa ss");
    }

    // proves rfc8489:14.9-1
    #[test]
    fn a_realm_has_fewer_than_128_characters() {
        let errors = |len: usize| {
            let text = format!("realm = \"{}\"\n{SECRET}", "\u{e9}".repeat(len));
            config::load("a.toml", &text, &config::source::Nowhere).report.count(config::Severity::Error)
        };
        assert_eq!((errors(127), errors(128)), (0, 1));
    }

    #[test]
    fn settings_shown_for_debugging_show_no_secret() {
        let shown = format!(
            "{:?}",
            settings("[auth]\nsecrets=[\"hunter2hunter2hunter2\"]\nusers={a=\"hunter2\"}", &machine())
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn workers_stay_within_their_bounds() {
        assert_eq!(workers(0, 0), 1);
        assert_eq!(workers(0, u16::MAX), limits::WORKERS_MAX);
        assert_eq!(workers(2, 64), 2);
    }

    // proves rfc8656:5-8, rfc8656:5-17, rfc8656:7.2-31, rfc8656:7.2-35
    #[test]
    fn default_ports_and_lifetimes_are_those_that_the_standard_recommends() {
        let built = settings(SECRET, &machine());
        assert!((49_152..=65_535).contains(built.ports.start()) && built.ports.start() < built.ports.end());
        assert!((49_152..=65_535).contains(built.ports.end()));
        assert!(built.listen_udp.iter().all(|listener| listener.bind.port() == 3_478));
        assert!(built.lifetime_max.as_secs() <= 3_600 && built.nonce_lifetime.as_secs() <= 3_600);
    }

    // proves rfc7635:4.1.2-1
    #[test]
    fn the_keys_of_access_tokens_come_with_their_ids_and_algorithms() {
        use crate::proto::auth::token::TokenAlgorithm;
        use crate::proto::auth::token::TokenGrant;
        use crate::proto::auth::token::TokenKey;
        let text = "[auth]\nserver_name = \"turn.example.net\"\noauth = [\
            { kid = \"a\", key = \"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\", algorithm = \"A256GCM\" },\
            { kid = \"b\", key = \"AgICAgICAgICAgICAgICAg==\", algorithm = \"A128GCM\" }]\n";
        let tokens = settings(text, &machine()).credentials.tokens;
        assert_eq!(&*tokens.server_name, "turn.example.net");
        let grant = TokenGrant { mac_key: &[9; 20], issued_unix: 1, lifetime_s: 2 };
        let sealed = |key: &TokenKey| key.seal("turn.example.net", [0; 12], &grant);
        let named = |kid: &str, algorithm, secret: &[u8]| {
            TokenKey::new(Username::new(kid.as_bytes()), algorithm, &Secret::new(secret), 0..=u64::MAX)
                .expect("of the right length")
        };
        let a = named("a", TokenAlgorithm::A256Gcm, &[1; 32]);
        let b = named("b", TokenAlgorithm::A128Gcm, &[2; 16]);
        for (built, expected) in tokens.keys.iter().zip([&a, &b]) {
            assert_eq!((built.kid(), sealed(built)), (expected.kid(), sealed(expected)));
        }
        assert_eq!(tokens.keys.len(), 2);
    }
}
