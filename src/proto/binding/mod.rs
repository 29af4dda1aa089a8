//! The Binding method: a client's question for its own address. It needs no credentials and leaves no state, so
//! whoever received the request answers it, out of bytes and configuration alone.
//!
//! ```text
//!  RFC 8489  Binding                    ──answer──▶  XOR-MAPPED-ADDRESS
//!  RFC 5780  CHANGE-REQUEST, …          ──answer──▶  the same, RESPONSE-ORIGIN, OTHER-ADDRESS; from where it was asked
//!  RFC 3489  Binding without a cookie   ─classic──▶  MAPPED-ADDRESS, as that standard writes it
//! ```
//!
//! Behaviour discovery must never be an amplifier or a reflector. An answer is at most
//! [`crate::proto::types::limits::DISCOVERY_SURPLUS_MAX`] bytes longer than its request, PADDING or not; it goes to
//! the IP address that the request came from, and nowhere else.

mod answer;
mod classic;
mod discovery;

pub use answer::answer;
pub use classic::answer_classic;
pub use discovery::Discovery;
pub use discovery::Endpoint;
pub use discovery::Quartet;

use crate::proto::types::FiveTuple;
use crate::proto::wire::ErrorCode;

/// An answer to a Binding request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Bytes written.
    pub len: usize,
    /// The error code of the answer, `None` for a success.
    pub code: Option<ErrorCode>,
    /// Where it goes, and the server's address that it leaves from: the request's own unless the client asked for
    /// another one.
    pub to: FiveTuple,
}
