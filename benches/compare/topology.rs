//! A host of its own for the relay, one cable away from the generator: two network namespaces and a pair of veth.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::process::Command;
use std::process::Stdio;

use super::machine::quietly;

/// The generator's address, and the relay's.
pub(crate) const WIRE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 2));
pub(crate) const RELAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 1));

/// The two namespaces; gone when this is.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) wire: String,
    pub(crate) relay: String,
    /// The relay's interface.
    pub(crate) interface: String,
}

impl Topology {
    /// Makes them.
    ///
    /// # Errors
    /// Which command was refused, and how: it takes root and `ip`.
    pub(crate) fn make() -> Result<Self, String> {
        let own = std::process::id();
        let made = Self {
            wire: format!("swb-wire-{own}"),
            relay: format!("swb-relay-{own}"),
            interface: "swb-relay".to_owned(),
        };
        let (wire, relay, interface) = (&made.wire, &made.relay, &made.interface);
        for line in [
            format!("netns add {wire}"),
            format!("netns add {relay}"),
            format!("-n {relay} link add {interface} type veth peer name swb-wire netns {wire}"),
            format!("-n {relay} addr add {RELAY}/24 dev {interface}"),
            format!("-n {wire} addr add {WIRE}/24 dev swb-wire"),
            format!("-n {relay} link set lo up"),
            format!("-n {wire} link set lo up"),
            format!("-n {relay} link set {interface} up"),
            format!("-n {wire} link set swb-wire up"),
        ] {
            ip(&line)?;
        }
        // What XDP sends into a veth arrives only where the other end has NAPI, which GRO brings.
        // And a frame that comes from a card has its whole checksum, which one of a neighbour on this machine lacks.
        for what in [["gro", "on"], ["tx", "off"]] {
            let tell = ["netns", "exec", wire, "ethtool", "-K", "swb-wire"];
            drop(quietly(Command::new("ip").args(tell).args(what)));
        }
        Ok(made)
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        for namespace in [&self.wire, &self.relay] {
            drop(quietly(Command::new("ip").args(["netns", "delete", namespace])));
        }
    }
}

fn ip(line: &str) -> Result<(), String> {
    let done = Command::new("ip").args(line.split(' ')).stdin(Stdio::null()).output();
    let done = done.map_err(|error| format!("`ip` cannot be run: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("`ip {line}` is refused: {}", String::from_utf8_lossy(&done.stderr).trim()))
}
