//! What is seen while a run goes on: a bar on a terminal, a line now and then where there is none.

use std::io::IsTerminal as _;
use std::time::Duration;
use std::time::Instant;

use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;

use crate::cli::output;
use crate::config::show_span;
use crate::load::outcome::Moment;
use crate::load::rig::GoOn;
use crate::load::rig::Watcher;

use super::stop::Stop;

/// Between two lines, where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// Steps of the bar: finer is not seen.
const STEPS: u64 = 1_000;

/// Shows how a run goes, and ends it early when asked to.
pub(super) struct Progress {
    stop: Stop,
    /// What there is more and more of: `call`, `pair`.
    counted: &'static str,
    bar: Option<ProgressBar>,
    part: Part,
    said_at: Option<Instant>,
    told_of_stop: bool,
}

/// The part of the run that is going on.
struct Part {
    what: String,
    length: Option<Duration>,
    began: Instant,
    sent: u64,
    lost: u64,
}

impl Part {
    fn new(what: &str, length: Option<Duration>) -> Self {
        Self { what: what.to_owned(), length, began: Instant::now(), sent: 0, lost: 0 }
    }
}

impl Progress {
    /// On a terminal a bar, else lines, which tell how many of `counted` there are.
    pub(super) fn new(stop: Stop, counted: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr_with_hz(5));
            let template = if output::stderr_has_colours() {
                "{prefix:.bold} {bar:24.cyan} {wide_msg}"
            } else {
                "{prefix} {bar:24} {wide_msg}"
            };
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style.progress_chars("=>-"));
            bar
        });
        let part = Part::new("starting", None);
        Self { stop, counted, bar, part, said_at: None, told_of_stop: false }
    }

    /// Leaves the terminal clean for the report.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    fn show(&mut self, moment: &Moment) {
        let figures = figures(&self.part, self.counted, moment, self.part.began.elapsed());
        if let Some(bar) = &self.bar {
            bar.set_prefix(self.part.what.clone());
            bar.set_message(figures);
            if let Some(length) = self.part.length.filter(|length| !length.is_zero()) {
                let part = self.part.began.elapsed().as_secs_f64() / length.as_secs_f64();
                bar.set_position(((STEPS as f64) * part.min(1.0)) as u64);
            }
            return;
        }
        if self.said_at.is_none_or(|at| at.elapsed() >= BETWEEN_LINES) {
            self.said_at = Some(Instant::now());
            self.say(&format!("{}: {figures}", self.part.what));
        }
    }
}

impl Watcher for Progress {
    fn moment(&mut self, moment: &Moment) -> GoOn {
        self.part.sent += moment.sent;
        self.part.lost += moment.lost;
        self.show(moment);
        if !self.stop.is_asked() {
            return GoOn::Yes;
        }
        if !self.told_of_stop {
            self.told_of_stop = true;
            self.say("stopping; the report follows. Once more, and nothing does");
        }
        GoOn::No
    }

    fn part(&mut self, what: &str, length: Option<Duration>) {
        self.part = Part::new(what, length);
        self.said_at = None;
        if let Some(bar) = &self.bar {
            bar.set_position(0);
            bar.set_prefix(what.to_owned());
            bar.set_message("");
        }
    }
}

fn figures(part: &Part, counted: &str, moment: &Moment, gone: Duration) -> String {
    let mut figures = Vec::new();
    if moment.wanted > 0 {
        let plural = if moment.wanted == 1 { "" } else { "s" };
        figures.push(format!("{}/{} {counted}{plural}", moment.calls, moment.wanted));
    }
    if part.sent > 0 {
        figures.push(format!("loss {:.2} %", 100.0 * part.lost as f64 / part.sent as f64));
    }
    if moment.p99 > 0.0 {
        figures.push(format!("p99 {:.1} ms", 1e3 * moment.p99));
    }
    if let Some(left) = part.length.map(|length| length.saturating_sub(gone)) {
        figures.push(format!("{} left", show_span(left)));
    }
    figures.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_is_known_and_no_more() {
        let mut part = Part::new("measuring 100 calls", Some(Duration::from_secs(60)));
        let mut moment = Moment { calls: 20, wanted: 100, ..Moment::default() };
        assert_eq!(figures(&part, "call", &moment, Duration::from_secs(13)), "20/100 calls, 47s left");
        (part.sent, part.lost, moment.p99, part.length) = (1_000, 5, 0.012_34, None);
        assert_eq!(figures(&part, "call", &moment, Duration::ZERO), "20/100 calls, loss 0.50 %, p99 12.3 ms");
        let one = Moment { calls: 0, wanted: 1, ..Moment::default() };
        assert_eq!(figures(&Part::new("connecting", None), "pair", &one, Duration::ZERO), "0/1 pair");
    }
}
