//! The server with workers that do what they are told, each with a table of its own: driven as the control task drives
//! it, in virtual time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::proto::auth::challenge::Challenger;
use crate::proto::auth::challenge::Greeting;
use crate::proto::media::Carried;
use crate::proto::media::Counters;
use crate::proto::media::DropReason;
use crate::proto::media::FromClient;
use crate::proto::media::FromPeer;
use crate::proto::media::Table;
use crate::proto::media::TableChange;
use crate::proto::media::forward;
use crate::proto::turn::Event;
use crate::proto::turn::Input;
use crate::proto::turn::OpenFailure;
use crate::proto::turn::Output;
use crate::proto::turn::Server;
use crate::proto::types::Dialect;
use crate::proto::types::Dice;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;
use crate::proto::wire::indication;

use super::ops::Failure;
use super::setup::START_MS;
use super::setup::Setup;
use super::setup::UNIX;
use super::setup::five_tuple;

/// Server, workers, clocks.
pub(super) struct World {
    pub(super) server: Server<Dice>,
    pub(super) workers: Vec<Worker>,
    pub(super) now_ms: u64,
    /// How far the wall clock is off, in seconds.
    pub(super) skew_s: i64,
    /// What a worker gave away, while the server is asked who shall have it.
    held: Option<Parcel>,
    /// Inputs so far.
    pub(super) inputs: u64,
}

/// A worker: its table, its sockets, and what it has to report.
pub(super) struct Worker {
    pub(super) table: Table,
    challenger: Challenger,
    pub(super) sockets: Vec<Socket>,
    pub(super) reports: VecDeque<Report>,
    pub(super) holds: bool,
    failing: VecDeque<Failure>,
}

/// A relay socket at a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) relay: RelayId,
    pub(super) bound: RelayAddr,
    /// Another worker reads it.
    pub(super) lent: bool,
}

/// What a worker reports.
pub(super) enum Report {
    Opened { relay: RelayId, bound: RelayAddr },
    Failed { relay: RelayId, why: OpenFailure },
    Closed { relay: RelayId, counters: Counters },
    Detached { relay: RelayId, parcel: Option<Parcel> },
}

/// A socket and its table entry on their way.
pub(super) struct Parcel {
    bound: RelayAddr,
    carried: Carried,
    kept: bool,
}

/// The same without what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Opened(RelayId),
    Failed(RelayId, OpenFailure),
    Closed(RelayId),
    /// And whether a copy was kept, if it was given at all.
    Detached(RelayId, Option<bool>),
}

/// What the server said to one input, but for tables, which are changed already.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) replies: Vec<(WorkerId, FiveTuple, Box<[u8]>)>,
    pub(super) opens: Vec<(WorkerId, RelayId, RelayAddr)>,
    pub(super) closes: Vec<(WorkerId, RelayId)>,
    pub(super) detaches: Vec<(WorkerId, RelayId, bool)>,
    pub(super) attaches: Vec<(WorkerId, RelayId, FiveTuple)>,
    pub(super) revoked: Vec<TableChange>,
    pub(super) events: Vec<Event>,
}

/// What became of a datagram of a client.
pub(super) enum Heard {
    ToPeer {
        relay: RelayId,
        peer: PeerAddr,
        data: Vec<u8>,
        header: IpHeader,
    },
    /// The server was asked.
    Asked(Said),
    /// The worker answered.
    Greeted(Vec<u8>),
    Dropped(DropReason),
}

impl World {
    pub(super) fn new(setup: &Setup, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let config = setup.config(&mut dice);
        let worker = || Worker {
            table: Table::new(setup.table()),
            challenger: config.challenger.clone(),
            sockets: Vec::new(),
            reports: VecDeque::new(),
            holds: false,
            failing: VecDeque::new(),
        };
        Self {
            workers: (0..setup.workers).map(|_| worker()).collect(),
            server: Server::new(config.clone(), dice),
            now_ms: START_MS,
            skew_s: 0,
            held: None,
            inputs: 0,
        }
    }

    pub(super) fn now(&self) -> Now {
        let unix = UNIX.saturating_add(self.now_ms / 1_000).saturating_add_signed(self.skew_s);
        Now { since_start: Duration::from_millis(self.now_ms), unix }
    }

    /// The worker that hears a client.
    pub(super) fn worker_of(&self, client: usize) -> usize {
        client % self.workers.len()
    }

    /// One input, and what came of it.
    pub(super) fn input(&mut self, input: Input<'_>) -> Result<Said, String> {
        self.inputs += 1;
        self.server.handle_input(self.now(), input);
        self.carry_out()
    }

    /// Lets the server do what is due; `None` if nothing is.
    pub(super) fn timeout(&mut self) -> Result<Option<Said>, String> {
        let now = self.now();
        if !self.server.poll_timeout().is_some_and(|(at, _)| at.is_due(now.tick())) {
            return Ok(None);
        }
        self.inputs += 1;
        self.server.handle_timeout(now);
        self.carry_out().map(Some)
    }

    /// The next report of a worker that holds none back.
    pub(super) fn next_report(&mut self) -> Result<Option<(Told, Said)>, String> {
        match (0..self.workers.len())
            .find(|at| !self.workers[*at].holds && !self.workers[*at].reports.is_empty())
        {
            Some(worker) => self.report_of(worker),
            None => Ok(None),
        }
    }

    /// The oldest report of `worker`.
    pub(super) fn report_of(&mut self, worker: usize) -> Result<Option<(Told, Said)>, String> {
        let Some(report) = self.workers[worker].reports.pop_front() else { return Ok(None) };
        let (told, input) = match report {
            Report::Opened { relay, bound } => (Told::Opened(relay), Input::RelayOpened { relay, bound }),
            Report::Failed { relay, why } => (Told::Failed(relay, why), Input::RelayFailed { relay, why }),
            Report::Closed { relay, counters } => {
                (Told::Closed(relay), Input::RelayClosed { worker: id(worker), relay, counters })
            }
            Report::Detached { relay, parcel } => {
                let kept = parcel.as_ref().map(|parcel| parcel.kept);
                let given = parcel.as_ref().map(|parcel| (parcel.carried.counters(), parcel.kept));
                self.held = parcel;
                (Told::Detached(relay, kept), Input::RelayDetached { relay, given })
            }
        };
        let said = self.input(input)?;
        // Whom nobody takes over is closed.
        self.held = None;
        Ok(Some((told, said)))
    }

    /// A datagram of a client.
    pub(super) fn client_sends(
        &mut self,
        client: usize,
        bytes: &[u8],
        arrived: IpHeader,
    ) -> Result<Heard, String> {
        let (from, tick) = (five_tuple(client), self.now().tick());
        let worker = self.worker_of(client);
        let it = &self.workers[worker];
        match forward::from_client(&it.table, tick, &from, arrived, bytes) {
            FromClient::ToPeer { relay, peer, data, header } => {
                Ok(Heard::ToPeer { relay, peer, data: data.to_vec(), header })
            }
            FromClient::LiveRequest => self.ask(worker, from, bytes),
            FromClient::StrangerRequest => {
                let mut out = [0; limits::RESPONSE_MAX];
                match it.challenger.greet(tick, &from, bytes, &mut out) {
                    Greeting::Answer { len, .. } => Ok(Heard::Greeted(out[..len].to_vec())),
                    Greeting::ToControl => self.ask(worker, from, bytes),
                    Greeting::Malformed => Ok(Heard::Dropped(DropReason::StrangerMalformed)),
                }
            }
            FromClient::Drop(reason) => Ok(Heard::Dropped(reason)),
        }
    }

    fn ask(&mut self, worker: usize, from: FiveTuple, bytes: &[u8]) -> Result<Heard, String> {
        let worker = id(worker);
        self.input(Input::Message { worker, from, dialect: Dialect::Rfc8656, bytes }).map(Heard::Asked)
    }

    /// A datagram of a peer to a relayed address, read by `worker`: what its client is sent.
    pub(super) fn peer_sends(
        &self,
        worker: usize,
        relay: RelayId,
        peer: PeerAddr,
        data: &[u8],
    ) -> Result<(FiveTuple, Vec<u8>), DropReason> {
        let place = indication::DATA_HEADER_MAX..indication::DATA_HEADER_MAX + data.len();
        let mut buffer = vec![0xEE; place.end + indication::DATA_PADDING_MAX];
        buffer[place.clone()].copy_from_slice(data);
        let table = &self.workers[worker].table;
        let arrived = IpHeader::default();
        match forward::from_peer(table, self.now().tick(), relay, peer, arrived, &mut buffer, place) {
            FromPeer::ToClient { to, frame, .. } => Ok((to, buffer[frame].to_vec())),
            FromPeer::Drop(reason) => Err(reason),
        }
    }

    /// The next socket that a worker is told of fails so.
    pub(super) fn fail(&mut self, worker: usize, times: usize, how: Failure) {
        let worker = worker % self.workers.len();
        self.workers[worker].failing.extend(std::iter::repeat_n(how, times));
    }

    /// Nothing fails any more, and nothing is held back.
    pub(super) fn heal(&mut self) {
        for worker in &mut self.workers {
            worker.failing.clear();
            worker.holds = false;
        }
    }

    fn carry_out(&mut self) -> Result<Said, String> {
        let mut said = Said::default();
        let mut outputs = 0;
        while let Some(output) = self.server.poll_output() {
            outputs += 1;
            self.obey(output, &mut said)?;
        }
        if outputs > limits::OUTPUTS_PER_INPUT_MAX {
            return Err(format!("one input made {outputs} outputs"));
        }
        Ok(said)
    }

    fn obey(&mut self, output: Output, said: &mut Said) -> Result<(), String> {
        match output {
            Output::Reply { worker, to, bytes } => said.replies.push((worker, to, bytes)),
            Output::OpenRelay { worker, relay, bind } => {
                said.opens.push((worker, relay, bind));
                let taken = self.is_bound(bind);
                self.at(worker)?.open(relay, bind, taken);
            }
            Output::CloseRelay { worker, relay } => {
                said.closes.push((worker, relay));
                self.at(worker)?.close(relay);
            }
            Output::Table { worker, change } => {
                if matches!(change, TableChange::Forbid { .. } | TableChange::Unbind { .. }) {
                    said.revoked.push(change.clone());
                }
                self.at(worker)?.table.apply(change);
            }
            Output::TableOfAll { change } => {
                self.workers.iter_mut().for_each(|worker| worker.table.apply(change.clone()));
            }
            Output::Event(event) => said.events.push(event),
            Output::Announce { username_anonymity } => {
                for Worker { challenger, .. } in &mut self.workers {
                    let key = challenger.nonce_key.clone();
                    challenger.nonce_key = key.with_username_anonymity(username_anonymity);
                }
            }
            Output::DetachRelay { worker, relay, keep } => {
                said.detaches.push((worker, relay, keep));
                self.at(worker)?.detach(relay, keep);
            }
            Output::AttachRelay { worker, relay, next } => {
                said.attaches.push((worker, relay, next));
                let Some(parcel) = self.held.take() else {
                    return Err(format!("{relay:?} is to be attached, and nobody gave it away"));
                };
                self.at(worker)?.attach(relay, parcel, next);
            }
            Output::SendToPeer { worker, .. } => {
                return Err(format!(
                    "{worker:?} is to send for a client of the old dialect, and there is none"
                ));
            }
            Output::OpenPort { worker, .. } | Output::Peer { worker, .. } => {
                return Err(format!("{worker:?} is to relay connections, and no client comes over one"));
            }
            Output::RebuildWorker { worker, .. } | Output::WorkerRebuilt { worker } => {
                return Err(format!("{worker:?} is told its table again, and no worker panics here"));
            }
        }
        Ok(())
    }

    fn at(&mut self, worker: WorkerId) -> Result<&mut Worker, String> {
        self.workers.get_mut(usize::from(worker.0)).ok_or_else(|| format!("there is no {worker:?}"))
    }

    /// Whether a socket has this address: at a worker, or on its way to another.
    fn is_bound(&self, bind: RelayAddr) -> bool {
        let on_its_way = |report: &Report| match report {
            Report::Detached { parcel: Some(parcel), .. } => parcel.bound == bind,
            _ => false,
        };
        self.workers.iter().any(|worker| {
            worker.sockets.iter().any(|socket| socket.bound == bind) || worker.reports.iter().any(on_its_way)
        })
    }
}

impl Worker {
    fn open(&mut self, relay: RelayId, bind: RelayAddr, taken: bool) {
        let fails = self.failing.pop_front().or(taken.then_some(Failure::Taken));
        self.reports.push_back(match fails {
            Some(how) => Report::Failed { relay, why: how.into() },
            None => {
                self.sockets.push(Socket { relay, bound: bind, lent: false });
                Report::Opened { relay, bound: bind }
            }
        });
    }

    fn close(&mut self, relay: RelayId) {
        self.sockets.retain(|socket| socket.relay != relay);
        let counters = self.table.forget(relay);
        self.reports.push_back(Report::Closed { relay, counters });
    }

    /// A failure of the kind "no room" keeps no copy; any other gives nothing away.
    fn detach(&mut self, relay: RelayId, keep: bool) {
        let fails = self.failing.pop_front();
        let there = self.sockets.iter().position(|socket| socket.relay == relay && !socket.lent);
        let (Some(at), Some(_), true) =
            (there, self.table.five_tuple(relay), fails.is_none_or(|how| how == Failure::NoRoom))
        else {
            return self.reports.push_back(Report::Detached { relay, parcel: None });
        };
        let (kept, bound) = (keep && fails.is_none(), self.sockets[at].bound);
        if kept {
            self.sockets[at].lent = true;
        } else {
            self.sockets.remove(at);
        }
        let carried = self.table.export(relay, kept);
        let parcel = carried.map(|carried| Parcel { bound, carried, kept });
        self.reports.push_back(Report::Detached { relay, parcel });
    }

    fn attach(&mut self, relay: RelayId, parcel: Parcel, next: FiveTuple) {
        if let Some(how) = self.failing.pop_front() {
            return self.reports.push_back(Report::Failed { relay, why: how.into() });
        }
        self.sockets.retain(|socket| socket.relay != relay);
        self.sockets.push(Socket { relay, bound: parcel.bound, lent: false });
        self.table.import(parcel.carried, next);
        self.reports.push_back(Report::Opened { relay, bound: parcel.bound });
    }
}

impl From<Failure> for OpenFailure {
    fn from(how: Failure) -> Self {
        match how {
            Failure::Taken => Self::PortTaken,
            Failure::NoRoom => Self::NoRoom,
            Failure::AddressGone => Self::AddressGone,
            Failure::Other => Self::Other,
        }
    }
}

pub(super) fn id(worker: usize) -> WorkerId {
    WorkerId(u16::try_from(worker).expect("a few workers"))
}
