//! The self-tests of sk_lookup and of raw sockets, before anybody counts on them: for each relayed address a datagram goes to
//! a port that is steered and one comes back from it by the raw socket; and when the port is steered no longer, the next one
//! is left to whoever is bound there. Nothing leaves the machine.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;

use crate::net::Batch;
use crate::net::DepartingPacket;
use crate::net::Heading;
use crate::net::RawSender;
use crate::net::RawSocket;
use crate::net::Receiving;
use crate::net::Steering;

/// Nothing within a machine takes so long.
const PATIENCE: Duration = Duration::from_secs(1);
/// Ports that are tried until one is free.
const TRIES: u16 = 64;
const QUESTION: &[u8] = b"swingbridge: is this steered?";
/// An odd number of octets, for the checksum's sake.
const ANSWER: &[u8] = b"swingbridge: this has left raw";

/// Tries `steering`, whose first worker receives on `receiving`, with each of `addresses`.
///
/// # Errors
/// What did not come to pass, as a sentence.
pub(super) fn steering(
    steering: &Steering,
    receiving: &Receiving,
    addresses: &[IpAddr],
    ports: &RangeInclusive<u16>,
) -> Result<(), String> {
    for address in addresses {
        let said = |error: io::Error| format!("{address}: {error}");
        let owner = free_port(*address, ports)
            .ok_or_else(|| format!("{address}: no free port in {}-{}", ports.start(), ports.end()))?;
        let at = owner.local_addr().map_err(said)?;
        steering.open(at, 0).map_err(said)?;
        let tried = one(receiving, &owner, at);
        steering.close(at);
        let peer = tried.map_err(|what| format!("{address}: {what}"))?;
        peer.send_to(QUESTION, at).map_err(said)?;
        if !is_ready(&owner) {
            return Err(format!("{address}: a port that is steered no longer is kept from its owner"));
        }
    }
    Ok(())
}

fn one(receiving: &Receiving, owner: &UdpSocket, at: SocketAddr) -> Result<UdpSocket, String> {
    let said = |error: io::Error| error.to_string();
    let peer = UdpSocket::bind(SocketAddr::new(at.ip(), 0)).map_err(said)?;
    let from = peer.local_addr().map_err(said)?;
    peer.send_to(QUESTION, at).map_err(said)?;
    let shared = receiving.of(at.is_ipv6()).ok_or("no socket of this family")?;
    if !is_ready(shared) {
        let other = if is_ready_now(owner) { "came to the port's own socket" } else { "did not arrive" };
        return Err(format!("a datagram to a steered port {other}"));
    }
    let mut batch = Batch::new(1);
    let arrived = batch.receive(shared, 1).map_err(|error| error.to_string())?;
    let is_it = arrived.places.clone().any(|place| {
        let meta = batch.meta(place);
        meta.from == Some(from) && meta.meant_for == Some(at) && batch.datagram(place) == QUESTION
    });
    if !is_it {
        return Err("a steered datagram came as another".to_owned());
    }
    answers(&peer, at)?;
    Ok(peer)
}

/// Tries a raw socket of each of `addresses`.
///
/// # Errors
/// What did not come to pass, as a sentence.
pub(super) fn raw(addresses: &[IpAddr]) -> Result<(), String> {
    for address in addresses {
        let said = |error: io::Error| format!("{address}: {error}");
        let bind = || UdpSocket::bind(SocketAddr::new(*address, 0));
        let (owner, peer) = (bind().map_err(said)?, bind().map_err(said)?);
        let at = owner.local_addr().map_err(said)?;
        answers(&peer, at).map_err(|what| format!("{address}: {what}"))?;
    }
    Ok(())
}

/// Sends to `peer` from `at` by a raw socket.
fn answers(peer: &UdpSocket, at: SocketAddr) -> Result<(), String> {
    let said = |error: io::Error| error.to_string();
    let from = peer.local_addr().map_err(said)?;
    let raw = RawSocket::open(at.ip()).map_err(said)?;
    let packet = DepartingPacket { bytes: ANSWER, from: at.port(), heading: &Heading::to(from) };
    let mut refused = None;
    RawSender::new(1, [0; 4]).send(&raw, std::iter::once(packet), |_, error| refused = Some(error));
    if let Some(error) = refused {
        return Err(format!("a packet cannot be sent: {error}"));
    }
    if !is_ready(peer) {
        return Err("a packet that was sent did not arrive".to_owned());
    }
    let mut buffer = [0; 64];
    let (len, came_from) = peer.recv_from(&mut buffer).map_err(said)?;
    if came_from != at || &buffer[..len] != ANSWER {
        return Err("a packet that was sent came as another".to_owned());
    }
    Ok(())
}

/// A port of the range, not the first one, which is the likeliest to be somebody's.
fn free_port(address: IpAddr, ports: &RangeInclusive<u16>) -> Option<UdpSocket> {
    let ports = ports.clone().rev().filter(|port| *port != 0).take(TRIES.into());
    ports.into_iter().find_map(|port| UdpSocket::bind(SocketAddr::new(address, port)).ok())
}

fn is_ready(socket: impl AsFd) -> bool {
    let patience = Timespec::try_from(PATIENCE).ok();
    poll(&mut [PollFd::new(&socket, PollFlags::IN)], patience.as_ref()).is_ok_and(|ready| ready > 0)
}

fn is_ready_now(socket: impl AsFd) -> bool {
    let now = Timespec::try_from(Duration::ZERO).ok();
    poll(&mut [PollFd::new(&socket, PollFlags::IN)], now.as_ref()).is_ok_and(|ready| ready > 0)
}
