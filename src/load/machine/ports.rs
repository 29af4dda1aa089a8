//! Which local ports a load takes: none that a server on this machine relays from, none that are kept for others, and each
//! address's in an order that the seed decides.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use crate::net::probe::EphemeralPorts;
use crate::proto::types::limits;

/// The ports that a load may take.
const ALL: RangeInclusive<u16> = 10_240..=65_535;
/// Where servers relay from: ours has 50000-59999, others all of the dynamic ports (RFC 6335 § 6).
const RELAYS: RangeInclusive<u16> = 49_152..=65_535;

/// The ports that a load may take: a few ranges, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    ranges: Vec<RangeInclusive<u16>>,
}

impl Allowed {
    /// Those for a load on `servers`.
    #[must_use]
    pub fn beside(servers: impl IntoIterator<Item = IpAddr>) -> Self {
        let reserved = EphemeralPorts::read().map(|ports| ports.reserved).unwrap_or_default();
        Self::without(servers.into_iter().any(super::is_own), &reserved)
    }

    fn without(relays: bool, reserved: &[RangeInclusive<u16>]) -> Self {
        let mut ranges = vec![ALL];
        for cut in reserved.iter().chain(relays.then_some(&RELAYS)) {
            ranges = ranges.iter().flat_map(|range| less(range, cut)).collect();
        }
        Self { ranges }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.iter().map(ExactSizeIterator::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The port at `index`, from the lowest on.
    fn at(&self, mut index: usize) -> Option<u16> {
        for range in &self.ranges {
            if index < range.len() {
                return u16::try_from(usize::from(*range.start()) + index).ok();
            }
            index -= range.len();
        }
        None
    }
}

/// `range` without `cut`.
fn less(range: &RangeInclusive<u16>, cut: &RangeInclusive<u16>) -> Vec<RangeInclusive<u16>> {
    let (first, last) = (*range.start(), *range.end());
    let mut left = Vec::new();
    if *cut.end() < first || last < *cut.start() {
        return vec![range.clone()];
    }
    if first < *cut.start() {
        left.push(first..=cut.start() - 1);
    }
    if *cut.end() < last {
        left.push(cut.end() + 1..=last);
    }
    left
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, range) in self.ranges.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{}-{}", range.start(), range.end())?;
        }
        Ok(())
    }
}

/// Hands out the ports of one thread's share, for each source address round and round: a port whose socket was closed comes
/// again when all others have had their turn.
#[derive(Clone, Debug)]
pub struct Ports {
    allowed: Allowed,
    /// Addresses, and how many of their ports have had their turn. Only the first have turns themselves.
    sources: Vec<(IpAddr, usize)>,
    in_turn: usize,
    turn: usize,
    /// Where the order begins, and how far apart neighbours in it are: it has no divisor in common with the number of ports.
    start: usize,
    stride: usize,
    share: (usize, usize),
}

impl Ports {
    /// The share of thread number `thread` out of `threads`, from `sources` in turn; where there are none, from
    /// `unspecified`, so that the kernel chooses the address.
    #[must_use]
    pub fn new(
        allowed: Allowed,
        sources: &[IpAddr],
        unspecified: IpAddr,
        seed: u64,
        (thread, threads): (usize, usize),
    ) -> Self {
        let len = allowed.len().max(1);
        let sources = if sources.is_empty() { &[unspecified][..] } else { sources };
        let bits = mixed(seed);
        let start = usize::try_from(bits % len as u64).unwrap_or(0);
        let wish = usize::try_from((bits >> 32) % len as u64).unwrap_or(1).max(1);
        let stride = (wish..).find(|stride| divisor(*stride, len) == 1).unwrap_or(1);
        let threads = threads.max(1);
        Self {
            allowed,
            sources: sources.iter().map(|ip| (*ip, 0)).collect(),
            in_turn: sources.len(),
            turn: thread % sources.len(),
            start,
            stride,
            share: (thread % threads, threads),
        }
    }

    /// Makes something at the next free port of the next source address: `make` is given address and port, and is given
    /// others while it says that they are taken.
    ///
    /// # Errors
    /// What `make` says otherwise, or at last.
    pub fn open<T>(&mut self, make: impl FnMut(SocketAddr) -> io::Result<T>) -> io::Result<T> {
        let turn = self.turn;
        self.turn = (turn + 1) % self.in_turn;
        self.open_at(turn, make)
    }

    /// [`Self::open`] at the source address `ip`, which need not be one of those in turn.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_from<T>(
        &mut self,
        ip: IpAddr,
        make: impl FnMut(SocketAddr) -> io::Result<T>,
    ) -> io::Result<T> {
        let place = self.sources.iter().position(|(source, _)| *source == ip).unwrap_or_else(|| {
            self.sources.push((ip, 0));
            self.sources.len() - 1
        });
        self.open_at(place, make)
    }

    fn open_at<T>(
        &mut self,
        place: usize,
        mut make: impl FnMut(SocketAddr) -> io::Result<T>,
    ) -> io::Result<T> {
        let tries = self.allowed.len().div_ceil(self.share.1).min(limits::LOAD_PORT_TRIES);
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..tries {
            let address = self.next(place)?;
            match make(address) {
                Err(error) if is_taken(&error) => last = error,
                made => return made,
            }
        }
        Err(last)
    }

    fn next(&mut self, place: usize) -> io::Result<SocketAddr> {
        let len = self.allowed.len();
        let (thread, threads) = self.share;
        let none = || io::Error::from(io::ErrorKind::AddrNotAvailable);
        let (ip, count) = self.sources.get_mut(place).ok_or_else(none)?;
        let mut at = thread + *count * threads;
        if at >= len {
            (*count, at) = (0, thread);
        }
        *count += 1;
        let index = (self.start + at.wrapping_mul(self.stride)) % len.max(1);
        let port = self.allowed.at(index).ok_or_else(none)?;
        Ok(SocketAddr::new(*ip, port))
    }
}

/// Whether another port may do. `AddrNotAvailable` is what a connection says whose four ends were in use a moment ago.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

/// The bits of a seed, well mixed (SplitMix64).
const fn mixed(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// The greatest common divisor.
const fn divisor(mut one: usize, mut other: usize) -> usize {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::UdpSocket;

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn refused<T>(kind: io::ErrorKind) -> io::Result<T> {
        Err(kind.into())
    }

    #[test]
    fn beside_a_server_of_this_machine_no_port_is_one_that_it_may_relay_from() {
        let ports = |relays, reserved: &[RangeInclusive<u16>]| Allowed::without(relays, reserved).to_string();
        assert_eq!(ports(false, &[]), "10240-65535");
        assert_eq!(ports(true, &[]), "10240-49151");
        assert_eq!(ports(true, &[50_000..=59_999]), "10240-49151");
        assert_eq!(
            ports(false, &[50_000..=59_999, 20_000..=20_000]),
            "10240-19999, 20001-49999, 60000-65535"
        );
        assert_eq!(ports(false, &[1..=10_240, 65_535..=65_535, 5..=9]), "10241-65534");
        assert!(Allowed::without(false, &[0..=65_535]).is_empty());
        let here = Allowed::beside([LOOPBACK]);
        assert!(
            (0..here.len()).all(|index| here.at(index).is_some_and(|port| (10_240..49_152).contains(&port)))
        );
        assert_eq!(
            (here.at(here.len()), Allowed::beside(["192.0.2.1".parse().expect("a literal")]).is_empty()),
            (None, false)
        );
    }

    #[test]
    fn every_port_has_its_turn_once_a_round_and_threads_share_none() {
        let allowed = Allowed { ranges: vec![100..=199, 300..=306] };
        for seed in 0..50 {
            let mut seen = BTreeSet::new();
            for thread in 0..3 {
                let mut ports = Ports::new(allowed.clone(), &[], LOOPBACK, seed, (thread, 3));
                let share = if thread < 2 { 36 } else { 35 };
                let round: Vec<_> = (0..share).map(|_| ports.open(Ok).expect("a port").port()).collect();
                assert!(round.iter().all(|port| seen.insert(*port)), "seed {seed}: {round:?}");
                assert_eq!(ports.open(Ok).expect("the next round").port(), round[0], "seed {seed}");
            }
            assert_eq!(seen.len(), allowed.len(), "seed {seed}");
        }
        let order = |seed| {
            let mut ports = Ports::new(allowed.clone(), &[], LOOPBACK, seed, (0, 1));
            (0..20).map(|_| ports.open(Ok).expect("a port").port()).collect::<Vec<_>>()
        };
        assert_eq!(order(7), order(7), "a seed names a run again");
        assert_ne!(order(7), order(8));
    }

    #[test]
    fn sources_take_turns_and_each_has_all_ports() {
        let sources: Vec<IpAddr> = ["127.0.0.2", "127.0.0.3"].map(|ip| ip.parse().expect("a literal")).into();
        let mut ports = Ports::new(Allowed { ranges: vec![100..=101] }, &sources, LOOPBACK, 1, (0, 1));
        let four: BTreeSet<_> = (0..4).map(|_| ports.open(Ok).expect("a port")).collect();
        assert_eq!(four.len(), 4);
        let other = "127.0.0.4".parse().expect("a literal");
        let two: BTreeSet<_> = (0..2).map(|_| ports.open_from(other, Ok).expect("a port")).collect();
        assert!(two.len() == 2 && two.iter().all(|address| address.ip() == other));
        let next: Vec<_> = (0..2).map(|_| ports.open(Ok).expect("a port").ip()).collect();
        assert_eq!(next, sources, "a stranger has no turn");
    }

    #[test]
    fn a_taken_port_is_passed_over_and_another_error_is_not() {
        let mut ports = Ports::new(Allowed { ranges: vec![100..=109] }, &[], LOOPBACK, 3, (0, 1));
        let mut tried = 0;
        let made = ports.open(|address| {
            tried += 1;
            if tried < 5 { refused(io::ErrorKind::AddrInUse) } else { Ok(address) }
        });
        assert!(made.is_ok() && tried == 5);
        tried = 0;
        let denied = ports.open(|_| -> io::Result<()> {
            tried += 1;
            refused(io::ErrorKind::PermissionDenied)
        });
        assert_eq!((denied.expect_err("no use").kind(), tried), (io::ErrorKind::PermissionDenied, 1));
        tried = 0;
        let full = ports.open(|_| -> io::Result<()> {
            tried += 1;
            refused(io::ErrorKind::AddrInUse)
        });
        assert_eq!((full.expect_err("all taken").kind(), tried), (io::ErrorKind::AddrInUse, 10), "each once");
        let mut none = Ports::new(Allowed { ranges: Vec::new() }, &[], LOOPBACK, 3, (0, 1));
        assert!(none.open(Ok).is_err());
    }

    #[test]
    fn real_sockets_get_real_ports() {
        let mut ports = Ports::new(Allowed::beside([LOOPBACK]), &[], LOOPBACK, 11, (0, 1));
        let first = ports.open(UdpSocket::bind).expect("a socket");
        // The same order again: its first port is taken.
        let mut again = Ports::new(Allowed::beside([LOOPBACK]), &[], LOOPBACK, 11, (0, 1));
        let second = again.open(UdpSocket::bind).expect("another socket");
        assert_ne!(first.local_addr().expect("bound"), second.local_addr().expect("bound"));
    }
}
