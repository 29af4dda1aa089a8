//! The doors for connections, as `serve` opens them.

use std::sync::Arc;

use crate::config::Settings;
use crate::config::WebSettings;
use crate::config::WebSite;
use crate::control::SystemEntropy;
use crate::listen;
use crate::listen::Deadlines;
use crate::listen::Listening;
use crate::listen::WorkerDoor;
use crate::listen::web::Target;
use crate::listen::web::Web;
use crate::net::Certificate;
use crate::net::Certificates;
use crate::net::StreamListener;
use crate::net::TlsServer;
#[cfg(feature = "dtls")]
use crate::net::dtls::DtlsServer;
#[cfg(feature = "dtls")]
use crate::proto::types::Entropy as _;
use crate::relay;

use super::Exit;
use super::output;
use super::serve::bind_cure;
use super::serve::refused;
use super::serve::seeds;

/// Binds what the settings name, and takes out of them what cannot be had and nobody asked for by name; that is said
/// aloud.
pub(super) fn bind(settings: &mut Settings, warnings: &mut Vec<String>) -> Result<Vec<StreamListener>, Exit> {
    let mut bound = Vec::new();
    for listener in std::mem::take(&mut settings.listen_stream) {
        match StreamListener::bind(listener.bind) {
            Ok(socket) => {
                bound.push(socket);
                settings.listen_stream.push(listener);
            }
            Err(refusal) if listener.defaulted => warnings.push(format!("left out: {refusal}")),
            Err(refusal) => return Err(refused(&format!("{refusal}{}", bind_cure(&refusal)))),
        }
    }
    Ok(bound)
}

/// Opens the doors in front of the workers behind `handles`.
pub(super) fn open(
    settings: &Settings,
    certificates: &Arc<Certificates>,
    listeners: Vec<StreamListener>,
    handles: &mut [relay::Handle],
) -> Result<Listening, Exit> {
    let tls = TlsServer::new(Arc::clone(certificates))
        .map_err(|error| refused(&format!("TLS cannot be had: {error}")))?;
    let web = web(&settings.web);
    let config = listen::Config {
        streams_total: settings.streams_total,
        streams_per_address: settings.streams_per_address,
        hash_seeds: seeds(&mut SystemEntropy),
        deadlines: Deadlines::default(),
        tls: tls.beside_web(web.protocols()),
        proxy_from: settings.proxy_from.clone(),
        web,
        legacy: settings.ms_turn,
    };
    let doors = handles.iter_mut().filter_map(|handle| {
        let stats = handle.stats();
        handle.streams.take().map(|streams| WorkerDoor { streams, stats })
    });
    listen::start(config, listeners, doors.collect())
        .map_err(|error| refused(&format!("no thread for connections: {error}")))
}

/// Clients over DTLS are answered where there is a certificate that can be shown to them. Said aloud where there is none.
#[cfg(feature = "dtls")]
pub(super) fn answer_dtls(
    config: &mut relay::Config,
    certificates: &Arc<Certificates>,
    warnings: &mut Vec<String>,
) -> Result<(), Exit> {
    let mut key = [0; 32];
    SystemEntropy.fill_secret(&mut key);
    let server = DtlsServer::new(Arc::clone(certificates), key)
        .map_err(|error| refused(&format!("DTLS cannot be had: {error}")))?;
    if server.is_ready() {
        config.dtls = Some(server);
    } else if !certificates.is_empty() {
        let told = "no DTLS: it can show certificates with a key of ECDSA over P-256 or P-384 alone, and there is none";
        warnings.push(told.to_owned());
    }
    Ok(())
}

fn web(settings: &WebSettings) -> Web {
    let target = |site: WebSite| Target { address: site.address, proxy: site.proxy };
    Web {
        upstream: settings.upstream.map(target),
        upstream_h2: settings.upstream_h2,
        passthrough: settings.passthrough.clone(),
        passthrough_to: settings.passthrough_to.map(target),
        total: settings.total,
        ..Web::default()
    }
}

/// A certificate for trials, which nobody but who is told to trusts.
pub(super) fn self_signed(settings: &Settings) -> Result<Certificate, Exit> {
    let mut names = vec!["localhost".to_owned()];
    names.extend(host_name());
    names.extend(settings.relays.iter().map(|relay| relay.external.to_string()));
    let failed =
        |why: String| output::complain(&format!("error: no certificate for trials: {why}\n"), Exit::Failed);
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| failed(error.to_string()))?;
    Certificate::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes())
        .map_err(|error| failed(error.to_string()))
}

/// The name of this machine, if it is one of a host.
fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_str().ok()?.to_ascii_lowercase();
    let is_part = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    (name != "localhost" && name.len() <= 253 && name.split('.').all(is_part)).then_some(name)
}
