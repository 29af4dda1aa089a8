//! What `serve` says before it serves: everything an operator would otherwise have to guess.

use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::Settings;
use crate::config::WebSettings;
use crate::config::WebSite;
use crate::config::show_bandwidth;
use crate::config::show_span;
use crate::net::Certificate;
use crate::net::probe::EphemeralPorts;
use crate::proto::auth::credential::mint;
use crate::proto::peers::Unlisted;
use crate::proto::types::Rate;
use crate::proto::types::Secret;
use crate::proto::types::limits;
use crate::relay::Tier;

use super::credential::ice_servers;

/// The user of the credential that a trial start prints.
const TRIAL_USER: &str = "trial";

/// Said of the tiers that stand in front of netfilter.
const PAST_THE_FIREWALL: &str = "packets that are relayed in the kernel do not pass this host's firewall";

/// The start-up summary.
pub(crate) struct Summary<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) warnings: &'a [String],
    /// The secret to mint with, in a start without a file.
    pub(crate) trial: Option<&'a Secret>,
    pub(crate) unix: u64,
    /// What the relay ports stand on.
    pub(crate) tier: Tier,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.settings;
        writeln!(f, "swingbridge {}", env!("CARGO_PKG_VERSION"))?;
        self.listeners(f)?;
        self.relays(f)?;
        let (path, meaning) = (self.tier.word(), self.tier.meaning());
        row(f, "path", &format!("{path} ({meaning}), {} workers", settings.workers))?;
        row(f, "realm", &settings.realm)?;
        if settings.ms_turn {
            row(f, "legacy", &legacy(settings.credentials.mras.len()))?;
        }
        row(f, "peers", peers(settings.policy.default))?;
        self.limits(f)?;
        self.mras(f)?;
        match settings.admin {
            Some(listen) => row(f, "admin", &format!("http://{listen}/metrics and http://{listen}/health"))?,
            None => row(f, "admin", "off")?,
        }
        row(f, "drain", &self.drain())?;
        if self.tier.is_in_kernel() {
            row(f, "note", PAST_THE_FIREWALL)?;
        }
        for warning in self.warnings.iter().chain(&self.ephemeral_ports()) {
            row(f, "note", warning)?;
        }
        self.ice_servers(f)
    }
}

/// What visitors who want no TURN find.
fn web(web: &WebSettings) -> Vec<String> {
    let told =
        |site: WebSite| format!("{}{}", site.address, if site.proxy { ", with a PROXY header" } else { "" });
    let upstream = web.upstream.map(|site| {
        let h2 = if web.upstream_h2 { ", HTTP/2 too" } else { "" };
        format!("HTTP goes to {}{h2}; at most {} connections", told(site), web.total)
    });
    let through = web.passthrough_to.filter(|_| !web.passthrough.is_empty());
    let through =
        through.map(|site| format!("{} still encrypted to {}", web.passthrough.join(", "), told(site)));
    upstream.into_iter().chain(through).collect()
}

fn networks(networks: &[(IpAddr, u8)]) -> String {
    let each: Vec<_> = networks.iter().map(|(network, len)| format!("{network}/{len}")).collect();
    each.join(", ")
}

/// What clients of the old dialect find.
fn legacy(mras: usize) -> String {
    let pairs = match mras {
        0 => "no MRAS keys".to_owned(),
        1 => "1 pair of MRAS keys".to_owned(),
        pairs => format!("{pairs} pairs of MRAS keys"),
    };
    format!("MS-TURN (Office Communicator) is spoken on the same ports, {pairs}")
}

impl Summary<'_> {
    fn listeners(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for listener in &self.settings.listen_udp {
            let told = if listener.external == listener.bind {
                String::new()
            } else {
                format!(", which clients reach as {}", listener.external)
            };
            row(f, "listening", &format!("{} {}{told}", self.spoken_over_udp(), listener.bind))?;
        }
        self.streams(f)
    }

    #[cfg(feature = "dtls")]
    fn spoken_over_udp(&self) -> &'static str {
        let shown = self.settings.certificates.iter().any(Certificate::is_for_dtls);
        if shown { "udp and dtls" } else { "udp" }
    }

    #[cfg(not(feature = "dtls"))]
    fn spoken_over_udp(&self) -> &'static str {
        "udp"
    }

    fn streams(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.settings;
        let spoken =
            if settings.certificates.is_empty() && settings.acme.is_none() { "tcp" } else { "tcp and tls" };
        for listener in &settings.listen_stream {
            let told = if listener.external == listener.bind {
                String::new()
            } else {
                format!(", which clients reach as {}", listener.external)
            };
            row(f, "listening", &format!("{spoken} {}{told}", listener.bind))?;
        }
        for certificate in &settings.certificates {
            let names = match certificate.names() {
                [] => "no name".to_owned(),
                names => names.join(", "),
            };
            let left = certificate.not_after().saturating_sub(self.unix) / 86_400;
            row(f, "certificate", &format!("for {names}; good for {left} more days"))?;
        }
        web(&settings.web).iter().try_for_each(|line| row(f, "web", line))?;
        match &settings.proxy_from[..] {
            [] => Ok(()),
            proxies => row(f, "proxies", &format!("{}: a PROXY header is due from there", networks(proxies))),
        }
    }

    /// Where MRAS credentials are handed out.
    fn mras(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doors = &self.settings.mras;
        let names = doors.front_ends.join(", ");
        if let Some(at) = doors.https {
            row(f, "mras", &format!("https {at}, POST /mras, for {names}"))?;
        }
        if let Some(at) = doors.sip {
            row(f, "mras", &format!("sip over tls {at}, for {names}"))?;
        }
        if let Some(at) = doors.sip_plain {
            row(f, "mras", &format!("sip without tls {at}, for whoever the proxy in front lets through"))?;
        }
        Ok(())
    }

    fn relays(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.settings.ports.start(), self.settings.ports.end());
        for relay in &self.settings.relays {
            let told = if relay.external == relay.bind {
                String::new()
            } else {
                format!(", which peers reach as {}", relay.external)
            };
            let chosen =
                self.settings.relays_defaulted.iter().find(|defaulted| defaulted.address == relay.bind);
            let chosen = match chosen {
                None => "",
                Some(defaulted) if defaulted.loopback => {
                    " (loopback: there is no default route, so only this machine can reach it)"
                }
                Some(_) => " (the default route's address; `[relay] addresses` chooses another)",
            };
            row(f, "relaying", &format!("udp {}, ports {first}-{last}{told}{chosen}", relay.bind))?;
        }
        Ok(())
    }

    fn limits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.settings;
        let each = |count: u32| if count == 0 { "any number".to_owned() } else { count.to_string() };
        let lines = [
            format!(
                "allocations: {} per user, {} per client address, {} in all",
                each(settings.allocations_per_user),
                each(settings.allocations_per_address),
                match settings.allocations_total {
                    0 => limits::ALLOCATIONS_MAX,
                    total => total,
                }
            ),
            format!(
                "per allocation: {} permissions, {} channels, {} connections",
                settings.permissions_per_allocation,
                settings.channels_per_allocation,
                settings.connections_per_allocation
            ),
            format!(
                "bandwidth: {} per allocation, {} per user",
                bandwidth(settings.bandwidth_per_allocation),
                bandwidth(settings.bandwidth_per_user)
            ),
            format!(
                "lifetimes: allocation {}, permission {}, channel {}, nonce {}, credential {}",
                show_span(settings.lifetime_max.as_duration()),
                show_span(settings.permission_lifetime),
                show_span(settings.channel_lifetime),
                show_span(settings.nonce_lifetime),
                show_span(Duration::from_secs(settings.credentials.lifetime_max_s))
            ),
        ];
        lines.iter().try_for_each(|line| row(f, "limits", line))
    }

    fn drain(&self) -> String {
        let settings = self.settings;
        let deadline = show_span(settings.drain_deadline);
        let elsewhere: Vec<_> = settings.alternate_servers.iter().map(ToString::to_string).collect();
        let told = match elsewhere.is_empty() {
            true => "new clients are refused".to_owned(),
            false => format!("new clients are sent to {}", elsewhere.join(" and ")),
        };
        format!("calls go on for at most {deadline} after SIGTERM; {told} meanwhile")
    }

    /// The kernel hands the ports of its ephemeral range to anybody: the line that keeps it from ours.
    fn ephemeral_ports(&self) -> Option<String> {
        let kernel = EphemeralPorts::read().ok()?;
        let exposed = kernel.exposed(&self.settings.ports);
        (exposed > 0).then(|| {
            format!(
                "the kernel may give {exposed} of the relay ports to other programs; to keep them: \
                 sysctl -w net.ipv4.ip_local_reserved_ports={}",
                kernel.reserving(&self.settings.ports)
            )
        })
    }

    fn ice_servers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(secret) = self.trial else { return Ok(()) };
        let lifetime = limits::CREDENTIAL_LIFETIME_MAX;
        let (username, password) = mint(secret, TRIAL_USER, self.unix + lifetime.as_secs());
        let urls = self.urls();
        writeln!(f, "\nFor a web page, good for {}:", show_span(lifetime))?;
        writeln!(f, "{}", ice_servers(&urls, &username, &password))
    }

    /// Every way to this server, the best first.
    fn urls(&self) -> Vec<String> {
        let settings = self.settings;
        let udp = self.reached_at(settings.listen_udp.iter().map(|listener| listener.external));
        let streams = || settings.listen_stream.iter().map(|listener| listener.external);
        let tcp = self.reached_at(streams());
        // Browsers check the name, so an address will not do.
        let is_host = |name: &&String| !name.starts_with('*') && *name != "localhost";
        let names = || settings.certificates.iter().flat_map(Certificate::names);
        let name = names().find(is_host).or_else(|| names().find(|name| *name == "localhost"));
        let tls_port = streams().map(|address| address.port()).min_by_key(|port| *port != 443);
        let udp = udp.map(|at| format!("turn:{at}?transport=udp"));
        let tcp = tcp.map(|at| format!("turn:{at}?transport=tcp"));
        let tls = name.zip(tls_port).map(|(name, port)| format!("turns:{name}:{port}?transport=tcp"));
        [udp, tcp, tls].into_iter().flatten().collect()
    }

    /// Where a client would find this server: the first listener, by the address of the default route if it listens on
    /// all.
    fn reached_at(&self, mut listeners: impl Iterator<Item = SocketAddr>) -> Option<SocketAddr> {
        let relay_of =
            |v4: bool| self.settings.relays.iter().map(|relay| relay.external).find(|ip| ip.is_ipv4() == v4);
        let address = listeners.next()?;
        let ip: IpAddr =
            if address.ip().is_unspecified() { relay_of(address.is_ipv4())? } else { address.ip() };
        Some(SocketAddr::new(ip, address.port()))
    }
}

fn bandwidth(rate: Option<Rate>) -> String {
    rate.map_or_else(|| "any".to_owned(), |rate| show_bandwidth(rate.bits_per_s()))
}

fn peers(unlisted: Unlisted) -> &'static str {
    match unlisted {
        Unlisted::Public => "public addresses, and live relays of this server; `[peers]` changes that",
        Unlisted::None => "what `[peers] allow` names, and live relays of this server",
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    writeln!(f, "  {name:<10} {value}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::config::Machine;

    /// What is told of the listener and of the relay that `text` names.
    fn told(text: &str) -> String {
        told_with(text, Vec::new())
    }

    fn told_with(text: &str, certificates: Vec<Certificate>) -> String {
        let secret = Secret::new(*b"0123456789abcdef");
        let text = format!("{text}\n[auth]\nsecrets = [\"0123456789abcdef\"]\n");
        let loaded = config::load("a.toml", &text, &config::OperatingSystem::beside("a.toml".as_ref()));
        let checked = loaded.checked.unwrap_or_else(|| panic!("{}", loaded.report.render(false)));
        let mut settings = checked.build(&Machine::default());
        settings.certificates.extend(certificates);
        Summary {
            settings: &settings,
            warnings: &[],
            trial: Some(&secret),
            unix: 1_800_000_000,
            tier: Tier::Sockets,
        }
        .to_string()
    }

    // proves rfc8656:4.1-2
    #[test]
    fn a_web_page_is_told_the_external_address_of_the_listener() {
        for (text, url) in [
            (
                "[listen]\nudp = [{ bind = \"10.0.0.5:3478\", external = \"203.0.113.7:3479\" }]",
                "turn:203.0.113.7:3479?transport=udp",
            ),
            (
                "[relay]\naddresses = [{ bind = \"10.0.0.5\", external = \"203.0.113.7\" }]",
                "turn:203.0.113.7:3478?transport=udp",
            ),
            ("[listen]\nudp = [\"10.0.0.5:3478\"]", "turn:10.0.0.5:3478?transport=udp"),
        ] {
            let told = told(text);
            assert!(told.contains(url), "{url} is missing:\n{told}");
        }
    }

    #[test]
    fn every_way_that_there_is_is_told_to_a_web_page() {
        let here = "[relay]\naddresses = [\"203.0.113.7\"]";
        let udp = "turn:203.0.113.7:3478?transport=udp";
        let both = format!("\"{udp}\",\"turn:203.0.113.7:3478?transport=tcp\"]");
        assert!(told(here).contains(&both), "{}", told(here));
        let none = format!("{here}\n[listen]\nstream = []");
        assert!(told(&none).contains(&format!("[\"{udp}\"]")), "{}", told(&none));
        let elsewhere = format!(
            "{here}\n[listen]\nstream = [{{ bind = \"10.0.0.5:443\", external = \"203.0.113.9:80\" }}]"
        );
        assert!(told(&elsewhere).contains("turn:203.0.113.9:80?transport=tcp"), "{}", told(&elsewhere));
    }

    // proves rfc8656:4.1-1
    #[test]
    fn tls_is_told_with_the_name_of_a_host_and_never_with_an_address() {
        for (names, url) in [
            (&["localhost", "turn.example.net"][..], Some("turns:turn.example.net:443?transport=tcp")),
            (&["*.example.net", "localhost"], Some("turns:localhost:443?transport=tcp")),
            (&["*.example.net"], None),
        ] {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let made = rcgen::generate_simple_self_signed(names).expect("sound names");
            let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
            let shown = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).expect("a certificate");
            let told = told_with(here(), vec![shown]);
            match url {
                Some(url) => assert!(told.contains(url), "{told}"),
                None => assert!(!told.contains("turns:"), "{told}"),
            }
            assert!(told.contains("  listening  tcp and tls 0.0.0.0:443"), "{told}");
        }
    }

    fn here() -> &'static str {
        "[relay]\naddresses = [\"203.0.113.7\"]"
    }

    #[test]
    fn bandwidth_limits_are_told() {
        let limits = "[limits]\nbandwidth_per_allocation = \"2Mbit/s\"\nbandwidth_per_user = \"1500kbit/s\"";
        assert!(told(limits).contains("bandwidth: 2Mbit/s per allocation, 1500kbit/s per user"));
        assert!(told("").contains("bandwidth: any per allocation, any per user"));
    }
}
