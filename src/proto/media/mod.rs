//! The data plane's pure heart: a packet and a table in, a verdict out. Nothing here allocates per packet,
//! takes a lock, reads a clock or logs.

mod allocation;
mod bucket;
mod client;
mod counters;
mod external;
#[cfg(any(test, feature = "internals"))]
mod fixture;
pub mod forward;
mod header;
#[cfg(any(test, feature = "internals"))]
mod inspect;
mod legacy;
mod mobility;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod model;
mod outbox;
mod path;
pub mod returned;
mod shortcut;
mod stream;
mod table;
mod update;
mod verdict;

pub use bucket::Bandwidth;
pub use bucket::Bucket;
pub use client::Located;
pub use counters::Counters;
pub use external::ExternalAddresses;
#[cfg(any(test, feature = "internals"))]
pub(crate) use inspect::Entry;
pub use legacy::from_connection;
pub use legacy::from_stream;
pub use legacy::sent_to_peer;
pub use mobility::Carried;
pub use outbox::Outbox;
pub use outbox::Weight;
pub use shortcut::Shortcut;
pub use shortcut::Shortcuts;
pub use table::Table;
pub use table::TableConfig;
pub use update::NewAllocation;
pub use update::TableChange;
pub use verdict::DropReason;
pub use verdict::FromClient;
pub use verdict::FromPeer;
