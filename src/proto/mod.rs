//! The pure wing: everything that is said. No sockets, no clocks, no dice, no unsafe.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod types;

pub mod wire;

pub mod peers;

pub mod binding;

pub mod auth;

pub mod media;

pub mod turn;

pub mod client;
