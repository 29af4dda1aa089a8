//! What all threads of a run know, and none changes.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::time::Duration;

use crate::load::Fault;
use crate::load::Plan;
use crate::load::carrier::Dialler;
use crate::load::fault::FaultKind;
use crate::load::machine::Allowed;
use crate::load::machine::Ports;
use crate::load::nats::Nats;
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
    /// Addresses that clients come from, in turn.
    pub(super) sources: Vec<IpAddr>,
    pub(super) allowed: Allowed,
    /// Makes connections, where datagrams in the clear will not do.
    pub(super) dialler: Option<Dialler>,
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
    /// What stands before agents of ICE.
    pub(super) nats: Option<Nats>,
}

impl Common {
    /// For a run of `plan` against `server`.
    pub(super) fn new(plan: &Plan, server: &Server, threads: u32) -> Result<Self, Fault> {
        plan.nats.as_ref().map_or(Ok(()), |nats| nats.check(server))?;
        let sources = sources(plan, server.first_hop())?;
        let dialler = Dialler::new(server)?;
        let peer_ip = match plan.peer {
            PeerPlace::Local(Some(ip)) => Some(ip),
            PeerPlace::Local(None) => Some(route(server.address)?),
            PeerPlace::Relay | PeerPlace::Remote(_) => None,
        };
        if let Some(ip) = peer_ip.filter(|ip| !probe::can_be_bound(*ip)) {
            return Err(Fault::new(FaultKind::Request, format!("{ip} is no address of this machine"))
                .cure("write one of this machine's for the peers, or leave it out"));
        }
        if server.carrier == Carrier::LegacyTcp && plan.peer != PeerPlace::Relay {
            let what = "over a connection the old dialect relays connections, and peers that speak those are only clients";
            return Err(Fault::new(FaultKind::Request, what).cure("take --peer relay, or load it over UDP"));
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
            sources,
            allowed: Allowed::beside([server.first_hop().ip()]),
            dialler,
            clock: Clock::start(),
            run: u32::from_ne_bytes(name),
            threads,
            peer_ip,
            is_stamped: matches!(server.carrier, Carrier::Udp | Carrier::LegacyUdp),
            reads: if is_burst { super::thread::RECEIVED } else { 2 },
            families: families(plan.peer, peer_ip, server.address),
            nats: plan.nats.clone(),
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
        let transport = transport(self.server.carrier);
        let mut config = Config::new(credential).over(transport);
        config.timing = if self.server.carrier.is_stream() { Timing::STREAMS } else { TIMING };
        config.families = self.families;
        config
    }

    /// The ports of one thread.
    pub(super) fn ports(&self, thread: u32) -> Ports {
        let any: IpAddr = if self.server.first_hop().is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let share = (thread as usize, self.threads as usize);
        Ports::new(self.allowed.clone(), &self.sources, any, self.generator.seed, share)
    }

    /// A number that names the run's randomness.
    pub(super) const fn seed(&self) -> u64 {
        mix(self.generator.seed)
    }
}

/// What carries messages of this protocol's dialect.
pub(super) const fn transport(carrier: Carrier) -> Transport {
    match carrier {
        Carrier::Tcp => Transport::Tcp,
        // The line frames what the old dialect's client says.
        Carrier::Udp | Carrier::LegacyUdp | Carrier::LegacyTcp => Transport::Udp,
        Carrier::Tls => Transport::Tls,
        Carrier::Dtls => Transport::Dtls,
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

/// The addresses to come from that have the server's family; none: as the kernel chooses.
fn sources(plan: &Plan, server: SocketAddr) -> Result<Vec<IpAddr>, Fault> {
    let all = &plan.generator.sources;
    let fit: Vec<IpAddr> =
        all.iter().copied().filter(|source| source.is_ipv4() == server.is_ipv4()).collect();
    if fit.is_empty() && !all.is_empty() {
        return Err(Fault::new(FaultKind::Request, format!("no source address has the family of {server}"))
            .cure("give addresses of the server's family, or load it by one of the other family"));
    }
    Ok(fit)
}

/// The address from which this machine speaks to `server`. Nothing is sent.
pub(super) fn route(server: SocketAddr) -> Result<IpAddr, Fault> {
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let local = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(server)?;
        socket.local_addr()
    });
    local.map(|local| local.ip()).map_err(|error| {
        Fault::new(FaultKind::Machine, format!("no way leads from this machine to {server}: {error}"))
            .cure("check the address, and this machine's routes")
    })
}
