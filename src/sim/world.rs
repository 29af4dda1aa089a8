//! The world: who is where, what happens next, and the four acts of a run.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::SocketAddr;

use super::caller::Caller;
use super::clock::MILLISECOND;
use super::clock::Micros;
use super::clock::SECOND;
use super::control::Control;
use super::control::Order;
use super::control::Turn;
use super::honest::Honest;
use super::insider::Insider;
use super::link::Link;
use super::nat::Nat;
use super::packet::Packet;
use super::pcap::Capture;
use super::peer::Peer;
use super::report::Plan;
use super::report::Report;
use super::report::Violation;
use super::rogue::Rogue;
use super::scenario;
use super::scenario::Ending;
use super::scenario::Scenario;
use super::shared::Shared;
use super::stranger::Stranger;
use super::tcp::Number;
use super::tcp::Segment;
use super::worker::Worker;
use crate::proto::types::Dice;

mod acts;
mod net;
mod people;
mod streams;

/// Virtual time that a run may take; it is far away.
const TIME_MAX: Micros = 40 * 3_600 * SECOND;
/// Things that may happen without a step, before something is wrong.
const IDLE_MAX: u64 = 1_000_000;
/// How often the books are balanced.
const CENSUS_EVERY: u64 = 64;

/// Something that will happen.
#[derive(Debug)]
enum Next {
    /// A packet reaches its destination.
    Arrive(Packet),
    /// The control task looks round.
    Control,
    /// A worker looks at its commands.
    Worker(usize),
    /// An actor does something.
    Act(Actor),
    /// The timer of an honest client rings.
    Timer(usize),
    /// Something of a connection reaches its other end.
    Segment(Segment),
    /// A worker looks at its connections.
    Streams(usize),
    /// A connection must have spoken by now.
    Spoken(Number),
}

/// Somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actor {
    Honest(usize),
    Insider(usize),
    Peer(usize),
    Caller(usize),
    Rogue(usize),
    Stranger(usize),
    Operator,
}

/// A host that is not the server.
#[derive(Clone, Copy, Debug)]
struct Host {
    link: Link,
    nat: Option<usize>,
    actor: Actor,
}

/// The acts of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Chaos,
    Hush,
    Calm,
    End,
}

struct World {
    sh: Shared,
    scenario: Scenario,
    control: Control,
    workers: Vec<Worker>,
    listeners: Vec<SocketAddr>,
    hosts: BTreeMap<IpAddr, Host>,
    nats: Vec<Nat>,
    honest: Vec<Honest>,
    insiders: Vec<Insider>,
    peers: Vec<Peer>,
    callers: Vec<Caller>,
    rogues: Vec<Rogue>,
    strangers: Vec<Stranger>,
    queue: BTreeMap<(Micros, u64), Next>,
    number: u64,
    /// The moment for which the control task stands in the queue.
    control_at: Option<Micros>,
    worker_at: Vec<Option<Micros>>,
    streams_at: Vec<Option<Micros>>,
    control_stalled_until: Micros,
    act: Act,
    drained: bool,
    capture: Option<Capture>,
    /// Ports that NATs gave to connections so far.
    ports_given: u16,
}

/// Runs one seed.
///
/// # Errors
/// [`Violation`] tells what happened that must not, and when.
pub fn run(plan: Plan) -> Result<Report, Box<Violation>> {
    let mut world = World::build(plan);
    match world.play(plan) {
        Ok(()) => Ok(Report {
            steps: world.sh.steps,
            digest: world.sh.digest,
            tallies: world.sh.tallies(),
            coverage: world.sh.coverage,
            capture: world.capture.map(Capture::finish),
        }),
        Err(what) => Err(Box::new(Violation {
            seed: plan.seed,
            step: world.sh.steps,
            at_ms: world.sh.clock.micros() / MILLISECOND,
            what,
            trace: world.sh.take_trace(),
            capture: world.capture.map(Capture::finish),
        })),
    }
}

impl World {
    /// Lets the next thing happen. Answers whether there was one.
    fn step(&mut self) -> Result<bool, String> {
        let Some(((at, _), next)) = self.queue.pop_first() else { return Ok(false) };
        self.sh.clock.advance(at);
        match next {
            Next::Arrive(packet) => self.arrive(packet),
            Next::Control => self.turn_control(at),
            Next::Worker(worker) => self.turn_worker(at, worker),
            Next::Act(actor) => self.let_act(actor),
            Next::Timer(honest) => {
                if self.honest[honest].wake(&mut self.sh) {
                    self.sh.steps += 1;
                }
                self.arm(honest);
            }
            Next::Segment(segment) => self.arrive_segment(segment),
            Next::Streams(worker) => self.turn_streams(at, worker),
            Next::Spoken(number) => self.must_have_spoken(number),
        }
        self.settle();
        match self.sh.violation.take() {
            Some(what) => Err(what),
            None => Ok(true),
        }
    }

    /// Sends what was said, and wakes whoever has something to do now.
    fn settle(&mut self) {
        for packet in std::mem::take(&mut self.sh.from_hosts) {
            self.send_from_host(packet);
        }
        for packet in std::mem::take(&mut self.sh.from_server) {
            self.send_from_server(packet);
        }
        self.settle_streams();
        if std::mem::take(&mut self.sh.wake_control) {
            let latency = self.scenario.latency;
            self.wake_control_after(latency);
        }
        for worker in 0..self.workers.len() {
            if self.workers[worker].is_untold() {
                self.wake_worker_after(worker, MILLISECOND);
            }
        }
    }

    fn turn_control(&mut self, at: Micros) {
        if self.control_at != Some(at) {
            return;
        }
        self.control_at = None;
        if at < self.control_stalled_until {
            return self.wake_control_after(self.control_stalled_until - at);
        }
        if self.act == Act::Chaos && self.sh.dice.chance(self.sh.faults.control_stall) {
            self.sh.coverage.fact("control stalled");
            self.control_stalled_until = at + self.sh.dice.range(10, 4_000) * MILLISECOND;
            return self.wake_control_after(self.control_stalled_until - at);
        }
        let turn = self.control.turn(&mut self.sh, &mut self.workers);
        for worker in 0..self.workers.len() {
            if !self.workers[worker].commands.is_empty() {
                self.wake_worker_after(worker, self.scenario.latency);
            }
        }
        let pause = match turn {
            Turn::Worked => Some(self.scenario.latency),
            Turn::NoRoom => Some(MILLISECOND),
            Turn::Idle => self.control.server.poll_timeout().map(|(deadline, _)| {
                let now = self.sh.clock.tick();
                let micros = deadline.remaining(now).as_micros();
                u64::try_from(micros).unwrap_or(u64::MAX).max(MILLISECOND)
            }),
        };
        if let Some(pause) = pause {
            self.wake_control_after(pause);
        }
    }

    fn turn_worker(&mut self, at: Micros, worker: usize) {
        if self.worker_at[worker] != Some(at) {
            return;
        }
        self.worker_at[worker] = None;
        let stalled = self.workers[worker].stalled_until;
        if at < stalled {
            return self.wake_worker_after(worker, stalled - at);
        }
        if self.act == Act::Chaos && self.sh.dice.chance(self.sh.faults.worker_stall) {
            self.sh.coverage.fact("worker stalled");
            let stall = self.sh.dice.pick(&[20, 500, 3_000, 12_000]) * MILLISECOND;
            self.workers[worker].stalled_until = at + stall;
            return self.wake_worker_after(worker, stall);
        }
        let budget = self.sh.dice.pick(&[1, 3, 64]);
        self.workers[worker].obey(&mut self.sh, budget);
        self.workers[worker].flush_streams(&mut self.sh);
        if !self.workers[worker].streams.is_at_rest() || !self.workers[worker].ports.is_at_rest() {
            self.wake_streams_after(worker, MILLISECOND);
        }
        if !self.workers[worker].commands.is_empty() {
            // It may read packets for a while before it looks at commands again.
            let pauses = [self.scenario.latency, 3 * MILLISECOND, 10 * MILLISECOND];
            let pause = if self.act == Act::Chaos { self.sh.dice.pick(&pauses) } else { pauses[0] };
            self.wake_worker_after(worker, pause);
        }
    }

    fn schedule(&mut self, after: Micros, next: Next) {
        self.number += 1;
        let at = self.sh.clock.micros().saturating_add(after);
        self.queue.insert((at, self.number), next);
    }

    fn wake_control_after(&mut self, after: Micros) {
        let at = self.sh.clock.micros().saturating_add(after);
        if self.control_at.is_none_or(|before| at < before) {
            self.control_at = Some(at);
            self.schedule(after, Next::Control);
        }
    }

    fn wake_worker_after(&mut self, worker: usize, after: Micros) {
        let at = self.sh.clock.micros().saturating_add(after);
        if self.worker_at[worker].is_none_or(|before| at < before) {
            self.worker_at[worker] = Some(at);
            self.schedule(after, Next::Worker(worker));
        }
    }

    /// Sets the timer of an honest client.
    fn arm(&mut self, honest: usize) {
        let Some(next) = self.honest[honest].next() else { return };
        if self.honest[honest].armed.is_none_or(|armed| next < armed) {
            self.honest[honest].armed = Some(next);
            let at = next.as_millis().saturating_mul(MILLISECOND);
            let after = at.saturating_sub(self.sh.clock.micros());
            self.schedule(after, Next::Timer(honest));
        }
    }
}
