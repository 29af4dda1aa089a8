//! Whether a client did what its scenario expects of it.

use std::collections::VecDeque;
use std::fmt;

use crate::proto::types::Deadline;
use crate::proto::types::Tick;
use crate::proto::wire::Method;
use crate::proto::wire::TransactionId;
use crate::testbed::scenario::Ends;
use crate::testbed::scenario::Expect;
use crate::testbed::scenario::method_word as name;

/// Transactions that are remembered, to tell a repetition from a request of its own.
const TRANSACTIONS: usize = 256;

/// How a client fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Judgement {
    /// Its scenario expects nothing, or nothing has befallen it yet.
    #[default]
    Nothing,
    /// Something has befallen it, and its time is not over.
    Waiting,
    /// It did what it had to.
    Kept,
    /// It did not; why.
    Broken(String),
}

impl fmt::Display for Judgement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Nothing => "nothing is expected of it",
            Self::Waiting => "its time is not over",
            Self::Kept => "it did what it has to",
            Self::Broken(why) => why,
        })
    }
}

/// Watches one client.
#[derive(Debug)]
pub(super) struct Judge {
    expect: Option<Expect>,
    struck: Option<(Tick, Option<Method>)>,
    known: VecDeque<TransactionId>,
    further: u32,
    granted: bool,
    /// It gave its allocation back, and has not asked for another one since.
    pub(super) given_back: bool,
    pub(super) judgement: Judgement,
}

impl Judge {
    pub(super) const fn new(expect: Option<Expect>) -> Self {
        let judgement = Judgement::Nothing;
        Self {
            expect,
            struck: None,
            known: VecDeque::new(),
            further: 0,
            granted: false,
            given_back: false,
            judgement,
        }
    }

    /// A fault befell the client, over a message of this method if over one.
    pub(super) fn strike(&mut self, tick: Tick, method: Option<Method>) {
        if self.expect.is_some() && self.struck.is_none() {
            self.struck = Some((tick, method));
            self.judgement = Judgement::Waiting;
        }
    }

    /// A request came.
    pub(super) fn request(&mut self, method: Method, transaction: TransactionId) {
        if self.known.contains(&transaction) {
            return;
        }
        self.known.push_back(transaction);
        if self.known.len() > TRANSACTIONS {
            self.known.pop_front();
        }
        let Some((_, about)) = self.struck else { return };
        if about.is_none_or(|about| about == method) {
            self.further += 1;
        }
        let at_most = self.expect.as_ref().and_then(|expect| expect.at_most);
        if let (Some(at_most), Judgement::Waiting) =
            (at_most.filter(|most| self.further > *most), &self.judgement)
        {
            let what = about.map_or("request", name);
            self.judgement = Judgement::Broken(format!(
                "sent {} further {what} requests, at most {at_most} expected",
                self.further
            ));
        }
    }

    /// A request was granted, in an answer that left unharmed.
    pub(super) fn granted(&mut self, method: Method) {
        let expected = self.expect.as_ref().and_then(|expect| expect.granted);
        self.granted |= self.struck.is_some() && expected == Some(method);
    }

    /// When the verdict falls.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        let (Some((struck, _)), Some(expect)) = (self.struck, &self.expect) else { return None };
        matches!(self.judgement, Judgement::Waiting).then(|| struck.after(expect.within))
    }

    /// Requests beyond the one that was befallen, of its method.
    pub(super) const fn further(&self) -> u32 {
        self.further
    }

    /// The client sends nothing more, so that its verdict falls now. An allocation that it gave back itself is one that it had.
    pub(super) fn finish(&mut self, live: bool) -> bool {
        let waits = self.judgement == Judgement::Waiting;
        if waits {
            self.fall(live, live || self.given_back);
        }
        waits
    }

    /// The verdict, if it falls now. `live` is whether the client has an allocation. Answers whether it fell.
    pub(super) fn due(&mut self, tick: Tick, live: bool) -> bool {
        if !self.deadline().is_some_and(|at| at.is_due(tick)) {
            return false;
        }
        self.fall(live, live);
        true
    }

    /// `live` is whether the client has an allocation, `lived` whether none was missing as long as it wanted one.
    fn fall(&mut self, live: bool, lived: bool) {
        let Some(expect) = &self.expect else { return };
        let within = expect.within;
        self.judgement = match (expect.granted, expect.ends) {
            (Some(method), _) if !self.granted => {
                Judgement::Broken(format!("no {} was granted within {within:?}", name(method)))
            }
            (_, Some(Ends::Live)) if !lived => {
                Judgement::Broken(format!("it has no allocation after {within:?}"))
            }
            (_, Some(Ends::Gone)) if live => {
                Judgement::Broken(format!("it still has an allocation after {within:?}"))
            }
            _ => Judgement::Kept,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn judge(granted: Option<Method>, at_most: Option<u32>, ends: Option<Ends>) -> Judge {
        let (within, words) = (Duration::from_secs(59), Box::<str>::default());
        let expect = Expect { client: words.clone(), rule: words, within, granted, at_most, ends };
        let mut judge = Judge::new(Some(expect));
        judge.strike(Tick::from(Duration::ZERO), Some(Method::Allocate));
        judge
    }

    #[test]
    fn who_sends_nothing_more_is_judged_by_what_it_did() {
        let mut patient = judge(None, Some(0), Some(Ends::Gone));
        assert!(patient.finish(false) && patient.judgement == Judgement::Kept);
        assert!(!patient.finish(true), "a verdict falls once");
        let mut idle = judge(Some(Method::Refresh), None, Some(Ends::Live));
        assert!(
            idle.finish(true) && matches!(&idle.judgement, Judgement::Broken(why) if why.contains("granted"))
        );
        let mut spared = Judge::new(judge(None, None, None).expect);
        assert!(!spared.finish(true) && spared.judgement == Judgement::Nothing);
    }

    #[test]
    fn an_allocation_that_was_given_back_was_there_and_one_that_was_lost_was_not() {
        for (given_back, is_kept) in [(true, true), (false, false)] {
            let mut judge = judge(None, None, Some(Ends::Live));
            judge.given_back = given_back;
            assert!(judge.finish(false));
            assert_eq!(judge.judgement == Judgement::Kept, is_kept);
            // At the deadline itself it is wanted still.
            let mut judge = self::judge(None, None, Some(Ends::Live));
            judge.given_back = given_back;
            assert!(judge.due(Tick::from(Duration::from_secs(60)), false));
            assert!(matches!(judge.judgement, Judgement::Broken(_)));
        }
    }
}
