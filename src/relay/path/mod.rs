//! How packets reach relay ports and leave from them.

mod sockets;

pub(super) use sockets::Moving;
pub(super) use sockets::Sockets;
