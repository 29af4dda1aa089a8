//! An HTTP proxy as its user names it, `http://[USER:PASSWORD@]HOST:PORT`, and why no way leads through it.

use std::fmt;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use super::ConnectProgress;
use super::HttpConnect;
use super::ProxyLogin;

/// Characters of a host's name (RFC 1035 § 2.3.4).
const HOST_LEN_MAX: usize = 253;

/// An HTTP proxy. What it is shown as has no name of a user and no password in it.
#[derive(Clone, Debug)]
pub struct HttpProxy {
    host: String,
    port: u16,
    login: Option<ProxyLogin>,
}

/// Which part of a proxy's URL is wrong. It quotes nothing, for the password may stand anywhere in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyUrlError {
    /// It does not begin with `http://`.
    Scheme,
    /// The user has no password, or one of them cannot be said in the standard's way.
    Login,
    /// No host, or none that can be one.
    Host,
    /// No port from 1 to 65535.
    Port,
    /// There is something behind the port.
    Behind,
}

/// Why no way leads through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyFailure {
    /// It wants to know who asks (407), and was not told.
    LoginWanted,
    /// It does not take the user and the password that it was told (407).
    LoginRefused,
    /// Any other answer than a success.
    Refused {
        /// The status code (RFC 9110 § 15).
        status: u16,
    },
    /// What it answers is no HTTP, or its head is longer than
    /// [`limits::HTTP_CONNECT_HEAD_MAX`](crate::proto::types::limits::HTTP_CONNECT_HEAD_MAX).
    NotHttp,
    /// It ended the connection before its answer was whole.
    Cut,
    /// It did not answer in time.
    Silent,
    /// Datagrams were to go through it: it carries connections alone.
    Datagrams,
}

impl HttpProxy {
    /// Reads a URL. User and password may be percent-encoded (RFC 3986 § 2.1); they end at the last `@`.
    ///
    /// # Errors
    /// Which part is wrong.
    pub fn parse(url: &str) -> Result<Self, ProxyUrlError> {
        let scheme = url.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
        let rest = &url[scheme.ok_or(ProxyUrlError::Scheme)?.len()..];
        let (login, place) = match rest.rsplit_once('@') {
            Some((who, place)) => (Some(login(who).ok_or(ProxyUrlError::Login)?), place),
            None => (None, rest),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        if place.contains(['/', '?', '#']) {
            return Err(ProxyUrlError::Behind);
        }
        let (host, port) = place.rsplit_once(':').ok_or(ProxyUrlError::Port)?;
        let digits = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        let port = digits.and_then(|port| port.parse().ok()).filter(|port| *port > 0);
        Ok(Self {
            host: host_of(host).ok_or(ProxyUrlError::Host)?,
            port: port.ok_or(ProxyUrlError::Port)?,
            login,
        })
    }

    /// Its name or address, an IPv6 one without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Begins a tunnel to `server`.
    #[must_use]
    pub fn tunnel(&self, server: SocketAddr) -> HttpConnect {
        // A zone means nothing to another machine.
        let server = SocketAddr::new(server.ip(), server.port().max(1));
        HttpConnect::new(&server.to_string(), self.login.as_ref()).expect("an address is an authority")
    }

    /// What it is to be told this of a tunnel of ours, if it is a failure.
    #[must_use]
    pub const fn failure(&self, progress: &ConnectProgress) -> Option<ProxyFailure> {
        match (progress, &self.login) {
            (ConnectProgress::Waiting | ConnectProgress::Open { .. }, _) => None,
            (ConnectProgress::Refused { status: 407 }, None) => Some(ProxyFailure::LoginWanted),
            (ConnectProgress::Refused { status: 407 }, Some(_)) => Some(ProxyFailure::LoginRefused),
            (ConnectProgress::Refused { status }, _) => Some(ProxyFailure::Refused { status: *status }),
            (ConnectProgress::Broken, _) => Some(ProxyFailure::NotHttp),
        }
    }
}

impl fmt::Display for HttpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            write!(f, "http://[{host}]:{port}")
        } else {
            write!(f, "http://{host}:{port}")
        }
    }
}

fn login(who: &str) -> Option<ProxyLogin> {
    let (name, password) = who.split_once(':')?;
    ProxyLogin::new(&decoded(name)?, &decoded(password)?)
}

/// Without percent-encoding. A `%` that begins none is itself, for many write their passwords as they are.
fn decoded(text: &str) -> Option<String> {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let is_pair = pair.is_some_and(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match pair.filter(|_| *byte == b'%' && is_pair).and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(meant) => {
                out.push(meant);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

fn host_of(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(|ip| ip.to_string());
    }
    let is_name = !host.is_empty()
        && host.len() <= HOST_LEN_MAX
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    is_name.then(|| host.to_owned())
}

impl fmt::Display for ProxyUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the URL of a proxy begins with http://",
            Self::Login => {
                "in the URL of a proxy stands NAME:PASSWORD before the @, without control characters, and with %3A for a \
                 colon in the name, which Basic cannot say"
            }
            Self::Host => "the URL of a proxy names no host",
            Self::Port => "the URL of a proxy ends with a port from 1 to 65535",
            Self::Behind => "nothing stands behind the port in the URL of a proxy",
        })
    }
}

impl std::error::Error for ProxyUrlError {}

impl ProxyFailure {
    /// What its user can do about it, if there is anything to be said.
    #[must_use]
    pub const fn cure(self) -> Option<&'static str> {
        match self {
            Self::LoginWanted => Some("give it a user and a password: http://NAME:PASSWORD@HOST:PORT"),
            Self::LoginRefused => Some("check the name and the password, and that it takes Basic"),
            Self::Refused { status: 403 } => {
                Some("its rules forbid it; most proxies let tunnels lead to port 443 alone")
            }
            Self::Refused { status: 502 | 504 } => {
                Some("check the server's address and port, as the proxy sees them")
            }
            Self::Refused { status: 404 | 405 | 501 } | Self::NotHttp => {
                Some("check its address and port: an HTTP proxy that knows CONNECT has to listen there")
            }
            Self::Datagrams => Some("reach the server by TCP or TLS"),
            Self::Refused { .. } | Self::Cut | Self::Silent => None,
        }
    }
}

impl fmt::Display for ProxyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoginWanted => f.write_str("the proxy wants a user and a password (407)"),
            Self::LoginRefused => f.write_str("the proxy does not take this user and password (407)"),
            Self::Refused { status: status @ 300..=399 } => {
                write!(f, "the proxy points elsewhere ({status}), which means nothing for a tunnel")
            }
            Self::Refused { status: 400 } => f.write_str("the proxy does not understand the request (400)"),
            Self::Refused { status: 403 } => f.write_str("the proxy forbids a tunnel to this server (403)"),
            Self::Refused { status: status @ (404 | 405 | 501) } => {
                write!(f, "what listens there makes no tunnels ({status})")
            }
            Self::Refused { status: status @ (502 | 504) } => {
                write!(f, "the proxy cannot reach the server ({status})")
            }
            Self::Refused { status: status @ (429 | 503) } => {
                write!(f, "the proxy is overloaded ({status})")
            }
            Self::Refused { status } => write!(f, "the proxy refuses with status {status}"),
            Self::NotHttp => f.write_str("what answers in the place of the proxy speaks no HTTP"),
            Self::Cut => f.write_str("the proxy ended the connection before it had answered"),
            Self::Silent => f.write_str("the proxy does not answer in time"),
            Self::Datagrams => f.write_str("no UDP and no DTLS goes through an HTTP proxy"),
        }
    }
}

impl std::error::Error for ProxyFailure {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> HttpProxy {
        HttpProxy::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn a_proxy_is_a_host_and_a_port_with_or_without_a_user() {
        for (url, host, port, shown) in [
            ("http://192.0.2.9:8080/", "192.0.2.9", 8_080, "http://192.0.2.9:8080"),
            ("HTTP://proxy.example.net:3128", "proxy.example.net", 3_128, "http://proxy.example.net:3128"),
            ("http://[2001:db8::9]:80", "2001:db8::9", 80, "http://[2001:db8::9]:80"),
        ] {
            let proxy = parsed(url);
            assert_eq!((proxy.host(), proxy.port(), proxy.to_string().as_str()), (host, port, shown));
            assert!(proxy.login.is_none());
        }
        // RFC 7617 § 2: "Aladdin", "open sesame".
        let known = parsed("http://Aladdin:open%20sesame@192.0.2.9:8080");
        let request = known.tunnel("192.0.2.1:443".parse().unwrap());
        let request = String::from_utf8_lossy(request.request()).into_owned();
        assert!(request.contains("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"), "{request}");
        for (password, is) in
            [("p@ss", "p@ss"), ("100%", "100%"), ("%zz", "%zz"), ("a:b", "a:b"), ("%40", "@"), ("", "")]
        {
            let proxy = parsed(&format!("http://alice:{password}@h:1"));
            let meant = HttpConnect::new("a:1", ProxyLogin::new("alice", is).as_ref()).unwrap();
            let said = HttpConnect::new("a:1", proxy.login.as_ref()).unwrap();
            assert_eq!(said.request(), meant.request(), "{password}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_no_password_is_ever_shown() {
        for (url, why) in [
            ("", ProxyUrlError::Scheme),
            ("192.0.2.9:8080", ProxyUrlError::Scheme),
            ("https://a:sesame@192.0.2.9:8080", ProxyUrlError::Scheme),
            ("ähttp:/", ProxyUrlError::Scheme),
            ("http://sesame@192.0.2.9:8080", ProxyUrlError::Login),
            ("http://a:ses%0Dame@192.0.2.9:8080", ProxyUrlError::Login),
            ("http://a%3Ab:sesame@192.0.2.9:8080", ProxyUrlError::Login),
            ("http://a:%ff@192.0.2.9:8080", ProxyUrlError::Login),
            ("http://:8080", ProxyUrlError::Host),
            ("http://a b:8080", ProxyUrlError::Host),
            ("http://[192.0.2.9]:8080", ProxyUrlError::Host),
            ("http://2001:db8::9:80", ProxyUrlError::Host),
            ("http://192.0.2.9", ProxyUrlError::Port),
            ("http://192.0.2.9:+80", ProxyUrlError::Port),
            ("http://192.0.2.9:0", ProxyUrlError::Port),
            ("http://192.0.2.9:70000", ProxyUrlError::Port),
            ("http://192.0.2.9:80/x", ProxyUrlError::Behind),
        ] {
            let error = HttpProxy::parse(url).expect_err(url);
            assert_eq!(error, why, "{url}");
            assert!(!error.to_string().contains("sesame"));
        }
        let proxy = parsed("http://alice:sesame@192.0.2.9:8080");
        let tunnel = proxy.tunnel("192.0.2.1:443".parse().unwrap());
        let shown = format!("{proxy} {proxy:?} {proxy:#?} {tunnel:?}");
        assert!(
            !shown.contains("sesame") && !shown.contains("alice") && !shown.contains("YWxpY2U"),
            "{shown}"
        );
    }

    #[test]
    fn each_status_has_its_sentence() {
        let (plain, known) = (parsed("http://h:1"), parsed("http://a:b@h:1"));
        let refused = |status| ConnectProgress::Refused { status };
        assert_eq!(plain.failure(&refused(407)), Some(ProxyFailure::LoginWanted));
        assert_eq!(known.failure(&refused(407)), Some(ProxyFailure::LoginRefused));
        assert_eq!(plain.failure(&ConnectProgress::Broken), Some(ProxyFailure::NotHttp));
        assert_eq!(plain.failure(&ConnectProgress::Waiting), None);
        for status in 300..600 {
            let failure = known.failure(&refused(status)).expect("none of them is a success");
            assert!(failure.to_string().contains(&status.to_string()), "{failure}");
        }
        let cure = |failure: ProxyFailure| failure.cure().unwrap_or_default();
        assert!(cure(ProxyFailure::LoginWanted).contains("NAME:PASSWORD@"));
        assert!(cure(ProxyFailure::Refused { status: 403 }).contains("443"));
        assert!(ProxyFailure::Refused { status: 502 }.to_string().contains("cannot reach the server"));
    }
}
