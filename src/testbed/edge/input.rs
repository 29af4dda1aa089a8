//! What happens to an edge.

use std::net::SocketAddr;

use crate::proto::types::StreamId;
use crate::proto::types::Transport;
use crate::testbed::scenario::Do;

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A datagram came from a client.
    Datagram {
        /// The listen address that it was sent to.
        at: SocketAddr,
        /// Where from.
        from: SocketAddr,
        /// The whole of it.
        bytes: &'a [u8],
    },
    /// A connection of a client is there.
    Accepted {
        /// What it is called from here on; the caller's choice, and no name comes twice.
        stream: StreamId,
        /// The listen address.
        at: SocketAddr,
        /// Where from.
        from: SocketAddr,
        /// [`Transport::Tcp`], or [`Transport::Tls`] where the caller has taken TLS off.
        transport: Transport,
    },
    /// The next bytes of a connection, however they were split.
    Bytes {
        /// Which.
        stream: StreamId,
        /// In plain.
        bytes: &'a [u8],
    },
    /// A connection has ended.
    Closed {
        /// Which.
        stream: StreamId,
    },
    /// A datagram came to a relay socket.
    FromPeer {
        /// The relayed address, as it was bound.
        at: SocketAddr,
        /// Where from.
        from: SocketAddr,
        /// Application data.
        bytes: &'a [u8],
    },
    /// A relay socket that [`super::Output::Bind`] asked for is there.
    Bound {
        /// Which.
        at: SocketAddr,
    },
    /// A relay socket that [`super::Output::Bind`] asked for cannot be had; another port is tried.
    NotBound {
        /// Which.
        at: SocketAddr,
    },
    /// Somebody pressed a button.
    Button(Button<'a>),
}

/// A fault pressed by hand.
#[derive(Clone, Copy, Debug)]
pub struct Button<'a> {
    /// The TURN user name whose server misbehaves.
    pub client: &'a str,
    /// How: what concerns requests, answers or packets befalls the next one.
    pub what: &'a Do,
}
