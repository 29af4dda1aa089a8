//! Agents against the real server's pure halves, in virtual time.

mod connect;
mod fail;
mod nat;
mod relay;
mod world;
