//! The tables of the text report. What they show as rows of words is also what the page shows.

use comfy_table::Cell;
use comfy_table::CellAlignment;
use comfy_table::LineStyle;
use comfy_table::Table;
use comfy_table::presets;

use crate::load::outcome::Flow;
use crate::load::outcome::IceOutcome;
use crate::load::outcome::Latency;
use crate::load::outcome::Side;
use crate::load::outcome::Step;

use super::sum;
use super::words;

/// Rows of words under their headings. Columns that say nothing in any row are left out.
pub(super) struct Rows {
    /// What stands above each column.
    pub(super) heads: Vec<&'static str>,
    /// Each as long as `heads`.
    pub(super) rows: Vec<Vec<String>>,
}

/// What stands where there is nothing to say.
const NOTHING: &str = "";

impl Rows {
    fn new(heads: &[&'static str]) -> Self {
        Self { heads: heads.to_vec(), rows: Vec::new() }
    }

    fn without_empty_columns(self) -> Self {
        let keep: Vec<_> =
            (0..self.heads.len()).map(|column| self.rows.iter().any(|row| row[column] != NOTHING)).collect();
        let kept = |index: usize| keep[index];
        Self {
            heads: self
                .heads
                .into_iter()
                .enumerate()
                .filter(|(index, _)| kept(*index))
                .map(|(_, head)| head)
                .collect(),
            rows: self
                .rows
                .into_iter()
                .map(|row| {
                    row.into_iter()
                        .enumerate()
                        .filter(|(index, _)| kept(*index))
                        .map(|(_, cell)| cell)
                        .collect()
                })
                .collect(),
        }
    }

    /// Drawn for a terminal, indented.
    pub(super) fn draw(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─')));
        table.set_header(self.heads.iter().map(|head| Cell::new(head).set_alignment(side_of(head))));
        for row in &self.rows {
            let cells = row.iter().zip(&self.heads);
            table.add_row(cells.map(|(cell, head)| Cell::new(cell).set_alignment(side_of(head))));
        }
        table.lines().map(|line| format!("  {}\n", line.trim_end())).collect()
    }
}

/// Words stand at the left, figures at the right.
pub(super) fn is_word(head: &str) -> bool {
    matches!(head, "way" | "what" | "server" | "left" | "right" | "ended")
}

fn side_of(head: &str) -> CellAlignment {
    if is_word(head) { CellAlignment::Left } else { CellAlignment::Right }
}

/// What became of pairs of agents between NATs: for each pair of places a row, and one more for each further ending.
pub(super) fn nats(ice: &IceOutcome) -> Rows {
    let mut rows =
        Rows::new(&["left", "right", "connected", "success", "p50", "p95", "p99", "ended", "agrees"]);
    for nat in ice.nats.iter().filter(|nat| nat.tried() > 0) {
        let (tried, connected) = (nat.tried(), nat.connected());
        let span = |part: f64| {
            if nat.time.count() > 0 { words::span(nat.time.quantile(part)) } else { NOTHING.to_owned() }
        };
        let mut row = vec![
            nat.places[0].to_string(),
            nat.places[1].to_string(),
            format!("{}/{}", words::count(connected), words::count(tried)),
            words::part(connected, tried),
            span(0.5),
            span(0.95),
            span(0.99),
        ];
        for (ending, count) in &nat.ended {
            let ended = if *count == tried {
                ending.to_string()
            } else {
                format!("{} {ending}", words::count(*count))
            };
            row.push(ended);
            row.push(if *ending == nat.expected { "yes" } else { "NO" }.to_owned());
            rows.rows.push(row);
            row = vec![NOTHING.to_owned(); 7];
        }
    }
    rows
}

/// What became of the packets: for each step a row up, a row down, a row there and back.
/// Where an objective judges the steps, a column says which of them hold it.
pub(super) fn media(side: &Side, is_judged: bool) -> Rows {
    let mut rows = Rows::new(&[
        "calls",
        "offered/s",
        "way",
        "lost",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "jitter",
        "dup",
        "reord",
        "holds",
    ]);
    for step in &side.steps {
        let mut ways = Vec::new();
        for (way, flow) in [("up", &step.up), ("down", &step.down)] {
            if flow.sent > 0 {
                ways.push(flow_row(way, flow));
            }
        }
        if step.round_trip.count() > 0 {
            let nothing = || NOTHING.to_owned();
            let mut row = vec!["round trip".to_owned(), nothing()];
            row.extend(quantiles(&step.round_trip));
            row.extend([nothing(), nothing(), nothing()]);
            ways.push(row);
        }
        for (index, way) in ways.into_iter().enumerate() {
            let first = index == 0;
            let shown = |text: String| if first { text } else { NOTHING.to_owned() };
            let mut row =
                vec![shown(words::count(step.calls.into())), shown(words::number(step.offered.round()))];
            row.extend(way);
            row.push(shown(holds(step, is_judged).to_owned()));
            rows.rows.push(row);
        }
    }
    rows.without_empty_columns()
}

fn holds(step: &Step, is_judged: bool) -> &'static str {
    match (is_judged, step.broken.is_empty()) {
        (false, _) => NOTHING,
        (true, true) => "yes",
        (true, false) => "no",
    }
}

fn flow_row(way: &str, flow: &Flow) -> Vec<String> {
    let mut row = vec![way.to_owned(), words::percent(words::loss(flow))];
    row.extend(quantiles(&flow.latency));
    row.extend([
        words::seconds(flow.jitter.mean),
        words::count(flow.duplicated),
        words::count(flow.reordered),
    ]);
    row
}

fn quantiles(latency: &Latency) -> Vec<String> {
    let mut cells: Vec<_> = [0.5, 0.9, 0.99, 0.999].map(|part| words::span(latency.quantile(part))).into();
    cells.push(words::span(latency.max()));
    cells
}

/// How long each part of a setup took, over all steps.
pub(super) fn setup(side: &Side) -> Rows {
    let mut rows = Rows::new(&["what", "count", "p50", "p90", "p99", "p99.9", "max"]);
    for (what, latency) in sum::setup_parts(&sum::setup(side)) {
        let mut row = vec![what.to_owned(), words::count(latency.count())];
        row.extend(quantiles(latency));
        rows.rows.push(row);
    }
    rows
}

/// How the setup of each step went, where there are several.
pub(super) fn rounds(side: &Side) -> Rows {
    let mut rows = Rows::new(&[
        "calls",
        "asked",
        "served",
        "took",
        "served/s",
        "cycles",
        "alloc p50",
        "alloc p99",
        "alloc max",
    ]);
    for step in side.steps.iter().filter(|step| step.setup.asked > 0) {
        let setup = &step.setup;
        let cycles = if setup.cycles == 0 { NOTHING.to_owned() } else { words::count(setup.cycles) };
        rows.rows.push(vec![
            words::count(step.calls.into()),
            words::count(setup.asked),
            words::count(setup.served),
            words::span(setup.took),
            words::number(sum::rate(setup.served, setup.took)),
            cycles,
            words::span(setup.allocate.quantile(0.5)),
            words::span(setup.allocate.quantile(0.99)),
            words::span(setup.allocate.max()),
        ]);
    }
    rows.without_empty_columns()
}

/// What each step cost the generator.
pub(super) fn own_cost(side: &Side) -> Rows {
    let mut rows = Rows::new(&["calls", "cores", "ns/packet", "late", "unsent", "dropped"]);
    for step in &side.steps {
        let own = &step.own;
        rows.rows.push(vec![
            words::count(step.calls.into()),
            words::number(sum::own_cores(step)),
            each_packet(own.cpu_per_packet_ns),
            words::count(own.late),
            words::count(own.unsent),
            words::count(own.dropped),
        ]);
    }
    rows.without_empty_columns()
}

/// A cost for each packet; nothing where there were none.
fn each_packet(cost: f64) -> String {
    if cost > 0.0 { words::number(cost) } else { NOTHING.to_owned() }
}

/// What each step cost the server, where it could be read.
pub(super) fn server_cost(side: &Side) -> Rows {
    let mut rows =
        Rows::new(&["calls", "cores", "ns/packet", "whole host", "memory", "per allocation", "dropped"]);
    for step in &side.steps {
        let Some(cost) = &step.server else { continue };
        rows.rows.push(vec![
            words::count(step.calls.into()),
            words::number(sum::server_cores(step, cost)),
            each_packet(cost.cpu_per_packet_ns),
            cost.host_cpu_per_packet_ns.map_or_else(|| NOTHING.to_owned(), words::number),
            words::bytes(cost.memory as f64),
            cost.memory_per_allocation.map_or_else(|| NOTHING.to_owned(), words::bytes),
            cost.dropped.map_or_else(|| NOTHING.to_owned(), words::count),
        ]);
    }
    rows.without_empty_columns()
}

/// Two servers beside each other, round by round and in all.
pub(super) fn compare(sides: &[Side]) -> Rows {
    let mut rows = Rows::new(&[
        "round",
        "server",
        "lost",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "jitter",
        "dup",
        "reord",
        "server ns/packet",
    ]);
    let rounds = sides.iter().map(|side| side.steps.len()).max().unwrap_or(0);
    for round in 0..rounds {
        for (index, side) in sides.iter().enumerate() {
            let Some(step) = side.steps.get(round) else { continue };
            let server =
                step.server.as_ref().map_or_else(String::new, |cost| words::number(cost.cpu_per_packet_ns));
            let shown = if index == 0 { (round + 1).to_string() } else { NOTHING.to_owned() };
            rows.rows.push(compare_row(shown, index, &sum::both(step), server));
        }
    }
    for (index, side) in sides.iter().enumerate() {
        let shown = if index == 0 { "all".to_owned() } else { NOTHING.to_owned() };
        rows.rows.push(compare_row(shown, index, &sum::all(side), String::new()));
    }
    rows.without_empty_columns()
}

fn compare_row(round: String, index: usize, flow: &Flow, server: String) -> Vec<String> {
    let mut row = vec![round];
    row.extend(flow_row(side_name(index), flow));
    row.push(server);
    row
}

/// How a report calls the first and the second server.
pub(super) const fn side_name(index: usize) -> &'static str {
    if index == 0 { "A" } else { "B" }
}
