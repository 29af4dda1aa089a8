//! What is asked over HTTPS.

use swingbridge::mras::Door;
use swingbridge::mras::End;
use swingbridge::mras::Outcome;
use swingbridge::proto::types::limits::MRAS_BODY_MAX;

use crate::house::CONTENT_TYPE;
use crate::house::House;
use crate::house::key;
use crate::house::post;
use crate::house::token;
use crate::house::xml;
use crate::house::xml_with_an_entity;

#[test]
fn a_post_gets_the_credential_and_the_connection_goes_on() {
    let house = House::open();
    let (username, password) = token(&key(b"the first key"));
    let mut line = house.line(Door::Https);
    for _ in 0..3 {
        line.say(post(&xml()));
        let (head, body) = line.answer();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        for part in [&*format!("content-type: {CONTENT_TYPE}\r\n"), "cache-control: no-store\r\n"] {
            assert!(head.contains(part), "{head}");
        }
        assert!(body.contains(&username) && body.contains(&password), "{body}");
    }
    drop(line);
    house.until_ended(Door::Https, End::Left, 1);
    assert_eq!(house.stats().credentials(Door::Https), 3);
}

#[test]
fn any_split_of_a_request_is_the_same_request() {
    let house = House::open();
    let (username, _) = token(&key(b"the first key"));
    let mut line = house.line(Door::Https);
    for byte in post(&xml()).bytes() {
        line.say([byte]);
    }
    assert!(line.answer().1.contains(&username));
    line.say(format!("{}{}", post(&xml()), post(&xml())));
    assert!(line.answer().1.contains(&username) && line.answer().1.contains(&username));
    let body = xml();
    let (one, two) = body.split_at(40);
    line.say(format!(
        "POST /mras HTTP/1.1\r\nHost: a\r\nContent-Type: {CONTENT_TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
        one.len(),
        two.len()
    ));
    assert!(line.answer().1.contains(&username));
}

#[test]
fn everything_else_is_refused_and_hands_out_nothing() {
    let house = House::open();
    let large = xml().replace("alice", &"a".repeat(MRAS_BODY_MAX));
    let chunked = format!(
        "POST /mras HTTP/1.1\r\nHost: a\r\nContent-Type: {CONTENT_TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    for (said, status, outcome) in [
        (post("no XML"), "400", Outcome::Unreadable),
        (post(""), "400", Outcome::Unreadable),
        (post(&xml_with_an_entity()), "400", Outcome::Unreadable),
        (post(&large), "413", Outcome::TooLarge),
        (chunked, "413", Outcome::TooLarge),
        (post(&xml()).replace("msrtc", "x"), "415", Outcome::MediaType),
        (post(&xml()).replace("Content-Type", "X"), "415", Outcome::MediaType),
        (post(&xml()).replace("POST /mras ", "POST / "), "404", Outcome::NotServed),
        (post(&xml()).replace("POST /mras ", "POST /mras/../etc/passwd "), "404", Outcome::NotServed),
        (post(&xml()).replace("POST ", "PUT "), "405", Outcome::NotServed),
        ("GET /mras HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "405", Outcome::NotServed),
        (post(&xml().replace("\"1.0\"", "\"9.0\"")), "200", Outcome::VersionMismatch),
        (post(&xml().replace("alice", "&undeclared;")), "200", Outcome::Malformed),
    ] {
        let before = house.stats().requests(Door::Https, outcome);
        let mut line = house.line(Door::Https);
        line.say(&said);
        let (head, body) = line.answer();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{said:.200}\n{head}");
        assert!(!body.contains("password"), "{body}");
        assert_eq!(house.stats().requests(Door::Https, outcome), before + 1);
    }
    assert_eq!(house.stats().credentials(Door::Https), 0);
}

#[test]
fn what_is_no_http_or_too_much_of_it_ends_the_connection() {
    let house = House::open();
    for bad in [
        "\0\x01\x02\r\n\r\n".to_owned(),
        "OPTIONS sip:a SIP/2.0\r\nCall-ID: a\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(20_000)),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100)),
        format!("POST /mras HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n{}", xml()),
        format!("POST /mras HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", xml()),
    ] {
        let mut line = house.line(Door::Https);
        let _ = line.try_say(bad.as_bytes());
        let heard = line.rest();
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 4"), "{bad:.100}\n{heard}");
        assert!(!heard.contains("password"), "{heard}");
    }
    house.until_ended(Door::Https, End::Broken, 6);
}
