//! The way of one packet to the peer and back while the relay has nothing else to do: no queue anywhere, each packet leaves
//! when the one before is back. Client and peer are two threads that sleep until something comes.

use std::net::UdpSocket;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::net::Shutdown;
use rustix::net::shutdown;
use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::wire::channel_data;

use super::defaults::awaited;
use super::defaults::counter;
use super::jobs::Metric;
use super::machine::in_the_wire;
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
/// All of it takes no longer, but for a packet that was lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// Counters are a second old.
const COUNTED: Duration = Duration::from_millis(1_500);
/// What the kernel must have relayed of those that are measured, there and back. The rest are those that it lends to the sockets.
const BY_KERNEL_MIN: u64 = 2 * PACKETS as u64 * 99 / 100;

/// Measures it of a path in the kernel.
///
/// # Errors
/// What is in the way, in a sentence.
pub(crate) fn round_trips(server: &Running) -> Result<Taken, String> {
    let times = in_the_wire(server.wire.as_deref(), || measured(server))??;
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
    // A plain socket goes on in the place of one that asks for all that headers say.
    let at = probe.socket.bound().socket();
    drop(probe);
    let client = UdpSocket::bind(at).map_err(said)?;
    // Each has one whom it speaks with.
    client.connect(server.address).map_err(said)?;
    peer.connect(relayed).map_err(said)?;
    let admin = server.admin.ok_or("it has no counters")?;
    let by_kernel = || counter(admin, "swingbridge_kernel_packets_relayed_total", "");
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(|| echo(&peer));
        // Sockets with a timeout would set a timer each time they sleep.
        let ends = [&client, &peer];
        scope.spawn(move || {
            let _ = is_done.recv_timeout(PATIENCE);
            for socket in ends {
                // It was connected, and so it can be woken up for good.
                let _ = shutdown(socket, Shutdown::Both);
            }
        });
        let measured = || {
            let until = Instant::now() + WARM_UP;
            while Instant::now() < until {
                ping(&client, &message)?;
                thread::sleep(WARM_UP_PAUSE);
            }
            thread::sleep(COUNTED);
            let before = by_kernel()?;
            let mut times = (0..PACKETS).map(|_| ping(&client, &message)).collect::<Result<Vec<_>, _>>()?;
            awaited("the kernel has not relayed what was sent", || {
                Ok(by_kernel()? >= before + BY_KERNEL_MIN)
            })?;
            times.sort_unstable();
            Ok(times)
        };
        let measured = measured();
        drop(done);
        measured
    })
}

/// How long one packet takes.
fn ping(client: &UdpSocket, message: &[u8]) -> Result<Duration, String> {
    let lost = |error: std::io::Error| format!("a packet did not come back: {error}");
    let (mut back, began) = ([0; 600], Instant::now());
    client.send(message).map_err(lost)?;
    loop {
        match client.recv(&mut back).map_err(lost)? {
            0 => return Err("a packet did not come back".to_owned()),
            len if len == message.len() => return Ok(began.elapsed()),
            _ => {}
        }
    }
}

/// Sends back what the relay brings, until the socket is shut.
fn echo(peer: &UdpSocket) {
    let mut packet = [0; 600];
    while let Ok(len) = peer.recv(&mut packet)
        && len > 0
    {
        // What does not leave does not come back, as will be told.
        let _ = peer.send(&packet[..len]);
    }
}
