//! The promises that no compiler keeps: sizes, the list of unsafe files, words that may not stand, documents that agree
//! with the code. Every rule is a function of one text, and is itself tested at the end.

mod guard;

use std::collections::BTreeSet;
use std::fs;

use guard::Source;
use guard::behind_bracket;
use guard::line_of;

/// Lines of a file in src/, its tests not counted.
const FILE_LINES_MAX: usize = 500;

/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Characters of a line of text or code.
const LINE_WIDTH_MAX: usize = 130;

/// Bytes of a file under version control.
const FILE_BYTES_MAX: u64 = 512 * 1024;

/// The only files that may say `unsafe`.
const UNSAFE_FILES: &[&str] =
    &["src/net/bpf.rs", "src/net/cmsg.rs", "src/net/sys.rs", "src/relay/path/kernel/shared.rs"];

/// What may not stand in the shipped code, and what to do instead.
const BANNED_CODE: &[(&str, &str)] = &[
    ("todo!", "finish it, or leave it out"),
    ("unimplemented!", "finish it, or leave it out"),
    ("dbg!", "log it with tracing, or remove it"),
    (".unwrap()", "handle it, or `expect` with the invariant that makes it safe"),
];

/// What may not stand in any text of src/, comments included. Split, so that this list does not find itself.
const BANNED_NOTES: &[(&str, &str)] = &[
    (concat!("FIX", "ME"), "mend it, or describe it in an issue"),
    (concat!("XX", "X"), "mend it, or describe it in an issue"),
    (concat!("TO", "DO"), "do it, or describe it in an issue"),
];

/// What no text of the project may say: paths of the machine it was written on, hosts of package registries.
const BANNED_WORDS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("index.cra", "tes.io"),
    concat!("static.cra", "tes.io"),
    concat!("registry.npm", "js.org"),
    concat!("files.python", "hosted.org"),
    concat!("pypi", ".org"),
];

/// Endings of files that people write and read.
const TEXT_ENDINGS: &[&str] =
    &["rs", "md", "toml", "sh", "py", "js", "mjs", "html", "service", "yml", "yaml", "json", "txt"];

/// Files that are made by programs, or are somebody else's words.
const FOREIGN_FILES: &[&str] = &["Cargo.lock", "package-lock.json", "LICENSE-APACHE", "LICENSE-MIT"];

/// Files that are wide because a program wrote them, or because they are wrong on purpose.
const WIDE_FOLDERS: &[&str] = &["proptest-regressions/", "tests/cli/broken/"];

/// Folders that stand apart from the project.
const FOREIGN_FOLDERS: &[&str] = &["target/", ".git/", "node_modules/"];

#[test]
fn source_files_are_tidy() {
    let problems: Vec<_> = guard::sources().iter().flat_map(source_problems).collect();
    report(&problems);
}

#[test]
fn every_text_is_tidy() {
    let mut problems = Vec::new();
    for path in project_files() {
        let size = fs::metadata(guard::root().join(&path)).map_or(0, |file| file.len());
        if size > FILE_BYTES_MAX {
            problems.push(format!(
                "{path}: {size} bytes; the limit is {FILE_BYTES_MAX}: generate it or leave it out"
            ));
        } else if is_text(&path) {
            problems.extend(text_problems(&path, &guard::read(&path)));
        }
    }
    report(&problems);
}

#[test]
fn every_limit_is_documented() {
    report(&limit_problems(&guard::read("src/proto/types/limits.rs")));
}

#[test]
fn the_architecture_page_names_every_room_and_no_other() {
    let existing: BTreeSet<_> = guard::sources().iter().filter_map(|source| room_of(&source.path)).collect();
    let page = guard::read("docs/architecture.md");
    assert_eq!(first_cells(&page), existing, "left: rows of docs/architecture.md; right: folders of src/");
}

#[test]
fn the_metrics_page_names_every_metric_and_no_other() {
    let code: BTreeSet<_> = guard::sources()
        .iter()
        .filter(|source| source.path.starts_with("src/admin/"))
        .flat_map(|source| metric_names(&shipped_text(source), '"'))
        .collect();
    assert!(code.len() > 10, "the metrics have moved: {code:?}");
    let page: BTreeSet<_> = first_cells(&guard::read("docs/operate/metrics.md"))
        .into_iter()
        .filter(|name| is_metric(name))
        .collect();
    assert_eq!(page, code, "left: rows of docs/operate/metrics.md; right: names in src/admin/");
}

#[test]
fn the_changelog_keeps_its_form() {
    let version = env!("CARGO_PKG_VERSION");
    report(&changelog_problems(&guard::read("CHANGELOG.md"), version));
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

fn project_files() -> Vec<String> {
    let is_ours = |path: &String| !FOREIGN_FOLDERS.iter().any(|folder| path.starts_with(folder));
    guard::files(".")
        .into_iter()
        .map(|path| path.trim_start_matches("./").to_owned())
        .filter(is_ours)
        .collect()
}

fn is_text(path: &str) -> bool {
    let name = path.rsplit('/').next().expect("a split has a last part");
    if FOREIGN_FILES.contains(&name) {
        return false;
    }
    match name.rsplit_once('.') {
        Some((_, ending)) => TEXT_ENDINGS.contains(&ending),
        None => matches!(name, "Containerfile" | "run"),
    }
}

fn source_problems(source: &Source) -> Vec<String> {
    [
        size_problems(source),
        function_problems(source),
        unsafe_problems(source),
        banned_code_problems(source),
        head_problems(source),
        import_problems(source),
    ]
    .concat()
}

fn size_problems(source: &Source) -> Vec<String> {
    let lines = shipped_lines(source);
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![format!(
        "{}: {lines} lines without tests; the limit is {FILE_LINES_MAX}: split it by purpose",
        source.path
    )]
}

/// Lines that are not part of a test: blank and comment lines count, for they too must be read.
fn shipped_lines(source: &Source) -> usize {
    source.is_test.iter().filter(|is_test| !**is_test).count()
}

fn function_problems(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    for (offset, _) in source.shipped.match_indices("fn ") {
        let in_word = source.shipped[..offset].ends_with(|each: char| each.is_alphanumeric() || each == '_');
        let name: String = source.shipped[offset + 3..]
            .chars()
            .take_while(|each| each.is_alphanumeric() || *each == '_')
            .collect();
        if in_word || name.is_empty() {
            continue;
        }
        let Some(end) = function_end(&source.shipped, offset) else { continue };
        let (first, last) = (line_of(&source.shipped, offset), line_of(&source.shipped, end - 1));
        let lines = last - first + 1;
        if lines > FUNCTION_LINES_MAX {
            problems.push(format!(
                "{}:{first}: `{name}` has {lines} lines; the limit is {FUNCTION_LINES_MAX}: move parts into functions",
                source.path
            ));
        }
    }
    problems
}

/// Behind the body of the function whose `fn` is at `offset`; `None` for a declaration without one.
fn function_end(code: &str, offset: usize) -> Option<usize> {
    let bytes = code.as_bytes();
    let mut at = offset;
    loop {
        match bytes.get(at)? {
            b'(' | b'[' => at = behind_bracket(code, at),
            b';' => return None,
            b'{' => return Some(behind_bracket(code, at)),
            _ => at += 1,
        }
    }
}

fn unsafe_problems(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    for offset in words(&source.code, "unsafe") {
        let line = line_of(&source.code, offset);
        if !UNSAFE_FILES.contains(&source.path.as_str()) {
            problems.push(format!(
                "{}:{line}: `unsafe` may stand only in {}: call one of their functions",
                source.path,
                UNSAFE_FILES.join(" and ")
            ));
        } else if !has_safety_comment(&source.text, line) {
            problems.push(format!(
                "{}:{line}: `unsafe` without `// SAFETY:` above it: say why it is sound",
                source.path
            ));
        }
    }
    problems
}

/// Whether `// SAFETY:` or `# Safety` stands on the line, or in the comment, attributes and statement head above it.
fn has_safety_comment(text: &str, line: usize) -> bool {
    let lines: Vec<_> = text.lines().collect();
    let says = |line: &str| line.contains("// SAFETY:") || line.contains("/// # Safety");
    if says(lines[line - 1]) {
        return true;
    }
    for above in lines[..line - 1].iter().rev() {
        let above = above.trim();
        if says(above) {
            return true;
        }
        let goes_on = above.starts_with("//") || above.starts_with("#[") || above.ends_with(['=', '(', ',']);
        if !goes_on {
            return false;
        }
    }
    false
}

fn banned_code_problems(source: &Source) -> Vec<String> {
    let in_code = BANNED_CODE.iter().flat_map(|(banned, instead)| {
        let offsets = words(&source.shipped, banned);
        offsets.map(move |offset| {
            format!("{}:{}: `{banned}`: {instead}", source.path, line_of(&source.code, offset))
        })
    });
    let in_notes = BANNED_NOTES.iter().flat_map(|(banned, instead)| {
        let offsets = words(&source.text, banned);
        offsets.map(move |offset| {
            format!("{}:{}: {banned}: {instead}", source.path, line_of(&source.text, offset))
        })
    });
    in_code.chain(in_notes).collect()
}

/// Where `word` stands in `text` and is no part of a longer word.
fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |each: Option<char>| each.is_some_and(|each| each.is_alphanumeric() || each == '_');
    text.match_indices(word).map(|(offset, _)| offset).filter(move |offset| {
        let before = word.starts_with(char::is_alphanumeric) && is_part(text[..*offset].chars().next_back());
        let behind =
            word.ends_with(char::is_alphanumeric) && is_part(text[offset + word.len()..].chars().next());
        !before && !behind
    })
}

fn head_problems(source: &Source) -> Vec<String> {
    let first = source.text.lines().next().unwrap_or_default();
    let is_page = first.starts_with("#![doc = ");
    if first.len() > "//! ".len() && first.starts_with("//! ") || source.path == "src/lib.rs" && is_page {
        return Vec::new();
    }
    vec![format!("{}:1: begin with a `//!` line that says what the file is for", source.path)]
}

/// One path a line: a change of one import is then a change of one line, and can be searched for.
fn import_problems(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, line) in source.code.lines().enumerate() {
        let item = line.trim_start();
        let item = item.strip_prefix("pub ").or_else(|| item.strip_prefix("pub(crate) ")).unwrap_or(item);
        if item.starts_with("use ") && item.contains('{') {
            problems.push(format!("{}:{}: write one path a line, without braces", source.path, index + 1));
        }
    }
    problems
}

fn text_problems(path: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let place = format!("{path}:{}", index + 1);
        let width = line.chars().count();
        if width > LINE_WIDTH_MAX && !may_be_wide(path, line) {
            problems
                .push(format!("{place}: {width} characters; the limit is {LINE_WIDTH_MAX}: break the line"));
        }
        for banned in BANNED_WORDS.iter().filter(|banned| line.contains(**banned)) {
            problems.push(format!("{place}: `{banned}` means nothing on another machine: take it out"));
        }
        if line.ends_with([' ', '\t']) || line.ends_with('\r') {
            problems.push(format!("{place}: white space at the end of the line: remove it"));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        problems.push(format!("{path}: no newline at the end of the file: add one"));
    }
    problems
}

/// A table's row, a link, an inline table and a literal cannot be broken.
fn may_be_wide(path: &str, line: &str) -> bool {
    let line = line.trim_start();
    WIDE_FOLDERS.iter().any(|folder| path.starts_with(folder))
        || (path.ends_with(".md") && (line.starts_with('|') || line.contains("](")))
        || line.contains("://")
        || (path.ends_with(".rs") && (line.starts_with("r#\"") || line.starts_with('"')))
        || (path.ends_with(".toml") && line.contains("{ "))
        || path.ends_with(".json")
}

fn limit_problems(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().collect();
    let mut problems = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(constant) = line.strip_prefix("pub const ") else { continue };
        if index == 0 || !lines[index - 1].starts_with("/// ") {
            let name = constant.split(':').next().expect("a split has a first part");
            problems
                .push(format!("src/proto/types/limits.rs:{}: document {name}: unit and reason", index + 1));
        }
    }
    problems
}

fn room_of(path: &str) -> Option<String> {
    let mut parts = path.strip_prefix("src/")?.split('/');
    let (first, second) = (parts.next()?, parts.next()?);
    match (first, parts.next()) {
        ("proto", None) => None,
        ("proto", Some(_)) => Some(format!("proto::{second}")),
        _ => Some(first.to_owned()),
    }
}

/// What stands in backticks in the first cell of each table row.
fn first_cells(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |").map(|(cell, _)| cell.to_owned()))
        .collect()
}

fn is_metric(name: &str) -> bool {
    let prefixed = name.starts_with("swingbridge_") || name.starts_with("process_");
    prefixed && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn metric_names(text: &str, quote: char) -> BTreeSet<String> {
    text.split(quote).filter(|part| is_metric(part)).map(str::to_owned).collect()
}

/// The text of `source` without its tests, literals kept.
fn shipped_text(source: &Source) -> String {
    let lines = source.text.lines().zip(&source.is_test);
    lines.filter(|(_, is_test)| !**is_test).map(|(text, _)| format!("{text}\n")).collect()
}

/// Headings `## [x.y.z] - date` or `- unreleased`, newest first and the package's own among them; below them only the
/// six kinds of change, each with entries.
fn changelog_problems(text: &str, version: &str) -> Vec<String> {
    const KINDS: [&str; 6] = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    let mut problems = Vec::new();
    let mut versions = Vec::new();
    if !text.starts_with("# Changelog\n") {
        problems.push("CHANGELOG.md:1: begin with `# Changelog`".to_owned());
    }
    for (index, line) in text.lines().enumerate() {
        let place = format!("CHANGELOG.md:{}", index + 1);
        if let Some(kind) = line.strip_prefix("### ") {
            if !KINDS.contains(&kind) {
                problems.push(format!("{place}: `{kind}` is none of {}", KINDS.join(", ")));
            }
        } else if let Some(heading) = line.strip_prefix("## ") {
            match release(heading) {
                Some(release) => versions.push(release),
                None => problems
                    .push(format!("{place}: write `## [1.2.3] - 2026-01-31` or `## [1.2.3] - unreleased`")),
            }
        }
    }
    if !versions.is_sorted_by(|newer, older| newer > older) {
        problems.push("CHANGELOG.md: the newest release stands first".to_owned());
    }
    if !versions.iter().any(|[major, minor, patch]| format!("{major}.{minor}.{patch}") == version) {
        problems.push(format!("CHANGELOG.md: there is no heading for {version}, the package's version"));
    }
    problems
}

fn release(heading: &str) -> Option<[u64; 3]> {
    let (version, date) = heading.strip_prefix('[')?.split_once("] - ")?;
    let parts: Vec<u64> = version.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let is_date = || {
        let form =
            date.chars().map(|each| if each.is_ascii_digit() { '0' } else { each }).collect::<String>();
        form == "0000-00-00"
    };
    (date == "unreleased" || is_date()).then_some(parts.try_into().ok())?
}

mod of_the_rules {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        source_problems(&Source::new(path, text))
    }

    fn one(found: &[String], parts: &[&str]) {
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(parts.iter().all(|part| found[0].contains(part)), "{found:?}");
    }

    #[test]
    fn a_clean_file_has_no_problems() {
        let text = "//! A file.\n\nfn f() -> u8 {\n    0\n}\n\n#[cfg(test)]\nmod tests {\n    fn g() { None.unwrap() }\n}\n";
        assert_eq!(problems("src/a/b.rs", text), Vec::<String>::new());
    }

    #[test]
    fn long_files_are_found_and_their_tests_do_not_count() {
        let tests =
            format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "\n    // more\n    fn g() {}\n".repeat(400));
        let fits = format!("//! A file.\n{}", "const A: u8 = 0;\n".repeat(FILE_LINES_MAX - 1));
        assert_eq!(problems("src/a/b.rs", &format!("{fits}{tests}")), Vec::<String>::new());
        one(&problems("src/a/b.rs", &format!("{fits}// one more\n{tests}")), &["src/a/b.rs: 501 lines"]);
    }

    #[test]
    fn long_functions_are_found() {
        let of = |lines: usize| {
            format!("//! A file.\nfn f(a: [u8; 2]) {{\n{}}}\n", "    g();\n".repeat(lines - 2))
        };
        assert_eq!(problems("src/a/b.rs", &of(FUNCTION_LINES_MAX)), Vec::<String>::new());
        one(&problems("src/a/b.rs", &of(FUNCTION_LINES_MAX + 1)), &["src/a/b.rs:2: `f` has 71 lines"]);
    }

    #[test]
    fn a_declaration_without_body_is_not_taken_for_the_next_function() {
        let rest = "    g();\n".repeat(80);
        let text = format!("//! A file.\ntrait T {{\n    fn f(&self);\n}}\nconst C: u8 = {{\n{rest}0}};\n");
        assert_eq!(problems("src/a/b.rs", &text), Vec::<String>::new());
    }

    #[test]
    fn unsafe_has_its_files_and_its_reason() {
        let reason = "    // SAFETY: `g` has no conditions,\n    // none at all.\n";
        let reasoned =
            format!("//! A file.\nfn f() {{\n{reason}    let x =\n        unsafe {{ g() }};\n}}\n");
        assert_eq!(problems("src/net/sys.rs", &reasoned), Vec::<String>::new());
        one(&problems("src/net/udp.rs", &reasoned), &["src/net/udp.rs:6", "may stand only in"]);
        let bare = "//! A file.\n// SAFETY: far away.\nfn h() {}\nfn f() { unsafe { g() } }\n";
        one(&problems("src/net/sys.rs", bare), &["src/net/sys.rs:4", "SAFETY"]);
        assert_eq!(
            problems("src/a/b.rs", "//! No unsafe here.\n#![forbid(unsafe_code)]\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn unfinished_work_is_found_in_code_but_not_in_tests_or_words() {
        for banned in ["todo!()", "unimplemented!()", "dbg!(x)", "x.unwrap()"] {
            let text = format!("//! A file.\nfn f() {{ {banned} }}\n");
            one(&problems("src/a/b.rs", &text), &["src/a/b.rs:2"]);
            let text = format!(
                "//! A file.\n// {banned}\nconst A: &str = \"{banned}\";\n#[test]\nfn f() {{ {banned} }}\n"
            );
            assert_eq!(problems("src/a/b.rs", &text), Vec::<String>::new(), "{text}");
        }
        let fine = "//! A file.\nfn f() { x.unwrap_or(1); y.unwrap_or_default(); }\n";
        assert_eq!(problems("src/a/b.rs", fine), Vec::<String>::new());
        for (banned, _) in BANNED_NOTES {
            one(&problems("src/a/b.rs", &format!("//! A file.\n// {banned}: later\n")), &["src/a/b.rs:2"]);
        }
    }

    #[test]
    fn a_file_begins_with_its_purpose() {
        for text in ["", "use a::B;\n", "//!\n", "// A file.\n", "\n//! A file.\n"] {
            one(&problems("src/a/b.rs", text), &["src/a/b.rs:1"]);
        }
        let page = "#![doc = include_str!(\"../docs/architecture.md\")]\n";
        assert_eq!(problems("src/lib.rs", page), Vec::<String>::new());
        one(&problems("src/a/b.rs", page), &["src/a/b.rs:1"]);
    }

    #[test]
    fn imports_name_one_path_a_line() {
        for text in ["use a::{b, c};", "pub use a::{\n    b,\n};", "mod m {\n    use a::{b::C};\n}"] {
            one(&problems("src/a/b.rs", &format!("//! A file.\n{text}\n")), &["src/a/b.rs:", "one path"]);
        }
        let fine = "//! A file.\nuse a::b;\n// use a::{b, c};\nfn reuse() { f(a::B { c: 0 }) }\n";
        assert_eq!(problems("src/a/b.rs", fine), Vec::<String>::new());
    }

    #[test]
    fn texts_are_narrow_end_well_and_name_no_machine() {
        assert_eq!(text_problems("a.md", "fine\n"), Vec::<String>::new());
        assert_eq!(text_problems("a.md", ""), Vec::<String>::new());
        let wide = "é".repeat(LINE_WIDTH_MAX);
        assert_eq!(text_problems("a.md", &format!("{wide}\n")), Vec::<String>::new());
        one(&text_problems("a.md", &format!("{wide}é\n")), &["a.md:1", "131 characters"]);
        assert_eq!(text_problems("a.md", &format!("| {wide} |\n")), Vec::<String>::new());
        one(&text_problems("a.rs", &format!("| {wide} |\n")), &["a.rs:1"]);
        one(&text_problems("a.md", "no newline"), &["a.md", "newline"]);
        one(&text_problems("a.md", "trailing \n"), &["a.md:1", "white space"]);
        for banned in BANNED_WORDS {
            one(&text_problems("a.md", &format!("see {banned}x\n")), &["a.md:1", banned]);
        }
    }

    #[test]
    fn which_files_are_texts() {
        for path in ["README.md", "src/lib.rs", "conf/container/Containerfile", "tests/run", ".ci/run"] {
            assert!(is_text(path), "{path}");
        }
        for path in ["Cargo.lock", "LICENSE-APACHE", "fuzz/corpus/decode/0a1b", "a/b.pcap"] {
            assert!(!is_text(path), "{path}");
        }
    }

    #[test]
    fn a_limit_without_a_word_is_found() {
        let found = limit_problems("/// Bytes.\npub const A: usize = 1;\n\npub const B: usize = 2;\n");
        one(&found, &["limits.rs:4", "document B"]);
    }

    #[test]
    fn metrics_are_read_from_code_and_page() {
        let names =
            metric_names("Family::new(\"swingbridge_a_total\", \"Help\"); f(\"process_b\", \"x\")", '"');
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["process_b", "swingbridge_a_total"]);
        let page = "| metric | what |\n|---|---|\n| `swingbridge_a_total` | A. |\nand `swingbridge_b`\n";
        assert_eq!(first_cells(page).into_iter().collect::<Vec<_>>(), ["swingbridge_a_total"]);
    }

    #[test]
    fn the_changelog_rules_hold() {
        let good = "# Changelog\n\n## [0.2.0] - unreleased\n\n### Added\n- A.\n\n## [0.1.0] - 2026-11-22\n\n### Fixed\n- B.\n";
        assert_eq!(changelog_problems(good, "0.2.0"), Vec::<String>::new());
        one(&changelog_problems(good, "0.3.0"), &["no heading for 0.3.0"]);
        one(&changelog_problems(&good.replace("Fixed", "Mended"), "0.2.0"), &["CHANGELOG.md:10", "Mended"]);
        one(&changelog_problems(&good.replace("2026-11-22", "yesterday"), "0.2.0"), &["CHANGELOG.md:8"]);
        one(&changelog_problems(&good.replace("0.1.0", "0.3.0"), "0.2.0"), &["newest release stands first"]);
        one(&changelog_problems(&good[1..], "0.2.0"), &["CHANGELOG.md:1"]);
    }
}
