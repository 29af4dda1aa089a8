//! What all threads of a run know, and none changes.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use crate::load::Fault;
use crate::load::Plan;
use crate::load::fault::FaultKind;
use crate::load::payload::Way;
use crate::load::plan::Carrier;
use crate::load::plan::Framing;
use crate::load::plan::Generator;
use crate::load::plan::PeerPlace;
use crate::load::plan::Profile;
use crate::load::plan::Server;
use crate::load::plan::Traffic;
use crate::load::plan::Who;
use crate::load::profile::mix;
use crate::net::probe;
use crate::proto::client::Config;
use crate::proto::client::Credential;
use crate::proto::client::Families;
use crate::proto::client::Timing;
use crate::proto::types::Transport;

use super::clock::Clock;
use super::places::Places;
use super::places::route_to;

/// Requests of clients over datagrams: as RFC 8489 § 6.2.1 has it, but given up after 11.5 s. Whoever sizes a server need
/// not know which of its answers come after that.
const TIMING: Timing = Timing {
    first_wait: Duration::from_millis(500),
    transmissions: 5,
    last_wait: Duration::from_millis(4_000),
};

/// What all threads of a run know.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) server: Server,
    pub(super) traffic: Traffic,
    pub(super) framing: Framing,
    pub(super) peer: PeerPlace,
    pub(super) generator: Generator,
    pub(super) places: Places,
    pub(super) clock: Clock,
    /// Names the run in its packets.
    pub(super) run: u32,
    /// Threads that share the calls.
    pub(super) threads: u32,
    /// Where peers of this process are; `None`: there are none.
    pub(super) peer_ip: Option<IpAddr>,
    /// Whether the kernel stamps all packets that arrive, so that they need not be read at once.
    pub(super) is_stamped: bool,
    /// Datagrams to be read from a client's socket at a time.
    pub(super) reads: usize,
    families: Families,
}

impl Common {
    /// For a run of `plan` against `server`.
    pub(super) fn new(plan: &Plan, server: &Server, threads: u32) -> Result<Self, Fault> {
        let places = Places::new(server.address, &plan.generator.sources)?;
        let peer_ip = match plan.peer {
            PeerPlace::Local(Some(ip)) => Some(ip),
            PeerPlace::Local(None) => Some(route(server.address)?),
            PeerPlace::Relay | PeerPlace::Remote(_) => None,
        };
        if let Some(ip) = peer_ip.filter(|ip| !probe::can_be_bound(*ip)) {
            return Err(Fault::new(FaultKind::Request, format!("{ip} is no address of this machine"))
                .cure("write one of this machine's for the peers, or leave it out"));
        }
        let mut name = [0; 4];
        // Packets of an earlier run may still be on their way.
        let _ = getrandom::fill(&mut name);
        let is_burst = !matches!(plan.traffic.profile, Profile::Audio | Profile::Even { burst: 0 | 1, .. });
        Ok(Self {
            server: server.clone(),
            traffic: plan.traffic,
            framing: plan.framing,
            peer: plan.peer,
            generator: plan.generator.clone(),
            places,
            clock: Clock::start(),
            run: u32::from_ne_bytes(name),
            threads,
            peer_ip,
            is_stamped: matches!(server.carrier, Carrier::Udp | Carrier::LegacyUdp),
            reads: if is_burst { super::thread::RECEIVED } else { 2 },
            families: families(plan.peer, peer_ip, server.address),
        })
    }

    /// What the client at this end of this call is made with.
    pub(super) fn client(&self, call: u32, end: Way) -> Config {
        let ends = if self.peer == PeerPlace::Relay { 2 } else { 1 };
        let number = call as usize * ends + usize::from(end == Way::Down);
        let credential = match &self.server.who {
            Who::One(credential) => credential.clone(),
            Who::Many(all) => all.get(number % all.len().max(1)).cloned().unwrap_or_else(nobody),
        };
        let transport = match self.server.carrier {
            Carrier::Udp | Carrier::LegacyUdp => Transport::Udp,
            Carrier::Tcp | Carrier::LegacyTcp => Transport::Tcp,
            Carrier::Tls => Transport::Tls,
            Carrier::Dtls => Transport::Dtls,
        };
        let mut config = Config::new(credential).over(transport);
        if !transport.is_stream() {
            config.timing = TIMING;
        }
        config.families = self.families;
        config
    }

    /// A number that names the run's randomness.
    pub(super) const fn seed(&self) -> u64 {
        mix(self.generator.seed)
    }
}

/// Who has no name: for a list that is empty against its promise.
fn nobody() -> Credential {
    use crate::proto::client::Proof;
    use crate::proto::types::Secret;
    Credential { username: Box::default(), proof: Proof::Password(Secret::new(&b""[..])), token: None }
}

/// A relayed address of the family that its peers have.
const fn families(peer: PeerPlace, peer_ip: Option<IpAddr>, server: SocketAddr) -> Families {
    let is_v4 = match (peer, peer_ip) {
        (PeerPlace::Remote(peer), _) => peer.is_ipv4(),
        (_, Some(ip)) => ip.is_ipv4(),
        _ => server.is_ipv4(),
    };
    if is_v4 { Families::V4 } else { Families::V6 }
}

fn route(server: SocketAddr) -> Result<IpAddr, Fault> {
    route_to(server).map_err(|error| {
        Fault::new(FaultKind::Machine, format!("no way leads from this machine to {server}: {error}"))
            .cure("check the address, and this machine's routes")
    })
}
