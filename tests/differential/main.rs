//! Our codec beside two others: the corpora of the fuzz targets that hold datagrams go through all three, and each class of
//! disagreement is shown by one of them and explained in `docs/compliance/differential.md`.

#[path = "body.rs"]
mod body;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use body::Class;
use body::body;

/// Folders whose files are datagrams; the first is this target's own.
const CORPORA: [&str; 3] = ["fuzz/corpus/differential", "fuzz/corpus/rfc8656", "fuzz/corpus/classify"];

#[test]
fn each_disagreement_is_of_a_known_class_and_each_class_is_seen() {
    let mut seen = BTreeSet::new();
    for folder in CORPORA {
        let inputs = inputs(folder);
        assert!(!inputs.is_empty(), "{folder} is empty");
        for input in inputs {
            seen.extend(body(&input));
        }
    }
    let unseen: Vec<_> = Class::ALL.into_iter().filter(|class| !seen.contains(class)).collect();
    assert!(unseen.is_empty(), "no input shows {unseen:?}: put one into {}, or remove the class", CORPORA[0]);
}

#[test]
fn the_document_explains_every_class_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/compliance/differential.md")).expect("the page is there");
    let cell = |line: &str| Some(line.strip_prefix("| `")?.split_once("` |")?.0.to_owned());
    let explained: BTreeSet<_> = page.lines().filter_map(cell).collect();
    let known: BTreeSet<_> = Class::ALL.iter().map(|class| class.name().to_owned()).collect();
    assert_eq!(
        explained, known,
        "left: rows of docs/compliance/differential.md; right: tests/differential/class.rs"
    );
}

fn inputs(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| fs::read(entry.expect("an entry").path()).expect("an input is readable")).collect()
}
