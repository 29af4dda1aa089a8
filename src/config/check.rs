//! The rules between keys, and those of single values that need words of their own.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::Range;

use crate::proto::types::limits;

use super::file::Document;
use super::load::Checked;
use super::problem::Problem;
use super::read::Located;
use super::read::Mapped;
use super::value::show_span;

mod acme;
mod discovery;
mod legacy;
mod mras;
mod streams;
mod web;

/// Adds to `problems` what is wrong with `checked`, which was read from `document`.
pub(crate) fn between_keys(
    checked: &Checked,
    document: &Document<'_>,
    problems: Vec<Problem>,
) -> Vec<Problem> {
    let mut rules = Rules { checked, document, problems };
    rules.all();
    rules.problems
}

/// Looks at what single values cannot show.
struct Rules<'c> {
    checked: &'c Checked,
    document: &'c Document<'c>,
    problems: Vec<Problem>,
}

impl Rules<'_> {
    fn all(&mut self) {
        self.realm();
        self.listeners();
        self.discovery();
        self.relays();
        self.ports();
        self.credentials();
        self.users();
        self.oauth();
        self.mras();
        self.mras_doors();
        self.lifetimes();
        self.admin();
        self.counts();
        self.alternates();
        self.streams();
        self.web();
        self.acme();
    }

    fn error(
        &mut self,
        key: &str,
        span: &Option<Range<usize>>,
        rule: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.problems.push(Problem::error(key, span.clone(), rule, fix));
    }

    fn warning(
        &mut self,
        key: &str,
        span: &Option<Range<usize>>,
        rule: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.problems.push(Problem::warning(key, span.clone(), rule, fix));
    }

    /// RFC 8489 § 14.9: fewer than 128 characters of a quoted string.
    fn realm(&mut self) {
        const REALM_CHARS_MAX: usize = 127;
        let Located { value: realm, span } = &self.checked.realm;
        let length = realm.chars().count();
        if realm.is_empty() {
            self.error(
                "realm",
                span,
                "the realm is empty",
                "write a name of yours: realm = \"turn.example.net\"",
            );
        } else if length > REALM_CHARS_MAX || realm.len() > limits::REALM_MAX {
            self.error(
                "realm",
                span,
                format!("the realm has {length} characters"),
                format!("write at most {REALM_CHARS_MAX} (RFC 8489 section 14.9)"),
            );
        } else if let Some(bad) = realm.chars().find(|char| char.is_control() || matches!(char, '"' | '\\')) {
            self.error(
                "realm",
                span,
                format!("{bad:?} cannot stand in a realm"),
                "write letters, digits, dots and hyphens: realm = \"turn.example.net\"",
            );
        }
    }

    fn listeners(&mut self) {
        let checked = self.checked;
        if checked.udp.is_empty() && self.sound("listen.udp") {
            let span = self.span_of("listen.udp");
            self.error(
                "listen.udp",
                &span,
                "no listener is left",
                "write udp = [\"0.0.0.0:3478\", \"[::]:3478\"]",
            );
        }
        if checked.udp.len() + 4 * checked.discovery.len() > limits::LISTEN_ADDRESSES_MAX {
            let span = self.span_of("listen.udp");
            let max = limits::LISTEN_ADDRESSES_MAX;
            self.error("listen.udp", &span, "too many listeners", format!("write at most {max}"));
        }
        for (index, Located { value: listener, span }) in checked.udp.iter().enumerate() {
            self.listener("listen.udp", listener, span);
            let earlier = checked.udp[..index].iter().map(|other| other.value.bind);
            if let Some(other) = earlier.into_iter().find(|other| overlap(*other, listener.bind)) {
                let (rule, fix) = if other == listener.bind {
                    (format!("{other} is named twice"), "keep one of them".to_owned())
                } else {
                    let rule = format!("{} and {other} take the same packets", listener.bind);
                    (rule, "keep the unspecified address or the specific ones, not both".to_owned())
                };
                self.error("listen.udp", span, rule, fix);
            }
        }
    }

    fn listener(&mut self, key: &str, listener: &Mapped<SocketAddr>, span: &Option<Range<usize>>) {
        let Mapped { bind, external } = *listener;
        if bind.port() == 0 || external.port() == 0 {
            let fix = "write the port that clients are told, 3478 as a rule";
            self.error(key, span, "port 0 is no port that a client could know", fix);
        }
        if bind.ip().is_multicast() || external.ip().is_multicast() {
            let fix = "write an address of this machine, or 0.0.0.0 for all";
            self.error(key, span, "a multicast address belongs to no machine", fix);
        }
        self.mapped(key, bind.ip(), span);
        if bind != external {
            self.external(key, bind.ip(), external.ip(), span);
            if bind.ip().is_unspecified() {
                self.error(
                    key,
                    span,
                    format!("{} is every address, of which {external} can be only one", bind.ip()),
                    "write the address of this machine that the NAT forwards to as `bind`",
                );
            }
        }
    }

    /// IPv6 sockets take IPv6 only, so an IPv4 address in IPv6 clothes would never be reached.
    fn mapped(&mut self, key: &str, bind: IpAddr, span: &Option<Range<usize>>) {
        if let IpAddr::V6(v6) = bind
            && let Some(v4) = v6.to_ipv4_mapped()
        {
            self.error(
                key,
                span,
                format!("{bind} is an IPv4 address written as IPv6"),
                format!("write {v4}"),
            );
        }
    }

    fn external(&mut self, key: &str, bind: IpAddr, external: IpAddr, span: &Option<Range<usize>>) {
        if bind.is_ipv4() != external.is_ipv4() {
            self.error(
                key,
                span,
                format!("{bind} and {external} are of different families"),
                "a 1:1 NAT keeps the family: write IPv4 for IPv4, IPv6 for IPv6",
            );
        }
        if external.is_unspecified() {
            self.error(
                key,
                span,
                format!("{external} is no address that others could reach"),
                "write the address that the NAT in front of this machine shows as `external`",
            );
        }
    }

    fn relays(&mut self) {
        let checked = self.checked;
        let named = self.span_of("relay.addresses");
        if checked.relays.is_empty() && named.is_some() && self.sound("relay.addresses") {
            let fix =
                "write addresses = [\"203.0.113.7\"], or leave the key out for the default route's address";
            self.error("relay.addresses", &named, "no relay address is left", fix);
        }
        if checked.relays.len() > limits::RELAY_ADDRESSES_MAX {
            let fix = format!("write at most {}", limits::RELAY_ADDRESSES_MAX);
            self.error("relay.addresses", &named, "too many relay addresses", fix);
        }
        for (index, Located { value: relay, span }) in checked.relays.iter().enumerate() {
            self.relay(relay, span);
            let earlier = || checked.relays[..index].iter().map(|other| other.value);
            if earlier().any(|other| other.bind == relay.bind || other.external == relay.external) {
                let rule = format!("{} is named twice", relay.external);
                self.error("relay.addresses", span, rule, "keep one of them");
            } else if earlier().any(|other| other.bind.is_ipv4() == relay.bind.is_ipv4()) {
                self.warning(
                    "relay.addresses",
                    span,
                    format!(
                        "{} is not used: the first address of a family serves that family",
                        relay.external
                    ),
                    "remove it, or put the address that shall be used first",
                );
            }
        }
    }

    fn relay(&mut self, relay: &Mapped<IpAddr>, span: &Option<Range<usize>>) {
        let Mapped { bind, external } = *relay;
        if bind.is_unspecified() {
            self.error(
                "relay.addresses",
                span,
                format!("{bind} cannot be a relay address: clients and peers are told it"),
                "write the address of this machine that peers reach, or leave the key out for the default route's",
            );
        }
        if bind.is_multicast() || external.is_multicast() {
            let fix = "write an address of this machine";
            self.error("relay.addresses", span, "a multicast address belongs to no machine", fix);
        }
        self.mapped("relay.addresses", bind, span);
        if bind != external {
            self.external("relay.addresses", bind, external, span);
        }
    }

    fn ports(&mut self) {
        const PRIVILEGED_END: u16 = 1_023;
        let checked = self.checked;
        let Located { value: ports, span } = &checked.ports;
        let (low, high) = (*ports.start(), *ports.end());
        if low <= PRIVILEGED_END {
            self.error(
                "relay.ports",
                span,
                format!("ports up to {PRIVILEGED_END} belong to well-known services, which peers would take us for"),
                "write a range above, as \"50000-59999\"",
            );
        } else if u32::from(high - low) + 1 < limits::PORT_TRIES_MAX {
            self.warning(
                "relay.ports",
                span,
                format!("only {} allocations fit into {low}-{high} on each relay address", high - low + 1),
                "write a wider range, as \"50000-59999\"",
            );
        }
        for Located { value: listener, span: listener_span } in &checked.udp {
            if !ports.contains(&listener.bind.port()) || !self.may_be_relay(listener.bind.ip()) {
                continue;
            }
            let (key, span) =
                if listener_span.is_some() { ("listen.udp", listener_span) } else { ("relay.ports", span) };
            self.error(
                key,
                span,
                format!("the listener {} lies within the relay ports {low}-{high}", listener.bind),
                "move the listener or the range, so that a client's relay port cannot be the listener's",
            );
        }
    }

    /// Whether a listener on `ip` can meet a relay socket.
    fn may_be_relay(&self, ip: IpAddr) -> bool {
        if self.checked.relays.is_empty() {
            return true;
        }
        let mut binds = self.checked.relays.iter().map(|relay| relay.value.bind);
        binds.any(|bind| bind == ip || (ip.is_unspecified() && ip.is_ipv4() == bind.is_ipv4()))
    }

    fn credentials(&mut self) {
        const SECRET_LEN_GOOD: usize = 16;
        let checked = self.checked;
        let named = |path| self.document.entries.contains_key(path) && !self.sound(path);
        // What was meant may stand under a name that nobody knows, and that is said already.
        let unreadable = ["auth.secrets", "auth.users", "auth.oauth", "mras.keys"].into_iter().any(named)
            || !self.sound("auth");
        let nobody = checked.secrets.is_empty() && checked.users.is_empty() && checked.oauth.is_empty();
        if nobody && checked.mras.is_empty() && !unreadable {
            let span = self.document.sections.get("auth").cloned();
            self.error(
                "auth",
                &span,
                "nobody could use this server: there are no secrets and no users",
                "write [auth] and below it secrets = [{ file = \"secret\" }], made with `openssl rand -hex 32 > secret`",
            );
        }
        for (index, Located { value: secret, span }) in checked.secrets.iter().enumerate() {
            if secret.expose().len() < SECRET_LEN_GOOD {
                self.warning(
                    "auth.secrets",
                    span,
                    format!(
                        "a secret of fewer than {SECRET_LEN_GOOD} bytes can be guessed from one credential"
                    ),
                    "make one with `openssl rand -hex 32`",
                );
            }
            if checked.secrets[..index].iter().any(|other| other.value.expose() == secret.expose()) {
                self.warning("auth.secrets", span, "the same secret stands here twice", "keep one of them");
            }
        }
    }

    fn users(&mut self) {
        let users = &self.checked.users;
        for (index, Located { value: (name, _), span }) in users.iter().enumerate() {
            // TOML sees to names that are typed alike.
            if users[..index].iter().any(|other| other.value.0 == *name) {
                let rule = format!("`{name}` stands here twice, typed in two ways");
                self.error("auth.users", span, rule, "keep one of them");
            }
            if name.is_empty() {
                self.error(
                    "auth.users",
                    span,
                    "a user without a name",
                    "write users = { alice = \"password\" }",
                );
            } else if name.len() > limits::USERNAME_MAX {
                let fix = format!("write at most {} (RFC 8489 section 14.3)", limits::USERNAME_MAX);
                self.error("auth.users", span, format!("a user name of {} bytes", name.len()), fix);
            } else if name.chars().any(char::is_control) {
                let fix = "write letters, digits and the like";
                self.error("auth.users", span, "a control character in a user name", fix);
            } else if let Some((expiry, _)) = name.split_once(':')
                && !expiry.is_empty()
                && expiry.bytes().all(|byte| byte.is_ascii_digit())
            {
                self.warning(
                    "auth.users",
                    span,
                    format!("`{name}` looks like a time-limited name, but its password never expires"),
                    "choose a name without digits and a colon in front",
                );
            }
        }
    }

    fn oauth(&mut self) {
        let checked = self.checked;
        let Located { value: name, span } = &checked.server_name;
        if name.len() > limits::SERVER_NAME_MAX || name.chars().any(char::is_control) {
            let fix =
                "write the name as the authorization server knows it: server_name = \"turn.example.net\"";
            let rule = format!("a server name has at most {} bytes, all printable", limits::SERVER_NAME_MAX);
            self.error("auth.server_name", span, rule, fix);
        } else if name.is_empty() && !checked.oauth.is_empty() && self.sound("auth.server_name") {
            let fix =
                "write below [auth] server_name = \"turn.example.net\", as the authorization server knows it";
            let span = self.span_of("auth.oauth");
            self.error(
                "auth.oauth",
                &span,
                "access tokens are made for a server name, and there is none",
                fix,
            );
        } else if !name.is_empty() && checked.oauth.is_empty() && self.sound("auth.oauth") {
            let fix = "add a key below oauth, or remove the name";
            self.warning("auth.server_name", span, "without a key in oauth no access token is taken", fix);
        }
        if checked.oauth.len() > limits::TOKEN_KEYS_MAX {
            let span = self.span_of("auth.oauth");
            let fix = format!("write at most {}", limits::TOKEN_KEYS_MAX);
            self.error("auth.oauth", &span, "too many OAuth keys", fix);
        }
        for (index, Located { value: key, span }) in checked.oauth.iter().enumerate() {
            if checked.oauth[..index].iter().any(|other| other.value.kid() == key.kid()) {
                let rule = format!("the key id `{}` stands here twice", key.kid());
                self.error("auth.oauth", span, rule, "give each key an id of its own");
            }
        }
    }

    fn lifetimes(&mut self) {
        let checked = self.checked;
        for (key, lifetime, standard) in [
            ("limits.permission_lifetime", &checked.permission_lifetime, limits::PERMISSION_LIFETIME_DEFAULT),
            ("limits.channel_lifetime", &checked.channel_lifetime, limits::CHANNEL_LIFETIME_DEFAULT),
        ] {
            if lifetime.value != standard {
                let standard = show_span(standard);
                self.warning(
                    key,
                    &lifetime.span,
                    format!("RFC 8656 says {standard}, and clients refresh by that"),
                    format!("write \"{standard}\" unless this is a lab"),
                );
            }
        }
        let default = limits::ALLOCATION_LIFETIME_DEFAULT;
        if checked.allocation_lifetime_max.value < default {
            self.warning(
                "limits.allocation_lifetime_max",
                &checked.allocation_lifetime_max.span,
                format!("clients count on {} at least (RFC 8656 section 3.2)", show_span(default)),
                format!("write \"{}\" or more unless this is a lab", show_span(default)),
            );
        }
    }

    fn admin(&mut self) {
        let Located { value: Some(listen), span } = &self.checked.admin else { return };
        if !listen.ip().is_loopback() {
            self.warning(
                "admin.listen",
                span,
                format!("whoever reaches {listen} can read the metrics: nobody is asked who they are"),
                "write \"127.0.0.1:9478\", or let a firewall admit your monitoring alone",
            );
        }
    }

    fn counts(&mut self) {
        let checked = self.checked;
        for (key, count, what) in [
            ("limits.permissions_per_allocation", &checked.permissions_per_allocation, "permission"),
            ("limits.channels_per_allocation", &checked.channels_per_allocation, "channel"),
        ] {
            if count.value == 0 {
                let rule = format!("without a single {what} no client could use its allocation");
                self.error(key, &count.span, rule, "write 1 or more, or leave the key out");
            }
        }
    }

    fn alternates(&mut self) {
        const KEY: &str = "drain.alternate_servers";
        let checked = self.checked;
        for (index, Located { value: server, span }) in checked.alternate_servers.iter().enumerate() {
            self.mapped(KEY, server.ip(), span);
            let earlier = &checked.alternate_servers[..index];
            if server.port() == 0 || server.ip().is_unspecified() || server.ip().is_multicast() {
                let fix = "write the address of another TURN server: \"203.0.113.9:3478\"";
                self.error(KEY, span, format!("no client can reach a server at {server}"), fix);
            } else if checked.udp.iter().any(|listener| {
                let Mapped { bind, external } = listener.value;
                bind == *server || external == *server
            }) {
                let fix = "write the address of another TURN server";
                self.error(KEY, span, format!("{server} is this server, which is leaving then"), fix);
            } else if let Some(first) = earlier.iter().find(|other| other.value.is_ipv4() == server.is_ipv4())
            {
                let rule = format!("{server} would never be told: {} has its family already", first.value);
                self.error(KEY, span, rule, "keep one address for IPv4 and one for IPv6");
            }
        }
    }

    /// Whether the value of `path` gave no error of its own.
    fn sound(&self, path: &str) -> bool {
        !self.problems.iter().any(|problem| problem.key == path)
    }

    fn span_of(&self, path: &str) -> Option<Range<usize>> {
        self.document.entries.get(path).and_then(|entry| entry.span.clone())
    }
}

/// Whether one of both would be refused by the kernel, or take the other's packets.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    a.port() == b.port()
        && same_family
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}
