//! A worker's relayed ports of TCP and the connections of peers, as the worker thread keeps them: what control orders, what
//! the sockets tell, pairs that carry bytes as they are (RFC 6062), and connections whose bytes are framed ([MS-TURN]).
//!
//! Ports of this server do not reach each other here: whoever asks for another's finds nobody there.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use crate::proto::media::DropReason;
use crate::proto::media::Weight;
use crate::proto::media::from_connection;
use crate::proto::media::sent_to_peer;
use crate::proto::turn::OpenFailure;
use crate::proto::types::ConnectionId;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerAddr;
use crate::proto::types::PeerId;
use crate::proto::types::PeerOrder;
use crate::proto::types::PeerReport;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::types::limits;
use crate::proto::wire::DATA_HEADER_MAX;

use super::restart::Fate;
use super::shared::Shared;
use super::tcp::Number;
use super::tcp::Read;
use super::worker::Report;
use super::worker::Worker;

/// Bytes that one frame to the client carries.
const CHUNK: usize = 4 * 1_024;
/// Reads of one connection in a round.
const READS: usize = 4;

/// One peer's connection.
#[derive(Debug)]
struct Conn {
    relay: RelayId,
    peer: PeerAddr,
    number: Number,
    name: Option<ConnectionId>,
    standing: Standing,
    claimed: bool,
    since_ms: u64,
    /// What waits for the peer.
    out: Vec<u8>,
}

#[derive(Debug)]
enum Standing {
    Connecting,
    Waiting,
    Joined(Pair),
}

/// The client's end of a pair.
#[derive(Debug)]
struct Pair {
    client: FiveTuple,
    number: Number,
    /// What waits for the client.
    out: Vec<u8>,
    /// The client, and the peer, say nothing more.
    ended: [bool; 2],
}

#[derive(Debug)]
struct Port {
    bound: RelayAddr,
    claimed: bool,
}

/// What one worker has of them. It outlives a panic.
#[derive(Debug, Default)]
pub(super) struct Ports {
    open: BTreeMap<RelayId, Port>,
    conns: BTreeMap<PeerId, Conn>,
    made: u32,
    pub(super) reports: VecDeque<PeerReport>,
    /// Peers that have connected, and wait to be taken in.
    pub(super) backlog: VecDeque<(RelayId, PeerAddr, Number)>,
    at_work: Option<PeerId>,
}

impl Ports {
    pub(super) fn is_at_rest(&self) -> bool {
        self.backlog.is_empty() && self.open.is_empty() && self.conns.is_empty() && self.reports.is_empty()
    }

    pub(super) fn has_port(&self, relay: RelayId) -> bool {
        self.open.contains_key(&relay)
    }

    fn named(&self, name: ConnectionId) -> Option<PeerId> {
        self.conns.iter().find(|(_, conn)| conn.name == Some(name)).map(|(id, _)| *id)
    }

    fn add(&mut self, tick: Tick, relay: RelayId, peer: PeerAddr, number: Number) -> PeerId {
        self.made += 1;
        let id = PeerId { index: self.made % 64, generation: self.made };
        let conn = Conn {
            relay,
            peer,
            number,
            name: None,
            standing: Standing::Connecting,
            claimed: true,
            since_ms: tick.as_millis(),
            out: Vec::new(),
        };
        self.conns.insert(id, conn);
        id
    }

    /// The connection by which bytes for `peer` leave.
    fn talk(&self, relay: RelayId, peer: PeerAddr) -> Option<PeerId> {
        let is_it = |conn: &Conn| conn.relay == relay && conn.peer == peer && conn.name.is_some();
        self.conns.iter().rfind(|(_, conn)| is_it(conn)).map(|(id, _)| *id)
    }
}

/// What control orders.
impl Worker {
    pub(super) fn open_port(&mut self, sh: &mut Shared, relay: RelayId, bind: RelayAddr) {
        if let Some(port) = self.ports.open.get_mut(&relay) {
            port.claimed = true;
            let report = if port.bound == bind {
                sh.coverage.fact("port taken up");
                Report::Opened { relay, bound: bind }
            } else {
                Report::Failed { relay, why: OpenFailure::Other }
            };
            return self.report(sh, report);
        }
        if let Some((there, _)) = sh.ports.get(&bind.socket()) {
            let there = *there;
            sh.violated(|| format!("{bind} is a port of {there:?} and shall be one of {relay:?}"));
        }
        if sh.dice.chance(sh.faults.open) {
            let all =
                [OpenFailure::PortTaken, OpenFailure::NoRoom, OpenFailure::AddressGone, OpenFailure::Other];
            let why = sh.dice.pick(&all);
            return self.report(sh, Report::Failed { relay, why });
        }
        sh.ports.insert(bind.socket(), (relay, usize::from(self.number)));
        self.ports.open.insert(relay, Port { bound: bind, claimed: true });
        self.report(sh, Report::Opened { relay, bound: bind });
    }

    /// Closes the port of `relay`, if there is one, and all its connections.
    pub(super) fn close_port(&mut self, sh: &mut Shared, relay: RelayId) {
        let Some(port) = self.ports.open.remove(&relay) else { return };
        sh.ports.remove(&port.bound.socket());
        let members: Vec<_> = self.ports.conns.iter().filter(|(_, conn)| conn.relay == relay).collect();
        let members: Vec<_> = members.into_iter().map(|(id, _)| *id).collect();
        for id in members {
            self.close_peer(sh, id, false);
        }
    }

    pub(super) fn order_peer(&mut self, sh: &mut Shared, order: PeerOrder) {
        match order {
            PeerOrder::Connect { connection, relay, to } => self.connect_peer(sh, connection, relay, to),
            PeerOrder::Admit { arrival, connection } => {
                let is_free = self.ports.named(connection).is_none_or(|there| there == arrival);
                match self.ports.conns.get_mut(&arrival).filter(|_| is_free) {
                    Some(conn) => {
                        (conn.name, conn.claimed) = (Some(connection), true);
                        let number = conn.number;
                        sh.flows.name(connection, number);
                    }
                    None => self.report_peer(sh, PeerReport::Ended { connection }),
                }
            }
            PeerOrder::Refuse { arrival } => {
                sh.coverage.fact("peer turned away");
                self.close_peer(sh, arrival, true);
            }
            PeerOrder::Keep { connection } => {
                let there = self.ports.named(connection).and_then(|id| self.ports.conns.get_mut(&id));
                match there {
                    Some(conn) => conn.claimed = true,
                    None => self.report_peer(sh, PeerReport::Ended { connection }),
                }
            }
            PeerOrder::Join { connection, client } => self.join_peer(sh, connection, client),
            PeerOrder::Close { connection } => {
                if let Some(id) = self.ports.named(connection) {
                    self.close_peer(sh, id, false);
                }
            }
        }
    }

    fn connect_peer(&mut self, sh: &mut Shared, connection: ConnectionId, relay: RelayId, to: PeerAddr) {
        if let Some(id) = self.ports.named(connection) {
            let Some(conn) = self.ports.conns.get_mut(&id) else { return };
            conn.claimed = true;
            if matches!(conn.standing, Standing::Waiting) {
                self.report_peer(sh, PeerReport::Connected { connection });
            }
            return;
        }
        let Some(port) = self.ports.open.get(&relay) else {
            return self.report_peer(sh, PeerReport::Ended { connection });
        };
        let number = sh.tcp.dial_out(port.bound.socket(), to.socket(), usize::from(self.number));
        let id = self.ports.add(sh.clock.tick(), relay, to, number);
        if let Some(conn) = self.ports.conns.get_mut(&id) {
            conn.name = Some(connection);
        }
        sh.flows.name(connection, number);
    }

    /// Without the client's connection, or the peer's, there is nothing to join: both are over.
    fn join_peer(&mut self, sh: &mut Shared, connection: ConnectionId, client: FiveTuple) {
        let id = self.ports.named(connection);
        let there = id.and_then(|id| self.ports.conns.get_mut(&id));
        if let Some(conn) = there
            && matches!(&conn.standing, Standing::Joined(pair) if pair.client == client)
        {
            conn.claimed = true;
            return;
        }
        let joining = self.take_out_stream(&client);
        let conn = id.and_then(|id| self.ports.conns.get_mut(&id));
        let waiting = conn.filter(|conn| matches!(conn.standing, Standing::Waiting));
        match (waiting, joining) {
            (Some(conn), Some((number, unread, greeting))) => {
                sh.coverage.fact("connections joined");
                let pair = Pair { client, number, out: greeting, ended: [false; 2] };
                (conn.standing, conn.claimed, conn.out) = (Standing::Joined(pair), true, unread);
                if let Some(of_client) = sh.tcp.get_mut(number) {
                    of_client.at = super::tcp::At::Worker(usize::from(self.number));
                }
            }
            (_, joining) => {
                if let Some((number, ..)) = joining {
                    sh.tcp.server_close(number);
                }
                if let Some(id) = id {
                    self.close_peer(sh, id, true);
                }
                self.report_peer(sh, PeerReport::Ended { connection });
            }
        }
    }

    pub(super) fn report_peer(&mut self, sh: &mut Shared, report: PeerReport) {
        self.ports.reports.push_back(report);
        sh.wake_control = true;
    }

    /// What a Send request of [MS-TURN] carries.
    pub(super) fn send_asked(&mut self, sh: &mut Shared, relay: RelayId, peer: PeerAddr, data: &[u8]) {
        let tick = sh.clock.tick();
        let to = match sent_to_peer(&self.table, tick, relay, peer, data.len()) {
            Ok(to) => to,
            Err(reason) => return sh.dropped(reason),
        };
        let Some(from) = self.table.five_tuple(relay) else { return sh.dropped(DropReason::StaleRelay) };
        if self.ports.has_port(relay) {
            if self.say_to_peer(sh, relay, from, to, data) != Some(true) {
                sh.dropped(DropReason::SendFailed);
            }
            return;
        }
        sh.coverage.fact("data of a send");
        self.send_to_peer(sh, relay, from, to, data, crate::proto::types::IpHeader::default(), false);
    }

    /// Has `data` sent on the connection with `peer`. `None` if there is none; `false` if it must be tried again.
    pub(super) fn say_to_peer(
        &mut self,
        sh: &mut Shared,
        relay: RelayId,
        from: FiveTuple,
        peer: PeerAddr,
        data: &[u8],
    ) -> Option<bool> {
        let tick = sh.clock.tick();
        if !self.table.may_carry(tick, relay) {
            sh.coverage.fact("client held up");
            return Some(false);
        }
        let id = self.ports.talk(relay, peer)?;
        let conn = self.ports.conns.get_mut(&id)?;
        if !conn.out.is_empty() && conn.out.len() + data.len() > limits::PIPE_BUFFER {
            sh.coverage.fact("client held up");
            sh.tally("frames held up by a slow peer");
            return Some(false);
        }
        conn.out.extend_from_slice(data);
        let worker = (self.number, self.obeyed);
        let verdict = sh.oracle.may_reach_peer(tick, worker, relay, from, peer);
        sh.judged(verdict);
        sh.flows.sent_to_peer(conn.number, data);
        self.table.carried(tick, relay, data.len(), 0);
        sh.oracle.count_to_peer(relay, data.len());
        sh.coverage.fact("bytes of a talk");
        Some(true)
    }
}

/// What the sockets tell.
impl Worker {
    /// A peer has connected to the port of `relay`.
    fn accept_peer(&mut self, sh: &mut Shared, relay: RelayId, peer: PeerAddr, number: Number) {
        let tick = sh.clock.tick();
        if !self.ports.has_port(relay) {
            return sh.tcp.server_reset(number);
        }
        let id = self.ports.add(tick, relay, peer, number);
        if let Some(conn) = self.ports.conns.get_mut(&id) {
            conn.standing = Standing::Waiting;
        }
        let has_room = self.ports.reports.len() < limits::STREAM_REPORTS_MAX;
        if !has_room || !self.table.admits_connection(tick, relay, peer) {
            sh.coverage.fact("peer turned away");
            self.close_peer(sh, id, true);
            return;
        }
        sh.coverage.fact("peer arrived");
        self.report_peer(sh, PeerReport::Arrived { relay, peer, arrival: id });
    }

    /// One round of every peer's connection. Answers whether another is due soon.
    pub(super) fn serve_ports(&mut self, sh: &mut Shared) -> bool {
        while let Some((relay, peer, number)) = self.ports.backlog.pop_front() {
            self.accept_peer(sh, relay, peer, number);
        }
        let ids: Vec<_> = self.ports.conns.keys().copied().collect();
        let epoch = self.epoch;
        for id in ids {
            self.ports.at_work = Some(id);
            let fate = self.fate(sh);
            if fate != Fate::FallsBefore {
                self.serve_peer(sh, id);
            }
            if fate != Fate::Lives {
                self.fall(sh, "worker panicked over a peer's connection");
            }
            if self.epoch != epoch {
                break;
            }
        }
        self.ports.at_work = None;
        self.sweep_peers(sh);
        self.tell_peers(sh);
        !self.ports.conns.is_empty() || !self.ports.reports.is_empty()
    }

    fn serve_peer(&mut self, sh: &mut Shared, id: PeerId) {
        let Some(conn) = self.ports.conns.get_mut(&id) else { return };
        match conn.standing {
            Standing::Connecting => match sh.tcp.progress(conn.number) {
                None => {}
                Some(true) => {
                    conn.standing = Standing::Waiting;
                    if let Some(connection) = conn.name {
                        self.report_peer(sh, PeerReport::Connected { connection });
                    }
                }
                Some(false) => self.end_peer(sh, id, false),
            },
            Standing::Waiting if conn.name.is_some() && self.table.framed_for(conn.relay).is_some() => {
                self.talk(sh, id);
            }
            // Watched for an end alone, as far as that can be seen behind unread bytes.
            Standing::Waiting => {
                if sh.tcp.has_failed(conn.number) {
                    self.end_peer(sh, id, false);
                }
            }
            Standing::Joined(_) => self.pump(sh, id),
        }
    }

    /// One round of a connection whose bytes are framed for its client.
    fn talk(&mut self, sh: &mut Shared, id: PeerId) {
        let Some(conn) = self.ports.conns.get_mut(&id) else { return };
        let (relay, peer, number) = (conn.relay, conn.peer, conn.number);
        let sent = sh.tcp.server_send(number, &conn.out);
        conn.out.drain(..sent);
        for _ in 0..READS {
            let tick = sh.clock.tick();
            let Some(client) = self.table.framed_for(relay) else { return self.end_peer(sh, id, false) };
            if !self.table.may_carry(tick, relay) || !self.has_stream_room(&client, DATA_HEADER_MAX + CHUNK) {
                sh.coverage.fact("peer held back");
                return;
            }
            match sh.tcp.server_read(number, CHUNK) {
                Read::Nothing => return,
                Read::End | Read::Failed => return self.end_peer(sh, id, false),
                Read::Bytes(bytes) => {
                    let payload = DATA_HEADER_MAX..DATA_HEADER_MAX + bytes.len();
                    let mut buffer = vec![0xEE; payload.end];
                    buffer[payload.clone()].copy_from_slice(&bytes);
                    match from_connection(&self.table, tick, relay, peer, &mut buffer, payload) {
                        Ok((to, frame)) => {
                            let worker = (self.number, self.obeyed);
                            let verdict = sh.oracle.may_reach_client(tick, worker, relay, to, peer);
                            sh.judged(verdict);
                            let external = PeerAddr::new(sh.oracle.external(peer.socket()));
                            sh.flows.framed_for_client(&to, external, &bytes);
                            sh.oracle.count_to_client(relay, bytes.len());
                            self.table.carried(tick, relay, 0, bytes.len());
                            self.send_on_stream(sh, to, &buffer[frame], Weight::Media, false);
                        }
                        Err(reason) => {
                            sh.dropped(reason);
                            return self.end_peer(sh, id, false);
                        }
                    }
                }
            }
        }
    }

    /// One round of a pair: a side is read only when what came from it has left.
    fn pump(&mut self, sh: &mut Shared, id: PeerId) {
        let tick = sh.clock.tick();
        let Some(conn) = self.ports.conns.get_mut(&id) else { return };
        let (relay, peer_number) = (conn.relay, conn.number);
        let may_read = self.table.may_carry(tick, relay);
        let Standing::Joined(pair) = &mut conn.standing else { return };
        let (mut up, mut down, mut broken) = (0, 0, false);
        for (from, to, out, ended, moved) in [
            (pair.number, peer_number, &mut conn.out, 0, &mut up),
            (peer_number, pair.number, &mut pair.out, 1, &mut down),
        ] {
            for _ in 0..READS {
                let sent = sh.tcp.server_send(to, out);
                out.drain(..sent);
                if !out.is_empty() || !may_read || pair.ended[ended] {
                    break;
                }
                match sh.tcp.server_read(from, limits::PIPE_BUFFER) {
                    Read::Bytes(bytes) => {
                        *moved += bytes.len();
                        *out = bytes;
                    }
                    Read::Nothing => break,
                    Read::End => pair.ended[ended] = true,
                    Read::Failed => {
                        broken = true;
                        break;
                    }
                }
            }
        }
        // Whoever says nothing more here hears nothing more either, so the other way is over with it.
        let over = pair.ended[0] && conn.out.is_empty() || pair.ended[1] && pair.out.is_empty();
        if up + down > 0 {
            sh.coverage.fact("bytes of a pair");
            if up > 0 {
                sh.oracle.count_to_peer(relay, up);
            }
            if down > 0 {
                sh.oracle.count_to_client(relay, down);
            }
            self.table.carried(tick, relay, up, down);
        }
        if broken || over {
            self.end_peer(sh, id, broken);
        }
    }

    /// Ends a connection by itself, of which the control task hears.
    fn end_peer(&mut self, sh: &mut Shared, id: PeerId, broken: bool) {
        if let Some(connection) = self.close_peer(sh, id, broken) {
            self.report_peer(sh, PeerReport::Ended { connection });
        }
    }

    /// Ends a connection, and what it is joined to. Answers its name.
    fn close_peer(&mut self, sh: &mut Shared, id: PeerId, broken: bool) -> Option<ConnectionId> {
        let conn = self.ports.conns.remove(&id)?;
        let client = match &conn.standing {
            Standing::Joined(pair) => Some(pair.number),
            Standing::Connecting | Standing::Waiting => None,
        };
        for number in client.into_iter().chain([conn.number]) {
            if broken {
                sh.tcp.server_reset(number);
            } else {
                sh.tcp.server_close(number);
            }
        }
        sh.coverage.fact("peer's connection ended");
        conn.name
    }

    /// What came, and that nobody has given a name.
    fn sweep_peers(&mut self, sh: &mut Shared) {
        let now = sh.clock.tick().as_millis();
        let max = limits::CONNECTION_BIND_DEADLINE.as_millis() as u64;
        let is_stale = |conn: &Conn| {
            matches!(conn.standing, Standing::Waiting) && conn.name.is_none() && now >= conn.since_ms + max
        };
        let stale: Vec<_> = self.ports.conns.iter().filter(|(_, conn)| is_stale(conn)).collect();
        let stale: Vec<_> = stale.into_iter().map(|(id, _)| *id).collect();
        stale.into_iter().for_each(|id| self.end_peer(sh, id, true));
    }

    fn tell_peers(&mut self, sh: &mut Shared) {
        while self.reports.len() < limits::STREAM_REPORTS_MAX
            && let Some(report) = self.ports.reports.pop_front()
        {
            self.report(sh, Report::Peer(report));
        }
    }

    /// The worker fell: the connection that it was at work on ends.
    pub(super) fn restart_ports(&mut self, sh: &mut Shared) {
        if let Some(id) = self.ports.at_work.take() {
            sh.coverage.fact("peer's connection lost with a loop");
            self.end_peer(sh, id, true);
        }
        self.ports.open.values_mut().for_each(|port| port.claimed = false);
        self.ports.conns.values_mut().for_each(|conn| conn.claimed = false);
    }

    /// Closes what nobody asked for since the last panic.
    pub(super) fn sweep_ports(&mut self, sh: &mut Shared) {
        let left: Vec<_> =
            self.ports.conns.iter().filter(|(_, conn)| !conn.claimed).map(|(id, _)| *id).collect();
        for id in left {
            self.close_peer(sh, id, true);
        }
        let left: Vec<_> =
            self.ports.open.iter().filter(|(_, port)| !port.claimed).map(|(relay, _)| *relay).collect();
        left.into_iter().for_each(|relay| self.close_port(sh, relay));
    }
}
