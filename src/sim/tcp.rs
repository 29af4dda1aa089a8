//! TCP as its two ends see it: two pipes of bytes, in order and without loss. What a link loses becomes delay, for
//! whatever is behind it too. How the bytes were cut on the way says nothing.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::mem;
use std::net::SocketAddr;
use std::ops::Range;

use crate::proto::types::ClientAddr;
use crate::proto::types::FiveTuple;
use crate::proto::types::ServerAddr;
use crate::proto::types::Transport;

use super::clock::Micros;

/// Names one connection of a run.
pub(super) type Number = u64;

/// What a client's system keeps of what it wants to send, before it takes no more data of the application.
const PENDING_MAX: usize = 64 * 1_024;
/// Bytes on their way to the server, or unread there.
const WINDOW_UP: usize = 32 * 1_024;

/// What passes from one end to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Syn,
    Bytes(Vec<u8>),
    Fin,
    Reset,
}

/// Something that leaves one end.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) number: Number,
    /// To the server.
    pub(super) up: bool,
    pub(super) what: What,
}

/// What a read comes to.
#[derive(Debug)]
pub(super) enum Read {
    Bytes(Vec<u8>),
    Nothing,
    End,
    Failed,
}

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    Fin,
    Reset,
    /// Its machine is gone: nobody says so, and nobody answers.
    None,
}

/// Where the server has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// It has not come yet.
    Dialing,
    /// Before its first message.
    Door,
    Worker(usize),
    /// At a relayed port of this worker: the other end is a peer.
    Port(usize),
    Closed,
}

#[derive(Debug, Default)]
struct Pipe {
    /// Bytes that were written and not read yet.
    occupied: usize,
    received: VecDeque<u8>,
    /// Nothing comes any more; with `true` nothing that is unread counts either.
    end: Option<bool>,
    read: u64,
    /// When the last of what was sent arrives.
    last: Micros,
    /// Bytes of which nothing can be said.
    tainted: VecDeque<Range<u64>>,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) from: FiveTuple,
    /// The client's own address.
    pub(super) inner: SocketAddr,
    pub(super) at: At,
    /// Whoever sends here means harm.
    pub(super) tainted: bool,
    /// The client's machine is gone.
    pub(super) dead: bool,
    /// The server began it, and whether it is there.
    outgoing: Option<bool>,
    client_open: bool,
    pending: VecDeque<u8>,
    up: Pipe,
    down: Pipe,
}

/// Every connection there is.
#[derive(Debug)]
pub(super) struct Tcp {
    connections: BTreeMap<Number, Connection>,
    made: Number,
    /// Bytes on their way to a client, or unread there.
    window_down: usize,
    /// Connections that somebody wants to make.
    pub(super) dialing: Vec<Number>,
    /// What leaves either end now.
    pub(super) leaving: Vec<Segment>,
    /// Of these the server can write again.
    pub(super) writable: BTreeSet<Number>,
    /// Machines of these clients are gone, and keep-alives will find it out.
    pub(super) dying: Vec<Number>,
}

impl Tcp {
    pub(super) fn new(window_down: usize) -> Self {
        Self {
            connections: BTreeMap::new(),
            made: 0,
            window_down,
            dialing: Vec::new(),
            leaving: Vec::new(),
            writable: BTreeSet::new(),
            dying: Vec::new(),
        }
    }

    pub(super) fn get(&self, number: Number) -> Option<&Connection> {
        self.connections.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: Number) -> Option<&mut Connection> {
        self.connections.get_mut(&number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Number, &Connection)> {
        self.connections.iter().map(|(number, connection)| (*number, connection))
    }

    // The client's end.

    /// Begins a connection from `inner`. What is sent by it goes behind the handshake.
    pub(super) fn dial(&mut self, inner: SocketAddr, server: SocketAddr, transport: Transport) -> Number {
        self.made += 1;
        let from = FiveTuple { client: ClientAddr::new(inner), server: ServerAddr::new(server), transport };
        let connection = Connection {
            from,
            inner,
            at: At::Dialing,
            tainted: false,
            dead: false,
            outgoing: None,
            client_open: true,
            pending: VecDeque::new(),
            up: Pipe::default(),
            down: Pipe::default(),
        };
        self.connections.insert(self.made, connection);
        self.dialing.push(self.made);
        self.made
    }

    /// The way of `number` is known: `client` is how the server sees it.
    pub(super) fn place(&mut self, number: Number, client: SocketAddr) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.from.client = ClientAddr::new(client);
        self.leaving.push(Segment { number, up: true, what: What::Syn });
        self.send_pending(number);
    }

    /// Sends `bytes`. What may get lost does where too much waits already.
    pub(super) fn client_send(&mut self, number: Number, bytes: &[u8], may_be_lost: bool) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if !connection.client_open || may_be_lost && connection.pending.len() > PENDING_MAX {
            return;
        }
        connection.pending.extend(bytes);
        if !self.dialing.contains(&number) {
            self.send_pending(number);
        }
    }

    fn send_pending(&mut self, number: Number) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let room = WINDOW_UP.saturating_sub(connection.up.occupied).min(connection.pending.len());
        if room > 0 {
            let bytes = connection.pending.drain(..room).collect();
            connection.up.occupied += room;
            self.leaving.push(Segment { number, up: true, what: What::Bytes(bytes) });
        }
    }

    /// What has come, in pieces of which something can be said or not, and whether that was the end.
    pub(super) fn client_read(&mut self, number: Number) -> (Vec<(Vec<u8>, bool)>, bool) {
        let Some(connection) = self.connections.get_mut(&number).filter(|it| it.client_open) else {
            return (Vec::new(), true);
        };
        let pipe = &mut connection.down;
        let mut pieces = Vec::new();
        while !pipe.received.is_empty() {
            while pipe.tainted.front().is_some_and(|range| range.end <= pipe.read) {
                pipe.tainted.pop_front();
            }
            let (until, tainted) = match pipe.tainted.front() {
                Some(range) if range.start <= pipe.read => (range.end, true),
                Some(range) => (range.start, false),
                None => (u64::MAX, false),
            };
            let len = usize::try_from(until - pipe.read).unwrap_or(usize::MAX).min(pipe.received.len());
            pieces.push((pipe.take(len), tainted));
        }
        if !pieces.is_empty() {
            self.writable.insert(number);
        }
        let ended = pipe.end.is_some();
        if ended {
            connection.client_open = false;
            self.bury(number);
        }
        (pieces, ended)
    }

    /// The client goes.
    pub(super) fn client_close(&mut self, number: Number, how: Farewell) {
        let Some(connection) = self.connections.get_mut(&number).filter(|it| it.client_open) else { return };
        connection.client_open = false;
        let what = match how {
            Farewell::None => {
                connection.dead = true;
                self.dying.push(number);
                None
            }
            // A system that has something left to send when it goes says so by a reset.
            Farewell::Fin if connection.pending.is_empty() => Some(What::Fin),
            Farewell::Fin | Farewell::Reset => Some(What::Reset),
        };
        connection.pending.clear();
        self.leaving.extend(what.map(|what| Segment { number, up: true, what }));
        self.bury(number);
    }

    // The server's end.

    /// Reads at most `max` bytes.
    pub(super) fn server_read(&mut self, number: Number, max: usize) -> Read {
        let Some(connection) = self.connections.get_mut(&number) else { return Read::Failed };
        let pipe = &mut connection.up;
        if pipe.end == Some(true) {
            return Read::Failed;
        }
        if pipe.received.is_empty() {
            return if pipe.end.is_some() { Read::End } else { Read::Nothing };
        }
        let bytes = pipe.take(max.min(pipe.received.len()));
        self.send_pending(number);
        Read::Bytes(bytes)
    }

    /// What has come and was not read.
    pub(super) fn server_peek(&mut self, number: Number) -> &[u8] {
        self.connections.get_mut(&number).map_or(&[], |it| it.up.received.make_contiguous())
    }

    /// Sends of `bytes` what there is room for. Answers how much that is.
    pub(super) fn server_send(&mut self, number: Number, bytes: &[u8]) -> usize {
        let Some(connection) = self.connections.get_mut(&number) else { return bytes.len() };
        let room = self.window_down.saturating_sub(connection.down.occupied).min(bytes.len());
        if room > 0 {
            connection.down.occupied += room;
            let what = What::Bytes(bytes[..room].to_vec());
            self.leaving.push(Segment { number, up: false, what });
        }
        room
    }

    /// Of these bytes of all that is ever sent nothing can be said.
    pub(super) fn taint(&mut self, number: Number, range: Range<u64>) {
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.down.tainted.push_back(range);
        }
    }

    /// Begins a connection from the port of a worker, bound to `port`, to the peer `to`.
    pub(super) fn dial_out(&mut self, port: SocketAddr, to: SocketAddr, worker: usize) -> Number {
        self.made += 1;
        let number = self.made;
        let transport = Transport::Tcp;
        let from = FiveTuple { client: ClientAddr::new(to), server: ServerAddr::new(port), transport };
        let connection = Connection {
            from,
            inner: to,
            at: At::Port(worker),
            tainted: false,
            dead: false,
            outgoing: Some(false),
            client_open: true,
            pending: VecDeque::new(),
            up: Pipe::default(),
            down: Pipe::default(),
        };
        self.connections.insert(number, connection);
        self.leaving.push(Segment { number, up: false, what: What::Syn });
        number
    }

    /// Whether a connection that the server began is there, or will never be.
    pub(super) fn progress(&self, number: Number) -> Option<bool> {
        let Some(connection) = self.connections.get(&number) else { return Some(false) };
        if connection.up.end == Some(true) {
            return Some(false);
        }
        connection.outgoing.filter(|there| *there)
    }

    /// Whether the other end broke it.
    pub(super) fn has_failed(&self, number: Number) -> bool {
        self.connections.get(&number).is_none_or(|it| it.up.end == Some(true))
    }

    /// The peer lets the server's connection in, or does not.
    pub(super) fn peer_meets(&mut self, number: Number, lets_in: bool) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.client_open = lets_in;
        let what = if lets_in { What::Syn } else { What::Reset };
        self.leaving.push(Segment { number, up: true, what });
        self.bury(number);
    }

    /// Ends it at once: nothing that is under way to the server counts.
    pub(super) fn server_reset(&mut self, number: Number) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.at = At::Closed;
        self.leaving.push(Segment { number, up: false, what: What::Reset });
        self.bury(number);
    }

    pub(super) fn server_close(&mut self, number: Number) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.at = At::Closed;
        self.leaving.push(Segment { number, up: false, what: What::Fin });
        self.bury(number);
    }

    // The way between them.

    /// When something that would arrive at `at` does arrive: not before what was sent earlier.
    pub(super) fn in_order(&mut self, number: Number, up: bool, at: Micros) -> Micros {
        let Some(connection) = self.connections.get_mut(&number) else { return at };
        let pipe = if up { &mut connection.up } else { &mut connection.down };
        pipe.last = pipe.last.max(at);
        pipe.last
    }

    /// A segment arrives. Nobody may be there any more.
    pub(super) fn arrive(&mut self, segment: Segment) {
        let Segment { number, up, what } = segment;
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let pipe = if up { &mut connection.up } else { &mut connection.down };
        match what {
            What::Syn if !up => {}
            What::Syn if connection.outgoing.is_some() => connection.outgoing = Some(true),
            What::Syn => connection.at = At::Door,
            What::Bytes(bytes) => pipe.received.extend(bytes),
            What::Fin => pipe.end = pipe.end.or(Some(false)),
            What::Reset => {
                pipe.received.clear();
                pipe.end = Some(true);
            }
        }
    }

    /// A connection that neither end has is no more.
    fn bury(&mut self, number: Number) {
        let is_over = |it: &Connection| it.at == At::Closed && !it.client_open;
        if self.connections.get(&number).is_some_and(is_over) {
            self.connections.remove(&number);
        }
    }
}

impl Pipe {
    fn take(&mut self, len: usize) -> Vec<u8> {
        self.occupied = self.occupied.saturating_sub(len);
        self.read += len as u64;
        let rest = self.received.split_off(len);
        mem::replace(&mut self.received, rest).into()
    }
}
