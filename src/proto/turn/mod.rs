//! The server's state machine, sans I/O: one [`Input`], then [`Server::poll_output`] until it is dry.

mod allocation;
mod bandwidth;
mod channel;
mod config;
mod connections;
mod dialling;
mod drain;
mod event;
mod gone;
mod input;
mod legacy;
mod legs;
mod lifecycle;
mod method;
mod mobility;
#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
pub mod model;
mod output;
mod permission;
mod ports;
mod quota;
mod rebuild;
mod reconfigure;
mod replay;
mod reply;
mod retransmit;
mod sequence;
mod server;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod timers;

pub use bandwidth::Lender;
pub use config::Config;
pub use config::LegacyConfig;
pub use config::RelayAddress;
pub use event::EndReason;
pub use event::Event;
pub use event::PeerMoment;
pub use input::Command;
pub use input::Input;
pub use input::OpenFailure;
pub use output::Output;
pub use ports::PortCensus;
pub use reconfigure::Reconfiguration;
pub use server::Occupancy;
pub use server::Server;
pub use server::Wake;
