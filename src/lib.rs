#![doc = include_str!("../docs/architecture.md")]

pub mod proto;

pub mod nat;

pub mod place;

#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
pub mod sim;

#[cfg(feature = "ice")]
pub mod ice;

#[cfg(feature = "server")]
pub mod ring;

#[cfg(feature = "server")]
pub mod net;

#[cfg(feature = "server")]
pub mod relay;

#[cfg(feature = "server")]
pub mod listen;

#[cfg(feature = "server")]
pub mod mras;

#[cfg(feature = "acme")]
pub mod acme;

#[cfg(feature = "server")]
pub mod control;

#[cfg(feature = "server")]
pub mod admin;

#[cfg(feature = "server")]
pub mod config;

#[cfg(feature = "server")]
pub mod load;

#[cfg(feature = "server")]
pub mod testbed;

#[cfg(feature = "server")]
pub mod cli;

#[cfg(feature = "client")]
pub mod client;

#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
pub mod internals;
