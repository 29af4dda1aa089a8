//! `swingbridge testbed`: calls of the virtual laboratory, and why they ended as they did.

use std::fs;

use serde_json::Value;
use serde_json::json;

use super::Folder;
use super::Ran;
use super::run;

/// A folder that `testbed matrix` left.
fn recorded() -> Folder {
    let folder = Folder::new();
    let asked = [
        "testbed",
        "matrix",
        "--places",
        "open,symmetric",
        "--seeds",
        "1",
        "--record",
        "flight",
        "--json",
        "matrix.json",
    ];
    let ran = run(&folder.0, &asked);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    folder
}

/// Words without the lines that they stand in.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn explain(folder: &Folder, arguments: &[&str]) -> Ran {
    run(&folder.0, &[&["testbed", "explain"], arguments].concat())
}

#[test]
fn a_matrix_of_the_virtual_laboratory_is_explained() {
    let folder = recorded();
    let whole = explain(&folder, &["matrix.json"]);
    assert_eq!((whole.code, whole.err.as_str()), (0, ""));
    assert_eq!(
        whole.out,
        "4 pairs of places, 4 calls: every call ended as it has to\n  `--pair LEFT,RIGHT` explains one of them\n"
    );
    let one = explain(&folder, &["flight", "--pair", "symmetric,symmetric"]);
    assert_eq!((one.code, one.err.as_str()), (0, ""));
    for part in [
        "symmetric calls symmetric, seed 1: relayed (udp), as expected\n",
        "Each NAT shows the other side a port that no candidate told of",
        "(filtered: nothing was sent to this address before)",
        "candidate: srflx 203.0.113.10:",
        "server answers allocate: granted",
        "nominated: ",
        "symmetric-symmetric-1.pcapng: every packet, with a comment",
    ] {
        assert!(flat(&one.out).contains(&flat(part)), "{part:?} is missing:\n{}", one.out);
    }
    let read = explain(&folder, &["matrix.json", "--pair", "open,symmetric", "--json"]);
    let read: Value = serde_json::from_str(&read.out).expect("JSON");
    assert_eq!(read["form"], "swingbridge-explanation/1");
    assert_eq!(read["call"]["verdict"], json!({ "word": "direct", "relay": null }));
    assert_eq!(read["call"]["possible"]["pair"], json!(["host", "prflx"]));
    assert_eq!((&read["call"]["fine"], &read["call"]["causes"]), (&json!(true), &json!([])));
}

#[test]
fn what_went_wrong_is_explained_with_the_end_of_its_log() {
    let folder = Folder::new();
    let call = json!({
        "left": "only-443", "right": "open", "seed": 1, "verdict": "failed", "expected": "relayed (tls)",
        "programs": [{ "side": "left", "ended": { "exit": 3 } }, { "side": "right", "ended": "hung" }],
        "flows": [{ "side": "right", "protocol": "udp", "road": "server (udp)", "out": { "packets": 4 }, "in": { "packets": 4 } }], "lost_on_the_lines": [0, 0],
        "gates": [{ "side": "left", "way": "out", "fate": "the firewall lets it not out", "packets": 7 }],
    });
    fs::write(folder.0.join("run.json"), call.to_string()).expect("the folder is ours");
    let folder = folder
        .with("left.log", "hello\n\nno relay within 5 s\n")
        .with("server.log", "up\n")
        .with("run.pcapng", "");
    let ran = explain(&folder, &["."]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for part in [
        "only-443 calls open, seed 1: failed; expected was relayed (tls)\n",
        "  1. TLS, port 443 is the only way out of the left place",
        ". The left program ended with code 3 before a packet of it left its place.\n",
        "left.log: what the left program printed\n    | hello\n    | no relay within 5 s\n",
        "run.pcapng: every packet",
        "server.log: what the server printed\n",
    ] {
        assert!(flat(&ran.out).contains(&flat(part)), "{part:?} is missing:\n{}", ran.out);
    }
    assert!(!ran.out.contains("right.log: "), "there is none:\n{}", ran.out);
}

#[test]
fn what_is_no_report_is_one_clear_error() {
    let folder = Folder::new()
        .with("none.json", "{\"cells\": 5}")
        .with(
            "bad.json",
            "{\"form\": \"swingbridge-testbed/1\", \"cells\": [{\"left\": \"open\", \"calls\": [{}]}]}",
        )
        .with("one.json", "{\"left\": \"open\", \"right\": \"cgn\", \"verdict\": \"direct\"}")
        .with("broken.json", "{");
    for (arguments, told) in [
        (&["none.json"][..], "error: `none.json`: it is no report of `testbed run` or `testbed matrix`"),
        (&["bad.json"], "error: `bad.json`: `cells[0].right` is missing; it has to be one of: open, "),
        (&["broken.json"], "error: `broken.json`: it is no JSON: "),
        (&["."], "error: `.` has neither run.json nor matrix.json: name a folder that --record left"),
        (&["gone.json"], "error: `gone.json` cannot be read: "),
        (&["one.json", "--pair", "open,open"], "error: `one.json`: it is of one call, between open and cgn"),
        (&["one.json", "--pair", "open"], "error: --pair names two places"),
    ] {
        let ran = explain(&folder, arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}: {}", ran.err);
        assert!(ran.err.starts_with(told) && ran.err.lines().count() == 1, "{arguments:?}: {}", ran.err);
    }
    assert_eq!(explain(&folder, &["one.json", "--pair", "moon,open"]).code, 2);
    assert_eq!(explain(&folder, &["one.json"]).code, 0);
}
