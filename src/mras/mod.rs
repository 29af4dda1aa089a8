//! The authentication service of the old office communicators (MRAS, [MS-AVEDGEA]): what its front ends ask, and what they
//! are told; and the doors at which they ask it, each off unless the operator opens it.
//!
//! ```text
//!  door ──► guest (who is it?) ──┬─ SIP stream ──► sip::Parser ──► sip::answer ─┐
//!                                │                                              ├──► request::read ──► response::answer
//!                                └─ HTTPS body ─────────────────────────────────┘        tokens of proto::auth::mras ◄┘
//! ```
//!
//! `request`, `response`, `sip` and `outcome` are functions of bytes; the rest holds sockets, on a thread of its own. A
//! front end speaks for the users that signed in to it: it is believed whom a token is for. So nobody is one who does not
//! show a certificate of the operator's authority, for a name that the operator wrote down.

pub mod config;
mod door;
mod front_end;
mod guest;
mod https;
pub mod outcome;
pub mod request;
pub mod response;
pub mod sip;
mod sip_door;
mod start;
pub mod stats;

pub use config::Config;
pub use config::Deadlines;
pub use config::Door;
pub use config::Live;
pub use outcome::Outcome;
pub use start::Desk;
pub use start::Mras;
pub use start::start;
pub use stats::End;
pub use stats::Stats;

/// What a request and an answer are in SIP and HTTP.
pub const CONTENT_TYPE: &str = "application/msrtc-media-relay-auth+xml";

/// The namespace of every element.
const NAMESPACE: &str = "http://schemas.microsoft.com/2006/09/sip/mrasp";

/// Whether a Content-Type, parameters and all, is ours.
fn is_our_type(value: &str) -> bool {
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(CONTENT_TYPE)
}
