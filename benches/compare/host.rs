//! What a whole host spends on a packet, wherever its kernel does the work: two generators side by side, the same work, one
//! through the relay and one without, and what the first spends more.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use swingbridge::load::Engine;
use swingbridge::load::Rig as _;
use swingbridge::load::outcome::Step;
use swingbridge::load::plan::Carrier;
use swingbridge::load::plan::Lab;
use swingbridge::net::probe;

use super::jobs::Flow;
use super::jobs::Metric;
use super::machine::softirq_time;
use super::measure::HOLDS;
use super::measure::LOSS_MAX;
use super::measure::Taken;
use super::measure::WARM_UP;
use super::measure::engine;
use super::measure::plan_of;
use super::measure::threads_of;
use super::server::Running;
use super::stop::Watch;

/// Pieces that a measurement is cut into. Of what each gives the middle counts: a neighbour's moment is one piece.
const PIECES: u32 = 10;
/// A generator begins to count within this, and goes on for as long as it was told.
const LEAD: Duration = Duration::from_millis(100);

/// A generator, and the threads that it sends and receives with.
struct Generator {
    engine: Engine,
    threads: Vec<String>,
}

impl Generator {
    fn new(flow: Flow, server: &Running, is_serverless: bool) -> Result<Self, String> {
        let mut target = server.target(flow.carrier);
        target.watch = None;
        if is_serverless {
            target.carrier = Carrier::LegacyUdp;
        }
        let plan = plan_of(flow, server, target, Lab { parts: flow.parts, is_serverless });
        let own = std::process::id();
        let before = threads_of(own);
        let engine = engine(&plan, server.wire.as_deref())?;
        let is_of_it = |id: &String| {
            let name = fs::read_to_string(format!("/proc/{own}/task/{id}/comm")).unwrap_or_default();
            !before.contains_key(id) && name.starts_with("load-")
        };
        let threads: Vec<_> = threads_of(own).into_keys().filter(is_of_it).collect();
        if threads.is_empty() {
            return Err("the generator's CPU time cannot be read".to_owned());
        }
        Ok(Self { engine, threads })
    }

    fn hold(&mut self, flow: Flow, watch: &mut Watch<'_>) -> Result<(), String> {
        for _ in 0..HOLDS {
            // A server may take a client's port for that of a client before, and refuse it.
            if self.engine.hold(flow.calls, watch).map_err(|fault| fault.to_string())?.failures.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

/// CPU of all that a host does for a packet, less what generator and wire cost without a relay.
pub(crate) fn host(flow: Flow, server: &Running, watch: &mut Watch<'_>) -> Result<Taken, String> {
    let told = |fault: swingbridge::load::Fault| fault.to_string();
    let (mut with, mut without) = (Generator::new(flow, server, false)?, Generator::new(flow, server, true)?);
    with.hold(flow, watch)?;
    without.hold(flow, watch)?;
    with.engine.idle(WARM_UP, watch).map_err(told)?;
    let length = Duration::from_millis(flow.length_ms);
    let whole = 2 * LEAD + length;
    let threads = [with.threads.clone(), without.threads.clone()];
    let mut second = Watch { stop: watch.stop, bar: watch.bar };
    let (one, other, pieces) = thread::scope(|scope| {
        let other = scope.spawn(|| without.engine.measure(whole, &mut second).map_err(told));
        let pieces = scope.spawn(|| pieces(&threads, server.pid(), length));
        let one = with.engine.measure(whole, watch).map_err(told);
        let failed = "the generator has failed";
        (
            one,
            other.join().unwrap_or_else(|_| Err(failed.to_owned())),
            pieces.join().map_err(|_| failed.to_owned()),
        )
    });
    // All is given back before the next comes.
    with.engine.hold(0, watch).map_err(told)?;
    without.engine.hold(0, watch).map_err(told)?;
    let (one, other, pieces) = (rate(&one?, flow)?, rate(&other?, flow)?, pieces?);
    let mut more: Vec<_> = pieces.iter().map(|piece| piece.more(one, other)).collect();
    more.sort_by(f64::total_cmp);
    let mut taken = Taken::default();
    taken.figures.push((Metric::Host, (more[(more.len() - 1) / 2] + more[more.len() / 2]) / 2.0));
    Ok(taken)
}

/// Packets that arrived each second.
fn rate(step: &Step, flow: Flow) -> Result<f64, String> {
    let (sent, received) = (step.up.sent + step.down.sent, step.up.received + step.down.received);
    if step.calls < flow.calls {
        return Err(format!("of {} calls {} came to be", flow.calls, step.calls));
    }
    if (received as f64) < sent as f64 * (1.0 - LOSS_MAX) {
        let lost = 100.0 * (1.0 - received as f64 / sent.max(1) as f64);
        return Err(format!("{lost:.1} % of the packets were lost"));
    }
    Ok(received as f64 / step.length.as_secs_f64().max(1e-6))
}

/// CPU time that was spent within some time.
struct Piece {
    length: Duration,
    with: Duration,
    without: Duration,
    server: Duration,
    kernel: Duration,
}

impl Piece {
    /// Nanoseconds of each packet through the relay, with so many arriving each second, less those of each that goes without.
    fn more(&self, one: f64, other: f64) -> f64 {
        let each = |spent: Duration, rate: f64| spent.as_nanos() as f64 / (rate * self.length.as_secs_f64());
        each(self.with + self.server + self.kernel, one) - each(self.without, other)
    }
}

/// What two generators, a server and the kernel's threads for packets spend, piece by piece.
fn pieces(threads: &[Vec<String>; 2], server: u32, length: Duration) -> Vec<Piece> {
    let read = || {
        let now = Instant::now();
        let all = threads_of(std::process::id());
        let of = |ids: &[String], all: &BTreeMap<String, Duration>| -> Duration {
            ids.iter().filter_map(|id| all.get(id)).sum()
        };
        let server = probe::cpu_time_of(server).unwrap_or_default();
        (now, of(&threads[0], &all), of(&threads[1], &all), server, softirq_time())
    };
    thread::sleep(LEAD);
    let mut before = read();
    let mut pieces = Vec::new();
    for _ in 0..PIECES {
        thread::sleep(length / PIECES);
        let after = read();
        pieces.push(Piece {
            length: after.0 - before.0,
            with: after.1.saturating_sub(before.1),
            without: after.2.saturating_sub(before.2),
            server: after.3.saturating_sub(before.3),
            kernel: after.4.saturating_sub(before.4),
        });
        before = after;
    }
    pieces
}
