//! Where a client stands, as laboratories and loads have it: what is between it and the internet, and how a call between two
//! such places has to end, by RFC 4787 and RFC 8445 alone. Pure.
//!
//! ```text
//!   Place ── behaviours, firewall ──► crate::nat        derive(left, right) ──► Why ──► Verdict
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

#[expect(clippy::module_inception, reason = "the file holds the type that the room is named after")]
mod place;
mod verdict;
mod way;

use std::time::Duration;

pub use place::NoSuchPlace;
pub use place::Place;
pub use verdict::Relay;
pub use verdict::Verdict;
pub use verdict::Why;
pub use verdict::derive;
pub use verdict::derive_by;
pub use verdict::expected;
pub use way::Way;

/// A call that is relayed may yet become direct as long as checks are repeated, so it is judged so long after the last change
/// of path (RFC 8445 § 14.3: seven transmissions, and more of an agent that has patience).
pub const SETTLING: Duration = Duration::from_secs(25);
