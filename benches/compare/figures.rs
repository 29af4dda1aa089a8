//! Of many rounds one figure, and of figures a verdict. Pure: what was measured comes in, what is to be said goes out.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;

use super::lines::Fold;
use super::lines::Goal;
use super::lines::LINES;
use super::lines::Line;

/// Why a line has no verdict: nobody asked for it, or it was tried in vain.
pub(crate) const NOT_ASKED: &str = "not asked for";
const NO_FIGURE: &str = "no round gave a figure of both";

/// What was measured, by line and side: a figure for each round, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    rounds: BTreeMap<(&'static str, &'static str), Vec<Option<f64>>>,
    /// Why a line was not measured.
    reasons: BTreeMap<&'static str, String>,
    /// What a reader must know of a line.
    remarks: BTreeMap<&'static str, Vec<String>>,
}

/// What is to be said of a line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It is reached; whether the stretch is too.
    Reached { stretch: bool },
    /// It is not.
    Missed,
    /// It is shown and not judged.
    Shown,
    /// It was not measured, and why.
    NotRun(String),
}

/// One line, judged.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judged {
    pub(crate) line: &'static Line,
    /// What ours has, with the least and the most of the rounds.
    pub(crate) ours: Option<Spread>,
    /// What it is compared with has.
    pub(crate) base: Option<Spread>,
    /// Ours divided by the other's.
    pub(crate) ratio: Option<f64>,
    pub(crate) verdict: Verdict,
    pub(crate) remarks: Vec<String>,
}

/// Figures of several rounds as one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) figure: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) rounds: usize,
}

impl Figures {
    /// A round of a line and a side gave a figure, or none.
    pub(crate) fn note(&mut self, line: &'static str, side: &'static str, figure: Option<f64>) {
        let figure = figure.filter(|figure| figure.is_finite());
        self.rounds.entry((line, side)).or_default().push(figure);
    }

    /// A line cannot be measured here.
    pub(crate) fn not_run(&mut self, line: &'static str, reason: &str) {
        self.reasons.entry(line).or_insert_with(|| reason.to_owned());
    }

    /// What a reader must know of a line; each remark once.
    pub(crate) fn remark(&mut self, line: &'static str, remark: String) {
        let remarks = self.remarks.entry(line).or_default();
        if !remarks.contains(&remark) {
            remarks.push(remark);
        }
    }

    /// Every line, judged.
    pub(crate) fn judge(&self) -> Vec<Judged> {
        LINES.iter().map(|line| self.judge_line(line)).collect()
    }

    fn of(&self, line: &Line, side: &str) -> &[Option<f64>] {
        let found = self.rounds.iter().find(|((of, at), _)| *of == line.id && *at == side);
        found.map_or(&[], |(_, rounds)| rounds)
    }

    fn judge_line(&self, line: &'static Line) -> Judged {
        let ours = self.of(line, line.ours);
        let base = line.goal.base().map(|base| self.of(line, base));
        let ratio = base.and_then(|base| ratio(line.fold, ours, base));
        let was_tried = !ours.is_empty();
        let (ours, base) = (spread(line.fold, ours), base.and_then(|base| spread(line.fold, base)));
        let verdict = match (ours, line.goal) {
            (Some(_), Goal::Part { reach, stretch, .. }) if ratio.is_some() => {
                let ratio = ratio.unwrap_or(f64::MAX);
                if ratio <= reach {
                    Verdict::Reached { stretch: stretch.is_some_and(|stretch| ratio <= stretch) }
                } else {
                    Verdict::Missed
                }
            }
            (Some(ours), Goal::AtMost(most)) if ours.figure <= most => Verdict::Reached { stretch: false },
            (Some(_), Goal::AtMost(_)) => Verdict::Missed,
            (Some(_), Goal::Shown { .. }) => Verdict::Shown,
            _ => Verdict::NotRun(self.reason(line, was_tried)),
        };
        let remarks = self.remarks.get(line.id).cloned().unwrap_or_default();
        Judged { line, ours, base, ratio, verdict, remarks }
    }

    fn reason(&self, line: &Line, was_tried: bool) -> String {
        let usual = if was_tried { NO_FIGURE } else { NOT_ASKED };
        self.reasons.get(line.id).cloned().unwrap_or_else(|| usual.to_owned())
    }

    /// For programs: every round of every side, and the verdicts.
    pub(crate) fn json(&self) -> Value {
        let lines = self.judge().into_iter().map(|judged| {
            let line = judged.line;
            let sides: serde_json::Map<_, _> = self
                .rounds
                .iter()
                .filter(|((of, _), _)| *of == line.id)
                .map(|((_, side), rounds)| ((*side).to_owned(), json!(rounds)))
                .collect();
            json!({
                "row": line.id,
                "work": line.work,
                "unit": line.unit.word(),
                "side": line.ours,
                "rounds": sides,
                "figure": judged.ours.map(|ours| ours.figure),
                "other": judged.base.map(|base| base.figure),
                "ratio": judged.ratio,
                "goal": line.goal.json(),
                "verdict": judged.verdict.word(),
                "reason": match &judged.verdict { Verdict::NotRun(why) => Some(why.clone()), _ => None },
                "remarks": judged.remarks,
            })
        });
        lines.collect()
    }
}

impl Verdict {
    /// In a word.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Reached { stretch: true } => "reached, stretch too",
            Self::Reached { stretch: false } => "reached",
            Self::Missed => "missed",
            Self::Shown => "–",
            Self::NotRun(_) => "not run",
        }
    }
}

/// Of several rounds one figure; `None` if no round gave one.
pub(crate) fn spread(fold: Fold, rounds: &[Option<f64>]) -> Option<Spread> {
    let mut all: Vec<f64> = rounds.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    let (least, most) = (*all.first()?, *all.last()?);
    let figure = match fold {
        Fold::Median => middle(&all),
        Fold::Least => least,
        Fold::Most => most,
    };
    Some(Spread { figure, least, most, rounds: all.len() })
}

/// Ours divided by the other's: each round for itself, where the middle counts.
fn ratio(fold: Fold, ours: &[Option<f64>], base: &[Option<f64>]) -> Option<f64> {
    if fold != Fold::Median {
        let (ours, base) = (spread(fold, ours)?.figure, spread(fold, base)?.figure);
        return (base > 0.0).then(|| ours / base);
    }
    let pairs = ours.iter().zip(base).filter_map(|(ours, base)| Some(((*ours)?, (*base)?)));
    let mut each: Vec<f64> = pairs.filter(|(_, base)| *base > 0.0).map(|(ours, base)| ours / base).collect();
    each.sort_by(f64::total_cmp);
    (!each.is_empty()).then(|| middle(&each))
}

/// The middle of what is sorted and not empty.
fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[half - 1], sorted[half]) } else { sorted[half] }
}

#[cfg(test)]
mod tests {
    use super::super::lines::COTURN;
    use super::super::lines::SOCKETS;
    use super::*;

    fn of(figures: &Figures, id: &str) -> Judged {
        figures.judge().into_iter().find(|judged| judged.line.id == id).expect("a line")
    }

    fn filled(id: &'static str, ours: &[f64], base: &[f64]) -> Figures {
        let mut figures = Figures::default();
        for figure in ours {
            figures.note(id, SOCKETS, Some(*figure));
        }
        for figure in base {
            figures.note(id, COTURN, Some(*figure));
        }
        figures
    }

    #[test]
    fn the_middle_of_the_rounds_ratios_is_judged_and_not_that_of_middles() {
        // Middles: 3 and 3, of which the ratio would be 1.
        let figures = filled("up-1", &[1.0, 3.0, 8.0], &[2.0, 3.0, 16.0]);
        let judged = of(&figures, "up-1");
        assert_eq!(judged.ratio, Some(0.5));
        assert_eq!(judged.verdict, Verdict::Reached { stretch: true });
        assert_eq!(judged.ours, Some(Spread { figure: 3.0, least: 1.0, most: 8.0, rounds: 3 }));
    }

    #[test]
    fn reached_stretched_and_missed_lie_at_their_limits() {
        let verdict = |ratio: f64| of(&filled("up-1", &[ratio], &[1.0]), "up-1").verdict;
        assert_eq!(verdict(0.72), Verdict::Reached { stretch: true });
        assert_eq!(verdict(0.73), Verdict::Reached { stretch: false });
        assert_eq!(verdict(0.80), Verdict::Reached { stretch: false });
        assert_eq!(verdict(0.801), Verdict::Missed);
        let lost = |ours: &[f64]| of(&filled("burst-172", ours, &[]), "burst-172").verdict;
        assert_eq!(lost(&[0.0, 0.0]), Verdict::Reached { stretch: false });
        assert_eq!(lost(&[0.0, 1.0, 0.0]), Verdict::Missed, "one loss in one round is one too many");
    }

    #[test]
    fn latencies_are_the_least_of_the_rounds() {
        let judged =
            of(&filled("audio-p99", &[900.0, 100.0, 300.0], &[2_000.0, 5_000.0, 200.0]), "audio-p99");
        assert_eq!((judged.ratio, judged.verdict), (Some(0.5), Verdict::Reached { stretch: false }));
    }

    #[test]
    fn rounds_without_a_figure_take_their_partners_with_them() {
        let mut figures = filled("up-1", &[], &[10.0, 1.0]);
        figures.note("up-1", SOCKETS, None);
        figures.note("up-1", SOCKETS, Some(f64::NAN));
        assert_eq!(of(&figures, "up-1").verdict, Verdict::NotRun(NO_FIGURE.to_owned()));
        assert_eq!(of(&figures, "down-1").verdict, Verdict::NotRun(NOT_ASKED.to_owned()));
        figures.note("up-1", SOCKETS, Some(3.0));
        figures.note("up-1", COTURN, Some(6.0));
        assert_eq!(of(&figures, "up-1").ratio, Some(0.5));
        // Nothing is divided by nothing.
        assert_eq!(of(&filled("up-1", &[1.0], &[0.0]), "up-1").ratio, None);
    }

    #[test]
    fn what_was_not_run_says_why_and_what_is_shown_is_not_judged() {
        let mut figures = Figures::default();
        figures.not_run("tc-128", "no capability");
        figures.not_run("tc-128", "another reason");
        assert_eq!(of(&figures, "tc-128").verdict, Verdict::NotRun("no capability".to_owned()));
        assert_eq!(of(&filled("audio-p999", &[9.0], &[1.0]), "audio-p999").verdict, Verdict::Shown);
        // Without the other's figure there is no verdict.
        figures.not_run("up-1", "no coturn");
        figures.note("up-1", SOCKETS, Some(1.0));
        assert_eq!(of(&figures, "up-1").verdict, Verdict::NotRun("no coturn".to_owned()));
    }

    #[test]
    fn the_json_has_every_round() {
        let json = filled("up-1", &[1.0, 3.0], &[2.0, 4.0]).json();
        let line = json.as_array().expect("lines").iter().find(|line| line["row"] == "up-1").expect("it");
        assert_eq!(line["rounds"]["sockets"], json!([1.0, 3.0]));
        assert_eq!((&line["ratio"], &line["verdict"]), (&json!(0.625), &json!("reached, stretch too")));
        assert_eq!(json.as_array().map(Vec::len), Some(LINES.len()));
    }
}
