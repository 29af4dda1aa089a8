//! A worker's pure half, driven as the worker thread drives it: table, verdicts, answers to strangers, and its ends of
//! the rings.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::proto::auth::budget::StrangerBudget;
use crate::proto::auth::challenge::Challenger;
use crate::proto::auth::challenge::Greeting;
use crate::proto::media::Carried;
use crate::proto::media::Counters;
use crate::proto::media::DropReason;
use crate::proto::media::FromClient;
use crate::proto::media::FromPeer;
use crate::proto::media::Table;
use crate::proto::media::TableChange;
use crate::proto::media::TableConfig;
use crate::proto::media::Weight;
use crate::proto::media::forward;
use crate::proto::media::returned;
use crate::proto::turn::OpenFailure;
use crate::proto::types::ClientAddr;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::PeerAddr;
use crate::proto::types::PeerOrder;
use crate::proto::types::PeerReport;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::ServerAddr;
use crate::proto::types::Transport;
use crate::proto::types::limits;
use crate::proto::wire::DATA_HEADER_MAX;
use crate::proto::wire::Icmp;
use crate::proto::wire::icmp;
use crate::proto::wire::indication::DATA_PADDING_MAX;

use super::clock::Micros;
use super::packet::HOPS;
use super::packet::Packet;
use super::ports::Ports;
use super::restart::Fate;
use super::restart::Standing;
use super::shared::Bound;
use super::shared::Shared;
use super::sockets::Place;
use super::sockets::Sockets;
use super::streams::Streams;

/// Down.
#[derive(Debug)]
pub(super) enum Command {
    Open { relay: RelayId, bind: RelayAddr },
    Close { relay: RelayId },
    Table(TableChange),
    Reply { to: FiveTuple, bytes: Box<[u8]> },
    Announce { username_anonymity: bool },
    Detach { relay: RelayId, keep: bool },
    Attach { parcel: Parcel, next: FiveTuple },
    Rebuild { epoch: u32, username_anonymity: bool },
    Rebuilt,
    SendToPeer { relay: RelayId, peer: PeerAddr, data: Box<[u8]> },
    OpenPort { relay: RelayId, bind: RelayAddr },
    Peer(PeerOrder),
}

/// Up: what became of a command.
#[derive(Debug)]
pub(super) enum Report {
    Opened { relay: RelayId, bound: RelayAddr },
    Failed { relay: RelayId, why: OpenFailure },
    Closed { relay: RelayId, counters: Counters },
    Detached { relay: RelayId, parcel: Option<Parcel> },
    Restarted { epoch: u32, carried: Box<[(RelayId, Counters)]> },
    StreamGone { from: FiveTuple },
    Peer(PeerReport),
}

/// Up: a request, or, without a byte, the word that a client has arrived.
#[derive(Debug)]
pub(super) struct RequestUp {
    pub(super) from: FiveTuple,
    pub(super) bytes: Vec<u8>,
}

/// A relay socket and its table entry on the way to another worker.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) relay: RelayId,
    pub(super) bound: SocketAddr,
    pub(super) carried: Carried,
    pub(super) kept: bool,
}

/// What a worker owns.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) number: u16,
    pub(super) table: Table,
    pub(super) challenger: Challenger,
    pub(super) strangers: StrangerBudget,
    listeners: Vec<SocketAddr>,
    pub(super) sockets: Sockets,
    pub(super) commands: VecDeque<Command>,
    /// Commands carried out so far.
    pub(super) obeyed: u64,
    pub(super) live: VecDeque<RequestUp>,
    pub(super) fresh: VecDeque<RequestUp>,
    pub(super) request_ring: usize,
    pub(super) reports: VecDeque<Report>,
    /// It does nothing before this.
    pub(super) stalled_until: Micros,
    /// What tables are made of.
    pub(super) seed: TableConfig,
    pub(super) standing: Standing,
    /// How often it has panicked.
    pub(super) epoch: u32,
    /// Panics since the table was last whole.
    pub(super) panics_in_a_row: usize,
    /// What was counted before a panic and has not been reported.
    pub(super) carried: Vec<(RelayId, Counters)>,
    /// It falls before it says what it did.
    mute: bool,
    pub(super) streams: Streams,
    pub(super) ports: Ports,
}

impl Worker {
    pub(super) fn new(
        number: u16,
        seed: TableConfig,
        challenger: Challenger,
        strangers: StrangerBudget,
        listeners: Vec<SocketAddr>,
        request_ring: usize,
    ) -> Self {
        Self {
            number,
            table: Table::new(seed.clone()),
            challenger,
            strangers,
            listeners,
            sockets: Sockets::default(),
            commands: VecDeque::new(),
            obeyed: 0,
            live: VecDeque::new(),
            fresh: VecDeque::new(),
            request_ring,
            reports: VecDeque::new(),
            stalled_until: 0,
            seed,
            standing: Standing::Whole,
            epoch: 0,
            panics_in_a_row: 0,
            carried: Vec::new(),
            mute: false,
            streams: Streams::default(),
            ports: Ports::default(),
        }
    }

    /// A datagram came to a listener.
    pub(super) fn hear_client(&mut self, sh: &mut Shared, packet: &Packet) {
        let fate = self.fate(sh);
        if fate != Fate::FallsBefore {
            self.judge_client(sh, packet);
        }
        // Within: whoever has arrived is not told of.
        if fate == Fate::Lives || fate == Fate::FallsAfter {
            self.tell_arrivals(sh);
        }
        if fate != Fate::Lives {
            self.fall(sh, "worker panicked over a packet");
        }
    }

    fn judge_client(&mut self, sh: &mut Shared, packet: &Packet) {
        let from = FiveTuple {
            client: ClientAddr::new(packet.from),
            server: ServerAddr::new(packet.to),
            transport: Transport::Udp,
        };
        let tick = sh.clock.tick();
        match forward::from_client(&self.table, tick, &from, packet.header, &packet.payload) {
            FromClient::ToPeer { relay, peer, data, header } => {
                let is_bare = data.len() == packet.payload.len();
                let is_channel = !is_bare && packet.payload[0] & 0x40 != 0;
                sh.coverage.fact(match (is_bare, is_channel) {
                    (true, _) => "bare data",
                    (_, true) => "channel data",
                    (_, false) => "data indication",
                });
                self.send_to_peer(sh, relay, from, peer, data, header, packet.tainted);
            }
            FromClient::LiveRequest => {
                hand_up(sh, &mut self.live, self.request_ring, from, &packet.payload);
            }
            FromClient::StrangerRequest => self.greet(sh, from, packet),
            FromClient::Drop(reason) => {
                if !packet.tainted {
                    let worker = (self.number, self.obeyed);
                    let verdict = sh.oracle.may_drop_of_client(tick, worker, &from, &packet.payload, reason);
                    sh.judged(verdict);
                }
                sh.dropped(reason);
            }
        }
    }

    pub(super) fn tell_arrivals(&mut self, sh: &mut Shared) {
        while self.live.len() < self.request_ring
            && let Some(from) = self.table.take_arrival()
        {
            self.live.push_back(RequestUp { from, bytes: Vec::new() });
            sh.wake_control = true;
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a verdict taken apart")]
    pub(super) fn send_to_peer(
        &self,
        sh: &mut Shared,
        relay: RelayId,
        from: FiveTuple,
        peer: PeerAddr,
        data: &[u8],
        header: IpHeader,
        tainted: bool,
    ) {
        let verdict =
            sh.oracle.may_reach_peer(sh.clock.tick(), (self.number, self.obeyed), relay, from, peer);
        sh.judged(verdict);
        sh.oracle.count_to_peer(relay, data.len());
        let Some(bound) = self.sockets.find(relay) else { return sh.dropped(DropReason::StaleRelay) };
        let overhead = if peer.ip().is_ipv4() { 28 } else { 48 };
        if header.dont_fragment && data.len() + overhead > sh.mtu {
            return sh.dropped(DropReason::LinkMtu);
        }
        self.depart(sh, bound, peer.socket(), data.to_vec(), header, tainted);
    }

    /// A stranger's request: answered here as far as that needs no state.
    fn greet(&mut self, sh: &mut Shared, from: FiveTuple, packet: &Packet) {
        let mut out = [0; limits::RESPONSE_MAX];
        let tick = sh.clock.tick();
        let received = packet.payload.len();
        match self.challenger.greet(tick, &from, &packet.payload, &mut out) {
            Greeting::Answer { len, .. }
                if !self.strangers.spend(tick, from.client, &packet.payload, len) =>
            {
                sh.dropped(DropReason::StrangerBudget);
            }
            Greeting::Answer { len, code, to } => {
                if let Some(code) = code {
                    sh.coverage.answered(code);
                }
                sh.tally("answers to strangers");
                self.tell(sh, to, &out[..len], Weight::Answer, packet.tainted);
            }
            Greeting::ToControl => {
                self.strangers.earn(from.client, received);
                hand_up(sh, &mut self.fresh, self.request_ring, from, &packet.payload);
            }
            Greeting::Malformed => sh.dropped(DropReason::StrangerMalformed),
        }
    }

    /// A datagram came to the relay socket of `relay`.
    pub(super) fn hear_peer(&mut self, sh: &mut Shared, relay: RelayId, packet: &Packet) {
        let fate = self.fate(sh);
        if fate != Fate::FallsBefore {
            self.judge_peer(sh, relay, packet);
        }
        if fate != Fate::Lives {
            self.fall(sh, "worker panicked over a packet");
        }
    }

    fn judge_peer(&mut self, sh: &mut Shared, relay: RelayId, packet: &Packet) {
        let peer = PeerAddr::new(packet.from);
        let payload = DATA_HEADER_MAX..DATA_HEADER_MAX + packet.payload.len();
        let mut buffer = vec![0xEE; payload.end + DATA_PADDING_MAX];
        buffer[payload.clone()].copy_from_slice(&packet.payload);
        let tick = sh.clock.tick();
        match forward::from_peer(&self.table, tick, relay, peer, packet.header, &mut buffer, payload) {
            FromPeer::ToClient { to, frame, header } => {
                let verdict = sh.oracle.may_reach_client(tick, (self.number, self.obeyed), relay, to, peer);
                sh.judged(verdict);
                sh.oracle.count_to_client(relay, packet.payload.len());
                if to.transport.is_stream() {
                    self.send_on_stream(sh, to, &buffer[frame], Weight::Media, packet.tainted);
                    return self.flush_streams(sh);
                }
                let from = to.server.socket();
                self.depart(sh, from, to.client.socket(), buffer[frame].to_vec(), header, packet.tainted);
            }
            FromPeer::Drop(reason) => {
                let worker = (self.number, self.obeyed);
                let verdict = sh.oracle.may_drop_of_peer(tick, worker, relay, peer, reason);
                sh.judged(verdict);
                sh.dropped(reason);
            }
        }
    }

    /// The network says that something which left by `relay` for `peer` did not arrive.
    pub(super) fn hear_icmp(&mut self, sh: &mut Shared, relay: RelayId, peer: SocketAddr) {
        let mut out = [0; icmp::INDICATION_MAX];
        let peer = PeerAddr::new(peer);
        let (kind, code) = if peer.ip().is_ipv4() { (3, 3) } else { (1, 4) };
        let told = Icmp { kind, code, data: 0 };
        let tick = sh.clock.tick();
        if let Some((to, len)) = returned::icmp_to_client(&self.table, tick, relay, peer, told, &mut out) {
            let verdict = sh.oracle.may_reach_client(tick, (self.number, self.obeyed), relay, to, peer);
            sh.judged(verdict);
            sh.coverage.fact("icmp told");
            self.tell(sh, to, &out[..len], Weight::Media, false);
            self.flush_streams(sh);
        }
    }

    /// Carries out at most `budget` commands.
    pub(super) fn obey(&mut self, sh: &mut Shared, budget: usize) {
        self.tell_of_panic(sh);
        for _ in 0..budget {
            // What is void is reported about by nobody.
            if !self.is_void() && self.reports.len() >= limits::REPORTS_MAX {
                return;
            }
            let Some(command) = self.commands.pop_front() else { return };
            self.obeyed += 1;
            let fate = self.fate_over(sh, &command);
            self.mute = fate == Fate::FallsWithin;
            match command {
                Command::Attach { parcel, .. } if fate == Fate::FallsBefore => {
                    self.lose(sh, &parcel);
                }
                _ if fate == Fate::FallsBefore => {}
                command if self.is_void() => self.pass_over(sh, command),
                command => self.carry_out(sh, command),
            }
            self.mute = false;
            if fate != Fate::Lives {
                self.fall(sh, "worker panicked over a command");
            }
        }
    }

    fn carry_out(&mut self, sh: &mut Shared, command: Command) {
        match command {
            Command::Open { relay, bind } => self.open(sh, relay, bind),
            Command::Close { relay } => {
                if let Some(bound) = self.sockets.close(relay) {
                    sh.close_descriptor(bound);
                }
                self.close_port(sh, relay);
                let counters = self.table.forget(relay);
                self.report(sh, Report::Closed { relay, counters });
            }
            Command::Table(change) => {
                if let TableChange::Insert(new) = &change {
                    self.expect_stream(sh, new.five_tuple);
                }
                self.table.apply(change);
            }
            Command::Reply { to, bytes } => self.tell(sh, to, &bytes, Weight::Answer, false),
            Command::Announce { username_anonymity } => self.announce(username_anonymity),
            Command::Detach { relay, keep } => self.detach(sh, relay, keep),
            Command::Attach { parcel, next } => {
                self.expect_stream(sh, next);
                let relay = parcel.relay;
                let report = match self.unpack(sh, parcel, next) {
                    Some(bound) => Report::Opened { relay, bound },
                    None => Report::Failed { relay, why: OpenFailure::Other },
                };
                self.report(sh, report);
            }
            // For an epoch that is over.
            Command::Rebuild { .. } => {}
            Command::Rebuilt => self.rebuilt(sh),
            Command::SendToPeer { relay, peer, data } => self.send_asked(sh, relay, peer, &data),
            Command::OpenPort { relay, bind } => self.open_port(sh, relay, bind),
            Command::Peer(order) => self.order_peer(sh, order),
        }
    }

    pub(super) fn announce(&mut self, username_anonymity: bool) {
        let key = self.challenger.nonce_key.clone();
        self.challenger.nonce_key = key.with_username_anonymity(username_anonymity);
    }

    fn open(&mut self, sh: &mut Shared, relay: RelayId, bind: RelayAddr) {
        match self.sockets.look(relay, bind.socket()) {
            Place::TakenUp => {
                sh.coverage.fact("socket taken up");
                return self.report(sh, Report::Opened { relay, bound: bind });
            }
            Place::Taken => {
                sh.tally("places taken");
                return self.report(sh, Report::Failed { relay, why: OpenFailure::Other });
            }
            Place::Free => {}
        }
        match sh.bound.get(&bind.socket()).map(|there| there.relay) {
            // The socket was lost with a loop; the port is still that of a copy.
            Some(there) if there == relay => {
                return self.report(sh, Report::Failed { relay, why: OpenFailure::PortTaken });
            }
            Some(there) => {
                sh.violated(|| format!("{bind} is bound by {there:?} and shall be bound by {relay:?}"));
            }
            None => {}
        }
        if sh.dice.chance(sh.faults.open) {
            let all =
                [OpenFailure::PortTaken, OpenFailure::NoRoom, OpenFailure::AddressGone, OpenFailure::Other];
            let why = sh.dice.pick(&all);
            return self.report(sh, Report::Failed { relay, why });
        }
        sh.bound.insert(bind.socket(), Bound { relay, reader: Some(self.number), descriptors: 1 });
        self.sockets.insert(relay, bind.socket());
        self.report(sh, Report::Opened { relay, bound: bind });
    }

    fn detach(&mut self, sh: &mut Shared, relay: RelayId, keep: bool) {
        let fails = sh.dice.chance(sh.faults.hand_over);
        let kept = keep && !sh.dice.chance(sh.faults.hand_over);
        let is_here = !fails && self.table.five_tuple(relay).is_some();
        let parcel = is_here.then(|| self.sockets.give(relay, kept)).flatten().map(|bound| {
            let carried = self.table.export(relay, kept).expect("its five-tuple was found");
            if let Some(socket) = sh.bound.get_mut(&bound) {
                socket.reader = None;
                socket.descriptors += u32::from(kept);
            }
            Parcel { relay, bound, carried, kept }
        });
        self.report(sh, Report::Detached { relay, parcel });
    }

    /// Takes over what another worker gave away. A copy that was kept here before goes, whatever comes of it.
    pub(super) fn unpack(&mut self, sh: &mut Shared, parcel: Parcel, next: FiveTuple) -> Option<RelayAddr> {
        let Parcel { relay, bound, carried, kept: _ } = parcel;
        if let Some(copy) = self.sockets.close(relay) {
            sh.close_descriptor(copy);
        }
        if sh.dice.chance(sh.faults.hand_over) || self.sockets.is_taken(relay) {
            sh.close_descriptor(bound);
            return None;
        }
        self.sockets.insert(relay, bound);
        if let Some(socket) = sh.bound.get_mut(&bound) {
            socket.reader = Some(self.number);
        }
        self.table.import(carried, next);
        Some(RelayAddr::new(bound))
    }

    pub(super) fn report(&mut self, sh: &mut Shared, report: Report) {
        let is_asked_for =
            !matches!(report, Report::Restarted { .. } | Report::StreamGone { .. } | Report::Peer(_));
        if self.mute && is_asked_for {
            return match report {
                Report::Detached { parcel: Some(parcel), .. } => self.lose(sh, &parcel),
                Report::Closed { relay, .. } => sh.oracle.lose_counts(relay),
                _ => {}
            };
        }
        self.reports.push_back(report);
        sh.wake_control = true;
    }

    /// A message of the server's own to a client.
    fn tell(&mut self, sh: &mut Shared, to: FiveTuple, bytes: &[u8], weight: Weight, tainted: bool) {
        if to.transport.is_stream() {
            return self.send_on_stream(sh, to, bytes, weight, tainted);
        }
        let header = IpHeader::default();
        self.depart(sh, to.server.socket(), to.client.socket(), bytes.to_vec(), header, tainted);
    }

    fn depart(
        &self,
        sh: &mut Shared,
        from: SocketAddr,
        to: SocketAddr,
        payload: Vec<u8>,
        header: IpHeader,
        tainted: bool,
    ) {
        let is_ours = self.listeners.contains(&from) || sh.bound.contains_key(&from);
        if !is_ours || payload.len() > limits::DATAGRAM_MAX || sh.dice.chance(sh.faults.send) {
            return sh.dropped(DropReason::SendFailed);
        }
        let header = IpHeader { hop_limit: header.hop_limit.or(Some(HOPS)), ..header };
        sh.from_server.push(Packet { from, to, header, payload, tainted });
    }
}

/// Hands a request to the control task. One that finds no room is lost.
pub(super) fn hand_up(
    sh: &mut Shared,
    ring: &mut VecDeque<RequestUp>,
    room: usize,
    from: FiveTuple,
    bytes: &[u8],
) {
    if bytes.len() > limits::REQUEST_MAX {
        return sh.dropped(DropReason::TooLarge);
    }
    if ring.len() >= room {
        return sh.dropped(DropReason::RequestRingFull);
    }
    ring.push_back(RequestUp { from, bytes: bytes.to_vec() });
    sh.wake_control = true;
}
