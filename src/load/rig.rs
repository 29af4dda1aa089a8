//! What brings a load up and measures it, as the modes see it. The real one has threads and sockets; tests of the modes
//! have one that computes.

use std::time::Duration;

use super::Fault;
use super::fault::FaultKind;
use super::outcome::IceOutcome;
use super::outcome::Moment;
use super::outcome::Setup;
use super::outcome::Step;

/// Brings up load on one server, and measures it.
pub trait Rig {
    /// Has so many calls in being, with media flowing: makes those that lack, lets go those that are too many. Returns
    /// what the making of the new ones took. Refused calls are counted there and are no fault, unless all were.
    ///
    /// # Errors
    ///
    /// Where no call at all came to be, or this machine has not what it takes.
    fn hold(&mut self, calls: u32, watch: &mut dyn Watcher) -> Result<Setup, Fault>;

    /// Lets time pass without measuring: a warm-up, or the turn of another server.
    ///
    /// # Errors
    ///
    /// As [`Self::hold`].
    fn idle(&mut self, length: Duration, watch: &mut dyn Watcher) -> Result<(), Fault>;

    /// Measures what flows for so long. What was sent within it is waited for, within reason.
    ///
    /// # Errors
    ///
    /// Where the rig itself broke.
    fn measure(&mut self, length: Duration, watch: &mut dyn Watcher) -> Result<Step, Fault>;

    /// Has clients come and go for so long: `at_once` cycles under way, `rate` begun each second if given. The step's
    /// [`Setup`] says what came of it.
    ///
    /// # Errors
    ///
    /// As [`Self::hold`].
    fn churn(
        &mut self,
        at_once: u32,
        rate: Option<f64>,
        length: Duration,
        watch: &mut dyn Watcher,
    ) -> Result<Step, Fault>;

    /// Lets all calls go without a word, as in a loss of the network, and has them come again all at once.
    ///
    /// # Errors
    ///
    /// As [`Self::hold`].
    fn storm(&mut self, calls: u32, watch: &mut dyn Watcher) -> Result<Setup, Fault>;

    /// Has pairs of ICE agents find each other through the server, so many begun each second, each for so long at the
    /// most.
    ///
    /// # Errors
    ///
    /// As [`Self::hold`]; and from a rig that has no agents.
    fn ice(
        &mut self,
        _pairs: u32,
        _rate: f64,
        _relay_only: bool,
        _patience: Duration,
        _watch: &mut dyn Watcher,
    ) -> Result<IceOutcome, Fault> {
        Err(Fault::new(FaultKind::Request, "this way of making load has no ICE agents"))
    }
}

/// Who looks on while a rig works: the progress on a terminal.
pub trait Watcher {
    /// Told a few times each second how things stand. Says whether to go on; a run that is stopped (Ctrl-C) ends its step
    /// early, lets its allocations go and reports what it has.
    fn moment(&mut self, moment: &Moment) -> GoOn;

    /// Told when another part of the run begins: in words, such as `measuring 100 calls`, and how long it will be, if that
    /// is known beforehand.
    fn part(&mut self, _what: &str, _length: Option<Duration>) {}
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoOn {
    /// Yes.
    Yes,
    /// No: end early, tidily.
    No,
}
