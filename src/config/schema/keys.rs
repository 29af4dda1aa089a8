//! The table of keys, in the order of the sections of `conf/full.toml`.

use crate::proto::types::limits;

use super::Key;
use super::Kind;
use super::Takes;
use super::key;
use super::live;
use super::mras;
use super::open_key;
use super::path;
use super::tls;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

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
        also_called: &["tls-listening-port", "tcp", "tls"],
        ..key(
            "listen.stream",
            Kind::Endpoints,
            r#"["0.0.0.0:3478", "[::]:3478", "0.0.0.0:443", "[::]:443"]"#,
            "Where clients reach the server over TCP, and over TLS if there is a certificate: the first bytes tell which.\n\
             Written like udp; [] for nowhere. An entry of this default that cannot be had is left out, and the server\n\
             says so; one that the file names is an error then.",
        )
    },
    open_key(
        "listen.discovery",
        Kind::Pairs,
        r#"[{ primary = "203.0.113.7:3478", alternate = "203.0.113.8:3479" }]"#,
        "clients cannot discover how their NAT behaves",
        "Two addresses of this machine, with which clients discover how their NAT behaves (RFC 5780): both IP\n\
         addresses are listened on with both ports. At most one pair for each family. An address may be\n\
         { bind = \"10.0.0.5:3478\", external = \"203.0.113.7:3478\" }.",
    ),
    Key {
        also_called: &["tcp-proxy-port", "proxy_protocol", "use_proxy_protocol"],
        ..key(
            "listen.proxy_from",
            Kind::Networks,
            "[]",
            "Networks of proxies in front, such as [\"10.0.0.2\", \"10.1.0.0/24\"]. Over stream, a connection from there must\n\
             begin with a PROXY header (version 1 or 2), which says who the client is; from anywhere else with none.",
        )
    },
    Key {
        also_called: &["acme-redirect", "web_root", "proxy_pass"],
        ..key(
            "listen.web.upstream",
            Kind::Endpoint,
            r#""off""#,
            "The web site behind: HTTP on a stream listener, plain or inside TLS, goes there as plain HTTP. \"off\": whoever\n\
             speaks HTTP gets a 404.",
        )
    },
    key(
        "listen.web.upstream_proxy",
        Kind::Word(&["off", "v2"]),
        r#""off""#,
        "Whether the site is told by a PROXY header (\"v2\") whose connection it gets.",
    ),
    key(
        "listen.web.upstream_h2",
        Kind::Flag,
        "false",
        "Whether the site takes HTTP/2 without TLS (prior knowledge), so that browsers may be offered it.",
    ),
    key(
        "listen.web.passthrough",
        Kind::Hosts,
        "[]",
        "Names of hosts whose TLS is passed through still encrypted, such as [\"www.example.net\", \"*.example.org\"].",
    ),
    key(
        "listen.web.passthrough_to",
        Kind::Endpoint,
        r#""off""#,
        "Where connections for these names go: a server that has their certificates.",
    ),
    key(
        "listen.web.passthrough_proxy",
        Kind::Word(&["off", "v2"]),
        r#""off""#,
        "Whether that server is told by a PROXY header (\"v2\") whose connection it gets.",
    ),
    tls::CERTIFICATES,
    tls::NAMES,
    tls::ACCEPT_TERMS,
    tls::CONTACT,
    tls::DIRECTORY,
    tls::ROOTS,
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
        "How packets travel: \"sockets\" (a socket for each allocation, no privilege), \"sk_lookup\" (the ports of a worker\n\
         on one socket; CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW), \"tc\" or \"xdp\" (in the kernel, at the\n\
         interfaces of kernel_interfaces; CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON; past the host's firewall).\n\
         \"auto\" takes the best that it can have; one that is named and cannot be had is an error.\n\
         `swingbridge serve --explain-path` tells what this machine has, and what is in the way of the rest.",
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
    path::KERNEL_INTERFACES,
    path::RUNS,
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
             password base64(HMAC-SHA1(secret, username)), or the same with SHA256. Several, so that one can be\n\
             changed without an outage; the first one mints. Each is a string, { file = \"...\" }, { env = \"...\" } or,\n\
             for what systemd hands over, { credential = \"...\" }.",
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
            "Static users and their passwords, beside the secrets. A password is written like a secret. Names and\n\
             passwords beyond ASCII are prepared as RFC 8265 has it (OpaqueString); clients must do the same.",
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
    Key {
        also_called: &["server-name"],
        ..open_key(
            "auth.server_name",
            Kind::Text,
            r#""turn.example.net""#,
            "no access tokens",
            "The name of this server that access tokens are made for (RFC 7635), told to clients with a 401. Needed with\n\
             oauth.",
        )
    },
    live(open_key(
        "auth.oauth",
        Kind::TokenKeys,
        r#"[{ kid = "2026-01", key = { file = "oauth.key" }, algorithm = "A256GCM" }]"#,
        "no access tokens",
        "Keys shared with an authorization server that makes access tokens (RFC 7635), found by their id, which\n\
         clients send as username. The key is base64, written like a secret; the algorithm A256GCM or A128GCM. With\n\
         not_before and not_after (2026-01-31T00:00:00Z) keys can be rotated without an outage.",
    )),
    Key {
        takes: Takes::Live,
        also_called: &["mobile"],
        ..key(
            "auth.mobility",
            Kind::Flag,
            "false",
            "Whether a client that asks for a mobility ticket may take its allocation along when its own address\n\
             changes (RFC 8016).",
        )
    },
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
    key(
        "limits.unproven_exempt",
        Kind::Names,
        "[]",
        "Client networks outside the budget for strangers, for load tests. Everybody else is answered 64 times at once\n\
         and 20 times a second before the first proof, and above that with no more bytes than were sent.",
    ),
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
        also_called: &["max-bps"],
        ..key(
            "limits.bandwidth_per_allocation",
            Kind::Bandwidth,
            r#""0""#,
            "What one allocation may carry, as \"2Mbit/s\", with kbit/s, Mbit/s or Gbit/s; \"0\" for any amount. Counted are\n\
             the IP packets between relay and peer, headers included, both ways together; what is more is dropped.",
        )
    },
    key(
        "limits.bandwidth_per_user",
        Kind::Bandwidth,
        r#""0""#,
        "What all allocations of one user may carry together, counted alike.",
    ),
    key(
        "limits.bandwidth_burst",
        Kind::Span {
            min_s: limits::BANDWIDTH_BURST_MIN.as_secs(),
            max_s: limits::BANDWIDTH_BURST_MAX.as_secs(),
        },
        r#""1s""#,
        "How much of both may be used at once after a pause: what the bandwidth brings in this time.",
    ),
    Key {
        also_called: &["total-quota"],
        ..key(
            "limits.allocations_total",
            Kind::Count { max: limits::ALLOCATIONS_MAX as u64 },
            "0",
            "Allocations in all at a time; one more is refused with 508. 0 for as many as there are ports.",
        )
    },
    key(
        "limits.permissions_per_allocation",
        Kind::Count { max: limits::PERMISSIONS_PER_ALLOCATION_MAX as u64 },
        "1024",
        "Permissions of one allocation at a time, 1 to 1024; one more is refused with 508.",
    ),
    key(
        "limits.channels_per_allocation",
        Kind::Count { max: limits::CHANNELS_PER_ALLOCATION_MAX as u64 },
        "4096",
        "Channels of one allocation at a time, 1 to 4096; one more is refused with 508.",
    ),
    key(
        "limits.streams_total",
        Kind::Count { max: limits::STREAMS_MAX as u64 },
        "16384",
        "Connections over TCP and TLS at a time; one more is closed at once. Each takes a file descriptor.",
    ),
    key(
        "limits.streams_per_address",
        Kind::Count { max: limits::STREAMS_MAX as u64 },
        "1024",
        "Connections of one client address (IPv6: /64) at a time; 0 for no limit.",
    ),
    key(
        "limits.web_total",
        Kind::Count { max: limits::STREAMS_MAX as u64 },
        "1024",
        "Of these connections, those to web sites behind: at most half of streams_total. One address has a quarter.",
    ),
    Key {
        also_called: &["no-tcp-relay"],
        ..key(
            "limits.connections_per_allocation",
            Kind::Count { max: limits::CONNECTIONS_PER_ALLOCATION_MAX as u64 },
            "64",
            "Peers' connections of one TCP allocation (RFC 6062) at a time; one more is refused with 508, or closed.\n\
             0 for no TCP allocations.",
        )
    },
    key(
        "limits.connects_per_allocation",
        Kind::Count { max: limits::CONNECTIONS_PER_ALLOCATION_MAX as u64 },
        "16",
        "Connect requests of one TCP allocation that wait for their peer; one more is refused with 508.",
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
    key(
        "drain.deadline",
        Kind::Span { min_s: 0, max_s: DAY },
        r#""3s""#,
        "How long calls may go on after SIGTERM. The server takes no new ones meanwhile, and leaves when the last\n\
         has ended, at this deadline at the latest. A second SIGTERM ends them at once, and so does Ctrl-C. Under\n\
         systemd keep TimeoutStopSec= of the unit some 10 seconds longer than this.",
    ),
    Key {
        also_called: &["alternate-server", "alternate_server"],
        ..key(
            "drain.alternate_servers",
            Kind::Endpoints,
            "[]",
            "Where clients that come meanwhile are sent (300 with ALTERNATE-SERVER), one address for IPv4 and one for\n\
             IPv6: [\"203.0.113.9:3478\", \"[2001:db8::9]:3478\"]. A family without one is refused with 508.",
        )
    },
    key(
        "ms_turn.enable",
        Kind::Flag,
        "true",
        "Whether clients of Office Communications Server 2007 (R2) and Lync are served too, on the same ports and with the\n\
         same users: the dialect [MS-TURN], told apart by its first bytes.",
    ),
    live(key(
        "ms_turn.strict_sequence_numbers",
        Kind::Flag,
        "false",
        "true: such a client must number its requests. false: one that never did is known by its transaction ids.",
    )),
    live(key(
        "ms_turn.wrong_mac",
        Kind::Word(&["401", "431"]),
        r#""401""#,
        "The error code for a wrong password. libnice takes \"401\" for final; of \"431\", which [MS-TURN] has for it, it\n\
         hears nothing and waits two seconds.",
    )),
    live(open_key(
        "mras.keys",
        Kind::MrasKeys,
        r#"[{ key1 = { file = "mras1.key" }, key2 = { file = "mras2.key" } }]"#,
        "no MRAS credentials",
        "Pairs of keys from which a media relay authentication service makes user names and passwords for such clients,\n\
         good for 8 hours at most. Several pairs, so that one can be changed without an outage; the first one mints.\n\
         Each key is written like a secret; the two of a pair must differ.",
    )),
    mras::HTTPS,
    mras::SIP,
    mras::SIP_PLAIN,
    mras::CLIENT_CA,
    mras::FRONT_ENDS,
    mras::CERTIFICATES,
    mras::INTERNET_HOST,
    mras::INTRANET_HOST,
];
