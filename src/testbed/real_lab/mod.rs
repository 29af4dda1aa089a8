//! The laboratory of real packets: two programs, whatever they are, in networks of their own, each behind the NATs and the
//! firewall of its [`super::Place`], and our server between them.
//!
//! ```text
//!   left's network          the laboratory's own network              right's network
//!   command ─ eth0 ══ router ══ left ─ server, proxy ─ right ══ router ══ eth0 ─ command
//!                     └ line, NATs, firewall, flows ┘
//! ```
//!
//! Every `══` is a TUN interface at either end and the router between them, one thread of ours: so a packet meets the same
//! model of NAT as in the virtual laboratory, and loss and delay need nothing of the kernel. Where the plan says so, the NAT
//! next to each program is the kernel's instead (`kernel_nat`), in one more network before the router.

mod addresses;
mod chronicle;
mod command;
mod faults;
mod flow;
mod folder;
mod gate;
mod icmp;
mod inside;
mod judge;
mod kernel_nat;
mod launch;
mod link;
mod matrix;
mod misbehaving;
mod outcome;
mod packet;
mod plan;
mod proxy;
mod recorder;
mod router;
mod server;
mod signalling;
mod tool;
mod world;

use std::io;

use crate::load::Fault;
use crate::load::fault::FaultKind;

pub use addresses::PORT;
pub use addresses::PORT_ALTERNATE;
pub use addresses::PORT_TLS;
pub use addresses::PROXY;
pub use addresses::SERVER;
pub use addresses::SERVER_ALTERNATE;
pub use addresses::Side;
pub use flow::Count;
pub use flow::Flow;
pub use flow::Flows;
pub use flow::Road;
pub use folder::Cleaned;
pub use folder::PREFIX;
pub use folder::clean;
pub use gate::Fate;
pub use gate::Way;
pub use inside::carry_out;
pub use judge::judge;
pub use launch::launch;
pub use matrix::Wish;
pub use matrix::matrix;
pub use matrix::run_of;
pub use outcome::Ended;
pub use outcome::Outcome;
pub use outcome::summary;
pub use outcome::verdict_of;
pub use plan::NatBy;
pub use plan::Plan;
pub use plan::Script;
pub use router::Nobody;
pub use router::Seen;
pub use router::Witness;

/// What the laboratory takes, for whom this machine refuses it.
const PRIVILEGES: &str = "run it as root, or let users make namespaces (sysctl user.max_user_namespaces, and no AppArmor or \
                          seccomp rule against it), with /dev/net/tun there, readable and writable for them";

/// This machine refuses something.
fn machine(what: &str, error: &io::Error) -> Fault {
    Fault::new(FaultKind::Machine, format!("{what}: {error}"))
}
