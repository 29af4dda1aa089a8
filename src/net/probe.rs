//! What the machine says of itself: its addresses, and which ports the kernel gives away.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::ops::RangeInclusive;
use std::time::Duration;

use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;

use crate::proto::types::Family;

use super::sys;

/// The address from which this machine would speak to the Internet: the source address of the default route.
/// `None` if the family has no such route. Nothing is sent.
#[must_use]
pub fn default_source(family: Family) -> Option<IpAddr> {
    // Documentation prefixes: no route but the default one leads there.
    let (any, far): (IpAddr, IpAddr) = match family {
        Family::V4 => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        Family::V6 => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(far, 9)).ok()?;
    let source = socket.local_addr().ok()?.ip();
    (!source.is_unspecified()).then_some(source)
}

/// Whether a socket can be bound to `ip`: it is an address of this machine, or the kernel was told to bear with it
/// (`ip_nonlocal_bind`). Where the kernel gives another reason, the address is not to blame.
#[must_use]
pub fn can_be_bound(ip: IpAddr) -> bool {
    match UdpSocket::bind(SocketAddr::new(ip, 0)) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::AddrNotAvailable,
    }
}

/// The addresses of this machine's interfaces, each once, loopback included.
///
/// # Errors
/// What the kernel says.
pub fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let mut addresses = sys::interface_addresses()?;
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// Raises the number of descriptors that the process may hold as far as the system lets it, and answers that number.
/// A relay socket is one descriptor.
///
/// # Errors
/// What the kernel says.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, raised)?;
    }
    Ok(raised.current.unwrap_or(u64::MAX))
}

/// The CPU time that all threads of process `pid` have used so far, those that ended included. Any process may be asked about.
///
/// # Errors
/// `NotFound` where there is no such process.
pub fn cpu_time_of(pid: u32) -> io::Result<Duration> {
    let none = || io::Error::from(io::ErrorKind::NotFound);
    // 0 would be the caller.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0).ok_or_else(none)?;
    sys::cpu_time_of(pid).map_err(|error| match error.raw_os_error() {
        Some(libc::ESRCH | libc::EINVAL) => none(),
        _ => error,
    })
}

/// The ports that the kernel gives to sockets that ask for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EphemeralPorts {
    /// `net.ipv4.ip_local_port_range`, which holds for both families.
    pub range: RangeInclusive<u16>,
    /// `net.ipv4.ip_local_reserved_ports`: left out of it.
    pub reserved: Vec<RangeInclusive<u16>>,
}

impl EphemeralPorts {
    /// Reads them from the kernel.
    ///
    /// # Errors
    /// What the kernel says, and `InvalidData` for a text that cannot be understood.
    pub fn read() -> io::Result<Self> {
        let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
        let reserved = fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports")?;
        Self::parse(&range, &reserved)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "port range of the kernel"))
    }

    /// How many of `ports` the kernel may give to others.
    #[must_use]
    pub fn exposed(&self, ports: &RangeInclusive<u16>) -> usize {
        ports
            .clone()
            .filter(|port| self.range.contains(port))
            .filter(|port| !self.reserved.iter().any(|reserved| reserved.contains(port)))
            .count()
    }

    /// The text that reserves `ports` beside what is reserved, for `net.ipv4.ip_local_reserved_ports`.
    #[must_use]
    pub fn reserving(&self, ports: &RangeInclusive<u16>) -> String {
        let show = |ports: &RangeInclusive<u16>| match (ports.start(), ports.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        self.reserved.iter().chain([ports]).map(show).collect::<Vec<_>>().join(",")
    }

    fn parse(range: &str, reserved: &str) -> Option<Self> {
        let mut bounds = range.split_ascii_whitespace().map(str::parse);
        let (first, last) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
        let reserved = reserved
            .trim()
            .split(',')
            .filter(|part| !part.is_empty())
            .map(|part| {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                Some(first.parse().ok()?..=last.parse().ok()?)
            })
            .collect::<Option<_>>()?;
        Some(Self { range: first..=last, reserved })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_hold_loopback_once() {
        let addresses = own_addresses().expect("the kernel tells");
        let loopback =
            addresses.iter().filter(|address| **address == IpAddr::V4(Ipv4Addr::LOCALHOST)).count();
        assert_eq!(loopback, 1, "{addresses:?}");
    }

    #[test]
    fn a_default_source_is_an_own_address_of_its_family() {
        let own = own_addresses().expect("the kernel tells");
        for family in [Family::V4, Family::V6] {
            if let Some(source) = default_source(family) {
                assert_eq!(Family::of(source), family);
                assert!(own.contains(&source), "{source} is not among {own:?}");
            }
        }
    }

    #[test]
    fn the_descriptor_limit_is_as_high_as_the_system_lets_it_be() {
        let raised = raise_descriptor_limit().expect("raising up to the ceiling is allowed");
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), raised);
    }

    #[test]
    fn the_cpu_time_of_a_process_grows_with_its_work_and_a_process_that_is_none_is_told() {
        let own = std::process::id();
        let before = cpu_time_of(own).expect("there is one");
        while cpu_time_of(own).expect("there is one") < before + Duration::from_millis(2) {
            std::hint::black_box(before);
        }
        for none in [0, u32::MAX, (1 << 22) + 1] {
            assert_eq!(cpu_time_of(none).expect_err("no process").kind(), io::ErrorKind::NotFound, "{none}");
        }
    }

    #[test]
    fn the_kernels_own_files_are_understood() {
        let ports = EphemeralPorts::read().expect("this is Linux");
        assert!(!ports.range.is_empty());
    }

    #[test]
    fn ports_are_exposed_unless_reserved_or_outside_the_range() {
        let ports = |reserved| EphemeralPorts::parse("32768\t60999\n", reserved).expect("a valid text");
        assert_eq!(ports("\n").exposed(&(50_000..=59_999)), 10_000);
        assert_eq!(ports("50000-59999\n").exposed(&(50_000..=59_999)), 0);
        assert_eq!(ports("8080,50000-54999,59999").exposed(&(50_000..=59_999)), 4_999);
        assert_eq!(ports("").exposed(&(60_999..=61_009)), 1);
        assert_eq!(ports("").exposed(&(61_000..=65_535)), 0);
    }

    #[test]
    fn what_is_reserved_stays_reserved() {
        let ports = EphemeralPorts::parse("32768 60999", "8080,9000-9001").expect("a valid text");
        assert_eq!(ports.reserving(&(50_000..=59_999)), "8080,9000-9001,50000-59999");
        let none = EphemeralPorts::parse("32768 60999", "").expect("a valid text");
        assert_eq!(none.reserving(&(7..=7)), "7");
    }

    #[test]
    fn a_text_that_is_no_range_is_refused() {
        for (range, reserved) in
            [("", ""), ("32768", ""), ("a b", ""), ("1 70000", ""), ("1 2", "x"), ("1 2", "3-")]
        {
            assert_eq!(EphemeralPorts::parse(range, reserved), None, "{range:?} {reserved:?}");
        }
    }
}
