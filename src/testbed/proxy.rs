//! A minimal HTTP proxy for a laboratory: CONNECT and nothing else (RFC 9110 § 9.3.6), with Basic (RFC 7617) or without.
//! Sans I/O: whoever owns the connection gives it what comes, dials where it says, and pipes from then on.

use std::str;

use crate::proto::client::ProxyLogin;
use crate::proto::types::limits::HTTP_CONNECT_AUTHORITY_MAX;
use crate::proto::types::limits::HTTP_CONNECT_HEAD_MAX;

/// Whom a proxy serves, and what it lets through.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Who may ask; `None`: anybody.
    pub login: Option<ProxyLogin>,
    /// The ports that tunnels may lead to; none here: any. Most proxies have 443 alone.
    pub ports: Vec<u16>,
}

/// What becomes of what came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The request is not whole yet.
    Waiting,
    /// Dial this; then write [`ESTABLISHED`] or [`UNREACHABLE`] to the client.
    Dial {
        /// A name or an address, an IPv6 one without its brackets.
        host: String,
        /// Its port.
        port: u16,
        /// What the client sent behind the request: the server's.
        rest: Box<[u8]>,
    },
    /// Write this and close.
    Refuse(Refusal),
}

/// Why a proxy does not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no request, or too long.
    Malformed,
    /// The rules do not let tunnels lead there.
    Forbidden,
    /// Something else than CONNECT.
    Method,
    /// No proof, or a wrong one.
    Proof,
}

impl Refusal {
    /// What is answered.
    #[must_use]
    pub const fn answer(self) -> &'static [u8] {
        match self {
            Self::Malformed => b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            Self::Forbidden => b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            Self::Method => {
                b"HTTP/1.1 405 Method Not Allowed\r\nAllow: CONNECT\r\nConnection: close\r\nContent-Length: \
                  0\r\n\r\n"
            }
            Self::Proof => {
                b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"testbed\"\r\nConnection: \
                  close\r\nContent-Length: 0\r\n\r\n"
            }
        }
    }
}

/// What the client hears when the tunnel is there.
pub const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
/// What it hears when nobody answers there.
pub const UNREACHABLE: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// One connection of a client, until it is a tunnel.
#[derive(Debug, Default)]
pub struct Session {
    inbox: Vec<u8>,
    /// So much of it has no end in it.
    searched: usize,
}

/// What the head of a request ends with.
const END: &[u8] = b"\r\n\r\n";

impl Session {
    /// Bytes came, however they were split. After [`Said::Dial`] or [`Said::Refuse`] it is over.
    pub fn handle_bytes(&mut self, rules: &Rules, bytes: &[u8]) -> Said {
        self.inbox.extend_from_slice(bytes);
        let from = self.searched;
        let head = self.inbox[from..].windows(END.len()).position(|window| window == END);
        let Some(head) = head.map(|at| from + at).filter(|at| at + END.len() <= HTTP_CONNECT_HEAD_MAX) else {
            self.searched = self.inbox.len().saturating_sub(END.len() - 1);
            let is_too_long = self.inbox.len() > HTTP_CONNECT_HEAD_MAX;
            return if is_too_long { Said::Refuse(Refusal::Malformed) } else { Said::Waiting };
        };
        let rest = self.inbox.split_off(head + END.len());
        let request = std::mem::take(&mut self.inbox);
        self.searched = 0;
        match judge(rules, &request[..head]) {
            Ok((host, port)) => Said::Dial { host, port, rest: rest.into() },
            Err(refusal) => Said::Refuse(refusal),
        }
    }
}

/// Where a request leads, `head` being its lines without the last line's end.
fn judge(rules: &Rules, head: &[u8]) -> Result<(String, u16), Refusal> {
    let head = str::from_utf8(head).map_err(|_| Refusal::Malformed)?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some("HTTP/1.0" | "HTTP/1.1"), None) =
        (method, target, version, words.next())
    else {
        return Err(Refusal::Malformed);
    };
    if method != "CONNECT" {
        return Err(Refusal::Method);
    }
    if let Some(login) = &rules.login {
        let proof = lines
            .filter_map(|line| line.split_once(':'))
            .find_map(|(name, value)| name.eq_ignore_ascii_case("proxy-authorization").then(|| value.trim()));
        let basic = proof.and_then(|proof| proof.split_once(' '));
        let is_good = basic.is_some_and(|(scheme, credentials)| {
            scheme.eq_ignore_ascii_case("basic") && login.is(credentials.trim().as_bytes())
        });
        if !is_good {
            return Err(Refusal::Proof);
        }
    }
    let (host, port) = authority(target).ok_or(Refusal::Malformed)?;
    if !rules.ports.is_empty() && !rules.ports.contains(&port) {
        return Err(Refusal::Forbidden);
    }
    Ok((host.to_owned(), port))
}

/// `host:port` or `[address]:port`.
fn authority(target: &str) -> Option<(&str, u16)> {
    let (host, port) = target.rsplit_once(':')?;
    let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let bare = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None => Some(host).filter(|host| !host.contains(':'))?,
    };
    let is_host = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_graphic());
    (is_host && target.len() <= HTTP_CONNECT_AUTHORITY_MAX).then_some((bare, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::client::ConnectProgress;
    use crate::proto::client::HttpConnect;

    fn ask(rules: &Rules, request: &[u8]) -> Said {
        Session::default().handle_bytes(rules, request)
    }

    fn dial(host: &str, port: u16, rest: &[u8]) -> Said {
        Said::Dial { host: host.to_owned(), port, rest: rest.into() }
    }

    #[test]
    fn our_client_and_this_proxy_understand_each_other() {
        let login = ProxyLogin::new("alice", "wonder: land").unwrap();
        let other = ProxyLogin::new("alice", "wonder land").unwrap();
        let rules = Rules { login: Some(login.clone()), ports: vec![443] };
        let cases = [
            (Some(&login), "192.0.2.1:443", Ok(("192.0.2.1", 443))),
            (Some(&login), "[2001:db8::1]:443", Ok(("2001:db8::1", 443))),
            (Some(&login), "192.0.2.1:3478", Err(403)),
            (Some(&other), "192.0.2.1:443", Err(407)),
            (None, "192.0.2.1:443", Err(407)),
        ];
        for (login, authority, expected) in cases {
            let mut client = HttpConnect::new(authority, login).unwrap();
            match (ask(&rules, client.request()), expected) {
                (said, Ok((host, port))) => {
                    assert_eq!(said, dial(host, port, b""));
                    assert_eq!(
                        client.handle_bytes(ESTABLISHED),
                        ConnectProgress::Open { rest: Box::default() }
                    );
                    let mut late = HttpConnect::new(authority, login).unwrap();
                    assert_eq!(late.handle_bytes(UNREACHABLE), ConnectProgress::Refused { status: 502 });
                }
                (Said::Refuse(refusal), Err(status)) => {
                    assert_eq!(client.handle_bytes(refusal.answer()), ConnectProgress::Refused { status });
                }
                (said, expected) => panic!("{authority}: {said:?}, expected was {expected:?}"),
            }
        }
    }

    #[test]
    fn whoever_proves_nothing_is_not_told_where_tunnels_may_lead() {
        let rules = Rules { login: ProxyLogin::new("a", "b"), ports: vec![443] };
        assert_eq!(ask(&rules, b"CONNECT a:25 HTTP/1.1\r\n\r\n"), Said::Refuse(Refusal::Proof));
    }

    #[test]
    fn what_stands_behind_the_request_is_the_servers() {
        let mut session = Session::default();
        let rules = Rules::default();
        assert_eq!(session.handle_bytes(&rules, b"CONNECT a:1 HTTP/1.0\r\nHost: a:1\r\n\r"), Said::Waiting);
        assert_eq!(session.handle_bytes(&rules, b"\n\x16\x03"), dial("a", 1, b"\x16\x03"));
    }

    #[test]
    fn anything_else_is_refused() {
        let rules = Rules::default();
        for (request, refusal) in [
            ("GET http://example.net/ HTTP/1.1", Refusal::Method),
            ("CONNECT a:1", Refusal::Malformed),
            ("CONNECT a:1 HTTP/2", Refusal::Malformed),
            ("CONNECT a:1 HTTP/1.1 x", Refusal::Malformed),
            ("CONNECT a:0 HTTP/1.1", Refusal::Malformed),
            ("CONNECT a:+1 HTTP/1.1", Refusal::Malformed),
            ("CONNECT :1 HTTP/1.1", Refusal::Malformed),
            ("CONNECT 2001:db8::1:1 HTTP/1.1", Refusal::Malformed),
            ("CONNECT [::1:1 HTTP/1.1", Refusal::Malformed),
        ] {
            assert_eq!(
                ask(&rules, format!("{request}\r\n\r\n").as_bytes()),
                Said::Refuse(refusal),
                "{request}"
            );
        }
        for (len, is_too_long) in [(HTTP_CONNECT_HEAD_MAX, false), (HTTP_CONNECT_HEAD_MAX + 1, true)] {
            let mut request = b"CONNECT a:1 HTTP/1.1\r\nX: ".to_vec();
            request.resize(len - END.len(), b'a');
            request.extend_from_slice(END);
            let expected = if is_too_long { Said::Refuse(Refusal::Malformed) } else { dial("a", 1, b"") };
            assert_eq!(ask(&rules, &request), expected, "{len}");
            let mut slow = Session::default();
            let mut said = request.iter().map(|byte| slow.handle_bytes(&rules, &[*byte]));
            assert_eq!(said.find(|said| *said != Said::Waiting), Some(expected), "{len}");
        }
        let endless = vec![b'a'; HTTP_CONNECT_HEAD_MAX + 1];
        assert_eq!(ask(&rules, &endless), Said::Refuse(Refusal::Malformed));
        assert_eq!(ask(&rules, &endless[1..]), Said::Waiting);
    }

    proptest! {
        #[test]
        fn it_is_total_and_never_dials_what_it_may_not(
            bytes in prop::collection::vec(prop::sample::select(b"CONNECT a:443[] HTTP/1.1\r\n".to_vec()), 0..120),
        ) {
            let rules = Rules { login: None, ports: vec![443] };
            let request = [b"CONNECT ".as_slice(), &bytes, b" HTTP/1.1\r\n\r\n"].concat();
            if let Said::Dial { host, port, .. } = ask(&rules, &request) {
                prop_assert_eq!(port, 443);
                prop_assert!(!host.is_empty() && !host.contains(['\r', '\n', ' ']));
            }
        }
    }
}
