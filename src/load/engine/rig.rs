//! The engine as the modes see it: tells its threads what to do, and adds up what they counted.

use std::sync::Arc;
use std::sync::mpsc;
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use crate::load::Fault;
use crate::load::Plan;
use crate::load::fault::FaultKind;
use crate::load::measure::Interval;
use crate::load::outcome::Moment;
use crate::load::plan::PeerPlace;
use crate::load::plan::Server;
use crate::load::rig::GoOn;
use crate::load::rig::Watcher;

use super::common::Common;
use super::gauge::Gauge;
use super::order::Answer;
use super::order::Held;
use super::order::Order;
use super::order::Sample;
use super::own;
use super::refusal;
use super::tally::Tally;
use super::thread::Thread;

/// How often whoever looks on is told how things stand.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// A thread that does not answer in this time has failed.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How long calls on their way are waited for when the run is stopped.
const STOP_MAX: Duration = Duration::from_secs(2);
/// Clients on their way up at once, in all threads together: as many as a careful server answers at once to strangers
/// behind one address, with two answers each.
const AT_ONCE: usize = 32;

/// Real load on one server.
#[derive(Debug)]
pub struct Engine {
    pub(super) common: Arc<Common>,
    pub(super) threads: Vec<Handle>,
    pub(super) answers: mpsc::Receiver<(u32, Answer)>,
    /// Answers to orders that came while something else was waited for.
    held: Vec<(u32, Held)>,
    pub(super) live: Vec<usize>,
    serial: u32,
    pub(super) windows: u32,
    /// A first call came up, so that more are worth trying.
    is_proven: bool,
    pub(super) wanted: u32,
    /// Datagrams dropped at the generator's sockets, by thread, since it began.
    pub(super) dropped: Vec<u64>,
    pub(super) cpu: Pulse,
    /// What the server spends, where that can be read.
    pub(super) gauge: Option<Gauge>,
}

/// A thread and the way to it.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) orders: mpsc::Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

/// CPU time as it was read last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pulse {
    at: Instant,
    cpu: Duration,
}

impl Pulse {
    fn take() -> Self {
        Self { at: Instant::now(), cpu: own::cpu_time() }
    }

    /// Cores used since it was read last.
    pub(super) fn beat(&mut self) -> f64 {
        let now = Self::take();
        let (passed, used) = (now.at.duration_since(self.at), now.cpu.saturating_sub(self.cpu));
        *self = now;
        used.as_secs_f64() / passed.as_secs_f64().max(1e-6)
    }
}

impl Engine {
    /// The threads that an engine has of which so many are asked for; 0: as many as suit the machine.
    #[must_use]
    pub fn threads(asked: usize) -> usize {
        own::threads(asked)
    }

    /// Threads without calls, for load on `server`, which is one of the plan's.
    ///
    /// # Errors
    /// Where this machine has not what it takes, or the plan names what it has not.
    pub fn new(plan: &Plan, server: &Server) -> Result<Self, Fault> {
        let count = own::threads(plan.generator.threads);
        let number = u32::try_from(count).unwrap_or(u32::MAX);
        let common = Arc::new(Common::new(plan, server, number)?);
        let (tell, answers) = mpsc::channel();
        let mut engine = Self {
            common,
            threads: Vec::with_capacity(count),
            answers,
            held: Vec::new(),
            live: vec![0; count],
            serial: 0,
            windows: 0,
            is_proven: false,
            wanted: 0,
            dropped: vec![0; count],
            cpu: Pulse::take(),
            gauge: Gauge::open(server.watch.as_ref())?,
        };
        for number in 0..number {
            engine.start(number, tell.clone())?;
        }
        Ok(engine)
    }

    fn start(&mut self, number: u32, tell: mpsc::Sender<(u32, Answer)>) -> Result<(), Fault> {
        let machine = |what: String| Fault::new(FaultKind::Machine, what);
        let common = Arc::clone(&self.common);
        let (orders, taken) = mpsc::channel();
        let (ready, is_ready) = mpsc::sync_channel(1);
        let joined = std::thread::Builder::new()
            .name(format!("load-{number}"))
            .spawn(move || match Thread::new(common, number, tell) {
                Ok(thread) => {
                    // Whoever started it waits for this word.
                    let _ = ready.send(Ok(()));
                    thread.run(&taken);
                }
                Err(error) => drop(ready.send(Err(error))),
            })
            .map_err(|error| machine(format!("no thread can be started: {error}")))?;
        match is_ready.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                return Err(machine(format!("no socket is left for a thread of the generator: {error}"))
                    .cure("let the process have more descriptors: ulimit -n 65536"));
            }
            Err(_) => return Err(broken()),
        }
        self.threads.push(Handle { orders, thread: Some(joined) });
        Ok(())
    }

    /// Clients of one call.
    pub(super) fn ends(&self) -> usize {
        if self.common.peer == PeerPlace::Relay { 2 } else { 1 }
    }

    /// The part of `total` that falls to each thread.
    pub(super) fn shares(&self, total: usize) -> Vec<usize> {
        let threads = self.threads.len();
        (0..threads).map(|number| total / threads + usize::from(number < total % threads)).collect()
    }

    pub(super) fn next_serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    /// Has all threads together hold so many calls, so many of them on their way at once. Answers whether to go on.
    pub(super) fn hold_all(
        &mut self,
        calls: u32,
        at_once: usize,
        tally: &mut Tally,
        watch: &mut dyn Watcher,
    ) -> Result<GoOn, Fault> {
        self.wanted = calls;
        let serial = self.next_serial();
        let at_once = self.shares(at_once);
        for ((handle, calls), at_once) in self.threads.iter().zip(self.shares(calls as usize)).zip(at_once) {
            handle.tell(Order::Hold { serial, calls, at_once: at_once.max(1) })?;
        }
        self.await_held(serial, tally, watch)
    }

    /// As [`Self::hold_all`], with as many on their way as a server bears; but one call alone at first, so that what is
    /// wrong with all of them is told at once.
    pub(super) fn bring_up(
        &mut self,
        calls: u32,
        tally: &mut Tally,
        watch: &mut dyn Watcher,
    ) -> Result<GoOn, Fault> {
        if !self.is_proven && calls > 0 {
            if self.hold_all(1, 1, tally, watch)? == GoOn::No {
                return Ok(GoOn::No);
            }
            self.judge(tally)?;
            self.is_proven = true;
        }
        let go_on = self.hold_all(calls, AT_ONCE.div_ceil(self.ends()), tally, watch)?;
        if calls > 0 && go_on == GoOn::Yes {
            self.judge(tally)?;
        }
        Ok(go_on)
    }

    /// Whether any call is in being; if not, why.
    pub(super) fn judge(&self, tally: &Tally) -> Result<(), Fault> {
        if self.live.iter().sum::<usize>() > 0 {
            return Ok(());
        }
        Err(refusal::fault(tally.first.as_ref(), &self.common))
    }

    /// Waits until all threads have done what was ordered; tells meanwhile how things stand.
    pub(super) fn await_held(
        &mut self,
        serial: u32,
        tally: &mut Tally,
        watch: &mut dyn Watcher,
    ) -> Result<GoOn, Fault> {
        let (mut pending, mut go_on, mut give_up) = (self.threads.len(), GoOn::Yes, None);
        let mut look = Instant::now() + LOOK;
        loop {
            for (number, held) in std::mem::take(&mut self.held) {
                if held.serial == serial {
                    pending -= 1;
                    self.live[number as usize] = held.calls;
                    tally.add(held.tally);
                }
            }
            if pending == 0 || give_up.is_some_and(|give_up| Instant::now() >= give_up) {
                return Ok(go_on);
            }
            match self.answers.recv_timeout(look.saturating_duration_since(Instant::now())) {
                Ok((number, answer)) => self.keep(number, answer),
                Err(RecvTimeoutError::Disconnected) => return Err(broken()),
                Err(RecvTimeoutError::Timeout) => {
                    look += LOOK;
                    let interval = self.gather(Order::Sample)?.interval;
                    if self.show(&interval, watch) == GoOn::No && go_on == GoOn::Yes {
                        go_on = GoOn::No;
                        give_up = Some(Instant::now() + STOP_MAX);
                        self.tell_all(Order::Halt)?;
                    }
                }
            }
        }
    }

    /// Keeps an answer to an order that is not waited for now. A sample is what nobody waits for any more.
    fn keep(&mut self, number: u32, answer: Answer) {
        if let Answer::Held(held) = answer {
            self.held.push((number, *held));
        }
    }

    /// Has all threads say what they counted; answers the sum.
    pub(super) fn gather(&mut self, order: Order) -> Result<Sample, Fault> {
        self.tell_all(order)?;
        let mut sum =
            Sample { interval: Interval::default(), dropped: 0, calls: 0, failures: Default::default() };
        let mut pending = self.threads.len();
        while pending > 0 {
            let (number, answer) = self.answers.recv_timeout(ANSWER_MAX).map_err(|_| broken())?;
            let Answer::Sample(sample) = answer else {
                self.keep(number, answer);
                continue;
            };
            pending -= 1;
            let at = number as usize;
            (self.dropped[at], self.live[at]) = (sample.dropped, sample.calls);
            sum.interval.add(&sample.interval);
            for (words, count) in sample.failures {
                *sum.failures.entry(words).or_default() += count;
            }
        }
        sum.dropped = self.dropped.iter().sum();
        sum.calls = self.live.iter().sum();
        Ok(sum)
    }

    pub(super) fn tell_all(&self, order: Order) -> Result<(), Fault> {
        self.threads.iter().try_for_each(|handle| handle.tell(order))
    }

    /// How things stand, with what `interval` says.
    pub(super) fn moment(&mut self, interval: &Interval) -> Moment {
        let at = Duration::from_nanos(self.common.clock.now_ns());
        let calls = u32::try_from(self.live.iter().sum::<usize>()).unwrap_or(u32::MAX);
        let server_cpu = self.gauge.as_mut().and_then(Gauge::beat);
        Moment { calls, wanted: self.wanted, own_cpu: self.cpu.beat(), server_cpu, ..interval.moment(at) }
    }

    pub(super) fn show(&mut self, interval: &Interval, watch: &mut dyn Watcher) -> GoOn {
        let moment = self.moment(interval);
        watch.moment(&moment)
    }
}

impl Handle {
    pub(super) fn tell(&self, order: Order) -> Result<(), Fault> {
        self.orders.send(order).map_err(|_| broken())
    }
}

impl Drop for Engine {
    /// Lets all allocations go, in bounded time.
    fn drop(&mut self) {
        let _ = self.tell_all(Order::Leave);
        for handle in &mut self.threads {
            // What a thread panicked with is on the terminal already.
            let _ = handle.thread.take().map(JoinHandle::join);
        }
    }
}

fn broken() -> Fault {
    Fault::new(FaultKind::Machine, "a thread of the generator has failed; this is a bug of the generator")
}
