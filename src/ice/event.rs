//! What happens to an agent, and what it has to say.

use std::net::IpAddr;
use std::net::SocketAddr;

use crate::proto::client;
use crate::proto::types::Transport;

use super::Candidate;
use super::Description;
use super::Kind;

/// One thing that happens to an agent.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A UDP socket of the owner's is bound to this address, which is no wildcard. At most
    /// [`crate::proto::types::limits::ICE_ADDRESSES_MAX`] count.
    LocalAddress(SocketAddr),
    /// Ask the servers for candidates. Local addresses may still come.
    Gather,
    /// The other side's description.
    Remote(&'a Description),
    /// A further candidate of the other side (trickle, RFC 8838).
    RemoteCandidate(&'a Candidate),
    /// The other side has no further candidates.
    EndOfCandidates,
    /// A datagram came to the socket bound to `local`.
    Datagram {
        /// The address given by [`Self::LocalAddress`].
        local: SocketAddr,
        /// Its source.
        from: SocketAddr,
        /// The whole of it.
        bytes: &'a [u8],
    },
    /// What [`Output::Open`] asked for is open: connected, and its handshake done.
    Opened {
        /// The server's place in [`super::Config::servers`].
        server: usize,
    },
    /// The next bytes from there, however they were split; over DTLS one whole message.
    Bytes {
        /// The server's place in [`super::Config::servers`].
        server: usize,
        /// What came.
        bytes: &'a [u8],
    },
    /// What [`Output::Open`] asked for could not be opened, or has ended.
    Disconnected {
        /// The server's place in [`super::Config::servers`].
        server: usize,
    },
    /// Send data to the other side, by the nominated pair. Without one it is lost.
    Send(&'a [u8]),
    /// Give back what the servers gave, and end.
    Close,
}

/// One thing to be done.
#[derive(Debug)]
pub enum Output {
    /// Send this datagram from the socket bound to `local`.
    Transmit {
        /// The address given by [`Input::LocalAddress`].
        local: SocketAddr,
        /// Where to.
        to: SocketAddr,
        /// The whole of it.
        bytes: Box<[u8]>,
    },
    /// Open a way to this server over its transport; answered by [`Input::Opened`] or [`Input::Disconnected`].
    Open {
        /// The server's place in [`super::Config::servers`].
        server: usize,
    },
    /// Write this on it: one whole message.
    Write {
        /// The server's place in [`super::Config::servers`].
        server: usize,
        /// The message.
        bytes: Box<[u8]>,
    },
    /// Close it: nothing is said there any more.
    Shut {
        /// The server's place in [`super::Config::servers`].
        server: usize,
    },
    /// Something happened.
    Event(Event),
}

/// Something that the owner may want to know. Its time is that of the input it follows from.
#[derive(Debug)]
pub enum Event {
    /// A candidate to be told to the other side.
    LocalCandidate(Candidate),
    /// There will be no further one.
    GatheringDone,
    /// A server did not give what was asked of it.
    NotGathered {
        /// The server's place in [`super::Config::servers`].
        server: usize,
        /// The socket it was asked from; `None` where the owner opened the way.
        local: Option<SocketAddr>,
        /// What was asked for.
        wanted: Wanted,
        /// Why there is none: silence is [`client::Failure::Timeout`], an answer [`client::Failure::Refused`] with its code.
        why: client::Failure,
    },
    /// A server does not let data to and from this address pass; pairs with it fail there.
    NotPermitted {
        /// The server's place in [`super::Config::servers`].
        server: usize,
        /// The address of a remote candidate.
        peer: IpAddr,
        /// Why.
        why: client::Failure,
    },
    /// There is a pair that works. A better one may follow.
    Connected(Path),
    /// Data goes by another pair from here on.
    Switched(Path),
    /// An allocation ended that was not given back.
    RelayLost {
        /// The server's place in [`super::Config::servers`].
        server: usize,
        /// Why.
        why: client::Failure,
    },
    /// The other side sent this. [`super::Agent::read`] gives it in place instead.
    Data(Box<[u8]>),
    /// There is no connection, and none will come: nothing but [`Input::Close`] is of use any more.
    Failed(Failure),
    /// [`Input::Close`] is done.
    Closed {
        /// Whether every server confirmed that it has what it gave.
        confirmed: bool,
    },
}

/// What a server was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A server-reflexive candidate, by Binding.
    Reflexive,
    /// A relayed one, by Allocate.
    Relayed,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No candidate was found; [`Event::NotGathered`] said why of each server.
    NoCandidates,
    /// Both sides told all their candidates, and no pair of them works.
    NoPair,
    /// [`super::Config::connect_within`] is over.
    Timeout,
    /// There was a connection, and the other side answers on no pair any more (RFC 7675).
    ConsentLost,
    /// There was a connection, and the relay it went by is lost.
    RelayLost,
}

impl Failure {
    /// The word for logs and reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoCandidates => "no candidates",
            Self::NoPair => "no pair works",
            Self::Timeout => "timeout",
            Self::ConsentLost => "consent lost",
            Self::RelayLost => "relay lost",
        }
    }
}

/// The pair that data goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// What this side's candidate is, as the other side sees it.
    pub local: Kind,
    /// What the other side's is, as far as it is known by now.
    pub remote: Kind,
    /// The server whose relay this side uses and what carries messages there, if it uses one.
    pub relay: Option<(usize, Transport)>,
    /// Where data leaves from: a socket's address, or the relayed one.
    pub base: SocketAddr,
    /// Where it goes.
    pub peer: SocketAddr,
}

impl Path {
    /// Whether a relay is used, by either side.
    #[must_use]
    pub const fn is_relayed(&self) -> bool {
        matches!(self.local, Kind::Relayed) || matches!(self.remote, Kind::Relayed)
    }
}
