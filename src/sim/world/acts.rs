//! The four acts of a run.

use super::*;

/// Time in which whatever is under way between control, workers and links comes to rest, and every kept answer, token
/// and quarantine runs out.
const REST: Micros = 400 * SECOND;

/// Time for a request or for data in the calm.
const MEETING: Micros = 3 * SECOND;
/// Time between two who meet: a Send of the old dialect that finds no room is not repeated.
const APART: Micros = 20 * MILLISECOND;

impl World {
    pub(super) fn play(&mut self, plan: Plan) -> Result<(), String> {
        self.chaos(plan.steps)?;
        self.hush()?;
        if !self.drained {
            self.calm()?;
            self.hush()?;
        }
        self.end()
    }

    /// Everything at once, until there were enough steps.
    fn chaos(&mut self, steps: u64) -> Result<(), String> {
        let leaves_at = steps * 7 / 10;
        let mut idle = 0;
        while self.sh.steps < steps && self.sh.clock.micros() < TIME_MAX {
            let before = self.sh.steps;
            if !self.step()? {
                return Err("the world stands still".to_owned());
            }
            idle = if self.sh.steps == before { idle + 1 } else { 0 };
            if idle > IDLE_MAX {
                return Err("something turns in circles".to_owned());
            }
            if self.sh.steps / CENSUS_EVERY != before / CENSUS_EVERY {
                self.balance()?;
            }
            if self.sh.steps >= leaves_at && !self.drained {
                match self.scenario.ending {
                    Ending::GoesOn => {}
                    Ending::Drains => self.leave(Order::Drain),
                    Ending::EndsAll => self.leave(Order::EndAll),
                }
            }
        }
        Ok(())
    }

    fn leave(&mut self, order: Order) {
        self.drained = true;
        self.order(order);
        self.settle();
    }

    /// Nobody does anything, and no fault is left: what was granted runs out, and nothing stays.
    fn hush(&mut self) -> Result<(), String> {
        self.act = Act::Hush;
        self.sh.faults = scenario::Faults::default();
        self.control_stalled_until = 0;
        self.workers.iter_mut().for_each(|worker| worker.stalled_until = 0);
        // Clients that still think they have something would renew it for ever.
        self.queue.retain(|_, next| !matches!(next, Next::Timer(_) | Next::Act(_)));
        self.honest.iter_mut().for_each(|honest| honest.fall_silent(&mut self.sh));
        self.callers.iter_mut().for_each(|caller| caller.fall_silent(&mut self.sh));
        self.rogues.iter_mut().for_each(|rogue| rogue.fall_silent(&mut self.sh));
        self.peers.iter_mut().for_each(|peer| peer.fall_silent(&mut self.sh));
        self.sh.calm = false;
        let as_it_was = scenario::as_it_was(&self.scenario.config);
        self.order(Order::Reconfigure(Box::new(as_it_was)));
        self.settle();
        let lifetime = u64::from(self.scenario.config.lifetime_max.as_secs()) * SECOND;
        let until = self.sh.clock.micros() + lifetime + REST;
        self.wake_control_after(0);
        while self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= until) {
            self.step()?;
        }
        self.sh.clock.advance(until);
        self.wake_control_after(0);
        for _ in 0..10_000 {
            if self.queue.first_key_value().is_none_or(|((at, _), _)| *at > until + SECOND) {
                break;
            }
            self.step()?;
        }
        self.balance()?;
        self.nothing_left()
    }

    /// No faults, honest clients and a few strangers: every client is served.
    fn calm(&mut self) -> Result<(), String> {
        self.act = Act::Calm;
        self.sh.calm = true;
        for nat in &mut self.nats {
            nat.calm_down();
        }
        for at in 0..self.honest.len() {
            self.honest[at].calm_down(&mut self.sh);
            self.schedule(MILLISECOND * u64::try_from(at).unwrap_or(0), Next::Act(Actor::Honest(at)));
        }
        for at in 0..self.strangers.len() {
            self.schedule(MILLISECOND, Next::Act(Actor::Stranger(at)));
        }
        for at in 0..self.callers.len() {
            self.callers[at].calm_down(&mut self.sh);
            self.schedule(MILLISECOND, Next::Act(Actor::Caller(at)));
        }
        let is_served = |world: &Self| {
            world.honest.iter().all(Honest::is_served) && world.callers.iter().all(Caller::is_served)
        };
        while !is_served(self) {
            if !self.step()? {
                return Err("the world stands still in the calm".to_owned());
            }
        }
        self.meet()
    }

    /// Clients of this server reach each other by their relayed addresses, as these are known outside.
    fn meet(&mut self) -> Result<(), String> {
        let placed = self.honest.iter().enumerate().filter_map(|(at, honest)| Some((at, honest.place?)));
        let placed: Vec<(usize, SocketAddr)> = placed.collect();
        for (at, _) in &placed {
            self.honest[*at].expect_clients(&mut self.sh);
            self.arm(*at);
            self.settle();
            self.pass(APART)?;
        }
        self.pass(MEETING)?;
        let next = placed.iter().cycle().skip(1);
        for ((at, _), (_, other)) in placed.iter().zip(next.clone()) {
            self.honest[*at].call(&mut self.sh, *other);
            self.arm(*at);
            self.settle();
            self.pass(APART)?;
        }
        self.pass(MEETING)?;
        for ((_, caller), (called, place)) in placed.iter().zip(next) {
            if !self.honest[*called].met.contains(caller) {
                return Err(format!("{caller} called {place} in the calm and was not heard"));
            }
            self.sh.coverage.fact("calm met");
        }
        Ok(())
    }

    /// Lets everything happen that happens within `span`.
    fn pass(&mut self, span: Micros) -> Result<(), String> {
        let until = self.sh.clock.micros() + span;
        while self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= until) {
            self.step()?;
        }
        self.sh.clock.advance(until);
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        self.act = Act::End;
        self.balance()?;
        self.nothing_left()?;
        self.sh.coverage.fact("left empty");
        Ok(())
    }

    /// What must hold whenever one looks.
    fn balance(&mut self) -> Result<(), String> {
        let ports = &self.scenario.config.ports;
        let range = usize::from(ports.end() - ports.start()) + 1;
        self.sh.oracle.nobody_lingers(self.sh.clock.tick())?;
        self.control.census(range, &self.sh.bound)
    }

    /// All that was granted has run out: the server, its workers and the machine hold nothing any more.
    fn nothing_left(&self) -> Result<(), String> {
        let occupancy = self.control.server.occupancy();
        if !self.control.is_at_rest(&self.workers) {
            return Err("control and workers have not come to rest".to_owned());
        }
        if occupancy.allocations != 0 || occupancy.live != 0 || occupancy.answers != 0 {
            return Err(format!("the server still holds {occupancy:?}"));
        }
        if occupancy.connections != 0 || !self.sh.ports.is_empty() {
            return Err(format!("connections of peers are left: {occupancy:?}, {:?}", self.sh.ports));
        }
        if occupancy.ports.iter().chain(&occupancy.ports_tcp).any(|ports| ports.used != 0) {
            return Err(format!("ports are still in use: {:?}", occupancy.ports));
        }
        if self.sh.oracle.allocations() != 0 || !self.sh.bound.is_empty() {
            return Err(format!(
                "{} allocations did not end, {:?} are still bound",
                self.sh.oracle.allocations(),
                self.sh.bound.keys()
            ));
        }
        for worker in &self.workers {
            if !worker.streams.is_at_rest() {
                return Err(format!("worker {} still has connections: {:?}", worker.number, worker.streams));
            }
            if !worker.ports.is_at_rest() {
                return Err(format!("worker {} still has ports: {:?}", worker.number, worker.ports));
            }
            let (table, left) = (&worker.table, worker.table.iter().count());
            if !table.is_empty() || left != 0 || !worker.sockets.is_empty() {
                return Err(format!("worker {} still holds {left} relayed addresses", worker.number));
            }
        }
        Ok(())
    }
}
