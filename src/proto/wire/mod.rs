//! Bytes ↔ values. No state, no heap, total on any input: a decoder answers every byte string with a value or
//! with [`Malformed`], and never panics.
//!
//! `rfc8656/` holds the codec of RFC 8489 and RFC 8656, `ms_turn/` that of [MS-TURN] in files of the same names, `rfc3489`
//! the one request of their ancestor; what both planes share of a message is dialect-neutral ([`Request`], [`Response`]).

pub mod channel_data;
pub mod classify;
pub mod connection;
pub mod discovery;
pub mod dtls;
mod error;
pub mod icmp;
pub mod indication;
mod legacy;
pub mod ms_turn;
pub mod proxy;
pub mod pseudo_tls;
mod request;
mod response;
pub mod rfc3489;
pub mod rfc8656;
pub mod sniff;
pub mod stream;
pub mod tls_hello;

/// The longest header that any dialect writes in front of what a peer sent: that of a Data indication.
pub const DATA_HEADER_MAX: usize = if indication::DATA_HEADER_MAX > ms_turn::encode::DATA_HEADER_MAX {
    indication::DATA_HEADER_MAX
} else {
    ms_turn::encode::DATA_HEADER_MAX
};

pub use discovery::Change;
pub use discovery::DiscoveryAttributes;
pub use error::Malformed;
pub use icmp::Icmp;
pub use legacy::LegacyAttributes;
pub use legacy::SequenceNumber;
pub use legacy::StreamKind;
pub use request::AuthAttributes;
pub use request::Method;
pub use request::PeerAddresses;
pub use request::Request;
pub use request::TransactionId;
pub use request::UnknownAttributes;
pub use response::ErrorCode;
pub use response::Outcome;
pub use response::Response;
pub use sniff::Verdict;
