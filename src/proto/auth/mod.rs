//! The long-term credential mechanism (RFC 8489 § 9.2): who may allocate, and what a stranger is told.

pub mod budget;
pub mod challenge;
pub mod credential;
pub mod integrity_key;
pub mod legacy;
pub mod mras;
pub mod nonce;
mod repeats;
pub mod ticket;
pub mod token;

#[cfg(test)]
mod testing;
