//! TLS in which both sides show a certificate.

use std::sync::Arc;

use rustls::Error;
use rustls::PeerIncompatible;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use rustls::server::ResolvesServerCert;
use rustls::server::WebPkiClientVerifier;

use super::certificate::Authority;
use super::tls::Certificates;
use super::tls::provider;

/// What handshakes are made with in which a client proves who it is.
#[derive(Clone, Debug)]
pub struct MutualTls {
    config: Arc<ServerConfig>,
    authority: Authority,
}

/// Why a handshake failed, as far as an operator can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// The client showed no certificate.
    NoCertificate,
    /// Its certificate does not hang from the authority, has ended, or is not one for clients.
    BadCertificate,
    /// The client knows only versions or algorithms that are not spoken any more.
    Old,
    /// Anything else.
    Other,
}

impl MutualTls {
    /// Shows `certificates`, and demands one that hangs from `authority`. A session is never resumed: each connection
    /// proves anew who it is.
    ///
    /// # Errors
    /// What the library says of its own defaults, which are sound, and of an authority that it read before.
    pub fn new(certificates: Arc<Certificates>, authority: &Authority) -> Result<Self, Error> {
        let roots = authority.store().ok_or_else(|| Error::General("no authority".to_owned()))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(certificates as Arc<dyn ResolvesServerCert>);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), authority: authority.clone() })
    }

    /// For the library.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// By whom clients are believed.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }
}

/// The hosts that a certificate is for, by its alternative names alone: what stands in its subject was never checked to
/// be the name of a host (RFC 9525 § 2). Of a certificate that cannot be read, none.
#[must_use]
pub fn host_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    match webpki::EndEntityCert::try_from(certificate) {
        Ok(read) => read.valid_dns_names().map(str::to_owned).collect(),
        Err(_) => Vec::new(),
    }
}

impl Unproven {
    /// What `error` of a handshake comes to.
    #[must_use]
    pub const fn of(error: &Error) -> Self {
        match error {
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(_) => Self::BadCertificate,
            Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::NoCipherSuitesInCommon
                | PeerIncompatible::NoKxGroupsInCommon
                | PeerIncompatible::NoEcPointFormatsInCommon
                | PeerIncompatible::NoSignatureSchemesInCommon
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
            ) => Self::Old,
            _ => Self::Other,
        }
    }
}

/// Whether a connection that begins with `first` speaks SSL 2, or greets as clients did that also knew it.
#[must_use]
pub const fn is_ssl2(first: u8) -> bool {
    first & 0x80 != 0
}

#[cfg(test)]
mod tests {
    use rcgen::CertificateParams;
    use rcgen::DnType;
    use rcgen::KeyPair;

    use super::*;

    fn names(params: CertificateParams) -> Vec<String> {
        let key = KeyPair::generate().expect("a key");
        host_names(params.self_signed(&key).expect("a certificate").der())
    }

    #[test]
    fn only_alternative_names_are_names_of_hosts() {
        let mut params = CertificateParams::new(vec!["pool.example.com".to_owned(), "192.0.2.1".to_owned()])
            .expect("sound names");
        params.distinguished_name.push(DnType::CommonName, "other.example.com");
        assert_eq!(names(params.clone()), ["pool.example.com"]);
        params.subject_alt_names.clear();
        assert_eq!(names(params), Vec::<String>::new());
        assert_eq!(host_names(&CertificateDer::from(vec![1, 2, 3])), Vec::<String>::new());
    }
}
