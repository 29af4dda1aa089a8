//! An explanation for people at a terminal.

use std::fmt::Write as _;

use super::Explanation;
use super::Many;
use super::facts::some;

/// Columns of a terminal that most have.
const WIDTH: usize = 100;
/// Events that are shown; the others stand in the report.
const EVENTS_MAX: usize = 60;

/// One explanation as text.
#[must_use]
pub fn text(one: &Explanation) -> String {
    let mut out = String::new();
    let [left, right] = one.places;
    let expected = match one.expected {
        Some(expected) if expected == one.verdict => ", as expected".to_owned(),
        Some(expected) => format!("; expected was {expected}"),
        None => String::new(),
    };
    let _ = writeln!(out, "{left} calls {right}, seed {}: {}{expected}", one.seed, one.verdict);
    paragraph(&mut out, "  ", "  ", &one.summary);
    out.push_str("\nWhere they stand\n");
    for ((side, place), words) in [("left", left), ("right", right)].into_iter().zip(&one.standing) {
        paragraph(&mut out, &format!("  {side:<5}  "), "         ", &format!("{place}: {words}"));
    }
    out.push_str("\nWhat the standards say\n");
    let [own, other] = one.theory.pair;
    paragraph(
        &mut out,
        "  ",
        "  ",
        &format!("Possible: {own} at the left, {other} at the right. {}", one.theory.why),
    );
    paragraph(&mut out, "  ", "  ", &one.theory.rules.join("; "));
    out.push_str("\nWhat was seen\n");
    one.seen.iter().for_each(|line| paragraph(&mut out, "  - ", "    ", line));
    if !one.timeline.is_empty() {
        out.push_str("\nWhen\n");
        one.timeline.iter().take(EVENTS_MAX).for_each(|line| {
            let _ = writeln!(out, "  {}", clean(line));
        });
        if let Some(more) = one.timeline.len().checked_sub(EVENTS_MAX).filter(|more| *more > 0) {
            let _ = writeln!(out, "  and {more} further events, which are in the report");
        }
    }
    if !one.causes.is_empty() {
        out.push_str("\nWhy, the most likely first\n");
        for (at, cause) in one.causes.iter().enumerate() {
            paragraph(&mut out, &format!("  {}. ", at + 1), "     ", &cause.what);
            paragraph(&mut out, "     ", "     ", &cause.because);
            paragraph(&mut out, "     Next: ", "     ", &cause.next);
        }
    }
    if !one.more.is_empty() {
        out.push_str("\nMore\n");
        one.more.iter().for_each(|line| {
            let _ = writeln!(out, "  {}", clean(line));
        });
    }
    out
}

/// What a matrix comes to, and the explanations, as text.
#[must_use]
pub fn text_of_many(many: &Many) -> String {
    let pairs = some(many.pairs as u64, "pair");
    let mut out = format!("{pairs} of places, {}: ", some(many.calls as u64, "call"));
    let _ = match many.wrong {
        0 => writeln!(out, "every call ended as it has to"),
        wrong => {
            let pairs = some(many.explained.len() as u64, "pair");
            writeln!(out, "{} of {pairs} did not end as it has to", some(wrong as u64, "call"))
        }
    };
    for line in &many.left_out {
        let _ = writeln!(out, "  left out: {}", clean(line));
    }
    for (wrong, calls, one) in &many.explained {
        let _ = write!(out, "\n{wrong} of {calls} calls; the first of them:\n{}", text(one));
    }
    if many.explained.is_empty() {
        out.push_str("  `--pair LEFT,RIGHT` explains one of them\n");
    }
    out
}

/// Words in lines that no terminal breaks.
fn paragraph(out: &mut String, first: &str, indent: &str, words: &str) {
    let mut line = first.to_owned();
    let mut is_begun = false;
    for word in clean(words).split_whitespace() {
        if is_begun && line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = indent.to_owned();
            is_begun = false;
        }
        if is_begun {
            line.push(' ');
        }
        line.push_str(word);
        is_begun = true;
    }
    if is_begun {
        out.push_str(&line);
        out.push('\n');
    }
}

/// Text of others without what could move a terminal's cursor.
fn clean(text: &str) -> String {
    text.chars().map(|each| if each.is_control() { '\u{fffd}' } else { each }).collect()
}
