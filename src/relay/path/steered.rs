//! The tier sk_lookup: what comes for the relay ports of a worker comes to one socket of each family.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use rustix::io::Errno;

use crate::net::Batch;
use crate::net::Poll;
use crate::net::Receiving;
use crate::net::Returned;
use crate::net::Steering;
use crate::net::Token;
use crate::net::packet::Arrived;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;

/// One worker's share of the tier.
#[derive(Debug)]
pub(in crate::relay) struct Steered {
    steering: Arc<Steering>,
    worker: u16,
    receiving: Receiving,
    /// By family: IPv4, IPv6.
    lost: [u32; 2],
    returned: [Option<Returned>; 2],
    addresses: Box<[IpAddr]>,
    /// For each relayed address, by port: the index of the relay it is steered for, plus 1.
    owners: Vec<Box<[u32]>>,
}

impl Steered {
    /// `receiving` are the sockets that `steering` was told of for `worker`.
    ///
    /// # Errors
    /// What the kernel says, as where errors cannot be heard without CAP_NET_RAW.
    pub(in crate::relay) fn new(
        steering: Arc<Steering>,
        worker: u16,
        receiving: Receiving,
        addresses: &[IpAddr],
    ) -> io::Result<Self> {
        let returned = |v6: bool| receiving.of(v6).map(|_| Returned::open(v6)).transpose();
        let returned = [returned(false)?, returned(true)?];
        // Zeroes that are never looked at take no memory.
        let owners = addresses.iter().map(|_| vec![0; 1 << 16].into()).collect();
        Ok(Self { steering, worker, receiving, lost: [0; 2], returned, addresses: addresses.into(), owners })
    }

    pub(super) fn watch(&self, poll: &Poll) -> io::Result<()> {
        for v6 in [false, true] {
            if let Some(socket) = self.receiving.of(v6) {
                poll.add(socket, Token::Steered { v6 })?;
            }
            if let Some(returned) = self.returned(v6) {
                poll.add(returned.as_fd(), Token::Returned { v6 })?;
            }
        }
        Ok(())
    }

    /// Steers what comes for `bound` here. An address that is none of those named at the start is left to its own socket.
    pub(super) fn open(&mut self, relay: RelayId, bound: RelayAddr) -> io::Result<()> {
        let at = bound.socket();
        let Some(place) = self.steering.address(at.ip()) else { return Ok(()) };
        match self.steering.open(at, self.worker) {
            Ok(()) => self.owners[place][usize::from(at.port())] = relay.index + 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Steers it no longer, if it was steered for `relay`.
    pub(super) fn close(&mut self, relay: RelayId, bound: RelayAddr) {
        let at = bound.socket();
        let Some(place) = self.steering.address(at.ip()) else { return };
        let owner = &mut self.owners[place][usize::from(at.port())];
        // A copy that only sends is closed while the port is another worker's.
        if *owner == relay.index + 1 {
            *owner = 0;
            self.steering.close(at);
        }
    }

    /// Steers it no longer, but knows still whose it was. Answers whether it was steered here.
    pub(super) fn hold(&mut self, bound: RelayAddr) -> bool {
        let steered = self.owner(bound.socket()).is_some();
        if steered {
            self.steering.close(bound.socket());
        }
        steered
    }

    /// The index of the relay that `at` is steered for.
    pub(super) fn owner(&self, at: SocketAddr) -> Option<u32> {
        let place = self.steering.address(at.ip())?;
        self.owners[place][usize::from(at.port())].checked_sub(1)
    }

    pub(super) fn receive(
        &mut self,
        v6: bool,
        batch: &mut Batch,
        max: usize,
    ) -> Result<(Arrived, u32), Errno> {
        let arrived = batch.receive(self.receiving.of(v6).ok_or(Errno::AGAIN)?, max)?;
        let before = &mut self.lost[usize::from(v6)];
        let lost = arrived.lost.unwrap_or(*before);
        let more = lost.wrapping_sub(*before);
        *before = lost;
        Ok((arrived, more))
    }

    pub(super) fn returned(&self, v6: bool) -> Option<&Returned> {
        self.returned[usize::from(v6)].as_ref()
    }
}

#[cfg(test)]
impl Steered {
    /// Ports that are steered at this moment, to whichever worker.
    pub(super) fn steered_ports(&self) -> usize {
        self.steering.open_ports()
    }
}

impl Drop for Steered {
    /// Whatever of this worker is still steered is let go before its sockets are.
    fn drop(&mut self) {
        for (place, owners) in self.owners.iter().enumerate() {
            for (port, _) in (0_u16..=u16::MAX).zip(owners).filter(|(_, owner)| **owner != 0) {
                self.steering.close(SocketAddr::new(self.addresses[place], port));
            }
        }
    }
}
