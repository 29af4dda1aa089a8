//! Why a line did not come up, or went down: a few words to count by, and one plain sentence.

use std::io;

use rustls::CertificateError;

use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::load::plan::Carrier;
use crate::load::plan::Proxy;
use crate::load::plan::Server;
use crate::proto::client::ProxyFailure;

/// Why a line did not come up, or went down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens there.
    Refused,
    /// No way leads there.
    Unreachable,
    /// No answer to the attempt to connect.
    NoAnswer,
    /// The handshake did not end in time.
    HandshakeStalled,
    /// The certificate is not believed.
    Certificate(CertificateFlaw),
    /// The handshake failed otherwise: what the library says.
    Handshake(String),
    /// What answered to the hello does not speak the handshake that was asked for.
    NotSpoken,
    /// The server ended the connection before it was up.
    TurnedAway,
    /// The server ended it.
    Ended,
    /// The server, or something on the way, broke it off.
    Reset,
    /// What came is no message of the dialect.
    Framing,
    /// What the kernel says otherwise.
    Other(io::ErrorKind),
    /// No way leads through the proxy.
    Proxy(ProxyFailure),
}

/// Why a certificate is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateFlaw {
    /// It is for another name.
    Name,
    /// No authority that is believed signed it.
    Authority,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// It may not be used for a server.
    Purpose,
    /// Something else: what the library says.
    Other(String),
}

impl Failure {
    /// What the kernel or the library of TLS said while a line came up.
    pub(super) fn of_handshake(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(flaw)) => Self::Certificate(CertificateFlaw::of(flaw)),
            Some(rustls::Error::InvalidMessage(_)) => Self::NotSpoken,
            Some(other) => Self::Handshake(other.to_string()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::TurnedAway,
            None => Self::of(error),
        }
    }

    /// What the kernel said.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unreachable,
            io::ErrorKind::TimedOut => Self::NoAnswer,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                Self::Reset
            }
            io::ErrorKind::UnexpectedEof => Self::Ended,
            // A record that cannot be opened; the library says no more than that.
            io::ErrorKind::InvalidData => Self::Framing,
            other => Self::Other(other),
        }
    }

    /// A few words, the same for all failures of a kind: what failures are counted by.
    #[must_use]
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Refused => "connect refused",
            Self::Unreachable => "connect unreachable",
            Self::NoAnswer => "connect timeout",
            Self::HandshakeStalled => "handshake timeout",
            Self::Certificate(_) => "handshake certificate",
            Self::Handshake(_) => "handshake failed",
            Self::NotSpoken => "handshake not spoken",
            Self::TurnedAway => "handshake closed",
            Self::Ended => "connection closed",
            Self::Reset => "connection reset",
            Self::Framing => "connection garbled",
            Self::Other(_) => "connect failed",
            Self::Proxy(ProxyFailure::LoginWanted | ProxyFailure::LoginRefused) => "proxy login",
            Self::Proxy(ProxyFailure::Refused { .. }) => "proxy refused",
            Self::Proxy(ProxyFailure::NotHttp) => "proxy garbled",
            Self::Proxy(ProxyFailure::Cut) => "proxy closed",
            Self::Proxy(ProxyFailure::Silent) => "proxy timeout",
            Self::Proxy(ProxyFailure::Datagrams) => "proxy unsuited",
        }
    }

    /// One plain sentence, and what to do about it.
    #[must_use]
    pub fn fault(&self, server: &Server) -> Fault {
        let (address, carrier, host) = (server.address, spoken(server.carrier), &server.host);
        if let Some(proxy) = &server.proxy
            && let Some(fault) = self.fault_of(proxy)
        {
            return fault;
        }
        let of_server = |what: String| Fault::new(FaultKind::Server, what);
        match self {
            Self::Refused => of_server(format!("nobody listens for {carrier} at {address}"))
                .cure("check the port, and whether the server listens there over this transport"),
            Self::Unreachable => of_server(format!("no way leads to {address}"))
                .cure("check the address and this machine's routes"),
            Self::NoAnswer => of_server(format!("{address} does not answer an attempt to connect"))
                .cure("check the address, the port, and the firewalls between"),
            Self::HandshakeStalled => of_server(format!(
                "{address} accepts the connection and does not end the handshake of {carrier}"
            ))
            .cure("check that this port serves it; in the clear it is turn:HOST?transport=tcp"),
            Self::Certificate(flaw) => flaw.fault(host),
            Self::Handshake(why) => {
                of_server(format!("the handshake of {carrier} with {address} failed: {why}"))
            }
            Self::NotSpoken => of_server(format!("what listens at {address} does not speak {carrier}"))
                .cure("check the port; in the clear it is turn:HOST?transport=tcp"),
            Self::TurnedAway => {
                of_server(format!("{address} closed the connection within the handshake of {carrier}"))
                    .cure("check that this port serves it, and that the server has a certificate")
            }
            Self::Ended => of_server(format!("{address} closed the connection"))
                .cure("look into the server's log: it may limit connections of one address"),
            Self::Reset => of_server(format!("{address} broke the connection off")),
            Self::Framing => of_server(format!("what {address} sends is no TURN over {carrier}"))
                .cure("check the port, and that it is a TURN server"),
            Self::Other(kind) => of_server(format!("the connection to {address} failed: {kind}")),
            Self::Proxy(failure) => of_server(failure.to_string()),
        }
    }

    /// The same, if it is the proxy that has to do with it.
    fn fault_of(&self, proxy: &Proxy) -> Option<Fault> {
        let (address, url) = (proxy.address, &proxy.url);
        let fault = |what: String| Some(Fault::new(FaultKind::Server, what));
        match self {
            Self::Refused => fault(format!("nobody listens at {address}, where the proxy {url} should be"))
                .map(|fault| fault.cure("check the address and the port that --proxy names")),
            Self::Unreachable => fault(format!("no way leads to {address}, where the proxy {url} should be"))
                .map(|fault| fault.cure("check the address and this machine's routes")),
            Self::NoAnswer => {
                fault(format!("the proxy {url} at {address} does not answer an attempt to connect"))
                    .map(|fault| fault.cure("check the address, the port, and the firewalls between"))
            }
            Self::Proxy(failure) => {
                let kind = match failure {
                    ProxyFailure::LoginWanted | ProxyFailure::LoginRefused | ProxyFailure::Datagrams => {
                        FaultKind::Request
                    }
                    _ => FaultKind::Server,
                };
                let said = Fault::new(kind, format!("{url}: {failure}"));
                Some(match failure.cure() {
                    Some(cure) => said.cure(cure),
                    None => said,
                })
            }
            _ => None,
        }
    }
}

/// What a handshake is called to people.
const fn spoken(carrier: Carrier) -> &'static str {
    match carrier {
        Carrier::Udp | Carrier::LegacyUdp => "UDP",
        Carrier::Tcp => "TCP",
        Carrier::Tls => "TLS",
        Carrier::Dtls => "DTLS",
        Carrier::LegacyTcp => "pseudo-TLS",
    }
}

impl CertificateFlaw {
    /// What the library says of a certificate.
    pub(in crate::load) fn of(flaw: &CertificateError) -> Self {
        match flaw {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::Name,
            CertificateError::UnknownIssuer
            | CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. } => Self::Authority,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYet,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::Purpose
            }
            // A certificate that signed itself and says that it is an authority's; the library has no word of its own for it.
            CertificateError::Other(why) if format!("{why:?}").contains("CaUsedAsEndEntity") => {
                Self::Authority
            }
            other => Self::Other(other.to_string()),
        }
    }

    /// One plain sentence about the certificate of `host`, and what to do about it.
    pub(in crate::load) fn fault(&self, host: &str) -> Fault {
        let (what, cure) = match self {
            Self::Name => (
                format!("the server's certificate is not for the name {host}"),
                "write the name that the certificate is for; --insecure believes any certificate",
            ),
            Self::Authority => (
                format!("the certificate of {host} is of an authority that is not believed"),
                "name the authority with --authority FILE; --insecure believes any certificate",
            ),
            Self::Expired => (
                format!("the certificate of {host} is no longer valid"),
                "renew it, and check this machine's clock; --insecure believes any certificate",
            ),
            Self::NotYet => (
                format!("the certificate of {host} is not valid yet"),
                "check the clocks of both machines; --insecure believes any certificate",
            ),
            Self::Purpose => (
                format!("the certificate of {host} is not for a server"),
                "give the server one that is; --insecure believes any certificate",
            ),
            Self::Other(why) => (
                format!("the certificate of {host} cannot be believed: {why}"),
                "name its authority with --authority FILE; --insecure believes any certificate",
            ),
        };
        Fault::new(FaultKind::Server, what).cure(cure)
    }
}
