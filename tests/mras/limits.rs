//! What a front end, and whoever is none, may cost. Deadlines are short here, and each test waits for what they bring.

use std::time::Duration;

use swingbridge::mras::Door;
use swingbridge::mras::End;
use swingbridge::mras::Outcome;

use crate::house::House;
use crate::house::Line;
use crate::house::post;
use crate::house::sip;
use crate::house::xml;

const SHORT: Duration = Duration::from_secs(1);

#[test]
fn a_handshake_has_its_deadline() {
    let house = House::with(|config| config.deadlines.handshake = SHORT);
    for door in [Door::Sip, Door::Https] {
        let mut silent = Line::new(house.connect(door));
        assert_eq!(silent.rest(), "");
        let mut begun = Line::new(house.connect(door));
        begun.say([0x16, 3, 1, 0]);
        assert_eq!(begun.rest(), "");
        house.until_ended(door, End::HandshakeDeadline, 2);
    }
}

#[test]
fn a_message_that_was_begun_has_its_deadline_however_it_trickles() {
    let house = House::with(|config| config.deadlines.message = SHORT);
    for begun in ["O", "OPTIONS sip:a SIP/2.0\r\n", &sip("SERVICE", "a", &xml())[..300]] {
        let mut line = house.line(Door::Sip);
        line.say(begun);
        assert_eq!(line.rest(), "");
    }
    house.until_ended(Door::Sip, End::Slow, 3);
    let mut head = house.line(Door::Https);
    head.say("POST /mras HTTP/1.1\r\nHost: a\r\n");
    head.rest();
    house.until_ended(Door::Https, End::Slow, 1);
    let mut body = house.line(Door::Https);
    body.say(&post(&xml())[..300]);
    assert!(body.answer().0.starts_with("HTTP/1.1 408 "));
    body.rest();
    house.until_asked(Door::Https, Outcome::Unreadable, 1);
}

#[test]
fn trickling_does_not_move_the_deadline() {
    let house = House::with(|config| config.deadlines.message = SHORT);
    let mut line = house.line(Door::Sip);
    // Far more bytes than could come within the deadline at this pace: it ends before all of them were said.
    let ended = (0..6_000).any(|number| {
        std::thread::sleep(Duration::from_millis(5));
        let byte = if number == 0 { b"O" } else { b"x" };
        line.try_say(byte).is_err() || house.stats().ends(Door::Sip, End::Slow) == 1
    });
    assert!(ended, "30 s of crumbs and still there");
}

#[test]
fn silence_ends_a_connection() {
    let house = House::with(|config| config.deadlines.idle = SHORT);
    let mut line = house.line(Door::Sip);
    line.say("\r\n\r\n\r\n\r\n");
    assert_eq!(line.hear(4), "\r\n\r\n");
    assert_eq!(line.rest(), "");
    house.until_ended(Door::Sip, End::Idle, 1);
}

#[test]
fn over_https_a_connection_has_its_time() {
    let house = House::with(|config| config.deadlines.https = SHORT);
    assert_eq!(house.line(Door::Https).rest(), "");
    house.until_ended(Door::Https, End::Expired, 1);
}

#[test]
fn whoever_takes_no_answer_is_let_go() {
    let house = House::with(|config| {
        config.deadlines.message = SHORT;
        config.requests = (u32::MAX, 1_000_000);
    });
    let mut line = house.plain_line();
    let many = sip("OPTIONS", &"c".repeat(7_000), "");
    // It asks without end and never listens, until nobody takes what it says.
    let said = (0..100_000).find(|_| line.try_say(many.as_bytes()).is_err());
    assert!(said.is_some(), "700 MB of questions were taken");
    house.until_ended(Door::SipPlain, End::Slow, 1);
}

#[test]
fn one_front_end_has_so_many_connections_and_gets_them_back() {
    let house = House::with(|config| config.connections = 2);
    let open = || {
        let mut line = house.line(Door::Sip);
        let _ = line.try_say(sip("OPTIONS", "a", "").as_bytes());
        line
    };
    let (mut one, mut two) = (open(), open());
    one.answer();
    two.answer();
    assert_eq!(house.stats().open(Door::Sip), 2);
    assert_eq!(open().rest(), "", "a third one");
    house.until_ended(Door::Sip, End::FullFrontEnd, 1);
    drop(one);
    house.until_ended(Door::Sip, End::Left, 1);
    open().answer();
    two.say(sip("OPTIONS", "a", ""));
    two.answer();
}

#[test]
fn strangers_fill_their_own_places_and_nobody_else_s() {
    let house = House::with(|config| config.strangers = (3, 2));
    let mut known = house.line(Door::Sip);
    known.say(sip("OPTIONS", "a", ""));
    known.answer();
    let silent: Vec<_> = (0..2).map(|_| house.connect(Door::Sip)).collect();
    let mut one_more = Line::new(house.connect(Door::Sip));
    assert_eq!(one_more.rest(), "");
    house.until_ended(Door::Sip, End::FullAddress, 1);
    known.say(sip("SERVICE", "a", &xml()));
    assert!(known.answer().1.contains("password"), "who was let in is served");
    drop(silent);
    house.until_ended(Door::Sip, End::Left, 2);
    let mut again = house.line(Door::Sip);
    again.say(sip("OPTIONS", "a", ""));
    again.answer();
}

#[test]
fn in_all_there_are_so_many_strangers() {
    let house = House::with(|config| config.strangers = (2, 0));
    let _silent: Vec<_> = (0..2).map(|_| house.connect(Door::Https)).collect();
    assert_eq!(Line::new(house.connect(Door::Sip)).rest(), "");
    house.until_ended(Door::Sip, End::FullTotal, 1);
}

#[test]
fn who_asks_too_often_is_told_that_the_server_is_busy() {
    let house = House::with(|config| config.requests = (3, 1));
    let mut line = house.line(Door::Sip);
    line.say((0..60).map(|_| sip("SERVICE", "a", &xml())).collect::<String>());
    let answers: Vec<_> = (0..60).map(|_| line.answer().1).collect();
    assert!(answers[..3].iter().all(|body| body.contains("reasonPhrase=\"OK\"")));
    // One comes back each second, and 57 s have not passed.
    let busy = answers.iter().filter(|body| body.contains("reasonPhrase=\"Server Busy\"")).count();
    assert!(busy > 0);
    assert!(answers.iter().all(|body| body.contains("OK\"") == body.contains("password")));
    assert_eq!(house.stats().requests(Door::Sip, Outcome::Busy), busy as u64);
    // The same front end at the other door has no second purse.
    let mut https = house.line(Door::Https);
    let bodies: Vec<_> = (0..40)
        .map(|_| {
            https.say(post(&xml()));
            https.answer().1
        })
        .collect();
    assert!(bodies.iter().any(|body| body.contains("Server Busy")));
}
