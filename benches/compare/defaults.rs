//! Proves, in the run that measures and on each path that is measured, that what is measured is what is shipped: the fields of IP
//! headers are carried, the peer policy judges, answers leave from the address that was asked, buckets hold back and counters
//! count. A server with these off would be faster, and another.

use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use socket2::Domain;
use socket2::Protocol;
use socket2::Socket;
use socket2::Type;
use swingbridge::net::RelaySocket;
use swingbridge::proto::types::IpHeader;
use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::wire::channel_data;

use super::lines;
use super::machine::as_the_wire;
use super::probe::PATIENCE;
use super::probe::Probe;
use super::probe::carried;
use super::probe::count;
use super::probe::send;
use super::probe::socket;
use super::server::Ours;
use super::server::Place;
use super::server::Program;
use super::server::Running;
use super::server::ask;

/// Sent with it, and to be found behind the relay: EF with ECT(1).
const UP: IpHeader = IpHeader { hop_limit: Some(77), traffic_class: 0xB9, dont_fragment: false };
/// AF41 with ECT(0).
const DOWN: IpHeader = IpHeader { hop_limit: Some(33), traffic_class: 0x8A, dont_fragment: false };
/// What the allocations of the proof may carry: 64 kB at once. More is sent, in datagrams of so many bytes.
const NARROW: &str = "512kbit/s";
const NARROW_BYTES: usize = 64_000;
const BYTES: u16 = 1_000;
const COUNT: usize = 200;

/// What the proof is of.
pub(crate) const MEANING: [&str; 2] = [
    "on each: TTL one less, DSCP and ECN as they came, both ways; DF for DONT-FRAGMENT and for nothing else; an answer leaves \
     from the address that was asked (packet information); a private peer gets 403; over its bandwidth an allocation is held \
     back; packets and drops are counted",
    "the file names addresses, user, path, limits of bandwidth that are never reached, what a laboratory must allow, and \
     nothing else",
];

/// Proves it of ours on `path`, with one thing changed: the allocation's bandwidth is narrow, so that its bucket shows. Answers
/// what to say of the path.
///
/// # Errors
/// What is not as shipped.
pub(crate) fn prove(place: &Place<'_>, path: &'static str, number: u16) -> Result<String, String> {
    let server = place.start(Program::Ours(Ours { bandwidth: NARROW, ..Ours::on(path) }), number)?;
    as_the_wire(server.wire.as_deref(), || proved(&server, path))?
}

fn proved(server: &Running, path: &str) -> Result<String, String> {
    let admin = server.admin.ok_or("only ours has defaults of ours")?;
    ask(server.beside)
        .map_err(|error| format!("asked at {}, it does not answer from there: {error}", server.beside))?;
    let mut probe = Probe::open(server.clients, server.address)?;
    let relayed = probe.allocate()?;
    probe.is_denied()?;
    let (peer, other) = (socket(server.peers)?, socket(server.peers)?);
    let mut raw = raw()?;
    probe.permit(server.peers)?;
    let before = counter(admin, "swingbridge_packets_relayed_total", "")?;
    probe.indicate(PeerAddr::new(other.bound().socket()), b"whole");
    is_whole(&mut raw, relayed, other.bound().socket(), true)?;
    let channel = probe.bind(PeerAddr::new(peer.bound().socket()))?;
    let mut up = channel_data::header(channel, 4).to_vec();
    up.extend(*b"ping");
    let heard = carried(&probe.socket, probe.server, &up, UP, &peer)?;
    if (heard.hop_limit, heard.traffic_class) != (Some(76), UP.traffic_class) {
        return Err(format!("of {UP:?} a peer hears {heard:?}"));
    }
    is_whole(&mut raw, relayed, peer.bound().socket(), false)?;
    let heard = carried(&peer, relayed, b"pong", DOWN, &probe.socket)?;
    if (heard.hop_limit, heard.traffic_class) != (Some(32), DOWN.traffic_class) {
        return Err(format!("of {DOWN:?} a client hears {heard:?}"));
    }
    // Workers tell their counts now and then.
    awaited("packets were relayed and not counted", || {
        Ok(counter(admin, "swingbridge_packets_relayed_total", "")? >= before + 3)
    })?;
    is_held_back(server, admin, &probe, channel_data::header(channel, BYTES), &peer)?;
    let by_kernel = counter(admin, "swingbridge_kernel_packets_relayed_total", "")?;
    match path {
        lines::TC | lines::XDP if by_kernel < 2 => Err("the kernel has relayed nothing".to_owned()),
        lines::TC | lines::XDP => Ok(format!("{path}: proved, by what the kernel relayed")),
        _ => Ok(format!("{path}: proved")),
    }
}

/// Sends more than the allocation may carry; some of it must be dropped for that reason, and some not.
fn is_held_back(
    server: &Running,
    admin: SocketAddr,
    probe: &Probe,
    header: [u8; 4],
    peer: &RelaySocket,
) -> Result<(), String> {
    const NAME: &str = "swingbridge_packets_dropped_total";
    const WHY: &str = "allocation_bandwidth";
    let before = counter(admin, NAME, WHY)?;
    let message = [&header[..], &[0; BYTES as usize]].concat();
    (0..COUNT).for_each(|_| send(&probe.socket, server.address, &message, IpHeader::default()));
    let came = count(peer);
    let least = NARROW_BYTES / (usize::from(BYTES) + 100) / 2;
    if !(least..COUNT).contains(&came) {
        return Err(format!("at {NARROW} {came} of {COUNT} packets of {BYTES} bytes pass"));
    }
    awaited("what its bandwidth holds back is not counted", || {
        Ok(counter(admin, NAME, WHY)? >= before + (COUNT - came) as u64)
    })
}

/// Hears the whole of each IP packet with a datagram in it.
fn raw() -> Result<Socket, String> {
    let opened = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)).and_then(|socket| {
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    });
    opened.map_err(|error| format!("no raw socket, which sees DF: {error}"))
}

/// Whether DF is set in the packet that goes from `from` to `to` is `wanted`.
fn is_whole(raw: &mut Socket, from: SocketAddr, to: SocketAddr, wanted: bool) -> Result<(), String> {
    let until = Instant::now() + PATIENCE;
    let mut packet = [0; 2_048];
    while Instant::now() < until {
        let len = raw.read(&mut packet).map_err(|error| format!("DF cannot be seen: {error}"))?;
        let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
        if packet[..len].get(20..24) == Some(&ports) {
            let is_set = packet[6] & 0x40 != 0;
            let problem = format!("DF of a packet from {from} to {to} is {}", u8::from(is_set));
            return if is_set == wanted { Ok(()) } else { Err(problem) };
        }
    }
    Err(format!("no packet from {from} to {to} was seen"))
}

/// Waits until something is so.
pub(crate) fn awaited(
    otherwise: &str,
    mut is_so: impl FnMut() -> Result<bool, String>,
) -> Result<(), String> {
    let until = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() > until {
            return Err(otherwise.to_owned());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The sum of a counter of `/metrics`, of the lines that hold `word`.
pub(crate) fn counter(admin: SocketAddr, name: &str, word: &str) -> Result<u64, String> {
    let text = page(admin).map_err(|error| format!("/metrics cannot be read: {error}"))?;
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(word));
    Ok(lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>() as u64)
}

fn page(admin: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: compare\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
