//! What a request must be answered, and what it changes: RFC 8489 § 9.2.4, then RFC 8656 §§ 7.2, 10.2 and 12.2.

use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;

use super::*;
use crate::proto::turn::model::client::Wants;
use crate::proto::turn::model::ops::Odd;
use crate::proto::turn::model::setup::NONCE_LIFETIME_MS;
use crate::proto::turn::model::setup::SESSION_GRACE_S;

/// Whether a request may have changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto::turn::model) enum Effect {
    Nothing,
    Something,
}

/// What a method makes of a request.
pub(super) enum Outcome {
    Code(u16),
    /// A success, and the allocation whose ticket it may carry.
    Done(Expected, Option<usize>),
    Later,
}

/// A nonce as it was presented.
enum Presented {
    Foreign,
    Expired,
    Fresh(u64),
}

impl Reference {
    /// A request that a client sent, and what was said to it.
    pub(in crate::proto::turn::model) fn message(
        &mut self,
        now: Now,
        asked: &Asked,
        said: &mut Said,
    ) -> Result<Effect, String> {
        let now_ms = now.tick().as_millis();
        let at = self.at(asked.client);
        if at.is_some_and(|at| self.allocations[at].transit.is_some()) {
            // A worker that does not have the allocation yet takes its client for a stranger, where that needs no state.
            let unproved =
                asked.who.is_none() || matches!(self.judge_nonce(now_ms, asked), Presented::Foreign);
            if unproved && !said.replies.is_empty() {
                return self.refused(asked, said, &[401, 438]);
            }
            self.coverage.dropped += 1;
            return said.nothing_left().map(|()| Effect::Nothing);
        }
        let Some(who) = &asked.who else { return self.refused(asked, said, &[401]) };
        let session = at.or_else(|| self.by_ticket(&asked.wants)).map(|at| &self.allocations[at].who);
        let right = match session.filter(|session| session.name == who.name) {
            Some(session) => session.password == who.password,
            None => self.is_good(now, who),
        };
        let issued = match (self.judge_nonce(now_ms, asked), right) {
            (Presented::Foreign, false) => return self.refused(asked, said, &[401, 438]),
            (_, false) => return self.refused(asked, said, &[401]),
            (Presented::Foreign | Presented::Expired, true) => return self.refused(asked, said, &[438]),
            (Presented::Fresh(issued), true) => issued,
        };
        if let Some(effect) = self.repeated(now_ms, asked, said)? {
            return Ok(effect);
        }
        if let Some(effect) = self.replayed(now_ms, asked, who, issued, said)? {
            return Ok(effect);
        }
        let outcome = match asked.odd {
            Odd::Unknown => Outcome::Code(420),
            Odd::Bad => Outcome::Code(400),
            Odd::No => self.carry_out(now, asked, who, said)?,
        };
        let asker = Asker::new(asked, who);
        match outcome {
            Outcome::Later => {}
            Outcome::Code(code) => {
                self.answer(now_ms, said, &asker, &Expected::error(code))?;
            }
            Outcome::Done(expected, ticket_of) => {
                let brings = matches!(asked.wants, Wants::Refresh { ticket: Some(_), .. });
                if self.at(asked.client).is_some_and(|at| self.allocations[at].next == Some(asked.client))
                    && !brings
                {
                    self.arrived(now_ms, asked.client, said)?;
                }
                let chosen = self.answer(now_ms, said, &asker, &expected)?;
                if let Some(at) = ticket_of {
                    self.allocations[at].ticket = chosen.ticket;
                }
            }
        }
        if let Some(at) = self.at(asked.client).filter(|at| self.allocations[*at].who.name == who.name) {
            self.allocations[at].accept(issued, asked.transaction);
        }
        said.nothing_left().map(|()| Effect::Something)
    }

    fn carry_out(&mut self, now: Now, asked: &Asked, who: &Who, said: &mut Said) -> Result<Outcome, String> {
        let now_ms = now.tick().as_millis();
        Ok(match &asked.wants {
            Wants::Allocate { .. } => return self.allocate(now, asked, who, said),
            Wants::Refresh { lifetime, family, ticket } => {
                return self.refresh(now_ms, asked, who, (*lifetime, *family, ticket.as_deref()), said);
            }
            Wants::Permit { peers } => match self.permit(now_ms, asked.client, who, peers) {
                Ok(()) => Outcome::Done(Expected::default(), None),
                Err(code) => Outcome::Code(code),
            },
            Wants::Bind { channel, peer } => match self.bind(now_ms, asked.client, who, *channel, *peer) {
                Ok(()) => Outcome::Done(Expected::default(), None),
                Err(code) => Outcome::Code(code),
            },
        })
    }

    /// An answer to a request that did not pass authentication: one of `codes`, and nothing changes.
    fn refused(&mut self, asked: &Asked, said: &mut Said, codes: &[u16]) -> Result<Effect, String> {
        let bytes = said.take_reply(self.setup.workers, asked.client, asked.transaction)?;
        let answer = decode_response(&bytes).map_err(|why| format!("an answer is no message: {why}"))?;
        let code = answer.error_code.unwrap_or(0);
        if !codes.contains(&code) || answer.nonce.is_none() || answer.realm.is_none() {
            return Err(format!("{asked:?} gets {code} and must get {codes:?} with a nonce"));
        }
        self.coverage.codes.push((asked.method(), code));
        said.nothing_left().map(|()| Effect::Nothing)
    }

    fn judge_nonce(&self, now_ms: u64, asked: &Asked) -> Presented {
        let Some(nonce) = &asked.nonce else { return Presented::Foreign };
        match nonce.issued {
            Some(issued) if nonce.client == asked.client && nonce.anonymous == self.anonymous() => {
                // A nonce tells the low 24 bits of its time; one that is older says another time.
                if now_ms.saturating_sub(issued) + 1_000 >= 1 << 24 {
                    Presented::Foreign
                } else if issued + NONCE_LIFETIME_MS <= now_ms {
                    Presented::Expired
                } else {
                    Presented::Fresh(issued)
                }
            }
            _ => Presented::Foreign,
        }
    }

    /// Where static users are the sole credentials, nonces announce username anonymity; others are not ours then.
    pub(in crate::proto::turn::model) fn anonymous(&self) -> bool {
        GOOD[self.now_good.credentials].2.is_empty()
    }

    /// RFC 8489 § 6.3.1: for 40 s the same bytes.
    fn repeated(&mut self, now_ms: u64, asked: &Asked, said: &mut Said) -> Result<Option<Effect>, String> {
        self.answers.retain(|kept| kept.until > now_ms);
        let Some(kept) = self.kept(asked.client, asked.method(), asked.transaction) else { return Ok(None) };
        let bytes = said.take_reply(self.setup.workers, asked.client, asked.transaction)?;
        if bytes != kept.bytes {
            return Err(format!("{asked:?} comes again and gets another answer"));
        }
        self.coverage.repeated += 1;
        said.nothing_left().map(|()| Some(Effect::Nothing))
    }

    /// Decision 8.
    fn replayed(
        &mut self,
        now_ms: u64,
        asked: &Asked,
        who: &Who,
        issued: u64,
        said: &mut Said,
    ) -> Result<Option<Effect>, String> {
        let Some(at) = self.at(asked.client) else {
            if self.dead[asked.client] >= Some(issued) {
                return self.refused(asked, said, &[438]).map(Some);
            }
            return Ok(None);
        };
        let allocation = &mut self.allocations[at];
        if allocation.who.name != who.name {
            return Ok(None);
        }
        if issued < allocation.nonce || Some(issued) <= allocation.dead_through {
            return self.refused(asked, said, &[438]).map(Some);
        }
        if issued > allocation.nonce {
            return Ok(None);
        }
        if allocation.accepted.contains(&asked.transaction) {
            if allocation.owes(asked) {
                return Ok(None);
            }
            self.coverage.dropped += 1;
            return said.nothing_left().map(|()| Some(Effect::Nothing));
        }
        if allocation.accepted.len() >= 256 {
            allocation.dead_through = Some(now_ms.max(allocation.nonce));
            allocation.accepted.clear();
            return self.refused(asked, said, &[438]).map(|_| Some(Effect::Something));
        }
        Ok(None)
    }

    /// RFC 8656 § 7.2.
    fn allocate(&mut self, now: Now, asked: &Asked, who: &Who, said: &mut Said) -> Result<Outcome, String> {
        let now_ms = now.tick().as_millis();
        if let Some(at) = self.at(asked.client) {
            let the_same = matches!(&self.allocations[at].phase, Phase::Opening(it) if it.asker.is(asked));
            return Ok(if the_same { Outcome::Later } else { Outcome::Code(437) });
        }
        let wish = match self.may_allocate(now_ms, asked, who) {
            Ok(wish) => wish,
            Err(code) => return Ok(Outcome::Code(code)),
        };
        let Wants::Allocate { lifetime, family, additional, token, ticket, .. } = &asked.wants else {
            return Err("no Allocate".to_owned());
        };
        let mut refused = [None; 2];
        let mut legs = Vec::new();
        let worker = asked.client % self.setup.workers;
        if let Some(token) = token {
            let kept = |it: &Reserved| it.token == Some(*token) && it.until > now_ms;
            let Some(at) = self.reserved.iter().position(kept) else { return Ok(Outcome::Code(508)) };
            let Reserved { over_v6, port, .. } = self.reserved.remove(at);
            legs.push(self.take_open(now_ms, worker, over_v6, Wish::Any, 1, said)?);
            if legs[0].port != port {
                return Err(format!("the token stands for port {port}, and {} is opened", legs[0].port));
            }
        } else {
            let families = match (family, additional) {
                (_, Some(_)) => &[false, true][..],
                (Some(2), None) => &[true],
                _ => &[false],
            };
            for over_v6 in families.iter().copied() {
                let code = if over_v6 && !self.setup.both_families {
                    440
                } else if !self.some_port_fits(now_ms, over_v6, wish) {
                    508
                } else {
                    legs.push(self.take_open(now_ms, worker, over_v6, wish, 1, said)?);
                    continue;
                };
                if additional.is_none() {
                    return Ok(Outcome::Code(code));
                }
                refused[usize::from(over_v6)] = Some(code);
            }
        }
        if legs.is_empty() {
            return Ok(Outcome::Code(508));
        }
        let [least, most, ..] = self.times();
        let reserved = (wish == Wish::Pair && token.is_none()).then(|| self.reserve(now_ms, &legs[0]));
        self.allocations.push(Allocation {
            who: who.clone(),
            home: asked.client,
            next: None,
            worker,
            session_ends: self.session_ends(now, who),
            phase: Phase::Opening(Opening {
                asker: Asker::new(asked, who),
                lifetime_s: lifetime.unwrap_or(least).max(least).min(most),
                wish: token.is_none().then_some(wish),
                reserved,
                unwanted: None,
                refused,
                mobile: ticket.is_some(),
            }),
            legs,
            permissions: Vec::new(),
            channels: Vec::new(),
            nonce: 0,
            dead_through: None,
            accepted: Vec::new(),
            ticket: None,
            transit: None,
        });
        Ok(Outcome::Later)
    }

    fn may_allocate(&self, now_ms: u64, asked: &Asked, who: &Who) -> Result<Wish, u16> {
        let Wants::Allocate { transport, family, additional, even, token, ticket, .. } = &asked.wants else {
            return Err(0);
        };
        match transport {
            None => return Err(400),
            Some(17) => {}
            // RFC 6062 § 5.1: every client here comes over UDP.
            Some(6) => return Err(400),
            Some(_) => return Err(442),
        }
        let with_token = token.is_some() && (even.is_some() || family.is_some() || additional.is_some());
        let both = family.is_some() && additional.is_some();
        let bad_additional = additional.is_some_and(|family| family != 2 || *even == Some(true));
        if with_token || both || bad_additional {
            return Err(400);
        }
        if self.draining {
            return Err(self.leaving(asked.client));
        }
        match ticket {
            Some(ticket) if !ticket.is_empty() => return Err(400),
            Some(_) if !self.now_good.mobility => return Err(405),
            _ => {}
        }
        let (of_user, of_address) = self.now_good.quotas;
        let mine = self.allocations.iter().filter(|it| it.who.quota() == who.quota()).count();
        if of_user != 0 && mine >= of_user as usize
            || of_address != 0 && self.of_address(asked.client) >= of_address as usize
        {
            return Err(486);
        }
        let total = self.setup.allocations_total as usize;
        if total != 0 && self.allocations.len() >= total {
            return Err(508);
        }
        if family.is_some_and(|family| family != 1 && family != 2) {
            return Err(440);
        }
        let _ = now_ms;
        Ok(match even {
            None => Wish::Any,
            Some(false) => Wish::Even,
            Some(true) => Wish::Pair,
        })
    }

    /// What a draining server answers.
    pub(super) fn leaving(&self, client: usize) -> u16 {
        if self.setup.alternates && client < 4 { 300 } else { 508 }
    }

    /// Allocations that count for the address of a client: those that are awaited there too.
    pub(in crate::proto::turn::model) fn of_address(&self, client: usize) -> usize {
        let counts = |it: &&Allocation| {
            it.home / 2 == client / 2 || it.next.is_some_and(|next| next / 2 == client / 2)
        };
        self.allocations.iter().filter(counts).count()
    }

    /// When the stored key suffices no more.
    fn session_ends(&self, now: Now, who: &Who) -> u64 {
        let Some((expires, _)) = who.user.checked_sub(STATIC.len()).map(|at| LIMITED[at]) else {
            return NEVER;
        };
        let left_s = UNIX.saturating_add_signed(expires).saturating_sub(now.unix);
        now.tick().as_millis() + (left_s + SESSION_GRACE_S) * 1_000
    }

    /// A port was drawn: judges it.
    pub(super) fn take_open(
        &self,
        now_ms: u64,
        worker: usize,
        over_v6: bool,
        wish: Wish,
        tries: u32,
        said: &mut Said,
    ) -> Result<Leg, String> {
        let is_it = |open: &(_, _, RelayAddr)| {
            open.0 == id(worker) && open.2.ip() == ip(RELAYS[usize::from(over_v6)])
        };
        let Some(at) = said.opens.iter().position(is_it) else {
            return Err(format!("worker {worker} is not told to open a socket: {said:?}"));
        };
        let (_, relay, bind) = said.opens.remove(at);
        if !self.fits(now_ms, over_v6, bind.port(), wish) {
            return Err(format!("{bind} is not free, or no {wish:?} port"));
        }
        let state = LegState::Opening { tries, deadline: now_ms + 2_000 };
        Ok(Leg { relay, over_v6, port: bind.port(), state, granted: false, copies: Vec::new(), due: 0 })
    }

    /// Keeps the port beside that of `leg`.
    pub(super) fn reserve(&mut self, now_ms: u64, leg: &Leg) -> (bool, u16) {
        let (over_v6, port) = (leg.over_v6, leg.port + 1);
        self.reserved.retain(|it| it.until > now_ms);
        self.reserved.push(Reserved { over_v6, port, token: None, until: now_ms + 40_000 });
        (over_v6, port)
    }

    /// RFC 8656 § 10.2.
    fn permit(&mut self, now_ms: u64, client: usize, who: &Who, peers: &[PeerAddr]) -> Result<(), u16> {
        let at = self.live_of(now_ms, client, who)?;
        if peers.is_empty() {
            return Err(400);
        }
        let allocation = &self.allocations[at];
        if peers.iter().any(|peer| allocation.leg_to(now_ms, peer.ip().is_ipv6()).is_none()) {
            return Err(443);
        }
        if peers.iter().any(|peer| !self.may_permit(peer.ip())) {
            return Err(403);
        }
        let peers: Vec<IpAddr> = peers.iter().map(PeerAddr::ip).collect();
        self.install(now_ms, at, &peers)
    }

    fn install(&mut self, now_ms: u64, at: usize, peers: &[IpAddr]) -> Result<(), u16> {
        let until = now_ms + u64::from(self.times()[2]) * 1_000;
        let allocation = &mut self.allocations[at];
        let mut permissions = allocation.permissions.clone();
        permissions.retain(|(_, until)| *until > now_ms);
        for peer in peers {
            match permissions.iter_mut().find(|(ip, _)| ip == peer) {
                // What was granted is not taken back by a change of the configuration.
                Some((_, end)) => *end = until.max(*end),
                None => permissions.push((*peer, until)),
            }
        }
        if permissions.len() > self.setup.permissions {
            return Err(508);
        }
        allocation.permissions = permissions;
        Ok(())
    }

    /// RFC 8656 § 12.2.
    fn bind(
        &mut self,
        now_ms: u64,
        client: usize,
        who: &Who,
        number: Option<u16>,
        peer: Option<PeerAddr>,
    ) -> Result<(), u16> {
        let at = self.live_of(now_ms, client, who)?;
        let number = number.filter(|number| (0x4000..=0x4FFF).contains(number));
        let (Some(number), Some(peer)) = (number, peer) else { return Err(400) };
        let allocation = &self.allocations[at];
        if allocation.leg_to(now_ms, peer.ip().is_ipv6()).is_none() {
            return Err(443);
        }
        let tied = allocation.channels.iter().filter(|it| it.tied > now_ms);
        let the_same = tied.clone().any(|it| it.number == number && it.peer == peer);
        if !the_same && tied.clone().any(|it| it.number == number || it.peer == peer) {
            return Err(400);
        }
        if !the_same && tied.count() >= self.setup.channels {
            return Err(508);
        }
        if !self.may_reach(peer.socket()) {
            return Err(403);
        }
        self.install(now_ms, at, &[peer.ip()])?;
        let until = now_ms + u64::from(self.times()[3]) * 1_000;
        let channels = &mut self.allocations[at].channels;
        let before = channels.iter().find(|it| it.number == number && it.peer == peer && it.until > now_ms);
        let until = before.map_or(until, |before| until.max(before.until));
        channels.retain(|it| it.tied > now_ms && it.number != number);
        channels.push(Channel { number, peer, until, tied: until + 300_000 });
        Ok(())
    }
}
