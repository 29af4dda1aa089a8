//! What is said over SIP, and how.

use swingbridge::mras::Door;
use swingbridge::mras::End;
use swingbridge::mras::Outcome;

use crate::house::House;
use crate::house::key;
use crate::house::sip;
use crate::house::token;
use crate::house::xml;
use crate::house::xml_with_an_entity;

#[test]
fn a_service_gets_the_credential_of_its_identity() {
    let house = House::open();
    let mut line = house.line(Door::Sip);
    line.say(sip("SERVICE", "first", &xml()));
    let (head, body) = line.answer();
    let (username, password) = token(&key(b"the first key"));
    for part in ["SIP/2.0 200 OK\r\n", "Call-ID: first\r\n", "CSeq: 1 SERVICE\r\n"] {
        assert!(head.contains(part), "{part} is missing in {head}");
    }
    for part in [&*username, &password, "reasonPhrase=\"OK\"", "<duration>480</duration>", "edge.example.com"]
    {
        assert!(body.contains(part), "{part} is missing in {body}");
    }
}

#[test]
fn one_byte_at_a_time_and_all_at_once_say_the_same() {
    let house = House::open();
    let said = format!(
        "\r\n\r\n{}\r\n\r\n{}{}",
        sip("SERVICE", "one", &xml()),
        sip("OPTIONS", "two", ""),
        sip("SERVICE", "three", &xml()),
    );
    let (mut whole, mut crumbs) = (house.line(Door::Sip), house.line(Door::Sip));
    whole.say(&said);
    // Each byte in a TLS record of its own.
    for byte in said.as_bytes() {
        crumbs.say([*byte]);
    }
    for line in [&mut whole, &mut crumbs] {
        assert_eq!(line.hear(2), "\r\n");
        assert!(line.answer().0.contains("Call-ID: one\r\n"));
        assert_eq!(line.hear(2), "\r\n");
        assert!(line.answer().0.contains("Call-ID: two\r\n"));
        assert!(line.answer().0.contains("Call-ID: three\r\n"));
    }
    assert_eq!(house.stats().credentials(Door::Sip), 4);
    assert_eq!(house.stats().requests(Door::Sip, Outcome::KeepAlive), 4);
}

#[test]
fn requests_that_come_together_are_answered_in_their_order() {
    let house = House::open();
    let mut line = house.line(Door::Sip);
    let all: String = (0..50).map(|number| sip("SERVICE", &format!("call-{number}"), &xml())).collect();
    line.say(all);
    for number in 0..50 {
        assert!(line.answer().0.contains(&format!("Call-ID: call-{number}\r\n")));
    }
}

#[test]
fn each_request_has_its_answer() {
    let house = House::open();
    let mut line = house.line(Door::Sip);
    let xml_of_one = xml();
    let from = xml_of_one.find("<credentialsRequest").expect("one");
    let one = &xml_of_one[from..xml_of_one.find("</request>").expect("an end")];
    let too_many = xml_of_one.replace(one, &one.repeat(101));
    for (said, status, phrase, outcome) in [
        (sip("OPTIONS", "a", ""), "200 OK", None, Outcome::Asked),
        (sip("INVITE", "a", ""), "405 Method Not Allowed", None, Outcome::NotServed),
        (sip("REGISTER", "a", &xml()), "405 Method Not Allowed", None, Outcome::NotServed),
        (sip("SERVICE", "a", "no XML"), "400 Bad Request", None, Outcome::Unreadable),
        (sip("SERVICE", "a", &xml_with_an_entity()), "400 Bad Request", None, Outcome::Unreadable),
        (
            sip("SERVICE", "a", &xml()).replace("msrtc", "x"),
            "415 Unsupported Media Type",
            None,
            Outcome::MediaType,
        ),
        (
            sip("SERVICE", "a", &xml().replace("\"1.0\"", "\"9.0\"")),
            "200 OK",
            Some("Version Mismatch"),
            Outcome::VersionMismatch,
        ),
        (
            sip("SERVICE", "a", &xml().replace("identity", "another")),
            "200 OK",
            Some("Request Malformed"),
            Outcome::Malformed,
        ),
        (
            sip("SERVICE", "a", &xml().replace("alice", "&undeclared;")),
            "200 OK",
            Some("Request Malformed"),
            Outcome::Malformed,
        ),
        (sip("SERVICE", "a", &too_many), "200 OK", Some("Request Too Large"), Outcome::TooLarge),
    ] {
        let before = house.stats().requests(Door::Sip, outcome);
        line.say(&said);
        let (head, body) = line.answer();
        assert!(head.starts_with(&format!("SIP/2.0 {status}\r\n")), "{said:.100}\n{head}");
        let phrase = phrase.map(|phrase| format!("reasonPhrase=\"{phrase}\"")).unwrap_or_default();
        assert!(body.contains(&phrase) && !body.contains("password"), "{body}");
        assert_eq!(house.stats().requests(Door::Sip, outcome), before + 1, "{}", outcome.word());
    }
    assert_eq!(house.stats().credentials(Door::Sip), 0);
}

#[test]
fn where_the_next_message_begins_is_never_guessed() {
    let house = House::open();
    let good = sip("OPTIONS", "a", "");
    let all = [
        good.replace("Content-Length: 0\r\n", ""),
        good.replace("Content-Length: 0", "Content-Length: 0\r\nContent-Length: 0"),
        good.replace("Content-Length: 0", "Content-Length: -1"),
        good.replace("Content-Length: 0", "Content-Length: 0x10"),
        good.replace("Content-Length: 0", "Content-Length: 65537"),
        good.replace("Content-Length: 0", "Content-Length: 99999999999999999999"),
        good.replace("SIP/2.0\r\nVia", "HTTP/1.1\r\nVia"),
        format!("OPTIONS sip:a SIP/2.0\r\nX: {}", "y".repeat(9_000)),
        good.replace("Content-Length: 0", &format!("{}Content-Length: 0", "X: y\r\n".repeat(70))),
    ];
    for (before, bad) in all.iter().enumerate() {
        let mut line = house.line(Door::Sip);
        line.say(sip("OPTIONS", "good", ""));
        line.answer();
        // The other side may be gone before all of it was said.
        let _ = line.try_say(bad.as_bytes());
        assert_eq!(line.rest(), "", "{bad:.200}");
        house.until_ended(Door::Sip, End::Broken, before as u64 + 1);
    }
}

#[test]
fn a_response_and_an_ack_get_no_answer_and_do_no_harm() {
    let house = House::open();
    let mut line = house.line(Door::Sip);
    line.say(format!(
        "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n{}{}",
        sip("ACK", "a", ""),
        sip("OPTIONS", "b", "")
    ));
    assert!(line.answer().0.contains("Call-ID: b\r\n"));
    assert_eq!(house.stats().requests(Door::Sip, Outcome::Ignored), 2);
}
