//! What the control task and a worker say to each other.

use crate::proto::media::Counters;
use crate::proto::media::TableChange;
use crate::proto::types::FiveTuple;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;

/// Down: carried out in the order given, so a table is in place before the client hears of it.
#[derive(Debug)]
pub enum ToWorker {
    /// Open a relay socket; answered by [`Report::Opened`] or [`Report::Failed`].
    Open {
        /// Its name.
        relay: RelayId,
        /// The address and port to bind.
        bind: RelayAddr,
    },
    /// Close a relay socket and forget its table entry; answered by [`Report::Closed`].
    Close {
        /// Its name.
        relay: RelayId,
    },
    /// Change the table.
    Table(TableChange),
    /// Send an answer to a client, from the listener and address it talks to.
    Reply {
        /// Where to, and where from.
        to: FiveTuple,
        /// The answer.
        bytes: Box<[u8]>,
    },
    /// Leave: the thread ends.
    Stop,
    /// Nonces minted from here on say whether USERHASH will do.
    Announce {
        /// Whether it will.
        username_anonymity: bool,
    },
}

/// Up: a request that the worker could not answer itself.
#[derive(Debug)]
pub struct RequestUp {
    /// Where from, and where to.
    pub from: FiveTuple,
    /// The datagram.
    pub bytes: Box<[u8]>,
}

/// Up: what became of a command. Each has a place in the ring from the moment the command was accepted.
#[derive(Debug)]
pub enum Report {
    /// The relay socket is open and bound to this address.
    Opened {
        /// Its name.
        relay: RelayId,
        /// Where it is bound.
        bound: RelayAddr,
    },
    /// The relay socket could not be opened.
    Failed {
        /// Its name.
        relay: RelayId,
        /// What the kernel said.
        error: std::io::Error,
    },
    /// The relay socket is closed.
    Closed {
        /// Its name.
        relay: RelayId,
        /// What it carried.
        counters: Counters,
    },
}
