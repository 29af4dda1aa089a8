//! Which peers may be reached. One function judges an address, after every way of writing an IPv4 address
//! inside an IPv6 one has been undone; both planes call it, on every way out.

mod builtin;
mod canonical;
mod live;
mod policy;
mod rule;
mod spans;

pub use canonical::embedded_ipv4;
pub use canonical::is_tunnelled;
pub use live::LiveRelays;
pub use policy::OwnRelays;
pub use policy::PeerPolicy;
pub use policy::PolicyBuilder;
pub use policy::Unlisted;
pub use policy::Verdict;
pub use rule::Rule;
pub use rule::RuleError;
