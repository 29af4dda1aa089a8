//! The tier that needs no privilege: a UDP socket for each allocation.

use std::hint::black_box;
use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;

use crate::net::Batch;
use crate::net::Poll;
use crate::net::RelaySocket;
use crate::net::Token;
use crate::net::packet::Arrived;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::limits;
use crate::relay::runs::Runs;

use super::ports::Ports;
use super::raws::Pace;

/// Runs that one socket may bring at a time: about as much work as a share of single datagrams.
const RUNS_BUDGET: usize = 2;

/// The relay sockets of one worker, by [`RelayId::index`].
#[derive(Debug, Default)]
pub(in crate::relay) struct Sockets {
    places: Vec<Option<Open>>,
    open: usize,
    /// None of them may bring runs.
    single: bool,
    ports: Ports,
    /// The number of the worker's round.
    round: u32,
}

#[derive(Debug)]
struct Open {
    generation: u32,
    socket: RelaySocket,
    lost: u32,
    runs: Runs,
    share: Share,
    pace: Pace,
    /// Another worker reads it: here it only sends.
    lent: bool,
    /// Asked for since the last restart.
    claimed: bool,
}

/// How many datagrams, or runs, a socket is asked for. A call that asks for more than wait pays for one look in vain; of a voice,
/// which brings one at a time, that would be a good part of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    ask: u16,
    /// In how many rounds in a row it brought the one that it was asked for.
    singles: u8,
    /// The round in which it was asked last.
    round: u32,
}

/// Rounds in a row with a single datagram after which more may wait behind the next. A voice pauses between two.
const SINGLES: u8 = 4;

impl Default for Share {
    /// Whatever there is.
    fn default() -> Self {
        Self { ask: u16::MAX, singles: 0, round: 0 }
    }
}

impl Share {
    /// Of `asked` datagrams `came` did, in this round.
    fn note(&mut self, round: u32, asked: u16, came: u16) {
        let in_a_row = round.wrapping_sub(self.round) <= 1;
        self.singles = match (asked, came) {
            (1, 1) if in_a_row => self.singles.saturating_add(1),
            (1, 1) => 1,
            _ => 0,
        };
        self.round = round;
        self.ask = match () {
            () if came < asked => came.max(1),
            () if asked > 1 || self.singles >= SINGLES => asked.saturating_mul(2),
            () => 1,
        };
    }
}

/// A relay socket between two workers.
#[derive(Debug)]
pub(in crate::relay) struct Moving {
    socket: RelaySocket,
    lost: u32,
    runs: Runs,
}

impl Sockets {
    /// Opens a socket for `relay` on `bind`, and watches it. Answers the address it is bound to. One that a restart left
    /// there is taken up as it is.
    pub(in crate::relay) fn open(
        &mut self,
        poll: &Poll,
        relay: RelayId,
        bind: RelayAddr,
    ) -> io::Result<RelayAddr> {
        if relay.index >= limits::ALLOCATIONS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "relay index beyond the limit"));
        }
        let index = relay.index as usize;
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        let place = &mut self.places[index];
        if let Some(open) = place {
            if open.generation != relay.generation || open.lent || open.socket.bound() != bind {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the relay's place is taken"));
            }
            open.claimed = true;
            return Ok(bind);
        }
        let socket = RelaySocket::open(bind)?;
        poll.add(&socket, Token::Relay(relay))?;
        let bound = socket.bound();
        let mut runs = Runs::default();
        runs.forbid(&socket, self.single);
        self.ports.give(bound.socket(), relay.index);
        *place = Some(Open {
            generation: relay.generation,
            socket,
            lost: 0,
            runs,
            share: Share::default(),
            pace: Pace::default(),
            lent: false,
            claimed: true,
        });
        self.open += 1;
        Ok(bound)
    }

    /// Gives the socket of `relay` away. With `keep` it can still send from here, if a descriptor can be had; answers
    /// whether it can.
    pub(in crate::relay) fn detach(
        &mut self,
        poll: &Poll,
        relay: RelayId,
        keep: bool,
    ) -> io::Result<(Moving, bool)> {
        let place = self.places.get_mut(relay.index as usize).ok_or(io::ErrorKind::NotFound)?;
        let open = place.as_mut().filter(|open| open.generation == relay.generation && !open.lent);
        let open = open.ok_or(io::ErrorKind::NotFound)?;
        poll.remove(&open.socket)?;
        open.lent = true;
        if keep && let Ok(socket) = open.socket.try_clone() {
            return Ok((Moving { socket, lost: open.lost, runs: open.runs }, true));
        }
        let Open { socket, lost, runs, .. } = place.take().ok_or(io::ErrorKind::NotFound)?;
        self.ports.take(socket.bound().socket(), relay.index);
        self.open -= 1;
        Ok((Moving { socket, lost, runs }, false))
    }

    /// Takes over what another worker gave away, and watches it. What was kept of it here goes.
    pub(in crate::relay) fn attach(
        &mut self,
        poll: &Poll,
        relay: RelayId,
        moving: Moving,
    ) -> io::Result<RelayAddr> {
        if relay.index >= limits::ALLOCATIONS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "relay index beyond the limit"));
        }
        self.close(relay);
        let index = relay.index as usize;
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        let place = &mut self.places[index];
        if place.is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the relay's place is taken"));
        }
        let Moving { socket, lost, mut runs } = moving;
        poll.add(&socket, Token::Relay(relay))?;
        let bound = socket.bound();
        runs.forbid(&socket, self.single);
        self.ports.give(bound.socket(), relay.index);
        *place = Some(Open {
            generation: relay.generation,
            socket,
            lost,
            runs,
            share: Share::default(),
            pace: Pace::default(),
            lent: false,
            claimed: true,
        });
        self.open += 1;
        Ok(bound)
    }

    /// The loop that worked with them is gone: which of them are still wanted will be told.
    pub(in crate::relay) fn restart(&mut self) {
        self.open = self.places.iter().flatten().count();
        self.places.iter_mut().flatten().for_each(|open| open.claimed = false);
    }

    /// What nobody asked for since the last restart, and that is not `known` either.
    pub(in crate::relay) fn unclaimed(&self, known: impl Fn(RelayId) -> bool) -> Vec<RelayId> {
        let open = (0_u32..).zip(&self.places).filter_map(|(index, place)| Some((index, place.as_ref()?)));
        open.filter(|(_, open)| !open.claimed)
            .map(|(index, open)| RelayId { index, generation: open.generation })
            .filter(|relay| !known(*relay))
            .collect()
    }

    /// The address of `relay`, if it is open.
    pub(in crate::relay) fn bound(&self, relay: RelayId) -> Option<RelayAddr> {
        self.find(relay).map(RelaySocket::bound)
    }

    /// Has what stands of `relay` here come from memory, without waiting for it.
    pub(in crate::relay) fn fetch(&self, relay: RelayId) {
        black_box(
            self.places.get(relay.index as usize).map(|place| place.as_ref().map(|open| open.generation)),
        );
    }

    /// One more datagram leaves `relay` in the batch of this number: the address that it is bound to, and whether it sends in
    /// runs. Errors about it are heard.
    pub(in crate::relay) fn note_departure(
        &mut self,
        relay: RelayId,
        batch: u32,
    ) -> Option<(RelayAddr, bool)> {
        let open = self.places.get_mut(relay.index as usize)?.as_mut()?;
        (open.generation == relay.generation).then(|| {
            open.socket.make_ready_to_send();
            (open.socket.bound(), open.pace.note(batch))
        })
    }

    /// The name of what is open at `index` and was not given away.
    pub(in crate::relay) fn name(&self, index: u32) -> Option<RelayId> {
        let open = self.places.get(index as usize)?.as_ref()?;
        (!open.lent).then_some(RelayId { index, generation: open.generation })
    }

    /// The name of what is open on `at` and was not given away.
    pub(in crate::relay) fn at(&self, at: SocketAddr) -> Option<RelayId> {
        self.name(self.ports.owner(at)?)
    }

    /// Closes the socket of `relay`, if it is open; its port is free afterwards.
    pub(in crate::relay) fn close(&mut self, relay: RelayId) {
        let Some(place) = self.places.get_mut(relay.index as usize) else { return };
        if let Some(open) = place.take_if(|open| open.generation == relay.generation) {
            self.ports.take(open.socket.bound().socket(), relay.index);
            self.open -= 1;
        }
    }

    /// How many are open.
    pub(in crate::relay) fn len(&self) -> usize {
        self.open
    }

    /// Something may leave the port of `relay` from here on that [`Self::note_departure`] is not told of.
    pub(in crate::relay) fn make_ready_to_send(&mut self, relay: RelayId) {
        let open = self.places.get_mut(relay.index as usize).and_then(Option::as_mut);
        if let Some(open) = open.filter(|open| open.generation == relay.generation) {
            open.socket.make_ready_to_send();
        }
    }

    /// The socket of `relay`, if it is open.
    pub(in crate::relay) fn find(&self, relay: RelayId) -> Option<&RelaySocket> {
        let open = self.places.get(relay.index as usize)?.as_ref()?;
        (open.generation == relay.generation).then_some(&open.socket)
    }

    /// Adds to `batch` what waits at the socket of `relay`, at most `max` datagrams, and answers with it how many the
    /// socket has lost since it was last asked. `AGAIN` also if it is not open.
    pub(in crate::relay) fn receive(
        &mut self,
        relay: RelayId,
        batch: &mut Batch,
        max: usize,
    ) -> Result<(Arrived, u32), Errno> {
        let open = self.places.get_mut(relay.index as usize).and_then(Option::as_mut);
        let Some(open) = open.filter(|open| open.generation == relay.generation && !open.lent) else {
            return Err(Errno::AGAIN);
        };
        open.socket.make_ready_to_receive();
        let arrived = if open.runs.is_on() {
            let asked = RUNS_BUDGET.min(open.share.ask.into());
            let arrived = batch.receive_runs(&open.socket, asked)?;
            open.share.note(self.round, asked as u16, if arrived.is_full { asked as u16 } else { 1 });
            arrived
        } else {
            let asked = max.min(batch.room()).min(open.share.ask.into());
            let arrived = batch.receive(&open.socket, asked)?;
            open.share.note(self.round, asked as u16, arrived.places.len() as u16);
            arrived
        };
        open.runs.judge(&open.socket, &arrived);
        let lost = arrived.lost.unwrap_or(open.lost);
        let more = lost.wrapping_sub(open.lost);
        open.lost = lost;
        Ok((arrived, more))
    }

    /// Each socket that has something is told of anew.
    pub(in crate::relay) fn next_round(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    /// Whether all of them bring their datagrams one by one, always.
    pub(in crate::relay) fn set_single(&mut self, single: bool) {
        self.single = single;
        for open in self.places.iter_mut().flatten() {
            open.runs.forbid(&open.socket, single);
        }
    }
}

#[cfg(test)]
impl Sockets {
    /// Whether the socket of `relay` brings runs.
    pub(in crate::relay) fn brings_runs(&self, relay: RelayId) -> bool {
        self.places[relay.index as usize].as_ref().is_some_and(|open| open.runs.is_on())
    }
}

#[cfg(test)]
mod tests {
    use crate::net::Departing;
    use crate::net::Heading;
    use crate::net::Sender;

    use super::*;

    const ANY: &str = "127.0.0.1:0";

    fn relay(index: u32, generation: u32) -> RelayId {
        RelayId { index, generation }
    }

    fn any() -> RelayAddr {
        RelayAddr::new(ANY.parse().expect("a literal"))
    }

    #[test]
    fn a_socket_that_brings_one_at_a_time_is_asked_for_one_and_a_busy_one_soon_for_all() {
        let (mut share, mut number) = (Share::default(), u32::MAX - 7);
        let mut round = |waiting: u16| {
            let asked = share.ask.min(32);
            share.note(number, asked, waiting.min(asked));
            number = number.wrapping_add(1);
            asked
        };
        assert_eq!([1; 12].map(&mut round), [32, 1, 1, 1, 1, 2, 1, 1, 1, 1, 2, 1]);
        assert_eq!([99; 10].map(&mut round), [1, 1, 1, 2, 4, 8, 16, 32, 32, 32]);
        assert_eq!([5, 5, 0, 0].map(&mut round), [32, 5, 10, 1]);
    }

    #[test]
    fn a_busy_socket_is_asked_for_one_as_long_as_there_is_room_for_no_more_and_then_for_all() {
        let mut share = Share::default();
        let mut round = |number, room: u16| {
            let asked = share.ask.min(room);
            share.note(number, asked, asked);
            asked
        };
        assert!((1..1_000).all(|number| round(number, 1) == 1));
        assert_eq!([1_000, 1_001, 1_002].map(|number| round(number, 32)), [2, 4, 8]);
    }

    #[test]
    fn a_socket_that_pauses_after_each_datagram_is_never_looked_at_in_vain() {
        let mut share = Share::default();
        share.note(0, 32, 1);
        for round in 1..100 {
            assert_eq!(share.ask, 1);
            share.note(2 * round, 1, 1);
        }
        // It has more than one at a time from here on.
        let mut ask = |round| {
            let asked = share.ask;
            share.note(round, asked, asked);
            asked
        };
        assert_eq!([199, 200, 201, 202, 203].map(&mut ask), [1, 1, 1, 2, 4]);
    }

    #[test]
    fn a_socket_is_found_by_its_generation_only_and_its_port_is_free_after_close() {
        let (poll, mut sockets) = (Poll::new().expect("an epoll"), Sockets::default());
        let bound = sockets.open(&poll, relay(3, 1), any()).expect("opened");
        assert_eq!(sockets.find(relay(3, 1)).map(RelaySocket::bound), Some(bound));
        assert!(sockets.find(relay(3, 2)).is_none());
        assert!(sockets.find(relay(2, 1)).is_none());
        assert!(sockets.find(relay(999, 1)).is_none());

        sockets.close(relay(3, 2));
        sockets.close(relay(999, 1));
        assert_eq!(sockets.len(), 1);
        let taken = sockets.open(&poll, relay(4, 1), bound).expect_err("the port is taken");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);

        sockets.close(relay(3, 1));
        assert_eq!(sockets.len(), 0);
        sockets.open(&poll, relay(3, 2), bound).expect("the port is free");
    }

    #[test]
    fn a_place_that_is_taken_and_one_beyond_the_limit_are_refused() {
        let (poll, mut sockets) = (Poll::new().expect("an epoll"), Sockets::default());
        sockets.open(&poll, relay(0, 1), any()).expect("opened");
        let error = sockets.open(&poll, relay(0, 2), any()).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        let error = sockets.open(&poll, relay(limits::ALLOCATIONS_MAX, 0), any()).expect_err("beyond");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(sockets.len(), 1);
    }

    #[test]
    fn a_socket_moves_with_what_waits_in_it_and_the_one_kept_only_sends() {
        let (old_poll, mut old) = (Poll::new().expect("an epoll"), Sockets::default());
        let (new_poll, mut new) = (Poll::new().expect("an epoll"), Sockets::default());
        let bound = old.open(&old_poll, relay(3, 1), any()).expect("opened");
        let peer = std::net::UdpSocket::bind(ANY).expect("a socket");
        peer.send_to(b"early", bound.socket()).expect("sent");

        let (moving, kept) = old.detach(&old_poll, relay(3, 1), true).expect("given away");
        assert!(kept);
        assert!(old.detach(&old_poll, relay(3, 1), true).is_err(), "it is not here to be given");
        assert!(old.find(relay(3, 1)).is_some());
        assert_eq!(old.receive(relay(3, 1), &mut Batch::new(1), 1), Err(Errno::AGAIN), "a late event");
        assert_eq!(new.attach(&new_poll, relay(3, 1), moving).expect("taken over"), bound);

        let mut events = crate::net::Events::new(4);
        old_poll.wait(&mut events, Some(std::time::Duration::ZERO)).expect("waits");
        assert_eq!(events.relays(), [], "only one of the two is woken");
        new_poll.wait(&mut events, Some(std::time::Duration::ZERO)).expect("waits");
        assert_eq!(events.relays(), [relay(3, 1)]);
        let mut batch = Batch::new(1);
        assert_eq!(new.receive(relay(3, 1), &mut batch, 1).expect("it waited").0.places, 0..1);

        new.close(relay(3, 1));
        let taken = new.open(&new_poll, relay(4, 1), bound).expect_err("the other still has the port");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        old.close(relay(3, 1));
        new.open(&new_poll, relay(4, 1), bound).expect("the port is free");
    }

    #[test]
    fn a_socket_is_told_what_it_needs_before_the_first_datagram_in_and_the_first_out() {
        let (poll, mut sockets) = (Poll::new().expect("an epoll"), Sockets::default());
        let bound = sockets.open(&poll, relay(3, 1), any()).expect("opened");
        let peer = std::net::UdpSocket::bind(ANY).expect("a socket");
        peer.set_ttl(77).expect("a hop limit");
        peer.send_to(b"early", bound.socket()).expect("sent");
        let mut batch = Batch::new(1);
        sockets.receive(relay(3, 1), &mut batch, 1).expect("it waits");
        assert_eq!(batch.meta(0).header.hop_limit, Some(77));

        let gone =
            std::net::UdpSocket::bind(ANY).and_then(|socket| socket.local_addr()).expect("a free port");
        assert!(sockets.note_departure(relay(3, 2), 1).is_none(), "another generation");
        // By any socket that sends from this port, as a raw one does.
        let other = sockets.find(relay(3, 1)).expect("open").try_clone().expect("a descriptor");
        sockets.note_departure(relay(3, 1), 1).expect("open");
        let heading = Heading::to(gone);
        let departing = [Departing::new(b"x", &heading)];
        Sender::new(1).send(&other, departing.into_iter(), |_, error| panic!("{error}"));
        let told = sockets.find(relay(3, 1)).expect("open").receive_icmp().expect("it came back");
        assert_eq!(told.expect("by ICMP").0.socket(), gone);
    }

    #[test]
    fn a_socket_that_comes_home_takes_the_place_of_the_one_kept() {
        let (poll, mut sockets) = (Poll::new().expect("an epoll"), Sockets::default());
        let bound = sockets.open(&poll, relay(3, 1), any()).expect("opened");
        let (moving, _) = sockets.detach(&poll, relay(3, 1), true).expect("given away");
        assert_eq!(sockets.attach(&poll, relay(3, 1), moving).expect("taken over"), bound);
        assert_eq!(sockets.len(), 1);
        assert!(sockets.detach(&poll, relay(3, 2), false).is_err(), "another generation");
        drop(sockets.detach(&poll, relay(3, 1), false).expect("given away"));
        assert_eq!(sockets.len(), 0);
        sockets.open(&poll, relay(4, 1), bound).expect("the port is free");
    }

    #[test]
    fn an_event_for_a_socket_that_was_closed_brings_nothing() {
        let (poll, mut sockets) = (Poll::new().expect("an epoll"), Sockets::default());
        sockets.open(&poll, relay(0, 2), any()).expect("opened");
        let mut batch = Batch::new(1);
        assert_eq!(sockets.receive(relay(0, 1), &mut batch, 1), Err(Errno::AGAIN));
        assert_eq!(sockets.receive(relay(7, 1), &mut batch, 1), Err(Errno::AGAIN));
    }
}
