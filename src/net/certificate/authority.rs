//! Authorities whose certificates clients are believed by.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::verify_server_name;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::ParsedCertificate;

use super::CertificateError;
use super::x509;

/// One or more certificates of authorities, as an operator's file holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    roots: Arc<[CertificateDer<'static>]>,
}

impl Authority {
    /// Reads a file in PEM. Every certificate in it is believed.
    ///
    /// # Errors
    /// [`CertificateError::NoCertificate`] and [`CertificateError::BadCertificate`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        let roots: Arc<[_]> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|_| CertificateError::BadCertificate)?;
        let authority = Self { roots };
        match (authority.roots.is_empty(), authority.store()) {
            (true, _) => Err(CertificateError::NoCertificate),
            (_, None) => Err(CertificateError::BadCertificate),
            (_, Some(_)) => Ok(authority),
        }
    }

    /// How many certificates there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Never: a file without one is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// What the library verifies by; `None` if it cannot read one of them.
    pub(in crate::net) fn store(&self) -> Option<RootCertStore> {
        let mut store = RootCertStore::empty();
        self.roots.iter().try_for_each(|root| store.add(root.clone())).ok()?;
        Some(store)
    }

    /// Judges a server that shows one of these very certificates, as one does that signed its own; `None` if it shows
    /// another. The library refuses it, because it says of itself that it is an authority's, as those of `openssl req -x509`
    /// do. Whoever put it in the file has said that it is to be believed; name and time must still be right.
    pub(in crate::net) fn judge_itself(
        &self,
        shown: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now_unix: u64,
    ) -> Option<Result<(), rustls::Error>> {
        if !self.roots.contains(shown) {
            return None;
        }
        let facts = x509::read(shown)?;
        Some(if now_unix < facts.not_before {
            Err(rustls::CertificateError::NotValidYet.into())
        } else if now_unix > facts.not_after {
            Err(rustls::CertificateError::Expired.into())
        } else {
            ParsedCertificate::try_from(shown).and_then(|parsed| verify_server_name(&parsed, name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_certificate_of_the_file_counts_and_what_is_none_is_told() {
        let pem = |name: &str| {
            let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a sound name");
            (made.cert.pem(), made.signing_key.serialize_pem())
        };
        let ((one, key), (two, _)) = (pem("a.example"), pem("b.example"));
        let both = Authority::from_pem(format!("{one}{two}").as_bytes()).expect("two certificates");
        assert_eq!((both.len(), both.is_empty()), (2, false));
        assert_ne!(Authority::from_pem(one.as_bytes()), Ok(both));
        for (text, error) in [
            ("", CertificateError::NoCertificate),
            (&*key, CertificateError::NoCertificate),
            (
                "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
                CertificateError::BadCertificate,
            ),
            (&*format!("{one}-----BEGIN CERTIFICATE-----\n!\n"), CertificateError::BadCertificate),
        ] {
            assert_eq!(Authority::from_pem(text.as_bytes()), Err(error), "{text}");
        }
    }
}
