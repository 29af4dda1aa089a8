//! Which of a worker's descriptors has something to read.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::io::Errno;

use crate::proto::types::PeerId;
use crate::proto::types::RelayId;
use crate::proto::types::StreamId;
use crate::proto::types::limits;

/// What a descriptor is to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Another thread pushed something.
    Wake,
    /// The listener at this place.
    Listener(u16),
    /// The relay socket of this name. The generation tells an event for a socket that was closed in the meantime
    /// from one for its successor.
    Relay(RelayId),
    /// The connection of this name, likewise.
    Stream(StreamId),
    /// The listener of this relayed port of TCP.
    Port(RelayId),
    /// The connection of a peer.
    Peer(PeerId),
    /// The connection of a client that is joined to a peer's.
    Joined(PeerId),
    /// Where what is steered to the worker comes, in one family.
    Steered {
        /// Whether it is IPv6.
        v6: bool,
    },
    /// Where ICMP errors are heard, in one family.
    Returned {
        /// Whether it is IPv6.
        v6: bool,
    },
}

const KIND_SHIFT: u32 = 56;
const INDEX_SHIFT: u32 = 32;
const INDEX_MASK: u64 = (1 << (KIND_SHIFT - INDEX_SHIFT)) - 1;
const WAKE: u64 = 0;
const LISTENER: u64 = 1;
const RELAY: u64 = 2;
const STREAM: u64 = 3;
const PORT: u64 = 4;
const PEER: u64 = 5;
const JOINED: u64 = 6;
const STEERED: u64 = 7;
const RETURNED: u64 = 8;

const _: () = assert!((limits::ALLOCATIONS_MAX as u64) <= INDEX_MASK);
const _: () = assert!((limits::STREAMS_MAX as u64) <= INDEX_MASK);
const _: () = assert!((limits::PEER_CONNECTIONS_MAX as u64) <= INDEX_MASK);

impl Token {
    /// | kind 8 | index 24 | generation 32 |
    const fn pack(self) -> u64 {
        let (kind, index, generation) = match self {
            Self::Wake => (WAKE, 0, 0),
            Self::Listener(index) => (LISTENER, index as u32, 0),
            Self::Relay(relay) => (RELAY, relay.index, relay.generation),
            Self::Stream(stream) => (STREAM, stream.index, stream.generation),
            Self::Port(relay) => (PORT, relay.index, relay.generation),
            Self::Peer(peer) => (PEER, peer.index, peer.generation),
            Self::Joined(peer) => (JOINED, peer.index, peer.generation),
            Self::Steered { v6 } => (STEERED, v6 as u32, 0),
            Self::Returned { v6 } => (RETURNED, v6 as u32, 0),
        };
        kind << KIND_SHIFT | ((index as u64) & INDEX_MASK) << INDEX_SHIFT | generation as u64
    }

    const fn unpack(data: u64) -> Self {
        let index = (data >> INDEX_SHIFT & INDEX_MASK) as u32;
        let generation = data as u32;
        match data >> KIND_SHIFT {
            LISTENER => Self::Listener(index as u16),
            RELAY => Self::Relay(RelayId { index, generation }),
            STREAM => Self::Stream(StreamId { index, generation }),
            PORT => Self::Port(RelayId { index, generation }),
            PEER => Self::Peer(PeerId { index, generation }),
            JOINED => Self::Joined(PeerId { index, generation }),
            STEERED => Self::Steered { v6: index != 0 },
            RETURNED => Self::Returned { v6: index != 0 },
            _ => Self::Wake,
        }
    }
}

/// What a descriptor is watched for. An end and an error are told in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Something to read.
    pub read: bool,
    /// Room to write.
    pub write: bool,
}

impl Interest {
    /// Something to read alone.
    pub const READ: Self = Self { read: true, write: false };

    fn flags(self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, self.read);
        flags.set(epoll::EventFlags::OUT, self.write);
        flags
    }
}

/// Descriptors to watch, level-triggered: what was not read to its end is told again.
#[derive(Debug)]
pub struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// What the kernel says, as when no descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// Watches `source` for something to read, until it is closed.
    ///
    /// # Errors
    /// What the kernel says, as when its memory for watches is used up.
    pub fn add(&self, source: impl AsFd, token: Token) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token.pack());
        Ok(epoll::add(&self.epoll, source, data, epoll::EventFlags::IN)?)
    }

    /// Watches `source`, which is watched already, for `interest` from here on.
    ///
    /// # Errors
    /// What the kernel says, as when `source` was not watched.
    pub fn change(&self, source: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token.pack());
        Ok(epoll::modify(&self.epoll, source, data, interest.flags())?)
    }

    /// Watches `source` no longer. Needed only where another descriptor of the same socket stays open.
    ///
    /// # Errors
    /// What the kernel says, as when `source` was not watched.
    pub fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, source)?)
    }

    /// Waits until something can be read or `timeout` is over; `None` waits for ever. An interruption by a signal
    /// is an empty answer.
    ///
    /// # Errors
    /// What the kernel says; none is possible while the descriptor is ours.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events.list), timeout.as_ref()) {
            Ok(_) => {
                events.part_relays();
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The answers of one wait. Relay sockets, of which there are many, stand apart, so that whoever looks for something else need
/// not look at each of them.
pub struct Events {
    /// All others.
    list: Vec<epoll::Event>,
    relays: Vec<RelayId>,
    /// Those of them that have an error to tell.
    broken: Vec<RelayId>,
}

impl Events {
    /// Room for `count` answers, allocated once but for errors.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let count = count.max(1);
        Self { list: Vec::with_capacity(count), relays: Vec::with_capacity(count), broken: Vec::new() }
    }

    fn clear(&mut self) {
        self.list.clear();
        self.relays.clear();
        self.broken.clear();
    }

    fn part_relays(&mut self) {
        let Self { list, relays, broken } = self;
        list.retain(|event| {
            let Token::Relay(relay) = Token::unpack(event.data.u64()) else { return true };
            relays.push(relay);
            if is_broken(event) {
                broken.push(relay);
            }
            false
        });
    }

    /// The relay sockets that have something.
    #[must_use]
    pub fn relays(&self) -> &[RelayId] {
        &self.relays
    }

    /// Those of them that have an error to tell.
    #[must_use]
    pub fn broken_relays(&self) -> &[RelayId] {
        &self.broken
    }

    /// How many answers are of others.
    #[must_use]
    pub fn others(&self) -> usize {
        self.list.len()
    }

    /// Whether there is no answer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.relays.is_empty()
    }

    /// The answer at `index` of [`Self::others`]; so for all that takes an index.
    #[must_use]
    pub fn token(&self, index: usize) -> Option<Token> {
        self.list.get(index).map(|event| Token::unpack(event.data.u64()))
    }

    /// Whether the descriptor of the answer at `index` has room to write.
    #[must_use]
    pub fn is_writable(&self, index: usize) -> bool {
        self.list.get(index).is_some_and(|event| { event.flags }.contains(epoll::EventFlags::OUT))
    }

    /// Whether the descriptor of the answer at `index` has an error to tell, or is a connection that is over.
    #[must_use]
    pub fn is_error(&self, index: usize) -> bool {
        self.list.get(index).is_some_and(is_broken)
    }
}

fn is_broken(event: &epoll::Event) -> bool {
    { event.flags }.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn tokens_round_trip_at_their_bounds() {
        let last = RelayId { index: limits::ALLOCATIONS_MAX - 1, generation: u32::MAX };
        let first = RelayId { index: 0, generation: 0 };
        for token in [
            Token::Wake,
            Token::Listener(0),
            Token::Listener(u16::MAX),
            Token::Relay(first),
            Token::Relay(last),
            Token::Stream(StreamId { index: 0, generation: u32::MAX }),
            Token::Stream(StreamId { index: limits::STREAMS_MAX - 1, generation: 0 }),
            Token::Port(last),
            Token::Peer(PeerId { index: limits::PEER_CONNECTIONS_MAX - 1, generation: u32::MAX }),
            Token::Joined(PeerId { index: 0, generation: 1 }),
            Token::Steered { v6: false },
            Token::Steered { v6: true },
            Token::Returned { v6: false },
            Token::Returned { v6: true },
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }

    #[test]
    fn what_was_not_read_is_told_again_and_a_closed_socket_is_not() {
        let poll = Poll::new().expect("an epoll");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let token = Token::Stream(StreamId { index: 5, generation: 9 });
        poll.add(&socket, token).expect("watched");
        let mut events = Events::new(4);
        poll.wait(&mut events, Some(Duration::ZERO)).expect("waits");
        assert!(events.is_empty());

        socket.send_to(b"x", socket.local_addr().expect("bound")).expect("sent");
        for _ in 0..2 {
            poll.wait(&mut events, Some(Duration::from_secs(10))).expect("waits");
            assert_eq!((events.others(), events.token(0), events.token(1)), (1, Some(token), None));
        }

        drop(socket);
        poll.wait(&mut events, Some(Duration::ZERO)).expect("waits");
        assert!(events.is_empty());
    }

    #[test]
    fn relay_sockets_stand_apart_and_those_with_an_error_once_more() {
        let poll = Poll::new().expect("an epoll");
        let socket = |token| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            poll.add(&socket, token).expect("watched");
            socket
        };
        let relay = |index| RelayId { index, generation: 9 };
        let (whole, broken) = (socket(Token::Relay(relay(5))), socket(Token::Relay(relay(6))));
        let listener = socket(Token::Listener(3));
        for to in [&whole, &listener] {
            to.send_to(b"x", to.local_addr().expect("bound")).expect("sent");
        }
        let closed = UdpSocket::bind("127.0.0.1:0").expect("a socket").local_addr().expect("bound");
        broken.connect(closed).expect("a peer");
        broken.send(b"x").expect("sent");

        let mut events = Events::new(4);
        for _ in 0..2 {
            poll.wait(&mut events, Some(Duration::from_secs(10))).expect("waits");
            let mut relays = events.relays().to_vec();
            relays.sort_unstable();
            assert_eq!((&relays[..], events.broken_relays()), (&[relay(5), relay(6)][..], &[relay(6)][..]));
            assert_eq!((events.others(), events.token(0)), (1, Some(Token::Listener(3))));
            assert!(!events.is_empty());
        }
        drop((whole, broken, listener));
        poll.wait(&mut events, Some(Duration::ZERO)).expect("waits");
        assert!(events.is_empty() && events.broken_relays().is_empty());
    }
}
