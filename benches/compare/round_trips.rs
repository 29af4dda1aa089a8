//! The way of one packet to the peer and back while the relay has nothing else to do: no queue anywhere, each packet leaves
//! when the one before is back. Client and peer are two threads that sleep until something comes.

use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::wire::channel_data;

use super::jobs::Metric;
use super::machine::as_the_wire;
use super::measure::Taken;
use super::probe::Probe;
use super::server::Running;

/// Packets that are measured, behind as many that warm up as this part of them.
const PACKETS: usize = 4_000;
const WARM_UP: usize = PACKETS / 10;
const LEN: u16 = 172;
const DATA: [u8; LEN as usize] = [0xA5; LEN as usize];
/// Ends the peer.
const END: &[u8] = b"end";
/// A packet that takes longer is lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// Measures it.
///
/// # Errors
/// What is in the way, in a sentence.
pub(crate) fn round_trips(server: &Running) -> Result<Taken, String> {
    let times = as_the_wire(server.wire.as_deref(), || {
        let mut probe = Probe::open(server.clients, server.address)?;
        let relayed = probe.allocate()?;
        let said = |error: std::io::Error| format!("the sockets of a round trip: {error}");
        let peer = UdpSocket::bind((server.peers, 0)).map_err(said)?;
        peer.set_read_timeout(Some(PATIENCE)).map_err(said)?;
        let channel = probe.bind(PeerAddr::new(peer.local_addr().map_err(said)?))?;
        let mut message = channel_data::header(channel, LEN).to_vec();
        message.extend(DATA);
        let client = UdpSocket::from(probe.socket.as_fd().try_clone_to_owned().map_err(said)?);
        client.set_nonblocking(false).map_err(said)?;
        client.set_read_timeout(Some(PATIENCE)).map_err(said)?;
        thread::scope(|scope| {
            let echo = scope.spawn(|| echo(&peer, relayed));
            let times = ping(&client, server.address, &message);
            // It comes from this machine's side of the cable, and not through the relay.
            let ended = peer.local_addr().and_then(|at| client.send_to(END, at));
            echo.join().map_err(|_| "the peer has failed".to_owned())?;
            ended.map_err(said)?;
            times.map_err(|error| format!("a packet did not come back: {error}"))
        })
    })??;
    let mut taken = Taken::default();
    taken.figures.push((Metric::P50, times[times.len() / 2].as_nanos() as f64 / 1_000.0));
    Ok(taken)
}

/// How long each packet took, sorted.
fn ping(client: &UdpSocket, server: SocketAddr, message: &[u8]) -> std::io::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(PACKETS);
    let mut back = [0; 600];
    for number in 0..WARM_UP + PACKETS {
        let began = Instant::now();
        client.send_to(message, server)?;
        while client.recv(&mut back)? != message.len() {}
        if number >= WARM_UP {
            times.push(began.elapsed());
        }
    }
    times.sort_unstable();
    Ok(times)
}

/// Sends back what the relay brings, until it is told to end or nothing comes.
fn echo(peer: &UdpSocket, relayed: SocketAddr) {
    let mut packet = [0; 600];
    while let Ok((len, from)) = peer.recv_from(&mut packet) {
        if &packet[..len] == END {
            return;
        }
        if from == relayed {
            // What does not leave does not come back, as will be told.
            let _ = peer.send_to(&packet[..len], from);
        }
    }
}
