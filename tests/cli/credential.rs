//! `swingbridge credential`.

use std::path::Path;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::Hmac;
use hmac::KeyInit as _;
use hmac::Mac as _;
use serde_json::Value;
use sha1::Sha1;
use sha2::Sha256;

use super::Folder;
use super::Ran;
use super::command;
use super::finish;
use super::run;

const SECRET: &str = "north";

fn mint(arguments: &[&str]) -> Ran {
    let mut all = vec!["credential", "--secret", SECRET];
    all.extend(arguments);
    run(Path::new("/"), &all)
}

fn json(ran: &Ran) -> Value {
    assert_eq!(ran.code, 0, "{}", ran.err);
    serde_json::from_str(&ran.out).expect("JSON")
}

/// The password of the scheme, computed here by itself.
fn password(username: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).expect("any length");
    mac.update(username.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

#[test]
fn the_mac_is_for_the_caller_to_choose() {
    let sha1 = json(&mint(&["--user", "alice", "--mac", "sha1", "--format", "json"]));
    assert_eq!(sha1["password"], password(sha1["username"].as_str().expect("a string")));
    let sha256 = json(&mint(&["--user", "alice", "--mac", "sha256", "--format", "json"]));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
    mac.update(sha256["username"].as_str().expect("a string").as_bytes());
    assert_eq!(sha256["password"], BASE64_STANDARD.encode(mac.finalize().into_bytes()));
}

#[test]
fn an_mras_pair_is_made_of_two_keys() {
    let folder = Folder::new()
        .with("key1", "the first of the two keys\n")
        .with("key2", "the second of the two keys\n");
    let keys =
        ["credential", "--mras", "--user", "sip:alice@example.com", "--key1-file", "key1", "--key2-file"];
    let with = |more: &[&str]| run(&folder.0, &[&keys[..], more].concat());
    let object = json(&with(&["key2", "--ttl", "30m", "--format", "json"]));
    let bytes =
        |name: &str| BASE64_STANDARD.decode(object[name].as_str().expect("a string")).expect("base64");
    let (username, password) = (bytes("username"), bytes("password"));
    let mac = |key: &str, text: &[u8]| {
        let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("any length");
        mac.update(text);
        mac.finalize().into_bytes().to_vec()
    };
    assert_eq!((username.len(), &username[..4]), (52, &[1, 0, 0, 32][..]));
    assert_eq!(username[32..], mac("the first of the two keys", &username[..32]));
    assert_eq!(password, mac("the second of the two keys", &username));
    let half = |at: usize| u64::from(u32::from_be_bytes(username[at..at + 4].try_into().expect("four")));
    let unix = ((half(8) << 32 | half(4)) - 116_444_736_000_000_000).div_ceil(10_000_000);
    assert_eq!(object["expires_unix"], unix);
    assert!(unix <= SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + 1_800);
    let text = with(&["key2"]);
    assert!(text.out.starts_with("username  AQAAI") && text.out.contains("in 8h, at "), "{}", text.out);
    for (more, says) in [
        (&["key1"][..], "both keys are the same"),
        (&["nowhere"], "cannot be read"),
        (&["key2", "--secret", "north"], "cannot be used with"),
        (&["key2", "--format", "ice-servers"], "--host"),
        (&["key2", "--ttl", "9h"], "too long"),
    ] {
        let ran = with(more);
        assert_eq!(ran.code, 2, "{more:?}");
        assert!(ran.err.contains(says), "{more:?}: {}", ran.err);
    }
    let keyless = run(&folder.0, &["credential", "--mras", "--user", "alice"]);
    assert!(keyless.code == 2 && keyless.err.contains("SWINGBRIDGE_MRAS_KEY1"), "{}", keyless.err);
    let plain = run(&folder.0, &["credential", "--user", "alice", "--key1-file", "key1"]);
    assert!(plain.code == 2 && plain.err.contains("--mras"), "{}", plain.err);
}

#[test]
fn a_name_is_spelt_as_clients_spell_it() {
    let object = json(&mint(&["--user", "rene\u{301}", "--format", "json"]));
    let username = object["username"].as_str().expect("a string");
    assert!(username.ends_with(":ren\u{e9}"), "{username:?}");
    assert_eq!(object["password"], password(username));
}

#[test]
fn the_name_holds_expiry_and_user_and_the_password_fits() {
    let before = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let object = json(&mint(&["--user", "alice", "--ttl", "30m", "--format", "json"]));
    let username = object["username"].as_str().expect("a string");
    let (expiry, user) = username.split_once(':').expect("two parts");
    let expiry: u64 = expiry.parse().expect("a number");
    assert_eq!(user, "alice");
    assert!((before + 1_800..before + 1_860).contains(&expiry), "{expiry}");
    assert_eq!(object["password"], password(username));
    assert_eq!(object["expires_unix"], expiry);
    assert_eq!(object["ttl_s"], 1_800);
}

// proves rfc8656:4.1-2
#[test]
fn ice_servers_can_be_pasted() {
    let array = json(&mint(&["--user", "alice", "--format", "ice-servers", "--host", "turn.example.net"]));
    assert_eq!(array.as_array().map(Vec::len), Some(1));
    assert_eq!(array[0]["urls"], serde_json::json!(["turn:turn.example.net:3478?transport=udp"]));
    let username = array[0]["username"].as_str().expect("a string");
    assert_eq!(array[0]["credential"], password(username));
}

#[test]
fn text_names_each_part() {
    let ran = mint(&["--user", "alice"]);
    assert_eq!(ran.code, 0);
    for part in ["username  ", ":alice\n", "password  ", "expires   in 8h"] {
        assert!(ran.out.contains(part), "{}", ran.out);
    }
    assert!(!ran.out.contains(SECRET));
}

#[test]
fn the_secret_comes_from_argument_file_or_environment() {
    let folder = Folder::new().with("secret", "north\n");
    let arguments = ["credential", "--user", "alice", "--format", "json"];
    let file = finish(command(&folder.0).args(arguments).args(["--secret-file", "secret"]));
    let environment = finish(command(&folder.0).args(arguments).env("SWINGBRIDGE_SECRET", SECRET));
    let argument_wins = finish(
        command(&folder.0).args(arguments).args(["--secret", SECRET]).env("SWINGBRIDGE_SECRET", "south"),
    );
    for ran in [file, environment, argument_wins] {
        let object = json(&ran);
        assert_eq!(object["password"], password(object["username"].as_str().expect("a string")));
    }
}

#[test]
fn what_cannot_work_is_refused_with_its_cure() {
    let long = "a".repeat(600);
    for arguments in [
        &["credential", "--user", "alice"][..],
        &["credential", "--user", "alice", "--secret", ""],
        &["credential", "--user", "alice", "--secret", "a", "--secret-file", "b"],
        &["credential", "--user", "", "--secret", "north"],
        &["credential", "--user", "a\nb", "--secret", "north"],
        &["credential", "--user", "a\u{e000}", "--secret", "north"],
        &["credential", "--user", "alice", "--secret", "north", "--mac", "md5"],
        &["credential", "--user", &long, "--secret", "north"],
        &["credential", "--secret", "north"],
        &["credential", "--user", "alice", "--secret", "north", "--ttl", "9h"],
        &["credential", "--user", "alice", "--secret", "north", "--ttl", "3600"],
        &["credential", "--user", "alice", "--secret", "north", "--ttl", "0s"],
        &["credential", "--user", "alice", "--secret", "north", "--format", "ice-servers"],
        &["credential", "--user", "alice", "--secret", "north", "--host", "turn:a.b"],
        &["credential", "--user", "alice", "--secret", "north", "--format", "yaml"],
        &["credential", "--user", "alice", "--secret-file", "no-such-file"],
    ] {
        let ran = run(Path::new("/"), arguments);
        assert_eq!(ran.code, 2, "{arguments:?}\n{}", ran.out);
        assert!(ran.out.is_empty(), "{arguments:?}\n{}", ran.out);
        assert!(ran.err.contains("error"), "{arguments:?}\n{}", ran.err);
        assert!(!ran.err.contains("north"), "{arguments:?}\n{}", ran.err);
    }
}
