//! What is answered to a certificate authority that asks over TLS whether a name is ours: TLS-ALPN-01, RFC 8737.
//!
//! The authority sends a ClientHello with the name and with one protocol, `acme-tls/1`, and looks at the certificate that
//! it is shown: self-signed, for that name alone, with the digest of the key authorization in an extension.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rcgen::CertificateParams;
use rcgen::CustomExtension;
use rcgen::KeyPair;
use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::ClientHello;
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;
use rustls::sign::SingleCertAndKey;
use thiserror::Error;

use super::tls;
use super::tls::Hello;
use super::tls::HelloRefused;

/// The protocol name of RFC 8737 § 4.
const PROTOCOL: &[u8] = b"acme-tls/1";

/// A question that is expected, and its answer.
#[derive(Clone, Debug)]
pub struct Challenge {
    name: Box<str>,
    answer: Arc<ServerConfig>,
}

/// Why no certificate could be made for an answer: the name is none, or the system gave no random bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no certificate can be made for the answer: {0}")]
pub struct ChallengeError(String);

/// The questions that are expected now; none outside of orders.
#[derive(Debug, Default)]
pub struct Challenges(ArcSwap<Vec<Challenge>>);

/// The answer to one of them.
#[derive(Debug)]
pub struct ChallengeAnswer(Arc<ServerConfig>);

impl Challenge {
    /// For the host `name`, with the SHA-256 of the key authorization (RFC 8737 § 3).
    ///
    /// # Errors
    /// [`ChallengeError`].
    pub fn new(name: &str, digest: &[u8; 32]) -> Result<Self, ChallengeError> {
        let failed = |error: &dyn std::error::Error| ChallengeError(error.to_string());
        let mut params = CertificateParams::new([name.to_owned()]).map_err(|error| failed(&error))?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let own = params.self_signed(&key).map_err(|error| failed(&error))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = tls::provider();
        let key = provider.key_provider.load_private_key(key).map_err(|error| failed(&error))?;
        // Not held against each other: the library refuses to read an extension that it does not know.
        let shown = SingleCertAndKey::from(CertifiedKey::new(vec![own.der().clone()], key));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shown));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { name: name.to_ascii_lowercase().into(), answer: Arc::new(config) })
    }
}

impl Challenges {
    /// One more is expected.
    pub fn expect(&self, challenge: &Challenge) {
        self.0.rcu(|all| all.iter().chain([challenge]).cloned().collect::<Vec<_>>());
    }

    /// None is expected any more.
    pub fn clear(&self) {
        self.0.store(Arc::default());
    }

    /// Whether none is expected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.load().is_empty()
    }

    /// The newest answer to whoever says `hello`; `None` if it is no question, or one that is not expected.
    pub(super) fn answer(&self, hello: &ClientHello<'_>) -> Option<ChallengeAnswer> {
        let all = self.0.load();
        if all.is_empty() || !hello.alpn()?.eq([PROTOCOL]) {
            return None;
        }
        let name = hello.server_name()?;
        let found = all.iter().rev().find(|challenge| challenge.name.eq_ignore_ascii_case(name))?;
        Some(ChallengeAnswer(Arc::clone(&found.answer)))
    }
}

impl ChallengeAnswer {
    /// Answers with it, as [`super::TlsServer::begin`] does for everybody else.
    ///
    /// # Errors
    /// [`HelloRefused`] if there is no common ground with the authority.
    pub fn begin(self, hello: Hello) -> Result<ServerConnection, HelloRefused> {
        hello.begin(self.0)
    }
}

#[cfg(test)]
mod tests {
    use rustls::ClientConfig;
    use rustls::ClientConnection;
    use rustls::RootCertStore;
    use rustls::pki_types::ServerName;

    use crate::net::Certificates;
    use crate::net::TlsServer;

    use super::*;

    /// The first flight of a client that wants `name` and offers `protocols`.
    fn hello(name: &str, protocols: &[&[u8]]) -> Hello {
        let mut config = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .expect("defaults")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut flight = Vec::new();
        client.write_tls(&mut flight).expect("a vector takes it");
        Hello::read(&flight).ok().expect("a hello")
    }

    #[test]
    fn only_the_question_that_is_expected_is_answered() {
        let certificates = Arc::new(Certificates::new(Vec::new()));
        let server = TlsServer::new(Arc::clone(&certificates)).expect("defaults");
        let asked = |name: &str, protocols: &[&[u8]]| server.challenge(&hello(name, protocols)).is_some();
        assert!(!asked("a.example", &[PROTOCOL]), "nothing is expected yet");
        certificates.challenges().expect(&Challenge::new("A.example", &[7; 32]).expect("a name"));
        certificates.challenges().expect(&Challenge::new("b.example", &[8; 32]).expect("a name"));
        assert!(server.is_challenged() && !server.is_ready());
        assert!(asked("a.example", &[PROTOCOL]) && asked("b.example", &[PROTOCOL]));
        assert!(!asked("c.example", &[PROTOCOL]), "another name");
        assert!(!asked("a.example", &[]), "no protocol");
        assert!(!asked("a.example", &[b"stun.turn"]), "another protocol");
        assert!(!asked("a.example", &[PROTOCOL, b"h2"]), "the one and no other (RFC 8737 section 3)");
        certificates.challenges().clear();
        assert!(!asked("a.example", &[PROTOCOL]) && !server.is_challenged());
    }

    #[test]
    fn the_answer_is_begun_without_any_certificate_of_ours() {
        let certificates = Arc::new(Certificates::new(Vec::new()));
        let server = TlsServer::new(Arc::clone(&certificates)).expect("defaults");
        certificates.challenges().expect(&Challenge::new("a.example", &[7; 32]).expect("a name"));
        let hello = hello("a.example", &[PROTOCOL]);
        let answer = server.challenge(&hello).expect("it is expected");
        let begun = answer.begin(hello).ok().expect("there is common ground");
        assert_eq!(begun.alpn_protocol(), Some(PROTOCOL));
    }

    #[test]
    fn what_is_no_name_has_no_answer() {
        assert!(Challenge::new("b\u{fc}cher.example", &[0; 32]).is_err());
    }
}
