//! Clients that come and go, over and over.

use std::time::Duration;

use super::Attentive;
use super::Stage;
use crate::load::Fault;
use crate::load::Plan;
use crate::load::rig::Watcher;

pub(super) fn play(
    plan: &Plan,
    stage: &mut Stage<'_>,
    at_once: u32,
    rate: Option<f64>,
    length: Duration,
    watch: &mut Attentive<'_>,
) -> Result<(), Fault> {
    if !plan.warm_up.is_zero() {
        watch.part("warming up", Some(plan.warm_up));
        stage.rig.churn(at_once, rate, plan.warm_up, watch)?;
    }
    if watch.is_stopped {
        return Ok(());
    }
    watch.part("counting cycles", Some(length));
    let step = stage.rig.churn(at_once, rate, length, watch)?;
    let calls = step.calls;
    stage.keep(plan, calls, step, watch.is_stopped);
    Ok(())
}
