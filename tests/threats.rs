//! docs/threat-model.md and the tests agree: every row names tests that exist and run, every attack is named by a row, and
//! every figure stands in the page.

mod guard;

use std::collections::BTreeSet;

const PAGE: &str = "docs/threat-model.md";
const ATTACKS: &str = "tests/adversary/";

/// Rows of "What broke other servers" and of "Further attacks": a row may be added, none may go.
const ROWS_MIN: [usize; 2] = [33, 24];

#[test]
fn every_row_names_tests_that_exist() {
    let page = guard::read(PAGE);
    let mut problems = Vec::new();
    for (heading, least) in ["## What broke other servers", "## Further attacks"].into_iter().zip(ROWS_MIN) {
        let rows = rows_below(&page, heading);
        assert!(rows.len() >= least, "{heading}: {} rows, there were {least}", rows.len());
        for row in rows {
            problems.extend(row_problems(&row, &read_if_there));
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn every_attack_is_named_by_a_row_and_its_script_is_run() {
    let page = guard::read(PAGE);
    let runner = guard::read("tests/run");
    let listed = runner.lines().find(|line| line.starts_with("adversary_scripts=(")).expect("the scripts");
    for path in guard::files("tests/adversary").iter().filter(|path| path.ends_with(".py")) {
        let text = guard::read(path);
        let attacks = attacks_of(&text);
        let script = path.trim_start_matches(ATTACKS).trim_end_matches(".py");
        let is_listed = listed.contains(&format!("({script} ")) || listed.contains(&format!(" {script}"));
        assert_eq!(is_listed, !attacks.is_empty(), "{path}: adversary_scripts of tests/run");
        for attack in attacks {
            assert!(page.contains(&format!("`{path}::{attack}`")), "{path}: {PAGE} does not name {attack}");
        }
    }
}

#[test]
fn every_figure_stands_in_the_page_and_no_other() {
    let page: BTreeSet<_> = rows_below(&guard::read(PAGE), "## Figures")
        .iter()
        .map(|row| row.split('`').nth(1).expect("a name").to_owned())
        .collect();
    let measured: BTreeSet<_> = figures_of(&guard::read("tests/figures"));
    assert_eq!(page, measured, "left: {PAGE}; right: tests/figures");
    assert!(page.len() >= 17);
}

fn read_if_there(path: &str) -> Option<String> {
    std::fs::read_to_string(guard::root().join(path)).ok()
}

/// The table rows below a heading, without the table's own head.
fn rows_below(page: &str, heading: &str) -> Vec<String> {
    let (_, below) = page.split_once(heading).unwrap_or_else(|| panic!("{PAGE} has no {heading:?}"));
    let section = below.split("\n## ").next().expect("a split has a first part");
    section.lines().filter(|line| line.starts_with('|')).skip(2).map(str::to_owned).collect()
}

fn row_problems(row: &str, read: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let cell = row.trim_end_matches([' ', '|']).rsplit(" | ").next().expect("a split has a last part");
    let named: Vec<_> =
        cell.split('`').skip(1).step_by(2).filter_map(|name| name.rsplit_once("::")).collect();
    if named.is_empty() && !cell.starts_with("none: ") {
        return vec![format!("{row}: name a test, or say `none: ` and why")];
    }
    let is_there = |path: &str, name: &str| {
        let Some(text) = read(path) else { return false };
        let is_rust = path.ends_with(".rs");
        text.contains(&format!("{} {name}(", if is_rust { "fn" } else { "def" }))
            && (is_rust || name.starts_with("attack_") || path == "tests/figures")
    };
    let missing = named.iter().filter(|(path, name)| !is_there(path, name));
    missing.map(|(path, name)| format!("{PAGE}: there is no test {path}::{name}")).collect()
}

fn attacks_of(script: &str) -> Vec<String> {
    let names = script.lines().filter_map(|line| line.strip_prefix("def attack_")?.split_once('('));
    names.map(|(name, _)| format!("attack_{name}")).collect()
}

fn figures_of(script: &str) -> BTreeSet<String> {
    let names = script.lines().filter_map(|line| line.strip_prefix("@figure(\"")?.split_once('"'));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn the_guard_would_notice() {
    let read = |path: &str| (path == "src/a.rs").then(|| "fn real() {}".to_owned());
    assert!(row_problems("| a | b | `src/a.rs::real` |", &read).is_empty());
    assert!(row_problems("| a | b | none: no such transport |", &read).is_empty());
    for bad in ["| a | b | `src/a.rs::gone` |", "| a | b | `src/b.rs::real` |", "| a | b | soon |"] {
        assert_eq!(row_problems(bad, &read).len(), 1, "{bad}");
    }
    assert_eq!(attacks_of("def attack_x():\ndef helper():\n"), ["attack_x"]);
    assert_eq!(rows_below("## H\n| a |\n|---|\n| b |\n\n## I\n| c |\n|---|\n| d |", "## H"), ["| b |"]);
}
