//! One thing that goes wrong: when, and how.

use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::wire::ErrorCode;
use crate::proto::wire::Method;

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When.
    pub when: When,
    /// How.
    pub what: Do,
}

/// When something goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// What sets it off.
    pub trigger: Trigger,
    /// At which occasion it first does so, counted from 1 for each client.
    pub nth: u32,
    /// On how many occasions, from that one on.
    pub times: Times,
}

/// What sets a fault off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A request of this method came that proved whose it is; without a method any does. Each counts, repeated ones too.
    Request(Option<Method>),
    /// An answer to such a request is about to leave. Each counts, those to repeated requests too.
    Answer(Option<Method>),
    /// Application data came.
    Media(Way),
    /// Time has passed since something happened.
    After {
        /// How much.
        span: Duration,
        /// Since what.
        since: Moment,
    },
}

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to a peer.
    ToPeer,
    /// From a peer to the client.
    ToClient,
    /// Either.
    Both,
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// So often.
    Some(u32),
    /// On every occasion.
    All,
}

/// What time is counted from: the first of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// The client's first packet.
    Start,
    /// The first allocation was granted.
    Allocated,
    /// The first Refresh was granted that was no release.
    Refreshed,
    /// The first permission was granted, by CreatePermission or ChannelBind.
    Permitted,
    /// The first application data came, from whichever side.
    Media,
}

/// How something goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Do {
    /// The message or packet is gone.
    Drop,
    /// It comes so much later.
    Delay(Duration),
    /// Bits of it are wrong.
    Corrupt,
    /// The request gets this error, signed as the client expects it, and is not carried out.
    Error(ErrorCode),
    /// The request gets a 438 with another nonce, and is not carried out.
    StaleNonce,
    /// The request gets a 300 with this address, and is not carried out.
    Redirect(Target),
    /// From here on the server is one of this realm: what it knew it knows no more, and the request gets a 401.
    Realm(Box<str>),
    /// The answer's integrity is of another key.
    WrongMac,
    /// The answer grants this lifetime, and the server ends the allocation when it is over.
    Lifetime(Duration),
    /// The allocation goes on from another relayed port, of which nobody is told.
    MovePort,
    /// The allocation and its relayed address are gone, of which nobody is told.
    Vanish,
    /// The server begins anew: without allocations, with another key for its nonces.
    Restart,
    /// The client's packets come from another address, as after a new mapping of its NAT.
    Rebind,
    /// IP packets longer than this, in bytes, are gone from here on, both ways.
    Mtu(u16),
}

impl Do {
    /// What it is called in files and on buttons.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Delay(_) => "delay",
            Self::Corrupt => "corrupt",
            Self::Error(_) => "error",
            Self::StaleNonce => "stale-nonce",
            Self::Redirect(_) => "redirect",
            Self::Realm(_) => "realm",
            Self::WrongMac => "wrong-mac",
            Self::Lifetime(_) => "lifetime",
            Self::MovePort => "move-port",
            Self::Vanish => "vanish",
            Self::Restart => "restart",
            Self::Rebind => "rebind",
            Self::Mtu(_) => "mtu",
        }
    }
}

/// Where a client is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The address that the request was sent to.
    Same,
    /// The last listen address of the edge for the same transport, where requests are carried out.
    Other,
    /// The listen address behind the one that the request was sent to, and behind the last the first: a loop.
    Next,
    /// This one.
    Address(SocketAddr),
}

/// What a client has to do, counted from when a fault of the scenario first befell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// In words.
    pub client: Box<str>,
    /// Where it says so: a section of a standard, or "our choice".
    pub rule: Box<str>,
    /// When the verdict falls.
    pub within: Duration,
    /// By then a request of this method is granted.
    pub granted: Option<Method>,
    /// By then it has sent at most so many further requests, repeated ones left out: of the method that was befallen, or of
    /// any if none was.
    pub at_most: Option<u32>,
    /// How it stands then.
    pub ends: Option<Ends>,
}

/// How a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// With an allocation.
    Live,
    /// Without.
    Gone,
}
