//! What must hold, as it is written and as it is judged: `loss<0.1%,p99<20ms,jitter<5ms,failures<1%`.

use std::fmt;
use std::time::Duration;

use super::Fault;
use super::fault::FaultKind;
use super::outcome::Flow;
use super::outcome::Latency;
use super::outcome::Objective;
use super::outcome::Rule;
use super::outcome::Setup;
use super::outcome::Step;
use super::report::some;

/// Rules of one objective, at the most. There are not more kinds of them that make sense.
const RULES_MAX: usize = 16;

/// The part of the calls that may lack before a load is none of that size, unless a rule says otherwise.
const MISSING_MAX: f64 = 0.01;

const HOW_TO_WRITE: &str = "write rules with commas between, such as loss<0.1%,p99<20ms,jitter<5ms,failures<1%; \
                            instead of p99 also p50, p99.9 or max";

impl Objective {
    /// Reads what a user wrote.
    ///
    /// # Errors
    ///
    /// Names the part that cannot be read, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let mut rules: Vec<Rule> = Vec::new();
        for part in text.split(',').map(str::trim) {
            let rule = rule(part)?;
            if rules.iter().any(|other| other.is_like(&rule)) {
                let wrong = format!("the objective has two rules for {}", rule.subject());
                return Err(Fault::new(FaultKind::Request, wrong).cure("leave one of them out"));
            }
            if rules.len() == RULES_MAX {
                let wrong = format!("the objective has more than {RULES_MAX} rules");
                return Err(Fault::new(FaultKind::Request, wrong).cure("leave some of them out"));
            }
            rules.push(rule);
        }
        Ok(Self { rules })
    }

    /// What is taken for the largest load where nothing was said: loss of 0.1 %, p99 of 20 ms, failures of 1 %.
    #[must_use]
    pub fn usual() -> Self {
        Self {
            rules: vec![
                Rule::Loss(0.001),
                Rule::Latency(0.99, Duration::from_millis(20)),
                Rule::Failures(0.01),
            ],
        }
    }

    /// What a load does not hold, of so many calls that were asked for; one sentence each. Empty: all of it holds.
    ///
    /// Each direction must hold by itself. Where no latency is known one way, as with a peer on another machine, that of
    /// the round trip counts. Where no media flows, only failures are judged.
    #[must_use]
    pub fn judge(&self, step: &Step, wanted: u32) -> Vec<String> {
        let mut broken: Vec<_> = self.rules.iter().filter_map(|rule| rule.breaks(step)).collect();
        if (step.up.sent + step.down.sent) > 0 && (step.up.received + step.down.received) == 0 {
            broken = vec!["not one packet arrived".to_owned()];
        }
        if !self.rules.is_empty() && step.offered > 0.0 && step.up.sent + step.down.sent == 0 {
            broken.push("no packet left, so nothing can be said of them".to_owned());
        }
        let judges_failures = self.rules.iter().any(|rule| matches!(rule, Rule::Failures(_)));
        let most = if judges_failures { f64::INFINITY } else { MISSING_MAX };
        let missing = part(u64::from(wanted.saturating_sub(step.calls)), u64::from(wanted));
        if !self.rules.is_empty() && missing > most {
            let wanted = some(wanted.into(), "call");
            broken.push(format!("only {} of {wanted} came to be{}", step.calls, reasons(&step.setup)));
        }
        broken
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<_> = self.rules.iter().map(Rule::to_string).collect();
        f.write_str(&rules.join(","))
    }
}

impl Rule {
    /// What it is about, as it is written.
    fn subject(&self) -> String {
        match self {
            Self::Loss(_) => "loss".to_owned(),
            Self::Latency(quantile, _) if *quantile >= 1.0 => "max".to_owned(),
            Self::Latency(quantile, _) => format!("p{}", (quantile * 1e7).round() / 1e5),
            Self::Jitter(_) => "jitter".to_owned(),
            Self::Failures(_) => "failures".to_owned(),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.subject() == other.subject()
    }

    fn breaks(&self, step: &Step) -> Option<String> {
        let flows = [("up", &step.up), ("down", &step.down)];
        match self {
            Self::Loss(most) => {
                worst(flows, most, |flow| (flow.sent > 0).then(|| part(flow.lost, flow.sent)))
                    .map(|(way, is)| format!("loss {way} is {}, above {}", percent(is), percent(*most)))
            }
            Self::Latency(quantile, most) => {
                let subject = self.subject();
                let is_known = flows.iter().any(|(_, flow)| flow.latency.count() > 0);
                if !is_known && step.round_trip.count() > 0 {
                    let is = step.round_trip.quantile(*quantile);
                    return (is > *most)
                        .then(|| format!("{subject} of the round trip is {is:.1?}, above {most:?}"));
                }
                let value = |latency: &Latency| (latency.count() > 0).then(|| latency.quantile(*quantile));
                worst(flows, most, |flow| value(&flow.latency))
                    .map(|(way, is)| format!("{subject} {way} is {is:.1?}, above {most:?}"))
            }
            Self::Jitter(most) => {
                worst(flows, &most.as_secs_f64(), |flow| Some(flow.jitter.worst)).map(|(way, is)| {
                    format!("the worst jitter {way} is {:.1?}, above {most:?}", Duration::from_secs_f64(is))
                })
            }
            Self::Failures(most) => {
                let is = failures(&step.setup);
                (is > *most).then(|| {
                    format!("failures are {}, above {}{}", percent(is), percent(*most), reasons(&step.setup))
                })
            }
        }
    }
}

/// The direction that is the farthest above the limit.
fn worst<T: PartialOrd + Copy>(
    flows: [(&'static str, &Flow); 2],
    most: &T,
    value: impl Fn(&Flow) -> Option<T>,
) -> Option<(&'static str, T)> {
    let mut found: Option<(&'static str, T)> = None;
    for (way, flow) in flows {
        let Some(is) = value(flow).filter(|is| is > most) else { continue };
        if found.is_none_or(|(_, before)| is > before) {
            found = Some((way, is));
        }
    }
    found
}

/// What part of what was asked for came to nothing.
fn failures(setup: &Setup) -> f64 {
    let refused = setup.asked.saturating_sub(setup.served);
    let named: u64 = setup.failures.values().sum();
    part(refused.max(named).min(setup.asked), setup.asked)
}

/// The most frequent failures, in brackets.
fn reasons(setup: &Setup) -> String {
    let mut failures: Vec<_> = setup.failures.iter().collect();
    failures.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let named: Vec<_> = failures.iter().take(3).map(|(what, count)| format!("{what}: {count}")).collect();
    if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
}

fn part(count: u64, of: u64) -> f64 {
    count as f64 / of.max(1) as f64
}

fn percent(part: f64) -> String {
    format!("{} %", (part * 1e5).round() / 1e3)
}

fn rule(text: &str) -> Result<Rule, Fault> {
    let wrong = |what: String| Fault::new(FaultKind::Request, what).cure(HOW_TO_WRITE);
    if text.is_empty() {
        return Err(wrong("the objective has an empty rule".to_owned()));
    }
    let Some((subject, limit)) = text.split_once("<=").or_else(|| text.split_once('<')) else {
        return Err(wrong(format!("the objective's rule `{text}` has no `<`")));
    };
    let (subject, limit) = (subject.trim(), limit.trim());
    match subject {
        "loss" => Ok(Rule::Loss(read_part(subject, limit)?)),
        "failures" => Ok(Rule::Failures(read_part(subject, limit)?)),
        "jitter" => Ok(Rule::Jitter(read_time(subject, limit)?)),
        "max" => Ok(Rule::Latency(1.0, read_time(subject, limit)?)),
        _ => match subject.strip_prefix('p').and_then(|digits| digits.parse::<f64>().ok()) {
            Some(percents) if percents > 0.0 && percents <= 100.0 => {
                Ok(Rule::Latency(percents / 100.0, read_time(subject, limit)?))
            }
            _ => Err(wrong(format!("the objective knows no `{subject}`"))),
        },
    }
}

fn read_part(subject: &str, text: &str) -> Result<f64, Fault> {
    let percents = text.strip_suffix('%').and_then(|digits| digits.trim().parse::<f64>().ok());
    percents.filter(|percents| (0.0..=100.0).contains(percents)).map(|percents| percents / 100.0).ok_or_else(
        || {
            Fault::new(
                FaultKind::Request,
                format!("the objective's limit `{text}` for {subject} is not a part of all"),
            )
            .cure(format!("write it in percent, such as {subject}<0.1%"))
        },
    )
}

fn read_time(subject: &str, text: &str) -> Result<Duration, Fault> {
    let split = text.find(|each: char| !each.is_ascii_digit() && each != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let seconds = match unit.trim() {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => f64::NAN,
    };
    let time = digits.parse::<f64>().map_or(f64::NAN, |number| number * seconds);
    let in_bounds = (1e-6..=60.0).contains(&time);
    in_bounds.then(|| Duration::from_secs_f64(time)).ok_or_else(|| {
        Fault::new(FaultKind::Request, format!("the objective's limit `{text}` for {subject} is not a time"))
            .cure(format!("write a number and a unit (us, ms or s), at most 60s, such as {subject}<20ms"))
    })
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loss(most) | Self::Failures(most) => {
                write!(f, "{}<{}%", self.subject(), (most * 1e7).round() / 1e5)
            }
            Self::Latency(_, most) | Self::Jitter(most) => write!(f, "{}<{most:?}", self.subject()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::outcome::Jitter;

    #[test]
    fn it_is_read_as_it_is_written() {
        let read = Objective::parse("loss<0.1%, p99 < 20ms,p99.9<=1.5s,max<500us,jitter<5ms,failures<1%");
        let rules = vec![
            Rule::Loss(0.001),
            Rule::Latency(0.99, Duration::from_millis(20)),
            Rule::Latency(0.999, Duration::from_millis(1500)),
            Rule::Latency(1.0, Duration::from_micros(500)),
            Rule::Jitter(Duration::from_millis(5)),
            Rule::Failures(0.01),
        ];
        let objective = read.expect("it is right");
        assert!(objective.rules.iter().zip(&rules).all(|(is, wanted)| is.to_string() == wanted.to_string()));
        assert_eq!(objective.to_string(), "loss<0.1%,p99<20ms,p99.9<1.5s,max<500µs,jitter<5ms,failures<1%");
        assert_eq!(Objective::parse(&objective.to_string()).expect("what is shown can be read"), objective);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_what_to_write_instead() {
        let cases = [
            ("", "the objective has an empty rule", "write rules with commas"),
            ("loss<1%,", "the objective has an empty rule", "write rules with commas"),
            ("loss", "the objective's rule `loss` has no `<`", "loss<0.1%"),
            ("loss>1%", "the objective's rule `loss>1%` has no `<`", "loss<0.1%"),
            ("los<1%", "the objective knows no `los`", "loss<0.1%"),
            ("p0<1ms", "the objective knows no `p0`", "p99.9"),
            ("p101<1ms", "the objective knows no `p101`", "p99.9"),
            ("pNaN<1ms", "the objective knows no `pNaN`", "p99.9"),
            (
                "loss<0.001",
                "the objective's limit `0.001` for loss is not a part of all",
                "percent, such as loss<0.1%",
            ),
            (
                "failures<200%",
                "the objective's limit `200%` for failures is not a part of all",
                "failures<0.1%",
            ),
            ("loss<NaN%", "the objective's limit `NaN%` for loss is not a part of all", "percent"),
            ("p99<20", "the objective's limit `20` for p99 is not a time", "p99<20ms"),
            ("p99<20m", "the objective's limit `20m` for p99 is not a time", "us, ms or s"),
            ("jitter<5%", "the objective's limit `5%` for jitter is not a time", "jitter<20ms"),
            ("p99<0ms", "the objective's limit `0ms` for p99 is not a time", "p99<20ms"),
            ("p99<61s", "the objective's limit `61s` for p99 is not a time", "at most 60s"),
            ("p99<1.2.3s", "the objective's limit `1.2.3s` for p99 is not a time", "p99<20ms"),
            ("p99<1ms,p99.0<2ms", "the objective has two rules for p99", "leave one of them out"),
        ];
        for (text, what, cure) in cases {
            let fault = Objective::parse(text).expect_err(text);
            assert_eq!(fault.what, what, "{text}");
            assert_eq!(fault.kind, FaultKind::Request);
            assert!(fault.cure.as_deref().is_some_and(|is| is.contains(cure)), "{text}: {:?}", fault.cure);
        }
        let many: Vec<_> = (1..=17).map(|each| format!("p{each}<1s")).collect();
        assert_eq!(
            Objective::parse(&many.join(",")).expect_err("too many").what,
            "the objective has more than 16 rules"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "[lospfjitermax0-9<=,.%µ -]{0,40}|\\PC{0,40}") {
            if let Ok(objective) = Objective::parse(&text) {
                let again = Objective::parse(&objective.to_string());
                prop_assert_eq!(again.map(|read| read.rules.len()).ok(), Some(objective.rules.len()));
            }
        }
    }

    #[test]
    fn what_holds_breaks_nothing() {
        assert_eq!(judge("loss<0.1%,p99<20ms,max<60ms,jitter<5ms,failures<1%", &step()), [""; 0]);
        assert_eq!(
            judge("loss<0%", &Step { calls: 100, ..Step::default() }),
            [""; 0],
            "no media, nothing lost"
        );
    }

    #[test]
    fn each_way_must_hold_by_itself_and_the_worse_is_named() {
        let mut step = step();
        step.down.lost = 30;
        step.up.lost = 20;
        assert_eq!(judge("loss<0.1%", &step), ["loss down is 0.3 %, above 0.1 %"]);
        step.up.latency.note(Duration::from_millis(700));
        assert_eq!(judge("p99<20ms,max<600ms", &step), ["max up is 700.4ms, above 600ms"]);
        step.up.jitter.worst = 0.0123;
        assert_eq!(judge("jitter<5ms", &step), ["the worst jitter up is 12.3ms, above 5ms"]);
    }

    #[test]
    fn failures_are_named_with_the_most_frequent_first() {
        let mut step = step();
        step.setup.asked = 100;
        step.setup.served = 90;
        for (what, count) in
            [("Allocate 486", 7), ("Allocate timeout", 2), ("Binding timeout", 1), ("Allocate 508", 8)]
        {
            step.setup.failures.insert(what.to_owned(), count);
        }
        let wanted = "failures are 18 %, above 1 % (Allocate 508: 8, Allocate 486: 7, Allocate timeout: 2)";
        assert_eq!(judge("failures<1%", &step), [wanted]);
        assert_eq!(judge("failures<18%", &step), [""; 0]);
    }

    #[test]
    fn a_load_that_did_not_come_to_be_does_not_hold() {
        let step = Step { calls: 98, ..step() };
        assert_eq!(judge("loss<1%", &step), ["only 98 of 100 calls came to be"]);
        assert_eq!(
            judge("loss<1%,failures<5%", &step),
            [""; 0],
            "whoever has a rule for failures is judged by that"
        );
        assert_eq!(judge("loss<1%", &Step { calls: 99, ..step }), [""; 0]);
    }

    #[test]
    fn a_server_that_swallows_everything_holds_nothing() {
        let mut step = step();
        (step.up, step.down) = (Flow { sent: 1000, lost: 1000, ..Flow::default() }, Flow::default());
        assert_eq!(judge("p99<20ms", &step), ["not one packet arrived"]);
        assert_eq!(Objective::default().judge(&step, 100), ["not one packet arrived"]);
        step.up = Flow::default();
        assert_eq!(judge("p99<20ms", &step), ["no packet left, so nothing can be said of them"]);
    }

    #[test]
    fn a_far_peer_is_judged_by_its_round_trip() {
        let mut step = step();
        (step.up.latency, step.down.latency) = (Latency::new(), Latency::new());
        step.round_trip.note(Duration::from_millis(30));
        assert_eq!(judge("p99<20ms", &step), ["p99 of the round trip is 30.0ms, above 20ms"]);
        assert_eq!(judge("p99<40ms", &step), [""; 0]);
    }

    fn judge(objective: &str, step: &Step) -> Vec<String> {
        Objective::parse(objective).expect("it is right").judge(step, 100)
    }

    fn step() -> Step {
        let mut flow = Flow { sent: 10_000, received: 9_995, lost: 5, ..Flow::default() };
        flow.jitter = Jitter { mean: 0.001, worst: 0.004 };
        for each in 0..1000 {
            flow.latency.note(Duration::from_millis(if each < 995 { 5 } else { 50 }));
        }
        Step { calls: 100, offered: 2000.0, up: flow.clone(), down: flow, ..Step::default() }
    }
}
