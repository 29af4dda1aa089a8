//! The data plane: worker threads that own sockets and tables, and drive `proto::media`.
//!
//! ```text
//!            commands: Open Close Table Reply Stop
//!   control ───────────────────────────────────────▶ worker-N ── listeners ◀──▶ clients
//!           ◀─────────────────────────────────────── (table)  ── relay sockets ◀──▶ peers
//!            live, fresh: requests · reports
//! ```
//!
//! Assumptions: an allocation belongs to the worker whose listener received its Allocate, and stays there unless its
//! client moves (RFC 8016) to a five-tuple that another worker hears. What a
//! command does is done when the next one is looked at, so a `Reply` behind a `Table` leaves after the table has
//! changed. Nothing that one socket meets stops another.

mod command;
pub mod config;
#[cfg(feature = "dtls")]
mod dtls;
mod egress;
#[cfg(feature = "fault-injection")]
pub mod fault;
mod handle;
pub mod path;
mod runs;
mod start;
pub mod stats;
mod streams;
mod tcp;
mod worker;

pub use command::Parcel;
pub use command::Report;
pub use command::RequestUp;
pub use command::ToWorker;
pub use config::Config;
pub use handle::Gauges;
pub use handle::Handle;
pub use path::Buckets;
pub use path::Refusal;
pub use path::Tier;
pub use path::Verdict;
pub use path::Wish;
pub use path::explain;
#[cfg(feature = "kernel")]
pub use path::kernel;
pub use start::StartError;
pub use start::start;
pub use stats::Stats;
pub use streams::Arriving;
