//! A rig whose server is watched meanwhile: each step tells what the server spent in it.

use std::time::Duration;

use super::Fault;
use super::Rig;
use super::outcome::IceOutcome;
use super::outcome::Moment;
use super::outcome::Setup;
use super::outcome::Step;
use super::plan::PeerPlace;
use super::plan::Plan;
use super::plan::Server;
use super::rig::GoOn;
use super::rig::Watcher;
use super::watch::Reader;
use super::watch::Reading;

/// Between two readings within a step. One is a request over HTTP, or some files of `/proc`.
const BETWEEN_READINGS: Duration = Duration::from_millis(900);

/// A rig, and the reader of its server where the plan names one.
///
/// A server that cannot be read any more ends no run: what it spent is not known from then on.
#[derive(Debug)]
pub struct Watched<R> {
    rig: R,
    server: Option<Watching>,
    /// How many allocations a packet crosses, and a call has.
    crossings: u64,
}

#[derive(Debug)]
struct Watching {
    reader: Reader,
    /// Before the first allocation.
    began: Reading,
}

impl<R: Rig> Watched<R> {
    /// Watches the server as the plan says, and leaves all else to `rig`.
    ///
    /// # Errors
    ///
    /// Where nothing can be read at the place that was named.
    pub fn new(plan: &Plan, server: &Server, rig: R) -> Result<Self, Fault> {
        let server = match &server.watch {
            Some(watch) => {
                let mut reader = Reader::open(watch)?;
                let began = reader.read_with_drops()?;
                Some(Watching { reader, began })
            }
            None => None,
        };
        let crossings = if plan.peer == PeerPlace::Relay { 2 } else { 1 };
        Ok(Self { rig, server, crossings })
    }

    /// Has `work` done, and tells in its step what the server spent meanwhile.
    fn spending(
        &mut self,
        watch: &mut dyn Watcher,
        work: impl FnOnce(&mut R, &mut dyn Watcher) -> Result<Step, Fault>,
    ) -> Result<Step, Fault> {
        let Some(mut server) = self.server.take() else { return work(&mut self.rig, watch) };
        let before = server.reader.read_with_drops();
        let mut looking = Looking { watch, reader: &mut server.reader, readings: Vec::new() };
        let mut step = work(&mut self.rig, &mut looking)?;
        let readings = looking.readings;
        if let (Ok(before), Ok(after)) = (before, server.reader.read_with_drops()) {
            let packets = self.crossings * (step.up.received + step.down.received);
            let allocations = self.crossings * u64::from(step.calls);
            step.server = Some(after.since(&before, packets, &server.began, allocations));
            fill(&mut step.timeline, &readings);
            self.server = Some(server);
        }
        Ok(step)
    }
}

impl<R: Rig> Rig for Watched<R> {
    fn hold(&mut self, calls: u32, watch: &mut dyn Watcher) -> Result<Setup, Fault> {
        self.rig.hold(calls, watch)
    }

    fn idle(&mut self, length: Duration, watch: &mut dyn Watcher) -> Result<(), Fault> {
        self.rig.idle(length, watch)
    }

    fn measure(&mut self, length: Duration, watch: &mut dyn Watcher) -> Result<Step, Fault> {
        self.spending(watch, |rig, watch| rig.measure(length, watch))
    }

    fn churn(
        &mut self,
        at_once: u32,
        rate: Option<f64>,
        length: Duration,
        watch: &mut dyn Watcher,
    ) -> Result<Step, Fault> {
        let mut step = self.spending(watch, |rig, watch| rig.churn(at_once, rate, length, watch))?;
        if let Some(cost) = &mut step.server {
            // Allocations come and go: what is in use is not that of so many.
            cost.memory_per_allocation = None;
        }
        Ok(step)
    }

    fn storm(&mut self, calls: u32, watch: &mut dyn Watcher) -> Result<Setup, Fault> {
        self.rig.storm(calls, watch)
    }

    fn ice(
        &mut self,
        pairs: u32,
        rate: f64,
        relay_only: bool,
        patience: Duration,
        watch: &mut dyn Watcher,
    ) -> Result<IceOutcome, Fault> {
        self.rig.ice(pairs, rate, relay_only, patience, watch)
    }
}

/// Reads the server each time that enough has passed, and passes on what it is told.
struct Looking<'a> {
    watch: &'a mut dyn Watcher,
    reader: &'a mut Reader,
    readings: Vec<(Duration, Reading)>,
}

impl Watcher for Looking<'_> {
    fn moment(&mut self, moment: &Moment) -> GoOn {
        let mut moment = *moment;
        let last = self.readings.last().copied();
        if last.is_none_or(|(at, _)| moment.at >= at + BETWEEN_READINGS)
            && let Ok(reading) = self.reader.read()
        {
            self.readings.push((moment.at, reading));
            moment.server_cpu =
                last.map(|(at, before)| reading.cores_since(&before, moment.at.saturating_sub(at)));
        }
        self.watch.moment(&moment)
    }

    fn part(&mut self, what: &str, length: Option<Duration>) {
        self.watch.part(what, length);
    }
}

/// Tells each moment what the server used between the readings around it.
fn fill(timeline: &mut [Moment], readings: &[(Duration, Reading)]) {
    for moment in timeline {
        let around =
            readings.windows(2).find(|pair| pair[1].0 >= moment.at).or_else(|| readings.windows(2).last());
        if let Some([(from, before), (to, after)]) = around {
            moment.server_cpu = Some(after.cores_since(before, to.saturating_sub(*from)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_moment_has_the_cores_of_the_readings_around_it() {
        let reading = |at_s, cpu_ms| {
            (Duration::from_secs(at_s), Reading { cpu: Duration::from_millis(cpu_ms), ..Reading::default() })
        };
        let readings = [reading(10, 500), reading(11, 700), reading(12, 1_600)];
        let at = |at_ms| Moment { at: Duration::from_millis(at_ms), ..Moment::default() };
        let mut timeline = [at(10_500), at(11_000), at(11_800), at(13_000)];
        fill(&mut timeline, &readings);
        let cores: Vec<_> = timeline.iter().map(|moment| moment.server_cpu.expect("it is known")).collect();
        for (core, wanted) in cores.iter().zip([0.2, 0.2, 0.9, 0.9]) {
            assert!((core - wanted).abs() < 1e-9, "{cores:?}");
        }
        fill(&mut timeline[..1], &readings[..1]);
    }
}
