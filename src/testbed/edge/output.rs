//! What an edge wants done.

use std::net::SocketAddr;

use crate::proto::types::StreamId;

use super::Note;

/// One thing to be done, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a datagram to a client.
    Datagram {
        /// The listen address that it leaves from.
        at: SocketAddr,
        /// Where to.
        to: SocketAddr,
        /// The whole of it.
        bytes: Box<[u8]>,
    },
    /// Write to a connection. Where the client does not read, whole writes may be left out.
    Write {
        /// Which.
        stream: StreamId,
        /// In plain: one whole message, padded.
        bytes: Box<[u8]>,
    },
    /// Close a connection; [`super::Input::Closed`] need not be said of it.
    Shut {
        /// Which.
        stream: StreamId,
    },
    /// Send a datagram from a relay socket. It may be for another relay socket of this edge.
    ToPeer {
        /// The relayed address, as it was bound.
        at: SocketAddr,
        /// Where to.
        to: SocketAddr,
        /// Application data.
        bytes: Box<[u8]>,
    },
    /// Bind a relay socket, and say [`super::Input::Bound`] or [`super::Input::NotBound`].
    Bind {
        /// Which.
        at: SocketAddr,
    },
    /// Close a relay socket. It is free at once.
    Unbind {
        /// Which.
        at: SocketAddr,
    },
    /// For the flight record: what the saboteur did, and what happened to a client.
    Note(Note),
}
