//! The report for people at a terminal.

use std::fmt::Write as _;

use comfy_table::Cell as Field;
use comfy_table::CellAlignment;
use comfy_table::LineStyle;
use comfy_table::Table;
use comfy_table::presets;

use crate::testbed::Verdict;

use super::Cell;
use super::Matrix;
use super::Run;
use super::words;

/// A matrix as text: who meets whom at a glance, then each pair with its figures, then the verdict.
#[must_use]
pub fn text(matrix: &Matrix) -> String {
    let mut out = String::new();
    let clients = matrix.clients.each_ref().map(|client| words::clean(client));
    let _ = writeln!(out, "{} laboratory: {} calls {}", matrix.lab.word(), clients[0], clients[1]);
    let last = matrix.seed.saturating_add(u64::from(matrix.seeds.saturating_sub(1)));
    let _ = writeln!(out, "  seeds {} to {last} for each pair of places", matrix.seed);
    for link in &matrix.links {
        let _ = writeln!(out, "  {}", words::clean(link));
    }
    let cells = matrix.cells();
    let _ = write!(
        out,
        "\nWho meets whom; the left place by row, the right one by column\n{}",
        grid(matrix, &cells)
    );
    let _ = write!(out, "\nEach pair; time to connect\n{}", list(&cells));
    deviations(&mut out, &cells);
    if !matrix.left_out.is_empty() {
        out.push_str("\nLeft out\n");
        for pair in &matrix.left_out {
            let _ = writeln!(out, "  {} calls {}: {}", pair.left, pair.right, words::clean(&pair.why));
        }
    }
    if !matrix.notes.is_empty() {
        out.push_str("\nNotes\n");
        for note in &matrix.notes {
            let _ = writeln!(out, "  {}", words::clean(note));
        }
    }
    let _ = write!(out, "\n{}\n", words::conclusion(matrix));
    out
}

/// One call as text: its verdict last.
#[must_use]
pub fn text_of_run(run: &Run) -> String {
    let mut out = format!("{} calls {}, seed {}\n", run.left, run.right, run.seed);
    if let Some(connected) = run.connected {
        let _ = writeln!(out, "  connected after {}", words::span(Some(connected)));
    }
    for pair in &run.traffic {
        let _ = writeln!(out, "  {} – {}, {}:", pair.left, pair.right, pair.route);
        for (way, flow) in [("from the left", pair.from_left), ("from the right", pair.from_right)] {
            let _ = writeln!(out, "    {way}: {} packets, {} bytes", flow.packets, flow.bytes);
        }
    }
    for note in &run.notes {
        let _ = writeln!(out, "  {}", words::clean(note));
    }
    let _ = match run.expected {
        Some(expected) if expected == run.verdict => writeln!(out, "{}, as expected", run.verdict),
        Some(expected) => writeln!(out, "{}; expected was {expected}", run.verdict),
        None => writeln!(out, "{}", run.verdict),
    };
    out
}

/// A cell that is not as it should be has this behind its word.
const WRONG: &str = " !";

fn grid(matrix: &Matrix, cells: &[Cell<'_>]) -> String {
    let mut table = table();
    let places = matrix.places.iter().enumerate();
    let numbers = places.clone().map(|(at, _)| Field::new(at + 1));
    table.set_header(std::iter::once(Field::new("")).chain(numbers));
    for ((at, left), row) in places.zip(cells.chunks(matrix.places.len().max(1))) {
        let name = Field::new(format!("{} {left}", at + 1));
        table.add_row(std::iter::once(name).chain(row.iter().map(|cell| Field::new(word(cell)))));
    }
    drawn(&table)
}

fn word(cell: &Cell<'_>) -> String {
    let word = match cell.verdicts().as_slice() {
        [] => "–",
        [(verdict, _)] => words::short(*verdict),
        _ => "mixed",
    };
    format!("{word}{}", if cell.is_as_expected() { "" } else { WRONG })
}

fn list(cells: &[Cell<'_>]) -> String {
    let mut table = table();
    let heads = ["left", "right", "verdict", "expected", "median", "p95", "calls"];
    table.set_header(heads.map(|head| Field::new(head).set_alignment(alignment(head))));
    for cell in cells {
        let verdict = words::verdicts(cell, |verdict| verdict.to_string());
        let row = [
            cell.left.to_string(),
            cell.right.to_string(),
            format!("{verdict}{}", if cell.is_as_expected() { "" } else { WRONG }),
            cell.expected().as_ref().map(Verdict::to_string).unwrap_or_default(),
            words::span(cell.connected_within(0.5)),
            words::span(cell.connected_within(0.95)),
            cell.runs.len().to_string(),
        ];
        table.add_row(
            row.iter().zip(heads).map(|(text, head)| Field::new(text).set_alignment(alignment(head))),
        );
    }
    drawn(&table)
}

fn alignment(head: &str) -> CellAlignment {
    if matches!(head, "median" | "p95" | "calls") { CellAlignment::Right } else { CellAlignment::Left }
}

/// Which calls went wrong, so that they can be made again.
fn deviations(out: &mut String, cells: &[Cell<'_>]) {
    let wrong = |cell: &Cell<'_>| cell.runs.iter().any(|run| !run.is_as_expected());
    if !cells.iter().any(wrong) {
        return;
    }
    out.push_str("\nNot as expected\n");
    for run in cells.iter().flat_map(|cell| &cell.runs).filter(|run| !run.is_as_expected()) {
        let _ = writeln!(out, "  {} calls {}, seed {}: {}", run.left, run.right, run.seed, run.verdict);
        for note in &run.notes {
            let _ = writeln!(out, "    {}", words::clean(note));
        }
    }
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─')));
    table
}

fn drawn(table: &Table) -> String {
    table.lines().map(|line| format!("  {}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn no_report_moves_the_cursor_or_is_wider_than_a_wide_terminal() {
        for (name, matrix) in sample::every() {
            let text = text(&matrix);
            assert!(!text.contains('\u{1b}'), "{name}");
            for line in text.lines() {
                assert!(line.chars().count() <= 140 && line.trim_end() == line, "{name}: {line:?}");
            }
        }
    }

    #[test]
    fn the_last_line_is_the_verdict() {
        let last = |matrix| text(&matrix).lines().last().map(str::to_owned);
        assert_eq!(last(sample::good()).unwrap(), "as expected: 81 pairs of places, 243 calls");
        let mixed = "not as expected: 2 of 80 pairs of places, 240 calls; 1 pair left out";
        assert_eq!(last(sample::mixed()).unwrap(), mixed);
    }

    #[test]
    fn what_went_wrong_can_be_found_and_made_again() {
        let text = text(&sample::mixed());
        assert!(text.contains("mixed !") && text.contains("failed !"), "{text}");
        assert!(text.contains("2 × relayed (udp), 1 × relayed (tls) !"), "{text}");
        assert!(text.contains("symmetric calls port-restricted, seed 2: relayed (tls)"), "{text}");
    }

    #[test]
    fn one_call_is_told_whole() {
        let mut run = sample::run(crate::testbed::Place::Cgn, crate::testbed::Place::Open, 4);
        let told = text_of_run(&run);
        assert!(told.contains("srflx 203.0.113.1:50000 – prflx 203.0.113.2:50000, direct:"), "{told}");
        assert!(told.ends_with("direct, as expected\n"), "{told}");
        run.verdict = Verdict::Failed;
        assert!(text_of_run(&run).ends_with("failed; expected was direct\n"));
        run.expected = None;
        assert!(text_of_run(&run).ends_with("\nfailed\n"));
    }
}
