//! The pure wing builds alone: without the feature `server` the dependency tree names no runtime, no socket crate and
//! nothing that reads a clock or rolls dice.

use std::process::Command;

/// What may not be below the pure wing at all.
const NOT_BELOW: &[&str] =
    &["axum", "getrandom", "hyper", "libc", "mio", "rtrb", "rustix", "socket2", "tokio", "tracing"];

/// What of it the crate `is` brings: it says what it does, to nobody unless a program listens.
const BELOW_ICE: &[&str] = &["tracing"];

/// What may not be below the program: what only tests may use, and what a room of ours does instead.
const NOT_BELOW_THE_PROGRAM: &[&str] =
    &["dashmap", "native-tls", "openssl", "openssl-sys", "proptest", "rand", "stun-rs", "stun-types"];

/// Features that make the client fit others' programs: what those stand on is theirs. And `dtls`, which no released binary has:
/// its library brings a generator of its own.
const NOT_OF_THE_PROGRAM: &[&str] = &["webrtc-util", "dtls"];

#[test]
fn without_the_server_the_tree_names_no_machine() {
    let crates = crates_below(&["--no-default-features"]);
    assert!(crates.iter().any(|name| name == "hmac"), "the tree has another form than expected: {crates:?}");
    let found: Vec<_> = crates.iter().filter(|name| NOT_BELOW.contains(&name.as_str())).collect();
    assert!(
        found.is_empty(),
        "below the pure wing: {found:?}; put them behind the feature `server` in Cargo.toml"
    );
}

#[test]
fn the_ice_agent_brings_no_machine() {
    let crates = crates_below(&["--no-default-features", "--features", "ice"]);
    assert!(crates.iter().any(|name| name == "is"), "the tree has another form than expected: {crates:?}");
    let is_banned = |name: &str| NOT_BELOW.contains(&name) && !BELOW_ICE.contains(&name);
    let found: Vec<_> = crates.iter().filter(|name| is_banned(name)).collect();
    assert!(found.is_empty(), "below the agent: {found:?}; docs/decisions says what `is` may bring");
}

#[test]
fn the_check_would_find_them() {
    let crates = crates_below(&[]);
    for name in ["tokio", "mio", "socket2", "rustix", "libc"] {
        assert!(crates.iter().any(|each| each == name), "{name} is not found with the server either");
    }
}

#[test]
fn the_program_stands_on_no_test_oracle_and_no_banned_crate() {
    let features = all_features_but(NOT_OF_THE_PROGRAM);
    let crates = crates_below(&["--features", &features]);
    let found: Vec<_> = crates.iter().filter(|name| NOT_BELOW_THE_PROGRAM.contains(&name.as_str())).collect();
    assert!(
        found.is_empty(),
        "below the program: {found:?}; deny.toml and docs/decisions say what to use instead"
    );
}

/// Every feature of the manifest but some, with commas between.
fn all_features_but(these: &[&str]) -> String {
    let manifest = include_str!("../Cargo.toml");
    let features = manifest.split("[features]").nth(1).and_then(|rest| rest.split("\n[").next());
    let lines = features.expect("the manifest has features").lines();
    let keys =
        lines.filter(|line| !line.starts_with([' ', '#', ']'])).filter_map(|line| line.split_once(" = "));
    let names: Vec<_> = keys.map(|(name, _)| name).filter(|name| !these.contains(name)).collect();
    assert!(
        names.contains(&"server") && names.contains(&"client"),
        "the manifest has another form: {names:?}"
    );
    names.join(",")
}

/// The names of the crates below the package, in normal use.
fn crates_below(features: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs these tests, so it can be started");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("crate names are UTF-8");
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}
