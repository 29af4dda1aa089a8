//! What is done with what is no TURN.

use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::types::limits;

/// What is done with what is no TURN. The default is a server without a web site.
#[derive(Clone, Debug)]
pub struct Web {
    /// Where HTTP goes; `None` for a 404.
    pub upstream: Option<Target>,
    /// Whether [`Self::upstream`] speaks HTTP/2 with prior knowledge, so that clients may be offered it.
    pub upstream_h2: bool,
    /// Names that are passed through still encrypted, in lower case; `*.` in front stands for one more label.
    pub passthrough: Vec<String>,
    /// Where connections for these names go.
    pub passthrough_to: Option<Target>,
    /// Connections to web sites at a time, at least 1.
    pub total: u32,
    /// How long each step may take.
    pub deadlines: Deadlines,
}

/// A web site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// Whether it wants a PROXY header of version 2.
    pub proxy: bool,
}

/// How long each step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For the site to accept a connection.
    pub connect: Duration,
    /// With nothing carried either way.
    pub idle: Duration,
    /// To tell a client that there is no site.
    pub goodbye: Duration,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            upstream: None,
            upstream_h2: false,
            passthrough: Vec::new(),
            passthrough_to: None,
            total: limits::WEB_TOTAL_DEFAULT,
            deadlines: Deadlines::default(),
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: limits::WEB_CONNECT_DEADLINE,
            idle: limits::WEB_IDLE_MAX,
            goodbye: limits::WEB_GOODBYE_MAX,
        }
    }
}

impl Web {
    /// Whether a client that asks for `name` is passed through still encrypted.
    #[must_use]
    pub fn passes_through(&self, name: &str) -> bool {
        self.passthrough.iter().any(|pattern| match pattern.strip_prefix("*.") {
            None => pattern.eq_ignore_ascii_case(name),
            Some(domain) => name
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && domain.eq_ignore_ascii_case(rest)),
        })
    }

    /// The protocol names of HTTP that clients may be offered.
    #[must_use]
    pub fn protocols(&self) -> &'static [&'static [u8]] {
        match (self.upstream.is_some(), self.upstream_h2) {
            (true, true) => &[b"h2", b"http/1.1"],
            (true, false) => &[b"http/1.1"],
            (false, _) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_and_a_star_is_one_label() {
        let passthrough = ["www.example.net", "*.example.org"].map(str::to_owned).to_vec();
        let web = Web { passthrough, ..Web::default() };
        for name in ["www.example.net", "WWW.Example.Net", "a.example.org", "A.EXAMPLE.ORG"] {
            assert!(web.passes_through(name), "{name}");
        }
        for name in [
            "example.net",
            "a.www.example.net",
            "www.example.net.",
            "www.example.netx",
            "example.org",
            ".example.org",
            "a.b.example.org",
            "*.example.com",
            "",
        ] {
            assert!(!web.passes_through(name), "{name}");
        }
        assert!(!Web::default().passes_through("www.example.net"));
    }

    #[test]
    fn http_is_offered_only_where_it_is_spoken() {
        let target = Target { address: ([127, 0, 0, 1], 80).into(), proxy: false };
        let web = |upstream, upstream_h2| Web { upstream, upstream_h2, ..Web::default() };
        assert_eq!(web(None, true).protocols(), &[] as &[&[u8]]);
        assert_eq!(web(Some(target), false).protocols(), [b"http/1.1"]);
        assert_eq!(web(Some(target), true).protocols(), [&b"h2"[..], b"http/1.1"]);
    }
}
