//! Where clients come from: source addresses in turn, and ports that no relay uses.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::net::probe;

/// Below the ports that Swingbridge and coturn relay at by default (50000–59999, 49152–65535), and above those of the
/// configuration for a laboratory (10000–29999).
const PORTS: std::ops::Range<u32> = 30_000..49_152;

/// Hands out addresses to bind to. Shared by all threads.
#[derive(Debug)]
pub(super) struct Places {
    sources: Vec<IpAddr>,
    /// Ports are chosen here because the server relays on this machine; else the kernel chooses.
    chooses: bool,
    next: AtomicU32,
}

impl Places {
    /// Places to speak with `server` from: from `sources` in turn, or from where the kernel's route begins.
    pub(super) fn new(server: SocketAddr, sources: &[IpAddr]) -> Result<Self, Fault> {
        let mut sources: Vec<IpAddr> =
            sources.iter().copied().filter(|source| source.is_ipv4() == server.is_ipv4()).collect();
        if sources.is_empty() {
            sources.push(route_to(server).map_err(|error| {
                Fault::new(FaultKind::Machine, format!("no way leads from this machine to {server}: {error}"))
                    .cure("check the address, and this machine's routes")
            })?);
        }
        let is_here = server.ip().is_loopback()
            || probe::own_addresses().is_ok_and(|addresses| addresses.contains(&server.ip()));
        let mut start = [0; 4];
        // Two runs one after the other had better not meet what the server still knows of the first.
        let _ = getrandom::fill(&mut start);
        Ok(Self { sources, chooses: is_here, next: AtomicU32::new(u32::from_ne_bytes(start)) })
    }

    /// How many clients there can be at once; `None` where the kernel chooses.
    pub(super) fn capacity(&self) -> Option<usize> {
        self.chooses.then(|| self.sources.len() * PORTS.len())
    }

    /// Has `make` bind to the next address that is free.
    ///
    /// # Errors
    /// What `make` says, if it is not that the address is taken; that one is in use where all are.
    pub(super) fn bind<T>(&self, mut make: impl FnMut(SocketAddr) -> io::Result<T>) -> io::Result<T> {
        let tries = self.capacity().unwrap_or(1);
        for _ in 0..tries {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            match make(self.address(number)) {
                Err(error) if self.chooses && error.kind() == io::ErrorKind::AddrInUse => {}
                made => return made,
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// A free place for a peer at `ip`.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub(super) fn bind_peer<T>(
        &self,
        ip: IpAddr,
        mut make: impl FnMut(SocketAddr) -> io::Result<T>,
    ) -> io::Result<T> {
        self.bind(|address| make(SocketAddr::new(ip, address.port())))
    }

    fn address(&self, number: u32) -> SocketAddr {
        let sources = self.sources.len() as u32;
        let source = self.sources[(number % sources) as usize];
        let port = PORTS.start + (number / sources) % PORTS.len() as u32;
        SocketAddr::new(source, if self.chooses { port as u16 } else { 0 })
    }
}

/// The address from which this machine speaks to `server`. Nothing is sent.
pub(super) fn route_to(server: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn places(sources: &[&str]) -> Places {
        let sources: Vec<_> = sources.iter().map(|each| each.parse().expect("an address")).collect();
        Places::new("127.0.0.1:3478".parse().expect("an address"), &sources).expect("loopback has a route")
    }

    #[test]
    fn each_client_has_an_address_of_its_own_outside_the_relays_ports() {
        let places = places(&["127.0.0.2", "127.0.0.3", "::1"]);
        let mut seen = BTreeSet::new();
        for _ in 0..1_000 {
            let at = places.bind(Ok).expect("nothing is bound");
            assert!((30_000..49_152).contains(&at.port()), "{at}");
            assert!(seen.insert(at), "{at} twice");
        }
        let from: BTreeSet<_> = seen.iter().map(|at| at.ip().to_string()).collect();
        assert_eq!(from.into_iter().collect::<Vec<_>>(), ["127.0.0.2", "127.0.0.3"]);
    }

    #[test]
    fn what_is_taken_is_passed_over_and_another_error_is_not() {
        let places = places(&[]);
        let mut tries = 0;
        let bound = places.bind(|at| {
            tries += 1;
            if tries < 10 { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(at) }
        });
        assert!(bound.is_ok() && tries == 10);
        let all: io::Result<()> = places.bind(|_| Err(io::ErrorKind::AddrInUse.into()));
        assert_eq!(all.expect_err("all are taken").kind(), io::ErrorKind::AddrInUse);
        let mut tries = 0;
        let other: io::Result<()> = places.bind(|_| {
            tries += 1;
            Err(io::ErrorKind::PermissionDenied.into())
        });
        assert!(other.is_err() && tries == 1);
    }
}
