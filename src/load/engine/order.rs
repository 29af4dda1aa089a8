//! What the rig tells its threads, and what they answer.

use std::collections::BTreeMap;

use crate::load::measure::Interval;
use crate::load::measure::Window;

use super::tally::Tally;

/// What a thread is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// Have so many calls, at most so many of them on their way at once. Answered by [`Answer::Held`] in the end.
    Hold { serial: u32, calls: usize, at_once: usize },
    /// Have calls come and go until then. Answered by [`Answer::Held`] in the end.
    Churn { serial: u32, at_once: usize, rate: Option<f64>, until_ns: u64 },
    /// Count the packets of this window from here on. Answered by what was counted before.
    Open(Window),
    /// Say what was counted. Answered by [`Answer::Sample`].
    Sample,
    /// The window is over, late packets included. Answered by [`Answer::Sample`].
    Close,
    /// Begin nothing more.
    Halt,
    /// Lose the network: all calls are gone without a word.
    Vanish,
    /// Give everything back, and end.
    Leave,
}

/// What a thread answers.
#[derive(Debug)]
pub(super) enum Answer {
    /// What was counted since it was asked last.
    Sample(Box<Sample>),
    /// What was ordered is done, as far as it can be; what came of it.
    Held(Box<Held>),
}

/// What a thread counted.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) interval: Interval,
    /// Datagrams that the kernel dropped at its sockets since it began.
    pub(super) dropped: u64,
    /// Calls in which packets flow.
    pub(super) calls: usize,
    /// What failed since it was asked last, where a window is over.
    pub(super) failures: BTreeMap<String, u64>,
}

/// What came of an order to hold.
#[derive(Debug)]
pub(super) struct Held {
    /// Names the order.
    pub(super) serial: u32,
    pub(super) tally: Tally,
    /// Calls in which packets flow.
    pub(super) calls: usize,
}
