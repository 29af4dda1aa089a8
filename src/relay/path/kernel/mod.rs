//! Relaying in the kernel: ChannelData and UDP are translated where a frame lies, by TC or by XDP, and every frame that is not
//! plain in every respect comes up to the worker as ever.
//!
//! ```text
//!                 ┌── worker: proto::media::Table ──┐
//!   frames that   │           │ Writer::update      │ sockets: what came up
//!   are not plain │           ▼                     │
//!          ▲      │      maps: ways, ports, hops    │
//!          └──────┴── turn.bpf.c at the interface ──┴──▶ frames that are
//! ```
//!
//! - [`Kernel`] is the program and its being attached. With it goes everything: nothing is pinned, and every attachment is a
//!   link that the kernel ends with the process, killed or not. So there are no leftovers to recognise. A program that stands
//!   at an interface when this is loaded is somebody else's, and is never replaced.
//! - [`Writer`] belongs to one worker. After each change of its table it is told which allocation changed, and asks the table
//!   ([`crate::proto::media::Shortcuts`]); so no rule of the protocol is written twice.
//! - [`Buckets`] lends buckets that the program and the workers draw from alike. A bucket that an allocation alone has is
//!   written by its worker without a locked instruction, so what the program takes in the same moment may be forgotten: a
//!   packet or two where one allocation's media comes by both ways at once.

mod attach;
mod hops;
mod layout;
mod netlink;
mod program;
#[allow(unsafe_code)]
mod shared;
mod writer;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

use netlink::Netlink;

pub use program::Buckets;
pub use program::Kernel;
pub use writer::Writer;

/// Where the program stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Behind the making of the packet's buffer (tcx, Linux 6.6). Finds the next hop's address by itself.
    Tc,
    /// In the driver.
    Xdp,
    /// XDP behind the driver, where the driver has none. It is no faster than TC: for comparison.
    XdpGeneric,
}

impl Mode {
    /// The word of the configuration and of logs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tc => "tc",
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
        }
    }
}

/// What the program is made for. It cannot be changed while it stands.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Relay addresses as they are bound; at most 8 of each family.
    pub addresses: Vec<IpAddr>,
    /// Relay ports.
    pub ports: RangeInclusive<u16>,
    /// Workers: each has a [`Writer`].
    pub workers: u16,
    /// Channels of all allocations; more are relayed by the workers. 1 to [`CHANNELS_MAX`](
    /// crate::proto::types::limits::KERNEL_CHANNELS_MAX).
    pub channels: u32,
    /// How long ago the server's clock was at `Tick` 0.
    pub since_start: Duration,
    /// How long a next hop goes without a packet through the sockets, which alone keep it known as a neighbour:
    /// [`KERNEL_LEND`](crate::proto::types::limits::KERNEL_LEND). XDP only.
    pub lend: Duration,
}

/// Why the tier cannot be had here, and what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is missing.
    pub reason: String,
    /// What the operator can do.
    pub cure: String,
}

impl Refused {
    fn new(reason: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { reason: reason.into(), cure: cure.into() }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.reason, self.cure)
    }
}

impl std::error::Error for Refused {}

/// Frames that the program dropped: over a limit on bandwidth, of an allocation and of a user; and those that could not be
/// written any more once they had been taken apart, which should never be any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Over the allocation's bandwidth.
    pub allocation_bandwidth: u64,
    /// Over the user's.
    pub user_bandwidth: u64,
    /// Lost between two steps.
    pub unwritten: u64,
}

/// What kind of interface has this name: `veth` and the like; empty for hardware.
///
/// # Errors
///
/// There is none, or the kernel does not say.
pub fn kind_of(interface: &str) -> io::Result<String> {
    Ok(Netlink::new()?.link_by_name(interface)?.kind)
}

/// The interface by which packets of the local address `from` go to the Internet, if they do.
#[must_use]
pub fn way_out(from: IpAddr) -> Option<String> {
    // Documentation prefixes: no route but the default one leads there.
    let far: IpAddr = match from {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let mut netlink = Netlink::new().ok()?;
    let next = netlink.route(from, far).ok()??;
    netlink.name(next.ifindex).ok()
}
