//! What a reload changes.

use swingbridge::mras::Door;
use swingbridge::mras::End;
use swingbridge::mras::Outcome;

use crate::house::FRONT_END;
use crate::house::House;
use crate::house::key;
use crate::house::live;
use crate::house::post;
use crate::house::sip;
use crate::house::token;
use crate::house::xml;
use crate::pki::Ca;

#[test]
fn new_keys_mint_from_the_next_request_on_and_connections_go_on() {
    let house = House::open();
    let (mut line, mut https) = (house.line(Door::Sip), house.line(Door::Https));
    for first in [b"the first key", b"another key !"] {
        house.exchange(live(&house.ca, key(first), &["a.example.com", FRONT_END]));
        let (username, _) = token(&key(first));
        line.say(sip("SERVICE", "a", &xml()));
        assert!(line.answer().1.contains(&username));
        https.say(post(&xml()));
        assert!(https.answer().1.contains(&username));
    }
}

/// After `house` was reloaded, a front end that was let in before hears "Forbidden" once, and no more.
fn is_shut_out(house: &House, exchange: impl FnOnce()) {
    let (mut line, mut https) = (house.line(Door::Sip), house.line(Door::Https));
    line.say(sip("OPTIONS", "a", ""));
    line.answer();
    https.say(post(&xml()));
    https.answer();
    exchange();
    line.say(sip("SERVICE", "a", &xml()));
    https.say(post(&xml()));
    for (heard, door) in [(line.rest(), Door::Sip), (https.rest(), Door::Https)] {
        assert!(heard.contains("reasonPhrase=\"Forbidden\"") && !heard.contains("password"), "{heard}");
        house.until_asked(door, Outcome::Forbidden, 1);
        house.until_ended(door, End::Forbidden, 1);
    }
}

#[test]
fn a_front_end_that_was_taken_out_is_shut_out_at_once() {
    let house = House::open();
    is_shut_out(&house, || house.exchange(live(&house.ca, key(b"the first key"), &["other.example.com"])));
    let mut line = house.line(Door::Sip);
    let _ = line.try_say(sip("OPTIONS", "a", "").as_bytes());
    assert_eq!(line.rest(), "");
    house.until_ended(Door::Sip, End::WrongName, 1);
}

#[test]
fn whom_another_authority_made_is_shut_out_at_once() {
    let house = House::open();
    let other = Ca::new("another");
    is_shut_out(&house, || house.exchange(live(&other, key(b"the first key"), &[FRONT_END])));
    let theirs = other.identity(&[FRONT_END]);
    let mut line = house.line_of(Door::Sip, other.client(Some(&theirs), rustls::ALL_VERSIONS));
    line.say(sip("SERVICE", "a", &xml()));
    assert!(line.answer().1.contains("password"), "and who hangs from the new one is let in");
}
