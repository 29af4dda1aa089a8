//! The networks of a run: the clients' and the internet between them, which is this process's own, made for it.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use crate::nat::Firewall;
use crate::net::Network;
use crate::net::Tun;

use super::addresses::PROXY;
use super::addresses::SERVER;
use super::addresses::SERVER_ALTERNATE;
use super::addresses::Side;
use super::gate::Gate;
use super::kernel_nat::KernelNat;
use super::kernel_nat::Standing;
use super::plan::NatBy;
use super::plan::Plan;
use super::router::Leg;
use super::tool::ip;

/// The network of each client: left, right.
#[derive(Debug)]
pub(super) struct World {
    pub(super) clients: [Network; 2],
    /// What of the NATs is the kernel's.
    pub(super) kernel_nats: [Option<KernelNat>; 2],
}

/// Makes all of it, in the network of this process, which must be its own. Answers also what the routers carry packets
/// between.
///
/// # Errors
/// What the kernel or a tool complains of.
pub(super) fn build(plan: &Plan) -> io::Result<(World, [Leg; 2])> {
    internet()?;
    let (left, left_nat, left_leg) = side(plan, Side::Left)?;
    let (right, right_nat, right_leg) = side(plan, Side::Right)?;
    let world = World { clients: [left, right], kernel_nats: [left_nat, right_nat] };
    Ok((world, [left_leg, right_leg]))
}

/// What the server and the proxy are in, and what routes between the sides.
fn internet() -> io::Result<()> {
    without_ipv6();
    routes_between()?;
    ip(&format!(
        "link set lo up
         address add {SERVER}/32 dev lo
         address add {SERVER_ALTERNATE}/32 dev lo
         address add {}/32 dev lo
         route add unreachable default",
        PROXY.ip()
    ))
}

/// Has the network of this thread carry packets between its interfaces.
pub(super) fn routes_between() -> io::Result<()> {
    set("net/ipv4/ip_forward", "1")?;
    // Packets may come by any interface.
    set("net/ipv4/conf/all/rp_filter", "0")?;
    set("net/ipv4/conf/default/rp_filter", "0")
}

fn side(plan: &Plan, side: Side) -> io::Result<(Network, Option<KernelNat>, Leg)> {
    let (name, external) = (side.name(), side.external());
    let outer = Tun::open(name)?;
    ip(&format!(
        "link set {name} up
         route add {external}/32 dev {name} src {SERVER}"
    ))?;
    let place = plan.places[side.index()];
    let (own, between) = (side.own(place), side.between());
    let (behaviours, firewall) = (place.behaviours(), place.firewall(PROXY));
    let ((network, nat, inner), beyond, wall) = match (plan.nats, behaviours) {
        (NatBy::Model, _) | (NatBy::Kernel, []) => {
            let (network, inner) = Network::make(|| client(own))?;
            ((network, None, inner), behaviours, firewall)
        }
        (NatBy::Kernel, [behaviour, beyond @ ..]) => {
            let outer = if beyond.is_empty() { external } else { between };
            let (nat, network, inner) =
                KernelNat::make(Standing { behaviour, firewall: &firewall, own, outer })?;
            ((network, Some(nat), inner), beyond, Firewall::Open)
        }
    };
    // A stream of chance for each side.
    let seed = plan.seed.wrapping_mul(2).wrapping_add(side.index() as u64);
    let gate = Gate::new(beyond, &wall, external, between, seed);
    Ok((network, nat, Leg::new(inner, outer, gate, plan.links[side.index()], seed)))
}

/// A client's network, with one interface that looks like any other.
fn client(own: Ipv4Addr) -> io::Result<Tun> {
    without_ipv6();
    let inner = Tun::open("eth0")?;
    client_routes(own, "dev eth0")?;
    Ok(inner)
}

/// Gives `eth0` of a client its address, and all packets their way out.
pub(super) fn client_routes(own: Ipv4Addr, way: &str) -> io::Result<()> {
    ip(&format!(
        "link set lo up
         address add {own}/24 dev eth0
         link set eth0 up
         route add default {way} src {own}"
    ))
}

/// The laboratory speaks IPv4. Addresses of IPv6 that the kernel makes by itself lead nowhere here.
pub(super) fn without_ipv6() {
    // A kernel without IPv6 has nothing to be set.
    for which in ["all", "default"] {
        let _ = set(&format!("net/ipv6/conf/{which}/disable_ipv6"), "1");
    }
}

/// Sets what the kernel lets one set for a network.
pub(super) fn set(name: &str, value: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/{name}"), value)
        .map_err(|error| io::Error::new(error.kind(), format!("`{name}` cannot be set to {value}: {error}")))
}
