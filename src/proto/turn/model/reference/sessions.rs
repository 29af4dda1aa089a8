//! Requests about an allocation that is there: RFC 8656 § 8.2, and moves, RFC 8016 § 3.2.

use super::requests::Outcome;
use super::*;
use crate::proto::turn::model::client::Wants;

impl Reference {
    /// The live allocation that a request speaks of.
    pub(super) fn live_of(&self, now_ms: u64, client: usize, who: &Who) -> Result<usize, u16> {
        let at = self.at(client).ok_or(437_u16)?;
        let allocation = &self.allocations[at];
        if allocation.who.name != who.name {
            return Err(441);
        }
        if allocation.session_ends <= now_ms {
            return Err(401);
        }
        if allocation.is_live(now_ms) { Ok(at) } else { Err(437) }
    }

    /// The live allocation whose last ticket this is.
    pub(in crate::proto::turn::model) fn by_ticket(&self, wants: &Wants) -> Option<usize> {
        let Wants::Refresh { ticket: Some(ticket), .. } = wants else { return None };
        let is_its = |it: &Allocation| it.ticket.as_ref() == Some(ticket) && matches!(it.phase, Phase::Live);
        self.allocations.iter().position(is_its).filter(|_| self.now_good.mobility)
    }

    pub(super) fn refresh(
        &mut self,
        now_ms: u64,
        asked: &Asked,
        who: &Who,
        wants: (Option<u32>, Option<u8>, Option<&[u8]>),
        said: &mut Said,
    ) -> Result<Outcome, String> {
        let (lifetime, family, ticket) = wants;
        if ticket.is_some() {
            return self.refresh_with_ticket(now_ms, asked, who, wants, said);
        }
        if lifetime == Some(0) {
            let Some(at) = self.at(asked.client) else { return Ok(Outcome::Code(437)) };
            return self.release(now_ms, asked, who, family, at, said);
        }
        Ok(match self.live_of(now_ms, asked.client, who) {
            Ok(at) => match self.extend(now_ms, lifetime, family, at) {
                Ok(lifetime_s) => {
                    Outcome::Done(Expected { lifetime_s: Some(lifetime_s), ..Expected::default() }, None)
                }
                Err(code) => Outcome::Code(code),
            },
            Err(code) => Outcome::Code(code),
        })
    }

    fn extend(&mut self, now_ms: u64, asked: Option<u32>, family: Option<u8>, at: usize) -> Result<u32, u16> {
        let [least, most, ..] = self.times();
        let lifetime_s = asked.unwrap_or(least).max(least).min(most);
        let legs = &mut self.allocations[at].legs;
        let meant =
            |leg: &&mut Leg| leg.is_live(now_ms) && family.is_none_or(|it| it == 1 + u8::from(leg.over_v6));
        let mut meant = legs.iter_mut().filter(meant).peekable();
        if family.is_some() && meant.peek().is_none() {
            return Err(443);
        }
        meant.for_each(|leg| leg.state = LegState::Open { until: now_ms + u64::from(lifetime_s) * 1_000 });
        Ok(lifetime_s)
    }

    /// LIFETIME 0.
    fn release(
        &mut self,
        now_ms: u64,
        asked: &Asked,
        who: &Who,
        family: Option<u8>,
        at: usize,
        said: &mut Said,
    ) -> Result<Outcome, String> {
        let allocation = &mut self.allocations[at];
        if allocation.who.name != who.name {
            return Ok(Outcome::Code(441));
        }
        if allocation.is_awaited_by(asked) {
            return Ok(Outcome::Later);
        }
        let is_of = |leg: &Leg| family.is_none_or(|family| family == 1 + u8::from(leg.over_v6));
        if !allocation.legs.iter().any(is_of) {
            return Ok(Outcome::Code(443));
        }
        let asker = Asker::new(asked, who);
        let all = allocation.legs.iter().all(is_of);
        match &mut allocation.phase {
            Phase::Opening(opening) if opening.unwanted.is_none() && all => {
                opening.unwanted = Some((Reason::Released, Some(asker)));
            }
            Phase::Opening(_) | Phase::Draining { .. } => return Ok(Outcome::Code(437)),
            Phase::Live if family.is_none() => self.end(at, Some(asker), said)?,
            Phase::Live => {
                let meant = |leg: &Leg| is_of(leg) && leg.is_live(now_ms);
                let Some(leg) = allocation.legs.iter().position(meant) else { return Ok(Outcome::Code(443)) };
                self.end_leg(at, leg, Some(asker), said)?;
            }
        }
        Ok(Outcome::Later)
    }

    fn refresh_with_ticket(
        &mut self,
        now_ms: u64,
        asked: &Asked,
        who: &Who,
        wants: (Option<u32>, Option<u8>, Option<&[u8]>),
        said: &mut Said,
    ) -> Result<Outcome, String> {
        let (lifetime, family, ticket) = wants;
        if !self.now_good.mobility {
            return Ok(Outcome::Code(405));
        }
        // What the server never wrote, an empty one too.
        if !self.tickets.iter().any(|written| Some(&written[..]) == ticket) {
            return Ok(Outcome::Code(400));
        }
        let Some(at) = self.by_ticket(&asked.wants) else { return Ok(Outcome::Code(437)) };
        let allocation = &self.allocations[at];
        if allocation.who.name != who.name {
            return Ok(Outcome::Code(441));
        }
        if allocation.session_ends <= now_ms {
            return Ok(Outcome::Code(401));
        }
        if !allocation.is_live(now_ms) {
            return Ok(Outcome::Code(437));
        }
        let there = self.at(asked.client);
        if there.is_some_and(|there| there != at) {
            return Ok(Outcome::Code(437));
        }
        if lifetime == Some(0) {
            return self.release(now_ms, asked, who, family, at, said);
        }
        let moves = there.is_none();
        let most = self.now_good.quotas.1 as usize;
        if moves
            && allocation.home / 2 != asked.client / 2
            && most != 0
            && self.of_address(asked.client) >= most
        {
            return Ok(Outcome::Code(486));
        }
        let lifetime_s = match self.extend(now_ms, lifetime, family, at) {
            Ok(lifetime_s) => lifetime_s,
            Err(code) => return Ok(Outcome::Code(code)),
        };
        if moves && self.moves(now_ms, asked, who, lifetime_s, at, said)? {
            return Ok(Outcome::Later);
        }
        let expected = Expected { lifetime_s: Some(lifetime_s), ticket: true, ..Expected::default() };
        Ok(Outcome::Done(expected, Some(at)))
    }

    /// Awaits a client where it asks from. Answers whether its sockets must change workers first.
    fn moves(
        &mut self,
        now_ms: u64,
        asked: &Asked,
        who: &Who,
        lifetime_s: u32,
        at: usize,
        said: &mut Said,
    ) -> Result<bool, String> {
        self.coverage.moved += 1;
        let allocation = &mut self.allocations[at];
        if let Some(awaited) = allocation.next.replace(asked.client) {
            self.dead[awaited] = Some(allocation.next_nonce().max(now_ms));
        }
        let (giver, taker) = (allocation.worker, asked.client % self.setup.workers);
        if giver == taker {
            return Ok(false);
        }
        self.coverage.carried += 1;
        (allocation.worker, allocation.ticket) = (taker, None);
        let mut outstanding = 0;
        for leg in allocation.legs.iter_mut().filter(|leg| leg.is_open()) {
            let keep = leg.copies.is_empty();
            leg.copies.retain(|copy| *copy != taker);
            leg.copies.push(giver);
            outstanding += 1;
            let detach = (id(giver), leg.relay, keep);
            match said.detaches.iter().position(|it| *it == detach) {
                Some(place) => said.detaches.remove(place),
                None => return Err(format!("{detach:?} is missing in {said:?}")),
            };
        }
        let asker = Asker::new(asked, who);
        allocation.transit =
            Some(Transit { asker, lifetime_s, giver, outstanding, lost: false, arrived: false });
        Ok(true)
    }

    /// A client was heard where it was awaited.
    pub(in crate::proto::turn::model) fn arrived(
        &mut self,
        now_ms: u64,
        client: usize,
        said: &mut Said,
    ) -> Result<(), String> {
        let Some(at) = self.at(client) else { return Ok(()) };
        let allocation = &mut self.allocations[at];
        if !matches!(allocation.phase, Phase::Live) {
            return Ok(());
        }
        if let Some(transit) = &mut allocation.transit {
            transit.arrived |= transit.asker.client == client;
            return Ok(());
        }
        if allocation.next != Some(client) {
            return Ok(());
        }
        for leg in allocation.legs.iter_mut().filter(|leg| leg.is_open()) {
            for copy in std::mem::take(&mut leg.copies) {
                said.take_close(copy, leg.relay)?;
                leg.due += 1;
            }
        }
        allocation.next = None;
        let old = std::mem::replace(&mut allocation.home, client);
        self.dead[old] = Some(allocation.next_nonce().max(now_ms));
        Ok(())
    }

    /// One of two relayed addresses ends, or the last one and all with it.
    pub(super) fn end_leg(
        &mut self,
        at: usize,
        leg: usize,
        asker: Option<Asker>,
        said: &mut Said,
    ) -> Result<(), String> {
        let allocation = &mut self.allocations[at];
        if !allocation.legs.iter().enumerate().any(|(other, it)| other != leg && it.is_open()) {
            return self.end(at, asker, said);
        }
        let over_v6 = allocation.legs[leg].over_v6;
        allocation.legs[leg].close(allocation.worker, asker, said)?;
        allocation.permissions.retain(|(ip, _)| ip.is_ipv6() != over_v6);
        allocation.channels.retain(|channel| channel.peer.ip().is_ipv6() != over_v6);
        Ok(())
    }

    /// A live allocation ends.
    pub(super) fn end(&mut self, at: usize, asker: Option<Asker>, said: &mut Said) -> Result<(), String> {
        let allocation = &mut self.allocations[at];
        allocation.transit = None;
        for leg in allocation.legs.iter_mut().filter(|leg| leg.is_open()) {
            leg.close(allocation.worker, None, said)?;
        }
        allocation.phase = Phase::Draining { asker };
        Ok(())
    }

    /// Every nonce that the five-tuples of an allocation were given is dead with it.
    pub(super) fn bury(&mut self, now_ms: u64, at: usize) -> Allocation {
        let gone = self.allocations.remove(at);
        for client in [Some(gone.home), gone.next].into_iter().flatten() {
            self.dead[client] = Some(gone.next_nonce().max(now_ms));
        }
        gone
    }
}

impl Leg {
    /// Every worker that has its socket is told to close it.
    pub(super) fn close(
        &mut self,
        worker: usize,
        asker: Option<Asker>,
        said: &mut Said,
    ) -> Result<(), String> {
        for at in std::mem::take(&mut self.copies).into_iter().chain([worker]) {
            said.take_close(at, self.relay)?;
            self.due += 1;
        }
        self.state = LegState::Closing { quarantine: false, asker };
        Ok(())
    }
}

impl Allocation {
    /// A request was carried out under a nonce.
    pub(super) fn accept(&mut self, issued: u64, transaction: u32) {
        if issued > self.nonce {
            self.nonce = issued;
            self.accepted.clear();
        }
        if issued < self.nonce || self.accepted.contains(&transaction) {
            return;
        }
        if self.accepted.len() >= 256 {
            self.dead_through = self.dead_through.max(Some(self.nonce));
            return self.accepted.clear();
        }
        self.accepted.push(transaction);
    }

    /// Whether a request waits for its answer.
    pub(super) fn owes(&self, asked: &Asked) -> bool {
        matches!(&self.phase, Phase::Opening(opening) if opening.asker.is(asked)) || self.is_awaited_by(asked)
    }

    /// Whether a request waits for the end.
    pub(super) fn is_awaited_by(&self, asked: &Asked) -> bool {
        let of_all = match &self.phase {
            Phase::Opening(opening) => opening.unwanted.as_ref().and_then(|(_, asker)| asker.as_ref()),
            Phase::Live => None,
            Phase::Draining { asker } => asker.as_ref(),
        };
        let of_legs = self.legs.iter().filter_map(|leg| match &leg.state {
            LegState::Closing { asker, .. } => asker.as_ref(),
            _ => None,
        });
        of_legs.chain(of_all).any(|asker| asker.is(asked))
    }
}
