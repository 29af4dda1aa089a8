//! The client against a scripted server.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

mod connections;
mod legacy;
mod real;
mod stream;

use super::*;
use crate::proto::auth::integrity_key::OFFERED;
use crate::proto::auth::integrity_key::PasswordAlgorithm;
use crate::proto::auth::integrity_key::integrity_key;
use crate::proto::auth::integrity_key::userhash;
use crate::proto::types::ChannelNumber;
use crate::proto::types::Entropy;
use crate::proto::types::Family;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;
use crate::proto::types::Secret;
use crate::proto::types::limits;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Method;
use crate::proto::wire::Outcome;
use crate::proto::wire::Request;
use crate::proto::wire::Response;
use crate::proto::wire::indication::decode_send;
use crate::proto::wire::indication::write_data_header;
use crate::proto::wire::rfc8656::decode::decode_request;
use crate::proto::wire::rfc8656::encode::encode_response;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;
use crate::proto::wire::rfc8656::integrity::Signature;

const REALM: &[u8] = b"edge.example.net";
const NONCE: &[u8] = b"obMatJos2AAABone";
const NONCE_2: &[u8] = b"obMatJos2AAABtwo";
const RELAYED: &str = "203.0.113.7:50000";
const MAPPED: &str = "198.51.100.7:40000";
const PEER: &str = "192.0.2.9:7000";

struct Count(u8);

impl Entropy for Count {
    fn fill_secret(&mut self, out: &mut [u8]) {
        self.0 = self.0.wrapping_add(1);
        out.fill(self.0);
    }
}

struct World {
    client: Client<Count>,
    millis: u64,
    sent: Vec<Box<[u8]>>,
    events: Vec<Event>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let credential = Credential {
            username: (*b"alice").into(),
            proof: Proof::Password(Secret::new(*b"password")),
            token: None,
        };
        let mut config = Config::new(credential);
        change(&mut config);
        Self { client: Client::new(config, Count(0)), millis: 1_000, sent: Vec::new(), events: Vec::new() }
    }

    /// With an allocation of an hour, and nothing on its way.
    fn live(change: impl FnOnce(&mut Config)) -> Self {
        let mut world = Self::with(change);
        world.input(Input::Allocate);
        world.challenge(NONCE);
        world.grant(|response| response.lifetime = Some(Lifetime::from_secs(3_600)));
        assert!(matches!(world.events.pop(), Some(Event::Allocated(_))));
        assert!(world.client.is_live());
        world
    }

    fn now(&self) -> Now {
        Now { since_start: Duration::from_millis(self.millis), unix: 0 }
    }

    fn input(&mut self, input: Input<'_>) {
        self.client.handle_input(self.now(), input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Transmit(message) => self.sent.push(message),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    /// Goes to the next moment the client asked for, if it is not later than `limit_ms`.
    fn wake(&mut self, limit_ms: u64) -> bool {
        let Some(at) = self.client.poll_timeout().filter(|at| at.as_millis() <= limit_ms) else {
            return false;
        };
        self.millis = self.millis.max(at.as_millis());
        self.client.handle_timeout(self.now());
        self.drain();
        true
    }

    fn last(&self) -> Box<[u8]> {
        self.sent.last().expect("something was sent").clone()
    }

    /// An answer to the last request, as `write` has it, signed as `signature` says.
    fn answer(
        &mut self,
        outcome: Outcome,
        signature: Option<Signature<'_>>,
        write: impl FnOnce(&mut Response<'_>),
    ) {
        let bytes = self.last();
        let request = decode_request(&bytes).expect("a client sends requests");
        self.answer_to(&request, outcome, signature, write);
    }

    fn answer_to(
        &mut self,
        request: &Request<'_>,
        outcome: Outcome,
        signature: Option<Signature<'_>>,
        write: impl FnOnce(&mut Response<'_>),
    ) {
        let mut response = Response::new(request.method, request.transaction, outcome);
        write(&mut response);
        let mut out = [0; 1_024];
        let len = encode_response(&response, signature, false, &mut out).expect("it fits");
        self.input(Input::Message(&out[..len]));
    }

    fn challenge(&mut self, nonce: &'static [u8]) {
        self.refuse_unsigned(ErrorCode::Unauthenticated, nonce);
    }

    fn refuse_unsigned(&mut self, code: ErrorCode, nonce: &'static [u8]) {
        self.answer(Outcome::Error(code), None, |response| {
            response.realm = Some(REALM);
            response.nonce = Some(nonce);
            response.password_algorithms = Some(&OFFERED);
        });
    }

    /// A right answer to the last request.
    fn grant(&mut self, write: impl FnOnce(&mut Response<'_>)) {
        let key = sha256_key();
        let bytes = self.last();
        let request = decode_request(&bytes).expect("a request");
        self.answer(
            Outcome::Success,
            Some(Signature { key: &key, algorithm: Algorithm::Sha256 }),
            |response| {
                if request.method == Method::Allocate {
                    response.relayed_address = Some(RelayAddr::new(address(RELAYED)));
                    response.mapped_address = Some(address(MAPPED));
                }
                write(response);
            },
        );
    }

    fn refuse(&mut self, code: ErrorCode, write: impl FnOnce(&mut Response<'_>)) {
        let key = sha256_key();
        let signature = Signature { key: &key, algorithm: Algorithm::Sha256 };
        self.answer(Outcome::Error(code), Some(signature), write);
    }

    fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn peer(text: &str) -> PeerAddr {
    PeerAddr::new(address(text))
}

fn key(algorithm: PasswordAlgorithm, password: &[u8]) -> MacKey {
    integrity_key(algorithm, b"alice", REALM, password)
}

fn sha256_key() -> MacKey {
    key(PasswordAlgorithm::Sha256, b"password")
}

const fn refused(code: u16) -> Failure {
    Failure::Refused { code, alternate: None }
}

#[test]
fn the_first_request_proves_nothing_and_the_second_everything() {
    let mut world = World::new();
    world.input(Input::Allocate);
    let first = world.last();
    let request = decode_request(&first).expect("a request");
    assert_eq!((request.method, request.requested_transport), (Method::Allocate, Some(17)));
    assert!(request.auth.username.is_none() && request.auth.nonce.is_none());
    assert_eq!(request.auth.integrity.algorithm(), None);
    world.challenge(NONCE);
    let second = world.last();
    let request = decode_request(&second).expect("a request");
    assert_ne!(first[8..20], second[8..20], "a transaction of its own");
    assert_eq!(request.auth.username, Some(&b"alice"[..]));
    assert_eq!((request.auth.realm, request.auth.nonce), (Some(REALM), Some(NONCE)));
    assert_eq!(request.auth.password_algorithms, Some(&OFFERED[..]));
    assert_eq!(request.auth.password_algorithm, Some((2, &[][..])));
    assert_eq!(request.auth.integrity.algorithm(), Some(Algorithm::Sha256));
    assert!(request.auth.integrity.verify(&sha256_key()));
    world.grant(|response| response.lifetime = Some(Lifetime::from_secs(600)));
    let made = Allocated {
        relayed: RelayAddr::new(address(RELAYED)),
        additional: None,
        refused: None,
        mapped: address(MAPPED),
        lifetime: Lifetime::from_secs(600),
        reservation: None,
    };
    assert_eq!(world.events(), [Event::Allocated(made)]);
}

#[test]
fn a_server_of_rfc_5389_is_met_with_md5_and_message_integrity() {
    let mut world = World::new();
    world.input(Input::Allocate);
    world.answer(Outcome::Error(ErrorCode::Unauthenticated), None, |response| {
        response.realm = Some(REALM);
        response.nonce = Some(b"a nonce without a cookie");
    });
    let bytes = world.last();
    let request = decode_request(&bytes).expect("a request");
    assert_eq!((request.auth.password_algorithm, request.auth.password_algorithms), (None, None));
    assert_eq!(request.auth.integrity.algorithm(), Some(Algorithm::Sha1));
    assert!(request.auth.integrity.verify(&key(PasswordAlgorithm::Md5, b"password")));
}

#[test]
fn username_anonymity_is_heeded() {
    let mut world = World::new();
    world.input(Input::Allocate);
    // Bits 0 and 1.
    world.challenge(b"obMatJos2AAADnonce");
    let bytes = world.last();
    let request = decode_request(&bytes).expect("a request");
    assert_eq!((request.auth.username, request.auth.userhash), (None, Some(&userhash(b"alice", REALM))));
}

/// How an answer to a signed request is signed: by whom, with what.
fn forgeries() -> Vec<Option<(MacKey, Algorithm)>> {
    vec![
        None,
        Some((key(PasswordAlgorithm::Sha256, b"passwore"), Algorithm::Sha256)),
        Some((key(PasswordAlgorithm::Md5, b"password"), Algorithm::Sha256)),
        Some((sha256_key(), Algorithm::Sha1)),
        Some((key(PasswordAlgorithm::Md5, b"password"), Algorithm::Sha1)),
    ]
}

#[test]
fn what_is_not_signed_right_might_as_well_not_have_come() {
    for outcome in [Outcome::Success]
        .into_iter()
        .chain(ErrorCode::ALL.into_iter().map(Outcome::Error))
        .filter(|outcome| {
            ![ErrorCode::Unauthenticated, ErrorCode::StaleNonce].map(Outcome::Error).contains(outcome)
        })
    {
        let mut world = World::new();
        world.input(Input::Allocate);
        world.answer(outcome, None, |response| {
            response.relayed_address = Some(RelayAddr::new(address(RELAYED)));
            response.mapped_address = Some(address(MAPPED));
        });
        assert!(world.events.is_empty(), "{outcome:?} to a request without integrity");
        world.challenge(NONCE);
        let sent = world.sent.len();
        for forgery in forgeries() {
            let signature = forgery.as_ref().map(|(key, algorithm)| Signature { key, algorithm: *algorithm });
            world.answer(outcome, signature, |response| {
                response.relayed_address = Some(RelayAddr::new(address(RELAYED)));
                response.mapped_address = Some(address(MAPPED));
                response.alternate_server = Some(address("192.0.2.66:3478"));
            });
            assert!(world.events.is_empty() && world.sent.len() == sent, "{outcome:?} {forgery:?}");
        }
        while world.events.is_empty() && world.wake(u64::MAX) {}
        assert_eq!(world.events(), [Event::NotAllocated(Failure::Integrity)]);
    }
}

#[test]
fn a_challenge_that_is_signed_wrong_is_no_challenge() {
    for code in [ErrorCode::Unauthenticated, ErrorCode::StaleNonce] {
        let mut world = World::new();
        world.input(Input::Allocate);
        world.challenge(NONCE);
        let sent = world.sent.len();
        for (key, algorithm) in forgeries().into_iter().flatten() {
            world.answer(Outcome::Error(code), Some(Signature { key: &key, algorithm }), |response| {
                response.realm = Some(REALM);
                response.nonce = Some(NONCE_2);
                response.password_algorithms = Some(&OFFERED);
            });
        }
        assert!(world.events.is_empty() && world.sent.len() == sent, "{code:?}");
    }
}

#[test]
fn an_offer_that_was_taken_away_is_noticed() {
    // The first challenge without what its nonce promises.
    let mut world = World::new();
    world.input(Input::Allocate);
    world.answer(Outcome::Error(ErrorCode::Unauthenticated), None, |response| {
        response.realm = Some(REALM);
        response.nonce = Some(NONCE);
    });
    assert_eq!(world.sent.len(), 1, "no second attempt in clear view of whoever did that");
    // A later one without promise and offer.
    world.challenge(NONCE);
    assert_eq!(world.sent.len(), 2);
    for code in [ErrorCode::Unauthenticated, ErrorCode::StaleNonce] {
        world.answer(Outcome::Error(code), None, |response| {
            response.realm = Some(REALM);
            response.nonce = Some(b"no cookie");
        });
    }
    assert_eq!(world.sent.len(), 2);
    // Nothing that is known: no attempt.
    let mut world = World::new();
    world.input(Input::Allocate);
    world.answer(Outcome::Error(ErrorCode::Unauthenticated), None, |response| {
        response.realm = Some(REALM);
        response.nonce = Some(NONCE);
        response.password_algorithms = Some(&[0, 9, 0, 0]);
    });
    assert_eq!(world.events(), [Event::NotAllocated(Failure::Algorithm)]);
}

#[test]
fn refusals_are_told_with_their_code() {
    let codes = ErrorCode::ALL.into_iter();
    for code in codes.filter(|code| !matches!(code, ErrorCode::Unauthenticated | ErrorCode::StaleNonce)) {
        let mut world = World::new();
        world.input(Input::Allocate);
        world.challenge(NONCE);
        let alternate = (code == ErrorCode::TryAlternate).then(|| address("192.0.2.66:3478"));
        world.refuse(code, |response| response.alternate_server = alternate);
        let why = Failure::Refused { code: code.number(), alternate };
        assert_eq!(world.events(), [Event::NotAllocated(why)]);
        assert_eq!(world.client.poll_timeout(), None, "nothing is on its way");
        world.input(Input::Allocate);
        assert_eq!(world.sent.len(), 3, "it may be asked for again");
    }
}

#[test]
fn the_same_401_again_is_final_and_another_realm_is_not() {
    let mut world = World::new();
    world.input(Input::Allocate);
    world.challenge(NONCE);
    world.answer(Outcome::Error(ErrorCode::Unauthenticated), None, |response| {
        response.realm = Some(b"another realm");
        response.nonce = Some(NONCE_2);
        response.password_algorithms = Some(&OFFERED);
    });
    assert_eq!(world.sent.len(), 3);
    world.answer(Outcome::Error(ErrorCode::Unauthenticated), None, |response| {
        response.realm = Some(b"another realm");
        response.nonce = Some(NONCE);
        response.password_algorithms = Some(&OFFERED);
    });
    assert_eq!(world.events(), [Event::NotAllocated(refused(401))]);
}

#[test]
fn stale_nonces_are_replaced_so_many_times_and_no_more() {
    let mut world = World::new();
    world.input(Input::Allocate);
    world.challenge(NONCE);
    for nonce in [NONCE_2, NONCE, NONCE_2] {
        world.refuse_unsigned(ErrorCode::StaleNonce, nonce);
        let bytes = world.last();
        assert_eq!(decode_request(&bytes).expect("a request").auth.nonce, Some(nonce));
    }
    world.refuse_unsigned(ErrorCode::StaleNonce, NONCE);
    assert_eq!(world.events(), [Event::NotAllocated(refused(438))]);
}

#[test]
fn a_silent_server_is_asked_seven_times_with_the_same_bytes() {
    let mut world = World::new();
    world.input(Input::Allocate);
    let mut moments = Vec::new();
    while world.wake(u64::MAX) {
        moments.push(world.millis - 1_000);
    }
    assert_eq!(moments, [500, 1_500, 3_500, 7_500, 15_500, 31_500, 39_500]);
    assert_eq!(world.sent.len(), 7);
    assert!(world.sent.iter().all(|bytes| *bytes == world.sent[0]));
    assert_eq!(world.events(), [Event::NotAllocated(Failure::Timeout)]);
}

#[test]
fn what_was_granted_is_renewed_in_time() {
    let mut world = World::live(|config| config.lifetime = Some(Lifetime::from_secs(3_600)));
    world.input(Input::Bind(peer(PEER)));
    world.grant(|_| {});
    let channel = ChannelNumber::MIN;
    assert_eq!(
        world.events(),
        [Event::Permitted { peer: peer(PEER).ip() }, Event::Bound { peer: peer(PEER), channel }]
    );
    let mut asked = Vec::new();
    while asked.last().is_none_or(|(_, method)| *method != Method::Refresh) && world.wake(u64::MAX) {
        let bytes = world.last();
        asked.push((world.millis / 1_000 - 1, decode_request(&bytes).expect("a request").method));
        world.grant(|response| response.lifetime = Some(Lifetime::from_secs(3_600)));
    }
    let moments = |wanted| {
        let of = asked.iter().filter(|(_, method)| *method == wanted);
        of.map(|(second, _)| *second).collect::<Vec<_>>()
    };
    assert_eq!(moments(Method::ChannelBind), [540, 1_080, 1_620, 2_160, 2_700, 3_240]);
    assert!(
        moments(Method::CreatePermission).starts_with(&[240, 480, 780]),
        "a channel's renewal permits too"
    );
    assert_eq!(moments(Method::Refresh), [3_540]);
    assert!(world.events.is_empty(), "{:?}", world.events);
}

#[test]
fn an_allocation_that_nobody_refreshes_is_over_in_time() {
    let mut world = World::live(|_| {});
    while world.events.is_empty() && world.wake(u64::MAX) {}
    assert_eq!(world.events(), [Event::Ended(End::Lost(Failure::Expired))]);
    assert_eq!(world.millis, 1_000 + 3_600_000);
    assert_eq!(world.client.poll_timeout(), None);
}

#[test]
fn data_goes_by_the_channel_else_by_a_send_indication_else_nowhere() {
    let mut world = World::live(|config| config.dont_fragment = true);
    world.input(Input::Send { peer: peer(PEER), data: b"early" });
    assert_eq!(world.events(), [Event::NotSent { peer: peer(PEER) }]);
    world.input(Input::Permit(peer(PEER).ip()));
    world.grant(|_| {});
    world.input(Input::Send { peer: peer(PEER), data: b"hello" });
    let message = world.last();
    let send = decode_send(&message).expect("a Send indication");
    assert_eq!((send.peer, send.data, send.dont_fragment), (peer(PEER), &b"hello"[..], true));
    world.input(Input::Bind(peer(PEER)));
    world.grant(|_| {});
    world.input(Input::Send { peer: peer(PEER), data: b"hello" });
    assert_eq!(*world.last(), *b"\x40\x00\x00\x05hello");
    world.events();
    let long = vec![0; limits::DATAGRAM_MAX];
    world.input(Input::Send { peer: peer(PEER), data: &long });
    assert_eq!(world.events(), [Event::NotSent { peer: peer(PEER) }]);
}

fn data_indication(from: &str, data: &[u8]) -> Vec<u8> {
    let mut headroom = [0; 48];
    let id = crate::proto::wire::TransactionId::with_cookie([9; 12]);
    let len = u16::try_from(data.len()).expect("short");
    let taken = write_data_header(&mut headroom, id, peer(from), len).expect("it fits");
    let mut message = headroom[48 - taken..].to_vec();
    message.extend_from_slice(data);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

#[test]
fn only_data_that_was_asked_for_is_heard() {
    let mut world = World::live(|_| {});
    world.input(Input::Message(&data_indication(PEER, b"hi")));
    world.input(Input::Message(b"\x40\x00\x00\x02hi"));
    assert!(world.events.is_empty());
    world.input(Input::Bind(peer(PEER)));
    world.input(Input::Message(b"\x40\x00\x00\x02hi"));
    world.input(Input::Message(&data_indication("192.0.2.10:7000", b"hi")));
    world.input(Input::Message(&data_indication(PEER, b"ho")));
    let heard = |data: &[u8]| Event::Data { peer: peer(PEER), data: data.into() };
    assert_eq!(world.events(), [heard(b"hi"), heard(b"ho")]);
}

#[test]
fn refusals_of_permissions_and_channels_hit_whom_they_are_about() {
    let mut world = World::live(|_| {});
    world.input(Input::Permit(peer(PEER).ip()));
    world.refuse(ErrorCode::Forbidden, |_| {});
    assert_eq!(world.events(), [Event::NotPermitted { peer: peer(PEER).ip(), why: refused(403) }]);
    world.input(Input::Bind(peer(PEER)));
    world.refuse(ErrorCode::PeerAddressFamilyMismatch, |_| {});
    assert_eq!(world.events(), [Event::NotBound { peer: peer(PEER), why: refused(443) }]);
    // Two that were granted, refused together: each is asked for alone.
    for ip in ["192.0.2.1", "192.0.2.2"] {
        world.input(Input::Permit(ip.parse().expect("an address")));
        world.grant(|_| {});
    }
    world.events();
    assert!(world.wake(u64::MAX));
    let bytes = world.last();
    assert_eq!(decode_request(&bytes).expect("a request").peers.len(), 2);
    let sent = world.sent.len();
    world.refuse(ErrorCode::Forbidden, |_| {});
    assert_eq!((world.sent.len(), world.events().len()), (sent + 2, 0));
    world.refuse(ErrorCode::Forbidden, |_| {});
    assert_eq!(
        world.events(),
        [Event::NotPermitted { peer: "192.0.2.2".parse().expect("an address"), why: refused(403) }]
    );
    world.input(Input::Permit("192.0.2.3".parse().expect("an address")));
    world.refuse(ErrorCode::AllocationMismatch, |_| {});
    assert_eq!(world.events(), [Event::Ended(End::Lost(refused(437)))]);
}

#[test]
fn giving_back_ends_with_the_servers_word_or_without_it() {
    for (answer, end) in [
        (Some(Outcome::Success), End::Released),
        (Some(Outcome::Error(ErrorCode::AllocationMismatch)), End::Released),
        (Some(Outcome::Error(ErrorCode::ServerError)), End::Unconfirmed),
        (None, End::Unconfirmed),
    ] {
        let mut world = World::live(|_| {});
        world.input(Input::Release);
        let bytes = world.last();
        assert_eq!(decode_request(&bytes).expect("a request").lifetime, Some(Lifetime::ZERO));
        let key = sha256_key();
        match answer {
            Some(outcome) => {
                let signature = Signature { key: &key, algorithm: Algorithm::Sha256 };
                world.answer(outcome, Some(signature), |_| {});
            }
            None => while world.wake(u64::MAX) {},
        }
        assert_eq!(world.events(), [Event::Ended(end)], "{answer:?}");
    }
}

#[test]
fn a_client_that_moves_shows_its_ticket_and_asks_nothing_else_meanwhile() {
    let mut world = World::with(|config| config.mobility = true);
    world.input(Input::Allocate);
    world.challenge(NONCE);
    let bytes = world.last();
    assert_eq!(decode_request(&bytes).expect("a request").mobility_ticket, Some(&b""[..]));
    world.grant(|response| response.mobility_ticket = Some(b"ticket one"));
    world.events();
    world.input(Input::Permit(peer(PEER).ip()));
    world.input(Input::Moved);
    let sent = world.sent.len();
    world.input(Input::Permit("192.0.2.3".parse().expect("an address")));
    assert_eq!(world.sent.len(), sent);
    // The nonce is the old address's.
    world.refuse_unsigned(ErrorCode::StaleNonce, NONCE_2);
    let bytes = world.last();
    let request = decode_request(&bytes).expect("a request");
    assert_eq!((request.method, request.mobility_ticket), (Method::Refresh, Some(&b"ticket one"[..])));
    world.grant(|response| response.mobility_ticket = Some(b"ticket two"));
    assert_eq!(world.events(), [Event::Moved]);
    assert_eq!(world.sent.len(), sent + 3, "what waited is asked now");
    world.input(Input::Moved);
    let bytes = world.last();
    assert_eq!(decode_request(&bytes).expect("a request").mobility_ticket, Some(&b"ticket two"[..]));
}

#[test]
fn each_wish_has_its_attribute() {
    let asked = |change: fn(&mut Config)| {
        let mut world = World::with(change);
        world.input(Input::Allocate);
        world.last()
    };
    let of = |bytes: &[u8]| {
        let request = decode_request(bytes).expect("a request");
        assert!(request.unknown.is_empty() && request.bad_attribute.is_none());
        (request.requested_family, request.additional_family, request.even_port, request.reservation_token)
    };
    let v6 = Some(Family::V6.code());
    assert_eq!(of(&asked(|_| {})), (None, None, None, None));
    assert_eq!(of(&asked(|config| config.families = Families::V6)), (v6, None, None, None));
    assert_eq!(of(&asked(|config| config.families = Families::Both)), (None, v6, None, None));
    assert_eq!(of(&asked(|config| config.port = PortWish::Even)), (None, None, Some(false), None));
    assert_eq!(of(&asked(|config| config.port = PortWish::Pair)), (None, None, Some(true), None));
    let reserved = asked(|config| {
        config.port = PortWish::Reserved([7; 8]);
        config.families = Families::Both;
    });
    assert_eq!(of(&reserved), (None, None, None, Some([7; 8])));
}

#[test]
fn both_addresses_of_a_dual_allocation_are_told_and_what_was_refused_too() {
    let mut world = World::with(|config| config.families = Families::Both);
    world.input(Input::Allocate);
    world.challenge(NONCE);
    world.grant(|response| {
        response.additional_relayed_address = Some(RelayAddr::new(address("[2001:db8::7]:50001")));
        response.address_error = Some((Family::V6, ErrorCode::InsufficientCapacity));
    });
    let Some(Event::Allocated(made)) = world.events.pop() else { panic!("an allocation") };
    assert_eq!(made.additional, Some(RelayAddr::new(address("[2001:db8::7]:50001"))));
    assert_eq!(made.refused, Some((Family::V6, 508)));
}

#[test]
fn peers_beyond_all_bounds_are_refused_and_requests_wait_for_their_turn() {
    let mut world = World::live(|_| {});
    let sent = world.sent.len();
    for number in 0..=limits::PERMISSIONS_PER_ALLOCATION_MAX {
        let ip = std::net::Ipv4Addr::from_bits(0xC000_0200 + u32::try_from(number).expect("small"));
        world.input(Input::Permit(ip.into()));
    }
    assert_eq!(world.sent.len(), sent + limits::CLIENT_TRANSACTIONS_MAX);
    assert!(matches!(world.events()[..], [Event::NotPermitted { why: Failure::Full, .. }]));
    for port in 0..=limits::CHANNELS_PER_ALLOCATION_MAX {
        let port = u16::try_from(port).expect("small");
        world.input(Input::Bind(PeerAddr::new(SocketAddr::from(([192, 0, 2, 1], port)))));
    }
    assert!(matches!(world.events()[..], [Event::NotBound { why: Failure::Full, .. }]));
}

proptest! {
    #[test]
    fn no_bytes_make_a_client_panic_or_believe(messages in prop::collection::vec(any::<Vec<u8>>(), 0..20)) {
        let mut world = World::live(|_| {});
        world.input(Input::Bind(peer(PEER)));
        for message in &messages {
            world.input(Input::Message(message));
        }
        let data = |event: &Event| matches!(event, Event::Data { .. });
        prop_assert!(world.events.iter().all(data), "{:?}", world.events);
    }

    #[test]
    fn no_bit_of_an_answer_may_be_changed(byte in 0..1_000_usize, bit in 0..8_u8) {
        let mut world = World::new();
        world.input(Input::Allocate);
        world.challenge(NONCE);
        let bytes = world.last();
        let request = decode_request(&bytes).expect("a request");
        let mut response = Response::new(request.method, request.transaction, Outcome::Success);
        response.relayed_address = Some(RelayAddr::new(address(RELAYED)));
        response.mapped_address = Some(address(MAPPED));
        let key = sha256_key();
        let mut out = [0; 1_024];
        let signature = Signature { key: &key, algorithm: Algorithm::Sha256 };
        let len = encode_response(&response, Some(signature), false, &mut out).expect("it fits");
        out[byte % len] ^= 1 << bit;
        world.input(Input::Message(&out[..len]));
        prop_assert!(world.events.is_empty(), "{:?}", world.events);
    }
}
