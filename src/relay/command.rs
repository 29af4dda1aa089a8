//! What the control task and a worker say to each other.

use crate::proto::media::Carried;
use crate::proto::media::Counters;
use crate::proto::media::TableChange;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerAddr;
use crate::proto::types::PeerOrder;
use crate::proto::types::PeerReport;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;

use super::path::Moving;

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
    /// Give a relay socket and its table entry away; answered by [`Report::Detached`].
    Detach {
        /// Its name.
        relay: RelayId,
        /// Whether the client's packets can still come here: then the socket goes on sending them, by a copy of the
        /// entry, until [`Self::Close`]. Where the kernel has no descriptor for that, nothing is kept.
        keep: bool,
    },
    /// Send what a Send request of [MS-TURN] carries, as far as the table lets it.
    Send {
        /// The relay socket.
        relay: RelayId,
        /// Where to.
        peer: PeerAddr,
        /// The data.
        data: Box<[u8]>,
    },
    /// Take over what another worker gave away, and await its client at another five-tuple; answered by
    /// [`Report::Opened`] or [`Report::Failed`].
    Attach {
        /// What it gave.
        parcel: Box<Parcel>,
        /// Where the client will come from.
        next: FiveTuple,
    },
    /// The answer to [`Report::Restarted`]: what follows makes the table anew, until [`Self::Rebuilt`]. What came before
    /// is void, but for what [`Self::Attach`] brings and for [`Self::Stop`].
    Rebuild {
        /// The epoch that was reported; for a worker that has panicked once more since, all stays void.
        epoch: u32,
        /// As in [`Self::Announce`].
        username_anonymity: bool,
    },
    /// The table is as it should be, and packets may be read again. Relay sockets that nobody spoke of are closed.
    Rebuilt,
    /// Open a relayed port of TCP; answered by [`Report::Opened`] or [`Report::Failed`], and closed by [`Self::Close`] with
    /// its connections.
    OpenPort {
        /// Its name.
        relay: RelayId,
        /// The address and port to bind.
        bind: RelayAddr,
    },
    /// Do something with a peer's connection. What becomes of it is a [`Report::Peer`].
    Peer(PeerOrder),
}

/// Up: a request that the worker could not answer itself, or, without a byte, the word that data came from `from`,
/// where the client was awaited ([`TableChange::Await`]).
#[derive(Debug)]
pub struct RequestUp {
    /// Where from, and where to.
    pub from: FiveTuple,
    /// The datagram.
    pub bytes: Box<[u8]>,
}

impl RequestUp {
    /// The client has come to where it was awaited.
    pub(super) fn arrival(from: FiveTuple) -> Self {
        Self { from, bytes: Box::default() }
    }

    /// Whether this is no request, but the word that the client has come.
    #[must_use]
    pub fn is_arrival(&self) -> bool {
        self.bytes.is_empty()
    }
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
    /// The relay socket was given away.
    Detached {
        /// Its name.
        relay: RelayId,
        /// What another worker can take over. With an error everything is as it was.
        parcel: std::io::Result<Box<Parcel>>,
    },
    /// A client's connection ended, or an allocation was made for one that had ended. No command asks for it: it has room
    /// of its own in the ring, [`crate::proto::types::limits::STREAM_REPORTS_MAX`], and waits for that.
    StreamGone {
        /// Whose.
        from: FiveTuple,
    },
    /// The worker panicked. It has its sockets and an empty table, hears nobody, and waits for [`ToWorker::Rebuild`].
    /// No report follows about a command that was given before.
    Restarted {
        /// How often it has panicked since its start.
        epoch: u32,
        /// What its relay sockets had carried, as far as that was not reported.
        carried: Box<[(RelayId, Counters)]>,
    },
    /// What became of a peer's connection. It has room as [`Self::StreamGone`] has.
    Peer(PeerReport),
}

/// A relay socket and its table entry on the way from one worker to another. Packets wait in the socket meanwhile.
#[derive(Debug)]
pub struct Parcel {
    pub(super) relay: RelayId,
    pub(super) moving: Moving,
    pub(super) carried: Carried,
    pub(super) kept: bool,
    /// What a program in the kernel carried for it.
    pub(super) by_kernel: Counters,
}

impl Parcel {
    /// What the relay socket carried so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut counters = self.carried.counters();
        counters.add(self.by_kernel);
        counters
    }

    /// Whether the worker that gave it kept a copy, which it must be told to close.
    #[must_use]
    pub const fn kept(&self) -> bool {
        self.kept
    }
}
