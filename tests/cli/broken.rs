//! Broken and doubtful configurations: one file each in `broken/` and `warned/`, and what the command says to it
//! in `snapshots/`.

use std::fs;
use std::path::Path;

use super::Ran;
use super::here;
use super::run;

/// Names of the configurations in `folder`, without their ending.
fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(here().join(folder)).expect("the folder is committed");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn check(folder: &str, name: &str) -> Ran {
    run(&here().join(folder), &["check", &format!("{name}.toml")])
}

// proves rfc8656:5-8, rfc8656:7.2-32
#[test]
fn each_broken_configuration_is_told_its_line_and_its_cure() {
    let names = names("broken");
    assert!(names.len() >= 30, "only {} broken configurations are left", names.len());
    for name in names {
        let ran = check("broken", &name);
        assert_eq!(ran.code, 2, "{name}\n{}", ran.out);
        assert!(ran.err.is_empty(), "{name}\n{}", ran.err);
        for part in [format!("--> {name}.toml:"), "^".to_owned(), "= help: ".to_owned(), "error".to_owned()] {
            assert!(ran.out.contains(&part), "{name} lacks {part:?}\n{}", ran.out);
        }
        insta::assert_snapshot!(format!("broken_{name}"), ran.out);
    }
}

#[test]
fn each_doubtful_configuration_is_warned_about_and_taken() {
    for name in names("warned") {
        let ran = check("warned", &name);
        assert_eq!(ran.code, 0, "{name}\n{}", ran.out);
        let (warnings, _) = ran.out.split_once("\n\nListeners\n").expect("a summary follows");
        assert!(warnings.contains("warning"), "{name}\n{warnings}");
        insta::assert_snapshot!(format!("warned_{name}"), warnings);
    }
}

#[test]
fn no_secret_of_any_broken_configuration_is_shown() {
    for folder in ["broken", "warned"] {
        for name in names(folder) {
            let ran = check(folder, &name);
            for secret in
                ["nobody-may-see", "0123456789abcdef", "hush-hush", "one-password", "another-password"]
            {
                assert!(!ran.out.contains(secret), "{folder}/{name} shows {secret}\n{}", ran.out);
            }
        }
    }
}

#[test]
fn no_snapshot_is_left_without_its_configuration() {
    let wanted: Vec<_> = ["broken", "warned"]
        .iter()
        .flat_map(|folder| {
            names(folder).into_iter().map(move |name| format!("cli__broken__{folder}_{name}.snap"))
        })
        .collect();
    for entry in fs::read_dir(here().join("snapshots")).expect("the folder is committed") {
        let name = entry.expect("readable").file_name().into_string().expect("UTF-8");
        assert!(
            wanted.contains(&name) || Path::new(&name).extension().is_none_or(|ext| ext != "snap"),
            "{name}"
        );
    }
}
