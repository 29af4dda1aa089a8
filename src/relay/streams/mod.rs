//! The connections of one worker's clients.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::io;

use crate::net::Channel;
use crate::net::Interest;
use crate::net::Place;
use crate::net::Poll;
use crate::net::Token;
use crate::proto::media::Outbox;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::StreamId;
use crate::proto::types::Tick;
use crate::proto::types::limits;
use crate::proto::wire::ms_turn::framing::FRAME_HEADER_LEN;
use crate::proto::wire::ms_turn::framing::StreamFrame;
use crate::proto::wire::stream::Next;
use crate::proto::wire::stream::next_frame_in;

use super::tcp::Joining;

pub(in crate::relay) use crate::proto::media::Weight;

/// A connection on its way to a worker: accepted, its protocol known, its handshake done, its first message there.
#[derive(Debug)]
pub struct Arriving {
    /// The connection itself.
    pub channel: Channel,
    /// Whose it is.
    pub from: FiveTuple,
    /// What was read of it: the first message whole, and perhaps more.
    pub unread: Vec<u8>,
    /// Its place among all connections, given back when it ends.
    pub place: Place,
    /// What it speaks, for as long as it lasts.
    pub dialect: Dialect,
}

/// One connection.
#[derive(Debug)]
pub(in crate::relay) struct Stream {
    pub(in crate::relay) from: FiveTuple,
    pub(in crate::relay) channel: Channel,
    /// What was read and is not done with: a part of a frame, or frames that wait for room in the request ring.
    pub(in crate::relay) inbox: Vec<u8>,
    outbox: Outbox,
    interest: Interest,
    /// Something was put into the outbox, and it stands in the list of those to be flushed.
    dirty: bool,
    /// It stands in the list of those to be read on.
    pub(in crate::relay) listed: bool,
    /// It is not read, because its next request found no room.
    pub(in crate::relay) parked: bool,
    /// It asked to be joined to a peer's connection: what follows may be no frame, so nothing is judged until there is an
    /// answer.
    pub(in crate::relay) held: bool,
    /// It asked for something that the control task knows of.
    pub(in crate::relay) asked: bool,
    /// When it ends unless it has an allocation by then.
    pub(in crate::relay) until_ms: u64,
    place: Place,
    /// How its messages are framed, both ways.
    pub(in crate::relay) dialect: Dialect,
}

/// The connections of one worker, by [`StreamId::index`] and by five-tuple.
#[derive(Debug)]
pub(in crate::relay) struct Streams {
    places: Vec<(u32, Option<Box<Stream>>)>,
    free: Vec<u32>,
    by_five_tuple: HashMap<FiveTuple, u32, ahash::RandomState>,
    dirty: Vec<StreamId>,
    /// Those with more to read than their share of a round.
    pub(in crate::relay) again: Vec<StreamId>,
    pub(in crate::relay) parked: Vec<StreamId>,
    /// Five-tuples that the control task must hear the end of.
    pub(in crate::relay) gone: VecDeque<FiveTuple>,
    pub(in crate::relay) swept_ms: u64,
    /// The one whose bytes are being looked at.
    pub(in crate::relay) at_work: Option<StreamId>,
}

impl Streams {
    /// Without a connection.
    pub(in crate::relay) fn new(hash_seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = hash_seeds;
        Self {
            places: Vec::new(),
            free: Vec::new(),
            by_five_tuple: HashMap::with_hasher(ahash::RandomState::with_seeds(a, b, c, d)),
            dirty: Vec::new(),
            again: Vec::new(),
            parked: Vec::new(),
            gone: VecDeque::new(),
            swept_ms: 0,
            at_work: None,
        }
    }

    /// How many there are.
    pub(in crate::relay) fn len(&self) -> usize {
        self.by_five_tuple.len()
    }

    /// Takes a connection in and watches it.
    ///
    /// # Errors
    /// What the kernel says when it cannot be watched; `AddrInUse` if there is one of the same five-tuple, which the
    /// kernel would not allow either. The connection is closed then.
    pub(in crate::relay) fn take_in(
        &mut self,
        poll: &Poll,
        tick: Tick,
        arriving: Arriving,
    ) -> io::Result<StreamId> {
        let Arriving { channel, from, unread, place, dialect } = arriving;
        if self.by_five_tuple.contains_key(&from) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
                if index >= limits::STREAMS_MAX {
                    return Err(io::Error::other("more connections than the limit"));
                }
                self.places.push((0, None));
                index
            }
        };
        let generation = self.places[index as usize].0;
        let id = StreamId { index, generation };
        if let Err(error) = poll.add(&channel, Token::Stream(id)) {
            self.free.push(index);
            return Err(error);
        }
        let stream = Stream {
            from,
            channel,
            inbox: unread,
            outbox: Outbox::default(),
            interest: Interest::READ,
            dirty: false,
            listed: false,
            parked: false,
            held: false,
            asked: false,
            until_ms: idle_until(tick),
            place,
            dialect,
        };
        self.places[index as usize].1 = Some(Box::new(stream));
        self.by_five_tuple.insert(from, index);
        Ok(id)
    }

    /// The connection `id`, if it is still there.
    pub(in crate::relay) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        let (generation, stream) = self.places.get_mut(id.index as usize)?;
        stream.as_deref_mut().filter(|_| *generation == id.generation)
    }

    /// The connection of `five_tuple`.
    pub(in crate::relay) fn find(&self, five_tuple: &FiveTuple) -> Option<StreamId> {
        let index = *self.by_five_tuple.get(five_tuple)?;
        let generation = self.places.get(index as usize)?.0;
        Some(StreamId { index, generation })
    }

    /// The names of all.
    pub(in crate::relay) fn ids(&self) -> impl Iterator<Item = StreamId> {
        (0..).zip(&self.places).filter_map(|(index, (generation, stream))| {
            stream.as_ref().map(|_| StreamId { index, generation: *generation })
        })
    }

    /// Takes the connection `id` out; dropping it closes it.
    pub(in crate::relay) fn remove(&mut self, id: StreamId) -> Option<Box<Stream>> {
        let (generation, place) = self.places.get_mut(id.index as usize)?;
        if *generation != id.generation {
            return None;
        }
        let stream = place.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(id.index);
        self.by_five_tuple.remove(&stream.from);
        Some(stream)
    }

    /// Takes the connection `id` out to be joined to a peer's: what is unread of it goes along, and what it is owed.
    pub(in crate::relay) fn take_out(&mut self, id: StreamId) -> Option<Joining> {
        let stream = *self.remove(id)?;
        Some(Joining {
            greeting: stream.outbox.rest().to_vec(),
            channel: stream.channel,
            from: stream.from,
            unread: stream.inbox,
            place: stream.place,
        })
    }

    /// What follows on a connection that was held is frames after all: it is worked off as if it had found no room.
    pub(in crate::relay) fn let_go(&mut self, id: StreamId) {
        let Some(stream) = self.get_mut(id) else { return };
        if std::mem::replace(&mut stream.held, false) {
            stream.parked = true;
            self.parked.push(id);
        }
    }

    /// Puts a frame into the outbox of `id`. Answers whether there was room.
    pub(in crate::relay) fn push(&mut self, id: StreamId, frame: &[u8], weight: Weight) -> bool {
        let Some(stream) = self.get_mut(id) else { return false };
        if !stream.outbox.push(frame, weight, stream.channel.unsent()) {
            return false;
        }
        if !std::mem::replace(&mut stream.dirty, true) {
            self.dirty.push(id);
        }
        true
    }

    /// Whether the connection of `to` has room for media of `len` bytes.
    pub(in crate::relay) fn has_room(&self, to: &FiveTuple, len: usize) -> bool {
        let index = self.by_five_tuple.get(to).map(|index| *index as usize);
        let stream = index.and_then(|index| self.places.get(index)?.1.as_deref());
        stream.is_some_and(|stream| stream.outbox.has_room(len, stream.channel.unsent()))
    }

    /// Puts an answer into the outbox of `id`, framed as that connection has it. Answers whether there was room.
    pub(in crate::relay) fn answer(&mut self, id: StreamId, message: &[u8]) -> bool {
        match self.get_mut(id).map(|stream| stream.dialect) {
            None => false,
            Some(Dialect::Rfc8656) => self.push(id, message, Weight::Answer),
            Some(Dialect::MsTurn) => {
                let mut frame = [0; FRAME_HEADER_LEN + limits::RESPONSE_MAX];
                let Some(room) = frame.get_mut(FRAME_HEADER_LEN..FRAME_HEADER_LEN + message.len()) else {
                    return false;
                };
                room.copy_from_slice(message);
                // An answer that fits is short enough.
                let header = StreamFrame::Control.header(message.len() as u16);
                frame[..FRAME_HEADER_LEN].copy_from_slice(&header);
                self.push(id, &frame[..FRAME_HEADER_LEN + message.len()], Weight::Answer)
            }
        }
    }

    /// After a panic: the connection that was being worked on is taken out, the others are to be looked at once each.
    /// Answers whose it was.
    pub(in crate::relay) fn restart(&mut self) -> Option<FiveTuple> {
        let broken = self.at_work.take().and_then(|id| self.remove(id));
        self.dirty.clear();
        self.again.clear();
        self.parked = self.ids().collect();
        self.dirty.extend(&self.parked);
        for (_, stream) in &mut self.places {
            if let Some(stream) = stream {
                stream.dirty = true;
                stream.listed = false;
                stream.parked = true;
                stream.held = false;
            }
        }
        broken.map(|stream| stream.from)
    }

    /// One of those into whose outbox something was put.
    pub(in crate::relay) fn next_dirty(&mut self) -> Option<StreamId> {
        self.dirty.pop()
    }
}

impl Stream {
    /// Sends what waits, as much as the socket takes, and has the rest waited for.
    ///
    /// # Errors
    /// What the socket says: the connection is over.
    pub(in crate::relay) fn flush(&mut self, poll: &Poll, id: StreamId) -> io::Result<()> {
        self.dirty = false;
        let dialect = self.dialect;
        let sent = self.channel.send(self.outbox.rest(), |frames| first_len(dialect, frames))?;
        self.outbox.take(sent);
        self.watch(poll, id)
    }

    /// The last words: what waits goes, as far as it can go without waiting, and then the end.
    pub(in crate::relay) fn leave(&mut self) {
        // Where the connection is broken there is nobody to tell.
        let dialect = self.dialect;
        let _ = self.channel.send(self.outbox.rest(), |frames| first_len(dialect, frames));
        self.channel.say_goodbye();
    }

    /// Watches for what can be made use of: nothing is read while it is parked.
    ///
    /// # Errors
    /// What the kernel says.
    pub(in crate::relay) fn watch(&mut self, poll: &Poll, id: StreamId) -> io::Result<()> {
        let write = self.outbox.waiting() > 0 || self.channel.unsent() > 0;
        let interest = Interest { read: !self.parked && !self.held, write };
        if self.interest != interest {
            poll.change(&self.channel, Token::Stream(id), interest)?;
            self.interest = interest;
        }
        Ok(())
    }

    /// Gives memory back that a quiet connection does not need.
    pub(in crate::relay) fn shrink(&mut self) {
        self.outbox.shrink();
        if self.inbox.is_empty() {
            self.inbox = Vec::new();
        }
    }
}

/// How long the first frame of an outbox is; all of it if it is half sent, which it never is under TLS.
fn first_len(dialect: Dialect, frames: &[u8]) -> usize {
    match next_frame_in(dialect, frames) {
        Next::Frame { len } => len,
        Next::More { .. } | Next::Broken => frames.len(),
    }
}

/// The end of a connection that brings nothing of use from now on.
pub(in crate::relay) fn idle_until(tick: Tick) -> u64 {
    tick.as_millis() + u64::try_from(limits::STREAM_IDLE_MAX.as_millis()).unwrap_or(u64::MAX)
}
