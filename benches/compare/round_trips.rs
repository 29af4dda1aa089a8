//! The way of one packet to the peer and back while the relay has nothing else to do: no queue anywhere, each packet leaves
//! when the one before is back. Client and peer are two threads that sleep until something comes.

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::wire::channel_data;

use super::defaults::awaited;
use super::defaults::counter;
use super::jobs::Metric;
use super::machine::as_the_wire;
use super::measure::Taken;
use super::probe::Probe;
use super::server::Running;

/// Packets that are measured.
const PACKETS: usize = 4_000;
/// What comes before: a packet each so often, for so long. The server looks once a second where its neighbours are, and until it
/// knows, XDP hands up what goes there.
const WARM_UP: Duration = Duration::from_millis(2_500);
const WARM_UP_PAUSE: Duration = Duration::from_millis(1);
const LEN: u16 = 172;
const DATA: [u8; LEN as usize] = [0xA5; LEN as usize];
/// A packet that takes longer is lost; and for how long a peer waits for the next one.
const PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE_OF_PEER: Duration = Duration::from_secs(4);
/// Counters are a second old.
const COUNTED: Duration = Duration::from_millis(1_500);
/// What the kernel must have relayed of those that are measured, there and back. The rest are those that it lends to the sockets.
const BY_KERNEL_MIN: u64 = 2 * PACKETS as u64 * 99 / 100;

/// Measures it of a path in the kernel.
///
/// # Errors
/// What is in the way, in a sentence.
pub(crate) fn round_trips(server: &Running) -> Result<Taken, String> {
    let times = as_the_wire(server.wire.as_deref(), || measured(server))??;
    let mut taken = Taken::default();
    taken.figures.push((Metric::P50, times[times.len() / 2].as_nanos() as f64 / 1_000.0));
    Ok(taken)
}

fn measured(server: &Running) -> Result<Vec<Duration>, String> {
    let said = |error: std::io::Error| format!("the sockets of a round trip: {error}");
    let mut probe = Probe::open(server.clients, server.address)?;
    let relayed = probe.allocate()?;
    let peer = UdpSocket::bind((server.peers, 0)).map_err(said)?;
    let channel = probe.bind(PeerAddr::new(peer.local_addr().map_err(said)?))?;
    let mut message = channel_data::header(channel, LEN).to_vec();
    message.extend(DATA);
    let client = UdpSocket::from(probe.socket.as_fd().try_clone_to_owned().map_err(said)?);
    client.set_nonblocking(false).map_err(said)?;
    for (socket, to, patience) in [(&client, server.address, PATIENCE), (&peer, relayed, PATIENCE_OF_PEER)] {
        socket.connect(to).map_err(said)?;
        socket.set_read_timeout(Some(patience)).map_err(said)?;
    }
    let admin = server.admin.ok_or("it has no counters")?;
    let by_kernel = || counter(admin, "swingbridge_kernel_packets_relayed_total", "");
    thread::scope(|scope| {
        scope.spawn(|| echo(&peer));
        let lost = |error| format!("a packet did not come back: {error}");
        let until = Instant::now() + WARM_UP;
        while Instant::now() < until {
            ping(&client, &message).map_err(lost)?;
            thread::sleep(WARM_UP_PAUSE);
        }
        thread::sleep(COUNTED);
        let before = by_kernel()?;
        let times: Result<Vec<_>, _> = (0..PACKETS).map(|_| ping(&client, &message)).collect();
        let mut times = times.map_err(lost)?;
        awaited("the kernel has not relayed what was sent", || Ok(by_kernel()? >= before + BY_KERNEL_MIN))?;
        times.sort_unstable();
        Ok(times)
    })
}

/// How long one packet takes.
fn ping(client: &UdpSocket, message: &[u8]) -> std::io::Result<Duration> {
    let (mut back, began) = ([0; 600], Instant::now());
    client.send(message)?;
    while client.recv(&mut back)? != message.len() {}
    Ok(began.elapsed())
}

/// Sends back what the relay brings, until nothing comes.
fn echo(peer: &UdpSocket) {
    let mut packet = [0; 600];
    while let Ok(len) = peer.recv(&mut packet) {
        // What does not leave does not come back, as will be told.
        let _ = peer.send(&packet[..len]);
    }
}
