//! The report for people at a terminal: what was asked, the figures, what they cost, and at the end what is to be said.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::load::outcome::IceOutcome;
use crate::load::outcome::Report;
use crate::load::outcome::Side;
use crate::load::outcome::Verdict;
use crate::load::plan::Mode;

use super::sum;
use super::table;
use super::words;

/// The report as text, in colours or plain.
#[must_use]
pub fn text(report: &Report, colours: bool) -> String {
    let mut out = String::new();
    let pen = Pen { colours };
    if let Some(why) = sum::limited(report) {
        line(&mut out, &format!("{}: {why}", pen.bad("generator-limited")));
        line(&mut out, LIMITED);
        out.push('\n');
    }
    asked(&mut out, report);
    if matches!(report.plan.mode, Mode::Compare { .. }) {
        heading(&mut out, "Both servers, both directions together");
        out.push_str(&table::compare(&report.sides).draw());
        for sentence in words::comparison(report) {
            line(&mut out, &format!("  {sentence}"));
        }
    }
    for (index, side) in report.sides.iter().enumerate() {
        one_side(&mut out, report, side, index);
    }
    conclusion(&mut out, report, pen);
    out
}

const LIMITED: &str = "  The figures below are the limit of this machine and say nothing of the server. Offer less, give this\n  \
                       command more cores or its own machine, and look at docs/load.md.";

fn asked(out: &mut String, report: &Report) {
    let plan = &report.plan;
    line(out, &format!("{}: {}", words::mode_word(&plan.mode), words::mode(&plan.mode)));
    for (index, server) in plan.servers.iter().enumerate() {
        let name =
            if plan.servers.len() > 1 { format!("{} ", table::side_name(index)) } else { String::new() };
        line(out, &format!("  {name}{}", clean(&words::server(server))));
    }
    for sentence in words::nats(plan) {
        line(out, &format!("  {}", clean(&sentence)));
    }
    if let Some(traffic) = words::traffic(plan) {
        line(out, &format!("  {traffic}"));
        line(out, &format!("  {}", words::peer(&plan.peer)));
    }
    if let Some(objective) = words::objective(&plan.objective) {
        line(out, &format!("  objective: {objective}"));
    }
    let machine = &report.machine;
    let cores = words::some(machine.cores as u64, "core");
    let began = words::moment(report.began_unix);
    line(
        out,
        &format!(
            "  from {cores}, {}; began {began}; took {}",
            clean(&machine.kernel),
            words::chosen(report.took)
        ),
    );
    if let Some(warm_up) = words::warm_up(plan) {
        line(out, &format!("  warm-up: {warm_up}"));
    }
}

fn one_side(out: &mut String, report: &Report, side: &Side, index: usize) {
    let of = if report.sides.len() > 1 { format!(" ({})", table::side_name(index)) } else { String::new() };
    if sum::has_media(side) && !matches!(report.plan.mode, Mode::Compare { .. }) {
        heading(out, "Packets; latency is one-way, from the moment each was due");
        out.push_str(&table::media(side, sum::is_judged(report)).draw());
        arrived(out, side);
    }
    if let Some(ice) = &side.ice {
        connections(out, ice);
    }
    let setup = sum::setup(side);
    if setup.asked > 0 {
        heading(out, &format!("Setup{of}"));
        line(out, &format!("  {}", served(setup.served, setup.asked)));
        if let (Mode::Churn { .. }, Some(step)) = (report.plan.mode, side.steps.first()) {
            let rate = words::number(sum::rate(setup.cycles, step.length));
            line(
                out,
                &format!("  {} went through, {rate} a second", words::some(setup.cycles, "whole cycle")),
            );
        }
        if side.steps.iter().filter(|step| step.setup.asked > 0).count() > 1 {
            out.push_str(&table::rounds(side).draw());
            out.push('\n');
        }
        out.push_str(&table::setup(side).draw());
    }
    failures(out, &setup.failures);
    if !side.steps.is_empty() {
        let profile = words::profile_word(&report.plan.traffic.profile);
        heading(out, &format!("What this command itself used, {profile}{of}"));
        out.push_str(&table::own_cost(side).draw());
        let server = table::server_cost(side);
        if server.rows.is_empty() {
            line(out, "  What the server used is not known: --server-pid or --admin tells where to read it.");
        } else {
            heading(out, &format!("What the server used{of}"));
            out.push_str(&server.draw());
        }
    }
}

fn arrived(out: &mut String, side: &Side) {
    if let [step] = side.steps.as_slice() {
        let (packets, bits) = (words::number(sum::arrived(step)), words::bits(sum::arrived_bits(step)));
        line(out, &format!("  {packets} packets/s arrived, {bits} of payload, both directions together"));
    }
}

fn served(served: u64, asked: u64) -> String {
    let what = if asked == 1 { "client" } else { "clients" };
    let of = if served == asked { "all".to_owned() } else { words::count(served) };
    format!("{of} of {} {what} that asked got an allocation", words::count(asked))
}

fn connections(out: &mut String, ice: &IceOutcome) {
    heading(out, "ICE");
    let rate = words::part(ice.connected, ice.pairs);
    line(
        out,
        &format!(
            "  {} of {} connected ({rate})",
            words::count(ice.connected),
            words::some(ice.pairs, "pair")
        ),
    );
    for (what, latency) in [("to connect", &ice.time), ("to gather candidates", &ice.gathering)] {
        if latency.count() > 0 {
            let [p50, p99] = [0.5, 0.99].map(|part| words::span(latency.quantile(part)));
            line(out, &format!("  time {what}: p50 {p50}, p99 {p99}, max {}", words::span(latency.max())));
        }
    }
    for (kinds, count) in &ice.by_kind {
        line(out, &format!("  by {}: {}", clean(kinds), words::count(*count)));
    }
    if !ice.nats.is_empty() {
        heading(
            out,
            "Between NATs; the time is that to the first data both ways; agrees: it ended as the standards have it",
        );
        out.push_str(&table::nats(ice).draw());
    }
    failures(out, &ice.failures);
}

fn failures(out: &mut String, failures: &BTreeMap<String, u64>) {
    if failures.is_empty() {
        return;
    }
    heading(out, "Failures");
    for (failure, count) in failures {
        let meaning = words::meaning(failure).map_or_else(String::new, |meaning| format!(" ({meaning})"));
        line(out, &format!("  {} × {}{meaning}", words::count(*count), clean(failure)));
    }
}

fn conclusion(out: &mut String, report: &Report, pen: Pen) {
    if !report.notes.is_empty() {
        heading(out, "Notes");
        for note in &report.notes {
            line(out, &format!("  {}", clean(note)));
        }
    }
    out.push('\n');
    if sum::limited(report).is_none() {
        for (index, side) in report.sides.iter().enumerate() {
            let of = if report.sides.len() > 1 {
                format!(" ({})", table::side_name(index))
            } else {
                String::new()
            };
            if let Some(capacity) = &side.capacity {
                line(out, &format!("{}{of}: {}", pen.strong("capacity"), clean(&words::capacity(capacity))));
            }
        }
    }
    match &report.verdict {
        Verdict::Done => {
            line(out, &format!("{}: it went through; nothing was to be judged", pen.good("done")))
        }
        Verdict::Met => line(out, &format!("{}: {}", pen.good("met"), words::held(&report.plan))),
        Verdict::Stopped => line(out, &format!("{}: ended early by the user", pen.bad("stopped"))),
        Verdict::GeneratorLimited(why) => {
            line(out, &format!("{}: {}", pen.bad("generator-limited"), clean(why)))
        }
        Verdict::Broken(why) => {
            line(out, &format!("{}: {}", pen.bad("broken"), words::not_held(&report.plan)));
            for each in why {
                line(out, &format!("  {}", clean(each)));
            }
        }
    }
}

fn heading(out: &mut String, text: &str) {
    let _ = write!(out, "\n{text}\n");
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// Text of others without what could move a terminal's cursor.
fn clean(text: &str) -> String {
    text.chars().map(|each| if each.is_control() { '\u{fffd}' } else { each }).collect()
}

/// Colours, or none.
#[derive(Clone, Copy)]
struct Pen {
    colours: bool,
}

impl Pen {
    fn good(self, text: &str) -> String {
        self.paint("1;32", text)
    }

    fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn no_report_shows_a_credential_or_moves_the_cursor() {
        for (name, mut report) in sample::every() {
            report.plan.servers[0].uri = "turn:\x1b[2Jx".to_owned();
            let text = text(&report, false);
            if std::env::var_os("SWINGBRIDGE_REPORTS").is_some() {
                println!("===== {name}\n{text}");
            }
            assert!(!text.contains(sample::PASSWORD) && !text.contains('\x1b'), "{name}: {text}");
            for line in text.lines() {
                assert!(line.chars().count() <= 125 && line.trim_end() == line, "{name}: {line:?}");
            }
        }
    }

    #[test]
    fn a_generator_at_its_limit_is_told_first_and_gives_no_capacity() {
        let text = text(&sample::limited(), false);
        assert!(text.starts_with("generator-limited: 1,234 packets"), "{text}");
        assert!(!text.contains("hold the objective ("), "{text}");
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.last().is_some_and(|line| line.starts_with("generator-limited")), "{text}");
    }

    #[test]
    fn the_last_words_are_the_verdict() {
        let last = |report: &Report| text(report, false).lines().last().map(str::to_owned);
        assert_eq!(last(&sample::soak()).as_deref(), Some("met: the objective holds"));
        assert_eq!(last(&sample::ramp()).as_deref(), Some("  300 calls: loss 1.4 % up is above 0.1 %"));
        let capacity = text(&sample::capacity(), false);
        assert!(
            capacity.contains("capacity: 625 calls hold the objective (62,500 packets/s, 83 Mbit/s"),
            "{capacity}"
        );
    }

    #[test]
    fn between_nats_each_ending_says_whether_it_is_the_right_one() {
        let text = text(&sample::nats(), false);
        let rows: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        let row = |begin: &[&str], end: &[&str]| {
            let is_there = rows.iter().any(|row| row.starts_with(begin) && row.ends_with(end));
            assert!(is_there, "{begin:?} … {end:?}:\n{text}");
        };
        row(&["address-restricted", "address-restricted", "10/10", "100", "%"], &["direct", "yes"]);
        row(&["port-restricted", "symmetric", "9/10", "90", "%"], &["1", "direct", "NO"]);
        row(&["8", "relayed", "(udp)"], &["yes"]);
        row(&["1", "failed"], &["NO"]);
        // A failure that has to be is none.
        row(&["only-443", "open", "0/10", "0", "%"], &["failed", "yes"]);
        assert!(
            text.contains("between 3 pairs of places in turn; a relayed pair is judged 25s after"),
            "{text}"
        );
        assert!(text.contains("broken: pairs ended otherwise than the standards have it"), "{text}");
    }

    #[test]
    fn colours_are_for_who_wants_them() {
        assert!(text(&sample::soak(), true).contains("\x1b[1;32mmet\x1b[0m"));
    }
}
