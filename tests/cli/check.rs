//! `swingbridge check` on sound files, for people and for programs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use super::Folder;
use super::command;
use super::finish;
use super::run;

const SOUND: &str = "\
[relay]
addresses = [{ bind = \"127.0.0.1\", external = \"203.0.113.7\" }]
[auth]
secrets = [\"a-secret-that-nobody-may-see\"]
users = { alice = \"a-password-that-nobody-may-see\" }
[peers]
allow = [\"10.1.0.0/16:5000-6000\"]
";

fn sound() -> Folder {
    Folder::new().with("a.toml", SOUND)
}

// proves rfc8489:8.1-1
#[test]
fn a_sound_file_shows_listeners_keys_and_limits_but_no_secret() {
    let folder = sound();
    let ran = run(&folder.0, &["check", "a.toml"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    for part in [
        "a.toml: no problems",
        "  udp    0.0.0.0:3478\n",
        "  udp    [::]:3478\n",
        "  127.0.0.1, shown as 203.0.113.7\n",
        "50000-59999: 10000 for each address",
        "http://127.0.0.1:9478/metrics",
        "file     live     (1 set)",
        "default  live     \"8h\"",
        "PERMISSIONS_PER_ALLOCATION_MAX",
        "CREDENTIAL_CLOCK_LEEWAY",
    ] {
        assert!(ran.out.contains(part), "{part:?} is missing:\n{}", ran.out);
    }
    assert!(!ran.out.contains("nobody-may-see"), "{}", ran.out);
}

#[test]
fn the_four_listeners_of_discovery_are_shown() {
    let text = "[listen]
udp = [\"[::]:3478\"]
discovery = [{ primary = \"192.0.2.1:3478\", alternate = { bind = \"192.0.2.2:3479\", external = \"203.0.113.2:80\" } }]
[auth]
secrets = [\"a-secret-that-nobody-may-see\"]
";
    let folder = Folder::new().with("a.toml", text);
    let ran = run(&folder.0, &["check", "a.toml"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    let (_, listeners) = ran.out.split_once("Listeners\n").expect("a summary");
    let listeners: Vec<_> = listeners.lines().take_while(|line| line.starts_with("  udp")).collect();
    assert_eq!(
        listeners,
        [
            "  udp    [::]:3478",
            "  udp    192.0.2.1:3478",
            "  udp    192.0.2.1:3479, shown as 192.0.2.1:80",
            "  udp    192.0.2.2:3478, shown as 203.0.113.2:3478",
            "  udp    192.0.2.2:3479, shown as 203.0.113.2:80",
        ]
    );
}

#[test]
fn each_committed_configuration_passes() {
    let mut folder = Folder::new().with("secret", "0123456789abcdef0123456789abcdef\n");
    for name in ["mras1.key", "mras2.key"] {
        folder = folder.with(name, &format!("the key in {name}, long enough"));
    }
    for name in ["secret", "mras1.key", "mras2.key"] {
        fs::set_permissions(folder.0.join(name), fs::Permissions::from_mode(0o600)).expect("our own file");
    }
    for name in
        ["minimal.toml", "webrtc.toml", "office-communicator.toml", "full.toml", "testbed/loopback.toml"]
    {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name));
        let own = name.rsplit('/').next().expect("a split has a last part");
        fs::write(folder.0.join(own), text.expect("committed")).expect("our own folder");
        let secret = "0123456789abcdef0123456789abcdef";
        let ran = finish(command(&folder.0).args(["check", own]).env("SWINGBRIDGE_SECRET", secret));
        assert_eq!(ran.code, 0, "{name}\n{}", ran.out);
        // An example's addresses are another machine's; nothing else is wrong with it.
        let foreign =
            ran.out.matches("is not an address of this machine and was not declared external").count();
        assert_eq!(ran.out.matches("warning in ").count(), foreign, "{}", ran.out);
        assert!(!ran.out.contains(secret), "{}", ran.out);
    }
}

#[test]
fn the_testbed_lets_clients_reach_peers_at_loopback() {
    let folder = Folder::new()
        .with("secret", "0123456789abcdef0123456789abcdef\n")
        .with("loopback.toml", include_str!("../../conf/testbed/loopback.toml"));
    for (peer, code) in
        [("127.0.0.1:4000", 0), ("127.0.0.9:4000", 0), ("[::1]:4000", 0), ("10.0.0.1:4000", 1)]
    {
        let ran = run(&folder.0, &["check", "loopback.toml", "--peer", peer]);
        assert_eq!(ran.code, code, "{peer}: {}", ran.out);
    }
}

#[test]
fn a_relative_secret_file_stands_beside_the_configuration_and_its_line_end_is_no_part_of_it() {
    let folder =
        Folder::new().with("empty", "\n").with("a.toml", "[auth]\nsecrets = [{ file = \"empty\" }]\n");
    let ran = run(Path::new("/"), &["check", &folder.0.join("a.toml").to_string_lossy()]);
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains("a secret is empty"), "{}", ran.out);
}

#[test]
fn a_secret_file_that_everyone_can_read_is_warned_about() {
    let folder = Folder::new()
        .with("secret", "0123456789abcdef0123456789abcdef\n")
        .with("a.toml", "[auth]\nsecrets = [{ file = \"secret\" }]\n");
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        fs::set_permissions(folder.0.join("secret"), fs::Permissions::from_mode(mode)).expect("our own file");
        let ran = run(&folder.0, &["check", "a.toml"]);
        assert_eq!(ran.code, 0);
        assert_eq!(ran.out.contains("every user of this machine can read `secret`"), warned, "{}", ran.out);
    }
}

#[test]
fn programs_get_every_problem_with_its_place() {
    let folder =
        Folder::new().with("a.toml", "relm = \"x\"\n\n[auth]\nnonce_lifetime = 3600\nsecrets = [\"\"]\n");
    let ran = run(&folder.0, &["check", "a.toml", "--format", "json"]);
    assert_eq!(ran.code, 2);
    let object: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(object["sound"], false);
    let problems = object["problems"].as_array().expect("an array");
    let places: Vec<_> = problems.iter().map(|problem| (&problem["line"], &problem["column"])).collect();
    assert_eq!(places, [(&1.into(), &1.into()), (&4.into(), &18.into()), (&5.into(), &12.into())]);
    assert_eq!(problems[1]["fix"], "write \"1h\" if seconds are meant");
    assert_eq!(problems[1]["key"], "auth.nonce_lifetime");
    assert_eq!(problems[1]["severity"], "error");
}

#[test]
fn programs_get_what_a_sound_file_means() {
    let folder = sound();
    let ran = run(&folder.0, &["check", "a.toml", "--format", "json"]);
    assert_eq!(ran.code, 0);
    let object: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(object["sound"], true);
    assert_eq!(object["limits"]["CREDENTIAL_LIFETIME_MAX"], "8h");
    assert_eq!(object["listeners"][0]["bind"], "0.0.0.0:3478");
    let keys = object["keys"].as_array().expect("an array");
    assert!(keys.iter().any(|key| key["key"] == "peers.allow" && key["from"] == "file"));
    assert!(!ran.out.contains("nobody-may-see"));
}

#[test]
fn a_peer_is_judged_with_the_rule_that_decides() {
    let folder = sound();
    for (peer, code, words) in [
        ("10.1.2.3:5060", 0, "10.1.2.3:5060 is allowed: "),
        ("10.1.2.3:80", 1, "10.1.2.3:80 is denied: "),
        ("192.168.1.1:5060", 1, "192.168.1.1:5060 is denied: "),
        ("127.0.0.1:22", 1, "127.0.0.1:22 is denied: "),
        ("203.0.113.7:22", 1, "203.0.113.7:22 is denied: "),
        ("8.8.8.8:53", 0, "8.8.8.8:53 is allowed: "),
        ("[::ffff:10.1.2.3]:80", 1, "[::ffff:10.1.2.3]:80 is denied: "),
    ] {
        let ran = run(&folder.0, &["check", "a.toml", "--peer", peer]);
        assert_eq!(ran.code, code, "{peer}: {}", ran.out);
        assert!(ran.out.starts_with(words), "{peer}: {}", ran.out);
        assert!(ran.out.len() > words.len() + 5, "no rule is named for {peer}");
        let ran = run(&folder.0, &["check", "a.toml", "--peer", peer, "--format", "json"]);
        let object: Value = serde_json::from_str(&ran.out).expect("JSON");
        assert_eq!((ran.code, &object["peer"]["allowed"]), (code, &(code == 0).into()));
    }
}

#[test]
fn a_broken_file_judges_no_peer() {
    let folder = Folder::new().with("a.toml", "[peers]\nallow = [\"everything\"]\n");
    let ran = run(&folder.0, &["check", "a.toml", "--peer", "8.8.8.8:53"]);
    assert_eq!(ran.code, 2);
}

#[test]
fn a_file_that_is_not_there_or_is_no_text_is_the_requests_fault() {
    let folder = Folder::new();
    fs::write(folder.0.join("binary"), [0xff, 0xfe, 0x00]).expect("our own folder");
    for name in ["none.toml", "binary", "."] {
        let ran = run(&folder.0, &["check", name]);
        assert_eq!(ran.code, 2, "{name}");
        assert!(ran.err.contains("cannot be read") && ran.err.contains("help"), "{}", ran.err);
    }
}

#[test]
fn a_pipe_gets_no_colours() {
    let folder = Folder::new().with("a.toml", "relm = 1\n");
    let ran =
        finish(command(&folder.0).env_remove("NO_COLOR").env("TERM", "xterm").args(["check", "a.toml"]));
    assert!(!ran.out.contains('\x1b'), "{:?}", ran.out);
}
