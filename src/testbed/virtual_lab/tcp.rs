//! TCP as a reliable stream of bytes in order: what a link loses, or a NAT does not let through, is sent again later, and
//! whatever is behind it waits. Here is what both ends know; `streams` takes segments through the laboratory.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::nat::TcpFlags;

use super::clock::MILLISECOND;
use super::clock::Micros;

/// Names one connection of a run.
pub(super) type Number = u64;

/// How long a segment that opens a connection is waited for before it is sent again (RFC 6298 § 2); twice as long each time.
const OPENING_WAIT: Micros = 1_000 * MILLISECOND;
/// The same for others, whose way is known by then.
const WAIT: Micros = 250 * MILLISECOND;
/// How often a segment is sent before the connection is given up.
const TRIES_MAX: u32 = 8;

/// Who began a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// A client, towards one of its servers.
    Side {
        /// 0 or 1.
        side: usize,
        /// The server's place in the agent's configuration.
        server: usize,
    },
    /// The proxy, for the connection that it has with a client.
    Proxy {
        /// That one.
        of: Number,
    },
}

/// One way of a connection.
#[derive(Debug, Default)]
struct Way {
    /// What was sent and has not arrived, by number.
    segments: BTreeMap<u64, Segment>,
    sent: u64,
    /// The next byte's number.
    bytes: u32,
    /// What arrived too early.
    early: BTreeMap<u64, Segment>,
    next: u64,
}

/// What travels at once.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) flags: TcpFlags,
    /// The number of its first byte.
    pub(super) sequence: u32,
    pub(super) bytes: Box<[u8]>,
    tries: u32,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) caller: Caller,
    /// Where it comes from, as the one who began it knows it.
    pub(super) inner: SocketAddr,
    /// The same as the other end sees it, once its first segment has come through.
    pub(super) outer: Option<SocketAddr>,
    pub(super) server: SocketAddr,
    ways: [Way; 2],
    /// Each end, the caller's first, says nothing any more.
    pub(super) has_ended: [bool; 2],
}

/// Which way: to the server or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    Server,
    Caller,
}

/// Every connection of a run.
#[derive(Debug, Default)]
pub(super) struct Tcp {
    connections: BTreeMap<Number, Connection>,
    made: Number,
}

impl Tcp {
    /// Begins a connection.
    pub(super) fn dial(&mut self, caller: Caller, inner: SocketAddr, server: SocketAddr) -> Number {
        self.made += 1;
        let ways = [Way::default(), Way::default()];
        let connection = Connection { caller, inner, outer: None, server, ways, has_ended: [false; 2] };
        self.connections.insert(self.made, connection);
        self.made
    }

    pub(super) fn get(&self, number: Number) -> Option<&Connection> {
        self.connections.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: Number) -> Option<&mut Connection> {
        self.connections.get_mut(&number)
    }

    /// Puts a segment behind those that were sent. Answers its number, or `None` where this end has ended.
    pub(super) fn send(&mut self, number: Number, to: To, flags: TcpFlags, bytes: Box<[u8]>) -> Option<u64> {
        let connection = self.connections.get_mut(&number)?;
        let own = to as usize;
        if connection.has_ended[own] {
            return None;
        }
        connection.has_ended[own] = flags.fin || flags.rst;
        let way = &mut connection.ways[own];
        let (at, sequence) = (way.sent, way.bytes);
        way.sent += 1;
        // SYN and FIN count as a byte each (RFC 9293 § 3.4).
        let counts = u32::from(flags.syn) + u32::from(flags.fin);
        way.bytes = way.bytes.wrapping_add(bytes.len() as u32).wrapping_add(counts);
        way.segments.insert(at, Segment { flags, sequence, bytes, tries: 0 });
        Some(at)
    }

    /// The segment to be sent now, if it has not arrived; with how long it is waited for.
    pub(super) fn attempt(&mut self, number: Number, to: To, at: u64) -> Option<Attempt> {
        let way = &mut self.connections.get_mut(&number)?.ways[to as usize];
        let segment = way.segments.get_mut(&at)?;
        if segment.tries == TRIES_MAX {
            return Some(Attempt::GivenUp);
        }
        let first = if segment.flags.syn { OPENING_WAIT } else { WAIT };
        let wait = first << segment.tries;
        segment.tries += 1;
        Some(Attempt::Send { segment: segment.clone(), wait })
    }

    /// A segment on its way.
    pub(super) fn peek(&self, number: Number, to: To, at: u64) -> Option<Segment> {
        self.connections.get(&number)?.ways[to as usize].segments.get(&at).cloned()
    }

    /// A segment has come out at the other end. Answers what can be read there now, in order.
    pub(super) fn arrive(&mut self, number: Number, to: To, at: u64) -> Vec<Segment> {
        let Some(connection) = self.connections.get_mut(&number) else { return Vec::new() };
        let way = &mut connection.ways[to as usize];
        if let Some(segment) = way.segments.remove(&at) {
            way.early.insert(at, segment);
        }
        let mut read = Vec::new();
        while let Some(segment) = way.early.remove(&way.next) {
            way.next += 1;
            read.push(segment);
        }
        read
    }

    /// A connection is no more.
    pub(super) fn forget(&mut self, number: Number) -> Option<Connection> {
        self.connections.remove(&number)
    }
}

/// What becomes of a segment that is due.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It is sent, and sent again after `wait` if it has not arrived by then.
    Send { segment: Segment, wait: Micros },
    /// It was sent often enough; the connection is broken.
    GivenUp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp() -> (Tcp, Number) {
        let mut tcp = Tcp::default();
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let number = tcp.dial(Caller::Side { side: 0, server: 1 }, at(1), at(2));
        (tcp, number)
    }

    fn send(tcp: &mut Tcp, number: Number, bytes: &[u8]) -> Option<u64> {
        tcp.send(number, To::Server, TcpFlags::ACK, bytes.into())
    }

    #[test]
    fn bytes_are_read_in_order_and_once() {
        let (mut tcp, number) = tcp();
        let sent: Vec<_> = [b"a", b"b", b"c"].map(|bytes| send(&mut tcp, number, bytes).unwrap()).into();
        let read = |tcp: &mut Tcp, at| {
            let segments = tcp.arrive(number, To::Server, at);
            segments.iter().flat_map(|segment| segment.bytes.to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(read(&mut tcp, sent[2]), b"");
        assert_eq!(read(&mut tcp, sent[0]), b"a");
        assert_eq!(read(&mut tcp, sent[1]), b"bc");
        assert_eq!(read(&mut tcp, sent[1]), b"");
        assert!(tcp.attempt(number, To::Server, sent[0]).is_none(), "what has arrived is not sent again");
    }

    #[test]
    fn what_does_not_arrive_is_sent_again_ever_later_and_given_up() {
        for (flags, first) in [(TcpFlags::ACK, WAIT), (TcpFlags::SYN, OPENING_WAIT)] {
            let (mut tcp, number) = tcp();
            let at = tcp.send(number, To::Server, flags, Box::default()).unwrap();
            for tries in 0..TRIES_MAX {
                let attempt = tcp.attempt(number, To::Server, at);
                assert!(matches!(attempt, Some(Attempt::Send { wait, .. }) if wait == first << tries));
            }
            assert!(matches!(tcp.attempt(number, To::Server, at), Some(Attempt::GivenUp)));
        }
    }

    #[test]
    fn behind_the_end_nothing_is_sent_and_every_byte_has_its_number() {
        let (mut tcp, number) = tcp();
        let mut sequence = |flags, bytes: &[u8]| {
            let at = tcp.send(number, To::Server, flags, bytes.into())?;
            match tcp.attempt(number, To::Server, at) {
                Some(Attempt::Send { segment, .. }) => Some(segment.sequence),
                _ => None,
            }
        };
        assert_eq!(sequence(TcpFlags::SYN, b""), Some(0));
        assert_eq!(sequence(TcpFlags::ACK, b"abc"), Some(1));
        assert_eq!(sequence(TcpFlags::FIN, b""), Some(4));
        assert_eq!(sequence(TcpFlags::ACK, b"x"), None);
        assert!(tcp.send(number, To::Caller, TcpFlags::ACK, (*b"y").into()).is_some(), "half closed is open");
    }
}
