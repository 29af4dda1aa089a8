//! What a client has to say.

use std::net::IpAddr;
use std::net::SocketAddr;

use crate::proto::types::ChannelNumber;
use crate::proto::types::ConnectionId;
use crate::proto::types::Family;
use crate::proto::types::Lifetime;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;

/// One thing to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this message to the server.
    Transmit(Box<[u8]>),
    /// Something happened.
    Event(Event),
}

/// Something that the client's owner may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is an allocation.
    Allocated(Allocated),
    /// There is none, and none is being asked for any more.
    NotAllocated(Failure),
    /// Data may go to any port of this address and come from there.
    Permitted {
        /// The peers' address.
        peer: IpAddr,
    },
    /// This address is not permitted, or not any more.
    NotPermitted {
        /// The peers' address.
        peer: IpAddr,
        /// Why.
        why: Failure,
    },
    /// A channel is bound: data to this peer goes by it from here on.
    Bound {
        /// The peer.
        peer: PeerAddr,
        /// The channel.
        channel: ChannelNumber,
    },
    /// There is no channel to this peer, or not any more.
    NotBound {
        /// The peer.
        peer: PeerAddr,
        /// Why.
        why: Failure,
    },
    /// A peer sent something.
    Data {
        /// Who.
        peer: PeerAddr,
        /// What.
        data: Box<[u8]>,
    },
    /// Data could not be sent: no allocation, no permission, or too long.
    NotSent {
        /// Whom it was for.
        peer: PeerAddr,
    },
    /// The server knows where the client is now (RFC 8016).
    Moved,
    /// The allocation is over.
    Ended(End),
    /// What came over the stream is no frame, so nothing behind it can be found: the connection is of no use any more,
    /// and the client goes on as if it had ended.
    Broken,
    /// There is a connection to this peer, as asked for (RFC 6062 § 4.3): [`super::Client::bind_connection`] within 30 s.
    Connected {
        /// The peer.
        peer: PeerAddr,
        /// CONNECTION-ID.
        connection: ConnectionId,
    },
    /// There is no connection to this peer. Among what the server answers are 446, there is one already, and 447, the
    /// peer refused or was silent.
    NotConnected {
        /// The peer.
        peer: PeerAddr,
        /// Why.
        why: Failure,
    },
    /// A permitted peer has connected to the relayed address (RFC 6062 § 4.4): [`super::Client::bind_connection`] within
    /// 30 s if it is welcome. The server never signs this; the bind shows whether it is true.
    Attempted {
        /// The peer.
        peer: PeerAddr,
        /// CONNECTION-ID.
        connection: ConnectionId,
    },
    /// This peer is the active destination of a [`super::LegacyClient`]: data to it goes bare from here on.
    Destination {
        /// The peer.
        peer: PeerAddr,
    },
}

/// What an Allocate was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocated {
    /// The relayed transport address.
    pub relayed: RelayAddr,
    /// The second one, of a dual allocation.
    pub additional: Option<RelayAddr>,
    /// Of a dual allocation the family that was not granted, and the error code that says why.
    pub refused: Option<(Family, u16)>,
    /// The client's address as the server sees it.
    pub mapped: SocketAddr,
    /// How long it lasts unless it is refreshed, which happens by itself.
    pub lifetime: Lifetime,
    /// The token of the port that was kept.
    pub reservation: Option<[u8; 8]>,
}

/// Why something that was asked for is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server refused, in an answer that could be trusted as far as such answers can.
    Refused {
        /// ERROR-CODE.
        code: u16,
        /// ALTERNATE-SERVER of a 300: whoever owns the client may try there.
        alternate: Option<SocketAddr>,
    },
    /// No answer came in time.
    Timeout,
    /// No answer came that was signed as it had to be, or that offered what its nonce promised.
    Integrity,
    /// The server knows no password algorithm that is known here.
    Algorithm,
    /// The answer lacked what it is for.
    Incomplete,
    /// There are as many as there can be, or no number is left.
    Full,
    /// Its time ran out before it could be renewed.
    Expired,
    /// The connection to the server ended.
    Disconnected,
    /// There is nothing of the sort in this dialect, with this kind of allocation, or without one.
    Unsupported,
}

/// How an allocation came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was given back.
    Released,
    /// It was to be given back, and the server did not say that it was.
    Unconfirmed,
    /// It could not be refreshed.
    Lost(Failure),
}
