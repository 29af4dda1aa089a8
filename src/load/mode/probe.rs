//! Whether a load holds the objective, asked twice before the answer is no.

use std::time::Duration;

use super::Attentive;
use super::Stage;
use super::limited;
use crate::load::Fault;
use crate::load::Plan;
use crate::load::fault::FaultKind;
use crate::load::outcome::Step;
use crate::load::report::some;

/// How long the server rests at a load before it is measured once more, at the least: what a larger load left in its
/// queues is none of this one's.
const SETTLE: Duration = Duration::from_secs(1);

/// What a load showed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// It holds the objective.
    Holds(Rate),
    /// It does not.
    Breaks(String),
    /// The generator came to its own limit, so nobody knows.
    Limited(String),
    /// The run was ended early.
    Stopped,
}

/// What arrived, both directions together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    /// Packets a second.
    pub(super) packets: f64,
    /// Bits of payload a second.
    pub(super) bits: f64,
}

impl Stage<'_> {
    /// Whether so many calls hold the objective. A load that seems to break it, or to be too much for the generator, is
    /// measured once more, and then that counts: a hiccup of somebody else's is no limit.
    pub(super) fn probe(
        &mut self,
        plan: &Plan,
        calls: u32,
        length: Duration,
        watch: &mut Attentive<'_>,
    ) -> Result<Found, Fault> {
        let first = self.trial(plan, calls, length, plan.warm_up, watch)?;
        let (Found::Breaks(why) | Found::Limited(why)) = &first else { return Ok(first) };
        let second = self.trial(plan, calls, length, plan.warm_up.max(SETTLE), watch)?;
        if matches!(second, Found::Holds(_)) {
            self.notes.push(format!(
                "With {} it was measured twice; the first time: {why}. The second time the objective held.",
                some(calls.into(), "call")
            ));
        }
        Ok(second)
    }

    fn trial(
        &mut self,
        plan: &Plan,
        calls: u32,
        length: Duration,
        settle: Duration,
        watch: &mut Attentive<'_>,
    ) -> Result<Found, Fault> {
        let setup = match self.bring_up(calls, settle, watch) {
            Ok(setup) => setup,
            // The first load that finds nothing at all is a mistake in what was asked; a later one is a limit.
            Err(fault) if self.side.steps.is_empty() => return Err(fault),
            Err(fault) if fault.kind == FaultKind::Machine => return Ok(Found::Limited(fault.what)),
            Err(fault) => return Ok(Found::Breaks(fault.what)),
        };
        let step = self.measure(plan, calls, length, setup, watch)?;
        Ok(step.map_or(Found::Stopped, judged))
    }
}

fn judged(step: &Step) -> Found {
    if let Some(why) = limited(step) {
        return Found::Limited(why);
    }
    if !step.broken.is_empty() {
        return Found::Breaks(step.broken.join("; "));
    }
    let seconds = step.length.as_secs_f64().max(1e-9);
    let packets = (step.up.received + step.down.received) as f64 / seconds;
    let bytes = (step.up.received_bytes + step.down.received_bytes) as f64;
    Found::Holds(Rate { packets, bits: bytes * 8.0 / seconds })
}
