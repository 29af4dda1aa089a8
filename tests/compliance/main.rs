//! Sentence by sentence, what the standards ask and which test proves it: the tables in docs/compliance/ against the tests,
//! in both directions. `SWINGBRIDGE_BLESS=1 cargo test --test compliance` writes docs/compliance/README.md anew.
#![cfg(feature = "server")]

#[path = "../guard/mod.rs"]
mod guard;
mod page;
mod proofs;
mod rules;
mod table;

use std::collections::BTreeSet;
use std::fs;

use proofs::Proof;
use table::Standard;

const FOLDER: &str = "docs/compliance";
const PAGE: &str = "docs/compliance/README.md";

#[test]
fn the_tables_keep_their_rules() {
    let decisions = decisions();
    let problems = standards().iter().flat_map(|standard| rules::problems(standard, &decisions)).collect();
    report(problems);
}

#[test]
fn every_row_that_is_done_is_proved_and_nothing_else_is() {
    let (proofs, mut problems) = all_proofs();
    problems.extend(proofs::join_problems(&standards(), &proofs));
    report(problems);
}

#[test]
fn the_page_is_made_from_the_tables() {
    let made = page::render(&standards());
    let path = guard::root().join(PAGE);
    if std::env::var_os("SWINGBRIDGE_BLESS").is_some() {
        fs::write(&path, &made).expect("the checkout is writable");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == made,
        "{PAGE} is not what the tables say: SWINGBRIDGE_BLESS=1 cargo test --test compliance"
    );
}

fn standards() -> Vec<Standard> {
    let mut standards = Vec::new();
    for path in guard::files(FOLDER).iter().filter(|path| path.ends_with(".toml")) {
        match table::parse(path, &guard::read(path)) {
            Ok(standard) => standards.push(standard),
            Err(problem) => panic!("\n{problem}\n"),
        }
    }
    assert!(!standards.is_empty(), "{FOLDER} has no table");
    standards
}

/// The numbers of the pages in docs/decisions/.
fn decisions() -> BTreeSet<String> {
    guard::files("docs/decisions")
        .iter()
        .filter_map(|path| path.rsplit('/').next()?.split_once('-').map(|(number, _)| number.to_owned()))
        .collect()
}

fn all_proofs() -> (Vec<Proof>, Vec<String>) {
    let mut proofs = Vec::new();
    let mut problems = Vec::new();
    for path in ["src", "tests"].iter().flat_map(|folder| guard::files(folder)) {
        let is_python = path.starts_with("tests/interop/") && path.ends_with(".py");
        let is_rust = path.ends_with(".rs") && !path.starts_with("tests/compliance/");
        let (found, wrong) = match (is_rust, is_python) {
            (true, _) => proofs::of_rust(&path, &guard::read(&path)),
            (_, true) => proofs::of_python(&path, &guard::read(&path)),
            _ => continue,
        };
        proofs.extend(found);
        problems.extend(wrong);
    }
    (proofs, problems)
}

fn report(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}
