//! Words that every other room speaks: addresses by role, identities, lifetimes, clocks as values, limits.
//!
//! Nothing here does anything; a value that can be built is valid.

mod address;
mod channel_number;
mod connection;
mod dice;
mod endpoint;
mod entries;
mod entropy;
mod few;
mod five_tuple;
mod id;
mod identity;
mod ip_header;
mod lifetime;
pub mod limits;
mod now;
mod rate;
mod secret;

pub use address::ClientAddr;
pub use address::Family;
pub use address::PeerAddr;
pub use address::RelayAddr;
pub use address::ServerAddr;
pub use channel_number::ChannelNumber;
pub use connection::ConnectionId;
pub use connection::PeerId;
pub use connection::PeerOrder;
pub use connection::PeerReport;
pub use connection::RelayProtocol;
pub use dice::Dice;
pub use entropy::Entropy;
pub use few::Few;
pub use few::Pairs;
pub use few::ToPeer;
pub use five_tuple::Dialect;
pub use five_tuple::FiveTuple;
pub use five_tuple::Transport;
pub use id::RelayId;
pub use id::StreamId;
pub use id::WorkerId;
pub use identity::QuotaIdentity;
pub use identity::Username;
pub use ip_header::IpHeader;
pub use lifetime::Lifetime;
pub use now::Deadline;
pub use now::Now;
pub use now::Tick;
pub use rate::Rate;
pub use secret::Secret;
