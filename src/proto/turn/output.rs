//! What the server wants done.

use crate::proto::media::TableChange;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerAddr;
use crate::proto::types::PeerOrder;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::WorkerId;

use super::Event;

/// One thing to be done. Everything for one worker is done in the order given.
#[derive(Debug)]
pub enum Output {
    /// Send `bytes` to the client.
    Reply {
        /// The worker whose listener the client talks to.
        worker: WorkerId,
        /// Where to, and where from.
        to: FiveTuple,
        /// The answer.
        bytes: Box<[u8]>,
    },
    /// Open a relay socket, and report it open or failed.
    OpenRelay {
        /// The worker that shall own it.
        worker: WorkerId,
        /// Its name.
        relay: RelayId,
        /// The address and port to bind.
        bind: RelayAddr,
    },
    /// Close a relay socket, and report it closed.
    CloseRelay {
        /// The worker that owns it.
        worker: WorkerId,
        /// Its name.
        relay: RelayId,
    },
    /// Change the table of one worker.
    Table {
        /// Which.
        worker: WorkerId,
        /// How.
        change: TableChange,
    },
    /// Change the table of every worker.
    TableOfAll {
        /// How.
        change: TableChange,
    },
    /// Tell people.
    Event(Event),
    /// Nonces that workers mint from here on say whether USERHASH will do (RFC 8489 § 9.2).
    Announce {
        /// Whether it will.
        username_anonymity: bool,
    },
    /// Let a worker give a relay socket and its table entry away, and report it detached.
    DetachRelay {
        /// The worker that owns it.
        worker: WorkerId,
        /// Its name.
        relay: RelayId,
        /// Whether the client can still be heard there, so that the socket must go on sending from there.
        keep: bool,
    },
    /// Let a worker take over the relay socket that [`super::Input::RelayDetached`] just told of, and report it open or
    /// failed. Without this output the socket is closed.
    AttachRelay {
        /// The worker that shall own it.
        worker: WorkerId,
        /// Its name.
        relay: RelayId,
        /// Where the client will come from.
        next: FiveTuple,
    },
    /// The answer to [`super::Input::WorkerRestarted`]: what this worker is told from here on makes its table anew, and
    /// asks again for what it still owes.
    RebuildWorker {
        /// Which.
        worker: WorkerId,
        /// As it was told: after yet another panic all is void until the next one of these.
        epoch: u32,
        /// As in [`Self::Announce`].
        username_anonymity: bool,
    },
    /// The worker has been told everything: it can hear and send, and closes the relay sockets that nobody asked for.
    WorkerRebuilt {
        /// Which.
        worker: WorkerId,
    },
    /// Send what a Send request of [MS-TURN] carries from a relay socket, as far as the worker's table lets it.
    SendToPeer {
        /// The worker that owns it.
        worker: WorkerId,
        /// Its name.
        relay: RelayId,
        /// Where to.
        peer: PeerAddr,
        /// The data.
        data: Box<[u8]>,
    },
    /// Open a relayed port of TCP, and report it open or failed. [`Self::CloseRelay`] closes it with its connections.
    OpenPort {
        /// The worker that shall own it.
        worker: WorkerId,
        /// Its name.
        relay: RelayId,
        /// The address and port to bind.
        bind: RelayAddr,
    },
    /// Do something with a peer's connection.
    Peer {
        /// The worker that has it.
        worker: WorkerId,
        /// What.
        order: PeerOrder,
    },
}
