//! How packets reach relay ports and leave from them.

#[cfg(feature = "kernel")]
pub mod kernel;
mod sockets;

pub(super) use sockets::Moving;
pub(super) use sockets::Sockets;
