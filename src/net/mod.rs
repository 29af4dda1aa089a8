//! Everything that touches a socket: listeners and relay sockets, batches of datagrams, readiness, and what the
//! machine says of its own addresses and ports. `unsafe` lives in `sys` and `bpf` alone.
//!
//! ```text
//!   udp ── sockets ──▶ packet::Batch ◀── sys::{receive, send} ◀── cmsg (control messages)
//!   poll ── which socket has something        probe ── the machine's addresses and port ranges
//! ```

#[allow(unsafe_code)]
mod bpf;
pub mod certificate;
pub mod challenge;
pub mod channel;
mod cmsg;
pub mod dial;
#[cfg(feature = "dtls")]
pub mod dtls;
#[cfg(feature = "dtls")]
pub mod dtls_client;
pub mod footprint;
pub mod mutual;
mod name;
mod network;
pub mod outward;
pub mod packet;
pub mod peer;
pub mod places;
pub mod poll;
pub mod privilege;
pub mod probe;
pub mod raw;
pub mod returned;
mod segment;
mod shared;
pub mod sk_lookup;
#[allow(unsafe_code)]
mod sys;
pub mod tcp;
pub mod tls;
pub mod traffic;
pub mod tun;
pub mod udp;

pub use certificate::Authority;
pub use certificate::Certificate;
pub use channel::Channel;
pub use channel::Received;
pub use channel::Shaken;
pub use mutual::MutualTls;
pub use network::Network;
pub use packet::Batch;
pub use packet::Departing;
pub use packet::Heading;
pub use packet::Sender;
pub use peer::PeerListener;
pub use places::Full;
pub use places::Place;
pub use places::Places;
pub use poll::Events;
pub use poll::Interest;
pub use poll::Poll;
pub use poll::Token;
pub use raw::DepartingPacket;
pub use raw::RawSender;
pub use raw::RawSocket;
pub use returned::Returned;
pub use shared::SharedSocket;
pub use sk_lookup::Receiving;
pub use sk_lookup::Steering;
pub use tcp::StreamListener;
pub use tls::Certificates;
pub use tls::TlsServer;
pub use traffic::TrafficSocket;
pub use tun::Tun;
pub use udp::BindCause;
pub use udp::BindError;
pub use udp::Listener;
pub use udp::RelaySocket;
