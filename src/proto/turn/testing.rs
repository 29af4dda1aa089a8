//! What the tests of this room share.

#[cfg(test)]
use std::net::SocketAddr;

#[cfg(test)]
use crate::proto::types::ClientAddr;
#[cfg(test)]
use crate::proto::types::FiveTuple;
#[cfg(test)]
use crate::proto::types::ServerAddr;
#[cfg(test)]
use crate::proto::types::Transport;

/// The five-tuple of the client with this number.
#[cfg(test)]
pub(crate) fn five_tuple(client: u16) -> FiveTuple {
    FiveTuple {
        client: ClientAddr::new(SocketAddr::from(([198, 51, 100, 7], 10_000 + client))),
        server: ServerAddr::new(SocketAddr::from(([192, 0, 2, 1], 3_478))),
        transport: Transport::Udp,
    }
}
