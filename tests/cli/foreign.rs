//! Addresses that this machine does not have, which is how the address that a NAT shows looks from behind it.

use serde_json::Value;

use super::Folder;
use super::run;

const SECRET: &str = "[auth]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n[admin]\nlisten = \"off\"\n";

fn with(text: &str) -> Folder {
    Folder::new().with("a.toml", &format!("{text}\n{SECRET}"))
}

#[test]
fn serve_refuses_an_address_that_is_not_the_machines_and_says_what_to_write() {
    for (text, key, shown) in [
        ("[relay]\naddresses = [\"203.0.113.7\"]", "relay.addresses", "external = \"203.0.113.7\" }"),
        ("[listen]\nudp = [\"203.0.113.7:3478\"]", "listen.udp", "external = \"203.0.113.7:3478\" }"),
    ] {
        let folder = with(text);
        let ran = run(&folder.0, &["serve", "--config", "a.toml"]);
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{}", ran.err);
        let rule = format!(
            "error in `{key}`: 203.0.113.7 is not an address of this machine and was not declared external"
        );
        for part in [&rule, "--> a.toml:2:", "behind a 1:1 NAT write { bind = \"", shown, "this machine has "]
        {
            assert!(ran.err.contains(part), "{part:?} is missing:\n{}", ran.err);
        }
        assert!(ran.err.contains("127.0.0.1"), "its addresses are named:\n{}", ran.err);
    }
}

#[test]
fn serve_refuses_to_bind_what_another_machine_has() {
    let folder = with("[relay]\naddresses = [{ bind = \"203.0.113.5\", external = \"203.0.113.7\" }]");
    let ran = run(&folder.0, &["serve", "--config", "a.toml"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("203.0.113.5 is not an address of this machine"), "{}", ran.err);
}

#[test]
fn check_only_warns_because_the_file_may_be_another_machines() {
    let folder = with("[relay]\naddresses = [\"203.0.113.7\"]");
    let ran = run(&folder.0, &["check", "a.toml"]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("warning in `relay.addresses`: 203.0.113.7 is not an address"), "{}", ran.out);
    assert!(ran.out.contains("a.toml: no errors, 1 warning"), "{}", ran.out);
    let ran = run(&folder.0, &["check", "a.toml", "--format", "json"]);
    let object: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((ran.code, &object["sound"]), (0, &true.into()));
    assert_eq!(object["problems"][0]["severity"], "warning");
}
