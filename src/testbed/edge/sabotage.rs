//! Which fault befalls what.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::proto::types::Deadline;
use crate::proto::types::Tick;
use crate::proto::wire::Method;
use crate::testbed::scenario::Do;
use crate::testbed::scenario::Moment;
use crate::testbed::scenario::Scenario;
use crate::testbed::scenario::Times;
use crate::testbed::scenario::Trigger;
use crate::testbed::scenario::Way;
use crate::testbed::scenario::When;

/// Buttons that wait for something to befall.
const PRESSED_MAX: usize = 16;

/// Something that a fault can befall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    Request(Method),
    Answer(Method),
    ToPeer,
    ToClient,
}

/// The faults of one client.
#[derive(Debug)]
pub(super) struct Sabotage {
    scenario: Arc<Scenario>,
    /// Occasions of each fault so far; of one that waits for time, whether it has come.
    seen: Vec<u32>,
    pressed: VecDeque<Do>,
    moments: [Option<Tick>; 5],
}

impl Sabotage {
    pub(super) fn new(scenario: Arc<Scenario>) -> Self {
        let seen = vec![0; scenario.faults.len()];
        Self { scenario, seen, pressed: VecDeque::new(), moments: [None; 5] }
    }

    /// Something happened for the first time, perhaps.
    pub(super) const fn moment(&mut self, moment: Moment, tick: Tick) {
        let place = &mut self.moments[place(moment)];
        if place.is_none() {
            *place = Some(tick);
        }
    }

    /// What befalls this.
    pub(super) fn strike(&mut self, occasion: Occasion) -> Option<Do> {
        let mut first = None;
        for (fault, seen) in self.scenario.faults.iter().zip(&mut self.seen) {
            if !concerns(&fault.when.trigger, occasion) {
                continue;
            }
            *seen = seen.saturating_add(1);
            if first.is_none() && is_in(&fault.when, *seen) {
                first = Some(fault.what.clone());
            }
        }
        if first.is_some() {
            return first;
        }
        let at = self.pressed.iter().position(|what| by_hand(what, occasion))?;
        self.pressed.remove(at)
    }

    /// Somebody pressed a button. Answered back is what is to be done at once.
    pub(super) fn press(&mut self, what: &Do) -> Option<Do> {
        match what {
            Do::MovePort | Do::Vanish | Do::Restart | Do::Rebind | Do::Mtu(_) => Some(what.clone()),
            _ => {
                if self.pressed.len() < PRESSED_MAX {
                    self.pressed.push_back(what.clone());
                }
                None
            }
        }
    }

    /// When time alone sets something off.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.waiting().map(|(_, at, _)| at).min()
    }

    /// What time has set off.
    pub(super) fn due(&mut self, tick: Tick) -> Option<Do> {
        let (place, what) = self
            .waiting()
            .find(|(_, at, _)| at.is_due(tick))
            .map(|(place, _, what)| (place, what.clone()))?;
        self.seen[place] = 1;
        Some(what)
    }

    fn waiting(&self) -> impl Iterator<Item = (usize, Deadline, &Do)> {
        self.scenario.faults.iter().enumerate().filter_map(|(at, fault)| match fault.when.trigger {
            Trigger::After { span, since } if self.seen[at] == 0 => {
                Some((at, self.moments[place(since)]?.after(span), &fault.what))
            }
            _ => None,
        })
    }
}

const fn place(moment: Moment) -> usize {
    match moment {
        Moment::Start => 0,
        Moment::Allocated => 1,
        Moment::Refreshed => 2,
        Moment::Permitted => 3,
        Moment::Media => 4,
    }
}

fn concerns(trigger: &Trigger, occasion: Occasion) -> bool {
    match (trigger, occasion) {
        (Trigger::Request(wanted), Occasion::Request(method))
        | (Trigger::Answer(wanted), Occasion::Answer(method)) => wanted.is_none_or(|wanted| wanted == method),
        (Trigger::Media(way), Occasion::ToPeer) => matches!(way, Way::ToPeer | Way::Both),
        (Trigger::Media(way), Occasion::ToClient) => matches!(way, Way::ToClient | Way::Both),
        _ => false,
    }
}

/// Whether the `seen`-th occasion is one of those that are meant.
fn is_in(when: &When, seen: u32) -> bool {
    match when.times {
        Times::All => seen >= when.nth,
        Times::Some(times) => seen >= when.nth && seen - when.nth < times,
    }
}

/// What a button befalls.
const fn by_hand(what: &Do, occasion: Occasion) -> bool {
    match what {
        Do::Error(_) | Do::StaleNonce | Do::Redirect(_) | Do::Realm(_) => {
            matches!(occasion, Occasion::Request(_))
        }
        _ => matches!(occasion, Occasion::Answer(_)),
    }
}
