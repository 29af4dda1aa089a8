//! Files that are right and files that are not.

use std::path::Path;
use std::time::Duration;

use crate::proto::wire::ErrorCode;
use crate::proto::wire::Method;
use crate::testbed::Place;

use super::built_in::FILES;
use super::*;

fn problems(text: &str) -> String {
    Scenario::parse("x", "x.toml", text).expect_err("it has mistakes").to_string()
}

#[test]
fn every_file_of_the_folder_is_built_in_and_says_what_is_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/testbed/faults");
    let there = Scenarios::read(&folder).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(there.named == Scenarios::built_in().named, "{:?}", there.named.keys());
    assert_eq!(there.named.len(), FILES.len());
    for scenario in there.named.values() {
        let expect = scenario.expect.as_ref().unwrap_or_else(|| panic!("{}: no [expect]", scenario.name));
        assert!(!expect.client.is_empty() && !expect.rule.is_empty() && !scenario.about.is_empty());
        assert!(expect.granted.is_some() || expect.at_most.is_some() || expect.ends.is_some());
    }
}

#[test]
fn a_file_means_what_it_says() {
    let text = r#"
about = "all of it"

[[fault]]
when = { request = "refresh", nth = 2, times = "all" }
do = { error = 508 }

[[fault]]
when = { after = "30s", since = "media" }
do = "restart"

[expect]
client = "waits"
rule = "our choice"
within = "1m"
at_most = 3
ends = "gone"

[lab]
left = "symmetric"
link = { loss = "2%", delay = "40ms", rate = "1Mbit/s" }
right_link = { jitter = "10ms", reorder = "0.5%", duplication = "1%" }
"#;
    let scenario = Scenario::parse("all", "all.toml", text).unwrap_or_else(|problems| panic!("{problems}"));
    let [first, second] = &scenario.faults[..] else { panic!("two faults") };
    let when = When { trigger: Trigger::Request(Some(Method::Refresh)), nth: 2, times: Times::All };
    assert_eq!(*first, Fault { when, what: Do::Error(ErrorCode::InsufficientCapacity) });
    let trigger = Trigger::After { span: Duration::from_secs(30), since: Moment::Media };
    assert_eq!((&second.when.trigger, &second.what), (&trigger, &Do::Restart));
    let expect = scenario.expect.expect("there is one");
    assert_eq!((expect.within, expect.at_most), (Duration::from_secs(60), Some(3)));
    assert_eq!((expect.granted, expect.ends), (None, Some(Ends::Gone)));
    assert_eq!((scenario.lab.left, scenario.lab.right), (Some(Place::Symmetric), None));
    let left =
        Link { loss_ppm: 20_000, delay: Duration::from_millis(40), rate: Some(1_000_000), ..Link::default() };
    assert_eq!(scenario.lab.left_link, left);
    let right = Link {
        jitter: Duration::from_millis(10),
        reorder_ppm: 5_000,
        duplication_ppm: 10_000,
        ..Link::default()
    };
    assert_eq!(scenario.lab.right_link, right);
}

#[test]
fn every_mistake_is_told_with_its_line_and_its_cure() {
    let text = r#"abuot = "x"

[[fault]]
when = { request = "refesh" }
do = "dorp"

[[fault]]
when = { after = "5 s" }
do = "wrong-mac"
loudly = true

[expect]
ends = "dead"

[lab]
left = "mars"
link = { loss = "200%" }
"#;
    let told = problems(text);
    for (line, part) in [
        (1, "a scenario knows no key `abuot`; there are about, "),
        (4, "\"refesh\" is no `request`; write one of \"binding\", "),
        (5, "\"dorp\" is no `do`; write one of drop, "),
        (8, "\"5 s\" is no `after`; write a whole number and a unit"),
        (10, "a fault knows no key `loudly`; there are do, when"),
        (12, "[expect] does not say by when; write within"),
        (13, "\"dead\" is no `ends`; write one of \"live\", \"gone\""),
        (16, "\"mars\" is no `left`; write one of \"open\", "),
        (17, "\"200%\" is no `loss`; write a share"),
    ] {
        let wanted = format!("x.toml:{line}: {part}");
        assert!(told.contains(&wanted), "{wanted}\nin\n{told}");
    }
    assert_eq!(told.lines().count(), 9, "{told}");
}

#[test]
fn what_cannot_befall_that_is_refused() {
    for (when, done, cure) in [
        ("{ answer = \"any\" }", "\"stale-nonce\"", "set it off by `request`"),
        ("{ request = \"any\" }", "\"wrong-mac\"", "set it off by `answer`"),
        ("{ after = \"1s\" }", "\"drop\"", "set it off by `request`, `answer` or `media`"),
        ("{ media = \"both\" }", "{ error = 403 }", "set it off by `request`"),
        ("{ request = \"any\" }", "\"corrupt\"", "set it off by `answer` or `media`"),
        ("{ request = \"any\", answer = \"any\" }", "\"drop\"", "write only one of request"),
        ("{ nth = 1 }", "\"drop\"", "write one of request"),
        ("{ request = \"any\", nth = 0 }", "\"drop\"", "write a whole number from 1"),
        ("{ request = \"any\", times = \"twice\" }", "\"drop\"", "or \"all\""),
        ("{ request = \"any\" }", "{ error = 499 }", "there are 300, "),
        ("{ request = \"any\" }", "{ mtu = 99 }", "from 100 to 65535"),
        ("{ request = \"any\" }", "{ redirect = \"there\" }", "an IP address and a port"),
        ("{ request = \"any\" }", "{ realm = \"\" }", "1 to 127"),
        ("{ request = \"any\" }", "7", "write do = "),
        ("7", "\"drop\"", "write when = {"),
    ] {
        let told = problems(&format!("[[fault]]\nwhen = {when}\ndo = {done}\n"));
        assert!(told.contains(cure), "{when} {done}: {told}");
    }
    assert!(problems("[[fault]]\n").contains("does not say when"));
    assert!(problems("fault = 1\n").contains("write [[fault]]"));
    assert!(problems("about = \n").starts_with("x.toml:1: "));
    let many = "[[fault]]\nwhen = { request = \"any\" }\ndo = \"drop\"\n".repeat(65);
    assert!(problems(&many).contains("at most 64"));
}

#[test]
fn a_user_name_chooses_its_scenario() {
    let all = Scenarios::built_in();
    assert_eq!(&*all.of("quota.alice").name, "quota");
    assert_eq!(&*all.of("1800000000:quota.alice").name, "quota");
    for name in ["quota", "alice", "no-such.alice", ".quota", ""] {
        assert_eq!(&*all.of(name).name, "", "{name}");
    }
    let only = Scenarios::only(Scenario { name: "one".into(), ..Scenario::default() });
    assert_eq!(&*only.of("quota.alice").name, "one");
}
