//! The DTLS associations of one worker's clients.

use std::collections::HashMap;
use std::time::Instant;

use crate::net::Place;
use crate::net::Places;
use crate::net::dtls::Association;
use crate::net::dtls::DtlsServer;
use crate::net::dtls::Heard;
use crate::net::dtls::Over;
use crate::net::dtls::Room;
use crate::proto::types::FiveTuple;
use crate::proto::types::Tick;
use crate::proto::types::limits;
use crate::proto::wire::dtls::Hello;
use crate::proto::wire::dtls::TOO_OLD_LEN;
use crate::proto::wire::dtls::VERIFY_REQUEST_LEN;

use super::streams::idle_until;

/// What a ClientHello comes to that no association is of.
pub(super) enum Greeted {
    /// The client shall send it again, with what stands in this datagram.
    Verify([u8; VERIFY_REQUEST_LEN]),
    /// The client speaks an old version alone, which this alert tells it.
    TooOld([u8; TOO_OLD_LEN]),
    /// An association began, in the place of one that the client had.
    Begun(Heard),
    /// There is no place for one, or no common ground.
    Refused,
}

/// The associations of one worker, by five-tuple.
pub(super) struct Associations {
    server: Option<DtlsServer>,
    all: HashMap<FiveTuple, Entry, ahash::RandomState>,
    places: Places,
    room: Room,
    /// Of whom something is being looked at.
    pub(super) at_work: Option<FiveTuple>,
}

struct Entry {
    association: Association,
    /// When it ends unless it has an allocation by then.
    until_ms: u64,
    /// It asked for something that the control task knows of.
    asked: bool,
    _place: Place,
}

impl Associations {
    /// Without one. No `server`, or one that has nothing to show, begins none.
    pub(super) fn new(server: Option<DtlsServer>, hash_seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = hash_seeds;
        let (total, of_one) = (limits::DTLS_ASSOCIATIONS_MAX, limits::DTLS_ASSOCIATIONS_PER_ADDRESS_MAX);
        Self {
            server: server.filter(DtlsServer::is_ready),
            all: HashMap::with_hasher(ahash::RandomState::with_seeds(a, b, c, d)),
            places: Places::new(total, of_one, hash_seeds),
            room: Room::default(),
            at_work: None,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn has(&self, from: &FiveTuple) -> bool {
        self.all.contains_key(from)
    }

    /// Judges a ClientHello; `None` if it is the one that the association of `from` began with.
    pub(super) fn greet(
        &mut self,
        tick: Tick,
        now: Instant,
        from: FiveTuple,
        hello: &Hello<'_>,
        datagram: &[u8],
    ) -> Option<Greeted> {
        if self.all.get(&from).is_some_and(|entry| entry.association.is_of(hello)) {
            return None;
        }
        let Some(server) = &self.server else { return Some(Greeted::Refused) };
        if !hello.speaks_1_2() {
            return Some(Greeted::TooOld(hello.too_old()));
        }
        if !server.knows(tick, &from, hello) {
            return Some(Greeted::Verify(hello.verify_request(&server.cookie(tick, &from, hello))));
        }
        // Only now, with a client that is where it says, is anything kept. What it had before is given up for a new one
        // (§ 4.2.8), and for nothing less.
        let place = match self.all.contains_key(&from) {
            true => None,
            false => match self.places.take(from.client.socket().ip()) {
                Ok(place) => Some(place),
                Err(_) => return Some(Greeted::Refused),
            },
        };
        let Some((association, heard)) = server.accept(now, hello, datagram, &mut self.room) else {
            return Some(Greeted::Refused);
        };
        let until_ms = idle_until(tick);
        if let Some(entry) = self.all.get_mut(&from) {
            (entry.association, entry.until_ms) = (association, until_ms);
        } else if let Some(_place) = place {
            self.all.insert(from, Entry { association, until_ms, asked: false, _place });
        }
        Some(Greeted::Begun(heard))
    }

    /// A datagram of `from`; `None` if it has no association.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        from: &FiveTuple,
        datagram: &[u8],
    ) -> Option<Result<Heard, Over>> {
        self.work_on(from, |association, room| association.hear(now, datagram, room))
    }

    /// Something for the client of `to`; `None` if it has no association whose handshake is done.
    pub(super) fn say(&mut self, to: &FiveTuple, message: &[u8]) -> Option<Result<Heard, Over>> {
        self.all.get(to).filter(|entry| entry.association.is_established())?;
        self.work_on(to, |association, room| association.say(message, room))
    }

    /// Works on the association of `from`, so that [`Self::at_work`] tells whose it was if that panics; `None` if there is
    /// none.
    fn work_on<T>(
        &mut self,
        from: &FiveTuple,
        work: impl FnOnce(&mut Association, &mut Room) -> T,
    ) -> Option<T> {
        let entry = self.all.get_mut(from)?;
        let outer = self.at_work.replace(*from);
        let made = work(&mut entry.association, &mut self.room);
        self.at_work = outer;
        Some(made)
    }

    /// The client of `from` asked for something: it may stay a while. With `told` the control task knows of it.
    pub(super) fn note_request(&mut self, tick: Tick, from: &FiveTuple, told: bool) {
        if let Some(entry) = self.all.get_mut(from) {
            entry.until_ms = idle_until(tick);
            entry.asked |= told;
        }
    }

    /// Ends the association of `from`. Answers what is left to be told to the client, and whether the control task may
    /// know of it; `None` if there is none.
    pub(super) fn end(&mut self, from: &FiveTuple, tell: bool) -> Option<(Heard, bool)> {
        let Entry { association, asked, .. } = self.all.remove(from)?;
        let last = if tell { association.close(&mut self.room) } else { Heard::default() };
        Some((last, asked))
    }

    /// Those that have something to do by now, and what it is.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(FiveTuple, Result<Heard, Over>)> {
        let is_due = |one: &Association| !one.is_established() && one.due() <= now;
        let due = self.all.iter().filter(|(_, entry)| is_due(&entry.association)).map(|(from, _)| *from);
        let due: Vec<_> = due.collect();
        due.into_iter()
            .filter_map(|from| Some((from, self.work_on(&from, |one, room| one.wait(now, room))?)))
            .collect()
    }

    /// Those whose time is over unless `lives` says that they have an allocation, which gives them more.
    pub(super) fn idle(&mut self, tick: Tick, lives: impl Fn(&FiveTuple) -> bool) -> Vec<FiveTuple> {
        let mut over = Vec::new();
        for (from, entry) in &mut self.all {
            if tick.as_millis() < entry.until_ms {
                continue;
            }
            if lives(from) {
                entry.until_ms = idle_until(tick);
            } else {
                over.push(*from);
            }
        }
        over
    }
}
