//! The data plane on loopback: real workers, driven by plain sockets from outside and by their rings from inside.

#![cfg(feature = "server")]

mod bandwidth;
mod commands;
mod external;
mod hostile;
mod media;
mod message;
mod plane;
mod strangers;
mod threads;
