//! Several steps as one: what a whole run comes to.

use std::time::Duration;

use crate::load::outcome::Flow;
use crate::load::outcome::Latency;
use crate::load::outcome::Report;
use crate::load::outcome::ServerCost;
use crate::load::outcome::Setup;
use crate::load::outcome::Side;
use crate::load::outcome::Step;
use crate::load::outcome::Verdict;
use crate::load::plan::Mode;

/// Why the figures are the generator's limit, if they are.
pub(super) fn limited(report: &Report) -> Option<&str> {
    match &report.verdict {
        Verdict::GeneratorLimited(why) => Some(why),
        _ => None,
    }
}

/// Both directions of a step together. Its jitter is that of the worse direction.
pub(super) fn both(step: &Step) -> Flow {
    let mut flow = step.up.clone();
    add(&mut flow, &step.down);
    flow
}

/// All steps of a side, both directions.
pub(super) fn all(side: &Side) -> Flow {
    side.steps.iter().fold(Flow::default(), |mut sum, step| {
        add(&mut sum, &step.up);
        add(&mut sum, &step.down);
        sum
    })
}

fn add(sum: &mut Flow, flow: &Flow) {
    sum.sent += flow.sent;
    sum.sent_bytes += flow.sent_bytes;
    sum.received += flow.received;
    sum.received_bytes += flow.received_bytes;
    sum.lost += flow.lost;
    sum.duplicated += flow.duplicated;
    sum.reordered += flow.reordered;
    sum.latency.add(&flow.latency);
    if flow.jitter.worst > sum.jitter.worst {
        sum.jitter = flow.jitter;
    }
}

/// What all steps of a side took to set up.
pub(super) fn setup(side: &Side) -> Setup {
    side.steps.iter().fold(Setup::default(), |mut sum, step| {
        let setup = &step.setup;
        sum.asked += setup.asked;
        sum.served += setup.served;
        sum.cycles += setup.cycles;
        sum.took += setup.took;
        for (to, from) in [
            (&mut sum.allocate, &setup.allocate),
            (&mut sum.binding, &setup.binding),
            (&mut sum.permit, &setup.permit),
            (&mut sum.connect, &setup.connect),
        ] {
            to.add(from);
        }
        for (failure, count) in &setup.failures {
            *sum.failures.entry(failure.clone()).or_default() += count;
        }
        sum
    })
}

/// The parts of a setup that took place, in their order.
pub(super) fn setup_parts(setup: &Setup) -> Vec<(&'static str, &Latency)> {
    [
        ("connect", &setup.connect),
        ("binding", &setup.binding),
        ("allocate", &setup.allocate),
        ("permission and channel", &setup.permit),
    ]
    .into_iter()
    .filter(|(_, latency)| latency.count() > 0)
    .collect()
}

/// Cores that the generator used in a step.
pub(super) fn own_cores(step: &Step) -> f64 {
    cores(step.own.cpu, step.length)
}

/// Cores that the server used in a step.
pub(super) fn server_cores(step: &Step, cost: &ServerCost) -> f64 {
    cores(cost.cpu, step.length)
}

fn cores(cpu: Duration, length: Duration) -> f64 {
    if length.is_zero() { 0.0 } else { cpu.as_secs_f64() / length.as_secs_f64() }
}

/// Packets a second that arrived in a step, both directions.
pub(super) fn arrived(step: &Step) -> f64 {
    rate(step.up.received + step.down.received, step.length)
}

/// Payload bits a second that arrived in a step, both directions.
pub(super) fn arrived_bits(step: &Step) -> f64 {
    8.0 * rate(step.up.received_bytes + step.down.received_bytes, step.length)
}

/// So many in so long, for each second.
pub(super) fn rate(count: u64, length: Duration) -> f64 {
    if length.is_zero() { 0.0 } else { count as f64 / length.as_secs_f64() }
}

/// Whether media flowed in any step.
pub(super) fn has_media(side: &Side) -> bool {
    side.steps.iter().any(|step| step.up.sent + step.down.sent > 0)
}

/// Whether an objective judges each step by itself.
pub(super) fn is_judged(report: &Report) -> bool {
    !report.plan.objective.rules.is_empty()
        && matches!(report.plan.mode, Mode::Ramp { .. } | Mode::Capacity { .. })
}
