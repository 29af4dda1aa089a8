//! What the modes ask of a rig, done by the engine's threads.

use std::time::Duration;
use std::time::Instant;

use crate::load::Fault;
use crate::load::measure::Interval;
use crate::load::measure::Window;
use crate::load::outcome::IceOutcome;
use crate::load::outcome::Moment;
use crate::load::outcome::Own;
use crate::load::outcome::Setup;
use crate::load::outcome::Step;
use crate::load::plan::PeerPlace;
use crate::load::profile::TICK_NS;
use crate::load::rig::GoOn;
use crate::load::rig::Rig;
use crate::load::rig::Watcher;

use super::gauge::Gauge;
use super::ice;
use super::order::Order;
use super::own;
use super::rig::Engine;
use super::rig::LOOK;
use super::tally::Tally;

/// Looks of one moment in a step's timeline.
const LOOKS_PER_MOMENT: u32 = 4;
/// A window begins so long after it was ordered, in nanoseconds: every thread has heard of it by then.
const LEAD_NS: u64 = 60 * TICK_NS;
/// How long late packets are waited for at a window's end, in all; nothing that comes later is of use to a call.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// How often it is looked whether all have come.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

impl Rig for Engine {
    fn hold(&mut self, calls: u32, watch: &mut dyn Watcher) -> Result<Setup, Fault> {
        let (began, mut tally) = (Instant::now(), Tally::default());
        self.bring_up(calls, &mut tally, watch)?;
        tally.setup.took = began.elapsed();
        Ok(tally.setup)
    }

    fn idle(&mut self, length: Duration, watch: &mut dyn Watcher) -> Result<(), Fault> {
        let until = Instant::now() + length;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
            let interval = self.gather(Order::Sample)?.interval;
            if self.show(&interval, watch) == GoOn::No {
                return Ok(());
            }
        }
    }

    fn measure(&mut self, length: Duration, watch: &mut dyn Watcher) -> Result<Step, Fault> {
        self.windows += 1;
        let from_ns = self.common.clock.now_ns().next_multiple_of(TICK_NS) + LEAD_NS;
        let length_ns = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX / 4);
        let mut window = Window { number: self.windows, from_ns, to_ns: from_ns.saturating_add(length_ns) };
        let dropped_before = self.gather(Order::Open(window))?.dropped;
        self.sleep_until(window.from_ns);
        self.gauge.iter_mut().for_each(Gauge::begin);
        let cpu_before = own::cpu_time();
        let (mut step, mut total) = (Step::default(), Interval::default());
        let go_on = self.look_on(&window, &mut total, &mut step, watch)?;
        if go_on == GoOn::No {
            window.to_ns = self.common.clock.now_ns();
            total.add(&self.gather(Order::Open(window))?.interval);
        }
        step.own.cpu = own::cpu_time().saturating_sub(cpu_before);
        let spent = self.gauge.as_mut().and_then(Gauge::end);
        if go_on == GoOn::Yes {
            self.drain(&mut total)?;
        }
        let last = self.gather(Order::Close)?;
        total.add(&last.interval);
        // Until the next window, all packets are shown.
        let _ = self.gather(Order::Open(Window::ALL))?;
        total.fill(&mut step);
        step.calls = u32::try_from(last.calls).unwrap_or(u32::MAX);
        step.length = Duration::from_nanos(window.to_ns - window.from_ns);
        step.offered = self.offered(step.calls);
        step.setup.failures = last.failures;
        let received = step.up.received + step.down.received;
        let packets = (step.up.sent + step.down.sent + received).max(1);
        step.own.cpu_per_packet_ns = step.own.cpu.as_nanos() as f64 / packets as f64;
        step.own.dropped = last.dropped - dropped_before;
        let allocations = u64::from(step.calls) * self.ends() as u64;
        step.server =
            self.gauge.as_ref().zip(spent).map(|(gauge, end)| gauge.cost(&end, received, allocations));
        Ok(step)
    }

    fn churn(
        &mut self,
        at_once: u32,
        rate: Option<f64>,
        length: Duration,
        watch: &mut dyn Watcher,
    ) -> Result<Step, Fault> {
        let mut tally = Tally::default();
        // One call comes up alone, and leaves again: what is wrong with all of them is told at once.
        if self.bring_up(1, &mut tally, watch)? == GoOn::No {
            return Ok(Step::default());
        }
        self.hold_all(0, 1, &mut Tally::default(), watch)?;
        let (began, cpu_before, mut tally) = (Instant::now(), own::cpu_time(), Tally::default());
        let ends = self.ends();
        let calls = self.shares((at_once as usize).div_ceil(ends));
        let part = self.threads.len() as f64 * ends as f64;
        let serial = self.next_serial();
        let until_ns = self.common.clock.now_ns() + u64::try_from(length.as_nanos()).unwrap_or(u64::MAX / 4);
        for (handle, at_once) in self.threads.iter().zip(calls) {
            let rate = rate.map(|rate| rate / part);
            handle.tell(Order::Churn { serial, at_once: at_once.max(1), rate, until_ns })?;
        }
        // They come and go: how many there are at a moment says nothing.
        self.wanted = 0;
        self.await_held(serial, &mut tally, watch)?;
        tally.setup.took = began.elapsed();
        let own = Own { cpu: own::cpu_time().saturating_sub(cpu_before), ..Own::default() };
        Ok(Step { calls: at_once, length: began.elapsed(), setup: tally.setup, own, ..Step::default() })
    }

    fn storm(&mut self, calls: u32, watch: &mut dyn Watcher) -> Result<Setup, Fault> {
        let (began, mut tally) = (Instant::now(), Tally::default());
        self.tell_all(Order::Vanish)?;
        let go_on = self.hold_all(calls, usize::MAX / 2, &mut tally, watch)?;
        if calls > 0 && go_on == GoOn::Yes {
            self.judge(&tally)?;
        }
        tally.setup.took = began.elapsed();
        Ok(tally.setup)
    }

    fn ice(
        &mut self,
        pairs: u32,
        rate: f64,
        relay_only: bool,
        patience: Duration,
        watch: &mut dyn Watcher,
    ) -> Result<IceOutcome, Fault> {
        ice::run(&self.common, ice::Wish { pairs, rate, relay_only, patience }, watch)
    }
}

impl Engine {
    /// Packets that are due each second with so many calls.
    fn offered(&self, calls: u32) -> f64 {
        let traffic = self.common.traffic;
        // A peer on another machine sends back what comes.
        let ways =
            if matches!(self.common.peer, PeerPlace::Remote(_)) { 2 } else { traffic.direction.ways() };
        traffic.profile.packets_each_second() * f64::from(calls) * f64::from(ways)
    }

    fn sleep_until(&self, ns: u64) {
        std::thread::sleep(Duration::from_nanos(ns.saturating_sub(self.common.clock.now_ns())));
    }

    /// Looks on until the window ends, or whoever watches has seen enough.
    fn look_on(
        &mut self,
        window: &Window,
        total: &mut Interval,
        step: &mut Step,
        watch: &mut dyn Watcher,
    ) -> Result<GoOn, Fault> {
        let clock = self.common.clock;
        let look_ns = u64::try_from(LOOK.as_nanos()).unwrap_or(u64::MAX);
        let mut second = Interval::default();
        let mut own_cpu = 0.0;
        let mut server_cpu = None;
        for look in 1.. {
            let at_ns = (window.from_ns + u64::from(look) * look_ns).min(window.to_ns);
            self.sleep_until(at_ns);
            let interval = self.gather(Order::Sample)?.interval;
            let moment = self.moment(&interval);
            second.add(&interval);
            own_cpu += moment.own_cpu / f64::from(LOOKS_PER_MOMENT);
            if let Some(cores) = moment.server_cpu {
                *server_cpu.get_or_insert(0.0) += cores / f64::from(LOOKS_PER_MOMENT);
            }
            if look % LOOKS_PER_MOMENT == 0 {
                let at = Duration::from_nanos(clock.now_ns());
                let (calls, wanted) = (moment.calls, moment.wanted);
                let moment =
                    Moment { calls, wanted, own_cpu, server_cpu: server_cpu.take(), ..second.moment(at) };
                step.timeline.push(moment);
                total.add(&std::mem::take(&mut second));
                own_cpu = 0.0;
            }
            let go_on = watch.moment(&moment);
            if go_on == GoOn::No || at_ns >= window.to_ns {
                total.add(&second);
                return Ok(go_on);
            }
        }
        Ok(GoOn::Yes)
    }

    /// Waits for what is still under way, until all of it has come or its time is over.
    fn drain(&mut self, total: &mut Interval) -> Result<(), Fault> {
        let until = Instant::now() + DRAIN_MAX;
        // What a peer on another machine has heard is only known at the end.
        let is_remote = matches!(self.common.peer, PeerPlace::Remote(_));
        loop {
            std::thread::sleep(DRAIN_LOOK);
            total.add(&self.gather(Order::Sample)?.interval);
            let missing =
                (total.up.sent + total.down.sent).saturating_sub(total.up.received + total.down.received);
            if (missing == 0 && !is_remote) || Instant::now() >= until {
                return Ok(());
            }
        }
    }
}
