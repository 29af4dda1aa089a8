//! `swingbridge load`, as far as it goes without a server that answers: what is refused, with which words and which code.

use std::net::UdpSocket;
use std::path::Path;

use super::Folder;
use super::command;
use super::finish;
use super::run;

/// A user, so that what is refused is something else.
const USER: [&str; 4] = ["--user", "alice", "--password", "wonderland"];

fn load(arguments: &[&str]) -> super::Ran {
    run(Path::new("/"), &[&["load"], arguments, &USER].concat())
}

#[test]
fn contradictions_are_a_sentence_with_a_cure_and_exit_code_2() {
    for (arguments, says, cure) in [
        (&["sok", "turn:127.0.0.1"][..], "`sok` is neither a mode nor a URI", "write one of soak, ramp"),
        (&["ramp"], "no server is named", "write its URI"),
        (&["compare", "turn:127.0.0.1"], "compare takes two servers", "write both URIs"),
        (&["turn:127.0.0.1", "turn:127.0.0.2"], "only compare takes two", "compare URI URI"),
        (&["turn:127.0.0.1", "--ramp", "1:1:2"], "--ramp says nothing to soak", "it is for ramp"),
        (&["ice", "turn:127.0.0.1", "--peer", "local"], "--peer says nothing to ice", "leave it out"),
        (&["turn:127.0.0.1", "--objective", "speed>1"], "speed", "write"),
        (&["turn:127.0.0.1", "--size", "1"], "--size 1 is no size", "write bytes of payload"),
        (&["stun:127.0.0.1"], "relays nothing", "write turn:127.0.0.1"),
        (&["http://127.0.0.1"], "web site", "write turn:HOST"),
        (&["turns:127.0.0.1", "--dialect", "legacy"], "know no TLS", "pseudo-TLS"),
        (
            &["turn:127.0.0.1", "--server-pid", "1", "--server-pid", "2"],
            "there is one server",
            "write it once",
        ),
        (&["soak", "turn:127.0.0.1", "--for", "9h"], "longer than credentials", "shorter"),
        (&["turn:nobody.invalid"], "nobody.invalid cannot be resolved", "check its spelling"),
    ] {
        let ran = load(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}: {}", ran.err);
        let lines: Vec<_> = ran.err.lines().collect();
        assert_eq!(lines.len(), 2, "{arguments:?}: {}", ran.err);
        assert!(lines[0].starts_with("error: ") && lines[0].contains(says), "{arguments:?}: {}", ran.err);
        assert!(lines[1].starts_with("  help: ") && lines[1].contains(cure), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn a_proxy_that_is_none_is_a_sentence_without_its_password() {
    let tcp = "turn:127.0.0.1?transport=tcp";
    for (uri, proxy, says) in [
        (tcp, "https://bob:sesame@192.0.2.9:1", "begins with http://"),
        (tcp, "http://sesame@192.0.2.9:1", "NAME:PASSWORD before the @"),
        (tcp, "http://bob:sesame@192.0.2.9", "a port from 1 to 65535"),
        (tcp, "http://bob:sesame@192.0.2.9:1/x", "behind the port"),
        ("turn:127.0.0.1", "http://bob:sesame@127.0.0.1:1", "no UDP and no DTLS goes through an HTTP proxy"),
    ] {
        let arguments = ["load", uri, "--user", "a", "--password", "b", "--calls", "1", "--proxy", proxy];
        let ran = run(Path::new("/"), &arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{proxy}: {}", ran.err);
        assert!(ran.err.contains(says) && !ran.err.contains("sesame"), "{proxy}: {}", ran.err);
    }
}

#[test]
fn flags_that_exclude_each_other_are_refused() {
    for arguments in [
        &["turn:127.0.0.1", "--secret", "a", "--user", "b"][..],
        &["turn:127.0.0.1", "--secret", "a", "--secret-file", "b"],
        &["turn:127.0.0.1", "--password", "a"],
        &["turn:127.0.0.1", "--user", "a", "--password", "b", "--password-file", "c"],
        &["turn:127.0.0.1", "--user", "a", "--users", "5"],
        &["turn:127.0.0.1", "--mras-key1-file", "a"],
        &["turn:127.0.0.1", "--authority", "a", "--insecure"],
        &["turn:127.0.0.1", "--proxy", "a", "--proxy-file", "b"],
        &["turn:127.0.0.1", "--profile", "audio", "--rate", "5"],
        &["turn:127.0.0.1", "--server-pid", "1", "--admin", "127.0.0.1:1"],
        &["peer", "--listen", "127.0.0.1:0", "--calls", "5"],
        &["peer"],
        &[],
    ] {
        let ran = run(Path::new("/"), &[&["load"], arguments].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}: {}", ran.err);
        assert!(ran.err.starts_with("error: "), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn secrets_come_from_a_file_the_environment_or_the_command_line_and_a_lack_is_told() {
    let folder = Folder::new().with("empty", "\n").with("key", "one and the same\n");
    let says = |arguments: &[&str], says: &str| {
        let ran = run(&folder.0, &[&["load", "turn:127.0.0.1:1"], arguments].concat());
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(says), "{arguments:?}: {}", ran.err);
    };
    says(&[], "nothing says how the clients get in");
    says(&[], "--secret and --password are seen by other users of this machine");
    says(&["--secret", ""], "the secret is empty");
    says(&["--secret-file", "empty"], "the secret is empty");
    says(&["--secret-file", "nowhere"], "cannot be read");
    says(&["--user", "alice"], "set SWINGBRIDGE_PASSWORD");
    says(&["--user", "alice", "--password-file", "empty"], "the password is empty");
    says(&["--user", "", "--password", "x"], "--user");
    says(&["--secret", "a", "--secret", "b"], "there is one server");
    let keys = ["--mras-key1-file", "key", "--mras-key2-file", "key"];
    says(&keys, "write --dialect legacy too");
    says(&[&keys[..], &["--dialect", "legacy"]].concat(), "both MRAS keys are the same");
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_the_run() {
    let ran = load(&["turn:127.0.0.1:1", "--json", "/nowhere/at/all.json"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("`/nowhere/at/all.json` cannot be written"), "{}", ran.err);
}

#[test]
fn no_secret_is_echoed() {
    for arguments in [&["turn:alice@127.0.0.1"][..], &["--objective", "x", "turn:127.0.0.1"]] {
        assert!(!load(arguments).err.contains("wonderland"), "{arguments:?}");
    }
}

#[test]
fn a_server_that_does_not_answer_is_a_sentence_and_exit_code_1() {
    let folder = Folder::new();
    // A socket that nobody reads: the port is taken, and nothing comes from it.
    let mute = UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
    let uri = format!("turn:{}", mute.local_addr().expect("it is bound"));
    let ran = finish(
        command(&folder.0)
            .args(["load", &uri, "--calls", "2", "--for", "1s", "--json", "out.json"])
            .args(USER),
    );
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("error: ") && ran.out.is_empty(), "{}{}", ran.out, ran.err);
    assert!(!folder.0.join("out.json").exists(), "nothing was measured, so nothing is left");
}
