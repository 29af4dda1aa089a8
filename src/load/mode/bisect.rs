//! The largest load that holds the objective: twice as many calls until it breaks, and then always the middle between
//! what holds and what does not.

use std::time::Duration;

use super::Attentive;
use super::Stage;
use super::probe::Found;
use super::probe::Rate;
use super::ramp;
use crate::load::Fault;
use crate::load::Plan;
use crate::load::outcome::Capacity;
use crate::load::report::some;

/// Loads that are tried, at the most. Bisection needs about half of that for the largest range there is.
const LOADS_MAX: usize = 64;

/// What is known of a server, and so which load to try next.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Search {
    from: u32,
    to: u32,
    precision: f64,
    /// What holds, the largest last.
    holds: Vec<(u32, Rate)>,
    /// The least load that does not hold, or of which nobody knows.
    ends: Option<(u32, Found)>,
    /// The load that held for twice as long.
    confirmed: Option<u32>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Try so many calls.
    Try(u32),
    /// Try the answer itself, for twice as long.
    Confirm(u32),
    /// All is known that was asked.
    Known,
}

pub(super) fn play(
    plan: &Plan,
    stage: &mut Stage<'_>,
    mut search: Search,
    hold: Duration,
    watch: &mut Attentive<'_>,
) -> Result<(), Fault> {
    for _ in 0..LOADS_MAX {
        let next = search.next();
        let (calls, length) = match next {
            Next::Known => break,
            Next::Try(calls) => (calls, hold),
            Next::Confirm(calls) => (calls, hold * 2),
        };
        let found = stage.probe(plan, calls, length, watch)?;
        if found == Found::Stopped {
            if let Some((calls, _)) = search.holds.last() {
                let calls = some((*calls).into(), "call");
                stage.notes.push(format!("Until it was ended, {calls} were seen to hold the objective."));
            }
            return Ok(());
        }
        search.note(next, calls, found);
    }
    stage.side.capacity = search.capacity();
    Ok(())
}

impl Search {
    /// Between two loads, to within a part of the answer.
    pub(super) fn new(from: u32, to: u32, precision: f64) -> Self {
        let to = to.max(1);
        Self { from: from.clamp(1, to), to, precision, holds: Vec::new(), ends: None, confirmed: None }
    }

    fn next(&self) -> Next {
        let held = self.held();
        let Some((ends, _)) = &self.ends else {
            return match held {
                0 => Next::Try(self.from),
                held if held >= self.to => Next::Known,
                held => Next::Try(held.saturating_mul(2).min(self.to)),
            };
        };
        let near = (f64::from(held) * self.precision).max(1.0);
        if f64::from(ends - held) > near {
            return Next::Try(held + (ends - held) / 2);
        }
        // What is in the server's queues makes a load that is a little too large look good for a while.
        if held > 0 && self.confirmed != Some(held) { Next::Confirm(held) } else { Next::Known }
    }

    fn note(&mut self, next: Next, calls: u32, found: Found) {
        match found {
            Found::Holds(rate) => {
                self.holds.retain(|(held, _)| *held < calls);
                self.holds.push((calls, rate));
                if matches!(next, Next::Confirm(_)) {
                    self.confirmed = Some(calls);
                }
            }
            Found::Breaks(_) | Found::Limited(_) => {
                self.holds.retain(|(held, _)| *held < calls);
                self.ends = Some((calls, found));
            }
            Found::Stopped => {}
        }
    }

    fn held(&self) -> u32 {
        self.holds.last().map_or(0, |(calls, _)| *calls)
    }

    fn capacity(self) -> Option<Capacity> {
        let best = self.holds.last().copied();
        match self.ends {
            Some((calls, Found::Breaks(why))) => Some(ramp::broken(best, calls, why)),
            Some((calls, Found::Limited(why))) => {
                Some(Capacity::Unknown(ramp::unknown(best.map(|(held, _)| held), calls, &why)))
            }
            Some((_, Found::Holds(_) | Found::Stopped)) => None,
            None => best.map(|(calls, _)| Capacity::AtLeast(calls)),
        }
    }
}
