//! A candidate, and how it is written (RFC 8839 § 5.1).

use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::str::FromStr;
use std::str::Split;

use super::CandidateError;
use super::error::shown;

/// Where a candidate comes from (RFC 8445 § 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A socket's own address.
    Host,
    /// What a server sees of a socket.
    ServerReflexive,
    /// What the other side sees of a socket.
    PeerReflexive,
    /// An address at a relay.
    Relayed,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Host, Self::ServerReflexive, Self::PeerReflexive, Self::Relayed];

    /// The word of the standard.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relayed => "relay",
        }
    }
}

/// A candidate for component 1 over UDP. `Display` writes it as the value of an SDP attribute, from `candidate:` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The same for candidates of one kind, base address and server.
    pub foundation: Box<str>,
    /// 1 to 2^31 − 1.
    pub priority: u32,
    /// Where it is reached.
    pub address: SocketAddr,
    /// Its kind.
    pub kind: Kind,
    /// Where it comes from: the base of a reflexive one, what the server sees of the client of a relayed one.
    pub related: Option<SocketAddr>,
    /// The agent it belongs to.
    pub ufrag: Option<Box<str>>,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ip, port) = (self.address.ip(), self.address.port());
        let kind = self.kind.word();
        write!(f, "candidate:{} 1 UDP {} {ip} {port} typ {kind}", self.foundation, self.priority)?;
        if let Some(related) = self.related {
            write!(f, " raddr {} rport {}", related.ip(), related.port())?;
        }
        match &self.ufrag {
            Some(ufrag) => write!(f, " ufrag {ufrag}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Candidate {
    type Err = CandidateError;

    /// Reads `candidate:…`, with `a=` in front or without.
    fn from_str(text: &str) -> Result<Self, CandidateError> {
        let text = text.strip_prefix("a=").unwrap_or(text);
        let text = text.strip_prefix("candidate:").ok_or(CandidateError::Start)?;
        let mut fields = Fields(text.split(' '));
        let foundation = fields.next("foundation")?;
        if !(1..=32).contains(&foundation.len()) || !is_ice_text(foundation) {
            return Err(wrong("foundation", foundation, "1 to 32 letters, digits, `+` or `/`"));
        }
        let component = fields.number("component-id", 1..=256, "a number from 1 to 256")?;
        let transport = fields.next("transport")?;
        let priority = fields.number("priority", 1..=0x7FFF_FFFF, "a number from 1 to 2147483647")?;
        let address = fields.next("connection-address")?;
        let port = fields.number("port", 0..=65_535, "a number from 0 to 65535")?;
        let typ = fields.next("cand-type")?;
        if typ != "typ" {
            return Err(wrong("cand-type", typ, "`typ` and a word"));
        }
        let kind = fields.next("cand-type")?;
        let (related, ufrag) = fields.extensions()?;
        if !transport.eq_ignore_ascii_case("udp") {
            return Err(unsupported("transport", transport));
        }
        if component != 1 {
            return Err(unsupported("component-id", &component.to_string()));
        }
        let known = Kind::ALL.into_iter().find(|each| each.word() == kind);
        let kind = known.ok_or_else(|| unsupported("cand-type", kind))?;
        let address = usable(address, port)?;
        let (foundation, ufrag) = (foundation.into(), ufrag.map(Into::into));
        Ok(Self { foundation, priority, address, kind, related, ufrag })
    }
}

/// The fields of a line, one blank between each two.
struct Fields<'a>(Split<'a, char>);

impl<'a> Fields<'a> {
    fn next(&mut self, field: &'static str) -> Result<&'a str, CandidateError> {
        self.0.next().filter(|found| !found.is_empty()).ok_or(CandidateError::Missing { field })
    }

    fn number(
        &mut self,
        field: &'static str,
        range: std::ops::RangeInclusive<u32>,
        expected: &'static str,
    ) -> Result<u32, CandidateError> {
        let found = self.next(field)?;
        number(found).filter(|number| range.contains(number)).ok_or_else(|| wrong(field, found, expected))
    }

    /// The related address, and the `ufrag`. Extensions that are not known are passed over.
    fn extensions(&mut self) -> Result<(Option<SocketAddr>, Option<&'a str>), CandidateError> {
        let (mut address, mut port, mut ufrag) = (None, None, None);
        while let Some(name) = self.0.next() {
            if name.is_empty() {
                return Err(CandidateError::Missing { field: "extension-att-name" });
            }
            match name {
                "raddr" => address = Some(self.next("rel-addr")?),
                "rport" => port = Some(self.number("rel-port", 0..=65_535, "a number from 0 to 65535")?),
                "ufrag" => ufrag = Some(self.next("ufrag")?),
                _ => {
                    self.next("extension-att-value")?;
                }
            }
        }
        if let Some(ufrag) = ufrag
            && (!(4..=256).contains(&ufrag.len()) || !is_ice_text(ufrag))
        {
            return Err(wrong("ufrag", ufrag, "4 to 256 letters, digits, `+` or `/`"));
        }
        let related = match (address, port) {
            (None, None) => None,
            (None, Some(_)) => return Err(CandidateError::Missing { field: "rel-addr" }),
            (Some(_), None) => return Err(CandidateError::Missing { field: "rel-port" }),
            // It may be a name; nothing is sent there.
            (Some(address), Some(port)) => {
                let ip: Option<IpAddr> = address.parse().ok();
                ip.map(|ip| SocketAddr::new(ip, u16::try_from(port).unwrap_or(0)))
            }
        };
        Ok((related, ufrag))
    }
}

/// An address that something can be sent to.
fn usable(address: &str, port: u32) -> Result<SocketAddr, CandidateError> {
    const FIELD: &str = "connection-address";
    let Ok(ip) = address.parse::<IpAddr>() else {
        return Err(if is_name(address) {
            unsupported(FIELD, address)
        } else {
            wrong(FIELD, address, "an IP address or a name")
        });
    };
    let port = u16::try_from(port).ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| unsupported("port", "0"))?;
    let is_broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if ip.is_unspecified() || ip.is_multicast() || is_broadcast {
        return Err(unsupported(FIELD, address));
    }
    Ok(SocketAddr::new(ip, port))
}

/// A host name, as browsers write instead of an address that is nobody's business (mDNS), and as nobody resolves here.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.chars().all(|each| each.is_ascii_alphanumeric() || each == '-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(is_label) && !last.chars().all(|each| each.is_ascii_digit())
}

/// Up to 10 digits and nothing else.
fn number(text: &str) -> Option<u32> {
    let is_digits = (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_digits)
}

/// Whether `text` is made of what RFC 8839 § 5.1 calls ice-char.
pub(super) fn is_ice_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

fn wrong(field: &'static str, found: &str, expected: &'static str) -> CandidateError {
    CandidateError::Wrong { field, found: shown(found), expected }
}

fn unsupported(field: &'static str, found: &str) -> CandidateError {
    CandidateError::Unsupported { field, found: shown(found) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOST: &str = "candidate:1 1 UDP 2130706431 203.0.113.141 8998 typ host";

    fn read(text: &str) -> Result<Candidate, CandidateError> {
        text.parse()
    }

    #[test]
    fn the_standards_examples_are_read_and_written_back() {
        // RFC 8839 § 5.1 and the examples of its section 4.
        let lines = [
            HOST,
            "candidate:2 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998",
            "candidate:3 1 UDP 1862270975 2001:db8::1 9 typ prflx raddr 0.0.0.0 rport 0",
            "candidate:a+/Z 1 UDP 1 198.51.100.1 65535 typ relay raddr 192.0.2.3 rport 9 ufrag AbCd",
        ];
        for line in lines {
            assert_eq!(read(line).map(|read| read.to_string()), Ok(line.to_owned()));
            assert_eq!(read(&format!("a={line}")), read(line));
        }
    }

    #[test]
    fn extensions_that_nobody_knows_are_passed_over() {
        let line =
            "candidate:0 1 udp 99 192.0.2.1 7 typ host generation 0 network-id 3 ufrag Qwer network-cost 10";
        let read = read(line).unwrap();
        assert_eq!(read.to_string(), "candidate:0 1 UDP 99 192.0.2.1 7 typ host ufrag Qwer");
    }

    #[test]
    fn what_is_right_and_of_no_use_here_is_told_from_what_is_wrong() {
        for (line, field) in [
            ("candidate:1 2 UDP 1 192.0.2.1 7 typ host", "component-id"),
            ("candidate:1 1 TCP 1 192.0.2.1 9 typ host tcptype active", "transport"),
            (
                "candidate:1 1 UDP 1 0b7f8a5e-0f3a-4f7f-8f4c-1d2e3f4a5b6c.local 7 typ host",
                "connection-address",
            ),
            ("candidate:1 1 UDP 1 relay.example.net 7 typ relay raddr a.local rport 9", "connection-address"),
            ("candidate:1 1 UDP 1 192.0.2.1 7 typ token", "cand-type"),
            ("candidate:1 1 UDP 1 0.0.0.0 7 typ host", "connection-address"),
            ("candidate:1 1 UDP 1 224.0.0.1 7 typ host", "connection-address"),
            ("candidate:1 1 UDP 1 255.255.255.255 7 typ host", "connection-address"),
            ("candidate:1 1 UDP 1 192.0.2.1 0 typ host", "port"),
        ] {
            let found = read(line).unwrap_err();
            assert!(found.is_unsupported(), "{line}: {found}");
            assert!(found.to_string().contains(field), "{line}: {found}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, named) in [
            ("", "candidate:"),
            ("a=candidat:1", "candidate:"),
            ("candidate:", "foundation"),
            ("candidate:tmp_prflx 1 UDP 1 192.0.2.1 7 typ host", "foundation"),
            ("candidate:123456789012345678901234567890123 1 UDP 1 192.0.2.1 7 typ host", "foundation"),
            ("candidate:1 0 UDP 1 192.0.2.1 7 typ host", "component-id"),
            ("candidate:1 257 UDP 1 192.0.2.1 7 typ host", "component-id"),
            ("candidate:1 1 UDP 0 192.0.2.1 7 typ host", "priority"),
            ("candidate:1 1 UDP 2147483648 192.0.2.1 7 typ host", "priority"),
            ("candidate:1 1 UDP +1 192.0.2.1 7 typ host", "priority"),
            ("candidate:1 1 UDP 1 192.0.2.256 7 typ host", "connection-address"),
            ("candidate:1 1 UDP 1 a..local 7 typ host", "connection-address"),
            ("candidate:1 1 UDP 1 192.0.2.1 65536 typ host", "port"),
            ("candidate:1 1 UDP 1 192.0.2.1 7", "cand-type"),
            ("candidate:1 1 UDP 1 192.0.2.1 7 type host", "cand-type"),
            ("candidate:1 1 UDP 1 192.0.2.1 7 typ srflx raddr 192.0.2.1", "rel-port"),
            ("candidate:1 1 UDP 1 192.0.2.1 7 typ srflx rport 1", "rel-addr"),
            ("candidate:1 1 UDP 1 192.0.2.1 7 typ srflx raddr 192.0.2.1 rport x", "rel-port"),
            ("candidate:1 1 UDP 1 192.0.2.1 7 typ host generation", "extension-att-value"),
            ("candidate:1 1 UDP 1 192.0.2.1 7 typ host ", "extension-att-name"),
            ("candidate:1 1 UDP 1  192.0.2.1 7 typ host", "connection-address"),
            ("candidate:1 1 UDP 1 192.0.2.1 7 typ host ufrag a_b-c", "ufrag"),
        ] {
            let found = read(line).unwrap_err();
            assert!(!found.is_unsupported() && found.to_string().contains(named), "{line:?}: {found}");
        }
    }

    proptest! {
        #[test]
        fn reading_is_total_and_what_was_read_reads_the_same_again(text in "(a=)?candidate:[ -~]{0,90}") {
            if let Ok(found) = read(&text) {
                prop_assert_eq!(read(&found.to_string()), Ok(found));
            }
        }

        #[test]
        fn so_it_is_of_lines_that_are_almost_right(
            at in 0..HOST.len(), with in proptest::char::range(' ', '~')
        ) {
            let mut text = HOST.to_owned();
            text.replace_range(at..=at, &with.to_string());
            if let Ok(found) = read(&text) {
                prop_assert_eq!(read(&found.to_string()), Ok(found));
            }
        }
    }
}
