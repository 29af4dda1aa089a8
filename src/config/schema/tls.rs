//! The keys of certificates: the operator's own, and those by ACME.

use super::Key;
use super::Kind;
use super::Takes;
use super::key;
use super::open_key;

pub(super) const CERTIFICATES: Key = Key {
    takes: Takes::Live,
    also_called: &["cert", "pkey", "tls_crt_file", "tls_key_file"],
    ..open_key(
        "tls.certificates",
        Kind::Certificates,
        r#"[{ chain = "cert.pem", key = "key.pem" }]"#,
        "no TLS",
        "Certificate chains and keys in PEM, chosen by the name the client asks for; the first is the default. A path\n\
         begins at the folder of this file.",
    )
};

pub(super) const NAMES: Key = key(
    "tls.acme.names",
    Kind::Hosts,
    "[]",
    "Names of this server that a certificate is ordered for from a certificate authority (ACME, RFC 8555), and renewed,\n\
     such as [\"turn.example.net\"]. The authority must reach a stream listener at port 443 of each. Needs a build with\n\
     `--features acme`.",
);

pub(super) const ACCEPT_TERMS: Key = key(
    "tls.acme.accept_terms",
    Kind::Flag,
    "false",
    "Whether you agree to the terms of service of the authority; without that nothing is ordered.",
);

pub(super) const CONTACT: Key = open_key(
    "tls.acme.contact",
    Kind::Text,
    r#""mailto:admin@example.net""#,
    "the authority is told no address",
    "How the authority can reach you.",
);

pub(super) const DIRECTORY: Key = key(
    "tls.acme.directory",
    Kind::Text,
    r#""https://acme-v02.api.letsencrypt.org/directory""#,
    "The address of the authority's directory.",
);

pub(super) const ROOTS: Key = open_key(
    "tls.acme.roots",
    Kind::File,
    r#""private-ca.pem""#,
    "the authorities that this system trusts",
    "The certificates in PEM by which the authority's own web server is believed: for one of your own. A path begins at\n\
     the folder of this file.",
);
