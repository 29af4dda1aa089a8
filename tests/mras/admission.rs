//! Who is let in.

use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use swingbridge::mras::Door;
use swingbridge::mras::End;
use swingbridge::mras::Outcome;

use crate::house::FRONT_END;
use crate::house::House;
use crate::house::Line;
use crate::house::key;
use crate::house::post;
use crate::house::sip;
use crate::house::token;
use crate::house::xml;
use crate::pki::Ca;
use crate::pki::Identity;

const SECURED: [Door; 2] = [Door::Sip, Door::Https];

fn asked(door: Door) -> String {
    match door {
        Door::Https => post(&xml()),
        Door::Sip | Door::SipPlain => sip("SERVICE", "call", &xml()),
    }
}

/// Whoever shows `identity` is turned away at both doors for this reason, and hears nothing of what it asked.
fn is_turned_away(house: &House, identity: Option<&Identity>, end: End) {
    for door in SECURED {
        let before = house.stats().ends(door, end);
        for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
            let mut line = house.line_of(door, house.ca.client(identity, versions));
            // With TLS 1.3 a client learns only now that it is not wanted.
            let _ = line.try_say(asked(door).as_bytes());
            assert_eq!(line.rest(), "", "{} {}", door.word(), end.word());
        }
        house.until_ended(door, end, before + 2);
        let stats = house.stats();
        assert!(Outcome::ALL.iter().all(|outcome| stats.requests(door, *outcome) == 0));
        assert_eq!((stats.credentials(door), stats.open(door)), (0, 0));
    }
}

#[test]
fn the_front_end_is_served_at_both_doors_in_both_versions_of_tls() {
    let house = House::open();
    let (username, _) = token(&key(b"the first key"));
    for door in SECURED {
        for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
            let mut line = house.line_of(door, house.ca.client(Some(&house.front_end), versions));
            line.say(asked(door));
            assert!(line.answer().1.contains(&username), "{}", door.word());
        }
        assert_eq!(house.stats().credentials(door), 2);
        house.until_ended(door, End::Left, 2);
    }
}

#[test]
fn nobody_comes_in_without_a_certificate() {
    is_turned_away(&House::open(), None, End::NoCertificate);
}

#[test]
fn a_certificate_of_another_authority_is_none() {
    let house = House::open();
    is_turned_away(&house, Some(&Ca::new("another").identity(&[FRONT_END])), End::BadCertificate);
    let namesake = Ca::new("the front ends' authority").identity(&[FRONT_END]);
    is_turned_away(&house, Some(&namesake), End::BadCertificate);
}

#[test]
fn a_certificate_that_has_ended_or_has_not_begun_or_is_not_for_clients_is_none() {
    let house = House::open();
    let ended = house.ca.with(&[FRONT_END], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let early = house.ca.with(&[FRONT_END], |params| params.not_before = rcgen::date_time_ymd(2090, 1, 1));
    let server = house.ca.with(&[FRONT_END], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    for identity in [ended, early, server] {
        is_turned_away(&house, Some(&identity), End::BadCertificate);
    }
}

#[test]
fn the_right_authority_is_not_enough_without_the_right_name() {
    let house = House::open();
    let subject = house.ca.with(&[], |params| {
        params.distinguished_name.push(DnType::CommonName, FRONT_END);
    });
    for identity in [
        house.ca.identity(&["www.example.com"]),
        house.ca.identity(&["*.example.com"]),
        house.ca.identity(&["a.pool.example.com", "pool.example.com.evil.example", "ool.example.com"]),
        house.ca.identity(&[]),
        subject,
    ] {
        is_turned_away(&house, Some(&identity), End::WrongName);
    }
}

#[test]
fn a_name_counts_in_any_case_and_any_place() {
    let house = House::open();
    let identity = house.ca.identity(&["www.example.com", "POOL.example.COM"]);
    let mut line = house.line_of(Door::Sip, house.ca.client(Some(&identity), rustls::ALL_VERSIONS));
    line.say(sip("OPTIONS", "call", ""));
    assert!(line.answer().0.starts_with("SIP/2.0 200 OK\r\n"));
}

/// A ClientHello as clients of this version sent it, without extensions.
fn hello(version: [u8; 2]) -> Vec<u8> {
    let mut message = version.to_vec();
    message.extend([7; 32]);
    message.extend([0, 0, 4, 0x00, 0x2F, 0x00, 0x0A, 1, 0]);
    let mut bytes = vec![0x16, 3, 0, 0, message.len() as u8 + 4, 1, 0, 0, message.len() as u8];
    bytes.extend(message);
    bytes
}

#[test]
fn an_old_hello_is_known_for_what_it_is() {
    let house = House::open();
    // SSL 2's ClientHello: 0x80 and a length, 1, a version, three lengths, ciphers, a challenge.
    let mut ssl2 = vec![0x80, 31, 1, 3, 1, 0, 6, 0, 0, 0, 16, 0, 0, 0x2F, 1, 0, 0x80];
    ssl2.extend([7; 16]);
    for (before, bytes) in [hello([3, 0]), hello([3, 1]), hello([3, 2]), ssl2].iter().enumerate() {
        for door in SECURED {
            let mut line = Line::new(house.connect(door));
            line.say(bytes);
            line.rest();
            house.until_ended(door, End::OldTls, before as u64 + 1);
        }
    }
    let mut line = Line::new(house.connect(Door::Sip));
    line.say("OPTIONS sip:a SIP/2.0\r\n\r\n");
    line.rest();
    house.until_ended(Door::Sip, End::Handshake, 1);
}

#[test]
fn behind_the_proxy_nobody_is_asked() {
    let house = House::open();
    let (username, password) = token(&key(b"the first key"));
    let mut line = house.plain_line();
    line.say(sip("SERVICE", "call", &xml()));
    let (head, body) = line.answer();
    assert!(head.starts_with("SIP/2.0 200 OK\r\n"), "{head}");
    assert!(body.contains(&username) && body.contains(&password), "{body}");
}
