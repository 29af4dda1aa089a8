//! The host of the server: an [`Edge`] with its listen addresses, relay sockets and connections.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::net::SocketAddr;

use crate::proto::binding::Discovery;
use crate::proto::binding::Endpoint;
use crate::proto::binding::Quartet;
use crate::proto::types::Deadline;
use crate::proto::types::Now;
use crate::proto::types::Secret;
use crate::proto::types::StreamId;
use crate::proto::types::Transport;
use crate::testbed::edge::Edge;
use crate::testbed::edge::Input;
use crate::testbed::edge::Listen;
use crate::testbed::edge::Note;
use crate::testbed::edge::Output;
use crate::testbed::edge::Setup;
use crate::testbed::record::Point;
use crate::testbed::scenario::Scenarios;

use super::places::PORT;
use super::places::PORT_OTHER;
use super::places::PORT_TLS;
use super::places::SERVER;
use super::places::SERVER_OTHER;
use super::tcp::Number;
use super::tunnel::Tunnel;
use crate::proto::types::Dice;

/// What leaves the host.
#[derive(Debug)]
pub(super) enum Leaves {
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Box<[u8]> },
    Write { number: Number, bytes: Vec<u8> },
    Shut { number: Number },
}

/// The host of the server.
#[derive(Debug)]
pub(super) struct Machine {
    edge: Edge<Dice>,
    listens: Vec<Listen>,
    bound: BTreeSet<SocketAddr>,
    streams: BTreeMap<Number, Stream>,
    pub(super) leaves: VecDeque<Leaves>,
    pub(super) notes: Vec<Note>,
}

#[derive(Debug)]
struct Stream {
    at: SocketAddr,
    from: SocketAddr,
    transport: Transport,
    tls: Option<Tunnel>,
    /// The edge knows of it.
    is_told: bool,
}

fn listens() -> Vec<Listen> {
    let at = |transport, ip, port| Listen { transport, address: SocketAddr::new(IpAddr::V4(ip), port) };
    vec![
        at(Transport::Udp, SERVER, PORT),
        at(Transport::Udp, SERVER, PORT_OTHER),
        at(Transport::Udp, SERVER_OTHER, PORT),
        at(Transport::Udp, SERVER_OTHER, PORT_OTHER),
        at(Transport::Tcp, SERVER, PORT),
        at(Transport::Tls, SERVER, PORT_TLS),
    ]
}

impl Machine {
    pub(super) fn new(password: Secret, scenarios: Scenarios, dice: &mut Dice) -> Self {
        let listens = listens();
        let mut setup = Setup::lab(listens.clone(), &[SERVER.into()], password);
        setup.discovery = discovery();
        Self {
            edge: Edge::new(setup, scenarios, dice.fork()),
            listens,
            bound: BTreeSet::new(),
            streams: BTreeMap::new(),
            leaves: VecDeque::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        self.edge.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        self.edge.handle_timeout(now);
        self.drain(now);
    }

    /// Where a datagram for `address` is captured, if it is this host's.
    pub(super) fn point_of(&self, address: SocketAddr) -> Option<Point> {
        if self.is_listened(Transport::Udp, address) {
            Some(Point::Server)
        } else {
            self.bound.contains(&address).then_some(Point::Relay)
        }
    }

    fn is_listened(&self, transport: Transport, address: SocketAddr) -> bool {
        self.listens.iter().any(|listen| listen.transport == transport && listen.address == address)
    }

    /// Relay sockets that are open.
    pub(super) fn relays(&self) -> usize {
        self.bound.len()
    }

    /// A datagram came to an address of [`Self::point_of`].
    pub(super) fn hear(&mut self, now: Now, from: SocketAddr, at: SocketAddr, bytes: &[u8]) {
        if self.is_listened(Transport::Udp, at) {
            self.input(now, Input::Datagram { at, from, bytes });
        } else {
            self.input(now, Input::FromPeer { at, from, bytes });
        }
    }

    /// A connection wants to come. Answers whether anybody listens there.
    pub(super) fn accept(&mut self, number: Number, from: SocketAddr, at: SocketAddr) -> bool {
        let listens = [Transport::Tcp, Transport::Tls];
        let Some(transport) = listens.into_iter().find(|each| self.is_listened(*each, at)) else {
            return false;
        };
        let tls = (transport == Transport::Tls).then(|| Tunnel::new(false));
        self.streams.insert(number, Stream { at, from, transport, tls, is_told: false });
        true
    }

    /// Bytes of a connection came; none where it is only there.
    pub(super) fn hear_stream(&mut self, now: Now, number: Number, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        let plain = match &mut stream.tls {
            None => bytes.to_vec(),
            Some(tunnel) => {
                let came = tunnel.handle_bytes(bytes);
                if came.is_broken {
                    self.leaves.push_back(Leaves::Shut { number });
                    return self.gone(now, number);
                }
                if !came.reply.is_empty() {
                    self.leaves.push_back(Leaves::Write { number, bytes: came.reply });
                }
                if !tunnel.is_open {
                    return;
                }
                came.plain
            }
        };
        let (stream, name) = (self.streams.get_mut(&number), name(number));
        if let Some(there) = stream.filter(|stream| !stream.is_told) {
            there.is_told = true;
            let (at, from, transport) = (there.at, there.from, there.transport);
            self.input(now, Input::Accepted { stream: name, at, from, transport });
        }
        if !plain.is_empty() {
            self.input(now, Input::Bytes { stream: name, bytes: &plain });
        }
    }

    /// A connection has ended.
    pub(super) fn gone(&mut self, now: Now, number: Number) {
        if self.streams.remove(&number).is_some_and(|stream| stream.is_told) {
            self.input(now, Input::Closed { stream: name(number) });
        }
    }

    fn input(&mut self, now: Now, input: Input<'_>) {
        self.edge.handle_input(now, input);
        self.drain(now);
    }

    fn drain(&mut self, now: Now) {
        while let Some(output) = self.edge.poll_output() {
            match output {
                Output::Datagram { at: from, to, bytes } | Output::ToPeer { at: from, to, bytes } => {
                    self.leaves.push_back(Leaves::Datagram { from, to, bytes });
                }
                Output::Write { stream, bytes } => {
                    let number = Number::from(stream.index);
                    if let Some(there) = self.streams.get(&number) {
                        let bytes = if there.tls.is_some() { Tunnel::seal(&bytes) } else { bytes.into() };
                        self.leaves.push_back(Leaves::Write { number, bytes });
                    }
                }
                Output::Shut { stream } => {
                    let number = Number::from(stream.index);
                    self.streams.remove(&number);
                    self.leaves.push_back(Leaves::Shut { number });
                }
                Output::Bind { at } => {
                    let is_free = self.bound.insert(at);
                    let input = if is_free { Input::Bound { at } } else { Input::NotBound { at } };
                    self.edge.handle_input(now, input);
                }
                Output::Unbind { at } => drop(self.bound.remove(&at)),
                Output::Note(note) => self.notes.push(note),
            }
        }
    }
}

/// Two addresses with two ports each (RFC 5780 § 6).
fn discovery() -> Discovery {
    let endpoint = |ip, port| {
        let at = SocketAddr::new(IpAddr::V4(ip), port);
        Endpoint { bind: at, external: at }
    };
    Discovery::new(Quartet::new(endpoint(SERVER, PORT), endpoint(SERVER_OTHER, PORT_OTHER)))
}

/// What the edge calls a connection.
const fn name(number: Number) -> StreamId {
    StreamId { index: number as u32, generation: 0 }
}
