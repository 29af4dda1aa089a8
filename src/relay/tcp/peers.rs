//! The connections of one worker with peers.

use std::collections::HashMap;
use std::io;
use std::net::TcpStream;
use std::time::Duration;

use crate::net::Channel;
use crate::net::Interest;
use crate::net::Poll;
use crate::net::Token;
use crate::net::peer::connected;
use crate::net::peer::reset_at_end;
use crate::proto::types::ConnectionId;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerAddr;
use crate::proto::types::PeerId;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::types::limits;

use super::outcome::Ended;
use super::outcome::Progress;
use super::pair::Joining;
use super::pair::Pair;
use super::pair::QUIET;
use super::pipe::Next;
use super::pipe::Round;
use super::port::Ports;

/// The ports of one worker and their connections.
///
/// A connection that is there and not joined is watched for nothing but a reset: what its peer sends waits in the
/// kernel, which takes [`limits::PIPE_RECEIVE_BUFFER`] of it.
#[derive(Debug)]
pub(in crate::relay) struct PeerConnections {
    ports: Ports,
    places: Vec<(u32, Option<Box<Connection>>)>,
    free: Vec<u32>,
    names: HashMap<ConnectionId, u32, ahash::RandomState>,
    joined: usize,
    /// Pairs with more to read than their share of a round.
    again: Vec<PeerId>,
    /// Pairs that their bandwidth holds back.
    held_back: Vec<PeerId>,
    /// The one that is being worked on.
    pub(in crate::relay) at_work: Option<PeerId>,
}

#[derive(Debug)]
struct Connection {
    relay: RelayId,
    peer: PeerAddr,
    name: Option<ConnectionId>,
    since_ms: u64,
    /// Asked for since the last restart.
    claimed: bool,
    /// It stands in one of the lists of those to be looked at.
    listed: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// On its way to the peer.
    Connecting(TcpStream),
    /// There, and joined to nobody.
    Waiting(Channel),
    Joined(Box<Pair>),
}

impl PeerConnections {
    /// Without a port.
    pub(in crate::relay) fn new(hash_seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = hash_seeds;
        let hasher = ahash::RandomState::with_seeds(a, b, c, d);
        Self {
            ports: Ports::new(hasher.clone()),
            places: Vec::new(),
            free: Vec::new(),
            names: HashMap::with_hasher(hasher),
            joined: 0,
            again: Vec::new(),
            held_back: Vec::new(),
            at_work: None,
        }
    }

    /// Ports that are open.
    pub(in crate::relay) fn ports(&self) -> usize {
        self.ports.len()
    }

    /// Connections, whatever their state.
    pub(in crate::relay) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Those of them that are joined to a client's.
    pub(in crate::relay) fn joined(&self) -> usize {
        self.joined
    }

    /// Whether the port of `relay` is open here.
    pub(in crate::relay) fn has_port(&self, relay: RelayId) -> bool {
        self.ports.find(relay).is_some()
    }

    /// Opens the port of `relay` on `bind`, and watches it ([`Token::Port`]).
    ///
    /// # Errors
    /// What the kernel says.
    pub(in crate::relay) fn open(
        &mut self,
        poll: &Poll,
        relay: RelayId,
        bind: RelayAddr,
    ) -> io::Result<RelayAddr> {
        self.ports.open(poll, relay, bind)
    }

    /// Closes the port of `relay`, if there is one, and all its connections. Answers whether there was one.
    pub(in crate::relay) fn close(&mut self, relay: RelayId) -> bool {
        let was = self.ports.find(relay).is_some();
        for member in self.ports.close(relay) {
            self.end(member, false);
        }
        was
    }

    /// Takes a connection in that waits at the port of `relay`; `None` if none does.
    ///
    /// # Errors
    /// What the kernel says, or that there are too many; the connection is closed then.
    pub(in crate::relay) fn accept(
        &mut self,
        poll: &Poll,
        tick: Tick,
        relay: RelayId,
    ) -> io::Result<Option<(PeerId, PeerAddr)>> {
        let Some(port) = self.ports.find(relay) else { return Ok(None) };
        let (socket, peer) = match port.listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let id = self.room_for(relay)?;
        let channel = Channel::new(socket);
        poll.add(&channel, Token::Peer(id))?;
        poll.change(&channel, Token::Peer(id), QUIET)?;
        self.put(id, relay, peer, None, State::Waiting(channel));
        if let Some(connection) = self.get_mut(id) {
            connection.since_ms = tick.as_millis();
        }
        Ok(Some((id, peer)))
    }

    /// Begins a connection from the port of `relay`, and watches it ([`Token::Peer`]); [`Self::progress`] tells what
    /// became of it.
    ///
    /// # Errors
    /// What the kernel says, or that there are too many, or no such port.
    pub(in crate::relay) fn connect(
        &mut self,
        poll: &Poll,
        relay: RelayId,
        to: PeerAddr,
        name: Option<ConnectionId>,
    ) -> io::Result<PeerId> {
        let id = self.room_for(relay)?;
        let port = self.ports.find(relay).ok_or(io::ErrorKind::NotFound)?;
        let socket = port.listener.connect(to)?;
        poll.add(&socket, Token::Peer(id))?;
        poll.change(&socket, Token::Peer(id), Interest { read: false, write: true })?;
        self.put(id, relay, to, name, State::Connecting(socket));
        Ok(id)
    }

    /// What has become of a connection that was begun, once the poll told of it.
    pub(in crate::relay) fn progress(&mut self, poll: &Poll, id: PeerId) -> Progress {
        let Some(connection) = self.take(id) else { return Progress::Going };
        let Connection { relay, peer, name, since_ms, claimed, listed, state } = *connection;
        let (state, progress) = match state {
            State::Connecting(socket) => match connected(&socket) {
                Ok(false) => (State::Connecting(socket), Progress::Going),
                Ok(true) => match poll.change(&socket, Token::Peer(id), QUIET) {
                    Ok(()) => (State::Waiting(Channel::new(socket)), Progress::There),
                    Err(_) => (State::Connecting(socket), Progress::Failed),
                },
                Err(_) => (State::Connecting(socket), Progress::Failed),
            },
            other => (other, Progress::Going),
        };
        self.give_back(id, Box::new(Connection { relay, peer, name, since_ms, claimed, listed, state }));
        progress
    }

    /// The connection that has this name.
    pub(in crate::relay) fn named(&self, name: ConnectionId) -> Option<PeerId> {
        let index = *self.names.get(&name)?;
        Some(PeerId { index, generation: self.places.get(index as usize)?.0 })
    }

    /// The name of a connection.
    pub(in crate::relay) fn name_of(&self, id: PeerId) -> Option<ConnectionId> {
        self.get(id)?.name
    }

    /// Gives a connection that came a name. Answers `false` if it is not there, or the name is another's.
    pub(in crate::relay) fn name(&mut self, id: PeerId, name: ConnectionId) -> bool {
        if self.names.contains_key(&name) {
            return self.named(name) == Some(id);
        }
        let Some(connection) = self.get_mut(id).filter(|connection| connection.name.is_none()) else {
            return false;
        };
        connection.name = Some(name);
        connection.claimed = true;
        self.names.insert(name, id.index);
        true
    }

    /// Notes that a connection shall stay. Answers whether it is there.
    pub(in crate::relay) fn claim(&mut self, id: PeerId) -> bool {
        self.get_mut(id).map(|connection| connection.claimed = true).is_some()
    }

    /// The connection that came to the port of `relay` from `peer`, and that nobody has given a name yet.
    pub(in crate::relay) fn arrived(&self, relay: RelayId, peer: PeerAddr) -> Option<PeerId> {
        let members = &self.ports.find(relay)?.members;
        let is_it = |one: &Connection| one.peer == peer && one.name.is_none();
        members.iter().copied().find(|id| self.get(*id).is_some_and(is_it))
    }

    /// Whose port a connection belongs to, and its peer.
    pub(in crate::relay) fn of(&self, id: PeerId) -> Option<(RelayId, PeerAddr)> {
        self.get(id).map(|connection| (connection.relay, connection.peer))
    }

    /// A connection that is there and joined to nobody, to be read and written by whoever knows what it speaks. It is
    /// watched by [`Poll::change`] with [`Token::Peer`].
    pub(in crate::relay) fn channel(&mut self, id: PeerId) -> Option<&mut Channel> {
        match &mut self.get_mut(id)?.state {
            State::Waiting(channel) => Some(channel),
            State::Connecting(_) | State::Joined(_) => None,
        }
    }

    /// Whether a connection is there and joined to nobody.
    pub(in crate::relay) fn is_waiting(&self, id: PeerId) -> bool {
        self.get(id).is_some_and(|connection| matches!(connection.state, State::Waiting(_)))
    }

    /// The client's connection that one is joined to.
    pub(in crate::relay) fn client_of(&self, id: PeerId) -> Option<FiveTuple> {
        match &self.get(id)?.state {
            State::Joined(pair) => Some(pair.from),
            State::Connecting(_) | State::Waiting(_) => None,
        }
    }

    /// Joins a connection that is there to a client's, which is watched as a stream. It is to be looked at once.
    ///
    /// # Errors
    /// What the kernel says, or that it is not there; the client's connection is closed then.
    pub(in crate::relay) fn join(&mut self, poll: &Poll, id: PeerId, client: Joining) -> io::Result<()> {
        let Some(connection) = self.take(id) else { return Err(io::ErrorKind::NotFound.into()) };
        if !matches!(connection.state, State::Waiting(_)) {
            self.give_back(id, connection);
            return Err(io::ErrorKind::NotConnected.into());
        }
        let Connection { relay, peer, name, since_ms, state, .. } = *connection;
        let State::Waiting(channel) = state else { unreachable!("asked above") };
        match Pair::new(poll, id, channel, client) {
            Ok(pair) => {
                let state = State::Joined(Box::new(pair));
                let joined = Connection { relay, peer, name, since_ms, claimed: true, listed: true, state };
                self.give_back(id, Box::new(joined));
                self.joined += 1;
                self.again.push(id);
                Ok(())
            }
            Err(error) => {
                self.forget(id, relay, name);
                Err(error)
            }
        }
    }

    /// One round of a pair. `None` if it is none. What is over or broken is for the caller to end.
    pub(in crate::relay) fn pump(
        &mut self,
        poll: &Poll,
        tick: Tick,
        id: PeerId,
        scratch: &mut [u8],
        may_read: bool,
    ) -> Option<Round> {
        let connection = self.get_mut(id)?;
        let State::Joined(pair) = &mut connection.state else { return None };
        let round = pair.pump(poll, id, scratch, may_read);
        if round.from_client + round.from_peer > 0 || pair.moved_ms == 0 {
            pair.moved_ms = tick.as_millis();
        }
        if let Next::Wait { again, .. } = round.next
            && (again || !may_read)
            && !std::mem::replace(&mut connection.listed, true)
        {
            if may_read { &mut self.again } else { &mut self.held_back }.push(id);
        }
        Some(round)
    }

    /// Takes those out of their list that are to be looked at again.
    pub(in crate::relay) fn take_again(&mut self) -> Vec<PeerId> {
        let again = std::mem::take(&mut self.again);
        self.unlist(&again);
        again
    }

    /// Takes those out of their list that were held back.
    pub(in crate::relay) fn take_held_back(&mut self) -> Vec<PeerId> {
        let held_back = std::mem::take(&mut self.held_back);
        self.unlist(&held_back);
        held_back
    }

    fn unlist(&mut self, listed: &[PeerId]) {
        for id in listed {
            if let Some(connection) = self.get_mut(*id) {
                connection.listed = false;
            }
        }
    }

    /// Whether a pair is to be looked at at once.
    pub(in crate::relay) fn has_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// Whether a pair is held back.
    pub(in crate::relay) fn has_held_back(&self) -> bool {
        !self.held_back.is_empty()
    }

    /// What nobody wants any more: pairs of which one way is over and the other has brought nothing for too long, and
    /// connections that came and that nobody has given a name.
    pub(in crate::relay) fn stale(&self, tick: Tick) -> Vec<PeerId> {
        let is_over = |since_ms: u64, max: Duration| {
            u128::from(tick.as_millis()) >= u128::from(since_ms) + max.as_millis()
        };
        let is_stale = |connection: &Connection| match &connection.state {
            State::Joined(pair) => {
                pair.is_half_closed() && is_over(pair.moved_ms, limits::PIPE_HALF_CLOSED_MAX)
            }
            State::Waiting(_) => {
                connection.name.is_none() && is_over(connection.since_ms, limits::CONNECTION_BIND_DEADLINE)
            }
            State::Connecting(_) => false,
        };
        self.all().filter(|(_, connection)| is_stale(connection)).map(|(id, _)| id).collect()
    }

    /// Ends a connection, and what it is joined to; `broken` with a reset.
    pub(in crate::relay) fn end(&mut self, id: PeerId, broken: bool) -> Option<Ended> {
        let connection = self.take(id)?;
        self.forget(id, connection.relay, connection.name);
        let client = match &connection.state {
            State::Joined(pair) => {
                self.joined -= 1;
                if broken {
                    pair.reset();
                }
                Some(pair.from)
            }
            State::Waiting(channel) => {
                if broken {
                    reset_at_end(channel);
                }
                None
            }
            State::Connecting(_) => None,
        };
        Some(Ended { relay: connection.relay, name: connection.name, client })
    }

    /// After a panic: the connection that was being worked on ends, the pairs are to be looked at once each. Which of all
    /// are still wanted will be told.
    pub(in crate::relay) fn restart(&mut self) -> Option<Ended> {
        let broken = self.at_work.take().and_then(|id| self.end(id, true));
        self.ports.restart();
        self.held_back.clear();
        self.again.clear();
        let mut again = Vec::new();
        for (index, (generation, place)) in (0_u32..).zip(&mut self.places) {
            let Some(connection) = place else { continue };
            connection.claimed = false;
            connection.listed = matches!(connection.state, State::Joined(_));
            if connection.listed {
                again.push(PeerId { index, generation: *generation });
            }
        }
        self.again = again;
        broken
    }

    /// Closes what nobody asked for since the last restart.
    pub(in crate::relay) fn sweep(&mut self) {
        for relay in self.ports.unclaimed() {
            self.close(relay);
        }
        let unclaimed: Vec<_> =
            self.all().filter(|(_, connection)| !connection.claimed).map(|(id, _)| id).collect();
        for id in unclaimed {
            self.end(id, true);
        }
    }

    fn all(&self) -> impl Iterator<Item = (PeerId, &Connection)> {
        (0_u32..).zip(&self.places).filter_map(|(index, (generation, place))| {
            place.as_deref().map(|connection| (PeerId { index, generation: *generation }, connection))
        })
    }

    fn get(&self, id: PeerId) -> Option<&Connection> {
        let (generation, place) = self.places.get(id.index as usize)?;
        place.as_deref().filter(|_| *generation == id.generation)
    }

    fn get_mut(&mut self, id: PeerId) -> Option<&mut Connection> {
        let (generation, place) = self.places.get_mut(id.index as usize)?;
        place.as_deref_mut().filter(|_| *generation == id.generation)
    }

    /// A place for one more connection of `relay`, which stays free until [`Self::put`].
    fn room_for(&mut self, relay: RelayId) -> io::Result<PeerId> {
        let port = self.ports.find(relay).ok_or(io::ErrorKind::NotFound)?;
        if port.members.len() >= limits::CONNECTIONS_PER_ALLOCATION_MAX {
            return Err(io::Error::other("more connections of one port than the limit"));
        }
        if self.free.is_empty() {
            let index = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
            if index >= limits::PEER_CONNECTIONS_MAX {
                return Err(io::Error::other("more connections than the limit"));
            }
            self.places.push((0, None));
            self.free.push(index);
        }
        let index = self.free.last().copied().unwrap_or_default();
        Ok(PeerId { index, generation: self.places[index as usize].0 })
    }

    fn put(&mut self, id: PeerId, relay: RelayId, peer: PeerAddr, name: Option<ConnectionId>, state: State) {
        debug_assert_eq!(self.free.last(), Some(&id.index), "the place that was just found");
        self.free.pop();
        let connection = Connection { relay, peer, name, since_ms: 0, claimed: true, listed: false, state };
        self.places[id.index as usize].1 = Some(Box::new(connection));
        self.ports.add(relay, id);
        if let Some(name) = name {
            self.names.insert(name, id.index);
        }
    }

    fn take(&mut self, id: PeerId) -> Option<Box<Connection>> {
        let (generation, place) = self.places.get_mut(id.index as usize)?;
        if *generation != id.generation {
            return None;
        }
        place.take()
    }

    fn give_back(&mut self, id: PeerId, connection: Box<Connection>) {
        self.places[id.index as usize].1 = Some(connection);
    }

    /// The place of a connection that was taken out is free.
    fn forget(&mut self, id: PeerId, relay: RelayId, name: Option<ConnectionId>) {
        let generation = &mut self.places[id.index as usize].0;
        *generation = generation.wrapping_add(1);
        self.free.push(id.index);
        self.ports.remove(relay, id);
        if let Some(name) = name {
            self.names.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::io::Write as _;
    use std::net::SocketAddr;
    use std::net::TcpListener;

    use crate::net::Events;
    use crate::net::Places;
    use crate::net::Received;
    use crate::proto::types::ClientAddr;
    use crate::proto::types::ServerAddr;
    use crate::proto::types::Transport;
    use crate::proto::types::WorkerId;

    use super::*;

    const RELAY: RelayId = RelayId { index: 7, generation: 3 };
    const TICK: Tick = Tick::from_millis(1_000);
    const WAIT: Duration = Duration::from_secs(5);

    /// What a worker has of it.
    struct Bench {
        poll: Poll,
        peers: PeerConnections,
        bound: SocketAddr,
    }

    impl Bench {
        fn new() -> Self {
            let (poll, mut peers) = (Poll::new().expect("an epoll"), PeerConnections::new([1, 2, 3, 4]));
            let any = RelayAddr::new("127.0.0.1:0".parse().expect("a literal"));
            let bound = peers.open(&poll, RELAY, any).expect("a port").socket();
            Self { poll, peers, bound }
        }

        /// Waits until the poll tells of something.
        fn told(&self) -> Vec<Token> {
            let mut events = Events::new(16);
            self.poll.wait(&mut events, Some(WAIT)).expect("waits");
            (0..events.others()).filter_map(|index| events.token(index)).collect()
        }

        /// A peer that connects.
        fn arrive(&mut self) -> (PeerId, TcpStream) {
            let far = TcpStream::connect(self.bound).expect("connected");
            assert_eq!(self.told(), [Token::Port(RELAY)]);
            let (id, peer) = self.peers.accept(&self.poll, TICK, RELAY).expect("a socket").expect("it waits");
            assert_eq!(peer.socket(), far.local_addr().expect("bound"));
            (id, far)
        }

        /// A client's connection, watched as a stream, and its far end.
        fn client(&self) -> (Joining, TcpStream) {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
            let far = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
            far.set_read_timeout(Some(WAIT)).expect("an option");
            let (near, client) = listener.accept().expect("it waits");
            near.set_nonblocking(true).expect("an option");
            let from = FiveTuple {
                client: ClientAddr::new(client),
                server: ServerAddr::new(near.local_addr().expect("bound")),
                transport: Transport::Tcp,
            };
            let channel = Channel::new(near);
            self.poll.add(&channel, Token::Wake).expect("watched");
            let place = Places::new(9, 0, [1; 4]).take(client.ip()).expect("a place");
            (Joining { channel, from, unread: b"early ".to_vec(), greeting: b"hello ".to_vec(), place }, far)
        }

        fn pump(&mut self, id: PeerId) -> Round {
            let mut scratch = [0; limits::PIPE_BUFFER];
            self.peers.pump(&self.poll, TICK, id, &mut scratch, true).expect("a pair")
        }
    }

    fn name(drawn: u32) -> ConnectionId {
        ConnectionId::new(drawn, WorkerId(2))
    }

    #[test]
    fn who_arrives_is_named_once_and_read_by_whoever_wants_to() {
        let mut bench = Bench::new();
        let (id, mut far) = bench.arrive();
        assert!(bench.peers.accept(&bench.poll, TICK, RELAY).expect("no error").is_none());
        assert_eq!((bench.peers.named(name(5)), bench.peers.name_of(id)), (None, None));
        assert!(bench.peers.name(id, name(5)) && bench.peers.name(id, name(5)));
        assert!(!bench.peers.name(id, name(6)), "it has one");
        let (other, _far) = bench.arrive();
        assert!(!bench.peers.name(other, name(5)), "it is another's");
        assert_eq!(bench.peers.named(name(5)), Some(id));
        assert!(!bench.peers.name(PeerId { generation: id.generation + 1, ..id }, name(7)));

        far.write_all(b"bare").expect("sent");
        let mut buffer = [0; 8];
        let heard = loop {
            match bench.peers.channel(id).expect("it waits").receive(&mut buffer).expect("no error") {
                Received::Bytes(len) => break &buffer[..len],
                Received::Nothing => std::thread::yield_now(),
                Received::End => panic!("it did not end"),
            }
        };
        assert_eq!(heard, b"bare");
    }

    #[test]
    fn a_connection_that_was_begun_is_there_or_fails() {
        let mut bench = Bench::new();
        let peer = TcpListener::bind("127.0.0.1:0").expect("a peer");
        let there = PeerAddr::new(peer.local_addr().expect("bound"));
        let id = bench.peers.connect(&bench.poll, RELAY, there, Some(name(1))).expect("begun");
        assert!(bench.peers.channel(id).is_none(), "not yet");
        assert_eq!(bench.told(), [Token::Peer(id)]);
        assert_eq!(bench.peers.progress(&bench.poll, id), Progress::There);
        assert!(bench.peers.is_waiting(id));
        assert!(bench.peers.connect(&bench.poll, RELAY, there, Some(name(2))).is_err(), "there is one");
        let (accepted, from) = peer.accept().expect("it came");
        assert_eq!(from, bench.bound);

        drop(peer);
        let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        if let Ok(id) = bench.peers.connect(&bench.poll, RELAY, PeerAddr::new(nobody), Some(name(3))) {
            while !bench.told().contains(&Token::Peer(id)) {}
            assert_eq!(bench.peers.progress(&bench.poll, id), Progress::Failed);
            let ended = bench.peers.end(id, false).expect("it was there");
            assert_eq!(ended, Ended { relay: RELAY, name: Some(name(3)), client: None });
        }
        drop(accepted);
        assert_eq!(bench.peers.len(), 1);
        let stranger = RelayId { generation: 9, ..RELAY };
        assert!(bench.peers.connect(&bench.poll, stranger, there, None).is_err(), "no such port");
    }

    // proves rfc6062:5.2-9, rfc6062:5.3-2
    #[test]
    fn what_a_peer_sent_before_waits_and_a_pair_carries_both_ways_to_both_ends() {
        let mut bench = Bench::new();
        let (id, mut peer) = bench.arrive();
        peer.set_read_timeout(Some(WAIT)).expect("an option");
        peer.write_all(b"before").expect("sent");
        let (joining, mut client) = bench.client();
        let from = joining.from;
        bench.peers.join(&bench.poll, id, joining).expect("joined");
        assert_eq!((bench.peers.client_of(id), bench.peers.joined()), (Some(from), 1));
        assert_eq!(bench.peers.take_again(), [id], "it is to be looked at");
        let mut from_peer = 0;
        while from_peer < 6 {
            from_peer += bench.pump(id).from_peer;
        }
        let mut heard = [0; 12];
        client.read_exact(&mut heard).expect("heard");
        assert_eq!(&heard, b"hello before");
        client.write_all(b"after").expect("sent");
        client.shutdown(std::net::Shutdown::Write).expect("half");
        let mut heard = Vec::new();
        while bench.told().contains(&Token::Joined(id)) {
            bench.pump(id);
            if bench
                .peers
                .get(id)
                .is_some_and(|one| matches!(&one.state, State::Joined(pair) if pair.is_half_closed()))
            {
                break;
            }
        }
        peer.read_to_end(&mut heard).expect("to its end");
        assert_eq!(heard, b"early after");
        peer.write_all(b"bye").expect("the other way is open");
        drop(peer);
        while bench.pump(id).next != Next::Over {
            bench.told();
        }
        let ended = bench.peers.end(id, false).expect("a pair");
        assert_eq!(ended, Ended { relay: RELAY, name: None, client: Some(from) });
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).expect("to its end");
        assert_eq!((&heard[..], bench.peers.len(), bench.peers.joined()), (&b"bye"[..], 0, 0));
    }

    #[test]
    fn with_a_port_its_connections_are_closed() {
        let mut bench = Bench::new();
        let (_, mut far) = bench.arrive();
        let (id, _other) = bench.arrive();
        bench.peers.name(id, name(4));
        assert!(bench.peers.close(RELAY) && !bench.peers.close(RELAY));
        assert_eq!((bench.peers.len(), bench.peers.ports(), bench.peers.named(name(4))), (0, 0, None));
        assert!(matches!(far.read(&mut [0; 1]), Ok(0) | Err(_)));
        assert!(TcpStream::connect(bench.bound).is_err(), "nobody listens");
    }

    #[test]
    fn a_name_that_nobody_gives_and_a_half_that_stays_silent_grow_stale() {
        let mut bench = Bench::new();
        let (unnamed, _far) = bench.arrive();
        let (named, _other) = bench.arrive();
        bench.peers.name(named, name(4));
        let after = |span: Duration| Tick::from_millis(TICK.as_millis() + span.as_millis() as u64);
        assert_eq!(bench.peers.stale(after(limits::CONNECTION_BIND_DEADLINE - Duration::from_millis(1))), []);
        assert_eq!(bench.peers.stale(after(limits::CONNECTION_BIND_DEADLINE)), [unnamed]);

        let (joining, client) = bench.client();
        bench.peers.join(&bench.poll, named, joining).expect("joined");
        bench.peers.end(unnamed, false);
        bench.pump(named);
        assert_eq!(bench.peers.stale(after(limits::PIPE_HALF_CLOSED_MAX)), [], "both ways are open");
        client.shutdown(std::net::Shutdown::Write).expect("half");
        while bench.peers.stale(after(limits::PIPE_HALF_CLOSED_MAX)).is_empty() {
            bench.told();
            bench.pump(named);
        }
        assert_eq!(bench.peers.stale(after(limits::PIPE_HALF_CLOSED_MAX)), [named]);
    }

    #[test]
    fn after_a_panic_what_nobody_claims_is_closed_and_the_one_at_work_at_once() {
        let mut bench = Bench::new();
        let (broken, _a) = bench.arrive();
        let (claimed, _b) = bench.arrive();
        let (forgotten, _c) = bench.arrive();
        bench.peers.name(broken, name(1));
        bench.peers.name(claimed, name(2));
        bench.peers.name(forgotten, name(3));
        bench.peers.at_work = Some(broken);
        assert_eq!(bench.peers.restart().and_then(|ended| ended.name), Some(name(1)));
        let bound = RelayAddr::new(bench.bound);
        assert_eq!(bench.peers.open(&bench.poll, RELAY, bound).expect("taken up"), bound);
        assert!(bench.peers.claim(claimed) && !bench.peers.claim(broken));
        bench.peers.sweep();
        assert_eq!((bench.peers.len(), bench.peers.named(name(2))), (1, Some(claimed)));
        bench.peers.restart();
        bench.peers.sweep();
        assert_eq!((bench.peers.len(), bench.peers.ports()), (0, 0));
    }
}
