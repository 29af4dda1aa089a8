//! What an agent is made with.

use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::client::Credential;
use crate::proto::client::Families;
use crate::proto::types::Transport;
use crate::proto::types::limits;

/// What an agent is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its role at the beginning; a conflict is settled by itself (RFC 8445 § 7.3.1.1).
    pub role: Role,
    /// Which candidates it uses.
    pub policy: Policy,
    /// Whom it asks for candidates: the first [`limits::ICE_SERVERS_MAX`], each with an address of its own per transport.
    pub servers: Vec<TurnServer>,
    /// How long it waits for all of them together.
    pub gather_within: Duration,
    /// How long it may take to connect, from when it gathers and knows the other side's description.
    pub connect_within: Duration,
    /// It goes on sending whether the other side consents or not: a wrong client for tests (RFC 7675).
    #[cfg(test)]
    pub(crate) ignores_consent: bool,
}

impl Config {
    /// All candidates, no server, and the default times.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self {
            role,
            policy: Policy::All,
            servers: Vec::new(),
            gather_within: limits::ICE_GATHER_DEFAULT,
            connect_within: limits::ICE_CONNECT_DEFAULT,
            #[cfg(test)]
            ignores_consent: false,
        }
    }
}

/// Who nominates (RFC 8445 § 6.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This side.
    Controlling,
    /// The other side.
    Controlled,
}

/// Which candidates an agent has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Whatever it finds.
    All,
    /// Relayed ones alone, which tell nobody its addresses.
    RelayOnly,
}

/// A server to gather candidates from.
#[derive(Clone, Debug)]
pub struct TurnServer {
    /// Where it is.
    pub address: SocketAddr,
    /// What carries messages there. All but UDP is opened by the owner, on [`super::Output::Open`].
    pub transport: Transport,
    /// Who allocates there. Without one it is asked by Binding alone, and over UDP only.
    pub credential: Option<Credential>,
    /// Which relayed addresses are asked for.
    pub families: Families,
}

impl TurnServer {
    /// A TURN server that is asked for an IPv4 address.
    #[must_use]
    pub const fn new(address: SocketAddr, transport: Transport, credential: Credential) -> Self {
        Self { address, transport, credential: Some(credential), families: Families::V4 }
    }

    /// A STUN server, over UDP.
    #[must_use]
    pub const fn stun(address: SocketAddr) -> Self {
        Self { address, transport: Transport::Udp, credential: None, families: Families::V4 }
    }
}
