//! The data plane on loopback: real workers, driven by plain sockets from outside and by their rings from inside.

#![cfg(feature = "server")]

mod bandwidth;
mod carriers;
mod commands;
mod discovery;
mod doors;
#[cfg(feature = "dtls")]
mod dtls;
mod external;
mod header;
mod hostile;
mod icmp;
mod legacy;
mod media;
mod message;
mod moves;
mod observe;
mod plane;
mod proxy;
mod relay_tcp;
mod runs;
mod strangers;
mod streams;
mod threads;
mod tiers;
mod tls;
mod web;
