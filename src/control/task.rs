//! The loop of the control thread.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use rustix::io::Errno;

use crate::proto::media::Counters;
use crate::proto::turn::Command;
use crate::proto::turn::Event;
use crate::proto::turn::Input;
use crate::proto::turn::PortCensus;
use crate::proto::turn::Server;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::Now;
use crate::proto::types::PeerReport;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;
use crate::relay::Handle;
use crate::relay::Report;
use crate::relay::RequestUp;
use crate::ring::Receiver;
use crate::ring::Wake;

use super::Clock;
use super::DrawnAhead;
use super::Order;
use super::execute::Room;
use super::execute::Workers;
use super::execute::open_failure;
use super::leave::Leave;
use super::leave::Stage;
use super::lent::Lent;
use super::panics::Panics;
use super::view::ControlView;
use super::view::Ports;

/// Inputs taken from one ring before the next ring has its turn.
const INPUTS_PER_TURN_MAX: usize = 64;
/// What workers told without having been asked and that waits: of more, peers that came are forgotten.
const UNOWED_MAX: usize = limits::PEER_CONNECTIONS_MAX as usize;
/// Looked again after this when a worker has no room.
const ROOM_POLL: Duration = Duration::from_millis(1);
/// The control task says at least so often that it lives.
const ALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// Allocations that have not ended by this time after they were told to are left to the kernel.
const LEAVE_DEADLINE: Duration = Duration::from_secs(3);

/// Takes each event as it happens: the log, by the way of `admin::log`.
pub trait EventSink: Send {
    /// `event` happened at `tick`.
    fn tell(&mut self, tick: Tick, event: &Event);

    /// A round is over: what was told must not be kept back any longer.
    fn end_round(&mut self);
}

/// Everything the control thread owns.
pub struct Control {
    server: Server<DrawnAhead>,
    clock: Clock,
    workers: Workers,
    wake: Arc<Wake>,
    view: Arc<ControlView>,
    sink: Box<dyn EventSink>,
    stage: Stage,
    /// What the operator wants; without a sender, nothing.
    orders: Option<Receiver<Order>>,
    /// Reported, and waiting for room. Workers report a connection once, and an allocation once.
    gone: VecDeque<(WorkerId, Unowed)>,
    panics: Panics,
}

/// What a worker told without having been asked.
#[derive(Debug)]
enum Unowed {
    ClientGone(FiveTuple),
    Peer(PeerReport),
}

/// How the control task came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to leave, and every allocation has ended.
    Asked,
    /// A worker thread ended by itself, which is a bug.
    WorkerGone(WorkerId),
    /// Workers panicked more often than
    /// [`WORKER_PANICS_MAX`](crate::proto::types::limits::WORKER_PANICS_MAX) allows.
    PanicsTooMany,
}

impl Control {
    /// Puts the parts together; nothing runs yet.
    #[must_use]
    pub fn new(
        server: Server<DrawnAhead>,
        clock: Clock,
        mut handles: Vec<Handle>,
        wake: Arc<Wake>,
        view: Arc<ControlView>,
        sink: Box<dyn EventSink>,
    ) -> Self {
        let server = match handles.iter_mut().find_map(|handle| handle.buckets.take()) {
            Some(buckets) => server.lent_by(Box::new(Lent(buckets))),
            None => server,
        };
        Self {
            server,
            clock,
            workers: Workers::new(handles),
            wake,
            view,
            sink,
            stage: Stage::Serving,
            orders: None,
            gone: VecDeque::new(),
            panics: Panics::default(),
        }
    }

    /// Takes orders from the far end of `orders`, which wakes this task.
    #[must_use]
    pub fn obeying(mut self, orders: Receiver<Order>) -> Self {
        self.orders = Some(orders);
        self
    }

    /// Runs until `leave` is asked for and every allocation has ended, then ends every worker.
    ///
    /// # Errors
    /// What the kernel says when the thread cannot wait.
    pub fn run(mut self, leave: &Leave) -> io::Result<Ended> {
        let ended = self.serve(leave);
        self.sink.end_round();
        self.workers.stop();
        ended
    }

    fn serve(&mut self, leave: &Leave) -> io::Result<Ended> {
        loop {
            let turn = self.turn();
            if let Some(worker) = self.worker_gone() {
                return Ok(Ended::WorkerGone(worker));
            }
            if self.panics.are_too_many() {
                return Ok(Ended::PanicsTooMany);
            }
            if self.has_left(leave) {
                return Ok(Ended::Asked);
            }
            self.workers.wake();
            self.sink.end_round();
            match turn {
                Turn::Worked => {}
                Turn::NoRoom => std::thread::sleep(ROOM_POLL),
                Turn::Idle => self.sleep(leave)?,
            }
        }
    }

    /// Goes on with leaving, as far as `leave` asks for it. Answers whether nothing is left to wait for.
    fn has_left(&mut self, leave: &Leave) -> bool {
        if self.stage == Stage::Serving && leave.drain_asked().is_none() {
            return false;
        }
        let now = self.clock.now();
        if let (Stage::Serving, Some(at_most)) = (self.stage, leave.drain_asked()) {
            self.stage = Stage::Draining { until: now.after(at_most) };
            self.input(now, Input::Command(Command::Drain));
        }
        if let Stage::Draining { until } = self.stage
            && self.server.occupancy().allocations > 0
            && (until.is_due(now.tick()) || leave.at_once_asked())
        {
            self.stage = Stage::Ending { until: now.after(LEAVE_DEADLINE) };
            self.input(now, Input::Command(Command::EndAll));
        }
        match self.stage {
            Stage::Serving => false,
            Stage::Draining { .. } => self.server.occupancy().allocations == 0,
            Stage::Ending { until } => self.server.occupancy().allocations == 0 || until.is_due(now.tick()),
        }
    }

    /// One round: what was reported, then what is due, then requests of live allocations, then the others.
    fn turn(&mut self) -> Turn {
        let mut now = self.clock.now();
        self.view.alive(now.tick());
        let mut worked = self.take_each(Room::Reports, &mut now, Self::take_report);
        if !self.workers.have_room() {
            return if worked { Turn::Worked } else { Turn::NoRoom };
        }
        if self.server.poll_timeout().is_some_and(|(deadline, _)| deadline.is_due(now.tick())) {
            self.server.handle_timeout(now);
            self.drain_outputs(now);
            now = self.clock.now();
            worked = true;
        }
        // Both, whatever the first answers.
        if self.take_gone(now) | self.take_order(now) {
            now = self.clock.now();
            worked = true;
        }
        worked |= self.take_each(Room::All, &mut now, Self::take_live);
        worked |= self.take_each(Room::All, &mut now, Self::take_fresh);
        if worked {
            self.show_ports();
            Turn::Worked
        } else {
            Turn::Idle
        }
    }

    /// Takes inputs of one kind from every worker, within the budget and while there is room for them. Those of one worker
    /// happen at one time, `now`. After them the clock is read anew: it is not what costs least here.
    fn take_each(&mut self, needed: Room, now: &mut Now, take: fn(&mut Self, Now, usize) -> bool) -> bool {
        let mut worked = false;
        for worker in 0..self.workers.handles().len() {
            let mut took = false;
            for _ in 0..INPUTS_PER_TURN_MAX {
                if self.workers.room() < needed || !take(self, *now, worker) {
                    break;
                }
                took = true;
            }
            if took {
                *now = self.clock.now();
                worked = true;
            }
            // What one worker's inputs caused does not wait for those of the others.
            self.workers.wake();
        }
        worked
    }

    /// One order at a time: the next waits until this one is carried out in full.
    fn take_order(&mut self, now: Now) -> bool {
        if self.server.is_reconfiguring() || !self.workers.have_room() {
            return false;
        }
        let Some(order) = self.orders.as_mut().and_then(Receiver::pop) else { return false };
        self.input(
            now,
            match order {
                Order::Reconfigure(to) => Input::Reconfigure(to),
            },
        );
        true
    }

    fn take_report(&mut self, now: Now, worker: usize) -> bool {
        let Some(report) = self.workers.handles()[worker].reports.pop() else {
            return false;
        };
        let id = worker_id(worker);
        let report = match report {
            Report::StreamGone { from } => return self.keep_for_later(id, Unowed::ClientGone(from)),
            Report::Peer(report) => return self.keep_for_later(id, Unowed::Peer(report)),
            owed => owed,
        };
        self.workers.settle(worker);
        // With it a relay socket whose move ends with this report, unless another worker is to take it over.
        let (relay, mut stays, input) = match report {
            Report::Opened { relay, bound } => (relay, true, Input::RelayOpened { relay, bound }),
            Report::Failed { relay, error } => {
                (relay, true, Input::RelayFailed { relay, why: open_failure(&error) })
            }
            Report::Closed { relay, counters } => {
                (relay, false, Input::RelayClosed { worker: id, relay, counters })
            }
            Report::Detached { relay, parcel } => {
                let stays = parcel.is_err();
                let given = parcel.as_ref().ok().map(|parcel| (parcel.counters(), parcel.kept()));
                self.workers.hold(parcel.ok());
                (relay, stays, Input::RelayDetached { relay, given })
            }
            Report::Restarted { epoch, carried } => {
                self.worker_restarted(now, id, epoch, carried);
                return true;
            }
            Report::StreamGone { .. } | Report::Peer(_) => unreachable!("taken above"),
        };
        self.input(now, input);
        stays |= self.workers.drop_held();
        if stays {
            self.workers.moved(relay);
        }
        true
    }

    /// Of a peer that came while too much waits nothing is kept: its worker closes what nobody speaks of.
    fn keep_for_later(&mut self, worker: WorkerId, report: Unowed) -> bool {
        let may_be_lost = matches!(report, Unowed::Peer(PeerReport::Arrived { .. }));
        if !(may_be_lost && self.gone.len() >= UNOWED_MAX) {
            self.gone.push_back((worker, report));
        }
        true
    }

    /// Clients that are gone and what became of connections, as far as there is room for what that causes.
    fn take_gone(&mut self, now: Now) -> bool {
        let mut worked = false;
        while self.workers.have_room()
            && let Some((worker, report)) = self.gone.pop_front()
        {
            self.input(
                now,
                match report {
                    Unowed::ClientGone(from) => Input::ClientGone { worker, from },
                    Unowed::Peer(report) => Input::Peer { worker, report },
                },
            );
            worked = true;
        }
        worked
    }

    /// Its panic is known here only when everything that it reported before has been taken.
    fn worker_restarted(
        &mut self,
        now: Now,
        worker: WorkerId,
        epoch: u32,
        carried: Box<[(RelayId, Counters)]>,
    ) {
        for _ in 0..self.workers.restarted(worker, epoch) {
            self.panics.note(now);
        }
        self.input(now, Input::WorkerRestarted { worker, epoch, carried });
    }

    fn take_live(&mut self, now: Now, worker: usize) -> bool {
        if self.server.is_rebuilding(worker_id(worker)) {
            return false;
        }
        let request = self.workers.handles()[worker].live.pop();
        self.take_request(now, worker, request)
    }

    fn take_fresh(&mut self, now: Now, worker: usize) -> bool {
        if self.server.is_rebuilding(worker_id(worker)) {
            return false;
        }
        let request = self.workers.handles()[worker].fresh.pop();
        self.take_request(now, worker, request)
    }

    fn take_request(&mut self, now: Now, worker: usize, request: Option<RequestUp>) -> bool {
        let Some(request) = request else { return false };
        if request.is_arrival() {
            self.input(now, Input::ClientArrived { from: request.from });
            return true;
        }
        self.input(
            now,
            Input::Message {
                worker: worker_id(worker),
                from: request.from,
                dialect: Dialect::Rfc8656,
                bytes: &request.bytes,
            },
        );
        true
    }

    fn input(&mut self, now: Now, input: Input<'_>) {
        self.server.handle_input(now, input);
        self.drain_outputs(now);
    }

    fn drain_outputs(&mut self, now: Now) {
        while let Some(output) = self.server.poll_output() {
            if let Some(event) = self.workers.carry_out(output) {
                self.view.record(&event);
                self.sink.tell(now.tick(), &event);
            }
        }
    }

    fn show_ports(&self) {
        let occupancy = self.server.occupancy();
        self.view.set_ports(sum(&occupancy.ports));
        self.view.set_ports_tcp(sum(&occupancy.ports_tcp));
    }

    fn worker_gone(&mut self) -> Option<WorkerId> {
        let gone = self.workers.handles().iter().position(Handle::is_finished)?;
        Some(worker_id(gone))
    }

    /// Waits for a worker, the next deadline, or the order to leave.
    fn sleep(&mut self, leave: &Leave) -> io::Result<()> {
        self.wake.prepare_sleep();
        // Looked once more after the announcement: whoever pushed before it did not write the eventfd.
        let no_order = self.orders.as_ref().is_none_or(Receiver::is_empty);
        let nothing = self
            .workers
            .handles()
            .iter()
            .all(|handle| handle.reports.is_empty() && handle.live.is_empty() && handle.fresh.is_empty());
        if nothing && no_order && self.gone.is_empty() && !self.stage.is_behind(leave) {
            let now = self.clock.now().tick();
            let next = self.server.poll_timeout().map(|(deadline, _)| deadline);
            let next = next.into_iter().chain(self.stage.until()).min();
            let pause = next.map_or(ALIVE_INTERVAL, |at| at.remaining(now)).min(ALIVE_INTERVAL);
            wait_readable(&self.wake, pause)?;
        }
        self.wake.cancel();
        self.wake.drain();
        Ok(())
    }
}

fn sum(each: &[PortCensus]) -> Ports {
    let mut sum = Ports::default();
    for census in each {
        sum.free += census.free as u64;
        sum.used += census.used as u64;
        sum.reserved += census.reserved as u64;
        sum.quarantined += census.quarantined as u64;
    }
    sum
}

fn worker_id(index: usize) -> WorkerId {
    WorkerId(u16::try_from(index).expect("at most WORKERS_MAX workers"))
}

/// Waits until somebody wrote the eventfd, or `pause` is over.
fn wait_readable(wake: &Wake, pause: Duration) -> io::Result<()> {
    // Rounded up to a millisecond: a deadline less than that away must not make the loop spin.
    let pause = pause.max(Duration::from_millis(1));
    let pause = Timespec::try_from(pause).expect("a pause is at most ALIVE_INTERVAL");
    match poll(&mut [PollFd::new(wake, PollFlags::IN)], Some(&pause)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What a round came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// There may be more.
    Worked,
    /// Nothing waits.
    Idle,
    /// A worker has no room for what the next input could make the server say.
    NoRoom,
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::net::Ipv4Addr;
    use std::thread;
    use std::time::Instant;

    use crate::proto::auth::challenge::Challenger;
    use crate::proto::auth::credential::CredentialConfig;
    use crate::proto::auth::credential::Credentials;
    use crate::proto::auth::nonce::NonceKey;
    use crate::proto::auth::token::TokenConfig;
    use crate::proto::binding::Discovery;
    use crate::proto::peers::PolicyBuilder;
    use crate::proto::turn::Config;
    use crate::proto::turn::LegacyConfig;
    use crate::proto::turn::RelayAddress;
    use crate::proto::types::ChannelNumber;
    use crate::proto::types::Lifetime;

    use super::*;

    #[test]
    fn an_empty_server_leaves_as_soon_as_it_is_asked_and_not_before() {
        for order in [|leave: &Leave| leave.drain(Duration::from_secs(3_600)), Leave::at_once] {
            let wake = Arc::new(Wake::new().expect("an event descriptor"));
            let view = Arc::new(ControlView::new());
            let control = control(Arc::clone(&wake), Arc::clone(&view));
            let leave = Arc::new(Leave::new(wake));
            let asked = Arc::clone(&leave);
            let running = thread::spawn(move || control.run(&asked));
            thread::sleep(Duration::from_millis(50));
            assert!(!running.is_finished());
            let ordered = Instant::now();
            order(&leave);
            assert_eq!(running.join().expect("no panic").expect("it can wait"), Ended::Asked);
            assert!(
                ordered.elapsed() < ALIVE_INTERVAL * 9 / 10,
                "the order wakes it: {:?}",
                ordered.elapsed()
            );
            assert!(view.snapshot().draining);
        }
    }

    fn control(wake: Arc<Wake>, view: Arc<ControlView>) -> Control {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let minute = Duration::from_secs(60);
        let config = Config {
            challenger: Challenger {
                realm: "r".into(),
                nonce_key: NonceKey::generate(&mut DrawnAhead::default()),
                nonce_lifetime: minute,
                discovery: Discovery::default(),
                third_party: None,
                legacy: true,
            },
            credentials: Arc::new(Credentials::new(CredentialConfig {
                realm: "r".into(),
                users: Vec::new(),
                secrets: Vec::new(),
                lifetime_max_s: 60,
                tokens: TokenConfig::default(),
                mras: Vec::new(),
            })),
            policy: Arc::new(PolicyBuilder::default().build()),
            relays: vec![RelayAddress { bind: loopback, external: loopback }],
            ports: 50_000..=50_001,
            lifetime_default: Lifetime::from_secs(60),
            lifetime_max: Lifetime::from_secs(60),
            permission_lifetime: minute,
            channel_number_max: ChannelNumber::MAX,
            channel_lifetime: minute,
            session_lifetime_max: minute,
            allocations_per_user: 0,
            allocations_per_address: 0,
            allocations_total: 0,
            permissions_per_allocation: 1,
            channels_per_allocation: 1,
            mobility: false,
            legacy: LegacyConfig::default(),
            alternate_servers: Vec::new(),
            bandwidth_per_allocation: None,
            bandwidth_per_user: None,
            connections_per_allocation: 1,
            connects_per_allocation: 1,
        };
        let server = Server::new(config, DrawnAhead::default());
        Control::new(server, Clock::start(), Vec::new(), wake, view, Box::new(Nobody))
    }

    struct Nobody;

    impl EventSink for Nobody {
        fn tell(&mut self, _: Tick, _: &Event) {}

        fn end_round(&mut self) {}
    }
}
