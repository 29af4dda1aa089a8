//! `[listen.web]`: what is done with what is no TURN.

use std::net::IpAddr;
use std::net::SocketAddr;

use toml::de::DeValue;

use super::file::article;
use super::read::Located;
use super::read::Reader;
use super::value::Complaint;
use super::value::parse_endpoint;

/// Where a web site is, as a rule.
const PORT_USUAL: u16 = 8080;
const NAME_LEN_MAX: usize = 253;
const LABEL_LEN_MAX: usize = 63;

/// `[listen.web]` as it was read.
#[derive(Debug)]
pub(crate) struct CheckedWeb {
    pub(crate) upstream: Located<Option<SocketAddr>>,
    pub(crate) upstream_proxy: Located<bool>,
    pub(crate) upstream_h2: Located<bool>,
    pub(crate) passthrough: Vec<Located<String>>,
    pub(crate) passthrough_to: Located<Option<SocketAddr>>,
    pub(crate) passthrough_proxy: Located<bool>,
    pub(crate) total: Located<u32>,
}

/// What is done with what is no TURN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSettings {
    /// Where HTTP goes.
    pub upstream: Option<WebSite>,
    /// Whether it speaks HTTP/2 with prior knowledge.
    pub upstream_h2: bool,
    /// Names that are passed through still encrypted, in lower case.
    pub passthrough: Vec<String>,
    /// Where connections for them go.
    pub passthrough_to: Option<WebSite>,
    /// Connections to web sites at a time, at least 1 and at most half of all.
    pub total: u32,
}

/// A web site behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSite {
    /// Its address.
    pub address: SocketAddr,
    /// Whether it wants a PROXY header of version 2.
    pub proxy: bool,
}

impl CheckedWeb {
    /// The settings of a server that has places for `streams_total` connections.
    pub(crate) fn build(self, streams_total: u32) -> WebSettings {
        let site = |address: Option<SocketAddr>, proxy| address.map(|address| WebSite { address, proxy });
        WebSettings {
            upstream: site(self.upstream.value, self.upstream_proxy.value),
            upstream_h2: self.upstream_h2.value,
            passthrough: self.passthrough.into_iter().map(|name| name.value).collect(),
            passthrough_to: site(self.passthrough_to.value, self.passthrough_proxy.value),
            total: self.total.value.min(streams_total / 2).max(1),
        }
    }
}

impl Reader<'_, '_> {
    pub(crate) fn web(&mut self) -> CheckedWeb {
        let proxy = [("off", false), ("v2", true)];
        CheckedWeb {
            upstream: self.site("listen.web.upstream"),
            upstream_proxy: self.word("listen.web.upstream_proxy", &proxy),
            upstream_h2: self.flag("listen.web.upstream_h2"),
            passthrough: self.web_names("listen.web.passthrough"),
            passthrough_to: self.site("listen.web.passthrough_to"),
            passthrough_proxy: self.word("listen.web.passthrough_proxy", &proxy),
            total: self.count("limits.web_total"),
        }
    }

    /// The address of a web site, or nothing for `"off"`.
    fn site(&mut self, path: &str) -> Located<Option<SocketAddr>> {
        self.one(path, |_, value| {
            const EXAMPLE: &str = "write the site's address and port, \"127.0.0.1:8080\", or \"off\"";
            let text = value.as_str().ok_or_else(|| {
                Complaint::new(format!("an address is expected, not {}", article(value)), EXAMPLE)
            })?;
            if text.starts_with("https://") {
                let fix = "write the address where it takes HTTP without TLS; a site that keeps its own certificate is for \
                           `passthrough_to`";
                return Err(Complaint::new("an address is expected, not a URL", fix));
            }
            match (text, text.strip_prefix("http://")) {
                ("" | "off", _) => Ok(None),
                (_, Some(bare)) => Err(Complaint::new(
                    "an address is expected, not a URL",
                    format!("write \"{}\"", bare.split('/').next().unwrap_or(bare)),
                )),
                _ => parse_endpoint(text, PORT_USUAL).map(Some),
            }
        })
    }

    /// Names of hosts, in lower case.
    fn web_names(&mut self, path: &str) -> Vec<Located<String>> {
        self.array(path, |reader, key, span, value| {
            let read = match value {
                DeValue::String(name) => host(name),
                _ => Err(Complaint::new(
                    format!("the name of a host is expected, not {}", article(value)),
                    "write it in quotes: \"www.example.net\"",
                )),
            };
            read.map_err(|complaint| reader.error(key, span, complaint)).ok()
        })
    }
}

fn host(name: &str) -> Result<String, Complaint> {
    const EXAMPLE: &str = "write \"www.example.net\", or \"*.example.net\" for every name of one more label";
    if name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err(Complaint::new(
            format!("`{name}` is an address, and clients ask for names only"),
            EXAMPLE,
        ));
    }
    let is_label = |label: &str| {
        (1..=LABEL_LEN_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let bare = name.strip_prefix("*.").unwrap_or(name);
    if name.len() > NAME_LEN_MAX || !bare.split('.').all(is_label) {
        return Err(Complaint::new(format!("`{name}` is no name of a host"), EXAMPLE));
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts() {
        for (name, read) in [
            ("www.example.net", "www.example.net"),
            ("WWW.Example.Net", "www.example.net"),
            ("*.example.net", "*.example.net"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(host(name).as_deref(), Ok(read));
        }
        let long = "a.".repeat(126) + "ab";
        for name in [
            "",
            "*",
            "*.",
            "*.*.example.net",
            "a.*.example.net",
            "www.example.net.",
            ".example.net",
            "a..b",
            "a b",
            "bücher.example",
            "https://www.example.net",
            "www.example.net:443",
            "203.0.113.7",
            "2001:db8::1",
            "[2001:db8::1]",
            "-a.example",
            "a-.example",
            &long,
        ] {
            assert!(host(name).is_err(), "{name:?} was taken");
        }
    }
}
