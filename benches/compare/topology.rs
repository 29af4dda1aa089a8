//! A host of its own for the relay, between its clients and its peers: two network namespaces and two cables (veth).
//!
//! ```text
//!   wire: clients 10.78.0.2 ──── 10.78.0.1 relay 10.79.0.1 ──── 10.79.0.2 peers :wire
//! ```

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::process::Command;
use std::process::Stdio;

use super::machine::quietly;

/// Where clients find the relay, and another address of it there.
pub(crate) const LISTEN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 1));
pub(crate) const BESIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 3));
/// Where clients are.
pub(crate) const CLIENTS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 2));
/// The relayed address, and where peers are.
pub(crate) const RELAYED: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 79, 0, 1));
pub(crate) const PEERS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 79, 0, 2));

/// The relay's ends of the cables, and those of the generator, which is both clients and peers.
pub(crate) const INTERFACES: [&str; 2] = ["swb-near", "swb-far"];
pub(crate) const FAR_ENDS: [&str; 2] = ["swb-clients", "swb-peers"];

/// Hardware addresses of the relay's ends.
pub(crate) const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 78, 1], [2, 0, 0, 0, 79, 1]];

/// The two namespaces; gone when this is.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) wire: Namespace,
    pub(crate) relay: Namespace,
}

impl Topology {
    /// Makes them. `number` keeps those apart that there are at a time: what stands at an interface for one server is in
    /// the way of another.
    ///
    /// # Errors
    /// Which command was refused, and how: it takes root and `ip`.
    pub(crate) fn make(number: u16) -> Result<Self, String> {
        let made = Self { wire: Namespace::make("wire", number)?, relay: Namespace::make("relay", number)? };
        let ends = [(CLIENTS, LISTEN), (PEERS, RELAYED)];
        for (((near, far), (theirs, ours)), mac) in INTERFACES.into_iter().zip(FAR_ENDS).zip(ends).zip(MACS) {
            let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
            let wire = &made.wire.name;
            made.relay
                .ip(&format!("link add {near} address {mac} type veth peer name {far} netns {wire}"))?;
            made.relay.ip(&format!("addr add {ours}/24 dev {near}"))?;
            made.wire.ip(&format!("addr add {theirs}/24 dev {far}"))?;
            made.relay.ip(&format!("link set {near} up"))?;
            made.wire.ip(&format!("link set {far} up"))?;
            // What XDP sends into a veth arrives only where the other end has NAPI, which GRO brings.
            // And a frame that comes from a card has its whole checksum, which one of a neighbour on this machine lacks.
            for what in [["gro", "on"], ["tx", "off"]] {
                let tell = ["netns", "exec", &made.wire.name, "ethtool", "-K", far];
                drop(quietly(Command::new("ip").args(tell).args(what)));
            }
        }
        made.relay.ip(&format!("addr add {BESIDE}/24 dev {}", INTERFACES[0]))?;
        Ok(made)
    }
}

/// Has the relay's ends in the namespace `relay` take frames that come without a socket buffer, as a card's driver makes them.
///
/// # Errors
/// `ethtool` is not there, or is refused.
pub(crate) fn as_cards(relay: &str) -> Result<(), String> {
    for interface in INTERFACES {
        let tell = ["netns", "exec", relay, "ethtool", "-K", interface, "gro", "on"];
        match quietly(Command::new("ip").args(tell)) {
            Ok(true) => {}
            _ => return Err(format!("`ethtool -K {interface} gro on` is refused")),
        }
    }
    Ok(())
}

/// A network namespace, with its loopback interface; gone when this is.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    /// Makes one.
    ///
    /// # Errors
    /// Which command was refused, and how.
    pub(crate) fn make(what: &str, number: u16) -> Result<Self, String> {
        let made = Self { name: format!("swb-{what}-{}-{number}", std::process::id()) };
        ip(&format!("netns add {}", made.name))?;
        made.ip("link set lo up")?;
        Ok(made)
    }

    /// The rest of a command of `ip`, there.
    ///
    /// # Errors
    /// Which command was refused, and how.
    pub(crate) fn ip(&self, line: &str) -> Result<(), String> {
        ip(&format!("-n {} {line}", self.name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(quietly(Command::new("ip").args(["netns", "delete", &self.name])));
    }
}

fn ip(line: &str) -> Result<(), String> {
    let done = Command::new("ip").args(line.split_whitespace()).stdin(Stdio::null()).output();
    let done = done.map_err(|error| format!("`ip` cannot be run: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("`ip {line}` is refused: {}", String::from_utf8_lossy(&done.stderr).trim()))
}
