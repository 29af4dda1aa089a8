//! Makes lines to one server: what all of them share is made once.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;

use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::load::plan::Carrier;
use crate::load::plan::Server;
use crate::load::plan::Trust;
use crate::net::Authority;
use crate::net::dial;
use crate::net::outward;
use crate::net::outward::Believed;
use crate::net::outward::OutwardError;
use crate::proto::client::HttpProxy;
use crate::proto::client::ProxyFailure;
use crate::proto::types::Dialect;
use crate::proto::wire::pseudo_tls;

use super::Line;
use super::Way;
use super::stream::Greeting;
use super::stream::Stream;
use super::tunnel::Tunnel;

/// The protocol name of TURN (RFC 7443).
const ALPN: &[u8] = b"stun.turn";

/// Makes lines to one server. Can be shared by threads.
#[derive(Clone, Debug)]
pub struct Dialler {
    to: SocketAddr,
    kind: Kind,
    /// What connections go through, and where to from there.
    proxy: Option<(HttpProxy, SocketAddr)>,
}

#[derive(Clone, Debug)]
enum Kind {
    Tcp,
    Tls {
        name: ServerName<'static>,
        config: Arc<ClientConfig>,
    },
    PseudoTls,
    #[cfg(feature = "dtls")]
    Dtls(super::dtls::Terms),
}

impl Dialler {
    /// For `server`; `None` where its clients send datagrams in the clear, which need no line.
    ///
    /// # Errors
    /// Where the authorities cannot be read, a name cannot stand in a certificate, this build lacks the carrier, or datagrams
    /// were to go through a proxy.
    pub fn new(server: &Server) -> Result<Option<Self>, Fault> {
        if server.proxy.is_some() && !server.carrier.is_stream() {
            return Err(through_no_proxy(server));
        }
        let kind = match server.carrier {
            Carrier::Udp | Carrier::LegacyUdp => return Ok(None),
            Carrier::Tcp => Kind::Tcp,
            Carrier::LegacyTcp => Kind::PseudoTls,
            Carrier::Tls => {
                Kind::Tls { name: name_of(&server.host)?, config: Arc::new(config(&server.trust)?) }
            }
            #[cfg(feature = "dtls")]
            Carrier::Dtls => Kind::Dtls(super::dtls::Terms::new(server)?),
            #[cfg(not(feature = "dtls"))]
            Carrier::Dtls => {
                let what = "this build cannot speak DTLS: it lacks the feature `dtls`";
                return Err(Fault::new(FaultKind::Request, what)
                    .cure("build with `cargo build --release --features dtls`, or write turns:HOST for TLS over TCP"));
            }
        };
        let proxy = server.proxy.as_ref().map(|proxy| (proxy.url.clone(), server.address));
        Ok(Some(Self { to: server.first_hop(), kind, proxy }))
    }

    /// Begins a line, from `from` where that is given; port 0 there is one that the kernel chooses.
    ///
    /// # Errors
    /// What the kernel says at once: `AddrInUse` and `AddrNotAvailable` where another port may do. What it says later is
    /// in the line's standing.
    pub fn dial(&self, from: Option<SocketAddr>, now: Instant) -> io::Result<Line> {
        let (dialect, greeting) = match &self.kind {
            Kind::Tcp => (Dialect::Rfc8656, Greeting::None),
            Kind::Tls { name, config } => {
                let connection = ClientConnection::new(Arc::clone(config), name.clone());
                (Dialect::Rfc8656, Greeting::Tls(Box::new(connection.map_err(io::Error::other)?)))
            }
            Kind::PseudoTls => {
                let mut random = [0; 32];
                getrandom::fill(&mut random).map_err(io::Error::other)?;
                (Dialect::MsTurn, Greeting::PseudoTls(pseudo_tls::client_hello(&random)))
            }
            #[cfg(feature = "dtls")]
            Kind::Dtls(terms) => {
                let datagrams = terms.begin(dial::datagrams(self.to, from)?, now);
                return Ok(Line::new(Way::Dtls(Box::new(datagrams)), now));
            }
        };
        let tunnel = self.proxy.as_ref().map(|(proxy, server)| Tunnel::new(proxy.clone(), *server));
        let stream = Stream::new(dial::stream(self.to, from)?, dialect, tunnel, greeting);
        Ok(Line::new(Way::Stream(Box::new(stream)), now))
    }
}

fn through_no_proxy(server: &Server) -> Fault {
    let what = format!("{}: {}", server.uri, ProxyFailure::Datagrams);
    Fault::new(FaultKind::Request, what)
        .cure("write turn:HOST?transport=tcp, or turns:HOST for TLS, or leave --proxy out")
}

pub(in crate::load) fn name_of(host: &str) -> Result<ServerName<'static>, Fault> {
    ServerName::try_from(host.to_owned()).map_err(|_| {
        let what = format!("{host:?} can stand in no certificate, so no server can prove to be it");
        Fault::new(FaultKind::Request, what).cure("write the name that the server's certificate is for")
    })
}

fn config(trust: &Trust) -> Result<ClientConfig, Fault> {
    let mut config = believing(trust, outward::believing)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Thousands of clients that are one program would resume each other's sessions, and cost the server less than real ones.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// What `make` makes of those who are believed.
pub(in crate::load) fn believing<T>(
    trust: &Trust,
    make: impl FnOnce(Believed<'_>) -> Result<T, OutwardError>,
) -> Result<T, Fault> {
    let made = match trust {
        Trust::System => make(Believed::System),
        Trust::Authority(file) => make(Believed::Of(&authority(file)?)),
        Trust::Anyone => make(Believed::Anyone),
    };
    made.map_err(|why| {
        Fault::new(FaultKind::Machine, why.to_string())
            .cure("name the authority with --authority FILE, or install the system's ca-certificates")
    })
}

/// The authorities of a PEM file.
fn authority(file: &Path) -> Result<Authority, Fault> {
    let show = file.display();
    let request = |what: String| Fault::new(FaultKind::Request, what);
    let pem =
        fs::read(file).map_err(|error| request(format!("the file `{show}` cannot be read: {error}")))?;
    Authority::from_pem(&pem).map_err(|error| {
        request(format!("the file `{show}` holds no authority that could be believed: {error}"))
            .cure("--authority takes certificates in PEM, each with BEGIN CERTIFICATE before it")
    })
}
