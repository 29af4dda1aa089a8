//! docs/compliance/README.md: what the tables say, added up, and everything that is not simply done.

use std::fmt::Write as _;

use crate::table::Level;
use crate::table::Row;
use crate::table::Section;
use crate::table::Standard;
use crate::table::State;

const HEAD: &str = "\
# Compliance

One table a standard, one row for each sentence that speaks to a server, one test at least for each row that is done.
This page is made from the tables: `SWINGBRIDGE_BLESS=1 cargo test --test compliance` writes it anew.

- *key words*: how often MUST, SHOULD and MAY, and the words that mean the same, stand in the text.
- *client only*: those of them that speak to a client, to an agent in general that is not a server, or to authors.
- *plain*: rules without a key word that a server obeys; they are in no count of key words.
- *done*: obeyed, and proved. The proof of row 7.2-4 of RFC 8656 is found by `grep -rn 'proves .*rfc8656:7.2-4\\b' src tests`.
- *exception*: not obeyed, on purpose. *not ours*: about something that this server does not have. *todo*: later.

";

/// The whole page.
pub(crate) fn render(standards: &[Standard]) -> String {
    let mut page = HEAD.to_owned();
    totals(&mut page, standards);
    page += "\n## Exceptions\n\n";
    exceptions(&mut page, standards);
    page += "\n## Not read\n\n";
    unread(&mut page, standards);
    page += "\n## To do\n\n";
    for standard in standards {
        to_do(&mut page, standard);
    }
    if page.ends_with("## To do\n\n") {
        page += "Nothing.\n";
    }
    while page.ends_with("\n\n") {
        page.pop();
    }
    page
}

fn totals(page: &mut String, standards: &[Standard]) {
    *page += "| standard | errata | sections | must, should, may | client only | plain | done | exception | not ours | todo |\n";
    *page += "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n";
    for standard in standards {
        let errata = if standard.errata.is_empty() { "–".to_owned() } else { standard.errata.join(", ") };
        let plain = rows(standard).filter(|(_, row)| row.level == Level::Plain).count();
        let states =
            State::ALL.map(|state| rows(standard).filter(|(_, row)| row.state == state).count().to_string());
        let _ = writeln!(
            page,
            "| [{}]({}.toml) {} | {errata} | {} | {} | {} | {plain} | {} |",
            standard.name,
            standard.stem,
            cell(&standard.title),
            standard.sections.len(),
            sums(standard, |section, level| section.count.of(level)),
            sums(standard, |section, level| section.client_only.of(level)),
            states.join(" | "),
        );
    }
}

fn sums(standard: &Standard, of: fn(&Section, Level) -> usize) -> String {
    Level::COUNTED
        .map(|level| standard.sections.iter().map(|section| of(section, level)).sum::<usize>().to_string())
        .join(", ")
}

fn rows(standard: &Standard) -> impl Iterator<Item = (&Section, &Row)> {
    standard.sections.iter().flat_map(|section| section.rows.iter().map(move |row| (section, row)))
}

fn exceptions(page: &mut String, standards: &[Standard]) {
    *page += "| row | level | the standard | why not | decision |\n|---|---|---|---|---|\n";
    for standard in standards {
        for (_, row) in rows(standard).filter(|(_, row)| row.state == State::Exception) {
            let _ = writeln!(
                page,
                "| {}:{} | {} | {} | {} | {} |",
                standard.stem,
                row.id,
                row.level.word(),
                cell(&row.says),
                cell(row.reason.as_deref().unwrap_or_default()),
                row.decision.as_deref().unwrap_or("–"),
            );
        }
    }
}

fn unread(page: &mut String, standards: &[Standard]) {
    let mut none = true;
    for standard in standards {
        for unread in &standard.unread {
            none = false;
            let _ = writeln!(page, "- {} § {}: {}", standard.name, unread.number, cell(&unread.why));
        }
    }
    if none {
        *page += "Nothing: every section was read.\n";
    }
}

fn to_do(page: &mut String, standard: &Standard) {
    let waiting: Vec<_> = rows(standard).filter(|(_, row)| row.state == State::ToDo).collect();
    if waiting.is_empty() {
        return;
    }
    let _ = writeln!(
        page,
        "### {}\n\n| row | level | the standard | waits for |\n|---|---|---|---|",
        standard.name
    );
    for (_, row) in waiting {
        let reason = cell(row.reason.as_deref().unwrap_or_default());
        let _ = writeln!(page, "| {} | {} | {} | {reason} |", row.id, row.level.word(), cell(&row.says));
    }
    page.push('\n');
}

/// `text` as it may stand in a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    const TABLE: &str = r#"
standard = "RFC 1"
title = "One"
unread = [{ number = "3", why = "lost" }]
[[section]]
number = "2"
title = "First"
count = { must = 3, should = 1, may = 1 }
client_only = { must = 1, should = 0, may = 0 }
row = [
  { id = "2-1", level = "must", says = "be", state = "done" },
  { id = "2-2", level = "must", says = "a | b", state = "exception", reason = "no", decision = "0008" },
  { id = "2-3", level = "should", says = "go", state = "not-ours", reason = "no" },
  { id = "2-4", level = "may", says = "stay", state = "todo", reason = "streams" },
  { id = "2-5", level = "plain", says = "sit", state = "done" },
]
"#;

    #[test]
    fn the_page_adds_up_and_lists_what_is_not_done() {
        let page = render(&[table::parse("docs/compliance/rfc1.toml", TABLE).expect("a table")]);
        for line in [
            "| [RFC 1](rfc1.toml) One | – | 1 | 3, 1, 1 | 1, 0, 0 | 1 | 2 | 1 | 1 | 1 |",
            "| rfc1:2-2 | must | a \\| b | no | 0008 |",
            "- RFC 1 § 3: lost",
            "| 2-4 | may | stay | streams |",
        ] {
            assert!(page.lines().any(|each| each == line), "{line}\n{page}");
        }
        assert!(page.ends_with("streams |\n") && !page.contains("rfc1:2-1 "), "{page}");
    }
}
