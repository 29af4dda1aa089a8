//! The keys of the doors of the MRAS service.

use super::Key;
use super::Kind;
use super::key;
use super::live;
use super::open_key;

pub(super) const HTTPS: Key = key(
    "mras.https",
    Kind::Endpoint,
    r#""off""#,
    "Where front ends ask for such credentials over HTTPS, as \"10.0.0.5:5063\", by POST to /mras; \"off\" for nowhere.\n\
     Each must show a certificate of client_ca for a name in front_ends.",
);

pub(super) const SIP: Key = key(
    "mras.sip",
    Kind::Endpoint,
    r#""off""#,
    "Where front ends ask over SIP under TLS 1.2 or 1.3, as \"10.0.0.5:5062\", which is where the A/V Edge had it;\n\
     \"off\" for nowhere. Certificates as for https.",
);

pub(super) const SIP_PLAIN: Key = key(
    "mras.sip_plain",
    Kind::Endpoint,
    r#""off""#,
    "Where a TLS proxy on this machine brings front ends whose TLS is too old for sip, as \"127.0.0.1:5061\"; \"off\" for\n\
     nowhere. Nobody is asked who they are here: the proxy must have seen to that. Only addresses of loopback.",
);

pub(super) const CLIENT_CA: Key = live(open_key(
    "mras.client_ca",
    Kind::File,
    r#""front-ends-ca.pem""#,
    "no front end is let in",
    "The certificates in PEM of the authorities that front ends are believed by. Each authority can make a front end:\n\
     name the one that you run, not a public one. A path begins at the folder of this file.",
));

pub(super) const FRONT_ENDS: Key = live(open_key(
    "mras.front_ends",
    Kind::Hosts,
    r#"["pool.example.com"]"#,
    "no front end is let in",
    "The front ends that are let in, by a name of a host that their certificate is for (subjectAltName; the subject\n\
     itself does not count, and a wildcard is nobody's name).",
));

pub(super) const CERTIFICATES: Key = live(open_key(
    "mras.certificates",
    Kind::Certificates,
    r#"[{ chain = "cert.pem", key = "key.pem" }]"#,
    "those of tls.certificates",
    "What https and sip show to front ends, written like tls.certificates.",
));

pub(super) const INTERNET_HOST: Key = live(open_key(
    "mras.internet_host",
    Kind::Text,
    r#""edge.example.com""#,
    "the external address of the first listener",
    "The name or address by which clients outside reach this server: credentials are handed out with it.",
));

pub(super) const INTRANET_HOST: Key = live(open_key(
    "mras.intranet_host",
    Kind::Text,
    r#""edge-internal.example.com""#,
    "the same as internet_host",
    "The name or address by which clients inside reach it.",
));
