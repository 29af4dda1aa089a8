//! A certificate chain with its key, as an operator's files hold them.

mod authority;
mod x509;

use std::sync::Arc;

use rustls::InconsistentKeys;
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use thiserror::Error;

use super::tls;

pub use authority::Authority;

/// A certificate chain and its key, which belong together.
#[derive(Clone, Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    not_before: u64,
    not_after: u64,
    /// The same for the library of DTLS, where it is of a kind that it knows.
    #[cfg(feature = "dtls")]
    dtls: Option<dimpl::DtlsCertificate>,
}

/// Why two files make no certificate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// The chain's file holds none.
    #[error("there is no certificate in it")]
    NoCertificate,
    /// The chain's file holds something that is none.
    #[error("a certificate in it cannot be read")]
    BadCertificate,
    /// The key's file holds none.
    #[error("there is no private key in it")]
    NoKey,
    /// The key is locked with a passphrase.
    #[error("the private key in it is encrypted")]
    EncryptedKey,
    /// The key is of a kind that is not known, or broken.
    #[error("the private key in it cannot be used")]
    BadKey,
    /// The key is another certificate's.
    #[error("the private key in it is not the one of the certificate")]
    Mismatch,
}

impl CertificateError {
    /// Whether the key's file is at fault, not the chain's.
    #[must_use]
    pub const fn is_of_key(&self) -> bool {
        !matches!(self, Self::NoCertificate | Self::BadCertificate)
    }
}

impl Certificate {
    /// Reads both files, in PEM. The server's own certificate comes first in `chain`.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| CertificateError::BadCertificate)?;
        let own = chain.first().ok_or(CertificateError::NoCertificate)?;
        ParsedCertificate::try_from(own).map_err(|_| CertificateError::BadCertificate)?;
        let facts = x509::read(own).ok_or(CertificateError::BadCertificate)?;
        if is_encrypted(key) {
            return Err(CertificateError::EncryptedKey);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NoKey)?;
        #[cfg(feature = "dtls")]
        let dtls = super::dtls::certificate(own, key.secret_der());
        let provider = tls::provider();
        let key = provider.key_provider.load_private_key(key).map_err(|_| CertificateError::BadKey)?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            // A key that does not tell its public half cannot be held against the certificate.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(CertificateError::Mismatch),
        }
        Ok(Self {
            key: Arc::new(key),
            names: facts.names,
            not_before: facts.not_before,
            not_after: facts.not_after,
            #[cfg(feature = "dtls")]
            dtls,
        })
    }

    /// The names of hosts that it is for, wildcards included, in its own order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When it begins, in seconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn not_before(&self) -> u64 {
        self.not_before
    }

    /// When it ends, in seconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn not_after(&self) -> u64 {
        self.not_after
    }

    /// The certificates, the server's own first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// Whether clients over DTLS can be shown it.
    #[cfg(feature = "dtls")]
    #[must_use]
    pub const fn is_for_dtls(&self) -> bool {
        self.dtls.is_some()
    }

    #[cfg(feature = "dtls")]
    pub(super) fn for_dtls(&self) -> Option<dimpl::DtlsCertificate> {
        self.dtls.clone()
    }

    pub(super) fn is_for(&self, name: &ServerName<'_>) -> bool {
        let own = self.key.end_entity_cert().ok();
        let parsed = own.and_then(|own| ParsedCertificate::try_from(own).ok());
        parsed.is_some_and(|parsed| rustls::client::verify_server_name(&parsed, name).is_ok())
    }

    pub(super) fn can_sign(&self, schemes: &[SignatureScheme]) -> bool {
        self.key.key.choose_scheme(schemes).is_some()
    }
}

fn is_encrypted(pem: &[u8]) -> bool {
    let says = |what: &[u8]| pem.windows(what.len()).any(|part| part == what);
    says(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || says(b"Proc-Type: 4,ENCRYPTED")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(names: &[&str]) -> (String, String) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("names are sound");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn read(chain: &str, key: &str) -> Result<Certificate, CertificateError> {
        Certificate::from_pem(chain.as_bytes(), key.as_bytes())
    }

    #[test]
    fn names_and_end_are_read() {
        let (chain, key) = pair(&["turn.example.net", "*.example.org"]);
        let certificate = read(&chain, &key).expect("sound");
        assert_eq!(certificate.names(), ["turn.example.net", "*.example.org"]);
        // 4096-01-01, as rcgen has it.
        assert_eq!(certificate.not_after(), 67_090_118_400);
        // 1975-01-01, likewise.
        assert_eq!(certificate.not_before(), 157_766_400);
        let is_for = |name: &str| certificate.is_for(&ServerName::try_from(name.to_owned()).expect("a name"));
        assert!(is_for("turn.example.net") && is_for("a.example.org"));
        assert!(!is_for("example.org") && !is_for("example.net") && !is_for("a.b.example.org"));
    }

    #[test]
    fn each_mistake_has_its_word() {
        let (chain, key) = pair(&["a.example"]);
        let (_, other_key) = pair(&["b.example"]);
        let error = |chain: &str, key: &str| read(chain, key).expect_err("a mistake");
        assert_eq!(error("", &key), CertificateError::NoCertificate);
        assert_eq!(error(&key, &key), CertificateError::NoCertificate);
        assert_eq!(error(&chain, ""), CertificateError::NoKey);
        assert_eq!(error(&chain, &chain), CertificateError::NoKey);
        assert_eq!(error(&chain, &other_key), CertificateError::Mismatch);
        let broken = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert_eq!(error(broken, &key), CertificateError::BadCertificate);
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert_eq!(error(&chain, locked), CertificateError::EncryptedKey);
        let empty = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
        assert_eq!(error(&chain, empty), CertificateError::BadKey);
    }
}
