//! How connections get from a client to a worker: through its NAT, over its link, by the door where the first message
//! is awaited.

use std::net::SocketAddr;

use super::*;
use crate::proto::types::Dialect;
use crate::proto::types::PeerAddr;
use crate::proto::types::limits;
use crate::proto::wire::connection;
use crate::proto::wire::ms_turn::framing::FRAME_HEADER_LEN;
use crate::proto::wire::stream::Next as Frame;
use crate::proto::wire::stream::fits_a_request;
use crate::proto::wire::stream::next_frame_in;
use crate::sim::tcp::At;
use crate::sim::tcp::What;

/// The first wait before a segment is sent again, and how often it may be needed.
const RESEND: Micros = 200 * MILLISECOND;
const RESENDS_MAX: u32 = 6;
/// After this a system gives up a connection whose other end answers nothing.
const KEEPALIVE: Micros = 200 * SECOND;
/// How soon a connection within this machine is refused.
const LOCAL: Micros = 50;
/// Ports that NATs give to connections: apart from those of datagrams, and so many that none is given twice while it is
/// in use.
const FIRST_PORT: u16 = 30_000;
const PORTS: u16 = 30_000;

impl World {
    /// Makes the connections that somebody wants, sends what was said over them, and wakes who can write again.
    pub(super) fn settle_streams(&mut self) {
        for number in std::mem::take(&mut self.sh.tcp.dialing) {
            self.dial(number);
        }
        for number in std::mem::take(&mut self.sh.tcp.dying) {
            let reset = Segment { number, up: true, what: What::Reset };
            self.schedule(KEEPALIVE, Next::Segment(reset));
        }
        for segment in std::mem::take(&mut self.sh.tcp.leaving) {
            self.launch_segment(segment);
        }
        for number in std::mem::take(&mut self.sh.tcp.writable) {
            if let Some(At::Worker(worker) | At::Port(worker)) = self.sh.tcp.get(number).map(|it| it.at) {
                self.wake_streams_after(worker, self.scenario.latency);
            }
        }
    }

    fn dial(&mut self, number: Number) {
        let Some(inner) = self.sh.tcp.get(number).map(|it| it.inner) else { return };
        let Some(host) = self.hosts.get(&inner.ip()).copied() else { return };
        let client = match host.nat {
            None => inner,
            Some(nat) => {
                self.ports_given = (self.ports_given + 1) % PORTS;
                SocketAddr::new(self.nats[nat].external, FIRST_PORT + self.ports_given)
            }
        };
        let who = match host.actor {
            Actor::Honest(at) => Some(self.honest[at].number),
            Actor::Insider(at) => Some(self.insiders[at].number),
            Actor::Caller(at) => Some(self.callers[at].number),
            Actor::Rogue(at) => Some(self.rogues[at].number),
            Actor::Peer(_) | Actor::Stranger(_) | Actor::Operator => None,
        };
        who.into_iter().for_each(|who| self.sh.oracle.seen_at(client, who));
        self.sh.tcp.place(number, client);
        for segment in std::mem::take(&mut self.sh.tcp.leaving) {
            self.launch_segment(segment);
        }
    }

    /// Something leaves one end: in pieces, each of which waits for those before it.
    fn launch_segment(&mut self, segment: Segment) {
        let Segment { number, up, what } = segment;
        let Some(connection) = self.sh.tcp.get(number) else { return };
        if !up && self.is_relay(self.sh.oracle.external(connection.inner)) {
            // Ports of this server do not reach each other here.
            let reset = Segment { number, up: true, what: What::Reset };
            return self.schedule(LOCAL, Next::Segment(reset));
        }
        if !up && connection.dead {
            // Nobody says that it came, so the system gives the connection up in the end.
            let given_up = limits::STREAM_UNACKNOWLEDGED_MAX.as_secs() * SECOND;
            let reset = Segment { number, up: true, what: What::Reset };
            return self.schedule(given_up, Next::Segment(reset));
        }
        let link = self.hosts.get(&connection.inner.ip()).map_or(Link::CLEAN, |host| host.link);
        let link = if self.act == Act::Chaos && !self.scenario.clean { link } else { Link::CLEAN };
        let What::Bytes(mut bytes) = what else { return self.launch_piece(link, number, up, what) };
        while !bytes.is_empty() {
            let len = if self.sh.dice.chance(80) { self.sh.dice.index(60) + 1 } else { 1_400 };
            let len = len.min(bytes.len());
            let rest = bytes.split_off(len);
            self.launch_piece(link, number, up, What::Bytes(std::mem::replace(&mut bytes, rest)));
        }
    }

    fn launch_piece(&mut self, link: Link, number: Number, up: bool, what: What) {
        let mut delay = self.sh.dice.range(link.delay.0, link.delay.1);
        for resend in 0..RESENDS_MAX {
            if !self.sh.dice.chance(link.loss) {
                break;
            }
            self.sh.coverage.fact("segment delayed by loss");
            delay += RESEND << resend;
        }
        let now = self.sh.clock.micros();
        let at = self.sh.tcp.in_order(number, up, now + delay);
        self.schedule(at - now, Next::Segment(Segment { number, up, what }));
    }

    pub(super) fn arrive_segment(&mut self, segment: Segment) {
        let Segment { number, up, .. } = segment;
        let Some(connection) = self.sh.tcp.get(number) else { return };
        let server = connection.from.server.socket();
        let is_syn = segment.what == What::Syn;
        let (at, actor) = (connection.at, self.hosts.get(&connection.inner.ip()).map(|host| host.actor));
        self.sh.steps += 1;
        self.sh.mix(&[u8::from(up)]);
        if let What::Bytes(bytes) = &segment.what {
            self.sh.mix(bytes);
        }
        let from = connection_name(self.sh.tcp.get(number));
        self.sh.note(|| format!("{from} {}: {}", if up { "up" } else { "down" }, told(&segment.what)));
        self.sh.tcp.arrive(segment);
        match (up, at, actor) {
            (true, At::Dialing, _) if self.is_relay(self.sh.oracle.external(server)) => {
                self.reach_port(number);
            }
            (true, At::Dialing, _) => {
                let deadline = limits::FIRST_MESSAGE_DEADLINE.as_secs() * SECOND;
                self.schedule(deadline, Next::Spoken(number));
            }
            (true, At::Door, _) => self.knock(number),
            (true, At::Worker(worker) | At::Port(worker), _) => {
                self.wake_streams_after(worker, self.scenario.latency)
            }
            (true, At::Closed, _) => {}
            (false, _, Some(Actor::Honest(at))) if self.honest[at].has_line(number) => {
                self.honest[at].hear_line(&mut self.sh);
                self.arm(at);
            }
            (false, _, Some(Actor::Insider(at))) if self.insiders[at].has_line(number) => {
                self.insiders[at].hear_line(&mut self.sh);
            }
            (false, _, Some(Actor::Peer(at))) if is_syn => self.peers[at].meet(&mut self.sh, number),
            (false, _, Some(Actor::Peer(at))) if self.peers[at].has_line(number) => {
                self.peers[at].hear_line(&mut self.sh, number);
            }
            (false, _, Some(Actor::Caller(at))) if self.callers[at].has_line(number) => {
                self.callers[at].hear_line(&mut self.sh, number);
            }
            (false, _, Some(Actor::Rogue(at))) if self.rogues[at].has_line(number) => {
                self.rogues[at].hear_line(&mut self.sh);
            }
            (false, ..) => self.hear_nobody(number, is_syn),
        }
    }

    /// A peer's SYN has come to a relayed port.
    fn reach_port(&mut self, number: Number) {
        let Some(connection) = self.sh.tcp.get_mut(number) else { return };
        let peer = PeerAddr::new(connection.from.client.socket());
        let bound = self.sh.oracle.bound(connection.from.server.socket());
        let Some((relay, worker)) = self.sh.ports.get(&bound).copied() else {
            return self.sh.tcp.server_reset(number);
        };
        connection.at = At::Port(worker);
        self.workers[worker].ports.backlog.push_back((relay, peer, number));
        self.wake_streams_after(worker, self.scenario.latency);
    }

    /// What comes to where nobody is any more is answered by the machine, if that is there.
    fn hear_nobody(&mut self, number: Number, is_syn: bool) {
        let is_there = self.sh.tcp.get(number).is_some_and(|it| !it.dead);
        if is_there && !is_syn {
            let reset = Segment { number, up: true, what: What::Reset };
            self.schedule(MILLISECOND, Next::Segment(reset));
        }
    }

    /// Something came of a connection that no worker has yet. With its first whole message it goes to the one with the
    /// fewest.
    fn knock(&mut self, number: Number) {
        let is_served = self.scenario.config.challenger.legacy;
        let bytes = self.sh.tcp.server_peek(number);
        let dialect = match bytes.first() {
            Some(2 | 3) if is_served => Dialect::MsTurn,
            _ => Dialect::Rfc8656,
        };
        let next = next_frame_in(dialect, bytes);
        let is_message = match dialect {
            Dialect::Rfc8656 => bytes.first().is_none_or(|first| first & 0xC0 == 0),
            Dialect::MsTurn => bytes.first() == Some(&2),
        };
        let named = match next {
            Frame::Frame { len } if dialect == Dialect::Rfc8656 => {
                bytes.get(..len).and_then(connection::bind_to).map(|it| usize::from(it.worker().0))
            }
            _ => None,
        };
        match next {
            Frame::Frame { len } if is_message && fits_a_request(len - header(dialect)) => {
                let load = |worker: &Worker| (worker.streams.load(), worker.number);
                let least = (0..self.workers.len()).min_by_key(|at| load(&self.workers[*at])).unwrap_or(0);
                let least = named.filter(|named| *named < self.workers.len()).unwrap_or(least);
                let Some(connection) = self.sh.tcp.get_mut(number) else { return };
                connection.at = At::Worker(least);
                self.workers[least].streams.arriving.push_back((number, connection.from, dialect));
                self.wake_streams_after(least, self.scenario.latency);
            }
            Frame::More { at_least }
                if is_message && fits_a_request(at_least.saturating_sub(header(dialect))) => {}
            _ => {
                self.sh.coverage.fact("connection turned away");
                self.sh.tcp.server_close(number);
            }
        }
    }

    pub(super) fn must_have_spoken(&mut self, number: Number) {
        if self.sh.tcp.get(number).is_some_and(|it| it.at == At::Door) {
            self.sh.coverage.fact("connection never spoke");
            self.sh.tcp.server_close(number);
        }
    }

    pub(super) fn wake_streams_after(&mut self, worker: usize, after: Micros) {
        let at = self.sh.clock.micros().saturating_add(after);
        if self.streams_at[worker].is_none_or(|before| at < before) {
            self.streams_at[worker] = Some(at);
            self.schedule(after, Next::Streams(worker));
        }
    }

    pub(super) fn turn_streams(&mut self, at: Micros, worker: usize) {
        if self.streams_at[worker] != Some(at) {
            return;
        }
        self.streams_at[worker] = None;
        if self.waits_for(worker) {
            let stalled = self.workers[worker].stalled_until.saturating_sub(at);
            return self.wake_streams_after(worker, stalled.max(2 * MILLISECOND));
        }
        if let Some(pause) = self.workers[worker].serve_streams(&mut self.sh) {
            self.wake_streams_after(worker, pause);
        }
    }

    /// A NAT forgets everything: neither end of a connection through it can reach the other, and both hear so.
    pub(super) fn cut_streams(&mut self, nat: usize) {
        let is_behind = |inner: SocketAddr| self.hosts.get(&inner.ip()).is_some_and(|it| it.nat == Some(nat));
        let cut: Vec<_> =
            self.sh.tcp.iter().filter(|(_, it)| is_behind(it.inner)).map(|(it, _)| it).collect();
        for number in cut {
            self.sh.coverage.fact("stream of a nat cut");
            for up in [true, false] {
                self.launch_segment(Segment { number, up, what: What::Reset });
            }
        }
    }
}

fn connection_name(connection: Option<&crate::sim::tcp::Connection>) -> String {
    connection.map_or_else(String::new, |it| format!("connection of {}", it.from.client))
}

/// Bytes in front of a message.
const fn header(dialect: Dialect) -> usize {
    match dialect {
        Dialect::Rfc8656 => 0,
        Dialect::MsTurn => FRAME_HEADER_LEN,
    }
}

fn told(what: &What) -> String {
    match what {
        What::Bytes(bytes) => format!("{} bytes", bytes.len()),
        other => format!("{other:?}"),
    }
}
