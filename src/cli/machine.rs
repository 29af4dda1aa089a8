//! What the configuration needs to know of this machine.

use std::net::IpAddr;
use std::thread;

use crate::config::Machine;
use crate::net::probe;
use crate::proto::types::Family;

/// Looks at this machine. What cannot be found out is left out.
#[must_use]
pub fn observe() -> Machine {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Machine {
        own: probe::own_addresses().unwrap_or_default(),
        default_v4: probe::default_source(Family::V4).and_then(|ip| match ip {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        }),
        default_v6: probe::default_source(Family::V6).and_then(|ip| match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(v6),
        }),
        cores: u16::try_from(cores).unwrap_or(u16::MAX),
    }
}
