//! All clients at once, and again after each loss of them all.

use std::time::Duration;

use super::Attentive;
use super::Stage;
use crate::load::Fault;
use crate::load::Plan;
use crate::load::report::some;
use crate::load::rig::Watcher;

/// Nothing is warmed up: how the media fare right behind the storm is what is asked.
pub(super) fn play(
    plan: &Plan,
    stage: &mut Stage<'_>,
    calls: u32,
    rounds: u32,
    hold: Duration,
    watch: &mut Attentive<'_>,
) -> Result<(), Fault> {
    for round in 1..=rounds.max(1) {
        if watch.is_stopped {
            break;
        }
        watch.part(&format!("{} at once, round {round}", some(calls.into(), "call")), None);
        let setup = stage.rig.storm(calls, watch)?;
        stage.measure(plan, calls, hold, setup, watch)?;
    }
    Ok(())
}
