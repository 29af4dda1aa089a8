//! The codec of [MS-TURN], the dialect of the office communicators of 2007: older than RFC 5389, so without a cookie in
//! the header, without classes in the type, and without padding. The same five files as `rfc8656/`, and `answer.rs` for
//! what a client reads.

pub mod answer;
pub mod attributes;
pub mod decode;
pub mod encode;
pub mod framing;
pub mod integrity;
