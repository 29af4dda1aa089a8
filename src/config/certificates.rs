//! The tables of `tls.certificates`: files, read at once, so that a mistake in them is told with its line.

use std::io;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;

use crate::net::certificate::Certificate;
use crate::net::certificate::CertificateError;

use super::file::article;
use super::problem::Problem;
use super::read::Located;
use super::read::Reader;
use super::schema::Key;
use super::value::Complaint;

const EXAMPLE: &str = "write [[tls.certificates]] with chain = \"cert.pem\" and key = \"key.pem\"";
/// A certificate that ends sooner than this is told of.
const EXPIRY_NEAR_S: u64 = 7 * 86_400;

impl Reader<'_, '_> {
    /// The certificates at `path`, in their order.
    pub(crate) fn certificates(&mut self, path: &str) -> Vec<Located<Certificate>> {
        self.array(path, |reader, key, span, value| {
            let DeValue::Table(table) = value else {
                let rule = format!("a table is expected, not {}", article(value));
                reader.error(key, span, Complaint::new(rule, EXAMPLE));
                return None;
            };
            reader.certificate(key, span, table)
        })
    }

    fn certificate(
        &mut self,
        key: &Key,
        span: &Option<Range<usize>>,
        table: &DeTable<'_>,
    ) -> Option<Certificate> {
        let (mut chain, mut private, mut sound) = (None, None, true);
        for (name, value) in table {
            let slot = match name.get_ref().as_ref() {
                "chain" => &mut chain,
                "key" => &mut private,
                other => {
                    let rule = format!("unknown key `{other}` in a certificate");
                    self.error(key, &Some(name.span()), Complaint::new(rule, EXAMPLE));
                    sound = false;
                    continue;
                }
            };
            *slot = self.pem(key, value).map(|bytes| (value.span(), bytes));
            sound &= slot.is_some();
        }
        for (found, name) in [(&chain, "chain"), (&private, "key")] {
            if found.is_none() && sound {
                let rule = format!("`{name}` is missing in this certificate");
                self.error(key, span, Complaint::new(rule, EXAMPLE));
                sound = false;
            }
        }
        let ((chain_at, chain), (key_at, private)) = (chain?, private?);
        match Certificate::from_pem(&chain, &private) {
            Ok(certificate) => {
                self.judge_expiry(key, &chain_at, &certificate);
                sound.then_some(certificate)
            }
            Err(error) => {
                let at = if error.is_of_key() { key_at } else { chain_at };
                self.error(key, &Some(at), Complaint::new(format!("{error}"), cure(&error)));
                None
            }
        }
    }

    fn pem(&mut self, key: &Key, value: &Spanned<DeValue<'_>>) -> Option<Vec<u8>> {
        let read = match value.get_ref() {
            DeValue::String(path) => {
                self.source.pem(Path::new(path.as_ref())).map_err(|error| unreadable(path, &error))
            }
            other => {
                let rule = format!("the path of a file is expected, not {}", article(other));
                Err(Complaint::new(rule, EXAMPLE))
            }
        };
        read.map_err(|complaint| self.error(key, &Some(value.span()), complaint)).ok()
    }

    fn judge_expiry(&mut self, key: &Key, at: &Range<usize>, certificate: &Certificate) {
        let Some(left) = certificate.not_after().checked_sub(self.source.unix()) else {
            let rule = "this certificate has expired: clients will refuse it";
            let fix = "renew it; SIGHUP brings the new one in";
            return self.problems.push(Problem::warning(key.path, Some(at.clone()), rule, fix));
        };
        if left < EXPIRY_NEAR_S {
            let rule = format!("this certificate expires in {} h", left / 3_600);
            let fix = "renew it; SIGHUP brings the new one in";
            self.problems.push(Problem::warning(key.path, Some(at.clone()), rule, fix));
        }
    }
}

pub(super) fn unreadable(path: &str, error: &io::Error) -> Complaint {
    let fix = match error.kind() {
        io::ErrorKind::NotFound => "a relative path begins at the folder of this file".to_owned(),
        io::ErrorKind::PermissionDenied => "let the server's user read it, and nobody else".to_owned(),
        _ => EXAMPLE.to_owned(),
    };
    Complaint::new(format!("`{path}` cannot be read: {error}"), fix)
}

fn cure(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::NoCertificate | CertificateError::BadCertificate => {
            "write the PEM file of the chain, the server's own certificate first: \"fullchain.pem\""
        }
        CertificateError::NoKey | CertificateError::BadKey => {
            "write the PEM file of the certificate's private key: \"privkey.pem\""
        }
        CertificateError::EncryptedKey => {
            "nobody is there to type the passphrase: `openssl pkey -in locked.pem -out key.pem` unlocks it"
        }
        CertificateError::Mismatch => "write the key that the certificate was requested with",
    }
}
