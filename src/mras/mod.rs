//! The authentication service of the old office communicators (MRAS, [MS-AVEDGEA]): what its front ends ask, and what they
//! are told. Pure so far: bytes in, bytes out; no socket stands here yet.
//!
//! ```text
//!  SIP stream ──► sip::Parser ──► sip::answer ─┐
//!                                              ├──► request::read ──► response::answer ──► tokens of proto::auth::mras
//!  HTTPS body ─────────────────────────────────┘
//! ```
//!
//! A front end speaks for the users that signed in to it: it is believed whom a token is for.

pub mod request;
pub mod response;
pub mod sip;

/// What a request and an answer are in SIP and HTTP.
pub const CONTENT_TYPE: &str = "application/msrtc-media-relay-auth+xml";

/// The namespace of every element.
const NAMESPACE: &str = "http://schemas.microsoft.com/2006/09/sip/mrasp";
