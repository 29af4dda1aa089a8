//! The comments by which a test names the rows it proves, `// proves rfc8489:6.3-1, rfc8489:6.3-2`, and how they fit the
//! tables.

use std::collections::BTreeMap;

use crate::guard;
use crate::rules;
use crate::table::Standard;
use crate::table::State;

/// Rows that one test may prove: who proves everything proves nothing.
const ROWS_MAX: usize = 5;

/// One row named by one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    /// `path:line`.
    pub(crate) place: String,
    /// `rfc8489:6.3-1`.
    pub(crate) row: String,
}

/// The proofs in a Rust file: each stands in a test or directly above it.
pub(crate) fn of_rust(path: &str, text: &str) -> (Vec<Proof>, Vec<String>) {
    let tests = tests_of(text);
    let mut proofs = Vec::new();
    let mut problems = Vec::new();
    let mut proved: BTreeMap<usize, usize> = BTreeMap::new();
    for (line, comment) in comments(text, "//") {
        let place = format!("{path}:{line}");
        let Some(test) = tests.iter().position(|test| test.first <= line && line <= test.last) else {
            problems.push(format!("{place}: only a test proves: put it directly above `#[test]`, or inside"));
            continue;
        };
        if tests[test].is_ignored {
            problems.push(format!("{place}: a test that is ignored proves nothing"));
        }
        match rows_of(comment, "// ") {
            Ok(rows) => {
                let all = proved.entry(test).or_default();
                *all += rows.len();
                if *all > ROWS_MAX {
                    problems.push(format!("{place}: at most {ROWS_MAX} rows a test: write another test"));
                }
                proofs.extend(rows.into_iter().map(|row| Proof { place: place.clone(), row }));
            }
            Err(problem) => problems.push(format!("{place}: {problem}")),
        }
    }
    (proofs, problems)
}

/// The proofs in a script of tests/interop/: each stands above the step that proves.
pub(crate) fn of_python(path: &str, text: &str) -> (Vec<Proof>, Vec<String>) {
    let mut proofs = Vec::new();
    let mut problems = Vec::new();
    let mut last = None;
    for (line, comment) in comments(text, "#") {
        let place = format!("{path}:{line}");
        if last == Some(line - 1) {
            problems.push(format!("{place}: one comment for one step: at most {ROWS_MAX} rows"));
        }
        last = Some(line);
        match rows_of(comment, "# ") {
            Ok(rows) => proofs.extend(rows.into_iter().map(|row| Proof { place: place.clone(), row })),
            Err(problem) => problems.push(format!("{place}: {problem}")),
        }
    }
    (proofs, problems)
}

/// What the tables and the proofs do not agree on.
pub(crate) fn join_problems(standards: &[Standard], proofs: &[Proof]) -> Vec<String> {
    let mut states = BTreeMap::new();
    for standard in standards {
        for row in standard.sections.iter().flat_map(|section| &section.rows) {
            states.insert(format!("{}:{}", standard.stem, row.id), row.state);
        }
    }
    let mut problems = Vec::new();
    for Proof { place, row } in proofs {
        match states.get(row) {
            None => problems.push(format!("{place}: there is no row {row} in docs/compliance/")),
            Some(State::Done | State::Exception) => {}
            Some(state) => problems.push(format!("{place}: {row} is {}: nothing proves it", state.word())),
        }
    }
    for (row, _) in states.iter().filter(|(_, state)| **state == State::Done) {
        if !proofs.iter().any(|proof| proof.row == *row) {
            problems.push(format!("{row} is done, and no test says `// proves {row}`"));
        }
    }
    problems
}

/// Every comment of a line of its own that means to name rows, however it is written: line, and text without indent.
fn comments<'a>(text: &'a str, sign: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    text.lines().enumerate().filter_map(move |(index, line)| {
        let comment = line.get(line.find(sign)?..)?;
        let words = comment.trim_start_matches(['/', '#', '!', ' ']);
        let (first, rest) = words.split_once(' ')?;
        let names = rest.split([' ', ',']).any(|word| parse_row(word).is_some());
        let means =
            first.trim_end_matches(':').eq_ignore_ascii_case("proves") && (names || rest.contains(':'));
        means.then(|| (index + 1, line.trim_start()))
    })
}

/// The rows of a comment in the one form that can be searched for.
fn rows_of(comment: &str, sign: &str) -> Result<Vec<String>, String> {
    let form = || format!("write `{sign}proves rfc8489:6.3-1, rfc8489:6.3-2` on a line of its own");
    let list = comment.strip_prefix(sign).and_then(|rest| rest.strip_prefix("proves ")).ok_or_else(form)?;
    let rows: Vec<_> = list.split(", ").collect();
    let keys: Vec<_> = rows.iter().map(|row| parse_row(row)).collect::<Option<_>>().ok_or_else(form)?;
    if rows.len() > ROWS_MAX {
        return Err(format!("at most {ROWS_MAX} rows a test: write another test"));
    }
    if !keys.is_sorted_by(|one, next| one < next) {
        return Err("each row once, in the order of the tables".to_owned());
    }
    Ok(rows.into_iter().map(str::to_owned).collect())
}

type RowKey<'a> = (&'a str, Vec<(bool, u32, String)>, u32);

/// A row's full name, in parts that sort as the tables do.
fn parse_row(row: &str) -> Option<RowKey<'_>> {
    let (stem, id) = row.split_once(':')?;
    let (section, number) = id.split_once('-')?;
    let is_stem = !stem.is_empty()
        && stem.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let section = rules::section_key(section)?;
    let number = number.parse().ok()?;
    is_stem.then_some((stem, section, number))
}

/// The lines of one test, from the comments above its attributes to its closing brace.
struct Test {
    first: usize,
    last: usize,
    is_ignored: bool,
}

fn tests_of(text: &str) -> Vec<Test> {
    let code = guard::blank_literals(text);
    let lines: Vec<_> = text.lines().collect();
    let mut tests = Vec::new();
    for (offset, _) in code.match_indices("#[test]") {
        let mut first = guard::line_of(&code, offset);
        while first > 1 && matches!(lines[first - 2].trim_start().get(..2), Some("//" | "#[")) {
            first -= 1;
        }
        let Some(open) = body_of(&code, offset) else { continue };
        let last = guard::line_of(&code, guard::behind_bracket(&code, open) - 1);
        let above = lines[first - 1..guard::line_of(&code, open)].iter();
        let is_ignored = above.map(|line| line.trim_start()).any(|line| line.starts_with("#[ignore"));
        tests.push(Test { first, last, is_ignored });
    }
    tests
}

/// The brace that opens the body of the function behind the attribute at `offset`.
fn body_of(code: &str, offset: usize) -> Option<usize> {
    let mut at = offset + 1;
    loop {
        match code.as_bytes().get(at)? {
            b'[' | b'(' => at = guard::behind_bracket(code, at),
            b'{' => return Some(at),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    const TABLE: &str = r#"
standard = "RFC 1"
title = "One"
[[section]]
number = "2"
title = "First"
count = { must = 2, should = 1, may = 1 }
row = [
  { id = "2-1", level = "must", says = "be", state = "done" },
  { id = "2-2", level = "must", says = "do", state = "exception", reason = "no" },
  { id = "2-3", level = "should", says = "go", state = "not-ours", reason = "no" },
  { id = "2-4", level = "may", says = "stay", state = "todo", reason = "streams" },
]
"#;

    fn rows(proofs: &[Proof]) -> Vec<&str> {
        proofs.iter().map(|proof| proof.row.as_str()).collect()
    }

    fn rust(text: &str) -> (Vec<Proof>, Vec<String>) {
        of_rust("src/a.rs", text)
    }

    #[test]
    fn a_test_names_its_rows_above_or_inside() {
        let text = "\
//! This proves rfc1:2-1 to nobody: it only speaks of it.
// proves rfc1:2-9, rfc1:2-10, rfc1:10-1
/// A word.
#[test]
#[should_panic(expected = \"{\")]
fn one() {
    two();
}

mod m {
    proptest! {
        #[test]
        fn two(x in 0..2) {
            // proves ms_turn:3.1-1
            // proves rfc1:A.1-1
            f(x);
        }
    }
}
";
        let (proofs, problems) = rust(text);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(rows(&proofs), ["rfc1:2-9", "rfc1:2-10", "rfc1:10-1", "ms_turn:3.1-1", "rfc1:A.1-1"]);
        assert_eq!(proofs[0].place, "src/a.rs:2");
    }

    #[test]
    fn a_comment_of_another_form_is_found() {
        for comment in [
            "//proves rfc1:2-1",
            "// Proves rfc1:2-1",
            "// proves: rfc1:2-1",
            "/// proves rfc1:2-1",
            "// proves rfc1:2-1,rfc1:2-2",
            "// proves rfc1:2-1 rfc1:2-2",
            "// proves rfc1:2-1, rfc1:2-2.",
            "// proves rfc1:2-1, and more",
            "// proves rfc1: 2-1",
            "// proves rfc1:2-2, rfc1:2-1",
            "// proves rfc1:10-1, rfc1:2-1",
            "// proves rfc1:2-1, rfc1:2-1",
            "// proves rfc1:1-1, rfc1:1-2, rfc1:1-3, rfc1:1-4, rfc1:1-5, rfc1:1-6",
            "let x = 1; // proves rfc1:2-1",
        ] {
            let (proofs, problems) = rust(&format!("#[test]\nfn f() {{\n    {comment}\n}}\n"));
            assert_eq!((proofs.len(), problems.len()), (0, 1), "{comment}: {problems:?}");
            assert!(problems[0].starts_with("src/a.rs:3: "), "{problems:?}");
        }
    }

    #[test]
    fn a_proof_outside_a_test_is_found() {
        for text in [
            "// proves rfc1:2-1\nfn f() {}\n",
            "// proves rfc1:2-1\n\n#[test]\nfn f() {}\n",
            "#[test]\nfn f() {}\n// proves rfc1:2-1\n",
            "fn f() {\n    // proves rfc1:2-1\n}\n#[test]\nfn g() {}\n",
            "// proves rfc1:2-1\n#[test]\n#[ignore = \"slow\"]\nfn f() {}\n",
        ] {
            let (_, problems) = rust(text);
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        }
    }

    #[test]
    fn the_limit_holds_for_all_comments_of_a_test() {
        let three = "// proves rfc1:1-1, rfc1:1-2, rfc1:1-3\n";
        let (_, problems) = rust(&format!("{three}#[test]\nfn f() {{\n    {three}}}\n"));
        assert_eq!(problems.len(), 1, "{problems:?}");
        let (proofs, problems) = rust(&format!("{three}#[test]\nfn f() {{}}\n{three}#[test]\nfn g() {{}}\n"));
        assert_eq!((proofs.len(), problems.len()), (6, 0), "{problems:?}");
    }

    #[test]
    fn a_script_names_its_rows_above_a_step() {
        let (proofs, problems) =
            of_python("tests/interop/a.py", "def test():\n    # proves rfc1:2-1\n    f()\n");
        assert_eq!((rows(&proofs), problems), (vec!["rfc1:2-1"], Vec::new()));
        for text in
            ["#proves rfc1:2-1\n", "# proves rfc1:2-1\n# proves rfc1:2-2\n", "f()  # proves rfc1:2-1\n"]
        {
            let (_, problems) = of_python("tests/interop/a.py", text);
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        }
    }

    #[test]
    fn tables_and_tests_are_compared_in_both_directions() {
        let standards = [table::parse("docs/compliance/rfc1.toml", TABLE).expect("a table")];
        let join = |rows: &[&str]| {
            let proof = |row: &&str| Proof { place: "src/a.rs:1".to_owned(), row: (*row).to_owned() };
            join_problems(&standards, &rows.iter().map(proof).collect::<Vec<_>>())
        };
        assert_eq!(join(&["rfc1:2-1"]), Vec::<String>::new());
        assert_eq!(join(&["rfc1:2-1", "rfc1:2-1", "rfc1:2-2"]), Vec::<String>::new());
        for (proved, says) in [
            (vec![], "rfc1:2-1 is done, and no test"),
            (vec!["rfc1:2-2"], "rfc1:2-1 is done, and no test"),
            (vec!["rfc1:2-1", "rfc1:2-3"], "src/a.rs:1: rfc1:2-3 is not-ours"),
            (vec!["rfc1:2-1", "rfc1:2-4"], "src/a.rs:1: rfc1:2-4 is todo"),
            (vec!["rfc1:2-1", "rfc1:2-5"], "src/a.rs:1: there is no row rfc1:2-5"),
            (vec!["rfc1:2-1", "rfc2:2-1"], "src/a.rs:1: there is no row rfc2:2-1"),
        ] {
            let found = join(&proved);
            assert!(found.len() == 1 && found[0].contains(says), "{proved:?}: {found:?}");
        }
    }
}
