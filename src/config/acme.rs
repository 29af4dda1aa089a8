//! `[tls.acme]`: certificates that the server gets for itself.

use std::net::IpAddr;
use std::path::Path;

use rustls::pki_types::DnsName;
use toml::de::DeValue;

use crate::net::certificate::Authority;

use super::certificates::unreadable;
use super::file::article;
use super::read::Located;
use super::read::Reader;
use super::value::Complaint;

/// `[tls.acme]` as it was read.
#[derive(Debug)]
pub(crate) struct CheckedAcme {
    pub(crate) names: Vec<Located<String>>,
    pub(crate) accept_terms: Located<bool>,
    pub(crate) contact: Located<String>,
    pub(crate) directory: Located<String>,
    pub(crate) roots: Option<Authority>,
}

/// What certificates are ordered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSettings {
    /// The names of hosts, in small letters, at least one.
    pub names: Vec<String>,
    /// How the authority can reach the operator, as a URL.
    pub contact: Option<String>,
    /// The address of the authority's directory, over HTTPS.
    pub directory: String,
    /// Whom the authority's web server is believed by; `None` for those that the system trusts.
    pub roots: Option<Authority>,
}

impl CheckedAcme {
    /// `None` if nothing is to be ordered.
    pub(crate) fn build(self) -> Option<AcmeSettings> {
        let names: Vec<_> = self.names.into_iter().map(|name| name.value).collect();
        (!names.is_empty()).then(|| AcmeSettings {
            names,
            contact: Some(self.contact.value).filter(|contact| !contact.is_empty()),
            directory: self.directory.value,
            roots: self.roots,
        })
    }
}

impl Reader<'_, '_> {
    pub(crate) fn acme(&mut self) -> CheckedAcme {
        CheckedAcme {
            names: self.acme_names("tls.acme.names"),
            accept_terms: self.flag("tls.acme.accept_terms"),
            contact: self.optional_text("tls.acme.contact"),
            directory: self.text("tls.acme.directory"),
            roots: self.acme_roots("tls.acme.roots"),
        }
    }

    fn acme_names(&mut self, path: &str) -> Vec<Located<String>> {
        self.array(path, |reader, key, span, value| {
            let name = value.as_str().unwrap_or_default().to_ascii_lowercase();
            let is_name = name.contains('.') && !name.ends_with('.') && name.parse::<IpAddr>().is_err();
            if is_name && DnsName::try_from(&*name).is_ok() {
                return Some(name);
            }
            let rule = match value {
                DeValue::String(text) if text.starts_with("*.") => {
                    format!("`{text}`: no wildcard can be proved over TLS (RFC 8737)")
                }
                DeValue::String(text) => format!("`{text}` is no name of a host"),
                other => format!("a name of a host is expected, not {}", article(other)),
            };
            let fix = "write the whole name by which clients find this server: \"turn.example.net\"";
            reader.error(key, span, Complaint::new(rule, fix));
            None
        })
    }

    fn acme_roots(&mut self, path: &str) -> Option<Authority> {
        const EXAMPLE: &str =
            "write the PEM file of the authority that signed the certificate of its web server";
        let entry = self.entry(path)?;
        let read = match &entry.value {
            DeValue::String(file) => {
                self.source.pem(Path::new(file.as_ref())).map_err(|error| unreadable(file, &error)).and_then(
                    |pem| {
                        Authority::from_pem(&pem).map_err(|error| Complaint::new(error.to_string(), EXAMPLE))
                    },
                )
            }
            other => {
                let rule = format!("the path of a file is expected, not {}", article(other));
                Err(Complaint::new(rule, "write roots = \"private-ca.pem\""))
            }
        };
        read.map_err(|complaint| self.error(entry.key, &entry.span, complaint)).ok()
    }
}
