//! TLS as a client: which authorities a server elsewhere is believed by, if any must vouch for it.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::verify_tls12_signature;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::sign::SingleCertAndKey;
use thiserror::Error;

use super::Authority;
use super::Certificate;
use super::tls;

/// Why nobody can be believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OutwardError {
    /// This system names no authority that could be read.
    #[error("this system names no certificate authority that could be read")]
    NoRoots,
    /// One of the operator's own cannot be used.
    #[error("a certificate authority cannot be used")]
    BadRoot,
    /// What the library says of its own defaults, which are sound.
    #[error("TLS cannot be had")]
    NoTls,
}

/// What servers are called with over TLS: they must show a certificate of `authority`, or else of one that this system
/// trusts.
///
/// # Errors
/// [`OutwardError`].
pub fn trusting(authority: Option<&Authority>) -> Result<ClientConfig, OutwardError> {
    believing(authority.map_or(Believed::System, Believed::Of))
}

/// Whose certificates are believed.
#[derive(Clone, Copy, Debug)]
pub enum Believed<'a> {
    /// Those of the authorities that this system trusts.
    System,
    /// Those of these authorities.
    Of(&'a Authority),
    /// All, for a laboratory.
    Anyone,
}

/// What servers are called with over TLS whose certificates are `believed`.
///
/// # Errors
/// [`OutwardError`].
pub fn believing(believed: Believed<'_>) -> Result<ClientConfig, OutwardError> {
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|_| OutwardError::NoTls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier(believed)?)
        .with_no_client_auth();
    Ok(config)
}

/// [`believing`], with `own` shown to servers that ask who calls.
///
/// # Errors
/// [`OutwardError`].
pub fn believing_as(believed: Believed<'_>, own: &Certificate) -> Result<ClientConfig, OutwardError> {
    let mut config = believing(believed)?;
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from((**own.key()).clone()));
    Ok(config)
}

/// What judges the certificates of servers.
///
/// # Errors
/// [`OutwardError`].
pub fn verifier(believed: Believed<'_>) -> Result<Arc<dyn ServerCertVerifier>, OutwardError> {
    let roots = match believed {
        Believed::System => of_this_system()?,
        Believed::Of(authority) => authority.store().ok_or(OutwardError::BadRoot)?,
        Believed::Anyone => return Ok(Arc::new(Anyone(tls::provider()))),
    };
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider()).build();
    Ok(built.map_err(|_| OutwardError::NoTls)?)
}

/// Believes each certificate; that the other side has its key is still proved.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// One that cannot be read is left out: systems carry old ones along.
fn of_this_system() -> Result<RootCertStore, OutwardError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 { Err(OutwardError::NoRoots) } else { Ok(roots) }
}
