//! Calls that come and go: each leaves as soon as packets could flow.

use super::thread::Thread;

/// Calls that come and go for a time.
#[derive(Debug)]
pub(super) struct Churn {
    at_once: usize,
    /// Calls begun each second; `None`: as many as it takes to have `at_once` under way.
    rate: Option<f64>,
    began_ns: u64,
    until_ns: u64,
    begun: u64,
}

impl Churn {
    pub(super) const fn new(at_once: usize, rate: Option<f64>, began_ns: u64, until_ns: u64) -> Self {
        Self { at_once, rate, began_ns, until_ns, begun: 0 }
    }

    /// Whether another one may begin, of which so many are under way.
    fn may_begin(&self, now_ns: u64, under_way: usize) -> bool {
        let is_due = self.rate.is_none_or(|rate| {
            let since_s = now_ns.saturating_sub(self.began_ns) as f64 / 1e9;
            self.begun as f64 <= since_s * rate
        });
        now_ns < self.until_ns && under_way < self.at_once && is_due
    }

    /// Ends it early.
    pub(super) const fn halt(&mut self) {
        self.until_ns = 0;
    }
}

impl Thread {
    /// Begins what is due; ends when its time is over and all of them have left.
    pub(super) fn churn_on(&mut self) {
        let now_ns = self.common.clock.now_ns();
        let under_way = |thread: &Self| thread.hold.coming + thread.hold.parting;
        while self.churn.as_ref().is_some_and(|churn| churn.may_begin(now_ns, under_way(self))) {
            if let Some(churn) = &mut self.churn {
                churn.begun += 1;
            }
            self.begin_call();
        }
        let is_over = self.churn.as_ref().is_some_and(|churn| now_ns >= churn.until_ns);
        if is_over && under_way(self) == 0 {
            self.churn = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_its_pace_and_its_bounds() {
        let mut churn = Churn::new(5, Some(10.0), 1_000_000_000, 3_000_000_000);
        assert!(churn.may_begin(1_000_000_000, 0));
        churn.begun = 1;
        assert!(!churn.may_begin(1_050_000_000, 0), "the next one is due after 100 ms");
        assert!(churn.may_begin(1_100_000_000, 4));
        assert!(!churn.may_begin(1_100_000_000, 5), "there are as many as there may be");
        assert!(!churn.may_begin(3_000_000_000, 0), "it is over");
        let churn = Churn::new(5, None, 0, 10);
        assert!(churn.may_begin(9, 4) && !churn.may_begin(9, 5));
    }
}
