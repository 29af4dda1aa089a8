//! What a worker owns, apart from the loop that works with it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use rustix::io::Errno;

use crate::net::Batch;
use crate::net::Heading;
use crate::net::Listener;
use crate::net::Poll;
use crate::net::Token;
#[cfg(feature = "dtls")]
use crate::net::dtls::DtlsServer;
use crate::net::packet::Arrived;
use crate::net::packet::RUNS_MAX;
use crate::proto::auth::budget::Exempt;
use crate::proto::auth::budget::StrangerBudget;
use crate::proto::auth::challenge::Challenger;
use crate::proto::media::Counters;
use crate::proto::media::DropReason;
use crate::proto::media::Table;
use crate::proto::media::TableChange;
use crate::proto::media::TableConfig;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::PeerReport;
use crate::proto::types::RelayId;
use crate::proto::types::ServerAddr;
use crate::proto::types::StreamId;
use crate::proto::types::Tick;
#[cfg(feature = "dtls")]
use crate::proto::types::Transport;
use crate::proto::types::limits;
use crate::relay::Arriving;
use crate::relay::Report;
use crate::relay::RequestUp;
use crate::relay::Stats;
use crate::relay::ToWorker;
#[cfg(feature = "dtls")]
use crate::relay::dtls::Associations;
use crate::relay::path::Path;
use crate::relay::path::Share;
use crate::relay::runs::Runs;
use crate::relay::streams::Streams;
use crate::relay::streams::Weight;
use crate::relay::streams::idle_until;
use crate::relay::tcp::PeerConnections;
use crate::relay::tcp::Talks;
use crate::ring::Receiver;
use crate::ring::Sender;
use crate::ring::Wake;

use super::BATCH;

/// How soon a worker looks again at connections whose requests, or whose end, found no room with the control task.
const STREAMS_RETRY: Duration = Duration::from_millis(2);
/// How long it waits at most while it has connections, so that idle ones are found.
const SWEEP: Duration = Duration::from_millis(super::streams::SWEEP_MS);

/// What a worker owns: its sockets, its table and its ends of the rings. It outlives the loop that borrows it.
pub(in crate::relay) struct Slot {
    pub(super) poll: Poll,
    pub(super) wake: Arc<Wake>,
    pub(super) doors: Vec<Door>,
    pub(super) path: Path,
    pub(super) table: Table,
    pub(super) challenger: Challenger,
    pub(super) strangers: StrangerBudget,
    pub(super) start: Instant,
    pub(super) commands: Receiver<ToWorker>,
    pub(super) live: Sender<RequestUp>,
    pub(super) fresh: Sender<RequestUp>,
    pub(super) reports: Sender<Report>,
    pub(super) stats: Arc<Stats>,
    pub(super) arriving: Receiver<Box<Arriving>>,
    pub(super) streams: Streams,
    #[cfg(feature = "dtls")]
    pub(super) dtls: Associations,
    #[cfg(feature = "dtls")]
    pub(super) dtls_looked_ms: u64,
    /// What table and budget are made of, the first time and after each panic.
    pub(super) seed: Seed,
    pub(super) standing: Standing,
    /// How often the worker has panicked.
    pub(super) epoch: u32,
    /// Panics since the table was last whole.
    pub(super) panics_in_a_row: usize,
    /// What was counted before a panic and has not been reported.
    pub(super) carried: Vec<(RelayId, Counters)>,
    /// An active destination of [MS-TURN] that counts from the next command on, which is the answer that tells of it: so
    /// no bare packet reaches the client before it knows.
    pub(super) held: Option<TableChange>,
    pub(super) talks: Talks,
    pub(super) peers: PeerConnections,
    /// What the control task must hear of peers' connections.
    pub(super) peer_reports: VecDeque<PeerReport>,
    /// Datagrams leave one by one.
    pub(super) leave_singly: bool,
}

/// What the parts that do not outlive a panic are made of.
pub(super) struct Seed {
    table: TableConfig,
    unproven_exempt: Exempt,
}

impl Seed {
    /// Seeds of hashes are each epoch's own, so that no transaction id comes twice.
    pub(super) fn seeds(&self, epoch: u32) -> [u64; 4] {
        self.table.hash_seeds.map(|seed| seed.wrapping_add(epoch.into()))
    }

    pub(super) fn table(&self, epoch: u32) -> Table {
        Table::new(TableConfig { hash_seeds: self.seeds(epoch), ..self.table.clone() })
    }

    pub(super) fn strangers(&self, epoch: u32) -> StrangerBudget {
        StrangerBudget::new(self.seeds(epoch), self.unproven_exempt.clone())
    }
}

/// How far a worker is after a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It works.
    Whole,
    /// It panicked, and has not been able to say so.
    Untold,
    /// It said so. Commands are void until the control task has heard of it.
    Void,
    /// Its table is being made anew.
    Rebuilding,
}

/// What a slot is made of.
pub(in crate::relay) struct SlotParts {
    pub(in crate::relay) listeners: Vec<Listener>,
    pub(in crate::relay) table: TableConfig,
    pub(in crate::relay) challenger: Challenger,
    pub(in crate::relay) unproven_exempt: Exempt,
    pub(in crate::relay) start: Instant,
    pub(in crate::relay) commands: Receiver<ToWorker>,
    pub(in crate::relay) live: Sender<RequestUp>,
    pub(in crate::relay) fresh: Sender<RequestUp>,
    pub(in crate::relay) reports: Sender<Report>,
    pub(in crate::relay) stats: Arc<Stats>,
    pub(in crate::relay) arriving: Receiver<Box<Arriving>>,
    #[cfg(feature = "dtls")]
    pub(in crate::relay) dtls: Option<DtlsServer>,
    /// Its share of the tier that its relay ports stand on.
    pub(in crate::relay) share: Share,
}

/// A listener, how many datagrams it has lost so far, whether it brings runs, and how many it is asked for: what is made ready
/// for more than come is work in vain.
pub(super) struct Door {
    pub(super) listener: Listener,
    lost: u32,
    pub(super) runs: Runs,
    ask: usize,
}

/// The fewest datagrams that a listener is asked for.
const ASK_LEAST: usize = 8;

impl Door {
    /// That of what leaves here for the client of `to`.
    pub(super) fn heading_to(&self, to: &FiveTuple, header: IpHeader) -> Heading {
        Heading { to: to.client.socket(), source: self.listener.source_for(to.server), header }
    }

    /// Fills `batch`, and answers with it how many datagrams were lost since this was last asked.
    pub(super) fn receive(&mut self, batch: &mut Batch) -> Result<(Arrived, u32), Errno> {
        batch.clear();
        let arrived = if self.runs.is_on() {
            batch.receive_runs(&self.listener, RUNS_MAX)?
        } else {
            let arrived = batch.receive(&self.listener, self.ask)?;
            self.ask =
                if arrived.is_full { BATCH } else { (2 * arrived.places.len()).clamp(ASK_LEAST, BATCH) };
            arrived
        };
        self.runs.judge(&self.listener, &arrived);
        let lost = arrived.lost.unwrap_or(self.lost);
        let more = lost.wrapping_sub(self.lost);
        self.lost = lost;
        Ok((arrived, more))
    }
}

impl Slot {
    /// Watches the listeners and the command ring.
    pub(in crate::relay) fn new(parts: SlotParts) -> io::Result<Self> {
        let poll = Poll::new()?;
        let wake = Arc::clone(parts.commands.wake());
        poll.add(&*wake, Token::Wake)?;
        for (index, listener) in (0_u16..).zip(&parts.listeners) {
            poll.add(listener, Token::Listener(index))?;
        }
        let path = Path::new(&poll, parts.share)?;
        let hash_seeds = parts.table.hash_seeds;
        let seed = Seed { table: parts.table, unproven_exempt: parts.unproven_exempt };
        Ok(Self {
            poll,
            wake,
            doors: parts
                .listeners
                .into_iter()
                .map(|listener| Door { listener, lost: 0, runs: Runs::default(), ask: BATCH })
                .collect(),
            path,
            streams: Streams::new(hash_seeds),
            #[cfg(feature = "dtls")]
            dtls: Associations::new(parts.dtls, hash_seeds),
            #[cfg(feature = "dtls")]
            dtls_looked_ms: 0,
            table: seed.table(0),
            challenger: parts.challenger,
            strangers: seed.strangers(0),
            start: parts.start,
            commands: parts.commands,
            live: parts.live,
            fresh: parts.fresh,
            reports: parts.reports,
            stats: parts.stats,
            arriving: parts.arriving,
            seed,
            standing: Standing::Whole,
            epoch: 0,
            panics_in_a_row: 0,
            carried: Vec::new(),
            held: None,
            talks: Talks::new(hash_seeds),
            peers: PeerConnections::new(hash_seeds),
            peer_reports: VecDeque::new(),
            leave_singly: false,
        })
    }

    /// Whether listeners and relay sockets bring their datagrams one by one, always: what stands in front of them in the
    /// kernel sees runs as something that it does not know.
    pub(in crate::relay) fn set_single(&mut self, single: bool) {
        for door in &mut self.doors {
            door.runs.forbid(&door.listener, single);
        }
        self.path.set_single(single);
    }

    /// Whether datagrams leave one by one, always; of the loop that is made next.
    pub(in crate::relay) fn set_leave_singly(&mut self, singly: bool) {
        self.leave_singly = singly;
    }

    pub(super) fn tick(&self) -> Tick {
        Tick::from(self.start.elapsed())
    }

    /// Has what stands of these come at one time, as [`Table::fetch`].
    pub(super) fn fetch<'r>(&self, relays: impl IntoIterator<Item = &'r RelayId>) {
        relays.into_iter().for_each(|relay| {
            self.table.fetch_relay(*relay);
            self.path.fetch(*relay);
        });
    }

    /// What is about the program in the kernel, where there is one.
    pub(super) fn look_around(&mut self) {
        if self.path.looks_around() {
            let tick = self.tick();
            self.path.look_around(&self.table, tick, &self.stats);
        }
    }

    /// Changes the table, and with it what the kernel relays by itself.
    pub(super) fn apply(&mut self, change: TableChange) {
        let relay = change.relay();
        let concerns = relay.is_some() || matches!(change, TableChange::Policy(_));
        self.table.apply(change);
        if concerns {
            self.path.table_changed(&self.table, relay);
        }
    }

    /// The door that `server` names, and its place.
    pub(super) fn door_of(&self, server: ServerAddr) -> Option<(u16, &Door)> {
        (0_u16..).zip(&self.doors).find(|(_, door)| door.listener.serves(server))
    }

    /// How long to wait at most, for the sake of connections.
    pub(super) fn streams_pause(&self) -> Option<Duration> {
        let (streams, peers) = (&self.streams, &self.peers);
        if !self.arriving.is_empty()
            || !streams.again.is_empty()
            || peers.has_again()
            || self.talks.has_again()
        {
            return Some(Duration::ZERO);
        }
        if !streams.parked.is_empty() || !streams.gone.is_empty() || !self.peer_reports.is_empty() {
            return Some(STREAMS_RETRY);
        }
        if peers.has_held_back() || self.talks.has_held_back() {
            return Some(limits::PIPE_PAUSE);
        }
        #[cfg(feature = "dtls")]
        if self.dtls.len() > 0 {
            return Some(super::dtls::LOOK);
        }
        if streams.len() > 0 || peers.len() > 0 {
            return Some(SWEEP);
        }
        self.path.looks_around().then_some(limits::KERNEL_LOOK)
    }

    /// Sends a peer's data, `data_len` bytes of it, or word of an error to a client; whole, or not at all.
    pub(super) fn send_on_stream(&mut self, to: FiveTuple, frame: &[u8], data_len: usize) {
        let Some(id) = self.streams.find(&to) else {
            return self.stats.count_drop(DropReason::SendFailed);
        };
        if !self.streams.push(id, frame, Weight::Media) {
            self.stats.count_drop(DropReason::StreamFull);
        } else if data_len > 0 {
            self.stats.to_clients.add(1, data_len as u64);
        }
    }

    /// An allocation is made for `from`. If that is a connection that ended meanwhile, the control task hears of it again.
    pub(super) fn expect_stream(&mut self, from: FiveTuple) {
        #[cfg(feature = "dtls")]
        if from.transport == Transport::Dtls && !self.dtls.has(&from) {
            self.streams.gone.push_back(from);
        }
        if from.transport.is_stream() && self.streams.find(&from).is_none() {
            self.streams.gone.push_back(from);
        }
    }

    /// The connection `id` asked for something: it may stay a while. With `told` the control task knows of it.
    pub(super) fn note_request(&mut self, tick: Tick, id: StreamId, told: bool) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.until_ms = idle_until(tick);
            stream.asked |= told;
        }
    }

    /// Wakes the control task if it sleeps and there is something new for it. To be called before this thread sleeps, and
    /// wherever the control task should not wait for that.
    pub(super) fn wake_control(&mut self) {
        self.reports.wake();
        self.live.wake();
        self.fresh.wake();
    }

    pub(super) fn reports_have_room(&self) -> bool {
        // Nobody reads them any more: then they need no room.
        self.reports.free_slots() > 0 || self.reports.is_abandoned()
    }
}
