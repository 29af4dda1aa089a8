//! The doors of the MRAS service, as `serve` opens them and a reload changes what is behind them.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::MrasSettings;
use crate::config::Settings;
use crate::control::Clock;
use crate::control::SystemEntropy;
use crate::mras;
use crate::mras::Desk;
use crate::mras::Door;
use crate::mras::Live;
use crate::mras::Mras;
use crate::mras::request::Location;
use crate::mras::response::MediaRelay;
use crate::mras::response::Service;
use crate::net::Certificates;
use crate::net::MutualTls;
use crate::net::StreamListener;
use crate::proto::types::limits;

use super::Exit;
use super::serve::bind_cure;
use super::serve::refused;
use super::serve::seeds;

/// The port of TURN over TLS and pseudo-TLS, which clients try first.
const TCP_PORT_USUAL: u16 = 443;

/// The open doors, and what a reload needs to change what is behind them.
pub(super) struct Doors {
    mras: Mras,
    behind: Behind,
}

/// What a reload needs. All but the desk takes a restart.
#[derive(Clone)]
pub(super) struct Behind {
    desk: Desk,
    realm: Box<str>,
    reach: Reach,
    /// What the server itself shows.
    certificates: Arc<Certificates>,
}

/// How clients reach this server, as far as its addresses tell.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reach {
    host: Option<String>,
    udp_port: Option<u16>,
    tcp_port: Option<u16>,
}

/// Opens the doors that the settings name; `None` if they name none. `certificates` are what the server itself shows.
pub(super) fn open(
    settings: &Settings,
    certificates: &Arc<Certificates>,
    clock: Clock,
) -> Result<Option<Doors>, Exit> {
    let MrasSettings { https, sip, sip_plain, .. } = settings.mras;
    let mut listeners = Vec::new();
    for (door, address) in [(Door::Https, https), (Door::Sip, sip), (Door::SipPlain, sip_plain)] {
        let Some(address) = address else { continue };
        let listener = StreamListener::bind(address).map_err(|refusal| {
            refused(&format!("{refusal}, for [mras] {}{}", door.word(), bind_cure(&refusal)))
        })?;
        listeners.push((door, listener));
    }
    if listeners.is_empty() {
        return Ok(None);
    }
    let reach = Reach::of(settings);
    let live = live(settings, &settings.realm, &reach, certificates)
        .map_err(|error| refused(&format!("the doors of the MRAS service cannot be had: {error}")))?;
    let unix = Box::new(move || clock.now().unix);
    let config = mras::Config::new(listeners, seeds(&mut SystemEntropy), unix);
    let mras = mras::start(config, live)
        .map_err(|error| refused(&format!("no thread for the MRAS service: {error}")))?;
    let (realm, certificates) = (settings.realm.clone(), Arc::clone(certificates));
    let behind = Behind { desk: mras.desk(), realm, reach, certificates };
    Ok(Some(Doors { mras, behind }))
}

impl Doors {
    /// What is counted.
    pub(super) fn stats(&self) -> Arc<mras::Stats> {
        self.mras.stats()
    }

    /// For a reload.
    pub(super) fn behind(&self) -> Behind {
        self.behind.clone()
    }
}

impl Behind {
    /// What the doors are to serve by `settings`; `None` if they have to go on as they are.
    pub(super) fn prepare(&self, settings: &Settings) -> Option<Live> {
        let live = live(settings, &self.realm, &self.reach, &self.certificates);
        live.inspect_err(|error| tracing::error!(%error, "the doors of the MRAS service go on as they were"))
            .ok()
    }

    /// From here on they serve it.
    pub(super) fn exchange(&self, live: Live) {
        self.desk.exchange(live);
    }
}

/// What is behind the doors by `settings`.
fn live(
    settings: &Settings,
    realm: &str,
    reach: &Reach,
    certificates: &Arc<Certificates>,
) -> Result<Live, rustls::Error> {
    let doors = &settings.mras;
    let shown = match doors.certificates.is_empty() {
        true => Arc::clone(certificates),
        false => Arc::new(Certificates::new(doors.certificates.clone())),
    };
    let tls = doors.authority.as_ref().map(|authority| MutualTls::new(shown, authority)).transpose()?;
    let key = settings.credentials.mras.first().cloned();
    let key = key.ok_or_else(|| rustls::Error::General("there are no [mras] keys".to_owned()))?;
    let service = Service {
        key,
        realm: realm.to_owned(),
        relays: reach.relays(doors),
        duration_min_max: duration_min_max(settings.credentials.lifetime_max_s),
    };
    Ok(Live { service, tls, front_ends: doors.front_ends.clone().into() })
}

/// In minutes: what the server would refuse is not handed out.
fn duration_min_max(lifetime_max_s: u64) -> u64 {
    (lifetime_max_s.min(limits::CREDENTIAL_LIFETIME_MAX.as_secs()) / 60).max(1)
}

impl Reach {
    fn of(settings: &Settings) -> Self {
        let udp = settings.listen_udp.first().map(|listener| listener.external);
        let streams = settings.listen_stream.iter().map(|listener| listener.external.port());
        Self {
            host: udp.and_then(|listener| address(settings, listener)),
            udp_port: udp.map(|listener| listener.port()),
            tcp_port: streams.min_by_key(|port| *port != TCP_PORT_USUAL),
        }
    }

    /// This server, as clients outside and inside are told of it.
    fn relays(&self, doors: &MrasSettings) -> Vec<MediaRelay> {
        let internet = doors.internet_host.as_ref().or(self.host.as_ref());
        let intranet = doors.intranet_host.as_ref().or(internet);
        let Self { udp_port, tcp_port, .. } = *self;
        [(Location::Internet, internet), (Location::Intranet, intranet)]
            .into_iter()
            .filter_map(|(location, host)| {
                Some(MediaRelay { location, host: host?.clone(), udp_port, tcp_port })
            })
            .collect()
    }
}

/// The address of a listener, or of the relay of its family where it listens on every address.
fn address(settings: &Settings, listener: SocketAddr) -> Option<String> {
    let is_relay = |ip: &IpAddr| ip.is_ipv4() == listener.is_ipv4();
    let ip = match listener.ip().is_unspecified() {
        true => settings.relays.iter().map(|relay| relay.external).find(is_relay)?,
        false => listener.ip(),
    };
    Some(ip.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::config::Machine;

    fn settings(text: &str) -> Settings {
        let text = format!(
            "[auth]\nsecrets = [\"0123456789abcdef\"]\n\
             [mras]\nkeys = [{{ key1 = \"0123456789abcdef\", key2 = \"123456789abcdef0\" }}]\n{text}\n"
        );
        let loaded = config::load("a.toml", &text, &config::OperatingSystem::beside("a.toml".as_ref()));
        let checked = loaded.checked.unwrap_or_else(|| panic!("{}", loaded.report.render(false)));
        checked.build(&Machine::default())
    }

    fn told(text: &str) -> Vec<(Location, String, Option<u16>, Option<u16>)> {
        let settings = settings(text);
        let relays = Reach::of(&settings).relays(&settings.mras).into_iter();
        relays.map(|relay| (relay.location, relay.host, relay.udp_port, relay.tcp_port)).collect()
    }

    #[test]
    fn clients_are_told_the_names_of_the_file_or_the_external_address() {
        let listen =
            "[listen]\nudp = [{ bind = \"10.0.0.5:3478\", external = \"203.0.113.7:3479\" }]\nstream = []";
        assert_eq!(
            told(listen),
            [Location::Internet, Location::Intranet].map(|at| (
                at,
                "203.0.113.7".to_owned(),
                Some(3479),
                None
            ))
        );
        let relay = "[relay]\naddresses = [{ bind = \"10.0.0.5\", external = \"203.0.113.7\" }]";
        let names = "internet_host = \"edge.example.com\"\nintranet_host = \"10.0.0.5\"";
        assert_eq!(
            told(&format!("{names}\n{relay}")),
            [(Location::Internet, "edge.example.com"), (Location::Intranet, "10.0.0.5")].map(|(at, host)| (
                at,
                host.to_owned(),
                Some(3478),
                Some(443)
            ))
        );
        assert_eq!(
            told(relay)[1].1,
            "203.0.113.7",
            "whoever listens everywhere is told by the relay's address"
        );
    }

    #[test]
    fn nothing_is_handed_out_for_longer_than_the_server_would_take_it() {
        for (lifetime_s, minutes) in [(8 * 3_600, 480), (90, 1), (10, 1), (24 * 3_600, 480)] {
            assert_eq!(duration_min_max(lifetime_s), minutes, "{lifetime_s} s");
        }
    }
}
