//! What a client is made with.

use std::time::Duration;

use crate::proto::types::Lifetime;
use crate::proto::types::RelayProtocol;
use crate::proto::types::Secret;
use crate::proto::types::Transport;
use crate::proto::types::limits;
use crate::proto::wire::rfc8656::integrity::MacKey;

use super::Timing;

/// What a client is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who it is.
    pub credential: Credential,
    /// Which relayed addresses it asks for.
    pub families: Families,
    /// Which relay port it asks for.
    pub port: PortWish,
    /// The lifetime it asks for; `None` leaves it to the server.
    pub lifetime: Option<Lifetime>,
    /// Whether it asks to be allowed to move (RFC 8016).
    pub mobility: bool,
    /// Whether its data shall not be fragmented behind the relay: DONT-FRAGMENT in Allocate and every Send indication.
    /// What goes by a channel cannot say so.
    pub dont_fragment: bool,
    /// How long a permission lasts there; RFC 8656 § 9 fixes it.
    pub permission_lifetime: Duration,
    /// How long a channel lasts there; RFC 8656 § 12 fixes it.
    pub channel_lifetime: Duration,
    /// When requests are repeated and given up.
    pub timing: Timing,
    /// What carries its messages to the server. [`Self::over`] sets it together with the timing that it asks for.
    pub transport: Transport,
    /// What shall run over the relayed address. With [`RelayProtocol::Tcp`] (RFC 6062) the transport must be a stream, and
    /// [`Self::port`], [`Self::mobility`] and [`Self::dont_fragment`] are left out: they are for datagrams alone.
    pub relays: RelayProtocol,
}

impl Config {
    /// One IPv4 address and the standard's values, for `credential`, over UDP.
    #[must_use]
    pub const fn new(credential: Credential) -> Self {
        Self {
            credential,
            families: Families::V4,
            port: PortWish::Any,
            lifetime: None,
            mobility: false,
            dont_fragment: false,
            permission_lifetime: limits::PERMISSION_LIFETIME_DEFAULT,
            channel_lifetime: limits::CHANNEL_LIFETIME_DEFAULT,
            timing: Timing::DATAGRAMS,
            transport: Transport::Udp,
            relays: RelayProtocol::Udp,
        }
    }

    /// The same over `transport`, with its timing (RFC 8489 §§ 6.2.1 and 6.2.2).
    #[must_use]
    pub fn over(self, transport: Transport) -> Self {
        let timing = if transport.is_stream() { Timing::STREAMS } else { Timing::DATAGRAMS };
        Self { transport, timing, ..self }
    }
}

/// A user of the long-term credential mechanism (RFC 8489 § 9.2) or of an access token (RFC 7635).
#[derive(Clone, Debug)]
pub struct Credential {
    /// USERNAME: at most [`limits::USERNAME_MAX`] bytes, as OpaqueString (RFC 8265) leaves them. With a token the key id.
    pub username: Box<[u8]>,
    /// What proves it.
    pub proof: Proof,
    /// ACCESS-TOKEN, at most [`limits::ACCESS_TOKEN_MAX`] bytes, whose key is the proof.
    pub token: Option<Box<[u8]>>,
}

/// What a client knows that nobody else does.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The password; the key is made of it when the server has named realm and algorithm.
    Password(Secret),
    /// The key itself, whatever realm and algorithm the server names.
    Key(Box<MacKey>),
}

/// Which relayed addresses to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// IPv4, which is what a request means that says nothing.
    V4,
    /// IPv6, by REQUESTED-ADDRESS-FAMILY.
    V6,
    /// One of each, by ADDITIONAL-ADDRESS-FAMILY.
    Both,
}

/// Which relay port to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortWish {
    /// Any.
    Any,
    /// An even one: EVEN-PORT.
    Even,
    /// An even one, with the next one kept: EVEN-PORT with its R bit.
    Pair,
    /// One that was kept: RESERVATION-TOKEN. It brings its own family.
    Reserved([u8; 8]),
}
