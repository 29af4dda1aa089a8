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

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;
    use std::panic::catch_unwind;
    use std::sync::Arc;

    use dimpl::Dtls;
    use dimpl::DtlsCertificate;
    use dimpl::Output;

    use crate::net::Certificate;
    use crate::net::Certificates;
    use crate::proto::types::ClientAddr;
    use crate::proto::types::ServerAddr;
    use crate::proto::types::Transport;

    use super::*;

    const TICK: Tick = Tick::from_millis(0);

    fn from(port: u16) -> FiveTuple {
        let end = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let (client, server) = (ClientAddr::new(end(port)), ServerAddr::new(end(443)));
        FiveTuple { client, server, transport: Transport::Dtls }
    }

    fn outgoing(client: &mut Dtls) -> Vec<u8> {
        let mut room = vec![0; 1 << 15];
        loop {
            match client.poll_output(&mut room) {
                Output::Packet(packet) => return packet.to_vec(),
                Output::Timeout(_) => panic!("it has nothing to say"),
                _ => {}
            }
        }
    }

    /// Associations with those of clients on these ports, in the middle of their handshakes.
    fn begun(now: Instant, ports: &[u16]) -> Associations {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a name");
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let shown = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).expect("sound");
        let server = DtlsServer::new(Arc::new(Certificates::new(vec![shown])), [7; 32]).expect("sound");
        let mut all = Associations::new(Some(server), [1; 4]);
        for port in ports {
            let own = DtlsCertificate {
                certificate: made.cert.der().to_vec(),
                private_key: made.signing_key.serialize_der(),
            };
            let mut client = Dtls::new_12(Arc::default(), own, now);
            client.set_active(true);
            client.handle_timeout(now).expect("it begins");
            let first = outgoing(&mut client);
            let hello = Hello::read(&first).expect("a hello");
            let Some(Greeted::Verify(verify)) = all.greet(TICK, now, from(*port), &hello, &first) else {
                panic!("it is asked for a cookie")
            };
            client.handle_packet(&verify).expect("understood");
            let second = outgoing(&mut client);
            let hello = Hello::read(&second).expect("a hello");
            let greeted = all.greet(TICK, now, from(*port), &hello, &second);
            assert!(matches!(greeted, Some(Greeted::Begun(_))));
        }
        all
    }

    #[test]
    fn whoever_was_worked_on_when_it_panicked_is_known_and_nobody_else() {
        let now = Instant::now();
        let mut all = begun(now, &[1, 2]);
        for outer in [None, Some(from(2))] {
            all.at_work = outer;
            assert_eq!(all.work_on(&from(1), |_, _| 7), Some(7));
            assert_eq!(all.at_work, outer, "back to what was at work before");
            let fallen =
                catch_unwind(AssertUnwindSafe(|| all.work_on(&from(1), |_, _| panic!("on purpose"))));
            assert!(fallen.is_err());
            assert_eq!(all.at_work, Some(from(1)));
        }
        assert_eq!(all.work_on(&from(3), |_, _| 7), None);
    }

    #[test]
    fn a_handshake_that_is_not_answered_says_it_again_and_ends() {
        let now = Instant::now();
        let mut all = begun(now, &[1, 2]);
        assert_eq!(all.due(now).len(), 0);
        let again = all.due(now + limits::DTLS_HANDSHAKE_MAX / 2);
        assert_eq!(again.len(), 2);
        assert!(again.iter().all(|(_, heard)| heard.as_ref().is_ok_and(|heard| !heard.datagrams.is_empty())));
        let over = all.due(now + limits::DTLS_HANDSHAKE_MAX * 2);
        assert!(over.len() == 2 && over.iter().all(|(_, heard)| *heard == Err(Over)));
    }
}
