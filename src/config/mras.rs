//! Pairs of keys, the tables of `mras.keys`; and the doors at which credentials made of them are handed out.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;

use rustls::pki_types::DnsName;
use toml::de::DeTable;
use toml::de::DeValue;

use crate::net::certificate::Authority;
use crate::net::certificate::Certificate;
use crate::net::certificate::CertificateError;
use crate::proto::types::Secret;

use super::certificates::unreadable;
use super::file::article;
use super::read::Located;
use super::read::Reader;
use super::schema::Key;
use super::value::Complaint;

/// Where the A/V Edge had its service.
const SIP_PORT: u16 = 5_062;
/// Beside it.
const HTTPS_PORT: u16 = 5_063;
/// Where SIP over TLS has its own, and a proxy is likely to look.
const SIP_PLAIN_PORT: u16 = 5_061;

const EXAMPLE: &str = "write { key1 = { file = \"mras1.key\" }, key2 = { file = \"mras2.key\" } }";

/// What the file says of the doors.
#[derive(Debug)]
pub(crate) struct MrasDoors {
    pub(crate) https: Located<Option<SocketAddr>>,
    pub(crate) sip: Located<Option<SocketAddr>>,
    pub(crate) sip_plain: Located<Option<SocketAddr>>,
    pub(crate) authority: Option<Authority>,
    pub(crate) front_ends: Vec<Located<Box<str>>>,
    pub(crate) certificates: Vec<Located<Certificate>>,
    pub(crate) internet_host: Located<String>,
    pub(crate) intranet_host: Located<String>,
}

/// The doors of the MRAS service.
#[derive(Debug, Default)]
pub struct MrasSettings {
    /// Where HTTPS is spoken.
    pub https: Option<SocketAddr>,
    /// Where SIP over TLS is spoken.
    pub sip: Option<SocketAddr>,
    /// Where SIP is spoken in the clear, on loopback.
    pub sip_plain: Option<SocketAddr>,
    /// Whom front ends are believed by; there is one where https or sip is.
    pub authority: Option<Authority>,
    /// The hosts that are let in, in small letters; at least one where https or sip is.
    pub front_ends: Vec<Box<str>>,
    /// What is shown to them; those of the server itself if there is none.
    pub certificates: Vec<Certificate>,
    /// How clients outside reach this server, where the operator said so.
    pub internet_host: Option<String>,
    /// How clients inside do.
    pub intranet_host: Option<String>,
}

impl MrasDoors {
    /// Whether `certificates`, those of the server itself, are shown at a door.
    pub(crate) fn show(&self, certificates: &[Located<Certificate>]) -> bool {
        !certificates.is_empty() && self.certificates.is_empty() && self.need_proof()
    }

    /// Whether there is a door that demands a certificate.
    pub(crate) fn need_proof(&self) -> bool {
        self.https.value.is_some() || self.sip.value.is_some()
    }

    pub(crate) fn build(self) -> MrasSettings {
        let named = |host: Located<String>| Some(host.value).filter(|host| !host.is_empty());
        MrasSettings {
            https: self.https.value,
            sip: self.sip.value,
            sip_plain: self.sip_plain.value,
            authority: self.authority,
            front_ends: self.front_ends.into_iter().map(|name| name.value).collect(),
            certificates: self.certificates.into_iter().map(|certificate| certificate.value).collect(),
            internet_host: named(self.internet_host),
            intranet_host: named(self.intranet_host),
        }
    }
}

impl MrasSettings {
    /// Every address that is listened on.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        [self.https, self.sip, self.sip_plain].into_iter().flatten()
    }
}

impl Reader<'_, '_> {
    pub(crate) fn mras_doors(&mut self) -> MrasDoors {
        MrasDoors {
            https: self.endpoint("mras.https", HTTPS_PORT),
            sip: self.endpoint("mras.sip", SIP_PORT),
            sip_plain: self.endpoint("mras.sip_plain", SIP_PLAIN_PORT),
            authority: self.authority("mras.client_ca"),
            front_ends: self.front_end_names("mras.front_ends"),
            certificates: self.certificates("mras.certificates"),
            internet_host: self.host("mras.internet_host"),
            intranet_host: self.host("mras.intranet_host"),
        }
    }

    fn authority(&mut self, path: &str) -> Option<Authority> {
        let entry = self.entry(path)?;
        let read = match &entry.value {
            DeValue::String(file) => self
                .source
                .pem(Path::new(file.as_ref()))
                .map_err(|error| unreadable(file, &error))
                .and_then(|pem| Authority::from_pem(&pem).map_err(|error| no_authority(&error))),
            other => {
                let rule = format!("the path of a file is expected, not {}", article(other));
                Err(Complaint::new(rule, "write client_ca = \"front-ends-ca.pem\""))
            }
        };
        read.map_err(|complaint| self.error(entry.key, &entry.span, complaint)).ok()
    }

    fn front_end_names(&mut self, path: &str) -> Vec<Located<Box<str>>> {
        self.array(path, |reader, key, span, value| {
            let name = value.as_str().unwrap_or_default().to_ascii_lowercase();
            if name.contains('.') && name.parse::<IpAddr>().is_err() && DnsName::try_from(&*name).is_ok() {
                return Some(name.into());
            }
            let rule = match value {
                DeValue::String(text) => format!("`{text}` is no name of a host"),
                other => format!("a name of a host is expected, not {}", article(other)),
            };
            let fix = "write the whole name that stands in the certificate: \"pool.example.com\"";
            reader.error(key, span, Complaint::new(rule, fix));
            None
        })
    }

    fn host(&mut self, path: &str) -> Located<String> {
        let read = self.optional_text(path);
        let good = read.value.parse::<IpAddr>().is_ok() || DnsName::try_from(&*read.value).is_ok();
        if let (Some(entry), false) = (self.entry(path).filter(|entry| entry.value.as_str().is_some()), good)
        {
            let rule = format!("`{}` is neither a name of a host nor an IP address", read.value);
            let fix = "write it without a port: \"edge.example.com\", or leave the key out";
            self.error(entry.key, &entry.span, Complaint::new(rule, fix));
        }
        read
    }

    /// The pairs at `path`. Of a table with a mistake every mistake is told.
    pub(crate) fn mras_keys(&mut self, path: &str) -> Vec<Located<(Secret, Secret)>> {
        self.array(path, |reader, key, span, value| {
            let DeValue::Table(table) = value else {
                let rule = format!("a table is expected, not {}", article(value));
                reader.error(key, span, Complaint::new(rule, EXAMPLE));
                return None;
            };
            reader.mras_key(key, span, table)
        })
    }

    fn mras_key(
        &mut self,
        key: &Key,
        span: &Option<Range<usize>>,
        table: &DeTable<'_>,
    ) -> Option<(Secret, Secret)> {
        let (mut key1, mut key2, mut sound) = (None, None, true);
        for (name, value) in table {
            let slot = match name.get_ref().as_ref() {
                "key1" => &mut key1,
                "key2" => &mut key2,
                other => {
                    let rule = format!("unknown key `{other}` in a pair of keys");
                    self.error(key, &Some(name.span()), Complaint::new(rule, EXAMPLE));
                    sound = false;
                    continue;
                }
            };
            // What cannot be read is told by itself, and is not missing.
            *slot = Some(self.secret(key, "a key", &Some(value.span()), value.get_ref()));
        }
        for (name, part) in [("key1", &key1), ("key2", &key2)] {
            if part.is_none() {
                let rule = format!("`{name}` is missing in this pair of keys");
                self.error(key, span, Complaint::new(rule, EXAMPLE));
            }
        }
        Some((key1??, key2??)).filter(|_| sound)
    }
}

fn no_authority(error: &CertificateError) -> Complaint {
    let fix = "write the PEM file of the authority that signed the front ends' certificates";
    Complaint::new(error.to_string(), fix)
}
