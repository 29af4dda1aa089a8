//! A TURN client for programs that run on tokio: a relayed address at a server, over UDP, TCP or TLS, used like a UDP
//! socket (RFC 8656). `proto::client` is the protocol; here are the sockets, the clock and the randomness.
//!
//! ```no_run
//! use swingbridge::client::Config;
//! use swingbridge::client::Credential;
//! use swingbridge::client::Proof;
//! use swingbridge::client::RelayedSocket;
//! use swingbridge::client::Via;
//! use swingbridge::proto::types::Secret;
//!
//! # async fn relay() -> Result<(), swingbridge::client::Error> {
//! let credential = Credential {
//!     username: (*b"alice").into(),
//!     proof: Proof::Password(Secret::new(*b"correct horse")),
//!     token: None,
//! };
//! let server = "192.0.2.1:3478".parse().expect("an address");
//! let socket = RelayedSocket::allocate(server, Via::Tcp, Config::new(credential)).await?;
//! println!("peers reach this program at {}", socket.relayed_address());
//!
//! let peer = "198.51.100.7:5000".parse().expect("an address");
//! socket.send_to(b"hello", peer).await?;
//! let mut buffer = [0; 1_500];
//! let (len, from) = socket.recv_from(&mut buffer).await?;
//! println!("{from} says {:?}", &buffer[..len]);
//! socket.close().await
//! # }
//! ```
//!
//! TCP and TLS go through an HTTP proxy too: [`RelayedSocket::allocate_through`].
//!
//! With the feature `webrtc-util` a [`RelayedSocket`] is a `webrtc_util::Conn`, so that a program made with webrtc-rs can
//! send its media through it.

mod driver;
mod error;
mod machine;
mod proxy;
mod socket;
#[cfg(feature = "webrtc-util")]
mod webrtc;
mod wire;

pub use crate::proto::client::Allocated;
pub use crate::proto::client::Config;
pub use crate::proto::client::Credential;
pub use crate::proto::client::End;
pub use crate::proto::client::Failure;
pub use crate::proto::client::Families;
pub use crate::proto::client::HttpProxy;
pub use crate::proto::client::PortWish;
pub use crate::proto::client::Proof;
pub use crate::proto::client::ProxyFailure;
pub use crate::proto::client::ProxyUrlError;
pub use error::Error;
pub use socket::RelayedSocket;
pub use tokio_rustls::rustls;
pub use wire::Via;
