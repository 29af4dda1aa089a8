//! The control task, driven as its thread drives it: reports first, then what is due, then an order, then requests of
//! live allocations, then the others; and no input while a ring lacks room for what it could cause.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::proto::turn::Command as Operator;
use crate::proto::turn::Input;
use crate::proto::turn::Output;
use crate::proto::turn::Reconfiguration;
use crate::proto::turn::Server;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerReport;
use crate::proto::types::RelayId;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;

use super::shared::Shared;
use super::worker::Command;
use super::worker::Parcel;
use super::worker::Report;
use super::worker::RequestUp;
use super::worker::Worker;
use crate::proto::types::Dice;

/// Inputs taken from one ring before the next ring has its turn.
const INPUTS_PER_TURN_MAX: usize = 64;
/// What the reports about one moving relay socket can make a worker owe besides.
const OWED_PER_MOVE_MAX: usize = 2;

/// What the operator wants.
#[derive(Debug)]
pub(super) enum Order {
    Reconfigure(Box<Reconfiguration>),
    Drain,
    EndAll,
}

#[derive(Debug)]
pub(super) struct Control {
    pub(super) server: Server<Dice>,
    command_ring: usize,
    owed: Vec<usize>,
    /// How often each worker has panicked.
    epochs: Vec<u32>,
    pub(super) pushed: Vec<u64>,
    held: Option<Parcel>,
    /// Relay sockets on the way from one worker to another, and whose report is awaited next.
    moving: BTreeMap<RelayId, WorkerId>,
    pub(super) orders: VecDeque<Order>,
    /// Clients whose connection ended, what became of peers' connections, and the worker that says so.
    gone: VecDeque<(WorkerId, Unowed)>,
}

/// What a worker told without having been asked.
#[derive(Debug)]
enum Unowed {
    ClientGone(FiveTuple),
    Peer(PeerReport),
}

/// What a round came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Worked,
    NoRoom,
    Idle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Room {
    Nothing,
    Reports,
    All,
}

impl Control {
    pub(super) fn new(server: Server<Dice>, workers: usize, command_ring: usize) -> Self {
        Self {
            server,
            command_ring,
            owed: vec![0; workers],
            epochs: vec![0; workers],
            pushed: vec![0; workers],
            held: None,
            moving: BTreeMap::new(),
            orders: VecDeque::new(),
            gone: VecDeque::new(),
        }
    }

    /// One round.
    pub(super) fn turn(&mut self, sh: &mut Shared, workers: &mut [Worker]) -> Turn {
        let mut worked = self.take_each(sh, workers, Room::Reports, Self::take_report);
        if sh.panics.are_too_many() {
            sh.violated(|| "the simulation lets more workers panic than a server outlives".to_owned());
        }
        if self.room(workers) < Room::All {
            return if worked { Turn::Worked } else { Turn::NoRoom };
        }
        let now = sh.clock.now();
        if self.server.poll_timeout().is_some_and(|(at, _)| at.is_due(now.tick())) {
            sh.steps += 1;
            self.server.handle_timeout(now);
            self.drain_outputs(sh, workers);
            worked = true;
        }
        worked |= self.take_gone(sh, workers);
        worked |= self.take_order(sh, workers);
        worked |= self.take_each(sh, workers, Room::All, |control, sh, workers, at| {
            if control.server.is_rebuilding(id(at)) {
                return false;
            }
            let request = workers[at].live.pop_front();
            control.take_request(sh, workers, at, request)
        });
        worked |= self.take_each(sh, workers, Room::All, |control, sh, workers, at| {
            if control.server.is_rebuilding(id(at)) {
                return false;
            }
            let request = workers[at].fresh.pop_front();
            control.take_request(sh, workers, at, request)
        });
        if worked { Turn::Worked } else { Turn::Idle }
    }

    fn take_each(
        &mut self,
        sh: &mut Shared,
        workers: &mut [Worker],
        needed: Room,
        take: fn(&mut Self, &mut Shared, &mut [Worker], usize) -> bool,
    ) -> bool {
        let mut worked = false;
        for at in 0..workers.len() {
            for _ in 0..INPUTS_PER_TURN_MAX {
                if self.room(workers) < needed || !take(self, sh, workers, at) {
                    break;
                }
                worked = true;
            }
        }
        worked
    }

    fn take_order(&mut self, sh: &mut Shared, workers: &mut [Worker]) -> bool {
        if self.server.is_reconfiguring() || self.room(workers) < Room::All {
            return false;
        }
        let Some(order) = self.orders.pop_front() else { return false };
        sh.steps += 1;
        sh.note(|| format!("order: {}", word(&order)));
        let input = match order {
            Order::Reconfigure(to) => Input::Reconfigure(to),
            Order::Drain => Input::Command(Operator::Drain),
            Order::EndAll => Input::Command(Operator::EndAll),
        };
        self.input(sh, workers, input);
        true
    }

    fn take_report(&mut self, sh: &mut Shared, workers: &mut [Worker], at: usize) -> bool {
        let Some(report) = workers[at].reports.pop_front() else { return false };
        if let Report::StreamGone { from } = report {
            self.gone.push_back((id(at), Unowed::ClientGone(from)));
            return true;
        }
        if let Report::Peer(report) = report {
            self.gone.push_back((id(at), Unowed::Peer(report)));
            return true;
        }
        self.owed[at] = self.owed[at].saturating_sub(1);
        let (relay, mut stays) = match &report {
            Report::Opened { relay, .. } | Report::Failed { relay, .. } => (*relay, true),
            Report::Closed { relay, .. } => (*relay, false),
            Report::Detached { relay, parcel } => (*relay, parcel.is_none()),
            Report::Restarted { .. } => {
                self.worker_restarted(sh, workers, at, report);
                return true;
            }
            Report::StreamGone { .. } | Report::Peer(_) => unreachable!("taken above"),
        };
        let input = match report {
            Report::Opened { relay, bound } => Input::RelayOpened { relay, bound },
            Report::Failed { relay, why } => Input::RelayFailed { relay, why },
            Report::Closed { relay, counters } => Input::RelayClosed { worker: id(at), relay, counters },
            Report::Detached { relay, parcel } => {
                let given = parcel.as_ref().map(|parcel| (parcel.carried.counters(), parcel.kept));
                self.held = parcel;
                Input::RelayDetached { relay, given }
            }
            Report::Restarted { .. } | Report::StreamGone { .. } | Report::Peer(_) => {
                unreachable!("taken above")
            }
        };
        self.input(sh, workers, input);
        if let Some(dropped) = self.held.take() {
            sh.close_descriptor(dropped.bound);
            stays = true;
        }
        if stays {
            self.moving.remove(&relay);
        }
        true
    }

    /// Clients that are gone, as far as there is room for what that causes.
    fn take_gone(&mut self, sh: &mut Shared, workers: &mut [Worker]) -> bool {
        let mut worked = false;
        while self.room(workers) == Room::All
            && let Some((worker, report)) = self.gone.pop_front()
        {
            let input = match report {
                Unowed::ClientGone(from) => Input::ClientGone { worker, from },
                Unowed::Peer(report) => Input::Peer { worker, report },
            };
            self.input(sh, workers, input);
            worked = true;
        }
        worked
    }

    /// Whatever it was told so far, it will not report about. All that it reported before has been taken.
    fn worker_restarted(&mut self, sh: &mut Shared, workers: &mut [Worker], at: usize, report: Report) {
        let Report::Restarted { epoch, carried } = report else { return };
        let worker = id(at);
        self.owed[at] = 0;
        self.moving.retain(|_, at| *at != worker);
        let before = std::mem::replace(&mut self.epochs[at], epoch);
        sh.panics.heard(sh.clock.micros(), epoch - before);
        self.input(sh, workers, Input::WorkerRestarted { worker, epoch, carried });
    }

    fn take_request(
        &mut self,
        sh: &mut Shared,
        workers: &mut [Worker],
        at: usize,
        request: Option<RequestUp>,
    ) -> bool {
        let Some(RequestUp { from, bytes }) = request else { return false };
        if bytes.is_empty() {
            self.input(sh, workers, Input::ClientArrived { from });
            return true;
        }
        let worker = id(at);
        self.input(sh, workers, Input::Message { worker, from, dialect: Dialect::Rfc8656, bytes: &bytes });
        true
    }

    fn input(&mut self, sh: &mut Shared, workers: &mut [Worker], input: Input<'_>) {
        sh.coverage.input(&input);
        sh.note(|| format!("input: {}", shorten(&format!("{input:?}"))));
        let now = sh.clock.now();
        sh.oracle.input(now.tick(), &input);
        self.server.handle_input(now, input);
        self.drain_outputs(sh, workers);
    }

    fn drain_outputs(&mut self, sh: &mut Shared, workers: &mut [Worker]) {
        let mut count = 0;
        while let Some(output) = self.server.poll_output() {
            count += 1;
            sh.coverage.output(&output);
            sh.note(|| format!("output: {}", shorten(&format!("{output:?}"))));
            let tick = sh.clock.tick();
            let verdict = sh.oracle.output(tick, &output, &self.pushed, &mut sh.coverage);
            sh.judged(verdict);
            self.carry_out(sh, workers, output);
        }
        if count > limits::OUTPUTS_PER_INPUT_MAX {
            sh.violated(|| format!("{count} outputs of one input"));
        }
    }

    fn carry_out(&mut self, sh: &mut Shared, workers: &mut [Worker], output: Output) {
        match output {
            Output::Reply { worker, to, bytes } => {
                self.push(sh, workers, worker, Command::Reply { to, bytes })
            }
            Output::OpenRelay { worker, relay, bind } => {
                self.owe(worker);
                self.push(sh, workers, worker, Command::Open { relay, bind });
            }
            Output::CloseRelay { worker, relay } => {
                self.owe(worker);
                self.push(sh, workers, worker, Command::Close { relay });
            }
            Output::Table { worker, change } => self.push(sh, workers, worker, Command::Table(change)),
            Output::TableOfAll { change } => {
                self.push_all(sh, workers, || Command::Table(change.clone()));
            }
            Output::Event(_) => {}
            Output::Announce { username_anonymity } => {
                self.push_all(sh, workers, || Command::Announce { username_anonymity });
            }
            Output::DetachRelay { worker, relay, keep } => {
                self.moving.insert(relay, worker);
                self.owe(worker);
                self.push(sh, workers, worker, Command::Detach { relay, keep });
            }
            Output::SendToPeer { worker, relay, peer, data } => {
                self.push(sh, workers, worker, Command::SendToPeer { relay, peer, data });
            }
            Output::OpenPort { worker, relay, bind } => {
                self.owe(worker);
                self.push(sh, workers, worker, Command::OpenPort { relay, bind });
            }
            Output::Peer { worker, order } => self.push(sh, workers, worker, Command::Peer(order)),
            Output::RebuildWorker { worker, epoch, username_anonymity } => {
                self.push(sh, workers, worker, Command::Rebuild { epoch, username_anonymity });
            }
            Output::WorkerRebuilt { worker } => self.push(sh, workers, worker, Command::Rebuilt),
            Output::AttachRelay { worker, relay, next } => match self.held.take() {
                Some(parcel) if parcel.relay == relay => {
                    self.moving.insert(relay, worker);
                    self.owe(worker);
                    self.push(sh, workers, worker, Command::Attach { parcel, next });
                }
                _ => sh.violated(|| format!("{relay:?} shall be attached and nobody gave it")),
            },
        }
    }

    fn push_all(&mut self, sh: &mut Shared, workers: &mut [Worker], command: impl Fn() -> Command) {
        (0..workers.len()).for_each(|at| self.push(sh, workers, id(at), command()));
    }

    fn push(&mut self, sh: &mut Shared, workers: &mut [Worker], worker: WorkerId, command: Command) {
        let at = usize::from(worker.0);
        self.pushed[at] += 1;
        workers[at].commands.push_back(command);
        if workers[at].commands.len() > self.command_ring {
            sh.violated(|| format!("the command ring of worker {at} overflows"));
        }
    }

    fn owe(&mut self, worker: WorkerId) {
        self.owed[usize::from(worker.0)] += 1;
    }

    fn room(&self, workers: &[Worker]) -> Room {
        let moving = self.moving.len() * OWED_PER_MOVE_MAX;
        let room = |(worker, owed): (&Worker, &usize)| {
            if self.command_ring.saturating_sub(worker.commands.len()) < limits::OUTPUTS_PER_INPUT_MAX {
                Room::Nothing
            } else if owed + moving + limits::OUTPUTS_PER_INPUT_MAX > limits::REPORTS_MAX {
                Room::Reports
            } else {
                Room::All
            }
        };
        workers.iter().zip(&self.owed).map(room).min().unwrap_or(Room::All)
    }

    /// Whether nothing is under way between control and workers.
    pub(super) fn is_at_rest(&self, workers: &[Worker]) -> bool {
        let idle = |worker: &Worker| {
            worker.commands.is_empty()
                && worker.reports.is_empty()
                && worker.live.is_empty()
                && worker.fresh.is_empty()
                && worker.is_whole()
        };
        let told = (0..workers.len()).all(|at| !self.server.is_rebuilding(id(at)));
        self.orders.is_empty() && self.gone.is_empty() && told && workers.iter().all(idle)
    }

    /// What must hold at any time (RFC 8656 knows no port with two owners) and what bounds memory.
    pub(super) fn census(
        &self,
        range: usize,
        bound: &BTreeMap<SocketAddr, super::shared::Bound>,
    ) -> Result<(), String> {
        let occupancy = self.server.occupancy();
        for (at, ports) in occupancy.ports.iter().enumerate() {
            if ports.free + ports.used + ports.reserved + ports.quarantined != range {
                return Err(format!("relay address {at}: {ports:?} of {range} ports"));
            }
        }
        for (at, ports) in occupancy.ports_tcp.iter().enumerate() {
            if ports.free + ports.used + ports.reserved + ports.quarantined != range {
                return Err(format!("relay address {at}: {ports:?} of {range} ports of TCP"));
            }
        }
        let used: usize = occupancy.ports.iter().map(|ports| ports.used).sum();
        if bound.len() > used {
            return Err(format!("{} relay sockets on {used} ports in use", bound.len()));
        }
        if occupancy.answers > limits::ANSWERS_KEPT_MAX
            || occupancy.five_tuples_dead > limits::FIVE_TUPLES_DEAD_MAX
        {
            return Err(format!("{occupancy:?} is beyond the limits"));
        }
        Ok(())
    }
}

const fn word(order: &Order) -> &'static str {
    match order {
        Order::Reconfigure(_) => "reconfigure",
        Order::Drain => "drain",
        Order::EndAll => "end all",
    }
}

fn id(at: usize) -> WorkerId {
    WorkerId(u16::try_from(at).expect("a few workers"))
}

/// Enough of a long text to know it by.
fn shorten(text: &str) -> String {
    text.chars().take(160).collect()
}
