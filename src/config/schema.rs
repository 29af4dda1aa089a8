//! Every key of the configuration, declared once.

use crate::proto::types::limits;

/// What kind of value a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any string.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number from 0 to `max`.
    Count {
        /// The greatest value.
        max: u64,
    },
    /// A span of time such as `"1h30m"`.
    Span {
        /// The shortest, in seconds.
        min_s: u64,
        /// The longest, in seconds.
        max_s: u64,
    },
    /// A range of ports, `"50000-59999"`.
    Ports,
    /// One address with a port, or `"off"`.
    Endpoint,
    /// An array of addresses with a port.
    Endpoints,
    /// An array of IP addresses.
    Addresses,
    /// An array of secrets.
    Secrets,
    /// A table of names and secrets.
    Users,
    /// An array of peer rules.
    Rules,
    /// An array of strings that this version only looks at.
    Names,
    /// An array of tables that this version only looks at.
    Tables,
}

/// Whether a changed value reaches a running server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A reload brings it in.
    Live,
    /// Only a restart brings it in.
    Restart,
}

impl Takes {
    /// The word in `swingbridge check`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Restart => "restart",
        }
    }
}

/// What stands for a key that the file does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unset {
    /// This value, in TOML.
    Value(&'static str),
    /// No value; `example` is shown instead, and `meaning` tells what happens without one.
    Nothing {
        /// A value in TOML.
        example: &'static str,
        /// What the server does.
        meaning: &'static str,
    },
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Section and name, `auth.secrets`; a name without a dot stands at the top of the file.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What stands for it when the file does not name it.
    pub unset: Unset,
    /// What it means: the comment in `conf/full.toml`.
    pub doc: &'static str,
    /// Whether a changed value reaches a running server.
    pub takes: Takes,
    /// Set for a key of the contract whose feature this version does not have; says what is missing.
    pub missing: Option<&'static str>,
    /// What other servers call the same thing, so that an operator who comes from there is told the name here.
    pub also_called: &'static [&'static str],
}

impl Key {
    /// The section, `""` for the top of the file.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// The name without its section.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }

    /// Whether its value must never be shown.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secrets | Kind::Users)
    }
}

/// The key at `path`.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether some key stands in the section `name`.
#[must_use]
pub fn is_section(name: &str) -> bool {
    !name.is_empty() && KEYS.iter().any(|key| key.section() == name)
}

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// A key with a default that needs a restart and is part of this version: what most keys are.
const fn key(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        path,
        kind,
        unset: Unset::Value(default),
        doc,
        takes: Takes::Restart,
        missing: None,
        also_called: &[],
    }
}

/// `key` with a value that a reload brings in.
const fn live(key: Key) -> Key {
    Key { takes: Takes::Live, ..key }
}

/// A key without a default value.
const fn open_key(
    path: &'static str,
    kind: Kind,
    example: &'static str,
    meaning: &'static str,
    doc: &'static str,
) -> Key {
    Key { unset: Unset::Nothing { example, meaning }, ..key(path, kind, "", doc) }
}

/// Every key, in the order of `conf/full.toml`. A key takes a restart unless it says otherwise.
pub const KEYS: &[Key] = &[
    Key {
        also_called: &["domain"],
        ..key(
            "realm",
            Kind::Text,
            r#""swingbridge""#,
            "The realm that clients are told with a 401. Any name will do; a static user's key is made of it, so\n\
             changing it changes what clients compute. At most 127 characters.",
        )
    },
    Key {
        also_called: &["listening-port", "listening-ip", "listening_port", "port", "interfaces", "bind"],
        ..key(
            "listen.udp",
            Kind::Endpoints,
            r#"["0.0.0.0:3478", "[::]:3478"]"#,
            "Where clients reach the server over UDP. An IPv6 entry takes IPv6 only. Behind a 1:1 NAT write\n\
             { bind = \"10.0.0.5:3478\", external = \"203.0.113.7:3478\" }.",
        )
    },
    Key {
        missing: Some("TCP and TLS listeners are"),
        also_called: &["tls-listening-port", "tcp", "tls"],
        ..open_key(
            "listen.stream",
            Kind::Endpoints,
            r#"["0.0.0.0:3478", "[::]:3478"]"#,
            "no TCP or TLS listener",
            "Where clients reach the server over TCP and TLS.",
        )
    },
    Key {
        missing: Some("TLS is"),
        also_called: &["cert", "pkey", "tls_crt_file", "tls_key_file"],
        ..open_key(
            "tls.certificates",
            Kind::Tables,
            r#"[{ chain = "cert.pem", key = "key.pem" }]"#,
            "no TLS",
            "Certificate chains and keys, chosen by the name the client asks for; the first is the default.",
        )
    },
    Key {
        also_called: &["relay-ip", "external-ip", "external", "public_ip", "relay_ipv4_addr", "address"],
        ..open_key(
            "relay.addresses",
            Kind::Addresses,
            r#"["203.0.113.7"]"#,
            "for each family the source address of the default route, else loopback",
            "The addresses that peers see: the first of each family serves that family. Behind a 1:1 NAT write\n\
             { bind = \"10.0.0.5\", external = \"203.0.113.7\" }.",
        )
    },
    Key {
        also_called: &["min-port", "max-port", "relay_min_port", "relay_max_port", "port_range"],
        ..key(
            "relay.ports",
            Kind::Ports,
            r#""50000-59999""#,
            "The UDP ports of relayed addresses, both ends included. Open them in the firewall.",
        )
    },
    key(
        "relay.path",
        Kind::Word(&["auto", "sockets", "sk_lookup", "tc", "xdp"]),
        r#""auto""#,
        "How packets travel. This version has \"sockets\", and \"auto\" chooses it.",
    ),
    Key {
        also_called: &["relay-threads", "threads"],
        ..key(
            "relay.workers",
            Kind::Count { max: limits::WORKERS_MAX as u64 },
            "0",
            "Threads that carry packets; 0 for one per core.",
        )
    },
    Key {
        missing: Some("kernel tiers are"),
        ..key(
            "relay.kernel_interfaces",
            Kind::Names,
            "[]",
            "Network interfaces that the kernel tiers may attach to.",
        )
    },
    Key {
        takes: Takes::Live,
        also_called: &[
            "static-auth-secret",
            "secret",
            "use-auth-secret",
            "auth-secret",
            "static_auth_secret",
        ],
        ..open_key(
            "auth.secrets",
            Kind::Secrets,
            r#"[{ env = "SWINGBRIDGE_SECRET" }]"#,
            "no time-limited credentials",
            "Secrets shared with whoever mints time-limited credentials: the username is \"<expiry>:<user>\", the\n\
             password base64(HMAC-SHA1(secret, username)). Several, so that one can be changed without an outage;\n\
             the first one mints. Each is a string, { file = \"...\" } or { env = \"...\" }.",
        )
    },
    Key {
        takes: Takes::Live,
        also_called: &["user", "lt-cred-mech", "credentials"],
        ..open_key(
            "auth.users",
            Kind::Users,
            r#"{ alice = { file = "alice.password" } }"#,
            "no static users",
            "Static users and their passwords, beside the secrets. A password is written like a secret.",
        )
    },
    live(key(
        "auth.credential_lifetime_max",
        Kind::Span { min_s: 1, max_s: limits::CREDENTIAL_LIFETIME_MAX.as_secs() },
        r#""8h""#,
        "A time-limited credential that expires later than this from now is refused. At most 8h.",
    )),
    Key {
        takes: Takes::Live,
        also_called: &["stale-nonce"],
        ..key(
            "auth.nonce_lifetime",
            Kind::Span { min_s: 1, max_s: limits::NONCE_LIFETIME_DEFAULT.as_secs() },
            r#""1h""#,
            "How long a nonce is good. At most 1h (RFC 8656 section 5).",
        )
    },
    live(key(
        "auth.session_lifetime_max",
        Kind::Span { min_s: 0, max_s: 30 * DAY },
        r#""24h""#,
        "How long a live allocation may go on after its credential's expiry; \"0s\" ends it there.",
    )),
    live(key(
        "peers.default",
        Kind::Word(&["public", "none"]),
        r#""public""#,
        "\"public\": all peers but the built-in deny list (private, loopback, link-local, this machine's own\n\
         addresses and the like). \"none\": only what allow names.",
    )),
    Key {
        takes: Takes::Live,
        also_called: &["allowed-peer-ip", "whitelist_peers", "whitelist"],
        ..key(
            "peers.allow",
            Kind::Rules,
            "[]",
            "Peers that may be reached all the same: \"10.1.0.0/16\", or with ports \"10.1.0.0/16:5000-6000\". The\n\
             most specific prefix wins; between equals, deny.",
        )
    },
    Key {
        takes: Takes::Live,
        also_called: &["denied-peer-ip", "blacklist_peers", "blacklist"],
        ..key("peers.deny", Kind::Rules, "[]", "Peers that may not be reached, written like allow.")
    },
    Key {
        takes: Takes::Live,
        also_called: &["user-quota"],
        ..key(
            "limits.allocations_per_user",
            Kind::Count { max: limits::ALLOCATIONS_MAX as u64 },
            "64",
            "Allocations of one user at a time; 0 for no limit.",
        )
    },
    live(key(
        "limits.allocations_per_address",
        Kind::Count { max: limits::ALLOCATIONS_MAX as u64 },
        "0",
        "Allocations of one client address (IPv6: /64) at a time; 0 for no limit.",
    )),
    Key {
        missing: Some("the budget for strangers is"),
        ..key(
            "limits.unproven_exempt",
            Kind::Names,
            "[]",
            "Client networks outside the budget for strangers, for load tests.",
        )
    },
    Key {
        takes: Takes::Live,
        also_called: &["max-allocate-lifetime"],
        ..key(
            "limits.allocation_lifetime_max",
            Kind::Span { min_s: 1, max_s: DAY },
            r#""1h""#,
            "The longest lifetime that one Allocate or Refresh is granted.",
        )
    },
    Key {
        takes: Takes::Live,
        also_called: &["permission-lifetime"],
        ..key(
            "limits.permission_lifetime",
            Kind::Span { min_s: 1, max_s: DAY },
            r#""5m""#,
            "How long a permission lasts. RFC 8656 says 5m; other values are for labs.",
        )
    },
    Key {
        takes: Takes::Live,
        also_called: &["channel-lifetime"],
        ..key(
            "limits.channel_lifetime",
            Kind::Span { min_s: 1, max_s: DAY },
            r#""10m""#,
            "How long a channel lasts. RFC 8656 says 10m; other values are for labs.",
        )
    },
    live(key(
        "limits.channel_numbers",
        Kind::Word(&["rfc8656", "rfc5766"]),
        r#""rfc8656""#,
        "Which channel numbers are granted: \"rfc8656\" 0x4000-0x4FFF, \"rfc5766\" 0x4000-0x7FFE. Clients of the older\n\
         standard, coturn's test client among them, ask for the upper ones.",
    )),
    key(
        "limits.strict_permissions",
        Kind::Flag,
        "false",
        "A live channel keeps its peer permitted until the channel ends. true: the peer's permission runs out after\n\
         permission_lifetime all the same, which breaks clients that refresh their channels only.",
    ),
    Key {
        also_called: &["prometheus", "prometheus-port", "cli-ip"],
        ..key(
            "admin.listen",
            Kind::Endpoint,
            r#""127.0.0.1:9478""#,
            "Where /metrics and /health are served; \"off\" for nowhere. Nobody is asked who they are there: keep it\n\
             on loopback or behind a firewall.",
        )
    },
    Key {
        also_called: &["syslog", "log-file"],
        ..key("log.format", Kind::Word(&["text", "json"]), r#""text""#, "How log lines are written.")
    },
    Key {
        takes: Takes::Live,
        also_called: &["verbose", "log_level"],
        ..key(
            "log.level",
            Kind::Word(&["error", "warn", "info", "debug", "trace"]),
            r#""info""#,
            "The least important log lines written. Client addresses stand at debug only.",
        )
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_key_is_declared_twice_and_no_section_is_a_key() {
        let paths: BTreeSet<_> = KEYS.iter().map(|key| key.path).collect();
        assert_eq!(paths.len(), KEYS.len());
        for key in KEYS {
            assert!(!is_section(key.path), "{} is key and section", key.path);
            assert!(key.path.matches('.').count() <= 1, "{} is nested deeper than the walk goes", key.path);
        }
    }

    #[test]
    fn no_secret_takes_a_restart() {
        // A changed secret that is only live could not be told by name without comparing what must not be shown.
        for key in KEYS.iter().filter(|key| key.is_secret()) {
            assert_eq!(key.takes, Takes::Live, "{}", key.path);
        }
    }

    #[test]
    fn keys_of_a_section_stand_together() {
        let mut sections: Vec<_> = KEYS.iter().map(Key::section).collect();
        sections.dedup();
        let distinct: BTreeSet<_> = sections.iter().collect();
        assert_eq!(distinct.len(), sections.len());
    }

    #[test]
    fn what_another_server_calls_a_key_leads_to_one_key() {
        let mut seen = BTreeSet::new();
        for word in KEYS.iter().flat_map(|key| key.also_called) {
            assert!(seen.insert(word), "{word} leads to two keys");
        }
    }
}
