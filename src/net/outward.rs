//! TLS as a client: which authorities a server elsewhere is believed by.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::RootCertStore;
use thiserror::Error;

use super::Authority;
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
    let roots = match authority {
        Some(authority) => authority.store().ok_or(OutwardError::BadRoot)?,
        None => of_this_system()?,
    };
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|_| OutwardError::NoTls)?
        .with_root_certificates(Arc::new(roots))
        .with_no_client_auth();
    Ok(config)
}

/// One that cannot be read is left out: systems carry old ones along.
fn of_this_system() -> Result<RootCertStore, OutwardError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 { Err(OutwardError::NoRoots) } else { Ok(roots) }
}
