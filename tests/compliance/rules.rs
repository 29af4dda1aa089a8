//! What a table must keep to, looked at alone: sums, names, reasons.

use std::collections::BTreeSet;

use crate::table::Level;
use crate::table::Row;
use crate::table::Section;
use crate::table::Standard;
use crate::table::State;

/// Standards of which no MUST is disobeyed without a page in docs/decisions/.
const DECIDED: &[&str] = &["rfc8489", "rfc8656"];

/// What a rule may wait for: the reason of a row that is still to be done begins with one of these.
const LATER: &[&str] = &["streams", "legacy dialect", "RFC 6062"];

/// Every rule that `standard` breaks, each with its place; `decisions` are the numbers of the pages there are.
pub(crate) fn problems(standard: &Standard, decisions: &BTreeSet<String>) -> Vec<String> {
    let mut problems = order_problems(standard);
    for section in &standard.sections {
        let place = format!("{} § {}", standard.stem, section.number);
        problems.extend(sum_problems(section).into_iter().map(|problem| format!("{place}: {problem}")));
        problems.extend(name_problems(section).into_iter().map(|problem| format!("{place}: {problem}")));
        for row in &section.rows {
            let found = row_problems(&standard.stem, row, decisions);
            problems.extend(found.into_iter().map(|problem| format!("{place}: row {}: {problem}", row.id)));
        }
    }
    problems
}

/// How section numbers follow each other: `2` before `10`, chapters before appendices. `None` for what is none.
pub(crate) fn section_key(number: &str) -> Option<Vec<(bool, u32, String)>> {
    let part = |part: &str| match part.parse() {
        Ok(number) => Some((false, number, String::new())),
        Err(_) if part.len() == 1 && part.chars().all(|each| each.is_ascii_uppercase()) => {
            Some((true, 0, part.to_owned()))
        }
        Err(_) => None,
    };
    number.split('.').map(part).collect()
}

fn order_problems(standard: &Standard) -> Vec<String> {
    let mut problems = Vec::new();
    let numbers = || standard.sections.iter().map(|section| section.number.as_str());
    let unread = || standard.unread.iter().map(|unread| unread.number.as_str());
    for number in numbers().chain(unread()).filter(|number| section_key(number).is_none()) {
        problems.push(format!("{}: `{number}` is no number of a section", standard.stem));
    }
    if !numbers().is_sorted_by(|one, next| section_key(one) < section_key(next)) {
        problems.push(format!("{}: each section once, in the order of the standard", standard.stem));
    }
    for number in unread().filter(|unread| numbers().any(|number| number == *unread)) {
        problems.push(format!("{} § {number}: it cannot be both read and unread", standard.stem));
    }
    if standard.sections.iter().any(|section| section.title.trim().is_empty()) {
        problems.push(format!("{}: each section has its title", standard.stem));
    }
    if standard.unread.iter().any(|unread| unread.why.trim().is_empty()) {
        problems.push(format!("{}: say why a section is unread", standard.stem));
    }
    problems
}

fn sum_problems(section: &Section) -> Vec<String> {
    let mut problems = Vec::new();
    for level in Level::COUNTED {
        let rows = section.rows.iter().filter(|row| row.level == level).count();
        let (count, client_only) = (section.count.of(level), section.client_only.of(level));
        if rows + client_only != count {
            problems.push(format!(
                "{}: {rows} rows and {client_only} client-only are not the {count} of the text",
                level.word()
            ));
        }
    }
    problems
}

fn name_problems(section: &Section) -> Vec<String> {
    let mut problems = Vec::new();
    let mut last = 0;
    for row in &section.rows {
        let number = row.id.strip_prefix(&section.number).and_then(|rest| rest.strip_prefix('-'));
        match number
            .and_then(|number| number.parse::<u32>().ok().filter(|parsed| parsed.to_string() == number))
        {
            Some(number) if number > last => last = number,
            Some(_) => problems.push(format!("row {}: each name once, in order", row.id)),
            None => problems.push(format!("row {}: call it {}-{}", row.id, section.number, last + 1)),
        }
    }
    problems
}

fn row_problems(stem: &str, row: &Row, decisions: &BTreeSet<String>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut expect = |holds: bool, problem: &str| {
        if !holds {
            problems.push(problem.to_owned());
        }
    };
    let reason = row.reason.as_deref().map(str::trim);
    expect(!row.says.trim().is_empty(), "say what the rule is");
    if row.state == State::Done {
        expect(reason.is_none(), "what is done needs no reason");
    } else {
        expect(reason.is_some_and(|reason| !reason.is_empty()), "what is not done needs a reason");
    }
    if row.state == State::ToDo {
        let waits = LATER.iter().any(|later| reason.is_some_and(|reason| reason.starts_with(later)));
        expect(waits, &format!("it may wait only for {}", LATER.join(", ")));
    }
    if row.state == State::Exception && row.level == Level::Must && DECIDED.contains(&stem) {
        expect(
            row.decision.is_some(),
            "an exception to a MUST of this standard needs its page in docs/decisions/",
        );
    }
    if let Some(decision) = &row.decision {
        expect(row.state == State::Exception, "only an exception has a decision");
        expect(decisions.contains(decision), &format!("there is no docs/decisions/{decision}-….md"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    const GOOD: &str = r#"
standard = "RFC 8489"
title = "Good"
unread = [{ number = "3.1", why = "no copy was found" }]
[[section]]
number = "2"
title = "First"
count = { must = 3, should = 1, may = 0 }
client_only = { must = 1, should = 0, may = 0 }
[[section.row]]
id = "2-1"
level = "must"
says = "be"
state = "done"
[[section.row]]
id = "2-2"
level = "must"
says = "be loud"
state = "exception"
reason = "the neighbours"
decision = "0008"
[[section.row]]
id = "2-4"
level = "should"
says = "stream"
state = "todo"
reason = "streams: later"
[[section.row]]
id = "2-10"
level = "plain"
says = "serve coffee"
state = "not-ours"
reason = "no cups"
[[section]]
number = "10"
title = "Second"
count = { must = 0, should = 0, may = 0 }
[[section]]
number = "A.1"
title = "Last"
count = { must = 0, should = 0, may = 0 }
"#;

    fn found(stem: &str, text: &str) -> Vec<String> {
        let standard = table::parse(&format!("docs/compliance/{stem}.toml"), text).expect("a table");
        problems(&standard, &BTreeSet::from(["0008".to_owned()]))
    }

    #[test]
    fn a_good_table_has_no_problems() {
        assert_eq!(found("rfc8489", GOOD), Vec::<String>::new());
    }

    #[test]
    fn each_planted_violation_is_found() {
        for (good, wrong, says) in [
            ("must = 3", "must = 4", "rfc8489 § 2: must: 2 rows and 1 client-only are not the 4"),
            ("must = 1", "must = 0", "rfc8489 § 2: must: 2 rows and 0 client-only are not the 3"),
            ("should = 1", "should = 0", "rfc8489 § 2: should: 1 rows"),
            ("may = 0", "may = 1", "rfc8489 § 2: may: 0 rows"),
            ("level = \"plain\"", "level = \"may\"", "rfc8489 § 2: may: 1 rows"),
            ("\"2-2\"", "\"2-1\"", "row 2-1: each name once, in order"),
            ("\"2-10\"", "\"2-3\"", "row 2-3: each name once, in order"),
            ("\"2-10\"", "\"2-05\"", "row 2-05: call it 2-5"),
            ("\"2-10\"", "\"3-5\"", "row 3-5: call it 2-5"),
            ("\"be\"", "\" \"", "row 2-1: say what the rule is"),
            ("reason = \"no cups\"", "", "row 2-10: what is not done needs a reason"),
            ("\"no cups\"", "\"\"", "row 2-10: what is not done needs a reason"),
            ("\"the neighbours\"", "\"  \"", "row 2-2: what is not done needs a reason"),
            ("state = \"exception\"", "state = \"done\"", "row 2-2: what is done needs no reason"),
            ("\"streams: later\"", "\"no time\"", "row 2-4: it may wait only for streams"),
            ("decision = \"0008\"", "", "row 2-2: an exception to a MUST"),
            ("\"0008\"", "\"0099\"", "row 2-2: there is no docs/decisions/0099"),
            ("\"no cups\"", "\"no cups\"\ndecision = \"0008\"", "row 2-10: only an exception has a decision"),
            ("number = \"10\"", "number = \"2\"", "rfc8489: each section once"),
            ("number = \"10\"", "number = \"1\"", "rfc8489: each section once"),
            ("number = \"10\"", "number = \"ten\"", "rfc8489: `ten` is no number"),
            ("title = \"First\"", "title = \"\"", "rfc8489: each section has its title"),
            ("\"3.1\"", "\"10\"", "rfc8489 § 10: it cannot be both"),
            ("\"no copy was found\"", "\"\"", "rfc8489: say why a section is unread"),
        ] {
            let text = GOOD.replacen(good, wrong, 1);
            assert_ne!(text, GOOD, "{good}");
            let found = found("rfc8489", &text);
            assert!(found.iter().any(|problem| problem.contains(says)), "{good} -> {wrong}: {found:?}");
        }
    }

    #[test]
    fn a_must_of_the_two_core_standards_alone_needs_a_page() {
        let text = GOOD.replacen("decision = \"0008\"", "", 1);
        assert_eq!(found("rfc8656", &text).len(), 1);
        assert_eq!(found("rfc5780", &text), Vec::<String>::new());
    }
}
