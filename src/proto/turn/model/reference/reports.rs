//! What must come of the words of workers, of the time, and of the operator.

use super::*;
use crate::proto::media::TableChange;
use crate::proto::turn::OpenFailure;
use crate::proto::turn::model::world::Told;

impl Reference {
    /// A report of a worker, and what was said to it.
    pub(in crate::proto::turn::model) fn report(
        &mut self,
        now_ms: u64,
        told: Told,
        said: &mut Said,
    ) -> Result<(), String> {
        let (Told::Opened(relay) | Told::Failed(relay, _) | Told::Closed(relay) | Told::Detached(relay, _)) =
            told;
        if let Some((at, leg)) = self.of_relay(relay) {
            match told {
                Told::Closed(_) => self.closed(now_ms, at, leg, said)?,
                Told::Detached(_, given) => self.detached(now_ms, at, leg, given, said)?,
                Told::Opened(_) if self.allocations[at].transit.is_some() => {
                    self.carried(now_ms, at, true, said)?;
                }
                Told::Failed(..) if self.allocations[at].transit.is_some() => {
                    self.carried(now_ms, at, false, said)?;
                }
                Told::Opened(_) => self.opened(now_ms, at, leg, said)?,
                Told::Failed(_, why) => self.failed(now_ms, at, leg, why, said)?,
            }
        }
        said.nothing_left()
    }

    fn opened(&mut self, now_ms: u64, at: usize, leg: usize, said: &mut Said) -> Result<(), String> {
        let leg = &mut self.allocations[at].legs[leg];
        if !matches!(leg.state, LegState::Opening { .. }) {
            return Ok(());
        }
        leg.state = LegState::Open { until: NEVER };
        self.settle(now_ms, at, said)
    }

    fn failed(
        &mut self,
        now_ms: u64,
        at: usize,
        leg: usize,
        why: OpenFailure,
        said: &mut Said,
    ) -> Result<(), String> {
        let allocation = &mut self.allocations[at];
        let worker = allocation.worker;
        let LegState::Opening { tries, .. } = allocation.legs[leg].state else { return Ok(()) };
        let Phase::Opening(opening) = &mut allocation.phase else { return Ok(()) };
        let (over_v6, port) = (allocation.legs[leg].over_v6, allocation.legs[leg].port);
        let wish = opening
            .wish
            .filter(|_| opening.unwanted.is_none() && why == OpenFailure::PortTaken && tries < 16);
        allocation.legs[leg].state = LegState::Gone;
        let kept = opening.reserved.take();
        self.reserved.retain(|it| Some((it.over_v6, it.port)) != kept);
        self.quarantined.push((over_v6, port, now_ms + 60_000));
        if let Some(wish) = wish.filter(|wish| self.some_port_fits(now_ms, over_v6, *wish)) {
            let is_it = |open: &(_, RelayId, _)| open.1 == self.allocations[at].legs[leg].relay;
            if !said.opens.iter().any(is_it) {
                return Err("another port is not tried".to_owned());
            }
            let another = self.take_open(now_ms, worker, over_v6, wish, tries + 1, said)?;
            let reserved = (wish == Wish::Pair).then(|| self.reserve(now_ms, &another));
            self.allocations[at].legs[leg] = another;
            if let Phase::Opening(opening) = &mut self.allocations[at].phase {
                opening.reserved = reserved;
            }
            return Ok(());
        }
        if let Phase::Opening(opening) = &mut self.allocations[at].phase {
            opening.refused[usize::from(over_v6)] = Some(match why {
                OpenFailure::PortTaken | OpenFailure::NoRoom => 508,
                OpenFailure::AddressGone | OpenFailure::Other => 500,
            });
        }
        self.settle(now_ms, at, said)
    }

    /// Goes on once the worker has spoken about every socket.
    fn settle(&mut self, now_ms: u64, at: usize, said: &mut Said) -> Result<(), String> {
        let legs = &self.allocations[at].legs;
        let any = |is: fn(&LegState) -> bool| legs.iter().any(|leg| is(&leg.state));
        if any(|state| matches!(state, LegState::Opening { .. })) {
            return Ok(());
        }
        let closing = any(|state| matches!(state, LegState::Closing { .. }));
        let open = any(|state| matches!(state, LegState::Open { .. }));
        let Phase::Opening(opening) = self.allocations[at].phase.clone() else { return Ok(()) };
        match opening.unwanted.clone() {
            None if open => self.comes_alive(now_ms, at, opening, said),
            Some((reason, asker)) if open => {
                let leg = self.allocations[at].worker;
                for it in self.allocations[at].legs.iter_mut().filter(|leg| leg.is_open()) {
                    it.close(leg, None, said)?;
                }
                self.reserved.retain(|it| Some((it.over_v6, it.port)) != opening.reserved);
                self.allocations[at].phase = Phase::Draining { asker };
                let code = match reason {
                    Reason::Released => 437,
                    Reason::Shutdown => self.leaving(opening.asker.client),
                };
                self.answer(now_ms, said, &opening.asker, &Expected::error(code)).map(|_| ())
            }
            unwanted => {
                let code = opening.refused.into_iter().flatten().next().unwrap_or(500);
                let asker = unwanted.and_then(|(_, asker)| asker);
                if closing {
                    self.allocations[at].phase = Phase::Draining { asker };
                    return self.answer(now_ms, said, &opening.asker, &Expected::error(code)).map(|_| ());
                }
                self.bury(now_ms, at);
                self.answer(now_ms, said, &opening.asker, &Expected::error(code))?;
                self.tell_released(now_ms, asker.as_ref(), said)
            }
        }
    }

    fn comes_alive(
        &mut self,
        now_ms: u64,
        at: usize,
        opening: Opening,
        said: &mut Said,
    ) -> Result<(), String> {
        let allocation = &mut self.allocations[at];
        allocation.phase = Phase::Live;
        let until = now_ms + u64::from(opening.lifetime_s) * 1_000;
        let mut relayed = Vec::new();
        for leg in allocation.legs.iter_mut().filter(|leg| leg.is_open()) {
            (leg.state, leg.granted) = (LegState::Open { until }, true);
            relayed.push(leg.address());
        }
        let refused =
            opening.refused.into_iter().zip([1, 2]).find_map(|(code, family)| Some((family, code?)));
        let expected = Expected {
            code: 0,
            lifetime_s: Some(opening.lifetime_s),
            relayed,
            token: opening.reserved.is_some(),
            ticket: opening.mobile,
            address_error: refused.map(|(family, code)| (family, if code == 440 { 440 } else { 508 })),
        };
        let chosen = self.answer(now_ms, said, &opening.asker, &expected)?;
        self.allocations[at].ticket = chosen.ticket;
        let is_it = |it: &&mut Reserved| Some((it.over_v6, it.port)) == opening.reserved;
        if let Some(reserved) = self.reserved.iter_mut().find(is_it) {
            reserved.token = chosen.token;
        }
        Ok(())
    }

    fn closed(&mut self, now_ms: u64, at: usize, leg: usize, said: &mut Said) -> Result<(), String> {
        let leg = &mut self.allocations[at].legs[leg];
        let Some(due) = leg.due.checked_sub(1) else {
            return Err(format!("{:?} is closed, and nobody said so", leg.relay));
        };
        leg.due = due;
        let (LegState::Closing { quarantine, asker }, 0) = (leg.state.clone(), due) else { return Ok(()) };
        leg.state = LegState::Gone;
        let (over_v6, port) = (leg.over_v6, leg.port);
        if quarantine {
            self.quarantined.push((over_v6, port, now_ms + 60_000));
        }
        self.tell_released(now_ms, asker.as_ref(), said)?;
        let allocation = &self.allocations[at];
        let closing = |leg: &Leg| matches!(leg.state, LegState::Closing { .. });
        if matches!(allocation.phase, Phase::Draining { .. }) && !allocation.legs.iter().any(closing) {
            let gone = self.bury(now_ms, at);
            if let Phase::Draining { asker } = gone.phase {
                self.tell_released(now_ms, asker.as_ref(), said)?;
            }
        }
        Ok(())
    }

    fn tell_released(&mut self, now_ms: u64, asker: Option<&Asker>, said: &mut Said) -> Result<(), String> {
        let Some(asker) = asker else { return Ok(()) };
        let expected = Expected { lifetime_s: Some(0), ..Expected::default() };
        self.answer(now_ms, said, asker, &expected).map(|_| ())
    }

    fn detached(
        &mut self,
        now_ms: u64,
        at: usize,
        leg: usize,
        given: Option<bool>,
        said: &mut Said,
    ) -> Result<(), String> {
        let allocation = &mut self.allocations[at];
        let (Some(transit), Some(next)) = (&allocation.transit, allocation.next) else { return Ok(()) };
        let leg = &mut allocation.legs[leg];
        match given {
            Some(kept) if leg.is_open() => {
                if !kept {
                    leg.copies.retain(|copy| *copy != transit.giver);
                }
                let attach = (id(allocation.worker), leg.relay, five_tuple(next));
                match said.attaches.iter().position(|it| *it == attach) {
                    Some(place) => said.attaches.remove(place),
                    None => return Err(format!("{attach:?} is missing in {said:?}")),
                };
                Ok(())
            }
            given => self.carried(now_ms, at, given.is_some(), said),
        }
    }

    /// A socket came to its new worker, or did not.
    fn carried(&mut self, now_ms: u64, at: usize, well: bool, said: &mut Said) -> Result<(), String> {
        let allocation = &mut self.allocations[at];
        let Some(mut transit) = allocation.transit.take() else { return Ok(()) };
        transit.lost |= !well;
        transit.outstanding -= 1;
        if transit.outstanding > 0 {
            allocation.transit = Some(transit);
            return Ok(());
        }
        if transit.lost {
            self.answer(now_ms, said, &transit.asker, &Expected::error(500))?;
            return self.end(at, None, said);
        }
        // What is left of it: the workers may have taken their time.
        let left = |leg: &Leg| match leg.state {
            LegState::Open { until } => Some(until.saturating_sub(now_ms) / 1_000),
            _ => None,
        };
        let left = self.allocations[at].legs.iter().filter_map(left).max().unwrap_or(0);
        let lifetime_s = Some(u64::from(transit.lifetime_s).min(left) as u32);
        let expected = Expected { lifetime_s, ticket: true, ..Expected::default() };
        let chosen = self.answer(now_ms, said, &transit.asker, &expected)?;
        self.allocations[at].ticket = chosen.ticket;
        if transit.arrived {
            self.arrived(now_ms, transit.asker.client, said)?;
        }
        Ok(())
    }

    /// What the server did because time has passed or because it is to leave.
    pub(in crate::proto::turn::model) fn timeout(
        &mut self,
        now_ms: u64,
        said: &mut Said,
    ) -> Result<(), String> {
        while let Some((worker, relay)) = said.closes.first().copied() {
            let Some((at, leg)) = self.of_relay(relay) else {
                return Err(format!("{worker:?} is told to close {relay:?}, which is nobody's"));
            };
            match self.allocations[at].legs[leg].state {
                LegState::Opening { deadline, .. } if deadline <= now_ms => {
                    self.late(now_ms, at, leg, said)?
                }
                LegState::Open { until } if until <= now_ms && !self.ending => {
                    self.end_leg(at, leg, None, said)?
                }
                LegState::Open { .. } if self.ending => self.end(at, None, said)?,
                _ => return Err(format!("{worker:?} is told to close {relay:?} before its time")),
            }
        }
        self.revoked(now_ms, said)?;
        said.nothing_left()
    }

    /// A worker did not say in time whether a socket is open.
    fn late(&mut self, now_ms: u64, at: usize, leg: usize, said: &mut Said) -> Result<(), String> {
        let allocation = &mut self.allocations[at];
        let worker = allocation.worker;
        let leg = &mut allocation.legs[leg];
        leg.close(worker, None, said)?;
        leg.state = LegState::Closing { quarantine: true, asker: None };
        let over_v6 = leg.over_v6;
        if let Phase::Opening(opening) = &mut allocation.phase {
            opening.refused[usize::from(over_v6)] = Some(500);
            let kept = opening.reserved.take();
            self.reserved.retain(|it| Some((it.over_v6, it.port)) != kept);
        }
        self.settle(now_ms, at, said)
    }

    /// What a new policy takes back. That it takes back all is for [`Self::check_denied`].
    fn revoked(&mut self, now_ms: u64, said: &mut Said) -> Result<(), String> {
        for change in std::mem::take(&mut said.revoked) {
            match change {
                TableChange::Forbid { relay, peer } if !self.may_permit(peer) => {
                    let Some((at, _)) = self.of_relay(relay) else { continue };
                    self.allocations[at].permissions.retain(|(ip, _)| *ip != peer);
                }
                TableChange::Unbind { relay, channel } => {
                    let Some((at, _)) = self.of_relay(relay) else { continue };
                    let is_it = |it: &&mut Channel| it.number == channel.get() && it.until > now_ms;
                    let found = self.allocations[at].channels.iter_mut().find(is_it);
                    let Some(peer) = found.map(|found| {
                        (found.until, found.tied) = (now_ms, now_ms + 300_000);
                        found.peer
                    }) else {
                        continue;
                    };
                    let is_own = RELAYS.iter().any(|relay| ip(relay) == peer.ip());
                    if is_own || self.may_reach(peer.socket()) {
                        return Err(format!("the channel to {peer} is taken back, and nobody denied it"));
                    }
                }
                // What else the table is told of an address is for the comparison of tables.
                _ => {}
            }
        }
        Ok(())
    }

    /// The operator wants no new allocation.
    pub(in crate::proto::turn::model) fn drain(&mut self) {
        self.draining = true;
        for allocation in &mut self.allocations {
            if let Phase::Opening(opening) = &mut allocation.phase {
                opening.unwanted.get_or_insert((Reason::Shutdown, None));
            }
        }
    }

    /// The operator wants an end.
    pub(in crate::proto::turn::model) fn end_all(&mut self) {
        self.ending = true;
        self.draining = true;
    }

    /// The server has told every allocation to end.
    pub(in crate::proto::turn::model) fn has_ended_all(&mut self) {
        if std::mem::take(&mut self.ending) {
            self.drain();
        }
    }
}
