//! Two servers under the same load, in turn: pair by pair, each next pair in the other order, so that what else happens
//! on the machines and the network meets both alike. Each pair has its own ratios; their median is the answer, and how
//! far they lie apart is how well it is known.

use std::time::Duration;

use super::Attentive;
use super::Stage;
use super::limited;
use crate::load::Fault;
use crate::load::Plan;
use crate::load::outcome::Comparison;
use crate::load::outcome::Latency;
use crate::load::outcome::Ratio;
use crate::load::outcome::Step;

/// A figure that is compared.
struct Figure {
    name: &'static str,
    /// `None`: not known of that step.
    of: fn(&Step) -> Option<f64>,
}

const FIGURES: [Figure; 6] = [
    Figure { name: "latency p50", of: |step| latency(step, 0.5) },
    Figure { name: "latency p99", of: |step| latency(step, 0.99) },
    Figure { name: "packets arrived", of: |step| Some((step.up.received + step.down.received) as f64) },
    Figure {
        name: "allocate p50",
        of: |step| known(&step.setup.allocate).map(|each| each.quantile(0.5).as_secs_f64()),
    },
    Figure {
        name: "server CPU per packet",
        of: |step| step.server.as_ref().map(|cost| cost.cpu_per_packet_ns),
    },
    Figure { name: "server memory", of: |step| step.server.as_ref().map(|cost| cost.memory as f64) },
];

pub(super) fn play(
    plan: &Plan,
    sides: [&mut Stage<'_>; 2],
    calls: u32,
    hold: Duration,
    rounds: u32,
    watch: &mut Attentive<'_>,
) -> Result<Comparison, Fault> {
    let [first, second] = sides;
    let mut pairs: Vec<[Step; 2]> = Vec::new();
    for round in 0..rounds.max(1) {
        let (one, other) = if round.is_multiple_of(2) {
            let one = turn(plan, first, calls, hold, watch)?;
            (one, turn(plan, second, calls, hold, watch)?)
        } else {
            let other = turn(plan, second, calls, hold, watch)?;
            (turn(plan, first, calls, hold, watch)?, other)
        };
        let (Some(one), Some(other)) = (one, other) else { break };
        if limited(&one).or_else(|| limited(&other)).is_none() {
            pairs.push([one, other]);
        }
    }
    Ok(Comparison {
        pairs: pairs.len(),
        ratios: FIGURES.iter().filter_map(|figure| ratio(figure, &pairs)).collect(),
    })
}

/// One server's turn; the other one is idle meanwhile.
fn turn(
    plan: &Plan,
    stage: &mut Stage<'_>,
    calls: u32,
    hold: Duration,
    watch: &mut Attentive<'_>,
) -> Result<Option<Step>, Fault> {
    if watch.is_stopped {
        return Ok(None);
    }
    let setup = stage.bring_up(calls, plan.warm_up, watch)?;
    let step = stage.measure(plan, calls, hold, setup, watch)?.cloned();
    stage.rig.hold(0, watch)?;
    Ok(step)
}

fn ratio(figure: &Figure, pairs: &[[Step; 2]]) -> Option<Ratio> {
    let of = |[one, other]: &[Step; 2]| {
        let (one, other) = ((figure.of)(one)?, (figure.of)(other)?);
        (one > 0.0).then_some(other / one)
    };
    let each: Vec<f64> = pairs.iter().filter_map(of).collect();
    let mut sorted = each.clone();
    sorted.sort_by(f64::total_cmp);
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    };
    Some(Ratio { what: figure.name.to_owned(), each, median, least, most })
}

fn latency(step: &Step, part: f64) -> Option<f64> {
    let mut both = step.up.latency.clone();
    both.add(&step.down.latency);
    known(&both).or_else(|| known(&step.round_trip)).map(|each| each.quantile(part).as_secs_f64())
}

fn known(latency: &Latency) -> Option<&Latency> {
    (latency.count() > 0).then_some(latency)
}
