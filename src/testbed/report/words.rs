//! Words that more than one form of the report uses.

use std::borrow::Cow;
use std::time::Duration;

use crate::testbed::Verdict;

use super::Cell;
use super::Matrix;

/// How a call ended, for a program: the word, and what carries media to the relay.
pub(super) const fn verdict(verdict: Verdict) -> (&'static str, Option<&'static str>) {
    match verdict {
        Verdict::Direct => ("direct", None),
        Verdict::Relayed(relay) => ("relayed", Some(relay.word())),
        Verdict::Failed => ("failed", None),
    }
}

/// The same in as few letters as fit into a cell.
pub(super) const fn short(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Direct => "direct",
        Verdict::Relayed(relay) => relay.word(),
        Verdict::Failed => "failed",
    }
}

/// How the calls of a cell ended: one word where all ended alike, else each with its count.
pub(super) fn verdicts(cell: &Cell<'_>, word: impl Fn(Verdict) -> String) -> String {
    match cell.verdicts().as_slice() {
        [] => "left out".to_owned(),
        [(verdict, _)] => word(*verdict),
        several => {
            let each = several.iter().map(|(verdict, count)| format!("{count} × {}", word(*verdict)));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

/// The verdict on all of it.
pub(super) fn conclusion(matrix: &Matrix) -> String {
    let cells = matrix.cells();
    let called = cells.iter().filter(|cell| !cell.runs.is_empty()).count();
    let calls = matrix.runs.len();
    let wrong = cells.iter().filter(|cell| !cell.is_as_expected()).count();
    let left_out = match cells.len() - called {
        0 => String::new(),
        count => format!("; {} left out", some(count, "pair")),
    };
    let of = format!("{} of places, {}{left_out}", some(called, "pair"), some(calls, "call"));
    match wrong {
        0 => format!("as expected: {of}"),
        wrong => format!("not as expected: {wrong} of {of}"),
    }
}

/// `1 call`, `2 calls`.
pub(super) fn some(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A span as people read it; nothing where there is none.
pub(super) fn span(span: Option<Duration>) -> String {
    match span {
        None => String::new(),
        Some(span) if span < Duration::from_secs(1) => format!("{} ms", span.as_millis()),
        Some(span) => format!("{:.2} s", span.as_secs_f64()),
    }
}

/// Text of others without what could move a terminal's cursor.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|each| if each.is_control() { '\u{fffd}' } else { each }).collect()
}

/// Text of others so that none of it is taken for markup, within an element or an attribute, of XML or HTML.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    let is_plain = |each: char| !matches!(each, '&' | '<' | '>' | '"' | '\'') && !is_foul(each);
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for each in text.chars() {
        match each {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            each if is_foul(each) => out.push('\u{fffd}'),
            each => out.push(each),
        }
    }
    Cow::Owned(out)
}

/// What XML 1.0 § 2.2 allows in no form at all, and what would only confuse.
fn is_foul(each: char) -> bool {
    each.is_control() || matches!(each, '\u{fffe}' | '\u{ffff}')
}
