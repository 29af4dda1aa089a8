//! Whom to load, as the user writes it: a TURN URI (RFC 7065), which names host, port and carrier.
//!
//! | written | carrier | port, if none is written |
//! |---|---|---|
//! | `turn:host`, `turn:host?transport=udp` | UDP | 3478 |
//! | `turn:host?transport=tcp` | TCP | 3478 |
//! | `turns:host`, `turns:host?transport=tcp` | TLS | 5349 |
//! | `turns:host?transport=udp` | DTLS | 5349 |
//! | `turn:host` in the old dialect | the same over UDP | 3478 |
//! | `turn:host?transport=tcp` in the old dialect | pseudo-TLS | 443 |
//!
//! The ports are the standard's (RFC 5928 § 3, RFC 8656 § 3.1); a server that serves TLS at another port, as Swingbridge does
//! at 443, has it written: `turns:host:443`.

use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::ToSocketAddrs as _;

use crate::proto::types::Dialect;
use crate::proto::types::Family;

use super::Fault;
use super::fault::FaultKind;
use super::plan::Carrier;

pub mod mras;
pub mod users;

/// The port of TURN in the clear.
const PORT: u16 = 3478;
/// The port of TURN over TLS and DTLS.
const PORT_TLS: u16 = 5349;
/// The port at which clients of the old dialect look for pseudo-TLS.
const PORT_PSEUDO_TLS: u16 = 443;
/// Characters of a host's name (RFC 1035 § 2.3.4).
const HOST_LEN_MAX: usize = 253;

/// A server as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As it was written.
    pub uri: String,
    /// Name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What carries the clients' messages.
    pub carrier: Carrier,
}

impl Target {
    /// Reads `uri`, whose clients shall speak `dialect`.
    ///
    /// # Errors
    /// [`FaultKind::Request`]: which part is wrong, and what to write instead.
    pub fn parse(uri: &str, dialect: Dialect) -> Result<Self, Fault> {
        let (secure, rest) = scheme(uri)?;
        let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
        let carrier = carrier(uri, secure, transport(uri, query)?, dialect)?;
        let (host, port) = place_of(uri, place)?;
        let port = port.unwrap_or(match carrier {
            Carrier::Tls | Carrier::Dtls => PORT_TLS,
            Carrier::LegacyTcp => PORT_PSEUDO_TLS,
            Carrier::Udp | Carrier::Tcp | Carrier::LegacyUdp => PORT,
        });
        Ok(Self { uri: uri.to_owned(), host, port, carrier })
    }

    /// Where it listens. The system's resolver is asked, and the calling thread waits for it; of several addresses the
    /// first of `family` is taken, or simply the first.
    ///
    /// # Errors
    /// Where the name has no address, or none of the family.
    pub fn resolve(&self, family: Option<Family>) -> Result<SocketAddr, Fault> {
        let host = &self.host;
        let found: Vec<_> = (host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| {
                // The library puts the same words in front of each.
                let why = error.to_string();
                let why = why.strip_prefix("failed to lookup address information: ").unwrap_or(&why);
                request(format!("the name {host} cannot be resolved: {why}"))
                    .cure("check its spelling and this machine's DNS, or write an address")
            })?
            .collect();
        let fits = |address: &SocketAddr| family.is_none_or(|family| Family::of(address.ip()) == family);
        found.iter().copied().find(fits).ok_or_else(|| match family {
            Some(family) => {
                let family = match family {
                    Family::V4 => "IPv4",
                    Family::V6 => "IPv6",
                };
                request(format!("{host} has no {family} address"))
                    .cure("leave --source out, or name source addresses of the server's family")
            }
            None => request(format!("the name {host} has no address")),
        })
    }
}

fn request(what: String) -> Fault {
    Fault::new(FaultKind::Request, what)
}

/// Whether it is the scheme of TLS, and what stands behind it.
fn scheme(uri: &str) -> Result<(bool, &str), Fault> {
    let Some((scheme, rest)) = uri.split_once(':') else {
        return Err(
            request(format!("{uri:?} is no TURN URI: it lacks its scheme")).cure(format!("write turn:{uri}"))
        );
    };
    let lower = scheme.to_ascii_lowercase();
    if let Some(plain) = rest.strip_prefix("//")
        && matches!(lower.as_str(), "turn" | "turns")
    {
        return Err(request(format!("{uri:?} is no TURN URI: no `//` stands in one"))
            .cure(format!("write {lower}:{}", plain.trim_end_matches('/'))));
    }
    match lower.as_str() {
        "turn" => Ok((false, rest)),
        "turns" => Ok((true, rest)),
        "stun" | "stuns" => Err(request(format!("{uri:?} names a STUN server, which relays nothing"))
            .cure(format!("write {}:{rest} for a TURN server", lower.replace("stun", "turn")))),
        "http" | "https" | "ws" | "wss" => {
            Err(request(format!("{uri:?} is no TURN URI: {scheme} is the scheme of a web site"))
                .cure("write turn:HOST, or turns:HOST for TLS"))
        }
        // A host with a port, and no scheme.
        _ if rest.parse::<u16>().is_ok() || uri.parse::<Ipv6Addr>().is_ok() || uri.starts_with('[') => {
            let host = if uri.parse::<Ipv6Addr>().is_ok() { format!("[{uri}]") } else { uri.to_owned() };
            Err(request(format!("{uri:?} is no TURN URI: it lacks its scheme"))
                .cure(format!("write turn:{host}")))
        }
        _ => Err(request(format!("{uri:?} is no TURN URI: {scheme:?} is not its scheme"))
            .cure("write turn:HOST, or turns:HOST for TLS")),
    }
}

/// What the query asks for.
fn transport(uri: &str, query: Option<&str>) -> Result<Option<bool>, Fault> {
    let Some(query) = query else { return Ok(None) };
    let cure = "what may stand behind `?` is transport=udp or transport=tcp";
    let Some((name, value)) = query.split_once('=') else {
        return Err(request(format!("{uri:?}: {query:?} is no transport")).cure(cure));
    };
    if !name.eq_ignore_ascii_case("transport") {
        return Err(request(format!("{uri:?}: a TURN URI has no parameter {name:?}")).cure(cure));
    }
    match value.to_ascii_lowercase().as_str() {
        "udp" => Ok(Some(false)),
        "tcp" => Ok(Some(true)),
        "tls" | "dtls" => Err(request(format!("{uri:?}: {value:?} is no transport"))
            .cure("write turns:HOST for TLS, and turns:HOST?transport=udp for DTLS")),
        _ => Err(request(format!("{uri:?}: {value:?} is no transport")).cure(cure)),
    }
}

fn carrier(uri: &str, secure: bool, tcp: Option<bool>, dialect: Dialect) -> Result<Carrier, Fault> {
    match (dialect, secure, tcp) {
        (Dialect::Rfc8656, false, None | Some(false)) => Ok(Carrier::Udp),
        (Dialect::Rfc8656, false, Some(true)) => Ok(Carrier::Tcp),
        (Dialect::Rfc8656, true, None | Some(true)) => Ok(Carrier::Tls),
        (Dialect::Rfc8656, true, Some(false)) => Ok(Carrier::Dtls),
        (Dialect::MsTurn, false, None | Some(false)) => Ok(Carrier::LegacyUdp),
        (Dialect::MsTurn, false, Some(true)) => Ok(Carrier::LegacyTcp),
        (Dialect::MsTurn, true, _) => {
            Err(request(format!("{uri:?}: clients of the old dialect know no TLS, only what looks like it"))
                .cure("write turn:HOST?transport=tcp for pseudo-TLS, or leave --dialect legacy out"))
        }
    }
}

/// Host and port.
fn place_of(uri: &str, place: &str) -> Result<(String, Option<u16>), Fault> {
    if place.contains('@') {
        return Err(request(format!("{uri:?}: no user stands in a TURN URI"))
            .cure("write --user NAME and --password WORD beside it"));
    }
    if place.contains(['/', '#']) {
        return Err(request(format!(
            "{uri:?}: nothing stands behind the port of a TURN URI but ?transport="
        ))
        .cure("leave what begins with `/` or `#` out"));
    }
    if let Some(rest) = place.strip_prefix('[') {
        let Some((literal, behind)) = rest.split_once(']') else {
            return Err(request(format!("{uri:?}: the `[` of an IPv6 address is never closed"))
                .cure("write it as turn:[2001:db8::7]:3478"));
        };
        let Ok(ip) = literal.parse::<Ipv6Addr>() else {
            let zone = if literal.contains('%') { "; a zone can stand in none" } else { "" };
            return Err(request(format!("{uri:?}: {literal:?} is no IPv6 address{zone}"))
                .cure("write one such as turn:[2001:db8::7]"));
        };
        let port = match behind.strip_prefix(':') {
            Some(port) => Some(port_of(uri, port)?),
            None if behind.is_empty() => None,
            None => {
                return Err(request(format!("{uri:?}: {behind:?} behind the address is no port"))
                    .cure("write it as turn:[2001:db8::7]:3478"));
            }
        };
        return Ok((ip.to_string(), port));
    }
    if place.parse::<Ipv6Addr>().is_ok() || place.matches(':').count() > 1 {
        return Err(request(format!("{uri:?}: an IPv6 address stands in brackets"))
            .cure("write it as turn:[2001:db8::7] or turn:[2001:db8::7]:3478"));
    }
    let (host, port) = match place.split_once(':') {
        Some((host, port)) => (host, Some(port_of(uri, port)?)),
        None => (place, None),
    };
    Ok((host_of(uri, host)?, port))
}

fn port_of(uri: &str, port: &str) -> Result<u16, Fault> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|number| digits && *number > 0).ok_or_else(|| {
        request(format!("{uri:?}: {port:?} is no port"))
            .cure("write a number from 1 to 65535, or leave it out with its `:`")
    })
}

/// A name of letters, digits, `-`, `_` and `.`, or an IPv4 address.
fn host_of(uri: &str, host: &str) -> Result<String, Fault> {
    if host.is_empty() {
        return Err(
            request(format!("{uri:?} names no host")).cure("write turn:HOST, such as turn:turn.example.net")
        );
    }
    let is_name = host.len() <= HOST_LEN_MAX
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        && !host.trim_end_matches('.').split('.').any(|label| label.is_empty() || label.len() > 63);
    // What ends in digits is an address or nothing (RFC 3986 § 3.2.2): the resolver would take `1.2` for 1.0.0.2.
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    if !is_name || (is_number && host.parse::<IpAddr>().is_err()) {
        let cure = if host.is_ascii() {
            "write a name such as turn.example.net, or an address such as 203.0.113.7"
        } else {
            "write the name as DNS has it, in letters of ASCII: xn--…"
        };
        return Err(request(format!("{uri:?}: {host:?} is no host")).cure(cure));
    }
    Ok(host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(uri: &str, dialect: Dialect) -> (String, u16, Carrier) {
        let target = Target::parse(uri, dialect).unwrap_or_else(|fault| panic!("{uri}: {fault}"));
        assert_eq!(target.uri, uri);
        (target.host, target.port, target.carrier)
    }

    #[test]
    fn each_form_has_its_carrier_and_its_port() {
        for (uri, host, port, carrier) in [
            ("turn:turn.example.net", "turn.example.net", 3478, Carrier::Udp),
            ("turn:turn.example.net?transport=udp", "turn.example.net", 3478, Carrier::Udp),
            ("turn:turn.example.net:80?transport=tcp", "turn.example.net", 80, Carrier::Tcp),
            ("turns:turn.example.net", "turn.example.net", 5349, Carrier::Tls),
            ("turns:turn.example.net:443?transport=tcp", "turn.example.net", 443, Carrier::Tls),
            ("turns:turn.example.net?transport=udp", "turn.example.net", 5349, Carrier::Dtls),
            ("TURN:Turn.Example.net?Transport=TCP", "Turn.Example.net", 3478, Carrier::Tcp),
            ("turn:203.0.113.7:65535", "203.0.113.7", 65535, Carrier::Udp),
            ("turn:[2001:db8::7]", "2001:db8::7", 3478, Carrier::Udp),
            ("turns:[2001:DB8:0::7]:443", "2001:db8::7", 443, Carrier::Tls),
            ("turn:localhost", "localhost", 3478, Carrier::Udp),
            ("turn:turn_1.example.net.", "turn_1.example.net.", 3478, Carrier::Udp),
        ] {
            assert_eq!(parsed(uri, Dialect::Rfc8656), (host.to_owned(), port, carrier), "{uri}");
        }
        for (uri, port, carrier) in [
            ("turn:edge.example.net", 3478, Carrier::LegacyUdp),
            ("turn:edge.example.net?transport=tcp", 443, Carrier::LegacyTcp),
            ("turn:edge.example.net:3478?transport=tcp", 3478, Carrier::LegacyTcp),
        ] {
            assert_eq!(parsed(uri, Dialect::MsTurn), ("edge.example.net".to_owned(), port, carrier), "{uri}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_to_write_instead() {
        for (uri, what, cure) in [
            ("turn.example.net", "lacks its scheme", "write turn:turn.example.net"),
            ("turn.example.net:3478", "lacks its scheme", "write turn:turn.example.net:3478"),
            ("2001:db8::7", "lacks its scheme", "write turn:[2001:db8::7]"),
            ("[2001:db8::7]:3478", "lacks its scheme", "write turn:[2001:db8::7]:3478"),
            ("", "lacks its scheme", "write turn:"),
            ("turn://turn.example.net/", "no `//`", "write turn:turn.example.net"),
            ("stun:turn.example.net", "relays nothing", "write turn:turn.example.net"),
            ("stuns:turn.example.net", "relays nothing", "write turns:turn.example.net"),
            ("https://turn.example.net", "web site", "write turn:HOST"),
            ("tun:turn.example.net", "\"tun\" is not its scheme", "write turn:HOST"),
            ("turn:a.example?transport=sctp", "\"sctp\" is no transport", "transport=udp"),
            ("turn:a.example?transport=tls", "\"tls\" is no transport", "turns:HOST"),
            ("turn:a.example?transport=", "\"\" is no transport", "transport=udp"),
            ("turn:a.example?tcp", "\"tcp\" is no transport", "transport=udp"),
            ("turn:a.example?port=1", "no parameter \"port\"", "transport=udp"),
            ("turn:bob@a.example", "no user", "--user"),
            ("turn:a.example:3478/", "nothing stands behind", "leave"),
            ("turn:a.example#x", "nothing stands behind", "leave"),
            ("turn:a.example:", "\"\" is no port", "1 to 65535"),
            ("turn:a.example:0", "\"0\" is no port", "1 to 65535"),
            ("turn:a.example:65536", "\"65536\" is no port", "1 to 65535"),
            ("turn:a.example:+80", "\"+80\" is no port", "1 to 65535"),
            ("turn:", "names no host", "turn:HOST"),
            ("turn::3478", "names no host", "turn:HOST"),
            ("turn:2001:db8::7", "stands in brackets", "turn:[2001:db8::7]"),
            ("turn:[2001:db8::7", "never closed", "turn:[2001:db8::7]"),
            ("turn:[2001:db8::7]80", "\"80\" behind the address", "turn:[2001:db8::7]:3478"),
            ("turn:[fe80::1%25eth0]", "a zone", "turn:[2001:db8::7]"),
            ("turn:[203.0.113.7]", "is no IPv6 address", "turn:[2001:db8::7]"),
            ("turn:a b", "\"a b\" is no host", "turn.example.net"),
            ("turn:a..b", "\"a..b\" is no host", "turn.example.net"),
            ("turn:1.2", "\"1.2\" is no host", "203.0.113.7"),
            ("turn:203.0.113.256", "is no host", "203.0.113.7"),
            ("turn:münchen.example", "is no host", "xn--"),
        ] {
            let fault = Target::parse(uri, Dialect::Rfc8656).expect_err(uri);
            assert_eq!(fault.kind, FaultKind::Request, "{uri}");
            assert!(fault.what.contains(what), "{uri}: {fault}");
            assert!(fault.cure.as_deref().is_some_and(|told| told.contains(cure)), "{uri}: {fault}");
        }
        let fault = Target::parse("turns:edge.example.net", Dialect::MsTurn).expect_err("no TLS there");
        assert!(fault.to_string().contains("turn:HOST?transport=tcp"), "{fault}");
    }

    #[test]
    fn no_text_is_a_panic_and_what_is_taken_has_a_host() {
        let pieces = [
            "turn",
            "turns",
            ":",
            "//",
            "[",
            "]",
            "::1",
            "a",
            ".",
            "@",
            "?",
            "transport",
            "=",
            "udp",
            "é",
            "%",
        ];
        // Every sequence of four of them.
        for number in 0..pieces.len().pow(4) {
            let pick = |place: u32| pieces[number / pieces.len().pow(place) % pieces.len()];
            let uri = [pick(0), pick(1), pick(2), pick(3)].concat();
            if let Ok(target) = Target::parse(&uri, Dialect::Rfc8656) {
                assert!(!target.host.is_empty() && target.port > 0, "{uri}");
            }
        }
    }

    #[test]
    fn addresses_need_no_resolver_and_a_name_without_one_is_told() {
        let resolve =
            |uri: &str, family| Target::parse(uri, Dialect::Rfc8656).expect("sound").resolve(family);
        assert_eq!(resolve("turn:127.0.0.9", None), Ok("127.0.0.9:3478".parse().expect("a literal")));
        assert_eq!(resolve("turns:[::1]", Some(Family::V6)), Ok("[::1]:5349".parse().expect("a literal")));
        let fault = resolve("turn:127.0.0.9", Some(Family::V6)).expect_err("another family");
        assert!(fault.what.contains("127.0.0.9 has no IPv6 address"), "{fault}");
        // A label that no name server may ever have (RFC 6761 § 6.4).
        let fault = resolve("turn:nobody.invalid", None).expect_err("no such name");
        assert!(fault.what.starts_with("the name nobody.invalid cannot be resolved: "), "{fault}");
        assert!(!fault.what.contains("failed to lookup"), "{fault}");
        assert_eq!(fault.kind, FaultKind::Request);
    }
}
