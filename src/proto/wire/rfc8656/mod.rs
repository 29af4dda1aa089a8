//! The codec of RFC 8489 and RFC 8656: one pass over borrowed bytes, no heap.

pub mod attributes;
pub mod decode;
pub mod encode;
pub mod framing;
pub mod integrity;
