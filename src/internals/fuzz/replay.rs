//! Every input of every corpus goes through its body, and no target lacks a caller, a corpus or a name in the list.

use std::collections::BTreeSet;
use std::fs;
use std::panic;
use std::path::Path;
use std::path::PathBuf;

use super::TARGETS;
use super::run;

#[cfg(feature = "server")]
/// Targets whose body and replay stand elsewhere, and where: the test that replays them, which names its corpus.
const ELSEWHERE: &[(&str, &str)] = &[("differential", "tests/differential/main.rs")];

/// The corpora are read in every test run and every clone: they stay small.
const FILES_MAX: usize = 400;
const BYTES_MAX: u64 = 200 * 1_024;

#[test]
fn every_input_of_every_corpus_passes() {
    let mut broken = Vec::new();
    for target in TARGETS {
        let inputs = inputs(target.name);
        assert!(!inputs.is_empty(), "fuzz/corpus/{} is empty: put one input there", target.name);
        for path in inputs {
            let bytes = fs::read(&path).expect("an input is readable");
            if panic::catch_unwind(|| run(target.name, &bytes)).is_err() {
                broken.push(format!("{}: {}", target.name, path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "a promise is broken, each time said above, by\n{}", broken.join("\n"));
}

#[test]
fn bodies_take_what_no_corpus_has_to_hold() {
    for target in TARGETS {
        for byte in [0, 1, 0x40, 0xFF] {
            for len in [0, 1, 3, 4, 20, 21, 600] {
                run(target.name, &vec![byte; len]);
            }
        }
    }
}

/// Without the server's features a target is missing from the list, and its folders are not.
#[cfg(feature = "server")]
#[test]
fn each_target_has_a_caller_a_corpus_and_a_line_in_the_package() {
    let ours: BTreeSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let theirs: BTreeSet<_> = ELSEWHERE.iter().map(|(name, _)| (*name).to_owned()).collect();
    let all: BTreeSet<_> = ours.union(&theirs).cloned().collect();
    let callers = names("fuzz/fuzz_targets").into_iter().map(|name| name.replace(".rs", "")).collect();
    assert_eq!(all, callers, "left: TARGETS and ELSEWHERE; right: files of fuzz/fuzz_targets/");
    assert_eq!(all, names("fuzz/corpus"), "left: TARGETS and ELSEWHERE; right: folders of fuzz/corpus/");
    let manifest = read("fuzz/Cargo.toml");
    for name in &all {
        let section = format!("[[bin]]\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n");
        assert!(manifest.contains(&section), "fuzz/Cargo.toml lacks\n{section}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), all.len(), "a [[bin]] of fuzz/Cargo.toml is no target");
    for name in &ours {
        assert_eq!(read(&format!("fuzz/fuzz_targets/{name}.rs")), caller(name), "the caller of {name}");
    }
    for (name, test) in ELSEWHERE {
        let names_it = read(test).contains(&format!("fuzz/corpus/{name}"));
        assert!(names_it, "{test} does not replay fuzz/corpus/{name}");
    }
}

#[test]
fn the_corpora_stay_small() {
    let all: Vec<_> = names("fuzz/corpus").iter().flat_map(|name| inputs(name)).collect();
    let bytes: u64 = all.iter().map(|path| fs::metadata(path).expect("an input is readable").len()).sum();
    assert!(all.len() <= FILES_MAX, "{} inputs; the limit is {FILES_MAX}: see tests/README.md", all.len());
    assert!(bytes <= BYTES_MAX, "{bytes} bytes; the limit is {BYTES_MAX}: see tests/README.md");
}

/// The one line that a caller is.
#[cfg(feature = "server")]
fn caller(name: &str) -> String {
    format!(
        "//! Gives libFuzzer's bytes to the body in the library.\n#![no_main]\n\n\
         libfuzzer_sys::fuzz_target!(|bytes: &[u8]| swingbridge::internals::fuzz::run(\"{name}\", bytes));\n"
    )
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[cfg(feature = "server")]
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

/// The files of a corpus, sorted.
fn inputs(name: &str) -> Vec<PathBuf> {
    let folder = root().join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}
