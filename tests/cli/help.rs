//! Help, versions, and readers that go away.

use std::path::Path;
use std::process::Stdio;

use super::command;
use super::run;

#[test]
fn help_teaches_examples_exit_codes_and_where_configurations_are() {
    let ran = run(Path::new("/"), &["--help"]);
    assert_eq!(ran.code, 0);
    for part in ["swingbridge serve", "Exit codes:", "  3  the machine refused", "conf/minimal.toml"] {
        assert!(ran.out.contains(part), "{part:?} is missing:\n{}", ran.out);
    }
    for subcommand in ["serve", "check", "credential", "load"] {
        let ran = run(Path::new("/"), &[subcommand, "--help"]);
        assert_eq!(ran.code, 0);
        for part in ["Examples:\n", "Exit codes:\n"] {
            assert!(ran.out.contains(part), "{subcommand}:\n{}", ran.out);
        }
    }
    for subcommand in ["run", "matrix", "explain"] {
        let ran = run(Path::new("/"), &["testbed", subcommand, "--help"]);
        assert_eq!(ran.code, 0);
        for part in ["Examples:\n", "Exit codes:\n"] {
            assert!(ran.out.contains(part), "{subcommand}:\n{}", ran.out);
        }
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let ran = run(Path::new("/"), &["--version"]);
    assert_eq!((ran.code, ran.out), (0, format!("swingbridge {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_wrong_request_is_exit_code_2() {
    for arguments in
        [&[][..], &["srve"], &["check"], &["serve", "--confg", "x"], &["check", "a", "--peer", "8.8.8.8"]]
    {
        let ran = run(Path::new("/"), arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert!(!ran.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_went_away_is_no_panic() {
    for arguments in [&["--help"][..], &["credential", "--secret", "north", "--user", "alice"]] {
        let mut child = command(Path::new("/"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
