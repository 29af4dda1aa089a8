//! What leaves relay ports as whole packets, by one raw socket of each relayed address: the packets of many allocations with
//! one call. Runs of one allocation leave by its own socket, which lets the kernel cut them up.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;

use crate::net::RawSocket;
use crate::net::packet::RUN_MIN;
use crate::proto::types::RelayAddr;

use super::Raw;

/// What fits into the packet of IPv6 that every path takes whole (RFC 8200 § 5), behind the headers of IPv6 and UDP.
const V6_DATA_MAX: usize = 1_280 - 40 - 8;

/// One worker's raw sockets.
#[derive(Debug)]
pub(in crate::relay) struct Raws {
    /// In the order of the relayed addresses.
    sockets: Vec<RawSocket>,
}

impl Raws {
    /// One for each of `addresses`.
    ///
    /// # Errors
    /// What the kernel says: `EPERM` without CAP_NET_RAW.
    pub(super) fn open(addresses: &[IpAddr]) -> io::Result<Self> {
        let sockets = addresses.iter().map(|ip| RawSocket::open(*ip)).collect::<io::Result<_>>()?;
        Ok(Self { sockets })
    }

    /// How `data_len` bytes leave `bound`, if a raw socket can send them.
    pub(super) fn way(&self, bound: RelayAddr, to: SocketAddr, data_len: usize) -> Option<Raw> {
        let bound = bound.socket();
        if !is_plain(bound, to, data_len) {
            return None;
        }
        let place = self.sockets.iter().position(|raw| raw.address() == bound.ip())?;
        Some(Raw { place: u16::try_from(place).ok()?, from: bound.port() })
    }

    /// The raw socket at this place.
    pub(super) fn get(&self, place: u16) -> Option<&RawSocket> {
        self.sockets.get(usize::from(place))
    }
}

/// Whether `len` bytes can leave `from` for `to` as one packet. What a bound socket knows better, or refuses, is left to it: an
/// address that means something on one link alone, a port that is none, and what some path of IPv6 may not take whole.
fn is_plain(from: SocketAddr, to: SocketAddr, len: usize) -> bool {
    let is_of_family = match to {
        SocketAddr::V4(_) => from.is_ipv4(),
        SocketAddr::V6(v6) => {
            let is_of_a_link = v6.scope_id() != 0 || v6.ip().is_unicast_link_local();
            from.is_ipv6() && !is_of_a_link && len <= V6_DATA_MAX
        }
    };
    is_of_family && to.port() != 0
}

/// Whether one allocation sends in runs, by what it sent of the batch before. Within a batch the answer stays, so that its
/// packets keep their order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    batch: u32,
    count: u16,
    runs: bool,
}

impl Pace {
    /// It sends one more in the batch of this number. Answers whether it sends in runs.
    pub(super) fn note(&mut self, batch: u32) -> bool {
        if self.batch != batch {
            *self = Self { batch, count: 0, runs: usize::from(self.count) >= RUN_MIN };
        }
        self.count = self.count.saturating_add(1);
        self.runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sent_a_run_is_expected_to_do_so_again_and_a_batch_is_all_of_a_kind() {
        let mut pace = Pace::default();
        let mut batch =
            |number, packets: usize| -> Vec<_> { (0..packets).map(|_| pace.note(number)).collect() };
        assert_eq!(batch(1, RUN_MIN), [false; RUN_MIN]);
        assert_eq!(batch(2, RUN_MIN - 1), [true; RUN_MIN - 1]);
        assert_eq!(batch(5, 70), [false; 70], "batches without it do not count");
        assert_eq!(batch(6, 1), [true]);
        assert_eq!(batch(7, 1), [false]);
    }
}
