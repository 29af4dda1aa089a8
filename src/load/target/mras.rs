//! Credentials of the old office communicators, asked of their authentication service ([MS-AVEDGEA]) as its front ends ask:
//! over HTTPS, with a certificate that says who asks.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::net::ToSocketAddrs as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use quick_xml::NsReader;
use quick_xml::events::Event;
use rustls::ClientConnection;
use rustls::StreamOwned;

use crate::load::Fault;
use crate::load::carrier::CertificateFlaw;
use crate::load::carrier::believing;
use crate::load::carrier::name_of;
use crate::load::fault::FaultKind;
use crate::load::http;
use crate::load::plan::Trust;
use crate::load::plan::Who;
use crate::net::Certificate;
use crate::net::outward;
use crate::proto::client::Credential;
use crate::proto::types::limits;

use super::users::check_count;
use super::users::credential;

/// What a request and its answer are.
const CONTENT_TYPE: &str = "application/msrtc-media-relay-auth+xml";
const NAMESPACE: &str = "http://schemas.microsoft.com/2006/09/sip/mrasp";
/// Where Swingbridge's service is, where the address says nothing.
const PATH: &str = "/mras";
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An authentication service, and who asks it.
#[derive(Clone, Debug)]
pub struct Service {
    /// `https://host[:port][/path]`.
    pub uri: String,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// The certificate of whoever asks, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

/// An address taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
    path: String,
}

/// Asks `service` for `count` users, called `sip:NAME-1` and so on, whose credentials are good for `lifetime`, as far as the
/// service allows. The calling thread waits.
///
/// # Errors
/// Why there are none: which file, the service's certificate, its refusal, its answer.
pub fn fetch(service: &Service, name: &str, count: u32, lifetime: Duration) -> Result<Who, Fault> {
    check_count(count)?;
    let place = Place::read(&service.uri)?;
    let own = certificate(&service.certificate, &service.key)?;
    let config = Arc::new(believing(&service.trust, |believed| outward::believing_as(believed, &own))?);
    let address = place.resolve()?;
    let mut all = Vec::new();
    let names: Vec<_> = (1..=count).map(|number| format!("sip:{name}-{number}")).collect();
    for some in names.chunks(limits::MRAS_CREDENTIALS_MAX) {
        let connection = ClientConnection::new(Arc::clone(&config), name_of(&place.host)?);
        let connection = connection.map_err(|error| place.broken(&io::Error::other(error)))?;
        let socket = http::Timed::connect(address, PATIENCE).map_err(|error| place.broken(&error))?;
        let mut stream = StreamOwned::new(connection, socket);
        let body = request(some, lifetime);
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}:{}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            place.path,
            place.host,
            place.port,
            body.len()
        );
        let asked = [head.as_bytes(), body.as_bytes()].concat();
        let answer = http::exchange(&mut stream, &asked, limits::LOAD_MRAS_MAX);
        let answer = answer.map_err(|error| place.broken(&error))?;
        all.extend(place.judge(&answer, some.len())?);
    }
    Ok(if all.len() == 1 { Who::One(all.remove(0)) } else { Who::Many(all) })
}

impl Place {
    fn read(uri: &str) -> Result<Self, Fault> {
        let wrong = |what: &str| {
            let fault =
                Fault::new(FaultKind::Request, format!("{uri:?} is no address of an MRAS service: {what}"));
            fault.cure("write https://HOST, https://HOST:PORT or https://HOST:PORT/mras")
        };
        let rest = uri.strip_prefix("https://").ok_or_else(|| wrong("it does not begin with https://"))?;
        let (authority, path) = rest.find('/').map_or((rest, PATH), |slash| rest.split_at(slash));
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain(rest) || authority.contains(['@', '?', '#']) {
            return Err(wrong("it holds what stands in none"));
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some("443"))),
            None => {
                authority.split_once(':').map_or((authority, Some("443")), |(host, port)| (host, Some(port)))
            }
        };
        let port = port.and_then(|port| port.parse().ok()).filter(|port: &u16| *port > 0);
        match (host.is_empty(), port) {
            (true, _) => Err(wrong("it names no host")),
            (_, None) => Err(wrong("its port is none")),
            (_, Some(port)) => Ok(Self { host: host.to_owned(), port, path: path.to_owned() }),
        }
    }

    fn resolve(&self) -> Result<SocketAddr, Fault> {
        let Self { host, port, .. } = self;
        let none = |why: String| {
            let what = format!("the name {host} of the MRAS service cannot be resolved: {why}");
            Fault::new(FaultKind::Request, what).cure("check its spelling and this machine's DNS")
        };
        let mut found = (host.as_str(), *port).to_socket_addrs().map_err(|error| none(error.to_string()))?;
        found.next().ok_or_else(|| none("it has no address".to_owned()))
    }

    /// What went wrong with the connection.
    fn broken(&self, error: &io::Error) -> Fault {
        let Self { host, port, .. } = self;
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(flaw)) => CertificateFlaw::of(flaw).fault(host),
            Some(rustls::Error::AlertReceived(alert)) => {
                let what = format!("the MRAS service at {host}:{port} refused the handshake: {alert:?}");
                Fault::new(FaultKind::Server, what)
                    .cure("show it a certificate of its authority, for a name of `[mras] front_ends`")
            }
            _ => {
                let why = match error.kind() {
                    io::ErrorKind::TimedOut => "no answer in time".to_owned(),
                    _ => error.to_string(),
                };
                Fault::new(FaultKind::Server, format!("the MRAS service at {host}:{port} cannot be asked: {why}"))
                    .cure("check its address, `[mras.https] listen` of the server, and that it knows the certificate shown")
            }
        }
    }

    fn judge(&self, answer: &http::Answer, count: usize) -> Result<Vec<Credential>, Fault> {
        let Self { host, port, path } = self;
        let server = |what: String| Fault::new(FaultKind::Server, what);
        if answer.status != 200 {
            return Err(server(format!(
                "the MRAS service at {host}:{port} answers {} for {path}",
                answer.status
            ))
            .cure("check the path: Swingbridge's is /mras"));
        }
        let read = Granted::read(&answer.body)
            .ok_or_else(|| server(format!("what {host}:{port} answers is no answer of an MRAS service")))?;
        if read.reason != "OK" {
            return Err(server(format!("the MRAS service at {host}:{port} refuses: {}", read.reason)));
        }
        if read.credentials.len() != count {
            let got = read.credentials.len();
            return Err(server(format!(
                "the MRAS service at {host}:{port} gave {got} credentials for {count}"
            )));
        }
        Ok(read.credentials)
    }
}

fn certificate(chain: &Path, key: &Path) -> Result<Certificate, Fault> {
    let request = |what: String| Fault::new(FaultKind::Request, what);
    let read = |file: &Path| {
        fs::read(file)
            .map_err(|error| request(format!("the file `{}` cannot be read: {error}", file.display())))
    };
    Certificate::from_pem(&read(chain)?, &read(key)?).map_err(|error| {
        let file = if error.is_of_key() { key } else { chain };
        request(format!("the file `{}` cannot be used: {error}", file.display()))
    })
}

/// One request for all of `names`, which hold nothing that XML would take for its own.
fn request(names: &[String], lifetime: Duration) -> String {
    let minutes = lifetime.as_secs().div_ceil(60).max(1);
    let each = |(number, name): (usize, &String)| {
        let name = quick_xml::escape::escape(name.as_str());
        format!(
            "<credentialsRequest credentialsRequestID=\"{number}\"><identity>{name}</identity>\
             <location>internet</location><duration>{minutes}</duration></credentialsRequest>"
        )
    };
    let inside: String = names.iter().enumerate().map(each).collect();
    format!(
        "<request requestID=\"1\" version=\"1.0\" from=\"sip:load\" to=\"sip:mras\" route=\"loadbalanced\" \
         xmlns=\"{NAMESPACE}\">{inside}</request>"
    )
}

/// What an answer holds of interest.
#[derive(Debug, Default)]
struct Granted {
    reason: String,
    credentials: Vec<Credential>,
}

impl Granted {
    fn read(xml: &str) -> Option<Self> {
        let mut reader = NsReader::from_str(xml);
        let mut granted = Self::default();
        let (mut user, mut password, mut inside) = (None, None, String::new());
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) | Event::Empty(start) if start.local_name().as_ref() == "response" => {
                    let reason = start.try_get_attribute("reasonPhrase").ok()??;
                    granted.reason = reason.value.into_owned();
                }
                Event::Start(_) => inside.clear(),
                Event::Text(text) => inside.push_str(&text),
                Event::End(end) => match end.local_name().as_ref() {
                    "username" => user = Some(BASE64_STANDARD.decode(inside.trim()).ok()?),
                    "password" => password = Some(BASE64_STANDARD.decode(inside.trim()).ok()?),
                    "credentials" => {
                        granted.credentials.push(credential(&user.take()?, &password.take()?));
                    }
                    _ => {}
                },
                Event::Eof => return (!granted.reason.is_empty()).then_some(granted),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (uri, host, port, path) in [
            ("https://edge.example", "edge.example", 443, "/mras"),
            ("https://edge.example:5062", "edge.example", 5062, "/mras"),
            ("https://[::1]:5062/other", "::1", 5062, "/other"),
            ("https://[::1]", "::1", 443, "/mras"),
        ] {
            let place = Place { host: host.to_owned(), port, path: path.to_owned() };
            assert_eq!(Place::read(uri), Ok(place), "{uri}");
        }
        for uri in [
            "http://edge.example",
            "edge.example",
            "https://",
            "https://:1",
            "https://a:0",
            "https://a:x",
            "https://u@a",
            "https://[::1]x",
            "https://a b",
            "https://a\r\nX: y",
        ] {
            let fault = Place::read(uri).expect_err(uri);
            assert!(fault.kind == FaultKind::Request && fault.cure.is_some(), "{fault}");
        }
    }

    #[test]
    fn answers_are_read_and_what_is_none_is_told() {
        let place = Place::read("https://edge.example").expect("sound");
        let granted = "<response reasonPhrase=\"OK\"><credentialsResponse><credentials><username>YWxpY2U=</username>\
            <password>c2VjcmV0</password><duration>480</duration></credentials></credentialsResponse></response>";
        let answer = |status, body: &str| http::Answer { status, body: body.to_owned() };
        let got = place.judge(&answer(200, granted), 1).expect("granted");
        assert_eq!(got[0].username[..], *b"alice");
        for (answer, count, said) in [
            (answer(404, ""), 1, "answers 404"),
            (answer(200, granted), 2, "gave 1 credentials for 2"),
            (answer(200, "<response reasonPhrase=\"Server Busy\"/>"), 1, "refuses: Server Busy"),
            (answer(200, ""), 1, "no answer of an MRAS"),
            (answer(200, "<response>"), 1, "no answer of an MRAS"),
            (
                answer(200, "<response reasonPhrase=\"OK\"><credentials></credentials></response>"),
                1,
                "no answer",
            ),
            (answer(200, &granted.replace("c2Vj", "!!!!")), 1, "no answer of an MRAS"),
        ] {
            let fault = place.judge(&answer, count).expect_err(said);
            assert!(fault.what.contains(said), "{said}: {fault}");
        }
    }

    #[test]
    fn files_that_are_none_are_told() {
        let service = Service {
            uri: "https://localhost".to_owned(),
            trust: Trust::Anyone,
            certificate: "/nonexistent/own.pem".into(),
            key: "/nonexistent/own.key".into(),
        };
        let fault = fetch(&service, "load", 1, Duration::from_secs(60)).expect_err("no file").to_string();
        assert!(fault.contains("own.pem") && fault.contains("cannot be read"), "{fault}");
        assert!(fetch(&service, "load", 0, Duration::from_secs(60)).is_err());
    }
}
