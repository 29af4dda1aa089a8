//! A TURN client, sans I/O (RFC 8489, RFC 8656, RFC 8016): one [`Input`], then [`Client::poll_output`] until it is dry.
//!
//! It speaks in whole messages; whoever owns it carries them, as datagrams or one behind the other in a stream, and hands
//! back datagrams, or the bytes of the stream however they come. It keeps what it was granted alive by itself: the
//! allocation, permissions and channels. What it keeps back is trust: an answer that is not signed with the key of the
//! request goes nowhere, however right it looks.

mod answer;
mod challenge;
#[expect(clippy::module_inception, reason = "the file holds the type that the room is named after")]
mod client;
mod config;
mod connection_bind;
mod counsel;
mod discovery;
mod event;
mod http_connect;
mod http_proxy;
mod legacy;
mod message;
mod peers;
mod stream;
#[cfg(test)]
mod tests;
mod transaction;

pub use client::Client;
pub use client::Input;
pub use config::Config;
pub use config::Credential;
pub use config::Families;
pub use config::PortWish;
pub use config::Proof;
pub use connection_bind::BindProgress;
pub use connection_bind::ConnectionBind;
pub use counsel::Counsel;
pub use counsel::Next;
pub use discovery::Discovery;
pub use discovery::Finding;
pub use discovery::Found;
pub use discovery::Local;
pub use discovery::Reach;
pub use discovery::Seen;
pub use discovery::Send;
pub use event::Allocated;
pub use event::End;
pub use event::Event;
pub use event::Failure;
pub use event::Output;
pub use http_connect::ConnectProgress;
pub use http_connect::HttpConnect;
pub use http_connect::ProxyLogin;
pub use http_proxy::HttpProxy;
pub use http_proxy::ProxyFailure;
pub use http_proxy::ProxyUrlError;
pub use legacy::LegacyClient;
pub use transaction::Timing;
