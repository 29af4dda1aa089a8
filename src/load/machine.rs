//! What a load needs of this machine, computed before anything is begun: a lack is one sentence with its cure, and not a
//! failure in the midst of a run.

use std::net::IpAddr;
use std::thread;

use crate::net::probe;
use crate::place::Place;
use crate::proto::types::Family;
use crate::proto::types::limits;

use super::Fault;
use super::fault::FaultKind;
use super::nats::Nats;
use super::outcome;
use super::plan::Mode;
use super::plan::PeerPlace;
use super::plan::Plan;

mod ports;

pub use ports::Allowed;
pub use ports::Ports;

/// Descriptors of a thread: its poll, what wakes it, its clock.
const DESCRIPTORS_OF_A_THREAD: u64 = 4;
/// Descriptors for what is open for a moment: files of the kernel, the admin endpoint, the report.
const DESCRIPTORS_TO_SPARE: u64 = 32;
/// Sockets of an ICE agent that gathers every candidate, beside one for each address of this machine: one to the server,
/// one to spare.
const SOCKETS_OF_AN_AGENT: u64 = 2;

/// Ports of the address of an agent behind a NAT: of datagrams, and of connections.
const PORTS_BEHIND_A_NAT: u64 = (limits::LOAD_NAT_PORTS_MAX + limits::ICE_SERVERS_MAX) as u64;

/// What a load needs at its largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Calls, or pairs, that are in being at once, over all servers.
    pub calls: u64,
    /// What they are: `call` or `pair`.
    pub counted: &'static str,
    /// Descriptors of this process.
    pub descriptors: u64,
    /// Ports of that source address of which most are needed.
    pub ports: u64,
    /// Source addresses.
    pub sources: u64,
}

/// This machine, looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What the load needs.
    pub needs: Needs,
    /// Descriptors that this process may hold.
    pub descriptors: u64,
    /// The ports that the load may take.
    pub allowed: Allowed,
}

/// What `plan` needs at its largest, with `threads` that send and receive, beside `open` descriptors that there are.
#[must_use]
pub fn needs(plan: &Plan, threads: usize, open: u64) -> Needs {
    let sources = (plan.generator.sources.len() as u64).max(1);
    let threads = threads.max(1) as u64;
    let calls = calls(&plan.mode) * servers_at_once(plan);
    let (clients, peers) = match (&plan.mode, plan.peer) {
        (Mode::Ice { .. }, _) if plan.nats.is_some() => {
            (plan.nats.as_ref().map_or(0, |nats| behind_nats(nats, calls)), 0)
        }
        (Mode::Ice { relay_only, .. }, _) => {
            let own = probe::own_addresses().map_or(1, |own| own.len() as u64);
            let each = if *relay_only { 1 } else { SOCKETS_OF_AN_AGENT + own };
            (calls * 2 * each, 0)
        }
        // No media flows in it, so nobody is at the other end.
        (Mode::Churn { .. }, _) | (_, PeerPlace::Remote(_)) => (calls, 0),
        (_, PeerPlace::Relay) => (calls * 2, 0),
        // The peers of a thread share one socket.
        (_, PeerPlace::Local(_)) => (calls, threads),
    };
    let of_threads = DESCRIPTORS_OF_A_THREAD * threads;
    // Peers speak datagrams: what clients of connections have are other ports.
    let beside = if plan.servers.iter().any(|server| !server.carrier.is_stream()) { peers } else { 0 };
    // Behind NATs each agent has an address of its own.
    let ports = if plan.nats.is_some() {
        PORTS_BEHIND_A_NAT
    } else {
        (clients.div_ceil(sources) + beside).max(peers)
    };
    let descriptors = clients + peers + of_threads + DESCRIPTORS_TO_SPARE + open;
    let counted = if matches!(plan.mode, Mode::Ice { .. }) { "pair" } else { "call" };
    Needs { calls, counted, descriptors, ports, sources }
}

/// Sockets of so many pairs of agents between NATs, if all of them are in being at once: one for each port of each NAT, and one
/// for each connection to a server.
fn behind_nats(nats: &Nats, pairs: u64) -> u64 {
    let lines = nats.ways.len() as u64 + 1;
    let doors =
        |place: &Place| if place.maps_by_destination() { limits::LOAD_NAT_PORTS_MAX as u64 } else { 1 };
    let each = nats.places.iter().map(|places| places.iter().map(|place| doors(place) + lines).sum::<u64>());
    pairs.div_ceil(nats.places.len().max(1) as u64) * each.sum::<u64>()
}

/// Makes this machine ready for `plan`: lets the process hold as many descriptors as the system allows, and looks whether
/// that and the ports suffice.
///
/// # Errors
/// [`FaultKind::Machine`] with the figures and the cure; [`FaultKind::Request`] for source addresses that cannot be used.
pub fn prepare(plan: &Plan, threads: usize) -> Result<Found, Fault> {
    check_sources(plan)?;
    let open = std::fs::read_dir("/proc/self/fd").map_or(3, |entries| entries.count() as u64);
    let needs = needs(plan, threads, open);
    let descriptors = probe::raise_descriptor_limit().map_err(|error| {
        Fault::new(FaultKind::Machine, format!("the number of descriptors cannot be raised: {error}"))
    })?;
    let allowed = Allowed::beside(plan.servers.iter().map(|server| server.address.ip()));
    judge(needs, descriptors, &allowed)?;
    Ok(Found { needs, descriptors, allowed })
}

/// The machine that the load comes from, for the report.
#[must_use]
pub fn observe() -> outcome::Machine {
    let system = rustix::system::uname();
    outcome::Machine {
        cores: thread::available_parallelism().map_or(1, usize::from),
        kernel: format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy()),
    }
}

/// Calls at the most.
fn calls(mode: &Mode) -> u64 {
    u64::from(match *mode {
        Mode::Soak { calls, .. } | Mode::Storm { calls, .. } | Mode::Compare { calls, .. } => calls,
        Mode::Ramp { to, .. } | Mode::Capacity { to, .. } => to,
        Mode::Churn { at_once, .. } => at_once,
        Mode::Ice { pairs, .. } => pairs,
    })
}

/// Servers whose calls are in being at once: both that are compared.
fn servers_at_once(plan: &Plan) -> u64 {
    if matches!(plan.mode, Mode::Compare { .. }) { plan.servers.len().max(1) as u64 } else { 1 }
}

fn judge(needs: Needs, descriptors: u64, allowed: &Allowed) -> Result<(), Fault> {
    let machine = |what: String| Fault::new(FaultKind::Machine, what);
    let Needs { calls, counted, descriptors: wanted, ports, sources } = needs;
    if wanted > descriptors {
        return Err(machine(format!(
            "{calls} {counted}s need {wanted} descriptors, and this process may hold {descriptors}"
        ))
        .cure(format!(
            "raise the limit: `ulimit -Hn {wanted}` as root before, or LimitNOFILE={wanted} in a unit; or ask for fewer {counted}s"
        )));
    }
    let there = allowed.len() as u64;
    if ports > there {
        let more = (ports * sources).div_ceil(there.max(1));
        return Err(machine(format!(
            "{calls} {counted}s need {ports} ports of one source address, and each has {there} for them ({allowed})"
        ))
        .cure(format!(
            "name {more} addresses of this machine with --source, or ask for fewer {counted}s; ports that \
             net.ipv4.ip_local_reserved_ports keeps are left alone"
        )));
    }
    Ok(())
}

/// Source addresses must be of this machine, and of the servers' family.
fn check_sources(plan: &Plan) -> Result<(), Fault> {
    let request = |what: String| Fault::new(FaultKind::Request, what);
    for source in &plan.generator.sources {
        if source.is_unspecified() || !probe::can_be_bound(*source) {
            return Err(request(format!("{source} is no address of this machine"))
                .cure("name addresses that `ip address` shows; add one with `ip address add`"));
        }
        for server in &plan.servers {
            if Family::of(*source) != Family::of(server.first_hop().ip()) {
                return Err(request(format!(
                    "from {source} no packet can reach {}",
                    server.first_hop().ip()
                ))
                .cure("name source addresses of the server's family: IPv4 or IPv6"));
            }
        }
    }
    Ok(())
}

/// Whether `ip` is an address of this machine.
#[must_use]
pub fn is_own(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || ip.is_unspecified() || probe::own_addresses().is_ok_and(|own| own.contains(&ip))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::load::outcome::Objective;
    use crate::load::plan::Carrier;
    use crate::load::plan::Direction;
    use crate::load::plan::Framing;
    use crate::load::plan::Generator;
    use crate::load::plan::Lab;
    use crate::load::plan::Profile;
    use crate::load::plan::Server;
    use crate::load::plan::Traffic;
    use crate::load::plan::Trust;
    use crate::load::plan::Who;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn plan(mode: Mode, peer: PeerPlace, carrier: Carrier, sources: &[&str]) -> Plan {
        let server = Server {
            uri: "turn:127.0.0.1".to_owned(),
            host: "127.0.0.1".to_owned(),
            address: "127.0.0.1:3478".parse().expect("a literal"),
            carrier,
            who: Who::Many(Vec::new()),
            trust: Trust::System,
            watch: None,
            proxy: None,
        };
        let count = if matches!(mode, Mode::Compare { .. }) { 2 } else { 1 };
        let sources = sources.iter().map(|ip| ip.parse().expect("a literal")).collect();
        Plan {
            servers: vec![server; count],
            mode,
            traffic: Traffic { profile: Profile::Audio, direction: Direction::Both },
            peer,
            framing: Framing::Channel,
            objective: Objective::default(),
            warm_up: SECOND,
            generator: Generator { threads: 1, sources, segments: true, seed: 1, lab: Lab::default() },
            nats: None,
        }
    }

    fn soak(calls: u32) -> Mode {
        Mode::Soak { calls, length: SECOND }
    }

    #[test]
    fn each_mode_and_each_peer_has_its_needs() {
        let base = 2 * DESCRIPTORS_OF_A_THREAD + DESCRIPTORS_TO_SPARE + 7;
        let local = PeerPlace::Local(None);
        let remote = PeerPlace::Remote("192.0.2.1:9".parse().expect("a literal"));
        let ramp = Mode::Ramp { from: 10, step: 10, to: 500, hold: SECOND };
        let compare = Mode::Compare { calls: 100, hold: SECOND, rounds: 2 };
        let churn = Mode::Churn { at_once: 64, rate: None, length: SECOND };
        let ice = Mode::Ice { pairs: 200, rate: 1.0, relay_only: true, patience: SECOND };
        for (mode, peer, carrier, sources, sockets, ports) in [
            (soak(1_000), PeerPlace::Relay, Carrier::Udp, &[][..], 2_000, 2_000),
            (
                soak(1_000),
                PeerPlace::Relay,
                Carrier::Udp,
                &["127.0.0.2", "127.0.0.3", "127.0.0.4"],
                2_000,
                667,
            ),
            (soak(1_000), local, Carrier::Udp, &[], 1_002, 1_002),
            (soak(1_000), local, Carrier::Tls, &[], 1_002, 1_000),
            (soak(1_000), local, Carrier::Tcp, &["127.0.0.2", "127.0.0.3"], 1_002, 500),
            (soak(1_000), remote, Carrier::Udp, &[], 1_000, 1_000),
            (ramp, PeerPlace::Relay, Carrier::Udp, &[], 1_000, 1_000),
            (compare, PeerPlace::Relay, Carrier::Udp, &[], 400, 400),
            (churn, PeerPlace::Relay, Carrier::Udp, &[], 64, 64),
            (ice, PeerPlace::Relay, Carrier::Udp, &[], 400, 400),
        ] {
            let needs = needs(&plan(mode, peer, carrier, sources), 2, 7);
            assert_eq!(
                (needs.descriptors, needs.ports),
                (sockets + base, ports),
                "{mode:?} {peer:?} {carrier}"
            );
        }
    }

    #[test]
    fn between_nats_every_port_and_every_connection_has_a_socket() {
        let ice = Mode::Ice { pairs: 10, rate: 1.0, relay_only: false, patience: SECOND };
        let mut plan = plan(ice, PeerPlace::Relay, Carrier::Udp, &[]);
        let ways = vec![plan.servers[0].clone(); 2];
        let places = vec![[Place::Open, Place::Cgn], [Place::Symmetric, Place::UdpBlocked]];
        plan.nats = Some(Nats { places, ways, settling: SECOND, is_unfiltered: false });
        let needs = needs(&plan, 2, 7);
        let base = 2 * DESCRIPTORS_OF_A_THREAD + DESCRIPTORS_TO_SPARE + 7;
        // Four agents with three ways each, five times; one of them has a port for each that it sends to.
        let sockets = 5 * (4 * 3 + 1 + 1 + limits::LOAD_NAT_PORTS_MAX as u64 + 1);
        assert_eq!((needs.descriptors, needs.ports), (sockets + base, PORTS_BEHIND_A_NAT));
    }

    #[test]
    fn a_lack_is_told_with_the_figures_and_the_cure() {
        let allowed = Allowed::beside(["127.0.0.1".parse().expect("a literal")]);
        let there = allowed.len() as u64;
        let needs = Needs { calls: 10_000, counted: "call", descriptors: 20_100, ports: there, sources: 1 };
        assert_eq!(judge(needs, 20_100, &allowed), Ok(()));
        let fault = judge(needs, 20_099, &allowed).expect_err("one too few");
        assert_eq!(fault.kind, FaultKind::Machine);
        for part in ["10000 calls need 20100 descriptors", "20099", "ulimit -Hn 20100", "LimitNOFILE=20100"] {
            assert!(fault.to_string().contains(part), "{fault}");
        }
        let needs = Needs { ports: there + 1, sources: 2, ..needs };
        let fault = judge(needs, u64::MAX, &allowed).expect_err("one too few").to_string();
        for part in [
            format!("need {} ports", there + 1),
            format!("has {there} for them"),
            "name 3 addresses".to_owned(),
        ] {
            assert!(fault.contains(&part) && fault.contains("--source"), "{fault}");
        }
    }

    #[test]
    fn sources_must_be_ours_and_of_the_servers_family() {
        for (source, said) in [
            ("192.0.2.1", "192.0.2.1 is no address of this machine"),
            ("0.0.0.0", "no address"),
            ("::1", "from ::1 no packet can reach 127.0.0.1"),
        ] {
            let plan = plan(soak(1), PeerPlace::Relay, Carrier::Udp, &["127.0.0.5", source]);
            let fault = prepare(&plan, 1).expect_err(said);
            assert!(fault.kind == FaultKind::Request && fault.what.contains(said), "{fault}");
        }
        let found =
            prepare(&plan(soak(10), PeerPlace::Relay, Carrier::Udp, &["127.0.0.5"]), 1).expect("ready");
        assert!(found.descriptors >= found.needs.descriptors);
        let many = plan(soak(u32::MAX), PeerPlace::Relay, Carrier::Udp, &[]);
        assert_eq!(prepare(&many, 1).expect_err("too many").kind, FaultKind::Machine);
    }

    #[test]
    fn this_machine_has_cores_and_a_kernel() {
        let machine = observe();
        assert!(machine.cores >= 1 && machine.kernel.starts_with("Linux "), "{machine:?}");
        assert!(
            is_own("127.9.9.9".parse().expect("a literal"))
                && !is_own("192.0.2.1".parse().expect("a literal"))
        );
    }
}
