//! What was measured, as people read it: the table of the terminal, and that of the document.

use comfy_table::Cell;
use comfy_table::CellAlignment;
use comfy_table::LineStyle;
use comfy_table::Table;
use comfy_table::presets;

use super::figures::Judged;
use super::figures::NOT_ASKED;
use super::figures::Spread;
use super::figures::Verdict;
use super::lines::Unit;

/// Between these the document's table stands.
pub(crate) const MARKS: [&str; 2] = ["<!-- table: written by benches/compare -->", "<!-- end of table -->"];

const HEADS: [&str; 7] = ["work", "path", "it", "other", "ratio", "reach (stretch)", "verdict"];

/// The table of the terminal, with reasons and remarks below.
pub(crate) fn terminal(judged: &[Judged]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─')));
    table.set_header(HEADS);
    for each in shown(judged) {
        let cells = cells(each);
        table.add_row(cells.iter().enumerate().map(|(column, text)| {
            let side = if (2..5).contains(&column) { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(text).set_alignment(side)
        }));
    }
    let lines: String = table.lines().map(|line| format!("  {}\n", line.trim_end())).collect();
    let notes = noted(judged).into_iter().map(|(text, ids)| format!("  {}: {text}\n", ids.join(", ")));
    format!("{lines}\n{}", notes.collect::<String>())
}

/// The table of the document.
pub(crate) fn markdown(judged: &[Judged], facts: &[(&str, String)]) -> String {
    // Lines of a table may be as wide as they are.
    let mut out = String::from("| | |\n|---|---|\n");
    for (name, what) in facts {
        out.push_str(&format!("| {name} | {what} |\n"));
    }
    out.push_str(&format!("\n| {} |\n|{}\n", HEADS.join(" | "), "---|".repeat(HEADS.len())));
    for each in shown(judged) {
        out.push_str(&format!("| {} |\n", cells(each).join(" | ")));
    }
    let notes = noted(judged);
    if !notes.is_empty() {
        out.push_str("\n| rows | what is to be said of them |\n|---|---|\n");
    }
    for (text, ids) in notes {
        out.push_str(&format!("| {} | {} |\n", ids.join(", "), text.replace('|', "/").replace('\n', " ")));
    }
    out
}

/// `document` with `text` in the place of what stands between the marks; `None` if it has no marks.
pub(crate) fn inserted(document: &str, text: &str) -> Option<String> {
    let (before, rest) = document.split_once(MARKS[0])?;
    let (_, after) = rest.split_once(MARKS[1])?;
    Some(format!("{before}{}\n\n{text}\n{}{after}", MARKS[0], MARKS[1]))
}

/// What was asked for.
fn shown(judged: &[Judged]) -> impl Iterator<Item = &Judged> {
    judged.iter().filter(|each| !matches!(&each.verdict, Verdict::NotRun(why) if why == NOT_ASKED))
}

fn cells(judged: &Judged) -> [String; 7] {
    let line = judged.line;
    let figure = |spread: &Option<Spread>| {
        spread.map_or_else(
            || "–".to_owned(),
            |spread| format!("{} {}", number(spread.figure, line.unit), line.unit.word()),
        )
    };
    [
        format!("{}: {}", line.id, line.work),
        line.ours.to_owned(),
        figure(&judged.ours),
        figure(&judged.base),
        judged.ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
        line.goal.words(line.unit),
        judged.verdict.word().to_owned(),
    ]
}

/// With as many digits as mean something.
fn number(figure: f64, unit: Unit) -> String {
    match unit {
        Unit::Mebibytes => format!("{figure:.1}"),
        Unit::Micros | Unit::MicrosPerCycle if figure < 100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

/// What is to be said of rows, each thing once, and of which rows.
fn noted(judged: &[Judged]) -> Vec<(String, Vec<&str>)> {
    let mut out: Vec<(String, Vec<&str>)> = Vec::new();
    for each in shown(judged) {
        let mut said = each.remarks.clone();
        if let Verdict::NotRun(why) = &each.verdict {
            said.push(format!("not run: {why}"));
        }
        for text in said {
            match out.iter_mut().find(|(known, _)| *known == text) {
                Some((_, ids)) => ids.push(each.line.id),
                None => out.push((text, vec![each.line.id])),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::figures::Figures;
    use super::super::lines::COTURN;
    use super::super::lines::SOCKETS;
    use super::*;

    fn judged() -> Vec<Judged> {
        let mut figures = Figures::default();
        figures.note("up-1", SOCKETS, Some(2_000.4));
        figures.note("up-1", COTURN, Some(4_000.0));
        figures.note("audio-p50", SOCKETS, Some(31.25));
        figures.note("audio-p50", COTURN, Some(40.0));
        figures.not_run("tc-128", "no capability");
        figures.not_run("xdp-128", "no capability");
        figures.remark("up-1", "1.2 % were lost".to_owned());
        figures.judge()
    }

    #[test]
    fn both_tables_say_the_same() {
        let (terminal, markdown) =
            (terminal(&judged()), markdown(&judged(), &[("machine", "one".to_owned())]));
        for text in [&terminal, &markdown] {
            for word in ["up-1", "2000 ns", "4000 ns", "0.50", "reached, stretch too", "31.2 µs", "not run"]
            {
                assert!(text.contains(word), "{word:?} is missing in\n{text}");
            }
            let text = text.replace(" | ", ": ");
            assert!(text.contains("tc-128, xdp-128: not run: no capability"), "{text}");
            assert!(text.contains("up-1: 1.2 % were lost"), "{text}");
            assert!(!text.contains("down-200"), "it was not asked for: {text}");
        }
        assert!(markdown.contains("| machine | one |\n\n| work |"), "{markdown}");
        let bars = |line: &str| line.matches('|').count();
        assert!(markdown.lines().all(|line| [0, 3, 8].contains(&bars(line))), "{markdown}");
    }

    #[test]
    fn a_document_keeps_what_stands_around_the_table() {
        let document = format!("# A\n\n{}\nold\n{}\n\n## B\n", MARKS[0], MARKS[1]);
        let new = inserted(&document, "new\n").expect("it has marks");
        assert_eq!(new, format!("# A\n\n{}\n\nnew\n\n{}\n\n## B\n", MARKS[0], MARKS[1]));
        assert_eq!(inserted(&new, "new\n").as_deref(), Some(new.as_str()), "twice is as once");
        assert_eq!(inserted("# A\n", "new"), None);
    }
}
