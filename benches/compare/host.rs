//! What a whole host spends on a packet, wherever its kernel does the work. Frames come out of the kernel as from a card, and are
//! counted and dropped where they arrive; all that this takes, less what the source costs by itself, is what the relay's host
//! adds. The same for each path, sockets too.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use swingbridge::net::probe as system;
use swingbridge::proto::types::ChannelNumber;
use swingbridge::proto::types::PeerAddr;

use super::defaults::awaited;
use super::defaults::counter;
use super::frame::Plain;
use super::frame::channel_data;
use super::jobs::Metric;
use super::lines;
use super::machine::as_the_wire;
use super::machine::softirq_time;
use super::measure::LOSS_MAX;
use super::measure::Taken;
use super::probe::Probe;
use super::server::Running;
use super::source::BURST;
use super::source::Sink;
use super::source::Source;
use super::source::Waste;
use super::stop::Watch;
use super::topology;
use super::topology::Topology;

/// The number of the host that only drops.
const CALIBRATION: u16 = 8;
/// Pieces that a measurement is cut into, each with its own reading of what the source costs. Of what they give the middle
/// counts: a neighbour's moment is one piece.
const PIECES: usize = 8;
/// Bursts of a piece, each way.
const BURSTS: u64 = 2;
const DATA: [u8; 172] = [0xA5; 172];
/// Where peers would be heard.
const PEER_PORT: u16 = 40_000;
/// How long a server takes to follow what its neighbours' addresses are.
const SETTLED: Duration = Duration::from_millis(2_500);
/// What a path in the kernel must have relayed itself. The rest are the frames that it lends to the sockets.
const BY_KERNEL_MIN: f64 = 0.98;

/// A client's allocation with its channel.
struct Call {
    client: SocketAddr,
    relayed: SocketAddr,
    channel: ChannelNumber,
}

/// What some bursts took.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    cpu: Duration,
    sent: u64,
    arrived: u64,
}

impl Spent {
    fn each_ns(self) -> f64 {
        self.cpu.as_nanos() as f64 / self.arrived.max(1) as f64
    }
}

/// CPU of all that a host does for a packet of one of so many calls; the mean of both ways.
///
/// # Errors
/// What is in the way, in a sentence.
pub(crate) fn host(calls: u32, path: &str, server: &Running, watch: &mut Watch<'_>) -> Result<Taken, String> {
    let (Some(wire), Some(relay)) = (&server.wire, &server.relay) else {
        return Err("the server has no host of its own".to_owned());
    };
    topology::as_cards(relay)?;
    let idle = Topology::make(CALIBRATION)?;
    topology::as_cards(&idle.relay.name)?;
    system::raise_descriptor_limit().map_err(|error| error.to_string())?;
    let mut probes = as_the_wire(Some(wire), || book(calls, server, watch))??;
    let measured = measured(&probes, path, [wire, &idle.wire.name], &idle.relay.name, server, watch);
    // All is given back before the next comes.
    as_the_wire(Some(wire), || {
        probes.iter_mut().try_for_each(|(probe, _)| if watch.is_over() { Ok(()) } else { probe.release() })
    })??;
    let mut taken = Taken::default();
    match measured? {
        Some(more) => taken.figures.push((Metric::Host, more)),
        None => {
            taken.remarks.push(format!("rounds that lost more than {:.0} % are left out", LOSS_MAX * 100.0));
        }
    }
    Ok(taken)
}

/// Real clients that ask the server for allocations and channels.
fn book(calls: u32, server: &Running, watch: &Watch<'_>) -> Result<Vec<(Probe, Call)>, String> {
    let peer = PeerAddr::new(SocketAddr::new(server.peers, PEER_PORT));
    let call = |_| {
        if watch.is_over() {
            return Err("it was ended".to_owned());
        }
        let mut probe = Probe::open(server.clients, server.address)?;
        let relayed = probe.allocate()?;
        let call = Call { client: probe.socket.bound().socket(), relayed, channel: probe.bind(peer)? };
        Ok((probe, call))
    };
    (0..calls).map(call).collect()
}

/// `None`: too much was lost.
fn measured(
    probes: &[(Probe, Call)],
    path: &str,
    [wire, idle]: [&str; 2],
    idle_relay: &str,
    server: &Running,
    watch: &Watch<'_>,
) -> Result<Option<f64>, String> {
    let frames = frames(probes, server);
    let sources = || -> Result<[Source; 2], String> {
        let [near, far] = topology::FAR_ENDS;
        Ok([Source::new(near, &frames[0], true)?, Source::new(far, &frames[1], false)?])
    };
    let (own, idle_sources) = (as_the_wire(Some(wire), sources)??, as_the_wire(Some(idle), sources)??);
    let sink = as_the_wire(Some(wire), || Sink::new(&topology::FAR_ENDS))??;
    let _waste = as_the_wire(Some(idle_relay), || Waste::new(&topology::INTERFACES))??;
    let through = || as_the_wire(Some(wire), || bursts(&own, Some((&sink, server))))?;
    let alone = || as_the_wire(Some(idle), || bursts(&idle_sources, None))?;
    // The kernel learns where everybody is, and the server what it has learned.
    through()?;
    thread::sleep(SETTLED);
    through()?;
    let relayed = || {
        let admin = server.admin.ok_or("it has no counters")?;
        as_the_wire(Some(wire), || counter(admin, KERNEL_COUNT, ""))?
    };
    let (before, mut sum, mut more) = (relayed()?, Spent::default(), Vec::new());
    for _ in 0..PIECES {
        if watch.is_over() {
            return Err("it was ended".to_owned());
        }
        let (idle, with) = (alone()?, through()?);
        more.push(with.each_ns() - idle.each_ns());
        sum.sent += with.sent;
        sum.arrived += with.arrived;
    }
    let lost = 1.0 - sum.arrived as f64 / sum.sent.max(1) as f64;
    if lost > LOSS_MAX {
        return Ok(None);
    }
    if matches!(path, lines::TC | lines::XDP) {
        let least = before + (sum.arrived as f64 * BY_KERNEL_MIN) as u64;
        awaited("the kernel has not relayed what was sent", || Ok(relayed()? >= least))?;
    }
    more.sort_by(f64::total_cmp);
    Ok(Some(f64::midpoint(more[(more.len() - 1) / 2], more[more.len() / 2])))
}

const KERNEL_COUNT: &str = "swingbridge_kernel_packets_relayed_total";

/// Some bursts each way, and what they take: of the source with all that the kernel does in its time, of the server, and of the
/// kernel's threads for packets.
fn bursts(sources: &[Source; 2], through: Option<(&Sink, &Running)>) -> Result<Spent, String> {
    let of_server = || match through {
        Some((_, server)) => system::cpu_time_of(server.pid()).map_err(|error| error.to_string()),
        None => Ok(Duration::ZERO),
    };
    let (server, kernel, mut spent) = (of_server()?, softirq_time(), Spent::default());
    let first = through.map_or(Ok(0), |(sink, _)| sink.count())?;
    for source in sources {
        for _ in 0..BURSTS {
            spent.cpu += source.burst()?;
            spent.sent += u64::from(BURST);
            spent.arrived = match through {
                Some((sink, _)) => sink.wait(first + spent.sent)? - first,
                None => spent.sent,
            };
        }
    }
    spent.cpu += of_server()?.saturating_sub(server) + softirq_time().saturating_sub(kernel);
    Ok(spent)
}

/// What clients send, and what peers do; one of each call.
fn frames(probes: &[(Probe, Call)], server: &Running) -> [Vec<Vec<u8>>; 2] {
    let peer = SocketAddr::new(server.peers, PEER_PORT);
    let made = |plain: Plain, next: [u8; 6]| {
        let mut frame = plain.frame();
        frame[..6].copy_from_slice(&next);
        frame
    };
    let of = |from: SocketAddr, to: SocketAddr, payload: &[u8]| {
        Plain::new(&from.to_string(), &to.to_string(), payload)
    };
    let [near, far] = topology::MACS;
    let up = probes.iter().map(|(_, call)| {
        made(of(call.client, server.address, &channel_data(call.channel.get(), &DATA)), near)
    });
    let down = probes.iter().map(|(_, call)| made(of(peer, call.relayed, &DATA), far));
    [up.collect(), down.collect()]
}
