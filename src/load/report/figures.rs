//! Which plots a report has, and what stands in them.

use crate::load::outcome::Capacity;
use crate::load::outcome::Latency;
use crate::load::outcome::Moment;
use crate::load::outcome::Report;
use crate::load::outcome::Rule;
use crate::load::outcome::Side;
use crate::load::outcome::Step;
use crate::load::plan::Mode;

use super::plot::Curve;
use super::plot::Ink;
use super::plot::Plot;
use super::plot::Shape;
use super::scale::Axis;
use super::sum;
use super::table;
use super::words;

/// The plots of a report, in the order in which they are read.
pub(super) fn figures(report: &Report) -> Vec<Plot> {
    let mut plots = Vec::new();
    if report.sides.iter().any(sum::has_media) {
        plots.push(histogram(report));
        plots.push(over_time(report));
        if is_over_load(report) {
            plots.push(loss_over_load(report));
            plots.push(latency_over_load(report));
        } else {
            plots.push(loss_over_time(report));
        }
    }
    plots.push(if is_over_load(report) { cpu_over_load(report) } else { cpu_over_time(report) });
    plots.push(setup(report));
    plots.push(connections(report));
    plots.retain(|plot| plot.curves.iter().any(|curve| !curve.points.is_empty()));
    plots
}

/// Whether there are several loads to be plotted over.
fn is_over_load(report: &Report) -> bool {
    matches!(report.plan.mode, Mode::Ramp { .. } | Mode::Capacity { .. })
        && report.sides.iter().any(|side| side.steps.len() > 1)
}

fn of_side(report: &Report, index: usize, what: &str) -> String {
    if report.sides.len() > 1 { format!("{} {what}", table::side_name(index)) } else { what.to_owned() }
}

/// The curves of each side in turn, with colours in turn.
fn curves(
    report: &Report,
    shape: Shape,
    each: impl Fn(&Side) -> Vec<(&'static str, Vec<(f64, f64)>)>,
) -> Vec<Curve> {
    let sides = report.sides.iter().enumerate();
    let named = sides.flat_map(|(index, side)| {
        each(side)
            .into_iter()
            .map(move |(what, points)| (of_side(report, index, what), points))
            .collect::<Vec<_>>()
    });
    named
        .filter(|(_, points)| !points.is_empty())
        .enumerate()
        .map(|(index, (name, points))| Curve { name, ink: Ink::of_curve(index), shape, points })
        .collect()
}

fn xs(curves: &[Curve]) -> impl Iterator<Item = f64> + Clone {
    curves.iter().flat_map(|curve| curve.points.iter().map(|(x, _)| *x))
}

fn ys(curves: &[Curve]) -> impl Iterator<Item = f64> + Clone {
    curves.iter().flat_map(|curve| curve.points.iter().map(|(_, y)| *y))
}

/// The step that speaks for a side: the one at its capacity, else the largest load that holds, else the first.
pub(super) fn speaker(side: &Side) -> Option<&Step> {
    if let Some(Capacity::Found { calls: most, .. }) = side.capacity {
        let found = side.steps.iter().rev().find(|step| step.calls == most && step.broken.is_empty());
        if found.is_some() {
            return found;
        }
    }
    let sound = side.steps.iter().filter(|step| step.broken.is_empty());
    sound.max_by_key(|step| step.calls).or_else(|| side.steps.first())
}

fn histogram(report: &Report) -> Plot {
    let curves = if report.sides.len() > 1 {
        curves(report, Shape::Area, |side| vec![("both directions", shares(&sum::all(side).latency))])
    } else {
        curves(report, Shape::Area, |side| {
            let Some(step) = speaker(side) else { return Vec::new() };
            vec![("up", shares(&step.up.latency)), ("down", shares(&step.down.latency))]
        })
    };
    Plot {
        title: "One-way latency",
        says: if is_over_load(report) {
            "How many of the packets took how long, at the largest load that holds. Both axes are logarithmic, so that \
             the few slow ones are seen."
        } else {
            "How many of the packets took how long. Both axes are logarithmic, so that the few slow ones are seen."
        },
        x_name: "from the moment a packet was due to its arrival",
        x: Axis::logarithmic(xs(&curves), words::seconds),
        y: Axis::logarithmic(ys(&curves), percents),
        curves,
    }
}

fn percents(value: f64) -> String {
    let text = if value < 0.001 { format!("{value:.5}") } else { format!("{value:.3}") };
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Bars for each power of ten of latency.
const BARS_PER_DECADE: f64 = 12.0;

/// Percents of the packets in bars of equal width on a logarithmic axis, as the outline of these bars.
fn shares(latency: &Latency) -> Vec<(f64, f64)> {
    let mut bars = std::collections::BTreeMap::<i64, u64>::new();
    for bucket in latency.0.iter_recorded() {
        let seconds = bucket.value_iterated_to() as f64 / 1e6;
        *bars.entry((seconds.log10() * BARS_PER_DECADE).floor() as i64).or_default() +=
            bucket.count_at_value();
    }
    let (Some(first), Some(last)) = (bars.keys().next(), bars.keys().next_back()) else { return Vec::new() };
    let edge = |bar: i64| 10f64.powf(bar as f64 / BARS_PER_DECADE);
    (*first..=*last)
        .flat_map(|bar| {
            let share = 100.0 * bars.get(&bar).map_or(0.0, |count| *count as f64) / latency.count() as f64;
            [(edge(bar), share), (edge(bar + 1), share)]
        })
        .collect()
}

/// All moments of a side, in seconds since its beginning, and each one's time since the one before.
fn moments(side: &Side) -> Vec<(f64, &Moment)> {
    let mut moments = Vec::new();
    let (mut offset, mut last) = (0.0, 0.0);
    for moment in side.steps.iter().flat_map(|step| &step.timeline) {
        let at = moment.at.as_secs_f64();
        if at + offset < last {
            // A step that counts from its own beginning goes behind the one before.
            offset = last;
        }
        last = at + offset;
        moments.push((last, moment));
    }
    moments
}

/// Between two moments, in seconds, where more than one of them is missing: calls came up, or another server had its turn.
const PAUSE_S: f64 = 2.5;

/// A figure over time. Where nothing was measured for a while the line is broken: by a point that is no number.
fn along(side: &Side, value: impl Fn(&Moment) -> Option<f64>) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (at, moment) in moments(side) {
        let Some(value) = value(moment) else { continue };
        if points.last().is_some_and(|(last, _)| at - last > PAUSE_S) {
            points.push((at, f64::NAN));
        }
        points.push((at, value));
    }
    points
}

fn time_label(value: f64) -> String {
    format!("{}s", words::number(value))
}

fn over_time(report: &Report) -> Plot {
    let curves = curves(report, Shape::Line, |side| {
        let took = |value: fn(&Moment) -> f64| {
            along(side, move |moment| Some(value(moment)).filter(|value| *value > 0.0))
        };
        let mut lines = vec![("p50", took(|moment| moment.p50)), ("p99", took(|moment| moment.p99))];
        if report.sides.len() == 1 {
            lines.push(("max", took(|moment| moment.max)));
        }
        lines
    });
    Plot {
        title: "Latency over time",
        says: "One-way latency of what arrived in each interval, both directions together.",
        x_name: "since the run began",
        x: Axis::between(xs(&curves), time_label),
        y: Axis::logarithmic(ys(&curves), words::seconds),
        curves,
    }
}

fn loss_over_time(report: &Report) -> Plot {
    let curves = curves(report, Shape::Line, |side| {
        vec![(
            "lost",
            along(side, |moment| (moment.sent > 0).then(|| 100.0 * moment.lost as f64 / moment.sent as f64)),
        )]
    });
    Plot {
        title: "Loss over time",
        says: "Packets that did not arrive, of those that left, both directions together.",
        x_name: "since the run began",
        x: Axis::between(xs(&curves), time_label),
        y: Axis::to_at_least(ys(&curves), 0.1, percents).rounded(),
        curves,
    }
}

/// The steps of a side, the least load first.
fn by_load(side: &Side) -> Vec<&Step> {
    let mut steps: Vec<_> = side.steps.iter().collect();
    steps.sort_by(|one, other| one.offered.total_cmp(&other.offered));
    steps
}

fn loads(side: &Side, value: impl Fn(&Step) -> Option<f64>) -> Vec<(f64, f64)> {
    by_load(side).into_iter().filter_map(|step| value(step).map(|value| (step.offered, value))).collect()
}

const LOAD_NAME: &str = "offered packets a second, both directions together";

fn loss_over_load(report: &Report) -> Plot {
    let mut curves = curves(report, Shape::Dots, |side| {
        vec![
            ("up", loads(side, |step| (step.up.sent > 0).then(|| 100.0 * words::loss(&step.up)))),
            ("down", loads(side, |step| (step.down.sent > 0).then(|| 100.0 * words::loss(&step.down)))),
        ]
    });
    let x = Axis::linear(xs(&curves), words::number);
    let most = report.plan.objective.rules.iter().find_map(|rule| match rule {
        Rule::Loss(most) => Some(100.0 * most),
        _ => None,
    });
    curves.extend(most.map(|most| limit(x, most)));
    Plot {
        title: "Loss over load",
        says: "Packets that did not arrive, of those that left, at each load.",
        x_name: LOAD_NAME,
        x,
        y: Axis::to_at_least(ys(&curves), 0.1, percents).rounded(),
        curves,
    }
}

fn limit(x: Axis, level: f64) -> Curve {
    let points = vec![(x.low(), level), (x.high(), level)];
    Curve { name: "objective".to_owned(), ink: Ink::Limit, shape: Shape::Dashes, points }
}

fn latency_over_load(report: &Report) -> Plot {
    let mut curves = curves(report, Shape::Dots, |side| {
        let at = |quantile: f64| {
            loads(side, |step| {
                let latency = sum::both(step).latency;
                (latency.count() > 0).then(|| latency.quantile(quantile).as_secs_f64())
            })
        };
        vec![("p50", at(0.5)), ("p99", at(0.99)), ("max", at(1.0))]
    });
    let x = Axis::linear(xs(&curves), words::number);
    let most = report.plan.objective.rules.iter().find_map(|rule| match rule {
        Rule::Latency(_, most) => Some(most.as_secs_f64()),
        _ => None,
    });
    curves.extend(most.map(|most| limit(x, most)));
    Plot {
        title: "Latency over load",
        says: "One-way latency at each load, both directions together.",
        x_name: LOAD_NAME,
        x,
        y: Axis::logarithmic(ys(&curves), words::seconds),
        curves,
    }
}

const CPU_TITLE: &str = "CPU over load";
const CPU_SAYS: &str = "Cores in use: 1 is one core all the time. Where generator and server share a machine, their sum is \
                        bounded by its cores.";

fn cpu_over_load(report: &Report) -> Plot {
    let curves = curves(report, Shape::Dots, |side| {
        vec![
            ("generator", loads(side, |step| Some(sum::own_cores(step)))),
            ("server", loads(side, |step| step.server.as_ref().map(|cost| sum::server_cores(step, cost)))),
        ]
    });
    Plot {
        title: CPU_TITLE,
        says: CPU_SAYS,
        x_name: LOAD_NAME,
        x: Axis::linear(xs(&curves), words::number),
        y: Axis::to_at_least(ys(&curves), 0.1, words::number).rounded(),
        curves,
    }
}

fn cpu_over_time(report: &Report) -> Plot {
    let curves = curves(report, Shape::Line, |side| {
        vec![
            ("generator", along(side, |moment| Some(moment.own_cpu))),
            ("server", along(side, |moment| moment.server_cpu)),
        ]
    });
    Plot {
        title: "CPU over time",
        says: CPU_SAYS,
        x_name: "since the run began",
        x: Axis::between(xs(&curves), time_label),
        y: Axis::to_at_least(ys(&curves), 0.1, words::number).rounded(),
        curves,
    }
}

/// How many percents took at most so long.
fn shares_below(latency: &Latency) -> Vec<(f64, f64)> {
    let mut below = 0;
    let mut points = Vec::new();
    for bucket in latency.0.iter_recorded() {
        let seconds = bucket.value_iterated_to() as f64 / 1e6;
        if points.is_empty() {
            points.push((seconds, 0.0));
        }
        below += bucket.count_at_value();
        points.push((seconds, 100.0 * below as f64 / latency.count() as f64));
    }
    thinned(points)
}

/// Points of a curve at most: more are not seen.
const POINTS_MAX: usize = 300;

fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(POINTS_MAX).max(1);
    let last = points.last().copied();
    points.into_iter().step_by(every).chain(last).collect()
}

fn setup(report: &Report) -> Plot {
    let curves = curves(report, Shape::Line, |side| {
        let setup = sum::setup(side);
        // Of two servers only what counts most, or nobody can tell the curves apart.
        let parts = sum::setup_parts(&setup).into_iter();
        let parts = parts.filter(|(what, _)| report.sides.len() == 1 || *what == "allocate");
        parts.map(|(what, latency)| (what, shares_below(latency))).collect()
    });
    distribution("Setup latency", "How many percents of the requests were answered within how long.", curves)
}

fn connections(report: &Report) -> Plot {
    let curves = curves(report, Shape::Line, |side| {
        let ice = side.ice.as_ref();
        let times = ice.map(|ice| [("connected", &ice.time), ("candidates gathered", &ice.gathering)]);
        times.into_iter().flatten().map(|(what, latency)| (what, shares_below(latency))).collect()
    });
    distribution("Time to connect", "How many percents of the pairs were there within how long.", curves)
}

fn distribution(title: &'static str, says: &'static str, curves: Vec<Curve>) -> Plot {
    Plot {
        title,
        says,
        x_name: "within",
        x: Axis::logarithmic(xs(&curves), words::seconds),
        y: Axis::linear([100.0].into_iter(), percents),
        curves,
    }
}
