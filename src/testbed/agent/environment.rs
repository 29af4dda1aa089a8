//! What the laboratory tells a program, by its environment.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::ice::Role;
use crate::ice::TurnServer;
use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::proto::client::Credential;
use crate::proto::client::HttpProxy;
use crate::proto::client::Proof;
use crate::proto::types::Secret;
use crate::proto::types::Transport;

/// What the laboratory tells.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Left controls.
    pub role: Role,
    /// Ways to the server. All but the first of each transport are through the proxy.
    pub(super) servers: Vec<TurnServer>,
    /// Which of them are.
    pub(super) by_proxy: Vec<bool>,
    pub(super) proxy: Option<HttpProxy>,
    /// Who vouches for the server: a file in PEM.
    pub(super) authority: Option<PathBuf>,
    /// Where the other side is told things.
    pub(super) signalling: PathBuf,
    /// How long a call has to last for what the laboratory wants to see.
    pub hold: Option<Duration>,
}

impl Environment {
    /// Reads it with `of`, which answers what a variable holds.
    ///
    /// # Errors
    /// Which variable is missing or wrong.
    pub fn read(of: impl Fn(&str) -> Option<String>) -> Result<Self, Fault> {
        let need = |name: &str| {
            of(name).filter(|value| !value.is_empty()).ok_or_else(|| {
                Fault::new(FaultKind::Request, format!("the environment variable {name} is not set"))
                    .cure("`swingbridge testbed run` sets it for the programs that it starts")
            })
        };
        let role = match need("SWINGBRIDGE_ROLE")?.as_str() {
            "left" => Role::Controlling,
            "right" => Role::Controlled,
            other => return Err(wrong("SWINGBRIDGE_ROLE", other, "left or right")),
        };
        let credential = Credential {
            username: need("SWINGBRIDGE_USERNAME")?.into_bytes().into(),
            proof: Proof::Password(Secret::new(need("SWINGBRIDGE_PASSWORD")?.as_bytes())),
            token: None,
        };
        let proxy = match of("SWINGBRIDGE_PROXY") {
            Some(text) => Some(proxy(&text)?),
            None => None,
        };
        let (mut servers, mut by_proxy) = (Vec::new(), Vec::new());
        for uri in need("SWINGBRIDGE_TURN_URIS")?.split_whitespace() {
            let (address, transport) = server(uri).ok_or_else(|| {
                wrong("SWINGBRIDGE_TURN_URIS", uri, "turn:IP:PORT?transport=udp or tcp, or turns:IP:PORT")
            })?;
            servers.push(TurnServer::new(address, transport, credential.clone()));
            by_proxy.push(false);
            if proxy.is_some() && transport == Transport::Tls {
                servers.push(TurnServer::new(address, transport, credential.clone()));
                by_proxy.push(true);
            }
        }
        let signalling = need("SWINGBRIDGE_SIGNALLING")?.into();
        let authority = of("SWINGBRIDGE_AUTHORITY").map(PathBuf::from);
        let hold = match of("SWINGBRIDGE_SECONDS") {
            Some(text) => {
                let seconds = text.parse().map_err(|_| wrong("SWINGBRIDGE_SECONDS", &text, "a number"))?;
                Some(Duration::from_secs(seconds))
            }
            None => None,
        };
        Ok(Self { role, servers, by_proxy, proxy, authority, signalling, hold })
    }

    /// Leaves out the ways to the server that are by another transport.
    pub fn only(&mut self, transport: Transport) {
        let is_it = |server: &TurnServer| server.transport == transport;
        let both = self.servers.drain(..).zip(self.by_proxy.drain(..));
        (self.servers, self.by_proxy) = both.filter(|(server, _)| is_it(server)).unzip();
    }
}

/// With an address: nobody answers for names in the laboratory. What is wrong is not quoted, for a password may stand in it.
fn proxy(text: &str) -> Result<HttpProxy, Fault> {
    let wrong = |why: String| {
        Fault::new(FaultKind::Request, format!("SWINGBRIDGE_PROXY: {why}"))
            .cure("it has to be http://[USER:PASSWORD@]IP:PORT")
    };
    let proxy = HttpProxy::parse(text).map_err(|error| wrong(error.to_string()))?;
    let is_address = proxy.host().parse::<IpAddr>().is_ok();
    if is_address { Ok(proxy) } else { Err(wrong("it names no address".to_owned())) }
}

fn wrong(name: &str, found: &str, expected: &str) -> Fault {
    Fault::new(FaultKind::Request, format!("{name} holds `{found}`; it has to be {expected}"))
}

/// Of a URI (RFC 7065) with an address in it, not a name: nobody answers for names in the laboratory.
fn server(uri: &str) -> Option<(SocketAddr, Transport)> {
    let (rest, is_secure) = match uri.split_once(':')? {
        ("turn", rest) => (rest, false),
        ("turns", rest) => (rest, true),
        _ => return None,
    };
    let (address, transport) = rest.split_once("?transport=").unwrap_or((rest, ""));
    let transport = match (is_secure, transport) {
        (false, "" | "udp") => Transport::Udp,
        (false, "tcp") => Transport::Tcp,
        (true, "" | "tcp") => Transport::Tls,
        _ => return None,
    };
    Some((address.parse().ok()?, transport))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changed: &str, value: Option<&str>) -> Result<Environment, String> {
        let of = |name: &str| {
            let held = match name {
                "SWINGBRIDGE_ROLE" => "left",
                "SWINGBRIDGE_USERNAME" => "testbed",
                "SWINGBRIDGE_PASSWORD" => "secret",
                "SWINGBRIDGE_SIGNALLING" => "left.sock",
                "SWINGBRIDGE_TURN_URIS" => {
                    "turn:192.0.2.1:3478?transport=udp turn:192.0.2.1:3478?transport=tcp turns:192.0.2.1:443"
                }
                _ => "",
            };
            let held = if name == changed { value } else { Some(held).filter(|held| !held.is_empty()) };
            held.map(str::to_owned)
        };
        Environment::read(of).map_err(|fault| fault.what)
    }

    #[test]
    fn every_way_to_the_server_is_read_and_the_proxy_is_one_more() {
        let plain = read("", None).expect("sound");
        let transports: Vec<_> = plain.servers.iter().map(|server| server.transport).collect();
        assert_eq!(transports, [Transport::Udp, Transport::Tcp, Transport::Tls]);
        assert_eq!(plain.role, Role::Controlling);
        let proxied = read("SWINGBRIDGE_PROXY", Some("http://192.0.2.9:8080")).expect("sound");
        assert_eq!(proxied.by_proxy, [false, false, false, true]);
        let mut tls = proxied;
        tls.only(Transport::Tls);
        assert_eq!((tls.servers.len(), &tls.by_proxy[..]), (2, &[false, true][..]));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for name in
            ["SWINGBRIDGE_ROLE", "SWINGBRIDGE_USERNAME", "SWINGBRIDGE_TURN_URIS", "SWINGBRIDGE_SIGNALLING"]
        {
            assert!(read(name, None).expect_err("missing").contains(name));
        }
        for (name, value) in [
            ("SWINGBRIDGE_ROLE", "middle"),
            ("SWINGBRIDGE_TURN_URIS", "turn:turn.example.net"),
            ("SWINGBRIDGE_TURN_URIS", "turns:192.0.2.1:443?transport=udp"),
            ("SWINGBRIDGE_PROXY", "192.0.2.9:8080"),
            ("SWINGBRIDGE_PROXY", "http://a:sesame@proxy:8080"),
            ("SWINGBRIDGE_PROXY", "http://a:sesame@192.0.2.9"),
            ("SWINGBRIDGE_SECONDS", "3s"),
        ] {
            let why = read(name, Some(value)).expect_err("wrong");
            assert!(why.contains(name) && !why.contains("sesame"), "{value}: {why}");
        }
    }
}
