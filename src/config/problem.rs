//! What is wrong with a configuration, and how it is shown.

use std::fmt::Write as _;
use std::ops::Range;

/// Whether a problem keeps the server from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

impl Severity {
    /// The word that opens the message.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong, and its cure. Neither text ever holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether it keeps the server from starting.
    pub severity: Severity,
    /// The key, `relay.ports`; empty for the file as a whole.
    pub key: String,
    /// Where in the text, in bytes; `None` stands for the file as a whole.
    pub span: Option<Range<usize>>,
    /// What is wrong.
    pub rule: String,
    /// What to write instead.
    pub fix: String,
}

impl Problem {
    /// A problem that keeps the server from starting.
    pub(crate) fn error(
        key: &str,
        span: Option<Range<usize>>,
        rule: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Error, key: key.to_owned(), span, rule: rule.into(), fix: fix.into() }
    }

    /// A problem that the server can live with.
    pub(crate) fn warning(
        key: &str,
        span: Option<Range<usize>>,
        rule: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(key, span, rule, fix) }
    }
}

/// Every problem of one file, with what is needed to show them.
#[derive(Clone, Debug)]
pub struct Report {
    name: String,
    text: String,
    problems: Vec<Problem>,
    /// Stretches of the text that must not be shown, in order.
    hidden: Vec<Range<usize>>,
}

/// What stands in the place of a hidden stretch.
const HIDDEN: &str = "***";

impl Report {
    /// Sorts the problems into the order of the file.
    pub(crate) fn new(
        name: &str,
        text: &str,
        mut problems: Vec<Problem>,
        mut hidden: Vec<Range<usize>>,
    ) -> Self {
        problems
            .sort_by_key(|problem| (problem.span.as_ref().map_or(0, |span| span.start), problem.severity));
        hidden.sort_by_key(|range| range.start);
        Self { name: name.to_owned(), text: text.to_owned(), problems, hidden }
    }

    /// The same with more problems, which were found out later.
    #[must_use]
    pub(crate) fn with(self, more: Vec<Problem>) -> Self {
        let Self { name, text, problems, hidden } = self;
        Self::new(&name, &text, [problems, more].concat(), hidden)
    }

    /// What the file is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every problem, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many problems have this severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|problem| problem.severity == severity).count()
    }

    /// Whether the server must not start.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Line and column of a problem, both from 1; the column counts characters.
    #[must_use]
    pub fn position(&self, problem: &Problem) -> (usize, usize) {
        let at = problem.span.as_ref().map_or(0, |span| self.boundary(span.start));
        let line_start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[..at].matches('\n').count() + 1;
        (line, self.text[line_start..at].chars().count() + 1)
    }

    /// The problems as people read them: `file:line:column`, the line, a caret, what is wrong and what to write.
    /// `colour` adds terminal colours.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let paint = Paint { colour };
        let mut out = String::new();
        for problem in &self.problems {
            self.render_one(problem, paint, &mut out);
            out.push('\n');
        }
        out
    }

    fn render_one(&self, problem: &Problem, paint: Paint, out: &mut String) {
        let (line, column) = self.position(problem);
        let word = match problem.severity {
            Severity::Error => paint.red("error"),
            Severity::Warning => paint.yellow("warning"),
        };
        let at = if problem.key.is_empty() { String::new() } else { format!(" in `{}`", problem.key) };
        let rule = visible(&problem.rule);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{word}{at}: {}", paint.bold(&rule));
        let gutter = " ".repeat(line.to_string().len());
        let _ = writeln!(out, "{gutter} {} {}:{line}:{column}", paint.blue("-->"), self.name);
        let bar = paint.blue("|");
        if let Some((shown, caret_at, caret_len)) = self.excerpt(problem) {
            let caret = match problem.severity {
                Severity::Error => paint.red(&"^".repeat(caret_len)),
                Severity::Warning => paint.yellow(&"^".repeat(caret_len)),
            };
            let _ = writeln!(out, "{gutter} {bar}");
            let _ = writeln!(out, "{} {bar} {shown}", paint.blue(&line.to_string()));
            let _ = writeln!(out, "{gutter} {bar} {}{caret}", " ".repeat(caret_at));
        }
        let _ = writeln!(out, "{gutter} {} help: {}", paint.blue("="), visible(&problem.fix));
    }

    /// The line of a problem without what must not be seen, and where its caret begins and how long it is, in
    /// characters.
    fn excerpt(&self, problem: &Problem) -> Option<(String, usize, usize)> {
        let span = problem.span.clone().unwrap_or(0..0);
        let start = self.boundary(span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |newline| start + newline);
        let line_end = if self.text[line_start..line_end].ends_with('\r') { line_end - 1 } else { line_end };
        let start = start.min(line_end);
        if line_start == line_end {
            return Some((String::new(), 0, 1));
        }
        let end = span.end.clamp(start, line_end);
        let (mut shown, mut caret_start, mut caret_end) = (String::new(), None, None);
        let mut width = 0;
        let mut inside: Option<usize> = None;
        for (offset, char) in self.text[line_start..line_end].char_indices() {
            let at = line_start + offset;
            if at >= start {
                caret_start.get_or_insert(width);
            }
            if at >= end {
                caret_end.get_or_insert(width);
            }
            let hidden = self.hidden.iter().position(|range| range.contains(&at));
            if hidden.is_some() && hidden == inside {
                continue;
            }
            inside = hidden;
            let piece = if hidden.is_some() { HIDDEN.to_owned() } else { visible_char(char) };
            width += piece.chars().count();
            shown.push_str(&piece);
        }
        let caret_start = caret_start.unwrap_or(width);
        let caret_end = caret_end.unwrap_or(width);
        Some((shown.trim_end().to_owned(), caret_start, caret_end.saturating_sub(caret_start).max(1)))
    }

    /// `at`, moved back to a character boundary within the text.
    fn boundary(&self, at: usize) -> usize {
        self.text.floor_char_boundary(at.min(self.text.len()))
    }
}

/// `text` without characters that could move a terminal's cursor; they may come from a file.
fn visible(text: &str) -> String {
    text.chars().map(visible_char).collect()
}

fn visible_char(char: char) -> String {
    match char {
        '\t' => " ".to_owned(),
        char if char.is_control() => char.escape_default().to_string(),
        char => char.to_string(),
    }
}

#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn red(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    fn yellow(self, text: &str) -> String {
        self.wrap("1;33", text)
    }

    fn blue(self, text: &str) -> String {
        self.wrap("34", text)
    }

    fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str, span: Option<Range<usize>>, hidden: Vec<Range<usize>>) -> Report {
        Report::new("a.toml", text, vec![Problem::error("k", span, "it is wrong", "write it right")], hidden)
    }

    #[test]
    fn the_caret_stands_under_the_span() {
        let text = "a = 1\nports = \"5-3\"\n";
        let at = text.find("\"5").expect("is there");
        let shown = report(text, Some(at..at + 5), Vec::new()).render(false);
        assert_eq!(
            shown,
            "error in `k`: it is wrong\n  --> a.toml:2:9\n  |\n2 | ports = \"5-3\"\n  |         ^^^^^\n  \
             = help: write it right\n\n"
        );
    }

    #[test]
    fn a_hidden_stretch_is_shown_by_neither_bytes_nor_length_and_the_caret_still_fits() {
        let text = r#"users = { a = "hunter2-hunter2", b = 5 }"#;
        let secret = text.find("\"h").expect("is there");
        let at = text.find('5').expect("is there");
        let shown =
            report(text, Some(at..at + 1), std::iter::once(secret..secret + 17).collect()).render(false);
        assert!(shown.contains("1 | users = { a = ***, b = 5 }"), "{shown}");
        assert!(shown.contains("\n  |                        ^\n"), "{shown}");
    }

    #[test]
    fn a_span_of_many_lines_marks_the_rest_of_its_first_line() {
        let text = "x = [\n1,\n2]";
        let shown = report(text, Some(4..text.len()), Vec::new()).render(false);
        assert!(shown.contains("1 | x = [\n  |     ^\n"), "{shown}");
    }

    #[test]
    fn a_line_end_of_windows_is_no_part_of_the_line() {
        let shown = report("a = 1\r\nb = 2\r\n", Some(7..8), Vec::new()).render(false);
        assert!(shown.contains("2 | b = 2\n  | ^\n"), "{shown}");
    }

    #[test]
    fn spans_outside_or_inside_a_character_do_not_panic() {
        let text = "é = \"ü\"";
        for start in 0..text.len() + 3 {
            for end in 0..text.len() + 3 {
                let shown = report(text, Some(start..end), Vec::new()).render(true);
                assert!(shown.contains("a.toml"));
            }
        }
        assert!(report("", Some(0..9), Vec::new()).render(false).contains("a.toml:1:1"));
        assert!(report("", None, Vec::new()).render(false).contains("a.toml:1:1"));
    }

    #[test]
    fn control_characters_of_a_file_do_not_reach_the_terminal() {
        let text = "a = \"\x1b[31mred\"";
        let shown = report(text, Some(4..9), Vec::new()).render(false);
        assert!(!shown.contains('\x1b'), "{shown:?}");
    }

    #[test]
    fn plain_text_holds_no_colour_and_coloured_text_does() {
        let one = report("a = 1", Some(0..1), Vec::new());
        assert!(!one.render(false).contains('\x1b'));
        assert!(one.render(true).contains("\x1b[1;31merror"));
    }
}
