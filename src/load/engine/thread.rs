//! One thread of the engine: its calls, their sockets, and the loop that serves both.
//!
//! ```text
//!   wheel ── what is due ──▶ sender, peers ──▶ sockets        (however late the server is)
//!   poll  ── what has come ──▶ intake ──▶ meter, or the client's own state
//!   orders of the rig ──▶ [ up: bring, churn ] ──▶ answers
//! ```
//!
//! While packets flow, the thread sleeps from tick to tick, sends what is due and then sees to all that came meanwhile:
//! the kernel stamps datagrams as they arrive, so that is no latency. What becomes due while it reads waits for a few sockets
//! only; but a thread that has too much to do reads all that came, and sends late, rather than to lose it.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use rustix::thread::set_current_timer_slack;

use crate::load::carrier::Room;
use crate::load::machine::Ports;
use crate::load::measure::Interval;
use crate::load::measure::Meter;
use crate::load::payload::Way;
use crate::load::profile::TICK_NS;
use crate::net::Batch;
use crate::net::Events;
use crate::net::Poll;
use crate::net::Token;
use crate::proto::types::StreamId;

use super::arena::Arena;
use super::bring::Hold;
use super::call::Call;
use super::call::Lane;
use super::churn::Churn;
use super::client::Client;
use super::clock::Wall;
use super::clock::tick_at_or_after;
use super::clock::tick_of;
use super::common::Common;
use super::order::Answer;
use super::order::Order;
use super::order::Sample;
use super::peers::Peers;
use super::sender::Sender;
use super::tally::Tally;
use super::wheel::Wheel;

/// Sockets that one wait tells of.
const EVENTS: usize = 1_024;
/// Datagrams of one receive.
pub(super) const RECEIVED: usize = 64;
/// Sockets that are read between two looks at the clock.
const READ_BETWEEN: usize = 16;
/// Ticks whose packets may leave while what one wait told of is read.
const TICKS_BETWEEN: u32 = 8;
/// Receives from the peers' socket between two waits.
const PEER_RECEIVES: usize = 256;
/// Ticks that a thread without packets sleeps at the most: orders are looked for in between.
const DOZE_TICKS: u64 = 5;

/// What the wheel wakes the thread for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A stream of a call sends.
    Media(StreamId, Lane),
    /// A client has something to do.
    Control(StreamId),
}

/// One thread.
pub(super) struct Thread {
    pub(super) common: Arc<Common>,
    pub(super) number: u32,
    pub(super) calls: Arena<Call>,
    pub(super) clients: Arena<Client>,
    /// Calls by the number that is in their packets.
    pub(super) by_number: HashMap<u32, StreamId, ahash::RandomState>,
    /// Calls that were ever begun here.
    pub(super) begun: u32,
    pub(super) peers: Option<Peers>,
    /// Where its sockets are bound.
    pub(super) ports: Ports,
    /// What comes by its clients' connections is read here.
    pub(super) room: Room,
    pub(super) wheel: Wheel<Due>,
    pub(super) poll: Poll,
    pub(super) batch: Batch,
    pub(super) sender: Sender,
    pub(super) meter: Meter,
    pub(super) tally: Tally,
    /// Datagrams that the kernel dropped at sockets of this thread, as far as those told.
    pub(super) dropped: u64,
    /// Messages of the server that came among packets.
    pub(super) control: Vec<(StreamId, u64, Box<[u8]>)>,
    pub(super) hold: Hold,
    pub(super) churn: Option<Churn>,
    /// Calls that are to leave, when there is room.
    pub(super) leaving: VecDeque<StreamId>,
    /// Clients whose network was lost, and that left something behind at the server.
    pub(super) ghosts: Vec<Client>,
    pub(super) answers: mpsc::Sender<(u32, Answer)>,
    events: Events,
    due: Vec<(u64, Due)>,
}

impl Thread {
    /// A thread that has nothing yet.
    ///
    /// # Errors
    /// What the kernel says where a descriptor or a port is lacking.
    pub(super) fn new(
        common: Arc<Common>,
        number: u32,
        answers: mpsc::Sender<(u32, Answer)>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut ports = common.ports(number);
        let takes_runs = common.generator.lab.takes_runs;
        let mut peers = common.peer_ip.map(|ip| Peers::open(ip, &mut ports, takes_runs)).transpose()?;
        if let Some(peers) = &mut peers {
            poll.add(&peers.socket, Token::Listener(0))?;
        }
        let segments = common.generator.segments;
        let now_ns = common.clock.now_ns();
        Ok(Self {
            number,
            calls: Arena::new(),
            clients: Arena::new(),
            by_number: HashMap::with_hasher(hasher()),
            begun: 0,
            peers,
            ports,
            room: Room::default(),
            wheel: Wheel::new(tick_of(now_ns)),
            poll,
            batch: Batch::new(RECEIVED),
            sender: Sender::new(segments),
            meter: Meter::new(),
            tally: Tally::default(),
            dropped: 0,
            control: Vec::new(),
            hold: Hold::default(),
            churn: None,
            leaving: VecDeque::new(),
            ghosts: Vec::new(),
            answers,
            events: Events::new(EVENTS),
            due: Vec::new(),
            common,
        })
    }

    /// Serves until it is told to leave, or nobody is there to tell it.
    pub(super) fn run(mut self, orders: &mpsc::Receiver<Order>) {
        // Sleeps end when they should; a system that refuses is merely less exact.
        let _ = set_current_timer_slack(std::num::NonZero::new(1));
        loop {
            loop {
                match orders.try_recv() {
                    Ok(Order::Leave) | Err(mpsc::TryRecvError::Disconnected) => return self.leave(),
                    Ok(order) => self.obey(order),
                    Err(mpsc::TryRecvError::Empty) => break,
                }
            }
            self.turn();
        }
    }

    /// Sleeps until something is due or has come, and sees to it: first to what is due.
    pub(super) fn turn(&mut self) {
        let is_busy = self.hold.live > 0;
        let left = self.until_due(if is_busy { 1 } else { DOZE_TICKS });
        if is_busy && self.common.is_stamped {
            if !left.is_zero() {
                std::thread::sleep(left);
            }
            self.serve_due();
            self.await_server();
            self.wait(Duration::ZERO);
        } else {
            self.wait(left);
            self.serve_due();
        }
        self.receive();
        self.work();
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Hold { serial, calls, at_once } => self.begin_hold(serial, calls, at_once),
            Order::Churn { serial, at_once, rate, until_ns } => {
                self.hold.owed = Some(serial);
                self.churn = Some(Churn::new(at_once, rate, self.common.clock.now_ns(), until_ns));
            }
            Order::Open(window) => {
                let before = self.meter.open(window);
                self.sample(before, BTreeMap::new());
            }
            Order::Sample => {
                let taken = self.meter.take();
                self.sample(taken, BTreeMap::new());
            }
            Order::Close => {
                for call in self.calls.iter().filter(|call| call.flows()) {
                    call.close(&mut self.meter);
                }
                let taken = self.meter.take();
                let failures = std::mem::take(&mut self.tally.setup.failures);
                self.sample(taken, failures);
            }
            Order::Halt => {
                self.hold.to_begin = 0;
                self.churn.iter_mut().for_each(Churn::halt);
            }
            Order::Vanish => self.vanish(),
            Order::Leave => {}
        }
    }

    fn sample(&self, interval: Interval, failures: BTreeMap<String, u64>) {
        let sample = Sample { interval, dropped: self.dropped, calls: self.hold.live, failures };
        self.tell(Answer::Sample(Box::new(sample)));
    }

    pub(super) fn tell(&self, answer: Answer) {
        // A rig that is gone needs no answers.
        let _ = self.answers.send((self.number, answer));
    }

    /// Time to the next tick that has something, or to the one that lies so many ticks ahead.
    fn until_due(&self, ticks: u64) -> Duration {
        let until_ns = self.wheel.next_within(ticks) * TICK_NS;
        Duration::from_nanos(until_ns.saturating_sub(self.common.clock.now_ns()))
    }

    /// Learns which sockets have something; waits for the first of them.
    fn wait(&mut self, timeout: Duration) {
        // The descriptor is ours: no error is possible.
        let _ = self.poll.wait(&mut self.events, Some(timeout));
    }

    fn receive(&mut self) {
        // What arrives while this goes on has a stamp that lies a little ahead, as it should.
        let wall = self.common.clock.wall();
        let mut ticks = TICKS_BETWEEN;
        for index in 0..self.events.others() {
            if index % READ_BETWEEN == READ_BETWEEN - 1 {
                self.serve_between(&mut ticks);
            }
            match self.events.token(index) {
                Some(Token::Listener(_)) => self.receive_all_peers(&wall, &mut ticks),
                Some(Token::Stream(id)) => self.receive_client(id, &wall),
                _ => {}
            }
        }
        self.hear_control();
    }

    /// What is left is told by the next wait.
    fn receive_all_peers(&mut self, wall: &Wall, ticks: &mut u32) {
        for _ in 0..PEER_RECEIVES {
            if !self.receive_peers(wall) {
                return;
            }
            self.serve_between(ticks);
        }
    }

    /// Sends what has become due since the last tick, if there are ticks left.
    fn serve_between(&mut self, ticks: &mut u32) {
        if *ticks > 0 && self.wheel.is_behind(tick_of(self.common.clock.now_ns())) {
            *ticks -= 1;
            self.serve_due();
        }
    }

    fn serve_due(&mut self) {
        let clock = self.common.clock;
        let mut due = std::mem::take(&mut self.due);
        self.wheel.take(tick_of(clock.now_ns()), &mut due);
        let parts = usize::from(self.common.generator.lab.parts.max(1));
        let in_a_part = due.len().div_ceil(parts).max(1);
        for (place, (tick, each)) in due.drain(..).enumerate() {
            if place > 0 && place % in_a_part == 0 && parts > 1 {
                self.await_part(tick, place / in_a_part, parts);
            }
            match each {
                Due::Media(call, lane) => self.send(call, lane),
                Due::Control(client) => self.on_client_time(client, tick),
            }
        }
        self.due = due;
        if let Some(peers) = &mut self.peers {
            peers.flush(clock.now_ns(), &mut self.meter);
        }
    }

    /// Lets leave what waits, and sleeps until the `part`-th of so many parts of a tick.
    fn await_part(&mut self, tick: u64, part: usize, parts: usize) {
        let clock = self.common.clock;
        if let Some(peers) = &mut self.peers {
            peers.flush(clock.now_ns(), &mut self.meter);
        }
        let until_ns = tick * TICK_NS + TICK_NS * part as u64 / parts as u64;
        std::thread::sleep(Duration::from_nanos(until_ns.saturating_sub(clock.now_ns())));
    }

    /// Where latencies of the parts of a tick are measured, what has come is read half a part after the last of them: read at
    /// once, by a thread that goes before the server's, it would hold up the packets that have just left.
    fn await_server(&self) {
        let parts = u64::from(self.common.generator.lab.parts.max(1));
        let now_ns = self.common.clock.now_ns();
        let since_ns = now_ns % TICK_NS;
        let is_last = since_ns >= TICK_NS * (parts - 1) / parts;
        if parts > 1 && is_last {
            let until_ns = TICK_NS * (2 * parts - 1) / (2 * parts);
            std::thread::sleep(Duration::from_nanos(until_ns.saturating_sub(since_ns)));
        }
    }

    /// Sends what is due of one stream, and has it be due again.
    fn send(&mut self, id: StreamId, lane: Lane) {
        let now_ns = self.common.clock.now_ns();
        let Some(call) = self.calls.get_mut(id).filter(|call| call.flows()) else { return };
        let Some(mut out) = call.next(lane, self.common.run, now_ns) else { return };
        if self.common.generator.lab.parts > 1 {
            out.due_now(now_ns);
        }
        let (near, far) = (call.near, call.far);
        if let Some(due_ns) = call.due_ns(lane) {
            self.wheel.insert(tick_at_or_after(due_ns), Due::Media(id, lane));
        }
        let from = if lane.way == Way::Up { near } else { far };
        if let Some(client) = from {
            let Some(client) = self.clients.get_mut(client) else { return };
            let Some(path) = client.path else { return };
            self.sender.send(client, path, &out, now_ns, &mut self.meter);
        } else if let Some(peers) = &mut self.peers
            && let Some(to) = near.and_then(|near| self.clients.get(near)).and_then(|near| near.relayed)
        {
            peers.push(&out, to, self.sender.segments, now_ns, &mut self.meter);
        }
    }
}

/// Numbers of calls are the generator's own: there is nobody to hide their places from.
fn hasher() -> ahash::RandomState {
    ahash::RandomState::with_seeds(1, 2, 3, 4)
}
