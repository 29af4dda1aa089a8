//! One load for a time.

use std::time::Duration;

use super::Attentive;
use super::Stage;
use crate::load::Fault;
use crate::load::Plan;

pub(super) fn play(
    plan: &Plan,
    stage: &mut Stage<'_>,
    calls: u32,
    length: Duration,
    watch: &mut Attentive<'_>,
) -> Result<(), Fault> {
    let setup = stage.bring_up(calls, plan.warm_up, watch)?;
    stage.measure(plan, calls, length, setup, watch)?;
    Ok(())
}
