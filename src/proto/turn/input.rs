//! What happens to the server.

use crate::proto::media::Counters;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerReport;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::WorkerId;

use super::Reconfiguration;

/// One thing that happened. The server answers it through [`super::Output`]s.
#[derive(Debug)]
pub enum Input<'a> {
    /// A request came.
    Message {
        /// The worker whose listener received it.
        worker: WorkerId,
        /// Where from and where to.
        from: FiveTuple,
        /// Its wire format.
        dialect: Dialect,
        /// The whole datagram.
        bytes: &'a [u8],
    },
    /// A relay socket is open.
    RelayOpened {
        /// Which.
        relay: RelayId,
        /// The address it is bound to.
        bound: RelayAddr,
    },
    /// A relay socket could not be opened.
    RelayFailed {
        /// Which.
        relay: RelayId,
        /// Why.
        why: OpenFailure,
    },
    /// A relay socket is closed; its port is free.
    RelayClosed {
        /// The worker that closed it.
        worker: WorkerId,
        /// Which.
        relay: RelayId,
        /// What it carried.
        counters: Counters,
    },
    /// The operator wants something.
    Command(Command),
    /// The operator changed what can be changed while the server runs.
    Reconfigure(Box<Reconfiguration>),
    /// A worker gave a relay socket away, or could not.
    RelayDetached {
        /// Which.
        relay: RelayId,
        /// If it did: what the socket carried so far, and whether a copy was kept. If not, everything is as it was.
        given: Option<(Counters, bool)>,
    },
    /// Data came for the first time from a five-tuple at which a client was awaited.
    ClientArrived {
        /// From where.
        from: FiveTuple,
    },
    /// The client's connection ended, or was not there any more when its allocation was to be used.
    ClientGone {
        /// The worker that had it.
        worker: WorkerId,
        /// Which.
        from: FiveTuple,
    },
    /// A worker panicked. Its sockets are as they were, its table is empty, and it hears nobody until it is told all of
    /// it again. Of the commands it was given before, none will be reported about any more.
    WorkerRestarted {
        /// Which.
        worker: WorkerId,
        /// How often it has panicked since its start.
        epoch: u32,
        /// What its relay sockets carried before, as far as that was not reported.
        carried: Box<[(RelayId, Counters)]>,
    },
    /// Something became of a peer's connection.
    Peer {
        /// The worker that has it.
        worker: WorkerId,
        /// What.
        report: PeerReport,
    },
}

/// Why a relay socket could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpenFailure {
    /// The port belongs to somebody else: EADDRINUSE. Another port is tried.
    PortTaken,
    /// The machine has no room for another socket: EMFILE, ENFILE, ENOBUFS, ENOMEM.
    NoRoom,
    /// The address is not this machine's: EADDRNOTAVAIL.
    AddressGone,
    /// Anything else.
    Other,
}

/// What an operator can ask of a running server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// End every allocation: the server is about to leave.
    EndAll,
    /// Make no new allocation: the server leaves when the live ones have ended.
    Drain,
}
