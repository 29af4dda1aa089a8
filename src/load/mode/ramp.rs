//! More and more calls, until the objective breaks.

use std::time::Duration;

use super::Attentive;
use super::Stage;
use super::probe::Found;
use super::probe::Rate;
use crate::load::Fault;
use crate::load::Plan;
use crate::load::outcome::Capacity;
use crate::load::report::holding;
use crate::load::report::some;

pub(super) fn play(
    plan: &Plan,
    stage: &mut Stage<'_>,
    (from, step, to): (u32, u32, u32),
    hold: Duration,
    watch: &mut Attentive<'_>,
) -> Result<(), Fault> {
    let mut best: Option<(u32, Rate)> = None;
    let mut calls = from.clamp(1, to.max(1));
    stage.side.capacity = loop {
        match stage.probe(plan, calls, hold, watch)? {
            Found::Holds(rate) => best = Some((calls, rate)),
            Found::Breaks(why) => break Some(broken(best, calls, why)),
            Found::Limited(why) => {
                break Some(Capacity::Unknown(unknown(best.map(|(calls, _)| calls), calls, &why)));
            }
            Found::Stopped => break None,
        }
        if calls >= to {
            break Some(Capacity::AtLeast(calls));
        }
        calls = calls.saturating_add(step.max(1)).min(to);
    };
    Ok(())
}

/// The capacity where one load was seen to hold and a larger one to break.
pub(super) fn broken(best: Option<(u32, Rate)>, breaks_at: u32, why: String) -> Capacity {
    match best {
        Some((calls, Rate { packets, bits })) => Capacity::Found { calls, packets, bits, breaks_at, why },
        None => Capacity::LessThan(breaks_at, why),
    }
}

/// Why no capacity is known where the generator ended first.
pub(super) fn unknown(held: Option<u32>, calls: u32, why: &str) -> String {
    let held = held.map_or_else(String::new, |held| format!("{} the objective; ", holding(held)));
    format!("{held}with {}, {why}", some(calls.into(), "call"))
}
