//! Keys of the path that packets take, beside its name.

use super::Key;
use super::Kind;
use super::key;

pub(super) const KERNEL_INTERFACES: Key = key(
    "relay.kernel_interfaces",
    Kind::Names,
    "[]",
    "Network interfaces that the tiers \"tc\" and \"xdp\" may be attached to, such as [\"eth0\"]. Nothing is attached to\n\
     one that is not named here.",
);

pub(super) const RUNS: Key = key(
    "relay.runs",
    Kind::Word(&["auto", "off"]),
    r#""auto""#,
    "Whether datagrams that come or leave together may pass the kernel as one (GRO, GSO), which spares most of the\n\
     work: \"auto\" where a socket brings enough of them, \"off\" never, for network cards that do it badly.",
);
